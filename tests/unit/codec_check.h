/* What the tests of the codecs share: an input is parsed whole, cut in two at every place, byte by
 * byte and in random threes, and must give the expected operations each time. */
#ifndef TESTS_UNIT_CODEC_CHECK_H
#define TESTS_UNIT_CODEC_CHECK_H

#include "tests/fuzz/codec_replay.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
/* after those */
#include <cmocka.h>

struct codec_case {
    const char *input;    /* as sent; a test of bytes with zeros builds its own slice */
    const char *expected; /* the transcript, see tests/fuzz/codec_replay.h */
};

static inline uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static inline void check_cut(enum codec codec, struct slice input, struct cuts cuts,
                             const char *expected)
{
    char *transcript = codec_replay(codec, input, cuts);
    if (strcmp(transcript, expected) != 0) {
        print_error("input: %.*s\ncut in %zu pieces", (int)input.size, (const char *)input.bytes,
                    cuts.count + 1);
        for (size_t i = 0; i < cuts.count && i < 4; i++)
            print_error(" at %zu", cuts.offsets[i]);
        print_error("\nexpected:\n%s\ngot:\n%s\n", expected, transcript);
        fail();
    }
    free(transcript);
}

static inline void check_bytes(enum codec codec, struct slice input, const char *expected)
{
    size_t *all = malloc((input.size + 1) * sizeof *all);
    assert_non_null(all);
    check_cut(codec, input, (struct cuts){NULL, 0}, expected);
    for (size_t at = 0; at <= input.size; at++) {
        check_cut(codec, input, (struct cuts){&at, 1}, expected);
        all[at] = at;
    }
    if (input.size < 4096)
        check_cut(codec, input, (struct cuts){all, input.size}, expected);
    uint32_t random = (uint32_t)input.size;
    for (unsigned i = 0; i < 50; i++) {
        size_t pair[2];
        pair[0] = next_random(&random) % (input.size + 1);
        pair[1] = pair[0] + next_random(&random) % (input.size + 1 - pair[0]);
        check_cut(codec, input, (struct cuts){pair, 2}, expected);
    }
    free(all);
}

/* A transcript of which two are joined. */
static inline char *joined(const char *first, const char *second)
{
    size_t size = strlen(first) + strlen(second) + 1;
    char *both = malloc(size);
    assert_non_null(both);
    snprintf(both, size, "%s%s", first, second);
    return both;
}

static inline bool leaves_nothing(const char *transcript)
{
    return strstr(transcript, "left ") == NULL && strstr(transcript, "\nvalue ") == NULL &&
           strstr(transcript, "swallow ") == NULL && strstr(transcript, "closes") == NULL;
}

/* Each case by itself, and followed by a good command, which it must leave alone. */
static inline void check_cases(enum codec codec, const struct codec_case *cases, size_t count,
                               struct slice good, const char *good_expected)
{
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(cases[i].input);
        struct slice input = {(const unsigned char *)cases[i].input, size};
        check_bytes(codec, input, cases[i].expected);
        if (!leaves_nothing(cases[i].expected))
            continue;
        unsigned char *bytes = malloc(size + good.size);
        assert_non_null(bytes);
        memcpy(bytes, cases[i].input, size);
        memcpy(bytes + size, good.bytes, good.size);
        char *expected = joined(cases[i].expected, good_expected);
        check_bytes(codec, (struct slice){bytes, size + good.size}, expected);
        free(expected);
        free(bytes);
    }
}

/* All cases in one pipeline, in random orders, cut at random places. */
static inline void check_pipelines(enum codec codec, const struct codec_case *cases, size_t count,
                                   unsigned rounds)
{
    uint32_t random = 7;
    for (unsigned round = 0; round < rounds; round++) {
        char *input = joined("", ""), *expected = joined("", "");
        for (unsigned i = 0; i < 20; i++) {
            const struct codec_case *one = &cases[next_random(&random) % count];
            if (!leaves_nothing(one->expected))
                continue;
            char *longer = joined(input, one->input);
            free(input);
            input = longer;
            longer = joined(expected, one->expected);
            free(expected);
            expected = longer;
        }
        size_t size = strlen(input);
        for (unsigned i = 0; i < 50; i++) {
            size_t pair[2];
            pair[0] = next_random(&random) % (size + 1);
            pair[1] = pair[0] + next_random(&random) % (size + 1 - pair[0]);
            check_cut(codec, (struct slice){(const unsigned char *)input, size},
                      (struct cuts){pair, 2}, expected);
        }
        free(input);
        free(expected);
    }
}

#endif
