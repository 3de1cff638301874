/* Command: what a client wants done to one key, and what came of it.
 *
 * A command is counted: the request that does it and each message that carries it keep it alive.
 *
 * Threads: one. */
#ifndef TESTS_SIM_COMMAND_H
#define TESTS_SIM_COMMAND_H

#include "ring/request.h"
#include "tests/sim/set.h"

enum command_type {
    COMMAND_GET,
    COMMAND_SET,          /* blind */
    COMMAND_DELETE_BLIND, /* without a reply: memcached's delete with noreply */
    COMMAND_PUT,          /* a context write */
    COMMAND_REMOVE,       /* a context delete */
    COMMAND_CAS,          /* with a token */
    COMMAND_ADD,
    COMMAND_DELETE, /* decided: answers whether there was something */
    COMMAND_INCR,   /* of a key with the counter policy */
    COMMAND_TOUCH,  /* the expiry, far ahead */
    COMMAND_TYPES
};

enum command_result {
    RESULT_NONE,
    RESULT_DONE,       /* stored, deleted, touched, or read */
    RESULT_EXISTS,     /* the token names another state */
    RESULT_NOT_FOUND,  /* there is nothing to delete, to touch, or with that token */
    RESULT_NOT_STORED, /* add: there is something */
    RESULT_TOO_MANY    /* siblings */
};

struct command {
    unsigned references;
    enum command_type type;
    enum request_class class;
    uint64_t number; /* of the client's operation: what it writes, too */
    unsigned key;
    unsigned read_quorum, write_quorum;
    struct context seen; /* of a context write */
    struct set shown;    /* what the truth says the client was shown, by that or by the token */
    uint64_t token;      /* of a cas */
    uint64_t delta;      /* of an incr */
    uint64_t expires_ms; /* of a touch */
};

/* What the client hears. */
struct command_answer {
    enum request_answer answer;
    enum command_result result; /* if the answer is ANSWER_DONE */
    unsigned got, needed;
    unsigned write;          /* of the truth, or TRUTH_NO_WRITE */
    const struct cell *cell; /* of a read; borrowed */
};

/* A copy with one reference. */
struct command *command_new(const struct command *);
struct command *command_ref(struct command *);
void command_unref(struct command *);

const char *command_name(enum command_type);
const char *command_result_name(enum command_result);

static inline bool command_is_write(enum command_type type)
{
    return type != COMMAND_GET;
}

#endif
