/* A few replicas with real cells, real trees and the machines of anti-entropy, and a bad network
 * between them, on virtual time: what test_sync.c and its neighbours are played on. */
#ifndef TESTS_UNIT_REPLICAS_H
#define TESTS_UNIT_REPLICAS_H

#include "ring/aftercut.h"
#include "ring/fill.h"
#include "ring/handoff.h"
#include "ring/sync.h"
#include "tests/unit/random.h"

#define REPLICAS_MAX        4
#define REPLICAS_CLASSES    2
#define REPLICAS_SIBLINGS   12
#define REPLICAS_PARTITIONS 64 /* at most */

struct entry {
    uint64_t key_hash;
    struct cell cell;
    struct sibling siblings[REPLICAS_SIBLINGS];
};

struct replica {
    node_id id;
    unsigned index;
    const struct ring_table *table;
    struct entry **entries; /* sorted by key hash */
    unsigned entry_count, entry_room;
    unsigned entries_max; /* a store at its limit; UINT_MAX: none */
    hlc_time clock;
    struct merkle_forest forests[REPLICAS_CLASSES];
    struct merkle_tree trees[REPLICAS_CLASSES][REPLICAS_PARTITIONS];
    uint64_t *leaves;
    struct token_bucket bucket;
    struct peer_view peers[REPLICAS_MAX];
    uint64_t warming[1]; /* a bit per partition: what the others see */
    struct sync syncs[REPLICAS_MAX];
    struct fill fill;
    uint64_t fill_wanted[1];
    struct handoff handoff;
    struct aftercut aftercut;
    hlc_time aftercut_before[REPLICAS_PARTITIONS];
    struct aftercut_contact aftercut_contacts[REPLICAS_PARTITIONS];
    bool wants_walk;
    uint64_t compared[REPLICAS_MAX]; /* by peer: a bit per partition that sync reported */
    unsigned evicted;                /* by merging what did not fit */
};

struct letter;

struct replicas {
    struct random random;
    uint64_t now_ms;
    uint64_t grace_ms; /* an hour, for machines made after it was changed */
    unsigned count;
    unsigned class_count; /* keys have the table's copies, or (every other) one less */
    unsigned partition_bits, leaf_bits, copies;
    struct ring_table tables[2];
    unsigned char rows[2][REPLICAS_PARTITIONS * RING_COPIES_MAX];
    struct replica replicas[REPLICAS_MAX];
    bool is_cut[REPLICAS_MAX][REPLICAS_MAX]; /* [from][to] */
    unsigned loss_percent, double_percent, delay_max_ms;
    unsigned fail_percent; /* of merges, for lack of memory */
    uint64_t numbers;
    struct letter *letters;
    unsigned bad_drops; /* handed over, dropped, and not with all owners */
    uint64_t messages, message_bytes, cells_sent; /* without hellos */
};

/* A cluster of `count` nodes with ids 1, 2..., and one table in which partition p is owned by the
 * nodes from p % count on. */
void replicas_init(struct replicas *, uint64_t seed, unsigned count, unsigned copies,
                   unsigned partition_bits, unsigned leaf_bits);
void replicas_deinit(struct replicas *);

/* Keys of how many copies there are: 1 (all have the table's copies) or 2. */
unsigned replicas_class_of(const struct replicas *, uint64_t key_hash);

struct entry *replicas_find(const struct replica *, uint64_t key_hash);
bool replicas_is_owner(const struct replicas *, const struct ring_table *, uint64_t key_hash,
                       node_id);

/* A blind write, delete or (with `is_context`) a write without context, at one node only. */
void replicas_write(struct replicas *, struct replica *, uint64_t key_hash, enum sibling_kind,
                    bool is_context);
/* Merges what `from` holds into `to`. */
void replicas_copy(struct replicas *, struct replica *from, struct replica *to, uint64_t key_hash);
/* Makes stubs of the values; or forgets the whole cell. */
void replicas_evict(struct replicas *, struct replica *, uint64_t key_hash);
void replicas_drop(struct replicas *, struct replica *, uint64_t key_hash);
/* Makes the machines anew, as after a restart that kept the cells; or one that lost them. */
void replicas_restart(struct replicas *, struct replica *);
void replicas_wipe(struct replicas *, struct replica *);

/* The node goes by the other table from now on. */
void replicas_use_table(struct replicas *, struct replica *, const struct ring_table *);
void replicas_start_fill(struct replicas *, struct replica *, unsigned partition);
void replicas_start_aftercut(struct replicas *, struct replica *, unsigned partition, hlc_time);

/* Plays so many milliseconds. */
void replicas_run(struct replicas *, unsigned ms);

/* Whether all owners of every key have the same state of it. */
bool replicas_agree(const struct replicas *, const struct ring_table *);
/* Whether the trees are what the cells say. */
bool replicas_trees_are_right(const struct replicas *);
/* How many cells are held by nodes that do not own them. */
unsigned replicas_unowned(const struct replicas *, const struct ring_table *);

#endif
