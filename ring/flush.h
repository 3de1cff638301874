/* Flush: what flush_all emptied, kept as a filter over dots instead of as work on cells.
 *
 * A flush is (T, effective time): from that time on, a dot <= T does not exist, neither in the
 * store nor in hints nor in what a merge brings.  The list travels with the membership:
 *
 *   floor     the highest T in effect; whoever sees a pending flush come due raises it
 *   pending   flushes that come later, sorted by T, all above the floor
 *
 * Merging takes the higher floor and the union of what is still above it.  That is commutative,
 * associative and idempotent, also at the bound, where the pending flushes with the lowest T are
 * dropped: none of those can matter once the higher ones have come.
 *
 * A flush at once gets a T from the clock of the node that takes the command; a later one gets the
 * first time of the millisecond in which it comes due, and moves no clock before that.  The client
 * hears OK when every reachable node has raised its clocks to T: struct flush_wait counts them.
 *
 * Times here are milliseconds since 1970 (`wall_ms`), as in ring/hlc.h, except the deadline.
 *
 * Threads: a list and a wait belong to their caller. */
#ifndef RING_FLUSH_H
#define RING_FLUSH_H

#include <stdbool.h>
#include <stdint.h>
#include "ring/context.h"
#include "ring/hlc.h"
#include "ring/table.h"

#define FLUSH_PENDING_MAX 16

struct flush {
    hlc_time until; /* T: this dot and those before it are gone */
    uint64_t effective_ms;
};

/* 1. Pending flushes are sorted by `until`, then by effective_ms, each once, all above the floor.
 * 2. Each `until` is a valid time, and the floor is one or 0. */
struct flush_list {
    hlc_time floor;
    unsigned pending_count;
    struct flush pending[FLUSH_PENDING_MAX];
};

/* Whether 1 and 2 hold. */
bool flush_list_is_sound(const struct flush_list *);

bool flush_list_equal(const struct flush_list *, const struct flush_list *);

/* Adds one flush; it counts once it is due.  False if FLUSH_PENDING_MAX others are pending: the
 * client then hears an error, and nothing was changed. */
bool flush_list_add(struct flush_list *, struct flush);

/* Raises the floor to what has come due by `wall_ms`.  True if it rose. */
bool flush_list_advance(struct flush_list *, uint64_t wall_ms);

/* Adds what `more` has.  Returns how many pending flushes were dropped at the bound. */
unsigned flush_list_merge(struct flush_list *into, const struct flush_list *more);

/* The highest T in effect at that time, 0 if none: the filter for dots, and what this node's
 * clocks have to be above. */
hlc_time flush_list_floor(const struct flush_list *, uint64_t wall_ms);

/* Milliseconds since 1970 at which the next pending flush comes due; UINT64_MAX: none does. */
uint64_t flush_list_next_ms(const struct flush_list *);

/* The filter: whether a dot given at that time still exists below this floor. */
static inline bool flush_keeps(hlc_time floor, hlc_time dot)
{
    return dot > floor;
}

/* Waits until every reachable node has raised its clocks to one T.
 *
 *   WAITING --- the last of them has, or is unreachable ---> DONE
 *      \------- the deadline ------------------------------> LATE   (it still becomes true) */
enum flush_state { FLUSH_WAITING, FLUSH_DONE, FLUSH_LATE };

struct flush_wait {
    enum flush_state state;
    hlc_time until;
    uint64_t deadline_ms;
    unsigned count;
    node_id nodes[RING_MEMBERS_MAX]; /* those not heard from yet */
};

enum flush_event_type {
    FLUSH_HEARD, /* `node` says that its clocks are above `floor` (in its ping) */
    FLUSH_LOST,  /* `node` became unreachable, or is no member any more */
    FLUSH_TICK
};

struct flush_event {
    enum flush_event_type type;
    uint64_t now_ms; /* monotonic */
    node_id node;
    hlc_time floor;
};

/* Starts waiting for `count` other nodes, up to RING_MEMBERS_MAX: those reachable now. */
void flush_wait_init(struct flush_wait *, hlc_time until, const node_id *nodes, unsigned count,
                     uint64_t deadline_ms);

/* Returns the state after the event; DONE and LATE stay. */
enum flush_state flush_wait_step(struct flush_wait *, const struct flush_event *);

/* When to step it with a tick; UINT64_MAX: not any more. */
uint64_t flush_wait_deadline_ms(const struct flush_wait *);

#endif
