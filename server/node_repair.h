/* What a node does besides answering, as the files that do it see it:
 *
 *   node_repair.c     when which machine is stepped, and what others of server/node.h ask
 *   node_hints.c      hints for owners that are away (ring/hints.h)
 *   node_sync.c       warming, fills, anti-entropy (ring/warming.h, fill.h, sync.h)
 *   node_handoff.c    cells that others own, and those outdated by a cut (ring/handoff.h and
 *                     aftercut.h)
 *   node_exchange.c   what peers ask and answer (ring/exchange.h)
 *   node_cells.c      cells from the store, and into it
 *   node_repair_stats.c   what all of that has counted
 *
 * tests/sim/repair.c and hinting.c are the model.
 *
 * Threads: the cluster thread. */
#ifndef SERVER_NODE_REPAIR_H
#define SERVER_NODE_REPAIR_H

#include "ring/aftercut.h"
#include "ring/budget.h"
#include "ring/fill.h"
#include "ring/handoff.h"
#include "ring/hints.h"
#include "ring/sync.h"
#include "ring/warming.h"
#include "server/arena.h"
#include "server/cell_store.h"
#include "server/hint_queue.h"
#include "server/node.h"
#include "server/repair_stats.h"

/* A cell that is held for others. */
struct held_cell {
    struct hinted hinted;
    struct held_cell *next; /* in its bucket */
    unsigned char key_bytes, key[];
};

/* All of those, by the hash of their key. */
struct held {
    struct held_cell **buckets; /* NULL: none yet */
    unsigned bucket_bits;
    uint64_t count;
    /* Another table is in use: the cells in buckets from here on may be in the trees, or not,
     * wrongly.  Above the last bucket: all are right. */
    uint64_t recheck;
};

struct kept_hint {
    struct hint hint; /* first */
    uint64_t bytes;   /* of the queue's */
};

/* Scans for ring/aftercut.h that wait for their turn: one for each of its slots, and for some that
 * it asked for again. */
#define AFTERCUT_SCANS_MAX (2 * AFTERCUT_WINDOW)

/* A request that is answered once tokens allow it. */
struct deferred {
    struct deferred *next;
    uint64_t until_ms; /* then who asked asks again */
    struct exchange_digests digests;
};

struct deferred_queue {
    struct deferred *first, **end; /* the oldest first */
    unsigned count;
};

struct repair {
    struct node *node;
    struct hint_queue queue;
    uint64_t take_at_ms; /* when to look into it next */
    bool has_started;
    const struct ring_table *table; /* as the machines know it */
    unsigned copies_max;            /* the largest class */
    struct budget budget;
    struct held held;
    struct hints hints;
    struct hints_target targets[RING_MEMBERS_MAX];
    struct warming warming;
    struct warming_memory warming_memory;
    unsigned char warming_bytes[RING_BITMAP_BYTES(RING_PARTITION_BITS_MAX)]; /* for a ping */
    struct fill fill;
    uint64_t *fill_wanted;
    struct handoff handoff;
    struct aftercut aftercut;
    struct aftercut_scan scans[AFTERCUT_SCANS_MAX]; /* that it asked for */
    unsigned scan_count;
    hlc_time *suspects; /* by partition, as are */
    struct aftercut_contact *contacts;
    struct sync *syncs[RING_MEMBERS_MAX]; /* in no order */
    unsigned sync_count;
    struct peer_view views[RING_MEMBERS_MAX];     /* see repair_views() */
    struct deferred_queue deferred[BUDGET_WORKS]; /* by what the answer is paid from */
    struct repair_stats stats;                    /* what the machines do not count */

    /* One message at a time. */
    struct peer_message message;
    struct arena arena; /* for what is sent next */
    struct cell cells[EXCHANGE_KEYS_MAX];
    struct cell own; /* its siblings are on the heap */
};

/* --- node_repair.c --- */

/* This node at the moment. */
struct exchange_view repair_view(const struct repair *);

/* The members of the table as the machines want them; valid until something changes. */
const struct peer_view *repair_views(struct repair *);

static inline struct token_bucket *repair_bucket(struct repair *repair, enum budget_work work)
{
    return budget_bucket(&repair->budget, work);
}

/* --- node_cells.c --- */

/* How many nodes are to have that key. */
unsigned repair_class(struct slice key);

/* Whether this node is one of them. */
bool repair_owns(const struct repair *, uint64_t hash, struct slice key);

/* As cell_store_scan().  False: memory is short; the machine will ask again. */
bool repair_scan(struct repair *, const struct exchange_scan *, struct exchange_item *items,
                 struct exchange_scanned *);

/* A copy of the cell number `skipped` of those with that hash, and its key: good until the next
 * message.  False: there is none, or memory is short. */
bool repair_copy(struct repair *, uint64_t hash, unsigned skipped, struct slice *key,
                 struct cell *into);

/* Sends a message that names own cells: they are put in, and what is gone is left out. */
void repair_send(struct repair *, const struct exchange_message *);

/* Sends a hint with its cell.  False: nothing is held for that key any more. */
bool repair_send_hint(struct repair *, struct hint_delivery, struct slice key);

/* Merges a peer's cell.  `takes`: also if nothing is held of the key. */
enum repair_merge {
    REPAIR_MERGED,
    REPAIR_CHANGED,   /* likewise, and it brought something */
    REPAIR_UNWELCOME, /* nothing is held of the key, and nothing is to be */
    REPAIR_FAILED     /* not now: no memory, a clock too far ahead; or it makes no sense */
};
enum repair_merge repair_merge(struct repair *, uint64_t hash, struct slice key,
                               const struct cell *, bool takes);

/* What became of the cells that a message brought. */
struct repair_taken {
    unsigned changed_count;
    bool has_failed;
    uint64_t merged[EXCHANGE_KEYS_MAX / 64], changed[EXCHANGE_KEYS_MAX / 64];
};
/* Merges a message's cells, each with its key.  `is_handoff`: even at the memory limit. */
void repair_take(struct repair *, const struct exchange_cell *, const struct slice *keys,
                 unsigned count, bool is_handoff, struct repair_taken *);

/* Drops the cells of a hash that have this fingerprint, unless they are held for others, too.
 * Returns how many. */
unsigned repair_drop(struct repair *, uint64_t hash, uint64_t fingerprint);

/* Forgets one sibling, if it is still held. */
void repair_forget(struct repair *, uint64_t hash, struct dot);

/* --- node_hints.c --- */

/* Begins with no hints. */
void repair_hints_start(struct repair *);
/* Frees all hints, without a word. */
void repair_hints_deinit(struct repair *);

/* Takes up what the workers have added. */
void repair_hints_take(struct repair *);
/* Steps the machine, as do the others' repair_step_...(): fills in the time, the bucket and what
 * else the event has of this node, and does what the machine says.  A machine may be stepped
 * again from within. */
void repair_hints_step(struct repair *, struct hints_event);

/* Another table is in use: whose cells are in the trees depends on what this node owns. */
void repair_hints_recheck(struct repair *);
/* Whether there is more to do about that, and does some of it. */
bool repair_hints_is_rechecking(const struct repair *);
void repair_hints_go_on(struct repair *);

/* A hint of a peer's: takes its cell, if this node owns it, and acknowledges it. */
void repair_on_hint(struct repair *, node_id from, const struct peer_hint *);

/* --- node_sync.c --- */

/* False: memory is short. */
bool repair_sync_new(struct repair *);
/* Whatever of it there is. */
void repair_sync_free(struct repair *);
/* Fills, handoffs and warming begin; `is_founding` as in node_repair_start(). */
void repair_sync_start(struct repair *, bool is_founding);
void repair_step_warming(struct repair *, struct warming_event);
void repair_step_fill(struct repair *, struct fill_event);

/* The machine for a peer; NULL: memory is short. */
struct sync *repair_sync_with(struct repair *, node_id peer);
void repair_step_sync(struct repair *, struct sync *, struct sync_event);
/* Whether warming waits for a comparison with the peer. */
bool repair_wants_walk(const struct repair *, node_id peer);
/* Machines of nodes that are no members any more. */
void repair_forget_syncs(struct repair *);

/* Fills begin and end with what is owned. */
void repair_change_owned(struct repair *, const struct ring_table *before);

/* --- node_handoff.c --- */

void repair_step_handoff(struct repair *, struct handoff_event);
void repair_step_aftercut(struct repair *, struct aftercut_event);
/* Makes some of the scans that it asked for: as many as there may be empty partitions, one after
 * the other, so they are not made where they are asked for. */
void repair_scan_for_aftercut(struct repair *);

/* --- node_exchange.c --- */

/* COMPARE to KNOWN: answers what a peer asks, and hands on what it answers. */
void repair_on_exchange(struct repair *, node_id from, const struct peer_message *);

/* Answers what had to wait for tokens, and when to come for it. */
void repair_answer_deferred(struct repair *);
uint64_t repair_deferred_ms(struct repair *);
void repair_deferred_init(struct repair *);
void repair_deferred_deinit(struct repair *);

#endif
