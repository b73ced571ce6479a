/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/app/activation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST_FD = 3 };

/* The number that a variable holds; 0: none. */
static unsigned long number_of(const char *variable)
{
    const char *text = getenv(variable);
    char *end;
    unsigned long number;

    if (!text || *text < '0' || *text > '9')
        return 0;
    number = strtoul(text, &end, 10);
    return *end ? 0 : number;
}

static bool is_listening_stream(int fd)
{
    int type = 0;
    int is_listening = 0;
    socklen_t size = sizeof(int);

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) == 0 && is_listening;
}

static bool take_socket(struct activation *activation, int fd, char *why)
{
    struct address *address = &activation->sockets[activation->count].address;

    address->len = sizeof(address->storage);
    if (!is_listening_stream(fd) ||
        getsockname(fd, (struct sockaddr *)&address->storage, &address->len) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
        (void)snprintf(why, ACTIVATION_WHY_MAX,
                       "LISTEN_FDS: descriptor %d is no stream socket that listens: the socket "
                       "unit needs ListenStream= and Accept=no",
                       fd);
        return false;
    }
    activation->sockets[activation->count++].fd = fd;
    return true;
}

bool activation_take(struct activation *activation, char why[ACTIVATION_WHY_MAX])
{
    unsigned long pid = number_of("LISTEN_PID");
    unsigned long count = number_of("LISTEN_FDS");

    *activation = (struct activation){.count = 0};
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
    if (pid != (unsigned long)getpid() || count == 0)
        return true;
    if (count > ACTIVATION_MAX) {
        (void)snprintf(why, ACTIVATION_WHY_MAX, "LISTEN_FDS is %lu: at most %d are taken", count,
                       ACTIVATION_MAX);
        return false;
    }
    for (int i = 0; i < (int)count; i++)
        if (!take_socket(activation, FIRST_FD + i, why))
            return false;
    return true;
}

int activation_claim(struct activation *activation, const struct address *address)
{
    char wanted[ADDRESS_TEXT_MAX];
    char there[ADDRESS_TEXT_MAX];

    address_text(address, true, wanted);
    for (uint32_t i = 0; i < activation->count; i++) {
        int fd = activation->sockets[i].fd;

        address_text(&activation->sockets[i].address, true, there);
        if (fd < 0 || strcmp(wanted, there) != 0)
            continue;
        activation->sockets[i].fd = -1;
        return fd;
    }
    return -1;
}

bool activation_find_unclaimed(const struct activation *activation, char out[ADDRESS_TEXT_MAX])
{
    for (uint32_t i = 0; i < activation->count; i++) {
        if (activation->sockets[i].fd < 0)
            continue;
        address_text(&activation->sockets[i].address, true, out);
        return true;
    }
    return false;
}

void activation_deinit(struct activation *activation)
{
    for (uint32_t i = 0; i < activation->count; i++)
        if (activation->sockets[i].fd >= 0)
            (void)close(activation->sockets[i].fd);
    activation->count = 0;
}
