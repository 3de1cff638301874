/* `stats cluster` and `stats siblings`: what a single node can say. */
#include "server/cells.h"
#include "server/settings.h"
#include "server/stats.h"

void stats_cluster(const struct stats_writer *writer)
{
    stats_bool(writer, "cluster_enabled", false);
    stats_u64(writer, "nodes", 1);
    stats_u64(writer, "copies", 1);
}

void stats_siblings(const struct stats_writer *writer)
{
    struct cells_stats cells;

    cells_stats(&cells);
    stats_u64(writer, "siblings_limit", settings.siblings_max);
    stats_u64(writer, "siblings_max", cells.siblings_max);
    stats_u64(writer, "context_writes", cells.context_writes);
    stats_u64(writer, "context_writes_with_siblings", cells.siblings_left);
    stats_u64(writer, "context_writes_over_limit", cells.refused_full);
    stats_u64(writer, "contexts_refused", cells.refused_context);
    stats_u64(writer, "intervals_dropped", cells.intervals_dropped);
}
