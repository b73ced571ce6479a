/* SPDX-License-Identifier: Apache-2.0 */
/* Lines for whoever reads them, slowly, late, or never: who puts them does not wait. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/net/logger.h"
#include "broker/net/sink.h"
#include "tests/support/test.h"

enum {
    PIPE_SIZE = 4096,
    LINES = 20000,
    PATIENCE_MS = 120000,
    TEXT = 8 << 20, /* more than all lines of four threads, should none be lost */
};

static char text[TEXT];

static size_t tell_lost(char *out, size_t size, uint64_t lost)
{
    return (size_t)snprintf(out, size, "lost %lu\n", (unsigned long)lost);
}

static struct sink *begin(int fd)
{
    struct sink *sink = sink_new(fd, tell_lost);

    assert_non_null(sink);
    return sink;
}

/* "3 number 17", longer and shorter. */
static void put_number(struct sink *sink, int who, int n)
{
    char line[256];
    int len = snprintf(line, sizeof(line), "%d number %d%*s\n", who, n, 1 + n % 100, ".");

    sink_put(sink, line, (size_t)len);
}

/* A pipe that holds a page. */
static void make_pipe(int ends[2])
{
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fcntl(ends[1], F_SETPIPE_SZ, PIPE_SIZE), PIPE_SIZE);
}

/* Up to the end; returns the octets. */
static size_t read_all(int fd)
{
    size_t len = 0;
    ssize_t got;

    while ((got = read(fd, text + len, TEXT - 1 - len)) > 0)
        len += (size_t)got;
    text[len] = '\0';
    return len;
}

/* Of each writer the numbers rise, and what is missing was told: all `count` of each are known of.
 */
static void check_text(int writers, int count)
{
    int last[8] = {-1, -1, -1, -1, -1, -1, -1, -1};
    long seen = 0;
    long lost = 0;

    for (char *line = text; *line;) {
        char *end = strchr(line, '\n');
        int who;
        int n;
        long gap;

        assert_non_null(end); /* whole lines */
        *end = '\0';
        if (sscanf(line, "lost %ld", &gap) == 1) {
            lost += gap;
        } else {
            assert_int_equal(sscanf(line, "%d number %d", &who, &n), 2);
            assert_true(who < writers && n > last[who] && n < count);
            assert_int_equal(end[-1], '.');
            last[who] = n;
            seen++;
        }
        line = end + 1;
    }
    print_message("    %ld lines, %ld lost\n", seen, lost);
    assert_int_equal(seen + lost, (long)writers * count);
}

static pthread_t reader;

static void *read_end(void *arg)
{
    (void)read_all(*(const int *)arg);
    return NULL;
}

/* Reads beside the test, until the other end is closed. */
static void begin_reading(int *end)
{
    assert_int_equal(pthread_create(&reader, NULL, read_end, end), 0);
}

static void end_reading(int ends[2], int writers, int count)
{
    (void)close(ends[1]);
    assert_int_equal(pthread_join(reader, NULL), 0);
    (void)close(ends[0]);
    check_text(writers, count);
}

static void who_is_read_loses_nothing_it_has_room_for(void **state)
{
    int ends[2];
    struct sink *sink;

    (void)state;
    make_pipe(ends);
    begin_reading(&ends[0]);
    sink = begin(ends[1]);
    for (int i = 0; i < LINES; i++) {
        put_number(sink, 0, i);
        if (i % 100 == 0)
            assert_true(sink_drain(sink, PATIENCE_MS));
    }
    sink_free(sink, PATIENCE_MS);
    end_reading(ends, 1, LINES);
}

/* P2: whoever logged waited for a reader that never came. */
static void who_is_not_read_loses_and_says_so(void **state)
{
    int ends[2];
    struct sink *sink;
    int flags;

    (void)state;
    make_pipe(ends);
    flags = fcntl(ends[1], F_GETFL);
    sink = begin(ends[1]);
    for (int i = 0; i < LINES; i++)
        put_number(sink, 0, i);
    assert_false(sink_drain(sink, 20));
    assert_int_equal(fcntl(ends[1], F_GETFL), flags); /* others write to it, too */
    begin_reading(&ends[0]);
    assert_true(sink_drain(sink, PATIENCE_MS));
    for (int i = LINES; i < LINES + 100; i++)
        put_number(sink, 0, i);
    sink_free(sink, PATIENCE_MS);
    end_reading(ends, 1, LINES + 100);
}

/* The last word is how many were lost, also where no line follows. */
static void what_was_lost_is_told_without_another_line(void **state)
{
    int ends[2];
    struct sink *sink;

    (void)state;
    make_pipe(ends);
    sink = begin(ends[1]);
    for (int i = 0; i < LINES; i++)
        put_number(sink, 0, i);
    begin_reading(&ends[0]);
    sink_free(sink, PATIENCE_MS);
    end_reading(ends, 1, LINES);
}

static void who_is_never_read_ends_all_the_same(void **state)
{
    int ends[2];
    struct sink *sink;

    (void)state;
    make_pipe(ends);
    sink = begin(ends[1]);
    for (int i = 0; i < LINES; i++)
        put_number(sink, 0, i);
    sink_free(sink, 20); /* its thread is left behind, until the program ends */
}

struct writer {
    pthread_t thread;
    struct sink *sink;
    int who;
};

static void *put_many(void *arg)
{
    const struct writer *writer = arg;

    for (int i = 0; i < LINES; i++)
        put_number(writer->sink, writer->who, i);
    return NULL;
}

static void lines_of_several_threads_stay_whole(void **state)
{
    enum { THREADS = 4 };
    struct writer writers[THREADS];
    struct sink *sink;
    int ends[2];

    (void)state;
    make_pipe(ends);
    begin_reading(&ends[0]);
    sink = begin(ends[1]);
    for (int i = 0; i < THREADS; i++) {
        writers[i] = (struct writer){.sink = sink, .who = i};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, put_many, &writers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(writers[i].thread, NULL), 0);
    sink_free(sink, PATIENCE_MS);
    end_reading(ends, THREADS, LINES);
}

/* As systemd gives: a stream socket, which nobody can reopen; and one that others made
 * non-blocking.
 */
static void sockets_are_written_to_as_they_are(void **state)
{
    (void)state;
    for (int flags = 0; flags <= SOCK_NONBLOCK; flags += SOCK_NONBLOCK) {
        struct sink *sink;
        int ends[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | flags, 0, ends), 0);
        sink = begin(ends[1]);
        for (int i = 0; i < LINES; i++)
            put_number(sink, 0, i);
        if (flags)
            assert_int_equal(fcntl(ends[0], F_SETFL, 0), 0);
        begin_reading(&ends[0]);
        sink_free(sink, PATIENCE_MS);
        end_reading(ends, 1, LINES);
    }
}

/* A disk that is full for a while: what the ring holds goes out when there is space again. */
static void a_full_disk_is_tried_again(void **state)
{
    struct rlimit before;
    struct rlimit small;
    FILE *file = tmpfile();
    struct sink *sink;

    (void)state;
    assert_non_null(file);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){10000, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    sink = begin(fileno(file));
    for (int i = 0; i < 5000; i++)
        put_number(sink, 0, i);
    assert_false(sink_drain(sink, 20));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(sink_drain(sink, PATIENCE_MS));
    sink_free(sink, PATIENCE_MS);
    rewind(file);
    (void)read_all(fileno(file));
    check_text(1, 5000);
    (void)fclose(file);
}

/* /dev/full, a reader that went, a descriptor that is none: nothing to hope for at the end. */
static void what_cannot_be_written_is_given_up_at_the_end(void **state)
{
    int ends[2];
    int fds[3];

    (void)state;
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe(ends), 0);
    (void)close(ends[0]);
    fds[0] = open("/dev/full", O_WRONLY);
    fds[1] = ends[1];
    fds[2] = -1;
    for (size_t k = 0; k < FF_COUNT(fds); k++) {
        struct sink *sink = begin(fds[k]);

        for (int i = 0; i < LINES; i++)
            put_number(sink, 0, i);
        sink_free(sink, PATIENCE_MS);
    }
    (void)close(fds[0]);
    (void)close(fds[1]);
}

/* What a child logs and says before it fails a check, with standard error on this pipe. */
static int fail_in_child(int fd, int lines)
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(fd, STDERR_FILENO);
        (void)signal(SIGALRM, SIG_DFL);
        (void)alarm(240); /* it would wait for ever */
        if (!log_begin())
            _exit(1);
        log_set(LOG_DEBUG, false);
        for (int i = 0; i < lines; i++)
            LOG_EVENT(LOG_DEBUG, "before", LOG_NUM("n", i));
        ff_check_failed("file.c", 7, "a fact");
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    return WTERMSIG(status);
}

static void a_check_that_fails_gets_its_line_out(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fail_in_child(ends[1], 100), SIGABRT);
    (void)close(ends[1]);
    (void)read_all(ends[0]);
    assert_non_null(strstr(text, "fanfare: check failed at file.c:7: a fact\n"));
    assert_non_null(strstr(text, "before n=99\n")); /* and what was logged before it, too */
    (void)close(ends[0]);
}

static void a_check_that_fails_does_not_wait_for_who_does_not_read(void **state)
{
    int ends[2];

    (void)state;
    make_pipe(ends);
    assert_int_equal(fail_in_child(ends[1], LINES), SIGABRT);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(who_is_read_loses_nothing_it_has_room_for, nothing_leaked),
        cmocka_unit_test_teardown(who_is_not_read_loses_and_says_so, nothing_leaked),
        cmocka_unit_test_teardown(what_was_lost_is_told_without_another_line, nothing_leaked),
        cmocka_unit_test_teardown(lines_of_several_threads_stay_whole, nothing_leaked),
        cmocka_unit_test_teardown(sockets_are_written_to_as_they_are, nothing_leaked),
        cmocka_unit_test_teardown(a_full_disk_is_tried_again, nothing_leaked),
        cmocka_unit_test_teardown(what_cannot_be_written_is_given_up_at_the_end, nothing_leaked),
        cmocka_unit_test_teardown(a_check_that_fails_gets_its_line_out, nothing_leaked),
        cmocka_unit_test(a_check_that_fails_does_not_wait_for_who_does_not_read),
        cmocka_unit_test(who_is_never_read_ends_all_the_same), /* leaves its memory behind */
    };

    return cmocka_run_group_tests_name("sink", tests, NULL, NULL);
}
