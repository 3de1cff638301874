/* After a cut: which of the old cells have become outdated while nobody could say so?
 *
 * A delete is remembered for the tombstone grace only.  A node that was cut off for longer (or was
 * started from a snapshot, or slept) may hold versions whose deletes nobody remembers.  So before
 * it compares and gives away anything, it asks, partition by partition, the other reachable, warm
 * owners which of its old dots they hold; what all of them lack is forgotten (counted), what was
 * written since the cut began is kept.  (DESIGN, section 2.)
 *
 * A node counts as cut off from a partition while it can reach no more than half of the owners
 * (itself included, if it is one), and while it stood still.  Shorter cuts than the grace do no
 * harm.  What is suspect is told by the time in the dot, with some time left for noticing the cut:
 * rather is an old version kept than a write lost that was accepted meanwhile.
 *
 *    TO_SCAN ---> SCANNING ---> ASKING all at once ---> forget, next batch ---> ... ---> end: clear
 *       ^                         | one became unreachable, or warms, or the table changed
 *       +-------------------------+
 *
 * 1. A sibling is forgotten only if its dot is from before the cut, at least one other owner is
 *    reachable and warm, and all of those answered that they do not hold it.
 * 2. If owners are reachable, but none of them is warm AFTERCUT_PATIENCE retries after the last
 *    partition began or came within reach, nobody knows better: everything is kept.  So it is if
 *    those who are warm answer that they were cut off themselves.
 * 3. While no other owner is reachable the partition waits.  There is nobody to give its cells to.
 *
 * Threads: belongs to its caller. */
#ifndef RING_AFTERCUT_H
#define RING_AFTERCUT_H

#include "ring/budget.h"
#include "ring/exchange.h"
#include "ring/route.h"
#include "ring/trace.h"

#define AFTERCUT_WINDOW       4
#define AFTERCUT_BATCH        128
#define AFTERCUT_MESSAGES_MAX 2
#define AFTERCUT_CLEARED_MAX  AFTERCUT_WINDOW
#define AFTERCUT_PATIENCE     5

enum aftercut_state {
    AFTERCUT_FREE,
    AFTERCUT_WAITING, /* for somebody warm */
    AFTERCUT_TO_SCAN,
    AFTERCUT_SCANNING,
    AFTERCUT_ASKING
};

struct aftercut_peer {
    node_id id;
    uint64_t number; /* 0: not asked yet */
    uint64_t repeat_at_ms;
    bool has_answered;
    bool has_refused; /* it was cut off itself */
};

struct aftercut_slot {
    enum aftercut_state state;
    unsigned partition;
    unsigned forest, copies; /* the class */
    struct ring_version version;
    uint64_t cursor;  /* key hash where the batch starts */
    uint64_t reached; /* and ends */
    uint64_t number;  /* of the scan */
    uint64_t scan_again_ms;
    unsigned peer_count;
    struct aftercut_peer peers[RING_COPIES_MAX];
    unsigned dot_count;
    struct exchange_dot dots[AFTERCUT_BATCH];
    uint64_t known[AFTERCUT_BATCH / 64]; /* bit i: somebody holds dot i */
};

/* When a node was last not cut off from a partition. */
struct aftercut_contact {
    bool is_cut_off;
    uint64_t lost_ms; /* monotonic */
    uint64_t lost_wall_ms;
};

struct aftercut_options {
    uint32_t retry_ms;
    uint64_t grace_ms;     /* --tombstone-grace */
    uint32_t detection_ms; /* in which a lost peer is noticed */
};

struct aftercut {
    struct aftercut_options options;
    uint64_t next_number;
    hlc_time *before; /* the caller's, by partition: dots below are suspect; 0: none are */
    struct aftercut_contact *contacts;    /* the caller's, by partition */
    uint64_t stepped_ms, stepped_wall_ms; /* the last step */
    unsigned partition_count;
    unsigned pending_count;    /* partitions with suspects */
    unsigned active_count;     /* those of them with another owner who is reachable */
    uint64_t patient_until_ms; /* then partitions without a warm owner are kept as they are */
    uint64_t wake_ms;          /* the next deadline */
    struct aftercut_slot slots[AFTERCUT_WINDOW];

    /* Counters since aftercut_init(). */
    uint64_t siblings_asked, siblings_forgotten;
};

enum aftercut_event_type {
    AFTERCUT_TICK,    /* a deadline has come, tokens have, or who is reachable changed */
    AFTERCUT_START,   /* for `partition`, dots before `cut` are suspect: a snapshot of then */
    AFTERCUT_STOP,    /* `partition` holds nothing any more */
    AFTERCUT_SCANNED, /* the dots that a scan found */
    AFTERCUT_KNOWN
};

/* Which dots the caller is asked for: those of siblings below `before`, of cells as in struct
 * exchange_scan; at most `dots_max`, but a cell's are never split. */
struct aftercut_scan {
    struct exchange_scan scan; /* items_max is the number of dots */
    hlc_time before;
};

struct aftercut_scanned {
    uint64_t number;
    const struct exchange_dot *dots; /* borrowed; ascending by key hash */
    unsigned dot_count;
    uint64_t reached; /* all up to this hash were given; `last` if there are no more */
};

struct aftercut_event {
    enum aftercut_event_type type;
    uint64_t now_ms;  /* monotonic */
    uint64_t wall_ms; /* since 1970 */
    const struct exchange_view *view;
    const struct peer_view *peers; /* by index of the table's members */
    struct token_bucket *bucket;
    unsigned partition;
    hlc_time cut;
    const struct aftercut_scanned *scanned;
    const struct exchange_known *known;
};

struct aftercut_effects {
    struct ring_trace *trace; /* the caller's, or NULL */
    unsigned message_count;
    struct exchange_message messages[AFTERCUT_MESSAGES_MAX];
    unsigned scan_count;
    struct aftercut_scan scans[AFTERCUT_WINDOW];
    unsigned forget_count;
    struct exchange_dot forgets[AFTERCUT_BATCH]; /* cell_forget() these, if they are still held */
    unsigned cleared_count; /* partitions without suspects now */
};

static inline void aftercut_effects_init(struct aftercut_effects *effects, struct ring_trace *trace)
{
    effects->trace = trace;
    effects->message_count = effects->scan_count = 0;
    effects->forget_count = effects->cleared_count = 0;
}

/* `before` and `contacts` have `partition_count` places, are cleared here, and have to live as long
 * as the machine; `first_number` as for sync_init(). */
void aftercut_init(struct aftercut *, const struct aftercut_options *, unsigned partition_count,
                   hlc_time *before, struct aftercut_contact *contacts, uint64_t now_ms,
                   uint64_t wall_ms, uint64_t first_number);
void aftercut_step(struct aftercut *, const struct aftercut_event *, struct aftercut_effects *);

/* When to send AFTERCUT_TICK. */
uint64_t aftercut_deadline_ms(const struct aftercut *);

/* Whether a partition with suspects has another owner who is reachable: what goes into struct
 * exchange_view, together with aftercut->before. */
static inline bool aftercut_is_pending(const struct aftercut *aftercut)
{
    return aftercut->active_count > 0;
}

/* Whether a dot of a key in this partition is suspect: not to be shown to readers at other nodes,
 * nor given away, as long as it is. */
bool aftercut_is_suspect(const struct aftercut *, unsigned partition, struct dot);

#endif
