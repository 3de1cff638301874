#include "server/clock.h"
#include <assert.h>
#include <stdatomic.h>
#include <time.h>

/* Written by clock_init() before any thread starts. */
static uint64_t start_wall_ms;
static uint64_t start_monotonic_ms;

/* What `debugtime` added. */
static _Atomic int64_t advanced_ms;

static uint64_t read_ms(clockid_t id)
{
    struct timespec time;
    const int failed = clock_gettime(id, &time);

    assert(!failed);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

void clock_init(void)
{
    start_wall_ms = read_ms(CLOCK_REALTIME);
    start_monotonic_ms = read_ms(CLOCK_MONOTONIC);
}

uint64_t clock_now_ms(void)
{
    const int64_t advanced = atomic_load_explicit(&advanced_ms, memory_order_relaxed);

    assert(start_wall_ms != 0); /* clock_init() was called */
    return start_wall_ms + (read_ms(CLOCK_MONOTONIC) - start_monotonic_ms) + (uint64_t)advanced;
}

uint64_t clock_monotonic_ms(void)
{
    return read_ms(CLOCK_MONOTONIC);
}

uint64_t clock_start_ms(void)
{
    return start_wall_ms;
}

uint32_t clock_relative_s(uint64_t now_ms)
{
    return now_ms < start_wall_ms ? 0 : (uint32_t)((now_ms - start_wall_ms) / 1000);
}

uint64_t clock_expiry_ms(int64_t exptime, uint64_t now_ms)
{
    if (exptime == 0)
        return 0;
    if (exptime < 0)
        return 1;
    if (exptime <= RELATIVE_EXPTIME_S_MAX)
        return now_ms + (uint64_t)exptime * 1000;
    return (uint64_t)exptime > UINT64_MAX / 1000 ? UINT64_MAX : (uint64_t)exptime * 1000;
}

void clock_advance_s(int64_t seconds)
{
    atomic_fetch_add_explicit(&advanced_ms, seconds * 1000, memory_order_relaxed);
}
