/* Ring table: which nodes own a key.
 *
 * The hash space is cut into equal partitions, a power of two, fixed when the cluster is made.
 * Each has a row of distinct owners, the first of which coordinates its writes:
 *
 *   key_hash 1011 0100...   ->   partition 1011   ->   row: c a f   (indexes of members)
 *
 * A table names its members, sorted by id, and rows name members by their index.  It is versioned
 * by (epoch, claimant); of two tables the one with the higher epoch is the newer, then the one of
 * the higher claimant.  Nodes pass it on whole, or as the difference to the one before; both
 * forms are canonical and in little-endian numbers:
 *
 *   whole       format (1)  epoch (8)  claimant (8)  partition_bits (1)  copies (1)
 *               member_count (1)  then per member:  id (8)  zone (4)  weight (4)
 *               then per partition:  `copies` indexes (1 each), RING_NO_OWNER after the last owner
 *   difference  format (1)  the older epoch (8) and claimant (8), the newer's (8, 8)
 *               partition_bits (1)  copies (1)
 *               members gone (1)  then their ids (8 each)
 *               members new or changed (1)  then each as above
 *               rows changed (2)  then of each:  partition (2)  row, in the newer's indexes
 *
 * Threads: once made, a table does not change, so all may read it. */
#ifndef RING_TABLE_H
#define RING_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ring/context.h"
#include "ring/slice.h"

#define RING_MEMBERS_MAX            255 /* an index fits a byte, and one value is left over */
#define RING_COPIES_MAX             8   /* owners of a partition */
#define RING_PARTITION_BITS_MAX     14
#define RING_PARTITION_BITS_DEFAULT 10
#define RING_WEIGHT_MAX             65535

#define RING_NO_OWNER 255 /* what a row shorter than `copies` is filled up with */

/* Room for the rows of a table with 2^bits partitions, in bytes. */
#define RING_ROWS_BYTES(bits, copies) (((size_t)1 << (bits)) * (copies))
#define RING_ROWS_BYTES_MAX           RING_ROWS_BYTES(RING_PARTITION_BITS_MAX, RING_COPIES_MAX)

#define RING_TABLE_HEADER_BYTES 20
#define RING_MEMBER_BYTES       16
#define RING_TABLE_BYTES_MAX                                                                       \
    (RING_TABLE_HEADER_BYTES + RING_MEMBERS_MAX * RING_MEMBER_BYTES + RING_ROWS_BYTES_MAX)

struct ring_version {
    uint64_t epoch; /* from 1; 0 while there is no table */
    node_id claimant;
};

struct ring_member {
    node_id id;
    uint32_t zone;   /* equal numbers are one zone */
    uint32_t weight; /* its part of the data, relative to the others; 0: it owns nothing, or is
                        about to */
};

/* 1. Members are sorted by id, each a real node, with a weight up to RING_WEIGHT_MAX.
 * 2. The owners in a row are distinct members; after the last comes only RING_NO_OWNER.
 * 3. partition_bits <= RING_PARTITION_BITS_MAX and 1 <= copies <= RING_COPIES_MAX.
 * 4. A table without members has epoch 0, one with members an epoch above and a real claimant. */
struct ring_table {
    struct ring_version version;
    unsigned partition_bits;
    unsigned copies; /* owners that a row has room for */
    unsigned member_count;
    struct ring_member members[RING_MEMBERS_MAX];
    unsigned char *rows; /* `copies` indexes per partition */
    size_t rows_room;    /* in bytes */
};

/* Below 0, 0, above 0: which is the newer. */
int ring_version_compare(struct ring_version, struct ring_version);

/* An empty table of no version.  `rows` stays the caller's, has `rows_room` bytes and has to live
 * as long as the table; there must be room for RING_ROWS_BYTES(partition_bits, copies). */
void ring_table_init(struct ring_table *, unsigned partition_bits, unsigned copies,
                     unsigned char *rows, size_t rows_room);

/* Makes `into` the same table.  Its rows must have room. */
void ring_table_copy(struct ring_table *into, const struct ring_table *from);

/* Whether 1 to 4 hold. */
bool ring_table_is_sound(const struct ring_table *);

/* Whether both say the same of the same members, whatever their versions. */
bool ring_table_same_content(const struct ring_table *, const struct ring_table *);

static inline unsigned ring_table_partitions(const struct ring_table *table)
{
    return 1u << table->partition_bits;
}

/* The partition of a key. */
static inline unsigned ring_table_partition(const struct ring_table *table, uint64_t key_hash)
{
    return (unsigned)(key_hash >> 1 >> (63 - table->partition_bits));
}

/* The row of a partition: `copies` indexes of members. */
static inline const unsigned char *ring_table_row(const struct ring_table *table,
                                                  unsigned partition)
{
    return table->rows + (size_t)partition * table->copies;
}

/* Fills `owners` with up to `copies` owners of the partition, the first owner first, and returns
 * how many there are: fewer than asked for only if the row is shorter. */
unsigned ring_table_owners(const struct ring_table *, unsigned partition, unsigned copies,
                           node_id owners[RING_COPIES_MAX]);

/* The index of a member, or -1. */
int ring_table_find_member(const struct ring_table *, node_id id);

/* Whether the node is among the first `copies` owners of the partition. */
bool ring_table_is_owner(const struct ring_table *, unsigned partition, unsigned copies,
                         node_id id);

/* How many partitions each member owns, and of how many it is the first owner; by index.  Either
 * may be NULL. */
void ring_table_count(const struct ring_table *, unsigned owned[RING_MEMBERS_MAX],
                      unsigned first[RING_MEMBERS_MAX]);

/* The preference list of a partition: its owners, in order; then, as fallbacks, every other
 * member, in the order in which the following partitions have them as first owners (round the
 * end of the ring), and last, by id, those that are first owner of none.  Give out as many as
 * wanted: of N copies the first N are the owners, if the row is that long. */
struct ring_preference {
    const struct ring_table *table; /* borrowed until the last ring_preference_next() */
    unsigned partition;
    unsigned next; /* position in the row; from `copies` on, partitions walked; then members */
    uint64_t given[4];
};

void ring_preference_start(struct ring_preference *, const struct ring_table *, unsigned partition);

/* The next node, or NODE_NONE after the last. */
node_id ring_preference_next(struct ring_preference *);

/* The same by its index among the members; -1 after the last. */
int ring_preference_next_index(struct ring_preference *);

/* What became of one partition from one table to the next. */
struct ring_change {
    unsigned partition;
    unsigned gained_count, lost_count;
    node_id gained[RING_COPIES_MAX], lost[RING_COPIES_MAX];
    bool is_reordered; /* an owner in both tables stands at another place */
};

/* Fills `change` with the first partition, counting from `partition`, whose row differs, and
 * returns true; false if there is none.  Both tables have the same number of partitions. */
bool ring_table_next_change(const struct ring_table *older, const struct ring_table *newer,
                            unsigned partition, struct ring_change *change);

/* How many bytes ring_table_encode() writes. */
size_t ring_table_encoded_bytes(const struct ring_table *);

/* Returns how many bytes it wrote. */
size_t ring_table_encode(const struct ring_table *, unsigned char *out);

/* Reads a whole table, which must fill `bytes` exactly.  `into` was initialised.  False if these
 * are no sound table with members, or there is no room for the rows; then `into` is empty. */
bool ring_table_decode(struct ring_table *into, struct slice bytes);

/* Writes the difference from `older` to `newer`, which have the same number of partitions, and
 * returns its size.  It has no more than `room` bytes, else 0 is returned: then send the table
 * whole. */
size_t ring_table_encode_difference(const struct ring_table *older, const struct ring_table *newer,
                                    unsigned char *out, size_t room);

enum ring_apply {
    RING_APPLIED,
    RING_APPLY_OTHER_BASE, /* it starts from another table than this: ask for the whole one */
    RING_APPLY_BAD         /* these bytes are no difference, or lead to no sound table */
};

/* Makes `into`, another table with room, what `older` becomes by the difference, which must fill
 * `bytes` exactly.  Unless RING_APPLIED is returned, `into` is empty. */
enum ring_apply ring_table_apply_difference(struct ring_table *into, const struct ring_table *older,
                                            struct slice bytes);

#endif
