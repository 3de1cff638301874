/* Rebalance: exchange partitions until no node is much busier than its share.
 *
 * Claim balances how many partitions each member has; some are busier than others.  Given how
 * many operations each partition had, this finds a table in which the members above a threshold
 * are below it, as far as that is possible, and which claim would leave as it is: as many owners,
 * the same zones, the same shares.
 *
 * The load of a member is the sum over its partitions of
 *
 *   operations * (owner_cost, and where it is the first owner first_cost too)
 *
 * and its fair load is what its share of an evenly used ring would bring.  From the busiest member
 * on, each who is over the threshold hands load to members who stay below it:
 *
 * - first by letting another owner of a partition be its first, which moves no data;
 * - then by giving a partition away, where rounding of the shares allows it;
 * - then by exchanging a busy partition for a quiet one, which moves two.
 *
 * Each time the smallest relief that suffices is taken, else the greatest there is.  A member with
 * a partition so busy that nothing brings it below the threshold is relieved too, but data moves
 * for at least 1 % of its fair load only.  A partition changes once at most, so that all fits one
 * table.
 *
 * Still over the threshold afterwards is who has such a partition, or more of them than one table
 * can change: ask again once the new owners are warm.
 *
 * Threads: none is of concern; all memory belongs to the caller. */
#ifndef RING_REBALANCE_H
#define RING_REBALANCE_H

#include "ring/claim.h"

struct rebalance_input {
    struct claim_input claim;   /* its table has to be as claim wants it */
    const uint64_t *operations; /* by partition */
    unsigned owner_cost, first_cost;
    unsigned threshold_permille; /* of the fair load: above 1000 */
};

struct rebalance_report {
    unsigned moves;       /* owners who come to a partition: data to transfer */
    unsigned first_moves; /* partitions that change their first owner */
    unsigned peak_before_permille, peak_after_permille; /* the busiest, of its fair load */
};

enum rebalance_answer {
    REBALANCE_NEXT,       /* there is a next table */
    REBALANCE_DONE,       /* nobody over the threshold can be helped */
    REBALANCE_NOT_SETTLED /* claim has a next table first */
};

/* Room to work in, as struct claim_work (about 700 KB). */
struct rebalance_work {
    struct claim_work claim;
    uint64_t operations[1 << RING_PARTITION_BITS_MAX]; /* scaled to a sum that fits */
    uint16_t by_load[1 << RING_PARTITION_BITS_MAX];    /* partitions, the quietest first */
    bool is_changed[1 << RING_PARTITION_BITS_MAX];     /* by partition */
    uint64_t load[RING_MEMBERS_MAX], fair[RING_MEMBERS_MAX], limit[RING_MEMBERS_MAX];
    uint64_t worth_moving[RING_MEMBERS_MAX]; /* the least relief for which data moves */
    unsigned first[RING_MEMBERS_MAX];        /* partitions it is the first owner of */
    bool is_stuck[RING_MEMBERS_MAX];
};

/* Fills `next` (initialised, with room as for claim_next()) if REBALANCE_NEXT is answered, and the
 * report except after REBALANCE_NOT_SETTLED.  The same input gives the same result everywhere. */
enum rebalance_answer rebalance_next(struct rebalance_work *, const struct rebalance_input *,
                                     struct ring_table *next, struct rebalance_report *);

#endif
