/* What is dead: expired or flushed items, found a few buckets at a time, by evictions that would
 * else take living items and by the background sweep; and the upkeep of memory.
 *
 * Each stripe has one hunt, which goes round its index.  A round notes the earliest expiry of what
 * lives; until then, nothing needs to be looked at.
 *
 * 1. No living item of the stripe expires before hunt.earliest_ms, unless the round is under way
 *    and will come to it. */
#include "ring/key_hash.h"
#include "server/stripe.h"
#include <assert.h>
#include <stdio.h>
#include <unistd.h>

#define BUCKETS_PER_LOCK 8
#define BUCKET_ITEMS     64 /* of one chain that are looked at */

/* Buckets that an eviction may look through for dead items.  While every look finds some it is
 * this many; each look in vain halves it, so that in the end it costs one bucket an eviction. */
#define PATIENCE_MAX 64

/* What the sweep does is reported this often. */
#define REPORT_MS 1000

/* Memory is looked after this often. */
#define UPKEEP_MS 250

/* What process and allocator may hold beyond the limit before the cache gives way: RSS stays
 * within 1.06 of -m. */
#define TOLERANCE_PERCENT 6

static void set_earliest(struct stripe *stripe, uint64_t expiry_ms)
{
    struct store *store = stripe->store;

    stripe->hunt.earliest_ms = expiry_ms;
    atomic_store_explicit(&stripe->hunt_from_ms, expiry_ms, memory_order_relaxed);
    if (expiry_ms < atomic_load_explicit(&store->hunt_from_ms, memory_order_relaxed))
        atomic_store_explicit(&store->hunt_from_ms, expiry_ms, memory_order_relaxed);
}

void hunt_expect(struct stripe *stripe, uint64_t expiry_ms)
{
    if (expiry_ms == 0)
        return;
    if (expiry_ms < stripe->hunt.earliest_ms)
        set_earliest(stripe, expiry_ms);
    if (expiry_ms < stripe->hunt.next_earliest_ms)
        stripe->hunt.next_earliest_ms = expiry_ms;
}

void hunt_init(struct stripe *stripe)
{
    stripe->hunt = (struct hunt){.next_earliest_ms = UINT64_MAX, .patience = PATIENCE_MAX};
    set_earliest(stripe, UINT64_MAX);
}

void hunt_restart(struct stripe *stripe)
{
    stripe->hunt = (struct hunt){.next_earliest_ms = UINT64_MAX, .patience = PATIENCE_MAX};
    set_earliest(stripe, 0);
}

static void hunt_end_round(struct stripe *stripe)
{
    const uint64_t earliest_ms = stripe->hunt.next_earliest_ms;

    stripe->hunt = (struct hunt){.next_earliest_ms = UINT64_MAX, .patience = PATIENCE_MAX};
    set_earliest(stripe, earliest_ms);
}

static uint64_t drop_dead(struct stripe *stripe, struct item *item)
{
    const uint64_t hash = key_hash(item_key(item));
    const memory_handle handle = memory_handle_of(stripe->store->memory, item);
    struct index_place place;
    const bool is_there = index_find_handle(&stripe->index, hash, handle, &place);
    uint64_t freed;

    assert(is_there);
    freed = stripe_drop(stripe, place, item, LEAVE_DEAD);
    queue_entry_went_stale(stripe);
    return freed;
}

static uint64_t hunt_bucket(struct stripe *stripe, uint32_t bucket, uint64_t now_ms,
                            uint64_t *dead, uint64_t *checked)
{
    struct item *items[BUCKET_ITEMS];
    unsigned count = index_bucket_items(&stripe->index, bucket, 0, items, BUCKET_ITEMS);
    uint64_t freed = 0;

    if (count > BUCKET_ITEMS)
        count = BUCKET_ITEMS;
    for (unsigned i = 0; i < count; i++) {
        const uint64_t expiry_ms = item_expiry_ms(items[i]);

        if (stripe_keeps_dead(stripe, items[i]))
            continue; /* whoever unpins it expects its expiry anew */
        if (stripe_is_dead(stripe, items[i], now_ms)) {
            freed += drop_dead(stripe, items[i]);
            ++*dead;
        } else if (expiry_ms != 0 && expiry_ms < stripe->hunt.next_earliest_ms &&
                   !item_is_hidden(items[i]))
            stripe->hunt.next_earliest_ms = expiry_ms;
    }
    *checked += count;
    return freed;
}

uint64_t hunt_dead(struct stripe *stripe, unsigned buckets, uint64_t wanted, uint64_t now_ms,
                   uint64_t *checked)
{
    struct hunt *hunt = &stripe->hunt;
    uint64_t freed = 0, dead = 0;

    if (hunt->position == 0) /* a new round: it will come to all that is there */
        hunt->next_earliest_ms = UINT64_MAX;
    for (; buckets > 0 && freed < wanted; buckets--) {
        if (hunt->position > UINT32_MAX) {
            hunt_end_round(stripe);
            break;
        }
        const struct index_span span = index_span_at(&stripe->index, (uint32_t)hunt->position);
        index_prefetch_span(&stripe->index, span.end);
        freed += hunt_bucket(stripe, span.bucket, now_ms, &dead, checked);
        hunt->position = span.end;
    }
    if (dead > 0)
        hunt->patience = hunt->patience < PATIENCE_MAX / 2 ? hunt->patience * 2 : PATIENCE_MAX;
    else if (hunt->patience > 1)
        hunt->patience /= 2;
    stripe->counters.reclaimed += dead;
    if (dead > 0 && stripe->store->cells != NULL)
        cells_trim(stripe);
    return freed;
}

/* A few buckets of the stripe.  Returns how many dead items there were. */
static uint64_t sweep_some(struct stripe *stripe, uint64_t now_ms, uint64_t *checked)
{
    uint64_t looked_at = 0, dead;

    lock_take(&stripe->lock);
    dead = stripe->counters.reclaimed;
    hunt_dead(stripe, BUCKETS_PER_LOCK, UINT64_MAX, now_ms, &looked_at);
    dead = stripe->counters.reclaimed - dead;
    stripe->counters.reclaimed -= dead; /* that name is for what a store reused */
    stripe->counters.swept += dead;
    stripe->counters.swept_checked += looked_at;
    lock_release(&stripe->lock);
    *checked += looked_at;
    return dead;
}

/* What the process has resident, or 0 if the system does not say.  What a sanitizer keeps for
 * itself is more than the cache, and none of its business. */
static uint64_t resident_bytes(const struct store *store)
{
#ifdef WITH_SANITIZER
    (void)store;
    return 0;
#else
    char text[128];
    unsigned long long size, resident;
    const ssize_t count = store->statm < 0 ? -1 : pread(store->statm, text, sizeof text - 1, 0);

    if (count <= 0)
        return 0;
    text[count] = 0;
    return sscanf(text, "%llu %llu", &size, &resident) == 2
               ? resident * (uint64_t)sysconf(_SC_PAGESIZE)
               : 0;
#endif
}

/* Charges the cache with what is resident besides it, beyond the tolerance: so a process with
 * many connections keeps within its limit too. */
static void charge_process(struct store *store)
{
    const uint64_t limit = atomic_load(&store->limit_bytes);
    const uint64_t resident = resident_bytes(store);
    const uint64_t held = memory_held_bytes(store->memory) - store->process_bytes;
    const uint64_t tolerated = limit / 100 * TOLERANCE_PERCENT;
    uint64_t charge = 0;

    if (resident > held + tolerated)
        charge = resident - held - tolerated;
    if (charge > limit / 2)
        charge = limit / 2;
    memory_charge(store->memory, (int64_t)charge - (int64_t)store->process_bytes);
    store->process_bytes = charge;
}

/* Brings the memory held below the limit after that was lowered, and tightens up. */
static bool shrink(struct store *store, uint64_t now_ms)
{
    const uint64_t limit = atomic_load(&store->limit_bytes);

    pages_fit(&store->memory->pages);
    for (unsigned i = 0; i < 64 && memory_is_sparse(store->memory); i++)
        if (!store_compact(store))
            break;
    for (unsigned i = 0; i < 64 && store->options.evicts; i++) {
        const uint64_t held = memory_held_bytes(store->memory);
        const uint64_t unused =
            atomic_load_explicit(&store->memory->free_slot_bytes, memory_order_relaxed);

        if (held <= limit + limit / 256) /* bookkeeping may exceed it a little */
            return true;
        if (unused / 2 > held - limit && store_compact(store))
            continue;
        if (!store_make_room(store, (uint64_t)i << store->stripe_shift, 64 << 10, now_ms))
            return true;
    }
    return memory_held_bytes(store->memory) <= limit + limit / 256;
}

/* Returns whether more is to be done soon. */
static bool upkeep(struct store *store, uint64_t now_ms)
{
    if (now_ms - store->sweep_upkeep_ms < UPKEEP_MS)
        return false;
    charge_process(store);
    if (!shrink(store, now_ms))
        return true;
    if (store_shrink_index(store))
        return true;
    pages_decay(&store->memory->pages);
    store->sweep_upkeep_ms = now_ms;
    return false;
}

/* When the next item expires, of all stripes. */
static uint64_t earliest_ms(const struct store *store)
{
    uint64_t earliest = UINT64_MAX;

    for (unsigned i = 0; i < store->stripe_count; i++) {
        const uint64_t from_ms =
            atomic_load_explicit(&store->stripes[i].hunt_from_ms, memory_order_relaxed);
        if (from_ms < earliest)
            earliest = from_ms;
    }
    return earliest;
}

/* Notes what was done; `is_over` if there is nothing more to look for now. */
static void report(struct store *store, uint64_t examined, uint64_t freed, bool is_over,
                   uint64_t now_ms)
{
    struct store_sweep_report *sweep = &store->sweep;

    if (examined > 0 && sweep->examined == 0)
        sweep->since_ms = now_ms;
    sweep->examined += examined;
    sweep->freed += freed;
    if (!is_over || now_ms < sweep->last_ms + REPORT_MS)
        return;
    if (sweep->freed > 0 && store->options.on_sweep != NULL) {
        sweep->now_ms = now_ms;
        sweep->next_ms = earliest_ms(store);
        store->options.on_sweep(store->options.context, sweep);
        sweep->last_ms = now_ms;
    }
    sweep->examined = sweep->freed = 0;
}

unsigned store_sweep(struct store *store, unsigned items, uint64_t now_ms)
{
    uint64_t checked = 0, dead = 0;
    unsigned idle = 0; /* stripes in a row with nothing to look for */

    while (checked < items && idle < store->stripe_count) {
        struct stripe *stripe = &store->stripes[store->sweep_stripe];
        if (now_ms >= atomic_load_explicit(&stripe->hunt_from_ms, memory_order_relaxed)) {
            dead += sweep_some(stripe, now_ms, &checked);
            checked++; /* an empty bucket is work, too */
            idle = 0;
        } else
            idle++;
        if (now_ms < atomic_load_explicit(&stripe->hunt_from_ms, memory_order_relaxed))
            store->sweep_stripe = (store->sweep_stripe + 1) % store->stripe_count;
    }
    report(store, checked, dead, idle == store->stripe_count, now_ms);
    if (store->cells != NULL)
        cells_sweep(store, now_ms);
    if (upkeep(store, now_ms))
        return 1;
    if (idle == store->stripe_count)
        return UPKEEP_MS;
    return dead * 8 > checked ? 1 : 25;
}

void store_set_limit(struct store *store, uint64_t limit_bytes)
{
    const uint64_t most = store->memory->pages.range.reserved_bytes / 5 * 4;

    if (limit_bytes > most)
        limit_bytes = most;
    atomic_store(&store->limit_bytes, limit_bytes);
    memory_set_limit(store->memory, limit_bytes);
}
