/* SPDX-License-Identifier: Apache-2.0 */
/*
 * screen.h - a terminal whose last row is a line being typed.
 *
 * What comes in is printed above that row, and what was typed so far stands
 * whole beneath it again. A line longer than the row shows its end. The terminal
 * neither echoes nor collects lines meanwhile; screen_close() gives it back, and
 * so does a signal handler that calls screen_restore_terminal().
 *
 * Keys: backspace, Ctrl-W (word), Ctrl-U (line), Enter, Ctrl-D where nothing is
 * typed. Escape sequences of other keys are taken and do nothing.
 */
#ifndef CLI_SCREEN_H
#define CLI_SCREEN_H

#include <termios.h>

#include "protocol/base/buf.h"

enum { SCREEN_LINE_MAX = 8192 };

struct screen {
    struct ff_buf drawn; /* the row, as it goes out */
    char typed[SCREEN_LINE_MAX];
    size_t len;
    int escape; /* how far into an escape sequence of a key: 0, ESC, ESC [ */
};

enum screen_event { SCREEN_NONE, SCREEN_LINE, SCREEN_END };

/* False: standard input and output are no terminal. */
bool screen_open(struct screen *screen);
void screen_close(struct screen *screen);

/* Printing stands between these: the row goes away, and comes back. */
void screen_hide(struct screen *screen);
void screen_show(struct screen *screen);

/* Ctrl-Z and fg: takes the terminal again. */
void screen_resume(struct screen *screen);

/* Reads keys. LINE: `typed` is whole; screen_forget_line() takes it away once it was used. */
enum screen_event screen_read(struct screen *screen);
void screen_forget_line(struct screen *screen);

/* Safe in a signal handler. Does nothing while no screen is open. */
void screen_restore_terminal(void);

#endif
