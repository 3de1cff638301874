#include "ring/siphash.h"
#include "ring/bytes.h"
#include <assert.h>

#define WORD_BYTES 8u

static uint64_t rotate_left(uint64_t word, unsigned bits)
{
    return (word << bits) | (word >> (64 - bits));
}

static void rounds(struct siphash *hash, unsigned count)
{
    uint64_t v0 = hash->v0, v1 = hash->v1, v2 = hash->v2, v3 = hash->v3;

    for (unsigned i = 0; i < count; i++) {
        v0 += v1;
        v2 += v3;
        v1 = rotate_left(v1, 13) ^ v0;
        v3 = rotate_left(v3, 16) ^ v2;
        v0 = rotate_left(v0, 32);
        v2 += v1;
        v0 += v3;
        v1 = rotate_left(v1, 17) ^ v2;
        v3 = rotate_left(v3, 21) ^ v0;
        v2 = rotate_left(v2, 32);
    }
    hash->v0 = v0;
    hash->v1 = v1;
    hash->v2 = v2;
    hash->v3 = v3;
}

static void absorb(struct siphash *hash, uint64_t word)
{
    hash->v3 ^= word;
    rounds(hash, 2);
    hash->v0 ^= word;
}

void siphash_init(struct siphash *hash, const struct siphash_key *key)
{
    uint64_t low = bytes_read_u64(key->bytes);
    uint64_t high = bytes_read_u64(key->bytes + WORD_BYTES);

    static_assert(SIPHASH_KEY_BYTES == 2 * WORD_BYTES, "a key is two words");
    /* The constants spell "somepseudorandomlygeneratedbytes". */
    hash->v0 = low ^ 0x736f6d6570736575u;
    hash->v1 = high ^ 0x646f72616e646f6du;
    hash->v2 = low ^ 0x6c7967656e657261u;
    hash->v3 = high ^ 0x7465646279746573u;
    hash->tail = 0;
    hash->bytes_added = 0;
}

void siphash_add(struct siphash *hash, struct slice part)
{
    const unsigned char *byte = part.bytes;
    size_t left = part.size;

    assert(part.bytes != NULL || part.size == 0);
    while (left > 0) {
        unsigned held = hash->bytes_added % WORD_BYTES;
        if (held == 0 && left >= WORD_BYTES) {
            absorb(hash, bytes_read_u64(byte));
            byte += WORD_BYTES;
            left -= WORD_BYTES;
            hash->bytes_added += WORD_BYTES;
            continue;
        }
        hash->tail |= (uint64_t)*byte << (8 * held);
        byte++;
        left--;
        hash->bytes_added++;
        if (hash->bytes_added % WORD_BYTES == 0) {
            absorb(hash, hash->tail);
            hash->tail = 0;
        }
    }
    assert(hash->bytes_added >= part.size);
}

uint64_t siphash_end(struct siphash *hash)
{
    assert(hash->bytes_added % WORD_BYTES != 0 || hash->tail == 0);
    absorb(hash, hash->tail | (hash->bytes_added & 0xff) << 56);
    hash->v2 ^= 0xff;
    rounds(hash, 4);
    return hash->v0 ^ hash->v1 ^ hash->v2 ^ hash->v3;
}
