/* TLS between nodes, in place of a cluster secret or beside it: both sides show a certificate that
 * the cluster's authority signed, and whose common name is the node's name.
 *
 * TLS hides a link's greeting, so who connects says in one byte before it what the link is for
 * (enum peer_link_use): by that the accepting process gives it to a thread.  It proves nothing, and
 * has to be what the greeting says.
 *
 * Threads: made by main() before others start; sessions by any.  Built with --disable-tls, there is
 * no other than NULL. */
#ifndef SERVER_PEER_TLS_H
#define SERVER_PEER_TLS_H

#include "ring/membership.h"
#include <stdbool.h>

struct counters;
struct peer_tls;
struct tls_session;

struct peer_tls_files {
    const char *certificate, *key, *authority; /* PEM */
};

/* Reads the files.  NULL: something is wrong with them, and the log says what. */
struct peer_tls *peer_tls_new(const struct peer_tls_files *);
void peer_tls_free(struct peer_tls *);

/* A session on a connected socket; counts into `counters`.  NULL: memory is short. */
struct tls_session *peer_tls_session(struct peer_tls *, int fd, bool connects,
                                     struct counters *counters);

/* The common name in the other side's certificate, once the handshake is over.  False, and an empty
 * name, if it is none that a node may have. */
bool peer_tls_name(const struct tls_session *, struct member_name *);

#endif
