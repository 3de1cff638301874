/* When which machine of hints and repair is stepped; node_repair.h says more. */
#include "server/node_repair.h"
#include "server/policy.h"
#include "server/settings.h"
#include <assert.h>
#include <stdlib.h>

/* What the workers added is taken up this often. */
#define TAKE_MS 50

/* What background work may send: at most as much as the wire of one machine to itself bears. */
static const struct budget_options budget_options = {
    .target_us = 5000,
    .tokens_min = (uint64_t)32 << 20,
    .tokens_max = (uint64_t)1 << 30,
    .tokens_step = (uint64_t)64 << 20,
    .share_percent = {50, 25, 25},
};

/* How soon a lost peer is noticed, at most. */
#define DETECTION_MS 10000
#define RETRY_MS     1000

/* --- its life --- */

struct repair *node_repair_new(struct node *node)
{
    const size_t partitions = (size_t)1 << settings.partition_bits;
    struct repair *repair = calloc(1, sizeof *repair);

    if (repair == NULL)
        return NULL;
    repair->node = node;
    hint_queue_init(&repair->queue, node->store, settings.hint_memory_bytes);
    repair_deferred_init(repair);
    cell_init(&repair->own, NULL, 0);
    repair->suspects = calloc(partitions, sizeof repair->suspects[0]);
    repair->contacts = calloc(partitions, sizeof repair->contacts[0]);
    if (repair_sync_new(repair) && repair->suspects != NULL && repair->contacts != NULL)
        return repair;
    node_repair_free(repair);
    return NULL;
}

void node_repair_free(struct repair *repair)
{
    if (repair == NULL)
        return;
    repair_hints_deinit(repair);
    repair_deferred_deinit(repair);
    repair_sync_free(repair);
    hint_queue_deinit(&repair->queue);
    arena_deinit(&repair->arena);
    free(repair->suspects);
    free(repair->contacts);
    free(repair->own.siblings);
    free(repair);
}

struct hint_queue *node_repair_hints(struct repair *repair)
{
    return &repair->queue;
}

static void start_aftercut(struct repair *repair)
{
    const struct aftercut_options options = {.retry_ms = (uint32_t)node_wait_ms(RETRY_MS),
                                             .grace_ms = settings.tombstone_grace_ms,
                                             .detection_ms = (uint32_t)node_wait_ms(DETECTION_MS)};
    const uint64_t wall_ms = node_wall_ms(repair->node);

    aftercut_init(&repair->aftercut, &options, ring_table_partitions(repair->table),
                  repair->suspects, repair->contacts, node_now_ms(repair->node), wall_ms,
                  wall_ms << 20);
}

void node_repair_start(struct node *node, bool is_founding)
{
    struct repair *repair = node->repair;
    const unsigned classes = policies_copies(NULL);

    assert(!repair->has_started);
    assert(node->table != NULL);
    assert(node->table->partition_bits == settings.partition_bits);
    repair->table = node->table;
    repair->copies_max = 31u - (unsigned)__builtin_clz(classes);
    budget_init(&repair->budget, &budget_options, node_now_ms(node));
    repair_hints_start(repair);
    start_aftercut(repair);
    repair->has_started = true;
    repair_sync_start(repair, is_founding);
}

/* --- this node at the moment --- */

struct exchange_view repair_view(const struct repair *repair)
{
    unsigned count;
    const struct merkle_forest *forests = cell_store_forests(repair->node->store, &count);

    return (struct exchange_view){.self = repair->node->id,
                                  .table = repair->table,
                                  .forests = forests,
                                  .forest_count = count,
                                  .takes =
                                      cell_store_has_room(repair->node->store) ? SIBLINGS_ALL : 0,
                                  .is_after_cut = aftercut_is_pending(&repair->aftercut),
                                  .suspects = repair->suspects,
                                  .is_filling = fill_is_active(&repair->fill)};
}

const struct peer_view *repair_views(struct repair *repair)
{
    const struct ring_table *table = repair->table;

    for (unsigned i = 0; i < table->member_count; i++) {
        const node_id id = table->members[i].id;

        repair->views[i] =
            (struct peer_view){.warming = warming_bitmap(&repair->warming, id),
                               .is_reachable = id == repair->node->id ||
                                               liveness_is_reachable(&repair->node->liveness, id)};
    }
    return repair->views;
}

/* --- what has changed --- */

/* Who can be asked, or owns what, is another matter now. */
static void look_around(struct repair *repair)
{
    repair_step_aftercut(repair, (struct aftercut_event){.type = AFTERCUT_TICK});
    repair_step_fill(repair, (struct fill_event){.type = FILL_TICK});
    repair_step_handoff(repair, (struct handoff_event){.type = HANDOFF_TICK});
    node_set_wake(repair->node);
}

void node_repair_table(struct node *node)
{
    struct repair *repair = node->repair;
    const struct ring_table *before = repair->table;

    if (!repair->has_started)
        return;
    repair->table = node->table;
    repair_hints_recheck(repair);
    repair_step_warming(repair,
                        (struct warming_event){.type = WARMING_TABLE, .table = node->table});
    repair_change_owned(repair, before);
    look_around(repair);
}

void node_repair_forget_gone(struct node *node)
{
    const struct membership *membership = &node->membership;
    struct repair *repair = node->repair;

    if (!repair->has_started)
        return;
    for (unsigned i = 0; i < membership->count; i++) {
        const node_id peer = membership->records[i].id;

        if (membership->records[i].status != MEMBER_GONE)
            continue;
        repair_step_warming(repair,
                            (struct warming_event){.type = WARMING_PEER_GONE, .peer = peer});
        repair_hints_step(repair, (struct hints_event){.type = HINTS_GONE, .target = peer});
    }
    repair_forget_syncs(repair);
    node_set_wake(node);
}

void node_repair_peer(struct node *node, node_id peer, bool is_reachable)
{
    struct repair *repair = node->repair;
    struct sync *sync;

    if (!repair->has_started)
        return;
    repair_step_warming(repair, (struct warming_event){.type = is_reachable ? WARMING_PEER_FOUND
                                                                            : WARMING_PEER_LOST,
                                                       .peer = peer});
    repair_hints_step(
        repair, (struct hints_event){.type = is_reachable ? HINTS_REACHABLE : HINTS_UNREACHABLE,
                                     .target = peer});
    sync = is_reachable ? NULL : repair_sync_with(repair, peer);
    if (sync != NULL)
        repair_step_sync(repair, sync, (struct sync_event){.type = SYNC_UNREACHABLE});
    look_around(repair);
}

void node_repair_ping(struct node *node, const struct peer_ping *ping)
{
    const node_id from = ping->ping.from;
    struct repair *repair = node->repair;
    struct sync *sync;

    if (!repair->has_started)
        return;
    repair_step_warming(
        repair, (struct warming_event){.type = WARMING_PING, .peer = from, .ping = &ping->ping});
    if (repair->fill.wanted_count > 0 && !fill_is_active(&repair->fill)) /* is it warm now? */
        repair_step_fill(repair, (struct fill_event){.type = FILL_TICK});
    sync = liveness_is_reachable(&node->liveness, from) ? repair_sync_with(repair, from) : NULL;
    if (sync != NULL)
        repair_step_sync(repair, sync,
                         (struct sync_event){.type = SYNC_HELLO, .hello = &ping->hello});
    node_set_wake(node);
}

void node_repair_hello(struct node *node, struct peer_ping *ping, node_id to)
{
    struct repair *repair = node->repair;
    struct sync *sync = repair->has_started ? repair_sync_with(repair, to) : NULL;

    ping->hello = (struct sync_hello){.from = node->id, .to = to};
    if (sync == NULL)
        return;
    repair_hints_take(repair);
    ping->ping.hints_left = hints_left(&repair->hints, to);
    ping->ping.hints_oldest_age_ms = hints_oldest_age_ms(&repair->hints, to, node_now_ms(node));
    ping->ping.warming = (struct slice){repair->warming_bytes,
                                        warming_encode(&repair->warming, repair->warming_bytes)};
    const struct exchange_view view = repair_view(repair);
    sync_make_hello(sync, &view, repair_wants_walk(repair, to), node_now_ms(node), &ping->hello);
}

void node_repair_message(struct node *node, node_id from, const struct peer_message *message)
{
    struct repair *repair = node->repair;

    if (!repair->has_started)
        return;
    if (message->type == PEER_HINT)
        repair_on_hint(repair, from, &message->hint);
    else if (message->type == PEER_HINT_ACK && message->hint_ack.from == from)
        repair_hints_step(
            repair,
            (struct hints_event){.type = HINTS_ACK, .target = from, .ack = &message->hint_ack});
    else
        repair_on_exchange(repair, from, message);
    node_set_wake(node);
}

void node_repair_latency(struct node *node, uint32_t us)
{
    if (node->repair->has_started)
        budget_sample(&node->repair->budget, us, node_now_ms(node));
}

/* --- when it is time --- */

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t node_repair_deadline_ms(const struct node *node)
{
    struct repair *repair = node->repair;
    uint64_t at_ms = repair->take_at_ms;

    if (!repair->has_started)
        return UINT64_MAX;
    if (repair_hints_is_rechecking(repair) || repair->scan_count > 0)
        return 0;
    at_ms = earliest(at_ms, budget_deadline_ms(&repair->budget));
    at_ms = earliest(at_ms, hints_deadline_ms(&repair->hints, repair_bucket(repair, BUDGET_HINTS)));
    at_ms = earliest(at_ms, repair_deferred_ms(repair));
    at_ms = earliest(at_ms, fill_deadline_ms(&repair->fill));
    at_ms = earliest(at_ms, handoff_deadline_ms(&repair->handoff));
    at_ms = earliest(at_ms, aftercut_deadline_ms(&repair->aftercut));
    for (unsigned i = 0; i < repair->sync_count; i++)
        at_ms = earliest(at_ms, sync_deadline_ms(repair->syncs[i]));
    return at_ms;
}

static void wake_syncs(struct repair *repair, uint64_t now_ms)
{
    for (unsigned i = 0; i < repair->sync_count; i++)
        if (sync_deadline_ms(repair->syncs[i]) <= now_ms)
            repair_step_sync(repair, repair->syncs[i], (struct sync_event){.type = SYNC_TICK});
}

void node_repair_wake(struct node *node)
{
    struct repair *repair = node->repair;
    const uint64_t now_ms = node_now_ms(node);

    if (!repair->has_started)
        return;
    if (repair->take_at_ms <= now_ms) {
        repair_hints_take(repair);
        repair->take_at_ms = now_ms + TAKE_MS;
    }
    if (repair_hints_is_rechecking(repair))
        repair_hints_go_on(repair);
    if (budget_deadline_ms(&repair->budget) <= now_ms)
        budget_step(&repair->budget, now_ms, NULL);
    if (hints_deadline_ms(&repair->hints, repair_bucket(repair, BUDGET_HINTS)) <= now_ms)
        repair_hints_step(repair, (struct hints_event){.type = HINTS_TICK});
    repair_answer_deferred(repair);
    if (fill_deadline_ms(&repair->fill) <= now_ms)
        repair_step_fill(repair, (struct fill_event){.type = FILL_TICK});
    if (handoff_deadline_ms(&repair->handoff) <= now_ms)
        repair_step_handoff(repair, (struct handoff_event){.type = HANDOFF_TICK});
    if (aftercut_deadline_ms(&repair->aftercut) <= now_ms)
        repair_step_aftercut(repair, (struct aftercut_event){.type = AFTERCUT_TICK});
    repair_scan_for_aftercut(repair);
    wake_syncs(repair, now_ms);
}

/* --- what is asked about it --- */

bool node_repair_is_busy(const struct node *node)
{
    const struct repair *repair = node->repair;

    if (!repair->has_started)
        return false;
    for (unsigned i = 0; i < RING_MEMBERS_MAX; i++) {
        const struct hints_target *target = hints_target_at(&repair->hints, i);

        if (target != NULL && target->is_reachable && target->count > 0)
            return true;
    }
    return false;
}

/* Cells of any kind, but for the hints that are on their way here. */
static bool holds_cells(const struct repair *repair)
{
    unsigned count;
    const struct merkle_forest *forests = cell_store_forests(repair->node->store, &count);

    if (repair->hints.count > 0)
        return true;
    for (unsigned i = 0; i < count; i++)
        for (unsigned p = 0; p < ring_table_partitions(repair->table); p++)
            if (merkle_cell_count(&forests[i].trees[p]) > 0)
                return true;
    return false;
}

bool node_is_holding(const struct node *node)
{
    const struct member_record *own = membership_find(&node->membership, node->id);
    const struct repair *repair = node->repair;

    return repair->has_started && own != NULL && own->status == MEMBER_LEAVING &&
           holds_cells(repair);
}

bool node_is_warming(const struct node *node)
{
    return node->repair->has_started && node->repair->warming.warming_count > 0;
}

const uint64_t *node_repair_warming(const struct node *node, node_id id)
{
    return node->repair->has_started ? warming_bitmap(&node->repair->warming, id) : NULL;
}
