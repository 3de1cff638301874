/* Writing answers, in all three protocols.
 *
 * An answer is a head, perhaps a value, and a tail.  The caller gives the memory for head and tail
 * and sends the value from wherever it is.  A VERB_SIBLINGS has one such answer per sibling.
 *
 * Nothing here checks who may hear what; noreply and the quiet forms are obeyed. */
#ifndef PROTOCOL_REPLY_H
#define PROTOCOL_REPLY_H

#include "protocol/number.h"
#include "protocol/operation.h"

#define REPLY_HEAD_BYTES_MAX 4096 /* a meta line with every flag and a context */
#define REPLY_TAIL_BYTES_MAX 16

/* A bound on the head of this very answer, that costs next to nothing to compute and is small
 * unless a context is asked for: what to reserve before reply_head(). */
static inline size_t reply_head_bytes_max(const struct operation *operation)
{
    if (operation->verb == VERB_SIBLINGS || (operation->options & OPERATION_WANTS_CONTEXT))
        return REPLY_HEAD_BYTES_MAX;
    /* The key, in meta as base64, and what numbers and flags there can be. */
    return operation->protocol == PROTOCOL_META ? 640 : KEY_BYTES_MAX + 64;
}

/* Writes what comes before the value, or the whole answer when it has none, and returns its size
 * in bytes; 0 when the operation is to stay unanswered (noreply, quiet, a missed get).  `out` has
 * room for reply_head_bytes_max(). */
size_t reply_head(const struct operation *, const struct outcome *, unsigned char *out);

/* mg with C: a client that has this very version does not get its value again. */
static inline bool reply_leaves_value_out(const struct operation *operation,
                                          const struct outcome *outcome)
{
    return operation->protocol == PROTOCOL_META && (operation->options & OPERATION_COMPARE_CAS) &&
           outcome->cas == operation->cas_compare;
}

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
 * in the binary protocol the body of an answer with `binary_status` (enum binary_status). `out`
 * has room for 64 bytes plus the text.  Returns the bytes written, 0 after noreply. */
size_t reply_line(const struct operation *, uint16_t binary_status, struct slice text,
                  unsigned char *out);

#endif
