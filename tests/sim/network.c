#include "tests/sim/network.h"
#include "tests/sim/node.h"
#include "tests/sim/sim.h"
#include <assert.h>
#include <stdlib.h>

#define DELAY_MIN_MS 1
#define DELAY_MAX_MS 6
#define JITTER_MS    3 /* of a healthy link, which keeps the order all the same */

void network_init(struct network *network, uint64_t seed, unsigned node_count)
{
    assert(node_count <= SIM_NODES_MAX);
    *network = (struct network){.random = {seed}, .node_count = node_count};
    for (unsigned from = 0; from < node_count; from++)
        for (unsigned to = 0; to < node_count; to++)
            network->links[from][to].delay_ms =
                DELAY_MIN_MS + random_below(&network->random, DELAY_MAX_MS - DELAY_MIN_MS + 1);
}

void network_deinit(struct network *network)
{
    for (struct message *next, *message = network->free; message != NULL; message = next) {
        next = message->next_free;
        set_deinit(&message->heard);
        free(message);
    }
}

bool network_is_healthy(const struct network *network, unsigned from, unsigned to)
{
    const struct network_quality *quality = &network->links[from][to].quality;

    return quality->cuts == 0 && quality->loss_permille == 0 && quality->double_permille == 0 &&
           quality->shuffle_ms == 0 && quality->slow_ms == 0;
}

bool network_passes(const struct network *network, unsigned from, unsigned to)
{
    return network->links[from][to].quality.cuts == 0;
}

static void add_times(unsigned *number, unsigned more, int times)
{
    assert(times == 1 || *number >= more);
    *number = times == 1 ? *number + more : *number - more;
}

void network_add(struct sim *sim, unsigned from, unsigned to, const struct network_quality *more,
                 int times)
{
    struct network_link *link = &sim->network.links[from][to];
    struct network_quality *quality = &link->quality;

    assert(times == 1 || times == -1);
    add_times(&quality->cuts, more->cuts, times);
    add_times(&quality->loss_permille, more->loss_permille, times);
    add_times(&quality->double_permille, more->double_permille, times);
    add_times(&quality->shuffle_ms, more->shuffle_ms, times);
    add_times(&quality->slow_ms, more->slow_ms, times);
    sim->network.changed_ms = sim->engine.now_ms;
    if (network_is_healthy(&sim->network, from, to))
        link->healthy_ms = sim->engine.now_ms;
}

static void arrive_first(struct sim *, struct engine_entry *);
static void arrive_again(struct sim *, struct engine_entry *);

struct message *message_new(struct network *network, enum message_type type)
{
    struct message *message = network->free;

    if (message != NULL)
        network->free = message->next_free;
    else if ((message = calloc(1, sizeof *message)) == NULL)
        abort();
    message->arrival.run = arrive_first;
    message->second_arrival.run = arrive_again;
    message->arrivals_left = 1;
    message->type = type;
    message->key = TRUTH_NO_KEY;
    message->blocks = NULL;
    message->command = NULL;
    message->asked_ms = 0;
    message->cells_heard_count = 0;
    set_clear(&message->heard);
    memset(&message->body, 0, sizeof message->body);
    network->in_flight++;
    return message;
}

void message_drop(struct network *network, struct message *message)
{
    for (unsigned i = 0; i < message->cells_heard_count; i++)
        set_deinit(&message->cells_heard[i]);
    for (struct network_block *next, *block = message->blocks; block != NULL; block = next) {
        next = block->next;
        free(block);
    }
    command_unref(message->command);
    message->next_free = network->free;
    network->free = message;
    network->in_flight--;
}

void *message_room(struct message *message, size_t bytes)
{
    struct network_block *block = malloc(sizeof *block + bytes);

    if (block == NULL)
        abort();
    block->next = message->blocks;
    message->blocks = block;
    return block->bytes;
}

struct cell *message_cell(struct message *message, const struct cell *from)
{
    unsigned count = from->sibling_count;
    struct cell *cell = message_room(message, sizeof *cell);
    struct sibling *siblings =
        count == 0 ? NULL : message_room(message, count * sizeof siblings[0]);

    cell_init(cell, siblings, count);
    cell_copy(cell, from);
    cell->is_live = false;
    return cell;
}

void message_hear_cells(struct message *message, unsigned count)
{
    message->cells_heard = message_room(message, count * sizeof message->cells_heard[0]);
    memset(message->cells_heard, 0, count * sizeof message->cells_heard[0]);
    message->cells_heard_count = count;
}

struct slice message_bytes(struct message *message, struct slice from)
{
    unsigned char *bytes = message_room(message, from.size);

    if (from.size > 0)
        memcpy(bytes, from.bytes, from.size);
    return (struct slice){bytes, from.size};
}

static void arrive(struct sim *sim, struct engine_entry *entry, struct message *message)
{
    if (sim->nodes[message->to]->is_up && !node_is_awake(sim->nodes[message->to], entry))
        return;
    if (network_passes(&sim->network, message->from, message->to)) {
        report_event(&sim->report, message->type, message->from, message->to);
        node_deliver(sim, message);
    }
    if (--message->arrivals_left == 0)
        message_drop(&sim->network, message);
}

static void arrive_first(struct sim *sim, struct engine_entry *entry)
{
    arrive(sim, entry, ENGINE_OWNER(entry, struct message, arrival));
}

static void arrive_again(struct sim *sim, struct engine_entry *entry)
{
    arrive(sim, entry, ENGINE_OWNER(entry, struct message, second_arrival));
}

void network_forget(struct network *network, struct engine_entry *entry)
{
    struct message *message = NULL;

    if (entry->run == arrive_first)
        message = ENGINE_OWNER(entry, struct message, arrival);
    else if (entry->run == arrive_again)
        message = ENGINE_OWNER(entry, struct message, second_arrival);
    if (message != NULL && --message->arrivals_left == 0)
        message_drop(network, message);
}

/* When a message sent now over this link arrives. */
static uint64_t arrival_ms(struct sim *sim, struct network_link *link)
{
    struct random *random = &sim->network.random;
    const struct network_quality *quality = &link->quality;
    uint64_t at_ms = sim->engine.now_ms + link->delay_ms + random_below(random, JITTER_MS + 1) +
                     quality->slow_ms;

    if (quality->shuffle_ms > 0)
        return at_ms + random_below(random, quality->shuffle_ms);
    if (at_ms < link->newest_ms)
        at_ms = link->newest_ms;
    link->newest_ms = at_ms;
    return at_ms;
}

void network_send(struct sim *sim, struct message *message, unsigned from, unsigned to)
{
    struct network *network = &sim->network;
    struct network_link *link = &network->links[from][to];

    assert(from != to);
    assert(from < network->node_count && to < network->node_count);
    message->from = from;
    message->to = to;
    message->from_life = sim->nodes[from]->life;
    message->to_life = sim->nodes[to]->life;
    network->sent[message->type]++;
    if (link->quality.cuts > 0 ||
        random_below(&network->random, 1000) < link->quality.loss_permille) {
        message_drop(network, message);
        return;
    }
    engine_set(&sim->engine, &message->arrival, arrival_ms(sim, link));
    if (random_below(&network->random, 1000) < link->quality.double_permille) {
        message->arrivals_left = 2;
        engine_set(&sim->engine, &message->second_arrival, arrival_ms(sim, link));
    }
}
