/* Decimal numbers as the protocols write them: digits only, no sign but a leading minus where
 * negative ones are allowed, no spaces, and always checked for their range. */
#ifndef PROTOCOL_NUMBER_H
#define PROTOCOL_NUMBER_H

#include "ring/slice.h"
#include <stdint.h>

#define DECIMAL_BYTES_MAX 20 /* of a 64-bit number */

/* Each sets *number and returns true, or returns false and leaves it alone when the text is no
 * such number or is out of range. */
static inline bool number_parse_u32(struct slice text, uint32_t *number);
static inline bool number_parse_i32(struct slice text, int32_t *number);
bool number_parse_u64(struct slice text, uint64_t *number);

/* As number_parse_i32(), but a number out of range becomes the nearest that is in it. */
static inline bool number_parse_i32_clamped(struct slice text, int32_t *number);

/* Decimal digits of `number`; `out` has room for DECIMAL_BYTES_MAX.  Returns how many were
 * written. */
size_t decimal_encode(uint64_t number, unsigned char *out);

/* For the three above: numbers of any length.  Most are short, and those are not worth a call. */
bool number_parse_long_u32(struct slice text, uint32_t *number);
bool number_parse_long_i32(struct slice text, int32_t *number);
bool number_parse_long_i32_clamped(struct slice text, int32_t *number);

/* One to nine digits, which fit every type.  False: try the long way. */
static inline bool number_parse_short(struct slice text, uint32_t *number)
{
    if (text.size - 1 > 8)
        return false;
    uint32_t sum = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint32_t digit = text.bytes[i] - (uint32_t)'0';
        if (digit > 9)
            return false;
        sum = sum * 10 + digit;
    }
    *number = sum;
    return true;
}

static inline bool number_parse_u32(struct slice text, uint32_t *number)
{
    return number_parse_short(text, number) || number_parse_long_u32(text, number);
}

static inline bool number_parse_i32(struct slice text, int32_t *number)
{
    uint32_t magnitude;
    if (!number_parse_short(text, &magnitude))
        return number_parse_long_i32(text, number);
    *number = (int32_t)magnitude;
    return true;
}

static inline bool number_parse_i32_clamped(struct slice text, int32_t *number)
{
    uint32_t magnitude;
    if (!number_parse_short(text, &magnitude))
        return number_parse_long_i32_clamped(text, number);
    *number = (int32_t)magnitude;
    return true;
}

/* The same, inline for the one digit that most numbers are; returns where the next byte goes. */
static inline unsigned char *put_decimal(unsigned char *at, uint64_t number)
{
    if (number < 10) {
        *at = (unsigned char)('0' + number);
        return at + 1;
    }
    return at + decimal_encode(number, at);
}

#endif
