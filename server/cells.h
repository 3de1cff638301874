/* Keys with more than one value: what a context write leaves when its writer had not seen all that
 * is there (DESIGN, section 2).
 *
 * The common form, one value under the context "own interval 0..hlc", is a plain item and costs
 * nothing.  Anything else is an item with ITEM_CELL, whose value is
 *
 *     +-------------------------------+---------+---------+----
 *     | encoded cell (ring/cell.h)    | value 1 | value 2 | ...   in the order of the siblings
 *     +-------------------------------+---------+---------+----
 *
 * and whose `hlc` names its state: it is the token of `gets`, fresh with every change.  A plain
 * command sees of such an item the newest value, and what it writes supersedes all that is there,
 * as its client was shown all there is to show: so it stores a plain item.
 *
 * A cluster of one keeps neither stubs nor tombstones. */
#ifndef SERVER_CELLS_H
#define SERVER_CELLS_H

#include "ring/cell.h"
#include "server/execution.h"

/* Draws the secret that seals the contexts of clients, and the name of this node.  Called once at
 * start.  False, and logged, if the system gives no random numbers. */
bool cells_start(void);

/* From now on contexts are sealed with the key that the cluster has; NULL: with this server's own.
 * The key stays where it is. */
void cells_share_key(const struct siphash_key *);

/* The newest value of an item with ITEM_CELL that has not expired: what plain commands are
 * shown.  Fills all of `shown` but the cas.  Lock held. */
void cells_show(const struct item *, uint64_t now_ms, struct shown *);

/* Fills in what `y` and `n` ask for: the sealed context that covers all that the item shows, and
 * how many values that is.  `out` keeps the context.  Lock held. */
void cells_fill_context(const struct item *, uint64_t now_ms, struct outcome *,
                        unsigned char out[CONTEXT_BYTES_MAX]);

/* As execution_set_expiry(), for an item with ITEM_CELL: all its values get the expiry. */
bool cells_set_expiry(struct execution *, const struct operation *, struct stripe *,
                      struct item **item, uint64_t expiry_ms, struct rewrite *);

/* What follows is about any cell whose handles are the addresses of the values' bytes; a node of a
 * cluster does with it what this file does with items (server/command.h).
 *
 * The index of the next sibling to show, newest first, each value once; -1: no more.  `before`
 * starts as the number of siblings. */
int cells_next_shown(const struct cell *, int before);
unsigned cells_shown_count(const struct cell *);

/* Seals what a client that is shown the cell has seen. */
struct slice cells_seal(const struct cell *, struct slice key,
                        unsigned char out[CONTEXT_BYTES_MAX]);
/* Reads the operation's context.  False, and counted: it was not sealed here for this key. */
bool cells_unseal(const struct operation *, struct context *seen);

/* Whoever writes what is there already means that one: adds it to what was seen. */
void cells_see_equal(const struct cell *, const struct sibling *write, struct context *seen);
/* Whether --max-siblings allows the context write; if not, that is counted. */
bool cells_has_room(const struct cell *, const struct sibling *write, const struct context *seen);
/* Counts a context write, which left that cell. */
void cells_count_write(const struct cell *);

/* For `debug cell`: appends one line per interval of the context, and per sibling one line, which a
 * value follows.  Lock held. */
void cells_describe_cell(const struct cell *, struct output *);
/* The same of a standalone server's item. */
void cells_describe(const struct item *, uint64_t now_ms, struct output *);

/* For `stats siblings`. */
struct cells_stats {
    uint64_t context_writes;  /* done, deletes included */
    uint64_t siblings_left;   /* of those, how many left more than one value */
    uint64_t siblings_max;    /* the most that one key had */
    uint64_t refused_full;    /* --max-siblings */
    uint64_t refused_context; /* forged, damaged, of another key or start */
    uint64_t intervals_dropped;
};
void cells_stats(struct cells_stats *);
void cells_stats_reset(void);

#endif
