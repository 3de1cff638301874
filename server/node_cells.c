/* Cells from the store, to be sent, and peers' cells into it; node_repair.h says more. */
#include "ring/key_hash.h"
#include "server/cell_item.h"
#include "server/node_repair.h"
#include "server/policy.h"
#include "server/settings.h"
#include <assert.h>

#define SIBLINGS_EACH 4 /* for so many a cell that is copied has room at first */

/* --- what the store knows --- */

unsigned repair_class(struct slice key)
{
    return policy_copies(policy_of(key));
}

bool repair_owns(const struct repair *repair, uint64_t hash, struct slice key)
{
    const struct ring_table *table = repair->table;

    return ring_table_is_owner(table, ring_table_partition(table, hash), repair_class(key),
                               repair->node->id);
}

bool repair_scan(struct repair *repair, const struct exchange_scan *scan,
                 struct exchange_item *items, struct exchange_scanned *scanned)
{
    const uint64_t wall_ms = node_wall_ms(repair->node);
    const hlc_time before = cell_reap_before(wall_ms, settings.tombstone_grace_ms);

    return cell_store_scan(repair->node->store, scan, before, wall_ms, items, scanned);
}

/* Reads a cell with room from the arena.  False: memory is short.  Lock held. */
static bool read_cell(struct repair *repair, struct stripe *stripe, uint64_t hash, struct slice key,
                      struct cell *into)
{
    const uint64_t wall_ms = node_wall_ms(repair->node);
    unsigned room = SIBLINGS_EACH, needed = room;

    do {
        struct sibling *siblings;

        room = needed;
        siblings = arena_room(&repair->arena, room * sizeof siblings[0]);
        if (siblings == NULL)
            return false;
        cell_init(into, siblings, room);
        needed = cell_store_read(stripe, hash, key, wall_ms, into);
    } while (needed > room);
    return true;
}

/* Puts copies of its values in place of those that are in the item.  Lock held. */
static bool copy_values(struct repair *repair, struct cell *cell)
{
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        struct sibling *sibling = &cell->siblings[i];
        const struct slice value = cell_item_value(sibling);
        unsigned char *copy;

        if (value.size == 0)
            continue;
        copy = arena_room(&repair->arena, value.size);
        if (copy == NULL)
            return false;
        memcpy(copy, value.bytes, value.size);
        sibling->value = (uint64_t)(uintptr_t)copy;
    }
    return true;
}

bool repair_copy(struct repair *repair, uint64_t hash, unsigned skipped, struct slice *key,
                 struct cell *into)
{
    struct stripe *stripe = store_lock(repair->node->store, hash);
    const struct slice held = cell_store_key(stripe, hash, skipped);
    unsigned char *copy = held.size > 0 ? arena_room(&repair->arena, held.size) : NULL;
    bool is_there = copy != NULL;

    if (is_there) {
        memcpy(copy, held.bytes, held.size);
        *key = (struct slice){copy, held.size};
        is_there = read_cell(repair, stripe, hash, held, into) && into->sibling_count > 0 &&
                   copy_values(repair, into);
    }
    store_unlock(stripe);
    return is_there;
}

/* --- sending --- */

/* Puts in all cells of the hashes that are named.  Returns how many. */
static unsigned put_cells(struct repair *repair, const struct exchange_cell *named, unsigned count,
                          struct exchange_cell *put, struct slice *keys)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < count; i++) {
        const uint64_t hash = named[i].key_hash;

        if (i > 0 && named[i - 1].key_hash == hash)
            continue; /* all keys of a hash are meant */
        for (unsigned skipped = 0; kept < EXCHANGE_KEYS_MAX; skipped++) {
            if (!repair_copy(repair, hash, skipped, &keys[kept], &repair->cells[kept]))
                break;
            put[kept] = (struct exchange_cell){hash, &repair->cells[kept]};
            kept++;
        }
    }
    return kept;
}

/* A single cell with a long value is sent from its item.  False: it is none, nothing was sent. */
static bool send_from_item(struct repair *repair, node_id to, uint64_t hash,
                           const struct cell **put, struct slice *key)
{
    struct stripe *stripe = store_lock(repair->node->store, hash);
    struct item *item;

    *key = cell_store_key(stripe, hash, 0);
    item = key->size > 0 ? cell_store_item(stripe, hash, *key) : NULL;
    if (item == NULL || (item->bits & ITEM_LONG) == 0 || cell_store_key(stripe, hash, 1).size > 0 ||
        !read_cell(repair, stripe, hash, *key, &repair->cells[0]) ||
        repair->cells[0].sibling_count == 0) {
        store_unlock(stripe);
        return false;
    }
    *put = &repair->cells[0];
    node_send_item(repair->node, to, &repair->message, item);
    store_unlock(stripe);
    return true;
}

static void send_cells(struct repair *repair, const struct exchange_cells *cells)
{
    struct peer_cells *message = &repair->message.cells;

    repair->message.type = PEER_CELLS;
    message->cells = *cells;
    if (cells->cell_count == 1) {
        message->cells.cells[0].key_hash = cells->cells[0].key_hash;
        if (send_from_item(repair, cells->head.to, cells->cells[0].key_hash,
                           &message->cells.cells[0].cell, &message->keys[0]))
            return;
    }
    message->cells.cell_count =
        put_cells(repair, cells->cells, cells->cell_count, message->cells.cells, message->keys);
    node_send(repair->node, cells->head.to, &repair->message);
}

static void send_difference(struct repair *repair, const struct exchange_difference *difference)
{
    struct peer_difference *message = &repair->message.difference;

    repair->message.type = PEER_DIFFERENCE;
    message->difference = *difference;
    if (difference->cell_count == 1 &&
        send_from_item(repair, difference->head.to, difference->cells[0].key_hash,
                       &message->difference.cells[0].cell, &message->keys[0]))
        return;
    message->difference.cell_count = put_cells(repair, difference->cells, difference->cell_count,
                                               message->difference.cells, message->keys);
    node_send(repair->node, difference->head.to, &repair->message);
}

static void send_plain(struct repair *repair, node_id to, enum peer_type type)
{
    repair->message.type = type;
    node_send(repair->node, to, &repair->message);
}

void repair_send(struct repair *repair, const struct exchange_message *exchange)
{
    struct peer_message *message = &repair->message;
    const node_id to = exchange->head.to;

    arena_reset(&repair->arena);
    repair->stats.bytes_sent += exchange_message_bytes(exchange);
    switch (exchange->type) {
    case EXCHANGE_COMPARE:
        message->compare = exchange->compare;
        send_plain(repair, to, PEER_COMPARE);
        break;
    case EXCHANGE_COMPARED:
        message->compared = exchange->compared;
        send_plain(repair, to, PEER_COMPARED);
        break;
    case EXCHANGE_DIGESTS:
        message->digests = exchange->digests;
        send_plain(repair, to, PEER_DIGESTS);
        break;
    case EXCHANGE_DIFFERENCE:
        repair->stats.cells_sent += exchange->difference.cell_count;
        send_difference(repair, &exchange->difference);
        break;
    case EXCHANGE_CELLS:
        repair->stats.cells_sent += exchange->cells.cell_count;
        send_cells(repair, &exchange->cells);
        break;
    case EXCHANGE_STORED:
        message->cells_stored = exchange->stored;
        send_plain(repair, to, PEER_CELLS_STORED);
        break;
    case EXCHANGE_KNOW:
        message->know = exchange->know;
        send_plain(repair, to, PEER_KNOW);
        break;
    case EXCHANGE_KNOWN:
        message->known = exchange->known;
        send_plain(repair, to, PEER_KNOWN);
        break;
    }
}

bool repair_send_hint(struct repair *repair, struct hint_delivery delivery, struct slice key)
{
    struct stripe *stripe = store_lock(repair->node->store, delivery.key_hash);
    struct item *item = cell_store_item(stripe, delivery.key_hash, key);
    struct peer_hint *message = &repair->message.hint;
    struct cell *cell = &repair->cells[0];
    bool is_long = item != NULL && (item->bits & ITEM_LONG) != 0;
    bool is_there;

    arena_reset(&repair->arena);
    is_there = item != NULL && read_cell(repair, stripe, delivery.key_hash, key, cell) &&
               cell->sibling_count > 0;
    if (is_there) {
        repair->message.type = PEER_HINT;
        *message = (struct peer_hint){.delivery = delivery, .key = key};
        message->delivery.cell = cell;
        /* Short values are copied into what is unsent at once, under the lock. */
        if (is_long)
            node_send_item(repair->node, delivery.to, &repair->message, item);
        else
            node_send(repair->node, delivery.to, &repair->message);
    }
    store_unlock(stripe);
    return is_there;
}

/* --- taking --- */

static struct replica_now replica_now(const struct repair *repair, uint64_t hash, struct slice key,
                                      bool takes)
{
    return (struct replica_now){.wall_ms = node_wall_ms(repair->node),
                                .drift_max_ms = settings.clock_drift_max_ms,
                                .is_owner = repair_owns(repair, hash, key),
                                .has_room = takes};
}

enum repair_merge repair_merge(struct repair *repair, uint64_t hash, struct slice key,
                               const struct cell *cell, bool takes)
{
    const struct store_request request = {.key_hash = hash, .is_repair = true, .cell = cell};
    struct replica_now now = replica_now(repair, hash, key, takes);
    struct cell_write write = {.copies = repair_class(key)};
    struct replica_stored stored;
    unsigned needed = cell->sibling_count + 1;

    if (key.size == 0 || hash != key_hash(key))
        return REPAIR_FAILED;
    if (cell->sibling_count == 0)
        return REPAIR_MERGED;
    do {
        if (!cell_item_reserve(&repair->own, needed))
            return REPAIR_FAILED;
        needed = cell_store_merge(repair->node->store, key, &request, &now, &repair->own, &write,
                                  &stored);
    } while (needed > repair->own.sibling_room);
    cell_write_deinit(repair->node->store, &write);
    switch (stored.reply.status) {
    case STORE_STORED:
        node_saw_cell(repair->node, cell);
        return stored.is_changed ? REPAIR_CHANGED : REPAIR_MERGED;
    case STORE_REFUSED_MEMORY: return takes ? REPAIR_FAILED : REPAIR_UNWELCOME;
    case STORE_COVERED:
    case STORE_REFUSED_CLOCK:
    case STORE_REFUSED_HINTS: return REPAIR_FAILED;
    }
    return REPAIR_FAILED;
}

static unsigned kinds_of(const struct cell *cell)
{
    unsigned kinds = 0;

    for (unsigned i = 0; i < cell->sibling_count; i++)
        kinds |= cell->siblings[i].kind;
    return kinds;
}

static void set_bit(uint64_t *words, unsigned i)
{
    words[i / 64] |= (uint64_t)1 << (i % 64);
}

void repair_take(struct repair *repair, const struct exchange_cell *cells, const struct slice *keys,
                 unsigned count, bool is_handoff, struct repair_taken *taken)
{
    const struct exchange_view view = repair_view(repair);

    assert(count <= EXCHANGE_KEYS_MAX);
    *taken = (struct repair_taken){0};
    repair->stats.cells_received += count;
    for (unsigned i = 0; i < count; i++)
        store_prefetch_index(repair->node->store, cells[i].key_hash);
    for (unsigned i = 0; i < count; i++) {
        const bool takes = exchange_takes(&view, is_handoff, kinds_of(cells[i].cell));

        switch (repair_merge(repair, cells[i].key_hash, keys[i], cells[i].cell, takes)) {
        case REPAIR_CHANGED:
            set_bit(taken->changed, i);
            taken->changed_count++;
            set_bit(taken->merged, i);
            break;
        case REPAIR_MERGED: set_bit(taken->merged, i); break;
        case REPAIR_UNWELCOME: break;
        case REPAIR_FAILED:
            repair->stats.cells_refused++;
            taken->has_failed = true;
            break;
        }
    }
    repair->stats.cells_changed += taken->changed_count;
}

/* --- dropping --- */

/* Whether the cell is still what it was, and nobody's hint.  Lock held. */
static bool may_drop(struct repair *repair, struct stripe *stripe, uint64_t hash, struct slice key,
                     uint64_t fingerprint)
{
    struct cell cell;

    return !cell_store_item(stripe, hash, key)->is_pinned &&
           read_cell(repair, stripe, hash, key, &cell) &&
           exchange_fingerprint(&cell) == fingerprint;
}

unsigned repair_drop(struct repair *repair, uint64_t hash, uint64_t fingerprint)
{
    struct stripe *stripe = store_lock(repair->node->store, hash);
    unsigned dropped = 0, skipped = 0;
    struct slice key;

    arena_reset(&repair->arena);
    while ((key = cell_store_key(stripe, hash, skipped)).size > 0) {
        if (may_drop(repair, stripe, hash, key, fingerprint)) {
            cell_store_drop(stripe, hash, key);
            dropped++;
        } else
            skipped++;
    }
    store_unlock(stripe);
    return dropped;
}

/* Writes the cell without that sibling.  True: done, or there is nothing to do. */
static bool forget_in(struct repair *repair, uint64_t hash, struct slice key, struct dot dot,
                      struct cell_write *write)
{
    const uint64_t wall_ms = node_wall_ms(repair->node);
    struct stripe *stripe = store_lock(repair->node->store, hash);
    struct cell cell;
    struct sibling *sibling = NULL;

    if (read_cell(repair, stripe, hash, key, &cell))
        sibling = cell_find(&cell, dot);
    if (sibling != NULL) {
        cell_forget(&cell, sibling);
        if (!cell_store_write(repair->node->store, stripe, hash, key, &cell, write, wall_ms))
            return false;
        if (write->failed)
            return true;
        repair->stats.siblings_forgotten++;
    }
    store_unlock(stripe);
    return true;
}

void repair_forget(struct repair *repair, uint64_t hash, struct dot dot)
{
    struct slice key;
    struct cell cell;

    arena_reset(&repair->arena);
    for (unsigned i = 0; repair_copy(repair, hash, i, &key, &cell); i++) {
        struct cell_write write = {.copies = repair_class(key),
                                   .is_owner = repair_owns(repair, hash, key)};

        if (cell_find(&cell, dot) == NULL)
            continue;
        while (!forget_in(repair, hash, key, dot, &write))
            ;
        cell_write_deinit(repair->node->store, &write);
        return;
    }
}
