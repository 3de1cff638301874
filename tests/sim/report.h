/* Report: what a run says: the hash of all that happened, trace lines, and the promise it broke.
 *
 * Threads: one. */
#ifndef TESTS_SIM_REPORT_H
#define TESTS_SIM_REPORT_H

#include <stdbool.h>
#include <stdint.h>

struct cell;

struct sim;

/* The promises of the cluster, by the numbers that the output has. */
enum promise {
    PROMISE_NONE,
    PROMISE_NOT_LOST,
    PROMISE_STAYS_SUPERSEDED,
    PROMISE_SAME_CELL,
    PROMISE_HINTS_DRAINED,
    PROMISE_ONE_TABLE,
    PROMISE_BOUNDED,
    PROMISE_ANSWERED_ONCE,
    PROMISE_READS_LAST_WRITE,
    PROMISE_IDLE_IS_SILENT,
    PROMISE_AVAILABLE,
    PROMISES
};

#define REPORT_ALL_KEYS  (~0u)
#define REPORT_LINE_ROOM 512
#define REPORT_LINES     4000 /* kept of a trace that is not printed at once */

struct report {
    uint64_t hash;
    bool is_tracing;
    bool is_printing;   /* each line at once; else the last ones are kept */
    unsigned trace_key; /* of which key; what concerns no key is always in */
    char (*lines)[REPORT_LINE_ROOM];
    uint64_t line_count;
    enum promise broken; /* the first one */
    unsigned broken_key;
    char broken_text[512];
};

void report_init(struct report *, bool is_tracing, bool is_printing, unsigned trace_key);
void report_deinit(struct report *);

/* The sentence that a broken promise has in the output. */
const char *promise_text(enum promise);

/* Takes something that happened into the hash. */
void report_event(struct report *, uint64_t what, uint64_t a, uint64_t b);

/* Whether lines about this key, or TRUTH_NO_KEY, are wanted: ask before doing work for them. */
static inline bool report_wants(const struct report *report, unsigned key)
{
    return report->is_tracing && (key == report->trace_key ||
                                  report->trace_key == REPORT_ALL_KEYS || key == REPORT_ALL_KEYS);
}

/* One trace line, with the time, the node (by index, from 0; below 0: none) and the key before
 * it. */
void report_line(struct sim *, int node, unsigned key, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Several lines, each ended by a newline: what a machine of ring/ said. */
void report_lines(struct sim *, int node, unsigned key, const char *text);

/* One line that shows a cell, by the numbers of the writes it holds. */
void report_cell(struct sim *, int node, unsigned key, const char *what, const struct cell *);

/* A promise was broken: the run ends.  Only the first one counts. */
void report_broken(struct sim *, enum promise, unsigned key, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Prints the lines kept. */
void report_print_kept(const struct report *);

#endif
