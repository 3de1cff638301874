#include "server/tls.h"
#include "server/clock.h"
#include "server/log.h"
#include "server/transport.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>

/* Names our sessions among those that a client may offer to resume. */
#define SESSION_ID_CONTEXT "ringcached"

struct tls_session {
    SSL *ssl;
    struct counters *counters;
    bool is_established; /* the handshake is over; OpenSSL forgets that when something breaks */
    bool has_pending; /* the last receive filled its buffer, and there is more */
};

static const struct tls_settings *wanted; /* set by tls_start() */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the two below */
static SSL_CTX *current;
static uint64_t loaded_ms;

/* ---- certificates and options ---- */

/* The newest reason that OpenSSL has for a failure. */
static const char *reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());

    return text != NULL ? text : "unknown reason";
}

const char *tls_file_reason(void)
{
    const unsigned long error = ERR_peek_error();

    if (ERR_SYSTEM_ERROR(error))
        return log_error_text(ERR_GET_REASON(error));
    if (ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE)
        return "there is none in it in PEM format";
    return reason();
}

static int verify_flags(int mode)
{
    switch (mode) {
    case 1: return SSL_VERIFY_PEER;
    case 2: return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    case 3:
        return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT | SSL_VERIFY_CLIENT_ONCE;
    default: return SSL_VERIFY_NONE;
    }
}

static int on_new_session(SSL *ssl, SSL_SESSION *saved)
{
    struct tls_session *session = SSL_get_app_data(ssl);

    (void)saved;
    counter_add(&session->counters->ssl_new_sessions, 1);
    return 0; /* we keep no reference */
}

static bool load_certificates(SSL_CTX *context)
{
    const char *key_file = wanted->key_file != NULL ? wanted->key_file : wanted->chain_file;

    if (SSL_CTX_use_certificate_chain_file(context, wanted->chain_file) != 1) {
        log_error("TLS: cannot use the certificate %s (ssl_chain_cert): %s", wanted->chain_file,
                  tls_file_reason());
        return false;
    }
    if (SSL_CTX_use_PrivateKey_file(context, key_file, wanted->key_format) != 1) {
        log_error("TLS: cannot use the private key %s (ssl_key): %s", key_file, tls_file_reason());
        return false;
    }
    if (SSL_CTX_check_private_key(context) != 1) {
        log_error("TLS: the key %s is not that of the certificate %s", key_file,
                  wanted->chain_file);
        return false;
    }
    if (wanted->ca_file == NULL)
        return true;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(wanted->ca_file);
    if (names == NULL || SSL_CTX_load_verify_locations(context, wanted->ca_file, NULL) != 1) {
        log_error("TLS: cannot use the authorities in %s (ssl_ca_cert): %s", wanted->ca_file,
                  tls_file_reason());
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return false;
    }
    SSL_CTX_set_client_CA_list(context, names); /* takes them */
    return true;
}

static bool set_options(SSL_CTX *context)
{
    static const int versions[] = { TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION };

    assert(wanted->min_version >= 0 && wanted->min_version <= 3);
    SSL_CTX_set_min_proto_version(context, versions[wanted->min_version]);
    SSL_CTX_set_verify(context, verify_flags(wanted->verify_mode), NULL);
    if (wanted->ciphers != NULL && SSL_CTX_set_cipher_list(context, wanted->ciphers) != 1) {
        log_error("TLS: no cipher of \"%s\" (ssl_ciphers) is known", wanted->ciphers);
        return false;
    }
    SSL_CTX_set_session_id_context(context, (const unsigned char *)SESSION_ID_CONTEXT,
                                   sizeof SESSION_ID_CONTEXT - 1);
    if (wanted->session_cache) {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_SERVER);
        SSL_CTX_sess_set_new_cb(context, on_new_session);
    } else {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_num_tickets(context, 0);
        SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    }
    /* A client that just hangs up is no protocol error: memcached's protocol has no truncation
     * that an answer would not show. */
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* What is unsent may move between two attempts to send it (server/output.h); idle connections
     * keep no record buffers. */
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    if (wanted->kernel_tls)
        SSL_CTX_set_options(context, SSL_OP_ENABLE_KTLS);
    else
        SSL_CTX_set_read_ahead(context, 1); /* one system call per record instead of two */
    return true;
}

/* A context with the files as they are now; NULL and a line in the log if something is wrong. */
static SSL_CTX *load(void)
{
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL) {
        log_error("TLS: %s", reason());
        return NULL;
    }
    if (set_options(context) && load_certificates(context))
        return context;
    ERR_clear_error();
    SSL_CTX_free(context);
    return NULL;
}

bool tls_reload(void)
{
    SSL_CTX *fresh = load();

    if (fresh == NULL)
        return false;
    pthread_mutex_lock(&lock);
    SSL_CTX *old = current;
    current = fresh;
    loaded_ms = clock_now_ms();
    pthread_mutex_unlock(&lock);
    SSL_CTX_free(old);
    return true;
}

bool tls_start(const struct tls_settings *tls)
{
    wanted = tls;
    if (tls->chain_file == NULL) {
        log_error("TLS (-Z) needs a certificate: -o ssl_chain_cert=FILE,ssl_key=FILE");
        return false;
    }
    return tls_reload();
}

void tls_stop(void)
{
    SSL_CTX_free(current);
    current = NULL;
}

uint64_t tls_seconds_since_reload(void)
{
    pthread_mutex_lock(&lock);
    uint64_t then_ms = loaded_ms;
    pthread_mutex_unlock(&lock);
    return (clock_now_ms() - then_ms) / 1000;
}

/* ---- sessions ---- */

struct tls_session *tls_session_of(SSL *ssl, struct counters *counters)
{
    struct tls_session *session = calloc(1, sizeof *session);

    if (session == NULL) {
        SSL_free(ssl);
        return NULL;
    }
    session->ssl = ssl;
    session->counters = counters;
    SSL_set_app_data(ssl, session);
    return session;
}

SSL *tls_session_ssl(const struct tls_session *session)
{
    return session->ssl;
}

struct tls_session *tls_session_new(int fd, enum listen_tls listen, struct counters *counters)
{
    assert(listen != LISTEN_TLS_OFF);
    pthread_mutex_lock(&lock);
    SSL *ssl = SSL_new(current);
    pthread_mutex_unlock(&lock);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) {
        log_error("TLS: no session: %s", reason());
        ERR_clear_error();
        SSL_free(ssl);
        return NULL;
    }
    if (listen == LISTEN_TLS_ON)
        SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
    if (listen == LISTEN_TLS_MUTUAL)
        SSL_set_verify(ssl, verify_flags(2), NULL);
    SSL_set_accept_state(ssl);
    return tls_session_of(ssl, counters);
}

static void begin_call(struct tls_session *session)
{
    session->is_established |= SSL_is_init_finished(session->ssl) != 0;
    ERR_clear_error(); /* else SSL_get_error() looks at what another session left */
}

void tls_session_free(struct tls_session *session)
{
    begin_call(session);
    if (SSL_is_init_finished(session->ssl))
        (void)SSL_shutdown(session->ssl); /* says good-bye, and does not wait for an answer */
    SSL_free(session->ssl);
    ERR_clear_error();
    free(session);
}

/* What to answer for a call that did not succeed. */
static ssize_t on_failure(struct tls_session *session, int result)
{
    int error = SSL_get_error(session->ssl, result);

    switch (error) {
    case SSL_ERROR_WANT_READ: return TRANSPORT_WAIT_READ;
    case SSL_ERROR_WANT_WRITE: return TRANSPORT_WAIT_WRITE;
    case SSL_ERROR_ZERO_RETURN: return 0;
    default: break;
    }
    bool is_handshake = !session->is_established;
    if (is_handshake)
        counter_add(&session->counters->ssl_handshake_errors, 1);
    else if (error == SSL_ERROR_SSL)
        counter_add(&session->counters->ssl_proto_errors, 1);
    log_info("TLS: connection %d: %s failed: %s", SSL_get_fd(session->ssl),
             is_handshake ? "handshake" : "record",
             error == SSL_ERROR_SSL ? reason() : log_error_text(errno));
    ERR_clear_error();
    return TRANSPORT_BROKEN;
}

ssize_t tls_receive(struct tls_session *session, void *bytes, size_t size)
{
    size_t received = 0;

    session->has_pending = false;
    begin_call(session);
    while (received < size) {
        size_t part;
        int result = SSL_read_ex(session->ssl, (char *)bytes + received, size - received, &part);
        if (result != 1)
            /* What broke breaks again at the next call, behind what was received. */
            return received > 0 ? (ssize_t)received : on_failure(session, result);
        received += part;
        if (SSL_has_pending(session->ssl) == 0)
            return (ssize_t)received;
    }
    session->has_pending = SSL_has_pending(session->ssl) != 0;
    return (ssize_t)received;
}

ssize_t tls_send(struct tls_session *session, const void *bytes, size_t size)
{
    size_t sent;

    assert(size > 0);
    begin_call(session);
    int result = SSL_write_ex(session->ssl, bytes, size, &sent);
    if (result == 1)
        return (ssize_t)sent;
    ssize_t failure = on_failure(session, result);
    return failure == 0 ? TRANSPORT_BROKEN : failure;
}

bool tls_is_established(const struct tls_session *session)
{
    return session->is_established || SSL_is_init_finished(session->ssl);
}

bool tls_has_pending(const struct tls_session *session)
{
    return session->has_pending;
}
