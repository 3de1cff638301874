/* One client connection: a state machine between a socket and the executor.
 *
 *     READING --whole operations--> (executed at once) --> READING
 *        |  long value announced        ^                     | socket full
 *        +--> FILLING an item ----------+                     v
 *        |  refused value           SWALLOWING (in the parser)  WRITING, reads nothing meanwhile
 *        +--> PRODUCING: a long answer made piece by piece as the socket takes it
 *        +--> WATCHING: sends what is appended to its stream (server/stream.h)
 *        +--> WAITING: other nodes have to answer first (server/pending.h)
 *        +--> CLOSING: sends what is left, then closes
 *
 * Threads: owned by its worker, but for connection_new() and connection_describe(). */
#ifndef SERVER_CONNECTION_H
#define SERVER_CONNECTION_H

#include "protocol/parser.h"
#include "server/output.h"
#include "server/settings.h"
#include <ev.h>
#include <sys/socket.h>

struct connection;
struct listener;
struct sasl_session;
struct stream;
struct worker;

enum connection_transport { TRANSPORT_TCP, TRANSPORT_UNIX, TRANSPORT_UDP };

enum connection_close_reason {
    CLOSE_NORMAL, /* the client closed, or said quit */
    CLOSE_ERROR,
    CLOSE_IDLE,
    CLOSE_SHUTDOWN,
};

/* ---- for the executor: ways to steer the connection whose operation it executes ---- */

/* Nothing more is read or executed; what is in the output is sent, then the connection closes. */
void connection_close_after_output(struct connection *);
/* The same, for a client that does not speak our protocols: the log calls it an error. */
void connection_close_in_error(struct connection *);

/* A long answer, made piece by piece as the socket takes it: lru_crawler metadump and the like.
 * Called whenever all of the output is sent; appends some more (up to about 64 KB) and returns
 * false once all is said. */
typedef bool connection_producer(struct connection *, struct output *, void *state);

/* Has `producer` called until it returns false; no further operation is executed before that.
 * Takes `state`, and calls `release` on it when the answer is complete or the connection is gone;
 * also when this fails, which it does for UDP (the answer could be of any size) and when memory is
 * short. */
bool connection_produce(struct connection *, connection_producer *, void *state,
                        void (*release)(void *state));

/* Turns the connection into a watcher: from now on it only sends what anyone appends to the stream
 * (after what the output holds already), and ends with `quit`, end of file or an error.  Gives a
 * stream with a reference for the caller, or NULL: for UDP, or when memory is short.  `bytes_max`
 * is how much it holds for a slow reader. */
struct stream *connection_watch(struct connection *, size_t bytes_max);

struct worker *connection_worker(const struct connection *);
int connection_fd(const struct connection *);         /* the id that clients see as cfd */
enum connection_transport connection_transport(const struct connection *);
bool connection_is_authenticated(const struct connection *);
void connection_set_authenticated(struct connection *);
void connection_clear_authenticated(struct connection *); /* a login began anew */
/* Where the login in progress is kept; freed with sasl_session_free() when the connection ends. */
struct sasl_session **connection_sasl(struct connection *);

/* ---- for stats and logs ---- */

#define CONNECTION_ADDRESS_BYTES 128

struct connection_description {
    int fd;
    bool is_udp;
    char address[CONNECTION_ADDRESS_BYTES];        /* "tcp:127.0.0.1:40000", "unix:/path" */
    char listen_address[CONNECTION_ADDRESS_BYTES]; /* empty if it listens itself */
    const char *state;                             /* memcached's name for it: "conn_read" */
    uint64_t seconds_since_last_command;
};

/* Any thread, under the lock of the connection's worker. */
void connection_describe(const struct connection *, struct connection_description *);

/* The peer's address without port, as text, and its port; "" and 0 for Unix sockets.  For the log
 * lines conn_new and conn_close. */
void connection_peer(const struct connection *, char address[CONNECTION_ADDRESS_BYTES],
                     unsigned *port);

/* ---- for workers and the listener ---- */

/* A connection for a socket that was just accepted (or, with TRANSPORT_UDP, bound).  Takes `fd`,
 * closes it when memory is short; gives a connection.  Any thread: nothing happens on it before
 * connection_start(). */
struct connection *connection_new(struct worker *, int fd, const struct listener *,
                                  const struct sockaddr *peer);

/* On the worker's thread, with the connection in the worker's list. */
void connection_start(struct connection *);
void connection_close(struct connection *, enum connection_close_reason);

#endif
