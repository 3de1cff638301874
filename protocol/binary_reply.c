/* Answers of the binary protocol.
 *
 * The quiet forms of get hide a miss, those of writes hide success; everything else is said. */
#include "protocol/binary.h"
#include "protocol/binary_hit.h"
#include "protocol/reply_writer.h"
#include <assert.h>

/* What follows a header with an error in it. */
static const struct {
    uint8_t status; /* enum binary_status */
    struct slice text;
} messages[OUTCOME_STATUS_COUNT] = {
    [OUTCOME_OK] = {BINARY_OK, TEXT("")},
    [OUTCOME_NOT_FOUND] = {BINARY_NOT_FOUND, TEXT("Not found")},
    [OUTCOME_NOT_STORED] = {BINARY_NOT_STORED, TEXT("Not stored.")},
    [OUTCOME_EXISTS] = {BINARY_EXISTS, TEXT("Data exists for key.")},
    [OUTCOME_TOO_LARGE] = {BINARY_TOO_LARGE, TEXT("Too large.")},
    [OUTCOME_NO_MEMORY] = {BINARY_NO_MEMORY, TEXT("Out of memory")},
    [OUTCOME_NOT_NUMERIC] = {BINARY_NOT_NUMERIC,
                             TEXT("Non-numeric server-side value for incr or decr")},
    [OUTCOME_TOO_MANY_SIBLINGS] = {BINARY_NOT_STORED, TEXT("Too many siblings.")},
    [OUTCOME_BAD_CONTEXT] = {BINARY_INVALID_ARGUMENTS, TEXT("Bad context.")},
    [OUTCOME_REFUSED] = {BINARY_AUTH_FAILURE, TEXT("Auth failure.")},
    [OUTCOME_UNAUTHENTICATED] = {BINARY_AUTH_FAILURE, TEXT("Auth failure.")},
};

static inline void store16(unsigned char *at, uint16_t number)
{
    at[0] = (unsigned char)(number >> 8);
    at[1] = (unsigned char)number;
}

static inline void store32(unsigned char *at, uint32_t number)
{
    at[0] = (unsigned char)(number >> 24);
    at[1] = (unsigned char)(number >> 16);
    at[2] = (unsigned char)(number >> 8);
    at[3] = (unsigned char)number;
}

static inline void store64(unsigned char *at, uint64_t number)
{
    store32(at, (uint32_t)(number >> 32));
    store32(at + 4, (uint32_t)number);
}

/* Writes a header and returns where the extras go.  `body_bytes` counts extras, key and value. */
static unsigned char *put_header(unsigned char *at, const struct operation *operation,
                                 uint16_t status, size_t extras_bytes, size_t key_bytes,
                                 size_t body_bytes, uint64_t cas)
{
    assert(body_bytes <= UINT32_MAX);
    assert(extras_bytes + key_bytes <= body_bytes);
    at[0] = BINARY_RESPONSE_MAGIC;
    at[1] = operation->opcode;
    store16(at + 2, (uint16_t)key_bytes);
    at[4] = (unsigned char)extras_bytes;
    at[5] = 0;
    store16(at + 6, status);
    store32(at + 8, (uint32_t)body_bytes);
    memcpy(at + 12, &operation->opaque, sizeof operation->opaque);
    store64(at + 16, cas);
    return at + BINARY_HEADER_BYTES;
}

size_t binary_reply_line(const struct operation *operation, uint16_t status, struct slice text,
                         unsigned char *out)
{
    unsigned char *at = put_header(out, operation, status, 0, 0, text.size, 0);
    return (size_t)(put_slice(at, text) - out);
}

size_t binary_reply_stat(const struct operation *operation, struct slice name, struct slice value,
                         unsigned char *out)
{
    if (name.size == 0)
        value.size = 0;
    unsigned char *at =
        put_header(out, operation, BINARY_OK, 0, name.size, name.size + value.size, 0);
    return (size_t)(put_slice(put_slice(at, name), value) - out);
}

static size_t write_value(const struct operation *operation, const struct outcome *outcome,
                          unsigned char *out)
{
    struct slice key = binary_get_returns_key(operation->opcode) ? operation->key : (struct slice){NULL, 0};
    size_t body_bytes = 4 + key.size + outcome->value.size;
    unsigned char *at =
        put_header(out, operation, BINARY_OK, 4, key.size, body_bytes, outcome->cas);
    store32(at, outcome->client_flags);
    return (size_t)(put_slice(at + 4, key) - out);
}

static size_t write_sibling(const struct operation *operation, const struct outcome *outcome,
                            unsigned char *out)
{
    size_t context_bytes = outcome->context.size;
    assert(context_bytes <= CONTEXT_BYTES_MAX);
    size_t body_bytes = 12 + context_bytes + outcome->value.size;
    unsigned char *at = put_header(out, operation, BINARY_OK, 12, 0, body_bytes, outcome->cas);
    store32(at, outcome->client_flags);
    store16(at + 4, (uint16_t)outcome->sibling_index);
    store16(at + 6, (uint16_t)outcome->sibling_count);
    store32(at + 8, (uint32_t)context_bytes);
    return (size_t)(put_slice(at + 12, outcome->context) - out);
}

static size_t write_success(const struct operation *operation, const struct outcome *outcome,
                            unsigned char *out)
{
    unsigned char *at;
    switch ((enum verb)operation->verb) {
    case VERB_GET: return write_value(operation, outcome, out);
    case VERB_SIBLINGS: return write_sibling(operation, outcome, out);
    case VERB_VERSION:
        return binary_reply_line(operation, BINARY_OK, SLICE(MEMCACHED_VERSION), out);
    case VERB_STORE:
        return (size_t)(put_header(out, operation, BINARY_OK, 0, 0, 0, outcome->cas) - out);
    case VERB_TOUCH:
        at = put_header(out, operation, BINARY_OK, 4, 0, 4, outcome->cas);
        store32(at, outcome->client_flags);
        return (size_t)(at + 4 - out);
    case VERB_ARITHMETIC:
        at = put_header(out, operation, BINARY_OK, 0, 0, 8, outcome->cas);
        store64(at, outcome->number);
        return (size_t)(at + 8 - out);
    default: return (size_t)(put_header(out, operation, BINARY_OK, 0, 0, 0, 0) - out);
    }
}

/* add and replace say why they did not store. */
static enum outcome_status status_to_say(const struct operation *operation,
                                         const struct outcome *outcome)
{
    assert(outcome->status < OUTCOME_STATUS_COUNT);
    if (operation->verb == VERB_STORE && outcome->status == OUTCOME_NOT_STORED) {
        if (operation->mode == STORE_ADD)
            return OUTCOME_EXISTS;
        if (operation->mode == STORE_REPLACE)
            return OUTCOME_NOT_FOUND;
    }
    return (enum outcome_status)outcome->status;
}

static size_t write_rejection(const struct operation *operation, unsigned char *out)
{
    if (operation->rejection == REJECT_UNKNOWN_COMMAND)
        return binary_reply_line(operation, BINARY_UNKNOWN_COMMAND, SLICE("Unknown command"), out);
    if (operation->rejection == REJECT_CONTEXT)
        return binary_reply_line(operation, BINARY_INVALID_ARGUMENTS, SLICE("Bad context."), out);
    return binary_reply_line(operation, BINARY_INVALID_ARGUMENTS, SLICE("Invalid arguments"), out);
}

size_t binary_reply_head(const struct operation *operation, const struct outcome *outcome,
                         unsigned char *out)
{
    if (operation->verb == VERB_CLOSE)
        return 0;
    if (operation->verb == VERB_REJECT)
        return write_rejection(operation, out);
    enum outcome_status status = status_to_say(operation, outcome);
    bool is_quiet = (operation->options & OPERATION_QUIET) != 0;
    enum outcome_status hidden = operation->verb == VERB_GET ? OUTCOME_NOT_FOUND : OUTCOME_OK;
    if (is_quiet && status == hidden)
        return 0;
    if (status == OUTCOME_OK)
        return write_success(operation, outcome, out);
    if (status == OUTCOME_NOT_FOUND && binary_get_returns_key(operation->opcode)) {
        struct slice key = operation->key;
        unsigned char *at = put_header(out, operation, BINARY_NOT_FOUND, 0, key.size, key.size, 0);
        return (size_t)(put_slice(at, key) - out);
    }
    return binary_reply_line(operation, messages[status].status, messages[status].text, out);
}
