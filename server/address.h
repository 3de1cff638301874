/* Socket addresses as text, in the form of memcached's `stats conns`.
 *
 * Threads: any; nothing is kept. */
#ifndef SERVER_ADDRESS_H
#define SERVER_ADDRESS_H

#include "server/connection.h"

/* Writes "tcp:127.0.0.1:11211", "tcp6:[::1]:11211", "udp:...", "unix:/path" or, for a peer without
 * a name, "unix:". */
void address_describe(enum connection_transport, const struct sockaddr *,
                      char text[CONNECTION_ADDRESS_BYTES]);

/* Writes the host alone ("127.0.0.1", "[::1]"; "" for Unix sockets) and returns the port in host
 * order, 0 if it has none. */
unsigned address_split(const struct sockaddr *, char host[CONNECTION_ADDRESS_BYTES]);

#endif
