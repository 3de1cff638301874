#include "tests/unit/explore/history.h"
#include <assert.h>

static unsigned slot_of(struct dot dot)
{
    uint64_t mixed = (dot.node * 0x9e3779b97f4a7c15u) ^ (dot.hlc * 0xbf58476d1ce4e5b9u);

    return (unsigned)(mixed >> 40) % DOT_SLOTS;
}

/* Where a dot is, or the free slot where it would go. */
static unsigned find_slot(const struct history *history, struct dot dot)
{
    unsigned slot = slot_of(dot);

    while (history->slots[slot] != 0 &&
           dot_compare(history->dots[history->slots[slot] - 1], dot) != 0)
        slot = (slot + 1) % DOT_SLOTS;
    return slot;
}

unsigned truth_write_of(const struct history *history, struct dot dot)
{
    unsigned slot = find_slot(history, dot);

    assert(history->slots[slot] != 0);
    return history->slots[slot] - 1u;
}

/* Whether anybody but its coordinator still holds a write, or was shown it.  (Under last-write-wins
 * clients "know" of writes that they never met.) */
static bool is_heard_of(const struct history *history, unsigned write)
{
    for (unsigned node = 0; node < NODES; node++)
        if (history->replicas[node].id != history->dots[write].node &&
            cell_find(&history->replicas[node].cell, history->dots[write]) != NULL)
            return true;
    if (history_has(history, VARIANT_LAST_WRITE_WINS | VARIANT_MIXED))
        return false;
    for (unsigned client = 0; client < CLIENTS; client++)
        if (writes_has(&history->sessions[client].shown, write))
            return true;
    return false;
}

unsigned truth_add_write(struct history *history, struct dot dot)
{
    unsigned slot = find_slot(history, dot), write = history->write_count;

    assert(write < WRITES_MAX);
    if (history->slots[slot] != 0 && is_heard_of(history, history->slots[slot] - 1u))
        history->broken[PROMISE_ONE_WRITE_PER_DOT]++;
    history->slots[slot] = (uint16_t)(write + 1);
    history->dots[write] = dot;
    history->made_step[write] = history->step;
    history->write_count++;
    return write;
}

void truth_set_known(struct history *history, unsigned write, const struct writes *known)
{
    /* Or else a flush between the two would bring the older one back. */
    for (unsigned other = 0; other < write; other++)
        if (writes_has(known, other) && history->dots[other].hlc > history->dots[write].hlc)
            history->broken[PROMISE_TIME_FOLLOWS_CAUSE]++;
    history->knows[write] = *known;
    writes_unite(&history->superseded, known);
}

void truth_apply_last_write_wins(struct history *history, unsigned write, bool is_winning)
{
    hlc_time hlc = history->dots[write].hlc;

    for (unsigned other = 0; other < write; other++) {
        if (is_winning && history->dots[other].hlc < hlc) {
            writes_add(&history->knows[write], other);
            writes_add(&history->superseded, other);
        }
        if (writes_has(&history->all_winning, other) && history->dots[other].hlc > hlc) {
            writes_add(&history->knows[other], write);
            writes_add(&history->superseded, write);
        }
    }
    if (is_winning)
        writes_add(&history->all_winning, write);
}

struct writes truth_held(const struct history *history, const struct cell *cell)
{
    struct writes set = {{0}};

    for (unsigned i = 0; i < cell->sibling_count; i++)
        if (cell->siblings[i].kind != SIBLING_STUB)
            writes_add(&set, truth_write_of(history, cell->siblings[i].dot));
    return set;
}

void truth_unite_past(const struct history *history, struct writes *into, const struct writes *set)
{
    struct writes left = *set;

    writes_unite(into, set);
    for (unsigned write; (write = writes_take(&left)) < WRITES_MAX;)
        writes_unite(into, &history->knows[write]);
}

bool truth_lacks_live(const struct history *history, const struct cell *cell,
                      const struct writes *set)
{
    struct writes left = *set;

    writes_subtract(&left, &history->superseded);
    for (unsigned write; (write = writes_take(&left)) < WRITES_MAX;)
        if (history->dots[write].hlc > history->floor_most &&
            cell_find(cell, history->dots[write]) == NULL)
            return true;
    return false;
}

static bool same_siblings(const struct cell *a, const struct cell *b)
{
    struct cell_digest x = cell_state_digest(a);
    struct cell_digest y = cell_state_digest(b);

    if (a->sibling_count != b->sibling_count || x.low != y.low || x.high != y.high)
        return false;
    for (unsigned i = 0; i < a->sibling_count; i++)
        if (a->siblings[i].kind != b->siblings[i].kind ||
            a->siblings[i].value != b->siblings[i].value)
            return false;
    return true;
}

/* Whether any write of the set was superseded: by another one of it, or, where nobody forgets, by
 * any write at all.  Even there, what a node that was cut off wrote may come back if somebody who
 * saw it replaced it on the other side, and that was deleted and reaped: what was accepted since
 * the cut is kept.  And what a node dropped that nobody else had cannot hold down what it had
 * superseded. */
static bool has_superseded(const struct history *history, const struct writes *set)
{
    bool is_strict = history_has(history, VARIANT_KEEP) && !history->has_dropped_live;

    for (unsigned a = 0; a < history->write_count; a++) {
        if (!writes_has(set, a))
            continue;
        if (is_strict && writes_has(&history->superseded, a) &&
            !(history_has(history, VARIANT_REAP) && writes_has(&history->made_alone, a)))
            return true;
        for (unsigned b = 0; b < history->write_count; b++)
            if (writes_has(set, b) && writes_has(&history->knows[b], a))
                return true;
    }
    return false;
}

void truth_judge_end(struct history *history)
{
    const struct cell *first = &history->replicas[0].cell;
    bool is_folded = history_has(history, VARIANT_FOLD);

    for (unsigned node = 1; node < NODES; node++) {
        const struct cell *cell = &history->replicas[node].cell;
        if (!same_siblings(first, cell) || !context_equal(&first->context, &cell->context))
            history->broken[PROMISE_SAME_CELL]++;
    }
    struct writes left = truth_held(history, first);
    for (unsigned i = 0; i < first->sibling_count; i++)
        if (history_has(history, VARIANT_REAP) && first->siblings[i].kind == SIBLING_TOMBSTONE)
            writes_remove(&left, truth_write_of(history, first->siblings[i].dot)); /* no harm */
    /* What was dropped from a context may let an old version back in. */
    if (!is_folded && has_superseded(history, &left))
        history->broken[PROMISE_STAYS_SUPERSEDED]++;
    for (unsigned i = 0; i < first->sibling_count; i++)
        if (first->siblings[i].dot.hlc <= history->replicas[0].floor)
            history->broken[PROMISE_FLUSHED_IS_GONE]++;
}
