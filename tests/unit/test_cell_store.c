/* Cells in the store, against an array of cells. */
#include "server/cell_store.h"
#include "ring/key_hash.h"
#include "server/clock.h"
#include "server/node_table.h"
#include "server/stripe.h"
#include "tests/unit/random.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define MB       ((uint64_t)1 << 20)
#define NOW_MS   ((uint64_t)1800000000000)
#define DRIFT_MS 60000
#define HOUR_MS  ((uint64_t)3600 * 1000)

#define KEYS_MAX       40000
#define SIBLINGS       64
#define VALUE_MAX      6000
#define NODES          5
#define PARTITION_BITS 6
#define LEAF_BITS      4

/* What a value handle of the model names: its bytes follow from it, see fill_value(). */
struct modelled {
    struct cell cell;
    struct sibling *siblings; /* SIBLINGS of them */
};

struct fixture {
    struct store *store;
    struct random random;
    uint64_t now_ms;
    unsigned key_count;
    struct modelled *own, *peer; /* by key */
    struct hlc_clock peer_clock;
    uint64_t value_number;
    unsigned char *arena; /* of values for one operation */
    size_t arena_used;
    bool may_forget; /* memory is short: what is held may be less than the model */
    uint64_t known, seen_as_stub, forgotten; /* of the checks under `may_forget` */
};

static const node_id nodes[NODES] = {11, 22, 33, 0xfedcba9876543210u, 55};

static struct slice key_of(unsigned number, char text[24])
{
    return (struct slice){(unsigned char *)text, (size_t)snprintf(text, 24, "key-%08u", number)};
}

/* Two classes. */
static unsigned copies_of(unsigned number)
{
    return number % 5 == 0 ? 2 : 3;
}

static struct store *open_store(uint64_t limit_bytes, const struct cell_store_options *cells)
{
    const struct store_options options = {.limit_bytes = limit_bytes,
                                          .item_bytes_max = limit_bytes / 256,
                                          .threads = 1,
                                          .evicts = true,
                                          .cells = cells};
    struct store *store = store_new(&options);

    assert_non_null(store);
    store_thread_init(store);
    assert_true(cell_store_use_class(store, 3));
    assert_true(cell_store_use_class(store, 2));
    assert_true(cell_store_use_class(store, 3));
    return store;
}

static struct modelled *new_model(unsigned key_count)
{
    struct modelled *model = calloc(key_count, sizeof model[0]);

    for (unsigned i = 0; i < key_count; i++) {
        model[i].siblings = calloc(SIBLINGS, sizeof model[i].siblings[0]);
        cell_init(&model[i].cell, model[i].siblings, SIBLINGS);
    }
    return model;
}

static void free_model(struct modelled *model, unsigned key_count)
{
    for (unsigned i = 0; i < key_count; i++)
        free(model[i].siblings);
    free(model);
}

static void open_fixture(struct fixture *fixture, unsigned key_count, uint64_t limit_bytes,
                         uint64_t stub_bytes, uint64_t seed)
{
    const struct cell_store_options cells = {.partition_bits = PARTITION_BITS,
                                             .leaf_bits = LEAF_BITS,
                                             .stub_bytes_max = stub_bytes,
                                             .tombstone_bytes_max = MB,
                                             .tombstone_grace_ms = 1000 * HOUR_MS};

    *fixture = (struct fixture){.store = open_store(limit_bytes, &cells),
                                .random = {seed},
                                .now_ms = NOW_MS,
                                .key_count = key_count,
                                .own = new_model(key_count),
                                .peer = new_model(key_count),
                                .arena = malloc((size_t)2 * SIBLINGS * VALUE_MAX)};
    hlc_clock_init(&fixture->peer_clock, 0);
}

static void close_fixture(struct fixture *fixture)
{
    free_model(fixture->own, fixture->key_count);
    free_model(fixture->peer, fixture->key_count);
    free(fixture->arena);
    store_thread_deinit(fixture->store);
    store_free(fixture->store);
}

static void fill_value(uint64_t number, unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(number * 31 + i * (number | 1));
}

/* The bytes of a model's value, good until the next operation. */
static unsigned char *value_bytes(struct fixture *fixture, uint64_t number, size_t size)
{
    unsigned char *bytes = fixture->arena + fixture->arena_used;

    assert_true(fixture->arena_used + size <= (size_t)2 * SIBLINGS * VALUE_MAX);
    fill_value(number, bytes, size);
    fixture->arena_used += size;
    return bytes;
}

/* The same cell with addresses for handles. */
static void with_bytes(struct fixture *fixture, const struct cell *model, struct cell *into)
{
    cell_copy(into, model);
    for (unsigned i = 0; i < into->sibling_count; i++) {
        struct sibling *sibling = &into->siblings[i];

        if (sibling->kind == SIBLING_VALUE)
            sibling->value =
                (uint64_t)(uintptr_t)value_bytes(fixture, sibling->value, sibling->value_bytes);
    }
}

/* A new value or tombstone, as the model has it. */
static struct sibling new_sibling(struct fixture *fixture, struct dot dot)
{
    struct random *random = &fixture->random;
    uint64_t number = ++fixture->value_number, expires_ms = 0;
    unsigned size = random_below(random, fixture->may_forget ? 900 : 300);
    struct sibling sibling;

    if (random_chance(random, 15))
        return sibling_of_tombstone(dot);
    if (random_chance(random, 2))
        size = 4000 + random_below(random, VALUE_MAX - 4000);
    if (random_chance(random, 20))
        expires_ms = fixture->now_ms + random_below(random, 20000);
    fill_value(number, fixture->arena, size);
    sibling = sibling_of_value(dot, expires_ms, random_chance(random, 30) ? 7 : 0, size,
                               key_hash((struct slice){fixture->arena, size}), number);
    if (random_chance(random, 5))
        sibling.reg.explicit_cas = 12345;
    sibling.reg.is_stale = sibling.kind == SIBLING_VALUE && random_chance(random, 3);
    return sibling;
}

static enum cell_put put(struct cell *cell, const struct sibling *sibling, unsigned how)
{
    struct context seen;

    context_clear(&seen);
    if (how == 1)
        cell_shown(cell, &seen);
    if (how == 0)
        return cell_put_blind(cell, sibling);
    if (how == 3)
        return cell_put_last_write_wins(cell, sibling);
    return cell_put_context(cell, sibling, &seen);
}

static void check_equal(struct fixture *fixture, const struct cell *held, const struct cell *model)
{
    unsigned char *bytes = fixture->arena;

    assert_true(context_equal(&held->context, &model->context));
    assert_int_equal(held->sibling_count, model->sibling_count);
    assert_int_equal(held->is_live, model->is_live);
    for (unsigned i = 0; i < held->sibling_count; i++) {
        const struct sibling *a = &held->siblings[i], *b = &model->siblings[i];

        assert_int_equal(dot_compare(a->dot, b->dot), 0);
        assert_int_equal(a->kind, b->kind);
        assert_true(a->reg.hlc == b->reg.hlc);
        assert_true(a->reg.expires_ms == b->reg.expires_ms);
        assert_true(a->reg.explicit_cas == b->reg.explicit_cas);
        assert_true(a->reg.is_stale == b->reg.is_stale);
        assert_true(a->client_flags == b->client_flags);
        assert_true(a->value_digest == b->value_digest);
        assert_int_equal(a->value_bytes, b->value_bytes);
        if (a->kind != SIBLING_VALUE)
            continue;
        fill_value(b->value, bytes, b->value_bytes);
        assert_memory_equal((void *)(uintptr_t)a->value, bytes, a->value_bytes);
    }
}

static bool holds_values(const struct cell *cell)
{
    for (unsigned i = 0; i < cell->sibling_count; i++)
        if (cell->siblings[i].kind == SIBLING_VALUE)
            return true;
    return false;
}

/* Where memory is short, values may have become stubs, all at once, and cells may be gone: then the
 * model follows. */
static void follow(struct fixture *fixture, const struct cell *held, struct cell *model)
{
    fixture->known++;
    if (held->sibling_count == 0) {
        fixture->forgotten += model->sibling_count > 0;
        cell_init(model, model->siblings, SIBLINGS);
    } else if (!holds_values(held)) {
        fixture->seen_as_stub += holds_values(model);
        cell_evict(model);
    }
}

/* Whether plain look-ups see a value, and only that. */
static void check_visible(struct stripe *stripe, uint64_t hash, struct slice key, uint64_t now_ms,
                          const struct cell *held)
{
    assert_int_equal(stripe_find(stripe, hash, key, now_ms) != NULL, holds_values(held));
}

static void check_key(struct fixture *fixture, unsigned number)
{
    char text[24];
    const struct slice key = key_of(number, text);
    const uint64_t hash = key_hash(key);
    struct cell *model = &fixture->own[number].cell;
    struct sibling siblings[SIBLINGS];
    struct stripe *stripe = store_lock(fixture->store, hash);
    struct cell held;

    cell_init(&held, siblings, SIBLINGS);
    assert_in_range(cell_store_read(stripe, hash, key, fixture->now_ms, &held), 0, SIBLINGS);
    cell_flush(model, stripe->flushed);
    cell_expire(model, fixture->now_ms);
    if (model->sibling_count == 0)
        cell_init(model, model->siblings, SIBLINGS);
    if (fixture->may_forget)
        follow(fixture, &held, model);
    check_equal(fixture, &held, model);
    check_visible(stripe, hash, key, fixture->now_ms, &held);
    store_unlock(stripe);
}

/* A write of this node, or a new register for what is there. */
static void write_own(struct fixture *fixture, unsigned number, unsigned how)
{
    char text[24];
    const struct slice key = key_of(number, text);
    const uint64_t hash = key_hash(key);
    struct cell *model = &fixture->own[number].cell, held;
    struct cell_write write = {.copies = copies_of(number)};
    struct sibling siblings[SIBLINGS], modelled, stored;
    struct stripe *stripe;
    hlc_time hlc = 0;

    check_key(fixture, number);
    fixture->arena_used = 0;
    cell_init(&held, siblings, SIBLINGS);
    do {
        stripe = store_lock(fixture->store, hash);
        cell_store_read(stripe, hash, key, fixture->now_ms, &held);
        if (fixture->may_forget) /* making room may have evicted this very cell */
            follow(fixture, &held, model);
        if (hlc == 0) {
            hlc = stripe_clock_next(stripe, fixture->now_ms);
            modelled = new_sibling(fixture, (struct dot){nodes[0], hlc});
            stored = modelled;
            stored.value = stored.kind != SIBLING_VALUE
                               ? 0
                               : (uint64_t)(uintptr_t)value_bytes(fixture, modelled.value,
                                                                  modelled.value_bytes);
        }
        assert_int_equal(put(&held, &stored, how), CELL_PUT_DONE);
    } while (!cell_store_write(fixture->store, stripe, hash, key, &held, &write, fixture->now_ms));
    assert_false(write.failed);
    store_unlock(stripe);
    assert_int_equal(put(model, &modelled, how), CELL_PUT_DONE);
    cell_write_deinit(fixture->store, &write);
}

static void touch(struct fixture *fixture, unsigned number)
{
    char text[24];
    const struct slice key = key_of(number, text);
    const uint64_t hash = key_hash(key);
    struct cell *model = &fixture->own[number].cell, held;
    struct cell_write write = {.copies = copies_of(number)};
    struct sibling siblings[SIBLINGS];
    struct sibling_register reg = {0};
    struct stripe *stripe;

    check_key(fixture, number);
    cell_init(&held, siblings, SIBLINGS);
    do {
        stripe = store_lock(fixture->store, hash);
        cell_store_read(stripe, hash, key, fixture->now_ms, &held);
        if (fixture->may_forget)
            follow(fixture, &held, model);
        if (reg.hlc == 0)
            reg.hlc = stripe_clock_next(stripe, fixture->now_ms);
        reg.expires_ms = fixture->now_ms + 5000;
        if (held.sibling_count > 0)
            sibling_set_register(&held.siblings[held.sibling_count - 1], &reg);
    } while (!cell_store_write(fixture->store, stripe, hash, key, &held, &write, fixture->now_ms));
    assert_false(write.failed);
    store_unlock(stripe);
    if (model->sibling_count > 0)
        sibling_set_register(&model->siblings[model->sibling_count - 1], &reg);
    cell_write_deinit(fixture->store, &write);
}

/* Somebody else writes; sometimes having seen what we have. */
static void write_peer(struct fixture *fixture, unsigned number)
{
    struct random *random = &fixture->random;
    struct cell *peer = &fixture->peer[number].cell;
    const struct dot dot = {nodes[1 + random_below(random, NODES - 1)],
                            hlc_clock_next(&fixture->peer_clock, fixture->now_ms)};
    struct sibling sibling;

    fixture->arena_used = 0;
    if (peer->sibling_count > 20)
        cell_init(peer, peer->siblings, SIBLINGS);
    if (random_chance(random, 30) &&
        peer->sibling_count + fixture->own[number].cell.sibling_count < 40)
        cell_merge(peer, &fixture->own[number].cell);
    sibling = new_sibling(fixture, dot);
    if (put(peer, &sibling, random_below(random, 4)) == CELL_PUT_DONE && random_chance(random, 10))
        cell_evict(peer);
    peer->is_live = false;
}

/* Where memory is short, what was merged into was the cell, its stub, or nothing: the model becomes
 * what fits what is held now. */
static void follow_merge(struct fixture *fixture, unsigned number,
                         const struct store_request *request, const struct replica_now *now)
{
    char text[24];
    const struct slice key = key_of(number, text);
    struct cell *model = &fixture->own[number].cell, held, tried;
    struct sibling siblings[2 * SIBLINGS], tried_siblings[2 * SIBLINGS];
    struct stripe *stripe = store_lock(fixture->store, request->key_hash);

    cell_init(&held, siblings, 2 * SIBLINGS);
    cell_store_read(stripe, request->key_hash, key, fixture->now_ms, &held);
    store_unlock(stripe);
    if (held.sibling_count == 0) { /* a stub that was the oldest, and went at once */
        fixture->forgotten++;
        cell_init(model, model->siblings, SIBLINGS);
        return;
    }
    for (unsigned loss = 0; loss < 3; loss++) {
        cell_init(&tried, tried_siblings, 2 * SIBLINGS);
        if (loss < 2)
            cell_copy(&tried, model);
        if (loss == 1)
            cell_evict(&tried);
        replica_store(&tried, request, now);
        cell_expire(&tried, fixture->now_ms);
        if (tried.is_live != held.is_live ||
            exchange_fingerprint(&tried) != exchange_fingerprint(&held))
            continue;
        fixture->seen_as_stub += loss == 1;
        fixture->forgotten += loss == 2;
        cell_copy(model, &tried);
        return;
    }
    fail_msg("key %u: what is held now comes from nowhere", number);
}

static void merge(struct fixture *fixture, unsigned number)
{
    char text[24];
    const struct slice key = key_of(number, text);
    struct cell *model = &fixture->own[number].cell, sent, own;
    struct sibling sent_siblings[SIBLINGS], own_siblings[2 * SIBLINGS];
    struct cell_write write = {.copies = copies_of(number)};
    struct hlc_clock clock = {.last = 0};
    struct replica_now now = {
        .wall_ms = fixture->now_ms, .drift_max_ms = DRIFT_MS, .is_owner = true, .has_room = true};
    struct store_request request = {.operation = 1, .key_hash = key_hash(key), .cell = &sent};
    struct replica_stored stored, expected;

    check_key(fixture, number);
    if (model->sibling_count + fixture->peer[number].cell.sibling_count > SIBLINGS)
        return;
    fixture->arena_used = 0;
    cell_init(&sent, sent_siblings, SIBLINGS);
    cell_init(&own, own_siblings, 0);
    with_bytes(fixture, &fixture->peer[number].cell, &sent);
    if (sent.sibling_count > 0 && !fixture->may_forget)
        assert_true(cell_store_merge(fixture->store, key, &request, &now, &own, &write, &stored) >=
                    sent.sibling_count);
    cell_init(&own, own_siblings, 2 * SIBLINGS);
    assert_in_range(cell_store_merge(fixture->store, key, &request, &now, &own, &write, &stored), 0,
                    2 * SIBLINGS);
    assert_false(write.failed);
    cell_write_deinit(fixture->store, &write);
    now.clock = &clock;
    request.cell = &fixture->peer[number].cell;
    if (fixture->may_forget) {
        assert_int_equal(stored.reply.status, STORE_STORED);
        follow_merge(fixture, number, &request, &now);
        return;
    }
    expected = replica_store(model, &request, &now);
    assert_int_equal(stored.reply.status, expected.reply.status);
    assert_int_equal(stored.is_changed, expected.is_changed);
}

static uint64_t mark_of(struct fixture *fixture, unsigned number)
{
    char text[24];
    const struct slice key = key_of(number, text);

    return merkle_mark(key_hash(key), &fixture->own[number].cell);
}

/* A look at a key may make a stub of what has expired, and drop another one: after this there is
 * nothing more to happen. */
static void settle(struct fixture *fixture)
{
    for (unsigned i = 0; i < fixture->key_count; i++)
        check_key(fixture, i);
}

/* The trees are what one would build from the cells. */
static void check_forests(struct fixture *fixture)
{
    static uint64_t leaves[4][1 << (PARTITION_BITS + LEAF_BITS)];
    unsigned count, depth = PARTITION_BITS + LEAF_BITS;
    const struct merkle_forest *forests;
    char text[24];

    memset(leaves, 0, sizeof leaves);
    settle(fixture);
    for (unsigned i = 0; i < fixture->key_count; i++) {
        check_key(fixture, i);
        leaves[copies_of(i)][key_hash(key_of(i, text)) >> (64 - depth)] ^= mark_of(fixture, i);
    }
    forests = cell_store_forests(fixture->store, &count);
    assert_int_equal(count, 2);
    for (unsigned f = 0; f < count; f++)
        for (unsigned leaf = 0; leaf < 1u << depth; leaf++) {
            const struct merkle_range range = {(uint64_t)leaf << (64 - depth), depth};
            uint64_t sum;

            assert_true(merkle_sum(&forests[f].trees[leaf >> LEAF_BITS], range, &sum));
            assert_true(sum == leaves[forests[f].copies][leaf]);
        }
}

/* A scan gives all of a class, in order, with what the trees have. */
static void check_scan(struct fixture *fixture, struct hash_range range, unsigned items_max,
                       unsigned copies_min, unsigned copies_max)
{
    struct exchange_item items[300];
    struct exchange_scan scan = {.first = range.first,
                                 .last = range.last,
                                 .number = 9,
                                 .copies_min = copies_min,
                                 .copies_max = copies_max,
                                 .items_max = items_max};
    struct exchange_scanned scanned;
    uint64_t sum = 0, expected = 0, before = 0;
    unsigned found = 0, count = 0;
    char text[24];

    settle(fixture);
    for (unsigned i = 0; i < fixture->key_count; i++) {
        const uint64_t hash = key_hash(key_of(i, text));

        check_key(fixture, i);
        if (hash < range.first || hash > range.last || copies_of(i) < copies_min ||
            copies_of(i) > copies_max || fixture->own[i].cell.sibling_count == 0)
            continue;
        expected ^= mark_of(fixture, i);
        count++;
    }
    for (;;) {
        assert_true(cell_store_scan(fixture->store, &scan, 0, fixture->now_ms, items, &scanned));
        assert_int_equal(scanned.number, 9);
        assert_true(scanned.item_count <= items_max);
        assert_true(scanned.reached >= scan.first);
        for (unsigned i = 0; i < scanned.item_count; i++) {
            assert_true(found == 0 || items[i].key_hash > before);
            assert_true(items[i].key_hash >= scan.first);
            assert_true(items[i].key_hash <= scanned.reached);
            before = items[i].key_hash;
            sum ^= items[i].mark;
            found++;
        }
        if (scanned.reached == scan.last)
            break;
        scan.first = scanned.reached + 1;
    }
    assert_int_equal(found, count);
    assert_true(sum == expected);
}

static void run(struct fixture *fixture, unsigned steps)
{
    struct random *random = &fixture->random;

    for (unsigned step = 0; step < steps; step++) {
        const unsigned number = random_below(random, fixture->key_count);

        fixture->now_ms += random_below(random, 4);
        switch (random_below(random, 8)) {
        case 0:
        case 1: write_own(fixture, number, 0); break;
        case 2: write_own(fixture, number, random_below(random, 4)); break;
        case 3: touch(fixture, number); break;
        case 4: write_peer(fixture, number); break;
        case 5: merge(fixture, number); break;
        case 6:
            write_peer(fixture, number);
            merge(fixture, number);
            break;
        case 7: store_sweep(fixture->store, 50, fixture->now_ms); break;
        }
        check_key(fixture, number);
    }
}

static void the_store_holds_what_an_array_of_cells_holds(void **state)
{
    struct fixture fixture;

    (void)state;
    open_fixture(&fixture, 500, 256 * MB, 16 * MB, 1);
    for (unsigned round = 0; round < 8; round++) {
        run(&fixture, 8000);
        check_forests(&fixture);
        check_scan(&fixture, hash_range_all, 300, 1, 8);
        check_scan(&fixture, hash_range_all, 7, 3, 3);
        check_scan(&fixture, (struct hash_range){(uint64_t)5 << 58, ((uint64_t)6 << 58) - 1}, 3, 2,
                   3);
    }
    close_fixture(&fixture);
}

static void where_memory_is_short_a_cell_is_whole_or_a_stub_or_gone(void **state)
{
    struct fixture fixture;
    struct cell_store_stats stats;

    (void)state;
    open_fixture(&fixture, KEYS_MAX, 16 * MB, MB / 2, 2);
    fixture.may_forget = true;
    for (unsigned round = 0; round < 3; round++) {
        run(&fixture, 60000);
        check_forests(&fixture);
        cell_store_stats(fixture.store, &stats);
        assert_in_range(stats.stub_bytes, 1, MB / 2);
    }
    assert_true(fixture.seen_as_stub > 0);
    assert_true(fixture.forgotten > 0);
    assert_true(stats.stubs_made > 1000);
    assert_true(stats.stubs_forgotten > 1000);
    check_scan(&fixture, (struct hash_range){(uint64_t)9 << 60, ((uint64_t)10 << 60) - 1}, 256, 3,
               3);
    close_fixture(&fixture);
}

static void what_was_flushed_is_gone_here_and_in_the_trees(void **state)
{
    struct fixture fixture;
    uint64_t sum;
    unsigned count;

    (void)state;
    open_fixture(&fixture, 300, 256 * MB, 16 * MB, 3);
    run(&fixture, 4000);
    fixture.now_ms += 1000;
    store_flush_up_to(fixture.store, hlc_of_ms(fixture.now_ms));
    for (unsigned i = 0; i < fixture.key_count; i++)
        check_key(&fixture, i);
    for (unsigned i = 0; i < fixture.key_count; i++) {
        assert_int_equal(fixture.own[i].cell.sibling_count, 0);
        cell_init(&fixture.peer[i].cell, fixture.peer[i].siblings, SIBLINGS);
    }
    for (unsigned i = 0; i < 200; i++)
        store_sweep(fixture.store, 1000, fixture.now_ms);
    for (unsigned t = 0; t < 1u << PARTITION_BITS; t++) {
        const struct merkle_forest *forests = cell_store_forests(fixture.store, &count);

        assert_true(merkle_sum(&forests[0].trees[t], (struct merkle_range){0, 0}, &sum));
        assert_int_equal(sum, 0);
        assert_int_equal(forests[0].trees[t].cell_count, 0);
    }
    fixture.now_ms += 1000;
    run(&fixture, 4000);
    check_forests(&fixture);
    close_fixture(&fixture);
}

/* Writes one sibling, blind. */
static void put_simple(struct store *store, unsigned number, bool is_value, uint64_t now_ms)
{
    char text[24];
    const struct slice key = key_of(number, text);
    const uint64_t hash = key_hash(key);
    struct cell_write write = {.copies = 3};
    struct sibling siblings[4], sibling;
    struct stripe *stripe;
    struct cell cell;
    struct dot dot;

    cell_init(&cell, siblings, 4);
    do {
        stripe = store_lock(store, hash);
        cell_store_read(stripe, hash, key, now_ms, &cell);
        dot = (struct dot){nodes[0], stripe_clock_next(stripe, now_ms)};
        sibling = is_value ? sibling_of_value(dot, 0, 0, 10, key_hash(SLICE("0123456789")),
                                              (uint64_t)(uintptr_t) "0123456789")
                           : sibling_of_tombstone(dot);
        assert_int_equal(cell_put_blind(&cell, &sibling), CELL_PUT_DONE);
    } while (!cell_store_write(store, stripe, hash, key, &cell, &write, now_ms));
    assert_false(write.failed);
    store_unlock(stripe);
}

static unsigned held_siblings(struct store *store, unsigned number, uint64_t now_ms)
{
    char text[24];
    const struct slice key = key_of(number, text);
    const uint64_t hash = key_hash(key);
    struct sibling siblings[4];
    struct stripe *stripe = store_lock(store, hash);
    struct cell cell;

    cell_init(&cell, siblings, 4);
    cell_store_read(stripe, hash, key, now_ms, &cell);
    store_unlock(stripe);
    return cell.sibling_count;
}

static void a_tombstone_is_reaped_after_its_grace_and_not_before(void **state)
{
    const struct cell_store_options cells = {
        .partition_bits = 8, .tombstone_bytes_max = MB, .tombstone_grace_ms = HOUR_MS};
    struct store *store = open_store(64 * MB, &cells);
    struct cell_store_stats stats;
    struct store_stats all;

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        put_simple(store, i, true, NOW_MS);
        put_simple(store, i, false, NOW_MS + 1);
    }
    for (unsigned i = 0; i < 500; i++)
        put_simple(store, i, true, NOW_MS + 2);
    store_sweep(store, 100, NOW_MS + HOUR_MS);
    cell_store_stats(store, &stats);
    assert_int_equal(stats.tombstones, 500);
    store_stats(store, &all);
    assert_int_equal(all.items, 500);
    store_sweep(store, 100, NOW_MS + HOUR_MS + HOUR_MS / 8 + 200);
    cell_store_stats(store, &stats);
    assert_int_equal(stats.tombstones, 0);
    assert_int_equal(stats.tombstone_bytes, 0);
    assert_int_equal(stats.tombstones_reaped, 500);
    assert_int_equal(stats.tombstones_reaped_early, 0);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(held_siblings(store, i, NOW_MS), i < 500);
    store_thread_deinit(store);
    store_free(store);
}

static void at_the_bound_the_oldest_tombstones_are_reaped_early(void **state)
{
    const struct cell_store_options cells = {
        .partition_bits = 8, .tombstone_bytes_max = MB, .tombstone_grace_ms = HOUR_MS};
    struct store *store = open_store(64 * MB, &cells);
    struct cell_store_stats stats;
    unsigned early = 0, late = 0;

    (void)state;
    for (unsigned i = 0; i < 60000; i++)
        put_simple(store, i, false, NOW_MS + i);
    cell_store_stats(store, &stats);
    assert_in_range(stats.tombstone_bytes, MB / 2, MB);
    assert_int_equal(stats.tombstones + stats.tombstones_reaped_early, 60000);
    for (unsigned i = 0; i < 1000; i++) {
        early += held_siblings(store, i, NOW_MS);
        late += held_siblings(store, 59000 + i, NOW_MS);
    }
    assert_int_equal(early, 0);
    assert_int_equal(late, 1000);
    store_thread_deinit(store);
    store_free(store);
}

static void a_common_cell_costs_eight_bytes_more_than_a_plain_item(void **state)
{
    const struct cell_store_options cells = {.partition_bits = 8, .tombstone_bytes_max = MB};
    struct store *store = open_store(64 * MB, &cells);
    char text[24];
    const struct item_spec spec = {.key = key_of(1, text), .value_bytes = 10};
    struct store_stats stats;

    (void)state;
    put_simple(store, 1, true, NOW_MS);
    store_stats(store, &stats);
    assert_int_equal(stats.items, 1);
    assert_int_equal(stats.bytes_requested, item_bytes_of_spec(&spec) + 8);
    store_thread_deinit(store);
    store_free(store);
}

/* As a merge does that brings nothing newer. */
static void write_again(struct store *store, struct slice key, uint64_t now_ms)
{
    const uint64_t hash = key_hash(key);
    struct cell_write write = {.copies = 3};
    struct sibling siblings[4];
    struct stripe *stripe;
    struct cell cell;

    cell_init(&cell, siblings, 4);
    do {
        stripe = store_lock(store, hash);
        cell_store_read(stripe, hash, key, now_ms, &cell);
    } while (!cell_store_write(store, stripe, hash, key, &cell, &write, now_ms));
    assert_false(write.failed);
    store_unlock(stripe);
}

static void only_a_newer_value_takes_the_marks_of_an_item(void **state)
{
    struct fixture fixture;
    char text[24];
    const struct slice key = key_of(7, text);
    struct stripe *stripe;
    struct item *item;

    (void)state;
    open_fixture(&fixture, 10, 256 * MB, 16 * MB, 3);
    put_simple(fixture.store, 7, true, fixture.now_ms);
    for (unsigned newer = 0; newer < 2; newer++) {
        stripe = store_lock(fixture.store, key_hash(key));
        item = stripe_find(stripe, key_hash(key), key, fixture.now_ms);
        item->bits |= ITEM_WON;
        item->was_fetched = 1;
        store_unlock(stripe);
        if (newer)
            put_simple(fixture.store, 7, true, fixture.now_ms);
        else
            write_again(fixture.store, key, fixture.now_ms);
        stripe = store_lock(fixture.store, key_hash(key));
        item = stripe_find(stripe, key_hash(key), key, fixture.now_ms);
        assert_int_equal((item->bits & ITEM_WON) != 0, !newer);
        assert_int_equal(item->was_fetched, !newer);
        store_unlock(stripe);
    }
    close_fixture(&fixture);
}

static void a_node_has_one_handle_as_long_as_there_are_any(void **state)
{
    struct node_table *table = calloc(1, sizeof *table);

    (void)state;
    node_table_init(table);
    for (unsigned round = 0; round < 2; round++)
        for (node_id id = 1; id <= NODE_HANDLES_MAX; id++) {
            const unsigned handle = node_table_handle(table, id * 0x10001);

            assert_int_equal(handle, id);
            assert_true(node_table_id(table, handle) == id * 0x10001);
        }
    assert_int_equal(node_table_handle(table, 7), NODE_HANDLE_NONE);
    node_table_deinit(table);
    free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_a_newer_value_takes_the_marks_of_an_item),
        cmocka_unit_test(a_node_has_one_handle_as_long_as_there_are_any),
        cmocka_unit_test(a_common_cell_costs_eight_bytes_more_than_a_plain_item),
        cmocka_unit_test(the_store_holds_what_an_array_of_cells_holds),
        cmocka_unit_test(where_memory_is_short_a_cell_is_whole_or_a_stub_or_gone),
        cmocka_unit_test(what_was_flushed_is_gone_here_and_in_the_trees),
        cmocka_unit_test(a_tombstone_is_reaped_after_its_grace_and_not_before),
        cmocka_unit_test(at_the_bound_the_oldest_tombstones_are_reaped_early),
    };

    clock_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
