#include "server/transport.h"
#include "server/tls.h"
#include <unistd.h>

/* Pieces given to the kernel at once. */
#define SEND_PIECES_MAX 64

#ifdef WITH_TLS

/* What one record carries at most: more pieces are gathered up to here, as each record costs a
 * header, a MAC and (without kTLS) a system call. */
#define TLS_RECORD_BYTES (16 * 1024)

ssize_t transport_receive_tls(struct transport *transport, void *bytes, size_t size)
{
    return tls_receive(transport->tls, bytes, size);
}

/* Copies pieces behind one another until the record is full. */
static size_t gather(const struct iovec *pieces, unsigned count, unsigned char *record)
{
    size_t used = 0;

    for (unsigned i = 0; i < count && used < TLS_RECORD_BYTES; i++) {
        size_t size = pieces[i].iov_len;
        if (size > TLS_RECORD_BYTES - used)
            size = TLS_RECORD_BYTES - used;
        memcpy(record + used, pieces[i].iov_base, size);
        used += size;
    }
    return used;
}

/* One record.  After TRANSPORT_WAIT_*, the next call must offer at least the same bytes: it does,
 * as an output only grows at its end. */
static ssize_t send_tls(struct transport *transport, const struct output *output, bool *took_all)
{
    unsigned char record[TLS_RECORD_BYTES];
    struct iovec pieces[SEND_PIECES_MAX];
    unsigned count = output_pieces(output, pieces, SEND_PIECES_MAX);
    const void *bytes = pieces[0].iov_base;
    size_t size = pieces[0].iov_len;

    if (size > TLS_RECORD_BYTES)
        size = TLS_RECORD_BYTES;
    if (count > 1 && size < TLS_RECORD_BYTES) {
        bytes = record;
        size = gather(pieces, count, record);
    }
    ssize_t sent = tls_send(transport->tls, bytes, size);
    *took_all = sent == (ssize_t)size;
    return sent;
}

bool transport_has_pending(const struct transport *transport)
{
    return transport->tls != NULL && tls_has_pending(transport->tls);
}

bool transport_is_in_handshake(const struct transport *transport)
{
    return transport->tls != NULL && !tls_is_established(transport->tls);
}

static void close_tls(struct transport *transport)
{
    if (transport->tls != NULL)
        tls_session_free(transport->tls);
}

#else

ssize_t transport_receive_tls(struct transport *transport, void *bytes, size_t size)
{
    (void)bytes;
    (void)size;
    assert(transport->tls == NULL);
    return TRANSPORT_BROKEN;
}

static ssize_t send_tls(struct transport *transport, const struct output *output, bool *took_all)
{
    (void)output;
    (void)took_all;
    assert(transport->tls == NULL);
    return TRANSPORT_BROKEN;
}

bool transport_has_pending(const struct transport *transport)
{
    assert(transport->tls == NULL);
    return false;
}

bool transport_is_in_handshake(const struct transport *transport)
{
    assert(transport->tls == NULL);
    return false;
}

static void close_tls(struct transport *transport)
{
    assert(transport->tls == NULL);
}

#endif

ssize_t transport_receive_pieces(struct transport *transport, const struct iovec *pieces,
                                 unsigned count)
{
    assert(count > 0);
    if (transport->tls != NULL)
        return transport_receive_tls(transport, pieces[0].iov_base, pieces[0].iov_len);
    ssize_t received = readv(transport->fd, pieces, (int)count);
    if (received >= 0)
        return received;
    return errno == EAGAIN || errno == EINTR ? TRANSPORT_WAIT_READ : TRANSPORT_BROKEN;
}

/* Sends values from their items. */
static ssize_t send_pieces(struct transport *transport, const struct output *output, bool *took_all)
{
    struct iovec pieces[SEND_PIECES_MAX];
    struct msghdr message = {.msg_iov = pieces};
    size_t offered = 0;

    message.msg_iovlen = output_pieces(output, pieces, SEND_PIECES_MAX);
    for (size_t i = 0; i < message.msg_iovlen; i++)
        offered += pieces[i].iov_len;
    ssize_t sent = sendmsg(transport->fd, &message, MSG_NOSIGNAL);
    *took_all = sent == (ssize_t)offered;
    return sent;
}

ssize_t transport_send(struct transport *transport, const struct output *output, bool *took_all)
{
    ssize_t sent;

    assert(!output_is_empty(output));
    if (transport->tls != NULL)
        return send_tls(transport, output, took_all);
    if (output->value_count == 0) {
        size_t offered = output->used - output->sent_buffer;
        sent = send(transport->fd, output->buffer + output->sent_buffer, offered, MSG_NOSIGNAL);
        *took_all = sent == (ssize_t)offered;
    } else {
        sent = send_pieces(transport, output, took_all);
    }
    if (sent >= 0)
        return sent;
    return errno == EAGAIN || errno == EINTR ? TRANSPORT_WAIT_WRITE : TRANSPORT_BROKEN;
}

void transport_close(struct transport *transport)
{
    close_tls(transport);
    close(transport->fd);
    *transport = (struct transport){.fd = -1};
}
