/* Claimant: keeps the ring table and the membership of a node in agreement with all others, and
 * publishes new tables if it falls to this node to do so.  Every node runs one.
 *
 * Agreement.  A ping shows which table and which membership a node has.  Who sees a newer table, or
 * another membership, asks for it, one node at a time.  What changes here is pushed to all members
 * that are reachable.  Of two tables the one with the higher (epoch, claimant) is adopted, always.
 * Converged, nobody asks and nothing is sent.
 *
 * A node without a table asks the members for it, a few at a time.  Where a majority of them
 * restarted at once and none has a table, the lowest of those makes one anew: all that they held is
 * lost, but the cluster goes on.  Should somebody come back with the old table, that one wins.
 *
 * Publishing.  The claimant is the lowest node of the current table that has not gone and is
 * reachable, as each node sees it.  When the membership asks for another table than there is:
 *
 *   IDLE --- claim wants a table ---> QUIET --- no change for quiet_ms ---> NEEDED
 *     ^                                                                       |
 *     |  the table is as it should be: joining nodes                          | majority, warm
 *     |  are up, leaving ones that hold nothing gone                          v
 *     +------------------------------------------------------- WARMING <-- published
 *
 * - A commit needs a majority of the members of the current table: reachable, and with just that
 *   table and this node's membership, as their pings said.  So two sides of a cut cannot both go
 *   on; and as majorities meet, no later claimant undoes a table because it had not heard of the
 *   acts behind it.  For a member that began anew as another actor (ring/restart.h) that one
 *   counts.  Forced, it needs none.
 * - One step of claim at a time.  The next one is published once all who own something are warm
 *   under the current table; who is unreachable is waited for only if the last table gave it
 *   something, until it is back or an operator removes it.
 * - Nothing is remembered about who wanted what: a table is computed from the membership and the
 *   table there is.  A member whose join was in a table that lost is planned again by itself.
 *
 * Tables that are lost, late or doubled do no harm, nor do two claimants at a time: the versions
 * decide, and both compute the same from the same membership.
 *
 * Threads: a claimant, its membership and its tables belong to one thread; others are given
 * copies of the table. */
#ifndef RING_CLAIMANT_H
#define RING_CLAIMANT_H

#include "ring/claim.h"
#include "ring/membership.h"
#include "ring/ping.h"
#include "ring/rebalance.h"
#include "ring/table.h"
#include "ring/trace.h"

#define CLAIMANT_BYTES_MAX                                                                         \
    (RING_TABLE_BYTES_MAX > MEMBERSHIP_BYTES_MAX ? RING_TABLE_BYTES_MAX : MEMBERSHIP_BYTES_MAX)

/* Which table: the version, and a digest of the content.  A claimant that restarted may have
 * forgotten a table and make another one of that version; then the higher digest counts. */
struct claimant_mark {
    struct ring_version version; /* epoch 0: none */
    uint64_t digest;
};

enum claimant_message_type {
    CLAIMANT_TABLE,          /* bytes: a whole table */
    CLAIMANT_DIFFERENCE,     /* bytes: a difference of tables */
    CLAIMANT_MEMBERSHIP,     /* bytes: a membership */
    CLAIMANT_ASK_TABLE,      /* mark: what the sender has; answer with the table if it is newer */
    CLAIMANT_NO_TABLE,       /* the answer of a node that has none itself */
    CLAIMANT_ASK_WHOLE,      /* the same, but no difference: that did not fit */
    CLAIMANT_ASK_MEMBERSHIP, /* answer with the membership */
    CLAIMANT_PUSH_FORCE      /* the sender was forced, but the receiver is the claimant */
};

/* What claimants send each other.  CLAIMANT_BYTES_MAX bytes at most; borrowed. */
struct claimant_message {
    enum claimant_message_type type;
    struct claimant_mark mark; /* of the table that is sent, or that the sender has */
    struct slice bytes;
};

enum claimant_event_type {
    CLAIMANT_TICK,
    CLAIMANT_PING,        /* `from`, `ping`: a ping or its answer came, be it of no member: who went
                             and does not know yet is told */
    CLAIMANT_MESSAGE,     /* `from`, `message` */
    CLAIMANT_REACHABLE,   /* `from` is reachable now (or not: CLAIMANT_UNREACHABLE), as liveness */
    CLAIMANT_UNREACHABLE, /* sees it; a node never heard of is unreachable */
    CLAIMANT_ACTED,  /* the caller changed the membership: by an operator's act, a flush, ... */
    CLAIMANT_WARMED, /* `is_warm`: this node warms no partition under the current table;
                        `is_holding`: it has cells that others own, or hints for them.  After
                        has_adopted always, then whenever one of them changes */
    CLAIMANT_FORCE,  /* --force: publish without a majority until the table is as it should be */
    CLAIMANT_LOAD    /* `operations`: by partition, of the whole cluster; only if configured */
};

struct claimant_event {
    enum claimant_event_type type;
    uint64_t now_ms; /* monotonic */
    node_id from;
    const struct ping *ping; /* its incarnation is that of the record of its sender */
    const struct claimant_message *message;
    bool is_warm, is_holding;
    const uint64_t *operations;
};

/* A message to send: claimant_compose() makes it. */
struct claimant_send {
    node_id to;
    enum claimant_message_type type;
};

/* What to do: claimant_effects_init() before each step. */
struct claimant_effects {
    unsigned send_count;
    struct claimant_send sends[2 * RING_MEMBERS_MAX + 2];
    bool has_adopted;        /* claimant_table() is another one than before the step */
    bool has_published;      /* and this node made it */
    bool was_forced;         /* without a majority: say so loudly */
    bool membership_changed; /* other than by the caller: look at flushes, statuses, warmth */
    bool is_displaced;       /* another process runs under this node's id: a later incarnation */
    struct ring_trace *trace;
};

/* No effects yet; `trace` may be NULL. */
static inline void claimant_effects_init(struct claimant_effects *effects, struct ring_trace *trace)
{
    effects->send_count = 0;
    effects->has_adopted = effects->has_published = effects->was_forced = false;
    effects->membership_changed = effects->is_displaced = false;
    effects->trace = trace;
}

struct claimant_config {
    node_id self;
    unsigned copies;         /* owners wanted per partition */
    unsigned partition_bits; /* of a table that has to be made anew */
    unsigned ask_retry_ms;   /* until a question unanswered is given up */
    unsigned quiet_ms;       /* without a change, before a table is made: joins come in groups */
    unsigned rebalance_permille; /* the threshold of ring/rebalance.h; 0: off */
};

/* Room to work in, too large for a stack (about 700 KB, and as much again in `rebalance`, which may
 * be NULL when that is off).  Nothing in it lasts from one step to the next: claimants of one
 * thread can share it. */
struct claimant_work {
    struct claim_work claim;
    struct rebalance_work *rebalance;
    struct membership heard;
    struct ring_table table;
    unsigned char rows[RING_ROWS_BYTES_MAX];
};

/* What is known of a node, this one included; for the caller to read. */
struct claimant_peer {
    node_id id;
    bool is_reachable;
    bool has_gained; /* the last table gave it something, and it was not warm since */
    bool is_warm;    /* under the table of `mark` */
    bool is_holding;
    bool has_no_table;         /* it said so when asked in this turn */
    struct claimant_mark mark; /* of its table, as its last ping said */
    uint64_t digest;           /* of its membership */
    uint64_t incarnation;
};

enum claimant_state {
    CLAIMANT_IDLE,     /* the table is as it should be, or somebody else's concern */
    CLAIMANT_QUIET,    /* waits for the membership to stay as it is */
    CLAIMANT_MINORITY, /* a table is needed, but no majority is there */
    CLAIMANT_WARMING   /* waits until those who got partitions are warm */
};

/* Whether claim wants another table than there is. */
enum claimant_need {
    CLAIMANT_NEED_UNKNOWN, /* something changed: to be computed */
    CLAIMANT_NEEDS_TABLE,
    CLAIMANT_HAS_TABLE, /* and statuses are to follow */
    CLAIMANT_COMPLETE
};

struct claimant {
    struct claimant_config config;
    enum claimant_state state;
    enum claimant_need need;
    struct membership *membership;
    struct claimant_work *work;
    struct ring_table table, before; /* the current one, and the one before it */
    uint64_t table_digest, before_digest;
    bool is_forced;
    uint64_t quiet_until_ms, quiet_limit_ms;
    uint64_t table_asked_ms, membership_asked_ms; /* until when an answer is waited for */
    unsigned
        ask_next; /* without a table: the next member to ask, by place; a turn ends with the last */
    unsigned peer_count;
    struct claimant_peer peers[RING_MEMBERS_MAX + 1]; /* sorted by id; this node among them */
};

/* A claimant without a table.  Borrows the membership, the work and the rows, which have to live as
 * long; `rows` are two times `rows_room` bytes, for tables of up to RING_ROWS_BYTES(bits, copies).
 */
void claimant_init(struct claimant *, const struct claimant_config *, struct membership *,
                   struct claimant_work *, unsigned char *rows, size_t rows_room);

/* Makes the first table of a new cluster, of all who are joining or up in the membership (the node
 * itself at least), which are then up.  All nodes that do so with the same membership and claimant
 * get the same table; a cluster of one founds with itself, and others join. */
void claimant_found(struct claimant *, node_id claimant, unsigned partition_bits);

void claimant_step(struct claimant *, const struct claimant_event *, struct claimant_effects *);

/* When to step it with a tick; UINT64_MAX: no need. */
uint64_t claimant_deadline_ms(const struct claimant *);

/* The current table; epoch 0 if there is none yet.  Stays valid until a step says `has_adopted`. */
const struct ring_table *claimant_table(const struct claimant *);

/* The digest of a table's content. */
uint64_t claimant_table_digest(const struct ring_table *);

/* Fills what claimants say to each other in a ping: table, digests, is_holding. */
void claimant_fill_ping(const struct claimant *, struct ping *);

/* Fills the message for an effect, with its bytes in `out`, which has CLAIMANT_BYTES_MAX or at
 * least claimant_message_bytes().  After the step, before the next one. */
void claimant_compose(const struct claimant *, const struct claimant_send *, unsigned char *out,
                      struct claimant_message *);

/* Room that claimant_compose() needs for that message, at most. */
size_t claimant_message_bytes(const struct claimant *, const struct claimant_send *);

/* Who is the claimant, as this node sees it; NODE_NONE without a table. */
node_id claimant_of(const struct claimant *);

/* What is known of a node; NULL if nothing is. */
const struct claimant_peer *claimant_find_peer(const struct claimant *, node_id);

#endif
