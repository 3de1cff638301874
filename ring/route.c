#include "ring/route.h"
#include <assert.h>

static_assert(RING_COPIES_MAX < ROUTE_MAX, "a route has a place for this node after all owners");

static bool is_bit_set(const uint64_t *words, unsigned bit)
{
    return words != NULL && (words[bit / 64] >> (bit % 64) & 1) != 0;
}

static void append(struct route *route, node_id id, const struct peer_view *view, bool is_owner,
                   bool is_self)
{
    assert(route->count < ROUTE_MAX);
    if (is_self)
        route->self = route->count;
    route->nodes[route->count++] = (struct route_node){
        .id = id,
        .hedge_ms = view == NULL || view->hedge_ms == 0 ? 1 : view->hedge_ms,
        .is_owner = is_owner,
        .is_reachable = is_self || (view != NULL && view->is_reachable),
        .is_warming = is_owner && view != NULL && is_bit_set(view->warming, route->partition),
        .is_self = is_self};
}

static void append_fallbacks(struct route *route, const struct ring_table *table, node_id self,
                             const struct peer_view *views)
{
    struct ring_preference list;

    ring_preference_start(&list, table, route->partition);
    for (unsigned i = 0; i < route->copies; i++)
        ring_preference_next_index(&list);
    for (unsigned left = table->member_count - route->copies; left > 0; left--) {
        if (route->count == ROUTE_MAX)
            return;
        int index = ring_preference_next_index(&list);
        assert(index >= 0);
        bool is_self = table->members[index].id == self;
        if (is_self || views[index].is_reachable)
            append(route, table->members[index].id, &views[index], false, is_self);
    }
}

void route_make(struct route *route, const struct ring_table *table, uint64_t key_hash,
                unsigned copies, node_id self, const struct peer_view *views)
{
    const unsigned char *row;

    assert(copies >= 1);
    assert(self != NODE_NONE);
    route->partition = ring_table_partition(table, key_hash);
    route->count = 0;
    route->self = ROUTE_MAX;
    row = ring_table_row(table, route->partition);
    for (unsigned i = 0; i < copies && i < table->copies && row[i] != RING_NO_OWNER; i++) {
        node_id id = table->members[row[i]].id;
        append(route, id, &views[row[i]], true, id == self);
    }
    route->copies = route->count;
    if (table->member_count > route->copies)
        append_fallbacks(route, table, self, views);
    if (route->self == ROUTE_MAX) {
        if (route->count == ROUTE_MAX)
            route->count--;
        append(route, self, NULL, false, true);
    }
    assert(route->copies <= copies);
    assert(route->nodes[route->self].is_self);
}

bool route_is_sound(const struct route *route)
{
    if (route->copies > route->count || route->count > ROUTE_MAX || route->self >= route->count)
        return false;
    for (unsigned i = 0; i < route->count; i++) {
        const struct route_node *node = &route->nodes[i];
        if (node->is_self != (i == route->self) || node->is_owner != (i < route->copies))
            return false;
        if (node->id == NODE_NONE || route_find(route, node->id) != i)
            return false;
    }
    return route->nodes[route->self].is_reachable;
}

unsigned route_find(const struct route *route, node_id id)
{
    unsigned i = 0;

    assert(route->count <= ROUTE_MAX);
    while (i < route->count && route->nodes[i].id != id)
        i++;
    return i;
}

void route_mark_unreachable(struct route *route, node_id id)
{
    unsigned i = route_find(route, id);

    if (i < route->count && i != route->self)
        route->nodes[i].is_reachable = false;
    assert(route->nodes[route->self].is_reachable);
}

unsigned route_write_coordinator(const struct route *route, uint32_t except)
{
    unsigned first = route->count; /* the first reachable node, warm or not */

    assert(route->self < route->count);
    for (unsigned i = 0; i < route->count; i++) {
        const struct route_node *node = &route->nodes[i];
        if (!node->is_reachable || (except >> i & 1) != 0)
            continue;
        if (first == route->count)
            first = i;
        if (node->is_owner && !node->is_warming)
            return i;
    }
    return first;
}
