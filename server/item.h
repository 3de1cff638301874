/* What the store keeps for one key: a 16-byte header, the fields that this item needs, the key,
 * the value.
 *
 *     +-----+-----------------+-------+-----+------+----------------------------+-----+-------+
 *     | cas | access + fifo   | value | key | bits | optional fields, in order  | key | value |
 *     |  8  | 4               | 2     | 1   | 1    | expiry 8, flags 4, ...     |     |       |
 *     +-----+-----------------+-------+-----+------+----------------------------+-----+-------+
 *
 * A 16-byte key with a 32-byte value and no expiry is 64 bytes: one cache line, one allocation
 * class.  Everything rarer is an optional field behind a bit, so that it costs nothing where it
 * is not used: an expiry, client flags, an explicit cas (meta E), a long value (a 4-byte length
 * and a reference count), and in place of a plain value an encoded cell with several siblings or
 * an unusual context (ring/cell.h).
 *
 * On a node of a cluster each item has 8 bytes more, behind the value: struct item_replica.  The
 * functions here know nothing of them but item_replica() and item_set_replica(); the store adds
 * them to the size.  A tombstone or a stub is an item there too, which plain look-ups do not see:
 * its `bits` say so, see item_is_hidden().
 *
 * Threads: an item that the store holds is read and changed only under its stripe's lock.  An
 * item with a reference (item_ref(), only items with `ITEM_LONG`) may have its *value* read
 * without the lock until item_unref(): its value never changes once stored. */
#ifndef SERVER_ITEM_H
#define SERVER_ITEM_H

#include "ring/slice.h"
#include <stdint.h>

/* Values from this size on are sent from the item itself instead of being copied. */
#define ITEM_LONG_VALUE_BYTES 4096

/* `accessed_s` wraps after two years. */
#define ITEM_ACCESSED_MAX ((1u << 26) - 1)

enum item_bit {
    ITEM_EXPIRES = 1 << 0,      /* has an expiry, 8 bytes: ms since 1970 */
    ITEM_FLAGS = 1 << 1,        /* has client flags that are not 0, 4 bytes */
    ITEM_LONG = 1 << 2,         /* has a 4-byte value size and a 4-byte reference count */
    ITEM_EXPLICIT_CAS = 1 << 3, /* has a cas that a client chose, 8 bytes; `hlc` stays the dot */
    ITEM_KEY_BINARY = 1 << 4,   /* the key came as base64, answers give it so */
    ITEM_STALE = 1 << 5,
    ITEM_WON = 1 << 6,          /* somebody was told to refill it */
    ITEM_CELL = 1 << 7,         /* the value is an encoded cell */
    /* An item with ITEM_CELL has no client flags of its own (its siblings have); both together say
     * that it holds no value at all, only what is known of the key. */
    ITEM_HIDDEN = ITEM_CELL | ITEM_FLAGS
};

struct item {
    uint64_t hlc;               /* the dot of the newest write; standalone the cas value, too */
    uint32_t accessed_s : 26;   /* seconds since the server's start, see server/clock.h */
    uint32_t is_pinned : 1;     /* a node of a cluster holds it for others, see server/cell_store.h */
    uint32_t tidied : 1;        /* in which round its queue entry was last seen, see evict.c */
    uint32_t frequency : 2;     /* S3-FIFO: uses since it was queued, up to 3 */
    uint32_t in_main : 1;       /* S3-FIFO: which queue holds it, see item_queue() */
    uint32_t was_fetched : 1;
    uint16_t value_bytes_short; /* unless ITEM_LONG */
    uint8_t key_bytes;
    uint8_t bits;               /* enum item_bit */
    unsigned char data[];       /* optional fields, key, value */
};

/* What an item of a cluster's node has besides, see server/cell_store.h. */
struct item_replica {
    uint16_t node;  /* the handle of who wrote it (server/node_table.h), unless a cell is encoded */
    uint8_t kinds;  /* of its siblings (enum sibling_kind), or-ed */
    uint8_t copies; /* how many nodes are to have the key: its Merkle forest; 0: it is in none */
    uint8_t is_live; /* as in struct cell */
    uint8_t unused;
    uint16_t pins; /* see cell_store_pin() */
};

/* What an item is made of. */
struct item_spec {
    struct slice key;
    uint64_t value_bytes;
    uint64_t expiry_ms;    /* absolute; 0: never */
    uint32_t client_flags;
    uint64_t explicit_cas; /* if has_explicit_cas */
    bool has_explicit_cas;
    bool key_is_binary;
    bool is_cell;
    bool is_hidden; /* then it has no flags */
};

/* Bytes that an item of this spec takes before the allocator rounds them up. */
uint64_t item_bytes_of_spec(const struct item_spec *);

/* Writes header, optional fields and key into memory of item_bytes_of_spec(); the value is left
 * for the caller, the hlc is 0, and an ITEM_LONG has one reference. */
void item_init(struct item *, const struct item_spec *, uint64_t now_ms);

/* Whether an item of this spec has the same optional fields and the same size as this one, which
 * is not ITEM_LONG. */
bool item_has_shape_of(const struct item *, const struct item_spec *);

uint64_t item_bytes(const struct item *);
uint64_t item_cas(const struct item *); /* the explicit one, or the hlc */
uint32_t item_client_flags(const struct item *);
uint64_t item_expiry_ms(const struct item *); /* 0: never */

/* Lock held, and only with ITEM_EXPIRES. */
void item_set_expiry_ms(struct item *, uint64_t expiry_ms);

/* Whether an ITEM_LONG is being sent: somebody besides the store refers to it.  Lock held. */
bool item_is_referred(const struct item *);
/* One more, or one fewer, who refers to an ITEM_LONG; the latter returns whether it was the last. */
void item_refer(struct item *);
bool item_unrefer(struct item *);

/* Bytes of the optional fields of an item with these bits: the eight-byte ones come first, so that
 * all are aligned. */
static inline unsigned item_optional_bytes(unsigned bits)
{
    return ((bits & ITEM_EXPIRES) ? 8u : 0u) + ((bits & ITEM_EXPLICIT_CAS) ? 8u : 0u) +
           ((bits & ITEM_LONG) ? 8u : 0u) + ((bits & ITEM_FLAGS) ? 4u : 0u);
}

/* The expiry is first, then the explicit cas, then what an ITEM_LONG has, then the flags. */
static inline unsigned item_long_at(unsigned bits)
{
    return ((bits & ITEM_EXPIRES) ? 8u : 0u) + ((bits & ITEM_EXPLICIT_CAS) ? 8u : 0u);
}

static inline struct slice item_key(const struct item *item)
{
    return (struct slice){item->data + item_optional_bytes(item->bits), item->key_bytes};
}

static inline uint64_t item_value_bytes(const struct item *item)
{
    uint32_t bytes;

    if (!(item->bits & ITEM_LONG))
        return item->value_bytes_short;
    memcpy(&bytes, item->data + item_long_at(item->bits), sizeof bytes);
    return bytes;
}

/* The value; writable until the item is stored. */
static inline unsigned char *item_value(struct item *item)
{
    return item->data + item_optional_bytes(item->bits) + item->key_bytes;
}

static inline struct slice item_value_slice(const struct item *item)
{
    return (struct slice){item->data + item_optional_bytes(item->bits) + item->key_bytes,
                          (size_t)item_value_bytes(item)};
}

static inline bool item_is_hidden(const struct item *item)
{
    return (item->bits & ITEM_HIDDEN) == ITEM_HIDDEN;
}

/* The two queues of S3-FIFO, and on a node of a cluster those of hidden items, the oldest first.
 * What is pinned is in none: it is counted under the last, which has no entries. */
enum { QUEUE_SMALL, QUEUE_MAIN, QUEUE_STUBS, QUEUE_TOMBSTONES, QUEUE_PINNED, QUEUE_COUNT };

/* Which of them has the item. */
static inline unsigned item_queue(const struct item *item)
{
    if (item->is_pinned)
        return QUEUE_PINNED;
    return item->in_main + (item_is_hidden(item) ? (unsigned)QUEUE_STUBS : (unsigned)QUEUE_SMALL);
}

/* Only of items of a cluster's node.  Lock held, or the item private to the caller. */
static inline struct item_replica item_replica(const struct item *item)
{
    const struct slice value = item_value_slice(item);
    struct item_replica replica;

    memcpy(&replica, value.bytes + value.size, sizeof replica);
    return replica;
}

static inline void item_set_replica(struct item *item, struct item_replica replica)
{
    memcpy(item_value(item) + item_value_bytes(item), &replica, sizeof replica);
}

#endif
