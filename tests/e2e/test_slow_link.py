# SPDX-License-Identifier: Apache-2.0
"""A dashboard behind a slow link: with the rule `latest` the broker holds no more than the newest of each feed."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from slow_link import Dashboard, SlowLink

FEEDS, SIZE = 20, 1000

for control in "bbr", "cubic":
    for rules in {"overflow": "latest"}, {"overflow": "skip", "buffered": 4 * SIZE}:
        with SlowLink(control) as link:
            dashboard = Dashboard(link, FEEDS, rules, SIZE)
            ages = dashboard.play(8, 0.1)  # 1.6 Mbit/s of feeds
            messages = 1 if rules["overflow"] == "latest" else 5
            # Of each feed what the rule leaves, and what a full socket cut off.
            most = FEEDS * messages * (SIZE + 200) + 64 * 1024
            print(control, rules, "%d of %d shown, %d gaps, the broker owed %d octets at most, age in the middle %.2f s, at most %.2f s" % (
                len(ages), sum(dashboard.published), dashboard.gaps, max(dashboard.owed), ages[len(ages) // 2], ages[-1]), flush=True)
            assert dashboard.gaps > 0 and len(ages) < sum(dashboard.published)
            assert max(dashboard.owed) <= most, (max(dashboard.owed), most)
print("ok")
