/* What the cluster thread shares with workers, and how it gets at their part of it.  Only for
 * cluster*.c and node*.c.
 *
 * Threads: each function says which. */
#ifndef SERVER_CLUSTER_INSIDE_H
#define SERVER_CLUSTER_INSIDE_H

#include "server/cluster.h"
#include "server/peer_secret.h"
#include "server/peer_tls.h"
#include <ev.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdalign.h>
#include <stdatomic.h>

/* A power of two: between two looks of the cluster thread. */
#define CLUSTER_NOTES 512u
/* A power of two, and at most half full: as many members as a membership ever knows. */
#define CLUSTER_DOTS 1024u

enum cluster_note_type { NOTE_REPLY, NOTE_LATENCY, NOTE_CLOCK_REFUSED, NOTE_CLOCK_ACCEPTED };

struct cluster_note {
    enum cluster_note_type type;
    uint32_t us;
    node_id peer;
};

/* The newest dot seen of a member. */
struct cluster_dot {
    _Atomic node_id node; /* NODE_NONE: free; never changes once it is set */
    _Atomic hlc_time hlc;
};

/* A worker's part.  Who may touch which field:
 *   [W] the worker writes, atomically; the cluster thread reads
 *   [C] the other way round
 *   [L] whoever holds the cluster's lock */
struct cluster_slot {
    alignas(128) _Atomic(const struct cluster_view *) held; /* [W] hazard pointer; NULL: none */
    _Atomic unsigned note_end;                              /* [W] notes made, counted */
    struct cluster_note notes[CLUSTER_NOTES];               /* [W] those from note_start on */
    struct cluster_dot dots[CLUSTER_DOTS];                  /* [W] */
    alignas(128) _Atomic unsigned note_start;               /* [C] notes read, counted */
    struct cluster_job *finished, **finished_end;           /* [L] */
};

/* A table that views and the node use, freed after the last of them.  Cluster thread. */
struct cluster_table {
    unsigned users;
    struct ring_table table;
    unsigned char rows[];
};

/* A view with all that it points to, but for the table. */
struct cluster_published {
    struct cluster_view view;
    struct cluster_table *table;     /* NULL: none */
    struct cluster_published *older; /* waits to be freed, too */
};

/* Who may touch which field:
 *   [I] never changes after cluster_run()   [A] anyone, atomically   [L] under the lock
 *   [C] only the cluster thread, or the main thread while that one does not run */
struct cluster {
    struct store *store;                       /* [I] */
    struct node *node;                         /* [I] the pointer */
    struct ev_loop *loop;                      /* [I] */
    struct peer_secret secret;                 /* [I] */
    bool has_secret;                           /* [I] */
    struct peer_tls *tls;                      /* [I] NULL: none */
    pthread_t thread;                          /* [I] */
    bool is_running;                           /* main thread */
    ev_async wake;                             /* [A] jobs, or it is time to stop */
    _Atomic bool is_stopping;                  /* [A] cluster_stop() was called */
    _Atomic bool is_ending;                    /* [A] the node had the process end, */
    _Atomic int exit_code;                     /* [A] with this code */
    _Atomic(const struct cluster_view *) view; /* [A] */
    struct cluster_published *retired;         /* [C] newest first */
    bool has_table;                            /* [C] some view had one */
    sem_t serves;                              /* [A] raised when the first had */
    struct siphash_key context_key;            /* [A] once has_context_key */
    _Atomic bool has_context_key;              /* [A] */
    _Atomic bool is_in_doubt;                  /* [A] some peer refused this node's clock */
    pthread_mutex_t lock;
    struct cluster_job *asked, **asked_end; /* [L] */
    bool is_closed;                         /* [L] no job is run any more */
    unsigned copies;                        /* [I] owners that a row of the table has room for */
    unsigned worker_count;                  /* [I] */
    struct cluster_slot *slots;             /* [I] by worker */
};

/* --- the cluster thread --- */

/* Puts the view in force in place of the one before, which is freed once no worker holds it, and
 * wakes the workers.  Takes it. */
void cluster_publish(struct cluster *, struct cluster_published *);

/* Frees what no worker holds any more. */
void cluster_reclaim(struct cluster *);

/* Gives a copy of the table with one user.  NULL: memory is short. */
struct cluster_table *cluster_table_copy(const struct ring_table *);
void cluster_table_release(struct cluster_table *);

/* Runs the jobs that were asked for. */
void cluster_run_jobs(struct cluster *);

/* Calls `take` for each note since the last call, and `saw` for the newest dots. */
void cluster_read_notes(struct cluster *, void (*take)(struct node *, const struct cluster_note *),
                        void (*saw)(struct node *, struct dot));

/* Sets the key for contexts, unless there is one. */
void cluster_set_context_key(struct cluster *, const struct siphash_key *);

/* Has the process end as SIGTERM would, with that exit code, unless it is ending already. */
void cluster_end_process(struct cluster *, int exit_code);

#endif
