/* `watch`: log lines in memcached's form, bounded, and free where nobody watches. */
#include "server/settings.h"
#include "server/watch.h"
#include "tests/unit/conversation.h"
#include <stdio.h>
#include <stdlib.h>

/* The lines watched since the last call, without their times and numbers. */
static const char *watched(void)
{
    static char text[1 << 16];
    const char *at = conversation_watched();
    size_t used = 0;

    while (*at != 0) {
        size_t size = strcspn(at, "\n") + 1;
        const char *type = at;

        if (strncmp(at, "ts=", 3) == 0) {
            long long seconds, micros, number;

            assert_int_equal(sscanf(at, "ts=%lld.%lld gid=%lld ", &seconds, &micros, &number), 3);
            type = strstr(at, "type=");
            assert_non_null(type);
        }
        used += (size_t)snprintf(text + used, sizeof text - used, "%.*s",
                                 (int)(at + size - type), type);
        at += size;
    }
    text[used] = 0;
    return text;
}

static void nobody_watches_at_first(void **state)
{
    (void)state;
    assert_false(watch_wants(WATCH_FETCHERS));
    assert_false(watch_wants(WATCH_EVICTIONS));
}

static void fetchers_are_what_is_watched_unless_said(void **state)
{
    (void)state;
    says("watch\r\n", "OK\r\n");
    assert_true(conversation_is_watching());
    says("set k 0 0 3\r\nabc\r\nget k no\r\n", "STORED\r\nVALUE k 0 3\r\nabc\r\nEND\r\n");
    assert_string_equal(watched(), "type=item_get key=k status=not_found clsid=0 cfd=7 size=0\n"
                                   "type=item_get key=k status=found clsid=1 cfd=7 size=3\n"
                                   "type=item_get key=no status=not_found clsid=0 cfd=7 size=0\n");
}

static void mutations_tell_command_status_and_ttl(void **state)
{
    (void)state;
    says("watch mutations\r\n", "OK\r\n");
    say("set k#1 0 100 3\r\nabc\r\nadd k#1 0 0 1\r\na\r\ncas k#1 0 0 1 1\r\na\r\n"
        "append k#1 0 0 1\r\nd\r\nget k\r\n");
    assert_string_equal(watched(),
                        "type=item_store key=k%231 status=stored cmd=set ttl=100 clsid=1 cfd=7 size=3\n"
                        "type=item_store key=k%231 status=not_stored cmd=add ttl=0 clsid=1 cfd=7 size=1\n"
                        "type=item_store key=k%231 status=exists cmd=cas ttl=0 clsid=1 cfd=7 size=1\n"
                        "type=item_store key=k%231 status=stored cmd=append ttl=0 clsid=1 cfd=7 size=1\n");
}

static void deletions_tell_the_command(void **state)
{
    (void)state;
    says("watch deletions connevents\r\n", "OK\r\n");
    say("set k 0 0 3\r\nabc\r\ndelete k\r\nset k 0 0 2\r\nab\r\nmd k\r\ndelete k\r\n");
    assert_string_equal(watched(), "type=deleted key=k cmd=delete clsid=1 size=3\n"
                                   "type=deleted key=k cmd=md clsid=1 size=2\n");
}

static void connections_come_and_go(void **state)
{
    (void)state;
    says("watch connevents\r\n", "OK\r\n");
    watch_connection_new(NULL);
    watch_connection_closed(NULL, CLOSE_IDLE);
    assert_string_equal(watched(),
                        "type=conn_new rip=127.0.0.1 rport=4711 transport=tcp cfd=7\n"
                        "type=conn_close rip=127.0.0.1 rport=4711 transport=tcp reason=idle_timeout cfd=7\n");
}

static void a_slow_watcher_is_told_how_much_it_missed(void **state)
{
    const char *text;
    struct watch_stats stats;

    (void)state;
    watch_stats_reset();
    stream_capacity = 300;
    says("watch fetchers\r\n", "OK\r\n");
    for (unsigned i = 0; i < 10; i++)
        say("get nothing\r\n");
    watch_stats(&stats);
    assert_int_equal(stats.watchers, 1);
    assert_int_equal(stats.written, 10);
    assert_true(stats.skipped > 0);
    assert_int_equal(stats.sent + stats.skipped, 10);
    conversation_watched();
    say("get nothing\r\n");
    text = conversation_watched();
    assert_memory_equal(text, "skipped=", 8);
    assert_int_equal(strtoul(text + 8, NULL, 10), stats.skipped);
    assert_non_null(strstr(text, "\nts="));
}

static void who_is_gone_is_forgotten(void **state)
{
    struct watch_stats stats;

    (void)state;
    says("watch evictions\r\n", "OK\r\n");
    assert_true(watch_wants(WATCH_EVICTIONS));
    stream_is_closed = true;
    watch_stats(&stats);
    assert_int_equal(stats.watchers, 0);
    assert_false(watch_wants(WATCH_EVICTIONS));
}

static void what_cannot_be_watched_is_refused(void **state)
{
    (void)state;
    converse({ "watch nonsense\r\n", "ERROR\r\n" },
             { "version\r\nwatch\r\n",
               "VERSION 1.6.45\r\nERROR cannot pipeline other commands before watch\r\n" });
    settings.allows_watch = false;
    says("watch\r\n", "CLIENT_ERROR watch commands not allowed\r\n");
}

static void there_is_a_limit_to_watchers(void **state)
{
    (void)state;
    for (unsigned i = 0; i < WATCHERS_MAX; i++) {
        conversation_reconnect();
        says("watch proxyreqs sysevents\r\n", "OK\r\n");
    }
    conversation_reconnect();
    says("watch\r\n", "WATCHER_TOO_MANY log watcher limit reached\r\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, conversation_start, conversation_end)
    const struct CMUnitTest tests[] = {
        TEST(nobody_watches_at_first),
        TEST(fetchers_are_what_is_watched_unless_said),
        TEST(mutations_tell_command_status_and_ttl),
        TEST(deletions_tell_the_command),
        TEST(connections_come_and_go),
        TEST(a_slow_watcher_is_told_how_much_it_missed),
        TEST(who_is_gone_is_forgotten),
        TEST(what_cannot_be_watched_is_refused),
        TEST(there_is_a_limit_to_watchers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
