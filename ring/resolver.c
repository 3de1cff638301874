#include "ring/resolver.h"
#include <assert.h>
#include <string.h>

static const char *const policy_names[RESOLVER_POLICIES] = {"lww",   "max",     "min",
                                                            "union", "longest", "counter"};

const char *resolver_policy_name(enum resolver_policy policy)
{
    assert((unsigned)policy < RESOLVER_POLICIES);
    return policy_names[policy];
}

bool resolver_policy_of(struct slice name, enum resolver_policy *policy)
{
    for (unsigned i = 0; i < RESOLVER_POLICIES; i++) {
        if (name.size == strlen(policy_names[i]) &&
            memcmp(name.bytes, policy_names[i], name.size) == 0) {
            *policy = (enum resolver_policy)i;
            return true;
        }
    }
    return false;
}

/* A decimal number, cut into what is compared: no zeros before or after. */
struct decimal {
    bool is_negative; /* never of 0 */
    struct slice whole, fraction;
};

static size_t count_digits(struct slice text, size_t from)
{
    size_t count = 0;

    while (from + count < text.size && text.bytes[from + count] >= '0' &&
           text.bytes[from + count] <= '9')
        count++;
    return count;
}

static struct slice part(struct slice text, size_t from, size_t size)
{
    assert(from + size <= text.size);
    return (struct slice){text.bytes + from, size};
}

/* False if the text is no number. */
static bool read_decimal(struct slice text, struct decimal *number)
{
    size_t at = 0;

    *number = (struct decimal){.is_negative = text.size > 0 && text.bytes[0] == '-'};
    at += number->is_negative;
    number->whole = part(text, at, count_digits(text, at));
    if (number->whole.size == 0)
        return false;
    at += number->whole.size;
    if (at < text.size && text.bytes[at] == '.') {
        number->fraction = part(text, at + 1, count_digits(text, at + 1));
        if (number->fraction.size == 0)
            return false;
        at += 1 + number->fraction.size;
    }
    while (at < text.size && text.bytes[at] == ' ') /* memcached's incr leaves some */
        at++;
    if (at < text.size)
        return false;
    while (number->whole.size > 0 && number->whole.bytes[0] == '0')
        number->whole = part(number->whole, 1, number->whole.size - 1);
    while (number->fraction.size > 0 && number->fraction.bytes[number->fraction.size - 1] == '0')
        number->fraction.size--;
    if (number->whole.size + number->fraction.size == 0)
        number->is_negative = false;
    return true;
}

/* As texts: what is the beginning of the other comes first. */
static int compare_bytes(struct slice a, struct slice b)
{
    size_t shorter = a.size < b.size ? a.size : b.size;
    int order = shorter > 0 ? memcmp(a.bytes, b.bytes, shorter) : 0;

    if (order != 0)
        return order;
    return a.size < b.size ? -1 : a.size > b.size;
}

static int compare_decimals(const struct decimal *a, const struct decimal *b)
{
    int sign = a->is_negative ? -1 : 1;

    if (a->is_negative != b->is_negative)
        return sign;
    if (a->whole.size != b->whole.size)
        return a->whole.size < b->whole.size ? -sign : sign;
    int order = compare_bytes(a->whole, b->whole);
    if (order == 0)
        order = compare_bytes(a->fraction, b->fraction);
    return sign * (order < 0 ? -1 : order > 0);
}

static int compare_texts_as_numbers(struct slice a, struct slice b)
{
    struct decimal x, y;
    bool is_number_a = read_decimal(a, &x), is_number_b = read_decimal(b, &y);

    if (is_number_a && is_number_b)
        return compare_decimals(&x, &y);
    return (int)is_number_a - (int)is_number_b;
}

/* Above 0 if the policy shows `a` rather than `b`, the times of their writes left aside. */
static int prefer(enum resolver_policy policy, struct slice a, struct slice b)
{
    struct decimal ignored;

    switch (policy) {
    case RESOLVE_MAX: return compare_texts_as_numbers(a, b);
    case RESOLVE_MIN:
        if (read_decimal(a, &ignored) != read_decimal(b, &ignored))
            return compare_texts_as_numbers(a, b); /* here too, no number loses */
        return compare_texts_as_numbers(b, a);
    case RESOLVE_LONGEST: return a.size < b.size ? -1 : a.size > b.size;
    case RESOLVE_LWW:
    case RESOLVE_UNION:
    case RESOLVE_COUNTER: return 0;
    }
    return 0;
}

static bool is_newer(const struct sibling *a, const struct sibling *b)
{
    if (a->dot.hlc != b->dot.hlc)
        return a->dot.hlc > b->dot.hlc;
    return a->dot.node > b->dot.node;
}

static bool is_value(const struct cell *cell, unsigned i)
{
    assert(i < cell->sibling_count);
    return cell->siblings[i].kind == SIBLING_VALUE;
}

/* The index of the value to show; the sibling count if there is none. */
static unsigned choose(enum resolver_policy policy, const struct cell *cell,
                       const struct slice *values)
{
    unsigned best = cell->sibling_count;

    for (unsigned i = 0; i < cell->sibling_count; i++) {
        if (!is_value(cell, i))
            continue;
        int order = best < cell->sibling_count ? prefer(policy, values[i], values[best]) : 1;
        if (order > 0 || (order == 0 && is_newer(&cell->siblings[i], &cell->siblings[best])))
            best = i;
    }
    return best;
}

static struct resolution show(const struct cell *cell, const struct slice *values, unsigned i)
{
    if (i == cell->sibling_count)
        return (struct resolution){.kind = RESOLVED_MISS};
    return (struct resolution){RESOLVED_SIBLING, &cell->siblings[i], values[i]};
}

static unsigned count_kind(const struct cell *cell, enum sibling_kind kind)
{
    unsigned count = 0;

    for (unsigned i = 0; i < cell->sibling_count; i++)
        count += cell->siblings[i].kind == kind;
    return count;
}

/* The line that starts at `*at`, which moves behind it; empty ones are passed over.  False at the
 * end. */
static bool next_line(struct slice text, size_t *at, struct resolver_line *line)
{
    while (*at < text.size) {
        const unsigned char *start = text.bytes + *at;
        const unsigned char *end = memchr(start, '\n', text.size - *at);
        size_t size = end != NULL ? (size_t)(end - start) : text.size - *at;
        *at += size + (end != NULL);
        if (size == 0)
            continue;
        *line = (struct resolver_line){start, size};
        return true;
    }
    return false;
}

static int compare_lines(const struct resolver_line *a, const struct resolver_line *b)
{
    return compare_bytes((struct slice){a->bytes, a->size}, (struct slice){b->bytes, b->size});
}

/* Lets the line at `root` sink to its place in a heap of `count`, the last line on top. */
static void sift_down(struct resolver_line *lines, size_t root, size_t count)
{
    struct resolver_line sinking = lines[root];

    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && compare_lines(&lines[child], &lines[child + 1]) < 0)
            child++;
        if (compare_lines(&sinking, &lines[child]) >= 0)
            break;
        lines[root] = lines[child];
    }
    lines[root] = sinking;
}

/* Heapsort: clients choose the lines, so the worst case must be no worse than the others. */
static void sort_lines(struct resolver_line *lines, size_t count)
{
    for (size_t root = count / 2; root-- > 0;)
        sift_down(lines, root, count);
    for (size_t left = count; left > 1; left--) {
        struct resolver_line last = lines[0];
        lines[0] = lines[left - 1];
        lines[left - 1] = last;
        sift_down(lines, 0, left - 1);
    }
}

/* Returns how many lines there are, or more than there is room for. */
static size_t gather_lines(const struct cell *cell, const struct slice *values,
                           const struct resolver_room *room, bool *ends_with_newline)
{
    size_t count = 0;

    *ends_with_newline = false;
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        struct resolver_line line;
        size_t at = 0;
        if (!is_value(cell, i))
            continue;
        while (next_line(values[i], &at, &line)) {
            if (count == room->line_count)
                return count + 1;
            room->lines[count++] = line;
        }
        *ends_with_newline |= values[i].size > 0 && values[i].bytes[values[i].size - 1] == '\n';
    }
    return count;
}

static struct resolution resolve_union(const struct cell *cell, const struct slice *values,
                                       const struct resolver_room *room)
{
    bool ends_with_newline;
    size_t used = 0, count = gather_lines(cell, values, room, &ends_with_newline);

    if (count > room->line_count)
        return (struct resolution){.kind = RESOLVED_NO_ROOM};
    sort_lines(room->lines, count);
    for (size_t i = 0; i < count; i++) {
        const struct resolver_line *line = &room->lines[i];
        if (i > 0 && compare_lines(line - 1, line) == 0)
            continue;
        size_t needed = (used > 0) + line->size + ends_with_newline;
        if (room->size - used < needed)
            return (struct resolution){.kind = RESOLVED_NO_ROOM};
        if (used > 0)
            room->bytes[used++] = '\n';
        memcpy(room->bytes + used, line->bytes, line->size);
        used += line->size;
    }
    if (used > 0 && ends_with_newline)
        room->bytes[used++] = '\n';
    assert(used <= room->size);
    unsigned newest = choose(RESOLVE_LWW, cell, values);
    return (struct resolution){RESOLVED_BYTES, &cell->siblings[newest], {room->bytes, used}};
}

/* A share has fewer digits than this.  The shares of all the siblings that a cell can have stay
 * below 2^127 together. */
#define SHARE_DIGITS_MAX 30
typedef __int128 share;

/* False if the text is no whole number of that length. */
static bool read_share(struct slice text, share *number)
{
    struct decimal decimal;
    share sum = 0;

    if (!read_decimal(text, &decimal) || decimal.fraction.size > 0 ||
        decimal.whole.size > SHARE_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < decimal.whole.size; i++)
        sum = sum * 10 + (decimal.whole.bytes[i] - '0');
    *number = decimal.is_negative ? -sum : sum;
    return true;
}

/* Divides by ten and returns the remainder, in quarters: dividing 128 bits at once is a function of
 * the compiler's library. */
static unsigned take_last_digit(unsigned __int128 *number)
{
    uint64_t parts[4], remainder = 0;

    for (unsigned i = 0; i < 4; i++)
        parts[i] = (uint32_t)(*number >> (32 * i));
    *number = 0;
    for (unsigned i = 4; i-- > 0;) {
        uint64_t part_of_it = remainder << 32 | parts[i];
        *number |= (unsigned __int128)(part_of_it / 10) << (32 * i);
        remainder = part_of_it % 10;
    }
    return (unsigned)remainder;
}

/* Returns how many bytes it wrote. */
static size_t write_share(share number, unsigned char out[COUNTER_SHARE_BYTES_MAX])
{
    unsigned char digits[COUNTER_SHARE_BYTES_MAX];
    bool is_negative = number < 0;
    size_t count = 0, used = 0;

    unsigned __int128 rest = (unsigned __int128)(is_negative ? -number : number);
    do {
        assert(count + 1 < COUNTER_SHARE_BYTES_MAX);
        digits[count++] = (unsigned char)('0' + take_last_digit(&rest));
    } while (rest > 0);
    if (is_negative)
        out[used++] = '-';
    while (count > 0)
        out[used++] = digits[--count];
    return used;
}

/* What clients see of a sum. */
static uint64_t shown_total(share sum)
{
    return sum < 0 ? 0 : (uint64_t)sum;
}

/* Adds the shares that are numbers; returns how many those are. */
static unsigned add_shares(const struct cell *cell, const struct slice *values, share *sum)
{
    unsigned count = 0;

    *sum = 0;
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        share number;
        if (!is_value(cell, i) || !read_share(values[i], &number))
            continue;
        *sum += number;
        count++;
    }
    return count;
}

static struct resolution resolve_counter(const struct cell *cell, const struct slice *values,
                                         const struct resolver_room *room)
{
    unsigned char text[COUNTER_SHARE_BYTES_MAX];
    unsigned newest = choose(RESOLVE_LWW, cell, values);
    share sum;

    if (count_kind(cell, SIBLING_STUB) > 0)
        return (struct resolution){.kind = RESOLVED_UNKNOWN};
    unsigned shares = add_shares(cell, values, &sum);
    if (shares == 0 || (count_kind(cell, SIBLING_VALUE) == 1 && sum >= 0))
        return show(cell, values, newest);
    size_t bytes = write_share(shown_total(sum), text);
    if (bytes > room->size)
        return (struct resolution){.kind = RESOLVED_NO_ROOM};
    memcpy(room->bytes, text, bytes);
    return (struct resolution){RESOLVED_BYTES, &cell->siblings[newest], {room->bytes, bytes}};
}

struct resolver_need resolver_room_needed(enum resolver_policy policy, const struct cell *cell,
                                          const struct slice *values)
{
    struct resolver_need need = {0};
    struct resolver_line line;

    if (policy == RESOLVE_COUNTER)
        need.bytes = COUNTER_SHARE_BYTES_MAX;
    if (policy != RESOLVE_UNION)
        return need;
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        size_t at = 0;
        if (!is_value(cell, i))
            continue;
        need.bytes += values[i].size + 1;
        while (next_line(values[i], &at, &line))
            need.lines++;
    }
    return need;
}

struct resolution resolver_resolve(enum resolver_policy policy, const struct cell *cell,
                                   const struct slice *values, const struct resolver_room *room)
{
    const struct sibling *newest = cell_newest(cell, SIBLINGS_HELD);

    switch (policy) {
    case RESOLVE_LWW:
        if (newest != NULL && newest->kind == SIBLING_TOMBSTONE)
            return (struct resolution){.kind = RESOLVED_MISS};
        return show(cell, values, choose(policy, cell, values));
    case RESOLVE_MAX:
    case RESOLVE_MIN:
    case RESOLVE_LONGEST: return show(cell, values, choose(policy, cell, values));
    case RESOLVE_UNION:
        if (count_kind(cell, SIBLING_VALUE) < 2)
            return show(cell, values, choose(policy, cell, values));
        return resolve_union(cell, values, room);
    case RESOLVE_COUNTER: return resolve_counter(cell, values, room);
    }
    return (struct resolution){.kind = RESOLVED_MISS};
}

/* The newest share of a node that is a number; the sibling count if it has none. */
static unsigned own_share(const struct cell *cell, const struct slice *values, node_id self,
                          share *number)
{
    unsigned found = cell->sibling_count;

    *number = 0;
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        share candidate;
        if (cell->siblings[i].dot.node != self || !is_value(cell, i) ||
            !read_share(values[i], &candidate))
            continue;
        if (found < cell->sibling_count && !is_newer(&cell->siblings[i], &cell->siblings[found]))
            continue;
        found = i;
        *number = candidate;
    }
    return found;
}

enum counter_add resolver_counter_add(const struct cell *cell, const struct slice *values,
                                      node_id self, uint64_t amount, bool is_decrement,
                                      struct counter_change *change)
{
    share sum, own, bound = 1;

    if (count_kind(cell, SIBLING_STUB) > 0)
        return COUNTER_UNKNOWN;
    if (count_kind(cell, SIBLING_VALUE) == 0)
        return COUNTER_MISSING;
    if (add_shares(cell, values, &sum) == 0)
        return COUNTER_NOT_NUMBER;
    unsigned replaced = own_share(cell, values, self, &own);
    uint64_t before = shown_total(sum), after = before + amount;
    if (is_decrement)
        after = amount < before ? before - amount : 0;
    share next = own + ((share)after - sum);
    for (unsigned i = 0; i < SHARE_DIGITS_MAX; i++)
        bound *= 10;
    if (next >= bound || next <= -bound)
        return COUNTER_NOT_NUMBER; /* clients have set numbers of such a length */
    change->replaces = replaced < cell->sibling_count ? &cell->siblings[replaced] : NULL;
    change->share_bytes = write_share(next, change->share);
    change->total = after;
    assert(change->share_bytes <= COUNTER_SHARE_BYTES_MAX);
    return COUNTER_ADDED;
}
