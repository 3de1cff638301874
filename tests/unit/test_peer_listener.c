/* The peer listener: who may be listened for, and who gets which connection. */
#include "server/peer_listener.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct ev_loop *loop;
static struct peer_listener *listener;
static enum peer_link_use taken_use;
static int taken_fd;

static void take(void *context, enum peer_link_use use, int fd)
{
    (void)context;
    taken_use = use;
    taken_fd = fd;
}

static struct peer_listener *listen_for(const char *address, bool is_protected,
                                        unsigned greeting_ms_max)
{
    const struct peer_listener_options options = {.address = address,
                                                  .is_protected = is_protected,
                                                  .greeting_ms_max = greeting_ms_max,
                                                  .take = take};

    return peer_listener_open(&options);
}

/* One whose patience outlasts a busy machine. */
static struct peer_listener *listen_at(const char *address, bool is_protected)
{
    return listen_for(address, is_protected, 10000);
}

static int set_up(void **state)
{
    (void)state;
    taken_fd = -1;
    taken_use = 0;
    loop = ev_loop_new(EVFLAG_NOENV | EVBACKEND_EPOLL);
    listener = listen_at("127.0.0.1:0", false);
    if (loop == NULL || listener == NULL)
        return 1;
    peer_listener_start(listener, loop);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    peer_listener_close(listener);
    ev_loop_destroy(loop);
    if (taken_fd >= 0)
        close(taken_fd);
    return 0;
}

static int connect_to(const struct peer_listener *to)
{
    const char *text = peer_listener_text(to);
    struct sockaddr_storage address;
    socklen_t bytes;

    assert_true(peer_address_resolve(text, strlen(text), &address, &bytes));
    int fd = socket(address.ss_family, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, bytes), 0);
    return fd;
}

/* Runs the loop for a while, or until somebody took a connection. */
static void run_for(unsigned ms)
{
    for (unsigned i = 0; i < ms && taken_fd < 0; i++) {
        ev_run(loop, EVRUN_NOWAIT);
        usleep(1000);
    }
}

static size_t greeting(enum peer_link_use use, unsigned char *out)
{
    const struct peer_message message = {.type = PEER_HELLO,
                                         .hello = {.version = PEER_VERSION, .from = 5, .use = use}};

    return peer_encode_head(&message, out);
}

static void nothing_but_loopback_is_listened_on_without_a_secret(void **state)
{
    static const char *const wrong[] = {"192.0.2.1:0", "0.0.0.0:0", "[::]:0",          "127.0.0.1",
                                        "127.0.0.1:x", ":7001",     "127.0.0.1:70000", "[::1:5"};

    (void)state;
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_null(listen_at(wrong[i], false));
    assert_null(listen_at("0.0.0.0:0", true)); /* others could not be told where this is */
    struct peer_listener *secret = listen_at("127.0.0.2:0", true);
    assert_non_null(secret);
    peer_listener_close(secret);
}

static void who_connects_is_handed_over_with_its_greeting_unread(void **state)
{
    unsigned char out[256], in[256];

    (void)state;
    int fd = connect_to(listener);
    size_t bytes = greeting(PEER_LINK_REQUESTS, out);
    assert_int_equal(write(fd, out, bytes), bytes);
    run_for(2000);
    assert_true(taken_fd >= 0);
    assert_int_equal(taken_use, PEER_LINK_REQUESTS);
    assert_int_equal(read(taken_fd, in, sizeof in), bytes);
    assert_memory_equal(in, out, bytes);
    close(fd);
}

static void a_greeting_may_come_in_pieces(void **state)
{
    unsigned char out[256];

    (void)state;
    int fd = connect_to(listener);
    size_t bytes = greeting(PEER_LINK_BACKGROUND, out);
    assert_int_equal(write(fd, out, 10), 10);
    run_for(20);
    assert_int_equal(taken_fd, -1);
    assert_int_equal(write(fd, out + 10, bytes - 10), bytes - 10);
    run_for(2000);
    assert_int_equal(taken_use, PEER_LINK_BACKGROUND);
    close(fd);
}

static void what_is_no_greeting_is_left_to_the_background_links_to_refuse(void **state)
{
    char line[100];

    (void)state;
    memset(line, 'x', sizeof line);
    int fd = connect_to(listener);
    assert_int_equal(write(fd, line, sizeof line), sizeof line);
    run_for(2000);
    assert_true(taken_fd >= 0);
    assert_int_equal(taken_use, PEER_LINK_BACKGROUND);
    close(fd);
}

static void who_says_nothing_is_dropped(void **state)
{
    struct peer_listener *impatient = listen_for("127.0.0.1:0", false, 20);
    ssize_t received = -1;
    char byte;

    (void)state;
    assert_non_null(impatient);
    peer_listener_start(impatient, loop);
    int fd = connect_to(impatient);
    for (unsigned i = 0; i < 5000 && received < 0; i++) {
        run_for(1);
        received = recv(fd, &byte, 1, MSG_DONTWAIT);
    }
    assert_int_equal(received, 0);
    assert_int_equal(taken_fd, -1);
    close(fd);
    peer_listener_close(impatient);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_but_loopback_is_listened_on_without_a_secret,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_connects_is_handed_over_with_its_greeting_unread,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_greeting_may_come_in_pieces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            what_is_no_greeting_is_left_to_the_background_links_to_refuse, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_says_nothing_is_dropped, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
