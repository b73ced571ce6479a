/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.h - a scripted transport: sockets, clock and event loop of a test's own.
 *
 * The linker puts these in the place of the system's calls (--wrap), so the
 * broker above is the real one, unchanged. A test writes what a peer sends, says
 * how much its socket takes, moves the clock and runs turns. All that the broker
 * sends is checked as it comes: a whole HTTP answer, then whole frames as a
 * server may send them, and nothing behind a close frame. A descriptor that is
 * closed twice, or used after it was closed, ends the program.
 *
 * There may be several loops, one a worker: a wire is its loop's that watches it.
 * At each call a worker may be stopped and another one go on (wire_yield). A wire
 * may speak TLS (wire_tls.c), and io_uring is played, too (wire_ring.c).
 */
#ifndef SUPPORT_WIRE_H
#define SUPPORT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "broker/net/loop.h"

enum { WIRES = 32, WIRE_FIRST_FD = 100000, WIRE_INPUT = 16384 };

struct wire_tls;

enum { WIRE_PACKED = 8192 };

/* What the broker sent on one wire, as far as it is understood. */
struct wire_output {
    char head[13];   /* "HTTP/1.1 101" */
    unsigned at;     /* octets of the answer so far */
    unsigned line;   /* how much of the CRLFCRLF that ends it is there */
    bool is_open;    /* it was a 101: frames follow */
    bool is_closing; /* a close frame was seen */
    uint8_t frame[10];
    unsigned frame_at;
    uint64_t left;  /* octets of the present frame still to come */
    unsigned count; /* whole frames */
    uint64_t octets;
    bool may_compress;  /* its peer offered it */
    bool is_echo;       /* its peer hears what it says, whatever that is */
    bool is_compressed; /* the present frame */
    size_t packed_len;
    uint8_t packed[WIRE_PACKED]; /* its octets */
};

struct test_wire {
    ev_io *watcher;       /* while the broker looks at it, */
    struct ev_loop *ev;   /* with this loop */
    struct wire_tls *tls; /* NULL: it speaks plain TCP */
    uint8_t in[WIRE_INPUT];
    size_t in_at;
    size_t in_len;
    bool in_end;   /* behind the input is the end */
    size_t chop;   /* at most so many octets a call, 0: no limit */
    size_t window; /* octets that the socket still takes */
    size_t unsent; /* taken, but not gone */
    int failure;   /* errno of the next call, 0: none */
    bool is_used;
    struct wire_output out;
};

extern struct test_wire wires[WIRES];
extern uint64_t wire_now_ms;
extern bool wire_is_stopped; /* the loop was told to end */

/* Called wherever another worker may do something before this one goes on; NULL: nowhere. */
extern void (*wire_yield)(void);

/* Everything is new, the clock stands at an hour. */
void wire_reset(void);

/* A descriptor that nobody uses, of the `first`-th wire or one before the `end`-th; or -1. */
int wire_open(int first, int end, size_t window);

/* Adds to what the peer sends: in records where it speaks TLS. What does not fit is left out. */
void wire_write(struct test_wire *wire, const void *bytes, size_t len);

/* The same past TLS: octets of the socket. */
void wire_write_raw(struct test_wire *wire, const void *bytes, size_t len);

/* A turn: calls back all of this loop's that is ready, beginning with the `first`-th wire. */
void wire_turn(struct loop *loop, unsigned first);

/* What the broker said, in the clear. */
void wire_check(struct test_wire *wire, const uint8_t *bytes, size_t len);

/* The system's calls, as io_uring and OpenSSL make them. */
ssize_t wire_recv(int fd, void *out, size_t size);
ssize_t wire_send(int fd, const void *bytes, size_t len);

/* How io_uring's kernel behaves from now on; all 0: well. */
struct wire_ring {
    unsigned refusals; /* so many calls take nothing, */
    int error;         /* with this errno */
    unsigned most;     /* requests that a call takes, 0: all */
    bool is_backwards; /* the last request is done first */
};
extern struct wire_ring wire_ring;

struct tls_context;

/* The server's side for all wires that speak TLS; NULL: this build cannot play it. */
struct tls_context *wire_tls_context(void);

/* The wire speaks TLS from its first octet on, in records of at most `record` octets. */
void wire_tls_begin(struct test_wire *wire, size_t record);
void wire_tls_end(struct test_wire *wire);

/* Octets of the peer's that are to be sent in records; of the broker's that came. */
void wire_tls_say(struct test_wire *wire, const void *bytes, size_t len);
void wire_tls_hear(struct test_wire *wire, const void *bytes, size_t len);

/* The peer goes on with what it has: its handshake, what it has to say, what it hears. */
void wire_tls_work(struct test_wire *wire);

/* Its random numbers are the same in each run. */
void wire_tls_reset(void);

#endif
