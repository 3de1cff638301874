/* Quorum write: stores one whole cell on N nodes, and says when W have it.
 *
 * The coordinator has applied the write to its own cell already.  The result goes to the first N
 * reachable nodes of the route; a fallback among them keeps it with a hint for the owner it stands
 * in for.  A node that refuses, is lost, or takes longer than its hedge_ms is replaced by the next
 * one of the route (a late answer still counts, but an owner and its stand-in are one copy of the
 * N, since the stand-in drops its own when the hint is delivered; it may stand in for another
 * then).
 *
 *            start           W stored              N stored, or nobody left to ask
 *   (caller) -----> WAITING ----------> ANSWERED ---------------------------------> DONE
 *                      |                    |         deadline                        ^
 *                      |                    +-----------------------------------------+
 *                      |  deadline, or too few are left
 *                      +----------> answers "got of W": DONE
 *
 * Covered: a replica has already seen the dot.  If the own cell does not hold it any more, a newer
 * write of this very node came first, and the dot counts as stored there.  Else a clock was slow
 * or a flush came in between: the caller writes the same under a fresh dot, and all get it anew.
 * But what the client was told to be done before a replica heard of the flush is flushed: written
 * anew it would outlive a flush_all that came after it.
 *
 * Dynamo, sections 4.5 and 4.6.
 *
 * Threads: belongs to its caller. */
#ifndef RING_QUORUM_WRITE_H
#define RING_QUORUM_WRITE_H

#include "ring/request.h"

/* To a replica: merge this cell. */
struct store_request {
    uint64_t operation; /* the sender's, echoed */
    uint64_t key_hash;
    struct dot dot;   /* of the new write; node NODE_NONE: nothing new (register, repair, hint) */
    node_id hint_for; /* the owner that the receiver stands in for, or NODE_NONE */
    uint32_t round;   /* echoed */
    bool is_repair;   /* may be refused for lack of room, and is not waited for */
    const struct cell *cell;
};

/* The round of a repair: its answer counts for no write, though the write that follows a read is of
 * the same operation. */
#define STORE_ROUND_REPAIR UINT32_MAX

enum store_status {
    STORE_STORED = 1,
    STORE_COVERED,       /* the new dot was seen already: see `clock` */
    STORE_REFUSED_CLOCK, /* something in the cell is dated too far ahead of the replica's clock */
    STORE_REFUSED_MEMORY,
    STORE_REFUSED_HINTS /* no room for another hint */
};

struct store_reply {
    uint64_t operation;
    uint32_t round;
    enum store_status status;
    hlc_time clock;  /* with STORE_COVERED: what a fresh dot has to come after */
    bool is_flushed; /* likewise: by a flush, and by nothing that the replica's cell knows */
};

/* How often a covered write is tried again. */
#define WRITE_ROUNDS_MAX 4

enum write_node_state {
    WRITE_NODE_UNUSED,
    WRITE_NODE_WAITING,
    WRITE_NODE_LATE, /* waiting, and replaced */
    WRITE_NODE_STORED,
    WRITE_NODE_REFUSED,
    WRITE_NODE_LOST
};

struct write_node {
    uint32_t due_ms; /* after `started_ms`; while WAITING: then it is late */
    uint8_t state;   /* enum write_node_state */
    uint8_t owner;   /* index of the owner it stores for: itself, or the one it stands in for */
};

struct quorum_write {
    struct route *route; /* the caller's, as long as this lives */
    uint64_t operation;
    uint64_t started_ms, deadline_ms;
    struct dot dot;
    uint32_t round;
    uint8_t needed;     /* W */
    uint8_t stored;     /* copies: nodes in state STORED, an owner and its stand-in as one */
    uint8_t refused;    /* refusals heard, for the trace and the caller's counters */
    uint8_t covered_by; /* while awaits_rewrite: index of the node that asked for it */
    bool is_answered, is_done, awaits_rewrite;
    struct write_node nodes[ROUTE_MAX]; /* by index of the route; the first `count` are in use */
};

enum write_event_type {
    WRITE_APPLIED,         /* first event: the own cell has the write */
    WRITE_REPLY,           /* `reply` from `from` */
    WRITE_LOST,            /* from `from` nothing more will come: it is down, or was not reached */
    WRITE_REWRITTEN,       /* asked by `rewrites`: the own cell has it under `dot` now */
    WRITE_SUPERSEDED,      /* asked by `rewrites`: the own cell does not hold the dot any more */
    WRITE_REWRITE_REFUSED, /* asked by `rewrites`: clock too far ahead, or no memory */
    WRITE_TICK
};

struct write_event {
    enum write_event_type type;
    uint64_t now_ms;
    node_id from;
    struct dot dot; /* WRITE_APPLIED (node NODE_NONE: a register, no new dot), WRITE_REWRITTEN */
    const struct store_reply *reply;
};

/* Before the first event.  `needed` is W, from 1; more than the route's copies counts as those. */
void quorum_write_init(struct quorum_write *, struct route *, uint64_t operation, unsigned needed,
                       uint64_t deadline_ms);

/* Writes `effects`: sends of kind SEND_STORE, answers, rewrites, is_done.  Replies of another
 * round, of nodes that were not asked, and repeated ones change nothing. */
void quorum_write_step(struct quorum_write *, const struct write_event *, struct request_effects *);

/* When it wants a WRITE_TICK, at the latest; UINT64_MAX when done. */
uint64_t quorum_write_deadline_ms(const struct quorum_write *);

/* The owner that this node itself stands in for, NODE_NONE if it is an owner or among the nodes
 * that store it for nobody: asked before the own cell is written. */
node_id quorum_write_own_hint(const struct route *);

#endif
