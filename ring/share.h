/* Shares: how many partitions each member should own, by its weight and zone.
 *
 * A row has `copies` owners, or as many as there are members with a weight, if those are fewer.
 * They are distinct, and lie in as many zones as possible: in that many zones, or in all of them
 * if there are fewer.  So no member can own more than every partition once; with enough zones no
 * zone can either; and with fewer zones than copies each zone has at least one owner in every row.
 * Within these bounds the shares are proportional to the weights:
 *
 *   share of a member = smaller of (partitions, weight * level of its zone)
 *
 * where all zones whose sum is within its bounds have one level, and each other zone the level
 * that brings it to the bound.  Shares are exact fractions, so they are the same everywhere.
 *
 * For such shares there is always a table, also with each share rounded up or down, as long as
 * the sums of the zones stay within their bounds: spread every share evenly over all rows, and
 * each row fulfils the rules; that is a flow, and where a flow exists there is one of whole
 * numbers.
 *
 * Threads: none is of concern; results belong to the caller. */
#ifndef RING_SHARE_H
#define RING_SHARE_H

#include <stdint.h>
#include "ring/table.h"

/* A number of partitions: numerator / denominator, the latter above 0. */
struct ring_share {
    uint64_t numerator, denominator;
};

struct ring_shares {
    unsigned copies;     /* owners that a row will have; 0 if no member has a weight */
    unsigned zone_count; /* zones with a member that has a weight */
    struct ring_share owned[RING_MEMBERS_MAX]; /* by member; 0 if it has no weight */
    struct ring_share first[RING_MEMBERS_MAX]; /* partitions to be first owner of */
    unsigned char zone_of[RING_MEMBERS_MAX];   /* number of its zone, from 0; of those without
                                                  weight it may be `zone_count` or above */
    unsigned zone_least[RING_MEMBERS_MAX];     /* bounds for the sum of a zone */
    unsigned zone_most[RING_MEMBERS_MAX];
};

/* The shares of these members (sorted by id) in a table of that many partitions. */
void ring_shares_of(struct ring_shares *, const struct ring_member *members, unsigned count,
                    unsigned partitions, unsigned copies);

/* The whole part, and that rounded up. */
static inline unsigned ring_share_floor(struct ring_share share)
{
    return (unsigned)(share.numerator / share.denominator);
}

static inline unsigned ring_share_ceiling(struct ring_share share)
{
    return (unsigned)((share.numerator + share.denominator - 1) / share.denominator);
}

/* Below 0, 0, above 0: which has the larger part after the point. */
static inline int ring_share_compare_fractions(struct ring_share a, struct ring_share b)
{
    uint64_t left = a.numerator % a.denominator * b.denominator;
    uint64_t right = b.numerator % b.denominator * a.denominator;
    return (left > right) - (left < right);
}

#endif
