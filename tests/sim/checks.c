#include "tests/sim/checks.h"
#include "tests/sim/node.h"
#include "tests/sim/sim.h"
#include <inttypes.h>

static void check_queues(struct sim *sim)
{
    for (unsigned i = 0; i < sim->node_count; i++)
        if (sim->nodes[i]->requests != NULL)
            report_broken(sim, PROMISE_BOUNDED, sim->nodes[i]->requests->command->key,
                          "n%u still works at a request that began long ago", i + 1);
}

bool checks_settled(struct sim *sim)
{
    check_queues(sim);
    return sim->report.broken == PROMISE_NONE;
}

void checks_begin_idle(struct sim *sim)
{
    for (unsigned type = 0; type < MESSAGE_TYPES; type++)
        sim->network.sent_before[type] = sim->network.sent[type];
}

bool checks_idle(struct sim *sim)
{
    for (unsigned type = 0; type < MESSAGE_TYPES; type++)
        if (type != MESSAGE_PING && sim->network.sent[type] != sim->network.sent_before[type])
            report_broken(sim, PROMISE_IDLE_IS_SILENT, TRUTH_NO_KEY,
                          "%" PRIu64 " messages of the kind: %s",
                          sim->network.sent[type] - sim->network.sent_before[type],
                          message_name((enum message_type)type));
    return sim->report.broken == PROMISE_NONE;
}
