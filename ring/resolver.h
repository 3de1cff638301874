/* Resolver: the one value that clients see who do not ask for siblings.
 *
 * The policy belongs to the key's prefix:
 *
 *   lww       the newest, equal times decided by the higher node; a delete is one of them
 *   max, min  the greatest, least decimal number: [-]digits[.digits], of any length, and spaces
 *             behind it; what is no number loses to all that are
 *   union     the set of lines of all values, sorted by their bytes: a shopping cart
 *   longest   the value with most bytes
 *   counter   the sum of whole numbers: each coordinator adds to a share of its own, which is one
 *             sibling; modulo 2^64, and 0 if it is below
 *
 * All but lww ignore tombstones unless nothing else is left.  Stubs are ignored, since the caller
 * has tried to refill them; but of a counter nobody knows the sum while a share is missing.  Ties
 * go as in lww, so every replica in the same state shows the same.  Nothing is dropped by being
 * shown.
 *
 * Shares of a counter that look alike are all counted: they are increments that different nodes
 * took.
 *
 * Values are what clients chose: any bytes of any length, and resolving takes a time that is
 * proportional to their length (union: times its logarithm).
 *
 * Threads: pure; all memory is the caller's. */
#ifndef RING_RESOLVER_H
#define RING_RESOLVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ring/cell.h"
#include "ring/slice.h"

enum resolver_policy {
    RESOLVE_LWW,
    RESOLVE_MAX,
    RESOLVE_MIN,
    RESOLVE_UNION,
    RESOLVE_LONGEST,
    RESOLVE_COUNTER
};
#define RESOLVER_POLICIES 6

/* The name as it is written in a configuration; lower case. */
const char *resolver_policy_name(enum resolver_policy);

/* Reads such a name.  False if there is no policy of that name. */
bool resolver_policy_of(struct slice name, enum resolver_policy *policy);

enum resolved {
    RESOLVED_MISS,    /* there is no value, or it was deleted */
    RESOLVED_SIBLING, /* the value of one sibling, as it is */
    RESOLVED_BYTES,   /* a value made of several, in the caller's room */
    RESOLVED_UNKNOWN, /* a share of the counter is not held: no answer */
    RESOLVED_NO_ROOM  /* the room is too small */
};

struct resolution {
    enum resolved kind;
    /* Whose flags, expiry and stale bit go with the value: the sibling shown, or the newest that
     * the value was made of.  NULL if there is no value. */
    const struct sibling *sibling;
    struct slice value; /* the bytes, in `values` or in the room */
};

/* A line of a value, for union. */
struct resolver_line {
    const unsigned char *bytes;
    size_t size;
};

/* Where a value made of several goes. */
struct resolver_room {
    unsigned char *bytes;
    size_t size;
    struct resolver_line *lines;
    size_t line_count;
};

/* What room is enough for this cell: bytes, and lines. */
struct resolver_need {
    size_t bytes, lines;
};
struct resolver_need resolver_room_needed(enum resolver_policy, const struct cell *,
                                          const struct slice *values);

/* `values` has one slice per sibling of the cell, in their order; only those of siblings that are
 * values are looked at.  What has expired was made a stub before (cell_expire()). */
struct resolution resolver_resolve(enum resolver_policy, const struct cell *,
                                   const struct slice *values, const struct resolver_room *);

enum counter_add {
    COUNTER_ADDED,
    COUNTER_MISSING,   /* there is no value to add to */
    COUNTER_UNKNOWN,   /* a share is not held: try again when it is */
    COUNTER_NOT_NUMBER /* what is there is no number */
};

#define COUNTER_SHARE_BYTES_MAX 40

/* What an incr or decr writes: the share under a fresh dot, in a context write that has seen just
 * the dot of `replaces`; nothing if that is NULL, for then the node starts a share. */
struct counter_change {
    const struct sibling *replaces;
    unsigned char share[COUNTER_SHARE_BYTES_MAX];
    size_t share_bytes;
    uint64_t total; /* what the client is told */
};

/* Adds to the counter, modulo 2^64, or subtracts, down to 0, as memcached does; `self` coordinates
 * the write. */
enum counter_add resolver_counter_add(const struct cell *, const struct slice *values, node_id self,
                                      uint64_t amount, bool is_decrement,
                                      struct counter_change *change);

#endif
