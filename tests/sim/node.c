/* The lives of a node, its timers, what it hears, and liveness; node.h says more. */
#include "tests/sim/node.h"
#include "tests/sim/sim.h"
#include <assert.h>
#include <inttypes.h>

#define REAP_MS 500 /* between two looks for tombstones to reap */

static void on_wake(struct sim *, struct engine_entry *);

struct node *node_new(struct sim *sim, unsigned index)
{
    struct node *node = calloc(1, sizeof *node);

    if (node == NULL)
        abort();
    node->sim = sim;
    node->index = index;
    node->id = index + 1;
    node->life = 1;
    node->wake.run = on_wake;
    node->random = (struct random){random_next(&sim->random)};
    node->views = calloc(RING_MEMBERS_MAX, sizeof node->views[0]);
    if (node->views == NULL)
        abort();
    cell_init(&node->scratch, NULL, 0);
    store_init(&node->store, sim->options.keys);
    node->members = members_new(sim);
    node_repair_init(node);
    return node;
}

void node_free(struct node *node)
{
    node_requests_drop(node);
    for (unsigned key = 0; key < node->sim->options.keys; key++)
        node_hints_drop(node, key);
    node_repair_deinit(node);
    store_deinit(&node->store);
    cell_release(&node->scratch);
    members_free(node->members);
    free(node->views);
    free(node);
}

uint64_t node_wall_ms(const struct node *node)
{
    return clock_ms(&node->wall, sim_now(node->sim));
}

bool node_is_awake(struct node *node, struct engine_entry *entry)
{
    if (sim_now(node->sim) >= node->paused_until_ms)
        return true;
    engine_set(&node->sim->engine, entry, node->paused_until_ms);
    return false;
}

struct ring_trace *node_trace(const struct node *node, struct ring_trace *trace)
{
    ring_trace_clear(trace);
    return report_wants(&node->sim->report, REPORT_ALL_KEYS) ? trace : NULL;
}

void node_say(const struct node *node, const struct ring_trace *trace)
{
    if (trace->used > 0)
        report_lines(node->sim, (int)node->index, TRUTH_NO_KEY, trace->text);
}

bool node_is_member(const struct node *node)
{
    return node->has_begun && ring_table_find_member(node->table, node->id) >= 0;
}

bool node_takes_clients(const struct node *node)
{
    return node->is_up && sim_now(node->sim) >= node->paused_until_ms && node_is_member(node);
}

bool node_owns(const struct node *node, unsigned key)
{
    unsigned partition = ring_table_partition(node->table, node->sim->keys[key].hash);

    return ring_table_is_owner(node->table, partition, node->sim->settings.copies, node->id);
}

bool node_send(struct node *node, struct message *message, node_id to)
{
    struct sim *sim = node->sim;
    unsigned index = sim_index_of(to);

    if (index >= sim->node_count || index == node->index || sim->nodes[index]->id != to) {
        message_drop(&sim->network, message);
        return false;
    }
    network_send(sim, message, node->index, index);
    return true;
}

/* --- liveness --- */

static void send_ping(struct node *node, const struct ping *ping)
{
    struct message *message = message_new(&node->sim->network, MESSAGE_PING);

    message->body.ping.ping = *ping;
    message->body.ping.ping.clock = node->hlc.last;
    members_fill_ping(node, &message->body.ping.ping);
    node_repair_hello(node, message, ping->to);
    node_send(node, message, ping->to);
}

static void note_change(struct node *node, const struct liveness_change *change)
{
    report_event(&node->sim->report, 0x200 + change->type, node->index, change->peer);
    switch (change->type) {
    case LIVENESS_BECAME_REACHABLE:
        report_line(node->sim, (int)node->index, TRUTH_NO_KEY, "node %" PRIu64 " is reachable",
                    change->peer);
        node_repair_peer(node, change->peer, true);
        members_reach(node, change->peer, true);
        break;
    case LIVENESS_BECAME_UNREACHABLE:
        report_line(node->sim, (int)node->index, TRUTH_NO_KEY, "node %" PRIu64 " is unreachable",
                    change->peer);
        node_requests_lose(node, change->peer);
        node_repair_peer(node, change->peer, false);
        members_reach(node, change->peer, false);
        break;
    case LIVENESS_RESTARTED: node_requests_lose(node, change->peer); break;
    }
}

static void step_liveness(struct node *node, struct liveness_event event)
{
    struct liveness_effects effects;

    effects.trace = NULL;
    effects.send_count = effects.change_count = 0;
    effects.slept_ms = 0;
    event.now_ms = sim_now(node->sim);
    liveness_step(&node->liveness, &event, &effects);
    for (unsigned i = 0; i < effects.change_count; i++)
        note_change(node, &effects.changes[i]);
    for (unsigned i = 0; i < effects.send_count; i++)
        send_ping(node, &effects.sends[i]);
}

void node_link_changed(struct node *node, node_id peer, bool is_up)
{
    if (!node->has_begun || sim_now(node->sim) < node->paused_until_ms)
        return;
    step_liveness(node, (struct liveness_event){
                            .type = is_up ? LIVENESS_LINK_UP : LIVENESS_LINK_DOWN, .peer = peer});
    node_set_wake(node);
}

/* --- its timer --- */

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void node_set_wake(struct node *node)
{
    if (!node->has_begun) {
        engine_set(&node->sim->engine, &node->wake, members_deadline_ms(node));
        return;
    }
    if (members_has_gone(node)) {
        engine_set(&node->sim->engine, &node->wake, sim_now(node->sim));
        return;
    }
    members_tell_warmth(node);
    uint64_t at_ms = earliest(liveness_deadline_ms(&node->liveness), members_deadline_ms(node));
    at_ms = earliest(at_ms, node->reap_at_ms);
    at_ms = earliest(at_ms, node_repair_deadline_ms(node));
    engine_set(&node->sim->engine, &node->wake, at_ms);
}

static void on_wake(struct sim *sim, struct engine_entry *entry)
{
    struct node *node = ENGINE_OWNER(entry, struct node, wake);
    uint64_t now_ms = sim_now(sim);

    if (!node_is_awake(node, entry))
        return;
    if (node->has_begun && members_has_gone(node)) {
        report_line(sim, (int)node->index, TRUTH_NO_KEY, "is no member any more: stops");
        node->is_spare = true;
        node_crash(node, true);
        return;
    }
    members_wake(node);
    if (!node->has_begun) {
        node_set_wake(node);
        return;
    }
    while (liveness_deadline_ms(&node->liveness) <= now_ms)
        step_liveness(node, (struct liveness_event){.type = LIVENESS_TICK});
    node_repair_wake(node);
    if (node->reap_at_ms <= now_ms) {
        node_reap(node);
        node->reap_at_ms = now_ms + REAP_MS;
    }
    node_set_wake(node);
}

/* --- what it hears --- */

static void hear_reply(struct node *node, const struct message *message)
{
    uint64_t round_trip_ms = sim_now(node->sim) - message->asked_ms;

    step_liveness(node, (struct liveness_event){.type = LIVENESS_REPLY,
                                                .peer = node->sim->nodes[message->from]->id,
                                                .round_trip_us = (uint32_t)(1000 * round_trip_ms)});
}

void node_deliver(struct sim *sim, struct message *message)
{
    struct node *node = sim->nodes[message->to];

    if (!node->is_up || node->life != message->to_life)
        return;
    if (!node->has_begun && message->type != MESSAGE_CLAIMANT && message->type != MESSAGE_TALK)
        return;
    switch (message->type) {
    case MESSAGE_PING:
        step_liveness(node, (struct liveness_event){.type = LIVENESS_PING,
                                                    .peer = message->body.ping.ping.from,
                                                    .ping = &message->body.ping.ping});
        node_repair_ping(node, message->from, &message->body.ping);
        members_hear_ping(node, &message->body.ping.ping);
        break;
    case MESSAGE_FETCH: node_on_fetch(node, message); break;
    case MESSAGE_FETCH_REPLY:
        hear_reply(node, message);
        node_on_fetch_reply(node, message);
        break;
    case MESSAGE_STORE: node_on_store(node, message); break;
    case MESSAGE_STORE_REPLY:
        hear_reply(node, message);
        node_on_store_reply(node, message);
        break;
    case MESSAGE_FORWARD: node_on_forward(node, message); break;
    case MESSAGE_FORWARD_REPLY: node_on_forward_reply(node, message); break;
    case MESSAGE_HINT: node_on_hint(node, message); break;
    case MESSAGE_HINT_ACK: node_on_hint_ack(node, message); break;
    case MESSAGE_EXCHANGE: node_on_exchange(node, message); break;
    case MESSAGE_CLAIMANT:
        if (sim->options.glue_break != BREAK_DEAF || node->index > 0)
            members_on_claimant(node, message);
        break;
    case MESSAGE_TALK: members_on_talk(node, message); break;
    case MESSAGE_TYPES: assert(false);
    }
    node_set_wake(node);
}

/* --- its lives --- */

static void find_peers(struct node *node)
{
    const struct membership *membership = &node->members->membership;
    node_id peers[RING_MEMBERS_MAX];
    unsigned count = 0;

    for (unsigned i = 0; i < membership->count && count < RING_MEMBERS_MAX; i++)
        if (membership->records[i].status != MEMBER_GONE)
            peers[count++] = membership->records[i].id;
    liveness_set_peers(&node->liveness, peers, count, sim_now(node->sim));
}

void node_change_peers(struct node *node)
{
    if (!node->has_begun)
        return;
    find_peers(node);
    node_repair_forget_gone(node);
}

static void tell_links(struct node *node, bool is_up)
{
    struct sim *sim = node->sim;

    for (unsigned i = 0; i < sim->node_count; i++)
        if (i != node->index && network_is_healthy(&sim->network, node->index, i))
            node_link_changed(sim->nodes[i], node->id, is_up);
}

void node_start(struct node *node)
{
    assert(!node->is_up);
    report_event(&node->sim->report, 0x300, node->index, node->life);
    report_line(node->sim, (int)node->index, TRUTH_NO_KEY, "starts, with an empty memory");
    node->is_up = true;
    node->has_begun = false;
    node->started_ms = UINT64_MAX / 2; /* not yet */
    if (sim_now(node->sim) == 0)
        members_found(node);
    else
        members_start(node);
    node_set_wake(node);
}

void node_begin(struct node *node, bool is_founding)
{
    struct sim *sim = node->sim;
    uint64_t now_ms = sim_now(sim);
    uint64_t life_ms = membership_find(&node->members->membership, node->id)->incarnation;

    assert(!node->has_begun);
    report_line(sim, (int)node->index, TRUTH_NO_KEY, "takes part, as node %" PRIu64, node->id);
    node->has_begun = true;
    node->started_ms = now_ms;
    node->next_operation = (CLOCK_START_MS + now_ms) << 20;
    liveness_init(&node->liveness, node->id, life_ms, &sim->settings.liveness, now_ms);
    node_hints_start(node);
    node_repair_start(node, is_founding);
    find_peers(node);
    outcomes_init(&node->outcomes, node->outcome_entries, NODE_OUTCOMES,
                  2 * sim->settings.deadline_ms);
    node->reap_at_ms = now_ms + REAP_MS;
    node->reaped_before = 0;
    tell_links(node, true);
}

void node_crash(struct node *node, bool is_noticed)
{
    struct sim *sim = node->sim;

    assert(node->is_up);
    report_event(&sim->report, 0x301, node->index, node->life);
    report_line(sim, (int)node->index, TRUTH_NO_KEY, "crashes");
    node->is_up = false;
    node->has_begun = false;
    node->life++;
    node->paused_until_ms = 0;
    node_requests_drop(node);
    for (unsigned key = 0; key < sim->options.keys; key++) {
        truth_lose_cell(&sim->truth, node->index, key);
        node_hints_drop(node, key);
        node->store.cells[key].mark = 0;
        if (store_find(&node->store, key) != NULL)
            store_drop(&node->store, key);
    }
    engine_set(&sim->engine, &node->wake, ENGINE_NEVER);
    workload_lose_node(sim, node->index);
    if (is_noticed)
        tell_links(node, false);
}

void node_pause(struct node *node, uint64_t until_ms)
{
    report_line(node->sim, (int)node->index, TRUTH_NO_KEY, "stands still until %" PRIu64 " ms",
                until_ms);
    node->paused_until_ms = until_ms;
}
