/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings.h - what the configuration says about sessions. Plain values; the
 * texts are borrowed from the configuration that holds.
 */
#ifndef SESSION_SETTINGS_H
#define SESSION_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

/* A list of texts from the configuration. */
struct text_list {
    const char *const *at;
    uint32_t count;
};

enum flush_kind { FLUSH_AUTO, FLUSH_SEND, FLUSH_URING };

/* What a plain client is sent where its URL does not say: upgrade.c has the names. */
enum plain_format { PLAIN_JSON, PLAIN_TEXT, PLAIN_RAW };

/* What has the order of messages: engine/engine.h. */
enum engine_kind { ENGINE_MEMORY, ENGINE_REDIS };

struct settings {
    uint32_t engine;   /* enum engine_kind; this and the next two are read at the start only */
    const char *redis; /* a URL that redis_url_parse() takes, where the engine is redis */
    const char *redis_prefix; /* at most REDIS_PREFIX_MAX octets */
    uint32_t flush;           /* enum flush_kind; read at the start only */
    uint32_t max_head;        /* octets of a request's head */
    uint32_t max_message;
    uint32_t max_buffered;
    uint32_t max_topics;
    uint32_t max_filters;
    uint32_t history; /* messages that a topic keeps, unless its rule says otherwise */
    uint32_t history_bytes;
    uint32_t history_seconds;
    uint32_t position_seconds;
    uint64_t history_memory; /* of all workers */
    uint32_t dedup_seconds;
    uint32_t max_keys; /* of all workers */
    uint32_t max_retained;
    uint32_t max_connections;
    uint32_t max_connections_per_address; /* 0: no limit; loopback has none */
    uint32_t max_half_open;
    uint32_t handshake_ms;
    uint32_t max_subscriptions;      /* of one connection, filters included */
    uint32_t max_subscribed_filters; /* of one connection */
    uint32_t messages_per_second;    /* 0: no limit */
    uint32_t bytes_per_second;       /* 0: no limit */
    uint32_t pings_per_second;
    uint32_t heartbeat_s;
    uint32_t plain_heartbeat_s; /* 0: none */
    uint64_t max_memory;
    uint32_t plain_format;   /* enum plain_format */
    const char *plain_topic; /* "": plain mode is off */
    const char *echo_path;   /* "": no echo endpoint */
    uint32_t deflate;        /* 0: off */
    uint32_t deflate_level;
    uint32_t deflate_window;  /* bits */
    uint32_t deflate_min;     /* octets of a message from which it is compressed, */
    uint32_t deflate_readers; /* and readers of it; a larger one is for fewer, too */
    bool sys;
    bool is_loopback_only;    /* all listeners are */
    struct text_list paths;   /* of WebSockets, the echo endpoint apart; none: any */
    struct text_list origins; /* allowed by name, in normal form (site.h), "*" and "null" too */
    struct text_list hosts;   /* in normal form */
    struct text_list proxies; /* networks of trusted proxies */
    const char *proxy_header; /* in which these name their clients */
    uint32_t ipv6_prefix;     /* bits of an IPv6 address that are one client's */
};

#endif
