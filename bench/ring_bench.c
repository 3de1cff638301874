/* ringtablebench: what the ring table and its claim are worth, against random tokens.
 *
 *   balance   the most loaded node over the average, for uniform keys: by partitions owned (all
 *             copies) and by partitions coordinated (first owner)
 *   moves     the part of all copies that a join moves, over the part that the new node ends up
 *             with if all share evenly
 *   lookup    nanoseconds from the hash of a key to its owners
 *   claim     milliseconds per table, and the bytes that peers exchange
 *   load      the busiest node over the average, for keys used as by Zipf, before and after a
 *             rebalance that may go on for some tables
 *
 * usage: ringtablebench [SEED] */

#include "bench/rng.h"
#include "ring/claim.h"
#include "ring/rebalance.h"
#include "ring/table.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    COPIES = 3,
    NODES_MAX = 201,
    TOKENS_MAX = 256,
    LOOKUPS = 1 << 21,
    HASHES = 1 << 14,
    KEYS = 1000000
};

/* Of this process's own time: others on the machine take none of it. */
static double now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* The ring table of a growing cluster. */
struct cluster {
    struct ring_member members[NODES_MAX];
    unsigned count;
    struct ring_table tables[2];
    unsigned now; /* which of them is published */
    unsigned char rows[2][RING_ROWS_BYTES(RING_PARTITION_BITS_DEFAULT, COPIES)];
    struct claim_work work;
    unsigned claims;
    double claim_ns;
};

/* Publishes tables until the target is met; returns how many owners came to partitions. */
static unsigned settle(struct cluster *cluster)
{
    unsigned moves = 0;

    for (;;) {
        struct ring_table *before = &cluster->tables[cluster->now];
        struct ring_table *next = &cluster->tables[!cluster->now];
        struct claim_input input = {cluster->members, cluster->count, COPIES, 1, before};
        double start_ns = now_ns();
        enum claim_answer answer = claim_next(&cluster->work, &input, next);
        cluster->claim_ns += now_ns() - start_ns;
        cluster->claims++;
        if (answer != CLAIM_NEXT)
            return moves;
        struct ring_change change;
        for (unsigned p = 0; ring_table_next_change(before, next, p, &change);
             p = change.partition + 1)
            moves += change.gained_count;
        cluster->now = !cluster->now;
    }
}

static void add_member(struct cluster *cluster, struct rng *rng)
{
    cluster->members[cluster->count++] = (struct ring_member){rng_next(rng) >> 1 | 1, 0, 1};
}

/* A cluster that grew to `nodes`: all but the last `singly` at once, those one by one. */
static void grow(struct cluster *cluster, struct rng *rng, unsigned nodes, unsigned singly)
{
    memset(cluster, 0, sizeof *cluster);
    for (unsigned i = 0; i < 2; i++)
        ring_table_init(&cluster->tables[i], RING_PARTITION_BITS_DEFAULT, COPIES, cluster->rows[i],
                        sizeof cluster->rows[i]);
    while (cluster->count + singly < nodes)
        add_member(cluster, rng);
    settle(cluster);
    while (cluster->count < nodes) {
        add_member(cluster, rng);
        settle(cluster);
    }
}

/* A ring of random tokens: a key belongs to the node of the next token, and to the next other
 * nodes after it. */
struct token {
    uint64_t at;
    unsigned node;
};

struct token_ring {
    struct token tokens[NODES_MAX * TOKENS_MAX];
    unsigned count;
};

static int compare_tokens(const void *a, const void *b)
{
    uint64_t left = ((const struct token *)a)->at, right = ((const struct token *)b)->at;
    return (left > right) - (left < right);
}

static void make_tokens(struct token_ring *ring, struct rng *rng, unsigned nodes, unsigned per_node)
{
    ring->count = nodes * per_node;
    for (unsigned i = 0; i < ring->count; i++)
        ring->tokens[i] = (struct token){rng_next(rng), i / per_node};
    qsort(ring->tokens, ring->count, sizeof ring->tokens[0], compare_tokens);
}

/* The owners of the keys before a token. */
static void token_owners(const struct token_ring *ring, unsigned token, unsigned owners[COPIES])
{
    unsigned found = 0;

    for (unsigned step = 0; found < COPIES; step++) {
        unsigned node = ring->tokens[(token + step) % ring->count].node;
        bool is_new = true;
        for (unsigned i = 0; i < found; i++)
            is_new = is_new && owners[i] != node;
        if (is_new)
            owners[found++] = node;
    }
}

/* The most over the average. */
static double peak(const double *load, unsigned nodes)
{
    double most = 0, sum = 0;

    for (unsigned i = 0; i < nodes; i++) {
        sum += load[i];
        if (load[i] > most)
            most = load[i];
    }
    return most * nodes / sum;
}

static void token_peaks(const struct token_ring *ring, unsigned nodes, double *owned_peak,
                        double *first_peak)
{
    double owned[NODES_MAX] = {0}, first[NODES_MAX] = {0};

    for (unsigned i = 0; i < ring->count; i++) {
        unsigned owners[COPIES];
        uint64_t arc = ring->tokens[i].at - ring->tokens[(i + ring->count - 1) % ring->count].at;
        token_owners(ring, i, owners);
        first[owners[0]] += (double)arc;
        for (unsigned j = 0; j < COPIES; j++)
            owned[owners[j]] += (double)arc;
    }
    *owned_peak = peak(owned, nodes);
    *first_peak = peak(first, nodes);
}

static void table_peaks(const struct ring_table *table, double *owned_peak, double *first_peak)
{
    unsigned owned[RING_MEMBERS_MAX], first[RING_MEMBERS_MAX];
    double owned_load[RING_MEMBERS_MAX], first_load[RING_MEMBERS_MAX];

    ring_table_count(table, owned, first);
    for (unsigned i = 0; i < table->member_count; i++) {
        owned_load[i] = owned[i];
        first_load[i] = first[i];
    }
    *owned_peak = peak(owned_load, table->member_count);
    *first_peak = peak(first_load, table->member_count);
}

static void report_balance(struct cluster *cluster, struct token_ring *ring, struct rng *rng)
{
    static const unsigned sizes[] = {5, 10, 30, 100, 200};

    printf("peak-to-average load   table: all, first   100 tokens: all, first   256: all, first\n");
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        double owned, first;
        grow(cluster, rng, sizes[i], sizes[i] - 1);
        table_peaks(&cluster->tables[cluster->now], &owned, &first);
        printf("  %3u nodes                   %.3f  %.3f", sizes[i], owned, first);
        make_tokens(ring, rng, sizes[i], 100);
        token_peaks(ring, sizes[i], &owned, &first);
        printf("             %.3f  %.3f", owned, first);
        make_tokens(ring, rng, sizes[i], 256);
        token_peaks(ring, sizes[i], &owned, &first);
        printf("       %.3f  %.3f\n", owned, first);
    }
}

/* The part of all copies that a new node with as many tokens as the others draws to somebody. */
static double token_join_moves(const struct token_ring *ring, unsigned new_node)
{
    double moved = 0, all = 0;

    /* Who owns an arc changes only by the new node's coming in, so what it owns is what moves. */
    for (unsigned i = 0; i < ring->count; i++) {
        unsigned owners[COPIES];
        uint64_t arc = ring->tokens[i].at - ring->tokens[(i + ring->count - 1) % ring->count].at;
        token_owners(ring, i, owners);
        for (unsigned j = 0; j < COPIES; j++) {
            all += (double)arc;
            moved += owners[j] == new_node ? (double)arc : 0;
        }
    }
    return moved / all;
}

static void report_moves(struct cluster *cluster, struct token_ring *ring, struct rng *rng)
{
    static const unsigned sizes[] = {5, 10, 30, 100, 200};

    printf("\nmoved by a join / ideal   table   100 tokens   256 tokens   (one join each)\n");
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        grow(cluster, rng, sizes[i], sizes[i] - 1);
        add_member(cluster, rng);
        unsigned copies = COPIES << RING_PARTITION_BITS_DEFAULT;
        double ideal = 1.0 / (sizes[i] + 1);
        double moved = (double)settle(cluster) / copies;
        printf("  %3u to %3u nodes        %.3f", sizes[i], sizes[i] + 1, moved / ideal);
        make_tokens(ring, rng, sizes[i] + 1, 100);
        printf("        %.3f", token_join_moves(ring, sizes[i]) / ideal);
        make_tokens(ring, rng, sizes[i] + 1, 256);
        printf("        %.3f\n", token_join_moves(ring, sizes[i]) / ideal);
    }
}

static unsigned next_token(const struct token_ring *ring, uint64_t hash)
{
    unsigned low = 0, high = ring->count;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (ring->tokens[middle].at < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low == ring->count ? 0 : low;
}

/* What is looked up, in rounds of LOOKUPS; each returns a sum of what it found, so that nothing is
 * left out. */
struct lookups {
    const struct ring_table *table;
    const struct token_ring *ring;
    uint64_t hashes[HASHES];
};

static uint64_t look_up_rows(const struct lookups *lookups)
{
    const struct ring_table *table = lookups->table;
    uint64_t sum = 0;

    for (unsigned i = 0; i < LOOKUPS; i++)
        sum += ring_table_row(table, ring_table_partition(table, lookups->hashes[i % HASHES]))[0];
    return sum;
}

static uint64_t look_up_owners(const struct lookups *lookups)
{
    const struct ring_table *table = lookups->table;
    uint64_t sum = 0;

    for (unsigned i = 0; i < LOOKUPS; i++) {
        node_id owners[RING_COPIES_MAX];
        unsigned partition = ring_table_partition(table, lookups->hashes[i % HASHES]);
        ring_table_owners(table, partition, COPIES, owners);
        sum += owners[0] ^ owners[COPIES - 1];
    }
    return sum;
}

static uint64_t look_up_preferences(const struct lookups *lookups)
{
    const struct ring_table *table = lookups->table;
    uint64_t sum = 0;

    for (unsigned i = 0; i < LOOKUPS; i++) {
        struct ring_preference list;
        ring_preference_start(&list, table,
                              ring_table_partition(table, lookups->hashes[i % HASHES]));
        for (unsigned j = 0; j < COPIES + 2; j++)
            sum += ring_preference_next(&list);
    }
    return sum;
}

static uint64_t look_up_tokens(const struct lookups *lookups)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < LOOKUPS; i++) {
        unsigned owners[COPIES];
        token_owners(lookups->ring, next_token(lookups->ring, lookups->hashes[i % HASHES]), owners);
        sum += owners[0] ^ owners[COPIES - 1];
    }
    return sum;
}

/* Nanoseconds per lookup, in the best of some rounds. */
static double time_lookups(const struct lookups *lookups, uint64_t look_up(const struct lookups *))
{
    static volatile uint64_t found;
    double best_ns = 0;

    for (unsigned round = 0; round < 5; round++) {
        double start_ns = now_ns();
        found = look_up(lookups);
        double ns = (now_ns() - start_ns) / LOOKUPS;
        if (round == 0 || ns < best_ns)
            best_ns = ns;
    }
    (void)found;
    return best_ns;
}

static void report_lookup(struct cluster *cluster, struct token_ring *ring, struct rng *rng)
{
    static struct lookups lookups;

    grow(cluster, rng, 100, 0);
    make_tokens(ring, rng, 100, 256);
    lookups.table = &cluster->tables[cluster->now];
    lookups.ring = ring;
    for (unsigned i = 0; i < HASHES; i++)
        lookups.hashes[i] = rng_next(rng);
    printf(
        "\nlookup, 100 nodes: row %.1f ns, ids of 3 owners %.1f ns, owners and 2 fallbacks %.1f ns;"
        " 256 tokens %.0f ns\n",
        time_lookups(&lookups, look_up_rows), time_lookups(&lookups, look_up_owners),
        time_lookups(&lookups, look_up_preferences), time_lookups(&lookups, look_up_tokens));
}

static void report_claim(struct cluster *cluster, struct rng *rng)
{
    static const unsigned sizes[] = {10, 100, 200};
    static unsigned char bytes[RING_TABLE_BYTES_MAX];

    printf("\nclaim    a new cluster   a join, per table   table       difference of a join\n");
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        grow(cluster, rng, sizes[i], 0);
        double new_ms = cluster->claim_ns / cluster->claims / 1e6;

        const struct ring_table *before = &cluster->tables[cluster->now];
        struct ring_table *next = &cluster->tables[!cluster->now];
        add_member(cluster, rng);
        struct claim_input input = {cluster->members, cluster->count, COPIES, 1, before};
        double start_ns = now_ns();
        claim_next(&cluster->work, &input, next);
        double join_ms = (now_ns() - start_ns) / 1e6;
        size_t difference = ring_table_encode_difference(before, next, bytes, sizeof bytes);
        printf("  %3u nodes  %7.2f ms     %7.2f ms        %6zu bytes   %zu bytes\n", sizes[i],
               new_ms, join_ms, ring_table_encoded_bytes(next), difference);
    }
}

/* Operations on keys of which the n-th is used n^-exponent as often as the first. */
static void use_zipf(struct rng *rng, double exponent, uint64_t *operations)
{
    memset(operations, 0, sizeof *operations << RING_PARTITION_BITS_DEFAULT);
    for (unsigned key = 1; key <= KEYS; key++)
        operations[rng_next(rng) >> (64 - RING_PARTITION_BITS_DEFAULT)] +=
            (uint64_t)(1e12 * pow(key, -exponent));
}

static int compare_operations(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

/* The load, over the average, of who is first owner of the hottest partition and besides has its
 * share of the quietest ones: no table has a lower peak. */
static double floor_of(const uint64_t *operations, unsigned nodes)
{
    static uint64_t sorted[1 << RING_PARTITION_BITS_DEFAULT];
    unsigned partitions = 1u << RING_PARTITION_BITS_DEFAULT;
    double sum = 0, least;

    memcpy(sorted, operations, sizeof sorted);
    qsort(sorted, partitions, sizeof sorted[0], compare_operations);
    for (unsigned p = 0; p < partitions; p++)
        sum += (double)sorted[p];
    least = 2 * (double)sorted[partitions - 1];
    for (unsigned p = 0; p + 1 < COPIES * partitions / nodes; p++)
        least += (double)sorted[p];
    for (unsigned p = 0; p + 1 < partitions / nodes; p++)
        least += (double)sorted[p];
    return least * nodes / (sum * (COPIES + 1));
}

static void rebalance(struct cluster *cluster, const uint64_t *operations, unsigned permille,
                      double exponent)
{
    static struct rebalance_work work;
    struct rebalance_report report;
    unsigned moves = 0, first_moves = 0, tables = 0, before = 0;
    double start_ns = now_ns();

    for (;;) {
        struct ring_table *next = &cluster->tables[!cluster->now];
        struct rebalance_input input = {
            .claim = {cluster->members, cluster->count, COPIES, 1, &cluster->tables[cluster->now]},
            .operations = operations,
            .owner_cost = 1,
            .first_cost = 1,
            .threshold_permille = permille};
        enum rebalance_answer answer = rebalance_next(&work, &input, next, &report);
        if (tables == 0)
            before = report.peak_before_permille;
        if (answer != REBALANCE_NEXT)
            break;
        tables++;
        moves += report.moves;
        first_moves += report.first_moves;
        cluster->now = !cluster->now;
    }
    printf("  Zipf(%.2f)      %.2f     %.2f   %.3f   %.2f   %4u (%4.1f %%)   %4u          %2u   "
           "%.0f ms\n",
           exponent, permille / 1000.0, before / 1000.0, report.peak_after_permille / 1000.0,
           floor_of(operations, cluster->count), moves,
           100.0 * moves / (COPIES << RING_PARTITION_BITS_DEFAULT), first_moves, tables,
           (now_ns() - start_ns) / 1e6);
}

static void report_load(struct cluster *cluster, struct rng *rng)
{
    static const double exponents[] = {0.8, 0.99, 1.2};
    static const unsigned thresholds[] = {1500, 1200, 1100};
    static uint64_t operations[1 << RING_PARTITION_BITS_DEFAULT];

    printf("\nload of 30 nodes, %u keys; owner 1, first owner 1 more\n"
           "               threshold  before  after   floor  copies moved   first moved   tables\n",
           (unsigned)KEYS);
    for (unsigned i = 0; i < sizeof exponents / sizeof exponents[0]; i++) {
        use_zipf(rng, exponents[i], operations);
        for (unsigned j = 0; j < sizeof thresholds / sizeof thresholds[0]; j++) {
            grow(cluster, rng, 30, 0);
            rebalance(cluster, operations, thresholds[j], exponents[i]);
        }
    }
}

int main(int argc, char **argv)
{
    struct cluster *cluster = calloc(1, sizeof *cluster);
    struct token_ring *ring = calloc(1, sizeof *ring);
    struct rng rng = {argc > 1 ? strtoull(argv[1], NULL, 10) : 1};

    if (cluster == NULL || ring == NULL) {
        fprintf(stderr, "ringtablebench: no memory for the tables to measure\n");
        return EXIT_FAILURE;
    }
    printf("%u partitions, %u copies, equal weights, seed %s\n\n",
           1u << RING_PARTITION_BITS_DEFAULT, (unsigned)COPIES, argc > 1 ? argv[1] : "1");
    report_balance(cluster, ring, &rng);
    report_moves(cluster, ring, &rng);
    report_lookup(cluster, ring, &rng);
    report_claim(cluster, &rng);
    report_load(cluster, &rng);
    free(ring);
    free(cluster);
    return EXIT_SUCCESS;
}
