/* One connection's requests under way, and what the replies to them mean. No I/O.
 *
 * Replies come in the order of the requests, so the requests wait in a ring. A key that a get
 * missed in cache-aside mode waits in a second ring until the caller sends its set.
 *
 * Threads: owned by its worker. */
#ifndef BENCH_EXCHANGE_H
#define BENCH_EXCHANGE_H

#include "bench/reply.h"
#include "bench/tally.h"

/* A request under way. */
struct slot {
    uint64_t due_ns; /* when it was, or should have been, sent */
    enum operation operation;
    bool is_fill;
    unsigned keys; /* how many */
    unsigned hits;
    unsigned cursor; /* keys before this one are answered or known to be misses */
};

struct exchange {
    const struct keyspace *keyspace;
    struct tally *tally;
    bool verifies;
    bool is_cache_aside;
    unsigned depth;         /* slots */
    unsigned keys_per_slot; /* at most */
    struct slot *slots;
    uint64_t *keys; /* slot i has keys[i * keys_per_slot ...] */
    unsigned first; /* the slot whose reply comes next */
    unsigned used;
    uint64_t *fills; /* ring of depth * keys_per_slot keys */
    unsigned fills_first;
    unsigned fills_used;
    struct slice expected; /* the value that is arriving, when it is verified */
    bool is_wrong;         /* and it is not that */
    struct reply_parser parser;
};

/* False when memory is short. */
bool exchange_init(struct exchange *, enum wire, const struct keyspace *, unsigned depth,
                   unsigned keys_per_slot);
void exchange_deinit(struct exchange *);

/* Adds a request; there must be room (used < depth). The caller fills in the slot and up to
 * keys_per_slot keys at `*keys`. */
struct slot *exchange_push(struct exchange *, uint64_t **keys);

/* Takes the next key that wants to be set, if there is one. */
bool exchange_pop_fill(struct exchange *, uint64_t *key);

/* Reads all of `input`, which arrived at `now_ns`. False if the connection is of no further
 * use; that is counted. */
bool exchange_receive(struct exchange *, struct slice input, uint64_t now_ns);

#endif
