/* The index of one stripe: from a hash to the items that have it.
 *
 * Linear hashing: buckets of one cache line with 12 items each, and the array grows by one bucket
 * at a time, by splitting the next bucket in turn, so that no request ever waits for a rehash.
 * What does not fit a bucket goes to overflow buckets behind it (about one item in ten).
 *
 *      0            3 4                    15 16                              64
 *     +--------------+-----------------------+---------------------------------+
 *     | overflow     | 12 tags of a byte     | 12 handles of four bytes        |
 *     +--------------+-----------------------+---------------------------------+
 *
 * The buckets of all stripes lie in one range of addresses, interleaved, so that the index is
 * dense and never moves however large it grows:
 *
 *     address = base + (bucket * stripes + stripe) * 64
 *
 * Hash bits: the highest name the stripe, the lowest the bucket, bits 24 to 31 are the tag.
 *
 * Threads: all under the stripe's lock, but for the two prefetches. */
#ifndef SERVER_INDEX_H
#define SERVER_INDEX_H

#include "server/item.h"
#include "server/memory.h"

#define BUCKET_SLOTS 12

struct bucket;

/* What the indices of all stripes share.  [I] but for what range and memory say. */
struct index_space {
    struct range range;
    struct memory *memory;
    unsigned stripe_count;
};

/* One stripe's index.
 *   [S] under the stripe's lock    [R] likewise, read by anyone for prefetching */
struct index {
    struct index_space *space;
    unsigned stripe;
    _Atomic uint32_t bucket_count; /* [R] at least 1 */
    uint32_t overflow_count;       /* [S] */
    uint64_t item_count;           /* [S] */
};

/* A place in the index that holds an item. */
struct index_place {
    struct bucket *bucket;
    struct bucket *before; /* in the chain; NULL if `bucket` is the first */
    unsigned slot;
};

bool index_space_init(struct index_space *, struct memory *, unsigned stripe_count,
                      uint64_t reserved_bytes);
void index_space_deinit(struct index_space *);

/* Starts with `bucket_count` buckets.  False when there is no memory for them. */
bool index_init(struct index *, struct index_space *, unsigned stripe, uint32_t bucket_count);

/* The item of `key`, and where it is; NULL when there is none. */
struct item *index_find(const struct index *, uint64_t hash, struct slice key,
                        struct index_place *);

/* The item whose hash has the low bits `hash_low` and that lies in the queue `in_main`; its whole
 * hash and its place are filled in.  NULL when there is none (any more). */
struct item *index_find_queued(const struct index *, uint32_t hash_low, bool in_main,
                               uint64_t *hash, struct index_place *);

/* Whether some item of that bucket has the tag: may say yes wrongly, never no. */
bool index_may_have(const struct index *, uint32_t hash_low);

/* Where that very item is; false when it is not in the index. */
bool index_find_handle(const struct index *, uint64_t hash, memory_handle, struct index_place *);

/* Adds an item whose key is not in the index.  False when an overflow bucket could not be had. */
bool index_insert(struct index *, uint64_t hash, struct item *);

/* Another item, of the same key, in that place. */
void index_replace(struct index *, struct index_place, struct item *);

void index_remove(struct index *, struct index_place);

/* Splits buckets until the load is right; cheap when it is.  Returns whether the number of buckets
 * changed. */
bool index_grow(struct index *);

/* The items of bucket number `bucket` (overflow included): fills up to `room` pointers, and returns
 * how many there are.  With index_prefetch_bucket() some buckets ahead it is quick. */
unsigned index_bucket_items(const struct index *, uint32_t bucket, struct item **, unsigned room);
void index_prefetch_bucket(const struct index *, uint32_t bucket);

/* Hints, without the lock. */
void index_prefetch(const struct index *, uint64_t hash);
void index_prefetch_items(const struct index *, uint64_t hash);

static inline uint32_t index_bucket_count(const struct index *index)
{
    return atomic_load_explicit(&index->bucket_count, memory_order_relaxed);
}

/* The bucket of a hash among `count`: linear hashing on its low bits. */
static inline uint32_t index_bucket_of(uint32_t hash_low, uint32_t count)
{
    const uint32_t mask = UINT32_MAX >> __builtin_clz(count); /* all bits that count has */
    const uint32_t bucket = hash_low & mask;

    return bucket < count ? bucket : bucket & (mask >> 1);
}

#endif
