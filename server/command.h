/* What a client's command means on a cell: for the node of a cluster that coordinates it, and for
 * the one that the client asked and that answers (DESIGN, sections 2 and 3).
 *
 * What is answered is what the plain handlers (execute_*.c) would answer for one memcached; only
 * the old value is a cell here, and what is written is a new state of it:
 *
 *   class      commands                              what is superseded
 *   READ       get, gets, mg, me, vget               -
 *   BLIND      set; delete that nobody hears of      all that the coordinator holds or ever wrote
 *   CONTEXT    @context, Y                           what the context covers
 *   DECIDED    all others                            what the cell shows: a token write
 *
 * Under a policy without siblings all are last-write-wins writes.  A delete is a tombstone, or,
 * with a context that leaves a value, none: then only the context changes.  touch, gat, mg T and md
 * I write the register only.  Of a counter (resolver.h) incr and decr supersede this node's own
 * share, and set reads first: it is DECIDED.
 *
 * Threads: command_apply() under the lock of the key's stripe; the others by a worker. */
#ifndef SERVER_COMMAND_H
#define SERVER_COMMAND_H

#include "protocol/operation.h"
#include "ring/cell.h"
#include "ring/request.h"
#include "server/policy.h"

struct execution;
struct item;
struct stripe;

/* What the command's coordinator has to do.  The verb is one with a key. */
enum request_class command_class(const struct operation *);

/* What this node knows of the item that holds its cell; not replicated.  All false and 0 if it
 * holds none. */
struct command_marks {
    bool was_fetched;    /* h */
    bool is_won;         /* somebody was told to refill it */
    bool key_is_binary;  /* the key came as base64 */
    bool is_used;        /* out: the command is a use of the item, see command_marks_write() */
    uint32_t accessed_s; /* as struct item has it */
    uint64_t item_bytes; /* what the item takes; me shows it */
};

/* Fills in the marks of what the store has for the key, and gives an item that was stored, or kept,
 * the marks that a command left.  Lock held.  After cell_store_write(), whose `key_is_binary` is
 * that of the marks. */
void command_marks_read(struct stripe *, uint64_t hash, struct slice key, uint64_t now_ms,
                        struct command_marks *);
void command_marks_write(struct stripe *, uint64_t hash, struct slice key, uint64_t now_ms,
                         const struct command_marks *);

struct command {
    const struct operation *operation;
    const struct policy *policy; /* of its key */
    uint64_t now_ms;             /* since 1970 */
    node_id self;
    struct hlc_clock *clock; /* of the key's stripe */
    uint64_t drift_max_ms;
    struct command_marks marks; /* in and out */
};

enum command_applied {
    COMMAND_WRITTEN,  /* under `dot`; store the cell */
    COMMAND_REGISTER, /* no new version: no value has to travel; store the cell */
    COMMAND_KEPT,     /* the outcome is known, and nothing changes but the marks */
    COMMAND_AGAIN,    /* a share of the counter is not held: read again */
    COMMAND_REFUSED,  /* no memory, or a clock too far ahead: nothing was done */
};

struct command_result {
    enum command_applied applied;
    struct dot dot;
    bool is_late; /* REFUSED for the clock, not for want of memory */
    struct outcome outcome;
    unsigned char *made; /* value bytes that own's new sibling or the outcome point to; or NULL */
    unsigned char context[CONTEXT_BYTES_MAX]; /* that the outcome points to */
};

/* Decides, and does it to `own`, which has room for one more sibling, and from which what was
 * flushed and has expired is gone (cell_flush(), cell_expire()).  The handles of values are the
 * addresses of their bytes.  Fills in `result`; the outcome's slices borrow from the values of
 * `own` as it was, from the operation and from the result: copy what is to outlive the old item
 * before the cell is stored.  May be called again from the start with the cell read anew
 * (cell_store_write() lets go of the lock), after command_result_deinit().
 *
 * In the outcome of anything but a get, `was_hit_before` says whether the key was found, and
 * `item_bytes` how long the value was; of an arithmetic that created its item `won` is true.  The
 * node that answers needs that for its counters and logs. */
void command_apply(struct command *, struct cell *own, struct command_result *);
void command_result_deinit(struct command_result *);

/* The answer of a REQUEST_READ; of a VERB_SIBLINGS one per value.  The marks are those of this
 * node's item.  `item`, if not NULL, holds all values of the cell: a long one is sent from it.
 * False: it has to be done as REQUEST_DECIDED, since the coordinator has to say who
 * won (a meta get of a value that is stale, or that may be the empty one that N makes); nothing was
 * written and counted. */
bool command_show(struct execution *, const struct operation *, const struct cell *,
                  const struct command_marks *, struct item *item);

/* The answer of the others, with all that is counted and logged of them. */
void command_answer(struct execution *, const struct operation *, const struct outcome *);

/* The answer when there is none: any but ANSWER_DONE.  One line, in spite of q and of the quiet
 * binary forms, but not of noreply.  Of a text get of several keys the answers to the later keys
 * have to be left out, END included: a client takes the error for the end of them. */
void command_answer_failure(struct execution *, const struct operation *, enum request_answer,
                            unsigned got, unsigned needed);

/* For a store whose value has yet to come: whether it is larger than -I allows.  Then that was
 * answered, and in `*removal`, if `*removes`, is the delete (REQUEST_BLIND, nobody hears of it)
 * that keeps the old value from outliving the store that failed. */
bool command_is_too_large(struct execution *, const struct operation *, struct operation *removal,
                          bool *removes);

#endif
