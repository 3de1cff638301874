#include "tests/unit/explore/search.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define HISTORIES_DEFAULT 20000

static const char *const promise_broken[PROMISES] = {
    [PROMISE_NOT_LOST] = "a write was lost",
    [PROMISE_SHOWN_ONLY] = "a context covered a write that its client never saw",
    [PROMISE_SAME_CELL] = "the replicas differ after everything was exchanged",
    [PROMISE_STAYS_SUPERSEDED] = "a superseded write came back",
    [PROMISE_ACKED_IS_HELD] = "a replica acknowledged a write that it does not hold",
    [PROMISE_ONE_WRITE_PER_DOT] = "a dot names two writes",
    [PROMISE_FLUSHED_IS_GONE] = "a write was there after its flush, or made under one",
    [PROMISE_EXPIRED_IS_HIDDEN] = "an expired version was shown",
    [PROMISE_LATEST_REGISTER] = "an earlier register replaced a later one",
    [PROMISE_CLOCK_WITHIN_DRIFT] = "a wrong clock spread",
    [PROMISE_TIME_FOLLOWS_CAUSE] = "a write has an earlier time than one that it supersedes",
};

/* What a search found, all histories together. */
struct findings {
    unsigned broken[PROMISES];
    unsigned intervals_most, siblings_most, refused, reaped, dropped, flushed;
};

static unsigned long histories_wanted(void)
{
    const char *wanted = getenv("EXPLORE_HISTORIES");

    return wanted != NULL ? strtoul(wanted, NULL, 10) : HISTORIES_DEFAULT;
}

static bool is_over(const unsigned broken[PROMISES], unsigned stop_at)
{
    for (unsigned i = 0; i < PROMISES; i++)
        if (broken[i] > 0 && (stop_at >> i & 1) != 0)
            return true;
    return false;
}

static void add(struct findings *findings, const struct history *history, unsigned long seed)
{
    for (unsigned i = 0; i < PROMISES; i++) {
        findings->broken[i] += history->broken[i];
        if (history->broken[i] > 0)
            print_message("EXPLORE_SEED=%lu: %s\n", seed, promise_broken[i]);
    }
    if (history->intervals_most > findings->intervals_most)
        findings->intervals_most = history->intervals_most;
    if (history->siblings_most > findings->siblings_most)
        findings->siblings_most = history->siblings_most;
    findings->refused += history->refused;
    findings->reaped += history->reaped;
    findings->dropped += history->dropped;
    findings->flushed += history->flushed;
}

bool search(unsigned variant, enum rule broken_rule, unsigned percent, unsigned stop_at)
{
    static struct history history;
    const char *replay = getenv("EXPLORE_SEED");
    unsigned long first = replay != NULL ? strtoul(replay, NULL, 10) : 0;
    unsigned long end = replay != NULL ? first + 1 : 1 + histories_wanted() * percent / 100;
    unsigned long seed = first;
    struct findings findings = {0};

    for (; seed < end && !is_over(findings.broken, stop_at); seed++) {
        history_run(&history, seed, variant, broken_rule);
        add(&findings, &history, seed);
    }
    print_message("%lu histories of %d steps; largest context %u intervals, most siblings %u; "
                  "%u refused as covered, %u flushes, %u cells reaped, %u versions dropped after a "
                  "cut\n",
                  seed - first, STEPS, findings.intervals_most, findings.siblings_most,
                  findings.refused, findings.flushed, findings.reaped, findings.dropped);
    return is_over(findings.broken, stop_at);
}
