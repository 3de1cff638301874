/* The codec of memcached's binary protocol: 24-byte headers in network order, bodies, operations.
 *
 * Threads: none of its own; a parser belongs to whoever owns the connection. */
#ifndef PROTOCOL_BINARY_H
#define PROTOCOL_BINARY_H

#include "protocol/parser.h"

#define BINARY_HEADER_BYTES   24
#define BINARY_REQUEST_MAGIC  0x80
#define BINARY_RESPONSE_MAGIC 0x81

/* As text_parse().  A value that is not wholly in the input gives PARSE_VALUE; nothing follows a
 * value.  A body longer than `VALUE_BYTES_MAX` plus key and extras closes the connection. */
enum parse_result binary_parse(struct parser *, struct slice input, struct operation *operation,
                               size_t *consumed);

#endif
