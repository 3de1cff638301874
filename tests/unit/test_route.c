/* Routes: who is asked, and who coordinates. */
#include "ring/route.h"
#include "tests/unit/random.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>

static unsigned char rows[RING_ROWS_BYTES(4, RING_COPIES_MAX)];
static struct ring_table table;
static struct peer_view views[RING_MEMBERS_MAX];
static struct route route;

/* Members 10, 20, ...; partition p is owned by members p, p + 1, ... */
static void make_table(unsigned members, unsigned copies)
{
    ring_table_init(&table, 4, copies, rows, sizeof rows);
    table.version = (struct ring_version){1, 10};
    table.member_count = members;
    for (unsigned i = 0; i < members; i++) {
        table.members[i] = (struct ring_member){10 * (i + 1), 0, 1};
        views[i] = (struct peer_view){.is_reachable = true, .hedge_ms = 20 + i};
    }
    memset(rows, RING_NO_OWNER, sizeof rows);
    for (unsigned p = 0; p < ring_table_partitions(&table); p++)
        for (unsigned i = 0; i < copies && i < members; i++)
            rows[p * copies + i] = (unsigned char)((p + i) % members);
    assert_true(ring_table_is_sound(&table));
}

static uint64_t key_of(unsigned partition)
{
    return (uint64_t)partition << 60 | 12345;
}

static void owners_come_first_and_then_reachable_fallbacks_in_ring_order(void **state)
{
    (void)state;
    make_table(6, 3);
    views[1].is_reachable = views[4].is_reachable = false;
    route_make(&route, &table, key_of(1), 3, 60, views);
    assert_true(route_is_sound(&route));
    assert_int_equal(route.copies, 3);
    assert_int_equal(route.count, 5);
    const node_id expected[] = {20, 30, 40, 60, 10};
    for (unsigned i = 0; i < route.count; i++)
        assert_int_equal(route.nodes[i].id, expected[i]);
    assert_false(route.nodes[0].is_reachable);
    assert_true(route.nodes[1].is_reachable);
    assert_int_equal(route.nodes[1].hedge_ms, 22);
    assert_int_equal(route.self, 3);
}

static void a_policy_with_fewer_copies_makes_fallbacks_of_the_other_owners(void **state)
{
    (void)state;
    make_table(4, 3);
    route_make(&route, &table, key_of(0), 1, 40, views);
    assert_int_equal(route.copies, 1);
    assert_int_equal(route.count, 4);
    assert_int_equal(route.nodes[1].id, 20);
    assert_false(route.nodes[1].is_owner);
}

static void a_cluster_smaller_than_n_has_as_many_copies_as_nodes(void **state)
{
    (void)state;
    make_table(2, 3);
    route_make(&route, &table, key_of(0), 3, 10, views);
    assert_int_equal(route.copies, 2);
    assert_int_equal(route.count, 2);
}

static void this_node_is_reachable_whatever_is_said_of_it(void **state)
{
    (void)state;
    make_table(3, 3);
    views[0] = (struct peer_view){0};
    route_make(&route, &table, key_of(0), 3, 10, views);
    assert_int_equal(route.self, 0);
    assert_true(route.nodes[0].is_reachable);
    assert_int_equal(route.nodes[0].hedge_ms, 1);
    route_mark_unreachable(&route, 10);
    assert_true(route.nodes[0].is_reachable);
    route_mark_unreachable(&route, 999);
    route_mark_unreachable(&route, 20);
    assert_false(route.nodes[1].is_reachable);
}

static void a_node_that_is_no_member_stands_at_the_end(void **state)
{
    (void)state;
    make_table(40, 3);
    route_make(&route, &table, key_of(2), 3, 5555, views);
    assert_true(route_is_sound(&route));
    assert_int_equal(route.count, ROUTE_MAX);
    assert_int_equal(route.nodes[ROUTE_MAX - 1].id, 5555);
    ring_table_init(&table, 4, 3, rows, sizeof rows);
    route_make(&route, &table, key_of(2), 3, 5555, views);
    assert_int_equal(route.copies, 0);
    assert_int_equal(route_write_coordinator(&route, 0), 0);
}

static void the_first_reachable_warm_owner_coordinates(void **state)
{
    uint64_t warming = 1 << 3;

    (void)state;
    make_table(6, 3);
    views[3].is_reachable = false;
    views[4].warming = &warming;
    route_make(&route, &table, key_of(3), 3, 10, views); /* owners 40, 50, 60 */
    assert_int_equal(route_write_coordinator(&route, 0), 2);
    /* Nobody warm: the first reachable owner. */
    views[5].warming = &warming;
    route_make(&route, &table, key_of(3), 3, 10, views);
    assert_int_equal(route_write_coordinator(&route, 0), 1);
    /* No owner at all: the first reachable fallback. */
    views[4].is_reachable = views[5].is_reachable = false;
    route_make(&route, &table, key_of(3), 3, 20, views);
    assert_int_equal(route.nodes[route_write_coordinator(&route, 0)].id, 10);
    assert_int_equal(route.nodes[route_write_coordinator(&route, 1u << 3)].id, 20);
    assert_int_equal(route_write_coordinator(&route, 0xffff), route.count);
    /* Warming for another partition does not matter. */
    warming = 1 << 4;
    views[4].is_reachable = true;
    route_make(&route, &table, key_of(3), 3, 20, views);
    assert_int_equal(route_write_coordinator(&route, 0), 1);
}

static void any_route_is_sound_and_has_every_owner_and_this_node(void **state)
{
    struct random random = {7};

    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        unsigned members = 1 + random_below(&random, 30);
        make_table(members, 1 + random_below(&random, RING_COPIES_MAX));
        for (unsigned m = 0; m < members; m++)
            views[m].is_reachable = random_chance(&random, 60);
        unsigned partition = random_below(&random, 16);
        unsigned copies = 1 + random_below(&random, RING_COPIES_MAX);
        node_id self = 10 * (1 + random_below(&random, members)), owners[RING_COPIES_MAX];
        route_make(&route, &table, key_of(partition), copies, self, views);
        assert_true(route_is_sound(&route));
        unsigned count = ring_table_owners(&table, partition, copies, owners);
        assert_int_equal(route.copies, count);
        for (unsigned o = 0; o < count; o++)
            assert_int_equal(route.nodes[o].id, owners[o]);
        assert_int_equal(route.nodes[route.self].id, self);
        for (unsigned n = count; n < route.count; n++)
            assert_true(route.nodes[n].is_reachable);
        assert_true(route.nodes[route_write_coordinator(&route, 0)].is_reachable);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(owners_come_first_and_then_reachable_fallbacks_in_ring_order),
        cmocka_unit_test(a_policy_with_fewer_copies_makes_fallbacks_of_the_other_owners),
        cmocka_unit_test(a_cluster_smaller_than_n_has_as_many_copies_as_nodes),
        cmocka_unit_test(this_node_is_reachable_whatever_is_said_of_it),
        cmocka_unit_test(a_node_that_is_no_member_stands_at_the_end),
        cmocka_unit_test(the_first_reachable_warm_owner_coordinates),
        cmocka_unit_test(any_route_is_sound_and_has_every_owner_and_this_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
