/* Which keys are asked for, and how large their values are: bench/zipf, popularity, amounts. */

#include "bench/amounts.h"
#include "bench/popularity.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

/* The probability of each rank against how often it came, as chi squared: it stays below the
 * bound in all but one of a million fair runs, and the runs are always the same. */
static void check_zipf(double theta)
{
    enum { RANKS = 50, DRAWS = 1000000 };
    uint64_t counts[RANKS + 1] = {0};
    struct rng rng = {.state = 11};
    struct zipf zipf;
    zipf_init(&zipf, RANKS, theta);
    for (unsigned i = 0; i < DRAWS; i++) {
        const uint64_t rank = zipf_next(&zipf, &rng);
        assert_in_range(rank, 1, RANKS);
        counts[rank]++;
    }
    double sum = 0;
    for (unsigned rank = 1; rank <= RANKS; rank++)
        sum += pow(rank, -theta);
    double chi_squared = 0;
    for (unsigned rank = 1; rank <= RANKS; rank++) {
        const double expected = DRAWS * pow(rank, -theta) / sum;
        chi_squared +=
            ((double)counts[rank] - expected) * ((double)counts[rank] - expected) / expected;
    }
    assert_true(chi_squared < 110); /* 49 degrees of freedom */
}

static void zipf_ranks_come_as_often_as_they_should(void **state)
{
    (void)state;
    const double thetas[] = {0, 0.5, 0.8, 0.99, 1, 1.2, 2};
    for (unsigned i = 0; i < sizeof thetas / sizeof *thetas; i++)
        check_zipf(thetas[i]);
}

static void zipf_of_one_rank_is_that_rank(void **state)
{
    (void)state;
    struct rng rng = {.state = 5};
    struct zipf zipf;
    zipf_init(&zipf, 1, 0.99);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(zipf_next(&zipf, &rng), 1);
}

static void start(struct popularity *popularity, struct popularity_cursor *cursor, const char *form,
                  uint64_t keys)
{
    assert_true(popularity_parse(popularity, form));
    popularity_init(popularity, keys);
    popularity_cursor_init(cursor, 1, 0, 1);
}

static void sequential_threads_share_the_keys(void **state)
{
    (void)state;
    struct popularity popularity;
    struct popularity_cursor cursors[2];
    unsigned counts[10] = {0};
    assert_true(popularity_parse(&popularity, "sequential"));
    popularity_init(&popularity, 10);
    for (unsigned lane = 0; lane < 2; lane++)
        popularity_cursor_init(&cursors[lane], 1, lane, 2);
    for (unsigned i = 0; i < 10; i++)
        counts[popularity_next(&popularity, &cursors[i % 2])]++;
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(counts[i], 1);
}

static void one_hit_keys_never_come_again(void **state)
{
    (void)state;
    struct popularity popularity;
    struct popularity_cursor cursor;
    start(&popularity, &cursor, "onehit:0.9,0.25", 1000);
    unsigned once = 0;
    uint64_t latest = 999;
    for (unsigned i = 0; i < 10000; i++) {
        const uint64_t key = popularity_next(&popularity, &cursor);
        if (key < 1000)
            continue;
        assert_true(key > latest);
        latest = key;
        once++;
    }
    assert_in_range(once, 2350, 2650);
}

static void a_scan_walks_in_runs_through_all_keys(void **state)
{
    (void)state;
    struct popularity popularity;
    struct popularity_cursor cursor;
    start(&popularity, &cursor, "scan:0.9,0.5,100", 1000);
    for (unsigned run = 0; run < 20; run++) {
        for (unsigned i = 0; i < 100; i++)
            assert_int_equal(popularity_next(&popularity, &cursor), (run * 100 + i) % 1000);
        for (unsigned i = 0; i < 100; i++)
            assert_in_range(popularity_next(&popularity, &cursor), 0, 999);
    }
}

/* The most frequent key among the next 2,000 requests. */
static uint64_t hottest(const struct popularity *popularity, struct popularity_cursor *cursor)
{
    unsigned counts[1000] = {0};
    uint64_t best = 0;
    for (unsigned i = 0; i < 2000; i++)
        counts[popularity_next(popularity, cursor)]++;
    for (uint64_t key = 0; key < 1000; key++)
        if (counts[key] > counts[best])
            best = key;
    return best;
}

static void drift_makes_a_cold_key_the_hottest(void **state)
{
    (void)state;
    struct popularity popularity;
    struct popularity_cursor cursor;
    start(&popularity, &cursor, "drift:1.2,2000", 1000);
    assert_int_equal(hottest(&popularity, &cursor), 0);
    assert_int_equal(hottest(&popularity, &cursor), 999);
    assert_int_equal(hottest(&popularity, &cursor), 998);
}

static void the_same_seed_asks_for_the_same_keys(void **state)
{
    (void)state;
    struct popularity popularity;
    struct popularity_cursor first;
    struct popularity_cursor second;
    start(&popularity, &first, "zipf:0.99", 100000);
    popularity_cursor_init(&second, 1, 0, 1);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(popularity_next(&popularity, &first),
                         popularity_next(&popularity, &second));
}

static void popularity_forms_that_mean_nothing_are_refused(void **state)
{
    (void)state;
    const char *forms[] = {"",         "zip",         "zipf",         "zipf:",        "zipf:-1",
                           "zipf:1,2", "uniform:1",   "onehit:1,1.5", "scan:1,0.5,0", "scan:1,1,9",
                           "drift:1",  "drift:1,0.5", "zipf:nan",     "zipf:1 "};
    struct popularity popularity;
    for (unsigned i = 0; i < sizeof forms / sizeof *forms; i++)
        assert_false(popularity_parse(&popularity, forms[i]));
}

/* The mean over many keys. */
static double mean_of(const char *form)
{
    struct amounts amounts;
    double sum = 0;
    assert_true(amounts_parse(&amounts, form));
    for (uint64_t i = 0; i < 100000; i++) {
        const uint64_t amount = amounts_of(&amounts, rng_mix(i + 1));
        assert_true(amount <= amounts.high);
        sum += (double)amount;
    }
    return sum / 100000;
}

static void amounts_have_the_mean_of_their_form(void **state)
{
    (void)state;
    assert_true(mean_of("77") == 77);
    assert_true(fabs(mean_of("uniform:100-300") - 200) < 2);
    assert_true(fabs(mean_of("list:10@1,50@3") - 40) < 0.5);
    assert_true(fabs(mean_of("lognormal:200,0.5,1000000") - 200 * exp(0.125)) < 3);
}

static void amount_forms_that_mean_nothing_are_refused(void **state)
{
    (void)state;
    const char *forms[] = {"",
                           "-1",
                           "1x",
                           "uniform:5",
                           "uniform:5-4",
                           "list:",
                           "list:1",
                           "list:1@",
                           "list:1@0",
                           "list:1@1,",
                           "list:@1",
                           "lognormal:1,1",
                           "normal:1",
                           "lognormal:0,1,9",
                           "99999999999999999999999"};
    struct amounts amounts;
    for (unsigned i = 0; i < sizeof forms / sizeof *forms; i++)
        assert_false(amounts_parse(&amounts, forms[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zipf_ranks_come_as_often_as_they_should),
        cmocka_unit_test(zipf_of_one_rank_is_that_rank),
        cmocka_unit_test(sequential_threads_share_the_keys),
        cmocka_unit_test(one_hit_keys_never_come_again),
        cmocka_unit_test(a_scan_walks_in_runs_through_all_keys),
        cmocka_unit_test(drift_makes_a_cold_key_the_hottest),
        cmocka_unit_test(the_same_seed_asks_for_the_same_keys),
        cmocka_unit_test(popularity_forms_that_mean_nothing_are_refused),
        cmocka_unit_test(amounts_have_the_mean_of_their_form),
        cmocka_unit_test(amount_forms_that_mean_nothing_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
