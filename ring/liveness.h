/* Liveness: which peers this node believes it can reach, and how fast they are.
 *
 * Each node's own opinion, from the answers it gets: no agreement is needed, since it only chooses
 * whom to ask and for whom to leave hints; it never changes the membership.
 *
 *                  answered                        silent for too long, or link lost
 *   UNKNOWN ------------------> REACHABLE -----------------------------> UNREACHABLE <----+
 *      |                            ^                                         |           |
 *      | silent too long            | answered all along for hold_ms          | answered  | silent
 *      +------> UNREACHABLE         +------------------------- RETURNING <----+           |
 *                                                                  +----------------------+
 *
 * 1. A proof of life is an answer to something this node sent: an answered ping, or a reply to a
 *    request.  Being pinged proves nothing: the link may be cut one way.  (It does make this node
 *    ping a peer at once that it believes gone, so that both find each other again sooner.)
 * 2. A peer is believed gone when nothing proved it alive for its silence limit.  The limit
 *    follows the measured round trips (their mean and deviation as in RFC 6298) between
 *    silence_min_ms and silence_max_ms.  So a dead peer is noticed within silence_max_ms, and one
 *    that answers every ping within silence_min_ms - ping_ms, however its speed changes, is never
 *    believed gone.  A peer that is late with an answer is pinged four times as often.
 * 3. A peer that was believed gone has to answer for hold_ms before it counts as reachable again:
 *    hold_min_ms at first, twice as long after every loss, at most hold_max_ms, and half as long
 *    again for each calm_ms that it stayed reachable.  A link that flaps is thus left alone.
 * 4. Silence counts only while this node listened: if it was itself stopped for a while (it is
 *    stepped far later than it asked for), peers get the time back. *
 * The first answer of a peer that was never believed gone makes it reachable at once.
 *
 * Stepping costs O(1) for what is heard and O(peers) at a deadline.
 *
 * Threads: belongs to its caller. */
#ifndef RING_LIVENESS_H
#define RING_LIVENESS_H

#include <stdbool.h>
#include <stdint.h>
#include "ring/ping.h"
#include "ring/table.h"
#include "ring/trace.h"

#define LIVENESS_SENDS_MAX   16 /* in the effects of one step */
#define LIVENESS_CHANGES_MAX 16

struct liveness_options {
    uint32_t ping_ms;                        /* between two pings of a peer that answers */
    uint32_t silence_min_ms, silence_max_ms; /* above ping_ms */
    uint32_t hold_min_ms, hold_max_ms;
    uint32_t calm_ms;
    uint32_t hedge_min_ms, hedge_max_ms; /* bounds of liveness_hedge_ms() */
};

/* 500, 1500 and 5000, 500 and 10000, 60000, 5 and 1000 ms. */
extern const struct liveness_options liveness_options_default;

enum liveness_state {
    LIVENESS_UNKNOWN, /* nothing was proved yet, either way */
    LIVENESS_REACHABLE,
    LIVENESS_UNREACHABLE,
    LIVENESS_RETURNING /* answers again, but has to go on doing so for a while */
};

struct liveness_peer {
    node_id id;
    enum liveness_state state;
    uint64_t incarnation; /* the last heard of; 0 before */
    uint64_t proved_ms;   /* when it was last proved alive; before that, when it was added */
    uint64_t answered_ms; /* while RETURNING: since when it answers */
    uint64_t changed_ms;  /* when it last became reachable or unreachable */
    uint64_t pinged_ms;   /* when it was last pinged */
    uint64_t ping_at_ms;  /* when to ping it next */
    uint32_t round_trip_us, deviation_us;
    bool has_round_trip;
    bool reaches_us;  /* what its last ping or answer said of this node */
    bool is_stopping; /* it said so: nothing but a new incarnation makes it reachable */
    uint32_t hold_ms; /* how long it had to answer after the last loss; 0 before the first */
};

struct liveness {
    struct liveness_options options;
    node_id self;
    uint64_t incarnation;
    uint64_t stepped_ms;  /* the time of the last step */
    uint64_t deadline_ms; /* nothing is due before; may be earlier than needed */
    bool is_stopping;
    unsigned peer_count;
    struct liveness_peer peers[RING_MEMBERS_MAX]; /* sorted by id */
};

enum liveness_event_type {
    LIVENESS_TICK,  /* a deadline has come */
    LIVENESS_PING,  /* `ping` was received: a ping or an answer */
    LIVENESS_REPLY, /* `peer` answered a request of ours; `round_trip_us`, or 0 if unknown */
    /* `peer` has not answered a request of ours in time: ping it now */
    LIVENESS_LATE,
    LIVENESS_LINK_UP,   /* a connection to `peer` was made: ping it now */
    LIVENESS_LINK_DOWN, /* the connection to `peer` was lost: it is unreachable at once */
    /* This node is about to exit: peers are told with the next pings, which are due now. */
    LIVENESS_STOP
};

struct liveness_event {
    enum liveness_event_type type;
    uint64_t now_ms; /* monotonic */
    node_id peer;
    const struct ping *ping;
    uint32_t round_trip_us;
};

enum liveness_change_type {
    LIVENESS_BECAME_REACHABLE,
    LIVENESS_BECAME_UNREACHABLE, /* also the first opinion of a peer that never answered */
    LIVENESS_RESTARTED /* its incarnation is another one: what it held in memory is gone */
};

struct liveness_change {
    enum liveness_change_type type;
    node_id peer;
};

struct liveness_effects {
    struct ring_trace *trace; /* the caller's, or NULL */
    unsigned send_count;
    struct ping sends[LIVENESS_SENDS_MAX]; /* with the fields marked L set; to send[i].to */
    unsigned change_count;
    struct liveness_change changes[LIVENESS_CHANGES_MAX];
    uint64_t slept_ms; /* this node itself was stopped for that long; else 0 */
};

/* `incarnation` is that of the node's membership record.  Borrows `options`;
 * NULL: the default ones. */
void liveness_init(struct liveness *, node_id self, uint64_t incarnation,
                   const struct liveness_options *options, uint64_t now_ms);

/* Makes exactly these nodes the peers: new ones start UNKNOWN and are pinged at once, those no
 * longer in the list are forgotten without a word.  `nodes` is sorted by id and may have this
 * node in it, which is skipped. */
void liveness_set_peers(struct liveness *, const node_id *nodes, unsigned count, uint64_t now_ms);

/* A ping that is not meant for this node, not from a peer, or from an earlier incarnation of one,
 * changes nothing and is not answered: it came from the wire. */
void liveness_step(struct liveness *, const struct liveness_event *, struct liveness_effects *);

/* When to step with LIVENESS_TICK.  Not after `now_ms` if the effects of the last step were too
 * small for all that was due: then step again. */
uint64_t liveness_deadline_ms(const struct liveness *);

/* The peer, or NULL. */
const struct liveness_peer *liveness_find(const struct liveness *, node_id peer);

/* Whether to ask `peer`, and whom to leave hints for.  This node itself is reachable; unknown
 * nodes are not. */
bool liveness_is_reachable(const struct liveness *, node_id peer);

/* Whether it answers at this time, though it may be too early to rely on it: for a caller who
 * would otherwise find too few nodes to ask. */
bool liveness_is_answering(const struct liveness *, node_id peer);

/* After how many milliseconds a request to `peer` is late, and somebody else should be asked. */
unsigned liveness_hedge_ms(const struct liveness *, node_id peer);

#endif
