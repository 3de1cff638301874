/* server/process.c and server/log.c */
#include "server/log.h"
#include "server/process.h"
#include "server/settings.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

/* stderr goes into a pipe while a test looks at it. */
static int kept_stderr, log_pipe[2];

static int capture_log(void **state)
{
    (void)state;
    kept_stderr = dup(STDERR_FILENO);
    settings_init(&settings);
    return pipe(log_pipe) != 0 || dup2(log_pipe[1], STDERR_FILENO) < 0;
}

static int release_log(void **state)
{
    (void)state;
    dup2(kept_stderr, STDERR_FILENO);
    close(kept_stderr);
    close(log_pipe[0]);
    close(log_pipe[1]);
    return 0;
}

/* What was logged since the last look; the caller's buffer is terminated. */
static void read_log(char text[4096])
{
    ssize_t got;

    assert_int_equal(write(log_pipe[1], "#", 1), 1); /* so that there is something to read */
    got = read(log_pipe[0], text, 4095);
    assert_true(got >= 1);
    text[got - 1] = '\0';
}

static void errors_warnings_and_notices_are_always_logged(void **state)
{
    char text[4096];

    (void)state;
    log_error("one %d", 1);
    log_warning("two");
    log_notice("three");
    read_log(text);
    assert_string_equal(text, "ringcached: error: one 1\nringcached: warning: two\n"
                              "ringcached: three\n");
}

static void verbosity_decides_on_the_rest(void **state)
{
    char text[4096];

    (void)state;
    settings.verbosity = 0;
    log_info("hidden");
    log_debug("hidden");
    assert_false(log_shows_debug());
    settings.verbosity = 1;
    log_info("shown");
    log_debug("hidden");
    settings.verbosity = 2;
    log_debug("shown too");
    assert_true(log_shows_debug());
    read_log(text);
    assert_string_equal(text, "ringcached: shown\nringcached: shown too\n");
}

static void a_line_too_long_is_cut_and_stays_one_line(void **state)
{
    char text[4096], much[3000];

    (void)state;
    memset(much, 'x', sizeof much);
    much[sizeof much - 1] = '\0';
    log_error("%s", much);
    read_log(text);
    assert_true(strlen(text) < 2100);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void a_pid_file_names_us_and_goes_away(void **state)
{
    char path[] = "/tmp/ringcached-test-pid-XXXXXX";
    int fd = mkstemp(path);
    long pid = 0;

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    process_write_pid_file(path);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld", &pid), 1);
    fclose(file);
    assert_int_equal(pid, getpid());
    process_remove_pid_file(path);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void a_pid_file_of_a_running_process_is_worth_a_warning(void **state)
{
    char path[] = "/tmp/ringcached-test-pid-XXXXXX";
    char text[4096];
    int fd = mkstemp(path);

    (void)state;
    dprintf(fd, "%ld\n", (long)getppid());
    close(fd);
    process_write_pid_file(path);
    read_log(text);
    assert_non_null(strstr(text, "running process"));
    process_remove_pid_file(path);
}

static void a_pid_file_that_cannot_be_written_is_a_warning(void **state)
{
    char text[4096];

    (void)state;
    process_write_pid_file("/nonexistent/pid");
    read_log(text);
    assert_non_null(strstr(text, "/nonexistent/pid"));
}

static void systemd_hears_the_state_on_its_socket(void **state)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char heard[64] = "";
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    (void)state;
    snprintf(address.sun_path, sizeof address.sun_path, "/tmp/ringcached-test-notify-%ld",
             (long)getpid());
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    process_notify("READY=1");
    assert_int_equal(recv(fd, heard, sizeof heard - 1, MSG_DONTWAIT), 7);
    assert_string_equal(heard, "READY=1");
    unsetenv("NOTIFY_SOCKET");
    process_notify("STOPPING=1");
    assert_int_equal(recv(fd, heard, sizeof heard - 1, MSG_DONTWAIT), -1);
    close(fd);
    unlink(address.sun_path);
}

static void systemd_hears_the_state_on_an_abstract_socket(void **state)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char name[64], heard[64] = "";
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    (void)state;
    int size = snprintf(name, sizeof name, "@ringcached-test-%ld", (long)getpid());
    memcpy(address.sun_path + 1, name + 1, (size_t)size - 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)size)),
                     0);
    setenv("NOTIFY_SOCKET", name, 1);
    process_notify("STOPPING=1");
    assert_int_equal(recv(fd, heard, sizeof heard - 1, MSG_DONTWAIT), 10);
    unsetenv("NOTIFY_SOCKET");
    close(fd);
}

static void the_limit_of_open_files_rises_to_what_clients_need(void **state)
{
    struct rlimit limit;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 64;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(process_allow_connections(100), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(limit.rlim_cur >= 100);
}

static void more_connections_than_files_can_be_open_is_an_os_error(void **state)
{
    char text[4096];

    (void)state;
    assert_int_equal(process_allow_connections(2000000000), 71);
    read_log(text);
    assert_non_null(strstr(text, "failed to set rlimit for open files"));
}

int main(void)
{
#define LOGGED(test) cmocka_unit_test_setup_teardown(test, capture_log, release_log)
    const struct CMUnitTest tests[] = {
        LOGGED(errors_warnings_and_notices_are_always_logged),
        LOGGED(verbosity_decides_on_the_rest),
        LOGGED(a_line_too_long_is_cut_and_stays_one_line),
        LOGGED(a_pid_file_names_us_and_goes_away),
        LOGGED(a_pid_file_of_a_running_process_is_worth_a_warning),
        LOGGED(a_pid_file_that_cannot_be_written_is_a_warning),
        LOGGED(systemd_hears_the_state_on_its_socket),
        LOGGED(systemd_hears_the_state_on_an_abstract_socket),
        LOGGED(the_limit_of_open_files_rises_to_what_clients_need),
        LOGGED(more_connections_than_files_can_be_open_is_an_os_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
