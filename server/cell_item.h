/* A cell as an item: how a node of a cluster keeps it (DESIGN, section 2).
 *
 * What nearly all keys have, one sibling whose context is just its writer's interval 0..hlc and
 * whose register is as old as the dot, is a plain item: the dot's time is the item's `hlc`, its
 * node a handle in struct item_replica.  That holds for tombstones and stubs, too; those are hidden
 * items without a value.  Anything else is an item with ITEM_CELL, whose value is
 *
 *     +----------------------------+---------+---------+-----+---------------------+
 *     | encoded cell (ring/cell.h) | value 1 | value 2 | ... | merkle_mark() (8)   |
 *     +----------------------------+---------+---------+-----+---------------------+
 *
 * and whose `hlc` is the newest dot of the siblings, so that a flush of all of them is seen from
 * outside.  It is hidden if it has no values.
 *
 * Threads: whoever holds the stripe's lock, or an item that is private. */
#ifndef SERVER_CELL_ITEM_H
#define SERVER_CELL_ITEM_H

#include "ring/cell.h"
#include "server/item.h"
#include "server/node_table.h"

/* How many siblings there are. */
unsigned cell_item_siblings(const struct item *);

/* Gives the cell room for so many, on the heap: what `siblings` points to, NULL at first, is the
 * caller's to free.  Those that it has stay.  False: memory is short. */
bool cell_item_reserve(struct cell *, unsigned siblings) __attribute__((warn_unused_result));

/* Fills a cell that has room for them; the handles are the addresses of the values' bytes.  The
 * digests of values, which take a look at all bytes, only if `with_digests`; else they may be 0. */
void cell_item_read(const struct node_table *, const struct item *, bool with_digests,
                    struct cell *into);

/* The item that holds the cell, which is not empty. */
struct item_spec cell_item_spec(struct node_table *, struct slice key, bool key_is_binary,
                                const struct cell *);

/* Writes all that item_init() does not into an item of that spec. */
void cell_item_write(struct node_table *, struct item *, uint64_t key_hash, const struct cell *,
                     unsigned copies);

/* Gives the cell, which was just written into the item, the addresses that its values have there.
 */
void cell_item_place_values(const struct item *, struct cell *);

/* merkle_mark() of the cell that was written. */
uint64_t cell_item_mark(const struct node_table *, const struct item *, uint64_t key_hash);

/* The value of a sibling that was read. */
static inline struct slice cell_item_value(const struct sibling *sibling)
{
    return (struct slice){(const unsigned char *)(uintptr_t)sibling->value, sibling->value_bytes};
}

#endif
