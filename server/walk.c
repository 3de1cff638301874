/* A walk over the items of a range of hashes: stripe after stripe, as they lie in that order, and
 * within a stripe by the positions of its index (server/index.h), a few buckets at a time. */
#include "ring/key_hash.h"
#include "server/stripe.h"
#include <assert.h>

/* What is done before others may have the lock: a bucket that is looked into counts for more than
 * one that cannot hold what is looked for. */
#define WORK_PER_LOCK   256
#define WORK_PER_BUCKET 16

#define ITEMS_AT_ONCE 32

const struct hash_range hash_range_all = {.first = 0, .last = UINT64_MAX};

struct walk {
    struct hash_range range;
    uint64_t now_ms;
    bool takes_hidden; /* and expired ones */
    void (*visit)(void *context, const struct item *);
    void *context;
};

/* The hashes of a stripe. */
static struct hash_range range_of_stripe(const struct store *store, unsigned number)
{
    const uint64_t first = (uint64_t)number << store->stripe_shift;

    return (struct hash_range){first, first + (((uint64_t)1 << store->stripe_shift) - 1)};
}

static bool ranges_meet(struct hash_range a, struct hash_range b)
{
    return a.first <= b.last && b.first <= a.last;
}

/* Whether the bucket may hold items of the range.  From eight bits on that all its items share,
 * those are the hash's highest below the stripe's. */
static bool may_hold(const struct stripe *stripe, const struct index_span *span,
                     struct hash_range range)
{
    const unsigned shift = stripe->store->stripe_shift - 8;
    uint64_t first;

    if (span->level < 8)
        return true;
    first = range_of_stripe(stripe->store, stripe->index.stripe).first +
            ((uint64_t)(span->bucket & 0xff) << shift);
    return ranges_meet(range, (struct hash_range){first, first + (((uint64_t)1 << shift) - 1)});
}

static bool is_wanted(const struct walk *walk, const struct stripe *stripe, const struct item *item)
{
    if (walk->takes_hidden)
        return item->hlc > stripe->flushed;
    return !stripe_is_dead(stripe, item, walk->now_ms) && !item_is_hidden(item);
}

/* Visits what a bucket holds of the range from a position on. */
static void visit_bucket(const struct walk *walk, struct stripe *stripe,
                         const struct index_span *span, uint32_t position, bool takes_all)
{
    struct item *items[ITEMS_AT_ONCE];
    unsigned count, done = 0;

    do {
        count = index_bucket_items(&stripe->index, span->bucket, done, items, ITEMS_AT_ONCE);
        for (unsigned i = 0; done < count && i < ITEMS_AT_ONCE; i++, done++) {
            const uint64_t hash = takes_all ? 0 : key_hash(item_key(items[i]));
            if (!takes_all && (hash < walk->range.first || hash > walk->range.last ||
                               index_position_of(&stripe->index, hash) < position))
                continue;
            if (is_wanted(walk, stripe, items[i]))
                walk->visit(walk->context, items[i]);
        }
    } while (done < count);
}

/* Goes on in a stripe from a position; gives the one to go on from, 1 << 32 at the end. */
static uint64_t walk_stripe(const struct walk *walk, struct stripe *stripe, uint64_t position)
{
    const struct hash_range own = range_of_stripe(stripe->store, stripe->index.stripe);
    const bool is_whole = walk->range.first <= own.first && walk->range.last >= own.last;

    for (unsigned work = 0; work < WORK_PER_LOCK && position <= UINT32_MAX;) {
        const struct index_span span = index_span_at(&stripe->index, (uint32_t)position);

        if (may_hold(stripe, &span, walk->range)) {
            index_prefetch_span(&stripe->index, span.end);
            visit_bucket(walk, stripe, &span, (uint32_t)position,
                         is_whole && position == span.first);
            work += WORK_PER_BUCKET;
        } else
            work++;
        position = span.end;
    }
    return position;
}

static uint64_t walk_on(struct store *store, const struct walk *walk, uint64_t cursor)
{
    const struct hash_range range = walk->range;
    const uint64_t begin = (range.first >> store->stripe_shift) << 32;
    const uint64_t end = ((range.last >> store->stripe_shift) + 1) << 32;
    struct stripe *stripe;

    assert(range.first <= range.last);
    assert(cursor < end);
    if (cursor < begin)
        cursor = begin;
    stripe = &store->stripes[cursor >> 32];
    lock_take(&stripe->lock);
    cursor = (cursor >> 32 << 32) + walk_stripe(walk, stripe, cursor & UINT32_MAX);
    lock_release(&stripe->lock);
    return cursor < end ? cursor : 0;
}

uint64_t store_walk(struct store *store, struct hash_range range, uint64_t cursor, uint64_t now_ms,
                    void (*visit)(void *context, const struct item *), void *context)
{
    const struct walk walk = {
        .range = range, .now_ms = now_ms, .visit = visit, .context = context};

    return walk_on(store, &walk, cursor);
}

uint64_t walk_cells(struct store *store, struct hash_range range, uint64_t cursor, uint64_t now_ms,
                    void (*visit)(void *context, const struct item *), void *context)
{
    const struct walk walk = {.range = range,
                              .now_ms = now_ms,
                              .takes_hidden = true,
                              .visit = visit,
                              .context = context};

    return walk_on(store, &walk, cursor);
}
