#include "tests/sim/checks.h"
#include "tests/sim/node.h"
#include "tests/sim/sim.h"
#include <inttypes.h>

static void check_queues(struct sim *sim)
{
    for (unsigned i = 0; i < sim->node_count; i++)
        if (sim->nodes[i]->requests != NULL)
            report_broken(sim, PROMISE_BOUNDED, sim->nodes[i]->requests->command->key,
                          "n%u still works at a request that began long ago", i + 1);
}

static void check_all_take_part(struct sim *sim)
{
    for (unsigned i = 0; i < sim->node_count; i++)
        if (sim->nodes[i]->is_up && !sim->nodes[i]->has_begun)
            report_broken(sim, PROMISE_ONE_TABLE, TRUTH_NO_KEY,
                          "n%u is up and has found no table yet", i + 1);
}

static void check_hints(struct sim *sim)
{
    for (unsigned i = 0; i < sim->node_count; i++) {
        const struct hints *hints = &sim->nodes[i]->background.hints;
        if (sim->nodes[i]->is_up && hints->count > 0)
            report_broken(sim, PROMISE_HINTS_DRAINED, TRUTH_NO_KEY,
                          "n%u has %" PRIu64 " hints left", i + 1, hints->count);
        if (sim->nodes[i]->is_up && node_hints_lost(sim->nodes[i]) > 0)
            report_broken(sim, PROMISE_HINTS_DRAINED, TRUTH_NO_KEY,
                          "n%u dropped %" PRIu64 " hints without a word", i + 1,
                          node_hints_lost(sim->nodes[i]));
    }
}

static bool is_same_state(const struct cell *a, const struct cell *b)
{
    struct cell_digest x = cell_state_digest(a), y = cell_state_digest(b);

    return a->sibling_count == b->sibling_count && x.low == y.low && x.high == y.high;
}

/* All owners hold the same, and nobody else a copy.  Fills `merged` with what they hold. */
static void check_copies(struct sim *sim, unsigned key, struct cell *merged)
{
    const struct node *first = NULL;
    const struct cell *first_cell = NULL;

    for (unsigned i = 0; i < sim->node_count; i++) {
        struct node *node = sim->nodes[i];
        struct cell *cell = node->is_up ? store_find(&node->store, key) : NULL;
        if (!node->is_up)
            continue;
        if (!node_owns(node, key)) {
            if (cell != NULL)
                report_broken(sim, PROMISE_SAME_CELL, key, "n%u holds a copy and is no owner",
                              i + 1);
            continue;
        }
        if (first == NULL) {
            first = node;
            first_cell = cell;
        } else if ((cell == NULL) != (first_cell == NULL) ||
                   (cell != NULL && !is_same_state(cell, first_cell))) {
            report_broken(sim, PROMISE_SAME_CELL, key, "n%u and n%u hold different cells",
                          first->index + 1, i + 1);
        }
        if (cell != NULL) {
            cell_reserve(merged, merged->sibling_count + cell->sibling_count);
            cell_merge(merged, cell);
        }
    }
}

static void check_key(struct sim *sim, unsigned key)
{
    struct cell merged;

    cell_init(&merged, NULL, 0);
    check_copies(sim, key, &merged);
    truth_check_settled(sim, key, &merged);
    if (sim->keys[key].policy == POLICY_COUNTER)
        truth_check_counter(sim, key, &merged, sim->truth.keys[key].added, "settled");
    cell_release(&merged);
}

bool checks_settled(struct sim *sim)
{
    for (unsigned i = 0; i < sim->node_count; i++)
        if (sim->nodes[i]->is_up)
            node_reap(sim->nodes[i]); /* what some have reaped already */
    check_all_take_part(sim);
    members_check(sim);
    if (sim->report.broken != PROMISE_NONE)
        return false;
    check_queues(sim);
    check_hints(sim);
    for (unsigned key = 0; key < sim->options.keys; key++)
        check_key(sim, key);
    return sim->report.broken == PROMISE_NONE;
}

void checks_begin_idle(struct sim *sim)
{
    for (unsigned type = 0; type < MESSAGE_TYPES; type++)
        sim->network.sent_before[type] = sim->network.sent[type];
}

bool checks_idle(struct sim *sim)
{
    if (sim->reaped_ms + CHECKS_CALM_MS > sim->season_ms)
        return true; /* nodes reap one after the other, and see that they differ meanwhile */
    for (unsigned type = 0; type < MESSAGE_TYPES; type++)
        if (type != MESSAGE_PING && sim->network.sent[type] != sim->network.sent_before[type])
            report_broken(sim, PROMISE_IDLE_IS_SILENT, TRUTH_NO_KEY,
                          "%" PRIu64 " messages of the kind: %s",
                          sim->network.sent[type] - sim->network.sent_before[type],
                          message_name((enum message_type)type));
    return sim->report.broken == PROMISE_NONE;
}
