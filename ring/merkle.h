/* Merkle trees: two nodes find out in which keys they differ without naming those that agree.
 *
 * A tree covers one partition and one class of keys (those with the same number of copies).  Its
 * leaves are equal, contiguous ranges of the key hash: the bits that follow the partition's.
 *
 *   key_hash  | partition (10) | leaf (6) | rest |        sixteen bits: the leaf of the whole ring
 *
 * A leaf is the xor of one number per cell, merkle_mark(): a hash of the key's hash and the cell's
 * state digest.  So a change costs two xors; a node of the tree is the xor of the leaves below it
 * and is computed when somebody asks; and trees with different numbers of leaves compare, since a
 * leaf of the coarser one is the xor of leaves of the finer one.  (Dynamo, section 4.7, with
 * leaves kept current instead of built by scans.)
 *
 * The caller keeps a tree current with every cell that it holds for the class, owned or not,
 * except those that it holds as hints only.  A cell without siblings is in no tree.
 *
 * Threads: changes of one tree are serialised by the caller (the stripe's lock).  Reading is
 * allowed meanwhile, from any thread; what is read may be old by the changes in flight. */
#ifndef RING_MERKLE_H
#define RING_MERKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ring/cell.h"
#include "ring/table.h"

#define MERKLE_LEAF_BITS_MAX 20

/* A node of the tree over the whole ring: the 2^(64 - depth) key hashes from `first` on, which is
 * a multiple of that.  Depth 0 is everything; partition_bits, a partition. */
struct merkle_range {
    uint64_t first;
    unsigned depth;
};

/* 1. root is the xor of the leaves.
 * 2. Without cells, all leaves are 0. */
struct merkle_tree {
    uint64_t *leaves; /* the caller's; NULL if leaf_bits is 0: then the root is the only leaf */
    uint64_t root;
    uint64_t cell_count;
    unsigned partition_bits;
    unsigned leaf_bits;
};

/* The trees of all partitions for one class. */
struct merkle_forest {
    unsigned copies;           /* the class: keys with so many copies */
    struct merkle_tree *trees; /* by partition */
};

/* The bytes of leaves that a tree needs: 0 for leaf_bits 0. */
size_t merkle_bytes(unsigned leaf_bits);

/* A tree without cells.  `leaves` has merkle_bytes(leaf_bits), is cleared here, and has to live as
 * long as the tree. */
void merkle_init(struct merkle_tree *, unsigned partition_bits, unsigned leaf_bits,
                 uint64_t *leaves);

/* Makes a tree coarser without visiting the cells, and gives its memory back: afterwards the first
 * merkle_bytes(leaf_bits) of its leaves are in use. */
void merkle_coarsen(struct merkle_tree *, unsigned leaf_bits);

/* What a cell is in the tree; 0 for a cell without siblings (and never for another one). */
uint64_t merkle_mark(uint64_t key_hash, const struct cell *);

/* A cell changed: `before` and `after` are its marks, 0 where there was none, or is none any more.
 * O(1). */
void merkle_update(struct merkle_tree *, uint64_t key_hash, uint64_t before, uint64_t after);

/* The xor of the marks in the part of `range` that is in the tree's partition.  False if the leaves
 * are too coarse to tell: `range` is smaller than one of them.  O(leaves in the range). */
bool merkle_sum(const struct merkle_tree *, struct merkle_range, uint64_t *sum);

/* How many cells are in a tree. */
static inline uint64_t merkle_cell_count(const struct merkle_tree *tree)
{
    return __atomic_load_n(&tree->cell_count, __ATOMIC_RELAXED);
}

/* The first and last key hash of a range. */
static inline uint64_t merkle_range_last(struct merkle_range range)
{
    return range.depth == 0 ? UINT64_MAX : range.first + (UINT64_MAX >> range.depth);
}

/* The part number `child` of a range that is cut into 2^(depth - range.depth) parts. */
static inline struct merkle_range merkle_range_child(struct merkle_range range, unsigned depth,
                                                     unsigned child)
{
    uint64_t offset = depth == 0 ? 0 : (uint64_t)child << (64 - depth);
    return (struct merkle_range){range.first + offset, depth};
}

/* Which of those parts a key hash in the range is in. */
static inline unsigned merkle_range_child_of(struct merkle_range range, unsigned depth,
                                             uint64_t key_hash)
{
    return depth == 0 ? 0 : (unsigned)((key_hash - range.first) >> (64 - depth));
}

#endif
