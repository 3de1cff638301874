#include "tests/unit/explore/history.h"
#include <assert.h>

#define TRIES_MAX 4 /* of a write that is refused as covered */

enum way { WAY_BLIND, WAY_CONTEXT, WAY_LAST_WRITE_WINS };

static struct sibling make_sibling(struct history *history, unsigned node, struct dot dot,
                                   bool is_delete)
{
    uint64_t expires_ms = 0;

    if (is_delete)
        return sibling_of_tombstone(dot);
    if (history_has(history, VARIANT_REGISTERS) && random_chance(&history->random, 30))
        expires_ms = replica_now_ms(history, node) + random_below(&history->random, 8);
    /* The value is the number that the write will have. */
    return sibling_of_value(dot, expires_ms, 0, 1, history->write_count, history->write_count);
}

static enum way draw_way(struct history *history)
{
    if (history_has(history, VARIANT_LAST_WRITE_WINS))
        return WAY_LAST_WRITE_WINS;
    if (history_has(history, VARIANT_MIXED) && random_chance(&history->random, 30))
        return WAY_LAST_WRITE_WINS;
    return random_chance(&history->random, 30) ? WAY_BLIND : WAY_CONTEXT;
}

static enum cell_put put_once(struct cell *cell, enum way way, const struct sibling *sibling,
                              const struct session *session)
{
    switch (way) {
    case WAY_BLIND: return cell_put_blind(cell, sibling);
    case WAY_CONTEXT: return cell_put_context(cell, sibling, &session->context);
    case WAY_LAST_WRITE_WINS: return cell_put_last_write_wins(cell, sibling);
    }
    return CELL_PUT_COVERED;
}

/* What the author of a write knew that the cell's own node coordinated. */
static struct writes known_to_author(const struct history *history, const struct replica *replica,
                                     enum way way, const struct session *session,
                                     const struct writes *before)
{
    struct writes knew = {{0}};

    switch (way) {
    case WAY_BLIND:
        /* What a node forgot together with its cell, it does not know any more: of its own earlier
         * writes it supersedes the dots, but not all that those had superseded.  Where nobody else
         * held such a write, what it had replaced may come back. */
        truth_unite_past(history, &knew, before);
        writes_unite(&knew, &replica->wrote);
        writes_unite(&knew, &replica->heard);
        break;
    case WAY_CONTEXT: knew = session->shown; break;
    case WAY_LAST_WRITE_WINS: break; /* it goes by time: truth_apply_last_write_wins() */
    }
    return knew;
}

static void note_write(struct history *history, unsigned node, struct dot dot, enum way way,
                       const struct writes *knew)
{
    struct replica *replica = &history->replicas[node];
    unsigned write = truth_add_write(history, dot);

    truth_set_known(history, write, knew);
    truth_apply_last_write_wins(history, write, way == WAY_LAST_WRITE_WINS);
    writes_add(&replica->wrote, write);
    writes_unite(&replica->heard, &history->knows[write]);
    writes_add(&replica->heard, write);
    if (cuts_is_cut_off(history, node))
        writes_add(&history->made_alone, write);
    if (dot.hlc <= replica->floor)
        history->broken[PROMISE_FLUSHED_IS_GONE]++;
}

/* Applies a write to the coordinator's own cell.  False if its clock is too far behind. */
static bool put_locally(struct history *history, unsigned node, enum way way, bool is_delete,
                        const struct session *session, struct dot *dot)
{
    struct replica *replica = &history->replicas[node];
    struct writes before = truth_held(history, &replica->cell);
    struct writes knew = known_to_author(history, replica, way, session, &before);
    enum cell_put result = CELL_PUT_COVERED;

    for (unsigned tries = 0; tries < 2 && result == CELL_PUT_COVERED; tries++) {
        if (tries > 0 && (!replica_merge_clock(history, node, cell_clock(&replica->cell)) ||
                          !replica_merge_clock(history, node, context_newest(&session->context))))
            return false;
        *dot = replica_next_dot(history, node);
        struct sibling sibling = make_sibling(history, node, *dot, is_delete);
        result = put_once(&replica->cell, way, &sibling, session);
    }
    assert(result == CELL_PUT_DONE);
    if (way == WAY_CONTEXT) {
        writes_subtract(&before, &session->shown);
        if (truth_lacks_live(history, &replica->cell, &before))
            history->broken[PROMISE_SHOWN_ONLY]++;
    }
    note_write(history, node, *dot, way, &knew);
    replica_fold(history, &replica->cell);
    return true;
}

/* Writes a refused dot once more, under one that comes after `clock`. */
static bool put_again(struct history *history, unsigned node, enum way way, hlc_time clock,
                      struct dot *dot)
{
    struct replica *replica = &history->replicas[node];
    const struct sibling *held = cell_find(&replica->cell, *dot);
    struct writes knew = {{0}}, first = {{0}};

    if (held == NULL || !replica_merge_clock(history, node, clock))
        return false;
    struct dot next = replica_next_dot(history, node);
    struct sibling sibling = held->kind == SIBLING_TOMBSTONE
                                 ? sibling_of_tombstone(next)
                                 : make_sibling(history, node, next, false);
    enum cell_put result = way == WAY_LAST_WRITE_WINS
                               ? cell_put_last_write_wins(&replica->cell, &sibling)
                               : cell_put_again(&replica->cell, &sibling, *dot);
    assert(result == CELL_PUT_DONE);
    if (cell_find(&replica->cell, *dot) != NULL)
        history->broken[PROMISE_STAYS_SUPERSEDED]++;
    writes_add(&first, truth_write_of(history, *dot));
    truth_unite_past(history, &knew, &first);
    *dot = next;
    note_write(history, node, next, way, &knew);
    replica_fold(history, &replica->cell);
    return true;
}

/* Sends a new write to the peers drawn.  Returns whether one refused it as covered, and with which
 * clock. */
static bool replicate(struct history *history, unsigned node, struct dot dot,
                      const bool is_drawn[NODES], hlc_time *clock)
{
    bool is_refused = false;

    for (unsigned peer = 0; peer < NODES; peer++) {
        if (!is_drawn[peer])
            continue;
        const struct replica *replica = &history->replicas[peer];
        enum answer answer = replica_send(history, node, peer, true, dot);
        hlc_time passed = cell_clock(&replica->cell);
        if (answer == ANSWER_STORED && cell_find(&replica->cell, dot) == NULL)
            history->broken[PROMISE_ACKED_IS_HELD]++;
        if (answer != ANSWER_COVERED)
            continue;
        is_refused = true;
        history->refused++;
        if (replica->floor > passed)
            passed = replica->floor;
        if (passed > *clock)
            *clock = passed;
    }
    return is_refused;
}

void step_put(struct history *history, unsigned node, const struct session *session)
{
    bool is_delete = history_has(history, VARIANT_TOMBSTONES) &&
                     random_chance(&history->random, history_has(history, VARIANT_REAP) ? 60 : 30);
    enum way way = draw_way(history);
    bool is_drawn[NODES];
    struct dot dot;
    hlc_time clock = 0;

    replica_apply_flush(history, node);
    if (!put_locally(history, node, way, is_delete, session, &dot))
        return;
    for (unsigned peer = 0; peer < NODES; peer++)
        is_drawn[peer] = random_chance(&history->random, 80) && replica_hears(history, node, peer);
    for (unsigned tries = 1; tries < TRIES_MAX; tries++)
        if (!replicate(history, node, dot, is_drawn, &clock) ||
            !put_again(history, node, way, clock, &dot))
            return;
}

/* Whether a cell shows what its reader's clock says has expired, or what it knows was flushed. */
static void check_shown(struct history *history, unsigned node, const struct cell *cell)
{
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        const struct sibling *sibling = &cell->siblings[i];
        if (sibling->kind != SIBLING_VALUE)
            continue;
        if (sibling->reg.expires_ms != 0 &&
            sibling->reg.expires_ms <= replica_now_ms(history, node))
            history->broken[PROMISE_EXPIRED_IS_HIDDEN]++;
        if (sibling->dot.hlc <= history->replicas[node].floor)
            history->broken[PROMISE_FLUSHED_IS_GONE]++;
    }
}

void step_get(struct history *history, unsigned node, struct session *session)
{
    struct sibling siblings[SIBLINGS];
    struct replica *replica = &history->replicas[node];
    bool is_alone = true;
    struct cell cell;

    replica_apply_flush(history, node);
    struct writes known = replica->heard;
    cell_init(&cell, siblings, SIBLINGS);
    cell_copy(&cell, &replica->cell);
    if (history->broken_rule == RULE_EXPIRE_MERGED)
        cell_expire(&cell, replica_now_ms(history, node));
    for (unsigned peer = 0; peer < NODES; peer++) {
        struct replica *other = &history->replicas[peer];
        if (random_chance(&history->random, 50) || !replica_hears(history, peer, node) ||
            !replica_merge_clock(history, node, other->clock.last))
            continue;
        is_alone = false;
        if (replica->clock.last > other->ceilings[node] && !replica->is_wrong)
            other->ceilings[node] = replica->clock.last; /* it was in what asked for the cell */
        if (other->clock.last > replica->ceilings[peer])
            replica->ceilings[peer] = other->clock.last;
        replica_hear_flush(history, node, other->floor, other->flush_pending);
        cell_flush(&cell, replica->floor);
        replica_merge(history, node, &cell, &other->cell);
        writes_unite(&known, &other->heard);
    }
    if (history->broken_rule != RULE_EXPIRE_MERGED)
        cell_expire(&cell, replica_now_ms(history, node));
    check_shown(history, node, &cell);
    /* Where clocks may be set back, what nobody else has heard of is shown to nobody: its dot may
     * be given again.  A read quorum of two does that. */
    if (is_alone && history_has(history, VARIANT_RESTART))
        return;
    cell_shown(&cell, &session->context);
    struct writes shown = truth_held(history, &cell);
    session->shown = (struct writes){{0}};
    truth_unite_past(history, &session->shown, &shown);
    if (random_chance(&history->random, 50)) { /* read repair, of its own cell */
        replica_merge(history, node, &replica->cell, &cell);
        writes_unite(&replica->heard, &known);
    }
}

void step_touch(struct history *history, unsigned node)
{
    struct replica *replica = &history->replicas[node];
    struct cell *cell = &replica->cell;
    uint64_t now_ms = replica_now_ms(history, node);

    replica_apply_flush(history, node);
    cell_expire(cell, now_ms);
    if (cell->sibling_count == 0)
        return;
    struct sibling *sibling = &cell->siblings[random_below(&history->random, cell->sibling_count)];
    struct sibling_register reg = sibling->reg;
    if (sibling->kind != SIBLING_VALUE)
        return; /* what is not shown cannot be touched */
    reg.hlc = hlc_clock_next(&replica->clock, now_ms);
    reg.expires_ms =
        random_chance(&history->random, 30) ? 0 : now_ms + random_below(&history->random, 12);
    reg.is_stale = random_chance(&history->random, 50);
    reg.explicit_cas = random_below(&history->random, 3);
    if (!sibling_set_register(sibling, &reg))
        history->broken[PROMISE_LATEST_REGISTER]++;
}

void step_expire(struct history *history, unsigned node)
{
    struct cell *cell = &history->replicas[node].cell;
    struct writes held = truth_held(history, cell);

    cell_expire(cell, replica_now_ms(history, node));
    if (truth_lacks_live(history, cell, &held))
        history->broken[PROMISE_NOT_LOST]++;
}

void step_forget_one(struct history *history, unsigned node)
{
    struct replica *replica = &history->replicas[node];
    struct cell *cell = &replica->cell;

    if (cell->sibling_count < 2)
        return;
    struct sibling *sibling = &cell->siblings[random_below(&history->random, cell->sibling_count)];
    writes_remove(&replica->heard, truth_write_of(history, sibling->dot));
    cell_forget(cell, sibling);
}

/* flush_all, at once or at a later time: every node that can be reached hears of it before the
 * client does. */
void step_flush(struct history *history, unsigned node)
{
    struct replica *replica = &history->replicas[node];
    hlc_time floor = 0, pending = 0;

    if (random_chance(&history->random, 50))
        pending = hlc_of_ms(replica_now_ms(history, node) + random_below(&history->random, 8));
    else
        floor = hlc_clock_next(&replica->clock, replica_now_ms(history, node));
    history->flushed++;
    replica_hear_flush(history, node, floor, pending);
    for (unsigned peer = 0; peer < NODES; peer++)
        if (replica_hears(history, node, peer))
            replica_hear_flush(history, peer, floor, pending);
}

/* A crash: cell and clock are lost, and the clock may be set back.  The node asks its peers which
 * clock they last saw of it; until all answered, or time enough has passed for its clock to be
 * past anything that it may have given, it coordinates nothing. */
void step_restart(struct history *history, unsigned node)
{
    struct replica *replica = &history->replicas[node];
    hlc_time ceiling = 0;

    replica_drop_cell(replica);
    replica->floor = replica->flush_pending = 0;
    replica->skew = random_below(&history->random, SKEW_MAX);
    replica->is_waiting = false;
    replica->restarted_step = history->step;
    hlc_clock_init(&replica->clock, 0);
    if (history->broken_rule == RULE_ASK_CEILING)
        return;
    for (unsigned peer = 0; peer < NODES; peer++) {
        if (peer == node)
            continue;
        if (history->is_cut[peer][node] || history->is_cut[node][peer])
            replica->is_waiting = true;
        else if (history->replicas[peer].ceilings[node] > ceiling)
            ceiling = history->replicas[peer].ceilings[node];
    }
    hlc_clock_init(&replica->clock, ceiling);
    /* What nobody has heard of is as if it had not been: its dot may be given again. */
    for (unsigned write = 0; write < history->write_count && !replica->is_waiting; write++)
        if (history->dots[write].hlc > ceiling)
            writes_remove(&replica->wrote, write);
}

void step_wrong_clock(struct history *history, unsigned node)
{
    for (unsigned other = 0; other < NODES; other++)
        if (history->replicas[other].is_wrong)
            return;
    history->replicas[node].is_wrong = true;
    history->replicas[node].skew += SKEW_WRONG;
}

void step_right_clock(struct history *history, unsigned node)
{
    struct replica *replica = &history->replicas[node];

    if (!replica->is_wrong)
        return;
    replica->is_wrong = false;
    replica->skew -= SKEW_WRONG;
    if (history->broken_rule == RULE_NEW_ACTOR) {
        hlc_clock_init(&replica->clock, 0);
        return;
    }
    replica->id += NODES;
    replica_drop_cell(replica);
    replica->wrote = (struct writes){{0}};
    hlc_clock_init(&replica->clock, 0);
}
