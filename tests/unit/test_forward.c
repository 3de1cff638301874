/* Passing a command on: who gets it, what is repeated, and one answer. */
#include "ring/forward.h"
#include "tests/unit/quorum_check.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>

#define DEADLINE_MS 901

static struct forward forward;
static const struct request_id id = {3, 42};

static enum forward_step step(struct forward_event event)
{
    effects.trace = NULL;
    return forward_step(&forward, &event, &effects);
}

static enum forward_step start(enum request_class class, bool may_coordinate,
                               const struct forward_request *from)
{
    forward_init(&forward, &(struct forward_start){.route = &route,
                                                   .id = id,
                                                   .class = class,
                                                   .deadline_ms = DEADLINE_MS,
                                                   .may_coordinate = may_coordinate,
                                                   .from = from});
    return step((struct forward_event){.type = FORWARD_START, .now_ms = 1});
}

static enum forward_step reply(node_id from, enum request_answer answer)
{
    struct forward_reply reply = {id, answer, 1, 2};
    return step((struct forward_event){FORWARD_REPLY, 5, from, &reply});
}

static enum forward_step happen(enum forward_event_type type, node_id from, uint64_t now_ms)
{
    return step((struct forward_event){type, now_ms, from, NULL});
}

static void assert_sent_to(node_id to)
{
    assert_int_equal(effects.send_count, 1);
    assert_int_equal(effects.sends[0].kind, SEND_FORWARD);
    assert_int_equal(effects.sends[0].to, to);
}

static void assert_last_answer(enum request_answer answer, bool is_relayed)
{
    assert_true(effects.answers);
    assert_int_equal(effects.answer, answer);
    assert_int_equal(effects.is_relayed, is_relayed);
    assert_true(effects.is_done);
    assert_int_equal(forward_deadline_ms(&forward), UINT64_MAX);
}

static void the_write_coordinator_does_it_itself(void **state)
{
    (void)state;
    make_route(3, 5, 1);
    assert_int_equal(start(REQUEST_DECIDED, true, NULL), FORWARD_COORDINATES);
    assert_int_equal(effects.send_count, 0);
    make_route(3, 5, 2);
    route.nodes[0].is_warming = true;
    assert_int_equal(start(REQUEST_BLIND, true, NULL), FORWARD_COORDINATES);
}

static void others_pass_it_on_and_answer_what_they_hear(void **state)
{
    (void)state;
    make_route(3, 5, 3);
    assert_int_equal(start(REQUEST_DECIDED, true, NULL), FORWARD_WAITS);
    assert_sent_to(1);
    struct forward_request request = forward_request_make(&forward, 101);
    assert_int_equal(request.hops, 1);
    assert_int_equal(request.tried_count, 1);
    assert_int_equal(request.tried[0], 3);
    assert_int_equal(request.budget_ms, 700);
    assert_int_equal(reply(1, ANSWER_WRITE_FAILED), FORWARD_ANSWERS);
    assert_last_answer(ANSWER_WRITE_FAILED, true);
    assert_int_equal(effects.got, 1);
    assert_int_equal(effects.needed, 2);
}

static void what_was_refused_or_not_sent_goes_to_the_next(void **state)
{
    (void)state;
    make_route(3, 5, 4);
    assert_int_equal(start(REQUEST_DECIDED, true, NULL), FORWARD_WAITS);
    assert_int_equal(happen(FORWARD_UNSENT, 1, 2), FORWARD_WAITS);
    assert_sent_to(2);
    assert_int_equal(reply(2, ANSWER_REFUSED), FORWARD_WAITS);
    assert_sent_to(3);
    struct forward_request request = forward_request_make(&forward, 5);
    assert_int_equal(request.tried_count, 3);
    assert_int_equal(reply(3, ANSWER_REFUSED), FORWARD_COORDINATES);
}

static void a_decided_command_whose_outcome_is_unknown_is_not_repeated(void **state)
{
    (void)state;
    make_route(3, 5, 3);
    start(REQUEST_DECIDED, true, NULL);
    assert_int_equal(forward_deadline_ms(&forward), DEADLINE_MS);
    assert_int_equal(happen(FORWARD_LOST, 1, 5), FORWARD_ANSWERS);
    assert_last_answer(ANSWER_UNKNOWN, false);
    start(REQUEST_DECIDED, true, NULL);
    assert_sent_to(2); /* 1 is known to be down now */
    assert_int_equal(happen(FORWARD_TICK, NODE_NONE, DEADLINE_MS), FORWARD_ANSWERS);
    assert_last_answer(ANSWER_UNKNOWN, false);
}

static void blind_and_context_writes_are_repeated_elsewhere(void **state)
{
    (void)state;
    make_route(3, 5, 3);
    start(REQUEST_BLIND, true, NULL);
    assert_int_equal(happen(FORWARD_LOST, 1, 5), FORWARD_WAITS);
    assert_sent_to(2);
    assert_int_equal(forward_deadline_ms(&forward), 304);
    assert_int_equal(happen(FORWARD_TICK, NODE_NONE, 303), FORWARD_WAITS);
    assert_int_equal(effects.send_count, 0);
    assert_int_equal(happen(FORWARD_TICK, NODE_NONE, 304), FORWARD_COORDINATES);
    make_route(3, 5, 3);
    start(REQUEST_CONTEXT, true, NULL);
    assert_int_equal(reply(1, ANSWER_UNKNOWN), FORWARD_WAITS);
    assert_sent_to(2);
    assert_int_equal(reply(1, ANSWER_DONE), FORWARD_ANSWERS); /* late, but an answer */
    assert_last_answer(ANSWER_DONE, true);
}

static void strangers_are_not_believed(void **state)
{
    struct forward_reply other = {{3, 43}, ANSWER_DONE, 0, 0};

    (void)state;
    make_route(3, 5, 3);
    start(REQUEST_DECIDED, true, NULL);
    assert_int_equal(reply(2, ANSWER_DONE), FORWARD_WAITS);
    assert_int_equal(reply(1, (enum request_answer)77), FORWARD_WAITS);
    assert_int_equal(step((struct forward_event){FORWARD_REPLY, 5, 1, &other}), FORWARD_WAITS);
    assert_int_equal(happen(FORWARD_LOST, 2, 5), FORWARD_WAITS);
    assert_int_equal(happen(FORWARD_UNSENT, 2, 5), FORWARD_WAITS);
    assert_false(effects.answers);
}

static void a_node_that_was_asked_passes_it_on_at_most_twice(void **state)
{
    struct forward_request from = {.id = id, .hops = 1, .tried_count = 1, .tried = {5}};

    (void)state;
    make_route(3, 5, 3); /* node 5 thinks that 3 coordinates; 3 sees 1 before itself */
    assert_int_equal(start(REQUEST_DECIDED, true, &from), FORWARD_WAITS);
    assert_sent_to(1);
    struct forward_request request = forward_request_make(&forward, 1);
    assert_int_equal(request.hops, 2);
    assert_int_equal(request.tried_count, 2);
    from.hops = FORWARD_HOPS_MAX;
    assert_int_equal(start(REQUEST_DECIDED, true, &from), FORWARD_COORDINATES);
}

static void it_never_goes_back_to_a_node_that_had_it(void **state)
{
    struct forward_request from = {.id = id, .hops = 1, .tried_count = 2, .tried = {1, 2}};

    (void)state;
    make_route(3, 5, 3);
    assert_int_equal(start(REQUEST_DECIDED, true, &from), FORWARD_COORDINATES);
}

static void a_node_that_must_not_coordinate_finds_another_or_refuses(void **state)
{
    (void)state;
    make_route(3, 5, 1);
    assert_int_equal(start(REQUEST_DECIDED, false, NULL), FORWARD_WAITS);
    assert_sent_to(2);
    for (node_id node = 2; node < 5; node++) {
        assert_int_equal(happen(FORWARD_UNSENT, node, 2), FORWARD_WAITS);
        assert_sent_to(node + 1);
    }
    assert_int_equal(happen(FORWARD_UNSENT, 5, 2), FORWARD_ANSWERS);
    assert_last_answer(ANSWER_REFUSED, false);
    assert_int_equal(start(REQUEST_BLIND, false, NULL), FORWARD_WAITS);
    for (node_id node = 2; node < 5; node++)
        happen(FORWARD_LOST, node, 2);
    assert_int_equal(happen(FORWARD_LOST, 5, 2), FORWARD_ANSWERS);
    assert_last_answer(ANSWER_UNKNOWN, false); /* one of them may have done it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_write_coordinator_does_it_itself),
        cmocka_unit_test(others_pass_it_on_and_answer_what_they_hear),
        cmocka_unit_test(what_was_refused_or_not_sent_goes_to_the_next),
        cmocka_unit_test(a_decided_command_whose_outcome_is_unknown_is_not_repeated),
        cmocka_unit_test(blind_and_context_writes_are_repeated_elsewhere),
        cmocka_unit_test(strangers_are_not_believed),
        cmocka_unit_test(a_node_that_was_asked_passes_it_on_at_most_twice),
        cmocka_unit_test(it_never_goes_back_to_a_node_that_had_it),
        cmocka_unit_test(a_node_that_must_not_coordinate_finds_another_or_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
