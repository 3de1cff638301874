/* Connections of a real worker, over socket pairs, with a fake executor. */
#include "server/connection.h"
#include "server/clock.h"
#include "server/stream.h"
#include "server/worker.h"
#include "tests/unit/client.h"
#include "tests/unit/fake_executor.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static struct listener listener;

static int set_up(void **state)
{
    (void)state;
    settings_init(&settings);
    listener = (struct listener){ .transport = TRANSPORT_TCP,
                                  .protocol = LISTEN_NEGOTIATING,
                                  .tls = LISTEN_TLS_OFF };
    clock_init();
    memset(&fake_counts, 0, sizeof fake_counts);
    return 0;
}

static void start(void)
{
    assert_true(workers_start(NULL, 1));
}

static int stop(void **state)
{
    (void)state;
    workers_stop();
    fake_reset();
    assert_int_equal(fake_counts.items, 0);
    assert_int_equal(fake_counts.productions, 0);
    return 0;
}

static int connect_one(void)
{
    start();
    return client_attach(&listener);
}

/* Bytes that tell when one is missing or doubled. */
static unsigned char *pattern(size_t size)
{
    unsigned char *bytes = malloc(size + 2);

    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)((i * 2654435761u) >> 13);
    memcpy(bytes + size, "\r\n", 2);
    return bytes;
}

static void store(int fd, const char *key, size_t size)
{
    unsigned char *value = pattern(size);
    char line[64];

    snprintf(line, sizeof line, "set %s 0 0 %zu\r\n", key, size);
    client_say(fd, line);
    client_send(fd, value, size + 2);
    client_expect(fd, "STORED\r\n");
    free(value);
}

static void expect_answer(int fd, const char *key, size_t size)
{
    unsigned char *value = pattern(size);
    char line[64];

    snprintf(line, sizeof line, "VALUE %s 0 %zu\r\n", key, size);
    client_expect(fd, line);
    client_expect_bytes(fd, value, size + 2);
    client_expect(fd, "END\r\n");
    free(value);
}

static void each_command_is_answered(void **state)
{
    (void)state;
    int fd = connect_one();
    client_say(fd, "get a\r\n");
    client_expect(fd, "END\r\n");
    client_say(fd, "set a 0 0 5\r\nhello\r\n");
    client_expect(fd, "STORED\r\n");
    client_say(fd, "get a b a\r\n");
    client_expect(fd, "VALUE a 0 5\r\nhello\r\nVALUE a 0 5\r\nhello\r\nEND\r\n");
    client_close(fd);
}

static void commands_that_come_byte_by_byte_are_answered_like_whole_ones(void **state)
{
    static const char text[] = "set a 0 0 5\r\nhello\r\nget a\r\nmn\r\nget a\r\n";

    (void)state;
    int fd = connect_one();
    for (size_t i = 0; i < sizeof text - 1; i++) {
        client_send(fd, text + i, 1);
        client_pause_ms(1);
    }
    client_expect(fd, "STORED\r\nVALUE a 0 5\r\nhello\r\nEND\r\nMN\r\n"
                      "VALUE a 0 5\r\nhello\r\nEND\r\n");
    client_close(fd);
}

static void a_pipeline_is_answered_in_order_and_in_batches(void **state)
{
    char text[64];
    char *all = calloc(20000, 64);
    char *answers = calloc(20000, 64);
    size_t used = 0, expected = 0;

    (void)state;
    assert_non_null(all);
    assert_non_null(answers);
    int fd = connect_one();
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "set key%d 0 0 4\r\n%04d\r\n", i, i);
        client_say(fd, text);
        client_expect(fd, "STORED\r\n");
    }
    memset(&fake_counts.operations, 0, sizeof fake_counts.operations);
    fake_counts.batches = 0;
    for (int i = 0; i < 10000; i++) {
        used += (size_t)sprintf(all + used, "get key%d\r\n", i % 100);
        expected += (size_t)sprintf(answers + expected, "VALUE key%d 0 4\r\n%04d\r\nEND\r\n",
                                    i % 100, i % 100);
    }
    client_send(fd, all, used);
    client_expect_bytes(fd, answers, expected);
    assert_int_equal(fake_counts.operations, 10000);
    assert_true(fake_counts.batches < 1000);
    client_close(fd);
    free(all);
    free(answers);
}

static void long_values_arrive_whole_and_leave_from_their_items(void **state)
{
    static const size_t sizes[] = { 0,     1,      4095,   4096,   60000,   65513,
                                    65536, 100000, 131072, 300000, 3000000, 40000000 };

    (void)state;
    int fd = connect_one();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        store(fd, "long", sizes[i]);
        client_say(fd, "get long\r\n");
        expect_answer(fd, "long", sizes[i]);
    }
    client_close(fd);
}

static void a_value_may_come_in_pieces_of_any_size(void **state)
{
    unsigned char *value = pattern(50000);

    (void)state;
    int fd = connect_one();
    for (size_t piece = 777; piece < 50000; piece *= 3) {
        client_say(fd, "ms piece 50000 O7 k\r\n");
        for (size_t at = 0; at < 50002; at += piece) {
            client_send(fd, value + at, piece < 50002 - at ? piece : 50002 - at);
            client_pause_ms(1);
        }
        client_expect(fd, "HD O7 k\r\n");
        client_say(fd, "get piece\r\n");
        expect_answer(fd, "piece", 50000);
    }
    client_close(fd);
    free(value);
}

static void what_follows_a_long_value_is_executed_too(void **state)
{
    size_t size = 100000;
    unsigned char *value = pattern(size);
    unsigned char *all = malloc(10 * (size + 64));
    size_t used = 0;

    (void)state;
    assert_non_null(all);
    int fd = connect_one();
    for (int i = 0; i < 10; i++) {
        used += (size_t)sprintf((char *)all + used, "set k%d 0 0 %zu\r\n", i, size);
        memcpy(all + used, value, size + 2);
        used += size + 2;
        used += (size_t)sprintf((char *)all + used, "mn\r\n");
    }
    client_send(fd, all, used);
    for (int i = 0; i < 10; i++)
        client_expect(fd, "STORED\r\nMN\r\n");
    client_say(fd, "get k7\r\n");
    expect_answer(fd, "k7", size);
    client_close(fd);
    free(all);
    free(value);
}

static void a_value_with_a_wrong_end_is_refused(void **state)
{
    unsigned char *value = pattern(100000);

    (void)state;
    int fd = connect_one();
    client_say(fd, "set a 0 0 100000\r\n");
    client_send(fd, value, 100000);
    client_say(fd, "xymn\r\n");
    client_expect(fd, "CLIENT_ERROR bad data chunk\r\nMN\r\n");
    client_close(fd);
    free(value);
}

static void a_refused_value_is_swallowed(void **state)
{
    size_t size = FAKE_VALUE_BYTES_MAX + 1;
    unsigned char *value = pattern(size);
    char line[64];

    (void)state;
    int fd = connect_one();
    snprintf(line, sizeof line, "set a 0 0 %zu\r\n", size);
    client_say(fd, line);
    client_expect(fd, "SERVER_ERROR object too large for cache\r\n");
    client_send(fd, value, size + 2);
    client_say(fd, "mn\r\n");
    client_expect(fd, "MN\r\n");
    assert_int_equal(fake_counts.items, 0);
    client_close(fd);
    free(value);
}

static void a_client_that_leaves_within_a_value_leaves_nothing_behind(void **state)
{
    (void)state;
    int fd = connect_one();
    client_say(fd, "set a 0 0 100000\r\nabc");
    client_wait_until(fake_counts.items == 1);
    client_close(fd);
    client_wait_until(fake_counts.abandoned == 1);
    client_wait_until(fake_counts.items == 0);
    client_wait_until(workers_connection_count() == 0);
}

static void a_client_that_never_reads_is_not_read_from(void **state)
{
    size_t asked = 0;

    (void)state;
    int fd = connect_one();
    store(fd, "big", 100000);
    for (;;) {
        ssize_t sent = send(fd, "get big\r\n", 9, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) {
            client_pause_ms(20);
            sent = send(fd, "get big\r\n", 9, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
        if (sent < 0)
            break;
        asked += (size_t)sent;
        assert_true(asked < 100 * 1024 * 1024);
    }
    /* One batch, and no more, is in flight besides what the kernel buffers. */
    assert_true(fake_counts.operations < 200);
    struct worker *worker = workers_get(0);
    assert_true(worker->output.capacity <= 1024 * 1024);
    client_close(fd);
    client_wait_until(workers_connection_count() == 0);
}

static void a_slow_reader_gets_everything_in_the_end(void **state)
{
    char requests[9 * 300 + 1];

    (void)state;
    int fd = connect_one();
    store(fd, "big", 100000);
    store(fd, "sma", 1000);
    for (int i = 0; i < 300; i++)
        memcpy(requests + 9 * i, i % 2 == 0 ? "get big\r\n" : "get sma\r\n", 9);
    client_send(fd, requests, 9 * 300);
    client_pause_ms(50);
    for (int i = 0; i < 300; i++) {
        expect_answer(fd, i % 2 == 0 ? "big" : "sma", i % 2 == 0 ? 100000 : 1000);
        if (i % 50 == 0)
            client_pause_ms(10);
    }
    client_say(fd, "mn\r\n");
    client_expect(fd, "MN\r\n");
    client_close(fd);
}

static void small_requests_for_large_answers_are_answered_piece_by_piece(void **state)
{
    char *requests = malloc(9 * 5000);

    (void)state;
    assert_non_null(requests);
    int fd = connect_one();
    store(fd, "mid", 4000);
    for (int i = 0; i < 5000; i++)
        memcpy(requests + 9 * i, "get mid\r\n", 9);
    client_send(fd, requests, 9 * 5000);
    for (int i = 0; i < 5000; i++)
        expect_answer(fd, "mid", 4000);
    assert_true(workers_get(0)->output.capacity <= 1024 * 1024);
    client_close(fd);
    free(requests);
}

static void a_long_answer_is_made_as_it_is_read(void **state)
{
    char line[128];

    (void)state;
    int fd = connect_one();
    client_say(fd, "lru_crawler metadump all\r\nmn\r\n");
    client_wait_until(fake_counts.productions == 1);
    for (unsigned i = 0; i < FAKE_DUMP_LINES; i++) {
        snprintf(line, sizeof line, "%098u\r\n", i);
        client_expect(fd, line);
    }
    client_expect(fd, "END\r\nMN\r\n");
    client_wait_until(fake_counts.productions == 0);
    client_close(fd);
}

static void a_long_answer_ends_with_its_reader(void **state)
{
    (void)state;
    int fd = connect_one();
    client_say(fd, "lru_crawler metadump all\r\n");
    client_wait_until(fake_counts.productions == 1);
    client_close(fd);
    client_wait_until(fake_counts.productions == 0);
}

static struct stream *watch(int fd)
{
    struct stream *stream;

    client_say(fd, "watch\r\n");
    client_expect(fd, "OK\r\n");
    stream = fake_take_stream();
    assert_non_null(stream);
    return stream;
}

static void a_watcher_is_sent_what_is_appended(void **state)
{
    (void)state;
    int fd = connect_one();
    struct stream *stream = watch(fd);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(stream_append(stream, SLICE("a line of log\n")), STREAM_APPENDED);
        client_expect(fd, "a line of log\n");
    }
    client_say(fd, "get a\r\n");
    client_pause_ms(20);
    assert_int_equal(stream_append(stream, SLICE("more\n")), STREAM_APPENDED);
    client_expect(fd, "more\n");
    client_say(fd, "quit\r\n");
    client_expect_end(fd);
    client_wait_until(stream_append(stream, SLICE("late\n")) == STREAM_CLOSED);
    stream_unref(stream);
    client_close(fd);
}

/* Reads a line of the log, its end left out. */
static void read_line(int fd, char *line, size_t capacity)
{
    size_t used = 0;

    while (used + 1 < capacity) {
        assert_int_equal(recv(fd, line + used, 1, 0), 1);
        if (line[used] == '\n')
            break;
        used++;
    }
    line[used] = 0;
}

static void a_watcher_that_does_not_read_misses_whole_lines(void **state)
{
    unsigned appended = 0;

    (void)state;
    int fd = connect_one();
    struct stream *stream = watch(fd);
    unsigned full = 0, skipped = 0, told = 0;
    while (full < 10) {
        enum stream_append_result result = stream_append(stream, SLICE("0123456789abcde\n"));
        assert_true(result != STREAM_CLOSED);
        appended += result == STREAM_APPENDED;
        full = result == STREAM_FULL ? full + 1 : 0;
        skipped += result == STREAM_FULL;
        if (result == STREAM_FULL)
            client_pause_ms(5);
        assert_true(appended < 1000000);
    }
    for (unsigned i = 0; i < appended || told < skipped;) {
        char line[64];
        read_line(fd, line, sizeof line);
        if (strncmp(line, "skipped=", 8) == 0) {
            told += (unsigned)strtoul(line + 8, NULL, 10);
        } else {
            assert_string_equal(line, "0123456789abcde");
            i++;
        }
    }
    assert_int_equal(told, skipped);
    assert_int_equal(stream_append(stream, SLICE("again\n")), STREAM_APPENDED);
    client_expect(fd, "again\n");
    stream_unref(stream);
    client_close(fd);
}

static void with_R_a_pipeline_yields(void **state)
{
    (void)state;
    settings.requests_per_event = 2;
    settings.requests_per_event_given = true;
    int fd = connect_one();
    client_say(fd, "mn\r\nmn\r\nmn\r\nmn\r\nmn\r\nget a b c d\r\nmn\r\n");
    client_expect(fd, "MN\r\nMN\r\nMN\r\nMN\r\nMN\r\nEND\r\nMN\r\n");
    assert_int_equal(counter_get(&workers_get(0)->counters.conn_yields), 3);
    client_say(fd, "mn\r\n");
    client_expect(fd, "MN\r\n");
    client_close(fd);
}

static void yielding_clients_are_answered_side_by_side(void **state)
{
    enum { REQUESTS = 20000 };
    char *requests = malloc(4 * REQUESTS);

    (void)state;
    assert_non_null(requests);
    settings.requests_per_event = 1;
    settings.requests_per_event_given = true;
    int busy = connect_one();
    int other = client_attach(&listener);
    for (int i = 0; i < REQUESTS; i++)
        memcpy(requests + 4 * i, "mn\r\n", 4);
    client_send(busy, requests, 4 * REQUESTS);
    client_say(other, "mn\r\n");
    client_expect(other, "MN\r\n");
    for (int i = 0; i < REQUESTS; i++)
        client_expect(busy, "MN\r\n");
    client_close(busy);
    client_close(other);
    free(requests);
}

static void a_client_that_has_said_all_still_gets_its_answers(void **state)
{
    (void)state;
    int fd = connect_one();
    store(fd, "big", 3000000);
    client_say(fd, "get big\r\nmn\r\n");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    expect_answer(fd, "big", 3000000);
    client_expect(fd, "MN\r\n");
    client_expect_end(fd);
    client_close(fd);
}

static void quit_closes_and_nothing_after_it_is_executed(void **state)
{
    (void)state;
    int fd = connect_one();
    client_say(fd, "mn\r\nquit\r\nmn\r\n");
    client_expect(fd, "MN\r\n");
    client_expect_end(fd);
    assert_int_equal(fake_counts.operations, 2);
    client_close(fd);
}

static void idle_clients_are_closed_and_busy_ones_are_not(void **state)
{
    (void)state;
    settings.idle_timeout_s = 10;
    int idle = connect_one();
    int busy = client_attach(&listener);
    client_say(idle, "mn\r\n");
    client_expect(idle, "MN\r\n");
    clock_advance_s(9);
    client_say(busy, "mn\r\n");
    client_expect(busy, "MN\r\n");
    clock_advance_s(2);
    client_expect_end(idle);
    assert_int_equal(counter_get(&workers_get(0)->counters.idle_kicks), 1);
    client_say(busy, "mn\r\n");
    client_expect(busy, "MN\r\n");
    client_close(idle);
    client_close(busy);
}

static void a_slow_reader_is_not_idle(void **state)
{
    unsigned char *value = pattern(3000000);

    (void)state;
    settings.idle_timeout_s = 10;
    int fd = connect_one();
    store(fd, "big", 3000000);
    client_say(fd, "get big\r\n");
    client_expect(fd, "VALUE big 0 3000000\r\n");
    for (size_t at = 0; at < 3000000; at += 1000000) {
        client_expect_bytes(fd, value + at, 1000000);
        clock_advance_s(6);
        client_pause_ms(1100); /* the check runs every second */
    }
    client_expect(fd, "\r\nEND\r\n");
    client_close(fd);
    free(value);
}

static void the_first_byte_decides_about_the_protocol(void **state)
{
    unsigned char noop[24] = { 0x80, 0x0a };

    (void)state;
    int fd = connect_one();
    client_send(fd, noop, 1);
    client_pause_ms(5);
    client_send(fd, noop + 1, sizeof noop - 1);
    client_expect(fd, "MN\r\n"); /* the fake knows but one way to say it */
    int text = client_attach(&listener);
    client_say(text, "mn\r\n");
    client_expect(text, "MN\r\n");
    client_close(text);
    client_close(fd);
}

static void a_login_may_come_in_pieces_and_commands_right_behind_it(void **state)
{
    static const char login[] = "set user 0 0 9\r\nuser pass\r\nmn\r\nget a\r\n";

    (void)state;
    settings.auth_file = "users";
    listener.protocol = LISTEN_ASCII;
    start();
    for (size_t split = 1; split < sizeof login - 1; split++) {
        int fd = client_attach(&listener);
        client_send(fd, login, split);
        client_pause_ms(1);
        client_send(fd, login + split, sizeof login - 1 - split);
        client_expect(fd, "STORED\r\nMN\r\nEND\r\n");
        client_close(fd);
    }
    assert_int_equal(fake_counts.items, 0);
}

static void a_first_line_that_is_no_login_closes(void **state)
{
    char line[2100];

    (void)state;
    settings.auth_file = "users";
    listener.protocol = LISTEN_ASCII;
    int fd = connect_one();
    client_say(fd, "mn\r\n");
    client_expect_end(fd);
    client_close(fd);
    memset(line, 'x', sizeof line);
    fd = client_attach(&listener);
    client_send(fd, line, sizeof line);
    client_expect_end(fd);
    client_close(fd);
    assert_int_equal(fake_counts.operations, 0);
}

static void a_binary_login_waits_until_it_is_whole(void **state)
{
    unsigned char auth[24 + 5 + 20] = { 0x80, 0x21, 0, 5, 0, 0, 0, 0, 0, 0, 0, 25 };

    (void)state;
    settings.sasl = true;
    listener.protocol = LISTEN_BINARY;
    memcpy(auth + 24, "PLAIN", 5);
    start();
    for (size_t split = 1; split < sizeof auth; split++) {
        int fd = client_attach(&listener);
        client_send(fd, auth, split);
        client_pause_ms(1);
        client_send(fd, auth + split, sizeof auth - split);
        client_expect(fd, "LOGIN 20\r\n");
        client_close(fd);
    }
}

static void stopping_answers_what_has_arrived(void **state)
{
    (void)state;
    start();
    int fds[20];
    for (int i = 0; i < 20; i++) {
        fds[i] = client_attach(&listener);
        client_say(fds[i], "mn\r\n");
    }
    store(fds[0] = client_attach(&listener), "big", 3000000);
    client_say(fds[0], "get big\r\n");
    client_wait_until(fake_counts.operations >= 2);
    pid_t child = fork();
    if (child == 0) { /* reads while the parent is in workers_stop() */
        client_pause_ms(100);
        unsigned char *value = pattern(3000000);
        char *answer = malloc(3100000);
        size_t got = 0;
        ssize_t received;
        for (int i = 1; i < 20; i++)
            close(fds[i]);
        while (got < 3100000 && (received = recv(fds[0], answer + got, 3100000 - got, 0)) > 0)
            got += (size_t)received;
        size_t head = strlen("VALUE big 0 3000000\r\n");
        _exit(got == head + 3000000 + 7 && memcmp(answer + head, value, 3000000) == 0 ? 0 : 1);
    }
    workers_stop();
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    for (int i = 1; i < 20; i++) {
        client_expect(fds[i], "MN\r\n");
        client_expect_end(fds[i]);
        client_close(fds[i]);
    }
    client_close(fds[0]);
    start(); /* for stop() */
}

static void collect(void *context, const struct connection_description *description)
{
    *(struct connection_description *)context = *description;
}

static bool state_is(struct connection_description *seen, const char *state)
{
    workers_visit_connections(collect, seen);
    return seen->fd >= 0 && strcmp(seen->state, state) == 0;
}

static void connections_can_be_looked_at_from_another_thread(void **state)
{
    struct connection_description seen = { .fd = -1 };

    (void)state;
    int fd = connect_one();
    client_say(fd, "mn\r\n");
    client_expect(fd, "MN\r\n");
    clock_advance_s(7);
    client_wait_until(state_is(&seen, "conn_read"));
    assert_true(seen.fd >= 0);
    assert_in_range(seen.seconds_since_last_command, 6, 7);
    client_say(fd, "set a 0 0 100\r\n");
    client_wait_until(state_is(&seen, "conn_nread"));
    client_close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_command_is_answered),
        TEST(commands_that_come_byte_by_byte_are_answered_like_whole_ones),
        TEST(a_pipeline_is_answered_in_order_and_in_batches),
        TEST(long_values_arrive_whole_and_leave_from_their_items),
        TEST(a_value_may_come_in_pieces_of_any_size),
        TEST(what_follows_a_long_value_is_executed_too),
        TEST(a_value_with_a_wrong_end_is_refused),
        TEST(a_refused_value_is_swallowed),
        TEST(a_client_that_leaves_within_a_value_leaves_nothing_behind),
        TEST(a_client_that_never_reads_is_not_read_from),
        TEST(a_slow_reader_gets_everything_in_the_end),
        TEST(small_requests_for_large_answers_are_answered_piece_by_piece),
        TEST(a_long_answer_is_made_as_it_is_read),
        TEST(a_long_answer_ends_with_its_reader),
        TEST(a_watcher_is_sent_what_is_appended),
        TEST(a_watcher_that_does_not_read_misses_whole_lines),
        TEST(with_R_a_pipeline_yields),
        TEST(yielding_clients_are_answered_side_by_side),
        TEST(a_client_that_has_said_all_still_gets_its_answers),
        TEST(quit_closes_and_nothing_after_it_is_executed),
        TEST(idle_clients_are_closed_and_busy_ones_are_not),
        TEST(a_slow_reader_is_not_idle),
        TEST(the_first_byte_decides_about_the_protocol),
        TEST(a_login_may_come_in_pieces_and_commands_right_behind_it),
        TEST(a_first_line_that_is_no_login_closes),
        TEST(a_binary_login_waits_until_it_is_whole),
        TEST(stopping_answers_what_has_arrived),
        TEST(connections_can_be_looked_at_from_another_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
