/* delete, md; touch; their binary forms. */
#include "server/cells.h"
#include "server/clock.h"
#include "server/execution.h"
#include "server/prefix_stats.h"
#include "server/settings.h"
#include "server/watch.h"

/* What one delete works on while it goes round rewrite_ready(). */
struct delete {
    struct stripe *stripe;
    struct item *item;
    struct rewrite rewrite;
    uint64_t now_ms;
    uint64_t expiry_ms; /* SET_EXPTIME */
};

/* `x` leaves an empty item of the same cas, `I` one marked as stale and of a new cas; both may set
 * an expiry.  `I` is no new write: what a client's context covers stays covered. */
static struct item_spec spec_of_mark(const struct operation *operation, const struct delete *delete,
                                     const struct shown *shown, uint64_t new_cas)
{
    bool empties = (operation->options & OPERATION_DROP_VALUE) != 0;
    bool marks_stale = (operation->options & OPERATION_INVALIDATE) != 0;
    struct item_spec spec = execution_spec_like(operation, delete->item, shown, shown->value.size);

    if (empties) {
        spec.value_bytes = 0;
        spec.client_flags = 0;
        spec.expiry_ms = 0;
    }
    if ((operation->options & OPERATION_SET_EXPTIME) != 0)
        spec.expiry_ms = delete->expiry_ms;
    if (execution_new_cas(operation) != 0) {
        spec.has_explicit_cas = true;
        spec.explicit_cas = execution_new_cas(operation);
    } else if (marks_stale || empties) {
        spec.has_explicit_cas = settings.uses_cas;
        spec.explicit_cas = marks_stale ? new_cas : execution_cas(delete->item);
    }
    return spec;
}

/* Replaces the item by what `x` and `I` leave of it.  False: look again. */
static bool mark(struct execution *execution, const struct operation *operation,
                 struct delete *delete, uint64_t *new_cas)
{
    bool empties = (operation->options & OPERATION_DROP_VALUE) != 0;
    struct item_spec spec;
    struct shown shown;
    struct item *item;
    uint64_t hlc = delete->item->hlc;

    if (*new_cas == 0)
        *new_cas = stripe_clock_next(delete->stripe, delete->now_ms);
    execution_show(delete->item, delete->now_ms, &shown);
    spec = spec_of_mark(operation, delete, &shown, *new_cas);
    if (!rewrite_ready(execution, &delete->rewrite, &spec, delete->stripe))
        return false;
    if (delete->rewrite.failed)
        return true;
    item = delete->rewrite.item;
    if (!empties) {
        memcpy(item_value(item), shown.value.bytes, shown.value.size);
        execution_copy_marks(item, delete->item);
    }
    if ((operation->options & OPERATION_INVALIDATE) != 0)
        item->bits = (uint8_t)((item->bits | ITEM_STALE) & ~ITEM_WON);
    if (empties || (delete->item->bits & ITEM_CELL) != 0)
        hlc = 0;
    if (!rewrite_put(execution, &delete->rewrite, delete->stripe, operation->hash, hlc)) {
        store_unlock(delete->stripe);
        delete->rewrite.failed = true;
    }
    return true;
}

static enum outcome_status decide_delete(const struct operation *operation,
                                         const struct item *item)
{
    if (item == NULL)
        return OUTCOME_NOT_FOUND;
    if ((operation->options & OPERATION_COMPARE_CAS) != 0 &&
        execution_cas(item) != operation->cas_compare)
        return OUTCOME_EXISTS;
    return OUTCOME_OK;
}

static void count_delete(struct execution *execution, const struct operation *operation,
                         enum outcome_status status)
{
    struct counters *counters = &execution->worker->counters;

    if (status == OUTCOME_OK && (operation->options & OPERATION_INVALIDATE) == 0)
        counter_add(&counters->delete_hits, 1);
    else if (status != OUTCOME_OK)
        counter_add(&counters->delete_misses, 1);
}

static void remove_item(struct execution *execution, const struct operation *operation,
                        struct delete *delete)
{
    if (watch_wants(WATCH_DELETIONS))
        watch_item_deleted(execution->connection, operation, item_value_bytes(delete->item));
    stripe_remove(delete->stripe, operation->hash, delete->item);
}

void execute_delete(struct execution *execution, struct operation *operation)
{
    bool marks = (operation->options & (OPERATION_DROP_VALUE | OPERATION_INVALIDATE)) != 0;
    struct delete delete = { .now_ms = execution->worker->now_ms };
    enum outcome_status status = OUTCOME_OK;
    uint64_t new_cas = 0;
    bool is_done = false;

    if ((operation->options & OPERATION_CONTEXT) != 0) {
        execute_context_delete(execution, operation);
        return;
    }
    if (atomic_load_explicit(&settings.detail_enabled, memory_order_relaxed))
        prefix_stats_count_delete(operation->key);
    if ((operation->options & OPERATION_SET_EXPTIME) != 0)
        delete.expiry_ms = execution_expiry_ms(operation, operation->exptime);
    while (!is_done) {
        is_done = true;
        delete.stripe = store_lock(execution->store, operation->hash);
        delete.item = stripe_find(delete.stripe, operation->hash, operation->key, delete.now_ms);
        status = decide_delete(operation, delete.item);
        if (delete.rewrite.item == NULL)
            execution_watch_lookup(execution, operation, delete.item);
        if (status != OUTCOME_OK)
            continue;
        if (marks)
            is_done = mark(execution, operation, &delete, &new_cas);
        else
            remove_item(execution, operation, &delete);
    }
    if (delete.rewrite.failed) {
        execution_answer_status(execution, operation, OUTCOME_NO_MEMORY);
        return;
    }
    store_unlock(delete.stripe);
    rewrite_deinit(execution, &delete.rewrite);
    count_delete(execution, operation, status);
    execution_answer_status(execution, operation, status);
}

void execute_touch(struct execution *execution, struct operation *operation)
{
    uint64_t now_ms = execution->worker->now_ms;
    uint64_t expiry_ms = execution_expiry_ms(operation, operation->exptime);
    struct counters *counters = &execution->worker->counters;
    struct outcome outcome = { 0 };
    struct rewrite rewrite = { 0 };
    struct stripe *stripe;
    struct item *item;

    do {
        stripe = store_lock(execution->store, operation->hash);
        item = stripe_find(stripe, operation->hash, operation->key, now_ms);
    } while (item != NULL &&
             !execution_set_expiry(execution, operation, stripe, &item, expiry_ms, &rewrite));
    counter_add(&counters->cmd_touch, 1);
    if (rewrite.failed) {
        execution_answer_status(execution, operation, OUTCOME_NO_MEMORY);
        return;
    }
    execution_watch_lookup(execution, operation, item);
    outcome.status = item != NULL ? OUTCOME_OK : OUTCOME_NOT_FOUND;
    if (item != NULL) {
        outcome.client_flags = item_client_flags(item);
        outcome.cas = execution_cas(item);
        stripe_use(stripe, item, now_ms);
    }
    store_unlock(stripe);
    rewrite_deinit(execution, &rewrite);
    counter_add(item != NULL ? &counters->touch_hits : &counters->touch_misses, 1);
    execution_answer(execution, operation, &outcome);
}
