/* Restart: a node that starts finds out who it is, and from which time on its clock may go.
 *
 * A dot must never be given twice, but a cache that restarts has forgotten which it gave, and its
 * clock may have been set back.  So it asks, before it coordinates anything:
 *
 *                  no member of my name, or it has gone
 *   FINDING ---------------------------------------------------> JOINING ---> READY
 *      |  there is one: that is me                                  ^    \
 *      v                                                            |     \--> REFUSED
 *   ASKING all members for the highest clock they saw of me         |
 *      |  |  that is further ahead than the drift: a new actor      |
 *      |  +---------------------------------------------------------+
 *      v  all answered, or a majority did and the drift has passed since the start
 *   READY
 *
 * After a majority and the drift, a time that only those saw who did not answer has passed too,
 * unless the clock was wrong by more than the drift.  A ceiling beyond the drift is not waited
 * for: the node joins under a fresh id, in the place of the old one, which is gone then.
 *
 * The caller carries the questions, and merges the memberships that come with the answers into its
 * own before it steps the machine with them; each event shows the machine the result.  From
 * ASKING on the node's own record has a new incarnation.  A message of an earlier incarnation than
 * the one in its sender's record is from a life before: who gets it has to drop it.
 *
 * Threads: a machine belongs to its caller. */
#ifndef RING_RESTART_H
#define RING_RESTART_H

#include "ring/membership.h"
#include "ring/trace.h"

/* "What have you seen of me?", to a seed or a member. */
struct restart_ask {
    struct member_name name;
};

/* The answer, together with which the encoded membership of who answers travels. */
struct restart_answer {
    node_id id;       /* the member of that name that has not gone; NODE_NONE if there is none */
    hlc_time seen;    /* the highest clock seen of it; 0: none */
    bool is_starting; /* who answers is not READY itself: it may have forgotten what it saw */
    bool has_members; /* who answers knows a cluster */
};

/* "Let me join", to a seed or a member, which then calls membership_join().  Also one that is
 * starting itself does, once it knows the cluster: else nodes that all start at once would wait for
 * each other, one to be let in, the others for its answer. */
struct restart_join {
    struct member_record joiner;
    node_id replaces; /* or NODE_NONE */
};

/* The answer, together with which the encoded membership of who answers travels. */
struct restart_joined {
    node_id id; /* of the joiner */
    enum membership_answer answer;
};

enum restart_state {
    RESTART_FINDING,
    RESTART_ASKING,
    RESTART_JOINING,
    RESTART_READY,  /* may coordinate, once it has a table */
    RESTART_REFUSED /* see `refusal`: an operator has to help */
};

struct restart_config {
    struct member_record self; /* as it would join: name, address, zone, weight; and a fresh id, one
                                  that no node ever had */
    node_id replaces;          /* the gone or dead node whose place it takes, or NODE_NONE */
    uint64_t drift_max_ms;
    uint64_t retry_ms; /* after which a question is repeated */
};

struct restart {
    enum restart_state state;
    enum membership_answer refusal;
    struct restart_config config;
    node_id id; /* who this node is; NODE_NONE while FINDING */
    node_id replaces;
    hlc_time ceiling; /* clocks have to start after it */
    uint64_t started_ms, stepped_ms, retry_at_ms;
    unsigned answered_count;
    node_id answered[RING_MEMBERS_MAX];
    unsigned certain_count; /* of those, who was not starting itself */
};

enum restart_event_type {
    RESTART_TICK,     /* also the first event, and after the membership changed */
    RESTART_ANSWERED, /* `from`, and `answer` */
    RESTART_JOINED    /* `from`, and `joined` */
};

struct restart_event {
    enum restart_event_type type;
    uint64_t now_ms;                     /* monotonic */
    uint64_t wall_ms;                    /* milliseconds since 1970 */
    const struct membership *membership; /* of this node */
    node_id from;
    const struct restart_answer *answer;
    const struct restart_joined *joined;
};

/* What to do.  Zeroed by the caller before each step, but for `trace`. */
struct restart_effects {
    bool asks_seeds; /* send a restart_ask to every address the node was told to join */
    unsigned ask_count;
    node_id asks[RING_MEMBERS_MAX]; /* and one to these members */
    bool begins_incarnation;        /* membership_restart(membership, restart->id), and send it on:
                                       the claimant's CLAIMANT_ACTED */
    bool joins_seeds;               /* send restart_join_message() to one address or member: another
                                       one each time */
    bool discards_cells;            /* what was loaded from a snapshot belongs to another actor */
    bool is_ready;                  /* start the clocks after restart->ceiling */
    struct ring_trace *trace;
};

/* Starts FINDING; the first step is a RESTART_TICK, now. */
void restart_init(struct restart *, const struct restart_config *, uint64_t now_ms);

/* The node that founds a cluster is READY at once, as config->self.id. */
void restart_init_founding(struct restart *, const struct restart_config *);

void restart_step(struct restart *, const struct restart_event *, struct restart_effects *);

/* When to step it with a tick; UINT64_MAX: no need. */
uint64_t restart_deadline_ms(const struct restart *);

static inline bool restart_is_ready(const struct restart *restart)
{
    return restart->state == RESTART_READY;
}

/* The question of this node. */
struct restart_ask restart_ask_message(const struct restart *);

/* What it asks for while JOINING. */
struct restart_join restart_join_message(const struct restart *);

/* The answer of a node with that membership; `is_starting` while its own machine is not READY. */
struct restart_answer restart_answer_to(const struct membership *, const struct restart_ask *,
                                        bool is_starting);

/* Doubt about the own clock: a running node whose clock a majority refuses stops coordinating, and
 * passes requests on.  A refusal counts until the same node accepts again. */
struct clock_doubt {
    unsigned count;
    node_id refusing[RING_MEMBERS_MAX];
};

void clock_doubt_init(struct clock_doubt *);

/* `from` refused a dot of this node as too far ahead, or took one. */
void clock_doubt_refused(struct clock_doubt *, node_id from);
void clock_doubt_accepted(struct clock_doubt *, node_id from);

/* Whether those members who refuse are no majority of the live members. */
bool clock_doubt_may_coordinate(const struct clock_doubt *, const struct membership *);

#endif
