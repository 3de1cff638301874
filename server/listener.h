/* The listening sockets: TCP on each -l address, Unix (-s) and UDP (-U).
 *
 * Threads: opened and closed by main(), whose loop also accepts; each connection goes to the worker
 * with the fewest. */
#ifndef SERVER_LISTENER_H
#define SERVER_LISTENER_H

#include "server/connection.h"
#include "server/settings.h"
#include <ev.h>

/* One bound socket. */
struct listener {
    int fd;
    enum connection_transport transport;
    enum listen_protocol protocol; /* of its connections */
    enum listen_tls tls;           /* OFF: plain; DEFAULT: verifies clients as ssl_verify_mode */
    char tag[9];
    struct sockaddr_storage address; /* with the real port */
    char text[CONNECTION_ADDRESS_BYTES]; /* "tcp:127.0.0.1:11211", "unix:/path" */
    ev_io readable;
};

/* Opens all sockets that the settings ask for, and accepts on the default loop, which the caller
 * runs.  Workers run already; UDP sockets are handed to them.  Writes the ports to the file
 * that MEMCACHED_PORT_FILENAME names.  Returns 0, or the exit code (71) after saying which address
 * failed and why; those that were opened are then closed. */
int listeners_open(const struct settings *);

/* Accepts no more, and closes.  Removes the Unix socket's file. */
void listeners_close(void);

/* The port in host order; 0 for Unix sockets. */
unsigned listener_port(const struct listener *);

/* All that we listen on, as one line for the log: "127.0.0.1:11211 (tcp), /run/x (unix)". */
void listeners_describe(char *text, size_t capacity);

/* Whether somebody on another machine could reach us. */
bool listeners_face_the_network(void);

/* For `stats conns`: the listening sockets, in the order in which they were opened. */
void listeners_visit(void (*visit)(void *context, const struct connection_description *),
                     void *context);

/* A worker has closed a connection: accepting may go on, where it was stopped.  Any thread. */
void listeners_on_connection_closed(void);

struct listeners_stats {
    uint64_t connections_total, connections_rejected;
    uint64_t disabled_count, disabled_us; /* how often, and how long, accepting was stopped */
    unsigned listening;                   /* sockets that listen */
    bool is_accepting;
};
/* Any thread. */
void listeners_stats(struct listeners_stats *);
void listeners_stats_reset(void);

#endif
