#include "server/execute.h"
#include "ring/key_hash.h"
#include "server/connection.h"
#include "server/execute_cluster.h"
#include "server/execution.h"
#include "server/flush.h"
#include "server/hot_keys.h"
#include <assert.h>

static void execute_reject(struct execution *execution, struct operation *operation)
{
    execution_answer_status(execution, operation, OUTCOME_OK);
    if (operation->verb == VERB_CLOSE)
        connection_close_in_error(execution->connection);
}

static void execute_plainly(struct execution *execution, struct operation *operation)
{
    execution_answer_status(execution, operation, OUTCOME_OK);
}

static void execute_quit(struct execution *execution, struct operation *operation)
{
    execution_answer_status(execution, operation, OUTCOME_OK);
    connection_close_after_output(execution->connection);
}

static execute_handler *const handlers[VERB_COUNT] = {
    [VERB_GET] = execute_get,
    [VERB_INSPECT] = execute_inspect,
    [VERB_STORE] = execute_store,
    [VERB_DELETE] = execute_delete,
    [VERB_ARITHMETIC] = execute_arithmetic,
    [VERB_TOUCH] = execute_touch,
    [VERB_SIBLINGS] = execute_siblings,
    [VERB_REJECT] = execute_reject,
    [VERB_NOOP] = execute_plainly,
    [VERB_VERSION] = execute_version,
    [VERB_QUIT] = execute_quit,
    [VERB_CLOSE] = execute_reject,
    [VERB_FLUSH_ALL] = execute_flush_all,
    [VERB_VERBOSITY] = execute_verbosity,
    [VERB_SHUTDOWN] = execute_shutdown,
    [VERB_STATS] = execute_stats,
    [VERB_CACHE_MEMLIMIT] = execute_cache_memlimit,
    [VERB_WATCH] = execute_watch,
    [VERB_LRU_CRAWLER] = execute_lru_crawler,
    [VERB_LRU] = execute_lru,
    [VERB_SLABS] = execute_slabs,
    [VERB_EXTSTORE] = execute_extstore,
    [VERB_REFRESH_CERTS] = execute_refresh_certs,
    [VERB_CONFIG] = execute_config,
    [VERB_CLUSTER] = execute_cluster,
    [VERB_DEBUG] = execute_debug,
    [VERB_SASL_LIST] = execute_sasl_list,
    [VERB_SASL_AUTH] = execute_sasl_auth,
    [VERB_SASL_STEP] = execute_sasl_step,
};

void execute_operation(struct execution *execution, struct operation *operation)
{
    assert(operation->verb < VERB_COUNT);
    handlers[operation->verb](execution, operation);
}

static bool has_key(const struct operation *operation)
{
    return operation->verb < VERB_REJECT;
}

/* Three passes, so that the memory a look-up needs is on its way while the others are looked at
 * (DESIGN, section 6: half of the gain over memcached under pipelining). */
static void hash_and_prefetch(struct store *store, struct operation *operations, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (!has_key(&operations[i]))
            continue;
        operations[i].hash = key_hash(operations[i].key);
        if (count > 1)
            store_prefetch_index(store, operations[i].hash);
    }
    if (count == 1)
        return;
    for (unsigned i = 0; i < count; i++) {
        if (has_key(&operations[i]))
            store_prefetch_item(store, operations[i].hash);
    }
}

void execution_sample_keys(struct worker *worker, const struct operation *operations,
                           unsigned count)
{
    worker->until_sample -= (int)count;
    while (worker->until_sample <= 0) {
        const int sampled = (int)count - 1 + worker->until_sample;

        assert(sampled >= 0);
        if (has_key(&operations[sampled]))
            hot_keys_count(worker->hot_keys, operations[sampled].hash, operations[sampled].key);
        worker->until_sample += hot_keys_next_distance(worker->hot_keys);
    }
}

void execute_batch(struct worker *worker, struct connection *connection,
                   struct operation *operations, unsigned count, struct output *output)
{
    struct execution execution = { worker, worker->store, connection, output };
    bool needs_login;

    flush_check(worker->store, worker->now_ms);
    hash_and_prefetch(worker->store, operations, count);
    execution_sample_keys(worker, operations, count);
    if (worker->requests != NULL) {
        execute_cluster_batch(&execution, operations, count);
        return;
    }
    needs_login = execute_needs_login(&execution);
    for (unsigned i = 0; i < count; i++) {
        if (operations[i].protocol == PROTOCOL_META && has_key(&operations[i]))
            counter_add(&worker->counters.cmd_meta, 1);
        if (needs_login && !execute_login_gate(&execution, &operations[i])) {
            needs_login = execute_needs_login(&execution);
            continue;
        }
        execute_operation(&execution, &operations[i]);
        if (operations[i].closes) {
            connection_close_after_output(connection);
            return;
        }
    }
}
