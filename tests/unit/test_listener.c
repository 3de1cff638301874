/* Listening sockets, with real workers and a fake executor. */
#include "server/listener.h"
#include "server/clock.h"
#include "server/worker.h"
#include "tests/unit/client.h"
#include "tests/unit/fake_executor.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>
#include <cmocka.h>

static pthread_t main_thread; /* runs the default loop, as main() does */
static bool is_running;
static ev_async end_loop;
static char folder[] = "/tmp/test_listener.XXXXXX";
static char path[64];

static int set_up(void **state)
{
    (void)state;
    settings_init(&settings);
    clock_init();
    settings.tcp_port = -1;
    settings.listen[0] = (struct listen_address){ .host = (char *)(uintptr_t)"127.0.0.1" };
    settings.listen_count = 1;
    unsetenv("MEMCACHED_PORT_FILENAME");
    memset(&fake_counts, 0, sizeof fake_counts);
    assert_true(workers_start(NULL, 2));
    listeners_stats_reset();
    return 0;
}

static void on_end(struct ev_loop *loop, ev_async *async, int events)
{
    (void)async;
    (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static void *run_loop(void *argument)
{
    ev_run(argument, 0);
    return NULL;
}

static void open_all(void)
{
    assert_int_equal(listeners_open(&settings), EX_OK);
    ev_async_init(&end_loop, on_end);
    ev_async_start(ev_default_loop(0), &end_loop);
    assert_int_equal(pthread_create(&main_thread, NULL, run_loop, ev_default_loop(0)), 0);
    is_running = true;
}

static int stop(void **state)
{
    (void)state;
    if (is_running) {
        ev_async_send(ev_default_loop(0), &end_loop);
        pthread_join(main_thread, NULL);
        ev_async_stop(ev_default_loop(0), &end_loop);
        is_running = false;
    }
    listeners_close();
    workers_stop();
    fake_reset();
    return 0;
}

struct wanted {
    const char *start; /* of its text */
    struct connection_description found;
    unsigned count;
};

static void match(void *context, const struct connection_description *description)
{
    struct wanted *wanted = context;

    if (strncmp(description->address, wanted->start, strlen(wanted->start)) != 0)
        return;
    wanted->found = *description;
    wanted->count++;
}

/* Connects to the one listening socket whose text begins like this. */
static int connect_to(const char *start)
{
    struct wanted wanted = { .start = start };
    struct sockaddr_storage address = { 0 };
    struct sockaddr_in *in = (void *)&address;
    struct sockaddr_in6 *in6 = (void *)&address;

    listeners_visit(match, &wanted);
    assert_int_equal(wanted.count, 1);
    in_port_t port = htons((uint16_t)atoi(strrchr(wanted.found.address, ':') + 1));
    if (strncmp(start, "tcp6", 4) == 0)
        *in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
                                      .sin6_port = port,
                                      .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    else
        *in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = port,
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    return client_connect(&address);
}

static int connect_unix(void)
{
    struct sockaddr_storage address = { .ss_family = AF_UNIX };
    struct sockaddr_un *un = (void *)&address;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    strcpy(un->sun_path, path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof *un), 0);
    return fd;
}

static void expect_service(int fd)
{
    client_say(fd, "mn\r\n");
    client_expect(fd, "MN\r\n");
}

static void clients_are_spread_over_the_workers(void **state)
{
    int fds[20];

    (void)state;
    open_all();
    for (int i = 0; i < 20; i++) {
        fds[i] = connect_to("tcp:127.0.0.1:");
        expect_service(fds[i]);
    }
    assert_int_equal(workers_get(0)->connection_count, 10);
    assert_int_equal(workers_get(1)->connection_count, 10);
    assert_int_equal(workers_connection_count(), 20);
    for (int i = 0; i < 20; i++)
        client_close(fds[i]);
    client_wait_until(workers_connection_count() == 0);
    struct listeners_stats stats;
    listeners_stats(&stats);
    assert_int_equal(stats.connections_total, 20);
    assert_true(stats.is_accepting);
}

static void without_l_it_listens_on_every_address_at_one_port(void **state)
{
    char text[256];
    struct wanted four = { .start = "tcp:0.0.0.0:" }, six = { .start = "tcp6:[::]:" };

    (void)state;
    settings.listen_count = 0;
    open_all();
    listeners_visit(match, &four);
    listeners_visit(match, &six);
    assert_int_equal(four.count, 1);
    if (six.count == 0)
        skip(); /* a machine without IPv6 */
    assert_string_equal(strrchr(four.found.address, ':'), strrchr(six.found.address, ':'));
    assert_true(listeners_face_the_network());
    int fd = connect_to("tcp6:");
    expect_service(fd);
    client_close(fd);
    listeners_describe(text, sizeof text);
    assert_non_null(strstr(text, "0.0.0.0:"));
    assert_non_null(strstr(text, " (tcp), "));
}

static void loopback_is_not_the_network(void **state)
{
    (void)state;
    open_all();
    assert_false(listeners_face_the_network());
}

static void the_port_file_tells_the_ports(void **state)
{
    char line[64];
    int port;

    (void)state;
    setenv("MEMCACHED_PORT_FILENAME", path, 1);
    settings.udp_port = -1;
    open_all();
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    assert_int_equal(sscanf(line, "TCP INET: %d\n", &port), 1);
    assert_true(port > 0);
    assert_non_null(fgets(line, sizeof line, file));
    assert_int_equal(sscanf(line, "UDP INET: %d\n", &port), 1);
    assert_null(fgets(line, sizeof line, file));
    fclose(file);
    unlink(path);
}

static void a_port_in_use_is_refused_and_nothing_stays_open(void **state)
{
    struct wanted first = { .start = "tcp:" };
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &size), 0);
    settings.listen[1] = settings.listen[0];
    settings.listen[1].port = ntohs(in.sin_port);
    settings.listen_count = 2;
    assert_int_equal(listeners_open(&settings), EX_OSERR);
    listeners_visit(match, &first);
    assert_int_equal(first.count, 0);
    close(fd);
}

static void beyond_maxconns_clients_are_told_so(void **state)
{
    struct listeners_stats stats;
    int fds[3];

    (void)state;
    settings.connections_max = 3;
    open_all();
    for (int i = 0; i < 3; i++) {
        fds[i] = connect_to("tcp:");
        expect_service(fds[i]);
    }
    int fd = connect_to("tcp:");
    client_expect(fd, "ERROR Too many open connections\r\n");
    client_expect_end(fd);
    client_close(fd);
    client_close(fds[0]);
    client_wait_until(workers_connection_count() == 2);
    fd = connect_to("tcp:");
    expect_service(fd);
    listeners_stats(&stats);
    assert_int_equal(stats.connections_rejected, 1);
    client_close(fd);
    client_close(fds[1]);
    client_close(fds[2]);
}

static void without_maxconns_fast_clients_wait_for_their_turn(void **state)
{
    struct listeners_stats stats;

    (void)state;
    settings.connections_max = 1;
    settings.maxconns_fast = false;
    open_all();
    int first = connect_to("tcp:");
    expect_service(first);
    int second = connect_to("tcp:");
    client_say(second, "mn\r\n");
    client_wait_until((listeners_stats(&stats), !stats.is_accepting));
    assert_int_equal(stats.disabled_count, 1);
    client_close(first);
    client_expect(second, "MN\r\n");
    listeners_stats(&stats);
    assert_true(stats.is_accepting);
    assert_true(stats.disabled_us > 0);
    client_close(second);
}

static void without_descriptors_it_waits_instead_of_spinning(void **state)
{
    struct listeners_stats stats;
    struct rlimit limit, low;

    (void)state;
    open_all();
    int first = connect_to("tcp:");
    expect_service(first);
    int second = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = limit;
    low.rlim_cur = (rlim_t)second + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    struct sockaddr_in in;
    socklen_t size = sizeof in;
    assert_int_equal(getpeername(first, (struct sockaddr *)&in, &size), 0);
    assert_int_equal(connect(second, (struct sockaddr *)&in, sizeof in), 0);
    client_wait_until((listeners_stats(&stats), !stats.is_accepting));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    client_say(second, "mn\r\n");
    client_expect(second, "MN\r\n");
    client_close(first);
    client_close(second);
}

static void a_unix_socket_has_the_mask_and_goes_at_the_end(void **state)
{
    struct stat status;

    (void)state;
    settings.unix_path = path;
    settings.unix_mask = 0750;
    open_all();
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0750);
    int fd = connect_unix();
    expect_service(fd);
    client_close(fd);
    assert_false(listeners_face_the_network());
    stop(NULL);
    assert_int_equal(stat(path, &status), -1);
    assert_true(workers_start(NULL, 1)); /* for stop() */
}

static void a_unix_socket_that_somebody_left_behind_is_replaced(void **state)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)state;
    strcpy(un.sun_path, path);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    close(fd);
    settings.unix_path = path;
    open_all();
    fd = connect_unix();
    expect_service(fd);
    client_close(fd);
}

static void a_unix_socket_in_use_and_a_file_are_left_alone(void **state)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct stat status;

    (void)state;
    strcpy(un.sun_path, path);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    assert_int_equal(listen(fd, 1), 0);
    settings.unix_path = path;
    assert_int_equal(listeners_open(&settings), EX_OSERR);
    assert_int_equal(stat(path, &status), 0);
    close(fd);
    unlink(path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(listeners_open(&settings), EX_OSERR);
    assert_int_equal(stat(path, &status), 0);
    unlink(path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(clients_are_spread_over_the_workers),
        TEST(without_l_it_listens_on_every_address_at_one_port),
        TEST(loopback_is_not_the_network),
        TEST(the_port_file_tells_the_ports),
        TEST(a_port_in_use_is_refused_and_nothing_stays_open),
        TEST(beyond_maxconns_clients_are_told_so),
        TEST(without_maxconns_fast_clients_wait_for_their_turn),
        TEST(without_descriptors_it_waits_instead_of_spinning),
        TEST(a_unix_socket_has_the_mask_and_goes_at_the_end),
        TEST(a_unix_socket_that_somebody_left_behind_is_replaced),
        TEST(a_unix_socket_in_use_and_a_file_are_left_alone),
    };
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(path, sizeof path, "%s/socket", folder);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
