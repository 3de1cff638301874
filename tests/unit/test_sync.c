#include "tests/unit/replicas.h"
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct replicas *new_replicas(uint64_t seed, unsigned count, unsigned copies,
                                     unsigned partition_bits, unsigned leaf_bits)
{
    struct replicas *replicas = malloc(sizeof *replicas);

    assert_non_null(replicas);
    replicas_init(replicas, seed, count, copies, partition_bits, leaf_bits);
    return replicas;
}

static void free_replicas(struct replicas *replicas)
{
    replicas_deinit(replicas);
    free(replicas);
}

/* A write at one owner that reaches the others each with that chance. */
static void write_key(struct replicas *replicas, uint64_t key_hash, unsigned reach_percent)
{
    struct random *random = &replicas->random;
    const struct ring_table *table = &replicas->tables[0];
    unsigned from;

    do
        from = random_below(random, replicas->count);
    while (!replicas_is_owner(replicas, table, key_hash, from + 1));
    replicas_write(replicas, &replicas->replicas[from], key_hash,
                   random_chance(random, 15) ? SIBLING_TOMBSTONE : SIBLING_VALUE,
                   random_chance(random, 30));
    for (unsigned i = 0; i < replicas->count; i++)
        if (i != from && replicas_is_owner(replicas, table, key_hash, i + 1) &&
            random_chance(random, reach_percent))
            replicas_copy(replicas, &replicas->replicas[from], &replicas->replicas[i], key_hash);
}

static void write_keys(struct replicas *replicas, uint64_t *keys, unsigned count,
                       unsigned reach_percent)
{
    for (unsigned i = 0; i < count; i++) {
        keys[i] = random_next(&replicas->random);
        write_key(replicas, keys[i], reach_percent);
    }
}

/* All agree, and then nothing but hellos is sent. */
static void assert_settles(struct replicas *replicas, unsigned ms)
{
    replicas_run(replicas, ms);
    assert_true(replicas_trees_are_right(replicas));
    assert_true(replicas_agree(replicas, &replicas->tables[0]));
    uint64_t messages = replicas->messages;
    replicas_run(replicas, 10000);
    assert_int_equal(replicas->messages, messages);
}

static void equal_replicas_send_nothing_but_hellos(void **state)
{
    struct replicas *replicas = new_replicas(1, 3, 3, 4, 3);
    uint64_t keys[300];

    (void)state;
    write_keys(replicas, keys, 300, 100);
    replicas_run(replicas, 60000);
    assert_int_equal(replicas->messages, 0);
    for (unsigned i = 0; i < 3; i++)
        for (unsigned j = 0; j < 3; j++)
            assert_int_equal(replicas->replicas[i].compared[j], i == j ? 0 : 0xffff);
    free_replicas(replicas);
}

static void differing_replicas_become_equal_and_quiet(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 30; seed++) {
        unsigned count = 2 + (unsigned)seed % 3;
        unsigned copies = count == 4 ? 3 : count;
        struct replicas *replicas =
            new_replicas(seed, count, copies, (unsigned)seed % 7, (unsigned)(seed / 2) % 4);
        uint64_t keys[400];
        replicas->class_count = copies > 1 ? 1 + (unsigned)seed % 2 : 1;
        write_keys(replicas, keys, 400, 60);
        assert_settles(replicas, 60000);
        free_replicas(replicas);
    }
}

static void a_bad_network_and_restarts_do_not_keep_replicas_apart(void **state)
{
    (void)state;
    for (uint64_t seed = 100; seed < 120; seed++) {
        struct replicas *replicas = new_replicas(seed, 3, 3, 3, 3);
        struct random *random = &replicas->random;
        uint64_t keys[300];
        replicas->class_count = 2;
        write_keys(replicas, keys, 300, 50);
        replicas->loss_percent = 25;
        replicas->double_percent = 25;
        replicas->fail_percent = 10;
        replicas->delay_max_ms = 300;
        for (unsigned step = 0; step < 100; step++) {
            replicas_run(replicas, random_below(random, 500));
            write_key(replicas, keys[random_below(random, 300)], 30);
            unsigned node = random_below(random, 3);
            if (random_chance(random, 20))
                replicas_evict(replicas, &replicas->replicas[node],
                               keys[random_below(random, 300)]);
            if (random_chance(random, 20))
                replicas_drop(replicas, &replicas->replicas[node], keys[random_below(random, 300)]);
            if (random_chance(random, 3))
                replicas_restart(replicas, &replicas->replicas[node]);
            if (random_chance(random, 1))
                replicas_wipe(replicas, &replicas->replicas[node]);
            if (random_chance(random, 5))
                replicas->is_cut[random_below(random, 3)][random_below(random, 3)] ^= true;
        }
        memset(replicas->is_cut, 0, sizeof replicas->is_cut);
        replicas->loss_percent = replicas->double_percent = replicas->fail_percent = 0;
        assert_settles(replicas, 200000);
        free_replicas(replicas);
    }
}

static void trees_of_different_fineness_compare(void **state)
{
    (void)state;
    for (uint64_t seed = 200; seed < 210; seed++) {
        struct replicas *replicas = new_replicas(seed, 2, 2, 3, 6);
        uint64_t keys[200];
        for (unsigned p = 0; p < 8; p++)
            for (unsigned c = 0; c < REPLICAS_CLASSES; c++)
                merkle_coarsen(&replicas->replicas[seed % 2].trees[c][p], (unsigned)(seed + p) % 7);
        write_keys(replicas, keys, 200, 70);
        replicas_run(replicas, 60000);
        assert_true(replicas_agree(replicas, &replicas->tables[0]));
        free_replicas(replicas);
    }
}

/* A node whose store is full holds half of what the other one holds, and evicts to take more. */
static void a_full_node_and_an_evicting_node_neither_fight_nor_loop(void **state)
{
    (void)state;
    for (uint64_t seed = 300; seed < 306; seed++) {
        struct replicas *replicas = new_replicas(seed, 3, 3, 3, 3);
        struct replica *full = &replicas->replicas[seed % 3];
        uint64_t keys[400];
        full->entries_max = 200;
        write_keys(replicas, keys, 400, 100);
        full->evicted = 0;
        for (unsigned round = 0; round < 10; round++) {
            replicas_drop(replicas, &replicas->replicas[(seed + 1) % 3],
                          keys[random_below(&replicas->random, 400)]);
            replicas_run(replicas, 2000);
        }
        replicas_run(replicas, 120000);
        assert_int_equal(full->evicted, 0); /* nothing was taken that had to be paid with that */
        uint64_t messages = replicas->messages;
        replicas_run(replicas, 600000);
        assert_int_equal(replicas->messages, messages);

        /* What it does hold is repaired. */
        for (unsigned i = 0; i < full->entry_count; i += 3)
            replicas_write(replicas, &replicas->replicas[(seed + 1) % 3],
                           full->entries[i]->key_hash, SIBLING_VALUE, false);
        replicas_run(replicas, 120000);
        for (unsigned i = 0; i < full->entry_count; i++) {
            struct entry *twin =
                replicas_find(&replicas->replicas[(seed + 1) % 3], full->entries[i]->key_hash);
            if (twin != NULL)
                assert_int_equal(merkle_mark(twin->key_hash, &twin->cell),
                                 merkle_mark(twin->key_hash, &full->entries[i]->cell));
        }
        assert_int_equal(full->evicted, 0);
        free_replicas(replicas);
    }
}

/* An idle pair that cannot become equal walks once, and again only when something changes. */
static void what_cannot_be_repaired_is_not_tried_again(void **state)
{
    struct replicas *replicas = new_replicas(7, 2, 2, 3, 3);
    uint64_t keys[100];

    (void)state;
    replicas->replicas[1].entries_max = 20;
    for (unsigned i = 0; i < 100; i++) {
        keys[i] = random_next(&replicas->random);
        replicas_write(replicas, &replicas->replicas[0], keys[i], SIBLING_VALUE, false);
    }
    replicas_run(replicas, 30000);
    uint64_t walks = replicas->replicas[0].syncs[1].walks;
    assert_in_range(walks, 2, 5);
    replicas_run(replicas, 600000);
    assert_int_equal(replicas->replicas[0].syncs[1].walks, walks);
    replicas_write(replicas, &replicas->replicas[0], keys[0], SIBLING_VALUE, false);
    replicas_run(replicas, 120000);
    assert_int_equal(replicas->replicas[0].syncs[1].walks, walks + 1);
    free_replicas(replicas);
}

/* No memory, or a clock that is too far ahead: whoever refused a cell takes it later. */
static void what_was_refused_for_a_while_is_tried_again(void **state)
{
    (void)state;
    for (unsigned writer = 0; writer < 2; writer++) {
        struct replicas *replicas = new_replicas(8 + writer, 2, 2, 3, 3);
        uint64_t key = random_next(&replicas->random);
        replicas->fail_percent = 100;
        replicas_write(replicas, &replicas->replicas[writer], key, SIBLING_VALUE, false);
        replicas_run(replicas, 300000);
        replicas->fail_percent = 0;
        assert_settles(replicas, 120000);
        free_replicas(replicas);
    }
}

static void a_warming_node_hears_of_a_partition_only_when_it_has_its_cells(void **state)
{
    (void)state;
    for (uint64_t seed = 400; seed < 410; seed++) {
        struct replicas *replicas = new_replicas(seed, 2, 2, 4, 2);
        struct replica *warming = &replicas->replicas[seed % 2];
        struct replica *other = &replicas->replicas[1 - seed % 2];
        uint64_t keys[500];
        write_keys(replicas, keys, 500, 100);
        for (unsigned i = 0; i < 500; i += 2)
            replicas_drop(replicas, warming, keys[i]);
        warming->wants_walk = true;
        replicas->loss_percent = 20;
        replicas->delay_max_ms = 50;
        for (unsigned ms = 0; ms < 60000 && warming->compared[other->index] != 0xffff; ms++) {
            replicas_run(replicas, 1);
            for (unsigned i = 0; i < 500; i++)
                if (warming->compared[other->index] >> (keys[i] >> 60) & 1)
                    assert_non_null(replicas_find(warming, keys[i]));
        }
        assert_int_equal(warming->compared[other->index], 0xffff);
        free_replicas(replicas);
    }
}

/* A hello that was on its way for long may be from before this node began to warm. */
static void an_equal_sum_counts_from_when_the_peer_was_asked(void **state)
{
    struct replicas *replicas = new_replicas(9, 2, 2, 3, 3);
    struct exchange_view views[2];
    struct token_bucket bucket;
    struct sync syncs[2];
    struct sync_hello old, hello;
    struct sync_effects effects;

    (void)state;
    token_bucket_init(&bucket, 1 << 20, 1 << 20, 0);
    for (unsigned i = 0; i < 2; i++) {
        sync_init(&syncs[i], 2 - i, NULL, 1000 * (i + 1));
        views[i] = (struct exchange_view){.self = i + 1,
                                          .table = &replicas->tables[0],
                                          .forests = replicas->replicas[i].forests,
                                          .forest_count = REPLICAS_CLASSES,
                                          .takes = SIBLINGS_ALL};
    }
    struct sync_event event = {.type = SYNC_HELLO, .bucket = &bucket};

    sync_make_hello(&syncs[1], &views[1], false, 100, &old);
    sync_make_hello(&syncs[0], &views[0], false, 5000, &hello); /* asked */
    event.view = &views[0];
    event.now_ms = 5010;
    event.hello = &old;
    sync_effects_init(&effects, NULL);
    sync_step(&syncs[0], &event, &effects);
    assert_int_equal(effects.compared_end, 0);

    event.view = &views[1];
    event.hello = &hello;
    sync_effects_init(&effects, NULL);
    sync_step(&syncs[1], &event, &effects);
    sync_make_hello(&syncs[1], &views[1], false, 5020, &hello);
    event.view = &views[0];
    event.now_ms = 5030;
    event.hello = &hello;
    sync_effects_init(&effects, NULL);
    sync_step(&syncs[0], &event, &effects);
    assert_int_equal(effects.compared_end, 8);
    assert_int_equal(effects.compared_since_ms, 5000);
    free_replicas(replicas);
}

static void without_tokens_nothing_is_sent(void **state)
{
    struct replicas *replicas = new_replicas(8, 2, 2, 3, 3);
    uint64_t keys[200];

    (void)state;
    write_keys(replicas, keys, 200, 50);
    for (unsigned i = 0; i < 2; i++)
        token_bucket_init(&replicas->replicas[i].bucket, 0, 0, replicas->now_ms);
    replicas_run(replicas, 20000);
    assert_int_equal(replicas->messages, 0);
    for (unsigned i = 0; i < 2; i++)
        token_bucket_set_rate(&replicas->replicas[i].bucket, 5000, 5000, replicas->now_ms);
    replicas_run(replicas, 2000);
    assert_in_range(replicas->messages, 1, 60);
    replicas_run(replicas, 300000);
    assert_true(replicas_agree(replicas, &replicas->tables[0]));
    free_replicas(replicas);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_replicas_send_nothing_but_hellos),
        cmocka_unit_test(differing_replicas_become_equal_and_quiet),
        cmocka_unit_test(a_bad_network_and_restarts_do_not_keep_replicas_apart),
        cmocka_unit_test(trees_of_different_fineness_compare),
        cmocka_unit_test(a_full_node_and_an_evicting_node_neither_fight_nor_loop),
        cmocka_unit_test(what_cannot_be_repaired_is_not_tried_again),
        cmocka_unit_test(what_was_refused_for_a_while_is_tried_again),
        cmocka_unit_test(a_warming_node_hears_of_a_partition_only_when_it_has_its_cells),
        cmocka_unit_test(an_equal_sum_counts_from_when_the_peer_was_asked),
        cmocka_unit_test(without_tokens_nothing_is_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
