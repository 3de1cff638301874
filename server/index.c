/* 1. An item is in the bucket that index_bucket_of() says, or in an overflow bucket behind it.
 * 2. Slots are in use from the first on without a gap, through all buckets of a chain: an item
 *    that is removed is replaced by the chain's last.
 * 3. A slot in use has a handle and a tag that are not 0; a free one has both 0. */
#include "server/index.h"
#include "ring/key_hash.h"
#include <assert.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Items per bucket from which on the index grows.  Measured: at 9.5 of 12 it takes 8.1 bytes per
 * item, and one look-up in twelve needs a second line. */
#define LOAD_TENTHS 95u
/* It shrinks when it has so many times the buckets that its items need. */
#define SHRINK_BELOW 4u

/* Buckets are counted as memory in lumps, ahead of their use. */
#define CHARGE_BUCKETS 64
#define CHARGE_BYTES   ((int64_t)CHARGE_BUCKETS * 64)

#define ITEM_LINE_BYTES 64

#define SPLIT_ROOM 96 /* items of one chain that a split can move; beyond, it waits */

struct bucket {
    _Atomic memory_handle overflow;
    _Atomic uint8_t tag[BUCKET_SLOTS];
    _Atomic memory_handle handle[BUCKET_SLOTS];
};

static_assert(sizeof(struct bucket) == INDEX_BUCKET_BYTES, "a bucket is a cache line");
static_assert(sizeof(struct bucket) == MEMORY_OVERFLOW_BYTES, "overflow buckets are buckets");

static uint8_t tag_of(uint32_t bits)
{
    const uint8_t tag = (uint8_t)(bits >> 24);

    return tag == 0 ? 1 : tag;
}

static struct bucket *bucket_at(const struct index *index, uint32_t bucket)
{
    const struct index_space *space = index->space;

    return (struct bucket *)(void *)(space->range.base +
                                     ((uint64_t)bucket * space->stripe_count + index->stripe) *
                                         sizeof(struct bucket));
}

static struct bucket *bucket_of(const struct index *index, uint32_t bits)
{
    return bucket_at(index, index_bucket_of(bits, index_bucket_count(index)));
}

static struct bucket *overflow_of(const struct index *index, const struct bucket *bucket)
{
    const memory_handle handle = atomic_load_explicit(&bucket->overflow, memory_order_acquire);

    return handle == 0 ? NULL : memory_pointer(index->space->memory, handle);
}

static memory_handle handle_in(const struct bucket *bucket, unsigned slot)
{
    return atomic_load_explicit(&bucket->handle[slot], memory_order_relaxed);
}

static struct item *item_in(const struct index *index, const struct bucket *bucket, unsigned slot)
{
    const memory_handle handle = handle_in(bucket, slot);

    return handle == 0 ? NULL : memory_pointer(index->space->memory, handle);
}

/* A prefetcher may read the line at any time: relaxed stores keep it from seeing torn words. */
static void slot_set(struct bucket *bucket, unsigned slot, uint8_t tag, memory_handle handle)
{
    atomic_store_explicit(&bucket->tag[slot], tag, memory_order_relaxed);
    atomic_store_explicit(&bucket->handle[slot], handle, memory_order_relaxed);
}

/* One bit per slot whose tag is `tag`. */
static unsigned bucket_match(const struct bucket *bucket, uint8_t tag)
{
#if defined(__SSE2__) && !defined(WITH_SANITIZER)
    const __m128i line = _mm_load_si128((const __m128i *)(const void *)bucket);
    const __m128i equal = _mm_cmpeq_epi8(line, _mm_set1_epi8((char)tag));

    return (unsigned)_mm_movemask_epi8(equal) >> 4;
#else
    unsigned match = 0;

    for (unsigned slot = 0; slot < BUCKET_SLOTS; slot++)
        match |= (unsigned)(atomic_load_explicit(&bucket->tag[slot], memory_order_relaxed) == tag)
                 << slot;
    return match;
#endif
}

static unsigned bucket_used(const struct bucket *bucket)
{
    return (unsigned)__builtin_ctz(bucket_match(bucket, 0) | 1u << BUCKET_SLOTS);
}

bool index_space_init(struct index_space *space, struct memory *memory, unsigned stripe_count,
                      uint64_t reserved_bytes)
{
    assert((stripe_count & (stripe_count - 1)) == 0);

    space->memory = memory;
    space->stripe_count = stripe_count;
    return range_init(&space->range, reserved_bytes, true);
}

void index_space_deinit(struct index_space *space)
{
    range_deinit(&space->range);
}

static bool commit_buckets(struct index *index, uint32_t count)
{
    const struct index_space *space = index->space;

    return range_commit(&index->space->range,
                        (uint64_t)count * space->stripe_count * sizeof(struct bucket));
}

bool index_init(struct index *index, struct index_space *space, unsigned stripe,
                uint32_t bucket_count)
{
    assert(bucket_count >= 1);
    assert(stripe < space->stripe_count);

    *index = (struct index){
        .space = space,
        .stripe = stripe,
        .bucket_count = bucket_count,
        .bits_shift = hash_bits_shift(space->stripe_count),
        .bucket_count_min = bucket_count,
    };
    if (!commit_buckets(index, bucket_count))
        return false;
    memory_charge(space->memory, ((int64_t)bucket_count / CHARGE_BUCKETS + 1) * CHARGE_BYTES);
    return true;
}

struct item *index_find(const struct index *index, uint64_t hash, struct slice key,
                        struct index_place *place)
{
    const uint32_t bits = index_bits(index, hash);
    const uint8_t tag = tag_of(bits);
    struct bucket *before = NULL;

    for (struct bucket *bucket = bucket_of(index, bits); bucket != NULL;
         before = bucket, bucket = overflow_of(index, bucket))
        for (unsigned match = bucket_match(bucket, tag); match != 0; match &= match - 1) {
            const unsigned slot = (unsigned)__builtin_ctz(match);
            struct item *item = item_in(index, bucket, slot);
            if (item->key_bytes == key.size && slice_equal(item_key(item), key)) {
                *place = (struct index_place){bucket, before, slot};
                return item;
            }
        }
    return NULL;
}

struct item *index_find_queued(const struct index *index, uint32_t bits, unsigned queue,
                               uint64_t *hash, struct index_place *place)
{
    const uint8_t tag = tag_of(bits);
    struct bucket *before = NULL;

    for (struct bucket *bucket = bucket_of(index, bits); bucket != NULL;
         before = bucket, bucket = overflow_of(index, bucket))
        for (unsigned match = bucket_match(bucket, tag); match != 0; match &= match - 1) {
            const unsigned slot = (unsigned)__builtin_ctz(match);
            struct item *item = item_in(index, bucket, slot);
            if (item_queue(item) != queue)
                continue;
            *hash = key_hash(item_key(item));
            if (index_bits(index, *hash) == bits) {
                *place = (struct index_place){bucket, before, slot};
                return item;
            }
        }
    return NULL;
}

struct item *index_find_hash(const struct index *index, uint64_t hash, unsigned skipped)
{
    const uint32_t bits = index_bits(index, hash);
    const uint8_t tag = tag_of(bits);

    for (struct bucket *bucket = bucket_of(index, bits); bucket != NULL;
         bucket = overflow_of(index, bucket))
        for (unsigned match = bucket_match(bucket, tag); match != 0; match &= match - 1) {
            struct item *item = item_in(index, bucket, (unsigned)__builtin_ctz(match));
            if (key_hash(item_key(item)) == hash && skipped-- == 0)
                return item;
        }
    return NULL;
}

bool index_find_handle(const struct index *index, uint64_t hash, memory_handle handle,
                       struct index_place *place)
{
    const uint32_t bits = index_bits(index, hash);
    const uint8_t tag = tag_of(bits);
    struct bucket *before = NULL;

    for (struct bucket *bucket = bucket_of(index, bits); bucket != NULL;
         before = bucket, bucket = overflow_of(index, bucket))
        for (unsigned match = bucket_match(bucket, tag); match != 0; match &= match - 1) {
            const unsigned slot = (unsigned)__builtin_ctz(match);
            if (handle_in(bucket, slot) == handle) {
                *place = (struct index_place){bucket, before, slot};
                return true;
            }
        }
    return false;
}

/* Adds to the chain from `bucket` on. */
static bool chain_add(struct index *index, struct bucket *bucket, uint8_t tag,
                      memory_handle handle)
{
    struct bucket *next;
    unsigned slot;

    while ((slot = bucket_used(bucket)) == BUCKET_SLOTS) {
        next = overflow_of(index, bucket);
        if (next == NULL) {
            next = memory_alloc_forced(index->space->memory, MEMORY_OVERFLOW);
            if (next == NULL)
                return false;
            atomic_store_explicit(&next->overflow, 0, memory_order_relaxed);
            for (slot = 0; slot < BUCKET_SLOTS; slot++)
                slot_set(next, slot, 0, 0);
            atomic_store_explicit(&bucket->overflow, memory_handle_of(index->space->memory, next),
                                  memory_order_release);
            index->overflow_count++;
        }
        bucket = next;
    }
    slot_set(bucket, slot, tag, handle);
    return true;
}

bool index_insert(struct index *index, uint64_t hash, struct item *item)
{
    const uint32_t bits = index_bits(index, hash);

    if (!chain_add(index, bucket_of(index, bits), tag_of(bits),
                   memory_handle_of(index->space->memory, item)))
        return false;
    index->item_count++;
    return true;
}

void index_replace(struct index *index, struct index_place place, struct item *item)
{
    assert(handle_in(place.bucket, place.slot) != 0);
    atomic_store_explicit(&place.bucket->handle[place.slot],
                          memory_handle_of(index->space->memory, item), memory_order_relaxed);
}

static void overflow_free(struct index *index, struct bucket *before, struct bucket *bucket)
{
    assert(overflow_of(index, bucket) == NULL);
    atomic_store_explicit(&before->overflow, 0, memory_order_relaxed);
    memory_release_forced(index->space->memory, bucket, MEMORY_OVERFLOW);
    assert(index->overflow_count >= 1);
    index->overflow_count--;
}

/* The last bucket of the chain from `place->bucket` on, and its last slot in use. */
static struct index_place chain_end(const struct index *index, struct index_place place)
{
    struct bucket *next;

    while ((next = overflow_of(index, place.bucket)) != NULL) {
        place.before = place.bucket;
        place.bucket = next;
    }
    place.slot = bucket_used(place.bucket) - 1;
    return place;
}

/* Frees the last slot in use of a chain, and its bucket if that is an overflow one. */
static void chain_drop(struct index *index, struct index_place end)
{
    slot_set(end.bucket, end.slot, 0, 0);
    if (end.slot == 0 && end.before != NULL)
        overflow_free(index, end.before, end.bucket);
}

void index_remove(struct index *index, struct index_place place)
{
    const struct index_place end = chain_end(index, place);

    assert(handle_in(place.bucket, place.slot) != 0);
    slot_set(place.bucket, place.slot,
             atomic_load_explicit(&end.bucket->tag[end.slot], memory_order_relaxed),
             handle_in(end.bucket, end.slot));
    chain_drop(index, end);
    assert(index->item_count >= 1);
    index->item_count--;
}

unsigned index_bucket_items(const struct index *index, uint32_t number, unsigned skipped,
                            struct item **items, unsigned room)
{
    unsigned count = 0;

    for (const struct bucket *bucket = bucket_at(index, number); bucket != NULL;
         bucket = overflow_of(index, bucket))
        for (unsigned slot = 0; slot < BUCKET_SLOTS; slot++) {
            struct item *item = item_in(index, bucket, slot);
            if (item == NULL)
                return count;
            if (count >= skipped && count - skipped < room) {
                items[count - skipped] = item;
                __builtin_prefetch(item);
            }
            count++;
        }
    return count;
}

static uint32_t reverse_bits(uint32_t bits)
{
    bits = (bits & 0x0f0f0f0f) << 4 | (bits >> 4 & 0x0f0f0f0f);
    bits = (bits & 0x33333333) << 2 | (bits >> 2 & 0x33333333);
    bits = (bits & 0x55555555) << 1 | (bits >> 1 & 0x55555555);
    return __builtin_bswap32(bits);
}

struct index_span index_span_at(const struct index *index, uint32_t position)
{
    const uint32_t count = index_bucket_count(index);
    const uint32_t bucket = index_bucket_of(reverse_bits(position), count);
    const unsigned level = 31 - (unsigned)__builtin_clz(count);
    const uint32_t split_into = (bucket & ((1u << level) - 1)) + (1u << level);
    struct index_span span = {.bucket = bucket, .level = level + (split_into < count)};
    const uint64_t positions = (uint64_t)1 << (32 - span.level);

    span.first = position & (uint32_t)~(positions - 1);
    span.end = span.first + positions;
    assert(span.first <= position);
    assert(span.end > position);
    return span;
}

uint32_t index_position_of(const struct index *index, uint64_t hash)
{
    return reverse_bits(index_bits(index, hash));
}

void index_prefetch_span(const struct index *index, uint64_t position)
{
    if (position <= UINT32_MAX)
        __builtin_prefetch(bucket_of(index, reverse_bits((uint32_t)position)));
}

/* Empties a chain; its overflow buckets are freed. */
static void chain_clear(struct index *index, struct bucket *bucket)
{
    struct bucket *next = overflow_of(index, bucket);

    for (unsigned slot = 0; slot < BUCKET_SLOTS; slot++)
        slot_set(bucket, slot, 0, 0);
    atomic_store_explicit(&bucket->overflow, 0, memory_order_relaxed);
    while (next != NULL) {
        struct bucket *after = overflow_of(index, next);
        memory_release_forced(index->space->memory, next, MEMORY_OVERFLOW);
        index->overflow_count--;
        next = after;
    }
}

/* Puts the items of the next bucket in turn where they belong with one bucket more. */
static bool split_one(struct index *index)
{
    const uint32_t count = index_bucket_count(index);
    const uint32_t mask = UINT32_MAX >> __builtin_clz(count);
    const uint32_t number = count & (mask >> 1); /* of the bucket that gives to bucket `count` */
    struct item *items[SPLIT_ROOM];
    const unsigned moved = index_bucket_items(index, number, 0, items, SPLIT_ROOM);

    if (moved > SPLIT_ROOM || count == UINT32_MAX || !commit_buckets(index, count + 1))
        return false;
    chain_clear(index, bucket_at(index, number));
    atomic_store_explicit(&index->bucket_count, count + 1, memory_order_relaxed);
    for (unsigned i = 0; i < moved; i++) {
        const uint32_t bits = index_bits(index, key_hash(item_key(items[i])));
        const bool is_added = chain_add(index, bucket_of(index, bits), tag_of(bits),
                                        memory_handle_of(index->space->memory, items[i]));
        assert(index_bucket_of(bits, count) == number); /* 1 */
        assert(is_added); /* the overflow buckets just freed are there again */
    }
    if ((count + 1) % CHARGE_BUCKETS == 0)
        memory_charge(index->space->memory, CHARGE_BYTES);
    return true;
}

bool index_grow(struct index *index)
{
    bool has_grown = false;

    /* Twice at most, so that one insertion never pays for many. */
    for (int i = 0; i < 2; i++) {
        if (index->item_count * 10 <= (uint64_t)index_bucket_count(index) * LOAD_TENTHS)
            break;
        if (!split_one(index))
            break;
        has_grown = true;
    }
    return has_grown;
}

/* Puts the items of the last bucket where they belong with one bucket less.  False when there is no
 * memory for an overflow bucket. */
static bool merge_one(struct index *index)
{
    const uint32_t count = index_bucket_count(index) - 1;
    const uint32_t mask = UINT32_MAX >> __builtin_clz(count);
    struct bucket *last = bucket_at(index, count);
    struct bucket *into = bucket_at(index, count & (mask >> 1));
    struct item *items[SPLIT_ROOM];
    const unsigned moved = index_bucket_items(index, count, 0, items, SPLIT_ROOM);
    unsigned added = 0;

    if (moved > SPLIT_ROOM)
        return false;
    while (added < moved &&
           chain_add(index, into, tag_of(index_bits(index, key_hash(item_key(items[added])))),
                     memory_handle_of(index->space->memory, items[added])))
        added++;
    if (added < moved) { /* as it was */
        for (; added > 0; added--)
            chain_drop(index, chain_end(index, (struct index_place){.bucket = into}));
        return false;
    }
    chain_clear(index, last);
    atomic_store_explicit(&index->bucket_count, count, memory_order_relaxed);
    if ((count + 1) % CHARGE_BUCKETS == 0)
        memory_charge(index->space->memory, -CHARGE_BYTES);
    return true;
}

bool index_shrink(struct index *index)
{
    const uint32_t count = index_bucket_count(index);

    return count > index->bucket_count_min &&
           index->item_count * 10 * SHRINK_BELOW <= (uint64_t)count * LOAD_TENTHS &&
           merge_one(index);
}

void index_prefetch(const struct index *index, uint32_t bits)
{
    __builtin_prefetch(bucket_of(index, bits));
}

void index_prefetch_items(const struct index *index, uint32_t bits)
{
    const struct bucket *bucket = bucket_of(index, bits);

    for (unsigned match = bucket_match(bucket, tag_of(bits)); match != 0; match &= match - 1) {
        const memory_handle handle = handle_in(bucket, (unsigned)__builtin_ctz(match));
        const unsigned char *item = memory_pointer(index->space->memory, handle);
        __builtin_prefetch(item);
        /* Most items reach into a second line, those with 100 bytes of value into a third. */
        __builtin_prefetch(item + ITEM_LINE_BYTES);
        __builtin_prefetch(item + 2 * ITEM_LINE_BYTES);
    }
}
