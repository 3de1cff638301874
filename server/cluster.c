/* Not there yet: no process is a node of a cluster.  The seams of cluster.h and node.h, so that
 * what uses them can be built. */
#include "server/cluster.h"
#include "server/log.h"
#include "server/node.h"

struct cluster *cluster_start(struct store *store)
{
    (void)store;
    log_error("--node-name: this build cannot be a node of a cluster yet");
    return NULL;
}

bool cluster_run(struct cluster *cluster)
{
    (void)cluster;
    return false;
}

void cluster_stop(struct cluster *cluster)
{
    (void)cluster;
}

void cluster_free(struct cluster *cluster)
{
    (void)cluster;
}

struct cluster *cluster_get(void)
{
    return NULL;
}

const struct peer_secret *cluster_secret(const struct cluster *cluster)
{
    (void)cluster;
    return NULL;
}

const struct siphash_key *cluster_context_key(const struct cluster *cluster)
{
    (void)cluster;
    return NULL;
}

struct hint_queue *cluster_hints(struct cluster *cluster)
{
    (void)cluster;
    return NULL;
}

const struct cluster_view *cluster_view_hold(struct cluster *cluster, unsigned worker)
{
    (void)cluster, (void)worker;
    return NULL;
}

void cluster_view_release(struct cluster *cluster, unsigned worker)
{
    (void)cluster, (void)worker;
}

void cluster_note_reply(struct cluster *cluster, unsigned worker, node_id peer,
                        uint32_t round_trip_us)
{
    (void)cluster, (void)worker, (void)peer, (void)round_trip_us;
}

void cluster_note_dot(struct cluster *cluster, unsigned worker, struct dot dot)
{
    (void)cluster, (void)worker, (void)dot;
}

void cluster_note_latency(struct cluster *cluster, unsigned worker, uint32_t us)
{
    (void)cluster, (void)worker, (void)us;
}

void cluster_note_clock(struct cluster *cluster, unsigned worker, node_id peer, bool is_refused)
{
    (void)cluster, (void)worker, (void)peer, (void)is_refused;
}

void cluster_ask(struct cluster *cluster, struct cluster_job *job)
{
    (void)cluster, (void)job;
}

void cluster_job_finish(struct cluster *cluster, struct cluster_job *job)
{
    (void)cluster, (void)job;
}

void cluster_run_done_jobs(struct cluster *cluster, unsigned worker)
{
    (void)cluster, (void)worker;
}

uint64_t node_now_ms(const struct node *node)
{
    (void)node;
    return 0;
}

uint64_t node_wall_ms(const struct node *node)
{
    (void)node;
    return 0;
}

uint64_t node_wait_ms(uint64_t ms)
{
    return ms;
}

bool node_send(struct node *node, node_id to, const struct peer_message *message)
{
    (void)node, (void)to, (void)message;
    return false;
}

bool node_send_item(struct node *node, node_id to, const struct peer_message *message,
                    struct item *item)
{
    (void)node, (void)to, (void)message, (void)item;
    return false;
}

void node_set_wake(struct node *node)
{
    (void)node;
}

void node_publish(struct node *node)
{
    (void)node;
}

void node_saw_cell(struct node *node, const struct cell *cell)
{
    (void)node, (void)cell;
}

unsigned node_copies(void)
{
    return 1;
}

void node_flush_run(struct node *node, struct cluster_job *job)
{
    (void)node, (void)job;
}
