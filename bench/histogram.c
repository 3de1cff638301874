#include "bench/histogram.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

uint64_t histogram_class_top(unsigned class_index)
{
    assert(class_index < HISTOGRAM_CLASSES);
    const unsigned parts = 1u << HISTOGRAM_PART_BITS;
    if (class_index < 2 * parts)
        return class_index;
    const unsigned shift = (class_index >> HISTOGRAM_PART_BITS) - 1;
    const uint64_t part = parts + (class_index & (parts - 1));
    return ((part + 1) << shift) - 1;
}

void histogram_clear(struct histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
}

void histogram_merge(struct histogram *histogram, const struct histogram *other)
{
    for (unsigned i = 0; i < HISTOGRAM_CLASSES; i++)
        histogram->counts[i] += other->counts[i];
    histogram->total += other->total;
    histogram->sum_ns += other->sum_ns;
    if (other->max_ns > histogram->max_ns)
        histogram->max_ns = other->max_ns;
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent)
{
    assert(percent >= 0);
    assert(percent <= 100);
    if (histogram->total == 0)
        return 0;

    uint64_t wanted = (uint64_t)ceil(percent / 100 * (double)histogram->total);
    if (wanted == 0)
        wanted = 1;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_CLASSES; i++) {
        seen += histogram->counts[i];
        if (seen >= wanted) {
            const uint64_t top = histogram_class_top(i);
            const bool is_last = i == HISTOGRAM_CLASSES - 1;
            return is_last || top > histogram->max_ns ? histogram->max_ns : top;
        }
    }
    return histogram->max_ns;
}

double histogram_mean(const struct histogram *histogram)
{
    return histogram->total == 0 ? 0 : (double)histogram->sum_ns / (double)histogram->total;
}
