/* What `stats hints`, `stats repair` and ringctl show of hints and repair. */
#ifndef SERVER_REPAIR_STATS_H
#define SERVER_REPAIR_STATS_H

#include "ring/table.h"

struct node;

/* Hints for one node. */
struct repair_stats_target {
    node_id id;
    bool is_reachable;
    uint64_t hints, bytes, oldest_age_ms; /* now */
    uint64_t delivered, expired, unowned; /* since the start */
};

/* Comparing with one node. */
struct repair_stats_peer {
    node_id id;
    bool is_differing; /* what both own, as of its last ping */
    bool is_walking;
    uint64_t walks, walks_fruitless, walks_abandoned;
    uint64_t cells_taken, cells_given, bytes_sent;
};

/* Since the start, but for what is said to be now. */
struct repair_stats {
    uint64_t hints, hint_bytes, hint_bytes_max; /* now */
    uint64_t hints_refused;                     /* for lack of room */
    uint64_t hints_made, hints_delivered, hints_expired, hints_unowned;
    uint64_t hints_received;             /* of others, for this node */
    uint64_t cells_sent, cells_received; /* of any kind but hints */
    uint64_t cells_changed;              /* received ones that brought something */
    uint64_t cells_refused;              /* received ones that could not be merged */
    uint64_t bytes_sent;                 /* of those messages, about */
    uint64_t repair_cells_taken, repair_cells_given;
    uint64_t fill_cells_taken, fill_partitions_done;
    uint64_t handoff_cells_given, handoff_cells_dropped;
    uint64_t handoff_cells_left;                   /* now */
    uint64_t siblings_forgotten;                   /* as outdated after a cut */
    unsigned partitions_owned, partitions_warming; /* now, of this node */
    unsigned partitions_to_fill;                   /* now */
    unsigned partitions_after_cut;                 /* now: with cells that may be outdated */
    uint64_t budget_bytes_per_s;                   /* now, for all of it together */
    uint32_t foreground_p99_us;                    /* over the last minute; 0: too few samples */
    unsigned target_count, peer_count;
    struct repair_stats_target targets[RING_MEMBERS_MAX];
    struct repair_stats_peer peers[RING_MEMBERS_MAX];
};

/* The cluster thread. */
void node_repair_stats(struct node *, struct repair_stats *);

/* `debug repair`: compares with everybody at the next ping, all back-offs forgotten.  The cluster
 * thread. */
void node_repair_now(struct node *);

/* `debug handoff`: looks at once for cells to hand over.  The cluster thread. */
void node_handoff_now(struct node *);

#endif
