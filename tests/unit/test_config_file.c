/* server/config_file.c and server/policy.c */
#include "server/config_file.h"
#include "server/options.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* after those */
#include <cmocka.h>

#define NOW_MS 1000000

/* A file with some text, read. */
struct read_file {
    char path[32];
    struct settings settings;
    struct policies policies;
    char *errors;
    bool is_fine;
};

static void write_file(char path[32], const char *text)
{
    strcpy(path, "/tmp/test-config-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void read_file_init(struct read_file *file, const char *text)
{
    size_t bytes;
    FILE *errors = open_memstream(&file->errors, &bytes);

    write_file(file->path, text);
    settings_init(&file->settings);
    file->is_fine = config_file_read(&file->settings, &file->policies, file->path, errors);
    fclose(errors);
}

static void read_file_deinit(struct read_file *file)
{
    unlink(file->path);
    settings_deinit(&file->settings);
    config_file_clear();
    free(file->errors);
}

static void check_complaint(const char *text, const char *complaint)
{
    struct read_file file;
    char expected[256];

    read_file_init(&file, text);
    snprintf(expected, sizeof expected, "%s:%s", file.path, complaint);
    assert_false(file.is_fine);
    if (strstr(file.errors, expected) == NULL)
        fail_msg("%s\nwas refused with: %s", text, file.errors);
    read_file_deinit(&file);
}

static void settings_are_the_long_options_and_the_suboptions(void **state)
{
    struct read_file file;

    (void)state;
    read_file_init(&file, "port = 11222;\nmemory-limit = \"2g\";\nidle_timeout = 300;\n"
                          "listen = [ \"127.0.0.1\", \"[::1]\" ];\nverbose = 2;\n"
                          "disable-cas = true;\ndisable-evictions = false;\n"
                          "time-scale = 2.5;\nslab_automove = 2;\n");
    assert_string_equal(file.errors, "");
    assert_true(file.is_fine);
    assert_int_equal(file.settings.tcp_port, 11222);
    assert_int_equal(file.settings.limit_bytes, 2048ull << 20);
    assert_int_equal(file.settings.idle_timeout_s, 300);
    assert_int_equal(file.settings.listen_count, 2);
    assert_int_equal(file.settings.verbosity, 2);
    assert_false(file.settings.uses_cas);
    assert_true(file.settings.evicts);
    assert_int_equal(file.settings.accepted.slab_automove, 2);
    assert_true(file.settings.time_scale > 2.4 && file.settings.time_scale < 2.6);
    read_file_deinit(&file);
}

static void what_is_wrong_is_said_with_file_and_line(void **state)
{
    (void)state;
    check_complaint("threads = 2;\nprt = 5;\n", "2: prt: there is no such setting");
    check_complaint("port = \"x\";\n", "1: port: \"x\" is not a number from");
    check_complaint("\n\nthreads = 0;\n", "3: threads: \"0\" is not a number from 1");
    check_complaint("disable-cas = \"yes\";\n", "1: disable-cas: is a flag");
    check_complaint("verbose = 100;\n", "1: verbose: is a flag");
    check_complaint("port = { };\n", "1: port: takes NUM");
    check_complaint("help = true;\n", "1: help: goes on the command line only");
    check_complaint("config = \"other\";\n", "1: config: goes on the command line only");
    check_complaint("memory-file = \"f\";\n", "1: memory-file: ringcached keeps no memory file");
    check_complaint("port = ;\n", "1: syntax error");
}

static void everything_that_is_wrong_is_said_at_once(void **state)
{
    struct read_file file;

    (void)state;
    read_file_init(&file, "prt = 5;\nthreads = 0;\npolicies = ( { } );\n");
    assert_false(file.is_fine);
    assert_non_null(strstr(file.errors, ":1: prt:"));
    assert_non_null(strstr(file.errors, ":2: threads:"));
    assert_non_null(strstr(file.errors, ":3: this policy lacks a prefix"));
    read_file_deinit(&file);
}

static void policies_are_checked(void **state)
{
    (void)state;
    check_complaint("policies = 5;\n", "1: policies: is a list");
    check_complaint("policies = ( 5 );\n", "1: a policy stands in braces");
    check_complaint("policies = ( { prefix = 5; } );\n", "1: prefix: is the text");
    check_complaint("policies = ( { prefix = \"a\"; siblings = 1; } );\n", "1: siblings: is true");
    check_complaint("policies = ( { prefix = \"a\"; max-ttl = 0; } );\n",
                    "1: max-ttl: is a number");
    check_complaint("policies = ( { prefix = \"a\";\ncolour = 1; } );\n",
                    "2: colour: is nothing that a policy says");
    check_complaint("policies = ( { prefix = \"a\"; },\n{ prefix = \"a\"; } );\n",
                    "2: there is a policy for this prefix already");
    check_complaint("policies = ( { prefix = \"a\"; resolver = \"sum\"; } );\n",
                    "1: resolver: is \"lww\", ");
    check_complaint("policies = ( {\n prefix = \"a\"; resolver = 5; } );\n", "2: resolver: is");
    check_complaint("policies = ( { prefix = \"a\"; copies = 0; } );\n",
                    "1: copies: is a number of nodes, from 1 to 8");
    check_complaint("policies = ( { prefix = \"a\"; read-quorum = \"all\"; } );\n",
                    "1: read-quorum: is a number of nodes");
    check_complaint("policies = ( { prefix = \"a\"; write-quorum = 9; } );\n",
                    "1: write-quorum: is a number of nodes");
    check_complaint("policies = ( { prefix = \"a\"; siblings = false; resolver = \"max\"; } );\n",
                    "1: a resolver chooses among siblings");
}

/* The policies of `text`, in a cluster with three copies, are refused for that. */
static void check_numbers(const char *text, const char *complaint)
{
    struct read_file file;
    char *errors = NULL;
    size_t bytes;
    FILE *out = open_memstream(&errors, &bytes);

    read_file_init(&file, text);
    assert_true(file.is_fine);
    assert_int_equal(config_file_check_policies(&file.settings, &file.policies, "f", out),
                     complaint == NULL);
    fclose(out);
    assert_string_equal(errors, complaint == NULL ? "" : complaint);
    free(errors);
    read_file_deinit(&file);
}

static void quorums_are_no_more_than_the_copies(void **state)
{
    (void)state;
    check_numbers("policies = ( { prefix = \"\"; copies = 1; } );\n", NULL);
    check_numbers("policies = ( { prefix = \"\"; read-quorum = 3; write-quorum = 3; } );\n", NULL);
    check_numbers("policies = ( { prefix = \"a\"; },\n{ prefix = \"b\"; copies = 4; } );\n",
                  "f:2: copies are more than --copies, which is what the ring has owners for\n");
    check_numbers("policies = (\n{ prefix = \"a\"; copies = 2; read-quorum = 3; } );\n",
                  "f:2: read-quorum is more than the copies: it could never be met\n");
    check_numbers("policies = ( { prefix = \"a\"; write-quorum = 4; } );\n",
                  "f:1: write-quorum is more than the copies: it could never be met\n");
}

static void what_a_policy_leaves_open_is_as_the_cluster_has_it(void **state)
{
    const struct policy few = {.copies = 1}, own = {.copies = 3, .read_quorum = 1};

    (void)state;
    settings_init(&settings);
    assert_int_equal(policy_copies(&policy_default), 3);
    assert_int_equal(policy_read_quorum(&policy_default), 2);
    assert_int_equal(policy_write_quorum(&policy_default), 2);
    assert_int_equal(policy_copies(&few), 1);
    assert_int_equal(policy_read_quorum(&few), 1);
    assert_int_equal(policy_write_quorum(&few), 1);
    assert_int_equal(policy_read_quorum(&own), 1);
    assert_int_equal(policy_write_quorum(&own), 2);
    settings_deinit(&settings);
}

static void the_policy_of_the_longest_prefix_counts(void **state)
{
    struct read_file file;

    (void)state;
    assert_ptr_equal(policy_of(SLICE("a")), &policy_default);
    read_file_init(&file, "policies = ( { prefix = \"a:\"; max-ttl = 1; },\n"
                          "  { prefix = \"a:b:\"; max-ttl = 2; siblings = false; } );\n");
    assert_true(file.is_fine);
    assert_true(policies_replace(&file.policies));
    assert_int_equal(policy_of(SLICE("a:x"))->ttl_max_ms, 1000);
    assert_true(policy_of(SLICE("a:x"))->keeps_siblings);
    assert_int_equal(policy_of(SLICE("a:b:x"))->ttl_max_ms, 2000);
    assert_false(policy_of(SLICE("a:b:x"))->keeps_siblings);
    assert_int_equal(policy_of(SLICE("a:b"))->ttl_max_ms, 1000);
    assert_ptr_equal(policy_of(SLICE("a")), &policy_default);
    assert_ptr_equal(policy_of(SLICE("b:x")), &policy_default);
    policies_clear();
    assert_ptr_equal(policy_of(SLICE("a:x")), &policy_default);
    read_file_deinit(&file);
}

static void an_empty_prefix_is_for_all_keys(void **state)
{
    struct read_file file;

    (void)state;
    read_file_init(&file, "policies = ( { prefix = \"\"; max-ttl = 7; } );\n");
    assert_true(policies_replace(&file.policies));
    assert_int_equal(policy_of(SLICE("x"))->ttl_max_ms, 7000);
    policies_clear();
    read_file_deinit(&file);
}

static void a_policy_bounds_the_time_to_live(void **state)
{
    const struct policy policy = {.ttl_max_ms = 5000};

    (void)state;
    assert_int_equal(policy_expiry_ms(&policy, 0, NOW_MS), NOW_MS + 5000);
    assert_int_equal(policy_expiry_ms(&policy, NOW_MS + 4000, NOW_MS), NOW_MS + 4000);
    assert_int_equal(policy_expiry_ms(&policy, NOW_MS + 6000, NOW_MS), NOW_MS + 5000);
    assert_int_equal(policy_expiry_ms(&policy, 1, NOW_MS), 1); /* expired at once */
    assert_int_equal(policy_expiry_ms(&policy_default, 0, NOW_MS), 0);
}

static void a_reload_changes_the_policies_or_nothing(void **state)
{
    struct read_file file;

    (void)state;
    read_file_init(&file, "policies = ( { prefix = \"a\"; max-ttl = 7; } );\n");
    config_file_reload(file.path);
    const struct policy *found = policy_of(SLICE("a"));
    assert_int_equal(found->ttl_max_ms, 7000);
    FILE *rewritten = fopen(file.path, "w");
    fputs("policies = ( { prefix = \"a\"; max-ttl = 8; } );\nprt = 1;\n", rewritten);
    fclose(rewritten);
    config_file_reload(file.path);
    assert_ptr_equal(policy_of(SLICE("a")), found);
    rewritten = fopen(file.path, "w");
    fputs("policies = ( { prefix = \"a\"; max-ttl = 9; } );\n", rewritten);
    fclose(rewritten);
    config_file_reload(file.path);
    assert_int_equal(policy_of(SLICE("a"))->ttl_max_ms, 9000);
    assert_int_equal(found->ttl_max_ms, 7000); /* who found the old one may go on with it */
    policies_clear();
    read_file_deinit(&file);
}

static bool keeps_copies(const char *text)
{
    struct read_file file;
    bool keeps;

    read_file_init(&file, text);
    assert_true(file.is_fine);
    keeps = policies_keep_copies(&file.policies);
    read_file_deinit(&file);
    return keeps;
}

static void a_reload_cannot_change_how_many_copies_a_key_has(void **state)
{
    struct read_file file;

    (void)state;
    settings_init(&settings);
    read_file_init(&file, "policies = ( { prefix = \"a\"; copies = 2; } );\n");
    assert_true(policies_replace(&file.policies));
    assert_true(keeps_copies("policies = ( { prefix = \"a\"; copies = 2; max-ttl = 7; } );\n"));
    assert_true(keeps_copies("policies = ( { prefix = \"a\"; copies = 2; },\n"
                             "{ prefix = \"ab\"; copies = 2; }, { prefix = \"b\"; } );\n"));
    assert_false(keeps_copies("policies = ( { prefix = \"a\"; copies = 1; } );\n"));
    assert_false(keeps_copies("policies = ( { prefix = \"\"; copies = 1; },\n"
                              "{ prefix = \"a\"; copies = 2; } );\n"));
    assert_false(keeps_copies("policies = ( { prefix = \"a\"; copies = 2; },\n"
                              "{ prefix = \"ab\"; } );\n"));
    assert_false(keeps_copies("policies = ( );\n"));
    policies_clear();
    read_file_deinit(&file);
    settings_deinit(&settings);
}

static void the_command_line_counts_more_than_the_file(void **state)
{
    char path[32], *errors = NULL;
    size_t bytes;
    struct settings s;
    int exit_code;

    (void)state;
    write_file(path, "port = 11222;\nthreads = 3;\n");
    char *words[] = {"ringcached", "-t", "5", "--config", path, NULL};
    FILE *out = open_memstream(&errors, &bytes);
    settings_init(&s);
    assert_true(options_parse(&s, 5, words, out, out, &exit_code));
    assert_int_equal(s.tcp_port, 11222);
    assert_int_equal(s.threads, 5);
    fclose(out);
    free(errors);
    unlink(path);
    settings_deinit(&s);
    policies_clear();
    config_file_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_are_the_long_options_and_the_suboptions),
        cmocka_unit_test(what_is_wrong_is_said_with_file_and_line),
        cmocka_unit_test(everything_that_is_wrong_is_said_at_once),
        cmocka_unit_test(policies_are_checked),
        cmocka_unit_test(quorums_are_no_more_than_the_copies),
        cmocka_unit_test(what_a_policy_leaves_open_is_as_the_cluster_has_it),
        cmocka_unit_test(the_policy_of_the_longest_prefix_counts),
        cmocka_unit_test(an_empty_prefix_is_for_all_keys),
        cmocka_unit_test(a_policy_bounds_the_time_to_live),
        cmocka_unit_test(a_reload_changes_the_policies_or_nothing),
        cmocka_unit_test(a_reload_cannot_change_how_many_copies_a_key_has),
        cmocka_unit_test(the_command_line_counts_more_than_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
