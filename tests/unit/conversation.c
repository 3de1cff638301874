#include "tests/unit/conversation.h"
#include "protocol/binary.h"
#include "protocol/text.h"
#include "server/cells.h"
#include "server/clock.h"
#include "server/cluster.h"
#include "server/execute.h"
#include "server/execute_cluster.h"
#include "server/execute_operator.h"
#include "server/hot_keys.h"
#include "server/listener.h"
#include "server/maintenance.h"
#include "server/process.h"
#include "server/settings.h"
#include "server/stream.h"
#include "server/watch.h"
#include "server/worker.h"
#include <stdio.h>
#include <stdlib.h>

#define BATCH_MAX 64

struct connection {
    bool is_authenticated, is_closed;
    struct sasl_session *sasl;
    connection_producer *producer;
    void *producer_state;
    void (*producer_release)(void *);
    struct parser parser;
    struct stream *stream;
};

struct stream {
    unsigned references;
    char text[1 << 16];
    size_t used;
    unsigned skipped;
};

size_t stream_capacity;
bool stream_is_closed;
unsigned shutdowns, graceful_shutdowns;
conversation_executor *conversation_execute = execute_batch;

static struct connection connection;
static struct worker worker;
static struct store *store;
static unsigned char *answer;
static size_t answer_size;

/* ---- what the executor asks of its surroundings ---- */

void connection_close_after_output(struct connection *it)
{
    it->is_closed = true;
}

void connection_close_in_error(struct connection *it)
{
    it->is_closed = true;
}

bool connection_produce(struct connection *it, connection_producer *producer, void *state,
                        void (*release)(void *state))
{
    it->producer = producer;
    it->producer_state = state;
    it->producer_release = release;
    return true;
}

struct stream *connection_watch(struct connection *it, size_t bytes_max)
{
    assert_non_null(it);
    it->stream = calloc(1, sizeof *it->stream);
    it->stream->references = 2;
    if (stream_capacity == 0)
        stream_capacity = bytes_max < sizeof it->stream->text ? bytes_max
                                                               : sizeof it->stream->text;
    return it->stream;
}

enum stream_append_result stream_append(struct stream *stream, struct slice line)
{
    if (stream_is_closed)
        return STREAM_CLOSED;
    if (stream->used + line.size >= stream_capacity) {
        stream->skipped++;
        return STREAM_FULL;
    }
    if (line.size == 0)
        return STREAM_APPENDED;
    if (stream->skipped != 0)
        stream->used += (size_t)sprintf(stream->text + stream->used, "skipped=%u\n",
                                        stream->skipped);
    stream->skipped = 0;
    memcpy(stream->text + stream->used, line.bytes, line.size);
    stream->used += line.size;
    stream->text[stream->used] = 0;
    return STREAM_APPENDED;
}

void stream_unref(struct stream *stream)
{
    if (--stream->references == 0)
        free(stream);
}

int connection_fd(const struct connection *it)
{
    (void)it;
    return 7;
}

enum connection_transport connection_transport(const struct connection *it)
{
    (void)it;
    return TRANSPORT_TCP;
}

void connection_peer(const struct connection *it, char address[CONNECTION_ADDRESS_BYTES],
                     unsigned *port)
{
    (void)it;
    snprintf(address, CONNECTION_ADDRESS_BYTES, "127.0.0.1");
    *port = 4711;
}

bool connection_is_authenticated(const struct connection *it)
{
    return it->is_authenticated;
}

void connection_set_authenticated(struct connection *it)
{
    it->is_authenticated = true;
}

void connection_clear_authenticated(struct connection *it)
{
    it->is_authenticated = false;
}

struct sasl_session **connection_sasl(struct connection *it)
{
    return &it->sasl;
}

/* ---- no cluster ---- */

struct cluster *cluster_get(void)
{
    return NULL;
}

const struct siphash_key *cluster_context_key(const struct cluster *cluster)
{
    (void)cluster;
    return NULL;
}

void execute_cluster_batch(struct execution *execution, struct operation *operations,
                           unsigned count)
{
    (void)execution, (void)operations, (void)count;
    abort();
}

struct item *execute_cluster_store_begin(struct execution *execution, struct operation *operation)
{
    (void)execution, (void)operation;
    abort();
}

void execute_cluster_store_finish(struct execution *execution, struct operation *operation,
                                  struct item *item, bool ends_well)
{
    (void)execution, (void)operation, (void)item, (void)ends_well;
    abort();
}

void execute_cluster(struct execution *execution, struct operation *operation)
{
    (void)execution, (void)operation;
    abort();
}

bool execute_operator_stats(struct execution *execution, const struct operation *operation,
                            const struct arguments *arguments)
{
    (void)execution, (void)operation, (void)arguments;
    return false;
}

bool execute_operator_debug(struct execution *execution, const struct operation *operation,
                            const struct arguments *arguments)
{
    (void)execution, (void)operation, (void)arguments;
    return false;
}

bool execute_operator_config(struct execution *execution, const struct operation *operation)
{
    (void)execution, (void)operation;
    return false;
}

unsigned workers_count(void)
{
    return 1;
}

struct worker *workers_get(unsigned number)
{
    assert_int_equal(number, 0);
    return &worker;
}

unsigned workers_connection_count(void)
{
    return 1;
}

void workers_visit_connections(void (*visit)(void *context, const struct connection_description *),
                               void *context)
{
    struct connection_description one = {
        .fd = 7, .address = "tcp:127.0.0.1:4711", .listen_address = "tcp:127.0.0.1:11211",
        .state = "conn_parse_cmd",
    };

    visit(context, &one);
}

void listeners_visit(void (*visit)(void *context, const struct connection_description *),
                     void *context)
{
    struct connection_description one = {
        .fd = 5, .address = "tcp:127.0.0.1:11211",
        .state = "conn_listening", .seconds_since_last_command = 12,
    };

    visit(context, &one);
}

void listeners_stats(struct listeners_stats *stats)
{
    *stats = (struct listeners_stats){ .connections_total = 1, .listening = 1,
                                       .is_accepting = true };
}

void listeners_stats_reset(void) {}

void maintenance_wake(void) {}

void process_stop(bool is_graceful)
{
    if (is_graceful)
        graceful_shutdowns++;
    else
        shutdowns++;
}

/* ---- the conversation ---- */

void pass_seconds(int64_t seconds)
{
    clock_advance_s(seconds);
    worker.now_ms = clock_now_ms();
}

static void forget_connection(void)
{
    if (connection.stream != NULL)
        stream_unref(connection.stream);
    connection = (struct connection){ 0 };
}

void conversation_reconnect(void)
{
    forget_connection();
}

int conversation_start(void **state)
{
    struct store_options options;

    (void)state;
    settings_init(&settings);
    clock_init();
    assert_true(cells_start());
    options = (struct store_options){
        .limit_bytes = atomic_load(&settings.limit_bytes),
        .item_bytes_max = settings.item_bytes_max,
        .threads = 1,
        .evicts = true,
        .on_eviction = watch_item_evicted,
    };
    store = store_new(&options);
    assert_non_null(store);
    store_thread_init(store);
    memset(&worker, 0, sizeof worker);
    worker.store = store;
    worker.now_ms = clock_now_ms();
    worker.batch = calloc(BATCH_MAX, sizeof *worker.batch);
    worker.key_storage = calloc(BATCH_MAX, KEY_BYTES_MAX);
    worker.context_storage = calloc(BATCH_MAX, CONTEXT_BYTES_MAX);
    worker.hot_keys = hot_keys_new(1);
    worker.until_sample = hot_keys_next_distance(worker.hot_keys);
    assert_true(output_init(&worker.output, store, 1 << 20));
    stream_capacity = 0;
    stream_is_closed = false;
    return 0;
}

int conversation_end(void **state)
{
    (void)state;
    forget_connection();
    stream_is_closed = true;
    watch_stats(&(struct watch_stats){ 0 });
    output_deinit(&worker.output);
    hot_keys_free(worker.hot_keys);
    free(worker.batch);
    free(worker.key_storage);
    free(worker.context_storage);
    store_thread_deinit(store);
    store_free(store);
    free(answer);
    answer = NULL;
    settings_deinit(&settings);
    return 0;
}

/* Takes over what the output holds, as a socket would. */
static void drain(void)
{
    struct iovec pieces[16];
    unsigned count;

    while (!output_is_empty(&worker.output)) {
        size_t bytes = 0;

        count = output_pieces(&worker.output, pieces, 16);
        assert_true(count > 0);
        for (unsigned i = 0; i < count; i++) {
            answer = realloc(answer, answer_size + pieces[i].iov_len + 1);
            memcpy(answer + answer_size, pieces[i].iov_base, pieces[i].iov_len);
            answer_size += pieces[i].iov_len;
            bytes += pieces[i].iov_len;
        }
        output_sent(&worker.output, bytes);
    }
    assert_false(worker.output.failed);
}

static void produce(void)
{
    bool has_more = true;

    while (connection.producer != NULL) {
        drain();
        has_more = connection.producer(&connection, &worker.output, connection.producer_state);
        drain();
        if (!has_more) {
            connection.producer_release(connection.producer_state);
            connection.producer = NULL;
        }
    }
}

static void run_batch(unsigned count)
{
    if (count != 0)
        conversation_execute(&worker, &connection, worker.batch, count, &worker.output);
    produce();
}

static enum parse_result parse(struct slice input, struct operation *operation, size_t *consumed,
                               unsigned slot)
{
    operation->key_storage = worker.key_storage + (size_t)slot * KEY_BYTES_MAX;
    operation->context_storage = worker.context_storage + (size_t)slot * CONTEXT_BYTES_MAX;
    if (input.size != 0 && input.bytes[0] == BINARY_REQUEST_MAGIC)
        return binary_parse(&connection.parser, input, operation, consumed);
    return text_parse(&connection.parser, input, operation, consumed);
}

/* A value that came with its operation, read as if it came later. */
static size_t store_slowly(struct operation *operation, struct slice rest)
{
    size_t ends = operation->protocol == PROTOCOL_BINARY ? 0 : 2;
    struct item *item =
        execute_store_begin(&worker, &connection, operation, &worker.output);
    bool ends_well;

    assert_true(operation->value.size + ends <= rest.size);
    if (item != NULL) {
        memcpy(item_value(item), rest.bytes, operation->value.size);
        ends_well = ends == 0 || text_value_ends_well(rest.bytes + operation->value.size);
        execute_store_finish(&worker, &connection, operation, item, ends_well, &worker.output);
    }
    return operation->value.size + ends;
}

static void advance(struct slice *input, size_t bytes)
{
    assert_true(bytes <= input->size);
    input->bytes += bytes;
    input->size -= bytes;
}

static struct slice converse_bytes(struct slice input, bool slowly)
{
    unsigned count = 0;

    answer_size = 0;
    worker.now_ms = clock_now_ms();
    while (input.size != 0 && !connection.is_closed) {
        struct operation *operation = &worker.batch[count];
        size_t consumed = 0, head = 0;
        enum parse_result result;

        if (slowly && (head = strcspn((const char *)input.bytes, "\n") + 1) < input.size) {
            result = parse((struct slice){ input.bytes, head }, operation, &consumed, count);
        } else {
            result = parse(input, operation, &consumed, count);
        }
        advance(&input, consumed);
        if (result == PARSE_MORE)
            break;
        if (result == PARSE_VALUE) {
            run_batch(count);
            if (count != 0) {
                worker.batch[0] = *operation;
                operation = &worker.batch[0];
            }
            count = 0;
            advance(&input, store_slowly(operation, input));
            continue;
        }
        if (++count == BATCH_MAX || operation->verb >= VERB_BARRIER) {
            run_batch(count);
            count = 0;
        }
    }
    run_batch(count);
    drain();
    if (answer == NULL)
        answer = calloc(1, 1);
    answer[answer_size] = 0;
    return (struct slice){ answer, answer_size };
}

struct slice say_bytes(struct slice input)
{
    return converse_bytes(input, false);
}

const char *say(const char *input)
{
    return (const char *)say_bytes((struct slice){ (const unsigned char *)input, strlen(input) })
        .bytes;
}

const char *say_slowly(const char *input)
{
    return (const char *)converse_bytes(
               (struct slice){ (const unsigned char *)input, strlen(input) }, true).bytes;
}

bool conversation_is_closed(void)
{
    return connection.is_closed;
}

bool conversation_is_watching(void)
{
    return connection.stream != NULL;
}

const char *conversation_watched(void)
{
    static char text[1 << 16];

    assert_non_null(connection.stream);
    memcpy(text, connection.stream->text, connection.stream->used + 1);
    connection.stream->used = 0;
    connection.stream->text[0] = 0;
    return text;
}

void hold_conversation(const struct exchange *exchanges, size_t count)
{
    for (size_t i = 0; i < count; i++)
        says(exchanges[i].says, exchanges[i].hears);
}
