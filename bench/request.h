/* Requests as bytes, in each of memcached's three protocols.
 *
 * Threads: an outbox belongs to one thread. */
#ifndef BENCH_REQUEST_H
#define BENCH_REQUEST_H

#include "bench/keyspace.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire { WIRE_TEXT, WIRE_META, WIRE_BINARY };

enum operation { OPERATION_GET, OPERATION_SET, OPERATION_DELETE, OPERATION_INCR };
enum { OPERATIONS = 4 };

/* Bytes to send. Grows as needed; never shrinks. */
struct outbox {
    char *bytes;
    size_t used;
    size_t capacity;
};

void outbox_deinit(struct outbox *);

/* Makes room for `more` further bytes. False when memory is short. */
bool outbox_reserve(struct outbox *, size_t more);

/* Appends the request for `operation` on `keys[0..count)`. Only a get may have more than one
 * key; it is answered as one. False when memory is short. */
bool request_append(struct outbox *, enum wire, enum operation, const struct keyspace *,
                    const uint64_t *keys, unsigned count);

/* Appends the request that makes counter `key` (OPERATION_INCR) start at 1. */
bool request_append_counter(struct outbox *, enum wire, const struct keyspace *, uint64_t key);

#endif
