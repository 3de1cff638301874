/* The encodings of a ring table; ring/table.h says what they look like. */
#include "ring/table.h"
#include "ring/reader.h"
#include <assert.h>
#include <string.h>

#define FORMAT_WHOLE      0xd0u
#define FORMAT_DIFFERENCE 0xd8u

#define DIFFERENCE_HEADER_BYTES 35u

static_assert(RING_MEMBERS_MAX <= UINT8_MAX, "a count of members fits its byte");
static_assert(1 << RING_PARTITION_BITS_MAX <= UINT16_MAX, "so does a count of rows its two");

static struct ring_version take_version(struct reader *reader)
{
    uint64_t epoch = reader_take_u64(reader);
    return (struct ring_version){epoch, reader_take_u64(reader)};
}

static struct ring_member take_member(struct reader *reader)
{
    node_id id = reader_take_u64(reader);
    uint32_t zone = reader_take_u32(reader);
    return (struct ring_member){id, zone, reader_take_u32(reader)};
}

/* Reads partition_bits and copies into an empty table, if there is room for that many rows. */
static bool take_shape(struct reader *reader, struct ring_table *into)
{
    unsigned bits = reader_take_u8(reader);
    unsigned copies = reader_take_u8(reader);

    if (bits > RING_PARTITION_BITS_MAX || copies < 1 || copies > RING_COPIES_MAX)
        return false;
    if (into->rows_room < RING_ROWS_BYTES(bits, copies))
        return false;
    ring_table_init(into, bits, copies, into->rows, into->rows_room);
    return true;
}

/* What a table is after a failure. */
static void make_empty(struct ring_table *table)
{
    ring_table_init(table, 0, 1, table->rows, table->rows_room);
}

size_t ring_table_encoded_bytes(const struct ring_table *table)
{
    assert(table->member_count <= RING_MEMBERS_MAX);
    return RING_TABLE_HEADER_BYTES + table->member_count * (size_t)RING_MEMBER_BYTES +
           RING_ROWS_BYTES(table->partition_bits, table->copies);
}

static unsigned char *write_version(unsigned char *to, struct ring_version version)
{
    bytes_write_u64(to, version.epoch);
    bytes_write_u64(to + 8, version.claimant);
    return to + 16;
}

static unsigned char *write_member(unsigned char *to, const struct ring_member *member)
{
    bytes_write_u64(to, member->id);
    bytes_write_u32(to + 8, member->zone);
    bytes_write_u32(to + 12, member->weight);
    return to + RING_MEMBER_BYTES;
}

size_t ring_table_encode(const struct ring_table *table, unsigned char *out)
{
    size_t row_bytes = RING_ROWS_BYTES(table->partition_bits, table->copies);
    unsigned char *to = out;

    assert(ring_table_is_sound(table));
    assert(table->member_count > 0);
    *to++ = FORMAT_WHOLE;
    to = write_version(to, table->version);
    *to++ = (unsigned char)table->partition_bits;
    *to++ = (unsigned char)table->copies;
    *to++ = (unsigned char)table->member_count;
    for (unsigned i = 0; i < table->member_count; i++)
        to = write_member(to, &table->members[i]);
    memcpy(to, table->rows, row_bytes);
    assert((size_t)(to - out) + row_bytes == ring_table_encoded_bytes(table));
    return (size_t)(to - out) + row_bytes;
}

/* As ring_table_decode(), but leaves `into` half filled where it fails. */
static bool decode(struct ring_table *into, struct slice bytes)
{
    struct reader reader = {bytes, false};

    if (reader_take_u8(&reader) != FORMAT_WHOLE)
        return false;
    struct ring_version version = take_version(&reader);
    if (!take_shape(&reader, into))
        return false;
    unsigned count = reader_take_u8(&reader);
    if (count < 1 || count > RING_MEMBERS_MAX)
        return false;
    for (unsigned i = 0; i < count; i++)
        into->members[i] = take_member(&reader);
    size_t row_bytes = RING_ROWS_BYTES(into->partition_bits, into->copies);
    const unsigned char *rows = reader_take(&reader, row_bytes);
    if (rows == NULL || reader.left.size > 0)
        return false;
    memcpy(into->rows, rows, row_bytes);
    into->member_count = count;
    into->version = version;
    return ring_table_is_sound(into);
}

bool ring_table_decode(struct ring_table *into, struct slice bytes)
{
    assert(bytes.bytes != NULL || bytes.size == 0);
    if (decode(into, bytes))
        return true;
    make_empty(into);
    return false;
}

/* Bytes to write into, of which there may be too few. */
struct writer {
    unsigned char *to;
    size_t left;
    bool is_full;
};

/* Where to write `size` bytes, or NULL. */
static unsigned char *reserve(struct writer *writer, size_t size)
{
    unsigned char *to = writer->to;

    if (writer->is_full || writer->left < size) {
        writer->is_full = true;
        return NULL;
    }
    writer->to += size;
    writer->left -= size;
    return to;
}

/* Which member of `newer` each member of `older` is: by index, RING_NO_OWNER if none. */
static void map_members(const struct ring_table *older, const struct ring_table *newer,
                        unsigned char map[RING_MEMBERS_MAX + 1])
{
    memset(map, RING_NO_OWNER, RING_MEMBERS_MAX + 1);
    for (unsigned i = 0; i < older->member_count; i++) {
        int index = ring_table_find_member(newer, older->members[i].id);
        if (index >= 0)
            map[i] = (unsigned char)index;
    }
    assert(map[RING_NO_OWNER] == RING_NO_OWNER);
}

/* A row of `older` in the width and the indexes of the newer table: gaps where an owner is no
 * member there. */
static void carry_row(const struct ring_table *older, const unsigned char *map, unsigned partition,
                      unsigned char *row, unsigned copies)
{
    const unsigned char *from = ring_table_row(older, partition);

    assert(copies <= RING_COPIES_MAX);
    for (unsigned i = 0; i < copies; i++)
        row[i] = i < older->copies ? map[from[i]] : RING_NO_OWNER;
}

static void write_members_gone(struct writer *writer, const struct ring_table *older,
                               const struct ring_table *newer)
{
    unsigned char *count = reserve(writer, 1);
    unsigned gone = 0;

    for (unsigned i = 0; i < older->member_count; i++) {
        if (ring_table_find_member(newer, older->members[i].id) >= 0)
            continue;
        unsigned char *to = reserve(writer, 8);
        if (to != NULL)
            bytes_write_u64(to, older->members[i].id);
        gone++;
    }
    assert(gone <= RING_MEMBERS_MAX);
    if (count != NULL)
        *count = (unsigned char)gone;
}

/* Whether `older` has this very member. */
static bool has_member(const struct ring_table *older, const struct ring_member *member)
{
    int index = ring_table_find_member(older, member->id);

    assert(member->id != NODE_NONE);
    return index >= 0 && older->members[index].zone == member->zone &&
           older->members[index].weight == member->weight;
}

static void write_members_set(struct writer *writer, const struct ring_table *older,
                              const struct ring_table *newer)
{
    unsigned char *count = reserve(writer, 1);
    unsigned set = 0;

    for (unsigned i = 0; i < newer->member_count; i++) {
        if (has_member(older, &newer->members[i]))
            continue;
        unsigned char *to = reserve(writer, RING_MEMBER_BYTES);
        if (to != NULL)
            write_member(to, &newer->members[i]);
        set++;
    }
    assert(set <= RING_MEMBERS_MAX);
    if (count != NULL)
        *count = (unsigned char)set;
}

static void write_rows(struct writer *writer, const struct ring_table *older,
                       const struct ring_table *newer)
{
    unsigned char *count = reserve(writer, 2);
    unsigned char map[RING_MEMBERS_MAX + 1];
    unsigned changed = 0;

    map_members(older, newer, map);
    for (unsigned p = 0; p < ring_table_partitions(newer); p++) {
        const unsigned char *row = ring_table_row(newer, p);
        unsigned char carried[RING_COPIES_MAX];
        carry_row(older, map, p, carried, newer->copies);
        if (memcmp(carried, row, newer->copies) == 0)
            continue;
        unsigned char *to = reserve(writer, 2 + (size_t)newer->copies);
        if (to != NULL) {
            bytes_write_u16(to, (uint16_t)p);
            memcpy(to + 2, row, newer->copies);
        }
        changed++;
    }
    if (count != NULL)
        bytes_write_u16(count, (uint16_t)changed);
}

size_t ring_table_encode_difference(const struct ring_table *older, const struct ring_table *newer,
                                    unsigned char *out, size_t room)
{
    struct writer writer = {out, room, false};

    assert(ring_table_is_sound(older));
    assert(ring_table_is_sound(newer));
    assert(older->partition_bits == newer->partition_bits);
    assert(ring_version_compare(older->version, newer->version) < 0);
    unsigned char *to = reserve(&writer, DIFFERENCE_HEADER_BYTES);
    if (to != NULL) {
        *to++ = FORMAT_DIFFERENCE;
        to = write_version(to, older->version);
        to = write_version(to, newer->version);
        *to++ = (unsigned char)newer->partition_bits;
        *to = (unsigned char)newer->copies;
    }
    write_members_gone(&writer, older, newer);
    write_members_set(&writer, older, newer);
    write_rows(&writer, older, newer);
    return writer.is_full ? 0 : room - writer.left;
}

static void remove_member(struct ring_table *table, unsigned index)
{
    assert(index < table->member_count);
    table->member_count--;
    memmove(&table->members[index], &table->members[index + 1],
            (table->member_count - index) * sizeof table->members[0]);
}

/* Adds or changes a member; false if there is no room for one more. */
static bool set_member(struct ring_table *table, const struct ring_member *member)
{
    unsigned index = 0;

    while (index < table->member_count && table->members[index].id < member->id)
        index++;
    if (index < table->member_count && table->members[index].id == member->id) {
        table->members[index] = *member;
        return true;
    }
    if (table->member_count == RING_MEMBERS_MAX)
        return false;
    memmove(&table->members[index + 1], &table->members[index],
            (table->member_count - index) * sizeof table->members[0]);
    table->members[index] = *member;
    table->member_count++;
    return true;
}

/* Makes the members of `into` those of `older`, changed as the difference says. */
static bool take_members(struct reader *reader, struct ring_table *into,
                         const struct ring_table *older)
{
    node_id before = NODE_NONE;

    into->member_count = older->member_count;
    memcpy(into->members, older->members, older->member_count * sizeof older->members[0]);
    for (unsigned left = reader_take_u8(reader); left > 0; left--) {
        node_id id = reader_take_u64(reader);
        int index = ring_table_find_member(into, id);
        if (reader->is_bad || id <= before || index < 0)
            return false;
        remove_member(into, (unsigned)index);
        before = id;
    }
    before = NODE_NONE;
    for (unsigned left = reader_take_u8(reader); left > 0; left--) {
        struct ring_member member = take_member(reader);
        if (reader->is_bad || member.id <= before || has_member(older, &member))
            return false;
        bool is_back = ring_table_find_member(older, member.id) >= 0 &&
                       ring_table_find_member(into, member.id) < 0;
        if (is_back || !set_member(into, &member)) /* gone and new at once is not canonical */
            return false;
        before = member.id;
    }
    return !reader->is_bad;
}

static bool take_rows(struct reader *reader, struct ring_table *into,
                      const struct ring_table *older)
{
    unsigned char map[RING_MEMBERS_MAX + 1];
    unsigned lowest = 0; /* partition that may come next */

    map_members(older, into, map);
    for (unsigned p = 0; p < ring_table_partitions(into); p++)
        carry_row(older, map, p, into->rows + (size_t)p * into->copies, into->copies);
    for (unsigned left = reader_take_u16(reader); left > 0; left--) {
        unsigned p = reader_take_u16(reader);
        const unsigned char *row = reader_take(reader, into->copies);
        if (row == NULL || p < lowest || p >= ring_table_partitions(into))
            return false;
        unsigned char *mine = into->rows + (size_t)p * into->copies;
        if (memcmp(mine, row, into->copies) == 0)
            return false; /* not canonical */
        memcpy(mine, row, into->copies);
        lowest = p + 1;
    }
    return !reader->is_bad && reader->left.size == 0;
}

/* As ring_table_apply_difference(), but leaves `into` half filled where it fails. */
static enum ring_apply apply(struct ring_table *into, const struct ring_table *older,
                             struct slice bytes)
{
    struct reader reader = {bytes, false};

    if (bytes.size < DIFFERENCE_HEADER_BYTES || reader_take_u8(&reader) != FORMAT_DIFFERENCE)
        return RING_APPLY_BAD;
    struct ring_version base = take_version(&reader);
    struct ring_version version = take_version(&reader);
    if (ring_version_compare(base, older->version) != 0)
        return RING_APPLY_OTHER_BASE;
    if (ring_version_compare(version, base) <= 0)
        return RING_APPLY_BAD;
    if (!take_shape(&reader, into) || into->partition_bits != older->partition_bits)
        return RING_APPLY_BAD;
    if (!take_members(&reader, into, older) || !take_rows(&reader, into, older))
        return RING_APPLY_BAD;
    into->version = version;
    if (into->member_count == 0 || !ring_table_is_sound(into))
        return RING_APPLY_BAD;
    return RING_APPLIED;
}

enum ring_apply ring_table_apply_difference(struct ring_table *into, const struct ring_table *older,
                                            struct slice bytes)
{
    assert(into != older);
    assert(into->rows != older->rows);
    assert(bytes.bytes != NULL || bytes.size == 0);
    enum ring_apply applied = apply(into, older, bytes);
    if (applied != RING_APPLIED)
        make_empty(into);
    return applied;
}
