/* Bytes in and out of a connection's socket, plain or through TLS.  Plain costs nothing extra.
 *
 * Threads: owned by the connection's worker. */
#ifndef SERVER_TRANSPORT_H
#define SERVER_TRANSPORT_H

#include "server/output.h"
#include <errno.h>
#include <sys/socket.h>
#include <sys/types.h>

struct tls_session;

struct transport {
    int fd;
    struct tls_session *tls; /* NULL: plain */
};

/* What the calls below return instead of a number of bytes.  0 bytes received: end of file. */
enum transport_result {
    TRANSPORT_WAIT_READ = -1,  /* nothing now: try again when the socket is readable, */
    TRANSPORT_WAIT_WRITE = -2, /* or writable (TLS may want that in order to receive) */
    TRANSPORT_BROKEN = -3,
};

ssize_t transport_receive_tls(struct transport *, void *bytes, size_t size);

static inline ssize_t transport_receive(struct transport *transport, void *bytes, size_t size)
{
    if (transport->tls != NULL)
        return transport_receive_tls(transport, bytes, size);
    ssize_t received = recv(transport->fd, bytes, size, 0);
    if (received >= 0)
        return received;
    return errno == EAGAIN || errno == EINTR ? TRANSPORT_WAIT_READ : TRANSPORT_BROKEN;
}

/* Receives into several pieces, in order. */
ssize_t transport_receive_pieces(struct transport *, const struct iovec *pieces, unsigned count);

/* Sends from the output what the socket takes in one call (TLS: one record); there must be
 * something.  Sets `took_all` when it took all it was offered, so that trying again makes sense.
 * The caller tells the output with output_sent(). */
ssize_t transport_send(struct transport *, const struct output *, bool *took_all);

/* Whether input is waiting that the socket will not report as readable. */
bool transport_has_pending(const struct transport *);

/* Whether a TLS handshake has begun and is not over. */
bool transport_is_in_handshake(const struct transport *);

/* Frees the TLS session and closes the socket. */
void transport_close(struct transport *);

#endif
