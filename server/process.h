/* What a Unix server does to itself: limits, identity, going to the background, its pid file, the
 * signals that stop it and the word to systemd.
 *
 * Functions that can fail return 0 or the exit code (sysexits.h) with which main() should end;
 * they have said why.
 *
 * Threads: main() only, but for process_stop(). */
#ifndef SERVER_PROCESS_H
#define SERVER_PROCESS_H

#include <stdbool.h>

/* Ends the server as SIGTERM does (is_graceful: as SIGUSR1 does).  Any thread: `shutdown`. */
void process_stop(bool is_graceful);

/* Raises the limit of open files to what `connections` clients need, and our own besides. */
int process_allow_connections(unsigned connections);

/* -r: lets the process leave a core file of any size. */
int process_allow_core_dumps(void);

/* -k: raises the limit of locked memory, while we are root. */
void process_allow_locked_memory(void);
/* -k: keeps all memory, also the future one, from being swapped out.  Only warns if it fails. */
void process_lock_memory(void);

/* -u: becomes that user for good.  `user` may be NULL unless we are root. */
int process_become_user(const char *user, bool keeps_core_dumps);

/* -d: goes on in a child without a terminal.  The parent waits for process_daemon_ready(), then
 * exits with its code, so that `ringcached -d` returns when the server listens or has failed. */
int process_daemonise(void);
/* Lets the waiting parent go, and stdin, stdout and (unless `keeps_stderr`) stderr too.  Does
 * nothing if we are no daemon. */
void process_daemon_ready(bool keeps_stderr);

/* -P: writes our pid to the file; warns of a running one that is in it already. */
void process_write_pid_file(const char *path);
void process_remove_pid_file(const char *path);

/* Keeps the signals that main() handles waiting until its loop takes them, in this thread and in
 * all that it starts from now on. */
void process_block_signals(void);

/* Tells systemd, if it started us with Type=notify: "READY=1", "STOPPING=1". */
void process_notify(const char *state);

#endif
