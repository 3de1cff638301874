/* What the files behind command.h share:
 *
 *   command_class.c       what a command's coordinator has to do
 *   command_look.c        what one value a cell shows
 *   command_put.c         writes, and what marks they leave
 *   command_apply.c       command_apply(): gets and touches, and who does the rest:
 *   command_store.c       whole values, append and prepend
 *   command_delete.c      tombstones, what x and I leave
 *   command_arithmetic.c  numbers, and a counter's shares
 *   command_context.c     writes with a client's context
 *   command_show.c        the answer of a read
 *   command_answer.c      the answer of the others; what is counted and logged */
#ifndef SERVER_COMMAND_INTERNAL_H
#define SERVER_COMMAND_INTERNAL_H

#include "server/command.h"

/* What a client that asks for one value is shown of a cell. */
struct command_shown {
    bool is_found;
    struct sibling sibling; /* whose flags and register go with the value */
    struct slice value;
    unsigned char *made; /* its bytes, if it was made of several siblings' */
};

enum command_look {
    LOOK_DONE,
    LOOK_NO_MEMORY,
    LOOK_UNKNOWN, /* a share of the counter is not held */
};
enum command_look command_look(const struct policy *, const struct cell *, uint64_t now_ms,
                               struct command_shown *);
void command_shown_deinit(struct command_shown *);

/* The siblings of a cell that count for a resolver, all but what has expired, and their values. */
struct command_values {
    struct cell cell; /* without a context */
    struct slice *slices;
};
/* False: memory is short. */
bool command_values_init(struct command_values *, const struct cell *, uint64_t now_ms);
void command_values_deinit(struct command_values *);

/* Seconds since the last access of the item that the marks are of. */
uint32_t command_idle_s(const struct command_marks *, uint64_t now_ms);

/* Seconds until `expiry_ms`, rounded up; -1: never.  But that time was counted from the clock of
 * another node, which may be ahead, and 60 seconds must not be shown as 61: so a little more than a
 * whole number is that number. */
int64_t command_ttl_s(uint64_t expiry_ms, uint64_t now_ms);

/* The cas value that clients see of a cell that is not empty: 0 under -C. */
uint64_t command_token(const struct cell *);

/* Whether it is a stub that was a value that has expired: nobody needs it any more. */
bool command_is_expired(const struct sibling *, uint64_t now_ms);

/* One command while it is applied. */
struct applying {
    struct command *command;
    const struct operation *operation;
    struct cell *own;
    struct command_result *result;
    struct outcome *outcome;    /* the result's */
    struct command_shown shown; /* of own as it was */
    uint64_t token;             /* likewise, as clients see it; 0: there is nothing */
};

static inline bool applying_has(const struct applying *applying, uint32_t option)
{
    return (applying->operation->options & option) != 0;
}

void command_apply_store(struct applying *);
void command_apply_delete(struct applying *);
void command_apply_arithmetic(struct applying *);
void command_apply_context(struct applying *);

/* The expiry that an exptime of the client asks for. */
uint64_t command_expiry_ms(const struct applying *, int32_t exptime);

/* A value to write; its dot comes later. */
struct sibling command_value(struct slice value, uint64_t expires_ms, uint32_t client_flags);

/* Put a value or a tombstone, under a fresh dot.  False: refused, and the result says so.
 *
 * In place of what `seen` covers; NULL: of all that this node knows. */
bool command_put(struct applying *, struct sibling *write, const struct context *seen);
/* Adds the stubs of what has expired, which is in nobody's way any more, or all stubs. */
void command_see_stubs(const struct applying *, bool sees_all, struct context *seen);
/* In place of what the cell shows, and of what in it has expired. */
bool command_supersede(struct applying *, struct sibling *write);
/* As the class of the command has it: the one or the other. */
bool command_replace(struct applying *, struct sibling *write);

/* Makes the clock come after all that the cell and the client have seen (NULL: nothing).  False:
 * that is too far ahead. */
bool command_catch_up(struct applying *, const struct context *seen);

/* Gives all values another expiry.  Returns whether that changed any. */
bool command_set_expiry(struct applying *, uint64_t expiry_ms);
/* Gives one sibling a register that is later than the one it has; `reg->hlc` is filled in. */
void command_set_register(struct applying *, struct sibling *, struct sibling_register *reg);

/* Room for the bytes of a value, which the result keeps.  NULL: refused, and the result says so. */
unsigned char *command_make_value(struct applying *, size_t bytes);

/* There is no memory, or the clock would have to go too far ahead. */
void command_refuse(struct applying *);
void command_refuse_clock(struct applying *);

/* The marks of an item that is new; those of one that was used. */
void command_mark_new(struct applying *, bool key_is_binary);
void command_mark_used(struct applying *);

/* Counts and logs a get. */
void command_count_get(struct execution *, const struct operation *, const struct outcome *);

/* Binary status of what failed in the cluster: temporary failure. */
#define COMMAND_BINARY_FAILURE 0x86

/* What a written cell answers: its token, and the context if that was asked for. */
void command_fill_state(struct applying *);

#endif
