/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/book.h"

#include <inttypes.h>

#include "tests/support/test.h"

static struct book_entry *entry_of(struct book *book, uint64_t id)
{
    return &book->entries[id % BOOK_OPEN];
}

uint64_t book_ask(struct book *book, uint32_t peer, uint32_t topic, enum book_kind kind,
                  uint64_t subject)
{
    uint64_t id = ++book->last_id;
    struct book_entry *entry = entry_of(book, id);
    uint64_t last = book->queues[peer][topic].last;

    assert_true(peer < BOOK_PEERS && topic < BOOK_TOPICS);
    assert_int_equal(entry->id, 0); /* else more are open than it has lines */
    *entry = (struct book_entry){
        .id = id, .subject = subject, .peer = peer, .topic = topic, .kind = kind};
    if (last)
        entry_of(book, last)->next = id;
    else
        book->queues[peer][topic].first = id;
    book->queues[peer][topic].last = id;
    return id;
}

/* Out of its queue, in which it may stand anywhere. */
static void strike_out(struct book *book, struct book_entry *entry)
{
    uint64_t *at = &book->queues[entry->peer][entry->topic].first;
    uint64_t before = 0;

    while (*at != entry->id) {
        before = *at;
        at = &entry_of(book, *at)->next;
    }
    *at = entry->next;
    if (!entry->next)
        book->queues[entry->peer][entry->topic].last = before;
    entry->id = 0;
}

void book_take_back(struct book *book, uint64_t id)
{
    assert_int_equal(id, book->last_id);
    strike_out(book, entry_of(book, id));
    book->last_id--;
}

struct book_entry book_answer(struct book *book, uint64_t id)
{
    struct book_entry *entry = entry_of(book, id);
    struct book_entry copy = *entry;
    uint64_t first = book->queues[entry->peer][entry->topic].first;

    if (entry->id != id)
        fail_msg("request %" PRIu64 " is answered twice, or was never made", id);
    if (first != id && !book->is_loose)
        fail_msg("the answer to %" PRIu64 " (kind %d) overtakes that to %" PRIu64 " (kind %d)", id,
                 (int)entry->kind, first, (int)entry_of(book, first)->kind);
    strike_out(book, entry);
    book->kinds[entry->kind]++;
    return copy;
}

bool book_is_settled(const struct book *book)
{
    for (int peer = 0; peer < BOOK_PEERS; peer++)
        for (int topic = 0; topic < BOOK_TOPICS; topic++)
            if (book->queues[peer][topic].first)
                return false;
    return true;
}
