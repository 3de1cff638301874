/* What clients are answered when nodes have to ask each other: server/request*.c. */
#include "ring/key_hash.h"
#include "server/clock.h"
#include "tests/unit/request_nodes.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* after those */
#include <cmocka.h>

#define NOTHING_MS 300 /* long enough to see that nothing happens */

static void a_value_set_at_one_node_is_read_at_all_of_them(void **state)
{
    (void)state;
    start_nodes(3);
    for (unsigned node = 0; node < 3; node++) {
        assert_set(node, key_of(0, node), "some value");
        for (unsigned other = 0; other < 3; other++)
            assert_get(other, key_of(0, node), "some value");
    }
    drain();
    for (unsigned node = 0; node < 3; node++)
        assert_held(node, key_of(0, 1), 10);
}

static void a_key_that_nobody_has_is_a_miss(void **state)
{
    (void)state;
    start_nodes(3);
    assert_get(0, "nothing", NULL);
    assert_set(1, "nothing", "");
    assert_get(0, "nothing", "");
    drain();
}

static void a_write_is_passed_on_to_the_first_owner(void **state)
{
    (void)state;
    start_nodes(3);
    assert_set(0, key_of(2, 0), "abc");
    assert_int_equal(STAT(0, passed_on), 1);
    assert_int_equal(STAT(0, coordinated), 0);
    assert_int_equal(STAT(2, served_forwards), 1);
    assert_int_equal(STAT(2, coordinated), 1);
    assert_set(2, key_of(2, 0), "abcd");
    assert_int_equal(STAT(2, coordinated), 2);
    assert_int_equal(STAT(2, passed_on), 0);
    drain();
    for (unsigned node = 0; node < 3; node++)
        assert_held(node, key_of(2, 0), 4);
}

/* A long value, as a connection has it: in an item, whose reference it lets go at once. */
static void set_long(unsigned node, const char *key, size_t bytes, unsigned char fill)
{
    struct store *store = nodes[node].worker.store;
    struct operation operation = set_of(key, NULL, bytes);
    struct item_spec spec = {.key = operation.key, .value_bytes = bytes};
    struct item *item = item_new(store, &spec, now_ms());
    struct asked asked;

    assert_non_null(item);
    memset(item_value(item), fill, bytes);
    operation.value.bytes = item_value(item);
    ask(node, &operation, item, &asked);
    item_unref(store, item);
    await(&asked);
    assert_int_equal(asked.answer, ANSWER_DONE);
    assert_int_equal(asked.outcome.status, OUTCOME_OK);
    assert_int_equal(asked.outcome.value.size, bytes);
}

static void assert_get_long(unsigned node, const char *key, size_t bytes, unsigned char fill)
{
    struct operation operation = operation_of(VERB_GET, key);
    struct asked asked;

    operation.options = OPERATION_WANTS_VALUE;
    ask(node, &operation, NULL, &asked);
    await(&asked);
    assert_true(asked.has_value);
    assert_int_equal(asked.value_bytes, bytes);
    assert_int_equal(asked.value[0], fill);
    assert_int_equal(asked.value[bytes / 2], fill);
    assert_int_equal(asked.value[bytes - 1], fill);
    asked_deinit(&asked);
}

static void long_values_travel(void **state)
{
    const size_t sizes[] = {4096, 70000, 2 << 20};

    (void)state;
    start_nodes(3);
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned node = 0; node < 3; node++)
            set_long(node, key_of(1, i), sizes[i], (unsigned char)('a' + 3 * i + node));
        drain();
        for (unsigned node = 0; node < 3; node++) {
            assert_held(node, key_of(1, i), sizes[i]);
            assert_get_long(node, key_of(1, i), sizes[i], (unsigned char)('a' + 3 * i + 2));
        }
    }
    drain();
}

/* A write that does not reach one of the nodes. */
static void set_without(unsigned node, unsigned without, const char *key, size_t bytes)
{
    unsigned char *value = malloc(bytes);
    struct operation operation;
    struct asked asked;

    memset(value, 'v', bytes);
    operation = set_of(key, value, bytes);
    believe(node, without, false, true);
    turn();
    ask(node, &operation, NULL, &asked);
    free(value);
    await(&asked);
    assert_int_equal(asked.answer, ANSWER_DONE);
    drain();
    believe(node, without, true, false);
    turn();
}

static void a_replica_that_a_read_finds_stale_is_repaired(void **state)
{
    const char *key;
    uint64_t bytes;

    (void)state;
    start_nodes(3);
    key = key_of(0, 0);
    set_without(0, 1, key, 9);
    assert_int_equal(held(1, key, &bytes), 0);
    assert_get(0, key, "vvvvvvvvv");
    drain();
    assert_held(1, key, 9);
    assert_true(STAT(0, repairs_sent) == 1);
}

static void a_node_that_lacks_a_value_fetches_it_to_show_it(void **state)
{
    (void)state;
    start_nodes(3);
    for (unsigned i = 0; i < 2; i++) {
        const size_t bytes = i == 0 ? 100 : 1000000;
        set_without(1, 0, key_of(1, i), bytes);
        assert_get_long(0, key_of(1, i), bytes, 'v');
        drain();
        assert_held(0, key_of(1, i), bytes);
    }
}

static void one_silent_node_does_not_hold_up_a_write(void **state)
{
    (void)state;
    start_nodes(3);
    nodes[1].is_running = false;
    const uint64_t start_ms = now_ms();
    for (unsigned i = 0; i < 20; i++)
        assert_set(0, key_of(0, i), "value");
    assert_true(now_ms() - start_ms < 1000);
    assert_get(0, key_of(0, 1), "value");
    assert_true(requests_in_flight(nodes[0].worker.requests) > 0);
    drain(); /* until their deadline */
    nodes[1].is_running = true;
}

static void a_write_passed_on_to_a_silent_node_goes_elsewhere(void **state)
{
    (void)state;
    start_nodes(3);
    nodes[1].is_running = false;
    const uint64_t start_ms = now_ms();
    assert_set(0, key_of(1, 0), "value");
    assert_true(now_ms() - start_ms < 1000);
    nodes[1].is_running = true;
    drain();
    for (unsigned node = 0; node < 3; node++) /* maybe as two siblings: it was written twice */
        assert_get(node, key_of(1, 0), "value");
    drain();
}

static void what_is_decided_elsewhere_and_not_heard_of_is_unknown(void **state)
{
    struct operation operation;
    struct asked asked;

    (void)state;
    start_nodes(3);
    operation = set_of(key_of(1, 0), "v", 1);
    operation.mode = STORE_ADD;
    nodes[1].is_running = false;
    ask(0, &operation, NULL, &asked);
    turn_for(20);
    believe(0, 1, false, false);
    await(&asked);
    assert_int_equal(asked.answer, ANSWER_UNKNOWN);
    nodes[1].is_running = true;
    drain();
    assert_held(2, key_of(1, 0), 1);
}

static void a_node_that_closes_is_lost_at_once(void **state)
{
    (void)state;
    start_nodes(3);
    stop_node(2);
    for (unsigned i = 0; i < 20; i++)
        assert_set(0, key_of(i % 2, i), "value");
    assert_true(STAT(0, unsent) + STAT(0, lost) > 0);
    drain();
}

static void without_enough_nodes_a_quorum_is_not_met(void **state)
{
    struct operation get = operation_of(VERB_GET, "k");
    struct asked asked;

    (void)state;
    start_nodes(3);
    stop_node(1);
    stop_node(2);
    turn_for(5);
    believe(0, 1, false, false);
    believe(0, 2, false, false);
    asked = set(0, "k", "value");
    assert_int_equal(asked.answer, ANSWER_WRITE_FAILED);
    assert_int_equal(asked.got, 1);
    assert_int_equal(asked.needed, 2);
    get.options = OPERATION_WANTS_VALUE;
    ask(0, &get, NULL, &asked);
    await(&asked);
    assert_int_equal(asked.answer, ANSWER_READ_FAILED);
    asked_deinit(&asked);
    drain();
}

/* With four nodes one is a fallback, which keeps a hint. */
static void a_fallback_keeps_the_cell_with_a_hint(void **state)
{
    const char *key;
    unsigned hints = 0;

    (void)state;
    start_nodes(4);
    key = key_of(0, 0);
    believe(0, 1, false, false);
    turn();
    assert_set(0, key, "value");
    drain();
    assert_held(3, key, 5);
    assert_int_equal(STAT(3, hints_kept), 1);
    struct hint_note *note = hint_queue_take(&nodes[3].cluster.hints);
    for (struct hint_note *next; note != NULL; note = next) {
        next = note->next;
        assert_int_equal(note->target, id_of(1));
        hints++;
        free(note);
    }
    assert_int_equal(hints, 1);
}

static void without_room_for_hints_a_fallback_refuses(void **state)
{
    const char *key;
    uint64_t bytes;

    (void)state;
    start_nodes(4);
    key = key_of(0, 0);
    believe(0, 1, false, false);
    turn();
    assert_true(hint_queue_reserve(&nodes[3].cluster.hints, (1 << 20) - 100));
    assert_set(0, key, "value"); /* at two of the owners */
    drain();
    assert_int_equal(held(3, key, &bytes), 0);
    assert_int_equal(STAT(3, refused_hints), 1);
}

/* Sends one forward twice, as a client link of a peer, and hears the same twice. */
static void a_forward_that_comes_twice_is_done_once(void **state)
{
    struct requests *requests;
    struct request_link *link;
    struct operation operation;

    (void)state;
    start_nodes(2);
    requests = nodes[0].worker.requests;
    link = requests->links;
    operation = operation_of(VERB_ARITHMETIC, key_of(1, 0));
    operation.delta = 5;
    assert_set(1, key_of(1, 0), "10");
    drain();
    for (unsigned i = 0; i < 2; i++) {
        requests_begin_turn(requests);
        requests->message.type = PEER_FORWARD;
        requests->message.forward.request = (struct forward_request){.id = {id_of(0), 12345},
                                                                     .key_hash = operation.hash,
                                                                     .class = REQUEST_DECIDED,
                                                                     .budget_ms = 500,
                                                                     .hops = 1,
                                                                     .tried_count = 1,
                                                                     .tried = {id_of(0)}};
        requests->message.forward.operation = peer_operation(&operation);
        assert_true(links_send(requests, link->peer, NULL));
        turn_for(50);
    }
    assert_int_equal(STAT(1, served_forwards), 2);
    assert_int_equal(STAT(1, repeats), 1);
    assert_int_equal(STAT(1, coordinated), 2);
    assert_get(0, key_of(1, 0), "15");
    drain();
}

static void decided_commands_are_decided_by_the_first_owner(void **state)
{
    struct operation operation;
    struct asked asked;

    (void)state;
    start_nodes(3);
    for (unsigned i = 0; i < 3; i++) {
        operation = set_of(key_of(1, 0), "v", 1);
        operation.mode = STORE_ADD;
        ask(i, &operation, NULL, &asked);
        await(&asked);
        assert_int_equal(asked.answer, ANSWER_DONE);
        assert_int_equal(asked.outcome.status, i == 0 ? OUTCOME_OK : OUTCOME_NOT_STORED);
    }
    assert_set(2, key_of(0, 1), "100");
    for (unsigned i = 0; i < 3; i++) {
        operation = operation_of(VERB_ARITHMETIC, key_of(0, 1));
        operation.delta = 1;
        ask(i, &operation, NULL, &asked);
        await(&asked);
        assert_int_equal(asked.outcome.status, OUTCOME_OK);
        assert_int_equal(asked.outcome.number, 101 + i);
    }
    drain();
}

static void appending_makes_a_new_value_everywhere(void **state)
{
    struct operation operation;
    struct asked asked;

    (void)state;
    start_nodes(3);
    assert_set(0, key_of(1, 0), "abc");
    operation = set_of(key_of(1, 0), "def", 3);
    operation.mode = STORE_APPEND;
    ask(2, &operation, NULL, &asked);
    await(&asked);
    assert_int_equal(asked.outcome.status, OUTCOME_OK);
    for (unsigned i = 0; i < 3; i++)
        assert_get(i, key_of(1, 0), "abcdef");
    drain();
    for (unsigned i = 0; i < 3; i++)
        assert_held(i, key_of(1, 0), 6);
}

static void a_delete_leaves_nothing_to_read(void **state)
{
    struct operation operation;
    struct asked asked;

    (void)state;
    start_nodes(3);
    assert_set(0, key_of(1, 0), "abc");
    operation = operation_of(VERB_DELETE, key_of(1, 0));
    for (unsigned i = 0; i < 2; i++) {
        ask(0, &operation, NULL, &asked);
        await(&asked);
        assert_int_equal(asked.outcome.status, i == 0 ? OUTCOME_OK : OUTCOME_NOT_FOUND);
    }
    for (unsigned i = 0; i < 3; i++)
        assert_get(i, key_of(1, 0), NULL);
    drain();
}

static void many_at_once_are_all_answered(void **state)
{
    enum { COUNT = 2000 };
    static struct asked asked[COUNT];
    static char keys[COUNT][16];

    (void)state;
    start_nodes(3);
    settings.request_timeout_ms = 60 * 1000;
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(keys[i], sizeof keys[i], "k%u", i);
        struct operation operation = set_of(keys[i], keys[i], strlen(keys[i]));
        ask(i % 3, &operation, NULL, &asked[i]);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        await(&asked[i]);
        assert_int_equal(asked[i].answer, ANSWER_DONE);
    }
    settings.request_timeout_ms = 1000;
    drain();
    for (unsigned i = 0; i < COUNT; i += 97)
        assert_get(i % 3, keys[i], keys[i]);
    drain();
}

static void past_the_bound_requests_that_are_answered_end_early(void **state)
{
    static struct asked asked[REQUESTS_MAX + 100];
    unsigned refused = 0;

    (void)state;
    start_nodes(3);
    settings.request_timeout_ms = 60 * 1000;
    nodes[2].is_running = false; /* so none of them is done before its time */
    for (unsigned i = 0; i < REQUESTS_MAX + 100; i++) {
        struct operation operation = set_of(key_of(0, i % 16), "v", 1);
        ask(0, &operation, NULL, &asked[i]);
        if (i % 64 == 0)
            turn();
    }
    for (unsigned i = 0; i < REQUESTS_MAX + 100; i++) {
        await(&asked[i]);
        refused += asked[i].answer != ANSWER_DONE;
    }
    assert_int_equal(refused, 0);
    assert_true(STAT(0, ended_early) > 0);
    settings.request_timeout_ms = 1000;
    nodes[2].is_running = true;
    drain();
}

static void who_is_cut_off_hears_nothing_and_is_not_heard(void **state)
{
    uint64_t bytes;

    (void)state;
    start_nodes(3);
    believe(0, 1, true, true);
    believe(1, 0, true, true);
    turn();
    assert_set(0, key_of(0, 0), "value");
    turn_for(NOTHING_MS);
    assert_int_equal(held(1, key_of(0, 0), &bytes), 0);
    assert_held(2, key_of(0, 0), 5);
    drain();
}

static void a_message_of_a_former_life_is_dropped(void **state)
{
    uint64_t bytes;

    (void)state;
    start_nodes(2);
    nodes[1].cluster.peers[0].incarnation = 2; /* node 0 lives again, it has heard */
    nodes[1].cluster.view.peers_version++;
    turn();
    struct asked asked = set(0, key_of(0, 0), "value");
    assert_int_equal(asked.answer, ANSWER_WRITE_FAILED);
    assert_int_equal(held(1, key_of(0, 0), &bytes), 0);
    assert_true(STAT(1, dropped_old) > 0);
    drain();
}

/* A flush that all replicas but this know of already: it has to be written under a dot that comes
 * after. */
static void a_write_that_a_replica_finds_covered_is_written_again(void **state)
{
    const char *key;

    (void)state;
    start_nodes(3);
    key = key_of(0, 0);
    const hlc_time flushed = hlc_of_ms(now_ms() + 2000);
    nodes[1].cluster.view.flushed_up_to = flushed;
    nodes[2].cluster.view.flushed_up_to = flushed;
    assert_set(0, key, "value");
    drain();
    assert_true(STAT(0, rewrites) >= 1);
    for (unsigned node = 0; node < 3; node++)
        assert_held(node, key, 5);
    for (unsigned node = 0; node < 3; node++)
        nodes[node].cluster.view.flushed_up_to = flushed;
    assert_get(1, key, "value");
    drain();
}

static void what_was_flushed_is_not_read(void **state)
{
    (void)state;
    start_nodes(3);
    assert_set(0, key_of(0, 0), "value");
    drain();
    turn_for(2);
    for (unsigned node = 0; node < 3; node++)
        nodes[node].cluster.view.flushed_up_to = hlc_of_ms(now_ms());
    for (unsigned node = 0; node < 3; node++)
        assert_get(node, key_of(0, 0), NULL);
    drain();
}

/* Its clock is two minutes ahead, as far as the others can see. */
static void a_cell_from_the_future_is_refused(void **state)
{
    static const char value[] = "value";
    struct requests *requests;
    struct sibling sibling, room;
    struct operation operation;
    struct cell cell;
    uint64_t bytes;

    (void)state;
    start_nodes(2);
    requests = nodes[0].worker.requests;
    operation = operation_of(VERB_GET, key_of(1, 0));
    sibling = sibling_of_value((struct dot){id_of(0), hlc_of_ms(now_ms() + 120000)}, 0, 0, 5, 1,
                               (uint64_t)(uintptr_t)value);
    cell_init(&cell, &room, 1);
    cell_make_common(&cell, &sibling, false);
    requests_begin_turn(requests);
    requests->message.type = PEER_STORE;
    requests->message.store = (struct peer_store){
        .request = {.operation = 1, .key_hash = operation.hash, .dot = sibling.dot, .cell = &cell},
        .key = operation.key};
    assert_true(links_send(requests, id_of(1), NULL));
    turn_for(50);
    assert_int_equal(STAT(1, refused_clock), 1);
    assert_int_equal(nodes[0].cluster.refused_clocks, 1);
    assert_int_equal(held(1, key_of(1, 0), &bytes), 0);
}

static void an_owner_may_answer_alone_only_if_r_is_one_and_it_is_warm(void **state)
{
    struct operation operation;
    struct requests *requests;

    (void)state;
    start_nodes(3);
    requests = nodes[0].worker.requests;
    operation = operation_of(VERB_GET, key_of(0, 0));
    requests_begin_turn(requests);
    assert_false(requests_owner_may_answer(requests, &operation));
    settings.read_quorum = 1;
    assert_true(requests_owner_may_answer(requests, &operation));
    nodes[0].cluster.warming[0] = 1u << ring_table_partition(&table, operation.hash);
    nodes[0].cluster.view.warming = nodes[0].cluster.warming;
    assert_false(requests_owner_may_answer(requests, &operation));
    settings.read_quorum = 2;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, stop_nodes)
    const struct CMUnitTest tests[] = {
        TEST(a_value_set_at_one_node_is_read_at_all_of_them),
        TEST(a_key_that_nobody_has_is_a_miss),
        TEST(a_write_is_passed_on_to_the_first_owner),
        TEST(long_values_travel),
        TEST(a_replica_that_a_read_finds_stale_is_repaired),
        TEST(a_node_that_lacks_a_value_fetches_it_to_show_it),
        TEST(one_silent_node_does_not_hold_up_a_write),
        TEST(a_write_passed_on_to_a_silent_node_goes_elsewhere),
        TEST(what_is_decided_elsewhere_and_not_heard_of_is_unknown),
        TEST(a_node_that_closes_is_lost_at_once),
        TEST(without_enough_nodes_a_quorum_is_not_met),
        TEST(a_fallback_keeps_the_cell_with_a_hint),
        TEST(without_room_for_hints_a_fallback_refuses),
        TEST(a_forward_that_comes_twice_is_done_once),
        TEST(decided_commands_are_decided_by_the_first_owner),
        TEST(appending_makes_a_new_value_everywhere),
        TEST(a_delete_leaves_nothing_to_read),
        TEST(many_at_once_are_all_answered),
        TEST(past_the_bound_requests_that_are_answered_end_early),
        TEST(who_is_cut_off_hears_nothing_and_is_not_heard),
        TEST(a_message_of_a_former_life_is_dropped),
        TEST(a_write_that_a_replica_finds_covered_is_written_again),
        TEST(what_was_flushed_is_not_read),
        TEST(a_cell_from_the_future_is_refused),
        TEST(an_owner_may_answer_alone_only_if_r_is_one_and_it_is_warm),
    };

    settings_init(&settings);
    settings.item_bytes_max = 4 << 20;
    clock_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
