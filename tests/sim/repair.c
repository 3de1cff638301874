/* Warming, anti-entropy, fills and handoffs; node.h says more. */
#include "tests/sim/node.h"
#include "tests/sim/sim.h"
#include <assert.h>
#include <inttypes.h>

#define LEAF_BITS 3

static unsigned partition_count(const struct node *node)
{
    return 1u << node->sim->options.partition_bits;
}

static void *room(size_t count, size_t bytes)
{
    void *memory = calloc(count, bytes);

    if (memory == NULL)
        abort();
    return memory;
}

void node_repair_init(struct node *node)
{
    struct background *background = &node->background;
    unsigned bits = node->sim->options.partition_bits, partitions = partition_count(node);
    struct warming_memory *memory = &background->warming_memory;

    background->forest.trees = room(partitions, sizeof background->forest.trees[0]);
    background->leaves = room(partitions, merkle_bytes(LEAF_BITS));
    background->fill_wanted = room((partitions + 63) / 64, sizeof(uint64_t));
    memory->partitions = room(partitions, sizeof memory->partitions[0]);
    memory->peers = room(SIM_NODES_MAX, sizeof memory->peers[0]);
    memory->peer_room = SIM_NODES_MAX;
    memory->words = room(WARMING_WORDS(bits, SIM_NODES_MAX), sizeof(uint64_t));
}

void node_repair_deinit(struct node *node)
{
    struct background *background = &node->background;

    for (unsigned i = 0; i < SIM_NODES_MAX; i++)
        free(background->syncs[i]);
    free(background->forest.trees);
    free(background->leaves);
    free(background->fill_wanted);
    free(background->warming_memory.partitions);
    free(background->warming_memory.peers);
    free(background->warming_memory.words);
}

static struct exchange_view view_of(const struct node *node)
{
    return (struct exchange_view){.self = node->id,
                                  .table = node->table,
                                  .forests = &node->background.forest,
                                  .forest_count = 1,
                                  .takes = node->is_short_of_memory ? 0 : SIBLINGS_ALL,
                                  .is_filling = fill_is_active(&node->background.fill)};
}

static struct token_bucket *bucket_of(struct node *node, enum budget_work work)
{
    return budget_bucket(&node->background.budget, work);
}

void node_repair_mark(struct node *node, unsigned key)
{
    struct stored *stored = &node->store.cells[key];
    uint64_t hash = node->sim->keys[key].hash;
    unsigned partition = ring_table_partition(node->table, hash);
    uint64_t mark = 0;

    if (stored->is_present && !node_holds_as_hint(node, key))
        mark = merkle_mark(hash, &stored->cell);
    if (mark != stored->mark)
        merkle_update(&node->background.forest.trees[partition], hash, stored->mark, mark);
    stored->mark = mark;
}

/* --- cells for others --- */

static bool is_reapable(const struct node *node, const struct cell *cell)
{
    uint64_t grace_ms = node->sim->settings.tombstone_grace_ms;

    return cell_is_reapable(cell, cell_reap_before(node_wall_ms(node), grace_ms));
}

/* Fills `items`, which have room for `items_max`. */
static void scan_cells(const struct node *node, const struct exchange_scan *scan,
                       struct exchange_item *items, struct exchange_scanned *scanned)
{
    const struct sim *sim = node->sim;
    bool is_class =
        scan->copies_min <= sim->settings.copies && scan->copies_max >= sim->settings.copies;

    *scanned =
        (struct exchange_scanned){.number = scan->number, .items = items, .reached = scan->last};
    for (unsigned i = 0; is_class && i < sim->options.keys; i++) {
        unsigned key = sim->keys_by_hash[i];
        uint64_t hash = sim->keys[key].hash;
        const struct stored *stored = &node->store.cells[key];
        if (hash < scan->first || hash > scan->last || !stored->is_present ||
            node_holds_as_hint(node, key))
            continue;
        if (scanned->item_count == scan->items_max) {
            scanned->reached = hash - 1;
            return;
        }
        struct exchange_item *item = &items[scanned->item_count++];
        exchange_item_init(item, hash, &stored->cell);
        if (is_reapable(node, &stored->cell))
            item->kinds = 0;
    }
}

/* Puts the own cells into a message that names them, and leaves out what is gone. */
static unsigned put_cells(struct node *node, struct message *message, struct exchange_cell *cells,
                          unsigned count)
{
    unsigned kept = 0;

    message_hear_cells(message, count);
    for (unsigned i = 0; i < count; i++) {
        unsigned key = sim_key_of(cells[i].key_hash);
        const struct cell *own = store_find(&node->store, key);
        if (own == NULL)
            continue;
        set_unite(&message->cells_heard[kept], &node->sim->truth.keys[key].heard[node->index]);
        cells[kept++] = (struct exchange_cell){cells[i].key_hash, message_cell(message, own)};
    }
    return kept;
}

static void send_exchange(struct node *node, const struct exchange_message *exchange)
{
    struct message *message = message_new(&node->sim->network, MESSAGE_EXCHANGE);
    struct exchange_message *copy = message_room(message, sizeof *copy);

    memcpy(copy, exchange, sizeof *copy);
    if (copy->type == EXCHANGE_CELLS)
        copy->cells.cell_count =
            put_cells(node, message, copy->cells.cells, copy->cells.cell_count);
    if (copy->type == EXCHANGE_DIFFERENCE)
        copy->difference.cell_count =
            put_cells(node, message, copy->difference.cells, copy->difference.cell_count);
    message->body.exchange = copy;
    node_send(node, message, copy->head.to);
}

/* What became of the cells that a message brought. */
struct taken {
    unsigned changed_count;
    bool has_failed;
    uint64_t merged[EXCHANGE_KEYS_MAX / 64], changed[EXCHANGE_KEYS_MAX / 64];
};

static unsigned kinds_of(const struct cell *cell)
{
    unsigned kinds = 0;

    for (unsigned i = 0; i < cell->sibling_count; i++)
        kinds |= cell->siblings[i].kind;
    return kinds;
}

static void take_cells(struct node *node, const struct message *message,
                       const struct exchange_cell *cells, unsigned count, bool is_handoff,
                       struct taken *taken)
{
    struct exchange_view view = view_of(node);

    memset(taken, 0, sizeof *taken);
    for (unsigned i = 0; i < count; i++) {
        const struct cell *cell = cells[i].cell;
        unsigned key = sim_key_of(cells[i].key_hash);
        const struct cell *own = store_find(&node->store, key);
        uint64_t before = own == NULL ? 0 : exchange_fingerprint(own);
        bool is_welcome = own != NULL || exchange_takes(&view, is_handoff, kinds_of(cell));
        if (!is_welcome)
            continue;
        if (!node_take(node, key, cell, &message->cells_heard[i])) {
            taken->has_failed = true;
            continue;
        }
        taken->merged[i / 64] |= (uint64_t)1 << (i % 64);
        own = store_find(&node->store, key);
        if ((own == NULL ? 0 : exchange_fingerprint(own)) == before)
            continue;
        taken->changed[i / 64] |= (uint64_t)1 << (i % 64);
        taken->changed_count++;
    }
}

/* --- the machines --- */

static void step_fill(struct node *node, struct fill_event event)
{
    struct exchange_view view = view_of(node);
    struct fill_effects effects;
    struct ring_trace trace;

    event.now_ms = sim_now(node->sim);
    event.view = &view;
    event.peers = node_views(node);
    event.bucket = bucket_of(node, BUDGET_TRANSFER);
    fill_effects_init(&effects, node_trace(node, &trace));
    fill_step(&node->background.fill, &event, &effects);
    node_say(node, &trace);
    for (unsigned i = 0; i < effects.message_count; i++)
        send_exchange(node, &effects.messages[i]);
}

static bool is_wanted(const struct node *node, unsigned partition)
{
    return (node->background.fill_wanted[partition / 64] >> (partition % 64) & 1) != 0;
}

static void step_warming(struct node *node, struct warming_event event)
{
    struct background *background = &node->background;
    struct warming_effects effects = {0};
    struct ring_trace trace;

    event.now_ms = sim_now(node->sim);
    effects.trace = node_trace(node, &trace);
    warming_step(&background->warming, &event, &effects);
    node_say(node, &trace);
    if (effects.began + effects.finished == 0)
        return;
    report_event(&node->sim->report, 0x800, node->index, background->warming.warming_count);
    for (unsigned partition = 0; partition < partition_count(node); partition++)
        if (is_wanted(node, partition) && warming_is_warm(&background->warming, partition))
            step_fill(node, (struct fill_event){.type = FILL_STOP, .partition = partition});
}

static void step_handoff(struct node *node, struct handoff_event event)
{
    struct exchange_item items[HANDOFF_BATCH];
    struct exchange_scanned scanned;
    struct exchange_view view = view_of(node);
    struct handoff_effects *effects = room(1, sizeof *effects);
    struct ring_trace trace;

    event.now_ms = sim_now(node->sim);
    event.view = &view;
    event.peers = node_views(node);
    event.bucket = bucket_of(node, BUDGET_TRANSFER);
    handoff_effects_init(effects, node_trace(node, &trace));
    handoff_step(&node->background.handoff, &event, effects);
    node_say(node, &trace);
    for (unsigned i = 0; i < effects->message_count; i++)
        send_exchange(node, &effects->messages[i]);
    for (unsigned i = 0; i < effects->drop_count; i++) {
        unsigned key = sim_key_of(effects->drops[i].key_hash);
        const struct cell *own = store_find(&node->store, key);
        if (own == NULL || exchange_fingerprint(own) != effects->drops[i].fingerprint ||
            node->sim->options.glue_break == BREAK_KEEP_COPIES)
            continue;
        report_line(node->sim, (int)node->index, key, "drops what all owners have");
        truth_hand_over(&node->sim->truth, node->index, key);
        node_cell_drop(node, key);
    }
    for (unsigned i = 0; i < effects->scan_count; i++) {
        scan_cells(node, &effects->scans[i], items, &scanned);
        step_handoff(node, (struct handoff_event){.type = HANDOFF_ITEMS, .scanned = &scanned});
    }
    free(effects);
}

static void note_compared(struct node *node, unsigned peer, const struct sync_effects *effects)
{
    node_id id = node->sim->nodes[peer]->id;

    for (unsigned i = effects->compared_first; i < effects->compared_end; i++)
        step_warming(node, (struct warming_event){.type = WARMING_COMPARED,
                                                  .peer = id,
                                                  .partition = i,
                                                  .started_ms = effects->compared_since_ms});
}

/* Whether warming waits for a comparison with the peer. */
static bool wants_walk(const struct node *node, node_id peer)
{
    const struct warming *warming = &node->background.warming;

    if (warming->warming_count == 0)
        return false;
    for (unsigned partition = 0; partition < partition_count(node); partition++)
        if (warming_needs(warming, partition, peer))
            return true;
    return false;
}

static struct sync *sync_with(struct node *node, unsigned peer)
{
    struct sync **sync = &node->background.syncs[peer];
    uint64_t first_number = (CLOCK_START_MS + sim_now(node->sim)) << 20;

    if (*sync != NULL && (*sync)->peer != node->sim->nodes[peer]->id) { /* another actor now */
        free(*sync);
        *sync = NULL;
    }
    if (*sync == NULL) {
        *sync = room(1, sizeof **sync);
        sync_init(*sync, node->sim->nodes[peer]->id, &node->sim->settings.sync, first_number);
    }
    return *sync;
}

static void step_sync(struct node *node, unsigned peer, struct sync_event event)
{
    struct sync *sync = sync_with(node, peer);
    struct exchange_item items[EXCHANGE_KEYS_MAX];
    struct exchange_scanned scanned;
    struct exchange_view view = view_of(node);
    struct sync_effects effects;
    struct ring_trace trace;

    event.now_ms = sim_now(node->sim);
    event.view = &view;
    event.bucket = bucket_of(node, BUDGET_REPAIR);
    event.wants_walk = wants_walk(node, sync->peer);
    sync_effects_init(&effects, node_trace(node, &trace));
    sync_step(sync, &event, &effects);
    node_say(node, &trace);
    for (unsigned i = 0; i < effects.message_count; i++)
        send_exchange(node, &effects.messages[i]);
    note_compared(node, peer, &effects);
    for (unsigned i = 0; i < effects.scan_count; i++) {
        scan_cells(node, &effects.scans[i], items, &scanned);
        step_sync(node, peer, (struct sync_event){.type = SYNC_SCANNED, .scanned = &scanned});
    }
}

/* --- when they are stepped --- */

void node_repair_start(struct node *node, bool is_founding)
{
    struct background *background = &node->background;
    struct sim *sim = node->sim;
    uint64_t now_ms = sim_now(sim), first_number = (CLOCK_START_MS + now_ms) << 20;
    unsigned bits = sim->options.partition_bits, partitions = partition_count(node);

    budget_init(&background->budget, &sim->settings.budget, now_ms);
    background->forest.copies = sim->settings.copies;
    for (unsigned i = 0; i < partitions; i++)
        merkle_init(&background->forest.trees[i], bits, LEAF_BITS,
                    background->leaves + i * merkle_bytes(LEAF_BITS) / sizeof(uint64_t));
    for (unsigned i = 0; i < SIM_NODES_MAX; i++) {
        free(background->syncs[i]);
        background->syncs[i] = NULL;
    }
    memset(background->fill_wanted, 0, (partitions + 63) / 64 * sizeof(uint64_t));
    fill_init(&background->fill, sim->settings.retry_ms, partitions, background->fill_wanted,
              first_number);
    handoff_init(&background->handoff, sim->settings.retry_ms, first_number);
    warming_init(&background->warming, node->id, node->liveness.incarnation, bits,
                 1u << sim->settings.copies, &background->warming_memory);
    step_warming(node, (struct warming_event){.type = WARMING_TABLE,
                                              .table = node->table,
                                              .is_founding = is_founding});
    for (unsigned i = 0; i < partitions && !is_founding; i++)
        if (ring_table_is_owner(node->table, i, sim->settings.copies, node->id))
            step_fill(node, (struct fill_event){.type = FILL_START, .partition = i});
}

/* Whose cells are in the trees depends on what the node owns. */
static void mark_all(struct node *node)
{
    for (unsigned key = 0; key < node->sim->options.keys; key++)
        node_repair_mark(node, key);
}

void node_change_table(struct node *node, const struct ring_table *table)
{
    const struct ring_table *before = node->table;
    unsigned copies = node->sim->settings.copies;

    if (!node->has_begun)
        return;
    node->table = table;
    mark_all(node);
    step_warming(node, (struct warming_event){.type = WARMING_TABLE, .table = table});
    for (unsigned i = 0; i < partition_count(node); i++) {
        bool was_owner = ring_table_is_owner(before, i, copies, node->id);
        bool is_owner = ring_table_is_owner(table, i, copies, node->id);
        if (was_owner != is_owner)
            step_fill(node, (struct fill_event){.type = is_owner ? FILL_START : FILL_STOP,
                                                .partition = i});
    }
    step_fill(node, (struct fill_event){.type = FILL_TICK});
    step_handoff(node, (struct handoff_event){.type = HANDOFF_TICK});
}

void node_repair_forget_gone(struct node *node)
{
    const struct membership *membership = &node->members->membership;

    for (unsigned i = 0; i < membership->count; i++) {
        if (membership->records[i].status != MEMBER_GONE)
            continue;
        node_id peer = membership->records[i].id;
        step_warming(node, (struct warming_event){.type = WARMING_PEER_GONE, .peer = peer});
        node_hints_step(node, (struct hints_event){.type = HINTS_GONE, .target = peer});
    }
}

bool node_is_holding(const struct node *node)
{
    const struct member_record *own = membership_find(&node->members->membership, node->id);

    if (own == NULL || own->status != MEMBER_LEAVING)
        return false;
    for (unsigned key = 0; key < node->sim->options.keys; key++)
        if (node->store.cells[key].is_present)
            return true;
    return false;
}

void node_repair_peer(struct node *node, node_id peer, bool is_reachable)
{
    unsigned index = sim_index_of(peer);

    step_warming(
        node, (struct warming_event){.type = is_reachable ? WARMING_PEER_FOUND : WARMING_PEER_LOST,
                                     .peer = peer});
    node_hints_step(node,
                    (struct hints_event){.type = is_reachable ? HINTS_REACHABLE : HINTS_UNREACHABLE,
                                         .target = peer});
    if (!is_reachable)
        step_sync(node, index, (struct sync_event){.type = SYNC_UNREACHABLE});
    step_fill(node, (struct fill_event){.type = FILL_TICK});
    step_handoff(node, (struct handoff_event){.type = HANDOFF_TICK});
}

void node_repair_ping(struct node *node, unsigned from, const struct ping_body *body)
{
    step_warming(node, (struct warming_event){
                           .type = WARMING_PING, .peer = body->ping.from, .ping = &body->ping});
    if (liveness_is_reachable(&node->liveness, body->ping.from))
        step_sync(node, from, (struct sync_event){.type = SYNC_HELLO, .hello = &body->hello});
}

void node_repair_hello(struct node *node, struct message *message, node_id to)
{
    struct background *background = &node->background;
    struct ping *ping = &message->body.ping.ping;
    unsigned char bitmap[RING_BITMAP_BYTES(RING_PARTITION_BITS_MAX)];
    struct exchange_view view = view_of(node);
    struct sync *sync = sync_with(node, sim_index_of(to));

    ping->hints_left = hints_left(&background->hints, to);
    ping->hints_oldest_age_ms = hints_oldest_age_ms(&background->hints, to, sim_now(node->sim));
    size_t bytes = warming_encode(&background->warming, bitmap);
    ping->warming = message_bytes(message, (struct slice){bitmap, bytes});
    sync_make_hello(sync, &view, wants_walk(node, to), sim_now(node->sim),
                    &message->body.ping.hello);
    if (node->sim->options.glue_break == BREAK_CHATTER)
        message->body.ping.hello.sum ^= sim_now(node->sim);
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t node_repair_deadline_ms(const struct node *node)
{
    struct background *background = (struct background *)&node->background;
    uint64_t at_ms = budget_deadline_ms(&background->budget);

    at_ms = earliest(at_ms, hints_deadline_ms(&background->hints,
                                              budget_bucket(&background->budget, BUDGET_HINTS)));
    at_ms = earliest(at_ms, fill_deadline_ms(&background->fill));
    at_ms = earliest(at_ms, handoff_deadline_ms(&background->handoff));
    for (unsigned i = 0; i < node->sim->node_count; i++)
        if (background->syncs[i] != NULL)
            at_ms = earliest(at_ms, sync_deadline_ms(background->syncs[i]));
    return at_ms;
}

void node_repair_wake(struct node *node)
{
    struct background *background = &node->background;
    uint64_t now_ms = sim_now(node->sim);

    if (budget_deadline_ms(&background->budget) <= now_ms)
        budget_step(&background->budget, now_ms, NULL);
    if (hints_deadline_ms(&background->hints, bucket_of(node, BUDGET_HINTS)) <= now_ms)
        node_hints_step(node, (struct hints_event){.type = HINTS_TICK});
    if (fill_deadline_ms(&background->fill) <= now_ms)
        step_fill(node, (struct fill_event){.type = FILL_TICK});
    if (handoff_deadline_ms(&background->handoff) <= now_ms)
        step_handoff(node, (struct handoff_event){.type = HANDOFF_TICK});
    for (unsigned i = 0; i < node->sim->node_count; i++)
        if (background->syncs[i] != NULL && sync_deadline_ms(background->syncs[i]) <= now_ms)
            step_sync(node, i, (struct sync_event){.type = SYNC_TICK});
}

/* --- what peers ask and answer --- */

static void on_digests(struct node *node, const struct exchange_digests *digests)
{
    struct exchange_item items[EXCHANGE_KEYS_MAX];
    struct exchange_message reply = {.type = EXCHANGE_DIFFERENCE};
    struct exchange_view view = view_of(node);
    struct token_bucket *bucket = bucket_of(node, BUDGET_REPAIR);
    struct exchange_scanned scanned;
    struct exchange_scan scan;
    enum exchange_answer answer = exchange_admit_digests(&view, digests, &scan);

    if (answer == EXCHANGE_DONE && token_bucket_ready_ms(bucket) > sim_now(node->sim))
        answer = EXCHANGE_NOT_NOW;
    if (answer == EXCHANGE_DONE)
        scan_cells(node, &scan, items, &scanned);
    exchange_answer_digests(&view, digests, answer, answer == EXCHANGE_DONE ? &scanned : NULL,
                            &reply.difference);
    token_bucket_take(bucket, exchange_message_bytes(&reply), sim_now(node->sim));
    send_exchange(node, &reply);
}

static void on_cells(struct node *node, const struct message *message,
                     const struct exchange_cells *cells)
{
    struct exchange_message reply = {.type = EXCHANGE_STORED};
    struct exchange_view view = view_of(node);
    struct taken taken;

    if (exchange_admit_cells(&view, cells, &reply.stored) == EXCHANGE_DONE) {
        take_cells(node, message, cells->cells, cells->cell_count, cells->is_handoff, &taken);
        memcpy(reply.stored.merged, taken.merged, sizeof taken.merged);
        memcpy(reply.stored.changed, taken.changed, sizeof taken.changed);
    }
    send_exchange(node, &reply);
}

static void on_difference(struct node *node, const struct message *message,
                          const struct exchange_difference *difference)
{
    struct taken taken;

    take_cells(node, message, difference->cells, difference->cell_count, false, &taken);
    switch (difference->head.asker) {
    case EXCHANGE_SYNC:
        step_sync(node, message->from,
                  (struct sync_event){.type = SYNC_DIFFERENCE,
                                      .difference = difference,
                                      .changed_count = taken.changed_count,
                                      .has_failed = taken.has_failed});
        break;
    case EXCHANGE_FILL:
        step_fill(node, (struct fill_event){.type = FILL_DIFFERENCE,
                                            .difference = difference,
                                            .changed_count = taken.changed_count,
                                            .has_failed = taken.has_failed});
        break;
    case EXCHANGE_HANDOFF:
        step_handoff(node,
                     (struct handoff_event){.type = HANDOFF_DIFFERENCE, .difference = difference});
        break;
    case EXCHANGE_AFTERCUT: break;
    }
}

static void on_stored(struct node *node, unsigned from, const struct exchange_stored *stored)
{
    if (stored->head.asker == EXCHANGE_SYNC)
        step_sync(node, from, (struct sync_event){.type = SYNC_STORED, .stored = stored});
    if (stored->head.asker == EXCHANGE_HANDOFF)
        step_handoff(node, (struct handoff_event){.type = HANDOFF_STORED, .stored = stored});
}

void node_on_exchange(struct node *node, const struct message *message)
{
    const struct exchange_message *exchange = message->body.exchange;
    struct exchange_view view = view_of(node);
    struct exchange_message reply;

    switch (exchange->type) {
    case EXCHANGE_COMPARE:
        reply.type = EXCHANGE_COMPARED;
        exchange_answer_compare(&view, &exchange->compare, &reply.compared);
        send_exchange(node, &reply);
        break;
    case EXCHANGE_COMPARED:
        step_sync(node, message->from,
                  (struct sync_event){.type = SYNC_COMPARED, .compared = &exchange->compared});
        break;
    case EXCHANGE_DIGESTS: on_digests(node, &exchange->digests); break;
    case EXCHANGE_DIFFERENCE: on_difference(node, message, &exchange->difference); break;
    case EXCHANGE_CELLS: on_cells(node, message, &exchange->cells); break;
    case EXCHANGE_STORED: on_stored(node, message->from, &exchange->stored); break;
    case EXCHANGE_KNOW:
    case EXCHANGE_KNOWN: break;
    }
}
