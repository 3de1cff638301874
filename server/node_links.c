/* A background link to each member, and to seeds until the node takes part.
 *
 * What a node has to say to a member goes over its own link to that one; what it hears comes over
 * both.  Only who starts is answered on the link on which it asked. */
#include "server/listener.h"
#include "server/log.h"
#include "server/node.h"
#include "server/node_inside.h"
#include "server/settings.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GREETING_MS    2000
#define BACKOFF_MIN_MS 20
#define BACKOFF_MAX_MS 1000
#define SILENCE_MS     10000 /* of TCP: what it has not delivered by then is lost with the link */
#define FRAME_BYTES    (8u << 20) /* besides the largest cell, which has so many values of -I: */
#define FRAME_SIBLINGS 32
#define UNSENT_FRAMES  4

/* --- addresses --- */

bool node_address_parse(const struct member_address *text, struct node_address *address)
{
    char copy[MEMBER_ADDRESS_MAX + 1];
    unsigned peer_port, client_port;

    memcpy(copy, text->bytes, text->size);
    copy[text->size] = '\0';
    char *slash = strrchr(copy, '/');
    if (slash == NULL || sscanf(slash, "/%5u", &client_port) != 1)
        return false;
    *slash = '\0';
    char *colon = strrchr(copy, ':');
    if (colon == NULL || sscanf(colon, ":%5u", &peer_port) != 1 || peer_port > 65535 ||
        client_port > 65535)
        return false;
    *colon = '\0';
    size_t size = strlen(copy);
    bool has_brackets = size > 2 && copy[0] == '[' && copy[size - 1] == ']';
    if (has_brackets)
        copy[size - 1] = '\0';
    snprintf(address->host, sizeof address->host, "%s", copy + has_brackets);
    address->peer_port = peer_port;
    address->client_port = client_port;
    return address->host[0] != '\0';
}

/* What others say is no name to be looked up: that could take long. */
static bool is_numeric(const char *host)
{
    return host[strspn(host, "0123456789abcdefABCDEF.:%")] == '\0';
}

bool node_address_socket(const struct member_address *text, struct sockaddr_storage *address,
                         socklen_t *address_bytes)
{
    struct node_address parsed;
    const char *slash = memchr(text->bytes, '/', text->size);

    if (slash == NULL || !node_address_parse(text, &parsed) || !is_numeric(parsed.host))
        return false;
    return peer_address_resolve(text->bytes, (size_t)(slash - text->bytes), address, address_bytes);
}

static void take_port(void *context, const struct connection_description *description)
{
    unsigned *port = context;
    const char *colon = strrchr(description->address, ':');

    if (*port == 0 && strncmp(description->address, "tcp", 3) == 0 && colon != NULL)
        *port = (unsigned)strtoul(colon + 1, NULL, 10);
}

bool node_address_make(struct member_address *address, const char *peers)
{
    char text[MEMBER_ADDRESS_MAX + 2];
    unsigned client_port = 0;

    listeners_visit(take_port, &client_port);
    int size = snprintf(text, sizeof text, "%s/%u", peers, client_port);
    if (size > 0 &&
        member_address_set(address, (struct slice){(unsigned char *)text, (size_t)size}))
        return true;
    log_error("--cluster-listen %s: the address is too long for other nodes", peers);
    return false;
}

/* --- events of the links --- */

/* Who starts says its name before anybody gave it an id. */
static const struct member_name *name_in(const struct peer_message *message)
{
    if (message == NULL)
        return NULL;
    switch (message->type) {
    case PEER_RESTART_ASK: return &message->restart_ask.name;
    case PEER_RESTART_JOIN: return &message->restart_join.joiner.name;
    default: return NULL;
    }
}

bool node_link_is_named(const struct node *node, struct peer_link *link,
                        const struct peer_message *message)
{
    const struct member_record *record = membership_find(&node->membership, peer_link_peer(link));
    const struct member_name *said = record != NULL ? &record->name : name_in(message);
    struct member_name shown;

    if (cluster_tls(node->cluster) == NULL || said == NULL)
        return true;
    if (peer_link_name(link, &shown) && memcmp(&shown, said, sizeof shown) == 0)
        return true;
    peer_link_refuse(link, PEER_WRONG_NAME);
    return false;
}

/* Remembers who can be answered there.  Past the bound a stranger is not. */
static void add_accepted(struct node_links *links, struct peer_link *link)
{
    if (links->accepted_count < NODE_ACCEPTED_MAX)
        links->accepted[links->accepted_count++] = link;
}

static void forget_accepted(struct node_links *links, const struct peer_link *link)
{
    for (unsigned i = 0; i < links->accepted_count; i++)
        if (links->accepted[i] == link)
            links->accepted[i--] = links->accepted[--links->accepted_count];
}

static void on_open(void *context, struct peer_link *link)
{
    struct node *node = context;
    node_id peer = peer_link_peer(link);
    const bool is_ours = *peer_link_data(link) != NULL;

    if (!is_ours)
        add_accepted(&node->inside->links, link);
    if (!is_ours || !node_link_is_named(node, link, NULL))
        return;
    if (!node->has_begun)
        node_members_ask(node, link);
    if (peer != NODE_NONE)
        node_link_changed(node, peer, true);
    node_set_wake(node);
}

static void on_message(void *context, struct peer_link *link, const struct peer_message *message)
{
    node_hear(context, link, message);
}

static void on_close(void *context, struct peer_link *link)
{
    struct node *node = context;

    forget_accepted(&node->inside->links, link);
    if (*peer_link_data(link) != NULL && peer_link_peer(link) != NODE_NONE)
        node_link_changed(node, peer_link_peer(link), false);
}

/* --- making and dropping them --- */

static void make_loop(struct node *node)
{
    const struct peer_loop_options options = {
        .store = node->store,
        .secret = node->secret,
        .tls = cluster_tls(node->cluster),
        .self = node->id,
        .incarnation = node->incarnation,
        .frame_bytes_max = FRAME_BYTES + FRAME_SIBLINGS * settings.item_bytes_max,
        .unsent_bytes_max = UNSENT_FRAMES * (FRAME_BYTES + 2 * settings.item_bytes_max),
        .greeting_ms_max = GREETING_MS,
        .backoff_ms_min = BACKOFF_MIN_MS,
        .backoff_ms_max = BACKOFF_MAX_MS,
        .silence_ms_max = SILENCE_MS,
        .owner = {.on_open = on_open,
                  .on_message = on_message,
                  .on_close = on_close,
                  .context = node},
    };
    struct node_links *links = &node->inside->links;

    links->loop = peer_loop_new(node->loop, &options);
    if (links->loop == NULL)
        log_error("out of memory for links to peers");
}

/* All links are gone with their loop: a node greets as who it is. */
static void drop_loop(struct node_links *links)
{
    if (links->loop != NULL)
        peer_loop_free(links->loop);
    links->loop = NULL;
    links->accepted_count = 0;
    for (unsigned i = 0; i < links->count; i++)
        links->members[i].link = NULL;
    for (unsigned i = 0; i < links->seed_count; i++)
        links->seeds[i].link = NULL;
}

static void drop(struct node_link *link)
{
    if (link->link != NULL)
        peer_link_free(link->link);
    link->link = NULL;
}

static void make(struct node_links *links, struct node_link *link)
{
    if (link->link != NULL || links->loop == NULL || link->address_bytes == 0)
        return;
    link->link = peer_link_connect(links->loop, link->to, (const struct sockaddr *)&link->address,
                                   link->address_bytes, PEER_LINK_BACKGROUND);
    if (link->link == NULL)
        log_error("out of memory for a link to a peer");
    else
        *peer_link_data(link->link) = links;
}

static unsigned place_of(const struct node_links *links, node_id id)
{
    unsigned low = 0, high = links->count;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (links->members[middle].to < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct node_link *find_link(struct node_links *links, node_id id)
{
    unsigned at = place_of(links, id);

    return at < links->count && links->members[at].to == id ? &links->members[at] : NULL;
}

/* A member that has none yet, or has another address than its link. */
static void follow_member(struct node *node, const struct member_record *record)
{
    struct node_links *links = &node->inside->links;
    unsigned at = place_of(links, record->id);
    struct node_link *link = &links->members[at];

    if (find_link(links, record->id) == NULL) {
        assert(links->count < RING_MEMBERS_MAX);
        memmove(link + 1, link, (links->count - at) * sizeof *link);
        links->count++;
        *link = (struct node_link){.to = record->id};
    } else if (memcmp(&link->text, &record->address, sizeof link->text) == 0) {
        make(links, link);
        return;
    }
    drop(link);
    link->text = record->address;
    if (!node_address_socket(&link->text, &link->address, &link->address_bytes))
        link->address_bytes = 0;
    make(links, link);
}

static void drop_strangers(struct node *node)
{
    struct node_links *links = &node->inside->links;
    unsigned kept = 0;

    for (unsigned i = 0; i < links->count; i++) {
        if (membership_has(&node->membership, links->members[i].to) &&
            links->members[i].to != node->id)
            links->members[kept++] = links->members[i];
        else
            drop(&links->members[i]);
    }
    links->count = kept;
}

void node_links_follow(struct node *node)
{
    struct node_links *links = &node->inside->links;

    if (node->inside->must_relink)
        drop_loop(links);
    if (links->loop == NULL)
        make_loop(node);
    drop_strangers(node);
    for (unsigned i = 0; i < node->membership.count; i++) {
        const struct member_record *record = &node->membership.records[i];
        if (record->status != MEMBER_GONE && record->id != node->id && node->id != NODE_NONE)
            follow_member(node, record);
    }
    for (unsigned i = 0; i < links->seed_count; i++)
        if (node->has_begun)
            drop(&links->seeds[i]);
        else
            make(links, &links->seeds[i]);
}

void node_links_deinit(struct node *node)
{
    drop_loop(&node->inside->links);
}

/* --- seeds --- */

static void add_seed(struct node *node, const char *text, size_t bytes)
{
    struct node_links *links = &node->inside->links;
    struct node_link seed = {.to = NODE_NONE};

    if (links->seed_count == NODE_SEEDS_MAX)
        return;
    if (!peer_address_resolve(text, bytes, &seed.address, &seed.address_bytes))
        log_warning("--join %.*s: is no address that is known: say ADDRESS:PORT or [IPV6]:PORT",
                    (int)bytes, text);
    else
        links->seeds[links->seed_count++] = seed;
}

void node_links_find_seeds(struct node *node)
{
    struct node_links *links = &node->inside->links;
    const char *own = peer_listener_text(node->inside->listener);
    const char *text = settings.join;

    for (unsigned i = 0; i < links->seed_count; i++)
        drop(&links->seeds[i]);
    links->seed_count = 0;
    while (text != NULL && *text != '\0') {
        size_t bytes = strcspn(text, ",");
        bool is_own = bytes == strlen(own) && memcmp(text, own, bytes) == 0;
        if (bytes > 0 && !is_own)
            add_seed(node, text, bytes);
        text += bytes + (text[bytes] == ',');
    }
}

/* --- sending --- */

bool node_send_item(struct node *node, node_id to, const struct peer_message *message,
                    struct item *item)
{
    struct node_link *link = find_link(&node->inside->links, to);

    if (link == NULL || link->link == NULL || node_is_cut(node, to))
        return false;
    return peer_link_send(link->link, message, item);
}

bool node_send(struct node *node, node_id to, const struct peer_message *message)
{
    return node_send_item(node, to, message, NULL);
}

static bool tell_by(struct peer_link *link, node_id to, const struct peer_message *message)
{
    return link != NULL && peer_link_peer(link) == to && peer_link_send(link, message, NULL);
}

bool node_links_tell(struct node *node, node_id to, const struct peer_message *message)
{
    struct node_links *links = &node->inside->links;

    if (node_is_cut(node, to))
        return false;
    if (node_send(node, to, message))
        return true;
    for (unsigned i = 0; i < links->seed_count; i++)
        if (tell_by(links->seeds[i].link, to, message))
            return true;
    for (unsigned i = 0; i < links->accepted_count; i++)
        if (tell_by(links->accepted[i], to, message))
            return true;
    return false;
}

unsigned node_links_tell_seeds(struct node *node, const struct peer_message *message)
{
    struct node_links *links = &node->inside->links;
    unsigned told = 0;

    for (unsigned i = 0; i < links->seed_count; i++)
        if (links->seeds[i].link != NULL)
            told += peer_link_send(links->seeds[i].link, message, NULL);
    return told;
}

void node_links_tell_next(struct node *node, const struct peer_message *message)
{
    struct node_links *links = &node->inside->links;
    unsigned all = links->seed_count + links->count;

    for (unsigned i = 0; i < all; i++) {
        unsigned at = links->next_join++ % all;
        const struct node_link *link =
            at < links->seed_count ? &links->seeds[at] : &links->members[at - links->seed_count];
        if (link->link != NULL && peer_link_send(link->link, message, NULL))
            return;
    }
}

/* --- debug cut --- */

bool node_is_cut(const struct node *node, node_id id)
{
    const struct node_links *links = &node->inside->links;

    for (unsigned i = 0; i < links->cut_count; i++)
        if (links->cut[i] == id)
            return true;
    return false;
}

bool node_cut(struct node *node, node_id id, bool is_cut)
{
    struct node_links *links = &node->inside->links;
    unsigned kept = 0;

    if (id == node->id || !membership_has(&node->membership, id))
        return false;
    for (unsigned i = 0; i < links->cut_count; i++)
        if (links->cut[i] != id)
            links->cut[kept++] = links->cut[i];
    links->cut_count = kept;
    if (is_cut && kept < RING_MEMBERS_MAX)
        links->cut[links->cut_count++] = id;
    node_publish(node);
    return true;
}
