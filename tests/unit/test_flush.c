#include "ring/flush.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "tests/unit/random.h"

/* Any list, full ones too. */
static struct flush_list any_list(struct random *random)
{
    struct flush_list list = {0};

    for (unsigned i = random_below(random, 2 * FLUSH_PENDING_MAX); i > 0; i--)
        flush_list_add(&list,
                       (struct flush){1 + random_below(random, 60), random_below(random, 60)});
    if (random_chance(random, 50))
        flush_list_advance(&list, random_below(random, 60));
    return list;
}

static void merging_gives_the_same_in_any_order_even_at_the_bound(void **state)
{
    struct random random = {1};

    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        struct flush_list a = any_list(&random), b = any_list(&random), c = any_list(&random);
        struct flush_list left = a, right = c;
        flush_list_merge(&left, &b);
        flush_list_merge(&left, &c);
        flush_list_merge(&right, &b);
        flush_list_merge(&right, &a);
        assert_true(flush_list_equal(&left, &right));
        assert_int_equal(flush_list_merge(&right, &left), 0);
        assert_true(flush_list_equal(&left, &right));
    }
}

static void a_flush_hides_dots_from_its_time_on(void **state)
{
    struct flush_list list = {0};

    (void)state;
    assert_true(flush_list_add(&list, (struct flush){hlc_of_ms(500), 500}));
    assert_int_equal(flush_list_next_ms(&list), 500);
    assert_int_equal(flush_list_floor(&list, 499), 0);
    assert_false(flush_list_advance(&list, 499));
    hlc_time floor = flush_list_floor(&list, 500);
    assert_false(flush_keeps(floor, hlc_of_ms(500)));
    assert_true(flush_keeps(floor, hlc_of_ms(500) + 1));
    assert_true(flush_list_advance(&list, 500));
    assert_int_equal(list.pending_count, 0);
    assert_int_equal(flush_list_floor(&list, 0), floor); /* whatever clocks do later */
    assert_int_equal(flush_list_next_ms(&list), UINT64_MAX);
}

static void a_later_flush_covers_an_earlier_one_that_comes_due_after_it(void **state)
{
    struct flush_list list = {0};

    (void)state;
    assert_true(flush_list_add(&list, (struct flush){100, 900}));
    assert_true(flush_list_add(&list, (struct flush){200, 300}));
    assert_true(flush_list_advance(&list, 300));
    assert_int_equal(list.floor, 200);
    assert_int_equal(list.pending_count, 0);
    assert_true(flush_list_add(&list, (struct flush){150, 900})); /* done already */
    assert_int_equal(list.pending_count, 0);
}

static void one_flush_too_many_is_refused(void **state)
{
    struct flush_list list = {0};

    (void)state;
    for (unsigned i = 1; i <= FLUSH_PENDING_MAX; i++)
        assert_true(flush_list_add(&list, (struct flush){i, 1000}));
    struct flush_list before = list;
    assert_true(flush_list_add(&list, (struct flush){1, 1000})); /* is there */
    assert_false(flush_list_add(&list, (struct flush){99, 1000}));
    assert_true(flush_list_equal(&list, &before));
}

static enum flush_state step(struct flush_wait *wait, enum flush_event_type type, node_id node,
                             hlc_time floor, uint64_t now_ms)
{
    return flush_wait_step(wait, &(struct flush_event){type, now_ms, node, floor});
}

static void a_flush_is_done_once_every_reachable_node_is_above_it(void **state)
{
    struct flush_wait wait;
    const node_id nodes[] = {2, 3, 4};

    (void)state;
    flush_wait_init(&wait, 70, nodes, 3, 1000);
    assert_int_equal(flush_wait_deadline_ms(&wait), 1000);
    assert_int_equal(step(&wait, FLUSH_HEARD, 2, 69, 10), FLUSH_WAITING);
    assert_int_equal(step(&wait, FLUSH_HEARD, 2, 70, 11), FLUSH_WAITING);
    assert_int_equal(step(&wait, FLUSH_HEARD, 9, 99, 12), FLUSH_WAITING);
    assert_int_equal(step(&wait, FLUSH_LOST, 4, 0, 13), FLUSH_WAITING);
    assert_int_equal(step(&wait, FLUSH_HEARD, 3, 80, 14), FLUSH_DONE);
    assert_int_equal(step(&wait, FLUSH_TICK, 0, 0, 2000), FLUSH_DONE);
    assert_int_equal(flush_wait_deadline_ms(&wait), UINT64_MAX);
}

static void a_flush_alone_is_done_and_one_not_heard_of_is_late(void **state)
{
    struct flush_wait wait;
    const node_id nodes[] = {2};

    (void)state;
    flush_wait_init(&wait, 70, NULL, 0, 1000);
    assert_int_equal(step(&wait, FLUSH_TICK, 0, 0, 1), FLUSH_DONE);
    flush_wait_init(&wait, 70, nodes, 1, 1000);
    assert_int_equal(step(&wait, FLUSH_TICK, 0, 0, 999), FLUSH_WAITING);
    assert_int_equal(step(&wait, FLUSH_TICK, 0, 0, 1000), FLUSH_LATE);
    assert_int_equal(step(&wait, FLUSH_HEARD, 2, 99, 1001), FLUSH_LATE); /* it was answered */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merging_gives_the_same_in_any_order_even_at_the_bound),
        cmocka_unit_test(a_flush_hides_dots_from_its_time_on),
        cmocka_unit_test(a_later_flush_covers_an_earlier_one_that_comes_due_after_it),
        cmocka_unit_test(one_flush_too_many_is_refused),
        cmocka_unit_test(a_flush_is_done_once_every_reachable_node_is_above_it),
        cmocka_unit_test(a_flush_alone_is_done_and_one_not_heard_of_is_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
