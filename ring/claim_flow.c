/* The flow of a claim: ring/claim.h says how it works. */
#include "ring/claim_row.h"
#include <assert.h>
#include <string.h>

#define UNREACHABLE INT16_MAX

static bool lacks_some(const struct claim_work *work, unsigned member)
{
    return work->owned[member] < work->quota[member];
}

/* What decides who may enter a row in the place of one owner, or in an empty place. */
struct opening {
    struct numbers owners; /* of the row: they cannot enter */
    struct numbers zones;  /* of the other owners */
    bool is_open;          /* to members of these zones too */
};

static struct opening opening_in(const struct claim_work *work, const unsigned char *row,
                                 unsigned leaving)
{
    struct opening opening = {.is_open = false};
    unsigned owners = 0, zones = 0;

    for (unsigned i = 0; i < work->table.copies; i++) {
        if (row[i] == NOBODY)
            continue;
        numbers_add(&opening.owners, row[i]);
        if (row[i] == leaving)
            continue;
        owners++;
        zones += !numbers_has(&opening.zones, work->shares.zone_of[row[i]]);
        numbers_add(&opening.zones, work->shares.zone_of[row[i]]);
    }
    assert(owners < work->wanted);
    unsigned other_places = work->wanted - owners - 1;
    opening.is_open = zones + other_places >= zones_wanted(work);
    return opening;
}

static bool may_enter(const struct claim_work *work, const struct opening *opening, unsigned member)
{
    if (!is_able(work, member) || numbers_has(&opening->owners, member))
        return false;
    return opening->is_open || !numbers_has(&opening->zones, work->shares.zone_of[member]);
}

/* Whether the place of `leaving` may go to another zone.  If there are fewer zones than places, the
 * last owner of a zone is replaced within it. */
static bool may_cross(const struct claim_work *work, const struct opening *opening,
                      unsigned leaving)
{
    return leaving == NOBODY || opening->is_open || zones_wanted(work) == work->wanted;
}

/* What it costs that the member enters the row, and what is gained back when it leaves: 1 unless
 * it owned the partition before.  In a new cluster all cost the same. */
static int price(const struct claim_work *work, unsigned partition, unsigned member)
{
    if (work->is_new)
        return 0;
    return row_has(before_of(work, partition), work->table.copies, member) ? 0 : 1;
}

/* The path comes to the member through the row, in the place of `from`, or, if that is NOBODY, of
 * whoever the path brought to leave the row.  `base` is the cost so far, with the potential. */
static void reach_member(struct claim_work *work, unsigned member, int base, unsigned partition,
                         unsigned from)
{
    int distance = base + price(work, partition, member) - work->potential[member];

    assert(distance >= 0);
    if (distance >= work->distance[member])
        return;
    work->distance[member] = distance;
    work->via_row[member] = (uint16_t)partition;
    work->via_from[member] = (unsigned char)from;
    if (lacks_some(work, member) && distance < work->nearest_end)
        work->nearest_end = distance;
}

/* Goes on from an empty place in the row to all who may enter it. */
static void search_place(struct claim_work *work, unsigned partition, unsigned leaving,
                         int distance, const struct opening *opening)
{
    int base = distance + work->row_potential[partition];

    assert(distance < work->row_distance[partition]);
    work->row_distance[partition] = (int16_t)distance;
    work->row_from[partition] = (unsigned char)leaving;
    for (unsigned i = 0; i < work->table.member_count; i++)
        if (work->distance[i] > 0 && may_enter(work, opening, i))
            reach_member(work, i, base, partition, NOBODY);
}

/* Goes on from a member to all who may take its place in one of its rows: directly within its
 * zone, else through the row.  An exchange across zones changes what others in the row may do:
 * through each row a path goes once at most. */
static void search_row(struct claim_work *work, unsigned partition, unsigned leaving)
{
    struct opening opening = opening_in(work, row_of(work, partition), leaving);
    int base = work->distance[leaving] + work->potential[leaving] - price(work, partition, leaving);
    int row_distance = base - work->row_potential[partition];

    for (unsigned i = 0; i < work->table.member_count; i++)
        if (work->shares.zone_of[i] == work->shares.zone_of[leaving] && is_able(work, i) &&
            !numbers_has(&opening.owners, i))
            reach_member(work, i, base, partition, leaving);
    if (work->shares.zone_count == 1 || !may_cross(work, &opening, leaving))
        return;
    assert(row_distance >= 0);
    if (row_distance < work->row_distance[partition])
        search_place(work, partition, leaving, row_distance, &opening);
}

/* Goes on from a member to all who may take over one of its partitions.  Which row comes first
 * differs from member to member, so that the partitions of one spread over many. */
static void search_member(struct claim_work *work, unsigned member)
{
    unsigned partitions = ring_table_partitions(&work->table), width = work->table.copies;
    unsigned start =
        (unsigned)scatter(work->table.members[member].id ^ (uint64_t)work->owned[member] << 32);

    /* No end can be nearer than the member is. */
    for (unsigned step = 0; step < partitions && work->nearest_end > work->distance[member];
         step++) {
        unsigned p = (start + step) & (partitions - 1);
        if (row_has(row_of(work, p), width, member))
            search_row(work, p, member);
    }
}

/* The distance of the nearest members not settled; `some` becomes one of them. */
static int nearest_distance(const struct claim_work *work, unsigned *some)
{
    int nearest = UNREACHABLE;

    for (unsigned i = 0; i < work->table.member_count; i++)
        if (!work->is_settled[i] && work->distance[i] < nearest) {
            nearest = work->distance[i];
            *some = i;
        }
    assert(nearest < UNREACHABLE); /* there is a flow that meets all quotas (ring/share.h) */
    return nearest;
}

/* Of those at that distance one who lacks partitions, by chance in the measure of what is lacking;
 * NOBODY if none does. */
static unsigned choose_end(const struct claim_work *work, int distance, uint64_t chance)
{
    unsigned lacking = 0;

    for (unsigned i = 0; i < work->table.member_count; i++)
        if (work->distance[i] == distance && lacks_some(work, i))
            lacking += work->quota[i] - work->owned[i];
    if (lacking == 0)
        return NOBODY;
    chance %= lacking;
    for (unsigned i = 0; i < work->table.member_count; i++) {
        if (work->distance[i] != distance || !lacks_some(work, i))
            continue;
        unsigned lack = work->quota[i] - work->owned[i];
        if (chance < lack)
            return i;
        chance -= lack;
    }
    assert(false);
    return NOBODY;
}

static void start_search(struct claim_work *work)
{
    for (unsigned i = 0; i < work->table.member_count; i++) {
        work->distance[i] = UNREACHABLE;
        work->is_settled[i] = false;
    }
    for (unsigned p = 0; p < ring_table_partitions(&work->table); p++)
        work->row_distance[p] = UNREACHABLE;
    work->nearest_end = UNREACHABLE;
}

/* Makes the distances part of the potentials, with which no step of any later search costs less
 * than nothing (the successive shortest paths of Edmonds and Karp, and Tomizawa). */
static void raise_potentials(struct claim_work *work, int end)
{
    if (end == 0)
        return;
    for (unsigned i = 0; i < work->table.member_count; i++)
        work->potential[i] += work->distance[i] < end ? work->distance[i] : end;
    for (unsigned p = 0; p < ring_table_partitions(&work->table); p++) {
        int distance = work->row_distance[p];
        work->row_potential[p] =
            (int16_t)(work->row_potential[p] + (distance < end ? distance : end));
    }
}

/* Searches on until members who lack partitions are reached, and returns one of them. */
static unsigned finish_search(struct claim_work *work, uint64_t chance)
{
    for (;;) {
        unsigned member = NOBODY;
        int distance = nearest_distance(work, &member);
        unsigned end = choose_end(work, distance, chance);
        if (end != NOBODY) {
            raise_potentials(work, distance);
            return end;
        }
        work->is_settled[member] = true;
        search_member(work, member);
    }
}

/* Puts `entering` into the place of `leaving`, or into the first empty one. */
static void enter(struct claim_work *work, unsigned partition, unsigned leaving, unsigned entering)
{
    unsigned char *row = row_of(work, partition);
    unsigned place = 0;

    assert(!row_has(row, work->table.copies, entering));
    while (row[place] != leaving) {
        place++;
        assert(place < work->table.copies);
    }
    if (leaving != NOBODY)
        leave(work, row, place);
    row[place] = (unsigned char)entering;
    work->owned[entering]++;
}

/* Makes the exchanges of the path that ends at a member, back to `start`: a member, or NOBODY. */
static void follow_path(struct claim_work *work, unsigned end, unsigned start)
{
    unsigned member = end;

    for (unsigned steps = 0; member != start; steps++) {
        unsigned p = work->via_row[member], from = work->via_from[member];
        assert(steps < work->table.member_count);
        if (from == NOBODY)
            from = work->row_from[p];
        enter(work, p, from, member);
        member = from;
    }
}

static void fill_row(struct claim_work *work, unsigned partition)
{
    for (;;) {
        unsigned owners = owner_count(row_of(work, partition), work->table.copies);
        if (owners == work->wanted)
            return;
        struct opening opening = opening_in(work, row_of(work, partition), NOBODY);
        start_search(work);
        search_place(work, partition, NOBODY, 0, &opening);
        uint64_t chance = scatter((uint64_t)partition * RING_COPIES_MAX + owners);
        follow_path(work, finish_search(work, chance), NOBODY);
    }
}

void claim_meet_quotas(struct claim_work *work)
{
    memset(work->potential, 0, sizeof work->potential);
    memset(work->row_potential, 0, sizeof work->row_potential);
    for (unsigned p = 0; p < ring_table_partitions(&work->table); p++)
        fill_row(work, p);
    for (unsigned i = 0; i < work->table.member_count; i++) {
        while (work->owned[i] > work->quota[i]) {
            start_search(work);
            work->distance[i] = 0;
            uint64_t chance = scatter(work->table.members[i].id ^ work->owned[i]);
            follow_path(work, finish_search(work, chance), i);
        }
    }
    for (unsigned i = 0; i < work->table.member_count; i++)
        assert(work->owned[i] == work->quota[i]);
}
