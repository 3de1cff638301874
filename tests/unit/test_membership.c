#include "ring/membership.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "tests/unit/random.h"

static struct membership a, b, c, left, right, copy;
static unsigned char bytes[MEMBERSHIP_BYTES_MAX + 8], again[MEMBERSHIP_BYTES_MAX];

static struct member_name name_of(unsigned number)
{
    char text[16];
    struct member_name name;

    int size = snprintf(text, sizeof text, "node%u", number);
    assert_true(member_name_set(&name, (struct slice){(unsigned char *)text, (size_t)size}));
    return name;
}

static struct member_record joiner(unsigned number)
{
    struct member_record record = {
        .id = number, .incarnation = 1, .name = name_of(number), .weight = 1, .zone = number % 3};

    assert_true(member_address_set(&record.address, SLICE("10.0.0.1:11311")));
    return record;
}

/* A cluster of nodes 1 to `count`, all up. */
static void make_cluster(struct membership *membership, unsigned count)
{
    membership_init(membership);
    for (unsigned i = 1; i <= count; i++) {
        struct member_record record = joiner(i);
        record.status = MEMBER_UP;
        record.is_warm = true;
        assert_int_equal(membership_join(membership, &record, NODE_NONE), MEMBERSHIP_DONE);
    }
}

/* Any record there may be of one of a few nodes, so that two maps often have the same ones. */
static struct member_record any_record(struct random *random, node_id id)
{
    struct member_record record = {.id = id};

    record.incarnation = random_below(random, 3);
    record.is_warm = random_chance(random, 50);
    record.status = (enum member_status)random_below(random, 4);
    record.revision = random_below(random, 3);
    record.weight = random_below(random, 3);
    record.zone = random_below(random, 3);
    record.ceiling = random_below(random, 100);
    record.name = name_of(random_below(random, 3));
    record.zone_name = name_of(random_below(random, 2));
    if (random_chance(random, 50))
        assert_true(member_address_set(&record.address, SLICE("[::1]:11311")));
    return record;
}

/* Any map: of single records merged, as a decoder may make them. */
static void make_any(struct random *random, struct membership *membership)
{
    static struct membership one;
    unsigned count = random_below(random, 12);

    membership_init(membership);
    for (unsigned i = 0; i < count; i++) {
        membership_init(&one);
        one.records[0] = any_record(random, 1 + random_below(random, 8));
        one.count = 1;
        membership_merge(membership, &one);
    }
    for (unsigned i = random_below(random, 4); i > 0; i--)
        membership_flush(membership,
                         (struct flush){1 + random_below(random, 9), random_below(random, 20)});
    if (random_chance(random, 50))
        membership_advance_flushes(membership, random_below(random, 20));
    membership_set_weight(membership, 1, 7); /* an act, if there is such a node: for its digest */
    assert_true(membership_encode(membership, bytes) > 0);
    assert_true(
        membership_decode(membership, (struct slice){bytes, membership_encoded_bytes(membership)}));
}

static void merging_gives_the_same_in_any_order(void **state)
{
    struct random random = {1};

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        make_any(&random, &a);
        make_any(&random, &b);
        make_any(&random, &c);
        membership_copy(&left, &a); /* (a + b) + c */
        membership_merge(&left, &b);
        membership_merge(&left, &c);
        membership_copy(&right, &c); /* (c + b) + a */
        membership_merge(&right, &b);
        membership_merge(&right, &a);
        assert_true(membership_equal(&left, &right));
        assert_true(membership_is_sound(&left));
        assert_int_equal(left.digest, right.digest);
        assert_false(membership_merge(&left, &a)); /* nothing new */
        assert_false(membership_merge(&left, &right));
        assert_true(membership_equal(&left, &right));
    }
}

static void merging_says_whether_anything_but_a_ceiling_changed(void **state)
{
    struct random random = {2};

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        make_any(&random, &a);
        make_any(&random, &b);
        membership_copy(&copy, &a);
        bool has_changed = membership_merge(&a, &b);
        assert_int_equal(has_changed, a.digest != copy.digest);
        if (!has_changed) {
            for (unsigned j = 0; j < a.count; j++)
                copy.records[j].ceiling = a.records[j].ceiling;
            assert_true(membership_equal(&a, &copy));
        }
    }
}

static void what_is_encoded_is_decoded_and_encodes_to_the_same(void **state)
{
    struct random random = {3};

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        make_any(&random, &a);
        size_t size = membership_encode(&a, bytes);
        assert_int_equal(size, membership_encoded_bytes(&a));
        assert_true(membership_decode(&b, (struct slice){bytes, size}));
        assert_true(membership_equal(&a, &b));
        assert_int_equal(a.digest, b.digest);
        assert_int_equal(membership_encode(&b, again), size);
        assert_memory_equal(bytes, again, size);
    }
}

static void bytes_cut_or_extended_are_refused(void **state)
{
    struct random random = {4};

    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        make_any(&random, &a);
        size_t size = membership_encode(&a, bytes);
        bytes[size] = 0;
        assert_false(membership_decode(&b, (struct slice){bytes, size + 1}));
        for (size_t cut = 0; cut < size; cut++)
            assert_false(membership_decode(&b, (struct slice){bytes, cut}));
        assert_int_equal(b.count, 0);
        assert_true(membership_is_sound(&b));
    }
}

static void bytes_changed_are_refused_or_are_another_sound_map(void **state)
{
    struct random random = {5};
    unsigned refused = 0;

    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        if (i % 100 == 0)
            make_any(&random, &a);
        size_t size = membership_encode(&a, bytes);
        for (unsigned changes = 1 + random_below(&random, 3); changes > 0; changes--)
            bytes[random_below(&random, (unsigned)size)] = (unsigned char)random_next(&random);
        if (!membership_decode(&b, (struct slice){bytes, size})) {
            refused++;
            continue;
        }
        assert_true(membership_is_sound(&b));
        assert_int_equal(membership_encode(&b, again), size);
        assert_memory_equal(bytes, again, size);
    }
    assert_true(refused > 10000);
}

static void a_full_membership_fits_its_bound(void **state)
{
    (void)state;
    membership_init(&a);
    a.count = MEMBERSHIP_RECORDS_MAX;
    for (unsigned i = 0; i < a.count; i++) {
        a.records[i] = (struct member_record){.id = i + 1, .status = MEMBER_GONE};
        memset(a.records[i].name.bytes, 'n', MEMBER_NAME_MAX);
        memset(a.records[i].zone_name.bytes, 'z', MEMBER_NAME_MAX);
        memset(a.records[i].address.bytes, 'a', MEMBER_ADDRESS_MAX);
        a.records[i].name.size = a.records[i].zone_name.size = MEMBER_NAME_MAX;
        a.records[i].address.size = MEMBER_ADDRESS_MAX;
    }
    size_t size = membership_encode(&a, bytes);
    assert_true(size <= MEMBERSHIP_BYTES_MAX);
    assert_true(membership_decode(&b, (struct slice){bytes, size}));
    /* One more is taken in the place of the one that started first. */
    b.records[100].incarnation = 0;
    for (unsigned i = 0; i < b.count; i++)
        b.records[i].incarnation = i == 100 ? 1 : 2;
    struct member_record record = joiner(9999);
    assert_int_equal(membership_join(&b, &record, NODE_NONE), MEMBERSHIP_DONE);
    assert_int_equal(b.count, MEMBERSHIP_RECORDS_MAX);
    assert_int_equal(b.dropped, 1);
    assert_null(membership_find(&b, 101));
    assert_true(membership_has(&b, 9999));
}

static void a_node_that_went_never_returns(void **state)
{
    (void)state;
    make_cluster(&a, 3);
    membership_copy(&b, &a);
    assert_int_equal(membership_remove(&a, 2), MEMBERSHIP_DONE);
    membership_restart(&b, 2, 1000, &(struct member_address){0}); /* news from before, and later */
    membership_set_weight(&b, 2, 9);
    membership_merge(&a, &b);
    membership_merge(&b, &a);
    assert_false(membership_has(&a, 2));
    assert_false(membership_has(&b, 2));
    struct member_record record = joiner(2);
    assert_int_equal(membership_join(&a, &record, NODE_NONE), MEMBERSHIP_IS_GONE);
    record.id = 22; /* the name is free again */
    assert_int_equal(membership_join(&a, &record, NODE_NONE), MEMBERSHIP_DONE);
}

static void a_leave_and_a_weight_at_the_same_time_both_hold(void **state)
{
    (void)state;
    make_cluster(&a, 3);
    membership_copy(&b, &a);
    assert_int_equal(membership_leave(&a, 2), MEMBERSHIP_DONE);
    assert_int_equal(membership_set_weight(&b, 2, 5), MEMBERSHIP_DONE);
    membership_merge(&a, &b);
    assert_int_equal(membership_find(&a, 2)->status, MEMBER_LEAVING);
    assert_int_equal(membership_find(&a, 2)->weight, 5);
    assert_int_equal(membership_leave(&a, 2), MEMBERSHIP_ALREADY);
}

static void a_restart_is_a_new_incarnation_and_known_to_be_empty(void **state)
{
    (void)state;
    make_cluster(&a, 3);
    membership_copy(&b, &a);
    assert_int_equal(membership_restart(&a, 2, 5000, &(struct member_address){0}), MEMBERSHIP_DONE);
    assert_int_equal(membership_find(&a, 2)->incarnation, 5000);
    assert_int_equal(membership_restart(&a, 2, 4000, &(struct member_address){0}), MEMBERSHIP_DONE);
    assert_int_equal(membership_find(&a, 2)->incarnation, 5001); /* its clock was set back */
    membership_merge(&b, &a);
    assert_false(membership_find(&b, 2)->is_warm);
    assert_true(membership_find(&b, 1)->is_warm);
    /* That it is warm later does not count for a restart after that. */
    assert_int_equal(membership_set_warm(&b, 2), MEMBERSHIP_DONE);
    membership_restart(&a, 2, 9000, &(struct member_address){0});
    membership_merge(&a, &b);
    assert_false(membership_find(&a, 2)->is_warm);
}

static void ceilings_travel_but_are_not_in_the_digest(void **state)
{
    (void)state;
    make_cluster(&a, 3);
    membership_copy(&b, &a);
    membership_saw_clock(&a, 2, 77);
    membership_saw_clock(&a, 2, 55);
    membership_saw_clock(&a, 99, 55); /* no such node */
    assert_int_equal(membership_find(&a, 2)->ceiling, 77);
    assert_int_equal(a.digest, b.digest);
    assert_false(membership_merge(&b, &a));
    assert_int_equal(membership_find(&b, 2)->ceiling, 77);
}

static void a_replacement_takes_name_and_place(void **state)
{
    struct ring_member members[RING_MEMBERS_MAX];
    struct member_record record = joiner(2);

    (void)state;
    make_cluster(&a, 3);
    record.id = 9;
    assert_int_equal(membership_join(&a, &record, NODE_NONE), MEMBERSHIP_NAME_TAKEN);
    assert_int_equal(membership_join(&a, &record, 8), MEMBERSHIP_UNKNOWN);
    assert_int_equal(membership_join(&a, &record, 2), MEMBERSHIP_DONE);
    assert_int_equal(membership_join(&a, &record, 2), MEMBERSHIP_ALREADY);
    assert_int_equal(membership_claimers(&a, members), 3);
    assert_int_equal(members[0].id, 1);
    assert_int_equal(members[1].id, 3);
    assert_int_equal(members[2].id, 9);
    assert_ptr_equal(membership_find_name(&a, &record.name), membership_find(&a, 9));
}

static void no_more_members_join_than_a_table_has_room_for(void **state)
{
    struct member_record record = joiner(1000);

    (void)state;
    make_cluster(&a, RING_MEMBERS_MAX);
    assert_int_equal(membership_join(&a, &record, NODE_NONE), MEMBERSHIP_FULL);
    assert_int_equal(membership_join(&a, &record, 7), MEMBERSHIP_DONE); /* one goes for it */
    assert_int_equal(membership_live_count(&a), RING_MEMBERS_MAX);
}

static void bad_acts_are_refused(void **state)
{
    struct member_record record = joiner(9);
    struct member_name name;

    (void)state;
    make_cluster(&a, 3);
    record.id = NODE_ANY;
    assert_int_equal(membership_join(&a, &record, NODE_NONE), MEMBERSHIP_BAD);
    record = joiner(9);
    record.weight = RING_WEIGHT_MAX + 1;
    assert_int_equal(membership_join(&a, &record, NODE_NONE), MEMBERSHIP_BAD);
    record = joiner(9);
    record.name.size = 0;
    assert_int_equal(membership_join(&a, &record, NODE_NONE), MEMBERSHIP_BAD);
    record = joiner(9);
    record.status = MEMBER_GONE;
    assert_int_equal(membership_join(&a, &record, NODE_NONE), MEMBERSHIP_BAD);
    assert_int_equal(membership_set_weight(&a, 1, RING_WEIGHT_MAX + 1), MEMBERSHIP_BAD);
    assert_int_equal(membership_leave(&a, 9), MEMBERSHIP_UNKNOWN);
    assert_int_equal(membership_remove(&a, 9), MEMBERSHIP_UNKNOWN);
    assert_int_equal(membership_flush(&a, (struct flush){0, 5}), MEMBERSHIP_BAD);
    assert_false(member_name_set(&name, SLICE("two words")));
    assert_false(member_name_set(&name, SLICE("a name of thirty-two characters!")));
    assert_int_equal(name.size, 0);
    assert_int_equal(membership_live_count(&a), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merging_gives_the_same_in_any_order),
        cmocka_unit_test(merging_says_whether_anything_but_a_ceiling_changed),
        cmocka_unit_test(what_is_encoded_is_decoded_and_encodes_to_the_same),
        cmocka_unit_test(bytes_cut_or_extended_are_refused),
        cmocka_unit_test(bytes_changed_are_refused_or_are_another_sound_map),
        cmocka_unit_test(a_full_membership_fits_its_bound),
        cmocka_unit_test(a_node_that_went_never_returns),
        cmocka_unit_test(a_leave_and_a_weight_at_the_same_time_both_hold),
        cmocka_unit_test(a_restart_is_a_new_incarnation_and_known_to_be_empty),
        cmocka_unit_test(ceilings_travel_but_are_not_in_the_digest),
        cmocka_unit_test(a_replacement_takes_name_and_place),
        cmocka_unit_test(no_more_members_join_than_a_table_has_room_for),
        cmocka_unit_test(bad_acts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
