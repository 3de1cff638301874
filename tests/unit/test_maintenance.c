/* server/maintenance.c, with a real store */
#include "server/clock.h"
#include "server/maintenance.h"
#include "server/settings.h"
#include "ring/key_hash.h"
#include "server/store.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#define ITEMS 1000

static struct store *store;

static int open_store(void **state)
{
    const struct store_options options = {
        .limit_bytes = 16 << 20, .item_bytes_max = 1 << 20, .threads = 1, .evicts = true,
    };

    (void)state;
    settings_init(&settings);
    clock_init();
    store = store_new(&options);
    if (store != NULL)
        store_thread_init(store);
    return store == NULL;
}

static int close_store(void **state)
{
    (void)state;
    store_thread_deinit(store);
    store_free(store);
    return 0;
}

/* Stores an item; `expiry_ms` 0: for good. */
static void put(unsigned number, uint64_t expiry_ms)
{
    char name[256]; /* as long as XXH3, compiled in here, might read */
    struct slice key = { (unsigned char *)name, 0 };

    key.size = (size_t)snprintf(name, sizeof name, "key%u", number);
    struct item_spec spec = { .key = key, .value_bytes = 8, .expiry_ms = expiry_ms };
    struct item *item = item_new(store, &spec, clock_now_ms());
    assert_non_null(item);
    memset(item_value(item), 'v', 8);
    uint64_t hash = key_hash(key);
    struct stripe *stripe = store_lock(store, hash);
    item->hlc = stripe_clock_next(stripe, clock_now_ms());
    assert_true(stripe_put(stripe, hash, item));
    store_unlock(stripe);
}

static uint64_t items_now(void)
{
    struct store_stats stats;

    store_stats(store, &stats);
    return stats.items;
}

/* Waits up to ten seconds for that many items. */
static void await_items(uint64_t wanted)
{
    for (int i = 0; i < 1000 && items_now() != wanted; i++)
        nanosleep(&(struct timespec){ .tv_nsec = 10 * 1000 * 1000 }, NULL);
    assert_int_equal(items_now(), wanted);
}

static void expired_items_go_although_nobody_asks_for_them(void **state)
{
    (void)state;
    settings.time_scale = 100;
    for (unsigned i = 0; i < ITEMS; i++)
        put(i, clock_now_ms() + 50);
    for (unsigned i = ITEMS; i < ITEMS + 10; i++)
        put(i, 0);
    assert_true(maintenance_start(store));
    await_items(10);
    maintenance_stop();
}

static void waking_it_is_safe_at_any_time(void **state)
{
    (void)state;
    maintenance_wake();
    assert_true(maintenance_start(store));
    for (unsigned i = 0; i < 1000; i++)
        maintenance_wake();
    maintenance_stop();
    maintenance_wake();
}

static void it_can_be_stopped_without_having_run_and_started_again(void **state)
{
    (void)state;
    maintenance_stop();
    assert_true(maintenance_start(store));
    maintenance_stop();
    assert_true(maintenance_start(store));
    maintenance_stop();
    maintenance_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(expired_items_go_although_nobody_asks_for_them, open_store,
                                        close_store),
        cmocka_unit_test_setup_teardown(waking_it_is_safe_at_any_time, open_store, close_store),
        cmocka_unit_test_setup_teardown(it_can_be_stopped_without_having_run_and_started_again,
                                        open_store, close_store),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
