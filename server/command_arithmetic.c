/* The handlers of execute_arithmetic.c for cells, and the shares of counters (ring/resolver.h). */
#include "protocol/reply.h"
#include "server/command_internal.h"
#include "server/execution.h"
#include "server/settings.h"

static bool cas_differs(const struct applying *applying)
{
    const struct operation *operation = applying->operation;

    return applying_has(applying, OPERATION_COMPARE_CAS) && operation->cas_compare != 0 &&
           settings.uses_cas && applying->token != operation->cas_compare;
}

/* Fills in all but the number. */
static void fill_counted(struct applying *applying, size_t digits, uint64_t expiry_ms)
{
    const bool is_created = !applying->shown.is_found;
    struct outcome *outcome = applying->outcome;

    outcome->won = is_created;
    outcome->value = (struct slice){applying->result->made, digits};
    if (execution_flag_is_first(applying->operation, 't', is_created ? 'N' : 'T'))
        expiry_ms = applying->shown.sibling.reg.expires_ms;
    outcome->ttl_s = command_ttl_s(expiry_ms, applying->command->now_ms);
    outcome->key_is_binary = applying->command->marks.key_is_binary;
    command_fill_state(applying);
}

/* Writes the number in place of all that the cell shows; a value that gets shorter keeps its
 * length, padded with spaces. */
static void put_number(struct applying *applying, uint64_t number, uint64_t expiry_ms)
{
    const struct command_shown *shown = &applying->shown;
    unsigned char digits[DECIMAL_BYTES_MAX];
    const size_t count = decimal_encode(number, digits);
    const size_t bytes = count > shown->value.size ? count : shown->value.size;
    unsigned char *value = command_make_value(applying, bytes);
    struct sibling write;

    if (value == NULL)
        return;
    memcpy(value, digits, count);
    memset(value + count, ' ', bytes - count);
    write = command_value((struct slice){value, bytes}, expiry_ms, shown->sibling.client_flags);
    write.reg.explicit_cas = execution_new_cas(applying->operation);
    write.reg.is_stale = shown->sibling.reg.is_stale;
    if (!command_supersede(applying, &write))
        return;
    applying->outcome->number = number;
    fill_counted(applying, count, expiry_ms);
}

static void create(struct applying *applying)
{
    const struct operation *operation = applying->operation;
    const bool has_expiry = applying_has(applying, OPERATION_SET_EXPTIME);

    command_mark_new(applying, applying_has(applying, OPERATION_KEY_ENCODED));
    put_number(
        applying, operation->initial,
        command_expiry_ms(applying, has_expiry ? operation->exptime : operation->vivify_exptime));
}

/* Writes this node's share, in place of the one that it had. */
static void put_share(struct applying *applying, const struct counter_change *change,
                      uint64_t expiry_ms)
{
    unsigned char *value = command_make_value(applying, change->share_bytes);
    struct context seen;
    struct sibling write;

    if (value == NULL)
        return;
    memcpy(value, change->share, change->share_bytes);
    write = command_value((struct slice){value, change->share_bytes}, expiry_ms,
                          applying->shown.sibling.client_flags);
    write.reg.explicit_cas = execution_new_cas(applying->operation);
    context_clear(&seen);
    if (change->replaces != NULL) {
        const struct dot replaced = change->replaces->dot;

        context_add(&seen, (struct interval){replaced.node, replaced.hlc, replaced.hlc});
    }
    if (!command_put(applying, &write, &seen))
        return;
    applying->outcome->number = change->total;
    fill_counted(applying, change->share_bytes, expiry_ms);
}

static void add_to_counter(struct applying *applying, uint64_t expiry_ms)
{
    const struct operation *operation = applying->operation;
    const struct command *command = applying->command;
    struct counter_change change;
    struct command_values values;

    if (!command_values_init(&values, applying->own, command->now_ms)) {
        command_refuse(applying);
        return;
    }
    switch (resolver_counter_add(&values.cell, values.slices, command->self, operation->delta,
                                 operation->mode == ARITHMETIC_SUBTRACT, &change)) {
    case COUNTER_ADDED: put_share(applying, &change, expiry_ms); break;
    case COUNTER_MISSING: applying->outcome->status = OUTCOME_NOT_FOUND; break;
    case COUNTER_UNKNOWN: applying->result->applied = COMMAND_AGAIN; break;
    case COUNTER_NOT_NUMBER: applying->outcome->status = OUTCOME_NOT_NUMERIC; break;
    }
    command_values_deinit(&values);
}

static void change(struct applying *applying)
{
    const struct operation *operation = applying->operation;
    uint64_t expiry_ms = applying->shown.sibling.reg.expires_ms, number;

    if (applying_has(applying, OPERATION_SET_EXPTIME))
        expiry_ms = command_expiry_ms(applying, operation->exptime);
    if (applying->shown.value.size != 0 && cas_differs(applying))
        applying->outcome->status = OUTCOME_EXISTS;
    else if (applying->command->policy->resolver == RESOLVE_COUNTER)
        add_to_counter(applying, expiry_ms);
    else if (!execution_parse_number(applying->shown.value, &number))
        applying->outcome->status = OUTCOME_NOT_NUMERIC;
    else
        put_number(applying, execution_calculate(operation, number), expiry_ms);
}

void command_apply_arithmetic(struct applying *applying)
{
    if (applying->shown.is_found)
        change(applying);
    else if (applying_has(applying, OPERATION_VIVIFY))
        create(applying);
    else
        applying->outcome->status = OUTCOME_NOT_FOUND;
}
