/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fanfare-uring: is a flush cheaper when io_uring is handed all its sends at once?
 *
 * The same octets to N sockets on loopback, by a loop of send() and by one
 * io_uring_submit() of N sends, in turn; CPU time of the sender, kernel included.
 * A child reads.
 */
#include <arpa/inet.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SOCKETS = 1000, ROUNDS = 41, FLUSHES = 20, BYTES = 65536 };

static int sockets[SOCKETS];
static char bytes[BYTES];

static void must(bool is_true, const char *what)
{
    if (is_true)
        return;
    perror(what);
    exit(1);
}

/* The other ends: reads until all are closed. */
__attribute__((noreturn)) static void drain(int listener)
{
    static char in[1 << 20];
    int epoll = epoll_create1(0);
    int open = 0;

    for (; open < SOCKETS; open++) {
        int fd = accept(listener, NULL, NULL);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

        must(fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0, "accept");
    }
    while (open) {
        struct epoll_event events[256];
        int count = epoll_wait(epoll, events, 256, -1);

        for (int i = 0; i < count; i++) {
            if (recv(events[i].data.fd, in, sizeof(in), 0) <= 0) {
                (void)close(events[i].data.fd);
                open--;
            }
        }
    }
    _exit(0);
}

static void connect_all(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    int on = 1;

    must(bind(listener, (struct sockaddr *)&address, size) == 0, "bind");
    must(listen(listener, SOCKETS) == 0, "listen");
    must(getsockname(listener, (struct sockaddr *)&address, &size) == 0, "getsockname");
    if (fork() == 0)
        drain(listener);
    for (int i = 0; i < SOCKETS; i++) {
        sockets[i] = socket(AF_INET, SOCK_STREAM, 0);
        must(connect(sockets[i], (struct sockaddr *)&address, size) == 0, "connect");
        (void)setsockopt(sockets[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
}

static void flush_by_send(size_t size)
{
    for (int i = 0; i < SOCKETS; i++)
        must(send(sockets[i], bytes, size, MSG_NOSIGNAL) == (ssize_t)size, "send");
}

static void flush_by_uring(struct io_uring *ring, size_t size)
{
    struct io_uring_cqe *cqe;
    unsigned head;
    unsigned done = 0;

    for (int i = 0; i < SOCKETS; i++) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

        io_uring_prep_send(sqe, i, bytes, size, MSG_NOSIGNAL);
        sqe->flags |= IOSQE_FIXED_FILE;
    }
    must(io_uring_submit_and_wait(ring, SOCKETS) == SOCKETS, "submit");
    io_uring_for_each_cqe(ring, head, cqe)
    {
        must(cqe->res == (int)size, "a send of io_uring");
        done++;
    }
    io_uring_cq_advance(ring, done);
    must(done == SOCKETS, "completions");
}

static double cpu_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static void measure(struct io_uring *ring, size_t size)
{
    double by_send[ROUNDS];
    double by_uring[ROUNDS];
    double ratios[ROUNDS];

    for (int round = 0; round < ROUNDS; round++) {
        double from = cpu_ns();

        for (int i = 0; i < FLUSHES; i++, usleep(2000))
            flush_by_send(size);
        by_send[round] = (cpu_ns() - from) / FLUSHES / SOCKETS;
        from = cpu_ns();
        for (int i = 0; i < FLUSHES; i++, usleep(2000))
            flush_by_uring(ring, size);
        by_uring[round] = (cpu_ns() - from) / FLUSHES / SOCKETS;
        ratios[round] = by_uring[round] / by_send[round];
    }
    qsort(by_send, ROUNDS, sizeof(double), compare);
    qsort(by_uring, ROUNDS, sizeof(double), compare);
    qsort(ratios, ROUNDS, sizeof(double), compare);
    (void)printf("%6zu octets: send() %6.0f ns, io_uring %6.0f ns, ratio %.3f\n", size,
                 by_send[ROUNDS / 2], by_uring[ROUNDS / 2], ratios[ROUNDS / 2]);
}

int main(void)
{
    static const size_t sizes[] = {64, 150, 512, 4096, 16384};
    struct io_uring ring;

    connect_all();
    must(io_uring_queue_init(1024, &ring,
                             IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN) == 0 ||
             io_uring_queue_init(1024, &ring, 0) == 0,
         "io_uring");
    must(io_uring_register_files(&ring, sockets, SOCKETS) == 0, "registered files");
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        measure(&ring, sizes[i]);
    for (int i = 0; i < SOCKETS; i++)
        (void)close(sockets[i]);
    io_uring_queue_exit(&ring);
    (void)wait(NULL);
    return 0;
}
