#include "tests/unit/explore/history.h"
#include <assert.h>

uint64_t replica_now_ms(const struct history *history, unsigned node)
{
    return 1 + (history->step + history->replicas[node].skew) / STEPS_PER_MS;
}

struct dot replica_next_dot(struct history *history, unsigned node)
{
    struct replica *replica = &history->replicas[node];

    return (struct dot){replica->id,
                        hlc_clock_next(&replica->clock, replica_now_ms(history, node))};
}

bool replica_merge_clock(struct history *history, unsigned node, hlc_time remote)
{
    uint64_t drift_ms = history->broken_rule == RULE_DRIFT ? HLC_MS_END : DRIFT_MAX_MS;

    return remote == 0 || hlc_clock_merge(&history->replicas[node].clock, remote,
                                          replica_now_ms(history, node), drift_ms) == HLC_MERGED;
}

void replica_drop_cell(struct replica *replica)
{
    cell_init(&replica->cell, replica->siblings, SIBLINGS);
    replica->heard = (struct writes){{0}};
}

void replica_fold(const struct history *history, struct cell *cell)
{
    if (history_has(history, VARIANT_FOLD))
        context_fold(&cell->context, FOLD_MAX);
}

/* Filters a cell by what the node knows of flushes, and checks that only flushed writes go. */
static bool flush_cell(struct history *history, unsigned node, struct cell *cell)
{
    struct writes held = truth_held(history, cell);
    bool is_changed = cell_flush(cell, history->replicas[node].floor) > 0;

    if (truth_lacks_live(history, cell, &held))
        history->broken[PROMISE_NOT_LOST]++;
    return is_changed;
}

void replica_apply_flush(struct history *history, unsigned node)
{
    struct replica *replica = &history->replicas[node];

    if (replica->flush_pending != 0 &&
        hlc_ms(replica->flush_pending) <= replica_now_ms(history, node))
        replica_hear_flush(history, node, replica->flush_pending, 0);
    if (flush_cell(history, node, &replica->cell) && replica->cell.sibling_count == 0)
        replica_drop_cell(replica);
}

void replica_hear_flush(struct history *history, unsigned node, hlc_time floor, hlc_time pending)
{
    struct replica *replica = &history->replicas[node];

    if (pending > replica->flush_pending)
        replica->flush_pending = pending;
    if (floor <= replica->floor)
        return;
    if (history->broken_rule != RULE_RAISE_CLOCK && !replica_merge_clock(history, node, floor))
        return; /* it comes again */
    replica->floor = floor;
    if (replica->flush_pending <= floor)
        replica->flush_pending = 0;
    if (floor > history->floor_most)
        history->floor_most = floor;
    if (flush_cell(history, node, &replica->cell) && replica->cell.sibling_count == 0)
        replica_drop_cell(replica);
}

/* Whether the later of the registers of each dot is in the result. */
static bool has_later_registers(const struct cell *result, const struct cell *part)
{
    for (unsigned i = 0; i < part->sibling_count; i++) {
        const struct sibling *after = cell_find(result, part->siblings[i].dot);
        if (after != NULL && after->reg.hlc < part->siblings[i].reg.hlc)
            return false;
    }
    return true;
}

void replica_merge(struct history *history, unsigned node, struct cell *into,
                   const struct cell *sent)
{
    struct sibling before_siblings[SIBLINGS], other_siblings[SIBLINGS];
    struct cell before, other;

    cell_init(&before, before_siblings, SIBLINGS);
    cell_copy(&before, into);
    cell_init(&other, other_siblings, SIBLINGS);
    cell_copy(&other, sent);
    if (history->broken_rule != RULE_FILTER_MERGES)
        flush_cell(history, node, &other);
    struct writes held = truth_held(history, into);
    struct writes theirs = truth_held(history, &other);
    writes_unite(&held, &theirs);
    cell_merge(into, &other);
    if (truth_lacks_live(history, into, &held))
        history->broken[PROMISE_NOT_LOST]++;
    if (!has_later_registers(into, &before) || !has_later_registers(into, &other))
        history->broken[PROMISE_LATEST_REGISTER]++;
    replica_fold(history, into);
}

/* Whether a new dot is one that the replica may not acknowledge: it would not keep it. */
static bool is_covered(const struct replica *replica, struct dot dot)
{
    return dot.hlc <= replica->floor ||
           (cell_covers(&replica->cell, dot) && cell_find(&replica->cell, dot) == NULL);
}

enum answer replica_send_cell(struct history *history, unsigned from, unsigned to,
                              const struct cell *cell, const struct writes *known, bool is_new,
                              struct dot dot)
{
    struct replica *sender = &history->replicas[from];
    struct replica *replica = &history->replicas[to];

    assert(from != to);
    if (!replica_merge_clock(history, to, sender->clock.last))
        return ANSWER_REFUSED;
    if (sender->clock.last > replica->ceilings[from])
        replica->ceilings[from] = sender->clock.last;
    replica_hear_flush(history, to, sender->floor, sender->flush_pending);
    replica_apply_flush(history, to);
    if (is_new && is_covered(replica, dot) && history->broken_rule != RULE_REFUSE_COVERED)
        return ANSWER_COVERED;
    replica_merge(history, to, &replica->cell, cell);
    if (replica->cell.sibling_count == 0)
        replica_drop_cell(replica);
    writes_unite(&replica->heard, known);
    return ANSWER_STORED;
}

enum answer replica_send(struct history *history, unsigned from, unsigned to, bool is_new,
                         struct dot dot)
{
    const struct replica *sender = &history->replicas[from];

    return replica_send_cell(history, from, to, &sender->cell, &sender->heard, is_new, dot);
}

bool replica_hears(const struct history *history, unsigned from, unsigned to)
{
    if (from == to || history->is_cut[from][to])
        return false;
    return history->broken_rule == RULE_RETURN_SILENT || !cuts_was_long(history, from) ||
           cuts_was_long(history, to);
}

bool replica_coordinates(const struct history *history, unsigned node)
{
    return !history->replicas[node].is_waiting;
}
