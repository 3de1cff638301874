/* Looking at the whole store: counters and sizes. */
#include "server/clock.h"
#include "server/stripe.h"
#include <assert.h>
#include <stdlib.h>

#define SIZE_STEP_BYTES 32
#define SIZE_STEPS_MAX  (1u << 16) /* what is larger is counted with the last */

static void add_counters(struct store_stats *stats, const struct stripe_counters *counters)
{
    stats->items_total += counters->items_total;
    stats->evictions += counters->evictions;
    stats->evicted_unfetched += counters->evicted_unfetched;
    stats->evicted_active += counters->evicted_active;
    stats->evicted_nonzero += counters->evicted_nonzero;
    if (counters->evicted_age_s > stats->evicted_age_s)
        stats->evicted_age_s = counters->evicted_age_s;
    stats->reclaimed += counters->reclaimed;
    stats->expired_unfetched += counters->expired_unfetched;
    stats->swept += counters->swept;
    stats->swept_checked += counters->swept_checked;
    stats->get_expired += counters->get_expired;
    stats->get_flushed += counters->get_flushed;
    stats->ghost_hits += counters->ghost_hits;
    stats->promoted += counters->promoted;
}

/* How long ago the item next in that queue was used last. */
static uint64_t oldest_age_s(const struct stripe *stripe, unsigned queue, uint64_t now_ms)
{
    const uint32_t now_s = clock_relative_s(now_ms);
    struct index_place place;
    const struct item *item;
    uint64_t hash;
    uint32_t entry;

    if (!queue_peek(&stripe->queues[queue], 0, &entry))
        return 0;
    item = index_find_queued(&stripe->index, entry, queue, &hash, &place);
    return item == NULL || item->accessed_s > now_s ? 0 : now_s - item->accessed_s;
}

static void add_stripe(struct store_stats *stats, const struct stripe *stripe, uint64_t now_ms)
{
    add_counters(stats, &stripe->counters);
    stats->items += stripe->queue_items[QUEUE_SMALL] + stripe->queue_items[QUEUE_MAIN];
    stats->bytes += atomic_load_explicit(&stripe->bytes, memory_order_relaxed);
    stats->bytes_requested += stripe->bytes_requested;
    stats->index_buckets += index_bucket_count(&stripe->index);
    stats->index_bytes +=
        (index_bucket_count(&stripe->index) + (uint64_t)stripe->index.overflow_count) * 64;
    stats->small_items += stripe->queue_items[QUEUE_SMALL];
    stats->main_items += stripe->queue_items[QUEUE_MAIN];
    for (unsigned queue = QUEUE_SMALL; queue <= QUEUE_MAIN; queue++) {
        const uint64_t age_s = oldest_age_s(stripe, queue, now_ms);
        if (age_s > stats->oldest_age_s)
            stats->oldest_age_s = age_s;
    }
}

void store_stats(struct store *store, struct store_stats *stats)
{
    const uint64_t now_ms = clock_now_ms();

    *stats = (struct store_stats){0};
    for (unsigned i = 0; i < store->stripe_count; i++) {
        struct stripe *stripe = &store->stripes[i];

        lock_take(&stripe->lock);
        add_stripe(stats, stripe, now_ms);
        lock_release(&stripe->lock);
    }
    stats->limit_bytes = atomic_load(&store->limit_bytes);
    stats->resident_bytes = memory_held_bytes(store->memory);
    stats->out_of_memory = atomic_load(&store->out_of_memory);
    if (stats->resident_bytes > stats->bytes + stats->index_bytes)
        stats->overhead_bytes = stats->resident_bytes - stats->bytes - stats->index_bytes;
}

void store_stats_reset(struct store *store)
{
    for (unsigned i = 0; i < store->stripe_count; i++) {
        struct stripe *stripe = &store->stripes[i];

        lock_take(&stripe->lock);
        stripe->counters = (struct stripe_counters){0};
        lock_release(&stripe->lock);
    }
    atomic_store(&store->out_of_memory, 0);
}

struct sizes {
    uint64_t items[SIZE_STEPS_MAX];
};

static void count_size(void *context, const struct item *item)
{
    struct sizes *sizes = context;
    const uint64_t step = (item_bytes(item) + SIZE_STEP_BYTES - 1) / SIZE_STEP_BYTES;

    sizes->items[step < SIZE_STEPS_MAX ? step : SIZE_STEPS_MAX - 1]++;
}

void store_sizes(struct store *store, void (*visit)(void *context, uint64_t bytes, uint64_t items),
                 void *context)
{
    struct sizes *sizes = calloc(1, sizeof *sizes);
    uint64_t cursor = 0;

    if (sizes == NULL)
        return;
    do
        cursor = store_walk(store, hash_range_all, cursor, clock_now_ms(), count_size, sizes);
    while (cursor != 0);
    for (uint64_t step = 0; step < SIZE_STEPS_MAX; step++)
        if (sizes->items[step] > 0)
            visit(context, step * SIZE_STEP_BYTES, sizes->items[step]);
    free(sizes);
}
