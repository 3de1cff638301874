/* `stats` and its sub-commands: exactly the fields that monitoring reads. */
#include "server/settings.h"
#include "tests/unit/conversation.h"
#include <stdio.h>
#include <stdlib.h>

static unsigned lines_of(const char *command)
{
    unsigned lines = 0;

    for (const char *at = say(command); (at = strstr(at, "STAT ")) != NULL; at++)
        lines++;
    return lines;
}

/* The value of a field, up to the end of its line. */
static const char *field(const char *command, const char *name)
{
    static char value[512];
    char start[128];
    const char *at;

    snprintf(start, sizeof start, "STAT %s ", name);
    at = strstr(say(command), start);
    assert_non_null(at);
    at += strlen(start);
    snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\r"), at);
    return value;
}

static void the_number_of_fields_depends_on_the_options(void **state)
{
    (void)state;
    assert_int_equal(lines_of("stats\r\n"), 93);
    atomic_store(&settings.accepted.lru_crawler, false);
    atomic_store(&settings.accepted.lru_maintainer, false);
    assert_int_equal(lines_of("stats\r\n"), 84);
#ifdef WITH_TLS
    settings.tls.enabled = true;
    assert_int_equal(lines_of("stats\r\n"), 87);
#endif
    settings.idle_timeout_s = 10;
    assert_string_equal(field("stats\r\n", "idle_kicks"), "0");
}

static void the_list_is_shorter_than_collectd_s_buffer(void **state)
{
    (void)state;
    assert_true(strlen(say("stats\r\n")) < 4096);
}

static void every_line_has_a_name_and_a_value(void **state)
{
    const char *const commands[] = { "stats\r\n", "stats settings\r\n", "stats items\r\n",
                                     "stats slabs\r\n", "stats conns\r\n", "stats cluster\r\n",
                                     "stats siblings\r\n" };

    (void)state;
    says("set k 0 0 1\r\na\r\n", "STORED\r\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char *text = strdup(say(commands[i])), *save, *line;
        unsigned ends = 0;

        for (line = strtok_r(text, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save)) {
            char name[200], value[300], more;

            if (strcmp(line, "END") == 0)
                ends++;
            else
                assert_int_equal(sscanf(line, "STAT %199s %299s %c", name, value, &more), 2);
        }
        assert_int_equal(ends, 1);
        free(text);
    }
}

static void items_and_bytes_follow_what_is_stored(void **state)
{
    (void)state;
    assert_string_equal(field("stats\r\n", "curr_items"), "0");
    assert_string_equal(field("stats\r\n", "bytes"), "0");
    assert_string_equal(field("stats\r\n", "total_items"), "0");
    says("set k 0 0 1\r\na\r\nget k\r\n", "STORED\r\nVALUE k 0 1\r\na\r\nEND\r\n");
    assert_string_equal(field("stats\r\n", "curr_items"), "1");
    assert_string_equal(field("stats\r\n", "total_items"), "1");
    assert_string_equal(field("stats\r\n", "cmd_set"), "1");
    assert_string_equal(field("stats\r\n", "get_hits"), "1");
    assert_string_equal(field("stats items\r\n", "items:1:number"), "1");
    assert_string_equal(field("stats slabs\r\n", "1:used_chunks"), "1");
    assert_string_equal(field("stats slabs\r\n", "active_slabs"), "1");
}

static void reset_clears_the_counters_and_not_the_items(void **state)
{
    (void)state;
    say("set k 0 0 1\r\na\r\nget k\r\nget none\r\n");
    says("stats reset\r\n", "RESET\r\n");
    assert_string_equal(field("stats\r\n", "cmd_get"), "0");
    assert_string_equal(field("stats\r\n", "get_misses"), "0");
    assert_string_equal(field("stats\r\n", "curr_items"), "1");
    say("get k\r\n");
    assert_string_equal(field("stats\r\n", "cmd_get"), "1");
}

static void sub_commands_are_whole_words(void **state)
{
    (void)state;
    converse({ "stats r\r\n", "ERROR\r\n" }, { "stats s\r\n", "ERROR\r\n" },
             { "stats resets\r\n", "ERROR\r\n" }, { "stats nothing\r\n", "ERROR\r\n" },
             { "stats extstore\r\n", "END\r\n" }, { "stats ring\r\n", "END\r\n" },
             { "stats sizes\r\n", "STAT sizes_status disabled\r\nEND\r\n" });
}

static void hotkeys_names_what_is_asked_for_most(void **state)
{
    char get[32];

    (void)state;
    for (unsigned i = 0; i < 40000; i++) {
        snprintf(get, sizeof get, "get cold%u\r\n", i);
        say(i % 4 == 0 ? "get hot\r\n" : i % 10 == 1 ? "get warm,\r\n" : get);
    }
    assert_string_equal(field("stats hotkeys\r\n", "1:key"), "hot");
    assert_in_range(atoi(field("stats hotkeys\r\n", "1:percent")), 18, 32);
    assert_string_equal(field("stats hotkeys\r\n", "2:key"), "warm%2C");
    assert_in_range(atoi(field("stats hotkeys\r\n", "2:percent_at_least")), 1, 16);
    assert_in_range(atoi(field("stats hotkeys\r\n", "operations_sampled")), 230, 400);
    assert_string_equal(field("stats hotkeys\r\n", "operations_per_sample"), "128");
    says("stats reset\r\n", "RESET\r\n");
    assert_string_equal(field("stats hotkeys\r\n", "operations_sampled"), "0");
}

static void detail_counts_by_prefix(void **state)
{
    (void)state;
    converse({ "stats detail\r\n", "CLIENT_ERROR usage: stats detail on|off|dump\r\n" },
             { "stats detail on\r\n", "OK\r\n" },
             { "set a:1 0 0 1\r\nx\r\nget a:1 a:2 plain\r\ndelete a:1\r\n",
               "STORED\r\nVALUE a:1 0 1\r\nx\r\nEND\r\nDELETED\r\n" },
             { "stats detail dump\r\n", "PREFIX a get 2 hit 1 set 1 del 1\r\nEND\r\n" },
             { "stats detail off\r\n", "OK\r\n" }, { "get a:1\r\n", "END\r\n" },
             { "stats detail dump\r\n", "PREFIX a get 2 hit 1 set 1 del 1\r\nEND\r\n" });
    settings.allows_dump = false;
    says("stats detail on\r\n", "CLIENT_ERROR stats detail not allowed\r\n");
}

static void cachedump_lists_keys_of_the_one_class(void **state)
{
    (void)state;
    converse({ "stats cachedump 1 0\r\n", "END\r\n" },
             { "set k 0 0 3\r\nabc\r\n", "STORED\r\n" },
             { "stats cachedump 1 10\r\n", "ITEM k [3 b; 0 s]\r\nEND\r\n" },
             { "stats cachedump 2 10\r\n", "END\r\n" },
             { "stats cachedump 1\r\n", "CLIENT_ERROR bad command line\r\n" },
             { "stats cachedump x 1\r\n", "CLIENT_ERROR bad command line format\r\n" },
             { "stats cachedump 200 1\r\n", "CLIENT_ERROR Illegal slab id\r\n" });
    settings.allows_dump = false;
    says("stats cachedump 1 1\r\n", "CLIENT_ERROR stats cachedump not allowed\r\n");
}

static void conns_shows_listeners_and_clients(void **state)
{
    (void)state;
    says("stats conns\r\n", "STAT 5:addr tcp:127.0.0.1:11211\r\nSTAT 5:state conn_listening\r\n"
                            "STAT 5:secs_since_last_cmd 12\r\nSTAT 7:addr tcp:127.0.0.1:4711\r\n"
                            "STAT 7:listen_addr tcp:127.0.0.1:11211\r\n"
                            "STAT 7:state conn_parse_cmd\r\nSTAT 7:secs_since_last_cmd 0\r\n"
                            "END\r\n");
}

static void settings_show_what_clients_changed(void **state)
{
    (void)state;
    assert_string_equal(field("stats settings\r\n", "maxconns"), "1024");
    assert_string_equal(field("stats settings\r\n", "cas_enabled"), "yes");
    assert_string_equal(field("stats settings\r\n", "item_size_max"), "1048576");
    assert_string_equal(field("stats settings\r\n", "client_flags_size"), "4");
    say("verbosity 2\r\nlru_crawler sleep 77\r\nslabs automove window 33\r\n");
    assert_string_equal(field("stats settings\r\n", "verbosity"), "2");
    assert_string_equal(field("stats settings\r\n", "lru_crawler_sleep"), "77");
    assert_string_equal(field("stats settings\r\n", "slab_automove_window"), "33");
}

static void context_writes_are_counted(void **state)
{
    (void)state;
    say("cas k 0 0 1 @\r\na\r\ncas k 0 0 1 @\r\nb\r\ncas k 0 0 1 @AAAA\r\nb\r\n");
    assert_string_equal(field("stats siblings\r\n", "context_writes"), "2");
    assert_string_equal(field("stats siblings\r\n", "siblings_max"), "2");
    assert_string_equal(field("stats siblings\r\n", "contexts_refused"), "1");
    say("stats reset\r\n");
    assert_string_equal(field("stats siblings\r\n", "context_writes"), "0");
}

static void binary_stats_are_packets(void **state)
{
    struct slice answer;

    (void)state;
    answer = say_packet("\x80\x10\0\x04\0\0\0\0\0\0\0\x04\x01\x02\x03\x04\0\0\0\0\0\0\0\0ring");
    assert_int_equal(answer.size, 24); /* just the empty packet that ends the list */
    assert_memory_equal(answer.bytes, "\x81\x10\0\0\0\0\0\0\0\0\0\0\x01\x02\x03\x04", 16);
    answer = say_packet("\x80\x10\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0r");
    assert_int_equal(answer.bytes[7], 1); /* not found */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, conversation_start, conversation_end)
    const struct CMUnitTest tests[] = {
        TEST(the_number_of_fields_depends_on_the_options),
        TEST(the_list_is_shorter_than_collectd_s_buffer),
        TEST(every_line_has_a_name_and_a_value),
        TEST(items_and_bytes_follow_what_is_stored),
        TEST(reset_clears_the_counters_and_not_the_items),
        TEST(sub_commands_are_whole_words),
        TEST(hotkeys_names_what_is_asked_for_most),
        TEST(detail_counts_by_prefix),
        TEST(cachedump_lists_keys_of_the_one_class),
        TEST(conns_shows_listeners_and_clients),
        TEST(settings_show_what_clients_changed),
        TEST(context_writes_are_counted),
        TEST(binary_stats_are_packets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
