#include "tests/unit/replicas.h"
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { KEYS = 600 };

/* Four nodes, three copies, 8 partitions, and every key at all its owners. */
static struct replicas *new_replicas(uint64_t seed, uint64_t keys[KEYS])
{
    struct replicas *replicas = malloc(sizeof *replicas);

    assert_non_null(replicas);
    replicas_init(replicas, seed, 4, 3, 3, 2);
    replicas->class_count = 1 + (unsigned)seed % 2;
    for (unsigned i = 0; i < KEYS; i++) {
        keys[i] = random_next(&replicas->random);
        struct replica *from = NULL;
        for (unsigned j = 0; j < 4; j++) {
            if (!replicas_is_owner(replicas, &replicas->tables[0], keys[i], j + 1))
                continue;
            if (from == NULL) {
                from = &replicas->replicas[j];
                replicas_write(replicas, from, keys[i], SIBLING_VALUE, false);
            }
            if (from != &replicas->replicas[j])
                replicas_copy(replicas, from, &replicas->replicas[j], keys[i]);
        }
    }
    return replicas;
}

static void free_replicas(struct replicas *replicas)
{
    replicas_deinit(replicas);
    free(replicas);
}

/* The next table, in which each partition has one other owner: the place after the last. */
static const struct ring_table *make_next_table(struct replicas *replicas)
{
    struct ring_table *next = &replicas->tables[1];

    ring_table_init(next, replicas->partition_bits, replicas->copies, replicas->rows[1],
                    sizeof replicas->rows[1]);
    ring_table_copy(next, &replicas->tables[0]);
    next->version.epoch++;
    for (unsigned i = 0; i < ring_table_partitions(next) * next->copies; i++)
        next->rows[i] = (unsigned char)((next->rows[i] + 1) % replicas->count);
    return next;
}

static void what_a_node_does_not_own_goes_to_all_owners_and_is_dropped(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 12; seed++) {
        uint64_t keys[KEYS];
        struct replicas *replicas = new_replicas(seed, keys);
        const struct ring_table *next = make_next_table(replicas);
        for (unsigned i = 0; i < 4; i++)
            replicas_use_table(replicas, &replicas->replicas[i], next);
        assert_true(replicas_unowned(replicas, next) > 0);
        replicas_run(replicas, 30000);
        assert_int_equal(replicas_unowned(replicas, next), 0);
        assert_true(replicas_agree(replicas, next));
        assert_true(replicas_trees_are_right(replicas));
        assert_int_equal(replicas->bad_drops, 0);
        for (unsigned i = 0; i < KEYS; i++)
            for (unsigned j = 0; j < 4; j++)
                if (replicas_is_owner(replicas, next, keys[i], j + 1))
                    assert_non_null(replicas_find(&replicas->replicas[j], keys[i]));
        uint64_t messages = replicas->messages;
        replicas_run(replicas, 10000);
        assert_int_equal(replicas->messages, messages);
        free_replicas(replicas);
    }
}

static void owners_that_have_a_cell_are_not_sent_it(void **state)
{
    uint64_t keys[KEYS];
    struct replicas *replicas = new_replicas(2, keys);
    const struct ring_table *next = make_next_table(replicas);

    (void)state;
    for (unsigned i = 0; i < KEYS; i++) /* the new owners have everything already */
        for (unsigned j = 1; j < 4; j++)
            replicas_copy(replicas, &replicas->replicas[0], &replicas->replicas[j], keys[i]);
    for (unsigned i = 0; i < KEYS; i++)
        for (unsigned j = 0; j < 4; j++)
            for (unsigned k = 0; k < 4; k++)
                if (k != j)
                    replicas_copy(replicas, &replicas->replicas[j], &replicas->replicas[k],
                                  keys[i]);
    for (unsigned i = 0; i < 4; i++)
        replicas_use_table(replicas, &replicas->replicas[i], next);
    replicas_run(replicas, 10000);
    assert_int_equal(replicas_unowned(replicas, next), 0);
    assert_int_equal(replicas->cells_sent, 0);
    free_replicas(replicas);
}

/* Writes, cuts, restarts, losses, and nodes that hear of the table at different times. */
static void a_handover_in_the_middle_of_trouble_loses_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 100; seed < 125; seed++) {
        uint64_t keys[KEYS];
        struct replicas *replicas = new_replicas(seed, keys);
        struct random *random = &replicas->random;
        const struct ring_table *next = make_next_table(replicas);
        replicas->loss_percent = replicas->double_percent = 20;
        replicas->fail_percent = 5;
        replicas->delay_max_ms = 200;
        for (unsigned step = 0; step < 60; step++) {
            replicas_run(replicas, random_below(random, 300));
            replicas_write(replicas, &replicas->replicas[random_below(random, 4)],
                           keys[random_below(random, KEYS)], SIBLING_VALUE,
                           random_chance(random, 50));
            if (random_chance(random, 10))
                replicas_use_table(replicas, &replicas->replicas[random_below(random, 4)], next);
            if (random_chance(random, 5))
                replicas_restart(replicas, &replicas->replicas[random_below(random, 4)]);
            if (random_chance(random, 10))
                replicas->is_cut[random_below(random, 4)][random_below(random, 4)] ^= true;
        }
        assert_int_equal(replicas->bad_drops, 0);
        memset(replicas->is_cut, 0, sizeof replicas->is_cut);
        replicas->loss_percent = replicas->double_percent = replicas->fail_percent = 0;
        for (unsigned i = 0; i < 4; i++)
            replicas_use_table(replicas, &replicas->replicas[i], next);
        replicas_run(replicas, 150000);
        assert_int_equal(replicas->bad_drops, 0);
        assert_int_equal(replicas_unowned(replicas, next), 0);
        assert_true(replicas_agree(replicas, next));
        for (unsigned i = 0; i < KEYS; i++)
            for (unsigned j = 0; j < 4; j++)
                if (replicas_is_owner(replicas, next, keys[i], j + 1))
                    assert_non_null(replicas_find(&replicas->replicas[j], keys[i]));
        free_replicas(replicas);
    }
}

/* Cells that change all the time while they are handed over. */
static void what_is_written_during_a_handover_is_handed_over_too(void **state)
{
    uint64_t keys[KEYS];
    struct replicas *replicas = new_replicas(3, keys);
    const struct ring_table *next = make_next_table(replicas);

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        replicas_use_table(replicas, &replicas->replicas[i], next);
    replicas->delay_max_ms = 30;
    for (unsigned step = 0; step < 500; step++) {
        uint64_t key_hash = keys[random_below(&replicas->random, KEYS)];
        struct replica *replica = &replicas->replicas[random_below(&replicas->random, 4)];
        if (replicas_find(replica, key_hash) != NULL)
            replicas_write(replicas, replica, key_hash, SIBLING_VALUE, true);
        replicas_run(replicas, 2);
    }
    assert_int_equal(replicas->bad_drops, 0);
    replicas_run(replicas, 60000);
    assert_int_equal(replicas->bad_drops, 0);
    assert_int_equal(replicas_unowned(replicas, next), 0);
    assert_true(replicas_agree(replicas, next));
    free_replicas(replicas);
}

static void nothing_is_dropped_while_an_owner_is_unreachable(void **state)
{
    uint64_t keys[KEYS];
    struct replicas *replicas = new_replicas(4, keys);
    const struct ring_table *next = make_next_table(replicas);

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        replicas->is_cut[3][i] = i != 3;
        replicas_use_table(replicas, &replicas->replicas[i], next);
    }
    replicas_run(replicas, 20000);
    for (unsigned i = 0; i < KEYS; i++)
        for (unsigned j = 0; j < 3; j++)
            if (replicas_is_owner(replicas, next, keys[i], 4) &&
                replicas_is_owner(replicas, &replicas->tables[0], keys[i], j + 1))
                assert_non_null(replicas_find(&replicas->replicas[j], keys[i]));
    memset(replicas->is_cut, 0, sizeof replicas->is_cut);
    replicas_run(replicas, 30000);
    assert_int_equal(replicas_unowned(replicas, next), 0);
    assert_true(replicas_agree(replicas, next));
    free_replicas(replicas);
}

/* The value is with the former owner only: the owners have stubs, whose marks are the same. */
static void the_only_value_is_handed_over_to_owners_with_stubs(void **state)
{
    uint64_t keys[KEYS];
    struct replicas *replicas = new_replicas(6, keys);
    const struct ring_table *next = make_next_table(replicas);

    (void)state;
    for (unsigned i = 0; i < KEYS; i++)
        for (unsigned j = 0; j < 4; j++)
            if (replicas_is_owner(replicas, next, keys[i], j + 1))
                replicas_evict(replicas, &replicas->replicas[j], keys[i]);
    for (unsigned i = 0; i < 4; i++)
        replicas_use_table(replicas, &replicas->replicas[i], next);
    replicas_run(replicas, 20000);
    for (unsigned i = 0; i < KEYS; i++) {
        unsigned values = 0, former = 0;
        for (unsigned j = 0; j < 4; j++) {
            struct entry *entry = replicas_find(&replicas->replicas[j], keys[i]);
            values += entry != NULL && entry->siblings[0].kind == SIBLING_VALUE;
            former += replicas_is_owner(replicas, &replicas->tables[0], keys[i], j + 1) &&
                      !replicas_is_owner(replicas, next, keys[i], j + 1);
        }
        assert_int_equal(values > 0, former > 0);
    }
    free_replicas(replicas);
}

static bool has_all(const struct replicas *replicas, const struct replica *replica,
                    const uint64_t keys[KEYS])
{
    for (unsigned i = 0; i < KEYS; i++)
        if (replicas_is_owner(replicas, &replicas->tables[0], keys[i], replica->id) &&
            replicas_find(replica, keys[i]) == NULL)
            return false;
    return true;
}

static void start_all(struct replicas *replicas, struct replica *replica)
{
    for (unsigned p = 0; p < ring_table_partitions(replica->table); p++)
        if (ring_table_is_owner(replica->table, p, replicas->copies, replica->id))
            replicas_start_fill(replicas, replica, p);
}

static void an_empty_owner_fills_itself_through_all_trouble(void **state)
{
    (void)state;
    for (uint64_t seed = 200; seed < 220; seed++) {
        uint64_t keys[KEYS];
        struct replicas *replicas = new_replicas(seed, keys);
        struct random *random = &replicas->random;
        struct replica *empty = &replicas->replicas[seed % 4];
        replicas_wipe(replicas, empty);
        empty->warming[0] = UINT64_MAX;
        start_all(replicas, empty);
        replicas->loss_percent = replicas->double_percent = 20;
        replicas->fail_percent = 1;
        replicas->delay_max_ms = 200;
        for (unsigned step = 0; step < 40; step++) {
            replicas_run(replicas, random_below(random, 300));
            unsigned other = random_below(random, 4);
            replicas->is_cut[other][empty->index] ^= random_chance(random, 20);
            if (other != empty->index && random_chance(random, 20))
                replicas_restart(replicas, &replicas->replicas[other]);
            if (other != empty->index && random_chance(random, 20))
                replicas->replicas[other].warming[0] ^= UINT64_MAX;
        }
        memset(replicas->is_cut, 0, sizeof replicas->is_cut);
        for (unsigned i = 0; i < 4; i++)
            replicas->replicas[i].warming[0] = i == empty->index ? UINT64_MAX : 0;
        for (unsigned ms = 0; ms < 200000 && empty->fill.wanted_count > 0; ms += 100)
            replicas_run(replicas, 100);
        assert_int_equal(empty->fill.wanted_count, 0);
        replicas_run(replicas, 20000);
        assert_true(has_all(replicas, empty, keys));
        free_replicas(replicas);
    }
}

static void filling_alone_brings_every_cell_once(void **state)
{
    uint64_t keys[KEYS];
    struct replicas *replicas = new_replicas(8, keys);
    struct replica *empty = &replicas->replicas[1];
    unsigned owned;

    (void)state;
    replicas_wipe(replicas, empty);
    owned = 0;
    for (unsigned i = 0; i < KEYS; i++)
        owned += replicas_is_owner(replicas, &replicas->tables[0], keys[i], empty->id);
    start_all(replicas, empty);
    for (unsigned ms = 0; ms < 400 && empty->fill.wanted_count > 0; ms++)
        replicas_run(replicas, 1);
    assert_int_equal(empty->fill.wanted_count, 0);
    assert_true(has_all(replicas, empty, keys));
    assert_int_equal(replicas->cells_sent, owned);
    assert_int_equal(empty->fill.cells_taken, owned);
    free_replicas(replicas);
}

static void nobody_warm_is_waited_for_and_a_full_node_is_not_filled(void **state)
{
    uint64_t keys[KEYS];
    struct replicas *replicas = new_replicas(10, keys);
    struct replica *empty = &replicas->replicas[1];

    (void)state;
    replicas_wipe(replicas, empty);
    for (unsigned i = 0; i < 4; i++)
        replicas->replicas[i].warming[0] = UINT64_MAX;
    start_all(replicas, empty);
    for (unsigned ms = 0; ms < 400; ms++)
        replicas_run(replicas, 1);
    assert_int_equal(replicas->messages, 0);
    assert_false(fill_is_active(&empty->fill));
    empty->entries_max = 0;
    replicas->replicas[0].warming[0] = 0;
    replicas_run(replicas, 2000);
    assert_int_equal(empty->fill.cells_taken, 0);
    free_replicas(replicas);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_node_does_not_own_goes_to_all_owners_and_is_dropped),
        cmocka_unit_test(owners_that_have_a_cell_are_not_sent_it),
        cmocka_unit_test(a_handover_in_the_middle_of_trouble_loses_nothing),
        cmocka_unit_test(what_is_written_during_a_handover_is_handed_over_too),
        cmocka_unit_test(nothing_is_dropped_while_an_owner_is_unreachable),
        cmocka_unit_test(the_only_value_is_handed_over_to_owners_with_stubs),
        cmocka_unit_test(an_empty_owner_fills_itself_through_all_trouble),
        cmocka_unit_test(filling_alone_brings_every_cell_once),
        cmocka_unit_test(nobody_warm_is_waited_for_and_a_full_node_is_not_filled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
