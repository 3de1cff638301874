/* The fields of every message between peers, in the order in which they travel.  For peer.c. */
#ifndef PROTOCOL_PEER_TABLES_H
#define PROTOCOL_PEER_TABLES_H

#include "protocol/peer.h"

enum peer_field_kind {
    PEER_FIELD_END,
    PEER_FIELD_NUMBER, /* `wire` bytes of the member's `bytes`, from `min` to `max` */
    PEER_FIELD_BLOB,   /* `bytes` as they are */
    PEER_FIELD_SLICE,  /* a size in `wire` bytes, at most `max`, and the bytes */
    PEER_FIELD_VALUE,  /* a slice that comes behind the head: its size, and whether it comes */
    PEER_FIELD_CELL,   /* a size in 4 bytes, 0 for NULL, and the encoded cell; values as above */
    PEER_FIELD_ARRAY,  /* as many structs of `bytes`, with `fields`, as the number at `count_at` */
    PEER_FIELD_BITS,   /* as many words as hold a bit for each of the number at `count_at` */
    PEER_FIELD_PARTS   /* of a COMPARE: a number for each of the parts that it cuts a range into */
};

struct peer_field {
    uint8_t kind; /* enum peer_field_kind */
    uint8_t wire;
    uint16_t at; /* offsets into the struct */
    uint16_t count_at;
    uint16_t bytes;
    uint8_t min;
    uint64_t max;
    const struct peer_field *fields;
};

/* The fields of a message of this type, at offsets into its member of the union; NULL if there is
 * no such type. */
const struct peer_field *peer_fields(unsigned type);

#endif
