/* The exploration against ring/ with one rule broken, which it has to find: that shows that its
 * checks bite.  EXPLORE_BROKEN names the rule that ring/ was compiled without, EXPLORE_VARIANT the
 * histories that have to show it, and EXPLORE_FINDS the promise that they have to find broken. */
#include "tests/unit/explore/search.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

static void the_histories_catch_the_broken_rule(void **state)
{
    (void)state;
    print_message("broken rule: %s\n", EXPLORE_BROKEN);
    assert_true(search(EXPLORE_VARIANT, RULE_NONE, 100, EXPLORE_FINDS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_histories_catch_the_broken_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
