/* Node: this process as a member of its cluster: the machines of ring/ of which there is one per
 * process, and what joins them to sockets, timers and the store.  tests/sim/node.h is the model.
 *
 *   node.c            its life: the loop, timers, pings, what it hears, views for the workers
 *   node_members.c    who it is (ring/restart.h), membership and tables (ring/claimant.h)
 *   node_links.c      a background link to each member, and what comes over the links of others
 *   node_state.c      the state file: the membership, kept for the time after a restart
 *   node_flush.c      flush_all for the whole cluster
 *   node_acts.c       plans, and who is meant by a name
 *   node_repair.c     hints, warming, anti-entropy, fills and handoffs; server/node_repair.h lists
 *                     its files
 *   node_operator.c   what an operator asks for; server/operator.h lists its files
 *
 * Threads: all of it belongs to the cluster thread. */
#ifndef SERVER_NODE_H
#define SERVER_NODE_H

#include "protocol/peer.h"
#include "ring/claimant.h"
#include "ring/liveness.h"
#include "ring/membership.h"
#include "ring/plan.h"
#include "ring/restart.h"
#include "server/cluster.h"
#include "server/peer_link.h"
#include "server/store.h"

struct cluster_job;
struct node_link;
struct repair;

/* For others than its own files: to be read, not written. */
struct node {
    struct cluster *cluster;
    struct store *store;
    struct ev_loop *loop;
    const struct peer_secret *secret; /* NULL: none */
    node_id id;                       /* NODE_NONE until it is known */
    uint64_t incarnation;
    bool has_begun; /* it knows its past, has a table, and takes part */
    bool is_stopping;
    /* The table in use: NULL before has_begun.  When there is another one, node_repair_table() is
     * called with it here; the one before stays valid until the next such call. */
    const struct ring_table *table;
    struct membership membership;
    struct restart restart;
    struct liveness liveness;
    struct claimant claimant; /* once has_claimant */
    bool has_claimant;
    struct repair *repair;
    struct node_inside *inside; /* what only its own files know */
};

/* --- what all of it uses --- */

/* Milliseconds of a clock that nobody sets; and those since 1970. */
uint64_t node_now_ms(const struct node *);
uint64_t node_wall_ms(const struct node *);

/* A wait of background work, shortened by --time-scale; at least 1. */
uint64_t node_wait_ms(uint64_t ms);

/* Sends on the background link.  False: there is no such link, it is not open, or has too much
 * unsent. */
bool node_send(struct node *, node_id to, const struct peer_message *);

/* The same, with all values in this long item, whose stripe's lock is held. */
bool node_send_item(struct node *, node_id to, const struct peer_message *, struct item *);

/* A deadline may have changed: the timer is set anew at the end of the turn. */
void node_set_wake(struct node *);

/* What workers see has changed: a new view is published at the end of the turn. */
void node_publish(struct node *);

/* The present cell of some key shows these dots: what is remembered of others' clocks. */
void node_saw_cell(struct node *, const struct cell *);

/* Owners per partition in the table: --copies, or more if a policy has more. */
unsigned node_copies(void);

/* --- an operator, through jobs (server/cluster.h) --- */

/* The member of that name, or of that id in decimal; NODE_NONE if there is none that has not
 * gone. */
node_id node_find(const struct node *, struct slice name_or_id);

/* Previews and commits of several acts at once; see ring/plan.h.  `bytes` of a partition or NULL.
 * Previews are refused with MEMBERSHIP_BAD before there is a table.  `is_forced`: tables are
 * published even without a majority of members reachable. */
enum membership_answer node_preview(struct node *, const struct plan *, const uint64_t *bytes,
                                    struct plan_report *, unsigned *failed);
enum membership_answer node_commit(struct node *, const struct plan *, bool is_forced,
                                   unsigned *failed);

/* `debug cut` and `debug heal`: whether no traffic passes between this node and that one. */
bool node_cut(struct node *, node_id, bool is_cut);
bool node_is_cut(const struct node *, node_id);

/* What a member's address says: where it listens for peers and for clients.  The host is without
 * brackets; a client port of 0: none.  False: it is no such address. */
struct node_address {
    char host[MEMBER_ADDRESS_MAX + 1];
    unsigned peer_port, client_port;
};
bool node_address_parse(const struct member_address *, struct node_address *);

/* --- flush_all --- */

struct node_flush_job {
    struct cluster_job job;
    uint64_t at_ms; /* when it is to happen, milliseconds since 1970; 0: at once */
    bool is_done;   /* out: every reachable node has done it, or will when it is time */
    /* for node_flush.c */
    struct node_flush_job *next_waiting;
    struct flush_wait *wait;
    uint64_t asked_ms; /* for clocks; 0: all have said theirs */
    hlc_time newest;   /* of them */
    bool lacks_clocks; /* not all did in time */
};

/* For cluster_ask(): the whole cluster is emptied.  Finishes once all reachable nodes have raised
 * their clocks, or --request-timeout has passed; then is_done is false although it becomes true. */
void node_flush_run(struct node *, struct cluster_job *);

/* --- hints, warming, anti-entropy, fills and handoffs (node_repair.c) --- */

/* NULL: memory is short.  Free with node_repair_free(), which takes NULL. */
struct repair *node_repair_new(struct node *);
void node_repair_free(struct repair *);

/* What cluster_hints() gives; any thread. */
struct hint_queue *node_repair_hints(struct repair *);

/* Begins with an empty memory; `is_founding`: the whole cluster does. */
void node_repair_start(struct node *, bool is_founding);

/* Another table is in use. */
void node_repair_table(struct node *);

/* A peer became reachable, or unreachable. */
void node_repair_peer(struct node *, node_id peer, bool is_reachable);

/* A ping, or its answer, has come. */
void node_repair_ping(struct node *, const struct peer_ping *);

/* Fills in what rides on a ping.  What it points to is good until the next call. */
void node_repair_hello(struct node *, struct peer_ping *, node_id to);

/* Hands back what was kept for nodes that went. */
void node_repair_forget_gone(struct node *);

/* Does what has come due; and when the next of it will, at the latest. */
void node_repair_wake(struct node *);
uint64_t node_repair_deadline_ms(const struct node *);

/* HINT to KNOWN has come, of the sender's present incarnation. */
void node_repair_message(struct node *, node_id from, const struct peer_message *);

/* How long a client waited, now and then. */
void node_repair_latency(struct node *, uint32_t us);

/* The node is to exit: whether there are hints that could still be handed over.  Asked again and
 * again until it says no, or it takes too long. */
bool node_repair_is_busy(const struct node *);

/* Whether it leaves, and still has cells of others. */
bool node_is_holding(const struct node *);

/* Whether it warms for any partition of its table. */
bool node_is_warming(const struct node *);

/* The partitions for which that node warms, as this one knows; this one's own, too.  NULL: none. */
const uint64_t *node_repair_warming(const struct node *, node_id);

#endif
