/* What processes on this machine have used so far, as the kernel counts it.
 *
 * Threads: any. */
#ifndef BENCH_SERVER_USAGE_H
#define BENCH_SERVER_USAGE_H

#include <stdbool.h>
#include <stdint.h>

struct server_usage {
    uint64_t cpu_ns; /* of all its threads that still live, in user and kernel mode */
    uint64_t resident_bytes;
    uint64_t resident_peak_bytes;
};

/* Adds what one process used.  False, after saying so, if there is no such process or it may not be
 * looked at. */
bool server_usage_add(struct server_usage *, uint64_t pid);

#endif
