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
 * Of a hash, the highest bits name the stripe.  The 32 below them are what the index goes by (its
 * "bits"), turned so that the highest eight, which together with the stripe are the partition of
 * the ring, come to lie lowest:
 *
 *      hash   | stripe |  a (8)  |  b (24)  | ...
 *      bits            |  b (24) |  a (8)   |      the bucket from the right, the tag from the left
 *
 * So a partition is a set of whole buckets, unless there are few.
 *
 * A walk takes the buckets by the bits read backwards: each bucket then is a contiguous range of
 * 32-bit "positions", whose ends stay where they are when a bucket is split in two.  So a walk that
 * goes on from a position comes to each item once, however the index grows or shrinks meanwhile.
 *
 * Threads: all under the stripe's lock, but for the two prefetches. */
#ifndef SERVER_INDEX_H
#define SERVER_INDEX_H

#include "server/item.h"
#include "server/memory.h"

#define BUCKET_SLOTS       12
#define INDEX_BUCKET_BYTES 64

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
    uint32_t bits_shift;           /* [S] never changes: of a hash, to its bits */
    uint32_t bucket_count_min;     /* [S] never changes: it does not shrink below */
    uint32_t overflow_count;       /* [S] */
    uint64_t item_count;           /* [S] */
};

/* A place in the index that holds an item. */
struct index_place {
    struct bucket *bucket;
    struct bucket *before; /* in the chain; NULL if `bucket` is the first */
    unsigned slot;
};

/* `stripe_count` is a power of two. */
bool index_space_init(struct index_space *, struct memory *, unsigned stripe_count,
                      uint64_t reserved_bytes);
void index_space_deinit(struct index_space *);

/* Starts with `bucket_count` buckets.  False when there is no memory for them. */
bool index_init(struct index *, struct index_space *, unsigned stripe, uint32_t bucket_count);

/* The item of `key`, and where it is; NULL when there is none. */
struct item *index_find(const struct index *, uint64_t hash, struct slice key,
                        struct index_place *);

/* The item whose hash has those bits and that lies in that queue, see item_queue(); its whole hash
 * and its place are filled in.  NULL when there is none (any more). */
struct item *index_find_queued(const struct index *, uint32_t bits, unsigned queue, uint64_t *hash,
                               struct index_place *);

/* Number `skipped` of the items that have that hash, or NULL. */
struct item *index_find_hash(const struct index *, uint64_t hash, unsigned skipped);

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

/* Merges the last bucket into the one that it was split from, if the index is mostly empty.  Returns
 * whether it did: the caller may go on. */
bool index_shrink(struct index *);

/* What a position of a walk lies in. */
struct index_span {
    uint32_t bucket;
    unsigned level;  /* how many of its items' bits are the same, from the right */
    uint32_t first;  /* the positions of its items: from here */
    uint64_t end;    /* to before here, which is 1 << 32 for the last */
};
struct index_span index_span_at(const struct index *, uint32_t position);

/* The position of an item of that hash. */
uint32_t index_position_of(const struct index *, uint64_t hash);

/* The items of bucket number `bucket` (overflow included), all but the first `skipped`: fills up to
 * `room` pointers, and returns how many there are.  With index_prefetch_span() some time before it
 * is quick. */
unsigned index_bucket_items(const struct index *, uint32_t bucket, unsigned skipped,
                            struct item **, unsigned room);
/* Fetches the bucket at a position that index_span.end names. */
void index_prefetch_span(const struct index *, uint64_t position);

/* Hints, without the lock. */
void index_prefetch(const struct index *, uint32_t bits);
void index_prefetch_items(const struct index *, uint32_t bits);

/* How far to shift a hash right to have its bits: see hash_bits(). */
static inline unsigned hash_bits_shift(unsigned stripe_count)
{
    return 32 - (unsigned)__builtin_ctz(stripe_count);
}

static inline uint32_t hash_bits(uint64_t hash, unsigned shift)
{
    const uint32_t bits = (uint32_t)(hash >> shift);

    return bits << 8 | bits >> 24;
}

static inline uint32_t index_bits(const struct index *index, uint64_t hash)
{
    return hash_bits(hash, index->bits_shift);
}

static inline uint32_t index_bucket_count(const struct index *index)
{
    return atomic_load_explicit(&index->bucket_count, memory_order_relaxed);
}

/* The bucket of an item among `count`: linear hashing on the low ones of its bits. */
static inline uint32_t index_bucket_of(uint32_t bits, uint32_t count)
{
    const uint32_t mask = UINT32_MAX >> __builtin_clz(count); /* all bits that count has */
    const uint32_t bucket = bits & mask;

    return bucket < count ? bucket : bucket & (mask >> 1);
}

#endif
