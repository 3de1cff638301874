/* The clock on a node's wall: it may be set wrong, run too fast or too slow, and jump.
 *
 * Threads: one. */
#ifndef TESTS_SIM_CLOCK_H
#define TESTS_SIM_CLOCK_H

#include <stdint.h>

/* Milliseconds since 1970 at which every run begins: autumn of 2026. */
#define CLOCK_START_MS 1790000000000u

struct clock {
    uint64_t since_ms;      /* of virtual time: from when on it runs at its present rate */
    int64_t offset_ms;      /* how far ahead it was then */
    int64_t drift_permille; /* how much too fast it runs */
};

/* Milliseconds since 1970, as the clock has them. */
static inline uint64_t clock_ms(const struct clock *clock, uint64_t now_ms)
{
    int64_t passed_ms = (int64_t)(now_ms - clock->since_ms);

    return (uint64_t)((int64_t)(CLOCK_START_MS + now_ms) + clock->offset_ms +
                      passed_ms * clock->drift_permille / 1000);
}

/* Makes the clock jump to `offset_ms` ahead of the truth, and run at another rate from then on. */
static inline void clock_set(struct clock *clock, uint64_t now_ms, int64_t offset_ms,
                             int64_t drift_permille)
{
    *clock = (struct clock){now_ms, offset_ms, drift_permille};
}

/* How far ahead of the truth it is. */
static inline int64_t clock_ahead_ms(const struct clock *clock, uint64_t now_ms)
{
    return (int64_t)clock_ms(clock, now_ms) - (int64_t)(CLOCK_START_MS + now_ms);
}

#endif
