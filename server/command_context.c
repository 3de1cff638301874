/* Writes with a client's context: execute_context_store() and _delete() of cells.c for the cell of
 * a node of a cluster. */
#include "server/cells.h"
#include "server/command_internal.h"
#include "server/execution.h"
#include "server/settings.h"

/* Shares of a counter that look alike are increments of their own. */
static bool equal_ones_are_one(const struct applying *applying)
{
    return applying->command->policy->resolver != RESOLVE_COUNTER;
}

/* Any dot: what is compared is how it reads. */
static struct sibling dated(const struct applying *applying, struct sibling write)
{
    write.dot = (struct dot){applying->command->self, 1};
    write.reg.hlc = 1;
    return write;
}

static bool fits(struct applying *applying, const struct sibling *write, const struct context *seen)
{
    if (!applying->command->policy->keeps_siblings || write->kind == SIBLING_TOMBSTONE)
        return true;
    if (!cells_has_room(applying->own, write, seen)) {
        applying->outcome->status = OUTCOME_TOO_MANY_SIBLINGS;
        return false;
    }
    if (cell_encoded_bytes(applying->own) + sizeof *write > settings.item_bytes_max) {
        applying->outcome->status = OUTCOME_TOO_LARGE;
        return false;
    }
    return true;
}

/* Whether a value stays that the client has not seen. */
static bool leaves_value(const struct applying *applying, const struct context *seen)
{
    for (unsigned i = 0; i < applying->own->sibling_count; i++) {
        const struct sibling *sibling = &applying->own->siblings[i];

        if (sibling->kind == SIBLING_VALUE && !context_covers(seen, sibling->dot))
            return true;
    }
    return false;
}

/* A delete that leaves values needs no tombstone: the cell stays, and its context says what is
 * gone. A tombstone, newer than they are, would hide from plain readers what its author never saw.
 */
static void remove_seen(struct applying *applying, const struct context *seen)
{
    if (seen->count == 0)
        return;
    if (!command_catch_up(applying, seen)) {
        command_refuse_clock(applying);
        return;
    }
    cell_remove_seen(applying->own, seen);
    applying->result->applied = COMMAND_REGISTER;
    cells_count_write(applying->own);
}

static void put(struct applying *applying, struct sibling *write, struct context *seen)
{
    const bool is_store = write->kind == SIBLING_VALUE;
    struct outcome *outcome = applying->outcome;

    if (equal_ones_are_one(applying))
        cells_see_equal(applying->own, write, seen);
    if (!fits(applying, write, seen) || !command_put(applying, write, seen))
        return;
    cells_count_write(applying->own);
    if (is_store) {
        outcome->value = applying->operation->value;
        command_mark_new(applying, applying->shown.is_found ? applying->command->marks.key_is_binary
                                                            : outcome->key_is_binary);
    }
    command_fill_state(applying);
}

void command_apply_context(struct applying *applying)
{
    const struct operation *operation = applying->operation;
    struct sibling write = {.kind = SIBLING_TOMBSTONE};
    struct context seen;

    if (!cells_unseal(operation, &seen)) {
        applying->outcome->status = OUTCOME_BAD_CONTEXT;
        return;
    }
    applying->outcome->key_is_binary = applying_has(applying, OPERATION_KEY_ENCODED);
    if (operation->verb == VERB_DELETE && applying->command->policy->keeps_siblings &&
        leaves_value(applying, &seen)) {
        remove_seen(applying, &seen);
        return;
    }
    if (operation->verb == VERB_STORE)
        write = command_value(operation->value, command_expiry_ms(applying, operation->exptime),
                              operation->client_flags);
    write = dated(applying, write);
    command_see_stubs(applying, false, &seen);
    put(applying, &write, &seen);
}
