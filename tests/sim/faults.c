#include "tests/sim/faults.h"
#include "tests/sim/node.h"
#include "tests/sim/sim.h"
#include <assert.h>

#define NEXT_MAX_MS  30000 /* between the beginnings of two faults */
#define DOWN_MAX_MS  120000
#define PAUSE_MAX_MS 60000
#define FLAP_MAX_MS  8000
#define EVICT_MAX_MS 1500
#define MEMBERS_MS   60000 /* until what an operator did is done, mostly */

static void on_next(struct sim *, struct engine_entry *);
static void on_timer(struct sim *, struct engine_entry *);

void faults_init(struct sim *sim, uint64_t seed)
{
    sim->faults = (struct faults){.random = {seed}, .next = {.run = on_next}};
    for (unsigned i = 0; i < FAULTS_MAX; i++)
        sim->faults.slots[i].timer.run = on_timer;
}

void faults_deinit(struct faults *faults)
{
    for (unsigned i = 0; i < FAULTS_MAX; i++)
        set_deinit(&faults->slots[i].group);
}

static void next_later(struct sim *sim)
{
    struct faults *faults = &sim->faults;

    engine_set(&sim->engine, &faults->next,
               sim_now(sim) + 1 + random_below(&faults->random, NEXT_MAX_MS));
}

void faults_start(struct sim *sim)
{
    if (sim->options.faults != 0)
        next_later(sim);
}

bool faults_is_quiet(const struct sim *sim)
{
    for (unsigned i = 0; i < FAULTS_MAX; i++)
        if (sim->faults.slots[i].is_on)
            return false;
    return true;
}

bool faults_hurt_nodes(const struct sim *sim)
{
    for (unsigned i = 0; i < FAULTS_MAX; i++) {
        const struct fault *fault = &sim->faults.slots[i];
        if (fault->is_on && (fault->type == FAULT_ALLOCATION || fault->type == FAULT_JUMP ||
                             fault->type == FAULT_CLOCK || fault->type == FAULT_CRASH ||
                             fault->type == FAULT_DRIFT || fault->type == FAULT_MEMBERS))
            return true;
    }
    return false;
}

/* --- links --- */

/* Adds the fault's quality to all links that it concerns, or takes it off them again. */
static void change_links(struct sim *sim, const struct fault *fault, int times)
{
    unsigned count = sim->node_count;

    for (unsigned from = 0; from < count; from++) {
        for (unsigned to = 0; to < count; to++) {
            bool is_one = false;
            switch (fault->type) {
            case FAULT_SLOW_LINK: is_one = from == fault->node && to == fault->peer; break;
            case FAULT_FLAP:
                is_one = (from == fault->node && to == fault->peer) ||
                         (to == fault->node && from == fault->peer);
                break;
            case FAULT_LOSS:
            case FAULT_DOUBLE:
            case FAULT_SHUFFLE: is_one = true; break;
            case FAULT_CUT:
                is_one = set_has(&fault->group, from) != set_has(&fault->group, to);
                break;
            case FAULT_ONE_WAY:
                is_one = fault->turns % 2 == 0 ? from == fault->node : to == fault->node;
                break;
            case FAULT_SLOW_NODE: is_one = from == fault->node; break;
            case FAULT_PAUSE:
            case FAULT_CRASH:
            case FAULT_CLOCK:
            case FAULT_DRIFT:
            case FAULT_JUMP:
            case FAULT_MEMORY:
            case FAULT_ALLOCATION:
            case FAULT_MEMBERS:
            case FAULT_TYPES: break;
            }
            if (is_one && from != to)
                network_add(sim, from, to, &fault->quality, times);
        }
    }
}

static void choose_group(struct sim *sim, struct fault *fault)
{
    struct random *random = &sim->faults.random;

    set_clear(&fault->group);
    for (unsigned i = 0; i < sim->node_count; i++)
        if (random_chance(random, 50))
            set_add(&fault->group, i);
    set_add(&fault->group, fault->node);
    set_remove(&fault->group, fault->peer);
}

static void choose_quality(struct sim *sim, struct fault *fault)
{
    struct random *random = &sim->faults.random;
    struct network_quality *quality = &fault->quality;

    *quality = (struct network_quality){0};
    switch (fault->type) {
    case FAULT_SLOW_LINK:
    case FAULT_SLOW_NODE: quality->slow_ms = 20 + random_below(random, 1000); break;
    case FAULT_LOSS: quality->loss_permille = 10 + random_below(random, 250); break;
    case FAULT_DOUBLE: quality->double_permille = 10 + random_below(random, 300); break;
    case FAULT_SHUFFLE: quality->shuffle_ms = 10 + random_below(random, 2000); break;
    case FAULT_CUT:
    case FAULT_ONE_WAY:
    case FAULT_FLAP: quality->cuts = 1; break;
    case FAULT_PAUSE:
    case FAULT_CRASH:
    case FAULT_CLOCK:
    case FAULT_DRIFT:
    case FAULT_JUMP:
    case FAULT_MEMORY:
    case FAULT_ALLOCATION:
    case FAULT_MEMBERS:
    case FAULT_TYPES: break;
    }
}

/* --- nodes --- */

static int64_t random_either_way(struct random *random, unsigned end)
{
    int64_t number = random_below(random, end);

    return random_chance(random, 50) ? number : -number;
}

/* Sets a clock wrong, mostly by less than others accept. */
static void set_clock_wrong(struct sim *sim, struct node *node)
{
    struct random *random = &sim->faults.random;
    unsigned drift_ms = (unsigned)sim->settings.drift_max_ms;
    unsigned most_ms = random_chance(random, 80) ? drift_ms * 8 / 10 : 3 * drift_ms;

    clock_set(&node->wall, sim_now(sim), random_either_way(random, most_ms), 0);
}

static void set_clock_right(struct sim *sim, struct node *node)
{
    clock_set(&node->wall, sim_now(sim), 0, 0);
}

/* --- members --- */

/* A process that is no member any more, or not yet, starts and joins. */
static void start_another(struct sim *sim)
{
    unsigned first = random_below(&sim->faults.random, sim->node_count);

    for (unsigned i = 0; i < sim->node_count; i++) {
        struct node *node = sim->nodes[(first + i) % sim->node_count];
        if (node->is_up || !node->is_spare)
            continue;
        node->is_spare = false;
        node_start(node);
        return;
    }
}

/* An operator does something at the node, mostly to its peer. */
static void change_members(struct sim *sim, struct node *at, struct node *peer)
{
    struct random *random = &sim->faults.random;
    struct ring_member members[RING_MEMBERS_MAX];
    unsigned claimers = membership_claimers(&at->members->membership, members);

    switch (random_below(random, 4)) {
    case 0: members_set_weight(at, peer->id, 1 + random_below(random, 3)); break;
    case 1:
        if (claimers > sim->settings.copies + 1)
            members_leave(at, peer->id);
        break;
    case 2: start_another(sim); break;
    case 3:
        if (claimers > sim->settings.copies + 1 && !peer->is_up && !peer->is_spare)
            members_remove(at, peer->id);
        break;
    }
}

/* --- a fault begins, has its turn, and ends --- */

static void begin(struct sim *sim, struct fault *fault)
{
    struct random *random = &sim->faults.random;
    struct node *node = sim->nodes[fault->node];

    switch (fault->type) {
    case FAULT_CUT: choose_group(sim, fault); break;
    case FAULT_ONE_WAY: fault->turns = random_below(random, 2); break;
    case FAULT_PAUSE:
        fault->end_ms = sim_now(sim) + 1 + random_below(random, PAUSE_MAX_MS);
        node_pause(node, fault->end_ms);
        break;
    case FAULT_CRASH:
    case FAULT_CLOCK:
        fault->end_ms =
            sim_now(sim) + 1 + random_below(random, random_chance(random, 30) ? 3000 : DOWN_MAX_MS);
        node_crash(node, random_chance(random, 50));
        break;
    case FAULT_DRIFT:
        clock_set(&node->wall, sim_now(sim), clock_ahead_ms(&node->wall, sim_now(sim)),
                  random_either_way(random, 100));
        break;
    case FAULT_JUMP: set_clock_wrong(sim, node); break;
    case FAULT_MEMORY: node->is_short_of_memory = true; break;
    case FAULT_ALLOCATION: node->failing_permille = 20 + random_below(random, 400); break;
    case FAULT_SLOW_LINK:
    case FAULT_LOSS:
    case FAULT_DOUBLE:
    case FAULT_SHUFFLE:
    case FAULT_FLAP:
    case FAULT_SLOW_NODE:
    case FAULT_TYPES: break;
    case FAULT_MEMBERS:
        fault->end_ms = sim_now(sim) + MEMBERS_MS;
        change_members(sim, node, sim->nodes[fault->peer]);
        break;
    }
    choose_quality(sim, fault);
    change_links(sim, fault, 1);
}

static void end(struct sim *sim, struct fault *fault)
{
    struct node *node = sim->nodes[fault->node];

    if (fault->type != FAULT_FLAP || fault->turns % 2 == 0)
        change_links(sim, fault, -1);
    switch (fault->type) {
    case FAULT_CLOCK:
        set_clock_wrong(sim, node);
        node_start(node);
        break;
    case FAULT_CRASH: node_start(node); break;
    case FAULT_DRIFT:
    case FAULT_JUMP: set_clock_right(sim, node); break;
    case FAULT_MEMORY: node->is_short_of_memory = false; break;
    case FAULT_ALLOCATION: node->failing_permille = 0; break;
    case FAULT_SLOW_LINK:
    case FAULT_LOSS:
    case FAULT_DOUBLE:
    case FAULT_SHUFFLE:
    case FAULT_CUT:
    case FAULT_ONE_WAY:
    case FAULT_FLAP:
    case FAULT_SLOW_NODE:
    case FAULT_PAUSE:
    case FAULT_MEMBERS:
    case FAULT_TYPES: break;
    }
    report_event(&sim->report, 0x601, fault->type, fault->node);
    report_line(sim, (int)fault->node, TRUTH_NO_KEY, "fault ends: %s",
                options_fault_name(fault->type));
    engine_set(&sim->engine, &fault->timer, ENGINE_NEVER);
    fault->is_on = false;
    sim->faults.changed_ms = sim_now(sim);
}

/* When the fault does something again: its end, or its next turn. */
static uint64_t next_turn_ms(struct sim *sim, const struct fault *fault)
{
    unsigned most_ms = fault->type == FAULT_FLAP     ? FLAP_MAX_MS
                       : fault->type == FAULT_MEMORY ? EVICT_MAX_MS
                                                     : 0;
    uint64_t turn_ms = sim_now(sim) + 1;

    if (most_ms == 0)
        return fault->end_ms;
    turn_ms += random_below(&sim->faults.random, most_ms);
    return turn_ms < fault->end_ms ? turn_ms : fault->end_ms;
}

static void on_timer(struct sim *sim, struct engine_entry *entry)
{
    struct fault *fault = ENGINE_OWNER(entry, struct fault, timer);

    assert(fault->is_on);
    if (sim_now(sim) >= fault->end_ms) {
        end(sim, fault);
        return;
    }
    if (fault->type == FAULT_FLAP) {
        change_links(sim, fault, ++fault->turns % 2 == 0 ? 1 : -1);
        sim->faults.changed_ms = sim_now(sim);
    }
    if (fault->type == FAULT_MEMORY && sim->nodes[fault->node]->is_up)
        node_evict_some(sim->nodes[fault->node]);
    engine_set(&sim->engine, entry, next_turn_ms(sim, fault));
}

/* Whether a fault of that type is on at the node already: those of nodes come one at a time. */
static bool is_taken(const struct sim *sim, enum fault_type type, unsigned node)
{
    bool is_life = type == FAULT_CRASH || type == FAULT_CLOCK || type == FAULT_PAUSE;
    bool is_time = type == FAULT_CLOCK || type == FAULT_DRIFT || type == FAULT_JUMP;

    for (unsigned i = 0; i < FAULTS_MAX; i++) {
        const struct fault *fault = &sim->faults.slots[i];
        if (!fault->is_on || fault->node != node)
            continue;
        if (fault->type == type)
            return true;
        if (is_life && (fault->type == FAULT_CRASH || fault->type == FAULT_CLOCK ||
                        fault->type == FAULT_PAUSE))
            return true;
        if (is_time &&
            (fault->type == FAULT_CLOCK || fault->type == FAULT_DRIFT || fault->type == FAULT_JUMP))
            return true;
    }
    return (is_life || is_time) && !sim->nodes[node]->is_up;
}

static enum fault_type choose_type(struct sim *sim)
{
    unsigned type;

    do {
        type = random_below(&sim->faults.random, FAULT_TYPES);
    } while ((sim->options.faults >> type & 1) == 0);
    return (enum fault_type)type;
}

static uint64_t random_length_ms(struct random *random)
{
    return 1 +
           (random_chance(random, 70) ? random_below(random, 30000) : random_below(random, 300000));
}

static void on_next(struct sim *sim, struct engine_entry *entry)
{
    struct faults *faults = &sim->faults;
    enum fault_type type = choose_type(sim);
    unsigned node = random_below(&faults->random, sim->node_count);
    unsigned peer =
        (node + 1 + random_below(&faults->random, sim->node_count - 1)) % sim->node_count;
    struct fault *fault = NULL;

    (void)entry;
    next_later(sim);
    for (unsigned i = 0; i < FAULTS_MAX; i++)
        if (!faults->slots[i].is_on)
            fault = &faults->slots[i];
    if (fault == NULL || is_taken(sim, type, node) || !node_is_member(sim->nodes[node]))
        return;
    fault->is_on = true;
    fault->type = type;
    fault->node = node;
    fault->peer = peer;
    fault->turns = 0;
    fault->end_ms = sim_now(sim) + random_length_ms(&faults->random);
    faults->begun[type]++;
    faults->changed_ms = sim_now(sim);
    report_event(&sim->report, 0x600, type, node);
    report_line(sim, (int)node, TRUTH_NO_KEY, "fault begins: %s (peer n%u)",
                options_fault_name(type), peer + 1);
    begin(sim, fault);
    engine_set(&sim->engine, &fault->timer, next_turn_ms(sim, fault));
}

uint64_t faults_stop(struct sim *sim)
{
    uint64_t end_ms = sim_now(sim);

    engine_set(&sim->engine, &sim->faults.next, ENGINE_NEVER);
    for (unsigned i = 0; i < sim->node_count; i++)
        if (sim->nodes[i]->paused_until_ms > end_ms)
            end_ms = sim->nodes[i]->paused_until_ms;
    return end_ms;
}

void faults_heal(struct sim *sim)
{
    for (unsigned i = 0; i < FAULTS_MAX; i++)
        if (sim->faults.slots[i].is_on)
            end(sim, &sim->faults.slots[i]);
    for (unsigned i = 0; i < sim->node_count; i++)
        set_clock_right(sim, sim->nodes[i]);
}
