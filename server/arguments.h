/* The words behind a server command, as the codec left them in operation->arguments. */
#ifndef SERVER_ARGUMENTS_H
#define SERVER_ARGUMENTS_H

#include "ring/slice.h"
#include <stdint.h>

#define ARGUMENT_WORDS_MAX 16

struct arguments {
    struct slice words[ARGUMENT_WORDS_MAX];
    unsigned count;   /* further words are counted, but not kept */
};

/* Splits at runs of spaces. */
void arguments_split(struct arguments *, struct slice text);

/* Whether word `at` is there and just this. */
bool argument_is(const struct arguments *, unsigned at, const char *word);

/* Word `at` as a number; false if it is missing, something else, or too large for the type. */
bool argument_u32(const struct arguments *, unsigned at, uint32_t *number);
bool argument_i64(const struct arguments *, unsigned at, int64_t *number);
bool argument_double(const struct arguments *, unsigned at, double *number);

#endif
