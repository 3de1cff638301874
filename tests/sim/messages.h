/* Messages: what nodes send each other, one struct of ring/ for each kind.
 *
 * Threads: one. */
#ifndef TESTS_SIM_MESSAGES_H
#define TESTS_SIM_MESSAGES_H

#include "ring/claimant.h"
#include "ring/exchange.h"
#include "ring/forward.h"
#include "ring/hints.h"
#include "ring/ping.h"
#include "ring/quorum_read.h"
#include "ring/quorum_write.h"
#include "ring/sync.h"
#include "tests/sim/command.h"

enum message_type {
    MESSAGE_PING,
    MESSAGE_FETCH,
    MESSAGE_FETCH_REPLY,
    MESSAGE_STORE,
    MESSAGE_STORE_REPLY,
    MESSAGE_FORWARD,
    MESSAGE_FORWARD_REPLY,
    MESSAGE_HINT,
    MESSAGE_HINT_ACK,
    MESSAGE_EXCHANGE,
    MESSAGE_CLAIMANT,
    MESSAGE_TALK,
    MESSAGE_TYPES
};

/* The answer to a command that was passed on, and what goes back with it. */
struct forwarded_answer {
    struct forward_reply reply;
    enum command_result result;
    unsigned write;
};

/* What rides on a ping. */
struct ping_body {
    struct ping ping;
    struct sync_hello hello; /* of epoch 0: none */
};

union message_body {
    struct ping_body ping;
    struct fetch_request fetch;
    struct fetch_reply fetch_reply;
    struct store_request store;
    struct store_reply store_reply;
    struct forward_request forward;
    struct forwarded_answer forward_reply;
    struct hint_delivery hint;
    struct hint_ack hint_ack;
    const struct exchange_message *exchange;
    const struct claimant_message *claimant;
    const struct talk *talk;
};

/* What it is called in traces. */
const char *message_name(enum message_type);

#endif
