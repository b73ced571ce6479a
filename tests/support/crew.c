/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/crew.h"

#include <stdlib.h>

#include "broker/carrier/carrier.h"
#include "broker/topic/rate.h"
#include "tests/support/late_engine.h"

struct crew_run crew_run = {.workers = 4};

static _Atomic uint64_t last_tag;

/* Who publishes: tags change when a peer disconnects, places do not. */
static uint32_t place_of(const struct peer *peer)
{
    return peer->at->index * PEERS + (uint32_t)(peer - peer->at->peers);
}

/* The owner's order, noted where it is made. */
enum ff_err __real_router_publish(struct router *router, const struct publication *p,
                                  struct receipt *receipt);
enum ff_err __wrap_router_publish(struct router *router, const struct publication *p,
                                  struct receipt *receipt);

static uint32_t index_of(struct ff_slice name)
{
    uint32_t i = 0;

    while (!ff_slice_is_equal(name, ff_slice_of(truth_topics[i])))
        i++;
    return i;
}

enum ff_err __wrap_router_publish(struct router *router, const struct publication *p,
                                  struct receipt *receipt)
{
    struct worker_model *owner = FF_CONTAINER(router, struct worker_model, router);
    uint32_t id = (uint32_t)subscriber_number(&p->payload);
    uint32_t place = (uint32_t)strtoul(strchr(p->payload.bytes.at, ',') + 1, NULL, 10);
    uint32_t *last = &owner->last_from[place][owner->is_late ? index_of(p->topic) : 0];
    enum ff_err err;

    assert_int_equal(carrier_owner(owner->carrier, p->topic), owner->index);
    if (atomic_load(&crew_run.is_taken[id]))
        fail_msg("message %u is published twice", id);
    if (id > *last)
        *last = id;
    else if (!p->key.len) /* the first one may have been refused, and this is the next */
        fail_msg("message %u came after %u of the same publisher", id, *last);
    truth_note(owner->index, id, p->publisher, p->topic);
    err = __real_router_publish(router, p, receipt);
    if (err) { /* it is in no log, then */
        assert_true(crew_run.is_starving && err == FF_ENOMEM);
        truth_take_back(owner->index, p->topic);
    }
    if (!err && p->retain)
        crew_note_retained(index_of(p->topic), receipt->position.offset);
    atomic_store(&crew_run.is_taken[id], !err);
    return err;
}

void crew_starve(struct worker_model *at)
{
    if (crew_run.is_starving)
        ff_mem_fail_often(30, dice_roll(&at->dice));
}

void crew_feed(void)
{
    if (crew_run.is_starving)
        ff_mem_fail_often(0, 0);
}

uint32_t crew_cursors_of(uint32_t topic)
{
    return topic < TRUTH_NAMES ? 1 : crew_run.workers;
}

/* The worker whose messages a cursor brings. */
static uint32_t owner_of_cursor(const struct worker_model *at, uint32_t topic, uint32_t cursor)
{
    return topic < TRUTH_NAMES ? carrier_owner(at->carrier, ff_slice_of(truth_topics[topic]))
                               : cursor;
}

static struct follower *find(struct peer *peer, struct ff_slice name)
{
    for (int i = 0; i < SUBSCRIPTIONS; i++)
        if (peer->followers[i].cursors &&
            ff_slice_is_equal(name, ff_slice_of(truth_topics[peer->followers[i].topic])))
            return &peer->followers[i];
    return NULL;
}

struct reading crew_reading_of(const struct peer *peer, const struct follower *f)
{
    return (struct reading){
        .tag = peer->socket.tag, .is_quiet = f->cursors->no_echo, .is_rated = f->rate >= 0};
}

/* Message `id` came to a cursor. */
static void account(struct peer *peer, struct follower *f, uint32_t cursor, uint32_t id)
{
    struct stream *stream = &f->streams[cursor];
    struct reading reading = crew_reading_of(peer, f);

    assert_true(f->is_acked);
    if (!stream->is_anchored && !crew_run.in_threads && f->first_own)
        stream_is_before(stream, f->first_own);
    stream_take(stream, &reading, truth_number(id, f->topic), f->told);
    if (!reading.is_rated)
        f->told = 0;
}

static void on_received(struct subscriber *socket, const struct ff_message *m)
{
    struct peer *peer = FF_CONTAINER(socket, struct peer, socket);
    bool is_filtered = ff_message_has(m, FF_FIELD_FILTER);
    struct follower *f =
        find(peer, ff_message_text(m, is_filtered ? FF_FIELD_FILTER : FF_FIELD_TOPIC));
    struct ff_slice name = ff_message_text(m, FF_FIELD_TOPIC);
    uint32_t cursor = 0;
    uint32_t id;

    if (!f)
        return; /* the rest of what it was subscribed to before */
    if (m->type == FF_TYPE_PRESENCE) {
        assert_true(f->topic < ROOMS);
        if (f->is_acked && !f->is_deaf) /* else it is the rest of an earlier one */
            f->members = (uint32_t)m->values[FF_FIELD_COUNT].integer;
        peer->at->news++;
        return;
    }
    if (m->type == FF_TYPE_GAP) {
        if (f->rate < 0 && !f->cursors->no_echo) /* a gap and the message behind it are one unit */
            assert_int_equal(f->told, 0);
        f->told += (uint32_t)m->values[FF_FIELD_SKIPPED].integer;
        peer->at->gaps++;
        return;
    }
    id = (uint32_t)subscriber_number(&m->payload);
    if (f->topic >= TRUTH_NAMES)
        cursor = carrier_owner(peer->at->carrier, name);
    assert_true(ff_topic_is_match(ff_slice_of(truth_topics[f->topic]), name));
    if (ff_message_has(m, FF_FIELD_OFFSET) &&
        m->values[FF_FIELD_OFFSET].integer != truth_number(id, index_of(name)))
        fail_msg("a message is not where its offset says: its epoch has ended");
    account(peer, f, cursor, id);
    peer->at->seen++;
}

static void forget(struct follower *f)
{
    ff_mem_free(f->cursors);
    *f = (struct follower){.cursors = NULL};
}

void crew_drop(struct peer *peer, struct follower *f)
{
    carrier_unsubscribe(peer->at->carrier, f->cursors);
    forget(f);
}

static void on_overrun(void *arg, struct subscription *s)
{
    struct worker_model *at = arg;
    struct peer *peer = FF_CONTAINER(s->owner, struct peer, socket);
    struct follower *f = find(peer, subscription_name(s));

    assert_int_equal(s->overflow, OVERFLOW_CLOSE);
    assert_non_null(f);
    at->closed++;
    crew_drop(peer, f);
}

static void close_overrun(struct subscription *s)
{
    on_overrun(FF_CONTAINER(s->owner, struct peer, socket)->at, s);
}

static void on_skipped(void *arg, struct subscription *s, uint64_t count)
{
    struct peer *peer = FF_CONTAINER(s->owner, struct peer, socket);
    struct follower *f = find(peer, subscription_name(s));

    (void)arg;
    assert_non_null(f);
    f->told += (uint32_t)count;
}

/* Memory may be short, or was when it was asked, and an engine of another worker away. */
static bool is_expected(const struct worker_model *at, enum ff_err err)
{
    return err == FF_OK || (at->book.is_loose && err == FF_ENOMEM) ||
           (at->is_late && err == FF_EAWAY);
}

static void on_published(void *arg, struct ticket ticket, const struct engine_receipt *receipt,
                         uint32_t count)
{
    struct worker_model *at = arg;
    uint32_t silent = count - ticket.has_id;

    assert_true(is_expected(at, receipt->err));
    assert_true(count > 0 && at->silent[ticket.session_place] >= silent);
    at->starved += receipt->err == FF_ENOMEM;
    at->silent[ticket.session_place] -= silent;
    if (ticket.has_id) {
        struct book_entry request = book_answer(&at->book, ticket.id);

        assert_int_equal(request.kind, BOOK_PUBLISH);
        assert_true(receipt->err || atomic_load(&crew_run.is_taken[request.subject]));
    }
    at->repeats += receipt->is_duplicate;
}

/* The subscription that a request was about; NULL: it went. */
static struct follower *follower_of(struct worker_model *at, const struct book_entry *request)
{
    struct peer *peer = &at->peers[request->peer];

    for (int i = 0; i < SUBSCRIPTIONS; i++)
        if (peer->followers[i].cursors && peer->followers[i].born == request->subject)
            return &peer->followers[i];
    return NULL;
}

static void on_subscribed(void *arg, struct ticket ticket, struct subscription *s,
                          struct ff_slice name, const struct engine_start *start)
{
    struct worker_model *at = arg;
    struct book_entry request = book_answer(&at->book, ticket.id);
    struct follower *f = follower_of(at, &request);
    enum ff_err err = start->err;

    assert_int_equal(request.kind, BOOK_SUBSCRIBE);
    if (!err && !ticket.is_filter && !ticket.is_listed) /* what the engine sent with it is whole */
        assert_int_equal(start->content.len, name.len * late_engine_content);
    for (size_t i = 0; i < start->content.len && !ticket.is_listed; i++)
        assert_int_equal(start->content.at[i], name.at[i % name.len]);
    if (!err && ticket.is_listed)
        assert_true(start->content.len > 2 && start->count > 0); /* itself, at least */
    assert_true(ff_slice_is_equal(name, ff_slice_of(truth_topics[request.topic])));
    at->starved += err == FF_ENOMEM;
    assert_true(is_expected(at, err));
    if (!s) { /* unsubscribed meanwhile */
        assert_null(f);
        return;
    }
    assert_non_null(f);
    assert_ptr_equal(f->cursors, s);
    if (err) {
        for (uint32_t i = 0; i < crew_cursors_of(f->topic); i++)
            assert_int_equal(s[i].state, SUBSCRIPTION_DETACHED);
        rate_free(s);
        forget(f);
        return;
    }
    assert_int_equal(ticket.session_tag, at->peers[request.peer].socket.tag);
    f->is_acked = true;
    f->members = ticket.is_listed && !f->is_deaf ? start->count : UINT32_MAX;
    for (uint32_t i = 0; i < crew_cursors_of(f->topic); i++) {
        assert_int_not_equal(s[i].state, SUBSCRIPTION_DETACHED);
        stream_acknowledge(&f->streams[i]);
    }
    if (start->from.at.epoch)
        crew_check_start(f, start);
}

static void on_listed(void *arg, struct ticket ticket, struct ff_slice name,
                      const struct engine_roll *roll)
{
    struct worker_model *at = arg;
    struct book_entry request = book_answer(&at->book, ticket.id);

    assert_int_equal(request.kind, BOOK_LIST);
    assert_true(is_expected(at, roll->err));
    assert_true(ff_slice_is_equal(name, ff_slice_of(truth_topics[request.topic])));
    assert_true(roll->err || roll->items.len > 0);
    at->starved += roll->err == FF_ENOMEM;
}

static struct ticket ticket_of(const struct peer *peer, uint64_t id)
{
    return (struct ticket){.id = id,
                           .session_tag = peer->socket.tag,
                           .session_place = (uint32_t)(peer - peer->at->peers),
                           .has_id = id != 0};
}

/* What a session answers by itself: it wants to leave, or to change, or was neither there before.
 */
static void await_turn(struct peer *peer, uint32_t topic, enum book_kind kind, uint64_t subject,
                       struct subscription *s)
{
    struct worker_model *at = peer->at;
    uint64_t id = book_ask(&at->book, (uint32_t)(peer - at->peers), topic, kind, subject);
    struct carrier_turn turn = {.name = ff_slice_of(truth_topics[topic]),
                                .is_filter = topic >= TRUTH_NAMES,
                                .subscription = s,
                                .frame = {(const char *)&id, sizeof(id)}};

    crew_starve(at);
    carrier_await_turn(at->carrier, &turn, ticket_of(peer, id));
    crew_feed();
}

static void on_turn(void *arg, struct ticket ticket, struct ff_slice frame, enum ff_err err)
{
    struct worker_model *at = arg;
    struct book_entry request = book_answer(&at->book, ticket.id);
    const struct follower *f = follower_of(at, &request);

    assert_int_equal(frame.len, sizeof(ticket.id));
    assert_memory_equal(frame.at, &ticket.id, frame.len);
    if (err) /* what was to be changed was refused, which was told before this */
        assert_true(is_expected(at, err) && request.kind == BOOK_CHANGE && !f);
    else if (request.kind == BOOK_CHANGE && f && !crew_run.is_starving)
        assert_true(f->is_acked);
}

static bool has_room(const struct peer *peer, uint32_t topic)
{
    bool has_room =
        carrier_has_room(peer->at->carrier, ff_slice_of(truth_topics[topic]), topic >= TRUTH_NAMES);

    peer->at->held += !has_room;
    return has_room;
}

/* A request to change a subscription, or to end it, whether it is answered already or not. */
static void change(struct peer *peer, struct follower *f)
{
    uint32_t topic = f->topic;
    uint64_t born = f->born;

    if (!has_room(peer, topic))
        return;
    if (dice_below(&peer->at->dice, 3) == 0) {
        await_turn(peer, topic, BOOK_CHANGE, born, f->cursors);
        return;
    }
    crew_drop(peer, f);
    await_turn(peer, topic, BOOK_UNSUBSCRIBE, born, NULL);
}

/* True: it was taken. */
static bool try_publish(struct peer *peer, const struct crew_message *m)
{
    struct worker_model *at = peer->at;
    int len = snprintf(at->payload, 48, "[%u,%u,\"", m->id, m->place);
    struct publication p = {.topic = ff_slice_of(truth_topics[m->topic]),
                            .publisher = peer->socket.tag,
                            .retain = m->is_retained};
    char key[16];
    uint32_t place = (uint32_t)(peer - at->peers);
    uint64_t asked = 0;
    bool is_taken;

    if (m->id % 32 == 0 || crew_run.seed % 4 == 1)
        asked = book_ask(&at->book, place, m->topic, BOOK_PUBLISH, m->id);
    else
        at->silent[place]++;
    if (m->is_keyed)
        p.key = (struct ff_slice){key, (size_t)snprintf(key, sizeof(key), "%u", m->id)};
    memset(at->payload + len, 'x', m->pad);
    memcpy(at->payload + len + m->pad, "\"]", 3);
    p.payload = (struct ff_payload){FF_PAYLOAD_JSON, {at->payload, (size_t)len + m->pad + 2}};
    crew_starve(at);
    is_taken = carrier_publish(at->carrier, &p, ticket_of(peer, asked));
    crew_feed();
    if (is_taken)
        return true;
    if (asked)
        book_take_back(&at->book, asked);
    else
        at->silent[place]--;
    peer->held = *m;
    at->held++;
    return false;
}

/* What one of the worker's peers published with a key, and may not know the answer to, again. */
static void repeat(struct peer *peer)
{
    struct worker_model *at = peer->at;
    const struct crew_message *m = &at->keyed[dice_below(&at->dice, KEYED)];

    /* Where memory is short keys are forgotten early. */
    if (m->id && !peer->held.id && !crew_run.is_starving)
        (void)try_publish(peer, m);
}

/* Any name, but often one that it has just asked for: what comes behind it must be seen. */
static uint32_t choose_topic(const struct peer *peer)
{
    const struct follower *f = &peer->followers[dice_below(&peer->at->dice, SUBSCRIPTIONS)];

    return f->cursors && !f->is_acked && f->topic < TRUTH_NAMES
               ? f->topic
               : dice_below(&peer->at->dice, TRUTH_NAMES);
}

static void publish(struct worker_model *at)
{
    struct peer *peer = &at->peers[dice_below(&at->dice, PEERS)];
    uint32_t shape = dice_below(&at->dice, 100);
    /* Now and then a burst, so that rings get full. */
    uint32_t count = dice_below(&at->dice, 300) ? 1 : 60 + dice_below(&at->dice, 300);

    while (count-- > 0 && !peer->held.id) {
        struct crew_message m = {.place = place_of(peer)};
        struct follower *f;

        if (atomic_load(&crew_run.last_id) + TRUTH_OWNERS >= crew_run.max_messages)
            return;
        m.id = atomic_fetch_add(&crew_run.last_id, 1) + 1;
        m.topic = choose_topic(peer);
        m.pad = shape < 80   ? dice_below(&at->dice, 200)
                : shape < 98 ? dice_below(&at->dice, 6000)
                             : dice_below(&at->dice, MAX_PAYLOAD);
        m.is_keyed = dice_below(&at->dice, 8) == 0;
        m.is_retained =
            crew_run.seed % 3 && !crew_run.without_positions && dice_below(&at->dice, 20) == 0;
        f = find(peer, ff_slice_of(truth_topics[m.topic]));
        if (f && !f->first_own)
            f->first_own = m.id;
        if (m.is_keyed)
            at->keyed[at->keyed_count++ % KEYED] = m;
        (void)try_publish(peer, &m);
    }
}

static void on_room(void *arg, uint32_t queue)
{
    struct worker_model *at = arg;

    (void)queue; /* whoever waits tries again */

    for (int i = 0; i < PEERS; i++) {
        struct peer *peer = &at->peers[i];
        struct crew_message held = peer->held;

        peer->held.id = 0;
        if (held.id)
            (void)try_publish(peer, &held);
    }
}

static void subscribe(struct peer *peer, uint32_t t)
{
    struct worker_model *at = peer->at;
    uint32_t i = 0;
    struct follower *f;
    struct ticket ticket;
    uint8_t overflow;
    uint32_t bound;
    bool no_echo;
    bool is_taken;
    struct engine_subscription what = {.name = ff_slice_of(truth_topics[t]),
                                       .is_filter = t >= TRUTH_NAMES,
                                       .kind = kind_of(peer->socket.encoding)};

    if (find(peer, ff_slice_of(truth_topics[t])) || subscriber_has_rest(&peer->socket))
        return; /* what is left of an earlier subscription comes first */
    while (i < SUBSCRIPTIONS && peer->followers[i].cursors)
        i++;
    if (i == SUBSCRIPTIONS)
        return;
    f = &peer->followers[i];
    *f = (struct follower){.topic = t, .rate = -1};
    f->cursors = ff_mem_zalloc(t < ROOMS ? sizeof(struct membership)
                                         : crew_cursors_of(t) * sizeof(struct subscription));
    assert_non_null(f->cursors);
    if (t < ROOMS) {
        what.joins = f->cursors->is_member = true;
        what.hears = dice_below(&at->dice, 2);
        what.member.session = peer->socket.tag;
        what.listing =
            (struct engine_listing){.encoding = peer->socket.encoding, .max_octets = 100000};
        membership_of(f->cursors)->news.owner = &peer->socket;
    }
    if (dice_below(&at->dice, 5) == 0 && t < TRUTH_NAMES)
        f->rate = dice_below(&at->dice, 3) ? 1 + dice_below(&at->dice, 100) : 0;
    overflow = (uint8_t)dice_below(&at->dice, 3);
    bound = dice_below(&at->dice, 2 * BOUND_MOST);
    no_echo = dice_below(&at->dice, 4) == 0;
    if (no_echo &&
        t >= TRUTH_NAMES) /* a gap with only own messages behind it would not tell its cursor */
        overflow = OVERFLOW_CLOSE;
    for (uint32_t k = 0; k < crew_cursors_of(t); k++) {
        f->cursors[k].owner = &peer->socket;
        f->cursors[k].no_echo = no_echo;
        f->cursors[k].overflow = overflow;
        f->cursors[k].has_bound = bound < BOUND_MOST;
        f->cursors[k].bound = bound;
        stream_begin(&f->streams[k], t, owner_of_cursor(at, t, k));
    }
    if (f->rate >= 0)
        assert_int_equal(rate_set(&at->router, f->cursors, f->rate), FF_OK);
    f->born = at->book.last_id + 1;
    (void)book_ask(&at->book, (uint32_t)(peer - at->peers), t, BOOK_SUBSCRIBE, f->born);
    ticket = ticket_of(peer, f->born);
    ticket.is_filter = what.is_filter;
    ticket.is_listed = what.hears;
    if (t < TRUTH_NAMES)
        crew_ask_for_past(at, f, owner_of_cursor(at, t, 0), &what);
    if (t < TRUTH_NAMES && dice_below(&at->dice, 3) == 0)
        what.kind = log_kinds[what.kind].deflated;
    crew_starve(at);
    is_taken = carrier_subscribe(at->carrier, f->cursors, &what, ticket);
    crew_feed();
    if (is_taken)
        return;
    book_take_back(&at->book, ticket.id); /* no room: it could try again, but need not */
    at->held++;
    rate_free(f->cursors);
    forget(f);
}

static void leave(struct peer *peer)
{
    for (int i = 0; i < SUBSCRIPTIONS; i++)
        if (peer->followers[i].cursors)
            crew_drop(peer, &peer->followers[i]);
}

void crew_begin(struct peer *peer, enum ff_encoding encoding)
{
    subscriber_init(&peer->socket, (atomic_fetch_add(&last_tag, 1) + 1) << 32 | 1, encoding);
    peer->socket.received = on_received;
    peer->socket.overrun = close_overrun;
}

/* It goes, in the middle of whatever; another client comes in its place. */
static void disconnect(struct peer *peer)
{
    enum ff_encoding encoding = peer->socket.encoding;

    leave(peer);
    subscriber_deinit(&peer->socket);
    crew_begin(peer, encoding);
}

/* Who is in a room? */
static void list(struct peer *peer, uint32_t topic)
{
    struct worker_model *at = peer->at;
    uint64_t id = book_ask(&at->book, (uint32_t)(peer - at->peers), topic, BOOK_LIST, 0);
    bool is_taken;

    crew_starve(at);
    is_taken = carrier_list(
        at->carrier, ff_slice_of(truth_topics[topic]),
        (struct engine_listing){.encoding = peer->socket.encoding, .max_octets = 10000},
        ticket_of(peer, id));
    crew_feed();
    if (is_taken)
        return;
    book_take_back(&at->book, id);
    at->held++;
}

uint32_t crew_members_of(const struct worker_model *crew, uint32_t topic)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < crew_run.workers * PEERS * SUBSCRIPTIONS; i++) {
        const struct worker_model *at = &crew[i / (PEERS * SUBSCRIPTIONS)];
        const struct peer *peer = &at->peers[i / SUBSCRIPTIONS % PEERS];
        const struct follower *f = &peer->followers[i % SUBSCRIPTIONS];

        count += f->cursors && f->topic == topic;
    }
    return count;
}

void crew_act(struct worker_model *at)
{
    struct peer *peer = &at->peers[dice_below(&at->dice, PEERS)];
    struct follower *f = &peer->followers[dice_below(&at->dice, SUBSCRIPTIONS)];
    uint32_t what = dice_below(&at->dice, 1000);

    if (what < 540) {
        publish(at);
    } else if (what < 600) {
        repeat(peer);
    } else if (what < 700) {
        subscribe(peer, dice_below(&at->dice, TRUTH_TOPICS));
    } else if (what < 740) {
        if (f->cursors)
            change(peer, f);
    } else if (what < 745) {
        if (!peer->held.id)
            disconnect(peer);
    } else if (what < 750) {
        list(peer, dice_below(&at->dice, ROOMS));
    } else if (what < 770) {
        if (f->cursors && f->topic < ROOMS) { /* it wants to hear no more */
            carrier_stop_hearing(at->carrier, membership_of(f->cursors));
            f->members = UINT32_MAX;
            f->is_deaf = true;
        }
    } else { /* it reads a little, much, or not at all */
        static const uint32_t rooms[] = {0, 1, 7, 100, 3000, 60000, ROOM, ROOM, ROOM};

        peer->socket.room = rooms[dice_below(&at->dice, FF_COUNT(rooms))];
    }
}

const struct router_ops crew_router_ops = {
    .ready = subscriber_ready, .overrun = on_overrun, .skipped = on_skipped};

const struct carrier_events crew_events = {.published = on_published,
                                           .subscribed = on_subscribed,
                                           .listed = on_listed,
                                           .turn_came = on_turn,
                                           .room = on_room};
