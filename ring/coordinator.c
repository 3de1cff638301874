#include "ring/coordinator.h"
#include <assert.h>
#include <inttypes.h>

void coordinator_init(struct coordinator *coordinator, const struct coordinator_start *start)
{
    assert(route_is_sound(&coordinator->route));
    assert(start->read_quorum >= 1);
    assert(start->write_quorum >= 1);
    assert(start->cell->sibling_count == 0);
    coordinator->cell = start->cell;
    coordinator->id = start->id;
    coordinator->operation = start->operation;
    coordinator->key_hash = start->key_hash;
    coordinator->deadline_ms = start->deadline_ms;
    coordinator->wall_ms = start->wall_ms;
    coordinator->flushed_up_to = start->flushed_up_to;
    coordinator->class = (uint8_t)start->class;
    coordinator->phase = COORDINATOR_FRESH;
    coordinator->read_quorum = (uint8_t)start->read_quorum;
    coordinator->write_quorum = (uint8_t)start->write_quorum;
    coordinator->reads = 0;
    coordinator->is_answered = false;
    coordinator->is_passed_on = start->from != NULL;
    if (start->class != REQUEST_READ)
        forward_init(&coordinator->forward,
                     &(struct forward_start){.route = &coordinator->route,
                                             .id = start->id,
                                             .key_hash = start->key_hash,
                                             .class = start->class,
                                             .deadline_ms = start->deadline_ms,
                                             .may_coordinate = start->may_coordinate,
                                             .from = start->from});
}

static void finish(struct coordinator *coordinator, struct request_effects *effects)
{
    assert(coordinator->is_answered);
    coordinator->phase = COORDINATOR_DONE;
    effects->is_done = true;
}

/* The caller is to apply the command, after merging what was read. */
static void apply(struct coordinator *coordinator, bool merges_own, struct request_effects *effects)
{
    coordinator->phase = COORDINATOR_APPLYING;
    effects->applies = true;
    effects->merges_own = merges_own;
    effects->own_hint_for = quorum_write_own_hint(&coordinator->route);
}

/* A read machine's effects, which for a decided command end in applying it. */
static void after_read(struct coordinator *coordinator, struct request_effects *effects)
{
    const struct quorum_read *read = &coordinator->read;
    bool is_decided = coordinator->class == REQUEST_DECIDED && !coordinator->is_answered;

    assert(coordinator->phase == COORDINATOR_READING);
    if (effects->answers && is_decided && effects->answer == ANSWER_DONE) {
        effects->answers = effects->is_done = false;
        apply(coordinator, true, effects);
        return;
    }
    coordinator->is_answered |= effects->answers;
    if (read->is_done)
        finish(coordinator, effects);
}

static void start_read(struct coordinator *coordinator, uint64_t now_ms,
                       struct request_effects *effects)
{
    uint64_t deadline_ms = coordinator->deadline_ms;

    /* A decided command needs the other half of its time for the write. */
    if (coordinator->class == REQUEST_DECIDED && deadline_ms > now_ms)
        deadline_ms = now_ms + (deadline_ms - now_ms + 1) / 2;
    coordinator->phase = COORDINATOR_READING;
    coordinator->reads++;
    quorum_read_init(&coordinator->read,
                     &(struct quorum_read_start){.route = &coordinator->route,
                                                 .merged = coordinator->cell,
                                                 .operation = coordinator->operation,
                                                 .round = coordinator->reads,
                                                 .needed = coordinator->read_quorum,
                                                 .deadline_ms = deadline_ms,
                                                 .wall_ms = coordinator->wall_ms,
                                                 .flushed_up_to = coordinator->flushed_up_to});
    quorum_read_step(&coordinator->read, &(struct read_event){.type = READ_START, .now_ms = now_ms},
                     effects);
    after_read(coordinator, effects);
}

static void coordinate(struct coordinator *coordinator, uint64_t now_ms,
                       struct request_effects *effects)
{
    switch ((enum request_class)coordinator->class) {
    case REQUEST_READ:
    case REQUEST_DECIDED: start_read(coordinator, now_ms, effects); break;
    case REQUEST_BLIND:
    case REQUEST_CONTEXT: apply(coordinator, false, effects); break;
    }
}

static void fail(struct coordinator *coordinator, enum request_answer answer, unsigned needed,
                 struct request_effects *effects)
{
    request_answers(effects, answer, 0, needed);
    coordinator->is_answered = true;
    if (effects->trace != NULL)
        ring_trace_say(effects->trace, "not applied -> answer %s", request_answer_name(answer));
    finish(coordinator, effects);
}

/* Whether the quorums of the command can be met by what this node sees. */
static bool sees_quorum(const struct coordinator *coordinator)
{
    const struct route *route = &coordinator->route;
    unsigned needed = coordinator->write_quorum, reachable = 0;

    if (coordinator->class == REQUEST_DECIDED && coordinator->read_quorum > needed)
        needed = coordinator->read_quorum;
    if (needed > route->copies)
        needed = route->copies;
    for (unsigned i = 0; i < route->count; i++)
        reachable += route->nodes[i].is_reachable ? 1 : 0;
    return reachable >= needed;
}

static void step_forward(struct coordinator *coordinator, const struct forward_event *event,
                         struct request_effects *effects)
{
    coordinator->phase = COORDINATOR_FORWARDING;
    switch (forward_step(&coordinator->forward, event, effects)) {
    case FORWARD_WAITS: break;
    case FORWARD_ANSWERS:
        coordinator->is_answered = true;
        finish(coordinator, effects);
        break;
    case FORWARD_COORDINATES:
        if (coordinator->is_passed_on && !coordinator->forward.is_unknown &&
            !sees_quorum(coordinator))
            fail(coordinator, ANSWER_REFUSED, 0, effects);
        else
            coordinate(coordinator, event->now_ms, effects);
        break;
    }
}

static void on_start(struct coordinator *coordinator, const struct coordinator_event *event,
                     struct request_effects *effects)
{
    assert(coordinator->phase == COORDINATOR_FRESH);
    if (coordinator->class == REQUEST_READ)
        start_read(coordinator, event->now_ms, effects);
    else
        step_forward(coordinator,
                     &(struct forward_event){.type = FORWARD_START, .now_ms = event->now_ms},
                     effects);
}

static void step_read(struct coordinator *coordinator, const struct read_event *event,
                      struct request_effects *effects)
{
    if (coordinator->phase != COORDINATOR_READING)
        return;
    quorum_read_step(&coordinator->read, event, effects);
    after_read(coordinator, effects);
}

static void step_write(struct coordinator *coordinator, const struct write_event *event,
                       struct request_effects *effects)
{
    if (coordinator->phase != COORDINATOR_WRITING)
        return;
    quorum_write_step(&coordinator->write, event, effects);
    coordinator->is_answered |= effects->answers;
    if (coordinator->write.is_done)
        finish(coordinator, effects);
}

static void on_applied(struct coordinator *coordinator, const struct coordinator_event *event,
                       struct request_effects *effects)
{
    assert(coordinator->phase == COORDINATOR_APPLYING);
    assert(!coordinator->is_answered);
    coordinator->phase = COORDINATOR_WRITING;
    quorum_write_init(&coordinator->write, &coordinator->route, coordinator->operation,
                      coordinator->write_quorum, coordinator->deadline_ms);
    step_write(
        coordinator,
        &(struct write_event){.type = WRITE_APPLIED, .now_ms = event->now_ms, .dot = event->dot},
        effects);
}

/* Nothing was written: the read may go on to repair what it found stale. */
static void on_kept(struct coordinator *coordinator, struct request_effects *effects)
{
    assert(coordinator->phase == COORDINATOR_APPLYING);
    assert(!coordinator->is_answered);
    request_answers(effects, ANSWER_DONE, 0, 0);
    coordinator->is_answered = true;
    if (effects->trace != NULL)
        ring_trace_say(effects->trace, "decided to write nothing -> answer done");
    if (coordinator->class != REQUEST_DECIDED || coordinator->read.is_done) {
        finish(coordinator, effects);
        return;
    }
    quorum_read_own_merged(&coordinator->read);
    coordinator->phase = COORDINATOR_READING;
}

static void on_again(struct coordinator *coordinator, const struct coordinator_event *event,
                     struct request_effects *effects)
{
    assert(coordinator->phase == COORDINATOR_APPLYING);
    assert(coordinator->class == REQUEST_DECIDED);
    if (coordinator->reads >= COORDINATOR_READS_MAX || event->now_ms >= coordinator->deadline_ms) {
        fail(coordinator, ANSWER_READ_FAILED, coordinator->read.needed, effects);
        return;
    }
    cell_init(coordinator->cell, coordinator->cell->siblings, coordinator->cell->sibling_room);
    start_read(coordinator, event->now_ms, effects);
}

/* A step of whatever machine is at work with an event that all of them know. */
static void step_any(struct coordinator *coordinator, enum forward_event_type forward,
                     enum read_event_type read, enum write_event_type write,
                     const struct coordinator_event *event, struct request_effects *effects)
{
    switch ((enum coordinator_phase)coordinator->phase) {
    case COORDINATOR_FRESH:
    case COORDINATOR_APPLYING:
    case COORDINATOR_DONE: break;
    case COORDINATOR_FORWARDING:
        step_forward(coordinator,
                     &(struct forward_event){forward, event->now_ms, event->from, NULL}, effects);
        break;
    case COORDINATOR_READING:
        step_read(coordinator, &(struct read_event){read, event->now_ms, event->from, NULL},
                  effects);
        break;
    case COORDINATOR_WRITING:
        step_write(
            coordinator,
            &(struct write_event){.type = write, .now_ms = event->now_ms, .from = event->from},
            effects);
        break;
    }
}

static void on_rewrite(struct coordinator *coordinator, enum write_event_type type,
                       const struct coordinator_event *event, struct request_effects *effects)
{
    assert(coordinator->phase == COORDINATOR_WRITING);
    step_write(coordinator,
               &(struct write_event){.type = type, .now_ms = event->now_ms, .dot = event->dot},
               effects);
}

/* Replies of other nodes: to a phase that is over, they change nothing. */
static void on_message(struct coordinator *coordinator, const struct coordinator_event *event,
                       struct request_effects *effects)
{
    if (event->type == COORDINATOR_FETCH_REPLY)
        step_read(coordinator,
                  &(struct read_event){READ_REPLY, event->now_ms, event->from, event->fetch},
                  effects);
    else if (event->type == COORDINATOR_STORE_REPLY)
        step_write(coordinator,
                   &(struct write_event){.type = WRITE_REPLY,
                                         .now_ms = event->now_ms,
                                         .from = event->from,
                                         .reply = event->store},
                   effects);
    else if (coordinator->phase == COORDINATOR_FORWARDING)
        step_forward(
            coordinator,
            &(struct forward_event){FORWARD_REPLY, event->now_ms, event->from, event->forward},
            effects);
}

void coordinator_step(struct coordinator *coordinator, const struct coordinator_event *event,
                      struct request_effects *effects)
{
    bool was_answered = coordinator->is_answered;

    request_effects_clear(effects);
    switch (event->type) {
    case COORDINATOR_START: on_start(coordinator, event, effects); break;
    case COORDINATOR_OWN_READ:
        step_read(coordinator, &(struct read_event){READ_OWN, event->now_ms, NODE_NONE, NULL},
                  effects);
        break;
    case COORDINATOR_APPLIED: on_applied(coordinator, event, effects); break;
    case COORDINATOR_KEPT: on_kept(coordinator, effects); break;
    case COORDINATOR_AGAIN: on_again(coordinator, event, effects); break;
    case COORDINATOR_APPLY_REFUSED:
        assert(coordinator->phase == COORDINATOR_APPLYING);
        fail(coordinator, ANSWER_REFUSED, 0, effects);
        break;
    case COORDINATOR_REWRITTEN: on_rewrite(coordinator, WRITE_REWRITTEN, event, effects); break;
    case COORDINATOR_SUPERSEDED: on_rewrite(coordinator, WRITE_SUPERSEDED, event, effects); break;
    case COORDINATOR_REWRITE_REFUSED:
        on_rewrite(coordinator, WRITE_REWRITE_REFUSED, event, effects);
        break;
    case COORDINATOR_FETCH_REPLY:
    case COORDINATOR_STORE_REPLY:
    case COORDINATOR_FORWARD_REPLY: on_message(coordinator, event, effects); break;
    case COORDINATOR_LOST:
        step_any(coordinator, FORWARD_LOST, READ_LOST, WRITE_LOST, event, effects);
        break;
    case COORDINATOR_UNSENT:
        step_any(coordinator, FORWARD_UNSENT, READ_LOST, WRITE_LOST, event, effects);
        break;
    case COORDINATOR_TICK:
        step_any(coordinator, FORWARD_TICK, READ_TICK, WRITE_TICK, event, effects);
        break;
    }
    effects->is_done = coordinator->phase == COORDINATOR_DONE;
    assert(!effects->answers || !was_answered); /* the client hears once */
    assert(!effects->is_done || coordinator->is_answered);
}

uint64_t coordinator_deadline_ms(const struct coordinator *coordinator)
{
    switch ((enum coordinator_phase)coordinator->phase) {
    case COORDINATOR_FRESH:
    case COORDINATOR_APPLYING: return coordinator->deadline_ms;
    case COORDINATOR_FORWARDING: return forward_deadline_ms(&coordinator->forward);
    case COORDINATOR_READING: return quorum_read_deadline_ms(&coordinator->read);
    case COORDINATOR_WRITING: return quorum_write_deadline_ms(&coordinator->write);
    case COORDINATOR_DONE: break;
    }
    return UINT64_MAX;
}

unsigned coordinator_room(const struct coordinator *coordinator, unsigned siblings)
{
    return coordinator->cell->sibling_count + siblings;
}

struct fetch_request coordinator_fetch_request(const struct coordinator *coordinator,
                                               const struct request_send *send)
{
    assert(send->kind == SEND_FETCH_DIGEST || send->kind == SEND_FETCH_FULL);
    return (struct fetch_request){.operation = coordinator->operation,
                                  .key_hash = coordinator->key_hash,
                                  .round = coordinator->reads,
                                  .is_full = send->kind == SEND_FETCH_FULL};
}

struct store_request coordinator_store_request(const struct coordinator *coordinator,
                                               const struct request_send *send)
{
    bool is_repair = send->kind == SEND_REPAIR;
    struct store_request request = {.operation = coordinator->operation,
                                    .key_hash = coordinator->key_hash,
                                    .dot = {NODE_NONE, 0},
                                    .hint_for = send->hint_for,
                                    .round = STORE_ROUND_REPAIR,
                                    .is_repair = is_repair,
                                    .cell = coordinator->cell};

    assert(is_repair || send->kind == SEND_STORE);
    if (!is_repair) {
        request.dot = coordinator->write.dot;
        request.round = coordinator->write.round;
    }
    return request;
}

struct forward_request coordinator_forward_request(const struct coordinator *coordinator,
                                                   uint64_t now_ms)
{
    assert(coordinator->phase == COORDINATOR_FORWARDING);
    return forward_request_make(&coordinator->forward, now_ms);
}
