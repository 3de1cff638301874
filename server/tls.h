/* TLS for listeners (-Z): certificates, and reloading them.
 *
 * Threads: tls_start() and tls_stop() by main(); tls_reload() by any; a session belongs to the
 * worker of its connection.  Built with --disable-tls, none of this exists. */
#ifndef SERVER_TLS_H
#define SERVER_TLS_H

#include "server/counters.h"
#include "server/settings.h"
#include <stddef.h>
#include <sys/types.h>

struct ssl_st; /* OpenSSL's SSL */
struct tls_session;

/* Reads certificate, key and authorities.  False: something is wrong with them, and the log says
 * what.  Called while we still have the rights to read the key. */
bool tls_start(const struct tls_settings *);

/* Reads them again (SIGHUP, refresh_certs); new connections use them.  False: the old ones stay,
 * and the log says why. */
bool tls_reload(void);

void tls_stop(void);

/* Seconds since the certificates were last read. */
uint64_t tls_seconds_since_reload(void);

/* A session on an accepted socket; `listen` is how its listener verifies clients.  Counts into
 * `counters`, of the worker that owns it.  Gives a session, or NULL when memory is short. */
struct tls_session *tls_session_new(int fd, enum listen_tls listen, struct counters *counters);
void tls_session_free(struct tls_session *);

/* What is wrong with a file that OpenSSL could not use: the first it met. */
const char *tls_file_reason(void);

/* A session of an SSL that was prepared elsewhere (server/peer_tls.c), which it takes; NULL, and it
 * is freed, when memory is short. */
struct tls_session *tls_session_of(struct ssl_st *, struct counters *counters);
struct ssl_st *tls_session_ssl(const struct tls_session *);

/* Like recv() and send(), but a result below 0 is an enum transport_result (server/transport.h).
 * The handshake happens within them. */
ssize_t tls_receive(struct tls_session *, void *bytes, size_t size);
ssize_t tls_send(struct tls_session *, const void *bytes, size_t size);

/* Whether the handshake is over. */
bool tls_is_established(const struct tls_session *);

/* Whether it holds input that the socket will not report again. */
bool tls_has_pending(const struct tls_session *);

#endif
