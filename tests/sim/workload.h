/* Workload: the clients, what they ask for, and whether they are served as promised.
 *
 * A client does one thing at a time, at a node of its choice, and remembers of each key what it
 * was last shown; some keep that for long before they write.
 *
 * Threads: one. */
#ifndef TESTS_SIM_WORKLOAD_H
#define TESTS_SIM_WORKLOAD_H

#include "ring/context.h"
#include "tests/sim/command.h"
#include "tests/sim/engine.h"
#include "tests/sim/set.h"
#include "tests/unit/random.h"

/* What a client remembers of a key. */
struct session {
    struct context seen;
    struct set shown; /* what the truth says it was shown */
    uint64_t token;   /* 0: it was shown nothing */
    uint64_t shown_ms;
};

/* One command under way, or lately done: it is kept until no answer may come any more. */
struct operation {
    struct engine_entry timer; /* when it has to be answered; then, when it is forgotten */
    struct operation *next_free;
    struct command *command;
    uint64_t number;
    unsigned client, node, node_life;
    uint64_t started_ms;
    uint64_t added_before; /* to its key, if that is a counter, by what was acknowledged then */
    unsigned answers;
    bool is_abandoned;   /* its node died: nobody will answer */
    bool has_to_succeed; /* enough nodes were reachable when it began */
    bool is_overdue;
};

struct client {
    struct engine_entry next; /* when it does something again */
    unsigned number;
    struct operation *operation; /* it waits for, or NULL */
    unsigned looks_at;           /* a key that it reads next, or TRUTH_NO_KEY */
    struct session *sessions;    /* by key */
};

struct workload {
    struct random random;
    struct client *clients;
    unsigned client_count;
    bool is_running;
    uint64_t next_number;
    struct operation *free;
    struct operation **all; /* ever made, to free them */
    unsigned all_count, all_room;
    uint64_t commands, done, failed, unknown, refused;
};

void workload_init(struct sim *, uint64_t seed);
void workload_deinit(struct sim *);

/* Lets the clients begin, or end after what they are doing. */
void workload_start(struct sim *);
void workload_stop(struct sim *);

/* A node answers. */
void workload_answer(struct sim *, unsigned node, const struct command *,
                     const struct command_answer *);

/* A node died, and with it the connections of its clients. */
void workload_lose_node(struct sim *, unsigned node);

#endif
