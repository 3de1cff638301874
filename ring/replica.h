/* Replica: what a node does to its own cell when another one asks, and when it coordinates.
 *
 * Pure functions over the cell, under its stripe's lock, which the caller holds; the caller also
 * finds room for siblings before, keeps what comes out, and frees values that went.
 *
 *   store:  replica_store() -> write the cell back if it changed -> reply
 *           (no memory to write it back: reply STORE_REFUSED_MEMORY instead, and keep the old one)
 *   fetch:  replica_fetch() -> reply, with the cell if it was asked for
 *
 * Threads: whoever holds the key's stripe. */
#ifndef RING_REPLICA_H
#define RING_REPLICA_H

#include "ring/quorum_read.h"
#include "ring/quorum_write.h"

/* What the node knows at the moment. */
struct replica_now {
    struct hlc_clock *clock; /* the stripe's */
    uint64_t wall_ms;        /* since 1970 */
    uint64_t drift_max_ms;
    hlc_time flushed_up_to; /* the latest flush in effect; 0: none */
    bool is_owner;          /* of the key's partition */
    bool is_warming;        /* for it */
    bool has_room;          /* false: at the memory limit, takes no repairs of what it lacks */
    bool has_hint_room;     /* false: takes nothing with a hint */
};

/* The highest time in a cell: of its dots, its context and its registers. */
hlc_time replica_newest(const struct cell *);

/* Whether a cell from a peer may be merged; if so, the stripe's clock comes after all in it.  False
 * if something in it is too far ahead: it is refused as a whole (count and log it). */
bool replica_admit(const struct cell *, const struct replica_now *)
    __attribute__((warn_unused_result));

struct replica_stored {
    struct store_reply reply;
    bool is_changed; /* write `own` back */
    bool makes_hint; /* and keep a hint for the request's hint_for */
};

/* Merges the request's cell into `own`, the node's cell (empty if it has none), which has room for
 * the siblings of both. */
struct replica_stored replica_store(struct cell *own, const struct store_request *,
                                    const struct replica_now *);

/* The answer to a fetch from `own`, after cell_flush() and cell_expire(). `reply.cell` is `own`
 * if the request is for all of it and there is something. */
struct fetch_reply replica_fetch(const struct cell *own, const struct fetch_request *,
                                 const struct replica_now *);

enum replica_rewrite {
    REPLICA_REWRITTEN,  /* report WRITE_REWRITTEN with the fresh dot; `sent` holds the new cell */
    REPLICA_SUPERSEDED, /* report WRITE_SUPERSEDED */
    REPLICA_COVERED     /* the dot is not fresh here: merge cell_clock() and come again */
};

/* A coordinator was told that `old` is covered elsewhere: gives what was written under it the dot
 * `fresh`.  `sent` is the request's cell, which still holds the written sibling, and becomes the
 * whole cell to send; both have room for each other's siblings and one more.  Where `own` had lost
 * the value, it takes the handle that `sent` has: the caller counts it.  `is_lww`: the policy of
 * the key is last-write-wins. */
enum replica_rewrite replica_rewrite(struct cell *own, struct cell *sent, struct dot old,
                                     struct dot fresh, bool is_lww);

#endif
