#include "server/hint_queue.h"
#include "server/cell_store.h"
#include "server/cluster.h"
#include "server/policy.h"
#include <assert.h>
#include <stdlib.h>

/* What a hint takes beside its cell's key and values: the item's header, the cell as it is encoded,
 * and what the cluster thread keeps (struct held_cell and struct hint, in server/node_hints.c). */
#define HINT_OVERHEAD_BYTES 256u

uint64_t hint_bytes(struct slice key, const struct cell *cell)
{
    uint64_t bytes = HINT_OVERHEAD_BYTES + 2 * key.size;

    for (unsigned i = 0; i < cell->sibling_count; i++)
        bytes += cell->siblings[i].value_bytes;
    return bytes;
}

void hint_queue_init(struct hint_queue *queue, struct store *store, uint64_t bytes_max)
{
    *queue = (struct hint_queue){.store = store, .bytes_max = bytes_max};
    pthread_mutex_init(&queue->lock, NULL);
    queue->end = &queue->first;
}

void hint_queue_deinit(struct hint_queue *queue)
{
    for (struct hint_note *note = hint_queue_take(queue), *next; note != NULL; note = next) {
        next = note->next;
        free(note);
    }
    pthread_mutex_destroy(&queue->lock);
}

void hint_queue_close(struct hint_queue *queue)
{
    atomic_store_explicit(&queue->is_closed, true, memory_order_relaxed);
}

bool hint_queue_reserve(struct hint_queue *queue, uint64_t bytes)
{
    uint64_t used = atomic_load_explicit(&queue->bytes_used, memory_order_relaxed);

    do {
        assert(used <= queue->bytes_max);
        if (bytes > queue->bytes_max - used ||
            atomic_load_explicit(&queue->is_closed, memory_order_relaxed)) {
            atomic_fetch_add_explicit(&queue->refused, 1, memory_order_relaxed);
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&queue->bytes_used, &used, used + bytes,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

void hint_queue_free(struct hint_queue *queue, uint64_t bytes)
{
    const uint64_t before =
        atomic_fetch_sub_explicit(&queue->bytes_used, bytes, memory_order_relaxed);

    assert(before >= bytes);
}

/* Without memory for a hint its owners get the cell by handoff instead: as one that is held here,
 * and not owned. */
static void give_up(struct hint_queue *queue, uint64_t hash, struct slice key, uint64_t bytes)
{
    struct stripe *stripe = store_lock(queue->store, hash);

    if (cell_store_unpin(stripe, hash, key) == 0)
        cell_store_class(stripe, hash, key, policy_copies(policy_of(key)));
    store_unlock(stripe);
    hint_queue_free(queue, bytes);
}

void hint_queue_add(struct hint_queue *queue, uint64_t hash, struct slice key, node_id target,
                    uint64_t bytes)
{
    struct hint_note *note = malloc(sizeof *note + key.size);

    assert(key.size <= UINT8_MAX);
    assert(target != NODE_NONE);
    if (note == NULL) {
        give_up(queue, hash, key, bytes);
        return;
    }
    *note = (struct hint_note){
        .hash = hash, .bytes = bytes, .target = target, .key_bytes = (unsigned char)key.size};
    memcpy(note->key, key.bytes, key.size);
    pthread_mutex_lock(&queue->lock);
    *queue->end = note;
    queue->end = &note->next;
    pthread_mutex_unlock(&queue->lock);
}

struct hint_note *hint_queue_take(struct hint_queue *queue)
{
    struct hint_note *notes;

    pthread_mutex_lock(&queue->lock);
    notes = queue->first;
    queue->first = NULL;
    queue->end = &queue->first;
    pthread_mutex_unlock(&queue->lock);
    return notes;
}

bool hint_reserve(struct cluster *cluster, uint64_t bytes)
{
    return hint_queue_reserve(cluster_hints(cluster), bytes);
}

void hint_unreserve(struct cluster *cluster, uint64_t bytes)
{
    hint_queue_free(cluster_hints(cluster), bytes);
}

void hint_add(struct cluster *cluster, uint64_t hash, struct slice key, node_id target,
              uint64_t bytes)
{
    hint_queue_add(cluster_hints(cluster), hash, key, target, bytes);
}
