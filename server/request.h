/* Requests: the commands in flight on one worker of a cluster's node.
 *
 * The glue between the coordinator of one command (ring/coordinator.h) and the machine: it carries
 * out what a step wants to be done, and tells what came of it.
 *
 *   connection -> requests_start() -> request.c          starts, steps, answers
 *                                     request_own.c      the own cell: reads, applies, merges
 *                                     request_links.c    one link to each peer, and theirs to us
 *                                     request_serve.c    what peers ask of us: FETCH STORE FORWARD
 *
 * A request stays on its worker, whose links carry its messages; no thread ever waits for one.  It
 * goes on when the client is answered, until all replicas have answered or its time is over.
 *
 * Threads: a struct requests belongs to its worker, but for requests_take_link() and
 * requests_stats(). */
#ifndef SERVER_REQUEST_H
#define SERVER_REQUEST_H

#include "protocol/operation.h"
#include "ring/request.h"
#include <stdatomic.h>

struct cell;
struct cluster;
struct command_marks;
struct item;
struct requests;
struct worker;

/* What the client is told.  All of it is borrowed for the call. */
struct request_answered {
    enum request_answer answer;
    unsigned got, needed;              /* nodes, of a quorum that was not met */
    const struct operation *operation; /* the engine's own copy */
    /* REQUEST_READ that is DONE: what to show.  The handles of values are the addresses of their
     * bytes, see cell_item_value(). */
    const struct cell *cell;
    const struct command_marks *marks; /* of this node's own item, as it was before this use */
    struct item *item; /* if not NULL: it holds all values of `cell`, and may be referred to */
    /* The other classes, DONE: what was decided, here or by the node that it was passed on to.  Of
     * what this node has refused for want of memory: just that (OUTCOME_NO_MEMORY). */
    const struct outcome *outcome;
};

/* Embedded by who asks.  `answer` is called exactly once, maybe before requests_start() returns,
 * and may start other requests (which may be answered before *that* returns: who starts one after
 * another keeps the depth bounded). */
struct request_client {
    void (*answer)(struct request_client *, const struct request_answered *);
};

/* For a worker that has its loop and no thread yet.  NULL: memory is short. */
struct requests *requests_new(struct worker *, struct cluster *);

/* Drops what is in flight without a word, and closes all links. */
void requests_free(struct requests *);

/* The worker's loop has come back from waiting: holds the view of the cluster, follows what has
 * changed in it, tells requests of peers that are lost. */
void requests_begin_turn(struct requests *);

/* The loop is about to wait: lets go of the view. */
void requests_end_turn(struct requests *);

/* Starts a command.  `operation`, its hash filled in, is copied with its key, value and all else it
 * points to.  If `item` is not NULL the value is in it, a private ITEM_LONG that is not stored: a
 * reference is taken, and nothing copied.  The client has to live until it is answered. */
void requests_start(struct requests *, enum request_class, const struct operation *,
                    struct item *item, struct request_client *);

/* Whether this node may answer a read from its store alone: by the policy of the operation's key
 * (hashed) R is 1 and this node one of its owners, and it is warm for it. */
bool requests_owner_may_answer(struct requests *, const struct operation *);

/* Commands that are in flight, answered ones included. */
unsigned requests_in_flight(const struct requests *);

/* A peer has connected: takes `fd`, to greet it on that worker.  Any thread; `worker` has
 * requests. */
void requests_take_link(struct worker *, int fd);

/* What all of them count; written by the worker, read by anyone. */
#define REQUEST_COUNTERS(X)                                                                        \
    X(started)     /* by clients here */                                                           \
    X(passed_on)   /* of those and of others', to the node that coordinates */                     \
    X(coordinated) /* applied here */                                                              \
    X(answered_done)                                                                               \
    X(answered_read_failed)                                                                        \
    X(answered_write_failed)                                                                       \
    X(answered_refused)                                                                            \
    X(answered_unknown) X(served_fetches) X(served_stores) X(served_forwards)                      \
        X(repeats)       /* forwards that had come before */                                       \
        X(repairs_sent)  /* cells sent to replicas that a read found stale */                      \
        X(hints_kept)    /* as a stand-in, of own writes and of others' */                         \
        X(refused_clock) /* cells from a peer, dated too far ahead */                              \
        X(refused_memory) X(refused_hints) X(rewrites) /* dots that a replica had seen already */  \
        X(unsent)                                      /* messages that could not leave */         \
        X(lost)                                        /* requests told that a peer is gone */     \
        X(ended_early) /* answered, and ended since too many are in flight */                      \
        X(folded)      /* intervals dropped from contexts */                                       \
        X(dropped_old) /* messages of a former life of a peer, or of one that is cut off */

struct request_stats {
#define X(name) _Atomic uint64_t name;
    REQUEST_COUNTERS(X)
#undef X
    uint64_t in_flight; /* filled in by requests_stats() */
    uint64_t links_open;
};

/* Sums over all workers.  Any thread. */
void requests_stats(struct request_stats *);

#endif
