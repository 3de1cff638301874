/* A node that has nothing to repair: neither hints nor anti-entropy yet, only the seams. */
#include "server/hint_queue.h"
#include "server/node.h"
#include "server/settings.h"
#include <stdlib.h>

struct repair {
    struct node *node;
    struct hint_queue hints;
};

struct repair *node_repair_new(struct node *node)
{
    struct repair *repair = calloc(1, sizeof *repair);

    if (repair == NULL)
        return NULL;
    repair->node = node;
    hint_queue_init(&repair->hints, node->store, settings.hint_memory_bytes);
    return repair;
}

void node_repair_free(struct repair *repair)
{
    if (repair != NULL)
        hint_queue_deinit(&repair->hints);
    free(repair);
}

struct hint_queue *node_repair_hints(struct repair *repair)
{
    return &repair->hints;
}

void node_repair_start(struct node *node, bool is_founding)
{
    (void)node, (void)is_founding;
}

void node_repair_table(struct node *node)
{
    (void)node;
}

void node_repair_peer(struct node *node, node_id peer, bool is_reachable)
{
    (void)node, (void)peer, (void)is_reachable;
}

void node_repair_ping(struct node *node, const struct peer_ping *ping)
{
    (void)node, (void)ping;
}

void node_repair_hello(struct node *node, struct peer_ping *ping, node_id to)
{
    (void)node, (void)to;
    ping->hello = (struct sync_hello){.from = ping->ping.from, .to = ping->ping.to};
}

void node_repair_forget_gone(struct node *node)
{
    (void)node;
}

void node_repair_wake(struct node *node)
{
    (void)node;
}

uint64_t node_repair_deadline_ms(const struct node *node)
{
    (void)node;
    return UINT64_MAX;
}

void node_repair_message(struct node *node, node_id from, const struct peer_message *message)
{
    (void)node, (void)from, (void)message;
}

void node_repair_latency(struct node *node, uint32_t us)
{
    (void)node, (void)us;
}

bool node_repair_is_busy(const struct node *node)
{
    (void)node;
    return false;
}

bool node_is_holding(const struct node *node)
{
    (void)node;
    return false;
}

bool node_is_warming(const struct node *node)
{
    (void)node;
    return false;
}

const uint64_t *node_repair_warming(const struct node *node, node_id id)
{
    (void)node, (void)id;
    return NULL;
}
