/* Coordinator: one client command, from its arrival to the last replica.
 *
 * Composes forward, quorum_read and quorum_write:
 *
 *   class     who          phases
 *   READ      this node    READING
 *   BLIND     the write    (FORWARDING |) APPLYING, WRITING
 *   CONTEXT   coordinator  (FORWARDING |) APPLYING, WRITING
 *   DECIDED   of the route (FORWARDING |) READING, APPLYING, WRITING
 *
 * How a caller drives it:
 *
 *   1. route_make(&coordinator->route, ...), coordinator_init(), COORDINATOR_START.
 *   2. Carry out the effects of each step, in the order in which request.h lists them, and report:
 *
 *      sends         coordinator_fetch_request(), _store_request() and _forward_request() make the
 *                    message.  If it cannot be sent: COORDINATOR_UNSENT, after the step's other
 *                    effects.  Replies come back as COORDINATOR_FETCH_REPLY, ...
 *      reads_own     merge the own cell into `cell`, flushed and expired siblings gone
 *                    (cell_flush(), cell_expire()), then COORDINATOR_OWN_READ, at once; while
 *                    `cell` is empty it may be read straight into it
 *      merges_own    lock the stripe, merge `cell` into the own one
 *      applies       under the same lock: apply the command to the own cell with the cell_put
 *                    functions, under a fresh dot (CELL_PUT_COVERED: merge cell_clock() and
 *                    context_newest() of what the client has seen, again).
 *                    Copy the whole result into `cell`, then at once one of
 *                      COORDINATOR_APPLIED  with the dot
 *                      COORDINATOR_APPLIED  with dot.node NODE_NONE: only a register was written;
 *                                           `cell` is the result with its values made stubs
 *                                           (cell_evict() on the copy): no value travels
 *                      COORDINATOR_KEPT     it decided to write nothing (EXISTS, NOT_FOUND, ...)
 *                      COORDINATOR_AGAIN    what it has to decide on was evicted meanwhile: it
 *                                           is read again, into an empty `cell`
 *                      COORDINATOR_APPLY_REFUSED   no memory, wrong clock, no room for the hint
 *                    `own_hint_for` says whether the own cell needs a hint, and for whom.
 *      own_hint_for  without `applies`, with `merges_own`: this node has come to stand in for one
 *                    more owner: merge `cell`, should the own one be gone, and keep a hint; what
 *                    is held now counts as a copy, so there has to be room
 *      rewrites      replica_admit-like drift check of `rewrite_clock` (hlc_clock_merge()), lock,
 *                    replica_rewrite(), then at once COORDINATOR_REWRITTEN with the fresh dot,
 *                    COORDINATOR_SUPERSEDED or COORDINATOR_REWRITE_REFUSED
 *      answers       tell the client; `cell` is what a READ shows, in this step: later ones may
 *                    merge more into it
 *      is_done       the coordinator, `cell` and all handles given to it may go
 *
 *   3. A peer that is believed down: COORDINATOR_LOST for every request (those that do not care,
 *      ignore it).  When coordinator_deadline_ms() has come: COORDINATOR_TICK.
 *
 * "At once" means before any other event.  `cell` is the caller's; its room must suffice for what
 * a reply brings, see coordinator_room().  Values are handles: those of all cells that were passed
 * in stay valid until is_done.
 *
 * A node that is given a write by another, but sees too few nodes for its quorum, refuses it before
 * anything is done: who passed it on sees at least one more, and tries elsewhere.
 *
 * A node that coordinates but is not among the first N reachable ones of the route (it was asked
 * at the hop limit) keeps a copy that is nobody's: the caller hands it over as it does any cell
 * that this node does not own.
 *
 * Threads: owned by its worker. */
#ifndef RING_COORDINATOR_H
#define RING_COORDINATOR_H

#include "ring/forward.h"
#include "ring/quorum_read.h"
#include "ring/quorum_write.h"

/* How often a command that finds its cell evicted reads again. */
#define COORDINATOR_READS_MAX 3

enum coordinator_phase {
    COORDINATOR_FRESH,
    COORDINATOR_FORWARDING,
    COORDINATOR_READING,
    COORDINATOR_APPLYING, /* the caller applies the command, and reports at once */
    COORDINATOR_WRITING,
    COORDINATOR_DONE
};

struct coordinator_start {
    struct request_id id;
    uint64_t operation; /* echoed in the replies of replicas; not used twice by this node */
    uint64_t key_hash;
    enum request_class class;
    unsigned read_quorum, write_quorum; /* R and W, from 1; at most the route's copies count */
    uint64_t now_ms, deadline_ms;       /* monotonic */
    uint64_t wall_ms;                   /* since 1970 */
    hlc_time flushed_up_to;             /* dots up to this do not exist; 0: no flush */
    bool may_coordinate;                /* see forward.h */
    const struct forward_request *from; /* that brought the command here; NULL: a client did */
    struct cell *cell;                  /* initialised, empty */
};

struct coordinator {
    struct route route; /* made by the caller before coordinator_init() */
    struct cell *cell;
    struct request_id id;
    uint64_t operation;
    uint64_t key_hash;
    uint64_t deadline_ms;
    uint64_t wall_ms;
    hlc_time flushed_up_to;
    uint8_t class; /* enum request_class */
    uint8_t phase; /* enum coordinator_phase */
    uint8_t read_quorum, write_quorum;
    uint8_t reads; /* how often it was read */
    bool is_answered;
    bool is_passed_on; /* another node brought the command */
    union {
        struct forward forward;    /* FORWARDING */
        struct quorum_read read;   /* READING, APPLYING */
        struct quorum_write write; /* WRITING */
    };
};

enum coordinator_event_type {
    COORDINATOR_START,
    COORDINATOR_OWN_READ,
    COORDINATOR_APPLIED, /* `dot` */
    COORDINATOR_KEPT,
    COORDINATOR_AGAIN,
    COORDINATOR_APPLY_REFUSED,
    COORDINATOR_REWRITTEN, /* `dot` */
    COORDINATOR_SUPERSEDED,
    COORDINATOR_REWRITE_REFUSED,
    COORDINATOR_FETCH_REPLY,   /* `fetch` from `from` */
    COORDINATOR_STORE_REPLY,   /* `store` from `from` */
    COORDINATOR_FORWARD_REPLY, /* `forward` from `from`; its operation is known by its id */
    COORDINATOR_LOST,          /* `from` is believed down */
    COORDINATOR_UNSENT,        /* what was for `from` did not leave this node */
    COORDINATOR_TICK
};

struct coordinator_event {
    enum coordinator_event_type type;
    uint64_t now_ms;
    node_id from;
    struct dot dot;
    union {
        const struct fetch_reply *fetch;
        const struct store_reply *store;
        const struct forward_reply *forward;
    };
};

/* Before the first event.  The route was made, for this key and N. */
void coordinator_init(struct coordinator *, const struct coordinator_start *);

/* Writes `effects`.  Events that come too late, twice, or for another phase change nothing. */
void coordinator_step(struct coordinator *, const struct coordinator_event *,
                      struct request_effects *);

/* When it wants a COORDINATOR_TICK, at the latest; UINT64_MAX when done. */
uint64_t coordinator_deadline_ms(const struct coordinator *);

/* How much sibling room `cell` must have before a fetch reply with so many siblings. */
unsigned coordinator_room(const struct coordinator *, unsigned siblings);

/* The messages that the sends of the last step stand for.  `cell` in a store is the request's. */
struct fetch_request coordinator_fetch_request(const struct coordinator *,
                                               const struct request_send *);
struct store_request coordinator_store_request(const struct coordinator *,
                                               const struct request_send *);
struct forward_request coordinator_forward_request(const struct coordinator *, uint64_t now_ms);

#endif
