/* Executing operations: against the store for those with a key, against the server for the rest.
 *
 * Threads: called by a worker for a connection of its own. */
#ifndef SERVER_EXECUTE_H
#define SERVER_EXECUTE_H

#include "protocol/operation.h"
#include "server/output.h"

struct connection;
struct item;
struct worker;

/* Executes operations that were parsed from one read, in order, and appends all their answers.
 * All keys are hashed and prefetched first.  At most the last one may be a VERB_BARRIER or later.
 * Every operation's value is in its `value` slice. */
void execute_batch(struct worker *, struct connection *, struct operation *operations,
                   unsigned count, struct output *);

/* A store whose value has yet to be read: gives the item to read it into (`item_value()`,
 * operation->value.size bytes), or NULL when the operation is refused; the answer is then in the
 * output, and the caller lets the parser swallow the value. */
struct item *execute_store_begin(struct worker *, struct connection *, struct operation *,
                                 struct output *);

/* The value is complete, with the right end or not.  Takes the item.  `operation` is as given to
 * execute_store_begin(), its slices still valid. */
void execute_store_finish(struct worker *, struct connection *, struct operation *, struct item *,
                          bool ends_well, struct output *);

/* The connection broke before the value was complete. */
void execute_store_abandon(struct worker *, struct item *);

#endif
