/* The handlers of execute_store.c for cells. */
#include "server/clock.h"
#include "server/command_internal.h"
#include "server/execution.h"
#include "server/settings.h"
#include <assert.h>

/* Whether the client's token is of a state before this one.  Tokens are compared by their
 * milliseconds, numbers that clients chose themselves as such. */
static bool is_older(const struct applying *applying, uint64_t cas)
{
    const struct cell *own = applying->own;

    if (own->sibling_count == 1 && own->siblings[0].reg.explicit_cas != 0 && cas < applying->token)
        return true;
    return hlc_ms(cas) < hlc_ms(applying->token);
}

/* The three ways in which a cas can end, and the one that I adds: an older version is stored, but
 * stays marked stale. */
static enum outcome_status decide_cas(const struct applying *applying, bool *stays_stale)
{
    const struct operation *operation = applying->operation;

    if (!applying->shown.is_found)
        return OUTCOME_NOT_FOUND;
    if (!settings.uses_cas)
        return OUTCOME_EXISTS;
    if (operation->cas_compare == applying->token)
        return OUTCOME_OK;
    *stays_stale = applying_has(applying, OPERATION_INVALIDATE) && operation->cas_compare != 0 &&
                   is_older(applying, operation->cas_compare);
    return *stays_stale ? OUTCOME_OK : OUTCOME_EXISTS;
}

static enum outcome_status decide_store(const struct applying *applying, bool *stays_stale)
{
    const bool is_found = applying->shown.is_found;

    if (execution_is_cas(applying->operation))
        return decide_cas(applying, stays_stale);
    switch ((enum store_mode)applying->operation->mode) {
    case STORE_SET: return OUTCOME_OK;
    case STORE_ADD: return is_found ? OUTCOME_NOT_STORED : OUTCOME_OK;
    case STORE_REPLACE: return is_found ? OUTCOME_OK : OUTCOME_NOT_STORED;
    case STORE_APPEND:
    case STORE_PREPEND: break; /* see decide_append() */
    }
    return OUTCOME_NOT_STORED;
}

/* Stores the operation's value. */
static void put_whole(struct applying *applying, uint64_t expiry_ms, bool is_stale)
{
    const struct operation *operation = applying->operation;
    const bool was_won = applying->command->marks.is_won;
    struct sibling write = command_value(operation->value, expiry_ms, operation->client_flags);

    write.reg.explicit_cas = execution_new_cas(operation);
    write.reg.is_stale = is_stale;
    if (!command_replace(applying, &write))
        return;
    command_mark_new(applying, applying_has(applying, OPERATION_KEY_ENCODED));
    applying->command->marks.is_won = is_stale && was_won;
    command_fill_state(applying);
}

/* A use that is no fetch: of a value that `add` found there. */
static void mark_found(struct command *command)
{
    command->marks.is_used = true;
    command->marks.accessed_s = clock_relative_s(command->now_ms);
}

static void apply_whole(struct applying *applying)
{
    const struct operation *operation = applying->operation;
    struct outcome *outcome = applying->outcome;
    bool stays_stale = false;

    outcome->value = operation->value; /* its size is what may be answered */
    outcome->key_is_binary = applying_has(applying, OPERATION_KEY_ENCODED);
    outcome->status = (uint8_t)decide_store(applying, &stays_stale);
    if (outcome->status == OUTCOME_OK)
        put_whole(applying,
                  stays_stale ? applying->shown.sibling.reg.expires_ms
                              : command_expiry_ms(applying, operation->exptime),
                  stays_stale);
    else if (operation->mode == STORE_ADD && applying->shown.is_found)
        mark_found(applying->command);
}

static enum outcome_status decide_append(const struct applying *applying)
{
    const struct operation *operation = applying->operation;
    const struct command_shown *shown = &applying->shown;

    if (!shown->is_found)
        return applying_has(applying, OPERATION_VIVIFY) ? OUTCOME_OK : OUTCOME_NOT_STORED;
    if (applying_has(applying, OPERATION_COMPARE_CAS) && operation->cas_compare != 0 &&
        settings.uses_cas && applying->token != operation->cas_compare)
        return OUTCOME_EXISTS;
    if (!execution_value_fits(operation, shown->sibling.client_flags,
                              shown->value.size + operation->value.size))
        return OUTCOME_NOT_STORED;
    return OUTCOME_OK;
}

/* What is there, and the operation's value before or behind it. */
static void put_longer(struct applying *applying)
{
    const struct operation *operation = applying->operation;
    const struct slice old = applying->shown.value, piece = operation->value;
    const struct slice first = operation->mode == STORE_APPEND ? old : piece;
    const struct slice second = operation->mode == STORE_APPEND ? piece : old;
    unsigned char *bytes = command_make_value(applying, first.size + second.size);
    struct sibling write;

    if (bytes == NULL)
        return;
    if (first.size != 0)
        memcpy(bytes, first.bytes, first.size);
    if (second.size != 0)
        memcpy(bytes + first.size, second.bytes, second.size);
    write =
        command_value((struct slice){bytes, first.size + second.size},
                      applying->shown.sibling.reg.expires_ms, applying->shown.sibling.client_flags);
    write.reg.explicit_cas = execution_new_cas(operation);
    if (!command_supersede(applying, &write))
        return;
    applying->outcome->value = (struct slice){bytes, first.size + second.size};
    applying->outcome->key_is_binary = applying->command->marks.key_is_binary;
    command_mark_new(applying, applying->command->marks.key_is_binary);
    command_fill_state(applying);
}

static void apply_append(struct applying *applying)
{
    const struct operation *operation = applying->operation;
    struct outcome *outcome = applying->outcome;

    outcome->value = operation->value;
    outcome->status = (uint8_t)decide_append(applying);
    if (outcome->status != OUTCOME_OK)
        return;
    if (applying->shown.is_found) {
        put_longer(applying);
        return;
    }
    outcome->key_is_binary = applying_has(applying, OPERATION_KEY_ENCODED);
    put_whole(applying, command_expiry_ms(applying, operation->vivify_exptime), false);
}

void command_apply_store(struct applying *applying)
{
    if (applying_has(applying, OPERATION_CONTEXT)) {
        command_apply_context(applying);
        return;
    }
    switch ((enum store_mode)applying->operation->mode) {
    case STORE_SET:
    case STORE_ADD:
    case STORE_REPLACE: apply_whole(applying); break;
    case STORE_APPEND:
    case STORE_PREPEND: apply_append(applying); break;
    }
}
