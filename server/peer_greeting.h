/* Greeting: how two nodes that have a connection find out who they are, before anything else.
 *
 *   who connects                        who accepts
 *     HELLO  version, ids, nonce  ---->
 *                                 <----  HELLO  likewise
 *     PROOF  HMAC                 ---->                          with a cluster secret only
 *                                 <----  PROOF  HMAC
 *
 * A proof is HMAC-SHA256 under the cluster's secret over the prover's role and both HELLOs: so it
 * is worth nothing on another connection, for another node or in the other direction.  Two keys,
 * one a direction, follow from the same: with them every frame to come carries a sum over itself
 * and its number, so that none can be forged, repeated, left out or exchanged.
 *
 * A machine without sockets: it is given messages and says what to answer.
 *
 * Threads: belongs to its link. */
#ifndef SERVER_PEER_GREETING_H
#define SERVER_PEER_GREETING_H

#include "protocol/peer.h"
#include "ring/siphash.h"
#include "server/peer_secret.h"

enum peer_role { PEER_CONNECTS = 1, PEER_ACCEPTS };

enum peer_greeting_state {
    GREETING_HELLO, /* waits for the other's HELLO */
    GREETING_PROOF, /* waits for the other's PROOF */
    GREETING_DONE,
    GREETING_FAILED
};

struct peer_greeting {
    enum peer_greeting_state state;
    enum peer_role role;
    const struct peer_secret *secret; /* NULL: none */
    struct peer_hello own, theirs;
    struct siphash_key send_key, receive_key; /* with a secret, once DONE */
};

/* What a step wants to be done. */
struct peer_greeting_effects {
    bool has_answer;
    struct peer_message answer; /* to be sent first, also when it failed (PEER_REFUSED) */
    const char *failure;        /* for the log; NULL: none */
};

/* `own` is this side's HELLO, with a fresh random nonce; who connects sends it first.  Borrows the
 * secret, which is NULL if the cluster has none. */
void peer_greeting_init(struct peer_greeting *, enum peer_role, const struct peer_hello *own,
                        const struct peer_secret *secret);

/* A message arrived.  Only HELLO and PROOF are expected, in that order: everything else fails. */
void peer_greeting_step(struct peer_greeting *, const struct peer_message *,
                        struct peer_greeting_effects *);

#endif
