/* Hints: what is kept for owners that could not be reached. */
#include "ring/hints.h"
#include "tests/unit/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { TARGETS = 6 };
#define ALICE 11
#define BOB   12

static const struct hints_options options = {
    .bytes_max = 1000, .lifetime_ms = 60000, .retry_ms = 1000, .pause_max_ms = 8000};

struct fixture {
    struct hints hints;
    struct hints_target targets[TARGETS];
    struct token_bucket bucket;
    struct hints_effects effects;
    uint64_t now_ms;
};

static void set_up(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    f->now_ms = 5000;
    hints_init(&f->hints, &options, f->targets, TARGETS, 1);
    token_bucket_init(&f->bucket, 1000000, 1000000, f->now_ms);
}

static void step(struct fixture *f, struct hints_event event)
{
    memset(&f->effects, 0, sizeof f->effects);
    event.now_ms = f->now_ms;
    event.bucket = &f->bucket;
    hints_step(&f->hints, &event, &f->effects);
}

static void tick(struct fixture *f)
{
    step(f, (struct hints_event){.type = HINTS_TICK});
}

static void reach(struct fixture *f, node_id node)
{
    step(f, (struct hints_event){.type = HINTS_REACHABLE, .target = node});
}

static void lose(struct fixture *f, node_id node)
{
    step(f, (struct hints_event){.type = HINTS_UNREACHABLE, .target = node});
}

static void answer(struct fixture *f, node_id from, uint64_t number, enum hint_result result)
{
    struct hint_ack ack = {.from = from, .to = 1, .number = number, .result = result};

    step(f, (struct hints_event){.type = HINTS_ACK, .ack = &ack});
}

static enum hints_add add(struct fixture *f, struct hinted *cell, struct hint *hint, node_id target,
                          uint32_t bytes)
{
    return hints_add(&f->hints, cell, hint, target, bytes, f->now_ms);
}

/* Adds `count` hints for Alice, of so many bytes each. */
static void add_all(struct fixture *f, struct hinted *cells, struct hint *hints, unsigned count,
                    uint32_t bytes)
{
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(add(f, &cells[i], &hints[i], ALICE, bytes), HINTS_ADDED);
}

/* One hint of 100 bytes, on its way to Alice under the number that is returned. */
static uint64_t set_up_on_its_way(struct fixture *f, struct hinted *cell, struct hint *hint)
{
    *cell = (struct hinted){.key_hash = 1};
    set_up(f);
    add_all(f, cell, hint, 1, 100);
    reach(f, ALICE);
    assert_int_equal(f->effects.deliver_count, 1);
    return f->effects.delivers[0].number;
}

static void a_hint_waits_for_its_target(void **state)
{
    struct fixture f;
    struct hinted cell = {.key_hash = 1};
    struct hint hint;

    (void)state;
    set_up(&f);
    assert_int_equal(add(&f, &cell, &hint, ALICE, 100), HINTS_ADDED);
    tick(&f);
    assert_int_equal(f.effects.deliver_count, 0);
    assert_int_equal(hints_left(&f.hints, ALICE), 1);
    reach(&f, BOB);
    assert_int_equal(f.effects.deliver_count, 0);
    reach(&f, ALICE);
    assert_int_equal(f.effects.deliver_count, 1);
    assert_ptr_equal(f.effects.delivers[0].hint, &hint);
    assert_int_equal(f.effects.delivers[0].target, ALICE);
}

static void only_the_acknowledgement_ends_it(void **state)
{
    struct fixture f;
    struct hinted cell;
    struct hint hint;
    uint64_t number = set_up_on_its_way(&f, &cell, &hint);

    (void)state;
    assert_int_equal(f.effects.release_count, 0);
    assert_int_equal(hints_left(&f.hints, ALICE), 1);
    assert_int_equal(f.hints.bytes_used, 100);
    answer(&f, ALICE, number, HINT_STORED);
    assert_int_equal(f.effects.release_count, 1);
    assert_int_equal(f.effects.releases[0].reason, HINTS_DELIVERED);
    assert_ptr_equal(f.effects.releases[0].hint, &hint);
    assert_int_equal(hints_left(&f.hints, ALICE), 0);
    assert_int_equal(f.hints.bytes_used, 0);
    assert_null(cell.first);
    assert_int_equal(hints_deadline_ms(&f.hints, &f.bucket), UINT64_MAX);
}

static void without_an_answer_it_is_sent_again_under_another_number(void **state)
{
    struct fixture f;
    struct hinted cell;
    struct hint hint;
    uint64_t number = set_up_on_its_way(&f, &cell, &hint);

    (void)state;
    assert_int_equal(hints_deadline_ms(&f.hints, &f.bucket), f.now_ms + options.retry_ms);
    f.now_ms += options.retry_ms;
    tick(&f);
    assert_int_equal(f.effects.deliver_count, 1);
    assert_int_not_equal(f.effects.delivers[0].number, number);
    answer(&f, ALICE, number, HINT_STORED); /* too late, and so ignored */
    assert_int_equal(f.effects.release_count, 0);
    assert_int_equal(hints_left(&f.hints, ALICE), 1);
}

static void repeated_and_foreign_answers_end_nothing(void **state)
{
    struct fixture f;
    struct hinted cells[2] = {{.key_hash = 1}, {.key_hash = 2}};
    struct hint hints[2];

    (void)state;
    set_up(&f);
    add_all(&f, cells, hints, 2, 10);
    reach(&f, BOB);
    reach(&f, ALICE);
    assert_int_equal(f.effects.deliver_count, 2);
    uint64_t number = f.effects.delivers[0].number;
    answer(&f, BOB, number, HINT_STORED);
    answer(&f, 99, number, HINT_STORED);
    answer(&f, NODE_NONE, number, HINT_STORED);
    assert_int_equal(hints_left(&f.hints, ALICE), 2);
    answer(&f, ALICE, number, HINT_STORED);
    answer(&f, ALICE, number, HINT_STORED);
    assert_int_equal(hints_left(&f.hints, ALICE), 1);
}

static void a_cell_stored_anew_while_its_hint_is_on_the_way_is_sent_again(void **state)
{
    struct fixture f;
    struct hinted cell;
    struct hint hint, spare;
    uint64_t first = set_up_on_its_way(&f, &cell, &hint);

    (void)state;
    assert_int_equal(add(&f, &cell, &spare, ALICE, 120), HINTS_REPEATED);
    assert_int_equal(f.hints.bytes_used, 120);
    answer(&f, ALICE, first, HINT_STORED);
    assert_int_equal(f.effects.release_count, 0);
    assert_int_equal(f.effects.deliver_count, 1);
    answer(&f, ALICE, f.effects.delivers[0].number, HINT_STORED);
    assert_int_equal(f.effects.release_count, 1);
}

static void a_cell_has_one_hint_for_each_of_its_targets(void **state)
{
    struct fixture f;
    struct hinted cell = {.key_hash = 1};
    struct hint a, b, c;

    (void)state;
    set_up(&f);
    assert_int_equal(add(&f, &cell, &a, ALICE, 100), HINTS_ADDED);
    assert_int_equal(add(&f, &cell, &b, BOB, 10), HINTS_ADDED);
    assert_int_equal(add(&f, &cell, &c, ALICE, 50), HINTS_REPEATED);
    assert_int_equal(f.hints.count, 2);
    assert_int_equal(f.hints.bytes_used, 60);
    assert_ptr_equal(hints_find(&f.hints, &cell, ALICE), &a);
    assert_ptr_equal(hints_find(&f.hints, &cell, BOB), &b);
    hints_drop(&f.hints, &a);
    assert_null(hints_find(&f.hints, &cell, ALICE));
    assert_ptr_equal(hints_find(&f.hints, &cell, BOB), &b);

    struct hinted moved = cell;
    hints_moved(&moved);
    hints_drop(&f.hints, &b);
    assert_null(moved.first);
}

static void the_bound_refuses_what_would_pass_it(void **state)
{
    struct fixture f;
    struct hinted cells[3] = {{.key_hash = 1}, {.key_hash = 2}, {.key_hash = 3}};
    struct hint hints[3];

    (void)state;
    set_up(&f);
    assert_int_equal(add(&f, &cells[0], &hints[0], ALICE, 600), HINTS_ADDED);
    assert_int_equal(add(&f, &cells[1], &hints[1], ALICE, 401), HINTS_NO_ROOM);
    assert_int_equal(add(&f, &cells[1], &hints[1], ALICE, 400), HINTS_ADDED);
    assert_int_equal(f.hints.bytes_used, options.bytes_max);
    assert_int_equal(add(&f, &cells[2], &hints[2], BOB, 1), HINTS_NO_ROOM);
    assert_int_equal(add(&f, &cells[1], &hints[2], ALICE, 401), HINTS_NO_ROOM);
    assert_int_equal(add(&f, &cells[1], &hints[2], ALICE, 399), HINTS_REPEATED);
    assert_int_equal(add(&f, &cells[2], &hints[2], BOB, 1), HINTS_ADDED);
    assert_int_equal(f.hints.bytes_used, options.bytes_max);
}

static void what_is_too_old_is_dropped_and_counted(void **state)
{
    struct fixture f;
    struct hinted cells[2] = {{.key_hash = 1}, {.key_hash = 2}};
    struct hint hints[2], spare;

    (void)state;
    set_up(&f);
    assert_int_equal(add(&f, &cells[0], &hints[0], ALICE, 1), HINTS_ADDED);
    uint64_t made_ms = f.now_ms;
    f.now_ms += 1000;
    assert_int_equal(add(&f, &cells[1], &hints[1], ALICE, 1), HINTS_ADDED);
    assert_int_equal(add(&f, &cells[0], &spare, ALICE, 1), HINTS_REPEATED); /* as old as before */
    assert_int_equal(hints_deadline_ms(&f.hints, &f.bucket), made_ms + options.lifetime_ms);
    f.now_ms = made_ms + options.lifetime_ms - 1;
    tick(&f);
    assert_int_equal(f.effects.release_count, 0);
    f.now_ms++;
    reach(&f, ALICE); /* too late for one of them */
    assert_int_equal(f.effects.release_count, 1);
    assert_ptr_equal(f.effects.releases[0].hint, &hints[0]);
    assert_int_equal(f.effects.releases[0].reason, HINTS_EXPIRED);
    assert_int_equal(f.effects.deliver_count, 1);
    assert_ptr_equal(f.effects.delivers[0].hint, &hints[1]);
    assert_int_equal(hints_target_at(&f.hints, 0)->expired, 1);
}

static void more_of_them_than_fit_the_effects_are_dropped_step_by_step(void **state)
{
    enum { MANY = 3 * HINTS_RELEASES_MAX };
    struct fixture f;
    struct hinted cells[MANY] = {0};
    struct hint hints[MANY];
    unsigned released = 0;

    (void)state;
    set_up(&f);
    add_all(&f, cells, hints, MANY, 1);
    f.now_ms += options.lifetime_ms;
    reach(&f, ALICE);
    assert_int_equal(f.effects.deliver_count, 0);
    released += f.effects.release_count;
    while (hints_deadline_ms(&f.hints, &f.bucket) <= f.now_ms) {
        tick(&f);
        assert_int_equal(f.effects.deliver_count, 0);
        released += f.effects.release_count;
    }
    assert_int_equal(released, MANY);
    assert_int_equal(hints_target_at(&f.hints, 0)->expired, MANY);
}

static void hints_for_a_node_that_left_are_handed_back(void **state)
{
    struct fixture f;
    struct hinted cells[2] = {{.key_hash = 1}, {.key_hash = 2}};
    struct hint hints[2];

    (void)state;
    set_up(&f);
    add_all(&f, cells, hints, 2, 10);
    reach(&f, ALICE);
    answer(&f, ALICE, f.effects.delivers[0].number, HINT_NOT_OWNER);
    assert_int_equal(f.effects.release_count, 1);
    assert_int_equal(f.effects.releases[0].reason, HINTS_UNOWNED);
    step(&f, (struct hints_event){.type = HINTS_GONE, .target = ALICE});
    assert_int_equal(f.effects.release_count, 1);
    assert_int_equal(f.effects.releases[0].reason, HINTS_UNOWNED);
    assert_int_equal(f.hints.count, 0);
}

static void who_refuses_is_left_alone_for_longer_and_longer(void **state)
{
    struct fixture f;
    struct hinted cell;
    struct hint hint;
    uint64_t pause_ms = options.retry_ms;

    (void)state;
    set_up_on_its_way(&f, &cell, &hint);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(f.effects.deliver_count, 1);
        answer(&f, ALICE, f.effects.delivers[0].number, HINT_REFUSED);
        assert_int_equal(f.effects.deliver_count, 0);
        assert_int_equal(hints_deadline_ms(&f.hints, &f.bucket), f.now_ms + pause_ms);
        f.now_ms += pause_ms;
        pause_ms = 2 * pause_ms < options.pause_max_ms ? 2 * pause_ms : options.pause_max_ms;
        tick(&f);
    }
}

static void a_burst_of_refusals_counts_as_one(void **state)
{
    struct fixture f;
    struct hinted cells[4] = {0};
    struct hint hints[4];
    uint64_t numbers[4];

    (void)state;
    set_up(&f);
    add_all(&f, cells, hints, 4, 10);
    reach(&f, ALICE);
    assert_int_equal(f.effects.deliver_count, 4);
    for (unsigned i = 0; i < 4; i++)
        numbers[i] = f.effects.delivers[i].number;
    for (unsigned i = 0; i < 4; i++)
        answer(&f, ALICE, numbers[i], HINT_REFUSED);
    assert_int_equal(hints_deadline_ms(&f.hints, &f.bucket), f.now_ms + options.retry_ms);
}

static void deliveries_wait_for_tokens(void **state)
{
    struct fixture f;
    struct hinted cells[2] = {0};
    struct hint hints[2];

    (void)state;
    set_up(&f);
    token_bucket_init(&f.bucket, 100, 1, f.now_ms);
    add_all(&f, cells, hints, 2, 101);
    reach(&f, ALICE);
    assert_int_equal(f.effects.deliver_count, 1);
    answer(&f, ALICE, f.effects.delivers[0].number, HINT_STORED);
    assert_int_equal(f.effects.deliver_count, 0);
    uint64_t ready_ms = hints_deadline_ms(&f.hints, &f.bucket);
    assert_int_equal(ready_ms, f.now_ms + 1001);
    f.now_ms = ready_ms;
    tick(&f);
    assert_int_equal(f.effects.deliver_count, 1);
}

static void targets_take_turns(void **state)
{
    enum { EACH = 40 };
    struct fixture f;
    static struct hinted cells[2 * EACH];
    static struct hint hints[2 * EACH];
    unsigned for_bob = 0;

    (void)state;
    set_up(&f);
    memset(cells, 0, sizeof cells);
    for (unsigned i = 0; i < 2 * EACH; i++)
        assert_int_equal(add(&f, &cells[i], &hints[i], i < EACH ? ALICE : BOB, 1), HINTS_ADDED);
    token_bucket_init(&f.bucket, 0, 0, f.now_ms);
    reach(&f, ALICE);
    reach(&f, BOB);
    assert_int_equal(f.effects.deliver_count, 0);
    token_bucket_init(&f.bucket, 1000, 1000, f.now_ms);
    tick(&f);
    for (unsigned i = 0; i < f.effects.deliver_count; i++)
        for_bob += f.effects.delivers[i].target == BOB;
    assert_int_equal(f.effects.deliver_count, HINTS_DELIVERS_MAX);
    assert_int_equal(for_bob, HINTS_DELIVERS_MAX / 2);
}

static void a_ping_can_tell_how_old_the_oldest_is(void **state)
{
    struct fixture f;
    struct hinted cells[2] = {0};
    struct hint hints[2];

    (void)state;
    set_up(&f);
    assert_int_equal(hints_oldest_age_ms(&f.hints, ALICE, f.now_ms), 0);
    assert_int_equal(add(&f, &cells[0], &hints[0], ALICE, 1), HINTS_ADDED);
    f.now_ms += 300;
    reach(&f, ALICE); /* the oldest is on the way: it counts until it is acknowledged */
    uint64_t number = f.effects.delivers[0].number;
    lose(&f, ALICE);
    reach(&f, ALICE);
    uint64_t again = f.effects.delivers[0].number;
    assert_int_equal(add(&f, &cells[1], &hints[1], ALICE, 1), HINTS_ADDED);
    f.now_ms += 200;
    assert_int_equal(hints_oldest_age_ms(&f.hints, ALICE, f.now_ms), 500);
    answer(&f, ALICE, number, HINT_STORED);
    assert_int_equal(hints_left(&f.hints, ALICE), 2);
    answer(&f, ALICE, again, HINT_STORED);
    assert_int_equal(hints_left(&f.hints, ALICE), 1);
    assert_int_equal(hints_oldest_age_ms(&f.hints, ALICE, f.now_ms), 200);
}

/* A world of cells with versions, targets that lose, repeat and refuse, and a model of what must
 * be: the targets' versions, and the sum of bytes. */
enum { CELLS = 40, NODES = 4, FLIGHT = 64 };

struct world {
    struct fixture f;
    struct random random;
    struct hinted cells[CELLS];
    struct hint *hints[CELLS][NODES];
    unsigned version[CELLS];
    unsigned wanted[CELLS][NODES]; /* the version that the target must get, 0: none */
    unsigned held[CELLS][NODES];   /* what it has */
    uint64_t made_ms[CELLS][NODES];
    struct {
        node_id from;
        uint64_t number;
        enum hint_result result;
    } flight[FLIGHT];
    unsigned flight_count, expired;
    bool is_calm; /* nothing goes wrong any more */
};

static void put_in_flight(struct world *w, node_id from, uint64_t number, enum hint_result result)
{
    if (w->flight_count == FLIGHT)
        return;
    w->flight[w->flight_count].from = from;
    w->flight[w->flight_count].number = number;
    w->flight[w->flight_count++].result = result;
}

static void carry_out(struct world *w)
{
    struct hints_effects *effects = &w->f.effects;

    for (unsigned i = 0; i < effects->deliver_count; i++) {
        const struct hints_deliver *deliver = &effects->delivers[i];
        size_t cell = (size_t)(deliver->hint->cell - w->cells), node = deliver->target - 1;
        if (!w->is_calm && random_chance(&w->random, 30))
            continue; /* lost */
        enum hint_result result = HINT_STORED;
        if (!w->is_calm && random_chance(&w->random, 10))
            result = HINT_REFUSED;
        else if (w->held[cell][node] < w->version[cell])
            w->held[cell][node] = w->version[cell];
        put_in_flight(w, deliver->target, deliver->number, result);
        if (random_chance(&w->random, 10))
            put_in_flight(w, deliver->target, deliver->number, result);
    }
    for (unsigned i = 0; i < effects->release_count; i++) {
        const struct hints_release *release = &effects->releases[i];
        size_t node = release->target - 1, cell = 0;
        while (cell < CELLS && w->hints[cell][node] != release->hint)
            cell++;
        assert_true(cell < CELLS);
        if (release->reason == HINTS_DELIVERED)
            assert_true(w->held[cell][node] >= w->wanted[cell][node]); /* never before the ack */
        else
            assert_true(w->f.now_ms >= w->made_ms[cell][node] + options.lifetime_ms);
        w->expired += release->reason == HINTS_EXPIRED;
        free(w->hints[cell][node]);
        w->hints[cell][node] = NULL;
    }
}

static void add_some(struct world *w)
{
    unsigned cell = random_below(&w->random, CELLS), node = random_below(&w->random, NODES);
    uint32_t bytes = 1 + random_below(&w->random, 60);
    struct hint *hint = malloc(sizeof *hint);

    assert_non_null(hint);
    switch (add(&w->f, &w->cells[cell], hint, node + 1, bytes)) {
    case HINTS_ADDED:
        assert_null(w->hints[cell][node]);
        w->hints[cell][node] = hint;
        w->made_ms[cell][node] = w->f.now_ms;
        w->wanted[cell][node] = ++w->version[cell];
        return;
    case HINTS_REPEATED:
        assert_non_null(w->hints[cell][node]);
        w->wanted[cell][node] = ++w->version[cell];
        break;
    case HINTS_NO_ROOM: assert_true(w->f.hints.bytes_used + bytes > options.bytes_max); break;
    }
    free(hint);
}

static void check_sums(const struct world *w)
{
    uint64_t bytes = 0, count = 0, left = 0;

    for (unsigned c = 0; c < CELLS; c++)
        for (unsigned n = 0; n < NODES; n++)
            if (w->hints[c][n] != NULL) {
                bytes += w->hints[c][n]->bytes;
                count++;
                assert_ptr_equal(hints_find(&w->f.hints, &w->cells[c], n + 1), w->hints[c][n]);
            }
    for (unsigned n = 0; n < NODES; n++)
        left += hints_left(&w->f.hints, n + 1);
    assert_int_equal(bytes, w->f.hints.bytes_used);
    assert_int_equal(count, w->f.hints.count);
    assert_int_equal(count, left);
    assert_true(bytes <= options.bytes_max);
}

static void wander(struct world *w)
{
    unsigned node = random_below(&w->random, NODES) + 1;

    switch (random_below(&w->random, 8)) {
    case 0:
    case 1: add_some(w); return;
    case 2: reach(&w->f, node); break;
    case 3:
        if (!w->is_calm)
            lose(&w->f, node);
        else
            tick(&w->f);
        break;
    case 4: {
        unsigned cell = random_below(&w->random, CELLS);
        if (w->is_calm || w->hints[cell][node - 1] == NULL || random_chance(&w->random, 80))
            return;
        hints_drop(&w->f.hints, w->hints[cell][node - 1]);
        free(w->hints[cell][node - 1]);
        w->hints[cell][node - 1] = NULL;
        return;
    }
    default:
        if (w->flight_count > 0) {
            unsigned i = random_below(&w->random, w->flight_count);
            node_id from = w->flight[i].from;
            uint64_t number = w->flight[i].number;
            enum hint_result result = w->flight[i].result;
            w->flight[i] = w->flight[--w->flight_count];
            answer(&w->f, from, number, result);
        } else {
            tick(&w->f);
        }
    }
    carry_out(w);
}

static void whatever_happens_none_is_lost_and_all_are_delivered(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        static struct world w;
        memset(&w, 0, sizeof w);
        w.random.state = seed;
        set_up(&w.f);
        for (unsigned i = 0; i < 600; i++) {
            w.f.now_ms += random_below(&w.random, 400);
            wander(&w);
            check_sums(&w);
        }
        w.is_calm = true; /* from here on it all drains by deadlines */
        for (unsigned n = 1; n <= NODES; n++) {
            reach(&w.f, n);
            carry_out(&w);
        }
        for (unsigned i = 0; w.f.hints.count > 0; i++) {
            assert_true(i < 2000);
            if (w.flight_count > 0) {
                unsigned last = --w.flight_count;
                answer(&w.f, w.flight[last].from, w.flight[last].number, w.flight[last].result);
            } else {
                uint64_t deadline_ms = hints_deadline_ms(&w.f.hints, &w.f.bucket);
                assert_true(deadline_ms != UINT64_MAX);
                if (deadline_ms > w.f.now_ms)
                    w.f.now_ms = deadline_ms;
                tick(&w.f);
            }
            carry_out(&w);
            check_sums(&w);
        }
        uint64_t counted = 0;
        for (unsigned i = 0; i < TARGETS; i++)
            if (hints_target_at(&w.f.hints, i) != NULL)
                counted += hints_target_at(&w.f.hints, i)->expired;
        assert_int_equal(counted, w.expired);
        assert_int_equal(hints_deadline_ms(&w.f.hints, &w.f.bucket), UINT64_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hint_waits_for_its_target),
        cmocka_unit_test(only_the_acknowledgement_ends_it),
        cmocka_unit_test(without_an_answer_it_is_sent_again_under_another_number),
        cmocka_unit_test(repeated_and_foreign_answers_end_nothing),
        cmocka_unit_test(a_cell_stored_anew_while_its_hint_is_on_the_way_is_sent_again),
        cmocka_unit_test(a_cell_has_one_hint_for_each_of_its_targets),
        cmocka_unit_test(the_bound_refuses_what_would_pass_it),
        cmocka_unit_test(what_is_too_old_is_dropped_and_counted),
        cmocka_unit_test(more_of_them_than_fit_the_effects_are_dropped_step_by_step),
        cmocka_unit_test(hints_for_a_node_that_left_are_handed_back),
        cmocka_unit_test(who_refuses_is_left_alone_for_longer_and_longer),
        cmocka_unit_test(a_burst_of_refusals_counts_as_one),
        cmocka_unit_test(deliveries_wait_for_tokens),
        cmocka_unit_test(targets_take_turns),
        cmocka_unit_test(a_ping_can_tell_how_old_the_oldest_is),
        cmocka_unit_test(whatever_happens_none_is_lost_and_all_are_delivered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
