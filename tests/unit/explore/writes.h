/* A set of writes, which a history numbers from 0. */
#ifndef TESTS_UNIT_EXPLORE_WRITES_H
#define TESTS_UNIT_EXPLORE_WRITES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WRITES_MAX 256

struct writes {
    uint64_t words[WRITES_MAX / 64];
};

static inline void writes_add(struct writes *set, unsigned write)
{
    set->words[write / 64] |= (uint64_t)1 << (write % 64);
}

static inline void writes_remove(struct writes *set, unsigned write)
{
    set->words[write / 64] &= ~((uint64_t)1 << (write % 64));
}

static inline bool writes_has(const struct writes *set, unsigned write)
{
    return (set->words[write / 64] >> (write % 64) & 1) != 0;
}

static inline void writes_unite(struct writes *set, const struct writes *more)
{
    for (size_t i = 0; i < WRITES_MAX / 64; i++)
        set->words[i] |= more->words[i];
}

/* Takes the lowest write out of the set and returns it, WRITES_MAX if the set is empty. */
static inline unsigned writes_take(struct writes *set)
{
    for (unsigned i = 0; i < WRITES_MAX / 64; i++) {
        if (set->words[i] == 0)
            continue;
        unsigned bit = (unsigned)__builtin_ctzll(set->words[i]);
        set->words[i] &= set->words[i] - 1;
        return i * 64 + bit;
    }
    return WRITES_MAX;
}

/* Takes out of a set all that are in another. */
static inline void writes_subtract(struct writes *set, const struct writes *other)
{
    for (size_t i = 0; i < WRITES_MAX / 64; i++)
        set->words[i] &= ~other->words[i];
}

#endif
