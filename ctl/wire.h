/* The connection to one node, over its client port: lines out, lines and blocks in, each with a
 * deadline.
 *
 *     struct wire wire;
 *     wire_init(&wire, server, login, timeout_ms);
 *     code = wire_send(&wire, "version\r\n", 9);   connects, logs in
 *     if (code == EXIT_FINE) code = wire_line(&wire, &line);
 *
 * A call that does not return EXIT_FINE has put one sentence into `error`, which main() shows, and
 * the connection is closed: the next wire_send() makes another one.
 *
 * Threads: one. */
#ifndef CTL_WIRE_H
#define CTL_WIRE_H

#include "ctl/exit_code.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire {
    const char *server; /* borrowed */
    const char *login;  /* "user password", borrowed; empty: none */
    unsigned timeout_ms;
    uint64_t deadline_ms; /* of the present exchange */
    int fd;               /* -1: none */
    char *bytes;          /* what was received; used from `start` to `end` */
    size_t start, end, room;
    char error[512];
};

/* Connects to nothing yet.  `timeout_ms` is for each exchange as a whole. */
void wire_init(struct wire *, const char *server, const char *login, unsigned timeout_ms);
/* Closes the connection, if there is one. */
void wire_deinit(struct wire *);

/* Begins an exchange: sends these bytes, and connects and logs in before if need be. */
enum exit_code wire_send(struct wire *, const char *bytes, size_t size);

/* The next line without its end, as a string; valid until the next call. */
enum exit_code wire_line(struct wire *, char **line);

/* The next `size` bytes and the line end behind them; valid until the next call. */
enum exit_code wire_block(struct wire *, size_t size, char **block);

/* Sends one line and reads one. */
enum exit_code wire_ask(struct wire *, const char *command, char **line);

/* Puts a sentence into `error`, and returns `code`; the connection stays. */
enum exit_code wire_blame(struct wire *, enum exit_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Milliseconds of a clock that only rises. */
uint64_t wire_now_ms(void);

#endif
