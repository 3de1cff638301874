/* What peers ask and answer about cells; node_repair.h says more. */
#include "server/node_repair.h"
#include <stdlib.h>

/* Requests that may wait; beyond that the answer is that it is not the time. */
#define DEFERRED_MAX 256
#define DEFER_MS     1000

/* Who asks decides what the answer is paid from. */
static enum budget_work work_for(enum exchange_asker asker)
{
    switch (asker) {
    case EXCHANGE_FILL:
    case EXCHANGE_HANDOFF: return BUDGET_TRANSFER;
    case EXCHANGE_SYNC:
    case EXCHANGE_AFTERCUT: return BUDGET_REPAIR;
    }
    return BUDGET_REPAIR;
}

static void on_compare(struct repair *repair, const struct exchange_compare *compare)
{
    const struct exchange_view view = repair_view(repair);
    struct exchange_message reply = {.type = EXCHANGE_COMPARED};

    exchange_answer_compare(&view, compare, &reply.compared);
    repair_send(repair, &reply);
}

static void answer_digests(struct repair *repair, const struct exchange_digests *digests,
                           enum exchange_answer answer)
{
    const struct exchange_view view = repair_view(repair);
    struct exchange_item items[EXCHANGE_KEYS_MAX];
    struct exchange_message reply = {.type = EXCHANGE_DIFFERENCE};
    struct exchange_scanned scanned;
    struct exchange_scan scan;

    if (answer == EXCHANGE_DONE)
        answer = exchange_admit_digests(&view, digests, &scan);
    if (answer == EXCHANGE_DONE && !repair_scan(repair, &scan, items, &scanned))
        answer = EXCHANGE_NOT_NOW;
    exchange_answer_digests(&view, digests, answer, answer == EXCHANGE_DONE ? &scanned : NULL,
                            &reply.difference);
    token_bucket_take(repair_bucket(repair, work_for(digests->head.asker)),
                      exchange_message_bytes(&reply), node_now_ms(repair->node));
    repair_send(repair, &reply);
}

/* False: there is no room for it. */
static bool defer(struct deferred_queue *queue, const struct exchange_digests *digests,
                  uint64_t now_ms)
{
    struct deferred *deferred = queue->count < DEFERRED_MAX ? malloc(sizeof *deferred) : NULL;

    if (deferred == NULL)
        return false;
    deferred->next = NULL;
    deferred->until_ms = now_ms + node_wait_ms(DEFER_MS);
    deferred->digests = *digests;
    *queue->end = deferred;
    queue->end = &deferred->next;
    queue->count++;
    return true;
}

static void free_first(struct deferred_queue *queue)
{
    struct deferred *first = queue->first;

    queue->first = first->next;
    if (queue->first == NULL)
        queue->end = &queue->first;
    queue->count--;
    free(first);
}

static void on_digests(struct repair *repair, const struct exchange_digests *digests)
{
    const enum budget_work work = work_for(digests->head.asker);
    struct deferred_queue *queue = &repair->deferred[work];
    const uint64_t now_ms = node_now_ms(repair->node);

    if (queue->count == 0 && token_bucket_ready_ms(repair_bucket(repair, work)) <= now_ms)
        answer_digests(repair, digests, EXCHANGE_DONE);
    else if (!defer(queue, digests, now_ms))
        answer_digests(repair, digests, EXCHANGE_NOT_NOW);
}

void repair_answer_deferred(struct repair *repair)
{
    const uint64_t now_ms = node_now_ms(repair->node);

    for (unsigned work = 0; work < BUDGET_WORKS; work++) {
        struct deferred_queue *queue = &repair->deferred[work];
        const struct token_bucket *bucket = repair_bucket(repair, (enum budget_work)work);

        while (queue->first != NULL && token_bucket_ready_ms(bucket) <= now_ms) {
            if (queue->first->until_ms > now_ms)
                answer_digests(repair, &queue->first->digests, EXCHANGE_DONE);
            free_first(queue);
        }
    }
}

uint64_t repair_deferred_ms(struct repair *repair)
{
    uint64_t at_ms = UINT64_MAX;

    for (unsigned work = 0; work < BUDGET_WORKS; work++) {
        const uint64_t ready_ms =
            token_bucket_ready_ms(repair_bucket(repair, (enum budget_work)work));

        if (repair->deferred[work].first != NULL && ready_ms < at_ms)
            at_ms = ready_ms;
    }
    return at_ms;
}

void repair_deferred_init(struct repair *repair)
{
    for (unsigned work = 0; work < BUDGET_WORKS; work++)
        repair->deferred[work].end = &repair->deferred[work].first;
}

void repair_deferred_deinit(struct repair *repair)
{
    for (unsigned work = 0; work < BUDGET_WORKS; work++)
        while (repair->deferred[work].first != NULL)
            free_first(&repair->deferred[work]);
}

static void on_cells(struct repair *repair, const struct peer_cells *message)
{
    const struct exchange_view view = repair_view(repair);
    const struct exchange_cells *cells = &message->cells;
    struct exchange_message reply = {.type = EXCHANGE_STORED};
    struct repair_taken taken;

    if (exchange_admit_cells(&view, cells, &reply.stored) == EXCHANGE_DONE) {
        repair_take(repair, cells->cells, message->keys, cells->cell_count, cells->is_handoff,
                    &taken);
        memcpy(reply.stored.merged, taken.merged, sizeof taken.merged);
        memcpy(reply.stored.changed, taken.changed, sizeof taken.changed);
    }
    repair_send(repair, &reply);
}

static void on_difference(struct repair *repair, struct sync *sync,
                          const struct peer_difference *message)
{
    const struct exchange_difference *difference = &message->difference;
    struct repair_taken taken;

    repair_take(repair, difference->cells, message->keys, difference->cell_count, false, &taken);
    switch (difference->head.asker) {
    case EXCHANGE_SYNC:
        repair_step_sync(repair, sync,
                         (struct sync_event){.type = SYNC_DIFFERENCE,
                                             .difference = difference,
                                             .changed_count = taken.changed_count,
                                             .has_failed = taken.has_failed});
        break;
    case EXCHANGE_FILL:
        repair_step_fill(repair, (struct fill_event){.type = FILL_DIFFERENCE,
                                                     .difference = difference,
                                                     .changed_count = taken.changed_count,
                                                     .has_failed = taken.has_failed});
        break;
    case EXCHANGE_HANDOFF:
        repair_step_handoff(
            repair, (struct handoff_event){.type = HANDOFF_DIFFERENCE, .difference = difference});
        break;
    case EXCHANGE_AFTERCUT: break;
    }
}

static void on_stored(struct repair *repair, struct sync *sync,
                      const struct exchange_stored *stored)
{
    if (stored->head.asker == EXCHANGE_SYNC)
        repair_step_sync(repair, sync, (struct sync_event){.type = SYNC_STORED, .stored = stored});
    if (stored->head.asker == EXCHANGE_HANDOFF)
        repair_step_handoff(repair,
                            (struct handoff_event){.type = HANDOFF_STORED, .stored = stored});
}

/* Whether one of the cells of a hash has the dot. */
static void note_known(struct repair *repair, const struct exchange_know *know, unsigned i,
                       struct exchange_known *reply)
{
    struct slice key;
    struct cell cell;

    arena_reset(&repair->arena);
    for (unsigned skipped = 0; repair_copy(repair, know->dots[i].key_hash, skipped, &key, &cell);
         skipped++)
        exchange_note_known(know, i, &cell, reply);
}

static void on_know(struct repair *repair, const struct exchange_know *know)
{
    const struct exchange_view view = repair_view(repair);
    struct exchange_message reply = {.type = EXCHANGE_KNOWN};

    if (exchange_admit_know(&view, know, &reply.known) == EXCHANGE_DONE)
        for (unsigned i = 0; i < know->dot_count; i++)
            note_known(repair, know, i, &reply.known);
    repair_send(repair, &reply);
}

/* Who an exchange is from and to; NULL: it is none. */
static const struct exchange_head *head_of(const struct peer_message *message)
{
    switch (message->type) {
    case PEER_COMPARE: return &message->compare.head;
    case PEER_COMPARED: return &message->compared.head;
    case PEER_DIGESTS: return &message->digests.head;
    case PEER_DIFFERENCE: return &message->difference.difference.head;
    case PEER_CELLS: return &message->cells.cells.head;
    case PEER_CELLS_STORED: return &message->cells_stored.head;
    case PEER_KNOW: return &message->know.head;
    case PEER_KNOWN: return &message->known.head;
    case PEER_HELLO:
    case PEER_PROOF:
    case PEER_REFUSED:
    case PEER_PING:
    case PEER_FETCH:
    case PEER_FETCHED:
    case PEER_STORE:
    case PEER_STORED:
    case PEER_FORWARD:
    case PEER_FORWARDED:
    case PEER_HINT:
    case PEER_HINT_ACK:
    case PEER_CLAIMANT:
    case PEER_RESTART_ASK:
    case PEER_RESTART_ANSWER:
    case PEER_RESTART_JOIN:
    case PEER_RESTART_JOINED:
    case PEER_TYPE_END: return NULL;
    }
    return NULL;
}

static void answer(struct repair *repair, struct sync *sync, const struct peer_message *message)
{
    if (message->type == PEER_COMPARE)
        on_compare(repair, &message->compare);
    else if (message->type == PEER_COMPARED)
        repair_step_sync(
            repair, sync,
            (struct sync_event){.type = SYNC_COMPARED, .compared = &message->compared});
    else if (message->type == PEER_DIGESTS)
        on_digests(repair, &message->digests);
    else if (message->type == PEER_DIFFERENCE)
        on_difference(repair, sync, &message->difference);
    else if (message->type == PEER_CELLS)
        on_cells(repair, &message->cells);
    else if (message->type == PEER_CELLS_STORED)
        on_stored(repair, sync, &message->cells_stored);
    else if (message->type == PEER_KNOW)
        on_know(repair, &message->know);
    else if (message->type == PEER_KNOWN)
        repair_step_aftercut(
            repair, (struct aftercut_event){.type = AFTERCUT_KNOWN, .known = &message->known});
}

void repair_on_exchange(struct repair *repair, node_id from, const struct peer_message *message)
{
    const struct exchange_head *head = head_of(message);
    struct sync *sync;

    if (head == NULL || head->from != from || head->to != repair->node->id)
        return;
    sync = repair_sync_with(repair, from);
    if (sync != NULL)
        answer(repair, sync, message);
}
