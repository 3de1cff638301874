/* Base64 as in RFC 4648, strictly: one text for each sequence of bytes.
 *
 * Keys use the standard alphabet with padding (the meta flag b), contexts the one for URLs without
 * padding. */
#ifndef PROTOCOL_BASE64_H
#define PROTOCOL_BASE64_H

#include "ring/slice.h"

enum base64_alphabet {
    BASE64_STANDARD, /* A-Z a-z 0-9 + /, padded with = */
    BASE64_URL,      /* A-Z a-z 0-9 - _, without padding */
};

/* Room for the text of so many bytes. */
#define BASE64_BYTES_MAX(bytes) (((bytes) + 2) / 3 * 4)

/* Writes the text of `bytes` and returns its size; `out` has room for BASE64_BYTES_MAX(). */
size_t base64_encode(enum base64_alphabet, struct slice bytes, unsigned char *out);

/* Writes the bytes of `text` to `out`, which has room for `capacity`, and sets *size.  Returns
 * false when the text is malformed, has bits left over that are not zero, or does not fit. */
bool base64_decode(enum base64_alphabet, struct slice text, unsigned char *out, size_t capacity,
                   size_t *size);

#endif
