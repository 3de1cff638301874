/* Ping: what a node tells a peer about itself, several times a second, and what the peer answers.
 *
 * The only message of an idle cluster.  Each node pings every other; a ping is answered at once
 * by another one with `is_answer` set, which returns `sent_ms` unchanged: so the asker learns the
 * round trip, and how old at most the rest of the answer is.  Only an answer proves that messages
 * arrive both ways: being pinged does not.
 *
 * Whoever composes one (liveness.h says when, and gives what is marked L) fills in what the
 * machines know: membership and table (M), hints (H), warming (W), the stripes' clocks (C). */
#ifndef RING_PING_H
#define RING_PING_H

#include <stdbool.h>
#include <stdint.h>
#include "ring/context.h"
#include "ring/hlc.h"
#include "ring/slice.h"
#include "ring/table.h"

struct ping {
    node_id from, to;     /* L: who is meant: what reaches somebody else is dropped by them */
    uint64_t incarnation; /* L: of the sender, as in its membership record: rises at each start */
    uint64_t sent_ms;     /* L: the asker's own monotonic clock; in an answer what was asked with */
    uint64_t asked_by;    /* L: in an answer, the asker's incarnation; else 0 */
    bool is_answer;       /* L */
    bool is_stopping;     /* L: the sender is about to exit: do not wait for it */
    bool reaches_you;     /* L: whether the sender believes the receiver to be reachable: if not,
                             it leaves hints for the receiver instead of writing to it */

    hlc_time clock;             /* C: the highest time that any clock of the sender gave */
    uint64_t membership_digest; /* M */
    struct ring_version table;  /* M: the version in use, and the digest of its content */
    uint64_t table_digest;      /* M */
    bool is_holding;            /* M: has cells that others own, or hints for them */

    uint32_t hints_left;          /* H: hints that the sender holds for the receiver, and */
    uint64_t hints_oldest_age_ms; /* H: how long it has had the oldest; 0 if there is none */

    /* W: the partitions for which the sender is warming, a bit each, in little-endian order of
     * bits and bytes (RING_BITMAP_BYTES of them); no bytes: none.  It goes by `table`. */
    struct slice warming;
};

/* A bit per partition, in bytes on the wire and in words in memory. */
#define RING_BITMAP_BYTES(partition_bits) ((((size_t)1 << (partition_bits)) + 7) / 8)
#define RING_BITMAP_WORDS(partition_bits) ((((size_t)1 << (partition_bits)) + 63) / 64)

#endif
