#include "ring/flush.h"
#include <assert.h>
#include <string.h>

/* Below 0, 0, above 0: by T, then by the time it comes due. */
static int flush_compare(const struct flush *a, const struct flush *b)
{
    if (a->until != b->until)
        return a->until < b->until ? -1 : 1;
    return (a->effective_ms > b->effective_ms) - (a->effective_ms < b->effective_ms);
}

bool flush_list_is_sound(const struct flush_list *list)
{
    if (list->floor != 0 && !hlc_is_valid(list->floor))
        return false;
    if (list->pending_count > FLUSH_PENDING_MAX)
        return false;
    for (unsigned i = 0; i < list->pending_count; i++) {
        const struct flush *flush = &list->pending[i];
        if (!hlc_is_valid(flush->until) || flush->until <= list->floor)
            return false;
        if (i > 0 && flush_compare(flush - 1, flush) >= 0)
            return false;
    }
    return true;
}

bool flush_list_equal(const struct flush_list *a, const struct flush_list *b)
{
    if (a->floor != b->floor || a->pending_count != b->pending_count)
        return false;
    for (unsigned i = 0; i < a->pending_count; i++)
        if (flush_compare(&a->pending[i], &b->pending[i]) != 0)
            return false;
    return true;
}

/* Drops what the floor has made pointless. */
static void drop_below_floor(struct flush_list *list)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < list->pending_count; i++)
        if (list->pending[i].until > list->floor)
            list->pending[kept++] = list->pending[i];
    list->pending_count = kept;
}

/* Inserts one flush above the floor.  At the bound the lowest goes, which may be the new one; then
 * 1 is returned. */
static unsigned insert(struct flush_list *list, const struct flush *flush)
{
    unsigned at = 0, dropped = 0;

    assert(flush->until > list->floor);
    while (at < list->pending_count && flush_compare(&list->pending[at], flush) < 0)
        at++;
    if (at < list->pending_count && flush_compare(&list->pending[at], flush) == 0)
        return 0;
    if (list->pending_count == FLUSH_PENDING_MAX) {
        if (at == 0)
            return 1;
        memmove(&list->pending[0], &list->pending[1], --at * sizeof list->pending[0]);
        dropped = 1;
    } else {
        memmove(&list->pending[at + 1], &list->pending[at],
                (list->pending_count - at) * sizeof list->pending[0]);
        list->pending_count++;
    }
    list->pending[at] = *flush;
    return dropped;
}

bool flush_list_add(struct flush_list *list, struct flush flush)
{
    assert(flush_list_is_sound(list));
    assert(hlc_is_valid(flush.until));
    if (flush.until <= list->floor)
        return true;
    for (unsigned i = 0; i < list->pending_count; i++)
        if (flush_compare(&list->pending[i], &flush) == 0)
            return true;
    if (list->pending_count == FLUSH_PENDING_MAX)
        return false;
    insert(list, &flush);
    assert(flush_list_is_sound(list));
    return true;
}

bool flush_list_advance(struct flush_list *list, uint64_t wall_ms)
{
    hlc_time floor = flush_list_floor(list, wall_ms);

    assert(floor >= list->floor);
    if (floor == list->floor)
        return false;
    list->floor = floor;
    drop_below_floor(list);
    assert(flush_list_is_sound(list));
    return true;
}

unsigned flush_list_merge(struct flush_list *into, const struct flush_list *more)
{
    unsigned dropped = 0;

    assert(flush_list_is_sound(into));
    assert(flush_list_is_sound(more));
    if (more->floor > into->floor) {
        into->floor = more->floor;
        drop_below_floor(into);
    }
    for (unsigned i = 0; i < more->pending_count; i++)
        if (more->pending[i].until > into->floor)
            dropped += insert(into, &more->pending[i]);
    assert(flush_list_is_sound(into));
    return dropped;
}

hlc_time flush_list_floor(const struct flush_list *list, uint64_t wall_ms)
{
    hlc_time floor = list->floor;

    for (unsigned i = 0; i < list->pending_count; i++)
        if (list->pending[i].effective_ms <= wall_ms && list->pending[i].until > floor)
            floor = list->pending[i].until;
    return floor;
}

uint64_t flush_list_next_ms(const struct flush_list *list)
{
    uint64_t next_ms = UINT64_MAX;

    for (unsigned i = 0; i < list->pending_count; i++)
        if (list->pending[i].effective_ms < next_ms)
            next_ms = list->pending[i].effective_ms;
    return next_ms;
}

void flush_wait_init(struct flush_wait *wait, hlc_time until, const node_id *nodes, unsigned count,
                     uint64_t deadline_ms)
{
    assert(hlc_is_valid(until));
    assert(count <= RING_MEMBERS_MAX);
    wait->state = count == 0 ? FLUSH_DONE : FLUSH_WAITING;
    wait->until = until;
    wait->deadline_ms = deadline_ms;
    wait->count = count;
    if (count > 0)
        memcpy(wait->nodes, nodes, count * sizeof nodes[0]);
}

static void no_longer_wait_for(struct flush_wait *wait, node_id node)
{
    for (unsigned i = 0; i < wait->count; i++)
        if (wait->nodes[i] == node)
            wait->nodes[i--] = wait->nodes[--wait->count];
    if (wait->count == 0)
        wait->state = FLUSH_DONE;
}

enum flush_state flush_wait_step(struct flush_wait *wait, const struct flush_event *event)
{
    if (wait->state != FLUSH_WAITING)
        return wait->state;
    assert(wait->count > 0);
    switch (event->type) {
    case FLUSH_HEARD:
        if (event->floor >= wait->until)
            no_longer_wait_for(wait, event->node);
        break;
    case FLUSH_LOST: no_longer_wait_for(wait, event->node); break;
    case FLUSH_TICK: break;
    }
    if (wait->state == FLUSH_WAITING && event->now_ms >= wait->deadline_ms)
        wait->state = FLUSH_LATE;
    return wait->state;
}

uint64_t flush_wait_deadline_ms(const struct flush_wait *wait)
{
    return wait->state == FLUSH_WAITING ? wait->deadline_ms : UINT64_MAX;
}
