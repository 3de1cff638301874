/* Any bytes, as a membership.  What is taken must be sound, encode to the same bytes, and merge
 * with another into one that is sound and has nothing more to learn from either. */
#include "ring/membership.h"
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct membership read, merged;
static unsigned char again[MEMBERSHIP_BYTES_MAX];

static void require(bool is_so, const char *what)
{
    if (is_so)
        return;
    fprintf(stderr, "fuzz_membership: %s\n", what);
    abort();
}

/* Nodes 1 to 5, so that some of what is read concerns the same ones. */
static void make_base(void)
{
    membership_init(&merged);
    for (unsigned i = 1; i <= 5; i++) {
        struct member_record record = {.id = i, .incarnation = i, .weight = 1};
        record.name.size = 1;
        record.name.bytes[0] = (char)('a' + i);
        membership_join(&merged, &record, NODE_NONE);
    }
    membership_flush(&merged, (struct flush){9, 9});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = {data, size};

    if (!membership_decode(&read, input))
        return 0;
    require(membership_is_sound(&read), "what was taken is not sound");
    require(slice_equal((struct slice){again, membership_encode(&read, again)}, input),
            "what was taken encodes otherwise");
    make_base();
    membership_merge(&merged, &read);
    require(membership_is_sound(&merged), "a merge is not sound");
    require(merged.dropped > 0 || !membership_merge(&merged, &read), "a merge had more to learn");
    return 0;
}
