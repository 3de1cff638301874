#include "tests/sim/sim.h"
#include "tests/sim/checks.h"
#include "tests/sim/node.h"
#include <assert.h>
#include <inttypes.h>

#define START_MS      20000 /* for nodes to find each other */
#define FAULTS_MIN_MS 120000
#define FAULTS_MAX_MS 900000
#define CALM_MAX_MS   120000
#define IDLE_MS       120000
#define NODES_LEAST   3
#define NODES_MOST    9
#define SPARES        3 /* processes that may join */

unsigned sim_index_of(node_id id)
{
    return id == NODE_NONE || id == NODE_ANY ? SIM_NODES_MAX : (unsigned)((id - 1) % SIM_ACTOR_IDS);
}

/* Each fault, and each kind of work, is left out of half of the runs: what only shows where
 * something else does not happen shows too. */
static unsigned choose_some(struct random *random, unsigned bits)
{
    unsigned chosen = 0;

    for (unsigned i = 0; i < 32; i++)
        if (random_chance(random, 50))
            chosen |= bits & 1u << i;
    return chosen != 0 ? chosen : bits;
}

static void choose_options(struct sim *sim)
{
    struct options *options = &sim->options;

    if (options->nodes == 0)
        options->nodes = NODES_LEAST + random_below(&sim->random, NODES_MOST - NODES_LEAST + 1);
    if (options->faults == (1u << FAULT_TYPES) - 1)
        options->faults = choose_some(&sim->random, options->faults);
    if (options->workloads == (1u << WORKLOAD_TYPES) - 1)
        options->workloads = choose_some(&sim->random, options->workloads);
    unsigned any = 1u << WORKLOAD_BLIND | 1u << WORKLOAD_CONTEXT | 1u << WORKLOAD_CAS;
    if ((options->workloads & any) == 0)
        options->workloads |= 1u << WORKLOAD_CONTEXT;
}

static void choose_settings(struct sim *sim)
{
    static const unsigned quorums[][3] = {{3, 2, 2}, {3, 2, 2}, {3, 2, 2}, {3, 1, 3},
                                          {3, 3, 1}, {3, 1, 1}, {2, 1, 2}, {5, 3, 3}};
    const unsigned *quorum = quorums[random_below(&sim->random, 8)];

    if (sim->options.quorum[0] != 0)
        quorum = sim->options.quorum;

    sim->settings = (struct settings){
        .copies = quorum[0],
        .read_quorum = quorum[1],
        .write_quorum = quorum[2],
        .deadline_ms = 5000,
        .drift_max_ms = 60000,
        .tombstone_grace_ms = 1200000,
        .siblings_max = 16,
        .liveness = {.ping_ms = 1000,
                     .silence_min_ms = 2500,
                     .silence_max_ms = 4000,
                     .hold_min_ms = 500,
                     .hold_max_ms = 10000,
                     .calm_ms = 60000,
                     .hedge_min_ms = 20,
                     .hedge_max_ms = 1000},
        .hints = {.bytes_max = 1u << 20,
                  .lifetime_ms = 900000,
                  .retry_ms = 1000,
                  .pause_max_ms = 10000},
        .hint_bytes = 256,
        .sync = {.settle_ms = 500,
                 .pause_min_ms = 1000,
                 .pause_max_ms = 30000,
                 .retry_ms = 1000,
                 .repeats_max = 5,
                 .window = 4},
        .budget = budget_options_default,
        .retry_ms = 1000,
    };
    sim->settings.budget.target_us = 50000;
    if (sim->settings.copies > sim->options.nodes)
        sim->settings.copies = sim->options.nodes;
}

static void make_keys(struct sim *sim)
{
    sim->keys = calloc(sim->options.keys, sizeof sim->keys[0]);
    if (sim->keys == NULL)
        abort();
    for (unsigned i = 0; i < sim->options.keys; i++) {
        sim->keys[i].hash = (random_next(&sim->random) & ~(uint64_t)0xffff) | i;
        if (i % 6 == 4 && (sim->options.workloads >> WORKLOAD_POLICIES & 1) != 0)
            sim->keys[i].policy = POLICY_LAST_WINS;
        if (i % 6 == 2 && (sim->options.workloads >> WORKLOAD_COUNTER & 1) != 0)
            sim->keys[i].policy = POLICY_COUNTER;
    }
}

void sim_order_keys(struct sim *sim)
{
    if (sim->keys_by_hash == NULL)
        sim->keys_by_hash = calloc(sim->options.keys, sizeof sim->keys_by_hash[0]);
    if (sim->keys_by_hash == NULL)
        abort();
    for (unsigned i = 0; i < sim->options.keys; i++) {
        unsigned place = i;
        for (; place > 0 && sim->keys[sim->keys_by_hash[place - 1]].hash > sim->keys[i].hash;
             place--)
            sim->keys_by_hash[place] = sim->keys_by_hash[place - 1];
        sim->keys_by_hash[place] = i;
    }
}

void sim_begin(struct sim *sim, const struct options *options, bool is_printing)
{
    memset(sim, 0, sizeof *sim);
    sim->options = *options;
    sim->random.state = options->seed;
    choose_options(sim);
    choose_settings(sim);
    make_keys(sim);
    sim_order_keys(sim);
    engine_init(&sim->engine);
    report_init(&sim->report, options->is_tracing, is_printing, options->trace_key);
    sim->node_count = sim->options.nodes;
    if ((sim->options.faults >> FAULT_MEMBERS & 1) != 0)
        sim->node_count += SPARES;
    network_init(&sim->network, random_next(&sim->random), sim->node_count);
    truth_init(&sim->truth, sim->options.keys, sim->node_count);
    workload_init(sim, random_next(&sim->random));
    faults_init(sim, random_next(&sim->random));
    sim->claimant_work = calloc(1, sizeof *sim->claimant_work);
    if (sim->claimant_work == NULL)
        abort();
    for (unsigned i = 0; i < sim->node_count; i++)
        sim->nodes[i] = node_new(sim, i);
    for (unsigned i = 0; i < sim->options.nodes; i++)
        node_start(sim->nodes[i]);
    for (unsigned i = sim->options.nodes; i < sim->node_count; i++)
        sim->nodes[i]->is_spare = true;
}

static const char *season_name(enum season season)
{
    switch (season) {
    case SEASON_FAULTS: return "things go wrong";
    case SEASON_SETTLE: return "all is well again";
    case SEASON_CALM: return "all stays well";
    case SEASON_IDLE: return "nothing happens";
    }
    return "?";
}

/* Lets time pass.  False if a promise was broken. */
static bool pass(struct sim *sim, enum season season, uint64_t ms)
{
    uint64_t until_ms = sim_now(sim) + ms;
    struct engine_entry *entry;

    sim->season = season;
    sim->season_ms = sim_now(sim);
    report_line(sim, -1, TRUTH_NO_KEY, "--- %s", season_name(season));
    while ((entry = engine_next(&sim->engine, until_ms)) != NULL) {
        entry->run(sim, entry);
        if (sim->report.broken != PROMISE_NONE)
            return false;
    }
    return true;
}

/* One round through the seasons. */
static bool pass_round(struct sim *sim)
{
    uint64_t faults_ms = FAULTS_MIN_MS + random_below(&sim->random, FAULTS_MAX_MS - FAULTS_MIN_MS);
    uint64_t calm_ms = 1 + random_below(&sim->random, CALM_MAX_MS);

    workload_start(sim);
    faults_start(sim);
    if (!pass(sim, SEASON_FAULTS, faults_ms))
        return false;
    workload_stop(sim);
    if (!pass(sim, SEASON_FAULTS, faults_stop(sim) - sim_now(sim)))
        return false;
    faults_heal(sim);
    if (!pass(sim, SEASON_SETTLE, CHECKS_SETTLE_MS) || !checks_settled(sim))
        return false;
    workload_start(sim);
    if (!pass(sim, SEASON_CALM, calm_ms))
        return false;
    workload_stop(sim);
    if (!pass(sim, SEASON_SETTLE, CHECKS_CALM_MS))
        return false;
    checks_begin_idle(sim);
    if (!pass(sim, SEASON_IDLE, IDLE_MS) || !checks_idle(sim))
        return false;
    sim->rounds++;
    return true;
}

void sim_run(struct sim *sim, const struct options *options, bool is_printing)
{
    sim_begin(sim, options, is_printing);
    if (!pass(sim, SEASON_SETTLE, START_MS))
        return;
    while (sim_now(sim) < sim->options.run_ms && pass_round(sim))
        continue;
    report_event(&sim->report, 0x700, sim->engine.next_order, sim->workload.done);
}

void sim_deinit(struct sim *sim)
{
    for (struct engine_entry *entry; (entry = engine_next(&sim->engine, ENGINE_NEVER)) != NULL;)
        network_forget(&sim->network, entry); /* its owner is still there */
    for (unsigned i = 0; i < sim->node_count; i++)
        node_free(sim->nodes[i]);
    workload_deinit(sim);
    faults_deinit(&sim->faults);
    truth_deinit(&sim->truth);
    network_deinit(&sim->network);
    engine_deinit(&sim->engine);
    report_deinit(&sim->report);
    free(sim->claimant_work);
    free(sim->keys_by_hash);
    free(sim->keys);
}
