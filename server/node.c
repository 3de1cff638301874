/* A node's life: its loop and timers, pings, what it hears, and what workers see of it. */
#include "server/node.h"
#include "server/clock.h"
#include "server/log.h"
#include "server/node_inside.h"
#include "server/request.h"
#include "server/settings.h"
#include "server/worker.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLL_MS     100  /* between two looks at what workers noted */
#define STOP_MS     3000 /* hints are handed over for so long when the process ends */
#define GOODBYE_MS  20   /* for what was sent last to leave */
#define GREETING_MS 2000

uint64_t node_now_ms(const struct node *node)
{
    (void)node;
    return clock_monotonic_ms();
}

uint64_t node_wall_ms(const struct node *node)
{
    (void)node;
    return clock_now_ms();
}

uint64_t node_wait_ms(uint64_t ms)
{
    double scaled = (double)ms / settings.time_scale;

    return scaled < 1 ? 1 : (uint64_t)scaled;
}

const char *node_name_of(const struct node *node, node_id id, char text[MEMBER_NAME_MAX + 1])
{
    const struct member_record *record = membership_find(&node->membership, id);

    if (record != NULL)
        snprintf(text, MEMBER_NAME_MAX + 1, "%.*s", record->name.size, record->name.bytes);
    else
        snprintf(text, MEMBER_NAME_MAX + 1, "%" PRIu64, id);
    return text;
}

void node_set_wake(struct node *node)
{
    node->inside->must_set_wake = true;
}

void node_publish(struct node *node)
{
    node->inside->must_publish = true;
}

/* --- liveness --- */

static void send_ping(struct node *node, const struct ping *ping)
{
    struct peer_message message = {.type = PEER_PING, .ping = {.ping = *ping}};

    node_members_fill_ping(node, &message.ping.ping);
    node_repair_hello(node, &message.ping, ping->to);
    node_send(node, ping->to, &message);
}

static void note_change(struct node *node, const struct liveness_change *change)
{
    bool is_reachable = change->type == LIVENESS_BECAME_REACHABLE;
    char name[MEMBER_NAME_MAX + 1];

    node_name_of(node, change->peer, name);
    node_publish(node);
    switch (change->type) {
    case LIVENESS_RESTARTED: log_notice("node %s has started again", name); return;
    case LIVENESS_BECAME_REACHABLE: log_notice("node %s is reachable", name); break;
    case LIVENESS_BECAME_UNREACHABLE: log_warning("node %s is not reachable", name); break;
    }
    node_repair_peer(node, change->peer, is_reachable);
    node_members_reach(node, change->peer, is_reachable);
    if (!is_reachable)
        node_flush_lose(node, change->peer);
}

static void step_liveness(struct node *node, struct liveness_event event)
{
    struct liveness_effects effects = {0};

    event.now_ms = node_now_ms(node);
    liveness_step(&node->liveness, &event, &effects);
    for (unsigned i = 0; i < effects.change_count; i++)
        note_change(node, &effects.changes[i]);
    for (unsigned i = 0; i < effects.send_count; i++)
        send_ping(node, &effects.sends[i]);
    node_set_wake(node);
}

void node_link_changed(struct node *node, node_id peer, bool is_up)
{
    if (node->has_begun)
        step_liveness(node,
                      (struct liveness_event){.type = is_up ? LIVENESS_LINK_UP : LIVENESS_LINK_DOWN,
                                              .peer = peer});
}

/* Sent a millisecond later than they are, so that no ping from before has their time. */
void node_ping_all(struct node *node)
{
    for (unsigned i = 0; i < node->liveness.peer_count; i++) {
        node_id peer = node->liveness.peers[i].id;
        const struct ping ping = {.from = node->id,
                                  .to = peer,
                                  .incarnation = node->incarnation,
                                  .sent_ms = node_now_ms(node) + 1,
                                  .reaches_you = liveness_is_reachable(&node->liveness, peer)};
        if (ping.reaches_you)
            send_ping(node, &ping);
    }
}

static void find_peers(struct node *node)
{
    const struct membership *membership = &node->membership;
    node_id peers[RING_MEMBERS_MAX];
    unsigned count = 0;

    for (unsigned i = 0; i < membership->count && count < RING_MEMBERS_MAX; i++)
        if (membership->records[i].status != MEMBER_GONE)
            peers[count++] = membership->records[i].id;
    liveness_set_peers(&node->liveness, peers, count, node_now_ms(node));
}

void node_change_peers(struct node *node)
{
    node->inside->must_follow = true;
    node_members_log(node);
    node_publish(node);
    node_set_wake(node);
    if (!node->has_begun)
        return;
    find_peers(node);
    node_repair_forget_gone(node);
    node_flush_apply(node);
}

/* --- what workers see --- */

static unsigned count_peers(const struct node *node)
{
    unsigned live = membership_live_count(&node->membership);

    return live - membership_has(&node->membership, node->id);
}

static void fill_peers(const struct node *node, struct cluster_peer *peers)
{
    unsigned count = 0;

    for (unsigned i = 0; i < node->membership.count; i++) {
        const struct member_record *record = &node->membership.records[i];
        if (record->status == MEMBER_GONE || record->id == node->id)
            continue;
        struct cluster_peer *peer = &peers[count++];
        peer->id = record->id;
        peer->name = record->name;
        peer->incarnation = record->incarnation;
        peer->is_reachable = liveness_is_reachable(&node->liveness, record->id);
        peer->is_cut = node_is_cut(node, record->id);
        if (!node_address_socket(&record->address, &peer->address, &peer->address_bytes))
            peer->address_bytes = 0;
    }
    assert(count == count_peers(node));
}

static bool is_same_peer(const struct cluster_peer *a, const struct cluster_peer *b)
{
    return a->id == b->id && a->incarnation == b->incarnation &&
           a->is_reachable == b->is_reachable && a->is_cut == b->is_cut &&
           a->address_bytes == b->address_bytes &&
           memcmp(&a->address, &b->address, a->address_bytes) == 0;
}

static bool are_same_peers(const struct cluster_view *a, const struct cluster_view *b)
{
    if (a->self != b->self || a->incarnation != b->incarnation || a->peer_count != b->peer_count)
        return false;
    for (unsigned i = 0; i < a->peer_count; i++)
        if (!is_same_peer(&a->peers[i], &b->peers[i]))
            return false;
    return true;
}

/* The parts of what is published, in one allocation: the view, peers, views of the members, and
 * bitmaps. */
struct parts {
    struct cluster_published *published;
    struct cluster_peer *peers;
    struct peer_view *views;
    uint64_t *words;
    size_t words_each;
};

static bool parts_new(const struct node *node, unsigned peers, struct parts *parts)
{
    unsigned members = node->table->member_count;
    size_t words_each = RING_BITMAP_WORDS(node->table->partition_bits);
    size_t bytes = sizeof *parts->published + peers * sizeof parts->peers[0] +
                   members * sizeof parts->views[0] +
                   (members + 1) * words_each * sizeof parts->words[0];

    static_assert(sizeof(struct cluster_published) % alignof(struct cluster_peer) == 0 &&
                      sizeof(struct cluster_peer) % alignof(struct peer_view) == 0 &&
                      sizeof(struct peer_view) % alignof(uint64_t) == 0,
                  "each part is aligned behind the one before it");
    parts->published = calloc(1, bytes);
    if (parts->published == NULL)
        return false;
    parts->peers = (struct cluster_peer *)(parts->published + 1);
    parts->views = (struct peer_view *)(parts->peers + peers);
    parts->words = (uint64_t *)(parts->views + members);
    parts->words_each = words_each;
    return true;
}

/* A copy of that node's bitmap; NULL if it warms for nothing. */
static const uint64_t *copy_warming(const struct node *node, struct parts *parts, node_id id)
{
    const uint64_t *warming = node_repair_warming(node, id);
    uint64_t *copy = parts->words;

    if (warming == NULL)
        return NULL;
    memcpy(copy, warming, parts->words_each * sizeof *copy);
    parts->words += parts->words_each;
    return copy;
}

static void fill_views(const struct node *node, struct parts *parts)
{
    const struct ring_table *table = node->table;

    for (unsigned i = 0; i < table->member_count; i++) {
        node_id id = table->members[i].id;
        parts->views[i] = (struct peer_view){
            .warming = copy_warming(node, parts, id),
            .hedge_ms = liveness_hedge_ms(&node->liveness, id),
            .is_reachable = liveness_is_reachable(&node->liveness, id),
        };
    }
}

/* Without memory the old view stays for now. */
static void publish(struct node *node)
{
    struct node_inside *inside = node->inside;
    const struct cluster_view *before = atomic_load(&node->cluster->view);
    unsigned peer_count = count_peers(node);
    struct parts parts;

    if (!parts_new(node, peer_count, &parts)) {
        log_warning("out of memory for what workers have to know of the cluster");
        return;
    }
    fill_peers(node, parts.peers);
    fill_views(node, &parts);
    parts.published->table = inside->table;
    inside->table->users++;
    struct cluster_view *view = &parts.published->view;
    *view = (struct cluster_view){
        .table = node->table,
        .views = parts.views,
        .warming = copy_warming(node, &parts, node->id),
        .self = node->id,
        .incarnation = node->incarnation,
        .flushed_up_to = inside->flushed_up_to,
        .may_coordinate = clock_doubt_may_coordinate(&inside->doubt, &node->membership),
        .peer_count = peer_count,
        .peers = parts.peers,
        .peers_version = before->peers_version,
    };
    view->peers_version += !are_same_peers(before, view);
    inside->published = parts.published;
    cluster_publish(node->cluster, parts.published);
}

/* Answer times change all the time, and hardly matter: they are published now and then. */
static bool have_hedges_changed(const struct node *node)
{
    const struct cluster_published *published = node->inside->published;

    if (published == NULL)
        return false;
    for (unsigned i = 0; i < published->view.table->member_count; i++) {
        node_id id = published->view.table->members[i].id;
        if (liveness_hedge_ms(&node->liveness, id) != published->view.views[i].hedge_ms)
            return true;
    }
    return false;
}

/* --- its timers --- */

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void set_timer(struct node *node)
{
    struct node_inside *inside = node->inside;
    uint64_t now_ms = node_now_ms(node), at_ms = node_members_deadline_ms(node);

    if (node->has_begun) {
        at_ms = earliest(at_ms, liveness_deadline_ms(&node->liveness));
        at_ms = earliest(at_ms, node_repair_deadline_ms(node));
        at_ms = earliest(at_ms, node_flush_deadline_ms(node));
    }
    if (node->is_stopping)
        at_ms = earliest(at_ms, inside->stop_at_ms);
    ev_timer_stop(node->loop, &inside->wake);
    if (at_ms == UINT64_MAX)
        return;
    ev_timer_set(&inside->wake, at_ms <= now_ms ? 0.0 : (double)(at_ms - now_ms) / 1000, 0.0);
    ev_timer_start(node->loop, &inside->wake);
}

/* Hands hints over, then tells the peers, then ends the loop. */
static void go_on_stopping(struct node *node)
{
    struct node_inside *inside = node->inside;
    uint64_t now_ms = node_now_ms(node);

    if (inside->has_said_goodbye) {
        if (now_ms >= inside->stop_at_ms)
            ev_break(node->loop, EVBREAK_ALL);
        return;
    }
    if (node->has_begun && node_repair_is_busy(node) && now_ms < inside->stop_at_ms)
        return;
    inside->has_said_goodbye = true;
    inside->stop_at_ms = now_ms + GOODBYE_MS;
    inside->was_saved = false; /* times that were seen since count, too */
    node_flush_stop(node);
    if (node->has_begun)
        step_liveness(node, (struct liveness_event){.type = LIVENESS_STOP});
    node_set_wake(node);
}

void node_stop(struct node *node)
{
    if (node->is_stopping)
        return;
    node->is_stopping = true;
    node->inside->stop_at_ms = node_now_ms(node) + STOP_MS;
    go_on_stopping(node);
    node_set_wake(node);
}

static void on_wake(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct node *node = timer->data;
    uint64_t now_ms = node_now_ms(node);

    (void)loop, (void)events;
    node_set_wake(node);
    node_members_wake(node);
    if (node->has_begun) {
        while (liveness_deadline_ms(&node->liveness) <= now_ms)
            step_liveness(node, (struct liveness_event){.type = LIVENESS_TICK});
        node_repair_wake(node);
        node_flush_wake(node);
    }
    if (node->is_stopping)
        go_on_stopping(node);
}

static void take_note(struct node *node, const struct cluster_note *note)
{
    switch (note->type) {
    case NOTE_REPLY:
        step_liveness(node, (struct liveness_event){.type = LIVENESS_REPLY,
                                                    .peer = note->peer,
                                                    .round_trip_us = note->us});
        break;
    case NOTE_LATENCY: node_repair_latency(node, note->us); break;
    case NOTE_CLOCK_REFUSED:
        clock_doubt_refused(&node->inside->doubt, note->peer);
        node_publish(node);
        break;
    case NOTE_CLOCK_ACCEPTED:
        clock_doubt_accepted(&node->inside->doubt, note->peer);
        node_publish(node);
        break;
    }
}

static void saw_dot(struct node *node, struct dot dot)
{
    if (hlc_is_valid(dot.hlc))
        membership_saw_clock(&node->membership, dot.node, dot.hlc);
}

void node_saw_cell(struct node *node, const struct cell *cell)
{
    for (unsigned i = 0; i < cell->sibling_count; i++)
        saw_dot(node, cell->siblings[i].dot);
    for (unsigned i = 0; i < cell->context.count; i++)
        saw_dot(node,
                (struct dot){cell->context.intervals[i].node, cell->context.intervals[i].last});
}

static void on_poll(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct node *node = timer->data;

    (void)loop, (void)events;
    if (!node->has_begun)
        return;
    cluster_read_notes(node->cluster, take_note, saw_dot);
    cluster_reclaim(node->cluster);
    atomic_store_explicit(&node->cluster->is_in_doubt, node->inside->doubt.count > 0,
                          memory_order_relaxed);
    if (have_hedges_changed(node))
        node_publish(node);
}

/* All that a turn of the loop has left to do, once. */
static void end_turn(struct ev_loop *loop, ev_prepare *prepare, int events)
{
    struct node *node = prepare->data;
    struct node_inside *inside = node->inside;

    (void)loop, (void)events;
    if (node->has_begun && !node->is_stopping)
        node_members_tell_warmth(node);
    if (inside->must_follow || inside->must_relink)
        node_links_follow(node);
    inside->must_follow = inside->must_relink = false;
    node_state_save(node);
    if (inside->must_publish && node->has_begun)
        publish(node);
    inside->must_publish = false;
    if (inside->must_set_wake)
        set_timer(node);
    inside->must_set_wake = false;
}

/* --- what it hears --- */

static void hear_ping(struct node *node, node_id from, const struct peer_ping *ping)
{
    if (ping->ping.from != from)
        return;
    step_liveness(
        node, (struct liveness_event){.type = LIVENESS_PING, .peer = from, .ping = &ping->ping});
    node_repair_ping(node, ping);
    node_members_hear_ping(node, &ping->ping);
    node_flush_hear(node, &ping->ping);
    node_set_wake(node);
}

/* Whether the link leads to a life that is over by what is known of the peer. */
static bool is_of_earlier_life(const struct node *node, const struct peer_link *link)
{
    const struct member_record *record = membership_find(&node->membership, peer_link_peer(link));

    return record != NULL && peer_link_hello(link)->incarnation < record->incarnation;
}

void node_hear(struct node *node, struct peer_link *link, const struct peer_message *message)
{
    node_id from = peer_link_peer(link);

    if (node_is_cut(node, from) || !node_link_is_named(node, link, message))
        return;
    if (message->type >= PEER_RESTART_ASK && message->type <= PEER_RESTART_JOINED) {
        node_members_on_talk(node, link, message);
        return;
    }
    if (from == NODE_NONE || is_of_earlier_life(node, link))
        return;
    if (message->type == PEER_CLAIMANT)
        node_members_on_claimant(node, from, &message->claimant);
    else if (!node->has_begun)
        return;
    else if (message->type == PEER_PING)
        hear_ping(node, from, &message->ping);
    else if (message->type >= PEER_HINT && message->type <= PEER_KNOWN &&
             membership_has(&node->membership, from))
        node_repair_message(node, from, message);
    node_set_wake(node);
}

/* --- its life --- */

/* The options of tests/sim divided by --time-scale, as far as they make sense. */
static struct liveness_options liveness_options(void)
{
    struct liveness_options options = liveness_options_default;

    options.ping_ms = (uint32_t)node_wait_ms(options.ping_ms);
    if (options.ping_ms < 4)
        options.ping_ms = 4;
    options.silence_min_ms = (uint32_t)node_wait_ms(options.silence_min_ms) + options.ping_ms;
    options.silence_max_ms = (uint32_t)node_wait_ms(options.silence_max_ms) + options.ping_ms;
    options.hold_min_ms = (uint32_t)node_wait_ms(options.hold_min_ms);
    options.hold_max_ms = (uint32_t)node_wait_ms(options.hold_max_ms);
    options.calm_ms = (uint32_t)node_wait_ms(options.calm_ms);
    options.hedge_min_ms = settings.hedge_min_ms;
    if (options.hedge_max_ms < options.hedge_min_ms)
        options.hedge_max_ms = options.hedge_min_ms;
    return options;
}

void node_begin(struct node *node, bool is_founding)
{
    const struct member_record *own = membership_find(&node->membership, node->id);
    struct liveness_options options = liveness_options();

    assert(!node->has_begun);
    assert(own != NULL);
    assert(node->table != NULL);
    node->incarnation = own->incarnation;
    store_raise_clocks(node->store, node->restart.ceiling);
    liveness_init(&node->liveness, node->id, node->incarnation, &options, node_now_ms(node));
    clock_doubt_init(&node->inside->doubt);
    node->has_begun = true;
    node_flush_apply(node);
    node_repair_start(node, is_founding);
    find_peers(node);
    node_change_peers(node);
    log_notice("node %s takes part in its cluster of %u", settings.node_name,
               membership_live_count(&node->membership));
}

/* A peer opens a link for requests per worker of its own: they go round among ours. */
static void take_peer(void *context, enum peer_link_use use, int fd)
{
    struct node *node = context;
    struct peer_loop *loop = node->inside->links.loop;

    if (use == PEER_LINK_REQUESTS && node->has_begun)
        requests_take_link(workers_get(node->inside->next_worker++ % workers_count()), fd);
    else if (use == PEER_LINK_REQUESTS || loop == NULL)
        close(fd); /* it comes again */
    else
        peer_link_accept(loop, fd);
}

bool node_listen(struct node *node)
{
    struct node_inside *inside = node->inside;
    const struct peer_listener_options options = {
        .address = settings.cluster_listen,
        .is_protected = node->secret != NULL || cluster_tls(node->cluster) != NULL,
        .has_tls = cluster_tls(node->cluster) != NULL,
        .greeting_ms_max = GREETING_MS,
        .take = take_peer,
        .context = node,
    };

    inside->listener = peer_listener_open(&options);
    if (inside->listener == NULL)
        return false;
    return node_address_make(&inside->own_address, peer_listener_text(inside->listener));
}

void node_start(struct node *node)
{
    struct node_inside *inside = node->inside;
    struct ev_loop *loop = node->loop;
    double poll_s = POLL_MS / 1000.0;

    ev_init(&inside->wake, on_wake);
    ev_timer_init(&inside->poll, on_poll, poll_s, poll_s);
    ev_prepare_init(&inside->end_of_turn, end_turn);
    ev_set_priority(&inside->end_of_turn, EV_MAXPRI); /* before links send what they have */
    inside->wake.data = inside->poll.data = inside->end_of_turn.data = node;
    ev_timer_start(loop, &inside->poll);
    ev_prepare_start(loop, &inside->end_of_turn);
    peer_listener_start(inside->listener, loop);
    inside->must_relink = true;
    node_members_start(node);
    node_set_wake(node);
}

struct node *node_new(struct cluster *cluster)
{
    struct node *node = calloc(1, sizeof *node);

    if (node == NULL || (node->inside = calloc(1, sizeof *node->inside)) == NULL)
        goto fail_memory;
    node->cluster = cluster;
    node->store = cluster->store;
    node->loop = cluster->loop;
    node->secret = cluster_secret(cluster);
    membership_init(&node->membership);
    if (!node_members_init(node))
        goto fail_memory;
    if (!node_state_load(node))
        goto fail;
    node->repair = node_repair_new(node);
    if (node->repair != NULL)
        return node;

fail_memory:
    log_error("out of memory for what a cluster's node needs");
fail:
    node_free(node);
    return NULL;
}

void node_free(struct node *node)
{
    if (node == NULL)
        return;
    if (node->repair != NULL)
        node_repair_free(node->repair);
    if (node->inside != NULL) {
        node_links_deinit(node);
        peer_listener_close(node->inside->listener);
        node_members_deinit(node);
    }
    free(node->inside);
    free(node);
}
