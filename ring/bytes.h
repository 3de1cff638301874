/* Numbers in encodings: little-endian, at any alignment. */
#ifndef RING_BYTES_H
#define RING_BYTES_H

#include <stdint.h>
#include <string.h>

static inline void bytes_write_u64(unsigned char *to, uint64_t number)
{
    for (unsigned i = 0; i < 8; i++)
        to[i] = (unsigned char)(number >> (8 * i));
}

static inline uint64_t bytes_read_u64(const unsigned char *from)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < 8; i++)
        number |= (uint64_t)from[i] << (8 * i);
    return number;
}

static inline void bytes_write_u32(unsigned char *to, uint32_t number)
{
    for (unsigned i = 0; i < 4; i++)
        to[i] = (unsigned char)(number >> (8 * i));
}

static inline uint32_t bytes_read_u32(const unsigned char *from)
{
    uint32_t number = 0;
    for (unsigned i = 0; i < 4; i++)
        number |= (uint32_t)from[i] << (8 * i);
    return number;
}

static inline void bytes_write_u16(unsigned char *to, uint16_t number)
{
    to[0] = (unsigned char)number;
    to[1] = (unsigned char)(number >> 8);
}

static inline uint16_t bytes_read_u16(const unsigned char *from)
{
    return (uint16_t)(from[0] | from[1] << 8);
}

#endif
