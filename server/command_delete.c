/* The handlers of execute_delete.c for cells. */
#include "server/command_internal.h"
#include "server/execution.h"
#include "server/settings.h"

static enum outcome_status decide_delete(const struct applying *applying)
{
    if (!applying->shown.is_found)
        return OUTCOME_NOT_FOUND;
    if (applying_has(applying, OPERATION_COMPARE_CAS) &&
        applying->token != applying->operation->cas_compare)
        return OUTCOME_EXISTS;
    return OUTCOME_OK;
}

/* A token in a later millisecond than the one there is: whoever has that one has an older version,
 * as `I` of ms compares them. */
static uint64_t token_after(const struct applying *applying)
{
    const uint64_t now_ms = applying->command->now_ms;
    const uint64_t next_ms = hlc_ms(applying->token) + 1;
    const uint64_t later_ms = next_ms > now_ms ? next_ms : now_ms;

    return later_ms < HLC_MS_END ? hlc_of_ms(later_ms) : applying->token + 1;
}

/* What the register becomes: see spec_of_mark() in execute_delete.c. */
static void mark_register(const struct applying *applying, struct sibling_register *reg)
{
    const uint64_t chosen = execution_new_cas(applying->operation);
    const bool marks_stale = applying_has(applying, OPERATION_INVALIDATE);

    if (applying_has(applying, OPERATION_DROP_VALUE))
        reg->expires_ms = 0;
    if (applying_has(applying, OPERATION_SET_EXPTIME))
        reg->expires_ms = command_expiry_ms(applying, applying->operation->exptime);
    if (chosen != 0)
        reg->explicit_cas = chosen;
    else if (settings.uses_cas)
        reg->explicit_cas = marks_stale ? token_after(applying) : applying->token;
    reg->is_stale = marks_stale || (reg->is_stale && !applying_has(applying, OPERATION_DROP_VALUE));
}

/* `x`, or a mark on several siblings: another value. */
static void mark_anew(struct applying *applying, const struct sibling_register *reg)
{
    struct command_marks *marks = &applying->command->marks;
    struct command_shown *shown = &applying->shown;
    struct sibling write = shown->sibling;

    if (applying_has(applying, OPERATION_DROP_VALUE))
        write = command_value(SLICE(""), 0, 0);
    else
        write = command_value(shown->value, 0, write.client_flags);
    write.reg = *reg;
    if (!command_supersede(applying, &write))
        return;
    applying->result->made = shown->made;
    shown->made = NULL;
    if (applying_has(applying, OPERATION_DROP_VALUE))
        command_mark_new(applying, marks->key_is_binary);
}

/* `x` leaves an empty value of the same cas, `I` one marked as stale and of a new cas; both may set
 * an expiry.  `I` is no new write: what a client's context covers stays covered. */
static void mark(struct applying *applying)
{
    struct sibling_register reg = applying->shown.sibling.reg;

    mark_register(applying, &reg);
    if (applying_has(applying, OPERATION_DROP_VALUE) || applying->own->sibling_count > 1)
        mark_anew(applying, &reg);
    else
        command_set_register(applying, &applying->own->siblings[0], &reg);
    if (applying_has(applying, OPERATION_INVALIDATE))
        applying->command->marks.is_won = false;
}

void command_apply_delete(struct applying *applying)
{
    struct sibling tombstone = {.kind = SIBLING_TOMBSTONE};

    if (applying_has(applying, OPERATION_CONTEXT)) {
        command_apply_context(applying);
        return;
    }
    applying->outcome->status = (uint8_t)decide_delete(applying);
    if (applying->outcome->status == OUTCOME_OK &&
        applying_has(applying, OPERATION_DROP_VALUE | OPERATION_INVALIDATE)) {
        mark(applying);
        return;
    }
    if (applying->outcome->status == OUTCOME_OK ||
        command_class(applying->operation) == REQUEST_BLIND)
        command_replace(applying, &tombstone);
}
