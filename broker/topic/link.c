/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topic/link.h"

#include "broker/topic/rate.h"
#include "protocol/base/mem.h"

void link_init(struct link *link, struct topic *topic, enum log_kind kind, struct log *log)
{
    *link = (struct link){
        .topic = topic, .log = log, .kind = (uint8_t)kind, .waiting_needed = UINT64_MAX};
    if (log)
        link->active_needed = log_look(log).head_byte;
}

void link_deinit(struct link *link)
{
    ff_list_remove(&link->watched);
    pins_leave(link->pins);
    link->pins = NULL;
    ff_mem_free(link->array);
    link->array = NULL;
}

/* Where a zone ends in the array. */
static uint32_t zone_end(const struct link *link, unsigned zone)
{
    uint32_t end = 0;

    for (unsigned i = 0; i <= zone; i++)
        end += link->counts[i];
    return end;
}

static void put(struct link *link, uint32_t index, struct subscription *s)
{
    link->array[index] = s;
    s->index = index;
}

static void swap(struct link *link, uint32_t a, uint32_t b)
{
    struct subscription *s = link->array[a];

    put(link, a, link->array[b]);
    put(link, b, s);
}

enum ff_err link_add(struct link *link, struct subscription *s)
{
    uint32_t count = link_count(link);

    if (count == link->capacity) {
        uint32_t capacity = count ? count + count / 2 + 1 : 1;
        struct subscription **array =
            ff_mem_realloc(link->array, capacity * sizeof(struct subscription *));

        if (!array)
            return FF_ENOMEM;
        link->array = array;
        link->capacity = capacity;
    }
    s->link = link;
    s->state = SUBSCRIPTION_LINKED;
    s->zone = ZONE_TIMED;
    put(link, count, s);
    link->counts[ZONE_TIMED]++;
    link->no_echo_timed += s->no_echo;
    if (!rate_is_paused(s))
        link_move(s, ZONE_ACTIVE);
    return FF_OK;
}

/* What a zone counts about its members. */
static void count(struct link *link, const struct subscription *s, int by)
{
    uint32_t step = (uint32_t)by;

    link->counts[s->zone] += step;
    if (s->zone == ZONE_ACTIVE && link_is_pending(s))
        link->pending += step;
    if (s->zone == ZONE_WAITING && link_has_close_rule(s))
        link->close_rule_waiting += step;
    if (s->zone == ZONE_TIMED && s->no_echo)
        link->no_echo_timed += step;
}

void link_move(struct subscription *s, enum link_zone zone)
{
    struct link *link = s->link;

    if (s->zone == ZONE_WAITING && zone != ZONE_WAITING)
        link->is_waiting_stale = true;
    while (s->zone < zone) { /* to the end of its zone, then the border moves over it */
        swap(link, s->index, zone_end(link, s->zone) - 1);
        count(link, s, -1);
        s->zone++;
        count(link, s, 1);
    }
    while (s->zone > zone) { /* to the beginning of its zone */
        swap(link, s->index, zone_end(link, s->zone - 1U));
        count(link, s, -1);
        s->zone--;
        count(link, s, 1);
    }
    if (zone == ZONE_WAITING && s->cursor.byte < link->waiting_needed)
        link->waiting_needed = s->cursor.byte;
    if (zone == ZONE_ACTIVE && s->cursor.byte < link->active_needed)
        link->active_needed = s->cursor.byte;
}

void link_remove(struct subscription *s)
{
    struct link *link = s->link;

    link_set_pending(s, NULL);
    link_move(s, ZONE_TIMED);
    swap(link, s->index, link_count(link) - 1);
    count(link, s, -1);
    s->state = SUBSCRIPTION_DETACHED;
}

void link_set_pending(struct subscription *s, struct ff_list *list)
{
    if (link_is_pending(s) == (list != NULL))
        return;
    if (list)
        ff_list_append(list, &s->pending);
    else
        ff_list_remove(&s->pending);
    if (s->zone == ZONE_ACTIVE)
        s->link->pending += list ? 1U : UINT32_MAX; /* one more or one fewer */
}

void link_note_progress(struct subscription *s, uint64_t before)
{
    if (s->zone == ZONE_WAITING && before <= s->link->waiting_needed)
        s->link->is_waiting_stale = true;
}

static uint64_t scan(const struct link *link, unsigned zone, bool only_no_echo)
{
    uint32_t end = zone_end(link, zone);
    uint64_t least = UINT64_MAX;

    for (uint32_t i = end - link->counts[zone]; i < end; i++) {
        const struct subscription *s = link->array[i];

        if (s->cursor.byte < least && (!only_no_echo || s->no_echo))
            least = s->cursor.byte;
    }
    return least;
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t link_update_needed(struct link *link, const struct log_view *view, uint64_t offered_head)
{
    uint64_t tail = view_tail_byte(view);
    uint64_t slowest;
    uint64_t timed = UINT64_MAX;
    uint64_t offset;

    if (link->pending)
        link->active_needed = lesser(scan(link, ZONE_ACTIVE, false), offered_head);
    else if (!link->is_dirty)
        link->active_needed = offered_head;
    if (link->is_waiting_stale || link->counts[ZONE_WAITING] == 0)
        link->waiting_needed = scan(link, ZONE_WAITING, false);
    link->is_waiting_stale = false;
    slowest = lesser(link->active_needed, link->waiting_needed);
    if (!link->is_dirty)
        link->buffered = offered_head - (slowest < tail ? lesser(tail, offered_head)
                                                        : lesser(slowest, offered_head));
    if (link->counts[ZONE_TIMED] && view->first) {
        timed = view_newest(view, &offset);
        if (link->no_echo_timed)
            timed = lesser(timed, scan(link, ZONE_TIMED, true));
    }
    return lesser(slowest, timed);
}
