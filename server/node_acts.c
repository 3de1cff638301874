/* What an operator does: not there yet, only the seams of node.h. */
#include "server/node.h"

enum membership_answer node_leave(struct node *node, node_id id)
{
    (void)node, (void)id;
    return MEMBERSHIP_UNKNOWN;
}

enum membership_answer node_remove(struct node *node, node_id id, bool is_forced)
{
    (void)node, (void)id, (void)is_forced;
    return MEMBERSHIP_UNKNOWN;
}

enum membership_answer node_set_weight(struct node *node, node_id id, uint32_t weight)
{
    (void)node, (void)id, (void)weight;
    return MEMBERSHIP_UNKNOWN;
}

enum membership_answer node_set_zone(struct node *node, node_id id, const struct member_name *zone)
{
    (void)node, (void)id, (void)zone;
    return MEMBERSHIP_UNKNOWN;
}

node_id node_find(const struct node *node, struct slice name_or_id)
{
    (void)node, (void)name_or_id;
    return NODE_NONE;
}

enum membership_answer node_preview(struct node *node, const struct plan *plan,
                                    const uint64_t *bytes, struct plan_report *report,
                                    unsigned *failed)
{
    (void)node, (void)plan, (void)bytes, (void)report, (void)failed;
    return MEMBERSHIP_UNKNOWN;
}

enum membership_answer node_commit(struct node *node, const struct plan *plan, bool is_forced,
                                   unsigned *failed)
{
    (void)node, (void)plan, (void)is_forced, (void)failed;
    return MEMBERSHIP_UNKNOWN;
}

bool node_cut(struct node *node, node_id id, bool is_cut)
{
    (void)node, (void)id, (void)is_cut;
    return false;
}

bool node_is_cut(const struct node *node, node_id id)
{
    (void)node, (void)id;
    return false;
}

bool node_address_parse(const struct member_address *text, struct node_address *address)
{
    (void)text, (void)address;
    return false;
}
