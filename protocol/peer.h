/* Peer frames: what nodes send each other, as bytes.
 *
 *     size (4)  type (1)   fields, as the type has them   |   values, one after the other
 *     \------------------ head -------------------------/     \---- value bytes --------/
 *
 * `size` counts all that follows it.  Numbers are little-endian; every message has one encoding
 * only.  The values of cells and commands come last, so that long ones can be sent from where they
 * are, and are read where they arrived.
 *
 * The messages are those of the machines in ring/, whose headers say what they mean, with the keys
 * and commands that ring/ does not see.  A cell's value is found by the handle of its sibling,
 * which here is the address of the value's bytes.
 *
 * Which fields a message has, in which order and within which bounds, stands in tables in
 * peer_tables.c: one walk over a table measures, writes and reads.
 *
 * Threads: functions of their arguments. */
#ifndef PROTOCOL_PEER_H
#define PROTOCOL_PEER_H

#include "protocol/operation.h"
#include "ring/claimant.h"
#include "ring/exchange.h"
#include "ring/forward.h"
#include "ring/hints.h"
#include "ring/ping.h"
#include "ring/quorum_read.h"
#include "ring/quorum_write.h"
#include "ring/restart.h"
#include "ring/siphash.h"
#include "ring/sync.h"

/* Of these frames; a node that is greeted with another one says so and closes. */
#define PEER_VERSION 1

#define PEER_SIZE_BYTES   4
#define PEER_HEADER_BYTES 5
#define PEER_NONCE_BYTES  32
#define PEER_PROOF_BYTES  32

enum peer_type {
    /* Who is there, and the proof of it. */
    PEER_HELLO = 1,
    PEER_PROOF,
    PEER_REFUSED, /* why the link is closed, for the other side's log */
    PEER_PING,
    /* One request. */
    PEER_FETCH,
    PEER_FETCHED,
    PEER_STORE,
    PEER_STORED,
    PEER_FORWARD,
    PEER_FORWARDED,
    /* Hints, and anti-entropy. */
    PEER_HINT,
    PEER_HINT_ACK,
    PEER_COMPARE,
    PEER_COMPARED,
    PEER_DIGESTS,
    PEER_DIFFERENCE,
    PEER_CELLS,
    PEER_CELLS_STORED,
    PEER_KNOW,
    PEER_KNOWN,
    /* Tables and members. */
    PEER_CLAIMANT,
    PEER_RESTART_ASK,
    PEER_RESTART_ANSWER,
    PEER_RESTART_JOIN,
    PEER_RESTART_JOINED,
    PEER_TYPE_END
};

/* What a link is for. */
enum peer_link_use { PEER_LINK_REQUESTS = 1, PEER_LINK_BACKGROUND };

struct peer_hello {
    uint16_t version;
    node_id from; /* NODE_NONE: it has yet to learn who it is */
    node_id to;   /* whom it means to talk to; NODE_NONE: whoever listens there */
    uint64_t incarnation;
    enum peer_link_use use;
    bool has_secret; /* it will prove that it knows the cluster's, and wants that proven */
    unsigned char nonce[PEER_NONCE_BYTES];
};

struct peer_proof {
    unsigned char mac[PEER_PROOF_BYTES];
};

struct peer_refused {
    struct slice reason; /* printable text, at most 255 bytes */
};

/* All that rides on a ping. */
struct peer_ping {
    struct ping ping;
    struct sync_hello hello; /* its `from` and `to` are those of the ping, and do not travel */
};

struct peer_fetch {
    struct fetch_request request;
    struct slice key;
};

struct peer_store {
    struct store_request request;
    struct slice key;
};

struct peer_forward {
    struct forward_request request;
    struct operation operation; /* what its verb and options use; the rest is zero */
};

struct peer_forwarded {
    struct forward_reply reply;
    struct outcome outcome;
};

struct peer_hint {
    struct hint_delivery delivery;
    struct slice key;
};

/* The keys of the cells, in their order. */
struct peer_difference {
    struct exchange_difference difference;
    struct slice keys[EXCHANGE_KEYS_MAX];
};

struct peer_cells {
    struct exchange_cells cells;
    struct slice keys[EXCHANGE_KEYS_MAX];
};

/* What a newcomer has to know of the cluster besides its members. */
struct peer_cluster {
    bool is_known; /* who answers is in a cluster; else the rest is 0 */
    uint8_t partition_bits, copies;
    bool is_name_in_use;            /* whoever has the name of who asks is reachable */
    struct siphash_key context_key; /* for the contexts that clients are given; 0 if the secret
                                       tells it */
};

struct peer_restart_answer {
    struct restart_answer answer;
    struct peer_cluster cluster;
    struct slice membership; /* membership_encode() */
};

struct peer_restart_joined {
    struct restart_joined joined;
    struct peer_cluster cluster;
    struct slice membership;
};

struct peer_message {
    enum peer_type type;
    union {
        struct peer_hello hello;
        struct peer_proof proof;
        struct peer_refused refused;
        struct peer_ping ping;
        struct peer_fetch fetch;
        struct fetch_reply fetched;
        struct peer_store store;
        struct store_reply stored;
        struct peer_forward forward;
        struct peer_forwarded forwarded;
        struct peer_hint hint;
        struct hint_ack hint_ack;
        struct exchange_compare compare;
        struct exchange_compared compared;
        struct exchange_digests digests;
        struct peer_difference difference;
        struct peer_cells cells;
        struct exchange_stored cells_stored;
        struct exchange_know know;
        struct exchange_known known;
        struct claimant_message claimant;
        struct restart_ask restart_ask;
        struct peer_restart_answer restart_answer;
        struct restart_join restart_join;
        struct peer_restart_joined restart_joined;
    };
};

/* Bytes of the head, the header included. */
size_t peer_head_bytes(const struct peer_message *);

/* Bytes of all values behind it.  Together with the head they fit a frame: less than 2^32. */
uint64_t peer_value_bytes(const struct peer_message *);

/* Writes the peer_head_bytes() of the head and returns how many. */
size_t peer_encode_head(const struct peer_message *, unsigned char *out);

/* Lists the values, in their order: fills at most `room` of `values` and returns how many there
 * are. */
unsigned peer_values(const struct peer_message *, struct slice *values, unsigned room);

/* Where cells are put that are read.  The caller's memory; may be used anew for every frame. */
struct peer_room {
    struct cell *cells;
    unsigned cell_count, cell_room;
    struct sibling *siblings;
    unsigned sibling_count, sibling_room;
};

enum peer_parse {
    PEER_PARSED,
    PEER_MORE, /* the frame is not complete: `frame_bytes` says how long it will be, if known */
    PEER_BAD,  /* no such message, or not this encoding of it: close the link */
    PEER_ROOM  /* a sound frame so far, but its cells do not fit the room: give more, at most
                  doubling it until they do */
};

/* All of that in one walk, for frames that are small: writes the head to `out`, which has `room`
 * bytes (from PEER_HEADER_BYTES on, all of which may be written to), lists the values, and returns
 * the bytes of the head; 0: `room` or `value_room` is too small, or the frame too large. */
size_t peer_encode(const struct peer_message *, unsigned char *out, size_t room,
                   struct slice *values, unsigned value_room, unsigned *value_count);

/* Reads the frame at the start of `input`.  PEER_PARSED: `*frame_bytes` were used, and `message`
 * and its cells borrow from them and from `room`.  `*frame_bytes` is 0 while the size is not known
 * either.  Anything may be in `input`. */
enum peer_parse peer_parse(struct slice input, uint64_t frame_bytes_max, struct peer_room *room,
                           struct peer_message *message, uint64_t *frame_bytes);

/* What the frame at the start of `input` is about, of those that belong to requests: for who wants
 * to have memory loaded before the frame is read.  Nothing is checked. */
struct peer_glimpse {
    uint64_t frame_bytes; /* 0: too little has come to tell */
    enum peer_type type;
    uint64_t number;   /* FETCHED, STORED: the operation */
    uint64_t key_hash; /* FETCH, STORE, FORWARD */
};
struct peer_glimpse peer_glimpse(struct slice input);

/* A copy with zeroes where the operation's codec left garbage: all that its verb and options do not
 * use.  Slices are borrowed from the same bytes. */
struct operation peer_operation(const struct operation *);

/* A word for logs: "store", "ping", ... */
const char *peer_type_name(enum peer_type);

#endif
