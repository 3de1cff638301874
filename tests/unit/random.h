/* Numbers that look random and repeat exactly: what generated test cases are made from. */
#ifndef TESTS_UNIT_RANDOM_H
#define TESTS_UNIT_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct random {
    uint64_t state; /* any number is a good seed */
};

/* The next 64 bits (splitmix64). */
static inline uint64_t random_next(struct random *random)
{
    uint64_t word = random->state += 0x9e3779b97f4a7c15u;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
    return word ^ (word >> 31);
}

/* A number below `end`, which is above 0. */
static inline unsigned random_below(struct random *random, unsigned end)
{
    return (unsigned)(((random_next(random) >> 32) * end) >> 32);
}

/* True in `percent` of 100 cases. */
static inline bool random_chance(struct random *random, unsigned percent)
{
    return random_below(random, 100) < percent;
}

static inline void random_fill(struct random *random, unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        bytes[i] = (unsigned char)random_next(random);
}

#endif
