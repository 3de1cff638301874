#include "tests/sim/workload.h"
#include "tests/sim/node.h"
#include "tests/sim/sim.h"
#include <assert.h>
#include <inttypes.h>

#define SLACK_MS     1000  /* by which an answer may be late: messages take their time */
#define STEADY_MS    15000 /* after which nodes have to know what has become of a link */
#define HOT_KEYS     3
#define STEADY_NODES 16 /* larger clusters are asked to succeed only while nothing is wrong */
#define THINK_MAX_MS 3000
#define EXPIRY_MS    86400000u

static void on_client(struct sim *, struct engine_entry *);
static void on_operation(struct sim *, struct engine_entry *);

void workload_init(struct sim *sim, uint64_t seed)
{
    struct workload *workload = &sim->workload;

    *workload = (struct workload){.random = {seed}, .client_count = sim->options.clients};
    workload->clients = calloc(workload->client_count, sizeof workload->clients[0]);
    if (workload->clients == NULL)
        abort();
    for (unsigned i = 0; i < workload->client_count; i++) {
        struct client *client = &workload->clients[i];
        client->number = i;
        client->next.run = on_client;
        client->looks_at = TRUTH_NO_KEY;
        client->sessions = calloc(sim->options.keys, sizeof client->sessions[0]);
        if (client->sessions == NULL)
            abort();
    }
}

void workload_deinit(struct sim *sim)
{
    struct workload *workload = &sim->workload;

    for (unsigned i = 0; i < workload->client_count; i++) {
        for (unsigned key = 0; key < sim->options.keys; key++)
            set_deinit(&workload->clients[i].sessions[key].shown);
        free(workload->clients[i].sessions);
    }
    for (unsigned i = 0; i < workload->all_count; i++) {
        command_unref(workload->all[i]->command);
        free(workload->all[i]);
    }
    free(workload->all);
    free(workload->clients);
}

static void think(struct sim *sim, struct client *client)
{
    struct random *random = &sim->workload.random;
    unsigned most_ms = random_chance(random, 40) ? 30 : THINK_MAX_MS;

    engine_set(&sim->engine, &client->next, sim_now(sim) + 1 + random_below(random, most_ms));
}

void workload_start(struct sim *sim)
{
    sim->workload.is_running = true;
    for (unsigned i = 0; i < sim->workload.client_count; i++)
        think(sim, &sim->workload.clients[i]);
}

void workload_stop(struct sim *sim)
{
    sim->workload.is_running = false;
    for (unsigned i = 0; i < sim->workload.client_count; i++)
        engine_set(&sim->engine, &sim->workload.clients[i].next, ENGINE_NEVER);
}

/* --- what has to succeed --- */

/* Whether two nodes have been connected for so long that both know it. */
static bool is_steady(const struct sim *sim, unsigned a, unsigned b)
{
    const struct network *network = &sim->network;
    uint64_t now_ms = sim_now(sim);

    return network_is_healthy(network, a, b) && network_is_healthy(network, b, a) &&
           sim->nodes[b]->is_up && sim->nodes[b]->paused_until_ms + STEADY_MS <= now_ms &&
           sim->nodes[b]->started_ms + STEADY_MS <= now_ms &&
           network->links[a][b].healthy_ms + STEADY_MS <= now_ms &&
           network->links[b][a].healthy_ms + STEADY_MS <= now_ms;
}

/* Whether some node gave times so far ahead that others refuse them. */
static bool has_wrong_time(const struct sim *sim)
{
    int64_t most_ms = (int64_t)sim->settings.drift_max_ms / 2;
    uint64_t now_ms = sim_now(sim);

    for (unsigned i = 0; i < sim->node_count; i++) {
        const struct node *node = sim->nodes[i];
        int64_t ahead_ms = clock_ahead_ms(&node->wall, now_ms);
        if (ahead_ms > most_ms || ahead_ms < -most_ms ||
            hlc_ms(node->hlc.last) >= CLOCK_START_MS + now_ms + (uint64_t)most_ms)
            return true;
    }
    return false;
}

/* How many nodes, itself included, a node can rely on. */
static unsigned count_steady(const struct sim *sim, unsigned node)
{
    unsigned count = 1;

    for (unsigned i = 0; i < sim->node_count; i++)
        if (i != node && node_is_member(sim->nodes[i]) && is_steady(sim, node, i))
            count++;
    return count;
}

/* Whether a node cannot be spoken with at all: then nothing is expected of it. */
static bool is_dark(const struct sim *sim, unsigned node, unsigned peer)
{
    return !sim->nodes[peer]->is_up || !network_passes(&sim->network, node, peer) ||
           !network_passes(&sim->network, peer, node);
}

/* Whether the node, and whoever it may pass the command on to, has enough others to rely on, and
 * none that is neither well nor gone. */
static bool has_quorum(const struct sim *sim, unsigned node, unsigned needed)
{
    for (unsigned i = 0; i < sim->node_count; i++) {
        if (i != node && !node_is_member(sim->nodes[i]))
            continue;
        if (i != node && !is_dark(sim, node, i) && !is_steady(sim, node, i))
            return false;
        bool may_get_it = i == node || network_passes(&sim->network, node, i);
        if (may_get_it && sim->nodes[i]->is_up && count_steady(sim, i) < needed)
            return false;
    }
    return true;
}

static bool has_to_succeed(const struct sim *sim, const struct operation *operation)
{
    const struct command *command = operation->command;
    const struct node *node = sim->nodes[operation->node];
    unsigned needed = command->class == REQUEST_READ ? command->read_quorum : command->write_quorum;

    if (has_wrong_time(sim))
        return false;
    if (faults_is_quiet(sim) && sim->season == SEASON_CALM)
        return true;
    if (faults_hurt_nodes(sim) || sim->node_count > STEADY_NODES || !node_is_member(node) ||
        node->paused_until_ms + STEADY_MS > sim_now(sim) ||
        node->started_ms + STEADY_MS > sim_now(sim))
        return false;
    /* What is to be decided at one node cannot be taken elsewhere if that node is lost. */
    if (command->class == REQUEST_DECIDED)
        return false;
    return has_quorum(sim, operation->node, needed);
}

/* --- operations --- */

static struct operation *operation_new(struct sim *sim)
{
    struct workload *workload = &sim->workload;
    struct operation *operation = workload->free;

    if (operation != NULL) {
        workload->free = operation->next_free;
    } else {
        operation = calloc(1, sizeof *operation);
        if (workload->all_count == workload->all_room) {
            workload->all_room = workload->all_room == 0 ? 64 : 2 * workload->all_room;
            workload->all = realloc(workload->all, workload->all_room * sizeof workload->all[0]);
        }
        if (operation == NULL || workload->all == NULL)
            abort();
        workload->all[workload->all_count++] = operation;
    }
    *operation = (struct operation){.timer = {.run = on_operation},
                                    .number = workload->next_number++,
                                    .started_ms = sim_now(sim)};
    return operation;
}

static void check_in_time(struct sim *sim, struct operation *operation)
{
    const struct node *node = sim->nodes[operation->node];

    if (operation->answers > 0 || operation->is_abandoned)
        return;
    if (node->paused_until_ms + SLACK_MS > operation->started_ms) {
        operation->is_abandoned = true; /* it stood still: its client gave up */
        return;
    }
    report_broken(sim, PROMISE_ANSWERED_ONCE, operation->command->key,
                  "operation %" PRIu64 " (%s at n%u, begun at %" PRIu64 " ms) has no answer",
                  operation->number, command_name(operation->command->type), operation->node + 1,
                  operation->started_ms);
}

static void release_client(struct sim *sim, struct operation *operation)
{
    struct client *client = &sim->workload.clients[operation->client];

    if (client->operation != operation)
        return;
    client->operation = NULL;
    if (sim->workload.is_running && client->looks_at != TRUTH_NO_KEY)
        engine_set(&sim->engine, &client->next, sim_now(sim));
    else if (sim->workload.is_running)
        think(sim, client);
}

/* First it should have been answered; then, nothing more can come. */
static void on_operation(struct sim *sim, struct engine_entry *entry)
{
    struct operation *operation = ENGINE_OWNER(entry, struct operation, timer);

    if (!operation->is_overdue) {
        operation->is_overdue = true;
        check_in_time(sim, operation);
        release_client(sim, operation);
        engine_set(&sim->engine, entry, sim_now(sim) + 3 * sim->settings.deadline_ms);
        return;
    }
    if (sim->nodes[operation->node]->paused_until_ms + 3 * sim->settings.deadline_ms >
        sim_now(sim)) { /* it may have stood still, and answer yet */
        engine_set(&sim->engine, entry, sim_now(sim) + 3 * sim->settings.deadline_ms);
        return;
    }
    command_unref(operation->command);
    operation->command = NULL;
    operation->next_free = sim->workload.free;
    sim->workload.free = operation;
}

static bool does(const struct sim *sim, enum workload_type type)
{
    return (sim->options.workloads >> type & 1) != 0;
}

/* What a client may do to a key with values: chosen again until it is wanted. */
static enum command_type choose_for_value(struct sim *sim)
{
    struct random *random = &sim->workload.random;

    for (;;) {
        unsigned dice = random_below(random, 100);
        if (dice < 35)
            return COMMAND_GET;
        if (dice < 50 && does(sim, WORKLOAD_BLIND))
            return COMMAND_SET;
        if (dice < 75 && does(sim, WORKLOAD_CONTEXT))
            return COMMAND_PUT;
        if (dice < 79 && does(sim, WORKLOAD_CONTEXT) && does(sim, WORKLOAD_DELETE))
            return COMMAND_REMOVE;
        if (dice < 82 && does(sim, WORKLOAD_BLIND) && does(sim, WORKLOAD_DELETE))
            return COMMAND_DELETE_BLIND;
        if (dice < 84 && does(sim, WORKLOAD_CAS) && does(sim, WORKLOAD_DELETE))
            return COMMAND_DELETE;
        if (dice < 92 && does(sim, WORKLOAD_CAS))
            return COMMAND_CAS;
        if (dice < 95 && does(sim, WORKLOAD_CAS))
            return COMMAND_ADD;
        if (dice < 97 && does(sim, WORKLOAD_REGISTER))
            return COMMAND_TOUCH;
    }
}

static enum command_type choose(struct sim *sim, unsigned key)
{
    if (sim->keys[key].policy == POLICY_COUNTER)
        return random_chance(&sim->workload.random, 60) ? COMMAND_INCR : COMMAND_GET;
    return choose_for_value(sim);
}

static enum request_class class_of(enum command_type type)
{
    switch (type) {
    case COMMAND_GET: return REQUEST_READ;
    case COMMAND_SET:
    case COMMAND_DELETE_BLIND: return REQUEST_BLIND;
    case COMMAND_PUT:
    case COMMAND_REMOVE: return REQUEST_CONTEXT;
    case COMMAND_CAS:
    case COMMAND_ADD:
    case COMMAND_DELETE:
    case COMMAND_INCR:
    case COMMAND_TOUCH: return REQUEST_DECIDED;
    case COMMAND_TYPES: break;
    }
    assert(false);
    return REQUEST_READ;
}

static struct command *make_command(struct sim *sim, struct client *client, uint64_t number)
{
    struct random *random = &sim->workload.random;
    unsigned key = random_chance(random, 50) ? random_below(random, HOT_KEYS) % sim->options.keys
                                             : random_below(random, sim->options.keys);
    bool looks = client->looks_at != TRUTH_NO_KEY;
    if (looks)
        key = client->looks_at;
    client->looks_at = TRUTH_NO_KEY;
    const struct session *session = &client->sessions[key];
    struct command command = {.type = looks ? COMMAND_GET : choose(sim, key),
                              .number = number,
                              .key = key,
                              .read_quorum = sim->settings.read_quorum,
                              .write_quorum = sim->settings.write_quorum};

    if (command.type == COMMAND_CAS && session->token == 0)
        command.type = COMMAND_GET;
    command.class = class_of(command.type);
    context_copy(&command.seen, &session->seen);
    command.shown = session->shown;
    command.token = session->token;
    command.delta = 1 + random_below(random, 100);
    command.expires_ms = CLOCK_START_MS + sim_now(sim) + EXPIRY_MS;
    return command_new(&command);
}

/* A node for the client to ask; SIM_NODES_MAX if none is there. */
static unsigned choose_node(struct sim *sim)
{
    for (unsigned tries = 0; tries < 4 * sim->node_count; tries++) {
        unsigned node = random_below(&sim->workload.random, sim->node_count);
        if (node_takes_clients(sim->nodes[node]))
            return node;
    }
    return SIM_NODES_MAX;
}

static void on_client(struct sim *sim, struct engine_entry *entry)
{
    struct client *client = ENGINE_OWNER(entry, struct client, next);
    unsigned node = choose_node(sim);

    if (!sim->workload.is_running || client->operation != NULL)
        return;
    if (node == SIM_NODES_MAX) {
        think(sim, client);
        return;
    }
    struct operation *operation = operation_new(sim);
    operation->client = client->number;
    operation->node = node;
    operation->command = make_command(sim, client, operation->number);
    operation->added_before = sim->truth.keys[operation->command->key].added;
    operation->has_to_succeed = has_to_succeed(sim, operation);
    client->operation = operation;
    sim->workload.commands++;
    truth_begin(&sim->truth, operation->command);
    report_event(&sim->report, 0x400 + operation->command->type, operation->command->key, node);
    report_line(sim, (int)node, operation->command->key, "client %u: %s, operation %" PRIu64,
                client->number, command_name(operation->command->type), operation->number);
    engine_set(&sim->engine, &operation->timer,
               sim_now(sim) + sim->settings.deadline_ms + SLACK_MS);
    node_command(sim->nodes[node], operation->command);
}

/* --- answers --- */

static struct operation *find_operation(struct sim *sim, uint64_t number)
{
    for (unsigned i = 0; i < sim->workload.all_count; i++)
        if (sim->workload.all[i]->command != NULL && sim->workload.all[i]->number == number)
            return sim->workload.all[i];
    return NULL;
}

/* The client was shown a cell. */
static void remember_shown(struct sim *sim, struct client *client, unsigned key,
                           const struct cell *cell)
{
    struct session *session = &client->sessions[key];

    if (session->token != 0 && random_chance(&sim->workload.random, 25))
        return; /* it writes with what it was shown before */
    cell_shown(cell, &session->seen);
    truth_shown(&sim->truth, key, cell, &session->shown);
    session->token = cell_count_distinct(cell, SIBLING_VALUE) > 0 ? cell_token(cell) : 0;
    session->shown_ms = sim_now(sim);
}

/* The client was told the dot of its own write, so that its next one supersedes it. */
static void remember_written(struct sim *sim, struct client *client, unsigned key, unsigned write)
{
    struct session *session = &client->sessions[key];
    const struct truth_write *written = &sim->truth.keys[key].writes[write];

    if (session->seen.count >= CONTEXT_CLIENT_MAX || !random_chance(&sim->workload.random, 50))
        return;
    if (context_covers(&session->seen, written->dot))
        return;
    context_add(&session->seen,
                (struct interval){written->dot.node, written->dot.hlc, written->dot.hlc});
    set_add(&session->shown, write);
}

static void take_read(struct sim *sim, struct operation *operation,
                      const struct command_answer *answer)
{
    unsigned key = operation->command->key;

    report_cell(sim, (int)operation->node, key, "read", answer->cell);
    truth_check_cell(sim, (int)operation->node, key, answer->cell, "read");
    if (sim->season == SEASON_CALM && operation->started_ms >= sim->season_ms &&
        !has_wrong_time(sim) &&
        sim->settings.read_quorum + sim->settings.write_quorum > sim->settings.copies) {
        truth_check_read(sim, (int)operation->node, key, answer->cell, operation->started_ms);
        if (sim->keys[key].policy == POLICY_COUNTER)
            truth_check_counter(sim, key, answer->cell, operation->added_before, "read");
    }
    remember_shown(sim, &sim->workload.clients[operation->client], key, answer->cell);
}

static void take_write(struct sim *sim, struct operation *operation,
                       const struct command_answer *answer)
{
    unsigned key = operation->command->key;

    if (random_chance(&sim->workload.random, 20))
        sim->workload.clients[operation->client].looks_at = key;
    if (answer->write == TRUTH_NO_WRITE)
        return;
    truth_acknowledge(sim, operation->command, answer->write, answer->needed);
    if (operation->command->type == COMMAND_PUT)
        remember_written(sim, &sim->workload.clients[operation->client], key, answer->write);
    if (operation->command->type == COMMAND_CAS && sim->season == SEASON_CALM)
        truth_check_cas(sim, operation->command, answer->write,
                        sim->workload.clients[operation->client].sessions[key].shown_ms,
                        operation->started_ms);
}

/* Whether a client writes after what a node with a wrong clock showed it: no other node dates a
 * write so far ahead, until that time has come. */
static bool writes_after_wrong_time(const struct sim *sim, const struct command *command)
{
    uint64_t now_ms = CLOCK_START_MS + sim_now(sim);

    return (command->type == COMMAND_PUT || command->type == COMMAND_REMOVE) &&
           context_newest(&command->seen) > hlc_of_ms(now_ms + sim->settings.drift_max_ms / 2);
}

static void check_success(struct sim *sim, const struct operation *operation,
                          const struct command_answer *answer)
{
    if (answer->answer == ANSWER_DONE || !operation->has_to_succeed ||
        sim->faults.changed_ms > operation->started_ms ||
        writes_after_wrong_time(sim, operation->command))
        return;
    report_broken(sim, PROMISE_AVAILABLE, operation->command->key,
                  "%s at n%u: %s, %u of %u, though enough nodes were within reach",
                  command_name(operation->command->type), operation->node + 1,
                  request_answer_name(answer->answer), answer->got, answer->needed);
}

static void count_answer(struct workload *workload, enum request_answer answer)
{
    switch (answer) {
    case ANSWER_DONE: workload->done++; break;
    case ANSWER_READ_FAILED:
    case ANSWER_WRITE_FAILED: workload->failed++; break;
    case ANSWER_REFUSED: workload->refused++; break;
    case ANSWER_UNKNOWN: workload->unknown++; break;
    }
}

void workload_answer(struct sim *sim, unsigned node, const struct command *command,
                     const struct command_answer *answer)
{
    struct operation *operation = NULL;

    report_event(&sim->report, 0x500 + answer->answer, command->number, answer->write);
    report_line(sim, (int)node, command->key,
                "client hears of operation %" PRIu64 ": %s, %s, %u of %u", command->number,
                request_answer_name(answer->answer), command_result_name(answer->result),
                answer->got, answer->needed);
    if (sim->hears != NULL) {
        sim->hears(sim, node, command, answer);
        return;
    }
    operation = find_operation(sim, command->number);
    if (operation == NULL || ++operation->answers > 1) {
        report_broken(sim, PROMISE_ANSWERED_ONCE, command->key,
                      "operation %" PRIu64 " is answered once more", command->number);
        return;
    }
    if (operation->is_abandoned)
        return;
    count_answer(&sim->workload, answer->answer);
    check_success(sim, operation, answer);
    if (answer->answer == ANSWER_DONE && command->type == COMMAND_GET)
        take_read(sim, operation, answer);
    else if (answer->answer == ANSWER_DONE && answer->result == RESULT_DONE)
        take_write(sim, operation, answer);
    release_client(sim, operation);
}

void workload_lose_node(struct sim *sim, unsigned node)
{
    for (unsigned i = 0; i < sim->workload.all_count; i++) {
        struct operation *operation = sim->workload.all[i];
        if (operation->command == NULL || operation->node != node || operation->answers > 0)
            continue;
        operation->is_abandoned = true;
        release_client(sim, operation);
    }
}
