#include "tests/unit/fake_executor.h"
#include "protocol/reply.h"
#include "server/cluster.h"
#include "server/execute.h"
#include "server/item.h"
#include "server/request.h"
#include "server/store.h"
#include "server/stream.h"
#include "server/watch.h"
#include "server/worker.h"
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>

struct fake_counts fake_counts;
_Atomic unsigned watch_kinds;

/* Before each item in memory. */
struct fake_item {
    alignas(16) atomic_uint references;
    struct fake_item *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct fake_item *items;
static _Atomic(struct stream *) last_stream;

/* ---- items ---- */

static struct item *item_of(struct fake_item *fake)
{
    return (struct item *)(void *)(fake + 1);
}

static struct fake_item *fake_of(struct item *item)
{
    return (struct fake_item *)(void *)item - 1;
}

static struct item *fake_item_new(struct slice key, size_t value_bytes)
{
    struct item_spec spec = { .key = key, .value_bytes = value_bytes };
    struct fake_item *fake = calloc(1, sizeof *fake + item_bytes_of_spec(&spec));
    assert(fake != NULL);
    fake->references = 1;
    item_init(item_of(fake), &spec, 0);
    atomic_fetch_add(&fake_counts.items, 1);
    return item_of(fake);
}

void item_unref(struct store *store, struct item *item)
{
    (void)store;
    if (atomic_fetch_sub(&fake_of(item)->references, 1) > 1)
        return;
    atomic_fetch_sub(&fake_counts.items, 1);
    free(fake_of(item));
}

static struct fake_item **find(struct slice key)
{
    struct fake_item **link = &items;
    while (*link != NULL && !slice_equal(item_key(item_of(*link)), key))
        link = &(*link)->next;
    return link;
}

static void put(struct item *item)
{
    pthread_mutex_lock(&lock);
    struct fake_item **link = find(item_key(item));
    struct fake_item *old = *link;
    if (old != NULL)
        *link = old->next;
    fake_of(item)->next = items;
    items = fake_of(item);
    pthread_mutex_unlock(&lock);
    if (old != NULL)
        item_unref(NULL, item_of(old));
}

void fake_reset(void)
{
    struct stream *stream = atomic_exchange(&last_stream, NULL);

    if (stream != NULL)
        stream_unref(stream);
    while (items != NULL) {
        struct fake_item *fake = items;
        items = fake->next;
        item_unref(NULL, item_of(fake));
    }
}

/* ---- the executor ---- */

static void say(struct output *output, const char *text)
{
    output_append(output, (struct slice){ (const unsigned char *)text, strlen(text) });
}

static void get(const struct operation *operation, struct output *output)
{
    char head[512];

    pthread_mutex_lock(&lock);
    struct fake_item *fake = *find(operation->key);
    if (fake != NULL)
        atomic_fetch_add(&fake->references, 1);
    pthread_mutex_unlock(&lock);
    if (fake != NULL) {
        struct slice value = item_value_slice(item_of(fake));
        int size = snprintf(head, sizeof head, "VALUE %.*s 0 %zu\r\n", (int)operation->key.size,
                            operation->key.bytes, value.size);
        output_append(output, (struct slice){ (unsigned char *)head, (size_t)size });
        if (value.size >= ITEM_LONG_VALUE_BYTES) {
            output_append_value(output, item_of(fake), value);
        } else {
            output_append(output, value);
            item_unref(NULL, item_of(fake));
        }
        say(output, "\r\n");
    }
    if ((operation->options & OPERATION_LAST_KEY) != 0)
        say(output, "END\r\n");
}

static void store(struct connection *connection, const struct operation *operation,
                  struct output *output)
{
    if (!connection_is_authenticated(connection)) {
        connection_set_authenticated(connection);
        say(output, "STORED\r\n");
        return;
    }
    struct item *item = fake_item_new(operation->key, operation->value.size);
    if (operation->value.size > 0)
        memcpy(item_value(item), operation->value.bytes, operation->value.size);
    put(item);
    say(output, operation->protocol == PROTOCOL_META ? "HD\r\n" : "STORED\r\n");
}

struct dump {
    unsigned line;
};

static bool produce_dump(struct connection *connection, struct output *output, void *state)
{
    struct dump *dump = state;

    (void)connection;
    for (unsigned i = 0; i < 600 && dump->line < FAKE_DUMP_LINES; i++, dump->line++) {
        char *out = (char *)output_reserve(output, 128);
        output_commit(output, (size_t)sprintf(out, "%098u\r\n", dump->line));
    }
    if (dump->line < FAKE_DUMP_LINES)
        return true;
    say(output, "END\r\n");
    return false;
}

static void release_dump(void *state)
{
    atomic_fetch_sub(&fake_counts.productions, 1);
    free(state);
}

static void dump(struct connection *connection)
{
    struct dump *state = calloc(1, sizeof *state);
    assert(state != NULL);
    atomic_fetch_add(&fake_counts.productions, 1);
    (void)connection_produce(connection, produce_dump, state, release_dump);
}

static void watch(struct connection *connection, struct output *output)
{
    struct stream *stream = connection_watch(connection, 1024);
    if (stream == NULL) {
        say(output, "WATCHER_FAILED\r\n");
        return;
    }
    say(output, "OK\r\n");
    stream = atomic_exchange(&last_stream, stream);
    if (stream != NULL)
        stream_unref(stream);
}

struct stream *fake_take_stream(void)
{
    return atomic_exchange(&last_stream, NULL);
}

static void sasl(struct connection *connection, const struct operation *operation,
                 struct output *output)
{
    char text[64];
    int size = snprintf(text, sizeof text, "LOGIN %zu\r\n", operation->value.size);

    assert(operation->value.bytes != NULL);
    connection_set_authenticated(connection);
    output_append(output, (struct slice){ (unsigned char *)text, (size_t)size });
}

static void execute_one(struct connection *connection, const struct operation *operation,
                        struct output *output)
{
    switch (operation->verb) {
    case VERB_GET: get(operation, output); break;
    case VERB_STORE: store(connection, operation, output); break;
    case VERB_NOOP: say(output, "MN\r\n"); break;
    case VERB_VERSION: say(output, "VERSION 1.6.45\r\n"); break;
    case VERB_QUIT: connection_close_after_output(connection); break;
    case VERB_CLOSE: connection_close_after_output(connection); break;
    case VERB_LRU_CRAWLER: dump(connection); break;
    case VERB_WATCH: watch(connection, output); break;
    case VERB_SASL_AUTH: sasl(connection, operation, output); break;
    default: say(output, "ERROR\r\n"); break;
    }
    if (operation->closes)
        connection_close_after_output(connection);
}

void execute_batch(struct worker *worker, struct connection *connection,
                   struct operation *operations, unsigned count, struct output *output)
{
    (void)worker;
    atomic_fetch_add(&fake_counts.batches, 1);
    for (unsigned i = 0; i < count; i++) {
        atomic_fetch_add(&fake_counts.operations, 1);
        execute_one(connection, &operations[i], output);
    }
}

struct item *execute_store_begin(struct worker *worker, struct connection *connection,
                                 struct operation *operation, struct output *output)
{
    (void)worker;
    (void)connection;
    if (operation->value.size <= FAKE_VALUE_BYTES_MAX)
        return fake_item_new(operation->key, operation->value.size);
    say(output, "SERVER_ERROR object too large for cache\r\n");
    return NULL;
}

void execute_store_finish(struct worker *worker, struct connection *connection,
                          struct operation *operation, struct item *item, bool ends_well,
                          struct output *output)
{
    (void)worker;
    (void)connection;
    atomic_fetch_add(&fake_counts.operations, 1);
    if (!ends_well) {
        item_unref(NULL, item);
        say(output, "CLIENT_ERROR bad data chunk\r\n");
        return;
    }
    /* The slices of the operation have to be as they were at the beginning. */
    assert(slice_equal(operation->key, item_key(item)));
    put(item);
    if (operation->protocol == PROTOCOL_META) {
        say(output, "HD ");
        output_append(output, operation->meta_flags);
        say(output, "\r\n");
    } else {
        say(output, "STORED\r\n");
    }
}

void execute_store_abandon(struct worker *worker, struct item *item)
{
    (void)worker;
    atomic_fetch_add(&fake_counts.abandoned, 1);
    item_unref(NULL, item);
}

/* ---- the rest of the server ---- */

void store_thread_init(struct store *store)
{
    (void)store;
}

void store_thread_deinit(struct store *store)
{
    (void)store;
}

void store_prefetch_index(struct store *store, uint64_t hash)
{
    (void)store;
    (void)hash;
}

void store_prefetch_item(struct store *store, uint64_t hash)
{
    (void)store;
    (void)hash;
}

void watch_connection_new(const struct connection *connection)
{
    (void)connection;
}

void watch_connection_closed(const struct connection *connection,
                             enum connection_close_reason reason)
{
    (void)connection;
    (void)reason;
}

void item_ref(struct item *item)
{
    atomic_fetch_add(&fake_of(item)->references, 1);
}

/* ---- no cluster ---- */

struct cluster *cluster_get(void)
{
    return NULL;
}

void cluster_run_done_jobs(struct cluster *cluster, unsigned worker)
{
    (void)cluster, (void)worker;
}

struct requests *requests_new(struct worker *worker, struct cluster *cluster)
{
    (void)worker, (void)cluster;
    return NULL;
}

void requests_free(struct requests *requests)
{
    (void)requests;
}

void requests_begin_turn(struct requests *requests)
{
    (void)requests;
}

void requests_end_turn(struct requests *requests)
{
    (void)requests;
}

void requests_start(struct requests *requests, enum request_class request_class,
                    const struct operation *operation, struct item *item,
                    struct request_client *client)
{
    (void)requests, (void)request_class, (void)operation, (void)item, (void)client;
    assert(false);
}
