#include "server/worker.h"
#include "server/clock.h"
#include "server/cluster.h"
#include "server/connection_internal.h"
#include "server/hot_keys.h"
#include "server/log.h"
#include "server/request.h"
#include "server/store.h"
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdalign.h>
#include <stdlib.h>

/* How long a client may take for its TLS handshake (/ --time-scale). */
#define HANDSHAKE_SECONDS_MAX 30.0

/* How long a stopping worker waits for slow readers. */
#define STOP_SECONDS_MAX 1.0

static struct worker *all_workers;
static unsigned worker_count;

/* ---- lists of connections ---- */

void worker_add_runnable(struct worker *worker, struct connection *connection)
{
    connection->next_runnable = NULL;
    *worker->runnable_end = connection;
    worker->runnable_end = &connection->next_runnable;
    worker->runnable_count++;
    connection->is_runnable = true;
    ev_prepare_start(worker->loop, &worker->before_wait);
    ev_idle_start(worker->loop, &worker->keep_going);
}

static void remove_runnable(struct worker *worker, struct connection *connection)
{
    struct connection **link = &worker->runnable;
    while (*link != connection)
        link = &(*link)->next_runnable;
    *link = connection->next_runnable;
    if (*link == NULL)
        worker->runnable_end = link;
    connection->is_runnable = false;
    worker->runnable_count--;
}

void worker_add_watching(struct worker *worker, struct connection *connection)
{
    connection->next_watching = worker->watching;
    worker->watching = connection;
}

static void remove_watching(struct worker *worker, struct connection *connection)
{
    struct connection **link = &worker->watching;
    while (*link != connection)
        link = &(*link)->next_watching;
    *link = connection->next_watching;
}

/* Its input goes unread, as it does when it is closed with some in its socket. */
static void forget_arrival(struct worker *worker, const struct connection *connection)
{
    for (unsigned i = 0; i < worker->arrival_count; i++)
        if (worker->arrivals[i].connection == connection)
            worker->arrivals[i].connection = NULL;
}

void worker_remove(struct worker *worker, struct connection *connection)
{
    if (connection->is_runnable)
        remove_runnable(worker, connection);
    if (connection->stream != NULL)
        remove_watching(worker, connection);
    if (connection->has_arrived)
        forget_arrival(worker, connection);

    pthread_mutex_lock(&worker->lock);
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    if (connection->previous != NULL)
        connection->previous->next = connection->next;
    else
        worker->connections = connection->next;
    pthread_mutex_unlock(&worker->lock);
    if (connection->transport_kind != TRANSPORT_UDP)
        atomic_fetch_sub(&worker->connection_count, 1);
}

void worker_wake(struct worker *worker)
{
    ev_async_send(worker->loop, &worker->wake);
}

void worker_hand_over(struct worker *worker, struct connection *connection)
{
    if (connection->transport_kind != TRANSPORT_UDP)
        atomic_fetch_add(&worker->connection_count, 1);
    pthread_mutex_lock(&worker->lock);
    connection->next = worker->handed_over;
    worker->handed_over = connection;
    pthread_mutex_unlock(&worker->lock);
    worker_wake(worker);
}

/* Moves the next handed over connection to the list; NULL when there is none. */
static struct connection *take_up(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    struct connection *connection = worker->handed_over;
    if (connection != NULL) {
        worker->handed_over = connection->next;
        connection->previous = NULL;
        connection->next = worker->connections;
        if (connection->next != NULL)
            connection->next->previous = connection;
        worker->connections = connection;
    }
    pthread_mutex_unlock(&worker->lock);
    return connection;
}

/* ---- the loop ---- */

static void on_wake(struct ev_loop *loop, ev_async *wake, int events)
{
    struct worker *worker = wake->data;
    struct connection *connection;

    (void)events;
    while ((connection = take_up(worker)) != NULL)
        connection_start(connection);
    for (connection = worker->watching; connection != NULL;) {
        struct connection *next = connection->next_watching;
        connection_send_stream(connection);
        connection = next;
    }
    if (worker->requests != NULL)
        cluster_run_done_jobs(cluster_get(), worker->number);
    if (atomic_load(&worker->is_stopping))
        ev_break(loop, EVBREAK_ALL);
}

/* After the events of this turn, the connections that need none: each once, although they may
 * become runnable again at once. */
static void serve_runnable(struct ev_loop *loop, ev_prepare *prepare, int events)
{
    struct worker *worker = prepare->data;

    (void)events;
    for (unsigned turns = worker->runnable_count; turns > 0; turns--) {
        struct connection *connection = worker->runnable;
        remove_runnable(worker, connection);
        connection_run(connection);
    }
    if (worker->runnable == NULL) {
        ev_idle_stop(loop, &worker->keep_going);
        ev_prepare_stop(loop, &worker->before_wait);
    }
}

/* The last of each turn of the loop. */
static void serve_arrivals(struct ev_loop *loop, ev_check *check, int events)
{
    (void)loop;
    (void)events;
    connections_serve_arrivals(check->data);
}

/* Called between the end of a wait and the first of its events. */
static void refresh_now(struct ev_loop *loop)
{
    struct worker *worker = ev_userdata(loop);

    worker->now_ms = clock_now_ms();
}

/* The first of each turn of a cluster's node. */
static void begin_turn(struct ev_loop *loop, ev_check *check, int events)
{
    struct worker *worker = check->data;

    (void)loop;
    (void)events;
    requests_begin_turn(worker->requests);
}

/* What came from other nodes in this turn leaves, before what their links have to send. */
static void send_answers(struct ev_loop *loop, ev_prepare *prepare, int events)
{
    struct worker *worker = prepare->data;
    struct connection *connection;

    (void)loop;
    (void)events;
    while ((connection = pendings_take_listed(worker->pendings)) != NULL)
        connection_send_answers(connection);
}

/* The last before a wait, behind all that is prepared. */
static void end_turn(struct ev_loop *loop)
{
    struct worker *worker = ev_userdata(loop);

    if (worker->requests == NULL)
        return;
    if (pendings_have_listed(worker->pendings)) /* by one of those who run before a wait */
        worker_wake(worker);
    requests_end_turn(worker->requests);
}

static void keep_going(struct ev_loop *loop, ev_idle *idle, int events)
{
    (void)loop;
    (void)idle;
    (void)events;
}

/* Whether the client has said nothing for as long as -o idle_timeout allows. */
static bool is_idle(const struct connection *connection, uint64_t silent_ms)
{
    return settings.idle_timeout_s > 0 && silent_ms >= (uint64_t)settings.idle_timeout_s * 1000 &&
           connection->stream == NULL && connection->pending == NULL;
}

static bool hangs_in_handshake(const struct connection *connection, uint64_t silent_ms)
{
    return transport_is_in_handshake(&connection->transport) &&
           (double)silent_ms * settings.time_scale >= HANDSHAKE_SECONDS_MAX * 1000;
}

static void close_idle(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct worker *worker = timer->data;
    struct connection *next;

    (void)loop;
    (void)events;
    for (struct connection *connection = worker->connections; connection != NULL;
         connection = next) {
        const uint64_t last_ms = connection->last_command_ms;
        const uint64_t silent_ms = worker->now_ms > last_ms ? worker->now_ms - last_ms : 0;

        next = connection->next;
        if (connection->transport_kind == TRANSPORT_UDP)
            continue;
        if (is_idle(connection, silent_ms))
            counter_add(&worker->counters.idle_kicks, 1);
        else if (hangs_in_handshake(connection, silent_ms))
            counter_add(&worker->counters.ssl_handshake_errors, 1);
        else
            continue;
        connection_close(connection, CLOSE_IDLE);
    }
}

/* How often to look for idle connections; 0: never. */
static double idle_check_interval_s(void)
{
    const double handshake_s = HANDSHAKE_SECONDS_MAX / settings.time_scale;
    double shortest_s = settings.idle_timeout_s;

    if (settings.tls.enabled && (shortest_s == 0 || shortest_s > handshake_s))
        shortest_s = handshake_s;
    if (shortest_s > 60)
        return shortest_s / 60;
    return shortest_s > 2 ? 1 : shortest_s / 2;
}

/* ---- life ---- */

/* The last thing a worker does: what has arrived is answered, what can be sent within a second is
 * sent, then all is closed. */
static void finish(struct worker *worker)
{
    struct connection *connection, *next;

    assert(worker->arrival_count == 0);
    while ((connection = take_up(worker)) != NULL)
        connection_start(connection);
    worker->is_ending = true;
    ev_timer_stop(worker->loop, &worker->idle_check);
    for (connection = worker->connections; connection != NULL; connection = next) {
        next = connection->next;
        connection_finish(connection);
    }
    ev_now_update(worker->loop);
    ev_tstamp deadline = ev_now(worker->loop) + STOP_SECONDS_MAX;
    while (worker->connections != NULL && ev_now(worker->loop) < deadline) {
        ev_timer_set(&worker->idle_check, STOP_SECONDS_MAX / 4, 0.0);
        ev_timer_start(worker->loop, &worker->idle_check);
        ev_run(worker->loop, EVRUN_ONCE);
        ev_timer_stop(worker->loop, &worker->idle_check);
    }
    while (worker->connections != NULL)
        connection_close(worker->connections, CLOSE_SHUTDOWN);
}

/* Nobody cancels a worker.  Told so, the C library leaves out two atomic operations around each
 * system call that may wait, which otherwise are a hundred instructions of each request. */
static void refuse_cancellation(void)
{
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
}

static void *run(void *argument)
{
    struct worker *worker = argument;

    refuse_cancellation();
    store_thread_init(worker->store);
    worker->now_ms = clock_now_ms();
    ev_run(worker->loop, 0);
    finish(worker);
    store_thread_deinit(worker->store);
    return NULL;
}

static void set_watchers(struct worker *worker)
{
    struct ev_loop *loop = worker->loop;
    double interval_s = idle_check_interval_s();

    worker->wake.data = worker;
    worker->before_wait.data = worker;
    worker->idle_check.data = worker;
    worker->after_events.data = worker;
    ev_async_init(&worker->wake, on_wake);
    ev_async_start(loop, &worker->wake);
    ev_prepare_init(&worker->before_wait, serve_runnable);
    ev_check_init(&worker->after_events, serve_arrivals);
    ev_set_priority(&worker->after_events, EV_MINPRI);
    ev_check_start(loop, &worker->after_events);
    ev_set_userdata(loop, worker);
    ev_set_loop_release_cb(loop, end_turn, refresh_now);
    ev_idle_init(&worker->keep_going, keep_going);
    ev_timer_init(&worker->idle_check, close_idle, interval_s, interval_s);
    if (interval_s > 0)
        ev_timer_start(loop, &worker->idle_check);
}

/* For the worker of a cluster's node. */
static bool add_requests(struct worker *worker)
{
    worker->pendings = pendings_new(worker);
    worker->requests = requests_new(worker, cluster_get());
    if (worker->pendings == NULL || worker->requests == NULL) {
        log_error("worker %u: no memory for requests", worker->number);
        return false;
    }
    worker->before_events.data = worker;
    ev_check_init(&worker->before_events, begin_turn);
    ev_set_priority(&worker->before_events, EV_MAXPRI);
    ev_check_start(worker->loop, &worker->before_events);
    worker->send_answers.data = worker;
    ev_prepare_init(&worker->send_answers, send_answers);
    ev_set_priority(&worker->send_answers, EV_MAXPRI);
    ev_prepare_start(worker->loop, &worker->send_answers);
    return true;
}

static void worker_deinit(struct worker *worker)
{
    if (worker->requests != NULL)
        requests_free(worker->requests);
    if (worker->pendings != NULL)
        pendings_free(worker->pendings);
    if (worker->loop != NULL)
        ev_loop_destroy(worker->loop);
    output_deinit(&worker->output);
    hot_keys_free(worker->hot_keys);
    free(worker->context_storage);
    free(worker->key_storage);
    free(worker->batch);
    free(worker->arrived);
    free(worker->input);
    pthread_mutex_destroy(&worker->lock);
}

/* Everything but the thread.  What was had is freed by worker_deinit() in either case. */
static bool worker_init(struct worker *worker, struct store *store, unsigned number)
{
    *worker = (struct worker){.number = number, .store = store};
    worker->requests_per_turn =
        settings.requests_per_event_given ? settings.requests_per_event : UINT_MAX;
    worker->runnable_end = &worker->runnable;
    assert(worker->requests_per_turn > 0);
    pthread_mutex_init(&worker->lock, NULL);
    worker->input = malloc(WORKER_INPUT_BYTES);
    worker->arrived = malloc(WORKER_INPUT_BYTES);
    worker->batch = calloc(WORKER_BATCH_MAX, sizeof *worker->batch);
    worker->key_storage = malloc((size_t)WORKER_BATCH_MAX * KEY_BYTES_MAX);
    worker->context_storage = malloc((size_t)WORKER_BATCH_MAX * CONTEXT_BYTES_MAX);
    worker->hot_keys = hot_keys_new(number);
    bool has_output = output_init(&worker->output, store, OUTPUT_RESERVE_BYTES_MAX);
    worker->loop = ev_loop_new(EVFLAG_NOENV | EVBACKEND_EPOLL);
    if (worker->input == NULL || worker->arrived == NULL || worker->batch == NULL ||
        worker->key_storage == NULL || worker->context_storage == NULL ||
        worker->hot_keys == NULL || !has_output || worker->loop == NULL) {
        log_error("worker %u: no memory or no epoll descriptor: %s", number, log_error_text(errno));
        return false;
    }
    for (size_t i = 0; i < WORKER_BATCH_MAX; i++) {
        worker->batch[i].key_storage = worker->key_storage + i * KEY_BYTES_MAX;
        worker->batch[i].context_storage = worker->context_storage + i * CONTEXT_BYTES_MAX;
    }
    worker->until_sample = hot_keys_next_distance(worker->hot_keys);
    set_watchers(worker);
    return cluster_get() == NULL || add_requests(worker);
}

static bool worker_start(struct worker *worker, struct store *store, unsigned number)
{
    if (!worker_init(worker, store, number))
        return false;
    int error = pthread_create(&worker->thread, NULL, run, worker);
    if (error == 0)
        return true;
    log_error("worker %u: cannot start its thread: %s", number, log_error_text(error));
    return false;
}

bool workers_start(struct store *store, unsigned count)
{
    assert(all_workers == NULL);
    assert(count > 0);
    all_workers = aligned_alloc(alignof(struct worker), count * sizeof *all_workers);
    if (all_workers == NULL) {
        log_error("no memory for %u workers", count);
        return false;
    }
    for (worker_count = 0; worker_count < count; worker_count++) {
        if (!worker_start(&all_workers[worker_count], store, worker_count)) {
            worker_deinit(&all_workers[worker_count]);
            workers_stop();
            return false;
        }
    }
    return true;
}

void workers_stop(void)
{
    for (unsigned i = 0; i < worker_count; i++) {
        atomic_store(&all_workers[i].is_stopping, true);
        worker_wake(&all_workers[i]);
    }
    for (unsigned i = 0; i < worker_count; i++) {
        pthread_join(all_workers[i].thread, NULL);
        worker_deinit(&all_workers[i]);
    }
    free(all_workers);
    all_workers = NULL;
    worker_count = 0;
}

unsigned workers_count(void)
{
    return worker_count;
}

struct worker *workers_get(unsigned number)
{
    assert(number < worker_count);
    return &all_workers[number];
}

unsigned workers_connection_count(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < worker_count; i++)
        count += atomic_load_explicit(&all_workers[i].connection_count, memory_order_relaxed);
    return count;
}

struct worker *workers_least_busy(void)
{
    static unsigned turn;
    struct worker *best = NULL;
    unsigned fewest = UINT_MAX;

    assert(worker_count > 0);
    turn++;
    for (unsigned i = 0; i < worker_count; i++) {
        struct worker *worker = &all_workers[(turn + i) % worker_count];
        unsigned count = atomic_load_explicit(&worker->connection_count, memory_order_relaxed);
        if (count < fewest) {
            fewest = count;
            best = worker;
        }
    }
    return best;
}

void workers_visit_connections(void (*visit)(void *context, const struct connection_description *),
                               void *context)
{
    for (unsigned i = 0; i < worker_count; i++) {
        struct worker *worker = &all_workers[i];
        pthread_mutex_lock(&worker->lock);
        for (struct connection *connection = worker->connections; connection != NULL;
             connection = connection->next) {
            struct connection_description description;
            connection_describe(connection, &description);
            visit(context, &description);
        }
        pthread_mutex_unlock(&worker->lock);
    }
}
