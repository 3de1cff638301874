/* What the files of a claimant share, and nobody else includes: claimant.c, what is heard, and
 * claimant_publish.c, the claimant's part. */
#ifndef RING_CLAIMANT_RUN_H
#define RING_CLAIMANT_RUN_H

#include "ring/claimant.h"

/* A step under way. */
struct claimant_run {
    struct claimant *claimant;
    uint64_t now_ms;
    struct claimant_effects *effects;
    bool tells_membership; /* what changed here goes to all members */
};

/* Of two tables, which counts: below 0, 0 or above 0, as memcmp. */
int claimant_compare_marks(struct claimant_mark a, struct claimant_mark b);

/* The mark of the current table. */
struct claimant_mark claimant_own_mark(const struct claimant *);

/* Whether what a node said in that incarnation is from before its last restart.  `record`: its own,
 * or NULL. */
bool claimant_is_from_a_life_before(const struct member_record *record, uint64_t incarnation);

/* Makes `work->table` the current one. */
void claimant_adopt(struct claimant_run *);

/* Sends the current table to all members that are reachable. */
void claimant_tell_table(struct claimant_run *);

/* Publishes the next table, or says what it waits for. */
enum claimant_state claimant_consider(struct claimant_run *);

/* Publishes a table that evens out the load, if one is worth it; `operations` as CLAIMANT_LOAD. */
void claimant_consider_load(struct claimant_run *, const uint64_t *operations);

#endif
