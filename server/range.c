#include "server/range.h"
#include <assert.h>
#include <sys/mman.h>

#define HUGE_PAGE_BYTES ((uint64_t)2 << 20)

/* Commits come in steps, so that the growth of an index costs few system calls. */
#define STEP_BYTES_MIN ((uint64_t)64 << 10)

static uint64_t round_up(uint64_t number, uint64_t step)
{
    return (number + step - 1) / step * step;
}

bool range_init(struct range *range, uint64_t bytes, bool is_huge)
{
    assert(bytes > 0);

    *range = (struct range){.reserved_bytes = round_up(bytes, HUGE_PAGE_BYTES)};
    range->mapping_bytes = range->reserved_bytes + HUGE_PAGE_BYTES;
    range->mapping = mmap(NULL, range->mapping_bytes, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range->mapping == MAP_FAILED)
        return false;
    range->base = (unsigned char *)(uintptr_t)round_up((uintptr_t)range->mapping, HUGE_PAGE_BYTES);
    if (is_huge && range->reserved_bytes > HUGE_PAGE_BYTES) /* only a wish: a kernel may lack it */
        (void)madvise(range->base + HUGE_PAGE_BYTES, range->reserved_bytes - HUGE_PAGE_BYTES,
                      MADV_HUGEPAGE);
    pthread_mutex_init(&range->lock, NULL);
    return true;
}

void range_deinit(struct range *range)
{
    const int failed = munmap(range->mapping, range->mapping_bytes);

    assert(!failed);
    pthread_mutex_destroy(&range->lock);
}

bool range_commit(struct range *range, uint64_t end_bytes)
{
    uint64_t end = round_up(end_bytes,
                            end_bytes > HUGE_PAGE_BYTES ? HUGE_PAGE_BYTES : STEP_BYTES_MIN);
    uint64_t committed = atomic_load_explicit(&range->committed_bytes, memory_order_acquire);

    if (end_bytes <= committed)
        return true;
    if (end_bytes > range->reserved_bytes)
        return false;
    pthread_mutex_lock(&range->lock);
    committed = atomic_load_explicit(&range->committed_bytes, memory_order_relaxed);
    if (range->withdrawn_bytes != 0 && end > committed) {
        end = 0;
    } else if (end > committed) {
        if (mprotect(range->base + committed, end - committed, PROT_READ | PROT_WRITE) == 0)
            atomic_store_explicit(&range->committed_bytes, end, memory_order_release);
        else
            end = 0;
    }
    pthread_mutex_unlock(&range->lock);
    return end != 0;
}

bool range_withdraw(struct range *range, uint64_t end_bytes)
{
    const uint64_t end = round_up(end_bytes, HUGE_PAGE_BYTES);
    bool is_less;

    pthread_mutex_lock(&range->lock);
    assert(range->withdrawn_bytes == 0);
    is_less = end < atomic_load_explicit(&range->committed_bytes, memory_order_relaxed);
    if (is_less)
        range->withdrawn_bytes = atomic_exchange(&range->committed_bytes, end);
    pthread_mutex_unlock(&range->lock);
    return is_less;
}

void range_settle(struct range *range, bool gives_back)
{
    uint64_t end;

    pthread_mutex_lock(&range->lock);
    end = atomic_load_explicit(&range->committed_bytes, memory_order_relaxed);
    assert(range->withdrawn_bytes > end);
    if (gives_back)
        (void)madvise(range->base + end, range->withdrawn_bytes - end, MADV_DONTNEED);
    else
        atomic_store_explicit(&range->committed_bytes, range->withdrawn_bytes,
                              memory_order_release);
    range->withdrawn_bytes = 0;
    pthread_mutex_unlock(&range->lock);
}
