/* A worker: one thread, one libev loop, the connections that were given to it.
 *
 * A connection stays on its worker for life, and so does everything that it starts.
 *
 *     main thread                              worker thread
 *     accept -> worker_hand_over() --wake-->   connection_start() for each
 *     workers_stop()               --wake-->   answers what has arrived, closes all, ends */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include "protocol/operation.h"
#include "server/connection.h"
#include "server/counters.h"
#include "server/output.h"
#include <ev.h>
#include <pthread.h>
#include <stdalign.h>

struct hot_keys;
struct pendings;
struct requests;
struct store;

#define WORKER_INPUT_BYTES (64 * 1024)
/* More would push what was fetched ahead for the first out of the L1 cache again: measured with
 * multigets of 100 keys, 64 take an eighth longer. */
#define WORKER_BATCH_MAX   32

/* Connections that are received from before any of them is served. */
#define WORKER_ARRIVALS_MAX 32

/* Input that was received in this turn of the loop and is not served yet. */
struct arrival {
    struct connection *connection; /* NULL: closed meanwhile */
    uint64_t key_hash;             /* of what is most likely its first key */
    uint32_t bytes;                /* behind those of the arrivals before it */
};

/* Who may touch which field:
 *   [I] never changes after workers_start()  [W] only the worker's thread
 *   [A] anyone, atomically                   [L] whoever holds `lock` */
struct worker {
    alignas(128) uint64_t now_ms;    /* [W] the time of this turn of the loop */
    struct store *store;             /* [I] */
    unsigned char *input;            /* [W] WORKER_INPUT_BYTES: what the batch was read into */
    struct operation *batch;         /* [W] WORKER_BATCH_MAX */
    struct ev_loop *loop;            /* [I] */
    unsigned number;                 /* [I] */
    unsigned requests_per_turn;      /* [I] of one connection (-R) */
    int until_sample;                /* [W] operations up to the next for `hot_keys`, it included */
    struct hot_keys *hot_keys;       /* [I] see server/hot_keys.h */
    struct requests *requests;       /* [I] NULL: not the node of a cluster */
    struct pendings *pendings;       /* [I] likewise */
    bool is_ending;                  /* [W] each connection closes once its output is sent */

    unsigned char *arrived;          /* [W] WORKER_INPUT_BYTES: what the arrivals were read into */
    uint32_t arrived_bytes;          /* [W] */
    unsigned arrival_count;          /* [W] */

    alignas(64) struct output output; /* [W] answers of the batch at hand */
    alignas(64) struct counters counters; /* [W] writes, [A] reads */
    pthread_t thread;                /* [I] */
    unsigned char *key_storage;      /* [W] decoded keys, KEY_BYTES_MAX per operation */
    unsigned char *context_storage;  /* [W] decoded contexts, CONTEXT_BYTES_MAX per operation */

    pthread_mutex_t lock;            /* guards the two below: taken by stats conns and the acceptor */
    struct connection *connections;  /* [L] for changes of the list and reads by others */
    struct connection *handed_over;  /* [L] accepted, not yet taken up */
    _Atomic unsigned connection_count; /* [A] handed over ones included */
    _Atomic bool is_stopping;        /* [A] workers_stop() was called */

    struct arrival arrivals[WORKER_ARRIVALS_MAX]; /* [W] */
    struct connection *runnable;     /* [W] have more to do without waiting for their socket, */
    struct connection **runnable_end; /* [W] in the order in which they take turns */
    unsigned runnable_count;         /* [W] */
    struct connection *watching;     /* [W] the log watchers */
    ev_async wake;                   /* [A] */
    ev_prepare before_wait;          /* [W] serves the runnable ones; active while there are any, */
    ev_check after_events;           /* [W] serves the arrivals */
    ev_check before_events;          /* [W] begins the turn for the requests, if there are any, */
    ev_prepare send_answers;         /* [W] and sends what was answered in it */
    ev_idle keep_going;              /* [W] likewise, so that the loop does not wait */
    ev_timer idle_check;             /* [W] closes idle connections, and hanging TLS handshakes */
};

/* Starts the workers of this process: `count` threads that all use `store`.  Called once; false,
 * with the reason logged, when a thread or memory cannot be had. */
bool workers_start(struct store *, unsigned count);

/* Has every worker answer what has arrived, send what it can within a second, and close its
 * connections; waits for them and frees them.  Counters are gone afterwards. */
void workers_stop(void);

unsigned workers_count(void);
struct worker *workers_get(unsigned number);

/* Connections of all workers, UDP sockets left out. */
unsigned workers_connection_count(void);

/* The worker with the fewest connections, in turn among equals.  Main thread. */
struct worker *workers_least_busy(void);

/* Gives a connection to its worker, which starts it.  Takes it.  Any thread. */
void worker_hand_over(struct worker *, struct connection *);

/* Has the worker look at what it was handed over, and at its streams.  Any thread. */
void worker_wake(struct worker *);

/* The connection has its next turn without waiting for its socket.  For connection_io.c. */
void worker_add_runnable(struct worker *, struct connection *);

/* The connection now watches the log.  For connection.c. */
void worker_add_watching(struct worker *, struct connection *);

/* The connection is being closed: forgets it, wherever it is listed.  For connection.c. */
void worker_remove(struct worker *, struct connection *);

/* Calls `visit` for every connection of every worker, under that worker's lock.  Any thread that
 * holds no worker's lock. */
void workers_visit_connections(void (*visit)(void *context, const struct connection_description *),
                               void *context);

#endif
