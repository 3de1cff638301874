/* Whole conversations over the classic text protocol: the real parser, executor and store. */
#include "server/settings.h"
#include "server/worker.h"
#include "tests/unit/conversation.h"
#include <stdio.h>
#include <stdlib.h>

static void a_value_comes_back_as_it_was_stored(void **state)
{
    (void)state;
    converse({ "set k 5 0 3\r\nabc\r\n", "STORED\r\n" },
             { "get k\r\n", "VALUE k 5 3\r\nabc\r\nEND\r\n" },
             { "get nothing\r\n", "END\r\n" },
             { "get k nothing k\r\n", "VALUE k 5 3\r\nabc\r\nVALUE k 5 3\r\nabc\r\nEND\r\n" },
             { "set empty 0 0 0\r\n\r\n", "STORED\r\n" },
             { "get empty\r\n", "VALUE empty 0 0\r\n\r\nEND\r\n" });
}

static void add_replace_append_and_prepend_keep_their_conditions(void **state)
{
    (void)state;
    converse({ "add k 1 0 1\r\na\r\n", "STORED\r\n" },
             { "add k 1 0 1\r\nb\r\n", "NOT_STORED\r\n" },
             { "replace k 2 0 1\r\nc\r\n", "STORED\r\n" },
             { "replace x 2 0 1\r\nc\r\n", "NOT_STORED\r\n" },
             { "append k 9 0 2\r\nde\r\n", "STORED\r\n" },
             { "prepend k 9 0 2\r\nab\r\n", "STORED\r\n" },
             { "append x 0 0 1\r\nz\r\n", "NOT_STORED\r\n" },
             { "get k\r\n", "VALUE k 2 5\r\nabcde\r\nEND\r\n" });
}

/* The cas of `key` as `gets` shows it. */
static unsigned long long cas_of(const char *key)
{
    char line[300], *end;
    const char *at;

    snprintf(line, sizeof line, "gets %s\r\n", key);
    at = strstr(say(line), "\r\n");
    assert_non_null(at);
    while (at[-1] != ' ')
        at--;
    return strtoull(at, &end, 10);
}

static void cas_stores_only_over_the_version_that_the_client_knows(void **state)
{
    char line[200];
    unsigned long long before;

    (void)state;
    says("cas k 0 0 1 7\r\na\r\n", "NOT_FOUND\r\n");
    says("set k 0 0 1\r\na\r\n", "STORED\r\n");
    before = cas_of("k");
    says("cas k 0 0 1 7\r\nb\r\n", "EXISTS\r\n");
    snprintf(line, sizeof line, "cas k 0 0 1 %llu\r\nc\r\n", before);
    says(line, "STORED\r\n");
    says(line, "EXISTS\r\n");
    assert_true(cas_of("k") > before);
    says("get k\r\n", "VALUE k 0 1\r\nc\r\nEND\r\n");
}

static void without_cas_every_cas_fails_and_shows_zero(void **state)
{
    (void)state;
    settings.uses_cas = false;
    converse({ "set k 0 0 1\r\na\r\n", "STORED\r\n" },
             { "gets k\r\n", "VALUE k 0 1 0\r\na\r\nEND\r\n" },
             { "cas k 0 0 1 0\r\nb\r\n", "EXISTS\r\n" });
}

static void noreply_answers_nothing(void **state)
{
    (void)state;
    converse({ "set k 0 0 1 noreply\r\na\r\n", "" }, { "delete k noreply\r\n", "" },
             { "incr k 1 noreply\r\n", "" }, { "flush_all noreply\r\n", "" },
             { "verbosity 0 noreply\r\n", "" }, { "get k\r\n", "END\r\n" });
}

static void incr_wraps_and_decr_stops_at_zero(void **state)
{
    (void)state;
    converse({ "incr n 1\r\n", "NOT_FOUND\r\n" },
             { "set n 3 0 20\r\n18446744073709551615\r\n", "STORED\r\n" },
             { "incr n 2\r\n", "1\r\n" },
             { "get n\r\n", "VALUE n 3 20\r\n1                   \r\nEND\r\n" },
             { "decr n 5\r\n", "0\r\n" }, { "set n 0 0 2\r\n99\r\n", "STORED\r\n" },
             { "incr n 1\r\n", "100\r\n" }, { "get n\r\n", "VALUE n 0 3\r\n100\r\nEND\r\n" },
             { "decr n 1\r\n", "99\r\n" }, { "get n\r\n", "VALUE n 0 3\r\n99 \r\nEND\r\n" });
}

static void values_are_read_as_numbers_like_strtoull_does(void **state)
{
    static const char not_numeric[] =
        "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n";
    static const struct {
        const char *value, *answer;
    } cases[] = {
        { " 1", "2\r\n" },    { "1 a", "2\r\n" }, { "+5", "6\r\n" },    { "1a", not_numeric },
        { "", not_numeric },  { " ", not_numeric }, { "-1", not_numeric }, { "x", not_numeric },
        { "18446744073709551616", not_numeric },  { "0x1", not_numeric },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[100];

        snprintf(line, sizeof line, "set n 0 0 %zu\r\n%s\r\n", strlen(cases[i].value),
                 cases[i].value);
        says(line, "STORED\r\n");
        says("incr n 1\r\n", cases[i].answer);
    }
}

static void incr_changes_the_cas_and_keeps_the_expiry(void **state)
{
    unsigned long long before;

    (void)state;
    says("set n 0 100 1\r\n1\r\n", "STORED\r\n");
    before = cas_of("n");
    says("incr n 99\r\n", "100\r\n");
    assert_true(cas_of("n") > before);
    pass_seconds(101);
    says("get n\r\n", "END\r\n");
}

static void an_item_lives_for_as_long_as_was_said(void **state)
{
    (void)state;
    converse({ "set k 0 10 1\r\na\r\n", "STORED\r\n" },
             { "set dead 0 -1 1\r\na\r\n", "STORED\r\n" }, { "get dead\r\n", "END\r\n" });
    pass_seconds(9);
    says("get k\r\n", "VALUE k 0 1\r\na\r\nEND\r\n");
    pass_seconds(2);
    says("get k\r\n", "END\r\n");
}

static void touch_and_gat_change_the_expiry_and_not_the_cas(void **state)
{
    unsigned long long before;

    (void)state;
    says("touch k 10\r\n", "NOT_FOUND\r\n");
    says("set k 7 0 1\r\na\r\n", "STORED\r\n");
    before = cas_of("k");
    says("touch k 10\r\n", "TOUCHED\r\n");
    assert_true(cas_of("k") == before);
    pass_seconds(9);
    says("gat 100 k nothing\r\n", "VALUE k 7 1\r\na\r\nEND\r\n");
    pass_seconds(50);
    says("gat 0 k\r\n", "VALUE k 7 1\r\na\r\nEND\r\n");
    pass_seconds(1000);
    says("touch k -1\r\n", "TOUCHED\r\n");
    says("get k\r\n", "END\r\n");
}

static void delete_says_whether_there_was_something(void **state)
{
    (void)state;
    converse({ "delete k\r\n", "NOT_FOUND\r\n" }, { "set k 0 0 1\r\na\r\n", "STORED\r\n" },
             { "delete k\r\n", "DELETED\r\n" }, { "get k\r\n", "END\r\n" });
}

static void flush_all_empties_at_once_or_at_its_time(void **state)
{
    (void)state;
    says("set k 0 0 1\r\na\r\n", "STORED\r\n");
    says("flush_all\r\n", "OK\r\n");
    says("get k\r\n", "END\r\n");
    says("set k 0 0 1\r\nb\r\n", "STORED\r\n");
    says("flush_all 10\r\n", "OK\r\n");
    says("get k\r\n", "VALUE k 0 1\r\nb\r\nEND\r\n");
    pass_seconds(11);
    says("get k\r\n", "END\r\n");
    says("set k 0 0 1\r\nc\r\n", "STORED\r\n");
    says("get k\r\n", "VALUE k 0 1\r\nc\r\nEND\r\n");
    settings.allows_flush = false;
    says("flush_all\r\n", "CLIENT_ERROR flush_all not allowed\r\n");
}

/* Stores `bytes` bytes under `key`; whether it says STORED. */
static bool stores(const char *key, size_t bytes)
{
    char head[400];
    size_t head_bytes, size;
    char *input;
    bool is_stored;

    head_bytes = (size_t)snprintf(head, sizeof head, "set %s 0 0 %zu\r\n", key, bytes);
    size = head_bytes + bytes + 2;
    input = malloc(size);
    memset(input, 'v', size);
    memcpy(input, head, head_bytes);
    memcpy(input + size - 2, "\r\n", 2);
    is_stored = strcmp((const char *)say_bytes((struct slice){ (unsigned char *)input, size }).bytes,
                       "STORED\r\n") == 0;
    free(input);
    return is_stored;
}

static void the_largest_value_is_the_one_of_memcached(void **state)
{
    char key[251] = { 0 };

    (void)state;
    memset(key, 'k', 250);
    assert_true(stores("k", 1048516));
    assert_false(stores("k", 1048517));
    says("get k\r\n", "END\r\n"); /* a set that fails leaves no old value */
    assert_true(stores(key, 1048267));
    assert_false(stores(key, 1048268));
}

static void a_long_value_is_sent_from_its_item(void **state)
{
    const char *answer;

    (void)state;
    assert_true(stores("k", 100000));
    answer = say("get k\r\n");
    assert_memory_equal(answer, "VALUE k 0 100000\r\nv", 19);
    assert_int_equal(strlen(answer), 18 + 100000 + 2 + 5);
    assert_string_equal(answer + 18 + 100000, "\r\nEND\r\n");
}

static void a_value_read_later_is_stored_like_one_at_hand(void **state)
{
    (void)state;
    assert_string_equal(say_slowly("set k 1 0 3\r\nabc\r\nget k\r\n"),
                        "STORED\r\nVALUE k 1 3\r\nabc\r\nEND\r\n");
    assert_string_equal(say_slowly("append k 1 0 3\r\ndef\r\n"), "STORED\r\n");
    assert_string_equal(say_slowly("set k 1 0 3\r\nabcdefghi\r\n"),
                        "CLIENT_ERROR bad data chunk\r\nERROR\r\n");
    says("get k\r\n", "VALUE k 1 6\r\nabcdef\r\nEND\r\n");
}

static void each_command_is_counted_as_memcached_counts(void **state)
{
    struct counters *counters = &workers_get(0)->counters;

    (void)state;
    say("get a\r\nset a 0 0 1\r\n1\r\nget a a\r\nadd a 0 0 1\r\n1\r\nincr a 1\r\nincr b 1\r\n"
        "decr b 1\r\ntouch a 0\r\ntouch b 0\r\ngat 0 a b\r\ndelete a\r\ndelete a\r\n"
        "cas a 0 0 1 1\r\na\r\nme a\r\nmg a v\r\n");
    assert_int_equal(counter_get(&counters->cmd_get), 4);
    assert_int_equal(counter_get(&counters->get_hits), 2);
    assert_int_equal(counter_get(&counters->get_misses), 2);
    assert_int_equal(counter_get(&counters->cmd_set), 3);
    assert_int_equal(counter_get(&counters->incr_hits), 1);
    assert_int_equal(counter_get(&counters->incr_misses), 1);
    assert_int_equal(counter_get(&counters->decr_misses), 1);
    assert_int_equal(counter_get(&counters->cmd_touch), 4);
    assert_int_equal(counter_get(&counters->touch_hits), 2);
    assert_int_equal(counter_get(&counters->touch_misses), 2);
    assert_int_equal(counter_get(&counters->delete_hits), 1);
    assert_int_equal(counter_get(&counters->delete_misses), 1);
    assert_int_equal(counter_get(&counters->cas_misses), 1);
    assert_int_equal(counter_get(&counters->cmd_meta), 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, conversation_start, conversation_end)
    const struct CMUnitTest tests[] = {
        TEST(a_value_comes_back_as_it_was_stored),
        TEST(add_replace_append_and_prepend_keep_their_conditions),
        TEST(cas_stores_only_over_the_version_that_the_client_knows),
        TEST(without_cas_every_cas_fails_and_shows_zero),
        TEST(noreply_answers_nothing),
        TEST(incr_wraps_and_decr_stops_at_zero),
        TEST(values_are_read_as_numbers_like_strtoull_does),
        TEST(incr_changes_the_cas_and_keeps_the_expiry),
        TEST(an_item_lives_for_as_long_as_was_said),
        TEST(touch_and_gat_change_the_expiry_and_not_the_cas),
        TEST(delete_says_whether_there_was_something),
        TEST(flush_all_empties_at_once_or_at_its_time),
        TEST(the_largest_value_is_the_one_of_memcached),
        TEST(a_long_value_is_sent_from_its_item),
        TEST(a_value_read_later_is_stored_like_one_at_hand),
        TEST(each_command_is_counted_as_memcached_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
