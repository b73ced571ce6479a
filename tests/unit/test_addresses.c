/* SPDX-License-Identifier: Apache-2.0 */
/* How many connections of one address there may be, and whose they are behind a proxy. */
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/client.h"
#include "tests/support/hand.h"
#include "tests/support/test.h"

enum { TEXT = 512 };

static int begin(void **state)
{
    (void)state;
    hand_begin(2);
    return 0;
}

/* Whose socket it is, by its descriptor. */
static struct address peers[1024];

int __wrap_getpeername(int fd, struct sockaddr *address, socklen_t *len);

int __wrap_getpeername(int fd, struct sockaddr *address, socklen_t *len)
{
    memcpy(address, &peers[fd].storage, *len);
    *len = peers[fd].len;
    return 0;
}

/* A listener's answer, for a connection of `ip` (NULL: a Unix socket); the client's end of it. */
static int accept_of(struct gateway *gateway, const char *ip)
{
    struct newcomer newcomer = {.is_tls = false};
    struct address *peer = &newcomer.peer;
    int both[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, both), 0);
    assert_true((size_t)both[0] < FF_COUNT(peers));
    if (ip)
        assert_int_equal(address_parse_ip(peer, ff_slice_of(ip)), FF_OK);
    peers[both[0]] = *peer;
    newcomer.fd = both[0];
    gateway_listener_ops.accepted(gateway, &newcomer);
    return both[1];
}

/* With further lines, or "". */
static void write_head_with(int fd, const char *lines)
{
    char head[TEXT];
    size_t len = client_put_head(head, sizeof(head), "/ws", "fanfare.v1.json");

    len -= 2; /* the empty line */
    len += (size_t)snprintf(head + len, sizeof(head) - len, "%s\r\n", lines);
    assert_int_equal(send(fd, head, len, 0), len);
}

static void turn_all(void)
{
    for (int round = 0; round < 4; round++)
        hand_turn_all();
}

/* Its handshake is done: is it closed with 1013? The socket is closed, too. */
static bool is_turned_away(int fd)
{
    char came[4096];
    ssize_t len = recv(fd, came, sizeof(came), 0);

    assert_true(len > 0 && memmem(came, (size_t)len, "101 Switching", 13));
    return memmem(came, (size_t)len, "\x03\xf5max_connections_per_address", 29);
}

static const char *const one_proxy[] = {"198.51.100.1"};

static void use_proxies(uint32_t count)
{
    hand_config->settings.proxies = (struct text_list){one_proxy, count};
}

/* How many of these are turned away, whose sockets were all accepted before the first head came. */
static unsigned count_turned_away(const char *peer, const char *const *lines, int count)
{
    int fds[16];
    unsigned turned_away = 0;

    assert_true(count <= (int)FF_COUNT(fds));
    for (int i = 0; i < count; i++)
        fds[i] = accept_of(&hand_gateways[0], peer);
    turn_all();
    for (int i = 0; i < count; i++)
        write_head_with(fds[i], lines[i]);
    turn_all();
    for (int i = 0; i < count; i++)
        turned_away += is_turned_away(fds[i]);
    for (int i = 0; i < count; i++)
        (void)close(fds[i]);
    turn_all();
    return turned_away;
}

/* P11: the proxy's own sockets were counted when they were accepted, and that was never undone. */
static void clients_behind_a_proxy_are_counted_for_themselves(void **state)
{
    static const char *const six[] = {
        "X-Forwarded-For: 203.0.113.1\r\n", "X-Forwarded-For: 203.0.113.2\r\n",
        "X-Forwarded-For: 203.0.113.3\r\n", "X-Forwarded-For: 203.0.113.4\r\n",
        "X-Forwarded-For: 203.0.113.5\r\n", "X-Forwarded-For: 203.0.113.6\r\n"};
    static const char *const one[] = {
        "X-Forwarded-For: 203.0.113.7\r\n", "X-Forwarded-For: 203.0.113.7, 198.51.100.1\r\n",
        "X-Forwarded-For: 6.6.6.6, 203.0.113.7\r\n",
        "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-For: 198.51.100.1\r\n"};
    static const char *const none[] = {"", "", "X-Forwarded-For: unknown\r\n",
                                       "X-Forwarded-For: 198.51.100.1\r\n"};

    (void)state;
    hand_config->settings.max_connections_per_address = 2;
    use_proxies(1);
    assert_int_equal(count_turned_away("198.51.100.1", six, 6), 0);
    assert_int_equal(count_turned_away("198.51.100.1", one, 4), 2);
    assert_int_equal(count_turned_away("198.51.100.1", none, 4), 0);
    assert_int_equal(count_turned_away("203.0.113.7", six, 6), 4); /* nobody believes it */
    assert_int_equal(hand_shared.addresses.count, 0);
}

static void however_a_proxy_writes_an_address_it_is_one(void **state)
{
    static const char *const one[] = {
        "X-Forwarded-For: 203.0.113.7\r\n", "X-Forwarded-For: 203.0.113.7:4711\r\n",
        "X-Forwarded-For: \"203.0.113.7:4711\"\r\n", "X-Forwarded-For: ::ffff:203.0.113.7\r\n"};
    static const char *const network[] = {
        "X-Forwarded-For: 2001:db8:0:1::1\r\n", "X-Forwarded-For: [2001:db8:0:1::2]\r\n",
        "X-Forwarded-For: [2001:db8:0:1::3]:4711\r\n", "X-Forwarded-For: 2001:db8:0:2::1\r\n"};
    static const char *const elements[] = {
        "Forwarded: for=203.0.113.7;proto=https\r\n", "Forwarded: for=\"203.0.113.7:1\"\r\n",
        "Forwarded: for=6.6.6.6, for=203.0.113.7\r\n", "X-Forwarded-For: 203.0.113.7\r\n"};

    (void)state;
    hand_config->settings.max_connections_per_address = 2;
    use_proxies(1);
    assert_int_equal(count_turned_away("198.51.100.1", one, 4), 2);
    assert_int_equal(count_turned_away("198.51.100.1", network, 4), 1);
    hand_config->settings.ipv6_prefix = 48;
    assert_int_equal(count_turned_away("198.51.100.1", network, 4), 2);
    hand_config->settings.ipv6_prefix = 128;
    assert_int_equal(count_turned_away("198.51.100.1", network, 4), 0);
    hand_config->settings.proxy_header = "Forwarded";
    assert_int_equal(count_turned_away("198.51.100.1", elements, 4), 1);
    assert_int_equal(hand_shared.addresses.count, 0);
}

static void one_network_of_ipv6_is_one_client(void **state)
{
    unsigned turned_away = 0;
    int fds[4];

    (void)state;
    hand_config->settings.max_connections_per_address = 2;
    for (int i = 0; i < 4; i++) {
        char ip[64];

        (void)snprintf(ip, sizeof(ip), "2001:db8:0:%d::%d", i < 3 ? 1 : 2, i);
        fds[i] = accept_of(&hand_gateways[0], ip);
        write_head_with(fds[i], "");
    }
    turn_all();
    for (int i = 0; i < 4; i++) {
        turned_away += is_turned_away(fds[i]);
        (void)close(fds[i]);
    }
    turn_all();
    assert_int_equal(turned_away, 1);
}

/* The first two came in time, although all are there when their heads come. */
static void of_one_address_the_first_stay(void **state)
{
    static const char *const plain[] = {"", "", "", ""};

    (void)state;
    hand_config->settings.max_connections_per_address = 2;
    assert_int_equal(count_turned_away("203.0.113.1", plain, 4), 2);
    use_proxies(1); /* it is none of them */
    assert_int_equal(count_turned_away("203.0.113.1", plain, 4), 2);
    assert_int_equal(count_turned_away("203.0.113.1", plain, 2), 0);
}

static void a_reload_of_the_proxies_counts_anew(void **state)
{
    int fds[4];

    (void)state;
    hand_config->settings.max_connections_per_address = 2;
    for (int i = 0; i < 4; i++) /* two of them are too many, for all that is known */
        fds[i] = accept_of(&hand_gateways[0], "198.51.100.1");
    use_proxies(1);
    for (int i = 0; i < 4; i++) {
        char lines[64];

        (void)snprintf(lines, sizeof(lines), "X-Forwarded-For: 203.0.113.%d\r\n", i);
        write_head_with(fds[i], lines);
    }
    turn_all();
    for (int i = 0; i < 4; i++) {
        assert_false(is_turned_away(fds[i]));
        (void)close(fds[i]);
    }
}

#define WITH_WORKERS(test) cmocka_unit_test_setup_teardown(test, begin, hand_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORKERS(clients_behind_a_proxy_are_counted_for_themselves),
        WITH_WORKERS(however_a_proxy_writes_an_address_it_is_one),
        WITH_WORKERS(one_network_of_ipv6_is_one_client),
        WITH_WORKERS(of_one_address_the_first_stay),
        WITH_WORKERS(a_reload_of_the_proxies_counts_anew),
    };

    return cmocka_run_group_tests_name("addresses", tests, NULL, NULL);
}
