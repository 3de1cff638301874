/* Store: the cells of one simulated node, by key number.
 *
 * Keys are few, so each has its place.  Whoever changes a cell says so with store_changed().
 *
 * Threads: one. */
#ifndef TESTS_SIM_STORE_H
#define TESTS_SIM_STORE_H

#include "ring/cell.h"
#include "ring/hints.h"

struct sim;
struct node;

struct stored {
    bool is_present;
    struct cell cell; /* its siblings are on the heap, and stay there when it is gone */
    struct hinted hinted;
    uint64_t mark; /* in the Merkle tree; 0: it is not in there */
};

struct store {
    struct stored *cells; /* by key */
    unsigned key_count;
    unsigned count; /* that are present */
};

void store_init(struct store *, unsigned key_count);
void store_deinit(struct store *);

/* Makes room for so many siblings in a cell whose memory is the heap's. */
void cell_reserve(struct cell *, unsigned siblings);

/* Gives that memory back. */
void cell_release(struct cell *);

/* The cell of a key, or NULL. */
struct cell *store_find(struct store *, unsigned key);

/* The cell of a key with room for `more` siblings, made empty if there is none. */
struct cell *store_make(struct store *, unsigned key, unsigned more);

/* Forgets the cell, context and all. */
void store_drop(struct store *, unsigned key);

#endif
