/* What nodes do in the background (server/node_repair.h), between stores in one process: the real
 * machines, cells and frames; only the links, the clocks and who is reachable are made up here. */
#include "ring/key_hash.h"
#include "server/cell_item.h"
#include "server/cluster.h"
#include "server/clock.h"
#include "server/node_repair.h"
#include "server/settings.h"
#include "tests/unit/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define NODES          3
#define PARTITION_BITS 4
#define PARTITIONS     (1u << PARTITION_BITS)
#define WALL_MS        ((uint64_t)1800000000000)
#define PING_MS        200
#define STEP_MS        10
#define SIBLINGS       8
#define MB             ((uint64_t)1 << 20)
#define LONG_BYTES     20000

struct frame {
    struct frame *next;
    unsigned from, to;
    size_t size;
    unsigned char bytes[];
};

static struct node nodes[NODES];
static struct {
    uint64_t now_ms;
    bool is_down[NODES];
    unsigned char rows[2][PARTITIONS * NODES];
    struct ring_table tables[2];
    struct frame *first, **end;
    uint64_t sent_bytes; /* of all but pings, which are no frames here */
    struct peer_room room;
} world;

static node_id id_of(unsigned index)
{
    return 100 + index;
}

static unsigned index_of(const struct node *node)
{
    return (unsigned)(node - nodes);
}

/* --- what node_repair.h needs of a node --- */

uint64_t node_now_ms(const struct node *node)
{
    (void)node;
    return world.now_ms;
}

uint64_t node_wall_ms(const struct node *node)
{
    (void)node;
    return WALL_MS + world.now_ms;
}

uint64_t node_wait_ms(uint64_t ms)
{
    return ms;
}

void node_set_wake(struct node *node)
{
    (void)node;
}

void node_publish(struct node *node)
{
    (void)node;
}

void node_saw_cell(struct node *node, const struct cell *cell)
{
    (void)node;
    assert_true(cell->sibling_count > 0);
}

struct hint_queue *cluster_hints(struct cluster *cluster)
{
    return node_repair_hints((struct repair *)cluster);
}

bool liveness_is_reachable(const struct liveness *liveness, node_id peer)
{
    const struct node *node =
        (const struct node *)((const char *)liveness - offsetof(struct node, liveness));

    return !world.is_down[index_of(node)] && !world.is_down[peer - 100];
}

bool node_send(struct node *node, node_id to, const struct peer_message *message)
{
    const size_t head = peer_head_bytes(message);
    const size_t size = head + (size_t)peer_value_bytes(message);
    const unsigned from = index_of(node), at = (unsigned)(to - 100);
    struct slice values[EXCHANGE_KEYS_MAX * SIBLINGS];
    struct frame *frame;
    unsigned char *out;
    unsigned count;

    if (world.is_down[from] || world.is_down[at])
        return false;
    frame = malloc(sizeof *frame + size);
    *frame = (struct frame){.from = from, .to = at, .size = size};
    assert_int_equal(peer_encode_head(message, frame->bytes), head);
    out = frame->bytes + head;
    count = peer_values(message, values, EXCHANGE_KEYS_MAX * SIBLINGS);
    for (unsigned i = 0; i < count; i++) {
        memcpy(out, values[i].bytes, values[i].size);
        out += values[i].size;
    }
    assert_ptr_equal(out, frame->bytes + size);
    *world.end = frame;
    world.end = &frame->next;
    world.sent_bytes += size;
    return true;
}

bool node_send_item(struct node *node, node_id to, const struct peer_message *message,
                    struct item *item)
{
    assert_true((item->bits & ITEM_LONG) != 0);
    return node_send(node, to, message);
}

/* --- the world --- */

static void make_tables(void)
{
    for (unsigned i = 0; i < 2; i++) {
        struct ring_table *table = &world.tables[i];

        ring_table_init(table, PARTITION_BITS, settings.copies, world.rows[i],
                        sizeof world.rows[i]);
        table->version = (struct ring_version){1 + i, id_of(0)};
        table->member_count = NODES;
        for (unsigned n = 0; n < NODES; n++)
            table->members[n] = (struct ring_member){.id = id_of(n), .weight = 1};
        for (unsigned p = 0; p < PARTITIONS; p++)
            for (unsigned c = 0; c < settings.copies; c++)
                table->rows[p * settings.copies + c] = (unsigned char)((p + c + i) % NODES);
        assert_true(ring_table_is_sound(table));
    }
}

static void start(unsigned index, bool is_founding)
{
    const struct cell_store_options cells = {.partition_bits = PARTITION_BITS,
                                             .leaf_bits = 6,
                                             .stub_bytes_max = MB,
                                             .tombstone_bytes_max = MB,
                                             .tombstone_grace_ms = settings.tombstone_grace_ms};
    const struct store_options options = {.limit_bytes = 128 * MB,
                                          .item_bytes_max = MB,
                                          .threads = 1,
                                          .evicts = true,
                                          .cells = &cells};
    struct node *node = &nodes[index];

    *node = (struct node){.id = id_of(index),
                          .incarnation = WALL_MS + world.now_ms,
                          .table = &world.tables[0],
                          .has_begun = true};
    node->store = store_new(&options);
    assert_non_null(node->store);
    assert_true(cell_store_use_class(node->store, settings.copies));
    node->membership.count = NODES;
    for (unsigned n = 0; n < NODES; n++)
        node->membership.records[n] = (struct member_record){.id = id_of(n), .status = MEMBER_UP};
    node->repair = node_repair_new(node);
    assert_non_null(node->repair);
    node_repair_start(node, is_founding);
}

static void stop(unsigned index)
{
    node_repair_free(nodes[index].repair);
    store_free(nodes[index].store);
}

static void set_down(unsigned index, bool is_down)
{
    world.is_down[index] = is_down;
    for (unsigned i = 0; i < NODES; i++)
        if (i != index) {
            node_repair_peer(&nodes[i], id_of(index), !is_down);
            node_repair_peer(&nodes[index], id_of(i), !is_down);
        }
}

static void open_with(unsigned copies)
{
    settings.copies = copies;
    memset(&world, 0, sizeof world);
    world.now_ms = 1000000;
    world.end = &world.first;
    make_tables();
    for (unsigned i = 0; i < NODES; i++)
        start(i, true);
    for (unsigned i = 0; i < NODES; i++)
        set_down(i, false);
}

static int open_world(void **state)
{
    (void)state;
    open_with(2);
    return 0;
}

static int open_world_of_three_copies(void **state)
{
    (void)state;
    open_with(3);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    for (struct frame *frame = world.first, *next; frame != NULL; frame = next) {
        next = frame->next;
        free(frame);
    }
    for (unsigned i = 0; i < NODES; i++)
        stop(i);
    free(world.room.cells);
    free(world.room.siblings);
    return 0;
}

static void deliver(const struct frame *frame)
{
    const struct slice input = {frame->bytes, frame->size};
    struct peer_message message;
    enum peer_parse parsed;
    uint64_t size;

    while ((parsed = peer_parse(input, 16 * MB, &world.room, &message, &size)) == PEER_ROOM) {
        const unsigned room = 2 * world.room.cell_room + EXCHANGE_KEYS_MAX;

        world.room.cells = realloc(world.room.cells, room * sizeof world.room.cells[0]);
        world.room.siblings = realloc(world.room.siblings, room * sizeof world.room.siblings[0]);
        world.room.cell_room = world.room.sibling_room = room;
    }
    assert_int_equal(parsed, PEER_PARSED);
    assert_int_equal(size, frame->size);
    node_repair_message(&nodes[frame->to], id_of(frame->from), &message);
}

static void deliver_all(void)
{
    while (world.first != NULL) {
        struct frame *frame = world.first;

        world.first = frame->next;
        if (world.first == NULL)
            world.end = &world.first;
        if (!world.is_down[frame->from] && !world.is_down[frame->to])
            deliver(frame);
        free(frame);
    }
}

static void send_ping(unsigned from, unsigned to, bool is_answer)
{
    const struct node *node = &nodes[from];
    struct peer_ping ping = {.ping = {.from = id_of(from),
                                      .to = id_of(to),
                                      .incarnation = node->incarnation,
                                      .sent_ms = world.now_ms,
                                      .asked_by = is_answer ? nodes[to].incarnation : 0,
                                      .is_answer = is_answer,
                                      .reaches_you = true,
                                      .table = node->table->version}};

    node_repair_hello(&nodes[from], &ping, id_of(to));
    node_repair_ping(&nodes[to], &ping);
}

static void ping_all(void)
{
    for (unsigned a = 0; a < NODES; a++)
        for (unsigned b = 0; b < NODES; b++)
            if (a != b && !world.is_down[a] && !world.is_down[b]) {
                send_ping(a, b, false);
                send_ping(b, a, true);
            }
}

static void run_for(uint64_t ms)
{
    const uint64_t until_ms = world.now_ms + ms;

    while (world.now_ms < until_ms) {
        for (unsigned i = 0; i < NODES; i++)
            if (node_repair_deadline_ms(&nodes[i]) <= world.now_ms)
                node_repair_wake(&nodes[i]);
        deliver_all();
        world.now_ms += STEP_MS;
        if (world.now_ms % PING_MS == 0)
            ping_all();
    }
}

static void use_table(unsigned number)
{
    for (unsigned i = 0; i < NODES; i++) {
        nodes[i].table = &world.tables[number];
        node_repair_table(&nodes[i]);
    }
}

/* --- cells --- */

static struct slice key_of(unsigned number, char text[24])
{
    return (struct slice){(unsigned char *)text, (size_t)snprintf(text, 24, "key-%08u", number)};
}

static bool owns(unsigned index, unsigned number)
{
    const struct ring_table *table = nodes[index].table;
    char text[24];

    return ring_table_is_owner(table, ring_table_partition(table, key_hash(key_of(number, text))),
                               settings.copies, id_of(index));
}

/* Writes a sibling: blind, a delete, or beside what is there. */
static void put(unsigned index, unsigned number, unsigned how, bool adds_pin)
{
    static unsigned char bytes[LONG_BYTES];
    struct store *store = nodes[index].store;
    char text[24];
    const struct slice key = key_of(number, text);
    const uint64_t hash = key_hash(key), now_ms = WALL_MS + world.now_ms;
    const uint32_t size = number % 100 == 0 ? LONG_BYTES : number % 200;
    struct cell_write write = {
        .copies = settings.copies, .is_owner = owns(index, number), .adds_pin = adds_pin};
    struct sibling siblings[SIBLINGS], sibling;
    struct context seen = {0};
    struct stripe *stripe;
    struct cell cell;
    struct dot dot;

    memset(bytes, (int)(number + index), size);
    cell_init(&cell, siblings, SIBLINGS);
    do {
        stripe = store_lock(store, hash);
        assert_true(cell_store_read(stripe, hash, key, now_ms, &cell) < SIBLINGS);
        dot = (struct dot){id_of(index), stripe_clock_next(stripe, now_ms)};
        sibling = how % 3 == 1
                      ? sibling_of_tombstone(dot)
                      : sibling_of_value(dot, 0, 0, size, key_hash((struct slice){bytes, size}),
                                         (uint64_t)(uintptr_t)bytes);
        if (how % 3 == 2)
            assert_int_equal(cell_put_context(&cell, &sibling, &seen), CELL_PUT_DONE);
        else
            assert_int_equal(cell_put_blind(&cell, &sibling), CELL_PUT_DONE);
    } while (!cell_store_write(store, stripe, hash, key, &cell, &write, now_ms));
    assert_false(write.failed);
    store_unlock(stripe);
}

/* What of a key is held, and of its values: 0 if nothing is. */
static uint64_t state_of(unsigned index, unsigned number)
{
    char text[24];
    const struct slice key = key_of(number, text);
    const uint64_t hash = key_hash(key);
    struct stripe *stripe = store_lock(nodes[index].store, hash);
    struct sibling siblings[SIBLINGS];
    uint64_t state = 0;
    struct cell cell;

    cell_init(&cell, siblings, SIBLINGS);
    cell_store_read(stripe, hash, key, WALL_MS + world.now_ms, &cell);
    if (cell.sibling_count > 0)
        state = cell_state_digest(&cell).low | 1;
    for (unsigned i = 0; i < cell.sibling_count; i++)
        state += 2 * cell.siblings[i].value_digest;
    store_unlock(stripe);
    return state;
}

static bool is_pinned(unsigned index, unsigned number)
{
    char text[24];
    const struct slice key = key_of(number, text);
    const uint64_t hash = key_hash(key);
    struct stripe *stripe = store_lock(nodes[index].store, hash);
    const struct item *item = cell_store_item(stripe, hash, key);
    const bool pinned = item != NULL && item->is_pinned;

    store_unlock(stripe);
    return pinned;
}

/* Each key is held by its owners, alike, and by nobody else. */
static void check_settled(unsigned keys)
{
    for (unsigned number = 0; number < keys; number++) {
        uint64_t state = 0;

        for (unsigned i = 0; i < NODES; i++) {
            if (!owns(i, number)) {
                assert_true(state_of(i, number) == 0);
                continue;
            }
            assert_true(state_of(i, number) != 0);
            if (state != 0)
                assert_true(state_of(i, number) == state);
            state = state_of(i, number);
        }
    }
}

/* Each owner of a key writes something of its own, or nothing. */
static void write_apart(unsigned keys)
{
    struct random random = {4711};

    for (unsigned number = 0; number < keys; number++) {
        const unsigned spared = random_below(&random, 4) * NODES + random_below(&random, NODES);
        bool is_written = false;

        for (unsigned i = 0; i < NODES; i++)
            if (owns(i, number) && (spared != i || is_written)) {
                put(i, number, random_below(&random, 6) == 0 ? 1 : 2 * random_below(&random, 2),
                    false);
                is_written = true;
            }
        for (unsigned i = 0; i < NODES && !is_written; i++)
            if (owns(i, number)) {
                put(i, number, 0, false);
                break;
            }
    }
}

/* --- tests --- */

static void owners_that_differ_become_equal_and_then_nothing_is_sent(void **state)
{
    uint64_t sent_bytes;

    (void)state;
    write_apart(6000);
    run_for(20000);
    check_settled(6000);
    sent_bytes = world.sent_bytes;
    assert_true(sent_bytes > 100000);
    run_for(120000);
    assert_true(world.sent_bytes == sent_bytes);
}

static void who_comes_back_empty_is_filled_and_then_warm(void **state)
{
    struct repair_stats stats;

    (void)state;
    write_apart(6000);
    run_for(20000);
    set_down(1, true);
    run_for(2000);
    stop(1);
    start(1, false);
    assert_true(node_is_warming(&nodes[1]));
    set_down(1, false);
    run_for(10000);
    assert_false(node_is_warming(&nodes[1]));
    check_settled(6000);
    node_repair_stats(&nodes[1], &stats);
    assert_in_range(stats.fill_cells_taken, 3500, 4500);
    assert_int_equal(stats.partitions_warming, 0);
    assert_int_equal(stats.cells_refused, 0);
}

/* Keeps the keys of node 2 at those who do not own them, with hints, and at the other owner. */
static unsigned keep_hints(unsigned keys)
{
    unsigned made = 0;

    for (unsigned number = 0; number < keys; number++) {
        unsigned other = 0;
        char text[24];
        const struct slice key = key_of(number, text);

        if (!owns(2, number))
            continue;
        for (unsigned i = 0; i < 2; i++)
            if (!owns(i, number))
                other = i;
        struct cluster *cluster = (struct cluster *)nodes[other].repair;
        put(1 - other, number, 0, false);
        assert_true(hint_reserve(cluster, 500));
        put(other, number, number % 2, true);
        hint_add(cluster, key_hash(key), key, id_of(2), 500);
        made++;
    }
    return made;
}

static uint64_t hints_at(unsigned index)
{
    struct repair_stats stats;

    node_repair_stats(&nodes[index], &stats);
    if (stats.hints == 0)
        assert_int_equal(stats.hint_bytes, 0);
    return stats.hints;
}

static void hints_are_delivered_when_their_owner_is_back_and_their_cells_dropped(void **state)
{
    struct repair_stats stats[2];
    unsigned made;

    (void)state;
    set_down(2, true);
    made = keep_hints(3000);
    run_for(5000);
    assert_int_equal(hints_at(0) + hints_at(1), made);
    assert_true(node_repair_is_busy(&nodes[0]) == false);
    for (unsigned number = 0; number < 3000; number++)
        for (unsigned i = 0; i < 2; i++)
            assert_int_equal(is_pinned(i, number), owns(2, number) && !owns(i, number));
    keep_hints(200); /* and again */
    set_down(2, false);
    run_for(15000);
    assert_int_equal(hints_at(0) + hints_at(1), 0);
    for (unsigned i = 0; i < 2; i++)
        node_repair_stats(&nodes[i], &stats[i]);
    assert_int_equal(stats[0].hints_delivered + stats[1].hints_delivered, made);
    for (unsigned number = 0; number < 3000; number++)
        for (unsigned i = 0; i < NODES; i++)
            if (owns(2, number))
                assert_int_equal(state_of(i, number) != 0, owns(i, number));
}

static void the_cells_of_hints_for_who_has_gone_are_handed_to_their_owners(void **state)
{
    (void)state;
    set_down(2, true);
    keep_hints(1000);
    run_for(1000);
    assert_true(hints_at(0) > 0);
    for (unsigned i = 0; i < 2; i++) {
        nodes[i].membership.records[2].status = MEMBER_GONE;
        node_repair_forget_gone(&nodes[i]);
    }
    assert_int_equal(hints_at(0) + hints_at(1), 0);
    for (unsigned number = 0; number < 1000; number++)
        for (unsigned i = 0; i < 2; i++)
            assert_false(is_pinned(i, number));
    set_down(2, false); /* it is in the table yet, and all owners have to acknowledge */
    for (unsigned i = 0; i < 2; i++)
        nodes[i].membership.records[2].status = MEMBER_UP;
    run_for(15000);
    for (unsigned number = 0; number < 1000; number++)
        for (unsigned i = 0; i < NODES; i++)
            if (owns(2, number))
                assert_int_equal(state_of(i, number) != 0, owns(i, number));
}

static void another_table_moves_cells_to_their_owners(void **state)
{
    struct repair_stats stats;
    uint64_t dropped = 0;

    (void)state;
    write_apart(6000);
    run_for(20000);
    use_table(1);
    run_for(30000);
    check_settled(6000);
    for (unsigned i = 0; i < NODES; i++) {
        node_repair_stats(&nodes[i], &stats);
        dropped += stats.handoff_cells_dropped;
        assert_int_equal(stats.handoff_cells_left, 0);
        assert_int_equal(stats.partitions_warming, 0);
    }
    assert_int_equal(dropped, 6000);
}

static void with_another_table_what_is_held_for_others_may_be_owned(void **state)
{
    (void)state;
    set_down(2, true);
    keep_hints(2000);
    run_for(1000);
    use_table(1);
    run_for(1000);
    set_down(2, false);
    run_for(40000);
    assert_int_equal(hints_at(0) + hints_at(1), 0);
    for (unsigned number = 0; number < 2000; number++)
        for (unsigned i = 0; i < NODES; i++)
            if (state_of(0, number) + state_of(1, number) + state_of(2, number) != 0)
                assert_int_equal(state_of(i, number) != 0, owns(i, number));
}

static void after_a_long_cut_what_the_others_deleted_is_forgotten(void **state)
{
    struct repair_stats stats;

    (void)state;
    for (unsigned number = 0; number < 1000; number++)
        for (unsigned i = 0; i < NODES; i++)
            if (owns(i, number)) {
                put(i, number, 0, false);
                break;
            }
    run_for(20000);
    check_settled(1000);
    set_down(2, true);
    for (unsigned i = 0; i < 60; i++) { /* until the others' deletes are no longer known */
        world.now_ms += settings.tombstone_grace_ms / 30;
        run_for(PING_MS);
    }
    for (unsigned number = 0; number < 1000; number += 2) {
        char text[24];
        const struct slice key = key_of(number, text);

        for (unsigned i = 0; i < 2; i++) {
            struct stripe *stripe = store_lock(nodes[i].store, key_hash(key));
            if (owns(2, number))
                cell_store_drop(stripe, key_hash(key), key);
            store_unlock(stripe);
        }
    }
    set_down(2, false);
    run_for(60000);
    node_repair_stats(&nodes[2], &stats);
    assert_true(stats.siblings_forgotten > 200);
    assert_int_equal(stats.partitions_after_cut, 0);
    for (unsigned number = 0; number < 1000; number++)
        for (unsigned i = 0; i < NODES; i++)
            if (owns(2, number))
                assert_int_equal(state_of(i, number) != 0, owns(i, number) && number % 2 == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(owners_that_differ_become_equal_and_then_nothing_is_sent,
                                        open_world, close_world),
        cmocka_unit_test_setup_teardown(who_comes_back_empty_is_filled_and_then_warm, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(
            hints_are_delivered_when_their_owner_is_back_and_their_cells_dropped, open_world,
            close_world),
        cmocka_unit_test_setup_teardown(
            the_cells_of_hints_for_who_has_gone_are_handed_to_their_owners, open_world,
            close_world),
        cmocka_unit_test_setup_teardown(another_table_moves_cells_to_their_owners, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(with_another_table_what_is_held_for_others_may_be_owned,
                                        open_world, close_world),
        cmocka_unit_test_setup_teardown(after_a_long_cut_what_the_others_deleted_is_forgotten,
                                        open_world_of_three_copies, close_world),
    };

    settings_init(&settings);
    settings.partition_bits = PARTITION_BITS;
    settings.hint_memory_bytes = 16 * MB;
    clock_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
