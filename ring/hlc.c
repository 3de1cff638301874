#include "ring/hlc.h"
#include <assert.h>

static_assert(HLC_MS_END << HLC_COUNT_BITS == HLC_END, "milliseconds and count fill 63 bits");

void hlc_clock_init(struct hlc_clock *clock, hlc_time past)
{
    assert(past < HLC_END);
    clock->last = past;
}

hlc_time hlc_clock_next(struct hlc_clock *clock, uint64_t now_ms)
{
    assert(now_ms < HLC_MS_END);
    hlc_time before = clock->last;
    hlc_time next = hlc_of_ms(now_ms);
    if (next <= before)
        next = before + 1;
    clock->last = next;
    assert(clock->last > before);
    assert(hlc_is_valid(clock->last));
    return next;
}

enum hlc_merge hlc_clock_merge(struct hlc_clock *clock, hlc_time remote, uint64_t now_ms,
                               uint64_t drift_max_ms)
{
    assert(now_ms < HLC_MS_END);
    if (remote >= HLC_END)
        return HLC_TOO_FAR_AHEAD;
    uint64_t remote_ms = hlc_ms(remote);
    if (remote_ms > now_ms && remote_ms - now_ms > drift_max_ms)
        return HLC_TOO_FAR_AHEAD;
    if (remote > clock->last)
        clock->last = remote;
    assert(clock->last >= remote);
    return HLC_MERGED;
}
