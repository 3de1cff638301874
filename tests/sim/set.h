/* A set of small numbers that grows with the largest of them.
 *
 * Threads: one. */
#ifndef TESTS_SIM_SET_H
#define TESTS_SIM_SET_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct set {
    uint64_t *words; /* the set's own; all zero is the empty set */
    unsigned count;
};

static inline void set_deinit(struct set *set)
{
    free(set->words);
    *set = (struct set){0};
}

static inline void set_grow(struct set *set, unsigned count)
{
    if (count <= set->count)
        return;
    set->words = realloc(set->words, count * sizeof set->words[0]);
    if (set->words == NULL)
        abort();
    memset(set->words + set->count, 0, (count - set->count) * sizeof set->words[0]);
    set->count = count;
}

static inline void set_clear(struct set *set)
{
    if (set->count > 0)
        memset(set->words, 0, set->count * sizeof set->words[0]);
}

static inline void set_add(struct set *set, unsigned number)
{
    set_grow(set, number / 64 + 1);
    set->words[number / 64] |= (uint64_t)1 << (number % 64);
}

static inline void set_remove(struct set *set, unsigned number)
{
    if (number / 64 < set->count)
        set->words[number / 64] &= ~((uint64_t)1 << (number % 64));
}

static inline bool set_has(const struct set *set, unsigned number)
{
    return number / 64 < set->count && (set->words[number / 64] >> (number % 64) & 1) != 0;
}

static inline void set_unite(struct set *set, const struct set *more)
{
    set_grow(set, more->count);
    for (unsigned i = 0; i < more->count; i++)
        set->words[i] |= more->words[i];
}

static inline void set_copy(struct set *into, const struct set *from)
{
    set_clear(into);
    set_unite(into, from);
}

/* Whether some number is in `set` and not in `without`. */
static inline bool set_has_beyond(const struct set *set, const struct set *without)
{
    for (unsigned i = 0; i < set->count; i++)
        if ((set->words[i] & ~(i < without->count ? without->words[i] : 0)) != 0)
            return true;
    return false;
}

static inline bool set_is_empty(const struct set *set)
{
    return !set_has_beyond(set, &(struct set){0});
}

#endif
