/* Decimal numbers as the protocols write them: digits only, no sign but a leading minus where
 * negative ones are allowed, no spaces, and always checked for their range. */
#ifndef PROTOCOL_NUMBER_H
#define PROTOCOL_NUMBER_H

#include "ring/slice.h"
#include <stdint.h>

#define DECIMAL_BYTES_MAX 20 /* of a 64-bit number */

/* Each sets *number and returns true, or returns false and leaves it alone when the text is no
 * such number or is out of range. */
bool number_parse_u64(struct slice text, uint64_t *number);
bool number_parse_u32(struct slice text, uint32_t *number);
bool number_parse_i32(struct slice text, int32_t *number);

/* As number_parse_i32(), but a number out of range becomes the nearest that is in it. */
bool number_parse_i32_clamped(struct slice text, int32_t *number);

/* Decimal digits of `number`; `out` has room for DECIMAL_BYTES_MAX.  Returns how many were
 * written. */
size_t decimal_encode(uint64_t number, unsigned char *out);

#endif
