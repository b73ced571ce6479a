/* SPDX-License-Identifier: Apache-2.0 */
/*
 * book.h - which answers are owed to whom, and in what order.
 *
 * Answers to one client about one topic come in the order of the requests;
 * each comes once. Requests about different topics overtake each other.
 */
#ifndef SUPPORT_BOOK_H
#define SUPPORT_BOOK_H

#include <stdbool.h>
#include <stdint.h>

enum { BOOK_PEERS = 8, BOOK_TOPICS = 32, BOOK_OPEN = 65536 };

enum book_kind {
    BOOK_PUBLISH,
    BOOK_SUBSCRIBE,
    BOOK_CHANGE,
    BOOK_UNSUBSCRIBE,
    BOOK_LIST,
    BOOK_KINDS
};

struct book_entry {
    uint64_t id;
    uint64_t subject; /* the caller's */
    uint64_t next;    /* the request behind it of the same client about the same topic, 0: none */
    uint32_t peer;
    uint32_t topic;
    enum book_kind kind;
};

struct book {
    struct book_entry entries[BOOK_OPEN];
    uint64_t last_id;
    bool is_loose; /* answers may overtake each other: memory is short */
    uint64_t kinds[BOOK_KINDS];
    struct {
        uint64_t first;
        uint64_t last;
    } queues[BOOK_PEERS][BOOK_TOPICS];
};

/* A request is made; its id. */
uint64_t book_ask(struct book *book, uint32_t peer, uint32_t topic, enum book_kind kind,
                  uint64_t subject);

/* The newest request was not taken after all. */
void book_take_back(struct book *book, uint64_t id);

/* An answer came: it must be the next one about its topic. */
struct book_entry book_answer(struct book *book, uint64_t id);

/* Is everything answered? */
bool book_is_settled(const struct book *book);

#endif
