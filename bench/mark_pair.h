/* Two nodes that own everything together and hold marks instead of cells: what comparing and
 * filling cost by themselves, without a store, values or a network.  Messages arrive at once and in
 * order. */
#ifndef BENCH_MARK_PAIR_H
#define BENCH_MARK_PAIR_H

#include "ring/fill.h"
#include "ring/sync.h"

struct mark_node {
    uint64_t *marks; /* by key; 0: not held */
    uint64_t *leaves;
    struct merkle_tree *trees;
    struct merkle_forest forest;
    struct sync sync;
    struct fill fill;
    uint64_t *fill_wanted;
    struct token_bucket bucket;
    struct peer_view peers[2];
};

struct mark_pair {
    unsigned partition_bits, leaf_bits, key_count;
    uint64_t *keys; /* hashes, sorted */
    struct ring_table table;
    struct mark_node nodes[2];
    uint64_t now_ms;
    struct exchange_message *queue; /* in transit, a ring */
    unsigned queue_first, queue_count;
    uint64_t hellos, messages, bytes, cells; /* sent; bytes without hellos */
};

/* Both hold all keys, in the same state.  NULL if memory is short. */
struct mark_pair *mark_pair_new(uint64_t seed, unsigned key_count, unsigned partition_bits,
                                unsigned leaf_bits);
void mark_pair_free(struct mark_pair *);

/* Makes a node hold another state of a key; the greater of two wins.  0: it does not hold it. */
void mark_pair_set(struct mark_pair *, unsigned node, unsigned key, uint64_t mark);

/* Has them exchange hellos and all that follows, until there is nothing more to do. */
void mark_pair_sync(struct mark_pair *);

/* Fills a node from the other one. */
void mark_pair_fill(struct mark_pair *, unsigned node);

/* How many keys are not the same at both. */
unsigned mark_pair_differing(const struct mark_pair *);

#endif
