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

#endif
