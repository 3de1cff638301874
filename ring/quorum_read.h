/* Quorum read: merges what the replicas of one key hold, until R of them agree.
 *
 * Asks the first N reachable nodes of the route: one for the whole cell (the own one, if this node
 * is among them), the others for digests.  Where a digest differs the cell is fetched and merged.
 *
 *             asked                R accounted for           all answered, or deadline
 *   FRESH ------------> COLLECTING ----------------> REPAIRING ----------------------> DONE
 *                           |     answer the merged cell        send it to stale owners
 *                           |  deadline, or too few are left
 *                           +----------> answers "got of R": DONE
 *
 * A node is *accounted for* when the merged cell contains what it holds: it was merged, has the
 * digest of one that was, or holds nothing.  Which of them count towards R:
 *
 *   - While R warm owners may still answer, only warm owners do.
 *   - Else all do; but if there is nothing to show, every reachable warm owner must have answered.
 *   - A stub has to be refilled by any reachable owner that holds the value; only after all of them
 *     answered (or at the deadline) it is left to read as a miss.
 *   - At the deadline, those that have not answered are not waited for any more, save for a miss.
 *
 * With R = 1 and a warm own cell that shows something or is a miss, nobody else is asked: that is
 * what a client who chose R = 1 wants, and anti-entropy repairs what differs.
 *
 * DESIGN, section 5; Dynamo, section 4.5 and 5 (read repair).
 *
 * Threads: belongs to its caller. */
#ifndef RING_QUORUM_READ_H
#define RING_QUORUM_READ_H

#include "ring/request.h"

/* To a replica: what do you hold? */
struct fetch_request {
    uint64_t operation; /* the sender's, echoed */
    uint64_t key_hash;
    uint32_t round; /* echoed */
    bool is_full;   /* the cell and its values, not only their digest */
};

struct fetch_reply {
    uint64_t operation;
    uint32_t round;
    struct cell_digest digest; /* cell_state_digest(); of an empty cell not looked at */
    uint16_t sibling_count;    /* 0: it holds nothing for the key */
    uint16_t stub_count;       /* of those, how many stubs that have not expired */
    bool is_warming;           /* that it holds nothing means nothing */
    bool is_refused;           /* it cannot say: no memory, or not part of this ring */
    const struct cell *cell;   /* of a full reply that is not empty; else NULL */
};

enum read_node_state {
    READ_NODE_UNUSED,
    READ_NODE_ASKED,
    READ_NODE_ANSWERED,
    READ_NODE_LOST /* down, refused, or its cell was not to be had */
};

struct read_node {
    struct cell_digest digest; /* once it has answered and is not empty */
    uint32_t due_ms;           /* after `started_ms`; while waited for: then it is late */
    uint16_t sibling_count, stub_count;
    uint8_t state; /* enum read_node_state */
    bool is_late;
    bool is_warming;
    bool is_fetching;  /* all that it holds was asked for, and has not come */
    bool was_merged;   /* `merged` contains all that it holds, values too */
    bool is_accounted; /* `merged` contains the state that it holds */
    bool was_replaced; /* another node was asked in its place */
};

struct quorum_read {
    struct route *route; /* the caller's, as long as this lives */
    struct cell *merged; /* the caller's: what was merged so far; complete with the answer */
    struct cell_digest merged_digest;
    uint64_t operation;
    uint64_t started_ms, deadline_ms, wall_ms;
    hlc_time flushed_up_to;
    uint32_t round;
    uint16_t stubs;   /* in `merged`, of those that have not expired */
    uint8_t needed;   /* R */
    bool shows_value; /* `merged` has a value that has not expired */
    bool has_asked;   /* other nodes */
    bool is_answered, is_done;
    struct read_node nodes[ROUTE_MAX]; /* by index of the route; the first `count` are in use */
};

struct quorum_read_start {
    struct route *route;
    struct cell *merged; /* initialised, empty */
    uint64_t operation;
    uint32_t round;         /* differs between reads of one operation */
    unsigned needed;        /* R, from 1; more than the route's copies counts as those */
    uint64_t deadline_ms;   /* monotonic */
    uint64_t wall_ms;       /* since 1970, for what has expired */
    hlc_time flushed_up_to; /* dots up to this do not exist */
};

enum read_event_type {
    READ_START, /* first event */
    READ_OWN,   /* asked by `reads_own`: the caller merged its own cell into `merged` */
    READ_REPLY, /* `reply` from `from` */
    READ_LOST,  /* from `from` nothing more will come: it is down, or was not reached */
    READ_TICK
};

struct read_event {
    enum read_event_type type;
    uint64_t now_ms;
    node_id from;
    const struct fetch_reply *reply;
};

/* Before the first event. */
void quorum_read_init(struct quorum_read *, const struct quorum_read_start *);

/* Writes `effects`: reads_own, sends of kind SEND_FETCH_... and SEND_REPAIR, merges_own (the own
 * cell is stale: merge `merged` into it), answers, is_done.
 *
 * `reads_own`: merge the own cell into `merged`, flushed and expired siblings gone; at the start,
 * when `merged` is empty, it may be read straight into it.
 *
 * Before a READ_REPLY with a cell, `merged` must have room for the siblings of both.  A cell whose
 * dots are too far ahead of the wall clock must not come here (replica_admit()): hand that on, and
 * what finds no memory, as a reply that is_refused.  The handles in replies' cells must stay valid
 * until the machine is done: which of them `merged` kept is not told.  Replies of another round, of
 * nodes not asked, and repeated ones change nothing. */
void quorum_read_step(struct quorum_read *, const struct read_event *, struct request_effects *);

/* Tells that the caller has merged `merged` into its own cell, without having been asked to. */
void quorum_read_own_merged(struct quorum_read *);

/* When it wants a READ_TICK, at the latest; UINT64_MAX when done. */
uint64_t quorum_read_deadline_ms(const struct quorum_read *);

#endif
