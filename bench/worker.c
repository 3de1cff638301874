#include "bench/worker.h"

#include "bench/exchange.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    RECEIVE_BYTES = 256 << 10,
    EVENTS_MAX = 128,
    PRELOAD_BATCH_BYTES = 32 << 10, /* of values under way on a connection while preloading */
    PRELOAD_BATCH_MAX = 32,
    WAIT_MAX_NS = 500 * 1000 * 1000, /* look at the time limits at least this often */
};

struct connection {
    int fd;          /* -1 once it broke */
    uint64_t due;    /* open loop: requests whose time has come */
    uint64_t asked;  /* open loop: requests sent, so that the next is number `asked` */
    unsigned number; /* within the worker */
    struct outbox unsent;
    size_t unsent_at; /* bytes of it that are sent */
    struct exchange exchange;
};

struct worker {
    const struct options *options;
    const struct phase *phase;
    unsigned lane;
    unsigned connections_count;
    struct connection *connections;
    int epoll_fd;
    unsigned depth;     /* requests under way on a connection, this phase */
    uint64_t unasked;   /* requests left in this phase, if it counts them */
    uint64_t end_ns;    /* of asking, if the phase has a duration */
    double interval_ns; /* open loop: between requests of this worker */
    uint64_t offered;   /* open loop: requests whose time has come */
    uint64_t offers;    /* open loop: requests of this phase, all in all */
    uint64_t under_way; /* on all connections */
    uint64_t preloaded; /* keys this worker set while preloading */
    struct rng rng;     /* chooses operations */
    struct popularity_cursor cursor;
    struct tally *tally;
    struct outbox outbox; /* builds what is sent next */
    unsigned char *received;
};

uint64_t clock_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static bool is_open_loop(const struct worker *worker)
{
    return worker->interval_ns > 0;
}

/* Tells epoll what to wait for; EPOLLOUT only while bytes could not be sent. */
static void watch(struct worker *worker, struct connection *connection, int how, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};
    const int failed = epoll_ctl(worker->epoll_fd, how, connection->fd, &event);
    assert(failed == 0);
}

/* The connection is of no further use; what was under way on it stays unanswered. */
static void connection_break(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    if (exchange->used > 0)
        tally_fail(worker->tally, FAILURE_UNANSWERED, exchange->used, SLICE("a lost request"));
    worker->under_way -= exchange->used;
    exchange->used = 0;
    exchange->fills_used = 0;
    close(connection->fd);
    connection->fd = -1;
}

static void connection_broke(struct worker *worker, struct connection *connection,
                             const char *doing, int error)
{
    char words[120];
    const int size = snprintf(words, sizeof words, "connection broke while %s: %s", doing,
                              error == 0 ? "closed by the server" : strerror(error));
    tally_fail(worker->tally, FAILURE_BROKEN, 1,
               (struct slice){(const unsigned char *)words, (size_t)size});
    connection_break(worker, connection);
}

/* Whether the mix still has something to ask at `now_ns`. */
static bool may_ask(const struct worker *worker, const struct connection *connection,
                    uint64_t now_ns)
{
    if (is_open_loop(worker))
        return connection->asked < connection->due;
    if (worker->phase->requests > 0 || worker->phase->is_preload)
        return worker->unasked > 0;
    return now_ns < worker->end_ns;
}

static enum operation draw_operation(struct worker *worker)
{
    const double *mix = worker->options->mix;
    if (mix[OPERATION_GET] >= 1)
        return OPERATION_GET;
    const double unit = rng_unit(&worker->rng);
    unsigned operation = 0;
    while (operation + 1 < OPERATIONS && unit >= mix[operation])
        operation++;
    return (enum operation)operation;
}

/* Open loop: when request `number` of this worker is due. All of a burst are due at once. */
static uint64_t due_time(const struct worker *worker, uint64_t number)
{
    const uint64_t first = number - number % worker->options->burst;
    return worker->phase->start_ns + (uint64_t)((double)first * worker->interval_ns);
}

/* Open loop: the number of the next request of this connection. Connections take turns, a whole
 * burst each. */
static uint64_t next_number(const struct worker *worker, const struct connection *connection)
{
    const uint64_t burst = worker->options->burst;
    const uint64_t bursts_before =
        connection->asked / burst * worker->connections_count + connection->number;
    return bursts_before * burst + connection->asked % burst;
}

/* Sets the next key, which no other worker sets. Counters follow the values if the mix needs
 * them. */
static bool ask_preload(struct worker *worker, struct slot *slot, uint64_t *keys)
{
    const struct options *options = worker->options;
    const uint64_t number = worker->preloaded++ * options->threads + worker->lane;
    const bool is_counter = number >= options->keys;
    slot->operation = OPERATION_SET;
    slot->keys = 1;
    keys[0] = options->first_key + number % options->keys;
    if (is_counter)
        return request_append_counter(&worker->outbox, options->wire, &options->keyspace, keys[0]);
    return request_append(&worker->outbox, options->wire, OPERATION_SET, &options->keyspace, keys,
                          1);
}

static bool ask_mix(struct worker *worker, struct slot *slot, uint64_t *keys)
{
    const struct options *options = worker->options;
    slot->operation = draw_operation(worker);
    slot->keys = slot->operation == OPERATION_GET ? (unsigned)options->multiget : 1;
    for (unsigned i = 0; i < slot->keys; i++) {
        uint64_t number = popularity_next(&options->popularity, &worker->cursor);
        if (slot->operation == OPERATION_INCR)
            number %= options->keys;
        keys[i] = options->first_key + number;
    }
    return request_append(&worker->outbox, options->wire, slot->operation, &options->keyspace, keys,
                          slot->keys);
}

/* Adds one request to the outbox: a set for an earlier miss if one waits, else the next of the
 * phase. False if there is nothing to ask, or no memory to ask it (which it said). */
static bool ask_one(struct worker *worker, struct connection *connection, uint64_t now_ns)
{
    const struct options *options = worker->options;
    struct exchange *exchange = &connection->exchange;
    const bool is_fill = exchange->fills_used > 0;
    if (!is_fill && !may_ask(worker, connection, now_ns))
        return false;

    uint64_t *keys;
    struct slot *slot = exchange_push(exchange, &keys);
    worker->under_way++;
    slot->due_ns = now_ns;
    if (is_fill) {
        slot->operation = OPERATION_SET;
        slot->is_fill = true;
        slot->keys = 1;
        exchange_pop_fill(exchange, &keys[0]);
        return request_append(&worker->outbox, options->wire, OPERATION_SET, &options->keyspace,
                              keys, 1);
    }
    if (is_open_loop(worker)) {
        slot->due_ns = due_time(worker, next_number(worker, connection));
        connection->asked++;
    }
    if (worker->unasked > 0)
        worker->unasked--;
    return worker->phase->is_preload ? ask_preload(worker, slot, keys)
                                     : ask_mix(worker, slot, keys);
}

/* Sends the outbox; what the socket does not take waits in `unsent`. */
static void connection_send(struct worker *worker, struct connection *connection)
{
    struct outbox *outbox = &worker->outbox;
    assert(connection->unsent.used == 0);
    ssize_t sent = send(connection->fd, outbox->bytes, outbox->used, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        connection_broke(worker, connection, "sending", errno);
        return;
    }
    if (sent < 0)
        sent = 0;
    worker->tally->sent_bytes += outbox->used;
    const size_t rest = outbox->used - (size_t)sent;
    if (rest == 0)
        return;
    if (!outbox_reserve(&connection->unsent, rest)) {
        connection_broke(worker, connection, "sending", ENOMEM);
        return;
    }
    memcpy(connection->unsent.bytes, outbox->bytes + sent, rest);
    connection->unsent.used = rest;
    connection->unsent_at = 0;
    watch(worker, connection, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
}

/* Asks as much as the pipeline has room for. */
static void connection_ask(struct worker *worker, struct connection *connection, uint64_t now_ns)
{
    const struct exchange *exchange = &connection->exchange;
    const bool waits_for_batch = !is_open_loop(worker) && !worker->options->is_refilled;
    if (connection->fd < 0 || connection->unsent.used > 0)
        return;
    if (waits_for_batch && exchange->used > 0)
        return;
    worker->outbox.used = 0;
    while (exchange->used < worker->depth && ask_one(worker, connection, now_ns)) {
    }
    if (worker->outbox.used > 0)
        connection_send(worker, connection);
}

static void on_writable(struct worker *worker, struct connection *connection)
{
    struct outbox *unsent = &connection->unsent;
    const ssize_t sent = send(connection->fd, unsent->bytes + connection->unsent_at,
                              unsent->used - connection->unsent_at, MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN)
        return;
    if (sent < 0) {
        connection_broke(worker, connection, "sending", errno);
        return;
    }
    connection->unsent_at += (size_t)sent;
    if (connection->unsent_at < unsent->used)
        return;
    unsent->used = 0;
    watch(worker, connection, EPOLL_CTL_MOD, EPOLLIN);
}

static void on_readable(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    const ssize_t size = recv(connection->fd, worker->received, RECEIVE_BYTES, 0);
    if (size < 0 && errno == EAGAIN)
        return;
    if (size <= 0) {
        connection_broke(worker, connection, "receiving", size < 0 ? errno : 0);
        return;
    }
    const unsigned before = exchange->used;
    const struct slice input = {worker->received, (size_t)size};
    const bool is_sound = exchange_receive(exchange, input, clock_now_ns());
    assert(exchange->used <= before);
    worker->under_way -= before - exchange->used;
    if (!is_sound)
        connection_break(worker, connection);
}

static void on_event(struct worker *worker, const struct epoll_event *event)
{
    struct connection *connection = event->data.ptr;
    if (connection->fd >= 0 && (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
        on_readable(worker, connection);
    if (connection->fd >= 0 && (event->events & EPOLLOUT) != 0 && connection->unsent.used > 0)
        on_writable(worker, connection);
    if (connection->fd >= 0)
        connection_ask(worker, connection, clock_now_ns());
}

/* Open loop: gives every request whose time has come to its connection. */
static void offer_due(struct worker *worker, uint64_t now_ns)
{
    const uint64_t burst = worker->options->burst;
    while (worker->offered < worker->offers && due_time(worker, worker->offered) <= now_ns) {
        const uint64_t turn = worker->offered / burst % worker->connections_count;
        const uint64_t left = worker->offers - worker->offered;
        const uint64_t count = left < burst ? left : burst;
        struct connection *connection = &worker->connections[turn];
        worker->offered += count;
        connection->due += count;
        connection_ask(worker, connection, now_ns);
    }
}

static int wait_for_events(struct worker *worker, struct epoll_event *events)
{
    uint64_t wait_ns = WAIT_MAX_NS;
    if (worker->offered < worker->offers) {
        const uint64_t now_ns = clock_now_ns();
        const uint64_t next_ns = due_time(worker, worker->offered);
        const uint64_t until_ns = next_ns > now_ns ? next_ns - now_ns : 0;
        wait_ns = until_ns < wait_ns ? until_ns : wait_ns;
    }
    const struct timespec wait = {.tv_nsec = (long)wait_ns};
    const int count = epoll_pwait2(worker->epoll_fd, events, EVENTS_MAX, &wait, NULL);
    assert(count >= 0 || errno == EINTR);
    return count < 0 ? 0 : count;
}

/* True if nothing came back for so long that nothing will. Everything under way is given up. */
static bool has_timed_out(struct worker *worker, uint64_t last_reply_ns)
{
    const double silent_s = (double)(clock_now_ns() - last_reply_ns) * 1e-9;
    if (worker->under_way == 0 || silent_s < worker->options->timeout_s)
        return false;
    tally_fail(worker->tally, FAILURE_UNANSWERED, worker->under_way,
               SLICE("no reply within the timeout"));
    for (unsigned i = 0; i < worker->connections_count; i++) {
        struct connection *connection = &worker->connections[i];
        worker->under_way -= connection->exchange.used;
        connection->exchange.used = 0;
        if (connection->fd >= 0)
            close(connection->fd);
        connection->fd = -1;
    }
    return true;
}

/* The part of `all` that falls to this worker. */
static uint64_t share_of(const struct worker *worker, uint64_t all)
{
    const uint64_t threads = worker->options->threads;
    return all / threads + (worker->lane < all % threads);
}

/* Sets as many values at once as the server surely takes while it answers. */
static unsigned preload_depth(const struct options *options)
{
    const uint64_t fitting = PRELOAD_BATCH_BYTES / (options->keyspace.sizes.high + 1);
    if (fitting < 1)
        return 1;
    return fitting > PRELOAD_BATCH_MAX ? PRELOAD_BATCH_MAX : (unsigned)fitting;
}

static void start_phase(struct worker *worker, const struct phase *phase)
{
    const struct options *options = worker->options;
    const bool needs_counters = options->mix[OPERATION_INCR] > options->mix[OPERATION_DELETE];
    memset(worker->tally, 0, sizeof *worker->tally);
    worker->phase = phase;
    worker->depth = phase->is_preload ? preload_depth(options) : (unsigned)options->pipeline;
    worker->unasked = share_of(worker, phase->requests);
    if (phase->is_preload)
        worker->unasked = share_of(worker, options->keys * (needs_counters ? 2 : 1));
    worker->end_ns = phase->start_ns + phase->duration_ns;
    worker->interval_ns = 0;
    worker->offered = 0;
    worker->offers = 0;
    if (options->rate > 0 && !phase->is_preload) {
        worker->interval_ns = 1e9 * (double)options->threads / options->rate;
        worker->offers = phase->requests > 0
                             ? worker->unasked
                             : (uint64_t)((double)phase->duration_ns / worker->interval_ns);
    }
    for (unsigned i = 0; i < worker->connections_count; i++) {
        struct connection *connection = &worker->connections[i];
        assert(connection->exchange.used == 0);
        connection->due = 0;
        connection->asked = 0;
        connection->exchange.tally = worker->tally;
        if (!is_open_loop(worker))
            connection_ask(worker, connection, clock_now_ns());
    }
}

const struct tally *worker_run(struct worker *worker, const struct phase *phase)
{
    struct epoll_event events[EVENTS_MAX];
    prctl(PR_SET_TIMERSLACK, 1UL); /* open loop: wake up when asked to */
    start_phase(worker, phase);
    uint64_t active_ns = clock_now_ns();
    while (worker->under_way > 0 || worker->offered < worker->offers) {
        if (is_open_loop(worker))
            offer_due(worker, clock_now_ns());
        const int count = wait_for_events(worker, events);
        for (int i = 0; i < count; i++)
            on_event(worker, &events[i]);
        if (count > 0)
            active_ns = clock_now_ns();
        else if (has_timed_out(worker, active_ns))
            break;
    }
    assert(worker->under_way == 0);
    return worker->tally;
}

static bool connection_open(struct worker *worker, unsigned number)
{
    const struct options *options = worker->options;
    struct connection *connection = &worker->connections[number];
    const unsigned depth = (unsigned)options->pipeline > PRELOAD_BATCH_MAX
                               ? (unsigned)options->pipeline
                               : PRELOAD_BATCH_MAX;
    if (!exchange_init(&connection->exchange, options->wire, &options->keyspace, depth,
                       (unsigned)options->multiget)) {
        fprintf(stderr, "ringbench: no memory for a connection\n");
        return false;
    }
    connection->exchange.verifies = options->verifies;
    connection->exchange.is_cache_aside = options->is_cache_aside;
    connection->number = number;
    connection->fd = address_connect(
        &options->servers[(worker->lane + number * options->threads) % options->server_count]);
    if (connection->fd < 0)
        return false;
    watch(worker, connection, EPOLL_CTL_ADD, EPOLLIN);
    return true;
}

struct worker *worker_new(const struct options *options, unsigned lane)
{
    struct worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL)
        return NULL;
    worker->options = options;
    worker->lane = lane;
    worker->connections_count = (unsigned)share_of(worker, options->connections);
    worker->rng.state = rng_mix(options->seed * 7919 + lane);
    popularity_cursor_init(&worker->cursor, options->seed, lane, options->threads);
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    worker->connections = calloc(worker->connections_count, sizeof *worker->connections);
    worker->tally = calloc(1, sizeof *worker->tally);
    worker->received = malloc(RECEIVE_BYTES);
    if (worker->epoll_fd < 0 || worker->connections == NULL || worker->tally == NULL ||
        worker->received == NULL) {
        fprintf(stderr, "ringbench: no memory for a thread\n");
        goto fail;
    }
    for (unsigned i = 0; i < worker->connections_count; i++)
        worker->connections[i].fd = -1;
    for (unsigned i = 0; i < worker->connections_count; i++)
        if (!connection_open(worker, i))
            goto fail;
    return worker;

fail:
    worker_free(worker);
    return NULL;
}

void worker_free(struct worker *worker)
{
    for (unsigned i = 0; worker->connections != NULL && i < worker->connections_count; i++) {
        struct connection *connection = &worker->connections[i];
        if (connection->fd >= 0)
            close(connection->fd);
        exchange_deinit(&connection->exchange);
        outbox_deinit(&connection->unsent);
    }
    if (worker->epoll_fd >= 0)
        close(worker->epoll_fd);
    free(worker->connections);
    free(worker->tally);
    free(worker->received);
    outbox_deinit(&worker->outbox);
    free(worker);
}
