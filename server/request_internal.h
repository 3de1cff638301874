/* What the files behind request.h share; see there for which does what.
 *
 *   worker's turn                                 a message of a peer
 *     requests_begin_turn()                         on_message()             request_links.c
 *       links_follow_view()     request_links.c       FETCHED STORED
 *       requests_lose()                               FORWARDED  -> request_hear_...()
 *     ... requests_start()                            FETCH STORE
 *           request_begin()                           FORWARD    -> serve_...()
 *             request_step() <------ every event
 *               coordinator_step()
 *               carry_out(): sends, then the own cell, then the answer
 *
 * Threads: a worker's. */
#ifndef SERVER_REQUEST_INTERNAL_H
#define SERVER_REQUEST_INTERNAL_H

#include "protocol/peer.h"
#include "ring/coordinator.h"
#include "server/cell_item.h"
#include "server/cell_store.h"
#include "server/cluster.h"
#include "server/command.h"
#include "server/lock.h"
#include "server/peer_link.h"
#include "server/request.h"
#include "server/served.h"
#include "server/settings.h"
#include <ev.h>
#include <stdalign.h>

/* A request's memory for its key, a small value, what was fetched: without an allocation. */
#define REQUEST_BYTES 1024

/* Siblings that a request has room for without an allocation. */
#define REQUEST_SIBLINGS 4

/* Requests in flight on one worker.  At the bound those that are answered already end: what they
 * still wait for is that the last replicas answer. */
#define REQUESTS_MAX 8192

#define REQUESTS_BUCKETS 1024 /* of those that were passed on, by id */

/* Deadlines are looked at this often. */
#define REQUESTS_TICK_MS 5

/* More memory of a request, or an item that it refers to. */
struct request_memory {
    struct request_memory *next;
    struct item *item; /* NULL: `bytes` are in use, and this was allocated */
    unsigned char bytes[];
};

struct request {
    alignas(64) struct requests *owner;
    struct request *next, *previous; /* in flight, the oldest first */
    struct request *next_passed_on;  /* in its bucket */
    bool is_passed_on;               /* it is in one */
    bool is_answered;
    bool is_stepping;
    uint32_t slot;                   /* its place in the table */
    uint64_t started_us, started_ms; /* by the turns' clock */
    uint64_t sent_us;                /* when something was sent to peers last */
    struct request_client *client;   /* NULL: another node passed it on, */
    struct peer_link *asker;         /* here, or NULL: that link is gone */
    struct request_id id;
    uint64_t number; /* that replicas echo */
    struct operation operation;
    const struct policy *policy;
    struct item *item;     /* a long value of the operation, referred to; or NULL */
    struct item *own_item; /* the long item that the own cell was read from, referred to; or NULL */
    struct command_marks marks;
    bool has_outcome;
    struct outcome outcome; /* its slices in the request's memory */
    struct cell cell;       /* the coordinator's */
    struct sibling siblings[REQUEST_SIBLINGS];
    struct coordinator coordinator;
    struct request_memory *memory;
    size_t bytes_used;
    unsigned char bytes[REQUEST_BYTES];
};

/* A link that a peer opened to us, or we to a peer: what peer_link_data() is.
 *
 * Questions and answers go both ways over either.  Of two nodes whose workers have a link to each
 * other the one with the higher id asks over the other's: what both have to say in a turn then
 * leaves in one call. */
struct request_link {
    struct requests *owner;
    struct request_link *next, *previous;
    struct peer_link *link;
    node_id peer;             /* NODE_NONE until an accepted one is open */
    struct request_link *via; /* ours: the peer's, which is used instead; or NULL */
    bool is_accepted;
    bool is_open;
    bool is_cut;                     /* nothing is sent, and nothing is taken */
    bool is_old;                     /* theirs: of a former life of the peer */
    bool is_reachable;               /* ours: the peer is believed up */
    bool is_usable;                  /* ours: for requests */
    bool was_lost;                   /* ours: requests have yet to hear so */
    bool is_gone;                    /* ours: the peer is no member any more */
    struct sockaddr_storage address; /* ours, as in the view */
    socklen_t address_bytes;
};

struct requests {
    struct worker *worker;
    struct cluster *cluster;
    struct store *store;
    const struct cluster_view *view; /* held; NULL between turns */
    uint64_t turn_us;                /* monotonic time of this turn */

    /* request_links.c */
    struct peer_loop *peers; /* NULL: this node does not know who it is yet */
    node_id self;            /* as `peers` was made for */
    uint64_t incarnation;    /* likewise */
    uint64_t peers_version;  /* of the view that the links follow */
    struct request_link *links, *accepted;
    _Atomic unsigned links_open;
    struct peer_view views[RING_MEMBERS_MAX]; /* the view's, but for peers that no link leads to */
    bool has_lost;                            /* some link was_lost */
    ev_idle wakes; /* active while there are losses to tell, so that the loop does not wait */
    struct lock incoming_lock; /* guards the next three, which any thread adds to */
    int *incoming;             /* connections that were handed over */
    _Atomic unsigned incoming_count;
    unsigned incoming_room;

    /* request.c */
    struct request *oldest, *newest;
    struct request *free;
    struct request_slab *slabs; /* where they come from */
    _Atomic unsigned count;
    struct request **table; /* REQUESTS_MAX, by slot */
    uint32_t *free_slots;
    unsigned free_slot_count;
    uint64_t next_number; /* of this worker's requests */
    struct request *passed_on[REQUESTS_BUCKETS];
    ev_timer tick;
    bool is_visiting;      /* all in flight: none but the one that is stepped may end */
    uint32_t until_sample; /* requests up to the next whose latency is told */

    /* request_serve.c */
    struct served *served; /* what came of forwards, shared by the cluster's workers */

    /* scratch of one call, never across an answer */
    struct cell own, other;
    struct peer_message message;
    struct request_stats stats;
};

#define REQUEST_COUNT(requests, name) counter_add(&(requests)->stats.name, 1)

/* ---- request.c ---- */

/* Starts what a client asked, or with `forward` what another node passed on.  `operation` as in
 * requests_start().  False: too many are in flight, or memory is short; nothing was done. */
bool request_begin(struct requests *, enum request_class, const struct operation *, struct item *,
                   struct request_client *, const struct forward_request *forward,
                   struct peer_link *asker);

void request_step(struct request *, struct coordinator_event);

/* Memory that lasts as long as the request; NULL when it is short. */
void *request_alloc(struct request *, size_t bytes);
/* A copy that does. */
bool request_keep(struct request *, struct slice *bytes);
/* Refers to an ITEM_LONG for as long.  Its lock is held, or it is not stored. */
bool request_hold(struct request *, struct item *);

/* Room for siblings in the cell of a request. */
bool request_reserve(struct request *, unsigned siblings);
/* The same of a scratch cell, whose siblings are allocated. */
bool requests_reserve(struct cell *, unsigned siblings);

/* Has what a reply will need of its request loaded. */
void request_prefetch(const struct requests *, uint64_t number);

/* Replies, and peers that are gone. */
void request_hear_fetched(struct requests *, node_id from, const struct fetch_reply *);
void request_hear_stored(struct requests *, node_id from, const struct store_reply *);
void request_hear_forwarded(struct requests *, node_id from, const struct peer_forwarded *);
void requests_lose(struct requests *, node_id peer);
/* An accepted link is gone: nobody waits for the answers to what came over it. */
void requests_forget_asker(struct requests *, const struct peer_link *);

/* The time for deadlines, milliseconds, and since 1970. */
uint64_t requests_now_ms(const struct requests *);

/* ---- request_own.c ---- */

/* Merges the own cell into the request's; counts the use. */
void own_read(struct request *);
/* `applies`, with or without `merges_own`, or `rewrites`: give the event that has to follow. */
struct coordinator_event own_apply(struct request *, const struct request_effects *);
struct coordinator_event own_rewrite(struct request *, hlc_time after);
/* `merges_own` alone; with a hint for `hint_for` unless that is NODE_NONE. */
void own_merge(struct request *, node_id hint_for);

/* Whether this node owns the key, of whose copies there are so many. */
bool own_is_owner(const struct requests *, uint64_t hash, unsigned copies);
/* What ring/replica.h has to know; the clock is filled in under the stripe's lock. */
struct replica_now own_now(const struct requests *, uint64_t hash, unsigned copies);

/* Whether a cell of a peer is not dated too far ahead; then the stripe's clock comes after it. */
bool own_admits(struct requests *, uint64_t hash, const struct cell *);

/* Tells the cluster thread of the dots in a cell. */
void own_note_dots(struct requests *, const struct cell *);

/* ---- request_links.c ---- */

void links_init(struct requests *);
void links_deinit(struct requests *);

/* Makes the links what the view at hand says, takes up connections that were handed over, and tells
 * requests of peers that are lost. */
void links_follow_view(struct requests *);

/* Sends `requests->message`.  False: it did not leave this node.  To one that is cut off it leaves,
 * and is lost. */
bool links_send(struct requests *, node_id to, struct item *);
/* The same to who asked, over the link of the question. */
void links_reply(struct requests *, struct peer_link *, struct item *);

/* ---- request_serve.c ---- */

void serve_fetch(struct requests *, struct peer_link *, const struct peer_fetch *);
void serve_store(struct requests *, struct peer_link *, const struct peer_store *);
void serve_forward(struct requests *, struct peer_link *, const struct peer_forward *);

/* A command that another node passed on has its answer: remembers it, and tells who asked. */
void serve_answer(struct request *, const struct request_effects *);

#endif
