#include "ring/restart.h"
#include <assert.h>
#include <inttypes.h>
#include <string.h>

/* 1. Questions and answers. */

struct restart_ask restart_ask_message(const struct restart *restart)
{
    return (struct restart_ask){restart->config.self.name};
}

struct restart_join restart_join_message(const struct restart *restart)
{
    assert(restart->state == RESTART_JOINING);
    return (struct restart_join){restart->config.self, restart->replaces};
}

struct restart_answer restart_answer_to(const struct membership *membership,
                                        const struct restart_ask *ask, bool is_starting)
{
    const struct member_record *record = membership_find_name(membership, &ask->name);
    struct restart_answer answer = {.is_starting = is_starting,
                                    .has_members = membership->count > 0};

    if (record != NULL) {
        answer.id = record->id;
        answer.seen = record->ceiling;
    }
    return answer;
}

/* 2. The machine. */

void restart_init(struct restart *restart, const struct restart_config *config, uint64_t now_ms)
{
    assert(config->self.id != NODE_NONE);
    assert(config->self.status == MEMBER_JOINING);
    assert(config->self.name.size > 0);
    assert(config->retry_ms > 0);
    memset(restart, 0, sizeof *restart);
    restart->config = *config;
    restart->replaces = config->replaces;
    restart->state = RESTART_FINDING;
    restart->started_ms = now_ms;
    restart->retry_at_ms = now_ms;
}

void restart_init_founding(struct restart *restart, const struct restart_config *config)
{
    assert(config->self.id != NODE_NONE);
    memset(restart, 0, sizeof *restart);
    restart->config = *config;
    restart->id = config->self.id;
    restart->state = RESTART_READY;
    restart->retry_at_ms = UINT64_MAX;
}

static bool has_answered(const struct restart *restart, node_id id)
{
    for (unsigned i = 0; i < restart->answered_count; i++)
        if (restart->answered[i] == id)
            return true;
    return false;
}

/* Whether a member other than this node is to be asked. */
static bool is_asked(const struct restart *restart, const struct member_record *record)
{
    return record->status != MEMBER_GONE && record->id != restart->id;
}

static void become_ready(struct restart *restart, struct restart_effects *effects)
{
    restart->state = RESTART_READY;
    restart->retry_at_ms = UINT64_MAX;
    effects->is_ready = true;
    ring_trace_say(effects->trace, "node %" PRIu64 " knows its past -> may coordinate",
                   restart->id);
}

/* Joins under the fresh id; its clock has no past. */
static void start_joining(struct restart *restart, uint64_t now_ms)
{
    restart->state = RESTART_JOINING;
    restart->id = restart->config.self.id;
    restart->ceiling = 0;
    restart->retry_at_ms = now_ms;
}

/* The node found itself in the membership, under its old id. */
static void start_asking(struct restart *restart, const struct member_record *own,
                         const struct restart_event *event, struct restart_effects *effects)
{
    restart->state = RESTART_ASKING;
    restart->id = own->id;
    restart->retry_at_ms = event->now_ms;
    effects->begins_incarnation = true;
    ring_trace_say(effects->trace, "a member of this name: node %" PRIu64 " -> ask what was seen",
                   own->id);
}

/* Somebody who knows the cluster answered: whether this node is in it decides. */
static void find_self(struct restart *restart, const struct restart_event *event,
                      struct restart_effects *effects)
{
    const struct member_record *own =
        membership_find_name(event->membership, &restart->config.self.name);

    if (event->membership->count == 0)
        return;
    if (own != NULL && own->id != restart->replaces) {
        start_asking(restart, own, event, effects);
        return;
    }
    ring_trace_say(effects->trace, "no member of this name -> join as node %" PRIu64,
                   restart->config.self.id);
    start_joining(restart, event->now_ms);
}

/* How many are to be asked, and how many of them answered. */
struct tally {
    unsigned asked, answered;
};

static struct tally count_answers(const struct restart *restart,
                                  const struct membership *membership)
{
    struct tally tally = {0};

    for (unsigned i = 0; i < membership->count; i++) {
        if (!is_asked(restart, &membership->records[i]))
            continue;
        tally.asked++;
        tally.answered += has_answered(restart, membership->records[i].id);
    }
    assert(tally.answered <= tally.asked);
    return tally;
}

/* Whether enough is known of the clock that this node had. */
static bool knows_past(const struct restart *restart, const struct restart_event *event)
{
    struct tally tally = count_answers(restart, event->membership);
    bool has_drift_passed = event->now_ms - restart->started_ms >= restart->config.drift_max_ms;

#ifdef RING_BREAK_NO_CEILING
    return true;
#endif
    if (tally.answered == tally.asked)
        return true;
    /* A majority of all members, this one included: it is the time passed that makes it safe. */
    return has_drift_passed && 2 * (restart->certain_count + 1) > tally.asked + 1;
}

/* The old clock was so far ahead that waiting for it is no answer: nothing of it is kept. */
static bool is_ceiling_too_far(const struct restart *restart, const struct restart_event *event)
{
    return hlc_ms(restart->ceiling) > event->wall_ms + restart->config.drift_max_ms;
}

static void decide_past(struct restart *restart, const struct restart_event *event,
                        struct restart_effects *effects)
{
    const struct member_record *own = membership_find(event->membership, restart->id);

#ifndef RING_BREAK_NO_CEILING
    if (own != NULL && own->ceiling > restart->ceiling)
        restart->ceiling = own->ceiling;
#endif
    if (own == NULL || own->status == MEMBER_GONE) {
        ring_trace_say(effects->trace, "node %" PRIu64 " has gone -> join as another one",
                       restart->id);
    } else if (is_ceiling_too_far(restart, event)) {
        ring_trace_say(effects->trace, "its clock was too far ahead -> join as another node");
        restart->replaces = restart->id;
    } else {
        if (knows_past(restart, event))
            become_ready(restart, effects);
        return;
    }
    effects->discards_cells = true;
    start_joining(restart, event->now_ms);
}

static void decide_joined(struct restart *restart, const struct restart_event *event,
                          struct restart_effects *effects)
{
    if (membership_has(event->membership, restart->id))
        become_ready(restart, effects);
}

static void on_answered(struct restart *restart, const struct restart_event *event)
{
    const struct restart_answer *answer = event->answer;

    if (restart->state != RESTART_ASKING || answer->id != restart->id)
        return;
#ifndef RING_BREAK_NO_CEILING
    if (hlc_is_valid(answer->seen) && answer->seen > restart->ceiling)
        restart->ceiling = answer->seen;
#endif
    if (has_answered(restart, event->from) || restart->answered_count == RING_MEMBERS_MAX ||
        !membership_has(event->membership, event->from))
        return;
    restart->answered[restart->answered_count++] = event->from;
    restart->certain_count += !answer->is_starting;
    assert(restart->certain_count <= restart->answered_count);
}

static void on_joined(struct restart *restart, const struct restart_event *event,
                      struct restart_effects *effects)
{
    const struct restart_joined *joined = event->joined;

    if (restart->state != RESTART_JOINING || joined->id != restart->id)
        return;
    switch (joined->answer) {
    case MEMBERSHIP_DONE:
    case MEMBERSHIP_ALREADY: return;
    case MEMBERSHIP_UNKNOWN: /* of whom it replaces: who answers may hear of that node later */
    case MEMBERSHIP_FULL: /* and somebody may leave */ return;
    case MEMBERSHIP_IS_GONE:
    case MEMBERSHIP_NAME_TAKEN:
    case MEMBERSHIP_BAD: break;
    }
    ring_trace_say(effects->trace, "the join is refused -> an operator has to help");
    restart->state = RESTART_REFUSED;
    restart->refusal = joined->answer;
    restart->retry_at_ms = UINT64_MAX;
}

/* Sends out again what was not answered. */
static void ask(struct restart *restart, const struct restart_event *event,
                struct restart_effects *effects)
{
    if (event->now_ms < restart->retry_at_ms)
        return;
    switch (restart->state) {
    case RESTART_FINDING: effects->asks_seeds = true; break;
    case RESTART_JOINING: effects->joins_seeds = true; break;
    case RESTART_ASKING:
        for (unsigned i = 0; i < event->membership->count; i++) {
            const struct member_record *record = &event->membership->records[i];
            if (is_asked(restart, record) && !has_answered(restart, record->id) &&
                effects->ask_count < RING_MEMBERS_MAX)
                effects->asks[effects->ask_count++] = record->id;
        }
        break;
    case RESTART_READY:
    case RESTART_REFUSED: return;
    }
    restart->retry_at_ms = event->now_ms + restart->config.retry_ms;
}

void restart_step(struct restart *restart, const struct restart_event *event,
                  struct restart_effects *effects)
{
    assert(event->membership != NULL);
    assert(effects->ask_count == 0);
    restart->stepped_ms = event->now_ms;
    switch (event->type) {
    case RESTART_TICK: break;
    case RESTART_ANSWERED: on_answered(restart, event); break;
    case RESTART_JOINED: on_joined(restart, event, effects); break;
    }
    if (restart->state == RESTART_FINDING)
        find_self(restart, event, effects);
    else if (restart->state == RESTART_ASKING)
        decide_past(restart, event, effects);
    else if (restart->state == RESTART_JOINING)
        decide_joined(restart, event, effects);
    ask(restart, event, effects);
}

uint64_t restart_deadline_ms(const struct restart *restart)
{
    uint64_t drift_ends_ms = restart->started_ms + restart->config.drift_max_ms;

    if (restart->state == RESTART_ASKING && restart->stepped_ms < drift_ends_ms &&
        drift_ends_ms < restart->retry_at_ms)
        return drift_ends_ms;
    return restart->retry_at_ms;
}

/* 3. Doubt. */

void clock_doubt_init(struct clock_doubt *doubt)
{
    doubt->count = 0;
}

void clock_doubt_refused(struct clock_doubt *doubt, node_id from)
{
    for (unsigned i = 0; i < doubt->count; i++)
        if (doubt->refusing[i] == from)
            return;
    if (doubt->count < RING_MEMBERS_MAX)
        doubt->refusing[doubt->count++] = from;
}

void clock_doubt_accepted(struct clock_doubt *doubt, node_id from)
{
    for (unsigned i = 0; i < doubt->count; i++)
        if (doubt->refusing[i] == from)
            doubt->refusing[i--] = doubt->refusing[--doubt->count];
}

bool clock_doubt_may_coordinate(const struct clock_doubt *doubt,
                                const struct membership *membership)
{
    unsigned refusing = 0;

    for (unsigned i = 0; i < doubt->count; i++)
        refusing += membership_has(membership, doubt->refusing[i]);
    return 2 * refusing <= membership_live_count(membership);
}
