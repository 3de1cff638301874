/* A connection's turn, on its worker's thread:
 *
 *     event or runnable
 *       -> send what is unsent             blocked: wait for room, read nothing meanwhile
 *       -> make more of a long answer      (connection_produce)
 *       -> serve the rest, or receive once and serve
 *            parse up to 32 operations -> execute_batch -> ... until the input is used up
 *       -> send all answers at once
 *       -> wait for input again, or be runnable, or close
 *
 * A connection that has nothing left over from before, as nearly all, only receives on its event, as
 * an arrival.  Arrivals are served one after the other behind the last event of that turn of the
 * loop, so that what the store holds for them is fetched into the cache meanwhile.
 *
 * One receive and one send per event, and nothing else: no epoll_ctl, no allocation.
 *
 * On a node of a cluster answers may come later: they wait in the connection's queue for their turn
 * (server/pending.h), and leave before the loop waits again, in connection_send_answers(). */
#include "server/connection_internal.h"
#include "protocol/binary.h"
#include "protocol/peek.h"
#include "protocol/text.h"
#include "ring/key_hash.h"
#include "server/execute.h"
#include "server/item.h"
#include "server/kept_operation.h"
#include "server/log.h"
#include "server/store.h"
#include <limits.h>
#include <stdlib.h>

/* Answers are sent early when they have grown to this, so that a pipeline of small requests for
 * large answers stays within bounds. */
#define OUTPUT_BYTES_PER_SEND (256 * 1024)

/* How much is done for one connection before others have their turn. */
#define SENT_BYTES_PER_TURN     (2 * 1024 * 1024)
#define RECEIVED_BYTES_PER_TURN (1024 * 1024)

/* What is read first from a client that sends long values: the command, and little of the value,
 * so that the rest can be received right into its item. */
#define BULK_INPUT_BYTES 4096

/* A login is executed only when all of it is there. */
#define LOGIN_BYTES_MAX (16 * 1024)

/* A first line of -Y that is longer or shorter closes the connection. */
#define LOGIN_LINE_BYTES_MAX 2048
#define LOGIN_LINE_BYTES_MIN 6

static void set_state(struct connection *connection, enum connection_state state)
{
    atomic_store_explicit(&connection->state, (uint8_t)state, memory_order_relaxed);
}

static void note_activity(struct connection *connection)
{
    atomic_store_explicit(&connection->last_command_ms, connection->worker->now_ms,
                          memory_order_relaxed);
}

static void wait_for(struct connection *connection, int events)
{
    struct ev_loop *loop = connection->worker->loop;

    if (ev_is_active(&connection->io) && (connection->io.events & (EV_READ | EV_WRITE)) == events)
        return;
    ev_io_stop(loop, &connection->io);
    ev_io_set(&connection->io, connection->transport.fd, events);
    ev_io_start(loop, &connection->io);
}

static void make_runnable(struct connection *connection)
{
    if (!connection->is_runnable)
        worker_add_runnable(connection->worker, connection);
}

/* ---- sending ---- */

static bool move_to_unsent(struct connection *connection, struct output *output)
{
    if (connection->unsent == NULL) {
        struct output *unsent = malloc(sizeof *unsent);
        if (unsent == NULL)
            return false;
        (void)output_init(unsent, output->store, 0);
        connection->unsent = unsent;
    }
    return output_move(output, connection->unsent);
}

/* Sends until all is sent, the socket is full or it was enough for one turn.  False: broken. */
static bool send_output(struct connection *connection, struct output *output)
{
    size_t sent_bytes = 0;
    bool took_all = true;

    while (!output_is_empty(output) && took_all && sent_bytes < SENT_BYTES_PER_TURN) {
        ssize_t sent = transport_send(&connection->transport, output, &took_all);
        if (sent == TRANSPORT_BROKEN)
            return false;
        if (sent < 0)
            break;
        sent_bytes += (size_t)sent;
        output_sent(output, (size_t)sent);
    }
    counter_add(&connection->worker->counters.bytes_written, sent_bytes);
    return true;
}

/* Sends the answers of this turn; what the socket does not take becomes the connection's.  False:
 * the connection is broken. */
static bool flush(struct connection *connection)
{
    struct output *output = &connection->worker->output;

    if (output->failed) {
        log_warning("out of memory for an answer: closing connection %d", connection->transport.fd);
        return false;
    }
    if (output_is_empty(output))
        return true;
    if (!connection_has_unsent(connection) && !send_output(connection, output))
        return false;
    if (output_is_empty(output))
        return true;
    return move_to_unsent(connection, output);
}

/* Sends what is the connection's own.  False: broken. */
static bool drain(struct connection *connection)
{
    if (!connection_has_unsent(connection))
        return true;
    size_t pending_bytes = connection->unsent->pending_bytes;
    if (!send_output(connection, connection->unsent))
        return false;
    if (connection->unsent->pending_bytes < pending_bytes) /* a slow reader is not an idle one */
        note_activity(connection);
    if (output_is_empty(connection->unsent)) {
        output_deinit(connection->unsent);
        free(connection->unsent);
        connection->unsent = NULL;
    }
    return true;
}

/* ---- the rest: input that could not be served in this turn ---- */

static void drop_rest(struct connection *connection)
{
    free(connection->rest);
    connection->rest = NULL;
    connection->rest_start = 0;
    connection->rest_bytes = 0;
}

/* Keeps what is left of the input.  False: memory is short. */
static bool keep_rest(struct connection *connection, struct slice left)
{
    if (left.size == 0) {
        if (connection->rest != NULL)
            drop_rest(connection);
        return true;
    }
    assert(left.size <= WORKER_INPUT_BYTES);
    if (connection->rest != NULL && left.bytes >= connection->rest &&
        left.bytes < connection->rest + WORKER_INPUT_BYTES) {
        connection->rest_start = (uint32_t)(left.bytes - connection->rest);
        connection->rest_bytes = (uint32_t)left.size;
        return true;
    }
    unsigned char *rest = malloc(left.size);
    if (rest == NULL)
        return false;
    memcpy(rest, left.bytes, left.size);
    free(connection->rest);
    connection->rest = rest;
    connection->rest_start = 0;
    connection->rest_bytes = (uint32_t)left.size;
    return true;
}

/* Whether there is input that may be served. */
static bool has_rest(const struct connection *connection)
{
    return connection->rest_bytes > 0 && !connection->rest_is_incomplete;
}

/* ---- serving input ---- */

/* The input at hand and how far it is served. */
struct serving {
    struct slice left;
    struct slice operation; /* `left` as it was before the last operation parsed */
    unsigned requests_left; /* of this turn (-R) */
    bool needs_more;        /* `left` is the start of an operation */
};

static void advance(struct serving *serving, size_t bytes)
{
    assert(bytes <= serving->left.size);
    serving->left.bytes += bytes;
    serving->left.size -= bytes;
}

/* Whether an operation counts for -R: a get of many keys is one request. */
static bool ends_request(const struct operation *operation)
{
    if (operation->protocol != PROTOCOL_TEXT)
        return true;
    if (operation->verb != VERB_GET && operation->verb != VERB_SIBLINGS)
        return true;
    return (operation->options & OPERATION_LAST_KEY) != 0;
}

/* Parses operations into the worker's batch, up to one that has to be the last.  `*count` are
 * complete; with PARSE_VALUE one more follows that lacks its value. */
static enum parse_result parse_batch(struct connection *connection, struct serving *serving,
                                     unsigned *count)
{
    struct operation *batch = connection->worker->batch;
    const bool is_binary = connection->protocol == LISTEN_BINARY;
    const bool is_limited = serving->requests_left != UINT_MAX;
    struct slice left = serving->left, before;
    enum parse_result result;
    bool is_last = false;
    unsigned done = 0;

    assert(left.size > 0);
    assert(serving->requests_left > 0);
    do {
        struct operation *operation = &batch[done];
        size_t consumed;
        result = is_binary ? binary_parse(&connection->parser, left, operation, &consumed)
                           : text_parse(&connection->parser, left, operation, &consumed);
        before = left;
        left.bytes += consumed;
        left.size -= consumed;
        if (result != PARSE_DONE)
            break;
        done++;
        is_last = operation->verb >= VERB_BARRIER || operation->closes;
        if (is_limited && ends_request(operation))
            is_last |= --serving->requests_left == 0;
        if (!is_binary && connection->parser.in_keys && !is_last) {
            done += text_parse_keys_ahead(&connection->parser, left, &batch[done],
                                          WORKER_BATCH_MAX - done, &consumed);
            left.bytes += consumed;
            left.size -= consumed;
        }
    } while (left.size > 0 && done < WORKER_BATCH_MAX && !is_last);
    assert(left.size < serving->left.size || result != PARSE_DONE);
    serving->operation = before;
    serving->left = left;
    *count = done;
    return result;
}

static void execute(struct connection *connection, struct operation *operations, unsigned count)
{
    struct worker *worker = connection->worker;

    execute_batch(worker, connection, operations, count, &worker->output);
    if (connection->is_closing && operations[count - 1].verb != VERB_QUIT)
        connection->lingers = true;
}

static void end_filling(struct connection *connection)
{
    struct worker *worker = connection->worker;
    struct filling *filling = connection->filling;

    connection->filling = NULL;
    execute_store_finish(worker, connection, &filling->operation, filling->item,
                         filling_ends_well(filling), &worker->output);
    filling_free(filling);
}

/* Begins to receive a value, or to swallow it when the store refuses it.  False: give up. */
static bool begin_value(struct connection *connection, struct operation *operation,
                        struct serving *serving)
{
    struct worker *worker = connection->worker;
    bool is_binary = operation->protocol == PROTOCOL_BINARY;

    struct item *item = execute_store_begin(worker, connection, operation, &worker->output);
    if (item == NULL) {
        parser_swallow(&connection->parser, (uint64_t)operation->value.size + (is_binary ? 0 : 2));
        return true;
    }
    connection->filling = filling_new(operation, item, item_value(item));
    if (connection->filling == NULL) {
        execute_store_abandon(worker, item);
        log_warning("out of memory for a value: closing connection %d", connection->transport.fd);
        return false;
    }
    connection->reads_bulk = true;
    advance(serving, filling_take(connection->filling, serving->left));
    if (filling_is_complete(connection->filling))
        end_filling(connection);
    return true;
}

/* Whether the connection cannot go on with its input just now. */
static bool has_to_pause(const struct connection *connection)
{
    return connection->is_closing || connection->is_waiting || connection->production != NULL ||
           connection->stream != NULL || connection_has_unsent(connection);
}

/* An operation came without all of its value.  A login is no store: it waits until all is there. */
static void on_value(struct connection *connection, struct operation *operation,
                     struct serving *serving, bool waits_for_whole)
{
    if (waits_for_whole && operation->value.size <= LOGIN_BYTES_MAX) {
        serving->left = serving->operation;
        serving->needs_more = true;
    } else if (operation->verb != VERB_STORE || !begin_value(connection, operation, serving)) {
        connection->is_closing = true;
        connection->lingers = true;
    }
}

static void serve_batches(struct connection *connection, struct serving *serving)
{
    struct worker *worker = connection->worker;

    while (serving->left.size > 0 && !has_to_pause(connection)) {
        if (serving->requests_left == 0) {
            counter_add(&worker->counters.conn_yields, 1);
            return;
        }
        unsigned count;
        enum parse_result result = parse_batch(connection, serving, &count);
        if (count > 0)
            execute(connection, worker->batch, count);
        /* A value is begun even while answers are waited for: its command is behind us. */
        if (has_to_pause(connection) && (result != PARSE_VALUE || connection->is_closing))
            return;
        if (result == PARSE_VALUE)
            on_value(connection, &worker->batch[count], serving,
                     worker->batch[count].verb != VERB_STORE);
        serving->needs_more |= result == PARSE_MORE;
        if (serving->needs_more)
            return;
        if (worker->output.pending_bytes >= OUTPUT_BYTES_PER_SEND && !flush(connection))
            connection->is_closing = true;
    }
}

/* Whether the input begins with a line that cannot be a login. */
static bool is_no_login(const struct parser *parser, struct slice input)
{
    if (parser->swallow > 0 || parser->in_keys || parser->skips_line)
        return false;
    size_t searched = input.size < LOGIN_LINE_BYTES_MAX ? input.size : LOGIN_LINE_BYTES_MAX;
    const unsigned char *end = memchr(input.bytes, '\n', searched);
    if (end == NULL)
        return input.size > LOGIN_LINE_BYTES_MAX;
    return end - input.bytes < LOGIN_LINE_BYTES_MIN;
}

/* A client that has yet to log in (-Y): one operation at a time, as its login decides about the
 * next. */
static void serve_login(struct connection *connection, struct serving *serving)
{
    unsigned requests_left = serving->requests_left;

    while (serving->left.size > 0 && !connection->is_authenticated && !serving->needs_more &&
           !has_to_pause(connection)) {
        struct parser before = connection->parser;
        if (is_no_login(&before, serving->left)) {
            connection->is_closing = true;
            return;
        }
        serving->requests_left = 1;
        unsigned count;
        enum parse_result result = parse_batch(connection, serving, &count);
        if (count > 0)
            execute(connection, connection->worker->batch, count);
        if (result == PARSE_VALUE && !has_to_pause(connection))
            on_value(connection, &connection->worker->batch[count], serving, true);
        if (result == PARSE_VALUE && serving->needs_more)
            connection->parser = before;
        serving->needs_more |= result == PARSE_MORE;
    }
    serving->requests_left = requests_left;
}

static void choose_protocol(struct connection *connection, unsigned char first)
{
    connection->protocol = first == BINARY_REQUEST_MAGIC ? LISTEN_BINARY : LISTEN_ASCII;
}

static void serve(struct connection *connection, struct slice input)
{
    struct serving serving = {
        .left = input,
        .requests_left = connection->worker->requests_per_turn,
    };

    assert(input.size > 0);
    set_state(connection, STATE_EXECUTING);
    note_activity(connection);
    if (connection->protocol == LISTEN_NEGOTIATING)
        choose_protocol(connection, input.bytes[0]);
    if (!connection->is_authenticated && connection->protocol == LISTEN_ASCII)
        serve_login(connection, &serving);
    if (!serving.needs_more)
        serve_batches(connection, &serving);
    connection->rest_is_incomplete = serving.needs_more;
    if (!keep_rest(connection, serving.left))
        connection->is_closing = true;
}

/* ---- receiving ---- */

/* What the socket had to say. */
enum received {
    RECEIVED_FINE, /* something, which is served, or nothing */
    RECEIVED_END,
    RECEIVED_BROKEN,
};

/* What became of a receive that brought nothing. */
static enum received on_nothing(struct connection *connection, ssize_t result)
{
    assert(result <= 0);
    if (result == 0)
        return RECEIVED_END;
    if (result == TRANSPORT_BROKEN)
        return RECEIVED_BROKEN;
    connection->waits_for_room = result == TRANSPORT_WAIT_WRITE;
    return RECEIVED_FINE;
}

/* Receives right into the item; what follows the value is served. */
static enum received receive_value(struct connection *connection)
{
    struct worker *worker = connection->worker;
    struct filling *filling = connection->filling;
    struct iovec pieces[3];
    unsigned count = filling_pieces(filling, RECEIVED_BYTES_PER_TURN, pieces);

    if (filling_bytes_left(filling) <= RECEIVED_BYTES_PER_TURN)
        pieces[count++] = (struct iovec){ worker->input, BULK_INPUT_BYTES };
    ssize_t received = transport_receive_pieces(&connection->transport, pieces, count);
    if (received <= 0)
        return on_nothing(connection, received);
    counter_add(&worker->counters.bytes_read, received);
    note_activity(connection);
    size_t beyond = filling_received(filling, (size_t)received);
    if (filling_is_complete(filling))
        end_filling(connection);
    if (beyond > 0)
        serve(connection, (struct slice){ worker->input, beyond });
    return RECEIVED_FINE;
}

static enum received receive(struct connection *connection)
{
    struct worker *worker = connection->worker;
    size_t kept = connection->rest_bytes;
    size_t room = WORKER_INPUT_BYTES - kept;

    if (connection->filling != NULL)
        return receive_value(connection);
    if (room == 0) {
        log_warning("connection %d sent an operation without end: closing it",
                    connection->transport.fd);
        return RECEIVED_BROKEN;
    }
    if (connection->reads_bulk && room > BULK_INPUT_BYTES)
        room = BULK_INPUT_BYTES;
    ssize_t received = transport_receive(&connection->transport, worker->input + kept, room);
    if (received <= 0)
        return on_nothing(connection, received);
    counter_add(&worker->counters.bytes_read, received);
    if (kept > 0) {
        memcpy(worker->input, connection->rest + connection->rest_start, kept);
        drop_rest(connection);
    }
    connection->reads_bulk = false;
    serve(connection, (struct slice){ worker->input, kept + (size_t)received });
    /* Most likely there is more of the value, which may now go where it belongs. */
    if (connection->filling != NULL && (size_t)received == room && !has_to_pause(connection))
        return receive_value(connection);
    return RECEIVED_FINE;
}

/* ---- turns ---- */

/* Reads and forgets what the client still sends, as unread input would make the kernel discard the
 * last answer on its way. */
static void linger(struct connection *connection)
{
    struct worker *worker = connection->worker;

    if (connection->transport.tls != NULL)
        return;
    shutdown(connection->transport.fd, SHUT_WR);
    (void)recv(connection->transport.fd, worker->input, WORKER_INPUT_BYTES, 0);
}

/* Whether nothing can be done, closing included, before answers of other nodes are there. */
static bool has_to_wait(const struct connection *connection)
{
    return connection->pending != NULL && (connection->is_waiting || connection->is_closing ||
                                           connection->worker->is_ending);
}

/* The answers leave; then the connection waits for what it needs next. */
static void end_turn(struct connection *connection)
{
    if (!flush(connection)) {
        connection_close(connection, CLOSE_ERROR);
    } else if (connection_has_unsent(connection)) {
        set_state(connection, STATE_WRITING);
        wait_for(connection, EV_WRITE);
    } else if (has_to_wait(connection)) {
        set_state(connection, STATE_WAITING);
        ev_io_stop(connection->worker->loop, &connection->io);
    } else if (connection->is_closing) {
        if (connection->lingers)
            linger(connection);
        connection_close(connection, connection->is_in_error ? CLOSE_ERROR : CLOSE_NORMAL);
    } else if (connection->worker->is_ending) {
        connection_close(connection, CLOSE_SHUTDOWN);
    } else {
        if (has_rest(connection) || connection->production != NULL || connection->stream_has_more ||
            (connection->transport.tls != NULL && transport_has_pending(&connection->transport)))
            make_runnable(connection);
        set_state(connection, connection->stream != NULL    ? STATE_WATCHING
                              : connection->filling != NULL ? STATE_FILLING
                                                            : STATE_READING);
        wait_for(connection, connection->waits_for_room ? EV_WRITE : EV_READ);
    }
}

/* Calls the producer until the socket is full, all is said or it was enough for one turn. */
static bool produce(struct connection *connection)
{
    struct worker *worker = connection->worker;
    size_t produced_bytes = 0;

    while (connection->production != NULL && !connection_has_unsent(connection) &&
           produced_bytes < SENT_BYTES_PER_TURN) {
        struct production *production = connection->production;
        bool has_more = production->producer(connection, &worker->output, production->state);
        produced_bytes += worker->output.pending_bytes + 1;
        if (!has_more)
            connection_end_production(connection);
        if (!flush(connection))
            return false;
    }
    return true;
}

/* Has what came into a watcher's stream sent. */
static void take_from_stream(struct connection *connection)
{
    struct output *output = &connection->worker->output;

    if (connection->stream == NULL || connection_has_unsent(connection))
        return;
    unsigned char *room = output_reserve(output, OUTPUT_RESERVE_BYTES_MAX);
    size_t taken = stream_take(connection->stream, room, OUTPUT_RESERVE_BYTES_MAX);
    output_commit(output, taken);
    connection->stream_has_more = taken == OUTPUT_RESERVE_BYTES_MAX;
}

/* A watcher says nothing but `quit`. */
static enum received receive_from_watcher(struct connection *connection)
{
    struct worker *worker = connection->worker;
    ssize_t received =
        transport_receive(&connection->transport, worker->input, WORKER_INPUT_BYTES);

    if (received <= 0)
        return on_nothing(connection, received);
    counter_add(&worker->counters.bytes_read, received);
    if (received >= 4 && memcmp(worker->input, "quit", 4) == 0)
        return RECEIVED_END;
    return RECEIVED_FINE;
}

static void serve_rest(struct connection *connection)
{
    serve(connection,
          (struct slice){connection->rest + connection->rest_start, connection->rest_bytes});
}

static enum received serve_and_receive(struct connection *connection)
{
    if (connection->stream != NULL)
        return receive_from_watcher(connection);
    if (has_to_pause(connection))
        return RECEIVED_FINE;
    if (!has_rest(connection))
        return receive(connection);
    serve_rest(connection);
    return RECEIVED_FINE;
}

static void close_or_end_turn(struct connection *connection, enum received received)
{
    switch (received) {
    case RECEIVED_END:
        if (connection->pending == NULL) {
            connection_close(connection, CLOSE_NORMAL);
        } else { /* what it asked for is still answered: it may listen */
            connection->is_closing = true;
            end_turn(connection);
        }
        break;
    case RECEIVED_BROKEN: connection_close(connection, CLOSE_ERROR); break;
    case RECEIVED_FINE:
        take_from_stream(connection);
        end_turn(connection);
        break;
    }
}

static void take_turn(struct connection *connection)
{
    enum received received = RECEIVED_FINE;

    assert(output_is_empty(&connection->worker->output));
    connection->waits_for_room = false;
    if (!drain(connection) || !produce(connection))
        received = RECEIVED_BROKEN;
    else if (!connection_has_unsent(connection))
        received = serve_and_receive(connection);
    close_or_end_turn(connection, received);
}

/* What nearly all turns are: a read, its answers, and nothing else to do or wait for.  False: there
 * is more to it, see end_turn(). */
static bool send_plain_answers(struct connection *connection)
{
    struct worker *worker = connection->worker;
    struct output *output = &worker->output;

    if (connection_has_work(connection) || connection->is_closing || connection->is_waiting ||
        worker->is_ending ||
        output->value_count > 0 || output->used == 0 || output->failed)
        return false;
    ssize_t sent = send(connection->transport.fd, output->buffer, output->used, MSG_NOSIGNAL);
    if (sent > 0) {
        counter_add(&worker->counters.bytes_written, sent);
        output_sent(output, (size_t)sent);
    }
    set_state(connection, STATE_READING);
    return output_is_empty(output);
}

void connection_send_answers(struct connection *connection)
{
    struct worker *worker = connection->worker;

    assert(output_is_empty(&worker->output));
    if (!pending_take_answers(connection, &worker->output)) {
        log_warning("out of memory for an answer: closing connection %d", connection->transport.fd);
        connection_close(connection, CLOSE_ERROR);
        return;
    }
    struct kept_operation *held = pending_take_held(connection);
    if (held != NULL) {
        execute(connection, &held->operation, 1);
        free(held);
    }
    if (has_rest(connection) && !connection->is_runnable && !has_to_pause(connection))
        serve_rest(connection);
    if (connection->transport.tls != NULL || !ev_is_active(&connection->io) ||
        !send_plain_answers(connection))
        close_or_end_turn(connection, RECEIVED_FINE);
}

void connections_serve_arrivals(struct worker *worker)
{
    const unsigned count = worker->arrival_count;
    const unsigned char *at = worker->arrived;

    if (count > 1)
        store_prefetch_item(worker->store, worker->arrivals[0].key_hash);
    for (unsigned i = 0; i < count; i++) {
        struct arrival arrival = worker->arrivals[i];
        struct slice input = { at, arrival.bytes };

        at += arrival.bytes;
        if (i + 1 < count)
            store_prefetch_item(worker->store, worker->arrivals[i + 1].key_hash);
        if (arrival.connection == NULL)
            continue;
        arrival.connection->has_arrived = false;
        serve(arrival.connection, input);
        if (!send_plain_answers(arrival.connection))
            close_or_end_turn(arrival.connection, RECEIVED_FINE);
    }
    assert(worker->arrival_count == count);
    worker->arrival_count = 0;
    worker->arrived_bytes = 0;
}

/* Receives, and begins to fetch what serving it will look at.  It is served when all connections
 * that are readable have been received from: by then the memory is there.  With one request per
 * event, waiting for it was more than a third of what the server itself took. */
static void receive_arrival(struct connection *connection)
{
    struct worker *worker = connection->worker;

    assert(!connection->has_arrived);
    if (worker->arrival_count == WORKER_ARRIVALS_MAX ||
        worker->arrived_bytes > WORKER_INPUT_BYTES / 2)
        connections_serve_arrivals(worker);
    unsigned char *room = worker->arrived + worker->arrived_bytes;
    ssize_t received = transport_receive(&connection->transport, room,
                                         WORKER_INPUT_BYTES - worker->arrived_bytes);
    if (received <= 0) {
        close_or_end_turn(connection, on_nothing(connection, received));
        return;
    }
    counter_add(&worker->counters.bytes_read, received);
    uint64_t hash = key_hash(peek_key((struct slice){ room, (size_t)received }));
    store_prefetch_index(worker->store, hash);
    worker->arrivals[worker->arrival_count++] =
        (struct arrival){ connection, hash, (uint32_t)received };
    worker->arrived_bytes += (uint32_t)received;
    connection->has_arrived = true;
}

void connection_on_event(struct ev_loop *loop, ev_io *io, int events)
{
    struct connection *connection = (struct connection *)io;

    (void)loop;
    (void)events;
    if (connection->is_runnable) /* it has its turn anyway */
        return;
    if (connection_has_work(connection) || connection->reads_bulk ||
        connection->transport.tls != NULL)
        take_turn(connection);
    else
        receive_arrival(connection);
}

void connection_run(struct connection *connection)
{
    take_turn(connection);
}

void connection_send_stream(struct connection *connection)
{
    assert(connection->stream != NULL);
    if (connection_has_unsent(connection))
        return;
    take_from_stream(connection);
    end_turn(connection);
}

void connection_finish(struct connection *connection)
{
    if (connection->transport_kind == TRANSPORT_UDP)
        connection_close(connection, CLOSE_SHUTDOWN);
    else
        take_turn(connection);
}

void connection_serve_datagram(struct connection *connection, struct slice request)
{
    connection->parser = (struct parser){ 0 };
    connection->is_closing = false;
    choose_protocol(connection, request.bytes[0]);
    struct serving serving = { .left = request, .requests_left = UINT_MAX };
    set_state(connection, STATE_EXECUTING);
    while (serving.left.size > 0 && !connection->is_closing) {
        unsigned count;
        enum parse_result result = parse_batch(connection, &serving, &count);
        if (count > 0)
            execute(connection, connection->worker->batch, count);
        if (result != PARSE_DONE) /* an operation has to be complete in its datagram */
            break;
    }
    set_state(connection, STATE_READING);
}
