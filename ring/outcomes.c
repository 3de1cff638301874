/* Compile-time switch for tests: RING_BREAK_OUTCOME_FORGOTTEN recognises no repeat. */
#include "ring/outcomes.h"
#include <assert.h>

static uint32_t bucket_of(const struct outcomes *outcomes, struct request_id id)
{
    uint64_t mixed = (id.number ^ id.origin * 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;

    return (uint32_t)(mixed >> 32) & (outcomes->room - 1);
}

void outcomes_init(struct outcomes *outcomes, struct outcome_entry *entries, uint32_t room,
                   uint64_t keep_ms)
{
    assert(room >= 1);
    assert((room & (room - 1)) == 0);
    *outcomes = (struct outcomes){.entries = entries, .room = room, .keep_ms = keep_ms};
    for (uint32_t i = 0; i < room; i++)
        entries[i] = (struct outcome_entry){.next = OUTCOMES_NOWHERE, .first = OUTCOMES_NOWHERE};
}

static struct outcome_entry *find(const struct outcomes *outcomes, struct request_id id)
{
    uint32_t i = outcomes->entries[bucket_of(outcomes, id)].first;

    while (i != OUTCOMES_NOWHERE) {
        struct outcome_entry *entry = &outcomes->entries[i];
        assert(i < outcomes->room);
        if (entry->id.number == id.number && entry->id.origin == id.origin)
            return entry;
        i = entry->next;
    }
    return NULL;
}

static void add(struct outcomes *outcomes, struct request_id id, uint64_t expires_ms)
{
    uint32_t i = (outcomes->oldest + outcomes->used) & (outcomes->room - 1);
    uint32_t *first = &outcomes->entries[bucket_of(outcomes, id)].first;
    struct outcome_entry *entry = &outcomes->entries[i];

    assert(outcomes->used < outcomes->room);
    entry->id = id;
    entry->expires_ms = expires_ms;
    entry->saved = 0;
    entry->got = entry->needed = 0;
    entry->answer = 0;
    entry->next = *first;
    *first = i;
    outcomes->used++;
}

enum outcomes_begin outcomes_begin(struct outcomes *outcomes, struct request_id id, uint64_t now_ms,
                                   const struct outcome_entry **known)
{
    const struct outcome_entry *entry = find(outcomes, id);

#ifdef RING_BREAK_OUTCOME_FORGOTTEN
    entry = NULL;
#endif
    if (entry != NULL && entry->answer == 0)
        return OUTCOMES_RUNNING;
    if (entry != NULL) {
        *known = entry;
        return OUTCOMES_KNOWN;
    }
    if (outcomes->used == outcomes->room)
        return OUTCOMES_FULL;
    add(outcomes, id, now_ms + outcomes->keep_ms);
    return OUTCOMES_NEW;
}

bool outcomes_finish(struct outcomes *outcomes, struct request_id id, enum request_answer answer,
                     unsigned got, unsigned needed, uint64_t saved)
{
    struct outcome_entry *entry = find(outcomes, id);

    if (entry == NULL || entry->answer != 0)
        return false;
    assert(answer >= ANSWER_DONE);
    entry->answer = (uint8_t)answer;
    entry->got = (uint16_t)got;
    entry->needed = (uint16_t)needed;
    entry->saved = saved;
    return true;
}

bool outcomes_expire(struct outcomes *outcomes, uint64_t now_ms, uint64_t *saved)
{
    struct outcome_entry *oldest = &outcomes->entries[outcomes->oldest];

    if (outcomes->used == 0 || oldest->expires_ms > now_ms)
        return false;
    uint32_t *link = &outcomes->entries[bucket_of(outcomes, oldest->id)].first;
    while (*link != outcomes->oldest) {
        assert(*link != OUTCOMES_NOWHERE);
        link = &outcomes->entries[*link].next;
    }
    *link = oldest->next;
    *saved = oldest->saved;
    outcomes->oldest = (outcomes->oldest + 1) & (outcomes->room - 1);
    outcomes->used--;
    return true;
}

uint64_t outcomes_deadline_ms(const struct outcomes *outcomes)
{
    return outcomes->used == 0 ? UINT64_MAX : outcomes->entries[outcomes->oldest].expires_ms;
}
