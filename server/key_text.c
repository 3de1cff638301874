#include "server/key_text.h"
#include <assert.h>

/* What a URL leaves as it is. */
static bool is_unreserved(unsigned char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '-' || byte == '.' || byte == '_' ||
           byte == '~';
}

bool key_fits_line(struct slice key)
{
    for (size_t i = 0; i < key.size; i++)
        if (key.bytes[i] <= ' ' || key.bytes[i] == 127)
            return false;
    return true;
}

const char *key_text(struct slice key, char text[KEY_TEXT_BYTES])
{
    static const char digits[] = "0123456789ABCDEF";
    size_t at = 0;

    assert(key.size <= KEY_BYTES_MAX);
    for (size_t i = 0; i < key.size; i++) {
        if (is_unreserved(key.bytes[i])) {
            text[at++] = (char)key.bytes[i];
            continue;
        }
        text[at++] = '%';
        text[at++] = digits[key.bytes[i] >> 4];
        text[at++] = digits[key.bytes[i] & 15];
    }
    text[at] = 0;
    return text;
}
