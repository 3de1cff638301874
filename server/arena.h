/* Arena: memory that is taken in parts, and let go all at once.
 *
 * Threads: one at a time. */
#ifndef SERVER_ARENA_H
#define SERVER_ARENA_H

#include <stddef.h>

struct arena_piece;

/* All zero: empty. */
struct arena {
    struct arena_piece *first;
};

/* Frees all of it; the arena is empty, and may be used again. */
void arena_deinit(struct arena *);

/* Lets go of all that was taken from it.  One piece of the usual size is kept for what comes next.
 */
void arena_reset(struct arena *);

/* Memory for any type, the arena's until it is reset.  NULL: memory is short. */
void *arena_room(struct arena *, size_t bytes);

#endif
