/* What is shown of hints and repair, and what an operator hurries on. */
#include "server/node_repair.h"

static void add_targets(const struct repair *repair, struct repair_stats *stats)
{
    const uint64_t now_ms = node_now_ms(repair->node);

    for (unsigned i = 0; i < RING_MEMBERS_MAX; i++) {
        const struct hints_target *target = hints_target_at(&repair->hints, i);

        if (target == NULL)
            continue;
        stats->targets[stats->target_count++] = (struct repair_stats_target){
            .id = target->id,
            .is_reachable = target->is_reachable,
            .hints = target->count,
            .bytes = target->bytes,
            .oldest_age_ms = hints_oldest_age_ms(&repair->hints, target->id, now_ms),
            .delivered = target->delivered,
            .expired = target->expired,
            .unowned = target->unowned};
    }
}

static void add_peers(const struct repair *repair, struct repair_stats *stats)
{
    for (unsigned i = 0; i < repair->sync_count; i++) {
        const struct sync *sync = repair->syncs[i];

        stats->peers[stats->peer_count++] =
            (struct repair_stats_peer){.id = sync->peer,
                                       .is_differing = sync->is_differing,
                                       .is_walking = sync->is_walking,
                                       .walks = sync->walks,
                                       .walks_fruitless = sync->walks_fruitless,
                                       .walks_abandoned = sync->walks_abandoned,
                                       .cells_taken = sync->cells_taken,
                                       .cells_given = sync->cells_given,
                                       .bytes_sent = sync->bytes_sent};
        stats->repair_cells_taken += sync->cells_taken;
        stats->repair_cells_given += sync->cells_given;
    }
}

void node_repair_stats(struct node *node, struct repair_stats *stats)
{
    struct repair *repair = node->repair;
    const struct exchange_view view = repair_view(repair);

    *stats = repair->stats;
    stats->hint_bytes = atomic_load(&repair->queue.bytes_used);
    stats->hint_bytes_max = repair->queue.bytes_max;
    stats->hints_refused = atomic_load(&repair->queue.refused);
    if (!repair->has_started)
        return;
    stats->hints = repair->hints.count;
    stats->fill_cells_taken = repair->fill.cells_taken;
    stats->fill_partitions_done = repair->fill.partitions_filled;
    stats->handoff_cells_given = repair->handoff.cells_given;
    stats->handoff_cells_left = handoff_cells_left(&view);
    stats->partitions_owned = warming_owned(&repair->warming);
    stats->partitions_warming = repair->warming.warming_count;
    stats->partitions_to_fill = repair->fill.wanted_count;
    stats->partitions_after_cut = repair->aftercut.pending_count;
    stats->budget_bytes_per_s = repair->budget.tokens_per_s;
    stats->foreground_p99_us = budget_p99_us(&repair->budget, node_now_ms(node));
    add_targets(repair, stats);
    add_peers(repair, stats);
}

void node_repair_now(struct node *node)
{
    struct repair *repair = node->repair;

    for (unsigned i = 0; i < repair->sync_count; i++)
        sync_hurry(repair->syncs[i]);
}

void node_handoff_now(struct node *node)
{
    if (!node->repair->has_started)
        return;
    handoff_hurry(&node->repair->handoff);
    node_set_wake(node);
}
