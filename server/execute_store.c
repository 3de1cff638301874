/* set add replace append prepend cas, ms; binary SET* ADD* REPLACE* APPEND* PREPEND*.
 *
 * The new item is made and filled before its key is locked; under the lock it is decided whether
 * it takes the place of the old one.  Append and prepend make a third item of the two. */
#include "server/execute.h"
#include "ring/key_hash.h"
#include "server/cells.h"
#include "server/clock.h"
#include "server/connection.h"
#include "server/execute_cluster.h"
#include "server/execution.h"
#include "server/prefix_stats.h"
#include "server/settings.h"
#include "server/watch.h"
#include <assert.h>

#define BINARY_TOO_LARGE 0x03

static bool concatenates(const struct operation *operation)
{
    return operation->mode == STORE_APPEND || operation->mode == STORE_PREPEND;
}

/* Whether the operation is memcached's cas: stores only over the version that the client knows.
 * In meta, `add` does not look at C; append and prepend take it as one more condition. */
bool execution_is_cas(const struct operation *operation)
{
    if ((operation->options & OPERATION_COMPARE_CAS) == 0 || concatenates(operation))
        return false;
    return operation->protocol != PROTOCOL_META || operation->mode != STORE_ADD;
}

static void watch_store(struct execution *execution, const struct operation *operation,
                        enum outcome_status status)
{
    if (watch_wants(WATCH_MUTATIONS))
        watch_item_store(execution->connection, operation, status);
}

/* An old value must not outlive a set that failed: the client believes it gone. */
static void remove_old_item(struct execution *execution, const struct operation *operation)
{
    struct stripe *stripe = store_lock(execution->store, operation->hash);
    struct item *item = stripe_find(stripe, operation->hash, operation->key,
                                    execution->worker->now_ms);

    if (item != NULL)
        stripe_remove(stripe, operation->hash, item);
    store_unlock(stripe);
}

static void refuse_store(struct execution *execution, const struct operation *operation,
                         enum outcome_status status)
{
    struct counters *counters = &execution->worker->counters;

    assert(status == OUTCOME_TOO_LARGE || status == OUTCOME_NO_MEMORY);
    counter_add(status == OUTCOME_TOO_LARGE ? &counters->store_too_large
                                            : &counters->store_no_memory, 1);
    watch_store(execution, operation, status);
    if (operation->protocol == PROTOCOL_META || (operation->mode == STORE_SET && !execution_is_cas(operation)))
        remove_old_item(execution, operation);
    execution_answer_status(execution, operation, status);
}

static uint64_t expiry_of(const struct operation *operation)
{
    if (concatenates(operation))
        return (operation->options & OPERATION_VIVIFY) != 0
                   ? execution_expiry_ms(operation, operation->vivify_exptime) : 0;
    return execution_expiry_ms(operation, operation->exptime);
}

static struct item_spec spec_of_store(const struct operation *operation)
{
    return (struct item_spec){
        .key = operation->key,
        .value_bytes = operation->value.size,
        .expiry_ms = expiry_of(operation),
        .client_flags = operation->client_flags,
        .explicit_cas = execution_new_cas(operation),
        .has_explicit_cas = execution_new_cas(operation) != 0,
        .key_is_binary = (operation->options & OPERATION_KEY_ENCODED) != 0,
    };
}

/* Gives the item that the value goes into, or answers why there is none. */
static struct item *make_item(struct execution *execution, const struct operation *operation)
{
    struct item_spec spec;
    struct item *item;

    if (atomic_load_explicit(&settings.detail_enabled, memory_order_relaxed))
        prefix_stats_count_set(operation->key);
    if (!execution_value_fits(operation, operation->client_flags, operation->value.size)) {
        refuse_store(execution, operation, OUTCOME_TOO_LARGE);
        return NULL;
    }
    spec = spec_of_store(operation);
    item = item_new(execution->store, &spec, execution->worker->now_ms);
    if (item == NULL) {
        refuse_store(execution, operation, OUTCOME_NO_MEMORY);
        return NULL;
    }
    counter_add(&execution->worker->counters.cmd_set, 1);
    return item;
}

/* The three ways in which a cas can end, and the one that I adds: an older version is stored, but
 * stays marked stale. */
static enum outcome_status decide_cas(const struct operation *operation, const struct item *old,
                                      bool *stays_stale)
{
    uint64_t old_cas;

    if (old == NULL)
        return OUTCOME_NOT_FOUND;
    old_cas = execution_cas(old);
    if (!settings.uses_cas)
        return OUTCOME_EXISTS;
    if (operation->cas_compare == old_cas)
        return OUTCOME_OK;
    *stays_stale = (operation->options & OPERATION_INVALIDATE) != 0 &&
                   operation->cas_compare != 0 && operation->cas_compare < old_cas;
    return *stays_stale ? OUTCOME_OK : OUTCOME_EXISTS;
}

static void count_cas(struct execution *execution, enum outcome_status status)
{
    struct counters *counters = &execution->worker->counters;

    if (status == OUTCOME_OK)
        counter_add(&counters->cas_hits, 1);
    else if (status == OUTCOME_NOT_FOUND)
        counter_add(&counters->cas_misses, 1);
    else
        counter_add(&counters->cas_badval, 1);
}

static enum outcome_status decide_store(const struct operation *operation,
                                        const struct item *old, bool *stays_stale)
{
    assert(!concatenates(operation)); /* see decide_append() */
    if (execution_is_cas(operation))
        return decide_cas(operation, old, stays_stale);
    switch ((enum store_mode)operation->mode) {
    case STORE_SET:
        return OUTCOME_OK;
    case STORE_ADD:
        return old == NULL ? OUTCOME_OK : OUTCOME_NOT_STORED;
    case STORE_REPLACE:
        return old != NULL ? OUTCOME_OK : OUTCOME_NOT_STORED;
    case STORE_APPEND:
    case STORE_PREPEND:
        break;
    }
    return OUTCOME_NOT_STORED;
}

static void answer_store(struct execution *execution, const struct operation *operation,
                         struct outcome *outcome)
{
    watch_store(execution, operation, outcome->status);
    if (outcome->status == OUTCOME_NO_MEMORY)
        counter_add(&execution->worker->counters.store_no_memory, 1);
    execution_answer_head(execution, operation, outcome);
}

/* Whether the old item does not matter: it is replaced, whatever it is. */
static bool is_unconditional(const struct operation *operation)
{
    const uint32_t conditions = OPERATION_COMPARE_CAS | OPERATION_INVALIDATE;

    return operation->mode == STORE_SET && (operation->options & conditions) == 0;
}

/* What one store of a whole item works on while it goes round rewrite_ready(). */
struct whole {
    struct item *item; /* the new one, until it is stored */
    struct stripe *stripe;
    struct item *old;
    struct rewrite rewrite;
};

/* A stale store keeps the expiry and the marks of what it replaces: the item is made again with
 * that expiry.  False: the lock was let go, look again. */
static bool keep_stale(struct execution *execution, const struct operation *operation,
                       struct whole *whole)
{
    struct item_spec spec = spec_of_store(operation);
    struct item *item;

    spec.expiry_ms = item_expiry_ms(whole->old);
    if (!rewrite_ready(execution, &whole->rewrite, &spec, whole->stripe))
        return false;
    item = whole->rewrite.item;
    if (item == NULL)
        return true;
    memcpy(item_value(item), item_value(whole->item), operation->value.size);
    item->bits = (uint8_t)(item->bits | ITEM_STALE | (whole->old->bits & ITEM_WON));
    whole->rewrite.item = whole->item; /* to be freed with it */
    whole->item = item;
    return true;
}

/* Looks for the old item and decides, again if the lock had to be let go meanwhile: then the old
 * one may have changed, or be gone.  The lock is held afterwards, unless the rewrite failed. */
static enum outcome_status find_for_whole(struct execution *execution,
                                          const struct operation *operation, struct whole *whole)
{
    const bool needs_old = !is_unconditional(operation) || watch_wants(WATCH_FETCHERS);
    enum outcome_status status;
    bool stays_stale;

    do {
        stays_stale = false;
        whole->stripe = store_lock(execution->store, operation->hash);
        whole->old = needs_old ? stripe_find_to_store(whole->stripe, operation->hash,
                                                      operation->key, execution->worker->now_ms)
                               : NULL;
        status = decide_store(operation, whole->old, &stays_stale);
    } while (stays_stale && !keep_stale(execution, operation, whole));
    if (whole->rewrite.failed)
        return OUTCOME_NO_MEMORY;
    if (execution_is_cas(operation))
        count_cas(execution, status);
    execution_watch_lookup(execution, operation, whole->old);
    return status;
}

/* Stores it.  Lock held. */
static enum outcome_status put_whole(struct execution *execution,
                                     const struct operation *operation, struct whole *whole,
                                     struct outcome *outcome, unsigned char *context)
{
    const uint64_t now_ms = execution->worker->now_ms;
    struct item *item = whole->item;

    whole->item = NULL;
    item->hlc = stripe_clock_next(whole->stripe, now_ms);
    if (!stripe_put(whole->stripe, operation->hash, item))
        return OUTCOME_NO_MEMORY;
    outcome->cas = execution_cas(item);
    if ((operation->options & OPERATION_WANTS_CONTEXT) != 0)
        cells_fill_context(item, now_ms, outcome, context);
    return OUTCOME_OK;
}

/* A use that is no fetch: of an item that `add` found there. */
static void use_unfetched(struct stripe *stripe, struct item *item, uint64_t now_ms)
{
    const bool was_fetched = item->was_fetched;

    stripe_use(stripe, item, now_ms);
    item->was_fetched = was_fetched;
}

/* Takes `item`. */
static void store_whole(struct execution *execution, const struct operation *operation,
                        struct item *item)
{
    struct whole whole = { .item = item };
    struct outcome outcome = {
        .value = operation->value, /* its size is what may be answered */
        .key_is_binary = (operation->options & OPERATION_KEY_ENCODED) != 0,
    };
    unsigned char context[CONTEXT_BYTES_MAX];
    enum outcome_status status = find_for_whole(execution, operation, &whole);

    if (!whole.rewrite.failed) {
        if (status == OUTCOME_OK)
            status = put_whole(execution, operation, &whole, &outcome, context);
        else if (whole.old != NULL && operation->mode == STORE_ADD)
            use_unfetched(whole.stripe, whole.old, execution->worker->now_ms);
        store_unlock(whole.stripe);
    }
    outcome.status = (uint8_t)status;
    answer_store(execution, operation, &outcome);
    rewrite_deinit(execution, &whole.rewrite);
    if (whole.item != NULL)
        item_discard(execution->store, whole.item);
}

/* The usual set of a key that is there: its value has the same size, so it goes where the old one
 * was.  False: it is not like that, or somebody wants to know more about it. */
static bool overwrite(struct execution *execution, const struct operation *operation)
{
    uint64_t now_ms = execution->worker->now_ms;
    struct outcome outcome = { 0 };
    struct item_spec spec;
    struct stripe *stripe;
    struct item *old;
    bool is_done;

    if (!is_unconditional(operation) || watch_wants(WATCH_FETCHERS) ||
        (operation->options & OPERATION_WANTS_CONTEXT) != 0 ||
        atomic_load_explicit(&settings.detail_enabled, memory_order_relaxed))
        return false;
    spec = spec_of_store(operation);
    stripe = store_lock(execution->store, operation->hash);
    old = stripe_find_to_store(stripe, operation->hash, operation->key, now_ms);
    is_done = old != NULL && stripe_overwrite(stripe, old, &spec, operation->value, now_ms);
    if (is_done)
        outcome.cas = execution_cas(old);
    store_unlock(stripe);
    if (!is_done)
        return false;
    counter_add(&execution->worker->counters.cmd_set, 1);
    outcome.value = operation->value;
    outcome.key_is_binary = (operation->options & OPERATION_KEY_ENCODED) != 0;
    answer_store(execution, operation, &outcome);
    return true;
}

/* The value of `old` and the value of `piece`, one after the other. */
static void concatenate(const struct operation *operation, struct item *into,
                        const struct shown *old, struct slice piece)
{
    unsigned char *out = item_value(into);
    struct slice first = operation->mode == STORE_APPEND ? old->value : piece;
    struct slice second = operation->mode == STORE_APPEND ? piece : old->value;

    if (first.size != 0)
        memcpy(out, first.bytes, first.size);
    if (second.size != 0)
        memcpy(out + first.size, second.bytes, second.size);
}

/* What one append or prepend works on while it goes round rewrite_ready(). */
struct append {
    struct stripe *stripe;
    struct item *old;
    struct shown shown;
    struct rewrite rewrite;
};

static enum outcome_status decide_append(const struct operation *operation,
                                         const struct append *append, uint64_t piece_bytes)
{
    if (append->old == NULL)
        return (operation->options & OPERATION_VIVIFY) != 0 ? OUTCOME_OK : OUTCOME_NOT_STORED;
    if ((operation->options & OPERATION_COMPARE_CAS) != 0 && operation->cas_compare != 0 &&
        settings.uses_cas && append->shown.cas != operation->cas_compare)
        return OUTCOME_EXISTS;
    if (!execution_value_fits(operation, append->shown.client_flags,
                              append->shown.value.size + piece_bytes))
        return OUTCOME_NOT_STORED;
    return OUTCOME_OK;
}

/* Looks until there is an answer other than OK, or an item to put it in.  The lock is held
 * afterwards, unless the rewrite failed. */
static enum outcome_status find_for_append(struct execution *execution,
                                           const struct operation *operation,
                                           struct append *append, uint64_t piece_bytes)
{
    enum outcome_status status;
    struct item_spec spec;

    for (;;) {
        append->stripe = store_lock(execution->store, operation->hash);
        append->old = stripe_find(append->stripe, operation->hash, operation->key,
                                  execution->worker->now_ms);
        if (append->old != NULL)
            execution_show(append->old, execution->worker->now_ms, &append->shown);
        status = decide_append(operation, append, piece_bytes);
        if (status != OUTCOME_OK || append->old == NULL)
            return status;
        spec = execution_spec_like(operation, append->old, &append->shown,
                                   append->shown.value.size + piece_bytes);
        spec.explicit_cas = execution_new_cas(operation);
        spec.has_explicit_cas = spec.explicit_cas != 0;
        if (rewrite_ready(execution, &append->rewrite, &spec, append->stripe))
            return append->rewrite.failed ? OUTCOME_NOT_STORED : OUTCOME_OK;
    }
}

static void fill_appended(struct outcome *outcome, const struct item *item)
{
    outcome->cas = execution_cas(item);
    outcome->value = item_value_slice(item);
    outcome->key_is_binary = (item->bits & ITEM_KEY_BINARY) != 0;
}

/* Takes `piece`, an item with the value to add, which is itself stored if there is no other. */
static void store_appended(struct execution *execution, const struct operation *operation,
                           struct item *piece)
{
    struct append append = { 0 };
    struct outcome outcome = { 0 };
    uint64_t piece_bytes = item_value_bytes(piece);
    struct item *item;

    outcome.status = (uint8_t)find_for_append(execution, operation, &append, piece_bytes);
    if (!append.rewrite.failed)
        execution_watch_lookup(execution, operation, append.old);
    outcome.value = item_value_slice(piece);
    if (outcome.status == OUTCOME_OK) {
        if (append.old != NULL) {
            concatenate(operation, append.rewrite.item, &append.shown, item_value_slice(piece));
            item_discard(execution->store, piece);
        } else {
            rewrite_deinit(execution, &append.rewrite);
            append.rewrite.item = piece;
        }
        piece = NULL;
        item = append.rewrite.item;
        if (rewrite_put(execution, &append.rewrite, append.stripe, operation->hash, 0)) {
            fill_appended(&outcome, item);
        } else {
            outcome.status = OUTCOME_NO_MEMORY;
            outcome.value = (struct slice){ NULL, 0 };
        }
    }
    answer_store(execution, operation, &outcome);
    if (!append.rewrite.failed)
        store_unlock(append.stripe);
    rewrite_deinit(execution, &append.rewrite);
    if (piece != NULL)
        item_discard(execution->store, piece);
}

static void store_item(struct execution *execution, const struct operation *operation,
                       struct item *item)
{
    if (concatenates(operation))
        store_appended(execution, operation, item);
    else
        store_whole(execution, operation, item);
}

void execute_store(struct execution *execution, struct operation *operation)
{
    struct item *item;

    if ((operation->options & OPERATION_CONTEXT) != 0) {
        execute_context_store(execution, operation);
        return;
    }
    if (overwrite(execution, operation))
        return;
    item = make_item(execution, operation);
    if (item == NULL)
        return;
    if (operation->value.size != 0)
        memcpy(item_value(item), operation->value.bytes, operation->value.size);
    store_item(execution, operation, item);
}

/* A login is read into an item of its own, which is never stored. */
static bool is_login(struct execution *execution, const struct operation *operation)
{
    if (operation->verb == VERB_STORE)
        return execute_needs_login(execution) && execute_is_text_login(operation);
    return operation->verb == VERB_SASL_AUTH || operation->verb == VERB_SASL_STEP;
}

static struct item *make_login_item(struct execution *execution, struct operation *operation)
{
    struct item_spec spec = { .key = SLICE("login"), .value_bytes = operation->value.size };
    struct item *item = NULL;

    if (operation->value.size <= LOGIN_BYTES_MAX)
        item = item_new(execution->store, &spec, execution->worker->now_ms);
    if (item == NULL)
        execution_answer_error(execution, operation, BINARY_TOO_LARGE,
                               operation->protocol == PROTOCOL_BINARY
                                   ? SLICE("Too large.")
                                   : SLICE("CLIENT_ERROR auth token too long"));
    return item;
}

static void finish_login(struct execution *execution, struct operation *operation,
                         struct item *item, bool ends_well)
{
    operation->value = item_value_slice(item);
    if (!ends_well)
        execution_answer_error(execution, operation, 0,
                               SLICE("CLIENT_ERROR bad command line termination"));
    else if (operation->verb == VERB_SASL_AUTH)
        execute_sasl_auth(execution, operation);
    else if (operation->verb == VERB_SASL_STEP)
        execute_sasl_step(execution, operation);
    else
        execute_login_gate(execution, operation);
    explicit_bzero(item_value(item), item_value_bytes(item));
    item_discard(execution->store, item);
}

struct item *execute_store_begin(struct worker *worker, struct connection *connection,
                                 struct operation *operation, struct output *output)
{
    struct execution execution = { worker, worker->store, connection, output };

    operation->hash = key_hash(operation->key);
    if (is_login(&execution, operation))
        return make_login_item(&execution, operation);
    assert(operation->verb == VERB_STORE);
    execution_sample_keys(worker, operation, 1);
    if (operation->protocol == PROTOCOL_META)
        counter_add(&worker->counters.cmd_meta, 1);
    if (execute_needs_login(&execution)) {
        execute_login_gate(&execution, operation);
        return NULL;
    }
    if (worker->requests != NULL)
        return execute_cluster_store_begin(&execution, operation);
    return make_item(&execution, operation);
}

void execute_reject_data(struct execution *execution, struct operation *operation)
{
    struct operation rejected = *operation;

    rejected.verb = VERB_REJECT;
    rejected.rejection = REJECT_DATA_CHUNK;
    if (operation->protocol == PROTOCOL_META)
        rejected.options &= ~(uint32_t)(OPERATION_NOREPLY | OPERATION_QUIET);
    execution_answer_status(execution, &rejected, OUTCOME_OK);
}

void execute_store_finish(struct worker *worker, struct connection *connection,
                          struct operation *operation, struct item *item, bool ends_well,
                          struct output *output)
{
    struct execution execution = { worker, worker->store, connection, output };

    if (is_login(&execution, operation)) {
        finish_login(&execution, operation, item, ends_well);
        return;
    }
    if (worker->requests != NULL) {
        execute_cluster_store_finish(&execution, operation, item, ends_well);
        return;
    }
    if (!ends_well) {
        execute_reject_data(&execution, operation);
        item_discard(worker->store, item);
        return;
    }
    if ((operation->options & OPERATION_CONTEXT) != 0) {
        operation->value = item_value_slice(item);
        execute_context_store(&execution, operation);
        item_discard(worker->store, item);
        return;
    }
    store_item(&execution, operation, item);
}

void execute_store_abandon(struct worker *worker, struct item *item)
{
    item_discard(worker->store, item);
}
