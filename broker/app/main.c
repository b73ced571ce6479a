/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/app/server.h"
#include "broker/net/logger.h"

struct program {
    struct server server;
    int argc;
    char **argv;
};

static void reload(struct program *program)
{
    struct config_request request;
    char error[CONFIG_ERROR_MAX];
    struct config *config = config_new(program->argc, program->argv, &request, error);

    if (config && server_reload(&program->server, config, error)) {
        LOG_EVENT(LOG_INFO, "reloaded", LOG_TEXT("file", config->file ? config->file : "none"));
    } else {
        atomic_fetch_add(&program->server.census.reload_failures, 1);
        LOG_EVENT(LOG_ERROR, "reload_failed", LOG_TEXT("why", error),
                  LOG_TEXT("holds", "the configuration from before"));
    }
}

static void on_signal(void *arg, int number)
{
    struct program *program = arg;

    if (number == SIGHUP)
        reload(program);
    else
        server_stop(&program->server);
}

static int run(struct program *program, struct config *config)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    char error[CONFIG_ERROR_MAX];

    if (!server_init(&program->server, config, error)) {
        (void)fprintf(stderr, "fanfared: %s\n", error);
        return EXIT_FAILURE;
    }
    server_on_signals(&program->server, signals, FF_COUNT(signals), on_signal, program);
    server_announce(&program->server);
    server_run(&program->server);
    server_deinit(&program->server);
    LOG_EVENT(LOG_INFO, "ended", LOG_NUM("code", 0));
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static struct program program;
    struct config_request request;
    char error[CONFIG_ERROR_MAX];
    struct config *config;

    tls_use_our_memory();
    (void)signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    program.argc = argc;
    program.argv = argv;
    for (int i = 1; i < argc; i++) {
        struct ff_slice arg = ff_slice_of(argv[i]);

        if (ff_slice_is_equal(arg, FF_SLICE("--help")) || ff_slice_is_equal(arg, FF_SLICE("-h"))) {
            config_print_help(stdout);
            return EXIT_SUCCESS;
        }
        if (ff_slice_is_equal(arg, FF_SLICE("--version"))) {
            (void)printf("fanfared %s\n", FF_VERSION);
            return EXIT_SUCCESS;
        }
    }
    config = config_new(argc, argv, &request, error);
    if (!config) {
        (void)fprintf(stderr, "fanfared: %s\n", error);
        return EXIT_FAILURE;
    }
    if (request.action == CONFIG_CHECK) {
        config_print(config, request.topic, stdout);
        config_free(config);
        return EXIT_SUCCESS;
    }
    return run(&program, config);
}
