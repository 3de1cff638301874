#include "server/cell_item.h"
#include "ring/key_hash.h"
#include "ring/merkle.h"
#include <assert.h>
#include <stdlib.h>

#define MARK_BYTES 8

/* Whether the value of the item is an encoded cell. */
static bool is_encoded(const struct item *item)
{
    return (item->bits & ITEM_CELL) != 0 && item_value_bytes(item) > 0;
}

unsigned cell_item_siblings(const struct item *item)
{
    return is_encoded(item) ? cell_decode_sibling_count(item_value_slice(item)) : 1;
}

bool cell_item_reserve(struct cell *cell, unsigned siblings)
{
    struct sibling *room;

    if (siblings <= cell->sibling_room)
        return true;
    room = realloc(cell->siblings, siblings * sizeof room[0]);
    if (room == NULL)
        return false;
    cell->siblings = room;
    cell->sibling_room = siblings;
    return true;
}

static uint64_t value_handle(const unsigned char *bytes)
{
    return (uint64_t)(uintptr_t)bytes;
}

static struct sibling plain_sibling(const struct node_table *nodes, const struct item *item,
                                    bool with_digests)
{
    const struct item_replica replica = item_replica(item);
    const struct slice value = item_value_slice(item);
    struct sibling sibling = {
        .dot = {node_table_id(nodes, replica.node), item->hlc},
        .kind = (enum sibling_kind)replica.kinds,
        .reg = {.hlc = item->hlc,
                .expires_ms = item_expiry_ms(item),
                .explicit_cas = (item->bits & ITEM_EXPLICIT_CAS) != 0 ? item_cas(item) : 0,
                .is_stale = (item->bits & ITEM_STALE) != 0},
    };

    if (sibling.kind != SIBLING_VALUE)
        return sibling;
    sibling.client_flags = item_client_flags(item);
    sibling.value_bytes = (uint32_t)value.size;
    sibling.value = value_handle(value.bytes);
    if (with_digests)
        sibling.value_digest = key_hash(value);
    return sibling;
}

static void read_plain(const struct node_table *nodes, const struct item *item, bool with_digests,
                       struct cell *into)
{
    const struct sibling sibling = plain_sibling(nodes, item, with_digests);

    into->siblings[0] = sibling;
    into->sibling_count = 1;
    into->is_live = item_replica(item).is_live != 0;
    context_add(&into->context, (struct interval){sibling.dot.node, 0, sibling.dot.hlc});
}

void cell_item_read(const struct node_table *nodes, const struct item *item, bool with_digests,
                    struct cell *into)
{
    const struct slice encoded = item_value_slice(item);
    size_t at;

    assert(cell_item_siblings(item) <= into->sibling_room);
    cell_init(into, into->siblings, into->sibling_room);
    if (!is_encoded(item)) {
        read_plain(nodes, item, with_digests, into);
        return;
    }
    at = cell_decode(into, encoded);
    assert(at != 0); /* we wrote it ourselves */
    for (unsigned i = 0; i < into->sibling_count; i++) {
        if (into->siblings[i].kind != SIBLING_VALUE)
            continue;
        into->siblings[i].value = value_handle(encoded.bytes + at);
        at += into->siblings[i].value_bytes;
    }
    assert(at + MARK_BYTES == encoded.size);
}

static unsigned kinds_of(const struct cell *cell)
{
    unsigned kinds = 0;

    for (unsigned i = 0; i < cell->sibling_count; i++)
        kinds |= cell->siblings[i].kind;
    return kinds;
}

/* Whether a plain item can hold the cell: then the handle of its writer, else NODE_HANDLE_NONE. */
static unsigned plain_handle(struct node_table *nodes, const struct cell *cell)
{
    const struct sibling *only = &cell->siblings[0];
    const struct interval *seen = &cell->context.intervals[0];

    if (cell->sibling_count != 1 || cell->context.count != 1 || seen->node != only->dot.node ||
        seen->first != 0 || seen->last != only->dot.hlc || only->reg.hlc != only->dot.hlc)
        return NODE_HANDLE_NONE;
    return node_table_handle(nodes, only->dot.node);
}

/* When the last of the values expires; 0: never. */
static uint64_t last_expiry_ms(const struct cell *cell)
{
    uint64_t expiry_ms = 0;

    for (unsigned i = 0; i < cell->sibling_count; i++) {
        const struct sibling *sibling = &cell->siblings[i];

        if (sibling->kind != SIBLING_VALUE)
            continue;
        if (sibling->reg.expires_ms == 0)
            return 0;
        if (sibling->reg.expires_ms > expiry_ms)
            expiry_ms = sibling->reg.expires_ms;
    }
    return expiry_ms;
}

static uint64_t all_value_bytes(const struct cell *cell)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < cell->sibling_count; i++)
        bytes += cell->siblings[i].value_bytes;
    return bytes;
}

struct item_spec cell_item_spec(struct node_table *nodes, struct slice key, bool key_is_binary,
                                const struct cell *cell)
{
    const struct sibling *first = &cell->siblings[0];
    struct item_spec spec = {.key = key, .key_is_binary = key_is_binary};

    assert(cell->sibling_count > 0);
    spec.is_hidden = (kinds_of(cell) & SIBLING_VALUE) == 0;
    if (plain_handle(nodes, cell) != NODE_HANDLE_NONE) {
        spec.value_bytes = first->value_bytes;
        spec.expiry_ms = first->reg.expires_ms;
        spec.client_flags = first->client_flags;
        spec.has_explicit_cas = first->reg.explicit_cas != 0;
        spec.explicit_cas = first->reg.explicit_cas;
        return spec;
    }
    spec.is_cell = true;
    spec.expiry_ms = last_expiry_ms(cell);
    spec.value_bytes = cell_encoded_bytes(cell) + all_value_bytes(cell) + MARK_BYTES;
    return spec;
}

static unsigned char *write_values(unsigned char *out, const struct cell *cell)
{
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        const struct slice value = cell_item_value(&cell->siblings[i]);

        if (value.size > 0)
            memcpy(out, value.bytes, value.size);
        out += value.size;
    }
    return out;
}

void cell_item_write(struct node_table *nodes, struct item *item, uint64_t key_hash,
                     const struct cell *cell, unsigned copies)
{
    const unsigned node = plain_handle(nodes, cell), kinds = kinds_of(cell);
    unsigned char *out = item_value(item);

    assert(copies <= UINT8_MAX);
    assert(item_is_hidden(item) == ((kinds & SIBLING_VALUE) == 0));
    item->hlc = cell_newest(cell, SIBLINGS_ALL)->dot.hlc;
    if (item_is_hidden(item))
        item->in_main = kinds == SIBLING_TOMBSTONE;
    if (node == NODE_HANDLE_NONE) {
        const uint64_t mark = merkle_mark(key_hash, cell);

        out += cell_encode(cell, out);
        out = write_values(out, cell);
        memcpy(out, &mark, sizeof mark);
        out += sizeof mark;
    } else {
        out = write_values(out, cell);
        if (cell->siblings[0].reg.is_stale)
            item->bits |= ITEM_STALE;
    }
    assert(out == item_value(item) + item_value_bytes(item));
    item_set_replica(item, (struct item_replica){.node = (uint16_t)node,
                                                 .kinds = (uint8_t)kinds,
                                                 .copies = (uint8_t)copies,
                                                 .is_live = cell->is_live});
}

void cell_item_place_values(const struct item *item, struct cell *cell)
{
    const struct slice all = item_value_slice(item);
    size_t at = is_encoded(item) ? cell_encoded_bytes(cell) : 0;

    for (unsigned i = 0; i < cell->sibling_count; i++) {
        if (cell->siblings[i].kind != SIBLING_VALUE)
            continue;
        cell->siblings[i].value = value_handle(all.bytes + at);
        at += cell->siblings[i].value_bytes;
    }
    assert(at <= all.size);
}

uint64_t cell_item_mark(const struct node_table *nodes, const struct item *item, uint64_t key_hash)
{
    const struct slice value = item_value_slice(item);
    struct sibling sibling;
    struct cell cell;
    uint64_t mark;

    if (is_encoded(item)) {
        assert(value.size > MARK_BYTES);
        memcpy(&mark, value.bytes + value.size - MARK_BYTES, sizeof mark);
        return mark;
    }
    cell_init(&cell, &sibling, 1);
    read_plain(nodes, item, false, &cell);
    return merkle_mark(key_hash, &cell);
}
