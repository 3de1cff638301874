#include "server/cell_store.h"
#include "ring/key_hash.h"
#include "server/cell_item.h"
#include "server/clock.h"
#include "server/stripe.h"
#include <assert.h>
#include <stdlib.h>

/* A cell with more siblings than this is forgotten as a whole when it is evicted. */
#define STUB_SIBLINGS_MAX 32

/* Tombstones are looked after this often, and so many at once under one lock. */
#define REAP_MS       100
#define REAP_PER_LOCK 256

/* When there is no room: from so much of the limit on, until it is less than that, and for a while
 * after an eviction. */
#define FULL_FROM_PERCENT  95
#define FULL_BELOW_PERCENT 90
#define EVICTED_LATELY_MS  1000

struct cell_store_counters {
    _Atomic uint64_t stubs_made, stubs_forgotten, cells_forgotten, tombstones_reaped,
        tombstones_reaped_early;
};

#define COUNT(cells, name)                                                                         \
    atomic_fetch_add_explicit(&(cells)->counters.name, 1, memory_order_relaxed)

/* Who may touch which field:
 *   [I] never changes    [C] whoever calls cell_store_use_class(), read by anyone
 *   [A] anyone, atomically    [W] only who calls store_sweep() */
struct cell_store {
    struct node_table nodes;
    struct cell_store_options options;              /* [I] */
    uint64_t stub_share, tombstone_share;           /* [I] of one stripe */
    struct merkle_forest forests[RING_COPIES_MAX];  /* [C]; the trees under the stripes' locks */
    _Atomic unsigned forest_count;                  /* [C] */
    _Atomic uint8_t forest_of[RING_COPIES_MAX + 1]; /* [C] 1 + which, by copies; 0: none */
    uint64_t *leaves[RING_COPIES_MAX];              /* [C] */
    uint64_t reaped_ms;                             /* [W] */
    uint64_t evictions;                             /* [W] until then */
    uint64_t evicted_ms;                            /* [W] when there was one last, about */
    _Atomic bool is_full;                           /* [A] */
    struct cell_store_counters counters;            /* [A] */
};

bool cell_store_init(struct store *store, const struct cell_store_options *options)
{
    struct cell_store *cells = calloc(1, sizeof *cells);

    assert(options->partition_bits >= 1);
    assert(options->partition_bits <= RING_PARTITION_BITS_MAX);
    assert(store->stripe_count <= 1u << options->partition_bits);
    if (cells == NULL)
        return false;
    node_table_init(&cells->nodes);
    cells->options = *options;
    store->options.cells = NULL; /* borrowed */
    cells->stub_share = options->stub_bytes_max / store->stripe_count;
    cells->tombstone_share = options->tombstone_bytes_max / store->stripe_count;
    store->cells = cells;
    store->replica_bytes = sizeof(struct item_replica);
    return true;
}

void cell_store_deinit(struct store *store)
{
    struct cell_store *cells = store->cells;

    if (cells == NULL)
        return;
    for (unsigned i = 0; i < RING_COPIES_MAX; i++) {
        free(cells->forests[i].trees);
        free(cells->leaves[i]);
    }
    node_table_deinit(&cells->nodes);
    free(cells);
    store->cells = NULL;
}

bool cell_store_is_used(const struct store *store)
{
    return store->cells != NULL;
}

bool cell_store_use_class(struct store *store, unsigned copies)
{
    struct cell_store *cells = store->cells;
    const unsigned number = atomic_load_explicit(&cells->forest_count, memory_order_relaxed);
    const unsigned trees = 1u << cells->options.partition_bits;
    const unsigned leaf_bits = cells->options.leaf_bits;
    const size_t each = merkle_bytes(leaf_bits);
    struct merkle_forest forest = {.copies = copies};

    assert(copies >= 1);
    assert(copies <= RING_COPIES_MAX);
    if (atomic_load_explicit(&cells->forest_of[copies], memory_order_relaxed) != 0)
        return true;
    forest.trees = calloc(trees, sizeof forest.trees[0]);
    cells->leaves[number] = malloc(trees * each + 1);
    if (forest.trees == NULL || cells->leaves[number] == NULL) {
        free(forest.trees);
        free(cells->leaves[number]);
        cells->leaves[number] = NULL;
        return false;
    }
    for (unsigned i = 0; i < trees; i++)
        merkle_init(&forest.trees[i], cells->options.partition_bits, leaf_bits,
                    cells->leaves[number] + i * each / sizeof(uint64_t));
    memory_charge(store->memory, (int64_t)(trees * (sizeof forest.trees[0] + each)));
    cells->forests[number] = forest;
    atomic_store_explicit(&cells->forest_of[copies], (uint8_t)(number + 1), memory_order_release);
    atomic_store_explicit(&cells->forest_count, number + 1, memory_order_release);
    return true;
}

const struct merkle_forest *cell_store_forests(const struct store *store, unsigned *count)
{
    *count = atomic_load_explicit(&store->cells->forest_count, memory_order_acquire);
    return store->cells->forests;
}

struct node_table *cell_store_nodes(struct store *store)
{
    return &store->cells->nodes;
}

/* The tree that has the item; NULL if none has. */
static struct merkle_tree *tree_of(const struct cell_store *cells, uint64_t hash,
                                   const struct item *item)
{
    const unsigned copies = item == NULL ? 0 : item_replica(item).copies;
    unsigned number;

    if (copies == 0)
        return NULL;
    assert(copies <= RING_COPIES_MAX);
    number = atomic_load_explicit(&cells->forest_of[copies], memory_order_acquire);
    assert(number > 0);
    return &cells->forests[number - 1].trees[hash >> (64 - cells->options.partition_bits)];
}

void cells_changed(struct store *store, uint64_t hash, const struct item *before,
                   const struct item *after)
{
    const struct cell_store *cells = store->cells;
    struct merkle_tree *from = tree_of(cells, hash, before), *to = tree_of(cells, hash, after);
    uint64_t mark_before = 0, mark_after = 0;

    if (from != NULL)
        mark_before = cell_item_mark(&cells->nodes, before, hash);
    if (to != NULL)
        mark_after = cell_item_mark(&cells->nodes, after, hash);
    if (from == to && from != NULL) {
        merkle_update(from, hash, mark_before, mark_after);
        return;
    }
    if (from != NULL)
        merkle_update(from, hash, mark_before, 0);
    if (to != NULL)
        merkle_update(to, hash, 0, mark_after);
}

/* The stub that an item leaves, or NULL if there is to be none. */
static struct item *make_stub(struct stripe *stripe, uint64_t hash, const struct item *item)
{
    struct store *store = stripe->store;
    struct cell_store *cells = store->cells;
    struct sibling siblings[STUB_SIBLINGS_MAX];
    struct item_spec spec;
    struct item *stub;
    struct cell cell;

    cell_init(&cell, siblings, STUB_SIBLINGS_MAX);
    if (cell_item_siblings(item) > STUB_SIBLINGS_MAX)
        return NULL;
    cell_item_read(&cells->nodes, item, false, &cell);
    cell_flush(&cell, stripe->flushed);
    cell_evict(&cell);
    if (cell.sibling_count == 0)
        return NULL;
    spec =
        cell_item_spec(&cells->nodes, item_key(item), (item->bits & ITEM_KEY_BINARY) != 0, &cell);
    if (item_bytes_of_spec(&spec) + store->replica_bytes > cells->stub_share)
        return NULL;
    stub = memory_alloc_over(store->memory, item_bytes_of_spec(&spec) + store->replica_bytes);
    if (stub == NULL)
        return NULL;
    item_init(stub, &spec, clock_now_ms());
    cell_item_write(&cells->nodes, stub, hash, &cell, item_replica(item).copies);
    if (queue_item(stripe, hash, stub))
        return stub;
    item_discard(store, stub);
    return NULL;
}

bool cells_keep_stub(struct stripe *stripe, struct index_place place, struct item *item)
{
    struct store *store = stripe->store;
    const uint64_t hash = key_hash(item_key(item));
    struct item *stub;

    if (item_is_hidden(item) || item->hlc <= stripe->flushed)
        return false;
    stub = make_stub(stripe, hash, item);
    if (stub == NULL) {
        COUNT(store->cells, cells_forgotten);
        return false;
    }
    cells_changed(store, hash, item, stub);
    stripe_count(stripe, item, -1);
    stripe_count(stripe, stub, 1);
    index_replace(&stripe->index, place, stub);
    item_discard(store, item);
    COUNT(store->cells, stubs_made);
    return true;
}

void cells_trim(struct stripe *stripe)
{
    struct cell_store *cells = stripe->store->cells;

    while (stripe->queue_bytes[QUEUE_STUBS] > cells->stub_share) {
        if (drop_oldest_hidden(stripe, QUEUE_STUBS) == 0)
            break;
        COUNT(cells, stubs_forgotten);
    }
    while (stripe->queue_bytes[QUEUE_TOMBSTONES] > cells->tombstone_share) {
        if (drop_oldest_hidden(stripe, QUEUE_TOMBSTONES) == 0)
            break;
        COUNT(cells, tombstones_reaped_early);
    }
}

/* Drops the oldest tombstones of the stripe from before `time`.  Lock held. */
static void reap(struct stripe *stripe, hlc_time time)
{
    struct queue *queue = &stripe->queues[QUEUE_TOMBSTONES];
    struct index_place place;
    struct item *item;
    uint64_t hash;
    uint32_t entry;

    for (unsigned i = 0; i < REAP_PER_LOCK && queue_peek(queue, 0, &entry); i++) {
        item = index_find_queued(&stripe->index, entry, QUEUE_TOMBSTONES, &hash, &place);
        if (item != NULL && item->hlc >= time)
            break;
        queue_pop(queue, &entry);
        if (item == NULL)
            continue;
        stripe_drop(stripe, place, item, LEAVE_DELETED);
        COUNT(stripe->store->cells, tombstones_reaped);
    }
}

/* Looks whether there is room: there is none while items are evicted, nor beyond an upper part of
 * the limit, until the items take less than a lower one. */
static void look_for_room(struct store *store, uint64_t evictions, uint64_t now_ms)
{
    struct cell_store *cells = store->cells;
    const uint64_t limit = atomic_load_explicit(&store->limit_bytes, memory_order_relaxed);
    const uint64_t held = memory_held_bytes(store->memory);
    const uint64_t free_bytes =
        atomic_load_explicit(&store->memory->free_slot_bytes, memory_order_relaxed);
    const uint64_t used = held > free_bytes ? held - free_bytes : 0;
    const bool is_full = atomic_load_explicit(&cells->is_full, memory_order_relaxed);
    const uint64_t percent = is_full ? FULL_BELOW_PERCENT : FULL_FROM_PERCENT;

    if (evictions != cells->evictions)
        cells->evicted_ms = now_ms;
    cells->evictions = evictions;
    atomic_store_explicit(&cells->is_full,
                          now_ms - cells->evicted_ms < EVICTED_LATELY_MS ||
                              used >= limit / 100 * percent,
                          memory_order_relaxed);
}

bool cell_store_has_room(const struct store *store)
{
    return !atomic_load_explicit(&store->cells->is_full, memory_order_relaxed);
}

void cells_sweep(struct store *store, uint64_t now_ms)
{
    struct cell_store *cells = store->cells;
    const hlc_time before = cell_reap_before(now_ms, cells->options.tombstone_grace_ms);
    uint64_t evictions = 0;

    if (now_ms - cells->reaped_ms < REAP_MS)
        return;
    cells->reaped_ms = now_ms;
    for (unsigned i = 0; i < store->stripe_count; i++) {
        struct stripe *stripe = &store->stripes[i];

        lock_take(&stripe->lock);
        reap(stripe, before);
        evictions += stripe->counters.evictions;
        lock_release(&stripe->lock);
    }
    look_for_room(store, evictions, now_ms);
}

void cell_store_prefetch(struct store *store, uint64_t hash, unsigned copies)
{
    const struct cell_store *cells = store->cells;
    const unsigned number = atomic_load_explicit(&cells->forest_of[copies], memory_order_acquire);
    const uint64_t partition = hash >> (64 - cells->options.partition_bits);

    store_prefetch_index(store, hash);
    if (number == 0)
        return;
    __builtin_prefetch(&cells->forests[number - 1].trees[partition], 1);
    /* The leaves of all trees are one array, in the order of the hashes. */
    __builtin_prefetch(cells->leaves[number - 1] + (hash >> (64 - cells->options.partition_bits -
                                                             cells->options.leaf_bits)),
                       1);
}

unsigned cell_store_read(struct stripe *stripe, uint64_t hash, struct slice key, uint64_t now_ms,
                         struct cell *into)
{
    struct index_place place;
    const struct item *item = index_find(&stripe->index, hash, key, &place);
    unsigned needed;

    cell_init(into, into->siblings, into->sibling_room);
    if (item == NULL || item->hlc <= stripe->flushed)
        return 0;
    needed = cell_item_siblings(item);
    if (needed > into->sibling_room)
        return needed;
    cell_item_read(&stripe->store->cells->nodes, item, true, into);
    if (stripe->flushed > 0)
        cell_flush(into, stripe->flushed);
    cell_expire(into, now_ms);
    return needed;
}

struct item *cell_store_item(struct stripe *stripe, uint64_t hash, struct slice key)
{
    struct index_place place;

    return index_find(&stripe->index, hash, key, &place);
}

struct slice cell_store_key(struct stripe *stripe, uint64_t hash, unsigned skipped)
{
    const struct item *item = index_find_hash(&stripe->index, hash, skipped);

    return item == NULL ? (struct slice){NULL, 0} : item_key(item);
}

/* As rewrite_ready(): whether write->item is an item of just this spec. */
static bool is_ready(const struct cell_write *write, const struct item_spec *spec)
{
    const struct item_spec *made = &write->spec;

    return write->item != NULL && made->value_bytes == spec->value_bytes &&
           made->expiry_ms == spec->expiry_ms && made->client_flags == spec->client_flags &&
           made->explicit_cas == spec->explicit_cas &&
           made->has_explicit_cas == spec->has_explicit_cas &&
           made->key_is_binary == spec->key_is_binary && made->is_cell == spec->is_cell &&
           made->is_hidden == spec->is_hidden;
}

void cell_write_deinit(struct store *store, struct cell_write *write)
{
    if (write->item != NULL)
        item_discard(store, write->item);
    write->item = NULL;
}

/* Of an item that is not stored yet. */
static void pin_new(struct item *item, unsigned pins)
{
    struct item_replica replica = item_replica(item);

    if (pins == 0)
        return;
    replica.pins = (uint16_t)pins;
    item_set_replica(item, replica);
    item->is_pinned = 1;
}

/* What this node knows of its item, and no cell has: who was told to refill it, who read it when. A
 * merge that brings no newer value leaves that as it is. */
static void keep_marks(struct item *item, const struct item *old)
{
    if (old == NULL || old->hlc != item->hlc || item_is_hidden(old) || item_is_hidden(item))
        return;
    item->accessed_s = old->accessed_s;
    item->was_fetched = old->was_fetched;
    item->bits = (uint8_t)(item->bits | (old->bits & ITEM_WON));
}

bool cell_store_write(struct store *store, struct stripe *stripe, uint64_t hash, struct slice key,
                      const struct cell *cell, struct cell_write *write, uint64_t now_ms)
{
    struct cell_store *cells = store->cells;
    struct index_place place;
    struct item *old = index_find(&stripe->index, hash, key, &place), *item;
    bool key_is_binary = write->key_is_binary;
    struct item_spec spec;
    unsigned pins = 0;

    if (old != NULL && !item_is_hidden(old) && !write->says_key_form)
        key_is_binary = (old->bits & ITEM_KEY_BINARY) != 0;
    if (cell->sibling_count == 0) {
        if (old != NULL)
            stripe_remove(stripe, hash, old);
        return true;
    }
    if (old != NULL)
        pins = item_replica(old).pins;
    if (write->adds_pin && pins == UINT16_MAX) {
        store_unlock(stripe);
        write->failed = true;
        return true;
    }
    spec = cell_item_spec(&cells->nodes, key, key_is_binary, cell);
    if (!is_ready(write, &spec)) {
        store_unlock(stripe);
        cell_write_deinit(store, write);
        write->spec = spec;
        write->item = item_new(store, &spec, now_ms);
        write->failed = write->item == NULL;
        return write->failed;
    }
    item = write->item;
    write->item = NULL;
    pins += write->adds_pin;
    cell_item_write(&cells->nodes, item, hash, cell,
                    pins > 0 && !write->is_owner ? 0 : write->copies);
    pin_new(item, pins);
    keep_marks(item, old);
    if (!stripe_put(stripe, hash, item)) {
        store_unlock(stripe);
        write->failed = true;
        return true;
    }
    cells_trim(stripe);
    return true;
}

unsigned cell_store_merge(struct store *store, struct slice key,
                          const struct store_request *request, struct replica_now *now,
                          struct cell *own, struct cell_write *write, struct replica_stored *stored)
{
    const uint64_t hash = request->key_hash;
    struct stripe *stripe;
    unsigned needed;

    do {
        stripe = store_lock(store, hash);
        needed =
            cell_store_read(stripe, hash, key, now->wall_ms, own) + request->cell->sibling_count;
        if (needed > own->sibling_room) {
            store_unlock(stripe);
            return needed;
        }
        now->clock = &stripe->clock;
        if (stripe->flushed > now->flushed_up_to)
            now->flushed_up_to = stripe->flushed;
        *stored = replica_store(own, request, now);
        stored->makes_hint = stored->makes_hint && own->sibling_count > 0;
        write->is_owner = now->is_owner;
        write->adds_pin = stored->makes_hint;
    } while (stored->is_changed &&
             !cell_store_write(store, stripe, hash, key, own, write, now->wall_ms));
    if (!write->failed) {
        if (stored->makes_hint && !stored->is_changed &&
            !cell_store_pin(stripe, hash, key, now->is_owner)) {
            stored->makes_hint = false;
            stored->reply.status = STORE_REFUSED_HINTS;
        }
        store_unlock(stripe);
        return needed;
    }
    stored->reply.status = STORE_REFUSED_MEMORY;
    stored->is_changed = stored->makes_hint = false;
    return needed;
}

void cell_store_stats(struct store *store, struct cell_store_stats *stats)
{
    const struct cell_store_counters *counters = &store->cells->counters;

    *stats = (struct cell_store_stats){
        .stubs_made = atomic_load(&counters->stubs_made),
        .stubs_forgotten = atomic_load(&counters->stubs_forgotten),
        .cells_forgotten = atomic_load(&counters->cells_forgotten),
        .tombstones_reaped = atomic_load(&counters->tombstones_reaped),
        .tombstones_reaped_early = atomic_load(&counters->tombstones_reaped_early),
    };
    for (unsigned i = 0; i < store->stripe_count; i++) {
        struct stripe *stripe = &store->stripes[i];

        lock_take(&stripe->lock);
        stats->stubs += stripe->queue_items[QUEUE_STUBS];
        stats->stub_bytes += stripe->queue_bytes[QUEUE_STUBS];
        stats->tombstones += stripe->queue_items[QUEUE_TOMBSTONES];
        stats->tombstone_bytes += stripe->queue_bytes[QUEUE_TOMBSTONES];
        lock_release(&stripe->lock);
    }
}
