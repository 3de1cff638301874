/* Random histories of one key over a few nodes, checked against the truth.
 *
 * Every write records what its author truly knew.  Then, under partitions, lost messages,
 * evictions and restarts, the promises of enum promise are checked.  "Knew" leaves out what a node
 * forgot with its cell (see put_blind in steps.c).
 *
 * The histories are those of the model that ring/cell.c follows.  A variant adds some of the rules
 * around the cells; those that are not in ring/cell.c are the histories' own, in replica.c, steps.c
 * and cuts.c, and can be broken one at a time (enum rule) to show that the checks bite.
 *
 *   truth.c      what was written, by whom, knowing what; which promise broke
 *   replica.c    how a node merges, acknowledges and refuses; its clock
 *   steps.c      what clients and faults do to one node
 *   cuts.c       partitions, nodes that come back from one, tombstones reaped
 *   history.c    draws the steps, settles, judges */
#ifndef TESTS_UNIT_EXPLORE_HISTORY_H
#define TESTS_UNIT_EXPLORE_HISTORY_H

#include "ring/cell.h"
#include "tests/unit/explore/writes.h"
#include "tests/unit/random.h"

#define NODES        4
#define CLIENTS      3
#define STEPS        250
#define SIBLINGS     64  /* room in each cell: both sides of a merge, and more */
#define STEPS_PER_MS 4   /* so that clocks have to count, too */
#define SKEW_MAX     16  /* how far clocks may be apart, in steps */
#define SKEW_WRONG   100 /* how far ahead a wrong clock is, in steps */
#define DRIFT_MAX_MS 8   /* how far ahead a clock may be to be merged */
#define FOLD_MAX     2   /* intervals left by the variant that folds */
#define GRACE        40  /* how long tombstones are kept, in steps */
#define GRACE_MARGIN (SKEW_MAX + 2 * STEPS_PER_MS) /* clocks are apart: cuts count as longer */
#define ROUND        6                             /* steps between complete exchanges, if any */
#define RESTART_WAIT (DRIFT_MAX_MS * STEPS_PER_MS)
#define DOT_SLOTS    1024

/* What a history has besides puts, gets, lost messages and partitions. */
enum variant {
    VARIANT_MODEL = 0,
    VARIANT_TOMBSTONES = 1,
    VARIANT_REGISTERS = 2, /* touch, expiry, stale, a chosen cas */
    VARIANT_FORGET_ONE = 4,
    VARIANT_SKEW = 8,
    VARIANT_LAST_WRITE_WINS = 16, /* all writes do */
    VARIANT_MIXED = 32,           /* some writes do */
    VARIANT_FOLD = 64,
    VARIANT_FLUSH = 128,
    VARIANT_REAP = 256, /* one side of a partition is complete and in step, and reaps */
    VARIANT_RESTART = 512,
    VARIANT_WRONG_CLOCK = 1024,
    VARIANT_KEEP = 2048 /* nobody forgets: then nothing superseded may ever be left */
};

enum promise {
    PROMISE_NOT_LOST,
    PROMISE_SHOWN_ONLY,
    PROMISE_SAME_CELL,
    PROMISE_STAYS_SUPERSEDED,
    PROMISE_ACKED_IS_HELD,
    PROMISE_ONE_WRITE_PER_DOT, /* as far as anybody has heard of the first */
    PROMISE_FLUSHED_IS_GONE,
    PROMISE_EXPIRED_IS_HIDDEN,
    PROMISE_LATEST_REGISTER,
    PROMISE_CLOCK_WITHIN_DRIFT,
    PROMISE_TIME_FOLLOWS_CAUSE,
    PROMISES
};

/* Rules that a history can be told to break. */
enum rule {
    RULE_NONE,
    RULE_REFUSE_COVERED, /* a new dot that the replica covers is not acknowledged */
    RULE_FILTER_MERGES,  /* the flush filter is for what peers send, too */
    RULE_RAISE_CLOCK,    /* whoever learns of a flush raises its clock to it */
    RULE_EXPIRE_MERGED,  /* a read looks at expiry after it merged */
    RULE_REAP_LATE,      /* no tombstone is reaped before its grace is over */
    RULE_REAP_TOGETHER,  /* nor by a node that is cut off */
    RULE_REAP_ALONE,     /* nor beside something that it hides */
    RULE_RETURN_DROP,    /* back from a long cut: what all others lack is dropped */
    RULE_RETURN_KEEP,    /* but not what was accepted since */
    RULE_RETURN_SILENT,  /* and until then it tells nobody what it holds */
    RULE_DRIFT,          /* a clock too far ahead is refused */
    RULE_ASK_CEILING,    /* a node that restarts asks which clock it had */
    RULE_NEW_ACTOR       /* a node whose clock was wrong starts as another */
};

struct replica {
    node_id id;
    struct cell cell;
    struct sibling siblings[SIBLINGS];
    struct hlc_clock clock;
    unsigned skew;            /* its clock is that many steps ahead */
    hlc_time floor;           /* no dot up to this one exists */
    hlc_time flush_pending;   /* becomes the floor when its millisecond comes */
    hlc_time ceilings[NODES]; /* the highest clock that it saw of each */
    unsigned restarted_step;
    bool is_waiting;   /* restarted, and not told by all which clock it had: coordinates nothing */
    bool is_wrong;     /* its clock is too far ahead */
    unsigned in_step;  /* when it last was compared with the others */
    unsigned cut_step; /* when its last cut began */
    hlc_time cut_hlc;  /* and its clock at that time: what is not after it is suspect */
    struct writes wrote; /* what this node ever coordinated */
    struct writes heard; /* what is known through the cell that it holds */
};

struct session {
    struct context context;
    struct writes shown;
};

struct history {
    struct random random;
    unsigned variant;
    enum rule broken_rule;
    unsigned step;
    struct replica replicas[NODES];
    struct session sessions[CLIENTS];
    bool is_cut[NODES][NODES];
    unsigned write_count;
    struct dot dots[WRITES_MAX];
    struct writes knows[WRITES_MAX]; /* what the author of each write knew */
    struct writes superseded;        /* the union of those */
    struct writes all_winning;       /* last-write-wins writes */
    unsigned made_step[WRITES_MAX];
    struct writes made_alone;  /* by a node that was cut off */
    bool has_dropped_live;     /* a node that came back alone had some write, and dropped it */
    hlc_time floor_most;       /* the highest floor of any node */
    uint16_t slots[DOT_SLOTS]; /* write + 1 by its dot */
    unsigned broken[PROMISES];
    unsigned intervals_most, siblings_most, refused, reaped, dropped, flushed;
};

/* history.c */

/* Plays one history. */
void history_run(struct history *, uint64_t seed, unsigned variant, enum rule broken_rule);

static inline bool history_has(const struct history *history, unsigned variant)
{
    return (history->variant & variant) != 0;
}

/* truth.c */

/* The write that a dot names. */
unsigned truth_write_of(const struct history *, struct dot);

/* A new write under that dot; its author is yet to say what it knew.  Returns its number. */
unsigned truth_add_write(struct history *, struct dot);

/* Says what the author of a write knew. */
void truth_set_known(struct history *, unsigned write, const struct writes *known);

/* A last-write-wins write supersedes all that are older, those made later included. */
void truth_apply_last_write_wins(struct history *, unsigned write, bool is_winning);

/* The writes that a cell holds: not those of stubs. */
struct writes truth_held(const struct history *, const struct cell *);

/* Adds all of `set` and what their authors knew. */
void truth_unite_past(const struct history *, struct writes *into, const struct writes *set);

/* Whether any write of `set` is live and not known to the cell. */
bool truth_lacks_live(const struct history *, const struct cell *, const struct writes *set);

/* Judges the cells of all replicas once everything was exchanged. */
void truth_judge_end(struct history *);

/* replica.c */

enum answer { ANSWER_STORED, ANSWER_COVERED, ANSWER_REFUSED };

uint64_t replica_now_ms(const struct history *, unsigned node);

/* The next dot of a node. */
struct dot replica_next_dot(struct history *, unsigned node);

/* Makes the node's next dot come after a clock it met.  False if that is too far ahead. */
bool replica_merge_clock(struct history *, unsigned node, hlc_time);

/* Takes out of the node's cell what was flushed, as far as the node knows. */
void replica_apply_flush(struct history *, unsigned node);

/* Tells a node of a flush; one that lies ahead becomes due at its time. */
void replica_hear_flush(struct history *, unsigned node, hlc_time floor, hlc_time pending);

/* Merges a cell that a node was sent into one of its own, and checks that nothing was lost. */
void replica_merge(struct history *, unsigned node, struct cell *into, const struct cell *sent);

/* What a node sends another: its cell and its clock.  `is_new` says that the dot is a new write,
 * which is refused if it is covered. */
enum answer replica_send(struct history *, unsigned from, unsigned to, bool is_new, struct dot);

/* As replica_send(), but for a cell that `from` put together in a read. */
enum answer replica_send_cell(struct history *, unsigned from, unsigned to, const struct cell *,
                              const struct writes *known, bool is_new, struct dot);

bool replica_hears(const struct history *, unsigned from, unsigned to);

/* Whether the node may coordinate. */
bool replica_coordinates(const struct history *, unsigned node);

void replica_drop_cell(struct replica *);

void replica_fold(const struct history *, struct cell *);

/* steps.c */

void step_put(struct history *, unsigned node, const struct session *);
void step_get(struct history *, unsigned node, struct session *);
void step_touch(struct history *, unsigned node);
void step_expire(struct history *, unsigned node);
void step_forget_one(struct history *, unsigned node);
void step_flush(struct history *, unsigned node);
void step_restart(struct history *, unsigned node);
void step_wrong_clock(struct history *, unsigned node);
/* Right again, under the supervision of an operator. */
void step_right_clock(struct history *, unsigned node);

/* cuts.c */

/* Partitions come and go. */
void cuts_move(struct history *);

/* Whether the node does not reach a majority. */
bool cuts_is_cut_off(const struct history *, unsigned node);

/* Whether the node was cut off for so long that tombstones it missed may be gone. */
bool cuts_was_long(const struct history *, unsigned node);

/* All that reach each other exchange cells; who was away for long is compared first; tombstones
 * whose grace is over are reaped. */
void cuts_round(struct history *);

#endif
