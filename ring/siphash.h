/* SipHash-2-4 (Aumasson and Bernstein, 2012): a short keyed checksum.
 *
 * With a secret key nobody can find a message for a given sum, or two messages of one sum, which
 * is all that the contexts handed to clients need (ring/context.h). */
#ifndef RING_SIPHASH_H
#define RING_SIPHASH_H

#include <stdint.h>
#include "ring/slice.h"

#define SIPHASH_KEY_BYTES 16

struct siphash_key {
    unsigned char bytes[SIPHASH_KEY_BYTES];
};

/* A sum in the making: add() the parts of the message in order, then end() gives the sum. */
struct siphash {
    uint64_t v0, v1, v2, v3;
    uint64_t tail;        /* the bytes that do not fill a word yet, the first one lowest */
    uint64_t bytes_added; /* of which the last `bytes_added % 8` are in `tail` */
};

void siphash_init(struct siphash *, const struct siphash_key *);
void siphash_add(struct siphash *, struct slice);

/* Ends the sum; the state must not be added to afterwards. */
uint64_t siphash_end(struct siphash *);

#endif
