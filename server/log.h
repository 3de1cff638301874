/* The log: one line per message, on stderr, each saying what happened, where, and what to do.
 *
 * At verbosity 0 come errors, warnings and what an operator has to know (log_notice); each -v adds
 * a level.  A line is written by one call, so that lines of different threads do not mix.
 *
 * Threads: any. */
#ifndef SERVER_LOG_H
#define SERVER_LOG_H

#include <stdbool.h>

/* Something was given up: a request, a reload, the start. */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* We go on, but somebody should look. */
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* What an operator wants to see once, like the addresses we listen on. */
void log_notice(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* -v: connections that fail, logins refused, reloads. */
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* -vv: each connection and command. */
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whether log_debug() would write: for callers whose arguments are dear. */
bool log_shows_debug(void);

/* What an errno says, in English, for any thread. */
const char *log_error_text(int error_number);

#endif
