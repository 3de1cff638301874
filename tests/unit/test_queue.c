/* Queues and ghosts. */
#include "server/ghost.h"
#include "server/queue.h"
#include "tests/unit/random.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#define MB ((uint64_t)1 << 20)

static int memory_setup(void **state)
{
    *state = memory_new(16 * MB);
    return *state == NULL;
}

static int memory_teardown(void **state)
{
    memory_free(*state);
    return 0;
}

static void entries_come_out_in_the_order_they_went_in(void **state)
{
    struct queue queue;
    uint32_t entry, next_in = 0, next_out = 0;
    struct random random = {7};

    queue_init(&queue, *state);
    for (unsigned i = 0; i < 200000; i++) {
        if (random_below(&random, 5) < 3)
            assert_true(queue_push(&queue, next_in++));
        else if (queue_pop(&queue, &entry))
            assert_int_equal(entry, next_out++);
        assert_int_equal(queue.entries, next_in - next_out);
    }
    while (queue_pop(&queue, &entry))
        assert_int_equal(entry, next_out++);
    assert_int_equal(next_out, next_in);
    assert_int_equal(((struct memory *)*state)->pages.used, 0);
}

static void what_is_ahead_can_be_peeked_at(void **state)
{
    struct queue queue;
    uint32_t entry;

    queue_init(&queue, *state);
    assert_false(queue_peek(&queue, 0, &entry));
    for (uint32_t i = 0; i < 500; i++)
        queue_push(&queue, i);
    for (uint32_t i = 0; i < 400; i++) {
        assert_true(queue_peek(&queue, 8, &entry));
        assert_int_equal(entry, i + 8);
        assert_true(queue_pop(&queue, &entry));
    }
    queue_deinit(&queue);
}

static bool is_even(void *context, uint32_t entry)
{
    (void)context;
    return entry % 2 == 0;
}

static void tidying_drops_just_what_is_stale_and_keeps_the_order(void **state)
{
    struct queue queue;
    uint32_t entry, last = 0, next_in = 0;
    struct random random = {3};
    uint64_t popped = 0;

    queue_init(&queue, *state);
    for (unsigned i = 0; i < 100000; i++) {
        const unsigned what = random_below(&random, 100);
        if (what < 60)
            queue_push(&queue, next_in++);
        else if (what < 90 && queue_pop(&queue, &entry)) {
            assert_true(entry >= last);
            last = entry;
            popped += entry % 2 == 0;
        } else
            queue_tidy(&queue, is_even, NULL);
    }
    while (!queue_tidy(&queue, is_even, NULL))
        ;
    while (queue_pop(&queue, &entry)) {
        assert_true(entry >= last);
        assert_int_equal(entry % 2, 0);
        last = entry;
        popped++;
    }
    assert_int_equal(popped, (next_in + 1) / 2); /* each even one came out */
    assert_int_equal(((struct memory *)*state)->pages.used, 0);
}

static uint64_t chunks_in_use(const struct memory *memory)
{
    const struct memory_class *class = &memory->classes[MEMORY_CLASSES - 1];

    assert_int_equal(class->use, MEMORY_CHUNK);
    return (uint64_t)class->slabs * class->slots - class->free_slots;
}

static void tidying_frees_the_chunks_of_what_it_dropped(void **state)
{
    struct queue queue;
    uint64_t full;

    queue_init(&queue, *state);
    for (uint32_t i = 0; i < 200000; i++)
        queue_push(&queue, i % 16 == 0 ? 2 : 1);
    full = chunks_in_use(*state);
    while (!queue_tidy(&queue, is_even, NULL))
        ;
    assert_int_equal(queue.entries, 200000 / 16);
    assert_true(chunks_in_use(*state) * 8 < full);
    queue_deinit(&queue);
}

static void a_ghost_is_found_once(void **state)
{
    struct ghost_space space;
    struct ghost ghost;

    assert_true(ghost_space_init(&space, *state, 2, MB));
    assert_true(ghost_init(&ghost, &space, 1));
    assert_false(ghost_take(&ghost, 0x1234567800000001));
    ghost_add(&ghost, 0x1234567800000001);
    assert_true(ghost_take(&ghost, 0x1234567800000001));
    assert_false(ghost_take(&ghost, 0x1234567800000001));
    ghost_space_deinit(&space);
}

static void ghosts_survive_growth_and_the_oldest_give_way(void **state)
{
    struct ghost_space space;
    struct ghost ghost;
    struct random random = {5};
    uint64_t hashes[2000];
    unsigned found = 0, found_of_last = 0;

    assert_true(ghost_space_init(&space, *state, 1, MB));
    assert_true(ghost_init(&ghost, &space, 0));
    for (unsigned i = 0; i < 2000; i++) {
        hashes[i] = random_next(&random);
        ghost_add(&ghost, hashes[i]);
        if (i % 50 == 0)
            ghost_grow(&ghost, i / 50 + 1);
    }
    for (unsigned i = 0; i < 2000; i++) {
        const bool was_there = ghost_take(&ghost, hashes[i]);
        found += was_there;
        found_of_last += was_there && i >= 1500;
    }
    assert_true(found >= 800);
    assert_true(found < 2000);
    assert_true(found_of_last >= 480);
    ghost_space_deinit(&space);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(entries_come_out_in_the_order_they_went_in, memory_setup,
                                        memory_teardown),
        cmocka_unit_test_setup_teardown(what_is_ahead_can_be_peeked_at, memory_setup,
                                        memory_teardown),
        cmocka_unit_test_setup_teardown(tidying_drops_just_what_is_stale_and_keeps_the_order,
                                        memory_setup, memory_teardown),
        cmocka_unit_test_setup_teardown(tidying_frees_the_chunks_of_what_it_dropped, memory_setup,
                                        memory_teardown),
        cmocka_unit_test_setup_teardown(a_ghost_is_found_once, memory_setup, memory_teardown),
        cmocka_unit_test_setup_teardown(ghosts_survive_growth_and_the_oldest_give_way,
                                        memory_setup, memory_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
