/* Connections of a cluster's node, with a pretended cluster behind them.  The client has to see
 * each answer once and in order. */
#include "server/pending.h"
#include "ring/key_hash.h"
#include "server/clock.h"
#include "server/item.h"
#include "server/listener.h"
#include "server/settings.h"
#include "server/store.h"
#include "server/tls.h"
#include "server/worker.h"
#include "tests/unit/certificate.h"
#include "tests/unit/client.h"
#include "tests/unit/pretended_cluster.h"
#include "tests/unit/random.h"
#include <errno.h>
#ifdef WITH_TLS
#include <openssl/ssl.h>
#endif
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
/* after those */
#include <cmocka.h>

static struct listener listener;

static int set_up(void **state)
{
    listener = (struct listener){
        .transport = TRANSPORT_TCP, .protocol = LISTEN_NEGOTIATING, .tls = LISTEN_TLS_OFF};
    return pretended_set_up(state);
}

static void start(void)
{
    assert_true(workers_start(pretended_store, 1));
}

static int connect_one(void)
{
    start();
    return client_attach(&listener);
}

/* From now on so many of a hundred in flight are answered in a turn. */
static void answer_each_turn(unsigned percent)
{
    percent_per_turn = percent;
    worker_wake(workers_get(0));
}

/* ---- a client that says what chance wants, and knows what it has to hear ---- */

#define CLIENT_KEYS 6

struct text {
    char *bytes;
    size_t size, capacity;
};

struct script {
    int fd;
    unsigned number;
    struct text says, hears;
    size_t said, heard;
    struct text values[CLIENT_KEYS];
    bool is_set[CLIENT_KEYS];
    unsigned opaque;
    uint64_t counters[CLIENT_KEYS];
};

static void append_bytes(struct text *text, const char *bytes, size_t size)
{
    while (text->capacity < text->size + size) {
        text->capacity = text->capacity == 0 ? 4096 : text->capacity * 2;
        text->bytes = realloc(text->bytes, text->capacity);
        assert_non_null(text->bytes);
    }
    if (size > 0)
        memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
}

__attribute__((format(printf, 2, 3))) static void append(struct text *text, const char *format, ...)
{
    char line[512];
    va_list arguments;

    va_start(arguments, format);
    int size = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    assert_true(size >= 0 && (size_t)size < sizeof line);
    append_bytes(text, line, (size_t)size);
}

static void say_set(struct script *script, struct random *random)
{
    const unsigned key = random_below(random, CLIENT_KEYS);
    const bool is_quiet = random_chance(random, 30), is_meta = random_chance(random, 30);
    const size_t size = random_chance(random, 4)    ? 4000 + random_below(random, 150000)
                        : random_chance(random, 10) ? 100 + random_below(random, 300)
                                                    : random_below(random, 40);
    struct text *value = &script->values[key];

    value->size = 0;
    for (size_t i = 0; i < size; i++)
        append_bytes(value, &"abcdefghijklmnopqrstuvwxyz"[random_below(random, 26)], 1);
    if (is_meta)
        append(&script->says, "ms k%u.%u %zu%s\r\n", script->number, key, size,
               is_quiet ? " q" : "");
    else
        append(&script->says, "set k%u.%u 0 0 %zu%s\r\n", script->number, key, size,
               is_quiet ? " noreply" : "");
    append_bytes(&script->says, value->bytes, size);
    append(&script->says, "\r\n");
    script->is_set[key] = true;
    if (!is_quiet)
        append(&script->hears, is_meta ? "HD\r\n" : "STORED\r\n");
}

static void hear_value(struct script *script, unsigned key)
{
    const struct text *value = &script->values[key];

    if (!script->is_set[key])
        return;
    append(&script->hears, "VALUE k%u.%u 0 %zu\r\n", script->number, key, value->size);
    append_bytes(&script->hears, value->bytes, value->size);
    append(&script->hears, "\r\n");
}

/* Some of the keys cannot be read: the error is the end of the answer. */
static void say_get(struct script *script, struct random *random)
{
    const unsigned count = random_chance(random, 20) ? 1 + random_below(random, 70) : 1;
    bool has_failed = false;

    append(&script->says, "get");
    for (unsigned i = 0; i < count; i++) {
        const unsigned key = random_below(random, CLIENT_KEYS);
        if (random_chance(random, 2)) {
            append(&script->says, " f%u", key);
            if (!has_failed)
                append(&script->hears, "SERVER_ERROR failed\r\n");
            has_failed = true;
        } else {
            append(&script->says, " k%u.%u", script->number, key);
            if (!has_failed)
                hear_value(script, key);
        }
    }
    append(&script->says, "\r\n");
    if (!has_failed)
        append(&script->hears, "END\r\n");
}

static void say_meta_get(struct script *script, struct random *random)
{
    const unsigned key = random_below(random, CLIENT_KEYS), opaque = script->opaque++;
    const struct text *value = &script->values[key];
    const bool is_quiet = random_chance(random, 50);

    append(&script->says, "mg k%u.%u v O%u%s\r\n", script->number, key, opaque,
           is_quiet ? " q" : "");
    if (script->is_set[key]) {
        append(&script->hears, "VA %zu O%u\r\n", value->size, opaque);
        append_bytes(&script->hears, value->bytes, value->size);
        append(&script->hears, "\r\n");
    } else if (!is_quiet) {
        append(&script->hears, "EN O%u\r\n", opaque);
    }
}

static void say_incr(struct script *script, struct random *random)
{
    const unsigned key = random_below(random, CLIENT_KEYS), by = random_below(random, 100);
    const bool is_quiet = random_chance(random, 30);

    script->counters[key] += by;
    append(&script->says, "incr n%u.%u %u%s\r\n", script->number, key, by,
           is_quiet ? " noreply" : "");
    if (!is_quiet)
        append(&script->hears, "%llu\r\n", (unsigned long long)script->counters[key]);
}

/* What no other node is asked for, between what is. */
static void say_something_else(struct script *script, struct random *random)
{
    switch (random_below(random, 3)) {
    case 0:
        append(&script->says, "mn\r\n");
        append(&script->hears, "MN\r\n");
        break;
    case 1:
        append(&script->says, "nonsense\r\n");
        append(&script->hears, "ERROR\r\n");
        break;
    default:
        append(&script->says, "verbosity 0\r\n"); /* waits for all before it */
        append(&script->hears, "OK\r\n");
        break;
    }
}

static void script_write(struct script *script, unsigned number, unsigned commands,
                         struct random *random)
{
    *script = (struct script){.number = number, .fd = client_attach(&listener)};
    for (unsigned i = 0; i < commands; i++) {
        const unsigned chosen = random_below(random, 100);
        if (chosen < 30)
            say_set(script, random);
        else if (chosen < 55)
            say_get(script, random);
        else if (chosen < 70)
            say_meta_get(script, random);
        else if (chosen < 92)
            say_incr(script, random);
        else
            say_something_else(script, random);
    }
}

static void script_free(struct script *script)
{
    client_close(script->fd);
    free(script->says.bytes);
    free(script->hears.bytes);
    for (unsigned i = 0; i < CLIENT_KEYS; i++)
        free(script->values[i].bytes);
}

static bool script_is_over(const struct script *script)
{
    return script->said == script->says.size && script->heard == script->hears.size;
}

/* Says some more, in pieces of any size, and compares what there is to hear. */
static void script_go_on(struct script *script, struct random *random)
{
    char heard[65536];
    size_t size = script->says.size - script->said;
    const size_t piece = 1 + random_below(random, random_chance(random, 30) ? 100000 : 300);

    if (size > piece)
        size = piece;
    if (size > 0) {
        ssize_t sent =
            send(script->fd, script->says.bytes + script->said, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        assert_true(sent >= 0 || errno == EAGAIN);
        script->said += sent > 0 ? (size_t)sent : 0;
    }
    ssize_t got = recv(script->fd, heard, sizeof heard, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) {
        if (size == 0)
            client_pause_ms(1);
        return;
    }
    assert_true(got > 0);
    assert_true((size_t)got <= script->hears.size - script->heard);
    if (memcmp(heard, script->hears.bytes + script->heard, (size_t)got) != 0)
        fail_msg("client %u: at %zu of %zu expected\n%.300s\nheard\n%.300s", script->number,
                 script->heard, script->hears.size, script->hears.bytes + script->heard, heard);
    script->heard += (size_t)got;
}

/* ---- tests ---- */

/* What changes from one round to the next: how many clients, how fast the cluster is. */
static void clients_talk(uint64_t seed)
{
    struct random random = {seed};
    struct script scripts[4];
    const unsigned clients = 1 + random_below(&random, 4);
    unsigned left = clients;

    percent_at_once = random_chance(&random, 50) ? 0 : random_below(&random, 101);
    percent_per_turn = 1 + random_below(&random, random_chance(&random, 50) ? 10 : 100);
    start();
    for (unsigned i = 0; i < clients; i++)
        script_write(&scripts[i], i, 20 + random_below(&random, 300), &random);
    while (left > 0) {
        struct script *script = &scripts[random_below(&random, clients)];
        const bool was_over = script_is_over(script);
        if (was_over)
            continue;
        script_go_on(script, &random);
        left -= script_is_over(script);
    }
    for (unsigned i = 0; i < clients; i++)
        script_free(&scripts[i]);
    workers_stop();
    pretended_clear();
}

static void each_client_hears_each_answer_once_and_in_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        settings.requests_per_event_given = seed % 5 == 0;
        settings.requests_per_event = 3;
        clients_talk(seed);
    }
}

static void clients_that_close_with_commands_in_flight_leave_nothing_behind(void **state)
{
    struct random random = {4711};
    struct script script;

    (void)state;
    start();
    for (unsigned round = 0; round < 100; round++) {
        percent_per_turn = 1 + random_below(&random, 20);
        script_write(&script, round % 3, 100, &random);
        for (unsigned steps = random_below(&random, 30); steps > 0; steps--) {
            size_t size = script.says.size - script.said;
            if (size > 2000)
                size = 2000;
            script.said += (size_t)send(script.fd, script.says.bytes + script.said, size, 0);
            char heard[1000];
            (void)recv(script.fd, heard, sizeof heard, MSG_DONTWAIT);
        }
        script_free(&script);
    }
    answer_each_turn(100);
    client_wait_until(in_flight == 0);
    client_wait_until(workers_connection_count() == 0);
}

static void commands_in_flight_go_on_when_their_client_is_gone(void **state)
{
    (void)state;
    percent_per_turn = 0;
    int fd = connect_one();
    client_say(fd, "incr n 1 noreply\r\nincr n 2 noreply\r\nset k 0 0 3 noreply\r\nabc\r\n");
    client_wait_until(started == 2); /* the other incr waits for the first */
    client_send(fd, "", 0);
    int other = client_attach(&listener);
    /* An error in sending is the end of it: nothing is waited for. */
    struct linger at_once = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    client_close(fd);
    answer_each_turn(100);
    client_wait_until(started == 3);
    client_wait_until(in_flight == 0);
    client_say(other, "incr n 4\r\nget k\r\n");
    client_expect(other, "7\r\nVALUE k 0 3\r\nabc\r\nEND\r\n");
    client_close(other);
}

static void no_more_is_read_than_may_be_pending(void **state)
{
    enum { COMMANDS = 6000 };

    (void)state;
    percent_per_turn = 0;
    int fd = connect_one();
    char *says = malloc(COMMANDS * 16 + 1), *hears = malloc(COMMANDS * 32 + 1);
    size_t said = 0, heard = 0;
    for (unsigned i = 0; i < COMMANDS; i++) {
        said += (size_t)sprintf(says + said, "incr n%u 1\r\n", i % 450);
        heard += (size_t)sprintf(hears + heard, "%u\r\n", 1 + i / 450);
    }
    client_send(fd, says, said);
    client_pause_ms(50);
    assert_true(in_flight_max <= 450); /* of each key one */
    answer_each_turn(20);
    client_expect_bytes(fd, hears, heard);
    said = 0;
    percent_per_turn = 0;
    for (unsigned i = 0; i < COMMANDS; i++)
        said += (size_t)sprintf(says + said, "mg n%u v\r\n", i % 400);
    in_flight_max = 0;
    client_send(fd, says, said);
    client_wait_until(in_flight_max >= PENDING_MAX);
    client_pause_ms(50);
    assert_true(in_flight_max < PENDING_MAX + WORKER_BATCH_MAX);
    answer_each_turn(20);
    heard = 0;
    for (unsigned i = 0; i < COMMANDS; i++)
        heard += (size_t)sprintf(hears + heard, "VA 2\r\n%u\r\n", i % 400 < 150 ? 14 : 13);
    client_expect_bytes(fd, hears, heard);
    free(says);
    free(hears);
    client_close(fd);
}

static void no_more_is_read_than_may_be_pending_for_all_together(void **state)
{
    enum { CLIENTS = 80, COMMANDS = 900 };
    char *says = malloc(COMMANDS * 16), *hears = malloc(COMMANDS * 16);
    size_t said = 0, heard = 0;
    int fds[CLIENTS];

    (void)state;
    percent_per_turn = 0;
    start();
    for (unsigned i = 0; i < COMMANDS; i++) {
        said += (size_t)sprintf(says + said, "mg k%u v\r\n", i % 100);
        heard += (size_t)sprintf(hears + heard, "EN\r\n");
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        fds[i] = client_attach(&listener);
        client_send(fds[i], says, said);
    }
    client_wait_until(in_flight_max >= PENDING_WORKER_MAX);
    client_pause_ms(20);
    assert_true(in_flight_max < PENDING_WORKER_MAX + CLIENTS * WORKER_BATCH_MAX);
    answer_each_turn(50);
    for (unsigned i = 0; i < CLIENTS; i++) {
        client_expect_bytes(fds[i], hears, heard);
        client_close(fds[i]);
    }
    free(says);
    free(hears);
}

static void answers_behind_a_slow_one_are_bounded(void **state)
{
    enum { VALUE_BYTES = 100000, GETS = 200 };

    (void)state;
    percent_per_turn = 100;
    int fd = connect_one();
    char *value = malloc(VALUE_BYTES + 3), head[64];
    memset(value, 'v', VALUE_BYTES);
    memcpy(value + VALUE_BYTES, "\r\n", 3);
    snprintf(head, sizeof head, "set big 0 0 %d\r\n", VALUE_BYTES);
    client_say(fd, head);
    client_send(fd, value, VALUE_BYTES + 2);
    client_expect(fd, "STORED\r\n");
    percent_per_turn = 0;
    client_say(fd, "get slow\r\n");
    client_wait_until(in_flight == 1);
    percent_at_once = 100;
    started = 0;
    for (unsigned i = 0; i < GETS; i++)
        client_say(fd, "get big\r\n");
    client_wait_until(started * VALUE_BYTES >= PENDING_BYTES_MAX);
    client_pause_ms(50);
    assert_true(started < PENDING_BYTES_MAX / VALUE_BYTES + 2 * WORKER_BATCH_MAX);
    answer_each_turn(100);
    client_expect(fd, "END\r\n");
    for (unsigned i = 0; i < GETS; i++) {
        snprintf(head, sizeof head, "VALUE big 0 %d\r\n", VALUE_BYTES);
        client_expect(fd, head);
        client_expect_bytes(fd, value, VALUE_BYTES + 2);
        client_expect(fd, "END\r\n");
    }
    client_close(fd);
    free(value);
}

#ifdef WITH_TLS
static void what_comes_later_is_encrypted_too(void **state)
{
    static const char says[] = "set a 0 0 1\r\nx\r\nget a\r\nget b\r\n";
    static const char hears[] = "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\nEND\r\n";
    struct certificate_files files = {"test_pending.crt", "test_pending.key"};
    char heard[sizeof hears];
    size_t got = 0, part;

    (void)state;
    certificate_make("node", NULL, &files);
    settings.tls.enabled = true;
    settings.tls.chain_file = files.certificate;
    settings.tls.key_file = files.key;
    listener.tls = LISTEN_TLS_DEFAULT;
    assert_true(tls_start(&settings.tls));
    int fd = connect_one();
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(context);
    assert_int_equal(SSL_set_fd(ssl, fd), 1);
    assert_int_equal(SSL_connect(ssl), 1);
    assert_int_equal(SSL_write_ex(ssl, says, sizeof says - 1, &part), 1);
    while (got < sizeof hears - 1) {
        assert_int_equal(SSL_read_ex(ssl, heard + got, sizeof heard - got, &part), 1);
        got += part;
    }
    assert_memory_equal(heard, hears, sizeof hears - 1);
    SSL_free(ssl);
    SSL_CTX_free(context);
    client_close(fd);
    client_wait_until(workers_connection_count() == 0);
    tls_stop();
    unlink(files.certificate);
    unlink(files.key);
}
#endif

static void store_here(const char *key, const char *text, unsigned bits)
{
    const struct slice name = {(const unsigned char *)key, strlen(key)};
    const struct item_spec spec = {.key = name, .value_bytes = strlen(text)};
    struct item *item = item_new(pretended_store, &spec, clock_now_ms());
    struct stripe *stripe = store_lock(pretended_store, key_hash(name));

    assert_non_null(item);
    memcpy(item_value(item), text, strlen(text));
    item->hlc = stripe_clock_next(stripe, clock_now_ms());
    item->bits = (uint8_t)(item->bits | bits);
    assert_true(stripe_put(stripe, key_hash(name), item));
    store_unlock(stripe);
}

static void an_owner_asks_nobody_for_a_plain_value(void **state)
{
    (void)state;
    int fd = connect_one();
    store_here("o", "own", 0);
    store_here("ostale", "own", ITEM_STALE);
    client_say(fd, "get o\r\nmg o v\r\nget o o o\r\n");
    client_expect(fd, "VALUE o 0 3\r\nown\r\nEND\r\nVA 3\r\nown\r\n"
                      "VALUE o 0 3\r\nown\r\nVALUE o 0 3\r\nown\r\nVALUE o 0 3\r\nown\r\nEND\r\n");
    assert_int_equal(started, 0);
    /* The cas, what is missing, and marks are the cluster's. */
    client_say(fd, "gets o\r\nget omissing\r\nmg ostale v\r\nmg o v t\r\n");
    client_expect(fd, "END\r\nEND\r\nEN\r\nEN\r\n");
    assert_int_equal(started, 4);
    /* Behind what is in flight for the same key it is asked for in its turn. */
    client_say(fd, "set o 0 0 3\r\nnew\r\nget o\r\n");
    client_expect(fd, "STORED\r\nVALUE o 0 3\r\nnew\r\nEND\r\n");
    client_close(fd);
}

static void values_on_their_way_are_bounded(void **state)
{
    enum { VALUE_BYTES = 60000, SETS = 100 };
    char *says = malloc(SETS * (VALUE_BYTES + 64));
    size_t size = 0, said = 0;
    bool is_full = false;

    (void)state;
    percent_per_turn = 0;
    int fd = connect_one();
    for (unsigned i = 0; i < SETS; i++) {
        size += (size_t)sprintf(says + size, "set k%u 0 0 %d\r\n", i, VALUE_BYTES);
        memset(says + size, 'v', VALUE_BYTES);
        memcpy(says + size + VALUE_BYTES, "\r\n", 2);
        size += VALUE_BYTES + 2;
    }
    while (!is_full) {
        struct pollfd room = {.fd = fd, .events = POLLOUT};
        ssize_t sent = send(fd, says + said, size - said, MSG_NOSIGNAL | MSG_DONTWAIT);
        said += sent > 0 ? (size_t)sent : 0;
        is_full = sent < 0 && poll(&room, 1, 200) == 0;
    }
    assert_true(said < size);
    assert_true(in_flight * VALUE_BYTES >= PENDING_BYTES_MAX);
    assert_true(in_flight * VALUE_BYTES < PENDING_BYTES_MAX + 2 * VALUE_BYTES);
    client_close(fd);
    free(says);
}

/* What a set of `a` to x and a get are answered, and then nothing any more; closes. */
static void expect_both_and_the_end(int fd)
{
    client_expect(fd, "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n");
    client_expect_end(fd);
    client_close(fd);
}

static void quit_waits_for_the_answers_before_it(void **state)
{
    (void)state;
    percent_per_turn = 0;
    int fd = connect_one();
    client_say(fd, "set a 0 0 1\r\nx\r\nget a\r\nquit\r\nget a\r\n");
    client_wait_until(in_flight == 1);
    client_pause_ms(20);
    answer_each_turn(50);
    expect_both_and_the_end(fd);
}

static void a_client_that_has_said_all_still_hears_its_answers(void **state)
{
    (void)state;
    percent_per_turn = 0;
    int fd = connect_one();
    client_say(fd, "set a 0 0 1\r\nx\r\nget a\r\n");
    shutdown(fd, SHUT_WR);
    client_wait_until(in_flight == 1);
    client_pause_ms(20);
    answer_each_turn(50);
    expect_both_and_the_end(fd);
}

static void who_waits_for_an_answer_is_not_idle(void **state)
{
    (void)state;
    settings.idle_timeout_s = 1;
    percent_per_turn = 0;
    int fd = connect_one();
    client_say(fd, "get a\r\n");
    client_pause_ms(2200);
    answer_each_turn(100);
    client_expect(fd, "END\r\n");
    client_expect_end(fd);
    client_close(fd);
}

static void a_flush_is_answered_when_the_cluster_has_flushed(void **state)
{
    (void)state;
    int fd = connect_one();
    client_say(fd, "set a 0 0 1\r\nx\r\nflush_all\r\nget a\r\nset a 0 0 1\r\ny\r\nget a\r\n");
    client_expect(fd, "STORED\r\n");
    for (unsigned i = 0; i < 50; i++)
        worker_wake(workers_get(0));
    for (unsigned i = 0; i < 50; i++, client_pause_ms(1))
        worker_wake(workers_get(0));
    client_expect(fd, "OK\r\nEND\r\nSTORED\r\nVALUE a 0 1\r\ny\r\nEND\r\n");
    client_close(fd);
}

static void a_value_that_is_too_large_takes_the_old_one_with_it(void **state)
{
    (void)state;
    int fd = connect_one();
    client_say(fd, "set a 0 0 1\r\nx\r\nset a 0 0 2000000\r\n");
    char *value = calloc(1, 2000002);
    memcpy(value + 2000000, "\r\n", 2);
    client_send(fd, value, 2000002);
    client_say(fd, "get a\r\n");
    client_expect(fd, "STORED\r\nSERVER_ERROR object too large for cache\r\n");
    client_expect(fd, "VALUE a 0 0\r\n\r\nEND\r\n"); /* the pretended cluster stores nothing so */
    client_close(fd);
    free(value);
}

static void what_is_in_flight_when_the_worker_stops_is_still_answered(void **state)
{
    (void)state;
    percent_per_turn = 0;
    int fd = connect_one();
    client_say(fd, "set a 0 0 1\r\nx\r\nget a\r\n");
    client_wait_until(in_flight == 1);
    percent_per_turn = 10;
    workers_stop();
    expect_both_and_the_end(fd);
}

static void what_is_never_answered_does_not_keep_the_worker_from_stopping(void **state)
{
    (void)state;
    percent_per_turn = 0;
    int fd = connect_one();
    client_say(fd, "set a 0 0 5000\r\n");
    char value[5002] = {0};
    memcpy(value + 5000, "\r\n", 2);
    client_send(fd, value, sizeof value);
    client_say(fd, "get a\r\nincr n 1\r\nflush_all\r\n");
    client_wait_until(in_flight == 2);
    workers_stop();
    client_expect_end(fd);
    client_close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, pretended_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(each_client_hears_each_answer_once_and_in_order),
        TEST(clients_that_close_with_commands_in_flight_leave_nothing_behind),
        TEST(commands_in_flight_go_on_when_their_client_is_gone),
        TEST(no_more_is_read_than_may_be_pending),
        TEST(no_more_is_read_than_may_be_pending_for_all_together),
        TEST(answers_behind_a_slow_one_are_bounded),
#ifdef WITH_TLS
        TEST(what_comes_later_is_encrypted_too),
#endif
        TEST(an_owner_asks_nobody_for_a_plain_value),
        TEST(values_on_their_way_are_bounded),
        TEST(quit_waits_for_the_answers_before_it),
        TEST(a_client_that_has_said_all_still_hears_its_answers),
        TEST(who_waits_for_an_answer_is_not_idle),
        TEST(a_flush_is_answered_when_the_cluster_has_flushed),
        TEST(a_value_that_is_too_large_takes_the_old_one_with_it),
        TEST(what_is_in_flight_when_the_worker_stops_is_still_answered),
        TEST(what_is_never_answered_does_not_keep_the_worker_from_stopping),
    };

    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL, as main() knows */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
