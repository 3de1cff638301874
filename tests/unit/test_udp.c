/* UDP, with a real worker and a fake executor. */
#include "server/udp.h"
#include "server/clock.h"
#include "server/worker.h"
#include "tests/unit/client.h"
#include "tests/unit/fake_executor.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>
#include <cmocka.h>

static struct listener listener;
static int client; /* connected to the worker's socket */

static int set_up(void **state)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof in;
    struct timeval timeout = { .tv_usec = 300000 };

    (void)state;
    settings_init(&settings);
    clock_init();
    memset(&fake_counts, 0, sizeof fake_counts);
    assert_true(workers_start(NULL, 1));
    listener = (struct listener){ .transport = TRANSPORT_UDP, .tls = LISTEN_TLS_OFF };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &size), 0);
    worker_hand_over(workers_get(0), connection_new(workers_get(0), fd, &listener, NULL));
    client = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&in, sizeof in), 0);
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    close(client);
    workers_stop();
    fake_reset();
    assert_int_equal(fake_counts.items, 0);
    assert_int_equal(fake_counts.productions, 0);
    return 0;
}

static void ask_framed(const unsigned char header[UDP_HEADER_BYTES], const void *bytes,
                       size_t size)
{
    unsigned char datagram[65000];

    memcpy(datagram, header, UDP_HEADER_BYTES);
    memcpy(datagram + UDP_HEADER_BYTES, bytes, size);
    assert_int_equal(send(client, datagram, UDP_HEADER_BYTES + size, 0),
                     (int)(UDP_HEADER_BYTES + size));
}

static void ask(const char *text)
{
    const unsigned char header[UDP_HEADER_BYTES] = { 0xab, 0xcd, 0, 0, 0, 1, 0, 0 };

    ask_framed(header, text, strlen(text));
}

/* Puts the datagrams of one answer together; returns how many there were. */
static unsigned receive_answer(char *answer, size_t *answer_bytes)
{
    unsigned char datagram[2000];
    unsigned total = 1, count;

    *answer_bytes = 0;
    for (count = 0; count < total; count++) {
        ssize_t size = recv(client, datagram, sizeof datagram, 0);
        if (size < 0)
            return count;
        assert_in_range(size, UDP_HEADER_BYTES + 1, UDP_DATAGRAM_BYTES);
        assert_int_equal(datagram[0], 0xab);
        assert_int_equal(datagram[1], 0xcd);
        assert_int_equal(datagram[2] << 8 | datagram[3], count);
        total = (unsigned)(datagram[4] << 8 | datagram[5]);
        assert_int_equal(datagram[6] << 8 | datagram[7], 0);
        memcpy(answer + *answer_bytes, datagram + UDP_HEADER_BYTES,
               (size_t)size - UDP_HEADER_BYTES);
        *answer_bytes += (size_t)size - UDP_HEADER_BYTES;
    }
    return count;
}

static void expect(const char *text)
{
    char answer[4096];
    size_t size;

    assert_int_equal(receive_answer(answer, &size), 1);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(answer, text, size);
}

static void expect_silence(void)
{
    char answer[4096];
    size_t size;

    assert_int_equal(receive_answer(answer, &size), 0);
}

static void a_request_is_answered_under_its_id(void **state)
{
    (void)state;
    ask("set a 0 0 5\r\nhello\r\n");
    expect("STORED\r\n");
    ask("get a\r\n");
    expect("VALUE a 0 5\r\nhello\r\nEND\r\n");
}

static void a_long_answer_comes_in_numbered_datagrams(void **state)
{
    static const size_t sizes[] = { 1392 - 29, 4000, 20000, 30000 };
    char *request = calloc(1, 65000), *answer = calloc(1, 100000);

    (void)state;
    assert_non_null(request);
    assert_non_null(answer);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t size;
        int head = sprintf(request, "set big 0 0 %zu\r\n", sizes[i]);
        for (size_t at = 0; at < sizes[i]; at++)
            request[(size_t)head + at] = (char)('a' + at % 26);
        strcpy(request + (size_t)head + sizes[i], "\r\n");
        ask(request);
        expect("STORED\r\n");
        ask("get big big\r\n");
        unsigned count = receive_answer(answer, &size);
        int line = sprintf(request, "VALUE big 0 %zu\r\n", sizes[i]);
        assert_int_equal(size, 2 * ((size_t)line + sizes[i] + 2) + 5);
        assert_int_equal(count, (size + 1391) / 1392);
        assert_memory_equal(answer + line, answer + 2 * (size_t)line + sizes[i] + 2, sizes[i]);
        assert_memory_equal(answer + size - 7, "\r\nEND\r\n", 7);
    }
    free(request);
    free(answer);
}

static void an_answer_of_too_many_datagrams_is_refused(void **state)
{
    char *request = calloc(1, 65000);

    (void)state;
    assert_non_null(request);
    int head = sprintf(request, "set big 0 0 50000\r\n");
    memset(request + head, 'x', 50000);
    strcpy(request + head + 50000, "\r\n");
    ask(request);
    expect("STORED\r\n");
    ask("get big big big\r\n");
    expect("SERVER_ERROR answer too large for UDP\r\n");
    free(request);
}

static void what_is_no_whole_request_is_dropped(void **state)
{
    const unsigned char one_of_two[UDP_HEADER_BYTES] = { 0xab, 0xcd, 0, 0, 0, 2, 0, 0 };
    const unsigned char second[UDP_HEADER_BYTES] = { 0xab, 0xcd, 0, 1, 0, 1, 0, 0 };

    (void)state;
    ask_framed(one_of_two, "get a\r\n", 7);
    ask_framed(second, "get a\r\n", 7);
    ask("");
    ask("get a");
    ask("set a 0 0 10\r\nshort");
    assert_int_equal(send(client, "abc", 3, 0), 3);
    expect_silence();
    assert_int_equal(fake_counts.operations, 0);
    ask("mn\r\n");
    expect("MN\r\n");
}

static void each_datagram_starts_anew(void **state)
{
    unsigned char noop[24] = { 0x80, 0x0a };
    const unsigned char header[UDP_HEADER_BYTES] = { 0xab, 0xcd, 0, 0, 0, 1, 0, 0 };

    (void)state;
    ask("get a b c"); /* the parser is left within a line */
    ask_framed(header, noop, sizeof noop);
    expect("MN\r\n");
    ask("mn\r\n");
    expect("MN\r\n");
    ask("quit\r\n");
    ask("mn\r\n");
    expect("MN\r\n");
}

static void what_needs_a_connection_is_refused(void **state)
{
    (void)state;
    ask("watch\r\n");
    expect("WATCHER_FAILED\r\n");
    ask("lru_crawler metadump all\r\n");
    expect_silence();
    ask("mn\r\n");
    expect("MN\r\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_request_is_answered_under_its_id),
        TEST(a_long_answer_comes_in_numbered_datagrams),
        TEST(an_answer_of_too_many_datagrams_is_refused),
        TEST(what_is_no_whole_request_is_dropped),
        TEST(each_datagram_starts_anew),
        TEST(what_needs_a_connection_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
