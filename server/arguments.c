#include "server/arguments.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define NUMBER_BYTES_MAX 40

void arguments_split(struct arguments *arguments, struct slice text)
{
    size_t at = 0, first;

    arguments->count = 0;
    while (at < text.size) {
        if (text.bytes[at] == ' ') {
            at++;
            continue;
        }
        for (first = at; at < text.size && text.bytes[at] != ' '; at++)
            ;
        if (arguments->count < ARGUMENT_WORDS_MAX)
            arguments->words[arguments->count] = (struct slice){ text.bytes + first, at - first };
        arguments->count++;
    }
}

bool argument_is(const struct arguments *arguments, unsigned at, const char *word)
{
    struct slice expected = { (const unsigned char *)word, strlen(word) };

    return at < arguments->count && at < ARGUMENT_WORDS_MAX &&
           slice_equal(arguments->words[at], expected);
}

/* A word as a C string; false if it cannot be a number for its length. */
static bool copy_word(const struct arguments *arguments, unsigned at,
                      char text[NUMBER_BYTES_MAX + 1])
{
    struct slice word;

    if (at >= arguments->count || at >= ARGUMENT_WORDS_MAX)
        return false;
    word = arguments->words[at];
    if (word.size == 0 || word.size > NUMBER_BYTES_MAX)
        return false;
    memcpy(text, word.bytes, word.size);
    text[word.size] = 0;
    return strlen(text) == word.size && text[0] > ' ';
}

bool argument_i64(const struct arguments *arguments, unsigned at, int64_t *number)
{
    char text[NUMBER_BYTES_MAX + 1], *end;

    if (!copy_word(arguments, at, text))
        return false;
    errno = 0;
    *number = strtoll(text, &end, 10);
    return errno == 0 && *end == 0;
}

bool argument_u32(const struct arguments *arguments, unsigned at, uint32_t *number)
{
    int64_t wide;

    if (!argument_i64(arguments, at, &wide) || wide < 0 || wide > UINT32_MAX)
        return false;
    *number = (uint32_t)wide;
    return true;
}

bool argument_double(const struct arguments *arguments, unsigned at, double *number)
{
    char text[NUMBER_BYTES_MAX + 1], *end;

    if (!copy_word(arguments, at, text))
        return false;
    errno = 0;
    *number = strtod(text, &end);
    return errno == 0 && *end == 0 && isfinite(*number);
}
