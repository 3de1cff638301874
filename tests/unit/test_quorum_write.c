/* Quorum writes: who gets the cell, and when the client hears what. */
#include "ring/quorum_write.h"
#include "tests/unit/quorum_check.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>

#define DEADLINE_MS 1000
#define OPERATION   77

static struct quorum_write write;

static void step(struct write_event event)
{
    clear_trace();
    quorum_write_step(&write, &event, &effects);
}

static void start(unsigned needed)
{
    quorum_write_init(&write, &route, OPERATION, needed, DEADLINE_MS);
    step((struct write_event){.type = WRITE_APPLIED, .now_ms = 1, .dot = {1, 100}});
}

static void reply_round(node_id from, enum store_status status, uint32_t round)
{
    struct store_reply reply = {OPERATION, round, status, 500, false};
    step((struct write_event){.type = WRITE_REPLY, .now_ms = 5, .from = from, .reply = &reply});
}

static void reply(node_id from, enum store_status status)
{
    reply_round(from, status, write.round);
}

static void lost(node_id from)
{
    step((struct write_event){.type = WRITE_LOST, .now_ms = 5, .from = from});
}

static void tick(uint64_t now_ms)
{
    step((struct write_event){.type = WRITE_TICK, .now_ms = now_ms});
}

static void rewritten(hlc_time hlc)
{
    step((struct write_event){.type = WRITE_REWRITTEN, .now_ms = 6, .dot = {1, hlc}});
}

static void assert_sent(unsigned i, node_id to, node_id hint_for)
{
    assert_send(i, SEND_STORE, to, hint_for);
}

static void it_answers_at_w_and_goes_on_to_n(void **state)
{
    (void)state;
    make_route(3, 5, 1);
    start(2);
    assert_int_equal(effects.send_count, 2);
    assert_sent(0, 2, NODE_NONE);
    assert_sent(1, 3, NODE_NONE);
    assert_false(effects.answers);
    reply(3, STORE_STORED);
    assert_answer(ANSWER_DONE, 2, 2);
    assert_false(effects.is_done);
    assert_string_equal(trace.text, "2 of 2 stored, 0 refused -> answer done\n");
    reply(2, STORE_STORED);
    assert_false(effects.answers);
    assert_true(effects.is_done);
    assert_int_equal(quorum_write_deadline_ms(&write), UINT64_MAX);
    reply(2, STORE_STORED);
    assert_false(effects.answers);
    assert_true(effects.is_done);
}

static void one_copy_and_w_of_one_answer_at_once(void **state)
{
    (void)state;
    make_route(1, 3, 1);
    start(1);
    assert_answer(ANSWER_DONE, 1, 1);
    assert_true(effects.is_done);
    assert_int_equal(effects.send_count, 0);
    make_route(3, 3, 1);
    start(1);
    assert_answer(ANSWER_DONE, 1, 1);
    assert_false(effects.is_done);
    assert_int_equal(effects.send_count, 2);
}

static void a_quorum_above_the_copies_means_all_of_them(void **state)
{
    (void)state;
    make_route(2, 2, 1);
    start(3);
    reply(2, STORE_STORED);
    assert_answer(ANSWER_DONE, 2, 2);
}

static void a_fallback_stands_in_for_an_unreachable_owner(void **state)
{
    (void)state;
    make_route(3, 5, 1);
    route.nodes[1].is_reachable = false;
    start(2);
    assert_int_equal(effects.send_count, 2);
    assert_sent(0, 3, NODE_NONE);
    assert_sent(1, 4, 2);
    reply(4, STORE_STORED);
    assert_answer(ANSWER_DONE, 2, 2);
}

static void every_unreachable_owner_gets_a_stand_in_of_its_own(void **state)
{
    (void)state;
    make_route(3, 6, 5);
    route.nodes[0].is_reachable = route.nodes[1].is_reachable = route.nodes[2].is_reachable = false;
    assert_int_equal(quorum_write_own_hint(&route), 2);
    start(2);
    assert_int_equal(effects.send_count, 2);
    assert_sent(0, 4, 1);
    assert_sent(1, 6, 3);
    reply(6, STORE_STORED);
    assert_answer(ANSWER_DONE, 2, 2);
}

static void an_owner_that_coordinates_needs_no_hint(void **state)
{
    (void)state;
    make_route(3, 5, 2);
    route.nodes[0].is_reachable = false;
    assert_int_equal(quorum_write_own_hint(&route), NODE_NONE);
    make_route(3, 5, 5);
    route.nodes[0].is_reachable = false;
    assert_int_equal(quorum_write_own_hint(&route), NODE_NONE); /* 4 stands in for 1 */
}

static void a_coordinator_that_comes_to_stand_in_keeps_a_hint(void **state)
{
    (void)state;
    make_route(2, 4, 4); /* 3 comes before it, and all owners seem reachable */
    start(2);
    assert_int_equal(effects.own_hint_for, NODE_NONE);
    lost(1);
    assert_sent(0, 3, 1);
    assert_int_equal(effects.own_hint_for, NODE_NONE);
    lost(2);
    assert_int_equal(effects.send_count, 0);
    assert_int_equal(effects.own_hint_for, 2);
    assert_true(effects.merges_own);
}

static void a_slow_node_is_replaced_and_its_late_answer_counts(void **state)
{
    (void)state;
    make_route(3, 5, 1);
    start(3);
    assert_int_equal(quorum_write_deadline_ms(&write), 21);
    tick(20);
    assert_int_equal(effects.send_count, 0);
    reply(2, STORE_STORED);
    tick(21);
    assert_int_equal(effects.send_count, 1);
    assert_sent(0, 4, 3);
    assert_int_equal(quorum_write_deadline_ms(&write), 41);
    tick(30);
    assert_int_equal(effects.send_count, 0); /* once */
    reply(3, STORE_STORED);
    assert_answer(ANSWER_DONE, 3, 3);
    assert_true(effects.is_done);
}

static void a_slow_node_is_replaced_after_the_answer_too(void **state)
{
    (void)state;
    make_route(3, 4, 1);
    start(2);
    reply(2, STORE_STORED);
    assert_answer(ANSWER_DONE, 2, 2);
    tick(25);
    assert_sent(0, 4, 3);
    reply(4, STORE_STORED);
    assert_true(effects.is_done);
    assert_false(effects.answers);
}

static void an_owner_and_its_stand_in_are_one_copy(void **state)
{
    (void)state;
    make_route(3, 5, 1);
    start(3);
    tick(21);
    assert_sent(0, 4, 2);
    reply(4, STORE_STORED);
    reply(2, STORE_STORED); /* late: the hint for it is delivered soon, and 4 drops its copy */
    assert_false(effects.answers);
    reply(3, STORE_STORED);
    assert_answer(ANSWER_DONE, 3, 3);
}

static void a_stand_in_that_was_not_needed_stands_in_for_another(void **state)
{
    (void)state;
    make_route(3, 4, 1);
    start(3);
    tick(21);
    assert_sent(0, 4, 2);
    reply(4, STORE_STORED);
    reply(3, STORE_REFUSED_CLOCK); /* nobody is left */
    assert_int_equal(effects.send_count, 0);
    reply(2, STORE_STORED);
    assert_false(effects.answers);
    assert_sent(0, 4, 3);
    reply(4, STORE_STORED);
    assert_answer(ANSWER_DONE, 3, 3);
    assert_true(effects.is_done);
}

static void without_anyone_to_stand_in_it_waits_until_the_deadline(void **state)
{
    (void)state;
    make_route(3, 3, 1);
    start(2);
    assert_int_equal(quorum_write_deadline_ms(&write), DEADLINE_MS);
    tick(DEADLINE_MS - 1);
    assert_false(effects.answers);
    tick(DEADLINE_MS);
    assert_answer(ANSWER_WRITE_FAILED, 1, 2);
    assert_true(effects.is_done);
}

static void a_node_that_is_lost_is_not_waited_for(void **state)
{
    (void)state;
    make_route(3, 4, 1);
    start(2);
    lost(2);
    assert_sent(0, 4, 2);
    lost(4);
    assert_int_equal(effects.send_count, 0);
    assert_false(effects.answers);
    lost(3);
    assert_answer(ANSWER_WRITE_FAILED, 1, 2);
    assert_true(effects.is_done);
}

static void a_candidate_that_was_lost_before_is_not_asked(void **state)
{
    (void)state;
    make_route(3, 5, 1);
    start(2);
    lost(4);
    lost(3);
    assert_sent(0, 5, 3);
}

static void refusals_are_not_failures_and_the_next_one_is_tried(void **state)
{
    (void)state;
    make_route(3, 5, 1);
    route.nodes[2].is_reachable = false;
    start(3);
    assert_sent(1, 4, 3);
    reply(4, STORE_REFUSED_HINTS);
    assert_sent(0, 5, 3);
    reply(2, STORE_REFUSED_MEMORY);
    assert_int_equal(effects.send_count, 0);
    reply(5, STORE_REFUSED_CLOCK);
    assert_answer(ANSWER_WRITE_FAILED, 1, 3);
    assert_int_equal(write.refused, 3);
    assert_string_equal(trace.text, "1 of 3 stored, 3 refused -> answer write failed\n");
}

static void repeated_strange_and_mislabeled_replies_change_nothing(void **state)
{
    struct store_reply other = {OPERATION + 1, 0, STORE_STORED, 0, false};

    (void)state;
    make_route(3, 5, 1);
    start(3);
    reply(2, STORE_STORED);
    reply(2, STORE_STORED);
    reply(2, STORE_REFUSED_MEMORY);
    reply(5, STORE_STORED);  /* was not asked */
    reply(99, STORE_STORED); /* is not even in the route */
    reply(1, STORE_STORED);  /* this node itself */
    reply_round(3, STORE_STORED, 1);
    reply(3, (enum store_status)99);
    step((struct write_event){.type = WRITE_REPLY, .now_ms = 5, .from = 3, .reply = &other});
    assert_int_equal(write.stored, 2);
    assert_int_equal(effects.send_count, 0);
    assert_false(effects.answers);
}

static void a_covered_write_is_written_again_and_all_get_it(void **state)
{
    (void)state;
    make_route(3, 5, 1);
    start(2);
    reply(2, STORE_COVERED);
    assert_true(effects.rewrites);
    assert_int_equal(effects.rewrite_clock, 500);
    assert_false(effects.answers);
    rewritten(501);
    assert_int_equal(effects.send_count, 2);
    assert_int_equal(write.round, 1);
    reply_round(3, STORE_STORED, 0); /* of the round before: it does not have the new dot */
    assert_false(effects.answers);
    reply(3, STORE_STORED);
    assert_answer(ANSWER_DONE, 2, 2);
    reply(2, STORE_STORED);
    assert_true(effects.is_done);
}

static void a_write_covered_after_the_answer_goes_to_all_again(void **state)
{
    (void)state;
    make_route(3, 5, 1);
    start(2);
    reply(2, STORE_STORED);
    assert_answer(ANSWER_DONE, 2, 2);
    reply(3, STORE_COVERED);
    assert_true(effects.rewrites);
    rewritten(501);
    assert_int_equal(effects.send_count, 2);
    reply(2, STORE_STORED);
    assert_false(effects.answers);
    reply(3, STORE_STORED);
    assert_true(effects.is_done);
}

static void flushed(node_id from)
{
    struct store_reply reply = {OPERATION, write.round, STORE_COVERED, 500, true};
    step((struct write_event){.type = WRITE_REPLY, .now_ms = 5, .from = from, .reply = &reply});
}

static void what_was_answered_before_a_flush_is_not_written_again_after_it(void **state)
{
    (void)state;
    make_route(3, 5, 1);
    start(2);
    flushed(2); /* the client has heard nothing yet: its write comes after the flush */
    assert_true(effects.rewrites);
    rewritten(501);
    reply(2, STORE_STORED);
    assert_answer(ANSWER_DONE, 2, 2);
    flushed(3);
    assert_false(effects.rewrites);
    assert_true(effects.is_done);
}

static void a_covered_write_that_was_superseded_counts_as_stored(void **state)
{
    (void)state;
    make_route(3, 5, 1);
    start(2);
    reply(2, STORE_COVERED);
    step((struct write_event){.type = WRITE_SUPERSEDED, .now_ms = 6});
    assert_answer(ANSWER_DONE, 2, 2);
}

static void writing_again_is_bounded_and_may_be_refused(void **state)
{
    (void)state;
    make_route(3, 3, 1);
    start(2);
    reply(2, STORE_COVERED);
    step((struct write_event){.type = WRITE_REWRITE_REFUSED, .now_ms = 6});
    assert_int_equal(write.refused, 1);
    for (unsigned i = 1; i < WRITE_ROUNDS_MAX; i++) {
        reply(3, STORE_COVERED);
        assert_true(effects.rewrites);
        rewritten(500 + i);
    }
    reply(3, STORE_COVERED);
    assert_false(effects.rewrites);
    assert_answer(ANSWER_WRITE_FAILED, 1, 2);
}

static void a_register_cannot_be_covered(void **state)
{
    (void)state;
    make_route(2, 2, 1);
    quorum_write_init(&write, &route, OPERATION, 2, DEADLINE_MS);
    step((struct write_event){.type = WRITE_APPLIED, .now_ms = 1, .dot = {NODE_NONE, 0}});
    reply(2, STORE_COVERED);
    assert_false(effects.rewrites);
    assert_answer(ANSWER_WRITE_FAILED, 1, 2);
}

static void a_coordinator_outside_the_targets_does_not_count_itself(void **state)
{
    (void)state;
    make_route(3, 5, 5);
    start(2);
    assert_int_equal(effects.send_count, 3);
    reply(1, STORE_STORED);
    assert_false(effects.answers);
    reply(2, STORE_STORED);
    assert_answer(ANSWER_DONE, 2, 2);
    lost(3);
    assert_sent(0, 4, 3);
    lost(4); /* now this node itself stands in */
    assert_true(effects.is_done);
}

static void a_node_alone_without_a_table_is_its_own_copy(void **state)
{
    (void)state;
    make_route(0, 1, 1);
    start(2);
    assert_answer(ANSWER_DONE, 1, 1);
    assert_true(effects.is_done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_answers_at_w_and_goes_on_to_n),
        cmocka_unit_test(one_copy_and_w_of_one_answer_at_once),
        cmocka_unit_test(a_quorum_above_the_copies_means_all_of_them),
        cmocka_unit_test(a_fallback_stands_in_for_an_unreachable_owner),
        cmocka_unit_test(every_unreachable_owner_gets_a_stand_in_of_its_own),
        cmocka_unit_test(an_owner_that_coordinates_needs_no_hint),
        cmocka_unit_test(a_coordinator_that_comes_to_stand_in_keeps_a_hint),
        cmocka_unit_test(a_slow_node_is_replaced_and_its_late_answer_counts),
        cmocka_unit_test(a_slow_node_is_replaced_after_the_answer_too),
        cmocka_unit_test(an_owner_and_its_stand_in_are_one_copy),
        cmocka_unit_test(a_stand_in_that_was_not_needed_stands_in_for_another),
        cmocka_unit_test(without_anyone_to_stand_in_it_waits_until_the_deadline),
        cmocka_unit_test(a_node_that_is_lost_is_not_waited_for),
        cmocka_unit_test(a_candidate_that_was_lost_before_is_not_asked),
        cmocka_unit_test(refusals_are_not_failures_and_the_next_one_is_tried),
        cmocka_unit_test(repeated_strange_and_mislabeled_replies_change_nothing),
        cmocka_unit_test(a_covered_write_is_written_again_and_all_get_it),
        cmocka_unit_test(a_write_covered_after_the_answer_goes_to_all_again),
        cmocka_unit_test(what_was_answered_before_a_flush_is_not_written_again_after_it),
        cmocka_unit_test(a_covered_write_that_was_superseded_counts_as_stored),
        cmocka_unit_test(writing_again_is_bounded_and_may_be_refused),
        cmocka_unit_test(a_register_cannot_be_covered),
        cmocka_unit_test(a_coordinator_outside_the_targets_does_not_count_itself),
        cmocka_unit_test(a_node_alone_without_a_table_is_its_own_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
