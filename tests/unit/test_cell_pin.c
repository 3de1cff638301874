/* Cells that are held for others: pins, and hints on their way to the cluster thread. */
#include "ring/key_hash.h"
#include "server/cell_item.h"
#include "server/cell_store.h"
#include "server/clock.h"
#include "server/hint_queue.h"
#include "server/settings.h"
#include "server/stripe.h"
#include "tests/unit/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define MB       ((uint64_t)1 << 20)
#define NOW_MS   ((uint64_t)1800000000000)
#define HOUR_MS  ((uint64_t)3600 * 1000)
#define SELF     11
#define THREADS  4
#define VALUE    100
#define SIBLINGS 4

static struct slice key_of(unsigned number, char text[24])
{
    return (struct slice){(unsigned char *)text, (size_t)snprintf(text, 24, "key-%08u", number)};
}

static struct store *open_store(uint64_t limit_bytes)
{
    const struct cell_store_options cells = {.partition_bits = 6,
                                             .leaf_bits = 4,
                                             .stub_bytes_max = MB,
                                             .tombstone_bytes_max = MB,
                                             .tombstone_grace_ms = HOUR_MS};
    const struct store_options options = {.limit_bytes = limit_bytes,
                                          .item_bytes_max = MB,
                                          .threads = THREADS,
                                          .evicts = true,
                                          .cells = &cells};
    struct store *store = store_new(&options);

    assert_non_null(store);
    store_thread_init(store);
    assert_true(cell_store_use_class(store, 3));
    return store;
}

static void close_store(struct store *store)
{
    store_thread_deinit(store);
    store_free(store);
}

struct put {
    enum sibling_kind kind;
    uint64_t expires_ms;
    struct cell_write write;
};

/* Writes one sibling, blind. */
static void put(struct store *store, unsigned number, struct put how, uint64_t now_ms)
{
    static const unsigned char bytes[VALUE];
    const struct slice value = {bytes, sizeof bytes};
    char text[24];
    const struct slice key = key_of(number, text);
    const uint64_t hash = key_hash(key);
    struct sibling siblings[SIBLINGS], sibling;
    struct stripe *stripe;
    struct cell cell;
    struct dot dot;

    how.write.copies = 3;
    cell_init(&cell, siblings, SIBLINGS);
    do {
        stripe = store_lock(store, hash);
        cell_store_read(stripe, hash, key, now_ms, &cell);
        dot = (struct dot){SELF, stripe_clock_next(stripe, now_ms)};
        sibling = how.kind == SIBLING_VALUE
                      ? sibling_of_value(dot, how.expires_ms, 0, VALUE, key_hash(value),
                                         (uint64_t)(uintptr_t)bytes)
                      : sibling_of_tombstone(dot);
        assert_int_equal(cell_put_blind(&cell, &sibling), CELL_PUT_DONE);
    } while (!cell_store_write(store, stripe, hash, key, &cell, &how.write, now_ms));
    assert_false(how.write.failed);
    store_unlock(stripe);
}

static void put_pinned(struct store *store, unsigned number, enum sibling_kind kind)
{
    put(store, number, (struct put){.kind = kind, .write = {.adds_pin = true}}, NOW_MS);
}

/* What of the key is held: kinds of siblings, or-ed. */
static unsigned held(struct store *store, unsigned number, uint64_t now_ms)
{
    char text[24];
    const struct slice key = key_of(number, text);
    const uint64_t hash = key_hash(key);
    struct sibling siblings[SIBLINGS];
    struct stripe *stripe = store_lock(store, hash);
    struct cell cell;
    unsigned kinds = 0;

    cell_init(&cell, siblings, SIBLINGS);
    cell_store_read(stripe, hash, key, now_ms, &cell);
    store_unlock(stripe);
    for (unsigned i = 0; i < cell.sibling_count; i++)
        kinds |= cell.siblings[i].kind;
    return kinds;
}

static int unpin(struct store *store, unsigned number)
{
    char text[24];
    const struct slice key = key_of(number, text);
    const uint64_t hash = key_hash(key);
    struct stripe *stripe = store_lock(store, hash);
    const int left = cell_store_unpin(stripe, hash, key);

    store_unlock(stripe);
    return left;
}

static uint64_t cells_in_trees(struct store *store)
{
    unsigned count;
    const struct merkle_forest *forests = cell_store_forests(store, &count);
    uint64_t cells = 0;

    for (unsigned i = 0; i < 64; i++)
        cells += forests[0].trees[i].cell_count;
    return cells;
}

static void what_is_pinned_is_not_evicted(void **state)
{
    struct store *store = open_store(16 * MB);
    struct store_stats stats;

    (void)state;
    for (unsigned i = 0; i < 5000; i++)
        put_pinned(store, i, i % 3 == 0 ? SIBLING_TOMBSTONE : SIBLING_VALUE);
    for (unsigned i = 5000; i < 300000; i++)
        put(store, i, (struct put){.kind = i % 7 == 0 ? SIBLING_TOMBSTONE : SIBLING_VALUE}, NOW_MS);
    store_stats(store, &stats);
    assert_true(stats.evictions > 100000);
    for (unsigned i = 0; i < 5000; i++)
        assert_int_equal(held(store, i, NOW_MS), i % 3 == 0 ? SIBLING_TOMBSTONE : SIBLING_VALUE);
    for (unsigned i = 0; i < 5000; i++)
        assert_int_equal(unpin(store, i), 0);
    for (unsigned i = 300000; i < 600000; i++)
        put(store, i, (struct put){.kind = SIBLING_VALUE}, NOW_MS);
    for (unsigned i = 0; i < 5000; i++)
        assert_int_not_equal(held(store, i, NOW_MS), SIBLING_VALUE);
    close_store(store);
}

static void where_all_is_pinned_a_store_fails_and_does_not_hang(void **state)
{
    struct store *store = open_store(4 * MB);
    struct item_spec spec = {.value_bytes = 1000};
    unsigned number = 0;
    struct item *item;
    char text[24];

    (void)state;
    for (;; number++) {
        spec.key = key_of(1000000 + number, text);
        item = item_new(store, &spec, NOW_MS);
        if (item == NULL)
            break;
        item_discard(store, item);
        put_pinned(store, number, SIBLING_VALUE);
    }
    assert_true(number > 5000);
    for (unsigned i = 0; i < number; i++)
        assert_int_equal(held(store, i, NOW_MS), SIBLING_VALUE);
    close_store(store);
}

static void what_is_pinned_neither_expires_into_a_stub_nor_is_reaped(void **state)
{
    struct store *store = open_store(64 * MB);
    struct cell_store_stats stats;
    const struct put expiring = {
        .kind = SIBLING_VALUE, .expires_ms = NOW_MS + 1000, .write = {.adds_pin = true}};

    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        put(store, i, expiring, NOW_MS);
    for (unsigned i = 1000; i < 2000; i++)
        put_pinned(store, i, SIBLING_TOMBSTONE);
    for (unsigned i = 0; i < 100; i++)
        store_sweep(store, 1000, NOW_MS + 2 * HOUR_MS + i * 300);
    cell_store_stats(store, &stats);
    assert_int_equal(stats.stubs_made, 0);
    assert_int_equal(stats.tombstones_reaped, 0);
    for (unsigned i = 0; i < 2000; i++)
        assert_int_equal(unpin(store, i), 0);
    for (unsigned i = 0; i < 100; i++)
        store_sweep(store, 1000, NOW_MS + 2 * HOUR_MS + 60000 + i * 300);
    cell_store_stats(store, &stats);
    assert_int_equal(stats.stubs_made, 1000);
    assert_int_equal(stats.tombstones_reaped, 1000);
    close_store(store);
}

static void a_pinned_cell_is_in_the_trees_only_if_it_is_owned(void **state)
{
    struct store *store = open_store(64 * MB);
    char text[24];
    const struct slice key = key_of(7, text);
    const uint64_t hash = key_hash(key);
    struct stripe *stripe;

    (void)state;
    put(store, 7, (struct put){.kind = SIBLING_VALUE}, NOW_MS);
    assert_int_equal(cells_in_trees(store), 1);
    put_pinned(store, 7, SIBLING_VALUE);
    assert_int_equal(cells_in_trees(store), 0);
    put(store, 7, (struct put){.kind = SIBLING_VALUE}, NOW_MS); /* keeps the pin */
    assert_int_equal(cells_in_trees(store), 0);
    put(store, 7, (struct put){.kind = SIBLING_VALUE, .write = {.is_owner = true}}, NOW_MS);
    assert_int_equal(cells_in_trees(store), 1);
    stripe = store_lock(store, hash);
    assert_true(cell_store_pin(stripe, hash, key, true));
    assert_int_equal(cells_in_trees(store), 1);
    assert_true(cell_store_pin(stripe, hash, key, false));
    assert_int_equal(cells_in_trees(store), 0);
    assert_int_equal(cell_store_unpin(stripe, hash, key), 2);
    assert_int_equal(cell_store_unpin(stripe, hash, key), 1);
    assert_int_equal(cell_store_unpin(stripe, hash, key), 0);
    assert_int_equal(cells_in_trees(store), 0);
    cell_store_class(stripe, hash, key, 3);
    assert_int_equal(cells_in_trees(store), 1);
    cell_store_drop(stripe, hash, key);
    assert_int_equal(cells_in_trees(store), 0);
    assert_false(cell_store_pin(stripe, hash, key, false));
    store_unlock(stripe);
    close_store(store);
}

static void a_flush_takes_what_is_pinned(void **state)
{
    struct store *store = open_store(64 * MB);

    (void)state;
    for (unsigned i = 0; i < 100; i++)
        put_pinned(store, i, SIBLING_VALUE);
    store_flush_up_to(store, hlc_of_ms(NOW_MS + 1));
    for (unsigned i = 0; i < 100; i++)
        store_sweep(store, 1000, NOW_MS + 300 * i);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(unpin(store, i), -1);
    assert_int_equal(atomic_load(&store->stripes[0].bytes), 0);
    close_store(store);
}

static struct store_request hint_request(uint64_t hash, const struct cell *cell)
{
    return (struct store_request){
        .operation = 1, .key_hash = hash, .cell = cell, .hint_for = 99, .dot = {NODE_NONE, 0}};
}

static void a_merge_that_makes_a_hint_pins_even_what_it_does_not_change(void **state)
{
    struct store *store = open_store(64 * MB);
    char text[24];
    const struct slice key = key_of(1, text);
    const uint64_t hash = key_hash(key);
    struct sibling sibling = sibling_of_tombstone((struct dot){22, hlc_of_ms(NOW_MS)}), room[4];
    struct replica_stored stored;
    struct cell cell, own;

    (void)state;
    cell_init(&cell, &sibling, 1);
    cell.sibling_count = 1;
    context_add(&cell.context, (struct interval){22, 0, sibling.dot.hlc});
    for (unsigned i = 1; i <= 3; i++) {
        const struct store_request request = hint_request(hash, &cell);
        struct replica_now now = {
            .wall_ms = NOW_MS, .drift_max_ms = 1000, .has_room = true, .has_hint_room = i < 3};
        struct cell_write write = {.copies = 3};

        cell_init(&own, room, 4);
        cell_store_merge(store, key, &request, &now, &own, &write, &stored);
        cell_write_deinit(store, &write);
        assert_int_equal(stored.reply.status, i < 3 ? STORE_STORED : STORE_REFUSED_HINTS);
        assert_int_equal(stored.is_changed, i == 1);
        assert_int_equal(stored.makes_hint, i < 3);
    }
    assert_int_equal(cells_in_trees(store), 0);
    assert_int_equal(unpin(store, 1), 1);
    assert_int_equal(unpin(store, 1), 0);
    close_store(store);
}

/* --- the queue --- */

struct party {
    struct hint_queue *queue;
    unsigned number, added;
};

static void *add_hints(void *context)
{
    struct party *party = context;
    struct random random = {party->number};
    char text[24];

    for (unsigned i = 0; i < 20000; i++) {
        const uint64_t bytes = 100 + random_below(&random, 1000);

        if (!hint_queue_reserve(party->queue, bytes))
            continue;
        assert_true(atomic_load(&party->queue->bytes_used) <= party->queue->bytes_max);
        if (random_chance(&random, 20)) {
            hint_queue_free(party->queue, bytes);
            continue;
        }
        const struct slice key = key_of(i, text);
        hint_queue_add(party->queue, key_hash(key), key, 1 + party->number, bytes);
        party->added++;
    }
    return NULL;
}

/* Takes what there is; each party's notes come in their order. */
static unsigned take_all(struct hint_queue *queue, uint64_t last[THREADS])
{
    unsigned taken = 0;

    for (struct hint_note *note = hint_queue_take(queue), *next; note != NULL; note = next) {
        const struct slice key = {note->key, note->key_bytes};
        unsigned number = 0;

        next = note->next;
        assert_int_equal(note->hash, key_hash(key));
        assert_int_equal(sscanf((const char *)note->key, "key-%8u", &number), 1);
        assert_true(number >= last[note->target - 1]);
        last[note->target - 1] = number + 1;
        hint_queue_free(queue, note->bytes);
        free(note);
        taken++;
    }
    return taken;
}

static void the_bound_holds_for_all_threads_together_and_no_note_is_lost(void **state)
{
    struct hint_queue queue;
    struct party parties[THREADS];
    pthread_t threads[THREADS];
    uint64_t last[THREADS] = {0};
    unsigned taken = 0, added = 0;

    (void)state;
    hint_queue_init(&queue, NULL, 300000);
    for (unsigned i = 0; i < THREADS; i++) {
        parties[i] = (struct party){&queue, i, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, add_hints, &parties[i]), 0);
    }
    for (unsigned i = 0; i < 1000; i++)
        taken += take_all(&queue, last);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    taken += take_all(&queue, last);
    for (unsigned i = 0; i < THREADS; i++)
        added += parties[i].added;
    assert_int_equal(taken, added);
    assert_true(added > 200);
    assert_int_equal(atomic_load(&queue.bytes_used), 0);
    assert_true(hint_queue_reserve(&queue, 300000));
    assert_false(hint_queue_reserve(&queue, 1));
    assert_true(atomic_load(&queue.refused) >= 1);
    hint_queue_deinit(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_pinned_is_not_evicted),
        cmocka_unit_test(where_all_is_pinned_a_store_fails_and_does_not_hang),
        cmocka_unit_test(what_is_pinned_neither_expires_into_a_stub_nor_is_reaped),
        cmocka_unit_test(a_pinned_cell_is_in_the_trees_only_if_it_is_owned),
        cmocka_unit_test(a_flush_takes_what_is_pinned),
        cmocka_unit_test(a_merge_that_makes_a_hint_pins_even_what_it_does_not_change),
        cmocka_unit_test(the_bound_holds_for_all_threads_together_and_no_note_is_lost),
    };

    settings_init(&settings);
    clock_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
