/* Histogram of durations: how many fell into each of about 4,500 classes whose width grows with
 * the value, so that every value up to a quarter of an hour is kept within 0.8 %.
 *
 * Classes are log-linear: each power of two is cut into 128 equal parts, and values below 256
 * have a class of their own.
 *
 * Threads: owned by one thread; merge when that thread is done. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_PART_BITS = 7,   /* 2^7 classes per power of two */
    HISTOGRAM_VALUE_BITS = 40, /* values of 2^40 ns (18 minutes) and above count as the largest */
    HISTOGRAM_CLASSES = (HISTOGRAM_VALUE_BITS - HISTOGRAM_PART_BITS + 1) << HISTOGRAM_PART_BITS
};

struct histogram {
    uint64_t counts[HISTOGRAM_CLASSES];
    uint64_t total;  /* the sum of `counts` */
    uint64_t max_ns; /* the largest value recorded, exact */
    uint64_t sum_ns;
};

/* The class of a value. */
static inline unsigned histogram_class(uint64_t value_ns)
{
    if (value_ns >> HISTOGRAM_VALUE_BITS != 0)
        return HISTOGRAM_CLASSES - 1;
    unsigned shift = 0;
    if (value_ns >> (HISTOGRAM_PART_BITS + 1) != 0)
        shift = 63u - (unsigned)__builtin_clzll(value_ns) - HISTOGRAM_PART_BITS;
    return (shift << HISTOGRAM_PART_BITS) + (unsigned)(value_ns >> shift);
}

/* The largest value of a class. */
uint64_t histogram_class_top(unsigned class_index);

/* Counts one value. */
static inline void histogram_record(struct histogram *histogram, uint64_t value_ns)
{
    histogram->counts[histogram_class(value_ns)]++;
    histogram->total++;
    histogram->sum_ns += value_ns;
    if (value_ns > histogram->max_ns)
        histogram->max_ns = value_ns;
}

/* Forgets everything. */
void histogram_clear(struct histogram *);

/* Adds what `other` counted. */
void histogram_merge(struct histogram *, const struct histogram *other);

/* The value that `percent` of all recorded ones do not exceed, rounded up to the top of its
 * class but never above the largest recorded; 0 if there are none. */
uint64_t histogram_percentile(const struct histogram *, double percent);

/* The mean of all recorded values; 0 if there are none. */
double histogram_mean(const struct histogram *);

#endif
