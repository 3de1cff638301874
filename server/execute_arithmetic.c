/* incr decr, ma; binary INCREMENT* DECREMENT*. */
#include "protocol/reply.h"
#include "server/cells.h"
#include "server/clock.h"
#include "server/execution.h"
#include "server/prefix_stats.h"
#include "server/settings.h"
#include "server/watch.h"

#define DIGITS_MAX 20 /* of 2^64 - 1 */

static bool is_space(unsigned char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* As memcached reads a value: white space, a plus sign, digits, then the end, a zero byte or more
 * white space, behind which anything may stand. */
bool execution_parse_number(struct slice text, uint64_t *number)
{
    size_t at = 0, first;
    uint64_t sum = 0;

    while (at < text.size && is_space(text.bytes[at]))
        at++;
    if (at < text.size && text.bytes[at] == '+')
        at++;
    first = at;
    for (; at < text.size && text.bytes[at] >= '0' && text.bytes[at] <= '9'; at++) {
        if (__builtin_mul_overflow(sum, 10u, &sum) ||
            __builtin_add_overflow(sum, (uint64_t)(text.bytes[at] - '0'), &sum))
            return false;
    }
    *number = sum;
    return at > first && (at == text.size || is_space(text.bytes[at]) || text.bytes[at] == 0);
}

/* What one operation works on while it goes round rewrite_ready(). */
struct arithmetic {
    struct stripe *stripe;
    struct item *item;
    struct rewrite rewrite;
    uint64_t now_ms;              /* read under the lock: see execution_ttl_s() */
    uint64_t expiry_ms;           /* SET_EXPTIME, or of an item that is created */
    uint64_t old_expiry_ms;
    unsigned char digits[DIGITS_MAX];
    size_t digit_count;
    bool is_created;
};

static bool cas_differs(const struct operation *operation, const struct item *item)
{
    return (operation->options & OPERATION_COMPARE_CAS) != 0 && operation->cas_compare != 0 &&
           settings.uses_cas && execution_cas(item) != operation->cas_compare;
}

static void count_miss(struct execution *execution, const struct operation *operation)
{
    struct counters *counters = &execution->worker->counters;

    counter_add(operation->mode == ARITHMETIC_ADD ? &counters->incr_misses
                                                  : &counters->decr_misses, 1);
}

static void count_hit(struct execution *execution, const struct operation *operation)
{
    struct counters *counters = &execution->worker->counters;

    counter_add(operation->mode == ARITHMETIC_ADD ? &counters->incr_hits : &counters->decr_hits,
                1);
}

/* incr wraps at 2^64, decr stops at 0. */
uint64_t execution_calculate(const struct operation *operation, uint64_t number)
{
    if (operation->mode == ARITHMETIC_ADD)
        return number + operation->delta;
    return operation->delta > number ? 0 : number - operation->delta;
}

/* A value that gets shorter keeps its length, padded with spaces. */
static void write_padded(unsigned char *value, size_t value_bytes,
                         const struct arithmetic *arithmetic)
{
    memcpy(value, arithmetic->digits, arithmetic->digit_count);
    memset(value + arithmetic->digit_count, ' ', value_bytes - arithmetic->digit_count);
}

/* Stores the digits in an item of `spec`.  False: look again. */
static bool put_digits(struct execution *execution, const struct operation *operation,
                       struct arithmetic *arithmetic, const struct item_spec *spec)
{
    struct item *item;

    if (!rewrite_ready(execution, &arithmetic->rewrite, spec, arithmetic->stripe))
        return false;
    if (arithmetic->rewrite.failed)
        return true;
    item = arithmetic->rewrite.item;
    write_padded(item_value(item), spec->value_bytes, arithmetic);
    if (arithmetic->item != NULL)
        execution_copy_marks(item, arithmetic->item);
    if (!rewrite_put(execution, &arithmetic->rewrite, arithmetic->stripe, operation->hash, 0)) {
        store_unlock(arithmetic->stripe);
        arithmetic->rewrite.failed = true;
        return true;
    }
    arithmetic->item = item;
    return true;
}

static bool create(struct execution *execution, const struct operation *operation,
                   struct arithmetic *arithmetic, struct outcome *outcome)
{
    struct item_spec spec = {
        .key = operation->key,
        .expiry_ms = arithmetic->expiry_ms,
        .explicit_cas = execution_new_cas(operation),
        .has_explicit_cas = execution_new_cas(operation) != 0,
        .key_is_binary = (operation->options & OPERATION_KEY_ENCODED) != 0,
    };

    outcome->number = operation->initial;
    arithmetic->digit_count = decimal_encode(operation->initial, arithmetic->digits);
    spec.value_bytes = arithmetic->digit_count;
    if (!put_digits(execution, operation, arithmetic, &spec))
        return false;
    arithmetic->is_created = !arithmetic->rewrite.failed;
    return true;
}

/* Whether the digits can be written into the item as it is: nobody sends from it, no layout has
 * to change. */
static bool fits_in_place(const struct operation *operation, const struct arithmetic *arithmetic,
                          const struct shown *shown)
{
    return (arithmetic->item->bits & (ITEM_LONG | ITEM_EXPLICIT_CAS | ITEM_CELL)) == 0 &&
           (operation->options & OPERATION_SET_EXPTIME) == 0 && execution_new_cas(operation) == 0 &&
           arithmetic->digit_count <= shown->value.size;
}

/* Counts in the item that is there.  False: look again. */
static bool change(struct execution *execution, const struct operation *operation,
                   struct arithmetic *arithmetic, struct outcome *outcome)
{
    struct item_spec spec;
    struct shown shown;

    execution_show(arithmetic->item, arithmetic->now_ms, &shown);
    arithmetic->old_expiry_ms = shown.expiry_ms;
    if (shown.value.size != 0 && cas_differs(operation, arithmetic->item)) {
        outcome->status = OUTCOME_EXISTS;
        return true;
    }
    if (!execution_parse_number(shown.value, &outcome->number)) {
        outcome->status = OUTCOME_NOT_NUMERIC;
        return true;
    }
    outcome->number = execution_calculate(operation, outcome->number);
    arithmetic->digit_count = decimal_encode(outcome->number, arithmetic->digits);
    if (fits_in_place(operation, arithmetic, &shown)) {
        write_padded(item_value(arithmetic->item), shown.value.size, arithmetic);
        arithmetic->item->hlc = stripe_clock_next(arithmetic->stripe, arithmetic->now_ms);
        return true;
    }
    spec = execution_spec_like(operation, arithmetic->item, &shown,
                               arithmetic->digit_count > shown.value.size
                                   ? arithmetic->digit_count : shown.value.size);
    if ((operation->options & OPERATION_SET_EXPTIME) != 0)
        spec.expiry_ms = arithmetic->expiry_ms;
    spec.explicit_cas = execution_new_cas(operation);
    spec.has_explicit_cas = spec.explicit_cas != 0;
    return put_digits(execution, operation, arithmetic, &spec);
}

/* The expiry that the item ends up with, fixed once so that each round sees the same. */
static uint64_t expiry_of(const struct operation *operation)
{
    if ((operation->options & OPERATION_SET_EXPTIME) != 0)
        return execution_expiry_ms(operation, operation->exptime);
    if ((operation->options & OPERATION_VIVIFY) != 0)
        return execution_expiry_ms(operation, operation->vivify_exptime);
    return 0;
}

static void fill_counted(const struct operation *operation, const struct arithmetic *arithmetic,
                         struct outcome *outcome, unsigned char *context)
{
    outcome->value = (struct slice){ arithmetic->digits, arithmetic->digit_count };
    outcome->cas = execution_cas(arithmetic->item);
    if (execution_flag_is_first(operation, 't', arithmetic->is_created ? 'N' : 'T'))
        outcome->ttl_s = execution_ttl_s(arithmetic->old_expiry_ms, arithmetic->now_ms);
    else
        outcome->ttl_s = execution_ttl_s(item_expiry_ms(arithmetic->item), arithmetic->now_ms);
    outcome->key_is_binary = (arithmetic->item->bits & ITEM_KEY_BINARY) != 0;
    if ((operation->options & OPERATION_WANTS_CONTEXT) != 0)
        cells_fill_context(arithmetic->item, arithmetic->now_ms, outcome, context);
}

void execute_arithmetic(struct execution *execution, struct operation *operation)
{
    struct arithmetic arithmetic = { 0 };
    struct outcome outcome = { 0 };
    unsigned char context[CONTEXT_BYTES_MAX];
    bool is_done = false;

    arithmetic.expiry_ms = expiry_of(operation);
    while (!is_done) {
        outcome.status = OUTCOME_OK;
        is_done = true;
        arithmetic.stripe = store_lock(execution->store, operation->hash);
        arithmetic.now_ms = clock_now_ms();
        arithmetic.item = stripe_find(arithmetic.stripe, operation->hash, operation->key,
                                      arithmetic.now_ms);
        if (arithmetic.item != NULL)
            is_done = change(execution, operation, &arithmetic, &outcome);
        else if ((operation->options & OPERATION_VIVIFY) != 0)
            is_done = create(execution, operation, &arithmetic, &outcome);
        else
            outcome.status = OUTCOME_NOT_FOUND;
    }
    if (arithmetic.rewrite.failed) {
        execution_answer_status(execution, operation, OUTCOME_NO_MEMORY);
        return;
    }
    execution_watch_lookup(execution, operation, arithmetic.is_created ? NULL : arithmetic.item);
    if (outcome.status == OUTCOME_OK) {
        fill_counted(operation, &arithmetic, &outcome, context);
        if (!arithmetic.is_created)
            count_hit(execution, operation);
    } else if (outcome.status == OUTCOME_NOT_FOUND) {
        count_miss(execution, operation);
    }
    store_unlock(arithmetic.stripe);
    rewrite_deinit(execution, &arithmetic.rewrite);
    execution_answer(execution, operation, &outcome);
}
