/* A number per key: the size of its value, or how long it lives.
 *
 *   N                    always N
 *   uniform:A-B          A to B alike
 *   lognormal:M,S,X      log-normal with median M and sigma S, at most X
 *   list:N@W,N@W,...     N with weight W
 *
 * The number is a function of the key's hash, so that every run, every server and every reader
 * of a value knows what it should be.
 *
 * Threads: never changes after parsing. */
#ifndef BENCH_AMOUNTS_H
#define BENCH_AMOUNTS_H

#include <stdbool.h>
#include <stdint.h>

enum { AMOUNTS_LIST_MAX = 16 };

enum amounts_kind { AMOUNTS_FIXED, AMOUNTS_UNIFORM, AMOUNTS_LOGNORMAL, AMOUNTS_LIST };

struct amounts {
    enum amounts_kind kind;
    uint64_t low;  /* fixed: the number */
    uint64_t high; /* the largest number there can be */
    double median; /* lognormal */
    double sigma;
    unsigned entries; /* list */
    uint64_t numbers[AMOUNTS_LIST_MAX];
    double upto[AMOUNTS_LIST_MAX]; /* the summed weights up to and with this one, last is 1 */
};

/* Reads one of the forms above. False, and nothing usable in the struct, if it is none of them. */
bool amounts_parse(struct amounts *, const char *text);

/* The number of the key with this hash. */
uint64_t amounts_of(const struct amounts *, uint64_t hash);

#endif
