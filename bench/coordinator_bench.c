/* coordinatorbench: what coordinating one command costs, all answers coming at once.
 *
 *   nanoseconds per command of everything in ring/ that the coordinator and its replicas do: the
 *   route, all steps, messages, cells copied to where a network would bring them, merges, digests
 *
 * usage: coordinatorbench */

#include "ring/coordinator.h"
#include "ring/replica.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROOM = 8, NODES_MAX = 10, COMMANDS = 1 << 18, BITS = 4, ROUNDS = 5 };

struct replica {
    struct cell cell;
    struct sibling memory[ROOM];
    struct hlc_clock clock;
};

/* A cluster with one key, and one command at a time. */
static struct {
    struct ring_table table;
    unsigned char rows[RING_ROWS_BYTES(BITS, 3)];
    struct peer_view views[NODES_MAX];
    struct replica replicas[NODES_MAX];
    struct coordinator coordinator;
    struct cell cell;
    struct sibling memory[ROOM];
    struct request_effects effects;
    uint64_t wall_ms, number;
    bool has_answered;
} cluster;

static double now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* Partitions are owned by members 1, 2, 3: the key's coordinator is member 1. */
static void make_cluster(unsigned nodes, unsigned copies)
{
    ring_table_init(&cluster.table, BITS, copies, cluster.rows, sizeof cluster.rows);
    cluster.table.version = (struct ring_version){1, 1};
    cluster.table.member_count = nodes;
    for (unsigned i = 0; i < nodes; i++) {
        struct replica *replica = &cluster.replicas[i];
        cluster.table.members[i] = (struct ring_member){i + 1, 0, 1};
        cluster.views[i] = (struct peer_view){.is_reachable = true, .hedge_ms = 20};
        cell_init(&replica->cell, replica->memory, ROOM);
        hlc_clock_init(&replica->clock, 0);
    }
    for (unsigned p = 0; p < ring_table_partitions(&cluster.table); p++)
        for (unsigned i = 0; i < copies; i++)
            cluster.rows[p * copies + i] = (unsigned char)((p + i) % nodes);
}

static struct replica_now now_at(struct replica *replica)
{
    return (struct replica_now){.clock = &replica->clock,
                                .wall_ms = cluster.wall_ms,
                                .drift_max_ms = 60000,
                                .is_owner = true,
                                .has_room = true,
                                .has_hint_room = true};
}

static void step(struct coordinator_event event);

static void answer_store(const struct request_send *send)
{
    struct replica *replica = &cluster.replicas[send->to - 1];
    struct replica_now now = now_at(replica);
    struct store_request request = coordinator_store_request(&cluster.coordinator, send);
    struct store_reply reply = replica_store(&replica->cell, &request, &now).reply;

    step((struct coordinator_event){
        .type = COORDINATOR_STORE_REPLY, .now_ms = 1, .from = send->to, .store = &reply});
}

static void answer_fetch(const struct request_send *send)
{
    struct replica *replica = &cluster.replicas[send->to - 1];
    struct replica_now now = now_at(replica);
    struct fetch_request request = coordinator_fetch_request(&cluster.coordinator, send);
    struct fetch_reply reply = replica_fetch(&replica->cell, &request, &now);

    step((struct coordinator_event){
        .type = COORDINATOR_FETCH_REPLY, .now_ms = 1, .from = send->to, .fetch = &reply});
}

static struct dot apply(void)
{
    struct replica *own = &cluster.replicas[0];
    struct dot dot = {1, hlc_clock_next(&own->clock, cluster.wall_ms)};
    struct sibling write = sibling_of_value(dot, 0, 0, 100, dot.hlc, dot.hlc);

    if (cell_put_blind(&own->cell, &write) != CELL_PUT_DONE)
        abort();
    cell_copy(&cluster.cell, &own->cell);
    return dot;
}

static void step(struct coordinator_event event)
{
    struct request_effects *effects = &cluster.effects;
    struct request_send sends[REQUEST_SENDS_MAX];

    coordinator_step(&cluster.coordinator, &event, effects);
    cluster.has_answered |= effects->answers && effects->answer == ANSWER_DONE;
    unsigned send_count = effects->send_count;
    if (send_count > 0)
        memcpy(sends, effects->sends, send_count * sizeof sends[0]);
    if (effects->reads_own) {
        cell_copy(&cluster.cell, &cluster.replicas[0].cell);
        step((struct coordinator_event){.type = COORDINATOR_OWN_READ, .now_ms = 1});
    } else if (effects->applies) {
        struct dot dot = apply();
        step((struct coordinator_event){.type = COORDINATOR_APPLIED, .now_ms = 1, .dot = dot});
    }
    for (unsigned i = 0; i < send_count; i++)
        if (sends[i].kind == SEND_STORE)
            answer_store(&sends[i]);
        else
            answer_fetch(&sends[i]);
}

static void command(enum request_class class, unsigned copies, unsigned read_quorum,
                    unsigned write_quorum)
{
    cell_init(&cluster.cell, cluster.memory, ROOM);
    cluster.number++;
    cluster.wall_ms = 1000000 + cluster.number / 64;
    cluster.has_answered = false;
    cluster.effects.trace = NULL;
    route_make(&cluster.coordinator.route, &cluster.table, 12345, copies, 1, cluster.views);
    coordinator_init(&cluster.coordinator, &(struct coordinator_start){.id = {1, cluster.number},
                                                                       .operation = cluster.number,
                                                                       .key_hash = 12345,
                                                                       .class = class,
                                                                       .read_quorum = read_quorum,
                                                                       .write_quorum = write_quorum,
                                                                       .now_ms = 1,
                                                                       .deadline_ms = 1000,
                                                                       .wall_ms = cluster.wall_ms,
                                                                       .may_coordinate = true,
                                                                       .cell = &cluster.cell});
    step((struct coordinator_event){.type = COORDINATOR_START, .now_ms = 1});
    if (!cluster.has_answered || cluster.coordinator.phase != COORDINATOR_DONE)
        abort();
}

static void measure(enum request_class class, unsigned nodes, unsigned copies, unsigned read_quorum,
                    unsigned write_quorum)
{
    static const char *const names[] = {[REQUEST_READ] = "read",
                                        [REQUEST_BLIND] = "blind write",
                                        [REQUEST_DECIDED] = "read and write"};
    double best_ns = 1e18;

    make_cluster(nodes, copies);
    command(REQUEST_BLIND, copies, read_quorum, write_quorum);
    for (unsigned round = 0; round < ROUNDS; round++) {
        double start_ns = now_ns();
        for (unsigned i = 0; i < COMMANDS; i++)
            command(class, copies, read_quorum, write_quorum);
        double each_ns = (now_ns() - start_ns) / COMMANDS;
        if (each_ns < best_ns)
            best_ns = each_ns;
    }
    printf("%-15s %2u nodes (%u,%u,%u)  %7.0f ns\n", names[class], nodes, copies, read_quorum,
           write_quorum, best_ns);
}

static void measure_routes(unsigned nodes)
{
    struct route route;
    unsigned sum = 0;

    make_cluster(nodes, nodes < 3 ? nodes : 3);
    double start_ns = now_ns();
    for (unsigned i = 0; i < COMMANDS; i++) {
        route_make(&route, &cluster.table, (uint64_t)i << 47, 3, 1, cluster.views);
        sum += route.count;
    }
    printf("%-15s %2u nodes          %7.0f ns  (%.1f nodes in it)\n", "route", nodes,
           (now_ns() - start_ns) / COMMANDS, (double)sum / COMMANDS);
}

int main(void)
{
    printf(
        "bytes: coordinator %zu, of which route %zu, read %zu, write %zu; effects %zu; cell %zu\n",
        sizeof(struct coordinator), sizeof(struct route), sizeof(struct quorum_read),
        sizeof(struct quorum_write), sizeof(struct request_effects), sizeof(struct cell));
    measure_routes(1);
    measure_routes(3);
    measure_routes(10);
    measure(REQUEST_READ, 1, 1, 1, 1);
    measure(REQUEST_BLIND, 1, 1, 1, 1);
    measure(REQUEST_READ, 3, 3, 1, 1);
    measure(REQUEST_BLIND, 3, 3, 1, 1);
    measure(REQUEST_READ, 3, 3, 2, 2);
    measure(REQUEST_BLIND, 3, 3, 2, 2);
    measure(REQUEST_DECIDED, 3, 3, 2, 2);
    measure(REQUEST_READ, 10, 3, 2, 2);
    measure(REQUEST_BLIND, 10, 3, 2, 2);
    return 0;
}
