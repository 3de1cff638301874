/* Sim: one run: a cluster, its clients, what goes wrong, and what is true.
 *
 * Threads: one. */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "ring/budget.h"
#include "ring/claimant.h"
#include "ring/hints.h"
#include "ring/liveness.h"
#include "ring/sync.h"
#include "ring/table.h"
#include "tests/sim/engine.h"
#include "tests/sim/faults.h"
#include "tests/sim/network.h"
#include "tests/sim/options.h"
#include "tests/sim/report.h"
#include "tests/sim/truth.h"
#include "tests/sim/workload.h"

/* How the cluster is configured; drawn from the seed. */
struct settings {
    unsigned copies, read_quorum, write_quorum;
    uint64_t deadline_ms; /* of a client's command */
    uint64_t drift_max_ms;
    uint64_t tombstone_grace_ms;
    unsigned siblings_max;
    struct liveness_options liveness;
    struct hints_options hints;
    uint32_t hint_bytes; /* that each takes */
    struct sync_options sync;
    struct budget_options budget;
    uint32_t retry_ms; /* of fills and handoffs */
};

/* What a key's siblings mean. */
enum key_policy { POLICY_VALUE, POLICY_LAST_WINS, POLICY_COUNTER };

struct key {
    uint64_t hash; /* its lowest 16 bits are the number of the key */
    enum key_policy policy;
};

/* The seasons of a run, one after the other until its time is over. */
enum season {
    SEASON_FAULTS, /* clients work while all kinds of things go wrong */
    SEASON_SETTLE, /* nothing is wrong any more, and clients wait */
    SEASON_CALM,   /* clients work and nothing goes wrong */
    SEASON_IDLE    /* nothing happens */
};

struct sim {
    struct options options;
    struct settings settings;
    struct random random; /* for what is drawn at the start */
    struct engine engine;
    struct network network;
    struct truth truth;
    struct report report;
    struct key *keys;
    unsigned *keys_by_hash; /* their numbers */
    struct node *nodes[SIM_NODES_MAX];
    unsigned node_count; /* that there ever may be; not all are up */
    struct workload workload;
    struct faults faults;
    enum season season;
    uint64_t season_ms;                  /* when it began */
    uint64_t reaped_ms;                  /* when a tombstone was last reaped */
    unsigned rounds;                     /* in which everything settled and was checked */
    struct claimant_work *claimant_work; /* shared by all nodes */
    /* Where the clients are those of a story (tests/scenario): it hears the answers. */
    void (*hears)(struct sim *, unsigned node, const struct command *,
                  const struct command_answer *);
    struct story *story;
};

/* Makes a cluster and starts its nodes; then time may pass. */
void sim_begin(struct sim *, const struct options *, bool is_printing);

/* Puts the keys in order after their hashes were chosen; only while no cell is held. */
void sim_order_keys(struct sim *);

/* Runs a whole run; `sim` is big, and the caller's.  What came of it is in its report. */
void sim_run(struct sim *, const struct options *, bool is_printing);
void sim_deinit(struct sim *);

/* The node of that id, by index; SIM_NODES_MAX for an id that no node has. */
unsigned sim_index_of(node_id);

/* The first id of a node; with each life that has to be another actor, it gets another one. */
#define SIM_ACTOR_IDS 1000

static inline uint64_t sim_now(const struct sim *sim)
{
    return sim->engine.now_ms;
}

/* The number of a key. */
static inline unsigned sim_key_of(uint64_t key_hash)
{
    return (unsigned)(key_hash & 0xffff);
}

/* Whether it is one of the keys: hashes come in messages. */
static inline bool sim_has_key(const struct sim *sim, uint64_t key_hash)
{
    return sim_key_of(key_hash) < sim->options.keys &&
           sim->keys[sim_key_of(key_hash)].hash == key_hash;
}

#endif
