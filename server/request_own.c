/* What requests do with this node's own cells. */
#include "server/cell_item.h"
#include "server/hint_queue.h"
#include "server/memory.h"
#include "server/request_internal.h"
#include "server/stripe.h"
#include "server/worker.h"
#include <assert.h>

/* ---- who has the key ---- */

bool own_is_owner(const struct requests *requests, uint64_t hash, unsigned copies)
{
    const struct cluster_view *view = requests->view;

    return ring_table_is_owner(view->table, ring_table_partition(view->table, hash), copies,
                               view->self);
}

struct replica_now own_now(const struct requests *requests, uint64_t hash, unsigned copies)
{
    const struct cluster_view *view = requests->view;
    const unsigned partition = ring_table_partition(view->table, hash);

    return (struct replica_now){
        .wall_ms = requests_now_ms(requests),
        .drift_max_ms = settings.clock_drift_max_ms,
        .flushed_up_to = view->flushed_up_to,
        .is_owner = own_is_owner(requests, hash, copies),
        .is_warming =
            view->warming != NULL && (view->warming[partition / 64] >> partition % 64 & 1) != 0,
        .has_room = cell_store_has_room(requests->store),
        .has_hint_room = false, /* who stores with a hint reserves it */
    };
}

bool own_admits(struct requests *requests, uint64_t hash, const struct cell *cell)
{
    struct replica_now now = {.wall_ms = requests_now_ms(requests),
                              .drift_max_ms = settings.clock_drift_max_ms};
    struct stripe *stripe = store_lock(requests->store, hash);
    bool is_admitted;

    now.clock = &stripe->clock;
    is_admitted = replica_admit(cell, &now);
    store_unlock(stripe);
    if (!is_admitted)
        REQUEST_COUNT(requests, refused_clock);
    return is_admitted;
}

void own_note_dots(struct requests *requests, const struct cell *cell)
{
    const unsigned worker = requests->worker->number;

    for (unsigned i = 0; i < cell->sibling_count; i++)
        cluster_note_dot(requests->cluster, worker, cell->siblings[i].dot);
    for (unsigned i = 0; i < cell->context.count; i++) {
        const struct interval *seen = &cell->context.intervals[i];
        if (seen->node != NODE_ANY && hlc_is_valid(seen->last))
            cluster_note_dot(requests->cluster, worker, (struct dot){seen->node, seen->last});
    }
}

/* ---- reading ---- */

/* The latest flush in effect. */
static hlc_time flushed_up_to(const struct requests *requests, const struct stripe *stripe)
{
    const hlc_time flushed = requests->view->flushed_up_to;

    return flushed > stripe->flushed ? flushed : stripe->flushed;
}

/* Locks the stripe of a key and reads its cell into scratch with room for `more` siblings besides.
 * NULL, and nothing is locked: memory is short. */
static struct stripe *lock_and_read(struct requests *requests, const struct operation *operation,
                                    unsigned more, struct cell *own)
{
    for (;;) {
        struct stripe *stripe = store_lock(requests->store, operation->hash);
        const unsigned needed = cell_store_read(stripe, operation->hash, operation->key,
                                                requests_now_ms(requests), own);
        if (needed + more <= own->sibling_room) {
            cell_flush(own, flushed_up_to(requests, stripe));
            return stripe;
        }
        store_unlock(stripe);
        if (!requests_reserve(own, needed + more))
            return NULL;
    }
}

/* Keeps the values of a cell that was read from the item (NULL: it has none) as long as the request
 * lives: a long item is referred to, small values are copied.  Where memory is short a value counts
 * as not held.  Lock held. */
static void keep_values(struct request *request, struct item *item, struct cell *cell)
{
    if (item != NULL && (item->bits & ITEM_LONG) != 0 && request->own_item == NULL) {
        item_ref(item);
        request->own_item = item;
        return;
    }
    if (item != NULL && (item->bits & ITEM_LONG) != 0 &&
        (request->own_item == item || request_hold(request, item)))
        return;
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        struct slice value = cell_item_value(&cell->siblings[i]);
        if (cell->siblings[i].kind != SIBLING_VALUE)
            continue;
        if (request_keep(request, &value))
            cell->siblings[i].value = (uint64_t)(uintptr_t)value.bytes;
        else
            cell_evict_sibling(cell, &cell->siblings[i]);
    }
}

/* A look at the key for the client: its marks as they were, and one use more. */
static void note_use(struct request *request, struct stripe *stripe, struct item *item)
{
    const struct operation *operation = &request->operation;
    const uint64_t now_ms = requests_now_ms(request->owner);

    if (request->coordinator.class != REQUEST_READ)
        return;
    command_marks_read(stripe, operation->hash, operation->key, now_ms, &request->marks);
    if (item != NULL && (operation->options & OPERATION_KEEP_COLD) == 0)
        stripe_use(stripe, item, now_ms);
}

void own_read(struct request *request)
{
    struct requests *requests = request->owner;
    const struct operation *operation = &request->operation;
    struct cell *cell = &request->cell, *own = &requests->own;
    struct stripe *stripe = lock_and_read(requests, operation, 0, own);
    struct item *item;

    if (stripe == NULL)
        return;
    item = stripe_find(stripe, operation->hash, operation->key, requests_now_ms(requests));
    note_use(request, stripe, item);
    if (request_reserve(request, cell->sibling_count + own->sibling_count)) {
        keep_values(request, item, own);
        if (cell->sibling_count == 0 && cell->context.count == 0)
            cell_copy(cell, own);
        else
            cell_merge(cell, own);
    }
    store_unlock(stripe);
}

/* ---- writing ---- */

/* A change of the own cell that is under way: the lock may be let go and taken again. */
struct change {
    struct cell_write write;
    node_id hint_for;    /* NODE_NONE: none is needed */
    uint64_t hint_bytes; /* reserved for it */
};

/* False: there is no room for the hint. */
static bool change_init(struct request *request, struct change *change, node_id hint_for,
                        uint64_t value_bytes)
{
    struct requests *requests = request->owner;
    const unsigned copies = policy_copies(request->policy);
    const bool is_owner = own_is_owner(requests, request->operation.hash, copies);

    *change = (struct change){.write = {.copies = copies, .is_owner = is_owner}};
    if (hint_for == NODE_NONE || is_owner)
        return true;
    change->hint_bytes = hint_bytes(request->operation.key, &request->cell) + value_bytes;
    if (!hint_reserve(requests->cluster, change->hint_bytes)) {
        REQUEST_COUNT(requests, refused_hints);
        return false;
    }
    change->hint_for = hint_for;
    change->write.adds_pin = true;
    return true;
}

/* The cell was stored, and the lock let go; or it was not. */
static void change_end(struct request *request, struct change *change, bool is_stored)
{
    struct requests *requests = request->owner;
    const struct operation *operation = &request->operation;

    cell_write_deinit(requests->store, &change->write);
    if (change->hint_for == NODE_NONE)
        return;
    if (!is_stored) {
        hint_unreserve(requests->cluster, change->hint_bytes);
        return;
    }
    REQUEST_COUNT(requests, hints_kept);
    hint_add(requests->cluster, operation->hash, operation->key, change->hint_for,
             change->hint_bytes);
}

/* Whether the cell's only value is where the operation has it, so that it need not be copied. */
static bool is_operations_value(const struct request *request, const struct cell *own)
{
    return own->sibling_count == 1 && own->siblings[0].kind == SIBLING_VALUE &&
           own->siblings[0].value == (uint64_t)(uintptr_t)request->operation.value.bytes;
}

static bool has_values(const struct cell *cell)
{
    for (unsigned i = 0; i < cell->sibling_count; i++)
        if (cell->siblings[i].kind == SIBLING_VALUE)
            return true;
    return false;
}

/* Copies the cell as it was stored just now into the request's, whose room suffices.  Its values,
 * which lie where they were before, are found again in the item.  Lock held. */
static void take_result(struct request *request, struct stripe *stripe, struct cell *own)
{
    const struct operation *operation = &request->operation;

    if (has_values(own) && !is_operations_value(request, own)) {
        struct item *item = cell_store_item(stripe, operation->hash, operation->key);
        assert(item != NULL);
        cell_item_place_values(item, own);
        keep_values(request, item, own);
    }
    cell_copy(&request->cell, own);
}

/* Merges the request's cell into `own`, which has room for it. */
static void merge(const struct request *request, const struct stripe *stripe, struct cell *own)
{
    cell_merge(own, &request->cell);
    cell_flush(own, flushed_up_to(request->owner, stripe));
    cell_expire(own, requests_now_ms(request->owner));
}

void own_merge(struct request *request, node_id hint_for)
{
    struct requests *requests = request->owner;
    const struct operation *operation = &request->operation;
    struct cell *own = &requests->own;
    struct change change;
    struct stripe *stripe;
    bool is_stored = false;

    if (request->cell.sibling_count == 0 || !change_init(request, &change, hint_for, 0))
        return;
    do {
        stripe = lock_and_read(requests, operation, request->cell.sibling_count, own);
        if (stripe == NULL)
            break;
        merge(request, stripe, own);
    } while (!cell_store_write(requests->store, stripe, operation->hash, operation->key, own,
                               &change.write, requests_now_ms(requests)));
    if (stripe != NULL && !change.write.failed) {
        store_unlock(stripe);
        is_stored = own->sibling_count > 0;
    } else {
        REQUEST_COUNT(requests, refused_memory);
    }
    change_end(request, &change, is_stored);
}

/* ---- applying ---- */

/* What own_apply() has in its hands. */
struct applying {
    struct request *request;
    bool merges;
    struct command command;
    struct command_result result;
    struct change change;
};

/* The item that a plain set makes, before the lock is taken for it: usually it is just that. */
static void guess_item(struct applying *applying)
{
    const struct request *request = applying->request;
    const struct operation *operation = &request->operation;
    struct cell_write *write = &applying->change.write;

    if (request->coordinator.class != REQUEST_BLIND || operation->verb != VERB_STORE ||
        operation->exptime != 0 || request->policy->ttl_max_ms != 0)
        return;
    write->spec =
        (struct item_spec){.key = operation->key,
                           .value_bytes = operation->value.size,
                           .client_flags = operation->client_flags,
                           .key_is_binary = (operation->options & OPERATION_KEY_ENCODED) != 0};
    write->item = item_new(request->owner->store, &write->spec, applying->command.now_ms);
}

/* Copies what the outcome points to, before the old item goes.  Lock held. */
static bool keep_outcome(struct request *request, const struct outcome *outcome)
{
    request->outcome = *outcome;
    request->has_outcome = true;
    if (request->operation.verb == VERB_STORE) { /* only its size counts */
        request->outcome.value.bytes = NULL;
        return request_keep(request, &request->outcome.context);
    }
    return request_keep(request, &request->outcome.value) &&
           request_keep(request, &request->outcome.context);
}

/* Applies the command to the own cell.  True: the cell is to be stored; lock held. */
static bool apply_locked(struct applying *applying, struct stripe *stripe, struct cell *own)
{
    struct request *request = applying->request;
    const struct operation *operation = &request->operation;
    struct command *command = &applying->command;
    struct command_result *result = &applying->result;

    command_result_deinit(result);
    if (applying->merges)
        merge(request, stripe, own);
    command->clock = &stripe->clock;
    command_marks_read(stripe, operation->hash, operation->key, command->now_ms, &command->marks);
    command_apply(command, own, result);
    applying->change.write.key_is_binary = command->marks.key_is_binary;
    applying->change.write.says_key_form = true;
    if (result->applied == COMMAND_AGAIN || result->applied == COMMAND_REFUSED)
        return false;
    if (!keep_outcome(request, &result->outcome)) {
        result->applied = COMMAND_REFUSED;
        return false;
    }
    applying->change.write.adds_pin =
        applying->change.hint_for != NODE_NONE && result->applied != COMMAND_KEPT;
    return result->applied != COMMAND_KEPT || applying->merges;
}

/* The cell is stored, or was not changed.  Lock held. */
static void finish_locked(struct applying *applying, struct stripe *stripe, struct cell *own)
{
    struct request *request = applying->request;
    const struct operation *operation = &request->operation;

    switch (applying->result.applied) {
    case COMMAND_WRITTEN: take_result(request, stripe, own); break;
    case COMMAND_REGISTER:
        cell_evict(own);
        cell_copy(&request->cell, own);
        break;
    case COMMAND_KEPT: break;
    case COMMAND_AGAIN:
    case COMMAND_REFUSED: return;
    }
    command_marks_write(stripe, operation->hash, operation->key, applying->command.now_ms,
                        &applying->command.marks);
}

/* Applies and stores, as often as it takes.  False: memory is short. */
static bool apply_and_store(struct applying *applying)
{
    struct request *request = applying->request;
    struct requests *requests = request->owner;
    const struct operation *operation = &request->operation;
    const unsigned more = (applying->merges ? request->cell.sibling_count : 0) + 1;
    struct cell *own = &requests->own;
    struct stripe *stripe;

    do {
        stripe = lock_and_read(requests, operation, more, own);
        if (stripe == NULL)
            return false;
        if (!request_reserve(request, own->sibling_count + more)) {
            store_unlock(stripe);
            return false;
        }
        if (!apply_locked(applying, stripe, own))
            break;
    } while (!cell_store_write(requests->store, stripe, operation->hash, operation->key, own,
                               &applying->change.write, applying->command.now_ms));
    if (applying->change.write.failed)
        return false;
    finish_locked(applying, stripe, own);
    store_unlock(stripe);
    return true;
}

static struct coordinator_event event_of(const struct command_result *result)
{
    switch (result->applied) {
    case COMMAND_WRITTEN:
        return (struct coordinator_event){.type = COORDINATOR_APPLIED, .dot = result->dot};
    case COMMAND_REGISTER:
        return (struct coordinator_event){.type = COORDINATOR_APPLIED, .dot = {NODE_NONE, 0}};
    case COMMAND_KEPT: return (struct coordinator_event){.type = COORDINATOR_KEPT};
    case COMMAND_AGAIN: return (struct coordinator_event){.type = COORDINATOR_AGAIN};
    case COMMAND_REFUSED: break;
    }
    return (struct coordinator_event){.type = COORDINATOR_APPLY_REFUSED};
}

struct coordinator_event own_apply(struct request *request, const struct request_effects *effects)
{
    struct requests *requests = request->owner;
    struct applying applying = {.request = request, .merges = effects->merges_own};
    bool is_hinted;

    applying.command = (struct command){.operation = &request->operation,
                                        .policy = request->policy,
                                        .now_ms = requests_now_ms(requests),
                                        .self = requests->view->self,
                                        .drift_max_ms = settings.clock_drift_max_ms};
    applying.result.made = NULL;
    applying.result.is_late = false;
    REQUEST_COUNT(requests, coordinated);
    if (!change_init(request, &applying.change, effects->own_hint_for,
                     request->operation.value.size))
        return (struct coordinator_event){.type = COORDINATOR_APPLY_REFUSED};
    guess_item(&applying);
    if (!apply_and_store(&applying)) {
        REQUEST_COUNT(requests, refused_memory);
        applying.result.applied = COMMAND_REFUSED;
    }
    if (applying.result.applied == COMMAND_REFUSED) {
        request->has_outcome = !applying.result.is_late;
        request->outcome = (struct outcome){.status = OUTCOME_NO_MEMORY};
    }
    is_hinted =
        applying.result.applied == COMMAND_WRITTEN || applying.result.applied == COMMAND_REGISTER;
    change_end(request, &applying.change, is_hinted);
    command_result_deinit(&applying.result);
    return event_of(&applying.result);
}

/* ---- writing again ---- */

/* Gives the write a dot that comes after what is known.  REPLICA_COVERED: the clock that would be
 * needed is too far ahead.  Lock held. */
static enum replica_rewrite rewrite_locked(struct request *request, struct stripe *stripe,
                                           struct cell *own, hlc_time after, struct dot *fresh)
{
    const struct requests *requests = request->owner;
    const uint64_t now_ms = requests_now_ms(requests);
    enum replica_rewrite rewritten = REPLICA_COVERED;

    while (rewritten == REPLICA_COVERED) {
        if (hlc_clock_merge(&stripe->clock, after, now_ms, settings.clock_drift_max_ms) !=
            HLC_MERGED)
            break;
        *fresh = (struct dot){requests->view->self, hlc_clock_next(&stripe->clock, now_ms)};
        rewritten = replica_rewrite(own, &request->cell, request->coordinator.write.dot, *fresh,
                                    !request->policy->keeps_siblings);
        after = cell_clock(own);
    }
    return rewritten;
}

/* As apply_and_store(), with the request's cell put back before each try. */
static bool rewrite_and_store(struct request *request, hlc_time after, struct change *change,
                              enum replica_rewrite *rewritten, struct dot *fresh)
{
    struct requests *requests = request->owner;
    const struct operation *operation = &request->operation;
    struct cell *own = &requests->own, *before = &requests->other;
    const unsigned more = request->cell.sibling_count + 1;
    struct stripe *stripe;

    if (!requests_reserve(before, request->cell.sibling_count))
        return false;
    cell_init(before, before->siblings, before->sibling_room);
    cell_copy(before, &request->cell);
    do {
        cell_copy(&request->cell, before);
        stripe = lock_and_read(requests, operation, more, own);
        if (stripe == NULL)
            return false;
        if (!request_reserve(request, own->sibling_count + more)) {
            store_unlock(stripe);
            return false;
        }
        *rewritten = rewrite_locked(request, stripe, own, after, fresh);
        if (*rewritten != REPLICA_REWRITTEN) {
            store_unlock(stripe);
            return true;
        }
    } while (!cell_store_write(requests->store, stripe, operation->hash, operation->key, own,
                               &change->write, requests_now_ms(requests)));
    if (change->write.failed) {
        cell_copy(&request->cell, before);
        return false;
    }
    take_result(request, stripe, own);
    store_unlock(stripe);
    return true;
}

struct coordinator_event own_rewrite(struct request *request, hlc_time after)
{
    enum replica_rewrite rewritten = REPLICA_COVERED;
    struct coordinator_event event = {.type = COORDINATOR_REWRITE_REFUSED};
    struct change change;

    REQUEST_COUNT(request->owner, rewrites);
    if (!change_init(request, &change, NODE_NONE, 0) ||
        !rewrite_and_store(request, after, &change, &rewritten, &event.dot))
        rewritten = REPLICA_COVERED;
    change_end(request, &change, true);
    switch (rewritten) {
    case REPLICA_REWRITTEN: event.type = COORDINATOR_REWRITTEN; break;
    case REPLICA_SUPERSEDED: event.type = COORDINATOR_SUPERSEDED; break;
    case REPLICA_COVERED: break;
    }
    return event;
}
