/* Cell: what a replica holds for one key.
 *
 * A context (what was seen) and the siblings that nothing seen supersedes.  A sibling is a value,
 * a tombstone (a delete), or a stub: the memory of a value that was evicted, "known, not held".
 * Values themselves are not here: a cell carries a handle, a size and a digest of each.
 *
 * Whoever coordinates a write calls one of the cell_put functions under a fresh dot, and sends the
 * whole cell; whoever receives a cell calls cell_merge().  Merging is commutative, associative and
 * idempotent, so repeats and detours are harmless.  What may be forgotten, and how:
 *
 *   evict    a value becomes a stub: dots and context stay, and nothing merges as a removal
 *   forget   one sibling of several goes: its dot leaves the context, and is_live is cleared
 *   drop     the whole cell, context and all: the caller just does not keep it
 *   reap     dropping a cell of tombstones, after the grace (cell_is_reapable)
 *
 * Never the value alone with the context kept: that would act as a delete everywhere.
 *
 * The rules are those of the model in tests/model/cell.py: test_cell_model.c checks that the two
 * agree, and test_explore.c drives the cells through random histories.  Compile-time switches
 * CELL_BREAK_... break one rule each, to show that those tests bite; they are for tests only.
 *
 * Functions that change a cell may have to drop intervals from its context to keep within
 * CONTEXT_CELL_MAX; they add the number to `intervals_dropped`, for the caller to count.
 *
 * Threads: a cell belongs to its caller; in the server, to whoever holds the key's stripe. */
#ifndef RING_CELL_H
#define RING_CELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ring/context.h"
#include "ring/hlc.h"
#include "ring/slice.h"

/* More siblings than any encoding may hold. */
#define CELL_SIBLINGS_END 0x10000u

enum sibling_kind { SIBLING_VALUE = 1, SIBLING_TOMBSTONE = 2, SIBLING_STUB = 4 };

/* Kinds may be or-ed where a function takes a set of them.  Those a reader can be shown: */
#define SIBLINGS_HELD (SIBLING_VALUE | SIBLING_TOMBSTONE)
#define SIBLINGS_ALL  (SIBLING_VALUE | SIBLING_TOMBSTONE | SIBLING_STUB)

/* What may change about a version without making it another version.  Of two registers for one
 * dot the later one counts. */
struct sibling_register {
    hlc_time hlc;          /* when it was written; at first, the dot's own */
    uint64_t expires_ms;   /* since 1970; 0 = never */
    uint64_t explicit_cas; /* the token that the client chose (meta E); 0 = none */
    bool is_stale;         /* meta I found an older value: served, and marked */
};

struct sibling {
    struct dot dot;
    enum sibling_kind kind;
    struct sibling_register reg;
    uint32_t client_flags; /* of a value; else 0 */
    uint32_t value_bytes;  /* of a value; else 0 */
    uint64_t value_digest; /* of a value: the caller's hash of it, to tell equal ones; else 0 */
    uint64_t value;        /* the caller's own handle of a value, never encoded; else 0 */
};

/* 1. The siblings are sorted by dot, no dot twice; each dot is a real node's.
 * 2. sibling_count <= sibling_room.
 * 3. What is not a value has no size, no digest, no flags and no handle.
 * 4. A register is never older than its dot.
 * 5. The context has at most CONTEXT_CELL_MAX intervals. */
struct cell {
    struct context context;
    struct sibling *siblings; /* the caller's memory */
    unsigned sibling_count;
    unsigned sibling_room;
    unsigned intervals_dropped; /* since cell_init() */
    /* Whether this node has held the cell without a break since it last gave it a dot: only then
     * may that dot's interval be extended.  Local knowledge: never sent to a peer, false after a
     * refill or a restart. */
    bool is_live;
};

/* Whether a write was applied. */
enum cell_put {
    CELL_PUT_DONE,
    /* The dot does not come after all that the cell and the client's context know of (a slow
     * clock): nothing was changed.  Merge cell_clock() and context_newest() into the stripe's
     * clock, within the drift, and write under a fresh dot. */
    CELL_PUT_COVERED
};

/* An empty cell, with the caller's room for siblings. */
void cell_init(struct cell *, struct sibling *siblings, unsigned sibling_room);

/* Copies context and siblings into a cell with room for them; keeps its sibling memory. */
void cell_copy(struct cell *into, const struct cell *from);

/* Whether 1 to 5 hold. */
bool cell_is_sound(const struct cell *);

/* A value under a fresh dot.  `expires_ms` as in the register. */
struct sibling sibling_of_value(struct dot, uint64_t expires_ms, uint32_t client_flags,
                                uint32_t value_bytes, uint64_t value_digest, uint64_t value);

/* A delete under a fresh dot. */
struct sibling sibling_of_tombstone(struct dot);

/* Whether two siblings read the same: kind, value, flags, expiry, stale bit and explicit cas.
 * Such siblings are shown and counted once.  The values are told apart by size and digest: where
 * clients choose the values, compare the bytes as well. */
bool sibling_reads_like(const struct sibling *, const struct sibling *);

/* Writes a register if it is later than the one held, and returns whether it was. */
bool sibling_set_register(struct sibling *, const struct sibling_register *);

/* The sibling of that dot, or NULL. */
struct sibling *cell_find(const struct cell *, struct dot);

/* Writes. `write` is a value or a tombstone under a fresh dot of the node that coordinates; a
 * tombstone is how things are deleted.  The cell has room for one more sibling. */

/* memcached's set and delete: supersedes all that this node holds or ever wrote for the key. */
enum cell_put cell_put_blind(struct cell *, const struct sibling *write)
    __attribute__((warn_unused_result));

/* Supersedes what `seen` covers, and leaves the rest as siblings. */
enum cell_put cell_put_context(struct cell *, const struct sibling *write,
                               const struct context *seen) __attribute__((warn_unused_result));

/* A policy without siblings: supersedes all that is older, whoever wrote it. */
enum cell_put cell_put_last_write_wins(struct cell *, const struct sibling *write)
    __attribute__((warn_unused_result));

/* Writes once more, under a fresh dot, what a replica refused as covered: the new sibling replaces
 * the refused one, and leaves alone whatever came in between.  The cell holds the refused dot; if
 * it does not any more, something newer replaced it, and there is nothing to write again. */
enum cell_put cell_put_again(struct cell *, const struct sibling *write, struct dot refused)
    __attribute__((warn_unused_result));

/* How many siblings a context write would leave, its own included, equal ones counted once: what
 * --max-siblings bounds. */
unsigned cell_siblings_after(const struct cell *, const struct sibling *write,
                             const struct context *seen);

/* What a new dot must come after, whoever gives it: all that the cell knows of.  Were a write dated
 * before one that it supersedes, a flush between the two would bring the older one back.  0 if the
 * cell knows of nothing. */
hlc_time cell_clock(const struct cell *);

/* Whether a peer's new dot was seen already: then it is refused, with cell_clock(). */
bool cell_covers(const struct cell *, struct dot);

/* Makes `into` the least cell that knows what both know.  It has room for the siblings of both.
 * Handles come along with the siblings taken from `other`; where both hold a value for a dot, the
 * handle of `into` stays. */
void cell_merge(struct cell *into, const struct cell *other);

/* Makes a stub of one value, which the caller frees; a tombstone or a stub stays as it is. */
void cell_evict_sibling(struct cell *, struct sibling *);

/* Makes stubs of all values, which the caller frees. */
void cell_evict(struct cell *);

/* Makes stubs of the values that have expired at `now_ms`, which the caller frees, and returns how
 * many.  To be called before a cell is shown. */
unsigned cell_expire(struct cell *, uint64_t now_ms);

/* Forgets one sibling: its dot leaves the context and the cell is not live any more.  The caller
 * frees the value.  If it was the last one, the caller drops the cell. */
void cell_forget(struct cell *, struct sibling *);

/* Removes the siblings whose dots are not after `floor`: those that a flush_all emptied, which do
 * not exist any more (ring/flush.h).  The caller frees the values first, and drops the cell if none
 * is left.  To be called on what comes from a peer too, before it is merged.  Returns how many. */
unsigned cell_flush(struct cell *, hlc_time floor);

/* Whether the cell is nothing but tombstones from before `time`: then its caller may drop it, once
 * their grace is over.  A tombstone beside a value or a stub stays as long as they do: it may be
 * what hides them from readers of the newest. */
bool cell_is_reapable(const struct cell *, hlc_time time);

/* The time to pass there at `wall_ms` (since 1970).  It moves on in steps of an eighth of the
 * grace, at the same times everywhere: replicas whose clocks agree reap a cell together, and do not
 * compare what they hold just because one of them did so first. */
hlc_time cell_reap_before(uint64_t wall_ms, uint64_t grace_ms);

/* Removes the siblings that `seen` covers, without a trace of who did: a context delete where there
 * is one node only, which keeps no tombstones.  The caller frees the values first, and drops the
 * cell if none is left.  Returns how many were removed. */
unsigned cell_remove_seen(struct cell *, const struct context *seen);

/* The context to hand to a client that is shown the siblings held: it covers those and what they
 * replaced.  The dots of stubs are cut out, since nobody may supersede what they were not shown.
 * At most CONTEXT_CLIENT_MAX intervals; returns how many had to be dropped for that. */
unsigned cell_shown(const struct cell *, struct context *shown);

/* The newest sibling among those whose kind is in the set `kinds`, equal times decided by the
 * higher node: the choice of the `lww` policy.  NULL if there is none. */
const struct sibling *cell_newest(const struct cell *, unsigned kinds);

/* How many siblings of those kinds there are, equal ones counted once. */
unsigned cell_count_distinct(const struct cell *, unsigned kinds);

/* The state as 128 bits: dots, tombstone marks and registers.  Equal on all replicas that agree;
 * neither contexts nor what is held as a stub are in it. */
struct cell_digest {
    uint64_t low, high;
};
struct cell_digest cell_state_digest(const struct cell *);

/* The state as a cas value: the explicit cas of the only sibling if it has one, whatever number
 * the client chose; else above 0 and below HLC_END, the milliseconds of the newest dot and 20 bits
 * of a hash over all dots, the same on all replicas in this state.  After a put, a coordinator that
 * finds the token unchanged writes again under its next dot.  The cell is not empty. */
uint64_t cell_token(const struct cell *);

/* The token where there is one node only: unique and rising, and for the common form just the
 * HLC of the write.  The cell is not empty. */
uint64_t cell_token_standalone(const struct cell *);

/* The common form: one value, and a context that is just its writer's interval 0..hlc.  Such a
 * cell is stored as a plain item with the dot and no vector. */
bool cell_is_common(const struct cell *);

/* Makes the cell of a plain item again. */
void cell_make_common(struct cell *, const struct sibling *value, bool is_live);

/* The encoding of a cell, all but the values and their handles, in little-endian numbers:
 *
 *   format and is_live (1)  siblings (2)  context  then per sibling, sorted by dot:
 *   node (8) hlc (8) kind and is_stale (1) register hlc (8) expires_ms (8) explicit_cas (8)
 *   and only of a value: client_flags (4) value_bytes (4) value_digest (8)
 *
 * A cell has one encoding only. */
size_t cell_encoded_bytes(const struct cell *);

/* Writes the cell_encoded_bytes() of the cell to `out` and returns how many. */
size_t cell_encode(const struct cell *, unsigned char *out);

/* Reads a cell from the start of `bytes` into an initialised cell with room for siblings; their
 * handles are 0.  Returns how many bytes it took, or 0 if they are no cell or there is no room:
 * then `into` is empty.  Anything may be in `bytes`. */
size_t cell_decode(struct cell *into, struct slice bytes);

/* How many siblings an encoding says it has, so that room can be found; 0 if it is none. */
unsigned cell_decode_sibling_count(struct slice bytes);

#endif
