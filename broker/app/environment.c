/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/app/environment.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/app/option.h"

enum { SHOWN_MAX = 100 };

void environment_name(const char *option, char name[ENVIRONMENT_NAME_MAX])
{
    size_t len = (size_t)snprintf(name, ENVIRONMENT_NAME_MAX, "%s%s", ENVIRONMENT_PREFIX, option);

    for (size_t i = 0; i < len && i < ENVIRONMENT_NAME_MAX - 1; i++)
        name[i] = (char)toupper((unsigned char)name[i]);
}

static bool begins_with(const char *text, const char *begin)
{
    return strncmp(text, begin, strlen(begin)) == 0;
}

/*
 * Kubernetes and Docker tell each container of the others: where a service is called
 * `fanfare` there are FANFARE_SERVICE_HOST, FANFARE_PORT=tcp://... and FANFARE_PORT_8080_TCP_ADDR.
 */
static bool is_of_cluster(const char *word, const char *value)
{
    return begins_with(word, "SERVICE_HOST") || begins_with(word, "SERVICE_PORT") ||
           begins_with(word, "PORT_") ||
           (begins_with(word, "PORT=") &&
            (begins_with(value, "tcp://") || begins_with(value, "udp://")));
}

/* Neither the file's name nor where the command line client finds a broker is an option. */
static bool is_meant_for_us(const char *variable, size_t len)
{
    const char *word;

    if (!begins_with(variable, ENVIRONMENT_PREFIX))
        return false;
    word = variable + strlen(ENVIRONMENT_PREFIX);
    if (begins_with(word, "CONFIG=") || begins_with(word, "URL="))
        return false;
    return !(variable[len] && is_of_cluster(word, variable + len + 1));
}

/* False: there is no such option, and `error` says so. */
static bool check_variable(const char *variable, size_t len, char *error)
{
    size_t prefix = strlen(ENVIRONMENT_PREFIX);
    char word[ENVIRONMENT_NAME_MAX];
    char name[ENVIRONMENT_NAME_MAX];
    struct ff_guess guess;

    (void)snprintf(word, sizeof(word), "%.*s", (int)(len - prefix), variable + prefix);
    guess = option_guess(word);
    environment_name(guess.best ? guess.best : "", name);
    if (guess.best && strlen(name) == len && strncmp(name, variable, len) == 0)
        return true;
    (void)snprintf(error, CONFIG_ERROR_MAX,
                   guess.best ? "%.*s is set in the environment, but there is no such option: did "
                                "you mean %s?"
                              : "%.*s is set in the environment, but there is no such option; "
                                "fanfared --help lists all",
                   (int)(len < SHOWN_MAX ? len : SHOWN_MAX), variable, name);
    return false;
}

bool environment_check(char *error)
{
    for (char **variable = environ; *variable; variable++) {
        size_t len = strcspn(*variable, "=");

        if (is_meant_for_us(*variable, len) && !check_variable(*variable, len, error))
            return false;
    }
    return true;
}
