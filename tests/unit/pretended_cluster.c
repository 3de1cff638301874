#include "tests/unit/pretended_cluster.h"
#include "server/clock.h"
#include "server/cluster.h"
#include "server/command.h"
#include "server/execution.h"
#include "server/item.h"
#include "server/kept_operation.h"
#include "server/node.h"
#include "server/operator.h"
#include "server/pending.h"
#include "server/settings.h"
#include "server/worker.h"
#include "tests/unit/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* after those */
#include <cmocka.h>

struct flight {
    struct request_client *client;
    struct kept_operation *kept;
    enum request_class request_class;
    struct item *item;
};

#define FLIGHTS_MAX (PENDING_WORKER_MAX + 8192)
#define MODEL_KEYS  512

struct requests {
    struct worker *worker;
    struct flight flights[FLIGHTS_MAX];
    unsigned count;
};

struct store *pretended_store;
static struct requests requests;
static struct random randomness;   /* of the worker's thread */
_Atomic unsigned percent_at_once;  /* answered before requests_start() returns */
_Atomic unsigned percent_per_turn; /* of those in flight */
_Atomic unsigned in_flight, in_flight_max, started;
static struct cluster_job *flush_job;

static struct {
    char key[64];
    struct slice value;
} model[MODEL_KEYS];

static struct slice *model_value(struct slice key)
{
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        if (model[i].key[0] == '\0')
            snprintf(model[i].key, sizeof model[i].key, "%.*s", (int)key.size, key.bytes);
        if (strlen(model[i].key) == key.size && memcmp(model[i].key, key.bytes, key.size) == 0)
            return &model[i].value;
    }
    fail_msg("too many keys");
    return NULL;
}

void pretended_clear(void)
{
    for (unsigned i = 0; i < MODEL_KEYS; i++)
        free((void *)(uintptr_t)model[i].value.bytes);
    memset(model, 0, sizeof model);
}

static void model_store(const struct operation *operation, struct slice value)
{
    struct slice *held = model_value(operation->key);
    unsigned char *copy = malloc(value.size + 1);

    assert_non_null(copy);
    if (value.size > 0)
        memcpy(copy, value.bytes, value.size);
    free((void *)(uintptr_t)held->bytes);
    *held = (struct slice){copy, value.size};
}

static uint64_t model_count(const struct operation *operation)
{
    struct slice held = *model_value(operation->key);
    uint64_t number = 0;
    char text[32];

    for (size_t i = 0; i < held.size; i++)
        number = number * 10 + (held.bytes[i] - '0');
    number += operation->delta;
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    model_store(operation, (struct slice){(const unsigned char *)text, strlen(text)});
    return number;
}

static bool fails(const struct operation *operation)
{
    return operation->key.bytes[0] == 'f';
}

static void be_answered(struct flight *flight)
{
    static const struct cell *some_cell = (const struct cell *)"";
    const struct operation *operation = &flight->kept->operation;
    struct outcome outcome = {.status = OUTCOME_OK};
    struct request_answered answered = {.answer = ANSWER_DONE, .operation = operation};

    if (fails(operation))
        answered.answer = ANSWER_READ_FAILED;
    else if (flight->request_class == REQUEST_READ)
        answered.cell = some_cell;
    else if (operation->verb == VERB_ARITHMETIC)
        outcome.number = model_count(operation);
    else if (operation->verb == VERB_STORE)
        model_store(operation,
                    flight->item != NULL ? item_value_slice(flight->item) : operation->value);
    answered.outcome = &outcome;
    flight->client->answer(flight->client, &answered);
    if (flight->item != NULL)
        item_unref(requests.worker->store, flight->item);
    free(flight->kept);
}

struct cluster *cluster_get(void)
{
    static char dummy;

    return (struct cluster *)(void *)&dummy;
}

struct requests *requests_new(struct worker *worker, struct cluster *cluster)
{
    (void)cluster;
    requests.worker = worker;
    requests.count = 0;
    return &requests;
}

void requests_free(struct requests *all)
{
    for (unsigned i = 0; i < all->count; i++) {
        if (all->flights[i].item != NULL)
            item_unref(all->worker->store, all->flights[i].item);
        free(all->flights[i].kept);
    }
    all->count = 0;
}

void requests_begin_turn(struct requests *all)
{
    for (unsigned tries = all->count; tries > 0 && all->count > 0; tries--) {
        if (!random_chance(&randomness, percent_per_turn))
            continue;
        unsigned chosen = random_below(&randomness, all->count);
        struct flight flight = all->flights[chosen];
        all->flights[chosen] = all->flights[--all->count];
        be_answered(&flight);
    }
    in_flight = all->count;
}

void requests_end_turn(struct requests *all)
{
    if (all->count > 0 && percent_per_turn > 0)
        worker_wake(all->worker);
}

void requests_start(struct requests *all, enum request_class request_class,
                    const struct operation *operation, struct item *item,
                    struct request_client *client)
{
    struct operation copy = *operation;
    struct flight flight = {client, NULL, request_class, item};

    started++;
    if (item != NULL) {
        item_ref(item);
        copy.value.bytes = NULL;
    }
    flight.kept = kept_operation_new(&copy);
    assert(flight.kept != NULL);
    if (random_chance(&randomness, percent_at_once)) {
        be_answered(&flight);
        return;
    }
    assert(all->count < FLIGHTS_MAX);
    all->flights[all->count++] = flight;
    in_flight = all->count;
    if (in_flight > in_flight_max)
        in_flight_max = in_flight;
}

bool requests_owner_may_answer(struct requests *all, const struct operation *operation)
{
    (void)all;
    return operation->key.bytes[0] == 'o';
}

const struct siphash_key *cluster_context_key(const struct cluster *cluster)
{
    (void)cluster;
    return NULL;
}

struct hint_queue *cluster_hints(struct cluster *cluster)
{
    (void)cluster;
    return NULL;
}

void cluster_ask(struct cluster *cluster, struct cluster_job *job)
{
    (void)cluster;
    assert(flush_job == NULL);
    flush_job = job;
    worker_wake(requests.worker);
}

void cluster_run_done_jobs(struct cluster *cluster, unsigned worker)
{
    struct cluster_job *job = flush_job;

    (void)cluster, (void)worker;
    if (job == NULL || !random_chance(&randomness, percent_per_turn))
        return;
    flush_job = NULL;
    ((struct node_flush_job *)(void *)job)->is_done = true;
    pretended_clear();
    job->done(job);
}

void node_flush_run(struct node *node, struct cluster_job *job)
{
    (void)node, (void)job;
}

void operator_run(struct node *node, struct cluster_job *job)
{
    (void)node, (void)job;
}

/* ---- what commands mean is not tested here ---- */

bool command_show(struct execution *execution, const struct operation *operation,
                  const struct cell *cell, const struct command_marks *marks, struct item *item)
{
    struct slice value = *model_value(operation->key);
    struct outcome outcome = {
        .status = value.bytes != NULL ? OUTCOME_OK : OUTCOME_NOT_FOUND,
        .value = value,
    };

    (void)cell, (void)marks, (void)item;
    if (value.size < ITEM_LONG_VALUE_BYTES || random_chance(&randomness, 50)) {
        execution_answer_long(execution, operation, &outcome);
        return true;
    }
    struct item_spec spec = {.key = operation->key, .value_bytes = value.size};
    struct item *held = item_new(pretended_store, &spec, 0);
    assert(held != NULL);
    memcpy(item_value(held), value.bytes, value.size);
    outcome.value = item_value_slice(held);
    execution_answer_item(execution, operation, &outcome, held);
    item_discard(pretended_store, held);
    return true;
}

void command_answer(struct execution *execution, const struct operation *operation,
                    const struct outcome *outcome)
{
    execution_answer(execution, operation, outcome);
}

void command_answer_failure(struct execution *execution, const struct operation *operation,
                            enum request_answer answer, unsigned got, unsigned needed)
{
    (void)answer, (void)got, (void)needed;
    execution_answer_line(execution, operation, 0x86, SLICE("SERVER_ERROR failed"));
}

bool command_is_too_large(struct execution *execution, const struct operation *operation,
                          struct operation *removal, bool *removes)
{
    if (execution_value_fits(operation, 0, operation->value.size))
        return false;
    *removal = (struct operation){.verb = VERB_STORE, .options = OPERATION_NOREPLY};
    removal->key = operation->key;
    removal->hash = operation->hash;
    *removes = true;
    execution_answer_status(execution, operation, OUTCOME_TOO_LARGE);
    return true;
}

/* ---- set up ---- */

int pretended_set_up(void **state)
{
    (void)state;
    settings_init(&settings);
    settings.read_quorum = 2;
    clock_init();
    struct store_options options = {
        .limit_bytes = atomic_load(&settings.limit_bytes),
        .item_bytes_max = settings.item_bytes_max,
        .threads = 1,
        .evicts = true,
    };
    pretended_store = store_new(&options);
    assert_non_null(pretended_store);
    randomness.state = 1;
    percent_at_once = 0;
    percent_per_turn = 30;
    in_flight = in_flight_max = started = 0;
    flush_job = NULL;
    return 0;
}

int pretended_tear_down(void **state)
{
    (void)state;
    workers_stop();
    pretended_clear();
    store_free(pretended_store);
    settings_deinit(&settings);
    return 0;
}
