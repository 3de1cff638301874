/* Route: the preference list of one key as one node sees it at one moment.
 *
 * First all owners, in the order of the table, then the fallbacks that seem reachable, in ring
 * order.  Who is reachable and who is warming is this node's own opinion; the machines that use a
 * route mark a node unreachable when they hear so on the way.
 *
 *      owners (copies)       fallbacks, reachable ones only
 *     +----+----+----+      +----+----+
 *     | a  | b  | c  |      | d  | self |        b down: a, c, d are the targets of a write,
 *     +----+----+----+      +----+----+                  and d stands in for b
 *
 * Dynamo, section 4.3 (preference list) and 4.6 (sloppy quorum).
 *
 * Threads: a route belongs to its caller. */
#ifndef RING_ROUTE_H
#define RING_ROUTE_H

#include <stdbool.h>
#include <stdint.h>
#include "ring/table.h"

#define ROUTE_MAX 16

/* What this node thinks of a member of the table. */
struct peer_view {
    const uint64_t
        *warming;      /* bit p % 64 of word p / 64: it warms for partition p; NULL: for none */
    uint32_t hedge_ms; /* an answer that takes longer than this is late; 0 counts as 1 */
    bool is_reachable; /* believed up; what is said of this node itself is not looked at */
};

struct route_node {
    node_id id;
    uint32_t hedge_ms;
    bool is_owner;
    bool is_reachable;
    bool is_warming; /* of owners only */
    bool is_self;
};

/* 1. nodes[0 .. copies-1] are the owners, those after them fallbacks that were reachable.
 * 2. Exactly one of the nodes is this one, nodes[self], and it is reachable.
 * 3. copies <= count <= ROUTE_MAX, and no node stands there twice. */
struct route {
    unsigned partition;
    unsigned copies; /* owners: N, or fewer in a cluster that is smaller; may be 0 */
    unsigned count;
    unsigned self; /* index */
    struct route_node nodes[ROUTE_MAX];
};

/* Fills the route of a key for N = `copies`.  `views` has one entry per member of the table, by
 * index.  `self` is always in the route: if it is no owner and would come after the last place, or
 * is no member at all, it stands at the end. */
void route_make(struct route *, const struct ring_table *, uint64_t key_hash, unsigned copies,
                node_id self, const struct peer_view *views);

/* Whether 1 to 3 hold. */
bool route_is_sound(const struct route *);

/* The index of a node, or `count` if it is not there. */
unsigned route_find(const struct route *, node_id);

/* Remembers that a node is not reachable after all.  Has no effect on this node itself and on
 * nodes that are not in the route. */
void route_mark_unreachable(struct route *, node_id);

/* Who coordinates a write: the first owner that is reachable and warm; if none is warm, the first
 * reachable one; if no owner is reachable, the first reachable fallback.  Nodes whose bit (by
 * index) is set in `except` are passed over.  Returns the index, or `count` if nobody is left. */
unsigned route_write_coordinator(const struct route *, uint32_t except);

#endif
