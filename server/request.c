/* Commands in flight: how they start, what a step wants done, and how they end. */
#include "server/request.h"
#include "ring/key_hash.h"
#include "server/clock.h"
#include "server/log.h"
#include "server/request_internal.h"
#include "server/store.h"
#include "server/worker.h"
#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

/* One request in so many tells how long its client waited, and one reply how long a peer took. */
#define SAMPLE_LATENCY 64
#define SAMPLE_REPLY   8

/* A request's number: its place in the table, and above that a count. */
#define SLOT_BITS 13

/* An id's number: milliseconds at the start, so that no life of a node repeats those of the one
 * before; then a count, and the worker.  A worker may count 4,096 a millisecond without end. */
#define ID_WORKER_BITS 10
#define ID_COUNT_BITS  12

static_assert(REQUESTS_MAX <= 1u << SLOT_BITS, "a slot fits its bits");

/* Requests, in one huge page: of hundreds that are in flight each is touched at a few places, which
 * else would be as many pages. */
#define SLAB_BYTES    ((size_t)2 << 20)
#define SLAB_REQUESTS ((SLAB_BYTES - 64) / sizeof(struct request))

struct request_slab {
    struct request_slab *next;
    struct request requests[];
};

static_assert(sizeof(struct request_slab) <= 64, "the rest of a slab is its requests");

/* ---- memory ---- */

void *request_alloc(struct request *request, size_t bytes)
{
    const size_t room = (bytes + 7) & ~(size_t)7;
    struct request_memory *memory;

    if (room <= REQUEST_BYTES - request->bytes_used) {
        void *inside = request->bytes + request->bytes_used;
        request->bytes_used += room;
        return inside;
    }
    memory = malloc(sizeof *memory + bytes);
    if (memory == NULL)
        return NULL;
    memory->next = request->memory;
    memory->item = NULL;
    request->memory = memory;
    return memory->bytes;
}

bool request_keep(struct request *request, struct slice *bytes)
{
    unsigned char *copy;

    if (bytes->size == 0)
        return true;
    copy = request_alloc(request, bytes->size);
    if (copy == NULL)
        return false;
    memcpy(copy, bytes->bytes, bytes->size);
    bytes->bytes = copy;
    return true;
}

bool request_hold(struct request *request, struct item *item)
{
    struct request_memory *memory = malloc(sizeof *memory);

    assert((item->bits & ITEM_LONG) != 0);
    if (memory == NULL)
        return false;
    item_ref(item);
    memory->next = request->memory;
    memory->item = item;
    request->memory = memory;
    return true;
}

static void free_memory(struct request *request)
{
    struct request_memory *next;

    for (struct request_memory *memory = request->memory; memory != NULL; memory = next) {
        next = memory->next;
        if (memory->item != NULL)
            item_unref(request->owner->store, memory->item);
        free(memory);
    }
    request->memory = NULL;
}

bool request_reserve(struct request *request, unsigned siblings)
{
    struct cell *cell = &request->cell;
    unsigned room = cell->sibling_room;
    struct sibling *more;

    if (siblings <= room)
        return true;
    while (room < siblings)
        room *= 2;
    more = request_alloc(request, room * sizeof *more);
    if (more == NULL)
        return false;
    memcpy(more, cell->siblings, cell->sibling_count * sizeof *more);
    cell->siblings = more;
    cell->sibling_room = room;
    return true;
}

bool requests_reserve(struct cell *cell, unsigned siblings)
{
    unsigned room = cell->sibling_room > 0 ? cell->sibling_room : 2 * REQUEST_SIBLINGS;
    struct sibling *more;

    if (siblings <= cell->sibling_room)
        return true;
    while (room < siblings)
        room *= 2;
    more = realloc(cell->siblings, room * sizeof *more);
    if (more == NULL)
        return false;
    cell->siblings = more;
    cell->sibling_room = room;
    return true;
}

/* ---- the table ---- */

uint64_t requests_now_ms(const struct requests *requests)
{
    return requests->worker->now_ms;
}

static struct request **bucket_of(struct requests *requests, struct request_id id)
{
    uint64_t mixed = (id.number ^ id.origin) * 0x9e3779b97f4a7c15u;

    return &requests->passed_on[(mixed >> 32) % REQUESTS_BUCKETS];
}

static struct request *find_passed_on(struct requests *requests, struct request_id id)
{
    struct request *request = *bucket_of(requests, id);

    while (request != NULL && (request->id.number != id.number || request->id.origin != id.origin))
        request = request->next_passed_on;
    return request;
}

/* Its reply is known by its id. */
static void note_passed_on(struct request *request)
{
    struct request **bucket = bucket_of(request->owner, request->id);

    REQUEST_COUNT(request->owner, passed_on);
    if (request->is_passed_on)
        return;
    request->is_passed_on = true;
    request->next_passed_on = *bucket;
    *bucket = request;
}

static struct request *find(struct requests *requests, uint64_t number)
{
    struct request *request = requests->table[number & (REQUESTS_MAX - 1)];

    return request != NULL && request->number == number ? request : NULL;
}

void request_prefetch(const struct requests *requests, uint64_t number)
{
    const struct request *request = requests->table[number & (REQUESTS_MAX - 1)];

    if (request == NULL)
        return;
    __builtin_prefetch(request);
    __builtin_prefetch(&request->number);
    __builtin_prefetch(&request->coordinator.route);
    __builtin_prefetch(&request->coordinator.route.nodes[1]);
    __builtin_prefetch(&request->coordinator.cell);
    __builtin_prefetch(&request->coordinator.phase);
    __builtin_prefetch(&request->coordinator.write);
    __builtin_prefetch(&request->coordinator.write.nodes);
}

static void unlink_request(struct request *request)
{
    struct requests *requests = request->owner;

    *(request->previous != NULL ? &request->previous->next : &requests->oldest) = request->next;
    *(request->next != NULL ? &request->next->previous : &requests->newest) = request->previous;
    if (request->is_passed_on) {
        struct request **at = bucket_of(requests, request->id);
        while (*at != request)
            at = &(*at)->next_passed_on;
        *at = request->next_passed_on;
    }
    requests->table[request->slot] = NULL;
    requests->free_slots[requests->free_slot_count++] = request->slot;
    atomic_store_explicit(&requests->count, requests_in_flight(requests) - 1, memory_order_relaxed);
}

static void end(struct request *request)
{
    struct requests *requests = request->owner;

    assert(!request->is_stepping);
    if (request->cell.intervals_dropped > 0)
        counter_add(&requests->stats.folded, request->cell.intervals_dropped);
    unlink_request(request);
    if (request->item != NULL)
        item_unref(requests->store, request->item);
    if (request->own_item != NULL)
        item_unref(requests->store, request->own_item);
    free_memory(request);
    request->next = requests->free;
    requests->free = request;
}

/* Makes room for another request.  False: nobody in flight is answered. */
static bool end_an_answered_one(struct requests *requests)
{
    struct request *request = requests->oldest;

    while (request != NULL && (!request->is_answered || request->is_stepping))
        request = request->next;
    if (request == NULL || requests->is_visiting)
        return false;
    REQUEST_COUNT(requests, ended_early);
    end(request);
    return true;
}

/* The next to be taken: one of many, it may have left the caches. */
static void prefetch_free(const struct request *request)
{
    const unsigned char *bytes = (const unsigned char *)request;

    for (size_t at = 0; at < offsetof(struct request, cell); at += 64)
        __builtin_prefetch(bytes + at, 1);
    __builtin_prefetch(&request->cell.context, 1);
    __builtin_prefetch(&request->cell.siblings, 1);
    __builtin_prefetch(&request->siblings[0], 1);
    __builtin_prefetch(&request->coordinator.route, 1);
    __builtin_prefetch(&request->coordinator.cell, 1);
    __builtin_prefetch(&request->coordinator.forward, 1);
    __builtin_prefetch(&request->memory, 1);
    __builtin_prefetch(&request->bytes[0], 1);
    __builtin_prefetch(&request->bytes[64], 1);
}

/* More requests. */
static bool add_slab(struct requests *requests)
{
    struct request_slab *slab = aligned_alloc(SLAB_BYTES, SLAB_BYTES);

    if (slab == NULL)
        return false;
    (void)madvise(slab, SLAB_BYTES, MADV_HUGEPAGE);
    slab->next = requests->slabs;
    requests->slabs = slab;
    for (unsigned i = 0; i < SLAB_REQUESTS; i++) {
        slab->requests[i].next = requests->free;
        requests->free = &slab->requests[i];
    }
    return true;
}

/* An empty request, in flight; NULL: there are too many, or memory is short. */
static struct request *take(struct requests *requests)
{
    struct request *request;

    if (requests->free_slot_count == 0 && !end_an_answered_one(requests))
        return NULL;
    if (requests->free == NULL && !add_slab(requests))
        return NULL;
    request = requests->free;
    requests->free = request->next;
    if (requests->free != NULL)
        prefetch_free(requests->free);
    request->owner = requests;
    request->next_passed_on = NULL;
    request->is_passed_on = request->is_answered = request->is_stepping = false;
    request->item = request->own_item = NULL;
    request->marks = (struct command_marks){0};
    request->has_outcome = false;
    request->memory = NULL;
    request->bytes_used = 0;
    cell_init(&request->cell, request->siblings, REQUEST_SIBLINGS);
    request->slot = requests->free_slots[--requests->free_slot_count];
    requests->table[request->slot] = request;
    request->next = NULL;
    request->previous = requests->newest;
    *(requests->newest != NULL ? &requests->newest->next : &requests->oldest) = request;
    requests->newest = request;
    atomic_store_explicit(&requests->count, requests_in_flight(requests) + 1, memory_order_relaxed);
    return request;
}

/* ---- starting ---- */

/* Copies what the verb and its options use. */
static bool keep_operation(struct request *request, const struct operation *operation,
                           struct item *item)
{
    struct operation *kept = &request->operation;

    *kept = *operation;
    kept->arguments = (struct slice){NULL, 0};
    kept->key_storage = kept->context_storage = NULL;
    if (kept->protocol != PROTOCOL_META)
        kept->meta_flags = (struct slice){NULL, 0};
    if ((kept->options & OPERATION_CONTEXT) == 0)
        kept->context = (struct slice){NULL, 0};
    if (kept->verb != VERB_STORE)
        kept->value = (struct slice){NULL, 0};
    if (!request_keep(request, &kept->key) || !request_keep(request, &kept->meta_flags) ||
        !request_keep(request, &kept->context))
        return false;
    if (item == NULL || (item->bits & ITEM_LONG) == 0)
        return request_keep(request, &kept->value);
    item_ref(item);
    request->item = item;
    return true;
}

static struct coordinator_start start_of(const struct request *request, enum request_class class,
                                         const struct forward_request *forward)
{
    const struct requests *requests = request->owner;
    uint32_t budget_ms = settings.request_timeout_ms;

    if (forward != NULL && forward->budget_ms < budget_ms)
        budget_ms = forward->budget_ms;
    return (struct coordinator_start){.id = request->id,
                                      .operation = request->number,
                                      .key_hash = request->operation.hash,
                                      .class = class,
                                      .read_quorum = policy_read_quorum(request->policy),
                                      .write_quorum = policy_write_quorum(request->policy),
                                      .now_ms = request->started_ms,
                                      .deadline_ms = request->started_ms + budget_ms,
                                      .wall_ms = requests_now_ms(requests),
                                      .flushed_up_to = requests->view->flushed_up_to,
                                      .may_coordinate = requests->view->may_coordinate,
                                      .from = forward};
}

static struct request_id next_id(const struct requests *requests)
{
    const uint64_t first = clock_start_ms() << (ID_COUNT_BITS + ID_WORKER_BITS);

    return (struct request_id){requests->view->self, first +
                                                         (requests->next_number << ID_WORKER_BITS) +
                                                         requests->worker->number};
}

static void name(struct request *request, const struct forward_request *forward)
{
    struct requests *requests = request->owner;

    requests->next_number++;
    request->number = requests->next_number << SLOT_BITS | request->slot;
    request->id = forward != NULL ? forward->id : next_id(requests);
    request->started_us = request->sent_us = requests->turn_us;
    request->started_ms = requests_now_ms(requests);
}

bool request_begin(struct requests *requests, enum request_class class,
                   const struct operation *operation, struct item *item,
                   struct request_client *client, const struct forward_request *forward,
                   struct peer_link *asker)
{
    const struct cluster_view *view = requests->view;
    struct request *request = take(requests);
    struct coordinator_start start;

    assert(view->table != NULL);
    if (request == NULL)
        return false;
    if (!keep_operation(request, operation, item)) {
        end(request);
        return false;
    }
    request->client = client;
    request->asker = asker;
    request->policy = policy_of(request->operation.key);
    name(request, forward);
    route_make(&request->coordinator.route, view->table, operation->hash,
               policy_copies(request->policy), view->self, requests->views);
    if (class != REQUEST_READ && request->coordinator.route.nodes[0].is_self)
        cell_store_prefetch(requests->store, operation->hash, policy_copies(request->policy));
    start = start_of(request, class, forward);
    start.cell = &request->cell;
    coordinator_init(&request->coordinator, &start);
    if (!ev_is_active(&requests->tick))
        ev_timer_again(requests->worker->loop, &requests->tick);
    request_step(request, (struct coordinator_event){.type = COORDINATOR_START});
    return true;
}

void requests_start(struct requests *requests, enum request_class class,
                    const struct operation *operation, struct item *item,
                    struct request_client *client)
{
    struct request_answered refused = {.answer = ANSWER_REFUSED, .operation = operation};

    assert(requests->view != NULL);
    REQUEST_COUNT(requests, started);
    if (requests->view->table != NULL && requests->view->self != NODE_NONE &&
        request_begin(requests, class, operation, item, client, NULL, NULL))
        return;
    REQUEST_COUNT(requests, answered_refused);
    client->answer(client, &refused);
}

/* ---- what a step wants done ---- */

/* The long item that holds all values of the cell, so that they can be sent from there; or NULL. */
static struct item *item_with_values(const struct request *request, struct item *item)
{
    const struct cell *cell = &request->cell;
    struct slice all;

    if (item == NULL)
        return NULL;
    all = item_value_slice(item);
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        const struct slice value = cell_item_value(&cell->siblings[i]);
        if (cell->siblings[i].kind != SIBLING_VALUE || value.size == 0)
            continue;
        if (value.bytes < all.bytes || value.bytes + value.size > all.bytes + all.size)
            return NULL;
    }
    return item;
}

static struct item *item_of_cell(const struct request *request)
{
    struct item *item = item_with_values(request, request->own_item);

    return item != NULL ? item : item_with_values(request, request->item);
}

static bool send_one(struct request *request, const struct request_send *send)
{
    struct requests *requests = request->owner;
    struct peer_message *message = &requests->message;
    struct item *item = NULL;

    switch (send->kind) {
    case SEND_FETCH_DIGEST:
    case SEND_FETCH_FULL:
        message->type = PEER_FETCH;
        message->fetch.request = coordinator_fetch_request(&request->coordinator, send);
        message->fetch.key = request->operation.key;
        break;
    case SEND_REPAIR: REQUEST_COUNT(requests, repairs_sent); __attribute__((fallthrough));
    case SEND_STORE:
        message->type = PEER_STORE;
        message->store.request = coordinator_store_request(&request->coordinator, send);
        message->store.key = request->operation.key;
        item = item_of_cell(request);
        break;
    case SEND_FORWARD:
        note_passed_on(request);
        message->type = PEER_FORWARD;
        message->forward.request =
            coordinator_forward_request(&request->coordinator, requests_now_ms(requests));
        message->forward.operation = peer_operation(&request->operation);
        item = request->item;
        break;
    }
    return links_send(requests, send->to, item);
}

static void count_answer(struct requests *requests, enum request_answer answer)
{
    switch (answer) {
    case ANSWER_DONE: REQUEST_COUNT(requests, answered_done); break;
    case ANSWER_READ_FAILED: REQUEST_COUNT(requests, answered_read_failed); break;
    case ANSWER_WRITE_FAILED: REQUEST_COUNT(requests, answered_write_failed); break;
    case ANSWER_REFUSED: REQUEST_COUNT(requests, answered_refused); break;
    case ANSWER_UNKNOWN: REQUEST_COUNT(requests, answered_unknown); break;
    }
}

static void sample_latency(struct request *request)
{
    struct requests *requests = request->owner;

    if (--requests->until_sample > 0)
        return;
    requests->until_sample = SAMPLE_LATENCY;
    cluster_note_latency(requests->cluster, requests->worker->number,
                         (uint32_t)(requests->turn_us - request->started_us));
}

static void answer(struct request *request, const struct request_effects *effects)
{
    struct request_answered answered = {.answer = effects->answer,
                                        .got = effects->got,
                                        .needed = effects->needed,
                                        .operation = &request->operation};

    assert(!request->is_answered);
    request->is_answered = true;
    if (request->client == NULL) {
        serve_answer(request, effects);
        return;
    }
    count_answer(request->owner, effects->answer);
    sample_latency(request);
    if (effects->answer == ANSWER_DONE && request->coordinator.class == REQUEST_READ) {
        answered.cell = &request->cell;
        answered.marks = &request->marks;
        answered.item = item_of_cell(request);
    } else if (effects->answer == ANSWER_DONE) {
        assert(request->has_outcome);
        answered.outcome = &request->outcome;
    } else if (effects->answer == ANSWER_REFUSED && request->has_outcome &&
               request->outcome.status == OUTCOME_NO_MEMORY) {
        answered.outcome = &request->outcome;
    }
    request->client->answer(request->client, &answered);
}

/* What was for these nodes did not leave: they are told of one by one, after the step's other
 * effects. */
struct unsent {
    unsigned count;
    node_id nodes[REQUEST_SENDS_MAX];
};

static void send_all(struct request *request, const struct request_effects *effects,
                     struct unsent *unsent)
{
    if (effects->send_count > 0)
        request->sent_us = request->owner->turn_us;
    for (unsigned i = 0; i < effects->send_count; i++) {
        if (send_one(request, &effects->sends[i]) || effects->sends[i].kind == SEND_REPAIR)
            continue;
        REQUEST_COUNT(request->owner, unsent);
        if (unsent->count < REQUEST_SENDS_MAX)
            unsent->nodes[unsent->count++] = effects->sends[i].to;
    }
}

/* Carries out what the step wants.  True if `next` is an event that has to follow at once. */
static bool carry_out(struct request *request, const struct request_effects *effects,
                      struct unsent *unsent, struct coordinator_event *next)
{
    bool follows = effects->reads_own || effects->applies || effects->rewrites;

    send_all(request, effects, unsent);
    if (effects->reads_own) {
        own_read(request);
        *next = (struct coordinator_event){.type = COORDINATOR_OWN_READ};
    }
    if (effects->applies)
        *next = own_apply(request, effects);
    else if (effects->merges_own || effects->own_hint_for != NODE_NONE)
        own_merge(request, effects->own_hint_for);
    if (effects->rewrites)
        *next = own_rewrite(request, effects->rewrite_clock);
    if (effects->answers)
        answer(request, effects);
    if (follows || unsent->count == 0)
        return follows;
    *next = (struct coordinator_event){.type = COORDINATOR_UNSENT,
                                       .from = unsent->nodes[--unsent->count]};
    return true;
}

void request_step(struct request *request, struct coordinator_event event)
{
    const uint64_t now_ms = requests_now_ms(request->owner);
    struct unsent unsent = {.count = 0};
    struct request_effects effects;
    bool goes_on = true;

    assert(!request->is_stepping);
    request->is_stepping = true;
    effects.trace = NULL;
    while (goes_on) {
        event.now_ms = now_ms;
        coordinator_step(&request->coordinator, &event, &effects);
        goes_on = carry_out(request, &effects, &unsent, &event) && !effects.is_done;
    }
    request->is_stepping = false;
    if (effects.is_done)
        end(request);
}

/* ---- events ---- */

/* Whether it is one of those whose replies are looked at more closely. */
static bool is_sampled(const struct request *request)
{
    return (request->number >> SLOT_BITS) % SAMPLE_REPLY == 0;
}

/* A peer has answered. */
static void note_reply(const struct request *request, node_id from)
{
    struct requests *requests = request->owner;

    if (is_sampled(request))
        cluster_note_reply(requests->cluster, requests->worker->number, from,
                           (uint32_t)(requests->turn_us - request->sent_us));
}

/* Copies the cell of a reply into memory of the request's.  False: there is none. */
static bool keep_cell(struct request *request, const struct cell *cell, struct cell *copy)
{
    if (!requests_reserve(copy, cell->sibling_count) ||
        !request_reserve(request, coordinator_room(&request->coordinator, cell->sibling_count)))
        return false;
    cell_init(copy, copy->siblings, copy->sibling_room);
    cell_copy(copy, cell);
    for (unsigned i = 0; i < copy->sibling_count; i++) {
        struct sibling *sibling = &copy->siblings[i];
        struct slice value = cell_item_value(sibling);
        if (sibling->kind != SIBLING_VALUE)
            continue;
        if (!request_keep(request, &value))
            return false;
        sibling->value = (uint64_t)(uintptr_t)value.bytes;
    }
    return true;
}

/* Whether the reply says of its cell what the cell says. */
static bool is_consistent(const struct fetch_reply *reply)
{
    return reply->stub_count <= reply->sibling_count &&
           (reply->cell == NULL || reply->cell->sibling_count == reply->sibling_count);
}

void request_hear_fetched(struct requests *requests, node_id from, const struct fetch_reply *reply)
{
    struct request *request = find(requests, reply->operation);
    struct fetch_reply kept = *reply;

    if (request == NULL)
        return;
    note_reply(request, from);
    if (request->coordinator.phase != COORDINATOR_READING)
        return;
    if (reply->cell != NULL) {
        kept.cell = &requests->other;
        if (!own_admits(requests, request->operation.hash, reply->cell) ||
            !keep_cell(request, reply->cell, &requests->other))
            kept.is_refused = true;
    }
    if (kept.is_refused || !is_consistent(reply)) {
        kept.is_refused = true;
        kept.cell = NULL;
    }
    request_step(request, (struct coordinator_event){
                              .type = COORDINATOR_FETCH_REPLY, .from = from, .fetch = &kept});
}

void request_hear_stored(struct requests *requests, node_id from, const struct store_reply *reply)
{
    struct request *request = find(requests, reply->operation);

    if (reply->status == STORE_REFUSED_CLOCK)
        cluster_note_clock(requests->cluster, requests->worker->number, from, true);
    if (request == NULL)
        return;
    note_reply(request, from);
    if (reply->status == STORE_STORED && is_sampled(request))
        cluster_note_clock(requests->cluster, requests->worker->number, from, false);
    request_step(request, (struct coordinator_event){
                              .type = COORDINATOR_STORE_REPLY, .from = from, .store = reply});
}

void request_hear_forwarded(struct requests *requests, node_id from,
                            const struct peer_forwarded *said)
{
    struct request *request = find_passed_on(requests, said->reply.id);

    if (request == NULL || request->coordinator.phase != COORDINATOR_FORWARDING)
        return;
    note_reply(request, from);
    request->outcome =
        said->outcome; /* borrowed: it is passed on within this step, or not at all */
    request->has_outcome = true;
    request_step(request, (struct coordinator_event){.type = COORDINATOR_FORWARD_REPLY,
                                                     .from = from,
                                                     .forward = &said->reply});
}

void requests_lose(struct requests *requests, node_id peer)
{
    struct request *next;

    assert(!requests->is_visiting);
    requests->is_visiting = true; /* no step ends another request than its own */
    for (struct request *request = requests->oldest; request != NULL; request = next) {
        next = request->next;
        REQUEST_COUNT(requests, lost);
        request_step(request, (struct coordinator_event){.type = COORDINATOR_LOST, .from = peer});
    }
    requests->is_visiting = false;
}

void requests_forget_asker(struct requests *requests, const struct peer_link *link)
{
    for (struct request *request = requests->oldest; request != NULL; request = request->next)
        if (request->asker == link)
            request->asker = NULL;
}

static void on_tick(struct ev_loop *loop, ev_timer *tick, int events)
{
    struct requests *requests = tick->data;
    const uint64_t now_ms = requests_now_ms(requests);
    struct request *next;

    (void)events;
    requests->is_visiting = true;
    for (struct request *request = requests->oldest; request != NULL; request = next) {
        next = request->next;
        if (request->started_ms + settings.hedge_min_ms > now_ms)
            break; /* the rest is younger, and nobody of those is late */
        if (coordinator_deadline_ms(&request->coordinator) <= now_ms)
            request_step(request, (struct coordinator_event){.type = COORDINATOR_TICK});
    }
    requests->is_visiting = false;
    if (requests->oldest == NULL)
        ev_timer_stop(loop, tick);
}

/* ---- turns ---- */

static uint64_t monotonic_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void requests_begin_turn(struct requests *requests)
{
    if (requests->view != NULL)
        cluster_view_release(requests->cluster, requests->worker->number);
    requests->view = cluster_view_hold(requests->cluster, requests->worker->number);
    requests->turn_us = monotonic_us();
    links_follow_view(requests);
}

void requests_end_turn(struct requests *requests)
{
    if (requests->view == NULL)
        return;
    requests->view = NULL;
    cluster_view_release(requests->cluster, requests->worker->number);
}

/* Whether this node is warm for the key. */
static bool is_warm(const struct cluster_view *view, uint64_t hash)
{
    const unsigned partition = ring_table_partition(view->table, hash);

    return view->warming == NULL || (view->warming[partition / 64] >> partition % 64 & 1) == 0;
}

bool requests_owner_may_answer(struct requests *requests, const struct operation *operation)
{
    const struct cluster_view *view = requests->view;
    const struct policy *policy;

    if (view->table == NULL)
        return false;
    policy = policy_of(operation->key);
    return policy_read_quorum(policy) == 1 && is_warm(view, operation->hash) &&
           own_is_owner(requests, operation->hash, policy_copies(policy));
}

unsigned requests_in_flight(const struct requests *requests)
{
    return atomic_load_explicit(&requests->count, memory_order_relaxed);
}

/* ---- life ---- */

static bool make_table(struct requests *requests)
{
    requests->table = calloc(REQUESTS_MAX, sizeof *requests->table);
    requests->free_slots = malloc(REQUESTS_MAX * sizeof *requests->free_slots);
    if (requests->table == NULL || requests->free_slots == NULL)
        return false;
    for (uint32_t i = 0; i < REQUESTS_MAX; i++)
        requests->free_slots[i] = REQUESTS_MAX - 1 - i;
    requests->free_slot_count = REQUESTS_MAX;
    return true;
}

struct requests *requests_new(struct worker *worker, struct cluster *cluster)
{
    struct requests *requests = calloc(1, sizeof *requests);

    assert(worker->number < 1u << ID_WORKER_BITS);
    if (requests == NULL)
        return NULL;
    requests->worker = worker;
    requests->cluster = cluster;
    requests->store = worker->store;
    requests->until_sample = SAMPLE_LATENCY;
    ev_init(&requests->tick, on_tick);
    requests->tick.repeat = REQUESTS_TICK_MS / 1000.0;
    requests->tick.data = requests;
    links_init(requests);
    requests->served = served_ref(cluster);
    if (requests->served != NULL && make_table(requests) &&
        requests_reserve(&requests->own, REQUEST_SIBLINGS) &&
        requests_reserve(&requests->other, REQUEST_SIBLINGS))
        return requests;
    requests_free(requests);
    return NULL;
}

void requests_free(struct requests *requests)
{
    struct request_slab *next;

    while (requests->oldest != NULL)
        end(requests->oldest);
    for (struct request_slab *slab = requests->slabs; slab != NULL; slab = next) {
        next = slab->next;
        free(slab);
    }
    ev_timer_stop(requests->worker->loop, &requests->tick);
    links_deinit(requests);
    if (requests->served != NULL)
        served_unref(requests->served);
    free(requests->table);
    free(requests->free_slots);
    free(requests->own.siblings);
    free(requests->other.siblings);
    free(requests);
}

void requests_stats(struct request_stats *stats)
{
    *stats = (struct request_stats){0};
    for (unsigned i = 0; i < workers_count(); i++) {
        const struct requests *requests = workers_get(i)->requests;
        if (requests == NULL)
            continue;
#define X(name) counter_add(&stats->name, counter_get(&requests->stats.name));
        REQUEST_COUNTERS(X)
#undef X
        stats->in_flight += requests_in_flight(requests);
        stats->links_open += atomic_load_explicit(&requests->links_open, memory_order_relaxed);
    }
}
