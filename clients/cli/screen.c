/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/screen.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "clients/cli/text.h"

enum { DRAWN_MAX = SCREEN_LINE_MAX * 8, PROMPT_COLUMNS = 2, LEAST_COLUMNS = 8 };
enum { KEY_CTRL_D = 4, KEY_BACKSPACE = 8, KEY_CTRL_U = 21, KEY_CTRL_W = 23, KEY_ESCAPE = 27 };

/* The terminal is the process's, not a screen's: a signal handler must find it. */
static struct termios terminal_before;
static volatile sig_atomic_t is_taken;

void screen_restore_terminal(void)
{
    if (is_taken)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &terminal_before);
}

static bool take_terminal(void)
{
    struct termios raw;

    if (tcgetattr(STDIN_FILENO, &terminal_before))
        return false;
    raw = terminal_before;
    raw.c_lflag &= ~(tcflag_t)(ECHO | ICANON | IEXTEN);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw))
        return false;
    is_taken = 1;
    return true;
}

bool screen_open(struct screen *screen)
{
    *screen = (struct screen){.len = 0};
    ff_buf_init(&screen->drawn, DRAWN_MAX);
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || !take_terminal())
        return false;
    if (!setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1)
        (void)setlocale(LC_CTYPE, "C.UTF-8"); /* for the width of letters only */
    screen_show(screen);
    return true;
}

void screen_close(struct screen *screen)
{
    if (is_taken)
        screen_hide(screen);
    screen_restore_terminal();
    is_taken = 0;
    ff_buf_deinit(&screen->drawn);
}

void screen_resume(struct screen *screen)
{
    if (is_taken && take_terminal())
        screen_show(screen);
}

static size_t columns_of_terminal(void)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || size.ws_col < LEAST_COLUMNS)
        return (size_t)LEAST_COLUMNS * 10;
    return size.ws_col;
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* The columns that the code point at `at` takes. */
static size_t width_at(const char *at, size_t left)
{
    mbstate_t state = {0};
    wchar_t c;
    size_t size = mbrtowc(&c, at, left, &state);
    int width = size && size <= left ? wcwidth(c) : 1;

    return width < 0 ? 1 : (size_t)width;
}

/* Where the end of `text` begins that fits into `columns`. */
static size_t tail_of(struct ff_slice text, size_t columns)
{
    size_t at = text.len;
    size_t width = 0;

    while (at > 0) {
        size_t before = at - 1;

        while (before > 0 && is_continuation(text.at[before]))
            before--;
        width += width_at(text.at + before, text.len - before);
        if (width > columns)
            break;
        at = before;
    }
    return at;
}

static void put(const char *text, size_t len)
{
    (void)fwrite(text, 1, len, stdout);
}

void screen_hide(struct screen *screen)
{
    (void)screen;
    put("\r\x1b[K", 4);
    (void)fflush(stdout);
}

void screen_show(struct screen *screen)
{
    size_t columns = columns_of_terminal() - PROMPT_COLUMNS - 1; /* the cursor has one, too */
    size_t from;

    screen->drawn.len = 0;
    if (!text_append(&screen->drawn, (struct ff_slice){screen->typed, screen->len}))
        screen->drawn.len = 0;
    from = tail_of(ff_buf_slice(&screen->drawn), columns);
    put("\r\x1b[K", 4);
    put(from ? "< " : "> ", PROMPT_COLUMNS);
    if (screen->drawn.len)
        put(screen->drawn.data + from, screen->drawn.len - from);
    (void)fflush(stdout);
}

static void drop_letter(struct screen *screen)
{
    while (screen->len && is_continuation(screen->typed[screen->len - 1]))
        screen->len--;
    if (screen->len)
        screen->len--;
}

static void drop_word(struct screen *screen)
{
    while (screen->len && screen->typed[screen->len - 1] == ' ')
        screen->len--;
    while (screen->len && screen->typed[screen->len - 1] != ' ')
        drop_letter(screen);
}

/* Keys like the arrows send ESC, `[` or `O`, and end with a letter or `~`. */
static bool is_of_escape(struct screen *screen, unsigned char c)
{
    if (screen->escape == 0 && c != KEY_ESCAPE)
        return false;
    if (screen->escape == 0)
        screen->escape = 1;
    else if (screen->escape == 1)
        screen->escape = c == '[' || c == 'O' ? 2 : 0;
    else if (c >= '@' && c <= '~')
        screen->escape = 0;
    return true;
}

static enum screen_event take_key(struct screen *screen, unsigned char c)
{
    if (is_of_escape(screen, c))
        return SCREEN_NONE;
    switch (c) {
    case '\r':
    case '\n':
        return SCREEN_LINE;
    case KEY_CTRL_D:
        return screen->len ? SCREEN_NONE : SCREEN_END;
    case KEY_BACKSPACE:
    case 0x7f:
        drop_letter(screen);
        return SCREEN_NONE;
    case KEY_CTRL_U:
        screen->len = 0;
        return SCREEN_NONE;
    case KEY_CTRL_W:
        drop_word(screen);
        return SCREEN_NONE;
    default:
        break;
    }
    if (c == '\t')
        c = ' ';
    if (c < ' ')
        return SCREEN_NONE;
    if (screen->len < SCREEN_LINE_MAX)
        screen->typed[screen->len++] = (char)c;
    else
        put("\a", 1);
    return SCREEN_NONE;
}

/*
 * One octet a read: what follows an Enter belongs to the next line, and stays in the
 * terminal until that is asked for. Nobody types so fast that it matters.
 */
enum screen_event screen_read(struct screen *screen)
{
    enum screen_event event = SCREEN_NONE;
    int waiting = 0;

    do {
        unsigned char c;
        ssize_t got = read(STDIN_FILENO, &c, 1);

        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            break;
        event = got <= 0 ? SCREEN_END : take_key(screen, c);
    } while (event == SCREEN_NONE && ioctl(STDIN_FILENO, FIONREAD, &waiting) == 0 && waiting > 0);
    screen_show(screen);
    return event;
}

void screen_forget_line(struct screen *screen)
{
    screen->len = 0;
    screen_show(screen);
}
