/* An open-addressed table of handles beside the array of ids.  A slot is written after the id that
 * it leads to, so whoever finds a handle finds its id, without the lock. */
#include "server/node_table.h"
#include <assert.h>
#include <stdatomic.h>

#define SLOTS (4 * NODE_HANDLES_MAX)

static_assert((SLOTS & (SLOTS - 1)) == 0, "a slot is some bits of a hash");
static_assert(NODE_HANDLES_MAX < UINT16_MAX, "a handle has two bytes");

void node_table_init(struct node_table *table)
{
    assert(table->count == 0);
    pthread_mutex_init(&table->lock, NULL);
}

void node_table_deinit(struct node_table *table)
{
    pthread_mutex_destroy(&table->lock);
}

static unsigned slot_of(node_id id)
{
    return (unsigned)((id * 0x9e3779b97f4a7c15u) >> 32) & (SLOTS - 1);
}

/* The handle of `id`, or none; then `slot` is the free one where it belongs. */
static unsigned find(const struct node_table *table, node_id id, unsigned *slot)
{
    for (*slot = slot_of(id);; *slot = (*slot + 1) & (SLOTS - 1)) {
        const unsigned handle = atomic_load_explicit(&table->slots[*slot], memory_order_acquire);

        if (handle == NODE_HANDLE_NONE ||
            atomic_load_explicit(&table->ids[handle], memory_order_relaxed) == id)
            return handle;
    }
}

unsigned node_table_handle(struct node_table *table, node_id id)
{
    unsigned slot, handle = find(table, id, &slot);

    assert(id != NODE_NONE);
    assert(id != NODE_ANY);
    if (handle != NODE_HANDLE_NONE)
        return handle;
    pthread_mutex_lock(&table->lock);
    handle = find(table, id, &slot); /* another thread may have been here first */
    if (handle == NODE_HANDLE_NONE && table->count < NODE_HANDLES_MAX) {
        handle = ++table->count;
        atomic_store_explicit(&table->ids[handle], id, memory_order_relaxed);
        atomic_store_explicit(&table->slots[slot], (uint16_t)handle, memory_order_release);
    }
    pthread_mutex_unlock(&table->lock);
    return handle;
}

node_id node_table_id(const struct node_table *table, unsigned handle)
{
    node_id id;

    assert(handle != NODE_HANDLE_NONE);
    assert(handle <= NODE_HANDLES_MAX);
    id = atomic_load_explicit(&table->ids[handle], memory_order_relaxed);
    assert(id != NODE_NONE);
    return id;
}
