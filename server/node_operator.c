/* Commands of operators, handed to those who look and those who act.
 *
 * Threads: the cluster thread. */
#include "server/node.h"
#include "server/operator.h"
#include <assert.h>

static operator_function *const functions[OPERATOR_COMMAND_COUNT] = {
    [OPERATOR_STATUS] = node_show_status,
    [OPERATOR_CLUSTER] = node_show_cluster,
    [OPERATOR_RING] = node_show_ring,
    [OPERATOR_OWNERS] = node_show_owners,
    [OPERATOR_HINTS] = node_show_hints,
    [OPERATOR_MOVES] = node_show_moves,
    [OPERATOR_REPAIR_STATS] = node_show_repair,
    [OPERATOR_PEERS] = node_show_peers,
    [OPERATOR_CONFIG] = node_show_config,
    [OPERATOR_PLAN] = node_plan,
    [OPERATOR_COMMIT] = node_carry_out,
    [OPERATOR_ACT] = node_do_act,
    [OPERATOR_REPAIR] = node_begin_repair,
    [OPERATOR_DRAIN] = node_drain,
    [OPERATOR_DEBUG_CUT] = node_debug_cut,
    [OPERATOR_DEBUG_HEAL] = node_debug_heal,
    [OPERATOR_DEBUG_REPAIR] = node_debug_repair,
    [OPERATOR_DEBUG_HANDOFF] = node_debug_handoff,
};

void operator_run(struct node *node, struct cluster_job *job)
{
    struct operator_job *operator_job = (struct operator_job *)job;

    assert(operator_job->command < OPERATOR_COMMAND_COUNT);
    operator_job->report.error[0] = '\0'; /* that of a node that is stopping */
    functions[operator_job->command](node, operator_job);
    cluster_job_finish(node->cluster, job);
}
