/* Some nodes' requests in one process, over real links on loopback: each has a worker whose loop
 * the test turns, a store, and a view of the cluster that the test makes up.  No cluster thread.
 *
 * What fails here fails the test. */
#ifndef TESTS_UNIT_REQUEST_NODES_H
#define TESTS_UNIT_REQUEST_NODES_H

#include "server/cluster.h"
#include "server/hint_queue.h"
#include "server/request_internal.h"
#include "server/store.h"
#include "server/worker.h"
#include <netinet/in.h>

#define NODES_MAX      4
#define PARTITION_BITS 4

/* ---- nodes ---- */

/* What a node is told of the cluster. */
struct cluster {
    struct cluster_view view;
    struct ring_table *table;
    struct peer_view views[NODES_MAX];
    struct cluster_peer peers[NODES_MAX];
    uint64_t warming[1];
    struct hint_queue hints;
    bool is_held;
    unsigned replies, refused_clocks;
};

struct node {
    struct worker worker;
    struct cluster cluster;
    int listening;
    struct sockaddr_in address;
    bool is_running; /* its loop is turned */
};

extern struct node nodes[NODES_MAX];
extern struct ring_table table; /* all own all partitions, and the first owners take turns */

/* All know of each other, and have links.  For stop_nodes(), which is for cmocka. */
void start_nodes(unsigned count);
void stop_node(unsigned number);
int stop_nodes(void **state);

node_id id_of(unsigned node);

/* What a node believes of another from now on. */
void believe(unsigned number, unsigned other, bool is_reachable, bool is_cut);

/* Turns all loops, once or for so long. */
void turn(void);
void turn_for(unsigned ms);
uint64_t now_ms(void);

/* Until nothing is in flight. */
void drain(void);

#define STAT(node, name) atomic_load(&nodes[node].worker.requests->stats.name)

/* ---- clients ---- */

/* A command and its answer; to be freed with asked_deinit(). */
struct asked {
    struct request_client client;
    unsigned answers;
    enum request_answer answer;
    unsigned got, needed;
    bool has_outcome, has_value;
    struct outcome outcome;
    unsigned siblings;
    size_t value_bytes;
    unsigned char *value;
};

void asked_deinit(struct asked *);

/* The operation borrows the key and the value. */
struct operation operation_of(enum verb, const char *key);
struct operation set_of(const char *key, const void *value, size_t bytes);

/* Starts it as a connection of that node would, in its turn. */
void ask(unsigned node, const struct operation *, struct item *, struct asked *);

/* Turns until it is answered. */
void await(struct asked *);

/* Asks and awaits.  What set() gives is freed already. */
struct asked set(unsigned node, const char *key, const char *value);
void assert_set(unsigned node, const char *key, const char *value);
/* `value` NULL: a miss. */
void assert_get(unsigned node, const char *key, const char *value);

/* A key whose first owner is that node.  Good until the sixteenth call from now. */
const char *key_of(unsigned node, unsigned number);

/* What a node holds for the key itself: how many siblings, and of one how long its value is. */
unsigned held(unsigned node, const char *key, uint64_t *value_bytes);
void assert_held(unsigned node, const char *key, uint64_t expected);

#endif
