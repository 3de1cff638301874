/* TLS connections of a real worker, over socket pairs, with a fake executor and OpenSSL's own
 * client.  Certificates are made on the fly. */
#include "server/tls.h"
#include "server/clock.h"
#include "server/worker.h"
#include "tests/unit/certificate.h"
#include "tests/unit/client.h"
#include "tests/unit/fake_executor.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

static struct listener listener;
static char folder[] = "/tmp/test_tls.XXXXXX";
static struct certificate_files own;
static char other_file[64];

static int set_up(void **state)
{
    (void)state;
    settings_init(&settings);
    clock_init();
    settings.tls.enabled = true;
    settings.tls.chain_file = own.certificate;
    settings.tls.key_file = own.key;
    listener = (struct listener){.transport = TRANSPORT_TCP, .tls = LISTEN_TLS_DEFAULT};
    memset(&fake_counts, 0, sizeof fake_counts);
    certificate_make("first", NULL, &own);
    return 0;
}

static void start(void)
{
    assert_true(tls_start(&settings.tls));
    assert_true(workers_start(NULL, 1));
}

static int stop(void **state)
{
    (void)state;
    workers_stop();
    tls_stop();
    fake_reset();
    assert_int_equal(fake_counts.items, 0);
    return 0;
}

struct tls_client {
    SSL_CTX *context;
    SSL *ssl;
    int fd;
};

/* Connects, with our certificate as the client's if it `shows` one; does not shake hands yet. */
static struct tls_client attach(bool shows)
{
    struct tls_client client = {.context = SSL_CTX_new(TLS_client_method())};

    client.fd = client_attach(&listener);
    if (shows) {
        assert_int_equal(SSL_CTX_use_certificate_file(client.context, own.certificate, 1), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(client.context, own.key, 1), 1);
    }
    client.ssl = SSL_new(client.context);
    assert_int_equal(SSL_set_fd(client.ssl, client.fd), 1);
    return client;
}

static struct tls_client connect_one(void)
{
    struct tls_client client = attach(false);

    assert_int_equal(SSL_connect(client.ssl), 1);
    return client;
}

static void leave(struct tls_client *client)
{
    SSL_shutdown(client->ssl);
    SSL_free(client->ssl);
    SSL_CTX_free(client->context);
    client_close(client->fd);
}

static void say(struct tls_client *client, const void *bytes, size_t size)
{
    size_t sent;

    assert_int_equal(SSL_write_ex(client->ssl, bytes, size, &sent), 1);
    assert_int_equal(sent, size);
}

static void expect(struct tls_client *client, const void *bytes, size_t size)
{
    unsigned char *answer = malloc(size);
    size_t got = 0, part;

    assert_non_null(answer);
    while (got < size) {
        assert_int_equal(SSL_read_ex(client->ssl, answer + got, size - got, &part), 1);
        got += part;
    }
    assert_true(memcmp(answer, bytes, size) == 0);
    free(answer);
}

static void expect_service(struct tls_client *client)
{
    say(client, "mn\r\n", 4);
    expect(client, "MN\r\n", 4);
}

/* The server refuses: in TLS 1.3 the client may hear of it only when it reads. */
static void expect_refusal(struct tls_client *client)
{
    char byte;

    if (SSL_connect(client->ssl) == 1)
        assert_true(SSL_read(client->ssl, &byte, 1) <= 0);
    ERR_clear_error();
    client_wait_until(workers_connection_count() == 0);
}

static uint64_t handshake_errors(void)
{
    return counter_get(&workers_get(0)->counters.ssl_handshake_errors);
}

static void commands_are_answered(void **state)
{
    (void)state;
    start();
    struct tls_client client = connect_one();
    expect_service(&client);
    say(&client, "set a 0 0 5\r\nhello\r\nget a\r\nmn\r\n", 31);
    expect(&client, "STORED\r\nVALUE a 0 5\r\nhello\r\nEND\r\nMN\r\n", 37);
    leave(&client);
    client_wait_until(workers_connection_count() == 0);
    assert_int_equal(handshake_errors(), 0);
    assert_int_equal(counter_get(&workers_get(0)->counters.ssl_proto_errors), 0);
}

static void a_handshake_may_come_byte_by_byte(void **state)
{
    BIO *to_server = BIO_new(BIO_s_mem()), *from_server = BIO_new(BIO_s_mem());
    char bytes[8192];

    (void)state;
    start();
    struct tls_client client = attach(false);
    SSL_set_bio(client.ssl, from_server, to_server);
    while (SSL_connect(client.ssl) != 1) {
        int size = BIO_read(to_server, bytes, sizeof bytes);
        for (int i = 0; i < size; i++) {
            client_send(client.fd, bytes + i, 1);
            if (i % 16 == 0)
                client_pause_ms(1);
        }
        ssize_t received = recv(client.fd, bytes, sizeof bytes, 0);
        assert_true(received > 0);
        BIO_write(from_server, bytes, (int)received);
    }
    int size = BIO_read(to_server, bytes, sizeof bytes);
    client_send(client.fd, bytes, (size_t)size);
    assert_int_equal(SSL_set_fd(client.ssl, client.fd), 1);
    expect_service(&client);
    leave(&client);
}

static void values_of_all_sizes_come_and_go(void **state)
{
    static const size_t sizes[] = {4000, 4096, 16000, 70000, 1000000, 10000000};
    char line[64];

    (void)state;
    start();
    struct tls_client client = connect_one();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t size = sizes[i];
        unsigned char *value = malloc(size + 2);
        assert_non_null(value);
        for (size_t at = 0; at < size; at++)
            value[at] = (unsigned char)(at * 31 >> 4);
        memcpy(value + size, "\r\n", 2);
        say(&client, line, (size_t)snprintf(line, sizeof line, "set v 0 0 %zu\r\n", size));
        say(&client, value, size + 2);
        expect(&client, "STORED\r\n", 8);
        say(&client, "get v v\r\n", 9);
        if (i % 2 == 0)
            client_pause_ms(30); /* the socket fills up in the middle of a record */
        for (int twice = 0; twice < 2; twice++) {
            expect(&client, line, (size_t)snprintf(line, sizeof line, "VALUE v 0 %zu\r\n", size));
            expect(&client, value, size + 2);
        }
        expect(&client, "END\r\n", 5);
        free(value);
    }
    leave(&client);
}

static void a_long_pipeline_is_answered_to_the_end(void **state)
{
    enum { REQUESTS = 50000 };
    char *requests = malloc(4 * REQUESTS), *answers = malloc(4 * REQUESTS);

    (void)state;
    assert_non_null(requests);
    assert_non_null(answers);
    start();
    struct tls_client client = connect_one();
    for (int i = 0; i < REQUESTS; i++) {
        memcpy(requests + 4 * i, "mn\r\n", 4);
        memcpy(answers + 4 * i, "MN\r\n", 4);
    }
    for (int piece = 0; piece < 50; piece++) {
        say(&client, requests + piece * 4000, 4000);
        expect(&client, answers + piece * 4000, 4000);
    }
    /* More than one read's worth behind one event. */
    say(&client, requests, 100000);
    expect(&client, answers, 100000);
    leave(&client);
    free(requests);
    free(answers);
}

static void plain_text_is_no_handshake(void **state)
{
    (void)state;
    start();
    int fd = client_attach(&listener);
    client_say(fd, "get a\r\nget b\r\nget c\r\n");
    client_wait_until(workers_connection_count() == 0);
    client_wait_until(handshake_errors() == 1);
    client_close(fd);
}

static void a_broken_record_is_counted(void **state)
{
    (void)state;
    start();
    struct tls_client client = connect_one();
    expect_service(&client);
    client_say(client.fd, "this is no record, and long enough to look at\r\n");
    client_wait_until(workers_connection_count() == 0);
    assert_int_equal(counter_get(&workers_get(0)->counters.ssl_proto_errors), 1);
    leave(&client);
}

static void a_mutual_listener_refuses_clients_without_certificate(void **state)
{
    (void)state;
    settings.tls.ca_file = own.certificate;
    listener.tls = LISTEN_TLS_MUTUAL;
    start();
    struct tls_client client = attach(false);
    expect_refusal(&client);
    assert_int_equal(handshake_errors(), 1);
    leave(&client);
    client = attach(true);
    assert_int_equal(SSL_connect(client.ssl), 1);
    expect_service(&client);
    leave(&client);
}

static void a_listener_may_ask_less_than_the_default(void **state)
{
    (void)state;
    settings.tls.ca_file = own.certificate;
    settings.tls.verify_mode = 2;
    start();
    struct tls_client client = attach(false);
    expect_refusal(&client);
    leave(&client);
    listener.tls = LISTEN_TLS_ON;
    client = connect_one();
    expect_service(&client);
    leave(&client);
}

static void a_foreign_certificate_is_refused(void **state)
{
    (void)state;
    settings.tls.ca_file = other_file;
    listener.tls = LISTEN_TLS_MUTUAL;
    certificate_make("authority", NULL, &own);
    assert_int_equal(rename(own.certificate, other_file), 0);
    certificate_make("first", NULL, &own);
    start();
    struct tls_client client = attach(true);
    expect_refusal(&client);
    leave(&client);
}

static void old_versions_are_refused(void **state)
{
    (void)state;
    settings.tls.min_version = 3;
    start();
    struct tls_client client = attach(false);
    SSL_set_max_proto_version(client.ssl, TLS1_2_VERSION);
    expect_refusal(&client);
    assert_int_equal(handshake_errors(), 1);
    leave(&client);
}

static void expect_name(struct tls_client *client, const char *name)
{
    char found[64];
    X509 *certificate = SSL_get1_peer_certificate(client->ssl);

    assert_non_null(certificate);
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, found,
                              sizeof found);
    assert_string_equal(found, name);
    X509_free(certificate);
}

static void a_reload_is_for_new_connections_and_a_failed_one_for_nobody(void **state)
{
    (void)state;
    start();
    struct tls_client before = connect_one();
    expect_name(&before, "first");
    certificate_make("second", NULL, &own);
    assert_true(tls_reload());
    assert_in_range(tls_seconds_since_reload(), 0, 5);
    struct tls_client after = connect_one();
    expect_name(&after, "second");
    FILE *file = fopen(own.certificate, "w");
    fputs("rubbish", file);
    fclose(file);
    assert_false(tls_reload());
    struct tls_client later = connect_one();
    expect_name(&later, "second");
    expect_service(&before);
    expect_service(&later);
    leave(&before);
    leave(&after);
    leave(&later);
}

static void a_start_without_usable_certificates_fails(void **state)
{
    (void)state;
    settings.tls.key_file = "/nonexistent/key";
    assert_false(tls_start(&settings.tls));
    settings.tls.key_file = own.key;
    settings.tls.ciphers = "NO-SUCH-CIPHER";
    assert_false(tls_start(&settings.tls));
    settings.tls.ciphers = NULL;
    settings.tls.ca_file = "/nonexistent/ca";
    assert_false(tls_start(&settings.tls));
    settings.tls.ca_file = NULL;
    settings.tls.chain_file = NULL;
    assert_false(tls_start(&settings.tls));
}

static void sessions_can_be_resumed_with_a_cache(void **state)
{
    (void)state;
    settings.tls.session_cache = true;
    start();
    struct tls_client first = connect_one();
    expect_service(&first);
    SSL_SESSION *session = SSL_get1_session(first.ssl);
    leave(&first);
    struct tls_client second = attach(false);
    assert_int_equal(SSL_set_session(second.ssl, session), 1);
    assert_int_equal(SSL_connect(second.ssl), 1);
    assert_true(SSL_session_reused(second.ssl));
    expect_service(&second);
    assert_true(counter_get(&workers_get(0)->counters.ssl_new_sessions) >= 1);
    leave(&second);
    SSL_SESSION_free(session);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(commands_are_answered),
        TEST(a_handshake_may_come_byte_by_byte),
        TEST(values_of_all_sizes_come_and_go),
        TEST(a_long_pipeline_is_answered_to_the_end),
        TEST(plain_text_is_no_handshake),
        TEST(a_broken_record_is_counted),
        TEST(a_mutual_listener_refuses_clients_without_certificate),
        TEST(a_listener_may_ask_less_than_the_default),
        TEST(a_foreign_certificate_is_refused),
        TEST(old_versions_are_refused),
        TEST(a_reload_is_for_new_connections_and_a_failed_one_for_nobody),
        TEST(a_start_without_usable_certificates_fails),
        TEST(sessions_can_be_resumed_with_a_cache),
    };
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL, as main() knows */
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(own.certificate, sizeof own.certificate, "%s/chain.pem", folder);
    snprintf(own.key, sizeof own.key, "%s/key.pem", folder);
    snprintf(other_file, sizeof other_file, "%s/other.pem", folder);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(own.certificate);
    unlink(own.key);
    unlink(other_file);
    rmdir(folder);
    return failed;
}
