/* Random numbers for the load generator: splitmix64, one word of state, the same sequence from
 * the same seed on every machine.
 *
 * Threads: a generator belongs to one thread. */
#ifndef BENCH_RNG_H
#define BENCH_RNG_H

#include <stdint.h>

struct rng {
    uint64_t state;
};

/* Scatters the bits of `number`: neighbours come out unrelated, and no two numbers alike. */
static inline uint64_t rng_mix(uint64_t number)
{
    number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9u;
    number = (number ^ (number >> 27)) * 0x94d049bb133111ebu;
    return number ^ (number >> 31);
}

/* The next 64 random bits. */
static inline uint64_t rng_next(struct rng *rng)
{
    rng->state += 0x9e3779b97f4a7c15u;
    return rng_mix(rng->state);
}

/* A number in 0 <= x < 1 out of 64 random bits. */
static inline double rng_unit_of(uint64_t bits)
{
    return (double)(bits >> 11) * 0x1p-53;
}

/* A random number in 0 <= x < 1. */
static inline double rng_unit(struct rng *rng)
{
    return rng_unit_of(rng_next(rng));
}

/* A random number in 0 .. bound-1; `bound` is at least 1. */
static inline uint64_t rng_below(struct rng *rng, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)rng_next(rng) * bound) >> 64);
}

#endif
