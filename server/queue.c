/* 1. A chunk in the list has at least one entry, but for a tail that was just tidied.
 * 2. `entries` is the sum over all chunks.
 * 3. `tidy` is 0 or a chunk in the list. */
#include "server/queue.h"
#include <assert.h>
#include <string.h>

#define CHUNK_ENTRIES 126

struct chunk {
    memory_handle next;
    uint16_t first, end; /* entries in use: from the one, to before the other */
    uint32_t entry[CHUNK_ENTRIES];
};

static_assert(sizeof(struct chunk) == MEMORY_CHUNK_BYTES, "memory has a class for chunks");

static struct chunk *chunk_at(const struct queue *queue, memory_handle handle)
{
    return handle == 0 ? NULL : memory_pointer(queue->memory, handle);
}

void queue_init(struct queue *queue, struct memory *memory)
{
    *queue = (struct queue){.memory = memory};
}

/* Takes the oldest chunk out. */
static void drop_head(struct queue *queue)
{
    struct chunk *chunk = chunk_at(queue, queue->head);

    if (queue->tidy == queue->head)
        queue->tidy = 0;
    queue->head = chunk->next;
    if (queue->head == 0)
        queue->tail = 0;
    memory_release_forced(queue->memory, chunk, MEMORY_CHUNK);
}

void queue_deinit(struct queue *queue)
{
    while (queue->head != 0)
        drop_head(queue);
    queue->entries = 0;
}

static struct chunk *add_tail(struct queue *queue)
{
    struct chunk *chunk = memory_alloc_forced(queue->memory, MEMORY_CHUNK);
    struct chunk *tail = chunk_at(queue, queue->tail);

    if (chunk == NULL)
        return NULL;
    chunk->next = 0;
    chunk->first = chunk->end = 0;
    queue->tail = memory_handle_of(queue->memory, chunk);
    if (tail == NULL)
        queue->head = queue->tail;
    else
        tail->next = queue->tail;
    return chunk;
}

bool queue_push(struct queue *queue, uint32_t entry)
{
    struct chunk *tail = chunk_at(queue, queue->tail);

    if (tail == NULL || tail->end == CHUNK_ENTRIES)
        tail = add_tail(queue);
    if (tail == NULL)
        return false;
    assert(tail->end < CHUNK_ENTRIES);
    tail->entry[tail->end++] = entry;
    queue->entries++;
    return true;
}

bool queue_pop(struct queue *queue, uint32_t *entry)
{
    struct chunk *head;

    while ((head = chunk_at(queue, queue->head)) != NULL && head->first == head->end)
        drop_head(queue);
    if (head == NULL)
        return false;
    *entry = head->entry[head->first++];
    assert(queue->entries >= 1); /* 2 */
    queue->entries--;
    if (head->first == head->end)
        drop_head(queue);
    return true;
}

bool queue_peek(const struct queue *queue, unsigned ahead, uint32_t *entry)
{
    const struct chunk *chunk = chunk_at(queue, queue->head);
    unsigned left;

    if (chunk == NULL)
        return false;
    left = (unsigned)chunk->end - chunk->first;
    if (ahead >= left) {
        ahead -= left;
        chunk = chunk_at(queue, chunk->next);
        if (chunk == NULL || ahead >= (unsigned)chunk->end - chunk->first)
            return false;
    }
    *entry = chunk->entry[chunk->first + ahead];
    return true;
}

/* Keeps the entries of one chunk that are live, at its start and in order. */
static void filter(struct queue *queue, struct chunk *chunk,
                   bool (*is_live)(void *context, uint32_t entry), void *context)
{
    unsigned kept = 0;

    for (unsigned i = chunk->first; i < chunk->end; i++)
        if (is_live(context, chunk->entry[i]))
            chunk->entry[kept++] = chunk->entry[i];
    queue->entries -= (unsigned)chunk->end - chunk->first - kept;
    chunk->first = 0;
    chunk->end = (uint16_t)kept;
}

/* Moves what `chunk` has behind what `before` has, and takes `chunk` out. */
static void join(struct queue *queue, struct chunk *before, struct chunk *chunk)
{
    const unsigned kept = (unsigned)before->end - before->first;

    assert(kept + chunk->end <= CHUNK_ENTRIES);
    assert(chunk->first == 0);
    memmove(before->entry, before->entry + before->first, kept * sizeof before->entry[0]);
    memcpy(before->entry + kept, chunk->entry, chunk->end * sizeof chunk->entry[0]);
    before->first = 0;
    before->end = (uint16_t)(kept + chunk->end);
    before->next = chunk->next;
    if (before->next == 0)
        queue->tail = memory_handle_of(queue->memory, before);
    memory_release_forced(queue->memory, chunk, MEMORY_CHUNK);
}

bool queue_tidy(struct queue *queue, bool (*is_live)(void *context, uint32_t entry), void *context)
{
    struct chunk *before = chunk_at(queue, queue->tidy);
    const memory_handle handle = before == NULL ? queue->head : before->next;
    struct chunk *chunk = chunk_at(queue, handle);

    if (chunk == NULL) {
        queue->tidy = 0;
        return true;
    }
    filter(queue, chunk, is_live, context);
    if (before != NULL && before->end - before->first + chunk->end <= CHUNK_ENTRIES)
        join(queue, before, chunk);
    else
        queue->tidy = handle;
    return false;
}
