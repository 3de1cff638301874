/* get and its like: get gets gat gats, mg, me; binary GET*, GAT*.
 *
 * A plain get of a plain item takes the short way: find, write, count.  All that meta get can ask
 * for beyond it (times, a new expiry, the win of a recache) takes the long one. */
#include "protocol/binary_hit.h"
#include "protocol/text_hit.h"
#include "server/cells.h"
#include "server/clock.h"
#include "server/execution.h"
#include "server/policy.h"
#include "server/prefix_stats.h"
#include "server/settings.h"
#include "server/watch.h"
#include <assert.h>

#define LONG_WAY                                                                                  \
    (OPERATION_SET_EXPTIME | OPERATION_VIVIFY | OPERATION_RECACHE | OPERATION_COMPARE_CAS |       \
     OPERATION_WANTS_META | OPERATION_WANTS_CONTEXT | OPERATION_WANTS_COUNT)

static void count_get(struct execution *execution, const struct operation *operation, bool is_hit)
{
    struct counters *counters = &execution->worker->counters;

    if ((operation->options & OPERATION_SET_EXPTIME) != 0) {
        counter_add(&counters->cmd_touch, 1);
        counter_add(is_hit ? &counters->touch_hits : &counters->touch_misses, 1);
    } else {
        counter_add(&counters->cmd_get, 1);
        counter_add(is_hit ? &counters->get_hits : &counters->get_misses, 1);
    }
    if (atomic_load_explicit(&settings.detail_enabled, memory_order_relaxed))
        prefix_stats_count_get(operation->key, is_hit);
}

static void watch_get(struct execution *execution, const struct operation *operation, bool is_hit,
                      uint64_t value_bytes)
{
    if (watch_wants(WATCH_FETCHERS))
        watch_item_get(execution->connection, operation->key, is_hit, value_bytes);
}

static void answer_miss(struct execution *execution, const struct operation *operation)
{
    count_get(execution, operation, false);
    watch_get(execution, operation, false, 0);
    execution_answer_status(execution, operation, OUTCOME_NOT_FOUND);
}

static void fill_hit(struct outcome *outcome, const struct item *item, const struct shown *shown)
{
    outcome->status = OUTCOME_OK;
    outcome->value = shown->value;
    outcome->client_flags = shown->client_flags;
    outcome->cas = shown->cas;
    outcome->key_is_binary = (item->bits & ITEM_KEY_BINARY) != 0;
}

/* Who shall refill an item that is stale, or expires soon: the first to ask, told so by W.  The
 * others are told by Z that somebody does. */
static void decide_winner(struct outcome *outcome, struct item *item, bool asks_to_win)
{
    bool has_winner = (item->bits & ITEM_WON) != 0;

    outcome->lost = has_winner;
    outcome->is_stale = (item->bits & ITEM_STALE) != 0;
    outcome->won = !has_winner && (asks_to_win || outcome->is_stale);
    if (outcome->won) /* see long_of() in item.c for who reads it meanwhile */
        __atomic_store_n(&item->bits, (uint8_t)(item->bits | ITEM_WON), __ATOMIC_RELAXED);
}

/* The clock of memcached counts whole seconds: an item just stored with T30 is not below R30. */
bool execution_expires_before(uint64_t expiry_ms, int32_t recache_exptime, uint64_t now_ms)
{
    uint64_t recache_ms = clock_expiry_ms(recache_exptime, now_ms);

    if (expiry_ms == 0 || recache_ms <= now_ms)
        return false;
    return execution_ttl_s(expiry_ms, now_ms) < (int64_t)((recache_ms - now_ms) / 1000);
}

/* What one long get works on while it goes round rewrite_ready(). */
struct long_get {
    struct stripe *stripe;
    struct item *item;
    struct shown shown;
    struct rewrite rewrite;
    uint64_t now_ms;            /* read under the lock: see execution_ttl_s() */
    uint64_t expiry_ms;         /* SET_EXPTIME: the new one */
    uint64_t created_expiry_ms; /* VIVIFY: of an item that is created */
    bool is_created;
};

/* The expiries that were asked for, fixed once so that each round sees the same. */
static void fix_expiries(const struct operation *operation, struct long_get *get)
{
    const bool sets = (operation->options & OPERATION_SET_EXPTIME) != 0;

    if (sets)
        get->expiry_ms = execution_expiry_ms(operation, operation->exptime);
    if (sets && execution_flag_is_first(operation, 'N', 'T'))
        get->created_expiry_ms = get->expiry_ms;
    else if ((operation->options & OPERATION_VIVIFY) != 0)
        get->created_expiry_ms = execution_expiry_ms(operation, operation->vivify_exptime);
}

/* Creates the empty item that VIVIFY asks for.  False while it has to be looked for again. */
static bool vivify(struct execution *execution, const struct operation *operation,
                   struct long_get *get)
{
    struct item_spec spec = {
        .key = operation->key,
        .expiry_ms = get->created_expiry_ms,
        .key_is_binary = (operation->options & OPERATION_KEY_ENCODED) != 0,
        .explicit_cas = execution_new_cas(operation),
        .has_explicit_cas = execution_new_cas(operation) != 0,
    };

    if (!rewrite_ready(execution, &get->rewrite, &spec, get->stripe))
        return false;
    if (get->rewrite.failed)
        return true;
    get->item = get->rewrite.item;
    if (rewrite_put(execution, &get->rewrite, get->stripe, operation->hash, 0)) {
        get->is_created = true;
    } else {
        store_unlock(get->stripe);
        get->rewrite.failed = true;
        get->item = NULL;
    }
    return true;
}

bool execution_set_expiry(struct execution *execution, const struct operation *operation,
                          struct stripe *stripe, struct item **item, uint64_t expiry_ms,
                          struct rewrite *rewrite)
{
    struct item_spec spec;
    struct shown shown;
    struct item *copy;

    if ((*item)->bits & ITEM_CELL)
        return cells_set_expiry(execution, operation, stripe, item, expiry_ms, rewrite);
    if (item_expiry_ms(*item) == expiry_ms)
        return true;
    if (item_can_expire_in_place(*item)) {
        stripe_set_expiry(stripe, *item, expiry_ms);
        return true;
    }
    execution_show(*item, execution->worker->now_ms, &shown);
    spec = execution_spec_like(operation, *item, &shown, shown.value.size);
    spec.expiry_ms = expiry_ms;
    spec.has_explicit_cas = ((*item)->bits & ITEM_EXPLICIT_CAS) != 0;
    spec.explicit_cas = spec.has_explicit_cas ? item_cas(*item) : 0;
    if (!rewrite_ready(execution, rewrite, &spec, stripe))
        return false;
    if (rewrite->failed)
        return true;
    copy = rewrite->item;
    memcpy(item_value(copy), shown.value.bytes, shown.value.size);
    execution_copy_marks(copy, *item);
    if (!rewrite_put(execution, rewrite, stripe, operation->hash, (*item)->hlc)) {
        store_unlock(stripe);
        rewrite->failed = true;
        return true;
    }
    *item = copy;
    return true;
}

/* Finds the item, or makes it, and gives it the expiry that was asked for.  The lock is held
 * afterwards, unless the rewrite failed. */
static void find_for_long_get(struct execution *execution, const struct operation *operation,
                              struct long_get *get)
{
    uint32_t options = operation->options;
    bool is_done = false;

    while (!is_done) {
        is_done = true;
        get->stripe = store_lock(execution->store, operation->hash);
        get->now_ms = clock_now_ms();
        get->item = stripe_find(get->stripe, operation->hash, operation->key, get->now_ms);
        if (get->item == NULL) {
            if ((options & OPERATION_VIVIFY) != 0)
                is_done = vivify(execution, operation, get);
        } else {
            execution_show(get->item, get->now_ms, &get->shown);
            if ((options & OPERATION_SET_EXPTIME) != 0)
                is_done = execution_set_expiry(execution, operation, get->stripe, &get->item,
                                               get->expiry_ms, &get->rewrite);
        }
    }
}

static void fill_long_hit(const struct operation *operation, struct long_get *get,
                          struct outcome *outcome)
{
    uint32_t options = operation->options;
    uint64_t old_expiry_ms = get->is_created ? 0 : get->shown.expiry_ms;
    bool asks_to_win = get->is_created;
    unsigned char expiry_flag = get->is_created ? 'N' : 'T';

    execution_show(get->item, get->now_ms, &get->shown);
    fill_hit(outcome, get->item, &get->shown);
    if ((options & OPERATION_RECACHE) != 0 && !get->is_created)
        asks_to_win |= execution_expires_before(execution_flag_is_first(operation, 'R', 'T') ? old_expiry_ms
                                                                         : get->shown.expiry_ms,
                                      operation->recache_exptime, get->now_ms);
    if (operation->protocol == PROTOCOL_META)
        decide_winner(outcome, get->item, asks_to_win);
    if (execution_flag_is_first(operation, 't', expiry_flag))
        outcome->ttl_s = execution_ttl_s(old_expiry_ms, get->now_ms);
    else
        outcome->ttl_s = execution_ttl_s(get->shown.expiry_ms, get->now_ms);
    outcome->was_hit_before = get->item->was_fetched;
    outcome->idle_s = clock_relative_s(get->now_ms) - get->item->accessed_s;
}

static void execute_long_get(struct execution *execution, struct operation *operation)
{
    struct outcome outcome = { 0 };
    struct long_get get = { 0 };
    unsigned char context[CONTEXT_BYTES_MAX];

    fix_expiries(operation, &get);
    find_for_long_get(execution, operation, &get);
    if (get.rewrite.failed && get.item != NULL) {
        execution_answer_status(execution, operation, OUTCOME_NO_MEMORY);
        return;
    }
    if (get.item == NULL) {
        if (!get.rewrite.failed)
            store_unlock(get.stripe);
        rewrite_deinit(execution, &get.rewrite);
        answer_miss(execution, operation);
        return;
    }
    fill_long_hit(operation, &get, &outcome);
    if ((operation->options & (OPERATION_WANTS_CONTEXT | OPERATION_WANTS_COUNT)) != 0)
        cells_fill_context(get.item, get.now_ms, &outcome, context);
    execution_answer_item(execution, operation, &outcome, get.item);
    if ((operation->options & OPERATION_KEEP_COLD) == 0)
        stripe_use(get.stripe, get.item, get.now_ms);
    watch_get(execution, operation, true, outcome.value.size);
    store_unlock(get.stripe);
    rewrite_deinit(execution, &get.rewrite);
    count_get(execution, operation, true);
}

/* Answers a hit of a text or binary get on an item that is nothing but a short value. */
static void answer_plain_hit(struct execution *execution, const struct operation *operation,
                             const struct item *item)
{
    struct output *output = execution->output;
    struct slice value = item_value_slice(item);
    uint32_t client_flags = (item->bits & ITEM_FLAGS) != 0 ? item_client_flags(item) : 0;
    uint64_t cas = execution_cas(item);
    unsigned char *out =
        output_reserve(output, TEXT_HIT_BYTES_MAX + operation->key.size + value.size);

    static_assert(BINARY_HIT_BYTES_MAX <= TEXT_HIT_BYTES_MAX, "the room is enough for both");
    output_commit(output, operation->protocol == PROTOCOL_TEXT
                              ? text_hit_encode(operation, client_flags, cas, value, out)
                              : binary_hit_encode(operation, client_flags, cas, value, out));
}

static void answer_hit(struct execution *execution, const struct operation *operation,
                       struct item *item)
{
    struct outcome outcome = { 0 };
    struct shown shown;

    execution_show(item, execution->worker->now_ms, &shown);
    fill_hit(&outcome, item, &shown);
    if (operation->protocol == PROTOCOL_META && (item->bits & (ITEM_STALE | ITEM_WON)) != 0)
        decide_winner(&outcome, item, false);
    execution_answer_item(execution, operation, &outcome, item);
}

/* False, and nothing was done, if the item has one of the bits `declined`, which are not 0 if a miss
 * is declined, too. */
static bool get(struct execution *execution, struct operation *operation, unsigned declined)
{
    uint64_t now_ms = execution->worker->now_ms;
    uint64_t value_bytes;
    struct stripe *stripe;
    struct item *item;

    stripe = store_lock(execution->store, operation->hash);
    item = stripe_find(stripe, operation->hash, operation->key, now_ms);
    if (item == NULL) {
        store_unlock(stripe);
        if (declined == 0)
            answer_miss(execution, operation);
        return declined == 0;
    }
    if (declined != 0 && operation->protocol == PROTOCOL_META && item_value_bytes(item) == 0) {
        /* It may be what N made, whose refill was promised: see command_show(). */
        store_unlock(stripe);
        return false;
    }
    if (operation->protocol != PROTOCOL_META && (item->bits & (ITEM_LONG | ITEM_CELL)) == 0) {
        answer_plain_hit(execution, operation, item);
    } else if ((item->bits & declined) == 0) {
        answer_hit(execution, operation, item);
    } else {
        store_unlock(stripe);
        return false;
    }
    value_bytes = item_value_bytes(item);
    if ((operation->options & OPERATION_KEEP_COLD) == 0)
        stripe_use(stripe, item, now_ms);
    store_unlock(stripe);
    count_get(execution, operation, true);
    watch_get(execution, operation, true, value_bytes);
    return true;
}

void execute_get(struct execution *execution, struct operation *operation)
{
    if ((operation->options & LONG_WAY) != 0)
        execute_long_get(execution, operation);
    else
        (void)get(execution, operation, 0);
}

/* What is missing here, several values, marks that the cluster decides on, and the cas, which is the
 * token of a cell there: all that takes more than this. */
bool execute_get_plainly(struct execution *execution, struct operation *operation)
{
    if ((operation->options & (LONG_WAY | OPERATION_WANTS_CAS)) != 0 ||
        operation->protocol == PROTOCOL_BINARY ||
        policy_of(operation->key)->resolver == RESOLVE_COUNTER)
        return false;
    return get(execution, operation, ITEM_CELL | ITEM_STALE | ITEM_WON);
}

/* me: looks, and leaves no trace. */
void execute_inspect(struct execution *execution, struct operation *operation)
{
    struct outcome outcome = { .status = OUTCOME_NOT_FOUND };
    struct stripe *stripe = store_lock(execution->store, operation->hash);
    uint64_t now_ms = clock_now_ms();
    struct item *item = stripe_find(stripe, operation->hash, operation->key, now_ms);
    struct shown shown;

    if (item != NULL) {
        execution_show(item, now_ms, &shown);
        fill_hit(&outcome, item, &shown);
        outcome.ttl_s = execution_ttl_s(shown.expiry_ms, now_ms);
        outcome.was_hit_before = item->was_fetched;
        outcome.idle_s = clock_relative_s(now_ms) - item->accessed_s;
        outcome.item_bytes = item_bytes(item);
    }
    execution_answer(execution, operation, &outcome);
    store_unlock(stripe);
}
