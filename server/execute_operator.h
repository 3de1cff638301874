/* Commands that the cluster thread answers: `cluster ...`, `stats cluster` and its like, `debug`
 * about the cluster, and the list of nodes for clients that discover them.
 *
 * Threads: called by a worker for a connection of its own that has nothing pending, except for
 * execute_discovery(). */
#ifndef SERVER_EXECUTE_OPERATOR_H
#define SERVER_EXECUTE_OPERATOR_H

#include "server/arguments.h"
#include "server/execution.h"

/* Each returns false if it did nothing: this process is no node of a cluster, or the words are none
 * of its commands. */
bool execute_operator_stats(struct execution *, const struct operation *, const struct arguments *);
bool execute_operator_debug(struct execution *, const struct operation *, const struct arguments *);
bool execute_operator_config(struct execution *, const struct operation *);

/* `get AmazonElastiCache:cluster`, as clients ask that do not know `config get cluster`.  There may
 * be something pending.  False, and nothing is done: it is another key, as nearly all are. */
#define DISCOVERY_KEY "AmazonElastiCache:cluster"
bool execute_operator_discovery(struct execution *, const struct operation *);

/* Whether it may be that: to be asked before every get. */
static inline bool execute_may_be_discovery(const struct operation *operation)
{
    return operation->key.size == sizeof DISCOVERY_KEY - 1;
}

#endif
