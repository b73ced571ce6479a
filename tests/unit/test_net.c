/* SPDX-License-Identifier: Apache-2.0 */
/* The wheel, the pool, addresses, and who may open a page: all without a socket. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "broker/net/logger.h"
#include "broker/net/outbox.h"
#include "broker/net/pool.h"
#include "broker/net/socket.h"
#include "broker/net/trimmer.h"
#include "broker/net/wheel.h"
#include "broker/session/origin.h"
#include "clients/c/url.h"
#include "tests/support/test.h"

enum { TIMERS = 2000 };

static uint64_t now_ms;
static struct wheel wheel;
static struct alarm {
    struct wheel_timer timer;
    uint64_t due_ms;
    int fired;
} alarms[TIMERS];

static void on_alarm(struct wheel_timer *timer)
{
    struct alarm *alarm = FF_CONTAINER(timer, struct alarm, timer);

    assert_true(now_ms >= alarm->due_ms); /* never early */
    alarm->fired++;
}

/* A wheel that has been turning for so many ticks. */
static void begin_wheel(uint64_t ticks)
{
    now_ms = 123456789;
    wheel_init(&wheel, &now_ms);
    now_ms += ticks * WHEEL_TICK_MS;
    wheel_advance(&wheel);
}

static void check_timers(uint64_t ticks)
{
    struct dice dice = {5};
    uint64_t last = 0;

    begin_wheel(ticks);
    for (int i = 0; i < TIMERS; i++) {
        uint64_t after =
            dice_below(&dice, 4) ? dice_below(&dice, 5000) : dice_below(&dice, 30000000);

        now_ms += dice_below(&dice, 7); /* the wheel lags behind the clock */
        wheel_timer_init(&alarms[i].timer, on_alarm);
        alarms[i].fired = 0;
        alarms[i].due_ms = now_ms + after;
        wheel_set(&wheel, &alarms[i].timer, after);
        last = alarms[i].due_ms > last ? alarms[i].due_ms : last;
    }
    for (int i = 0; i < TIMERS; i += 10)
        wheel_stop(&wheel, &alarms[i].timer);
    wheel_advance(&wheel);
    while (now_ms < last + 100) {
        uint64_t wait = wheel_wait_ms(&wheel, now_ms, 60000);

        assert_true(wait > 0); /* all that is due has fired: a loop that does not wait spins */
        now_ms += wait;
        wheel_advance(&wheel);
        for (int i = 0; i < TIMERS; i++) /* and not late by more than two ticks, if it is asked */
            assert_true(alarms[i].fired || i % 10 == 0 || alarms[i].due_ms + 30 > now_ms);
    }
    for (int i = 0; i < TIMERS; i++)
        assert_int_equal(alarms[i].fired, i % 10 != 0);
    assert_int_equal(wheel.count, 0);
}

static void timers_fire_once_and_never_early(void **state)
{
    (void)state;
    check_timers(0);
}

/* P7: what a tick was kept in wraps after 497 days. */
static void timers_know_no_border(void **state)
{
    static const uint64_t borders[] = {UINT64_C(1) << 31, UINT64_C(1) << 32, UINT64_C(1) << 33,
                                       UINT64_C(1) << 40};

    (void)state;
    for (size_t i = 0; i < FF_COUNT(borders); i++) {
        print_message("    %lu ticks\n", (unsigned long)borders[i]);
        check_timers(borders[i] - 1000);
    }
}

static void a_clock_that_leaps_fires_all_that_is_due(void **state)
{
    static const uint64_t days[] = {1, 248, 497, 498, 995, 400000};

    (void)state;
    begin_wheel(12345);
    for (size_t i = 0; i < FF_COUNT(days); i++) {
        uint64_t leap = days[i] * 24 * 3600 * 1000;

        for (int k = 0; k < 3; k++) { /* one before, one where it lands, one behind */
            wheel_timer_init(&alarms[k].timer, on_alarm);
            alarms[k].fired = 0;
            alarms[k].due_ms = now_ms + leap / 2 * (uint64_t)k;
        }
        wheel_set(&wheel, &alarms[0].timer, 0);
        wheel_set(&wheel, &alarms[1].timer, leap / 2);
        wheel_set(&wheel, &alarms[2].timer, leap + 20);
        now_ms += leap;
        wheel_advance(&wheel);
        assert_int_equal(alarms[0].fired + alarms[1].fired, 2);
        assert_int_equal(alarms[2].fired, 0);
        now_ms += 40;
        wheel_advance(&wheel);
        assert_int_equal(alarms[2].fired, 1);
        assert_int_equal(wheel.count, 0);
    }
}

static void a_pool_gives_back_what_it_need_not_keep(void **state)
{
    struct pool pool;
    void *blocks[100];

    (void)state;
    pool_init(&pool, 100000);
    for (size_t size = 1; size <= 200000; size += 37) {
        size_t rounded = pool_round(size);

        assert_true(rounded >= size);
        assert_int_equal(pool_round(rounded), rounded);
        assert_true(size <= POOL_SMALLEST || rounded <= size + size / 4 + 64);
    }
    for (size_t i = 0; i < 100; i++) {
        blocks[i] = pool_alloc(&pool, 300 + i * 100);
        assert_non_null(blocks[i]);
        memset(blocks[i], 0xdd, pool_round(300 + i * 100));
    }
    for (size_t i = 0; i < 100; i++)
        pool_free(&pool, blocks[i], 300 + i * 100);
    assert_true(pool.free_bytes <= 100000 && pool.free_bytes > 50000);
    assert_int_equal(pool.used_bytes, 0);
    {
        uint64_t asked = ff_mem_count();
        void *again = pool_alloc(&pool, 1000);

        assert_int_equal(ff_mem_count(), asked); /* warm: no malloc */
        pool_free(&pool, again, 1000);
    }
    pool_deinit(&pool);
}

static void what_nobody_asked_for_in_a_second_goes_back(void **state)
{
    struct pool pool;
    void *blocks[64];

    (void)state;
    pool_init(&pool, 1 << 20);
    for (size_t i = 0; i < FF_COUNT(blocks); i++)
        blocks[i] = pool_alloc(&pool, 256 + i * 333);
    for (size_t i = 0; i < FF_COUNT(blocks); i++)
        pool_free(&pool, blocks[i], 256 + i * 333);
    pool_trim(&pool); /* all of it was in use this second */
    assert_true(pool.free_bytes > 500000);
    blocks[0] = pool_alloc(&pool, 5000); /* this much is needed in the next one */
    pool_free(&pool, blocks[0], 5000);
    pool_trim(&pool);
    assert_true(pool.free_bytes <= 65536);
    pool_trim(&pool);
    assert_int_equal(pool.free_bytes, 0);
    assert_int_equal(ff_mem_live_blocks(), 0);
    pool_deinit(&pool);
}

/* The heap's pages go back when the test says so. */
static sem_t trim_began;
static sem_t trim_may_end;
static pthread_t trimmed_by;
static unsigned trims;

int __wrap_malloc_trim(size_t keep);

int __wrap_malloc_trim(size_t keep)
{
    (void)keep;
    trimmed_by = pthread_self();
    trims++;
    assert_int_equal(sem_post(&trim_began), 0);
    while (sem_wait(&trim_may_end) < 0)
        assert_int_equal(errno, EINTR);
    return 1;
}

static void nobody_waits_for_the_heap_to_be_trimmed(void **state)
{
    enum { LARGE = 8 << 20 };
    struct trimmer trimmer;

    (void)state;
    assert_int_equal(sem_init(&trim_began, 0, 0), 0);
    assert_int_equal(sem_init(&trim_may_end, 0, 0), 0);
    trimmer_init(&trimmer);
    for (unsigned round = 1; round <= 3; round++) {
        void *block = ff_mem_alloc(LARGE);

        assert_non_null(block);
        trimmer_look(&trimmer);
        assert_int_equal(trims, round - 1); /* nothing has gone */
        ff_mem_free(block);
        trimmer_look(&trimmer);
        assert_int_equal(sem_wait(&trim_began), 0);
        assert_false(pthread_equal(trimmed_by, pthread_self()));
        for (int i = 0; i < 3; i++) {
            block = ff_mem_alloc(LARGE);
            assert_non_null(block);
            trimmer_look(&trimmer);
            ff_mem_free(block);
            trimmer_look(&trimmer); /* one is under way */
        }
        assert_int_equal(trims, round);
        assert_int_equal(sem_post(&trim_may_end), 0);
        while (!trimmer.is_done)
            (void)sched_yield();
    }
    trimmer_deinit(&trimmer);
}

/* S20: sixteen pongs wait for a full socket, then a newer one takes the newest one's place. */
static void at_most_sixteen_pongs_wait(void **state)
{
    struct pool pool;
    struct outbox *outbox = NULL;
    char all[64];

    (void)state;
    pool_init(&pool, 1 << 20);
    for (int i = 0; i < 40; i++) {
        char pong[3] = {'p', (char)('A' + i), '.'};

        assert_int_equal(outbox_reserve(&outbox, &pool, 64), FF_OK);
        outbox_append_pong(outbox, pong, i % 2 ? 3 : 2);
        if (i == 20)
            outbox_append(outbox, "ack", 3); /* stays where it is */
    }
    assert_int_equal(outbox->pong_count, OUTBOX_PONGS);
    memcpy(all, outbox->bytes + outbox->start, outbox->len);
    all[outbox->len] = '\0';
    assert_string_equal(all, "pApB.pCpD.pEpF.pGpH.pIpJ.pKpL.pMpN.pOackph.");
    outbox_take(&outbox, &pool, 4); /* one of them, and half of another */
    assert_int_equal(outbox->pong_count, OUTBOX_PONGS - 1);
    assert_int_equal(outbox_reserve(&outbox, &pool, 4000), FF_OK); /* it moves */
    outbox_append_pong(outbox, "pZ", 2);
    outbox_append_pong(outbox, "p0", 2);
    memcpy(all, outbox->bytes + outbox->start, outbox->len);
    all[outbox->len] = '\0';
    assert_string_equal(all, ".pCpD.pEpF.pGpH.pIpJ.pKpL.pMpN.pOackph.p0");
    outbox_take(&outbox, &pool, outbox->len);
    assert_null(outbox);
    pool_deinit(&pool);
}

/* While the test says so, seconds pass when it says so. */
static bool is_time_ours;
static time_t our_second = 1000;

int __real_clock_gettime(clockid_t id, struct timespec *now);
int __wrap_clock_gettime(clockid_t id, struct timespec *now);

int __wrap_clock_gettime(clockid_t id, struct timespec *now)
{
    if (!is_time_ours)
        return __real_clock_gettime(id, now);
    *now = (struct timespec){.tv_sec = our_second};
    return 0;
}

static void a_flood_of_one_event_is_counted_not_written(void **state)
{
    FILE *file = tmpfile();
    int kept = dup(STDERR_FILENO);
    char text[8192] = "";
    unsigned lines = 0;
    unsigned suppressed = 0;

    (void)state; /* S40 */
    assert_true(file && kept >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    is_time_ours = true;
    for (int i = 0; i < 5000; i++) {
        our_second += i % 2000 == 0;
        LOG_EVENT(LOG_WARN, "flood", LOG_TEXT("who", "a\nb\x1b[31m\"\\"), LOG_NUM("i", i));
    }
    is_time_ours = false;
    log_tell_suppressed();
    log_tell_suppressed();
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    (void)close(kept);
    rewind(file);
    while (fgets(text, sizeof(text), file)) {
        const char *at = strstr(text, "suppressed=");

        lines += !at;
        suppressed += at ? (unsigned)strtoul(at + 11, NULL, 10) : 0;
        assert_true(at || strstr(text, "who=\"a\\nb\\x1b[31m\\\"\\\\\" i="));
    }
    (void)fclose(file);
    assert_int_equal(lines, 3 * LOG_LINES_A_SECOND); /* it took three seconds */
    assert_int_equal(lines + suppressed, 5000);
}

/* What one event says of this text, in text or in JSON; one line, whatever the text is. */
static void assert_logged_as(const char *text, bool is_json, const char *wanted)
{
    FILE *file = tmpfile();
    int kept = dup(STDERR_FILENO);
    char line[4096] = "";

    assert_true(file && kept >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    log_set(LOG_DEBUG, is_json);
    LOG_EVENT(LOG_DEBUG, "said", LOG_TEXT("why", text));
    log_set(LOG_INFO, false);
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    (void)close(kept);
    rewind(file);
    assert_non_null(fgets(line, sizeof(line), file));
    if (!strstr(line, wanted))
        fail_msg("%s is not in %s", wanted, line);
    assert_null(fgets(line, sizeof(line), file));
    (void)fclose(file);
}

static void a_log_line_is_read_as_it_was_written(void **state)
{
    static const struct {
        const char *text;
        const char *as_text;
        const char *as_json;
    } cases[] = {
        {"plain", "why=plain\n", "\"why\":\"plain\"}"},
        {"origins = {\"null\"}", "why=\"origins = {\\\"null\\\"}\"\n",
         "\"why\":\"origins = {\\\"null\\\"}\"}"},
        {"a\\b", "why=\"a\\\\b\"\n", "\"why\":\"a\\\\b\"}"},
        {"gr\u00fc\u00df \u20ac \U0001f389", "why=\"gr\u00fc\u00df \u20ac \U0001f389\"\n",
         "\"why\":\"gr\u00fc\u00df \u20ac \U0001f389\"}"},
        {"a\r\n\tb\x07\x7f", "why=\"a\\r\\n\\tb\\x07\\x7f\"\n",
         "\"why\":\"a\\r\\n\\tb\\u0007\\u007f\"}"},
        {"\xc2\x9b"
         "2J \u202e\u2028\u2066\u200f\u061c\u2014",
         "why=\"\\u009b2J \\u202e\\u2028\\u2066\\u200f\\u061c\u2014\"\n",
         "\"why\":\"\\u009b2J \\u202e\\u2028\\u2066\\u200f\\u061c\u2014\"}"},
        {"\xff\xc3", "why=\"\\xff\\xc3\"\n", "\"why\":\"\\ufffd\\ufffd\"}"},
        {"\xed\xa0\x80", "why=\"\\xed\\xa0\\x80\"\n", "\"why\":\"\\ufffd\\ufffd\\ufffd\"}"},
        {"", "why=\"\"\n", "\"why\":\"\"}"},
    };

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        assert_logged_as(cases[i].text, false, cases[i].as_text);
        assert_logged_as(cases[i].text, true, cases[i].as_json);
    }
}

static void addresses_are_read_as_people_write_them(void **state)
{
    static const struct {
        const char *text;
        const char *back; /* NULL: refused */
        bool is_loopback;
    } cases[] = {
        {"127.0.0.1:8080", "127.0.0.1:8080", true},
        {"0.0.0.0:0", "0.0.0.0:0", false},
        {"[::1]:80", "[::1]:80", true},
        {"[::]:80", "[::]:80", false},
        {"unix:/tmp/x", "unix:/tmp/x", true},
        {"10.1.2.3:1", "10.1.2.3:1", false},
        {"localhost:80", NULL, false},
        {"::1:80", NULL, false},
        {"127.0.0.1", NULL, false},
        {"127.0.0.1:", NULL, false},
        {"127.0.0.1:65536", NULL, false},
        {"127.0.0.1:-1", NULL, false},
        {"unix:", NULL, false},
        {"", NULL, false},
    };
    struct address a;

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        char text[ADDRESS_TEXT_MAX];

        print_message("    %s\n", cases[i].text);
        assert_int_equal(address_parse(&a, cases[i].text) == FF_OK, cases[i].back != NULL);
        if (!cases[i].back)
            continue;
        address_text(&a, true, text);
        assert_string_equal(text, cases[i].back);
        assert_int_equal(address_is_loopback(&a), cases[i].is_loopback);
    }
    assert_int_equal(address_parse_ip(&a, FF_SLICE("10.200.0.1")), FF_OK);
    assert_true(address_is_in(&a, "10.0.0.0/8"));
    assert_true(address_is_in(&a, "10.192.0.0/10"));
    assert_false(address_is_in(&a, "10.128.0.0/10"));
    assert_false(address_is_in(&a, "11.0.0.0/8"));
    assert_int_equal(address_parse_ip(&a, FF_SLICE("::ffff:10.0.0.1")), FF_OK);
    assert_true(address_is_in(&a, "10.0.0.0/8")); /* mapped */
    assert_false(address_is_network("10.0.0.0/33"));
    assert_false(address_is_network("x/8"));
}

static void origins_are_compared_whole(void **state)
{
    static const char *const listed[] = {"http://app.example", "null"};
    static const struct {
        const char *who;
        const char *origin;
        const char *host;
        bool loopback_only;
        bool is_listed;
        bool wanted;
    } cases[] = {
        {"no browser", NULL, "a", false, false, true},
        {"same origin", "http://a:8080", "a:8080", false, false, true},
        {"same, behind a TLS proxy", "https://a", "a", false, false, true},
        {"same, default port spelled out", "http://a", "a:80", false, false, true},
        {"another port", "http://a:81", "a:80", false, false, false},
        {"another host", "http://b", "a", false, false, false},
        {"host as a suffix", "http://evil-a", "a", false, false, false},
        {"host as a prefix", "http://a.evil", "a", false, false, false},
        {"another scheme", "ftp://a", "a", false, false, false},
        {"upper case", "HTTP://A", "a", false, false, true},
        {"null", "null", "a", true, false, false},
        {"null by name", "null", "a", true, true, true},
        {"by name", "http://app.example", "a", false, true, true},
        {"localhost to loopback", "http://localhost:3000", "127.0.0.1:8080", true, false, true},
        {"localhost to the world", "http://localhost:3000", "a", false, false, false},
        {"IPv6 loopback", "http://[::1]:1", "localhost", true, false, true},
        {"localhost.evil", "http://localhost.evil", "localhost", true, false, false},
        {"empty", "", "a", false, false, false},
        {"a user where the port is", "http://127.0.0.1:1@evil.com:80", "127.0.0.1", true, false,
         false},
        {"a name where the port is", "http://localhost:evil.com", "localhost", true, false, false},
        {"a name behind the port", "http://127.0.0.1:80.evil.com", "127.0.0.1:80", true, false,
         false},
        {"a name behind the bracket", "http://[::1].evil.com", "[::1]", true, false, false},
        {"an empty port", "http://localhost:", "localhost", true, false, false},
        {"a port of too many digits", "http://a:999999", "a:999999", false, false, false},
        {"two origins", "http://localhost:3000, http://evil", "localhost", true, false, false},
        {"a bracket that stays open", "http://[::1", "[::1]", true, false, false},
    };

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        struct settings settings = {.is_loopback_only = cases[i].loopback_only};

        if (cases[i].is_listed)
            settings.origins = (struct text_list){listed, FF_COUNT(listed)};
        print_message("    %s\n", cases[i].who);
        assert_int_equal(origin_is_allowed(&settings, ff_slice_of(cases[i].origin),
                                           &(struct site){.host = ff_slice_of(cases[i].host)}),
                         cases[i].wanted);
    }
}

static void urls_are_taken_apart(void **state)
{
    static const struct {
        const char *text;
        const char *host; /* NULL: refused */
        const char *port;
        const char *target;
    } cases[] = {
        {"ws://localhost:8080/ws", "localhost", "8080", "/ws"},
        {"ws://localhost", "localhost", "80", "/ws"},
        {"wss://a.b/x?y=1#z", "a.b", "443", "/x?y=1"},
        {"ws://[::1]:9?topic=a", "::1", "9", "/ws?topic=a"},
        {"http://a", NULL, NULL, NULL},
        {"ws://", NULL, NULL, NULL},
        {"ws://a:b/", NULL, NULL, NULL},
        {"ws://a:65536/", NULL, NULL, NULL},
        {"ws://a:80/ x", NULL, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        struct ff_url url;

        print_message("    %s\n", cases[i].text);
        assert_int_equal(ff_url_parse(&url, cases[i].text) == FF_OK, cases[i].host != NULL);
        if (!cases[i].host)
            continue;
        assert_string_equal(url.host, cases[i].host);
        assert_string_equal(url.port, cases[i].port);
        assert_string_equal(url.target, cases[i].target);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_once_and_never_early),
        cmocka_unit_test(timers_know_no_border),
        cmocka_unit_test(a_clock_that_leaps_fires_all_that_is_due),
        cmocka_unit_test_teardown(a_pool_gives_back_what_it_need_not_keep, nothing_leaked),
        cmocka_unit_test_teardown(what_nobody_asked_for_in_a_second_goes_back, nothing_leaked),
        cmocka_unit_test_teardown(nobody_waits_for_the_heap_to_be_trimmed, nothing_leaked),
        cmocka_unit_test_teardown(at_most_sixteen_pongs_wait, nothing_leaked),
        cmocka_unit_test(a_log_line_is_read_as_it_was_written),
        cmocka_unit_test(a_flood_of_one_event_is_counted_not_written),
        cmocka_unit_test(addresses_are_read_as_people_write_them),
        cmocka_unit_test(origins_are_compared_whole),
        cmocka_unit_test(urls_are_taken_apart),
    };

    return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
