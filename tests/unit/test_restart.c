#include "ring/restart.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "tests/unit/random.h"

#define DRIFT_MS 1000
#define RETRY_MS 100

static struct membership cluster, nobody;
static struct restart restart;
static uint64_t started_wall_ms = 100000; /* milliseconds since 1970 when a life began */
static struct restart_effects effects;

static struct member_record record_of(unsigned number)
{
    struct member_record record = {.id = number, .incarnation = 1, .weight = 1};

    record.name.size = 1;
    record.name.bytes[0] = (char)('a' + number);
    return record;
}

/* Nodes 1 to `count`. */
static void make_cluster(unsigned count)
{
    membership_init(&nobody);
    membership_init(&cluster);
    for (unsigned i = 1; i <= count; i++) {
        struct member_record record = record_of(i);
        record.status = MEMBER_UP;
        assert_int_equal(membership_join(&cluster, &record, NODE_NONE), MEMBERSHIP_DONE);
    }
}

/* A process that starts under the name of node `number`, and has a fresh id at hand. */
static void begin(unsigned number, node_id fresh)
{
    struct restart_config config = {
        .self = record_of(number), .drift_max_ms = DRIFT_MS, .retry_ms = RETRY_MS};

    config.self.id = fresh;
    restart_init(&restart, &config, 0);
}

static enum restart_state tick(uint64_t now_ms, const struct membership *membership)
{
    memset(&effects, 0, sizeof effects);
    restart_step(&restart,
                 &(struct restart_event){.type = RESTART_TICK,
                                         .now_ms = now_ms,
                                         .wall_ms = started_wall_ms + now_ms,
                                         .membership = membership},
                 &effects);
    return restart.state;
}

static enum restart_state answer(uint64_t now_ms, node_id from, struct restart_answer answer)
{
    memset(&effects, 0, sizeof effects);
    restart_step(&restart,
                 &(struct restart_event){.type = RESTART_ANSWERED,
                                         .now_ms = now_ms,
                                         .wall_ms = started_wall_ms + now_ms,
                                         .membership = &cluster,
                                         .from = from,
                                         .answer = &answer},
                 &effects);
    return restart.state;
}

static enum restart_state seen(uint64_t now_ms, node_id from, hlc_time time)
{
    return answer(now_ms, from, (struct restart_answer){.id = restart.id, .seen = time});
}

static enum restart_state joined(uint64_t now_ms, enum membership_answer what)
{
    struct restart_joined joined = {restart.id, what};

    memset(&effects, 0, sizeof effects);
    restart_step(&restart,
                 &(struct restart_event){.type = RESTART_JOINED,
                                         .now_ms = now_ms,
                                         .wall_ms = started_wall_ms + now_ms,
                                         .membership = &cluster,
                                         .from = 1,
                                         .joined = &joined},
                 &effects);
    return restart.state;
}

static void a_new_node_asks_until_it_is_a_member(void **state)
{
    (void)state;
    make_cluster(3);
    begin(7, 77);
    assert_int_equal(tick(0, &nobody), RESTART_FINDING);
    assert_true(effects.asks_seeds);
    assert_int_equal(restart_deadline_ms(&restart), RETRY_MS);
    assert_int_equal(tick(50, &nobody), RESTART_FINDING);
    assert_false(effects.asks_seeds);
    assert_int_equal(tick(RETRY_MS, &nobody), RESTART_FINDING);
    assert_true(effects.asks_seeds);
    assert_int_equal(answer(150, 2, (struct restart_answer){.has_members = true}), RESTART_JOINING);
    assert_true(effects.joins_seeds);
    assert_false(effects.begins_incarnation);
    struct restart_join join = restart_join_message(&restart);
    assert_int_equal(join.joiner.id, 77);
    assert_int_equal(joined(160, MEMBERSHIP_FULL), RESTART_JOINING);
    assert_int_equal(tick(250, &cluster), RESTART_JOINING);
    assert_true(effects.joins_seeds); /* it may have been lost */
    assert_int_equal(membership_join(&cluster, &join.joiner, join.replaces), MEMBERSHIP_DONE);
    assert_int_equal(joined(260, MEMBERSHIP_DONE), RESTART_READY);
    assert_true(effects.is_ready);
    assert_int_equal(restart.id, 77);
    assert_int_equal(restart_deadline_ms(&restart), UINT64_MAX);
}

static void a_join_that_is_refused_is_given_up(void **state)
{
    (void)state;
    make_cluster(3);
    begin(7, 77);
    tick(0, &cluster);
    assert_int_equal(joined(10, MEMBERSHIP_NAME_TAKEN), RESTART_REFUSED);
    assert_int_equal(restart.refusal, MEMBERSHIP_NAME_TAKEN);
    assert_int_equal(tick(5000, &cluster), RESTART_REFUSED);
    assert_false(effects.joins_seeds);
}

static void a_node_that_returns_starts_after_all_it_gave(void **state)
{
    (void)state;
    make_cluster(4);
    membership_saw_clock(&cluster, 2, 40);
    begin(2, 77);
    assert_int_equal(tick(0, &cluster), RESTART_ASKING);
    assert_true(effects.begins_incarnation);
    assert_int_equal(restart.id, 2);
    assert_int_equal(effects.ask_count, 3);
    assert_int_equal(seen(10, 1, 50), RESTART_ASKING);
    assert_int_equal(seen(10, 1, 50), RESTART_ASKING); /* doubled */
    assert_int_equal(seen(11, 3, 0), RESTART_ASKING);
    assert_int_equal(seen(12, 9, 60), RESTART_ASKING); /* no member, but it may have seen it */
    assert_int_equal(tick(RETRY_MS, &cluster), RESTART_ASKING);
    assert_int_equal(effects.ask_count, 1);
    assert_int_equal(effects.asks[0], 4);
    assert_int_equal(seen(130, 4, 55), RESTART_READY);
    assert_int_equal(restart.ceiling, 60);
    assert_false(effects.discards_cells);
}

static void a_majority_is_enough_once_the_drift_has_passed(void **state)
{
    (void)state;
    make_cluster(5);
    begin(2, 77);
    tick(0, &cluster);
    assert_int_equal(seen(10, 1, 50), RESTART_ASKING);
    assert_int_equal(seen(10, 3, 50), RESTART_ASKING);
    assert_int_equal(tick(DRIFT_MS - 1, &cluster), RESTART_ASKING);
    assert_int_equal(restart_deadline_ms(&restart), DRIFT_MS);
    assert_int_equal(tick(DRIFT_MS, &cluster), RESTART_READY);
}

static void no_majority_is_not_enough_for_ever(void **state)
{
    const struct restart_answer starting = {.id = 2, .is_starting = true};

    (void)state;
    make_cluster(5);
    begin(2, 77);
    tick(0, &cluster);
    assert_int_equal(seen(10, 1, 50), RESTART_ASKING);
    assert_int_equal(answer(20, 3, starting), RESTART_ASKING); /* it forgot, too */
    assert_int_equal(tick(DRIFT_MS, &cluster), RESTART_ASKING);
    assert_true(restart_deadline_ms(&restart) > DRIFT_MS); /* and not at once, again and again */
    assert_int_equal(tick(100 * DRIFT_MS, &cluster), RESTART_ASKING);
    assert_int_equal(answer(100 * DRIFT_MS + 1, 4, starting), RESTART_ASKING);
    assert_int_equal(answer(100 * DRIFT_MS + 2, 5, starting), RESTART_READY); /* but that is all */
}

static void an_operator_who_removes_the_dead_lets_it_go_on(void **state)
{
    (void)state;
    make_cluster(3);
    begin(2, 77);
    tick(0, &cluster);
    assert_int_equal(seen(10, 1, 50), RESTART_ASKING);
    membership_remove(&cluster, 3);
    assert_int_equal(tick(20, &cluster), RESTART_READY);
}

static void a_clock_beyond_the_drift_makes_it_another_node(void **state)
{
    (void)state;
    make_cluster(3);
    begin(2, 77);
    tick(0, &cluster);
    assert_int_equal(seen(10, 1, hlc_of_ms(100000 + 10 + DRIFT_MS)), RESTART_ASKING);
    assert_int_equal(seen(11, 3, hlc_of_ms(100000 + 12 + DRIFT_MS)), RESTART_JOINING);
    assert_true(effects.discards_cells);
    assert_true(effects.joins_seeds);
    assert_int_equal(restart.ceiling, 0);
    struct restart_join join = restart_join_message(&restart);
    assert_int_equal(join.joiner.id, 77);
    assert_int_equal(join.replaces, 2);
    assert_int_equal(membership_join(&cluster, &join.joiner, join.replaces), MEMBERSHIP_DONE);
    assert_int_equal(tick(20, &cluster), RESTART_READY);
}

static void a_node_that_went_joins_as_another_one(void **state)
{
    (void)state;
    make_cluster(3);
    membership_remove(&cluster, 2);
    begin(2, 77);
    assert_int_equal(tick(0, &cluster), RESTART_JOINING);
    begin(3, 78); /* it hears so only while it asks */
    assert_int_equal(tick(0, &cluster), RESTART_ASKING);
    membership_remove(&cluster, 3);
    assert_int_equal(tick(1, &cluster), RESTART_JOINING);
    assert_true(effects.discards_cells);
    assert_int_equal(restart.replaces, NODE_NONE);
}

static void a_node_that_replaces_another_joins_under_its_name(void **state)
{
    struct restart_config config = {
        .self = record_of(2), .replaces = 2, .drift_max_ms = DRIFT_MS, .retry_ms = RETRY_MS};

    (void)state;
    make_cluster(3);
    config.self.id = 77;
    restart_init(&restart, &config, 0);
    assert_int_equal(tick(0, &cluster), RESTART_JOINING);
    struct restart_join join = restart_join_message(&restart);
    assert_int_equal(membership_join(&cluster, &join.joiner, join.replaces), MEMBERSHIP_DONE);
    assert_int_equal(tick(10, &cluster), RESTART_READY);
    restart_init(&restart, &config, 0); /* started again with the same options */
    assert_int_equal(tick(0, &cluster), RESTART_ASKING);
    assert_int_equal(restart.id, 77);
}

static void a_founder_is_ready_at_once(void **state)
{
    struct restart_config config = {.self = record_of(1)};

    (void)state;
    restart_init_founding(&restart, &config);
    assert_true(restart_is_ready(&restart));
    assert_int_equal(restart.id, 1);
}

static void members_answer_what_they_know(void **state)
{
    struct restart_ask ask = {record_of(2).name};

    (void)state;
    make_cluster(3);
    membership_saw_clock(&cluster, 2, 123);
    struct restart_answer got = restart_answer_to(&cluster, &ask, false);
    assert_int_equal(got.id, 2);
    assert_int_equal(got.seen, 123);
    assert_true(got.has_members);
    membership_remove(&cluster, 2);
    got = restart_answer_to(&cluster, &ask, true);
    assert_int_equal(got.id, NODE_NONE);
    assert_true(got.is_starting);
    assert_false(restart_answer_to(&nobody, &ask, true).has_members);
}

/* Node 1 of five gives dots, some of which reach only a few or nobody (those are as if they had
 * never been), dies, and comes back with a clock
 * that is set back by up to the drift; answers get lost. */
static void no_dot_that_anybody_saw_is_given_again_by_a_later_life(void **state)
{
    struct random random = {1};
    unsigned lives = 0;

    (void)state;
    for (unsigned run = 0; run < 2000; run++) {
        struct hlc_clock clock;
        hlc_time last = 0, saw[6] = {0};
        uint64_t wall_ms = 200000;

        make_cluster(5);
        hlc_clock_init(&clock, 0);
        for (unsigned life = 0; life < 4; life++) {
            for (unsigned writes = random_below(&random, 20); writes > 0; writes--) {
                wall_ms += random_below(&random, 50);
                hlc_time dot = hlc_clock_next(&clock, wall_ms);
                assert_true(dot > last);
                for (unsigned to = 2; to <= 5; to++)
                    if (random_chance(&random, 60))
                        saw[to] = last = dot;
            }
            wall_ms = (last == 0 ? wall_ms : hlc_ms(last)) - random_below(&random, DRIFT_MS / 2);
            lives++;
            started_wall_ms = wall_ms;
            begin(1, 77 + life);
            unsigned unheard = 2 + random_below(&random, 6);
            for (uint64_t now_ms = 0; !restart_is_ready(&restart); now_ms += 50) {
                assert_true(now_ms < 10000);
                wall_ms += 50;
                tick(now_ms, &cluster);
                for (unsigned from = 2; from <= 5; from++)
                    if (from != unheard && random_chance(&random, 30))
                        seen(now_ms, from, saw[from]);
            }
            assert_int_equal(restart.id, 1);
            hlc_clock_init(&clock, restart.ceiling);
        }
    }
    started_wall_ms = 100000;
    assert_int_equal(lives, 8000);
}

static void a_node_that_most_refuse_does_not_coordinate(void **state)
{
    struct clock_doubt doubt;

    (void)state;
    make_cluster(5);
    clock_doubt_init(&doubt);
    clock_doubt_refused(&doubt, 2);
    clock_doubt_refused(&doubt, 2);
    clock_doubt_refused(&doubt, 3);
    clock_doubt_refused(&doubt, 99); /* no member */
    assert_true(clock_doubt_may_coordinate(&doubt, &cluster));
    clock_doubt_refused(&doubt, 4);
    assert_false(clock_doubt_may_coordinate(&doubt, &cluster));
    clock_doubt_accepted(&doubt, 3);
    assert_true(clock_doubt_may_coordinate(&doubt, &cluster));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_node_asks_until_it_is_a_member),
        cmocka_unit_test(a_join_that_is_refused_is_given_up),
        cmocka_unit_test(a_node_that_returns_starts_after_all_it_gave),
        cmocka_unit_test(a_majority_is_enough_once_the_drift_has_passed),
        cmocka_unit_test(no_majority_is_not_enough_for_ever),
        cmocka_unit_test(an_operator_who_removes_the_dead_lets_it_go_on),
        cmocka_unit_test(a_clock_beyond_the_drift_makes_it_another_node),
        cmocka_unit_test(a_node_that_went_joins_as_another_one),
        cmocka_unit_test(a_node_that_replaces_another_joins_under_its_name),
        cmocka_unit_test(a_founder_is_ready_at_once),
        cmocka_unit_test(members_answer_what_they_know),
        cmocka_unit_test(no_dot_that_anybody_saw_is_given_again_by_a_later_life),
        cmocka_unit_test(a_node_that_most_refuse_does_not_coordinate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
