#include "tests/sim/engine.h"
#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

void engine_init(struct engine *engine)
{
    *engine = (struct engine){0};
}

void engine_deinit(struct engine *engine)
{
    free(engine->heap);
}

static bool comes_before(const struct engine_entry *a, const struct engine_entry *b)
{
    if (a->at_ms != b->at_ms)
        return a->at_ms < b->at_ms;
    return a->order < b->order;
}

static void put_at(struct engine *engine, struct engine_entry *entry, unsigned place)
{
    assert(place >= 1 && place <= engine->count);
    engine->heap[place] = entry;
    entry->place = place;
}

/* Lets the entry go up or down from `place`, which is free, to where it belongs. */
static void settle_from(struct engine *engine, struct engine_entry *entry, unsigned place)
{
    while (place > 1 && comes_before(entry, engine->heap[place / 2])) {
        put_at(engine, engine->heap[place / 2], place);
        place /= 2;
    }
    for (unsigned child; (child = 2 * place) <= engine->count; place = child) {
        if (child < engine->count && comes_before(engine->heap[child + 1], engine->heap[child]))
            child++;
        if (!comes_before(engine->heap[child], entry))
            break;
        put_at(engine, engine->heap[child], place);
    }
    put_at(engine, entry, place);
}

static void take_out(struct engine *engine, struct engine_entry *entry)
{
    struct engine_entry *last = engine->heap[engine->count];
    unsigned place = entry->place;

    assert(engine->heap[place] == entry);
    engine->count--;
    entry->place = 0;
    if (last != entry)
        settle_from(engine, last, place);
}

static void put_in(struct engine *engine, struct engine_entry *entry)
{
    if (engine->count + 2 > engine->room) {
        engine->room = engine->room == 0 ? 1024 : 2 * engine->room;
        engine->heap = realloc(engine->heap, engine->room * sizeof engine->heap[0]);
        if (engine->heap == NULL)
            abort();
    }
    engine->count++;
    settle_from(engine, entry, engine->count);
}

void engine_set(struct engine *engine, struct engine_entry *entry, uint64_t at_ms)
{
    assert(entry->run != NULL);
    if (at_ms < engine->now_ms)
        at_ms = engine->now_ms;
    if (entry->place != 0) {
        if (entry->at_ms == at_ms)
            return;
        take_out(engine, entry);
    }
    if (at_ms == ENGINE_NEVER)
        return;
    entry->at_ms = at_ms;
    entry->order = engine->next_order++;
    put_in(engine, entry);
}

struct engine_entry *engine_next(struct engine *engine, uint64_t until_ms)
{
    if (engine->count == 0 || engine->heap[1]->at_ms > until_ms) {
        if (engine->now_ms < until_ms)
            engine->now_ms = until_ms;
        return NULL;
    }
    struct engine_entry *entry = engine->heap[1];
    assert(entry->at_ms >= engine->now_ms);
    engine->now_ms = entry->at_ms;
    take_out(engine, entry);
    return entry;
}
