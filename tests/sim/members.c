#include "tests/sim/members.h"
#include "tests/sim/node.h"
#include "tests/sim/sim.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#define RETRY_MS 500
#define QUIET_MS 2000
#define ZONES    4

static struct claimant_config config_of(const struct node *node, node_id self)
{
    return (struct claimant_config){.self = self,
                                    .copies = node->sim->settings.copies,
                                    .partition_bits = node->sim->options.partition_bits,
                                    .ask_retry_ms = RETRY_MS,
                                    .quiet_ms = QUIET_MS};
}

static size_t rows_bytes(const struct sim *sim)
{
    return RING_ROWS_BYTES(sim->options.partition_bits, sim->settings.copies);
}

static void *room(size_t bytes)
{
    void *memory = calloc(1, bytes);

    if (memory == NULL)
        abort();
    return memory;
}

struct members *members_new(struct sim *sim)
{
    struct members *members = room(sizeof *members);

    membership_init(&members->membership);
    members->claimant_rows = room(2 * rows_bytes(sim));
    for (unsigned i = 0; i < 2; i++)
        members->rows[i] = room(rows_bytes(sim));
    return members;
}

void members_free(struct members *members)
{
    free(members->claimant_rows);
    for (unsigned i = 0; i < 2; i++)
        free(members->rows[i]);
    free(members);
}

/* --- messages --- */

static void send_claimant(struct node *node, const struct claimant_send *send)
{
    struct members *members = node->members;
    struct message *message = message_new(&node->sim->network, MESSAGE_CLAIMANT);
    struct claimant_message *body = message_room(message, sizeof *body);
    unsigned char *bytes =
        message_room(message, claimant_message_bytes(&members->claimant, send) + 1);

    claimant_compose(&members->claimant, send, bytes, body);
    message->body.claimant = body;
    node_send(node, message, send->to);
}

/* To a process, whoever it is: one that starts may not know its id yet. */
static void send_talk(struct node *node, unsigned to, const struct talk *talk)
{
    struct members *members = node->members;
    struct message *message = message_new(&node->sim->network, MESSAGE_TALK);
    struct talk *body = message_room(message, sizeof *body);

    *body = *talk;
    if (talk->type == TALK_ANSWER || talk->type == TALK_JOINED) {
        unsigned char *bytes =
            message_room(message, membership_encoded_bytes(&members->membership));
        body->membership = (struct slice){bytes, membership_encode(&members->membership, bytes)};
    }
    message->body.talk = body;
    network_send(node->sim, message, node->index, to);
}

/* Any other process. */
static unsigned any_other(struct node *node)
{
    unsigned count = node->sim->node_count;

    return (node->index + 1 + random_below(&node->random, count - 1)) % count;
}

/* --- the claimant --- */

static void take_table(struct node *node)
{
    struct members *members = node->members;
    unsigned next = 1 - members->current;

    ring_table_copy(&members->tables[next], claimant_table(&members->claimant));
    members->current = next;
    members->was_warm = false;
    report_event(&node->sim->report, 0x900, node->index, members->tables[next].version.epoch);
    node_change_table(node, &members->tables[next]);
}

static void step_claimant(struct node *node, struct claimant_event event)
{
    struct members *members = node->members;
    struct claimant_effects effects;
    struct ring_trace trace;

    event.now_ms = sim_now(node->sim);
    claimant_effects_init(&effects, node_trace(node, &trace));
    claimant_step(&members->claimant, &event, &effects);
    node_say(node, &trace);
    for (unsigned i = 0; i < effects.send_count; i++)
        send_claimant(node, &effects.sends[i]);
    if (effects.has_adopted)
        take_table(node);
    if (effects.membership_changed || event.type == CLAIMANT_ACTED)
        node_change_peers(node);
}

static void start_claimant(struct node *node, node_id self)
{
    struct members *members = node->members;
    struct claimant_config config = config_of(node, self);
    unsigned bits = node->sim->options.partition_bits, copies = node->sim->settings.copies;

    claimant_init(&members->claimant, &config, &members->membership, node->sim->claimant_work,
                  members->claimant_rows, rows_bytes(node->sim));
    for (unsigned i = 0; i < 2; i++)
        ring_table_init(&members->tables[i], bits, copies, members->rows[i], rows_bytes(node->sim));
    members->has_claimant = true;
    members->was_warm = members->is_holding = false;
}

void members_reach(struct node *node, node_id peer, bool is_reachable)
{
    step_claimant(node, (struct claimant_event){.type = is_reachable ? CLAIMANT_REACHABLE
                                                                     : CLAIMANT_UNREACHABLE,
                                                .from = peer});
}

void members_hear_ping(struct node *node, const struct ping *ping)
{
    if (ping->clock != 0)
        membership_saw_clock(&node->members->membership, ping->from, ping->clock);
    step_claimant(node,
                  (struct claimant_event){.type = CLAIMANT_PING, .from = ping->from, .ping = ping});
}

void members_fill_ping(const struct node *node, struct ping *ping)
{
    claimant_fill_ping(&node->members->claimant, ping);
}

void members_saw_cell(struct node *node, const struct cell *cell)
{
    struct membership *membership = &node->members->membership;

    for (unsigned i = 0; i < cell->sibling_count; i++)
        membership_saw_clock(membership, cell->siblings[i].dot.node, cell->siblings[i].dot.hlc);
    for (unsigned i = 0; i < cell->context.count; i++)
        if (hlc_is_valid(cell->context.intervals[i].last))
            membership_saw_clock(membership, cell->context.intervals[i].node,
                                 cell->context.intervals[i].last);
}

/* Tells the claimant what changed of this node's own part. */
void members_tell_warmth(struct node *node)
{
    struct members *members = node->members;
    bool is_warm = node->background.warming.warming_count == 0;
    bool is_holding = node_is_holding(node);

    if (is_warm == members->was_warm && is_holding == members->is_holding)
        return;
    members->was_warm = is_warm;
    members->is_holding = is_holding;
    if (is_warm && membership_set_warm(&members->membership, node->id) == MEMBERSHIP_DONE)
        step_claimant(node, (struct claimant_event){.type = CLAIMANT_ACTED});
    step_claimant(node, (struct claimant_event){
                            .type = CLAIMANT_WARMED, .is_warm = is_warm, .is_holding = is_holding});
}

/* --- an operator --- */

static enum membership_answer acted(struct node *node, enum membership_answer answer)
{
    if (answer == MEMBERSHIP_DONE)
        step_claimant(node, (struct claimant_event){.type = CLAIMANT_ACTED});
    return answer;
}

enum membership_answer members_leave(struct node *node, node_id id)
{
    return acted(node, membership_leave(&node->members->membership, id));
}

enum membership_answer members_remove(struct node *node, node_id id)
{
    return acted(node, membership_remove(&node->members->membership, id));
}

enum membership_answer members_set_weight(struct node *node, node_id id, uint32_t weight)
{
    return acted(node, membership_set_weight(&node->members->membership, id, weight));
}

bool members_has_gone(const struct node *node)
{
    const struct member_record *own = membership_find(&node->members->membership, node->id);
    return own != NULL && own->status == MEMBER_GONE;
}

/* --- it starts --- */

static struct member_record record_of(const struct node *node, node_id id)
{
    struct member_record record = {.id = id,
                                   .incarnation = CLOCK_START_MS + sim_now(node->sim),
                                   .weight = 1,
                                   .zone = node->index % ZONES};
    char name[16];
    int size = snprintf(name, sizeof name, "n%u", node->index + 1);

    if (!member_name_set(&record.name, (struct slice){(unsigned char *)name, (size_t)size}))
        abort();
    return record;
}

void members_found(struct node *node)
{
    struct members *members = node->members;
    struct sim *sim = node->sim;

    membership_init(&members->membership);
    for (unsigned i = 0; i < sim->options.nodes; i++) {
        struct member_record record = record_of(sim->nodes[i], sim->nodes[i]->id);
        record.status = MEMBER_UP;
        record.is_warm = true;
        membership_join(&members->membership, &record, NODE_NONE);
    }
    struct restart_config config = {.self = record_of(node, node->id)};
    restart_init_founding(&members->restart, &config);
    members->actors = 1;
    start_claimant(node, node->id);
    claimant_found(&members->claimant, 1, sim->options.partition_bits);
    members->current = 1;
    ring_table_copy(&members->tables[1], claimant_table(&members->claimant));
    node->table = &members->tables[1];
    node_begin(node, true);
}

static void step_restart(struct node *node, struct restart_event event)
{
    struct members *members = node->members;
    struct restart *restart = &members->restart;
    struct restart_effects effects = {0};
    struct ring_trace trace;
    struct talk talk = {.type = TALK_ASK, .ask = restart_ask_message(restart)};

    event.now_ms = sim_now(node->sim);
    event.wall_ms = node_wall_ms(node);
    event.membership = &members->membership;
    effects.trace = node_trace(node, &trace);
    restart_step(restart, &event, &effects);
    node_say(node, &trace);
    if (restart->id != NODE_NONE &&
        (!members->has_claimant || members->claimant.config.self != restart->id)) {
        node->id = restart->id;
        start_claimant(node, restart->id);
    }
    if (effects.begins_incarnation)
        membership_restart(&members->membership, restart->id, CLOCK_START_MS + sim_now(node->sim),
                           &(struct member_address){0});
    if (effects.asks_seeds)
        send_talk(node, any_other(node), &talk);
    for (unsigned i = 0; i < effects.ask_count; i++)
        send_talk(node, sim_index_of(effects.asks[i]), &talk);
    if (effects.joins_seeds)
        send_talk(node, any_other(node),
                  &(struct talk){.type = TALK_JOIN, .join = restart_join_message(restart)});
}

/* Takes part once it knows its past and has a table. */
static void begin_if_ready(struct node *node)
{
    struct members *members = node->members;
    const struct ring_table *table = claimant_table(&members->claimant);

    if (node->has_begun || !members->has_claimant || !restart_is_ready(&members->restart))
        return;
    if (table->version.epoch == 0)
        return;
    bool breaks = node->sim->options.glue_break == BREAK_REUSE_DOTS;
    hlc_clock_init(&node->hlc, breaks ? 0 : members->restart.ceiling);
    members->current = 1 - members->current;
    ring_table_copy(&members->tables[members->current], table);
    node->table = &members->tables[members->current];
    node_begin(node, false);
    step_claimant(node, (struct claimant_event){.type = CLAIMANT_ACTED});
}

void members_start(struct node *node)
{
    struct members *members = node->members;
    node_id fresh = node->index + 1 + (node_id)members->actors * SIM_ACTOR_IDS;
    struct restart_config config = {.self = record_of(node, fresh),
                                    .drift_max_ms = node->sim->settings.drift_max_ms,
                                    .retry_ms = RETRY_MS};

    members->actors++;
    members->has_claimant =
        false; /* the membership it knew is kept: servers have a file for that */
    restart_init(&members->restart, &config, sim_now(node->sim));
    members_wake(node);
}

void members_on_claimant(struct node *node, const struct message *message)
{
    if (!node->members->has_claimant)
        return;
    step_claimant(node, (struct claimant_event){.type = CLAIMANT_MESSAGE,
                                                .from = node->sim->nodes[message->from]->id,
                                                .message = message->body.claimant});
    begin_if_ready(node);
}

/* What another one knows of the cluster. */
static void merge_membership(struct node *node, struct slice bytes)
{
    struct membership *heard = &node->sim->claimant_work->heard;

    if (membership_decode(heard, bytes))
        membership_merge(&node->members->membership, heard);
}

static void on_join(struct node *node, unsigned from, const struct restart_join *join)
{
    struct members *members = node->members;
    struct talk talk = {.type = TALK_JOINED, .joined = {.id = join->joiner.id}};

    if (!members->has_claimant || !membership_has(&members->membership, node->id))
        return;
    talk.joined.answer =
        acted(node, membership_join(&members->membership, &join->joiner, join->replaces));
    send_talk(node, from, &talk);
}

void members_on_talk(struct node *node, const struct message *message)
{
    struct members *members = node->members;
    const struct talk *talk = message->body.talk;
    struct talk reply = {.type = TALK_ANSWER};
    node_id from = node->sim->nodes[message->from]->id;

    switch (talk->type) {
    case TALK_ASK:
        reply.answer = restart_answer_to(&members->membership, &talk->ask, !node->has_begun);
        send_talk(node, message->from, &reply);
        break;
    case TALK_JOIN: on_join(node, message->from, &talk->join); break;
    case TALK_ANSWER:
    case TALK_JOINED:
        if (node->has_begun)
            break;
        merge_membership(node, talk->membership);
        step_restart(node,
                     (struct restart_event){.type = talk->type == TALK_ANSWER ? RESTART_ANSWERED
                                                                              : RESTART_JOINED,
                                            .from = from,
                                            .answer = &talk->answer,
                                            .joined = &talk->joined});
        break;
    }
    begin_if_ready(node);
}

/* --- when it is woken --- */

void members_wake(struct node *node)
{
    struct members *members = node->members;
    uint64_t now_ms = sim_now(node->sim);

    if (restart_deadline_ms(&members->restart) <= now_ms)
        step_restart(node, (struct restart_event){.type = RESTART_TICK});
    if (members->has_claimant && claimant_deadline_ms(&members->claimant) <= now_ms)
        step_claimant(node, (struct claimant_event){.type = CLAIMANT_TICK});
    begin_if_ready(node);
}

uint64_t members_deadline_ms(const struct node *node)
{
    const struct members *members = node->members;
    uint64_t at_ms = restart_deadline_ms(&members->restart);

    if (members->has_claimant && claimant_deadline_ms(&members->claimant) < at_ms)
        at_ms = claimant_deadline_ms(&members->claimant);
    return at_ms;
}

/* --- promise 5 --- */

static void check_wanted(struct sim *sim, const struct node *node)
{
    struct ring_member members[RING_MEMBERS_MAX];
    struct claimant_work *work = sim->claimant_work;
    struct claim_input input = {.members = members,
                                .count = membership_claimers(&node->members->membership, members),
                                .copies = sim->settings.copies,
                                .claimant = node->id,
                                .before = node->table};

    if (claim_next(&work->claim, &input, &work->table) == CLAIM_NEXT)
        report_broken(sim, PROMISE_ONE_TABLE, TRUTH_NO_KEY,
                      "the table of n%u is not as its members should have it", node->index + 1);
}

void members_check(struct sim *sim)
{
    const struct node *first = NULL;

    for (unsigned i = 0; i < sim->node_count; i++) {
        const struct node *node = sim->nodes[i];
        if (!node->is_up || members_has_gone(node))
            continue;
        if (!node->has_begun) {
            report_broken(sim, PROMISE_ONE_TABLE, TRUTH_NO_KEY, "n%u does not take part yet",
                          i + 1);
            continue;
        }
        if (first == NULL) {
            first = node;
            check_wanted(sim, first);
        }
        if (ring_version_compare(node->table->version, first->table->version) != 0 ||
            !ring_table_same_content(node->table, first->table))
            report_broken(sim, PROMISE_ONE_TABLE, TRUTH_NO_KEY, "n%u and n%u have different tables",
                          first->index + 1, i + 1);
        if (node->members->membership.digest != first->members->membership.digest)
            report_broken(sim, PROMISE_ONE_TABLE, TRUTH_NO_KEY,
                          "n%u and n%u have different memberships", first->index + 1, i + 1);
    }
}
