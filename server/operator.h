/* Operator: what `cluster ...`, `stats ring` and their like ask of the cluster thread, and what a
 * worker makes of the answer.
 *
 *      worker (execute_operator.c)                cluster thread
 *   finds the command, checks who asks
 *   cluster_ask()                     ------->    operator_run(), node_operator.c
 *                                                   node_show.c    looks
 *                                                   node_plan.c    acts
 *   sends the report, or its error    <-------    which fills the report
 *
 * docs/CLUSTER.md says what each line of a report means.
 *
 * Threads: as in the drawing. */
#ifndef SERVER_OPERATOR_H
#define SERVER_OPERATOR_H

#include "server/arguments.h"
#include "server/cluster.h"
#include "server/report.h"

enum operator_command {
    OPERATOR_STATUS,
    OPERATOR_CLUSTER,
    OPERATOR_RING,
    OPERATOR_OWNERS,
    OPERATOR_HINTS,
    OPERATOR_MOVES,
    OPERATOR_REPAIR_STATS,
    OPERATOR_PEERS,
    OPERATOR_CONFIG,
    OPERATOR_PLAN,
    OPERATOR_COMMIT,
    OPERATOR_ACT, /* leave, remove, weight, zone, replace */
    OPERATOR_REPAIR,
    OPERATOR_DRAIN,
    OPERATOR_DEBUG_CUT,
    OPERATOR_DEBUG_HEAL,
    OPERATOR_DEBUG_REPAIR,
    OPERATOR_DEBUG_HANDOFF,
    OPERATOR_COMMAND_COUNT
};

/* On its way to the cluster thread and back. */
struct operator_job {
    struct cluster_job job; /* first; its run() is operator_run() */
    enum operator_command command;
    const char *name; /* of the command, as it was said */
    unsigned count;   /* words behind its name, without a `force` at the end of an act */
    struct slice words[ARGUMENT_WORDS_MAX];
    bool is_forced;
    struct report report;
};

/* On the cluster thread: does what the job says, and finishes it. */
void operator_run(struct node *, struct cluster_job *);

/* --- what only its files there use --- */

typedef void operator_function(struct node *, struct operator_job *);

/* Looking: node_show.c. */
operator_function node_show_status, node_show_ring, node_show_hints, node_show_repair;
operator_function node_show_peers, node_show_cluster, node_show_config, node_show_owners;

/* Acts: node_plan.c. */
operator_function node_plan, node_show_moves, node_carry_out, node_do_act;
operator_function node_begin_repair, node_drain;
operator_function node_debug_cut, node_debug_heal, node_debug_repair, node_debug_handoff;

/* What is under way, in short. */
struct node_moves {
    bool is_settled;           /* the table is as the members should have it, and nobody comes or
                                  goes */
    unsigned partitions_moved; /* owners who are yet to come to a partition */
    unsigned zones_violated, owners_missing; /* now */
    unsigned coming_or_going;                /* nodes that join or leave */
};

/* Fills `moves`; false: there is no table yet. */
bool node_moves_of(struct node *, struct node_moves *);

/* Counts the nodes of the table, and those of them that are reachable, itself included. */
void node_count_reachable(const struct node *, unsigned *reachable, unsigned *of);

/* `cluster drain` was asked for. */
bool node_is_draining(void);

/* How many nodes `cluster repair` has yet to compare with. */
unsigned node_repair_left(struct node *);

/* The member of that name or number; NODE_NONE, and the report says so, if there is none. */
node_id node_find_or_report(const struct node *, struct slice name, struct report *);

/* False, and the report says so: there is no table yet. */
bool node_has_table_or_report(const struct node *, struct report *);

#endif
