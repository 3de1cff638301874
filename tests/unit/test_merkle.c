#include "bench/mark_pair.h"
#include "tests/unit/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { KEYS = 500, PARTITION_BITS = 3, LEAF_BITS = 7 };

/* One partition's tree, and the marks that are in it. */
struct grove {
    struct random random;
    struct merkle_tree tree;
    uint64_t leaves[1 << LEAF_BITS];
    uint64_t key_hashes[KEYS], marks[KEYS];
};

static void grow(struct grove *grove, uint64_t seed)
{
    memset(grove, 0, sizeof *grove);
    grove->random.state = seed;
    merkle_init(&grove->tree, PARTITION_BITS, LEAF_BITS, grove->leaves);
    for (unsigned i = 0; i < KEYS; i++)
        grove->key_hashes[i] =
            random_next(&grove->random) >> PARTITION_BITS | (uint64_t)5 << (64 - PARTITION_BITS);
    for (unsigned i = 0; i < 4 * KEYS; i++) {
        unsigned key = random_below(&grove->random, KEYS);
        uint64_t mark = random_chance(&grove->random, 40) ? 0 : random_next(&grove->random);
        merkle_update(&grove->tree, grove->key_hashes[key], grove->marks[key], mark);
        grove->marks[key] = mark;
    }
}

static uint64_t sum_of(const struct grove *grove, struct merkle_range range)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < KEYS; i++)
        if (grove->key_hashes[i] >= range.first && grove->key_hashes[i] <= merkle_range_last(range))
            sum ^= grove->marks[i];
    return sum;
}

/* Every node of the tree down to its leaves, compared with the marks themselves. */
static void assert_sums(const struct grove *grove)
{
    struct merkle_range partition =
        merkle_range_child((struct merkle_range){0, 0}, PARTITION_BITS, 5);
    unsigned depth_max = PARTITION_BITS + grove->tree.leaf_bits;

    for (unsigned depth = 0; depth <= PARTITION_BITS; depth++) {
        uint64_t sum;
        struct merkle_range range = {
            depth == 0 ? 0 : partition.first >> (64 - depth) << (64 - depth), depth};
        assert_true(merkle_sum(&grove->tree, range, &sum));
        assert_int_equal(sum, sum_of(grove, partition));
    }
    for (unsigned depth = PARTITION_BITS; depth <= depth_max; depth++)
        for (unsigned i = 0; i < 1u << (depth - PARTITION_BITS); i++) {
            struct merkle_range range = merkle_range_child(partition, depth, i);
            uint64_t sum;
            assert_int_equal(merkle_range_child_of(partition, depth, range.first), i);
            assert_int_equal(merkle_range_child_of(partition, depth, merkle_range_last(range)), i);
            assert_true(merkle_sum(&grove->tree, range, &sum));
            assert_int_equal(sum, sum_of(grove, range));
        }
    uint64_t sum;
    assert_false(
        merkle_sum(&grove->tree, (struct merkle_range){partition.first, depth_max + 1}, &sum));
}

static void every_node_is_the_xor_of_the_marks_below_it(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct grove grove;
        uint64_t count = 0;
        grow(&grove, seed);
        assert_sums(&grove);
        for (unsigned i = 0; i < KEYS; i++)
            count += grove.marks[i] != 0;
        assert_int_equal(grove.tree.cell_count, count);
    }
}

static void a_coarser_tree_says_the_same(void **state)
{
    struct grove grove;

    (void)state;
    grow(&grove, 30);
    for (unsigned bits = LEAF_BITS + 1; bits-- > 0;) {
        merkle_coarsen(&grove.tree, bits);
        assert_sums(&grove);
    }
    merkle_update(&grove.tree, grove.key_hashes[0], grove.marks[0], 77);
    grove.marks[0] = 77;
    assert_sums(&grove);
}

static void a_tree_that_was_emptied_is_zero(void **state)
{
    struct grove grove;

    (void)state;
    grow(&grove, 31);
    for (unsigned i = 0; i < KEYS; i++)
        merkle_update(&grove.tree, grove.key_hashes[i], grove.marks[i], 0);
    assert_int_equal(grove.tree.cell_count, 0);
    assert_int_equal(grove.tree.root, 0);
    for (unsigned i = 0; i < 1 << LEAF_BITS; i++)
        assert_int_equal(grove.leaves[i], 0);
}

static void the_mark_tells_states_apart_but_not_stubs_from_values(void **state)
{
    struct sibling siblings[2], others[2];
    struct cell cell, other;
    struct sibling value = sibling_of_value((struct dot){1, 100}, 0, 0, 5, 99, 0);

    (void)state;
    cell_init(&cell, siblings, 2);
    cell_init(&other, others, 2);
    assert_int_equal(merkle_mark(1, &cell), 0);
    assert_int_equal(cell_put_blind(&cell, &value), CELL_PUT_DONE);
    uint64_t mark = merkle_mark(1, &cell);
    assert_int_not_equal(mark, 0);
    assert_int_not_equal(mark, merkle_mark(2, &cell));
    cell_copy(&other, &cell);
    cell_evict(&other);
    assert_int_equal(mark, merkle_mark(1, &other));
    assert_int_not_equal(exchange_fingerprint(&cell), exchange_fingerprint(&other));
    value = sibling_of_value((struct dot){1, 101}, 0, 0, 5, 99, 0);
    assert_int_equal(cell_put_blind(&cell, &value), CELL_PUT_DONE);
    assert_int_not_equal(mark, merkle_mark(1, &cell));
}

static void a_million_equal_keys_cost_a_hello_and_one_that_differs_under_10_kb(void **state)
{
    struct mark_pair *pair = mark_pair_new(1, 1000000, 10, 6);

    (void)state;
    assert_non_null(pair);
    mark_pair_sync(pair);
    assert_int_equal(pair->messages, 0);
    mark_pair_set(pair, 0, 123456, UINT64_MAX >> 1);
    mark_pair_sync(pair);
    assert_int_equal(mark_pair_differing(pair), 0);
    assert_in_range(pair->bytes, 1, 10000);
    assert_true(pair->hellos * sizeof(struct sync_hello) + pair->bytes < 10000);
    mark_pair_free(pair);
}

static void a_hundred_thousand_differing_keys_take_few_messages(void **state)
{
    struct mark_pair *pair = mark_pair_new(2, 400000, 10, 6);

    (void)state;
    assert_non_null(pair);
    for (unsigned i = 0; i < 400000; i += 4)
        mark_pair_set(pair, i / 4 % 2, i, i % 8 == 0 ? 0 : i);
    mark_pair_sync(pair);
    assert_int_equal(mark_pair_differing(pair), 0);
    assert_in_range(pair->messages, 1, 100000 / 4);
    mark_pair_free(pair);
}

static void an_empty_node_is_filled_with_each_cell_once(void **state)
{
    struct mark_pair *pair = mark_pair_new(3, 200000, 10, 6);

    (void)state;
    assert_non_null(pair);
    for (unsigned i = 0; i < 200000; i++)
        mark_pair_set(pair, 1, i, 0);
    mark_pair_fill(pair, 1);
    assert_int_equal(mark_pair_differing(pair), 0);
    assert_int_equal(pair->cells, 200000);
    mark_pair_free(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_node_is_the_xor_of_the_marks_below_it),
        cmocka_unit_test(a_coarser_tree_says_the_same),
        cmocka_unit_test(a_tree_that_was_emptied_is_zero),
        cmocka_unit_test(the_mark_tells_states_apart_but_not_stubs_from_values),
        cmocka_unit_test(a_million_equal_keys_cost_a_hello_and_one_that_differs_under_10_kb),
        cmocka_unit_test(a_hundred_thousand_differing_keys_take_few_messages),
        cmocka_unit_test(an_empty_node_is_filled_with_each_cell_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
