/* A pretended cluster behind real workers, connections, parsers and executor: stands in for
 * server/request.c, command.c and cluster.c, and answers when it likes.
 *
 * Requests are kept until the test lets them be answered: some of those in flight, in any order, at
 * the start of each turn of the worker's loop; some at once.  A command is done when it is
 * answered, on a list of keys and values: so one that overtakes another of its key is seen.
 *
 * Keys whose names begin with f cannot be read; those that begin with o are this node's own, and R
 * is 1 for them. */
#ifndef TESTS_UNIT_PRETENDED_CLUSTER_H
#define TESTS_UNIT_PRETENDED_CLUSTER_H

#include "server/listener.h"
#include "server/store.h"

extern struct store *pretended_store;
extern _Atomic unsigned percent_at_once;  /* answered before requests_start() returns */
extern _Atomic unsigned percent_per_turn; /* of those in flight */
extern _Atomic unsigned in_flight, in_flight_max, started;

/* Settings and a store as by default, and a cluster where nothing is in flight.  For cmocka, as is
 * pretended_tear_down(), which stops workers that still run. */
int pretended_set_up(void **state);
int pretended_tear_down(void **state);

/* Forgets all values.  No worker runs. */
void pretended_clear(void);

#endif
