/* Keys and their values as functions of a number.
 *
 * A key is a letter and the number in decimal, padded with zeros to the wanted length; its
 * value is a piece of one pool of printable bytes; size, lifetime and piece follow from a hash
 * of the number. So nothing has to be remembered to check an answer.
 *
 * Threads: never changes after keyspace_init. */
#ifndef BENCH_KEYSPACE_H
#define BENCH_KEYSPACE_H

#include "bench/amounts.h"
#include "ring/slice.h"

enum { KEY_BYTES_MAX = 250 };

/* Keys of counters (incr) are others than those of values. */
enum key_kind { KEY_VALUE = 'k', KEY_COUNTER = 'n' };

struct keyspace {
    unsigned key_bytes;
    struct amounts sizes;     /* of values, bytes */
    struct amounts lifetimes; /* seconds, 0 is for ever */
    unsigned char *pool;      /* gives the bytes of all values */
};

/* Fills the pool; `sizes`, `lifetimes` and `key_bytes` are set before. False when memory is
 * short. */
bool keyspace_init(struct keyspace *);
void keyspace_deinit(struct keyspace *);

/* Writes the key of `number`: exactly key_bytes bytes, which must be enough for its digits. */
void keyspace_write_key(const struct keyspace *, enum key_kind, uint64_t number, char *out);

/* The number in a key that keyspace_write_key wrote; false if it cannot be one. */
bool keyspace_read_key(struct slice key, uint64_t *number);

/* The value of key `number`; borrowed from the keyspace. */
struct slice keyspace_value(const struct keyspace *, uint64_t number);

/* Its lifetime in seconds. */
uint64_t keyspace_lifetime(const struct keyspace *, uint64_t number);

#endif
