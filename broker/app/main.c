/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
        atomic_fetch_add(&program->server.shared.reload_failures, 1);
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
        server_stop(&program->server,
                    number == SIGUSR2 ? "the broker is restarting" : "the broker is stopping");
}

static int run(struct program *program, struct config *config)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2};
    char error[CONFIG_ERROR_MAX];

    if (!log_begin()) {
        (void)fprintf(stderr, "fanfared: cannot start a thread for the log: %s\n", strerror(errno));
        config_free(config);
        return EXIT_FAILURE;
    }
    if (!server_init(&program->server, config, error)) {
        log_end();
        (void)fprintf(stderr, "fanfared: %s\n", error);
        return EXIT_FAILURE;
    }
    server_on_signals(&program->server, signals, FF_COUNT(signals), on_signal, program);
    server_announce(&program->server);
    server_run(&program->server);
    server_deinit(&program->server);
    LOG_EVENT(LOG_INFO, "ended", LOG_NUM("code", 0));
    log_end();
    return EXIT_SUCCESS;
}

/* Where one of them is closed, a client's socket would be taken for standard error. */
static void open_standard_descriptors(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        (void)close(fd);
}

int main(int argc, char **argv)
{
    static struct program program;
    struct config_request request;
    char error[CONFIG_ERROR_MAX];
    struct config *config;

    open_standard_descriptors();
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
