/* The encoding of a membership; ring/membership.h says what it looks like. */
#include "ring/membership_codec.h"
#include "ring/reader.h"
#include <assert.h>
#include <string.h>

#define FORMAT 0xd4u

static_assert(MEMBERSHIP_RECORDS_MAX <= UINT16_MAX, "a count of records fits its bytes");
static_assert(FLUSH_PENDING_MAX <= UINT8_MAX, "so does one of flushes");
static_assert(RING_WEIGHT_MAX <= UINT16_MAX, "and a weight");

static unsigned char *write_u64(unsigned char *to, uint64_t number)
{
    bytes_write_u64(to, number);
    return to + 8;
}

static unsigned char *write_u32(unsigned char *to, uint32_t number)
{
    bytes_write_u32(to, number);
    return to + 4;
}

static unsigned char *write_text(unsigned char *to, const char *bytes, unsigned char size)
{
    *to++ = size;
    memcpy(to, bytes, size);
    return to + size;
}

size_t membership_encode_record(const struct member_record *record,
                                unsigned char out[MEMBERSHIP_RECORD_BYTES])
{
    unsigned char *to = write_u64(out, record->id);

    assert(record->weight <= RING_WEIGHT_MAX);
    to = write_u64(to, record->incarnation);
    *to++ = record->is_warm;
    *to++ = (unsigned char)record->status;
    to = write_u32(to, record->revision);
    bytes_write_u16(to, (uint16_t)record->weight);
    to = write_u32(to + 2, record->zone);
    to = write_u64(to, record->ceiling);
    to = write_text(to, record->name.bytes, record->name.size);
    to = write_text(to, record->address.bytes, record->address.size);
    to = write_text(to, record->zone_name.bytes, record->zone_name.size);
    assert(to - out <= MEMBERSHIP_RECORD_BYTES);
    return (size_t)(to - out);
}

size_t membership_encode_flushes(const struct flush_list *list,
                                 unsigned char out[MEMBERSHIP_HEADER_BYTES])
{
    unsigned char *to = write_u64(out, list->floor);

    assert(list->pending_count <= FLUSH_PENDING_MAX);
    *to++ = (unsigned char)list->pending_count;
    for (unsigned i = 0; i < list->pending_count; i++) {
        to = write_u64(to, list->pending[i].until);
        to = write_u64(to, list->pending[i].effective_ms);
    }
    assert(to - out < MEMBERSHIP_HEADER_BYTES);
    return (size_t)(to - out);
}

size_t membership_encoded_bytes(const struct membership *membership)
{
    size_t bytes = 12 + membership->flushes.pending_count * (size_t)16;

    for (unsigned i = 0; i < membership->count; i++) {
        const struct member_record *record = &membership->records[i];
        bytes += 39 + (size_t)record->name.size + record->address.size + record->zone_name.size;
    }
    return bytes;
}

size_t membership_encode(const struct membership *membership, unsigned char *out)
{
    unsigned char *to = out;

    *to++ = FORMAT;
    to += membership_encode_flushes(&membership->flushes, to);
    bytes_write_u16(to, (uint16_t)membership->count);
    to += 2;
    for (unsigned i = 0; i < membership->count; i++)
        to += membership_encode_record(&membership->records[i], to);
    assert((size_t)(to - out) == membership_encoded_bytes(membership));
    return (size_t)(to - out);
}

static struct slice take_text(struct reader *reader)
{
    unsigned size = reader_take_u8(reader);
    const unsigned char *bytes = reader_take(reader, size);
    return bytes == NULL ? (struct slice){0} : (struct slice){bytes, size};
}

/* False if the texts are bad, or the flags; membership_is_sound() looks at the numbers. */
static bool take_record(struct reader *reader, struct member_record *into)
{
    *into = (struct member_record){.id = reader_take_u64(reader)};
    into->incarnation = reader_take_u64(reader);
    unsigned is_warm = reader_take_u8(reader);
    unsigned status = reader_take_u8(reader);
    into->revision = reader_take_u32(reader);
    into->weight = reader_take_u16(reader);
    into->zone = reader_take_u32(reader);
    into->ceiling = reader_take_u64(reader);
    if (is_warm > 1 || status > MEMBER_GONE)
        return false;
    into->is_warm = is_warm == 1;
    into->status = (enum member_status)status;
    return member_name_set(&into->name, take_text(reader)) &&
           member_address_set(&into->address, take_text(reader)) &&
           member_name_set(&into->zone_name, take_text(reader)) && !reader->is_bad;
}

static bool take_flushes(struct reader *reader, struct flush_list *into)
{
    into->floor = reader_take_u64(reader);
    unsigned count = reader_take_u8(reader);

    if (count > FLUSH_PENDING_MAX)
        return false;
    for (unsigned i = 0; i < count; i++) {
        hlc_time until = reader_take_u64(reader);
        into->pending[i] = (struct flush){until, reader_take_u64(reader)};
    }
    into->pending_count = count;
    return !reader->is_bad;
}

/* As membership_decode(), but leaves `into` half filled where it fails. */
static bool decode(struct membership *into, struct slice bytes)
{
    struct reader reader = {bytes, false};

    if (reader_take_u8(&reader) != FORMAT || !take_flushes(&reader, &into->flushes))
        return false;
    unsigned count = reader_take_u16(&reader);
    if (count > MEMBERSHIP_RECORDS_MAX)
        return false;
    for (unsigned i = 0; i < count; i++)
        if (!take_record(&reader, &into->records[i]))
            return false;
    if (reader.is_bad || reader.left.size > 0)
        return false;
    into->count = count;
    return true;
}

bool membership_decode(struct membership *into, struct slice bytes)
{
    assert(bytes.bytes != NULL || bytes.size == 0);
    membership_init(into);
    if (decode(into, bytes)) {
        into->digest = membership_digest(into);
        if (membership_is_sound(into))
            return true;
    }
    membership_init(into);
    return false;
}
