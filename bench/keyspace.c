#include "bench/keyspace.h"

#include "bench/rng.h"
#include <assert.h>
#include <stdlib.h>

/* Values start at one of this many places in the pool. */
enum { POOL_STARTS = 4096 };

/* Hashes of one number for different purposes must be unrelated. */
enum salt { SALT_SIZE = 1, SALT_LIFETIME = 2, SALT_START = 3 };

static uint64_t hash_for(enum salt salt, uint64_t number)
{
    return rng_mix(number * 4 + (uint64_t)salt + 0x5bd1e995);
}

bool keyspace_init(struct keyspace *keyspace)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-";
    static_assert(sizeof letters == 64 + 1, "six bits choose a letter");
    const size_t size = keyspace->sizes.high + POOL_STARTS;
    struct rng rng = {.state = 1};
    keyspace->pool = malloc(size);
    if (keyspace->pool == NULL)
        return false;
    for (size_t i = 0; i < size; i++)
        keyspace->pool[i] = (unsigned char)letters[rng_next(&rng) & 63];
    return true;
}

void keyspace_deinit(struct keyspace *keyspace)
{
    free(keyspace->pool);
    keyspace->pool = NULL;
}

void keyspace_write_key(const struct keyspace *keyspace, enum key_kind kind, uint64_t number,
                        char *out)
{
    assert(keyspace->key_bytes >= 2);
    assert(keyspace->key_bytes <= KEY_BYTES_MAX);
    out[0] = (char)kind;
    for (unsigned at = keyspace->key_bytes - 1; at > 0; at--) {
        out[at] = (char)('0' + number % 10);
        number /= 10;
    }
    assert(number == 0);
}

bool keyspace_read_key(struct slice key, uint64_t *number)
{
    uint64_t sum = 0;
    if (key.size < 2)
        return false;
    for (size_t i = 1; i < key.size; i++) {
        const unsigned digit = (unsigned)key.bytes[i] - '0';
        if (digit > 9 || sum > (UINT64_MAX - 9) / 10)
            return false;
        sum = sum * 10 + digit;
    }
    *number = sum;
    return true;
}

struct slice keyspace_value(const struct keyspace *keyspace, uint64_t number)
{
    const uint64_t size = amounts_of(&keyspace->sizes, hash_for(SALT_SIZE, number));
    const uint64_t start = hash_for(SALT_START, number) % POOL_STARTS;
    assert(size <= keyspace->sizes.high);
    return (struct slice){keyspace->pool + start, size};
}

uint64_t keyspace_lifetime(const struct keyspace *keyspace, uint64_t number)
{
    return amounts_of(&keyspace->lifetimes, hash_for(SALT_LIFETIME, number));
}
