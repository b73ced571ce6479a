#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# docs/architecture.md, "Where is ...?": each symbol stands in the file that the table names.
set -u
cd "${1:-$(dirname "$0")/..}" || exit 2
failed=0
rows=$(sed -n '/^## Where is/,$p' docs/architecture.md | sed -n 's/^|[^|]*| `\([^`]*\)` | `\([^`]*\)` |$/\1 \2/p')
[ "$(echo "$rows" | wc -l)" -ge 20 ] || { echo "where: fewer than 20 rows were found"; exit 1; }
while read -r file symbol; do
    grep -qw -- "$symbol" "$file" 2>/dev/null || { echo "where: $symbol is not in $file"; failed=1; }
done <<EOT
$rows
EOT
[ "$failed" = 0 ] && echo "where: all $(echo "$rows" | wc -l) symbols stand where the table says"
exit "$failed"
