#include "server/policy.h"
#include "server/settings.h"
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* The rows are sorted by falling length of their prefix: the first that fits is the longest.  An
 * old set is kept for those who found a policy in it; there is one for each reload only. */
struct policy_set {
    struct policy_set *older;
    unsigned count;
    struct policy rows[];
};

static _Atomic(struct policy_set *) current;

const struct policy policy_default = {.keeps_siblings = true};

static int longer_first(const void *left, const void *right)
{
    const struct policy *a = left, *b = right;

    return (int)b->prefix_bytes - (int)a->prefix_bytes;
}

bool policies_replace(const struct policies *policies)
{
    struct policy_set *older = atomic_load_explicit(&current, memory_order_relaxed);
    struct policy_set *set = malloc(sizeof *set + policies->count * sizeof *set->rows);

    if (set == NULL)
        return false;
    assert(policies->count <= POLICIES_MAX);
    set->older = older;
    set->count = policies->count;
    memcpy(set->rows, policies->rows, policies->count * sizeof *set->rows);
    qsort(set->rows, set->count, sizeof *set->rows, longer_first);
    atomic_store_explicit(&current, set, memory_order_release);
    return true;
}

void policies_clear(void)
{
    struct policy_set *set = atomic_exchange(&current, NULL);

    while (set != NULL) {
        struct policy_set *older = set->older;
        free(set);
        set = older;
    }
}

static bool begins_so(struct slice key, const struct policy *policy)
{
    return key.size >= policy->prefix_bytes &&
           memcmp(key.bytes, policy->prefix, policy->prefix_bytes) == 0;
}

const struct policy *policy_of(struct slice key)
{
    const struct policy_set *set = atomic_load_explicit(&current, memory_order_acquire);

    for (unsigned i = 0; set != NULL && i < set->count; i++) {
        if (begins_so(key, &set->rows[i]))
            return &set->rows[i];
    }
    return &policy_default;
}

/* As policy_of(), among rows in any order. */
static const struct policy *find(const struct policies *policies, struct slice key)
{
    const struct policy *found = NULL;

    for (unsigned i = 0; i < policies->count; i++) {
        const struct policy *policy = &policies->rows[i];
        if (begins_so(key, policy) && (found == NULL || policy->prefix_bytes > found->prefix_bytes))
            found = policy;
    }
    return found == NULL ? &policy_default : found;
}

static bool keeps_copies(const struct policies *policies, const struct policy *at)
{
    const struct slice prefix = {(const unsigned char *)at->prefix, at->prefix_bytes};

    return policy_copies(find(policies, prefix)) == policy_copies(policy_of(prefix));
}

bool policies_keep_copies(const struct policies *policies)
{
    const struct policy_set *set = atomic_load_explicit(&current, memory_order_acquire);

    /* The number can change where a prefix begins, old or new, and nowhere else. */
    for (unsigned i = 0; i < policies->count; i++) {
        if (!keeps_copies(policies, &policies->rows[i]))
            return false;
    }
    for (unsigned i = 0; set != NULL && i < set->count; i++) {
        if (!keeps_copies(policies, &set->rows[i]))
            return false;
    }
    return true;
}

unsigned policy_copies(const struct policy *policy)
{
    return policy->copies != 0 ? policy->copies : settings.copies;
}

/* A quorum that the policy leaves to the cluster, which may have more copies. */
static unsigned quorum(const struct policy *policy, unsigned own, unsigned common)
{
    const unsigned wanted = own != 0 ? own : common, copies = policy_copies(policy);

    return wanted < copies ? wanted : copies;
}

unsigned policy_read_quorum(const struct policy *policy)
{
    return quorum(policy, policy->read_quorum, settings.read_quorum);
}

unsigned policy_write_quorum(const struct policy *policy)
{
    return quorum(policy, policy->write_quorum, settings.write_quorum);
}

uint32_t policies_copies(const struct policies *policies)
{
    const struct policy_set *set = atomic_load_explicit(&current, memory_order_acquire);
    const struct policy *rows = set != NULL ? set->rows : NULL;
    unsigned count = set != NULL ? set->count : 0;
    uint32_t copies = 1u << settings.copies;

    if (policies != NULL) {
        rows = policies->rows;
        count = policies->count;
    }
    for (unsigned i = 0; i < count; i++)
        copies |= 1u << policy_copies(&rows[i]);
    return copies;
}

uint64_t policy_expiry_ms(const struct policy *policy, uint64_t expiry_ms, uint64_t now_ms)
{
    uint64_t latest_ms = now_ms + policy->ttl_max_ms;

    if (policy->ttl_max_ms == 0 || (expiry_ms != 0 && expiry_ms <= latest_ms))
        return expiry_ms;
    return latest_ms;
}
