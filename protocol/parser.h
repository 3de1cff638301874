/* What a codec has to remember of a connection between two reads. */
#ifndef PROTOCOL_PARSER_H
#define PROTOCOL_PARSER_H

#include "protocol/operation.h"

/* What one call of a parser made of the input. */
enum parse_result {
    PARSE_DONE,  /* *operation is complete, and *consumed bytes of the input belong to it */
    PARSE_VALUE, /* *operation is complete but for its value: `value.size` bytes, `value.bytes` is
                  * NULL.  The value begins at input + *consumed.  The caller now reads the value
                  * and, in text and meta, the two bytes after it (see parser_value_ends_well()), or
                  * skips it with parser_swallow() */
    PARSE_MORE,  /* nothing complete is there; *consumed bytes can be forgotten (swallowed ones) */
};

/* Embedded in a connection; all zero is a fresh one.  Fields are the codecs' own. */
struct parser {
    uint64_t swallow;      /* bytes of input still to be thrown away */
    uint8_t keys_verb;     /* while in the keys of a get line: its verb */
    bool in_keys;          /* the line's command word is behind us, keys follow */
    bool saw_key;
    uint32_t keys_options;
    int32_t keys_exptime;
    bool before_first;     /* text: no complete line yet (an overlong first line closes) */
    uint32_t scanned;      /* bytes of an incomplete line already searched for its end */
};

/* Makes the parser throw away the next `bytes` of input before it looks for an operation: for
 * the value of an operation that is refused. */
static inline void parser_swallow(struct parser *parser, uint64_t bytes)
{
    parser->swallow += bytes;
}

#endif
