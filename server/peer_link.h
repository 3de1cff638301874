/* Link: one TCP connection between two nodes, on the loop of one thread.
 *
 *            connect                HELLO, PROOF                      bytes, frames
 *   WAITING --------> CONNECTING ----------------> GREETING --------> OPEN
 *      ^   backoff, doubled to a second                |                |
 *      +-----------------------------------------------+----------------+
 *        refused, broken, silent, a bad frame          (an accepted link is freed instead)
 *
 * Frames are those of protocol/peer.h.  With a cluster secret each is followed by a sum of 8 bytes
 * (SipHash-2-4 under a key of the link's, over the frame's number in its direction and the frame),
 * so nothing can be forged, repeated or left out on the way.
 *
 * With TLS (server/peer_tls.h) all of this goes through it, behind one byte that says the link's
 * use, which who accepted has read before peer_link_accept().
 *
 * In batches: what is sent during a turn of the loop leaves in one system call at its end; all
 * complete frames of one read are handled from where they were read.  What is unsent is bounded;
 * past the bound peer_link_send() says no, and the caller counts the peer as too slow.
 *
 * A frame that makes no sense closes its link, and nothing else.  The peer is told why, and the
 * log, once per reason in a row.
 *
 * Threads: a peer_loop and its links belong to the thread that runs the ev_loop. */
#ifndef SERVER_PEER_LINK_H
#define SERVER_PEER_LINK_H

#include "server/output.h"
#include "server/peer_greeting.h"
#include "server/peer_tls.h"
#include <ev.h>
#include <sys/socket.h>

struct peer_link;
struct peer_loop;
struct store;

enum peer_link_state { LINK_WAITING, LINK_CONNECTING, LINK_GREETING, LINK_OPEN };

/* What the owner of the links is told.  None of them may free the link. */
struct peer_link_owner {
    /* The link is OPEN: from now on frames can be sent.  peer_link_peer() tells who it is. */
    void (*on_open)(void *context, struct peer_link *);
    /* A frame arrived.  The message and all it points to are borrowed for the call. */
    void (*on_message)(void *context, struct peer_link *, const struct peer_message *);
    /* The link was OPEN and is not any more: what was sent may be lost, and answers will not come.
     * An accepted link is freed after this. */
    void (*on_close)(void *context, struct peer_link *);
    void *context;
    /* Before each on_message(): what has arrived behind that frame; `sum_bytes` follow each.  May
     * be NULL. */
    void (*on_ahead)(void *context, struct slice input, size_t sum_bytes);
};

struct peer_loop_options {
    struct store *store;              /* whose items are sent; may be NULL if none are */
    const struct peer_secret *secret; /* NULL: none */
    struct peer_tls *tls;             /* NULL: none */
    node_id self;
    uint64_t incarnation;
    uint64_t frame_bytes_max;  /* of one frame, from a peer */
    uint64_t unsent_bytes_max; /* of one link */
    unsigned greeting_ms_max;  /* until a link is open, from connecting or accepting on */
    unsigned backoff_ms_min, backoff_ms_max;
    unsigned silence_ms_max; /* TCP_USER_TIMEOUT: unacknowledged for longer is broken */
    bool is_quiet;           /* what goes wrong is logged with -v only: others say it, too */
    struct peer_link_owner owner;
};

/* Borrows the options' pointers for good.  NULL: memory is short. */
struct peer_loop *peer_loop_new(struct ev_loop *, const struct peer_loop_options *);
/* Closes all its links, without telling the owner. */
void peer_loop_free(struct peer_loop *);

/* Connects to a peer, again and again, until peer_link_free().  `to` is NODE_NONE if it is not
 * known who listens there.  `address` is copied.  NULL: memory is short. */
struct peer_link *peer_link_connect(struct peer_loop *, node_id to, const struct sockaddr *address,
                                    socklen_t address_bytes, enum peer_link_use);

/* Greets on a connection that was accepted.  Takes `fd`, and closes it when memory is short: then
 * NULL is returned. */
struct peer_link *peer_link_accept(struct peer_loop *, int fd);

/* Closes it at once, unsent bytes included, without telling the owner.  Not from a call to it. */
void peer_link_free(struct peer_link *);

/* Appends a frame; it leaves at the end of the turn.  Values are copied, except when `item` is
 * given: then all values lie in that item, which is ITEM_LONG, and long ones are sent from there (a
 * reference is taken: the caller has one, or the item's lock).  False, and nothing is sent: the
 * link is not OPEN, has too much unsent, or the frame would be of 4 GB or more. */
bool peer_link_send(struct peer_link *, const struct peer_message *, struct item *item);

/* Tells the peer and the log why, and closes once that has left; nothing more is heard of it.  Also
 * from a call to the owner. */
void peer_link_refuse(struct peer_link *, const char *reason);

/* A reason: what its certificate is called, and who it says it is. */
#define PEER_WRONG_NAME                                                                            \
    "the certificate's common name is not the name of the node: give each node its own"

enum peer_link_state peer_link_state(const struct peer_link *);
/* Who is there, once OPEN; before, who is meant. */
node_id peer_link_peer(const struct peer_link *);
enum peer_link_use peer_link_use(const struct peer_link *);
/* What the peer said of itself; only while OPEN. */
const struct peer_hello *peer_link_hello(const struct peer_link *);
/* The name in its certificate; only while OPEN.  False: it has shown none. */
bool peer_link_name(const struct peer_link *, struct member_name *);
/* For whatever the owner keeps per link; NULL at first. */
void **peer_link_data(struct peer_link *);

struct peer_link_stats {
    uint64_t frames_sent, frames_received;
    uint64_t bytes_sent, bytes_received;
    uint64_t refused_full; /* peer_link_send() past the bound */
    uint64_t closed;       /* times it was OPEN, and then not */
    uint64_t unsent_bytes; /* now */
};
void peer_link_stats(const struct peer_link *, struct peer_link_stats *);

#endif
