/* SPDX-License-Identifier: Apache-2.0 */
/*
 * input.h - which connections are to be read, and how much of a turn that may take.
 *
 * An event only puts its connection at the end of a queue. The queue is worked
 * once a turn, for its slice (turn.h) and at most INPUT_OCTETS; connections that are
 * left over are the first of the next turn. Each is read a quantum, which is the
 * smaller the more of them wait: who sends much does not hold up who sends
 * little. TLS handshakes, which cost a thousand times as much, have a queue and a
 * slice of their own; newcomers have one that comes first, so that a worker that is
 * behind does not take them for slow. What stands behind a newcomer's head is not
 * first: it waits at the end of the queue. While a worker is behind, its listeners
 * hold newcomers back: what is accepted and not read makes the others wait.
 *
 * What was read and not consumed is a connection's stash: half an HTTP head, or
 * what stands behind the message at which the owner paused it or the turn's input
 * was over. A stash that only waits is offered again where it lies, without a copy.
 */
#ifndef NET_INPUT_H
#define NET_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conn;
struct net;

enum {
    INPUT_OCTETS = 2 * 1024 * 1024, /* of a turn, messages counted with INPUT_MESSAGE more each */
    INPUT_MESSAGE = 128,            /* what a message costs, in octets: so that empty ones count */
    INPUT_LOOK = 8192,              /* spent between looks at the clock: about 30 us */
    INPUT_ROUND = 256 * 1024, /* octets read from all that wait before the first is read again */
    INPUT_QUANTUM_LEAST = 1024,
    INPUT_REGULARS_US = 100 * 1000, /* who spoke so long ago is expected to speak on */
};

struct input_queue {
    struct conn *first; /* linked by libev's free pointer, `io.data` */
    struct conn *last;
    uint32_t count;
};

struct input {
    struct input_queue regulars;  /* connections that speak all the time: conn_is_regular() */
    struct input_queue ready;     /* and the others */
    struct input_queue newcomers; /* connections without a conversation yet: conn.is_new */
    struct input_queue handshakes;
    uint64_t until_us; /* when this part of the turn's input must be over */
    uint64_t spent_us; /* what the turn's input took, handshakes left out */
    size_t quantum;    /* octets that are read of each connection in this turn */
    size_t spent;      /* octets, at the last look at the clock */
    size_t unlooked;   /* octets since */
    bool is_over;
    bool is_behind;          /* the last turn left work: some were not read, or the owner says so */
    uint64_t regulars_at_us; /* when some of those were last read, */
    uint64_t others_at_us;   /* and when others were last left unread; 0: none is */
};

void input_init(struct input *input);

/* There is something to be read of a connection, or in its stash. More than once changes nothing.
 */
void input_add(struct conn *conn);

/* The same, because of an event: its peer said something. */
void input_arrived(struct conn *conn);

/* Forgets who is to be read. */
void input_clear(struct input *input);

/* Works on the queues until they are empty or the turn's input is over. */
void input_run(struct net *net);

static inline bool input_is_empty(const struct input *input)
{
    return !input->ready.first && !input->regulars.first && !input->newcomers.first &&
           !input->handshakes.first;
}

/* Is somebody expected to speak on, whose words are not to wait? */
static inline bool input_has_regulars(const struct input *input, uint64_t now_us)
{
    return input->regulars_at_us && now_us - input->regulars_at_us < INPUT_REGULARS_US;
}

bool input_look(struct input *input);

/* A message of so many octets was handled. False: the turn's input is over. */
static inline bool input_spend(struct input *input, size_t octets)
{
    input->unlooked += octets + INPUT_MESSAGE;
    return input->unlooked < INPUT_LOOK ? !input->is_over : input_look(input);
}

/* The owner stops in the midst of what it was offered, because the turn's input is over. */
void input_yield(struct conn *conn);

/* Frees the stash. */
void input_drop_stash(struct conn *conn);

#endif
