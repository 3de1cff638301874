/* A slice is bytes that somebody else owns: where they start and how many there are.
 *
 * Slices are passed by value and borrowed: whoever keeps one longer than a call must know that
 * the bytes stay.  They are never terminated by a zero. */
#ifndef RING_SLICE_H
#define RING_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
    const unsigned char *bytes;
    size_t size; /* in bytes; `bytes` may be NULL only if this is 0 */
};

/* The slice of a string literal. */
#define SLICE(literal) ((struct slice){(const unsigned char *)(literal), sizeof(literal) - 1})

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.bytes, b.bytes, a.size) == 0);
}

#endif
