/* Some nodes' request engines in one process, over real links on loopback, with views of the
 * cluster that the test makes up: no cluster thread. */
#include "ring/key_hash.h"
#include "server/clock.h"
#include "server/hint_queue.h"
#include "server/request_internal.h"
#include "server/store.h"
#include "server/worker.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* after those */
#include <cmocka.h>

#define NODES_MAX      4
#define PARTITION_BITS 4
#define NOTHING_MS     300 /* long enough to see that nothing happens */
#define PATIENCE_MS    5000

/* ---- a cluster that is only told of ---- */

struct cluster {
    struct cluster_view view;
    struct ring_table *table;
    struct peer_view views[NODES_MAX];
    struct cluster_peer peers[NODES_MAX];
    uint64_t warming[1];
    struct hint_queue hints;
    bool is_held;
    unsigned replies, refused_clocks;
};

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

struct node {
    struct worker worker;
    struct cluster cluster;
    int listening;
    struct sockaddr_in address;
    bool is_running; /* its loop is turned */
};

static struct node nodes[NODES_MAX];
static unsigned node_count;
static struct ring_table table;
static unsigned char rows[RING_ROWS_BYTES(PARTITION_BITS, 3)];

static node_id id_of(unsigned node)
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
static void believe(unsigned number, unsigned other, bool is_reachable, bool is_cut)
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

static void turn(void)
{
    for (unsigned i = 0; i < node_count; i++) {
        if (!nodes[i].is_running)
            continue;
        accept_peers(&nodes[i]);
        ev_run(nodes[i].worker.loop, EVRUN_NOWAIT);
    }
}

static uint64_t now_ms(void)
{
    return clock_now_ms();
}

static void turn_for(unsigned ms)
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

static void start_nodes(unsigned count)
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

static void stop_node(unsigned number)
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

static int stop_nodes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < node_count; i++) {
        nodes[i].is_running = nodes[i].worker.requests != NULL;
        stop_node(i);
    }
    return 0;
}

static uint64_t counted(unsigned node, const _Atomic uint64_t *counter)
{
    (void)node;
    return atomic_load(counter);
}

#define STAT(node, name) counted(node, &nodes[node].worker.requests->stats.name)

/* ---- clients ---- */

struct asked {
    struct request_client client;
    unsigned answers;
    enum request_answer answer;
    unsigned got, needed;
    bool has_outcome, has_value;
    struct outcome outcome;
    unsigned siblings;
    size_t value_bytes;
    unsigned char *value;
};

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

static void asked_deinit(struct asked *asked)
{
    free(asked->value);
}

static struct operation operation_of(enum verb verb, const char *key)
{
    struct operation operation = {.verb = (uint8_t)verb, .protocol = PROTOCOL_TEXT};

    operation.key = (struct slice){(const unsigned char *)key, strlen(key)};
    operation.hash = key_hash(operation.key);
    return operation;
}

/* Starts it as a connection of that node would, in its turn. */
static void ask(unsigned node, const struct operation *operation, struct item *item,
                struct asked *asked)
{
    struct requests *requests = nodes[node].worker.requests;

    *asked = (struct asked){.client = {on_answer}};
    requests_begin_turn(requests);
    requests_start(requests, command_class(operation), operation, item, &asked->client);
}

static void await(struct asked *asked)
{
    const uint64_t end_ms = now_ms() + PATIENCE_MS;

    while (asked->answers == 0 && now_ms() < end_ms)
        turn();
    assert_int_equal(asked->answers, 1);
}

static void drain(void)
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

static struct operation set_of(const char *key, const void *value, size_t bytes)
{
    struct operation operation = operation_of(VERB_STORE, key);

    operation.mode = STORE_SET;
    operation.value = (struct slice){value, bytes};
    operation.client_flags = 7;
    return operation;
}

static struct asked set(unsigned node, const char *key, const char *value)
{
    struct operation operation = set_of(key, value, strlen(value));
    struct asked asked;

    ask(node, &operation, NULL, &asked);
    await(&asked);
    asked_deinit(&asked);
    return asked;
}

static void assert_set(unsigned node, const char *key, const char *value)
{
    struct asked asked = set(node, key, value);

    assert_int_equal(asked.answer, ANSWER_DONE);
    assert_true(asked.has_outcome);
    assert_int_equal(asked.outcome.status, OUTCOME_OK);
}

static void assert_get(unsigned node, const char *key, const char *value)
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
static const char *key_of(unsigned node, unsigned number)
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
static unsigned held(unsigned node, const char *key, uint64_t *value_bytes)
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

static void assert_held(unsigned node, const char *key, uint64_t expected)
{
    uint64_t value_bytes;

    assert_int_equal(held(node, key, &value_bytes), 1);
    assert_int_equal(value_bytes, expected);
}

/* ---- tests ---- */

static void a_value_set_at_one_node_is_read_at_all_of_them(void **state)
{
    (void)state;
    start_nodes(3);
    for (unsigned node = 0; node < 3; node++) {
        assert_set(node, key_of(0, node), "some value");
        for (unsigned other = 0; other < 3; other++)
            assert_get(other, key_of(0, node), "some value");
    }
    drain();
    for (unsigned node = 0; node < 3; node++)
        assert_held(node, key_of(0, 1), 10);
}

static void a_key_that_nobody_has_is_a_miss(void **state)
{
    (void)state;
    start_nodes(3);
    assert_get(0, "nothing", NULL);
    assert_set(1, "nothing", "");
    assert_get(0, "nothing", "");
    drain();
}

static void a_write_is_passed_on_to_the_first_owner(void **state)
{
    (void)state;
    start_nodes(3);
    assert_set(0, key_of(2, 0), "abc");
    assert_int_equal(STAT(0, passed_on), 1);
    assert_int_equal(STAT(0, coordinated), 0);
    assert_int_equal(STAT(2, served_forwards), 1);
    assert_int_equal(STAT(2, coordinated), 1);
    assert_set(2, key_of(2, 0), "abcd");
    assert_int_equal(STAT(2, coordinated), 2);
    assert_int_equal(STAT(2, passed_on), 0);
    drain();
    for (unsigned node = 0; node < 3; node++)
        assert_held(node, key_of(2, 0), 4);
}

/* A long value, as a connection has it: in an item, whose reference it lets go at once. */
static void set_long(unsigned node, const char *key, size_t bytes, unsigned char fill)
{
    struct store *store = nodes[node].worker.store;
    struct operation operation = set_of(key, NULL, bytes);
    struct item_spec spec = {.key = operation.key, .value_bytes = bytes};
    struct item *item = item_new(store, &spec, now_ms());
    struct asked asked;

    assert_non_null(item);
    memset(item_value(item), fill, bytes);
    operation.value.bytes = item_value(item);
    ask(node, &operation, item, &asked);
    item_unref(store, item);
    await(&asked);
    assert_int_equal(asked.answer, ANSWER_DONE);
    assert_int_equal(asked.outcome.status, OUTCOME_OK);
    assert_int_equal(asked.outcome.value.size, bytes);
}

static void assert_get_long(unsigned node, const char *key, size_t bytes, unsigned char fill)
{
    struct operation operation = operation_of(VERB_GET, key);
    struct asked asked;

    operation.options = OPERATION_WANTS_VALUE;
    ask(node, &operation, NULL, &asked);
    await(&asked);
    assert_true(asked.has_value);
    assert_int_equal(asked.value_bytes, bytes);
    assert_int_equal(asked.value[0], fill);
    assert_int_equal(asked.value[bytes / 2], fill);
    assert_int_equal(asked.value[bytes - 1], fill);
    asked_deinit(&asked);
}

static void long_values_travel(void **state)
{
    const size_t sizes[] = {4096, 70000, 2 << 20};

    (void)state;
    start_nodes(3);
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned node = 0; node < 3; node++)
            set_long(node, key_of(1, i), sizes[i], (unsigned char)('a' + 3 * i + node));
        drain();
        for (unsigned node = 0; node < 3; node++) {
            assert_held(node, key_of(1, i), sizes[i]);
            assert_get_long(node, key_of(1, i), sizes[i], (unsigned char)('a' + 3 * i + 2));
        }
    }
    drain();
}

/* A write that does not reach one of the nodes. */
static void set_without(unsigned node, unsigned without, const char *key, size_t bytes)
{
    unsigned char *value = malloc(bytes);
    struct operation operation = set_of(key, value, bytes);
    struct asked asked;

    memset(value, 'v', bytes);
    believe(node, without, false, true);
    turn();
    ask(node, &operation, NULL, &asked);
    free(value);
    await(&asked);
    assert_int_equal(asked.answer, ANSWER_DONE);
    drain();
    believe(node, without, true, false);
    turn();
}

static void a_replica_that_a_read_finds_stale_is_repaired(void **state)
{
    const char *key;
    uint64_t bytes;

    (void)state;
    start_nodes(3);
    key = key_of(0, 0);
    set_without(0, 1, key, 9);
    assert_int_equal(held(1, key, &bytes), 0);
    assert_get(0, key, "vvvvvvvvv");
    drain();
    assert_held(1, key, 9);
    assert_true(STAT(0, repairs_sent) == 1);
}

static void a_node_that_lacks_a_value_fetches_it_to_show_it(void **state)
{
    (void)state;
    start_nodes(3);
    for (unsigned i = 0; i < 2; i++) {
        const size_t bytes = i == 0 ? 100 : 1000000;
        set_without(1, 0, key_of(1, i), bytes);
        assert_get_long(0, key_of(1, i), bytes, 'v');
        drain();
        assert_held(0, key_of(1, i), bytes);
    }
}

static void one_silent_node_does_not_hold_up_a_write(void **state)
{
    (void)state;
    start_nodes(3);
    nodes[1].is_running = false;
    const uint64_t start_ms = now_ms();
    for (unsigned i = 0; i < 20; i++)
        assert_set(0, key_of(0, i), "value");
    assert_true(now_ms() - start_ms < 1000);
    assert_get(0, key_of(0, 1), "value");
    assert_true(requests_in_flight(nodes[0].worker.requests) > 0);
    drain(); /* until their deadline */
    nodes[1].is_running = true;
}

static void a_write_passed_on_to_a_silent_node_goes_elsewhere(void **state)
{
    (void)state;
    start_nodes(3);
    nodes[1].is_running = false;
    const uint64_t start_ms = now_ms();
    assert_set(0, key_of(1, 0), "value");
    assert_true(now_ms() - start_ms < 1000);
    nodes[1].is_running = true;
    drain();
    for (unsigned node = 0; node < 3; node++) /* maybe as two siblings: it was written twice */
        assert_get(node, key_of(1, 0), "value");
    drain();
}

static void what_is_decided_elsewhere_and_not_heard_of_is_unknown(void **state)
{
    struct operation operation;
    struct asked asked;

    (void)state;
    start_nodes(3);
    operation = set_of(key_of(1, 0), "v", 1);
    operation.mode = STORE_ADD;
    nodes[1].is_running = false;
    ask(0, &operation, NULL, &asked);
    turn_for(20);
    believe(0, 1, false, false);
    await(&asked);
    assert_int_equal(asked.answer, ANSWER_UNKNOWN);
    nodes[1].is_running = true;
    drain();
    assert_held(2, key_of(1, 0), 1);
}

static void a_node_that_closes_is_lost_at_once(void **state)
{
    (void)state;
    start_nodes(3);
    stop_node(2);
    for (unsigned i = 0; i < 20; i++)
        assert_set(0, key_of(i % 2, i), "value");
    assert_true(STAT(0, unsent) + STAT(0, lost) > 0);
    drain();
}

static void without_enough_nodes_a_quorum_is_not_met(void **state)
{
    struct operation get = operation_of(VERB_GET, "k");
    struct asked asked;

    (void)state;
    start_nodes(3);
    stop_node(1);
    stop_node(2);
    turn_for(5);
    believe(0, 1, false, false);
    believe(0, 2, false, false);
    asked = set(0, "k", "value");
    assert_int_equal(asked.answer, ANSWER_WRITE_FAILED);
    assert_int_equal(asked.got, 1);
    assert_int_equal(asked.needed, 2);
    get.options = OPERATION_WANTS_VALUE;
    ask(0, &get, NULL, &asked);
    await(&asked);
    assert_int_equal(asked.answer, ANSWER_READ_FAILED);
    asked_deinit(&asked);
    drain();
}

/* With four nodes one is a fallback, which keeps a hint. */
static void a_fallback_keeps_the_cell_with_a_hint(void **state)
{
    const char *key;
    unsigned hints = 0;

    (void)state;
    start_nodes(4);
    key = key_of(0, 0);
    believe(0, 1, false, false);
    turn();
    assert_set(0, key, "value");
    drain();
    assert_held(3, key, 5);
    assert_int_equal(STAT(3, hints_kept), 1);
    struct hint_note *note = hint_queue_take(&nodes[3].cluster.hints);
    for (struct hint_note *next; note != NULL; note = next) {
        next = note->next;
        assert_int_equal(note->target, id_of(1));
        hints++;
        free(note);
    }
    assert_int_equal(hints, 1);
}

static void without_room_for_hints_a_fallback_refuses(void **state)
{
    const char *key;
    uint64_t bytes;

    (void)state;
    start_nodes(4);
    key = key_of(0, 0);
    believe(0, 1, false, false);
    turn();
    assert_true(hint_queue_reserve(&nodes[3].cluster.hints, (1 << 20) - 100));
    assert_set(0, key, "value"); /* at two of the owners */
    drain();
    assert_int_equal(held(3, key, &bytes), 0);
    assert_int_equal(STAT(3, refused_hints), 1);
}

/* Sends one forward twice, as a client link of a peer, and hears the same twice. */
static void a_forward_that_comes_twice_is_done_once(void **state)
{
    struct requests *requests;
    struct request_link *link;
    struct operation operation;

    (void)state;
    start_nodes(2);
    requests = nodes[0].worker.requests;
    link = requests->links;
    operation = operation_of(VERB_ARITHMETIC, key_of(1, 0));
    operation.delta = 5;
    assert_set(1, key_of(1, 0), "10");
    drain();
    for (unsigned i = 0; i < 2; i++) {
        requests_begin_turn(requests);
        requests->message.type = PEER_FORWARD;
        requests->message.forward.request = (struct forward_request){.id = {id_of(0), 12345},
                                                                     .key_hash = operation.hash,
                                                                     .class = REQUEST_DECIDED,
                                                                     .budget_ms = 500,
                                                                     .hops = 1,
                                                                     .tried_count = 1,
                                                                     .tried = {id_of(0)}};
        requests->message.forward.operation = peer_operation(&operation);
        assert_true(links_send(requests, link->peer, NULL));
        turn_for(50);
    }
    assert_int_equal(STAT(1, served_forwards), 2);
    assert_int_equal(STAT(1, repeats), 1);
    assert_int_equal(STAT(1, coordinated), 2);
    assert_get(0, key_of(1, 0), "15");
    drain();
}

static void decided_commands_are_decided_by_the_first_owner(void **state)
{
    struct operation operation;
    struct asked asked;

    (void)state;
    start_nodes(3);
    for (unsigned i = 0; i < 3; i++) {
        operation = set_of(key_of(1, 0), "v", 1);
        operation.mode = STORE_ADD;
        ask(i, &operation, NULL, &asked);
        await(&asked);
        assert_int_equal(asked.answer, ANSWER_DONE);
        assert_int_equal(asked.outcome.status, i == 0 ? OUTCOME_OK : OUTCOME_NOT_STORED);
    }
    assert_set(2, key_of(0, 1), "100");
    for (unsigned i = 0; i < 3; i++) {
        operation = operation_of(VERB_ARITHMETIC, key_of(0, 1));
        operation.delta = 1;
        ask(i, &operation, NULL, &asked);
        await(&asked);
        assert_int_equal(asked.outcome.status, OUTCOME_OK);
        assert_int_equal(asked.outcome.number, 101 + i);
    }
    drain();
}

static void appending_makes_a_new_value_everywhere(void **state)
{
    struct operation operation;
    struct asked asked;

    (void)state;
    start_nodes(3);
    assert_set(0, key_of(1, 0), "abc");
    operation = set_of(key_of(1, 0), "def", 3);
    operation.mode = STORE_APPEND;
    ask(2, &operation, NULL, &asked);
    await(&asked);
    assert_int_equal(asked.outcome.status, OUTCOME_OK);
    for (unsigned i = 0; i < 3; i++)
        assert_get(i, key_of(1, 0), "abcdef");
    drain();
    for (unsigned i = 0; i < 3; i++)
        assert_held(i, key_of(1, 0), 6);
}

static void a_delete_leaves_nothing_to_read(void **state)
{
    struct operation operation;
    struct asked asked;

    (void)state;
    start_nodes(3);
    assert_set(0, key_of(1, 0), "abc");
    operation = operation_of(VERB_DELETE, key_of(1, 0));
    for (unsigned i = 0; i < 2; i++) {
        ask(0, &operation, NULL, &asked);
        await(&asked);
        assert_int_equal(asked.outcome.status, i == 0 ? OUTCOME_OK : OUTCOME_NOT_FOUND);
    }
    for (unsigned i = 0; i < 3; i++)
        assert_get(i, key_of(1, 0), NULL);
    drain();
}

static void many_at_once_are_all_answered(void **state)
{
    enum { COUNT = 2000 };
    static struct asked asked[COUNT];
    static char keys[COUNT][16];

    (void)state;
    start_nodes(3);
    settings.request_timeout_ms = 60 * 1000;
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(keys[i], sizeof keys[i], "k%u", i);
        struct operation operation = set_of(keys[i], keys[i], strlen(keys[i]));
        ask(i % 3, &operation, NULL, &asked[i]);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        await(&asked[i]);
        assert_int_equal(asked[i].answer, ANSWER_DONE);
    }
    settings.request_timeout_ms = 1000;
    drain();
    for (unsigned i = 0; i < COUNT; i += 97)
        assert_get(i % 3, keys[i], keys[i]);
    drain();
}

static void past_the_bound_requests_that_are_answered_end_early(void **state)
{
    static struct asked asked[REQUESTS_MAX + 100];
    unsigned refused = 0;

    (void)state;
    start_nodes(3);
    settings.request_timeout_ms = 60 * 1000;
    nodes[2].is_running = false; /* so none of them is done before its time */
    for (unsigned i = 0; i < REQUESTS_MAX + 100; i++) {
        struct operation operation = set_of(key_of(0, i % 16), "v", 1);
        ask(0, &operation, NULL, &asked[i]);
        if (i % 64 == 0)
            turn();
    }
    for (unsigned i = 0; i < REQUESTS_MAX + 100; i++) {
        await(&asked[i]);
        refused += asked[i].answer != ANSWER_DONE;
    }
    assert_int_equal(refused, 0);
    assert_true(STAT(0, ended_early) > 0);
    settings.request_timeout_ms = 1000;
    nodes[2].is_running = true;
    drain();
}

static void who_is_cut_off_hears_nothing_and_is_not_heard(void **state)
{
    uint64_t bytes;

    (void)state;
    start_nodes(3);
    believe(0, 1, true, true);
    believe(1, 0, true, true);
    turn();
    assert_set(0, key_of(0, 0), "value");
    turn_for(NOTHING_MS);
    assert_int_equal(held(1, key_of(0, 0), &bytes), 0);
    assert_held(2, key_of(0, 0), 5);
    drain();
}

static void a_message_of_a_former_life_is_dropped(void **state)
{
    uint64_t bytes;

    (void)state;
    start_nodes(2);
    nodes[1].cluster.peers[0].incarnation = 2; /* node 0 lives again, it has heard */
    nodes[1].cluster.view.peers_version++;
    turn();
    struct asked asked = set(0, key_of(0, 0), "value");
    assert_int_equal(asked.answer, ANSWER_WRITE_FAILED);
    assert_int_equal(held(1, key_of(0, 0), &bytes), 0);
    assert_true(STAT(1, dropped_old) > 0);
    drain();
}

/* A flush that all replicas but this know of already: it has to be written under a dot that comes
 * after. */
static void a_write_that_a_replica_finds_covered_is_written_again(void **state)
{
    const char *key;

    (void)state;
    start_nodes(3);
    key = key_of(0, 0);
    const hlc_time flushed = hlc_of_ms(now_ms() + 2000);
    nodes[1].cluster.view.flushed_up_to = flushed;
    nodes[2].cluster.view.flushed_up_to = flushed;
    assert_set(0, key, "value");
    drain();
    assert_true(STAT(0, rewrites) >= 1);
    for (unsigned node = 0; node < 3; node++)
        assert_held(node, key, 5);
    for (unsigned node = 0; node < 3; node++)
        nodes[node].cluster.view.flushed_up_to = flushed;
    assert_get(1, key, "value");
    drain();
}

static void what_was_flushed_is_not_read(void **state)
{
    (void)state;
    start_nodes(3);
    assert_set(0, key_of(0, 0), "value");
    drain();
    turn_for(2);
    for (unsigned node = 0; node < 3; node++)
        nodes[node].cluster.view.flushed_up_to = hlc_of_ms(now_ms());
    for (unsigned node = 0; node < 3; node++)
        assert_get(node, key_of(0, 0), NULL);
    drain();
}

/* Its clock is two minutes ahead, as far as the others can see. */
static void a_cell_from_the_future_is_refused(void **state)
{
    static const char value[] = "value";
    struct requests *requests;
    struct sibling sibling, room;
    struct operation operation;
    struct cell cell;
    uint64_t bytes;

    (void)state;
    start_nodes(2);
    requests = nodes[0].worker.requests;
    operation = operation_of(VERB_GET, key_of(1, 0));
    sibling = sibling_of_value((struct dot){id_of(0), hlc_of_ms(now_ms() + 120000)}, 0, 0, 5, 1,
                               (uint64_t)(uintptr_t)value);
    cell_init(&cell, &room, 1);
    cell_make_common(&cell, &sibling, false);
    requests_begin_turn(requests);
    requests->message.type = PEER_STORE;
    requests->message.store = (struct peer_store){
        .request = {.operation = 1, .key_hash = operation.hash, .dot = sibling.dot, .cell = &cell},
        .key = operation.key};
    assert_true(links_send(requests, id_of(1), NULL));
    turn_for(50);
    assert_int_equal(STAT(1, refused_clock), 1);
    assert_int_equal(nodes[0].cluster.refused_clocks, 1);
    assert_int_equal(held(1, key_of(1, 0), &bytes), 0);
}

static void an_owner_may_answer_alone_only_if_r_is_one_and_it_is_warm(void **state)
{
    struct operation operation;
    struct requests *requests;

    (void)state;
    start_nodes(3);
    requests = nodes[0].worker.requests;
    operation = operation_of(VERB_GET, key_of(0, 0));
    requests_begin_turn(requests);
    assert_false(requests_owner_may_answer(requests, &operation));
    settings.read_quorum = 1;
    assert_true(requests_owner_may_answer(requests, &operation));
    nodes[0].cluster.warming[0] = 1u << ring_table_partition(&table, operation.hash);
    nodes[0].cluster.view.warming = nodes[0].cluster.warming;
    assert_false(requests_owner_may_answer(requests, &operation));
    settings.read_quorum = 2;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, stop_nodes)
    const struct CMUnitTest tests[] = {
        TEST(a_value_set_at_one_node_is_read_at_all_of_them),
        TEST(a_key_that_nobody_has_is_a_miss),
        TEST(a_write_is_passed_on_to_the_first_owner),
        TEST(long_values_travel),
        TEST(a_replica_that_a_read_finds_stale_is_repaired),
        TEST(a_node_that_lacks_a_value_fetches_it_to_show_it),
        TEST(one_silent_node_does_not_hold_up_a_write),
        TEST(a_write_passed_on_to_a_silent_node_goes_elsewhere),
        TEST(what_is_decided_elsewhere_and_not_heard_of_is_unknown),
        TEST(a_node_that_closes_is_lost_at_once),
        TEST(without_enough_nodes_a_quorum_is_not_met),
        TEST(a_fallback_keeps_the_cell_with_a_hint),
        TEST(without_room_for_hints_a_fallback_refuses),
        TEST(a_forward_that_comes_twice_is_done_once),
        TEST(decided_commands_are_decided_by_the_first_owner),
        TEST(appending_makes_a_new_value_everywhere),
        TEST(a_delete_leaves_nothing_to_read),
        TEST(many_at_once_are_all_answered),
        TEST(past_the_bound_requests_that_are_answered_end_early),
        TEST(who_is_cut_off_hears_nothing_and_is_not_heard),
        TEST(a_message_of_a_former_life_is_dropped),
        TEST(a_write_that_a_replica_finds_covered_is_written_again),
        TEST(what_was_flushed_is_not_read),
        TEST(a_cell_from_the_future_is_refused),
        TEST(an_owner_may_answer_alone_only_if_r_is_one_and_it_is_warm),
    };

    settings_init(&settings);
    settings.item_bytes_max = 4 << 20;
    clock_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
