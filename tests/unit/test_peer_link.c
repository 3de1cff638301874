#include "server/peer_link.h"
#include "ring/bytes.h"
#include "server/store.h"
#include "tests/unit/certificate.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
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

#define FRAME_BYTES_MAX (4u << 20)
#define HEARD_MAX       64

/* One of two nodes, on one loop. */
struct side {
    struct peer_loop *loop;
    struct peer_link *link; /* the last one that opened */
    unsigned opened, closed, heard_count;
    uint64_t heard[HEARD_MAX]; /* the operations of the frames that came */
    unsigned char *value;      /* of the last one that had one */
    size_t value_bytes;
};

struct world {
    struct ev_loop *loop;
    struct side connects, accepts;
    struct peer_secret secrets[2];
    struct peer_tls *tls[2]; /* NULL: none */
    ev_io listening;
    int fd;
    struct sockaddr_in address;
};

static void on_open(void *context, struct peer_link *link)
{
    struct side *side = context;

    side->opened++;
    side->link = link;
}

static void on_message(void *context, struct peer_link *link, const struct peer_message *message)
{
    struct side *side = context;

    assert_ptr_equal(side->link, link);
    assert_true(side->heard_count < HEARD_MAX);
    if (message->type == PEER_STORED) {
        side->heard[side->heard_count++] = message->stored.operation;
        return;
    }
    assert_int_equal(message->type, PEER_STORE);
    const struct cell *cell = message->store.request.cell;
    side->heard[side->heard_count++] = message->store.request.operation;
    side->value_bytes = cell->siblings[0].value_bytes;
    free(side->value);
    side->value = malloc(side->value_bytes + 1);
    memcpy(side->value, (const void *)(uintptr_t)cell->siblings[0].value, side->value_bytes);
}

static void on_close(void *context, struct peer_link *link)
{
    struct side *side = context;

    (void)link;
    side->closed++;
    side->link = NULL;
}

/* What a listener does with TLS: reads which use the link is for. */
static void read_use(int fd)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    unsigned char use = 0;

    assert_int_equal(poll(&readable, 1, 30000), 1);
    assert_int_equal(recv(fd, &use, 1, 0), 1);
    assert_int_equal(use, PEER_LINK_REQUESTS);
}

static void on_accept(struct ev_loop *loop, ev_io *io, int events)
{
    struct world *world = io->data;
    int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)loop, (void)events;
    if (fd >= 0 && world->tls[1] != NULL)
        read_use(fd);
    if (fd >= 0)
        assert_non_null(peer_link_accept(world->accepts.loop, fd));
}

static struct peer_loop *make_loop(struct world *world, struct side *side, node_id self,
                                   const struct peer_secret *secret, struct peer_tls *tls)
{
    struct peer_loop_options options = {
        .secret = secret,
        .tls = tls,
        .self = self,
        .frame_bytes_max = FRAME_BYTES_MAX,
        .unsent_bytes_max = 1u << 20,
        .greeting_ms_max = 60000,
        .backoff_ms_min = 1,
        .backoff_ms_max = 8,
        .silence_ms_max = 60000,
        .owner = {.on_open = on_open,
                  .on_message = on_message,
                  .on_close = on_close,
                  .context = side},
    };

    return peer_loop_new(world->loop, &options);
}

static void listen_again(struct world *world)
{
    int on = 1;
    socklen_t size = sizeof world->address;

    world->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(world->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(world->fd, (struct sockaddr *)&world->address, size), 0);
    assert_int_equal(listen(world->fd, 16), 0);
    assert_int_equal(getsockname(world->fd, (struct sockaddr *)&world->address, &size), 0);
    ev_io_init(&world->listening, on_accept, world->fd, EV_READ);
    world->listening.data = world;
    ev_io_start(world->loop, &world->listening);
}

static void stop_listening(struct world *world)
{
    ev_io_stop(world->loop, &world->listening);
    close(world->fd);
}

/* Makes all of a world that is zeroed but for its `tls`. */
static void setup_rest(struct world *world, const char *connects_secret, const char *accepts_secret)
{
    const char *texts[2] = {connects_secret, accepts_secret};

    for (unsigned i = 0; i < 2; i++) {
        world->secrets[i].size = texts[i] != NULL ? strlen(texts[i]) : 0;
        memcpy(world->secrets[i].bytes, texts[i] != NULL ? texts[i] : "", world->secrets[i].size);
    }
    world->loop = ev_loop_new(EVFLAG_AUTO);
    world->connects.loop =
        make_loop(world, &world->connects, 1, connects_secret != NULL ? &world->secrets[0] : NULL,
                  world->tls[0]);
    world->accepts.loop =
        make_loop(world, &world->accepts, 2, accepts_secret != NULL ? &world->secrets[1] : NULL,
                  world->tls[1]);
    world->address.sin_family = AF_INET;
    world->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listen_again(world);
}

static void setup(struct world *world, const char *connects_secret, const char *accepts_secret)
{
    memset(world, 0, sizeof *world);
    setup_rest(world, connects_secret, accepts_secret);
}

static void teardown(struct world *world)
{
    peer_loop_free(world->connects.loop);
    peer_loop_free(world->accepts.loop);
    stop_listening(world);
    ev_loop_destroy(world->loop);
    free(world->connects.value);
    free(world->accepts.value);
    for (unsigned i = 0; i < 2; i++)
        if (world->tls[i] != NULL)
            peer_tls_free(world->tls[i]);
}

static struct peer_link *connect_to(struct world *world, node_id to)
{
    struct peer_link *link =
        peer_link_connect(world->connects.loop, to, (struct sockaddr *)&world->address,
                          sizeof world->address, PEER_LINK_REQUESTS);

    assert_non_null(link);
    return link;
}

/* Runs the loop until `*counter` has this value. */
static void run_until(struct world *world, const unsigned *counter, unsigned value)
{
    while (*counter < value)
        ev_run(world->loop, EVRUN_ONCE);
    assert_int_equal(*counter, value);
}

static void open_both(struct world *world)
{
    connect_to(world, 2);
    run_until(world, &world->connects.opened, 1);
    run_until(world, &world->accepts.opened, 1);
}

static bool send_stored(struct peer_link *link, uint64_t operation)
{
    struct peer_message message = {.type = PEER_STORED,
                                   .stored = {.operation = operation, .status = STORE_STORED}};

    return peer_link_send(link, &message, NULL);
}

static bool send_value(struct peer_link *link, uint64_t operation, const void *value,
                       uint32_t value_bytes)
{
    struct peer_message message = {.type = PEER_STORE};
    struct sibling siblings[1];
    struct cell cell;

    cell_init(&cell, siblings, 1);
    siblings[0] =
        sibling_of_value((struct dot){1, 7}, 0, 0, value_bytes, 1, (uint64_t)(uintptr_t)value);
    cell.sibling_count = 1;
    message.store.request.operation = operation;
    message.store.request.cell = &cell;
    message.store.key = SLICE("key");
    return peer_link_send(link, &message, NULL);
}

static void exchange_frames(struct world *world)
{
    open_both(world);
    assert_int_equal(peer_link_peer(world->connects.link), 2);
    assert_int_equal(peer_link_peer(world->accepts.link), 1);
    for (unsigned i = 0; i < 20; i++) {
        assert_true(send_stored(world->connects.link, i));
        assert_true(send_value(world->accepts.link, 100 + i, "value", 5));
    }
    run_until(world, &world->accepts.heard_count, 20);
    run_until(world, &world->connects.heard_count, 20);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(world->accepts.heard[i], i);
        assert_int_equal(world->connects.heard[i], 100 + i);
    }
    assert_int_equal(world->connects.value_bytes, 5);
    assert_memory_equal(world->connects.value, "value", 5);
}

static void check_both_ways(const char *secret)
{
    struct world world;

    setup(&world, secret, secret);
    exchange_frames(&world);
    teardown(&world);
}

static void frames_arrive_in_order_both_ways(void **state)
{
    (void)state;
    check_both_ways(NULL);
}

#ifdef WITH_TLS
static void frames_with_sums_arrive_in_order_both_ways(void **state)
{
    (void)state;
    check_both_ways("a secret of enough bytes");
}
#endif

static void exchange_a_large_frame(struct world *world)
{
    const uint32_t bytes = 3u << 20;
    unsigned char *value = malloc(bytes);
    unsigned heard = world->accepts.heard_count;

    for (uint32_t i = 0; i < bytes; i++)
        value[i] = (unsigned char)(i * 7 + i / 4096);
    assert_true(send_value(world->connects.link, 1, value, bytes));
    run_until(world, &world->accepts.heard_count, heard + 1);
    assert_int_equal(world->accepts.value_bytes, bytes);
    assert_memory_equal(world->accepts.value, value, bytes);
    heard = world->connects.heard_count;
    assert_true(send_value(world->accepts.link, 2, "small again", 11));
    run_until(world, &world->connects.heard_count, heard + 1);
    free(value);
}

static void a_frame_larger_than_the_buffer_arrives_whole(void **state)
{
    struct world world;

    (void)state;
    setup(&world, NULL, NULL);
    open_both(&world);
    exchange_a_large_frame(&world);
    teardown(&world);
}

#ifdef WITH_TLS
/* Certificates of two nodes and their authority, and of a stranger, in a folder of their own. */
struct authority {
    char folder[32];
    struct certificate_files root, nodes[2], stranger;
};

static void authority_make(struct authority *authority)
{
    static const char *const names[] = {"root", "n1", "n2", "stranger"};
    struct certificate_files *const files[] = {&authority->root, &authority->nodes[0],
                                               &authority->nodes[1], &authority->stranger};

    snprintf(authority->folder, sizeof authority->folder, "/tmp/peer_link.XXXXXX");
    assert_non_null(mkdtemp(authority->folder));
    for (unsigned i = 0; i < 4; i++) {
        snprintf(files[i]->certificate, sizeof files[i]->certificate, "%s/%s.pem",
                 authority->folder, names[i]);
        snprintf(files[i]->key, sizeof files[i]->key, "%s/%s.key", authority->folder, names[i]);
        certificate_make(names[i], i == 1 || i == 2 ? &authority->root : NULL, files[i]);
    }
}

static void authority_remove(struct authority *authority)
{
    const struct certificate_files *const files[] = {&authority->root, &authority->nodes[0],
                                                     &authority->nodes[1], &authority->stranger};

    for (unsigned i = 0; i < 4; i++) {
        unlink(files[i]->certificate);
        unlink(files[i]->key);
    }
    rmdir(authority->folder);
}

static struct peer_tls *tls_of(const struct authority *authority,
                               const struct certificate_files *files)
{
    struct peer_tls *tls = peer_tls_new(
        &(struct peer_tls_files){files->certificate, files->key, authority->root.certificate});

    assert_non_null(tls);
    return tls;
}

static void frames_go_through_tls_and_certificates_name_the_nodes(void **state)
{
    struct authority authority;
    struct member_name name;
    struct world world = {0};

    (void)state;
    authority_make(&authority);
    for (unsigned i = 0; i < 2; i++)
        world.tls[i] = tls_of(&authority, &authority.nodes[i]);
    setup_rest(&world, NULL, NULL);
    exchange_frames(&world);
    exchange_a_large_frame(&world);
    assert_true(peer_link_name(world.connects.link, &name));
    assert_memory_equal(name.bytes, "n2", 3);
    assert_true(peer_link_name(world.accepts.link, &name));
    assert_memory_equal(name.bytes, "n1", 3);
    teardown(&world);
    authority_remove(&authority);
}

static void run_some_tries(struct world *world);

static void a_certificate_of_another_authority_opens_nothing(void **state)
{
    struct authority authority;

    (void)state;
    authority_make(&authority);
    for (unsigned stranger = 0; stranger < 2; stranger++) {
        struct world world = {0};
        for (unsigned i = 0; i < 2; i++)
            world.tls[i] =
                tls_of(&authority, i == stranger ? &authority.stranger : &authority.nodes[i]);
        setup_rest(&world, NULL, NULL);
        connect_to(&world, 2);
        run_some_tries(&world);
        assert_int_equal(world.accepts.opened, 0);
        teardown(&world);
    }
    authority_remove(&authority);
}

static void files_that_are_no_certificates_are_refused(void **state)
{
    struct authority authority;

    (void)state;
    authority_make(&authority);
    struct peer_tls_files files = {authority.nodes[0].certificate, authority.nodes[1].key,
                                   authority.root.certificate};
    assert_null(peer_tls_new(&files)); /* another one's key */
    files.key = authority.nodes[0].key;
    files.authority = "/nonexistent";
    assert_null(peer_tls_new(&files));
    files.certificate = authority.nodes[0].key;
    assert_null(peer_tls_new(&files));
    authority_remove(&authority);
}
#endif

static void what_is_sent_in_a_turn_leaves_in_one_call(void **state)
{
    struct peer_link_stats stats;
    struct world world;

    (void)state;
    setup(&world, NULL, NULL);
    open_both(&world);
    peer_link_stats(world.connects.link, &stats);
    uint64_t sent_before = stats.bytes_sent;
    for (unsigned i = 0; i < 10; i++)
        assert_true(send_stored(world.connects.link, i));
    peer_link_stats(world.connects.link, &stats);
    assert_int_equal(stats.bytes_sent, sent_before); /* nothing left before the turn's end */
    assert_true(stats.unsent_bytes > 0);
    ev_run(world.loop, EVRUN_NOWAIT);
    peer_link_stats(world.connects.link, &stats);
    assert_int_equal(stats.unsent_bytes, 0);
    run_until(&world, &world.accepts.heard_count, 10);
    teardown(&world);
}

static void past_the_bound_it_says_no_and_goes_on_later(void **state)
{
    const uint32_t bytes = 600 * 1024;
    unsigned char *value = calloc(1, bytes);
    struct peer_link_stats stats;
    struct world world;
    unsigned sent = 0;

    (void)state;
    setup(&world, NULL, NULL);
    open_both(&world);
    while (send_value(world.connects.link, sent, value, bytes))
        sent++;
    assert_int_equal(sent, 2); /* the second one went past a megabyte */
    peer_link_stats(world.connects.link, &stats);
    assert_int_equal(stats.refused_full, 1);
    run_until(&world, &world.accepts.heard_count, sent);
    assert_true(send_value(world.connects.link, sent, value, bytes));
    run_until(&world, &world.accepts.heard_count, sent + 1);
    teardown(&world);
    free(value);
}

static void a_peer_that_comes_back_is_found_again(void **state)
{
    struct world world;

    (void)state;
    setup(&world, NULL, NULL);
    open_both(&world);
    stop_listening(&world);
    peer_link_free(world.accepts.link);
    run_until(&world, &world.connects.closed, 1);
    assert_null(world.connects.link);
    for (unsigned i = 0; i < 5; i++)
        ev_run(world.loop, EVRUN_ONCE); /* refused, again and again */
    listen_again(&world);
    run_until(&world, &world.connects.opened, 2);
    run_until(&world, &world.accepts.opened, 2);
    assert_true(send_stored(world.connects.link, 5));
    run_until(&world, &world.accepts.heard_count, 1);
    teardown(&world);
}

static void a_link_that_is_not_open_takes_nothing(void **state)
{
    struct world world;

    (void)state;
    setup(&world, NULL, NULL);
    struct peer_link *link = connect_to(&world, 2);
    assert_int_equal(peer_link_state(link), LINK_WAITING);
    assert_false(send_stored(link, 1));
    teardown(&world);
}

/* Until the side that accepts has closed a connection that never opened. */
static void run_some_tries(struct world *world)
{
    for (unsigned i = 0; i < 60; i++)
        ev_run(world->loop, EVRUN_ONCE);
    assert_int_equal(world->connects.opened, 0);
    assert_int_equal(world->accepts.opened, 0);
}

static void another_node_than_the_one_meant_is_not_talked_to(void **state)
{
    struct world world;

    (void)state;
    setup(&world, NULL, NULL);
    connect_to(&world, 3);
    run_some_tries(&world);
    teardown(&world);
}

#ifdef WITH_TLS
static void nodes_with_different_secrets_never_open(void **state)
{
    struct world world;

    (void)state;
    setup(&world, "a secret of enough bytes", "another secret of such bytes");
    connect_to(&world, 2);
    run_some_tries(&world);
    teardown(&world);
    setup(&world, NULL, "another secret of such bytes");
    connect_to(&world, 2);
    run_some_tries(&world);
    teardown(&world);
}
#endif

/* ---- a client that is no node ---- */

static int connect_raw(struct world *world)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&world->address, sizeof world->address), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* Runs the loop until the other side has closed the connection; gives what came before that. */
static size_t run_until_closed(struct world *world, int fd, unsigned char *bytes, size_t room)
{
    size_t used = 0;
    ssize_t got;

    while ((got = read(fd, bytes + used, room - used)) != 0) {
        if (got > 0)
            used += (size_t)got;
        else if (errno != EAGAIN)
            break;
        ev_run(world->loop, EVRUN_NOWAIT);
    }
    close(fd);
    return used;
}

static void rubbish_is_refused_with_a_reason(void **state)
{
    static const char *const rubbish[] = {"GET / HTTP/1.0\r\n\r\n", "set a 0 0 1\r\n1\r\n",
                                          "\x09\0\0\0\x04........"};
    unsigned char answer[512];
    struct world world;

    (void)state;
    setup(&world, NULL, NULL);
    for (unsigned i = 0; i < sizeof rubbish / sizeof *rubbish; i++) {
        int fd = connect_raw(&world);
        assert_true(write(fd, rubbish[i], i == 2 ? 13 : strlen(rubbish[i])) > 0);
        size_t got = run_until_closed(&world, fd, answer, sizeof answer);
        assert_true(got > PEER_HEADER_BYTES);
        assert_int_equal(answer[PEER_SIZE_BYTES], PEER_REFUSED);
    }
    assert_int_equal(world.accepts.opened, 0);
    teardown(&world);
}

static size_t encode_hello(unsigned char *out)
{
    struct peer_message hello = {
        .type = PEER_HELLO,
        .hello = {.version = PEER_VERSION, .from = 1, .use = PEER_LINK_REQUESTS}};

    return peer_encode_head(&hello, out);
}

static void a_greeting_may_come_byte_by_byte(void **state)
{
    unsigned char hello[256];
    struct world world;
    size_t size = encode_hello(hello);

    (void)state;
    setup(&world, NULL, NULL);
    int fd = connect_raw(&world);
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(write(fd, hello + i, 1), 1);
        ev_run(world.loop, EVRUN_NOWAIT);
    }
    run_until(&world, &world.accepts.opened, 1);
    close(fd);
    run_until(&world, &world.accepts.closed, 1);
    teardown(&world);
}

static void a_bad_frame_closes_its_link_and_no_other(void **state)
{
    unsigned char bytes[512];
    struct world world;
    struct side *accepts = &world.accepts;

    (void)state;
    setup(&world, NULL, NULL);
    open_both(&world);
    struct peer_link *good = accepts->link;
    int fd = connect_raw(&world);
    size_t size = encode_hello(bytes);
    memcpy(bytes + size, "\x02\0\0\0\x07x", 6); /* a store that is none */
    assert_true(write(fd, bytes, size + 6) > 0);
    run_until_closed(&world, fd, bytes, sizeof bytes);
    run_until(&world, &accepts->closed, 1);
    accepts->link = good;
    assert_true(send_stored(world.connects.link, 3));
    run_until(&world, &accepts->heard_count, 1);
    teardown(&world);
}

static void who_has_not_greeted_cannot_make_us_keep_much(void **state)
{
    unsigned char bytes[512] = {0, 0, 0x10, 0, PEER_HELLO};
    struct world world;

    (void)state;
    setup(&world, NULL, NULL);
    int fd = connect_raw(&world);
    assert_true(write(fd, bytes, PEER_HEADER_BYTES) > 0);
    size_t got = run_until_closed(&world, fd, bytes, sizeof bytes);
    assert_true(got > 0);
    assert_int_equal(bytes[PEER_SIZE_BYTES], PEER_REFUSED);
    teardown(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_arrive_in_order_both_ways),
#ifdef WITH_TLS
        cmocka_unit_test(frames_with_sums_arrive_in_order_both_ways),
        cmocka_unit_test(nodes_with_different_secrets_never_open),
        cmocka_unit_test(frames_go_through_tls_and_certificates_name_the_nodes),
        cmocka_unit_test(a_certificate_of_another_authority_opens_nothing),
        cmocka_unit_test(files_that_are_no_certificates_are_refused),
#endif
        cmocka_unit_test(a_frame_larger_than_the_buffer_arrives_whole),
        cmocka_unit_test(what_is_sent_in_a_turn_leaves_in_one_call),
        cmocka_unit_test(past_the_bound_it_says_no_and_goes_on_later),
        cmocka_unit_test(a_peer_that_comes_back_is_found_again),
        cmocka_unit_test(a_link_that_is_not_open_takes_nothing),
        cmocka_unit_test(another_node_than_the_one_meant_is_not_talked_to),
        cmocka_unit_test(rubbish_is_refused_with_a_reason),
        cmocka_unit_test(a_greeting_may_come_byte_by_byte),
        cmocka_unit_test(a_bad_frame_closes_its_link_and_no_other),
        cmocka_unit_test(who_has_not_greeted_cannot_make_us_keep_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
