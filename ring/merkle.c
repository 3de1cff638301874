#include "ring/merkle.h"
#include "ring/bytes.h"
#define XXH_INLINE_ALL
#include <assert.h>
#include <xxhash.h>

/* Who reads meanwhile sees the number before or after, never a torn one. */
static uint64_t load(const uint64_t *number)
{
    return __atomic_load_n(number, __ATOMIC_RELAXED);
}

static void store(uint64_t *number, uint64_t value)
{
    __atomic_store_n(number, value, __ATOMIC_RELAXED);
}

size_t merkle_bytes(unsigned leaf_bits)
{
    assert(leaf_bits <= MERKLE_LEAF_BITS_MAX);
    return leaf_bits == 0 ? 0 : sizeof(uint64_t) << leaf_bits;
}

void merkle_init(struct merkle_tree *tree, unsigned partition_bits, unsigned leaf_bits,
                 uint64_t *leaves)
{
    assert(partition_bits <= RING_PARTITION_BITS_MAX);
    assert(leaf_bits <= MERKLE_LEAF_BITS_MAX);
    assert(leaf_bits == 0 || leaves != NULL);
    *tree = (struct merkle_tree){.leaves = leaf_bits == 0 ? NULL : leaves,
                                 .partition_bits = partition_bits,
                                 .leaf_bits = leaf_bits};
    if (leaf_bits > 0)
        memset(leaves, 0, merkle_bytes(leaf_bits));
}

void merkle_coarsen(struct merkle_tree *tree, unsigned leaf_bits)
{
    assert(leaf_bits <= tree->leaf_bits);
    size_t each = (size_t)1 << (tree->leaf_bits - leaf_bits);
    for (size_t i = 0; leaf_bits > 0 && i < (size_t)1 << leaf_bits; i++) {
        uint64_t sum = 0;
        for (size_t j = 0; j < each; j++)
            sum ^= tree->leaves[i * each + j];
        tree->leaves[i] = sum;
    }
    tree->leaf_bits = leaf_bits;
    if (leaf_bits == 0)
        tree->leaves = NULL;
}

uint64_t merkle_mark(uint64_t key_hash, const struct cell *cell)
{
    unsigned char bytes[24];

    if (cell->sibling_count == 0)
        return 0;
    struct cell_digest digest = cell_state_digest(cell);
    bytes_write_u64(bytes, key_hash);
    bytes_write_u64(bytes + 8, digest.low);
    bytes_write_u64(bytes + 16, digest.high);
    uint64_t mark = XXH3_64bits(bytes, sizeof bytes);
    return mark != 0 ? mark : 1;
}

/* The leaf that a key hash is in; leaf_bits is above 0. */
static size_t leaf_of(const struct merkle_tree *tree, uint64_t key_hash)
{
    assert(tree->leaf_bits > 0);
    return (size_t)(key_hash << tree->partition_bits >> (64 - tree->leaf_bits));
}

void merkle_update(struct merkle_tree *tree, uint64_t key_hash, uint64_t before, uint64_t after)
{
    uint64_t change = before ^ after;

    assert(before == 0 || tree->cell_count > 0);
    if (tree->leaf_bits > 0) {
        uint64_t *leaf = &tree->leaves[leaf_of(tree, key_hash)];
#ifdef RING_BREAK_MERKLE_LEAF
        store(leaf, load(leaf) ^ after); /* the old mark stays in */
#else
        store(leaf, load(leaf) ^ change);
#endif
    }
    store(&tree->root, load(&tree->root) ^ change);
    store(&tree->cell_count, load(&tree->cell_count) + (after != 0) - (before != 0));
}

bool merkle_sum(const struct merkle_tree *tree, struct merkle_range range, uint64_t *sum)
{
    *sum = 0;
    if (range.depth <= tree->partition_bits) {
        *sum = load(&tree->root);
        return true;
    }
    if (range.depth > tree->partition_bits + tree->leaf_bits)
        return false;
    size_t first = leaf_of(tree, range.first);
    size_t count = (size_t)1 << (tree->partition_bits + tree->leaf_bits - range.depth);
    assert(first % count == 0);
    for (size_t i = first; i < first + count; i++)
        *sum ^= load(&tree->leaves[i]);
    return true;
}
