/* Node table: the nodes that ever wrote something that is held here, as 16-bit handles, so that an
 * item names its writer in two bytes instead of eight (server/item.h).
 *
 * It only grows: a handle means the same node for as long as the process lives.  A node that starts
 * anew takes a new id, so in time there may be many; past NODE_HANDLES_MAX there are no more
 * handles, and what is written by further nodes is stored with whole ids (server/cell_store.h).
 *
 * Threads: any, and nobody waits but those who add a node. */
#ifndef SERVER_NODE_TABLE_H
#define SERVER_NODE_TABLE_H

#include "ring/context.h"
#include <pthread.h>

#define NODE_HANDLES_MAX 4096u
#define NODE_HANDLE_NONE 0u

/* Who may touch which field:
 *   [A] anyone, atomically: written under the lock, once    [L] under the lock */
struct node_table {
    pthread_mutex_t lock;
    unsigned count;                               /* [L] handles given: 1 to count */
    _Atomic node_id ids[NODE_HANDLES_MAX + 1];    /* [A] by handle */
    _Atomic uint16_t slots[4 * NODE_HANDLES_MAX]; /* [A] handles, by a hash of the id; 0: free */
};

/* `table` is zeroed. */
void node_table_init(struct node_table *);
void node_table_deinit(struct node_table *);

/* The handle of a real node, given at its first call; NODE_HANDLE_NONE if there are no more. */
unsigned node_table_handle(struct node_table *, node_id);

/* The node of a handle that was given. */
node_id node_table_id(const struct node_table *, unsigned handle);

#endif
