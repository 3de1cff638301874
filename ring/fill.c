#include "ring/fill.h"
#include <assert.h>
#include <string.h>

void fill_init(struct fill *fill, uint32_t retry_ms, unsigned partition_count, uint64_t *wanted,
               uint64_t first_number)
{
    memset(fill, 0, sizeof *fill);
    assert(retry_ms > 0);
    fill->retry_ms = retry_ms;
    fill->next_number = first_number;
    fill->wanted = wanted;
    fill->partition_count = partition_count;
    fill->wake_ms = UINT64_MAX;
    memset(wanted, 0, (partition_count + 63) / 64 * sizeof wanted[0]);
}

static bool is_wanted(const struct fill *fill, unsigned partition)
{
    return (fill->wanted[partition / 64] >> (partition % 64) & 1) != 0;
}

static struct fill_slot *slot_of(struct fill *fill, unsigned partition)
{
    for (unsigned i = 0; i < FILL_WINDOW; i++)
        if (fill->slots[i].is_used && fill->slots[i].partition == partition)
            return &fill->slots[i];
    return NULL;
}

static struct merkle_range range_of(const struct ring_table *table, unsigned partition)
{
    return merkle_range_child((struct merkle_range){0, 0}, table->partition_bits, partition);
}

static void stop(struct fill *fill, unsigned partition)
{
    struct fill_slot *slot = slot_of(fill, partition);

    if (!is_wanted(fill, partition))
        return;
    assert(fill->wanted_count > 0);
    fill->wanted[partition / 64] &= ~((uint64_t)1 << (partition % 64));
    fill->wanted_count--;
    if (slot != NULL)
        slot->is_used = false;
}

static void start(struct fill *fill, unsigned partition)
{
    stop(fill, partition); /* from its beginning */
    fill->wanted[partition / 64] |= (uint64_t)1 << (partition % 64);
    fill->wanted_count++;
}

/* Whether who is at that place of a row owns all keys that who is at the place `own` does. */
static bool owns_as_much(const struct exchange_view *view, unsigned place, unsigned own)
{
    for (unsigned i = 0; i < view->forest_count; i++)
        if (view->forests[i].copies > own && view->forests[i].copies <= place)
            return false;
    return true;
}

/* A warm co-owner that can be asked; NODE_NONE if there is none.  Those who own all the keys that
 * this node owns are preferred; among equals `turn` decides, so that the work is shared, and a
 * repeat goes to another one. */
static node_id source_of(const struct fill_event *event, unsigned partition, unsigned turn)
{
    const struct ring_table *table = event->view->table;
    const unsigned char *row = ring_table_row(table, partition);
    unsigned own = exchange_position(table, partition, event->view->self);
    node_id sources[RING_COPIES_MAX];
    unsigned count = 0;

    for (unsigned i = 0; i < table->copies; i++) {
        if (count > 0 && !owns_as_much(event->view, i, own))
            break;
        if (i == own || row[i] == RING_NO_OWNER)
            continue;
        const struct peer_view *peer = &event->peers[row[i]];
        bool is_warming =
            peer->warming != NULL && (peer->warming[partition / 64] >> (partition % 64) & 1) != 0;
        if (peer->is_reachable && !is_warming)
            sources[count++] = table->members[row[i]].id;
    }
    return count == 0 ? NODE_NONE : sources[(partition + turn) % count];
}

/* Asks for what follows the cursor; false if there are no tokens. */
static bool ask(struct fill *fill, struct fill_slot *slot, const struct fill_event *event,
                struct fill_effects *effects)
{
    const struct exchange_view *view = event->view;
    struct merkle_range range = range_of(view->table, slot->partition);
    struct exchange_message *message = &effects->messages[effects->message_count];
    struct exchange_digests *digests = &message->digests;

    assert(effects->message_count < FILL_MESSAGES_MAX);
    slot->number = fill->next_number++;
    message->type = EXCHANGE_DIGESTS;
    message->head = (struct exchange_head){view->self, slot->source, view->table->version,
                                           EXCHANGE_FILL, slot->number};
    digests->parent = range;
    digests->depth = range.depth;
    digests->children = 1;
    digests->first = slot->cursor;
    digests->last = merkle_range_last(range);
    digests->copies_min =
        exchange_shared_from(view->table, slot->partition, view->self, slot->source);
    digests->copies_max = view->table->copies;
    digests->takes = view->takes;
    digests->is_give_only = false;
    digests->key_count = 0;
    if (!token_bucket_take(event->bucket, exchange_message_bytes(message), event->now_ms))
        return false;
    effects->message_count++;
    slot->is_asking = true;
    slot->retry_at_ms = event->now_ms + fill->retry_ms;
    return true;
}

static void end_slot(struct fill *fill, struct fill_slot *slot, struct fill_effects *effects)
{
    assert(effects->filled_count < FILL_DONE_MAX);
    effects->filled[effects->filled_count++] = slot->partition;
    fill->partitions_filled++;
    ring_trace_say(effects->trace, "partition %u is filled", slot->partition);
    stop(fill, slot->partition);
}

static void wait_for_retry(struct fill *fill, struct fill_slot *slot, uint64_t now_ms)
{
    slot->is_asking = false;
    slot->repeats++;
    slot->retry_at_ms = now_ms + fill->retry_ms;
}

static void on_difference(struct fill *fill, const struct fill_event *event,
                          struct fill_effects *effects)
{
    const struct exchange_difference *difference = event->difference;
    struct fill_slot *slot = NULL;

    for (unsigned i = 0; i < FILL_WINDOW; i++)
        if (fill->slots[i].is_used && fill->slots[i].is_asking &&
            fill->slots[i].number == difference->head.number)
            slot = &fill->slots[i];
    if (slot == NULL)
        return;
    uint64_t last = merkle_range_last(range_of(event->view->table, slot->partition));
    fill->cells_taken += event->changed_count;
    if (difference->answer != EXCHANGE_DONE || event->has_failed ||
        difference->reached < slot->cursor || difference->reached > last) {
        wait_for_retry(fill, slot, event->now_ms);
        return;
    }
    slot->is_asking = false;
    slot->repeats = 0;
    slot->retry_at_ms = 0;
    if (difference->reached == last)
        end_slot(fill, slot, effects);
    else
        slot->cursor = difference->reached + 1;
}

/* Takes up further partitions that are wanted and have a source. */
static void use_free_slots(struct fill *fill, const struct fill_event *event)
{
    unsigned slot = 0;

    for (unsigned p = 0; p < fill->partition_count; p++) {
        if (fill->wanted[p / 64] == 0) {
            p |= 63;
            continue;
        }
        if (!is_wanted(fill, p) || slot_of(fill, p) != NULL || source_of(event, p, 0) == NODE_NONE)
            continue;
        while (slot < FILL_WINDOW && fill->slots[slot].is_used)
            slot++;
        if (slot == FILL_WINDOW)
            return;
        fill->slots[slot] = (struct fill_slot){
            .is_used = true, .partition = p, .cursor = range_of(event->view->table, p).first};
    }
}

/* Sends what there is room and tokens for. */
static void go_on(struct fill *fill, const struct fill_event *event, struct fill_effects *effects)
{
    for (unsigned i = 0; i < FILL_WINDOW; i++) {
        struct fill_slot *slot = &fill->slots[i];
        if (!slot->is_used || slot->retry_at_ms > event->now_ms)
            continue;
        if (slot->is_asking)
            wait_for_retry(fill, slot, event->now_ms); /* the answer is late: ask again now */
        const struct ring_table *table = event->view->table;
        if (exchange_position(table, slot->partition, event->view->self) == table->copies) {
            stop(fill, slot->partition);
            continue;
        }
        if (event->view->takes == 0) {
            end_slot(fill, slot, effects); /* full: there is nothing to fill */
            continue;
        }
        slot->source = source_of(event, slot->partition, slot->repeats);
        if (slot->source == NODE_NONE) {
            slot->retry_at_ms = event->now_ms + fill->retry_ms;
            continue;
        }
        slot->retry_at_ms = 0;
        if (effects->message_count == FILL_MESSAGES_MAX || !ask(fill, slot, event, effects))
            return;
    }
}

void fill_step(struct fill *fill, const struct fill_event *event, struct fill_effects *effects)
{
    assert(effects->message_count == 0);
    assert(fill->partition_count == ring_table_partitions(event->view->table));
    switch (event->type) {
    case FILL_TICK: break;
    case FILL_START: start(fill, event->partition); break;
    case FILL_STOP: stop(fill, event->partition); break;
    case FILL_DIFFERENCE: on_difference(fill, event, effects); break;
    }
    if (fill->wanted_count > 0 && token_bucket_ready_ms(event->bucket) <= event->now_ms) {
        use_free_slots(fill, event);
        go_on(fill, event, effects);
    }
    fill->wake_ms = UINT64_MAX;
    for (unsigned i = 0; i < FILL_WINDOW; i++)
        if (fill->slots[i].is_used && fill->slots[i].retry_at_ms < fill->wake_ms)
            fill->wake_ms = fill->slots[i].retry_at_ms;
    uint64_t ready_ms = token_bucket_ready_ms(event->bucket);
    if (effects->filled_count > 0 && fill->wanted_count > 0)
        fill->wake_ms = 0; /* there are free slots again */
    if (fill->wake_ms < ready_ms)
        fill->wake_ms = ready_ms;
    if (fill->wanted_count > 0 && fill->wake_ms > event->now_ms + fill->retry_ms)
        fill->wake_ms = event->now_ms + fill->retry_ms; /* look for sources */
}

uint64_t fill_deadline_ms(const struct fill *fill)
{
    return fill->wake_ms;
}

bool fill_is_active(const struct fill *fill)
{
    for (unsigned i = 0; i < FILL_WINDOW; i++)
        if (fill->slots[i].is_used && fill->slots[i].source != NODE_NONE)
            return true;
    return false;
}
