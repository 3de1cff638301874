#include "ring/share.h"
#include <assert.h>
#include <stdbool.h>

/* What is being shared out. */
struct pool {
    const struct ring_member *members;
    unsigned count;
    unsigned partitions;
    unsigned least, most; /* bounds for the sum of any zone */
    struct ring_shares *shares;
    bool is_fixed[RING_MEMBERS_MAX];  /* by zone: its sum is at one of its bounds */
    bool is_capped[RING_MEMBERS_MAX]; /* by member: it owns every partition */
};

/* Partitions per unit of weight: a fraction. */
struct level {
    uint64_t numerator, denominator;
};

/* The zones of members with a weight come first, in the order of their first members. */
static void number_zones(struct pool *pool)
{
    struct ring_shares *shares = pool->shares;
    uint32_t zones[RING_MEMBERS_MAX];
    unsigned count = 0;

    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < pool->count; i++) {
            if ((pool->members[i].weight > 0) != (pass == 0))
                continue;
            unsigned z = 0;
            while (z < count && zones[z] != pool->members[i].zone)
                z++;
            if (z == count)
                zones[count++] = pool->members[i].zone;
            shares->zone_of[i] = (unsigned char)z;
        }
        if (pass == 0)
            shares->zone_count = count;
    }
    assert(count <= RING_MEMBERS_MAX);
    assert(shares->zone_count <= count);
}

/* Whether the member takes part in sharing out a zone, or, if that is -1, all zones not fixed. */
static bool takes_part(const struct pool *pool, unsigned member, int zone)
{
    unsigned own = pool->shares->zone_of[member];

    assert(member < pool->count);
    if (pool->members[member].weight == 0)
        return false;
    return zone < 0 ? !pool->is_fixed[own] : own == (unsigned)zone;
}

/* The level at which those who take part own `units` together, none more than every partition.
 * Those who reach that are marked as capped. */
static struct level fill(struct pool *pool, int zone, uint64_t units)
{
    for (unsigned i = 0; i < pool->count; i++)
        if (takes_part(pool, i, zone))
            pool->is_capped[i] = false;
    for (;;) {
        uint64_t weights = 0, left = units;
        bool has_new_cap = false;
        for (unsigned i = 0; i < pool->count; i++) {
            if (!takes_part(pool, i, zone))
                continue;
            assert(!pool->is_capped[i] || left >= pool->partitions);
            if (pool->is_capped[i])
                left -= pool->partitions;
            else
                weights += pool->members[i].weight;
        }
        if (weights == 0) {
            assert(left == 0);
            return (struct level){0, 1};
        }
        for (unsigned i = 0; i < pool->count; i++) {
            bool is_over = pool->members[i].weight * left >= pool->partitions * weights;
            if (takes_part(pool, i, zone) && !pool->is_capped[i] && is_over)
                pool->is_capped[i] = has_new_cap = true;
        }
        if (!has_new_cap)
            return (struct level){left, weights};
    }
}

/* What a zone has at that level, times the level's denominator. */
static uint64_t zone_sum(const struct pool *pool, unsigned zone, struct level level)
{
    uint64_t sum = 0;

    assert(zone < pool->shares->zone_count);
    for (unsigned i = 0; i < pool->count; i++) {
        if (!takes_part(pool, i, (int)zone))
            continue;
        sum += pool->is_capped[i] ? pool->partitions * level.denominator
                                  : pool->members[i].weight * level.numerator;
    }
    return sum;
}

static void fix_zone(struct pool *pool, unsigned zone, unsigned sum)
{
    assert(!pool->is_fixed[zone]);
    pool->is_fixed[zone] = true;
    pool->shares->zone_least[zone] = sum;
    pool->shares->zone_most[zone] = sum;
}

/* Fixes zones at their bounds until the level of the others leaves these within theirs, and
 * returns that level.
 *
 * If the zones above their bound are so by more than the others are below, the final level can
 * only be higher: those above stay above, and are fixed.  Else those below are. */
static struct level settle_zones(struct pool *pool, uint64_t units)
{
    for (;;) {
        uint64_t above = 0, below = 0, left = units;
        for (unsigned z = 0; z < pool->shares->zone_count; z++)
            if (pool->is_fixed[z])
                left -= pool->shares->zone_least[z];
        assert(left <= units);
        struct level level = fill(pool, -1, left);
        for (unsigned z = 0; z < pool->shares->zone_count; z++) {
            uint64_t sum = zone_sum(pool, z, level);
            if (!pool->is_fixed[z] && sum > pool->most * level.denominator)
                above += sum - pool->most * level.denominator;
            if (!pool->is_fixed[z] && sum < pool->least * level.denominator)
                below += pool->least * level.denominator - sum;
        }
        if (above == 0 && below == 0)
            return level;
        for (unsigned z = 0; z < pool->shares->zone_count; z++) {
            uint64_t sum = zone_sum(pool, z, level);
            if (pool->is_fixed[z])
                continue;
            if (above >= below && sum > pool->most * level.denominator)
                fix_zone(pool, z, pool->most);
            else if (below >= above && sum < pool->least * level.denominator)
                fix_zone(pool, z, pool->least);
        }
    }
}

static void write_shares(struct pool *pool, int zone, struct level level)
{
    assert(level.denominator > 0);
    for (unsigned i = 0; i < pool->count; i++) {
        if (!takes_part(pool, i, zone))
            continue;
        pool->shares->owned[i] =
            pool->is_capped[i]
                ? (struct ring_share){pool->partitions, 1}
                : (struct ring_share){pool->members[i].weight * level.numerator, level.denominator};
        assert(ring_share_ceiling(pool->shares->owned[i]) <= pool->partitions);
    }
}

void ring_shares_of(struct ring_shares *shares, const struct ring_member *members, unsigned count,
                    unsigned partitions, unsigned copies)
{
    struct pool pool = {members, count, partitions, .most = partitions, .shares = shares};
    unsigned able = 0;
    uint64_t weights = 0;

    assert(count <= RING_MEMBERS_MAX);
    assert(copies >= 1);
    for (unsigned i = 0; i < count; i++) {
        able += members[i].weight > 0;
        weights += members[i].weight;
    }
    shares->copies = copies < able ? copies : able;
    number_zones(&pool);
    if (shares->zone_count < shares->copies)
        pool.most = (shares->copies - shares->zone_count + 1) * partitions;
    if (shares->zone_count <= shares->copies)
        pool.least = partitions;
    for (unsigned z = 0; z < shares->zone_count; z++) {
        shares->zone_least[z] = pool.least;
        shares->zone_most[z] = pool.most;
    }
    for (unsigned i = 0; i < count; i++) {
        shares->owned[i] = (struct ring_share){0, 1};
        shares->first[i] = (struct ring_share){(uint64_t)members[i].weight * partitions,
                                               weights > 0 ? weights : 1};
    }
    write_shares(&pool, -1, settle_zones(&pool, (uint64_t)shares->copies * partitions));
    for (unsigned z = 0; z < shares->zone_count; z++)
        if (pool.is_fixed[z])
            write_shares(&pool, (int)z, fill(&pool, (int)z, shares->zone_least[z]));
}
