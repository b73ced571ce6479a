/* SPDX-License-Identifier: Apache-2.0 */
/* Who speaks the PROXY protocol waits on the porch until the whole head has come. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/net/porch.h"
#include "tests/support/test.h"

static const char head[] = "PROXY TCP4 192.0.2.9 192.0.2.1 4711 443\r\n";

static struct net net;
static struct listener listener;
static struct newcomer handed; /* the last one that came in */
static unsigned handed_count;
static bool trusts;

static void begin(void *arg)
{
    (void)arg;
    net_begin(&net);
}

static uint64_t turn(void *arg)
{
    (void)arg;
    net_free_dead(&net);
    return 0;
}

static void accepted(void *arg, const struct newcomer *newcomer)
{
    (void)arg;
    handed = *newcomer;
    handed_count++;
}

static bool is_proxy(void *arg, const struct address *peer)
{
    (void)arg;
    return trusts && peer->storage.ss_family == AF_UNIX;
}

static enum ff_err open_net(void)
{
    static const struct listener_ops ops = {.accepted = accepted, .is_proxy = is_proxy};
    enum ff_err err = net_init(&net, begin, turn, NULL);

    listener = (struct listener){.net = &net, .ops = &ops, .is_tls = true, .is_proxied = true};
    handed_count = 0;
    trusts = true;
    return err;
}

static int open_porch(void **state)
{
    (void)state;
    return open_net() == FF_OK ? 0 : -1;
}

static int close_porch(void **state)
{
    porch_leave(&listener);
    net_free_dead(&net);
    net_deinit(&net);
    return nothing_leaked(state);
}

/* A proxy's end of a new connection. */
static int come(void)
{
    struct newcomer newcomer = {.is_tls = true};
    int both[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, both), 0);
    newcomer.fd = both[0];
    newcomer.peer.storage.ss_family = AF_UNIX;
    porch_take(&listener, &newcomer);
    return both[1];
}

static void say(int fd, const void *bytes, size_t len)
{
    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
}

static void look(void)
{
    for (int i = 0; i < 3; i++)
        ev_run(net.loop.ev, EVRUN_NOWAIT);
    net_free_dead(&net);
}

static bool is_ended(int fd)
{
    char octet;
    ssize_t got = recv(fd, &octet, 1, MSG_DONTWAIT);

    return got == 0 || (got < 0 && errno == ECONNRESET);
}

static void a_guest_goes_in_with_its_client_and_no_octet_less(void **state)
{
    size_t len = sizeof(head) - 1;
    char rest[64];

    (void)state;
    for (size_t cut = 1; cut <= len; cut++) { /* in two pieces, wherever they are cut */
        int fd = come();
        char who[ADDRESS_TEXT_MAX];

        handed_count = 0;
        say(fd, head, cut);
        look();
        assert_int_equal(handed_count, cut == len);
        assert_int_equal(net.guest_count, cut < len);
        if (cut < len) {
            char text[sizeof(head) + 8];

            (void)snprintf(text, sizeof(text), "%sGET /", head);
            say(fd, text + cut, strlen(text) - cut);
        } else {
            say(fd, "GET /", 5);
        }
        look();
        assert_int_equal(handed_count, 1);
        assert_true(handed.is_named && handed.is_tls);
        address_text(&handed.peer, true, who);
        assert_string_equal(who, "192.0.2.9:4711");
        assert_int_equal(recv(handed.fd, rest, sizeof(rest), 0), 5);
        assert_memory_equal(rest, "GET /", 5);
        (void)close(handed.fd);
        (void)close(fd);
    }
    assert_int_equal(net.guest_count, 0);
}

static void a_proxy_that_speaks_for_itself_is_itself(void **state)
{
    int fd = come();

    (void)state;
    say(fd, "PROXY UNKNOWN\r\n", 15);
    look();
    assert_int_equal(handed_count, 1);
    assert_false(handed.is_named);
    assert_int_equal(handed.peer.storage.ss_family, AF_UNIX);
    (void)close(handed.fd);
    (void)close(fd);
}

static void who_is_no_proxy_or_speaks_otherwise_is_reset(void **state)
{
    int fds[3];

    (void)state;
    fds[0] = come();
    say(fds[0], "GET / HTTP/1.1\r\n\r\n", 18);
    fds[1] = come();
    (void)shutdown(fds[1], SHUT_WR);
    trusts = false;
    fds[2] = come();
    look();
    for (int i = 0; i < 3; i++) {
        assert_true(is_ended(fds[i]));
        (void)close(fds[i]);
    }
    assert_int_equal(handed_count, 0);
    assert_int_equal(net.guest_count, 0);
}

static void nobody_waits_for_ever(void **state)
{
    uint64_t came_ms = net.loop.now_ms; /* the clock may go on in look() */
    int silent = come();
    int slow = come();
    int left = come();

    (void)state;
    say(slow, head, 10);
    look();
    net.loop.now_ms = came_ms + PORCH_MS - 100;
    wheel_advance(&net.wheel);
    assert_int_equal(net.guest_count, 3);
    net.loop.now_ms += 200;
    wheel_advance(&net.wheel);
    assert_int_equal(net.guest_count, 0);
    assert_true(is_ended(silent) && is_ended(slow) && is_ended(left));
    (void)close(left);
    left = come();
    porch_leave(&(struct listener){.net = &net}); /* another one's */
    assert_int_equal(net.guest_count, 1);
    porch_leave(&listener);
    assert_int_equal(net.guest_count, 0);
    assert_true(is_ended(left));
    (void)close(silent);
    (void)close(slow);
    (void)close(left);
}

static void come_in(void)
{
    int fd;

    if (open_net())
        return;
    fd = come();
    if (net.guest_count) {
        say(fd, head, sizeof(head) - 1);
        look();
        assert_int_equal(handed_count, 1);
        (void)close(handed.fd);
    } else {
        assert_true(is_ended(fd));
    }
    (void)close(fd);
    net_free_dead(&net);
    net_deinit(&net);
}

static void running_out_of_memory_leaks_nothing(void **state)
{
    (void)state;
    for_each_failing_allocation(come_in);
}

#define ON_PORCH(test) cmocka_unit_test_setup_teardown(test, open_porch, close_porch)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_PORCH(a_guest_goes_in_with_its_client_and_no_octet_less),
        ON_PORCH(a_proxy_that_speaks_for_itself_is_itself),
        ON_PORCH(who_is_no_proxy_or_speaks_otherwise_is_reset),
        ON_PORCH(nobody_waits_for_ever),
        cmocka_unit_test(running_out_of_memory_leaks_nothing),
    };

    return cmocka_run_group_tests_name("porch", tests, NULL, NULL);
}
