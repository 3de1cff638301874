#include "tests/sim/store.h"
#include <assert.h>
#include <stdlib.h>

void store_init(struct store *store, unsigned key_count)
{
    *store = (struct store){.key_count = key_count};
    store->cells = calloc(key_count, sizeof store->cells[0]);
    if (store->cells == NULL)
        abort();
}

void store_deinit(struct store *store)
{
    for (unsigned key = 0; key < store->key_count; key++)
        free(store->cells[key].cell.siblings);
    free(store->cells);
}

void cell_reserve(struct cell *cell, unsigned siblings)
{
    unsigned room = cell->sibling_room == 0 ? 4 : cell->sibling_room;

    if (siblings <= cell->sibling_room)
        return;
    while (room < siblings)
        room *= 2;
    cell->siblings = realloc(cell->siblings, room * sizeof cell->siblings[0]);
    if (cell->siblings == NULL)
        abort();
    cell->sibling_room = room;
}

void cell_release(struct cell *cell)
{
    free(cell->siblings);
    cell_init(cell, NULL, 0);
}

struct cell *store_find(struct store *store, unsigned key)
{
    assert(key < store->key_count);
    return store->cells[key].is_present ? &store->cells[key].cell : NULL;
}

struct cell *store_make(struct store *store, unsigned key, unsigned more)
{
    struct stored *stored = &store->cells[key];

    assert(key < store->key_count);
    if (!stored->is_present) {
        cell_init(&stored->cell, stored->cell.siblings, stored->cell.sibling_room);
        stored->is_present = true;
        store->count++;
    }
    cell_reserve(&stored->cell, stored->cell.sibling_count + more);
    return &stored->cell;
}

void store_drop(struct store *store, unsigned key)
{
    assert(store->cells[key].is_present);
    store->cells[key].is_present = false;
    store->count--;
}
