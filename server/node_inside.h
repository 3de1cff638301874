/* What the parts of a node (server/node.h) know of each other.  Only for node*.c and cluster.c.
 *
 * What changes during a turn of the loop is only marked; at its end, before the loop waits, links
 * are made and dropped, the state file written, a view published and the timer set: once.
 *
 * Threads: the cluster thread, but for node_new(), node_listen() and node_free(). */
#ifndef SERVER_NODE_INSIDE_H
#define SERVER_NODE_INSIDE_H

#include "server/cluster_inside.h"
#include "server/node.h"
#include "server/peer_listener.h"
#include <ev.h>
#include <sys/socket.h>

#define NODE_SEEDS_MAX    64
#define NODE_ACCEPTED_MAX (RING_MEMBERS_MAX + 33)

/* An outgoing background link: to a member, or to a --join address. */
struct node_link {
    node_id to; /* NODE_NONE: whoever answers there */
    struct member_address text;
    struct sockaddr_storage address;
    socklen_t address_bytes;
    struct peer_link *link; /* NULL: to be made */
};

struct node_links {
    struct peer_loop *loop; /* NULL: to be made, at the end of the turn */
    unsigned count, seed_count;
    struct node_link members[RING_MEMBERS_MAX]; /* sorted by id */
    struct node_link seeds[NODE_SEEDS_MAX];
    unsigned accepted_count; /* links of others that are open */
    struct peer_link *accepted[NODE_ACCEPTED_MAX];
    unsigned next_join; /* whom to ask next to be let in */
    unsigned cut_count;
    node_id cut[RING_MEMBERS_MAX]; /* `debug cut` */
};

struct node_inside {
    ev_timer wake, poll;
    ev_prepare end_of_turn;
    bool must_set_wake, must_publish, must_follow, must_relink;
    struct member_address own_address;
    struct peer_listener *listener;
    unsigned next_worker; /* who gets the next link for requests */
    struct node_links links;

    /* node_members.c */
    struct claimant_work *work;
    unsigned char *claimant_rows;
    struct cluster_table *table, *table_before; /* node->table is the first one's */
    bool was_warm, is_holding;                  /* as the claimant was told */
    bool has_heard;                             /* somebody who knows a cluster has answered */
    unsigned said_count;                        /* what the log was told of members' statuses */
    struct {
        node_id id;
        enum member_status status;
    } said[MEMBERSHIP_RECORDS_MAX];
    uint64_t started_ms;     /* looking for the cluster */
    uint64_t complain_at_ms; /* that nobody answers */
    uint64_t
        name_in_use_ms; /* since when others see somebody of this node's name; 0: they do not */

    /* node_state.c */
    uint64_t saved_digest;
    bool was_saved;

    /* node_flush.c */
    hlc_time flushed_up_to; /* in the store */
    struct node_flush_job *flushes;

    /* node.c */
    struct clock_doubt doubt;
    const struct cluster_published *published;
    uint64_t stop_at_ms; /* while is_stopping: hints or not */
    bool has_said_goodbye;
};

/* --- node.c --- */

/* NULL, and why is logged: memory is short, or the state file is damaged. */
struct node *node_new(struct cluster *);
/* Takes NULL. */
void node_free(struct node *);

/* Opens the peer listener.  False, and why is logged. */
bool node_listen(struct node *);

/* On the cluster thread: finds its cluster, or founds it. */
void node_start(struct node *);

/* It is time to exit: the loop ends soon.  May be called again. */
void node_stop(struct node *);

/* It knows its past and has a table: takes part from now on. */
void node_begin(struct node *, bool is_founding);

/* The membership changed. */
void node_change_peers(struct node *);

/* A link to a member opened, or was lost. */
void node_link_changed(struct node *, node_id peer, bool is_up);

/* A frame came over a background link, be it this node's or the peer's. */
void node_hear(struct node *, struct peer_link *, const struct peer_message *);

/* Pings all peers that are reachable, besides what liveness asks for. */
void node_ping_all(struct node *);

/* "b", or the number if it has no record. */
const char *node_name_of(const struct node *, node_id, char text[MEMBER_NAME_MAX + 1]);

/* --- node_members.c --- */

/* False: memory is short. */
bool node_members_init(struct node *);
void node_members_deinit(struct node *);
/* Looks for its cluster, or founds it. */
void node_members_start(struct node *);
/* What the claimant is to know: a peer became reachable or unreachable, or a ping came. */
void node_members_reach(struct node *, node_id peer, bool is_reachable);
void node_members_hear_ping(struct node *, const struct ping *);
/* The claimant's part of a ping, and this node's clock. */
void node_members_fill_ping(struct node *, struct ping *);
/* Tells claimant and members whether this node is warm and still holds others' cells, if that is
 * not as they were told. */
void node_members_tell_warmth(struct node *);
/* The membership changed: tells the log. */
void node_members_log(struct node *);
/* Whether this node has left for good, as its own record says. */
bool node_members_has_gone(const struct node *);
/* What another node's claimant says. */
void node_members_on_claimant(struct node *, node_id from, const struct claimant_message *);
/* RESTART_ASK to RESTART_JOINED. */
void node_members_on_talk(struct node *, struct peer_link *, const struct peer_message *);
/* A link opened while this node has not begun: asks there what it wants to know. */
void node_members_ask(struct node *, struct peer_link *);
/* Does what has come due; and when the next of it will. */
void node_members_wake(struct node *);
uint64_t node_members_deadline_ms(const struct node *);
/* Equal names are equal zones; no name is zone 0. */
uint32_t node_zone_number(const struct member_name *);
/* The membership was changed by an act with this answer, which is returned. */
enum membership_answer node_acted(struct node *, enum membership_answer);
/* The claimant publishes its next table without a majority of members reachable. */
void node_force(struct node *);

/* --- node_links.c --- */

/* Closes all links. */
void node_links_deinit(struct node *);
/* Makes links to all members, and to seeds while it has not begun; drops all others. */
void node_links_follow(struct node *);
/* Resolves the --join addresses anew. */
void node_links_find_seeds(struct node *);
/* Whether who is there has shown the certificate of the node that it says it is, by its id or by
 * its name in the message (or NULL); else the link is refused.  True without TLS, and of an id that
 * nobody knows yet. */
bool node_link_is_named(const struct node *, struct peer_link *, const struct peer_message *);
/* To every seed that has a link.  Returns to how many. */
unsigned node_links_tell_seeds(struct node *, const struct peer_message *);
/* To one seed or member, another one each time. */
void node_links_tell_next(struct node *, const struct peer_message *);
/* As node_send(), also by a link to a seed that turned out to be that node, or by its own link: to
 * who is no member any more there is no other. */
bool node_links_tell(struct node *, node_id to, const struct peer_message *);
/* Makes this node's address of where it listens for peers, "127.0.0.1:7001", and for clients.
 * False, and why is logged: it is too long. */
bool node_address_make(struct member_address *, const char *peers);
/* "127.0.0.1:7001/11211" as a socket's address.  False: it is none. */
bool node_address_socket(const struct member_address *, struct sockaddr_storage *, socklen_t *);

/* --- node_state.c --- */

/* Reads the state file, if there is one, into the membership, and the key for contexts.  False, and
 * why is logged: it is damaged, or of another cluster. */
bool node_state_load(struct node *);
/* Writes it, if the membership is not the one that it has. */
void node_state_save(struct node *);

/* --- node_flush.c --- */

/* The membership changed, or a pending flush came due: empties the store as it says. */
void node_flush_apply(struct node *);
/* For jobs that wait for clocks: a peer has told its clock, or is not waited for any more. */
void node_flush_hear(struct node *, const struct ping *);
void node_flush_lose(struct node *, node_id peer);
/* Does what has come due; and when the next of it will. */
void node_flush_wake(struct node *);
uint64_t node_flush_deadline_ms(const struct node *);
/* Gives back all jobs that wait. */
void node_flush_stop(struct node *);

#endif
