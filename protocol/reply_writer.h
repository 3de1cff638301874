/* Inside the codecs: how replies are put together.
 *
 * Each put_ function writes at `at` and returns where the next byte goes.  There is no check for
 * room here: reply.h says how much the caller gives, and protocol/reply.c asserts that it was
 * enough. */
#ifndef PROTOCOL_REPLY_WRITER_H
#define PROTOCOL_REPLY_WRITER_H

#include "protocol/number.h"
#include "protocol/reply.h"

/* A constant text in a static table. */
#define TEXT(literal)                                                                              \
    {                                                                                              \
        (const unsigned char *)(literal), sizeof(literal) - 1                                      \
    }
#define TEXT_LINE(literal) TEXT(literal "\r\n")

static inline unsigned char *put_slice(unsigned char *at, struct slice bytes)
{
    if (bytes.size > 0)
        memcpy(at, bytes.bytes, bytes.size);
    return at + bytes.size;
}

#define put_literal(at, literal)                                                                   \
    ((unsigned char *)memcpy(at, literal, sizeof(literal) - 1) + (sizeof(literal) - 1))

/* "@" and the context in base64url. */
unsigned char *put_context(unsigned char *at, struct slice context);

/* The line that a refused command gets, in text and meta. */
struct slice text_rejection(enum reject_reason);

/* The line for a status that needs nothing but a line, in text; meta uses those of the errors. */
struct slice text_status_line(enum verb, enum outcome_status);

size_t text_reply_head(const struct operation *, const struct outcome *, unsigned char *out);
size_t meta_reply_head(const struct operation *, const struct outcome *, unsigned char *out);
size_t binary_reply_head(const struct operation *, const struct outcome *, unsigned char *out);
size_t binary_reply_stat(const struct operation *, struct slice name, struct slice value,
                         unsigned char *out);
size_t binary_reply_line(const struct operation *, uint16_t status, struct slice text,
                         unsigned char *out);

#endif
