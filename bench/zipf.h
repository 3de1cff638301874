/* Zipf-distributed ranks: rank r comes with a probability proportional to r^-theta.
 *
 * Exact for any number of ranks, in constant time and without a table: rejection-inversion
 * (Hoermann and Derflinger, 1996). A uniform number is inverted through the integral of
 * x^-theta, rounded to a rank, and kept unless it lies in the small area by which the integral
 * exceeds the sum.
 *
 * Threads: never changes after zipf_init; the generator belongs to the caller. */
#ifndef BENCH_ZIPF_H
#define BENCH_ZIPF_H

#include "bench/rng.h"

struct zipf {
    double theta;
    uint64_t ranks;
    double area_first; /* integral up to the left edge of rank 1 */
    double area_last;  /* integral up to the right edge of the last rank */
    double sure;       /* a distance to the rank below which no check is needed */
};

/* Prepares for ranks 1 .. `ranks` (at least 1); `theta` is at least 0, and 0 is uniform. */
void zipf_init(struct zipf *, uint64_t ranks, double theta);

/* A random rank, 1 .. ranks. */
uint64_t zipf_next(const struct zipf *, struct rng *);

#endif
