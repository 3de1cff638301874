/* The server's clock: milliseconds since 1970 that never go back.
 *
 * It is the wall clock at the start plus the monotonic time since, so that an operator who sets the
 * wall clock neither expires nor revives items.  `debugtime` moves it for tests. */
#ifndef SERVER_CLOCK_H
#define SERVER_CLOCK_H

#include <stdint.h>

#define RELATIVE_EXPTIME_S_MAX (60 * 60 * 24 * 30) /* a larger exptime is a unix time */

void clock_init(void);

/* Now, freshly read.  Any thread. */
uint64_t clock_now_ms(void);

/* Milliseconds of a clock that nobody sets, `debugtime` included: for waits.  Any thread. */
uint64_t clock_monotonic_ms(void);

/* When the server started. */
uint64_t clock_start_ms(void);

/* Whole seconds from the server's start to `now_ms`, as items keep their last access. */
uint32_t clock_relative_s(uint64_t now_ms);

/* What a client's exptime means that is said at `now_ms`: an absolute time in ms; 0: never; 1 (long
 * past): at once. */
uint64_t clock_expiry_ms(int64_t exptime, uint64_t now_ms);

/* Moves the clock ahead (`debugtime N`). */
void clock_advance_s(int64_t seconds);

#endif
