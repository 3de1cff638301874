#include "tests/fuzz/codec_replay.h"
#include "protocol/binary.h"
#include "protocol/reply.h"
#include "protocol/text.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CANARY 0xc5

/* Assertions of the test itself: they must say what was wrong in every build. */
#define require(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: codec_replay: not true: %s\n", __FILE__, __LINE__,             \
                    #condition);                                                                   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct transcript {
    char *text;
    size_t size, capacity;
};

struct replay {
    enum codec codec;
    struct parser parser;
    struct transcript transcript;
    struct slice chunk;  /* the input of the call at hand */
    unsigned char *rest; /* what is kept between two reads */
    size_t rest_bytes;
    bool is_closed;

    /* While a value is read on: the line that is said if its end is good, and the value. */
    bool fills_value;
    bool needs_line_end;
    bool is_noreply;
    char *store_line;
    unsigned char *value;
    size_t value_bytes, value_have;

    unsigned char key_storage[KEY_BYTES_MAX];
    unsigned char context_storage[CONTEXT_BYTES_MAX];
};

static const char *const verb_names[VERB_COUNT] = {
    [VERB_GET] = "GET",
    [VERB_INSPECT] = "INSPECT",
    [VERB_STORE] = "STORE",
    [VERB_DELETE] = "DELETE",
    [VERB_ARITHMETIC] = "ARITHMETIC",
    [VERB_TOUCH] = "TOUCH",
    [VERB_SIBLINGS] = "SIBLINGS",
    [VERB_REJECT] = "REJECT",
    [VERB_NOOP] = "NOOP",
    [VERB_VERSION] = "VERSION",
    [VERB_QUIT] = "QUIT",
    [VERB_CLOSE] = "CLOSE",
    [VERB_FLUSH_ALL] = "FLUSH_ALL",
    [VERB_VERBOSITY] = "VERBOSITY",
    [VERB_SHUTDOWN] = "SHUTDOWN",
    [VERB_STATS] = "STATS",
    [VERB_CACHE_MEMLIMIT] = "CACHE_MEMLIMIT",
    [VERB_WATCH] = "WATCH",
    [VERB_LRU_CRAWLER] = "LRU_CRAWLER",
    [VERB_LRU] = "LRU",
    [VERB_SLABS] = "SLABS",
    [VERB_EXTSTORE] = "EXTSTORE",
    [VERB_REFRESH_CERTS] = "REFRESH_CERTS",
    [VERB_CONFIG] = "CONFIG",
    [VERB_CLUSTER] = "CLUSTER",
    [VERB_DEBUG] = "DEBUG",
    [VERB_SASL_LIST] = "SASL_LIST",
    [VERB_SASL_AUTH] = "SASL_AUTH",
    [VERB_SASL_STEP] = "SASL_STEP",
};

static const char *const option_names[] = {
    "noreply", "quiet",   "value",        "cas",    "first",   "last",       "cold",
    "compare", "set_cas", "exptime",      "vivify", "recache", "invalidate", "drop",
    "encoded", "context", "give_context", "meta",   "count",
};

static const char *const store_modes[] = {"set", "add", "replace", "append", "prepend"};
static const char *const arithmetic_modes[] = {"add", "subtract"};
static const char *const debug_modes[] = {"debug", "debugtime"};

static void transcript_room(struct transcript *transcript, size_t bytes)
{
    if (transcript->capacity - transcript->size > bytes)
        return;
    transcript->capacity = transcript->capacity * 2 + bytes + 64;
    transcript->text = realloc(transcript->text, transcript->capacity);
    require(transcript->text != NULL);
}

__attribute__((format(printf, 2, 3))) static void say(struct transcript *transcript,
                                                      const char *format, ...)
{
    char buffer[256];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(buffer, sizeof buffer, format, arguments);
    va_end(arguments);
    require(size >= 0 && (size_t)size < sizeof buffer);
    transcript_room(transcript, (size_t)size + 1);
    memcpy(transcript->text + transcript->size, buffer, (size_t)size + 1);
    transcript->size += (size_t)size;
}

/* Bytes as they are, but for those that cannot be seen. */
static void say_bytes(struct transcript *transcript, struct slice bytes)
{
    transcript_room(transcript, bytes.size * 4 + 1);
    for (size_t i = 0; i < bytes.size; i++) {
        unsigned char byte = bytes.bytes[i];
        char *at = transcript->text + transcript->size;
        if (byte > ' ' && byte < 127 && byte != '\\') {
            *at = (char)byte;
            transcript->size++;
        } else {
            transcript->size += (size_t)sprintf(at, "\\x%02x", byte);
        }
    }
    transcript->text[transcript->size] = '\0';
}

static bool lies_in(struct slice inner, const unsigned char *start, size_t size)
{
    return inner.bytes >= start && inner.bytes <= start + size &&
           inner.size <= size - (size_t)(inner.bytes - start);
}

/* A slice of an operation, checked for where it lies. */
static struct slice checked(const struct replay *replay, struct slice slice)
{
    require(lies_in(slice, replay->chunk.bytes, replay->chunk.size) ||
            lies_in(slice, replay->key_storage, sizeof replay->key_storage) ||
            lies_in(slice, replay->context_storage, sizeof replay->context_storage));
    return slice;
}

static void say_named(struct replay *replay, const char *name, struct slice slice)
{
    say(&replay->transcript, " %s", name);
    say_bytes(&replay->transcript, checked(replay, slice));
}

static void say_key(struct replay *replay, const struct operation *operation)
{
    require(operation->key.size > 0);
    require(operation->key.size <= KEY_BYTES_MAX);
    say_named(replay, "", operation->key);
}

/* The fields that the verb always has. */
static void say_fields(struct replay *replay, const struct operation *operation)
{
    struct transcript *transcript = &replay->transcript;
    switch ((enum verb)operation->verb) {
    case VERB_GET:
    case VERB_SIBLINGS:
    case VERB_INSPECT:
    case VERB_TOUCH:
    case VERB_DELETE: say_key(replay, operation); break;
    case VERB_STORE:
        require(operation->mode <= STORE_PREPEND);
        say(transcript, " %s", store_modes[operation->mode]);
        say_key(replay, operation);
        say(transcript, " flags=%u", operation->client_flags);
        break;
    case VERB_ARITHMETIC:
        require(operation->mode <= ARITHMETIC_SUBTRACT);
        say(transcript, " %s", arithmetic_modes[operation->mode]);
        say_key(replay, operation);
        say(transcript, " delta=%llu initial=%llu", (unsigned long long)operation->delta,
            (unsigned long long)operation->initial);
        break;
    case VERB_FLUSH_ALL: say(transcript, " exptime=%d", operation->exptime); break;
    case VERB_VERBOSITY: say(transcript, " %llu", (unsigned long long)operation->delta); break;
    case VERB_SASL_AUTH:
    case VERB_SASL_STEP:
        say_key(replay, operation);
        if (operation->value.bytes != NULL)
            say_named(replay, "value=", operation->value);
        else if (operation->value.size > 0)
            say(transcript, " value of %zu bytes", operation->value.size);
        break;
    case VERB_DEBUG:
        require(operation->mode <= DEBUG_TIME);
        say(transcript, " %s", debug_modes[operation->mode]);
        say_named(replay, "", operation->arguments);
        break;
    case VERB_SHUTDOWN:
    case VERB_STATS:
    case VERB_CACHE_MEMLIMIT:
    case VERB_WATCH:
    case VERB_LRU_CRAWLER:
    case VERB_LRU:
    case VERB_SLABS:
    case VERB_EXTSTORE:
    case VERB_REFRESH_CERTS:
    case VERB_CONFIG:
    case VERB_CLUSTER:
    case VERB_SASL_LIST: say_named(replay, "", operation->arguments); break;
    case VERB_REJECT:
    case VERB_CLOSE: require(operation->rejection < REJECT_REASON_COUNT); break;
    case VERB_NOOP:
    case VERB_VERSION:
    case VERB_QUIT:
    case VERB_COUNT: break;
    }
}

/* The fields that only some options come with, and the options. */
static void say_options(struct replay *replay, const struct operation *operation)
{
    struct transcript *transcript = &replay->transcript;
    uint32_t options = operation->options;
    if (options & OPERATION_SET_EXPTIME)
        say(transcript, " exptime=%d", operation->exptime);
    if (options & OPERATION_COMPARE_CAS)
        say(transcript, " compare=%llu", (unsigned long long)operation->cas_compare);
    if (options & OPERATION_SET_CAS)
        say(transcript, " new=%llu", (unsigned long long)operation->cas_new);
    if (options & OPERATION_VIVIFY)
        say(transcript, " vivify=%d", operation->vivify_exptime);
    if (options & OPERATION_RECACHE)
        say(transcript, " recache=%d", operation->recache_exptime);
    if (options & OPERATION_CONTEXT) {
        require(operation->context.size <= CONTEXT_BYTES_MAX);
        say_named(replay, "context=", operation->context);
    }
    require(options < 1u << sizeof option_names / sizeof *option_names);
    for (unsigned bit = 0; bit < sizeof option_names / sizeof *option_names; bit++)
        if (options & 1u << bit)
            say(transcript, " +%s", option_names[bit]);
}

/* A deterministic outcome for an operation, some of them nonsense. */
static struct outcome invent_outcome(const struct operation *operation, unsigned seed)
{
    static const unsigned char context[CONTEXT_BYTES_MAX];
    seed = seed * 2654435761u + operation->options + operation->verb;
    struct outcome outcome = {
        .status = (uint8_t)(seed % OUTCOME_STATUS_COUNT),
        .is_stale = seed >> 8 & 1,
        .won = seed >> 9 & 1,
        .lost = seed >> 10 & 1,
        .was_hit_before = seed >> 11 & 1,
        .key_is_binary = seed >> 12 & 1,
        .client_flags = seed >> 13 & 1 ? UINT32_MAX : 0,
        .value = {context, seed >> 14 & 1 ? VALUE_BYTES_MAX : 0},
        .cas = seed >> 15 & 1 ? UINT64_MAX : 0,
        .number = seed >> 16 & 1 ? UINT64_MAX : 0,
        .ttl_s = seed >> 17 & 1 ? INT64_MAX : -1,
        .idle_s = UINT32_MAX,
        .item_bytes = UINT64_MAX,
        .sibling_count = 32,
        .sibling_index = seed >> 18 & 31,
        .context = {context, seed >> 19 & 1 ? CONTEXT_BYTES_MAX : 0},
    };
    if (seed >> 20 & 1)
        outcome.status = OUTCOME_OK;
    return outcome;
}

/* Answers within their bounds, whatever came of the operation. */
static void check_reply(const struct operation *operation, unsigned seed)
{
    unsigned char out[REPLY_HEAD_BYTES_MAX + REPLY_TAIL_BYTES_MAX + 1];
    struct outcome outcome = invent_outcome(operation, seed);
    size_t head_max = reply_head_bytes_max(operation);
    require(head_max <= REPLY_HEAD_BYTES_MAX);
    memset(out, CANARY, sizeof out);
    size_t head = reply_head(operation, &outcome, out);
    require(head <= head_max);
    require(out[head_max] == CANARY);
    memset(out, CANARY, sizeof out);
    size_t tail = reply_tail(operation, &outcome, out);
    require(tail <= REPLY_TAIL_BYTES_MAX);
    require(out[REPLY_TAIL_BYTES_MAX] == CANARY);
    if (operation->options & OPERATION_NOREPLY)
        require(head == 0 && tail == 0);
}

/* What a refusal says, or would say but for noreply: its exact words are part of the transcript. */
static void say_rejection(struct replay *replay, const struct operation *operation)
{
    struct outcome outcome = {0};
    unsigned char out[REPLY_HEAD_BYTES_MAX];
    struct operation aloud = *operation;
    aloud.options &= ~(uint32_t)OPERATION_NOREPLY;
    size_t size = reply_head(&aloud, &outcome, out);
    say(&replay->transcript, " ");
    if (operation->protocol != PROTOCOL_BINARY) {
        transcript_room(&replay->transcript, size + 1);
        if (size >= 2 && memcmp(out + size - 2, "\r\n", 2) == 0)
            size -= 2;
        say(&replay->transcript, "%.*s", (int)size, (const char *)out);
    } else if (size >= BINARY_HEADER_BYTES) {
        say(&replay->transcript, "0x%02x%02x %.*s", out[6], out[7],
            (int)(size - BINARY_HEADER_BYTES), (const char *)out + BINARY_HEADER_BYTES);
    }
}

static void say_operation(struct replay *replay, const struct operation *operation)
{
    require(operation->verb < VERB_COUNT);
    say(&replay->transcript, "%s", verb_names[operation->verb]);
    say_fields(replay, operation);
    if (operation->verb == VERB_REJECT || operation->verb == VERB_CLOSE) {
        say_rejection(replay, operation);
        if (operation->options & OPERATION_NOREPLY)
            say(&replay->transcript, " +noreply");
    } else {
        say_options(replay, operation);
    }
    if (operation->verb < VERB_REJECT && operation->protocol == PROTOCOL_META)
        say_named(replay, "meta=", operation->meta_flags);
    if (operation->protocol == PROTOCOL_BINARY)
        say(&replay->transcript, " opcode=%02x opaque=%08x", operation->opcode, operation->opaque);
    if (operation->closes)
        say(&replay->transcript, " closes");
}

static void finish_store(struct replay *replay, struct slice value)
{
    say(&replay->transcript, " value=");
    say_bytes(&replay->transcript, value);
    say(&replay->transcript, "\n");
}

/* The value that an operation announced will come in further reads. */
static void begin_value(struct replay *replay, const struct operation *operation, size_t line_start)
{
    struct transcript *transcript = &replay->transcript;
    require(operation->verb == VERB_STORE);
    require(operation->value.bytes == NULL);
    replay->fills_value = true;
    replay->needs_line_end = operation->protocol != PROTOCOL_BINARY;
    replay->value_bytes = operation->value.size + (replay->needs_line_end ? 2 : 0);
    replay->is_noreply = (operation->options & OPERATION_NOREPLY) != 0;
    replay->value_have = 0;
    replay->value = NULL;
    replay->store_line = strdup(transcript->text + line_start);
    require(replay->store_line != NULL);
    transcript->size = line_start;
    transcript->text[line_start] = '\0';
}

static void end_value(struct replay *replay)
{
    struct slice value = {replay->value, replay->value_bytes};
    replay->fills_value = false;
    if (replay->needs_line_end)
        value.size -= 2;
    if (replay->needs_line_end && !text_value_ends_well(replay->value + value.size)) {
        say(&replay->transcript, "REJECT CLIENT_ERROR bad data chunk");
        if (replay->is_noreply)
            say(&replay->transcript, " +noreply");
        say(&replay->transcript, "\n");
    } else {
        transcript_room(&replay->transcript, strlen(replay->store_line) + 1);
        strcpy(replay->transcript.text + replay->transcript.size, replay->store_line);
        replay->transcript.size += strlen(replay->store_line);
        finish_store(replay, value);
    }
    free(replay->store_line);
    free(replay->value);
}

/* Takes what there is of a value that is read on, and returns how much that was. */
static size_t fill_value(struct replay *replay, struct slice input)
{
    size_t lacking = replay->value_bytes - replay->value_have;
    size_t taken = lacking < input.size ? lacking : input.size;
    if (taken > 0) {
        replay->value = realloc(replay->value, replay->value_have + taken);
        require(replay->value != NULL);
        memcpy(replay->value + replay->value_have, input.bytes, taken);
    }
    replay->value_have += taken;
    if (replay->value_have == replay->value_bytes)
        end_value(replay);
    return taken;
}

/* text_parse_keys_ahead() takes a key only if text_parse() would, and gives the same operation. */
static void check_ahead(const struct operation *ahead, size_t ahead_consumed,
                        enum parse_result result, const struct operation *operation,
                        size_t consumed)
{
    require(result == PARSE_DONE);
    require(ahead_consumed == consumed);
    require(ahead->verb == operation->verb);
    require(ahead->protocol == operation->protocol);
    require(ahead->options == operation->options);
    require(ahead->exptime == operation->exptime);
    require(ahead->closes == operation->closes);
    require(ahead->key.bytes == operation->key.bytes);
    require(ahead->key.size == operation->key.size);
}

/* One call of the parser.  Returns what it consumed; *is_done when more input is needed. */
static size_t parse_once(struct replay *replay, struct slice input, bool *is_done)
{
    struct operation operation;
    size_t consumed = SIZE_MAX;
    memset(&operation, 0xa5, sizeof operation);
    operation.key_storage = replay->key_storage;
    operation.context_storage = replay->context_storage;
    replay->chunk = input;
    struct operation ahead;
    size_t ahead_consumed = 0;
    unsigned ahead_count =
        replay->parser.in_keys && replay->parser.swallow == 0
            ? text_parse_keys_ahead(&replay->parser, input, &ahead, 1, &ahead_consumed)
            : 0;
    enum parse_result result = replay->codec == CODEC_BINARY
                                   ? binary_parse(&replay->parser, input, &operation, &consumed)
                                   : text_parse(&replay->parser, input, &operation, &consumed);
    require(consumed <= input.size);
    if (ahead_count == 1)
        check_ahead(&ahead, ahead_consumed, result, &operation, consumed);
    *is_done = result == PARSE_MORE;
    if (result == PARSE_MORE) {
        require(input.size - consumed < PARSER_INPUT_BYTES_MAX);
        return consumed;
    }
    require(consumed > 0 || replay->parser.swallow > 0);
    size_t line_start = replay->transcript.size;
    say_operation(replay, &operation);
    check_reply(&operation, (unsigned)consumed);
    if (result == PARSE_VALUE) {
        begin_value(replay, &operation, line_start);
    } else if (operation.verb == VERB_STORE) {
        finish_store(replay, checked(replay, operation.value));
    } else {
        say(&replay->transcript, "\n");
    }
    replay->is_closed = operation.closes;
    return consumed;
}

/* A read: the rest of the one before, and new bytes behind it. */
static void read_chunk(struct replay *replay, struct slice bytes)
{
    size_t size = replay->rest_bytes + bytes.size;
    unsigned char *input = malloc(size > 0 ? size : 1);
    require(input != NULL);
    if (replay->rest_bytes > 0)
        memcpy(input, replay->rest, replay->rest_bytes);
    if (bytes.size > 0)
        memcpy(input + replay->rest_bytes, bytes.bytes, bytes.size);
    size_t at = 0;
    bool is_done = false;
    while (!is_done && !replay->is_closed) {
        struct slice left = {input + at, size - at};
        if (replay->fills_value) {
            at += fill_value(replay, left);
            is_done = replay->fills_value;
        } else {
            at += parse_once(replay, left, &is_done);
        }
    }
    free(replay->rest);
    replay->rest_bytes = size - at;
    replay->rest = malloc(replay->rest_bytes > 0 ? replay->rest_bytes : 1);
    require(replay->rest != NULL);
    memcpy(replay->rest, input + at, replay->rest_bytes);
    free(input);
}

char *codec_replay(enum codec codec, struct slice input, struct cuts cuts)
{
    struct replay *replay = calloc(1, sizeof *replay);
    require(replay != NULL);
    replay->codec = codec;
    size_t at = 0;
    for (size_t i = 0; i <= cuts.count; i++) {
        size_t end = i < cuts.count ? cuts.offsets[i] : input.size;
        require(end >= at && end <= input.size);
        if (!replay->is_closed)
            read_chunk(replay, (struct slice){input.bytes + at, end - at});
        at = end;
    }
    if (replay->fills_value) {
        transcript_room(&replay->transcript, strlen(replay->store_line) + 1);
        strcpy(replay->transcript.text + replay->transcript.size, replay->store_line);
        replay->transcript.size += strlen(replay->store_line);
        say(&replay->transcript, "\nvalue %zu\n", replay->value_bytes - replay->value_have);
        free(replay->store_line);
        free(replay->value);
    } else if (replay->parser.swallow > 0) {
        say(&replay->transcript, "swallow %llu\n", (unsigned long long)replay->parser.swallow);
    } else if (replay->rest_bytes > 0 && !replay->is_closed) {
        say(&replay->transcript, "left %zu\n", replay->rest_bytes);
    }
    say(&replay->transcript, "%s", "");
    char *text = replay->transcript.text;
    free(replay->rest);
    free(replay);
    return text;
}
