/* The maintenance thread: sweeps the store, a slice at a time, as often as the store asks for it.
 *
 * Threads: maintenance_start() and maintenance_stop() by main(); maintenance_wake() by any. */
#ifndef SERVER_MAINTENANCE_H
#define SERVER_MAINTENANCE_H

#include <stdbool.h>

struct store;

/* Starts the thread.  False: it could not be started, and the log says why. */
bool maintenance_start(struct store *);

/* Has the next slice swept at once: the limit was lowered, or all was flushed. */
void maintenance_wake(void);

/* Ends the thread and waits for it; fine if it never started. */
void maintenance_stop(void);

#endif
