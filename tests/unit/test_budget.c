/* Budget: how much background work the foreground can bear. */
#include "ring/budget.h"
#include "tests/unit/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#define START_MS 70000

static const struct budget_options options = {.target_us = 1000,
                                              .tokens_min = 1000,
                                              .tokens_max = 100000,
                                              .tokens_step = 1000,
                                              .share_percent = {50, 30, 20}};

static void a_bucket_gives_no_more_than_its_rate_and_burst(void **state)
{
    struct random random = {.state = 1};

    (void)state;
    for (unsigned run = 0; run < 100; run++) {
        struct token_bucket bucket;
        uint64_t rate = 1 + random_below(&random, 10000), burst = 1 + random_below(&random, 5000);
        uint64_t now_ms = START_MS, taken = 0, largest = 0;
        token_bucket_init(&bucket, rate, burst, now_ms);
        for (unsigned i = 0; i < 1000; i++) {
            uint64_t wanted = random_below(&random, 300);
            now_ms += random_below(&random, 50);
            if (!token_bucket_take(&bucket, wanted, now_ms)) {
                assert_true(token_bucket_ready_ms(&bucket) > now_ms);
                continue;
            }
            taken += wanted;
            largest = wanted > largest ? wanted : largest;
            assert_true(taken <= burst + largest + rate * (now_ms - START_MS) / 1000);
        }
    }
}

static void a_bucket_is_ready_when_it_said(void **state)
{
    struct random random = {.state = 2};
    struct token_bucket bucket;
    uint64_t now_ms = START_MS;

    (void)state;
    token_bucket_init(&bucket, 777, 10, now_ms);
    for (unsigned i = 0; i < 1000; i++) {
        now_ms = token_bucket_ready_ms(&bucket) > now_ms ? token_bucket_ready_ms(&bucket) : now_ms;
        assert_true(token_bucket_take(&bucket, 1 + random_below(&random, 5000), now_ms));
    }
    uint64_t ready_ms = token_bucket_ready_ms(&bucket);
    assert_true(ready_ms > now_ms);
    assert_false(token_bucket_take(&bucket, 1, ready_ms - 2));
}

static void what_is_larger_than_the_burst_passes_and_is_paid_for(void **state)
{
    struct token_bucket bucket;

    (void)state;
    token_bucket_init(&bucket, 100, 10, START_MS);
    assert_true(token_bucket_take(&bucket, 1010, START_MS));
    assert_false(token_bucket_take(&bucket, 1, START_MS + 9000));
    assert_int_equal(token_bucket_ready_ms(&bucket), START_MS + 10001);
    assert_true(token_bucket_take(&bucket, 1, START_MS + 10001));
}

static void a_bucket_without_a_rate_is_never_ready(void **state)
{
    struct token_bucket bucket;

    (void)state;
    token_bucket_init(&bucket, 0, 0, START_MS);
    assert_false(token_bucket_take(&bucket, 1, START_MS + 1000000));
    assert_true(token_bucket_ready_ms(&bucket) == UINT64_MAX);
}

static void years_of_waiting_do_not_overflow(void **state)
{
    struct token_bucket bucket;

    (void)state;
    token_bucket_init(&bucket, (uint64_t)1 << 40, (uint64_t)1 << 40, START_MS);
    assert_true(token_bucket_take(&bucket, (uint64_t)1 << 41, START_MS));
    assert_true(token_bucket_take(&bucket, 1, START_MS + ((uint64_t)1 << 50)));
    assert_in_range(bucket.level_milli, 1, (int64_t)1000 << 40);
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void the_percentile_is_right_to_an_eighth(void **state)
{
    enum { SAMPLES = 5000 };
    struct random random = {.state = 3};
    static struct budget budget;
    static uint32_t samples[SAMPLES];

    (void)state;
    for (unsigned run = 0; run < 50; run++) {
        budget_init(&budget, &options, START_MS);
        unsigned shift = random_below(&random, 31);
        unsigned count = BUDGET_SAMPLES_MIN + random_below(&random, SAMPLES - BUDGET_SAMPLES_MIN);
        for (unsigned i = 0; i < count; i++) {
            samples[i] = (uint32_t)random_next(&random) >> shift >> random_below(&random, 2);
            budget_sample(&budget, samples[i], START_MS);
        }
        qsort(samples, count, sizeof samples[0], compare_numbers);
        double right = samples[count - 1 - count / 100];
        double found = budget_p99_us(&budget, START_MS);
        assert_true(found >= right);
        assert_true(found <= right * 1.125 + 1);
    }
}

static void a_minute_is_remembered_and_no_more(void **state)
{
    static struct budget budget;

    (void)state;
    budget_init(&budget, &options, START_MS);
    for (unsigned i = 0; i < 1000; i++)
        budget_sample(&budget, 5000, START_MS);
    assert_true(budget_p99_us(&budget, START_MS + 50000 - 1) >= 5000);
    assert_int_equal(budget_p99_us(&budget, START_MS + 60000), 0);
    for (unsigned i = 0; i < 1000; i++)
        budget_sample(&budget, 70, START_MS + 1000000);
    assert_in_range(budget_p99_us(&budget, START_MS + 1000000), 70, 80);
}

static uint64_t run(struct budget *budget, uint64_t *now_ms, unsigned seconds, uint32_t latency_us)
{
    for (unsigned i = 0; i < seconds * 10; i++) {
        *now_ms += 100;
        for (unsigned j = 0; j < 10; j++)
            budget_sample(budget, latency_us, *now_ms);
        if (*now_ms >= budget_deadline_ms(budget))
            budget_step(budget, *now_ms, NULL);
        assert_in_range(budget->tokens_per_s, options.tokens_min, options.tokens_max);
        assert_true(budget_deadline_ms(budget) > *now_ms);
    }
    return budget->tokens_per_s;
}

static void clients_that_wait_shrink_it_and_it_comes_back_slowly(void **state)
{
    static struct budget budget;
    uint64_t now_ms = START_MS;

    (void)state;
    budget_init(&budget, &options, now_ms);
    assert_int_equal(run(&budget, &now_ms, 60, 300), options.tokens_max);
    uint64_t after_burst = run(&budget, &now_ms, 3, 5000);
    assert_true(after_burst < options.tokens_max);
    assert_int_equal(run(&budget, &now_ms, 60, 5000), options.tokens_min);
    assert_int_equal(budget_bucket(&budget, BUDGET_HINTS)->tokens_per_s, options.tokens_min / 2);
    assert_int_equal(run(&budget, &now_ms, 45, 300), options.tokens_min); /* the minute remembers */
    uint64_t growing = run(&budget, &now_ms, 40, 300);
    assert_in_range(growing, options.tokens_min + 1, options.tokens_max / 2);
    assert_int_equal(run(&budget, &now_ms, 120, 300), options.tokens_max);
}

static void a_burst_that_is_over_shrinks_it_no_further(void **state)
{
    static struct budget budget;
    uint64_t now_ms = START_MS;

    (void)state;
    budget_init(&budget, &options, now_ms);
    run(&budget, &now_ms, 60, 300);
    run(&budget, &now_ms, 2, 5000);
    uint64_t soon = run(&budget, &now_ms, 20, 300);
    assert_int_equal(run(&budget, &now_ms, 10, 300), soon);
}

static void without_clients_there_is_no_reason_to_hold_back(void **state)
{
    static struct budget budget;
    uint64_t now_ms = START_MS;

    (void)state;
    budget_init(&budget, &options, now_ms);
    run(&budget, &now_ms, 60, 5000);
    for (unsigned i = 0; i < 300; i++) {
        now_ms = budget_deadline_ms(&budget);
        budget_step(&budget, now_ms, NULL);
    }
    assert_int_equal(budget.tokens_per_s, options.tokens_max);
}

static void work_of_each_kind_has_its_share(void **state)
{
    static struct budget budget;

    (void)state;
    budget_init(&budget, &options, START_MS);
    assert_int_equal(budget_bucket(&budget, BUDGET_HINTS)->tokens_per_s, 50000);
    assert_int_equal(budget_bucket(&budget, BUDGET_TRANSFER)->tokens_per_s, 30000);
    assert_int_equal(budget_bucket(&budget, BUDGET_REPAIR)->tokens_per_s, 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_gives_no_more_than_its_rate_and_burst),
        cmocka_unit_test(a_bucket_is_ready_when_it_said),
        cmocka_unit_test(what_is_larger_than_the_burst_passes_and_is_paid_for),
        cmocka_unit_test(a_bucket_without_a_rate_is_never_ready),
        cmocka_unit_test(years_of_waiting_do_not_overflow),
        cmocka_unit_test(the_percentile_is_right_to_an_eighth),
        cmocka_unit_test(a_minute_is_remembered_and_no_more),
        cmocka_unit_test(clients_that_wait_shrink_it_and_it_comes_back_slowly),
        cmocka_unit_test(a_burst_that_is_over_shrinks_it_no_further),
        cmocka_unit_test(without_clients_there_is_no_reason_to_hold_back),
        cmocka_unit_test(work_of_each_kind_has_its_share),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
