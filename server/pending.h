/* Pending: what a connection of a cluster's node has been asked and has not answered yet.
 *
 * Commands there wait for other nodes, and are done in any order; the client is answered in the
 * order in which it asked.  So each connection with something in flight has a queue:
 *
 *   parsed --> pending_start() --> | 7 in flight | 6 answered | 5 waits for 4 | 4 in flight | -->
 * sent tail                                        head
 *
 *   - What is answered at once while nothing is before it goes straight to the worker's output, as
 *     without a cluster.
 *   - What comes later is kept until all before it is answered.  The connection is then listed, and
 *     sends what it has once in that turn of the loop (pendings_take_listed()).
 *   - Commands for one key wait for each other if one of them writes: a client that pipelines a set
 *     and a get reads what it wrote.
 *   - What concerns the connection or the server (VERB_BARRIER and later) is held until nothing is
 *     pending, and nothing is parsed meanwhile; neither is when PENDING_MAX commands are pending or
 *     PENDING_BYTES_MAX of answers and of values to be stored: `connection->is_waiting`.  When all
 * connections of the worker together have PENDING_WORKER_MAX, each that has some waits until they
 * are answered.
 *   - When a connection closes, its commands go on and their answers are dropped.
 *
 * Without a cluster there are none of these structures.
 *
 * Threads: a struct pendings and all that it has belong to its worker. */
#ifndef SERVER_PENDING_H
#define SERVER_PENDING_H

#include "server/output.h"
#include "server/request.h"

struct connection;
struct kept_operation;
struct pending;
struct pending_queue;
struct pendings;

#define PENDING_MAX        1024u
#define PENDING_WORKER_MAX (64 * 1024u)
#define PENDING_BYTES_MAX  (1024u * 1024)

/* ---- for the worker ---- */

/* For a worker with requests.  NULL: memory is short. */
struct pendings *pendings_new(struct worker *);
/* After requests_free() and the end of all connections. */
void pendings_free(struct pendings *);

/* Whether some connection may send something, and the next that may; NULL: none. */
bool pendings_have_listed(const struct pendings *);
struct connection *pendings_take_listed(struct pendings *);

/* ---- for the executor ---- */

/* Asks for the operation, whose key is hashed; `item` as for requests_start().  What is answered
 * calls `answer`, which begins with pending_begin_answer().  False: memory is short, and the
 * connection has to close. */
bool pending_start(struct connection *, enum request_class, const struct operation *,
                   struct item *item,
                   void (*answer)(struct request_client *, const struct request_answered *));

/* A place in the order for something that is no request of its own; if `is_barrier` nothing more is
 * parsed until it is answered.  NULL: memory is short. */
struct pending *pending_add(struct connection *, const struct operation *, bool is_barrier);

struct pending *pending_of(struct request_client *);

/* Where the answer goes; nothing else may be done before pending_end_answer().  NULL: the client is
 * gone, and with this so is the pending. */
struct output *pending_begin_answer(struct pending *);
/* The connection that asked, between these two. */
struct connection *pending_connection(const struct pending *);
/* The answer is complete: takes the pending.  `has_failed`: it was an error in place of what was
 * asked for.  After such a one the later keys of a text get line have no answer, not even END. */
void pending_end_answer(struct pending *, bool has_failed);

bool pending_has_any(const struct connection *);
/* Whether what is answered now may go straight to the worker's output; if not, it needs a
 * pending_add(). */
bool pending_is_direct(const struct connection *, const struct operation *);

/* Keeps the operation until nothing is pending.  False: memory is short. */
bool pending_hold(struct connection *, const struct operation *);

/* ---- for the connection ---- */

/* Moves all answers that are next in order to `output`.  False: memory was short for one. */
bool pending_take_answers(struct connection *, struct output *);

/* Gives the operation that was held, to free(), once nothing is pending; NULL: there is none, or
 * not yet. */
struct kept_operation *pending_take_held(struct connection *);

/* The connection closes. */
void pending_abandon(struct connection *);

#endif
