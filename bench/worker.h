/* A thread that asks over its share of the connections.
 *
 * A run has phases (preload, warm-up, measurement). In each phase every worker's thread runs
 * worker_run once; between phases all connections are quiet, since a phase ends only when
 * every request is answered.
 *
 * Threads: a worker belongs to the thread that runs it, between phases to the main thread. */
#ifndef BENCH_WORKER_H
#define BENCH_WORKER_H

#include "bench/options.h"
#include "bench/tally.h"

struct phase {
    bool is_preload;      /* set every key once; else the mix of the options */
    uint64_t start_ns;    /* on the monotonic clock */
    uint64_t duration_ns; /* 0: until `requests` are asked */
    uint64_t requests;    /* of all workers together, 0: until the duration is over */
};

struct worker;

/* Connects the share of worker `lane` out of `options->threads`. Gives a worker to free with
 * worker_free, or NULL after saying why. Borrows the options for the worker's life. */
struct worker *worker_new(const struct options *, unsigned lane);
void worker_free(struct worker *);

/* Runs one phase to its end, and gives what was seen (until the next phase). */
const struct tally *worker_run(struct worker *, const struct phase *);

/* Nanoseconds on the monotonic clock. */
uint64_t clock_now_ns(void);

#endif
