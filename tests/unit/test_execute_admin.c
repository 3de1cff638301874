/* Conversations with the operator's commands: each answer as memcached gives it. */
#include "server/auth_file.h"
#include "server/settings.h"
#include "tests/unit/conversation.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define OK     "OK\r\n"
#define ERROR  "ERROR\r\n"
#define FORMAT "CLIENT_ERROR bad command line format\r\n"

static void verbosity_is_clamped(void **state)
{
    (void)state;
    converse({ "verbosity 9\r\n", OK }, { "verbosity\r\n", FORMAT }, { "verbosity -1\r\n", FORMAT });
    assert_int_equal(atomic_load(&settings.verbosity), 2);
}

static void the_memory_limit_is_checked_before_it_is_changed(void **state)
{
    (void)state;
    converse({ "cache_memlimit\r\n", ERROR }, { "cache_memlimit x\r\n", ERROR },
             { "cache_memlimit 5\r\n",
               "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m\r\n" },
             { "cache_memlimit 2000000000\r\n",
               "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes\r\n" },
             { "cache_memlimit 32\r\n", OK });
    assert_int_equal(atomic_load(&settings.limit_bytes), 32 << 20);
}

static void the_lru_is_tuned_in_name(void **state)
{
    (void)state;
    converse({ "lru\r\n", ERROR }, { "lru mode flat\r\n", OK }, { "lru mode x\r\n", ERROR },
             { "lru temp_ttl 5\r\n", OK }, { "lru tune 10 20 0.1 2.0\r\n", OK },
             { "lru tune 50 40 1 1\r\n", "ERROR hot and warm pcts must not exceed 80\r\n" },
             { "lru tune 10 10 0 1\r\n",
               "ERROR hot/warm age factors must be greater than 0\r\n" },
             { "lru tune 10 10 x 1\r\n", ERROR });
}

static void slabs_have_nothing_to_move(void **state)
{
    (void)state;
    converse({ "slabs\r\n", ERROR },
             { "slabs reassign 1 2\r\n", "NOSPARE source class has no spare pages\r\n" },
             { "slabs reassign 1 1\r\n", "SAME src and dst class are identical\r\n" },
             { "slabs reassign 100 1\r\n", "BADCLASS invalid src or dst class id\r\n" },
             { "slabs reassign x 1\r\n", FORMAT }, { "slabs automove 1\r\n", OK },
             { "slabs automove x\r\n", FORMAT }, { "slabs automove 5\r\n", ERROR },
             { "slabs automove ratio 0.5\r\n", OK }, { "slabs automove ratio\r\n", ERROR },
             { "slabs automove window 1\r\n",
               "CLIENT_ERROR automove window too low or too high\r\n" },
             { "slabs automove window\r\n", FORMAT }, { "slabs automove\r\n", ERROR });
    settings.accepted.slab_reassign = false;
    says("slabs reassign 1 2\r\n", "CLIENT_ERROR slab reassignment disabled\r\n");
}

static void what_is_not_built_in_answers_so(void **state)
{
    (void)state;
    converse({ "extstore item_age 5\r\n", ERROR }, { "refresh_certs\r\n", "Error TLS not enabled\r\n" },
             { "debugtime 5\r\n", ERROR }, { "debug cell k\r\n", ERROR });
}

static void shutdown_needs_to_be_allowed(void **state)
{
    (void)state;
    shutdowns = graceful_shutdowns = 0;
    settings.allows_shutdown = false;
    says("shutdown\r\n", "SERVER_ERROR: shutdown not enabled\r\n");
    settings.allows_shutdown = true;
    says("shutdown now\r\n", "CLIENT_ERROR invalid shutdown mode\r\n");
    assert_int_equal(shutdowns, 0);
    says("shutdown\r\n", "");
    assert_true(conversation_is_closed());
    assert_int_equal(shutdowns, 1);
    conversation_reconnect();
    says("shutdown graceful\r\n", "");
    assert_int_equal(graceful_shutdowns, 1);
}

static void the_crawler_lists_every_item(void **state)
{
    const char *dump;

    (void)state;
    converse({ "lru_crawler metadump all\r\n", "OK\r\nEND\r\n" },
             { "set a#b 5 100 3\r\nxyz\r\n", "STORED\r\n" },
             { "lru_crawler mgdump all\r\n", "OK\r\nmg a#b\r\nEN\r\n" },
             { "lru_crawler mgdump 2\r\n", "OK\r\nEN\r\n" },
             { "lru_crawler metadump 99\r\n", "BADCLASS invalid class id\r\n" },
             { "delete a#b\r\n", "DELETED\r\n" }, { "ms YWJj 2 b\r\nhi\r\n", "HD\r\n" },
             { "lru_crawler mgdump hash\r\n", "OK\r\nmg YWJj b\r\nEN\r\n" },
             { "version\r\nlru_crawler mgdump all\r\n",
               "VERSION 1.6.45\r\nERROR cannot pipeline other commands before mgdump\r\n" });
    dump = say("lru_crawler metadump 1\r\n");
    assert_memory_equal(dump, "OK\r\nkey=abc exp=-1 la=", 22);
    assert_non_null(strstr(dump, " fetch=no cls=1 size="));
    assert_non_null(strstr(dump, " flags=0 \nEND\r\n"));
    settings.allows_dump = false;
    converse({ "lru_crawler metadump all\r\n", "ERROR metadump not allowed\r\n" },
             { "lru_crawler mgdump all\r\n", "ERROR key dump not allowed\r\n" });
}

static void every_key_of_many_is_listed_once(void **state)
{
    char line[64];
    const char *dump;
    unsigned lines = 0;

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(line, sizeof line, "set key%u 0 0 1 noreply\r\nv\r\n", i);
        say(line);
    }
    dump = say("lru_crawler mgdump all\r\n");
    for (const char *at = dump; (at = strstr(at, "mg key")) != NULL; at++)
        lines++;
    assert_int_equal(lines, 20000);
}

static void the_crawler_is_switched_in_name(void **state)
{
    (void)state;
    converse({ "lru_crawler enable\r\n", "ERROR failed to start lru crawler thread\r\n" },
             { "lru_crawler disable\r\n", OK }, { "lru_crawler disable\r\n", OK },
             { "lru_crawler crawl all\r\n", "CLIENT_ERROR lru crawler disabled\r\n" },
             { "lru_crawler enable\r\n", OK }, { "lru_crawler crawl all\r\n", OK },
             { "lru_crawler crawl 100\r\n", "BADCLASS invalid class id\r\n" },
             { "lru_crawler sleep 5\r\n", OK },
             { "lru_crawler sleep 2000000\r\n",
               "CLIENT_ERROR sleep must be one second or less\r\n" },
             { "lru_crawler sleep x\r\n", FORMAT }, { "lru_crawler tocrawl 5\r\n", OK },
             { "lru_crawler tocrawl x\r\n", FORMAT }, { "lru_crawler\r\n", ERROR });
}

static void auto_discovery_names_this_server(void **state)
{
    (void)state;
    says("config get other\r\n", ERROR);
    assert_memory_equal(say("config get cluster\r\n"), "CONFIG cluster 0 ", 17);
    assert_non_null(strstr(say("config get cluster\r\n"), "\r\n1\n127.0.0.1|127.0.0.1|"));
}

static void debug_commands_show_and_move(void **state)
{
    (void)state;
    settings.debug_commands = true;
    converse({ "set k 3 10 1\r\na\r\n", "STORED\r\n" }, { "debugtime 11\r\n", OK },
             { "get k\r\n", "END\r\n" }, { "debugtime\r\n", ERROR },
             { "debug cell k\r\n", "END\r\n" }, { "set k 3 0 1\r\na\r\n", "STORED\r\n" });
    assert_memory_equal(say("debug cell k\r\n"), "CONTEXT ", 8);
    assert_non_null(strstr(say("debug cell k\r\n"), " 3 0 1\r\na\r\nEND\r\n"));
    converse({ "debug keys\r\n", "k\r\nEND\r\n" }, { "debug evict k\r\n", OK }, { "get k\r\n", "END\r\n" });
}

static void nothing_is_executed_before_the_login(void **state)
{
    static char path[] = "/tmp/ringcached-auth-XXXXXX";
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "me:secret word\n", 15), 15);
    close(fd);
    assert_true(auth_file_load(path));
    unlink(path);
    settings.auth_file = path;
    converse({ "get a b\r\n", "CLIENT_ERROR unauthenticated\r\n" },
             { "version\r\n", "CLIENT_ERROR unauthenticated\r\n" },
             { "mg a v\r\n", "CLIENT_ERROR unauthenticated\r\n" },
             { "set x 0 0 2\r\nxxXX", "CLIENT_ERROR bad command line termination\r\n" },
             { "set x 0 0 5\r\nmeany\r\n",
               "CLIENT_ERROR bad authentication token format\r\n" },
             { "set x 0 0 7\r\nme nope\r\n", "CLIENT_ERROR authentication failure\r\n" },
             { "set x 0 0 14\r\nme secret word\r\nset k 0 0 1\r\na\r\nget k\r\n",
               "STORED\r\nSTORED\r\nVALUE k 0 1\r\na\r\nEND\r\n" });
    conversation_reconnect();
    assert_string_equal(say_slowly("set x 0 0 14\r\nme secret word\r\nget x\r\n"),
                        "STORED\r\nEND\r\n");
    auth_file_clear();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, conversation_start, conversation_end)
    const struct CMUnitTest tests[] = {
        TEST(verbosity_is_clamped),
        TEST(the_memory_limit_is_checked_before_it_is_changed),
        TEST(the_lru_is_tuned_in_name),
        TEST(slabs_have_nothing_to_move),
        TEST(what_is_not_built_in_answers_so),
        TEST(shutdown_needs_to_be_allowed),
        TEST(the_crawler_lists_every_item),
        TEST(every_key_of_many_is_listed_once),
        TEST(the_crawler_is_switched_in_name),
        TEST(auto_discovery_names_this_server),
        TEST(debug_commands_show_and_move),
        TEST(nothing_is_executed_before_the_login),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
