/* Quorum reads: whose answers count, what is merged, and what is repaired. */
#include "ring/quorum_read.h"
#include "tests/unit/quorum_check.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>

#define DEADLINE_MS 1000
#define OPERATION   77
#define ROOM        16
#define WALL_MS     5000

static struct quorum_read read;
static struct cell merged, nothing, older, newer, stub, tombstone, expired;
static struct sibling memory[8][ROOM];

static struct sibling value(hlc_time hlc)
{
    return sibling_of_value((struct dot){1, hlc}, 0, 0, 3, hlc, hlc);
}

static void make_cell(struct cell *cell, unsigned i, hlc_time hlc)
{
    struct sibling written = value(hlc);

    cell_init(cell, memory[i], ROOM);
    assert_int_equal(cell_put_blind(cell, &written), CELL_PUT_DONE);
}

static void make_cells(void)
{
    struct sibling written = sibling_of_tombstone((struct dot){1, 300});

    cell_init(&nothing, memory[0], ROOM);
    make_cell(&older, 1, 100);
    make_cell(&newer, 2, 200);
    make_cell(&stub, 3, 200);
    cell_evict(&stub);
    cell_init(&tombstone, memory[4], ROOM);
    assert_int_equal(cell_put_blind(&tombstone, &written), CELL_PUT_DONE);
    make_cell(&expired, 5, 200);
    expired.siblings[0].reg.expires_ms = WALL_MS;
    cell_evict(&expired);
    cell_init(&merged, memory[7], ROOM);
}

static void step(struct read_event event)
{
    clear_trace();
    quorum_read_step(&read, &event, &effects);
}

static void start(unsigned needed)
{
    make_cells();
    quorum_read_init(&read, &(struct quorum_read_start){.route = &route,
                                                        .merged = &merged,
                                                        .operation = OPERATION,
                                                        .round = 1,
                                                        .needed = needed,
                                                        .deadline_ms = DEADLINE_MS,
                                                        .wall_ms = WALL_MS});
    step((struct read_event){.type = READ_START, .now_ms = 1});
}

static void own(const struct cell *cell)
{
    assert_true(effects.reads_own);
    cell_merge(&merged, cell);
    step((struct read_event){.type = READ_OWN, .now_ms = 1});
}

static struct fetch_reply reply_of(const struct cell *cell, bool is_full)
{
    struct fetch_reply reply = {
        .operation = OPERATION, .round = 1, .sibling_count = (uint16_t)cell->sibling_count};

    if (cell->sibling_count == 0)
        return reply;
    reply.digest = cell_state_digest(cell);
    reply.stub_count = cell == &stub ? 1 : 0;
    reply.cell = is_full ? cell : NULL;
    return reply;
}

static void hear(node_id from, const struct fetch_reply *reply)
{
    step((struct read_event){.type = READ_REPLY, .now_ms = 5, .from = from, .reply = reply});
}

static void digest(node_id from, const struct cell *cell)
{
    struct fetch_reply reply = reply_of(cell, false);
    hear(from, &reply);
}

static void full(node_id from, const struct cell *cell)
{
    struct fetch_reply reply = reply_of(cell, true);
    hear(from, &reply);
}

static void refuse(node_id from)
{
    struct fetch_reply reply = {.operation = OPERATION, .round = 1, .is_refused = true};
    hear(from, &reply);
}

static void lost(node_id from)
{
    step((struct read_event){.type = READ_LOST, .now_ms = 5, .from = from});
}

static void tick(uint64_t now_ms)
{
    step((struct read_event){.type = READ_TICK, .now_ms = now_ms});
}

static void assert_sent(unsigned i, node_id to, enum request_send_kind kind)
{
    assert_send(i, kind, to, NODE_NONE);
}

static void assert_silent(void)
{
    assert_int_equal(effects.send_count, 0);
    assert_false(effects.answers);
}

static void assert_shows(hlc_time hlc)
{
    assert_int_equal(merged.sibling_count, 1);
    assert_int_equal(merged.siblings[0].dot.hlc, hlc);
    assert_int_equal(merged.siblings[0].kind, SIBLING_VALUE);
}

static void it_answers_when_r_digests_agree_and_does_nothing_more(void **state)
{
    (void)state;
    make_route(3, 5, 1);
    start(2);
    assert_int_equal(effects.send_count, 0);
    own(&newer);
    assert_int_equal(effects.send_count, 2);
    assert_sent(0, 2, SEND_FETCH_DIGEST);
    assert_sent(1, 3, SEND_FETCH_DIGEST);
    digest(3, &newer);
    assert_answer(ANSWER_DONE, 2, 2);
    assert_shows(200);
    assert_string_equal(trace.text, "2 of 2 agree, 1 siblings -> answer done\n");
    assert_false(effects.is_done);
    digest(2, &newer);
    assert_silent();
    assert_false(effects.merges_own);
    assert_true(effects.is_done);
    assert_int_equal(quorum_read_deadline_ms(&read), UINT64_MAX);
}

static void with_r_of_one_a_warm_owner_answers_alone(void **state)
{
    (void)state;
    make_route(3, 3, 1);
    start(1);
    own(&newer);
    assert_answer(ANSWER_DONE, 1, 1);
    assert_true(effects.is_done);
    assert_int_equal(effects.send_count, 0);
    make_route(3, 3, 1);
    start(1);
    own(&nothing);
    assert_answer(ANSWER_DONE, 1, 1);
    assert_true(effects.is_done);
    make_route(3, 3, 1); /* but not with a stub, nor when it warms */
    start(1);
    own(&stub);
    assert_int_equal(effects.send_count, 2);
    make_route(3, 3, 1);
    route.nodes[0].is_warming = true;
    start(1);
    own(&newer);
    assert_int_equal(effects.send_count, 2);
    assert_false(effects.answers);
}

static void a_differing_digest_is_fetched_merged_and_repaired(void **state)
{
    (void)state;
    make_route(3, 3, 1);
    start(2);
    own(&older);
    digest(2, &newer);
    assert_false(effects.answers);
    assert_int_equal(effects.send_count, 1);
    assert_sent(0, 2, SEND_FETCH_FULL);
    full(2, &newer);
    assert_answer(ANSWER_DONE, 2, 2);
    assert_shows(200);
    digest(3, &older); /* known: the own cell was the same */
    assert_int_equal(effects.send_count, 1);
    assert_sent(0, 3, SEND_REPAIR);
    assert_true(effects.merges_own);
    assert_true(effects.is_done);
}

static void an_owner_that_holds_nothing_is_repaired(void **state)
{
    (void)state;
    make_route(3, 3, 1);
    start(2);
    own(&newer);
    digest(2, &nothing);
    assert_answer(ANSWER_DONE, 2, 2);
    digest(3, &newer);
    assert_int_equal(effects.send_count, 1);
    assert_sent(0, 2, SEND_REPAIR);
    assert_false(effects.merges_own);
}

static void what_comes_after_the_answer_is_merged_and_repaired_too(void **state)
{
    (void)state;
    make_route(3, 3, 1);
    start(2);
    own(&older);
    digest(2, &older);
    assert_answer(ANSWER_DONE, 2, 2);
    digest(3, &newer);
    assert_sent(0, 3, SEND_FETCH_FULL);
    assert_false(effects.is_done);
    full(3, &newer);
    assert_false(effects.answers);
    assert_int_equal(effects.send_count, 1);
    assert_sent(0, 2, SEND_REPAIR);
    assert_true(effects.merges_own);
    assert_true(effects.is_done);
}

static void a_node_that_owns_nothing_asks_a_warm_owner_for_all(void **state)
{
    (void)state;
    make_route(3, 4, 4);
    route.nodes[0].is_warming = true;
    start(2);
    assert_false(effects.reads_own);
    assert_int_equal(effects.send_count, 3);
    assert_sent(0, 1, SEND_FETCH_DIGEST);
    assert_sent(1, 2, SEND_FETCH_FULL);
    assert_sent(2, 3, SEND_FETCH_DIGEST);
    digest(3, &newer); /* comes before the whole cell: wait for that */
    assert_silent();
    full(2, &newer);
    assert_answer(ANSWER_DONE, 2, 2);
    digest(1, &nothing);
    assert_sent(0, 1, SEND_REPAIR);
}

static void the_quickest_warm_owner_is_asked_for_all(void **state)
{
    (void)state;
    make_route(3, 4, 4);
    route.nodes[0].hedge_ms = 50;
    route.nodes[1].is_warming = true;
    route.nodes[1].hedge_ms = 1;
    start(2);
    assert_int_equal(effects.send_count, 3);
    assert_sent(0, 1, SEND_FETCH_DIGEST);
    assert_sent(1, 2, SEND_FETCH_DIGEST);
    assert_sent(2, 3, SEND_FETCH_FULL);
}

static void when_the_whole_cell_is_late_it_is_fetched_from_another(void **state)
{
    (void)state;
    make_route(3, 4, 4);
    start(2);
    digest(2, &newer);
    digest(3, &newer);
    assert_silent();
    tick(21);
    own(&nothing);                           /* this node takes the place of the late one */
    assert_int_equal(effects.send_count, 1); /* from one of the two that agree */
    assert_sent(0, 2, SEND_FETCH_FULL);
    full(2, &newer);
    assert_answer(ANSWER_DONE, 2, 2);
}

static void a_miss_needs_r_warm_owners_that_miss(void **state)
{
    (void)state;
    make_route(3, 4, 1);
    route.nodes[1].is_warming = true;
    start(2);
    own(&nothing);
    digest(2, &nothing);
    assert_silent();
    digest(3, &nothing);
    assert_answer(ANSWER_DONE, 2, 2);
    assert_int_equal(merged.sibling_count, 0);
    assert_true(effects.is_done);
}

static void an_owner_may_say_itself_that_it_warms(void **state)
{
    struct fetch_reply reply = reply_of(&nothing, false);

    (void)state;
    make_route(3, 4, 1);
    start(2);
    own(&nothing);
    reply.is_warming = true;
    hear(2, &reply);
    assert_silent();
    digest(3, &newer);
    assert_sent(0, 3, SEND_FETCH_FULL);
    full(3, &newer);
    assert_answer(ANSWER_DONE, 2, 2);
    assert_shows(200);
}

static void what_a_warming_owner_holds_is_merged_but_does_not_count(void **state)
{
    (void)state;
    make_route(3, 4, 1);
    route.nodes[1].is_warming = true;
    start(2);
    own(&older);
    digest(2, &newer);
    assert_sent(0, 2, SEND_FETCH_FULL);
    full(2, &newer);
    assert_false(effects.answers);
    digest(3, &older);
    assert_answer(ANSWER_DONE, 2, 2);
    assert_shows(200);
}

static void with_too_few_warm_owners_a_miss_needs_all_of_them(void **state)
{
    (void)state;
    make_route(3, 5, 4);
    route.nodes[0].is_warming = true;
    route.nodes[1].is_reachable = false;
    start(2); /* asks 1 (warming), 3 (warm) and 4, this node, a fallback */
    assert_true(effects.reads_own);
    own(&nothing);
    assert_int_equal(effects.send_count, 2);
    digest(1, &nothing);
    assert_silent(); /* two have missed, but the only warm owner has not spoken */
    digest(3, &newer);
    full(3, &newer);
    assert_answer(ANSWER_DONE, 3, 2);
    assert_shows(200);
}

static void with_too_few_warm_owners_a_fallback_that_shows_something_counts(void **state)
{
    (void)state;
    make_route(3, 5, 1);
    route.nodes[1].is_reachable = route.nodes[2].is_reachable = false;
    start(2);
    own(&older);
    assert_int_equal(effects.send_count, 2);
    assert_sent(0, 4, SEND_FETCH_DIGEST);
    digest(4, &older);
    assert_answer(ANSWER_DONE, 2, 2);
}

static void with_no_warm_owner_a_miss_is_a_plain_miss(void **state)
{
    (void)state;
    make_route(3, 3, 1);
    route.nodes[0].is_warming = route.nodes[1].is_warming = route.nodes[2].is_warming = true;
    start(2);
    own(&nothing);
    digest(2, &nothing);
    assert_answer(ANSWER_DONE, 2, 2);
}

static void a_fallbacks_miss_does_not_count_beside_warm_owners(void **state)
{
    (void)state;
    make_route(3, 5, 1);
    route.nodes[2].is_reachable = false;
    start(2); /* 1, 2 and the fallback 4 */
    own(&nothing);
    assert_int_equal(effects.send_count, 2);
    assert_sent(1, 4, SEND_FETCH_DIGEST);
    digest(4, &nothing);
    assert_silent();
    digest(2, &newer);
    full(2, &newer);
    assert_answer(ANSWER_DONE, 2, 2);
    assert_shows(200);
}

static void a_stub_is_refilled_by_a_replica_that_holds_the_value(void **state)
{
    (void)state;
    make_route(3, 3, 1);
    start(2);
    own(&stub);
    assert_int_equal(effects.send_count, 2);
    assert_sent(0, 2, SEND_FETCH_FULL);
    full(2, &stub);
    assert_silent(); /* two agree, but the third may hold the value */
    digest(3, &newer);
    assert_sent(0, 3, SEND_FETCH_FULL);
    full(3, &newer);
    assert_answer(ANSWER_DONE, 3, 2);
    assert_shows(200);
    assert_true(effects.merges_own); /* it is read here: keep it here */
    assert_true(effects.is_done);
}

static void a_stub_that_nobody_can_refill_reads_as_a_miss(void **state)
{
    (void)state;
    make_route(3, 3, 1);
    start(2);
    own(&stub);
    full(2, &stub);
    digest(3, &stub);
    assert_answer(ANSWER_DONE, 3, 2);
    assert_int_equal(merged.siblings[0].kind, SIBLING_STUB);
    assert_true(effects.is_done);
    make_route(3, 3, 1); /* the one who could is lost on the way, or refuses */
    start(2);
    own(&stub);
    full(2, &stub);
    digest(3, &newer);
    refuse(3);
    assert_answer(ANSWER_DONE, 3, 2);
}

static void an_expired_stub_is_not_asked_for(void **state)
{
    (void)state;
    make_route(3, 3, 1);
    start(2);
    own(&expired);
    digest(2, &expired);
    assert_answer(ANSWER_DONE, 2, 2);
}

static void a_tombstone_is_an_answer(void **state)
{
    (void)state;
    make_route(3, 3, 1);
    start(2);
    own(&newer);
    digest(2, &tombstone);
    full(2, &tombstone);
    assert_answer(ANSWER_DONE, 2, 2);
    assert_int_equal(merged.siblings[0].kind, SIBLING_TOMBSTONE);
    digest(3, &tombstone);
    assert_true(effects.merges_own);
    assert_int_equal(effects.send_count, 0);
}

static void nobody_who_is_believed_down_is_asked_or_waited_for(void **state)
{
    (void)state;
    make_route(3, 3, 1);
    route.nodes[1].is_reachable = false;
    start(2);
    own(&newer);
    assert_int_equal(effects.send_count, 1);
    assert_sent(0, 3, SEND_FETCH_DIGEST);
    lost(3);
    assert_answer(ANSWER_READ_FAILED, 1, 2);
    assert_true(effects.is_done);
}

static void a_lost_node_is_replaced_and_the_quorum_may_still_be_met(void **state)
{
    (void)state;
    make_route(3, 5, 1);
    start(2);
    own(&newer);
    lost(2);
    assert_sent(0, 4, SEND_FETCH_DIGEST);
    lost(3);
    assert_sent(0, 5, SEND_FETCH_DIGEST);
    digest(4, &nothing);
    assert_answer(ANSWER_DONE, 2, 2);
    assert_shows(200);
}

static void this_node_may_be_the_one_that_replaces(void **state)
{
    (void)state;
    make_route(1, 2, 2);
    start(1);
    assert_int_equal(effects.send_count, 1);
    lost(1);
    own(&newer);
    assert_answer(ANSWER_DONE, 1, 1);
    assert_shows(200);
    assert_false(effects.merges_own); /* it is no owner */
}

static void a_late_node_is_replaced_once_and_may_still_answer(void **state)
{
    (void)state;
    make_route(3, 5, 1);
    start(2);
    own(&newer);
    assert_int_equal(quorum_read_deadline_ms(&read), 21);
    tick(21);
    assert_int_equal(effects.send_count, 2);
    assert_sent(0, 4, SEND_FETCH_DIGEST);
    assert_sent(1, 5, SEND_FETCH_DIGEST);
    digest(4, &nothing);
    assert_silent();
    lost(2);
    assert_false(effects.answers); /* 3 may answer: two warm owners are possible */
    assert_int_equal(effects.send_count, 0);
    digest(3, &newer);
    assert_answer(ANSWER_DONE, 2, 2);
}

static void at_the_deadline_what_has_come_decides(void **state)
{
    (void)state;
    make_route(3, 5, 1);
    start(2);
    own(&newer);
    tick(21);
    digest(4, &nothing);
    tick(DEADLINE_MS);
    assert_answer(ANSWER_DONE, 2, 2);
    assert_true(effects.is_done);
    make_route(3, 5, 1); /* but a miss is not told while warm owners are silent */
    start(2);
    own(&nothing);
    tick(21);
    digest(4, &nothing);
    tick(DEADLINE_MS);
    assert_answer(ANSWER_READ_FAILED, 1, 2);
    assert_true(effects.is_done);
}

static void a_fetch_that_is_refused_does_not_count(void **state)
{
    (void)state;
    make_route(3, 3, 1);
    start(2);
    own(&older);
    digest(2, &newer);
    refuse(2);
    assert_false(effects.answers);
    refuse(3);
    assert_answer(ANSWER_READ_FAILED, 1, 2);
}

static void repeated_strange_and_mislabeled_replies_change_nothing(void **state)
{
    struct fetch_reply other;

    (void)state;
    make_route(3, 5, 1);
    start(3);
    own(&newer);
    digest(2, &newer);
    digest(2, &newer);
    full(2, &older);
    full(5, &older);  /* was not asked */
    full(1, &older);  /* this node */
    full(99, &older); /* nobody */
    other = reply_of(&older, true);
    other.round = 2;
    hear(3, &other);
    other = reply_of(&older, true);
    other.operation++;
    hear(3, &other);
    assert_silent();
    assert_shows(200);
    other = reply_of(&older, true);
    other.sibling_count = 2; /* not what the cell has: as if refused */
    hear(3, &other);
    assert_false(effects.answers);
    assert_sent(0, 4, SEND_FETCH_DIGEST);
}

static void a_digest_that_comes_twice_is_not_the_cell(void **state)
{
    (void)state;
    make_route(3, 3, 1);
    start(2);
    own(&older);
    digest(2, &newer);
    assert_int_equal(effects.send_count, 1);
    digest(2, &newer);
    assert_silent();
    full(2, &newer);
    assert_answer(ANSWER_DONE, 2, 2);
}

static void what_was_flushed_is_not_shown(void **state)
{
    (void)state;
    make_route(3, 3, 1);
    start(2);
    read.flushed_up_to = 200;
    own(&nothing);
    assert_sent(0, 2, SEND_FETCH_FULL);
    full(2, &newer);
    assert_answer(ANSWER_DONE, 2, 2);
    assert_int_equal(merged.sibling_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_answers_when_r_digests_agree_and_does_nothing_more),
        cmocka_unit_test(with_r_of_one_a_warm_owner_answers_alone),
        cmocka_unit_test(a_differing_digest_is_fetched_merged_and_repaired),
        cmocka_unit_test(an_owner_that_holds_nothing_is_repaired),
        cmocka_unit_test(what_comes_after_the_answer_is_merged_and_repaired_too),
        cmocka_unit_test(a_node_that_owns_nothing_asks_a_warm_owner_for_all),
        cmocka_unit_test(the_quickest_warm_owner_is_asked_for_all),
        cmocka_unit_test(when_the_whole_cell_is_late_it_is_fetched_from_another),
        cmocka_unit_test(a_miss_needs_r_warm_owners_that_miss),
        cmocka_unit_test(an_owner_may_say_itself_that_it_warms),
        cmocka_unit_test(what_a_warming_owner_holds_is_merged_but_does_not_count),
        cmocka_unit_test(with_too_few_warm_owners_a_miss_needs_all_of_them),
        cmocka_unit_test(with_too_few_warm_owners_a_fallback_that_shows_something_counts),
        cmocka_unit_test(with_no_warm_owner_a_miss_is_a_plain_miss),
        cmocka_unit_test(a_fallbacks_miss_does_not_count_beside_warm_owners),
        cmocka_unit_test(a_stub_is_refilled_by_a_replica_that_holds_the_value),
        cmocka_unit_test(a_stub_that_nobody_can_refill_reads_as_a_miss),
        cmocka_unit_test(an_expired_stub_is_not_asked_for),
        cmocka_unit_test(a_tombstone_is_an_answer),
        cmocka_unit_test(nobody_who_is_believed_down_is_asked_or_waited_for),
        cmocka_unit_test(a_lost_node_is_replaced_and_the_quorum_may_still_be_met),
        cmocka_unit_test(this_node_may_be_the_one_that_replaces),
        cmocka_unit_test(a_late_node_is_replaced_once_and_may_still_answer),
        cmocka_unit_test(at_the_deadline_what_has_come_decides),
        cmocka_unit_test(a_fetch_that_is_refused_does_not_count),
        cmocka_unit_test(repeated_strange_and_mislabeled_replies_change_nothing),
        cmocka_unit_test(a_digest_that_comes_twice_is_not_the_cell),
        cmocka_unit_test(what_was_flushed_is_not_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
