#include "bench/tally.h"

#include <assert.h>
#include <stdio.h>

const char *failure_name(enum failure failure)
{
    static const char *const names[FAILURES] = {"refused", "bad_replies", "broken_connections",
                                                "unanswered", "wrong_values"};
    assert((unsigned)failure < FAILURES);
    return names[failure];
}

void tally_fail(struct tally *tally, enum failure failure, uint64_t count, struct slice words)
{
    if (tally->first_failure[0] == '\0')
        snprintf(tally->first_failure, sizeof tally->first_failure, "%.*s",
                 words.size < 160 ? (int)words.size : 160, (const char *)words.bytes);
    tally->failures[failure] += count;
}

void tally_merge(struct tally *tally, const struct tally *other)
{
    for (unsigned i = 0; i < OPERATIONS; i++) {
        tally->requests[i] += other->requests[i];
        tally->keys[i] += other->keys[i];
        histogram_merge(&tally->latency[i], &other->latency[i]);
    }
    tally->hits += other->hits;
    tally->misses += other->misses;
    tally->absent += other->absent;
    tally->fills += other->fills;
    tally->value_bytes += other->value_bytes;
    tally->sent_bytes += other->sent_bytes;
    tally->received_bytes += other->received_bytes;
    for (unsigned i = 0; i < FAILURES; i++)
        tally->failures[i] += other->failures[i];
    if (tally->first_failure[0] == '\0')
        memcpy(tally->first_failure, other->first_failure, sizeof tally->first_failure);
    if (other->last_reply_ns > tally->last_reply_ns)
        tally->last_reply_ns = other->last_reply_ns;
}

bool tally_is_clean(const struct tally *tally, bool allows_refusals)
{
    for (unsigned i = 0; i < FAILURES; i++)
        if (tally->failures[i] > 0 && !(i == FAILURE_REFUSED && allows_refusals))
            return false;
    return true;
}

uint64_t tally_keys(const struct tally *tally)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < OPERATIONS; i++)
        sum += tally->keys[i];
    return sum;
}

uint64_t tally_requests(const struct tally *tally)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < OPERATIONS; i++)
        sum += tally->requests[i];
    return sum;
}
