/* What has to go when memory is short.
 *
 * S3-FIFO (Yang et al., SOSP 2023), per stripe:
 *
 *      new key ----> SMALL (a tenth) ----- used --------> MAIN <---- used: again, with half its
 * uses |                                     | | not used                            | not used v v
 *                    GHOST ---- comes back: to MAIN         gone
 *
 * Used, or back, is said of an item relative to its size: see earns_its_place().
 *
 * Before a living item goes, dead ones do: see hunt_dead() in sweep.c.
 *
 * 1. Each item has at least one entry in the queue that `in_main` names, unless it is pinned.
 * 2. Entries beyond the items are stale; queue_tidy() keeps those below about a quarter.  An entry
 *    can look alive because its key was deleted and stored again: such doubles are told by the
 *    item's `tidied` bit, which each round of tidying turns over.  The older entry stays. */
#include "ring/key_hash.h"
#include "server/clock.h"
#include "server/stripe.h"
#include <assert.h>

/* How much of the stripe the small queue may take before main is evicted from. */
#define SMALL_DIVISOR 10
/* Up to so many times the average size one use earns an item its place in main. */
#define SIZE_PER_USE 2

/* How far ahead of an eviction the index line and the item are fetched. */
#define AHEAD_BUCKET 8
#define AHEAD_ITEM   4

/* Items that one call evicts before it lets others have the lock. */
#define EVICTIONS_PER_LOCK 64

/* What wants more than this part of an average stripe is large.  Where stripes hold few items,
 * because all are large, each one's own order says little: what goes is the least recently used of
 * them all. */
#define LARGE_DIVISOR 8
#define FEW_ITEMS     32

/* Stripes that one call hunts for dead items in. */
#define HUNTS_MAX 8

/* An entry may go stale this often before a chunk is tidied. */
#define TIDY_EVERY 16

struct tidying {
    struct stripe *stripe;
    unsigned queue;
};

/* A large item takes the room of several small ones, so it has to be asked for more often to be
 * worth it: once up to twice the stripe's average size, twice up to four times that, and beyond it
 * as often as we count.  Measured (bench/misses.py, log-normal sizes) against one use for all: 10 %
 * fewer misses with Zipf 0.99, 13 % with 0.8, 8 % with drift, no more with any other popularity. */
bool earns_its_place(const struct stripe *stripe, const struct item *item, unsigned uses)
{
    const uint64_t all = stripe->queue_bytes[QUEUE_SMALL] + stripe->queue_bytes[QUEUE_MAIN];
    const uint64_t items = stripe->queue_items[QUEUE_SMALL] + stripe->queue_items[QUEUE_MAIN];

    if (uses == 0 || uses >= FREQUENCY_MAX)
        return uses > 0;
    return memory_round(stripe->store->memory, stored_bytes(stripe->store, item)) * items <=
           SIZE_PER_USE * uses * all;
}

bool queue_item(struct stripe *stripe, uint64_t hash, struct item *item)
{
    const unsigned queue = item_queue(item);

    if (queue == QUEUE_PINNED)
        return true;
    item->tidied = !stripe->tidy_round[queue];
    return queue_push(&stripe->queues[queue], index_bits(&stripe->index, hash));
}

/* Whether the entry is the first of this round that leads to its item. */
static bool is_first_of_item(void *context, uint32_t entry)
{
    const struct tidying *tidying = context;
    struct stripe *stripe = tidying->stripe;
    const bool round = stripe->tidy_round[tidying->queue];
    struct index_place place;
    uint64_t hash;
    struct item *item =
        index_find_queued(&stripe->index, entry, tidying->queue, &hash, &place);

    if (item == NULL || item->tidied == round)
        return false;
    item->tidied = round;
    return true;
}

static bool needs_tidying(const struct stripe *stripe, unsigned queue)
{
    const uint64_t items = stripe->queue_items[queue];

    return stripe->queues[queue].entries > items + items / 4 + 256;
}

void queue_entry_went_stale(struct stripe *stripe)
{
    if (++stripe->tidy_debt < TIDY_EVERY)
        return;
    stripe->tidy_debt = 0;
    for (unsigned queue = 0; queue < QUEUE_COUNT; queue++) {
        struct tidying tidying = {.stripe = stripe, .queue = queue};
        /* A round that has begun is finished, or two keys of one bit could be mixed up. */
        if (!needs_tidying(stripe, queue) && stripe->queues[queue].tidy == 0)
            continue;
        if (queue_tidy(&stripe->queues[queue], is_first_of_item, &tidying))
            stripe->tidy_round[queue] = !stripe->tidy_round[queue];
    }
}

/* Fetches what the evictions after this one will touch. */
static void look_ahead(const struct stripe *stripe, unsigned queue)
{
    const struct queue *from = &stripe->queues[queue];
    uint32_t entry;

    if (queue_peek(from, AHEAD_BUCKET, &entry))
        index_prefetch(&stripe->index, entry);
    if (queue_peek(from, AHEAD_ITEM, &entry)) {
        index_prefetch_items(&stripe->index, entry);
        if (queue == QUEUE_SMALL)
            ghost_prefetch(&stripe->ghost, entry);
    }
}

static void count_eviction(struct stripe *stripe, const struct item *item)
{
    struct stripe_counters *counters = &stripe->counters;
    const uint32_t now_s = clock_relative_s(clock_now_ms());

    counters->evictions++;
    counters->evicted_unfetched += !item->was_fetched;
    counters->evicted_active += item->was_fetched && now_s - item->accessed_s < 60;
    counters->evicted_nonzero += item_expiry_ms(item) != 0;
    counters->evicted_age_s = now_s > item->accessed_s ? now_s - item->accessed_s : 0;
}

static uint64_t evict(struct stripe *stripe, struct index_place place, struct item *item)
{
    uint64_t freed;

    count_eviction(stripe, item);
    freed = stripe_drop(stripe, place, item, LEAVE_EVICTED);
    if (stripe->store->cells != NULL)
        cells_trim(stripe);
    return freed;
}

bool stripe_evict(struct stripe *stripe, uint64_t hash, struct item *item)
{
    const memory_handle handle = memory_handle_of(stripe->store->memory, item);
    struct index_place place;

    if (item->is_pinned)
        return false;
    if (!index_find_handle(&stripe->index, hash, handle, &place))
        assert(false); /* the store holds it */
    evict(stripe, place, item);
    queue_entry_went_stale(stripe);
    return true;
}

/* Moves the item to the end of a queue; when that has no memory for its entry, the item goes. */
static uint64_t requeue(struct stripe *stripe, uint64_t hash, struct index_place place,
                        struct item *item, unsigned queue, unsigned frequency)
{
    stripe_count(stripe, item, -1);
    item->in_main = queue == QUEUE_MAIN;
    item->frequency = frequency & FREQUENCY_MAX;
    stripe_count(stripe, item, 1);
    return queue_item(stripe, hash, item) ? 0 : evict(stripe, place, item);
}

/* Deals with the oldest entry of the small queue.  Returns the bytes freed. */
static uint64_t step_small(struct stripe *stripe, uint32_t entry)
{
    struct index_place place;
    uint64_t hash;
    struct item *item = index_find_queued(&stripe->index, entry, QUEUE_SMALL, &hash, &place);

    if (item == NULL)
        return 0;
    if (earns_its_place(stripe, item, item->frequency)) {
        stripe->counters.promoted++;
        return requeue(stripe, hash, place, item, QUEUE_MAIN, 0);
    }
    ghost_add(&stripe->ghost, hash);
    return evict(stripe, place, item);
}

static uint64_t step_main(struct stripe *stripe, uint32_t entry)
{
    struct index_place place;
    uint64_t hash;
    struct item *item = index_find_queued(&stripe->index, entry, QUEUE_MAIN, &hash, &place);

    if (item == NULL)
        return 0;
    /* Halved, where the paper takes one off: what was popular goes sooner when popularity moves on.
     * Measured (storebench misses): 3 % fewer misses with drift, 1 % more with Zipf. */
    if (earns_its_place(stripe, item, item->frequency))
        return requeue(stripe, hash, place, item, QUEUE_MAIN, item->frequency / 2u);
    return evict(stripe, place, item);
}

static unsigned queue_to_evict_from(const struct stripe *stripe)
{
    const uint64_t small = stripe->queue_bytes[QUEUE_SMALL];
    const uint64_t all = small + stripe->queue_bytes[QUEUE_MAIN];

    if (stripe->queue_items[QUEUE_MAIN] == 0)
        return QUEUE_SMALL;
    return small * SMALL_DIVISOR >= all && stripe->queue_items[QUEUE_SMALL] > 0 ? QUEUE_SMALL
                                                                                : QUEUE_MAIN;
}

uint64_t drop_oldest_hidden(struct stripe *stripe, unsigned queue)
{
    struct index_place place;
    struct item *item;
    uint64_t hash;
    uint32_t entry;

    assert(queue >= QUEUE_STUBS);
    while (queue_pop(&stripe->queues[queue], &entry)) {
        item = index_find_queued(&stripe->index, entry, queue, &hash, &place);
        if (item != NULL)
            return stripe_drop(stripe, place, item, LEAVE_DELETED);
    }
    return 0;
}

static bool has_seen_items(const struct stripe *stripe)
{
    return stripe->queue_items[QUEUE_SMALL] + stripe->queue_items[QUEUE_MAIN] > 0;
}

/* Evicts one item; stubs and tombstones where there is nothing else.  Returns its bytes, or 0 if
 * there is none. */
static uint64_t evict_one(struct stripe *stripe)
{
    uint64_t freed = 0;

    while (has_seen_items(stripe)) {
        const unsigned queue = queue_to_evict_from(stripe);
        uint32_t entry;
        const bool is_there = queue_pop(&stripe->queues[queue], &entry);

        assert(is_there); /* 1 */
        look_ahead(stripe, queue);
        freed = queue == QUEUE_SMALL ? step_small(stripe, entry) : step_main(stripe, entry);
        if (freed > 0)
            return freed;
    }
    if (stripe->index.item_count > 0)
        freed = drop_oldest_hidden(stripe, QUEUE_STUBS);
    if (freed == 0 && stripe->index.item_count > 0)
        freed = drop_oldest_hidden(stripe, QUEUE_TOMBSTONES);
    return freed;
}

uint64_t stripe_make_room(struct stripe *stripe, uint64_t wanted, unsigned spared, bool evicts,
                          uint64_t now_ms)
{
    uint64_t checked = 0;
    uint64_t freed = 0;

    if (now_ms >= stripe->hunt.earliest_ms)
        freed = hunt_dead(stripe, stripe->hunt.patience, wanted, now_ms, &checked);
    for (unsigned i = 0; evicts && freed < wanted && i < EVICTIONS_PER_LOCK; i++) {
        if (stripe->index.item_count <= spared)
            break;
        const uint64_t more = evict_one(stripe);
        if (more == 0)
            break;
        freed += more;
    }
    return freed;
}

static uint64_t average_bytes(const struct store *store)
{
    return pages_resident_bytes(&store->memory->pages) / store->stripe_count;
}

/* Which stripe to free memory in: the item's own, unless it has much less than others; then the
 * fullest of four. */
static struct stripe *choose_victim(struct store *store, uint64_t hash)
{
    struct stripe *own = &store->stripes[hash >> store->stripe_shift];
    const uint64_t average = average_bytes(store);
    uint64_t most = atomic_load_explicit(&own->bytes, memory_order_relaxed);

    if (most * 2 >= average)
        return own;
    for (unsigned i = 0; i < 4; i++) {
        const uint32_t number =
            atomic_fetch_add_explicit(&store->next_victim, 1, memory_order_relaxed);
        struct stripe *other = &store->stripes[(number * 0x9e3779b1u) % store->stripe_count];
        const uint64_t bytes = atomic_load_explicit(&other->bytes, memory_order_relaxed);
        if (bytes > most) {
            most = bytes;
            own = other;
        }
    }
    return own;
}

/* An item somewhere in the store, as it was when its stripe's lock was held. */
struct candidate {
    struct stripe *stripe; /* NULL: none was found */
    uint64_t used_ms;      /* when it was stored or used last; the latter only to the second, */
    hlc_time stored;       /* so this decides among those used in the same one */
    uint64_t hash;
    memory_handle handle;
};

static struct candidate candidate_of(struct stripe *stripe, const struct item *item)
{
    const uint64_t accessed_ms = clock_start_ms() + (uint64_t)item->accessed_s * 1000;
    const uint64_t stored_ms = hlc_ms(item->hlc);

    return (struct candidate){
        .stripe = stripe,
        .used_ms = accessed_ms > stored_ms ? accessed_ms : stored_ms,
        .stored = item->hlc,
        .hash = key_hash(item_key(item)),
        .handle = memory_handle_of(stripe->store->memory, item),
    };
}

static bool is_older(const struct candidate *a, const struct candidate *b)
{
    return a->used_ms < b->used_ms || (a->used_ms == b->used_ms && a->stored < b->stored);
}

/* Looks at all items of a stripe that has few. */
static void look_for_older(struct stripe *stripe, struct candidate *oldest)
{
    struct item *items[FEW_ITEMS];

    if (stripe->index.item_count > FEW_ITEMS)
        return;
    for (uint32_t bucket = 0; bucket < index_bucket_count(&stripe->index); bucket++) {
        const unsigned count = index_bucket_items(&stripe->index, bucket, 0, items, FEW_ITEMS);

        for (unsigned i = 0; i < count; i++) {
            const struct candidate candidate = candidate_of(stripe, items[i]);
            if (item_is_hidden(items[i]) || items[i]->is_pinned)
                continue;
            if (oldest->stripe == NULL || is_older(&candidate, oldest))
                *oldest = candidate;
        }
    }
}

/* Evicts the least recently used of the items in stripes that have few.  Returns its bytes, or 0.
 */
static uint64_t evict_oldest(struct store *store)
{
    struct candidate oldest = {.stripe = NULL};
    struct index_place place;
    uint64_t freed = 0;

    for (unsigned i = 0; i < store->stripe_count; i++) {
        lock_take(&store->stripes[i].lock);
        look_for_older(&store->stripes[i], &oldest);
        lock_release(&store->stripes[i].lock);
    }
    if (oldest.stripe == NULL)
        return 0;
    lock_take(&oldest.stripe->lock);
    if (index_find_handle(&oldest.stripe->index, oldest.hash, oldest.handle, &place)) {
        freed = evict(oldest.stripe, place, memory_pointer(store->memory, oldest.handle));
        queue_entry_went_stale(oldest.stripe);
    }
    lock_release(&oldest.stripe->lock);
    return freed;
}

/* A stripe that may hold dead items, or NULL: those of any stripe go before what lives in this. */
static struct stripe *choose_overdue(struct store *store, unsigned first, uint64_t now_ms)
{
    uint64_t earliest_ms = UINT64_MAX;

    if (now_ms < atomic_load_explicit(&store->hunt_from_ms, memory_order_relaxed))
        return NULL;
    for (unsigned i = 0; i < store->stripe_count; i++) {
        struct stripe *stripe = &store->stripes[(first + i) % store->stripe_count];
        const uint64_t from_ms = atomic_load_explicit(&stripe->hunt_from_ms, memory_order_relaxed);

        if (now_ms >= from_ms)
            return stripe;
        if (from_ms < earliest_ms)
            earliest_ms = from_ms;
    }
    atomic_store_explicit(&store->hunt_from_ms, earliest_ms, memory_order_relaxed);
    return NULL;
}

/* Drops dead items of that stripe only.  Returns the bytes freed. */
static uint64_t hunt_in(struct stripe *stripe, uint64_t wanted, uint64_t now_ms)
{
    uint64_t checked = 0, freed = 0;

    lock_take(&stripe->lock);
    if (now_ms >= stripe->hunt.earliest_ms)
        freed = hunt_dead(stripe, stripe->hunt.patience, wanted, now_ms, &checked);
    lock_release(&stripe->lock);
    return freed;
}

static uint64_t make_room_in(struct stripe *stripe, uint64_t wanted, unsigned spared,
                             uint64_t now_ms)
{
    uint64_t freed;

    lock_take(&stripe->lock);
    freed = stripe_make_room(stripe, wanted, spared, stripe->store->options.evicts, now_ms);
    lock_release(&stripe->lock);
    return freed;
}

/* Asks every stripe, each time from another one on, and that of `hash` last. */
static bool make_room_anywhere(struct store *store, uint64_t hash, uint64_t wanted, unsigned spared,
                               uint64_t now_ms)
{
    const uint32_t others = store->stripe_count - 1;
    const uint32_t own = (uint32_t)(hash >> store->stripe_shift);
    const uint32_t turn = atomic_fetch_add_explicit(&store->next_victim, 1, memory_order_relaxed);

    for (uint32_t i = 0; i < others; i++) {
        const uint32_t number = (own + 1 + (turn + i) % others) % store->stripe_count;
        if (make_room_in(&store->stripes[number], wanted, spared, now_ms) > 0)
            return true;
    }
    return make_room_in(&store->stripes[own], wanted, spared, now_ms) > 0;
}

bool store_make_room(struct store *store, uint64_t hash, uint64_t wanted, uint64_t now_ms)
{
    struct stripe *overdue;

    if (memory_is_sparse(store->memory) && store_compact(store))
        return true;
    for (unsigned i = 0; i < HUNTS_MAX; i++) {
        overdue = choose_overdue(store, (unsigned)(hash >> store->stripe_shift), now_ms);
        if (overdue == NULL)
            break;
        if (hunt_in(overdue, wanted, now_ms) > 0)
            return true;
        if (now_ms >= atomic_load_explicit(&overdue->hunt_from_ms, memory_order_relaxed))
            break; /* its patience ended, not its round: dead items are rare */
    }
    if (store->options.evicts && wanted > average_bytes(store) / LARGE_DIVISOR &&
        evict_oldest(store) > 0)
        return true;
    /* A stripe's last item is as likely its newest, or the one that is being written anew: such go
     * when nothing else can. */
    return make_room_in(choose_victim(store, hash), wanted, 1, now_ms) > 0 ||
           make_room_anywhere(store, hash, wanted, 1, now_ms) ||
           make_room_anywhere(store, hash, wanted, 0, now_ms) || store_compact(store);
}
