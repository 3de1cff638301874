/* Executing operations on a node of a cluster: what has a key is asked for (server/request.h), and
 * answered when other nodes have answered, in the order of its connection (server/pending.h).  What
 * has none is executed here, as without a cluster.
 *
 * For server/execute.h alone, when the worker has requests.
 *
 * Threads: called by a worker for a connection of its own. */
#ifndef SERVER_EXECUTE_CLUSTER_H
#define SERVER_EXECUTE_CLUSTER_H

#include "protocol/operation.h"

struct execution;
struct item;

/* As execute_batch(), all keys being hashed.  Answers that come at once go to the execution's
 * output, which is the worker's, unless others are due before them. */
void execute_cluster_batch(struct execution *, struct operation *operations, unsigned count);

/* As execute_store_begin() and execute_store_finish(), for a store that is no login. */
struct item *execute_cluster_store_begin(struct execution *, struct operation *);
void execute_cluster_store_finish(struct execution *, struct operation *, struct item *,
                                  bool ends_well);

#endif
