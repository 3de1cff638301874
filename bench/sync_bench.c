/* ringsyncbench: what it costs two nodes to compare what they hold, and to fill an empty one.
 *
 *   hello    nanoseconds to make a hello, that is the sum over all partitions; of each ping
 *   equal    a million keys at both, 1024 partitions, 64 leaves each
 *   one      one of them differs
 *   many     100,000 differ: half of them at one node only
 *   fill     one of the nodes is empty
 *   leaves   one key written: its leaf updated
 *
 * CPU is that of both nodes together, without store and network: marks stand for cells of 100
 * bytes.
 *
 * usage: ringsyncbench [SEED] */

#include "bench/mark_pair.h"
#include "bench/rng.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { KEYS = 1000000, PARTITION_BITS = 10, LEAF_BITS = 6, HELLOS = 2000, UPDATES = 10000000 };

static double now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static struct mark_pair *new_pair(uint64_t seed)
{
    struct mark_pair *pair = mark_pair_new(seed, KEYS, PARTITION_BITS, LEAF_BITS);

    if (pair == NULL) {
        fprintf(stderr, "ringsyncbench: no memory\n");
        exit(1);
    }
    return pair;
}

static void measure(const char *name, struct mark_pair *pair)
{
    double start_ms = now_ms();

    mark_pair_sync(pair);
    printf("%-8s %8.2f ms CPU  %8llu messages  %10llu bytes  %8llu cells  %u differ after\n", name,
           now_ms() - start_ms, (unsigned long long)pair->messages, (unsigned long long)pair->bytes,
           (unsigned long long)pair->cells, mark_pair_differing(pair));
    mark_pair_free(pair);
}

static void measure_hello(struct mark_pair *pair)
{
    struct exchange_view view = {
        .self = 1, .table = &pair->table, .forests = &pair->nodes[0].forest, .forest_count = 1};
    struct sync_hello hello = {0};
    uint64_t sum = 0;
    double start_ms = now_ms();

    for (unsigned i = 0; i < HELLOS; i++) {
        sync_make_hello(&pair->nodes[0].sync, &view, false, 0, &hello);
        sum += hello.sum;
    }
    printf("%-8s %8.0f ns each  (%llx)\n", "hello", (now_ms() - start_ms) * 1e6 / HELLOS,
           (unsigned long long)sum);
}

static void measure_updates(struct mark_pair *pair, struct rng *rng)
{
    double start_ms = now_ms();

    for (unsigned i = 0; i < UPDATES; i++) {
        uint64_t key_hash = rng_next(rng);
        unsigned partition = ring_table_partition(&pair->table, key_hash);
        merkle_update(&pair->nodes[0].trees[partition], key_hash, 1, i + 1);
    }
    printf("%-8s %8.1f ns each\n", "leaves", (now_ms() - start_ms) * 1e6 / UPDATES);
}

int main(int argc, char **argv)
{
    struct rng rng = {argc > 1 ? strtoull(argv[1], NULL, 0) : 1};
    struct mark_pair *pair = new_pair(rng_next(&rng));

    measure_hello(pair);
    measure("equal", pair);
    pair = new_pair(rng_next(&rng));
    mark_pair_set(pair, 0, KEYS / 3, rng_next(&rng) >> 1 | 1);
    measure("one", pair);
    pair = new_pair(rng_next(&rng));
    for (unsigned i = 0; i < KEYS; i += 10)
        mark_pair_set(pair, i / 10 % 2, i, i % 20 == 0 ? 0 : rng_next(&rng) >> 1 | 1);
    measure("many", pair);
    pair = new_pair(rng_next(&rng));
    for (unsigned i = 0; i < KEYS; i++)
        mark_pair_set(pair, 1, i, 0);
    double start_ms = now_ms();
    mark_pair_fill(pair, 1);
    double fill_ms = now_ms() - start_ms;
    printf("%-8s %8.2f ms CPU  %8llu messages  %10llu bytes  %8.0f cells per second\n", "fill",
           fill_ms, (unsigned long long)pair->messages, (unsigned long long)pair->bytes,
           KEYS / fill_ms * 1e3);
    measure_updates(pair, &rng);
    mark_pair_free(pair);
    return 0;
}
