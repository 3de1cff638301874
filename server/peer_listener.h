/* Peer listener: accepts the connections of other nodes, and looks at how each greets without
 * taking anything out of it: what a link is for decides which thread has it.
 *
 * Threads: belongs to the thread that runs the ev_loop; nothing here
 * knows a descriptor any more that was handed over. */
#ifndef SERVER_PEER_LISTENER_H
#define SERVER_PEER_LISTENER_H

#include "protocol/peer.h"
#include <ev.h>
#include <sys/socket.h>

struct peer_listener;

struct peer_listener_options {
    const char *address;      /* "ADDRESS:PORT" or "[ADDRESS]:PORT"; port 0: any free one */
    bool is_protected;        /* by a secret or TLS; else nothing but loopback will do */
    bool has_tls;             /* one byte says what a link is for (server/peer_tls.h) */
    unsigned greeting_ms_max; /* who says nothing for longer is dropped */
    /* A connection greets for that use.  Takes the descriptor. */
    void (*take)(void *context, enum peer_link_use, int fd);
    void *context;
};

/* Binds and listens; nothing is accepted before peer_listener_start().  NULL, and why is logged:
 * the address is none, is not of this machine, is every address, or other machines could reach it
 * though there is neither secret nor TLS. */
struct peer_listener *peer_listener_open(const struct peer_listener_options *);
void peer_listener_start(struct peer_listener *, struct ev_loop *);
/* Connections that have not greeted yet are closed.  Takes NULL. */
void peer_listener_close(struct peer_listener *);

/* The address with the real port: "127.0.0.1:7001", "[::1]:7001". */
const char *peer_listener_text(const struct peer_listener *);

/* Reads "HOST:PORT" or "[HOST]:PORT" (HOST may be a name) up to `end`.  False: it is none, or the
 * name is not known. */
bool peer_address_resolve(const char *text, size_t bytes, struct sockaddr_storage *, socklen_t *);

#endif
