#include "server/udp.h"
#include "server/connection_internal.h"
#include "server/item.h"

/* Served before others have their turn. */
#define REQUESTS_PER_TURN 32

#define PAYLOAD_BYTES (UDP_DATAGRAM_BYTES - UDP_HEADER_BYTES)

/* One request, to be answered. */
struct udp_request {
    int fd;
    unsigned char id[2];
    struct sockaddr_storage peer;
    socklen_t peer_bytes;
};

static void put_u16(unsigned char *out, unsigned number)
{
    out[0] = (unsigned char)(number >> 8);
    out[1] = (unsigned char)number;
}

/* Copies the next bytes of the output into a datagram, which they fill unless they are the last:
 * a value sent from its item is longer than a datagram, so four pieces are always enough. */
static size_t fill_datagram(const struct output *output, unsigned char *out)
{
    static_assert(ITEM_LONG_VALUE_BYTES > PAYLOAD_BYTES, "two values never share a datagram");
    struct iovec pieces[4];
    unsigned count = output_pieces(output, pieces, 4);
    size_t used = 0;

    for (unsigned i = 0; i < count && used < PAYLOAD_BYTES; i++) {
        size_t size = pieces[i].iov_len;
        if (size > PAYLOAD_BYTES - used)
            size = PAYLOAD_BYTES - used;
        memcpy(out + used, pieces[i].iov_base, size);
        used += size;
    }
    assert(used == PAYLOAD_BYTES || used == output->pending_bytes);
    return used;
}

/* Sends the answer in pieces.  A datagram that the socket does not take is lost, as it may be
 * anywhere else on its way. */
static size_t send_answer(const struct udp_request *request, struct output *output)
{
    unsigned char datagram[UDP_DATAGRAM_BYTES];
    size_t sent_bytes = 0;
    unsigned total = (unsigned)((output->pending_bytes + PAYLOAD_BYTES - 1) / PAYLOAD_BYTES);

    for (unsigned sequence = 0; sequence < total; sequence++) {
        memcpy(datagram, request->id, 2);
        put_u16(datagram + 2, sequence);
        put_u16(datagram + 4, total);
        put_u16(datagram + 6, 0);
        size_t used = fill_datagram(output, datagram + UDP_HEADER_BYTES);
        (void)sendto(request->fd, datagram, UDP_HEADER_BYTES + used, MSG_NOSIGNAL,
                     (const struct sockaddr *)&request->peer, request->peer_bytes);
        sent_bytes += UDP_HEADER_BYTES + used;
        output_sent(output, used);
    }
    assert(output_is_empty(output));
    return sent_bytes;
}

/* Whether the header says that the request is this one datagram, and there is one. */
static bool is_whole_request(const unsigned char *datagram, size_t size)
{
    return size > UDP_HEADER_BYTES && datagram[2] == 0 && datagram[3] == 0 && datagram[4] == 0 &&
           datagram[5] == 1;
}

static void serve_request(struct connection *connection, struct udp_request *request,
                          const unsigned char *datagram, size_t size)
{
    struct worker *worker = connection->worker;
    struct output *output = &worker->output;

    memcpy(request->id, datagram, sizeof request->id);
    connection_serve_datagram(
        connection, (struct slice){ datagram + UDP_HEADER_BYTES, size - UDP_HEADER_BYTES });
    if (output->failed || output->pending_bytes > UDP_DATAGRAMS_MAX * PAYLOAD_BYTES) {
        output_clear(output);
        if (connection->protocol == LISTEN_ASCII)
            output_append(output, SLICE("SERVER_ERROR answer too large for UDP\r\n"));
    }
    counter_add(&worker->counters.bytes_written, send_answer(request, output));
}

void udp_on_readable(struct ev_loop *loop, ev_io *io, int events)
{
    struct connection *connection = (struct connection *)io;
    struct worker *worker = connection->worker;
    struct udp_request request = { .fd = connection->transport.fd };

    (void)loop;
    (void)events;
    for (unsigned i = 0; i < REQUESTS_PER_TURN; i++) {
        request.peer_bytes = sizeof request.peer;
        ssize_t size = recvfrom(request.fd, worker->input, WORKER_INPUT_BYTES, 0,
                                (struct sockaddr *)&request.peer, &request.peer_bytes);
        if (size < 0)
            return;
        counter_add(&worker->counters.bytes_read, size);
        if (is_whole_request(worker->input, (size_t)size))
            serve_request(connection, &request, worker->input, (size_t)size);
    }
}
