/* The store's memory: exact to the byte, bounded, and able to tighten up.
 *
 *     range of addresses (range.h) -> runs of pages (pages.h) -> slabs of equal slots -> items
 *
 * Why not a general allocator: sizes here are a multiple of 8 bytes up to 512 (then 16, then 16
 * steps per doubling), where jemalloc has four steps per doubling from 128 bytes on.  Items are
 * found through one 4-byte handle, so a sparsely filled slab can be emptied by moving what is left
 * in it (memory_drain_begin()): when the sizes of values change, no memory stays behind in slabs of
 * the old size.  And what is resident is known, not estimated.  Measured at -m 256 against a
 * jemalloc 5.3 arena with the same accounting (nallocx): 267 resident bytes for an item of 248
 * where jemalloc takes 278; and after values of 100 bytes gave way to 1,000, then 300, then others,
 * with a fifth of the old items surviving, at most 1.04 of the limit resident, jemalloc 1.8 to 2.1.
 *
 * A handle is an address in units of `1 << handle_shift` bytes: 8, so that 32 bits span 32 GB, or
 * more when the limit is larger.
 *
 * Each thread that said so (memory_thread_init()) keeps a few free slots of each small size, so
 * that an eviction and the allocation that caused it take no shared lock.
 *
 * Threads: any.  Locks: a class's, then that of the pages; both may be taken under a stripe's. */
#ifndef SERVER_MEMORY_H
#define SERVER_MEMORY_H

#include "server/pages.h"

#define MEMORY_CLASSES        146
#define MEMORY_SLOT_BYTES_MAX 8192u

/* What bookkeeping allocates has classes of its own, because it is found through no index and so
 * could not be moved. */
enum memory_use { MEMORY_ITEM, MEMORY_OVERFLOW, MEMORY_CHUNK };
#define MEMORY_OVERFLOW_BYTES 64u
#define MEMORY_CHUNK_BYTES    512u

typedef uint32_t memory_handle; /* 0: none */

/* Slabs of one class by how full they are: the fullest are allocated from, the emptiest drained. */
#define SLAB_BINS 4

/* Who may touch which field:
 *   [I] never changes    [L] under `lock`    [R] under `lock`, read by anyone */
struct memory_class {
    pthread_mutex_t lock;
    uint32_t slot_bytes;             /* [I] */
    uint32_t slab_pages;             /* [I] */
    uint32_t slots;                  /* [I] per slab */
    uint32_t reciprocal;             /* [I] of slot_bytes, to divide by multiplying */
    uint32_t header_bytes;           /* [I] before the first slot */
    uint32_t cached_max;             /* [I] free slots a thread may keep */
    uint32_t partial[SLAB_BINS];     /* [L] slabs with a free slot, by page; the last is fullest */
    _Atomic uint32_t free_slots;     /* [R] in slabs, not in caches */
    _Atomic uint32_t slabs;          /* [R] */
    enum memory_use use;             /* [I] */
} __attribute__((aligned(64)));

struct memory {
    struct pages pages;
    unsigned handle_shift;           /* [I] 3: units of 8 bytes */
    _Atomic uint64_t limit_bytes;    /* [A] pages and what is charged together */
    _Atomic uint64_t charged_bytes;  /* [A] outside of the pages: index, ghosts, maps, the process */
    _Atomic uint64_t free_slot_bytes; /* [A] in slabs of items */
    _Atomic uint64_t drain_from_bytes; /* [A] free bytes from which on a drain may succeed */
    _Atomic uint32_t recall;         /* [A] rises when threads are to give back what they keep */
    struct memory_class classes[MEMORY_CLASSES];
};

/* Gives a memory that may hold `limit_bytes`, or NULL when there are no addresses for it. */
struct memory *memory_new(uint64_t limit_bytes);
void memory_free(struct memory *);

/* This thread keeps free slots from now on, or no longer. */
void memory_thread_init(struct memory *);
void memory_thread_deinit(struct memory *);

/* Memory for an item of that size, or NULL when the limit has no room for it. */
void *memory_alloc(struct memory *, uint64_t bytes);
/* The same for what is made while others are evicted: where no slot of its size is left it may exceed
 * the limit by one slab, unless that is exceeded already.  NULL when there is no memory, or it is
 * larger than a slot. */
void *memory_alloc_over(struct memory *, uint64_t bytes);
/* For bookkeeping: may exceed the limit a little.  NULL when there is no memory at all. */
void *memory_alloc_forced(struct memory *, enum memory_use);
/* `bytes` as at the allocation. */
void memory_release(struct memory *, void *, uint64_t bytes);
void memory_release_forced(struct memory *, void *, enum memory_use);

/* What an allocation of that size takes. */
uint64_t memory_round(const struct memory *, uint64_t bytes);

/* Changes the limit; what is dirty is given back if it no longer fits. */
void memory_set_limit(struct memory *, uint64_t limit_bytes);
/* Counts bytes outside of the pages. */
void memory_charge(struct memory *, int64_t bytes);

/* What is held of the limit: resident pages and what is charged. */
uint64_t memory_held_bytes(const struct memory *);

/* Whether draining is worth more than eviction: too many slots are free in sizes that nobody asks
 * for. */
bool memory_is_sparse(const struct memory *);

/* Whether forced allocations and charges made more resident than the limit allows. */
static inline bool memory_is_over(const struct memory *memory)
{
    const struct pages *pages = &memory->pages;

    return atomic_load_explicit(&pages->used, memory_order_relaxed) +
               atomic_load_explicit(&pages->dirty, memory_order_relaxed) >
           atomic_load_explicit(&pages->budget, memory_order_relaxed);
}

/* Gives back dirty pages to get within the limit; false when there are not enough of them. */
bool memory_fit(struct memory *);

/* Emptying a slab, slot by slot.  While it lasts nothing is allocated from that slab. */
struct memory_drain {
    uint32_t slab; /* its first page */
    unsigned class;
    unsigned slot; /* the next one to look at */
};
/* Chooses a sparse slab whose items fit into the free slots of others.  False when no class has
 * that many free slots. */
bool memory_drain_begin(struct memory *, struct memory_drain *);
/* The next slot that was allocated when asked, or NULL at the end.  By the time the caller looks
 * it may be free again; it is not given anew before memory_drain_end(). */
void *memory_drain_next(struct memory *, struct memory_drain *);
/* Frees a slot of that slab past the thread's cache. */
void memory_drain_release(struct memory *, struct memory_drain *, void *);
/* Frees the slab if it is empty now, and returns whether it was. */
bool memory_drain_end(struct memory *, struct memory_drain *);

static inline void *memory_pointer(const struct memory *memory, memory_handle handle)
{
    return memory->pages.range.base + ((uint64_t)handle << memory->handle_shift);
}

static inline memory_handle memory_handle_of(const struct memory *memory, const void *pointer)
{
    return (memory_handle)(((uintptr_t)pointer - (uintptr_t)memory->pages.range.base) >>
                           memory->handle_shift);
}

#endif
