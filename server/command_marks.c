#include "server/clock.h"
#include "server/command_internal.h"
#include "server/store.h"

void command_marks_read(struct stripe *stripe, uint64_t hash, struct slice key, uint64_t now_ms,
                        struct command_marks *marks)
{
    const struct item *item = stripe_find(stripe, hash, key, now_ms);

    *marks = (struct command_marks){0};
    if (item == NULL)
        return;
    marks->was_fetched = item->was_fetched;
    marks->is_won = (item->bits & ITEM_WON) != 0;
    marks->key_is_binary = (item->bits & ITEM_KEY_BINARY) != 0;
    marks->accessed_s = item->accessed_s;
    marks->item_bytes = item_bytes(item);
}

void command_marks_write(struct stripe *stripe, uint64_t hash, struct slice key, uint64_t now_ms,
                         const struct command_marks *marks)
{
    struct item *item = stripe_find(stripe, hash, key, now_ms);
    const int won = marks->is_won ? ITEM_WON : 0;

    if (item == NULL)
        return;
    if (marks->is_used)
        stripe_use(stripe, item, now_ms);
    item->was_fetched = marks->was_fetched;
    item->accessed_s = marks->accessed_s & ITEM_ACCESSED_MAX;
    /* See long_of() in item.c for who reads it meanwhile. */
    __atomic_store_n(&item->bits, (uint8_t)((item->bits & ~ITEM_WON) | won), __ATOMIC_RELAXED);
}

uint32_t command_idle_s(const struct command_marks *marks, uint64_t now_ms)
{
    const uint32_t now_s = clock_relative_s(now_ms) & ITEM_ACCESSED_MAX;

    if (marks->item_bytes == 0) /* this node has no item that anybody could have accessed */
        return 0;
    return (now_s - marks->accessed_s) & ITEM_ACCESSED_MAX;
}
