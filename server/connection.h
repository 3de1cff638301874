/* One client connection: a state machine between a socket and the executor.
 *
 *     READING --whole operations--> (executed at once) --> READING
 *        |  long value announced        ^                     | socket full
 *        +--> FILLING an item ----------+                     v
 *        |  refused value           SWALLOWING (in the parser)  WRITING, reads nothing meanwhile
 *        +--> PRODUCING: a long answer made piece by piece as the socket takes it
 *        +--> CLOSING: sends what is left, then closes
 *
 * Threads: owned by its worker, but for the fields marked [A], which `stats conns` reads. */
#ifndef SERVER_CONNECTION_H
#define SERVER_CONNECTION_H

#include "protocol/parser.h"
#include "server/output.h"
#include "server/settings.h"
#include <ev.h>
#include <sys/socket.h>

struct connection;
struct item;
struct sasl_session;
struct tls_session;
struct watcher;
struct worker;

enum connection_transport { TRANSPORT_TCP, TRANSPORT_UNIX, TRANSPORT_UDP };

/* A long answer, made piece by piece as the socket takes it: lru_crawler metadump and the like.
 * Called whenever the output is empty; appends some more and returns false once all is said. */
typedef bool connection_producer(struct connection *, struct output *, void *state);

/* Ways in which the executor steers the connection whose operation it executes. */
void connection_close_after_output(struct connection *);
/* Takes `state`, and calls `release` on it when the answer is complete or the connection is gone. */
void connection_produce(struct connection *, connection_producer *, void *state,
                        void (*release)(void *state));
struct worker *connection_worker(const struct connection *);
int connection_fd(const struct connection *);         /* the id that clients see as cfd */
bool connection_is_authenticated(const struct connection *);
void connection_set_authenticated(struct connection *);
enum listen_protocol connection_protocol(const struct connection *); /* negotiated by now */
bool connection_has_more_input(const struct connection *); /* commands pipelined behind this one */
struct sasl_session **connection_sasl(struct connection *);
/* Detaches the socket for a watcher: the connection no longer reads commands but `quit` and EOF. */
void connection_set_watcher(struct connection *, struct watcher *);

#endif
