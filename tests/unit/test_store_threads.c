/* The store under many threads at once: meant for the thread and address sanitizers. */
#include "server/stripe.h"
#include "ring/key_hash.h"
#include "server/clock.h"
#include "tests/unit/random.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define MB      ((uint64_t)1 << 20)
#define THREADS 4
#define KEYS    20000
#define STEPS   60000

#define SMALL_ITEMS 120000

static struct store *store;
static _Atomic bool is_over;

static struct slice key_of(unsigned number, char text[24])
{
    return (struct slice){(unsigned char *)text, (size_t)snprintf(text, 24, "key-%u", number)};
}

/* The value tells its key and its size, so that any mix-up shows. */
static void fill(struct item *item, unsigned number)
{
    memset(item_value(item), (int)(number % 251), item_value_bytes(item));
}

static void check(const struct item *item, unsigned number)
{
    const struct slice value = item_value_slice(item);

    if (value.size == 0)
        return;
    assert_int_equal(value.bytes[0], number % 251);
    assert_int_equal(value.bytes[value.size - 1], number % 251);
}

static void set(struct random *random, unsigned number, uint64_t now_ms)
{
    char text[24];
    const struct item_spec spec = {.key = key_of(number, text),
                                   .value_bytes = random_chance(random, 5)
                                                      ? random_below(random, 30000)
                                                      : random_below(random, 1500),
                                   .expiry_ms = random_chance(random, 20) ? now_ms + 20 : 0};
    const uint64_t hash = key_hash(spec.key);
    struct item *item = item_new(store, &spec, now_ms);
    struct stripe *stripe;

    if (item == NULL)
        return;
    fill(item, number);
    stripe = store_lock(store, hash);
    item->hlc = stripe_clock_next(stripe, now_ms);
    stripe_put(stripe, hash, item);
    store_unlock(stripe);
}

static void get(struct random *random, unsigned number, uint64_t now_ms)
{
    char text[24];
    const struct slice key = key_of(number, text);
    const uint64_t hash = key_hash(key);
    struct item *item, *sent = NULL;
    struct stripe *stripe;

    store_prefetch_index(store, hash);
    store_prefetch_item(store, hash);
    stripe = store_lock(store, hash);
    item = stripe_find(stripe, hash, key, now_ms);
    if (item != NULL) {
        check(item, number);
        stripe_use(stripe, item, now_ms);
        if (item->bits & ITEM_LONG) {
            sent = item;
            item_ref(sent);
        }
        if (random_chance(random, 10))
            stripe_remove(stripe, hash, item);
    }
    store_unlock(stripe);
    if (sent != NULL) {
        check(sent, number);
        item_unref(store, sent);
    }
}

static void *work(void *context)
{
    struct random random = {*(unsigned *)context};

    store_thread_init(store);
    for (unsigned step = 0; step < STEPS; step++) {
        const unsigned number = random_below(&random, KEYS);

        if (random_chance(&random, 50))
            get(&random, number, clock_now_ms());
        else
            set(&random, number, clock_now_ms());
    }
    store_thread_deinit(store);
    return NULL;
}

static void ignore(void *context, const struct item *item)
{
    (void)context;
    assert_true(item->key_bytes > 0);
}

static void *sweep(void *context)
{
    uint64_t cursor = 0;

    (void)context;
    store_thread_init(store);
    for (unsigned round = 0; !is_over; round++) {
        store_sweep(store, 500, clock_now_ms());
        cursor = store_walk(store, hash_range_all, cursor, clock_now_ms(), ignore, NULL);
        if (round % 512 == 511)
            store_flush(store, clock_now_ms());
        if (round % 256 == 255)
            store_set_limit(store, (round / 256 % 2 ? 6 : 8) * MB);
    }
    store_thread_deinit(store);
    return NULL;
}

static void threads_that_read_write_evict_sweep_and_compact_agree(void **state)
{
    const struct store_options options = {
        .limit_bytes = 8 * MB, .item_bytes_max = MB, .threads = THREADS, .evicts = true};
    pthread_t threads[THREADS], sweeper;
    unsigned seeds[THREADS];
    struct store_stats stats;

    (void)state;
    store = store_new(&options);
    assert_non_null(store);
    pthread_create(&sweeper, NULL, sweep, NULL);
    for (unsigned i = 0; i < THREADS; i++) {
        seeds[i] = i + 1;
        pthread_create(&threads[i], NULL, work, &seeds[i]);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    is_over = true;
    pthread_join(sweeper, NULL);
    store_stats(store, &stats);
    assert_true(stats.evictions > 0);
    assert_true(stats.resident_bytes <= 9 * MB);
    store_free(store);
}

static unsigned times_given_back;
static _Atomic bool is_shrinking; /* others go slowly then, or it would never get small */

/* Stores many small items, so that the index gets large. */
static void *store_small(void *context)
{
    const unsigned first = *(unsigned *)context * SMALL_ITEMS;

    store_thread_init(store);
    for (unsigned number = first; number < first + SMALL_ITEMS; number++) {
        char text[24];
        const struct item_spec spec = {.key = key_of(number, text), .value_bytes = 1};
        const uint64_t hash = key_hash(spec.key);
        struct item *item = item_new(store, &spec, clock_now_ms());
        struct stripe *stripe;

        assert_non_null(item);
        fill(item, number);
        stripe = store_lock(store, hash);
        item->hlc = stripe_clock_next(stripe, clock_now_ms());
        assert_true(stripe_put(stripe, hash, item));
        store_unlock(stripe);
        if (is_shrinking && number % 32 == 0)
            usleep(1000);
    }
    store_thread_deinit(store);
    return NULL;
}

static void *flush_and_shrink(void *context)
{
    uint64_t committed = 0;

    (void)context;
    store_thread_init(store);
    while (!is_over) {
        const uint64_t before = committed;

        committed = store->index_space.range.committed_bytes;
        if (committed > 3 * MB && !is_shrinking) {
            is_shrinking = true;
            store_flush(store, clock_now_ms());
        } else if (committed < before) {
            is_shrinking = false;
            times_given_back++;
        }
        store_sweep(store, 20000, clock_now_ms());
        (void)store_shrink_index(store);
    }
    store_thread_deinit(store);
    return NULL;
}

static void count_item(void *context, const struct item *item)
{
    uint64_t *count = context;

    assert_int_equal(item_value_bytes(item), 1);
    ++*count;
}

static void an_index_that_shrinks_while_others_make_it_grow_loses_nothing(void **state)
{
    const struct store_options options = {
        .limit_bytes = 128 * MB, .item_bytes_max = MB, .threads = THREADS, .evicts = true};
    pthread_t threads[THREADS], sweeper;
    unsigned numbers[THREADS];
    struct store_stats stats;
    uint64_t cursor = 0, count = 0;

    (void)state;
    is_over = false;
    store = store_new(&options);
    assert_non_null(store);
    pthread_create(&sweeper, NULL, flush_and_shrink, NULL);
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        pthread_create(&threads[i], NULL, store_small, &numbers[i]);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    is_over = true;
    pthread_join(sweeper, NULL);
    store_stats(store, &stats);
    do
        cursor = store_walk(store, hash_range_all, cursor, 0, count_item, &count);
    while (cursor != 0);
    assert_true(count <= stats.items); /* what was flushed may not be swept yet */
    assert_int_equal(stats.small_items + stats.main_items, stats.items);
#ifndef WITH_SANITIZER /* those are too slow to get there for sure */
    assert_true(times_given_back > 0);
#endif
    store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_that_read_write_evict_sweep_and_compact_agree),
        cmocka_unit_test(an_index_that_shrinks_while_others_make_it_grow_loses_nothing),
    };

    clock_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
