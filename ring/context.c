#include "ring/context.h"
#include "ring/bytes.h"
#include <assert.h>

#define NUMBER_BYTES   8u
#define INTERVAL_BYTES (3 * NUMBER_BYTES)

static_assert(CONTEXT_CELL_MAX + CONTEXT_CLIENT_MAX + 1 <= CONTEXT_ROOM,
              "a context write joins a cell's, a client's and its own interval without a drop");
static_assert(CONTEXT_ENCODED_BYTES(1) == 1 + INTERVAL_BYTES,
              "the sizes are those of the encoding");
static_assert(CONTEXT_ROOM <= 255, "the count fits its byte");

int dot_compare(struct dot a, struct dot b)
{
    if (a.node != b.node)
        return a.node < b.node ? -1 : 1;
    if (a.hlc != b.hlc)
        return a.hlc < b.hlc ? -1 : 1;
    return 0;
}

bool dot_is_valid(struct dot dot)
{
    return dot.node != NODE_NONE && dot.node != NODE_ANY && hlc_is_valid(dot.hlc);
}

static bool interval_is_sound(const struct interval *interval)
{
    return interval->node != NODE_NONE && interval->first <= interval->last &&
           interval->last < HLC_END;
}

/* Whether `b` may stand right after `a`: invariants 1 and 2. */
static bool interval_follows(const struct interval *a, const struct interval *b)
{
    return a->node < b->node || (a->node == b->node && a->last < b->first);
}

bool context_is_sound(const struct context *context)
{
    if (context->count > CONTEXT_ROOM)
        return false;
    for (unsigned i = 0; i < context->count; i++) {
        if (!interval_is_sound(&context->intervals[i]))
            return false;
        if (i > 0 && !interval_follows(&context->intervals[i - 1], &context->intervals[i]))
            return false;
    }
    return true;
}

void context_clear(struct context *context)
{
    context->count = 0;
    assert(context_is_sound(context));
}

void context_copy(struct context *into, const struct context *from)
{
    assert(from->count <= CONTEXT_ROOM);
    into->count = from->count;
    memmove(into->intervals, from->intervals, from->count * sizeof from->intervals[0]);
}

bool context_equal(const struct context *a, const struct context *b)
{
    assert(context_is_sound(a));
    assert(context_is_sound(b));
    if (a->count != b->count)
        return false;
    for (unsigned i = 0; i < a->count; i++) {
        const struct interval *x = &a->intervals[i];
        const struct interval *y = &b->intervals[i];
        if (x->node != y->node || x->first != y->first || x->last != y->last)
            return false;
    }
    return true;
}

static bool interval_covers(const struct interval *interval, struct dot dot)
{
    return (interval->node == dot.node || interval->node == NODE_ANY) &&
           interval->first <= dot.hlc && dot.hlc <= interval->last;
}

bool context_covers(const struct context *context, struct dot dot)
{
    assert(dot_is_valid(dot));
    for (unsigned i = 0; i < context->count; i++)
        if (interval_covers(&context->intervals[i], dot))
            return true;
    return false;
}

hlc_time context_newest(const struct context *context)
{
    hlc_time newest = 0;

    for (unsigned i = 0; i < context->count; i++)
        if (context->intervals[i].last > newest)
            newest = context->intervals[i].last;
    assert(newest < HLC_END);
    return newest;
}

const struct interval *context_newest_own(const struct context *context, node_id node)
{
    const struct interval *newest = NULL;

    assert(node != NODE_NONE);
    for (unsigned i = 0; i < context->count; i++)
        if (context->intervals[i].node == node)
            newest = &context->intervals[i];
    return newest;
}

static bool sorts_before(const struct interval *a, const struct interval *b)
{
    return a->node < b->node || (a->node == b->node && a->first < b->first);
}

/* Appends an interval that sorts after all in `out`, joining it to the last one where the two
 * overlap.  Two that only touch stay two.  Returns the new count. */
static unsigned append_normal(struct interval *out, unsigned count, struct interval more)
{
    struct interval *last = count > 0 ? &out[count - 1] : NULL;

    if (last == NULL || last->node != more.node || more.first > last->last) {
        out[count] = more;
        return count + 1;
    }
    assert(more.first >= last->first);
    if (more.last > last->last)
        last->last = more.last;
    return count;
}

/* Whether NODE_ANY's intervals say all that this one says. */
static bool is_implied(const struct interval *intervals, unsigned count, unsigned i)
{
    assert(i < count);
    if (intervals[i].node == NODE_ANY)
        return false;
    for (unsigned j = count; j > 0 && intervals[j - 1].node == NODE_ANY; j--)
        if (intervals[j - 1].first <= intervals[i].first &&
            intervals[j - 1].last >= intervals[i].last)
            return true;
    return false;
}

/* The place of the interval to drop: one that says nothing of its own, or else the one with the
 * lowest `last`; of equal ones the first, so that the order in which contexts were joined does
 * not show. */
static unsigned place_to_drop(const struct interval *intervals, unsigned count)
{
    unsigned lowest = 0;

    assert(count > 0);
    for (unsigned i = 0; i < count; i++)
        if (is_implied(intervals, count, i))
            return i;
    for (unsigned i = 1; i < count; i++)
        if (intervals[i].last < intervals[lowest].last)
            lowest = i;
    return lowest;
}

/* Returns the new count: `count`, or `intervals_max` if that is less. */
static unsigned fold_intervals(struct interval *intervals, unsigned count, unsigned intervals_max)
{
    while (count > intervals_max) {
        unsigned i = place_to_drop(intervals, count);
#ifdef CONTEXT_BREAK_FOLDJOIN
        if (i + 1 < count && intervals[i + 1].node == intervals[i].node)
            intervals[i + 1].first = intervals[i].first;
#endif
        memmove(&intervals[i], &intervals[i + 1], (count - i - 1) * sizeof intervals[0]);
        count--;
    }
    return count;
}

/* Joins a sorted list into a context: a merge of two sorted lists. */
static unsigned join_intervals(struct context *into, const struct interval *more,
                               unsigned more_count)
{
    struct interval joined[2 * CONTEXT_ROOM];
    unsigned count = 0, i = 0, j = 0;

    assert(more_count <= CONTEXT_ROOM);
    while (i < into->count || j < more_count) {
        bool take_more =
            i == into->count || (j < more_count && sorts_before(&more[j], &into->intervals[i]));
        count = append_normal(joined, count, take_more ? more[j] : into->intervals[i]);
        if (take_more)
            j++;
        else
            i++;
    }
    assert(count <= 2 * CONTEXT_ROOM);
    into->count = fold_intervals(joined, count, CONTEXT_ROOM);
    memcpy(into->intervals, joined, into->count * sizeof joined[0]);
    assert(context_is_sound(into));
    return count - into->count;
}

unsigned context_join(struct context *into, const struct context *more)
{
    assert(context_is_sound(into));
    assert(context_is_sound(more));
    return join_intervals(into, more->intervals, more->count);
}

unsigned context_add(struct context *into, struct interval interval)
{
    assert(context_is_sound(into));
    assert(interval_is_sound(&interval));
    return join_intervals(into, &interval, 1);
}

/* Cuts the dot out of interval `i`, leaving two, one or no intervals in its place.  Returns how
 * many there are. */
static unsigned cut_interval(struct context *context, unsigned i, hlc_time hlc)
{
    struct interval whole = context->intervals[i];
    struct interval parts[2];
    unsigned parts_count = 0;

    assert(whole.first <= hlc);
    assert(whole.last >= hlc);
    if (whole.first < hlc)
        parts[parts_count++] = (struct interval){whole.node, whole.first, hlc - 1};
    if (whole.last > hlc)
        parts[parts_count++] = (struct interval){whole.node, hlc + 1, whole.last};
    assert(context->count - 1 + parts_count <= CONTEXT_ROOM);
    memmove(&context->intervals[i + parts_count], &context->intervals[i + 1],
            (context->count - i - 1) * sizeof whole);
    memcpy(&context->intervals[i], parts, parts_count * sizeof whole);
    context->count = context->count - 1 + parts_count;
    return parts_count;
}

unsigned context_cut(struct context *context, struct dot dot)
{
    unsigned dropped = 0;

    assert(context_is_sound(context));
    assert(dot_is_valid(dot));
    for (unsigned i = 0; i < context->count;) {
        if (!interval_covers(&context->intervals[i], dot)) {
            i++;
            continue;
        }
        if (context->count == CONTEXT_ROOM) {
            /* Makes room for the second part.  What is dropped may be the interval itself. */
            dropped += context_fold(context, CONTEXT_ROOM - 1);
            i = 0;
            continue;
        }
        i += cut_interval(context, i, dot.hlc);
    }
    assert(context_is_sound(context));
    assert(!context_covers(context, dot));
    return dropped;
}

unsigned context_fold(struct context *context, unsigned intervals_max)
{
    unsigned before = context->count;

    assert(context_is_sound(context));
    context->count = fold_intervals(context->intervals, before, intervals_max);
    assert(context_is_sound(context));
    assert(context->count <= intervals_max);
    return before - context->count;
}

size_t context_encode(const struct context *context, unsigned char *out)
{
    unsigned char *to = out;

    assert(context_is_sound(context));
    *to++ = (unsigned char)context->count;
    for (unsigned i = 0; i < context->count; i++) {
        const struct interval *interval = &context->intervals[i];
        bytes_write_u64(to, interval->node);
        bytes_write_u64(to + NUMBER_BYTES, interval->first);
        bytes_write_u64(to + 2 * NUMBER_BYTES, interval->last);
        to += INTERVAL_BYTES;
    }
    assert((size_t)(to - out) == CONTEXT_ENCODED_BYTES(context->count));
    return (size_t)(to - out);
}

size_t context_decode(struct context *into, struct slice bytes, unsigned intervals_max)
{
    assert(intervals_max <= CONTEXT_ROOM);
    context_clear(into);
    if (bytes.size < 1 || bytes.bytes[0] > intervals_max)
        return 0;
    unsigned count = bytes.bytes[0];
    if (bytes.size < CONTEXT_ENCODED_BYTES(count))
        return 0;
    const unsigned char *from = bytes.bytes + 1;
    for (unsigned i = 0; i < count; i++, from += INTERVAL_BYTES) {
        into->intervals[i].node = bytes_read_u64(from);
        into->intervals[i].first = bytes_read_u64(from + NUMBER_BYTES);
        into->intervals[i].last = bytes_read_u64(from + 2 * NUMBER_BYTES);
    }
    into->count = count;
    if (!context_is_sound(into))
        return 0;
    return CONTEXT_ENCODED_BYTES(count);
}

/* The sum that seals an encoding to a key.  The key's length goes first: no other pair of key and
 * encoding makes the same message. */
static uint64_t seal_sum(const struct siphash_key *secret, struct slice key, struct slice encoded)
{
    unsigned char key_size[NUMBER_BYTES];
    struct siphash hash;

    assert(encoded.size > 0);
    bytes_write_u64(key_size, key.size);
    siphash_init(&hash, secret);
    siphash_add(&hash, (struct slice){key_size, sizeof key_size});
    siphash_add(&hash, key);
    siphash_add(&hash, encoded);
    return siphash_end(&hash);
}

size_t context_seal(const struct context *context, const struct siphash_key *secret,
                    struct slice key, unsigned char out[CONTEXT_SEALED_BYTES_MAX])
{
    assert(context->count <= CONTEXT_CLIENT_MAX);
    if (context->count == 0)
        return 0;
    size_t encoded = context_encode(context, out);
    bytes_write_u64(out + encoded, seal_sum(secret, key, (struct slice){out, encoded}));
    assert(encoded + CONTEXT_SUM_BYTES <= CONTEXT_SEALED_BYTES_MAX);
    return encoded + CONTEXT_SUM_BYTES;
}

bool context_unseal(struct context *into, const struct siphash_key *secret, struct slice key,
                    struct slice sealed)
{
    context_clear(into);
    if (sealed.size == 0)
        return true;
    if (sealed.size < CONTEXT_ENCODED_BYTES(1) + CONTEXT_SUM_BYTES ||
        sealed.size > CONTEXT_SEALED_BYTES_MAX)
        return false;
    struct slice encoded = {sealed.bytes, sealed.size - CONTEXT_SUM_BYTES};
    /* One comparison of two words: it takes the same time wherever they differ. */
    uint64_t claimed = bytes_read_u64(sealed.bytes + encoded.size);
    if ((claimed ^ seal_sum(secret, key, encoded)) != 0)
        return false;
    if (context_decode(into, encoded, CONTEXT_CLIENT_MAX) == encoded.size && into->count > 0)
        return true;
    context_clear(into);
    return false;
}
