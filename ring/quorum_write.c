/* Compile-time switches that break one rule each, for tests only:
 *
 *   RING_BREAK_ACK_EARLY     the client hears before W have stored
 *   RING_BREAK_NO_HINT       a fallback is not told whom it stands in for
 *   RING_BREAK_COVERED       a covered write counts as stored
 *   RING_BREAK_WAIT_FOR_DOWN a node that is believed down is waited for
 *   RING_BREAK_COUNT_TWICE   an owner and its stand-in count as two copies
 *   RING_BREAK_NO_HEDGE      a slow node is not replaced */
#include "ring/quorum_write.h"
#include <assert.h>
#include <inttypes.h>
#include <string.h>

/* How many nodes are to have it: N, and at least one. */
static unsigned wanted(const struct quorum_write *write)
{
    return write->route->copies > 0 ? write->route->copies : 1;
}

void quorum_write_init(struct quorum_write *write, struct route *route, uint64_t operation,
                       unsigned needed, uint64_t deadline_ms)
{
    assert(route_is_sound(route));
    assert(needed >= 1);
    write->route = route;
    write->operation = operation;
    write->started_ms = 0;
    write->deadline_ms = deadline_ms;
    write->dot = (struct dot){NODE_NONE, 0};
    write->round = 0;
    write->needed = (uint8_t)(needed < wanted(write) ? needed : wanted(write));
    write->stored = write->refused = 0;
    write->is_answered = write->is_done = write->awaits_rewrite = false;
    write->covered_by = 0;
    memset(write->nodes, 0, route->count * sizeof write->nodes[0]);
    assert(write->needed >= 1);
}

static void ask(struct quorum_write *write, unsigned i, uint64_t now_ms,
                struct request_effects *effects)
{
    const struct route_node *node = &write->route->nodes[i];
    struct write_node *target = &write->nodes[i];
    node_id hint_for = NODE_NONE;

    assert(!node->is_self);
#ifndef RING_BREAK_NO_HINT
    if (target->owner != i)
        hint_for = write->route->nodes[target->owner].id;
#endif
    target->state = WRITE_NODE_WAITING;
    target->due_ms = (uint32_t)(now_ms - write->started_ms) + node->hedge_ms;
    request_send(effects, node->id, SEND_STORE, hint_for);
}

/* Copies that are stored: an owner and who stands in for it have one between them, since the
 * stand-in's goes when its hint has come to the owner. */
static void count_stored(struct quorum_write *write)
{
    const struct write_node *nodes = write->nodes;

    write->stored = 0;
    for (unsigned i = 0; i < write->route->count; i++) {
        bool is_counted = nodes[i].state == WRITE_NODE_STORED;
#ifndef RING_BREAK_COUNT_TWICE
        for (unsigned j = 0; j < i && is_counted; j++)
            is_counted = nodes[j].state != WRITE_NODE_STORED || nodes[j].owner != nodes[i].owner;
#endif
        write->stored = (uint8_t)(write->stored + is_counted);
    }
    assert(write->stored <= write->route->count);
}

/* Gives the node the copy meant for `owner`, which may be itself. */
static void take(struct quorum_write *write, unsigned i, unsigned owner, uint64_t now_ms,
                 struct request_effects *effects)
{
    assert(write->nodes[i].state == WRITE_NODE_UNUSED);
    write->nodes[i].owner = (uint8_t)owner;
    if (i == write->route->self) {
        write->nodes[i].state = WRITE_NODE_STORED;
        count_stored(write);
        effects->merges_own = true; /* others may have been done with the copy here */
#ifndef RING_BREAK_NO_HINT
        if (owner != i)
            effects->own_hint_for = write->route->nodes[owner].id;
#endif
        return;
    }
    ask(write, i, now_ms, effects);
}

/* Whether the node stood in for an owner that has stored it after all. */
static bool is_spare(const struct quorum_write *write, unsigned i)
{
    const struct write_node *node = &write->nodes[i];

#ifdef RING_BREAK_COUNT_TWICE
    return false;
#endif
    return node->state == WRITE_NODE_STORED && node->owner != i &&
           write->nodes[node->owner].state == WRITE_NODE_STORED;
}

/* The next node that may stand in for somebody; `count` if there is none. */
static unsigned next_candidate(const struct quorum_write *write)
{
    const struct route *route = write->route;
    unsigned i = route->copies;

    while (i < route->count &&
           (write->nodes[i].state != WRITE_NODE_UNUSED || !route->nodes[i].is_reachable))
        i++;
    for (unsigned j = route->copies; i == route->count && j < route->count; j++)
        if (is_spare(write, j) && route->nodes[j].is_reachable)
            return j;
    return i;
}

/* Another node takes the place of one that stored for `owner`, or should have. */
static void replace(struct quorum_write *write, unsigned owner, uint64_t now_ms,
                    struct request_effects *effects)
{
    const struct route *route = write->route;
    unsigned i = next_candidate(write);

    if (i == route->count)
        return;
    if (effects->trace != NULL)
        ring_trace_say(effects->trace, "%" PRIu64 " stands in for %" PRIu64, route->nodes[i].id,
                       route->nodes[owner].id);
    write->nodes[i].state = WRITE_NODE_UNUSED; /* a spare one gets another hint to keep */
    take(write, i, owner, now_ms, effects);
}

static void on_applied(struct quorum_write *write, const struct write_event *event,
                       struct request_effects *effects)
{
    const struct route *route = write->route;

    assert(write->started_ms == 0);
    assert(event->dot.node == NODE_NONE || dot_is_valid(event->dot));
    write->started_ms = event->now_ms;
    write->dot = event->dot;
    for (unsigned i = 0; i < route->copies; i++)
        if (route->nodes[i].is_reachable)
            take(write, i, i, event->now_ms, effects);
    for (unsigned i = 0; i < route->copies; i++)
        if (!route->nodes[i].is_reachable)
            replace(write, i, event->now_ms, effects);
    if (route->copies == 0)
        take(write, route->self, route->self, event->now_ms, effects);
    effects->merges_own = false; /* it was written just now, with its hint */
    effects->own_hint_for = NODE_NONE;
}

/* Slow ones get a stand-in, as long as there is one; a late answer still counts. */
static void replace_slow(struct quorum_write *write, uint64_t now_ms,
                         struct request_effects *effects)
{
    for (unsigned i = 0; i < write->route->count; i++) {
        struct write_node *node = &write->nodes[i];
        if (node->state != WRITE_NODE_WAITING || write->started_ms + node->due_ms > now_ms ||
            next_candidate(write) == write->route->count)
            continue;
        node->state = WRITE_NODE_LATE;
#ifdef RING_BREAK_NO_HEDGE
        (void)effects;
#else
        replace(write, node->owner, now_ms, effects);
#endif
    }
}

static bool is_awaited(const struct write_node *node)
{
    return node->state == WRITE_NODE_WAITING || node->state == WRITE_NODE_LATE;
}

static void on_refused(struct quorum_write *write, unsigned i, uint64_t now_ms,
                       struct request_effects *effects)
{
    bool was_replaced = write->nodes[i].state == WRITE_NODE_LATE;

    assert(is_awaited(&write->nodes[i]));
    write->nodes[i].state = WRITE_NODE_REFUSED;
    write->refused++;
    if (!was_replaced)
        replace(write, write->nodes[i].owner, now_ms, effects);
}

/* Whether somebody has the owner's copy, or is to answer soon. */
static bool is_served(const struct quorum_write *write, unsigned owner)
{
    for (unsigned i = 0; i < write->route->count; i++)
        if (write->nodes[i].owner == owner && (write->nodes[i].state == WRITE_NODE_STORED ||
                                               write->nodes[i].state == WRITE_NODE_WAITING))
            return true;
    return false;
}

static void on_stored(struct quorum_write *write, unsigned i, uint64_t now_ms,
                      struct request_effects *effects)
{
    assert(is_awaited(&write->nodes[i]));
    write->nodes[i].state = WRITE_NODE_STORED;
    count_stored(write);
    for (unsigned owner = 0; owner < write->route->copies; owner++)
        if (!is_served(write, owner)) /* a spare one may have been found */
            replace(write, owner, now_ms, effects);
    replace_slow(write, now_ms, effects);
}

static void on_covered(struct quorum_write *write, unsigned i, const struct write_event *event,
                       struct request_effects *effects)
{
#ifdef RING_BREAK_COVERED
    on_stored(write, i, event->now_ms, effects);
#else
    if (event->reply->is_flushed && write->is_answered) {
        on_stored(write, i, event->now_ms, effects); /* it was, and is gone like all the others */
        return;
    }
    /* Only what is new can be covered: a register cannot, whatever the peer says. */
    if (write->dot.node == NODE_NONE || write->round + 1 >= WRITE_ROUNDS_MAX) {
        on_refused(write, i, event->now_ms, effects);
        return;
    }
    write->awaits_rewrite = true;
    write->covered_by = (uint8_t)i;
    effects->rewrites = true;
    effects->rewrite_clock = event->reply->clock;
#endif
}

static void on_reply(struct quorum_write *write, const struct write_event *event,
                     struct request_effects *effects)
{
    const struct store_reply *reply = event->reply;
    unsigned i = route_find(write->route, event->from);

    if (i == write->route->count || reply->operation != write->operation ||
        reply->round != write->round || !is_awaited(&write->nodes[i]))
        return;
    switch (reply->status) {
    case STORE_STORED: on_stored(write, i, event->now_ms, effects); break;
    case STORE_COVERED: on_covered(write, i, event, effects); break;
    case STORE_REFUSED_CLOCK:
    case STORE_REFUSED_MEMORY:
    case STORE_REFUSED_HINTS: on_refused(write, i, event->now_ms, effects); break;
    }
}

/* All that have it, or were asked for it, get the new cell. */
static void on_rewritten(struct quorum_write *write, const struct write_event *event,
                         struct request_effects *effects)
{
    assert(event->dot.node == write->dot.node);
    assert(event->dot.hlc > write->dot.hlc);
    write->dot = event->dot;
    write->round++;
    for (unsigned i = 0; i < write->route->count; i++) {
        struct write_node *node = &write->nodes[i];
        if (i != write->route->self && (is_awaited(node) || node->state == WRITE_NODE_STORED))
            ask(write, i, event->now_ms, effects);
    }
    count_stored(write);
    assert(write->round < WRITE_ROUNDS_MAX);
}

static void on_lost(struct quorum_write *write, const struct write_event *event,
                    struct request_effects *effects)
{
#ifdef RING_BREAK_WAIT_FOR_DOWN
    (void)write, (void)event, (void)effects;
#else
    unsigned i = route_find(write->route, event->from);

    if (i == write->route->count || i == write->route->self)
        return;
    route_mark_unreachable(write->route, event->from);
    if (!is_awaited(&write->nodes[i]))
        return;
    bool was_replaced = write->nodes[i].state == WRITE_NODE_LATE;
    write->nodes[i].state = WRITE_NODE_LOST;
    if (!was_replaced)
        replace(write, write->nodes[i].owner, event->now_ms, effects);
#endif
}

static bool waits_for_anyone(const struct quorum_write *write)
{
    for (unsigned i = 0; i < write->route->count; i++)
        if (is_awaited(&write->nodes[i]))
            return true;
    return false;
}

static void answer(struct quorum_write *write, enum request_answer what,
                   struct request_effects *effects)
{
    assert(!write->is_answered);
    write->is_answered = true;
    request_answers(effects, what, write->stored, write->needed);
    if (effects->trace != NULL)
        ring_trace_say(effects->trace, "%u of %u stored, %u refused -> answer %s", write->stored,
                       write->needed, write->refused, request_answer_name(what));
}

/* What the state means for the client, and whether anything is left to do. */
static void conclude(struct quorum_write *write, uint64_t now_ms, struct request_effects *effects)
{
    bool is_over = now_ms >= write->deadline_ms;
    unsigned needed = write->needed;

#ifdef RING_BREAK_ACK_EARLY
    needed = 1;
#endif
    if (write->awaits_rewrite)
        return;
    if (!write->is_answered && write->stored >= needed)
        answer(write, ANSWER_DONE, effects);
    if (is_over || write->stored >= wanted(write) || !waits_for_anyone(write)) {
        if (!write->is_answered)
            answer(write, ANSWER_WRITE_FAILED, effects);
        write->is_done = true;
    }
    effects->is_done = write->is_done;
}

void quorum_write_step(struct quorum_write *write, const struct write_event *event,
                       struct request_effects *effects)
{
    bool was_answered = write->is_answered;
    bool awaited_rewrite = write->awaits_rewrite;

    request_effects_clear(effects);
    if (write->is_done) {
        effects->is_done = true;
        return;
    }
    if (awaited_rewrite)
        write->awaits_rewrite = false;
    switch (event->type) {
    case WRITE_APPLIED: on_applied(write, event, effects); break;
    case WRITE_REPLY: on_reply(write, event, effects); break;
    case WRITE_LOST: on_lost(write, event, effects); break;
    case WRITE_REWRITTEN:
        assert(awaited_rewrite);
        on_rewritten(write, event, effects);
        break;
    case WRITE_SUPERSEDED:
        assert(awaited_rewrite);
        on_stored(write, write->covered_by, event->now_ms, effects);
        break;
    case WRITE_REWRITE_REFUSED:
        assert(awaited_rewrite);
        on_refused(write, write->covered_by, event->now_ms, effects);
        break;
    case WRITE_TICK: replace_slow(write, event->now_ms, effects); break;
    }
    conclude(write, event->now_ms, effects);
    assert(!effects->answers || !was_answered); /* the client hears once */
    assert(!write->is_done || write->is_answered);
}

uint64_t quorum_write_deadline_ms(const struct quorum_write *write)
{
    uint64_t deadline_ms = write->deadline_ms;

    if (write->is_done)
        return UINT64_MAX;
    if (next_candidate(write) == write->route->count)
        return deadline_ms; /* nobody could replace a slow one */
    for (unsigned i = 0; i < write->route->count; i++) {
        const struct write_node *node = &write->nodes[i];
        if (node->state == WRITE_NODE_WAITING && write->started_ms + node->due_ms < deadline_ms)
            deadline_ms = write->started_ms + node->due_ms;
    }
    return deadline_ms;
}

node_id quorum_write_own_hint(const struct route *route)
{
    unsigned stand_ins = 0; /* fallbacks before this node */

    if (route->self < route->copies)
        return NODE_NONE;
    for (unsigned i = route->copies; i < route->self; i++)
        stand_ins += route->nodes[i].is_reachable ? 1 : 0;
    for (unsigned i = 0; i < route->copies; i++)
        if (!route->nodes[i].is_reachable && stand_ins-- == 0)
            return route->nodes[i].id;
    return NODE_NONE;
}
