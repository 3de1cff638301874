#include "tests/unit/client.h"
#include "server/worker.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>
#include <sys/time.h>
#include <cmocka.h>

static void set_timeout(int fd)
{
    struct timeval timeout = { .tv_sec = 10 };

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
}

int client_attach(const struct listener *listener)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    set_timeout(ends[0]);
    struct worker *worker = workers_get(0);
    struct connection *connection = connection_new(worker, ends[1], listener, NULL);
    assert_non_null(connection);
    worker_hand_over(worker, connection);
    return ends[0];
}

int client_connect(const struct sockaddr_storage *address)
{
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    set_timeout(fd);
    assert_int_equal(connect(fd, (const struct sockaddr *)address, sizeof *address), 0);
    return fd;
}

void client_send(int fd, const void *bytes, size_t size)
{
    const char *at = bytes;

    while (size > 0) {
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
        if (sent <= 0)
            fail_msg("cannot send: %s", strerror(errno));
        at += sent;
        size -= (size_t)sent;
    }
}

void client_say(int fd, const char *text)
{
    client_send(fd, text, strlen(text));
}

void client_expect_bytes(int fd, const void *bytes, size_t size)
{
    char *answer = malloc(size + 1);
    size_t got = 0;

    assert_non_null(answer);
    while (got < size) {
        ssize_t received = recv(fd, answer + got, size - got, 0);
        if (received <= 0)
            break;
        got += (size_t)received;
    }
    answer[got] = '\0';
    if (got < size)
        fail_msg("after %zu of %zu bytes: %s\n%.200s", got, size, strerror(errno), answer);
    if (size < 4096)
        assert_memory_equal(answer, bytes, size);
    else
        assert_true(memcmp(answer, bytes, size) == 0);
    free(answer);
}

void client_expect(int fd, const char *text)
{
    client_expect_bytes(fd, text, strlen(text));
}

void client_expect_end(int fd)
{
    char byte;
    ssize_t received = recv(fd, &byte, 1, 0);

    if (received < 0 && errno == ECONNRESET)
        received = 0;
    assert_int_equal(received, 0);
}

void client_close(int fd)
{
    assert_int_equal(close(fd), 0);
}

void client_pause_ms(int ms)
{
    struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

    nanosleep(&pause, NULL);
}
