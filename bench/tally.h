/* What one thread saw while it asked.
 *
 * Threads: owned by one thread; merge when that thread is done. */
#ifndef BENCH_TALLY_H
#define BENCH_TALLY_H

#include "bench/histogram.h"
#include "bench/request.h"
#include "ring/slice.h"

/* Ways in which a run can fail. */
enum failure {
    FAILURE_REFUSED,    /* an error reply */
    FAILURE_BAD_REPLY,  /* bytes that are no reply, or one that does not fit the request */
    FAILURE_BROKEN,     /* a connection that ended by itself */
    FAILURE_UNANSWERED, /* a request that got no reply in time, or was lost with its connection */
    FAILURE_WRONG_VALUE,
};
enum { FAILURES = 5 };

struct tally {
    uint64_t requests[OPERATIONS]; /* answered */
    uint64_t keys[OPERATIONS];     /* in them: a multiget has many */
    uint64_t hits;                 /* keys of gets */
    uint64_t misses;
    uint64_t absent;      /* deletes and incrs of absent keys */
    uint64_t fills;       /* sets that followed a miss, also counted as sets */
    uint64_t value_bytes; /* in the hits */
    uint64_t sent_bytes;
    uint64_t received_bytes;
    uint64_t failures[FAILURES];
    char first_failure[200];
    uint64_t last_reply_ns;
    struct histogram latency[OPERATIONS]; /* per request */
};

/* Counts `count` failures of one kind; the first ever is kept in words. */
void tally_fail(struct tally *, enum failure, uint64_t count, struct slice words);

/* Adds what `other` saw. */
void tally_merge(struct tally *, const struct tally *other);

/* Whether anything went wrong, error replies apart if they are allowed. */
bool tally_is_clean(const struct tally *, bool allows_refusals);

/* All keys of all operations. */
uint64_t tally_keys(const struct tally *);

/* All requests of all operations. */
uint64_t tally_requests(const struct tally *);

/* "refused", "bad_replies", ... */
const char *failure_name(enum failure);

#endif
