/* What node_plan.c and node_show.c ask of the machines: who a node is, what a plan would do, and to
 * do it. */
#include "server/log.h"
#include "server/node.h"
#include "server/node_inside.h"
#include <stdlib.h>

/* The number that the text is, as a whole; 0 if it is none. */
static node_id number_of(struct slice text)
{
    node_id id = 0;

    for (size_t i = 0; i < text.size; i++) {
        if (text.bytes[i] < '0' || text.bytes[i] > '9' || __builtin_mul_overflow(id, 10, &id) ||
            __builtin_add_overflow(id, (node_id)(text.bytes[i] - '0'), &id))
            return NODE_NONE;
    }
    return id;
}

node_id node_find(const struct node *node, struct slice name_or_id)
{
    const struct member_record *record = NULL;
    struct member_name name;

    if (member_name_set(&name, name_or_id))
        record = membership_find_name(&node->membership, &name);
    if (record != NULL)
        return record->id;
    node_id id = number_of(name_or_id);
    return id != NODE_NONE && membership_has(&node->membership, id) ? id : NODE_NONE;
}

enum membership_answer node_preview(struct node *node, const struct plan *plan,
                                    const uint64_t *bytes, struct plan_report *report,
                                    unsigned *failed)
{
    enum membership_answer answer = MEMBERSHIP_BAD;
    struct plan_work *work = malloc(sizeof *work);

    *failed = 0;
    if (work == NULL)
        log_warning("out of memory for a plan");
    else if (node->table != NULL)
        answer = plan_preview(work, plan, &node->membership, node->table, node_copies(), bytes,
                              report, failed);
    free(work);
    return answer;
}

enum membership_answer node_commit(struct node *node, const struct plan *plan, bool is_forced,
                                   unsigned *failed)
{
    enum membership_answer answer = MEMBERSHIP_BAD;
    struct plan_work *work = malloc(sizeof *work);

    *failed = 0;
    if (work == NULL)
        log_warning("out of memory for a plan");
    else
        answer = node_acted(node, plan_commit(work, plan, &node->membership, failed));
    free(work);
    if (is_forced && (answer == MEMBERSHIP_DONE || answer == MEMBERSHIP_ALREADY))
        node_force(node);
    return answer;
}
