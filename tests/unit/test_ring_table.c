/* Ring tables: lookups, preference lists, encodings and differences. */
#include "ring/table.h"
#include "tests/unit/random.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>

#define CASES 400

static unsigned char bytes[RING_TABLE_BYTES_MAX];

/* A table and memory for its rows. */
struct fixture {
    struct ring_table table;
    unsigned char rows[RING_ROWS_BYTES_MAX];
};

static struct fixture a, b, c;

static struct ring_table *empty(struct fixture *fixture)
{
    ring_table_init(&fixture->table, 0, 1, fixture->rows, sizeof fixture->rows);
    return &fixture->table;
}

/* Gives the row random owners, as many as it has room for or there are. */
static void fill_row(struct random *random, struct ring_table *table, unsigned partition)
{
    unsigned char *row = table->rows + (size_t)partition * table->copies;
    unsigned count = random_below(random, table->copies + 1), at = 0;

    memset(row, RING_NO_OWNER, table->copies);
    while (at < count && at < table->member_count) {
        unsigned char owner = (unsigned char)random_below(random, table->member_count);
        if (memchr(row, owner, at) == NULL)
            row[at++] = owner;
    }
}

static struct ring_table *some_table(struct random *random, struct fixture *fixture, unsigned bits)
{
    struct ring_table *table = &fixture->table;
    unsigned copies = 1 + random_below(random, RING_COPIES_MAX);

    ring_table_init(table, bits, copies, fixture->rows, sizeof fixture->rows);
    table->version =
        (struct ring_version){1 + random_below(random, 1000), 1 + random_below(random, 9)};
    table->member_count = 1 + random_below(random, 20);
    for (unsigned i = 0; i < table->member_count; i++)
        table->members[i] = (struct ring_member){10 * i + 1 + random_below(random, 10),
                                                 random_below(random, 5), random_below(random, 4)};
    for (unsigned p = 0; p < ring_table_partitions(table); p++)
        fill_row(random, table, p);
    assert_true(ring_table_is_sound(table));
    return table;
}

/* Changes some members and rows of `older`, and the version. */
static struct ring_table *successor(struct random *random, struct fixture *fixture,
                                    const struct ring_table *older)
{
    struct ring_table *table = empty(fixture);

    ring_table_copy(table, older);
    table->version.epoch++;
    for (unsigned i = 0; i < table->member_count; i++) {
        if (random_chance(random, 10))
            table->members[i].weight ^= 1;
        else if (random_chance(random, 10))
            table->members[i].id = 10 * i + 1 + random_below(random, 10);
        /* else it stays */
    }
    for (unsigned p = 0; p < ring_table_partitions(table); p++)
        if (random_chance(random, 5))
            fill_row(random, table, p);
    assert_true(ring_table_is_sound(table));
    return table;
}

static void the_top_bits_of_the_hash_name_the_partition(void **state)
{
    struct ring_table *table = empty(&a);

    (void)state;
    assert_int_equal(ring_table_partition(table, UINT64_MAX), 0);
    ring_table_init(table, 1, 3, a.rows, sizeof a.rows);
    assert_int_equal(ring_table_partition(table, UINT64_MAX >> 1), 0);
    assert_int_equal(ring_table_partition(table, (uint64_t)1 << 63), 1);
    ring_table_init(table, 10, 3, a.rows, sizeof a.rows);
    assert_int_equal(ring_table_partition(table, 0xabcdef0123456789), 0xabcdef0123456789 >> 54);
    assert_int_equal(ring_table_partition(table, UINT64_MAX), 1023);
}

static void of_two_versions_the_higher_epoch_is_the_newer_then_the_higher_claimant(void **state)
{
    (void)state;
    assert_int_equal(ring_version_compare((struct ring_version){2, 1}, (struct ring_version){1, 9}),
                     1);
    assert_int_equal(ring_version_compare((struct ring_version){1, 1}, (struct ring_version){1, 9}),
                     -1);
    assert_int_equal(ring_version_compare((struct ring_version){3, 4}, (struct ring_version){3, 4}),
                     0);
}

static void a_preference_list_has_the_owners_and_then_every_other_member_once(void **state)
{
    struct random random = {1};

    (void)state;
    for (unsigned i = 0; i < CASES; i++) {
        struct ring_table *table = some_table(&random, &a, random_below(&random, 7));
        unsigned partition = random_below(&random, ring_table_partitions(table));
        node_id owners[RING_COPIES_MAX], met[RING_MEMBERS_MAX];
        unsigned owner_count = ring_table_owners(table, partition, RING_COPIES_MAX, owners);
        unsigned count = 0;
        struct ring_preference list;
        ring_preference_start(&list, table, partition);
        for (node_id id; (id = ring_preference_next(&list)) != NODE_NONE;) {
            assert_in_range(count, 0, table->member_count - 1);
            for (unsigned j = 0; j < count; j++)
                assert_true(met[j] != id);
            met[count++] = id;
        }
        assert_int_equal(count, table->member_count);
        assert_int_equal(ring_preference_next(&list), NODE_NONE);
        for (unsigned j = 0; j < owner_count; j++)
            assert_int_equal(met[j], owners[j]);
    }
}

static void fallbacks_follow_the_ring_round_its_end(void **state)
{
    static const unsigned char rows[8] = {0, 1, 1, 2, 2, 0, 4, 1};
    struct ring_table *table = &a.table;
    struct ring_preference list;

    (void)state;
    ring_table_init(table, 2, 2, a.rows, sizeof a.rows);
    table->version = (struct ring_version){1, 10};
    table->member_count = 6;
    for (unsigned i = 0; i < 6; i++)
        table->members[i] = (struct ring_member){10 + i, 0, 1};
    memcpy(table->rows, rows, sizeof rows);
    ring_preference_start(&list, table, 3);
    static const node_id wanted[] = {14, 11, 10, 12, 13, 15, NODE_NONE};
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(ring_preference_next(&list), wanted[i]);
}

static void owners_are_those_that_the_row_names(void **state)
{
    struct random random = {2};

    (void)state;
    for (unsigned i = 0; i < CASES; i++) {
        struct ring_table *table = some_table(&random, &a, 4);
        unsigned owned[RING_MEMBERS_MAX], first[RING_MEMBERS_MAX], counted[RING_MEMBERS_MAX] = {0};
        for (unsigned p = 0; p < ring_table_partitions(table); p++)
            for (unsigned m = 0; m < table->member_count; m++)
                if (ring_table_is_owner(table, p, RING_COPIES_MAX, table->members[m].id))
                    counted[m]++;
        ring_table_count(table, owned, first);
        assert_memory_equal(owned, counted, table->member_count * sizeof owned[0]);
        for (unsigned m = 0; m < table->member_count; m++)
            assert_in_range(first[m], 0, owned[m]);
    }
}

static void a_decoded_table_is_the_one_that_was_encoded(void **state)
{
    struct random random = {3};

    (void)state;
    for (unsigned i = 0; i < CASES; i++) {
        struct ring_table *table = some_table(&random, &a, random_below(&random, 8));
        size_t size = ring_table_encode(table, bytes);
        struct ring_table *read = empty(&b);
        assert_int_equal(size, ring_table_encoded_bytes(table));
        assert_true(ring_table_decode(read, (struct slice){bytes, size}));
        assert_true(ring_table_same_content(table, read));
        assert_int_equal(ring_version_compare(table->version, read->version), 0);
    }
}

static void a_table_cut_short_or_with_bytes_after_it_is_refused(void **state)
{
    struct random random = {4};

    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        size_t size = ring_table_encode(some_table(&random, &a, 3), bytes);
        for (size_t cut = 0; cut < size; cut++)
            assert_false(ring_table_decode(empty(&b), (struct slice){bytes, cut}));
        bytes[size] = 0;
        assert_false(ring_table_decode(empty(&b), (struct slice){bytes, size + 1}));
        assert_int_equal(b.table.member_count, 0);
        assert_true(ring_table_is_sound(&b.table));
    }
}

static void whatever_is_decoded_is_sound_and_encodes_to_the_same_bytes(void **state)
{
    struct random random = {5};
    static unsigned char again[RING_TABLE_BYTES_MAX];
    unsigned accepted = 0;

    (void)state;
    for (unsigned i = 0; i < 20 * CASES; i++) {
        size_t size = ring_table_encode(some_table(&random, &a, 3), bytes);
        bytes[random_below(&random, (unsigned)size)] = (unsigned char)random_next(&random);
        if (!ring_table_decode(empty(&b), (struct slice){bytes, size}))
            continue;
        accepted++;
        assert_true(ring_table_is_sound(&b.table));
        assert_int_equal(ring_table_encode(&b.table, again), size);
        assert_memory_equal(again, bytes, size);
    }
    assert_in_range(accepted, CASES, 19 * CASES);
}

static void a_table_that_does_not_fit_the_room_is_refused(void **state)
{
    struct random random = {6};
    unsigned char rows[64];
    struct ring_table small;

    (void)state;
    size_t size = ring_table_encode(some_table(&random, &a, 7), bytes);
    ring_table_init(&small, 0, 1, rows, sizeof rows);
    assert_false(ring_table_decode(&small, (struct slice){bytes, size}));
}

static void a_difference_applied_to_the_older_table_is_the_newer_one(void **state)
{
    struct random random = {7};

    (void)state;
    for (unsigned i = 0; i < CASES; i++) {
        struct ring_table *older = some_table(&random, &a, random_below(&random, 8));
        struct ring_table *newer = successor(&random, &b, older);
        size_t size = ring_table_encode_difference(older, newer, bytes, sizeof bytes);
        assert_in_range(size, 1, sizeof bytes);
        struct ring_table *into = empty(&c);
        struct slice difference = {bytes, size};
        assert_int_equal(ring_table_apply_difference(into, older, difference), RING_APPLIED);
        assert_true(ring_table_same_content(into, newer));
        assert_int_equal(ring_version_compare(into->version, newer->version), 0);
    }
}

static void a_difference_of_two_unlike_tables_works_too(void **state)
{
    struct random random = {8};

    (void)state;
    for (unsigned i = 0; i < CASES; i++) {
        struct ring_table *older = some_table(&random, &a, 5);
        struct ring_table *newer = some_table(&random, &b, 5);
        newer->version.epoch = older->version.epoch + 1;
        size_t size = ring_table_encode_difference(older, newer, bytes, sizeof bytes);
        struct slice difference = {bytes, size};
        assert_int_equal(ring_table_apply_difference(empty(&c), older, difference), RING_APPLIED);
        assert_true(ring_table_same_content(&c.table, newer));
    }
}

static void a_difference_from_the_empty_table_is_the_whole_table(void **state)
{
    struct random random = {9};

    (void)state;
    struct ring_table *newer = some_table(&random, &b, 5);
    ring_table_init(&a.table, 5, 3, a.rows, sizeof a.rows);
    size_t size = ring_table_encode_difference(&a.table, newer, bytes, sizeof bytes);
    struct slice difference = {bytes, size};
    assert_int_equal(ring_table_apply_difference(empty(&c), &a.table, difference), RING_APPLIED);
    assert_true(ring_table_same_content(&c.table, newer));
}

static void a_difference_to_another_base_is_told_apart_from_a_bad_one(void **state)
{
    struct random random = {10};

    (void)state;
    struct ring_table *older = some_table(&random, &a, 5);
    struct ring_table *newer = successor(&random, &b, older);
    size_t size = ring_table_encode_difference(older, newer, bytes, sizeof bytes);
    struct slice difference = {bytes, size};
    older->version.claimant++;
    assert_int_equal(ring_table_apply_difference(empty(&c), older, difference),
                     RING_APPLY_OTHER_BASE);
    older->version.claimant--;
    for (size_t cut = 0; cut < size; cut++) {
        difference.size = cut;
        assert_int_equal(ring_table_apply_difference(empty(&c), older, difference), RING_APPLY_BAD);
    }
}

static void a_damaged_difference_leads_to_a_sound_table_or_is_refused(void **state)
{
    struct random random = {11};
    static unsigned char again[RING_TABLE_BYTES_MAX];
    unsigned applied = 0, refused = 0;

    (void)state;
    for (unsigned i = 0; i < 20 * CASES; i++) {
        struct ring_table *older = some_table(&random, &a, 4);
        struct ring_table *newer = successor(&random, &b, older);
        size_t size = ring_table_encode_difference(older, newer, bytes, sizeof bytes);
        bytes[random_below(&random, (unsigned)size)] = (unsigned char)random_next(&random);
        struct slice difference = {bytes, size};
        if (ring_table_apply_difference(empty(&c), older, difference) != RING_APPLIED) {
            assert_int_equal(c.table.member_count, 0);
            refused++;
            continue;
        }
        applied++;
        assert_true(ring_table_is_sound(&c.table));
        assert_int_equal(ring_table_encode_difference(older, &c.table, again, sizeof again), size);
        assert_memory_equal(again, bytes, size);
    }
    assert_in_range(applied, CASES, 20 * CASES);
    assert_in_range(refused, CASES, 20 * CASES);
}

static void a_difference_without_room_is_not_written(void **state)
{
    struct random random = {12};

    (void)state;
    struct ring_table *older = some_table(&random, &a, 5);
    struct ring_table *newer = successor(&random, &b, older);
    size_t size = ring_table_encode_difference(older, newer, bytes, sizeof bytes);
    for (size_t room = 0; room < size; room++)
        assert_int_equal(ring_table_encode_difference(older, newer, bytes, room), 0);
    assert_int_equal(ring_table_encode_difference(older, newer, bytes, size), size);
}

static void changes_name_who_gained_and_who_lost_each_partition(void **state)
{
    struct random random = {13};

    (void)state;
    for (unsigned i = 0; i < CASES; i++) {
        struct ring_table *older = some_table(&random, &a, 6);
        struct ring_table *newer = successor(&random, &b, older);
        struct ring_change change;
        unsigned next = 0;
        for (unsigned p = 0; ring_table_next_change(older, newer, p, &change); p = next) {
            assert_in_range(change.partition, p, ring_table_partitions(newer) - 1);
            next = change.partition + 1;
            for (unsigned g = 0; g < change.gained_count; g++) {
                node_id id = change.gained[g];
                assert_true(ring_table_is_owner(newer, change.partition, 8, id));
                assert_false(ring_table_is_owner(older, change.partition, 8, id));
            }
            for (unsigned l = 0; l < change.lost_count; l++) {
                node_id id = change.lost[l];
                assert_false(ring_table_is_owner(newer, change.partition, 8, id));
                assert_true(ring_table_is_owner(older, change.partition, 8, id));
            }
            assert_true(change.gained_count + change.lost_count > 0 || change.is_reordered);
        }
        assert_false(ring_table_next_change(newer, newer, 0, &change));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_top_bits_of_the_hash_name_the_partition),
        cmocka_unit_test(of_two_versions_the_higher_epoch_is_the_newer_then_the_higher_claimant),
        cmocka_unit_test(a_preference_list_has_the_owners_and_then_every_other_member_once),
        cmocka_unit_test(fallbacks_follow_the_ring_round_its_end),
        cmocka_unit_test(owners_are_those_that_the_row_names),
        cmocka_unit_test(a_decoded_table_is_the_one_that_was_encoded),
        cmocka_unit_test(a_table_cut_short_or_with_bytes_after_it_is_refused),
        cmocka_unit_test(whatever_is_decoded_is_sound_and_encodes_to_the_same_bytes),
        cmocka_unit_test(a_table_that_does_not_fit_the_room_is_refused),
        cmocka_unit_test(a_difference_applied_to_the_older_table_is_the_newer_one),
        cmocka_unit_test(a_difference_of_two_unlike_tables_works_too),
        cmocka_unit_test(a_difference_from_the_empty_table_is_the_whole_table),
        cmocka_unit_test(a_difference_to_another_base_is_told_apart_from_a_bad_one),
        cmocka_unit_test(a_damaged_difference_leads_to_a_sound_table_or_is_refused),
        cmocka_unit_test(a_difference_without_room_is_not_written),
        cmocka_unit_test(changes_name_who_gained_and_who_lost_each_partition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
