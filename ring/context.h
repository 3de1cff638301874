/* Context: what has been seen of the writes to one key.
 *
 * A dot (node, hlc) names one write.  A context is a set of intervals (node, first, last), each
 * saying "seen every dot that this node gave this key in first..last".  The pseudo-node NODE_ANY
 * stands for every node: its intervals cover by time alone, which is how a last-write-wins policy
 * is expressed.
 *
 * Contexts are bounded.  Where one would grow past its bound, the intervals with the lowest
 * `last` are dropped: then less counts as seen, and the price is an old version or a false
 * sibling.  Nothing here ever joins two intervals across a gap: the gap may hide a write that was
 * not seen, and claiming it would lose that write.
 *
 * A context has a canonical encoding, in little-endian numbers:
 *
 *   count (1)  then per interval, sorted:  node (8)  first (8)  last (8)
 *
 * and a sealed form for clients: that encoding followed by a SipHash-2-4 sum (8) over the key and
 * the encoding, so that nobody can make up a context and bury writes to come.  The empty context
 * is sealed as no bytes at all.
 *
 * Threads: a context belongs to its caller. */
#ifndef RING_CONTEXT_H
#define RING_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ring/hlc.h"
#include "ring/siphash.h"
#include "ring/slice.h"

typedef uint64_t node_id;

#define NODE_NONE ((node_id)0)  /* no node */
#define NODE_ANY  (~(node_id)0) /* every node; sorts after all of them */

#define CONTEXT_CELL_MAX   16 /* intervals in a cell's context */
#define CONTEXT_CLIENT_MAX 32 /* intervals in a context handed to a client */
#define CONTEXT_ROOM       64 /* intervals that fit the struct: both of the above, and a write */

#define CONTEXT_SUM_BYTES        8
#define CONTEXT_ENCODED_BYTES(n) ((size_t)1 + (size_t)24 * (n))
#define CONTEXT_SEALED_BYTES_MAX (CONTEXT_ENCODED_BYTES(CONTEXT_CLIENT_MAX) + CONTEXT_SUM_BYTES)

struct dot {
    node_id node; /* who coordinated the write: a real node */
    hlc_time hlc;
};

struct interval {
    node_id node;
    hlc_time first, last; /* both included */
};

/* 1. Sorted by node, then by first.
 * 2. Intervals of one node do not overlap (they may touch).
 * 3. In each, first <= last < HLC_END, and node is not NODE_NONE.
 * 4. count <= CONTEXT_ROOM. */
struct context {
    unsigned count;
    struct interval intervals[CONTEXT_ROOM];
};

/* Below 0, 0, above 0: by node, then by time. */
int dot_compare(struct dot, struct dot);

/* Whether a dot may name a write: of a real node, at a valid time. */
bool dot_is_valid(struct dot);

void context_clear(struct context *);

/* Copies the intervals in use only. */
void context_copy(struct context *into, const struct context *from);

/* Whether 1 to 4 hold. */
bool context_is_sound(const struct context *);

/* Whether both have seen the same, said in the same intervals. */
bool context_equal(const struct context *, const struct context *);

/* Whether the write named by the dot is part of what was seen. */
bool context_covers(const struct context *, struct dot);

/* The highest `last` of all intervals, 0 if there is none: whoever writes after having seen this
 * has to give its write a later time. */
hlc_time context_newest(const struct context *);

/* The newest interval of just this node, not NODE_ANY's.  NULL if there is none. */
const struct interval *context_newest_own(const struct context *, node_id node);

/* Adds what `more` has seen.  Returns how many intervals had to be dropped to fit CONTEXT_ROOM:
 * 0 for any two contexts within the bounds above. */
unsigned context_join(struct context *into, const struct context *more);

/* Adds one interval, as context_join() does. */
unsigned context_add(struct context *into, struct interval);

/* Takes one dot out of every interval that covers it, NODE_ANY's included: it counts as not seen.
 * Returns how many intervals had to be dropped to fit CONTEXT_ROOM. */
unsigned context_cut(struct context *, struct dot);

/* Drops intervals until at most `intervals_max` are left: those that NODE_ANY's imply, then those
 * with the lowest `last`.  Returns how many were dropped. */
unsigned context_fold(struct context *, unsigned intervals_max);

/* Writes the canonical encoding to `out`, which has CONTEXT_ENCODED_BYTES(count) bytes, and
 * returns how many those are. */
size_t context_encode(const struct context *, unsigned char *out);

/* Reads a canonical encoding of at most `intervals_max` intervals from the start of `bytes`.
 * Returns how many bytes it took, or 0 if they are not one: too short, too long, unsorted,
 * overlapping.  What `into` holds is then undefined. */
size_t context_decode(struct context *into, struct slice bytes, unsigned intervals_max);

/* Writes the sealed form, at most CONTEXT_SEALED_BYTES_MAX, and returns its size: 0 for the empty
 * context.  `context` has at most CONTEXT_CLIENT_MAX intervals. */
size_t context_seal(const struct context *, const struct siphash_key *, struct slice key,
                    unsigned char out[CONTEXT_SEALED_BYTES_MAX]);

/* Reads a sealed form that a client sent back for `key`.  False if it was not sealed with this
 * secret for this key, which a client may well try: then `into` is empty.  Compares sums in a time
 * that does not depend on where they differ. */
bool context_unseal(struct context *into, const struct siphash_key *, struct slice key,
                    struct slice sealed) __attribute__((warn_unused_result));

#endif
