/* Cells that others own, and those outdated by a cut; node_repair.h says more. */
#include "server/node_repair.h"

#define SCANS_PER_TURN 8 /* of up to a tenth of a millisecond each */

/* --- handing over --- */

static void scan_for_handoff(struct repair *repair, const struct exchange_scan *scan)
{
    struct exchange_item items[HANDOFF_BATCH];
    struct exchange_scanned scanned;

    if (repair_scan(repair, scan, items, &scanned))
        repair_step_handoff(repair,
                            (struct handoff_event){.type = HANDOFF_ITEMS, .scanned = &scanned});
}

void repair_step_handoff(struct repair *repair, struct handoff_event event)
{
    const struct exchange_view view = repair_view(repair);
    struct handoff_effects effects;

    event.now_ms = node_now_ms(repair->node);
    event.view = &view;
    event.peers = repair_views(repair);
    event.bucket = repair_bucket(repair, BUDGET_TRANSFER);
    handoff_effects_init(&effects, NULL);
    handoff_step(&repair->handoff, &event, &effects);
    for (unsigned i = 0; i < effects.message_count; i++)
        repair_send(repair, &effects.messages[i]);
    for (unsigned i = 0; i < effects.drop_count; i++)
        repair->stats.handoff_cells_dropped +=
            repair_drop(repair, effects.drops[i].key_hash, effects.drops[i].fingerprint);
    for (unsigned i = 0; i < effects.scan_count; i++)
        scan_for_handoff(repair, &effects.scans[i]);
}

/* --- after a cut --- */

/* Adds a cell's dots from before `before`.  False: there is no room for all of them. */
static bool add_dots(uint64_t hash, const struct cell *cell, hlc_time before,
                     struct exchange_dot dots[AFTERCUT_BATCH], unsigned *count)
{
    const unsigned first = *count;

    for (unsigned i = 0; i < cell->sibling_count; i++) {
        if (cell->siblings[i].dot.hlc >= before)
            continue;
        if (*count == AFTERCUT_BATCH && first == 0)
            return true; /* more than a batch in one cell: its oldest must do */
        if (*count == AFTERCUT_BATCH) {
            *count = first;
            return false;
        }
        dots[(*count)++] = (struct exchange_dot){hash, cell->siblings[i].dot};
    }
    return true;
}

static void scan_for_aftercut(struct repair *repair, const struct aftercut_scan *wanted)
{
    struct exchange_item items[AFTERCUT_BATCH];
    struct exchange_dot dots[AFTERCUT_BATCH];
    struct exchange_scanned found;
    struct aftercut_scanned scanned = {.number = wanted->scan.number, .dots = dots};
    struct slice key;
    struct cell cell;

    if (!repair_scan(repair, &wanted->scan, items, &found))
        return;
    scanned.reached = found.reached;
    for (unsigned i = 0, skipped = 0; i < found.item_count; i++) {
        const uint64_t hash = items[i].key_hash;

        skipped = i > 0 && items[i - 1].key_hash == hash ? skipped + 1 : 0;
        arena_reset(&repair->arena);
        if (!repair_copy(repair, hash, skipped, &key, &cell) ||
            add_dots(hash, &cell, wanted->before, dots, &scanned.dot_count))
            continue;
        scanned.reached = hash - 1;
        break;
    }
    repair_step_aftercut(repair,
                         (struct aftercut_event){.type = AFTERCUT_SCANNED, .scanned = &scanned});
}

void repair_step_aftercut(struct repair *repair, struct aftercut_event event)
{
    const struct exchange_view view = repair_view(repair);
    struct aftercut_effects effects;

    event.now_ms = node_now_ms(repair->node);
    event.wall_ms = node_wall_ms(repair->node);
    event.view = &view;
    event.peers = repair_views(repair);
    event.bucket = repair_bucket(repair, BUDGET_REPAIR);
    aftercut_effects_init(&effects, NULL);
    aftercut_step(&repair->aftercut, &event, &effects);
    for (unsigned i = 0; i < effects.message_count; i++)
        repair_send(repair, &effects.messages[i]);
    for (unsigned i = 0; i < effects.forget_count; i++)
        repair_forget(repair, effects.forgets[i].key_hash, effects.forgets[i].dot);
    /* One that finds no room is asked for again. */
    for (unsigned i = 0; i < effects.scan_count && repair->scan_count < AFTERCUT_SCANS_MAX; i++)
        repair->scans[repair->scan_count++] = effects.scans[i];
    if (repair->scan_count > 0)
        node_set_wake(repair->node);
}

void repair_scan_for_aftercut(struct repair *repair)
{
    for (unsigned i = 0; i < SCANS_PER_TURN && repair->scan_count > 0; i++) {
        const struct aftercut_scan scan = repair->scans[0];

        repair->scan_count--;
        memmove(repair->scans, repair->scans + 1, repair->scan_count * sizeof repair->scans[0]);
        scan_for_aftercut(repair, &scan);
    }
}
