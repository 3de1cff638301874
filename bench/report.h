/* Prints what a run measured.
 *
 * Threads: main only. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench/options.h"
#include "bench/server_usage.h"
#include "bench/tally.h"

struct report {
    const struct options *options;
    const struct tally *tally;
    double elapsed_s;
    bool has_usage; /* the server was watched */
    struct server_usage before;
    struct server_usage after;
};

/* For people, on stdout. */
void report_print_text(const struct report *);

/* One JSON object, on stdout. */
void report_print_json(const struct report *);

#endif
