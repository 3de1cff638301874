/* Claim: from the members and the table they have, the next table.
 *
 *   members, table --> target: the table they should have in the end
 *                 \--> next:   the first step towards it; publish it, wait until the new owners
 *                              are warm, and ask again, until there is nothing left to do
 *
 * What a target fulfils, the first before the second and so on:
 *
 * 1. Every row has `copies` distinct owners, or all members with a weight if those are fewer.
 * 2. They lie in as many zones as possible, and so do the first owners of every row.
 * 3. Each member owns its share of partitions (ring/share.h), and is the first owner of its
 *    share, both rounded up or down.
 * 4. As few owners as possible are not those that the old table has; and rows keep their order
 *    except where 2 and 3 need another.
 *
 * A join then moves the new member's share, and a leave what the member had, wherever the old
 * table allows it.  It does not always with more zones than copies or with very unlike weights:
 * there some rows of who leaves may have room only for those who have their share already, who
 * then hand others on.
 *
 * A step changes at most one owner of a partition, and that also of the first two owners, the
 * first three, and so on (a key that has fewer copies than the table): it either replaces, adds or
 * drops one owner of a row, or lets two change places.  A member that is not given any more, or
 * has weight 0, is replaced row by row and stays a member, with weight 0, until no row names it.
 *
 * The same members, in any order, and the same table give the same result on every machine.
 *
 * How: the shares are rounded so that few owners change.  Owners who break 1 or 2 leave their
 * rows.  Then each place to fill, and each partition too many, is a unit of flow to a member who
 * lacks one: along the cheapest path of members who each take over a partition from the one
 * before, the cost being how many old owners leave.  Last, first owners are evened out the same
 * way by exchanging places within rows.
 *
 * Threads: none is of concern; all memory belongs to the caller. */
#ifndef RING_CLAIM_H
#define RING_CLAIM_H

#include "ring/share.h"
#include "ring/table.h"

enum claim_answer {
    CLAIM_NEXT,    /* there is a next table */
    CLAIM_MET,     /* the table is as it should be */
    CLAIM_NOBODY,  /* no member has a weight: the table stays as it is */
    CLAIM_TOO_MANY /* members and those who still own something are over RING_MEMBERS_MAX: let
                      fewer join before others have left */
};

struct claim_input {
    const struct ring_member *members; /* in any order, each once; weight 0: it is leaving */
    unsigned count;
    unsigned copies;                 /* owners wanted per row, up to RING_COPIES_MAX */
    node_id claimant;                /* who asks: part of the next table's version */
    const struct ring_table *before; /* empty, but with its partition_bits, in a new cluster */
};

/* Room to work in, too large for a stack (about 350 KB).  Nothing in it lasts from one call to
 * the next. */
struct claim_work {
    struct ring_table table; /* of all who are given or still own something */
    struct ring_shares shares;
    unsigned wanted;                  /* owners per row of the target */
    bool is_given[RING_MEMBERS_MAX];  /* by member of `table` */
    unsigned quota[RING_MEMBERS_MAX]; /* partitions to own */
    unsigned owned[RING_MEMBERS_MAX]; /* owned, as the claim stands */
    bool is_new;                      /* there was no table before */
    /* The search for a path: distances are with potentials. */
    int distance[RING_MEMBERS_MAX];
    int potential[RING_MEMBERS_MAX];
    int nearest_end;                          /* of those reached who lack partitions */
    uint16_t via_row[RING_MEMBERS_MAX];       /* how the path comes to a member: in this row */
    unsigned char via_from[RING_MEMBERS_MAX]; /* in this one's place; if none: row_from's */
    bool is_settled[RING_MEMBERS_MAX];
    int16_t row_distance[1 << RING_PARTITION_BITS_MAX];
    int16_t row_potential[1 << RING_PARTITION_BITS_MAX];
    unsigned char row_from[1 << RING_PARTITION_BITS_MAX]; /* who leaves the row on the path */
    unsigned char rows[RING_ROWS_BYTES_MAX];              /* of `table`: the claim */
    unsigned char before[RING_ROWS_BYTES_MAX]; /* the old rows, in the indexes of `table` */
};

/* Fills `next` (initialised, with room for RING_ROWS_BYTES of the old table's partition_bits and
 * the larger of both numbers of copies) if CLAIM_NEXT is answered. */
enum claim_answer claim_next(struct claim_work *, const struct claim_input *,
                             struct ring_table *next);

/* The same for the target, of which `next` is the first step: what a preview shows. */
enum claim_answer claim_target(struct claim_work *, const struct claim_input *,
                               struct ring_table *target);

#endif
