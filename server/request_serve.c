/* What requests of other nodes want of this one: to read a cell, to store one, to coordinate. */
#include "ring/key_hash.h"
#include "server/cell_item.h"
#include "server/hint_queue.h"
#include "server/memory.h"
#include "server/request_internal.h"
#include "server/served.h"
#include "server/stripe.h"
#include "server/worker.h"
#include <assert.h>

/* ---- fetches ---- */

static void refuse_fetch(struct requests *requests, struct peer_link *link,
                         const struct peer_fetch *fetch)
{
    requests->message.type = PEER_FETCHED;
    requests->message.fetched = (struct fetch_reply){
        .operation = fetch->request.operation, .round = fetch->request.round, .is_refused = true};
    links_reply(requests, link, NULL);
}

/* Locks the key's stripe and reads its cell into scratch.  NULL: memory is short. */
static struct stripe *lock_and_read(struct requests *requests, uint64_t hash, struct slice key,
                                    hlc_time flushed_up_to)
{
    struct cell *own = &requests->own;

    for (;;) {
        struct stripe *stripe = store_lock(requests->store, hash);
        const unsigned needed = cell_store_read(stripe, hash, key, requests_now_ms(requests), own);
        if (needed <= own->sibling_room) {
            cell_flush(own, flushed_up_to);
            return stripe;
        }
        store_unlock(stripe);
        if (!requests_reserve(own, needed))
            return NULL;
    }
}

void serve_fetch(struct requests *requests, struct peer_link *link, const struct peer_fetch *fetch)
{
    const struct cluster_view *view = requests->view;
    const uint64_t hash = key_hash(fetch->key);
    struct replica_now now;
    struct stripe *stripe;
    struct item *item;

    REQUEST_COUNT(requests, served_fetches);
    if (view->table == NULL || hash != fetch->request.key_hash) {
        refuse_fetch(requests, link, fetch);
        return;
    }
    now = own_now(requests, hash, policy_copies(policy_of(fetch->key)));
    stripe = lock_and_read(requests, hash, fetch->key, now.flushed_up_to);
    if (stripe == NULL) {
        refuse_fetch(requests, link, fetch);
        return;
    }
    now.clock = &stripe->clock;
    requests->message.type = PEER_FETCHED;
    requests->message.fetched = replica_fetch(&requests->own, &fetch->request, &now);
    item =
        requests->message.fetched.cell == NULL ? NULL : cell_store_item(stripe, hash, fetch->key);
    if (item == NULL || (item->bits & ITEM_LONG) == 0) {
        links_reply(requests, link, NULL); /* copies the values */
        store_unlock(stripe);
        return;
    }
    item_ref(item);
    store_unlock(stripe);
    links_reply(requests, link, item);
    item_unref(requests->store, item);
}

/* ---- stores ---- */

static void reply_stored(struct requests *requests, struct peer_link *link,
                         const struct store_reply *reply)
{
    requests->message.type = PEER_STORED;
    requests->message.stored = *reply;
    links_reply(requests, link, NULL);
}

/* The item that the cell becomes if there is nothing to merge it with: made before the lock is
 * taken, since usually it is just that. */
static void guess_item(struct requests *requests, const struct peer_store *store,
                       struct cell_write *write)
{
    const struct cell *cell = store->request.cell;

    if (store->request.dot.node == NODE_NONE || !cell_is_common(cell))
        return;
    write->spec = cell_item_spec(cell_store_nodes(requests->store), store->key, false, cell);
    write->item = item_new(requests->store, &write->spec, requests_now_ms(requests));
}

/* Merges as often as there is more room needed. */
static struct replica_stored merge_store(struct requests *requests, const struct peer_store *store,
                                         struct replica_now *now, unsigned copies)
{
    const struct store_request *request = &store->request;
    struct replica_stored stored = {.reply = {.operation = request->operation,
                                              .round = request->round,
                                              .status = STORE_REFUSED_MEMORY}};
    struct cell_write write = {.copies = copies};
    struct cell *own = &requests->own;
    unsigned needed = request->cell->sibling_count;

    guess_item(requests, store, &write);
    while (needed > 0 && requests_reserve(own, needed)) {
        needed = cell_store_merge(requests->store, store->key, request, now, own, &write, &stored);
        if (needed <= own->sibling_room)
            break;
    }
    cell_write_deinit(requests->store, &write);
    return stored;
}

static void count_stored(struct requests *requests, const struct replica_stored *stored)
{
    switch (stored->reply.status) {
    case STORE_STORED:
    case STORE_COVERED: break;
    case STORE_REFUSED_CLOCK: REQUEST_COUNT(requests, refused_clock); break;
    case STORE_REFUSED_MEMORY: REQUEST_COUNT(requests, refused_memory); break;
    case STORE_REFUSED_HINTS: REQUEST_COUNT(requests, refused_hints); break;
    }
    if (stored->makes_hint)
        REQUEST_COUNT(requests, hints_kept);
}

void serve_store(struct requests *requests, struct peer_link *link, const struct peer_store *store)
{
    const struct cluster_view *view = requests->view;
    const struct store_request *request = &store->request;
    const uint64_t hash = key_hash(store->key);
    struct replica_stored stored = {.reply = {.operation = request->operation,
                                              .round = request->round,
                                              .status = STORE_REFUSED_MEMORY}};
    uint64_t bytes = 0;

    REQUEST_COUNT(requests, served_stores);
    if (view->table == NULL || hash != request->key_hash) {
        reply_stored(requests, link, &stored.reply);
        return;
    }
    const unsigned copies = policy_copies(policy_of(store->key));
    cell_store_prefetch(requests->store, hash, copies);
    struct replica_now now = own_now(requests, hash, copies);
    if (request->hint_for != NODE_NONE && !now.is_owner) {
        bytes = hint_bytes(store->key, request->cell);
        now.has_hint_room = hint_reserve(requests->cluster, bytes);
    }
    stored = merge_store(requests, store, &now, copies);
    if (stored.makes_hint)
        hint_add(requests->cluster, hash, store->key, request->hint_for, bytes);
    else if (now.has_hint_room)
        hint_unreserve(requests->cluster, bytes);
    if (stored.reply.status == STORE_STORED)
        own_note_dots(requests, request->cell);
    count_stored(requests, &stored);
    reply_stored(requests, link, &stored.reply);
}

/* ---- forwards ---- */

static void reply_forwarded(struct requests *requests, struct peer_link *link,
                            struct forward_reply reply, const struct outcome *outcome)
{
    requests->message.type = PEER_FORWARDED;
    requests->message.forwarded.reply = reply;
    requests->message.forwarded.outcome = outcome != NULL ? *outcome : (struct outcome){0};
    links_reply(requests, link, NULL);
}

/* A repeat of what was answered before. */
struct repeat {
    struct requests *requests;
    struct peer_link *link;
};

static void answer_repeat(void *context, const struct forward_reply *reply,
                          const struct outcome *outcome)
{
    const struct repeat *repeat = context;

    reply_forwarded(repeat->requests, repeat->link, *reply, outcome);
}

/* A long value is kept in an item of its own, from which it is sent on. */
static struct item *item_for(struct requests *requests, struct operation *operation)
{
    const struct item_spec spec = {.key = operation->key, .value_bytes = operation->value.size};
    struct item *item;

    if (operation->verb != VERB_STORE || operation->value.size < ITEM_LONG_VALUE_BYTES)
        return NULL;
    item = item_new(requests->store, &spec, requests_now_ms(requests));
    if (item == NULL)
        return NULL;
    memcpy(item_value(item), operation->value.bytes, operation->value.size);
    operation->value.bytes = item_value(item);
    return item;
}

/* False: it cannot be done now, and nothing was done. */
static bool begin(struct requests *requests, struct peer_link *link,
                  const struct peer_forward *forward)
{
    struct operation operation = forward->operation;
    enum request_class class = command_class(&operation);
    struct item *item = NULL;
    bool has_begun;

    operation.hash = forward->request.key_hash;
    if (class == REQUEST_READ)
        return false;
    item = item_for(requests, &operation);
    has_begun = request_begin(requests, class, &operation, item, NULL, &forward->request, link);
    if (item != NULL)
        item_unref(requests->store, item);
    return has_begun;
}

void serve_forward(struct requests *requests, struct peer_link *link,
                   const struct peer_forward *forward)
{
    const struct request_id id = forward->request.id;
    const struct forward_reply refused = {id, ANSWER_REFUSED, 0, 0};
    struct repeat repeat = {requests, link};

    REQUEST_COUNT(requests, served_forwards);
    if (requests->view->table == NULL ||
        key_hash(forward->operation.key) != forward->request.key_hash) {
        reply_forwarded(requests, link, refused, NULL);
        return;
    }
    switch (served_begin(requests->served, id, requests_now_ms(requests), answer_repeat, &repeat)) {
    case SERVED_NEW:
        if (begin(requests, link, forward))
            return;
        served_finish(requests->served, &refused, NULL);
        break;
    case SERVED_RUNNING: REQUEST_COUNT(requests, repeats); return;
    case SERVED_KNOWN: REQUEST_COUNT(requests, repeats); return;
    case SERVED_FULL: break;
    }
    reply_forwarded(requests, link, refused, NULL);
}

void serve_answer(struct request *request, const struct request_effects *effects)
{
    struct requests *requests = request->owner;
    const struct outcome *outcome =
        effects->answer == ANSWER_DONE && request->has_outcome ? &request->outcome : NULL;
    const struct forward_reply reply = {request->id, effects->answer, (uint16_t)effects->got,
                                        (uint16_t)effects->needed};

    served_finish(requests->served, &reply, outcome);
    if (request->asker != NULL)
        reply_forwarded(requests, request->asker, reply, outcome);
}
