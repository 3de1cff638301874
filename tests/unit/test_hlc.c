/* The hybrid logical clock. */
#include "ring/hlc.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>

#define NOW_MS   1700000000000u
#define DRIFT_MS 60000u

static void a_fresh_clock_gives_the_time_of_day(void **state)
{
    struct hlc_clock clock;

    (void)state;
    hlc_clock_init(&clock, 0);
    hlc_time time = hlc_clock_next(&clock, NOW_MS);
    assert_int_equal(hlc_ms(time), NOW_MS);
    assert_int_equal(hlc_count(time), 0);
}

static void times_of_one_millisecond_differ_by_their_count(void **state)
{
    struct hlc_clock clock;

    (void)state;
    hlc_clock_init(&clock, 0);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(hlc_count(hlc_clock_next(&clock, NOW_MS)), i);
}

static void it_rises_while_the_time_of_day_jumps(void **state)
{
    struct hlc_clock clock;
    hlc_time before = 0;
    uint64_t random = 1;

    (void)state;
    hlc_clock_init(&clock, 0);
    for (int i = 0; i < 100000; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        hlc_time time = hlc_clock_next(&clock, NOW_MS + (random >> 54));
        assert_true(time > before);
        assert_true(hlc_is_valid(time));
        before = time;
    }
}

static void a_full_count_borrows_the_next_millisecond(void **state)
{
    struct hlc_clock clock;

    (void)state;
    hlc_clock_init(&clock, hlc_of_ms(NOW_MS + 1) - 1);
    assert_int_equal(hlc_clock_next(&clock, NOW_MS), hlc_of_ms(NOW_MS + 1));
    assert_int_equal(hlc_clock_next(&clock, NOW_MS), hlc_of_ms(NOW_MS + 1) + 1);
}

static void the_first_time_is_never_zero(void **state)
{
    struct hlc_clock clock;

    (void)state;
    hlc_clock_init(&clock, 0);
    assert_int_equal(hlc_clock_next(&clock, 0), 1);
}

static void the_last_millisecond_stays_below_the_top_bit(void **state)
{
    struct hlc_clock clock;

    (void)state;
    hlc_clock_init(&clock, 0);
    assert_true(hlc_clock_next(&clock, HLC_MS_END - 1) < HLC_END);
}

static void a_merged_clock_is_passed(void **state)
{
    struct hlc_clock clock;
    hlc_time remote = hlc_of_ms(NOW_MS + DRIFT_MS) + 5;

    (void)state;
    hlc_clock_init(&clock, 0);
    assert_int_equal(hlc_clock_merge(&clock, remote, NOW_MS, DRIFT_MS), HLC_MERGED);
    assert_int_equal(hlc_clock_next(&clock, NOW_MS), remote + 1);
}

static void an_older_clock_changes_nothing(void **state)
{
    struct hlc_clock clock;

    (void)state;
    hlc_clock_init(&clock, hlc_of_ms(NOW_MS));
    assert_int_equal(hlc_clock_merge(&clock, 7, NOW_MS, DRIFT_MS), HLC_MERGED);
    assert_int_equal(clock.last, hlc_of_ms(NOW_MS));
}

static void a_clock_beyond_the_drift_is_refused(void **state)
{
    struct hlc_clock clock;
    hlc_time remote = hlc_of_ms(NOW_MS + DRIFT_MS + 1);

    (void)state;
    hlc_clock_init(&clock, 3);
    assert_int_equal(hlc_clock_merge(&clock, remote, NOW_MS, DRIFT_MS), HLC_TOO_FAR_AHEAD);
    assert_int_equal(clock.last, 3);
}

static void what_is_no_clock_is_refused_at_any_drift(void **state)
{
    struct hlc_clock clock;

    (void)state;
    hlc_clock_init(&clock, 3);
    assert_int_equal(hlc_clock_merge(&clock, HLC_END, NOW_MS, UINT64_MAX), HLC_TOO_FAR_AHEAD);
    assert_int_equal(hlc_clock_merge(&clock, UINT64_MAX, NOW_MS, UINT64_MAX), HLC_TOO_FAR_AHEAD);
    assert_int_equal(clock.last, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fresh_clock_gives_the_time_of_day),
        cmocka_unit_test(times_of_one_millisecond_differ_by_their_count),
        cmocka_unit_test(it_rises_while_the_time_of_day_jumps),
        cmocka_unit_test(a_full_count_borrows_the_next_millisecond),
        cmocka_unit_test(the_first_time_is_never_zero),
        cmocka_unit_test(the_last_millisecond_stays_below_the_top_bit),
        cmocka_unit_test(a_merged_clock_is_passed),
        cmocka_unit_test(an_older_clock_changes_nothing),
        cmocka_unit_test(a_clock_beyond_the_drift_is_refused),
        cmocka_unit_test(what_is_no_clock_is_refused_at_any_drift),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
