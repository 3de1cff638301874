/* Node: one member of the simulated cluster: the machines of ring/ and what joins them, which is
 * the model for the server's own glue.
 *
 *   node.c      its lives, its timers, what it hears, liveness
 *   members.c   who it is, membership and tables (ring/restart.h, claimant.h)
 *   request.c   commands that it answers or passes on (ring/coordinator.h)
 *   apply.c     what a command does to the own cell
 *   serve.c     what it does with its cells for others; memory
 *   hinting.c   hints for owners that are away (ring/hints.h)
 *   repair.c    warming, anti-entropy, fills and handoffs (ring/warming.h, sync.h, fill.h,
 * handoff.h)
 *
 * Threads: one. */
#ifndef TESTS_SIM_NODE_H
#define TESTS_SIM_NODE_H

#include "ring/budget.h"
#include "ring/coordinator.h"
#include "ring/fill.h"
#include "ring/handoff.h"
#include "ring/hints.h"
#include "ring/liveness.h"
#include "ring/outcomes.h"
#include "ring/replica.h"
#include "ring/sync.h"
#include "ring/warming.h"
#include "tests/sim/clock.h"
#include "tests/sim/members.h"
#include "tests/sim/messages.h"
#include "tests/sim/network.h"
#include "tests/sim/store.h"

#define NODE_OUTCOMES 256

/* A command that a node works at. */
struct request {
    struct engine_entry timer;
    struct request *next, *previous; /* of the same node */
    struct node *node;
    struct command *command;
    bool is_from_client;
    unsigned from; /* else: the node that passed it on */
    struct request_id id;
    uint64_t operation;
    struct cell cell;              /* the coordinator's; its siblings are on the heap */
    struct set heard;              /* what the truth knows through that cell */
    const struct message *message; /* while it is stepped: what brought a cell, or NULL */
    unsigned write;                /* of the truth, or TRUTH_NO_WRITE */
    enum command_result result;
    unsigned answers;
    struct coordinator coordinator;
};

/* What a node does besides answering. */
struct background {
    struct budget budget;
    struct hints hints;
    struct hints_target targets[SIM_NODES_MAX];
    uint64_t hints_made, hints_ended; /* in this life */
    struct merkle_forest forest;      /* all keys have one number of copies */
    uint64_t *leaves;
    struct warming warming;
    struct warming_memory warming_memory;
    struct fill fill;
    uint64_t *fill_wanted;
    struct handoff handoff;
    struct sync *syncs[SIM_NODES_MAX]; /* by node */
};

struct node {
    struct sim *sim;
    unsigned index;
    node_id id;
    uint32_t life; /* from 1; each crash begins another one */
    bool is_up;
    bool is_spare;            /* a process that does not run until an operator starts it */
    bool has_begun;           /* it knows its past, has a table, and takes part */
    uint64_t started_ms;      /* its present life */
    uint64_t paused_until_ms; /* it stands still until then */
    struct engine_entry wake; /* for the deadlines of its machines */
    struct clock wall;
    struct hlc_clock hlc; /* one lock stripe */
    struct store store;
    struct members *members;
    const struct ring_table *table;
    struct liveness liveness;
    struct peer_view *views; /* by member of the table */
    struct background background;
    struct request *requests;
    unsigned request_count;
    uint64_t next_operation;
    struct outcomes outcomes;
    struct outcome_entry outcome_entries[NODE_OUTCOMES];
    bool is_short_of_memory;   /* it evicts, and takes no repairs */
    unsigned failing_permille; /* of allocations */
    struct random random;
    uint64_t reap_at_ms;
    hlc_time reaped_before;
    struct cell scratch; /* a cell as it was before it is changed */
};

/* Makes a node that is not up yet. */
struct node *node_new(struct sim *, unsigned index);
void node_free(struct node *);

/* Starts it, with nothing in its memory. */
void node_start(struct node *);

/* It knows its past and has a table: takes part from now on.  `is_founding`: the whole cluster
 * begins. */
void node_begin(struct node *, bool is_founding);

/* Another table is in use; `table` lives until the one after it is. */
void node_change_table(struct node *, const struct ring_table *table);

/* The membership changed. */
void node_change_peers(struct node *);

/* Whether it leaves, and still has cells of others. */
bool node_is_holding(const struct node *);

/* It dies, and all in its memory is lost; `is_noticed`: its peers' connections are reset. */
void node_crash(struct node *, bool is_noticed);

/* It stands still until that time. */
void node_pause(struct node *, uint64_t until_ms);

/* A message has come. */
void node_deliver(struct sim *, struct message *);

/* An empty trace for one of its machines of ring/, or NULL unless the trace is of all keys; and
 * what the machine said in it. */
struct ring_trace *node_trace(const struct node *, struct ring_trace *);
void node_say(const struct node *, const struct ring_trace *);

/* Milliseconds since 1970, as it believes. */
uint64_t node_wall_ms(const struct node *);

/* Whether it may do something now; else `entry` comes again when it may. */
bool node_is_awake(struct node *, struct engine_entry *);

/* Its connection to a peer was made, or was lost. */
void node_link_changed(struct node *, node_id peer, bool is_up);

/* Sets its timer anew: a deadline may have changed. */
void node_set_wake(struct node *);

/* Whether it is a member of the cluster, up or not. */
bool node_is_member(const struct node *);

/* Whether clients may ask it. */
bool node_takes_clients(const struct node *);

/* Whether it owns the key, by its table. */
bool node_owns(const struct node *, unsigned key);

/* Sends a message to the node of that id; false if there is no such node, or no connection. */
bool node_send(struct node *, struct message *, node_id to);

/* --- request.c --- */

/* A client asks for something. */
void node_command(struct node *, struct command *);

/* A peer is believed down. */
void node_requests_lose(struct node *, node_id peer);

/* Ends all requests without a word. */
void node_requests_drop(struct node *);

/* Replies for requests. */
void node_on_fetch_reply(struct node *, const struct message *);
void node_on_store_reply(struct node *, const struct message *);
void node_on_forward(struct node *, const struct message *);
void node_on_forward_reply(struct node *, const struct message *);

/* --- apply.c --- */

/* What came of applying a command to the own cell. */
enum node_apply { APPLY_WRITTEN, APPLY_REGISTER, APPLY_KEPT, APPLY_AGAIN, APPLY_REFUSED };

/* Applies the request's command to the own cell, and copies the whole result into the request's. */
enum node_apply node_apply(struct request *, node_id hint_for, struct dot *dot);

/* How the node sees the members of its table now; valid until something changes. */
const struct peer_view *node_views(struct node *);

/* --- hinting.c --- */

/* Keeps a hint for the own cell of that key.  False if there is no room for another one. */
bool node_hint_add(struct node *, unsigned key, node_id target);

/* Whether the cell is held for others only. */
bool node_holds_as_hint(const struct node *, unsigned key);

/* How many hints are gone though nobody was told that they ended. */
uint64_t node_hints_lost(const struct node *);

/* Ends all hints of a cell that is gone. */
void node_hints_drop(struct node *, unsigned key);

void node_hints_start(struct node *);
void node_hints_step(struct node *, struct hints_event);
void node_on_hint(struct node *, const struct message *);
void node_on_hint_ack(struct node *, const struct message *);

/* --- repair.c --- */

void node_repair_init(struct node *);
void node_repair_deinit(struct node *);

/* Begins with an empty memory; `is_founding`: the whole cluster does. */
void node_repair_start(struct node *, bool is_founding);

/* The mark of a cell may have changed. */
void node_repair_mark(struct node *, unsigned key);

/* A peer became reachable, or unreachable. */
void node_repair_peer(struct node *, node_id peer, bool is_reachable);

/* A ping, or its answer, has come. */
void node_repair_ping(struct node *, unsigned from, const struct ping_body *);

/* Fills in what rides on a ping. */
void node_repair_hello(struct node *, struct message *, node_id to);

/* Hands back what was kept for nodes that went. */
void node_repair_forget_gone(struct node *);

void node_repair_wake(struct node *);
uint64_t node_repair_deadline_ms(const struct node *);
void node_on_exchange(struct node *, const struct message *);

/* --- serve.c --- */

/* What ring/replica.h has to know. */
struct replica_now node_replica_now(struct node *, unsigned key);

/* Merges a peer's cell that was admitted into the own one. */
void node_merge(struct node *, unsigned key, const struct cell *, const struct set *heard);

/* Merges a peer's cell if it may be.  False: not now. */
bool node_take(struct node *, unsigned key, const struct cell *, const struct set *heard);

/* The own cell has changed: checks and keeps what depends on it.  Drops it if it is empty. */
void node_cell_changed(struct node *, unsigned key);

/* Drops the own cell, if there is one. */
void node_cell_drop(struct node *, unsigned key);

/* The own cell as others may see it: nothing flushed, nothing expired.  NULL: there is none. */
struct cell *node_cell_fresh(struct node *, unsigned key);

void node_on_fetch(struct node *, const struct message *);
void node_on_store(struct node *, const struct message *);

/* Whether an allocation fails now. */
bool node_allocation_fails(struct node *);

/* Memory is needed: one cell is evicted, or forgotten, in part or as a whole. */
void node_evict_some(struct node *);

/* Drops tombstones that were kept long enough. */
void node_reap(struct node *);

#endif
