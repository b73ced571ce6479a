/* SPDX-License-Identifier: Apache-2.0 */
/* What the clients of a crew ask for of the past, and whether they are told the truth about it. */
#include "tests/support/crew.h"

enum ff_err __real_history_find_start(struct router *router, struct ff_slice name,
                                      enum log_kind kind, const struct ff_since *since,
                                      struct history_start *start);
enum ff_err __wrap_history_find_start(struct router *router, struct ff_slice name,
                                      enum log_kind kind, const struct ff_since *since,
                                      struct history_start *start);

/* Of the names, by their owners: the newest message that was to be retained; 0: none was. */
static uint64_t retained[TRUTH_NAMES];

void crew_note_retained(uint32_t topic, uint64_t offset)
{
    retained[topic] = offset;
}

/* It comes first where it was asked for, and nothing else does. */
static void check_retained(uint64_t wanted, const struct ff_since *since,
                           const struct history_start *start)
{
    bool is_first = since && wanted && wanted <= start->at.offset && !start->is_lost &&
                    (since->is_position ? since->position.offset < wanted
                                        : start->head - start->at.offset < since->count);

    assert_int_equal(start->retained, is_first ? wanted : 0);
}

enum ff_err __wrap_history_find_start(struct router *router, struct ff_slice name,
                                      enum log_kind kind, const struct ff_since *since,
                                      struct history_start *start)
{
    enum ff_err err = __real_history_find_start(router, name, kind, since, start);

    for (uint32_t i = 0; i < TRUTH_NAMES && !err && start->at.epoch; i++)
        if (ff_slice_is_equal(name, ff_slice_of(truth_topics[i])))
            check_retained(retained[i], since, start);
    if (crew_run.without_recovery && since && start->at.offset < start->head)
        start->at.offset++;
    return err;
}

/* Of the names, as they were first told; 0: not yet. Nothing ends them here. */
static _Atomic uint64_t epochs[TRUTH_NAMES];

void crew_forget_epochs(void)
{
    for (int i = 0; i < TRUTH_NAMES; i++) {
        atomic_store(&epochs[i], 0);
        retained[i] = 0;
    }
}

void crew_ask_for_past(struct worker_model *at, struct follower *f, uint32_t owner,
                       struct engine_subscription *what)
{
    uint32_t count = truth_count(f->topic, owner);

    f->has_since = dice_below(&at->dice, 2);
    f->since = (struct ff_since){
        .is_position = dice_below(&at->dice, 3) > 0,
        .position = {dice_below(&at->dice, 20) ? atomic_load(&epochs[f->topic]) : 7,
                     dice_below(&at->dice, count + 1)},
        .count = dice_below(&at->dice, 100)};
    what->has_since = f->has_since;
    what->since = f->since;
}

void crew_check_start(struct follower *f, const struct engine_start *start)
{
    struct ff_position first = history_first(&start->from);
    uint64_t known = 0;

    if (!atomic_compare_exchange_strong(&epochs[f->topic], &known, start->from.at.epoch))
        if (known != start->from.at.epoch)
            fail_msg("%s goes on, but its epoch has ended", truth_topics[f->topic]);
    assert_int_equal(start->has_recovery, f->has_since && f->since.is_position);
    if (start->has_recovery && f->since.position.epoch == start->from.at.epoch) {
        assert_false(start->from.is_lost); /* nobody asks for what was not there yet */
        assert_int_equal(
            start->from.is_recovered,
            start->from.missing == 0 &&
                (!start->from.retained || start->from.retained == start->from.at.offset));
        if (first.offset != f->since.position.offset + start->from.missing)
            fail_msg("%s begins elsewhere than where it was asked to", truth_topics[f->topic]);
    } else if (start->has_recovery) {
        assert_true(start->from.is_lost && !start->from.is_recovered && !start->from.missing);
    } else {
        assert_true(start->from.at.offset + (f->has_since ? f->since.count : 0) >=
                    f->streams[0].least);
    }
    stream_begin_behind(&f->streams[0], (uint32_t)first.offset);
}
