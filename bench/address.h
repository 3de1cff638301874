/* Where a server listens, and connecting to it.
 *
 * Threads: any. */
#ifndef BENCH_ADDRESS_H
#define BENCH_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

struct server_address {
    struct sockaddr_storage address;
    socklen_t bytes;
};

/* Reads HOST:PORT, [IPV6]:PORT, unix:PATH or /PATH; host names are looked up. False if it is
 * none of them or the host has no address. */
bool address_parse(const char *text, struct server_address *);

/* Gives a connected, non-blocking socket, or -1 after saying why on stderr. */
int address_connect(const struct server_address *);

#endif
