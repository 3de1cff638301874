/* The codec of memcached's text and meta protocols: lines in, operations out.
 *
 * Threads: none of its own; a parser belongs to whoever owns the connection. */
#ifndef PROTOCOL_TEXT_H
#define PROTOCOL_TEXT_H

#include "protocol/parser.h"

/* The longest command line, its end included, but for get and its like, which have no bound. */
#define TEXT_LINE_BYTES_MAX 2048

/* Parses the next operation of `input`, in place.  `operation->key_storage` and
 * `context_storage` must be set by the caller; all else is filled here as far as the verb needs
 * it.  A get line gives one operation per key.  Malformed input gives a VERB_REJECT or VERB_CLOSE
 * operation, never an error of this function.  `*consumed` is set in every case. */
enum parse_result text_parse(struct parser *, struct slice input, struct operation *operation,
                             size_t *consumed);

/* After a PARSE_DONE with parser->in_keys: takes the keys of that line which another one follows,
 * in a tight loop, up to `room` of them, and returns how many; text_parse() takes over from there.
 * Gives the operations that text_parse() would, and changes nothing in the parser. */
unsigned text_parse_keys_ahead(const struct parser *, struct slice input,
                               struct operation *operations, unsigned room, size_t *consumed);

/* Whether the two bytes that followed a value are the "\r\n" that must be there.  If not, the
 * answer is REJECT_DATA_CHUNK, and what follows them is parsed as the next command. */
static inline bool text_value_ends_well(const unsigned char end[2])
{
    return end[0] == '\r' && end[1] == '\n';
}

#endif
