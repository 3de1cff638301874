#include "bench/request.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More than any request needs beside its keys and its value. */
enum { REQUEST_OVERHEAD_MAX = 96, OUTBOX_FIRST = 4096 };

enum binary_opcode {
    BINARY_GET = 0x00,
    BINARY_SET = 0x01,
    BINARY_DELETE = 0x04,
    BINARY_INCREMENT = 0x05,
    BINARY_GETQ = 0x09,
    BINARY_NOOP = 0x0a,
};

/* What a request is made of, for all protocols. */
struct request {
    const struct keyspace *keyspace;
    enum key_kind kind;
    const uint64_t *keys;
    unsigned count;
    struct slice value;
    uint64_t lifetime;
};

void outbox_deinit(struct outbox *outbox)
{
    free(outbox->bytes);
    *outbox = (struct outbox){0};
}

bool outbox_reserve(struct outbox *outbox, size_t more)
{
    size_t capacity = outbox->capacity == 0 ? OUTBOX_FIRST : outbox->capacity;
    while (capacity - outbox->used < more)
        capacity *= 2;
    if (capacity == outbox->capacity)
        return true;
    char *bytes = realloc(outbox->bytes, capacity);
    if (bytes == NULL) {
        fprintf(stderr, "ringbench: no memory for %zu bytes of requests\n", capacity);
        return false;
    }
    outbox->bytes = bytes;
    outbox->capacity = capacity;
    return true;
}

static void put_bytes(struct outbox *outbox, const void *bytes, size_t size)
{
    assert(outbox->capacity - outbox->used >= size);
    memcpy(outbox->bytes + outbox->used, bytes, size);
    outbox->used += size;
}

static void put_text(struct outbox *outbox, const char *text)
{
    put_bytes(outbox, text, strlen(text));
}

static void put_number(struct outbox *outbox, uint64_t number)
{
    char digits[20];
    unsigned at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    put_bytes(outbox, digits + at, sizeof digits - at);
}

static void put_key(struct outbox *outbox, const struct request *request, unsigned index)
{
    const unsigned size = request->keyspace->key_bytes;
    assert(outbox->capacity - outbox->used >= size);
    keyspace_write_key(request->keyspace, request->kind, request->keys[index],
                       outbox->bytes + outbox->used);
    outbox->used += size;
}

/* A command with the first key in it. */
static void put_command(struct outbox *outbox, const char *before, const struct request *request,
                        const char *after)
{
    put_text(outbox, before);
    put_key(outbox, request, 0);
    put_text(outbox, after);
}

/* The end of the line, and the value behind it. */
static void put_value(struct outbox *outbox, const struct request *request)
{
    put_text(outbox, "\r\n");
    put_bytes(outbox, request->value.bytes, request->value.size);
    put_text(outbox, "\r\n");
}

static void text_get(struct outbox *outbox, const struct request *request)
{
    put_text(outbox, "get");
    for (unsigned i = 0; i < request->count; i++) {
        put_text(outbox, " ");
        put_key(outbox, request, i);
    }
    put_text(outbox, "\r\n");
}

static void text_set(struct outbox *outbox, const struct request *request)
{
    put_command(outbox, "set ", request, " 0 ");
    put_number(outbox, request->lifetime);
    put_text(outbox, " ");
    put_number(outbox, request->value.size);
    put_value(outbox, request);
}

static void text_delete(struct outbox *outbox, const struct request *request)
{
    put_command(outbox, "delete ", request, "\r\n");
}

static void text_incr(struct outbox *outbox, const struct request *request)
{
    put_command(outbox, "incr ", request, " 1\r\n");
}

/* Several keys are quiet gets, which only hits answer, and a no-op that ends them. */
static void meta_get(struct outbox *outbox, const struct request *request)
{
    const bool is_multi = request->count > 1;
    for (unsigned i = 0; i < request->count; i++) {
        put_text(outbox, "mg ");
        put_key(outbox, request, i);
        put_text(outbox, is_multi ? " v k q\r\n" : " v\r\n");
    }
    if (is_multi)
        put_text(outbox, "mn\r\n");
}

static void meta_set(struct outbox *outbox, const struct request *request)
{
    put_command(outbox, "ms ", request, " ");
    put_number(outbox, request->value.size);
    if (request->lifetime != 0) {
        put_text(outbox, " T");
        put_number(outbox, request->lifetime);
    }
    put_value(outbox, request);
}

static void meta_delete(struct outbox *outbox, const struct request *request)
{
    put_command(outbox, "md ", request, "\r\n");
}

static void meta_incr(struct outbox *outbox, const struct request *request)
{
    put_command(outbox, "ma ", request, "\r\n");
}

static void put_big_endian(struct outbox *outbox, uint64_t number, unsigned bytes)
{
    char field[8];
    assert(bytes <= sizeof field);
    for (unsigned i = 0; i < bytes; i++)
        field[i] = (char)(number >> (8 * (bytes - 1 - i)));
    put_bytes(outbox, field, bytes);
}

/* The 24 bytes before each binary request. The opaque number says which key of a multiget an
 * answer belongs to. */
static void put_header(struct outbox *outbox, enum binary_opcode opcode, size_t key_bytes,
                       size_t extra_bytes, size_t value_bytes, uint32_t opaque)
{
    put_big_endian(outbox, 0x80, 1);
    put_big_endian(outbox, (uint64_t)opcode, 1);
    put_big_endian(outbox, key_bytes, 2);
    put_big_endian(outbox, extra_bytes, 1);
    put_big_endian(outbox, 0, 3); /* data type, partition */
    put_big_endian(outbox, key_bytes + extra_bytes + value_bytes, 4);
    put_big_endian(outbox, opaque, 4);
    put_big_endian(outbox, 0, 8); /* cas */
}

static void binary_get(struct outbox *outbox, const struct request *request)
{
    const bool is_multi = request->count > 1;
    for (unsigned i = 0; i < request->count; i++) {
        put_header(outbox, is_multi ? BINARY_GETQ : BINARY_GET, request->keyspace->key_bytes, 0, 0,
                   i);
        put_key(outbox, request, i);
    }
    if (is_multi)
        put_header(outbox, BINARY_NOOP, 0, 0, 0, 0);
}

static void binary_set(struct outbox *outbox, const struct request *request)
{
    put_header(outbox, BINARY_SET, request->keyspace->key_bytes, 8, request->value.size, 0);
    put_big_endian(outbox, 0, 4); /* flags */
    put_big_endian(outbox, request->lifetime, 4);
    put_key(outbox, request, 0);
    put_bytes(outbox, request->value.bytes, request->value.size);
}

static void binary_delete(struct outbox *outbox, const struct request *request)
{
    put_header(outbox, BINARY_DELETE, request->keyspace->key_bytes, 0, 0, 0);
    put_key(outbox, request, 0);
}

static void binary_incr(struct outbox *outbox, const struct request *request)
{
    put_header(outbox, BINARY_INCREMENT, request->keyspace->key_bytes, 20, 0, 0);
    put_big_endian(outbox, 1, 8);          /* by */
    put_big_endian(outbox, 1, 8);          /* start */
    put_big_endian(outbox, 0xffffffff, 4); /* an absent counter is a miss, not made */
    put_key(outbox, request, 0);
}

typedef void encode_function(struct outbox *, const struct request *);

static encode_function *const encoders[][OPERATIONS] = {
    [WIRE_TEXT] = {text_get, text_set, text_delete, text_incr},
    [WIRE_META] = {meta_get, meta_set, meta_delete, meta_incr},
    [WIRE_BINARY] = {binary_get, binary_set, binary_delete, binary_incr},
};

static bool append(struct outbox *outbox, enum wire wire, enum operation operation,
                   const struct request *request)
{
    const size_t per_key = request->keyspace->key_bytes + REQUEST_OVERHEAD_MAX;
    assert(request->count >= 1);
    assert(request->count == 1 || operation == OPERATION_GET);
    if (!outbox_reserve(outbox, request->value.size + (request->count + 1) * per_key))
        return false;
    encoders[wire][operation](outbox, request);
    return true;
}

bool request_append(struct outbox *outbox, enum wire wire, enum operation operation,
                    const struct keyspace *keyspace, const uint64_t *keys, unsigned count)
{
    struct request request = {
        .keyspace = keyspace,
        .kind = operation == OPERATION_INCR ? KEY_COUNTER : KEY_VALUE,
        .keys = keys,
        .count = count,
    };
    if (operation == OPERATION_SET) {
        request.value = keyspace_value(keyspace, keys[0]);
        request.lifetime = keyspace_lifetime(keyspace, keys[0]);
    }
    return append(outbox, wire, operation, &request);
}

bool request_append_counter(struct outbox *outbox, enum wire wire, const struct keyspace *keyspace,
                            uint64_t key)
{
    const struct request request = {
        .keyspace = keyspace, .kind = KEY_COUNTER, .keys = &key, .count = 1, .value = SLICE("1")};
    return append(outbox, wire, OPERATION_SET, &request);
}
