/* Invariants:
 *   (1) A connection has a queue if and only if something is pending or held.
 *   (2) A queue without a connection, since that has closed, has something in flight.
 *   (3) A pending is in the chain of its key from pending_start() until it is answered, in the
 * order of the queue. (4) What is kept of an operation (`kept`) is there while the pending waits
 * for others of its key. (5) A queue whose head is answered is listed. */
#include "server/pending.h"
#include "server/connection_internal.h"
#include "server/item.h"
#include "server/kept_operation.h"
#include "server/store.h"
#include <stdlib.h>

#define BUCKETS 64u /* of the keys in flight of one connection */

/* A pending is 256 bytes; nearly all answers fit into the rest of them. */
#define SMALL_BYTES 160

/* Pendings that are kept for the next who needs one: a quarter of a megabyte. */
#define FREE_MAX 1024u

struct pending {
    struct request_client client;
    struct pending_queue *queue;
    struct pending *next; /* in the queue; among the free ones */
    struct pending *next_of_chain, *next_startable;
    struct kept_operation *kept;
    struct item *item;    /* with `kept`: holds the value, and has one reference */
    struct output *large; /* the answer, if it is not small */
    uint64_t hash;
    uint32_t value_bytes; /* of what is stored */
    uint8_t request_class;
    uint8_t small_bytes;
    bool is_answered : 1;
    bool has_failed : 1;
    bool is_chained : 1;
    bool is_startable : 1;
    bool is_barrier : 1;
    bool is_key : 1; /* of a text get line */
    bool is_first_key : 1;
    bool is_last_key : 1;
    unsigned char small[SMALL_BYTES];
};
static_assert(sizeof(struct pending) <= 256, "pendings are many, and short-lived");
static_assert(SMALL_BYTES <= UINT8_MAX, "small_bytes counts them");

struct pending_queue {
    struct pendings *pendings;
    struct connection *connection; /* NULL: closed */
    struct pending *head, **tail;
    unsigned count, barriers;
    uint64_t kept_bytes; /* of answers, and of values that are being stored */
    struct kept_operation *held;
    bool is_listed;
    bool has_failed; /* memory was short for an answer */
    struct pending_queue *next_listed;
    struct pending_queue *next, *previous; /* of all; next: of the free ones */
    struct pending *buckets[BUCKETS];
};

struct pendings {
    struct worker *worker;
    unsigned used; /* pendings of all connections */
    unsigned free_count;
    struct pending *free;
    struct pending_queue *queues, *free_queues;
    struct pending_queue *listed, **listed_end;
    struct pending *startable, **startable_end; /* they wait for nothing any more */
    bool is_starting;
    /* It is being started in its connection's turn, with nothing before it: may be answered
     * straight to the worker's output.  NULL: none is, or it was answered. */
    struct pending *direct;
    struct output answer; /* the one that is being written, unless it is direct */
};

/* ---- life ---- */

struct pendings *pendings_new(struct worker *worker)
{
    struct pendings *pendings = calloc(1, sizeof *pendings);

    if (pendings == NULL)
        return NULL;
    pendings->worker = worker;
    pendings->listed_end = &pendings->listed;
    pendings->startable_end = &pendings->startable;
    if (!output_init(&pendings->answer, worker->store, OUTPUT_RESERVE_BYTES_MAX)) {
        free(pendings);
        return NULL;
    }
    return pendings;
}

static uint64_t bytes_of(const struct pending *pending)
{
    return pending->small_bytes + (pending->large != NULL ? pending->large->pending_bytes : 0);
}

static void drop_large(struct pending *pending)
{
    if (pending->large == NULL)
        return;
    output_deinit(pending->large);
    free(pending->large);
    pending->large = NULL;
}

static void drop_kept(struct pending *pending, struct store *store)
{
    if (pending->item != NULL)
        item_unref(store, pending->item);
    pending->item = NULL;
    free(pending->kept);
    pending->kept = NULL;
}

/* The ones that were in flight when the worker ended. */
static void free_queue(struct pending_queue *queue)
{
    while (queue->head != NULL) {
        struct pending *pending = queue->head;
        queue->head = pending->next;
        drop_large(pending);
        drop_kept(pending, queue->pendings->worker->store);
        free(pending);
    }
    free(queue->held);
    free(queue);
}

void pendings_free(struct pendings *pendings)
{
    assert(pendings->startable == NULL);
    while (pendings->queues != NULL) {
        struct pending_queue *queue = pendings->queues;
        assert(queue->connection == NULL);
        pendings->queues = queue->next;
        free_queue(queue);
    }
    while (pendings->free_queues != NULL) {
        struct pending_queue *queue = pendings->free_queues;
        pendings->free_queues = queue->next;
        free(queue);
    }
    while (pendings->free != NULL) {
        struct pending *pending = pendings->free;
        pendings->free = pending->next;
        free(pending);
    }
    output_deinit(&pendings->answer);
    free(pendings);
}

/* ---- queues ---- */

/* A free queue is empty, so that it need not be cleared. */
static struct pending_queue *new_queue(struct pendings *pendings, struct connection *connection)
{
    struct pending_queue *queue = pendings->free_queues;

    if (queue != NULL)
        pendings->free_queues = queue->next;
    else
        queue = calloc(1, sizeof *queue);
    if (queue == NULL)
        return NULL;
    assert(queue->count == 0);
    assert(queue->kept_bytes == 0);
    queue->pendings = pendings;
    queue->connection = connection;
    queue->tail = &queue->head;
    queue->previous = NULL;
    queue->next = pendings->queues;
    if (queue->next != NULL)
        queue->next->previous = queue;
    pendings->queues = queue;
    connection->pending = queue;
    return queue;
}

static struct pending_queue *queue_of(struct connection *connection)
{
    return connection->pending != NULL ? connection->pending
                                       : new_queue(connection->worker->pendings, connection);
}

static void remove_listed(struct pending_queue *queue)
{
    struct pendings *pendings = queue->pendings;
    struct pending_queue **link = &pendings->listed;

    while (*link != queue)
        link = &(*link)->next_listed;
    *link = queue->next_listed;
    if (*link == NULL)
        pendings->listed_end = link;
    queue->is_listed = false;
}

/* Gives the queue back once it has nothing. */
static void release_if_empty(struct pending_queue *queue)
{
    struct pendings *pendings = queue->pendings;

    if (queue->head != NULL || queue->held != NULL)
        return;
    assert(queue->count == 0);
    assert(queue->barriers == 0);
    assert(queue->kept_bytes == 0);
    if (queue->is_listed)
        remove_listed(queue);
    if (queue->connection != NULL)
        queue->connection->pending = NULL;
    *(queue->previous != NULL ? &queue->previous->next : &pendings->queues) = queue->next;
    if (queue->next != NULL)
        queue->next->previous = queue->previous;
    queue->connection = NULL;
    queue->has_failed = false;
    queue->next = pendings->free_queues;
    pendings->free_queues = queue;
}

static void list(struct pending_queue *queue)
{
    if (queue->is_listed)
        return;
    queue->is_listed = true;
    queue->next_listed = NULL;
    *queue->pendings->listed_end = queue;
    queue->pendings->listed_end = &queue->next_listed;
}

/* Whether nothing more may be parsed just now. */
static void update_waiting(struct pending_queue *queue)
{
    if (queue->connection != NULL)
        queue->connection->is_waiting =
            queue->held != NULL || queue->barriers > 0 || queue->count >= PENDING_MAX ||
            queue->kept_bytes >= PENDING_BYTES_MAX ||
            (queue->count > 0 && queue->pendings->used >= PENDING_WORKER_MAX);
}

bool pendings_have_listed(const struct pendings *pendings)
{
    return pendings->listed != NULL;
}

struct connection *pendings_take_listed(struct pendings *pendings)
{
    struct pending_queue *queue = pendings->listed;

    if (queue == NULL)
        return NULL;
    assert(queue->connection != NULL); /* closing takes it off the list */
    remove_listed(queue);
    return queue->connection;
}

/* ---- the order ---- */

static struct pending *new_pending(struct pending_queue *queue, const struct operation *operation)
{
    struct pendings *pendings = queue->pendings;
    struct pending *pending = pendings->free;

    if (pending != NULL) {
        pendings->free = pending->next;
        pendings->free_count--;
    } else {
        pending = malloc(sizeof *pending);
    }
    if (pending == NULL)
        return NULL;
    pendings->used++;
    memset(pending, 0, offsetof(struct pending, small));
    pending->queue = queue;
    pending->hash = operation->hash;
    pending->is_key = operation->protocol == PROTOCOL_TEXT &&
                      (operation->verb == VERB_GET || operation->verb == VERB_SIBLINGS);
    pending->is_first_key = (operation->options & OPERATION_FIRST_KEY) != 0;
    pending->is_last_key = (operation->options & OPERATION_LAST_KEY) != 0;
    *queue->tail = pending;
    queue->tail = &pending->next;
    queue->count++;
    return pending;
}

static void free_pending(struct pending *pending)
{
    struct pendings *pendings = pending->queue->pendings;

    assert(pending->kept == NULL);
    drop_large(pending);
    pendings->used--;
    if (pendings->free_count == FREE_MAX) {
        free(pending);
        return;
    }
    pending->next = pendings->free;
    pendings->free = pending;
    pendings->free_count++;
}

struct pending *pending_add(struct connection *connection, const struct operation *operation,
                            bool is_barrier)
{
    struct pending_queue *queue = queue_of(connection);
    struct pending *pending = queue != NULL ? new_pending(queue, operation) : NULL;

    if (pending == NULL) {
        if (queue != NULL)
            release_if_empty(queue);
        return NULL;
    }
    pending->is_barrier = is_barrier;
    queue->barriers += is_barrier;
    update_waiting(queue);
    return pending;
}

/* Takes the head, which is answered, out of the queue. */
static struct pending *take_head(struct pending_queue *queue)
{
    struct pending *pending = queue->head;

    assert(pending->is_answered);
    queue->head = pending->next;
    if (queue->head == NULL)
        queue->tail = &queue->head;
    queue->count--;
    queue->barriers -= pending->is_barrier;
    queue->kept_bytes -= bytes_of(pending);
    return pending;
}

/* Later keys of a text get line are left out after one that failed. */
static bool is_left_out(const struct connection *connection, const struct pending *pending)
{
    return connection->skips_keys && pending->is_key && !pending->is_first_key;
}

static void note_failed_line(struct connection *connection, const struct pending *pending)
{
    if (!pending->is_key)
        return;
    if (pending->is_first_key)
        connection->skips_keys = false;
    connection->skips_keys =
        (connection->skips_keys || pending->has_failed) && !pending->is_last_key;
}

bool pending_has_any(const struct connection *connection)
{
    return connection->pending != NULL;
}

bool pending_is_direct(const struct connection *connection, const struct operation *operation)
{
    if (connection->pending != NULL)
        return false;
    return !connection->skips_keys || operation->protocol != PROTOCOL_TEXT ||
           (operation->options & OPERATION_FIRST_KEY) != 0;
}

/* ---- commands for one key, one after the other ---- */

static bool writes(const struct pending *pending)
{
    return pending->request_class != REQUEST_READ;
}

/* Adds it to its key's chain.  True: it has to wait for one before it. */
static bool enter_chain(struct pending *pending)
{
    struct pending **link = &pending->queue->buckets[pending->hash % BUCKETS];
    bool waits = false;

    for (; *link != NULL; link = &(*link)->next_of_chain)
        waits |= (*link)->hash == pending->hash && (writes(*link) || writes(pending));
    *link = pending;
    pending->is_chained = true;
    return waits;
}

static void make_startable(struct pending *pending)
{
    struct pendings *pendings = pending->queue->pendings;

    assert(pending->kept != NULL);
    pending->is_startable = true;
    pending->next_startable = NULL;
    *pendings->startable_end = pending;
    pendings->startable_end = &pending->next_startable;
}

/* Takes it out of its key's chain, and finds those that wait for no other. */
static void leave_chain(struct pending *pending)
{
    struct pending **chain = &pending->queue->buckets[pending->hash % BUCKETS], **link = chain;
    bool is_any_before = false, is_write_before = false;

    assert(pending->is_chained);
    while (*link != pending)
        link = &(*link)->next_of_chain;
    *link = pending->next_of_chain;
    pending->is_chained = false;
    for (struct pending *other = *chain; other != NULL; other = other->next_of_chain) {
        if (other->hash != pending->hash)
            continue;
        if (is_write_before || (is_any_before && writes(other)))
            return;
        if (other->kept != NULL && !other->is_startable)
            make_startable(other);
        is_any_before = true;
        is_write_before = writes(other);
    }
}

/* It may be answered, and be gone, when this returns. */
static void start_kept(struct pending *pending)
{
    struct worker *worker = pending->queue->pendings->worker;
    struct kept_operation *kept = pending->kept;
    struct item *item = pending->item;

    pending->is_startable = false;
    pending->kept = NULL;
    pending->item = NULL;
    requests_start(worker->requests, pending->request_class, &kept->operation, item,
                   &pending->client);
    if (item != NULL)
        item_unref(worker->store, item);
    free(kept);
}

/* Starts those that need not wait any more.  Some may be answered at once, and others begin to wait
 * for nothing by that: one loop, so that the stack does not grow with them. */
static void start_startable(struct pendings *pendings)
{
    if (pendings->is_starting)
        return;
    pendings->is_starting = true;
    while (pendings->startable != NULL) {
        struct pending *pending = pendings->startable;
        pendings->startable = pending->next_startable;
        if (pendings->startable == NULL)
            pendings->startable_end = &pendings->startable;
        start_kept(pending);
    }
    pendings->is_starting = false;
}

/* False: memory is short. */
static bool keep(struct pending *pending, const struct operation *operation, struct item *item)
{
    struct operation kept = *operation;

    if (item != NULL)
        kept.value.bytes = NULL; /* stays where it is */
    pending->kept = kept_operation_new(&kept);
    if (pending->kept == NULL)
        return false;
    if (item != NULL) {
        item_ref(item);
        pending->item = item;
        pending->kept->operation.value.bytes = operation->value.bytes;
    }
    return true;
}

static void count_value(struct pending *pending, size_t bytes)
{
    pending->value_bytes = (uint32_t)bytes;
    pending->queue->kept_bytes += bytes;
    update_waiting(pending->queue);
}

static void mark_answered(struct pending *pending)
{
    assert(!pending->is_answered);
    pending->is_answered = true;
    pending->queue->kept_bytes -= pending->value_bytes;
    pending->value_bytes = 0;
    if (pending->is_chained)
        leave_chain(pending);
}

bool pending_start(struct connection *connection, enum request_class request_class,
                   const struct operation *operation, struct item *item,
                   void (*answer)(struct request_client *, const struct request_answered *))
{
    struct pendings *pendings = connection->worker->pendings;
    struct pending *pending = pending_add(connection, operation, false);

    assert(pendings->direct == NULL);
    if (pending == NULL)
        return false;
    pending->client.answer = answer;
    pending->request_class = (uint8_t)request_class;
    if (operation->verb == VERB_STORE)
        count_value(pending, operation->value.size);
    if (enter_chain(pending)) {
        if (keep(pending, operation, item))
            return true;
        mark_answered(pending);
        return false;
    }
    if (pending->queue->head == pending && !is_left_out(connection, pending))
        pendings->direct = pending;
    requests_start(connection->worker->requests, request_class, operation, item, &pending->client);
    pendings->direct = NULL;
    return true;
}

/* ---- answers ---- */

struct pending *pending_of(struct request_client *client)
{
    static_assert(offsetof(struct pending, client) == 0, "the client is the pending");
    return (struct pending *)client;
}

struct connection *pending_connection(const struct pending *pending)
{
    return pending->queue->connection;
}

/* The client is gone. */
static void drop_answered(struct pending_queue *queue)
{
    while (queue->head != NULL && queue->head->is_answered)
        free_pending(take_head(queue));
    release_if_empty(queue);
}

struct output *pending_begin_answer(struct pending *pending)
{
    struct pending_queue *queue = pending->queue;
    struct pendings *pendings = queue->pendings;

    assert(!pending->is_answered);
    assert(pending->kept == NULL);
    if (pendings->direct == pending)
        return &pendings->worker->output;
    if (queue->connection != NULL) {
        assert(output_is_empty(&pendings->answer));
        return &pendings->answer;
    }
    mark_answered(pending);
    drop_answered(queue);
    start_startable(pendings);
    return NULL;
}

/* Moves what was written from the worker's scratch to where it waits for its turn.  False: memory
 * is short. */
static bool keep_answer(struct pending *pending, struct output *answer)
{
    if (answer->failed)
        return false;
    if (answer->value_count == 0 && answer->used <= SMALL_BYTES) {
        memcpy(pending->small, answer->buffer, answer->used);
        pending->small_bytes = (uint8_t)answer->used;
        output_clear(answer);
        return true;
    }
    pending->large = malloc(sizeof *pending->large);
    if (pending->large == NULL)
        return false;
    (void)output_init(pending->large, answer->store, 0);
    return output_move(answer, pending->large);
}

void pending_end_answer(struct pending *pending, bool has_failed)
{
    struct pending_queue *queue = pending->queue;
    struct pendings *pendings = queue->pendings;
    const bool is_direct = pendings->direct == pending;

    assert(queue->connection != NULL);
    mark_answered(pending);
    pending->has_failed = has_failed;
    if (is_direct) {
        assert(queue->head == pending);
        pendings->direct = NULL;
        note_failed_line(queue->connection, pending);
        free_pending(take_head(queue));
    } else {
        if (!keep_answer(pending, &pendings->answer)) {
            queue->has_failed = true;
            output_clear(&pendings->answer);
        }
        queue->kept_bytes += bytes_of(pending);
        if (queue->head == pending)
            list(queue);
    }
    update_waiting(queue);
    release_if_empty(queue);
    start_startable(pendings);
}

/* ---- for the connection ---- */

static bool send_head(struct pending_queue *queue, struct output *output)
{
    struct pending *pending = take_head(queue);
    const bool is_heard = !is_left_out(queue->connection, pending);
    bool is_fine = true;

    note_failed_line(queue->connection, pending);
    if (is_heard)
        output_append(output, (struct slice){pending->small, pending->small_bytes});
    if (is_heard && pending->large != NULL)
        is_fine = output_move(pending->large, output);
    free_pending(pending);
    return is_fine;
}

bool pending_take_answers(struct connection *connection, struct output *output)
{
    struct pending_queue *queue = connection->pending;
    bool is_fine = !queue->has_failed;

    while (queue->head != NULL && queue->head->is_answered)
        is_fine &= send_head(queue, output);
    update_waiting(queue);
    release_if_empty(queue);
    return is_fine;
}

bool pending_hold(struct connection *connection, const struct operation *operation)
{
    struct pending_queue *queue = connection->pending;

    assert(queue != NULL);
    assert(queue->held == NULL);
    queue->held = kept_operation_new(operation);
    update_waiting(queue);
    return queue->held != NULL;
}

struct kept_operation *pending_take_held(struct connection *connection)
{
    struct pending_queue *queue = connection->pending;

    if (queue == NULL || queue->head != NULL)
        return NULL;
    struct kept_operation *held = queue->held;
    assert(held != NULL); /* (1) */
    queue->held = NULL;
    update_waiting(queue);
    release_if_empty(queue);
    return held;
}

void pending_abandon(struct connection *connection)
{
    struct pending_queue *queue = connection->pending;

    if (queue == NULL)
        return;
    connection->pending = NULL;
    queue->connection = NULL;
    free(queue->held);
    queue->held = NULL;
    if (queue->is_listed)
        remove_listed(queue);
    drop_answered(queue);
}
