#include "ring/plan.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "tests/unit/random.h"

#define BITS       6
#define PARTITIONS (1u << BITS)
#define COPIES     3

static struct membership cluster;
static struct ring_table table, next;
static unsigned char rows[RING_ROWS_BYTES(BITS, COPIES)], next_rows[RING_ROWS_BYTES(BITS, COPIES)];
static struct plan_work work;
static struct plan plan;
static struct plan_report report;
static uint64_t bytes[PARTITIONS];
static unsigned failed;

static struct member_record record_of(unsigned number)
{
    struct member_record record = {.id = number, .weight = 1, .zone = number % 3};

    record.name.size = 1;
    record.name.bytes[0] = (char)('!' + number);
    return record;
}

/* Publishes all tables there are to publish, and returns how many. */
static unsigned settle(void)
{
    struct ring_member members[RING_MEMBERS_MAX];
    unsigned tables = 0;

    for (;;) {
        struct claim_input input = {.members = members,
                                    .count = membership_claimers(&cluster, members),
                                    .copies = COPIES,
                                    .claimant = 1,
                                    .before = &table};
        if (claim_next(&work.claim, &input, &next) != CLAIM_NEXT)
            return tables;
        ring_table_copy(&table, &next);
        tables++;
    }
}

static void make_cluster(unsigned count)
{
    membership_init(&cluster);
    for (unsigned i = 1; i <= count; i++) {
        struct member_record record = record_of(i);
        assert_int_equal(membership_join(&cluster, &record, NODE_NONE), MEMBERSHIP_DONE);
    }
    ring_table_init(&table, BITS, COPIES, rows, sizeof rows);
    ring_table_init(&next, BITS, COPIES, next_rows, sizeof next_rows);
    settle();
    for (unsigned i = 0; i < PARTITIONS; i++)
        bytes[i] = 1000 + i;
    memset(&plan, 0, sizeof plan);
}

static enum membership_answer preview(void)
{
    return plan_preview(&work, &plan, &cluster, &table, COPIES, bytes, &report, &failed);
}

static const struct plan_node *node_of(node_id id)
{
    for (unsigned i = 0; i < report.node_count; i++)
        if (report.nodes[i].id == id)
            return &report.nodes[i];
    fail_msg("no such node in the report");
    return NULL;
}

static void add(struct plan_act act)
{
    plan.acts[plan.count++] = act;
}

static void an_empty_plan_moves_nothing(void **state)
{
    (void)state;
    make_cluster(5);
    assert_int_equal(preview(), MEMBERSHIP_DONE);
    assert_int_equal(report.answer, CLAIM_MET);
    assert_int_equal(report.partitions_moved, 0);
    assert_int_equal(report.tables, 0);
    assert_int_equal(report.node_count, 5);
    assert_int_equal(report.before.zones_violated, 0);
    assert_int_equal(report.before.owners_missing, 0);
    assert_int_equal(report.before.peak_permille, report.after.peak_permille);
}

static void a_join_shows_what_the_joiner_gets(void **state)
{
    uint64_t digest;

    (void)state;
    make_cluster(5);
    digest = cluster.digest;
    add((struct plan_act){.type = PLAN_JOIN, .joiner = record_of(6)});
    assert_int_equal(preview(), MEMBERSHIP_DONE);
    assert_int_equal(cluster.digest, digest); /* nothing was changed */
    assert_int_equal(report.answer, CLAIM_NEXT);
    assert_int_equal(node_of(6)->owned_before, 0);
    assert_int_equal(node_of(6)->owned_after, node_of(6)->gained);
    assert_in_range(node_of(6)->owned_after, PARTITIONS * COPIES / 6, PARTITIONS * COPIES / 6 + 1);
    assert_true(report.bytes_moved >= report.partitions_moved * 1000ul);
    assert_true(report.tables >= 1);
}

static void a_replacement_moves_only_what_the_gone_node_had(void **state)
{
    (void)state;
    make_cluster(5);
    struct member_record joiner = record_of(2);
    joiner.id = 9;
    add((struct plan_act){.type = PLAN_REPLACE, .node = 2, .joiner = joiner});
    assert_int_equal(preview(), MEMBERSHIP_DONE);
    assert_int_equal(node_of(2)->owned_after, 0);
    assert_int_equal(node_of(9)->owned_after, node_of(2)->owned_before);
    assert_int_equal(report.partitions_moved, node_of(2)->owned_before);
    assert_int_equal(report.bytes_moved, node_of(9)->bytes_gained);
    assert_int_equal(node_of(9)->bytes_gained, node_of(2)->bytes_lost);
}

static void what_cannot_be_done_is_said_and_nothing_is_changed(void **state)
{
    uint64_t digest;

    (void)state;
    make_cluster(4);
    digest = cluster.digest;
    add((struct plan_act){.type = PLAN_LEAVE, .node = 2});
    add((struct plan_act){.type = PLAN_LEAVE, .node = 9});
    assert_int_equal(preview(), MEMBERSHIP_UNKNOWN);
    assert_int_equal(failed, 1);
    assert_int_equal(plan_commit(&work, &plan, &cluster, &failed), MEMBERSHIP_UNKNOWN);
    assert_int_equal(cluster.digest, digest);
}

static void too_few_zones_and_owners_are_counted(void **state)
{
    (void)state;
    make_cluster(4);
    memset(rows, 0, sizeof rows); /* all in the hands of the first, and nobody else */
    for (unsigned p = 0; p < PARTITIONS; p++)
        rows[p * COPIES + 1] = rows[p * COPIES + 2] = RING_NO_OWNER;
    assert_int_equal(preview(), MEMBERSHIP_DONE);
    assert_int_equal(report.before.zones_violated, PARTITIONS);
    assert_int_equal(report.before.owners_missing, 2 * PARTITIONS);
    assert_int_equal(report.before.peak_first_permille, 4000);
    assert_int_equal(report.after.zones_violated, 0);
    assert_int_equal(report.after.owners_missing, 0);
    assert_true(report.tables >= 2); /* one owner at a time */
}

static void nobody_left_is_said(void **state)
{
    (void)state;
    make_cluster(1);
    add((struct plan_act){.type = PLAN_LEAVE, .node = 1});
    assert_int_equal(preview(), MEMBERSHIP_DONE);
    assert_int_equal(report.answer, CLAIM_NOBODY);
}

static struct plan_act any_act(struct random *random, unsigned fresh)
{
    struct plan_act act = {.type = (enum plan_act_type)random_below(random, 6),
                           .node = 1 + random_below(random, 12),
                           .weight = random_below(random, 4),
                           .zone = random_below(random, 4),
                           .joiner = record_of(fresh)};
    return act;
}

static void a_commit_does_what_the_preview_said(void **state)
{
    struct random random = {1};

    (void)state;
    for (unsigned run = 0; run < 60; run++) {
        make_cluster(3 + random_below(&random, 7));
        for (unsigned step = 0; step < 4; step++) {
            plan.count = 0;
            for (unsigned acts = 1 + random_below(&random, 3); acts > 0; acts--)
                add(any_act(&random, 20 + 4 * step + acts));
            enum membership_answer answer = preview();
            assert_int_equal(plan_commit(&work, &plan, &cluster, &failed), answer);
            if (answer != MEMBERSHIP_DONE)
                continue;
            assert_int_equal(settle(), report.tables);
            if (report.answer == CLAIM_NOBODY)
                break;
            unsigned owned[RING_MEMBERS_MAX], first[RING_MEMBERS_MAX], gained = 0;
            ring_table_count(&table, owned, first);
            for (unsigned i = 0; i < table.member_count; i++) {
                assert_int_equal(node_of(table.members[i].id)->owned_after, owned[i]);
                assert_int_equal(node_of(table.members[i].id)->first_after, first[i]);
            }
            for (unsigned i = 0; i < report.node_count; i++) {
                const struct plan_node *node = &report.nodes[i];
                assert_int_equal(node->owned_before + node->gained, node->owned_after + node->lost);
                gained += node->gained;
            }
            assert_int_equal(gained, report.partitions_moved);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_plan_moves_nothing),
        cmocka_unit_test(a_join_shows_what_the_joiner_gets),
        cmocka_unit_test(a_replacement_moves_only_what_the_gone_node_had),
        cmocka_unit_test(what_cannot_be_done_is_said_and_nothing_is_changed),
        cmocka_unit_test(too_few_zones_and_owners_are_counted),
        cmocka_unit_test(nobody_left_is_said),
        cmocka_unit_test(a_commit_does_what_the_preview_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
