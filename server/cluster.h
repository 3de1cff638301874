/* Cluster: what the workers and the main thread use of the cluster that this process is a node of.
 *
 *      main thread            cluster thread (server/node.h)            workers
 *   cluster_start()
 *   cluster_run()     --->    membership, tables, pings,
 *                             hints, repair
 *                             publishes a view           --wake-->   cluster_view_hold()
 *                             runs jobs                  <---------  cluster_ask()
 *                                                        --wake-->   cluster_run_done_jobs()
 *                             looks at the notes         <---------  cluster_note_...()
 *   cluster_stop()    --->    hands hints over, tells the peers, ends
 *
 * A view is immutable.  A worker holds the newest at the start of its loop's turn and lets go of it
 * at the end, by a hazard pointer (Michael, "Hazard Pointers: Safe Memory Reclamation for Lock-Free
 * Objects", 2004): no lock and nothing shared that is written.  The cluster thread frees a view
 * once a newer one is published and no worker holds it.
 *
 * A process is a node iff --node-name was given; without it there is no struct cluster, and nothing
 * here is called.
 *
 * Threads: as said above each function. */
#ifndef SERVER_CLUSTER_H
#define SERVER_CLUSTER_H

#include "ring/hlc.h"
#include "ring/membership.h"
#include "ring/route.h"
#include "ring/siphash.h"
#include "ring/table.h"
#include <sys/socket.h>

struct cluster;
struct hint_queue;
struct node;
struct peer_secret;
struct peer_tls;
struct store;

struct cluster_peer {
    node_id id;
    struct member_name name;
    uint64_t incarnation; /* messages of an earlier one have to be dropped */
    struct sockaddr_storage address;
    socklen_t address_bytes; /* 0: it is not known where that one is */
    bool is_reachable;
    bool is_cut; /* `debug cut`: no link to it may send or hear anything */
};

/* What a worker needs of the cluster, as of one moment. */
struct cluster_view {
    const struct ring_table *table; /* NULL: there is none yet, and nothing can be served */
    const struct peer_view *views;  /* by index of the table's members */
    const uint64_t *warming; /* this node's own bitmap, by partition; NULL: warm everywhere */
    node_id self;            /* NODE_NONE: not known yet; no link to peers makes sense */
    uint64_t incarnation;
    hlc_time flushed_up_to;
    bool may_coordinate;
    unsigned peer_count; /* all members but this one, sorted by id */
    const struct cluster_peer *peers;
    uint64_t peers_version; /* rises when a peer came, went, or changed in any of its fields, and
                               when this node's own id or incarnation did */
};

/* --- the main thread --- */

/* After store_new(), before workers_start(): gives the cluster of these settings.  NULL, and why is
 * logged, if the secret cannot be read, the state file is damaged, or memory is short. */
struct cluster *cluster_start(struct store *);

/* After workers_start() and listeners_open(): listens for peers and starts the cluster thread,
 * which finds or joins its cluster.  False, and why is logged, if it cannot listen. */
bool cluster_run(struct cluster *);

/* After that, before clients are accepted: waits until this node has a table, so that the first of
 * them are not refused; but not for longer than this. */
void cluster_wait_until_serving(struct cluster *, unsigned ms_max);

/* Before workers_stop(): hints are handed over (in bounded time), peers told, the thread joined.
 * Workers may still call all below; views stay as they are, and jobs are not run any more. */
void cluster_stop(struct cluster *);

/* After workers_stop(). */
void cluster_free(struct cluster *);

/* What main() ends with if the node stopped by itself: 0 once it has left its cluster; 78 if it
 * cannot be a node of that cluster, as was logged. */
int cluster_exit_code(const struct cluster *);

/* For tests: one without a node, for that many workers.  NULL: memory is short. */
struct cluster *cluster_new(struct store *, unsigned workers);

/* --- any thread --- */

/* NULL: this process is no node of a cluster, or has not begun to be one. */
struct cluster *cluster_get(void);

/* NULL: there is no secret. */
const struct peer_secret *cluster_secret(const struct cluster *);

/* NULL: nodes do not speak TLS. */
struct peer_tls *cluster_tls(const struct cluster *);

/* Seals the contexts that clients are given: derived from the secret; without one drawn by the
 * founder and told to who joins.  NULL: it is not known yet; it never changes once known. */
const struct siphash_key *cluster_context_key(const struct cluster *);

/* Hints of workers on their way to the cluster thread (server/hint_queue.h). */
struct hint_queue *cluster_hints(struct cluster *);

/* --- workers, each for itself: `worker` is its number --- */

/* The newest view, which stays valid until cluster_view_release().  Never NULL. */
const struct cluster_view *cluster_view_hold(struct cluster *, unsigned worker);
void cluster_view_release(struct cluster *, unsigned worker);

/* A peer answered a request after so long (0: not known).  Cheap: the cluster thread looks at the
 * notes some times a second; when too many come, some are left out. */
void cluster_note_reply(struct cluster *, unsigned worker, node_id peer, uint32_t round_trip_us);
/* A dot that came from outside.  Nothing but the newest of each member counts, and that one is
 * never left out. */
void cluster_note_dot(struct cluster *, unsigned worker, struct dot);
/* How long a client waited for a request; one in 64 is enough. */
void cluster_note_latency(struct cluster *, unsigned worker, uint32_t us);
/* A peer refused a dot of this node as too far ahead, or took one (struct clock_doubt). */
void cluster_note_clock(struct cluster *, unsigned worker, node_id peer, bool is_refused);

/* Something to be done on the cluster thread.  Embedded by who asks. */
struct cluster_job {
    struct cluster_job *next;
    unsigned worker; /* who asks */
    /* On the cluster thread; it, or what it starts, calls cluster_job_finish() there, once. */
    void (*run)(struct node *, struct cluster_job *);
    /* On the worker's thread, after that. */
    void (*done)(struct cluster_job *);
};

/* A worker wants the job done.  Jobs run in the order in which they were asked for.  Once the
 * cluster thread ends none is run any more: all that were asked for are finished then, as they are.
 * A job has to begin with an answer that fits that. */
void cluster_ask(struct cluster *, struct cluster_job *);
void cluster_job_finish(struct cluster *, struct cluster_job *);

/* The worker was woken: calls done() of what was finished. */
void cluster_run_done_jobs(struct cluster *, unsigned worker);

#endif
