/* flush_all for the whole cluster: an act on the membership (ring/flush.h), which every node
 * carries out as soon as it hears of it.
 *
 *   ASKING for clocks --- all reachable nodes have said theirs ---> WAITING ---> done
 *      pings                                           the act       for their digests
 *
 * What was acknowledged before the command came has to go, wherever it was written and however far
 * that one's clock is ahead: so nodes are asked how far theirs is, and the flush is of all before
 * the highest.  A node has raised its clocks when it has merged a membership with the flush: so a
 * ping with this node's own digest is the proof, and all are pinged at once after the act. */
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

static void finish(struct node *node, struct node_flush_job *job, bool is_done)
{
    free(job->wait);
    job->wait = NULL;
    job->is_done = is_done;
    cluster_job_finish(node->cluster, &job->job);
}

/* Waits for a word of all who are reachable. */
static void start_waiting(struct node *node, struct node_flush_job *job, hlc_time until)
{
    node_id nodes[RING_MEMBERS_MAX];
    unsigned count = 0;

    for (unsigned i = 0; i < node->liveness.peer_count; i++)
        if (node->liveness.peers[i].state == LIVENESS_REACHABLE)
            nodes[count++] = node->liveness.peers[i].id;
    flush_wait_init(job->wait, until, nodes, count,
                    node_now_ms(node) + settings.request_timeout_ms / 2);
    node_ping_all(node);
}

/* The act itself, for everything until then.  False: it cannot be, as too many are to come. */
static bool act(struct node *node, struct node_flush_job *job, struct flush flush)
{
    enum membership_answer answer = membership_flush(&node->membership, flush);

    job->asked_ms = 0;
    membership_advance_flushes(&node->membership, node_wall_ms(node));
    node_acted(node, answer); /* has the store flushed, too */
    if (answer != MEMBERSHIP_DONE && answer != MEMBERSHIP_ALREADY)
        return false;
    start_waiting(node, job, flush.until);
    return true;
}

/* All clocks are known that can be. */
static bool act_now(struct node *node, struct node_flush_job *job)
{
    uint64_t wall_ms = node_wall_ms(node);
    hlc_time newest = store_newest_time(node->store);

    if (job->newest > newest)
        newest = job->newest;
    if (newest < hlc_of_ms(wall_ms))
        newest = hlc_of_ms(wall_ms);
    return act(node, job, (struct flush){.until = newest + 1, .effective_ms = wall_ms});
}

/* Goes on with a job whose wait may be over.  False: it is finished. */
static bool go_on(struct node *node, struct node_flush_job *job)
{
    if (job->wait->state != FLUSH_WAITING && job->asked_ms != 0) {
        job->lacks_clocks = job->wait->state == FLUSH_LATE;
        if (!act_now(node, job)) {
            finish(node, job, false);
            return false;
        }
    }
    if (job->wait->state == FLUSH_WAITING)
        return true;
    finish(node, job, job->wait->state == FLUSH_DONE && !job->lacks_clocks);
    return false;
}

/* Steps those that wait for clocks, or those that wait for digests. */
static void step(struct node *node, bool asks_clocks, struct flush_event event)
{
    struct node_flush_job **link = &node->inside->flushes;

    event.now_ms = node_now_ms(node);
    while (*link != NULL) {
        struct node_flush_job *job = *link, *next = job->next_waiting;
        if ((job->asked_ms != 0) == asks_clocks)
            (void)flush_wait_step(job->wait, &event);
        if (go_on(node, job))
            link = &job->next_waiting;
        else
            *link = next;
    }
    node_set_wake(node);
}

static void step_all(struct node *node, struct flush_event event)
{
    step(node, false, event);
    step(node, true, event);
}

void node_flush_run(struct node *node, struct cluster_job *asked)
{
    static_assert(offsetof(struct node_flush_job, job) == 0, "the job comes first");
    struct node_flush_job *job = (struct node_flush_job *)asked;

    job->is_done = job->lacks_clocks = false;
    job->newest = 0;
    job->wait = malloc(sizeof *job->wait);
    if (job->wait == NULL || !node->has_begun || node->is_stopping) {
        finish(node, job, false);
        return;
    }
    if (job->at_ms > node_wall_ms(node)) {
        struct flush later = {.until = hlc_of_ms(job->at_ms), .effective_ms = job->at_ms};
        if (!act(node, job, later)) {
            finish(node, job, false);
            return;
        }
    } else {
        job->asked_ms = node_now_ms(node) + 1; /* as node_ping_all() says */
        start_waiting(node, job, 1);
    }
    job->next_waiting = node->inside->flushes;
    node->inside->flushes = job;
    step_all(node, (struct flush_event){.type = FLUSH_TICK});
}

/* A clock that is too far ahead is none: its writes are refused by all others. */
static void hear_clock(struct node *node, const struct ping *ping)
{
    uint64_t latest_ms = node_wall_ms(node) + settings.clock_drift_max_ms;

    for (struct node_flush_job *job = node->inside->flushes; job != NULL; job = job->next_waiting) {
        if (job->asked_ms == 0 || ping->sent_ms < job->asked_ms || !hlc_is_valid(ping->clock))
            continue;
        if (ping->clock > job->newest && hlc_ms(ping->clock) <= latest_ms)
            job->newest = ping->clock;
    }
}

/* Whether the answer was to a ping from after the command. */
static void hear_answer(struct node *node, const struct ping *ping)
{
    uint64_t asked_ms = 0;

    for (struct node_flush_job *job = node->inside->flushes; job != NULL; job = job->next_waiting)
        if (job->asked_ms > asked_ms)
            asked_ms = job->asked_ms;
    hear_clock(node, ping);
    if (asked_ms != 0 && ping->sent_ms >= asked_ms)
        step(node, true,
             (struct flush_event){.type = FLUSH_HEARD, .node = ping->from, .floor = HLC_END - 1});
}

void node_flush_hear(struct node *node, const struct ping *ping)
{
    if (node->inside->flushes == NULL)
        return;
    if (ping->membership_digest == node->membership.digest)
        step(node, false,
             (struct flush_event){.type = FLUSH_HEARD, .node = ping->from, .floor = HLC_END - 1});
    if (ping->is_answer && ping->asked_by == node->incarnation)
        hear_answer(node, ping);
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
