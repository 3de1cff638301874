/* The store, from one thread: against a dictionary, and what goes first when memory is short. */
#include "server/stripe.h"
#include "ring/key_hash.h"
#include "server/clock.h"
#include "tests/unit/random.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define MB     ((uint64_t)1 << 20)
#define NOW_MS ((uint64_t)1800000000000)

static struct slice key_of(unsigned number, char text[24])
{
    return (struct slice){(unsigned char *)text, (size_t)snprintf(text, 24, "key-%010u", number)};
}

static struct store *store_open_for(uint64_t limit_bytes, uint64_t item_bytes_max, bool evicts)
{
    const struct store_options options = {.limit_bytes = limit_bytes,
                                          .item_bytes_max = item_bytes_max,
                                          .threads = 1,
                                          .evicts = evicts};
    struct store *store = store_new(&options);

    assert_non_null(store);
    store_thread_init(store);
    return store;
}

static struct store *store_open(uint64_t limit_bytes, bool evicts)
{
    return store_open_for(limit_bytes, limit_bytes / 256, evicts);
}

static void store_close(struct store *store)
{
    store_thread_deinit(store);
    store_free(store);
}

static bool set(struct store *store, unsigned number, uint64_t bytes, uint64_t expiry_ms,
                uint64_t now_ms)
{
    char text[24];
    const struct item_spec spec = {
        .key = key_of(number, text), .value_bytes = bytes, .expiry_ms = expiry_ms};
    const uint64_t hash = key_hash(spec.key);
    struct item *item = item_new(store, &spec, now_ms);
    struct stripe *stripe;
    bool is_stored;

    if (item == NULL)
        return false;
    memset(item_value(item), (int)(number & 0xff), bytes);
    stripe = store_lock(store, hash);
    item->hlc = stripe_clock_next(stripe, now_ms);
    is_stored = stripe_put(stripe, hash, item);
    store_unlock(stripe);
    return is_stored;
}

/* The size of the value, or -1. */
static int64_t get(struct store *store, unsigned number, uint64_t now_ms)
{
    char text[24];
    const struct slice key = key_of(number, text);
    const uint64_t hash = key_hash(key);
    struct stripe *stripe;
    struct item *item;
    int64_t bytes = -1;

    store_prefetch_index(store, hash);
    store_prefetch_item(store, hash);
    stripe = store_lock(store, hash);
    item = stripe_find(stripe, hash, key, now_ms);
    if (item != NULL) {
        const struct slice value = item_value_slice(item);
        bytes = (int64_t)value.size;
        stripe_use(stripe, item, now_ms);
        if (bytes > 0)
            assert_int_equal(value.bytes[bytes - 1], number & 0xff);
    }
    store_unlock(stripe);
    return bytes;
}

static bool delete(struct store *store, unsigned number, uint64_t now_ms)
{
    char text[24];
    const struct slice key = key_of(number, text);
    const uint64_t hash = key_hash(key);
    struct stripe *stripe = store_lock(store, hash);
    struct item *item = stripe_find(stripe, hash, key, now_ms);

    if (item != NULL)
        stripe_remove(stripe, hash, item);
    store_unlock(stripe);
    return item != NULL;
}

static struct store_stats stats_of(struct store *store)
{
    struct store_stats stats;

    store_stats(store, &stats);
    return stats;
}

static void it_holds_what_a_dictionary_holds(void **state)
{
    enum { KEYS = 30000 };
    struct store *store = store_open(64 * MB, true);
    int64_t *model = malloc(KEYS * sizeof *model);
    struct random random = {42};
    uint64_t items = 0;

    (void)state;
    for (unsigned i = 0; i < KEYS; i++)
        model[i] = -1;
    for (unsigned step = 0; step < 300000; step++) {
        const unsigned number = random_below(&random, KEYS);
        switch (random_below(&random, 4)) {
        case 0:
        case 1:
            items += model[number] < 0;
            model[number] = random_below(&random, 600);
            assert_true(set(store, number, (uint64_t)model[number], 0, NOW_MS));
            break;
        case 2: assert_int_equal(get(store, number, NOW_MS), model[number]); break;
        case 3:
            items -= model[number] >= 0;
            assert_int_equal(delete(store, number, NOW_MS), model[number] >= 0);
            model[number] = -1;
            break;
        }
    }
    assert_int_equal(stats_of(store).items, items);
    assert_int_equal(stats_of(store).evictions, 0);
    for (unsigned number = 0; number < KEYS; number++)
        if (model[number] >= 0)
            assert_true(delete(store, number, NOW_MS));
    assert_int_equal(stats_of(store).items, 0);
    assert_int_equal(stats_of(store).bytes, 0);
    assert_int_equal(stats_of(store).bytes_requested, 0);
    free(model);
    store_close(store);
}

static void deleting_and_setting_the_same_keys_for_ever_takes_no_memory(void **state)
{
    struct store *store = store_open(64 * MB, true);
    uint64_t overhead_bytes = 0;

    (void)state;
    for (unsigned round = 0; round < 100; round++) {
        for (unsigned number = 0; number < 10000; number++)
            set(store, number, 10, 0, NOW_MS);
        for (unsigned number = 0; number < 10000; number++)
            assert_true(delete(store, number, NOW_MS));
        if (round == 10)
            overhead_bytes = stats_of(store).overhead_bytes;
    }
    assert_true(stats_of(store).overhead_bytes < overhead_bytes + overhead_bytes / 4);
    store_close(store);
}

static void the_limit_is_kept_and_nothing_fails_in_any_pattern(void **state)
{
    static const unsigned sizes[] = {100, 1000, 300, 5000, 30, 100000, 64};
    struct store *store = store_open(16 * MB, true);
    unsigned number = 0;

    (void)state;
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct store_stats stats;

        for (uint64_t bytes = 0; bytes < 32 * MB; bytes += sizes[i], number++) {
            assert_true(set(store, number, sizes[i], 0, NOW_MS));
            if (number % 3 == 0)
                get(store, number - number / 2, NOW_MS);
        }
        stats = stats_of(store);
        assert_true(stats.resident_bytes <= 16 * MB + 16 * MB / 50);
        assert_int_equal(stats.out_of_memory, 0);
        assert_true(stats.items * sizes[i] > 0);
    }
    store_close(store);
}

static void when_sizes_change_most_of_the_limit_is_still_payload(void **state)
{
    static const unsigned sizes[] = {100, 1000, 300};
    struct store *store = store_open(32 * MB, true);
    unsigned number = 0;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        for (uint64_t bytes = 0; bytes < 64 * MB; bytes += sizes[i])
            assert_true(set(store, number++, sizes[i], 0, NOW_MS));
        assert_true(stats_of(store).items * sizes[i] >= 32 * MB * 6 / 10);
    }
    store_close(store);
}

#ifndef WITH_SANITIZER
static double resident_share(uint64_t limit_bytes)
{
    unsigned long long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file == NULL || fscanf(file, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    if (file != NULL)
        fclose(file);
    return (double)(resident * (uint64_t)sysconf(_SC_PAGESIZE)) / (double)limit_bytes;
}

/* Fills a store with values of several sizes, and tells by the exit code if it became too large. */
static int fill_and_measure(void)
{
    static const unsigned sizes[] = {32, 700, 100000, 90, 20000, 300};
    struct store *store = store_open(64 * MB, true);
    uint64_t now_ms = NOW_MS;
    unsigned number = 0;

    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (uint64_t bytes = 0; bytes < 80 * MB; bytes += sizes[i] + 48) {
            if (!set(store, number++, sizes[i], 0, now_ms))
                return 1;
            if (number % 4 == 0)
                get(store, number - number / 3, now_ms);
            if (number % 1000 == 0)
                now_ms += 300;
            if (number % 1000 == 0)
                store_sweep(store, 1000, now_ms);
        }
        if (resident_share(64 * MB) > 1.10) {
            fprintf(stderr, "after %u bytes each: %.3f of the limit\n", sizes[i],
                    resident_share(64 * MB));
            return 2;
        }
    }
    return 0;
}

static void the_process_stays_within_a_tenth_above_the_limit(void **state)
{
    const pid_t child = fork();
    int status = -1;

    (void)state;
    if (child == 0)
        _exit(fill_and_measure());
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}
#endif

static void one_value_may_fill_nearly_all_of_it(void **state)
{
    struct store *store = store_open(64 * MB, true);

    (void)state;
    for (unsigned number = 0; number < 100000; number++)
        set(store, number, 300, 0, NOW_MS);
    assert_true(set(store, 1, 50 * MB, 0, NOW_MS));
    assert_true(set(store, 2, 50 * MB, 0, NOW_MS));
    assert_int_equal(get(store, 2, NOW_MS), 50 * MB);
    assert_int_equal(get(store, 1, NOW_MS), -1);
    assert_false(set(store, 3, 100 * MB, 0, NOW_MS));
    assert_int_equal(stats_of(store).out_of_memory, 1);
    assert_true(set(store, 4, 300, 0, NOW_MS));
    store_close(store);
}

/* Stores values of that size for ever: those stored last are there, and memory is used. */
static void fill_with_few(uint64_t limit_bytes, uint64_t item_bytes_max, uint64_t bytes)
{
    struct store *store = store_open_for(limit_bytes, item_bytes_max, true);
    const unsigned last = (unsigned)(limit_bytes / bytes) * 3 / 4;
    uint64_t now_ms = NOW_MS;

    for (unsigned number = 0; number < 300; number++) {
        now_ms += 1 + number % 50;
        assert_true(set(store, number, bytes, 0, now_ms));
        for (unsigned back = 0; back < last && back <= number; back++)
            assert_int_equal(get(store, number - back, now_ms), bytes);
        if (number > 100)
            assert_true(stats_of(store).bytes >= limit_bytes / 8 * 5);
    }
    assert_int_equal(stats_of(store).out_of_memory, 0);
    store_close(store);
}

static void of_a_few_large_values_those_stored_last_are_there(void **state)
{
    (void)state;
    fill_with_few(64 * MB, 16 * MB, 8 * MB);
    fill_with_few(64 * MB, 16 * MB, 16 * MB - 200);
    fill_with_few(64 * MB, MB, MB - 200);
    fill_with_few(8 * MB, MB, MB - 200);
    fill_with_few(8 * MB, 4 * MB, 5 * MB / 2);
}

static void without_eviction_a_full_store_refuses(void **state)
{
    struct store *store = store_open(8 * MB, false);
    unsigned number = 0;

    (void)state;
    while (set(store, number, 1000, 0, NOW_MS))
        assert_true(++number < 10000);
    assert_true(number > 6000);
    assert_int_equal(stats_of(store).evictions, 0);
    for (unsigned i = 0; i < number; i++)
        assert_int_equal(get(store, i, NOW_MS), 1000);
    assert_true(delete(store, 5, NOW_MS));
    assert_true(set(store, number, 1000, 0, NOW_MS));
    store_close(store);
}

static void without_eviction_expired_items_make_room(void **state)
{
    struct store *store = store_open(8 * MB, false);
    unsigned number = 0;

    (void)state;
    while (set(store, number, 1000, NOW_MS + 1000, NOW_MS))
        number++;
    for (unsigned i = 0; i < 1000; i++)
        assert_true(set(store, number + i, 1000, 0, NOW_MS + 1000));
    store_close(store);
}

static void items_that_are_used_outlive_those_that_are_not(void **state)
{
    enum { HOT = 2000 };
    struct store *store = store_open(16 * MB, true);
    unsigned hits = 0;

    (void)state;
    for (unsigned number = 0; number < 200000; number++) {
        if (number < HOT || get(store, number % HOT, NOW_MS) < 0)
            set(store, number % HOT, 500, 0, NOW_MS);
        set(store, HOT + number, 500, 0, NOW_MS); /* never read: 100 MB of them */
    }
    for (unsigned number = 0; number < HOT; number++)
        hits += get(store, number, NOW_MS) >= 0;
    assert_int_equal(hits, HOT);
    store_close(store);
}

/* How many of `count` keys from `first` on are held. */
static unsigned held_of(struct store *store, unsigned first, unsigned count)
{
    unsigned held = 0;

    for (unsigned i = 0; i < count; i++)
        held += get(store, first + i, NOW_MS) >= 0;
    return held;
}

static void a_large_item_has_to_be_used_more_often_to_stay(void **state)
{
    enum { OF_EACH = 1000, ONCE_LARGE = 100000, TWICE_LARGE = 200000, FILLING = 300000 };
    struct store *store = store_open(8 * MB, true);

    (void)state;
    for (unsigned i = 0; i < OF_EACH; i++) {
        set(store, i, 100, 0, NOW_MS);
        set(store, ONCE_LARGE + i, 450, 0, NOW_MS);
        set(store, TWICE_LARGE + i, 450, 0, NOW_MS);
        get(store, i, NOW_MS);
        get(store, ONCE_LARGE + i, NOW_MS);
        get(store, TWICE_LARGE + i, NOW_MS);
        get(store, TWICE_LARGE + i, NOW_MS);
    }
    for (unsigned i = 0; i < 100000; i++)
        set(store, FILLING + i, 100, 0, NOW_MS);
    assert_true(held_of(store, 0, OF_EACH) > OF_EACH * 9 / 10);
    assert_true(held_of(store, ONCE_LARGE, OF_EACH) < OF_EACH / 10);
    assert_true(held_of(store, TWICE_LARGE, OF_EACH) > OF_EACH * 9 / 10);
    store_close(store);
}

static void a_key_that_comes_back_soon_after_its_eviction_goes_to_main(void **state)
{
    struct store *store = store_open(16 * MB, true);
    struct store_stats before;
    unsigned evicted = 0;

    (void)state;
    for (unsigned number = 0; number < 40000; number++)
        set(store, number, 500, 0, NOW_MS);
    while (get(store, evicted, NOW_MS) >= 0)
        evicted++;
    before = stats_of(store);
    assert_true(before.ghost_hits < 40); /* 16 bits: one in two thousand is taken for another */
    set(store, evicted, 500, 0, NOW_MS);
    assert_int_equal(stats_of(store).ghost_hits, before.ghost_hits + 1);
    assert_in_range(stats_of(store).main_items, before.main_items, before.main_items + 1);
    store_close(store);
}

static void an_item_expires_at_its_millisecond(void **state)
{
    struct store *store = store_open(8 * MB, true);

    (void)state;
    set(store, 1, 10, NOW_MS + 500, NOW_MS);
    assert_int_equal(get(store, 1, NOW_MS + 499), 10);
    assert_int_equal(get(store, 1, NOW_MS + 500), -1);
    assert_int_equal(stats_of(store).items, 0);
    assert_int_equal(stats_of(store).get_expired, 1);
    store_close(store);
}

static void expired_items_go_before_any_living_one(void **state)
{
    enum { COUNT = 80000 };
    struct store *store = store_open(16 * MB, true);

    (void)state;
    for (unsigned number = 0; number < COUNT; number++)
        set(store, number, 100, number % 2 ? 0 : NOW_MS + 1000, NOW_MS);
    assert_int_equal(stats_of(store).evictions, 0);
    for (unsigned number = 0; number < COUNT / 2; number++)
        assert_true(set(store, COUNT + number, 100, 0, NOW_MS + 2000));
    assert_int_equal(stats_of(store).evictions, 0);
    for (unsigned number = 1; number < COUNT; number += 2)
        assert_int_equal(get(store, number, NOW_MS + 2000), 100);
    assert_true(stats_of(store).reclaimed > 0);
    store_close(store);
}

static void a_changed_expiry_counts(void **state)
{
    struct store *store = store_open(8 * MB, true);
    char text[24];
    const struct slice key = key_of(1, text);
    struct stripe *stripe;
    struct item *item;

    (void)state;
    set(store, 1, 10, NOW_MS + 100000, NOW_MS);
    stripe = store_lock(store, key_hash(key));
    item = stripe_find(stripe, key_hash(key), key, NOW_MS);
    assert_true(item_can_expire_in_place(item));
    stripe_set_expiry(stripe, item, NOW_MS + 10);
    store_unlock(stripe);
    while (store_sweep(store, 1000, NOW_MS + 10) < 100)
        ;
    assert_int_equal(stats_of(store).items, 0);
    store_close(store);
}

static void the_sweep_frees_what_expired_and_gives_the_memory_back(void **state)
{
    struct store *store = store_open(32 * MB, true);
    uint64_t now_ms = NOW_MS + 2000;

    (void)state;
    for (unsigned number = 0; number < 80000; number++)
        set(store, number, 200, number % 8 ? NOW_MS + 1000 : 0, NOW_MS);
    assert_true(stats_of(store).resident_bytes > 16 * MB);
    for (unsigned i = 0; i < 2000; i++)
        now_ms += store_sweep(store, 1000, now_ms);
    assert_int_equal(stats_of(store).items, 10000);
    assert_int_equal(stats_of(store).swept, 70000);
    assert_int_equal(stats_of(store).reclaimed, 0);
    assert_true(stats_of(store).resident_bytes < 8 * MB);
    store_close(store);
}

static void a_flush_hides_all_before_it_and_nothing_after(void **state)
{
    struct store *store = store_open(16 * MB, true);

    (void)state;
    for (unsigned number = 0; number < 1000; number++)
        set(store, number, 10, 0, NOW_MS);
    store_flush(store, NOW_MS);
    for (unsigned number = 0; number < 500; number++)
        set(store, number, 20, 0, NOW_MS);
    for (unsigned number = 0; number < 600; number++)
        assert_int_equal(get(store, number, NOW_MS), number < 500 ? 20 : -1);
    assert_int_equal(stats_of(store).get_flushed, 100);
    while (store_sweep(store, 1000, NOW_MS) < 100)
        ;
    assert_int_equal(stats_of(store).items, 500);
    store_close(store);
}

static void a_store_over_a_dead_item_reclaims_it(void **state)
{
    struct store *store = store_open(16 * MB, true);
    const struct slice key = SLICE("key-0000000001");
    const uint64_t hash = key_hash(key);
    struct stripe *stripe;

    (void)state;
    set(store, 1, 10, 0, NOW_MS);
    set(store, 1, 20, 0, NOW_MS);
    assert_int_equal(stats_of(store).reclaimed, 0);
    store_flush(store, NOW_MS);
    set(store, 1, 10, NOW_MS + 5, NOW_MS + 1);
    assert_int_equal(stats_of(store).reclaimed, 1);
    stripe = store_lock(store, hash);
    assert_null(stripe_find_to_store(stripe, hash, key, NOW_MS + 5));
    store_unlock(stripe);
    assert_int_equal(stats_of(store).reclaimed, 2);
    store_close(store);
}

static void a_long_value_outlives_its_removal_while_it_is_sent(void **state)
{
    struct store *store = store_open(16 * MB, true);
    char text[24];
    const struct slice key = key_of(9, text);
    struct stripe *stripe;
    struct item *item;
    uint64_t held;

    (void)state;
    set(store, 9, MB, 0, NOW_MS);
    stripe = store_lock(store, key_hash(key));
    item = stripe_find(stripe, key_hash(key), key, NOW_MS);
    item_ref(item);
    stripe_remove(stripe, key_hash(key), item);
    store_unlock(stripe);
    held = stats_of(store).resident_bytes;
    assert_true(held > MB);
    for (unsigned number = 0; number < 60; number++)
        set(store, 100 + number, MB, 0, NOW_MS);
    assert_int_equal(item_value(item)[MB - 1], 9);
    item_unref(store, item);
    store_close(store);
}

static void the_clock_of_a_stripe_never_repeats(void **state)
{
    struct store *store = store_open(8 * MB, true);
    struct stripe *stripe = store_lock(store, 1);
    uint64_t last = 0;

    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        const uint64_t next = stripe_clock_next(stripe, NOW_MS - i % 7);
        assert_true(next > last);
        assert_true(next < (uint64_t)1 << 63);
        last = next;
    }
    store_unlock(stripe);
    store_close(store);
}

static void mark_seen(void *context, const struct item *item)
{
    unsigned char *seen = context;
    const struct slice key = item_key(item);
    char text[24] = {0};

    memcpy(text, key.bytes, key.size);
    seen[strtoul(text + 4, NULL, 10)]++;
}

static void a_walk_visits_each_item_once(void **state)
{
    enum { COUNT = 20000 };
    struct store *store = store_open(32 * MB, true);
    unsigned char *seen = calloc(COUNT, 1);
    uint64_t cursor = 0;

    (void)state;
    for (unsigned number = 0; number < COUNT; number++)
        set(store, number, 10, number % 5 == 0 ? NOW_MS + 10 : 0, NOW_MS);
    do
        cursor = store_walk(store, hash_range_all, cursor, NOW_MS + 10, mark_seen, seen);
    while (cursor != 0);
    for (unsigned number = 0; number < COUNT; number++)
        assert_int_equal(seen[number], number % 5 != 0);
    free(seen);
    store_close(store);
}

/* Walks some of the way, has `change` called, and walks on. */
static void walk_around(struct store *store, unsigned pieces, void (*change)(struct store *),
                        unsigned char *seen)
{
    uint64_t cursor = 0;
    unsigned walked = 0;

    do {
        if (walked++ == pieces)
            change(store);
        cursor = store_walk(store, hash_range_all, cursor, NOW_MS, mark_seen, seen);
    } while (cursor != 0);
    assert_true(walked > pieces); /* so it was changed */
}

enum { WALKED = 5000, OTHERS = 60000 };

static void add_others(struct store *store)
{
    for (unsigned number = WALKED; number < WALKED + OTHERS; number++)
        assert_true(set(store, number, 10, 0, NOW_MS));
}

static void remove_others(struct store *store)
{
    uint64_t now_ms = NOW_MS;

    for (unsigned number = WALKED; number < WALKED + OTHERS; number++)
        assert_true(delete(store, number, NOW_MS));
    for (unsigned i = 0; i < 1000; i++)
        now_ms += store_sweep(store, 1000, now_ms);
}

static void a_walk_visits_each_item_once_while_the_index_grows_and_shrinks(void **state)
{
    struct store *store = store_open(32 * MB, true);
    unsigned char *seen = malloc(WALKED + OTHERS);

    (void)state;
    for (unsigned number = 0; number < WALKED; number++)
        set(store, number, 10, 0, NOW_MS);
    for (unsigned pieces = 0; pieces < 60; pieces += 8) {
        const uint64_t buckets = stats_of(store).index_buckets;
        uint64_t buckets_then;

        memset(seen, 0, WALKED + OTHERS);
        walk_around(store, pieces, add_others, seen);
        buckets_then = stats_of(store).index_buckets;
        assert_true(buckets_then > buckets);
        for (unsigned number = 0; number < WALKED; number++)
            assert_int_equal(seen[number], 1);

        memset(seen, 0, WALKED + OTHERS);
        walk_around(store, pieces * 6, remove_others, seen);
        assert_true(stats_of(store).index_buckets < buckets_then / 2);
        for (unsigned number = 0; number < WALKED; number++)
            assert_int_equal(seen[number], 1);
    }
    free(seen);
    store_close(store);
}

static void walks_of_all_partitions_find_each_item_once(void **state)
{
    enum { COUNT = 50000 };
    struct store *store = store_open(32 * MB, true);
    unsigned char *seen = calloc(COUNT, 1);

    (void)state;
    for (unsigned number = 0; number < COUNT; number++)
        set(store, number, 10, 0, NOW_MS);
    for (uint64_t partition = 0; partition < 1024; partition++) {
        const struct hash_range range = {partition << 54, (partition << 54) + (1ull << 54) - 1};
        uint64_t cursor = 0;

        do
            cursor = store_walk(store, range, cursor, NOW_MS, mark_seen, seen);
        while (cursor != 0);
        for (unsigned number = (unsigned)partition; number < COUNT; number += 1024) {
            char text[24];
            const uint64_t hash = key_hash(key_of(number, text));

            assert_int_equal(seen[number], hash <= range.last);
        }
    }
    for (unsigned number = 0; number < COUNT; number++)
        assert_int_equal(seen[number], 1);
    free(seen);
    store_close(store);
}

static void an_index_that_was_large_gives_its_memory_back(void **state)
{
    struct store *store = store_open(256 * MB, true);
    const struct range *range = &store->index_space.range;
    uint64_t now_ms = NOW_MS + 10;
    struct store_stats before, after;

    (void)state;
    for (unsigned number = 0; number < 1000000; number++)
        set(store, number, 10, 0, NOW_MS);
    before = stats_of(store);
    assert_true(before.index_bytes > 7 * MB);
    assert_true(range->committed_bytes > 7 * MB);
    store_flush(store, NOW_MS + 1);
    for (unsigned i = 0; i < 20000; i++)
        now_ms += store_sweep(store, 1000, now_ms);
    after = stats_of(store);
    assert_int_equal(after.items, 0);
    assert_true(after.index_bytes < 64 * 1024);
    assert_true(range->committed_bytes <= 2 * MB);
    assert_true(store->ghost_space.range.committed_bytes <= 2 * MB);
    assert_true(after.resident_bytes < 4 * MB);
    for (unsigned number = 0; number < 100000; number++)
        set(store, number, 10, 0, now_ms);
    for (unsigned number = 0; number < 100000; number++)
        assert_int_equal(get(store, number, now_ms), 10);
    store_close(store);
}

static void add_sizes(void *context, uint64_t bytes, uint64_t items)
{
    uint64_t *sums = context;

    assert_int_equal(bytes % 32, 0);
    sums[0] += items;
    sums[1] += bytes * items;
}

static void sizes_count_every_item(void **state)
{
    struct store *store = store_open(32 * MB, true);
    uint64_t sums[2] = {0};

    (void)state;
    for (unsigned number = 0; number < 1000; number++)
        set(store, number, number, 0, clock_now_ms());
    store_sizes(store, add_sizes, sums);
    assert_int_equal(sums[0], 1000);
    assert_true(sums[1] >= stats_of(store).bytes_requested);
    assert_true(sums[1] < stats_of(store).bytes_requested + 32 * 1000);
    store_close(store);
}

static void a_lower_limit_is_reached_by_the_sweep(void **state)
{
    struct store *store = store_open(32 * MB, true);
    uint64_t now_ms = NOW_MS;

    (void)state;
    for (unsigned number = 0; number < 200000; number++)
        set(store, number, 150, 0, NOW_MS);
    store_set_limit(store, 12 * MB);
    for (unsigned i = 0; i < 1000; i++)
        now_ms += store_sweep(store, 1000, now_ms);
    assert_true(stats_of(store).resident_bytes <= 12 * MB + 12 * MB / 50);
    assert_true(stats_of(store).items > 20000);
    store_set_limit(store, 32 * MB);
    for (unsigned number = 0; number < 200000; number++)
        assert_true(set(store, number, 150, 0, NOW_MS));
    assert_true(stats_of(store).resident_bytes > 28 * MB);
    store_close(store);
}

static void count_eviction(void *context, const struct item *item, bool is_expired)
{
    unsigned *counts = context;

    assert_true(item->key_bytes > 0);
    counts[is_expired]++;
}

static void keep_report(void *context, const struct store_sweep_report *report)
{
    struct store_sweep_report *reports = context;

    reports[1] = reports[0];
    reports[0] = *report;
}

static void sweeps_that_free_something_are_told(void **state)
{
    struct store_sweep_report reports[2] = {{0}};
    const struct store_options options = {.limit_bytes = 16 * MB,
                                          .item_bytes_max = MB,
                                          .threads = 1,
                                          .evicts = true,
                                          .on_sweep = keep_report,
                                          .context = reports};
    struct store *store = store_new(&options);
    uint64_t now_ms = NOW_MS + 2000;

    (void)state;
    for (unsigned number = 0; number < 1000; number++)
        set(store, number, 10, number < 300 ? NOW_MS + 1000 : number < 500 ? NOW_MS + 9000 : 0,
            NOW_MS);
    while (reports[0].now_ms == 0)
        now_ms += store_sweep(store, 100, now_ms);
    assert_int_equal(reports[0].freed, 300);
    assert_true(reports[0].examined >= 1000);
    assert_int_equal(reports[0].since_ms, NOW_MS + 2000);
    assert_int_equal(reports[0].last_ms, 0);
    assert_int_equal(reports[0].next_ms, NOW_MS + 9000);
    while (reports[1].now_ms == 0)
        now_ms += store_sweep(store, 100, now_ms);
    assert_int_equal(reports[0].freed, 200);
    assert_in_range(reports[0].now_ms, NOW_MS + 9000, NOW_MS + 12000);
    assert_int_equal(reports[0].last_ms, reports[1].now_ms);
    store_free(store);
}

static void evictions_are_told(void **state)
{
    unsigned counts[2] = {0};
    const struct store_options options = {.limit_bytes = 8 * MB,
                                          .item_bytes_max = MB,
                                          .threads = 1,
                                          .evicts = true,
                                          .on_eviction = count_eviction,
                                          .context = counts};
    struct store *store = store_new(&options);

    (void)state;
    set(store, 1, 10, NOW_MS + 1, NOW_MS);
    assert_int_equal(get(store, 1, NOW_MS + 1), -1);
    assert_int_equal(counts[1], 1);
    for (unsigned number = 0; number < 20000; number++)
        set(store, number, 1000, 0, NOW_MS);
    assert_int_equal(counts[0], stats_of(store).evictions);
    assert_true(counts[0] > 10000);
    store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_holds_what_a_dictionary_holds),
        cmocka_unit_test(deleting_and_setting_the_same_keys_for_ever_takes_no_memory),
        cmocka_unit_test(the_limit_is_kept_and_nothing_fails_in_any_pattern),
        cmocka_unit_test(when_sizes_change_most_of_the_limit_is_still_payload),
#ifndef WITH_SANITIZER
        cmocka_unit_test(the_process_stays_within_a_tenth_above_the_limit),
#endif
        cmocka_unit_test(one_value_may_fill_nearly_all_of_it),
        cmocka_unit_test(of_a_few_large_values_those_stored_last_are_there),
        cmocka_unit_test(without_eviction_a_full_store_refuses),
        cmocka_unit_test(without_eviction_expired_items_make_room),
        cmocka_unit_test(items_that_are_used_outlive_those_that_are_not),
        cmocka_unit_test(a_large_item_has_to_be_used_more_often_to_stay),
        cmocka_unit_test(a_key_that_comes_back_soon_after_its_eviction_goes_to_main),
        cmocka_unit_test(an_item_expires_at_its_millisecond),
        cmocka_unit_test(expired_items_go_before_any_living_one),
        cmocka_unit_test(a_changed_expiry_counts),
        cmocka_unit_test(the_sweep_frees_what_expired_and_gives_the_memory_back),
        cmocka_unit_test(a_flush_hides_all_before_it_and_nothing_after),
        cmocka_unit_test(a_store_over_a_dead_item_reclaims_it),
        cmocka_unit_test(a_long_value_outlives_its_removal_while_it_is_sent),
        cmocka_unit_test(the_clock_of_a_stripe_never_repeats),
        cmocka_unit_test(a_walk_visits_each_item_once),
        cmocka_unit_test(a_walk_visits_each_item_once_while_the_index_grows_and_shrinks),
        cmocka_unit_test(walks_of_all_partitions_find_each_item_once),
        cmocka_unit_test(an_index_that_was_large_gives_its_memory_back),
        cmocka_unit_test(sizes_count_every_item),
        cmocka_unit_test(a_lower_limit_is_reached_by_the_sweep),
        cmocka_unit_test(sweeps_that_free_something_are_told),
        cmocka_unit_test(evictions_are_told),
    };

    clock_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
