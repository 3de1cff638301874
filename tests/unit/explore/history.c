#include "tests/unit/explore/history.h"

static void note_bounds(struct history *history, const struct cell *cell)
{
    if (cell->context.count > history->intervals_most)
        history->intervals_most = cell->context.count;
    if (cell->sibling_count > history->siblings_most)
        history->siblings_most = cell->sibling_count;
}

/* What a variant has beside the steps of the model. */
static void take_step_of_variant(struct history *history, unsigned node)
{
    struct random *random = &history->random;

    if (history_has(history, VARIANT_REGISTERS) && random_chance(random, 10))
        step_touch(history, node);
    if (history_has(history, VARIANT_REGISTERS) && random_chance(random, 5))
        step_expire(history, node);
    if (history_has(history, VARIANT_FORGET_ONE) && random_chance(random, 5))
        step_forget_one(history, node);
    if (history_has(history, VARIANT_FLUSH) && random_chance(random, 2))
        step_flush(history, node);
    if (history_has(history, VARIANT_RESTART) && random_chance(random, 3))
        step_restart(history, node);
    if (history_has(history, VARIANT_WRONG_CLOCK) && random_chance(random, 2))
        step_wrong_clock(history, node);
    if (history_has(history, VARIANT_WRONG_CLOCK) && random_chance(random, 8))
        step_right_clock(history, node);
    if (history_has(history, VARIANT_REAP) && history->step % ROUND == 0)
        cuts_round(history);
}

static void check_clocks(struct history *history)
{
    for (unsigned node = 0; node < NODES; node++) {
        struct replica *replica = &history->replicas[node];
        uint64_t now_ms = replica_now_ms(history, node);
        /* What comes after the last count of a millisecond is in the next one. */
        if (!replica->is_wrong && hlc_ms(replica->clock.last) > now_ms + DRIFT_MAX_MS + 1)
            history->broken[PROMISE_CLOCK_WITHIN_DRIFT]++;
        if (replica->is_waiting && history->step >= replica->restarted_step + RESTART_WAIT)
            replica->is_waiting = false;
    }
}

/* How many of the chances to write are taken.  What is to come back, or to be reaped, has to be
 * left alone for some time. */
static unsigned write_percent(const struct history *history)
{
    if (history_has(history, VARIANT_REAP))
        return 8;
    return history_has(history, VARIANT_KEEP) && history_has(history, VARIANT_FLUSH) ? 15 : 100;
}

static void take_step(struct history *history)
{
    unsigned node = random_below(&history->random, NODES);
    unsigned peer = random_below(&history->random, NODES);
    struct replica *replica = &history->replicas[node];
    struct session *session = &history->sessions[random_below(&history->random, CLIENTS)];
    unsigned dice = random_below(&history->random, 100);

    cuts_move(history);
    take_step_of_variant(history, node);
    if (dice < 65 && !replica_coordinates(history, node))
        return;
    if (dice < 35) {
        if (random_chance(&history->random, write_percent(history)))
            step_put(history, node, session);
    } else if (dice < 65)
        step_get(history, node, session);
    else if (dice < 68) {
        if (!history_has(history, VARIANT_KEEP))
            replica_drop_cell(replica);
    } else if (dice < 71)
        cell_evict(&replica->cell);
    else if (replica_hears(history, node, peer)) /* a hint, or anti-entropy */
        replica_send(history, node, peer, false, (struct dot){0, 0});
    note_bounds(history, &replica->cell);
    check_clocks(history);
}

/* Everybody tells everybody; then all have to agree. */
static void settle(struct history *history)
{
    unsigned rounds = history_has(history, VARIANT_FOLD) ? 4 : 2;

    /* Nor is any clock so far ahead any more that its messages are refused. */
    memset(history->is_cut, 0, sizeof history->is_cut);
    history->step += 2 * DRIFT_MAX_MS * STEPS_PER_MS;
    for (unsigned node = 0; node < NODES; node++)
        step_right_clock(history, node);
    if (history_has(history, VARIANT_REAP))
        cuts_round(history);
    for (unsigned node = 0; node < NODES; node++)
        replica_apply_flush(history, node);
    for (unsigned round = 0; round < rounds; round++)
        for (unsigned a = 0; a < NODES; a++)
            for (unsigned b = 0; b < NODES; b++)
                if (a != b)
                    replica_send(history, a, b, false, (struct dot){0, 0});
    for (unsigned node = 0; node < NODES; node++)
        cell_expire(&history->replicas[node].cell, 1 + (history->step + SKEW_MAX) / STEPS_PER_MS);
    truth_judge_end(history);
}

void history_run(struct history *history, uint64_t seed, unsigned variant, enum rule broken_rule)
{
    memset(history, 0, sizeof *history);
    history->random.state = seed;
    history->variant = variant;
    history->broken_rule = broken_rule;
    for (unsigned node = 0; node < NODES; node++) {
        struct replica *replica = &history->replicas[node];
        replica_drop_cell(replica);
        replica->id = node + 1;
        if (history_has(history, VARIANT_SKEW))
            replica->skew = random_below(&history->random, SKEW_MAX);
    }
    for (history->step = 1; history->step < STEPS; history->step++)
        take_step(history);
    settle(history);
}
