/* The links of one worker: one to each peer, for its requests, and those that peers opened to it,
 * for theirs.  They follow the view of the cluster, at the start of each turn. */
#include "server/cluster.h"
#include "server/log.h"
#include "server/request_internal.h"
#include "server/settings.h"
#include "server/worker.h"
#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

/* A frame has one value, as a rule, of at most -I, or the siblings of one cell. */
#define FRAME_SIBLINGS       32
#define FRAME_OVERHEAD_BYTES (1u << 20)
#define UNSENT_BYTES_MAX     (64u << 20)
#define GREETING_MS_MAX      2000
#define BACKOFF_MS_MIN       10
#define BACKOFF_MS_MAX       1000
#define SILENCE_MS_MAX       5000

/* ---- lists ---- */

static struct request_link *add(struct requests *requests, struct request_link **list)
{
    struct request_link *link = calloc(1, sizeof *link);

    if (link == NULL)
        return NULL;
    link->owner = requests;
    link->next = *list;
    if (link->next != NULL)
        link->next->previous = link;
    *list = link;
    return link;
}

static void drop(struct request_link *link)
{
    struct requests *requests = link->owner;
    struct request_link **list = link->is_accepted ? &requests->accepted : &requests->links;

    *(link->previous != NULL ? &link->previous->next : list) = link->next;
    if (link->next != NULL)
        link->next->previous = link->previous;
    if (link->is_open)
        atomic_fetch_sub_explicit(&requests->links_open, 1, memory_order_relaxed);
    free(link);
}

static struct request_link *find(const struct requests *requests, node_id peer)
{
    struct request_link *link = requests->links;

    while (link != NULL && link->peer != peer)
        link = link->next;
    return link;
}

/* ---- what becomes of a peer ---- */

/* Requests hear that the peer is lost, but not before the next turn: who calls may be in the middle
 * of one. */
static void note_lost(struct request_link *link)
{
    struct requests *requests = link->owner;

    link->was_lost = true;
    requests->has_lost = true;
    if (!ev_is_active(&requests->wakes))
        ev_idle_start(requests->worker->loop, &requests->wakes);
}

static void update(struct request_link *link)
{
    const bool was_usable = link->is_usable;

    link->is_usable = link->is_reachable && (link->via != NULL || link->is_open || link->is_cut);
    if (was_usable && !link->is_usable)
        note_lost(link);
}

/* The peer's link to use in place of ours; NULL: there is none. */
static struct request_link *theirs(const struct request_link *link)
{
    struct request_link *accepted = link->owner->accepted;

    while (accepted != NULL &&
           (accepted->peer != link->peer || !accepted->is_open || accepted->is_old))
        accepted = accepted->next;
    return accepted;
}

/* Chooses the link to use; what was under way over another one of theirs is lost. */
static void choose(struct request_link *link)
{
    struct request_link *before = link->via;

    if (link->peer < link->owner->self)
        link->via = theirs(link);
    if (before != NULL && before != link->via && link->is_usable)
        note_lost(link);
    update(link);
}

/* An accepted link has opened, or is not to be used any more. */
static void choose_for(struct requests *requests, node_id peer)
{
    struct request_link *link = find(requests, peer);

    if (link != NULL)
        choose(link);
}

static void tell_lost(struct requests *requests)
{
    struct request_link *next;

    requests->has_lost = false;
    ev_idle_stop(requests->worker->loop, &requests->wakes);
    for (struct request_link *link = requests->links; link != NULL; link = next) {
        next = link->next;
        if (link->was_lost)
            requests_lose(requests, link->peer);
        link->was_lost = false;
        if (link->is_gone)
            drop(link);
    }
}

static void keep_awake(struct ev_loop *loop, ev_idle *idle, int events)
{
    (void)loop, (void)idle, (void)events;
}

/* ---- what links tell ---- */

static const struct cluster_peer *peer_of(const struct cluster_view *view, node_id id)
{
    for (unsigned i = 0; i < view->peer_count; i++)
        if (view->peers[i].id == id)
            return &view->peers[i];
    return NULL;
}

/* Its certificate is not that of the node that it says it is. */
static bool is_impostor(const struct request_link *link)
{
    const struct requests *requests = link->owner;
    const struct cluster_peer *peer =
        requests->view != NULL ? peer_of(requests->view, link->peer) : NULL;
    struct member_name shown;

    if (cluster_tls(requests->cluster) == NULL || peer == NULL)
        return false;
    return !peer_link_name(link->link, &shown) || memcmp(&shown, &peer->name, sizeof shown) != 0;
}

/* What the view says of who opened the link. */
static void judge_accepted(struct request_link *link, const struct cluster_view *view)
{
    const struct cluster_peer *peer = peer_of(view, link->peer);

    if (peer == NULL || !link->is_open)
        return;
    if (is_impostor(link)) {
        peer_link_refuse(link->link, PEER_WRONG_NAME);
        return;
    }
    link->is_cut = peer->is_cut;
    link->is_old = peer_link_hello(link->link)->incarnation < peer->incarnation;
    choose_for(link->owner, link->peer);
}

static void on_open(void *context, struct peer_link *peer_link)
{
    struct requests *requests = context;
    struct request_link *link = *peer_link_data(peer_link);

    link->is_open = true;
    atomic_fetch_add_explicit(&requests->links_open, 1, memory_order_relaxed);
    if (link->is_accepted) {
        link->peer = peer_link_peer(peer_link);
        if (requests->view != NULL)
            judge_accepted(link, requests->view);
    } else if (is_impostor(link)) {
        peer_link_refuse(link->link, PEER_WRONG_NAME);
    } else {
        update(link);
    }
}

static void on_close(void *context, struct peer_link *peer_link)
{
    struct requests *requests = context;
    struct request_link *link = *peer_link_data(peer_link);

    requests_forget_asker(requests, peer_link);
    atomic_fetch_sub_explicit(&requests->links_open, 1, memory_order_relaxed);
    link->is_open = false;
    if (!link->is_accepted) {
        update(link);
        return;
    }
    choose_for(requests, link->peer);
    drop(link);
}

static void hear(struct requests *requests, const struct request_link *link,
                 const struct peer_message *message)
{
    switch (message->type) {
    case PEER_FETCH: serve_fetch(requests, link->link, &message->fetch); break;
    case PEER_STORE: serve_store(requests, link->link, &message->store); break;
    case PEER_FORWARD: serve_forward(requests, link->link, &message->forward); break;
    case PEER_FETCHED: request_hear_fetched(requests, link->peer, &message->fetched); break;
    case PEER_STORED: request_hear_stored(requests, link->peer, &message->stored); break;
    case PEER_FORWARDED: request_hear_forwarded(requests, link->peer, &message->forwarded); break;
    default: break; /* nothing that a sound peer sends here */
    }
}

/* While one frame is handled, what the next ones need is loaded: for the next but one the lines of
 * the index, so that the one after this can be told where its item is. */
static void on_ahead(void *context, struct slice input, size_t sum_bytes)
{
    struct requests *requests = context;
    struct peer_glimpse next = peer_glimpse(input);

    if (next.frame_bytes == 0)
        return;
    if (next.key_hash != 0)
        store_prefetch_item(requests->store, next.key_hash);
    else if (next.number != 0)
        request_prefetch(requests, next.number);
    if (next.frame_bytes + sum_bytes >= input.size)
        return;
    input.bytes += next.frame_bytes + sum_bytes;
    input.size -= (size_t)next.frame_bytes + sum_bytes;
    next = peer_glimpse(input);
    if (next.frame_bytes != 0 && next.key_hash != 0)
        cell_store_prefetch(requests->store, next.key_hash, settings.copies);
}

static void on_message(void *context, struct peer_link *peer_link,
                       const struct peer_message *message)
{
    struct requests *requests = context;
    const struct request_link *link = *peer_link_data(peer_link);

    assert(requests->view != NULL);
    if (link->is_cut || link->is_old)
        REQUEST_COUNT(requests, dropped_old);
    else
        hear(requests, link, message);
}

/* ---- following the view ---- */

static bool has_address(const struct request_link *link, const struct cluster_peer *peer)
{
    return link->address_bytes == peer->address_bytes &&
           memcmp(&link->address, &peer->address, peer->address_bytes) == 0;
}

static void disconnect(struct request_link *link)
{
    if (link->link != NULL) {
        requests_forget_asker(link->owner, link->link);
        peer_link_free(link->link);
    }
    link->link = NULL;
    if (link->is_open)
        atomic_fetch_sub_explicit(&link->owner->links_open, 1, memory_order_relaxed);
    link->is_open = false;
    update(link);
}

static void connect_to(struct request_link *link, const struct cluster_peer *peer)
{
    disconnect(link);
    link->address = peer->address;
    link->address_bytes = peer->address_bytes;
    if (peer->address_bytes == 0)
        return;
    link->link =
        peer_link_connect(link->owner->peers, peer->id, (const struct sockaddr *)&peer->address,
                          peer->address_bytes, PEER_LINK_REQUESTS);
    if (link->link != NULL)
        *peer_link_data(link->link) = link;
}

static void follow_peer(struct requests *requests, const struct cluster_peer *peer)
{
    struct request_link *link = find(requests, peer->id);

    if (link == NULL) {
        link = add(requests, &requests->links);
        if (link == NULL)
            return;
        link->peer = peer->id;
        choose(link);
    }
    if (link->link == NULL || !has_address(link, peer))
        connect_to(link, peer);
    link->is_reachable = peer->is_reachable;
    link->is_cut = peer->is_cut;
    update(link);
}

/* Links of peers that are no members any more; they go once requests have heard so. */
static void mark_gone(struct requests *requests, const struct cluster_view *view)
{
    for (struct request_link *link = requests->links; link != NULL; link = link->next) {
        link->is_gone = peer_of(view, link->peer) == NULL;
        if (!link->is_gone)
            continue;
        link->is_reachable = false;
        disconnect(link);
        requests->has_lost = true;
    }
}

static bool open_loop(struct requests *requests, const struct cluster_view *view)
{
    const struct peer_loop_options options = {
        .store = requests->store,
        .secret = cluster_secret(requests->cluster),
        .tls = cluster_tls(requests->cluster),
        .self = view->self,
        .incarnation = view->incarnation,
        .frame_bytes_max = FRAME_SIBLINGS * settings.item_bytes_max + FRAME_OVERHEAD_BYTES,
        .unsent_bytes_max = UNSENT_BYTES_MAX + settings.item_bytes_max,
        .greeting_ms_max = GREETING_MS_MAX,
        .backoff_ms_min = BACKOFF_MS_MIN,
        .backoff_ms_max = BACKOFF_MS_MAX,
        .silence_ms_max = SILENCE_MS_MAX,
        .is_quiet = true, /* the cluster thread has a link to the same peer */
        .owner = {.on_open = on_open,
                  .on_message = on_message,
                  .on_ahead = on_ahead,
                  .on_close = on_close,
                  .context = requests},
    };

    requests->peers = peer_loop_new(requests->worker->loop, &options);
    if (requests->peers == NULL) {
        log_error("worker %u: no memory for links to peers", requests->worker->number);
        return false;
    }
    requests->self = view->self;
    requests->incarnation = view->incarnation;
    return true;
}

/* This node is somebody else now, or ends: nobody is talked to any more. */
static void close_loop(struct requests *requests)
{
    for (struct request_link *link = requests->links; link != NULL; link = link->next)
        disconnect(link);
    while (requests->accepted != NULL) {
        struct request_link *link = requests->accepted;
        if (link->is_open)
            atomic_fetch_sub_explicit(&requests->links_open, 1, memory_order_relaxed);
        link->is_open = false;
        choose_for(requests, link->peer);
        requests_forget_asker(requests, link->link);
        peer_link_free(link->link);
        drop(link);
    }
    if (requests->peers != NULL)
        peer_loop_free(requests->peers);
    requests->peers = NULL;
}

static void follow_peers(struct requests *requests, const struct cluster_view *view)
{
    if (requests->peers != NULL &&
        (requests->self != view->self || requests->incarnation != view->incarnation))
        close_loop(requests);
    if (view->self == NODE_NONE || (requests->peers == NULL && !open_loop(requests, view)))
        return;
    mark_gone(requests, view);
    for (unsigned i = 0; i < view->peer_count; i++)
        follow_peer(requests, &view->peers[i]);
    for (struct request_link *link = requests->accepted; link != NULL; link = link->next)
        judge_accepted(link, view);
    requests->peers_version = view->peers_version;
}

/* Connections that were handed over to this worker. */
static void take_up(struct requests *requests)
{
    int *fds;
    unsigned count;

    lock_take(&requests->incoming_lock);
    fds = requests->incoming;
    count = requests->incoming_count;
    requests->incoming = NULL;
    requests->incoming_count = requests->incoming_room = 0;
    lock_release(&requests->incoming_lock);
    for (unsigned i = 0; i < count; i++) {
        struct peer_link *peer_link = peer_link_accept(requests->peers, fds[i]);
        struct request_link *link = peer_link == NULL ? NULL : add(requests, &requests->accepted);
        if (link == NULL && peer_link != NULL)
            peer_link_free(peer_link);
        if (link == NULL)
            continue;
        link->is_accepted = true;
        link->link = peer_link;
        *peer_link_data(peer_link) = link;
    }
    free(fds);
}

/* The view's opinions, but for peers that cannot be asked over these links. */
static void make_views(struct requests *requests, const struct cluster_view *view)
{
    if (view->table == NULL)
        return;
    memcpy(requests->views, view->views, view->table->member_count * sizeof requests->views[0]);
    for (const struct request_link *link = requests->links; link != NULL; link = link->next) {
        int index = link->is_usable ? -1 : ring_table_find_member(view->table, link->peer);
        if (index >= 0)
            requests->views[index].is_reachable = false;
    }
}

void links_follow_view(struct requests *requests)
{
    const struct cluster_view *view = requests->view;

    if (requests->peers == NULL || requests->peers_version != view->peers_version)
        follow_peers(requests, view);
    if (requests->peers != NULL && requests->incoming_count > 0)
        take_up(requests);
    make_views(requests, view);
    if (requests->has_lost)
        tell_lost(requests);
}

/* ---- sending ---- */

bool links_send(struct requests *requests, node_id to, struct item *item)
{
    const struct request_link *link = find(requests, to);

    if (link == NULL || !link->is_usable)
        return false;
    if (link->is_cut)
        return true;
    return peer_link_send(link->via != NULL ? link->via->link : link->link, &requests->message,
                          item);
}

void links_reply(struct requests *requests, struct peer_link *peer_link, struct item *item)
{
    const struct request_link *link = *peer_link_data(peer_link);

    if (!link->is_cut && !peer_link_send(peer_link, &requests->message, item))
        REQUEST_COUNT(requests, unsent);
}

/* ---- life ---- */

void requests_take_link(struct worker *worker, int fd)
{
    struct requests *requests = worker->requests;
    unsigned count, room;
    int *more;

    assert(requests != NULL);
    lock_take(&requests->incoming_lock);
    count = requests->incoming_count;
    if (count == requests->incoming_room) {
        room = count == 0 ? 8 : 2 * count;
        more = realloc(requests->incoming, room * sizeof *more);
        if (more != NULL) {
            requests->incoming = more;
            requests->incoming_room = room;
        }
    }
    if (count < requests->incoming_room) {
        requests->incoming[count] = fd;
        requests->incoming_count = count + 1;
        fd = -1;
    }
    lock_release(&requests->incoming_lock);
    if (fd >= 0)
        close(fd);
    worker_wake(worker);
}

void links_init(struct requests *requests)
{
    ev_idle_init(&requests->wakes, keep_awake);
}

void links_deinit(struct requests *requests)
{
    close_loop(requests);
    while (requests->links != NULL)
        drop(requests->links);
    ev_idle_stop(requests->worker->loop, &requests->wakes);
    for (unsigned i = 0; i < requests->incoming_count; i++)
        close(requests->incoming[i]);
    free(requests->incoming);
}
