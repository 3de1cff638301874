/* Budget: how much background work (hints, transfers, repair) the foreground can bear.
 *
 * Clients first: the 99th percentile of what clients waited over the last minute is held against a
 * target, once a second.  While it is over, the budget halves; while it is under, it grows by a
 * fixed step: additive increase, multiplicative decrease, between bounds.  (Dynamo, section 6.5,
 * "admission control".)  The minute keeps a burst in mind long after it is over, so the budget
 * shrinks only while the last few seconds are over the target too, and otherwise stays.
 *
 * What may be spent is in token buckets, one per kind of work, each with its share; a token is a
 * byte sent, or whatever a worker finds as dear as one.
 *
 * Threads: belongs to its caller. */
#ifndef RING_BUDGET_H
#define RING_BUDGET_H

#include <stdbool.h>
#include <stdint.h>
#include "ring/trace.h"

/* Tokens that come at a rate and may be saved up to a burst. */
struct token_bucket {
    uint64_t tokens_per_s;
    uint64_t burst;
    int64_t level_milli; /* thousandths of a token: a rate times milliseconds; below 0: a debt */
    uint64_t filled_ms;
};

/* Full at first. */
void token_bucket_init(struct token_bucket *, uint64_t tokens_per_s, uint64_t burst,
                       uint64_t now_ms);

/* The new rate holds from `now_ms` on. */
void token_bucket_set_rate(struct token_bucket *, uint64_t tokens_per_s, uint64_t burst,
                           uint64_t now_ms);

/* Takes `tokens` and returns true, or false if there are none.  May leave a debt, so that what is
 * larger than the burst passes too, and is paid for by those after it. */
bool token_bucket_take(struct token_bucket *, uint64_t tokens, uint64_t now_ms);

/* When something can be taken; not after `now_ms` if now; UINT64_MAX at a rate of 0. */
uint64_t token_bucket_ready_ms(const struct token_bucket *);

enum budget_work { BUDGET_HINTS, BUDGET_TRANSFER, BUDGET_REPAIR };
#define BUDGET_WORKS 3

struct budget_options {
    uint32_t target_us;                   /* of the 99th percentile */
    uint64_t tokens_min, tokens_max;      /* per second, for all work together; min above 0 */
    uint64_t tokens_step;                 /* by which it grows in a second */
    unsigned share_percent[BUDGET_WORKS]; /* of each kind of work; 100 together */
};

/* 5 ms; 256 KiB to 64 MiB a second, by 1 MiB; half for hints, the rest in equal parts. */
extern const struct budget_options budget_options_default;

#define BUDGET_WINDOWS     6 /* of which a minute has so many, and the last may be unfinished */
#define BUDGET_WINDOW_MS   10000
#define BUDGET_PERIOD_MS   1000 /* how often the budget is adjusted */
#define BUDGET_BUCKETS     256  /* latencies up to 2^32 us, to a relative error under 1/8 */
#define BUDGET_SAMPLES_MIN 100  /* fewer in a minute say nothing about a percentile */

struct budget {
    struct budget_options options;
    struct token_bucket buckets[BUDGET_WORKS];
    uint64_t tokens_per_s;
    uint64_t adjust_at_ms;
    uint64_t window_start_ms;
    unsigned window; /* the current one */
    uint32_t counts[BUDGET_WINDOWS][BUDGET_BUCKETS];
};

/* Borrows `options`; NULL: the default ones.  Starts with the most that they allow. */
void budget_init(struct budget *, const struct budget_options *options, uint64_t now_ms);

/* A client waited so long for an answer.  O(1). */
void budget_sample(struct budget *, uint32_t latency_us, uint64_t now_ms);

/* To be called at budget_deadline_ms(); adjusts the rates.  `trace` may be NULL. */
void budget_step(struct budget *, uint64_t now_ms, struct ring_trace *trace);
uint64_t budget_deadline_ms(const struct budget *);

/* The bucket that this kind of work takes from. */
struct token_bucket *budget_bucket(struct budget *, enum budget_work);

/* The 99th percentile of the last minute, to the next bucket's bound; 0 with fewer than
 * BUDGET_SAMPLES_MIN samples. */
uint32_t budget_p99_us(struct budget *, uint64_t now_ms);

#endif
