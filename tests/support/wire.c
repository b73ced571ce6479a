/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/wire.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#define ZLIB_CONST
#include <zlib.h>

#include "broker/worker/mailbox.h"
#include "tests/support/memory_sanitizer.h"

struct test_wire wires[WIRES];
uint64_t wire_now_ms;
bool wire_is_stopped;
void (*wire_yield)(void);

static uint64_t random_state;

ssize_t __wrap_recv(int fd, void *out, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t len, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int __wrap_getpeername(int fd, struct sockaddr *address, socklen_t *len);
int __wrap_shutdown(int fd, int how);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_close(int fd);
int __real_close(int fd);
ssize_t __wrap_getrandom(void *out, size_t size, unsigned flags);
uint64_t __wrap_loop_clock_us(void);
enum ff_err __wrap_loop_init(struct loop *loop, loop_begin_fn *begin, loop_turn_fn *turn,
                             void *arg);
void __wrap_loop_deinit(struct loop *loop);
void __wrap_loop_stop(struct loop *loop);
void __wrap_ev_io_start(struct ev_loop *ev, ev_io *watcher);
void __wrap_ev_io_stop(struct ev_loop *ev, ev_io *watcher);
void __wrap_mailbox_open(struct mailbox *box);
void __real_mailbox_open(struct mailbox *box);

void wire_reset(void)
{
    for (size_t i = 0; i < WIRES; i++) {
        wires[i].is_used = false;
        wires[i].watcher = NULL;
    }
    wire_now_ms = 3600000;
    wire_is_stopped = false;
    wire_yield = NULL;
    wire_ring = (struct wire_ring){.refusals = 0};
    random_state = 88172645463325252U;
}

int wire_open(int first, int end, size_t window)
{
    for (int i = first; i < end; i++) {
        struct test_wire *wire = &wires[i];

        if (wire->is_used)
            continue;
        wire->watcher = NULL;
        wire->tls = NULL;
        wire->in_at = wire->in_len = 0;
        wire->in_end = false;
        wire->chop = 0;
        wire->window = window;
        wire->unsent = 0;
        wire->failure = 0;
        wire->is_used = true;
        wire->out = (struct wire_output){.at = 0};
        return WIRE_FIRST_FD + i;
    }
    return -1;
}

void wire_write(struct test_wire *wire, const void *bytes, size_t len)
{
    if (wire->tls)
        wire_tls_say(wire, bytes, len);
    else
        wire_write_raw(wire, bytes, len);
}

void wire_write_raw(struct test_wire *wire, const void *bytes, size_t len)
{
    if (wire->in_at) {
        memmove(wire->in, wire->in + wire->in_at, wire->in_len - wire->in_at);
        wire->in_len -= wire->in_at;
        wire->in_at = 0;
    }
    if (len > WIRE_INPUT - wire->in_len)
        len = WIRE_INPUT - wire->in_len;
    if (len)
        memcpy(wire->in + wire->in_len, bytes, len);
    wire->in_len += len;
}

static struct test_wire *find(int fd)
{
    struct test_wire *wire = fd >= WIRE_FIRST_FD ? &wires[fd - WIRE_FIRST_FD] : NULL;

    if (!wire || !wire->is_used)
        abort(); /* a descriptor that is not open */
    return wire;
}

static void yield(void)
{
    if (wire_yield)
        wire_yield();
}

static bool fails(struct test_wire *wire)
{
    errno = wire->failure;
    wire->failure = 0;
    return errno != 0;
}

static bool is_ready(const struct test_wire *wire, int events, int *revents)
{
    *revents = 0;
    if ((events & EV_READ) && (wire->in_at < wire->in_len || wire->in_end || wire->failure))
        *revents |= EV_READ;
    if ((events & EV_WRITE) && (wire->window || wire->failure))
        *revents |= EV_WRITE;
    return *revents;
}

void wire_turn(struct loop *loop, unsigned first)
{
    loop->begin(loop->arg);
    for (unsigned i = 0; i < WIRES; i++) {
        struct test_wire *wire = &wires[(first + i) % WIRES];
        ev_io *watcher = wire->watcher;
        int revents;

        if (wire->is_used && watcher && wire->ev == loop->ev &&
            is_ready(wire, watcher->events, &revents))
            watcher->cb(NULL, watcher, revents);
    }
    (void)loop->turn(loop->arg);
}

/* A compressed frame is whole: it must be a message by itself, in JSON. */
static void check_packed(const struct wire_output *out)
{
    static const uint8_t end[] = {0, 0, 0xff, 0xff};
    uint8_t text[2 * WIRE_PACKED];
    z_stream z = {.next_in = out->packed, .avail_in = (uInt)out->packed_len};
    size_t len;

    if (inflateInit2(&z, -15) != Z_OK)
        return;
    z.next_out = text;
    z.avail_out = sizeof(text);
    if (inflate(&z, Z_SYNC_FLUSH) != Z_OK || z.avail_in)
        abort();
    z.next_in = end;
    z.avail_in = sizeof(end);
    if (inflate(&z, Z_SYNC_FLUSH) != Z_OK || z.avail_in || !z.avail_out)
        abort();
    len = sizeof(text) - z.avail_out;
    if (!out->is_echo && (len < 2 || text[0] != '{' || text[len - 1] != '}'))
        abort();
    (void)inflateEnd(&z);
}

/* What a server may send, octet by octet. */
static void check_frame_octet(struct wire_output *out, uint8_t octet)
{
    unsigned more;
    uint8_t opcode;

    if (out->is_closing)
        abort(); /* something behind a close frame */
    out->frame[out->frame_at++] = octet;
    if (out->frame_at < 2)
        return;
    more = out->frame[1] == 127 ? 8 : out->frame[1] == 126 ? 2 : 0;
    out->is_compressed = out->frame[0] & 0x40;
    if (out->frame[1] & 0x80 || (out->frame[0] & 0xb0) != 0x80)
        abort(); /* masked, fragmented or with reserved bits */
    if (out->is_compressed && !out->may_compress)
        abort(); /* for who did not offer it */
    if (out->frame_at < 2 + more)
        return;
    opcode = out->frame[0] & 15;
    if (opcode != 1 && opcode != 2 && (opcode < 8 || opcode > 10 || more))
        abort();
    out->left = more ? 0 : out->frame[1];
    for (unsigned i = 0; i < more; i++)
        out->left = out->left << 8 | out->frame[2 + i];
    out->frame_at = 0;
    out->packed_len = 0;
    out->is_closing = opcode == 8;
    out->count++;
}

static void check_octet(struct wire_output *out, uint8_t octet)
{
    static const char end[] = "\r\n\r\n";

    if (!out->is_open && out->line == 4)
        return; /* the body of an answer */
    if (!out->is_open) {
        if (out->at < sizeof(out->head) - 1)
            out->head[out->at] = (char)octet;
        out->at++;
        out->line = octet == (uint8_t)end[out->line] ? out->line + 1 : octet == '\r';
        out->is_open = out->line == 4 && memcmp(out->head, "HTTP/1.1 101", 12) == 0;
        if (out->line == 4 && memcmp(out->head, "HTTP/1.1 ", 9) != 0)
            abort();
    } else if (out->left) {
        out->left--;
        if (!out->is_compressed)
            return;
        if (out->packed_len == WIRE_PACKED)
            abort();
        out->packed[out->packed_len++] = octet;
        if (!out->left)
            check_packed(out);
    } else {
        check_frame_octet(out, octet);
    }
}

void wire_check(struct test_wire *wire, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        check_octet(&wire->out, bytes[i]);
}

static size_t take(struct test_wire *wire, const uint8_t *bytes, size_t len)
{
    if (len > wire->window)
        len = wire->window;
    if (wire->chop && len > wire->chop)
        len = wire->chop;
    check_initialized(bytes, len); /* S17: nothing of the heap leaks to a peer */
    if (wire->tls)
        wire_tls_hear(wire, bytes, len);
    else
        wire_check(wire, bytes, len);
    wire->window -= len;
    wire->unsent += len;
    wire->out.octets += len;
    return len;
}

ssize_t __wrap_recv(int fd, void *out, size_t size, int flags)
{
    struct test_wire *wire = find(fd);
    size_t len = wire->in_len - wire->in_at;

    (void)flags;
    yield();
    if (fails(wire))
        return -1;
    if (!len && !wire->in_end)
        errno = EAGAIN;
    if (!len)
        return wire->in_end ? 0 : -1;
    len = len > size ? size : len;
    if (wire->chop && len > wire->chop)
        len = wire->chop;
    memcpy(out, wire->in + wire->in_at, len);
    wire->in_at += len;
    return (ssize_t)len;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct test_wire *wire = find(fd);
    size_t total = 0;

    (void)flags;
    yield();
    if (fails(wire))
        return -1;
    for (size_t i = 0; i < message->msg_iovlen; i++) {
        size_t len = message->msg_iov[i].iov_len;
        size_t taken = take(wire, message->msg_iov[i].iov_base, len);

        total += taken;
        if (taken < len)
            break;
    }
    if (!total)
        errno = EAGAIN;
    return total ? (ssize_t)total : -1;
}

ssize_t __wrap_send(int fd, const void *bytes, size_t len, int flags)
{
    struct iovec iov = {.iov_len = len};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

    memcpy(&iov.iov_base, &bytes, sizeof(bytes));
    return __wrap_sendmsg(fd, &message, flags);
}

ssize_t wire_recv(int fd, void *out, size_t size)
{
    return __wrap_recv(fd, out, size, 0);
}

ssize_t wire_send(int fd, const void *bytes, size_t len)
{
    return __wrap_send(fd, bytes, len, 0);
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    (void)find(fd);
    (void)level;
    (void)name;
    (void)value;
    (void)len;
    return 0;
}

int __wrap_getpeername(int fd, struct sockaddr *address, socklen_t *len)
{
    (void)find(fd);
    memset(address, 0, *len);
    address->sa_family = AF_INET;
    return 0;
}

int __wrap_shutdown(int fd, int how)
{
    (void)find(fd);
    (void)how;
    return 0;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    struct test_wire *wire = find(fd);
    va_list args;

    (void)request; /* SIOCOUTQNSD is all there is */
    va_start(args, request);
    *va_arg(args, int *) = (int)wire->unsent;
    va_end(args);
    return 0;
}

int __wrap_close(int fd)
{
    struct test_wire *wire;

    if (fd < WIRE_FIRST_FD)
        return __real_close(fd);
    wire = find(fd);
    if (wire->watcher)
        abort(); /* closed while it is watched */
    if (wire->tls)
        wire_tls_end(wire);
    wire->is_used = false;
    return 0;
}

ssize_t __wrap_getrandom(void *out, size_t size, unsigned flags)
{
    uint8_t *octets = out;

    (void)flags;
    for (size_t i = 0; i < size; i++) {
        random_state ^= random_state << 13;
        random_state ^= random_state >> 7;
        random_state ^= random_state << 17;
        octets[i] = (uint8_t)random_state;
    }
    return (ssize_t)size;
}

uint64_t __wrap_loop_clock_us(void)
{
    return wire_now_ms * 1000;
}

enum ff_err __wrap_loop_init(struct loop *loop, loop_begin_fn *begin, loop_turn_fn *turn, void *arg)
{
    *loop = (struct loop){.begin = begin, .turn = turn, .arg = arg, .now_ms = wire_now_ms};
    loop->ev = (void *)loop; /* only to be told from another one */
    return FF_OK;
}

void __wrap_loop_deinit(struct loop *loop)
{
    (void)loop;
}

void __wrap_loop_stop(struct loop *loop)
{
    (void)loop;
    wire_is_stopped = true;
}

void __wrap_ev_io_start(struct ev_loop *ev, ev_io *watcher)
{
    find(watcher->fd)->ev = ev;
    find(watcher->fd)->watcher = watcher;
    watcher->active = 1;
}

void __wrap_ev_io_stop(struct ev_loop *ev, ev_io *watcher)
{
    (void)ev;
    if (watcher->active)
        find(watcher->fd)->watcher = NULL;
    watcher->active = 0;
}

/* Between what others have posted and what comes of it. */
void __wrap_mailbox_open(struct mailbox *box)
{
    yield();
    __real_mailbox_open(box);
}
