/* Truth: what really happened to each key, which no node knows as a whole.
 *
 * Every write is recorded when its coordinator applies it, with what its author then truly knew:
 * a write that somebody else made supersedes it only if it is in there.  The promises are checked
 * against that, and nothing of it ever reaches a node.
 *
 *   knows      what the write supersedes, directly and by what its author had seen superseded
 *   superseded the union of those, over all writes of the key
 *   heard      by node: what is known through the cell that the node holds; gone when that is
 *
 * "Knows" of a context write is what the client was shown, and what that knew.  Of a blind write
 * it is what its coordinator held, had heard, and ever wrote.
 *
 * Of each write it is recorded who held it, who has it no more because the memory was lost or
 * needed (gone), and who lost all knowledge of it that way (forgotten).
 *
 * Threads: one. */
#ifndef TESTS_SIM_TRUTH_H
#define TESTS_SIM_TRUTH_H

#include "ring/cell.h"
#include "tests/sim/command.h"
#include "tests/sim/set.h"

#define TRUTH_NO_KEY   (~0u)
#define TRUTH_NO_WRITE (~0u)

struct sim;

enum truth_kind { TRUTH_BLIND, TRUTH_CONTEXT, TRUTH_LAST_WINS };

struct truth_write {
    struct dot dot;
    uint64_t operation; /* of which client operation; several dots may be of one */
    enum truth_kind kind;
    bool is_delete;
    bool is_acknowledged;
    uint64_t applied_ms, acknowledged_ms;
    struct set knows;
    struct set stored;    /* nodes that ever stored it, by index */
    struct set holders;   /* of those, who has not handed it over */
    struct set gone;      /* of those, who lost it as a cache may */
    struct set forgotten; /* of those, who lost even the memory of it */
};

struct truth_key {
    struct truth_write *writes; /* in the order in which they were applied */
    unsigned count, room;
    struct set superseded;
    bool is_folded;        /* a context of it had to drop intervals: old versions may return */
    hlc_time flushed;      /* no dot up to this one exists */
    struct set *heard;     /* by node */
    struct set *wrote;     /* by node: what it ever coordinated under its id */
    uint64_t asked, added; /* of a counter: by all commands, by those acknowledged */
    bool has_lost;         /* some node lost something of it, as a cache may */
};

struct truth {
    struct truth_key *keys;
    node_id *actors; /* by node: under which id it last wrote */
    unsigned key_count, node_count;
};

void truth_init(struct truth *, unsigned key_count, unsigned node_count);
void truth_deinit(struct truth *);

/* The number of the write of that dot, or TRUTH_NO_WRITE. */
unsigned truth_find(const struct truth *, unsigned key, struct dot);

/* Records a write that `node` applies.  `known` is of a context write what its client was shown,
 * and of a blind one what the node held just before, as truth_shown() tells.  Returns its number.
 */
unsigned truth_apply(struct sim *, unsigned node, unsigned key, const struct truth_write *write,
                     const struct set *known);

/* The write was acknowledged to the client, and `copies` nodes were said to have stored it. */
void truth_acknowledge(struct sim *, const struct command *, unsigned write, unsigned copies);

/* A client is about to ask for this. */
void truth_begin(struct truth *, const struct command *);

/* A cas was done: it may not have replaced a write that was acknowledged before it, and that its
 * client was not shown. */
void truth_check_cas(struct sim *, const struct command *, unsigned write, uint64_t shown_ms,
                     uint64_t started_ms);

/* A counter that nothing was lost of is at least `added`, the sum of what was acknowledged before it
 * was read, and at most that of what was ever asked for, unless old shares may return. */
void truth_check_counter(struct sim *, unsigned key, const struct cell *, uint64_t added,
                         const char *where);

/* A node holds this cell now. */
void truth_hold(struct truth *, unsigned node, unsigned key, const struct cell *);

/* Two cells were merged: no write may be gone that nothing superseded. */
void truth_check_merge(struct sim *, int node, unsigned key, const struct cell *mine,
                       const struct cell *theirs, const struct cell *merged);

/* A node has lost the value of a write, and remembers the write (a stub, or a tombstone that was
 * kept long enough). */
void truth_lose_value(struct truth *, unsigned node, unsigned key, struct dot);

/* A node has lost its cell, as a cache may: memory was needed, or it crashed. */
void truth_lose_cell(struct truth *, unsigned node, unsigned key);

/* A node drops its cell of tombstones, which it has kept long enough. */
void truth_reap(struct truth *, unsigned node, unsigned key);

/* A node has forgotten one sibling of several. */
void truth_forget(struct truth *, unsigned node, unsigned key, struct dot);

/* A node has handed its cell to the owners, and drops it: they answer for it from now on. */
void truth_hand_over(struct truth *, unsigned node, unsigned key);

/* What a client knows who was shown this cell: all held in it, and what that knew. */
void truth_shown(const struct truth *, unsigned key, const struct cell *, struct set *shown);

/* A cell that a client was shown, or that a replica keeps: it may not hold both a write and what
 * that superseded. */
void truth_check_cell(struct sim *, int node, unsigned key, const struct cell *, const char *where);

/* Without faults a read sees all that was acknowledged before it began. */
void truth_check_read(struct sim *, int node, unsigned key, const struct cell *,
                      uint64_t started_ms);

/* After everything has settled: `cell` is what all owners hold, or NULL. */
void truth_check_settled(struct sim *, unsigned key, const struct cell *);

#endif
