#include "ring/rebalance.h"
#include <assert.h>
#include <string.h>

enum {
    HOT_PARTITIONS = 64,  /* of the member to relieve: those looked at */
    QUIET_PARTITIONS = 12 /* of every other member */
};

/* Of a member for whom there is no way below its limit, a move has to take this part of its fair
 * load: one in so many. */
#define WORTH_MOVING 100

#define SUM_BITS   24 /* of the scaled operations: with the costs, loads stay below 2^32 */
#define SHARE_BITS 16 /* of a share after the point */

/* Something that may be done to relieve `from`, who has the place `place` in row `partition`. */
struct relief {
    uint64_t amount; /* of load that goes to `to`; 0: nothing was found */
    unsigned from, to;
    unsigned partition, place;
    unsigned to_place;         /* if only the order changes: where `to` stands */
    bool is_order;             /* only the order changes */
    bool has_return;           /* something comes back, */
    unsigned back, back_place; /* from this row, where `to` stands here, */
    unsigned back_from_place;  /* and, if only the order changes, `from` here */
};

/* The quietest partitions of each member. */
struct quiet {
    unsigned char count[RING_MEMBERS_MAX];
    uint16_t partitions[RING_MEMBERS_MAX][QUIET_PARTITIONS];
};

static unsigned char *row_of(struct rebalance_work *work, unsigned partition)
{
    return work->claim.rows + (size_t)partition * work->claim.table.copies;
}

static unsigned partitions_of(const struct rebalance_work *work)
{
    return ring_table_partitions(&work->claim.table);
}

/* Where the member stands in the row; `wanted` if nowhere. */
static unsigned place_in(const struct rebalance_work *work, const unsigned char *row,
                         unsigned member)
{
    unsigned place = 0;

    while (place < work->claim.wanted && row[place] != member)
        place++;
    return place;
}

/* The sum of the operations, each shifted right; above all sums if one alone is too large. */
static uint64_t sum_shifted(const uint64_t *operations, unsigned count, unsigned shift)
{
    uint64_t sum = 0;

    for (unsigned p = 0; p < count; p++) {
        uint64_t scaled = operations[p] >> shift;
        if (scaled >= (uint64_t)1 << SUM_BITS)
            return UINT64_MAX;
        sum += scaled;
    }
    return sum;
}

/* Copies the operations, scaled so that their sum, which is returned, has SUM_BITS bits (unless
 * there are no operations). */
static uint64_t scale_operations(struct rebalance_work *work, const uint64_t *operations)
{
    unsigned count = partitions_of(work), right = 0, left = 0;
    uint64_t sum = sum_shifted(operations, count, 0);

    while (sum >= (uint64_t)1 << SUM_BITS)
        sum = sum_shifted(operations, count, ++right);
    while (sum > 0 && sum << (left + 1) < (uint64_t)1 << SUM_BITS)
        left++;
    for (unsigned p = 0; p < count; p++)
        work->operations[p] = operations[p] >> right << left;
    assert(right < 64);
    return sum << left;
}

/* Sorts the partitions by load, those of equal load by number (a heap sort). */
static bool is_quieter(const struct rebalance_work *work, unsigned a, unsigned b)
{
    if (work->operations[a] != work->operations[b])
        return work->operations[a] < work->operations[b];
    return a < b;
}

static void sift_down(struct rebalance_work *work, unsigned at, unsigned count)
{
    uint16_t partition = work->by_load[at];

    for (;;) {
        unsigned child = 2 * at + 1;
        if (child >= count)
            break;
        if (child + 1 < count && is_quieter(work, work->by_load[child], work->by_load[child + 1]))
            child++;
        if (!is_quieter(work, partition, work->by_load[child]))
            break;
        work->by_load[at] = work->by_load[child];
        at = child;
    }
    work->by_load[at] = partition;
}

static void sort_partitions(struct rebalance_work *work)
{
    unsigned count = partitions_of(work);

    for (unsigned p = 0; p < count; p++)
        work->by_load[p] = (uint16_t)p;
    for (unsigned at = count / 2; at > 0; at--)
        sift_down(work, at - 1, count);
    for (unsigned end = count; end > 1; end--) {
        uint16_t busiest = work->by_load[0];
        work->by_load[0] = work->by_load[end - 1];
        work->by_load[end - 1] = busiest;
        sift_down(work, 0, end - 1);
    }
}

/* The load of that place in the row. */
static uint64_t load_at(const struct rebalance_work *work, const struct rebalance_input *input,
                        unsigned partition, unsigned place)
{
    unsigned cost = input->owner_cost + (place == 0 ? input->first_cost : 0);
    return work->operations[partition] * cost;
}

/* `sum` times the share, over all partitions. */
static uint64_t part_of(const struct rebalance_work *work, uint64_t sum, struct ring_share share)
{
    uint64_t fixed = (share.numerator << SHARE_BITS) / share.denominator;

    assert(fixed <= (uint64_t)partitions_of(work) << SHARE_BITS);
    return sum * fixed >> SHARE_BITS >> work->claim.table.partition_bits;
}

static void measure(struct rebalance_work *work, const struct rebalance_input *input, uint64_t sum)
{
    const struct ring_shares *shares = &work->claim.shares;

    for (unsigned i = 0; i < work->claim.table.member_count; i++) {
        work->load[i] = 0;
        work->is_stuck[i] = false;
        work->fair[i] = part_of(work, sum, shares->owned[i]) * input->owner_cost +
                        part_of(work, sum, shares->first[i]) * input->first_cost;
        work->limit[i] = work->fair[i] * input->threshold_permille / 1000;
    }
    for (unsigned p = 0; p < partitions_of(work); p++)
        for (unsigned i = 0; i < work->claim.wanted; i++)
            work->load[row_of(work, p)[i]] += load_at(work, input, p, i);
    ring_table_count(&work->claim.table, work->claim.owned, work->first);
}

static bool is_able(const struct rebalance_work *work, unsigned member)
{
    return work->claim.table.members[member].weight > 0;
}

static unsigned peak_permille(const struct rebalance_work *work)
{
    uint64_t peak = 0;

    for (unsigned i = 0; i < work->claim.table.member_count; i++) {
        if (!is_able(work, i) || work->fair[i] == 0)
            continue;
        uint64_t permille = work->load[i] * 1000 / work->fair[i];
        peak = permille > peak ? permille : peak;
    }
    return peak < UINT32_MAX ? (unsigned)peak : UINT32_MAX;
}

/* The busiest member over its limit who may be helped, by the part it is over. */
static int busiest(const struct rebalance_work *work)
{
    int best = -1;

    for (unsigned i = 0; i < work->claim.table.member_count; i++) {
        if (!is_able(work, i) || work->is_stuck[i] || work->load[i] <= work->limit[i])
            continue;
        if (best < 0 || work->load[i] * work->fair[best] > work->load[best] * work->fair[i])
            best = (int)i;
    }
    return best;
}

/* The least that the member could have to do: keep its busiest partition as it is, and have the
 * quietest ones besides. */
static uint64_t least_load(struct rebalance_work *work, const struct rebalance_input *input,
                           unsigned member)
{
    uint64_t least = 0, most = 0;

    for (unsigned p = 0; p < partitions_of(work); p++) {
        unsigned place = place_in(work, row_of(work, p), member);
        uint64_t load = place < work->claim.wanted ? load_at(work, input, p, place) : 0;
        most = load > most ? load : most;
    }
    for (unsigned n = 0; n + 1 < work->claim.owned[member]; n++)
        least += load_at(work, input, work->by_load[n], n + 1 < work->first[member] ? 0 : 1);
    return most + least;
}

static void set_worth(struct rebalance_work *work, const struct rebalance_input *input)
{
    for (unsigned i = 0; i < work->claim.table.member_count; i++) {
        bool is_hopeless = least_load(work, input, i) > work->limit[i];
        work->worth_moving[i] = is_hopeless ? work->fair[i] / WORTH_MOVING : 0;
    }
}

/* Whether the relief is one to take, and better than the best so far: the smallest that suffices,
 * else the greatest. */
static bool is_better(const struct rebalance_work *work, const struct relief *relief,
                      const struct relief *best)
{
    uint64_t needed = work->load[relief->from] - work->limit[relief->from];

    if (relief->amount == 0 || work->load[relief->to] + relief->amount > work->limit[relief->to])
        return false;
    if (!relief->is_order && relief->amount < needed &&
        relief->amount < work->worth_moving[relief->from])
        return false;
    bool suffices = relief->amount >= needed, best_does = best->amount >= needed;
    if (suffices != best_does)
        return suffices;
    return suffices ? relief->amount < best->amount : relief->amount > best->amount;
}

static void prefer(const struct rebalance_work *work, const struct relief *relief,
                   struct relief *best)
{
    if (is_better(work, relief, best))
        *best = *relief;
}

/* Whether a count may become one less, or one more, and still be the share rounded. */
static bool may_lose_one(struct ring_share share, unsigned count)
{
    return count > ring_share_floor(share);
}

static bool may_gain_one(struct ring_share share, unsigned count)
{
    return count < ring_share_ceiling(share);
}

/* Whether it is all right with the shares that `to` becomes first owner once more than `from`. */
static bool may_pass_first(const struct rebalance_work *work, unsigned from, unsigned to)
{
    const struct ring_share *shares = work->claim.shares.first;
    return may_lose_one(shares[from], work->first[from]) &&
           may_gain_one(shares[to], work->first[to]);
}

static bool may_pass_partition(const struct rebalance_work *work, unsigned from, unsigned to)
{
    const struct ring_shares *shares = &work->claim.shares;
    bool same_zone = shares->zone_of[from] == shares->zone_of[to];

    /* Across zones the sums of these would have to stay in their bounds too. */
    return same_zone && may_lose_one(shares->owned[from], work->claim.owned[from]) &&
           may_gain_one(shares->owned[to], work->claim.owned[to]);
}

/* Whether the first owners of the row, however many are looked at, are in as many zones as there
 * can be. */
static bool is_spread(const struct rebalance_work *work, const unsigned char *row)
{
    const struct ring_shares *shares = &work->claim.shares;
    unsigned zones = 0;

    for (unsigned i = 0; i < work->claim.wanted; i++) {
        bool is_new = true;
        for (unsigned j = 0; j < i; j++)
            is_new = is_new && shares->zone_of[row[j]] != shares->zone_of[row[i]];
        zones += is_new;
        if (zones < i + 1 && zones < shares->zone_count)
            return false;
    }
    return true;
}

/* Whether the row may have `to` at that place. */
static bool may_replace(struct rebalance_work *work, unsigned partition, unsigned place,
                        unsigned to)
{
    unsigned char row[RING_COPIES_MAX];

    memcpy(row, row_of(work, partition), work->claim.wanted);
    if (place_in(work, row, to) < work->claim.wanted)
        return false;
    row[place] = (unsigned char)to;
    return is_spread(work, row);
}

/* Whether these two of the row may change places. */
static bool may_swap(struct rebalance_work *work, unsigned partition, unsigned a, unsigned b)
{
    unsigned char row[RING_COPIES_MAX];

    memcpy(row, row_of(work, partition), work->claim.wanted);
    unsigned char owner = row[a];
    row[a] = row[b];
    row[b] = owner;
    return is_spread(work, row);
}

static void find_quiet(struct rebalance_work *work, struct quiet *quiet)
{
    memset(quiet->count, 0, sizeof quiet->count);
    for (unsigned n = 0; n < partitions_of(work); n++) {
        unsigned p = work->by_load[n];
        if (work->is_changed[p])
            continue;
        for (unsigned i = 0; i < work->claim.wanted; i++) {
            unsigned owner = row_of(work, p)[i];
            if (quiet->count[owner] < QUIET_PARTITIONS)
                quiet->partitions[owner][quiet->count[owner]++] = (uint16_t)p;
        }
    }
}

/* Reliefs by order: another owner of this partition becomes its first, and perhaps `from` in turn
 * that of another, quiet one. */
static void look_at_orders(struct rebalance_work *work, const struct rebalance_input *input,
                           const struct quiet *quiet, struct relief relief, struct relief *best)
{
    uint64_t amount = work->operations[relief.partition] * input->first_cost;

    relief.is_order = true;
    if (relief.place != 0)
        return;
    for (unsigned i = 1; i < work->claim.wanted; i++) {
        relief.to = row_of(work, relief.partition)[i];
        relief.to_place = i;
        relief.has_return = false;
        relief.amount = amount;
        if (!may_swap(work, relief.partition, 0, i))
            continue;
        if (may_pass_first(work, relief.from, relief.to))
            prefer(work, &relief, best);
        relief.has_return = true;
        for (unsigned n = 0; n < quiet->count[relief.to]; n++) {
            unsigned q = quiet->partitions[relief.to][n];
            unsigned place = place_in(work, row_of(work, q), relief.from);
            uint64_t back = work->operations[q] * input->first_cost;
            bool is_other = q != relief.partition && place < work->claim.wanted && back < amount;
            if (!is_other || row_of(work, q)[0] != relief.to || !may_swap(work, q, 0, place))
                continue;
            relief.back = q;
            relief.back_from_place = place;
            relief.amount = amount - back;
            prefer(work, &relief, best);
        }
    }
}

/* Whether, by exchanging these two places, first owners stay as many as they may be. */
static bool may_exchange_places(const struct rebalance_work *work, const struct relief *relief)
{
    bool passes = relief->place == 0;
    bool returns = relief->has_return && relief->back_place == 0;

    if (passes == returns)
        return true;
    return passes ? may_pass_first(work, relief->from, relief->to)
                  : may_pass_first(work, relief->to, relief->from);
}

/* Reliefs by giving the partition to somebody, without or with a quiet one in return. */
static void look_at_owners(struct rebalance_work *work, const struct rebalance_input *input,
                           const struct quiet *quiet, struct relief relief, bool has_return,
                           struct relief *best)
{
    uint64_t amount = load_at(work, input, relief.partition, relief.place);

    relief.has_return = has_return;
    for (relief.to = 0; relief.to < work->claim.table.member_count; relief.to++) {
        if (!is_able(work, relief.to) ||
            !may_replace(work, relief.partition, relief.place, relief.to))
            continue;
        relief.amount = amount;
        bool may_pass = may_pass_partition(work, relief.from, relief.to);
        if (!has_return && may_pass && may_exchange_places(work, &relief))
            prefer(work, &relief, best);
        for (unsigned n = 0; has_return && n < quiet->count[relief.to]; n++) {
            relief.back = quiet->partitions[relief.to][n];
            relief.back_place = place_in(work, row_of(work, relief.back), relief.to);
            uint64_t back = load_at(work, input, relief.back, relief.back_place);
            if (back >= amount || !may_replace(work, relief.back, relief.back_place, relief.from))
                continue;
            relief.amount = amount - back;
            if (may_exchange_places(work, &relief))
                prefer(work, &relief, best);
        }
    }
}

enum kind { BY_ORDER, BY_GIVING, BY_EXCHANGE };

/* The best relief of that kind among the hottest partitions of a member. */
static struct relief find_relief(struct rebalance_work *work, const struct rebalance_input *input,
                                 const struct quiet *quiet, unsigned from, enum kind kind)
{
    struct relief best = {.amount = 0};
    unsigned seen = 0;

    for (unsigned n = partitions_of(work); n > 0 && seen < HOT_PARTITIONS; n--) {
        unsigned p = work->by_load[n - 1];
        unsigned place = place_in(work, row_of(work, p), from);
        if (work->is_changed[p] || place == work->claim.wanted)
            continue;
        struct relief relief = {.from = from, .partition = p, .place = place};
        seen++;
        switch (kind) {
        case BY_ORDER: look_at_orders(work, input, quiet, relief, &best); break;
        case BY_GIVING: look_at_owners(work, input, quiet, relief, false, &best); break;
        case BY_EXCHANGE: look_at_owners(work, input, quiet, relief, true, &best); break;
        }
    }
    return best;
}

/* `from` passes its place in the row on. */
static void pass_on(struct rebalance_work *work, struct rebalance_report *report,
                    unsigned partition, unsigned place, unsigned to)
{
    unsigned char *row = row_of(work, partition);
    unsigned from = row[place];

    assert(!work->is_changed[partition]);
    assert(place_in(work, row, to) == work->claim.wanted);
    work->is_changed[partition] = true;
    row[place] = (unsigned char)to;
    work->claim.owned[from]--;
    work->claim.owned[to]++;
    report->moves++;
    if (place > 0)
        return;
    work->first[from]--;
    work->first[to]++;
    report->first_moves++;
}

/* Who is first in the row changes places with another. */
static void swap_first(struct rebalance_work *work, struct rebalance_report *report,
                       unsigned partition, unsigned place)
{
    unsigned char *row = row_of(work, partition);
    unsigned char first = row[0];

    assert(!work->is_changed[partition]);
    assert(place > 0);
    work->is_changed[partition] = true;
    row[0] = row[place];
    row[place] = first;
    work->first[first]--;
    work->first[row[0]]++;
    report->first_moves++;
}

static void apply(struct rebalance_work *work, const struct relief *relief,
                  struct rebalance_report *report)
{
    assert(work->load[relief->from] >= relief->amount);
    work->load[relief->from] -= relief->amount;
    work->load[relief->to] += relief->amount;
    assert(work->load[relief->to] <= work->limit[relief->to]);
    if (relief->is_order) {
        swap_first(work, report, relief->partition, relief->to_place);
        if (relief->has_return)
            swap_first(work, report, relief->back, relief->back_from_place);
    } else {
        pass_on(work, report, relief->partition, relief->place, relief->to);
        if (relief->has_return)
            pass_on(work, report, relief->back, relief->back_place, relief->from);
    }
}

/* Relieves a member once; false if it cannot be. */
static bool relieve(struct rebalance_work *work, const struct rebalance_input *input, unsigned from,
                    struct rebalance_report *report)
{
    struct quiet quiet;

    find_quiet(work, &quiet);
    for (enum kind kind = BY_ORDER; kind <= BY_EXCHANGE; kind++) {
        struct relief relief = find_relief(work, input, &quiet, from, kind);
        if (relief.amount == 0)
            continue;
        apply(work, &relief, report);
        return true;
    }
    return false;
}

enum rebalance_answer rebalance_next(struct rebalance_work *work,
                                     const struct rebalance_input *input, struct ring_table *next,
                                     struct rebalance_report *report)
{
    const struct ring_table *before = input->claim.before;

    assert(input->threshold_permille > 1000);
    assert(input->owner_cost + input->first_cost > 0);
    assert(input->owner_cost <= 100); /* so that loads fit */
    assert(input->first_cost <= 100);
    if (claim_next(&work->claim, &input->claim, next) != CLAIM_MET)
        return REBALANCE_NOT_SETTLED;
    uint64_t sum = scale_operations(work, input->operations);
    sort_partitions(work);
    memset(work->is_changed, 0, sizeof work->is_changed);
    measure(work, input, sum);
    set_worth(work, input);
    *report = (struct rebalance_report){.peak_before_permille = peak_permille(work)};
    for (int from; (from = busiest(work)) >= 0;)
        if (!relieve(work, input, (unsigned)from, report))
            work->is_stuck[from] = true;
    report->peak_after_permille = peak_permille(work);
    if (report->moves + report->first_moves == 0)
        return REBALANCE_DONE;
    ring_table_copy(next, before);
    next->version = (struct ring_version){before->version.epoch + 1, input->claim.claimant};
    memcpy(next->rows, work->claim.rows, RING_ROWS_BYTES(next->partition_bits, next->copies));
    assert(ring_table_is_sound(next));
    return REBALANCE_NEXT;
}
