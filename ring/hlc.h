/* Hybrid logical clock: the time and the name of a write in one number.
 *
 *    63 62                          20 19            0
 *   +--+------------------------------+---------------+
 *   | 0| milliseconds since 1970      | logical count |
 *   +--+------------------------------+---------------+
 *
 * The millisecond field has 44 bits, of which the highest stays 0: clients that keep a cas value
 * in a signed number read every clock right, until the year 2248.
 *
 * A clock only has to be unique and rising per node and key, so every lock stripe of the store
 * embeds its own; none is shared by all threads.
 *
 * Threads: a clock belongs to whoever holds its stripe's lock. */
#ifndef RING_HLC_H
#define RING_HLC_H

#include <stdbool.h>
#include <stdint.h>

typedef uint64_t hlc_time;

#define HLC_COUNT_BITS 20
/* The first number that is no clock any more, and the first millisecond that fits none. */
#define HLC_END    ((hlc_time)1 << 63)
#define HLC_MS_END ((uint64_t)1 << (63 - HLC_COUNT_BITS))

struct hlc_clock {
    hlc_time last; /* the highest time given or merged; 0 before the first */
};

/* What became of a clock that a peer sent. */
enum hlc_merge {
    HLC_MERGED,
    HLC_TOO_FAR_AHEAD /* beyond the drift allowed, or no clock at all: nothing was changed */
};

/* A clock that starts after `past`: 0, or the highest time this node is known to have given. */
void hlc_clock_init(struct hlc_clock *, hlc_time past);

/* Gives the next time: that of `now_ms` (milliseconds since 1970, below HLC_MS_END), or one count
 * after the last one given or merged, whichever is later.  Never gives 0, never repeats. */
hlc_time hlc_clock_next(struct hlc_clock *, uint64_t now_ms);

/* Makes every later time of this clock come after `remote`, unless that is more than
 * `drift_max_ms` ahead of `now_ms`: then the peer's clock is wrong, or ours, and whatever carried
 * it must be refused, so that one wrong clock does not poison the others. */
enum hlc_merge hlc_clock_merge(struct hlc_clock *, hlc_time remote, uint64_t now_ms,
                               uint64_t drift_max_ms) __attribute__((warn_unused_result));

/* The milliseconds since 1970 at which `time` was given. */
static inline uint64_t hlc_ms(hlc_time time)
{
    return time >> HLC_COUNT_BITS;
}

/* The logical count: how many times of that millisecond were given before. */
static inline uint32_t hlc_count(hlc_time time)
{
    return (uint32_t)(time & (((hlc_time)1 << HLC_COUNT_BITS) - 1));
}

/* The earliest time of a millisecond. */
static inline hlc_time hlc_of_ms(uint64_t ms)
{
    return ms << HLC_COUNT_BITS;
}

/* Whether a number may name a write: 0 and what reaches the top bit never do. */
static inline bool hlc_is_valid(hlc_time time)
{
    return time != 0 && time < HLC_END;
}

#endif
