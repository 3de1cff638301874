#include "server/connection_internal.h"
#include "server/address.h"
#include "server/clock.h"
#include "server/execute.h"
#include "server/listener.h"
#include "server/log.h"
#include "server/sasl.h"
#include "server/tls.h"
#include "server/udp.h"
#include "server/watch.h"
#include <stdlib.h>
#include <unistd.h>

/* 10,000 idle clients should not cost more than the items they ask for. */
static_assert(sizeof(struct connection) <= 320, "an idle connection is small");
static_assert(offsetof(struct connection, rest) <= 128, "a request touches two cache lines");

static_assert(offsetof(struct connection, io) == 0, "the watcher is the connection");

struct connection *connection_new(struct worker *worker, int fd, const struct listener *listener,
                                  const struct sockaddr *peer)
{
    struct connection *connection = aligned_alloc(alignof(struct connection), sizeof *connection);
    if (connection == NULL) {
        close(fd);
        return NULL;
    }
    memset(connection, 0, sizeof *connection);
    connection->worker = worker;
    connection->transport.fd = fd;
    connection->listener = listener;
    connection->transport_kind = (uint8_t)listener->transport;
    connection->protocol = (uint8_t)listener->protocol;
    connection->is_authenticated = !settings.sasl && settings.auth_file == NULL;
    if (peer != NULL && peer->sa_family == AF_INET)
        memcpy(&connection->peer, peer, sizeof connection->peer.in);
    if (peer != NULL && peer->sa_family == AF_INET6)
        memcpy(&connection->peer, peer, sizeof connection->peer.in6);
    return connection;
}

/* Not on the accepting thread: handshakes are the workers' to pay for. */
static bool begin_tls(struct connection *connection)
{
#ifdef WITH_TLS
    if (connection->listener->tls == LISTEN_TLS_OFF)
        return true;
    connection->transport.tls = tls_session_new(
        connection->transport.fd, connection->listener->tls, &connection->worker->counters);
    return connection->transport.tls != NULL;
#else
    assert(connection->listener->tls == LISTEN_TLS_OFF);
    return true;
#endif
}

void connection_start(struct connection *connection)
{
    struct worker *worker = connection->worker;
    bool is_udp = connection->transport_kind == TRANSPORT_UDP;

    ev_io_init(&connection->io, is_udp ? udp_on_readable : connection_on_event,
               connection->transport.fd, EV_READ);
    ev_io_start(worker->loop, &connection->io);
    atomic_store_explicit(&connection->last_command_ms, worker->now_ms, memory_order_relaxed);
    if (!is_udp && watch_wants(WATCH_CONNEVENTS))
        watch_connection_new(connection);
    if (!begin_tls(connection))
        connection_close(connection, CLOSE_ERROR);
}

void connection_end_production(struct connection *connection)
{
    struct production *production = connection->production;

    connection->production = NULL;
    production->release(production->state);
    free(production);
}

/* Lets go of all that a connection may be in the middle of. */
static void drop_work(struct connection *connection)
{
    if (connection->filling != NULL) {
        execute_store_abandon(connection->worker, connection->filling->item);
        filling_free(connection->filling);
    }
    if (connection->production != NULL)
        connection_end_production(connection);
    pending_abandon(connection);
    if (connection->stream != NULL) {
        stream_close(connection->stream);
        stream_unref(connection->stream);
    }
    if (connection->unsent != NULL) {
        output_deinit(connection->unsent);
        free(connection->unsent);
    }
    if (connection->sasl != NULL)
        sasl_session_free(connection->sasl);
    free(connection->rest);
    output_clear(&connection->worker->output);
}

void connection_close(struct connection *connection, enum connection_close_reason reason)
{
    struct worker *worker = connection->worker;
    bool is_udp = connection->transport_kind == TRANSPORT_UDP;

    if (!is_udp && watch_wants(WATCH_CONNEVENTS))
        watch_connection_closed(connection, reason);
    ev_io_stop(worker->loop, &connection->io);
    drop_work(connection);
    worker_remove(worker, connection);
    transport_close(&connection->transport);
    free(connection);
    if (!is_udp)
        listeners_on_connection_closed();
}

/* ---- for the executor ---- */

void connection_close_after_output(struct connection *connection)
{
    connection->is_closing = true;
}

void connection_close_in_error(struct connection *connection)
{
    connection->is_closing = true;
    connection->is_in_error = true;
}

bool connection_produce(struct connection *connection, connection_producer *producer, void *state,
                        void (*release)(void *state))
{
    assert(connection->production == NULL);
    struct production *production =
        connection->transport_kind == TRANSPORT_UDP ? NULL : malloc(sizeof *production);
    if (production == NULL) {
        release(state);
        return false;
    }
    *production = (struct production){ .producer = producer, .state = state, .release = release };
    connection->production = production;
    return true;
}

struct stream *connection_watch(struct connection *connection, size_t bytes_max)
{
    if (connection->transport_kind == TRANSPORT_UDP || connection->stream != NULL)
        return NULL;
    struct stream *stream = stream_new(connection->worker, bytes_max);
    if (stream == NULL)
        return NULL;
    connection->stream = stream;
    worker_add_watching(connection->worker, connection);
    stream_ref(stream);
    return stream;
}

struct worker *connection_worker(const struct connection *connection)
{
    return connection->worker;
}

int connection_fd(const struct connection *connection)
{
    return connection->transport.fd;
}

enum connection_transport connection_transport(const struct connection *connection)
{
    return connection->transport_kind;
}

bool connection_is_authenticated(const struct connection *connection)
{
    return connection->is_authenticated;
}

void connection_set_authenticated(struct connection *connection)
{
    connection->is_authenticated = true;
}

void connection_clear_authenticated(struct connection *connection)
{
    connection->is_authenticated = false;
}

struct sasl_session **connection_sasl(struct connection *connection)
{
    return &connection->sasl;
}

/* ---- for stats and logs ---- */

static const char *state_name(const struct connection *connection)
{
    enum connection_state state = atomic_load_explicit(&connection->state, memory_order_relaxed);

    switch (state) {
    case STATE_READING: return "conn_read";
    case STATE_EXECUTING: return "conn_parse_cmd";
    case STATE_FILLING: return "conn_nread";
    case STATE_WRITING: return "conn_mwrite";
    case STATE_WATCHING: return "conn_watch";
    case STATE_WAITING: return "conn_io_queue";
    case STATE_CLOSING: break;
    }
    return "conn_closing";
}

void connection_describe(const struct connection *connection,
                         struct connection_description *description)
{
    struct sockaddr_storage local = { 0 };
    socklen_t size = sizeof local;
    uint64_t last_ms = atomic_load_explicit(&connection->last_command_ms, memory_order_relaxed);
    uint64_t now_ms = clock_now_ms();
    bool is_udp = connection->transport_kind == TRANSPORT_UDP;

    *description = (struct connection_description){
        .fd = connection->transport.fd,
        .is_udp = is_udp,
        .state = state_name(connection),
        .seconds_since_last_command = now_ms > last_ms ? (now_ms - last_ms) / 1000 : 0,
    };
    (void)getsockname(connection->transport.fd, (struct sockaddr *)&local, &size);
    if (is_udp) {
        address_describe(TRANSPORT_UDP, (struct sockaddr *)&local, description->address);
        return;
    }
    /* A Unix client has no name of its own: it shows the one it connected to. */
    const struct sockaddr *peer = connection->transport_kind == TRANSPORT_UNIX
                                      ? (const struct sockaddr *)&local
                                      : (const struct sockaddr *)&connection->peer;
    address_describe(connection->transport_kind, peer, description->address);
    address_describe(connection->transport_kind, (struct sockaddr *)&local,
                     description->listen_address);
}

void connection_peer(const struct connection *connection, char address[CONNECTION_ADDRESS_BYTES],
                     unsigned *port)
{
    *port = address_split((const struct sockaddr *)&connection->peer, address);
}
