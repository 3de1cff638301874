/* The hash that places a key: its top bits name the partition (and with it the lock stripe), those
 * below the bucket within the stripe.  XXH3, 64 bits, seed 0: a part of the wire format between
 * nodes, so it may never change. */
#ifndef RING_KEY_HASH_H
#define RING_KEY_HASH_H

#include "ring/slice.h"
#define XXH_INLINE_ALL
#include <stdint.h>
#include <xxhash.h>

static inline uint64_t key_hash(struct slice key)
{
    return XXH3_64bits(key.bytes, key.size);
}

#endif
