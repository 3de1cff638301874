/* Network: carries messages between nodes, as well or badly as the faults of the moment let it.
 *
 * Every ordered pair of nodes has a link of its own, so a cut may go one way only.  What a fault
 * does to a link is added to its quality, and taken off again when the fault ends: several may
 * hold at a time.  A healthy link keeps messages in order.
 *
 * A message is made, filled in, and sent, which takes it; the network frees it after delivery.
 *
 * Threads: one. */
#ifndef TESTS_SIM_NETWORK_H
#define TESTS_SIM_NETWORK_H

#include "ring/cell.h"
#include "tests/sim/engine.h"
#include "tests/sim/messages.h"
#include "tests/sim/set.h"
#include "tests/unit/random.h"

#define SIM_NODES_MAX 128 /* that a run may ever have; 100 at a time */

/* What is wrong with a link: all 0 if it is healthy. */
struct network_quality {
    unsigned cuts;            /* nothing passes while there is one */
    unsigned loss_permille;   /* messages lost */
    unsigned double_permille; /* messages that come twice */
    unsigned shuffle_ms;      /* each comes up to so much later, whatever was sent after it */
    unsigned slow_ms;         /* every one comes later */
};

struct network_link {
    struct network_quality quality;
    unsigned delay_ms;   /* at its best */
    uint64_t newest_ms;  /* when the latest one sent arrives */
    uint64_t healthy_ms; /* since when nothing is wrong with it, if so */
};

/* Memory that goes with a message. */
struct network_block {
    struct network_block *next;
    uint64_t bytes[];
};

struct message {
    struct engine_entry arrival, second_arrival;
    unsigned arrivals_left;
    struct message *next_free;
    unsigned from, to;           /* nodes by index */
    unsigned from_life, to_life; /* which of their lives: the receiver's link ends with it */
    unsigned key;                /* whose cell is in it; or TRUTH_NO_KEY */
    struct set heard;            /* what the truth knows through that cell */
    struct set *cells_heard;     /* the same for each of many cells, by place */
    unsigned cells_heard_count;
    uint64_t asked_ms;       /* when what it asks or answers was asked */
    struct command *command; /* of a command that is passed on; one reference */
    struct network_block *blocks;
    union message_body body;
    enum message_type type;
};

struct network {
    struct random random;
    unsigned node_count;
    struct network_link links[SIM_NODES_MAX][SIM_NODES_MAX]; /* from, to */
    struct message *free;
    uint64_t changed_ms; /* when a quality was last changed */
    uint64_t sent[MESSAGE_TYPES];
    uint64_t sent_before[MESSAGE_TYPES]; /* when the cluster became idle */
    unsigned in_flight;
};

void network_init(struct network *, uint64_t seed, unsigned node_count);
void network_deinit(struct network *);

/* Adds a fault's effect on a link, or takes it off again (`times` is 1 or -1). */
void network_add(struct sim *, unsigned from, unsigned to, const struct network_quality *,
                 int times);

/* Whether messages pass in that direction at all. */
bool network_passes(const struct network *, unsigned from, unsigned to);

/* Whether nothing is wrong in that direction. */
bool network_is_healthy(const struct network *, unsigned from, unsigned to);

/* A message with nothing in it but its type. */
struct message *message_new(struct network *, enum message_type);

/* Memory that lives as long as the message. */
void *message_room(struct message *, size_t bytes);

/* A copy of a cell that lives as long as the message, as a peer gets it: not live. */
struct cell *message_cell(struct message *, const struct cell *);

/* Room for what the truth knows through each of so many cells. */
void message_hear_cells(struct message *, unsigned count);

/* A copy of bytes that lives as long as the message. */
struct slice message_bytes(struct message *, struct slice);

/* Takes a message that is not to be sent. */
void message_drop(struct network *, struct message *);

/* An entry was taken out of the engine: if it is a message's arrival, that will not be. */
void network_forget(struct network *, struct engine_entry *);

/* Takes the message. */
void network_send(struct sim *, struct message *, unsigned from, unsigned to);

#endif
