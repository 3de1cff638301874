/* Liveness, hints and warming at work together, over the pings that connect them: a few nodes with
 * a network that is cut and heals, and with writes all the while.  A key is a partition here, and
 * what a node holds of it a set of writes. */
#include "ring/hints.h"
#include "ring/liveness.h"
#include "ring/warming.h"
#include "tests/unit/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { BITS = 3, PARTITIONS = 1 << BITS, COPIES = 3, NODES = 5, WRITES = 256, FLIGHT = 8192 };
#define START_MS 50000

struct set {
    uint64_t words[WRITES / 64];
};

/* What is kept of a partition on behalf of others: all its writes at once, as a cell is. */
struct kept {
    struct hinted cell;
    struct set writes;
    struct hint hints[NODES];
};

struct node {
    struct liveness liveness;
    struct hints hints;
    struct hints_target targets[NODES];
    struct token_bucket bucket;
    struct warming warming;
    struct warming_partition partitions[PARTITIONS];
    struct warming_peer peers[NODES];
    uint64_t words[WARMING_WORDS(BITS, NODES)];
    uint64_t incarnation;
    bool is_stopped;
    struct kept kept[PARTITIONS];
    struct set held[PARTITIONS];
};

enum message_type { MESSAGE_PING, MESSAGE_HINT, MESSAGE_ACK, MESSAGE_COMPARE, MESSAGE_COMPARED };

struct message {
    enum message_type type;
    unsigned from, to;
    uint64_t arrives_ms, number, started_ms;
    unsigned partition;
    struct set writes;
    struct ping ping;
    unsigned char bitmap[RING_BITMAP_BYTES(BITS)];
};

static struct {
    uint64_t now_ms;
    struct random random;
    struct node nodes[NODES];
    bool is_cut[NODES][NODES];
    unsigned loss_percent;
    struct message flight[FLIGHT];
    unsigned flight_count;
    struct ring_table table;
    unsigned char rows[RING_ROWS_BYTES(BITS, COPIES)];
    struct set written[PARTITIONS];
    unsigned write_count, began, finished;
} world;

static void add(struct set *into, const struct set *from)
{
    for (unsigned w = 0; w < WRITES / 64; w++)
        into->words[w] |= from->words[w];
}

static bool has_all(const struct set *set, const struct set *wanted)
{
    for (unsigned w = 0; w < WRITES / 64; w++)
        if ((wanted->words[w] & ~set->words[w]) != 0)
            return false;
    return true;
}

static bool owns(unsigned node, unsigned partition)
{
    return ring_table_is_owner(&world.table, partition, COPIES, node + 1);
}

static void post(struct message *message)
{
    if (world.is_cut[message->from][message->to] ||
        random_chance(&world.random, world.loss_percent))
        return;
    message->arrives_ms = world.now_ms + 1 + random_below(&world.random, 10);
    assert_true(world.flight_count < FLIGHT);
    world.flight[world.flight_count++] = *message;
}

static void carry_out_hints(unsigned n, const struct hints_effects *effects)
{
    struct node *node = &world.nodes[n];

    for (unsigned i = 0; i < effects->deliver_count; i++) {
        const struct hints_deliver *deliver = &effects->delivers[i];
        struct kept *kept = (struct kept *)(void *)deliver->hint->cell;
        struct message message = {.type = MESSAGE_HINT,
                                  .from = n,
                                  .to = (unsigned)deliver->target - 1,
                                  .number = deliver->number,
                                  .partition = (unsigned)(kept - node->kept),
                                  .writes = kept->writes};
        post(&message);
    }
    for (unsigned i = 0; i < effects->release_count; i++)
        assert_int_equal(effects->releases[i].reason, HINTS_DELIVERED);
}

static void step_hints(unsigned n, struct hints_event event)
{
    struct hints_effects effects = {0};

    event.now_ms = world.now_ms;
    event.bucket = &world.nodes[n].bucket;
    hints_step(&world.nodes[n].hints, &event, &effects);
    carry_out_hints(n, &effects);
}

static void step_warming(unsigned n, struct warming_event event)
{
    struct warming_effects effects = {0};

    event.now_ms = world.now_ms;
    warming_step(&world.nodes[n].warming, &event, &effects);
    world.began += effects.began;
    world.finished += effects.finished;
}

static void send_ping(unsigned n, const struct ping *ping)
{
    struct node *node = &world.nodes[n];
    struct message message = {
        .type = MESSAGE_PING, .from = n, .to = (unsigned)ping->to - 1, .ping = *ping};

    message.ping.table = world.table.version;
    message.ping.hints_left = hints_left(&node->hints, ping->to);
    message.ping.hints_oldest_age_ms = hints_oldest_age_ms(&node->hints, ping->to, world.now_ms);
    message.ping.warming.size = warming_encode(&node->warming, message.bitmap);
    post(&message);
}

static void step_liveness(unsigned n, struct liveness_event event)
{
    struct liveness_effects effects = {0};

    event.now_ms = world.now_ms;
    liveness_step(&world.nodes[n].liveness, &event, &effects);
    for (unsigned i = 0; i < effects.change_count; i++) {
        node_id peer = effects.changes[i].peer;
        switch (effects.changes[i].type) {
        case LIVENESS_BECAME_REACHABLE:
            step_hints(n, (struct hints_event){.type = HINTS_REACHABLE, .target = peer});
            step_warming(n, (struct warming_event){.type = WARMING_PEER_FOUND, .peer = peer});
            break;
        case LIVENESS_BECAME_UNREACHABLE:
            step_hints(n, (struct hints_event){.type = HINTS_UNREACHABLE, .target = peer});
            step_warming(n, (struct warming_event){.type = WARMING_PEER_LOST, .peer = peer});
            break;
        case LIVENESS_RESTARTED: break;
        }
    }
    for (unsigned i = 0; i < effects.send_count; i++)
        send_ping(n, &effects.sends[i]);
}

static void on_compare(unsigned n, struct message *message)
{
    struct message answer = {.type = MESSAGE_COMPARED,
                             .from = n,
                             .to = message->from,
                             .partition = message->partition,
                             .started_ms = message->started_ms,
                             .number = message->number,
                             .writes = world.nodes[n].held[message->partition]};

    add(&world.nodes[n].held[message->partition], &message->writes);
    post(&answer);
}

static void receive(struct message *message)
{
    unsigned n = message->to;
    struct node *node = &world.nodes[n];
    struct message ack = {
        .type = MESSAGE_ACK, .from = n, .to = message->from, .number = message->number};

    switch (message->type) {
    case MESSAGE_PING:
        message->ping.warming.bytes = message->bitmap;
        step_liveness(n, (struct liveness_event){.type = LIVENESS_PING, .ping = &message->ping});
        step_warming(n, (struct warming_event){.type = WARMING_PING, .ping = &message->ping});
        return;
    case MESSAGE_HINT:
        add(&node->held[message->partition], &message->writes);
        post(&ack);
        return;
    case MESSAGE_ACK: {
        struct hint_ack said = {message->from + 1, n + 1, message->number, HINT_STORED};
        step_hints(n, (struct hints_event){.type = HINTS_ACK, .ack = &said});
        return;
    }
    case MESSAGE_COMPARE: on_compare(n, message); return;
    case MESSAGE_COMPARED:
        if (message->number != node->incarnation)
            return;
        add(&node->held[message->partition], &message->writes);
        step_warming(n, (struct warming_event){.type = WARMING_COMPARED,
                                               .peer = message->from + 1,
                                               .partition = message->partition,
                                               .started_ms = message->started_ms});
        return;
    }
}

/* What it still has to compare, with whom it can, now and then. */
static void compare_some(unsigned n)
{
    unsigned partition = random_below(&world.random, PARTITIONS);
    unsigned peer = random_below(&world.random, NODES);
    struct message message = {.type = MESSAGE_COMPARE,
                              .from = n,
                              .to = peer,
                              .partition = partition,
                              .started_ms = world.now_ms,
                              .number = world.nodes[n].incarnation,
                              .writes = world.nodes[n].held[partition]};

    if (warming_needs(&world.nodes[n].warming, partition, peer + 1) &&
        liveness_is_reachable(&world.nodes[n].liveness, peer + 1))
        post(&message);
}

/* To the owners that it reaches at once, and with hints for the others and where the message was
 * lost. */
static void write_some(unsigned n)
{
    struct node *node = &world.nodes[n];
    unsigned partition = random_below(&world.random, PARTITIONS), write = world.write_count;
    struct kept *kept = &node->kept[partition];
    struct set one = {0};

    if (world.write_count == WRITES)
        return;
    world.write_count++;
    one.words[write / 64] = (uint64_t)1 << (write % 64);
    add(&world.written[partition], &one);
    for (unsigned owner = 0; owner < NODES; owner++) {
        if (!owns(owner, partition))
            continue;
        bool is_lost = world.is_cut[n][owner] || world.nodes[owner].is_stopped ||
                       random_chance(&world.random, world.loss_percent);
        if (owner == n || (liveness_is_reachable(&node->liveness, owner + 1) && !is_lost)) {
            add(&world.nodes[owner].held[partition], &one);
            continue;
        }
        struct hint *present = hints_find(&node->hints, &kept->cell, owner + 1);
        add(&kept->writes, &one);
        assert_int_equal(
            hints_add(&node->hints, &kept->cell, &kept->hints[owner], owner + 1, 10, world.now_ms),
            present != NULL ? HINTS_REPEATED : HINTS_ADDED);
    }
}

static void run_ms(unsigned ms, unsigned writes_percent)
{
    for (uint64_t end_ms = world.now_ms + ms; world.now_ms < end_ms; world.now_ms++) {
        for (unsigned i = 0; i < world.flight_count;) {
            struct message message = world.flight[i];
            if (message.arrives_ms > world.now_ms) {
                i++;
                continue;
            }
            world.flight[i] = world.flight[--world.flight_count];
            if (!world.nodes[message.to].is_stopped)
                receive(&message);
        }
        for (unsigned n = 0; n < NODES; n++) {
            struct node *node = &world.nodes[n];
            if (node->is_stopped)
                continue;
            while (liveness_deadline_ms(&node->liveness) <= world.now_ms)
                step_liveness(n, (struct liveness_event){.type = LIVENESS_TICK});
            while (hints_deadline_ms(&node->hints, &node->bucket) <= world.now_ms)
                step_hints(n, (struct hints_event){.type = HINTS_TICK});
            compare_some(n);
            if (random_below(&world.random, 10000) < writes_percent)
                write_some(n);
        }
    }
}

static void start_node(unsigned n, bool is_founding)
{
    struct node *node = &world.nodes[n];
    uint64_t incarnation = node->incarnation + 1;
    node_id ids[NODES];

    memset(node, 0, sizeof *node);
    node->incarnation = incarnation;
    for (unsigned i = 0; i < NODES; i++)
        ids[i] = i + 1;
    liveness_init(&node->liveness, n + 1, incarnation, NULL, world.now_ms);
    liveness_set_peers(&node->liveness, ids, NODES, world.now_ms);
    hints_init(&node->hints, NULL, node->targets, NODES, world.now_ms * 1000);
    token_bucket_init(&node->bucket, 100000, 10000, world.now_ms);
    struct warming_memory memory = {node->partitions, node->peers, NODES, node->words};
    warming_init(&node->warming, n + 1, incarnation, BITS, 1u << COPIES, &memory);
    step_warming(n, (struct warming_event){
                        .type = WARMING_TABLE, .table = &world.table, .is_founding = is_founding});
}

static void set_up(uint64_t seed)
{
    memset(&world, 0, sizeof world);
    world.now_ms = START_MS;
    world.random.state = seed;
    ring_table_init(&world.table, BITS, COPIES, world.rows, sizeof world.rows);
    world.table.version = (struct ring_version){1, 1};
    world.table.member_count = NODES;
    for (unsigned i = 0; i < NODES; i++)
        world.table.members[i] = (struct ring_member){1 + i, i, 1};
    for (unsigned p = 0; p < PARTITIONS; p++)
        for (unsigned i = 0; i < COPIES; i++)
            world.rows[p * COPIES + i] = (unsigned char)((p + i) % NODES);
    for (unsigned n = 0; n < NODES; n++)
        start_node(n, true);
    run_ms(1000, 0);
}

static void cut_off(unsigned n, bool is_cut)
{
    for (unsigned i = 0; i < NODES; i++)
        world.is_cut[i][n] = world.is_cut[n][i] = is_cut;
}

static bool all_is_well(void)
{
    for (unsigned n = 0; n < NODES; n++) {
        if (world.nodes[n].hints.count > 0)
            return false;
        for (unsigned p = 0; p < PARTITIONS; p++)
            if (warming_is_warm(&world.nodes[n].warming, p) != owns(n, p) ||
                world.nodes[n].partitions[p].was_cut_off)
                return false;
    }
    return true;
}

static void settle(void)
{
    memset(world.is_cut, 0, sizeof world.is_cut);
    world.loss_percent = 0;
    for (unsigned n = 0; n < NODES; n++)
        world.nodes[n].is_stopped = false;
    for (unsigned ms = 0; !all_is_well(); ms += 100) {
        assert_true(ms < 30000);
        run_ms(100, 0);
    }
}

static void check_that_owners_hold_all(void)
{
    for (unsigned n = 0; n < NODES; n++)
        for (unsigned p = 0; p < PARTITIONS; p++)
            if (owns(n, p))
                assert_true(has_all(&world.nodes[n].held[p], &world.written[p]));
}

static void a_node_that_was_cut_off_warms_until_it_has_all(void **state)
{
    (void)state;
    set_up(1);
    run_ms(3000, 100);
    assert_int_equal(world.began, 0);
    cut_off(0, true);
    run_ms(8000, 100);
    unsigned left = 0;
    for (unsigned n = 1; n < NODES; n++)
        left += hints_left(&world.nodes[n].hints, 1);
    assert_true(left > 0);
    cut_off(0, false);
    settle();
    assert_int_equal(world.began, warming_owned(&world.nodes[0].warming));
    assert_int_equal(world.finished, world.began);
    check_that_owners_hold_all();
}

static void a_node_that_slept_is_cut_off_too(void **state)
{
    (void)state;
    set_up(2);
    world.nodes[2].is_stopped = true;
    run_ms(9000, 100);
    world.nodes[2].is_stopped = false;
    settle();
    assert_true(world.began >= warming_owned(&world.nodes[2].warming));
    check_that_owners_hold_all();
}

static void a_node_that_comes_back_empty_has_all_before_it_is_believed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        set_up(seed);
        run_ms(3000, 200);
        start_node(1, false);
        while (world.nodes[1].warming.warming_count > 0)
            run_ms(1, 0);
        for (unsigned p = 0; p < PARTITIONS; p++)
            if (owns(1, p))
                assert_true(has_all(&world.nodes[1].held[p], &world.written[p]));
        settle();
    }
}

/* However links are cut, flap and lose messages, and nodes sleep: in the end hints alone have
 * brought every write to all its owners, and everybody is warm. */
static void after_any_cuts_every_owner_has_every_write(void **state)
{
    struct random random = {.state = 77};

    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        set_up(seed);
        for (unsigned i = 0; i < 40; i++) {
            unsigned a = random_below(&random, NODES), b = random_below(&random, NODES);
            switch (random_below(&random, 6)) {
            case 0: world.is_cut[a][b] = a != b && random_chance(&random, 60); break;
            case 1: world.is_cut[a][b] = world.is_cut[b][a] = a != b; break;
            case 2: world.is_cut[a][b] = world.is_cut[b][a] = false; break;
            case 3: cut_off(a, random_chance(&random, 50)); break;
            case 4: world.nodes[a].is_stopped = random_chance(&random, 40); break;
            case 5: world.loss_percent = random_below(&random, 20); break;
            }
            world.is_cut[a][a] = world.is_cut[b][b] = false;
            run_ms(random_below(&random, 2500), 10);
        }
        settle();
        check_that_owners_hold_all();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_that_was_cut_off_warms_until_it_has_all),
        cmocka_unit_test(a_node_that_slept_is_cut_off_too),
        cmocka_unit_test(a_node_that_comes_back_empty_has_all_before_it_is_believed),
        cmocka_unit_test(after_any_cuts_every_owner_has_every_write),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
