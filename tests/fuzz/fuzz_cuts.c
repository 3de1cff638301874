#include "tests/fuzz/fuzz.h"
#include <stdio.h>
#include <stdlib.h>

#define BYTE_BY_BYTE_MAX 256 /* bytes of input that are also read one by one */
#define RANDOM_ROUNDS    3
#define CUTS_MAX         4

static void compare(enum codec codec, struct slice input, struct cuts cuts, const char *whole)
{
    char *pieces = codec_replay(codec, input, cuts);
    if (strcmp(whole, pieces) != 0) {
        fprintf(stderr, "the cuts make a difference:");
        for (size_t i = 0; i < cuts.count; i++)
            fprintf(stderr, " %zu", cuts.offsets[i]);
        fprintf(stderr, "\nwhole:\n%s\nin pieces:\n%s\n", whole, pieces);
        abort();
    }
    free(pieces);
}

/* The same input always gets the same cuts, so that a finding can be repeated. */
static uint32_t seed_of(struct slice input)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < input.size; i++)
        hash = (hash ^ input.bytes[i]) * 16777619u;
    return hash;
}

char *fuzz_check_cuts(enum codec codec, struct slice input)
{
    char *whole = codec_replay(codec, input, (struct cuts){NULL, 0});
    uint32_t random = seed_of(input);
    for (unsigned round = 0; round < RANDOM_ROUNDS; round++) {
        size_t offsets[CUTS_MAX], count = 0, at = 0;
        while (count < CUTS_MAX && at < input.size) {
            random = random * 1664525u + 1013904223u;
            at += (random >> 8) % (input.size - at) + 1;
            offsets[count++] = at;
        }
        compare(codec, input, (struct cuts){offsets, count}, whole);
    }
    if (input.size <= BYTE_BY_BYTE_MAX) {
        size_t all[BYTE_BY_BYTE_MAX];
        for (size_t i = 0; i < input.size; i++)
            all[i] = i;
        compare(codec, input, (struct cuts){all, input.size}, whole);
    }
    return whole;
}
