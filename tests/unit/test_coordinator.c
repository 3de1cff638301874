/* The coordinator among replicas: small clusters with one key, generated commands and faults.
 *
 * Virtual time, a network that delays, reorders, doubles and loses, nodes that are down, slow,
 * refuse, or have a wrong clock.  After every step the promises are checked; the first one broken
 * ends a case.  Built with RING_BREAK_... and COORDINATOR_BROKEN it has to find a broken one. */
#include "ring/coordinator.h"
#include "ring/outcomes.h"
#include "ring/replica.h"
#include "tests/unit/random.h"
#include <inttypes.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#ifndef COORDINATOR_BROKEN
#define COORDINATOR_BROKEN ((const char *)NULL)
#endif

#define NODES_MAX   7
#define ROOM        64
#define MESSAGES    512
#define OPERATIONS  64
#define DEADLINE_MS 400
#define HEDGE_MS    30
#define WALL_MS     1000000
#define DRIFT_MS    60000
#define KEY         0x1234567890abcdefu
#define DELAY_MS    10

enum command { COMMAND_GET, COMMAND_SET, COMMAND_PUT, COMMAND_INCR, COMMAND_DELETE, COMMAND_TOUCH };

struct node {
    node_id id;
    struct cell cell;
    struct sibling memory[ROOM];
    struct hlc_clock clock;
    uint64_t wall_offset_ms;
    struct outcomes outcomes;
    struct outcome_entry entries[16];
    struct peer_view views[NODES_MAX];
    uint64_t slow_ms;
    hlc_time floor; /* the latest flush it knows of */
    uint64_t warming;
    bool is_up, refuses_memory, refuses_hints;
};

struct operation {
    struct coordinator coordinator;
    struct cell cell;
    struct sibling memory[ROOM];
    struct request_effects effects;
    struct dot dot; /* what was applied; node NODE_NONE: nothing, or a register */
    uint64_t started_ms;
    unsigned node, reads;
    node_id reply_to; /* a command that was passed on; else NODE_NONE: the client's own */
    bool is_used;
};

enum message_kind { STORE, STORED, FETCH, FETCHED, FORWARD, FORWARDED };

struct message {
    bool is_used;
    uint64_t due_ms;
    unsigned from, to;
    enum message_kind kind;
    union {
        struct store_request store;
        struct store_reply stored;
        struct fetch_request fetch;
        struct fetch_reply fetched;
        struct forward_request forward;
        struct forward_reply forwarded;
    };
    struct cell cell;
    struct sibling memory[ROOM];
};

/* What the case is about. */
static struct {
    struct random random;
    unsigned nodes, copies, read_quorum, write_quorum;
    unsigned lose_percent, double_percent;
    uint64_t now_ms;
    uint64_t next_number;
    const char *broken; /* the promise, or NULL */
} world;

/* The client's only command at the time. */
static struct {
    enum command command;
    uint64_t value; /* to write; then what it heard */
    unsigned answers, applied;
    enum request_answer answer;
    uint64_t answered_ms;
} client;

static struct node nodes[NODES_MAX];
static struct operation operations[OPERATIONS];
static struct message messages[MESSAGES];
static unsigned char rows[RING_COPIES_MAX];
static struct ring_table table;

static void promise(bool is_kept, const char *name)
{
    if (!is_kept && world.broken == NULL)
        world.broken = name;
}

/* The network. */

static struct message *new_message(unsigned from, node_id to, enum message_kind kind)
{
    unsigned i = 0;

    while (i < MESSAGES && messages[i].is_used)
        i++;
    assert_true(i < MESSAGES);
    struct message *message = &messages[i];
    message->is_used = true;
    message->from = from;
    message->to = (unsigned)to - 1;
    message->kind = kind;
    message->due_ms = world.now_ms + 1 + random_below(&world.random, DELAY_MS) +
                      nodes[from].slow_ms + nodes[to - 1].slow_ms;
    cell_init(&message->cell, message->memory, ROOM);
    return message;
}

static void lose_or_double(struct message *message)
{
    if (random_chance(&world.random, world.lose_percent)) {
        message->is_used = false;
        return;
    }
    if (!random_chance(&world.random, world.double_percent))
        return;
    struct message *twin = new_message(message->from, message->to + 1, message->kind);
    uint64_t due_ms = twin->due_ms;
    *twin = *message;
    twin->due_ms = due_ms;
    twin->cell.siblings = twin->memory;
}

static void send_fetched(unsigned from, node_id to, struct fetch_reply reply)
{
    struct message *message = new_message(from, to, FETCHED);

    message->fetched = reply;
    if (reply.cell != NULL)
        cell_copy(&message->cell, reply.cell);
    lose_or_double(message);
}

/* Operations. */

static uint64_t wall_of(const struct node *node)
{
    return WALL_MS + world.now_ms + node->wall_offset_ms;
}

static struct replica_now replica_of(struct node *node)
{
    return (struct replica_now){.clock = &node->clock,
                                .wall_ms = wall_of(node),
                                .drift_max_ms = DRIFT_MS,
                                .flushed_up_to = node->floor,
                                .is_warming = node->warming != 0,
                                .is_owner = node->id <= world.copies,
                                .has_room = true,
                                .has_hint_room = !node->refuses_hints};
}

static struct dot next_dot(struct node *node)
{
    return (struct dot){node->id, hlc_clock_next(&node->clock, wall_of(node))};
}

/* The value that a reader is shown; 0 if there is none. */
static uint64_t shown_value(const struct cell *cell)
{
    const struct sibling *newest = cell_newest(cell, SIBLINGS_HELD);

    return newest != NULL && newest->kind == SIBLING_VALUE ? newest->value : 0;
}

static bool apply_put(struct node *node, struct operation *operation)
{
    struct sibling write;
    struct context shown;

    cell_shown(&node->cell, &shown);
    if (client.command == COMMAND_INCR)
        client.value = shown_value(&node->cell) + 1;
    write = sibling_of_value(next_dot(node), 0, 0, 8, client.value, client.value);
    if (client.command == COMMAND_DELETE)
        write = sibling_of_tombstone(write.dot);
    if (client.command == COMMAND_PUT)
        context_clear(&shown); /* a client that has seen nothing */
    operation->dot = write.dot;
    return (client.command == COMMAND_SET
                ? cell_put_blind(&node->cell, &write)
                : cell_put_context(&node->cell, &write, &shown)) == CELL_PUT_DONE;
}

/* Applies the client's command, and says what to report. */
static enum coordinator_event_type apply(struct operation *operation)
{
    struct node *node = &nodes[operation->node];
    const struct request_effects *effects = &operation->effects;

    if (node->refuses_memory || (effects->own_hint_for != NODE_NONE && node->refuses_hints))
        return COORDINATOR_APPLY_REFUSED;
    if (effects->merges_own && random_chance(&world.random, 10) && operation->reads++ == 0)
        return COORDINATOR_AGAIN;
    if (effects->merges_own)
        cell_merge(&node->cell, &operation->cell);
    if ((client.command == COMMAND_DELETE || client.command == COMMAND_TOUCH) &&
        shown_value(&node->cell) == 0) {
        client.value = 0;
        return COORDINATOR_KEPT;
    }
    client.applied++;
    if (client.command == COMMAND_TOUCH) {
        struct sibling *newest =
            cell_find(&node->cell, cell_newest(&node->cell, SIBLING_VALUE)->dot);
        struct sibling_register reg = newest->reg;
        reg.hlc = next_dot(node).hlc;
        reg.expires_ms = WALL_MS * 10;
        sibling_set_register(newest, &reg);
        operation->dot = (struct dot){NODE_NONE, 0};
        cell_copy(&operation->cell, &node->cell);
        cell_evict(&operation->cell);
        return COORDINATOR_APPLIED;
    }
    while (!apply_put(node, operation))
        assert_int_equal(
            hlc_clock_merge(&node->clock, cell_clock(&node->cell), wall_of(node), HLC_MS_END / 2),
            HLC_MERGED);
    cell_copy(&operation->cell, &node->cell);
    return COORDINATOR_APPLIED;
}

static enum coordinator_event_type rewrite(struct operation *operation)
{
    struct node *node = &nodes[operation->node];
    struct dot old = operation->dot;

    if (hlc_clock_merge(&node->clock, operation->effects.rewrite_clock, wall_of(node), DRIFT_MS) !=
        HLC_MERGED)
        return COORDINATOR_REWRITE_REFUSED;
    operation->dot = next_dot(node);
    switch (replica_rewrite(&node->cell, &operation->cell, old, operation->dot, false)) {
    case REPLICA_REWRITTEN: return COORDINATOR_REWRITTEN;
    case REPLICA_SUPERSEDED: operation->dot = old; return COORDINATOR_SUPERSEDED;
    case REPLICA_COVERED: break;
    }
    operation->dot = old;
    return COORDINATOR_REWRITE_REFUSED;
}

/* Nodes that have the write, or something newer. */
static unsigned holders(struct dot dot)
{
    unsigned count = 0;

    for (unsigned i = 0; i < world.nodes; i++)
        count += cell_covers(&nodes[i].cell, dot) || cell_find(&nodes[i].cell, dot) != NULL;
    return count;
}

static void check_answer(const struct operation *operation)
{
    const struct request_effects *effects = &operation->effects;

    client.answers++;
    client.answer = effects->answer;
    client.answered_ms = world.now_ms;
    promise(client.answers == 1, "answered once");
    promise(world.now_ms <= operation->started_ms + DEADLINE_MS, "answered in time");
    if (client.command == COMMAND_GET)
        client.value = effects->answer == ANSWER_DONE ? shown_value(&operation->cell) : 0;
}

static void check_send(const struct operation *operation, const struct request_send *send)
{
    const struct peer_view *view = &nodes[operation->node].views[send->to - 1];

    promise(send->to != nodes[operation->node].id, "nothing sent to oneself");
    promise(view->is_reachable || send->kind == SEND_REPAIR, "nobody down is asked");
    if (send->kind == SEND_STORE)
        promise((send->to > world.copies) == (send->hint_for != NODE_NONE),
                "a fallback has a hint");
    if (send->hint_for != NODE_NONE)
        promise(send->hint_for <= world.copies, "a hint is for an owner");
}

static void carry_out_sends(struct operation *operation)
{
    for (unsigned i = 0; i < operation->effects.send_count; i++) {
        const struct request_send *send = &operation->effects.sends[i];
        struct message *message = new_message(operation->node, send->to, STORE);
        check_send(operation, send);
        switch (send->kind) {
        case SEND_FETCH_DIGEST:
        case SEND_FETCH_FULL:
            message->kind = FETCH;
            message->fetch = coordinator_fetch_request(&operation->coordinator, send);
            break;
        case SEND_STORE:
        case SEND_REPAIR:
            message->store = coordinator_store_request(&operation->coordinator, send);
            promise(message->store.is_repair == (message->store.round >= WRITE_ROUNDS_MAX),
                    "the answer to a repair counts for no write");
            cell_copy(&message->cell, message->store.cell);
            break;
        case SEND_FORWARD:
            message->kind = FORWARD;
            message->forward = coordinator_forward_request(&operation->coordinator, world.now_ms);
            break;
        }
        lose_or_double(message);
    }
}

static void answer(struct operation *operation)
{
    const struct request_effects *effects = &operation->effects;
    struct request_id id = operation->coordinator.id;

    if (effects->answer == ANSWER_DONE && !effects->is_relayed && operation->dot.node != NODE_NONE)
        promise(holders(operation->dot) >= world.write_quorum, "acknowledged by W");
    if (operation->reply_to == NODE_NONE) {
        check_answer(operation);
        return;
    }
    outcomes_finish(&nodes[operation->node].outcomes, id, effects->answer, effects->got,
                    effects->needed, 1);
    struct message *message = new_message(operation->node, operation->reply_to, FORWARDED);
    message->forwarded = (struct forward_reply){id, effects->answer, (uint16_t)effects->got,
                                                (uint16_t)effects->needed};
    lose_or_double(message);
}

/* Steps an operation, and carries out what that says, until nothing is left to report. */
static void step(struct operation *operation, struct coordinator_event event)
{
    struct node *node = &nodes[operation->node];
    struct request_effects *effects = &operation->effects;
    bool is_more = true;

    while (is_more) {
        is_more = false;
        event.now_ms = world.now_ms;
        coordinator_step(&operation->coordinator, &event, effects);
        carry_out_sends(operation);
        event.type = COORDINATOR_TICK;
        cell_flush(&node->cell, node->floor);
        if (effects->reads_own) {
            cell_merge(&operation->cell, &node->cell);
            event.type = COORDINATOR_OWN_READ;
        } else if (effects->applies) {
            event.type = apply(operation);
            event.dot = operation->dot;
        } else if (effects->merges_own) {
            cell_merge(&node->cell, &operation->cell);
        } else if (effects->rewrites) {
            event.type = rewrite(operation);
            event.dot = operation->dot;
        }
        is_more = event.type != COORDINATOR_TICK;
        if (effects->answers)
            answer(operation);
    }
    if (effects->is_done)
        operation->is_used = false;
    promise(effects->is_done || coordinator_deadline_ms(&operation->coordinator) > world.now_ms,
            "no tick is asked for in the past");
}

static const enum request_class class_of[] = {
    [COMMAND_GET] = REQUEST_READ,       [COMMAND_SET] = REQUEST_BLIND,
    [COMMAND_PUT] = REQUEST_CONTEXT,    [COMMAND_INCR] = REQUEST_DECIDED,
    [COMMAND_DELETE] = REQUEST_DECIDED, [COMMAND_TOUCH] = REQUEST_DECIDED};

static void start(unsigned at, struct request_id id, const struct forward_request *from,
                  node_id reply_to)
{
    unsigned i = 0;

    while (i < OPERATIONS && operations[i].is_used)
        i++;
    assert_true(i < OPERATIONS);
    struct operation *operation = &operations[i];
    operation->is_used = true;
    operation->node = at;
    operation->reads = 0;
    operation->reply_to = reply_to;
    operation->dot = (struct dot){NODE_NONE, 0};
    operation->started_ms = world.now_ms;
    operation->effects.trace = NULL;
    cell_init(&operation->cell, operation->memory, ROOM);
    route_make(&operation->coordinator.route, &table, KEY, world.copies, nodes[at].id,
               nodes[at].views);
    coordinator_init(
        &operation->coordinator,
        &(struct coordinator_start){.id = id,
                                    .operation = i + OPERATIONS * world.next_number++,
                                    .key_hash = KEY,
                                    .class = class_of[client.command],
                                    .read_quorum = world.read_quorum,
                                    .write_quorum = world.write_quorum,
                                    .now_ms = world.now_ms,
                                    .deadline_ms = world.now_ms +
                                                   (from == NULL ? DEADLINE_MS : from->budget_ms),
                                    .wall_ms = wall_of(&nodes[at]),
                                    .flushed_up_to = nodes[at].floor,
                                    .may_coordinate = true,
                                    .from = from,
                                    .cell = &operation->cell});
    step(operation, (struct coordinator_event){.type = COORDINATOR_START});
}

/* Deliveries. */

static void on_forward(const struct message *message)
{
    struct node *node = &nodes[message->to];
    const struct outcome_entry *known;

    switch (outcomes_begin(&node->outcomes, message->forward.id, world.now_ms, &known)) {
    case OUTCOMES_NEW:
        start(message->to, message->forward.id, &message->forward, nodes[message->from].id);
        break;
    case OUTCOMES_KNOWN: {
        struct message *reply = new_message(message->to, nodes[message->from].id, FORWARDED);
        reply->forwarded = (struct forward_reply){known->id, (enum request_answer)known->answer,
                                                  known->got, known->needed};
        break;
    }
    case OUTCOMES_RUNNING: break;
    case OUTCOMES_FULL: fail();
    }
}

static void on_store(const struct message *message)
{
    struct node *node = &nodes[message->to];
    struct replica_now now = replica_of(node);
    struct store_request request = message->store;
    struct store_reply reply = {request.operation, request.round, STORE_REFUSED_MEMORY, 0, false};

    request.cell = &message->cell;
    if (!node->refuses_memory)
        reply = replica_store(&node->cell, &request, &now).reply;
    struct message *answer = new_message(message->to, nodes[message->from].id, STORED);
    answer->stored = reply;
    lose_or_double(answer);
}

static struct operation *find_operation(const struct message *message, uint64_t number)
{
    struct operation *operation = &operations[number % OPERATIONS];

    if (!operation->is_used || operation->node != message->to ||
        operation->coordinator.operation != number)
        return NULL;
    return operation;
}

static void on_reply(const struct message *message, uint64_t number, struct coordinator_event event)
{
    struct operation *operation = find_operation(message, number);

    event.from = nodes[message->from].id;
    if (operation != NULL)
        step(operation, event);
}

static void on_fetched(const struct message *message)
{
    struct fetch_reply reply = message->fetched;
    struct replica_now now = replica_of(&nodes[message->to]);

    if (reply.cell != NULL)
        reply.cell = &message->cell;
    if (reply.cell != NULL && !replica_admit(reply.cell, &now))
        reply.is_refused = true;
    on_reply(message, reply.operation,
             (struct coordinator_event){.type = COORDINATOR_FETCH_REPLY, .fetch = &reply});
}

static void on_forwarded(const struct message *message)
{
    struct coordinator_event event = {.type = COORDINATOR_FORWARD_REPLY,
                                      .from = nodes[message->from].id,
                                      .forward = &message->forwarded};

    for (unsigned i = 0; i < OPERATIONS; i++)
        if (operations[i].is_used && operations[i].node == message->to &&
            operations[i].coordinator.id.number == message->forwarded.id.number)
            step(&operations[i], event);
}

static void deliver(struct message *message)
{
    struct node *node = &nodes[message->to];
    struct replica_now now = replica_of(node);

    cell_flush(&node->cell, node->floor);
    if (!node->is_up || !nodes[message->from].is_up) {
        message->is_used = false;
        return;
    }
    switch (message->kind) {
    case STORE: on_store(message); break;
    case FETCH:
        send_fetched(message->to, nodes[message->from].id,
                     replica_fetch(&node->cell, &message->fetch, &now));
        break;
    case STORED:
        on_reply(
            message, message->stored.operation,
            (struct coordinator_event){.type = COORDINATOR_STORE_REPLY, .store = &message->stored});
        break;
    case FETCHED: on_fetched(message); break;
    case FORWARD: on_forward(message); break;
    case FORWARDED: on_forwarded(message); break;
    }
    message->is_used = false;
}

/* Time. */

/* Does the next thing that is due up to `until_ms`; false if there is none. */
static bool advance(uint64_t until_ms)
{
    uint64_t next_ms = until_ms;
    struct message *message = NULL;
    struct operation *operation = NULL;

    for (unsigned i = 0; i < MESSAGES; i++)
        if (messages[i].is_used && messages[i].due_ms <= next_ms) {
            message = &messages[i];
            next_ms = message->due_ms;
        }
    for (unsigned i = 0; i < OPERATIONS; i++)
        if (operations[i].is_used &&
            coordinator_deadline_ms(&operations[i].coordinator) <= next_ms) {
            operation = &operations[i];
            next_ms = coordinator_deadline_ms(&operation->coordinator);
        }
    if (next_ms > world.now_ms)
        world.now_ms = next_ms;
    if (operation != NULL)
        step(operation, (struct coordinator_event){.type = COORDINATOR_TICK});
    else if (message != NULL)
        deliver(message);
    else
        return false;
    return world.broken == NULL;
}

static void see_down(unsigned at, unsigned down)
{
    nodes[at].views[down].is_reachable = false;
    for (unsigned i = 0; i < OPERATIONS; i++)
        if (operations[i].is_used && operations[i].node == at)
            step(&operations[i],
                 (struct coordinator_event){.type = COORDINATOR_LOST, .from = nodes[down].id});
}

static void make_world(uint64_t seed)
{
    memset(&world, 0, sizeof world);
    world.random.state = seed;
    world.nodes = 1 + random_below(&world.random, NODES_MAX);
    world.copies = 1 + random_below(&world.random, world.nodes < 5 ? world.nodes : 5);
    world.read_quorum = 1 + random_below(&world.random, world.copies);
    world.write_quorum = world.copies - world.read_quorum + 1;
    ring_table_init(&table, 0, world.copies, rows, sizeof rows);
    table.version = (struct ring_version){1, 1};
    table.member_count = world.nodes;
    for (unsigned i = 0; i < world.nodes; i++) {
        struct node *node = &nodes[i];
        table.members[i] = (struct ring_member){i + 1, 0, 1};
        if (i < world.copies)
            rows[i] = (unsigned char)i;
        *node = (struct node){.id = i + 1, .is_up = true};
        cell_init(&node->cell, node->memory, ROOM);
        hlc_clock_init(&node->clock, 0);
        outcomes_init(&node->outcomes, node->entries, 16, 2 * DEADLINE_MS);
        for (unsigned j = 0; j < world.nodes; j++)
            node->views[j] = (struct peer_view){
                .is_reachable = true, .hedge_ms = HEDGE_MS, .warming = &nodes[j].warming};
    }
    memset(operations, 0, sizeof operations);
    for (unsigned i = 0; i < MESSAGES; i++)
        messages[i].is_used = false;
}

static void ask(enum command command, unsigned at, uint64_t value)
{
    memset(&client, 0, sizeof client);
    client.command = command;
    client.value = value;
    start(at, (struct request_id){at + 1, ++world.next_number}, NULL, NODE_NONE);
}

static void expire_outcomes(void)
{
    uint64_t saved;

    for (unsigned i = 0; i < world.nodes; i++)
        while (outcomes_expire(&nodes[i].outcomes, world.now_ms, &saved))
            assert_true(saved <= 1);
}

static unsigned some_node(void)
{
    return random_below(&world.random, world.nodes);
}

/* Lets all that is under way come to its end. */
static void settle(void)
{
    while (advance(world.now_ms + 2 * DEADLINE_MS))
        ;
    expire_outcomes();
}

/* Whether another owner holds the newest value that this one has, if it has any. */
static bool is_spare(unsigned at)
{
    const struct sibling *newest = cell_newest(&nodes[at].cell, SIBLINGS_ALL);
    unsigned held = 0;

    for (unsigned i = 0; i < world.copies && newest != NULL; i++) {
        const struct sibling *there = cell_find(&nodes[i].cell, newest->dot);
        held += i != at && there != NULL && there->kind != SIBLING_STUB;
    }
    return newest == NULL || held > 0;
}

static void evict_somewhere(void)
{
    unsigned at = random_below(&world.random, world.copies);

    if (is_spare(at))
        cell_evict(&nodes[at].cell);
}

/* An owner comes back empty, or ends warming, after it was compared with all others. */
static void change_warming(void)
{
    unsigned warming = 0;

    settle();
    while (warming < world.copies && nodes[warming].warming == 0)
        warming++;
    if (warming < world.copies) {
        for (unsigned i = 0; i < world.copies; i++)
            if (i != warming)
                cell_merge(&nodes[warming].cell, &nodes[i].cell);
        nodes[warming].warming = 0;
    } else if (world.copies > 1) {
        unsigned at = random_below(&world.random, world.copies);
        if (!is_spare(at))
            return;
        cell_init(&nodes[at].cell, nodes[at].memory, ROOM);
        nodes[at].warming = 1;
    }
}

/* All but the one that coordinates have heard of a flush that is a little ahead of its clock; it
 * is told after the next write.  With W = 1 that one write would stand before the flush. */
static void flush_behind_a_write(uint64_t value)
{
    unsigned first = nodes[0].warming == 0 ? 0 : 1;

    settle();
    hlc_time floor = hlc_of_ms(WALL_MS + world.now_ms + 50);
    for (unsigned i = 0; i < world.nodes; i++)
        if (i != first)
            nodes[i].floor = floor;
    ask(COMMAND_SET, some_node(), value);
    settle();
    promise(client.answer == ANSWER_DONE, "a write beside a flush is done");
    nodes[first].floor = floor;
}

static void check_as_one_server(enum command command, uint64_t value, uint64_t *expected)
{
    promise(client.answers == 1, "answered");
    promise(client.answer == ANSWER_DONE, "without a fault nothing fails");
    switch (command) {
    case COMMAND_GET: promise(client.value == *expected, "a read sees the last write"); break;
    case COMMAND_PUT: /* it leaves siblings; the newest is this one */
    case COMMAND_SET: *expected = value; break;
    case COMMAND_INCR:
        promise(client.value == *expected + 1, "incr counts as on one server");
        *expected += 1;
        break;
    case COMMAND_DELETE:
        promise((client.applied > 0) == (*expected != 0), "delete sees the last write");
        *expected = 0;
        break;
    case COMMAND_TOUCH:
        promise((client.applied > 0) == (*expected != 0), "touch sees the last write");
        break;
    }
}

/* Without faults a cluster is one server, however messages overtake each other, and while values
 * are evicted here and there, owners warm, and a flush comes in between. */
static void be_one_server(void)
{
    uint64_t expected = 0;

    world.double_percent = random_below(&world.random, 30);
    for (unsigned i = 0; i < 12 && world.broken == NULL; i++) {
        enum command command = (enum command)random_below(&world.random, 6);
        if (random_chance(&world.random, 10))
            evict_somewhere();
        if (random_chance(&world.random, 10))
            change_warming();
        if (random_chance(&world.random, 5) && world.write_quorum > 1) {
            expected = 2000 + i;
            flush_behind_a_write(expected);
        }
        ask(command, some_node(), 1000 + i);
        while (client.answers == 0 && advance(world.now_ms + DEADLINE_MS))
            ;
        check_as_one_server(command, 1000 + i, &expected);
        expire_outcomes();
    }
}

static void make_faults(void)
{
    world.lose_percent = random_chance(&world.random, 50) ? random_below(&world.random, 40) : 0;
    world.double_percent = random_below(&world.random, 30);
    for (unsigned i = 0; i < world.nodes; i++) {
        struct node *node = &nodes[i];
        node->is_up = !random_chance(&world.random, 20);
        node->refuses_memory = random_chance(&world.random, 10);
        node->refuses_hints = random_chance(&world.random, 15);
        node->slow_ms = random_chance(&world.random, 15) ? random_below(&world.random, 300) : 0;
        if (random_chance(&world.random, 10))
            node->wall_offset_ms = random_below(&world.random, 3 * DRIFT_MS);
    }
    for (unsigned i = 0; i < world.nodes; i++)
        for (unsigned j = 0; j < world.nodes; j++)
            nodes[i].views[j].is_reachable = nodes[j].is_up || random_chance(&world.random, 30);
}

/* Whatever goes wrong: one answer, in time, and no more is claimed than is true. */
static void survive_faults(void)
{
    make_faults();
    for (unsigned i = 0; i < 6 && world.broken == NULL; i++) {
        unsigned at = some_node(), victim = some_node();
        uint64_t until_ms = world.now_ms + DEADLINE_MS;
        if (!nodes[at].is_up)
            continue;
        ask((enum command)random_below(&world.random, 6), at, 1000 + i);
        while (advance(world.now_ms + random_below(&world.random, 20)))
            ;
        if (victim != at && world.broken == NULL && random_chance(&world.random, 40)) {
            nodes[victim].is_up = false;
            see_down(at, victim);
        }
        while (advance(until_ms))
            ;
        promise(client.answers == 1, "answered");
        promise(client.applied <= 1 || class_of[client.command] != REQUEST_DECIDED,
                "a decided command is done at most once");
        for (unsigned o = 0; o < OPERATIONS; o++)
            promise(!operations[o].is_used || operations[o].reply_to != NODE_NONE,
                    "over at the deadline");
        for (unsigned n = 0; n < world.nodes; n++)
            promise(cell_is_sound(&nodes[n].cell), "cells are sound");
        settle(); /* commands that were passed on end, too */
        expire_outcomes();
    }
}

/* Where it is known who is down, nobody waits: neither for a deadline nor for a hedge. */
static void wait_for_nobody(void)
{
    unsigned up = 0;

    for (unsigned i = 0; i < world.nodes; i++) {
        nodes[i].is_up = !random_chance(&world.random, 40);
        up += nodes[i].is_up;
    }
    for (unsigned i = 0; i < world.nodes; i++)
        for (unsigned j = 0; j < world.nodes; j++)
            nodes[i].views[j].is_reachable = nodes[j].is_up;
    for (unsigned i = 0; i < 6 && world.broken == NULL; i++) {
        unsigned at = some_node();
        uint64_t started_ms = world.now_ms;
        if (!nodes[at].is_up)
            continue;
        ask((enum command)random_below(&world.random, 6), at, 1000 + i);
        while (client.answers == 0 && advance(world.now_ms + DEADLINE_MS))
            ;
        bool is_read = class_of[client.command] == REQUEST_READ;
        bool is_decided = class_of[client.command] == REQUEST_DECIDED;
        bool can_read = up >= world.read_quorum || (!is_read && !is_decided);
        bool can_write = up >= world.write_quorum || is_read;
        promise(client.answers == 1, "answered");
        promise(client.answered_ms <= started_ms + 8 * DELAY_MS, "nobody down is waited for");
        promise(client.answer == ANSWER_DONE || !can_read || !can_write,
                "available while enough nodes are reachable");
        settle();
    }
}

/* One owner goes down in the middle of a write: the others take over at once. */
static void lose_one_on_the_way(void)
{
    unsigned at = some_node(), victim = some_node();

    if (victim == at || world.nodes < 3)
        return;
    ask(random_chance(&world.random, 50) ? COMMAND_SET : COMMAND_GET, at, 1000);
    nodes[victim].is_up = false;
    see_down(at, victim);
    uint64_t started_ms = world.now_ms;
    while (client.answers == 0 && advance(world.now_ms + DEADLINE_MS))
        ;
    /* The node to which the write was passed on may itself not know yet. */
    if (at == 0)
        promise(client.answered_ms <= started_ms + 8 * DELAY_MS, "nobody lost is waited for");
    promise(client.answers == 1, "answered");
}

/* The first owner believes all others to be down, and they know better: nothing fails. */
static void believe_to_be_alone(void)
{
    unsigned at = some_node();

    if (at == 0 || world.nodes < 3)
        return;
    for (unsigned i = 1; i < world.nodes; i++)
        nodes[0].views[i].is_reachable = false;
    ask((enum command)random_below(&world.random, 6), at, 1000);
    settle();
    promise(client.answers == 1, "answered");
    promise(client.answer == ANSWER_DONE, "who sees nobody does not coordinate for others");
}

static const char *run(void (*scenario)(void), unsigned cases)
{
    for (uint64_t seed = 1; seed <= cases; seed++) {
        make_world(seed);
        scenario();
        if (world.broken != NULL) {
            if (COORDINATOR_BROKEN == NULL)
                printf("seed %" PRIu64 ": not kept: %s\n", seed, world.broken);
            return world.broken;
        }
    }
    return NULL;
}

static void expect(void (*scenario)(void), unsigned cases)
{
    assert_null(run(scenario, cases));
}

static void without_faults_a_cluster_is_one_server(void **state)
{
    (void)state;
    expect(be_one_server, 3000);
}

static void with_faults_there_is_one_true_answer_in_time(void **state)
{
    (void)state;
    expect(survive_faults, 6000);
}

static void nobody_who_is_known_to_be_down_is_waited_for(void **state)
{
    (void)state;
    expect(wait_for_nobody, 3000);
}

static void who_is_lost_on_the_way_is_replaced_at_once(void **state)
{
    (void)state;
    expect(lose_one_on_the_way, 3000);
}

static void a_node_that_sees_nobody_does_not_coordinate_for_others(void **state)
{
    (void)state;
    expect(believe_to_be_alone, 3000);
}

/* Of the code with a broken rule. */
static void what_was_broken_is_found(void **state)
{
    static void (*const scenarios[])(void) = {be_one_server, survive_faults, wait_for_nobody,
                                              lose_one_on_the_way};
    const char *found = NULL;

    (void)state;
    for (unsigned i = 0; i < 4 && found == NULL; i++)
        found = run(scenarios[i], 6000);
    assert_non_null(found);
    printf("%s: found, %s\n", COORDINATOR_BROKEN == NULL ? "nothing" : COORDINATOR_BROKEN, found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_faults_a_cluster_is_one_server),
        cmocka_unit_test(with_faults_there_is_one_true_answer_in_time),
        cmocka_unit_test(nobody_who_is_known_to_be_down_is_waited_for),
        cmocka_unit_test(who_is_lost_on_the_way_is_replaced_at_once),
        cmocka_unit_test(a_node_that_sees_nobody_does_not_coordinate_for_others),
    };
    const struct CMUnitTest broken[] = {cmocka_unit_test(what_was_broken_is_found)};

    if (COORDINATOR_BROKEN != NULL)
        return cmocka_run_group_tests(broken, NULL, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
