/* The hit of a binary get, written whole and in one go: as protocol/text_hit.h for text. */
#ifndef PROTOCOL_BINARY_HIT_H
#define PROTOCOL_BINARY_HIT_H

#include "protocol/binary.h"
#include <endian.h>

/* What a hit takes beyond its key and value: header and client flags. */
#define BINARY_HIT_BYTES_MAX (BINARY_HEADER_BYTES + 4)

/* Whether a get of this opcode returns the key with the value. */
static inline bool binary_get_returns_key(uint8_t opcode)
{
    return opcode == BINARY_GETK || opcode == BINARY_GETKQ || opcode == BINARY_GATK ||
           opcode == BINARY_GATKQ;
}

/* `out` has room for BINARY_HIT_BYTES_MAX plus key and value.  Returns the bytes written. */
static inline size_t binary_hit_encode(const struct operation *get, uint32_t client_flags,
                                       uint64_t cas, struct slice value, unsigned char *out)
{
    size_t key_bytes = binary_get_returns_key(get->opcode) ? get->key.size : 0;
    uint32_t body_bytes = htobe32((uint32_t)(4 + key_bytes + value.size));
    uint16_t key_bytes_sent = htobe16((uint16_t)key_bytes);
    unsigned char *at = out + BINARY_HEADER_BYTES;

    out[0] = BINARY_RESPONSE_MAGIC;
    out[1] = get->opcode;
    memcpy(out + 2, &key_bytes_sent, 2);
    memcpy(out + 4, "\x04\0\0\0", 4); /* extras bytes, data type, status ok */
    memcpy(out + 8, &body_bytes, 4);
    memcpy(out + 12, &get->opaque, 4);
    cas = htobe64(cas);
    memcpy(out + 16, &cas, 8);
    client_flags = htobe32(client_flags);
    memcpy(at, &client_flags, 4);
    if (key_bytes > 0)
        memcpy(at + 4, get->key.bytes, key_bytes);
    memcpy(at + 4 + key_bytes, value.bytes, value.size);
    return BINARY_HIT_BYTES_MAX + key_bytes + value.size;
}

#endif
