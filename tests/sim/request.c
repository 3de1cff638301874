/* Commands that a node answers or passes on; node.h says more. */
#include "tests/sim/node.h"
#include "tests/sim/sim.h"
#include <assert.h>
#include <inttypes.h>

static void request_step(struct request *, struct coordinator_event);

static void on_timer(struct sim *sim, struct engine_entry *entry)
{
    struct request *request = ENGINE_OWNER(entry, struct request, timer);

    (void)sim;
    if (node_is_awake(request->node, entry))
        request_step(request, (struct coordinator_event){.type = COORDINATOR_TICK});
}

static void request_free(struct request *request)
{
    struct node *node = request->node;

    engine_set(&node->sim->engine, &request->timer, ENGINE_NEVER);
    *(request->previous != NULL ? &request->previous->next : &node->requests) = request->next;
    if (request->next != NULL)
        request->next->previous = request->previous;
    node->request_count--;
    cell_release(&request->cell);
    set_deinit(&request->heard);
    command_unref(request->command);
    free(request);
}

const struct peer_view *node_views(struct node *node)
{
    const struct ring_table *table = node->table;

    for (unsigned i = 0; i < table->member_count; i++) {
        node_id peer = table->members[i].id;
        node->views[i] =
            (struct peer_view){.warming = warming_bitmap(&node->background.warming, peer),
                               .hedge_ms = liveness_hedge_ms(&node->liveness, peer),
                               .is_reachable = liveness_is_reachable(&node->liveness, peer) ||
                                               node->sim->options.glue_break == BREAK_ASK_THE_DEAD};
    }
    return node->views;
}

static void note_trace(struct node *node, unsigned key, const struct ring_trace *trace)
{
    if (trace->used > 0)
        report_lines(node->sim, (int)node->index, key, trace->text);
}

/* Starts a request; `forward` brought it from another node, or is NULL. */
static void request_begin(struct node *node, struct command *command,
                          const struct forward_request *forward, unsigned from)
{
    struct sim *sim = node->sim;
    struct request *request = calloc(1, sizeof *request);

    if (request == NULL)
        abort();
    request->timer.run = on_timer;
    request->node = node;
    request->next = node->requests;
    if (node->requests != NULL)
        node->requests->previous = request;
    node->requests = request;
    node->request_count++;
    request->command = command_ref(command);
    request->is_from_client = forward == NULL;
    request->from = from;
    request->operation = node->next_operation++;
    request->id = forward != NULL ? forward->id : (struct request_id){node->id, request->operation};
    request->write = TRUTH_NO_WRITE;
    cell_init(&request->cell, NULL, 0);
    route_make(&request->coordinator.route, node->table, sim->keys[command->key].hash,
               sim->settings.copies, node->id, node_views(node));
    uint64_t deadline_ms =
        sim_now(sim) + (forward != NULL ? forward->budget_ms : sim->settings.deadline_ms);
    struct coordinator_start start = {.id = request->id,
                                      .operation = request->operation,
                                      .key_hash = sim->keys[command->key].hash,
                                      .class = command->class,
                                      .read_quorum = command->read_quorum,
                                      .write_quorum = command->write_quorum,
                                      .now_ms = sim_now(sim),
                                      .deadline_ms = deadline_ms,
                                      .wall_ms = node_wall_ms(node),
                                      .may_coordinate = true,
                                      .from = forward,
                                      .cell = &request->cell};
    coordinator_init(&request->coordinator, &start);
    request_step(request, (struct coordinator_event){.type = COORDINATOR_START});
}

void node_command(struct node *node, struct command *command)
{
    request_begin(node, command, NULL, node->index);
}

/* --- what a step wants done --- */

/* Whether a peer was found to be down just now: the machines hear so next. */
static bool is_known_dead(const struct node *node, node_id peer)
{
    const struct liveness_peer *known = liveness_find(&node->liveness, peer);

    return !liveness_is_reachable(&node->liveness, peer) &&
           (known == NULL || known->changed_ms == sim_now(node->sim));
}

/* False if it did not leave this node. */
static bool send_one(struct request *request, const struct request_send *send)
{
    struct node *node = request->node;
    struct network *network = &node->sim->network;
    struct message *message = NULL;

    switch (send->kind) {
    case SEND_FETCH_DIGEST:
    case SEND_FETCH_FULL:
        message = message_new(network, MESSAGE_FETCH);
        message->body.fetch = coordinator_fetch_request(&request->coordinator, send);
        break;
    case SEND_STORE:
    case SEND_REPAIR:
        message = message_new(network, MESSAGE_STORE);
        message->body.store = coordinator_store_request(&request->coordinator, send);
        message->body.store.cell = message_cell(message, message->body.store.cell);
        set_unite(&message->heard, &request->heard);
        break;
    case SEND_FORWARD:
        message = message_new(network, MESSAGE_FORWARD);
        message->body.forward =
            coordinator_forward_request(&request->coordinator, sim_now(node->sim));
        message->command = command_ref(request->command);
        break;
    }
    assert(message != NULL);
    message->key = request->command->key;
    message->asked_ms = sim_now(node->sim);
    if (is_known_dead(node, send->to) && node->sim->options.glue_break != BREAK_ASK_THE_DEAD) {
        message_drop(network, message);
        return false;
    }
    if (!liveness_is_reachable(&node->liveness, send->to))
        report_broken(node->sim, PROMISE_ANSWERED_ONCE, message->key,
                      "n%u asks node %" PRIu64 ", which it believes to be down", node->index + 1,
                      send->to);
    return node_send(node, message, send->to);
}

/* Tells whoever asked. */
static void answer(struct request *request, const struct request_effects *effects)
{
    struct node *node = request->node;
    struct command_answer said = {.answer = effects->answer,
                                  .result = request->result,
                                  .got = effects->got,
                                  .needed = effects->needed,
                                  .write = request->write,
                                  .cell = &request->cell};

    if (++request->answers > 1)
        report_broken(node->sim, PROMISE_ANSWERED_ONCE, request->command->key,
                      "n%u answers a request twice", node->index + 1);
    if (request->is_from_client) {
        if (node->sim->options.glue_break == BREAK_KEEP_QUIET && request->operation % 1000 == 0)
            return;
        workload_answer(node->sim, node->index, request->command, &said);
        if (node->sim->options.glue_break == BREAK_ANSWER_TWICE && request->write != TRUTH_NO_WRITE)
            workload_answer(node->sim, node->index, request->command, &said);
        return;
    }
    uint64_t saved = (uint64_t)request->write << 8 | request->result;
    outcomes_finish(&node->outcomes, request->id, effects->answer, effects->got, effects->needed,
                    saved);
    struct message *message = message_new(&node->sim->network, MESSAGE_FORWARD_REPLY);
    message->key = request->command->key;
    message->body.forward_reply = (struct forwarded_answer){
        {request->id, effects->answer, (uint16_t)effects->got, (uint16_t)effects->needed},
        request->result,
        request->write};
    network_send(node->sim, message, node->index, request->from);
}

/* Reads the own cell into the request's, which may hold what others said already. */
static void read_own(struct request *request)
{
    struct node *node = request->node;
    unsigned key = request->command->key;
    const struct cell *own = node_cell_fresh(node, key);

    if (own == NULL)
        return;
    cell_reserve(&request->cell, request->cell.sibling_count + own->sibling_count);
    cell_merge(&request->cell, own);
    set_unite(&request->heard, &node->sim->truth.keys[key].heard[node->index]);
}

static struct coordinator_event apply_own(struct request *request, node_id hint_for)
{
    struct coordinator_event event = {.type = COORDINATOR_APPLY_REFUSED};

    switch (node_apply(request, hint_for, &event.dot)) {
    case APPLY_WRITTEN: event.type = COORDINATOR_APPLIED; break;
    case APPLY_REGISTER:
        event.type = COORDINATOR_APPLIED;
        event.dot = (struct dot){NODE_NONE, 0};
        break;
    case APPLY_KEPT: event.type = COORDINATOR_KEPT; break;
    case APPLY_AGAIN: event.type = COORDINATOR_AGAIN; break;
    case APPLY_REFUSED: event.type = COORDINATOR_APPLY_REFUSED; break;
    }
    return event;
}

/* A replica had seen the dot: the same is written under one that comes after what it has seen. */
static struct coordinator_event rewrite_own(struct request *request, hlc_time after)
{
    struct node *node = request->node;
    struct truth *truth = &node->sim->truth;
    unsigned key = request->command->key;
    uint64_t wall_ms = node_wall_ms(node);
    uint64_t drift_max_ms = node->sim->settings.drift_max_ms;
    const struct truth_write *old = &truth->keys[key].writes[request->write];
    struct truth_write write = {.dot = old->dot,
                                .operation = old->operation,
                                .kind = old->kind,
                                .is_delete = old->is_delete};
    bool is_lww = old->kind == TRUTH_LAST_WINS;
    struct cell *own = store_make(&node->store, key, request->cell.sibling_count + 2);
    struct set known = {0};

    cell_reserve(&request->cell, own->sibling_count + request->cell.sibling_count + 2);
    set_copy(&known, &old->knows);
    set_add(&known, request->write);
    write.kind = is_lww ? TRUTH_LAST_WINS : TRUTH_CONTEXT;
    for (;;) {
        if (hlc_clock_merge(&node->hlc, after, wall_ms, drift_max_ms) != HLC_MERGED)
            break;
        struct dot fresh = {node->id, hlc_clock_next(&node->hlc, wall_ms)};
        enum replica_rewrite rewritten =
            replica_rewrite(own, &request->cell, write.dot, fresh, is_lww);
        if (rewritten == REPLICA_COVERED) {
            after = cell_clock(own);
            continue;
        }
        if (rewritten == REPLICA_REWRITTEN) {
            write.dot = fresh;
            request->write = truth_apply(node->sim, node->index, key, &write, &known);
            truth_hold(truth, node->index, key, own);
            set_copy(&request->heard, &truth->keys[key].heard[node->index]);
            report_line(node->sim, (int)node->index, key, "writes it again as write %u",
                        request->write);
        }
        node_cell_changed(node, key);
        set_deinit(&known);
        return (struct coordinator_event){
            .type = rewritten == REPLICA_REWRITTEN ? COORDINATOR_REWRITTEN : COORDINATOR_SUPERSEDED,
            .dot = fresh};
    }
    node_cell_changed(node, key);
    set_deinit(&known);
    return (struct coordinator_event){.type = COORDINATOR_REWRITE_REFUSED};
}

/* Carries out what the step wants.  True if `next` is an event that has to follow at once. */
static bool carry_out(struct request *request, const struct request_effects *effects,
                      node_id *unsent, unsigned *unsent_count, struct coordinator_event *next)
{
    struct node *node = request->node;
    bool follows = true;

    for (unsigned i = 0; i < effects->send_count; i++)
        if (!send_one(request, &effects->sends[i]))
            unsent[(*unsent_count)++ % REQUEST_SENDS_MAX] = effects->sends[i].to;
    if (effects->reads_own) {
        read_own(request);
        *next = (struct coordinator_event){.type = COORDINATOR_OWN_READ};
    }
    bool is_stand_in = effects->own_hint_for != NODE_NONE && !effects->applies;
    bool has_memory = is_stand_in || !effects->merges_own || !node_allocation_fails(node);
    if (effects->merges_own && has_memory)
        node_merge(node, request->command->key, &request->cell, &request->heard);
    if (effects->applies && !has_memory)
        *next = (struct coordinator_event){.type = COORDINATOR_APPLY_REFUSED};
    else if (effects->applies)
        *next = apply_own(request, effects->own_hint_for);
    else if (effects->rewrites)
        *next = rewrite_own(request, effects->rewrite_clock);
    else
        follows = effects->reads_own;
    if (is_stand_in && !node_owns(node, request->command->key))
        node_hint_add(node, request->command->key, effects->own_hint_for);
    if (effects->answers)
        answer(request, effects);
    if (!follows && *unsent_count > 0) {
        *next = (struct coordinator_event){.type = COORDINATOR_UNSENT,
                                           .from = unsent[--*unsent_count % REQUEST_SENDS_MAX]};
        follows = true;
    }
    return follows;
}

/* Whether all that `other` knows is known to `cell`. */
static bool knows_all(const struct cell *cell, const struct cell *other)
{
    struct context joined;

    for (unsigned i = 0; i < other->sibling_count; i++)
        if (cell_find(cell, other->siblings[i].dot) == NULL &&
            !cell_covers(cell, other->siblings[i].dot))
            return false;
    context_copy(&joined, &cell->context);
    context_join(&joined, &other->context);
    return context_equal(&joined, &cell->context);
}

/* If the step merged the cell that a message brought, what is known through that is known. */
static void note_heard(struct request *request)
{
    const struct message *message = request->message;

    request->message = NULL;
    if (message != NULL && knows_all(&request->cell, message->body.fetch_reply.cell))
        set_unite(&request->heard, &message->heard);
    if (request->cell.intervals_dropped > 0)
        request->node->sim->truth.keys[request->command->key].is_folded = true;
}

static void request_step(struct request *request, struct coordinator_event event)
{
    struct node *node = request->node;
    bool is_traced = report_wants(&node->sim->report, request->command->key);
    node_id unsent[REQUEST_SENDS_MAX];
    unsigned unsent_count = 0;
    struct request_effects effects;
    struct ring_trace trace;
    bool goes_on = true;

    effects.trace = is_traced ? &trace : NULL;
    while (goes_on) {
        ring_trace_clear(&trace);
        request_effects_clear(&effects);
        event.now_ms = sim_now(node->sim);
        coordinator_step(&request->coordinator, &event, &effects);
        note_trace(node, request->command->key, &trace);
        note_heard(request);
        goes_on = carry_out(request, &effects, unsent, &unsent_count, &event);
        if (effects.is_done) {
            request_free(request);
            return;
        }
    }
    engine_set(&node->sim->engine, &request->timer, coordinator_deadline_ms(&request->coordinator));
}

/* --- events --- */

static struct request *find_request(struct node *node, uint64_t operation)
{
    struct request *request = node->requests;

    while (request != NULL && request->operation != operation)
        request = request->next;
    return request;
}

void node_on_fetch_reply(struct node *node, const struct message *message)
{
    const struct fetch_reply *reply = &message->body.fetch_reply;
    struct request *request = find_request(node, reply->operation);
    node_id from = node->sim->nodes[message->from]->id;
    struct coordinator_event event = {
        .type = COORDINATOR_FETCH_REPLY, .from = from, .fetch = reply};

    if (request == NULL)
        return;
    if (reply->cell != NULL) {
        struct replica_now now = node_replica_now(node, request->command->key);
        if (node_allocation_fails(node) || !replica_admit(reply->cell, &now))
            event.type = COORDINATOR_LOST;
        cell_reserve(&request->cell,
                     coordinator_room(&request->coordinator, reply->cell->sibling_count));
        request->message = message;
    }
    request_step(request, event);
}

void node_on_store_reply(struct node *node, const struct message *message)
{
    struct request *request = find_request(node, message->body.store_reply.operation);

    if (request != NULL)
        request_step(request,
                     (struct coordinator_event){.type = COORDINATOR_STORE_REPLY,
                                                .from = node->sim->nodes[message->from]->id,
                                                .store = &message->body.store_reply});
}

static void refuse_forward(struct node *node, const struct message *message,
                           const struct outcome_entry *known)
{
    struct message *reply = message_new(&node->sim->network, MESSAGE_FORWARD_REPLY);
    struct forwarded_answer *body = &reply->body.forward_reply;

    reply->key = message->key;
    body->reply = (struct forward_reply){message->body.forward.id, ANSWER_REFUSED, 0, 0};
    body->write = TRUTH_NO_WRITE;
    if (known != NULL) {
        body->reply.answer = (enum request_answer)known->answer;
        body->reply.got = known->got;
        body->reply.needed = known->needed;
        body->result = (enum command_result)(known->saved & 0xff);
        body->write = (unsigned)(known->saved >> 8);
    }
    network_send(node->sim, reply, node->index, message->from);
}

void node_on_forward(struct node *node, const struct message *message)
{
    const struct outcome_entry *known;
    uint64_t saved;

    while (outcomes_expire(&node->outcomes, sim_now(node->sim), &saved))
        continue;
    switch (outcomes_begin(&node->outcomes, message->body.forward.id, sim_now(node->sim), &known)) {
    case OUTCOMES_NEW:
        request_begin(node, message->command, &message->body.forward, message->from);
        break;
    case OUTCOMES_RUNNING: break;
    case OUTCOMES_KNOWN: refuse_forward(node, message, known); break;
    case OUTCOMES_FULL: refuse_forward(node, message, NULL); break;
    }
}

void node_on_forward_reply(struct node *node, const struct message *message)
{
    const struct forwarded_answer *said = &message->body.forward_reply;
    struct request *request = node->requests;

    while (request != NULL && (request->id.origin != said->reply.id.origin ||
                               request->id.number != said->reply.id.number ||
                               request->coordinator.phase != COORDINATOR_FORWARDING))
        request = request->next;
    if (request == NULL)
        return;
    request->result = said->result;
    request->write = said->write;
    request_step(request, (struct coordinator_event){.type = COORDINATOR_FORWARD_REPLY,
                                                     .from = node->sim->nodes[message->from]->id,
                                                     .forward = &said->reply});
}

void node_requests_lose(struct node *node, node_id peer)
{
    for (struct request *next, *request = node->requests; request != NULL; request = next) {
        next = request->next; /* no step ends another request than its own */
        request_step(request, (struct coordinator_event){.type = COORDINATOR_LOST, .from = peer});
    }
}

void node_requests_drop(struct node *node)
{
    while (node->requests != NULL)
        request_free(node->requests);
}
