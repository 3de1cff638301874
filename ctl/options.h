/* The command line of ringctl.
 *
 * Threads: one. */
#ifndef CTL_OPTIONS_H
#define CTL_OPTIONS_H

#include "ctl/exit_code.h"
#include <stdbool.h>
#include <stdint.h>

#define OPTIONS_LOGIN_BYTES_MAX 512

struct options {
    const char *server; /* HOST:PORT, [IPV6]:PORT or a path */
    double timeout_s;   /* for one answer */
    double wait_s;      /* for the end of an act; 0: do not wait */
    bool as_json;
    bool all;                            /* status: ask every node */
    bool names;                          /* status: nothing but names, for completion */
    bool force;                          /* acts: without a majority */
    const char *context;                 /* put, delete: "@..."; NULL: a blind write */
    uint32_t flags;                      /* put */
    int32_t ttl_s;                       /* put; 0: never expires */
    char login[OPTIONS_LOGIN_BYTES_MAX]; /* "user password"; empty: no login */
    char **words;                        /* the command and what follows it */
    int word_count;
};

/* Fills `options` from the command line and the environment.  False: the program is to exit with
 * `*code`, after everything was said that there is to say. */
bool options_read(struct options *, int argc, char **argv, enum exit_code *code);

/* One line on stderr, after the program's name. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
