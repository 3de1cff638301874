/* Outcomes: what became of the commands that other nodes passed on to this one.
 *
 * A command that comes twice (its answer was lost, the network doubled it) must not be done twice:
 * each is remembered by its id, with its answer, for twice the time that a command may take.  If
 * the memory is full, new ones are refused, which their sender can take elsewhere: nothing was
 * done.
 *
 * Threads: belongs to its caller; a command that may come on several threads needs a lock or a
 * thread of its own by its id. */
#ifndef RING_OUTCOMES_H
#define RING_OUTCOMES_H

#include "ring/request.h"

#define OUTCOMES_NOWHERE UINT32_MAX

struct outcome_entry {
    struct request_id id;
    uint64_t expires_ms;
    uint64_t saved; /* the caller's handle of what the client hears */
    uint32_t next;  /* in its bucket's chain; index or OUTCOMES_NOWHERE */
    uint32_t first; /* of the bucket with this entry's index */
    uint16_t got, needed;
    uint8_t answer; /* enum request_answer; 0 while it runs */
};

/* Entries form a queue, oldest first, since all are kept for the same time. */
struct outcomes {
    struct outcome_entry *entries;
    uint32_t room;         /* a power of two */
    uint32_t oldest, used; /* the queue: `used` entries from `oldest`, round the end */
    uint64_t keep_ms;
};

enum outcomes_begin {
    OUTCOMES_NEW,     /* do it, then call outcomes_finish() */
    OUTCOMES_RUNNING, /* it is being done: drop the repeat, its answer will come */
    OUTCOMES_KNOWN,   /* it was done: answer as before */
    OUTCOMES_FULL     /* refuse it */
};

/* Borrows `entries`, `room` of them, for as long as it lives.  `keep_ms` is twice the time that a
 * command may take. */
void outcomes_init(struct outcomes *, struct outcome_entry *entries, uint32_t room,
                   uint64_t keep_ms);

/* Looks a command up, and remembers it if it is new.  `known` is set with OUTCOMES_KNOWN, and is
 * valid until the next call. */
enum outcomes_begin outcomes_begin(struct outcomes *, struct request_id, uint64_t now_ms,
                                   const struct outcome_entry **known);

/* Keeps the answer to a command that has begun; takes `saved` until outcomes_expire() gives it
 * back.  False if it is no longer (or not) remembered: then `saved` stays with the caller. */
bool outcomes_finish(struct outcomes *, struct request_id, enum request_answer, unsigned got,
                     unsigned needed, uint64_t saved);

/* Forgets one whose time is over, and gives its handle (0 for one that never finished).  False if
 * there is none: call it until then, before outcomes_begin(). */
bool outcomes_expire(struct outcomes *, uint64_t now_ms, uint64_t *saved);

/* When the oldest is to be forgotten; UINT64_MAX if there is none. */
uint64_t outcomes_deadline_ms(const struct outcomes *);

#endif
