/* What a replica does with a store, a fetch, and a write that was covered elsewhere. */
#include "ring/replica.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>

#define ROOM     16
#define WALL_MS  1000000
#define DRIFT_MS 60000

static struct cell own, sent;
static struct sibling memory[2][ROOM];
static struct hlc_clock stripe;
static struct replica_now now;

static hlc_time at(uint64_t ms)
{
    return hlc_of_ms(WALL_MS + ms);
}

static struct sibling value(node_id node, hlc_time hlc)
{
    return sibling_of_value((struct dot){node, hlc}, 0, 0, 3, hlc, hlc);
}

static void put(struct cell *cell, node_id node, hlc_time hlc)
{
    struct sibling written = value(node, hlc);
    assert_int_equal(cell_put_blind(cell, &written), CELL_PUT_DONE);
}

static void set_up(void)
{
    cell_init(&own, memory[0], ROOM);
    cell_init(&sent, memory[1], ROOM);
    hlc_clock_init(&stripe, 0);
    now = (struct replica_now){.clock = &stripe,
                               .wall_ms = WALL_MS,
                               .drift_max_ms = DRIFT_MS,
                               .is_owner = true,
                               .has_room = true,
                               .has_hint_room = true};
}

static struct replica_stored store(struct store_request request)
{
    request.operation = 9;
    request.round = 2;
    request.cell = &sent;
    struct replica_stored stored = replica_store(&own, &request, &now);
    assert_int_equal(stored.reply.operation, 9);
    assert_int_equal(stored.reply.round, 2);
    return stored;
}

static struct replica_stored store_new(node_id node, hlc_time hlc)
{
    return store((struct store_request){.dot = {node, hlc}});
}

static void a_new_write_is_merged_and_raises_the_clock(void **state)
{
    (void)state;
    set_up();
    put(&sent, 1, at(10));
    struct replica_stored stored = store_new(1, at(10));
    assert_int_equal(stored.reply.status, STORE_STORED);
    assert_true(stored.is_changed);
    assert_false(stored.makes_hint);
    assert_non_null(cell_find(&own, (struct dot){1, at(10)}));
    assert_true(hlc_clock_next(&stripe, WALL_MS) > at(10));
    stored = store_new(1, at(10)); /* doubled on the way */
    assert_int_equal(stored.reply.status, STORE_STORED);
    assert_false(stored.is_changed);
}

static void a_context_alone_is_a_change(void **state)
{
    (void)state;
    set_up();
    put(&sent, 1, at(10));
    cell_copy(&own, &sent);
    context_add(&sent.context, (struct interval){2, at(1), at(2)});
    assert_true(store((struct store_request){0}).is_changed);
    assert_false(store((struct store_request){0}).is_changed);
}

static void a_value_for_a_stub_is_a_change(void **state)
{
    (void)state;
    set_up();
    put(&sent, 1, at(10));
    cell_copy(&own, &sent);
    cell_evict(&own);
    assert_true(store((struct store_request){.is_repair = true}).is_changed);
    assert_int_equal(own.siblings[0].kind, SIBLING_VALUE);
}

static void a_register_travels_without_its_value(void **state)
{
    (void)state;
    set_up();
    put(&own, 1, at(10));
    cell_copy(&sent, &own);
    sent.siblings[0].reg.hlc = at(20);
    sent.siblings[0].reg.expires_ms = WALL_MS + 99;
    cell_evict(&sent);
    struct replica_stored stored = store((struct store_request){0});
    assert_int_equal(stored.reply.status, STORE_STORED);
    assert_true(stored.is_changed);
    assert_int_equal(own.siblings[0].kind, SIBLING_VALUE);
    assert_int_equal(own.siblings[0].reg.expires_ms, WALL_MS + 99);
}

static void what_is_too_far_ahead_is_refused_wherever_it_stands(void **state)
{
    (void)state;
    set_up();
    put(&sent, 1, at(DRIFT_MS + 1));
    assert_int_equal(store_new(1, at(DRIFT_MS + 1)).reply.status, STORE_REFUSED_CLOCK);
    assert_int_equal(own.sibling_count, 0);
    assert_int_equal(stripe.last, 0);
    set_up();
    put(&sent, 1, at(1));
    context_add(&sent.context, (struct interval){2, at(1), at(DRIFT_MS + 1)});
    assert_int_equal(store_new(1, at(1)).reply.status, STORE_REFUSED_CLOCK);
    set_up();
    put(&sent, 1, at(1));
    sent.siblings[0].reg.hlc = at(DRIFT_MS + 1);
    assert_int_equal(store_new(1, at(1)).reply.status, STORE_REFUSED_CLOCK);
    sent.siblings[0].reg.hlc = at(DRIFT_MS);
    assert_int_equal(store_new(1, at(1)).reply.status, STORE_STORED);
}

static void a_new_dot_that_was_seen_is_covered(void **state)
{
    (void)state;
    set_up();
    put(&own, 1, at(20));
    put(&sent, 1, at(10));
    struct replica_stored stored = store_new(1, at(10));
    assert_int_equal(stored.reply.status, STORE_COVERED);
    assert_int_equal(stored.reply.clock, at(20));
    assert_false(stored.reply.is_flushed);
    assert_false(stored.is_changed);
    assert_null(cell_find(&own, (struct dot){1, at(10)}));
    /* The same cell as a repair is no new write: it merges, and loses. */
    assert_int_equal(store((struct store_request){.is_repair = true}).reply.status, STORE_STORED);
}

static void a_new_dot_before_the_flush_is_covered(void **state)
{
    (void)state;
    set_up();
    now.flushed_up_to = at(50);
    put(&own, 2, at(5));
    put(&sent, 1, at(10));
    struct replica_stored stored = store_new(1, at(10));
    assert_int_equal(stored.reply.status, STORE_COVERED);
    assert_int_equal(stored.reply.clock, at(50));
    assert_true(stored.reply.is_flushed);
    assert_int_equal(store((struct store_request){0}).reply.status, STORE_STORED);
    assert_int_equal(own.sibling_count, 0); /* neither what was here nor what came */
}

static void hints_are_made_for_others_and_may_be_refused(void **state)
{
    const struct store_request hinted = {.dot = {1, at(10)}, .hint_for = 3};

    (void)state;
    set_up();
    put(&sent, 1, at(10));
    assert_false(store(hinted).makes_hint); /* an owner keeps it for itself */
    now.is_owner = false;
    assert_true(store(hinted).makes_hint);
    assert_false(store_new(1, at(10)).makes_hint);
    now.has_hint_room = false;
    assert_int_equal(store(hinted).reply.status, STORE_REFUSED_HINTS);
    assert_int_equal(store_new(1, at(10)).reply.status, STORE_STORED);
}

static void a_full_node_takes_no_repair_of_what_it_lacks(void **state)
{
    (void)state;
    set_up();
    put(&sent, 1, at(10));
    now.has_room = false;
    assert_int_equal(store((struct store_request){.is_repair = true}).reply.status,
                     STORE_REFUSED_MEMORY);
    assert_int_equal(store_new(1, at(10)).reply.status, STORE_STORED);
    put(&sent, 1, at(20));
    assert_int_equal(store((struct store_request){.is_repair = true}).reply.status, STORE_STORED);
    assert_non_null(cell_find(&own, (struct dot){1, at(20)}));
}

static void a_fetch_tells_the_digest_and_gives_the_cell_when_asked(void **state)
{
    struct fetch_request request = {.operation = 9, .round = 2};

    (void)state;
    set_up();
    now.is_warming = true;
    struct fetch_reply reply = replica_fetch(&own, &request, &now);
    assert_int_equal(reply.sibling_count, 0);
    assert_true(reply.is_warming);
    put(&own, 1, at(10));
    reply = replica_fetch(&own, &request, &now);
    assert_int_equal(reply.operation, 9);
    assert_int_equal(reply.round, 2);
    assert_int_equal(reply.sibling_count, 1);
    assert_int_equal(reply.stub_count, 0);
    assert_int_equal(reply.digest.low, cell_state_digest(&own).low);
    assert_null(reply.cell);
    request.is_full = true;
    cell_evict(&own);
    reply = replica_fetch(&own, &request, &now);
    assert_int_equal(reply.stub_count, 1);
    assert_ptr_equal(reply.cell, &own);
    own.siblings[0].reg.expires_ms = WALL_MS;
    assert_int_equal(replica_fetch(&own, &request, &now).stub_count, 0);
}

static void a_covered_write_replaces_just_itself(void **state)
{
    const struct dot old = {1, at(10)}, fresh = {1, at(30)};

    (void)state;
    set_up();
    put(&own, 1, at(10));
    cell_copy(&sent, &own);
    struct sibling other = value(2, at(15)); /* came in between */
    struct context none = {0};
    assert_int_equal(cell_put_context(&own, &other, &none), CELL_PUT_DONE);
    assert_int_equal(replica_rewrite(&own, &sent, old, fresh, false), REPLICA_REWRITTEN);
    assert_int_equal(sent.sibling_count, 2);
    assert_non_null(cell_find(&sent, fresh));
    assert_int_equal(cell_find(&sent, fresh)->value, at(10));
    assert_true(cell_covers(&sent, old));
    assert_null(cell_find(&sent, old));
    /* Again under a dot that is not fresh. */
    assert_int_equal(replica_rewrite(&own, &sent, fresh, (struct dot){1, at(29)}, false),
                     REPLICA_COVERED);
}

static void a_covered_write_that_was_evicted_is_written_from_what_was_sent(void **state)
{
    const struct dot old = {1, at(10)}, fresh = {1, at(30)};

    (void)state;
    set_up();
    put(&sent, 1, at(10));
    assert_int_equal(replica_rewrite(&own, &sent, old, fresh, false), REPLICA_REWRITTEN);
    assert_int_equal(cell_find(&own, fresh)->value, at(10));
    set_up();
    put(&sent, 1, at(10));
    cell_copy(&own, &sent);
    cell_evict(&own);
    assert_int_equal(replica_rewrite(&own, &sent, old, fresh, true), REPLICA_REWRITTEN);
    assert_int_equal(cell_find(&own, fresh)->kind, SIBLING_VALUE);
    assert_int_equal(own.context.intervals[own.context.count - 1].node, NODE_ANY);
}

static void a_covered_write_that_was_superseded_is_left_alone(void **state)
{
    (void)state;
    set_up();
    put(&sent, 1, at(10));
    put(&own, 1, at(20));
    assert_int_equal(
        replica_rewrite(&own, &sent, (struct dot){1, at(10)}, (struct dot){1, at(30)}, false),
        REPLICA_SUPERSEDED);
    assert_non_null(cell_find(&own, (struct dot){1, at(20)}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_write_is_merged_and_raises_the_clock),
        cmocka_unit_test(a_context_alone_is_a_change),
        cmocka_unit_test(a_value_for_a_stub_is_a_change),
        cmocka_unit_test(a_register_travels_without_its_value),
        cmocka_unit_test(what_is_too_far_ahead_is_refused_wherever_it_stands),
        cmocka_unit_test(a_new_dot_that_was_seen_is_covered),
        cmocka_unit_test(a_new_dot_before_the_flush_is_covered),
        cmocka_unit_test(hints_are_made_for_others_and_may_be_refused),
        cmocka_unit_test(a_full_node_takes_no_repair_of_what_it_lacks),
        cmocka_unit_test(a_fetch_tells_the_digest_and_gives_the_cell_when_asked),
        cmocka_unit_test(a_covered_write_replaces_just_itself),
        cmocka_unit_test(a_covered_write_that_was_evicted_is_written_from_what_was_sent),
        cmocka_unit_test(a_covered_write_that_was_superseded_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
