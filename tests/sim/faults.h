/* Faults: what goes wrong, when, and for how long.
 *
 * While they are on, faults begin at random times and end by themselves; faults_heal() ends all
 * that there are.
 *
 * Threads: one. */
#ifndef TESTS_SIM_FAULTS_H
#define TESTS_SIM_FAULTS_H

#include "tests/sim/engine.h"
#include "tests/sim/network.h"
#include "tests/sim/options.h"
#include "tests/unit/random.h"

#define FAULTS_MAX 16 /* at a time */

struct fault {
    struct engine_entry timer; /* its end, or its next turn */
    bool is_on;
    enum fault_type type;
    uint64_t end_ms;
    unsigned node, peer;
    struct set group; /* of a cut: one side */
    struct network_quality quality;
    unsigned turns; /* of a flapping link */
};

struct faults {
    struct engine_entry next; /* when another one begins */
    struct random random;
    struct fault slots[FAULTS_MAX];
    uint64_t changed_ms; /* when one last began, ended or had its turn */
    uint64_t begun[FAULT_TYPES];
};

void faults_init(struct sim *, uint64_t seed);
void faults_deinit(struct faults *);

/* Lets things go wrong from now on. */
void faults_start(struct sim *);

/* Lets nothing further go wrong, and says when the last node that stands still will go on. */
uint64_t faults_stop(struct sim *);

/* Ends all faults: links are healthy, nodes run and have the right time. */
void faults_heal(struct sim *);

/* Whether nothing at all is wrong. */
bool faults_is_quiet(const struct sim *);

/* Whether nodes refuse what they are asked: they find no memory, or their clocks are wrong. */
bool faults_hurt_nodes(const struct sim *);

#endif
