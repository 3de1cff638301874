/* Pages and slabs: nothing overlaps, nothing is lost, and what is resident stays within the limit. */
#include "server/memory.h"
#include "tests/unit/random.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MB         ((uint64_t)1 << 20)
#define BLOCKS_MAX 20000

struct block {
    unsigned char *bytes;
    uint64_t size;
    unsigned char mark;
};

static struct block blocks[BLOCKS_MAX];

static void block_fill(struct block *block, unsigned char mark)
{
    block->mark = mark;
    block->bytes[0] = mark;
    block->bytes[block->size / 2] = mark;
    block->bytes[block->size - 1] = mark;
}

static void block_check(const struct block *block)
{
    assert_int_equal(block->bytes[0], block->mark);
    assert_int_equal(block->bytes[block->size / 2], block->mark);
    assert_int_equal(block->bytes[block->size - 1], block->mark);
}

static uint64_t any_size(struct random *random)
{
    switch (random_below(random, 8)) {
    case 0: return 1 + random_below(random, 200000);
    case 1: return 1 + random_below(random, 20000);
    case 2: return 1 + random_below(random, 2000);
    default: return 1 + random_below(random, 300);
    }
}

static void blocks_of_all_sizes_keep_their_contents(void **state)
{
    struct memory *memory = memory_new(32 * MB);
    struct random random = {1};
    unsigned refused = 0;

    (void)state;
    assert_non_null(memory);
    memory_thread_init(memory);
    memset(blocks, 0, sizeof blocks);
    for (unsigned step = 0; step < 200000; step++) {
        struct block *block = &blocks[random_below(&random, BLOCKS_MAX)];

        if (block->bytes != NULL) {
            block_check(block);
            memory_release(memory, block->bytes, block->size);
            block->bytes = NULL;
            continue;
        }
        block->size = any_size(&random);
        block->bytes = memory_alloc(memory, block->size);
        if (block->bytes == NULL) {
            refused++;
            continue;
        }
        assert_true(memory_round(memory, block->size) >= block->size);
        assert_ptr_equal(memory_pointer(memory, memory_handle_of(memory, block->bytes)),
                         block->bytes);
        block_fill(block, (unsigned char)step);
        assert_true(memory_held_bytes(memory) <= 32 * MB);
    }
    assert_true(refused > 0); /* the limit was met */
    for (unsigned i = 0; i < BLOCKS_MAX; i++)
        if (blocks[i].bytes != NULL) {
            block_check(&blocks[i]);
            memory_release(memory, blocks[i].bytes, blocks[i].size);
        }
    memory_thread_deinit(memory);
    assert_int_equal(memory->pages.used, 0);
    memory_free(memory);
}

static void rounding_wastes_little(void **state)
{
    struct memory *memory = memory_new(8 * MB);

    (void)state;
    for (uint64_t bytes = 1; bytes <= 512; bytes++)
        assert_true(memory_round(memory, bytes) < bytes + 8);
    for (uint64_t bytes = 513; bytes <= 8192; bytes++)
        assert_true((memory_round(memory, bytes) - bytes) * 16 < bytes);
    memory_free(memory);
}

static void a_full_memory_refuses_and_serves_again_after_a_release(void **state)
{
    struct memory *memory = memory_new(4 * MB);
    void *large = memory_alloc(memory, 3 * MB);

    (void)state;
    assert_non_null(large);
    assert_null(memory_alloc(memory, 2 * MB));
    assert_null(memory_alloc(memory, UINT64_MAX / 2));
    memory_release(memory, large, 3 * MB);
    large = memory_alloc(memory, 2 * MB);
    assert_non_null(large);
    memory_release(memory, large, 2 * MB);
    memory_free(memory);
}

static void what_is_charged_leaves_less_for_items(void **state)
{
    struct memory *memory = memory_new(4 * MB);

    (void)state;
    memory_charge(memory, (int64_t)(2 * MB));
    assert_null(memory_alloc(memory, 3 * MB));
    memory_charge(memory, -(int64_t)(2 * MB));
    assert_non_null(memory_alloc(memory, 3 * MB));
    memory_free(memory);
}

static void scattered_free_runs_are_given_back_for_a_large_one(void **state)
{
    enum { COUNT = 250 };
    struct memory *memory = memory_new(4 * MB);
    void *runs[COUNT];

    (void)state;
    for (unsigned i = 0; i < COUNT; i++)
        assert_non_null(runs[i] = memory_alloc(memory, 16000));
    for (unsigned i = 0; i < COUNT; i += 2)
        memory_release(memory, runs[i], 16000);
    assert_non_null(memory_alloc(memory, MB));
    assert_true(memory_held_bytes(memory) <= 4 * MB);
    memory_free(memory);
}

static void pages_that_nobody_needs_are_given_back_in_time(void **state)
{
    struct memory *memory = memory_new(16 * MB);
    void *large = memory_alloc(memory, 8 * MB);

    (void)state;
    memset(large, 1, 8 * MB);
    memory_release(memory, large, 8 * MB);
    assert_true(memory_held_bytes(memory) >= 8 * MB);
    for (unsigned i = 0; i < 100; i++)
        pages_decay(&memory->pages);
    assert_true(memory_held_bytes(memory) < MB);
    memory_free(memory);
}

static void a_sparse_slab_is_freed_by_moving_what_it_holds(void **state)
{
    enum { COUNT = 2000, SIZE = 128 };
    struct memory *memory = memory_new(16 * MB);
    struct memory_drain drain;
    void *slots[COUNT];
    unsigned drained = 0;

    (void)state;
    for (unsigned i = 0; i < COUNT; i++)
        assert_non_null(slots[i] = memory_alloc(memory, SIZE));
    assert_false(memory_drain_begin(memory, &drain));
    for (unsigned i = 0; i < COUNT; i++)
        if (i % 4 != 0) {
            memory_release(memory, slots[i], SIZE);
            slots[i] = NULL;
        }
    while (memory_drain_begin(memory, &drain)) {
        void *slot;

        while ((slot = memory_drain_next(memory, &drain)) != NULL) {
            void *copy = memory_alloc(memory, SIZE);
            assert_non_null(copy);
            for (unsigned i = 0; i < COUNT; i++)
                if (slots[i] == slot)
                    slots[i] = copy;
            memory_drain_release(memory, &drain, slot);
        }
        assert_true(memory_drain_end(memory, &drain));
        drained++;
    }
    assert_true(drained >= 4);
    for (unsigned i = 0; i < COUNT; i += 4)
        memory_release(memory, slots[i], SIZE);
    assert_int_equal(memory->pages.used, 0);
    memory_free(memory);
}

static void a_lower_limit_gives_back_what_is_free(void **state)
{
    struct memory *memory = memory_new(16 * MB);
    void *large = memory_alloc(memory, 8 * MB);

    (void)state;
    memory_release(memory, large, 8 * MB);
    memory_set_limit(memory, 2 * MB);
    assert_true(memory_held_bytes(memory) <= 2 * MB);
    memory_free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_of_all_sizes_keep_their_contents),
        cmocka_unit_test(rounding_wastes_little),
        cmocka_unit_test(a_full_memory_refuses_and_serves_again_after_a_release),
        cmocka_unit_test(what_is_charged_leaves_less_for_items),
        cmocka_unit_test(scattered_free_runs_are_given_back_for_a_large_one),
        cmocka_unit_test(pages_that_nobody_needs_are_given_back_in_time),
        cmocka_unit_test(a_sparse_slab_is_freed_by_moving_what_it_holds),
        cmocka_unit_test(a_lower_limit_gives_back_what_is_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
