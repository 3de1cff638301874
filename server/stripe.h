/* One stripe of the store, as the files that implement it see it: store.c (one key), evict.c (what
 * has to go), sweep.c (what is dead), compact.c (where things lie), shrink.c (an index that
 * is too large), walk.c (all items), cell_store.c and cell_scan.c (the cells of a cluster's node). */
#ifndef SERVER_STRIPE_H
#define SERVER_STRIPE_H

#include "ring/hlc.h"
#include "server/ghost.h"
#include "server/index.h"
#include "server/lock.h"
#include "server/queue.h"
#include "server/store.h"

/* What an item's `frequency` counts up to. */
#define FREQUENCY_MAX 3

struct stripe_counters {
    uint64_t items_total;
    uint64_t evictions, evicted_unfetched, evicted_active, evicted_nonzero, evicted_age_s;
    uint64_t reclaimed, expired_unfetched, swept, swept_checked;
    uint64_t get_expired, get_flushed;
    uint64_t ghost_hits, promoted;
};

/* Looking for dead items, bucket after bucket in the order of a walk.  No living item of the stripe expires before
 * `earliest_ms`; while now is before it there is nothing to find. */
struct hunt {
    uint64_t earliest_ms;
    uint64_t next_earliest_ms; /* what `earliest_ms` becomes when this round is through */
    uint64_t position;         /* where in the index it goes on, see index_span_at() */
    uint32_t patience;         /* buckets an eviction may look through: less when little is found */
};

/* Who may touch which field:
 *   [I] never changes    [S] under the stripe's lock    [R] likewise, read by anyone */
struct stripe {
    struct lock lock;
    struct store *store;                  /* [I] */
    struct index index;                   /* [S], see there */
    struct ghost ghost;                   /* [S], see there */
    struct queue queues[QUEUE_COUNT];     /* [S] */
    uint64_t queue_items[QUEUE_COUNT];    /* [S] */
    uint64_t queue_bytes[QUEUE_COUNT];    /* [S] as allocated */
    _Atomic uint64_t bytes;               /* [R] of both queues */
    uint64_t bytes_requested;             /* [S] before rounding */
    struct hlc_clock clock;               /* [S] */
    hlc_time flushed;                     /* [S] what is not newer is gone */
    struct hunt hunt;                     /* [S] but for: */
    _Atomic uint64_t hunt_from_ms;        /* [R] copy of hunt.earliest_ms, for the sweep */
    unsigned tidy_debt;                   /* [S] entries gone stale since the last tidying */
    bool tidy_round[QUEUE_COUNT];         /* [S] */
    struct stripe_counters counters;      /* [S] */
} __attribute__((aligned(64)));

/* Who may touch which field:
 *   [I] never changes after store_new    [A] anyone, atomically    [W] only who calls store_sweep */
struct store {
    struct store_options options;         /* [I] */
    struct memory *memory;                /* [I] */
    struct cell_store *cells;             /* [I] NULL: standalone */
    unsigned replica_bytes;               /* [I] of struct item_replica, or 0 */
    struct index_space index_space;       /* [I] */
    struct ghost_space ghost_space;       /* [I] */
    struct stripe *stripes;               /* [I] */
    unsigned stripe_count, stripe_shift;  /* [I] */
    _Atomic uint64_t limit_bytes;         /* [A] */
    _Atomic uint64_t out_of_memory;       /* [A] */
    _Atomic uint64_t hunt_from_ms;        /* [A] not after any stripe's, but for a race: a hint */
    _Atomic uint32_t next_victim;         /* [A] where a search through all stripes starts */
    unsigned sweep_stripe;                /* [W] */
    struct store_sweep_report sweep;      /* [W] what is to be reported next */
    uint64_t sweep_upkeep_ms;             /* [W] when memory was last looked after */
    uint64_t process_bytes;               /* [W] resident beyond the cache, as charged */
    int statm;                            /* [W] /proc/self/statm, or -1 */
};

/* What the item takes in this store before the allocator rounds it up. */
static inline uint64_t stored_bytes(const struct store *store, const struct item *item)
{
    return item_bytes(item) + store->replica_bytes;
}

/* Why an item leaves. */
enum leave_reason { LEAVE_DELETED, LEAVE_EVICTED, LEAVE_DEAD };

/* Whether the item is expired or flushed.  Lock held. */
bool stripe_is_dead(const struct stripe *, const struct item *, uint64_t now_ms);

/* Whether a dead item has to stay: pinned, and not flushed.  Lock held. */
static inline bool stripe_keeps_dead(const struct stripe *stripe, const struct item *item)
{
    return item->is_pinned && item->hlc > stripe->flushed;
}

/* Takes the item at that place out, counts it for the reason, and frees it.  On a node of a cluster
 * one that is evicted or has expired may leave a stub in its place: the caller has the stubs trimmed
 * (cells_trim()) once it holds no pointers to items.  Returns the bytes freed, as allocated.  Lock
 * held. */
uint64_t stripe_drop(struct stripe *, struct index_place, struct item *, enum leave_reason);

/* Counts an item of `bytes` that came to its queue (`sign` 1) or left it (-1).  Lock held. */
void stripe_count(struct stripe *, const struct item *, int sign);

/* An expiry was set: the hunt must not miss it.  Lock held. */
void hunt_expect(struct stripe *, uint64_t expiry_ms);

/* Nothing is there to hunt yet. */
void hunt_init(struct stripe *);

/* Starts the hunt anew, as after a flush.  Lock held. */
void hunt_restart(struct stripe *);

/* Looks through up to `buckets` buckets for dead items and drops them, until `wanted` bytes are
 * free.  Returns the bytes freed; adds the items looked at to `checked`.  Lock held. */
uint64_t hunt_dead(struct stripe *, unsigned buckets, uint64_t wanted, uint64_t now_ms,
                   uint64_t *checked);

/* Frees about `wanted` bytes of this stripe: dead items first, then by S3-FIFO if `evicts`, but
 * not the last `spared` items.  Returns the bytes freed, 0 if there was nothing.  Lock held. */
uint64_t stripe_make_room(struct stripe *, uint64_t wanted, unsigned spared, bool evicts,
                          uint64_t now_ms);

/* Takes the oldest item out of a queue of hidden ones, and frees it.  Returns its bytes, or 0 if there
 * is none.  Lock held. */
uint64_t drop_oldest_hidden(struct stripe *, unsigned queue);

/* What the files above ask of cell_store.c; only with `store->cells`.
 *
 * Another item has come in place of the item `before`; either may be NULL.  Lock held. */
void cells_changed(struct store *, uint64_t hash, const struct item *before,
                   const struct item *after);
/* Puts a stub in the place of an item, and frees that.  False, and nothing is changed, if there is
 * no budget for it.  Lock held. */
bool cells_keep_stub(struct stripe *, struct index_place, struct item *);
/* Drops the oldest stubs and tombstones beyond their bounds.  Lock held. */
void cells_trim(struct stripe *);
/* Reaps tombstones whose grace is over.  No lock held. */
void cells_sweep(struct store *, uint64_t now_ms);

/* As store_walk(), but for hidden items, too, and for expired ones. */
uint64_t walk_cells(struct store *, struct hash_range, uint64_t cursor, uint64_t now_ms,
                    void (*visit)(void *context, const struct item *), void *context);

/* Frees about `wanted` bytes for an item of that hash, by compaction or eviction, from its stripe
 * or a fuller one.  False when nothing can be freed.  No lock held. */
bool store_make_room(struct store *, uint64_t hash, uint64_t wanted, uint64_t now_ms);

/* An item has left its queue without its entry: the queue is tidied when it has too many of those.
 * Lock held. */
void queue_entry_went_stale(struct stripe *);

/* Whether an item of the stripe, or one that is to become one, was used often enough for the room it
 * takes.  Lock held. */
bool earns_its_place(const struct stripe *, const struct item *, unsigned uses);

/* Puts an entry for the item into its queue, if it is in one.  Lock held. */
bool queue_item(struct stripe *, uint64_t hash, struct item *);

/* The lines of ghosts that go with an index of that size. */
uint32_t ghost_lines_for(const struct index *);

/* Makes indices that are mostly empty smaller by a few buckets, and gives back their memory once
 * none is any more.  Returns whether there may be more to do.  By one thread; no lock held. */
bool store_shrink_index(struct store *);

/* Empties one sparse slab by moving its items.  Returns whether that freed its memory.  No lock
 * held. */
bool store_compact(struct store *);

#endif
