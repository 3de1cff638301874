/* The encoding of a cell; ring/cell.h says what it looks like. */
#include "ring/cell.h"
#include "ring/bytes.h"
#include <assert.h>

/* The first byte: which encoding this is, and one flag. */
#define FORMAT         0xc0u
#define FORMAT_IS_LIVE 0x01u

#define HEADER_BYTES  3u
#define SIBLING_BYTES 41u /* of any sibling */
#define VALUE_BYTES   16u /* and of a value besides */

/* In the byte of kind and flag. */
#define KIND_BITS     0x07u
#define KIND_IS_STALE 0x08u

static_assert((SIBLINGS_ALL & ~KIND_BITS) == 0, "a kind fits its bits");

static size_t sibling_bytes(const struct sibling *sibling)
{
    return SIBLING_BYTES + (sibling->kind == SIBLING_VALUE ? VALUE_BYTES : 0);
}

size_t cell_encoded_bytes(const struct cell *cell)
{
    size_t bytes = HEADER_BYTES + CONTEXT_ENCODED_BYTES(cell->context.count);

    assert(cell_is_sound(cell));
    for (unsigned i = 0; i < cell->sibling_count; i++)
        bytes += sibling_bytes(&cell->siblings[i]);
    return bytes;
}

/* Returns how many bytes it wrote. */
static size_t encode_sibling(const struct sibling *sibling, unsigned char *to)
{
    unsigned is_stale = sibling->reg.is_stale ? KIND_IS_STALE : 0;

    assert(((unsigned)sibling->kind & ~KIND_BITS) == 0);
    bytes_write_u64(to, sibling->dot.node);
    bytes_write_u64(to + 8, sibling->dot.hlc);
    to[16] = (unsigned char)(sibling->kind | is_stale);
    bytes_write_u64(to + 17, sibling->reg.hlc);
    bytes_write_u64(to + 25, sibling->reg.expires_ms);
    bytes_write_u64(to + 33, sibling->reg.explicit_cas);
    if (sibling->kind == SIBLING_VALUE) {
        bytes_write_u32(to + SIBLING_BYTES, sibling->client_flags);
        bytes_write_u32(to + SIBLING_BYTES + 4, sibling->value_bytes);
        bytes_write_u64(to + SIBLING_BYTES + 8, sibling->value_digest);
    }
    return sibling_bytes(sibling);
}

size_t cell_encode(const struct cell *cell, unsigned char *out)
{
    unsigned char *to = out;

    assert(cell_is_sound(cell));
    to[0] = (unsigned char)(FORMAT | (cell->is_live ? FORMAT_IS_LIVE : 0));
    bytes_write_u16(to + 1, (uint16_t)cell->sibling_count);
    to += HEADER_BYTES;
    to += context_encode(&cell->context, to);
    for (unsigned i = 0; i < cell->sibling_count; i++)
        to += encode_sibling(&cell->siblings[i], to);
    assert((size_t)(to - out) == cell_encoded_bytes(cell));
    return (size_t)(to - out);
}

/* Reads one sibling; whether it is a sound one is for cell_is_sound() to say.  Returns how many
 * bytes it took, or 0 if there are too few or the kind is none. */
static size_t decode_sibling(struct sibling *sibling, struct slice bytes)
{
    const unsigned char *from = bytes.bytes;

    if (bytes.size < SIBLING_BYTES)
        return 0;
    unsigned kind = from[16];
    *sibling = (struct sibling){
        .dot = {bytes_read_u64(from), bytes_read_u64(from + 8)},
        .kind = kind & KIND_BITS,
        .reg = {.hlc = bytes_read_u64(from + 17),
                .expires_ms = bytes_read_u64(from + 25),
                .explicit_cas = bytes_read_u64(from + 33),
                .is_stale = (kind & KIND_IS_STALE) != 0},
    };
    if ((kind & ~(KIND_BITS | KIND_IS_STALE)) != 0)
        return 0;
    if (sibling->kind != SIBLING_VALUE)
        return SIBLING_BYTES;
    if (bytes.size < SIBLING_BYTES + VALUE_BYTES)
        return 0;
    sibling->client_flags = bytes_read_u32(from + SIBLING_BYTES);
    sibling->value_bytes = bytes_read_u32(from + SIBLING_BYTES + 4);
    sibling->value_digest = bytes_read_u64(from + SIBLING_BYTES + 8);
    return SIBLING_BYTES + VALUE_BYTES;
}

unsigned cell_decode_sibling_count(struct slice bytes)
{
    if (bytes.size < HEADER_BYTES || (bytes.bytes[0] & ~FORMAT_IS_LIVE) != FORMAT)
        return 0;
    unsigned count = bytes_read_u16(bytes.bytes + 1);
    assert(count < CELL_SIBLINGS_END);
    return count;
}

/* As cell_decode(), but leaves `into` half filled where it fails. */
static size_t decode(struct cell *into, struct slice bytes)
{
    unsigned count = cell_decode_sibling_count(bytes);

    if (bytes.size < HEADER_BYTES || (bytes.bytes[0] & ~FORMAT_IS_LIVE) != FORMAT)
        return 0;
    if (count > into->sibling_room)
        return 0;
    struct slice left = {bytes.bytes + HEADER_BYTES, bytes.size - HEADER_BYTES};
    size_t used = context_decode(&into->context, left, CONTEXT_CELL_MAX);
    for (unsigned i = 0; used > 0 && i < count; i++) {
        left = (struct slice){left.bytes + used, left.size - used};
        used = decode_sibling(&into->siblings[i], left);
    }
    if (used == 0)
        return 0;
    into->sibling_count = count;
    into->is_live = (bytes.bytes[0] & FORMAT_IS_LIVE) != 0;
    return bytes.size - left.size + used;
}

size_t cell_decode(struct cell *into, struct slice bytes)
{
    assert(bytes.bytes != NULL || bytes.size == 0);
    cell_init(into, into->siblings, into->sibling_room);
    size_t used = decode(into, bytes);
    if (used > 0 && cell_is_sound(into))
        return used;
    cell_init(into, into->siblings, into->sibling_room);
    return 0;
}
