#include "ring/budget.h"
#include <assert.h>
#include <stddef.h>
#include <string.h>

#define SUB_BITS 3 /* a power of two of latency is cut into 8 buckets */

static_assert(((31 - SUB_BITS + 2) << SUB_BITS) <= BUDGET_BUCKETS, "the longest latency has one");

const struct budget_options budget_options_default = {
    .target_us = 5000,
    .tokens_min = 256 * 1024,
    .tokens_max = 64 * 1024 * 1024,
    .tokens_step = 1024 * 1024,
    .share_percent = {50, 25, 25},
};

void token_bucket_init(struct token_bucket *bucket, uint64_t tokens_per_s, uint64_t burst,
                       uint64_t now_ms)
{
    assert(burst < INT64_MAX / 1000);
    *bucket = (struct token_bucket){.tokens_per_s = tokens_per_s,
                                    .burst = burst,
                                    .level_milli = (int64_t)burst * 1000,
                                    .filled_ms = now_ms};
}

static void fill(struct token_bucket *bucket, uint64_t now_ms)
{
    int64_t full = (int64_t)bucket->burst * 1000;

    if (now_ms <= bucket->filled_ms)
        return; /* several threads of the caller may have read the time in another order */
    uint64_t elapsed_ms = now_ms - bucket->filled_ms;
    bucket->filled_ms = now_ms;
    if (bucket->level_milli >= full) {
        bucket->level_milli = full;
        return;
    }
    uint64_t missing = (uint64_t)(full - bucket->level_milli);
    if (bucket->tokens_per_s > 0 && elapsed_ms > missing / bucket->tokens_per_s)
        bucket->level_milli = full;
    else
        bucket->level_milli += (int64_t)(elapsed_ms * bucket->tokens_per_s);
    assert(bucket->level_milli <= full);
}

void token_bucket_set_rate(struct token_bucket *bucket, uint64_t tokens_per_s, uint64_t burst,
                           uint64_t now_ms)
{
    assert(burst < INT64_MAX / 1000);
    fill(bucket, now_ms);
    bucket->tokens_per_s = tokens_per_s;
    bucket->burst = burst;
    if (bucket->level_milli > (int64_t)burst * 1000)
        bucket->level_milli = (int64_t)burst * 1000;
}

bool token_bucket_take(struct token_bucket *bucket, uint64_t tokens, uint64_t now_ms)
{
    assert(tokens < INT64_MAX / 2000);
    fill(bucket, now_ms);
    if (bucket->level_milli <= 0)
        return false;
    bucket->level_milli -= (int64_t)(tokens * 1000);
    return true;
}

uint64_t token_bucket_ready_ms(const struct token_bucket *bucket)
{
    if (bucket->level_milli > 0)
        return bucket->filled_ms;
    if (bucket->tokens_per_s == 0 || bucket->burst == 0)
        return UINT64_MAX;
    return bucket->filled_ms + (uint64_t)-bucket->level_milli / bucket->tokens_per_s + 1;
}

static unsigned bucket_of(uint32_t latency_us)
{
    if (latency_us < 1u << SUB_BITS)
        return latency_us;
    unsigned exponent = 31 - (unsigned)__builtin_clz(latency_us);
    unsigned sub = (latency_us >> (exponent - SUB_BITS)) & ((1u << SUB_BITS) - 1);
    return ((exponent - SUB_BITS + 1) << SUB_BITS) + sub;
}

/* The longest latency that falls into a bucket. */
static uint32_t bucket_end_us(unsigned bucket)
{
    if (bucket < 1u << SUB_BITS)
        return bucket;
    unsigned shift = (bucket >> SUB_BITS) - 1;
    uint64_t sub = bucket & ((1u << SUB_BITS) - 1);
    return (uint32_t)((((sub + 1) + (1u << SUB_BITS)) << shift) - 1);
}

static void rotate(struct budget *budget, uint64_t now_ms)
{
    for (unsigned i = 0; i < BUDGET_WINDOWS; i++) {
        if (now_ms < budget->window_start_ms + BUDGET_WINDOW_MS)
            return;
        budget->window_start_ms += BUDGET_WINDOW_MS;
        budget->window = (budget->window + 1) % BUDGET_WINDOWS;
        memset(budget->counts[budget->window], 0, sizeof budget->counts[0]);
    }
    if (now_ms >= budget->window_start_ms + BUDGET_WINDOW_MS)
        budget->window_start_ms = now_ms; /* all are empty after so long a gap */
}

/* Over the current window and those before it; 0 with fewer samples than `samples_min`. */
static uint32_t p99_us(const struct budget *budget, unsigned windows, uint64_t samples_min)
{
    uint64_t sums[BUDGET_BUCKETS] = {0}, total = 0, above = 0;

    assert(windows >= 1 && windows <= BUDGET_WINDOWS);
    for (unsigned i = 0; i < windows; i++) {
        unsigned window = (budget->window + BUDGET_WINDOWS - i) % BUDGET_WINDOWS;
        for (unsigned b = 0; b < BUDGET_BUCKETS; b++) {
            sums[b] += budget->counts[window][b];
            total += budget->counts[window][b];
        }
    }
    if (total < samples_min || total == 0)
        return 0;
    for (unsigned b = BUDGET_BUCKETS; b-- > 0;) {
        above += sums[b];
        if (above * 100 > total)
            return bucket_end_us(b);
    }
    return 0;
}

static void share_out(struct budget *budget, uint64_t now_ms)
{
    for (unsigned i = 0; i < BUDGET_WORKS; i++) {
        uint64_t tokens = budget->tokens_per_s * budget->options.share_percent[i] / 100;
        /* A tenth of a second may be saved up: more would come as a burst that clients feel. */
        token_bucket_set_rate(&budget->buckets[i], tokens, tokens / 10 + 1, now_ms);
    }
}

void budget_init(struct budget *budget, const struct budget_options *options, uint64_t now_ms)
{
    memset(budget, 0, sizeof *budget);
    budget->options = options != NULL ? *options : budget_options_default;
    assert(budget->options.tokens_min > 0);
    assert(budget->options.tokens_min <= budget->options.tokens_max);
    budget->tokens_per_s = budget->options.tokens_max;
    budget->adjust_at_ms = now_ms + BUDGET_PERIOD_MS;
    budget->window_start_ms = now_ms;
    for (unsigned i = 0; i < BUDGET_WORKS; i++) {
        uint64_t tokens = budget->tokens_per_s * budget->options.share_percent[i] / 100;
        token_bucket_init(&budget->buckets[i], tokens, tokens / 10 + 1, now_ms);
    }
}

void budget_sample(struct budget *budget, uint32_t latency_us, uint64_t now_ms)
{
    rotate(budget, now_ms);
    uint32_t *count = &budget->counts[budget->window][bucket_of(latency_us)];
    if (*count < UINT32_MAX)
        (*count)++;
}

uint32_t budget_p99_us(struct budget *budget, uint64_t now_ms)
{
    rotate(budget, now_ms);
    return p99_us(budget, BUDGET_WINDOWS, BUDGET_SAMPLES_MIN);
}

void budget_step(struct budget *budget, uint64_t now_ms, struct ring_trace *trace)
{
    const struct budget_options *options = &budget->options;

    if (now_ms < budget->adjust_at_ms)
        return;
    budget->adjust_at_ms = now_ms + BUDGET_PERIOD_MS;
    uint32_t minute_us = budget_p99_us(budget, now_ms);
    uint32_t recent_us = p99_us(budget, 2, BUDGET_SAMPLES_MIN / BUDGET_WINDOWS);
    uint64_t before = budget->tokens_per_s;
    if (minute_us <= options->target_us) {
        if (options->tokens_max - before > options->tokens_step)
            budget->tokens_per_s += options->tokens_step;
        else
            budget->tokens_per_s = options->tokens_max;
    } else if (recent_us > options->target_us) {
        budget->tokens_per_s = before / 2 > options->tokens_min ? before / 2 : options->tokens_min;
    }
    assert(budget->tokens_per_s >= options->tokens_min);
    assert(budget->tokens_per_s <= options->tokens_max);
    if (budget->tokens_per_s == before)
        return;
    share_out(budget, now_ms);
    ring_trace_say(trace, "clients wait %u us at p99 -> %llu background bytes a second",
                   (unsigned)minute_us, (unsigned long long)budget->tokens_per_s);
}

uint64_t budget_deadline_ms(const struct budget *budget)
{
    return budget->adjust_at_ms;
}

struct token_bucket *budget_bucket(struct budget *budget, enum budget_work work)
{
    assert((unsigned)work < BUDGET_WORKS);
    return &budget->buckets[work];
}
