/* The answers of what is no read, and what the plain handlers count and log of each command. */
#include "server/command_internal.h"
#include "server/execution.h"
#include "server/prefix_stats.h"
#include "server/settings.h"
#include "server/watch.h"
#include <assert.h>
#include <stdio.h>

static bool counts_prefixes(void)
{
    return atomic_load_explicit(&settings.detail_enabled, memory_order_relaxed);
}

void command_count_get(struct execution *execution, const struct operation *operation,
                       const struct outcome *outcome)
{
    struct counters *counters = &execution->worker->counters;
    const bool is_hit = outcome->status == OUTCOME_OK;

    if ((operation->options & OPERATION_SET_EXPTIME) != 0) {
        counter_add(&counters->cmd_touch, 1);
        counter_add(is_hit ? &counters->touch_hits : &counters->touch_misses, 1);
    } else {
        counter_add(&counters->cmd_get, 1);
        counter_add(is_hit ? &counters->get_hits : &counters->get_misses, 1);
    }
    if (counts_prefixes())
        prefix_stats_count_get(operation->key, is_hit);
    if (watch_wants(WATCH_FETCHERS))
        watch_item_get(execution->connection, operation->key, is_hit, outcome->value.size);
}

/* For the log of fetches: a command other than get looked for its key. */
static void watch_lookup(struct execution *execution, const struct operation *operation,
                         const struct outcome *outcome)
{
    if (watch_wants(WATCH_FETCHERS))
        watch_item_get(execution->connection, operation->key, outcome->was_hit_before,
                       outcome->item_bytes);
}

static void count_cas(struct counters *counters, const struct outcome *outcome)
{
    if (outcome->status == OUTCOME_OK)
        counter_add(&counters->cas_hits, 1);
    else if (outcome->status == OUTCOME_NOT_FOUND)
        counter_add(&counters->cas_misses, 1);
    else
        counter_add(&counters->cas_badval, 1);
}

static void note_store(struct execution *execution, const struct operation *operation,
                       const struct outcome *outcome)
{
    struct counters *counters = &execution->worker->counters;
    const bool has_context = (operation->options & OPERATION_CONTEXT) != 0;

    if (counts_prefixes())
        prefix_stats_count_set(operation->key);
    if (outcome->status == OUTCOME_BAD_CONTEXT)
        return;
    counter_add(&counters->cmd_set, 1);
    if (outcome->status == OUTCOME_NO_MEMORY)
        counter_add(&counters->store_no_memory, 1);
    else if (!has_context && execution_is_cas(operation))
        count_cas(counters, outcome);
    if (!has_context)
        watch_lookup(execution, operation, outcome);
    if (watch_wants(WATCH_MUTATIONS))
        watch_item_store(execution->connection, operation, (enum outcome_status)outcome->status);
}

/* The delete that goes with a store that was too large: no client has asked for it. */
static bool is_removal(const struct operation *operation)
{
    return operation->protocol == PROTOCOL_TEXT && (operation->options & OPERATION_QUIET) != 0;
}

static void note_delete(struct execution *execution, const struct operation *operation,
                        const struct outcome *outcome)
{
    struct counters *counters = &execution->worker->counters;
    const uint32_t marks = OPERATION_DROP_VALUE | OPERATION_INVALIDATE;
    const bool has_context = (operation->options & OPERATION_CONTEXT) != 0;
    bool is_done = outcome->status == OUTCOME_OK;

    if (is_removal(operation))
        return;
    if (counts_prefixes())
        prefix_stats_count_delete(operation->key);
    if (outcome->status == OUTCOME_BAD_CONTEXT)
        return;
    if (has_context)
        is_done = outcome->was_hit_before;
    else
        watch_lookup(execution, operation, outcome);
    if (!is_done)
        counter_add(&counters->delete_misses, 1);
    else if (has_context || (operation->options & OPERATION_INVALIDATE) == 0)
        counter_add(&counters->delete_hits, 1);
    if (is_done && !has_context && (operation->options & marks) == 0 &&
        watch_wants(WATCH_DELETIONS))
        watch_item_deleted(execution->connection, operation, outcome->item_bytes);
}

static void note_arithmetic(struct execution *execution, const struct operation *operation,
                            const struct outcome *outcome)
{
    struct counters *counters = &execution->worker->counters;
    const bool adds = operation->mode == ARITHMETIC_ADD, is_created = outcome->won;

    watch_lookup(execution, operation, outcome);
    if (outcome->status == OUTCOME_OK && !is_created)
        counter_add(adds ? &counters->incr_hits : &counters->decr_hits, 1);
    else if (outcome->status == OUTCOME_NOT_FOUND)
        counter_add(adds ? &counters->incr_misses : &counters->decr_misses, 1);
}

static void note_touch(struct execution *execution, const struct operation *operation,
                       const struct outcome *outcome)
{
    struct counters *counters = &execution->worker->counters;

    counter_add(&counters->cmd_touch, 1);
    counter_add(outcome->status == OUTCOME_OK ? &counters->touch_hits : &counters->touch_misses, 1);
    watch_lookup(execution, operation, outcome);
}

void command_answer(struct execution *execution, const struct operation *operation,
                    const struct outcome *outcome)
{
    switch ((enum verb)operation->verb) {
    case VERB_GET: command_count_get(execution, operation, outcome); break;
    case VERB_STORE: note_store(execution, operation, outcome); break;
    case VERB_DELETE: note_delete(execution, operation, outcome); break;
    case VERB_ARITHMETIC: note_arithmetic(execution, operation, outcome); break;
    case VERB_TOUCH: note_touch(execution, operation, outcome); break;
    default: assert(operation->verb <= VERB_TOUCH); /* a READ */
    }
    execution_answer_long(execution, operation, outcome);
}

/* The line without its numbers; those follow if there are any. */
static const char *failure_text(enum request_answer answer)
{
    switch (answer) {
    case ANSWER_DONE: break;
    case ANSWER_READ_FAILED: return "SERVER_ERROR read quorum not met";
    case ANSWER_WRITE_FAILED: return "SERVER_ERROR write quorum not met";
    case ANSWER_REFUSED: return "SERVER_ERROR refused: no memory, or no coordinator";
    case ANSWER_UNKNOWN: return "SERVER_ERROR outcome unknown";
    }
    assert(answer != ANSWER_DONE);
    return "";
}

void command_answer_failure(struct execution *execution, const struct operation *operation,
                            enum request_answer answer, unsigned got, unsigned needed)
{
    const char *text = failure_text(answer);
    char line[96];
    int bytes;

    if (answer == ANSWER_READ_FAILED || answer == ANSWER_WRITE_FAILED)
        bytes = snprintf(line, sizeof line, "%s: %u of %u", text, got, needed);
    else
        bytes = snprintf(line, sizeof line, "%s", text);
    execution_answer_error(execution, operation, COMMAND_BINARY_FAILURE,
                           (struct slice){(const unsigned char *)line, (size_t)bytes});
}

bool command_is_too_large(struct execution *execution, const struct operation *operation,
                          struct operation *removal, bool *removes)
{
    const bool is_plain_set = operation->mode == STORE_SET && !execution_is_cas(operation);

    assert(operation->verb == VERB_STORE);
    *removes = false;
    if (execution_value_fits(operation, operation->client_flags, operation->value.size))
        return false;
    if (counts_prefixes())
        prefix_stats_count_set(operation->key);
    counter_add(&execution->worker->counters.store_too_large, 1);
    if (watch_wants(WATCH_MUTATIONS))
        watch_item_store(execution->connection, operation, OUTCOME_TOO_LARGE);
    if ((operation->options & OPERATION_CONTEXT) == 0 &&
        (operation->protocol == PROTOCOL_META || is_plain_set)) {
        *removes = true;
        *removal = (struct operation){
            .verb = VERB_DELETE,
            .protocol = PROTOCOL_TEXT,
            .options = OPERATION_NOREPLY | OPERATION_QUIET,
            .key = operation->key,
            .hash = operation->hash,
        };
    }
    execution_answer_status(execution, operation, OUTCOME_TOO_LARGE);
    return true;
}
