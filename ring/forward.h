/* Forward: passes a write on to the node that coordinates it, and answers exactly once.
 *
 * One node orders the writes of a key while it is up: the write coordinator of the route.  A node
 * that is given a command passes it on unless it is that node itself, or the command has come over
 * FORWARD_HOPS_MAX nodes already, or nobody eligible is left.  Nodes that had it before are never
 * tried again.
 *
 *            not mine            reply
 *   START ------------> WAITING -------> answer as it says: DONE
 *     |                  |   ^
 *     | mine             |   | the other node refused, or was not reached: nothing was done there,
 *     v                  |   | pass it on to the next one (or coordinate)
 *   COORDINATES <--------+---+
 *                        |     lost or late, and whether it was done is not known:
 *                        |       blind and context writes are repeated elsewhere,
 *                        +-----> others answer UNKNOWN: DONE
 *
 * Threads: belongs to its caller. */
#ifndef RING_FORWARD_H
#define RING_FORWARD_H

#include "ring/request.h"

#define FORWARD_HOPS_MAX  2
#define FORWARD_TRIED_MAX 8 /* nodes; then this node coordinates itself */

/* To another node: coordinate this.  The command itself goes along with it. */
struct forward_request {
    struct request_id id; /* what its reply and its repeats are known by */
    uint64_t key_hash;
    enum request_class class;
    uint32_t budget_ms; /* time left for the answer to arrive */
    uint8_t hops;       /* nodes that passed it on, the sender included */
    uint8_t tried_count;
    node_id tried[FORWARD_TRIED_MAX]; /* do not pass it to these; the sender included */
};

/* Back to the node that sent the request, with what the client hears. */
struct forward_reply {
    struct request_id id;
    enum request_answer answer; /* ANSWER_REFUSED: nothing was done, try elsewhere */
    uint16_t got, needed;
};

struct forward {
    struct route *route; /* the caller's, as long as this lives */
    struct request_id id;
    uint64_t key_hash;
    uint64_t deadline_ms;
    uint64_t late_ms; /* when the node that has it counts as lost */
    enum request_class class;
    bool may_coordinate;
    bool is_unknown; /* some node may have done it */
    bool is_done;    /* answered, or this node coordinates */
    uint8_t hops;
    uint8_t tried_count;
    node_id tried[FORWARD_TRIED_MAX];
    node_id at; /* the node that has it; NODE_NONE: none */
};

struct forward_start {
    struct route *route;
    struct request_id id;
    uint64_t key_hash;
    enum request_class class; /* a write */
    uint64_t deadline_ms;
    /* False while this node must not coordinate: it restarts, or its clock was refused. */
    bool may_coordinate;
    const struct forward_request *from; /* that brought the command here; NULL: a client did */
};

enum forward_event_type {
    FORWARD_START,
    FORWARD_REPLY,  /* `reply` from `from` */
    FORWARD_LOST,   /* `from` is down now, after it may have got the command */
    FORWARD_UNSENT, /* `from` cannot have got the command */
    FORWARD_TICK
};

struct forward_event {
    enum forward_event_type type;
    uint64_t now_ms;
    node_id from;
    const struct forward_reply *reply;
};

/* What the step found. */
enum forward_step {
    FORWARD_WAITS,      /* another node has it */
    FORWARD_ANSWERS,    /* `effects` say what the client hears */
    FORWARD_COORDINATES /* this node is to coordinate it; nothing more comes from here */
};

/* Before the first event. */
void forward_init(struct forward *, const struct forward_start *);

/* Writes `effects`: a send of kind SEND_FORWARD, answers.  Replies for other ids or from nodes that
 * never had it change nothing; a late one of a node that was given up answers as well. */
enum forward_step forward_step(struct forward *, const struct forward_event *,
                               struct request_effects *);

/* The message that a SEND_FORWARD stands for. */
struct forward_request forward_request_make(const struct forward *, uint64_t now_ms);

/* When it wants a FORWARD_TICK, at the latest; UINT64_MAX when done. */
uint64_t forward_deadline_ms(const struct forward *);

#endif
