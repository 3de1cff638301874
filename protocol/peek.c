#include "protocol/peek.h"
#include "protocol/binary.h"
#include "protocol/text_line.h"
#include <assert.h>

/* No key ends beyond this, in text behind the longest word, or in binary behind the most extras. */
#define PEEKED_BYTES_MAX 300

static struct slice peek_binary(struct slice input)
{
    const unsigned char *header = input.bytes;

    if (input.size < BINARY_HEADER_BYTES)
        return (struct slice){header, 0};
    size_t key_bytes = (size_t)header[2] << 8 | header[3];
    size_t before_key = BINARY_HEADER_BYTES + header[4];
    if (input.size < before_key + key_bytes)
        return (struct slice){header, 0};
    return (struct slice){header + before_key, key_bytes};
}

static struct slice peek_text(struct slice input)
{
    const unsigned char *limit = input.bytes + input.size;
    const unsigned char *key = text_word_end(input.bytes, limit);

    if (key == limit || *key != ' ')
        return (struct slice){key, 0};
    key++;
    const unsigned char *end = text_word_end(key, limit);
    if (end > key && end[-1] == '\r')
        end--;
    return (struct slice){key, (size_t)(end - key)};
}

struct slice peek_key(struct slice input)
{
    assert(input.size > 0);
    if (input.size > PEEKED_BYTES_MAX)
        input.size = PEEKED_BYTES_MAX;
    return input.bytes[0] == BINARY_REQUEST_MAGIC ? peek_binary(input) : peek_text(input);
}
