/* Rebalance: the busy get less to do, and everything that claim promises stays true. */
#include "ring/rebalance.h"
#include "tests/unit/random.h"
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>

#define BITS       10
#define PARTITIONS (1u << BITS)
#define KEYS       100000

static struct ring_member members[RING_MEMBERS_MAX];
static unsigned member_count;
static struct ring_table before, next, again;
static unsigned char before_rows[RING_ROWS_BYTES_MAX], next_rows[RING_ROWS_BYTES_MAX];
static unsigned char again_rows[RING_ROWS_BYTES_MAX];
static uint64_t operations[PARTITIONS];
static struct rebalance_work work;

/* A settled cluster: `before` is the table of these many members. */
static void start_cluster(struct random *random, unsigned count, unsigned zones, unsigned weights)
{
    ring_table_init(&before, BITS, 3, before_rows, sizeof before_rows);
    ring_table_init(&next, BITS, 3, next_rows, sizeof next_rows);
    ring_table_init(&again, BITS, 3, again_rows, sizeof again_rows);
    for (member_count = 0; member_count < count; member_count++)
        members[member_count] =
            (struct ring_member){10 * member_count + 1 + random_below(random, 9),
                                 random_below(random, zones), 1 + random_below(random, weights)};
    struct claim_input input = {members, member_count, 3, 1, &before};
    while (claim_next(&work.claim, &input, &next) == CLAIM_NEXT)
        ring_table_copy(&before, &next);
}

/* Operations on keys of which the n-th is used n^-exponent as often as the first, wherever their
 * hashes fall. */
static void use_zipf(struct random *random, double exponent)
{
    memset(operations, 0, sizeof operations);
    for (unsigned key = 1; key <= KEYS; key++)
        operations[random_below(random, PARTITIONS)] += (uint64_t)(1e9 * pow(key, -exponent));
}

static struct rebalance_input input_of(unsigned threshold_permille)
{
    return (struct rebalance_input){.claim = {members, member_count, 3, 1, &before},
                                    .operations = operations,
                                    .owner_cost = 1,
                                    .first_cost = 1,
                                    .threshold_permille = threshold_permille};
}

/* The load of each member by that table. */
static void count_loads(const struct ring_table *table, double *load)
{
    for (unsigned i = 0; i < table->member_count; i++)
        load[i] = 0;
    for (unsigned p = 0; p < PARTITIONS; p++)
        for (unsigned i = 0; i < 3 && ring_table_row(table, p)[i] != RING_NO_OWNER; i++)
            load[ring_table_row(table, p)[i]] += (double)operations[p] * (i == 0 ? 2 : 1);
}

static double peak_of(const struct ring_table *table)
{
    double load[RING_MEMBERS_MAX], most = 0, sum = 0;

    count_loads(table, load);
    for (unsigned i = 0; i < table->member_count; i++) {
        sum += load[i];
        most = fmax(most, load[i]);
    }
    return most * table->member_count / sum;
}

/* Partitions gained by somebody from `before` to `next`; no partition may change twice. */
static unsigned moves_made(void)
{
    struct ring_change change;
    unsigned moves = 0;

    for (unsigned p = 0; ring_table_next_change(&before, &next, p, &change);
         p = change.partition + 1) {
        assert_in_range(change.gained_count, 0, 1);
        assert_int_equal(change.gained_count, change.lost_count);
        moves += change.gained_count;
    }
    return moves;
}

static void check_that_claim_agrees(void)
{
    struct claim_input input = {members, member_count, 3, 1, &next};

    assert_int_equal(claim_next(&work.claim, &input, &again), CLAIM_MET);
}

static void the_busiest_of_30_under_zipf_comes_below_the_threshold(void **state)
{
    struct random random = {1};

    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        struct rebalance_report report;
        start_cluster(&random, 30, 1, 1);
        use_zipf(&random, 0.8);
        struct rebalance_input input = input_of(1100);
        assert_int_equal(rebalance_next(&work, &input, &next, &report), REBALANCE_NEXT);
        assert_true(fabs(peak_of(&before) - report.peak_before_permille / 1000.0) < 0.002);
        assert_true(fabs(peak_of(&next) - report.peak_after_permille / 1000.0) < 0.002);
        assert_in_range(report.peak_after_permille, 1000, 1100);
        assert_int_equal(moves_made(), report.moves);
        check_that_claim_agrees();
    }
}

/* A partition busier than any fair load: its owners keep it, and become less busy besides. */
static void owners_of_a_partition_too_hot_for_anybody_get_quieter_ones_beside_it(void **state)
{
    struct random random = {2};
    double spared = 0; /* the part of its other load that the first owner lost */

    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        struct rebalance_report report;
        double was[RING_MEMBERS_MAX], is[RING_MEMBERS_MAX];
        start_cluster(&random, 30, 1, 1);
        use_zipf(&random, 0.8);
        unsigned hot = random_below(&random, PARTITIONS);
        for (unsigned p = 0; p < PARTITIONS; p++)
            operations[hot] += p == hot ? 0 : operations[p] / 4;
        struct rebalance_input input = input_of(1200);
        assert_int_equal(rebalance_next(&work, &input, &next, &report), REBALANCE_NEXT);
        count_loads(&before, was);
        count_loads(&next, is);
        unsigned first = ring_table_row(&next, hot)[0];
        double hot_load = 2 * (double)operations[hot];
        assert_int_equal(first, ring_table_row(&before, hot)[0]);
        spared += 1 - (is[first] - hot_load) / (was[first] - hot_load);
        assert_true(is[first] - hot_load <= was[first] - hot_load);
        check_that_claim_agrees();
    }
    assert_true(spared / 20 > 0.1);
}

static void claim_agrees_with_every_rebalanced_table(void **state)
{
    struct random random = {3};

    (void)state;
    for (unsigned i = 0; i < 60; i++) {
        struct rebalance_report report;
        start_cluster(&random, 1 + random_below(&random, 60), 1 + random_below(&random, 6),
                      1 + random_below(&random, 5));
        use_zipf(&random, 0.6 + 0.1 * random_below(&random, 7));
        struct rebalance_input input = input_of(1050 + random_below(&random, 500));
        enum rebalance_answer answer = rebalance_next(&work, &input, &next, &report);
        assert_int_not_equal(answer, REBALANCE_NOT_SETTLED);
        assert_true(report.peak_after_permille <= report.peak_before_permille);
        if (answer == REBALANCE_DONE)
            continue;
        assert_int_equal(moves_made(), report.moves);
        check_that_claim_agrees();
    }
}

static void the_same_input_gives_the_same_table(void **state)
{
    struct random random = {4};
    struct rebalance_report report, other;

    (void)state;
    start_cluster(&random, 30, 4, 3);
    use_zipf(&random, 1);
    struct rebalance_input input = input_of(1100);
    assert_int_equal(rebalance_next(&work, &input, &next, &report), REBALANCE_NEXT);
    memset(&work, 0x5a, sizeof work);
    for (unsigned i = 0; i + 1 < member_count; i += 2) {
        struct ring_member member = members[i];
        members[i] = members[i + 1];
        members[i + 1] = member;
    }
    for (unsigned p = 0; p < PARTITIONS; p++)
        operations[p] *= 64; /* only their proportions count */
    assert_int_equal(rebalance_next(&work, &input, &again, &other), REBALANCE_NEXT);
    assert_true(ring_table_same_content(&next, &again));
}

static void who_is_below_the_threshold_is_left_alone(void **state)
{
    struct random random = {5};
    struct rebalance_report report;

    (void)state;
    start_cluster(&random, 30, 3, 2);
    for (unsigned p = 0; p < PARTITIONS; p++)
        operations[p] = 1000;
    struct rebalance_input input = input_of(1200);
    assert_int_equal(rebalance_next(&work, &input, &next, &report), REBALANCE_DONE);
    assert_int_equal(report.moves + report.first_moves, 0);
    memset(operations, 0, sizeof operations);
    assert_int_equal(rebalance_next(&work, &input, &next, &report), REBALANCE_DONE);
}

static void a_table_that_claim_would_change_is_not_rebalanced(void **state)
{
    struct random random = {6};
    struct rebalance_report report;

    (void)state;
    start_cluster(&random, 10, 1, 1);
    use_zipf(&random, 1);
    members[member_count++] = (struct ring_member){1000, 0, 1};
    struct rebalance_input input = input_of(1200);
    assert_int_equal(rebalance_next(&work, &input, &next, &report), REBALANCE_NOT_SETTLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_busiest_of_30_under_zipf_comes_below_the_threshold),
        cmocka_unit_test(owners_of_a_partition_too_hot_for_anybody_get_quieter_ones_beside_it),
        cmocka_unit_test(claim_agrees_with_every_rebalanced_table),
        cmocka_unit_test(the_same_input_gives_the_same_table),
        cmocka_unit_test(who_is_below_the_threshold_is_left_alone),
        cmocka_unit_test(a_table_that_claim_would_change_is_not_rebalanced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
