#include "bench/reply.h"

#include <assert.h>

enum { BINARY_HEADER_BYTES = 24 };
enum { BINARY_OPCODE_GET = 0x00, BINARY_OPCODE_GETQ = 0x09, BINARY_OPCODE_NOOP = 0x0a };
enum { BINARY_STATUS_OK = 0, BINARY_STATUS_NOT_FOUND = 1 };

void reply_parser_init(struct reply_parser *parser, enum wire wire)
{
    parser->wire = wire;
    parser->state = REPLY_AT_START;
    parser->left = 0;
    parser->held = 0;
}

static struct slice take(struct slice *input, size_t size)
{
    assert(size <= input->size);
    const struct slice taken = {input->bytes, size};
    input->bytes += size;
    input->size -= size;
    return taken;
}

/* Keeps what there is of a unit until the rest arrives; false if it can never fit. */
static bool hold(struct reply_parser *parser, struct slice part)
{
    if (part.size > sizeof parser->line - parser->held)
        return false;
    memcpy(parser->line + parser->held, part.bytes, part.size);
    parser->held += (unsigned)part.size;
    return true;
}

/* What is held together with `part`; only a unit that arrived in pieces is copied. */
static bool join(struct reply_parser *parser, struct slice part, struct slice *whole)
{
    if (parser->held == 0) {
        *whole = part;
        return true;
    }
    if (!hold(parser, part))
        return false;
    *whole = (struct slice){(const unsigned char *)parser->line, parser->held};
    parser->held = 0;
    return true;
}

/* The next word of a line, and the line behind it. */
static struct slice next_word(struct slice *line)
{
    while (line->size > 0 && *line->bytes == ' ')
        take(line, 1);
    size_t size = 0;
    while (size < line->size && line->bytes[size] != ' ')
        size++;
    return take(line, size);
}

static bool number_of(struct slice word, uint64_t *number)
{
    uint64_t sum = 0;
    if (word.size == 0 || word.size > 19)
        return false;
    for (size_t i = 0; i < word.size; i++) {
        const unsigned digit = (unsigned)word.bytes[i] - '0';
        if (digit > 9)
            return false;
        sum = sum * 10 + digit;
    }
    *number = sum;
    return true;
}

static enum reply_event begin_value(struct reply_parser *parser, uint64_t value_bytes)
{
    parser->state = REPLY_IN_VALUE;
    parser->left = value_bytes;
    return REPLY_VALUE;
}

/* VALUE <key> <flags> <bytes> [<cas>] */
static enum reply_event text_value(struct reply_parser *parser, struct slice line,
                                   struct reply *reply)
{
    reply->key = next_word(&line);
    next_word(&line);
    if (reply->key.size == 0 || !number_of(next_word(&line), &reply->value_bytes))
        return REPLY_BAD;
    return begin_value(parser, reply->value_bytes);
}

/* VA <bytes> <flag>*, where the flag k brings the key */
static enum reply_event meta_value(struct reply_parser *parser, struct slice line,
                                   struct reply *reply)
{
    if (!number_of(next_word(&line), &reply->value_bytes))
        return REPLY_BAD;
    for (struct slice flag = next_word(&line); flag.size > 0; flag = next_word(&line))
        if (flag.bytes[0] == 'k')
            reply->key = (struct slice){flag.bytes + 1, flag.size - 1};
    return begin_value(parser, reply->value_bytes);
}

static enum reply_event done(struct reply *reply, enum reply_status status, struct slice line)
{
    reply->status = status;
    reply->data = line;
    return REPLY_DONE;
}

/* Every reply that is one line, by its first word. */
static const struct line_reply {
    struct slice word;
    enum reply_status status;
} line_replies[] = {
    {SLICE("END"), REPLY_END},
    {SLICE("STORED"), REPLY_OK},
    {SLICE("HD"), REPLY_OK},
    {SLICE("EN"), REPLY_MISS},
    {SLICE("MN"), REPLY_END},
    {SLICE("DELETED"), REPLY_OK},
    {SLICE("NOT_FOUND"), REPLY_MISS},
    {SLICE("NF"), REPLY_MISS},
    {SLICE("TOUCHED"), REPLY_OK},
    {SLICE("OK"), REPLY_OK},
    {SLICE("NOT_STORED"), REPLY_MISS},
    {SLICE("NS"), REPLY_MISS},
    {SLICE("EXISTS"), REPLY_MISS},
    {SLICE("EX"), REPLY_MISS},
    {SLICE("SERVER_ERROR"), REPLY_ERROR},
    {SLICE("CLIENT_ERROR"), REPLY_ERROR},
    {SLICE("ERROR"), REPLY_ERROR},
};

static enum reply_event parse_line(struct reply_parser *parser, struct slice line,
                                   struct reply *reply)
{
    struct slice rest = line;
    const struct slice word = next_word(&rest);
    if (parser->wire == WIRE_TEXT && slice_equal(word, SLICE("VALUE")))
        return text_value(parser, rest, reply);
    if (parser->wire == WIRE_META && slice_equal(word, SLICE("VA")))
        return meta_value(parser, rest, reply);
    for (size_t i = 0; i < sizeof line_replies / sizeof *line_replies; i++)
        if (slice_equal(word, line_replies[i].word))
            return done(reply, line_replies[i].status, line);
    uint64_t number;
    if (number_of(word, &number))
        return done(reply, REPLY_OK, line); /* incr */
    return REPLY_BAD;
}

static enum reply_event next_line(struct reply_parser *parser, struct slice *input,
                                  struct reply *reply)
{
    const unsigned char *feed = memchr(input->bytes, '\n', input->size);
    if (feed == NULL)
        return hold(parser, take(input, input->size)) ? REPLY_MORE : REPLY_BAD;

    struct slice line;
    if (!join(parser, take(input, (size_t)(feed - input->bytes) + 1), &line))
        return REPLY_BAD;
    line.size--;
    if (line.size == 0 || line.bytes[line.size - 1] != '\r')
        return REPLY_BAD;
    line.size--;
    return parse_line(parser, line, reply);
}

static uint32_t big_endian(const unsigned char *bytes, unsigned size)
{
    uint32_t number = 0;
    for (unsigned i = 0; i < size; i++)
        number = number << 8 | bytes[i];
    return number;
}

static enum reply_status binary_status(uint32_t status)
{
    switch (status) {
    case BINARY_STATUS_OK: return REPLY_OK;
    case BINARY_STATUS_NOT_FOUND: return REPLY_MISS;
    default: return REPLY_ERROR;
    }
}

/* Turns a header into the event that follows once the bytes between are skipped. */
static enum reply_event parse_header(struct reply_parser *parser, const unsigned char *header)
{
    const uint32_t opcode = header[1];
    const uint32_t before_value = big_endian(header + 2, 2) + header[4];
    const uint32_t status = big_endian(header + 6, 2);
    const uint32_t body = big_endian(header + 8, 4);
    const bool is_get = opcode == BINARY_OPCODE_GET || opcode == BINARY_OPCODE_GETQ;
    if (header[0] != 0x81 || before_value > body)
        return REPLY_BAD;

    parser->pending = (struct reply){.opaque = big_endian(header + 12, 4)};
    parser->state = REPLY_IN_SKIP;
    if (is_get && status == BINARY_STATUS_OK) {
        parser->pending.value_bytes = body - before_value;
        parser->left = before_value;
        parser->after_skip = REPLY_VALUE;
        return REPLY_MORE;
    }
    parser->pending.status = opcode == BINARY_OPCODE_NOOP && status == BINARY_STATUS_OK
                                 ? REPLY_END
                                 : binary_status(status);
    parser->left = body;
    parser->after_skip = REPLY_DONE;
    return REPLY_MORE;
}

/* REPLY_MORE here means: go on in the new state. */
static enum reply_event next_header(struct reply_parser *parser, struct slice *input)
{
    const size_t missing = BINARY_HEADER_BYTES - parser->held;
    struct slice header;
    if (input->size < missing)
        return hold(parser, take(input, input->size)) ? REPLY_MORE : REPLY_BAD;
    if (!join(parser, take(input, missing), &header))
        return REPLY_BAD;
    return parse_header(parser, header.bytes);
}

static size_t smaller(uint64_t left, size_t size)
{
    return left < size ? (size_t)left : size;
}

static enum reply_event next_skip(struct reply_parser *parser, struct slice *input,
                                  struct reply *reply)
{
    const struct slice skipped = take(input, smaller(parser->left, input->size));
    parser->left -= skipped.size;
    if (parser->left > 0)
        return REPLY_MORE;
    *reply = parser->pending;
    if (parser->after_skip == REPLY_VALUE)
        return begin_value(parser, reply->value_bytes);
    reply->data = skipped;
    parser->state = REPLY_AT_START;
    return REPLY_DONE;
}

static enum reply_event next_data(struct reply_parser *parser, struct slice *input,
                                  struct reply *reply)
{
    reply->value_bytes = parser->pending.value_bytes;
    reply->data_offset = reply->value_bytes - parser->left;
    reply->data = take(input, smaller(parser->left, input->size));
    parser->left -= reply->data.size;
    if (parser->left == 0) {
        parser->state = parser->wire == WIRE_BINARY ? REPLY_AFTER_VALUE : REPLY_IN_LINE_END;
        parser->left = 2;
    }
    return REPLY_DATA;
}

/* False if something else stands where CR LF must. */
static bool pass_line_end(struct reply_parser *parser, struct slice *input)
{
    while (parser->left > 0 && input->size > 0) {
        const char wanted = parser->left == 2 ? '\r' : '\n';
        if (*take(input, 1).bytes != wanted)
            return false;
        parser->left--;
    }
    if (parser->left == 0)
        parser->state = REPLY_AFTER_VALUE;
    return true;
}

static enum reply_event at_start(struct reply_parser *parser, struct slice *input,
                                 struct reply *reply)
{
    *reply = (struct reply){0};
    if (parser->wire == WIRE_BINARY)
        return next_header(parser, input);
    const enum reply_event event = next_line(parser, input, reply);
    if (event == REPLY_VALUE)
        parser->pending = *reply;
    return event;
}

enum reply_event reply_next(struct reply_parser *parser, struct slice *input, struct reply *reply)
{
    for (;;) {
        enum reply_event event = REPLY_MORE;
        const enum reply_state before = parser->state;
        switch (before) {
        case REPLY_AT_START:
            if (input->size > 0)
                event = at_start(parser, input, reply);
            break;
        case REPLY_IN_SKIP: event = next_skip(parser, input, reply); break;
        case REPLY_IN_VALUE:
            if (parser->left == 0 || input->size > 0)
                return next_data(parser, input, reply);
            break;
        case REPLY_IN_LINE_END:
            if (!pass_line_end(parser, input))
                return REPLY_BAD;
            break;
        case REPLY_AFTER_VALUE: parser->state = REPLY_AT_START; return REPLY_VALUE_END;
        }
        if (event != REPLY_MORE)
            return event;
        if (parser->state == before)
            return REPLY_MORE;
    }
}
