#include "server/store.h"
#include "ring/key_hash.h"
#include "server/cell_store.h"
#include "server/clock.h"
#include "server/stripe.h"
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Enough that threads rarely meet in one. */
#define STRIPES_USUAL      64u
#define STRIPES_MAX        1024u
#define STRIPES_PER_THREAD 16u

/* Fewer where a stripe could not hold even one of the largest items (-I). */
#define STRIPES_MIN 2u

/* One line of ghosts (31) for so many buckets (9.5 items each): about as many ghosts as items. */
#define BUCKETS_PER_GHOST_LINE 4u

/* What each new item frees besides while the limit is exceeded: more than an index grows by. */
#define PAY_BACK_BYTES 1024u

static unsigned stripe_count_for(const struct store_options *options)
{
    unsigned count = STRIPES_USUAL;

    while (count < STRIPES_MAX && count < options->threads * STRIPES_PER_THREAD)
        count *= 2;
    while (options->cells != NULL && count > 1u << options->cells->partition_bits)
        count /= 2;
    while (count > STRIPES_MIN && options->limit_bytes / count < options->item_bytes_max)
        count /= 2;
    return count;
}

static uint32_t buckets_for(const struct store_options *options, unsigned stripes)
{
    uint64_t items;

    if (options->hash_power == 0)
        return 1;
    items = (uint64_t)1 << (options->hash_power < 32 ? options->hash_power : 32);
    items /= (uint64_t)stripes * 8;
    return items < 1 ? 1 : (uint32_t)items;
}

static bool stripe_init(struct store *store, unsigned number)
{
    struct stripe *stripe = &store->stripes[number];

    stripe->store = store;
    for (unsigned i = 0; i < QUEUE_COUNT; i++)
        queue_init(&stripe->queues[i], store->memory);
    hlc_clock_init(&stripe->clock, 0);
    hunt_init(stripe);
    return index_init(&stripe->index, &store->index_space, number,
                      buckets_for(&store->options, store->stripe_count)) &&
           ghost_init(&stripe->ghost, &store->ghost_space, number);
}

/* The index of a memory full of the smallest items is a quarter of it; ghosts are a quarter of
 * that. */
static bool spaces_init(struct store *store)
{
    const uint64_t bytes = store->memory->pages.range.reserved_bytes / 4;

    if (!index_space_init(&store->index_space, store->memory, store->stripe_count, bytes))
        return false;
    if (ghost_space_init(&store->ghost_space, store->memory, store->stripe_count, bytes / 4))
        return true;
    index_space_deinit(&store->index_space);
    return false;
}

struct store *store_new(const struct store_options *options)
{
    struct store *store = calloc(1, sizeof *store);

    assert(options->limit_bytes > 0);
    if (store == NULL)
        return NULL;
    store->options = *options;
    store->limit_bytes = options->limit_bytes;
    store->hunt_from_ms = UINT64_MAX;
    store->stripe_count = stripe_count_for(options);
    store->stripe_shift = 64 - (unsigned)__builtin_ctz(store->stripe_count);
    store->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    store->memory = memory_new(options->limit_bytes);
    if (store->memory == NULL || !spaces_init(store))
        goto fail_memory;
    store->stripes = aligned_alloc(64, store->stripe_count * sizeof *store->stripes);
    if (store->stripes == NULL)
        goto fail_spaces;
    memset(store->stripes, 0, store->stripe_count * sizeof *store->stripes);
    if (options->cells != NULL && !cell_store_init(store, options->cells))
        goto fail_stripes;
    for (unsigned i = 0; i < store->stripe_count; i++)
        if (!stripe_init(store, i))
            goto fail_cells;
    return store;

fail_cells:
    cell_store_deinit(store);
fail_stripes:
    free(store->stripes);
fail_spaces:
    ghost_space_deinit(&store->ghost_space);
    index_space_deinit(&store->index_space);
fail_memory:
    if (store->memory != NULL)
        memory_free(store->memory);
    fprintf(stderr, "store: cannot reserve addresses for -m %llu MB: lift `ulimit -v` or lower -m\n",
            (unsigned long long)(options->limit_bytes >> 20));
    if (store->statm >= 0)
        close(store->statm);
    free(store);
    return NULL;
}

void store_free(struct store *store)
{
    if (store == NULL)
        return;
    cell_store_deinit(store);
    free(store->stripes);
    ghost_space_deinit(&store->ghost_space);
    index_space_deinit(&store->index_space);
    memory_free(store->memory); /* and all items with it */
    if (store->statm >= 0)
        close(store->statm);
    free(store);
}

void store_thread_init(struct store *store)
{
    memory_thread_init(store->memory);
}

void store_thread_deinit(struct store *store)
{
    memory_thread_deinit(store->memory);
}

static struct stripe *stripe_of(struct store *store, uint64_t hash)
{
    return &store->stripes[hash >> store->stripe_shift];
}

void store_prefetch_index(struct store *store, uint64_t hash)
{
    const struct stripe *stripe = stripe_of(store, hash);

    __builtin_prefetch(stripe);
    index_prefetch(&stripe->index, index_bits(&stripe->index, hash));
}

void store_prefetch_item(struct store *store, uint64_t hash)
{
    const struct index *index = &stripe_of(store, hash)->index;

    index_prefetch_items(index, index_bits(index, hash));
}

struct stripe *store_lock(struct store *store, uint64_t hash)
{
    struct stripe *stripe = stripe_of(store, hash);

    lock_take(&stripe->lock);
    return stripe;
}

void store_unlock(struct stripe *stripe)
{
    lock_release(&stripe->lock);
}

static bool is_expired(const struct item *item, uint64_t now_ms)
{
    uint64_t expiry_ms;

    if (!(item->bits & ITEM_EXPIRES))
        return false;
    expiry_ms = item_expiry_ms(item);
    return expiry_ms != 0 && now_ms >= expiry_ms && !item_is_hidden(item);
}

bool stripe_is_dead(const struct stripe *stripe, const struct item *item, uint64_t now_ms)
{
    return item->hlc <= stripe->flushed || is_expired(item, now_ms);
}

void stripe_count(struct stripe *stripe, const struct item *item, int sign)
{
    const uint64_t requested = stored_bytes(stripe->store, item);
    const uint64_t bytes = memory_round(stripe->store->memory, requested) * (uint64_t)sign;
    const unsigned queue = item_queue(item);

    stripe->queue_items[queue] += (uint64_t)sign;
    stripe->queue_bytes[queue] += bytes;
    stripe->bytes_requested += requested * (uint64_t)sign;
    atomic_store_explicit(&stripe->bytes,
                          atomic_load_explicit(&stripe->bytes, memory_order_relaxed) + bytes,
                          memory_order_relaxed);
    assert((int64_t)stripe->queue_items[queue] >= 0);
    assert((int64_t)stripe->queue_bytes[queue] >= 0);
}

/* The item is in no index any more. */
static void release(struct store *store, struct item *item)
{
    if (!(item->bits & ITEM_LONG) || item_unrefer(item))
        memory_release(store->memory, item, stored_bytes(store, item));
}

uint64_t stripe_drop(struct stripe *stripe, struct index_place place, struct item *item,
                     enum leave_reason reason)
{
    struct store *store = stripe->store;
    const uint64_t bytes = memory_round(store->memory, stored_bytes(store, item));

    if (reason != LEAVE_DELETED && store->options.on_eviction != NULL)
        store->options.on_eviction(store->options.context, item, reason == LEAVE_DEAD);
    if (reason == LEAVE_DEAD && !item->was_fetched)
        stripe->counters.expired_unfetched++;
    if (store->cells != NULL) {
        if (reason != LEAVE_DELETED && cells_keep_stub(stripe, place, item))
            return bytes;
        cells_changed(store, key_hash(item_key(item)), item, NULL);
    }
    stripe_count(stripe, item, -1);
    index_remove(&stripe->index, place);
    release(store, item);
    return bytes;
}

/* Takes out a dead item that was looked for, if it need not stay. */
static void drop_found_dead(struct stripe *stripe, struct index_place place, struct item *item,
                            uint64_t now_ms)
{
    if (stripe_keeps_dead(stripe, item))
        return;
    if (is_expired(item, now_ms))
        stripe->counters.get_expired++;
    else
        stripe->counters.get_flushed++;
    stripe_drop(stripe, place, item, LEAVE_DEAD);
    queue_entry_went_stale(stripe);
    if (stripe->store->cells != NULL)
        cells_trim(stripe);
}

struct item *stripe_find(struct stripe *stripe, uint64_t hash, struct slice key, uint64_t now_ms)
{
    struct index_place place;
    struct item *item = index_find(&stripe->index, hash, key, &place);

    if (item == NULL)
        return NULL;
    if (!stripe_is_dead(stripe, item, now_ms))
        return item_is_hidden(item) ? NULL : item;
    drop_found_dead(stripe, place, item, now_ms);
    return NULL;
}

struct item *stripe_find_to_store(struct stripe *stripe, uint64_t hash, struct slice key,
                                  uint64_t now_ms)
{
    struct index_place place;
    struct item *item = index_find(&stripe->index, hash, key, &place);

    if (item == NULL)
        return NULL;
    if (!stripe_is_dead(stripe, item, now_ms))
        return item_is_hidden(item) ? NULL : item;
    drop_found_dead(stripe, place, item, now_ms);
    stripe->counters.reclaimed++;
    return NULL;
}

void stripe_use(struct stripe *stripe, struct item *item, uint64_t now_ms)
{
    const uint32_t now_s = clock_relative_s(now_ms) & ITEM_ACCESSED_MAX;

    (void)stripe;
    if (item->frequency < FREQUENCY_MAX)
        item->frequency++;
    if (item->accessed_s != now_s)
        item->accessed_s = now_s & ITEM_ACCESSED_MAX;
    if (!item->was_fetched)
        item->was_fetched = 1;
}

/* Finds another queue for the item than that of `old`, whose place it takes. */
static bool queue_anew(struct stripe *stripe, uint64_t hash, const struct item *old,
                       struct item *item)
{
    if (!item_is_hidden(item))
        item->in_main = ghost_take(&stripe->ghost, hash) && earns_its_place(stripe, item, 1);
    item->frequency = 0;
    if (item_queue(item) == item_queue(old)) {
        item->tidied = old->tidied;
        return true;
    }
    return queue_item(stripe, hash, item);
}

/* As replace(), on a node of a cluster.  False, and `old` stays, if there is no memory. */
static bool replace_cell(struct stripe *stripe, uint64_t hash, struct index_place place,
                         struct item *old, struct item *item)
{
    const unsigned old_queue = item_queue(old);

    if (item_is_hidden(old) || item_is_hidden(item)) {
        if (!queue_anew(stripe, hash, old, item))
            return false;
    } else {
        item->in_main = old->in_main;
        item->tidied = old->tidied;
        item->frequency = old->frequency < FREQUENCY_MAX ? old->frequency + 1 : FREQUENCY_MAX;
    }
    cells_changed(stripe->store, hash, old, item);
    stripe_count(stripe, old, -1);
    stripe_count(stripe, item, 1);
    index_replace(&stripe->index, place, item);
    release(stripe->store, old);
    if (item_queue(item) != old_queue)
        queue_entry_went_stale(stripe);
    return true;
}

/* The item takes the place of `old`, which has the same key: also in the queue. */
static void replace(struct stripe *stripe, struct index_place place, struct item *old,
                    struct item *item)
{
    item->in_main = old->in_main;
    item->tidied = old->tidied;
    item->frequency = old->frequency < FREQUENCY_MAX ? old->frequency + 1 : FREQUENCY_MAX;
    stripe->counters.reclaimed += stripe_is_dead(stripe, old, hlc_ms(item->hlc));
    stripe_count(stripe, old, -1);
    stripe_count(stripe, item, 1);
    index_replace(&stripe->index, place, item);
    release(stripe->store, old);
}

uint32_t ghost_lines_for(const struct index *index)
{
    const uint32_t lines = index_bucket_count(index) / BUCKETS_PER_GHOST_LINE;

    return lines > 1 ? lines : 1;
}

static bool insert(struct stripe *stripe, uint64_t hash, struct item *item)
{
    if (!item_is_hidden(item)) {
        const bool is_back = ghost_take(&stripe->ghost, hash);

        stripe->counters.ghost_hits += is_back;
        item->in_main = is_back && earns_its_place(stripe, item, 1);
    }
    item->frequency = 0;
    if (!queue_item(stripe, hash, item))
        goto fail;
    if (!index_insert(&stripe->index, hash, item))
        goto fail;
    stripe_count(stripe, item, 1);
    if (stripe->store->cells != NULL)
        cells_changed(stripe->store, hash, NULL, item);
    if (index_grow(&stripe->index))
        ghost_grow(&stripe->ghost, ghost_lines_for(&stripe->index));
    return true;

fail: /* an entry without an item is stale, and harmless */
    release(stripe->store, item);
    return false;
}

bool stripe_put(struct stripe *stripe, uint64_t hash, struct item *item)
{
    struct index_place place;
    struct item *old = index_find(&stripe->index, hash, item_key(item), &place);

    assert(item != old);
    assert(hlc_is_valid(item->hlc));
    if ((item->bits & ITEM_EXPIRES) && !item_is_hidden(item))
        hunt_expect(stripe, item_expiry_ms(item));
    stripe->counters.items_total++;
    if (old == NULL)
        return insert(stripe, hash, item);
    if (stripe->store->cells != NULL) {
        if (replace_cell(stripe, hash, place, old, item))
            return true;
        release(stripe->store, item);
        return false;
    }
    replace(stripe, place, old, item);
    return true;
}

bool stripe_overwrite(struct stripe *stripe, struct item *item, const struct item_spec *spec,
                      struct slice value, uint64_t now_ms)
{
    const struct item before = *item;

    assert(value.size == spec->value_bytes);
    if (stripe->store->cells != NULL || !item_has_shape_of(item, spec))
        return false;
    item_init(item, spec, now_ms);
    item->in_main = before.in_main;
    item->tidied = before.tidied;
    item->frequency = before.frequency < FREQUENCY_MAX ? before.frequency + 1 : FREQUENCY_MAX;
    if (value.size > 0)
        memcpy(item_value(item), value.bytes, value.size);
    item->hlc = stripe_clock_next(stripe, now_ms);
    if (item->bits & ITEM_EXPIRES)
        hunt_expect(stripe, spec->expiry_ms);
    stripe->counters.items_total++;
    return true;
}

void stripe_remove(struct stripe *stripe, uint64_t hash, struct item *item)
{
    const memory_handle handle = memory_handle_of(stripe->store->memory, item);
    struct index_place place;
    const bool is_there = index_find_handle(&stripe->index, hash, handle, &place);

    assert(is_there);
    stripe_drop(stripe, place, item, LEAVE_DELETED);
    queue_entry_went_stale(stripe);
}

uint64_t stripe_clock_next(struct stripe *stripe, uint64_t now_ms)
{
    /* The lowest bits of the count are the stripe's number, so that no two keys ever have the same
     * cas value. */
    const uint64_t own_bits = stripe->store->stripe_count - 1;
    const uint64_t own = (uint64_t)(stripe - stripe->store->stripes);
    hlc_time time = hlc_clock_next(&stripe->clock, now_ms);

    if ((time & own_bits) > own)
        time = (time | own_bits) + 1;
    time = (time & ~own_bits) | own;
    hlc_clock_init(&stripe->clock, time);
    return time;
}

bool item_can_expire_in_place(const struct item *item)
{
    return (item->bits & ITEM_EXPIRES) != 0;
}

void stripe_set_expiry(struct stripe *stripe, struct item *item, uint64_t expiry_ms)
{
    assert(item_can_expire_in_place(item));
    assert(stripe->store->cells == NULL);
    item_set_expiry_ms(item, expiry_ms);
    hunt_expect(stripe, expiry_ms);
}

struct item *item_new(struct store *store, const struct item_spec *spec, uint64_t now_ms)
{
    const uint64_t bytes = item_bytes_of_spec(spec) + store->replica_bytes;
    struct item *item;
    uint64_t hash;

    /* Bookkeeping grew: pay it back. */
    if (memory_is_over(store->memory) && !memory_fit(store->memory))
        (void)store_make_room(store, key_hash(spec->key), bytes + PAY_BACK_BYTES, now_ms);
    item = memory_alloc(store->memory, bytes);
    if (item == NULL) {
        hash = key_hash(spec->key);
        while ((item = memory_alloc(store->memory, bytes)) == NULL)
            if (!store_make_room(store, hash, memory_round(store->memory, bytes), now_ms)) {
                atomic_fetch_add_explicit(&store->out_of_memory, 1, memory_order_relaxed);
                return NULL;
            }
    }
    item_init(item, spec, now_ms);
    return item;
}

void item_discard(struct store *store, struct item *item)
{
    release(store, item);
}

void item_ref(struct item *item)
{
    item_refer(item);
}

void item_unref(struct store *store, struct item *item)
{
    if (item_unrefer(item))
        memory_release(store->memory, item, stored_bytes(store, item));
}

void store_raise_clocks(struct store *store, uint64_t time)
{
    for (unsigned i = 0; i < store->stripe_count; i++) {
        struct stripe *stripe = &store->stripes[i];

        lock_take(&stripe->lock);
        if (time > stripe->clock.last)
            hlc_clock_init(&stripe->clock, time);
        lock_release(&stripe->lock);
    }
}

uint64_t store_newest_time(struct store *store)
{
    uint64_t newest = 0;

    for (unsigned i = 0; i < store->stripe_count; i++) {
        struct stripe *stripe = &store->stripes[i];

        lock_take(&stripe->lock);
        if (stripe->clock.last > newest)
            newest = stripe->clock.last;
        lock_release(&stripe->lock);
    }
    return newest;
}

void store_flush_up_to(struct store *store, uint64_t time)
{
    for (unsigned i = 0; i < store->stripe_count; i++) {
        struct stripe *stripe = &store->stripes[i];

        lock_take(&stripe->lock);
        if (time > stripe->clock.last)
            hlc_clock_init(&stripe->clock, time);
        if (time > stripe->flushed) {
            stripe->flushed = time;
            hunt_restart(stripe);
        }
        lock_release(&stripe->lock);
    }
}

void store_flush(struct store *store, uint64_t now_ms)
{
    for (unsigned i = 0; i < store->stripe_count; i++) {
        struct stripe *stripe = &store->stripes[i];

        lock_take(&stripe->lock);
        stripe->flushed = hlc_clock_next(&stripe->clock, now_ms);
        hunt_restart(stripe);
        lock_release(&stripe->lock);
    }
}
