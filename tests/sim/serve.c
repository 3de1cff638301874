/* What a node does with its cells for others, and where memory comes from; node.h says more. */
#include "tests/sim/node.h"
#include "tests/sim/sim.h"
#include <assert.h>

bool node_allocation_fails(struct node *node)
{
    return node->failing_permille > 0 && random_below(&node->random, 1000) < node->failing_permille;
}

struct replica_now node_replica_now(struct node *node, unsigned key)
{
    unsigned partition = ring_table_partition(node->table, node->sim->keys[key].hash);

    return (struct replica_now){
        .clock = &node->hlc,
        .wall_ms = node_wall_ms(node),
        .drift_max_ms = node->sim->settings.drift_max_ms,
        .is_owner = node_owns(node, key),
        .has_room = !node->is_short_of_memory,
        .is_warming = !warming_is_warm(&node->background.warming, partition),
        .has_hint_room = node->background.hints.bytes_used + node->sim->settings.hint_bytes <=
                         node->sim->settings.hints.bytes_max};
}

void node_cell_drop(struct node *node, unsigned key)
{
    if (store_find(&node->store, key) != NULL)
        store_drop(&node->store, key);
    node_cell_changed(node, key);
}

void node_cell_changed(struct node *node, unsigned key)
{
    struct sim *sim = node->sim;
    struct cell *cell = store_find(&node->store, key);

    if (cell != NULL && cell->sibling_count == 0) {
        store_drop(&node->store, key);
        cell = NULL;
    }
    if (cell == NULL)
        node_hints_drop(node, key);
    node_repair_mark(node, key);
    if (cell == NULL)
        return;
    if (cell->intervals_dropped > 0)
        sim->truth.keys[key].is_folded = true;
    if (cell->sibling_count > sim->settings.siblings_max * (1 + sim->node_count))
        report_broken(sim, PROMISE_BOUNDED, key, "n%u holds %u siblings", node->index + 1,
                      cell->sibling_count);
    members_saw_cell(node, cell);
    report_cell(sim, (int)node->index, key, "holds", cell);
    truth_check_cell(sim, (int)node->index, key, cell, "held");
}

struct cell *node_cell_fresh(struct node *node, unsigned key)
{
    struct truth *truth = &node->sim->truth;
    struct cell *cell = store_find(&node->store, key);
    uint64_t wall_ms = node_wall_ms(node);

    if (cell == NULL)
        return NULL;
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        const struct sibling *sibling = &cell->siblings[i];
        if (sibling->kind == SIBLING_VALUE && sibling->reg.expires_ms != 0 &&
            sibling->reg.expires_ms <= wall_ms)
            truth_lose_value(truth, node->index, key, sibling->dot);
    }
    if (cell_expire(cell, wall_ms) > 0)
        node_cell_changed(node, key);
    return store_find(&node->store, key);
}

/* Keeps the cell as it is now, to compare with what becomes of it. */
static void remember(struct node *node, const struct cell *cell)
{
    cell_reserve(&node->scratch, cell->sibling_count);
    cell_copy(&node->scratch, cell);
}

/* The own cell is `own` now; it was what remember() was told, and another one was merged in. */
static void note_merged(struct node *node, unsigned key, const struct cell *other,
                        const struct set *heard)
{
    struct truth *truth = &node->sim->truth;
    struct cell *own = store_find(&node->store, key);

    set_unite(&truth->keys[key].heard[node->index], heard);
    truth_check_merge(node->sim, (int)node->index, key, &node->scratch, other, own);
    truth_hold(truth, node->index, key, own);
    node_cell_changed(node, key);
}

void node_merge(struct node *node, unsigned key, const struct cell *other, const struct set *heard)
{
    if (other->sibling_count == 0)
        return;
    struct cell *own = store_make(&node->store, key, other->sibling_count);
    remember(node, own);
    cell_merge(own, other);
    note_merged(node, key, other, heard);
}

bool node_take(struct node *node, unsigned key, const struct cell *other, const struct set *heard)
{
    struct replica_now now = node_replica_now(node, key);

    if (!replica_admit(other, &now) || node_allocation_fails(node))
        return false;
    node_merge(node, key, other, heard);
    return true;
}

void node_on_fetch(struct node *node, const struct message *message)
{
    const struct fetch_request *fetch = &message->body.fetch;
    struct message *reply = message_new(&node->sim->network, MESSAGE_FETCH_REPLY);
    unsigned key = sim_key_of(fetch->key_hash);
    struct replica_now now = node_replica_now(node, key);
    const struct cell *own = node_cell_fresh(node, key);
    struct cell nothing;

    cell_init(&nothing, NULL, 0);
    reply->key = key;
    reply->asked_ms = message->asked_ms;
    reply->body.fetch_reply = replica_fetch(own != NULL ? own : &nothing, fetch, &now);
    if (reply->body.fetch_reply.cell != NULL) {
        reply->body.fetch_reply.cell = message_cell(reply, reply->body.fetch_reply.cell);
        set_unite(&reply->heard, &node->sim->truth.keys[key].heard[node->index]);
    }
    network_send(node->sim, reply, node->index, message->from);
}

static struct replica_stored store(struct node *node, unsigned key, const struct message *message)
{
    const struct store_request *request = &message->body.store;
    struct replica_now now = node_replica_now(node, key);
    struct cell *own = store_make(&node->store, key, request->cell->sibling_count + 1);

    remember(node, own);
    struct replica_stored stored = replica_store(own, request, &now);
    if (stored.makes_hint && !node_hint_add(node, key, request->hint_for)) {
        cell_copy(own, &node->scratch);
        stored.reply.status = STORE_REFUSED_HINTS;
    }
    if (stored.reply.status == STORE_STORED)
        note_merged(node, key, request->cell, &message->heard);
    else
        node_cell_changed(node, key);
    return stored;
}

void node_on_store(struct node *node, const struct message *message)
{
    const struct store_request *request = &message->body.store;
    struct message *reply = message_new(&node->sim->network, MESSAGE_STORE_REPLY);
    unsigned key = sim_key_of(request->key_hash);
    struct replica_stored stored = {
        .reply = {request->operation, request->round, STORE_REFUSED_MEMORY, 0, false}};

    if (!node_allocation_fails(node))
        stored = store(node, key, message);
    reply->key = key;
    reply->asked_ms = message->asked_ms;
    reply->body.store_reply = stored.reply;
    network_send(node->sim, reply, node->index, message->from);
}

/* Evicts all values of a cell, one of its siblings, or the whole cell. */
void node_evict_some(struct node *node)
{
    struct truth *truth = &node->sim->truth;
    unsigned key = random_below(&node->random, node->sim->options.keys);
    struct cell *cell = store_find(&node->store, key);

    if (cell == NULL)
        return;
    unsigned dice = random_below(&node->random, 100);
    struct sibling *sibling = &cell->siblings[random_below(&node->random, cell->sibling_count)];
    report_event(&node->sim->report, 0x100 + dice, node->index, key);
    if (dice < 50) {
        report_line(node->sim, (int)node->index, key, "evicts: %u values become stubs",
                    cell->sibling_count);
        for (unsigned i = 0; i < cell->sibling_count; i++)
            if (cell->siblings[i].kind == SIBLING_VALUE)
                truth_lose_value(truth, node->index, key, cell->siblings[i].dot);
        cell_evict(cell);
        node_cell_changed(node, key);
    } else if (dice < 75 && cell->sibling_count > 1) {
        report_line(node->sim, (int)node->index, key, "forgets one sibling");
        truth_forget(truth, node->index, key, sibling->dot);
        cell_forget(cell, sibling);
        node_cell_changed(node, key);
    } else {
        report_line(node->sim, (int)node->index, key, "forgets the cell");
        truth_lose_cell(truth, node->index, key);
        node_cell_drop(node, key);
    }
}

void node_reap(struct node *node)
{
    struct sim *sim = node->sim;
    uint64_t grace_ms = sim->settings.tombstone_grace_ms;
    hlc_time before = cell_reap_before(node_wall_ms(node), grace_ms);

    if (sim->options.glue_break == BREAK_REAP_EARLY)
        before = hlc_of_ms(node_wall_ms(node) - grace_ms / 40);
    else if (before == node->reaped_before)
        return;
    node->reaped_before = before;
    for (unsigned key = 0; key < sim->options.keys; key++) {
        struct cell *cell = store_find(&node->store, key);
        if (cell == NULL || !cell_is_reapable(cell, before))
            continue;
        report_line(sim, (int)node->index, key, "reaps a tombstone");
        sim->reaped_ms = sim_now(sim);
        truth_reap(&sim->truth, node->index, key);
        node_cell_drop(node, key);
    }
}
