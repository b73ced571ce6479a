/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/pending.h"

#include "protocol/base/codes.h"

enum { MOST_BYTES = 16 * 1024 * 1024 };

void pending_init(struct pending *pending, struct ff_slice topic, bool is_retained)
{
    *pending = (struct pending){
        .topic = topic, .is_retained = is_retained, .first = 1, .next = 1, .unsent = 1};
    for (size_t i = 0; i < PENDING_MAX; i++)
        ff_buf_init(&pending->messages[i], SIZE_MAX / 2);
}

void pending_deinit(struct pending *pending)
{
    for (size_t i = 0; i < PENDING_MAX; i++)
        ff_buf_deinit(&pending->messages[i]);
}

static struct ff_buf *message_of(struct pending *pending, uint64_t id)
{
    return &pending->messages[id % PENDING_MAX];
}

static bool is_open(const struct pending *pending, uint64_t id)
{
    return id >= pending->first && id < pending->next && pending->is_open[id % PENDING_MAX];
}

bool pending_has_room(const struct pending *pending, size_t bytes)
{
    return pending->next - pending->first < PENDING_MAX &&
           (pending->count == 0 || pending->bytes + bytes <= MOST_BYTES);
}

uint64_t pending_add(struct pending *pending, struct ff_slice json)
{
    struct ff_buf *message = message_of(pending, pending->next);

    FF_CHECK(pending_has_room(pending, json.len));
    message->len = 0;
    if (ff_buf_append(message, json.at, json.len))
        return 0;
    pending->is_open[pending->next % PENDING_MAX] = true;
    pending->bytes += json.len;
    pending->count++;
    return pending->next++;
}

static bool send_from(struct pending *pending, struct ff_client *client, uint64_t first)
{
    for (uint64_t id = first; id < pending->next; id++) {
        if (pending->unsent <= id)
            pending->unsent = id + 1; /* it may arrive though the connection breaks here */
        if (is_open(pending, id) &&
            !ff_client_publish(client, id, pending->topic, ff_buf_slice(message_of(pending, id)),
                               pending->is_retained))
            return false;
    }
    return true;
}

bool pending_send(struct pending *pending, struct ff_client *client)
{
    return send_from(pending, client, pending->unsent);
}

bool pending_send_again(struct pending *pending, struct ff_client *client)
{
    return send_from(pending, client, pending->first);
}

bool pending_answer(struct pending *pending, uint64_t id)
{
    if (!is_open(pending, id))
        return false;
    pending->is_open[id % PENDING_MAX] = false;
    pending->bytes -= message_of(pending, id)->len;
    pending->count--;
    ff_buf_deinit(message_of(pending, id));
    while (pending->first < pending->next && !pending->is_open[pending->first % PENDING_MAX])
        pending->first++;
    return true;
}

struct ff_slice pending_find(const struct pending *pending, uint64_t id)
{
    if (!is_open(pending, id))
        return (struct ff_slice){NULL, 0};
    return ff_buf_slice(&pending->messages[id % PENDING_MAX]);
}

size_t pending_sent_count(const struct pending *pending)
{
    size_t count = 0;

    for (uint64_t id = pending->first; id < pending->unsent; id++)
        count += is_open(pending, id);
    return count;
}

size_t pending_forget_too_large(struct pending *pending, const struct ff_client *client)
{
    size_t count = 0;

    if (!client || ff_client_close_code(client) != FF_CLOSE_TOO_BIG)
        return 0;
    for (uint64_t id = pending->first; id < pending->unsent; id++)
        count += pending_answer(pending, id);
    return count;
}
