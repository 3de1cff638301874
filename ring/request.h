/* Request: what the machines of one client command have in common.
 *
 * quorum_read, quorum_write, forward and the coordinator that composes them are told what happened
 * and say what to do in one kind of effects, so that nothing is translated on the way.
 *
 * Two clocks: `..._ms` in events and deadlines is monotonic; only `wall_ms` is milliseconds since
 * 1970. */
#ifndef RING_REQUEST_H
#define RING_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include "ring/cell.h"
#include "ring/route.h"
#include "ring/trace.h"

/* Names a command in the whole cluster, so that a repeat is recognised.  `number` rises per origin
 * and is never used twice, not even after a restart. */
struct request_id {
    node_id origin;
    uint64_t number;
};

/* What a command needs. */
enum request_class {
    REQUEST_READ = 1, /* read at R */
    REQUEST_BLIND,    /* memcached's set, and delete without a reply: write at W */
    REQUEST_CONTEXT,  /* a context write or delete: write at W */
    REQUEST_DECIDED   /* read at R, decide on the own cell under its lock, write at W */
};

/* What the client hears.  Failed does not mean undone: the write may live on. */
enum request_answer {
    ANSWER_DONE = 1,     /* read: show the cell.  write: stored at W, or decided without a write */
    ANSWER_READ_FAILED,  /* `got` of `needed` answers that count: nothing was written */
    ANSWER_WRITE_FAILED, /* applied here and stored at `got` of `needed` nodes */
    ANSWER_REFUSED,      /* nothing was done: no memory, a clock too far ahead, no coordinator */
    ANSWER_UNKNOWN       /* passed on, and whether it was done is not known */
};

/* One message to send; the rest of it is the same for all of a step, see the machine's header. */
enum request_send_kind {
    SEND_FETCH_DIGEST = 1,
    SEND_FETCH_FULL,
    SEND_STORE,
    SEND_REPAIR, /* a store that is not new, and whose reply nobody waits for */
    SEND_FORWARD
};

struct request_send {
    node_id to;
    node_id hint_for; /* of SEND_STORE: the owner that the receiver stands in for, or NODE_NONE */
    enum request_send_kind kind;
};

/* A step never sends more than a full route of stores or fetches and one replacement. */
#define REQUEST_SENDS_MAX (ROUTE_MAX + 2)

/* What to do after a step.  The step writes all of it but `trace`: nothing has to be zeroed.  The
 * caller acts in the order of the fields. */
struct request_effects {
    struct ring_trace *trace; /* the caller's; NULL: nothing is formatted */

    /* Send these.  Whatever cannot be sent is reported as lost (or unsent). */
    unsigned send_count;
    struct request_send sends[REQUEST_SENDS_MAX];

    /* The own cell, under its stripe's lock; see coordinator.h for what to report afterwards. */
    bool reads_own;
    bool merges_own; /* merge the request's cell into it; alone, or in one with `applies` */
    bool applies;
    bool rewrites;          /* under a dot after `rewrite_clock` */
    hlc_time rewrite_clock; /* what a replica said its clock is; check the drift before merging */
    /* The owner that this node stands in for, or NODE_NONE: keep a hint for it with the own cell.
     * With `applies`, or alone, when somebody is replaced by this node after that. */
    node_id own_hint_for;

    bool answers; /* at most once in a request's life */
    enum request_answer answer;
    bool is_relayed; /* the answer came from the node that coordinated: pass on what it said */
    unsigned got, needed;

    bool is_done; /* nothing more will come: the caller may reuse all memory */
};

/* Nothing to do; keeps `trace`. */
static inline void request_effects_clear(struct request_effects *effects)
{
    effects->send_count = 0;
    effects->reads_own = effects->merges_own = effects->applies = effects->rewrites = false;
    effects->rewrite_clock = 0;
    effects->own_hint_for = NODE_NONE;
    effects->answers = effects->is_relayed = effects->is_done = false;
    effects->answer = ANSWER_DONE;
    effects->got = effects->needed = 0;
}

/* Adds one message. */
void request_send(struct request_effects *, node_id to, enum request_send_kind, node_id hint_for);

/* Answers the client. */
void request_answers(struct request_effects *, enum request_answer, unsigned got, unsigned needed);

/* A word for traces: "done", "read failed", ... */
const char *request_answer_name(enum request_answer);

#endif
