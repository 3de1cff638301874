/* UDP (off by default): each datagram is a request with memcached's 8-byte frame header, and is
 * answered by datagrams of at most 1,400 bytes.
 *
 *     request id 2 | sequence number 2 | number of datagrams 2 | reserved 2     network order
 *
 * A request is one datagram and complete; anything else is dropped.  An answer that would take
 * more than UDP_DATAGRAMS_MAX datagrams is refused.
 *
 * Threads: a socket belongs to one worker. */
#ifndef SERVER_UDP_H
#define SERVER_UDP_H

#include <ev.h>

#define UDP_HEADER_BYTES   8
#define UDP_DATAGRAM_BYTES 1400
#define UDP_DATAGRAMS_MAX  64

/* The event on a UDP socket that a worker was handed (a connection with TRANSPORT_UDP). */
void udp_on_readable(struct ev_loop *, ev_io *, int events);

#endif
