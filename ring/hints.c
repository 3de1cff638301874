#include "ring/hints.h"
#include <assert.h>
#include <string.h>

const struct hints_options hints_options_default = {
    .bytes_max = 64 * 1024 * 1024,
    .lifetime_ms = 45 * 60 * 1000,
    .retry_ms = 1000,
    .pause_max_ms = 30 * 1000,
};

/* Invariants, beside those in the header:
 *   6. A queue is sorted by made_ms: its first hint is the oldest that waits.
 *   7. A target's count is that of its queue plus those in its window, and its bytes are theirs.
 *   8. A hint is in its target's queue or in one slot of its window (is_sent), and always in its
 *      cell's list. */

static_assert(RING_MEMBERS_MAX <= UINT8_MAX, "hint.target tells all targets apart");
static_assert(HINTS_WINDOW == 32, "hints_target.slots has a bit for each slot");

void hints_init(struct hints *hints, const struct hints_options *options,
                struct hints_target *targets, unsigned target_room, uint64_t first_number)
{
    assert(target_room <= UINT8_MAX + 1u);
    memset(hints, 0, sizeof *hints);
    memset(targets, 0, target_room * sizeof targets[0]);
    hints->options = options != NULL ? *options : hints_options_default;
    assert(hints->options.retry_ms > 0);
    hints->targets = targets;
    hints->target_room = target_room;
    hints->next_number = first_number;
}

static struct hints_target *find_target(const struct hints *hints, node_id id)
{
    assert(id != NODE_NONE);
    for (unsigned i = 0; i < hints->targets_used; i++)
        if (hints->targets[i].id == id)
            return &hints->targets[i];
    return NULL;
}

/* The target, new if need be; NULL if there is no room for another. */
static struct hints_target *take_target(struct hints *hints, node_id id)
{
    struct hints_target *target = find_target(hints, id);

    if (target != NULL)
        return target;
    for (unsigned i = 0; i < hints->target_room; i++) {
        target = &hints->targets[i];
        if (target->id != NODE_NONE && !(target->is_gone && target->count == 0))
            continue;
        if (i >= hints->targets_used)
            hints->targets_used = i + 1;
        *target = (struct hints_target){
            .id = id, .pause_ms = hints->options.retry_ms, .due_ms = UINT64_MAX};
        return target;
    }
    return NULL;
}

static struct hints_target *target_of(const struct hints *hints, const struct hint *hint)
{
    struct hints_target *target = &hints->targets[hint->target];

    assert(hint->target < hints->target_room);
    assert(target->count > 0);
    assert(target->bytes >= hint->bytes);
    return target;
}

/* Behind all that are as old.  New hints go to the end, and those that come back from the window
 * are older than all but others that came back: either way few are passed. */
static void enqueue(struct hints_target *target, struct hint *hint, bool is_new)
{
    struct hint *after = target->last;

    hint->is_sent = false;
    hint->is_stale = false;
    if (is_new) {
        while (after != NULL && after->made_ms > hint->made_ms)
            after = after->previous;
    } else {
        struct hint *before = target->first;
        while (before != NULL && before->made_ms <= hint->made_ms)
            before = before->next;
        after = before != NULL ? before->previous : target->last;
    }
    hint->previous = after;
    hint->next = after != NULL ? after->next : target->first;
    *(hint->next != NULL ? &hint->next->previous : &target->last) = hint;
    *(after != NULL ? &after->next : &target->first) = hint;
}

static void dequeue(struct hints_target *target, struct hint *hint)
{
    assert(!hint->is_sent);
    *(hint->next != NULL ? &hint->next->previous : &target->last) = hint->previous;
    *(hint->previous != NULL ? &hint->previous->next : &target->first) = hint->next;
    hint->next = hint->previous = NULL;
}

static void clear_slot(struct hints_target *target, struct hint *hint)
{
    assert(hint->is_sent);
    assert(target->sent[hint->slot].hint == hint);
    assert((target->slots >> hint->slot & 1) != 0);
    target->sent[hint->slot].hint = NULL;
    target->slots &= ~(1u << hint->slot);
    hint->is_sent = false;
}

static void leave_cell(struct hint *hint)
{
    struct hint **link = &hint->cell->first;

    while (*link != hint) {
        assert(*link != NULL);
        link = &(*link)->of_same_cell;
    }
    *link = hint->of_same_cell;
    hint->of_same_cell = NULL;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* From when on the hint is too old to be delivered. */
static uint64_t expires_ms(const struct hints *hints, const struct hint *hint)
{
#ifdef RING_BREAK_HINT_LIFETIME
    (void)hints, (void)hint;
    return UINT64_MAX;
#endif
    return hint->made_ms + hints->options.lifetime_ms;
}

static void count_bytes(struct hints *hints, struct hints_target *target, struct hint *hint,
                        uint32_t bytes)
{
    assert(hints->bytes_used >= hint->bytes);
    hints->bytes_used = hints->bytes_used - hint->bytes + bytes;
    target->bytes = target->bytes - hint->bytes + bytes;
    hint->bytes = bytes;
}

struct hint *hints_find(const struct hints *hints, const struct hinted *cell, node_id target)
{
    for (struct hint *hint = cell->first; hint != NULL; hint = hint->of_same_cell)
        if (hints->targets[hint->target].id == target)
            return hint;
    return NULL;
}

static bool has_room(const struct hints *hints, uint32_t bytes_before, uint32_t bytes)
{
    return bytes <= bytes_before ||
           (hints->bytes_used <= hints->options.bytes_max &&
            bytes - bytes_before <= hints->options.bytes_max - hints->bytes_used);
}

enum hints_add hints_add(struct hints *hints, struct hinted *cell, struct hint *hint,
                         node_id target_id, uint32_t bytes, uint64_t now_ms)
{
    struct hint *present = hints_find(hints, cell, target_id);

    if (!has_room(hints, present != NULL ? present->bytes : 0, bytes))
        return HINTS_NO_ROOM;
    if (present != NULL) {
        struct hints_target *target = target_of(hints, present);
        count_bytes(hints, target, present, bytes);
        present->is_stale = present->is_sent;
        return HINTS_REPEATED;
    }
    struct hints_target *target = take_target(hints, target_id);
    if (target == NULL)
        return HINTS_NO_ROOM;
    *hint = (struct hint){.of_same_cell = cell->first,
                          .cell = cell,
                          .made_ms = now_ms,
                          .target = (uint8_t)(target - hints->targets)};
    cell->first = hint;
    hints->count++;
    target->count++;
    count_bytes(hints, target, hint, bytes);
    enqueue(target, hint, true);
    target->due_ms = earlier(target->due_ms, expires_ms(hints, hint));
    assert(hints->bytes_used <= hints->options.bytes_max);
    return HINTS_ADDED;
}

void hints_drop(struct hints *hints, struct hint *hint)
{
    struct hints_target *target = target_of(hints, hint);

    if (hint->is_sent)
        clear_slot(target, hint);
    else
        dequeue(target, hint);
    leave_cell(hint);
    count_bytes(hints, target, hint, 0);
    target->count--;
    hints->count--;
    assert(target->count > 0 || target->bytes == 0);
}

void hints_moved(struct hinted *cell)
{
    for (struct hint *hint = cell->first; hint != NULL; hint = hint->of_same_cell)
        hint->cell = cell;
}

static bool can_release(const struct hints_effects *effects)
{
    return effects->release_count < HINTS_RELEASES_MAX;
}

static void release(struct hints *hints, struct hint *hint, enum hints_release_reason reason,
                    struct hints_effects *effects)
{
    struct hints_target *target = target_of(hints, hint);

    assert(can_release(effects));
    switch (reason) {
    case HINTS_DELIVERED: target->delivered++; break;
    case HINTS_EXPIRED: target->expired++; break;
    case HINTS_UNOWNED: target->unowned++; break;
    }
    effects->releases[effects->release_count++] =
        (struct hints_release){.hint = hint, .target = target->id, .reason = reason};
    hints_drop(hints, hint);
}

/* When something about the target's hints is due, whether or not it can be reached. */
static uint64_t due_ms(const struct hints *hints, const struct hints_target *target)
{
    uint64_t due_ms = UINT64_MAX;

    for (uint32_t left = target->slots; left != 0; left &= left - 1)
        due_ms =
            earlier(due_ms, target->sent[__builtin_ctz(left)].sent_ms + hints->options.retry_ms);
    if (target->first == NULL)
        return due_ms;
    return target->is_gone ? 0 : earlier(due_ms, expires_ms(hints, target->first));
}

static void send_again(struct hints_target *target, struct hint *hint)
{
    clear_slot(target, hint);
    enqueue(target, hint, false);
}

static void on_ack(struct hints *hints, const struct hint_ack *ack, uint64_t now_ms,
                   struct hints_effects *effects)
{
    struct hints_target *target = ack->from == NODE_NONE ? NULL : find_target(hints, ack->from);
    unsigned slot = ack->number % HINTS_WINDOW;

    if (target == NULL || (target->slots >> slot & 1) == 0 ||
        target->sent[slot].number != ack->number)
        return; /* a repeat, or too late */
    struct hint *hint = target->sent[slot].hint;
    switch (ack->result) {
    case HINT_STORED: target->pause_ms = hints->options.retry_ms;
#ifndef RING_BREAK_HINT_STALE_ACK
        if (hint->is_stale) {
            send_again(target, hint);
            return;
        }
#endif
        release(hints, hint, HINTS_DELIVERED, effects);
        if (target->slots == 0)
            target->due_ms = due_ms(hints, target);
        return;
    case HINT_REFUSED:
        send_again(target, hint);
        target->due_ms = due_ms(hints, target);
        if (now_ms < target->resume_at_ms)
            return; /* one of several that were on the way */
        target->resume_at_ms = now_ms + target->pause_ms;
        ring_trace_say(effects->trace, "%llu refuses a hint -> asked again in %u ms",
                       (unsigned long long)target->id, (unsigned)target->pause_ms);
        if (target->pause_ms < hints->options.pause_max_ms / 2)
            target->pause_ms *= 2;
        else
            target->pause_ms = hints->options.pause_max_ms;
        return;
    case HINT_NOT_OWNER: release(hints, hint, HINTS_UNOWNED, effects); return;
    }
}

static void on_unreachable(const struct hints *hints, struct hints_target *target)
{
    target->is_reachable = false;
    while (target->slots != 0)
        send_again(target, target->sent[__builtin_ctz(target->slots)].hint);
    target->due_ms = due_ms(hints, target);
}

static void on_membership(struct hints *hints, const struct hints_event *event)
{
    struct hints_target *target = find_target(hints, event->target);

    if (event->type == HINTS_REACHABLE) {
        target = take_target(hints, event->target);
        assert(target != NULL); /* there is one for every member */
        target->is_reachable = true;
        target->is_gone = false;
        target->resume_at_ms = event->now_ms;
    } else if (target != NULL) {
        on_unreachable(hints, target);
        if (event->type == HINTS_GONE) {
            target->is_gone = true;
            target->due_ms = 0;
        }
    }
}

/* What no answer came for, and what is too old. */
static void look_after(struct hints *hints, struct hints_target *target, uint64_t now_ms,
                       struct hints_effects *effects)
{
    uint64_t expired = target->expired;

    for (uint32_t left = target->slots; left != 0; left &= left - 1) {
        struct hint_delivery_slot *slot = &target->sent[__builtin_ctz(left)];
        if (now_ms >= slot->sent_ms + hints->options.retry_ms ||
            now_ms >= expires_ms(hints, slot->hint))
            send_again(target, slot->hint);
    }
    while (target->first != NULL && can_release(effects) &&
           (target->is_gone || now_ms >= expires_ms(hints, target->first)))
        release(hints, target->first, target->is_gone ? HINTS_UNOWNED : HINTS_EXPIRED, effects);
    target->due_ms = due_ms(hints, target);
    if (target->expired > expired)
        ring_trace_say(effects->trace, "%llu hints for %llu are too old -> dropped",
                       (unsigned long long)(target->expired - expired),
                       (unsigned long long)target->id);
}

/* Whether but for its pause and the tokens a hint could be sent to it. */
static bool takes_hints(const struct hints_target *target)
{
    return target->is_reachable && !target->is_gone && target->first != NULL &&
           target->slots != UINT32_MAX;
}

static bool can_deliver(const struct hints *hints, const struct hints_target *target,
                        uint64_t now_ms)
{
    return takes_hints(target) && now_ms >= target->resume_at_ms &&
           now_ms < expires_ms(hints, target->first);
}

static void deliver(struct hints *hints, struct hints_target *target, uint64_t now_ms,
                    struct hints_effects *effects)
{
    struct hint *hint = target->first;
    unsigned slot = (unsigned)__builtin_ctz(~target->slots);
    uint64_t number = hints->next_number++ * HINTS_WINDOW + slot;

    dequeue(target, hint);
    hint->is_sent = true;
    hint->slot = (uint8_t)slot;
    assert(target->sent[slot].hint == NULL);
    target->sent[slot] = (struct hint_delivery_slot){hint, number, now_ms};
    target->slots |= 1u << slot;
    target->due_ms = earlier(target->due_ms, now_ms + hints->options.retry_ms);
    effects->delivers[effects->deliver_count++] = (struct hints_deliver){hint, target->id, number};
#ifdef RING_BREAK_HINT_DROP_ON_SEND
    if (can_release(effects))
        release(hints, hint, HINTS_DELIVERED, effects);
#endif
}

/* Targets take turns, a hint each, while there are tokens and room in the effects. */
static void deliver_in_turn(struct hints *hints, struct token_bucket *bucket, uint64_t now_ms,
                            struct hints_effects *effects)
{
    unsigned idle = 0;

    while (idle < hints->targets_used && effects->deliver_count < HINTS_DELIVERS_MAX) {
        struct hints_target *target = &hints->targets[hints->next_target];
        if (can_deliver(hints, target, now_ms)) {
            if (!token_bucket_take(bucket, target->first->bytes, now_ms))
                return;
            deliver(hints, target, now_ms, effects);
            idle = 0;
        } else {
            idle++;
        }
        hints->next_target = (hints->next_target + 1) % hints->targets_used;
    }
}

void hints_step(struct hints *hints, const struct hints_event *event, struct hints_effects *effects)
{
    switch (event->type) {
    case HINTS_TICK: break;
    case HINTS_REACHABLE:
    case HINTS_UNREACHABLE:
    case HINTS_GONE: on_membership(hints, event); break;
    case HINTS_ACK: on_ack(hints, event->ack, event->now_ms, effects); break;
    }
    for (unsigned i = 0; i < hints->targets_used; i++)
        if (hints->targets[i].count > 0 && event->now_ms >= hints->targets[i].due_ms)
            look_after(hints, &hints->targets[i], event->now_ms, effects);
    deliver_in_turn(hints, event->bucket, event->now_ms, effects);
    assert(hints->bytes_used <= hints->options.bytes_max);
}

/* The deadline may be earlier than needed: what was due may have been acknowledged since. */
static uint64_t target_deadline_ms(const struct hints_target *target,
                                   const struct token_bucket *bucket)
{
    uint64_t ready_ms = UINT64_MAX;

    if (takes_hints(target)) {
        ready_ms = token_bucket_ready_ms(bucket);
        if (ready_ms < target->resume_at_ms)
            ready_ms = target->resume_at_ms;
    }
    return earlier(target->due_ms, ready_ms);
}

uint64_t hints_deadline_ms(const struct hints *hints, const struct token_bucket *bucket)
{
    uint64_t deadline_ms = UINT64_MAX;

    for (unsigned i = 0; i < hints->targets_used; i++)
        if (hints->targets[i].count > 0)
            deadline_ms = earlier(deadline_ms, target_deadline_ms(&hints->targets[i], bucket));
    return deadline_ms;
}

uint32_t hints_left(const struct hints *hints, node_id id)
{
    const struct hints_target *target = find_target(hints, id);

    if (target == NULL)
        return 0;
    return target->count < UINT32_MAX ? (uint32_t)target->count : UINT32_MAX;
}

uint64_t hints_oldest_age_ms(const struct hints *hints, node_id id, uint64_t now_ms)
{
    const struct hints_target *target = find_target(hints, id);
    uint64_t made_ms = now_ms;

    if (target == NULL)
        return 0;
    if (target->first != NULL)
        made_ms = earlier(made_ms, target->first->made_ms);
    for (uint32_t left = target->slots; left != 0; left &= left - 1)
        made_ms = earlier(made_ms, target->sent[__builtin_ctz(left)].hint->made_ms);
    return now_ms - made_ms;
}

const struct hints_target *hints_target_at(const struct hints *hints, unsigned index)
{
    assert(index < hints->target_room);
    return hints->targets[index].id != NODE_NONE ? &hints->targets[index] : NULL;
}
