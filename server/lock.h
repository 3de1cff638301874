/* A lock of four bytes for short critical sections: free, taken, or taken with others waiting.
 *
 * Taking it free and letting it go with nobody waiting is one atomic instruction each, compiled
 * into the caller, where a pthread mutex is two calls; with a hundred keys per request that is a
 * tenth of the server's work.  Who finds it taken spins for a moment, then sleeps in the kernel
 * (Drepper, "Futexes Are Tricky", 2011, section 6: the third mutex).
 *
 * Threads: any.  Not recursive, and it keeps no order among those who wait. */
#ifndef SERVER_LOCK_H
#define SERVER_LOCK_H

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>

enum lock_state { LOCK_FREE, LOCK_TAKEN, LOCK_WAITED_FOR };

/* All zero is free. */
struct lock {
    _Atomic uint32_t state; /* enum lock_state */
};

/* The slow halves of the two below; for nobody else. */
void lock_wait(struct lock *);
void lock_wake(struct lock *);

static inline void lock_take(struct lock *lock)
{
    uint32_t expected = LOCK_FREE;

    if (!atomic_compare_exchange_strong_explicit(&lock->state, &expected, LOCK_TAKEN,
                                                 memory_order_acquire, memory_order_relaxed))
        lock_wait(lock);
}

static inline void lock_release(struct lock *lock)
{
    uint32_t before = atomic_exchange_explicit(&lock->state, LOCK_FREE, memory_order_release);

    assert(before != LOCK_FREE);
    if (before == LOCK_WAITED_FOR)
        lock_wake(lock);
}

#endif
