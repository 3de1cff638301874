/* Whole conversations over the meta protocol. */
#include "server/settings.h"
#include "tests/unit/conversation.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A clock that moves on whenever it is looked at, as it does on a busy machine. */
static long ticks_ms, tick_ms;

/* In the place of the C library's. */
int clock_gettime(clockid_t id, struct timespec *time)
{
    const long failed = syscall(SYS_clock_gettime, id, time);

    if (id == CLOCK_MONOTONIC) {
        ticks_ms += tick_ms;
        time->tv_sec += ticks_ms / 1000;
        time->tv_nsec += ticks_ms % 1000 * 1000000;
        if (time->tv_nsec >= 1000000000) {
            time->tv_sec++;
            time->tv_nsec -= 1000000000;
        }
    }
    return (int)failed;
}

static void flags_come_back_in_the_order_asked(void **state)
{
    (void)state;
    converse({ "ms k 3 F5 T100\r\nabc\r\n", "HD\r\n" },
             { "mg k s f v t k O9\r\n", "VA 3 s3 f5 t100 kk O9\r\nabc\r\n" },
             { "mg k\r\n", "HD\r\n" }, { "mg none k O1\r\n", "EN knone O1\r\n" },
             { "mg none q\r\nmn\r\n", "MN\r\n" });
}

static void the_first_hit_and_the_last_access_are_told(void **state)
{
    (void)state;
    says("ms k 1\r\na\r\n", "HD\r\n");
    pass_seconds(5);
    says("mg k h l u\r\n", "HD h0 l5\r\n");
    says("mg k h l\r\n", "HD h0 l5\r\n");
    says("mg k h\r\n", "HD h1\r\n");
}

static void a_base64_key_is_stored_raw_and_shown_encoded(void **state)
{
    (void)state;
    converse({ "ms Zm9v 3 b\r\nbar\r\n", "HD\r\n" }, { "get foo\r\n", "VALUE foo 0 3\r\nbar\r\nEND\r\n" },
             { "mg Zm9v b k v\r\n", "VA 3 kZm9v b\r\nbar\r\n" },
             { "mg foo k\r\n", "HD kZm9v b\r\n" });
}

static void modes_of_ms_are_add_append_prepend_replace_set(void **state)
{
    (void)state;
    converse({ "ms k 1 MR\r\na\r\n", "NS\r\n" }, { "ms k 1 MA\r\na\r\n", "NS\r\n" },
             { "ms k 1 ME\r\na\r\n", "HD\r\n" }, { "ms k 1 ME\r\nb\r\n", "NS\r\n" },
             { "ms k 1 MA s\r\nb\r\n", "HD s2\r\n" }, { "ms k 1 MP\r\n0\r\n", "HD\r\n" },
             { "mg k v\r\n", "VA 3\r\n0ab\r\n" }, { "ms k 1 MS\r\nz\r\n", "HD\r\n" },
             { "ms new 1 MA N60 s\r\nn\r\n", "HD s1\r\n" }, { "mg new t v\r\n", "VA 1 t60\r\nn\r\n" });
}

/* What the `c` flag of mg says of k. */
static unsigned long long cas_of_k(void)
{
    const char *answer = say("mg k c u\r\n");

    assert_memory_equal(answer, "HD c", 4);
    return strtoull(answer + 4, NULL, 10);
}

static void a_cas_may_be_chosen_and_compared(void **state)
{
    (void)state;
    converse({ "ms k 1 E1000 c\r\na\r\n", "HD c1000\r\n" },
             { "mg k c v\r\n", "VA 1 c1000\r\na\r\n" },
             { "mg k C1000 v\r\n", "HD\r\n" },
             { "ms k 1 C999\r\nb\r\n", "EX\r\n" }, { "ms k 1 C1000 E2000\r\nc\r\n", "HD\r\n" },
             { "ms none 1 C1\r\nb\r\n", "NF\r\n" }, { "md k C1\r\n", "EX\r\n" },
             { "ms k 1 MA C1\r\nd\r\n", "EX\r\n" }, { "ms k 1 MA C2000 E5\r\nd\r\n", "HD\r\n" },
             { "mg k c v\r\n", "VA 2 c5\r\ncd\r\n" }, { "md k C5\r\n", "HD\r\n" });
}

static void an_older_cas_with_invalidate_is_stored_and_stays_stale(void **state)
{
    (void)state;
    converse({ "ms k 1 E1000 T90\r\na\r\n", "HD\r\n" }, { "ms k 1 C1500 I\r\nx\r\n", "EX\r\n" },
             { "ms k 1 C900 I T5\r\nb\r\n", "HD\r\n" },
             { "mg k v t\r\n", "VA 1 t90 X W\r\nb\r\n" }, { "mg k v\r\n", "VA 1 Z X\r\nb\r\n" },
             { "ms k 1\r\nc\r\n", "HD\r\n" }, { "mg k v\r\n", "VA 1\r\nc\r\n" });
}

/* A store of a value that only two of fit into memory. */
static const char *say_large(const char *head)
{
    enum { VALUE_BYTES = 25000000 };
    const size_t head_bytes = strlen(head);
    char *text = malloc(head_bytes + VALUE_BYTES + 3);
    const char *answer;

    memcpy(text, head, head_bytes);
    memset(text + head_bytes, 'v', VALUE_BYTES);
    memcpy(text + head_bytes + VALUE_BYTES, "\r\n", 3);
    answer = say(text);
    free(text);
    return answer;
}

static void a_stale_store_whose_old_item_had_to_make_room_decides_again(void **state)
{
    (void)state;
    settings.item_bytes_max = 32 << 20;
    assert_string_equal(say_large("ms k 25000000 E1000\r\n"), "HD\r\n");
    assert_string_equal(say_large("ms k 25000000 C900 I\r\n"), "NF\r\n");
    says("mg k\r\n", "EN\r\n");
}

static void a_stale_item_has_one_winner(void **state)
{
    unsigned long long before;

    (void)state;
    says("ms k 3 T100 F7\r\nabc\r\n", "HD\r\n");
    before = cas_of_k();
    says("md k I T30\r\n", "HD\r\n");
    assert_true(cas_of_k() > before);
    converse({ "mg k v t f\r\n", "VA 3 t30 f7 Z X\r\nabc\r\n" });
    says("md k I\r\n", "HD\r\n");
    converse({ "mg k v\r\n", "VA 3 X W\r\nabc\r\n" }, { "mg k v\r\n", "VA 3 Z X\r\nabc\r\n" },
             { "set k 0 0 1\r\nn\r\n", "STORED\r\n" }, { "mg k v\r\n", "VA 1\r\nn\r\n" });
}

static void vivify_makes_an_empty_item_for_one_winner(void **state)
{
    (void)state;
    converse({ "mg k v N30 t\r\n", "VA 0 t30 W\r\n\r\n" }, { "mg k v N30 t\r\n", "VA 0 t30 Z\r\n\r\n" },
             { "mg l t N30\r\n", "HD t-1 W\r\n" },
             { "mg m N30 E77 c\r\n", "HD c77 W\r\n" });
}

static void recache_lets_one_win_when_little_time_is_left(void **state)
{
    (void)state;
    says("ms k 1 T30\r\na\r\n", "HD\r\n");
    says("mg k t R30\r\n", "HD t30\r\n");
    pass_seconds(10);
    says("mg k t R30\r\n", "HD t20 W\r\n");
    says("mg k t R30\r\n", "HD t20 Z\r\n");
}

static void a_touch_by_mg_is_shown_from_where_it_stands(void **state)
{
    (void)state;
    converse({ "ms k 1 T100\r\na\r\n", "HD\r\n" }, { "mg k t T50\r\n", "HD t100\r\n" },
             { "mg k T30 t\r\n", "HD t30\r\n" }, { "ms n 1\r\na\r\n", "HD\r\n" },
             { "mg n T20 t v\r\n", "VA 1 t20\r\na\r\n" }, { "mg k T10 R20\r\n", "HD W\r\n" },
             { "mg n R30 T90\r\n", "HD W\r\n" }, { "mg new T5 N50\r\n", "HD W\r\n" },
             { "mg new t\r\n", "HD t50 Z\r\n" }, { "mg more N50 T5 t\r\n", "HD t5 W\r\n" },
             { "ms e 1 E0\r\na\r\n", "HD\r\n" }, { "ms e 0 C0\r\n\r\n", "EX\r\n" });
}

static int start_ticking(void **state)
{
    tick_ms = 2;
    return conversation_start(state);
}

static int stop_ticking(void **state)
{
    tick_ms = 0;
    return conversation_end(state);
}

static void no_ttl_is_longer_than_what_was_asked_for(void **state)
{
    (void)state;
    converse({ "mg k N30 v t\r\n", "VA 0 t30 W\r\n\r\n" }, { "mg k T40 t\r\n", "HD t40 Z\r\n" },
             { "mg new N50 T5 t\r\n", "HD t5 W\r\n" }, { "mg newer T5 N50 t\r\n", "HD t50 W\r\n" },
             { "ma n N60 J13 t\r\n", "HD t60\r\n" }, { "ma n T70 t\r\n", "HD t70\r\n" },
             { "ms s 1 T80\r\na\r\n", "HD\r\n" }, { "mg s t R80\r\n", "HD t80\r\n" });
}

static void md_x_leaves_an_empty_item(void **state)
{
    (void)state;
    converse({ "ms k 3 F5 T100 E9\r\nabc\r\n", "HD\r\n" }, { "md k x\r\n", "HD\r\n" },
             { "mg k v f t c\r\n", "VA 0 f0 t-1 c9\r\n\r\n" }, { "md k x I T50\r\n", "HD\r\n" },
             { "mg k v t\r\n", "VA 0 t50 X W\r\n\r\n" }, { "md none x\r\n", "NF\r\n" });
}

static void ma_counts_creates_and_compares(void **state)
{
    (void)state;
    converse({ "ma n\r\n", "NF\r\n" }, { "ma n N60 J13 v t\r\n", "VA 2 t60\r\n13\r\n" },
             { "ma n v\r\n", "VA 2\r\n14\r\n" }, { "ma n MD D4 v\r\n", "VA 2\r\n10\r\n" },
             { "ma n M- D100 v\r\n", "VA 1\r\n0\r\n" }, { "ma n E44 c\r\n", "HD c44\r\n" },
             { "ma o t N9\r\n", "HD t-1\r\n" }, { "ma o t T20\r\n", "HD t9\r\n" },
             { "ma n C43\r\n", "EX\r\n" }, { "ma n C44 T90 t\r\n", "HD t90\r\n" },
             { "ms n 1\r\nx\r\n", "HD\r\n" },
             { "ma n\r\n", "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n" });
}

static void me_tells_about_an_item_without_using_it(void **state)
{
    char expected[200];
    unsigned long long cas;

    (void)state;
    says("ms k 3 T100\r\nabc\r\n", "HD\r\n");
    pass_seconds(7);
    cas = cas_of_k();
    snprintf(expected, sizeof expected, "ME k exp=93 la=7 cas=%llu fetch=no cls=1 size=", cas);
    assert_memory_equal(say("me k\r\n"), expected, strlen(expected));
    says("me none\r\n", "EN\r\n");
}

static void quiet_hides_success_and_no_failure(void **state)
{
    (void)state;
    converse({ "ms k 1 q\r\na\r\n", "" }, { "md k q\r\n", "" }, { "md k q\r\n", "NF\r\n" },
             { "ma k q\r\n", "NF\r\n" }, { "ms k 1 MR q\r\na\r\n", "NS\r\n" });
}

static void too_large_a_value_takes_the_old_one_with_it(void **state)
{
    char line[2100];

    (void)state;
    settings.item_bytes_max = 1024;
    says("ms k 1\r\na\r\n", "HD\r\n");
    snprintf(line, sizeof line, "ms k 1999\r\n%01999d\r\n", 0);
    says(line, "SERVER_ERROR object too large for cache\r\n");
    says("mg k\r\n", "EN\r\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, conversation_start, conversation_end)
    const struct CMUnitTest tests[] = {
        TEST(flags_come_back_in_the_order_asked),
        TEST(the_first_hit_and_the_last_access_are_told),
        TEST(a_base64_key_is_stored_raw_and_shown_encoded),
        TEST(modes_of_ms_are_add_append_prepend_replace_set),
        TEST(a_cas_may_be_chosen_and_compared),
        TEST(an_older_cas_with_invalidate_is_stored_and_stays_stale),
        TEST(a_stale_store_whose_old_item_had_to_make_room_decides_again),
        TEST(a_stale_item_has_one_winner),
        TEST(vivify_makes_an_empty_item_for_one_winner),
        TEST(recache_lets_one_win_when_little_time_is_left),
        TEST(a_touch_by_mg_is_shown_from_where_it_stands),
        cmocka_unit_test_setup_teardown(no_ttl_is_longer_than_what_was_asked_for, start_ticking,
                                        stop_ticking),
        TEST(md_x_leaves_an_empty_item),
        TEST(ma_counts_creates_and_compares),
        TEST(me_tells_about_an_item_without_using_it),
        TEST(quiet_hides_success_and_no_failure),
        TEST(too_large_a_value_takes_the_old_one_with_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
