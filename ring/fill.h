/* Fill: an owner that lacks whole partitions pulls them from a warm co-owner.
 *
 * A new owner, or one that restarted empty, knows that it has nothing to compare: it asks for the
 * cells in the order of their key hashes, many at a time, several partitions at once.  Every
 * answer says how far it reached; so a lost one costs a repeat, and when a source goes away the
 * next one is asked from the same place on.  What changes behind the cursor comes by writes, hints
 * and, in the end, sync (ring/sync.h), which is also what tells warming that the partition is
 * complete.  A transfer by partitions, as in Dynamo, section 6.2.
 *
 *      wanted ---> slot free, a warm co-owner reachable ---> ASKING ---> ... ---> end: filled
 *        ^                                                      | source lost or refuses
 *        +------------------------------------------------------+ (the cursor stays)
 *
 * Threads: belongs to its caller. */
#ifndef RING_FILL_H
#define RING_FILL_H

#include "ring/budget.h"
#include "ring/exchange.h"
#include "ring/route.h"
#include "ring/trace.h"

#define FILL_WINDOW       8 /* partitions at once */
#define FILL_MESSAGES_MAX 2
#define FILL_DONE_MAX     FILL_WINDOW

struct fill_slot {
    bool is_used;
    bool is_asking;
    unsigned partition;
    uint64_t cursor; /* the first key hash that did not come yet */
    node_id source;  /* NODE_NONE: none found */
    uint64_t number;
    uint64_t retry_at_ms; /* while asking: when to repeat; else: when to try again */
    unsigned repeats;
};

struct fill {
    uint32_t retry_ms;
    uint64_t next_number;
    uint64_t *wanted; /* the caller's: a bit per partition */
    unsigned partition_count;
    unsigned wanted_count; /* those in slots included */
    uint64_t wake_ms;      /* the next deadline */
    struct fill_slot slots[FILL_WINDOW];

    /* Counters since fill_init(). */
    uint64_t partitions_filled, cells_taken;
};

enum fill_event_type {
    FILL_TICK,      /* a deadline has come, tokens have, or nodes became reachable */
    FILL_START,     /* `partition` is to be filled, from its beginning */
    FILL_STOP,      /* `partition` is not owned any more, or warm */
    FILL_DIFFERENCE /* an answer was received, and its cells merged */
};

struct fill_event {
    enum fill_event_type type;
    uint64_t now_ms; /* monotonic */
    const struct exchange_view *view;
    const struct peer_view *peers; /* by index of the table's members */
    struct token_bucket *bucket;
    unsigned partition;
    const struct exchange_difference *difference;
    unsigned changed_count; /* as in struct sync_event */
    bool has_failed;
};

struct fill_effects {
    struct ring_trace *trace; /* the caller's, or NULL */
    unsigned message_count;
    struct exchange_message messages[FILL_MESSAGES_MAX];
    unsigned filled_count;
    unsigned filled[FILL_DONE_MAX]; /* partitions of which the end was reached */
};

static inline void fill_effects_init(struct fill_effects *effects, struct ring_trace *trace)
{
    effects->trace = trace;
    effects->message_count = effects->filled_count = 0;
}

/* `wanted` has (partition_count + 63) / 64 words and has to live as long as the machine;
 * `first_number` as for sync_init(). */
void fill_init(struct fill *, uint32_t retry_ms, unsigned partition_count, uint64_t *wanted,
               uint64_t first_number);
void fill_step(struct fill *, const struct fill_event *, struct fill_effects *);

/* Whether something is being pulled at the moment: what to put into struct exchange_view. */
bool fill_is_active(const struct fill *);

/* When to send FILL_TICK; UINT64_MAX if nothing is wanted. */
uint64_t fill_deadline_ms(const struct fill *);

#endif
