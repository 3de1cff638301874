/* Hint queue: hints on their way from the workers, who store cells in others' stead, to the cluster
 * thread, which keeps and delivers them (ring/hints.h).
 *
 *      worker                                             cluster thread
 *   bytes = hint_bytes(key, cell)
 *   hint_reserve()              room within --hint-memory
 *   cell_store_write() with adds_pin, or cell_store_merge()
 *       that makes_hint         the cell cannot be lost
 *   hint_add()                  ------- note ------->     hints_add(), delivered, acknowledged:
 *                                                         cell_store_unpin(), hint_queue_free()
 *
 * So each hint has its room before its cell is stored, and a pin from then on; the bound holds at
 * any moment, for all threads together.  The bytes of a hint are those of its cell, too.
 *
 * Threads: any, but for what is said to be the cluster thread's. */
#ifndef SERVER_HINT_QUEUE_H
#define SERVER_HINT_QUEUE_H

#include "ring/cell.h"
#include "ring/slice.h"
#include <pthread.h>
#include <stdatomic.h>

struct cluster;
struct store;

/* What a hint takes whose cell is, or becomes, this one. */
uint64_t hint_bytes(struct slice key, const struct cell *);

/* Takes room for a hint.  False: there is no room, do not store the cell in another's stead. */
bool hint_reserve(struct cluster *, uint64_t bytes) __attribute__((warn_unused_result));
/* Gives it back: nothing was stored. */
void hint_unreserve(struct cluster *, uint64_t bytes);

/* The cell of `key` is stored with a pin, and is to be delivered to `target`.  `bytes` as reserved.
 * Takes the pin and the room. */
void hint_add(struct cluster *, uint64_t hash, struct slice key, node_id target, uint64_t bytes);

/* --- the queue itself, of which a node has one --- */

struct hint_note {
    struct hint_note *next;
    uint64_t hash, bytes;
    node_id target;
    unsigned char key_bytes, key[];
};

/* Who may touch which field:
 *   [I] never changes    [A] anyone, atomically    [L] under the lock */
struct hint_queue {
    struct store *store;         /* [I] */
    uint64_t bytes_max;          /* [I] */
    _Atomic uint64_t bytes_used; /* [A] of notes, hints, and what is reserved for others */
    _Atomic uint64_t refused;    /* [A] how often there was no room */
    _Atomic bool is_closed;      /* [A] hint_queue_close() was called */
    pthread_mutex_t lock;
    struct hint_note *first, **end; /* [L] the oldest first */
};

/* The store's items are what hints are for: it has to outlive the queue. */
void hint_queue_init(struct hint_queue *, struct store *, uint64_t bytes_max);
/* Frees the notes that are left. */
void hint_queue_deinit(struct hint_queue *);

/* There is no room any more, whatever becomes free: the process is about to be restarted. */
void hint_queue_close(struct hint_queue *);

/* hint_reserve(), hint_unreserve() and hint_add() of one queue.  hint_queue_free() is also for room
 * that a hint had, when the hint has ended. */
bool hint_queue_reserve(struct hint_queue *, uint64_t bytes) __attribute__((warn_unused_result));
void hint_queue_free(struct hint_queue *, uint64_t bytes);
void hint_queue_add(struct hint_queue *, uint64_t hash, struct slice key, node_id target,
                    uint64_t bytes);

/* Gives all notes, the oldest first, each to be freed with free(); NULL: there are none.  The
 * cluster thread. */
struct hint_note *hint_queue_take(struct hint_queue *);

#endif
