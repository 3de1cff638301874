/* Sync: two nodes bring what both of them own to the same state (Dynamo, section 4.7).
 *
 * One machine per peer.  Every ping carries a hello: the sum over all cells that both nodes own.
 * Where the sums are equal nothing else is ever sent.  Where they stay different, one of the two
 * walks the ring in the order of key hashes: compares sums of ever smaller ranges, then the marks
 * of the keys in leaves that differ, takes the cells that it lacks or has otherwise, and gives
 * what the peer wants.
 *
 *            hellos differ for `settle_ms`          all compared
 *      IDLE ---------------------------> WALKING ----------------> IDLE, pausing
 *       ^                                   |  peer lost, other table, too many repeats
 *       +-----------------------------------+
 *
 * 1. A range counts as compared once every cell in it that the peer has, and this node lacks or
 *    has otherwise, was merged here (or was not taken for lack of room).
 * 2. Cells of which one side holds nothing go there only while it has room (`takes`): so a full
 *    node repairs what it holds, and is not filled with what it evicts next.
 * 3. A walk that repaired nothing is not repeated before one of the sums, or what a side takes,
 *    is another than it was, unless a cell was wanted and could not be merged then (no memory, a
 *    clock too far ahead); and however that changes, fruitless walks become rarer.
 * 4. Not more than `window` requests are on the way, each of bounded size; all of it is paid from
 *    the caller's bucket.
 *
 * Who walks: the one that is asked to (`wants_walk`, by ring/warming.h), else the lower id.
 * Nothing is lost if a machine is made anew at any time: the sums tell what is left to do.
 *
 * Threads: belongs to its caller. */
#ifndef RING_SYNC_H
#define RING_SYNC_H

#include "ring/budget.h"
#include "ring/exchange.h"
#include "ring/trace.h"

#define SYNC_WINDOW_MAX   8
#define SYNC_LEVELS_MAX   8 /* from everything down to the leaves, up to 32 parts each time */
#define SYNC_MESSAGES_MAX 2 /* in the effects of one step */
#define SYNC_SCANS_MAX    4

struct sync_options {
    uint32_t settle_ms;    /* a difference younger than this may be a write on its way */
    uint32_t pause_min_ms; /* from one walk to the next; doubled by each that repaired nothing */
    uint32_t pause_max_ms;
    uint32_t retry_ms;    /* an unanswered request is repeated */
    unsigned repeats_max; /* of one request in a row; then the walk is given up */
    unsigned window;      /* requests on the way; at most SYNC_WINDOW_MAX */
};

/* 500 ms, 1 s, 60 s, 1 s, 5, 8. */
extern const struct sync_options sync_options_default;

/* Rides on every ping and on its answer. */
struct sync_hello {
    node_id from, to;
    struct ring_version version; /* the table that says what both own */
    uint64_t sum;                /* of all cells in there */
    uint32_t takes;              /* kinds of siblings for which the sender has room */
    bool wants_walk;             /* the sender wants to walk itself */
    bool is_walking;             /* the sender is walking */
    bool is_after_cut;           /* the sender gives nothing away yet */
    bool is_filling;             /* the sender pulls whole partitions at the moment */
    uint64_t number;             /* of this hello, rising */
    uint64_t heard_number;       /* of the last one that the sender had from the receiver */
};

enum sync_task_state {
    SYNC_TASK_FREE,
    SYNC_TASK_COMPARING, /* COMPARE sent */
    SYNC_TASK_SCANNING,  /* the caller was asked for own cells */
    SYNC_TASK_ASKING,    /* DIGESTS sent */
    SYNC_TASK_GIVING,    /* CELLS sent */
    SYNC_TASK_DUE        /* to be started, or started again, once tokens allow it */
};

/* One range that is being worked on. */
struct sync_task {
    enum sync_task_state state;
    enum sync_task_state next; /* of a task that is due: COMPARING, SCANNING or GIVING */
    uint64_t number;
    uint64_t repeat_at_ms;
    unsigned repeats;
    unsigned level; /* comparing: of the frame that comes of it */
    struct merkle_range parent;
    unsigned depth;
    uint32_t children;
    uint64_t first, last; /* what is left of it */
    uint64_t reached;     /* asking: marks were sent up to here; giving: compared up to here */
    uint32_t given_bytes;
    unsigned given_count;
    uint64_t given[EXCHANGE_KEYS_MAX]; /* key hashes to give */
};

/* Children of a range that differ and were not started yet. */
struct sync_frame {
    struct merkle_range parent;
    unsigned depth;
    uint32_t children; /* 0: the frame is free */
};

/* What decides whether a walk could repair anything. */
struct sync_state {
    struct ring_version version; /* of the table */
    uint64_t own_sum, peer_sum;
    uint32_t own_takes, peer_takes;
};

struct sync {
    struct sync_options options;
    node_id peer;
    uint64_t next_number;

    struct sync_hello hello; /* the peer's last; of epoch 0 before the first */
    bool is_differing;
    uint64_t differs_since_ms;
    struct sync_state last; /* at the last hello */

    /* A hello whose echo is waited for: what the peer says after it is no older than that. */
    uint64_t asked_number; /* 0: none */
    uint64_t asked_ms;

    bool is_resting; /* the last walk repaired nothing, and this was the state when it began: */
    struct sync_state rested;
    uint64_t ended_ms; /* when the last walk did */
    uint32_t pause_ms; /* for how long there is none after that */
    uint64_t wake_ms;  /* the next deadline */

    bool is_walking;
    struct sync_state began; /* when the walk did */
    uint64_t began_ms;
    unsigned reported;     /* partitions below this one were reported as compared */
    uint64_t repaired_now; /* cells, by this walk, on either side */
    bool was_refused;      /* this walk: a cell was not merged on either side, for the time being */
    unsigned report_end;   /* partitions from here on will not be reported by this walk */
    struct sync_frame frames[SYNC_LEVELS_MAX][SYNC_WINDOW_MAX];
    struct sync_task tasks[SYNC_WINDOW_MAX];

    /* Counters since sync_init(). */
    uint64_t walks, walks_fruitless, walks_abandoned;
    uint64_t cells_taken, cells_given, bytes_sent;
};

enum sync_event_type {
    SYNC_TICK,        /* a deadline has come, or tokens have */
    SYNC_HELLO,       /* `hello` was received */
    SYNC_UNREACHABLE, /* the peer is not reachable any more */
    SYNC_COMPARED,
    SYNC_SCANNED,
    SYNC_DIFFERENCE, /* after the caller merged its cells */
    SYNC_STORED
};

struct sync_event {
    enum sync_event_type type;
    uint64_t now_ms; /* monotonic */
    const struct exchange_view *view;
    struct token_bucket *bucket; /* a token a byte */
    bool wants_walk;             /* warming waits for a comparison with this peer */
    const struct sync_hello *hello;
    const struct exchange_compared *compared;
    const struct exchange_scanned *scanned;
    const struct exchange_difference *difference;
    const struct exchange_stored *stored;
    /* With SYNC_DIFFERENCE: of its cells, how many changed what is held here, and whether some
     * could not be merged though they should have been (no memory, a clock too far ahead): then
     * neither this partition nor those behind it count as compared, and another walk comes. */
    unsigned changed_count;
    bool has_failed;
};

struct sync_effects {
    struct ring_trace *trace; /* the caller's, or NULL */
    unsigned message_count;
    struct exchange_message
        messages[SYNC_MESSAGES_MAX]; /* to the peer; of CELLS the caller puts
                                        in the cells, or leaves out what is gone */
    unsigned scan_count;
    struct exchange_scan scans[SYNC_SCANS_MAX]; /* answer each with SYNC_SCANNED */
    /* Partitions compared_first..compared_end-1, as far as both own them, are compared now: what
     * the peer had of them is held here. */
    unsigned compared_first, compared_end;
    uint64_t compared_since_ms; /* when that comparison began */
};

/* Makes effects ready for a step, without clearing the messages. */
static inline void sync_effects_init(struct sync_effects *effects, struct ring_trace *trace)
{
    effects->trace = trace;
    effects->message_count = effects->scan_count = 0;
    effects->compared_first = effects->compared_end = 0;
}

/* `first_number` is above all that an earlier machine for this peer used (the time in
 * milliseconds, shifted by 20, will do): an answer to an old request must not be taken for one to
 * a new.  Options may be NULL. */
void sync_init(struct sync *, node_id peer, const struct sync_options *options,
               uint64_t first_number);

void sync_step(struct sync *, const struct sync_event *, struct sync_effects *);

/* Forgets what keeps it from walking although the sums differ: it will at the next hello that says
 * so. */
void sync_hurry(struct sync *);

/* When to send SYNC_TICK; UINT64_MAX if not at all.  At or before the present if there is more to
 * do than fitted the effects. */
uint64_t sync_deadline_ms(const struct sync *);

/* What to put into a ping to the peer, and into its answer.  O(partitions). */
void sync_make_hello(struct sync *, const struct exchange_view *, bool wants_walk, uint64_t now_ms,
                     struct sync_hello *);

#endif
