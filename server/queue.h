/* An eviction queue: first in, first out, four bytes per item.
 *
 * An entry is what the index goes by of the item's hash (index_bits()); the item itself knows nothing of the queue but which
 * one it is in.  Whoever takes an entry out looks the item up in the index.  An item that was
 * deleted leaves its entry behind, stale, until it comes out or queue_tidy() passes it.
 *
 *     head -> [ chunk ] -> [ chunk ] -> ... -> [ chunk ] <- tail
 *              first..end of up to 126 entries each
 *
 * Threads: under the stripe's lock. */
#ifndef SERVER_QUEUE_H
#define SERVER_QUEUE_H

#include "server/memory.h"

struct queue {
    struct memory *memory;
    memory_handle head, tail; /* chunks; 0 if there is none */
    memory_handle tidy;       /* the chunk before the next to be tidied; 0: start over */
    uint64_t entries;
};

void queue_init(struct queue *, struct memory *);
void queue_deinit(struct queue *);

/* False when there is no memory for it. */
bool queue_push(struct queue *, uint32_t entry);

/* The oldest entry; false when there is none. */
bool queue_pop(struct queue *, uint32_t *entry);

/* The entry `ahead` places behind the oldest, if it is near enough to be found at once; else false.
 * For prefetching. */
bool queue_peek(const struct queue *, unsigned ahead, uint32_t *entry);

/* Drops those entries of the next chunk in turn for which `is_live` says no, and joins chunks that
 * became small.  Returns whether it reached the end: the next call starts over at the oldest. */
bool queue_tidy(struct queue *, bool (*is_live)(void *context, uint32_t entry), void *context);

#endif
