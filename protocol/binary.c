/* The binary protocol, in.
 *
 * A packet is judged as soon as its 24-byte header is there: a table says for each opcode how long
 * extras, key and value may be.  A packet that breaks its opcode's rule is answered with 0x04 and
 * the end of the connection, since its sender counts bytes otherwise than we do.  An opcode that
 * is not in the table costs its sender just that packet. */
#include "protocol/binary.h"
#include <assert.h>

enum length_rule {
    LENGTH_NONE,     /* must be empty */
    LENGTH_REQUIRED, /* one byte at least */
    LENGTH_ANY,
};

struct packet;

/* Makes an operation of a packet of which header, extras and key are there.  May say PARSE_MORE
 * when it also needs what comes first in the value. */
typedef enum parse_result body_reader(struct packet *, struct operation *);

struct binary_command {
    body_reader *read; /* NULL: there is no such opcode */
    uint8_t verb;
    uint8_t mode;
    uint8_t extras_bytes;
    bool extras_optional; /* may also be none */
    uint8_t key_rule;     /* enum length_rule */
    uint8_t value_rule;   /* enum length_rule; LENGTH_REQUIRED is not used */
    uint32_t options;
};

struct packet {
    struct parser *parser;
    const struct binary_command *command;
    const unsigned char *extras; /* behind the header; the key follows them */
    const unsigned char *value;  /* behind the key */
    const unsigned char *limit;  /* the end of the input */
    uint8_t extras_bytes;
    uint16_t key_bytes;
    uint32_t value_bytes;
    uint64_t cas;
};

static inline uint16_t load16(const unsigned char *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t load32(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline uint64_t load64(const unsigned char *at)
{
    return (uint64_t)load32(at) << 32 | load32(at + 4);
}

/* Times are unsigned here, but after 2038 they are all the same to us. */
static inline int32_t load_exptime(const unsigned char *at)
{
    uint32_t seconds = load32(at);
    return seconds > INT32_MAX ? INT32_MAX : (int32_t)seconds;
}

static body_reader read_key, read_touch, read_store, read_append, read_arithmetic, read_flush;
static body_reader read_bare, read_sasl, read_context_store, read_context_delete;

/* Shorthands for the table: what the body consists of. */
#define Q          OPERATION_QUIET
#define VALUE      OPERATION_WANTS_VALUE
#define EXPTIME    OPERATION_SET_EXPTIME
#define KEY_ONLY   .read = read_key, .key_rule = LENGTH_REQUIRED
#define TOUCH_KEY  .read = read_touch, .extras_bytes = 4, .key_rule = LENGTH_REQUIRED
#define WITH_VALUE .verb = VERB_STORE, .key_rule = LENGTH_REQUIRED, .value_rule = LENGTH_ANY
#define STORE      WITH_VALUE, .read = read_store, .extras_bytes = 8
#define APPEND     WITH_VALUE, .read = read_append
#define COUNT                                                                                      \
    .verb = VERB_ARITHMETIC, .read = read_arithmetic, .extras_bytes = 20,                          \
    .key_rule = LENGTH_REQUIRED
#define FLUSH .verb = VERB_FLUSH_ALL, .read = read_flush, .extras_bytes = 4, .extras_optional = true
#define BARE  .read = read_bare
#define SASL  .read = read_sasl, .key_rule = LENGTH_REQUIRED, .value_rule = LENGTH_ANY

static const struct binary_command commands[256] = {
    [BINARY_GET] = {KEY_ONLY, .verb = VERB_GET, .options = VALUE},
    [BINARY_GETQ] = {KEY_ONLY, .verb = VERB_GET, .options = VALUE | Q},
    [BINARY_GETK] = {KEY_ONLY, .verb = VERB_GET, .options = VALUE},
    [BINARY_GETKQ] = {KEY_ONLY, .verb = VERB_GET, .options = VALUE | Q},
    [BINARY_GAT] = {TOUCH_KEY, .verb = VERB_GET, .options = VALUE | EXPTIME},
    [BINARY_GATQ] = {TOUCH_KEY, .verb = VERB_GET, .options = VALUE | EXPTIME | Q},
    [BINARY_GATK] = {TOUCH_KEY, .verb = VERB_GET, .options = VALUE | EXPTIME},
    [BINARY_GATKQ] = {TOUCH_KEY, .verb = VERB_GET, .options = VALUE | EXPTIME | Q},
    [BINARY_TOUCH] = {TOUCH_KEY, .verb = VERB_TOUCH, .options = EXPTIME},
    [BINARY_SET] = {STORE, .mode = STORE_SET, .options = EXPTIME},
    [BINARY_SETQ] = {STORE, .mode = STORE_SET, .options = EXPTIME | Q},
    [BINARY_ADD] = {STORE, .mode = STORE_ADD, .options = EXPTIME},
    [BINARY_ADDQ] = {STORE, .mode = STORE_ADD, .options = EXPTIME | Q},
    [BINARY_REPLACE] = {STORE, .mode = STORE_REPLACE, .options = EXPTIME},
    [BINARY_REPLACEQ] = {STORE, .mode = STORE_REPLACE, .options = EXPTIME | Q},
    [BINARY_APPEND] = {APPEND, .mode = STORE_APPEND},
    [BINARY_APPENDQ] = {APPEND, .mode = STORE_APPEND, .options = Q},
    [BINARY_PREPEND] = {APPEND, .mode = STORE_PREPEND},
    [BINARY_PREPENDQ] = {APPEND, .mode = STORE_PREPEND, .options = Q},
    [BINARY_DELETE] = {KEY_ONLY, .verb = VERB_DELETE},
    [BINARY_DELETEQ] = {KEY_ONLY, .verb = VERB_DELETE, .options = Q},
    [BINARY_INCREMENT] = {COUNT, .mode = ARITHMETIC_ADD},
    [BINARY_INCREMENTQ] = {COUNT, .mode = ARITHMETIC_ADD, .options = Q},
    [BINARY_DECREMENT] = {COUNT, .mode = ARITHMETIC_SUBTRACT},
    [BINARY_DECREMENTQ] = {COUNT, .mode = ARITHMETIC_SUBTRACT, .options = Q},
    [BINARY_FLUSH] = {FLUSH},
    [BINARY_FLUSHQ] = {FLUSH, .options = Q},
    [BINARY_QUIT] = {BARE, .verb = VERB_QUIT},
    [BINARY_QUITQ] = {BARE, .verb = VERB_QUIT, .options = Q},
    [BINARY_NOOP] = {BARE, .verb = VERB_NOOP},
    [BINARY_VERSION] = {BARE, .verb = VERB_VERSION},
    [BINARY_STAT] = {BARE, .verb = VERB_STATS, .key_rule = LENGTH_ANY},
    [BINARY_SASL_LIST_MECHS] = {BARE, .verb = VERB_SASL_LIST},
    [BINARY_SASL_AUTH] = {SASL, .verb = VERB_SASL_AUTH},
    [BINARY_SASL_STEP] = {SASL, .verb = VERB_SASL_STEP},
    [BINARY_GETV] = {KEY_ONLY, .verb = VERB_SIBLINGS, .options = VALUE},
    [BINARY_SETV] = {WITH_VALUE, .read = read_context_store, .extras_bytes = 12,
                     .options = EXPTIME},
    [BINARY_DELETEV] = {.read = read_context_delete,
                        .verb = VERB_DELETE,
                        .extras_bytes = 4,
                        .key_rule = LENGTH_REQUIRED,
                        .value_rule = LENGTH_ANY},
};

static inline struct slice key_of(const struct packet *packet)
{
    return (struct slice){packet->extras + packet->extras_bytes, packet->key_bytes};
}

/* How many bytes of the value are there. */
static inline size_t value_available(const struct packet *packet)
{
    size_t available = (size_t)(packet->limit - packet->value);
    return available < packet->value_bytes ? available : packet->value_bytes;
}

/* A cas in the header is a condition to every command that changes something. */
static inline void take_cas(const struct packet *packet, struct operation *operation)
{
    if (packet->cas == 0)
        return;
    operation->cas_compare = packet->cas;
    operation->options |= OPERATION_COMPARE_CAS;
}

/* Takes the value if it is all there, else leaves it to the caller. */
static enum parse_result take_value(struct packet *packet, struct operation *operation)
{
    bool is_there = value_available(packet) == packet->value_bytes;
    operation->value = (struct slice){is_there ? packet->value : NULL, packet->value_bytes};
    if (!is_there)
        return PARSE_VALUE;
    packet->value += packet->value_bytes;
    return PARSE_DONE;
}

static enum parse_result read_key(struct packet *packet, struct operation *operation)
{
    operation->key = key_of(packet);
    if (operation->verb == VERB_DELETE) {
        operation->client_flags = 0;
        operation->exptime = 0;
        take_cas(packet, operation);
    }
    return PARSE_DONE;
}

static enum parse_result read_touch(struct packet *packet, struct operation *operation)
{
    operation->key = key_of(packet);
    operation->exptime = load_exptime(packet->extras);
    return PARSE_DONE;
}

static enum parse_result read_store(struct packet *packet, struct operation *operation)
{
    operation->key = key_of(packet);
    operation->client_flags = load32(packet->extras);
    operation->exptime = load_exptime(packet->extras + 4);
    take_cas(packet, operation);
    return take_value(packet, operation);
}

static enum parse_result read_append(struct packet *packet, struct operation *operation)
{
    operation->key = key_of(packet);
    operation->client_flags = 0;
    operation->exptime = 0;
    take_cas(packet, operation);
    return take_value(packet, operation);
}

static enum parse_result read_arithmetic(struct packet *packet, struct operation *operation)
{
    operation->key = key_of(packet);
    operation->delta = load64(packet->extras);
    operation->initial = load64(packet->extras + 8);
    operation->exptime = 0;
    if (load32(packet->extras + 16) != UINT32_MAX) { /* that one means: only if it exists */
        operation->vivify_exptime = load_exptime(packet->extras + 16);
        operation->options |= OPERATION_VIVIFY;
    }
    take_cas(packet, operation);
    return PARSE_DONE;
}

static enum parse_result read_flush(struct packet *packet, struct operation *operation)
{
    operation->exptime = packet->extras_bytes > 0 ? load_exptime(packet->extras) : 0;
    return PARSE_DONE;
}

static enum parse_result read_bare(struct packet *packet, struct operation *operation)
{
    operation->arguments = key_of(packet);
    operation->closes = operation->verb == VERB_QUIT;
    return PARSE_DONE;
}

static enum parse_result read_sasl(struct packet *packet, struct operation *operation)
{
    operation->key = key_of(packet);
    operation->arguments = operation->key;
    if (packet->value_bytes > BINARY_SASL_BYTES_MAX) {
        operation->value = (struct slice){NULL, packet->value_bytes};
        parser_swallow(packet->parser, packet->value_bytes);
        return PARSE_DONE;
    }
    return take_value(packet, operation) == PARSE_DONE ? PARSE_DONE : PARSE_MORE;
}

static enum parse_result refuse_context(struct packet *packet, struct operation *operation)
{
    parser_swallow(packet->parser, packet->value_bytes);
    operation_reject(operation, REJECT_CONTEXT);
    return PARSE_DONE;
}

/* Takes the context at the start of the value. */
static enum parse_result take_context(struct packet *packet, uint32_t bytes,
                                      struct operation *operation)
{
    if (bytes > packet->value_bytes || bytes > CONTEXT_BYTES_MAX)
        return refuse_context(packet, operation);
    if (value_available(packet) < bytes)
        return PARSE_MORE;
    memcpy(operation->context_storage, packet->value, bytes);
    operation->context = (struct slice){operation->context_storage, bytes};
    operation->options |= OPERATION_CONTEXT;
    packet->value += bytes;
    packet->value_bytes -= bytes;
    return PARSE_DONE;
}

static enum parse_result read_context_store(struct packet *packet, struct operation *operation)
{
    operation->key = key_of(packet);
    operation->client_flags = load32(packet->extras);
    operation->exptime = load_exptime(packet->extras + 4);
    enum parse_result result = take_context(packet, load32(packet->extras + 8), operation);
    if (result != PARSE_DONE || operation->verb == VERB_REJECT)
        return result;
    return take_value(packet, operation);
}

static enum parse_result read_context_delete(struct packet *packet, struct operation *operation)
{
    operation->key = key_of(packet);
    operation->client_flags = 0;
    operation->exptime = 0;
    uint32_t bytes = load32(packet->extras);
    if (bytes != packet->value_bytes)
        return refuse_context(packet, operation);
    return take_context(packet, bytes, operation);
}

static inline bool length_is_legal(enum length_rule rule, size_t bytes)
{
    return rule == LENGTH_ANY || (bytes > 0) == (rule == LENGTH_REQUIRED);
}

static bool lengths_are_legal(const struct packet *packet)
{
    const struct binary_command *command = packet->command;
    bool extras_ok = packet->extras_bytes == command->extras_bytes ||
                     (packet->extras_bytes == 0 && command->extras_optional);
    return extras_ok && length_is_legal((enum length_rule)command->key_rule, packet->key_bytes) &&
           length_is_legal((enum length_rule)command->value_rule, packet->value_bytes);
}

/* Reads the lengths out of a header.  False: they contradict each other or are past all bounds. */
static bool read_header(struct packet *packet, const unsigned char *header)
{
    uint64_t body = load32(header + 8);
    packet->command = &commands[header[1]];
    packet->key_bytes = load16(header + 2);
    packet->extras_bytes = header[4];
    packet->cas = load64(header + 16);
    packet->extras = header + BINARY_HEADER_BYTES;
    uint64_t before_value = (uint64_t)packet->extras_bytes + packet->key_bytes;
    if (packet->key_bytes > KEY_BYTES_MAX || body < before_value ||
        body - before_value > VALUE_BYTES_MAX)
        return false;
    packet->value_bytes = (uint32_t)(body - before_value);
    return true;
}

/* A packet whose header is there.  Leaves packet->value behind what was consumed. */
static enum parse_result parse_packet(struct packet *packet, const unsigned char *header,
                                      struct operation *operation)
{
    bool is_sane = read_header(packet, header);
    const struct binary_command *command = packet->command;
    operation_begin(operation, PROTOCOL_BINARY, (enum verb)command->verb, command->mode,
                    command->options);
    operation->opcode = header[1];
    memcpy(&operation->opaque, header + 12, sizeof operation->opaque);
    packet->value = packet->extras;
    if (!is_sane || (command->read != NULL && !lengths_are_legal(packet))) {
        operation_reject(operation, REJECT_BINARY_LENGTH);
        operation->closes = true;
        return PARSE_DONE;
    }
    size_t before_value = (size_t)packet->extras_bytes + packet->key_bytes;
    if (command->read == NULL) {
        parser_swallow(packet->parser, (uint64_t)before_value + packet->value_bytes);
        operation_reject(operation, REJECT_UNKNOWN_COMMAND);
        return PARSE_DONE;
    }
    if ((size_t)(packet->limit - packet->extras) < before_value)
        return PARSE_MORE;
    packet->value = packet->extras + before_value;
    return command->read(packet, operation);
}

enum parse_result binary_parse(struct parser *parser, struct slice input,
                               struct operation *operation, size_t *consumed)
{
    size_t skipped = parser->swallow > 0 ? parser_skip(parser, input.size) : 0;
    *consumed = skipped;
    if (input.size == skipped)
        return PARSE_MORE;
    const unsigned char *header = input.bytes + skipped;
    if (header[0] != BINARY_REQUEST_MAGIC) {
        operation_begin(operation, PROTOCOL_BINARY, VERB_CLOSE, 0, 0);
        operation->opcode = 0;
        operation->opaque = 0;
        operation_close(operation, REJECT_SILENTLY);
        *consumed = input.size;
        return PARSE_DONE;
    }
    if (input.size - skipped < BINARY_HEADER_BYTES)
        return PARSE_MORE;
    struct packet packet = {.parser = parser, .limit = input.bytes + input.size};
    enum parse_result result = parse_packet(&packet, header, operation);
    if (result != PARSE_MORE)
        *consumed = (size_t)(packet.value - input.bytes);
    assert(*consumed <= input.size);
    return result;
}
