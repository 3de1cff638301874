#include "server/report.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct report report;

static int set_up(void **state)
{
    (void)state;
    report_init(&report);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    report_deinit(&report);
    return 0;
}

/* All lines as one text. */
struct transcript {
    unsigned lines;
    size_t used;
    char text[256];
};

static void add_line(void *context, const char *name, const char *value)
{
    struct transcript *transcript = context;

    transcript->lines++;
    if (transcript->used < sizeof transcript->text)
        transcript->used +=
            (size_t)snprintf(transcript->text + transcript->used,
                             sizeof transcript->text - transcript->used, "%s=%s|", name, value);
}

static void lines_come_in_the_order_in_which_they_were_added(void **state)
{
    struct transcript transcript = {0};

    (void)state;
    report_text(&report, NULL, "node", "a");
    report_u64(&report, "b:2", "hints", UINT64_MAX);
    report_bool(&report, "c", "is_cut", true);
    report_bool(&report, "c", "reaches_us", false);
    report_format(&report, NULL, "id", "%03x", 10);
    report_text(&report, NULL, "owners_down", "");
    report_visit(&report, add_line, &transcript);
    assert_string_equal(transcript.text, "node=a|b:2:hints=18446744073709551615|c:is_cut=yes|"
                                         "c:reaches_us=no|id=00a|owners_down=|");
}

static void an_empty_report_has_no_lines(void **state)
{
    struct transcript transcript = {0};

    (void)state;
    report_visit(&report, add_line, &transcript);
    assert_int_equal(transcript.lines, 0);
    assert_null(report_find(&report, "node"));
}

static void a_line_is_found_by_its_whole_name(void **state)
{
    (void)state;
    report_text(&report, "a", "version", "1");
    report_text(&report, NULL, "versions", "2");
    report_text(&report, NULL, "version", "3");
    report_text(&report, NULL, "version", "4");
    assert_string_equal(report_find(&report, "version"), "3");
    assert_string_equal(report_find(&report, "a:version"), "1");
    assert_null(report_find(&report, "vers"));
    assert_null(report_find(&report, "2")); /* a value is no name */
}

static void a_report_of_many_lines_grows(void **state)
{
    struct transcript transcript = {0};
    char *value = malloc(100001);

    (void)state;
    assert_non_null(value);
    memset(value, 'x', 100000);
    value[100000] = '\0';
    for (unsigned i = 0; i < 5000; i++)
        report_u64(&report, "n", "i", i);
    report_text(&report, NULL, "long", value);
    report_visit(&report, add_line, &transcript);
    assert_int_equal(transcript.lines, 5001);
    assert_string_equal(report_find(&report, "long"), value);
    assert_false(report.is_short_of_memory);
    free(value);
}

static void an_error_says_whose_it_is_and_is_cut_where_it_is_too_long(void **state)
{
    char text[1000];

    (void)state;
    assert_string_equal(report.error, "");
    report_client_error(&report, "there is no node %s", "x");
    assert_string_equal(report.error, "CLIENT_ERROR there is no node x");
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    report_server_error(&report, "%s", text);
    assert_int_equal(strlen(report.error), REPORT_ERROR_BYTES - 1);
    assert_memory_equal(report.error, "SERVER_ERROR yyy", 16);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines_come_in_the_order_in_which_they_were_added),
        TEST(an_empty_report_has_no_lines),
        TEST(a_line_is_found_by_its_whole_name),
        TEST(a_report_of_many_lines_grows),
        TEST(an_error_says_whose_it_is_and_is_cut_where_it_is_too_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
