#include "bench/popularity.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PARAMETERS_MAX = 3 };

static const struct form {
    const char *name;
    enum popularity_kind kind;
    unsigned parameters;
} forms[] = {
    {"uniform", POPULARITY_UNIFORM, 0},
    {"zipf", POPULARITY_ZIPF, 1},
    {"sequential", POPULARITY_SEQUENTIAL, 0},
    {"onehit", POPULARITY_ONEHIT, 2},
    {"scan", POPULARITY_SCAN, 3},
    {"drift", POPULARITY_DRIFT, 2},
};

/* Reads `count` numbers with commas between them, and nothing after. */
static bool parse_numbers(const char *text, double *numbers, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char *end;
        numbers[i] = strtod(text, &end);
        if (end == text || !isfinite(numbers[i]) || numbers[i] < 0)
            return false;
        if (*end != (i + 1 < count ? ',' : '\0'))
            return false;
        text = end + 1;
    }
    return true;
}

static bool parameters_are_sound(const struct popularity *popularity)
{
    switch (popularity->kind) {
    case POPULARITY_UNIFORM:
    case POPULARITY_ZIPF:
    case POPULARITY_SEQUENTIAL: return true;
    case POPULARITY_ONEHIT: return popularity->share <= 1;
    case POPULARITY_SCAN: return popularity->share < 1 && popularity->length >= 1;
    case POPULARITY_DRIFT: return popularity->length >= 1;
    }
    return false;
}

bool popularity_parse(struct popularity *popularity, const char *text)
{
    const size_t name_size = strcspn(text, ":");
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const struct form *form = &forms[i];
        if (strlen(form->name) != name_size || strncmp(text, form->name, name_size) != 0)
            continue;
        const bool has_parameters = text[name_size] == ':';
        if (has_parameters != (form->parameters > 0))
            return false;
        double numbers[PARAMETERS_MAX] = {0};
        if (has_parameters && !parse_numbers(text + name_size + 1, numbers, form->parameters))
            return false;
        const bool is_drift = form->kind == POPULARITY_DRIFT;
        *popularity = (struct popularity){.kind = form->kind,
                                          .theta = numbers[0],
                                          .share = is_drift ? 0 : numbers[1],
                                          .length = is_drift ? numbers[1] : numbers[2]};
        return parameters_are_sound(popularity);
    }
    return false;
}

void popularity_init(struct popularity *popularity, uint64_t keys)
{
    assert(keys >= 1);
    popularity->keys = keys;
    zipf_init(&popularity->zipf, keys, popularity->theta);
}

void popularity_cursor_init(struct popularity_cursor *cursor, uint64_t seed, uint64_t lane,
                            uint64_t lanes)
{
    assert(lane < lanes);
    *cursor = (struct popularity_cursor){
        .rng.state = rng_mix(seed * 1000003 + lane), .lane = lane, .lanes = lanes};
}

static uint64_t walk(struct popularity_cursor *cursor)
{
    return cursor->walked++ * cursor->lanes + cursor->lane;
}

/* A run of `length` scanned keys, then as many others as keep the scans at their share. */
static bool is_in_scan(const struct popularity *popularity, uint64_t drawn)
{
    if (popularity->share <= 0)
        return false;
    const double period = popularity->length / popularity->share;
    return fmod((double)drawn, period) < popularity->length;
}

/* How far the hot end has moved. All threads together make one shift per `length` requests. */
static uint64_t drift_shift(const struct popularity *popularity,
                            const struct popularity_cursor *cursor)
{
    const double all_drawn = (double)cursor->drawn * (double)cursor->lanes;
    return (uint64_t)(all_drawn / popularity->length) % popularity->keys;
}

uint64_t popularity_next(const struct popularity *popularity, struct popularity_cursor *cursor)
{
    const uint64_t keys = popularity->keys;
    assert(keys >= 1);
    cursor->drawn++;
    switch (popularity->kind) {
    case POPULARITY_UNIFORM: return rng_below(&cursor->rng, keys);
    case POPULARITY_SEQUENTIAL: return walk(cursor) % keys;
    case POPULARITY_ONEHIT:
        if (rng_unit(&cursor->rng) < popularity->share)
            return keys + walk(cursor);
        break;
    case POPULARITY_SCAN:
        if (is_in_scan(popularity, cursor->drawn - 1))
            return walk(cursor) % keys;
        break;
    case POPULARITY_DRIFT: {
        const uint64_t rank = zipf_next(&popularity->zipf, &cursor->rng) - 1;
        return (rank + keys - drift_shift(popularity, cursor)) % keys;
    }
    case POPULARITY_ZIPF: break;
    }
    return zipf_next(&popularity->zipf, &cursor->rng) - 1;
}
