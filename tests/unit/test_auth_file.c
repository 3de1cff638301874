/* server/auth_file.c */
#include "server/auth_file.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char path[] = "/tmp/ringcached-test-logins-XXXXXX";

static struct slice slice_of(const char *text)
{
    return (struct slice){ (const unsigned char *)text, strlen(text) };
}

static bool load(const char *content)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(content, file);
    fclose(file);
    return auth_file_load(path);
}

static bool admits(const char *user, const char *password)
{
    return auth_file_check(slice_of(user), slice_of(password));
}

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 || close(fd) != 0;
}

static int remove_file(void **state)
{
    (void)state;
    auth_file_clear();
    return unlink(path);
}

static void nobody_is_admitted_before_a_file_was_loaded(void **state)
{
    (void)state;
    auth_file_clear();
    assert_false(admits("foo", "bar"));
    assert_false(admits("", ""));
}

static void each_user_is_admitted_with_their_password_only(void **state)
{
    (void)state;
    assert_true(load("foo:bar\nbaz:qux\n"));
    assert_true(admits("foo", "bar"));
    assert_true(admits("baz", "qux"));
    assert_false(admits("foo", "qux"));
    assert_false(admits("foo", "ba"));
    assert_false(admits("foo", "bar2"));
    assert_false(admits("fo", "bar"));
    assert_false(admits("", "bar"));
    assert_false(admits("foo", ""));
}

static void a_password_may_have_colons_and_spaces(void **state)
{
    (void)state;
    assert_true(load("u:a:b c\n"));
    assert_true(admits("u", "a:b c"));
    assert_false(admits("u:a", "b c"));
}

static void line_ends_of_all_kinds_and_empty_lines_do_no_harm(void **state)
{
    (void)state;
    assert_true(load("a:1\r\n\n\r\nb:2"));
    assert_true(admits("a", "1"));
    assert_true(admits("b", "2"));
}

static void eight_users_fit_and_nine_do_not(void **state)
{
    (void)state;
    assert_true(load("a:1\nb:1\nc:1\nd:1\ne:1\nf:1\ng:1\nh:1\n"));
    assert_true(admits("h", "1"));
    assert_false(load("a:1\nb:1\nc:1\nd:1\ne:1\nf:1\ng:1\nh:1\ni:1\n"));
}

static void a_line_of_256_bytes_fits_and_one_more_does_not(void **state)
{
    char line[300], password[260];

    (void)state;
    memset(password, 'p', sizeof password);
    password[254] = '\0';
    snprintf(line, sizeof line, "u:%s\n", password);
    assert_true(load(line));
    assert_true(admits("u", password));
    password[254] = 'p';
    password[255] = '\0';
    snprintf(line, sizeof line, "u:%s\n", password);
    assert_false(load(line));
}

static void a_malformed_file_changes_nothing(void **state)
{
    (void)state;
    assert_true(load("foo:bar\n"));
    assert_false(load("new:one\nno colon\n"));
    assert_true(admits("foo", "bar"));
    assert_false(admits("new", "one"));
    assert_false(load(":nobody\n"));
    assert_true(admits("foo", "bar"));
}

static void a_missing_file_changes_nothing(void **state)
{
    (void)state;
    assert_true(load("foo:bar\n"));
    assert_false(auth_file_load("/nonexistent/logins"));
    assert_true(admits("foo", "bar"));
}

static void a_reload_forgets_who_is_no_longer_there(void **state)
{
    (void)state;
    assert_true(load("foo:bar\n"));
    assert_true(load("foo:new\n"));
    assert_false(admits("foo", "bar"));
    assert_true(admits("foo", "new"));
}

static void an_oversized_login_is_refused(void **state)
{
    static const char zeroes[4096];

    (void)state;
    assert_true(load("foo:bar\n"));
    assert_false(auth_file_check((struct slice){ (const unsigned char *)zeroes, sizeof zeroes },
                                 slice_of("bar")));
    assert_false(auth_file_check(slice_of("foo"),
                                 (struct slice){ (const unsigned char *)zeroes, sizeof zeroes }));
    assert_false(auth_file_check((struct slice){ .size = 0 }, (struct slice){ .size = 0 }));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_is_admitted_before_a_file_was_loaded),
        cmocka_unit_test(each_user_is_admitted_with_their_password_only),
        cmocka_unit_test(a_password_may_have_colons_and_spaces),
        cmocka_unit_test(line_ends_of_all_kinds_and_empty_lines_do_no_harm),
        cmocka_unit_test(eight_users_fit_and_nine_do_not),
        cmocka_unit_test(a_line_of_256_bytes_fits_and_one_more_does_not),
        cmocka_unit_test(a_malformed_file_changes_nothing),
        cmocka_unit_test(a_missing_file_changes_nothing),
        cmocka_unit_test(a_reload_forgets_who_is_no_longer_there),
        cmocka_unit_test(an_oversized_login_is_refused),
    };

    return cmocka_run_group_tests(tests, make_file, remove_file);
}
