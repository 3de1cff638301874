/* Compile-time switches that break one rule each, for tests only:
 *
 *   RING_BREAK_READ_EARLY      one answer fewer than R is enough
 *   RING_BREAK_WARMING_MISS    what a warming owner does not have counts as a miss
 *   RING_BREAK_FALLBACK_COUNTS a fallback's answer counts like an owner's
 *   RING_BREAK_IGNORE_DIGEST   a digest that differs counts as agreement
 *   RING_BREAK_NO_REFILL       a stub is shown as a miss although others hold the value
 *   RING_BREAK_NO_REPAIR       stale replicas stay stale
 *   RING_BREAK_WAIT_FOR_DOWN   a node that is believed down is waited for */
#include "ring/quorum_read.h"
#include <assert.h>
#include <inttypes.h>
#include <string.h>

static unsigned wanted(const struct quorum_read *read)
{
    return read->route->copies > 0 ? read->route->copies : 1;
}

void quorum_read_init(struct quorum_read *read, const struct quorum_read_start *start)
{
    assert(route_is_sound(start->route));
    assert(start->needed >= 1);
    assert(start->merged->sibling_count == 0);
    read->route = start->route;
    read->merged = start->merged;
    read->operation = start->operation;
    read->started_ms = 0;
    read->deadline_ms = start->deadline_ms;
    read->wall_ms = start->wall_ms;
    read->flushed_up_to = start->flushed_up_to;
    read->round = start->round;
    read->stubs = 0;
    read->needed = (uint8_t)(start->needed < wanted(read) ? start->needed : wanted(read));
    read->shows_value = read->has_asked = read->is_answered = read->is_done = false;
    read->merged_digest = (struct cell_digest){0, 0};
    memset(read->nodes, 0, start->route->count * sizeof read->nodes[0]);
}

static bool digest_equal(const struct cell_digest *a, const struct cell_digest *b)
{
    return a->low == b->low && a->high == b->high;
}

static bool has_merged(const struct quorum_read *read)
{
    return read->merged->sibling_count > 0;
}

/* Whether something is still to come from the node. */
static bool is_pending(const struct read_node *node)
{
    return node->state == READ_NODE_ASKED ||
           (node->state == READ_NODE_ANSWERED && node->is_fetching);
}

/* Whether it is a warm owner from which an answer came or may still come. */
static bool is_warm_owner(const struct quorum_read *read, unsigned i)
{
    const struct route_node *node = &read->route->nodes[i];
    uint8_t state = read->nodes[i].state;

#ifdef RING_BREAK_FALLBACK_COUNTS
    if (!node->is_owner)
        return state == READ_NODE_ANSWERED;
#endif
#ifdef RING_BREAK_WARMING_MISS
    return node->is_owner && (state == READ_NODE_ASKED || state == READ_NODE_ANSWERED);
#else
    return node->is_owner && !read->nodes[i].is_warming &&
           (state == READ_NODE_ASKED || state == READ_NODE_ANSWERED);
#endif
}

/* Asking. */

static void fetch(struct quorum_read *read, unsigned i, bool is_full, uint64_t now_ms,
                  struct request_effects *effects)
{
    const struct route_node *node = &read->route->nodes[i];

    assert(!node->is_self);
    read->nodes[i].is_fetching = is_full;
    read->nodes[i].is_late = false;
    read->nodes[i].due_ms = (uint32_t)(now_ms - read->started_ms) + node->hedge_ms;
    request_send(effects, node->id, is_full ? SEND_FETCH_FULL : SEND_FETCH_DIGEST, NODE_NONE);
}

static void take(struct quorum_read *read, unsigned i)
{
    assert(read->nodes[i].state == READ_NODE_UNUSED);
    read->nodes[i].state = READ_NODE_ASKED;
    read->nodes[i].is_warming = read->route->nodes[i].is_warming;
}

/* Whether a whole cell was asked for, is on its way, and may be the first one. */
static bool awaits_first_cell(const struct quorum_read *read)
{
    if (has_merged(read))
        return false;
    for (unsigned i = 0; i < read->route->count; i++)
        if (is_pending(&read->nodes[i]) && read->nodes[i].is_fetching && !read->nodes[i].is_late)
            return true;
    return false;
}

static unsigned next_candidate(const struct quorum_read *read)
{
    const struct route *route = read->route;
    unsigned i = route->copies;

    while (i < route->count &&
           (read->nodes[i].state != READ_NODE_UNUSED || !route->nodes[i].is_reachable))
        i++;
    return i;
}

/* The next node of the preference list is asked in place of one that is late or lost. */
static void replace(struct quorum_read *read, unsigned lost, uint64_t now_ms,
                    struct request_effects *effects)
{
    unsigned i = next_candidate(read);

    if (i == read->route->count || read->is_answered || read->nodes[lost].was_replaced)
        return;
    read->nodes[lost].was_replaced = true;
    take(read, i);
    if (i == read->route->self)
        effects->reads_own = true;
    else
        fetch(read, i, !has_merged(read) && !awaits_first_cell(read), now_ms, effects);
}

/* Of the others that were taken, the one to ask for the whole cell: the quickest warm owner, or
 * whoever there is; `count` if nobody. */
static unsigned best_source(const struct quorum_read *read)
{
    const struct route *route = read->route;
    unsigned best = route->count;

    for (unsigned i = 0; i < route->count; i++) {
        if (read->nodes[i].state != READ_NODE_ASKED || i == route->self)
            continue;
        bool is_better = best == route->count ||
                         (is_warm_owner(read, i) && !is_warm_owner(read, best)) ||
                         (is_warm_owner(read, i) == is_warm_owner(read, best) &&
                          route->nodes[i].hedge_ms < route->nodes[best].hedge_ms);
        if (is_better)
            best = i;
    }
    return best;
}

/* Asks all that were taken but this node: one for the whole cell unless the own one will do. */
static void ask_taken(struct quorum_read *read, bool own_will_do, uint64_t now_ms,
                      struct request_effects *effects)
{
    const struct route *route = read->route;
    unsigned full = own_will_do ? route->count : best_source(read);

    assert(!read->has_asked);
    read->has_asked = true;
    for (unsigned i = 0; i < route->count; i++)
        if (read->nodes[i].state == READ_NODE_ASKED && i != route->self)
            fetch(read, i, i == full, now_ms, effects);
}

static void on_start(struct quorum_read *read, const struct read_event *event,
                     struct request_effects *effects)
{
    const struct route *route = read->route;
    unsigned taken = 0;

    read->started_ms = event->now_ms;
    for (unsigned i = 0; i < route->count && taken < wanted(read); i++) {
        if (!route->nodes[i].is_reachable)
            continue;
        take(read, i);
        taken++;
    }
    assert(taken >= 1);
    if (read->nodes[route->self].state == READ_NODE_ASKED)
        effects->reads_own = true; /* the others are asked once it is known what is here */
    else
        ask_taken(read, false, event->now_ms, effects);
}

/* Merging. */

/* What `merged` shows, and what it could show if a stub was refilled. */
static void look_at_merged(struct quorum_read *read)
{
    const struct cell *merged = read->merged;

    read->stubs = 0;
    read->shows_value = false;
    for (unsigned i = 0; i < merged->sibling_count; i++) {
        const struct sibling *sibling = &merged->siblings[i];
        if (sibling->reg.expires_ms != 0 && sibling->reg.expires_ms <= read->wall_ms)
            continue;
#ifndef RING_BREAK_NO_REFILL
        if (sibling->kind == SIBLING_STUB)
            read->stubs++;
#endif
        if (sibling->kind == SIBLING_VALUE)
            read->shows_value = true;
    }
    if (merged->sibling_count > 0)
        read->merged_digest = cell_state_digest(merged);
}

/* Whether `merged` contains the state that the node told of. */
static bool is_known_state(const struct quorum_read *read, const struct read_node *node)
{
    if (node->sibling_count == 0)
        return true;
#ifdef RING_BREAK_IGNORE_DIGEST
    return has_merged(read);
#endif
    if (has_merged(read) && digest_equal(&node->digest, &read->merged_digest))
        return true;
    for (unsigned i = 0; i < read->route->count; i++) {
        const struct read_node *other = &read->nodes[i];
        if (other->was_merged && other->sibling_count > 0 &&
            digest_equal(&node->digest, &other->digest))
            return true;
    }
    return false;
}

static void account(struct quorum_read *read)
{
    for (unsigned i = 0; i < read->route->count; i++) {
        struct read_node *node = &read->nodes[i];
        if (node->state == READ_NODE_ANSWERED && !node->is_accounted)
            node->is_accounted = node->was_merged || is_known_state(read, node);
    }
}

void quorum_read_own_merged(struct quorum_read *read)
{
    struct read_node *own = &read->nodes[read->route->self];

    own->digest = read->merged_digest;
    own->sibling_count = (uint16_t)read->merged->sibling_count;
    own->stub_count = read->stubs;
    assert(own->stub_count <= own->sibling_count);
}

/* Nobody else is asked after all. */
static void forget_taken(struct quorum_read *read)
{
    assert(!read->has_asked);
    for (unsigned i = 0; i < read->route->count; i++)
        if (read->nodes[i].state == READ_NODE_ASKED)
            read->nodes[i].state = READ_NODE_UNUSED;
}

static void on_own(struct quorum_read *read, const struct read_event *event,
                   struct request_effects *effects)
{
    struct read_node *own = &read->nodes[read->route->self];

    assert(own->state == READ_NODE_ASKED);
    look_at_merged(read);
    own->state = READ_NODE_ANSWERED;
    own->was_merged = own->is_accounted = true;
    quorum_read_own_merged(read);
    account(read);
    if (read->has_asked)
        return;
    if (read->needed == 1 && is_warm_owner(read, read->route->self) && read->stubs == 0)
        forget_taken(read);
    else
        ask_taken(read, has_merged(read) && read->stubs == 0 && !own->is_warming, event->now_ms,
                  effects);
}

static void lose(struct quorum_read *read, unsigned i, uint64_t now_ms,
                 struct request_effects *effects)
{
    struct read_node *node = &read->nodes[i];

    node->is_fetching = false;
    switch ((enum read_node_state)node->state) {
    case READ_NODE_UNUSED:
    case READ_NODE_LOST: return;
    case READ_NODE_ASKED: break;
    case READ_NODE_ANSWERED:
        if (!node->is_accounted)
            break;
        node->stub_count =
            node->sibling_count; /* what it said counts; its values are not to be had */
        return;
    }
    node->state = READ_NODE_LOST;
    replace(read, i, now_ms, effects);
}

static void on_lost(struct quorum_read *read, const struct read_event *event,
                    struct request_effects *effects)
{
#ifdef RING_BREAK_WAIT_FOR_DOWN
    (void)read, (void)event, (void)effects;
#else
    unsigned i = route_find(read->route, event->from);

    if (i == read->route->count || i == read->route->self)
        return;
    route_mark_unreachable(read->route, event->from);
    lose(read, i, event->now_ms, effects);
#endif
}

/* A whole cell has come: empty ones come without. */
static void merge(struct quorum_read *read, struct read_node *node, const struct cell *cell)
{
    node->is_fetching = false;
    node->was_merged = true;
    if (cell == NULL)
        return;
    cell_merge(read->merged, cell);
    cell_flush(read->merged, read->flushed_up_to);
    look_at_merged(read);
}

static void on_reply(struct quorum_read *read, const struct read_event *event,
                     struct request_effects *effects)
{
    const struct fetch_reply *reply = event->reply;
    unsigned i = route_find(read->route, event->from);

    if (i == read->route->count || i == read->route->self || reply->operation != read->operation ||
        reply->round != read->round || !is_pending(&read->nodes[i]))
        return;
    struct read_node *node = &read->nodes[i];
    bool is_whole = reply->cell != NULL || reply->sibling_count == 0;
    if (reply->is_refused || reply->stub_count > reply->sibling_count ||
        (reply->cell != NULL && reply->cell->sibling_count != reply->sibling_count)) {
        lose(read, i, event->now_ms, effects);
        return;
    }
    if (node->state == READ_NODE_ANSWERED && !is_whole)
        return; /* its digest, once more */
    node->state = READ_NODE_ANSWERED;
    node->is_warming |= reply->is_warming;
    node->digest = reply->digest;
    node->sibling_count = reply->sibling_count;
    node->stub_count = reply->stub_count;
    if (is_whole)
        merge(read, node, reply->cell);
    else
        node->is_fetching = false;
    account(read);
}

static void on_tick(struct quorum_read *read, const struct read_event *event,
                    struct request_effects *effects)
{
    for (unsigned i = 0; i < read->route->count; i++) {
        struct read_node *node = &read->nodes[i];
        if (!is_pending(node) || node->is_late || read->started_ms + node->due_ms > event->now_ms ||
            i == read->route->self)
            continue;
        node->is_late = true;
        replace(read, i, event->now_ms, effects);
    }
}

/* Fetching what differs. */

/* Whether the same state is on its way from another node. */
static bool is_fetched_elsewhere(const struct quorum_read *read, unsigned i)
{
    for (unsigned j = 0; j < read->route->count; j++) {
        const struct read_node *other = &read->nodes[j];
        if (j != i && other->state == READ_NODE_ANSWERED && other->is_fetching && !other->is_late &&
            digest_equal(&other->digest, &read->nodes[i].digest))
            return true;
    }
    return false;
}

static void fetch_differing(struct quorum_read *read, uint64_t now_ms,
                            struct request_effects *effects)
{
    if (awaits_first_cell(read))
        return;
    for (unsigned i = 0; i < read->route->count; i++) {
        const struct read_node *node = &read->nodes[i];
        if (node->state == READ_NODE_ANSWERED && !node->is_accounted && !node->is_fetching &&
            !is_fetched_elsewhere(read, i))
            fetch(read, i, true, now_ms, effects);
    }
}

/* Whether the node holds a value that might refill a stub of `merged`. */
static bool may_refill(const struct quorum_read *read, unsigned i)
{
    const struct read_node *node = &read->nodes[i];

    return node->state == READ_NODE_ANSWERED && !node->was_merged &&
           node->sibling_count > node->stub_count;
}

/* Fetches from one node after the other until no stub is left. */
static void fetch_stubs(struct quorum_read *read, uint64_t now_ms, struct request_effects *effects)
{
    unsigned from = read->route->count;

    if (read->stubs == 0)
        return;
    for (unsigned i = 0; i < read->route->count; i++) {
        const struct read_node *node = &read->nodes[i];
        if (node->is_fetching && !node->is_late)
            return;
        if (from == read->route->count && may_refill(read, i) && !node->is_fetching)
            from = i;
    }
    if (from < read->route->count)
        fetch(read, from, true, now_ms, effects);
}

/* Whether a stub that `merged` has may yet be refilled. */
static bool awaits_refill(const struct quorum_read *read)
{
    if (read->stubs == 0)
        return false;
    for (unsigned i = 0; i < read->route->count; i++)
        if (may_refill(read, i) ||
            (read->route->nodes[i].is_owner && read->nodes[i].state == READ_NODE_ASKED))
            return true;
    return false;
}

/* Deciding. */

struct tally {
    unsigned counted;       /* towards R */
    unsigned warm_unknown;  /* warm owners that may still answer */
    bool only_warm_count;   /* R warm owners may answer */
    bool is_anyone_awaited; /* asked, and not late when fetching */
    bool is_fetch_awaited;  /* a differing state is on its way, in time */
};

static struct tally tally(const struct quorum_read *read, bool is_over)
{
    struct tally tally = {0};
    unsigned warm_accounted = 0, all_accounted = 0;

    for (unsigned i = 0; i < read->route->count; i++) {
        const struct read_node *node = &read->nodes[i];
        bool is_accounted = node->state == READ_NODE_ANSWERED && node->is_accounted;
        all_accounted += is_accounted ? 1 : 0;
        if (is_warm_owner(read, i)) {
            warm_accounted += is_accounted ? 1 : 0;
            tally.warm_unknown += is_accounted ? 0 : 1;
        }
        tally.is_anyone_awaited |= is_pending(node);
        tally.is_fetch_awaited |= node->is_fetching && !node->is_late && !is_accounted &&
                                  node->state == READ_NODE_ANSWERED;
    }
    unsigned possible = warm_accounted + (is_over ? 0 : tally.warm_unknown);
    tally.only_warm_count = possible >= read->needed;
    tally.counted = tally.only_warm_count ? warm_accounted : all_accounted;
    return tally;
}

/* Whether R answers have been given, and nothing that came in time is missing in the merge. */
static bool is_complete(const struct quorum_read *read, const struct tally *tally, bool is_over)
{
    unsigned needed = read->needed;

#ifdef RING_BREAK_READ_EARLY
    needed = needed > 1 ? needed - 1 : 1;
#endif
    if (tally->counted < needed)
        return false;
    if (!tally->only_warm_count && !read->shows_value && tally->warm_unknown > 0)
        return false; /* a miss only when every reachable warm owner says so */
    if (is_over)
        return true;
    return !tally->is_fetch_awaited && !awaits_refill(read);
}

static void answer(struct quorum_read *read, enum request_answer what, unsigned counted,
                   struct request_effects *effects)
{
    assert(!read->is_answered);
    read->is_answered = true;
    request_answers(effects, what, counted, read->needed);
    if (effects->trace != NULL)
        ring_trace_say(effects->trace, "%u of %u agree, %u siblings -> answer %s", counted,
                       read->needed, read->merged->sibling_count, request_answer_name(what));
}

/* Sends the merged cell to the owners that answered with something else. */
static void repair(struct quorum_read *read, struct request_effects *effects)
{
#ifdef RING_BREAK_NO_REPAIR
    (void)read, (void)effects;
#else
    if (!has_merged(read))
        return;
    for (unsigned i = 0; i < read->route->copies; i++) {
        const struct read_node *node = &read->nodes[i];
        bool is_same = node->sibling_count > 0 && digest_equal(&node->digest, &read->merged_digest);
        if (node->state != READ_NODE_ANSWERED)
            continue;
        if (i == read->route->self)
            effects->merges_own = !is_same || node->stub_count > read->stubs;
        else if (!is_same && read->route->nodes[i].is_reachable)
            request_send(effects, read->route->nodes[i].id, SEND_REPAIR, NODE_NONE);
    }
    if (effects->trace != NULL && (effects->merges_own || effects->send_count > 0))
        ring_trace_say(effects->trace, "repair %u stale replicas%s", effects->send_count,
                       effects->merges_own ? " and the own one" : "");
#endif
}

static void conclude(struct quorum_read *read, uint64_t now_ms, struct request_effects *effects)
{
    bool is_over = now_ms >= read->deadline_ms;

    if (effects->reads_own)
        return; /* READ_OWN comes at once */
    if (!is_over) {
        fetch_differing(read, now_ms, effects);
        if (!read->is_answered)
            fetch_stubs(read, now_ms, effects);
    }
    struct tally now = tally(read, is_over);
    if (!read->is_answered && is_complete(read, &now, is_over))
        answer(read, ANSWER_DONE, now.counted, effects);
    if (!is_over && now.is_anyone_awaited)
        return;
    if (!read->is_answered)
        answer(read, ANSWER_READ_FAILED,
               now.counted < read->needed ? now.counted : read->needed - 1u, effects);
    else
        repair(read, effects);
    read->is_done = effects->is_done = true;
}

void quorum_read_step(struct quorum_read *read, const struct read_event *event,
                      struct request_effects *effects)
{
    bool was_answered = read->is_answered;

    request_effects_clear(effects);
    if (read->is_done) {
        effects->is_done = true;
        return;
    }
    switch (event->type) {
    case READ_START: on_start(read, event, effects); break;
    case READ_OWN: on_own(read, event, effects); break;
    case READ_REPLY: on_reply(read, event, effects); break;
    case READ_LOST: on_lost(read, event, effects); break;
    case READ_TICK: on_tick(read, event, effects); break;
    }
    conclude(read, event->now_ms, effects);
    assert(!effects->answers || !was_answered); /* the client hears once */
    assert(!read->is_done || read->is_answered);
}

uint64_t quorum_read_deadline_ms(const struct quorum_read *read)
{
    uint64_t deadline_ms = read->deadline_ms;

    if (read->is_done)
        return UINT64_MAX;
    for (unsigned i = 0; i < read->route->count; i++) {
        const struct read_node *node = &read->nodes[i];
        if (is_pending(node) && !node->is_late && i != read->route->self &&
            read->started_ms + node->due_ms < deadline_ms)
            deadline_ms = read->started_ms + node->due_ms;
    }
    return deadline_ms;
}
