/* The codec of memcached's binary protocol: 24-byte headers in network order, bodies, operations.
 *
 *     byte 0 magic | 1 opcode | 2-3 key bytes | 4 extras bytes | 5 data type, ignored
 *          6-7 vbucket (request, ignored) or status (answer) | 8-11 body bytes: extras, key, value
 *          12-15 opaque | 16-23 cas
 *
 * Threads: none of its own; a parser belongs to whoever owns the connection. */
#ifndef PROTOCOL_BINARY_H
#define PROTOCOL_BINARY_H

#include "protocol/parser.h"

#define BINARY_HEADER_BYTES   24
#define BINARY_REQUEST_MAGIC  0x80
#define BINARY_RESPONSE_MAGIC 0x81

/* The longest a SASL mechanism's message may be. */
#define BINARY_SASL_BYTES_MAX 4096

enum binary_opcode {
    BINARY_GET = 0x00,
    BINARY_SET = 0x01,
    BINARY_ADD = 0x02,
    BINARY_REPLACE = 0x03,
    BINARY_DELETE = 0x04,
    BINARY_INCREMENT = 0x05,
    BINARY_DECREMENT = 0x06,
    BINARY_QUIT = 0x07,
    BINARY_FLUSH = 0x08,
    BINARY_GETQ = 0x09,
    BINARY_NOOP = 0x0a,
    BINARY_VERSION = 0x0b,
    BINARY_GETK = 0x0c,
    BINARY_GETKQ = 0x0d,
    BINARY_APPEND = 0x0e,
    BINARY_PREPEND = 0x0f,
    BINARY_STAT = 0x10,
    BINARY_SETQ = 0x11,
    BINARY_ADDQ = 0x12,
    BINARY_REPLACEQ = 0x13,
    BINARY_DELETEQ = 0x14,
    BINARY_INCREMENTQ = 0x15,
    BINARY_DECREMENTQ = 0x16,
    BINARY_QUITQ = 0x17,
    BINARY_FLUSHQ = 0x18,
    BINARY_APPENDQ = 0x19,
    BINARY_PREPENDQ = 0x1a,
    BINARY_TOUCH = 0x1c,
    BINARY_GAT = 0x1d,
    BINARY_GATQ = 0x1e,
    BINARY_SASL_LIST_MECHS = 0x20,
    BINARY_SASL_AUTH = 0x21,
    BINARY_SASL_STEP = 0x22,
    BINARY_GATK = 0x23,
    BINARY_GATKQ = 0x24,
    BINARY_GETV = 0xe0,    /* all siblings with their context */
    BINARY_SETV = 0xe1,    /* a write under a context */
    BINARY_DELETEV = 0xe2, /* a delete under a context */
};

enum binary_status {
    BINARY_OK = 0x00,
    BINARY_NOT_FOUND = 0x01,
    BINARY_EXISTS = 0x02,
    BINARY_TOO_LARGE = 0x03,
    BINARY_INVALID_ARGUMENTS = 0x04,
    BINARY_NOT_STORED = 0x05,
    BINARY_NOT_NUMERIC = 0x06,
    BINARY_AUTH_FAILURE = 0x20,
    BINARY_AUTH_CONTINUE = 0x21,
    BINARY_UNKNOWN_COMMAND = 0x81,
    BINARY_NO_MEMORY = 0x82,
};

/* As text_parse().  A value that is not wholly in the input gives PARSE_VALUE; nothing follows a
 * value.  A body longer than `VALUE_BYTES_MAX` plus key and extras closes the connection.  The
 * messages of SASL are always wholly in the operation. */
enum parse_result binary_parse(struct parser *, struct slice input, struct operation *operation,
                               size_t *consumed);

#endif
