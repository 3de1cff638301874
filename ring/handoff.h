/* Handoff: a node that holds cells of which it is no owner gives them to all their owners.
 *
 * That happens when the table changes, and to what hints leave behind.  It is driven by state, the
 * count of cells in the trees of partitions that the node does not own, so it goes on after any
 * fault, from whatever is left.  A batch of cells at a time:
 *
 *    SCANNING ---> OFFERING ------------------> GIVING ---------------> drop, next batch
 *       ^          marks to all N owners        cells to those         |
 *       |                                       who want them          |
 *       +---- the table changed, an owner is not reachable ------------+
 *
 * 1. A cell is dropped only when all N owners, of one table, that of now, acknowledged it: had the
 *    same state already, or merged it.
 * 2. And only if it is still what it was when it was offered (its fingerprint): the caller drops
 *    it under its lock, or leaves it for the next round.
 * 3. While an owner is unreachable nothing is sent for its partitions, and nothing dropped.
 *
 * Threads: belongs to its caller. */
#ifndef RING_HANDOFF_H
#define RING_HANDOFF_H

#include "ring/budget.h"
#include "ring/exchange.h"
#include "ring/route.h"
#include "ring/trace.h"

#define HANDOFF_WINDOW       4 /* batches at once, of different partitions */
#define HANDOFF_BATCH        128
#define HANDOFF_MESSAGES_MAX 2
#define HANDOFF_SCANS_MAX    HANDOFF_WINDOW

enum handoff_owner_state {
    HANDOFF_TO_OFFER,
    HANDOFF_OFFERED,
    HANDOFF_TO_GIVE,
    HANDOFF_GIVEN,
    HANDOFF_ACKNOWLEDGED
};

struct handoff_owner {
    node_id id;
    enum handoff_owner_state state;
    uint64_t number;
    uint64_t repeat_at_ms;
    unsigned next_item;     /* those before it were acknowledged */
    uint64_t first;         /* the key hash where the offer on the way starts */
    uint64_t reached;       /* up to where it acknowledged */
    uint64_t given_reached; /* and will have when it has what it wants: */
    unsigned wanted_count;
    uint64_t wanted[HANDOFF_BATCH / 64]; /* bit i: cell i of the batch */
};

enum handoff_state { HANDOFF_FREE, HANDOFF_TO_SCAN, HANDOFF_SCANNING, HANDOFF_MOVING };

struct handoff_slot {
    enum handoff_state state;
    unsigned partition, copies;
    struct ring_version version; /* of the table whose owners these are */
    uint64_t cursor;             /* where the batch starts */
    uint64_t reached;            /* and ends */
    uint64_t number;             /* of the scan */
    uint64_t scan_again_ms;
    bool has_dropped; /* something, so there is reason to look for more */
    unsigned owner_count;
    struct handoff_owner owners[RING_COPIES_MAX];
    unsigned item_count;
    struct exchange_item items[HANDOFF_BATCH];
};

struct handoff {
    uint32_t retry_ms; /* also: how often to look for cells that are not owned */
    uint64_t next_number;
    uint64_t look_at_ms;
    uint64_t wake_ms;        /* the next deadline */
    unsigned next_partition; /* they take turns */
    struct handoff_slot slots[HANDOFF_WINDOW];

    uint64_t cells_given; /* since handoff_init() */
};

enum handoff_event_type {
    HANDOFF_TICK,  /* a deadline has come, tokens have, nodes became reachable, the table changed */
    HANDOFF_ITEMS, /* `scanned` */
    HANDOFF_DIFFERENCE, /* the answer to an offer */
    HANDOFF_STORED
};

struct handoff_event {
    enum handoff_event_type type;
    uint64_t now_ms; /* monotonic */
    const struct exchange_view *view;
    const struct peer_view *peers; /* by index of the table's members */
    struct token_bucket *bucket;
    const struct exchange_scanned *scanned;
    const struct exchange_difference *difference;
    const struct exchange_stored *stored;
};

/* Drop the cell, context and all, if its fingerprint is still this one. */
struct handoff_drop {
    uint64_t key_hash;
    uint64_t fingerprint;
};

struct handoff_effects {
    struct ring_trace *trace; /* the caller's, or NULL */
    unsigned message_count;
    struct exchange_message messages[HANDOFF_MESSAGES_MAX];
    unsigned scan_count;
    struct exchange_scan scans[HANDOFF_SCANS_MAX]; /* answer each with HANDOFF_ITEMS */
    unsigned drop_count;
    struct handoff_drop drops[HANDOFF_BATCH];
};

static inline void handoff_effects_init(struct handoff_effects *effects, struct ring_trace *trace)
{
    effects->trace = trace;
    effects->message_count = effects->scan_count = effects->drop_count = 0;
}

/* `first_number` as for sync_init(). */
void handoff_init(struct handoff *, uint32_t retry_ms, uint64_t first_number);
void handoff_step(struct handoff *, const struct handoff_event *, struct handoff_effects *);

/* Looks for cells that are not owned at the next tick, which is due. */
void handoff_hurry(struct handoff *);

/* When to send HANDOFF_TICK. */
uint64_t handoff_deadline_ms(const struct handoff *);

/* Cells held for partitions and classes that this node does not own: what is left to hand over. */
uint64_t handoff_cells_left(const struct exchange_view *);

#endif
