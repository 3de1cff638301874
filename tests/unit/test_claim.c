/* Claim: what every table on the way fulfils, over long sequences of changes to the members. */
#include "ring/claim.h"
#include "tests/unit/random.h"
#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#define STEPS_MAX 60 /* tables until a target has to be met */

/* A cluster: its members, in no order, and its table, in turn in each of the two. */
struct cluster {
    struct ring_member members[RING_MEMBERS_MAX];
    unsigned count, copies;
    node_id next_id;
    struct ring_table tables[2];
    unsigned char rows[2][RING_ROWS_BYTES_MAX];
    unsigned now; /* which of the tables is published */
};

static struct cluster cluster;
static struct claim_work work;

static struct ring_table *table_now(struct cluster *c)
{
    return &c->tables[c->now];
}

static void start_cluster(struct cluster *c, unsigned bits, unsigned copies)
{
    c->count = 0;
    c->copies = copies;
    c->next_id = 1000;
    c->now = 0;
    for (unsigned i = 0; i < 2; i++)
        ring_table_init(&c->tables[i], bits, copies, c->rows[i], sizeof c->rows[i]);
}

static struct claim_input input_of(struct cluster *c)
{
    return (struct claim_input){c->members, c->count, c->copies, 77, table_now(c)};
}

/* Ids rise and fall, so that new members come in between others. */
static void join(struct cluster *c, uint32_t zone, uint32_t weight)
{
    node_id id = c->next_id++ * 2654435761u % 1000003 + 1;

    assert_in_range(c->count, 0, RING_MEMBERS_MAX - 1);
    c->members[c->count++] = (struct ring_member){id, zone, weight};
}

static void remove_at(struct cluster *c, unsigned index)
{
    c->members[index] = c->members[--c->count];
}

/* Shares again, in another way: the level of all zones, and then of each zone, by bisection. */

static double zone_at(const struct cluster *c, uint32_t zone, double level, double partitions)
{
    double sum = 0;

    for (unsigned i = 0; i < c->count; i++)
        if (c->members[i].zone == zone)
            sum += fmin(partitions, c->members[i].weight * level);
    return sum;
}

static unsigned able_members(const struct cluster *c)
{
    unsigned able = 0;

    for (unsigned i = 0; i < c->count; i++)
        able += c->members[i].weight > 0;
    return able;
}

/* Zones of members with a weight. */
static unsigned zones_of(const struct cluster *c, uint32_t zones[RING_MEMBERS_MAX])
{
    unsigned count = 0;

    for (unsigned i = 0; i < c->count; i++) {
        bool is_known = c->members[i].weight == 0;
        for (unsigned z = 0; z < count; z++)
            is_known |= zones[z] == c->members[i].zone;
        if (!is_known)
            zones[count++] = c->members[i].zone;
    }
    return count;
}

static double level_of_zone(const struct cluster *c, uint32_t zone, double sum, double partitions)
{
    double low = 0, high = partitions;

    for (unsigned i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        if (zone_at(c, zone, middle, partitions) < sum)
            low = middle;
        else
            high = middle;
    }
    return high;
}

static void expect_shares(const struct cluster *c, double partitions, double owned[])
{
    uint32_t zones[RING_MEMBERS_MAX];
    unsigned zone_count = zones_of(c, zones), able = able_members(c);
    unsigned copies = c->copies < able ? c->copies : able;
    double least = zone_count <= copies ? partitions : 0;
    double most = zone_count < copies ? (copies - zone_count + 1) * partitions : partitions;
    double low = 0, high = partitions;

    for (unsigned i = 0; i < 60; i++) {
        double level = (low + high) / 2, sum = 0;
        for (unsigned z = 0; z < zone_count; z++)
            sum += fmax(least, fmin(most, zone_at(c, zones[z], level, partitions)));
        if (sum < copies * partitions)
            low = level;
        else
            high = level;
    }
    for (unsigned i = 0; i < c->count; i++) {
        uint32_t zone = c->members[i].zone;
        double sum = zone_at(c, zone, high, partitions), level = high;
        owned[i] = 0;
        if (c->members[i].weight == 0)
            continue;
        if (sum < least || sum > most)
            level = level_of_zone(c, zone, sum < least ? least : most, partitions);
        owned[i] = fmin(partitions, c->members[i].weight * level);
    }
}

static double share_of(const struct cluster *c, unsigned index)
{
    double owned[RING_MEMBERS_MAX];

    expect_shares(c, ring_table_partitions(&c->tables[0]), owned);
    return owned[index];
}

/* How many zones the first `count` owners are in. */
static unsigned row_zones(const struct ring_table *table, const unsigned char *row, unsigned count)
{
    unsigned zones = 0;

    for (unsigned i = 0; i < count; i++) {
        bool is_new = true;
        for (unsigned j = 0; j < i; j++)
            is_new &= table->members[row[i]].zone != table->members[row[j]].zone;
        zones += is_new;
    }
    return zones;
}

static void check_rows(const struct cluster *c, const struct ring_table *table)
{
    uint32_t zones[RING_MEMBERS_MAX];
    unsigned zone_count = zones_of(c, zones), able = able_members(c);
    unsigned wanted = c->copies < able ? c->copies : able;

    assert_true(ring_table_is_sound(table)); /* so owners are distinct */
    for (unsigned p = 0; p < ring_table_partitions(table); p++) {
        const unsigned char *row = ring_table_row(table, p);
        for (unsigned i = 0; i < table->copies; i++)
            assert_int_equal(row[i] != RING_NO_OWNER, i < wanted);
        for (unsigned i = 1; i <= wanted; i++)
            assert_int_equal(row_zones(table, row, i), i < zone_count ? i : zone_count);
    }
}

static void check_balance(const struct cluster *c, const struct ring_table *table)
{
    double shares[RING_MEMBERS_MAX], weights = 0;
    unsigned owned[RING_MEMBERS_MAX], first[RING_MEMBERS_MAX];

    expect_shares(c, ring_table_partitions(table), shares);
    ring_table_count(table, owned, first);
    assert_int_equal(table->member_count, c->count);
    for (unsigned i = 0; i < c->count; i++)
        weights += c->members[i].weight;
    for (unsigned i = 0; i < c->count; i++) {
        int at = ring_table_find_member(table, c->members[i].id);
        assert_true(at >= 0);
        double first_share = c->members[i].weight / weights * ring_table_partitions(table);
        assert_true(fabs(owned[at] - shares[i]) < 1 + 1e-6);
        assert_true(fabs(first[at] - first_share) < 1 + 1e-6);
    }
}

/* Owners among the first `copies` of one table that are not among those of the other. */
static unsigned lost(const struct ring_table *from, const struct ring_table *to, unsigned partition,
                     unsigned copies)
{
    node_id owners[RING_COPIES_MAX];
    unsigned count = ring_table_owners(from, partition, copies, owners), missing = 0;

    for (unsigned i = 0; i < count; i++)
        missing += !ring_table_is_owner(to, partition, copies, owners[i]);
    return missing;
}

/* Checks that one owner of a partition changed at most, and returns how many partitions were
 * given to somebody. */
static unsigned check_step(const struct ring_table *before, const struct ring_table *next)
{
    unsigned moves = 0;

    assert_int_equal(next->version.epoch, before->version.epoch + 1);
    for (unsigned p = 0; p < ring_table_partitions(next); p++) {
        for (unsigned copies = 1; copies <= RING_COPIES_MAX; copies++) {
            assert_in_range(lost(before, next, p, copies), 0, 1);
            assert_in_range(lost(next, before, p, copies), 0, 1);
        }
        moves += lost(next, before, p, RING_COPIES_MAX);
    }
    return moves;
}

/* Publishes the next table; false if there is nothing to do. */
static bool publish(struct cluster *c, unsigned *moves)
{
    struct claim_input input = input_of(c);
    struct ring_table *next = &c->tables[!c->now];
    enum claim_answer answer = claim_next(&work, &input, next);

    if (answer == CLAIM_MET)
        return false;
    assert_int_equal(answer, CLAIM_NEXT);
    if (input.before->member_count > 0)
        *moves += check_step(input.before, next);
    c->now = !c->now;
    return true;
}

/* Publishes until the target is met, and returns how many owners came to partitions. */
static unsigned settle(struct cluster *c)
{
    unsigned moves = 0, steps = 0;

    while (publish(c, &moves))
        assert_in_range(++steps, 1, STEPS_MAX);
    check_rows(c, table_now(c));
    check_balance(c, table_now(c));
    return moves;
}

static unsigned owned_by(const struct cluster *c, node_id id)
{
    unsigned owned[RING_MEMBERS_MAX];
    const struct ring_table *table = &c->tables[c->now];
    int at = ring_table_find_member(table, id);

    ring_table_count(table, owned, NULL);
    return at < 0 ? 0 : owned[at];
}

/* What a life of a cluster moved, and what it had to. */
struct toll {
    double join_moves, join_shares, leave_moves, leave_shares;
};

/* A join by itself: the moves need not be more than the new member's share, rounded up. */
static void join_and_settle(struct cluster *c, uint32_t zone, uint32_t weight, struct toll *toll)
{
    bool is_first = c->count == 0;

    join(c, zone, weight);
    unsigned moves = settle(c);
    double share = share_of(c, c->count - 1);
    if (is_first)
        return;
    toll->join_moves += moves;
    toll->join_shares += ceil(share - 1e-6);
}

/* A leave by itself: the moves need not be more than what the member owned. */
static void leave_and_settle(struct cluster *c, unsigned index, struct toll *toll)
{
    unsigned owned = owned_by(c, c->members[index].id);

    remove_at(c, index);
    unsigned moves = settle(c);
    if (c->count < c->copies)
        owned = 0; /* the rows became shorter */
    toll->leave_moves += moves;
    toll->leave_shares += owned;
}

static void growing_one_by_one_to_200_moves_each_new_share_only_and_so_does_shrinking(void **state)
{
    (void)state;
    start_cluster(&cluster, 10, 3);
    for (unsigned i = 0; i < 200; i++) {
        struct toll toll = {0};
        join_and_settle(&cluster, 0, 1, &toll);
        assert_true(toll.join_moves <= toll.join_shares);
    }
    while (cluster.count > 1) {
        struct toll toll = {0};
        leave_and_settle(&cluster, cluster.count * 7 / 11, &toll);
        assert_true(toll.leave_moves <= toll.leave_shares);
    }
}

static void growing_over_three_zones_moves_each_new_share_only_and_so_does_shrinking(void **state)
{
    (void)state;
    start_cluster(&cluster, 10, 3);
    for (unsigned i = 0; i < 60; i++) {
        struct toll toll = {0};
        join_and_settle(&cluster, i % 3, 1, &toll);
        assert_true(toll.join_moves <= toll.join_shares);
    }
    while (cluster.count > 12) {
        struct toll toll = {0};
        leave_and_settle(&cluster, cluster.count * 7 / 11, &toll);
        assert_true(toll.leave_moves <= toll.leave_shares);
    }
}

/* What a random life is like. */
struct habits {
    unsigned bits, copies, zones, weights, most, changes;
    double join_excess, leave_excess; /* moves allowed over the sum of shares: 1.1 is 10 % */
};

static void change_some_member(struct random *random, struct cluster *c,
                               const struct habits *habits)
{
    unsigned index = random_below(random, c->count);

    if (random_chance(random, 50))
        c->members[index].weight = 1 + random_below(random, habits->weights);
    else
        c->members[index].zone = random_below(random, habits->zones);
}

/* Shuffles the members and checks that the next table stays the same. */
static void check_order_is_of_no_concern(struct random *random, struct cluster *c)
{
    static struct ring_table again, once;
    static unsigned char again_rows[RING_ROWS_BYTES_MAX], once_rows[RING_ROWS_BYTES_MAX];
    struct claim_input input = input_of(c);

    ring_table_init(&once, 0, 1, once_rows, sizeof once_rows);
    ring_table_init(&again, 0, 1, again_rows, sizeof again_rows);
    enum claim_answer answer = claim_next(&work, &input, &once);
    for (unsigned i = c->count; i > 1; i--) {
        unsigned j = random_below(random, i);
        struct ring_member member = c->members[i - 1];
        c->members[i - 1] = c->members[j];
        c->members[j] = member;
    }
    memset(&work, 0xa5, sizeof work); /* nothing may last from one call to the next */
    assert_int_equal(claim_next(&work, &input, &again), answer);
    assert_int_equal(answer == CLAIM_NEXT || answer == CLAIM_MET, true);
    assert_true(ring_table_same_content(&once, &again));
    assert_int_equal(ring_version_compare(once.version, again.version), 0);
}

static void live(struct random *random, const struct habits *habits)
{
    struct toll toll = {0};
    bool grows = true;

    start_cluster(&cluster, habits->bits, habits->copies);
    for (unsigned i = 0; i < habits->changes; i++) {
        if (cluster.count <= 1 || cluster.count >= habits->most)
            grows = cluster.count <= 1;
        unsigned chance = random_below(random, 100);
        uint32_t zone = random_below(random, habits->zones);
        if (cluster.count == 0 || chance < (grows ? 60 : 20)) {
            join_and_settle(&cluster, zone, 1 + random_below(random, habits->weights), &toll);
        } else if (chance < 80 && cluster.count > 1) {
            leave_and_settle(&cluster, random_below(random, cluster.count), &toll);
        } else {
            change_some_member(random, &cluster, habits);
            settle(&cluster);
        }
        if (i % 10 == 0)
            check_order_is_of_no_concern(random, &cluster);
    }
    if (getenv("CLAIM_TOLL") != NULL)
        print_message("copies %u zones %u weights %u: joins %.3f, leaves %.3f of the shares\n",
                      habits->copies, habits->zones, habits->weights,
                      toll.join_moves / toll.join_shares, toll.leave_moves / toll.leave_shares);
    assert_true(toll.join_moves <= toll.join_shares * habits->join_excess);
    assert_true(toll.leave_moves <= toll.leave_shares * habits->leave_excess);
}

static void tables_keep_their_promises_through_random_lives(void **state)
{
    static const struct habits habits[] = {
        /* One zone and equal weights, or one copy: nothing above the share. */
        {10, 3, 1, 1, 12, 100, 1, 1},
        {10, 1, 3, 4, 40, 100, 1, 1},
        /* Else the old table may leave no way that cheap; on the average it nearly does. */
        {10, 3, 3, 1, 12, 100, 1.01, 1.1},
        {10, 3, 4, 1, 12, 100, 1.01, 1.1},
        {10, 3, 5, 4, 12, 100, 1.01, 1.1},
        {10, 3, 2, 4, 12, 100, 1.01, 1.1},
        {10, 5, 3, 10, 20, 100, 1.01, 1.1},
        {8, 8, 4, 100, 40, 100, 1.01, 1.2},
        {10, 3, 30, 4, 40, 100, 1.01, 1.1},
        {8, 3, 5, 4, 200, 300, 1.01, 1.1},
        {10, 3, 1, 10, 30, 100, 1.01, 1.05},
        {10, 2, 2, 65535, 30, 100, 1.01, 1.05},
        {12, 4, 1, 3, 60, 40, 1.01, 1.1},
        /* Few partitions: rounding counts for more. */
        {6, 3, 5, 4, 40, 100, 1.05, 1.3},
        {4, 3, 5, 4, 40, 100, 1.1, 1.3},
        {1, 3, 5, 4, 40, 100, 1.1, 1.6},
        {0, 2, 5, 4, 40, 100, 1.1, 1.6},
    };
    struct random random = {1};

    (void)state;
    for (unsigned i = 0; i < sizeof habits / sizeof habits[0]; i++)
        live(&random, &habits[i]);
}

static void changes_may_come_before_the_last_target_is_met(void **state)
{
    static const struct habits habits = {.zones = 4, .weights = 3};
    struct random random = {2};
    unsigned moves = 0;

    (void)state;
    start_cluster(&cluster, 8, 3);
    join(&cluster, 0, 1);
    for (unsigned i = 0; i < 400; i++) {
        unsigned chance = random_below(&random, 100);
        if (chance < 30 && cluster.count < 40)
            join(&cluster, random_below(&random, habits.zones), 1);
        else if (chance < 60 && cluster.count > 4)
            remove_at(&cluster, random_below(&random, cluster.count));
        else
            change_some_member(&random, &cluster, &habits);
        publish(&cluster, &moves);
        if (i % 40 == 0)
            settle(&cluster);
    }
    settle(&cluster);
}

static void a_new_cluster_of_any_size_is_balanced_by_its_first_table(void **state)
{
    struct random random = {3};

    (void)state;
    for (unsigned size = 1; size <= 200; size += 1 + size / 4) {
        unsigned moves = 0;
        start_cluster(&cluster, 10, 3);
        for (unsigned i = 0; i < size; i++)
            join(&cluster, random_below(&random, 1 + size % 7),
                 1 + random_below(&random, 1 + size % 3));
        assert_true(publish(&cluster, &moves));
        check_rows(&cluster, table_now(&cluster));
        check_balance(&cluster, table_now(&cluster));
        assert_false(publish(&cluster, &moves));
    }
}

static void more_or_fewer_copies_come_one_at_a_time(void **state)
{
    static const unsigned wanted[] = {1, 5, 2, 8, 3};

    (void)state;
    start_cluster(&cluster, 8, 3);
    for (unsigned i = 0; i < 12; i++)
        join(&cluster, i % 5, 1 + i % 2);
    settle(&cluster);
    for (unsigned i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        cluster.copies = wanted[i];
        settle(&cluster);
        assert_int_equal(table_now(&cluster)->copies, wanted[i]);
    }
}

static void who_leaves_stays_a_member_until_no_row_names_it(void **state)
{
    unsigned moves = 0, tables = 0;

    (void)state;
    start_cluster(&cluster, 8, 3);
    for (unsigned i = 0; i < 6; i++)
        join(&cluster, 0, 1);
    settle(&cluster);
    node_id gone[2] = {cluster.members[1].id, cluster.members[2].id};
    remove_at(&cluster, 2);
    remove_at(&cluster, 1);
    while (publish(&cluster, &moves)) {
        tables++;
        for (unsigned i = 0; i < 2; i++) {
            int at = ring_table_find_member(table_now(&cluster), gone[i]);
            assert_int_equal(at >= 0, owned_by(&cluster, gone[i]) > 0);
            if (at >= 0)
                assert_int_equal(table_now(&cluster)->members[at].weight, 0);
        }
    }
    assert_in_range(tables, 2, STEPS_MAX); /* some rows had both */
}

static void a_member_of_weight_0_owns_nothing_and_stays_a_member(void **state)
{
    (void)state;
    start_cluster(&cluster, 8, 3);
    for (unsigned i = 0; i < 6; i++)
        join(&cluster, 0, 1);
    settle(&cluster);
    cluster.members[3].weight = 0;
    settle(&cluster);
    assert_int_equal(owned_by(&cluster, cluster.members[3].id), 0);
    assert_true(ring_table_find_member(table_now(&cluster), cluster.members[3].id) >= 0);
}

static void without_anybody_to_own_something_there_is_no_next_table(void **state)
{
    (void)state;
    start_cluster(&cluster, 8, 3);
    struct claim_input input = input_of(&cluster);
    assert_int_equal(claim_next(&work, &input, &cluster.tables[1]), CLAIM_NOBODY);
    join(&cluster, 0, 1);
    settle(&cluster);
    cluster.members[0].weight = 0;
    input = input_of(&cluster);
    assert_int_equal(claim_next(&work, &input, &cluster.tables[!cluster.now]), CLAIM_NOBODY);
}

static void more_members_than_a_table_holds_are_refused(void **state)
{
    (void)state;
    start_cluster(&cluster, 10, 3);
    for (unsigned i = 0; i < RING_MEMBERS_MAX; i++)
        join(&cluster, 0, 1);
    settle(&cluster);
    remove_at(&cluster, 9);
    join(&cluster, 0, 1);
    struct claim_input input = input_of(&cluster);
    assert_int_equal(claim_next(&work, &input, &cluster.tables[!cluster.now]), CLAIM_TOO_MANY);
}

static void the_target_is_what_the_steps_lead_to(void **state)
{
    static struct ring_table target;
    static unsigned char rows[RING_ROWS_BYTES_MAX];

    (void)state;
    ring_table_init(&target, 0, 1, rows, sizeof rows);
    start_cluster(&cluster, 8, 3);
    for (unsigned i = 0; i < 10; i++) {
        join(&cluster, i % 3, 1);
        struct claim_input input = input_of(&cluster);
        assert_int_equal(claim_target(&work, &input, &target), CLAIM_NEXT);
        settle(&cluster);
        if (i >= 3) /* before, rows grow, and zones come, by more than one owner */
            assert_true(ring_table_same_content(&target, table_now(&cluster)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(growing_one_by_one_to_200_moves_each_new_share_only_and_so_does_shrinking),
        cmocka_unit_test(growing_over_three_zones_moves_each_new_share_only_and_so_does_shrinking),
        cmocka_unit_test(tables_keep_their_promises_through_random_lives),
        cmocka_unit_test(changes_may_come_before_the_last_target_is_met),
        cmocka_unit_test(a_new_cluster_of_any_size_is_balanced_by_its_first_table),
        cmocka_unit_test(more_or_fewer_copies_come_one_at_a_time),
        cmocka_unit_test(who_leaves_stays_a_member_until_no_row_names_it),
        cmocka_unit_test(a_member_of_weight_0_owns_nothing_and_stays_a_member),
        cmocka_unit_test(without_anybody_to_own_something_there_is_no_next_table),
        cmocka_unit_test(more_members_than_a_table_holds_are_refused),
        cmocka_unit_test(the_target_is_what_the_steps_lead_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
