#include "protocol/number.h"
#include <limits.h>

/* The two digits of 0 to 99. */
static const char digit_pairs[] = "00010203040506070809101112131415161718192021222324"
                                  "25262728293031323334353637383940414243444546474849"
                                  "50515253545556575859606162636465666768697071727374"
                                  "75767778798081828384858687888990919293949596979899";

bool number_parse_u64(struct slice text, uint64_t *number)
{
    if (text.size == 0 || text.size > DECIMAL_BYTES_MAX)
        return false;
    uint64_t sum = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned digit = text.bytes[i] - (unsigned)'0';
        if (digit > 9)
            return false;
        if (i >= 19 && (sum > UINT64_MAX / 10 || UINT64_MAX - sum * 10 < digit))
            return false;
        sum = sum * 10 + digit;
    }
    *number = sum;
    return true;
}

bool number_parse_long_u32(struct slice text, uint32_t *number)
{
    uint64_t wide;
    if (!number_parse_u64(text, &wide) || wide > UINT32_MAX)
        return false;
    *number = (uint32_t)wide;
    return true;
}

/* A number with a sign, as its magnitude. */
static bool parse_signed(struct slice text, bool *is_negative, uint64_t *magnitude)
{
    *is_negative = text.size > 0 && text.bytes[0] == '-';
    if (*is_negative)
        text = (struct slice){text.bytes + 1, text.size - 1};
    return number_parse_u64(text, magnitude);
}

static int32_t apply_sign(bool is_negative, uint64_t magnitude)
{
    return (int32_t)(is_negative ? -(int64_t)magnitude : (int64_t)magnitude);
}

bool number_parse_long_i32(struct slice text, int32_t *number)
{
    bool is_negative;
    uint64_t magnitude;
    if (!parse_signed(text, &is_negative, &magnitude))
        return false;
    if (magnitude > (uint64_t)INT32_MAX + is_negative)
        return false;
    *number = apply_sign(is_negative, magnitude);
    return true;
}

bool number_parse_long_i32_clamped(struct slice text, int32_t *number)
{
    bool is_negative;
    uint64_t magnitude;
    if (!parse_signed(text, &is_negative, &magnitude))
        return false;
    uint64_t magnitude_max = (uint64_t)INT32_MAX + is_negative;
    *number = apply_sign(is_negative, magnitude < magnitude_max ? magnitude : magnitude_max);
    return true;
}

static inline void put_pair(unsigned char *out, uint32_t number)
{
    memcpy(out, digit_pairs + (size_t)number * 2, 2);
}

/* Exactly eight digits.  The steps do not wait for each other as in a loop. */
static inline void put_eight(unsigned char *out, uint32_t number)
{
    uint32_t high = number / 10000, low = number % 10000;
    put_pair(out, high / 100);
    put_pair(out + 2, high % 100);
    put_pair(out + 4, low / 100);
    put_pair(out + 6, low % 100);
}

/* One digit or two. */
static inline size_t put_two(unsigned char *out, uint32_t number)
{
    if (number < 10) {
        *out = (unsigned char)('0' + number);
        return 1;
    }
    put_pair(out, number);
    return 2;
}

/* Of a number of five to eight. */
static inline size_t count_digits(uint32_t number)
{
    static const uint32_t powers[] = {100000, 1000000, 10000000};
    size_t digits = 5;
    while (digits < 8 && number >= powers[digits - 5])
        digits++;
    return digits;
}

/* A number of up to eight digits without the zeros before it; up to four, which sizes are, without
 * a loop. */
static inline size_t put_short(unsigned char *out, uint32_t number)
{
    if (number < 100)
        return put_two(out, number);
    if (number < 10000) {
        size_t digits = put_two(out, number / 100);
        put_pair(out + digits, number % 100);
        return digits + 2;
    }
    unsigned char eight[8];
    size_t digits = count_digits(number);
    put_eight(eight, number);
    for (size_t i = 0; i < digits; i++)
        out[i] = eight[8 - digits + i];
    return digits;
}

size_t decimal_encode(uint64_t number, unsigned char *out)
{
    const uint64_t eight = 100000000;
    if (number < eight)
        return put_short(out, (uint32_t)number);
    uint64_t rest = number / eight;
    size_t size =
        rest < eight ? put_short(out, (uint32_t)rest) : put_short(out, (uint32_t)(rest / eight));
    if (rest >= eight) {
        put_eight(out + size, (uint32_t)(rest % eight));
        size += 8;
    }
    put_eight(out + size, (uint32_t)(number % eight));
    return size + 8;
}
