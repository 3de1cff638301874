/* What a codec has to remember of a connection between two reads. */
#ifndef PROTOCOL_PARSER_H
#define PROTOCOL_PARSER_H

#include "protocol/operation.h"

/* A parser makes progress on any input that is this long: an input buffer never has to hold more
 * than this for PARSE_MORE to end. */
#define PARSER_INPUT_BYTES_MAX 8192

/* What one call of a parser made of the input. */
enum parse_result {
    PARSE_DONE,  /* *operation is complete, and *consumed bytes of the input belong to it */
    PARSE_VALUE, /* *operation (a VERB_STORE) is complete but for its value: `value.size` bytes,
                  * `value.bytes` is NULL.  The value begins at input + *consumed.  The caller now
                  * reads the value and, in text and meta, the two bytes after it (see
                  * text_value_ends_well()), or skips all that with parser_swallow() */
    PARSE_MORE,  /* nothing complete is there; *consumed bytes can be forgotten, the next call
                  * begins with the rest of the input and more */
};

/* Embedded in a connection; all zero is a fresh one.  Fields are the codecs' own. */
struct parser {
    uint64_t swallow;  /* bytes of input still to be thrown away */
    bool in_keys;      /* text: a get line's command word is behind us, keys follow */
    bool skips_line;   /* text: the rest of a refused line is thrown away */
    uint8_t keys_verb; /* in_keys: what to do with each key */
    uint32_t keys_options;
    int32_t keys_exptime;
    uint32_t scanned; /* bytes of an incomplete line already searched for its end */
};

/* Makes the parser throw away the next `bytes` of input before it looks for an operation: for
 * the value of an operation that is refused. */
static inline void parser_swallow(struct parser *parser, uint64_t bytes)
{
    parser->swallow += bytes;
}

/* For the codecs: throws away what is to be swallowed from the start of the input, and returns
 * how many bytes that were. */
static inline size_t parser_skip(struct parser *parser, size_t input_bytes)
{
    size_t skipped = parser->swallow < input_bytes ? (size_t)parser->swallow : input_bytes;
    parser->swallow -= skipped;
    return skipped;
}

/* For the codecs: begins an operation.  Everything else is garbage until it is set. */
static inline void operation_begin(struct operation *operation, enum protocol protocol,
                                   enum verb verb, unsigned mode, uint32_t options)
{
    operation->verb = (uint8_t)verb;
    operation->mode = (uint8_t)mode;
    operation->protocol = (uint8_t)protocol;
    operation->options = options;
    operation->closes = false;
}

/* For the codecs: turns the operation into a refusal.  OPERATION_NOREPLY stays. */
static inline void operation_reject(struct operation *operation, enum reject_reason reason)
{
    operation->verb = VERB_REJECT;
    operation->rejection = (uint8_t)reason;
}

/* For the codecs: turns the operation into the end of the connection. */
static inline void operation_close(struct operation *operation, enum reject_reason reason)
{
    operation->verb = VERB_CLOSE;
    operation->rejection = (uint8_t)reason;
    operation->closes = true;
}

#endif
