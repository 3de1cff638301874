#include "tests/unit/cell_keeper.h"
#include "ring/key_hash.h"
#include "server/cell_item.h"
#include "server/clock.h"
#include "server/execute.h"
#include "server/execution.h"
#include <stdlib.h>

#define KEPT_MAX      16
#define SIBLINGS_ROOM 64

struct kept {
    struct slice key;
    struct cell cell;
    struct sibling siblings[SIBLINGS_ROOM];
    struct command_marks marks;
};

/* A value, kept until the end: cells point to its bytes. */
struct value {
    struct value *next;
    unsigned char bytes[];
};

enum command_applied keeper_applied;
bool keeper_wrote;
uint64_t keeper_drift_max_ms;

static struct kept kept[KEPT_MAX];
static unsigned kept_count;
static struct value *values;
static struct hlc_clock hlc;

static const unsigned char *keep(struct slice bytes)
{
    struct value *value = malloc(sizeof *value + bytes.size + 1);

    assert_non_null(value);
    value->next = values;
    values = value;
    if (bytes.size != 0)
        memcpy(value->bytes, bytes.bytes, bytes.size);
    return value->bytes;
}

void keeper_start(void)
{
    kept_count = 0;
    hlc_clock_init(&hlc, 0);
    keeper_drift_max_ms = 60000;
}

void keeper_end(void)
{
    while (values != NULL) {
        struct value *next = values->next;
        free(values);
        values = next;
    }
    kept_count = 0;
}

static struct kept *find(struct slice key)
{
    struct kept *found;

    for (unsigned i = 0; i < kept_count; i++)
        if (slice_equal(kept[i].key, key))
            return &kept[i];
    assert_true(kept_count < KEPT_MAX);
    found = &kept[kept_count++];
    found->key = (struct slice){keep(key), key.size};
    found->marks = (struct command_marks){0};
    cell_init(&found->cell, found->siblings, SIBLINGS_ROOM);
    return found;
}

static struct slice text(const char *bytes)
{
    return (struct slice){(const unsigned char *)bytes, strlen(bytes)};
}

struct cell *keeper_cell(const char *key)
{
    return &find(text(key))->cell;
}

struct sibling *keeper_put(const char *key, struct dot dot, const char *value)
{
    struct cell *cell = keeper_cell(key);
    struct slice bytes = {keep(text(value)), strlen(value)};
    struct sibling sibling =
        sibling_of_value(dot, 0, 0, (uint32_t)bytes.size, key_hash(bytes), (uintptr_t)bytes.bytes);
    struct sibling siblings[1];
    struct cell other;

    cell_init(&other, siblings, 1);
    other.siblings[0] = sibling;
    other.sibling_count = 1;
    context_add(&other.context, (struct interval){dot.node, dot.hlc, dot.hlc});
    cell_merge(cell, &other);
    return cell_find(cell, dot);
}

/* As an item would have them. */
static void keep_marks(struct kept *here, struct command_marks marks)
{
    here->marks = marks;
    here->marks.is_used = false;
    here->marks.item_bytes = 1;
    if (cell_newest(&here->cell, SIBLING_VALUE) == NULL)
        here->marks = (struct command_marks){0};
}

static void keep_cell(struct kept *here, const struct cell *cell)
{
    cell_copy(&here->cell, cell);
    for (unsigned i = 0; i < here->cell.sibling_count; i++) {
        struct sibling *sibling = &here->siblings[i];

        if (sibling->kind == SIBLING_VALUE)
            sibling->value = (uintptr_t)keep(cell_item_value(sibling));
    }
}

static void decide(struct execution *execution, const struct operation *operation,
                   struct kept *here)
{
    struct sibling siblings[SIBLINGS_ROOM];
    struct command_result result;
    struct command command = {
        .operation = operation,
        .policy = policy_of(operation->key),
        .now_ms = clock_now_ms(),
        .self = KEEPER_SELF,
        .clock = &hlc,
        .drift_max_ms = keeper_drift_max_ms,
        .marks = here->marks,
    };
    struct cell own;

    cell_init(&own, siblings, SIBLINGS_ROOM);
    cell_copy(&own, &here->cell);
    command_apply(&command, &own, &result);
    keeper_applied = result.applied;
    keeper_wrote = result.applied == COMMAND_WRITTEN || result.applied == COMMAND_REGISTER;
    if (!keeper_wrote)
        assert_true(cell_state_digest(&own).low == cell_state_digest(&here->cell).low);
    if (result.applied == COMMAND_WRITTEN) {
        assert_int_equal(result.dot.node, KEEPER_SELF);
        assert_non_null(cell_find(&own, result.dot));
    }
    if (result.applied == COMMAND_AGAIN)
        command_answer_failure(execution, operation, ANSWER_READ_FAILED, 1, 2);
    else if (result.applied == COMMAND_REFUSED)
        command_answer_failure(execution, operation, ANSWER_REFUSED, 0, 0);
    else if (execution->output != NULL)
        command_answer(execution, operation, &result.outcome);
    if (keeper_wrote)
        keep_cell(here, &own);
    if (keeper_wrote || result.applied == COMMAND_KEPT)
        keep_marks(here, command.marks);
    command_result_deinit(&result);
}

static void show_or_decide(struct execution *execution, const struct operation *operation,
                           struct kept *here)
{
    struct command_marks marks = here->marks;

    keeper_applied = (enum command_applied)0;
    if (!command_show(execution, operation, &here->cell, &here->marks, NULL)) {
        decide(execution, operation, here);
        return;
    }
    if ((operation->options & OPERATION_KEEP_COLD) != 0)
        return;
    marks.was_fetched = true;
    marks.accessed_s = clock_relative_s(clock_now_ms());
    keep_marks(here, marks);
}

static void execute(struct execution *execution, const struct operation *operation)
{
    struct kept *here = find(operation->key);
    struct operation removal;
    bool removes;

    if (operation->protocol == PROTOCOL_META)
        counter_add(&execution->worker->counters.cmd_meta, 1);
    if (cell_expire(&here->cell, clock_now_ms()) != 0)
        keep_marks(here, here->marks);
    if (operation->verb == VERB_STORE &&
        command_is_too_large(execution, operation, &removal, &removes)) {
        struct execution silent = *execution;

        silent.output = NULL;
        if (removes)
            decide(&silent, &removal, here);
        return;
    }
    keeper_wrote = false;
    if (command_class(operation) == REQUEST_READ)
        show_or_decide(execution, operation, here);
    else
        decide(execution, operation, here);
}

void keeper_execute(struct worker *worker, struct connection *connection,
                    struct operation *operations, unsigned count, struct output *output)
{
    struct execution execution = {worker, worker->store, connection, output};

    for (unsigned i = 0; i < count; i++) {
        struct operation *operation = &operations[i];

        if (operation->verb >= VERB_REJECT) {
            execute_batch(worker, connection, operation, 1, output);
            continue;
        }
        operation->hash = key_hash(operation->key);
        execute(&execution, operation);
    }
}
