/* Which keys are asked for most, of the operations of one worker.
 *
 * A sample of them, one in HOT_KEYS_INTERVAL at random distances, is counted in a summary of a
 * bounded number of keys: Space-Saving (Metwally, Agrawal, El Abbadi, "Efficient computation of
 * frequent and top-k elements in data streams", ICDT 2005).  When the summary is full, a key that
 * is not in it takes the place and the count of the one with the fewest, and that count is noted
 * as what may be too much.  So every key with more than 1 / HOT_KEYS_KEPT of the sample is there,
 * and none is counted too low.
 *
 * What is old counts less: all counts are halved every so often, so that the shares are about those
 * of the last one or two million operations of the worker.
 *
 * Threads: any; the lock is taken once in HOT_KEYS_INTERVAL operations. */
#ifndef SERVER_HOT_KEYS_H
#define SERVER_HOT_KEYS_H

#include "ring/slice.h"
#include <stdint.h>

#define HOT_KEYS_INTERVAL 128
#define HOT_KEYS_KEPT     64
#define HOT_KEYS_LISTED   16

struct hot_keys;

/* Gives an empty one, or NULL when memory is short.  `seed` makes its random distances differ from
 * those of others. */
struct hot_keys *hot_keys_new(uint64_t seed);
void hot_keys_free(struct hot_keys *);

/* Counts a use of that key, which is in the sample. */
void hot_keys_count(struct hot_keys *, uint64_t hash, struct slice key);

/* How many operations ahead the next one for the sample is: 1 to 2 * HOT_KEYS_INTERVAL - 1.  Only
 * by the thread that counts. */
int hot_keys_next_distance(struct hot_keys *);

/* Forgets everything. */
void hot_keys_clear(struct hot_keys *);

struct hot_key {
    uint64_t hash;
    uint64_t count;    /* of the sample, at most */
    uint64_t too_much; /* how much of `count` may be others' */
    uint8_t key_bytes;
    unsigned char key[UINT8_MAX];
};

/* The summaries of several workers together, while they are read. */
struct hot_keys_list {
    struct hot_key keys[HOT_KEYS_LISTED]; /* the hottest first, see hot_keys_list_end() */
    unsigned count;
    uint64_t sampled;    /* operations that were counted, old ones less */
    struct hot_key *all; /* the list's own */
    unsigned all_count, all_room;
};

/* Begins a list, adds a worker's summary to it, and ends it: only then are `keys` and `count`
 * there, without those that may be there by chance.  What memory is too short for is left out. */
void hot_keys_list_begin(struct hot_keys_list *);
void hot_keys_list_add(struct hot_keys_list *, struct hot_keys *);
void hot_keys_list_end(struct hot_keys_list *);

#endif
