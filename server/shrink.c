/* An index that has become mostly empty, after a flush or when values have become larger, gets
 * smaller: a few buckets of each stripe at a time, and the ghosts with it.  The indices of all
 * stripes lie interleaved, so their memory is given back once the largest has shrunk. */
#include "server/stripe.h"
#include <assert.h>

/* Buckets that a stripe gives up while its lock is held. */
#define MERGES_PER_LOCK 8

/* What is kept beyond the largest index: it grows by so much before memory is asked for again. */
#define SPARE_DIVISOR 8

/* Merges some buckets of a stripe.  Returns whether it did. */
static bool shrink_stripe(struct stripe *stripe)
{
    unsigned merged = 0;

    lock_take(&stripe->lock);
    while (merged < MERGES_PER_LOCK && index_shrink(&stripe->index))
        merged++;
    if (merged > 0)
        ghost_shrink(&stripe->ghost, ghost_lines_for(&stripe->index));
    lock_release(&stripe->lock);
    return merged > 0;
}

/* How much of its range an index, or the ghosts, may be using at most. */
static uint64_t index_end(struct stripe *stripe)
{
    return index_bucket_count(&stripe->index) * (uint64_t)stripe->store->stripe_count *
           INDEX_BUCKET_BYTES;
}

static uint64_t ghost_end(struct stripe *stripe)
{
    return atomic_load_explicit(&stripe->ghost.line_count, memory_order_relaxed) *
           (uint64_t)stripe->store->stripe_count * GHOST_LINE_BYTES;
}

/* The largest of all stripes.  Takes each lock: whoever was about to use more has done so. */
static uint64_t largest_end(struct store *store, uint64_t (*end_of)(struct stripe *))
{
    uint64_t largest = 0;

    for (unsigned i = 0; i < store->stripe_count; i++) {
        struct stripe *stripe = &store->stripes[i];
        uint64_t end;

        lock_take(&stripe->lock);
        end = end_of(stripe);
        lock_release(&stripe->lock);
        if (end > largest)
            largest = end;
    }
    return largest;
}

static void trim(struct store *store, struct range *range, uint64_t (*end_of)(struct stripe *))
{
    const uint64_t largest = largest_end(store, end_of);
    const uint64_t kept = largest + largest / SPARE_DIVISOR;

    if (range_withdraw(range, kept))
        range_settle(range, largest_end(store, end_of) <= kept);
}

bool store_shrink_index(struct store *store)
{
    bool has_shrunk = false;

    for (unsigned i = 0; i < store->stripe_count; i++)
        has_shrunk |= shrink_stripe(&store->stripes[i]);
    if (!has_shrunk) {
        trim(store, &store->index_space.range, index_end);
        trim(store, &store->ghost_space.range, ghost_end);
    }
    return has_shrunk;
}
