/* What a node shows of itself and its cluster: docs/CLUSTER.md says what each line means.
 *
 * Threads: the cluster thread. */
#include "ring/key_hash.h"
#include "server/cell_store.h"
#include "server/node_inside.h"
#include "server/operator.h"
#include "server/policy.h"
#include "server/repair_stats.h"
#include "server/request.h"
#include "server/settings.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NAMES_BYTES (RING_MEMBERS_MAX * (MEMBER_NAME_MAX + 1) + 1)

/* --- one node --- */

static const char *seen_text(const struct node *node, node_id id)
{
    const struct liveness_peer *peer = liveness_find(&node->liveness, id);

    if (id == node->id)
        return "self";
    if (peer == NULL)
        return "unknown";
    switch (peer->state) {
    case LIVENESS_UNKNOWN: return "unknown";
    case LIVENESS_REACHABLE: return "up";
    case LIVENESS_UNREACHABLE: return "down";
    case LIVENESS_RETURNING: return "returning";
    }
    return "unknown";
}

static const char *status_text(enum member_status status)
{
    switch (status) {
    case MEMBER_JOINING: return "joining";
    case MEMBER_UP: return "up";
    case MEMBER_LEAVING: return "leaving";
    case MEMBER_GONE: return "gone";
    }
    return "gone";
}

/* The partitions for which that node warms, as far as this one knows. */
static unsigned count_warming(const struct node *node, node_id id)
{
    const uint64_t *bits = node->table == NULL ? NULL : node_repair_warming(node, id);
    unsigned count = 0;

    for (unsigned i = 0; bits != NULL && i < RING_BITMAP_WORDS(node->table->partition_bits); i++)
        count += (unsigned)__builtin_popcountll(bits[i]);
    return count;
}

/* HOST:PORT, an IPv6 host in brackets; "-" without a port. */
static void format_address(char text[MEMBER_ADDRESS_MAX + 16], const char *host, unsigned port)
{
    bool needs_brackets = strchr(host, ':') != NULL;

    if (port == 0)
        strcpy(text, "-");
    else
        snprintf(text, MEMBER_ADDRESS_MAX + 16, needs_brackets ? "[%s]:%u" : "%s:%u", host, port);
}

static void report_addresses(struct report *report, const char *who,
                             const struct member_record *record)
{
    struct node_address address = {.host = ""};
    char text[MEMBER_ADDRESS_MAX + 16];

    if (!node_address_parse(&record->address, &address))
        address.client_port = address.peer_port = 0;
    format_address(text, address.host, address.client_port);
    report_text(report, who, "address", text);
    format_address(text, address.host, address.peer_port);
    report_text(report, who, "peer_address", text);
}

static void report_ownership(struct report *report, const char *who, const struct node *node,
                             node_id id)
{
    unsigned owned[RING_MEMBERS_MAX], first[RING_MEMBERS_MAX];
    int index = -1;

    if (node->table != NULL) {
        ring_table_count(node->table, owned, first);
        index = ring_table_find_member(node->table, id);
    }
    report_u64(report, who, "owned", index < 0 ? 0 : owned[index]);
    report_u64(report, who, "first", index < 0 ? 0 : first[index]);
}

static void report_placement(struct report *report, const char *who,
                             const struct member_record *record)
{
    report_format(report, who, "zone", "%.*s",
                  record->zone_name.size == 0 ? 1 : record->zone_name.size,
                  record->zone_name.size == 0 ? "-" : record->zone_name.bytes);
    report_u64(report, who, "weight", record->weight);
}

static uint64_t hints_for(const struct repair_stats *stats, node_id id)
{
    for (unsigned i = 0; i < stats->target_count; i++)
        if (stats->targets[i].id == id)
            return stats->targets[i].hints;
    return 0;
}

/* How far the newest write that is known of the node lies ahead of this node's clock. */
static uint64_t clock_ahead_ms(const struct node *node, const struct member_record *record)
{
    uint64_t wall_ms = node_wall_ms(node), its_ms = hlc_ms(record->ceiling);

    return record->id != node->id && its_ms > wall_ms ? its_ms - wall_ms : 0;
}

static void show_member(struct node *node, const struct member_record *record,
                        const struct repair_stats *stats, struct report *report)
{
    const struct liveness_peer *peer = liveness_find(&node->liveness, record->id);
    char name[MEMBER_NAME_MAX + 1];
    const char *who = node_name_of(node, record->id, name);

    report_format(report, who, "id", "%016" PRIx64, record->id);
    report_text(report, who, "status", status_text(record->status));
    report_text(report, who, "seen", seen_text(node, record->id));
    report_placement(report, who, record);
    report_addresses(report, who, record);
    report_ownership(report, who, node, record->id);
    report_u64(report, who, "warming", count_warming(node, record->id));
    report_u64(report, who, "round_trip_us",
               peer != NULL && peer->has_round_trip ? peer->round_trip_us : 0);
    report_u64(report, who, "ahead_ms", clock_ahead_ms(node, record));
    report_u64(report, who, "hints", hints_for(stats, record->id));
    report_bool(report, who, "is_cut", node_is_cut(node, record->id));
}

/* --- status --- */

static void show_settings(struct node *node, struct report *report)
{
    char name[MEMBER_NAME_MAX + 1];
    bool has_table = node->table != NULL;

    report_u64(report, NULL, "epoch", has_table ? node->table->version.epoch : 0);
    report_text(report, NULL, "claimant",
                has_table ? node_name_of(node, node->table->version.claimant, name) : "-");
    report_u64(report, NULL, "members", membership_live_count(&node->membership));
    report_u64(report, NULL, "partitions", has_table ? ring_table_partitions(node->table) : 0);
    report_u64(report, NULL, "copies", settings.copies);
    report_u64(report, NULL, "read_quorum", settings.read_quorum);
    report_u64(report, NULL, "write_quorum", settings.write_quorum);
}

static unsigned count_differing(const struct repair_stats *stats)
{
    unsigned count = 0;

    for (unsigned i = 0; i < stats->peer_count; i++)
        count += stats->peers[i].is_differing;
    return count;
}

static void show_self(struct node *node, const struct repair_stats *repair, struct report *report)
{
    unsigned reachable, of;
    struct store_stats store;
    struct node_moves moves;

    store_stats(node->store, &store);
    node_moves_of(node, &moves);
    node_count_reachable(node, &reachable, &of);
    report_bool(report, NULL, "has_majority", 2 * reachable > of);
    report_bool(report, NULL, "is_settled", moves.is_settled);
    report_u64(report, NULL, "time_ms", node_wall_ms(node));
    report_u64(report, NULL, "memory_bytes",
               store.bytes + store.index_bytes + store.overhead_bytes);
    report_u64(report, NULL, "memory_limit_bytes", store.limit_bytes);
    report_u64(report, NULL, "hints", repair->hints);
    report_u64(report, NULL, "hint_bytes", repair->hint_bytes);
    report_u64(report, NULL, "warming", count_warming(node, node->id));
    report_u64(report, NULL, "divergent", count_differing(repair));
    report_bool(report, NULL, "is_draining", node_is_draining());
}

/* Nothing of hints and repair before the node takes part. */
static void repair_stats_of(struct node *node, struct repair_stats *stats)
{
    *stats = (struct repair_stats){0};
    if (node->table != NULL)
        node_repair_stats(node, stats);
}

void node_show_status(struct node *node, struct operator_job *job)
{
    const struct membership *membership = &node->membership;
    struct report *report = &job->report;
    struct repair_stats stats;

    repair_stats_of(node, &stats);
    report_text(report, NULL, "node", settings.node_name);
    report_format(report, NULL, "node_id", "%016" PRIx64, node->id);
    show_settings(node, report);
    show_self(node, &stats, report);
    for (unsigned i = 0; i < membership->count; i++)
        if (membership->records[i].status != MEMBER_GONE)
            show_member(node, &membership->records[i], &stats, report);
}

/* What the store remembers of keys whose values went. */
static void show_cells(struct node *node, struct report *report)
{
    struct cell_store_stats cells;

    cell_store_stats(node->store, &cells);
    report_u64(report, NULL, "stubs", cells.stubs);
    report_u64(report, NULL, "stub_bytes", cells.stub_bytes);
    report_u64(report, NULL, "stubs_made", cells.stubs_made);
    report_u64(report, NULL, "stubs_forgotten", cells.stubs_forgotten);
    report_u64(report, NULL, "cells_forgotten", cells.cells_forgotten);
    report_u64(report, NULL, "tombstones", cells.tombstones);
    report_u64(report, NULL, "tombstone_bytes", cells.tombstone_bytes);
    report_u64(report, NULL, "tombstones_reaped", cells.tombstones_reaped);
    report_u64(report, NULL, "tombstones_reaped_early", cells.tombstones_reaped_early);
}

/* stats cluster: the same without the members, and what the requests of clients came to. */
void node_show_cluster(struct node *node, struct operator_job *job)
{
    struct report *report = &job->report;
    struct request_stats requests;
    struct repair_stats stats;

    repair_stats_of(node, &stats);
    report_bool(report, NULL, "cluster_enabled", true);
    report_text(report, NULL, "node", settings.node_name);
    report_format(report, NULL, "node_id", "%016" PRIx64, node->id);
    show_settings(node, report);
    show_self(node, &stats, report);
    requests_stats(&requests);
#define X(name) report_u64(report, NULL, "requests_" #name, requests.name);
    REQUEST_COUNTERS(X)
#undef X
    report_u64(report, NULL, "requests_in_flight", requests.in_flight);
    report_u64(report, NULL, "links_open", requests.links_open);
    show_cells(node, report);
}

/* --- ring --- */

/* Adds a name to a list with spaces between. */
static void add_name(char list[NAMES_BYTES], const struct node *node, node_id id)
{
    char name[MEMBER_NAME_MAX + 1];
    size_t used = strlen(list);

    snprintf(list + used, NAMES_BYTES - used, "%s%s", used == 0 ? "" : " ",
             node_name_of(node, id, name));
}

static bool is_warming(const struct node *node, unsigned partition, node_id id)
{
    const uint64_t *bits = node_repair_warming(node, id);

    return bits != NULL && (bits[partition / 64] >> partition % 64 & 1) != 0;
}

/* Who owns a key, and how they are. */
struct placement {
    unsigned partition, count;
    node_id owners[RING_COPIES_MAX];
    node_id coordinator; /* NODE_NONE: nobody is reachable */
    char names[NAMES_BYTES], fallbacks[NAMES_BYTES], down[NAMES_BYTES], warming[NAMES_BYTES];
};

/* The first reachable owner that is warm; if none is, the first reachable; else the first
 * reachable of the others (DESIGN, section 5). */
static void find_coordinator(const struct node *node, struct placement *placement)
{
    node_id reachable = NODE_NONE;

    for (unsigned i = 0; i < placement->count; i++) {
        node_id id = placement->owners[i];

        if (!liveness_is_reachable(&node->liveness, id))
            continue;
        if (reachable == NODE_NONE)
            reachable = id;
        if (placement->coordinator == NODE_NONE && !is_warming(node, placement->partition, id))
            placement->coordinator = id;
    }
    if (placement->coordinator == NODE_NONE)
        placement->coordinator = reachable;
}

static void place(const struct node *node, struct slice key, struct placement *placement)
{
    struct ring_preference preference;
    unsigned copies = policy_copies(policy_of(key));
    node_id id;

    *placement = (struct placement){.partition = ring_table_partition(node->table, key_hash(key))};
    placement->count =
        ring_table_owners(node->table, placement->partition, copies, placement->owners);
    for (unsigned i = 0; i < placement->count; i++) {
        id = placement->owners[i];
        add_name(placement->names, node, id);
        if (!liveness_is_reachable(&node->liveness, id))
            add_name(placement->down, node, id);
        if (is_warming(node, placement->partition, id))
            add_name(placement->warming, node, id);
    }
    find_coordinator(node, placement);
    ring_preference_start(&preference, node->table, placement->partition);
    for (unsigned i = 0; (id = ring_preference_next(&preference)) != NODE_NONE; i++) {
        if (i < placement->count)
            continue;
        add_name(placement->fallbacks, node, id);
        if (placement->coordinator == NODE_NONE && liveness_is_reachable(&node->liveness, id))
            placement->coordinator = id;
    }
}

static void show_key(struct node *node, struct slice key, struct report *report)
{
    struct placement *placement = malloc(sizeof *placement);
    char name[MEMBER_NAME_MAX + 1];

    if (placement == NULL) {
        report_server_error(report, "out of memory");
        return;
    }
    place(node, key, placement);
    report_format(report, NULL, "key", "%.*s", (int)key.size, (const char *)key.bytes);
    report_format(report, NULL, "hash", "%016" PRIx64, key_hash(key));
    report_u64(report, NULL, "partition", placement->partition);
    report_text(report, NULL, "owners", placement->names);
    report_text(report, NULL, "fallbacks", placement->fallbacks);
    report_text(report, NULL, "coordinator",
                placement->coordinator == NODE_NONE
                    ? "-"
                    : node_name_of(node, placement->coordinator, name));
    report_text(report, NULL, "owners_down", placement->down);
    report_text(report, NULL, "owners_warming", placement->warming);
    free(placement);
}

void node_show_ring(struct node *node, struct operator_job *job)
{
    const struct membership *membership = &node->membership;
    struct report *report = &job->report;
    struct node_moves moves;
    char name[MEMBER_NAME_MAX + 1];

    if (!node_has_table_or_report(node, report))
        return;
    if (job->count == 1) {
        show_key(node, job->words[0], report);
        return;
    }
    node_moves_of(node, &moves);
    report_u64(report, NULL, "epoch", node->table->version.epoch);
    report_text(report, NULL, "claimant", node_name_of(node, node->table->version.claimant, name));
    report_u64(report, NULL, "partitions", ring_table_partitions(node->table));
    report_u64(report, NULL, "copies", node->table->copies);
    report_u64(report, NULL, "zones_violated", moves.zones_violated);
    report_u64(report, NULL, "owners_missing", moves.owners_missing);
    for (unsigned i = 0; i < membership->count; i++) {
        const struct member_record *record = &membership->records[i];
        const char *who = node_name_of(node, record->id, name);

        if (record->status == MEMBER_GONE)
            continue;
        report_format(report, who, "id", "%016" PRIx64, record->id);
        report_placement(report, who, record);
        report_ownership(report, who, node, record->id);
    }
}

/* debug owners KEY */
void node_show_owners(struct node *node, struct operator_job *job)
{
    if (node_has_table_or_report(node, &job->report))
        show_key(node, job->words[0], &job->report);
}

void node_show_moves(struct node *node, struct operator_job *job)
{
    struct report *report = &job->report;
    struct node_moves moves;
    uint64_t left;

    if (!node_has_table_or_report(node, report))
        return;
    node_moves_of(node, &moves);
    left = moves.partitions_moved + moves.coming_or_going;
    for (unsigned i = 0; i < node->table->member_count; i++) {
        node_id id = node->table->members[i].id;

        if (liveness_is_reachable(&node->liveness, id))
            left += count_warming(node, id);
    }
    report_u64(report, NULL, "partitions_left", left);
    report_u64(report, NULL, "partitions_moved", moves.partitions_moved);
    report_u64(report, NULL, "nodes_coming_or_going", moves.coming_or_going);
    report_bool(report, NULL, "is_settled", moves.is_settled);
}

/* --- hints, repair, peers --- */

void node_show_hints(struct node *node, struct operator_job *job)
{
    struct report *report = &job->report;
    struct repair_stats stats;
    uint64_t deliverable = 0;
    char name[MEMBER_NAME_MAX + 1];

    repair_stats_of(node, &stats);
    for (unsigned i = 0; i < stats.target_count; i++)
        if (stats.targets[i].is_reachable)
            deliverable += stats.targets[i].hints;
    report_text(report, NULL, "node", settings.node_name);
    report_u64(report, NULL, "hints", stats.hints);
    report_u64(report, NULL, "hint_bytes", stats.hint_bytes);
    report_u64(report, NULL, "hint_memory_bytes", stats.hint_bytes_max);
    report_u64(report, NULL, "hints_deliverable", deliverable);
    report_u64(report, NULL, "hints_made", stats.hints_made);
    report_u64(report, NULL, "hints_delivered", stats.hints_delivered);
    report_u64(report, NULL, "hints_expired", stats.hints_expired);
    report_u64(report, NULL, "hints_unowned", stats.hints_unowned);
    report_u64(report, NULL, "hints_refused", stats.hints_refused);
    report_u64(report, NULL, "hints_received", stats.hints_received);
    for (unsigned i = 0; i < stats.target_count; i++) {
        const struct repair_stats_target *target = &stats.targets[i];
        const char *who = node_name_of(node, target->id, name);

        if (target->hints == 0 && !membership_has(&node->membership, target->id))
            continue;
        report_text(report, who, "seen", seen_text(node, target->id));
        report_u64(report, who, "hints", target->hints);
        report_u64(report, who, "bytes", target->bytes);
        report_u64(report, who, "oldest_ms", target->oldest_age_ms);
        report_u64(report, who, "delivered", target->delivered);
        report_u64(report, who, "expired", target->expired);
        report_u64(report, who, "unowned", target->unowned);
    }
}

static void show_repair_peer(struct node *node, const struct repair_stats_peer *peer,
                             struct report *report)
{
    char name[MEMBER_NAME_MAX + 1];
    const char *who = node_name_of(node, peer->id, name);

    report_bool(report, who, "is_differing", peer->is_differing);
    report_bool(report, who, "is_walking", peer->is_walking);
    report_u64(report, who, "walks", peer->walks);
    report_u64(report, who, "walks_fruitless", peer->walks_fruitless);
    report_u64(report, who, "walks_abandoned", peer->walks_abandoned);
    report_u64(report, who, "cells_taken", peer->cells_taken);
    report_u64(report, who, "cells_given", peer->cells_given);
    report_u64(report, who, "bytes_sent", peer->bytes_sent);
}

void node_show_repair(struct node *node, struct operator_job *job)
{
    struct report *report = &job->report;
    struct repair_stats stats;

    repair_stats_of(node, &stats);
    report_u64(report, NULL, "asked_left", node->table == NULL ? 0 : node_repair_left(node));
    report_u64(report, NULL, "divergent", count_differing(&stats));
    report_u64(report, NULL, "partitions_owned", stats.partitions_owned);
    report_u64(report, NULL, "partitions_warming", stats.partitions_warming);
    report_u64(report, NULL, "partitions_to_fill", stats.partitions_to_fill);
    report_u64(report, NULL, "partitions_after_cut", stats.partitions_after_cut);
    report_u64(report, NULL, "repair_cells_taken", stats.repair_cells_taken);
    report_u64(report, NULL, "repair_cells_given", stats.repair_cells_given);
    report_u64(report, NULL, "fill_cells_taken", stats.fill_cells_taken);
    report_u64(report, NULL, "fill_partitions_done", stats.fill_partitions_done);
    report_u64(report, NULL, "handoff_cells_given", stats.handoff_cells_given);
    report_u64(report, NULL, "handoff_cells_dropped", stats.handoff_cells_dropped);
    report_u64(report, NULL, "handoff_cells_left", stats.handoff_cells_left);
    report_u64(report, NULL, "siblings_forgotten", stats.siblings_forgotten);
    report_u64(report, NULL, "cells_sent", stats.cells_sent);
    report_u64(report, NULL, "cells_received", stats.cells_received);
    report_u64(report, NULL, "cells_changed", stats.cells_changed);
    report_u64(report, NULL, "cells_refused", stats.cells_refused);
    report_u64(report, NULL, "bytes_sent", stats.bytes_sent);
    report_u64(report, NULL, "budget_bytes_per_s", stats.budget_bytes_per_s);
    report_u64(report, NULL, "foreground_p99_us", stats.foreground_p99_us);
    for (unsigned i = 0; i < stats.peer_count; i++)
        show_repair_peer(node, &stats.peers[i], report);
}

static void show_link(const struct node *node, node_id id, const char *who, struct report *report)
{
    const struct node_links *links = &node->inside->links;
    struct peer_link_stats stats = {0};

    for (unsigned i = 0; i < links->count; i++)
        if (links->members[i].to == id && links->members[i].link != NULL)
            peer_link_stats(links->members[i].link, &stats);
    report_u64(report, who, "frames_sent", stats.frames_sent);
    report_u64(report, who, "frames_received", stats.frames_received);
    report_u64(report, who, "bytes_sent", stats.bytes_sent);
    report_u64(report, who, "bytes_received", stats.bytes_received);
    report_u64(report, who, "unsent_bytes", stats.unsent_bytes);
    report_u64(report, who, "refused_full", stats.refused_full);
    report_u64(report, who, "closed", stats.closed);
}

void node_show_peers(struct node *node, struct operator_job *job)
{
    struct report *report = &job->report;

    for (unsigned i = 0; i < node->liveness.peer_count; i++) {
        const struct liveness_peer *peer = &node->liveness.peers[i];
        char name[MEMBER_NAME_MAX + 1];
        const char *who = node_name_of(node, peer->id, name);

        report_text(report, who, "seen", seen_text(node, peer->id));
        report_u64(report, who, "incarnation", peer->incarnation);
        report_u64(report, who, "silent_ms", node_now_ms(node) - peer->proved_ms);
        report_bool(report, who, "reaches_us", peer->reaches_us);
        report_bool(report, who, "is_stopping", peer->is_stopping);
        report_bool(report, who, "is_cut", node_is_cut(node, peer->id));
        report_u64(report, who, "round_trip_us", peer->has_round_trip ? peer->round_trip_us : 0);
        report_u64(report, who, "deviation_us", peer->has_round_trip ? peer->deviation_us : 0);
        report_u64(report, who, "hedge_ms", liveness_hedge_ms(&node->liveness, peer->id));
        show_link(node, peer->id, who, report);
    }
}

/* --- discovery --- */

#define EPOCH_2026_S 1767225600u /* so that versions are short enough for 31 bits until 2094 */

/* Rises with each table, with each node that came, went or started again, and is the same on all
 * nodes that know the same. */
static uint64_t discovery_version(const struct node *node)
{
    uint64_t newest_s = EPOCH_2026_S, statuses = 0;

    for (unsigned i = 0; i < node->membership.count; i++) {
        const struct member_record *record = &node->membership.records[i];

        newest_s = record->incarnation / 1000 > newest_s ? record->incarnation / 1000 : newest_s;
        statuses += record->status;
    }
    return newest_s - EPOCH_2026_S + statuses +
           (node->table == NULL ? 0 : node->table->version.epoch);
}

void node_show_config(struct node *node, struct operator_job *job)
{
    const struct membership *membership = &node->membership;
    char *list = calloc(RING_MEMBERS_MAX, 2 * (MEMBER_ADDRESS_MAX + 16));
    size_t used = 0, room = RING_MEMBERS_MAX * 2 * (MEMBER_ADDRESS_MAX + 16);

    if (list == NULL) {
        report_server_error(&job->report, "out of memory");
        return;
    }
    for (unsigned i = 0; i < membership->count; i++) {
        const struct member_record *record = &membership->records[i];
        struct node_address address;

        /* Who leaves is not to get new clients. */
        if ((record->status != MEMBER_UP && record->status != MEMBER_JOINING) ||
            !node_address_parse(&record->address, &address) || address.client_port == 0)
            continue;
        used += (size_t)snprintf(list + used, room - used, "%s%s|%s|%u", used == 0 ? "" : " ",
                                 address.host, address.host, address.client_port);
    }
    report_u64(&job->report, NULL, "version", discovery_version(node));
    report_text(&job->report, NULL, "nodes", list);
    free(list);
}
