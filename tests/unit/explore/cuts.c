#include "tests/unit/explore/history.h"

/* Any messages of any pair may be cut, in one direction or both. */
static void move_anyhow(struct history *history)
{
    if (random_chance(&history->random, 3))
        for (unsigned a = 0; a < NODES; a++)
            for (unsigned b = 0; b < NODES; b++)
                history->is_cut[a][b] = random_chance(&history->random, 40);
    if (random_chance(&history->random, 3))
        memset(history->is_cut, 0, sizeof history->is_cut);
}

bool cuts_was_long(const struct history *history, unsigned node)
{
    return history_has(history, VARIANT_REAP) &&
           history->step - history->replicas[node].in_step >= GRACE - GRACE_MARGIN;
}

bool cuts_is_cut_off(const struct history *history, unsigned node)
{
    unsigned reached = 0;

    for (unsigned peer = 0; peer < NODES; peer++)
        if (!history->is_cut[node][peer] && !history->is_cut[peer][node])
            reached++;
    return 2 * reached <= NODES;
}

/* One node is cut off from the others, for a shorter or a longer time than the grace. */
static void move_one(struct history *history)
{
    unsigned alone = random_below(&history->random, 2 * NODES);

    if (alone < NODES && !cuts_is_cut_off(history, alone)) {
        struct replica *replica = &history->replicas[alone];
        replica->cut_step = history->step;
        replica->cut_hlc = replica->clock.last;
    }
    for (unsigned a = 0; a < NODES; a++)
        for (unsigned b = 0; b < NODES; b++)
            history->is_cut[a][b] = (a == alone) != (b == alone);
}

void cuts_move(struct history *history)
{
    if (!history_has(history, VARIANT_REAP))
        move_anyhow(history);
    else if (random_chance(&history->random, 2))
        move_one(history);
}

/* Whether any node that the others can rely on holds the dot. */
static bool is_held_elsewhere(const struct history *history, unsigned node, struct dot dot,
                              const bool is_relied_on[NODES])
{
    for (unsigned peer = 0; peer < NODES; peer++)
        if (peer != node && is_relied_on[peer] &&
            cell_find(&history->replicas[peer].cell, dot) != NULL)
            return true;
    return false;
}

/* A node that is back after a long cut drops what it held before and all others lack: they may
 * have deleted it, and reaped the tombstone.  It keeps tombstones: those bring nothing back, and a
 * late delete may be among them. */
static void come_back(struct history *history, unsigned node, const bool is_relied_on[NODES])
{
    struct replica *replica = &history->replicas[node];
    struct cell *cell = &replica->cell;

    for (unsigned i = cell->sibling_count; i > 0; i--) {
        struct sibling *sibling = &cell->siblings[i - 1];
        unsigned write = truth_write_of(history, sibling->dot);
        bool is_suspect = sibling->dot.hlc <= replica->cut_hlc;
        if (history->broken_rule == RULE_RETURN_KEEP)
            is_suspect = true;
        if (!is_suspect || sibling->kind == SIBLING_TOMBSTONE ||
            is_held_elsewhere(history, node, sibling->dot, is_relied_on))
            continue;
        if (!writes_has(&history->superseded, write)) {
            if (history->made_step[write] > replica->cut_step)
                history->broken[PROMISE_NOT_LOST]++;
            history->has_dropped_live = true;
        }
        writes_remove(&replica->heard, write);
        cell_forget(cell, sibling);
        history->dropped++;
    }
    if (cell->sibling_count == 0)
        replica_drop_cell(replica);
}

/* What readers of the newest are shown: a value's number + 1, or 0. */
static uint64_t newest_value(const struct cell *cell)
{
    const struct sibling *newest = cell_newest(cell, SIBLINGS_HELD);

    return newest != NULL && newest->kind == SIBLING_VALUE ? newest->value + 1 : 0;
}

static bool is_old(const struct sibling *sibling, hlc_time time)
{
    return sibling->kind == SIBLING_TOMBSTONE && sibling->dot.hlc < time;
}

static void reap(struct history *history, unsigned node)
{
    struct replica *replica = &history->replicas[node];
    struct cell *cell = &replica->cell;
    uint64_t now_ms = replica_now_ms(history, node), grace_ms = GRACE / STEPS_PER_MS;
    hlc_time time = now_ms > grace_ms ? hlc_of_ms(now_ms - grace_ms) : 0;

    if (history->broken_rule == RULE_REAP_LATE)
        time = HLC_END;
    if (history->broken_rule == RULE_REAP_ALONE) {
        uint64_t shown = newest_value(cell);
        for (unsigned i = cell->sibling_count; i > 0; i--)
            if (is_old(&cell->siblings[i - 1], time))
                cell_forget(cell, &cell->siblings[i - 1]);
        if (newest_value(cell) != shown)
            history->broken[PROMISE_STAYS_SUPERSEDED]++;
    } else if (cell_is_reapable(cell, time)) {
        replica_drop_cell(replica);
        history->reaped++;
    }
}

static void exchange_all(struct history *history)
{
    for (unsigned pass = 0; pass < 2; pass++)
        for (unsigned a = 0; a < NODES; a++)
            for (unsigned b = 0; b < NODES; b++)
                if (replica_hears(history, a, b))
                    replica_send(history, a, b, false, (struct dot){0, 0});
}

void cuts_round(struct history *history)
{
    bool is_relied_on[NODES];

    for (unsigned node = 0; node < NODES; node++) {
        replica_apply_flush(history, node);
        is_relied_on[node] = !cuts_is_cut_off(history, node) && !cuts_was_long(history, node);
    }
    for (unsigned node = 0; node < NODES; node++) {
        if (cuts_is_cut_off(history, node) || is_relied_on[node])
            continue;
        if (history->broken_rule != RULE_RETURN_DROP)
            come_back(history, node, is_relied_on);
        history->replicas[node].in_step = history->step;
    }
    exchange_all(history);
    for (unsigned node = 0; node < NODES; node++) {
        struct replica *replica = &history->replicas[node];
        if (cuts_is_cut_off(history, node) && history->broken_rule != RULE_REAP_TOGETHER)
            continue;
        reap(history, node);
        if (!cuts_is_cut_off(history, node))
            replica->in_step = history->step;
    }
}
