/* Writing answers, in all three protocols.
 *
 * An answer is a head, perhaps a value, and a tail.  The caller gives the memory for head and tail
 * and sends the value from wherever it is. */
#ifndef PROTOCOL_REPLY_H
#define PROTOCOL_REPLY_H

#include "protocol/operation.h"

#define REPLY_HEAD_BYTES_MAX 4096 /* a meta line with every flag and a context */
#define REPLY_TAIL_BYTES_MAX 16

/* Writes what comes before the value, or the whole answer when it has none, and returns its size
 * in bytes; 0 when the operation is to stay unanswered (noreply, quiet).  `out` has room for
 * REPLY_HEAD_BYTES_MAX. */
size_t reply_head(const struct operation *, const struct outcome *, unsigned char *out);

/* Whether outcome->value follows the head. */
bool reply_has_value(const struct operation *, const struct outcome *);

/* Writes what comes after the value ("\r\n", "END\r\n" after the last key) and returns its size.
 * Called also when there is no value: a missed last key still ends with END. */
size_t reply_tail(const struct operation *, const struct outcome *, unsigned char *out);

/* A line of statistics: "STAT name value\r\n" or a binary packet.  An empty name ends the list.
 * `out` has room for 64 bytes plus name and value.  Returns the bytes written. */
size_t reply_stat(const struct operation *, struct slice name, struct slice value,
                  unsigned char *out);

/* One line of text of the server's own ("OK", "RESET", "CLIENT_ERROR ..."), without its "\r\n";
 * in the binary protocol the body of an answer with `binary_status`. `out` has room for 64 bytes
 * plus the text.  Returns the bytes written. */
size_t reply_line(const struct operation *, uint16_t binary_status, struct slice text,
                  unsigned char *out);

/* Decimal digits of `number`; `out` has room for 20 bytes.  Returns how many were written. */
size_t decimal_encode(uint64_t number, unsigned char *out);

#endif
