/* Compile-time switches that break one rule each, for tests only:
 *
 *   RING_BREAK_DRIFT        a cell from far in the future is merged
 *   RING_BREAK_FLUSH        what was flushed comes back with the next merge
 *   RING_BREAK_COVERED_ACK  a replica says stored when it has seen the new dot already
 *   RING_BREAK_HINT_BOUND   a hint is acknowledged though there is no room, and not kept */
#include "ring/replica.h"
#include "ring/flush.h"
#include <assert.h>

hlc_time replica_newest(const struct cell *cell)
{
    hlc_time newest = 0;

    for (unsigned i = 0; i < cell->context.count; i++)
        if (cell->context.intervals[i].last > newest)
            newest = cell->context.intervals[i].last;
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        const struct sibling *sibling = &cell->siblings[i];
        assert(sibling->reg.hlc >= sibling->dot.hlc);
        if (sibling->reg.hlc > newest)
            newest = sibling->reg.hlc;
    }
    return newest;
}

bool replica_admit(const struct cell *cell, const struct replica_now *now)
{
    hlc_time newest = replica_newest(cell);

#ifdef RING_BREAK_DRIFT
    return newest == 0 ||
           hlc_clock_merge(now->clock, newest, now->wall_ms, HLC_MS_END) == HLC_MERGED;
#else
    return newest == 0 ||
           hlc_clock_merge(now->clock, newest, now->wall_ms, now->drift_max_ms) == HLC_MERGED;
#endif
}

/* What was flushed does not exist, here or in what a merge brings. */
static void flush(struct cell *cell, hlc_time floor)
{
#ifdef RING_BREAK_FLUSH
    (void)cell, (void)floor;
#else
    cell_flush(cell, floor);
#endif
}

static bool is_same_state(const struct cell_digest *a, const struct cell_digest *b)
{
    return a->low == b->low && a->high == b->high;
}

static unsigned count_stubs(const struct cell *cell, uint64_t wall_ms)
{
    unsigned stubs = 0;

    for (unsigned i = 0; i < cell->sibling_count; i++) {
        const struct sibling *sibling = &cell->siblings[i];
        bool has_expired = sibling->reg.expires_ms != 0 && sibling->reg.expires_ms <= wall_ms;
        stubs += sibling->kind == SIBLING_STUB && !has_expired ? 1 : 0;
    }
    return stubs;
}

/* Merges, and says whether anything came of it: siblings, registers, values for stubs, context. */
static bool merge_known(struct cell *own, const struct cell *other, hlc_time flushed_up_to)
{
    struct cell_digest before = cell_state_digest(own);
    unsigned held = own->sibling_count - count_stubs(own, 0);
    struct context seen;

    context_copy(&seen, &own->context);
    cell_merge(own, other);
    flush(own, flushed_up_to);
    struct cell_digest after = cell_state_digest(own);
    return !is_same_state(&before, &after) || held != own->sibling_count - count_stubs(own, 0) ||
           !context_equal(&seen, &own->context);
}

static bool merge(struct cell *own, const struct store_request *request,
                  const struct replica_now *now)
{
    if (request->dot.node == NODE_NONE || cell_find(own, request->dot) != NULL)
        return merge_known(own, request->cell, now->flushed_up_to);
    cell_merge(own, request->cell);
    flush(own, now->flushed_up_to);
    return true;
}

/* Whether the write that the request brings was seen here before, but not this way: what the node
 * holds is then newer, or a clock is slow. */
static bool is_covered(const struct cell *own, const struct store_request *request,
                       const struct replica_now *now)
{
#ifdef RING_BREAK_COVERED_ACK
    return false;
#endif
    if (request->dot.node == NODE_NONE || cell_find(own, request->dot) != NULL)
        return false;
    return cell_covers(own, request->dot) || !flush_keeps(now->flushed_up_to, request->dot.hlc);
}

static enum store_status refusal(const struct cell *own, const struct store_request *request,
                                 const struct replica_now *now)
{
    bool is_new_here = own->sibling_count == 0;

    if (!replica_admit(request->cell, now))
        return STORE_REFUSED_CLOCK;
    if (request->is_repair && is_new_here && !now->has_room)
        return STORE_REFUSED_MEMORY;
#ifndef RING_BREAK_HINT_BOUND
    if (request->hint_for != NODE_NONE && !now->is_owner && !now->has_hint_room)
        return STORE_REFUSED_HINTS;
#endif
    return STORE_STORED;
}

struct replica_stored replica_store(struct cell *own, const struct store_request *request,
                                    const struct replica_now *now)
{
    struct replica_stored stored = {
        .reply = {.operation = request->operation, .round = request->round}};

    assert(cell_is_sound(own));
    flush(own, now->flushed_up_to);
    stored.reply.status = refusal(own, request, now);
    if (stored.reply.status != STORE_STORED)
        return stored;
    if (is_covered(own, request, now)) {
        hlc_time clock = cell_clock(own);
        stored.reply.status = STORE_COVERED;
        stored.reply.clock = clock > now->flushed_up_to ? clock : now->flushed_up_to;
        stored.reply.is_flushed = !cell_covers(own, request->dot);
        return stored;
    }
    stored.is_changed = merge(own, request, now);
    stored.makes_hint = request->hint_for != NODE_NONE && !now->is_owner && now->has_hint_room;
    return stored;
}

struct fetch_reply replica_fetch(const struct cell *own, const struct fetch_request *request,
                                 const struct replica_now *now)
{
    struct fetch_reply reply = {.operation = request->operation,
                                .round = request->round,
                                .sibling_count = (uint16_t)own->sibling_count,
                                .is_warming = now->is_warming};

    assert(own->sibling_count < CELL_SIBLINGS_END);
    if (own->sibling_count == 0)
        return reply;
    reply.digest = cell_state_digest(own);
    reply.stub_count = (uint16_t)count_stubs(own, now->wall_ms);
    if (request->is_full)
        reply.cell = own;
    return reply;
}

enum replica_rewrite replica_rewrite(struct cell *own, struct cell *sent, struct dot old,
                                     struct dot fresh, bool is_lww)
{
    const struct sibling *written = cell_find(sent, old);

    assert(written != NULL);
    assert(fresh.node == old.node);
    if (cell_find(own, old) == NULL && cell_covers(own, old))
        return REPLICA_SUPERSEDED;
    struct sibling write = *written;
    write.dot = fresh;
    if (write.reg.hlc < fresh.hlc)
        write.reg.hlc = fresh.hlc;
    cell_merge(own, sent); /* it may have been evicted since */
    enum cell_put put =
        is_lww ? cell_put_last_write_wins(own, &write) : cell_put_again(own, &write, old);
    if (put == CELL_PUT_COVERED)
        return REPLICA_COVERED;
    cell_copy(sent, own);
    assert(cell_find(sent, fresh) != NULL);
    return REPLICA_REWRITTEN;
}
