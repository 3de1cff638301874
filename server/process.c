#include "server/process.h"
#include "server/log.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

/* Files that are open besides the clients' connections: listeners, each worker's loop, logs. */
#define FILES_OF_OUR_OWN 256

void process_stop(bool is_graceful)
{
    kill(getpid(), is_graceful ? SIGUSR1 : SIGINT);
}

/* --- limits --- */

int process_allow_connections(unsigned connections)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)connections + FILES_OF_OUR_OWN;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        log_error("cannot ask for the limit of open files: %s", log_error_text(errno));
        return EX_OSERR;
    }
    if (limit.rlim_cur >= wanted)
        return 0;

    struct rlimit raised = {
        .rlim_cur = wanted,
        .rlim_max = limit.rlim_max > wanted ? limit.rlim_max : wanted,
    };
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
        return 0;
    /* We may not have more than the hard limit: enough, if it is for the clients alone. */
    raised = (struct rlimit){ .rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max };
    if (limit.rlim_max >= connections && setrlimit(RLIMIT_NOFILE, &raised) == 0)
        return 0;
    log_error("failed to set rlimit for open files: -c %u needs %llu, at most %llu are allowed: "
              "start as root, raise `ulimit -n` or give a lower -c",
              connections, (unsigned long long)wanted, (unsigned long long)limit.rlim_max);
    return EX_OSERR;
}

int process_allow_core_dumps(void)
{
    struct rlimit limit = { .rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY };

    if (setrlimit(RLIMIT_CORE, &limit) == 0)
        return 0;
    if (getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max > 0) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_CORE, &limit) == 0)
            return 0;
    }
    log_error("-r: no core files are allowed here (ulimit -H -c is 0): raise it or leave -r away");
    return EX_OSERR;
}

void process_allow_locked_memory(void)
{
    struct rlimit limit = { .rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY };

    (void)setrlimit(RLIMIT_MEMLOCK, &limit); /* if it is not allowed, locking may still be */
}

/* Pages are locked once they are used: much of what is mapped is only reserved. */
void process_lock_memory(void)
{
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0)
        log_warning("-k: cannot lock memory: %s: raise `ulimit -l` or start as root; going on "
                    "without",
                    log_error_text(errno));
}

/* --- identity --- */

int process_become_user(const char *user, bool keeps_core_dumps)
{
    if (geteuid() != 0)
        return 0;
    if (user == NULL) {
        log_error("must add '-u root' to start as root, or better another user");
        return EX_USAGE;
    }
    const struct passwd *entry = getpwnam(user);
    if (entry == NULL) {
        log_error("can't find the user %s to switch to: give -u the name of one that exists", user);
        return EX_NOUSER;
    }
    /* EPERM: in a container without that right there are no groups to lose. */
    if (setgroups(0, NULL) != 0 && errno != EPERM) {
        log_error("cannot drop the groups of root: %s", log_error_text(errno));
        return EX_OSERR;
    }
    if (setgid(entry->pw_gid) != 0 || setuid(entry->pw_uid) != 0) {
        log_error("cannot become user %s: %s", user, log_error_text(errno));
        return EX_OSERR;
    }
    if (keeps_core_dumps) /* changing identity has turned them off */
        prctl(PR_SET_DUMPABLE, 1);
    return 0;
}

/* --- background --- */

/* The end of the pipe on which the parent waits; -1: we are no daemon. */
static int parent_pipe = -1;

/* Waits for the child to listen or to end, then ends like it. */
static _Noreturn void await_child(int from_child, pid_t child)
{
    char ready;
    int status;
    ssize_t got;

    do
        got = read(from_child, &ready, 1);
    while (got < 0 && errno == EINTR);
    if (got == 1)
        _exit(EXIT_SUCCESS);
    if (waitpid(child, &status, 0) == child && WIFEXITED(status))
        _exit(WEXITSTATUS(status));
    _exit(EXIT_FAILURE);
}

int process_daemonise(void)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0) {
        log_error("-d: no pipe: %s", log_error_text(errno));
        return EX_OSERR;
    }
    pid_t child = fork();
    if (child < 0) {
        log_error("-d: cannot fork: %s", log_error_text(errno));
        close(ends[0]);
        close(ends[1]);
        return EX_OSERR;
    }
    if (child > 0) {
        close(ends[1]);
        await_child(ends[0], child);
    }
    close(ends[0]);
    parent_pipe = ends[1];
    setsid();
    return 0;
}

void process_daemon_ready(bool keeps_stderr)
{
    if (parent_pipe < 0)
        return;

    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nowhere >= 0) {
        dup2(nowhere, STDIN_FILENO);
        dup2(nowhere, STDOUT_FILENO);
        if (!keeps_stderr)
            dup2(nowhere, STDERR_FILENO);
        if (nowhere > STDERR_FILENO)
            close(nowhere);
    }
    if (write(parent_pipe, "!", 1) != 1) {
        /* The parent was killed: nobody waits. */
    }
    close(parent_pipe);
    parent_pipe = -1;
}

/* --- pid file --- */

static void warn_of_running(const char *path)
{
    FILE *file = fopen(path, "re");
    long pid;

    if (file == NULL)
        return;
    if (fscanf(file, "%ld", &pid) == 1 && pid > 1 && pid != getpid() &&
        (kill((pid_t)pid, 0) == 0 || errno == EPERM))
        log_warning("the pid file %s names a running process, %ld: overwriting it", path, pid);
    fclose(file);
}

void process_write_pid_file(const char *path)
{
    char *draft;

    warn_of_running(path);
    if (asprintf(&draft, "%s.tmp", path) < 0)
        return;
    FILE *file = fopen(draft, "we");
    bool is_written = file != NULL && fprintf(file, "%ld\n", (long)getpid()) > 0;
    if (file != NULL && fclose(file) != 0)
        is_written = false;
    if (!is_written || rename(draft, path) != 0) {
        log_warning("cannot write the pid file %s: %s: going on without it", path,
                    log_error_text(errno));
        unlink(draft);
    }
    free(draft);
}

void process_remove_pid_file(const char *path)
{
    if (unlink(path) != 0 && errno != ENOENT)
        log_warning("cannot remove the pid file %s: %s", path, log_error_text(errno));
}

/* --- signals --- */

void process_block_signals(void)
{
    static const int handled[] = { SIGINT, SIGTERM, SIGUSR1, SIGHUP };
    sigset_t set;

    signal(SIGPIPE, SIG_IGN); /* a client that went away is an error of its write, not of ours */
    sigemptyset(&set);
    for (unsigned i = 0; i < sizeof handled / sizeof *handled; i++)
        sigaddset(&set, handled[i]);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* --- systemd --- */

/* The protocol of sd_notify(3): one datagram to the socket that NOTIFY_SOCKET names. */
void process_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    if (path == NULL)
        return;
    size_t size = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || size < 2 || size >= sizeof address.sun_path) {
        log_warning("NOTIFY_SOCKET is no socket's path: \"%s\"; systemd is not told %s", path, state);
        return;
    }
    memcpy(address.sun_path, path, size);
    if (path[0] == '@')
        address.sun_path[0] = '\0'; /* an abstract name */

    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
                         length) < 0)
        log_warning("cannot tell systemd %s: %s", state, log_error_text(errno));
    if (fd >= 0)
        close(fd);
}
