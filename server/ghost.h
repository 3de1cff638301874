/* Ghosts: which keys one stripe evicted lately, as 16 bits each.  A key that comes back while its
 * ghost is there was evicted too early, and goes straight to the main queue (S3-FIFO).
 *
 * A table of cache lines with 31 fingerprints each, oldest replaced first within a line.  It grows
 * along with the index, line by line in the same way; a line that splits is copied to both, and
 * what does not belong there ages away.  Like the index it lies interleaved in one range.
 *
 * Threads: under the stripe's lock, but for the prefetch. */
#ifndef SERVER_GHOST_H
#define SERVER_GHOST_H

#include "server/memory.h"

#define GHOST_LINE_BYTES 64

struct ghost_space {
    struct range range;
    struct memory *memory;
    unsigned stripe_count;
};

/* Under the stripe's lock; `line_count` may be read by anyone for prefetching. */
struct ghost {
    struct ghost_space *space;
    unsigned stripe;
    _Atomic uint32_t line_count;
    uint32_t bits_shift; /* never changes: see hash_bits() */
};

bool ghost_space_init(struct ghost_space *, struct memory *, unsigned stripe_count,
                      uint64_t reserved_bytes);
void ghost_space_deinit(struct ghost_space *);

/* Starts with one line.  False when there is no memory for it. */
bool ghost_init(struct ghost *, struct ghost_space *, unsigned stripe);

/* Adds lines until there are `line_count`; when memory ends, fewer. */
void ghost_grow(struct ghost *, uint32_t line_count);

/* Forgets the ghosts in all but the first `line_count` lines. */
void ghost_shrink(struct ghost *, uint32_t line_count);

/* Notes that an item of that hash was evicted. */
void ghost_add(struct ghost *, uint64_t hash);

/* Whether it was, lately; the ghost is gone then. */
bool ghost_take(struct ghost *, uint64_t hash);

/* Fetches the line of a hash with these bits (server/index.h). */
void ghost_prefetch(const struct ghost *, uint32_t bits);

#endif
