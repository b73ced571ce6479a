/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/app/environment.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/app/option.h"

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
           (strcmp(word, "PORT") == 0 &&
            (begins_with(value, "tcp://") || begins_with(value, "udp://")));
}

bool environment_check(char *error)
{
    for (char **variable = environ; *variable; variable++) {
        size_t prefix = strlen(ENVIRONMENT_PREFIX);
        size_t len = strcspn(*variable, "=");
        char word[ENVIRONMENT_NAME_MAX];
        char name[ENVIRONMENT_NAME_MAX];
        struct ff_guess guess;

        if (strncmp(*variable, ENVIRONMENT_PREFIX, prefix) != 0)
            continue;
        (void)snprintf(word, sizeof(word), "%.*s", (int)(len - prefix), *variable + prefix);
        if (strcmp(word, "CONFIG") == 0 || strcmp(word, "URL") == 0)
            continue; /* the file, and where the command line client finds a broker */
        if ((*variable)[len] && is_of_cluster(word, *variable + len + 1))
            continue;
        guess = option_guess(word);
        environment_name(guess.best ? guess.best : "", name);
        if (guess.best && strlen(name) == len && strncmp(name, *variable, len) == 0)
            continue;
        if (guess.best)
            (void)snprintf(error, CONFIG_ERROR_MAX,
                           "%.*s is set in the environment, but there is no such option: did you "
                           "mean %s?",
                           (int)(len < 100 ? len : 100), *variable, name);
        else
            (void)snprintf(error, CONFIG_ERROR_MAX,
                           "%.*s is set in the environment, but there is no such option; fanfared "
                           "--help lists all",
                           (int)(len < 100 ? len : 100), *variable);
        return false;
    }
    return true;
}
