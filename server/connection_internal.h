/* What connection.c (its life, and what others may ask of it) and connection_io.c (its events)
 * share.  For nobody else. */
#ifndef SERVER_CONNECTION_INTERNAL_H
#define SERVER_CONNECTION_INTERNAL_H

#include "server/connection.h"
#include "server/filling.h"
#include "server/pending.h"
#include "server/stream.h"
#include "server/transport.h"
#include "server/worker.h"
#include <netinet/in.h>
#include <stdalign.h>
#include <stdatomic.h>

/* A long answer that is being made. */
struct production {
    connection_producer *producer;
    void *state;
    void (*release)(void *state);
};

union connection_peer {
    sa_family_t family; /* AF_UNSPEC: not known */
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

enum connection_state {
    STATE_READING,
    STATE_EXECUTING,
    STATE_FILLING,
    STATE_WRITING,
    STATE_WATCHING,
    STATE_WAITING,
    STATE_CLOSING,
};

/* The first two cache lines are all that a request touches, and the third is looked at.
 *
 * Who may touch which field:
 *   [I] never changes after connection_new()   [W] only its worker's thread
 *   [A] written by its worker, read by anyone  [L] whoever holds the worker's lock */
struct connection {
    alignas(64) ev_io io;          /* [W] waits for input, or for room when output is unsent */
    struct transport transport;    /* [W]; [I] the descriptor, while in the worker's list */

    struct worker *worker;              /* [I] */
    _Atomic uint64_t last_command_ms;   /* [A] */
    struct parser parser;               /* [W] */
    uint8_t transport_kind;        /* [I] enum connection_transport */
    uint8_t protocol;              /* [W] enum listen_protocol */
    _Atomic uint8_t state;         /* [A] enum connection_state */
    bool is_authenticated;         /* [W] */
    bool is_closing : 1;           /* [W] nothing more is read or executed */
    bool is_waiting : 1;           /* [W] likewise until answers are there (server/pending.h) */
    bool skips_keys : 1;           /* [W] a key of the text get at hand could not be read */
    bool is_in_error;              /* [W] closing because of what the client said */
    bool lingers;                  /* [W] closes although the client may still be sending */
    bool is_runnable;              /* [W] in the worker's runnable list */
    bool rest_is_incomplete;       /* [W] the rest needs more input before anything can be done */
    bool waits_for_room;           /* [W] TLS has to send before it can receive */
    bool stream_has_more;          /* [W] its stream holds more than fits one turn */
    bool reads_bulk;               /* [W] its last read began a long value */
    bool has_arrived;              /* [W] its input waits among worker->arrivals */

    unsigned char *rest;           /* [W] input that was read but not yet served, NULL: none */
    uint32_t rest_start, rest_bytes;
    struct output *unsent;         /* [W] what the socket did not take, NULL: nothing */
    struct filling *filling;       /* [W] the value being received, or NULL */
    struct production *production; /* [W] the answer being made, or NULL */
    struct stream *stream;         /* [W] what a watcher is sent, or NULL */
    struct pending_queue *pending; /* [W] what a node has yet to answer, or NULL */

    struct connection *next, *previous; /* [L] in the worker's list */
    struct connection *next_runnable;   /* [W] */
    struct connection *next_watching;   /* [W] */
    struct sasl_session *sasl;          /* [W] */
    const struct listener *listener;    /* [I] */
    union connection_peer peer;         /* [I] */
};

/* The event on a connection's socket, and its turn without one (worker->runnable). */
void connection_on_event(struct ev_loop *, ev_io *, int events);
void connection_run(struct connection *);

/* Serves all that the connections' events have received.  Once they all had theirs. */
void connections_serve_arrivals(struct worker *);

/* Sends the answers that have come meanwhile, and goes on with what had to wait for them. */
void connection_send_answers(struct connection *);

/* Sends what has come into the stream of a watcher. */
void connection_send_stream(struct connection *);

/* The production is over: releases its state. */
void connection_end_production(struct connection *);

/* Answers what has arrived already, as the last thing before the worker ends. */
void connection_finish(struct connection *);

/* Whether it has output that the socket did not take. */
static inline bool connection_has_unsent(const struct connection *connection)
{
    return connection->unsent != NULL;
}

/* Whether it has anything to do besides answering requests. */
static inline bool connection_has_work(const struct connection *connection)
{
    return connection->rest != NULL || connection->unsent != NULL ||
           connection->filling != NULL || connection->production != NULL ||
           connection->stream != NULL;
}

/* Parses and executes one datagram, as a connection of its own; the answer is left in the worker's
 * output. */
void connection_serve_datagram(struct connection *, struct slice request);

#endif
