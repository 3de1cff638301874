/* A flush_all that is yet to come.
 *
 * There is at most one: a later command replaces it.  Whoever first executes something at or after
 * its time carries it out, so it needs no timer: before that nobody could see the difference.
 *
 * Threads: any. */
#ifndef SERVER_FLUSH_H
#define SERVER_FLUSH_H

#include <stdatomic.h>
#include <stdint.h>

struct store;

extern _Atomic uint64_t flush_pending_ms; /* 0: none */

/* Plans the flush for then, in place of any other; 0: none. */
static inline void flush_at(uint64_t at_ms)
{
    atomic_store_explicit(&flush_pending_ms, at_ms, memory_order_release);
}

void flush_now_if_due(struct store *, uint64_t now_ms);

/* To be called before operations are executed. */
static inline void flush_check(struct store *store, uint64_t now_ms)
{
    if (atomic_load_explicit(&flush_pending_ms, memory_order_relaxed) != 0)
        flush_now_if_due(store, now_ms);
}

#endif
