#include "server/execute_cluster.h"
#include "server/clock.h"
#include "server/cluster.h"
#include "server/command.h"
#include "server/connection.h"
#include "server/execute_operator.h"
#include "server/execution.h"
#include "server/item.h"
#include "server/kept_operation.h"
#include "server/log.h"
#include "server/node.h"
#include "server/pending.h"
#include "server/settings.h"
#include <stdlib.h>

#define BINARY_INTERNAL_ERROR 0x84

static bool has_key(const struct operation *operation)
{
    return operation->verb < VERB_REJECT;
}

static void give_up(struct execution *execution)
{
    log_warning("out of memory for a command: closing connection %d",
                connection_fd(execution->connection));
    connection_close_in_error(execution->connection);
}

/* ---- what is answered at once ---- */

/* Has `here` write where the answer belongs: to the worker's output, or behind those that are due
 * before it.  False: memory is short. */
static bool begin_answer(struct execution *here, const struct operation *operation,
                         struct pending **pending)
{
    *pending = NULL;
    if (pending_is_direct(here->connection, operation))
        return true;
    *pending = pending_add(here->connection, operation, false);
    if (*pending == NULL) {
        give_up(here);
        return false;
    }
    here->output = pending_begin_answer(*pending);
    return true;
}

static void end_answer(struct pending *pending)
{
    if (pending != NULL)
        pending_end_answer(pending, false);
}

static void answer_now(struct execution *execution, struct operation *operation,
                       execute_handler *handler)
{
    struct execution here = *execution;
    struct pending *pending;

    if (begin_answer(&here, operation, &pending)) {
        handler(&here, operation);
        end_answer(pending);
    }
}

/* ---- what has a key ---- */

static bool lacked_memory(const struct request_answered *answered)
{
    return answered->answer == ANSWER_REFUSED && answered->outcome != NULL &&
           answered->outcome->status == OUTCOME_NO_MEMORY;
}

static void answer(struct request_client *client, const struct request_answered *answered)
{
    struct pending *pending = pending_of(client);
    struct output *output = pending_begin_answer(pending);

    if (output == NULL)
        return;
    struct connection *connection = pending_connection(pending);
    struct worker *worker = connection_worker(connection);
    struct execution execution = {worker, worker->store, connection, output};
    const bool is_done = answered->answer == ANSWER_DONE;

    if (lacked_memory(answered)) {
        command_answer(&execution, answered->operation, answered->outcome);
    } else if (!is_done) {
        command_answer_failure(&execution, answered->operation, answered->answer, answered->got,
                               answered->needed);
    } else if (answered->cell == NULL) {
        command_answer(&execution, answered->operation, answered->outcome);
    } else if (!command_show(&execution, answered->operation, answered->cell, answered->marks,
                             answered->item)) {
        requests_start(worker->requests, REQUEST_DECIDED, answered->operation, NULL, client);
        return;
    }
    pending_end_answer(pending, !is_done);
}

static void ask(struct execution *execution, const struct operation *operation, struct item *item)
{
    if (!pending_start(execution->connection, command_class(operation), operation, item, answer))
        give_up(execution);
}

static bool value_fits(const struct operation *operation)
{
    return execution_value_fits(operation, operation->client_flags, operation->value.size);
}

static void refuse_too_large(struct execution *execution, const struct operation *operation)
{
    struct execution here = *execution;
    struct operation removal;
    struct pending *pending;
    bool removes = false;

    if (!begin_answer(&here, operation, &pending))
        return;
    const bool is_too_large = command_is_too_large(&here, operation, &removal, &removes);
    assert(is_too_large);
    end_answer(pending);
    if (removes)
        ask(execution, &removal, NULL);
}

/* A get that this node may answer from its store alone, which has a plain value for it. */
static bool get_here(struct execution *execution, struct operation *operation)
{
    return operation->verb == VERB_GET && pending_is_direct(execution->connection, operation) &&
           requests_owner_may_answer(execution->worker->requests, operation) &&
           execute_get_plainly(execution, operation);
}

/* ---- flush_all ---- */

struct flushing {
    struct node_flush_job flush;
    struct pending *pending;
    struct kept_operation *kept;
};

static void on_flushed(struct cluster_job *job)
{
    static_assert(offsetof(struct flushing, flush.job) == 0, "the job is the flush");
    struct flushing *flush = (struct flushing *)job;
    const struct operation *operation = &flush->kept->operation;
    struct output *output = pending_begin_answer(flush->pending);

    if (output != NULL) {
        struct connection *connection = pending_connection(flush->pending);
        struct worker *worker = connection_worker(connection);
        struct execution execution = {worker, worker->store, connection, output};
        if (flush->flush.is_done)
            execution_answer_status(&execution, operation, OUTCOME_OK);
        else
            execution_answer_line(&execution, operation, BINARY_INTERNAL_ERROR,
                                  SLICE("SERVER_ERROR not all nodes have flushed yet"));
        pending_end_answer(flush->pending, false);
    }
    free(flush->kept);
    free(flush);
}

static struct flushing *flush_new(const struct operation *operation)
{
    const uint64_t now_ms = clock_now_ms();
    struct flushing *flush = calloc(1, sizeof *flush);

    if (flush == NULL)
        return NULL;
    flush->kept = kept_operation_new(operation);
    if (flush->kept == NULL) {
        free(flush);
        return NULL;
    }
    if (operation->exptime > 0)
        flush->flush.at_ms = clock_expiry_ms(operation->exptime, now_ms);
    if (flush->flush.at_ms <= now_ms)
        flush->flush.at_ms = 0;
    flush->flush.job.run = node_flush_run;
    flush->flush.job.done = on_flushed;
    return flush;
}

/* Nothing more is read of the connection before all nodes have flushed: what comes after it must
 * not be flushed, too. */
static void flush_all(struct execution *execution, struct operation *operation)
{
    struct flushing *flush;

    if (!settings.allows_flush) {
        execute_flush_all(execution, operation);
        return;
    }
    counter_add(&execution->worker->counters.cmd_flush, 1);
    flush = flush_new(operation);
    if (flush != NULL)
        flush->pending = pending_add(execution->connection, operation, true);
    if (flush == NULL || flush->pending == NULL) {
        if (flush != NULL)
            free(flush->kept);
        free(flush);
        give_up(execution);
        return;
    }
    flush->flush.job.worker = execution->worker->number;
    cluster_ask(cluster_get(), &flush->flush.job);
}

/* ---- batches ---- */

/* Whether it has to wait until all before it is answered. */
static bool ends_batch(const struct operation *operation)
{
    return operation->verb >= VERB_BARRIER || operation->closes;
}

static void execute_one(struct execution *execution, struct operation *operation)
{
    if (has_key(operation)) {
        if (operation->verb == VERB_STORE && !value_fits(operation))
            refuse_too_large(execution, operation);
        else if (!(execute_may_be_discovery(operation) &&
                   execute_operator_discovery(execution, operation)) &&
                 !get_here(execution, operation))
            ask(execution, operation, NULL);
    } else if (!ends_batch(operation)) {
        answer_now(execution, operation, execute_operation);
    } else if (operation->verb == VERB_FLUSH_ALL) {
        flush_all(execution, operation);
    } else {
        execute_operation(execution, operation);
    }
}

void execute_cluster_batch(struct execution *execution, struct operation *operations,
                           unsigned count)
{
    bool needs_login = execute_needs_login(execution);

    for (unsigned i = 0; i < count; i++) {
        struct operation *operation = &operations[i];
        if (operation->protocol == PROTOCOL_META && has_key(operation))
            counter_add(&execution->worker->counters.cmd_meta, 1);
        /* Who has yet to log in has nothing pending. */
        if (needs_login && !execute_login_gate(execution, operation)) {
            needs_login = execute_needs_login(execution);
            continue;
        }
        if (ends_batch(operation) && pending_has_any(execution->connection)) {
            assert(i + 1 == count);
            if (!pending_hold(execution->connection, operation))
                give_up(execution);
            return;
        }
        execute_one(execution, operation);
        if (operation->closes)
            connection_close_after_output(execution->connection);
    }
}

/* ---- values that come piece by piece ---- */

static void answer_no_memory(struct execution *execution, struct operation *operation)
{
    counter_add(&execution->worker->counters.store_no_memory, 1);
    execution_answer_status(execution, operation, OUTCOME_NO_MEMORY);
}

struct item *execute_cluster_store_begin(struct execution *execution, struct operation *operation)
{
    const struct item_spec spec = {.key = operation->key, .value_bytes = operation->value.size};
    struct item *item;

    if (!value_fits(operation)) {
        refuse_too_large(execution, operation);
        return NULL;
    }
    item = item_new(execution->store, &spec, execution->worker->now_ms);
    if (item == NULL)
        answer_now(execution, operation, answer_no_memory);
    return item;
}

void execute_cluster_store_finish(struct execution *execution, struct operation *operation,
                                  struct item *item, bool ends_well)
{
    if (!ends_well) {
        answer_now(execution, operation, execute_reject_data);
    } else {
        operation->value = item_value_slice(item);
        ask(execution, operation, (item->bits & ITEM_LONG) != 0 ? item : NULL);
    }
    item_discard(execution->store, item);
}
