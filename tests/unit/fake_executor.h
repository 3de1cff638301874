/* Stands in for executor and store in the tests of sockets: a list of keys and values behind a
 * lock, and some answers that need a connection's help. */
#ifndef TESTS_FAKE_EXECUTOR_H
#define TESTS_FAKE_EXECUTOR_H

#include <stdatomic.h>
#include <stdint.h>

/* The longest value that is accepted. */
#define FAKE_VALUE_BYTES_MAX (64 * 1024 * 1024)

/* What `lru_crawler metadump all` answers: so many lines of 100 bytes, then END. */
#define FAKE_DUMP_LINES 50000

struct fake_counts {
    atomic_uint operations; /* executed */
    atomic_uint batches;
    atomic_uint items;      /* alive, referenced ones included */
    atomic_uint abandoned;  /* values that never came */
    atomic_uint productions; /* dumps that are not released yet */
};
extern struct fake_counts fake_counts;

/* The stream of the last client that said `watch`, with a reference for the test. */
struct stream *fake_take_stream(void);

/* Empties the list of keys. */
void fake_reset(void);

#endif
