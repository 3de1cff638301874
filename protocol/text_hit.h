/* The answer that servers give most: the hit of a text get, written whole and in one go.
 *
 * It says the same as reply_head(), the value and reply_tail() after each other; a test holds the
 * two against each other.  Here so that it is compiled into its caller. */
#ifndef PROTOCOL_TEXT_HIT_H
#define PROTOCOL_TEXT_HIT_H

#include "protocol/number.h"
#include "protocol/operation.h"

/* What a hit takes beyond its key and value: "VALUE ", three numbers, spaces and line ends. */
#define TEXT_HIT_BYTES_MAX (6 + 3 * (1 + DECIMAL_BYTES_MAX) + 2 + 2 + 5)

/* Writes "VALUE <key> <flags> <bytes>[ <cas>]\r\n<value>\r\n", and "END\r\n" behind the last key.
 * `out` has room for TEXT_HIT_BYTES_MAX plus key and value.  Returns the bytes written. */
static inline size_t text_hit_encode(const struct operation *get, uint32_t client_flags,
                                     uint64_t cas, struct slice value, unsigned char *out)
{
    unsigned char *at = out;

    memcpy(at, "VALUE ", 6);
    memcpy(at + 6, get->key.bytes, get->key.size);
    at += 6 + get->key.size;
    *at++ = ' ';
    at = put_decimal(at, client_flags);
    *at++ = ' ';
    at = put_decimal(at, value.size);
    if ((get->options & OPERATION_WANTS_CAS) != 0) {
        *at++ = ' ';
        at = put_decimal(at, cas);
    }
    memcpy(at, "\r\n", 2);
    memcpy(at + 2, value.bytes, value.size);
    at += 2 + value.size;
    memcpy(at, "\r\n", 2);
    at += 2;
    if ((get->options & OPERATION_LAST_KEY) != 0) {
        memcpy(at, "END\r\n", 5);
        at += 5;
    }
    return (size_t)(at - out);
}

#endif
