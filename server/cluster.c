#include "server/cluster.h"
#include "server/cell_store.h"
#include "server/cells.h"
#include "server/cluster_inside.h"
#include "server/log.h"
#include "server/node.h"
#include "server/node_inside.h"
#include "server/policy.h"
#include "server/process.h"
#include "server/settings.h"
#include "server/worker.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The one of this process. */
static struct cluster *the_cluster;

struct cluster *cluster_get(void)
{
    return the_cluster;
}

const struct peer_secret *cluster_secret(const struct cluster *cluster)
{
    return cluster->has_secret ? &cluster->secret : NULL;
}

struct peer_tls *cluster_tls(const struct cluster *cluster)
{
    return cluster->tls;
}

struct hint_queue *cluster_hints(struct cluster *cluster)
{
    return node_repair_hints(cluster->node->repair);
}

int cluster_exit_code(const struct cluster *cluster)
{
    return atomic_load(&cluster->exit_code);
}

void cluster_end_process(struct cluster *cluster, int exit_code)
{
    if (atomic_exchange(&cluster->is_ending, true))
        return;
    atomic_store(&cluster->exit_code, exit_code);
    process_stop(true);
}

/* --- the key for contexts --- */

const struct siphash_key *cluster_context_key(const struct cluster *cluster)
{
    bool is_known = atomic_load_explicit(&cluster->has_context_key, memory_order_acquire);

    return is_known ? &cluster->context_key : NULL;
}

void cluster_set_context_key(struct cluster *cluster, const struct siphash_key *key)
{
    if (cluster_context_key(cluster) != NULL)
        return;
    cluster->context_key = *key;
    atomic_store_explicit(&cluster->has_context_key, true, memory_order_release);
    cells_share_key(&cluster->context_key);
}

/* False: OpenSSL fails. */
static bool derive_context_key(struct cluster *cluster)
{
    const struct slice label = SLICE("ringcached client contexts");
    unsigned char mac[PEER_MAC_BYTES];
    struct siphash_key key;

    if (!peer_secret_mac(&cluster->secret, &label, 1, mac))
        return false;
    static_assert(sizeof key.bytes <= PEER_MAC_BYTES, "the MAC is long enough");
    memcpy(key.bytes, mac, sizeof key.bytes);
    cluster_set_context_key(cluster, &key);
    return true;
}

/* --- views --- */

struct cluster_table *cluster_table_copy(const struct ring_table *table)
{
    size_t room = RING_ROWS_BYTES(table->partition_bits, table->copies);
    struct cluster_table *copy = malloc(sizeof *copy + room);

    if (copy == NULL)
        return NULL;
    copy->users = 1;
    ring_table_init(&copy->table, table->partition_bits, table->copies, copy->rows, room);
    ring_table_copy(&copy->table, table);
    return copy;
}

void cluster_table_release(struct cluster_table *table)
{
    if (table == NULL)
        return;
    assert(table->users > 0);
    if (--table->users == 0)
        free(table);
}

static struct cluster_published *published_of(const struct cluster_view *view)
{
    static_assert(offsetof(struct cluster_published, view) == 0, "a view is where it was made");
    return (struct cluster_published *)view;
}

static void published_free(struct cluster_published *published)
{
    cluster_table_release(published->table);
    free(published);
}

static bool is_held(const struct cluster *cluster, const struct cluster_view *view)
{
    for (unsigned i = 0; i < cluster->worker_count; i++)
        if (atomic_load(&cluster->slots[i].held) == view)
            return true;
    return false;
}

void cluster_reclaim(struct cluster *cluster)
{
    struct cluster_published **link = &cluster->retired;

    while (*link != NULL) {
        struct cluster_published *published = *link;
        if (is_held(cluster, &published->view)) {
            link = &published->older;
        } else {
            *link = published->older;
            published_free(published);
        }
    }
}

/* In a test there may be none. */
static void wake(unsigned worker)
{
    if (worker < workers_count())
        worker_wake(workers_get(worker));
}

static void wake_workers(void)
{
    for (unsigned i = 0; i < workers_count(); i++)
        wake(i);
}

void cluster_publish(struct cluster *cluster, struct cluster_published *published)
{
    struct cluster_published *before =
        published_of(atomic_exchange(&cluster->view, &published->view));

    assert(published != before);
    before->older = cluster->retired;
    cluster->retired = before;
    cluster_reclaim(cluster);
    wake_workers();
    if (published->view.table != NULL && !cluster->has_table) {
        cluster->has_table = true;
        sem_post(&cluster->serves);
    }
}

/* The pointer is shown before it is checked that it is still the newest: so either the cluster
 * thread, which looks after it put another one in its place, sees it, or it is not used.  Both need
 * one order of all four accesses. */
const struct cluster_view *cluster_view_hold(struct cluster *cluster, unsigned worker)
{
    struct cluster_slot *slot = &cluster->slots[worker];
    const struct cluster_view *view, *newest = atomic_load(&cluster->view);

    assert(worker < cluster->worker_count);
    assert(atomic_load_explicit(&slot->held, memory_order_relaxed) == NULL);
    do {
        view = newest;
        atomic_store(&slot->held, view);
        newest = atomic_load(&cluster->view);
    } while (view != newest);
    return view;
}

void cluster_view_release(struct cluster *cluster, unsigned worker)
{
    assert(worker < cluster->worker_count);
    atomic_store_explicit(&cluster->slots[worker].held, NULL, memory_order_release);
}

/* --- notes --- */

static void note(struct cluster *cluster, unsigned worker, struct cluster_note what)
{
    struct cluster_slot *slot = &cluster->slots[worker];
    unsigned end = atomic_load_explicit(&slot->note_end, memory_order_relaxed);
    unsigned start = atomic_load_explicit(&slot->note_start, memory_order_acquire);

    assert(worker < cluster->worker_count);
    if (end - start == CLUSTER_NOTES)
        return;
    slot->notes[end % CLUSTER_NOTES] = what;
    atomic_store_explicit(&slot->note_end, end + 1, memory_order_release);
}

void cluster_note_reply(struct cluster *cluster, unsigned worker, node_id peer,
                        uint32_t round_trip_us)
{
    note(cluster, worker, (struct cluster_note){NOTE_REPLY, round_trip_us, peer});
}

void cluster_note_latency(struct cluster *cluster, unsigned worker, uint32_t us)
{
    note(cluster, worker, (struct cluster_note){NOTE_LATENCY, us, NODE_NONE});
}

void cluster_note_clock(struct cluster *cluster, unsigned worker, node_id peer, bool is_refused)
{
    if (is_refused)
        note(cluster, worker, (struct cluster_note){NOTE_CLOCK_REFUSED, 0, peer});
    else if (atomic_load_explicit(&cluster->is_in_doubt, memory_order_relaxed))
        note(cluster, worker, (struct cluster_note){NOTE_CLOCK_ACCEPTED, 0, peer});
}

/* Whether the view that the worker holds has that peer: others are not worth a place. */
static bool is_peer(const struct cluster_view *view, node_id node)
{
    unsigned low = 0, high = view != NULL ? view->peer_count : 0;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (view->peers[middle].id == node)
            return true;
        if (view->peers[middle].id < node)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* The place of a node: its own, or the free one where it would be. */
static struct cluster_dot *dot_place(struct cluster_slot *slot, node_id node)
{
    unsigned at = (unsigned)((node * 0x9e3779b97f4a7c15u) >> 32);
    node_id there;

    for (;; at++) {
        struct cluster_dot *dot = &slot->dots[at % CLUSTER_DOTS];
        there = atomic_load_explicit(&dot->node, memory_order_relaxed);
        if (there == node || there == NODE_NONE)
            return dot;
    }
}

void cluster_note_dot(struct cluster *cluster, unsigned worker, struct dot dot)
{
    struct cluster_slot *slot = &cluster->slots[worker];
    struct cluster_dot *place = dot_place(slot, dot.node);

    assert(worker < cluster->worker_count);
    if (atomic_load_explicit(&place->hlc, memory_order_relaxed) >= dot.hlc)
        return;
    if (atomic_load_explicit(&place->node, memory_order_relaxed) == NODE_NONE &&
        !is_peer(atomic_load_explicit(&slot->held, memory_order_relaxed), dot.node))
        return;
    atomic_store_explicit(&place->hlc, dot.hlc, memory_order_relaxed);
    atomic_store_explicit(&place->node, dot.node, memory_order_release);
}

static void read_slot(struct cluster *cluster, struct cluster_slot *slot,
                      void (*take)(struct node *, const struct cluster_note *),
                      void (*saw)(struct node *, struct dot))
{
    unsigned start = atomic_load_explicit(&slot->note_start, memory_order_relaxed);
    unsigned end = atomic_load_explicit(&slot->note_end, memory_order_acquire);

    assert(end - start <= CLUSTER_NOTES);
    for (; start != end; start++)
        take(cluster->node, &slot->notes[start % CLUSTER_NOTES]);
    atomic_store_explicit(&slot->note_start, end, memory_order_release);
    for (unsigned i = 0; i < CLUSTER_DOTS; i++) {
        node_id node = atomic_load_explicit(&slot->dots[i].node, memory_order_acquire);
        if (node != NODE_NONE)
            saw(cluster->node,
                (struct dot){node, atomic_load_explicit(&slot->dots[i].hlc, memory_order_relaxed)});
    }
}

void cluster_read_notes(struct cluster *cluster,
                        void (*take)(struct node *, const struct cluster_note *),
                        void (*saw)(struct node *, struct dot))
{
    for (unsigned i = 0; i < cluster->worker_count; i++)
        read_slot(cluster, &cluster->slots[i], take, saw);
}

/* --- jobs --- */

static void append(struct cluster_job ***end, struct cluster_job *job)
{
    job->next = NULL;
    **end = job;
    *end = &job->next;
}

/* Lock held. */
static void hand_back(struct cluster *cluster, struct cluster_job *job)
{
    assert(job->worker < cluster->worker_count);
    append(&cluster->slots[job->worker].finished_end, job);
}

void cluster_ask(struct cluster *cluster, struct cluster_job *job)
{
    pthread_mutex_lock(&cluster->lock);
    bool is_closed = cluster->is_closed;
    if (is_closed)
        hand_back(cluster, job);
    else
        append(&cluster->asked_end, job);
    pthread_mutex_unlock(&cluster->lock);
    if (is_closed)
        wake(job->worker);
    else
        ev_async_send(cluster->loop, &cluster->wake);
}

void cluster_job_finish(struct cluster *cluster, struct cluster_job *job)
{
    unsigned worker = job->worker;

    pthread_mutex_lock(&cluster->lock);
    hand_back(cluster, job);
    pthread_mutex_unlock(&cluster->lock);
    wake(worker);
}

/* Takes the whole list. */
static struct cluster_job *take_all(struct cluster *cluster, struct cluster_job **list,
                                    struct cluster_job ***end)
{
    pthread_mutex_lock(&cluster->lock);
    struct cluster_job *first = *list;
    *list = NULL;
    *end = list;
    pthread_mutex_unlock(&cluster->lock);
    return first;
}

void cluster_run_jobs(struct cluster *cluster)
{
    struct cluster_job *next, *job = take_all(cluster, &cluster->asked, &cluster->asked_end);

    for (; job != NULL; job = next) {
        next = job->next;
        job->run(cluster->node, job);
    }
}

void cluster_run_done_jobs(struct cluster *cluster, unsigned worker)
{
    struct cluster_slot *slot = &cluster->slots[worker];
    struct cluster_job *next, *job = take_all(cluster, &slot->finished, &slot->finished_end);

    for (; job != NULL; job = next) {
        next = job->next;
        job->done(job);
    }
}

/* From now on jobs come back as they are. */
static void close_jobs(struct cluster *cluster)
{
    pthread_mutex_lock(&cluster->lock);
    cluster->is_closed = true;
    while (cluster->asked != NULL) {
        struct cluster_job *job = cluster->asked;
        cluster->asked = job->next;
        hand_back(cluster, job);
    }
    cluster->asked_end = &cluster->asked;
    pthread_mutex_unlock(&cluster->lock);
    wake_workers();
}

/* --- its life --- */

static void on_wake(struct ev_loop *loop, ev_async *wake, int events)
{
    struct cluster *cluster = wake->data;

    (void)loop, (void)events;
    cluster_run_jobs(cluster);
    if (atomic_load(&cluster->is_stopping))
        node_stop(cluster->node);
}

/* Without a table and without peers. */
static bool publish_nothing(struct cluster *cluster)
{
    struct cluster_published *nothing = calloc(1, sizeof *nothing);

    if (nothing == NULL)
        return false;
    atomic_store(&cluster->view, &nothing->view);
    return true;
}

static bool slots_init(struct cluster *cluster, unsigned count)
{
    cluster->slots = aligned_alloc(alignof(struct cluster_slot), count * sizeof *cluster->slots);
    if (cluster->slots == NULL)
        return false;
    memset(cluster->slots, 0, count * sizeof *cluster->slots);
    cluster->worker_count = count;
    for (unsigned i = 0; i < count; i++)
        cluster->slots[i].finished_end = &cluster->slots[i].finished;
    return true;
}

static unsigned highest(uint32_t copies)
{
    return 31 - (unsigned)__builtin_clz(copies);
}

struct cluster *cluster_new(struct store *store, unsigned workers)
{
    struct cluster *cluster = calloc(1, sizeof *cluster);

    assert(the_cluster == NULL);
    if (cluster == NULL)
        return NULL;
    cluster->store = store;
    cluster->copies = highest(policies_copies(NULL));
    cluster->asked_end = &cluster->asked;
    pthread_mutex_init(&cluster->lock, NULL);
    sem_init(&cluster->serves, 0, 0);
    cluster->loop = ev_loop_new(EVFLAG_NOENV | EVBACKEND_EPOLL);
    if (cluster->loop == NULL || !slots_init(cluster, workers) || !publish_nothing(cluster)) {
        cluster_free(cluster);
        return NULL;
    }
    ev_async_init(&cluster->wake, on_wake);
    cluster->wake.data = cluster;
    ev_async_start(cluster->loop, &cluster->wake);
    the_cluster = cluster;
    return cluster;
}

static bool load_secret(struct cluster *cluster)
{
    if (settings.secret_file == NULL)
        return true;
    if (!peer_secret_load(&cluster->secret, settings.secret_file))
        return false;
    cluster->has_secret = true;
    return derive_context_key(cluster);
}

static bool load_tls(struct cluster *cluster)
{
    if (settings.peer_tls.certificate == NULL)
        return true;
    cluster->tls = peer_tls_new(&settings.peer_tls);
    return cluster->tls != NULL;
}

/* Has the store keep a Merkle forest for each number of copies.  False: memory is short. */
static bool use_classes(struct cluster *cluster, uint32_t copies)
{
    for (unsigned i = 1; i <= RING_COPIES_MAX; i++)
        if ((copies >> i & 1) != 0 && !cell_store_use_class(cluster->store, i))
            return false;
    return true;
}

unsigned node_copies(void)
{
    return the_cluster->copies;
}

struct cluster *cluster_start(struct store *store)
{
    struct cluster *cluster = cluster_new(store, settings.threads);

    if (cluster == NULL) {
        log_error("out of memory for what a cluster's node needs");
        return NULL;
    }
    if (!use_classes(cluster, policies_copies(NULL))) {
        log_error("out of memory for what a cluster's node needs");
        goto fail;
    }
    if (!load_secret(cluster) || !load_tls(cluster))
        goto fail;
    cluster->node = node_new(cluster);
    if (cluster->node == NULL)
        goto fail;
    return cluster;

fail:
    cluster_free(cluster);
    return NULL;
}

static void *run(void *argument)
{
    struct cluster *cluster = argument;

    store_thread_init(cluster->store);
    node_start(cluster->node);
    ev_run(cluster->loop, 0);
    close_jobs(cluster);
    store_thread_deinit(cluster->store);
    return NULL;
}

bool cluster_run(struct cluster *cluster)
{
    if (!node_listen(cluster->node))
        return false;
    int error = pthread_create(&cluster->thread, NULL, run, cluster);
    if (error != 0) {
        log_error("cannot start the cluster thread: %s", log_error_text(error));
        return false;
    }
    pthread_setname_np(cluster->thread, "cluster");
    cluster->is_running = true;
    return true;
}

void cluster_wait_until_serving(struct cluster *cluster, unsigned ms_max)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms_max / 1000;
    until.tv_nsec += ms_max % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    while (sem_clockwait(&cluster->serves, CLOCK_MONOTONIC, &until) != 0 && errno == EINTR)
        ;
}

void cluster_stop(struct cluster *cluster)
{
    if (!cluster->is_running)
        return;
    atomic_store(&cluster->is_stopping, true);
    ev_async_send(cluster->loop, &cluster->wake);
    pthread_join(cluster->thread, NULL);
    cluster->is_running = false;
}

void cluster_free(struct cluster *cluster)
{
    const struct cluster_view *view = atomic_load(&cluster->view);

    assert(!cluster->is_running);
    cells_share_key(NULL);
    node_free(cluster->node);
    if (view != NULL)
        published_free(published_of(view));
    cluster_reclaim(cluster);
    assert(cluster->retired == NULL);
    if (cluster->loop != NULL)
        ev_loop_destroy(cluster->loop);
    sem_destroy(&cluster->serves);
    pthread_mutex_destroy(&cluster->lock);
    peer_tls_free(cluster->tls);
    explicit_bzero(&cluster->secret, sizeof cluster->secret);
    free(cluster->slots);
    free(cluster);
    the_cluster = NULL;
}
