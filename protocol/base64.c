#include "protocol/base64.h"
#include <assert.h>
#include <stdint.h>

#define NOT_A_DIGIT 64u

static const char alphabets[2][65] = {
    [BASE64_STANDARD] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    [BASE64_URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

size_t base64_encode(enum base64_alphabet alphabet, struct slice bytes, unsigned char *out)
{
    const char *digits = alphabets[alphabet];
    unsigned char *at = out;
    size_t i = 0;
    for (; bytes.size - i >= 3; i += 3) {
        uint32_t group =
            (uint32_t)bytes.bytes[i] << 16 | (uint32_t)bytes.bytes[i + 1] << 8 | bytes.bytes[i + 2];
        *at++ = (unsigned char)digits[group >> 18];
        *at++ = (unsigned char)digits[group >> 12 & 63];
        *at++ = (unsigned char)digits[group >> 6 & 63];
        *at++ = (unsigned char)digits[group & 63];
    }
    size_t left = bytes.size - i;
    if (left > 0) {
        uint32_t group = (uint32_t)bytes.bytes[i] << 16;
        if (left == 2)
            group |= (uint32_t)bytes.bytes[i + 1] << 8;
        *at++ = (unsigned char)digits[group >> 18];
        *at++ = (unsigned char)digits[group >> 12 & 63];
        if (left == 2)
            *at++ = (unsigned char)digits[group >> 6 & 63];
        else if (alphabet == BASE64_STANDARD)
            *at++ = '=';
        if (alphabet == BASE64_STANDARD)
            *at++ = '=';
    }
    assert((size_t)(at - out) <= BASE64_BYTES_MAX(bytes.size));
    return (size_t)(at - out);
}

static unsigned digit_value(enum base64_alphabet alphabet, unsigned char digit)
{
    if (digit >= 'A' && digit <= 'Z')
        return digit - (unsigned)'A';
    if (digit >= 'a' && digit <= 'z')
        return digit - (unsigned)'a' + 26;
    if (digit >= '0' && digit <= '9')
        return digit - (unsigned)'0' + 52;
    if (digit == (unsigned char)alphabets[alphabet][62])
        return 62;
    if (digit == (unsigned char)alphabets[alphabet][63])
        return 63;
    return NOT_A_DIGIT;
}

bool base64_decode(enum base64_alphabet alphabet, struct slice text, unsigned char *out,
                   size_t capacity, size_t *size)
{
    size_t digits = text.size;
    if (alphabet == BASE64_STANDARD) {
        if (digits % 4 != 0)
            return false;
        for (unsigned i = 0; i < 2 && digits > 0 && text.bytes[digits - 1] == '='; i++)
            digits--;
    }
    if (digits % 4 == 1 || digits / 4 * 3 + digits % 4 * 3 / 4 > capacity)
        return false;
    size_t written = 0;
    uint32_t bits = 0;
    unsigned bit_count = 0;
    for (size_t i = 0; i < digits; i++) {
        unsigned value = digit_value(alphabet, text.bytes[i]);
        if (value == NOT_A_DIGIT)
            return false;
        bits = bits << 6 | value;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            out[written++] = (unsigned char)(bits >> bit_count);
        }
    }
    if ((bits & ((1u << bit_count) - 1)) != 0)
        return false;
    assert(written <= capacity);
    *size = written;
    return true;
}
