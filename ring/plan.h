/* Plan: what an operator wants to change, what that would move, and then doing it.
 *
 * A plan is a value: a list of acts.  A preview computes the table that claim would reach in the
 * end; nothing is changed.  A commit applies the acts to the membership; the claimant does the
 * rest, table by table.  Between the two the membership may have changed: a commit refuses what has
 * become impossible, and does nothing then.
 *
 * Threads: none is of concern; all memory belongs to the caller. */
#ifndef RING_PLAN_H
#define RING_PLAN_H

#include "ring/claim.h"
#include "ring/membership.h"

#define PLAN_ACTS_MAX 64

enum plan_act_type {
    PLAN_JOIN,    /* `joiner` */
    PLAN_REPLACE, /* `joiner` takes the place of `node` */
    PLAN_LEAVE,   /* `node` hands over, then goes */
    PLAN_REMOVE,  /* `node` is dead: gone at once */
    PLAN_WEIGHT,  /* of `node`: `weight` */
    PLAN_ZONE     /* of `node`: `zone`, `zone_name` */
};

struct plan_act {
    enum plan_act_type type;
    node_id node;
    struct member_record joiner;
    uint32_t weight, zone;
    struct member_name zone_name;
};

struct plan {
    unsigned count;
    struct plan_act acts[PLAN_ACTS_MAX];
};

/* One node, before and after. */
struct plan_node {
    node_id id;
    unsigned owned_before, owned_after;
    unsigned first_before, first_after;
    unsigned gained, lost;             /* partitions */
    uint64_t bytes_gained, bytes_lost; /* estimated */
    struct ring_share share;           /* of partitions to own, after; 0/1 if it owns none */
};

struct plan_balance {
    unsigned peak_permille;       /* the largest owned part, of its share */
    unsigned peak_first_permille; /* the same of first owners */
    unsigned zones_violated;      /* partitions with owners in fewer zones than could be */
    unsigned owners_missing;      /* places in rows that no distinct node fills */
};

struct plan_report {
    enum claim_answer
        answer; /* CLAIM_NEXT: what follows is filled; CLAIM_MET: too, nothing moves */
    unsigned partitions_moved; /* owners who come to a partition */
    uint64_t bytes_moved;      /* estimated: of those partitions */
    unsigned first_moved;      /* partitions that change their first owner */
    unsigned tables;           /* steps until it is done */
    struct plan_balance before, after;
    unsigned node_count;
    struct plan_node nodes[2 * RING_MEMBERS_MAX]; /* sorted by id; before or after in the table */
};

/* Room to work in, too large for a stack (about 900 KB). */
struct plan_work {
    struct claim_work claim;
    struct membership after;
    struct ring_table tables[2];
    unsigned char rows[2][RING_ROWS_BYTES_MAX];
};

/* Applies the acts to `membership`, all or none.  What is returned unless MEMBERSHIP_DONE is the
 * answer to the act number `*failed` (from 0), for which nothing was changed; an act that is
 * MEMBERSHIP_ALREADY so does not fail. */
enum membership_answer plan_commit(struct plan_work *, const struct plan *, struct membership *,
                                   unsigned *failed);

/* Fills the report on what the plan would do to this table; with an empty plan: on what is under
 * way.  `bytes` are those of one copy of each partition, by partition, or NULL.  Answers as
 * plan_commit() would. */
enum membership_answer plan_preview(struct plan_work *, const struct plan *,
                                    const struct membership *, const struct ring_table *,
                                    unsigned copies, const uint64_t *bytes, struct plan_report *,
                                    unsigned *failed);

#endif
