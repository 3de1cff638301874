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

bool number_parse_u32(struct slice text, uint32_t *number)
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

bool number_parse_i32(struct slice text, int32_t *number)
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

bool number_parse_i32_clamped(struct slice text, int32_t *number)
{
    bool is_negative;
    uint64_t magnitude;
    if (!parse_signed(text, &is_negative, &magnitude))
        return false;
    uint64_t magnitude_max = (uint64_t)INT32_MAX + is_negative;
    *number = apply_sign(is_negative, magnitude < magnitude_max ? magnitude : magnitude_max);
    return true;
}

/* How many decimal digits `number` has. */
static inline size_t count_digits(uint64_t number)
{
    size_t digits = 1;
    for (;;) {
        if (number < 10)
            return digits;
        if (number < 100)
            return digits + 1;
        if (number < 1000)
            return digits + 2;
        if (number < 10000)
            return digits + 3;
        number /= 10000;
        digits += 4;
    }
}

size_t decimal_encode(uint64_t number, unsigned char *out)
{
    size_t digits = count_digits(number);
    unsigned char *at = out + digits;
    while (number >= 100) {
        at -= 2;
        memcpy(at, digit_pairs + number % 100 * 2, 2);
        number /= 100;
    }
    if (number >= 10)
        memcpy(at - 2, digit_pairs + number * 2, 2);
    else
        at[-1] = (unsigned char)('0' + number);
    return digits;
}
