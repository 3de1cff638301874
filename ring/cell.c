#define XXH_STATIC_LINKING_ONLY /* the streaming state on our stack: nothing is allocated */
#include "ring/cell.h"
#include "ring/bytes.h"
#include <assert.h>
#include <xxhash.h>

static bool sibling_is_sound(const struct sibling *sibling)
{
    const struct sibling_register *reg = &sibling->reg;

    if (!dot_is_valid(sibling->dot) || !hlc_is_valid(reg->hlc) || reg->hlc < sibling->dot.hlc)
        return false;
    switch (sibling->kind) {
    case SIBLING_VALUE: return true;
    case SIBLING_TOMBSTONE:
    case SIBLING_STUB:
        return sibling->client_flags == 0 && sibling->value_bytes == 0 &&
               sibling->value_digest == 0 && sibling->value == 0;
    }
    return false;
}

bool cell_is_sound(const struct cell *cell)
{
    if (cell->sibling_count > cell->sibling_room || cell->sibling_count >= CELL_SIBLINGS_END)
        return false;
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        if (!sibling_is_sound(&cell->siblings[i]))
            return false;
        if (i > 0 && dot_compare(cell->siblings[i - 1].dot, cell->siblings[i].dot) >= 0)
            return false;
    }
    return context_is_sound(&cell->context) && cell->context.count <= CONTEXT_CELL_MAX;
}

void cell_init(struct cell *cell, struct sibling *siblings, unsigned sibling_room)
{
    assert(siblings != NULL || sibling_room == 0);
    context_clear(&cell->context);
    cell->siblings = siblings;
    cell->sibling_count = 0;
    cell->sibling_room = sibling_room;
    cell->intervals_dropped = 0;
    cell->is_live = false;
}

void cell_copy(struct cell *into, const struct cell *from)
{
    assert(cell_is_sound(from));
    assert(into->sibling_room >= from->sibling_count);
    context_copy(&into->context, &from->context);
    if (from->sibling_count > 0)
        memmove(into->siblings, from->siblings, from->sibling_count * sizeof from->siblings[0]);
    into->sibling_count = from->sibling_count;
    into->is_live = from->is_live;
}

struct sibling sibling_of_value(struct dot dot, uint64_t expires_ms, uint32_t client_flags,
                                uint32_t value_bytes, uint64_t value_digest, uint64_t value)
{
    assert(dot_is_valid(dot));
    return (struct sibling){.dot = dot,
                            .kind = SIBLING_VALUE,
                            .reg = {.hlc = dot.hlc, .expires_ms = expires_ms},
                            .client_flags = client_flags,
                            .value_bytes = value_bytes,
                            .value_digest = value_digest,
                            .value = value};
}

struct sibling sibling_of_tombstone(struct dot dot)
{
    assert(dot_is_valid(dot));
    return (struct sibling){.dot = dot, .kind = SIBLING_TOMBSTONE, .reg = {.hlc = dot.hlc}};
}

bool sibling_reads_like(const struct sibling *a, const struct sibling *b)
{
    assert(sibling_is_sound(a));
    assert(sibling_is_sound(b));
    if (a->kind != b->kind || a->kind == SIBLING_STUB)
        return a == b; /* nobody knows what is in a stub */
    return a->client_flags == b->client_flags && a->value_bytes == b->value_bytes &&
           a->value_digest == b->value_digest && a->reg.expires_ms == b->reg.expires_ms &&
           a->reg.is_stale == b->reg.is_stale && a->reg.explicit_cas == b->reg.explicit_cas;
}

/* Two registers of one time are the same register.  Should a peer be wrong about that, the order
 * still makes all replicas keep the same one. */
static int register_compare(const struct sibling_register *a, const struct sibling_register *b)
{
    if (a->hlc != b->hlc)
        return a->hlc < b->hlc ? -1 : 1;
    if (a->expires_ms != b->expires_ms)
        return a->expires_ms < b->expires_ms ? -1 : 1;
    if (a->explicit_cas != b->explicit_cas)
        return a->explicit_cas < b->explicit_cas ? -1 : 1;
    return (int)a->is_stale - (int)b->is_stale;
}

bool sibling_set_register(struct sibling *sibling, const struct sibling_register *reg)
{
    bool is_later = register_compare(reg, &sibling->reg) > 0;

    if (is_later)
        sibling->reg = *reg;
    assert(sibling_is_sound(sibling));
    return is_later;
}

/* Where the dot is, or where it would go. */
static unsigned place_of(const struct cell *cell, struct dot dot)
{
    unsigned low = 0, high = cell->sibling_count;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (dot_compare(cell->siblings[middle].dot, dot) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    assert(low <= cell->sibling_count);
    return low;
}

struct sibling *cell_find(const struct cell *cell, struct dot dot)
{
    unsigned i = place_of(cell, dot);

    assert(dot_is_valid(dot));
    if (i == cell->sibling_count || dot_compare(cell->siblings[i].dot, dot) != 0)
        return NULL;
    return &cell->siblings[i];
}

static void insert_sibling(struct cell *cell, const struct sibling *sibling)
{
    unsigned i = place_of(cell, sibling->dot);

    assert(cell->sibling_count < cell->sibling_room);
    assert(sibling_is_sound(sibling));
    memmove(&cell->siblings[i + 1], &cell->siblings[i],
            (cell->sibling_count - i) * sizeof cell->siblings[0]);
    cell->siblings[i] = *sibling;
    cell->sibling_count++;
}

static void fold(struct cell *cell)
{
    cell->intervals_dropped += context_fold(&cell->context, CONTEXT_CELL_MAX);
    assert(cell_is_sound(cell));
}

hlc_time cell_clock(const struct cell *cell)
{
    hlc_time newest = context_newest(&cell->context);

    for (unsigned i = 0; i < cell->sibling_count; i++)
        if (cell->siblings[i].dot.hlc > newest)
            newest = cell->siblings[i].dot.hlc; /* its interval may have been dropped */
    return newest;
}

bool cell_covers(const struct cell *cell, struct dot dot)
{
    assert(dot_is_valid(dot));
    return context_covers(&cell->context, dot);
}

/* Whether the dot comes after all that the cell and the author know of. */
static bool is_fresh(const struct cell *cell, const struct context *seen, struct dot dot)
{
    assert(dot_is_valid(dot));
#ifdef CELL_BREAK_TIME
    const struct interval *own = context_newest_own(&cell->context, dot.node);
    const struct interval *shown = context_newest_own(seen, dot.node);
    return !cell_covers(cell, dot) && !context_covers(seen, dot) &&
           (own == NULL || dot.hlc > own->last) && (shown == NULL || dot.hlc > shown->last);
#else
    return dot.hlc > cell_clock(cell) && dot.hlc > context_newest(seen);
#endif
}

/* What was seen by whoever says nothing about it. */
static const struct context nothing_seen;

enum cell_put cell_put_blind(struct cell *cell, const struct sibling *write)
{
    struct dot dot = write->dot;

    assert(cell_is_sound(cell));
    assert(write->kind != SIBLING_STUB);
    if (!is_fresh(cell, &nothing_seen, dot))
        return CELL_PUT_COVERED;
    cell->intervals_dropped += context_add(&cell->context, (struct interval){dot.node, 0, dot.hlc});
    cell->sibling_count = 0;
    insert_sibling(cell, write);
    cell->is_live = true;
    fold(cell);
    assert(cell->sibling_count == 1);
    return CELL_PUT_DONE;
}

/* The interval that a new dot extends, or a fresh one.  Only a live cell may extend: after
 * forgetting (eviction, restart) the node cannot claim to have seen its own earlier dots, even if
 * a peer handed it a context that names some of them. */
static struct interval own_interval(const struct cell *cell, struct dot dot)
{
    const struct interval *own = context_newest_own(&cell->context, dot.node);
    hlc_time first = dot.hlc;

    assert(own == NULL || own->last < dot.hlc);
#if defined CELL_BREAK_NAIVE
    first = 0;
#elif defined CELL_BREAK_NOLIVE
    if (own != NULL)
        first = own->first;
#else
    if (cell->is_live && own != NULL)
        first = own->first;
#endif
    assert(first <= dot.hlc);
    return (struct interval){dot.node, first, dot.hlc};
}

static void remove_sibling(struct cell *cell, unsigned i)
{
    assert(i < cell->sibling_count);
    cell->sibling_count--;
    memmove(&cell->siblings[i], &cell->siblings[i + 1],
            (cell->sibling_count - i) * sizeof cell->siblings[0]);
}

unsigned cell_remove_seen(struct cell *cell, const struct context *seen)
{
    unsigned before = cell->sibling_count;

    assert(cell_is_sound(cell));
    assert(seen->count <= CONTEXT_CLIENT_MAX);
    for (unsigned i = 0; i < cell->sibling_count;) {
        if (context_covers(seen, cell->siblings[i].dot))
            remove_sibling(cell, i);
        else
            i++;
    }
    cell->intervals_dropped += context_join(&cell->context, seen);
    fold(cell);
    assert(cell->sibling_count <= before);
    return before - cell->sibling_count;
}

enum cell_put cell_put_context(struct cell *cell, const struct sibling *write,
                               const struct context *seen)
{
    struct dot dot = write->dot;

    assert(cell_is_sound(cell));
    assert(write->kind != SIBLING_STUB);
    assert(seen->count <= CONTEXT_CLIENT_MAX);
    if (!is_fresh(cell, seen, dot))
        return CELL_PUT_COVERED;
    struct interval own = own_interval(cell, dot);
    cell_remove_seen(cell, seen);
    insert_sibling(cell, write);
    cell->intervals_dropped += context_add(&cell->context, own);
    cell->is_live = true;
    fold(cell);
    assert(cell_find(cell, dot) != NULL);
    return CELL_PUT_DONE;
}

enum cell_put cell_put_again(struct cell *cell, const struct sibling *write, struct dot refused)
{
    struct context seen;

    assert(cell_find(cell, refused) != NULL);
    assert(write->dot.node == refused.node);
    context_clear(&seen);
#ifndef CELL_BREAK_AGAIN
    context_add(&seen, (struct interval){refused.node, refused.hlc, refused.hlc});
#endif
    return cell_put_context(cell, write, &seen);
}

enum cell_put cell_put_last_write_wins(struct cell *cell, const struct sibling *write)
{
    struct dot dot = write->dot;

    assert(cell_is_sound(cell));
    assert(write->kind != SIBLING_STUB);
    if (!is_fresh(cell, &nothing_seen, dot))
        return CELL_PUT_COVERED;
    context_clear(&cell->context);
#ifdef CELL_BREAK_EQUALTIME
    context_add(&cell->context, (struct interval){NODE_ANY, 0, dot.hlc});
#else
    context_add(&cell->context, (struct interval){NODE_ANY, 0, dot.hlc - 1});
#endif
    context_add(&cell->context, (struct interval){dot.node, dot.hlc, dot.hlc});
    cell->sibling_count = 0;
    insert_sibling(cell, write);
    cell->is_live = true;
    assert(cell_is_sound(cell));
    assert(cell_covers(cell, dot));
    return CELL_PUT_DONE;
}

/* Makes `mine` the best knowledge of one dot: a value rather than a stub, the later register. */
static void merge_sibling(struct sibling *mine, const struct sibling *theirs)
{
    struct sibling_register reg = mine->reg;

    assert(dot_compare(mine->dot, theirs->dot) == 0);
#ifndef CELL_BREAK_REGISTER
    if (register_compare(&theirs->reg, &reg) > 0)
        reg = theirs->reg;
#endif
    bool is_held_there_only = mine->kind == SIBLING_STUB && theirs->kind != SIBLING_STUB;
    /* Of one dot there is one value only.  Should a peer be wrong about that, the order still
     * makes all replicas keep the same one. */
    bool is_at_odds = theirs->kind != SIBLING_STUB && mine->kind != SIBLING_STUB &&
                      (theirs->kind > mine->kind ||
                       (theirs->kind == mine->kind && theirs->value_digest > mine->value_digest));
#ifdef CELL_BREAK_NOREFILL
    is_held_there_only = false;
#endif
    if (is_held_there_only || is_at_odds)
        *mine = *theirs;
    mine->reg = reg;
    assert(sibling_is_sound(mine));
}

/* Whether a cell that does not hold the dot has seen it: then something replaced it. */
static bool is_superseded(const struct cell *cell, struct dot dot)
{
    assert(cell_find(cell, dot) == NULL);
#ifdef CELL_BREAK_COMEBACK
    return false;
#else
    return context_covers(&cell->context, dot);
#endif
}

void cell_merge(struct cell *into, const struct cell *other)
{
    assert(cell_is_sound(into));
    assert(cell_is_sound(other));
    assert(into != other);
    assert(into->sibling_room >= into->sibling_count + other->sibling_count);
    for (unsigned i = 0; i < into->sibling_count;) {
        struct sibling *mine = &into->siblings[i];
        const struct sibling *theirs = cell_find(other, mine->dot);
        if (theirs != NULL)
            merge_sibling(mine, theirs);
        if (theirs == NULL && is_superseded(other, mine->dot))
            remove_sibling(into, i);
        else
            i++;
    }
    for (unsigned i = 0; i < other->sibling_count; i++) {
        const struct sibling *theirs = &other->siblings[i];
        if (cell_find(into, theirs->dot) == NULL && !is_superseded(into, theirs->dot))
            insert_sibling(into, theirs);
    }
    into->intervals_dropped += context_join(&into->context, &other->context);
    fold(into);
}

void cell_evict_sibling(struct cell *cell, struct sibling *sibling)
{
    assert(sibling >= cell->siblings);
    assert(sibling < cell->siblings + cell->sibling_count);
    if (sibling->kind != SIBLING_VALUE)
        return;
#ifdef CELL_BREAK_KEEPCONTEXT
    remove_sibling(cell, (unsigned)(sibling - cell->siblings));
#else
    *sibling = (struct sibling){.dot = sibling->dot, .kind = SIBLING_STUB, .reg = sibling->reg};
    assert(sibling_is_sound(sibling));
#endif
}

void cell_evict(struct cell *cell)
{
    for (unsigned i = cell->sibling_count; i > 0; i--)
        cell_evict_sibling(cell, &cell->siblings[i - 1]);
    assert(cell_is_sound(cell));
}

unsigned cell_expire(struct cell *cell, uint64_t now_ms)
{
    unsigned expired = 0;

    assert(cell_is_sound(cell));
    for (unsigned i = cell->sibling_count; i > 0; i--) {
        struct sibling *sibling = &cell->siblings[i - 1];
        if (sibling->kind == SIBLING_VALUE && sibling->reg.expires_ms != 0 &&
            sibling->reg.expires_ms <= now_ms) {
#ifdef CELL_BREAK_EXPIRECONTEXT
            remove_sibling(cell, i - 1);
#else
            cell_evict_sibling(cell, sibling);
#endif
            expired++;
        }
    }
    assert(cell_is_sound(cell));
    return expired;
}

void cell_forget(struct cell *cell, struct sibling *sibling)
{
    struct dot dot = sibling->dot;

    assert(cell_is_sound(cell));
    assert(cell_find(cell, dot) == sibling);
    remove_sibling(cell, (unsigned)(sibling - cell->siblings));
#ifndef CELL_BREAK_FORGETKEEP
    cell->intervals_dropped += context_cut(&cell->context, dot);
#endif
#ifndef CELL_BREAK_FORGETLIVE
    cell->is_live = false;
#endif
    fold(cell);
    assert(cell_find(cell, dot) == NULL);
}

unsigned cell_flush(struct cell *cell, hlc_time floor)
{
    unsigned before = cell->sibling_count;

    assert(cell_is_sound(cell));
#ifdef CELL_BREAK_FLOOR
    floor |= ((hlc_time)1 << HLC_COUNT_BITS) - 1;
#endif
    for (unsigned i = before; i > 0; i--)
        if (cell->siblings[i - 1].dot.hlc <= floor)
            remove_sibling(cell, i - 1);
    assert(cell->sibling_count <= before);
    return before - cell->sibling_count;
}

bool cell_is_reapable(const struct cell *cell, hlc_time time)
{
    assert(cell_is_sound(cell));
    for (unsigned i = 0; i < cell->sibling_count; i++)
        if (cell->siblings[i].kind != SIBLING_TOMBSTONE || cell->siblings[i].dot.hlc >= time)
            return false;
    return cell->sibling_count > 0;
}

hlc_time cell_reap_before(uint64_t wall_ms, uint64_t grace_ms)
{
    uint64_t step_ms = grace_ms / 8 + 1;
    uint64_t now_ms = wall_ms / step_ms * step_ms;

    assert(now_ms <= wall_ms);
    return now_ms > grace_ms ? hlc_of_ms(now_ms - grace_ms) : 0;
}

unsigned cell_shown(const struct cell *cell, struct context *shown)
{
    unsigned dropped = 0;

    assert(cell_is_sound(cell));
    context_copy(shown, &cell->context);
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        const struct sibling *sibling = &cell->siblings[i];
        struct dot dot = sibling->dot;
        if (sibling->kind != SIBLING_STUB) {
            /* Its interval may have been dropped from the cell; who was shown it has seen it. */
            if (!context_covers(shown, dot))
                dropped += context_add(shown, (struct interval){dot.node, dot.hlc, dot.hlc});
            continue;
        }
#ifndef CELL_BREAK_NOCUT
        dropped += context_cut(shown, dot);
#endif
    }
    dropped += context_fold(shown, CONTEXT_CLIENT_MAX);
    assert(shown->count <= CONTEXT_CLIENT_MAX);
    return dropped;
}

const struct sibling *cell_newest(const struct cell *cell, unsigned kinds)
{
    const struct sibling *newest = NULL;

    assert((kinds & ~(unsigned)SIBLINGS_ALL) == 0);
    /* They are sorted by node first: of equal times the last one met has the higher node. */
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        const struct sibling *sibling = &cell->siblings[i];
        if ((sibling->kind & kinds) != 0 && (newest == NULL || sibling->dot.hlc >= newest->dot.hlc))
            newest = sibling;
    }
    return newest;
}

/* Whether a sibling before `i`, not covered by `seen`, reads the same. */
static bool is_repeat(const struct cell *cell, unsigned i, const struct context *seen)
{
    assert(i < cell->sibling_count);
    for (unsigned j = 0; j < i; j++) {
        const struct sibling *earlier = &cell->siblings[j];
        if (seen != NULL && context_covers(seen, earlier->dot))
            continue;
        if (sibling_reads_like(earlier, &cell->siblings[i]))
            return true;
    }
    return false;
}

unsigned cell_count_distinct(const struct cell *cell, unsigned kinds)
{
    unsigned count = 0;

    assert(cell_is_sound(cell));
    for (unsigned i = 0; i < cell->sibling_count; i++)
        if ((cell->siblings[i].kind & kinds) != 0 && !is_repeat(cell, i, NULL))
            count++;
    assert(count <= cell->sibling_count);
    return count;
}

unsigned cell_siblings_after(const struct cell *cell, const struct sibling *write,
                             const struct context *seen)
{
    unsigned count = 1;

    assert(cell_is_sound(cell));
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        const struct sibling *sibling = &cell->siblings[i];
        if (context_covers(seen, sibling->dot) || sibling_reads_like(sibling, write))
            continue;
        if (!is_repeat(cell, i, seen))
            count++;
    }
    assert(count <= cell->sibling_count + 1);
    return count;
}

#define DIGESTED_BYTES 41 /* of a sibling */

static void write_digested(unsigned char *bytes, const struct sibling *sibling)
{
    bytes_write_u64(bytes, sibling->dot.node);
    bytes_write_u64(bytes + 8, sibling->dot.hlc);
    bytes_write_u64(bytes + 16, sibling->reg.hlc);
    bytes_write_u64(bytes + 24, sibling->reg.expires_ms);
    bytes_write_u64(bytes + 32, sibling->reg.explicit_cas);
    bytes[40] = (unsigned char)((sibling->kind == SIBLING_TOMBSTONE ? 1 : 0) |
                                (sibling->reg.is_stale ? 2 : 0));
}

struct cell_digest cell_state_digest(const struct cell *cell)
{
    unsigned char bytes[DIGESTED_BYTES];
    XXH3_state_t state;
    XXH128_hash_t hash;

    assert(cell_is_sound(cell));
    if (cell->sibling_count == 1) { /* the same in one go: most cells are like this */
        write_digested(bytes, &cell->siblings[0]);
        hash = XXH3_128bits(bytes, sizeof bytes);
        return (struct cell_digest){hash.low64, hash.high64};
    }
    XXH3_INITSTATE(&state);
    XXH3_128bits_reset(&state);
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        write_digested(bytes, &cell->siblings[i]);
        XXH3_128bits_update(&state, bytes, sizeof bytes);
    }
    hash = XXH3_128bits_digest(&state);
    return (struct cell_digest){hash.low64, hash.high64};
}

/* The cas that the client chose for the only sibling; 0 if there is none. */
static uint64_t chosen_token(const struct cell *cell)
{
    assert(cell->sibling_count > 0);
    return cell->sibling_count == 1 ? cell->siblings[0].reg.explicit_cas : 0;
}

uint64_t cell_token(const struct cell *cell)
{
    XXH3_state_t state;
    uint64_t token = chosen_token(cell);

    assert(cell_is_sound(cell));
    if (token != 0)
        return token;
    XXH3_INITSTATE(&state);
    XXH3_64bits_reset(&state);
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        unsigned char bytes[16];
        bytes_write_u64(bytes, cell->siblings[i].dot.node);
        bytes_write_u64(bytes + 8, cell->siblings[i].dot.hlc);
        XXH3_64bits_update(&state, bytes, sizeof bytes);
    }
    uint64_t newest_ms = hlc_ms(cell_newest(cell, SIBLINGS_ALL)->dot.hlc);
    token = hlc_of_ms(newest_ms) | hlc_count(XXH3_64bits_digest(&state));
    if (token == 0)
        token = 1;
    assert(hlc_is_valid(token));
    return token;
}

uint64_t cell_token_standalone(const struct cell *cell)
{
    uint64_t token = chosen_token(cell);

    if (token == 0)
        token = cell_newest(cell, SIBLINGS_ALL)->dot.hlc;
    assert(token != 0);
    return token;
}

bool cell_is_common(const struct cell *cell)
{
    assert(cell_is_sound(cell));
    if (cell->sibling_count != 1 || cell->context.count != 1)
        return false;
    const struct sibling *sibling = &cell->siblings[0];
    const struct interval *seen = &cell->context.intervals[0];
    return sibling->kind == SIBLING_VALUE && seen->node == sibling->dot.node && seen->first == 0 &&
           seen->last == sibling->dot.hlc;
}

void cell_make_common(struct cell *cell, const struct sibling *value, bool is_live)
{
    assert(value->kind == SIBLING_VALUE);
    context_clear(&cell->context);
    context_add(&cell->context, (struct interval){value->dot.node, 0, value->dot.hlc});
    cell->sibling_count = 0;
    insert_sibling(cell, value);
    cell->is_live = is_live;
    assert(cell_is_common(cell));
}
