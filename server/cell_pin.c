/* Cells that are held for others; cell_store.h says more. */
#include "server/cell_store.h"
#include "server/stripe.h"
#include <assert.h>

static void set_class(struct stripe *stripe, uint64_t hash, struct item *item, unsigned copies)
{
    struct item_replica replica = item_replica(item);

    if (replica.copies == copies)
        return;
    cells_changed(stripe->store, hash, item, NULL);
    replica.copies = (uint8_t)copies;
    item_set_replica(item, replica);
    cells_changed(stripe->store, hash, NULL, item);
}

static void set_pins(struct stripe *stripe, struct item *item, unsigned pins)
{
    struct item_replica replica = item_replica(item);

    replica.pins = (uint16_t)pins;
    item_set_replica(item, replica);
    if (item->is_pinned == (pins > 0))
        return;
    stripe_count(stripe, item, -1);
    item->is_pinned = pins > 0;
    stripe_count(stripe, item, 1);
}

bool cell_store_pin(struct stripe *stripe, uint64_t hash, struct slice key, bool is_owner)
{
    struct item *item = cell_store_item(stripe, hash, key);
    unsigned pins;

    if (item == NULL)
        return false;
    pins = item_replica(item).pins;
    if (pins == UINT16_MAX)
        return false;
    set_pins(stripe, item, pins + 1);
    if (!is_owner)
        set_class(stripe, hash, item, 0);
    if (pins == 0)
        queue_entry_went_stale(stripe);
    return true;
}

int cell_store_unpin(struct stripe *stripe, uint64_t hash, struct slice key)
{
    struct item *item = cell_store_item(stripe, hash, key);
    int pins;

    if (item == NULL || item_replica(item).pins == 0)
        return -1;
    pins = item_replica(item).pins - 1;
    set_pins(stripe, item, (unsigned)pins);
    if (pins > 0)
        return pins;
    if (!queue_item(stripe, hash, item))
        stripe_remove(stripe, hash, item);
    else if (!item_is_hidden(item))
        hunt_expect(stripe, item_expiry_ms(item));
    return 0;
}

void cell_store_class(struct stripe *stripe, uint64_t hash, struct slice key, unsigned copies)
{
    struct item *item = cell_store_item(stripe, hash, key);

    assert(copies <= RING_COPIES_MAX);
    if (item != NULL)
        set_class(stripe, hash, item, copies);
}

void cell_store_drop(struct stripe *stripe, uint64_t hash, struct slice key)
{
    struct item *item = cell_store_item(stripe, hash, key);

    if (item != NULL)
        stripe_remove(stripe, hash, item);
}
