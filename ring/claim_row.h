/* What the files of a claim share, and nobody else includes: claim.c, and claim_flow.c, who gets
 * the places to fill. */
#ifndef RING_CLAIM_ROW_H
#define RING_CLAIM_ROW_H

#include "ring/claim.h"
#include <assert.h>

#define NOBODY RING_NO_OWNER /* an empty place in a row */

/* A set of members or zones, by number. */
struct numbers {
    uint64_t bits[4];
};

static inline bool numbers_has(const struct numbers *set, unsigned number)
{
    return (set->bits[number / 64] >> (number % 64) & 1) != 0;
}

static inline void numbers_add(struct numbers *set, unsigned number)
{
    assert(number < RING_MEMBERS_MAX);
    set->bits[number / 64] |= (uint64_t)1 << (number % 64);
}

/* Scatters the bits of a number (the finish of splitmix64): choices that need to be even, not
 * to be kept. */
static inline uint64_t scatter(uint64_t number)
{
    number += 0x9e3779b97f4a7c15u;
    number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9u;
    number = (number ^ (number >> 27)) * 0x94d049bb133111ebu;
    return number ^ (number >> 31);
}

/* The row as the claim stands; and the old one, in the same indexes and width. */
static inline unsigned char *row_of(struct claim_work *work, unsigned partition)
{
    return work->rows + (size_t)partition * work->table.copies;
}
static inline const unsigned char *before_of(const struct claim_work *work, unsigned partition)
{
    return work->before + (size_t)partition * work->table.copies;
}

/* Whether the member is in the row, which has `width` places. */
static inline bool row_has(const unsigned char *row, unsigned width, unsigned member)
{
    for (unsigned i = 0; i < width; i++)
        if (row[i] == member)
            return true;
    return false;
}

/* How many places of the row are taken. */
static inline unsigned owner_count(const unsigned char *row, unsigned width)
{
    unsigned count = 0;

    for (unsigned i = 0; i < width; i++)
        count += row[i] != NOBODY;
    assert(count <= width);
    return count;
}

/* Whether the member may own anything. */
static inline bool is_able(const struct claim_work *work, unsigned member)
{
    assert(member < work->table.member_count);
    return work->table.members[member].weight > 0;
}

/* The owner at that place leaves the row. */
static inline void leave(struct claim_work *work, unsigned char *row, unsigned place)
{
    assert(row[place] != NOBODY);
    assert(work->owned[row[place]] > 0);
    work->owned[row[place]]--;
    row[place] = NOBODY;
}

/* In how many zones the row's owners are, `without` left out. */
static inline unsigned zones_in(const struct claim_work *work, const unsigned char *row,
                                unsigned width, unsigned without)
{
    struct numbers met = {{0}};
    unsigned count = 0;

    for (unsigned i = 0; i < width; i++) {
        if (row[i] == NOBODY || row[i] == without)
            continue;
        unsigned zone = work->shares.zone_of[row[i]];
        count += !numbers_has(&met, zone);
        numbers_add(&met, zone);
    }
    assert(count <= width);
    return count;
}

/* How many zones a row of the target has. */
static inline unsigned zones_wanted(const struct claim_work *work)
{
    return work->shares.zone_count < work->wanted ? work->shares.zone_count : work->wanted;
}

/* Gives every place to fill, and every partition too many, to members who lack some, until each
 * member owns its quota, over as few changes of owners as possible: a flow at least cost.  The rows
 * have empty places where owners have left, and all quotas can be met. */
void claim_meet_quotas(struct claim_work *);

#endif
