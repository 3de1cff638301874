/* Warming: for which of its partitions this node may say "don't have it", and be believed.
 *
 * An owner is warming for a partition when it is new to it, came back with an empty memory, or was
 * cut off from a majority of its owners.  It takes part in everything, but its misses do not count
 * and it coordinates no writes, until it has caught up:
 *
 *   1. every peer that can be reached has delivered the hints that it had for this node by then,
 *   2. and the partition was compared, in full and since it began to warm, with every other owner
 *      that can be reached and is warm.
 *   3. If no other owner that can be reached is warm, nobody waits: it is warm at once.
 *   4. While it is not known of some other owner whether it can be reached and is warm, it waits:
 *      liveness has an opinion soon.
 *
 * How a node knows of 1: the answer to a ping (ring/ping.h) says how old the oldest hint is that
 * the peer holds for this node.  If it was made after the partition began to warm and after the
 * peer saw this node come back (ping.reaches_you), all earlier ones have come.  A peer that does
 * not yet see this node is waited for: it is still making hints.
 *
 * How a node knows that it was cut off: peers that it cannot reach, or that say that they cannot
 * reach it, write around it.  If those are so many that this node and the owners connected to it
 * are no majority of a partition's owners, it has been cut off from that partition.  It begins to
 * warm as soon as a majority is connected again, if one of them is warm.  (If the others were lost
 * and came back empty, there is nothing to catch up with, and it stays warm for them.)
 *
 * Everybody's state travels as a bitmap on the pings, so that coordinators count right.  A bitmap
 * goes by the table that its sender had: partitions that a node gained by a newer table count as
 * warming until it reports under that table.  A peer that never reported warms.
 *
 * Threads: belongs to its caller. */
#ifndef RING_WARMING_H
#define RING_WARMING_H

#include <stdbool.h>
#include <stdint.h>
#include "ring/ping.h"
#include "ring/table.h"
#include "ring/trace.h"

enum warming_state { WARMING_NOT_OWNER, WARMING_WARM, WARMING_WARMING };

struct warming_partition {
    uint64_t since_ms; /* while warming */
    uint8_t state;     /* enum warming_state */
    uint8_t compared;  /* while warming: with whom; a bit for each place in the row */
    bool was_cut_off;  /* it is warm, but will warm again when a warm owner is connected */
};

enum warming_reach { WARMING_REACH_UNKNOWN, WARMING_REACHABLE, WARMING_UNREACHABLE };

enum warming_link {
    WARMING_LINK_NONE, /* no word yet of how each sees the other */
    WARMING_CONNECTED, /* each reaches the other */
    WARMING_CUT        /* one of them does not, or not any more */
};

struct warming_peer {
    node_id id; /* NODE_NONE: free */
    enum warming_reach reach;
    enum warming_link link;
    uint64_t incarnation;
    bool reaches_us;
    bool has_reported;           /* this incarnation has */
    bool is_gone;                /* no member any more, but in the table yet */
    struct ring_version version; /* of the table that its bitmap goes by */
    uint64_t connected_ms;       /* since when; while connected */
    /* All hints that the peer made for this node before this time have come. */
    uint64_t hints_until_ms;
    uint64_t *bitmap; /* where it is warming, by its reports and by what it gained since */
};

/* Memory of the caller.  Words: WARMING_WORDS(partition_bits, peer_room). */
struct warming_memory {
    struct warming_partition *partitions; /* 2^partition_bits */
    struct warming_peer *peers;
    unsigned peer_room; /* a peer for every member that is or was lately */
    uint64_t *words;
};
#define WARMING_WORDS(partition_bits, peer_room)                                                   \
    (RING_BITMAP_WORDS(partition_bits) * ((size_t)(peer_room) + 1))

struct warming {
    node_id self;
    uint64_t incarnation;
    unsigned partition_bits;
    unsigned classes;
    struct warming_memory memory;
    const struct ring_table *table;
    uint16_t peer_of_member[RING_MEMBERS_MAX]; /* where the table's members are among the peers */
    uint64_t *bitmap;                          /* of this node */
    unsigned warming_count;                    /* partitions */
    unsigned owned_count;
    bool has_changed; /* something that more than one partition depends on */
};

enum warming_event_type {
    WARMING_TABLE,      /* `table` is in use from now on */
    WARMING_PEER_FOUND, /* `peer` became reachable */
    WARMING_PEER_LOST,  /* `peer` became unreachable, or never was reachable */
    WARMING_PEER_GONE,  /* `peer` is no member any more */
    WARMING_PING,       /* `ping` was received: a ping or an answer */
    WARMING_COMPARED    /* `partition` was compared with `peer` in full, from `started_ms` on */
};

struct warming_event {
    enum warming_event_type type;
    uint64_t now_ms; /* monotonic */
    node_id peer;
    const struct ping *ping;
    unsigned partition;
    uint64_t started_ms;

    /* Stays the caller's and must live until the step with the next one returned. */
    const struct ring_table *table;
    /* A first table only: the cluster is made with it, so there is nothing that could be missing
     * and this node starts warm. */
    bool is_founding;
};

struct warming_effects {
    struct ring_trace *trace; /* the caller's, or NULL */
    unsigned began, finished; /* partitions that began to warm, and that became warm */
};

/* `classes` has bit n set if some keys have n copies: who moves up in a row may come to own keys
 * that it did not own before. */
void warming_init(struct warming *, node_id self, uint64_t incarnation, unsigned partition_bits,
                  unsigned classes, const struct warming_memory *);

/* There are no deadlines: what is waited for arrives as an event.  Of every member of the table the
 * caller has to hear, sooner or later, whether it was found or lost: liveness sees to that if its
 * peers are the members. */
void warming_step(struct warming *, const struct warming_event *, struct warming_effects *);

/* Whether this node's "don't have it" counts.  False if it does not own the partition. */
bool warming_is_warm(const struct warming *, unsigned partition);

/* Whether this node warms and has yet to compare the partition with `peer`: such comparisons come
 * first, and have to be made again even if one was made lately. */
bool warming_needs(const struct warming *, unsigned partition, node_id peer);

/* The partitions for which a node is warming (this one or a peer), a bit each, as struct peer_view
 * has them; the bits of partitions that it does not own mean nothing.  All set for unknown peers.
 * Valid until the next step. */
const uint64_t *warming_bitmap(const struct warming *, node_id node);

/* The bitmap of this node as it goes into a ping: RING_BITMAP_BYTES of `partition_bits`, or 0 if it
 * is warm everywhere.  Returns how many bytes. */
size_t warming_encode(const struct warming *, unsigned char *out);

/* For the progress bar: how many partitions this node owns; warming->warming_count of them warm. */
unsigned warming_owned(const struct warming *);

#endif
