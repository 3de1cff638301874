/* Compaction: what is left in a sparsely filled slab moves to the free slots of others, so that the
 * slab's memory can serve another size.
 *
 *     memory_drain_begin()            no more slots are given from that slab
 *     for each slot in use
 *         glance at the key, hash it  without a lock: may be garbage
 *         lock the stripe, look the very item up by its handle
 *         there: copy it, point the index to the copy, free the slot
 *         not there: private to a request, or freed meanwhile: leave it
 *     memory_drain_end()              frees the slab if it is empty now */
#include "ring/key_hash.h"
#include "server/stripe.h"
#include <assert.h>

#if defined(__clang__)
#define UNCHECKED __attribute__((no_sanitize("address", "thread"), noinline))
#else
#define UNCHECKED __attribute__((no_sanitize("address"), no_sanitize("thread"), noinline))
#endif

/* Copies the key that `item` seems to have, and returns its size, or 0 if it can be none.  The slot
 * may be free, or its owner may be writing it; all that is relied on is that the memory stays
 * readable.  Whether it was a key turns out under the lock. */
UNCHECKED static unsigned glance(const struct item *item, uint32_t slot_bytes,
                                 unsigned char key[UINT8_MAX])
{
    const unsigned bits = item->bits;
    const unsigned size = item->key_bytes;
    const unsigned at = item_optional_bytes(bits);

    if (sizeof *item + at + size > slot_bytes)
        return 0;
    for (unsigned i = 0; i < size; i++)
        key[i] = ((const volatile unsigned char *)item->data)[at + i];
    return size;
}

static bool is_movable(const struct item *item)
{
    return !(item->bits & ITEM_LONG) || !item_is_referred(item);
}

/* Moves the item in that slot if the store holds it.  False when there is no free slot for it. */
static bool move_slot(struct store *store, struct memory_drain *drain, struct item *item)
{
    struct memory *memory = store->memory;
    const uint32_t slot_bytes = memory->classes[drain->class].slot_bytes;
    unsigned char key[UINT8_MAX];
    const unsigned size = glance(item, slot_bytes, key);
    const uint64_t hash = key_hash((struct slice){key, size});
    struct index_place place;
    struct stripe *stripe;
    struct item *copy = NULL;
    bool has_room = true;

    if (size == 0)
        return true;
    stripe = store_lock(store, hash);
    if (index_find_handle(&stripe->index, hash, memory_handle_of(memory, item), &place) &&
        is_movable(item)) {
        copy = memory_alloc(memory, stored_bytes(store, item));
        has_room = copy != NULL;
    }
    if (copy != NULL) {
        memcpy(copy, item, stored_bytes(store, item));
        index_replace(&stripe->index, place, copy);
        memory_drain_release(memory, drain, item);
    }
    store_unlock(stripe);
    return has_room;
}

bool store_compact(struct store *store)
{
    struct memory_drain drain;
    struct item *item;

    if (!memory_drain_begin(store->memory, &drain))
        return false;
    while ((item = memory_drain_next(store->memory, &drain)) != NULL)
        if (!move_slot(store, &drain, item))
            break;
    return memory_drain_end(store->memory, &drain);
}
