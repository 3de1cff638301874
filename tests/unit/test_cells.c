/* Several values of one key: context writes, and what plain commands make of them. */
#include "server/cells.h"
#include "server/settings.h"
#include "tests/unit/conversation.h"
#include <stdio.h>
#include <stdlib.h>

#define TEXT_MAX 4000

/* The context that `mg key y` shows, with its @. */
static void context_of(const char *key, char context[TEXT_MAX])
{
    char line[300];
    const char *answer;

    snprintf(line, sizeof line, "mg %s y u\r\n", key);
    answer = say(line);
    assert_memory_equal(answer, "HD y@", 5);
    snprintf(context, TEXT_MAX, "%.*s", (int)strcspn(answer + 4, "\r"), answer + 4);
}

/* Stores under the context; what is answered. */
static const char *store_with(const char *key, const char *context, const char *value)
{
    static char line[TEXT_MAX + 400];

    snprintf(line, sizeof line, "cas %s 0 0 %zu %s\r\n%s\r\n", key, strlen(value), context, value);
    return say(line);
}

static unsigned long long token_of(const char *key)
{
    char line[300];

    snprintf(line, sizeof line, "mg %s c u\r\n", key);
    return strtoull(say(line) + 4, NULL, 10);
}

/* How many values `mg key n` says there are. */
static unsigned count_of(const char *key)
{
    char line[300];
    const char *answer;

    snprintf(line, sizeof line, "mg %s n u\r\n", key);
    answer = say(line);
    assert_memory_equal(answer, "HD n", 4);
    return (unsigned)strtoul(answer + 4, NULL, 10);
}

/* Two writers that saw the same; k then has "left" and "right". */
static void make_two(char seen[TEXT_MAX])
{
    says("set k 0 0 4\r\nbase\r\n", "STORED\r\n");
    context_of("k", seen);
    assert_string_equal(store_with("k", seen, "left"), "STORED\r\n");
    assert_string_equal(store_with("k", seen, "right"), "STORED\r\n");
}

static void a_write_that_saw_everything_leaves_one_value(void **state)
{
    char context[TEXT_MAX];

    (void)state;
    says("set k 0 0 1\r\na\r\n", "STORED\r\n");
    context_of("k", context);
    assert_string_equal(store_with("k", context, "b"), "STORED\r\n");
    assert_int_equal(count_of("k"), 1);
    says("get k\r\n", "VALUE k 0 1\r\nb\r\nEND\r\n");
}

static void a_stale_context_leaves_both_values(void **state)
{
    char seen[TEXT_MAX], now[TEXT_MAX], expected[3 * TEXT_MAX];

    (void)state;
    make_two(seen);
    assert_int_equal(count_of("k"), 2);
    context_of("k", now);
    assert_string_not_equal(seen, now);
    snprintf(expected, sizeof expected,
             "VALUE k 0 5 %s\r\nright\r\nVALUE k 0 4 %s\r\nleft\r\nEND\r\n", now, now);
    says("vget k\r\n", expected);
    says("get k\r\n", "VALUE k 0 5\r\nright\r\nEND\r\n");
}

static void the_context_of_all_values_supersedes_them_all(void **state)
{
    char seen[TEXT_MAX], now[TEXT_MAX];

    (void)state;
    make_two(seen);
    context_of("k", now);
    assert_string_equal(store_with("k", now, "merged"), "STORED\r\n");
    assert_int_equal(count_of("k"), 1);
    says("get k\r\n", "VALUE k 0 6\r\nmerged\r\nEND\r\n");
}

static void the_empty_context_has_seen_nothing(void **state)
{
    (void)state;
    assert_string_equal(store_with("k", "@", "a"), "STORED\r\n");
    assert_string_equal(store_with("k", "@", "b"), "STORED\r\n");
    assert_int_equal(count_of("k"), 2);
    assert_string_equal(store_with("k", "@", "b"), "STORED\r\n");
    assert_int_equal(count_of("k"), 2);
}

static void a_plain_set_or_delete_supersedes_all(void **state)
{
    char seen[TEXT_MAX];

    (void)state;
    make_two(seen);
    says("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    assert_int_equal(count_of("k"), 1);
    make_two(seen);
    says("delete k\r\n", "DELETED\r\n");
    says("vget k\r\n", "END\r\n");
}

static void the_token_names_the_state_with_all_its_values(void **state)
{
    char seen[TEXT_MAX], line[200];
    unsigned long long token, earlier;

    (void)state;
    says("set k 0 0 4\r\nbase\r\n", "STORED\r\n");
    context_of("k", seen);
    assert_string_equal(store_with("k", seen, "left"), "STORED\r\n");
    earlier = token_of("k");
    assert_string_equal(store_with("k", seen, "right"), "STORED\r\n");
    token = token_of("k");
    assert_true(token > earlier);
    snprintf(line, sizeof line, "cas k 0 0 1 %llu\r\nx\r\n", earlier);
    says(line, "EXISTS\r\n");
    assert_int_equal(count_of("k"), 2);
    snprintf(line, sizeof line, "cas k 0 0 1 %llu\r\nx\r\n", token);
    says(line, "STORED\r\n");
    assert_int_equal(count_of("k"), 1);
}

static void a_context_delete_removes_what_was_seen(void **state)
{
    char seen[TEXT_MAX], left[TEXT_MAX], line[TEXT_MAX + 100];
    unsigned long long before;

    (void)state;
    says("set k 0 0 4\r\nbase\r\n", "STORED\r\n");
    context_of("k", seen);
    assert_string_equal(store_with("k", seen, "left"), "STORED\r\n");
    context_of("k", left);
    assert_string_equal(store_with("k", seen, "right"), "STORED\r\n");
    before = token_of("k");
    snprintf(line, sizeof line, "delete k %s\r\n", seen);
    says(line, "DELETED\r\n"); /* covers nothing that is left */
    assert_int_equal(count_of("k"), 2);
    assert_true(token_of("k") == before);
    snprintf(line, sizeof line, "delete k %s\r\n", left);
    says(line, "DELETED\r\n");
    assert_int_equal(count_of("k"), 1);
    assert_true(token_of("k") > before);
    says("get k\r\n", "VALUE k 0 5\r\nright\r\nEND\r\n");
    context_of("k", left);
    snprintf(line, sizeof line, "delete k %s\r\n", left);
    says(line, "DELETED\r\n");
    says("get k\r\n", "END\r\n");
    says(line, "DELETED\r\n");
}

static void a_write_after_a_context_delete_leaves_no_false_sibling(void **state)
{
    char seen[TEXT_MAX], left[TEXT_MAX], now[TEXT_MAX], line[TEXT_MAX + 100];

    (void)state;
    says("set k 0 0 4\r\nbase\r\n", "STORED\r\n");
    context_of("k", seen);
    assert_string_equal(store_with("k", seen, "left"), "STORED\r\n");
    context_of("k", left);
    assert_string_equal(store_with("k", seen, "right"), "STORED\r\n");
    context_of("k", now);
    snprintf(line, sizeof line, "delete k %s\r\n", left);
    says(line, "DELETED\r\n");
    assert_string_equal(store_with("k", now, "new"), "STORED\r\n");
    assert_int_equal(count_of("k"), 1);
}

static void invalidating_is_no_new_write_to_a_context(void **state)
{
    char seen[TEXT_MAX];

    (void)state;
    says("set k 0 0 1\r\na\r\n", "STORED\r\n");
    context_of("k", seen);
    says("md k I\r\n", "HD\r\n");
    says("touch k 100\r\n", "TOUCHED\r\n");
    assert_string_equal(store_with("k", seen, "b"), "STORED\r\n");
    assert_int_equal(count_of("k"), 1);
}

static void a_forged_or_foreign_context_changes_nothing(void **state)
{
    char seen[TEXT_MAX], line[TEXT_MAX + 100];

    (void)state;
    says("set k 0 0 1\r\na\r\n", "STORED\r\n");
    says("set l 0 0 1\r\na\r\n", "STORED\r\n");
    context_of("l", seen);
    assert_string_equal(store_with("k", seen, "b"), "CLIENT_ERROR bad context\r\n");
    context_of("k", seen);
    seen[5] = seen[5] == 'A' ? 'B' : 'A';
    assert_string_equal(store_with("k", seen, "b"), "CLIENT_ERROR bad context\r\n");
    snprintf(line, sizeof line, "delete k %s\r\n", seen);
    says(line, "CLIENT_ERROR bad context\r\n");
    says("vget none\r\nget k\r\n", "END\r\nVALUE k 0 1\r\na\r\nEND\r\n");
}

static void more_siblings_than_allowed_are_refused(void **state)
{
    char value[16];

    (void)state;
    settings.siblings_max = 3;
    for (unsigned i = 0; i < 3; i++) {
        snprintf(value, sizeof value, "v%u", i);
        assert_string_equal(store_with("k", "@", value), "STORED\r\n");
    }
    assert_string_equal(store_with("k", "@", "v3"), "SERVER_ERROR too many siblings\r\n");
    assert_string_equal(store_with("k", "@", "v0"), "STORED\r\n");
    assert_int_equal(count_of("k"), 3);
}

static void plain_commands_act_on_the_value_they_show(void **state)
{
    char seen[TEXT_MAX];

    (void)state;
    make_two(seen);
    says("append k 0 0 1\r\n!\r\n", "STORED\r\n");
    says("get k\r\n", "VALUE k 0 6\r\nright!\r\nEND\r\n");
    assert_int_equal(count_of("k"), 1);
    says("set k 0 0 1\r\n1\r\n", "STORED\r\n");
    context_of("k", seen);
    assert_string_equal(store_with("k", seen, "10"), "STORED\r\n");
    assert_string_equal(store_with("k", seen, "20"), "STORED\r\n");
    says("incr k 1\r\n", "21\r\n");
    assert_int_equal(count_of("k"), 1);
    make_two(seen);
    says("md k I\r\n", "HD\r\n");
    says("mg k v\r\n", "VA 5 X W\r\nright\r\n");
}

static void touch_keeps_all_values_and_the_token(void **state)
{
    char seen[TEXT_MAX];
    unsigned long long token;

    (void)state;
    make_two(seen);
    token = token_of("k");
    says("touch k 50\r\n", "TOUCHED\r\n");
    says("mg k T60 t n\r\n", "HD t60 n2\r\n");
    assert_true(token_of("k") == token);
    pass_seconds(61);
    says("vget k\r\n", "END\r\n");
}

static void an_expired_value_is_not_shown_beside_the_others(void **state)
{
    char line[TEXT_MAX + 100], seen[TEXT_MAX];

    (void)state;
    says("set k 0 0 4\r\nbase\r\n", "STORED\r\n");
    context_of("k", seen);
    assert_string_equal(store_with("k", seen, "stays"), "STORED\r\n");
    snprintf(line, sizeof line, "cas k 0 10 5 %s\r\ngoing\r\n", seen);
    says(line, "STORED\r\n");
    says("get k\r\n", "VALUE k 0 5\r\ngoing\r\nEND\r\n");
    pass_seconds(11);
    says("get k\r\n", "VALUE k 0 5\r\nstays\r\nEND\r\n");
    assert_int_equal(count_of("k"), 1);
    context_of("k", seen);
    assert_string_equal(store_with("k", seen, "after"), "STORED\r\n");
    assert_int_equal(count_of("k"), 1);
}

static void ms_returns_the_context_for_the_next_write(void **state)
{
    char line[TEXT_MAX + 100], context[TEXT_MAX];
    const char *answer;

    (void)state;
    says("set k 0 0 4\r\nbase\r\n", "STORED\r\n");
    answer = say("ms k 1 y\r\na\r\n");
    for (unsigned i = 0; i < 5; i++) {
        assert_memory_equal(answer, "HD y@", 5);
        snprintf(context, sizeof context, "%.*s", (int)strcspn(answer + 4, "\r"), answer + 4);
        snprintf(line, sizeof line, "ms k 1 Y%s y\r\n%u\r\n", context, i);
        answer = say(line);
    }
    says("mg k n v\r\n", "VA 1 n1\r\n4\r\n");
}

static void values_longer_than_the_buffer_are_kept_side_by_side(void **state)
{
    static char line[20000], value[8000];
    const char *answer;

    (void)state;
    memset(value, 'x', sizeof value - 1);
    snprintf(line, sizeof line, "cas k 0 0 %zu @\r\n%s\r\n", strlen(value), value);
    says(line, "STORED\r\n");
    assert_string_equal(store_with("k", "@", "short"), "STORED\r\n");
    answer = say("vget k\r\n");
    assert_non_null(strstr(answer, "short"));
    assert_non_null(strstr(answer, value));
    assert_int_equal(count_of("k"), 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, conversation_start, conversation_end)
    const struct CMUnitTest tests[] = {
        TEST(a_write_that_saw_everything_leaves_one_value),
        TEST(a_stale_context_leaves_both_values),
        TEST(the_context_of_all_values_supersedes_them_all),
        TEST(the_empty_context_has_seen_nothing),
        TEST(a_plain_set_or_delete_supersedes_all),
        TEST(the_token_names_the_state_with_all_its_values),
        TEST(a_context_delete_removes_what_was_seen),
        TEST(a_write_after_a_context_delete_leaves_no_false_sibling),
        TEST(invalidating_is_no_new_write_to_a_context),
        TEST(a_forged_or_foreign_context_changes_nothing),
        TEST(more_siblings_than_allowed_are_refused),
        TEST(plain_commands_act_on_the_value_they_show),
        TEST(touch_keeps_all_values_and_the_token),
        TEST(an_expired_value_is_not_shown_beside_the_others),
        TEST(ms_returns_the_context_for_the_next_write),
        TEST(values_longer_than_the_buffer_are_kept_side_by_side),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
