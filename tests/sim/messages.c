#include "tests/sim/messages.h"
#include <assert.h>

const char *message_name(enum message_type type)
{
    static const char *const names[MESSAGE_TYPES] = {
        [MESSAGE_PING] = "ping",
        [MESSAGE_FETCH] = "fetch",
        [MESSAGE_FETCH_REPLY] = "answer to a fetch",
        [MESSAGE_STORE] = "store",
        [MESSAGE_STORE_REPLY] = "answer to a store",
        [MESSAGE_FORWARD] = "command passed on",
        [MESSAGE_FORWARD_REPLY] = "answer to a command passed on",
        [MESSAGE_HINT] = "hint",
        [MESSAGE_HINT_ACK] = "answer to a hint",
        [MESSAGE_EXCHANGE] = "exchange",
        [MESSAGE_CLAIMANT] = "table or membership",
        [MESSAGE_TALK] = "talk with a node that starts",
    };

    assert(type < MESSAGE_TYPES);
    return names[type];
}
