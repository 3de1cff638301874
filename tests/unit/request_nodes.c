#include "tests/unit/request_nodes.h"
#include "ring/key_hash.h"
#include "server/cell_item.h"
#include "server/cell_store.h"
#include "server/clock.h"
#include "server/command.h"
#include "server/settings.h"
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
/* after those */
#include <cmocka.h>

#define PATIENCE_MS 5000

/* ---- a cluster that is only told of ---- */

const struct peer_secret *cluster_secret(const struct cluster *cluster)
{
    (void)cluster;
    return NULL;
}

struct peer_tls *cluster_tls(const struct cluster *cluster)
{
    (void)cluster;
    return NULL;
}

const struct cluster_view *cluster_view_hold(struct cluster *cluster, unsigned worker)
{
    (void)worker;
    assert_false(cluster->is_held);
    cluster->is_held = true;
    return &cluster->view;
}

void cluster_view_release(struct cluster *cluster, unsigned worker)
{
    (void)worker;
    assert_true(cluster->is_held);
    cluster->is_held = false;
}

void cluster_note_reply(struct cluster *cluster, unsigned worker, node_id peer, uint32_t us)
{
    (void)worker, (void)peer, (void)us;
    cluster->replies++;
}

void cluster_note_dot(struct cluster *cluster, unsigned worker, struct dot dot)
{
    (void)cluster, (void)worker;
    assert_true(dot_is_valid(dot));
}

void cluster_note_latency(struct cluster *cluster, unsigned worker, uint32_t us)
{
    (void)cluster, (void)worker, (void)us;
}

void cluster_note_clock(struct cluster *cluster, unsigned worker, node_id peer, bool is_refused)
{
    (void)worker, (void)peer;
    cluster->refused_clocks += is_refused;
}

bool hint_reserve(struct cluster *cluster, uint64_t bytes)
{
    return hint_queue_reserve(&cluster->hints, bytes);
}

void hint_unreserve(struct cluster *cluster, uint64_t bytes)
{
    hint_queue_free(&cluster->hints, bytes);
}

void hint_add(struct cluster *cluster, uint64_t hash, struct slice key, node_id target,
              uint64_t bytes)
{
    hint_queue_add(&cluster->hints, hash, key, target, bytes);
}

/* ---- nodes ---- */

struct node nodes[NODES_MAX];
static unsigned node_count;
struct ring_table table;
static unsigned char rows[RING_ROWS_BYTES(PARTITION_BITS, 3)];

node_id id_of(unsigned node)
{
    return 101 + node;
}

static void on_wake(struct ev_loop *loop, ev_async *wake, int events)
{
    (void)loop, (void)wake, (void)events;
}

static void begin_turn(struct ev_loop *loop, ev_check *check, int events)
{
    struct worker *worker = check->data;

    (void)loop, (void)events;
    requests_begin_turn(worker->requests);
}

static void end_turn(struct ev_loop *loop)
{
    struct worker *worker = ev_userdata(loop);

    if (worker->requests != NULL)
        requests_end_turn(worker->requests);
}

static void refresh_now(struct ev_loop *loop)
{
    struct worker *worker = ev_userdata(loop);

    worker->now_ms = clock_now_ms();
}

static void start_worker(struct node *node, struct store *store)
{
    struct worker *worker = &node->worker;

    *worker = (struct worker){.store = store, .now_ms = clock_now_ms()};
    worker->loop = ev_loop_new(EVFLAG_NOENV | EVBACKEND_EPOLL);
    assert_non_null(worker->loop);
    ev_set_userdata(worker->loop, worker);
    ev_set_loop_release_cb(worker->loop, end_turn, refresh_now);
    ev_async_init(&worker->wake, on_wake);
    ev_async_start(worker->loop, &worker->wake);
    ev_check_init(&worker->before_events, begin_turn);
    ev_set_priority(&worker->before_events, EV_MAXPRI);
    worker->before_events.data = worker;
    worker->requests = requests_new(worker, &node->cluster);
    assert_non_null(worker->requests);
    ev_check_start(worker->loop, &worker->before_events);
}

static void listen_for_peers(struct node *node)
{
    socklen_t size = sizeof node->address;

    node->listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    node->address = (struct sockaddr_in){.sin_family = AF_INET};
    node->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(node->listening, (struct sockaddr *)&node->address, size), 0);
    assert_int_equal(listen(node->listening, 16), 0);
    getsockname(node->listening, (struct sockaddr *)&node->address, &size);
}

/* All own all partitions; the first owners take turns. */
static void make_table(void)
{
    const unsigned copies = node_count < 3 ? node_count : 3;

    ring_table_init(&table, PARTITION_BITS, 3, rows, sizeof rows);
    table.version = (struct ring_version){1, id_of(0)};
    table.member_count = node_count;
    for (unsigned i = 0; i < node_count; i++)
        table.members[i] = (struct ring_member){id_of(i), i, 1};
    for (unsigned p = 0; p < 1u << PARTITION_BITS; p++)
        for (unsigned i = 0; i < 3; i++)
            rows[3 * p + i] = (unsigned char)(i < copies ? (p + i) % node_count : RING_NO_OWNER);
    assert_true(ring_table_is_sound(&table));
}

static void tell_view(unsigned number)
{
    struct cluster *cluster = &nodes[number].cluster;
    unsigned peers = 0;

    for (unsigned i = 0; i < node_count; i++) {
        cluster->views[i] = (struct peer_view){.hedge_ms = 50, .is_reachable = true};
        if (i == number)
            continue;
        cluster->peers[peers] = (struct cluster_peer){.id = id_of(i),
                                                      .incarnation = 1,
                                                      .address_bytes = sizeof nodes[i].address,
                                                      .is_reachable = true};
        memcpy(&cluster->peers[peers++].address, &nodes[i].address, sizeof nodes[i].address);
    }
    cluster->view = (struct cluster_view){.table = &table,
                                          .views = cluster->views,
                                          .self = id_of(number),
                                          .incarnation = 1,
                                          .may_coordinate = true,
                                          .peer_count = peers,
                                          .peers = cluster->peers,
                                          .peers_version = 1};
}

/* What a node believes of another from now on. */
void believe(unsigned number, unsigned other, bool is_reachable, bool is_cut)
{
    struct cluster *cluster = &nodes[number].cluster;

    cluster->views[other].is_reachable = is_reachable;
    for (unsigned i = 0; i < cluster->view.peer_count; i++) {
        if (cluster->peers[i].id != id_of(other))
            continue;
        cluster->peers[i].is_reachable = is_reachable;
        cluster->peers[i].is_cut = is_cut;
    }
    cluster->view.peers_version++;
}

static void accept_peers(struct node *node)
{
    int fd;

    while ((fd = accept4(node->listening, NULL, NULL, SOCK_NONBLOCK)) >= 0)
        requests_take_link(&node->worker, fd);
}

void turn(void)
{
    for (unsigned i = 0; i < node_count; i++) {
        if (!nodes[i].is_running)
            continue;
        accept_peers(&nodes[i]);
        ev_run(nodes[i].worker.loop, EVRUN_NOWAIT);
    }
}

uint64_t now_ms(void)
{
    return clock_now_ms();
}

void turn_for(unsigned ms)
{
    const uint64_t end_ms = now_ms() + ms;

    while (now_ms() < end_ms) {
        turn();
        usleep(200);
    }
}

static struct store *make_store(void)
{
    const struct cell_store_options cells = {.partition_bits = PARTITION_BITS,
                                             .leaf_bits = 4,
                                             .stub_bytes_max = 1 << 20,
                                             .tombstone_bytes_max = 1 << 20,
                                             .tombstone_grace_ms = 3600 * 1000};
    const struct store_options options = {.limit_bytes = 64 << 20,
                                          .item_bytes_max = settings.item_bytes_max,
                                          .threads = 1,
                                          .evicts = true,
                                          .cells = &cells};
    struct store *store = store_new(&options);

    assert_non_null(store);
    assert_true(cell_store_use_class(store, 3));
    return store;
}

void start_nodes(unsigned count)
{
    node_count = count;
    for (unsigned i = 0; i < count; i++)
        listen_for_peers(&nodes[i]);
    make_table();
    for (unsigned i = 0; i < count; i++) {
        struct store *store = make_store();
        nodes[i].cluster = (struct cluster){0};
        tell_view(i);
        hint_queue_init(&nodes[i].cluster.hints, store, 1 << 20);
        start_worker(&nodes[i], store);
        nodes[i].is_running = true;
    }
    for (unsigned i = 0; i < count; i++)
        while (atomic_load(&nodes[i].worker.requests->links_open) < 2 * (count - 1))
            turn();
}

void stop_node(unsigned number)
{
    struct node *node = &nodes[number];

    if (!node->is_running)
        return;
    node->is_running = false;
    requests_free(node->worker.requests);
    node->worker.requests = NULL;
    ev_loop_destroy(node->worker.loop);
    store_free(node->worker.store);
    hint_queue_deinit(&node->cluster.hints);
    close(node->listening);
}

int stop_nodes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < node_count; i++) {
        nodes[i].is_running = nodes[i].worker.requests != NULL;
        stop_node(i);
    }
    return 0;
}

/* ---- clients ---- */

static void on_answer(struct request_client *client, const struct request_answered *answered)
{
    struct asked *asked = (struct asked *)client;

    asked->answers++;
    asked->answer = answered->answer;
    asked->got = answered->got;
    asked->needed = answered->needed;
    if (answered->outcome != NULL) {
        asked->has_outcome = true;
        asked->outcome = *answered->outcome;
    }
    if (answered->cell == NULL)
        return;
    asked->siblings = cell_count_distinct(answered->cell, SIBLING_VALUE);
    const struct sibling *newest = cell_newest(answered->cell, SIBLING_VALUE);
    if (newest == NULL)
        return;
    const struct slice value = cell_item_value(newest);
    asked->has_value = true;
    asked->value = malloc(value.size + 1);
    asked->value_bytes = value.size;
    if (value.size > 0)
        memcpy(asked->value, value.bytes, value.size);
}

void asked_deinit(struct asked *asked)
{
    free(asked->value);
}

struct operation operation_of(enum verb verb, const char *key)
{
    struct operation operation = {.verb = (uint8_t)verb, .protocol = PROTOCOL_TEXT};

    operation.key = (struct slice){(const unsigned char *)key, strlen(key)};
    operation.hash = key_hash(operation.key);
    return operation;
}

/* Starts it as a connection of that node would, in its turn. */
void ask(unsigned node, const struct operation *operation, struct item *item, struct asked *asked)
{
    struct requests *requests = nodes[node].worker.requests;

    *asked = (struct asked){.client = {on_answer}};
    requests_begin_turn(requests);
    requests_start(requests, command_class(operation), operation, item, &asked->client);
}

void await(struct asked *asked)
{
    const uint64_t end_ms = now_ms() + PATIENCE_MS;

    while (asked->answers == 0 && now_ms() < end_ms)
        turn();
    assert_int_equal(asked->answers, 1);
}

void drain(void)
{
    const uint64_t end_ms = now_ms() + PATIENCE_MS;

    turn_for(20); /* what has been sent arrives */
    for (unsigned i = 0; i < node_count; i++)
        while (nodes[i].is_running && requests_in_flight(nodes[i].worker.requests) > 0 &&
               now_ms() < end_ms)
            turn();
    turn();
    for (unsigned i = 0; i < node_count; i++)
        if (nodes[i].is_running)
            assert_int_equal(requests_in_flight(nodes[i].worker.requests), 0);
}

struct operation set_of(const char *key, const void *value, size_t bytes)
{
    struct operation operation = operation_of(VERB_STORE, key);

    operation.mode = STORE_SET;
    operation.value = (struct slice){value, bytes};
    operation.client_flags = 7;
    return operation;
}

struct asked set(unsigned node, const char *key, const char *value)
{
    struct operation operation = set_of(key, value, strlen(value));
    struct asked asked;

    ask(node, &operation, NULL, &asked);
    await(&asked);
    asked_deinit(&asked);
    return asked;
}

void assert_set(unsigned node, const char *key, const char *value)
{
    struct asked asked = set(node, key, value);

    assert_int_equal(asked.answer, ANSWER_DONE);
    assert_true(asked.has_outcome);
    assert_int_equal(asked.outcome.status, OUTCOME_OK);
}

void assert_get(unsigned node, const char *key, const char *value)
{
    struct operation operation = operation_of(VERB_GET, key);
    struct asked asked;

    operation.options = OPERATION_WANTS_VALUE | OPERATION_FIRST_KEY | OPERATION_LAST_KEY;
    ask(node, &operation, NULL, &asked);
    await(&asked);
    assert_int_equal(asked.answer, ANSWER_DONE);
    assert_int_equal(asked.has_value, value != NULL);
    if (value != NULL) {
        assert_int_equal(asked.value_bytes, strlen(value));
        assert_memory_equal(asked.value, value, strlen(value));
    }
    asked_deinit(&asked);
}

/* A key whose first owner is that node. */
const char *key_of(unsigned node, unsigned number)
{
    static char keys[16][32];
    char *key = keys[number % 16];

    for (unsigned i = 0;; i++) {
        snprintf(key, sizeof keys[0], "key-%u-%u", number, i);
        const uint64_t hash = key_hash((struct slice){(unsigned char *)key, strlen(key)});
        if (rows[3 * ring_table_partition(&table, hash)] == node)
            return key;
    }
}

/* What a node holds for the key itself. */
unsigned held(unsigned node, const char *key, uint64_t *value_bytes)
{
    struct sibling siblings[16];
    struct cell cell;
    const struct slice name = {(const unsigned char *)key, strlen(key)};
    const uint64_t hash = key_hash(name);
    struct stripe *stripe = store_lock(nodes[node].worker.store, hash);

    cell_init(&cell, siblings, 16);
    cell_store_read(stripe, hash, name, now_ms(), &cell);
    store_unlock(stripe);
    *value_bytes = cell.sibling_count == 1 ? cell.siblings[0].value_bytes : 0;
    return cell.sibling_count;
}

void assert_held(unsigned node, const char *key, uint64_t expected)
{
    uint64_t value_bytes;

    assert_int_equal(held(node, key, &value_bytes), 1);
    assert_int_equal(value_bytes, expected);
}
