#include "bench/amounts.h"

#include "bench/rng.h"
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Reads a whole number and moves `text` behind it. */
static bool parse_whole(const char **text, uint64_t *number)
{
    char *end;
    errno = 0;
    if (!isdigit((unsigned char)**text))
        return false;
    *number = strtoull(*text, &end, 10);
    *text = end;
    return errno == 0;
}

static bool parse_fixed(struct amounts *amounts, const char *text)
{
    amounts->kind = AMOUNTS_FIXED;
    if (!parse_whole(&text, &amounts->low))
        return false;
    amounts->high = amounts->low;
    return *text == '\0';
}

static bool parse_uniform(struct amounts *amounts, const char *text)
{
    amounts->kind = AMOUNTS_UNIFORM;
    if (!parse_whole(&text, &amounts->low) || *text++ != '-')
        return false;
    return parse_whole(&text, &amounts->high) && *text == '\0' && amounts->low <= amounts->high;
}

static bool parse_lognormal(struct amounts *amounts, const char *text)
{
    char *end;
    amounts->kind = AMOUNTS_LOGNORMAL;
    amounts->median = strtod(text, &end);
    if (end == text || *end != ',')
        return false;
    text = end + 1;
    amounts->sigma = strtod(text, &end);
    if (end == text || *end != ',')
        return false;
    text = end + 1;
    return parse_whole(&text, &amounts->high) && *text == '\0' && amounts->median >= 1 &&
           amounts->sigma >= 0;
}

static bool parse_list(struct amounts *amounts, const char *text)
{
    amounts->kind = AMOUNTS_LIST;
    double sum = 0;
    for (;;) {
        uint64_t weight;
        if (amounts->entries == AMOUNTS_LIST_MAX)
            return false;
        if (!parse_whole(&text, &amounts->numbers[amounts->entries]) || *text++ != '@')
            return false;
        if (!parse_whole(&text, &weight))
            return false;
        sum += (double)weight;
        if (amounts->numbers[amounts->entries] > amounts->high)
            amounts->high = amounts->numbers[amounts->entries];
        amounts->upto[amounts->entries++] = sum;
        if (*text == '\0')
            break;
        if (*text++ != ',')
            return false;
    }
    for (unsigned i = 0; i < amounts->entries; i++)
        amounts->upto[i] /= sum;
    return sum > 0;
}

bool amounts_parse(struct amounts *amounts, const char *text)
{
    static const struct {
        const char *prefix;
        bool (*parse)(struct amounts *, const char *);
    } forms[] = {
        {"uniform:", parse_uniform},
        {"lognormal:", parse_lognormal},
        {"list:", parse_list},
        {"", parse_fixed},
    };
    memset(amounts, 0, sizeof *amounts);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const size_t prefix_size = strlen(forms[i].prefix);
        if (strncmp(text, forms[i].prefix, prefix_size) == 0)
            return forms[i].parse(amounts, text + prefix_size);
    }
    return false;
}

/* Two uniform numbers out of the hash make a normal one (Box and Muller). */
static uint64_t lognormal_of(const struct amounts *amounts, uint64_t hash)
{
    const double radius = sqrt(-2 * log(1 - rng_unit_of(hash)));
    const double normal = radius * cos(2 * 3.14159265358979323846 * rng_unit_of(rng_mix(hash + 1)));
    const double number = amounts->median * exp(amounts->sigma * normal);
    if (number < 1)
        return 1;
    return number > (double)amounts->high ? amounts->high : (uint64_t)number;
}

uint64_t amounts_of(const struct amounts *amounts, uint64_t hash)
{
    switch (amounts->kind) {
    case AMOUNTS_FIXED: return amounts->low;
    case AMOUNTS_UNIFORM: return amounts->low + hash % (amounts->high - amounts->low + 1);
    case AMOUNTS_LOGNORMAL: return lognormal_of(amounts, hash);
    case AMOUNTS_LIST: break;
    }
    assert(amounts->entries >= 1);
    const double unit = rng_unit_of(hash);
    unsigned i = 0;
    while (i + 1 < amounts->entries && unit >= amounts->upto[i])
        i++;
    return amounts->numbers[i];
}
