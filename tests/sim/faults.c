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

/* --- links: which a fault concerns, and what is wrong with them --- */

static bool is_every(const struct fault *fault, unsigned from, unsigned to)
{
    (void)fault, (void)from, (void)to;
    return true;
}

static bool is_to_peer(const struct fault *fault, unsigned from, unsigned to)
{
    return from == fault->node && to == fault->peer;
}

static bool is_with_peer(const struct fault *fault, unsigned from, unsigned to)
{
    return is_to_peer(fault, from, to) || is_to_peer(fault, to, from);
}

static bool is_between_groups(const struct fault *fault, unsigned from, unsigned to)
{
    return set_has(&fault->group, from) != set_has(&fault->group, to);
}

static bool is_of_node(const struct fault *fault, unsigned from, unsigned to)
{
    (void)to;
    return from == fault->node;
}

static bool is_one_way(const struct fault *fault, unsigned from, unsigned to)
{
    return fault->turns % 2 == 0 ? from == fault->node : to == fault->node;
}

static void choose_slow(struct random *random, struct network_quality *quality)
{
    quality->slow_ms = 20 + random_below(random, 1000);
}

static void choose_loss(struct random *random, struct network_quality *quality)
{
    quality->loss_permille = 10 + random_below(random, 250);
}

static void choose_double(struct random *random, struct network_quality *quality)
{
    quality->double_permille = 10 + random_below(random, 300);
}

static void choose_shuffle(struct random *random, struct network_quality *quality)
{
    quality->shuffle_ms = 10 + random_below(random, 2000);
}

static void choose_cut(struct random *random, struct network_quality *quality)
{
    (void)random;
    quality->cuts = 1;
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

/* --- what happens when a fault begins and ends, besides what it does to links --- */

static void begin_cut(struct sim *sim, struct fault *fault, struct node *node)
{
    struct random *random = &sim->faults.random;

    (void)node;
    set_clear(&fault->group);
    for (unsigned i = 0; i < sim->node_count; i++)
        if (random_chance(random, 50))
            set_add(&fault->group, i);
    set_add(&fault->group, fault->node);
    set_remove(&fault->group, fault->peer);
}

static void begin_one_way(struct sim *sim, struct fault *fault, struct node *node)
{
    (void)node;
    fault->turns = random_below(&sim->faults.random, 2);
}

static void begin_pause(struct sim *sim, struct fault *fault, struct node *node)
{
    fault->end_ms = sim_now(sim) + 1 + random_below(&sim->faults.random, PAUSE_MAX_MS);
    node_pause(node, fault->end_ms);
}

static void begin_crash(struct sim *sim, struct fault *fault, struct node *node)
{
    struct random *random = &sim->faults.random;

    fault->end_ms =
        sim_now(sim) + 1 + random_below(random, random_chance(random, 30) ? 3000 : DOWN_MAX_MS);
    node_crash(node, random_chance(random, 50));
}

static void end_crash(struct sim *sim, struct node *node)
{
    (void)sim;
    node_start(node);
}

static void end_clock(struct sim *sim, struct node *node)
{
    set_clock_wrong(sim, node);
    node_start(node);
}

static void begin_drift(struct sim *sim, struct fault *fault, struct node *node)
{
    (void)fault;
    clock_set(&node->wall, sim_now(sim), clock_ahead_ms(&node->wall, sim_now(sim)),
              random_either_way(&sim->faults.random, 100));
}

static void begin_jump(struct sim *sim, struct fault *fault, struct node *node)
{
    (void)fault;
    set_clock_wrong(sim, node);
}

static void begin_memory(struct sim *sim, struct fault *fault, struct node *node)
{
    (void)sim, (void)fault;
    node->is_short_of_memory = true;
}

static void end_memory(struct sim *sim, struct node *node)
{
    (void)sim;
    node->is_short_of_memory = false;
}

static void begin_allocation(struct sim *sim, struct fault *fault, struct node *node)
{
    (void)fault;
    node->failing_permille = 20 + random_below(&sim->faults.random, 400);
}

static void end_allocation(struct sim *sim, struct node *node)
{
    (void)sim;
    node->failing_permille = 0;
}

static void begin_members(struct sim *sim, struct fault *fault, struct node *node)
{
    fault->end_ms = sim_now(sim) + MEMBERS_MS;
    change_members(sim, node, sim->nodes[fault->peer]);
}

/* --- all there are --- */

static const struct kind {
    bool (*concerns)(const struct fault *, unsigned from, unsigned to); /* that link; NULL: none */
    void (*choose)(struct random *, struct network_quality *); /* what is wrong with those links */
    void (*begin)(struct sim *, struct fault *, struct node *);
    void (*end)(struct sim *, struct node *);
    unsigned turn_max_ms; /* between what it does again and again; 0: it just lasts */
    bool hurts_nodes;     /* faults_hurt_nodes() */
    bool is_life;         /* the node does not run: one such fault at a time */
    bool is_time;         /* the node's clock is wrong: the same */
} kinds[FAULT_TYPES] = {
    [FAULT_SLOW_LINK] = {.concerns = is_to_peer, .choose = choose_slow},
    [FAULT_LOSS] = {.concerns = is_every, .choose = choose_loss},
    [FAULT_DOUBLE] = {.concerns = is_every, .choose = choose_double},
    [FAULT_SHUFFLE] = {.concerns = is_every, .choose = choose_shuffle},
    [FAULT_CUT] = {.concerns = is_between_groups, .choose = choose_cut, .begin = begin_cut},
    [FAULT_ONE_WAY] = {.concerns = is_one_way, .choose = choose_cut, .begin = begin_one_way},
    [FAULT_FLAP] = {.concerns = is_with_peer, .choose = choose_cut, .turn_max_ms = FLAP_MAX_MS},
    [FAULT_SLOW_NODE] = {.concerns = is_of_node, .choose = choose_slow},
    [FAULT_PAUSE] = {.begin = begin_pause, .is_life = true},
    [FAULT_CRASH] = {.begin = begin_crash, .end = end_crash, .hurts_nodes = true, .is_life = true},
    [FAULT_CLOCK] = {.begin = begin_crash,
                     .end = end_clock,
                     .hurts_nodes = true,
                     .is_life = true,
                     .is_time = true},
    [FAULT_DRIFT] = {.begin = begin_drift,
                     .end = set_clock_right,
                     .hurts_nodes = true,
                     .is_time = true},
    [FAULT_JUMP] = {.begin = begin_jump,
                    .end = set_clock_right,
                    .hurts_nodes = true,
                    .is_time = true},
    [FAULT_MEMORY] = {.begin = begin_memory, .end = end_memory, .turn_max_ms = EVICT_MAX_MS},
    [FAULT_ALLOCATION] = {.begin = begin_allocation, .end = end_allocation, .hurts_nodes = true},
    [FAULT_MEMBERS] = {.begin = begin_members, .hurts_nodes = true},
};

bool faults_hurt_nodes(const struct sim *sim)
{
    for (unsigned i = 0; i < FAULTS_MAX; i++) {
        const struct fault *fault = &sim->faults.slots[i];
        if (fault->is_on && kinds[fault->type].hurts_nodes)
            return true;
    }
    return false;
}

/* --- a fault begins, has its turn, and ends --- */

/* Adds the fault's quality to all links that it concerns, or takes it off them again. */
static void change_links(struct sim *sim, const struct fault *fault, int times)
{
    const struct kind *kind = &kinds[fault->type];
    unsigned count = kind->concerns == NULL ? 0 : sim->node_count;

    for (unsigned from = 0; from < count; from++)
        for (unsigned to = 0; to < count; to++)
            if (from != to && kind->concerns(fault, from, to))
                network_add(sim, from, to, &fault->quality, times);
}

static void begin(struct sim *sim, struct fault *fault)
{
    const struct kind *kind = &kinds[fault->type];

    assert(kind->begin != NULL || kind->concerns != NULL);
    assert((kind->concerns == NULL) == (kind->choose == NULL));
    if (kind->begin != NULL)
        kind->begin(sim, fault, sim->nodes[fault->node]);
    fault->quality = (struct network_quality){0};
    if (kind->choose != NULL)
        kind->choose(&sim->faults.random, &fault->quality);
    change_links(sim, fault, 1);
}

static void end(struct sim *sim, struct fault *fault)
{
    const struct kind *kind = &kinds[fault->type];

    if (fault->type != FAULT_FLAP || fault->turns % 2 == 0)
        change_links(sim, fault, -1);
    if (kind->end != NULL)
        kind->end(sim, sim->nodes[fault->node]);
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
    const unsigned most_ms = kinds[fault->type].turn_max_ms;
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
    const struct kind *kind = &kinds[type];

    for (unsigned i = 0; i < FAULTS_MAX; i++) {
        const struct fault *fault = &sim->faults.slots[i];
        const struct kind *other = &kinds[fault->type];
        if (fault->is_on && fault->node == node &&
            (fault->type == type || (kind->is_life && other->is_life) ||
             (kind->is_time && other->is_time)))
            return true;
    }
    return (kind->is_life || kind->is_time) && !sim->nodes[node]->is_up;
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
