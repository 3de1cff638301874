/* Liveness: whom a node believes it can reach. */
#include "ring/liveness.h"
#include "tests/unit/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

enum { NODES_MAX = 5, FLIGHT = 4096 };
#define START_MS 10000

/* Some nodes, and a network of which each direction of each link has its own latency and cuts. */
struct network {
    uint64_t now_ms;
    unsigned node_count;
    struct liveness nodes[NODES_MAX];
    bool is_stopped[NODES_MAX]; /* neither hears nor ticks */
    bool is_cut[NODES_MAX][NODES_MAX];
    unsigned latency_ms[NODES_MAX][NODES_MAX];
    struct {
        struct ping ping;
        uint64_t arrives_ms;
    } flight[FLIGHT];
    unsigned flight_count, sent;
    unsigned found[NODES_MAX][NODES_MAX], lost[NODES_MAX][NODES_MAX], restarts;
    uint64_t slept_ms;
};

static struct network net;

static node_id id_of(unsigned node)
{
    return 100 + node;
}

static unsigned node_of(node_id id)
{
    return (unsigned)(id - 100);
}

static void start_node(unsigned node, uint64_t incarnation)
{
    node_id ids[NODES_MAX];

    for (unsigned i = 0; i < net.node_count; i++)
        ids[i] = id_of(i);
    liveness_init(&net.nodes[node], id_of(node), incarnation, NULL, net.now_ms);
    liveness_set_peers(&net.nodes[node], ids, net.node_count, net.now_ms);
}

static void set_up(unsigned node_count)
{
    memset(&net, 0, sizeof net);
    net.now_ms = START_MS;
    net.node_count = node_count;
    for (unsigned i = 0; i < node_count; i++)
        start_node(i, 1);
    for (unsigned i = 0; i < node_count; i++)
        for (unsigned j = 0; j < node_count; j++)
            net.latency_ms[i][j] = 1;
}

static void put_in_flight(const struct ping *ping)
{
    unsigned from = node_of(ping->from), to = node_of(ping->to);

    net.sent++;
    if (net.is_cut[from][to])
        return;
    assert_true(net.flight_count < FLIGHT);
    net.flight[net.flight_count].ping = *ping;
    net.flight[net.flight_count++].arrives_ms = net.now_ms + net.latency_ms[from][to];
}

static void step(unsigned node, struct liveness_event event)
{
    struct liveness_effects effects = {0};

    event.now_ms = net.now_ms;
    liveness_step(&net.nodes[node], &event, &effects);
    for (unsigned i = 0; i < effects.send_count; i++)
        put_in_flight(&effects.sends[i]);
    for (unsigned i = 0; i < effects.change_count; i++) {
        unsigned peer = node_of(effects.changes[i].peer);
        net.found[node][peer] += effects.changes[i].type == LIVENESS_BECAME_REACHABLE;
        net.lost[node][peer] += effects.changes[i].type == LIVENESS_BECAME_UNREACHABLE;
        net.restarts += effects.changes[i].type == LIVENESS_RESTARTED;
    }
    net.slept_ms += effects.slept_ms;
}

static void run_ms(unsigned ms)
{
    for (uint64_t end_ms = net.now_ms + ms; net.now_ms < end_ms; net.now_ms++) {
        for (unsigned i = 0; i < net.flight_count;) {
            struct ping ping = net.flight[i].ping;
            if (net.flight[i].arrives_ms > net.now_ms) {
                i++;
                continue;
            }
            net.flight[i] = net.flight[--net.flight_count];
            if (!net.is_stopped[node_of(ping.to)])
                step(node_of(ping.to),
                     (struct liveness_event){.type = LIVENESS_PING, .ping = &ping});
        }
        for (unsigned n = 0; n < net.node_count; n++)
            while (!net.is_stopped[n] && liveness_deadline_ms(&net.nodes[n]) <= net.now_ms)
                step(n, (struct liveness_event){.type = LIVENESS_TICK});
    }
}

static bool reaches(unsigned from, unsigned to)
{
    return liveness_is_reachable(&net.nodes[from], id_of(to));
}

static void cut(unsigned from, unsigned to, bool is_cut)
{
    net.is_cut[from][to] = is_cut;
}

static void cut_both(unsigned a, unsigned b, bool is_cut)
{
    cut(a, b, is_cut);
    cut(b, a, is_cut);
}

static uint64_t ms_until_lost(unsigned from, unsigned to)
{
    uint64_t start_ms = net.now_ms;

    while (reaches(from, to)) {
        run_ms(1);
        assert_true(net.now_ms < start_ms + 100000);
    }
    return net.now_ms - start_ms;
}

static uint64_t ms_until_found(unsigned from, unsigned to)
{
    uint64_t start_ms = net.now_ms;

    while (!reaches(from, to)) {
        run_ms(1);
        assert_true(net.now_ms < start_ms + 100000);
    }
    return net.now_ms - start_ms;
}

static void peers_find_each_other_with_the_first_answer(void **state)
{
    (void)state;
    set_up(3);
    assert_false(reaches(0, 1));
    assert_true(reaches(0, 0));
    run_ms(5);
    for (unsigned i = 0; i < 3; i++)
        for (unsigned j = 0; j < 3; j++)
            assert_true(reaches(i, j));
    assert_int_equal(net.found[0][1], 1);
    assert_false(liveness_is_reachable(&net.nodes[0], 7777));
    run_ms(600); /* the next pings tell it */
    assert_true(liveness_find(&net.nodes[0], id_of(1))->reaches_us);
}

static void a_dead_peer_is_noticed_within_the_bound(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        set_up(3);
        net.latency_ms[0][1] = net.latency_ms[1][0] = i * 20;
        run_ms(5000 + 37 * i);
        net.is_stopped[1] = true;
        assert_true(ms_until_lost(0, 1) <= liveness_options_default.silence_max_ms + 1);
        assert_true(reaches(0, 2));
        assert_int_equal(net.lost[0][1], 1);
    }
}

static void one_that_never_answered_is_given_up_and_said_so(void **state)
{
    (void)state;
    set_up(2);
    net.is_stopped[1] = true;
    run_ms(liveness_options_default.silence_max_ms);
    assert_int_equal(net.lost[0][1], 0);
    run_ms(10);
    assert_int_equal(net.lost[0][1], 1);
}

static void a_slow_but_living_peer_is_never_believed_gone(void **state)
{
    struct random random = {.state = 5};
    unsigned most_ms =
        liveness_options_default.silence_min_ms - liveness_options_default.ping_ms - 1;

    (void)state;
    for (unsigned run = 0; run < 20; run++) {
        set_up(2);
        run_ms(3000);
        for (unsigned i = 0; i < 60; i++) {
            net.latency_ms[0][1] = random_below(&random, most_ms / 2);
            net.latency_ms[1][0] = random_below(&random, most_ms / 2);
            run_ms(random_below(&random, 2000));
        }
        assert_int_equal(net.lost[0][1] + net.lost[1][0], 0);
    }
}

static void one_that_grows_slow_by_and_by_may_become_very_slow(void **state)
{
    (void)state;
    set_up(2);
    for (unsigned i = 0; i < 100; i++) {
        net.latency_ms[0][1] = net.latency_ms[1][0] = i * 20;
        run_ms(1000);
    }
    assert_int_equal(net.lost[0][1], 0);
    assert_true(reaches(0, 1));
    assert_int_equal(liveness_hedge_ms(&net.nodes[0], id_of(1)),
                     liveness_options_default.hedge_max_ms);
}

static void a_link_cut_one_way_is_noticed_at_both_ends(void **state)
{
    (void)state;
    set_up(2);
    run_ms(3000);
    cut(0, 1, true);
    run_ms(liveness_options_default.silence_max_ms + 1);
    assert_false(reaches(0, 1)); /* its pings are lost */
    assert_false(reaches(1, 0)); /* it is pinged, but its own pings are not answered */
    cut(0, 1, false);
    run_ms(3000);
    assert_true(reaches(0, 1));
    assert_true(reaches(1, 0));
}

static void a_link_that_flaps_is_left_alone_for_longer_and_longer(void **state)
{
    uint64_t before_ms = 0;

    (void)state;
    set_up(2);
    run_ms(3000);
    for (unsigned i = 0; i < 10; i++) {
        cut_both(0, 1, true);
        ms_until_lost(0, 1);
        cut_both(0, 1, false);
        uint64_t waited_ms = ms_until_found(0, 1);
        assert_true(waited_ms >= before_ms);
        assert_true(waited_ms <= liveness_options_default.hold_max_ms + 1000);
        before_ms = waited_ms / 2 * 2 - waited_ms / 8; /* but for when the pings fall */
    }
    assert_true(before_ms > liveness_options_default.hold_max_ms / 2);
    run_ms(10 * liveness_options_default.calm_ms); /* it learns to trust it again */
    cut_both(0, 1, true);
    ms_until_lost(0, 1);
    cut_both(0, 1, false);
    assert_true(ms_until_found(0, 1) < 2000);
}

static void a_fast_flapping_link_changes_opinions_rarely_and_recovers(void **state)
{
    struct random random = {.state = 3};

    (void)state;
    set_up(2);
    run_ms(3000);
    for (unsigned i = 0; i < 200; i++) {
        cut_both(0, 1, i % 2 == 0);
        run_ms(1600 + random_below(&random, 1000));
    }
    assert_true(net.lost[0][1] < 40); /* of 100 cuts */
    cut_both(0, 1, false);
    assert_true(ms_until_found(0, 1) <= liveness_options_default.hold_max_ms + 1000);
    assert_true(liveness_is_answering(&net.nodes[0], id_of(1)));
}

static void while_it_returns_it_answers_but_is_not_relied_on(void **state)
{
    (void)state;
    set_up(2);
    run_ms(3000);
    cut_both(0, 1, true);
    ms_until_lost(0, 1);
    assert_false(liveness_is_answering(&net.nodes[0], id_of(1)));
    cut_both(0, 1, false);
    for (unsigned i = 0; i < 1000 && !liveness_is_answering(&net.nodes[0], id_of(1)); i++)
        run_ms(1);
    assert_true(liveness_is_answering(&net.nodes[0], id_of(1)));
    assert_false(reaches(0, 1));
}

static void a_lost_link_is_believed_at_once(void **state)
{
    (void)state;
    set_up(2);
    run_ms(3000);
    step(0, (struct liveness_event){.type = LIVENESS_LINK_DOWN, .peer = id_of(1)});
    assert_false(reaches(0, 1));
    step(0, (struct liveness_event){.type = LIVENESS_LINK_UP, .peer = id_of(1)});
    assert_false(reaches(0, 1)); /* a connection proves little */
    assert_true(ms_until_found(0, 1) < 1500);
}

static void replies_to_requests_keep_a_peer_alive_and_measure_it(void **state)
{
    (void)state;
    set_up(2);
    run_ms(100);
    net.is_stopped[1] = true;
    for (unsigned i = 0; i < 100; i++) {
        run_ms(100);
        step(0, (struct liveness_event){
                    .type = LIVENESS_REPLY, .peer = id_of(1), .round_trip_us = 20000});
    }
    assert_true(reaches(0, 1));
    assert_in_range(liveness_hedge_ms(&net.nodes[0], id_of(1)), 40, 60);
}

static void hedging_follows_the_latency_between_its_bounds(void **state)
{
    (void)state;
    set_up(2);
    assert_int_equal(liveness_hedge_ms(&net.nodes[0], id_of(1)),
                     liveness_options_default.hedge_min_ms);
    net.latency_ms[0][1] = net.latency_ms[1][0] = 50;
    run_ms(10000);
    assert_in_range(liveness_hedge_ms(&net.nodes[0], id_of(1)), 200, 350);
}

static void a_late_answer_makes_it_ping_at_once(void **state)
{
    (void)state;
    set_up(2);
    run_ms(3210);
    unsigned sent = net.sent;
    step(0, (struct liveness_event){.type = LIVENESS_LATE, .peer = id_of(1)});
    run_ms(liveness_options_default.ping_ms / 4 + 1);
    assert_true(net.sent > sent);
}

static void who_slept_gives_its_peers_the_time_back(void **state)
{
    (void)state;
    set_up(3);
    run_ms(3000);
    net.is_stopped[0] = true;
    run_ms(20000);
    assert_false(reaches(1, 0));
    net.is_stopped[0] = false;
    run_ms(3);
    assert_in_range(net.slept_ms, 19000, 20003);
    assert_true(reaches(0, 1));
    run_ms(3000);
    assert_int_equal(net.lost[0][1], 0);
    assert_true(reaches(1, 0));
}

static void a_restart_is_told_by_the_incarnation_once(void **state)
{
    (void)state;
    set_up(2);
    run_ms(3000);
    start_node(1, 2);
    struct ping old = {.from = id_of(1), .to = id_of(0), .incarnation = 1, .reaches_you = false};
    run_ms(1500);
    assert_int_equal(net.restarts, 1);
    unsigned sent = net.sent;
    step(0, (struct liveness_event){.type = LIVENESS_PING, .ping = &old});
    assert_int_equal(net.sent, sent);
    assert_int_equal(net.restarts, 1);
    assert_true(reaches(0, 1)); /* it was quick enough */
}

static void answers_to_an_earlier_life_or_from_long_ago_prove_nothing(void **state)
{
    struct ping answer = {.from = id_of(1), .to = id_of(0), .incarnation = 1, .is_answer = true};

    (void)state;
    set_up(2);
    answer.sent_ms = net.now_ms;
    answer.asked_by = 77;
    step(0, (struct liveness_event){.type = LIVENESS_PING, .ping = &answer});
    assert_false(reaches(0, 1));
    answer.asked_by = 1;
    answer.sent_ms = net.now_ms - liveness_options_default.silence_max_ms - 1;
    step(0, (struct liveness_event){.type = LIVENESS_PING, .ping = &answer});
    assert_false(reaches(0, 1));
    answer.sent_ms = net.now_ms + 1;
    step(0, (struct liveness_event){.type = LIVENESS_PING, .ping = &answer});
    assert_false(reaches(0, 1));
    answer.sent_ms = net.now_ms;
    step(0, (struct liveness_event){.type = LIVENESS_PING, .ping = &answer});
    assert_true(reaches(0, 1));
}

static void pings_meant_for_others_and_from_strangers_are_not_answered(void **state)
{
    struct ping ping = {.from = id_of(1), .to = 4711, .incarnation = 1};

    (void)state;
    set_up(2);
    step(0, (struct liveness_event){.type = LIVENESS_PING, .ping = &ping});
    ping.to = id_of(0);
    ping.from = 4711;
    step(0, (struct liveness_event){.type = LIVENESS_PING, .ping = &ping});
    ping.from = NODE_NONE;
    step(0, (struct liveness_event){.type = LIVENESS_PING, .ping = &ping});
    assert_int_equal(net.sent, 0);
}

static void a_node_that_stops_says_so(void **state)
{
    (void)state;
    set_up(2);
    run_ms(3000);
    step(1, (struct liveness_event){.type = LIVENESS_STOP});
    run_ms(3);
    assert_false(reaches(0, 1));
    run_ms(5000); /* it answers pings yet, but that does not count */
    assert_false(reaches(0, 1));
    assert_false(liveness_is_answering(&net.nodes[0], id_of(1)));
    start_node(1, 2);
    run_ms(3000);
    assert_true(reaches(0, 1));
}

static void peers_come_and_go_with_the_membership(void **state)
{
    node_id first[] = {5, 9, 20}, second[] = {2, 9, 20, 30};

    (void)state;
    liveness_init(&net.nodes[0], 9, 1, NULL, START_MS);
    liveness_set_peers(&net.nodes[0], first, 3, START_MS);
    assert_int_equal(net.nodes[0].peer_count, 2);
    net.nodes[0].peers[1].round_trip_us = 77;
    liveness_set_peers(&net.nodes[0], second, 4, START_MS);
    assert_int_equal(net.nodes[0].peer_count, 3);
    assert_null(liveness_find(&net.nodes[0], 5));
    assert_null(liveness_find(&net.nodes[0], 9));
    assert_non_null(liveness_find(&net.nodes[0], 2));
    assert_int_equal(liveness_find(&net.nodes[0], 20)->round_trip_us, 77);
    assert_true(liveness_deadline_ms(&net.nodes[0]) <= START_MS);
}

static void an_idle_cluster_sends_a_ping_and_an_answer_per_interval(void **state)
{
    (void)state;
    set_up(5);
    run_ms(5000);
    net.sent = 0;
    run_ms(60000);
    unsigned pairs = 5 * 4, intervals = 60000 / liveness_options_default.ping_ms;
    assert_in_range(net.sent, 2 * pairs * intervals, 2 * pairs * intervals * 115 / 100);
}

static void more_peers_than_fit_the_effects_are_served_step_by_step(void **state)
{
    static struct liveness liveness;
    node_id ids[RING_MEMBERS_MAX];
    unsigned sends = 0, losses = 0;

    (void)state;
    for (unsigned i = 0; i < RING_MEMBERS_MAX; i++)
        ids[i] = 1 + i;
    liveness_init(&liveness, 1, 1, NULL, START_MS);
    liveness_set_peers(&liveness, ids, RING_MEMBERS_MAX, START_MS);
    for (uint64_t now_ms = START_MS; now_ms < START_MS + 5100; now_ms++)
        while (liveness_deadline_ms(&liveness) <= now_ms) {
            struct liveness_effects effects = {0};
            struct liveness_event tick = {.type = LIVENESS_TICK, .now_ms = now_ms};
            liveness_step(&liveness, &tick, &effects);
            sends += now_ms == START_MS ? effects.send_count : 0;
            losses += effects.change_count;
        }
    assert_int_equal(sends, RING_MEMBERS_MAX - 1);
    assert_int_equal(losses, RING_MEMBERS_MAX - 1);
}

/* Any faults, then peace: everybody reaches everybody, within the longest silence and hold. */
static void after_any_faults_all_find_each_other_within_a_bound(void **state)
{
    struct random random = {.state = 11};

    (void)state;
    for (unsigned run = 0; run < 15; run++) {
        set_up(4);
        for (unsigned i = 0; i < 80; i++) {
            unsigned a = random_below(&random, 4), b = random_below(&random, 4);
            switch (random_below(&random, 5)) {
            case 0: cut_both(a, b, random_chance(&random, 50)); break;
            case 1: cut(a, b, random_chance(&random, 50)); break;
            case 2: net.latency_ms[a][b] = random_below(&random, 300); break;
            case 3: net.is_stopped[a] = random_chance(&random, 50); break;
            case 4: start_node(a, net.now_ms); break;
            }
            run_ms(random_below(&random, 1500));
        }
        memset(net.is_cut, 0, sizeof net.is_cut);
        memset(net.is_stopped, 0, sizeof net.is_stopped);
        run_ms(liveness_options_default.silence_max_ms + liveness_options_default.hold_max_ms +
               2000);
        for (unsigned i = 0; i < 4; i++)
            for (unsigned j = 0; j < 4; j++)
                assert_true(reaches(i, j));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peers_find_each_other_with_the_first_answer),
        cmocka_unit_test(a_dead_peer_is_noticed_within_the_bound),
        cmocka_unit_test(one_that_never_answered_is_given_up_and_said_so),
        cmocka_unit_test(a_slow_but_living_peer_is_never_believed_gone),
        cmocka_unit_test(one_that_grows_slow_by_and_by_may_become_very_slow),
        cmocka_unit_test(a_link_cut_one_way_is_noticed_at_both_ends),
        cmocka_unit_test(a_link_that_flaps_is_left_alone_for_longer_and_longer),
        cmocka_unit_test(a_fast_flapping_link_changes_opinions_rarely_and_recovers),
        cmocka_unit_test(while_it_returns_it_answers_but_is_not_relied_on),
        cmocka_unit_test(a_lost_link_is_believed_at_once),
        cmocka_unit_test(replies_to_requests_keep_a_peer_alive_and_measure_it),
        cmocka_unit_test(hedging_follows_the_latency_between_its_bounds),
        cmocka_unit_test(a_late_answer_makes_it_ping_at_once),
        cmocka_unit_test(who_slept_gives_its_peers_the_time_back),
        cmocka_unit_test(a_restart_is_told_by_the_incarnation_once),
        cmocka_unit_test(answers_to_an_earlier_life_or_from_long_ago_prove_nothing),
        cmocka_unit_test(pings_meant_for_others_and_from_strangers_are_not_answered),
        cmocka_unit_test(a_node_that_stops_says_so),
        cmocka_unit_test(peers_come_and_go_with_the_membership),
        cmocka_unit_test(an_idle_cluster_sends_a_ping_and_an_answer_per_interval),
        cmocka_unit_test(more_peers_than_fit_the_effects_are_served_step_by_step),
        cmocka_unit_test(after_any_faults_all_find_each_other_within_a_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
