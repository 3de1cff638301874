#include "bench/mark_pair.h"
#include "bench/rng.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { QUEUE_ROOM = 64, CELL_BYTES = 100 };

static int compare_hashes(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;

    return (one > other) - (one < other);
}

static bool node_init(struct mark_pair *pair, unsigned index)
{
    struct mark_node *node = &pair->nodes[index];
    unsigned partitions = 1u << pair->partition_bits;

    node->marks = calloc(pair->key_count, sizeof node->marks[0]);
    node->leaves = calloc((size_t)partitions << pair->leaf_bits, sizeof node->leaves[0]);
    node->trees = calloc(partitions, sizeof node->trees[0]);
    node->fill_wanted = calloc((partitions + 63) / 64, sizeof node->fill_wanted[0]);
    if (node->marks == NULL || node->leaves == NULL || node->trees == NULL ||
        node->fill_wanted == NULL)
        return false;
    node->forest = (struct merkle_forest){2, node->trees};
    for (unsigned p = 0; p < partitions; p++)
        merkle_init(&node->trees[p], pair->partition_bits, pair->leaf_bits,
                    node->leaves + ((size_t)p << pair->leaf_bits));
    sync_init(&node->sync, 2 - index, NULL, 1);
    fill_init(&node->fill, 1000, partitions, node->fill_wanted, 1);
    token_bucket_init(&node->bucket, (uint64_t)1 << 40, (uint64_t)1 << 40, 0);
    node->peers[0].is_reachable = node->peers[1].is_reachable = true;
    return true;
}

struct mark_pair *mark_pair_new(uint64_t seed, unsigned key_count, unsigned partition_bits,
                                unsigned leaf_bits)
{
    struct mark_pair *pair = calloc(1, sizeof *pair);
    struct rng rng = {seed};

    if (pair == NULL)
        return NULL;
    pair->partition_bits = partition_bits;
    pair->leaf_bits = leaf_bits;
    pair->key_count = key_count;
    pair->keys = calloc(key_count, sizeof pair->keys[0]);
    pair->queue = calloc(QUEUE_ROOM, sizeof pair->queue[0]);
    size_t rows_bytes = RING_ROWS_BYTES(partition_bits, 2);
    unsigned char *rows = malloc(rows_bytes);
    if (rows != NULL) {
        ring_table_init(&pair->table, partition_bits, 2, rows, rows_bytes);
        for (size_t i = 0; i < rows_bytes; i++)
            rows[i] = i % 2;
    }
    pair->table.version = (struct ring_version){1, 1};
    pair->table.member_count = 2;
    pair->table.members[0] = (struct ring_member){1, 0, 1};
    pair->table.members[1] = (struct ring_member){2, 0, 1};
    if (!node_init(pair, 0) || !node_init(pair, 1) || pair->keys == NULL || pair->queue == NULL ||
        rows == NULL) {
        mark_pair_free(pair);
        return NULL;
    }
    for (unsigned i = 0; i < key_count; i++)
        pair->keys[i] = rng_next(&rng);
    qsort(pair->keys, key_count, sizeof pair->keys[0], compare_hashes);
    for (unsigned i = 0; i < key_count; i++) {
        uint64_t mark = rng_next(&rng) >> 1 | 1;
        mark_pair_set(pair, 0, i, mark);
        mark_pair_set(pair, 1, i, mark);
    }
    return pair;
}

void mark_pair_free(struct mark_pair *pair)
{
    for (unsigned i = 0; i < 2; i++) {
        free(pair->nodes[i].marks);
        free(pair->nodes[i].leaves);
        free(pair->nodes[i].trees);
        free(pair->nodes[i].fill_wanted);
    }
    free(pair->table.rows);
    free(pair->keys);
    free(pair->queue);
    free(pair);
}

void mark_pair_set(struct mark_pair *pair, unsigned node, unsigned key, uint64_t mark)
{
    struct mark_node *one = &pair->nodes[node];
    uint64_t key_hash = pair->keys[key];
    unsigned partition = ring_table_partition(&pair->table, key_hash);

    merkle_update(&one->trees[partition], key_hash, one->marks[key], mark);
    one->marks[key] = mark;
}

/* The first key not below a hash. */
static unsigned find_key(const struct mark_pair *pair, uint64_t key_hash)
{
    unsigned low = 0, high = pair->key_count;

    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (pair->keys[middle] < key_hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static unsigned scan(const struct mark_pair *pair, unsigned node,
                     const struct exchange_scan *wanted, struct exchange_item *items,
                     uint64_t *reached)
{
    unsigned count = 0;

    *reached = wanted->last;
    for (unsigned i = find_key(pair, wanted->first);
         i < pair->key_count && pair->keys[i] <= wanted->last; i++) {
        uint64_t mark = pair->nodes[node].marks[i];
        if (mark == 0)
            continue;
        if (count == wanted->items_max) {
            *reached = pair->keys[i] - 1;
            break;
        }
        items[count++] =
            (struct exchange_item){pair->keys[i], mark, mark, CELL_BYTES, SIBLING_VALUE};
    }
    return count;
}

static void send(struct mark_pair *pair, const struct exchange_message *message)
{
    unsigned at = (pair->queue_first + pair->queue_count++) % QUEUE_ROOM;

    assert(pair->queue_count <= QUEUE_ROOM);
    pair->queue[at] = *message;
    pair->messages++;
    pair->bytes += exchange_message_bytes(message);
}

static struct exchange_view view_of(const struct mark_pair *pair, unsigned node)
{
    return (struct exchange_view){.self = node + 1,
                                  .table = &pair->table,
                                  .forests = &pair->nodes[node].forest,
                                  .forest_count = 1,
                                  .takes = SIBLINGS_ALL};
}

static void run_sync(struct mark_pair *pair, unsigned node, struct sync_event *event)
{
    struct exchange_view view = view_of(pair, node);
    struct sync_effects effects;

    sync_effects_init(&effects, NULL);
    event->now_ms = pair->now_ms;
    event->view = &view;
    event->bucket = &pair->nodes[node].bucket;
    sync_step(&pair->nodes[node].sync, event, &effects);
    for (unsigned i = 0; i < effects.message_count; i++)
        send(pair, &effects.messages[i]);
    for (unsigned i = 0; i < effects.scan_count; i++) {
        struct exchange_item items[EXCHANGE_KEYS_MAX];
        struct exchange_scanned scanned = {.number = effects.scans[i].number, .items = items};
        scanned.item_count = scan(pair, node, &effects.scans[i], items, &scanned.reached);
        run_sync(pair, node, &(struct sync_event){.type = SYNC_SCANNED, .scanned = &scanned});
    }
}

static void run_fill(struct mark_pair *pair, unsigned node, struct fill_event *event)
{
    struct exchange_view view = view_of(pair, node);
    struct fill_effects effects;

    fill_effects_init(&effects, NULL);
    event->now_ms = pair->now_ms;
    event->view = &view;
    event->peers = pair->nodes[node].peers;
    event->bucket = &pair->nodes[node].bucket;
    fill_step(&pair->nodes[node].fill, event, &effects);
    for (unsigned i = 0; i < effects.message_count; i++)
        send(pair, &effects.messages[i]);
}

/* Takes the other node's state of these keys if it is greater; returns how many it took. */
static unsigned merge(struct mark_pair *pair, unsigned node, const struct exchange_cell *cells,
                      unsigned count, uint64_t *changed)
{
    unsigned taken = 0;

    for (unsigned i = 0; i < count; i++) {
        unsigned key = find_key(pair, cells[i].key_hash);
        uint64_t theirs = pair->nodes[!node].marks[key];
        if (theirs <= pair->nodes[node].marks[key])
            continue;
        mark_pair_set(pair, node, key, theirs);
        taken++;
        if (changed != NULL)
            changed[i / 64] |= (uint64_t)1 << (i % 64);
    }
    pair->cells += count;
    return taken;
}

static void on_difference(struct mark_pair *pair, unsigned node,
                          const struct exchange_difference *difference)
{
    unsigned changed = merge(pair, node, difference->cells, difference->cell_count, NULL);

    if (difference->head.asker == EXCHANGE_FILL)
        run_fill(pair, node,
                 &(struct fill_event){
                     .type = FILL_DIFFERENCE, .difference = difference, .changed_count = changed});
    else
        run_sync(pair, node,
                 &(struct sync_event){
                     .type = SYNC_DIFFERENCE, .difference = difference, .changed_count = changed});
}

static void answer(struct mark_pair *pair, unsigned node, const struct exchange_message *message)
{
    struct exchange_view view = view_of(pair, node);
    struct exchange_message reply;
    struct exchange_item items[EXCHANGE_KEYS_MAX];
    struct exchange_scanned scanned = {.items = items};
    struct exchange_scan wanted;

    if (message->type == EXCHANGE_COMPARE) {
        reply.type = EXCHANGE_COMPARED;
        exchange_answer_compare(&view, &message->compare, &reply.compared);
    } else if (message->type == EXCHANGE_DIGESTS) {
        reply.type = EXCHANGE_DIFFERENCE;
        enum exchange_answer result = exchange_admit_digests(&view, &message->digests, &wanted);
        if (result == EXCHANGE_DONE)
            scanned.item_count = scan(pair, node, &wanted, items, &scanned.reached);
        exchange_answer_digests(&view, &message->digests, result, &scanned, &reply.difference);
    } else {
        assert(message->type == EXCHANGE_CELLS);
        reply.type = EXCHANGE_STORED;
        exchange_admit_cells(&view, &message->cells, &reply.stored);
        merge(pair, node, message->cells.cells, message->cells.cell_count, reply.stored.changed);
        memcpy(reply.stored.merged, reply.stored.changed, sizeof reply.stored.merged);
    }
    send(pair, &reply);
}

static void deliver(struct mark_pair *pair)
{
    struct exchange_message message = pair->queue[pair->queue_first];
    unsigned node = (unsigned)message.head.to - 1;

    pair->queue_first = (pair->queue_first + 1) % QUEUE_ROOM;
    pair->queue_count--;
    if (message.type == EXCHANGE_COMPARED)
        run_sync(pair, node,
                 &(struct sync_event){.type = SYNC_COMPARED, .compared = &message.compared});
    else if (message.type == EXCHANGE_STORED)
        run_sync(pair, node, &(struct sync_event){.type = SYNC_STORED, .stored = &message.stored});
    else if (message.type == EXCHANGE_DIFFERENCE)
        on_difference(pair, node, &message.difference);
    else
        answer(pair, node, &message);
}

static void drain(struct mark_pair *pair)
{
    bool is_busy = true;

    while (is_busy) {
        is_busy = pair->queue_count > 0;
        if (is_busy)
            deliver(pair);
        for (unsigned i = 0; i < 2; i++) {
            if (sync_deadline_ms(&pair->nodes[i].sync) <= pair->now_ms) {
                run_sync(pair, i, &(struct sync_event){.type = SYNC_TICK});
                is_busy = true;
            }
            if (fill_deadline_ms(&pair->nodes[i].fill) <= pair->now_ms) {
                run_fill(pair, i, &(struct fill_event){.type = FILL_TICK});
                is_busy = true;
            }
        }
    }
}

void mark_pair_sync(struct mark_pair *pair)
{
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 2; i++) {
            struct exchange_view view = view_of(pair, i);
            struct sync_hello hello;
            sync_make_hello(&pair->nodes[i].sync, &view, false, pair->now_ms, &hello);
            pair->hellos++;
            run_sync(pair, !i, &(struct sync_event){.type = SYNC_HELLO, .hello = &hello});
            drain(pair);
        }
        pair->now_ms += 100;
    }
}

void mark_pair_fill(struct mark_pair *pair, unsigned node)
{
    for (unsigned p = 0; p < ring_table_partitions(&pair->table); p++) {
        run_fill(pair, node, &(struct fill_event){.type = FILL_START, .partition = p});
        drain(pair);
    }
    assert(pair->nodes[node].fill.wanted_count == 0);
}

unsigned mark_pair_differing(const struct mark_pair *pair)
{
    unsigned count = 0;

    for (unsigned i = 0; i < pair->key_count; i++)
        count += pair->nodes[0].marks[i] != pair->nodes[1].marks[i];
    return count;
}
