#include "ring/exchange.h"
#include "tests/unit/replicas.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Two nodes that own all 8 partitions, and one that owns none. */
struct stage {
    struct random random;
    struct ring_table table;
    unsigned char rows[8 * 2];
    struct merkle_tree trees[8];
    struct merkle_forest forest;
    struct exchange_view view;
};

static void set_up(struct stage *stage, uint64_t seed)
{
    memset(stage, 0, sizeof *stage);
    stage->random.state = seed;
    ring_table_init(&stage->table, 3, 2, stage->rows, sizeof stage->rows);
    stage->table.version = (struct ring_version){7, 1};
    stage->table.member_count = 3;
    for (unsigned i = 0; i < 3; i++)
        stage->table.members[i] = (struct ring_member){i + 1, 0, 1};
    for (unsigned i = 0; i < sizeof stage->rows; i++)
        stage->rows[i] = i % 2;
    for (unsigned p = 0; p < 8; p++)
        merkle_init(&stage->trees[p], 3, 0, NULL);
    stage->forest = (struct merkle_forest){2, stage->trees};
    stage->view = (struct exchange_view){.self = 1,
                                         .table = &stage->table,
                                         .forests = &stage->forest,
                                         .forest_count = 1,
                                         .takes = SIBLINGS_ALL};
}

static struct exchange_head head_for(const struct stage *stage)
{
    return (struct exchange_head){2, 1, stage->table.version, EXCHANGE_SYNC, 5};
}

/* A request for all of partition 3. */
static struct exchange_digests *new_digests(const struct stage *stage)
{
    struct exchange_digests *digests = calloc(1, sizeof *digests);

    assert_non_null(digests);
    digests->head = head_for(stage);
    digests->parent = merkle_range_child((struct merkle_range){0, 0}, 3, 3);
    digests->depth = 3;
    digests->children = 1;
    digests->first = digests->parent.first;
    digests->last = merkle_range_last(digests->parent);
    digests->copies_min = digests->copies_max = 2;
    digests->takes = SIBLINGS_ALL;
    return digests;
}

static void who_goes_by_another_table_is_told_so(void **state)
{
    struct stage stage;
    struct exchange_scan scan;
    struct exchange_compared compared;
    struct exchange_stored stored;

    (void)state;
    set_up(&stage, 1);
    struct exchange_digests *digests = new_digests(&stage);
    assert_int_equal(exchange_admit_digests(&stage.view, digests, &scan), EXCHANGE_DONE);
    digests->head.version.epoch++;
    assert_int_equal(exchange_admit_digests(&stage.view, digests, &scan), EXCHANGE_OTHER_TABLE);
    struct exchange_compare compare = {.head = digests->head, .depth = 3};
    exchange_answer_compare(&stage.view, &compare, &compared);
    assert_int_equal(compared.answer, EXCHANGE_OTHER_TABLE);
    struct exchange_cells *cells = calloc(1, sizeof *cells);
    cells->head = digests->head;
    cells->copies_min = cells->copies_max = 2;
    assert_int_equal(exchange_admit_cells(&stage.view, cells, &stored), EXCHANGE_OTHER_TABLE);
    free(cells);
    free(digests);
}

static void who_owns_nothing_of_it_says_so(void **state)
{
    struct stage stage;
    struct exchange_scan scan;
    struct exchange_stored stored;

    (void)state;
    set_up(&stage, 2);
    stage.view.self = 3;
    struct exchange_digests *digests = new_digests(&stage);
    assert_int_equal(exchange_admit_digests(&stage.view, digests, &scan), EXCHANGE_NOT_OWNER);
    stage.view.self = 2; /* owns keys of two copies, not of one */
    assert_int_equal(exchange_admit_digests(&stage.view, digests, &scan), EXCHANGE_DONE);
    digests->copies_min = 1;
    assert_int_equal(exchange_admit_digests(&stage.view, digests, &scan), EXCHANGE_NOT_OWNER);
    struct exchange_cells *cells = calloc(1, sizeof *cells);
    cells->head = digests->head;
    cells->copies_min = 1;
    cells->cell_count = 1;
    assert_int_equal(exchange_admit_cells(&stage.view, cells, &stored), EXCHANGE_NOT_OWNER);
    free(cells);
    free(digests);
}

static void suspects_are_not_given_away_but_cells_are_taken(void **state)
{
    struct stage stage;
    struct exchange_scan scan;
    hlc_time suspects[8] = {0, 0, 0, 1000};

    (void)state;
    set_up(&stage, 3);
    stage.view.suspects = suspects;
    struct exchange_digests *digests = new_digests(&stage);
    assert_int_equal(exchange_admit_digests(&stage.view, digests, &scan), EXCHANGE_NOT_NOW);
    digests->is_give_only = true;
    assert_int_equal(exchange_admit_digests(&stage.view, digests, &scan), EXCHANGE_DONE);
    suspects[3] = 0;
    digests->is_give_only = false;
    assert_int_equal(exchange_admit_digests(&stage.view, digests, &scan), EXCHANGE_DONE);
    free(digests);
}

/* Both sides' keys, and what an answer must say about them. */
static void an_answer_names_what_each_side_lacks_or_has_otherwise(void **state)
{
    (void)state;
    for (uint64_t seed = 10; seed < 60; seed++) {
        struct stage stage;
        set_up(&stage, seed);
        struct random *random = &stage.random;
        struct exchange_digests *digests = new_digests(&stage);
        struct exchange_item items[EXCHANGE_KEYS_MAX];
        struct exchange_scanned scanned = {.items = items, .reached = digests->last};
        struct exchange_difference *reply = calloc(1, sizeof *reply);
        unsigned wanted = 0, given = 0;
        digests->takes = random_chance(random, 50) ? SIBLINGS_ALL : 0;
        stage.view.takes = random_chance(random, 50) ? SIBLINGS_ALL : 0;
        for (unsigned i = 0; i < 200; i++) {
            uint64_t key_hash = digests->first + i * 1000 + random_below(random, 1000);
            bool is_here = random_chance(random, 70), is_there = random_chance(random, 70);
            bool is_same = random_chance(random, 50);
            if (is_there)
                digests->keys[digests->key_count++] =
                    (struct exchange_key){key_hash, i + 1, 10, SIBLING_VALUE};
            if (is_here)
                items[scanned.item_count++] = (struct exchange_item){
                    key_hash, is_same ? i + 1 : i + 1000, 1, 10, SIBLING_VALUE};
            bool differs = is_here && is_there && !is_same;
            wanted += differs || (is_there && !is_here && stage.view.takes != 0);
            given += differs || (is_here && !is_there && digests->takes != 0);
        }
        exchange_answer_digests(&stage.view, digests, EXCHANGE_DONE, &scanned, reply);
        assert_int_equal(reply->reached, digests->last);
        assert_int_equal(reply->wanted_count, wanted);
        assert_int_equal(reply->cell_count, given);
        free(reply);
        free(digests);
    }
}

static void an_answer_is_bounded_and_says_how_far_it_reached(void **state)
{
    struct stage stage;
    struct exchange_item items[EXCHANGE_KEYS_MAX];
    struct exchange_scanned scanned = {.items = items};
    struct exchange_difference *reply = calloc(1, sizeof *reply);

    (void)state;
    set_up(&stage, 4);
    struct exchange_digests *digests = new_digests(&stage);
    scanned.reached = digests->last;
    for (unsigned i = 0; i < 100; i++)
        items[scanned.item_count++] = (struct exchange_item){
            digests->first + i, i + 1, 1, EXCHANGE_BYTES_MAX / 10 + 1, SIBLING_VALUE};
    exchange_answer_digests(&stage.view, digests, EXCHANGE_DONE, &scanned, reply);
    assert_int_equal(reply->cell_count, 9);
    assert_int_equal(reply->reached, digests->first + 8);
    items[0].bytes = EXCHANGE_BYTES_MAX * 3; /* one that is too large goes alone */
    exchange_answer_digests(&stage.view, digests, EXCHANGE_DONE, &scanned, reply);
    assert_int_equal(reply->cell_count, 1);
    assert_int_equal(reply->reached, digests->first);
    free(digests);
    free(reply);
}

static void two_keys_of_one_hash_are_compared_together(void **state)
{
    struct stage stage;
    struct exchange_difference *reply = calloc(1, sizeof *reply);

    (void)state;
    set_up(&stage, 5);
    struct exchange_digests *digests = new_digests(&stage);
    struct exchange_item items[2] = {{digests->first, 11, 1, 10, SIBLING_VALUE},
                                     {digests->first, 22, 1, 10, SIBLING_VALUE}};
    struct exchange_scanned scanned = {.items = items, .item_count = 2, .reached = digests->last};
    digests->key_count = 2;
    digests->keys[0] = (struct exchange_key){digests->first, 22, 10, SIBLING_VALUE};
    digests->keys[1] = (struct exchange_key){digests->first, 11, 10, SIBLING_VALUE};
    exchange_answer_digests(&stage.view, digests, EXCHANGE_DONE, &scanned, reply);
    assert_int_equal(reply->wanted_count + reply->cell_count, 0);
    digests->key_count = 1;
    exchange_answer_digests(&stage.view, digests, EXCHANGE_DONE, &scanned, reply);
    assert_int_equal(reply->wanted_count, 1);
    assert_int_equal(reply->cell_count, 1);
    free(digests);
    free(reply);
}

/* A number that is often at some edge. */
static uint64_t wild(struct random *random)
{
    switch (random_below(random, 5)) {
    case 0: return 0;
    case 1: return UINT64_MAX;
    case 2: return random_below(random, 70);
    case 3: return (uint64_t)random_below(random, 8) << 61;
    }
    return random_next(random);
}

/* What a peer sends is checked, never asserted. */
static void senseless_requests_are_refused(void **state)
{
    struct stage stage;
    struct exchange_digests *digests = calloc(1, sizeof *digests);
    struct exchange_difference *reply = calloc(1, sizeof *reply);
    unsigned done = 0;

    (void)state;
    set_up(&stage, 6);
    struct random *random = &stage.random;
    for (unsigned i = 0; i < 200000; i++) {
        struct exchange_scan scan;
        struct exchange_scanned scanned = {0};
        struct exchange_compared compared;
        struct exchange_compare compare = {.head = head_for(&stage),
                                           .parent = {wild(random), (unsigned)wild(random)},
                                           .depth = (unsigned)wild(random)};
        exchange_answer_compare(&stage.view, &compare, &compared);
        digests->head = head_for(&stage);
        digests->parent = compare.parent;
        digests->depth = random_chance(random, 50) ? compare.parent.depth : compare.depth;
        digests->children = (uint32_t)wild(random);
        digests->first = random_chance(random, 50) ? compare.parent.first : wild(random);
        digests->last = random_chance(random, 50) ? digests->first : wild(random);
        digests->copies_min = (unsigned)wild(random);
        digests->copies_max = (unsigned)wild(random);
        digests->key_count = random_chance(random, 50) ? 0 : (unsigned)wild(random);
        for (unsigned j = 0; j < 70; j++)
            digests->keys[j] = (struct exchange_key){wild(random), wild(random), 1, 1};
        enum exchange_answer answer = exchange_admit_digests(&stage.view, digests, &scan);
        scanned.reached = digests->last;
        exchange_answer_digests(&stage.view, digests, answer, &scanned, reply);
        done += answer == EXCHANGE_DONE;
    }
    assert_true(done > 0);
    free(digests);
    free(reply);
}

/* A machine in the middle of a walk, and a peer that answers anything. */
static void senseless_answers_do_no_harm(void **state)
{
    struct stage stage;
    struct sync *sync = calloc(1, sizeof *sync);
    struct sync_effects *effects = calloc(1, sizeof *effects);
    struct exchange_difference *difference = calloc(1, sizeof *difference);
    struct token_bucket bucket;

    (void)state;
    set_up(&stage, 7);
    struct random *random = &stage.random;
    sync_init(sync, 2, NULL, 1);
    token_bucket_init(&bucket, 1 << 30, 1 << 30, 0);
    struct sync_event event = {.view = &stage.view, .bucket = &bucket};
    for (unsigned i = 0; i < 200000; i++) {
        uint64_t number = sync->next_number - random_below(random, 12);
        struct sync_hello hello = {
            .from = 2, .to = 1, .version = stage.table.version, .sum = 1 + i};
        struct exchange_item item = {wild(random), 1 + wild(random) / 2, 1, 1, SIBLING_VALUE};
        struct exchange_scanned scanned = {.number = number, .items = &item, .reached = UINT64_MAX};
        struct exchange_compared compared = {
            .head.number = number,
            .answer = random_chance(random, 90) ? EXCHANGE_DONE : random_below(random, 5),
            .differs = (uint32_t)wild(random)};
        struct exchange_stored stored = {
            .head.number = number, .answer = compared.answer, .cell_count = (unsigned)wild(random)};
        difference->head.number = number;
        difference->answer = compared.answer;
        difference->reached = wild(random);
        difference->wanted_count = random_chance(random, 80) ? 1 : (unsigned)wild(random);
        difference->wanted[0] = wild(random);
        event.type = (enum sync_event_type)random_below(random, SYNC_STORED + 1);
        if (event.type == SYNC_UNREACHABLE && !random_chance(random, 1))
            continue;
        event.now_ms += random_below(random, 30);
        event.hello = &hello;
        event.scanned = &scanned;
        event.compared = &compared;
        event.stored = &stored;
        event.difference = difference;
        sync_effects_init(effects, NULL);
        sync_step(sync, &event, effects);
    }
    assert_true(sync->walks + sync->walks_abandoned > 10);
    free(difference);
    free(effects);
    free(sync);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_goes_by_another_table_is_told_so),
        cmocka_unit_test(who_owns_nothing_of_it_says_so),
        cmocka_unit_test(suspects_are_not_given_away_but_cells_are_taken),
        cmocka_unit_test(an_answer_names_what_each_side_lacks_or_has_otherwise),
        cmocka_unit_test(an_answer_is_bounded_and_says_how_far_it_reached),
        cmocka_unit_test(two_keys_of_one_hash_are_compared_together),
        cmocka_unit_test(senseless_requests_are_refused),
        cmocka_unit_test(senseless_answers_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
