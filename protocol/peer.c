#include "protocol/peer.h"
#include "protocol/peer_tables.h"
#include "ring/bytes.h"
#include <assert.h>

/* One walk over the fields of a message. */
enum walk_aim {
    WALK_MEASURE, /* count the bytes of head and values */
    WALK_WRITE,   /* the head to `to` */
    WALK_LIST,    /* the values into `values` */
    WALK_READ,    /* the head from `from` */
    WALK_PLACE    /* give what was read the addresses of its values, at `from` */
};

struct walk {
    enum walk_aim aim;
    size_t head_bytes;
    uint64_t value_bytes;
    unsigned char *to;
    const unsigned char *end; /* of the room at `to`; NULL: it was measured */
    struct slice from;
    struct slice *values;
    unsigned value_count, value_room;
    struct peer_room *room;
    unsigned cells_placed;
    bool is_bad, lacks_room;
};

static void walk_fields(struct walk *, const struct peer_field *, unsigned char *base);

/* ---- bytes ---- */

/* Whether there is room for so many bytes of the head. */
static bool has_room(struct walk *walk, size_t count)
{
    if (walk->end != NULL && count > (size_t)(walk->end - walk->to))
        walk->lacks_room = true;
    return !walk->lacks_room;
}

static void write_bytes(struct walk *walk, const void *bytes, size_t count)
{
    if (walk->aim == WALK_WRITE && count > 0 && has_room(walk, count)) {
        memcpy(walk->to, bytes, count);
        walk->to += count;
    }
    walk->head_bytes += count;
}

/* The next bytes of the head; NULL, and bad, if there are not so many. */
static const unsigned char *read_bytes(struct walk *walk, size_t count)
{
    const unsigned char *bytes = walk->from.bytes;

    if (walk->is_bad || walk->from.size < count) {
        walk->is_bad = true;
        return NULL;
    }
    walk->from.bytes += count;
    walk->from.size -= count;
    return bytes;
}

static void write_wire(struct walk *walk, uint64_t number, unsigned wire)
{
    unsigned char bytes[8];

    assert(wire <= sizeof bytes);
    if (walk->end != NULL && walk->end - walk->to >= 8) {
        bytes_write_u64(walk->to, number); /* what is too much is overwritten by what follows */
        walk->to += wire;
        walk->head_bytes += wire;
        return;
    }
    bytes_write_u64(bytes, number);
    write_bytes(walk, bytes, wire);
}

static uint64_t read_wire(struct walk *walk, unsigned wire)
{
    const unsigned char *bytes;
    uint64_t number = 0;

    if (walk->from.size >= 8 && !walk->is_bad) {
        number = bytes_read_u64(walk->from.bytes) & UINT64_MAX >> (64 - 8 * wire);
        walk->from.bytes += wire;
        walk->from.size -= wire;
        return number;
    }
    bytes = read_bytes(walk, wire);
    for (unsigned i = 0; bytes != NULL && i < wire; i++)
        number |= (uint64_t)bytes[i] << (8 * i);
    return number;
}

static bool is_reading(const struct walk *walk)
{
    return walk->aim == WALK_READ;
}

static bool is_in_head(const struct walk *walk)
{
    return walk->aim == WALK_MEASURE || walk->aim == WALK_WRITE;
}

/* ---- members ---- */

static uint64_t load(const unsigned char *member, unsigned bytes)
{
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;

    switch (bytes) {
    case 1: memcpy(&u8, member, sizeof u8); return u8;
    case 2: memcpy(&u16, member, sizeof u16); return u16;
    case 4: memcpy(&u32, member, sizeof u32); return u32;
    }
    assert(bytes == 8);
    memcpy(&u64, member, sizeof u64);
    return u64;
}

static void keep(unsigned char *member, unsigned bytes, uint64_t number)
{
    uint8_t u8 = (uint8_t)number;
    uint16_t u16 = (uint16_t)number;
    uint32_t u32 = (uint32_t)number;

    switch (bytes) {
    case 1: memcpy(member, &u8, sizeof u8); return;
    case 2: memcpy(member, &u16, sizeof u16); return;
    case 4: memcpy(member, &u32, sizeof u32); return;
    }
    assert(bytes == 8);
    memcpy(member, &number, sizeof number);
}

static void walk_number(struct walk *walk, const struct peer_field *field, unsigned char *member)
{
    if (is_in_head(walk)) {
        uint64_t number = load(member, field->bytes);
        assert(number >= field->min);
        assert(number <= field->max);
        write_wire(walk, number, field->wire);
    } else if (is_reading(walk)) {
        uint64_t number = read_wire(walk, field->wire);
        walk->is_bad |= number < field->min || number > field->max;
        keep(member, field->bytes, number);
    }
}

static void walk_blob(struct walk *walk, const struct peer_field *field, unsigned char *member)
{
    if (is_in_head(walk)) {
        write_bytes(walk, member, field->bytes);
    } else if (is_reading(walk)) {
        const unsigned char *bytes = read_bytes(walk, field->bytes);
        if (bytes != NULL)
            memcpy(member, bytes, field->bytes);
    }
}

static void walk_slice(struct walk *walk, const struct peer_field *field, struct slice *member)
{
    if (is_in_head(walk)) {
        assert(member->size <= field->max);
        write_wire(walk, member->size, field->wire);
        write_bytes(walk, member->bytes, member->size);
    } else if (is_reading(walk)) {
        uint64_t size = read_wire(walk, field->wire);
        if (size > field->max)
            walk->is_bad = true;
        const unsigned char *bytes = read_bytes(walk, walk->is_bad ? 0 : (size_t)size);
        *member = (struct slice){size > 0 ? bytes : NULL, bytes != NULL ? (size_t)size : 0};
    }
}

/* ---- values ---- */

/* One value behind the head.  WALK_PLACE gives its address. */
static const unsigned char *walk_value(struct walk *walk, const unsigned char *bytes, size_t size)
{
    if ((walk->aim == WALK_LIST || walk->values != NULL) && size > 0) {
        if (walk->value_count < walk->value_room)
            walk->values[walk->value_count] = (struct slice){bytes, size};
        walk->value_count++;
    }
    walk->value_bytes += size;
    return walk->aim == WALK_PLACE ? read_bytes(walk, size) : bytes;
}

/* Wire: the size (4), and whether the bytes come (1): after a store only the size counts. */
static void walk_value_slice(struct walk *walk, const struct peer_field *field,
                             struct slice *member)
{
    bool comes = member->bytes != NULL && member->size > 0;

    if (is_in_head(walk)) {
        assert(member->size <= field->max);
        write_wire(walk, member->size, 4);
        write_wire(walk, comes, 1);
    } else if (is_reading(walk)) {
        uint64_t size = read_wire(walk, 4);
        uint64_t has_bytes = read_wire(walk, 1);
        walk->is_bad |= size > field->max || has_bytes > (size > 0);
        if (has_bytes)
            walk->value_bytes += size;
        /* Marks that it comes, until WALK_PLACE says where. */
        *member = (struct slice){has_bytes ? walk->from.bytes : NULL, (size_t)size};
        return;
    }
    if (comes)
        member->bytes = walk_value(walk, member->bytes, member->size);
}

/* The sibling's handle is the address of its value. */
static void walk_sibling_value(struct walk *walk, struct sibling *sibling)
{
    const unsigned char *bytes = (const unsigned char *)(uintptr_t)sibling->value;

    if (sibling->kind != SIBLING_VALUE || sibling->value_bytes == 0)
        return;
    bytes = walk_value(walk, bytes, sibling->value_bytes);
    if (walk->aim == WALK_PLACE)
        sibling->value = (uint64_t)(uintptr_t)bytes;
}

static const struct cell *read_cell(struct walk *walk)
{
    struct peer_room *room = walk->room;
    uint64_t size = read_wire(walk, 4);

    if (size == 0)
        return NULL;
    const unsigned char *bytes = read_bytes(walk, (size_t)size);
    if (bytes == NULL)
        return NULL;
    struct slice encoded = {bytes, (size_t)size};
    unsigned siblings = cell_decode_sibling_count(encoded);
    if (room->cell_count == room->cell_room ||
        siblings > room->sibling_room - room->sibling_count) {
        walk->lacks_room = true;
        return NULL;
    }
    struct cell *cell = &room->cells[room->cell_count];
    cell_init(cell, room->siblings + room->sibling_count, siblings);
    if (cell_decode(cell, encoded) != size) {
        walk->is_bad = true;
        return NULL;
    }
    room->cell_count++;
    room->sibling_count += siblings;
    for (unsigned i = 0; i < siblings; i++)
        walk->value_bytes += cell->siblings[i].value_bytes;
    return cell;
}

static void write_cell(struct walk *walk, const struct cell *cell)
{
    size_t size = cell != NULL ? cell_encoded_bytes(cell) : 0;

    write_wire(walk, size, 4);
    if (walk->aim == WALK_WRITE && size > 0 && has_room(walk, size))
        walk->to += cell_encode(cell, walk->to);
    walk->head_bytes += size;
}

static void walk_cell(struct walk *walk, const struct cell **member)
{
    if (is_reading(walk)) {
        *member = read_cell(walk);
        return;
    }
    if (is_in_head(walk))
        write_cell(walk, *member);
    if (*member == NULL)
        return;
    /* Cells that were read stand in the room in the order in which they are met here. */
    struct sibling *siblings = walk->aim == WALK_PLACE
                                   ? walk->room->cells[walk->cells_placed++].siblings
                                   : (*member)->siblings;
    for (unsigned i = 0; i < (*member)->sibling_count; i++)
        walk_sibling_value(walk, &siblings[i]);
}

/* ---- arrays ---- */

/* The number at `count_at`, whose field stands before the array's. */
static uint64_t count_of(const unsigned char *base, const struct peer_field *table,
                         const struct peer_field *array)
{
    const struct peer_field *count = table;

    while (count->kind != PEER_FIELD_NUMBER || count->at != array->count_at) {
        count++;
        assert(count < array);
    }
    return load(base + count->at, count->bytes);
}

/* A bit each, in whole words; the bits behind the last are 0. */
static void walk_bits(struct walk *walk, unsigned char *member, uint64_t count)
{
    for (uint64_t i = 0; i < count; i += 64) {
        uint64_t word = load(member, 8);
        uint64_t spare = count - i < 64 ? ~(uint64_t)0 << (count - i) : 0;
        if (is_in_head(walk)) {
            write_wire(walk, word & ~spare, 8);
        } else if (is_reading(walk)) {
            word = read_wire(walk, 8);
            walk->is_bad |= (word & spare) != 0;
            keep(member, 8, word);
        }
        member += 8;
    }
}

static void walk_parts(struct walk *walk, struct exchange_compare *compare)
{
    unsigned bits = compare->depth - compare->parent.depth;

    if (compare->depth < compare->parent.depth || bits > EXCHANGE_CHILD_BITS) {
        assert(is_reading(walk));
        walk->is_bad = true;
        return;
    }
    for (unsigned i = 0; i < 1u << bits; i++) {
        if (is_in_head(walk))
            write_wire(walk, compare->sums[i], 8);
        else if (is_reading(walk))
            compare->sums[i] = read_wire(walk, 8);
    }
}

static void walk_array(struct walk *walk, const struct peer_field *field, unsigned char *member,
                       uint64_t count)
{
    for (uint64_t i = 0; i < count && !walk->is_bad && !walk->lacks_room; i++)
        walk_fields(walk, field->fields, member + i * field->bytes);
}

static void walk_fields(struct walk *walk, const struct peer_field *table, unsigned char *base)
{
    for (const struct peer_field *field = table; !walk->is_bad && !walk->lacks_room; field++) {
        unsigned char *member = base + field->at;
        switch ((enum peer_field_kind)field->kind) {
        case PEER_FIELD_END: return;
        case PEER_FIELD_NUMBER: walk_number(walk, field, member); break;
        case PEER_FIELD_BLOB: walk_blob(walk, field, member); break;
        case PEER_FIELD_SLICE: walk_slice(walk, field, (struct slice *)(void *)member); break;
        case PEER_FIELD_VALUE: walk_value_slice(walk, field, (struct slice *)(void *)member); break;
        case PEER_FIELD_CELL: walk_cell(walk, (const struct cell **)(void *)member); break;
        case PEER_FIELD_ARRAY: walk_array(walk, field, member, count_of(base, table, field)); break;
        case PEER_FIELD_BITS: walk_bits(walk, member, count_of(base, table, field)); break;
        case PEER_FIELD_PARTS: walk_parts(walk, (struct exchange_compare *)(void *)base); break;
        }
    }
}

/* ---- messages ---- */

static unsigned char *body_of(const struct peer_message *message)
{
    /* Only WALK_READ and WALK_PLACE write there. */
    return (unsigned char *)(uintptr_t)&message->hello;
}

static struct walk walk_message(const struct peer_message *message, struct walk walk)
{
    const struct peer_field *fields = peer_fields(message->type);

    assert(fields != NULL);
    walk_fields(&walk, fields, body_of(message));
    return walk;
}

size_t peer_head_bytes(const struct peer_message *message)
{
    return PEER_HEADER_BYTES + walk_message(message, (struct walk){.aim = WALK_MEASURE}).head_bytes;
}

uint64_t peer_value_bytes(const struct peer_message *message)
{
    return walk_message(message, (struct walk){.aim = WALK_MEASURE}).value_bytes;
}

/* The header, before what a walk wrote. */
static size_t write_header(const struct walk *walk, enum peer_type type, unsigned char *out)
{
    size_t head_bytes = PEER_HEADER_BYTES + walk->head_bytes;
    uint64_t size = head_bytes + walk->value_bytes - PEER_SIZE_BYTES;

    assert(size <= UINT32_MAX);
    assert(walk->to == out + head_bytes);
    bytes_write_u32(out, (uint32_t)size);
    out[PEER_SIZE_BYTES] = (unsigned char)type;
    return head_bytes;
}

size_t peer_encode_head(const struct peer_message *message, unsigned char *out)
{
    struct walk walk =
        walk_message(message, (struct walk){.aim = WALK_WRITE, .to = out + PEER_HEADER_BYTES});

    return write_header(&walk, message->type, out);
}

size_t peer_encode(const struct peer_message *message, unsigned char *out, size_t room,
                   struct slice *values, unsigned value_room, unsigned *value_count)
{
    struct walk walk = {.aim = WALK_WRITE,
                        .to = out + PEER_HEADER_BYTES,
                        .end = out + room,
                        .values = values,
                        .value_room = value_room};

    assert(room >= PEER_HEADER_BYTES);
    walk = walk_message(message, walk);
    *value_count = walk.value_count;
    if (walk.lacks_room || walk.value_count > value_room || walk.value_bytes > UINT32_MAX - room)
        return 0;
    return write_header(&walk, message->type, out);
}

unsigned peer_values(const struct peer_message *message, struct slice *values, unsigned room)
{
    struct walk walk = {.aim = WALK_LIST, .values = values, .value_room = room};

    return walk_message(message, walk).value_count;
}

/* What a frame with a sound type says. */
static enum peer_parse parse_body(struct slice body, struct peer_room *room,
                                  struct peer_message *message)
{
    struct walk walk = {.aim = WALK_READ, .from = body, .room = room};

    room->cell_count = room->sibling_count = 0;
    walk = walk_message(message, walk);
    if (walk.lacks_room)
        return PEER_ROOM;
    if (walk.is_bad)
        return PEER_BAD;
    if (walk.value_bytes != walk.from.size)
        return PEER_BAD;
    if (walk.value_bytes == 0)
        return PEER_PARSED;
    walk.aim = WALK_PLACE;
    walk = walk_message(message, walk);
    return walk.is_bad || walk.from.size > 0 ? PEER_BAD : PEER_PARSED;
}

enum peer_parse peer_parse(struct slice input, uint64_t frame_bytes_max, struct peer_room *room,
                           struct peer_message *message, uint64_t *frame_bytes)
{
    *frame_bytes = 0;
    if (input.size < PEER_SIZE_BYTES)
        return PEER_MORE;
    uint64_t size = (uint64_t)bytes_read_u32(input.bytes) + PEER_SIZE_BYTES;
    if (size < PEER_HEADER_BYTES || size > frame_bytes_max)
        return PEER_BAD;
    if (input.size >= PEER_HEADER_BYTES && peer_fields(input.bytes[PEER_SIZE_BYTES]) == NULL)
        return PEER_BAD;
    *frame_bytes = size;
    if (input.size < size)
        return PEER_MORE;
    message->type = input.bytes[PEER_SIZE_BYTES];
    struct slice body = {input.bytes + PEER_HEADER_BYTES, (size_t)size - PEER_HEADER_BYTES};
    enum peer_parse result = parse_body(body, room, message);
    if (result == PEER_PARSED && message->type == PEER_PING) {
        message->ping.hello.from = message->ping.ping.from;
        message->ping.hello.to = message->ping.ping.to;
    }
    return result;
}

struct peer_glimpse peer_glimpse(struct slice input)
{
    const unsigned char *body = input.bytes + PEER_HEADER_BYTES;
    struct peer_glimpse glimpse = {.frame_bytes = 0};

    if (input.size < PEER_HEADER_BYTES + 24)
        return glimpse;
    glimpse.frame_bytes = (uint64_t)bytes_read_u32(input.bytes) + PEER_SIZE_BYTES;
    glimpse.type = input.bytes[PEER_SIZE_BYTES];
    switch (glimpse.type) {
    case PEER_FETCHED:
    case PEER_STORED: glimpse.number = bytes_read_u64(body); break;
    case PEER_FETCH:
    case PEER_STORE: glimpse.key_hash = bytes_read_u64(body + 8); break;
    case PEER_FORWARD: glimpse.key_hash = bytes_read_u64(body + 16); break;
    default: break;
    }
    return glimpse;
}

/* ---- commands ---- */

struct operation peer_operation(const struct operation *from)
{
    const uint32_t options = from->options;
    const bool is_store = from->verb == VERB_STORE;
    struct operation operation = {
        .verb = from->verb,
        .mode = from->verb == VERB_STORE || from->verb == VERB_ARITHMETIC ? from->mode : 0,
        .protocol = from->protocol,
        .opcode = from->protocol == PROTOCOL_BINARY ? from->opcode : 0,
        .opaque = from->protocol == PROTOCOL_BINARY ? from->opaque : 0,
        .options = options,
        .key = from->key,
        .hash = from->hash,
    };

    assert(from->verb < VERB_REJECT);
    if (is_store)
        operation.value = from->value;
    if (is_store || from->verb == VERB_DELETE) {
        operation.client_flags = from->client_flags;
        operation.exptime = from->exptime;
    }
    if (from->verb == VERB_ARITHMETIC) {
        operation.delta = from->delta;
        operation.initial = from->initial;
    }
    if (options & OPERATION_SET_EXPTIME)
        operation.exptime = from->exptime;
    if (options & OPERATION_COMPARE_CAS)
        operation.cas_compare = from->cas_compare;
    if (options & OPERATION_SET_CAS)
        operation.cas_new = from->cas_new;
    if (options & OPERATION_VIVIFY)
        operation.vivify_exptime = from->vivify_exptime;
    if (options & OPERATION_RECACHE)
        operation.recache_exptime = from->recache_exptime;
    if (options & OPERATION_CONTEXT)
        operation.context = from->context;
    if (from->protocol == PROTOCOL_META)
        operation.meta_flags = from->meta_flags;
    return operation;
}

static const char *const names[PEER_TYPE_END] = {
    [PEER_HELLO] = "hello",
    [PEER_PROOF] = "proof",
    [PEER_REFUSED] = "refused",
    [PEER_PING] = "ping",
    [PEER_FETCH] = "fetch",
    [PEER_FETCHED] = "fetched",
    [PEER_STORE] = "store",
    [PEER_STORED] = "stored",
    [PEER_FORWARD] = "forward",
    [PEER_FORWARDED] = "forwarded",
    [PEER_HINT] = "hint",
    [PEER_HINT_ACK] = "hint ack",
    [PEER_COMPARE] = "compare",
    [PEER_COMPARED] = "compared",
    [PEER_DIGESTS] = "digests",
    [PEER_DIFFERENCE] = "difference",
    [PEER_CELLS] = "cells",
    [PEER_CELLS_STORED] = "cells stored",
    [PEER_KNOW] = "know",
    [PEER_KNOWN] = "known",
    [PEER_CLAIMANT] = "claimant",
    [PEER_RESTART_ASK] = "restart ask",
    [PEER_RESTART_ANSWER] = "restart answer",
    [PEER_RESTART_JOIN] = "restart join",
    [PEER_RESTART_JOINED] = "restart joined",
};

const char *peer_type_name(enum peer_type type)
{
    assert(type < PEER_TYPE_END);
    assert(names[type] != NULL);
    return names[type];
}
