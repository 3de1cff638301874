/* Which key is asked for next.
 *
 *   uniform              every key alike
 *   zipf:T               rank r with probability ~ r^-T; key 0 is the most popular
 *   sequential           one after the other, round and round
 *   onehit:T,S           a share S of the requests asks for keys that never come again, the
 *                        rest is zipf:T
 *   scan:T,S,L           a share S of the requests is in runs of L neighbouring keys that walk
 *                        through all of them, the rest is zipf:T
 *   drift:T,D            zipf:T, but every D requests a key never popular before becomes the
 *                        most popular one, and all others fall back one rank
 *
 * Threads: `struct popularity` never changes after parsing; each thread has its own cursor. */
#ifndef BENCH_POPULARITY_H
#define BENCH_POPULARITY_H

#include "bench/rng.h"
#include "bench/zipf.h"
#include <stdbool.h>

enum popularity_kind {
    POPULARITY_UNIFORM,
    POPULARITY_ZIPF,
    POPULARITY_SEQUENTIAL,
    POPULARITY_ONEHIT,
    POPULARITY_SCAN,
    POPULARITY_DRIFT,
};

struct popularity {
    enum popularity_kind kind;
    uint64_t keys; /* in the key space */
    double theta;  /* of the Zipf part */
    double share;  /* onehit, scan: of the requests */
    double length; /* scan: keys in a run; drift: requests until the next shift */
    struct zipf zipf;
};

struct popularity_cursor {
    struct rng rng;
    uint64_t lane;   /* this thread's number, and how many threads there are: threads walk */
    uint64_t lanes;  /* sequences interleaved, never the same key twice */
    uint64_t drawn;  /* requests so far */
    uint64_t walked; /* keys taken from the sequence (sequential, scan, onehit) */
};

/* Reads one of the forms above. False, and nothing usable in the struct, if it is none of them. */
bool popularity_parse(struct popularity *, const char *text);

/* Must follow popularity_parse, once the number of keys (at least 1) is known. */
void popularity_init(struct popularity *, uint64_t keys);

/* Starts the sequence of thread `lane` out of `lanes`. */
void popularity_cursor_init(struct popularity_cursor *, uint64_t seed, uint64_t lane,
                            uint64_t lanes);

/* The next key: 0 .. keys-1, or from `keys` on for one that comes only once. */
uint64_t popularity_next(const struct popularity *, struct popularity_cursor *);

#endif
