#include "server/peer_tls.h"
#include "server/log.h"
#include "server/tls.h"
#include <openssl/err.h>
#include <openssl/ssl.h>

/* Not its own type: the context is all there is. */
static SSL_CTX *context_of(struct peer_tls *tls)
{
    return (SSL_CTX *)tls;
}

static bool complain(const char *what, const char *path)
{
    log_error("TLS between nodes: cannot use the %s %s: %s", what, path, tls_file_reason());
    ERR_clear_error();
    return false;
}

static bool load(SSL_CTX *context, const struct peer_tls_files *files)
{
    if (SSL_CTX_use_certificate_chain_file(context, files->certificate) != 1)
        return complain("certificate", files->certificate);
    if (SSL_CTX_use_PrivateKey_file(context, files->key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1)
        return complain("private key", files->key);
    if (SSL_CTX_load_verify_locations(context, files->authority, NULL) != 1)
        return complain("authority", files->authority);
    return true;
}

struct peer_tls *peer_tls_new(const struct peer_tls_files *files)
{
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_method());

    if (context == NULL) {
        log_error("TLS between nodes: no memory for it");
        return NULL;
    }
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    /* Links live long: nothing is resumed. */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    if (load(context, files))
        return (struct peer_tls *)context;
    SSL_CTX_free(context);
    return NULL;
}

void peer_tls_free(struct peer_tls *tls)
{
    SSL_CTX_free(context_of(tls));
}

struct tls_session *peer_tls_session(struct peer_tls *tls, int fd, bool connects,
                                     struct counters *counters)
{
    SSL *ssl = SSL_new(context_of(tls));

    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        return NULL;
    }
    if (connects)
        SSL_set_connect_state(ssl);
    else
        SSL_set_accept_state(ssl);
    return tls_session_of(ssl, counters);
}

bool peer_tls_name(const struct tls_session *session, struct member_name *name)
{
    X509 *certificate = SSL_get0_peer_certificate(tls_session_ssl(session));
    char text[MEMBER_NAME_MAX + 2];

    *name = (struct member_name){0};
    if (certificate == NULL)
        return false;
    int size = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, text,
                                         sizeof text);
    return size > 0 && member_name_set(name, (struct slice){(unsigned char *)text, (size_t)size});
}
