/* Numbers in encodings: little-endian, at any alignment. */
#ifndef RING_BYTES_H
#define RING_BYTES_H

#include <stdint.h>
#include <string.h>

/* Spelled out and not in a loop: compilers make one store or load of each. */

static inline void bytes_write_u64(unsigned char *to, uint64_t number)
{
    to[0] = (unsigned char)number;
    to[1] = (unsigned char)(number >> 8);
    to[2] = (unsigned char)(number >> 16);
    to[3] = (unsigned char)(number >> 24);
    to[4] = (unsigned char)(number >> 32);
    to[5] = (unsigned char)(number >> 40);
    to[6] = (unsigned char)(number >> 48);
    to[7] = (unsigned char)(number >> 56);
}

static inline uint64_t bytes_read_u64(const unsigned char *from)
{
    return (uint64_t)from[0] | (uint64_t)from[1] << 8 | (uint64_t)from[2] << 16 |
           (uint64_t)from[3] << 24 | (uint64_t)from[4] << 32 | (uint64_t)from[5] << 40 |
           (uint64_t)from[6] << 48 | (uint64_t)from[7] << 56;
}

static inline void bytes_write_u32(unsigned char *to, uint32_t number)
{
    to[0] = (unsigned char)number;
    to[1] = (unsigned char)(number >> 8);
    to[2] = (unsigned char)(number >> 16);
    to[3] = (unsigned char)(number >> 24);
}

static inline uint32_t bytes_read_u32(const unsigned char *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
           (uint32_t)from[3] << 24;
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
