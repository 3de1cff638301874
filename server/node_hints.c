/* Hints for owners that are away; node_repair.h says more.
 *
 * 1. Each hint holds a pin of its cell and room in the queue's account, from the note that brought
 *    it to its end.
 * 2. A cell that is held has a hint, or more. */
#include "server/node_repair.h"
#include "server/settings.h"
#include "server/stripe.h"
#include <assert.h>
#include <stdlib.h>

#define BUCKET_BITS_MIN 8
#define RETRY_MS        1000
#define PAUSE_MAX_MS    30000

/* Steps of the machine, of up to 16 deliveries and ends each, and cells that are looked at again,
 * before the loop has its turn. */
#define STEPS_PER_TURN   64
#define BUCKETS_PER_TURN 1000

/* --- cells that are held --- */

static struct held_cell **bucket_of(struct held *held, uint64_t hash)
{
    return &held->buckets[hash >> (64 - held->bucket_bits)];
}

static struct held_cell *find_held(struct held *held, uint64_t hash, struct slice key)
{
    struct held_cell *cell = held->buckets == NULL ? NULL : *bucket_of(held, hash);

    for (; cell != NULL; cell = cell->next)
        if (cell->hinted.key_hash == hash && cell->key_bytes == key.size &&
            memcmp(cell->key, key.bytes, key.size) == 0)
            return cell;
    return NULL;
}

/* Makes room for more; without memory the chains get longer. */
static bool grow(struct held *held)
{
    const unsigned bits = held->buckets == NULL ? BUCKET_BITS_MIN : held->bucket_bits + 1;
    struct held_cell **buckets = calloc((size_t)1 << bits, sizeof buckets[0]);
    struct held old = *held;

    if (buckets == NULL)
        return held->buckets != NULL;
    held->buckets = buckets;
    held->bucket_bits = bits;
    /* Those before it were looked at. */
    held->recheck = old.buckets == NULL ? (uint64_t)1 << bits : held->recheck * 2;
    for (size_t i = 0; old.buckets != NULL && i < (size_t)1 << old.bucket_bits; i++)
        for (struct held_cell *cell = old.buckets[i], *next; cell != NULL; cell = next) {
            struct held_cell **bucket = bucket_of(held, cell->hinted.key_hash);

            next = cell->next;
            cell->next = *bucket;
            *bucket = cell;
        }
    free(old.buckets);
    return true;
}

static struct slice key_of(const struct held_cell *cell)
{
    return (struct slice){cell->key, cell->key_bytes};
}

static int64_t memory_of(const struct held_cell *cell)
{
    return (int64_t)(sizeof *cell + cell->key_bytes);
}

static struct held_cell *hold(struct repair *repair, uint64_t hash, struct slice key)
{
    struct held *held = &repair->held;
    struct held_cell *cell, **bucket;

    if ((held->buckets == NULL || held->count >= (uint64_t)1 << held->bucket_bits) && !grow(held))
        return NULL;
    cell = malloc(sizeof *cell + key.size);
    if (cell == NULL)
        return NULL;
    *cell = (struct held_cell){.hinted.key_hash = hash, .key_bytes = (unsigned char)key.size};
    memcpy(cell->key, key.bytes, key.size);
    bucket = bucket_of(held, hash);
    cell->next = *bucket;
    *bucket = cell;
    held->count++;
    memory_charge(repair->node->store->memory, memory_of(cell));
    return cell;
}

/* Lets go of a cell that has no hints any more. */
static void let_go(struct repair *repair, struct held_cell *cell)
{
    struct held_cell **link = bucket_of(&repair->held, cell->hinted.key_hash);

    assert(cell->hinted.first == NULL);
    while (*link != cell)
        link = &(*link)->next;
    *link = cell->next;
    repair->held.count--;
    memory_charge(repair->node->store->memory, -memory_of(cell));
    free(cell);
}

static struct held_cell *cell_of(const struct hint *hint)
{
    return (struct held_cell *)hint->cell; /* its first member */
}

/* --- their beginning and end --- */

/* A cell with pins is in the trees if this node owns its key. */
static void classify(struct repair *repair, uint64_t hash, struct slice key)
{
    const unsigned copies = repair_owns(repair, hash, key) ? repair_class(key) : 0;
    struct stripe *stripe = store_lock(repair->node->store, hash);

    cell_store_class(stripe, hash, key, copies);
    store_unlock(stripe);
}

/* A pin goes.  With the last one the cell is as any other: it belongs here; or `is_delivered` and
 * is dropped; or it will be handed over to its owners. */
static void unpin(struct repair *repair, uint64_t hash, struct slice key, bool is_delivered)
{
    const bool is_owner = repair_owns(repair, hash, key);
    struct stripe *stripe = store_lock(repair->node->store, hash);

    if (cell_store_unpin(stripe, hash, key) == 0) {
        if (is_delivered && !is_owner)
            cell_store_drop(stripe, hash, key);
        else
            cell_store_class(stripe, hash, key, repair_class(key));
    }
    store_unlock(stripe);
}

/* The hint is none of the machine's any more. */
static void end(struct repair *repair, struct hint *hint, bool is_delivered)
{
    struct kept_hint *kept = (struct kept_hint *)hint; /* its first member */
    struct held_cell *cell = cell_of(hint);

    unpin(repair, cell->hinted.key_hash, key_of(cell), is_delivered);
    hint_queue_free(&repair->queue, kept->bytes);
    memory_charge(repair->node->store->memory, -(int64_t)sizeof *kept);
    free(kept);
    if (cell->hinted.first == NULL)
        let_go(repair, cell);
}

/* The cell stands for another state of the key now: the hint that is there takes the place of the
 * note, whose room it keeps. */
static void repeat(struct repair *repair, struct hint *present, const struct hint_note *note)
{
    struct kept_hint *kept = (struct kept_hint *)present;

    hint_queue_free(&repair->queue, kept->bytes);
    kept->bytes = note->bytes;
    unpin(repair, note->hash, (struct slice){note->key, note->key_bytes}, false);
}

static enum hints_add try_to_add(struct repair *repair, const struct hint_note *note)
{
    const uint32_t bytes = note->bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)note->bytes;
    const struct slice key = {note->key, note->key_bytes};
    struct held_cell *cell = find_held(&repair->held, note->hash, key);
    struct kept_hint *kept = malloc(sizeof *kept);
    enum hints_add added = HINTS_NO_ROOM;
    struct hint *present;

    if (cell == NULL)
        cell = hold(repair, note->hash, key);
    if (kept == NULL || cell == NULL)
        goto done;
    kept->bytes = note->bytes;
    present = hints_find(&repair->hints, &cell->hinted, note->target);
    added = hints_add(&repair->hints, &cell->hinted, &kept->hint, note->target, bytes,
                      node_now_ms(repair->node));
    if (added == HINTS_REPEATED)
        repeat(repair, present, note);
done:
    if (added != HINTS_ADDED)
        free(kept);
    else
        memory_charge(repair->node->store->memory, sizeof *kept);
    if (cell != NULL && cell->hinted.first == NULL)
        let_go(repair, cell);
    return added;
}

static void add(struct repair *repair, const struct hint_note *note)
{
    const struct slice key = {note->key, note->key_bytes};
    enum hints_add added = HINTS_NO_ROOM;

    if (membership_has(&repair->node->membership, note->target))
        added = try_to_add(repair, note);
    switch (added) {
    case HINTS_ADDED:
        repair->stats.hints_made++;
        classify(repair, note->hash, key);
        break;
    case HINTS_REPEATED: break;
    case HINTS_NO_ROOM: /* no memory, or no such member: all owners get it */
        unpin(repair, note->hash, key, false);
        hint_queue_free(&repair->queue, note->bytes);
        break;
    }
}

void repair_hints_take(struct repair *repair)
{
    for (struct hint_note *note = hint_queue_take(&repair->queue), *next; note != NULL;
         note = next) {
        next = note->next;
        add(repair, note);
        free(note);
    }
}

/* --- the machine --- */

void repair_hints_start(struct repair *repair)
{
    const struct hints_options options = {.bytes_max = UINT64_MAX, /* the queue keeps the bound */
                                          .lifetime_ms = node_wait_ms(settings.hint_lifetime_ms),
                                          .retry_ms = (uint32_t)node_wait_ms(RETRY_MS),
                                          .pause_max_ms = (uint32_t)node_wait_ms(PAUSE_MAX_MS)};

    hints_init(&repair->hints, &options, repair->targets, RING_MEMBERS_MAX,
               node_wall_ms(repair->node) * 1000);
}

void repair_hints_deinit(struct repair *repair)
{
    struct held *held = &repair->held;

    for (size_t i = 0; held->buckets != NULL && i < (size_t)1 << held->bucket_bits; i++)
        for (struct held_cell *cell = held->buckets[i], *next; cell != NULL; cell = next) {
            next = cell->next;
            for (struct hint *hint; (hint = cell->hinted.first) != NULL;) {
                hints_drop(&repair->hints, hint);
                free(hint);
            }
            free(cell);
        }
    free(held->buckets);
}

static void deliver(struct repair *repair, const struct hints_deliver *deliver)
{
    const struct held_cell *cell = cell_of(deliver->hint);
    const struct hint_delivery delivery = {.from = repair->node->id,
                                           .to = deliver->target,
                                           .number = deliver->number,
                                           .key_hash = cell->hinted.key_hash};

    if (repair_send_hint(repair, delivery, key_of(cell)))
        return;
    hints_drop(&repair->hints, deliver->hint); /* lost to a flush */
    end(repair, deliver->hint, false);
}

static void release(struct repair *repair, const struct hints_release *release)
{
    switch (release->reason) {
    case HINTS_DELIVERED: repair->stats.hints_delivered++; break;
    case HINTS_EXPIRED: repair->stats.hints_expired++; break;
    case HINTS_UNOWNED: repair->stats.hints_unowned++; break;
    }
    end(repair, release->hint, release->reason == HINTS_DELIVERED);
}

void repair_hints_step(struct repair *repair, struct hints_event event)
{
    struct token_bucket *bucket = repair_bucket(repair, BUDGET_HINTS);
    struct hints_effects effects;
    unsigned steps = 0;

    repair_hints_take(repair);
    event.bucket = bucket;
    event.now_ms = node_now_ms(repair->node);
    do {
        effects.trace = NULL;
        effects.deliver_count = effects.release_count = 0;
        hints_step(&repair->hints, &event, &effects);
        for (unsigned i = 0; i < effects.deliver_count; i++)
            deliver(repair, &effects.delivers[i]);
        for (unsigned i = 0; i < effects.release_count; i++)
            release(repair, &effects.releases[i]);
        event.type = HINTS_TICK;
    } while (effects.deliver_count + effects.release_count > 0 && ++steps < STEPS_PER_TURN &&
             hints_deadline_ms(&repair->hints, bucket) <= event.now_ms);
}

/* --- another table --- */

void repair_hints_recheck(struct repair *repair)
{
    repair->held.recheck = 0;
}

static uint64_t bucket_count(const struct held *held)
{
    return held->buckets == NULL ? 0 : (uint64_t)1 << held->bucket_bits;
}

bool repair_hints_is_rechecking(const struct repair *repair)
{
    return repair->held.recheck < bucket_count(&repair->held);
}

void repair_hints_go_on(struct repair *repair)
{
    struct held *held = &repair->held;
    const uint64_t end = bucket_count(held);

    for (unsigned i = 0; i < BUCKETS_PER_TURN && held->recheck < end; i++, held->recheck++)
        for (struct held_cell *cell = held->buckets[held->recheck]; cell != NULL; cell = cell->next)
            classify(repair, cell->hinted.key_hash, key_of(cell));
}

/* --- hints of others --- */

void repair_on_hint(struct repair *repair, node_id from, const struct peer_hint *hint)
{
    const struct hint_delivery *delivery = &hint->delivery;
    struct peer_message *reply = &repair->message;

    reply->type = PEER_HINT_ACK;
    reply->hint_ack =
        (struct hint_ack){delivery->to, delivery->from, delivery->number, HINT_STORED};
    if (delivery->from != from || delivery->to != repair->node->id)
        return;
    repair->stats.hints_received++;
    if (!repair_owns(repair, delivery->key_hash, hint->key))
        reply->hint_ack.result = HINT_NOT_OWNER;
    else if (repair_merge(repair, delivery->key_hash, hint->key, delivery->cell, true) ==
             REPAIR_FAILED)
        reply->hint_ack.result = HINT_REFUSED;
    node_send(repair->node, from, reply);
}
