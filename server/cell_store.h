/* Cells in the store: what a node of a cluster holds for a key (ring/cell.h), kept in items
 * (server/cell_item.h), with all that a cluster needs to know about them.
 *
 *     struct cell_write write = {.copies = ...};
 *     do {
 *         stripe = store_lock(store, hash);
 *         needed = cell_store_read(stripe, hash, key, now_ms, &cell);
 *         ... more than there is room for: store_unlock(), find room, begin anew
 *         ... change the cell
 *     } while (!cell_store_write(store, stripe, hash, key, &cell, &write, now_ms));
 *     if (!write.failed)
 *         store_unlock(stripe);
 *     cell_write_deinit(store, &write);
 *
 * A value that is evicted or expires becomes a stub, while there is budget for stubs, and a delete
 * is kept as a tombstone, for its grace and within its budget.  Both lie in queues of their own,
 * the oldest first.  Plain look-ups see neither.
 *
 *     value ---- evicted, expired ----> stub ---- the oldest, beyond stub_bytes_max ----> forgotten
 *     tombstone ---- after its grace; the oldest beyond tombstone_bytes_max before ----> reaped
 *
 * Forgotten is always the whole cell, context and all: never the value alone.
 *
 * A cell that is held for others, who could not be reached, is pinned, once for each hint and each
 * hint to be: until its pins are gone it is never evicted, made a stub, or reaped.  A flush takes
 * it all the same.  It is in no Merkle tree unless the node owns the key.
 *
 * For each number of copies in use there is a Merkle forest (ring/merkle.h), which each change of
 * an item keeps current, whoever makes it: a partition lies within one stripe.
 *
 * Threads: any; what takes a stripe wants its lock held. */
#ifndef SERVER_CELL_STORE_H
#define SERVER_CELL_STORE_H

#include "ring/exchange.h"
#include "ring/replica.h"
#include "server/store.h"

struct cell_store_options {
    unsigned partition_bits; /* of the ring; at least 1 */
    unsigned leaf_bits;      /* of each Merkle tree */
    uint64_t stub_bytes_max; /* 0: what is evicted is forgotten */
    uint64_t tombstone_bytes_max;
    uint64_t tombstone_grace_ms;
};

/* For store_new() and store_free(). False: memory is short. */
bool cell_store_init(struct store *, const struct cell_store_options *);
void cell_store_deinit(struct store *);

/* Whether the store is one of a cluster's node. */
bool cell_store_is_used(const struct store *);

/* From now on there may be cells of that class.  By one thread at a time, before the first such
 * cell is written.  False: memory is short. */
bool cell_store_use_class(struct store *, unsigned copies);

/* The forests in use; one more may be added later, none ever moves. */
const struct merkle_forest *cell_store_forests(const struct store *, unsigned *count);

/* Has the cache lines loaded that a write of a cell of that class will need first: those of the
 * index and of the Merkle tree.  Without the lock; only a hint, which needs some time to be one. */
void cell_store_prefetch(struct store *, uint64_t hash, unsigned copies);

/* Reads the cell of a key; what has expired or was flushed counts as such.  Empty if nothing is
 * known of the key.  The handles of values are the addresses of their bytes, good until the lock is
 * let go or the key is written.  Returns how many siblings it needs room for: more than there is,
 * and `into` is empty.  Lock held. */
unsigned cell_store_read(struct stripe *, uint64_t hash, struct slice key, uint64_t now_ms,
                         struct cell *into);

/* The item that holds the cell of a key, values or none; NULL: there is none.  Lock held. */
struct item *cell_store_item(struct stripe *, uint64_t hash, struct slice key);

/* The key of the cell number `skipped` of those with that hash; empty if there are no more.  In the
 * item, so good as long as the lock is held. */
struct slice cell_store_key(struct stripe *, uint64_t hash, unsigned skipped);

/* How a cell is to be stored, and an item under construction while the lock is let go. */
struct cell_write {
    unsigned copies;    /* the class; 0: in no Merkle tree */
    bool is_owner;      /* of the key is this node; else the cell is in no tree while it has pins */
    bool adds_pin;      /* for a hint that the caller is about to add (server/hint_queue.h) */
    bool key_is_binary; /* of a new key, or if `says_key_form` in any case */
    bool says_key_form;
    bool failed; /* no memory: the old cell stays */
    struct item *item;
    struct item_spec spec;
};

/* Stores the cell in place of what is held, or removes the key if the cell is empty.  The values
 * are copied from where their handles say.  True: done, and the lock is still held, or without
 * memory `write->failed` and the lock let go.  False: the lock was let go, begin anew. */
bool cell_store_write(struct store *, struct stripe *, uint64_t hash, struct slice key,
                      const struct cell *, struct cell_write *, uint64_t now_ms);
void cell_write_deinit(struct store *, struct cell_write *);

/* One more pin for the cell of a key, which stays as it is but for `is_owner` as above.  False:
 * nothing is held for the key, or it cannot have more.  Lock held. */
bool cell_store_pin(struct stripe *, uint64_t hash, struct slice key, bool is_owner);

/* One pin fewer; returns how many are left, or -1 if there was none: the cell was lost to a flush.
 * Without pins it is again like any other, but in no tree before cell_store_class().  Lock held. */
int cell_store_unpin(struct stripe *, uint64_t hash, struct slice key);

/* The cell of a key, if there is one, changes its class: into the trees of that one (0: of none).
 * Lock held. */
void cell_store_class(struct stripe *, uint64_t hash, struct slice key, unsigned copies);

/* Drops the cell of a key, context and all, as one that others have.  Lock held. */
void cell_store_drop(struct stripe *, uint64_t hash, struct slice key);

/* Does what a peer's request asks for (replica_store()), and stores what comes of it.  `own` has
 * the caller's room; `now->clock` is filled in here, and `now->flushed_up_to` raised to what the
 * store knows.  `write->is_owner` and `adds_pin` are set here, too: if `stored->makes_hint` the
 * cell has a pin for it.  Returns how many siblings both cells have: more than there is room for,
 * and nothing was done.  No lock held. */
unsigned cell_store_merge(struct store *, struct slice key, const struct store_request *,
                          struct replica_now *now, struct cell *own, struct cell_write *,
                          struct replica_stored *stored);

/* Fills `items` as exchange.h says, but for the number; tombstones from before `reap_before` are
 * due to be reaped.  May give less than there is: `reached` says how far it came.  No lock held.
 * False: memory is short. */
bool cell_store_scan(struct store *, const struct exchange_scan *, hlc_time reap_before,
                     uint64_t now_ms, struct exchange_item *items, struct exchange_scanned *);

/* Whether there is room without evicting anything; with some hysteresis: not again before there is
 * room to spare.  As of the last sweep; any thread. */
bool cell_store_has_room(const struct store *);

/* Node ids as items name them. */
struct node_table *cell_store_nodes(struct store *);

/* Since the start, but for what is said to be now. */
struct cell_store_stats {
    uint64_t stubs, stub_bytes, tombstones, tombstone_bytes; /* now, as allocated */
    uint64_t stubs_made;
    uint64_t stubs_forgotten; /* by the bound */
    uint64_t cells_forgotten; /* evicted or expired, without a stub */
    uint64_t tombstones_reaped;
    uint64_t tombstones_reaped_early; /* by the bound */
};
/* Takes the stripes' locks, one after the other.  Any thread. */
void cell_store_stats(struct store *, struct cell_store_stats *);

#endif
