#include "server/lock.h"
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A critical section here takes a fraction of a microsecond: about as long as this many looks. */
#define SPINS 100

static void pause_briefly(void)
{
#ifdef __SSE2__
    __builtin_ia32_pause();
#endif
}

void lock_wait(struct lock *lock)
{
    for (int i = 0; i < SPINS; i++) {
        uint32_t expected = LOCK_FREE;
        if (atomic_load_explicit(&lock->state, memory_order_relaxed) == LOCK_FREE &&
            atomic_compare_exchange_strong_explicit(&lock->state, &expected, LOCK_TAKEN,
                                                    memory_order_acquire, memory_order_relaxed))
            return;
        pause_briefly();
    }
    /* Whoever slept takes it as waited for: others may still be asleep. */
    while (atomic_exchange_explicit(&lock->state, LOCK_WAITED_FOR, memory_order_acquire) !=
           LOCK_FREE)
        (void)syscall(SYS_futex, &lock->state, FUTEX_WAIT_PRIVATE, LOCK_WAITED_FOR, NULL, NULL, 0);
}

void lock_wake(struct lock *lock)
{
    (void)syscall(SYS_futex, &lock->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
