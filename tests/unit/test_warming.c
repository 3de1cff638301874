/* Warming: for which partitions a node may say "don't have it", and be believed. */
#include "ring/warming.h"
#include "tests/unit/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

enum { BITS = 3, PARTITIONS = 1 << BITS, COPIES = 3, NODES = 5, TABLES = 64 };
#define START_MS 100000
#define CLASSES  (1u << COPIES)

struct node_state {
    struct warming warming;
    struct warming_partition partitions[PARTITIONS];
    struct warming_peer peers[NODES];
    uint64_t words[WARMING_WORDS(BITS, NODES)];
    unsigned began, finished;
};

static void init_node(struct node_state *node, node_id self, uint64_t incarnation, unsigned classes)
{
    struct warming_memory memory = {node->partitions, node->peers, NODES, node->words};

    node->began = node->finished = 0;
    warming_init(&node->warming, self, incarnation, BITS, classes, &memory);
}

static void step(struct node_state *node, struct warming_event event)
{
    struct warming_effects effects = {0};

    warming_step(&node->warming, &event, &effects);
    node->began += effects.began;
    node->finished += effects.finished;
}

/* A table of nodes 1 to NODES, made of rows of ids. */
struct test_table {
    struct ring_table table;
    unsigned char rows[RING_ROWS_BYTES(BITS, COPIES)];
};

static void make_table(struct test_table *made, uint64_t epoch, const char *rows[PARTITIONS])
{
    ring_table_init(&made->table, BITS, COPIES, made->rows, sizeof made->rows);
    made->table.version = (struct ring_version){epoch, 1};
    made->table.member_count = NODES;
    for (unsigned i = 0; i < NODES; i++)
        made->table.members[i] = (struct ring_member){1 + i, i, 1};
    memset(made->rows, RING_NO_OWNER, sizeof made->rows);
    for (unsigned p = 0; p < PARTITIONS; p++)
        for (unsigned i = 0; rows[p][i] != 0; i++)
            made->rows[p * COPIES + i] = (unsigned char)(rows[p][i] - '1');
    assert_true(ring_table_is_sound(&made->table));
}

/* One node alone, told by hand what its peers say.  It is node 1, and owns partition 0 with nodes
 * 2 and 3; it comes to own partition 1 with the second table. */
static const char *rows_before[PARTITIONS] = {"123", "234", "345", "453",
                                              "534", "234", "345", "453"};
static const char *rows_after[PARTITIONS] = {"123", "134", "345", "453",
                                             "534", "234", "345", "453"};
static struct test_table before, after;
static struct node_state one;
static uint64_t now_ms;

struct says {
    bool reaches_you, is_warming, is_older, is_plain_ping;
    uint32_t hints;
    uint64_t oldest_age_ms;
};

static void hear_of_life(node_id from, uint64_t incarnation, struct says says)
{
    unsigned char bitmap[RING_BITMAP_BYTES(BITS)] = {0xff};
    struct ping ping = {.from = from,
                        .to = 1,
                        .incarnation = incarnation,
                        .sent_ms = now_ms,
                        .asked_by = 7,
                        .is_answer = !says.is_plain_ping,
                        .reaches_you = says.reaches_you,
                        .table = {says.is_older ? 1 : 2, 1},
                        .hints_left = says.hints,
                        .hints_oldest_age_ms = says.oldest_age_ms};

    if (says.is_warming)
        ping.warming = (struct slice){bitmap, sizeof bitmap};
    step(&one, (struct warming_event){.type = WARMING_PING, .now_ms = now_ms, .ping = &ping});
}

static void hear(node_id from, struct says says)
{
    hear_of_life(from, 1, says);
}

static void find(node_id peer)
{
    step(&one, (struct warming_event){.type = WARMING_PEER_FOUND, .now_ms = now_ms, .peer = peer});
}

static void lose(node_id peer)
{
    step(&one, (struct warming_event){.type = WARMING_PEER_LOST, .now_ms = now_ms, .peer = peer});
}

static void compare(node_id peer, unsigned partition, uint64_t started_ms)
{
    step(&one, (struct warming_event){.type = WARMING_COMPARED,
                                      .now_ms = now_ms,
                                      .peer = peer,
                                      .partition = partition,
                                      .started_ms = started_ms});
}

static void adopt(struct test_table *table, bool is_founding)
{
    step(&one, (struct warming_event){.type = WARMING_TABLE,
                                      .now_ms = now_ms,
                                      .table = &table->table,
                                      .is_founding = is_founding});
}

static const struct says all_well = {.reaches_you = true};

/* Founds the cluster, hears that all is well from everybody. */
static void set_up(void)
{
    now_ms = START_MS;
    make_table(&before, 1, rows_before);
    make_table(&after, 2, rows_after);
    init_node(&one, 1, 7, CLASSES);
    adopt(&before, true);
    for (node_id peer = 2; peer <= NODES; peer++) {
        find(peer);
        hear(peer, all_well);
    }
    now_ms += 1000;
}

static bool is_warm(unsigned partition)
{
    return warming_is_warm(&one.warming, partition);
}

/* Comes to own partition 1, with everybody's hints delivered. */
static void gain_partition(void)
{
    set_up();
    adopt(&after, false);
    assert_false(is_warm(1));
    now_ms += 10;
    for (node_id peer = 2; peer <= NODES; peer++)
        hear(peer, all_well);
}

static void a_new_cluster_starts_warm(void **state)
{
    (void)state;
    set_up();
    assert_true(is_warm(0));
    assert_false(is_warm(1)); /* not its own */
    assert_int_equal(one.began, 0);
    assert_int_equal(warming_owned(&one.warming), 1);
    unsigned char bitmap[RING_BITMAP_BYTES(BITS)];
    assert_int_equal(warming_encode(&one.warming, bitmap), 0);
}

static void a_gained_partition_is_warm_when_every_warm_owner_was_compared(void **state)
{
    (void)state;
    gain_partition();
    assert_true(is_warm(0));
    assert_true(warming_needs(&one.warming, 1, 3));
    assert_false(warming_needs(&one.warming, 1, 2)); /* owns it no more */
    compare(3, 1, now_ms);
    assert_false(is_warm(1));
    assert_false(warming_needs(&one.warming, 1, 3));
    compare(4, 1, now_ms);
    assert_true(is_warm(1));
    assert_int_equal(one.finished, 1);
}

static void its_bitmap_says_so_meanwhile(void **state)
{
    unsigned char bitmap[RING_BITMAP_BYTES(BITS)];

    (void)state;
    gain_partition();
    assert_int_equal(warming_encode(&one.warming, bitmap), sizeof bitmap);
    assert_int_equal(bitmap[0], 1 << 1);
    assert_int_equal(warming_bitmap(&one.warming, 1)[0], 1 << 1);
    compare(3, 1, now_ms);
    compare(4, 1, now_ms);
    assert_int_equal(warming_encode(&one.warming, bitmap), 0);
}

static void comparisons_from_before_it_began_do_not_count(void **state)
{
    (void)state;
    gain_partition();
    compare(3, 1, now_ms - 11);
    assert_true(warming_needs(&one.warming, 1, 3));
    compare(3, 1, now_ms - 10);
    assert_false(warming_needs(&one.warming, 1, 3));
}

static void comparisons_with_an_owner_that_warms_do_not_count(void **state)
{
    (void)state;
    gain_partition();
    hear(4, (struct says){.reaches_you = true, .is_warming = true});
    compare(4, 1, now_ms);
    hear(4, all_well); /* it is warm now, and knows more than when it was compared */
    compare(3, 1, now_ms);
    assert_false(is_warm(1));
    compare(4, 1, now_ms);
    assert_true(is_warm(1));
}

static void hints_have_to_come_from_nodes_that_own_nothing_too(void **state)
{
    (void)state;
    set_up();
    adopt(&after, false);
    now_ms += 10;
    for (node_id peer = 2; peer <= NODES; peer++)
        hear(peer, (struct says){.reaches_you = true, .hints = peer == 5, .oldest_age_ms = 500});
    compare(3, 1, now_ms);
    compare(4, 1, now_ms);
    assert_false(is_warm(1));
    now_ms += 10;
    hear(5, (struct says){.reaches_you = true, .hints = 1, .oldest_age_ms = 21});
    assert_false(is_warm(1));
    hear(5, (struct says){.reaches_you = true, .hints = 9, .oldest_age_ms = 20}); /* younger */
    assert_true(is_warm(1));
}

static void only_answers_tell_how_fresh_a_report_of_hints_is(void **state)
{
    (void)state;
    set_up();
    adopt(&after, false);
    for (node_id peer = 2; peer <= NODES; peer++)
        hear(peer, (struct says){.reaches_you = true, .is_plain_ping = true});
    compare(3, 1, now_ms);
    compare(4, 1, now_ms);
    assert_false(is_warm(1));
    for (node_id peer = 2; peer <= NODES; peer++)
        hear(peer, all_well);
    assert_true(is_warm(1));
}

static void a_peer_that_does_not_see_this_node_yet_is_waited_for(void **state)
{
    (void)state;
    gain_partition();
    compare(3, 1, now_ms);
    hear(5, (struct says){.reaches_you = false});
    compare(4, 1, now_ms);
    assert_false(is_warm(1));
    now_ms += 100;
    hear(5, (struct says){.reaches_you = true, .hints = 1, .oldest_age_ms = 1});
    assert_false(is_warm(1)); /* made while it did not see us */
    now_ms += 100;
    hear(5, all_well);
    assert_true(is_warm(1));
}

static void who_cannot_be_reached_is_not_waited_for(void **state)
{
    (void)state;
    gain_partition();
    compare(3, 1, now_ms);
    lose(4);
    assert_true(is_warm(1));
}

static void who_comes_back_has_to_be_compared_again(void **state)
{
    (void)state;
    gain_partition();
    compare(4, 1, now_ms);
    lose(4);
    now_ms += 100;
    find(4);
    hear(4, all_well);
    compare(3, 1, now_ms);
    assert_false(is_warm(1));
    compare(4, 1, now_ms - 1); /* from before it came back */
    assert_false(is_warm(1));
    compare(4, 1, now_ms);
    assert_true(is_warm(1));
}

static void if_nobody_is_warm_nobody_waits(void **state)
{
    (void)state;
    set_up();
    for (node_id peer = 3; peer <= 4; peer++)
        hear(peer, (struct says){.reaches_you = true, .is_warming = true});
    adopt(&after, false);
    assert_true(is_warm(1));
}

static void a_warming_owner_that_becomes_warm_is_compared_from_then_on(void **state)
{
    (void)state;
    gain_partition();
    hear(4, (struct says){.reaches_you = true, .is_warming = true});
    compare(3, 1, now_ms);
    assert_true(is_warm(1));
    hear(4, all_well);
    assert_true(is_warm(1)); /* what is warm stays warm */
}

static void a_node_that_starts_empty_waits_until_it_knows_its_peers(void **state)
{
    (void)state;
    now_ms = START_MS;
    make_table(&before, 1, rows_before);
    init_node(&one, 1, 7, CLASSES);
    adopt(&before, false);
    assert_false(is_warm(0));
    lose(2);
    assert_false(is_warm(0)); /* of 3 nothing is known yet */
    assert_int_equal(warming_bitmap(&one.warming, 3)[0], ~(uint64_t)0);
    lose(4);
    lose(5);
    find(3);
    assert_false(is_warm(0)); /* reachable, but warm or not? */
    now_ms += 10;
    hear(3, (struct says){.reaches_you = true, .is_older = true});
    assert_int_equal(warming_bitmap(&one.warming, 3)[0], 0);
    assert_false(is_warm(0));
    compare(3, 0, now_ms);
    assert_true(is_warm(0));
}

static void alone_it_is_warm_once_that_is_certain(void **state)
{
    (void)state;
    now_ms = START_MS;
    make_table(&before, 1, rows_before);
    init_node(&one, 1, 7, CLASSES);
    adopt(&before, false);
    lose(2);
    assert_false(is_warm(0));
    lose(3);
    assert_true(is_warm(0));
}

static void cut_off_from_a_majority_it_warms_when_it_is_back(void **state)
{
    (void)state;
    set_up();
    lose(2);
    lose(4);
    lose(5);
    assert_true(is_warm(0)); /* with 3 it is a majority */
    lose(3);
    assert_true(is_warm(0)); /* there is nobody to be better than it */
    now_ms += 100;
    find(3);
    assert_true(is_warm(0));
    hear(3, all_well);
    assert_false(is_warm(0));
    assert_int_equal(one.began, 1);
    compare(3, 0, now_ms);
    assert_true(is_warm(0));
    find(2); /* it lost but one owner since then */
    hear(2, all_well);
    assert_true(is_warm(0));
}

static void losing_a_minority_of_owners_is_no_cut(void **state)
{
    (void)state;
    set_up();
    lose(2);
    now_ms += 100;
    find(2);
    hear(2, all_well);
    assert_true(is_warm(0));
    assert_int_equal(one.began, 0);
}

static void who_others_do_not_reach_is_cut_off_too(void **state)
{
    (void)state;
    set_up();
    hear(2, (struct says){.reaches_you = false});
    hear(3, (struct says){.reaches_you = false});
    assert_true(is_warm(0));
    now_ms += 100;
    hear(2, all_well);
    assert_false(is_warm(0));
}

static void when_the_others_come_back_empty_it_stays_warm_for_them(void **state)
{
    (void)state;
    set_up();
    for (node_id peer = 2; peer <= NODES; peer++)
        lose(peer);
    for (node_id peer = 2; peer <= 3; peer++) {
        find(peer);
        hear_of_life(peer, 2, (struct says){.reaches_you = true, .is_warming = true});
    }
    assert_true(is_warm(0));
    for (node_id peer = 2; peer <= 3; peer++)
        hear_of_life(peer, 2, all_well); /* they learned all they know from it */
    assert_true(is_warm(0));
    assert_int_equal(one.began, 0);
}

static void a_peer_that_gains_a_partition_warms_before_it_knows(void **state)
{
    static const char *rows_later[PARTITIONS] = {"153", "134", "345", "453",
                                                 "534", "234", "345", "453"};
    static struct test_table later;

    (void)state;
    gain_partition();
    make_table(&later, 3, rows_later);
    adopt(&later, false);
    assert_int_equal(warming_bitmap(&one.warming, 5)[0], 1);
    hear(5, all_well); /* under the older table: it cannot know of the gain */
    assert_int_equal(warming_bitmap(&one.warming, 5)[0], 1);
}

static void a_table_that_reorders_a_row_keeps_what_was_compared(void **state)
{
    static const char *rows_later[PARTITIONS] = {"123", "431", "345", "453",
                                                 "534", "234", "345", "453"};
    static struct test_table later;

    (void)state;
    gain_partition();
    compare(3, 1, now_ms);
    make_table(&later, 3, rows_later);
    adopt(&later, false);
    assert_false(warming_needs(&one.warming, 1, 3));
    assert_true(warming_needs(&one.warming, 1, 4));
    compare(4, 1, now_ms);
    assert_true(is_warm(1));
    assert_true(is_warm(0));
}

static void a_partition_lost_while_it_warms_is_forgotten(void **state)
{
    static struct test_table later;

    (void)state;
    gain_partition();
    compare(3, 1, now_ms);
    make_table(&later, 3, rows_before);
    adopt(&later, false);
    assert_false(is_warm(1));
    assert_false(warming_needs(&one.warming, 1, 4));
    assert_int_equal(one.warming.warming_count, 0);
    now_ms += 5;
    static struct test_table again;
    make_table(&again, 4, rows_after);
    adopt(&again, false);
    assert_true(warming_needs(&one.warming, 1, 3)); /* from the start */
}

static void moving_up_a_row_gains_the_keys_with_fewer_copies(void **state)
{
    static const char *rows_later[PARTITIONS] = {"213", "243", "345", "453",
                                                 "534", "234", "345", "453"};
    static const char *rows_last[PARTITIONS] = {"132", "234", "345", "453",
                                                "534", "234", "345", "453"};
    static struct test_table first, second;

    (void)state;
    now_ms = START_MS;
    make_table(&first, 1, rows_later);
    make_table(&second, 2, rows_last);
    init_node(&one, 1, 7, 1u << 3 | 1u << 1); /* some keys have one copy only */
    adopt(&first, true);
    for (node_id peer = 2; peer <= NODES; peer++)
        find(peer);
    assert_true(is_warm(0));
    adopt(&second, false);
    assert_false(is_warm(0));
}

static void members_come_and_go(void **state)
{
    (void)state;
    gain_partition();
    step(&one, (struct warming_event){.type = WARMING_PEER_GONE, .now_ms = now_ms, .peer = 4});
    step(&one, (struct warming_event){.type = WARMING_PEER_GONE, .now_ms = now_ms, .peer = 99});
    compare(3, 1, now_ms);
    assert_true(is_warm(1)); /* 4 is in the table yet, but not to be reached */
}

static void what_makes_no_sense_changes_nothing(void **state)
{
    unsigned char bitmap[7] = {0};
    struct ping ping = {.from = 3, .to = 2, .incarnation = 1, .is_answer = true};

    (void)state;
    gain_partition();
    step(&one, (struct warming_event){.type = WARMING_PING, .now_ms = now_ms, .ping = &ping});
    ping.to = 1;
    ping.from = 77;
    step(&one, (struct warming_event){.type = WARMING_PING, .now_ms = now_ms, .ping = &ping});
    ping.from = 3;
    ping.incarnation = 0; /* an earlier life */
    step(&one, (struct warming_event){.type = WARMING_PING, .now_ms = now_ms, .ping = &ping});
    assert_int_equal(warming_bitmap(&one.warming, 3)[0], 0);
    assert_int_equal(one.peers[0].link, WARMING_CONNECTED);
    compare(77, 1, now_ms);
    compare(2, 1, now_ms);
    ping.incarnation = 1;
    ping.reaches_you = true;
    ping.table = (struct ring_version){2, 1};
    ping.warming = (struct slice){bitmap, sizeof bitmap}; /* of another number of partitions */
    step(&one, (struct warming_event){.type = WARMING_PING, .now_ms = now_ms, .ping = &ping});
    assert_true(warming_bitmap(&one.warming, 3)[0] != 0);
}

/* A whole cluster: nodes hold sets of writes, leave hints for each other, cut each other off,
 * restart empty, and change tables.  Whoever becomes warm must hold what the other warm owners
 * held when it began to warm, and must have had the hints of that time. */
enum { WRITES = 512, HINTS = 4096 };

struct write_set {
    uint64_t words[WRITES / 64];
};

struct cluster_hint {
    unsigned holder, target, partition, write;
    uint64_t made_ms;
};

static struct {
    struct random random;
    struct node_state nodes[NODES];
    uint64_t incarnations[NODES];
    struct write_set held[NODES][PARTITIONS];
    struct write_set then[NODES][PARTITIONS][NODES]; /* what others held when it began to warm */
    bool is_cut[NODES][NODES], reaches[NODES][NODES], has_opinion[NODES][NODES];
    struct test_table tables[TABLES];
    unsigned table_count, table_of[NODES];
    struct cluster_hint hints[HINTS];
    unsigned hint_count, write_count, finished;
} world;

static bool owns(unsigned node, unsigned partition)
{
    return ring_table_is_owner(&world.tables[world.table_of[node]].table, partition, COPIES,
                               node + 1);
}

static bool has_old_hints(unsigned node, unsigned partition, uint64_t since_ms)
{
    for (unsigned i = 0; i < world.hint_count; i++) {
        const struct cluster_hint *hint = &world.hints[i];
        if (hint->target == node && hint->partition == partition && hint->made_ms < since_ms &&
            world.reaches[node][hint->holder] && world.has_opinion[node][hint->holder])
            return true;
    }
    return false;
}

static void check_caught_up(unsigned node, unsigned partition, uint64_t since_ms)
{
    bool has_warm = false;

    for (unsigned other = 0; other < NODES; other++) {
        if (other == node || !world.has_opinion[node][other] || !world.reaches[node][other] ||
            !owns(other, partition) || !owns(node, partition) ||
            !ring_table_is_owner(&world.tables[world.table_of[node]].table, partition, COPIES,
                                 other + 1) ||
            !warming_is_warm(&world.nodes[other].warming, partition) ||
            (warming_bitmap(&world.nodes[node].warming, other + 1)[0] >> partition & 1) != 0)
            continue;
        has_warm = true;
        for (unsigned w = 0; w < WRITES / 64; w++) {
            uint64_t lacks = world.then[node][partition][other].words[w] &
                             world.held[other][partition].words[w] &
                             ~world.held[node][partition].words[w];
            assert_int_equal(lacks, 0);
        }
    }
    if (has_warm)
        assert_false(has_old_hints(node, partition, since_ms));
    world.finished += has_warm;
}

static void world_step(unsigned node, struct warming_event event)
{
    struct node_state *state = &world.nodes[node];
    struct warming_partition were[PARTITIONS];

    memcpy(were, state->partitions, sizeof were);
    event.now_ms = now_ms;
    step(state, event);
    for (unsigned p = 0; p < PARTITIONS; p++) {
        const struct warming_partition *is = &state->partitions[p];
        if (is->state == WARMING_WARMING &&
            (were[p].state != WARMING_WARMING || were[p].since_ms != is->since_ms))
            for (unsigned other = 0; other < NODES; other++)
                world.then[node][p][other] = world.held[other][p];
        if (is->state == WARMING_WARM && were[p].state == WARMING_WARMING)
            check_caught_up(node, p, were[p].since_ms);
    }
    unsigned count = 0;
    for (unsigned p = 0; p < PARTITIONS; p++)
        count += state->partitions[p].state == WARMING_WARMING;
    assert_int_equal(count, state->warming.warming_count);
}

static void world_ping(unsigned from, unsigned to, uint64_t sent_ms, bool is_answer)
{
    unsigned char bitmap[RING_BITMAP_BYTES(BITS)];
    struct ping ping = {.from = from + 1,
                        .to = to + 1,
                        .incarnation = world.incarnations[from],
                        .sent_ms = sent_ms,
                        .asked_by = is_answer ? world.incarnations[to] : 0,
                        .is_answer = is_answer,
                        .reaches_you = world.has_opinion[from][to] && world.reaches[from][to],
                        .table = world.tables[world.table_of[from]].table.version};

    if (world.is_cut[from][to])
        return;
    for (unsigned i = 0; i < world.hint_count; i++)
        if (world.hints[i].holder == from && world.hints[i].target == to) {
            uint64_t age_ms = now_ms - world.hints[i].made_ms;
            ping.hints_left++;
            if (age_ms > ping.hints_oldest_age_ms)
                ping.hints_oldest_age_ms = age_ms;
        }
    ping.warming = (struct slice){bitmap, warming_encode(&world.nodes[from].warming, bitmap)};
    world_step(to, (struct warming_event){.type = WARMING_PING, .ping = &ping});
}

static void exchange_pings(unsigned from, unsigned to)
{
    world_ping(from, to, now_ms, false);
    if (!world.is_cut[from][to])
        world_ping(to, from, now_ms, true);
}

static void form_opinion(unsigned node, unsigned peer)
{
    bool is_reachable = !world.is_cut[node][peer] && !world.is_cut[peer][node];

    if (world.has_opinion[node][peer] && world.reaches[node][peer] == is_reachable)
        return;
    world.has_opinion[node][peer] = true;
    world.reaches[node][peer] = is_reachable;
    world_step(node,
               (struct warming_event){.type = is_reachable ? WARMING_PEER_FOUND : WARMING_PEER_LOST,
                                      .peer = peer + 1});
}

static void add_write(struct write_set *set, unsigned write)
{
    set->words[write / 64] |= (uint64_t)1 << (write % 64);
}

static void world_write(unsigned coordinator, unsigned partition)
{
    unsigned write = world.write_count++ % WRITES;
    node_id owners[RING_COPIES_MAX];
    unsigned count = ring_table_owners(&world.tables[world.table_of[coordinator]].table, partition,
                                       COPIES, owners);

    for (unsigned i = 0; i < count; i++) {
        unsigned owner = (unsigned)owners[i] - 1;
        bool is_asked = owner == coordinator || (world.has_opinion[coordinator][owner] &&
                                                 world.reaches[coordinator][owner]);
        if (is_asked && !world.is_cut[coordinator][owner])
            add_write(&world.held[owner][partition], write);
        else if (world.hint_count < HINTS)
            world.hints[world.hint_count++] =
                (struct cluster_hint){coordinator, owner, partition, write, now_ms};
    }
}

static void deliver_hint(unsigned i)
{
    struct cluster_hint hint = world.hints[i];

    if (!world.reaches[hint.holder][hint.target] || !world.has_opinion[hint.holder][hint.target] ||
        world.is_cut[hint.holder][hint.target] || world.is_cut[hint.target][hint.holder])
        return;
    add_write(&world.held[hint.target][hint.partition], hint.write);
    world.hints[i] = world.hints[--world.hint_count];
}

static void world_compare(unsigned a, unsigned b, unsigned partition)
{
    if (!owns(a, partition) || !owns(b, partition) || world.is_cut[a][b] || world.is_cut[b][a])
        return;
    for (unsigned w = 0; w < WRITES / 64; w++) {
        uint64_t both = world.held[a][partition].words[w] | world.held[b][partition].words[w];
        world.held[a][partition].words[w] = world.held[b][partition].words[w] = both;
    }
    world_step(a, (struct warming_event){.type = WARMING_COMPARED,
                                         .peer = b + 1,
                                         .partition = partition,
                                         .started_ms = now_ms});
    world_step(b, (struct warming_event){.type = WARMING_COMPARED,
                                         .peer = a + 1,
                                         .partition = partition,
                                         .started_ms = now_ms});
}

/* The next table: one owner changed in some rows. */
static void make_next_table(void)
{
    struct test_table *last = &world.tables[world.table_count - 1];
    struct test_table *next = &world.tables[world.table_count];

    if (world.table_count == TABLES)
        return;
    world.table_count++;
    ring_table_init(&next->table, BITS, COPIES, next->rows, sizeof next->rows);
    ring_table_copy(&next->table, &last->table);
    next->table.version.epoch++;
    for (unsigned p = 0; p < PARTITIONS; p++) {
        unsigned char *row = &next->rows[p * COPIES],
                      in = (unsigned char)random_below(&world.random, NODES);
        if (random_chance(&world.random, 70) || row[0] == in || row[1] == in || row[2] == in)
            continue;
        row[random_below(&world.random, COPIES)] = in;
    }
    assert_true(ring_table_is_sound(&next->table));
}

static void adopt_table(unsigned node, unsigned table, bool is_founding)
{
    if (table == world.table_of[node] && !is_founding)
        return;
    world.table_of[node] = table;
    world_step(node, (struct warming_event){.type = WARMING_TABLE,
                                            .table = &world.tables[table].table,
                                            .is_founding = is_founding});
}

static void restart_node(unsigned node)
{
    unsigned table = world.table_of[node];

    memset(world.held[node], 0, sizeof world.held[node]);
    memset(world.has_opinion[node], 0, sizeof world.has_opinion[node]);
    for (unsigned i = 0; i < world.hint_count;)
        if (world.hints[i].holder == node)
            world.hints[i] = world.hints[--world.hint_count];
        else
            i++;
    init_node(&world.nodes[node], node + 1, ++world.incarnations[node], CLASSES);
    world.table_of[node] = TABLES;
    adopt_table(node, table, false);
}

static void start_world(uint64_t seed)
{
    memset(&world, 0, sizeof world);
    now_ms = START_MS;
    world.random.state = seed;
    make_table(&world.tables[0], 1, rows_before);
    world.table_count = 1;
    for (unsigned i = 0; i < NODES; i++) {
        world.incarnations[i] = 1;
        init_node(&world.nodes[i], i + 1, 1, CLASSES);
        adopt_table(i, 0, true);
    }
}

static void wander(void)
{
    struct random *random = &world.random;
    unsigned a = random_below(random, NODES), b = random_below(random, NODES);
    unsigned p = random_below(random, PARTITIONS);

    now_ms += random_below(random, 20);
    switch (random_below(random, 40)) {
    case 0:
        if (a != b)
            world.is_cut[a][b] = random_chance(random, 50);
        return;
    case 1:
        if (random_chance(random, 30))
            restart_node(a);
        return;
    case 2:
        if (random_chance(random, 30))
            make_next_table();
        return;
    case 3:
    case 4:
        if (world.table_of[a] + 1 < world.table_count)
            adopt_table(a, world.table_of[a] + 1, false);
        return;
    case 5:
    case 6:
    case 7:
    case 8: world_write(a, p); return;
    case 9:
    case 10:
    case 11:
    case 12:
        if (world.hint_count > 0)
            deliver_hint(random_below(random, world.hint_count));
        return;
    default:
        if (a == b)
            return;
        if (random_chance(random, 30))
            form_opinion(a, b);
        else if (random_chance(random, 50))
            exchange_pings(a, b);
        else
            world_compare(a, b, p);
    }
}

static void settle(void)
{
    memset(world.is_cut, 0, sizeof world.is_cut);
    for (unsigned round = 0; round < 4; round++) {
        now_ms += 500;
        for (unsigned a = 0; a < NODES; a++) {
            adopt_table(a, world.table_count - 1, false);
            for (unsigned b = 0; b < NODES; b++)
                if (a != b) {
                    form_opinion(a, b);
                    exchange_pings(a, b);
                }
        }
        while (world.hint_count > 0)
            deliver_hint(world.hint_count - 1);
        for (unsigned a = 0; a < NODES; a++)
            for (unsigned b = 0; b < a; b++)
                for (unsigned p = 0; p < PARTITIONS; p++)
                    world_compare(a, b, p);
    }
}

static void in_any_world_the_warm_know_what_the_warm_knew_and_all_become_warm(void **state)
{
    unsigned finished = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        start_world(seed);
        for (unsigned i = 0; i < 3000; i++)
            wander();
        settle();
        for (unsigned n = 0; n < NODES; n++)
            for (unsigned p = 0; p < PARTITIONS; p++)
                assert_int_equal(warming_is_warm(&world.nodes[n].warming, p), owns(n, p));
        finished += world.finished;
    }
    assert_true(finished > 3000); /* that much was checked */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_cluster_starts_warm),
        cmocka_unit_test(a_gained_partition_is_warm_when_every_warm_owner_was_compared),
        cmocka_unit_test(its_bitmap_says_so_meanwhile),
        cmocka_unit_test(comparisons_from_before_it_began_do_not_count),
        cmocka_unit_test(comparisons_with_an_owner_that_warms_do_not_count),
        cmocka_unit_test(hints_have_to_come_from_nodes_that_own_nothing_too),
        cmocka_unit_test(only_answers_tell_how_fresh_a_report_of_hints_is),
        cmocka_unit_test(a_peer_that_does_not_see_this_node_yet_is_waited_for),
        cmocka_unit_test(who_cannot_be_reached_is_not_waited_for),
        cmocka_unit_test(who_comes_back_has_to_be_compared_again),
        cmocka_unit_test(if_nobody_is_warm_nobody_waits),
        cmocka_unit_test(a_warming_owner_that_becomes_warm_is_compared_from_then_on),
        cmocka_unit_test(a_node_that_starts_empty_waits_until_it_knows_its_peers),
        cmocka_unit_test(alone_it_is_warm_once_that_is_certain),
        cmocka_unit_test(cut_off_from_a_majority_it_warms_when_it_is_back),
        cmocka_unit_test(losing_a_minority_of_owners_is_no_cut),
        cmocka_unit_test(who_others_do_not_reach_is_cut_off_too),
        cmocka_unit_test(when_the_others_come_back_empty_it_stays_warm_for_them),
        cmocka_unit_test(a_peer_that_gains_a_partition_warms_before_it_knows),
        cmocka_unit_test(a_table_that_reorders_a_row_keeps_what_was_compared),
        cmocka_unit_test(a_partition_lost_while_it_warms_is_forgotten),
        cmocka_unit_test(moving_up_a_row_gains_the_keys_with_fewer_copies),
        cmocka_unit_test(members_come_and_go),
        cmocka_unit_test(what_makes_no_sense_changes_nothing),
        cmocka_unit_test(in_any_world_the_warm_know_what_the_warm_knew_and_all_become_warm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
