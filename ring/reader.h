/* Reads an encoding from its first byte to its last.  Once too few bytes are left all that is taken
 * is 0 or NULL and the reader is bad, so that a decoder need not ask after each field. */
#ifndef RING_READER_H
#define RING_READER_H

#include "ring/bytes.h"
#include "ring/slice.h"
#include <stdbool.h>
#include <stddef.h>

struct reader {
    struct slice left; /* borrowed: the bytes still to be read */
    bool is_bad;
};

/* The next `size` bytes, or NULL. */
static inline const unsigned char *reader_take(struct reader *reader, size_t size)
{
    const unsigned char *bytes = reader->left.bytes;

    if (reader->is_bad || reader->left.size < size) {
        reader->is_bad = true;
        return NULL;
    }
    reader->left = (struct slice){bytes + size, reader->left.size - size};
    return bytes;
}

static inline unsigned reader_take_u8(struct reader *reader)
{
    const unsigned char *bytes = reader_take(reader, 1);
    return bytes == NULL ? 0 : bytes[0];
}

static inline unsigned reader_take_u16(struct reader *reader)
{
    const unsigned char *bytes = reader_take(reader, 2);
    return bytes == NULL ? 0 : bytes_read_u16(bytes);
}

static inline uint32_t reader_take_u32(struct reader *reader)
{
    const unsigned char *bytes = reader_take(reader, 4);
    return bytes == NULL ? 0 : bytes_read_u32(bytes);
}

static inline uint64_t reader_take_u64(struct reader *reader)
{
    const unsigned char *bytes = reader_take(reader, 8);
    return bytes == NULL ? 0 : bytes_read_u64(bytes);
}

#endif
