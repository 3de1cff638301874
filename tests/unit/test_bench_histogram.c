#include "bench/histogram.h"

#include "bench/rng.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct histogram histogram;

static int clear(void **state)
{
    (void)state;
    histogram_clear(&histogram);
    return 0;
}

static void every_class_ends_where_the_next_begins(void **state)
{
    (void)state;
    for (unsigned i = 0; i + 1 < HISTOGRAM_CLASSES; i++) {
        assert_int_equal(histogram_class(histogram_class_top(i)), i);
        assert_int_equal(histogram_class(histogram_class_top(i) + 1), i + 1);
    }
}

static void a_class_is_never_wider_than_0_8_percent(void **state)
{
    (void)state;
    for (unsigned i = 256; i < HISTOGRAM_CLASSES; i++) {
        const uint64_t top = histogram_class_top(i);
        const uint64_t width = top - histogram_class_top(i - 1);
        assert_true((double)width <= 0.008 * (double)top);
    }
}

static void percentiles_of_1_to_100_are_themselves(void **state)
{
    (void)state;
    for (uint64_t value = 1; value <= 100; value++)
        histogram_record(&histogram, value);
    assert_int_equal(histogram_percentile(&histogram, 50), 50);
    assert_int_equal(histogram_percentile(&histogram, 99), 99);
    assert_int_equal(histogram_percentile(&histogram, 0), 1);
    assert_int_equal(histogram_percentile(&histogram, 100), 100);
    assert_true(histogram_mean(&histogram) == 50.5);
}

static int compare(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a;
    const uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static void percentiles_of_wide_values_are_within_0_8_percent(void **state)
{
    (void)state;
    enum { VALUES = 100000 };
    static uint64_t values[VALUES];
    struct rng rng = {.state = 7};
    for (unsigned i = 0; i < VALUES; i++) {
        values[i] = rng_next(&rng) >> (25 + rng_below(&rng, 38));
        histogram_record(&histogram, values[i]);
    }
    qsort(values, VALUES, sizeof *values, compare);
    const double percents[] = {1, 50, 90, 99, 99.9, 100};
    for (unsigned i = 0; i < sizeof percents / sizeof *percents; i++) {
        const double exact = (double)values[(size_t)(percents[i] / 100 * VALUES + 0.5) - 1];
        const double found = (double)histogram_percentile(&histogram, percents[i]);
        assert_true(found >= exact);
        assert_true(found <= exact * 1.008 + 1);
    }
}

static void a_value_beyond_the_range_counts_as_the_largest(void **state)
{
    (void)state;
    histogram_record(&histogram, UINT64_MAX / 4);
    assert_int_equal(histogram_percentile(&histogram, 50), UINT64_MAX / 4);
}

static void an_empty_histogram_says_0(void **state)
{
    (void)state;
    assert_int_equal(histogram_percentile(&histogram, 99), 0);
    assert_true(histogram_mean(&histogram) == 0);
}

static void merging_is_like_recording_everything_in_one(void **state)
{
    (void)state;
    static struct histogram other;
    static struct histogram both;
    histogram_clear(&other);
    histogram_clear(&both);
    struct rng rng = {.state = 3};
    for (unsigned i = 0; i < 1000; i++) {
        const uint64_t value = rng_below(&rng, 1000000);
        histogram_record(i % 3 == 0 ? &other : &histogram, value);
        histogram_record(&both, value);
    }
    histogram_merge(&histogram, &other);
    assert_memory_equal(&histogram, &both, sizeof both);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_class_ends_where_the_next_begins),
        cmocka_unit_test(a_class_is_never_wider_than_0_8_percent),
        cmocka_unit_test_setup(percentiles_of_1_to_100_are_themselves, clear),
        cmocka_unit_test_setup(percentiles_of_wide_values_are_within_0_8_percent, clear),
        cmocka_unit_test_setup(a_value_beyond_the_range_counts_as_the_largest, clear),
        cmocka_unit_test_setup(an_empty_histogram_says_0, clear),
        cmocka_unit_test_setup(merging_is_like_recording_everything_in_one, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
