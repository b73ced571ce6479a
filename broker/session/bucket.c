/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/bucket.h"

#include "broker/session/session.h"
#include "protocol/base/mem.h"

static double least(double a, double b)
{
    return a < b ? a : b;
}

/* Tokens after so many seconds more; without a limit (a reload may end one) there is no debt. */
static double refill(double tokens, double seconds, uint32_t a_second)
{
    return a_second ? least(tokens + seconds * a_second, a_second) : 0;
}

static void fill(struct bucket *bucket)
{
    const struct settings *settings = gateway_of(bucket->session)->settings;
    uint64_t now_ms = bucket->session->conn.net->loop.now_ms;
    double seconds = (double)(now_ms - bucket->filled_ms) / 1000.0;

    bucket->filled_ms = now_ms;
    bucket->messages = refill(bucket->messages, seconds, settings->messages_per_second);
    bucket->bytes = refill(bucket->bytes, seconds, settings->bytes_per_second);
}

/* Seconds until the debt is paid, 0: there is none. */
static double debt_seconds(const struct bucket *bucket)
{
    const struct settings *settings = gateway_of(bucket->session)->settings;
    double wait = 0;

    if (settings->messages_per_second && bucket->messages < 0)
        wait = -bucket->messages / settings->messages_per_second;
    if (settings->bytes_per_second && bucket->bytes < 0 &&
        -bucket->bytes / settings->bytes_per_second > wait)
        wait = -bucket->bytes / settings->bytes_per_second;
    return wait;
}

static void on_timer(struct wheel_timer *timer)
{
    struct bucket *bucket = FF_CONTAINER(timer, struct bucket, timer);

    fill(bucket);
    conn_resume(&bucket->session->conn, PAUSE_RATE);
}

struct bucket *bucket_new(struct session *session)
{
    const struct settings *settings = gateway_of(session)->settings;
    struct bucket *bucket = ff_mem_zalloc(sizeof(*bucket));

    if (!bucket)
        return NULL;
    bucket->session = session;
    bucket->messages = settings->messages_per_second;
    bucket->bytes = settings->bytes_per_second;
    bucket->filled_ms = session->conn.net->loop.now_ms;
    wheel_timer_init(&bucket->timer, on_timer);
    return bucket;
}

void bucket_free(struct bucket *bucket)
{
    if (!bucket)
        return;
    wheel_stop(&bucket->session->conn.net->wheel, &bucket->timer);
    ff_mem_free(bucket);
}

void bucket_take(struct bucket *bucket, uint64_t len)
{
    struct conn *conn = &bucket->session->conn;
    double wait;

    fill(bucket);
    bucket->messages -= 1;
    bucket->bytes -= (double)len;
    wait = debt_seconds(bucket);
    if (wait <= 0)
        return;
    conn_pause(conn, PAUSE_RATE);
    wheel_set(&conn->net->wheel, &bucket->timer, (uint64_t)(wait * 1000) + 1);
}
