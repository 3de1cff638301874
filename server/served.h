/* Served: what became of the commands that other nodes passed on to this one (ring/outcomes.h),
 * remembered for all workers together: a repeat may come over another worker's link.
 *
 * Threads: any; by the id there are several locks, held for a look or a copy. */
#ifndef SERVER_SERVED_H
#define SERVER_SERVED_H

#include "protocol/operation.h"
#include "ring/forward.h"

struct cluster;
struct served;

/* The one of this cluster's node, made at the first call; NULL: memory is short. */
struct served *served_ref(struct cluster *);
/* The last one frees it. */
void served_unref(struct served *);

enum served_begin {
    SERVED_NEW,     /* do it, then call served_finish() */
    SERVED_RUNNING, /* it is being done: its answer will come */
    SERVED_KNOWN,   /* it was done, and `answer` called with what came of it */
    SERVED_FULL     /* refuse it */
};

/* A command was passed on to this node.  `answer` is called under a lock. */
enum served_begin served_begin(struct served *, struct request_id, uint64_t now_ms,
                               void (*answer)(void *context, const struct forward_reply *,
                                              const struct outcome *),
                               void *context);

/* It has its answer, with an outcome or without (NULL); copies them. */
void served_finish(struct served *, const struct forward_reply *, const struct outcome *);

#endif
