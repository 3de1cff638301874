/* A worker: one thread, one libev loop, the connections that were given to it.
 *
 * A connection stays on its worker for life, and so does everything that it starts. */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include "protocol/operation.h"
#include "server/counters.h"
#include "server/output.h"
#include <ev.h>
#include <pthread.h>

struct connection;
struct store;

#define WORKER_INPUT_BYTES (64 * 1024)
#define WORKER_BATCH_MAX   64

/* Who may touch which field:
 *   [I] never changes after worker_start    [W] only the worker's thread
 *   [A] anyone, atomically                  [L] whoever holds `lock` */
struct worker {
    unsigned number;                 /* [I] */
    struct ev_loop *loop;            /* [I] */
    struct store *store;             /* [I] */
    pthread_t thread;                /* [I] */
    struct counters counters;        /* [W] writes, [A] reads */
    uint64_t now_ms;                 /* [W] the time of this turn of the loop */
    struct output output;            /* [W] answers of the batch at hand */
    unsigned char *input;            /* [W] WORKER_INPUT_BYTES: what the batch was read into */
    struct operation batch[WORKER_BATCH_MAX];                             /* [W] */
    unsigned char key_storage[WORKER_BATCH_MAX][KEY_BYTES_MAX];           /* [W] decoded keys */
    unsigned char (*context_storage)[CONTEXT_BYTES_MAX];                  /* [W] decoded contexts */

    pthread_mutex_t lock;            /* guards the two below; taken by stats conns and the acceptor */
    struct connection *connections;  /* [L] for changes of the list and reads by others */
    struct connection *handed_over;  /* [L] accepted, not yet taken up */
    _Atomic unsigned connection_count; /* [A] */
    ev_async wake;                   /* [A] */
    ev_timer idle_check;             /* [W] */
    bool is_stopping;                /* [W] */
};

/* Starts `count` workers.  False: a thread or a loop could not be had, the log says which, and none
 * runs.  Called by main(), as is workers_stop(). */
bool workers_start(struct store *, unsigned count);

/* Has every worker send what it still owes, close its connections and end; waits for them.  Call
 * listeners_close() before. */
void workers_stop(void);

#endif
