/* Hints: what this node keeps for owners that could not be reached.
 *
 * A fallback that stores a cell in an owner's stead also leaves a hint: (key, target).  When the
 * target is reachable again the cell goes to it, and only its acknowledgement ends the hint.
 *
 *                     add                                 window and tokens
 *     (caller's cell) ---> WAITING, the oldest first ---------------------> SENT
 *                             ^  |                                           |
 *                             |  +--> released: expired, or unowned          | acknowledged
 *                             +----------------------------------------------+----> released:
 *                                 no answer in time, refused, target gone,          delivered
 *                                 or the cell was stored anew meanwhile
 *
 * 1. A hint ends in one of these ways only: its target acknowledged the cell as it is now; it
 *    grew older than the lifetime; its target is no member any more or not the key's owner; or
 *    the caller dropped it.  Never because it was sent.
 * 2. A cell has at most one hint for a target.  One that is stored again while its hint is on the
 *    way is sent again.
 * 3. Hints are never evicted: their bytes are bounded instead, and a node at the bound refuses to
 *    be a fallback.  `bytes_used` is exactly the sum of the hints' bytes.
 * 4. A hint's age counts from when it was first made, and goes on counting over repeats: the
 *    oldest sibling of the cell may be as old (a tombstone that it lacks must outlive it).
 * 5. Deliveries may repeat and arrive in any order: the target merges.
 *
 * Hints are embedded in the caller's objects, so nothing is allocated; adding, dropping and ending
 * one is O(1) for any number of them.
 *
 * Threads: belongs to its caller, with all hints in it. */
#ifndef RING_HINTS_H
#define RING_HINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ring/budget.h"
#include "ring/cell.h"
#include "ring/context.h"
#include "ring/table.h"
#include "ring/trace.h"

#define HINTS_WINDOW       32 /* deliveries on the way to one target */
#define HINTS_DELIVERS_MAX 16 /* in the effects of one step */
#define HINTS_RELEASES_MAX 16

/* What the caller's object for a cell embeds, with a cell that has hints.  Zeroed but for the hash,
 * it has none. */
struct hinted {
    struct hint *first; /* for one target each, in no order */
    uint64_t key_hash;
};

/* The fields belong to hints.c; the caller may read them. */
struct hint {
    struct hint *next, *previous; /* in the target's queue, while waiting */
    struct hint *of_same_cell;    /* the cell's next hint */
    struct hinted *cell;
    uint64_t made_ms; /* monotonic */
    uint32_t bytes;
    uint8_t target; /* index into the targets */
    uint8_t slot;   /* in the target's window, while sent */
    bool is_sent;
    bool is_stale; /* while sent: the cell has been stored again since */
};

struct hint_delivery_slot {
    struct hint *hint; /* NULL: free */
    uint64_t number;
    uint64_t sent_ms;
};

struct hints_target {
    node_id id; /* NODE_NONE: free */
    bool is_reachable;
    bool is_gone; /* no member any more: its hints are handed back */
    struct hint *first, *last;
    uint64_t count, bytes;                /* waiting and sent */
    uint64_t delivered, expired, unowned; /* since it was first seen */
    uint64_t resume_at_ms;                /* it refused: no deliveries before */
    uint32_t pause_ms;                    /* how long it is left alone if it refuses again */
    uint32_t slots;                       /* of its window: a bit for each in use */
    uint64_t due_ms;                      /* none is too old or too long on the way before */
    struct hint_delivery_slot sent[HINTS_WINDOW];
};

struct hints_options {
    uint64_t bytes_max;
    uint64_t lifetime_ms;
    uint32_t retry_ms;     /* after which an unanswered delivery is repeated */
    uint32_t pause_max_ms; /* a target that refuses is asked again after retry_ms, then twice as
                              long each time, but no longer than this */
};

/* 64 MiB, 45 minutes, 1 s, 30 s. */
extern const struct hints_options hints_options_default;

struct hints {
    struct hints_options options;
    struct hints_target *targets; /* the caller's; indexes stay while there are hints */
    unsigned target_room;
    unsigned targets_used; /* those from here on never were */
    unsigned next_target;  /* they take turns */
    uint64_t count, bytes_used;
    uint64_t next_number;
};

/* The messages.  The cell is merged by the target, who answers what became of it. */
struct hint_delivery {
    node_id from, to;
    uint64_t number; /* comes back in the answer */
    uint64_t key_hash;
    const struct cell *cell; /* borrowed */
};

enum hint_result {
    HINT_STORED,   /* or it had all that already */
    HINT_REFUSED,  /* not now: no room, or a clock too far ahead; try again later */
    HINT_NOT_OWNER /* the target does not own the key any more: it did not store it */
};

struct hint_ack {
    node_id from, to;
    uint64_t number;
    enum hint_result result;
};

enum hints_event_type {
    HINTS_TICK,        /* a deadline has come */
    HINTS_REACHABLE,   /* `target` became reachable */
    HINTS_UNREACHABLE, /* `target` became unreachable: what is on the way will be sent again */
    HINTS_GONE,        /* `target` is no member any more: its hints are handed back as unowned */
    HINTS_ACK          /* `ack` was received */
};

struct hints_event {
    enum hints_event_type type;
    uint64_t now_ms; /* monotonic */
    node_id target;
    const struct hint_ack *ack;
    struct token_bucket *bucket; /* what deliveries are paid from: a token a byte; always given */
};

/* Send a struct hint_delivery with the cell of hint->cell, as it is now. */
struct hints_deliver {
    struct hint *hint;
    node_id target;
    uint64_t number;
};

enum hints_release_reason {
    HINTS_DELIVERED,
    HINTS_EXPIRED, /* anti-entropy takes over: count it and log the target */
    HINTS_UNOWNED  /* the target will not take it: hand the cell to the present owners instead */
};

/* The hint is in no queue any more, not among its cell's, and its memory the caller's again.  A
 * cell without hints, on a node that does not own its key, may be dropped if the reason is one of
 * the first two. */
struct hints_release {
    struct hint *hint;
    node_id target;
    enum hints_release_reason reason;
};

struct hints_effects {
    struct ring_trace *trace; /* the caller's, or NULL */
    unsigned deliver_count;
    struct hints_deliver delivers[HINTS_DELIVERS_MAX];
    unsigned release_count;
    struct hints_release releases[HINTS_RELEASES_MAX];
};

/* `targets` are the caller's memory and need no content; there must be one for every member that
 * is or was lately.  `first_number` rises by more than the hints delivered from one life of this
 * node to the next (the time of its start in microseconds does), so that late answers to an earlier
 * one match nothing.  Borrows
 * `options`; NULL: the default ones. */
void hints_init(struct hints *, const struct hints_options *options, struct hints_target *targets,
                unsigned target_room, uint64_t first_number);

enum hints_add {
    HINTS_ADDED,
    /* There was a hint for this target already, which now stands for the cell as it is to be
     * stored; `hint` was not used. */
    HINTS_REPEATED,
    HINTS_NO_ROOM /* the bound is reached: nothing was changed, do not store the cell as fallback */
};

/* To be called when the node is about to store a cell in `target`'s stead (not its own).  `hint` is
 * memory of the caller, in use until it is released or dropped; needs no content.  `bytes` is what
 * the hint takes, all told, or is to take from now on. */
enum hints_add hints_add(struct hints *, struct hinted *, struct hint *, node_id target,
                         uint32_t bytes, uint64_t now_ms) __attribute__((warn_unused_result));

/* The hint for `target`, or NULL. */
struct hint *hints_find(const struct hints *, const struct hinted *, node_id target);

/* Ends a hint without another word: the caller has lost the cell (a flush), or owns the key now.  A
 * delivery on the way may still arrive. */
void hints_drop(struct hints *, struct hint *);

/* To be called when the object that embeds this was moved in memory. */
void hints_moved(struct hinted *);

/* The caller carries out the deliveries before the releases. */
void hints_step(struct hints *, const struct hints_event *, struct hints_effects *);

/* When to step with HINTS_TICK; `bucket` is the one that events carry.  Not after `now_ms` if the
 * effects of the last step were too small for all that was due: then step again. */
uint64_t hints_deadline_ms(const struct hints *, const struct token_bucket *bucket);

/* For the ping to `target` (ring/ping.h): how many hints are left, and how old the oldest is. */
uint32_t hints_left(const struct hints *, node_id target);
uint64_t hints_oldest_age_ms(const struct hints *, node_id target, uint64_t now_ms);

/* For stats: what there is for a target, by index below target_room; NULL: nobody. */
const struct hints_target *hints_target_at(const struct hints *, unsigned index);

#endif
