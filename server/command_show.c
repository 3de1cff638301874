/* The answer of a read: execute_get() and execute_inspect() of execute_get.c, and vget, for a cell.
 */
#include "server/cell_item.h"
#include "server/cells.h"
#include "server/clock.h"
#include "server/command_internal.h"
#include "server/execution.h"
#include "server/item.h"
#include "server/key_text.h"

/* What a read shows, and to whom. */
struct showing {
    struct execution *execution;
    const struct operation *operation;
    const struct cell *cell;
    const struct command_marks *marks;
    struct item *item;
    struct command_shown shown;
    struct outcome outcome;
    unsigned char context[CONTEXT_BYTES_MAX];
};

static void answer(struct showing *showing)
{
    if (showing->item != NULL && showing->shown.made == NULL)
        execution_answer_item(showing->execution, showing->operation, &showing->outcome,
                              showing->item);
    else
        execution_answer_long(showing->execution, showing->operation, &showing->outcome);
}

/* A key that no line of text can hold came as base64, whoever still knows. */
static bool key_is_binary(const struct showing *showing)
{
    return showing->marks->key_is_binary || !key_fits_line(showing->operation->key);
}

static void fill_hit(struct showing *showing)
{
    const uint64_t now_ms = clock_now_ms();
    struct outcome *outcome = &showing->outcome;

    outcome->status = OUTCOME_OK;
    outcome->value = showing->shown.value;
    outcome->client_flags = showing->shown.sibling.client_flags;
    outcome->cas = command_token(showing->cell);
    outcome->key_is_binary = key_is_binary(showing);
    outcome->ttl_s = command_ttl_s(showing->shown.sibling.reg.expires_ms, now_ms);
    outcome->was_hit_before = showing->marks->was_fetched;
    outcome->idle_s = command_idle_s(showing->marks, now_ms);
}

static void fill_context(struct showing *showing)
{
    showing->outcome.context = cells_seal(showing->cell, showing->operation->key, showing->context);
    showing->outcome.sibling_count = cells_shown_count(showing->cell);
}

/* Whether somebody has to say who wins, or won: the coordinator does.  The value that N makes is
 * empty, and this node might not know that its refill was promised. */
static bool needs_decision(const struct showing *showing)
{
    return showing->operation->protocol == PROTOCOL_META && !showing->marks->is_won &&
           (showing->shown.sibling.reg.is_stale || showing->shown.value.size == 0);
}

static bool show_get(struct showing *showing)
{
    const struct operation *operation = showing->operation;
    struct outcome *outcome = &showing->outcome;

    if (showing->shown.is_found) {
        if (needs_decision(showing))
            return false;
        fill_hit(showing);
        if (operation->protocol == PROTOCOL_META) {
            outcome->lost = showing->marks->is_won;
            outcome->is_stale = showing->shown.sibling.reg.is_stale;
        }
        if ((operation->options & (OPERATION_WANTS_CONTEXT | OPERATION_WANTS_COUNT)) != 0)
            fill_context(showing);
    }
    command_count_get(showing->execution, operation, outcome);
    answer(showing);
    return true;
}

/* me: looks, and leaves no trace. */
static bool show_inspect(struct showing *showing)
{
    if (showing->shown.is_found) {
        fill_hit(showing);
        showing->outcome.item_bytes = showing->marks->item_bytes;
        if (showing->marks->item_bytes == 0) /* it is with other nodes only */
            showing->outcome.item_bytes =
                sizeof(struct item) + showing->operation->key.size + showing->shown.value.size;
    }
    answer(showing);
    return true;
}

static void show_siblings(struct showing *showing)
{
    const struct cell *cell = showing->cell;
    struct counters *counters = &showing->execution->worker->counters;
    struct outcome *outcome = &showing->outcome;
    const unsigned count = cells_shown_count(cell);

    counter_add(&counters->cmd_get, 1);
    counter_add(count != 0 ? &counters->get_hits : &counters->get_misses, 1);
    if (count == 0) {
        answer(showing);
        return;
    }
    outcome->status = OUTCOME_OK;
    outcome->cas = command_token(cell);
    outcome->key_is_binary = key_is_binary(showing);
    fill_context(showing);
    for (int i = cells_next_shown(cell, (int)cell->sibling_count); i >= 0;
         i = cells_next_shown(cell, i)) {
        outcome->value = cell_item_value(&cell->siblings[i]);
        outcome->client_flags = cell->siblings[i].client_flags;
        answer(showing);
        outcome->sibling_index++;
    }
}

/* False: that was answered. */
static bool look(struct showing *showing)
{
    const struct policy *policy = policy_of(showing->operation->key);
    struct slice text = SLICE("SERVER_ERROR out of memory");

    switch (
        command_look(policy, showing->cell, showing->execution->worker->now_ms, &showing->shown)) {
    case LOOK_DONE: return true;
    case LOOK_NO_MEMORY: break;
    case LOOK_UNKNOWN: text = SLICE("SERVER_ERROR a share of the counter is not held");
    }
    execution_answer_error(showing->execution, showing->operation, COMMAND_BINARY_FAILURE, text);
    return false;
}

bool command_show(struct execution *execution, const struct operation *operation,
                  const struct cell *cell, const struct command_marks *marks, struct item *item)
{
    struct showing showing;
    bool is_shown = true;

    showing.execution = execution;
    showing.operation = operation;
    showing.cell = cell;
    showing.marks = marks;
    showing.item = item;
    showing.shown = (struct command_shown){0};
    showing.outcome = (struct outcome){.status = OUTCOME_NOT_FOUND};
    if (operation->verb == VERB_SIBLINGS)
        show_siblings(&showing);
    else if (look(&showing))
        is_shown = operation->verb == VERB_INSPECT ? show_inspect(&showing) : show_get(&showing);
    command_shown_deinit(&showing.shown);
    return is_shown;
}
