/* The handlers of execute_get.c and execute_delete.c for cells: gets that may change something, and
 * touch. */
#include "server/cell_item.h"
#include "server/command_internal.h"
#include "server/execution.h"
#include <assert.h>
#include <stdlib.h>

/* The empty value that VIVIFY asks for. */
static bool vivify(struct applying *applying)
{
    const struct operation *operation = applying->operation;
    const bool takes_other = applying_has(applying, OPERATION_SET_EXPTIME) &&
                             execution_flag_is_first(operation, 'N', 'T');
    struct sibling write = command_value(
        SLICE(""),
        command_expiry_ms(applying, takes_other ? operation->exptime : operation->vivify_exptime),
        0);

    write.reg.explicit_cas = execution_new_cas(operation);
    if (!command_supersede(applying, &write))
        return false;
    command_mark_new(applying, applying_has(applying, OPERATION_KEY_ENCODED));
    applying->shown.sibling = write;
    applying->shown.value = SLICE("");
    return true;
}

/* Who shall refill a value that is stale, or expires soon: see execute_get.c. */
static void decide_winner(struct applying *applying, bool asks_to_win)
{
    struct outcome *outcome = applying->outcome;
    struct command_marks *marks = &applying->command->marks;

    outcome->lost = marks->is_won;
    outcome->is_stale = applying->shown.sibling.reg.is_stale;
    outcome->won = !marks->is_won && (asks_to_win || outcome->is_stale);
    marks->is_won |= outcome->won;
}

static void fill_hit(struct applying *applying)
{
    struct command_shown *shown = &applying->shown;
    struct outcome *outcome = applying->outcome;

    outcome->value = shown->value;
    outcome->client_flags = shown->sibling.client_flags;
    outcome->key_is_binary = applying->command->marks.key_is_binary;
    applying->result->made = shown->made;
    shown->made = NULL;
    command_fill_state(applying);
}

static void apply_get(struct applying *applying)
{
    const struct operation *operation = applying->operation;
    const uint64_t now_ms = applying->command->now_ms;
    const bool is_created = !applying->shown.is_found;
    struct outcome *outcome = applying->outcome;
    uint64_t old_expiry_ms = applying->shown.sibling.reg.expires_ms, expiry_ms = old_expiry_ms;
    bool asks_to_win = is_created;

    if (is_created && !applying_has(applying, OPERATION_VIVIFY)) {
        outcome->status = OUTCOME_NOT_FOUND;
        return;
    }
    if (is_created) {
        if (!vivify(applying))
            return;
        expiry_ms = applying->shown.sibling.reg.expires_ms;
    } else if (applying_has(applying, OPERATION_SET_EXPTIME)) {
        expiry_ms = command_expiry_ms(applying, operation->exptime);
        command_set_expiry(applying, expiry_ms);
    }
    fill_hit(applying);
    if (applying_has(applying, OPERATION_RECACHE) && !is_created)
        asks_to_win |= execution_expires_before(
            execution_flag_is_first(operation, 'R', 'T') ? old_expiry_ms : expiry_ms,
            operation->recache_exptime, now_ms);
    if (operation->protocol == PROTOCOL_META)
        decide_winner(applying, asks_to_win);
    if (execution_flag_is_first(operation, 't', is_created ? 'N' : 'T'))
        expiry_ms = old_expiry_ms;
    outcome->ttl_s = command_ttl_s(expiry_ms, now_ms);
    outcome->was_hit_before = applying->command->marks.was_fetched;
    outcome->idle_s = command_idle_s(&applying->command->marks, now_ms);
    if (!applying_has(applying, OPERATION_KEEP_COLD))
        command_mark_used(applying);
}

static void apply_touch(struct applying *applying)
{
    struct outcome *outcome = applying->outcome;

    if (!applying->shown.is_found) {
        outcome->status = OUTCOME_NOT_FOUND;
        return;
    }
    command_set_expiry(applying, command_expiry_ms(applying, applying->operation->exptime));
    outcome->client_flags = applying->shown.sibling.client_flags;
    command_fill_state(applying);
    command_mark_used(applying);
}

/* A write that decides nothing replaces whatever there is. */
static void look_for_any(struct applying *applying)
{
    const struct sibling *newest = cell_newest(applying->own, SIBLING_VALUE);

    if (newest != NULL)
        applying->shown = (struct command_shown){
            .is_found = true, .sibling = *newest, .value = cell_item_value(newest)};
}

/* Whether the command goes on although nobody knows the sum of the counter: it starts anew. */
static bool starts_anew(const struct operation *operation)
{
    return operation->verb == VERB_DELETE ||
           (operation->verb == VERB_STORE && operation->mode == STORE_SET &&
            !execution_is_cas(operation));
}

/* False: there is nothing to decide on, and the result says so. */
static bool look(struct applying *applying)
{
    struct command *command = applying->command;

    if (command_class(applying->operation) != REQUEST_DECIDED) {
        look_for_any(applying);
        return true;
    }
    switch (command_look(command->policy, applying->own, command->now_ms, &applying->shown)) {
    case LOOK_DONE: break;
    case LOOK_NO_MEMORY: command_refuse(applying); return false;
    case LOOK_UNKNOWN:
        look_for_any(applying);
        if (!starts_anew(applying->operation)) {
            applying->result->applied = COMMAND_AGAIN;
            return false;
        }
    }
    return true;
}

static void dispatch(struct applying *applying)
{
    switch ((enum verb)applying->operation->verb) {
    case VERB_GET: apply_get(applying); break;
    case VERB_STORE: command_apply_store(applying); break;
    case VERB_DELETE: command_apply_delete(applying); break;
    case VERB_ARITHMETIC: command_apply_arithmetic(applying); break;
    case VERB_TOUCH: apply_touch(applying); break;
    default: assert(applying->operation->verb <= VERB_TOUCH); /* a READ */
    }
}

void command_apply(struct command *command, struct cell *own, struct command_result *result)
{
    struct applying applying = {
        .command = command,
        .operation = command->operation,
        .own = own,
        .result = result,
        .outcome = &result->outcome,
    };

    assert(cell_is_sound(own));
    assert(own->sibling_room > own->sibling_count);
    result->applied = COMMAND_KEPT;
    result->dot = (struct dot){NODE_NONE, 0};
    result->is_late = false;
    result->made = NULL;
    result->outcome = (struct outcome){.status = OUTCOME_OK};
    command->marks.is_used = false;
    if (look(&applying)) {
        if (applying.shown.is_found)
            applying.token = command_token(own);
        if (command->operation->verb != VERB_GET) {
            result->outcome.was_hit_before = applying.shown.is_found;
            result->outcome.item_bytes = applying.shown.value.size;
        }
        dispatch(&applying);
    }
    command_shown_deinit(&applying.shown);
    assert((result->applied == COMMAND_WRITTEN) == (result->dot.node != NODE_NONE));
}

void command_result_deinit(struct command_result *result)
{
    free(result->made);
    result->made = NULL;
}
