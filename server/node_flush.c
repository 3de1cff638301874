/* flush_all for the whole cluster: an act on the membership (ring/flush.h), which every node
 * carries out as soon as it hears of it.
 *
 * A node has raised its clocks when it has merged a membership with the flush: so a ping with this
 * node's own digest is the proof, and all are pinged at once after the act. */
#include "server/clock.h"
#include "server/node.h"
#include "server/node_inside.h"
#include "server/settings.h"
#include <assert.h>
#include <stdlib.h>

void node_flush_apply(struct node *node)
{
    struct node_inside *inside = node->inside;
    uint64_t wall_ms = node_wall_ms(node);

    if (membership_advance_flushes(&node->membership, wall_ms))
        node_acted(node, MEMBERSHIP_DONE);
    hlc_time floor = flush_list_floor(&node->membership.flushes, wall_ms);
    if (floor <= inside->flushed_up_to)
        return;
    inside->flushed_up_to = floor;
    store_flush_up_to(node->store, floor);
    node_publish(node);
}

/* The first time of a flush at once is after all that this node ever gave. */
static struct flush flush_of(struct node *node, uint64_t at_ms)
{
    uint64_t wall_ms = node_wall_ms(node);

    if (at_ms > wall_ms)
        return (struct flush){.until = hlc_of_ms(at_ms), .effective_ms = at_ms};
    hlc_time newest = store_newest_time(node->store), now = hlc_of_ms(wall_ms);
    return (struct flush){.until = newest >= now ? newest + 1 : now, .effective_ms = wall_ms};
}

static void finish(struct node *node, struct node_flush_job *job, bool is_done)
{
    free(job->wait);
    job->wait = NULL;
    job->is_done = is_done;
    cluster_job_finish(node->cluster, &job->job);
}

static void step_all(struct node *node, struct flush_event event)
{
    struct node_flush_job **link = &node->inside->flushes;

    event.now_ms = node_now_ms(node);
    while (*link != NULL) {
        struct node_flush_job *job = *link;
        enum flush_state state = flush_wait_step(job->wait, &event);
        if (state == FLUSH_WAITING) {
            link = &job->next_waiting;
        } else {
            *link = job->next_waiting;
            finish(node, job, state == FLUSH_DONE);
        }
    }
    node_set_wake(node);
}

/* False: memory is short. */
static bool start_waiting(struct node *node, struct node_flush_job *job, hlc_time until)
{
    node_id nodes[RING_MEMBERS_MAX];
    unsigned count = 0;

    job->wait = malloc(sizeof *job->wait);
    if (job->wait == NULL)
        return false;
    for (unsigned i = 0; i < node->liveness.peer_count; i++)
        if (node->liveness.peers[i].state == LIVENESS_REACHABLE)
            nodes[count++] = node->liveness.peers[i].id;
    flush_wait_init(job->wait, until, nodes, count,
                    node_now_ms(node) + settings.request_timeout_ms);
    job->next_waiting = node->inside->flushes;
    node->inside->flushes = job;
    return true;
}

void node_flush_run(struct node *node, struct cluster_job *asked)
{
    static_assert(offsetof(struct node_flush_job, job) == 0, "the job comes first");
    struct node_flush_job *job = (struct node_flush_job *)asked;

    job->is_done = false;
    job->wait = NULL;
    if (!node->has_begun || node->is_stopping) {
        finish(node, job, false);
        return;
    }
    struct flush flush = flush_of(node, job->at_ms);
    enum membership_answer answer = membership_flush(&node->membership, flush);
    bool is_taken = answer == MEMBERSHIP_DONE || answer == MEMBERSHIP_ALREADY;
    node_acted(node, answer);
    node_flush_apply(node);
    if (!is_taken || !start_waiting(node, job, flush.until)) {
        finish(node, job, false);
        return;
    }
    node_ping_all(node);
    step_all(node, (struct flush_event){.type = FLUSH_TICK});
}

void node_flush_hear(struct node *node, const struct ping *ping)
{
    if (node->inside->flushes != NULL && ping->membership_digest == node->membership.digest)
        step_all(node, (struct flush_event){
                           .type = FLUSH_HEARD, .node = ping->from, .floor = HLC_END - 1});
}

void node_flush_lose(struct node *node, node_id peer)
{
    if (node->inside->flushes != NULL)
        step_all(node, (struct flush_event){.type = FLUSH_LOST, .node = peer});
}

void node_flush_wake(struct node *node)
{
    if (flush_list_next_ms(&node->membership.flushes) <= node_wall_ms(node))
        node_flush_apply(node);
    if (node->inside->flushes != NULL)
        step_all(node, (struct flush_event){.type = FLUSH_TICK});
}

uint64_t node_flush_deadline_ms(const struct node *node)
{
    uint64_t now_ms = node_now_ms(node), wall_ms = node_wall_ms(node);
    uint64_t next_ms = flush_list_next_ms(&node->membership.flushes), at_ms = UINT64_MAX;

    if (next_ms != UINT64_MAX)
        at_ms = now_ms + (next_ms > wall_ms ? next_ms - wall_ms : 0);
    for (const struct node_flush_job *job = node->inside->flushes; job != NULL;
         job = job->next_waiting)
        if (flush_wait_deadline_ms(job->wait) < at_ms)
            at_ms = flush_wait_deadline_ms(job->wait);
    return at_ms;
}

void node_flush_stop(struct node *node)
{
    while (node->inside->flushes != NULL) {
        struct node_flush_job *job = node->inside->flushes;
        node->inside->flushes = job->next_waiting;
        finish(node, job, false);
    }
}
