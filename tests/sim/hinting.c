/* Hints for owners that are away; node.h says more. */
#include "tests/sim/node.h"
#include "tests/sim/sim.h"
#include <assert.h>
#include <inttypes.h>

void node_hints_start(struct node *node)
{
    struct background *background = &node->background;
    uint64_t first_number = (CLOCK_START_MS + sim_now(node->sim)) * 1000;

    background->hints_made = background->hints_ended = 0;
    hints_init(&background->hints, &node->sim->settings.hints, background->targets, SIM_NODES_MAX,
               first_number);
}

bool node_hint_add(struct node *node, unsigned key, node_id target)
{
    struct stored *stored = &node->store.cells[key];
    struct hint *hint = malloc(sizeof *hint);

    if (hint == NULL)
        abort();
    stored->hinted.key_hash = node->sim->keys[key].hash;
    switch (hints_add(&node->background.hints, &stored->hinted, hint, target,
                      node->sim->settings.hint_bytes, sim_now(node->sim))) {
    case HINTS_ADDED:
        node->background.hints_made++;
        report_line(node->sim, (int)node->index, key, "keeps a hint for %" PRIu64, target);
        return true;
    case HINTS_REPEATED: free(hint); return true;
    case HINTS_NO_ROOM: free(hint); return false;
    }
    return false;
}

bool node_holds_as_hint(const struct node *node, unsigned key)
{
    return node->store.cells[key].hinted.first != NULL && !node_owns(node, key);
}

uint64_t node_hints_lost(const struct node *node)
{
    const struct background *background = &node->background;

    return background->hints_made - background->hints_ended - background->hints.count;
}

void node_hints_drop(struct node *node, unsigned key)
{
    for (struct hint *hint; (hint = node->store.cells[key].hinted.first) != NULL;) {
        hints_drop(&node->background.hints, hint);
        free(hint);
        node->background.hints_ended++;
    }
}

static void deliver(struct node *node, const struct hints_deliver *deliver)
{
    unsigned key = sim_key_of(deliver->hint->cell->key_hash);
    struct message *message = message_new(&node->sim->network, MESSAGE_HINT);
    const struct cell *own = store_find(&node->store, key);

    assert(own != NULL);
    message->key = key;
    message->body.hint = (struct hint_delivery){.from = node->id,
                                                .to = deliver->target,
                                                .number = deliver->number,
                                                .key_hash = deliver->hint->cell->key_hash,
                                                .cell = message_cell(message, own)};
    set_unite(&message->heard, &node->sim->truth.keys[key].heard[node->index]);
    report_line(node->sim, (int)node->index, key, "sends the hint for %" PRIu64, deliver->target);
    node_send(node, message, deliver->target);
}

/* A cell that nobody needs here any more. */
static void drop_handed_over(struct node *node, unsigned key)
{
    report_line(node->sim, (int)node->index, key, "drops what it held for others");
    truth_hand_over(&node->sim->truth, node->index, key);
    node_cell_drop(node, key);
}

static void release(struct node *node, const struct hints_release *release)
{
    unsigned key = sim_key_of(release->hint->cell->key_hash);

    free(release->hint);
    node->background.hints_ended++;
    if (store_find(&node->store, key) == NULL)
        return;
    if (release->reason == HINTS_DELIVERED && node->store.cells[key].hinted.first == NULL &&
        !node_owns(node, key))
        drop_handed_over(node, key);
    else
        node_repair_mark(node, key); /* the owners get it by handoff */
}

static void forget_sent(struct node *node, const struct hints_effects *effects)
{
    for (unsigned i = 0; i < effects->deliver_count; i++) {
        unsigned key = sim_key_of(effects->delivers[i].hint->cell->key_hash);
        if (store_find(&node->store, key) == NULL || node_owns(node, key))
            continue;
        node->background.hints_made++; /* nobody was told that it ended */
        drop_handed_over(node, key);
    }
}

void node_hints_step(struct node *node, struct hints_event event)
{
    struct background *background = &node->background;
    struct token_bucket *bucket = budget_bucket(&background->budget, BUDGET_HINTS);
    struct hints_effects effects;

    event.bucket = bucket;
    event.now_ms = sim_now(node->sim);
    do {
        effects.trace = NULL;
        effects.deliver_count = effects.release_count = 0;
        hints_step(&background->hints, &event, &effects);
        for (unsigned i = 0; i < effects.deliver_count; i++)
            deliver(node, &effects.delivers[i]);
        for (unsigned i = 0; i < effects.release_count; i++)
            release(node, &effects.releases[i]);
        if (node->sim->options.glue_break == BREAK_FORGET_HINTS)
            forget_sent(node, &effects);
        event.type = HINTS_TICK;
    } while (effects.deliver_count + effects.release_count > 0 &&
             hints_deadline_ms(&background->hints, bucket) <= event.now_ms);
}

void node_on_hint(struct node *node, const struct message *message)
{
    const struct hint_delivery *hint = &message->body.hint;
    struct message *reply = message_new(&node->sim->network, MESSAGE_HINT_ACK);
    unsigned key = sim_key_of(hint->key_hash);
    struct hint_ack ack = {hint->to, hint->from, hint->number, HINT_STORED};

    if (!node_owns(node, key))
        ack.result = HINT_NOT_OWNER;
    else if (!node_take(node, key, hint->cell, &message->heard))
        ack.result = HINT_REFUSED;
    reply->body.hint_ack = ack;
    network_send(node->sim, reply, node->index, message->from);
}

void node_on_hint_ack(struct node *node, const struct message *message)
{
    node_hints_step(node, (struct hints_event){.type = HINTS_ACK,
                                               .target = message->body.hint_ack.from,
                                               .ack = &message->body.hint_ack});
}
