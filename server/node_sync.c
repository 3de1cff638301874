/* Warming, fills and anti-entropy; node_repair.h says more. */
#include "server/node_repair.h"
#include "server/policy.h"
#include "server/settings.h"
#include <stdlib.h>

#define RETRY_MS 1000

/* The machines' numbers, above all of earlier lives. */
static uint64_t first_number(const struct repair *repair)
{
    return node_wall_ms(repair->node) << 20;
}

static unsigned partition_count(const struct repair *repair)
{
    return ring_table_partitions(repair->table);
}

/* --- warming --- */

static bool is_wanted(const struct repair *repair, unsigned partition)
{
    return (repair->fill_wanted[partition / 64] >> (partition % 64) & 1) != 0;
}

void repair_step_warming(struct repair *repair, struct warming_event event)
{
    struct warming_effects effects = {0};

    event.now_ms = node_now_ms(repair->node);
    warming_step(&repair->warming, &event, &effects);
    if (effects.began + effects.finished == 0)
        return;
    node_publish(repair->node);
    for (unsigned partition = 0; partition < partition_count(repair); partition++)
        if (is_wanted(repair, partition) && warming_is_warm(&repair->warming, partition))
            repair_step_fill(repair,
                             (struct fill_event){.type = FILL_STOP, .partition = partition});
}

bool repair_wants_walk(const struct repair *repair, node_id peer)
{
    const struct warming *warming = &repair->warming;

    if (warming->warming_count == 0)
        return false;
    for (unsigned partition = 0; partition < partition_count(repair); partition++)
        if (warming_needs(warming, partition, peer))
            return true;
    return false;
}

/* --- fills --- */

void repair_step_fill(struct repair *repair, struct fill_event event)
{
    const struct exchange_view view = repair_view(repair);
    struct fill_effects effects;

    event.now_ms = node_now_ms(repair->node);
    event.view = &view;
    event.peers = repair_views(repair);
    event.bucket = repair_bucket(repair, BUDGET_TRANSFER);
    fill_effects_init(&effects, NULL);
    fill_step(&repair->fill, &event, &effects);
    for (unsigned i = 0; i < effects.message_count; i++)
        repair_send(repair, &effects.messages[i]);
}

/* Whether there are keys that a place in the row owns and another, further back, does not. */
static bool is_before(const struct repair *repair, unsigned place, unsigned other)
{
    for (unsigned copies = place + 1; copies <= other && copies <= repair->copies_max; copies++)
        if ((repair->warming.classes >> copies & 1) != 0)
            return true;
    return false;
}

void repair_change_owned(struct repair *repair, const struct ring_table *before)
{
    const unsigned last = repair->copies_max;
    const node_id self = repair->node->id;

    for (unsigned i = 0; i < partition_count(repair); i++) {
        const unsigned was = before == NULL ? last : exchange_position(before, i, self);
        const unsigned is = exchange_position(repair->table, i, self);

        if (is_before(repair, is, was))
            repair_step_fill(repair, (struct fill_event){.type = FILL_START, .partition = i});
        else if (is >= last && was < last)
            repair_step_fill(repair, (struct fill_event){.type = FILL_STOP, .partition = i});
    }
}

/* --- comparing --- */

static struct sync_options sync_options(void)
{
    struct sync_options options = sync_options_default;

    options.settle_ms = (uint32_t)node_wait_ms(options.settle_ms);
    options.pause_min_ms = (uint32_t)node_wait_ms(options.pause_min_ms);
    options.pause_max_ms = (uint32_t)node_wait_ms(options.pause_max_ms);
    options.retry_ms = (uint32_t)node_wait_ms(options.retry_ms);
    return options;
}

struct sync *repair_sync_with(struct repair *repair, node_id peer)
{
    const struct sync_options options = sync_options();
    struct sync *sync;

    for (unsigned i = 0; i < repair->sync_count; i++)
        if (repair->syncs[i]->peer == peer)
            return repair->syncs[i];
    if (repair->sync_count == RING_MEMBERS_MAX)
        return NULL;
    sync = calloc(1, sizeof *sync);
    if (sync == NULL)
        return NULL;
    sync_init(sync, peer, &options, first_number(repair));
    repair->syncs[repair->sync_count++] = sync;
    return sync;
}

static void note_compared(struct repair *repair, node_id peer, const struct sync_effects *effects)
{
    for (unsigned i = effects->compared_first; i < effects->compared_end; i++)
        repair_step_warming(repair,
                            (struct warming_event){.type = WARMING_COMPARED,
                                                   .peer = peer,
                                                   .partition = i,
                                                   .started_ms = effects->compared_since_ms});
}

static void scan_for(struct repair *repair, struct sync *sync, const struct exchange_scan *scan)
{
    struct exchange_item items[EXCHANGE_KEYS_MAX];
    struct exchange_scanned scanned;

    if (repair_scan(repair, scan, items, &scanned))
        repair_step_sync(repair, sync,
                         (struct sync_event){.type = SYNC_SCANNED, .scanned = &scanned});
}

void repair_step_sync(struct repair *repair, struct sync *sync, struct sync_event event)
{
    const struct exchange_view view = repair_view(repair);
    struct sync_effects effects;

    event.now_ms = node_now_ms(repair->node);
    event.view = &view;
    event.bucket = repair_bucket(repair, BUDGET_REPAIR);
    event.wants_walk = repair_wants_walk(repair, sync->peer);
    sync_effects_init(&effects, NULL);
    sync_step(sync, &event, &effects);
    for (unsigned i = 0; i < effects.message_count; i++)
        repair_send(repair, &effects.messages[i]);
    note_compared(repair, sync->peer, &effects);
    for (unsigned i = 0; i < effects.scan_count; i++)
        scan_for(repair, sync, &effects.scans[i]);
}

void repair_forget_syncs(struct repair *repair)
{
    for (unsigned i = 0; i < repair->sync_count;) {
        if (membership_has(&repair->node->membership, repair->syncs[i]->peer)) {
            i++;
            continue;
        }
        repair->stats.repair_cells_taken += repair->syncs[i]->cells_taken;
        repair->stats.repair_cells_given += repair->syncs[i]->cells_given;
        free(repair->syncs[i]);
        repair->syncs[i] = repair->syncs[--repair->sync_count];
    }
}

/* --- their lives --- */

bool repair_sync_new(struct repair *repair)
{
    const unsigned bits = settings.partition_bits;
    const size_t partitions = (size_t)1 << bits;
    struct warming_memory *memory = &repair->warming_memory;

    repair->fill_wanted = calloc((partitions + 63) / 64, sizeof(uint64_t));
    memory->partitions = calloc(partitions, sizeof memory->partitions[0]);
    memory->peers = calloc(RING_MEMBERS_MAX, sizeof memory->peers[0]);
    memory->peer_room = RING_MEMBERS_MAX;
    memory->words = calloc(WARMING_WORDS(bits, RING_MEMBERS_MAX), sizeof(uint64_t));
    return repair->fill_wanted != NULL && memory->partitions != NULL && memory->peers != NULL &&
           memory->words != NULL;
}

void repair_sync_free(struct repair *repair)
{
    for (unsigned i = 0; i < repair->sync_count; i++)
        free(repair->syncs[i]);
    free(repair->fill_wanted);
    free(repair->warming_memory.partitions);
    free(repair->warming_memory.peers);
    free(repair->warming_memory.words);
}

void repair_sync_start(struct repair *repair, bool is_founding)
{
    const struct node *node = repair->node;
    const uint32_t retry_ms = (uint32_t)node_wait_ms(RETRY_MS);

    fill_init(&repair->fill, retry_ms, partition_count(repair), repair->fill_wanted,
              first_number(repair));
    handoff_init(&repair->handoff, retry_ms, first_number(repair));
    warming_init(&repair->warming, node->id, node->incarnation, repair->table->partition_bits,
                 policies_copies(NULL), &repair->warming_memory);
    repair_step_warming(repair, (struct warming_event){.type = WARMING_TABLE,
                                                       .table = repair->table,
                                                       .is_founding = is_founding});
    if (!is_founding)
        repair_change_owned(repair, NULL);
}
