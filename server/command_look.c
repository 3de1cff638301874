#include "server/command_internal.h"
#include "server/cell_item.h"
#include "server/settings.h"
#include <assert.h>
#include <stdlib.h>

/* What the clocks of two nodes may be apart before a client sees it in a time to live. */
#define CLOCKS_APART_MS 200

uint64_t command_token(const struct cell *cell)
{
    return settings.uses_cas ? cell_token(cell) : 0;
}

int64_t command_ttl_s(uint64_t expiry_ms, uint64_t now_ms)
{
    if (expiry_ms == 0)
        return -1;
    if (expiry_ms <= now_ms)
        return 0;
    if (expiry_ms - now_ms <= CLOCKS_APART_MS)
        return 1;
    return (int64_t)((expiry_ms - now_ms - CLOCKS_APART_MS + 999) / 1000);
}

bool command_is_expired(const struct sibling *sibling, uint64_t now_ms)
{
    return sibling->kind == SIBLING_STUB && sibling->reg.expires_ms != 0 &&
           sibling->reg.expires_ms <= now_ms;
}

static void show(struct command_shown *shown, const struct sibling *sibling, struct slice value)
{
    shown->is_found = true;
    shown->sibling = *sibling;
    shown->value = value;
}

/* The newest, unless that is a delete. */
static void look_for_newest(const struct cell *cell, struct command_shown *shown)
{
    const struct sibling *newest = cell_newest(cell, SIBLINGS_HELD);

    if (newest != NULL && newest->kind == SIBLING_VALUE)
        show(shown, newest, cell_item_value(newest));
}

static enum command_look resolve(const struct policy *policy, const struct cell *cell,
                                 const struct slice *values, struct command_shown *shown)
{
    const enum resolver_policy resolver = (enum resolver_policy)policy->resolver;
    const struct resolver_need need = resolver_room_needed(resolver, cell, values);
    struct resolver_room room = {.size = need.bytes, .line_count = need.lines};
    struct resolution resolution;

    room.bytes = malloc(need.bytes + 1);
    room.lines = calloc(need.lines + 1, sizeof *room.lines);
    if (room.bytes == NULL || room.lines == NULL) {
        free(room.bytes);
        free(room.lines);
        return LOOK_NO_MEMORY;
    }
    resolution = resolver_resolve(resolver, cell, values, &room);
    free(room.lines);
    assert(resolution.kind != RESOLVED_NO_ROOM);
    if (resolution.kind == RESOLVED_SIBLING || resolution.kind == RESOLVED_BYTES)
        show(shown, resolution.sibling, resolution.value);
    if (resolution.kind == RESOLVED_BYTES)
        shown->made = room.bytes;
    else
        free(room.bytes);
    return resolution.kind == RESOLVED_UNKNOWN ? LOOK_UNKNOWN : LOOK_DONE;
}

bool command_values_init(struct command_values *values, const struct cell *cell, uint64_t now_ms)
{
    const unsigned count = cell->sibling_count;
    struct sibling *siblings = calloc(count + 1u, sizeof *siblings);

    values->slices = calloc(count + 1u, sizeof *values->slices);
    cell_init(&values->cell, siblings, siblings == NULL ? 0 : count);
    if (siblings == NULL || values->slices == NULL) {
        command_values_deinit(values);
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        if (command_is_expired(&cell->siblings[i], now_ms))
            continue;
        if (cell->siblings[i].kind == SIBLING_VALUE)
            values->slices[values->cell.sibling_count] = cell_item_value(&cell->siblings[i]);
        siblings[values->cell.sibling_count++] = cell->siblings[i];
    }
    return true;
}

void command_values_deinit(struct command_values *values)
{
    free(values->cell.siblings);
    free(values->slices);
}

enum command_look command_look(const struct policy *policy, const struct cell *cell,
                               uint64_t now_ms, struct command_shown *shown)
{
    struct command_values values;
    enum command_look look;

    *shown = (struct command_shown){0};
    if (policy->resolver == RESOLVE_LWW ||
        (cell->sibling_count < 2 && policy->resolver != RESOLVE_COUNTER)) {
        look_for_newest(cell, shown);
        return LOOK_DONE;
    }
    if (!command_values_init(&values, cell, now_ms))
        return LOOK_NO_MEMORY;
    look = resolve(policy, &values.cell, values.slices, shown);
    command_values_deinit(&values);
    return look;
}

void command_shown_deinit(struct command_shown *shown)
{
    free(shown->made);
    shown->made = NULL;
}
