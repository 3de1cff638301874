/* Outcomes: a command that comes twice is done once. */
#include "ring/outcomes.h"
#include "tests/unit/random.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>

#define ROOM 8

static struct outcome_entry entries[ROOM];
static struct outcomes outcomes;
static const struct outcome_entry *known;

static enum outcomes_begin begin(uint64_t number, uint64_t now_ms)
{
    return outcomes_begin(&outcomes, (struct request_id){7, number}, now_ms, &known);
}

static bool finish(uint64_t number, uint64_t saved)
{
    return outcomes_finish(&outcomes, (struct request_id){7, number}, ANSWER_WRITE_FAILED, 1, 2,
                           saved);
}

static void a_repeat_waits_for_the_answer_and_then_gets_the_same(void **state)
{
    (void)state;
    outcomes_init(&outcomes, entries, ROOM, 100);
    assert_int_equal(begin(1, 0), OUTCOMES_NEW);
    assert_int_equal(begin(1, 1), OUTCOMES_RUNNING);
    assert_int_equal(outcomes_begin(&outcomes, (struct request_id){8, 1}, 1, &known), OUTCOMES_NEW);
    assert_true(finish(1, 55));
    assert_int_equal(begin(1, 99), OUTCOMES_KNOWN);
    assert_int_equal(known->answer, ANSWER_WRITE_FAILED);
    assert_int_equal(known->got, 1);
    assert_int_equal(known->needed, 2);
    assert_int_equal(known->saved, 55);
    assert_false(finish(1, 56)); /* answered before */
    assert_false(finish(2, 57)); /* never begun */
}

static void what_has_no_room_is_refused_until_others_are_forgotten(void **state)
{
    uint64_t saved = 99;

    (void)state;
    outcomes_init(&outcomes, entries, ROOM, 100);
    assert_int_equal(outcomes_deadline_ms(&outcomes), UINT64_MAX);
    for (unsigned i = 0; i < ROOM; i++)
        assert_int_equal(begin(i, i), OUTCOMES_NEW);
    assert_true(finish(0, 55));
    assert_int_equal(begin(ROOM, 9), OUTCOMES_FULL);
    assert_int_equal(outcomes_deadline_ms(&outcomes), 100);
    assert_false(outcomes_expire(&outcomes, 99, &saved));
    assert_true(outcomes_expire(&outcomes, 101, &saved));
    assert_int_equal(saved, 55);
    assert_true(outcomes_expire(&outcomes, 101, &saved));
    assert_int_equal(saved, 0);
    assert_false(outcomes_expire(&outcomes, 101, &saved));
    assert_int_equal(begin(ROOM, 101), OUTCOMES_NEW);
    assert_false(finish(0, 58)); /* forgotten */
}

static void they_agree_with_a_list_over_long_random_use(void **state)
{
    struct random random = {3};
    struct {
        uint64_t number, expires_ms, saved;
    } list[ROOM];
    unsigned used = 0;
    uint64_t now_ms = 0;

    (void)state;
    outcomes_init(&outcomes, entries, ROOM, 50);
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t saved = 0, number = random_below(&random, 40);
        now_ms += random_below(&random, 10);
        while (outcomes_expire(&outcomes, now_ms, &saved)) {
            assert_true(used > 0 && list[0].expires_ms <= now_ms);
            assert_int_equal(list[0].saved, saved);
            memmove(list, list + 1, --used * sizeof list[0]);
        }
        assert_true(used == 0 || list[0].expires_ms > now_ms);
        unsigned at = 0;
        while (at < used && list[at].number != number)
            at++;
        if (random_chance(&random, 40)) {
            bool is_open = at < used && list[at].saved == 0;
            assert_int_equal(finish(number, i + 1), is_open);
            if (is_open)
                list[at].saved = i + 1;
            continue;
        }
        enum outcomes_begin found = begin(number, now_ms);
        if (at < used && list[at].saved == 0)
            assert_int_equal(found, OUTCOMES_RUNNING);
        else if (at < used)
            assert_int_equal(found, OUTCOMES_KNOWN);
        else if (used == ROOM)
            assert_int_equal(found, OUTCOMES_FULL);
        else
            assert_int_equal(found, OUTCOMES_NEW);
        if (found == OUTCOMES_KNOWN)
            assert_int_equal(known->saved, list[at].saved);
        if (found == OUTCOMES_NEW) {
            list[used].number = number;
            list[used].expires_ms = now_ms + 50;
            list[used++].saved = 0;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_repeat_waits_for_the_answer_and_then_gets_the_same),
        cmocka_unit_test(what_has_no_room_is_refused_until_others_are_forgotten),
        cmocka_unit_test(they_agree_with_a_list_over_long_random_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
