/* The index against a plain list of what is in it. */
#include "server/index.h"
#include "ring/key_hash.h"
#include "server/clock.h"
#include "tests/unit/random.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define MB   ((uint64_t)1 << 20)
#define KEYS 60000

struct fixture {
    struct memory *memory;
    struct index_space space;
    struct index index;
    struct item *items[KEYS]; /* NULL: not in the index */
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    fixture->memory = memory_new(64 * MB);
    index_space_init(&fixture->space, fixture->memory, 4, 64 * MB);
    *state = fixture;
    return !index_init(&fixture->index, &fixture->space, 2, 1);
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    index_space_deinit(&fixture->space);
    memory_free(fixture->memory);
    free(fixture);
    return 0;
}

static struct slice key_of(unsigned number, char text[16])
{
    return (struct slice){(unsigned char *)text, (size_t)snprintf(text, 16, "key-%u", number)};
}

static void add(struct fixture *fixture, unsigned number)
{
    char text[16];
    const struct item_spec spec = {.key = key_of(number, text), .value_bytes = 8};
    struct item *item = memory_alloc(fixture->memory, item_bytes_of_spec(&spec));

    assert_non_null(item);
    item_init(item, &spec, clock_now_ms());
    assert_true(index_insert(&fixture->index, key_hash(spec.key), item));
    index_grow(&fixture->index);
    fixture->items[number] = item;
}

static void check(struct fixture *fixture, unsigned number)
{
    char text[16];
    const struct slice key = key_of(number, text);
    struct index_place place;

    assert_ptr_equal(index_find(&fixture->index, key_hash(key), key, &place),
                     fixture->items[number]);
}

static void drop(struct fixture *fixture, unsigned number)
{
    char text[16];
    const struct slice key = key_of(number, text);
    struct index_place place;

    assert_non_null(index_find(&fixture->index, key_hash(key), key, &place));
    index_remove(&fixture->index, place);
    memory_release(fixture->memory, fixture->items[number], item_bytes(fixture->items[number]));
    fixture->items[number] = NULL;
}

static void it_finds_just_what_was_put_in_while_it_grows(void **state)
{
    struct fixture *fixture = *state;
    struct random random = {11};
    uint64_t present = 0;

    for (unsigned step = 0; step < 400000; step++) {
        const unsigned number = random_below(&random, KEYS);

        check(fixture, number);
        if (fixture->items[number] == NULL) {
            add(fixture, number);
            present++;
        } else if (random_chance(&random, 60)) {
            drop(fixture, number);
            present--;
        }
        assert_int_equal(fixture->index.item_count, present);
    }
    for (unsigned number = 0; number < KEYS; number++)
        check(fixture, number);
    for (unsigned number = 0; number < KEYS; number++)
        if (fixture->items[number] != NULL)
            drop(fixture, number);
    assert_int_equal(fixture->index.overflow_count, 0); /* no overflow bucket is left behind */
}

static uint32_t bits_of(const struct fixture *fixture, const struct item *item)
{
    return index_bits(&fixture->index, key_hash(item_key(item)));
}

static void each_item_lies_in_its_bucket_once(void **state)
{
    struct fixture *fixture = *state;
    uint64_t seen = 0;

    for (unsigned number = 0; number < KEYS; number++)
        add(fixture, number);
    for (uint32_t bucket = 0; bucket < index_bucket_count(&fixture->index); bucket++) {
        struct item *items[64];
        const unsigned count = index_bucket_items(&fixture->index, bucket, 0, items, 64);

        assert_true(count <= 64);
        for (unsigned i = 0; i < count; i++)
            assert_int_equal(
                index_bucket_of(bits_of(fixture, items[i]), index_bucket_count(&fixture->index)),
                bucket);
        seen += count;
    }
    assert_int_equal(seen, KEYS);
}

static void it_takes_less_than_nine_bytes_per_item(void **state)
{
    struct fixture *fixture = *state;
    uint64_t bytes;

    for (unsigned number = 0; number < KEYS; number++) {
        add(fixture, number);
        bytes =
            (index_bucket_count(&fixture->index) + (uint64_t)fixture->index.overflow_count) * 64;
        if (number > 1000)
            assert_true(bytes < 9 * (uint64_t)(number + 1));
    }
}

static void an_item_is_found_by_its_bits_and_its_queue(void **state)
{
    struct fixture *fixture = *state;
    struct index_place place;
    uint64_t hash, found;
    char text[16];

    for (unsigned number = 0; number < 1000; number++) {
        add(fixture, number);
        fixture->items[number]->in_main = number & 1;
    }
    for (unsigned number = 0; number < 1000; number++) {
        hash = key_hash(key_of(number, text));
        assert_ptr_equal(index_find_queued(&fixture->index, index_bits(&fixture->index, hash),
                                           number & 1, &found, &place),
                         fixture->items[number]);
        assert_int_equal(found, hash);
        assert_null(index_find_queued(&fixture->index, index_bits(&fixture->index, hash),
                                      !(number & 1), &found, &place));
    }
}

static void it_shrinks_when_it_is_mostly_empty(void **state)
{
    struct fixture *fixture = *state;
    const uint64_t charged = fixture->memory->charged_bytes;
    uint32_t buckets;

    for (unsigned round = 0; round < 3; round++) {
        for (unsigned number = 0; number < KEYS; number++)
            add(fixture, number);
        assert_false(index_shrink(&fixture->index));
        buckets = index_bucket_count(&fixture->index);
        for (unsigned number = 0; number < KEYS; number++) {
            if (number % 16 != 0)
                drop(fixture, number);
            while (index_shrink(&fixture->index))
                ;
        }
        assert_true(index_bucket_count(&fixture->index) < buckets / 3);
        for (unsigned number = 0; number < KEYS; number++)
            check(fixture, number);
        for (unsigned number = 0; number < KEYS; number += 16)
            drop(fixture, number);
        while (index_shrink(&fixture->index))
            ;
        assert_int_equal(index_bucket_count(&fixture->index), 1);
        assert_int_equal(fixture->index.overflow_count, 0);
        assert_int_equal(fixture->memory->charged_bytes, charged);
    }
}

/* Every position is in just one bucket, and those of a bucket lie together. */
static void the_buckets_cover_all_positions_in_turn(void **state)
{
    struct fixture *fixture = *state;

    for (unsigned number = 0; number < 3000; number++) {
        uint64_t position = 0;
        uint32_t buckets = 0;

        add(fixture, number);
        if (number % 100 != 0)
            continue;
        while (position <= UINT32_MAX) {
            const struct index_span span = index_span_at(&fixture->index, (uint32_t)position);

            assert_int_equal(span.first, position);
            assert_int_equal(index_span_at(&fixture->index, (uint32_t)(span.end - 1)).bucket,
                             span.bucket);
            position = span.end;
            buckets++;
        }
        assert_int_equal(position, (uint64_t)1 << 32);
        assert_int_equal(buckets, index_bucket_count(&fixture->index));
    }
}

static void an_item_can_be_exchanged_for_a_copy(void **state)
{
    struct fixture *fixture = *state;
    struct index_place place;
    struct item *copy;
    char text[16];
    uint64_t hash;

    add(fixture, 5);
    hash = key_hash(key_of(5, text));
    copy = memory_alloc(fixture->memory, item_bytes(fixture->items[5]));
    memcpy(copy, fixture->items[5], item_bytes(fixture->items[5]));
    assert_true(index_find_handle(&fixture->index, hash,
                                  memory_handle_of(fixture->memory, fixture->items[5]), &place));
    index_replace(&fixture->index, place, copy);
    assert_false(index_find_handle(&fixture->index, hash,
                                   memory_handle_of(fixture->memory, fixture->items[5]), &place));
    fixture->items[5] = copy;
    check(fixture, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_finds_just_what_was_put_in_while_it_grows, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(each_item_lies_in_its_bucket_once, setup, teardown),
        cmocka_unit_test_setup_teardown(it_takes_less_than_nine_bytes_per_item, setup, teardown),
        cmocka_unit_test_setup_teardown(an_item_is_found_by_its_bits_and_its_queue, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(it_shrinks_when_it_is_mostly_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(the_buckets_cover_all_positions_in_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(an_item_can_be_exchanged_for_a_copy, setup, teardown),
    };

    clock_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
