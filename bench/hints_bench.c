/* hintsbench: what the machines of background work cost.
 *
 *   hints      nanoseconds per hint to add it, to repeat it, to deliver it with its
 *              acknowledgement, and bytes of memory per hint
 *   liveness   nanoseconds per reply heard and per ping heard, with 254 peers
 *   warming    microseconds per answered ping while a node warms for all it owns, and when not
 *
 * usage: hintsbench [HINTS] */

#include "ring/hints.h"
#include "ring/liveness.h"
#include "ring/warming.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TARGETS = 30, PEERS = 254, BITS = RING_PARTITION_BITS_DEFAULT, COPIES = 3, ROUNDS = 20000 };

/* Of this process's own time: others on the machine take none of it. */
static double now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void *allocate(size_t count, size_t bytes)
{
    void *memory = calloc(count, bytes);

    if (memory == NULL) {
        fprintf(stderr, "hintsbench: no memory\n");
        exit(1);
    }
    return memory;
}

/* Steps until nothing is left: every delivery is acknowledged at once. */
static unsigned long drain(struct hints *hints, struct token_bucket *bucket)
{
    struct hints_event event = {.type = HINTS_TICK, .now_ms = 2, .bucket = bucket};
    unsigned long delivered = 0;

    for (unsigned i = 1; i <= TARGETS; i++) {
        struct hints_effects effects = {0};
        struct hints_event reachable = {
            .type = HINTS_REACHABLE, .now_ms = 1, .target = i, .bucket = bucket};
        token_bucket_set_rate(bucket, 0, 0, 1);
        hints_step(hints, &reachable, &effects);
    }
    token_bucket_init(bucket, (uint64_t)1 << 40, (uint64_t)1 << 40, 2);
    struct hints_effects effects = {0};
    hints_step(hints, &event, &effects);
    while (hints->count > 0) {
        struct hints_deliver delivers[HINTS_DELIVERS_MAX];
        unsigned count = effects.deliver_count;
        for (unsigned i = 0; i < count; i++)
            delivers[i] = effects.delivers[i];
        effects.deliver_count = 0;
        for (unsigned i = 0; i < count; i++) {
            struct hint_ack ack = {delivers[i].target, 100, delivers[i].number, HINT_STORED};
            struct hints_event acked = {
                .type = HINTS_ACK, .now_ms = 2, .ack = &ack, .bucket = bucket};
            hints_step(hints, &acked, &effects);
            delivered += effects.release_count;
            effects.release_count = 0;
        }
    }
    return delivered;
}

static void measure_hints(size_t count)
{
    struct hint *hint = allocate(count, sizeof *hint);
    struct hinted *cells = allocate(count, sizeof *cells);
    struct hints_target *targets = allocate(TARGETS, sizeof *targets);
    struct hints_options options = hints_options_default;
    struct token_bucket bucket;
    struct hints hints;
    struct hint spare;
    size_t refused = 0;

    options.bytes_max = UINT64_MAX / 2;
    hints_init(&hints, &options, targets, TARGETS, 1);
    token_bucket_init(&bucket, 1, 1, 1);
    double start_ns = now_ns();
    for (size_t i = 0; i < count; i++)
        refused += hints_add(&hints, &cells[i], &hint[i], 1 + i % TARGETS, 100, 1) != HINTS_ADDED;
    double added_ns = now_ns();
    for (size_t i = 0; i < count; i++)
        refused += hints_add(&hints, &cells[i], &spare, 1 + i % TARGETS, 100, 1) != HINTS_REPEATED;
    double repeated_ns = now_ns();
    unsigned long delivered = drain(&hints, &bucket);
    double end_ns = now_ns();
    printf("hints: %zu for %d targets: add %.0f ns, repeat %.0f ns, deliver and release %.0f ns\n",
           count, TARGETS, (added_ns - start_ns) / (double)count,
           (repeated_ns - added_ns) / (double)count, (end_ns - repeated_ns) / (double)count);
    printf("hints: %zu bytes for a hint, %zu more in its cell, %zu for a target\n", sizeof *hint,
           sizeof *cells, sizeof *targets);
    if (delivered != count || refused != 0)
        printf("hints: only %lu were delivered\n", delivered);
    free(targets);
    free(cells);
    free(hint);
}

static void measure_liveness(void)
{
    struct liveness *liveness = allocate(1, sizeof *liveness);
    node_id ids[PEERS + 1];

    for (unsigned i = 0; i <= PEERS; i++)
        ids[i] = 1 + i;
    liveness_init(liveness, 1, 1, NULL, 1);
    liveness_set_peers(liveness, ids, PEERS + 1, 1);
    double start_ns = now_ns();
    for (unsigned i = 0; i < ROUNDS * 50; i++) {
        struct liveness_effects effects;
        effects.trace = NULL;
        effects.send_count = effects.change_count = 0;
        struct liveness_event event = {.type = LIVENESS_REPLY,
                                       .now_ms = 2,
                                       .peer = 2 + i % PEERS,
                                       .round_trip_us = 200 + i % 100};
        liveness_step(liveness, &event, &effects);
    }
    double replies_ns = now_ns();
    for (unsigned i = 0; i < ROUNDS * 50; i++) {
        struct liveness_effects effects;
        effects.trace = NULL;
        effects.send_count = effects.change_count = 0;
        struct ping ping = {.from = 2 + i % PEERS, .to = 1, .incarnation = 1};
        struct liveness_event event = {.type = LIVENESS_PING, .now_ms = 3, .ping = &ping};
        liveness_step(liveness, &event, &effects);
    }
    double end_ns = now_ns();
    printf("liveness: %d peers: a reply %.0f ns, a ping and its answer %.0f ns, %zu bytes\n", PEERS,
           (replies_ns - start_ns) / (ROUNDS * 50), (end_ns - replies_ns) / (ROUNDS * 50),
           sizeof *liveness);
    free(liveness);
}

static double ns_per_answer(struct warming *warming, uint64_t *now_ms)
{
    double start_ns = now_ns();

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct warming_effects effects = {0};
        struct ping ping = {.from = 2 + i % PEERS,
                            .to = 1,
                            .incarnation = 1,
                            .sent_ms = ++*now_ms,
                            .asked_by = 1,
                            .is_answer = true,
                            .reaches_you = true,
                            .table = {1, 1}};
        struct warming_event event = {.type = WARMING_PING, .now_ms = *now_ms, .ping = &ping};
        warming_step(warming, &event, &effects);
    }
    return (now_ns() - start_ns) / ROUNDS;
}

/* Rows as if the ring had a vnode per partition, in turn. */
static void make_table(struct ring_table *table, unsigned char *rows)
{
    ring_table_init(table, BITS, COPIES, rows, RING_ROWS_BYTES(BITS, COPIES));
    table->version = (struct ring_version){1, 1};
    table->member_count = PEERS + 1;
    for (unsigned i = 0; i <= PEERS; i++)
        table->members[i] = (struct ring_member){1 + i, i, 1};
    for (unsigned p = 0; p < ring_table_partitions(table); p++)
        for (unsigned i = 0; i < COPIES; i++)
            rows[p * COPIES + i] = (unsigned char)((p + i) % (PEERS + 1));
}

static void measure_warming(void)
{
    struct ring_table *table = allocate(1, sizeof *table);
    unsigned char *rows = allocate(1, RING_ROWS_BYTES(BITS, COPIES));
    struct warming_memory memory = {
        .partitions = allocate((size_t)1 << BITS, sizeof *memory.partitions),
        .peers = allocate(PEERS, sizeof *memory.peers),
        .peer_room = PEERS,
        .words = allocate(WARMING_WORDS(BITS, PEERS), sizeof *memory.words)};
    struct warming *warming = allocate(1, sizeof *warming);
    double ns[2];
    uint64_t now_ms = 1;

    make_table(table, rows);
    for (unsigned is_founding = 0; is_founding < 2; is_founding++) {
        warming_init(warming, 1, 1, BITS, 1u << COPIES, &memory);
        struct warming_effects effects = {0};
        struct warming_event event = {.type = WARMING_TABLE,
                                      .now_ms = now_ms,
                                      .table = table,
                                      .is_founding = is_founding != 0};
        warming_step(warming, &event, &effects);
        event.type = WARMING_PEER_FOUND;
        for (event.peer = 2; event.peer <= PEERS + 1; event.peer++)
            warming_step(warming, &event, &effects);
        ns[is_founding] = ns_per_answer(warming, &now_ms);
    }
    printf("warming: %d peers, %d partitions: an answered ping %.2f us while it warms, %.2f us "
           "when it does not\n",
           PEERS, 1 << BITS, ns[0] / 1000, ns[1] / 1000);
    free(warming);
    free(memory.words);
    free(memory.peers);
    free(memory.partitions);
    free(rows);
    free(table);
}

int main(int argc, char **argv)
{
    unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;

    measure_hints(count);
    measure_liveness();
    measure_warming();
    return 0;
}
