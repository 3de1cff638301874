/* Members: what a node does about who belongs to the cluster, and about the ring table: starting
 * (ring/restart.h), membership and tables (ring/claimant.h).
 *
 *   node_start() --> members_start(): finds out who it is, from which time on its clock may go,
 *                    and gets a table; only then
 *                --> node_begin(): it takes part
 *
 * Threads: one. */
#ifndef TESTS_SIM_MEMBERS_H
#define TESTS_SIM_MEMBERS_H

#include "ring/claimant.h"
#include "ring/membership.h"
#include "ring/restart.h"

struct cell;
struct message;
struct node;
struct sim;

/* What nodes say to each other when one starts. */
enum talk_type { TALK_ASK, TALK_ANSWER, TALK_JOIN, TALK_JOINED };

struct talk {
    enum talk_type type;
    struct restart_ask ask;
    struct restart_answer answer;
    struct restart_join join;
    struct restart_joined joined;
    struct slice membership; /* of who answers */
};

struct members {
    struct membership membership;
    struct restart restart;
    struct claimant claimant;
    bool has_claimant;
    unsigned char *claimant_rows;
    /* Copies of the claimant's table: machines keep the last one while they hear of the next. */
    struct ring_table tables[2];
    unsigned char *rows[2];
    unsigned current;
    bool was_warm, is_holding; /* as the claimant was told */
    unsigned actors;           /* ids that the node had */
};

struct members *members_new(struct sim *);
void members_free(struct members *);

/* The cluster begins, with this node in it. */
void members_found(struct node *);

/* The node starts, and knows nothing. */
void members_start(struct node *);

/* What liveness and pings say; and what goes into a ping. */
void members_reach(struct node *, node_id peer, bool is_reachable);
void members_hear_ping(struct node *, const struct ping *);
void members_fill_ping(const struct node *, struct ping *);

/* A message of these kinds has come. */
void members_on_claimant(struct node *, const struct message *);
void members_on_talk(struct node *, const struct message *);

/* The cell that the node holds now shows which times others' clocks gave. */
void members_saw_cell(struct node *, const struct cell *);

/* What an operator does at this node. */
enum membership_answer members_leave(struct node *, node_id);
enum membership_answer members_remove(struct node *, node_id);
enum membership_answer members_set_weight(struct node *, node_id, uint32_t weight);

/* Whether the node has gone, and may stop. */
bool members_has_gone(const struct node *);

/* Tells the others whether it warms, and holds cells of theirs. */
void members_tell_warmth(struct node *);

void members_wake(struct node *);
uint64_t members_deadline_ms(const struct node *);

/* Promise 5, once all has settled. */
void members_check(struct sim *);

#endif
