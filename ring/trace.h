/* Trace: one plain line for each decision of a machine, for scenario tests and people to read.
 *
 *   2 of 3 stored -> answer STORED, hint for 3
 *
 * The caller hands its own room in with the effects of a step, or NULL, as the server does where
 * speed counts: then nothing is formatted.
 *
 * Threads: a trace belongs to its caller. */
#ifndef RING_TRACE_H
#define RING_TRACE_H

#include <stddef.h>

#define RING_TRACE_BYTES 1024

/* Lines, each ended by a newline; one that finds no room is left out. `used` counts bytes without
 * the final zero. */
struct ring_trace {
    size_t used;
    char text[RING_TRACE_BYTES];
};

void ring_trace_clear(struct ring_trace *);

/* Appends one line, as printf() would write it, without a newline in it.  `trace` may be NULL. */
void ring_trace_say(struct ring_trace *trace, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
