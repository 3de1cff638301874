#include "ring/handoff.h"
#include <assert.h>
#include <string.h>

void handoff_init(struct handoff *handoff, uint32_t retry_ms, uint64_t first_number)
{
    memset(handoff, 0, sizeof *handoff);
    assert(retry_ms > 0);
    handoff->retry_ms = retry_ms;
    handoff->next_number = first_number;
}

static struct merkle_range range_of(const struct ring_table *table, unsigned partition)
{
    return merkle_range_child((struct merkle_range){0, 0}, table->partition_bits, partition);
}

static bool is_unowned(const struct exchange_view *view, unsigned partition, unsigned copies)
{
    unsigned position = exchange_position(view->table, partition, view->self);

    return position >= copies || position == view->table->copies;
}

uint64_t handoff_cells_left(const struct exchange_view *view)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < view->forest_count; i++)
        for (unsigned p = 0; p < ring_table_partitions(view->table); p++)
            if (is_unowned(view, p, view->forests[i].copies))
                count += merkle_cell_count(&view->forests[i].trees[p]);
    return count;
}

static bool get_bit(const uint64_t *bits, unsigned i)
{
    return (bits[i / 64] >> (i % 64) & 1) != 0;
}

/* Whether all owners of the class can be reached; there is at least one. */
static bool can_move(const struct handoff_event *event, unsigned partition, unsigned copies)
{
    const struct ring_table *table = event->view->table;
    const unsigned char *row = ring_table_row(table, partition);
    unsigned i;

    for (i = 0; i < copies && i < table->copies && row[i] != RING_NO_OWNER; i++)
        if (!event->peers[row[i]].is_reachable)
            return false;
    return i > 0;
}

/* Sending. */

static struct exchange_message *next_message(struct handoff *handoff, struct handoff_owner *owner,
                                             const struct handoff_event *event,
                                             struct handoff_effects *effects,
                                             enum exchange_type type)
{
    struct exchange_message *message = &effects->messages[effects->message_count];

    assert(effects->message_count < HANDOFF_MESSAGES_MAX);
    owner->number = handoff->next_number++;
    message->type = type;
    message->head = (struct exchange_head){
        event->view->self, owner->id, event->view->table->version, EXCHANGE_HANDOFF, owner->number};
    return message;
}

static bool send(struct handoff *handoff, struct handoff_owner *owner,
                 const struct handoff_event *event, struct handoff_effects *effects)
{
    uint64_t bytes = exchange_message_bytes(&effects->messages[effects->message_count]);

    if (!token_bucket_take(event->bucket, bytes, event->now_ms))
        return false;
    effects->message_count++;
    owner->repeat_at_ms = event->now_ms + handoff->retry_ms;
    return true;
}

/* The marks of the cells that the owner did not acknowledge yet. */
static void offer(struct handoff *handoff, const struct handoff_slot *slot,
                  struct handoff_owner *owner, const struct handoff_event *event,
                  struct handoff_effects *effects)
{
    struct merkle_range range = range_of(event->view->table, slot->partition);
    struct exchange_message *message =
        next_message(handoff, owner, event, effects, EXCHANGE_DIGESTS);
    struct exchange_digests *digests = &message->digests;

    owner->first = owner->next_item == 0 ? slot->cursor : owner->reached + 1;
    digests->parent = range;
    digests->depth = range.depth;
    digests->children = 1;
    digests->first = owner->first;
    digests->last = slot->reached;
    digests->copies_min = digests->copies_max = slot->copies;
    digests->takes = 0;
    digests->is_give_only = true;
    digests->key_count = 0;
    for (unsigned i = owner->next_item; i < slot->item_count; i++) {
        const struct exchange_item *item = &slot->items[i];
        digests->keys[digests->key_count++] =
            (struct exchange_key){item->key_hash, item->mark, item->bytes, item->kinds};
    }
    if (send(handoff, owner, event, effects))
        owner->state = HANDOFF_OFFERED;
}

static void give(struct handoff *handoff, const struct handoff_slot *slot,
                 struct handoff_owner *owner, const struct handoff_event *event,
                 struct handoff_effects *effects)
{
    struct exchange_message *message = next_message(handoff, owner, event, effects, EXCHANGE_CELLS);
    struct exchange_cells *cells = &message->cells;

    cells->is_handoff = true;
    cells->copies_min = cells->copies_max = slot->copies;
    cells->cell_bytes = 0;
    cells->cell_count = 0;
    for (unsigned i = 0; i < slot->item_count; i++) {
        if (!get_bit(owner->wanted, i))
            continue;
        cells->cell_bytes += slot->items[i].bytes;
        if (cells->cell_count == 0 ||
            cells->cells[cells->cell_count - 1].key_hash != slot->items[i].key_hash)
            cells->cells[cells->cell_count++] =
                (struct exchange_cell){slot->items[i].key_hash, NULL};
    }
    if (send(handoff, owner, event, effects))
        owner->state = HANDOFF_GIVEN;
}

/* The slots. */

static bool is_moving(const struct handoff *handoff, unsigned partition, unsigned copies)
{
    for (unsigned i = 0; i < HANDOFF_WINDOW; i++) {
        const struct handoff_slot *slot = &handoff->slots[i];
        if (slot->state != HANDOFF_FREE && slot->partition == partition && slot->copies == copies)
            return true;
    }
    return false;
}

static void begin_slot(struct handoff_slot *slot, const struct exchange_view *view,
                       unsigned partition, unsigned copies)
{
    node_id ids[RING_COPIES_MAX];

    assert(slot->state == HANDOFF_FREE);
    slot->state = HANDOFF_TO_SCAN;
    slot->partition = partition;
    slot->copies = copies;
    slot->version = view->table->version;
    slot->cursor = range_of(view->table, partition).first;
    slot->has_dropped = false;
    slot->owner_count = ring_table_owners(
        view->table, partition, copies < view->table->copies ? copies : view->table->copies, ids);
    assert(slot->owner_count > 0);
    for (unsigned i = 0; i < slot->owner_count; i++)
        slot->owners[i].id = ids[i];
}

/* Looks for cells that this node does not own, from the partition after the last one found, and
 * fills free slots. */
static void look(struct handoff *handoff, const struct handoff_event *event)
{
    const struct exchange_view *view = event->view;
    unsigned count = view->is_after_cut ? 0 : ring_table_partitions(view->table);
    unsigned slot = 0;

    handoff->look_at_ms = event->now_ms + handoff->retry_ms;
    for (unsigned walked = 0; walked < count; walked++) {
        unsigned p = (handoff->next_partition + walked) % count;
        for (unsigned i = 0; i < view->forest_count; i++) {
            unsigned copies = view->forests[i].copies;
            if (merkle_cell_count(&view->forests[i].trees[p]) == 0 ||
                !is_unowned(view, p, copies) || is_moving(handoff, p, copies) ||
                !can_move(event, p, copies))
                continue;
            while (slot < HANDOFF_WINDOW && handoff->slots[slot].state != HANDOFF_FREE)
                slot++;
            if (slot == HANDOFF_WINDOW) {
                handoff->next_partition = p;
                return;
            }
            begin_slot(&handoff->slots[slot], view, p, copies);
        }
    }
}

/* Goes on behind the batch. */
static void next_batch(struct handoff *handoff, struct handoff_slot *slot,
                       const struct exchange_view *view)
{
    uint64_t last = merkle_range_last(range_of(view->table, slot->partition));

    assert(slot->reached <= last);
    slot->state = slot->reached == last ? HANDOFF_FREE : HANDOFF_TO_SCAN;
    slot->cursor = slot->reached + 1;
    if (slot->state == HANDOFF_FREE && slot->has_dropped)
        handoff->look_at_ms = 0;
}

/* Whether the slot's work makes sense still. */
static bool is_valid(const struct handoff_slot *slot, const struct handoff_event *event)
{
    return ring_version_compare(slot->version, event->view->table->version) == 0 &&
           can_move(event, slot->partition, slot->copies) && !event->view->is_after_cut;
}

static void drop_batch(struct handoff_slot *slot, struct handoff_effects *effects)
{
    for (unsigned i = 0; i < slot->item_count; i++)
        effects->drops[effects->drop_count++] =
            (struct handoff_drop){slot->items[i].key_hash, slot->items[i].fingerprint};
    ring_trace_say(effects->trace, "all %u owners of partition %u have %u cells -> dropped here",
                   slot->owner_count, slot->partition, slot->item_count);
}

/* Drops the batch if everybody who has to acknowledged it. */
static void drop_if_acknowledged(struct handoff *handoff, struct handoff_slot *slot,
                                 const struct handoff_event *event, struct handoff_effects *effects)
{
    unsigned acknowledged = 0;

    assert(slot->state == HANDOFF_MOVING);
    for (unsigned i = 0; i < slot->owner_count; i++)
        acknowledged += slot->owners[i].state == HANDOFF_ACKNOWLEDGED;
#ifdef RING_BREAK_HANDOFF_EARLY
    if (acknowledged == 0)
#else
    if (acknowledged < slot->owner_count)
#endif
        return;
    drop_batch(slot, effects);
    slot->has_dropped = true;
    next_batch(handoff, slot, event->view);
}

/* Events. */

static void on_items(struct handoff *handoff, const struct handoff_event *event)
{
    const struct exchange_scanned *scanned = event->scanned;

    for (unsigned i = 0; i < HANDOFF_WINDOW; i++) {
        struct handoff_slot *slot = &handoff->slots[i];
        if (slot->state != HANDOFF_SCANNING || slot->number != scanned->number)
            continue;
        assert(scanned->item_count <= HANDOFF_BATCH);
        assert(scanned->reached >= slot->cursor);
        slot->reached = scanned->reached;
        slot->item_count = scanned->item_count;
        if (scanned->item_count == 0) {
            next_batch(handoff, slot, event->view);
            continue;
        }
        memcpy(slot->items, scanned->items, scanned->item_count * sizeof slot->items[0]);
        slot->state = HANDOFF_MOVING;
        for (unsigned j = 0; j < slot->owner_count; j++)
            slot->owners[j] = (struct handoff_owner){.id = slot->owners[j].id};
    }
}

/* The owner that waits for this answer, and its slot. */
static struct handoff_owner *owner_of(struct handoff *handoff, const struct exchange_head *head,
                                      enum handoff_owner_state state, struct handoff_slot **slot)
{
    for (unsigned i = 0; i < HANDOFF_WINDOW; i++) {
        *slot = &handoff->slots[i];
        for (unsigned j = 0; (*slot)->state == HANDOFF_MOVING && j < (*slot)->owner_count; j++) {
            struct handoff_owner *owner = &(*slot)->owners[j];
            if (owner->state == state && owner->number == head->number && owner->id == head->from)
                return owner;
        }
    }
    return NULL;
}

static void try_later(const struct handoff *handoff, struct handoff_owner *owner, uint64_t now_ms)
{
    owner->state = HANDOFF_TO_OFFER;
    owner->repeat_at_ms = now_ms + handoff->retry_ms;
}

/* The owner has all cells up to where its answer reached. */
static void acknowledge(struct handoff_slot *slot, struct handoff_owner *owner)
{
    while (owner->next_item < slot->item_count &&
           slot->items[owner->next_item].key_hash <= owner->reached)
        owner->next_item++;
    owner->repeat_at_ms = 0;
    owner->state = owner->next_item == slot->item_count ? HANDOFF_ACKNOWLEDGED : HANDOFF_TO_OFFER;
}

/* Marks what an owner wants of a batch; false if that makes no sense. */
static bool note_wanted(const struct handoff_slot *slot, struct handoff_owner *owner,
                        const struct exchange_difference *difference)
{
    unsigned found = 0, item = owner->next_item;

    memset(owner->wanted, 0, sizeof owner->wanted);
    if (difference->wanted_count > EXCHANGE_KEYS_MAX || difference->reached < owner->first ||
        difference->reached > slot->reached)
        return false;
    for (unsigned i = 0; i < difference->wanted_count; i++) {
        bool is_found = false;
        while (item < slot->item_count && slot->items[item].key_hash <= difference->wanted[i]) {
            if (slot->items[item].key_hash == difference->wanted[i]) {
                owner->wanted[item / 64] |= (uint64_t)1 << (item % 64);
                is_found = true;
            }
            item++;
        }
        found += is_found && difference->wanted[i] <= difference->reached;
    }
    return found == difference->wanted_count;
}

static void on_difference(struct handoff *handoff, const struct handoff_event *event,
                          struct handoff_effects *effects)
{
    const struct exchange_difference *difference = event->difference;
    struct handoff_slot *slot;
    struct handoff_owner *owner = owner_of(handoff, &difference->head, HANDOFF_OFFERED, &slot);

    if (owner == NULL)
        return;
    if (difference->answer != EXCHANGE_DONE || !note_wanted(slot, owner, difference)) {
        try_later(handoff, owner, event->now_ms);
        return;
    }
    owner->wanted_count = difference->wanted_count;
    uint64_t reached = difference->reached;
    if (owner->wanted_count > 0) {
        owner->state = HANDOFF_TO_GIVE;
        owner->repeat_at_ms = 0;
        owner->given_reached = reached;
        return;
    }
    owner->reached = reached;
    acknowledge(slot, owner);
    drop_if_acknowledged(handoff, slot, event, effects);
}

static void on_stored(struct handoff *handoff, const struct handoff_event *event,
                      struct handoff_effects *effects)
{
    const struct exchange_stored *stored = event->stored;
    struct handoff_slot *slot;
    struct handoff_owner *owner = owner_of(handoff, &stored->head, HANDOFF_GIVEN, &slot);
    unsigned merged = 0;

    if (owner == NULL)
        return;
    for (unsigned i = 0; i < stored->cell_count && i < EXCHANGE_KEYS_MAX; i++)
        merged += get_bit(stored->merged, i);
    handoff->cells_given += merged;
    if (stored->answer == EXCHANGE_DONE && stored->cell_count != owner->wanted_count) {
        slot->state = HANDOFF_TO_SCAN; /* some were gone here, and might have come back since */
        return;
    }
    if (stored->answer != EXCHANGE_DONE || merged < owner->wanted_count) {
        try_later(handoff, owner, event->now_ms);
        return;
    }
    owner->reached = owner->given_reached;
    acknowledge(slot, owner);
    drop_if_acknowledged(handoff, slot, event, effects);
}

/* Sends what there is room and tokens for. */
static void go_on_with(struct handoff *handoff, struct handoff_slot *slot,
                       const struct handoff_event *event, struct handoff_effects *effects)
{
    for (unsigned i = 0; i < slot->owner_count; i++) {
        struct handoff_owner *owner = &slot->owners[i];
        bool is_late = owner->repeat_at_ms <= event->now_ms;
        if (owner->state == HANDOFF_ACKNOWLEDGED || !is_late)
            continue;
        if (effects->message_count == HANDOFF_MESSAGES_MAX)
            return;
        if (owner->state == HANDOFF_TO_GIVE || owner->state == HANDOFF_GIVEN)
            give(handoff, slot, owner, event, effects);
        else
            offer(handoff, slot, owner, event, effects);
    }
}

static void go_on(struct handoff *handoff, const struct handoff_event *event,
                  struct handoff_effects *effects)
{
    for (unsigned i = 0; i < HANDOFF_WINDOW; i++) {
        struct handoff_slot *slot = &handoff->slots[i];
        if (token_bucket_ready_ms(event->bucket) > event->now_ms)
            return;
        if (slot->state == HANDOFF_MOVING)
            go_on_with(handoff, slot, event, effects);
        bool is_late = slot->state == HANDOFF_SCANNING && slot->scan_again_ms <= event->now_ms;
        if (slot->state != HANDOFF_TO_SCAN && !is_late)
            continue;
        slot->state = HANDOFF_SCANNING;
        slot->number = handoff->next_number++;
        slot->scan_again_ms = event->now_ms + handoff->retry_ms;
        effects->scans[effects->scan_count++] = (struct exchange_scan){
            .first = slot->cursor,
            .last = merkle_range_last(range_of(event->view->table, slot->partition)),
            .number = slot->number,
            .copies_min = slot->copies,
            .copies_max = slot->copies,
            .items_max = HANDOFF_BATCH};
    }
}

/* When to go on. */
static uint64_t next_wake_ms(const struct handoff *handoff, const struct handoff_event *event)
{
    uint64_t wake_ms = UINT64_MAX;
    uint64_t ready_ms = token_bucket_ready_ms(event->bucket);

    for (unsigned i = 0; i < HANDOFF_WINDOW; i++) {
        const struct handoff_slot *slot = &handoff->slots[i];
        if (slot->state == HANDOFF_TO_SCAN)
            wake_ms = 0;
        if (slot->state == HANDOFF_SCANNING && slot->scan_again_ms < wake_ms)
            wake_ms = slot->scan_again_ms;
        for (unsigned j = 0; slot->state == HANDOFF_MOVING && j < slot->owner_count; j++)
            if (slot->owners[j].state != HANDOFF_ACKNOWLEDGED &&
                slot->owners[j].repeat_at_ms < wake_ms)
                wake_ms = slot->owners[j].repeat_at_ms;
    }
    if (wake_ms < ready_ms)
        wake_ms = ready_ms;
    return wake_ms < handoff->look_at_ms ? wake_ms : handoff->look_at_ms;
}

void handoff_step(struct handoff *handoff, const struct handoff_event *event,
                  struct handoff_effects *effects)
{
    assert(effects->message_count == 0);
    assert(effects->drop_count == 0);
    for (unsigned i = 0; i < HANDOFF_WINDOW; i++) {
        struct handoff_slot *slot = &handoff->slots[i];
        if (slot->state != HANDOFF_FREE && !is_valid(slot, event))
            slot->state = HANDOFF_FREE;
    }
    switch (event->type) {
    case HANDOFF_TICK: break;
    case HANDOFF_ITEMS: on_items(handoff, event); break;
    case HANDOFF_DIFFERENCE: on_difference(handoff, event, effects); break;
    case HANDOFF_STORED: on_stored(handoff, event, effects); break;
    }
    if (handoff->look_at_ms <= event->now_ms)
        look(handoff, event);
    go_on(handoff, event, effects);
    handoff->wake_ms = next_wake_ms(handoff, event);
    assert(effects->drop_count <= HANDOFF_BATCH);
}

void handoff_hurry(struct handoff *handoff)
{
    handoff->look_at_ms = 0;
    handoff->wake_ms = 0;
}

uint64_t handoff_deadline_ms(const struct handoff *handoff)
{
    return handoff->wake_ms;
}
