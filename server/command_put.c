#include "server/command_internal.h"
#include "ring/key_hash.h"
#include "server/cell_item.h"
#include "server/cells.h"
#include "server/clock.h"
#include "server/settings.h"
#include <assert.h>
#include <stdlib.h>

uint64_t command_expiry_ms(const struct applying *applying, int32_t exptime)
{
    const struct command *command = applying->command;

    return policy_expiry_ms(command->policy, clock_expiry_ms(exptime, command->now_ms),
                            command->now_ms);
}

struct sibling command_value(struct slice value, uint64_t expires_ms, uint32_t client_flags)
{
    return (struct sibling){
        .kind = SIBLING_VALUE,
        .reg = {.expires_ms = expires_ms},
        .client_flags = client_flags,
        .value_bytes = (uint32_t)value.size,
        .value_digest = key_hash(value),
        .value = (uint64_t)(uintptr_t)value.bytes,
    };
}

void command_refuse(struct applying *applying)
{
    applying->result->applied = COMMAND_REFUSED;
    applying->outcome->status = OUTCOME_NO_MEMORY;
    applying->outcome->value = (struct slice){NULL, 0};
}

void command_refuse_clock(struct applying *applying)
{
    command_refuse(applying);
    applying->result->is_late = true;
}

unsigned char *command_make_value(struct applying *applying, size_t bytes)
{
    assert(applying->result->made == NULL);
    applying->result->made = malloc(bytes + 1);
    if (applying->result->made == NULL)
        command_refuse(applying);
    return applying->result->made;
}

static void date_anew(struct applying *applying, struct sibling *write)
{
    const struct command *command = applying->command;

    write->dot = (struct dot){command->self, hlc_clock_next(command->clock, command->now_ms)};
    write->reg.hlc = write->dot.hlc;
}

static enum cell_put put_once(struct applying *applying, const struct sibling *write,
                              const struct context *seen)
{
    if (!applying->command->policy->keeps_siblings)
        return cell_put_last_write_wins(applying->own, write);
    if (seen == NULL)
        return cell_put_blind(applying->own, write);
    return cell_put_context(applying->own, write, seen);
}

bool command_catch_up(struct applying *applying, const struct context *seen)
{
    const struct command *command = applying->command;
    hlc_time newest = cell_clock(applying->own);

    if (seen != NULL && context_newest(seen) > newest)
        newest = context_newest(seen);
    return hlc_clock_merge(command->clock, newest, command->now_ms, command->drift_max_ms) ==
           HLC_MERGED;
}

bool command_put(struct applying *applying, struct sibling *write, const struct context *seen)
{
    struct cell *own = applying->own;
    const uint64_t token = own->sibling_count > 0 ? cell_token(own) : 0;

    date_anew(applying, write);
    while (put_once(applying, write, seen) != CELL_PUT_DONE) {
        if (!command_catch_up(applying, seen)) {
            command_refuse_clock(applying);
            return false;
        }
        date_anew(applying, write);
    }
    if (cell_token(own) == token && write->reg.explicit_cas == 0) {
        /* One token for two states: the next dot gives another. */
        const struct dot twin = write->dot;

        date_anew(applying, write);
        if (cell_put_again(own, write, twin) != CELL_PUT_DONE)
            assert(false); /* the clock is past all of the cell now */
    }
    applying->result->applied = COMMAND_WRITTEN;
    applying->result->dot = write->dot;
    return true;
}

void command_see_stubs(const struct applying *applying, bool sees_all, struct context *seen)
{
    const struct cell *own = applying->own;

    for (unsigned i = 0; i < own->sibling_count && seen->count < CONTEXT_CLIENT_MAX; i++) {
        const struct sibling *sibling = &own->siblings[i];
        const struct dot dot = sibling->dot;

        if (command_is_expired(sibling, applying->command->now_ms) ||
            (sees_all && sibling->kind == SIBLING_STUB))
            context_add(seen, (struct interval){dot.node, dot.hlc, dot.hlc});
    }
}

bool command_supersede(struct applying *applying, struct sibling *write)
{
    /* A counter starts anew, whoever holds its other shares. */
    const bool starts_anew = applying->command->policy->resolver == RESOLVE_COUNTER;
    struct context seen;

    cell_shown(applying->own, &seen);
    command_see_stubs(applying, starts_anew, &seen);
    return command_put(applying, write, &seen);
}

bool command_replace(struct applying *applying, struct sibling *write)
{
    if (command_class(applying->operation) == REQUEST_BLIND)
        return command_put(applying, write, NULL);
    return command_supersede(applying, write);
}

void command_set_register(struct applying *applying, struct sibling *sibling,
                          struct sibling_register *reg)
{
    const struct command *command = applying->command;

    reg->hlc = hlc_clock_next(command->clock, command->now_ms);
    if (reg->hlc <= sibling->reg.hlc)
        reg->hlc = sibling->reg.hlc + 1;
    if (!sibling_set_register(sibling, reg))
        assert(false); /* it is later */
    if (applying->result->applied == COMMAND_KEPT)
        applying->result->applied = COMMAND_REGISTER;
}

bool command_set_expiry(struct applying *applying, uint64_t expiry_ms)
{
    bool is_changed = false;

    for (unsigned i = 0; i < applying->own->sibling_count; i++) {
        struct sibling *sibling = &applying->own->siblings[i];
        struct sibling_register reg = sibling->reg;

        if (sibling->kind != SIBLING_VALUE || reg.expires_ms == expiry_ms)
            continue;
        reg.expires_ms = expiry_ms;
        command_set_register(applying, sibling, &reg);
        is_changed = true;
    }
    return is_changed;
}

void command_mark_new(struct applying *applying, bool key_is_binary)
{
    struct command *command = applying->command;

    command->marks = (struct command_marks){
        .key_is_binary = key_is_binary,
        .accessed_s = clock_relative_s(command->now_ms),
    };
}

void command_mark_used(struct applying *applying)
{
    struct command *command = applying->command;

    command->marks.is_used = true;
    command->marks.was_fetched = true;
    command->marks.accessed_s = clock_relative_s(command->now_ms);
}

void command_fill_state(struct applying *applying)
{
    struct outcome *outcome = applying->outcome;

    outcome->cas = command_token(applying->own);
    if (!applying_has(applying, OPERATION_WANTS_CONTEXT | OPERATION_WANTS_COUNT))
        return;
    outcome->context =
        cells_seal(applying->own, applying->operation->key, applying->result->context);
    outcome->sibling_count = cells_shown_count(applying->own);
}
