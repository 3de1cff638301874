/* A range of addresses, reserved once and taken into use from its start as it is needed.
 *
 * What lies in it never moves, and what was once committed stays readable for good, so that a
 * thread without the lock may look at it (or prefetch it) at any time.
 *
 * Threads: range_commit(), and by one at a time range_withdraw() and range_settle(), while others
 * use the range; the rest while nobody does. */
#ifndef SERVER_RANGE_H
#define SERVER_RANGE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Who may touch which field:
 *   [I] never changes after range_init    [L] only under `lock`, read by anyone */
struct range {
    unsigned char *base;              /* [I] aligned to 2 MB */
    uint64_t reserved_bytes;          /* [I] */
    _Atomic uint64_t committed_bytes; /* [L] */
    uint64_t withdrawn_bytes;         /* [L] what was committed before range_withdraw(), or 0 */
    void *mapping;                    /* [I] what was mapped, alignment included */
    uint64_t mapping_bytes;           /* [I] */
    pthread_mutex_t lock;
};

/* Reserves `bytes`; nothing is resident yet.  With `is_huge` the system is asked for huge pages
 * behind the first 2 MB.  Returns false when there are no such addresses. */
bool range_init(struct range *, uint64_t bytes, bool is_huge);
void range_deinit(struct range *);

/* Makes the first `end_bytes` usable.  Returns false when the reservation ends before, the system
 * refuses, or just then memory is being given back. */
bool range_commit(struct range *, uint64_t end_bytes);

/* Giving back the memory behind `end_bytes`, which turned out too much.  In between the caller makes
 * sure that nobody uses what was committed before: it takes, one after the other, each lock under
 * which range_commit() may have said yes.  Whatever it finds, it settles. */

/* Has range_commit() say no to more than `end_bytes`, rounded up.  False when there is nothing to
 * give back, and nothing to settle then. */
bool range_withdraw(struct range *, uint64_t end_bytes);
/* Gives the memory back, its contents become zeros; or, without `gives_back`, lets all be as it
 * was. */
void range_settle(struct range *, bool gives_back);

#endif
