/* Compile-time switch for tests: RING_BREAK_REPEAT_DECIDED repeats any command whose outcome is
 * unknown. */
#include "ring/forward.h"
#include <assert.h>
#include <inttypes.h>
#include <string.h>

/* A blind or context write that is not answered in this part of its time is repeated elsewhere. */
#define PATIENCE_PARTS 3

static bool is_repeatable(enum request_class class)
{
#ifdef RING_BREAK_REPEAT_DECIDED
    return true;
#endif
    return class == REQUEST_BLIND || class == REQUEST_CONTEXT;
}

void forward_init(struct forward *forward, const struct forward_start *start)
{
    const struct forward_request *from = start->from;

    assert(route_is_sound(start->route));
    assert(start->class != REQUEST_READ);
    *forward = (struct forward){.route = start->route,
                                .id = start->id,
                                .key_hash = start->key_hash,
                                .deadline_ms = start->deadline_ms,
                                .late_ms = UINT64_MAX,
                                .class = start->class,
                                .may_coordinate = start->may_coordinate,
                                .at = NODE_NONE};
    if (from == NULL)
        return;
    assert(from->tried_count <= FORWARD_TRIED_MAX);
    forward->hops = from->hops;
    forward->tried_count = from->tried_count;
    memcpy(forward->tried, from->tried, from->tried_count * sizeof from->tried[0]);
}

static bool has_tried(const struct forward *forward, node_id id)
{
    for (unsigned i = 0; i < forward->tried_count; i++)
        if (forward->tried[i] == id)
            return true;
    return false;
}

/* The node that is to coordinate, among those not tried; `count` if nobody is left. */
static unsigned next_coordinator(const struct forward *forward)
{
    const struct route *route = forward->route;
    uint32_t except = forward->may_coordinate ? 0 : 1u << route->self;

    static_assert(ROUTE_MAX <= 32, "a bit for each node of the route");
    for (unsigned i = 0; i < route->count; i++)
        if (i != route->self && has_tried(forward, route->nodes[i].id))
            except |= 1u << i;
    return route_write_coordinator(route, except);
}

static enum forward_step answer(struct forward *forward, enum request_answer what,
                                struct request_effects *effects)
{
    forward->is_done = true;
    request_answers(effects, what, 0, 0);
    effects->is_done = true;
    if (effects->trace != NULL)
        ring_trace_say(effects->trace, "passed on to %u nodes -> answer %s", forward->tried_count,
                       request_answer_name(what));
    return FORWARD_ANSWERS;
}

static enum forward_step send_to(struct forward *forward, node_id id, uint64_t now_ms,
                                 struct request_effects *effects)
{
    uint64_t left_ms = forward->deadline_ms > now_ms ? forward->deadline_ms - now_ms : 0;

    assert(forward->tried_count < FORWARD_TRIED_MAX);
    forward->tried[forward->tried_count++] = id;
    forward->at = id;
    forward->late_ms =
        is_repeatable(forward->class) ? now_ms + left_ms / PATIENCE_PARTS + 1 : UINT64_MAX;
    request_send(effects, id, SEND_FORWARD, NODE_NONE);
    if (effects->trace != NULL)
        ring_trace_say(effects->trace, "pass it on to %" PRIu64, id);
    return FORWARD_WAITS;
}

/* Passes it on to the next node, or lets this one coordinate. */
static enum forward_step pass_on(struct forward *forward, uint64_t now_ms,
                                 struct request_effects *effects)
{
    const struct route *route = forward->route;
    unsigned next = next_coordinator(forward);
    /* One place is kept for this node's own id in the message. */
    bool is_limit =
        forward->hops >= FORWARD_HOPS_MAX || forward->tried_count + 1 >= FORWARD_TRIED_MAX;

    if (forward->may_coordinate && (next == route->self || next == route->count || is_limit)) {
        forward->is_done = true;
        return FORWARD_COORDINATES;
    }
    if (next == route->count || is_limit)
        return answer(forward, forward->is_unknown ? ANSWER_UNKNOWN : ANSWER_REFUSED, effects);
    return send_to(forward, route->nodes[next].id, now_ms, effects);
}

/* The node that had it may have done it, and will not say. */
static enum forward_step on_unknown(struct forward *forward, uint64_t now_ms,
                                    struct request_effects *effects)
{
    forward->at = NODE_NONE;
    forward->is_unknown = true;
    if (!is_repeatable(forward->class))
        return answer(forward, ANSWER_UNKNOWN, effects);
    return pass_on(forward, now_ms, effects);
}

static enum forward_step on_reply(struct forward *forward, const struct forward_event *event,
                                  struct request_effects *effects)
{
    const struct forward_reply *reply = event->reply;

    if (reply->id.number != forward->id.number || reply->id.origin != forward->id.origin ||
        !has_tried(forward, event->from))
        return FORWARD_WAITS;
    switch (reply->answer) {
    case ANSWER_DONE:
    case ANSWER_READ_FAILED:
    case ANSWER_WRITE_FAILED:
        forward->is_done = effects->is_done = effects->is_relayed = true;
        request_answers(effects, reply->answer, reply->got, reply->needed);
        return FORWARD_ANSWERS;
    case ANSWER_REFUSED:
        if (event->from != forward->at)
            return FORWARD_WAITS;
        forward->at = NODE_NONE;
        return pass_on(forward, event->now_ms, effects);
    case ANSWER_UNKNOWN:
        return event->from == forward->at ? on_unknown(forward, event->now_ms, effects)
                                          : FORWARD_WAITS;
    }
    return FORWARD_WAITS;
}

static enum forward_step on_tick(struct forward *forward, const struct forward_event *event,
                                 struct request_effects *effects)
{
    if (event->now_ms >= forward->deadline_ms)
        return answer(forward, ANSWER_UNKNOWN, effects);
    if (event->now_ms >= forward->late_ms)
        return on_unknown(forward, event->now_ms, effects);
    return FORWARD_WAITS;
}

enum forward_step forward_step(struct forward *forward, const struct forward_event *event,
                               struct request_effects *effects)
{
    request_effects_clear(effects);
    assert(!forward->is_done);
    switch (event->type) {
    case FORWARD_START: return pass_on(forward, event->now_ms, effects);
    case FORWARD_REPLY: return on_reply(forward, event, effects);
    case FORWARD_LOST:
        route_mark_unreachable(forward->route, event->from);
        if (event->from != forward->at)
            return FORWARD_WAITS;
        return on_unknown(forward, event->now_ms, effects);
    case FORWARD_UNSENT:
        if (event->from != forward->at)
            return FORWARD_WAITS;
        forward->at = NODE_NONE;
        return pass_on(forward, event->now_ms, effects);
    case FORWARD_TICK: return on_tick(forward, event, effects);
    }
    return FORWARD_WAITS;
}

struct forward_request forward_request_make(const struct forward *forward, uint64_t now_ms)
{
    uint64_t left_ms = forward->deadline_ms > now_ms ? forward->deadline_ms - now_ms : 0;
    struct forward_request request = {.id = forward->id,
                                      .key_hash = forward->key_hash,
                                      .class = forward->class,
                                      /* its answer has to travel back in time */
                                      .budget_ms = (uint32_t)(left_ms - left_ms / 8),
                                      .hops = (uint8_t)(forward->hops + 1)};

    assert(forward->at != NODE_NONE);
    assert(forward->tried_count >= 1);
    assert(forward->tried_count < FORWARD_TRIED_MAX);
    /* All that had it, without the receiver, which was added last, but with this node. */
    for (unsigned i = 0; i + 1 < forward->tried_count; i++)
        request.tried[request.tried_count++] = forward->tried[i];
    request.tried[request.tried_count++] = forward->route->nodes[forward->route->self].id;
    return request;
}

uint64_t forward_deadline_ms(const struct forward *forward)
{
    if (forward->is_done)
        return UINT64_MAX;
    return forward->late_ms < forward->deadline_ms ? forward->late_ms : forward->deadline_ms;
}
