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
 * Threads: an item that the store holds is read and changed only under its stripe's lock.  An
 * item with a reference (item_ref(), only items with `ITEM_LONG`) may have its *value* read
 * without the lock until item_unref(): its value never changes once stored. */
#ifndef SERVER_ITEM_H
#define SERVER_ITEM_H

#include "ring/slice.h"
#include <stdint.h>

/* Values from this size on are sent from the item itself instead of being copied. */
#define ITEM_LONG_VALUE_BYTES 4096

enum item_bit {
    ITEM_EXPIRES = 1 << 0,      /* has an expiry, 8 bytes: ms since 1970 */
    ITEM_FLAGS = 1 << 1,        /* has client flags that are not 0, 4 bytes */
    ITEM_LONG = 1 << 2,         /* has a 4-byte value size and a 4-byte reference count */
    ITEM_EXPLICIT_CAS = 1 << 3, /* has a cas that a client chose, 8 bytes; `hlc` stays the dot */
    ITEM_KEY_BINARY = 1 << 4,   /* the key came as base64, answers give it so */
    ITEM_STALE = 1 << 5,
    ITEM_WON = 1 << 6,          /* somebody was told to refill it */
    ITEM_CELL = 1 << 7,         /* the value is an encoded cell */
};

struct item {
    uint64_t hlc;               /* the dot of the newest write; standalone the cas value, too */
    uint32_t accessed_s : 28;   /* seconds since the server's start, see server/clock.h */
    uint32_t frequency : 2;     /* S3-FIFO: uses since it was queued, up to 3 */
    uint32_t in_main : 1;       /* S3-FIFO: which queue holds it */
    uint32_t was_fetched : 1;
    uint16_t value_bytes_short; /* unless ITEM_LONG */
    uint8_t key_bytes;
    uint8_t bits;               /* enum item_bit */
    unsigned char data[];       /* optional fields, key, value */
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
};

struct slice item_key(const struct item *);
/* The value; writable until the item is stored. */
unsigned char *item_value(struct item *);
struct slice item_value_slice(const struct item *);
uint64_t item_value_bytes(const struct item *);
uint64_t item_expiry_ms(const struct item *); /* 0: never */
uint32_t item_client_flags(const struct item *);
uint64_t item_cas(const struct item *); /* the explicit one, or the hlc */
/* Bytes that an item of this spec takes before the allocator rounds them up. */
uint64_t item_bytes_of_spec(const struct item_spec *);
uint64_t item_bytes(const struct item *);

#endif
