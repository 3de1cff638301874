/* Report: what a node says to an operator: lines of a name and a value, or one sentence of what is
 * wrong.  Made on the cluster thread, sent by the worker that was asked.
 *
 *     name          of this node, or of the cluster
 *     NODE:name     of another node
 *
 * Threads: one at a time. */
#ifndef SERVER_REPORT_H
#define SERVER_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPORT_ERROR_BYTES 256

struct report {
    char *bytes; /* names and values in turn, each ended by a zero */
    size_t used, room;
    bool is_short_of_memory;
    char error[REPORT_ERROR_BYTES]; /* "CLIENT_ERROR ..." or "SERVER_ERROR ..."; empty: none */
};

/* No lines, no error. */
void report_init(struct report *);
void report_deinit(struct report *);

/* A line; `node` NULL: of no other node. */
void report_text(struct report *, const char *node, const char *name, const char *value);
void report_u64(struct report *, const char *node, const char *name, uint64_t value);
void report_bool(struct report *, const char *node, const char *name, bool value);
void report_format(struct report *, const char *node, const char *name, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* What was asked for cannot be done: this is said in place of all lines. */
void report_client_error(struct report *, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void report_server_error(struct report *, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The value of the first line of that name, which is of no other node; NULL: there is none. */
const char *report_find(const struct report *, const char *name);

/* Gives each line to `visit`, in order. */
void report_visit(const struct report *,
                  void (*visit)(void *context, const char *name, const char *value), void *context);

#endif
