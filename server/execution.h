/* What the files behind execute.h share: the handlers, one per verb, and the steps they are made
 * of.
 *
 * A handler looks the key up under its stripe's lock, decides, fills a struct outcome and has the
 * codec write the answer.  A handler that needs a new item has to let go of the lock to get it
 * (item_new() may evict from any stripe), and then looks again: struct rewrite. */
#ifndef SERVER_EXECUTION_H
#define SERVER_EXECUTION_H

#include "protocol/operation.h"
#include "server/store.h"
#include "server/worker.h"

struct connection;
struct output;

/* Where an operation is executed, and who hears of it. */
struct execution {
    struct worker *worker;
    struct store *store;
    struct connection *connection;
    struct output *output;
};

typedef void execute_handler(struct execution *, struct operation *);

/* Whichever it is. */
execute_handler execute_operation;                           /* execute.c */

execute_handler execute_get, execute_inspect;                /* execute_get.c */
execute_handler execute_store, execute_delete, execute_touch; /* execute_store.c, execute_delete.c */
execute_handler execute_arithmetic;                          /* execute_arithmetic.c */
execute_handler execute_siblings;                            /* cells.c: vget */
execute_handler execute_context_store, execute_context_delete; /* cells.c: @context and Y */
execute_handler execute_stats;                               /* stats.c */
/* execute_admin.c */
execute_handler execute_version, execute_verbosity, execute_flush_all, execute_shutdown;
execute_handler execute_cache_memlimit, execute_lru, execute_slabs, execute_extstore;
execute_handler execute_refresh_certs, execute_config, execute_debug;
execute_handler execute_cluster;                             /* execute_operator.c: cluster ... */
execute_handler execute_debug_key;                           /* cells_debug.c: debug ... */
/* crawler.c, execute_watch.c, execute_login.c */
execute_handler execute_lru_crawler, execute_watch;
execute_handler execute_sasl_list, execute_sasl_auth, execute_sasl_step;

/* The get of an owner that need not ask others (server/execute_cluster.h): answers it if it is a plain
 * one, and the item has one plain value.  False: it did nothing. */
bool execute_get_plainly(struct execution *, struct operation *);
/* The value of a store did not end as it has to. */
execute_handler execute_reject_data; /* execute_store.c */

/* Whether the operation is allowed before its connection has logged in; if not, it was answered:
 * refused, or taken as the login that it is (text `set`). */
bool execute_login_gate(struct execution *, struct operation *);
/* Whether the connection has to log in before anything else. */
bool execute_needs_login(const struct execution *);
/* Whether the operation is what a login looks like in text. */
bool execute_is_text_login(const struct operation *);
/* The longest value of a login, in any protocol. */
#define LOGIN_BYTES_MAX 16384

/* Counts the keys of those of the operations that are in the sample of `stats hotkeys`; each is
 * passed here once, with its hash. */
void execution_sample_keys(struct worker *, const struct operation *, unsigned count);

/* Writes the whole answer; its value is copied, and shorter than ITEM_LONG_VALUE_BYTES. */
void execution_answer(struct execution *, const struct operation *, const struct outcome *);
/* The same for a value of any size. */
void execution_answer_long(struct execution *, const struct operation *, const struct outcome *);
/* The same for a verb whose answer never has a value: all but the gets. */
void execution_answer_head(struct execution *, const struct operation *, const struct outcome *);
/* Answers with nothing but a status. */
void execution_answer_status(struct execution *, const struct operation *, enum outcome_status);
/* As execution_answer(), but sends a long value from the `item` that it is in.  Lock held. */
void execution_answer_item(struct execution *, const struct operation *, const struct outcome *,
                           struct item *item);
/* One line of the server's own, or in the binary protocol an answer with `binary_status` and
 * `text` as its body.  Heeds noreply. */
void execution_answer_line(struct execution *, const struct operation *, uint16_t binary_status,
                           struct slice text);
/* As above, for an error: sent in spite of noreply. */
void execution_answer_error(struct execution *, const struct operation *, uint16_t binary_status,
                            struct slice text);

/* What a client that asks for one value is shown of an item: the newest of its siblings. */
struct shown {
    struct slice value; /* inside the item */
    uint64_t expiry_ms;
    uint32_t client_flags;
    uint64_t cas;       /* 0 under -C */
};
void execution_show(const struct item *, uint64_t now_ms, struct shown *);
/* The cas value that clients see: 0 under -C. */
uint64_t execution_cas(const struct item *);

/* The cas that the client wants the item to get; 0: none (memcached's own sign for that). */
static inline uint64_t execution_new_cas(const struct operation *operation)
{
    return (operation->options & OPERATION_SET_CAS) != 0 ? operation->cas_new : 0;
}

/* Whether the operation is memcached's cas: stores only over the version that the client knows. */
bool execution_is_cas(const struct operation *);

/* Whether an expiry is nearer than the exptime that R names. */
bool execution_expires_before(uint64_t expiry_ms, int32_t recache_exptime, uint64_t now_ms);

/* Reads a value as incr does.  False: it is no number. */
bool execution_parse_number(struct slice text, uint64_t *number);
/* What incr or decr makes of it. */
uint64_t execution_calculate(const struct operation *, uint64_t number);

/* The largest value that memcached would store under -I for this key. */
bool execution_value_fits(const struct operation *, uint32_t client_flags, uint64_t value_bytes);

/* An item under construction while the lock is taken, let go and taken again.
 *
 *     struct rewrite rewrite = { 0 };
 *     do {
 *         stripe = store_lock(...); old = stripe_find(...);
 *         ... decide; describe the new item in `spec` ...
 *     } while (!rewrite_ready(&execution, &rewrite, &spec, stripe));
 *     if (rewrite.failed) ...no memory, the lock is gone...
 *     ... fill rewrite.item; rewrite_put(...) ...
 *     rewrite_deinit()     frees what was not put */
struct rewrite {
    struct item *item;
    struct item_spec spec;
    bool failed;
};

/* Whether rewrite->item is an item of just this spec: then the lock is still held.  Else lets go
 * of the lock and makes one; the caller has to look again.  Without memory `failed` is set, the
 * lock is let go, and true is given. */
bool rewrite_ready(struct execution *, struct rewrite *, const struct item_spec *, struct stripe *);
/* Stores it under a fresh dot, or under `hlc` if that is not 0.  Lock held.  False: no memory. */
bool rewrite_put(struct execution *, struct rewrite *, struct stripe *, uint64_t key_hash,
                 uint64_t hlc);
void rewrite_deinit(struct execution *, struct rewrite *);

/* The spec of a copy of `old` as it is shown, with room for a value of `value_bytes`. */
struct item_spec execution_spec_like(const struct operation *, const struct item *old,
                                     const struct shown *, uint64_t value_bytes);
/* Gives `to` the marks of `from` that a change of its value, expiry or cas leaves as they are. */
void execution_copy_marks(struct item *to, const struct item *from);

/* Gives an item another expiry, in place or as a copy: `*item` is then that.  True: done, and the
 * lock still held, or without memory `rewrite->failed` and the lock let go.  False: the lock was
 * let go, look again. */
bool execution_set_expiry(struct execution *, const struct operation *, struct stripe *,
                          struct item **item, uint64_t expiry_ms, struct rewrite *);

/* For the log of fetches: a command other than get looked for its key.  `item` may be NULL. */
void execution_watch_lookup(struct execution *, const struct operation *, const struct item *);

/* Meta flags are obeyed in the order in which they stand: `t T30` shows the old TTL, `T30 t` the
 * new one.  Whether the flag `first` is there, and `second` does not stand before it. */
bool execution_flag_is_first(const struct operation *, unsigned char first, unsigned char second);

/* The expiry (ms since 1970; 0: never) for an `exptime` as clients say it, no later than the policy
 * of the operation's key allows.  Counts from a time that is read afresh, so that nothing expires
 * early. */
uint64_t execution_expiry_ms(const struct operation *, int32_t exptime);

/* Whole seconds until `expiry_ms`, rounded up; -1: never.  `now_ms` has to be read while the stripe
 * is locked: before, another client may store for 30 seconds from a later time than that, and be
 * shown 31. */
int64_t execution_ttl_s(uint64_t expiry_ms, uint64_t now_ms);

#endif
