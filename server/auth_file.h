/* Logins for the text protocol (-Y): a file of `user:password` lines.
 *
 * At most AUTH_ENTRIES_MAX lines of at most AUTH_ENTRY_BYTES_MAX bytes; the first colon ends the
 * user's name.  Empty lines are passed over.
 *
 * Threads: any; the table is behind a lock of its own, under which nothing else is locked. */
#ifndef SERVER_AUTH_FILE_H
#define SERVER_AUTH_FILE_H

#include "ring/slice.h"

#define AUTH_ENTRIES_MAX     8
#define AUTH_ENTRY_BYTES_MAX 256

/* Reads the file and, if all of it is well formed, puts it in the place of the table before.
 * False: the table is as it was, and the log says what is wrong in which line. */
bool auth_file_load(const char *path);

/* Whether the file has this user with this password.  Takes the same time whatever is wrong with
 * them. */
bool auth_file_check(struct slice user, struct slice password);

/* Wipes the table: from then on nobody can log in. */
void auth_file_clear(void);

#endif
