/* The store: every item of this process, in lock stripes.
 *
 * A stripe is a contiguous range of the hash space (its top bits), with its own lock, index,
 * clock (ring/hlc.h) and eviction queues.  No thread ever holds two stripe locks.
 *
 * Reading one key:                      Writing one key:
 *   stripe = store_lock(store, hash)      item = item_new(store, &spec)      no lock: may evict
 *   item = stripe_find(stripe, ...)       fill item_value(item)
 *   ... copy or item_ref() ...            stripe = store_lock(store, hash)
 *   stripe_use(stripe, item, now_ms)      old = stripe_find(...); decide
 *   store_unlock(stripe)                  stripe_put(stripe, hash, item)     replaces old
 *                                         store_unlock(stripe)
 *
 * Memory: `limit_bytes` bounds items, index, queues and the allocator's overhead together.
 * item_new() makes room by evicting (S3-FIFO: Yang et al., "FIFO queues are all you need for cache
 * eviction", SOSP 2023), expired items first. */
#ifndef SERVER_STORE_H
#define SERVER_STORE_H

#include "server/item.h"

struct store;
struct stripe;

struct store_sweep_report {
    uint64_t since_ms; /* when it began, */
    uint64_t now_ms;   /* and ended */
    uint64_t last_ms;  /* when the one before ended; 0: there was none */
    uint64_t next_ms;
    uint64_t examined, freed; /* items */
};

struct store_options {
    uint64_t limit_bytes;    /* -m */
    uint64_t item_bytes_max; /* -I: key, value and header together; with limit and threads it */
    unsigned threads;        /* (how many will use it at once) chooses the number of stripes */
    bool evicts;             /* false (-M): item_new() fails at the limit */
    const struct cell_store_options *cells; /* of a cluster's node (server/cell_store.h), or NULL */
    unsigned hash_power;     /* -o hashpower: the index starts with room for 2^n items; 0: small */
    /* Called for each item that is evicted or reaped, under its stripe's lock; may be NULL. */
    void (*on_eviction)(void *context, const struct item *, bool is_expired);
    /* Called by store_sweep(), at most once a second, when it has freed dead items and for now
     * finds no more: what it did since the last time, and when it will next find some (UINT64_MAX:
     * nothing expires).  May be NULL. */
    void (*on_sweep)(void *context, const struct store_sweep_report *);
    void *context;
};

/* Borrows the options.  Gives a store, or NULL when memory is short or `limit_bytes` cannot be
 * reserved; says which in the log. */
struct store *store_new(const struct store_options *);
void store_free(struct store *);

/* Called once by each thread before it uses the store, and when it ends: its own allocator
 * cache. */
void store_thread_init(struct store *);
void store_thread_deinit(struct store *);

/* Has the cache lines loaded that a look-up of `hash` will need: first the index line, then, in a
 * second pass over the same keys, the item.  Both may be called without the lock, and are only
 * hints. */
void store_prefetch_index(struct store *, uint64_t hash);
void store_prefetch_item(struct store *, uint64_t hash);

struct stripe *store_lock(struct store *, uint64_t hash);
void store_unlock(struct stripe *);

/* The living item of `key`, or NULL.  An expired or flushed one is removed on the way, and counted.
 * Lock held. */
struct item *stripe_find(struct stripe *, uint64_t hash, struct slice key, uint64_t now_ms);

/* The same, for one who is about to store the key: a dead item counts as reclaimed, too. */
struct item *stripe_find_to_store(struct stripe *, uint64_t hash, struct slice key,
                                  uint64_t now_ms);

/* Counts a use of the item for eviction, and keeps the time of it.  Lock held. */
void stripe_use(struct stripe *, struct item *, uint64_t now_ms);

/* Stores `item`, in place of the one that has its key if there is one (which keeps its place in
 * the queues).  Takes `item`.  Lock held.  Returns false, and frees `item`, when the index could
 * not grow. */
bool stripe_put(struct stripe *, uint64_t hash, struct item *item);

/* Makes `item` what the spec says, value included, if that needs no other memory: the same optional
 * fields, the same size.  As stripe_put() of a new item under a fresh dot, but nothing is allocated,
 * indexed or queued.  Returns false, and changes nothing, if the item has another shape, or on a node
 * of a cluster.  Lock held. */
bool stripe_overwrite(struct stripe *, struct item *item, const struct item_spec *,
                      struct slice value, uint64_t now_ms);

/* Takes the item out of the store and frees it (once the last reference is gone).  Lock held. */
void stripe_remove(struct stripe *, uint64_t hash, struct item *);

/* Evicts a living item, as if its memory were needed: a node of a cluster may keep a stub.  False:
 * it is pinned there, and stays.  Lock held. */
bool stripe_evict(struct stripe *, uint64_t hash, struct item *);

/* A new dot for this stripe: strictly rising.  Lock held. */
uint64_t stripe_clock_next(struct stripe *, uint64_t now_ms);

/* Whether the item can take an expiry in place; if not, it has to be stored anew. Lock held. */
bool item_can_expire_in_place(const struct item *);
/* Changes the expiry (0: never) of an item for which item_can_expire_in_place().  Not on a node of a
 * cluster, where this is a new state of the cell.  Lock held. */
void stripe_set_expiry(struct stripe *, struct item *, uint64_t expiry_ms);

/* A new item, private to the caller until stripe_put() or item_discard(); its hlc is 0.  Evicts
 * others to make room.  NULL when there is no room (nothing left to evict, or -M).  Lock NOT held. */
struct item *item_new(struct store *, const struct item_spec *, uint64_t now_ms);
void item_discard(struct store *, struct item *);

/* For values that are sent from the item: only items with ITEM_LONG.  item_ref() under the lock,
 * item_unref() from any thread, without it. */
void item_ref(struct item *);
void item_unref(struct store *, struct item *);

/* Everything written until now is gone (flush_all): every dot up to the clock of each stripe. */
void store_flush(struct store *, uint64_t now_ms);
/* The same of a cluster: every dot up to `time`, and new ones come after it. */
void store_flush_up_to(struct store *, uint64_t time);

/* Has all clocks go on after `time`: what this node gave before it started again. */
void store_raise_clocks(struct store *, uint64_t time);
/* The highest time that any of the clocks gave. */
uint64_t store_newest_time(struct store *);

/* Changes -m while running.  Shrinking evicts in the background sweep. */
void store_set_limit(struct store *, uint64_t limit_bytes);

/* One slice of the slow sweep: looks at up to `items` items from where it last stopped, frees the
 * expired and flushed ones, returns memory, and keeps the resident size within the limit.  Called
 * by one thread only, regularly.  Returns how many milliseconds to wait before the next call. */
unsigned store_sweep(struct store *, unsigned items, uint64_t now_ms);

/* Key hashes from `first` to `last`, both included: a partition of the ring, or everything. */
struct hash_range {
    uint64_t first, last;
};
extern const struct hash_range hash_range_all;

/* Walks the items of a range, one piece at a time: calls `visit` for each living item of the next
 * few buckets, under its stripe's lock, and returns the cursor to go on from; 0 starts and ends a
 * walk.  Each item that is there throughout is visited exactly once, although the index may grow or
 * shrink meanwhile; one that is stored or removed during the walk, at most once, unless it is both.
 * A range that is a 256th of a stripe, or more, costs little beyond the items that it has. */
uint64_t store_walk(struct store *, struct hash_range, uint64_t cursor, uint64_t now_ms,
                    void (*visit)(void *context, const struct item *), void *context);

/* Counters for `stats`.  Each is a sum over the stripes, taken one lock at a time. */
struct store_stats {
    uint64_t items, items_total;     /* now, and ever stored */
    uint64_t bytes;                  /* items, as allocated */
    uint64_t bytes_requested;        /* items, before rounding */
    uint64_t index_bytes, index_buckets;
    uint64_t overhead_bytes;         /* queues, ghosts, allocator metadata */
    uint64_t limit_bytes, resident_bytes;
    uint64_t evictions, evicted_unfetched, evicted_active, evicted_nonzero;
    uint64_t evicted_age_s;          /* since the last access, of the newest evicted */
    uint64_t reclaimed;              /* expired items whose memory a store reused */
    uint64_t expired_unfetched, swept, swept_checked;
    uint64_t get_expired, get_flushed;
    uint64_t out_of_memory;          /* item_new() gave up */
    uint64_t small_items, main_items, ghost_hits, promoted;
    uint64_t oldest_age_s;
    bool index_is_growing;
};
void store_stats(struct store *, struct store_stats *);
void store_stats_reset(struct store *);

/* `stats sizes`: for each size class of 32 bytes that has items, in rising order. */
void store_sizes(struct store *, void (*visit)(void *context, uint64_t bytes, uint64_t items),
                 void *context);

#endif
