#include "ring/liveness.h"
#include <assert.h>
#include <stddef.h>
#include <string.h>

#define ROUND_TRIP_US_MAX (60u * 1000 * 1000)

const struct liveness_options liveness_options_default = {
    .ping_ms = 500,
    .silence_min_ms = 1500,
    .silence_max_ms = 5000,
    .hold_min_ms = 500,
    .hold_max_ms = 10000,
    .calm_ms = 60000,
    .hedge_min_ms = 5,
    .hedge_max_ms = 1000,
};

void liveness_init(struct liveness *liveness, node_id self, uint64_t incarnation,
                   const struct liveness_options *options, uint64_t now_ms)
{
    memset(liveness, 0, sizeof *liveness);
    liveness->options = options != NULL ? *options : liveness_options_default;
    assert(self != NODE_NONE && self != NODE_ANY);
    assert(liveness->options.ping_ms >= 4);
    assert(liveness->options.silence_min_ms > liveness->options.ping_ms);
    assert(liveness->options.silence_max_ms >= liveness->options.silence_min_ms);
    assert(liveness->options.hold_max_ms >= liveness->options.hold_min_ms);
    assert(liveness->options.hedge_max_ms >= liveness->options.hedge_min_ms);
    assert(liveness->options.calm_ms > 0);
    liveness->self = self;
    liveness->incarnation = incarnation;
    liveness->stepped_ms = now_ms;
    liveness->deadline_ms = UINT64_MAX;
}

/* Where the peer is, or would go. */
static unsigned place_of(const struct liveness *liveness, node_id id)
{
    unsigned low = 0, high = liveness->peer_count;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (liveness->peers[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct liveness_peer *liveness_find(const struct liveness *liveness, node_id id)
{
    unsigned i = place_of(liveness, id);

    return i < liveness->peer_count && liveness->peers[i].id == id ? &liveness->peers[i] : NULL;
}

static struct liveness_peer *find(struct liveness *liveness, node_id id)
{
    unsigned i = place_of(liveness, id);

    return i < liveness->peer_count && liveness->peers[i].id == id ? &liveness->peers[i] : NULL;
}

static bool is_listed(const node_id *nodes, unsigned count, node_id id)
{
    for (unsigned i = 0; i < count; i++)
        if (nodes[i] == id)
            return true;
    return false;
}

void liveness_set_peers(struct liveness *liveness, const node_id *nodes, unsigned count,
                        uint64_t now_ms)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < liveness->peer_count; i++)
        if (is_listed(nodes, count, liveness->peers[i].id))
            liveness->peers[kept++] = liveness->peers[i];
    liveness->peer_count = kept;
    for (unsigned i = 0; i < count; i++) {
        unsigned place = place_of(liveness, nodes[i]);
        assert(nodes[i] != NODE_NONE && nodes[i] != NODE_ANY);
        assert(i == 0 || nodes[i - 1] < nodes[i]);
        if (nodes[i] == liveness->self || find(liveness, nodes[i]) != NULL)
            continue;
        assert(liveness->peer_count < RING_MEMBERS_MAX);
        struct liveness_peer *peer = &liveness->peers[place];
        memmove(peer + 1, peer, (liveness->peer_count - place) * sizeof *peer);
        liveness->peer_count++;
        *peer = (struct liveness_peer){.id = nodes[i],
                                       .state = LIVENESS_UNKNOWN,
                                       .proved_ms = now_ms,
                                       .changed_ms = now_ms,
                                       .ping_at_ms = now_ms};
        liveness->deadline_ms = now_ms;
    }
}

static uint32_t clamp(uint64_t number, uint32_t low, uint32_t high)
{
    return number < low ? low : number > high ? high : (uint32_t)number;
}

/* After this long an answer is late (RFC 6298, section 2.3, without its minimum of a second). */
static uint32_t late_ms(const struct liveness_peer *peer)
{
    return (peer->round_trip_us + 4 * peer->deviation_us) / 1000 + 1;
}

static uint32_t silence_limit_ms(const struct liveness *liveness, const struct liveness_peer *peer)
{
    const struct liveness_options *options = &liveness->options;

    if (!peer->has_round_trip)
        return options->silence_max_ms;
    return clamp(2ull * options->ping_ms + 2ull * late_ms(peer), options->silence_min_ms,
                 options->silence_max_ms);
}

static void wake_at(struct liveness *liveness, uint64_t at_ms)
{
    if (at_ms < liveness->deadline_ms)
        liveness->deadline_ms = at_ms;
}

static void ping_soon(struct liveness *liveness, struct liveness_peer *peer, uint64_t now_ms)
{
    uint64_t at_ms = peer->pinged_ms + liveness->options.ping_ms / 4;

    if (at_ms < now_ms || peer->pinged_ms == 0)
        at_ms = now_ms;
    if (at_ms < peer->ping_at_ms)
        peer->ping_at_ms = at_ms;
    wake_at(liveness, peer->ping_at_ms);
}

static void say_change(enum liveness_change_type type, const struct liveness_peer *peer,
                       struct liveness_effects *effects)
{
    assert(effects->change_count < LIVENESS_CHANGES_MAX);
    effects->changes[effects->change_count++] = (struct liveness_change){type, peer->id};
}

static void become_reachable(struct liveness *liveness, struct liveness_peer *peer, uint64_t now_ms,
                             struct liveness_effects *effects)
{
    assert(peer->state != LIVENESS_REACHABLE);
    peer->state = LIVENESS_REACHABLE;
    peer->changed_ms = now_ms;
    ping_soon(liveness, peer, now_ms); /* it may wait to hear this */
    say_change(LIVENESS_BECAME_REACHABLE, peer, effects);
    ring_trace_say(effects->trace, "%llu answers -> reachable", (unsigned long long)peer->id);
}

/* How long it has to answer after this loss, longer after each. */
static uint32_t hold_after_loss_ms(const struct liveness *liveness,
                                   const struct liveness_peer *peer, uint64_t now_ms)
{
#ifdef RING_BREAK_LIVENESS_NO_DAMPING
    (void)liveness, (void)peer, (void)now_ms;
    return 0;
#endif
    uint64_t halvings = (now_ms - peer->changed_ms) / liveness->options.calm_ms;
    uint64_t hold_ms = halvings < 32 ? peer->hold_ms >> halvings : 0;

    return clamp(2 * hold_ms, liveness->options.hold_min_ms, liveness->options.hold_max_ms);
}

static void become_unreachable(struct liveness *liveness, struct liveness_peer *peer,
                               uint64_t now_ms, const char *why, struct liveness_effects *effects)
{
    switch (peer->state) {
    case LIVENESS_UNREACHABLE: return;
    case LIVENESS_RETURNING: peer->state = LIVENESS_UNREACHABLE; return;
    case LIVENESS_REACHABLE: peer->hold_ms = hold_after_loss_ms(liveness, peer, now_ms); break;
    case LIVENESS_UNKNOWN: break;
    }
    peer->state = LIVENESS_UNREACHABLE;
    peer->changed_ms = now_ms;
    say_change(LIVENESS_BECAME_UNREACHABLE, peer, effects);
    ring_trace_say(effects->trace, "%llu %s -> unreachable, for %u ms at least",
                   (unsigned long long)peer->id, why, (unsigned)peer->hold_ms);
}

static void on_proof(struct liveness *liveness, struct liveness_peer *peer, uint64_t now_ms,
                     struct liveness_effects *effects)
{
    peer->proved_ms = now_ms;
    if (peer->is_stopping)
        return;
    switch (peer->state) {
    case LIVENESS_REACHABLE: return;
    case LIVENESS_UNKNOWN: become_reachable(liveness, peer, now_ms, effects); return;
    case LIVENESS_UNREACHABLE:
        peer->state = LIVENESS_RETURNING;
        peer->answered_ms = now_ms;
        ping_soon(liveness, peer, now_ms);
        break;
    case LIVENESS_RETURNING: break;
    }
    if (now_ms - peer->answered_ms >= peer->hold_ms)
        become_reachable(liveness, peer, now_ms, effects);
}

/* The mean and the deviation, by RFC 6298, section 2. */
static void on_round_trip(struct liveness_peer *peer, uint32_t sample_us)
{
    if (sample_us > ROUND_TRIP_US_MAX)
        sample_us = ROUND_TRIP_US_MAX;
    if (!peer->has_round_trip) {
        peer->has_round_trip = true;
        peer->round_trip_us = sample_us;
        peer->deviation_us = sample_us / 2;
        return;
    }
    uint32_t difference_us = sample_us > peer->round_trip_us ? sample_us - peer->round_trip_us
                                                             : peer->round_trip_us - sample_us;
    peer->deviation_us = (3 * peer->deviation_us + difference_us) / 4;
    peer->round_trip_us = (7 * peer->round_trip_us + sample_us) / 8;
}

static void send(struct liveness *liveness, struct liveness_peer *peer, const struct ping *answered,
                 uint64_t now_ms, struct liveness_effects *effects)
{
    assert(effects->send_count < LIVENESS_SENDS_MAX);
    effects->sends[effects->send_count++] =
        (struct ping){.from = liveness->self,
                      .to = peer->id,
                      .incarnation = liveness->incarnation,
                      .sent_ms = answered != NULL ? answered->sent_ms : now_ms,
                      .asked_by = answered != NULL ? answered->incarnation : 0,
                      .is_answer = answered != NULL,
                      .is_stopping = liveness->is_stopping,
                      .reaches_you = peer->state == LIVENESS_REACHABLE};
}

static void on_answer(struct liveness *liveness, struct liveness_peer *peer,
                      const struct liveness_event *event, struct liveness_effects *effects)
{
    uint64_t sent_ms = event->ping->sent_ms;

    /* An answer that was under way for too long says nothing about now. */
    if (event->ping->asked_by != liveness->incarnation || sent_ms > event->now_ms ||
        event->now_ms - sent_ms > liveness->options.silence_max_ms)
        return;
    uint64_t sample_us = event->round_trip_us;
    if (sample_us == 0)
        sample_us = (event->now_ms - sent_ms) * 1000;
    on_round_trip(peer, clamp(sample_us, 0, ROUND_TRIP_US_MAX));
    on_proof(liveness, peer, event->now_ms, effects);
}

static void on_ping(struct liveness *liveness, const struct liveness_event *event,
                    struct liveness_effects *effects)
{
    const struct ping *ping = event->ping;
    struct liveness_peer *peer = find(liveness, ping->from);

    if (peer == NULL || ping->to != liveness->self || ping->incarnation < peer->incarnation)
        return;
    if (peer->incarnation != ping->incarnation) {
        if (peer->incarnation != 0) {
            say_change(LIVENESS_RESTARTED, peer, effects);
            ring_trace_say(effects->trace, "%llu has restarted", (unsigned long long)peer->id);
        }
        peer->incarnation = ping->incarnation;
        peer->is_stopping = false;
    }
    peer->reaches_us = ping->reaches_you;
    if (ping->is_stopping) {
        peer->is_stopping = true;
        become_unreachable(liveness, peer, event->now_ms, "is stopping", effects);
    }
    if (ping->is_answer) {
        on_answer(liveness, peer, event, effects);
        return;
    }
#ifdef RING_BREAK_LIVENESS_PINGED
    on_proof(liveness, peer, event->now_ms, effects);
#endif
    send(liveness, peer, ping, event->now_ms, effects);
    if (peer->state == LIVENESS_UNREACHABLE || peer->state == LIVENESS_UNKNOWN)
        ping_soon(liveness, peer, event->now_ms);
}

static void on_stop(struct liveness *liveness, uint64_t now_ms)
{
    liveness->is_stopping = true;
    for (unsigned i = 0; i < liveness->peer_count; i++)
        liveness->peers[i].ping_at_ms = now_ms;
    wake_at(liveness, now_ms);
}

/* Pings to a peer are a little less than ping_ms apart, so that those to all peers spread out. */
static uint64_t next_ping_ms(const struct liveness *liveness, const struct liveness_peer *peer,
                             uint64_t now_ms)
{
    uint64_t ping_ms = liveness->options.ping_ms;
    uint64_t mixed = (peer->id ^ liveness->self ^ now_ms) * 0x9e3779b97f4a7c15u;
    bool is_late = now_ms - peer->proved_ms > ping_ms + late_ms(peer);

    if (is_late && peer->state == LIVENESS_REACHABLE)
        ping_ms /= 4;
    else if (peer->state == LIVENESS_RETURNING)
        ping_ms /= 2;
    return now_ms + ping_ms - (mixed >> 32) % (ping_ms / 8 + 1);
}

/* When something is due for the peer. */
static uint64_t due_ms(const struct liveness *liveness, const struct liveness_peer *peer)
{
    uint64_t gone_ms = peer->proved_ms + silence_limit_ms(liveness, peer) + 1;

    if (peer->state == LIVENESS_UNREACHABLE || peer->ping_at_ms < gone_ms)
        return peer->ping_at_ms;
    return gone_ms;
}

static void on_tick(struct liveness *liveness, uint64_t now_ms, struct liveness_effects *effects)
{
    liveness->deadline_ms = UINT64_MAX;
    for (unsigned i = 0; i < liveness->peer_count; i++) {
        struct liveness_peer *peer = &liveness->peers[i];
        bool has_room = effects->send_count < LIVENESS_SENDS_MAX &&
                        effects->change_count < LIVENESS_CHANGES_MAX;
        if (has_room && now_ms - peer->proved_ms > silence_limit_ms(liveness, peer))
            become_unreachable(liveness, peer, now_ms, "is silent", effects);
        if (has_room && now_ms >= peer->ping_at_ms) {
            send(liveness, peer, NULL, now_ms, effects);
            peer->pinged_ms = now_ms;
            peer->ping_at_ms = next_ping_ms(liveness, peer, now_ms);
        }
        wake_at(liveness, due_ms(liveness, peer));
    }
}

static uint64_t later(uint64_t time_ms, uint64_t by_ms, uint64_t now_ms)
{
    return time_ms + by_ms < now_ms ? time_ms + by_ms : now_ms;
}

/* Whoever did not listen has heard nothing, which proves nothing. */
static void after_sleep(struct liveness *liveness, uint64_t now_ms,
                        struct liveness_effects *effects)
{
    uint64_t awake_ms = liveness->deadline_ms;

    if (awake_ms < liveness->stepped_ms)
        awake_ms = liveness->stepped_ms;
    if (now_ms <= awake_ms || now_ms - awake_ms <= liveness->options.ping_ms)
        return;
    effects->slept_ms = now_ms - awake_ms;
    for (unsigned i = 0; i < liveness->peer_count; i++) {
        struct liveness_peer *peer = &liveness->peers[i];
        peer->proved_ms = later(peer->proved_ms, effects->slept_ms, now_ms);
        peer->answered_ms = later(peer->answered_ms, effects->slept_ms, now_ms);
    }
    ring_trace_say(effects->trace, "slept for %llu ms -> peers get the time back",
                   (unsigned long long)effects->slept_ms);
}

void liveness_step(struct liveness *liveness, const struct liveness_event *event,
                   struct liveness_effects *effects)
{
    struct liveness_peer *peer = NULL;
    uint64_t now_ms = event->now_ms;

    assert(now_ms >= liveness->stepped_ms);
    after_sleep(liveness, now_ms, effects);
    liveness->stepped_ms = now_ms;
    if (event->peer != NODE_NONE)
        peer = find(liveness, event->peer);
    switch (event->type) {
    case LIVENESS_TICK: on_tick(liveness, now_ms, effects); return;
    case LIVENESS_PING: on_ping(liveness, event, effects); return;
    case LIVENESS_STOP: on_stop(liveness, now_ms); return;
    case LIVENESS_REPLY:
        if (peer != NULL && event->round_trip_us > 0)
            on_round_trip(peer, event->round_trip_us);
        if (peer != NULL)
            on_proof(liveness, peer, now_ms, effects);
        return;
    case LIVENESS_LATE:
    case LIVENESS_LINK_UP:
        if (peer != NULL)
            ping_soon(liveness, peer, now_ms);
        return;
    case LIVENESS_LINK_DOWN:
        if (peer != NULL)
            become_unreachable(liveness, peer, now_ms, "has lost its link", effects);
        return;
    }
}

uint64_t liveness_deadline_ms(const struct liveness *liveness)
{
    return liveness->deadline_ms;
}

bool liveness_is_reachable(const struct liveness *liveness, node_id id)
{
    const struct liveness_peer *peer = liveness_find(liveness, id);

    return id == liveness->self || (peer != NULL && peer->state == LIVENESS_REACHABLE);
}

bool liveness_is_answering(const struct liveness *liveness, node_id id)
{
    const struct liveness_peer *peer = liveness_find(liveness, id);

    if (id == liveness->self)
        return true;
    return peer != NULL && !peer->is_stopping &&
           (peer->state == LIVENESS_REACHABLE || peer->state == LIVENESS_RETURNING);
}

unsigned liveness_hedge_ms(const struct liveness *liveness, node_id id)
{
    const struct liveness_peer *peer = liveness_find(liveness, id);
    uint64_t hedge_us = 0;

    if (peer != NULL && peer->has_round_trip)
        hedge_us = 2ull * peer->round_trip_us + 4ull * peer->deviation_us;
    return clamp(hedge_us / 1000 + 1, liveness->options.hedge_min_ms,
                 liveness->options.hedge_max_ms);
}
