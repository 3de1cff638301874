#include "ring/claim_row.h"
#include <assert.h>
#include <string.h>

/* 1. Who is a member, and the old rows in new indexes. */

/* Puts the member at its place in the order of ids. */
static void insert_member(struct claim_work *work, struct ring_member member, bool is_given)
{
    struct ring_table *table = &work->table;
    unsigned i = table->member_count++;

    assert(i < RING_MEMBERS_MAX);
    assert(member.weight <= RING_WEIGHT_MAX);
    for (; i > 0 && table->members[i - 1].id > member.id; i--) {
        table->members[i] = table->members[i - 1];
        work->is_given[i] = work->is_given[i - 1];
    }
    assert(i == 0 || table->members[i - 1].id < member.id); /* each is given once */
    table->members[i] = member;
    work->is_given[i] = is_given;
}

/* Gathers those given and those who still own something; false if they are too many. */
static bool gather_members(struct claim_work *work, const struct claim_input *input)
{
    const struct ring_table *before = input->before;
    unsigned owned[RING_MEMBERS_MAX];

    if (input->count > RING_MEMBERS_MAX)
        return false;
    work->table.member_count = 0;
    for (unsigned i = 0; i < input->count; i++)
        insert_member(work, input->members[i], true);
    ring_table_count(before, owned, NULL);
    for (unsigned i = 0; i < before->member_count; i++) {
        struct ring_member member = before->members[i];
        if (owned[i] == 0 || ring_table_find_member(&work->table, member.id) >= 0)
            continue;
        if (work->table.member_count == RING_MEMBERS_MAX)
            return false;
        member.weight = 0;
        insert_member(work, member, false);
    }
    return true;
}

static void carry_rows(struct claim_work *work, const struct ring_table *before)
{
    unsigned char map[RING_MEMBERS_MAX + 1];
    unsigned width = work->table.copies;

    memset(map, NOBODY, sizeof map);
    for (unsigned i = 0; i < before->member_count; i++) {
        int index = ring_table_find_member(&work->table, before->members[i].id);
        map[i] = index >= 0 ? (unsigned char)index : NOBODY;
    }
    assert(before->copies <= width);
    for (unsigned p = 0; p < ring_table_partitions(before); p++) {
        const unsigned char *from = ring_table_row(before, p);
        unsigned char *to = work->before + (size_t)p * width;
        for (unsigned i = 0; i < width; i++)
            to[i] = i < before->copies ? map[from[i]] : NOBODY;
    }
    memcpy(work->rows, work->before, RING_ROWS_BYTES(before->partition_bits, width));
}

/* Fills `work` up to where the claim starts: it is the old table. */
static enum claim_answer prepare(struct claim_work *work, const struct claim_input *input)
{
    const struct ring_table *before = input->before;
    unsigned width = before->copies > input->copies ? before->copies : input->copies;

    assert(input->copies >= 1);
    assert(input->copies <= RING_COPIES_MAX);
    assert(input->claimant != NODE_NONE);
    assert(ring_table_is_sound(before));
    ring_table_init(&work->table, before->partition_bits, width, work->rows, sizeof work->rows);
    if (!gather_members(work, input))
        return CLAIM_TOO_MANY;
    ring_shares_of(&work->shares, work->table.members, work->table.member_count,
                   ring_table_partitions(before), input->copies);
    work->wanted = work->shares.copies;
    if (work->wanted == 0)
        return CLAIM_NOBODY;
    work->is_new = before->member_count == 0;
    work->table.version = (struct ring_version){before->version.epoch + 1, input->claimant};
    carry_rows(work, before);
    assert(ring_table_is_sound(&work->table));
    return CLAIM_NEXT;
}

/* 2. Owners who cannot stay leave their rows. */

/* How far the member is over its share; the most is 2^17. */
static int overload(const struct claim_work *work, unsigned member)
{
    return (int)work->owned[member] - (int)ring_share_floor(work->shares.owned[member]);
}

/* The owner whose zone has another one in the row too, and who is most over its share: the place,
 * or `copies` if each has a zone to itself. */
static unsigned place_to_leave(const struct claim_work *work, const unsigned char *row)
{
    unsigned width = work->table.copies, best = width;
    unsigned zones = zones_in(work, row, width, NOBODY);

    for (unsigned i = 0; i < width; i++) {
        if (row[i] == NOBODY || zones_in(work, row, width, row[i]) < zones)
            continue;
        if (best == width || overload(work, row[i]) > overload(work, row[best]))
            best = i;
    }
    return best;
}

/* The place of the owner who is most over its share. */
static unsigned place_most_loaded(const struct claim_work *work, const unsigned char *row)
{
    unsigned width = work->table.copies, best = width;

    for (unsigned i = 0; i < width; i++)
        if (row[i] != NOBODY &&
            (best == width || overload(work, row[i]) > overload(work, row[best])))
            best = i;
    assert(best < width);
    return best;
}

/* Makes room in the row, until its places to fill are enough for the zones that it lacks. */
static void clear_row(struct claim_work *work, unsigned char *row)
{
    unsigned width = work->table.copies;

    for (unsigned i = 0; i < width; i++)
        if (row[i] != NOBODY && !is_able(work, row[i]))
            leave(work, row, i);
    for (;;) {
        unsigned owners = owner_count(row, width);
        unsigned zones = zones_in(work, row, width, NOBODY);
        if (owners <= work->wanted && zones + (work->wanted - owners) >= zones_wanted(work))
            return;
        unsigned place = place_to_leave(work, row);
        if (place == width)
            place = place_most_loaded(work, row);
        leave(work, row, place);
    }
}

static void clear_rows(struct claim_work *work)
{
    ring_table_count(&work->table, work->owned, NULL);
    for (unsigned p = 0; p < ring_table_partitions(&work->table); p++)
        clear_row(work, row_of(work, p));
}

/* 3. Quotas: shares rounded so that their sum fits, and few owners have to change. */

struct rounding {
    unsigned zone_sums[RING_MEMBERS_MAX];
    unsigned left; /* units to give to those whose share is rounded up */
};

/* Whether the share of `a`, rather than that of `b`, is rounded up. */
static bool is_rounded_up_before(const struct claim_work *work, unsigned a, unsigned b)
{
    const struct ring_share *owned = work->shares.owned;
    bool a_has_it = work->owned[a] >= ring_share_ceiling(owned[a]);
    bool b_has_it = work->owned[b] >= ring_share_ceiling(owned[b]);

    if (a_has_it != b_has_it)
        return a_has_it;
    int fractions = ring_share_compare_fractions(owned[a], owned[b]);
    return fractions != 0 ? fractions > 0 : a < b;
}

/* Rounds up the share of one more member, of just that zone if `zone` >= 0.  False if there is
 * none left whose zone may own more. */
static bool round_one_up(struct claim_work *work, struct rounding *rounding, int zone)
{
    int best = -1;

    for (unsigned i = 0; i < work->table.member_count; i++) {
        unsigned own = work->shares.zone_of[i];
        if (!is_able(work, i) || (zone >= 0 && own != (unsigned)zone))
            continue;
        if (work->quota[i] == ring_share_ceiling(work->shares.owned[i]))
            continue;
        if (rounding->zone_sums[own] == work->shares.zone_most[own])
            continue;
        if (best < 0 || is_rounded_up_before(work, i, (unsigned)best))
            best = (int)i;
    }
    if (best < 0)
        return false;
    work->quota[best]++;
    rounding->zone_sums[work->shares.zone_of[best]]++;
    assert(rounding->left > 0);
    rounding->left--;
    return true;
}

static void set_quotas(struct claim_work *work)
{
    struct rounding rounding = {.left = work->wanted * ring_table_partitions(&work->table)};

    for (unsigned i = 0; i < work->table.member_count; i++) {
        work->quota[i] = ring_share_floor(work->shares.owned[i]);
        if (!is_able(work, i))
            continue;
        assert(rounding.left >= work->quota[i]);
        rounding.left -= work->quota[i];
        rounding.zone_sums[work->shares.zone_of[i]] += work->quota[i];
    }
    for (unsigned z = 0; z < work->shares.zone_count; z++)
        while (rounding.zone_sums[z] < work->shares.zone_least[z]) {
            bool is_done = round_one_up(work, &rounding, (int)z);
            assert(is_done);
        }
    while (rounding.left > 0) {
        bool is_done = round_one_up(work, &rounding, -1);
        assert(is_done);
    }
}

/* 4. First owners. */

/* Moves owners up into empty places. */
static void close_gaps(struct claim_work *work, unsigned char *row)
{
    unsigned count = 0;

    for (unsigned i = 0; i < work->table.copies; i++) {
        unsigned char owner = row[i];
        row[i] = NOBODY;
        if (owner != NOBODY)
            row[count++] = owner;
    }
    assert(count == work->wanted);
}

static void swap_places(unsigned char *row, unsigned a, unsigned b)
{
    unsigned char owner = row[a];

    assert(owner != NOBODY);
    assert(row[b] != NOBODY);
    row[a] = row[b];
    row[b] = owner;
}

/* Who is wanted where first owners are evened out. */
enum wanted_first {
    BELOW_FLOOR, /* of its share */
    BELOW_CEILING,
    ABOVE_FLOOR,
    ABOVE_CEILING
};

static bool is_wanted(const struct claim_work *work, const unsigned *first, unsigned member,
                      enum wanted_first wanted)
{
    unsigned low = ring_share_floor(work->shares.first[member]);
    unsigned high = ring_share_ceiling(work->shares.first[member]);

    switch (wanted) {
    case BELOW_FLOOR: return first[member] < low;
    case BELOW_CEILING: return first[member] < high;
    case ABOVE_FLOOR: return first[member] > low;
    case ABOVE_CEILING: return first[member] > high;
    }
    assert(false);
    return false;
}

/* Of a search: those reached, each by becoming the first owner of a row in place of another. */
struct first_search {
    bool is_reached[RING_MEMBERS_MAX];
    bool is_start[RING_MEMBERS_MAX];
    unsigned round[RING_MEMBERS_MAX]; /* in which it was reached */
    uint16_t via_row[RING_MEMBERS_MAX];
};

/* Hands first places on along the found path. */
static void hand_first_on(struct claim_work *work, struct first_search *search, unsigned *first,
                          unsigned end)
{
    unsigned member = end;

    first[end]++;
    while (!search->is_start[member]) {
        unsigned char *row = row_of(work, search->via_row[member]);
        unsigned from = row[0], place = 0;
        while (row[place] != member)
            place++;
        assert(place > 0);
        swap_places(row, 0, place);
        member = from;
    }
    assert(first[member] > 0);
    first[member]--;
}

/* One round of the search: from those reached in the round before.  Returns how many it reached,
 * and in `end` one that was wanted, or NOBODY. */
static unsigned search_first(struct claim_work *work, struct first_search *search,
                             const unsigned *first, unsigned round, enum wanted_first to,
                             unsigned *end)
{
    unsigned reached = 0;

    for (unsigned p = 0; p < ring_table_partitions(&work->table); p++) {
        const unsigned char *row = row_of(work, p);
        if (!search->is_reached[row[0]] || search->round[row[0]] >= round)
            continue;
        for (unsigned i = 1; i < work->wanted; i++) {
            if (search->is_reached[row[i]])
                continue;
            search->is_reached[row[i]] = true;
            search->round[row[i]] = round;
            search->via_row[row[i]] = (uint16_t)p;
            reached++;
            if (!is_wanted(work, first, row[i], to))
                continue;
            *end = row[i];
            return reached;
        }
    }
    *end = NOBODY;
    return reached;
}

/* Hands one first place from someone to someone, over as few others as possible. */
static bool even_one_out(struct claim_work *work, unsigned *first, enum wanted_first from,
                         enum wanted_first to)
{
    struct first_search search = {.is_reached = {false}};
    unsigned end = NOBODY, reached = 0;

    for (unsigned i = 0; i < work->table.member_count; i++) {
        search.is_start[i] = search.is_reached[i] = is_wanted(work, first, i, from);
        reached += search.is_start[i];
    }
    for (unsigned round = 1; reached > 0 && end == NOBODY; round++)
        reached = search_first(work, &search, first, round, to, &end);
    if (end == NOBODY)
        return false;
    hand_first_on(work, &search, first, end);
    return true;
}

/* Lets owners of other zones than those before them come next, so that also the first two are in
 * two zones, and so on. */
static void order_by_zone(struct claim_work *work, unsigned char *row)
{
    for (unsigned i = 1; i < work->wanted; i++) {
        unsigned zones = zones_in(work, row, i, NOBODY), best = i;
        while (best < work->wanted) {
            unsigned char prefix[RING_COPIES_MAX];
            memcpy(prefix, row, i);
            prefix[i] = row[best];
            if (zones_in(work, prefix, i + 1, NOBODY) > zones)
                break;
            best++;
        }
        if (best < work->wanted && best > i)
            swap_places(row, i, best);
    }
}

static void order_rows(struct claim_work *work)
{
    unsigned first[RING_MEMBERS_MAX];
    unsigned partitions = ring_table_partitions(&work->table);

    for (unsigned p = 0; p < partitions; p++) {
        unsigned char *row = row_of(work, p);
        close_gaps(work, row);
        if (owner_count(before_of(work, p), work->table.copies) == 0)
            swap_places(row, 0, (unsigned)(scatter(p) % work->wanted));
    }
    ring_table_count(&work->table, NULL, first);
    while (even_one_out(work, first, ABOVE_CEILING, BELOW_FLOOR) ||
           even_one_out(work, first, ABOVE_CEILING, BELOW_CEILING) ||
           even_one_out(work, first, ABOVE_FLOOR, BELOW_FLOOR)) {
    }
    for (unsigned p = 0; p < partitions; p++)
        order_by_zone(work, row_of(work, p));
}

/* Makes the rows of `work` those of the target. */
static enum claim_answer make_target(struct claim_work *work, const struct claim_input *input)
{
    enum claim_answer answer = prepare(work, input);

    if (answer != CLAIM_NEXT)
        return answer;
    clear_rows(work);
    set_quotas(work);
    claim_meet_quotas(work);
    order_rows(work);
    assert(ring_table_is_sound(&work->table));
    return CLAIM_NEXT;
}

/* 5. The step. */

/* What `from` has and `other` has not, in order; returns how many. */
static unsigned row_minus(const unsigned char *from, const unsigned char *other, unsigned width,
                          unsigned char left[RING_COPIES_MAX])
{
    unsigned count = 0;

    for (unsigned i = 0; i < width; i++)
        if (from[i] != NOBODY && !row_has(other, width, from[i]))
            left[count++] = from[i];
    return count;
}

/* How good it is that `leaving` leaves the row for `entering`; either may be NOBODY. */
static unsigned worth(const struct claim_work *work, const unsigned char *row, unsigned leaving,
                      unsigned entering)
{
    unsigned char changed[RING_COPIES_MAX + 1];
    unsigned width = work->table.copies;

    memcpy(changed, row, width);
    changed[width] = (unsigned char)entering;
    unsigned zones = zones_in(work, changed, width + 1, leaving);
    return 2 * zones + (leaving != NOBODY && !is_able(work, leaving));
}

/* Replaces the owner by another; with NOBODY, drops it. */
static void replace(unsigned char *row, unsigned width, unsigned leaving, unsigned entering)
{
    unsigned place = 0;

    while (row[place] != leaving) {
        place++;
        assert(place < width);
    }
    row[place] = (unsigned char)entering;
    if (entering == NOBODY)
        for (; place + 1 < width; place++) {
            row[place] = row[place + 1];
            row[place + 1] = NOBODY;
        }
}

/* The change of one owner that leaves the row in most zones, and prefers that who leaves owns
 * nothing in the end. */
static void change_one(const struct claim_work *work, unsigned char *row, const unsigned char *out,
                       unsigned out_count, const unsigned char *in, unsigned in_count)
{
    unsigned best_out = NOBODY, best_in = NOBODY, best = 0;
    unsigned width = work->table.copies;

    assert(out_count + in_count > 0);
    for (unsigned o = 0; o < (out_count > 0 ? out_count : 1); o++) {
        for (unsigned i = 0; i < (in_count > 0 ? in_count : 1); i++) {
            unsigned leaving = out_count > 0 ? out[o] : NOBODY;
            unsigned entering = in_count > 0 ? in[i] : NOBODY;
            unsigned value = 1 + worth(work, row, leaving, entering);
            if (value <= best)
                continue;
            best = value;
            best_out = leaving;
            best_in = entering;
        }
    }
    replace(row, width, best_out, best_in);
}

/* Lets two owners change places, so that the first place that is not as wanted becomes so. */
static void reorder_one(unsigned char *row, const unsigned char *target, unsigned width)
{
    unsigned place = 0;

    while (place < width && row[place] == target[place])
        place++;
    if (place == width)
        return;
    unsigned other = place;
    while (row[other] != target[place]) {
        other++;
        assert(other < width);
    }
    swap_places(row, place, other);
}

/* Makes the target row the next after the old one. */
static void step_row(const struct claim_work *work, unsigned char *target,
                     const unsigned char *before)
{
    unsigned char row[RING_COPIES_MAX], out[RING_COPIES_MAX], in[RING_COPIES_MAX];
    unsigned width = work->table.copies;
    unsigned out_count = row_minus(before, target, width, out);
    unsigned in_count = row_minus(target, before, width, in);

    memcpy(row, before, width);
    if (in_count > out_count) /* rather one copy more for a while than one less */
        change_one(work, row, NULL, 0, in, in_count);
    else if (out_count > 0)
        change_one(work, row, out, out_count, in, in_count);
    else
        reorder_one(row, target, width);
    memcpy(target, row, width);
}

/* 6. The result: the claim without members who are neither given nor own anything. */

static void write_result(struct claim_work *work, const struct claim_input *input,
                         struct ring_table *result)
{
    struct ring_table *table = &work->table;
    unsigned char map[RING_MEMBERS_MAX + 1];
    unsigned owned[RING_MEMBERS_MAX], copies = input->copies;

    for (unsigned p = 0; p < ring_table_partitions(table); p++) {
        unsigned owners = owner_count(row_of(work, p), table->copies);
        if (owners > copies)
            copies = owners;
    }
    ring_table_init(result, table->partition_bits, copies, result->rows, result->rows_room);
    ring_table_count(table, owned, NULL);
    memset(map, NOBODY, sizeof map);
    for (unsigned i = 0; i < table->member_count; i++) {
        if (!work->is_given[i] && owned[i] == 0)
            continue;
        map[i] = (unsigned char)result->member_count;
        result->members[result->member_count++] = table->members[i];
    }
    for (unsigned p = 0; p < ring_table_partitions(table); p++)
        for (unsigned i = 0; i < copies && i < table->copies; i++)
            result->rows[(size_t)p * copies + i] = map[row_of(work, p)[i]];
    result->version = table->version;
    assert(ring_table_is_sound(result));
}

static enum claim_answer give(struct claim_work *work, const struct claim_input *input,
                              struct ring_table *result)
{
    write_result(work, input, result);
    return ring_table_same_content(result, input->before) ? CLAIM_MET : CLAIM_NEXT;
}

enum claim_answer claim_target(struct claim_work *work, const struct claim_input *input,
                               struct ring_table *target)
{
    enum claim_answer answer = make_target(work, input);

    assert(target != input->before);
    return answer == CLAIM_NEXT ? give(work, input, target) : answer;
}

enum claim_answer claim_next(struct claim_work *work, const struct claim_input *input,
                             struct ring_table *next)
{
    enum claim_answer answer = make_target(work, input);

    assert(next != input->before);
    if (answer != CLAIM_NEXT)
        return answer;
    if (input->before->member_count > 0)
        for (unsigned p = 0; p < ring_table_partitions(&work->table); p++)
            step_row(work, row_of(work, p), before_of(work, p));
    return give(work, input, next);
}
