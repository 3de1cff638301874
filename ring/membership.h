/* Membership: who belongs to the cluster, as a map that nodes merge in any order.
 *
 * A record per node, found by its id.  Nothing is ever taken back in it: each part only rises, so
 * that merging, which takes the higher of each part, is commutative, associative and idempotent:
 *
 *   part                  rises by                     written by
 *   self                  incarnation, then warm       the node itself, when it starts, and once
 *     address, name                                    it holds again what it should
 *   status                JOINING UP LEAVING GONE      joins and leaves: operator acts, or the
 *                                                      claimant where they are complete
 *   settings              revision                     an operator's acts
 *     weight, zone
 *   ceiling               the highest hlc that         whoever stores something of it
 *                         anybody saw of the node
 *
 * Being down is not a status: that is each node's own opinion (ring/liveness.h).  A node that
 * went keeps its record, so that old news does not bring it back; one that returns after that is
 * a new node with a new id.
 *
 * A restart begins a new incarnation: a higher number.  Caches restart empty, and a record says so
 * (is_warm is false) until the node has what it should hold; till then its "don't have it" counts
 * for nobody, whether or not they heard its pings.
 *
 * The digest covers all but the ceilings, which rise with every write.
 *
 * The encoding is canonical, in little-endian numbers:
 *
 *   format (1)  flush floor (8)  flushes pending (1)  then each:  until (8)  effective_ms (8)
 *   records (2)  then each, sorted by id:
 *     id (8)  incarnation (8)  is_warm (1)  status (1)  revision (4)  weight (2)  zone (4)
 *     ceiling (8)  then name, address, zone name:  size (1)  bytes
 *
 * Threads: a membership belongs to its caller. */
#ifndef RING_MEMBERSHIP_H
#define RING_MEMBERSHIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ring/context.h"
#include "ring/flush.h"
#include "ring/slice.h"
#include "ring/table.h"

/* Records, those of nodes that went included; not gone are at most RING_MEMBERS_MAX. */
#define MEMBERSHIP_RECORDS_MAX 512

#define MEMBER_NAME_MAX    31 /* bytes */
#define MEMBER_ADDRESS_MAX 63

#define MEMBERSHIP_HEADER_BYTES (12 + FLUSH_PENDING_MAX * 16)
#define MEMBERSHIP_RECORD_BYTES (39 + 2 * MEMBER_NAME_MAX + MEMBER_ADDRESS_MAX) /* at most */
#define MEMBERSHIP_BYTES_MAX                                                                       \
    (MEMBERSHIP_HEADER_BYTES + MEMBERSHIP_RECORDS_MAX * MEMBERSHIP_RECORD_BYTES)

enum member_status {
    MEMBER_JOINING, /* asked for a part of the data, does not have all of it yet */
    MEMBER_UP,
    MEMBER_LEAVING, /* to own nothing; gone once it has handed over what it holds */
    MEMBER_GONE     /* for good */
};

/* Printable ASCII without spaces; the rest of the bytes are 0. */
struct member_name {
    unsigned char size;
    char bytes[MEMBER_NAME_MAX];
};

struct member_address {
    unsigned char size;
    char bytes[MEMBER_ADDRESS_MAX];
};

struct member_record {
    node_id id;
    /* self */
    uint64_t incarnation; /* milliseconds since 1970 at its start, or more: it only has to rise */
    bool is_warm;         /* false: this incarnation started without what it should hold */
    struct member_name name;
    struct member_address address; /* for the caller: opaque here */
    enum member_status status;
    /* settings */
    uint32_t revision;
    uint32_t weight; /* up to RING_WEIGHT_MAX; 0: it owns nothing */
    uint32_t zone;   /* as in a ring table: equal numbers are one zone */
    struct member_name zone_name;
    hlc_time ceiling; /* 0: none was seen */
};

/* 1. Records are sorted by id, each of a real node.
 * 2. Each number is within its bounds, each text of the characters above.
 * 3. The flush list is sound.
 * 4. `digest` is up to date. */
struct membership {
    uint64_t digest;
    uint64_t dropped; /* records and flushes that found no room, counted */
    struct flush_list flushes;
    unsigned count;
    struct member_record records[MEMBERSHIP_RECORDS_MAX];
};

/* What became of an operator's act. */
enum membership_answer {
    MEMBERSHIP_DONE,
    MEMBERSHIP_ALREADY,    /* it is so: nothing was changed */
    MEMBERSHIP_UNKNOWN,    /* no such node */
    MEMBERSHIP_IS_GONE,    /* it went, for good: join under a new id */
    MEMBERSHIP_NAME_TAKEN, /* another node of that name has not gone: restart as that one, or
                              replace it */
    MEMBERSHIP_FULL,       /* RING_MEMBERS_MAX nodes that have not gone */
    MEMBERSHIP_BAD         /* an id, a weight, a text or a time that may not be */
};

/* No members. */
void membership_init(struct membership *);

/* Copies the records in use only. */
void membership_copy(struct membership *into, const struct membership *from);

/* Whether 1 to 4 hold. */
bool membership_is_sound(const struct membership *);

/* Whether both say the same, ceilings included. */
bool membership_equal(const struct membership *, const struct membership *);

/* The text as a name or an address.  False if it is too long or has other characters than printable
 * ASCII; then `into` is empty. */
bool member_name_set(struct member_name *into, struct slice text);
bool member_address_set(struct member_address *into, struct slice text);

/* The record of a node, gone or not; NULL if there is none.  Valid until the next change. */
const struct member_record *membership_find(const struct membership *, node_id);

/* The record of that name that has not gone; NULL if there is none. */
const struct member_record *membership_find_name(const struct membership *,
                                                 const struct member_name *);

/* Whether the node is known and has not gone. */
bool membership_has(const struct membership *, node_id);

/* How many nodes have not gone. */
unsigned membership_live_count(const struct membership *);

/* Fills `members` with who is to own partitions, for ring/claim.h: all that are joining or up.
 * Returns how many. */
unsigned membership_claimers(const struct membership *,
                             struct ring_member members[RING_MEMBERS_MAX]);

/* Adds what `more` has seen.  True if anything but ceilings changed. */
bool membership_merge(struct membership *into, const struct membership *more);

/* Operator acts.  Each is one change of the map; send it on, and the claimant does the rest.
 *
 * Join: `joiner` is the record of a node that is not a member, with status JOINING; of a founding
 * node UP and warm.  With `replaces` (else NODE_NONE) that node is gone at once, so that the next
 * table gives its partitions to the joiner; the joiner may have its name. */
enum membership_answer membership_join(struct membership *, const struct member_record *joiner,
                                       node_id replaces);

/* The node hands over what it has, then is gone. */
enum membership_answer membership_leave(struct membership *, node_id);

/* The node is gone at once: it is dead, or has handed over what it held. */
enum membership_answer membership_remove(struct membership *, node_id);

enum membership_answer membership_set_weight(struct membership *, node_id, uint32_t weight);

enum membership_answer membership_set_zone(struct membership *, node_id, uint32_t zone,
                                           const struct member_name *zone_name);

/* flush_all: adds it to the list; MEMBERSHIP_FULL if too many are pending. */
enum membership_answer membership_flush(struct membership *, struct flush);

/* Raises the flush floor to what has come due (milliseconds since 1970).  True if it rose. */
bool membership_advance_flushes(struct membership *, uint64_t wall_ms);

/* What nodes say of themselves.  The node starts again, empty, under its old id: a new incarnation
 * of at least `wall_ms`, and a new address. */
enum membership_answer membership_restart(struct membership *, node_id self, uint64_t wall_ms,
                                          const struct member_address *);

/* This incarnation now has what it should hold. */
enum membership_answer membership_set_warm(struct membership *, node_id self);

/* What the claimant says: a joining node has its partitions. */
enum membership_answer membership_set_up(struct membership *, node_id);

/* Somebody saw this time in a dot of that node.  Changes no digest. */
void membership_saw_clock(struct membership *, node_id, hlc_time);

/* How many bytes membership_encode() writes: at most MEMBERSHIP_BYTES_MAX. */
size_t membership_encoded_bytes(const struct membership *);

/* Returns how many bytes it wrote. */
size_t membership_encode(const struct membership *, unsigned char *out);

/* Reads an encoding, which must fill `bytes` exactly.  False if it is none; then `into` has no
 * members. */
bool membership_decode(struct membership *into, struct slice bytes);

#endif
