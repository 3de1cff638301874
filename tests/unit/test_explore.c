/* Random histories keep the promises of tests/unit/explore/history.h; and where a history breaks
 * one of its own rules, they see it.  What they say of a cell.c with a broken rule is in
 * test_explore_broken.c. */
#include "tests/unit/explore/search.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

struct exploration {
    const char *name;
    unsigned variant;
    unsigned percent; /* of the histories wanted */
};

static const struct exploration explorations[] = {
    {"no promise breaks in the histories of the model", VARIANT_MODEL, 20},
    {"no promise breaks with tombstones, touches, expiry and clocks apart",
     VARIANT_TOMBSTONES | VARIANT_REGISTERS | VARIANT_SKEW, 10},
    {"no promise breaks when single siblings are forgotten", VARIANT_FORGET_ONE | VARIANT_REGISTERS,
     8},
    {"no promise breaks when the last write wins", VARIANT_LAST_WRITE_WINS | VARIANT_SKEW, 8},
    {"no promise breaks when the last write wins for some of the writers",
     VARIANT_MIXED | VARIANT_SKEW | VARIANT_TOMBSTONES, 8},
    {"nothing is lost and all agree where contexts are folded", VARIANT_FOLD | VARIANT_TOMBSTONES,
     8},
    {"no promise breaks when nobody forgets", VARIANT_KEEP | VARIANT_SKEW | VARIANT_TOMBSTONES, 4},
    {"what is flushed is gone, and nothing else",
     VARIANT_FLUSH | VARIANT_SKEW | VARIANT_TOMBSTONES | VARIANT_REGISTERS, 6},
    {"what is flushed lets nothing back in", VARIANT_FLUSH | VARIANT_SKEW | VARIANT_KEEP, 4},
    {"a flush and the last write win side by side",
     VARIANT_FLUSH | VARIANT_SKEW | VARIANT_MIXED | VARIANT_RESTART, 4},
    {"no deleted value comes back when its tombstone was reaped",
     VARIANT_REAP | VARIANT_TOMBSTONES | VARIANT_KEEP | VARIANT_SKEW, 6},
    {"tombstones are reaped among evictions and forgetting",
     VARIANT_REAP | VARIANT_TOMBSTONES | VARIANT_FORGET_ONE | VARIANT_FLUSH, 4},
    {"no promise breaks when nodes restart with their clocks set back",
     VARIANT_RESTART | VARIANT_SKEW | VARIANT_TOMBSTONES, 5},
    {"no promise breaks when nodes restart and the last write wins for some",
     VARIANT_RESTART | VARIANT_SKEW | VARIANT_MIXED, 2},
    {"a wrong clock does not spread", VARIANT_WRONG_CLOCK | VARIANT_SKEW | VARIANT_MIXED, 3},
};

static void explore(void **state)
{
    const struct exploration *exploration = *state;

    assert_false(search(exploration->variant, RULE_NONE, exploration->percent, ANY_PROMISE));
}

struct mutation {
    const char *name;
    enum rule rule;
    unsigned variant;
    unsigned finds; /* any of these promises broken */
};

static const struct mutation mutations[] = {
    {"caught: a replica acknowledges what it covers", RULE_REFUSE_COVERED,
     VARIANT_LAST_WRITE_WINS | VARIANT_SKEW, PROMISE(ACKED_IS_HELD)},
    {"caught: the flush filter is not for what peers send", RULE_FILTER_MERGES, VARIANT_FLUSH,
     PROMISE(FLUSHED_IS_GONE)},
    {"caught: a flush raises no clock", RULE_RAISE_CLOCK, VARIANT_FLUSH | VARIANT_SKEW,
     PROMISE(FLUSHED_IS_GONE)},
    {"caught: a read looks at expiry before it merges", RULE_EXPIRE_MERGED, VARIANT_REGISTERS,
     PROMISE(EXPIRED_IS_HIDDEN)},
    {"caught: tombstones are reaped early", RULE_REAP_LATE,
     VARIANT_REAP | VARIANT_TOMBSTONES | VARIANT_KEEP, PROMISE(STAYS_SUPERSEDED)},
    {"caught: a node that is cut off reaps", RULE_REAP_TOGETHER,
     VARIANT_REAP | VARIANT_TOMBSTONES | VARIANT_KEEP, PROMISE(STAYS_SUPERSEDED)},
    {"caught: a tombstone is reaped beside what it hides", RULE_REAP_ALONE,
     VARIANT_REAP | VARIANT_TOMBSTONES, PROMISE(STAYS_SUPERSEDED)},
    {"caught: a node keeps all it held before a long cut", RULE_RETURN_DROP,
     VARIANT_REAP | VARIANT_TOMBSTONES | VARIANT_KEEP, PROMISE(STAYS_SUPERSEDED)},
    {"caught: a node drops what it accepted since the cut, too", RULE_RETURN_KEEP,
     VARIANT_REAP | VARIANT_TOMBSTONES | VARIANT_KEEP, PROMISE(NOT_LOST)},
    {"caught: a node tells what it held before it was compared", RULE_RETURN_SILENT,
     VARIANT_REAP | VARIANT_TOMBSTONES | VARIANT_KEEP, PROMISE(STAYS_SUPERSEDED)},
    {"caught: any clock is merged", RULE_DRIFT, VARIANT_WRONG_CLOCK | VARIANT_SKEW,
     PROMISE(CLOCK_WITHIN_DRIFT)},
    {"caught: a node restarts without asking which clock it had", RULE_ASK_CEILING,
     VARIANT_RESTART | VARIANT_SKEW, PROMISE(ONE_WRITE_PER_DOT) | PROMISE(NOT_LOST)},
    {"caught: a node whose clock was wrong stays the same actor", RULE_NEW_ACTOR,
     VARIANT_WRONG_CLOCK | VARIANT_SKEW, PROMISE(ONE_WRITE_PER_DOT) | PROMISE(NOT_LOST)},
};

static void the_histories_catch(void **state)
{
    const struct mutation *mutation = *state;

    assert_true(search(mutation->variant, mutation->rule, 100, mutation->finds));
}

#define EXPLORATIONS (sizeof explorations / sizeof explorations[0])
#define MUTATIONS    (sizeof mutations / sizeof mutations[0])

int main(void)
{
    struct CMUnitTest tests[EXPLORATIONS + MUTATIONS] = {{0}};
    size_t count = 0;

    for (size_t i = 0; i < EXPLORATIONS; i++)
        tests[count++] = (struct CMUnitTest){.name = explorations[i].name,
                                             .test_func = explore,
                                             .initial_state = (void *)&explorations[i]};
    for (size_t i = 0; i < MUTATIONS; i++)
        tests[count++] = (struct CMUnitTest){.name = mutations[i].name,
                                             .test_func = the_histories_catch,
                                             .initial_state = (void *)&mutations[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
