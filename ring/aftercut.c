#include "ring/aftercut.h"
#include <assert.h>
#include <string.h>

void aftercut_init(struct aftercut *aftercut, const struct aftercut_options *options,
                   unsigned partition_count, hlc_time *before, struct aftercut_contact *contacts,
                   uint64_t now_ms, uint64_t wall_ms, uint64_t first_number)
{
    memset(aftercut, 0, sizeof *aftercut);
    assert(options->retry_ms > 0);
    assert(options->grace_ms > options->detection_ms);
    assert(first_number > 0);
    aftercut->options = *options;
    aftercut->next_number = first_number;
    aftercut->before = before;
    aftercut->contacts = contacts;
    aftercut->partition_count = partition_count;
    aftercut->stepped_ms = now_ms;
    aftercut->stepped_wall_ms = wall_ms;
    aftercut->wake_ms = now_ms;
    memset(before, 0, partition_count * sizeof before[0]);
    memset(contacts, 0, partition_count * sizeof contacts[0]);
}

bool aftercut_is_suspect(const struct aftercut *aftercut, unsigned partition, struct dot dot)
{
    assert(partition < aftercut->partition_count);
    return dot.hlc < aftercut->before[partition];
}

static struct merkle_range range_of(const struct ring_table *table, unsigned partition)
{
    return merkle_range_child((struct merkle_range){0, 0}, table->partition_bits, partition);
}

static struct aftercut_slot *slot_of(struct aftercut *aftercut, unsigned partition)
{
    for (unsigned i = 0; i < AFTERCUT_WINDOW; i++)
        if (aftercut->slots[i].state != AFTERCUT_FREE && aftercut->slots[i].partition == partition)
            return &aftercut->slots[i];
    return NULL;
}

/* Nothing in the partition is suspect any more. */
static void clear(struct aftercut *aftercut, unsigned partition)
{
    struct aftercut_slot *slot = slot_of(aftercut, partition);

    if (aftercut->before[partition] == 0)
        return;
    assert(aftercut->pending_count > 0);
    aftercut->before[partition] = 0;
    aftercut->pending_count--;
    if (slot != NULL)
        slot->state = AFTERCUT_FREE;
}

static void start(struct aftercut *aftercut, unsigned partition, hlc_time cut)
{
    if (aftercut->before[partition] > cut)
        cut = aftercut->before[partition];
    clear(aftercut, partition); /* from its beginning */
    if (cut == 0)
        return;
    aftercut->before[partition] = cut;
    aftercut->pending_count++;
}

/* The other owners of the class that are reachable and warm, in the order of the row. */
static unsigned find_peers(const struct aftercut_event *event, unsigned partition, unsigned copies,
                           node_id peers[RING_COPIES_MAX])
{
    const struct ring_table *table = event->view->table;
    const unsigned char *row = ring_table_row(table, partition);
    unsigned count = 0;

    for (unsigned i = 0; i < copies && i < table->copies && row[i] != RING_NO_OWNER; i++) {
        const struct peer_view *peer = &event->peers[row[i]];
        node_id id = table->members[row[i]].id;
        bool is_warming =
            peer->warming != NULL && (peer->warming[partition / 64] >> (partition % 64) & 1) != 0;
        if (id != event->view->self && peer->is_reachable && !is_warming)
            peers[count++] = id;
    }
    return count;
}

/* Whether another owner of the partition is reachable, warm or not. */
static bool is_reachable(const struct aftercut_event *event, unsigned partition)
{
    const struct ring_table *table = event->view->table;
    const unsigned char *row = ring_table_row(table, partition);

    for (unsigned i = 0; i < table->copies && row[i] != RING_NO_OWNER; i++)
        if (table->members[row[i]].id != event->view->self && event->peers[row[i]].is_reachable)
            return true;
    return false;
}

/* Whether no more than half of the owners can be reached. */
static bool is_cut_off(const struct aftercut_event *event, unsigned partition)
{
    const struct ring_table *table = event->view->table;
    const unsigned char *row = ring_table_row(table, partition);
    unsigned owners = 0, connected = 0;

    for (; owners < table->copies && row[owners] != RING_NO_OWNER; owners++)
        connected += event->peers[row[owners]].is_reachable ||
                     table->members[row[owners]].id == event->view->self;
    return owners > 1 && 2 * connected <= owners;
}

/* Begins with a partition when a cut ends that was longer than the grace. */
static void note_contact(struct aftercut *aftercut, unsigned partition,
                         const struct aftercut_event *event)
{
    struct aftercut_contact *contact = &aftercut->contacts[partition];
    const struct aftercut_options *options = &aftercut->options;
    bool has_slept = event->now_ms - aftercut->stepped_ms > options->grace_ms;
    bool is_cut = is_cut_off(event, partition);

    if (!contact->is_cut_off && (is_cut || has_slept)) {
        contact->is_cut_off = true;
        contact->lost_ms = has_slept ? aftercut->stepped_ms : event->now_ms;
        contact->lost_wall_ms = has_slept ? aftercut->stepped_wall_ms : event->wall_ms;
    }
    if (!contact->is_cut_off || is_cut)
        return;
    contact->is_cut_off = false;
    if (event->now_ms - contact->lost_ms + options->detection_ms > options->grace_ms &&
        contact->lost_wall_ms > options->detection_ms)
        start(aftercut, partition, hlc_of_ms(contact->lost_wall_ms - options->detection_ms));
}

/* Starts the batch again, with those who can be asked now. */
static void begin_batch(struct aftercut_slot *slot, const struct aftercut_event *event)
{
    node_id ids[RING_COPIES_MAX];

    slot->version = event->view->table->version;
    slot->peer_count = find_peers(event, slot->partition, slot->copies, ids);
    for (unsigned i = 0; i < slot->peer_count; i++)
        slot->peers[i] = (struct aftercut_peer){.id = ids[i]};
    slot->dot_count = 0;
    memset(slot->known, 0, sizeof slot->known);
    slot->state = slot->peer_count > 0 ? AFTERCUT_TO_SCAN : AFTERCUT_WAITING;
}

/* Goes to a class of the partition, by its index among the forests; after the last one the
 * partition is cleared. */
static void begin_class(struct aftercut *aftercut, struct aftercut_slot *slot, unsigned forest,
                        const struct aftercut_event *event, struct aftercut_effects *effects)
{
    const struct exchange_view *view = event->view;

    for (; forest < view->forest_count; forest++) {
        slot->forest = forest;
        slot->copies = view->forests[forest].copies;
        slot->cursor = range_of(view->table, slot->partition).first;
        begin_batch(slot, event);
        if (merkle_cell_count(&view->forests[forest].trees[slot->partition]) > 0)
            return;
    }
    unsigned partition = slot->partition;
    clear(aftercut, partition);
    assert(effects->cleared_count < AFTERCUT_CLEARED_MAX);
    effects->cleared_count++;
    ring_trace_say(effects->trace, "partition %u: nothing from before the cut is outdated any more",
                   partition);
}

/* Forgets what nobody has, and goes on behind the batch. */
static void end_batch(struct aftercut *aftercut, struct aftercut_slot *slot,
                      const struct aftercut_event *event, struct aftercut_effects *effects)
{
    uint64_t last = merkle_range_last(range_of(event->view->table, slot->partition));
    unsigned forgotten = 0;

    assert(slot->dot_count == 0 || slot->peer_count > 0);
    assert(effects->forget_count == 0);
#ifndef RING_BREAK_AFTERCUT
    for (unsigned i = 0; i < slot->dot_count; i++)
        if ((slot->known[i / 64] >> (i % 64) & 1) == 0)
            effects->forgets[forgotten++] = slot->dots[i];
#endif
    effects->forget_count = forgotten;
    aftercut->siblings_asked += slot->dot_count;
    aftercut->siblings_forgotten += forgotten;
    if (forgotten > 0)
        ring_trace_say(effects->trace,
                       "partition %u: %u siblings from before the cut, which no "
                       "other owner has -> forgotten",
                       slot->partition, forgotten);
    if (slot->reached == last) {
        begin_class(aftercut, slot, slot->forest + 1, event, effects);
        return;
    }
    slot->cursor = slot->reached + 1;
    begin_batch(slot, event);
}

static void on_scanned(struct aftercut *aftercut, const struct aftercut_event *event,
                       struct aftercut_effects *effects)
{
    const struct aftercut_scanned *scanned = event->scanned;

    for (unsigned i = 0; i < AFTERCUT_WINDOW; i++) {
        struct aftercut_slot *slot = &aftercut->slots[i];
        if (slot->state != AFTERCUT_SCANNING || slot->number != scanned->number)
            continue;
        assert(scanned->dot_count <= AFTERCUT_BATCH);
        assert(scanned->reached >= slot->cursor);
        slot->state = AFTERCUT_ASKING;
        slot->reached = scanned->reached;
        slot->dot_count = scanned->dot_count;
        if (scanned->dot_count > 0)
            memcpy(slot->dots, scanned->dots, scanned->dot_count * sizeof slot->dots[0]);
        else
            end_batch(aftercut, slot, event, effects);
        return;
    }
}

static void on_known(struct aftercut *aftercut, const struct aftercut_event *event,
                     struct aftercut_effects *effects)
{
    const struct exchange_known *known = event->known;
    struct aftercut_slot *slot = NULL;
    struct aftercut_peer *peer = NULL;
    unsigned answered = 0;

    for (unsigned i = 0; i < AFTERCUT_WINDOW; i++)
        for (unsigned j = 0; j < aftercut->slots[i].peer_count; j++)
            if (aftercut->slots[i].state == AFTERCUT_ASKING && known->head.number != 0 &&
                aftercut->slots[i].peers[j].number == known->head.number &&
                aftercut->slots[i].peers[j].id == known->head.from) {
                slot = &aftercut->slots[i];
                peer = &slot->peers[j];
            }
    if (slot == NULL || peer->has_answered)
        return;
    peer->has_refused = known->answer == EXCHANGE_NOT_NOW;
    if (known->answer != EXCHANGE_DONE || known->dot_count != slot->dot_count)
        return; /* it will be asked again */
    peer->has_answered = true;
    for (unsigned i = 0; i < AFTERCUT_BATCH / 64; i++)
        slot->known[i] |= known->known[i];
    for (unsigned j = 0; j < slot->peer_count; j++)
        answered += slot->peers[j].has_answered;
#ifdef RING_BREAK_AFTERCUT_FIRST
    if (answered > 0)
#else
    if (answered == slot->peer_count)
#endif
        end_batch(aftercut, slot, event, effects);
}

/* Starts a batch again if those who have to be asked are others by now. */
static void check_slot(struct aftercut *aftercut, struct aftercut_slot *slot,
                       const struct aftercut_event *event, struct aftercut_effects *effects)
{
    node_id ids[RING_COPIES_MAX];
    unsigned count = find_peers(event, slot->partition, slot->copies, ids);
    bool is_same = count == slot->peer_count &&
                   ring_version_compare(slot->version, event->view->table->version) == 0;

    assert(slot->state != AFTERCUT_FREE);
    for (unsigned i = 0; is_same && i < count; i++)
        is_same = slot->peers[i].id == ids[i];
    if (!is_reachable(event, slot->partition))
        slot->state = AFTERCUT_FREE;
    else if (!is_same)
        begin_batch(slot, event);
    else if (slot->state == AFTERCUT_WAITING && aftercut->patient_until_ms <= event->now_ms)
        begin_class(aftercut, slot, slot->forest + 1, event, effects);
}

/* Goes on without those who were cut off themselves. */
static void stop_waiting(struct aftercut *aftercut, struct aftercut_slot *slot,
                         const struct aftercut_event *event, struct aftercut_effects *effects)
{
    unsigned answered = 0, refused = 0;

    for (unsigned i = 0; i < slot->peer_count; i++) {
        answered += slot->peers[i].has_answered;
        refused += slot->peers[i].has_refused && !slot->peers[i].has_answered;
    }
    if (slot->state != AFTERCUT_ASKING || aftercut->patient_until_ms > event->now_ms ||
        answered + refused < slot->peer_count)
        return;
    if (answered > 0)
        end_batch(aftercut, slot, event, effects);
    else
        begin_class(aftercut, slot, slot->forest + 1, event, effects);
}

static void use_free_slots(struct aftercut *aftercut, const struct aftercut_event *event,
                           struct aftercut_effects *effects)
{
    unsigned p = 0;

    for (unsigned i = 0; i < AFTERCUT_WINDOW; i++) {
        if (aftercut->slots[i].state != AFTERCUT_FREE)
            continue;
        while (
            p < aftercut->partition_count &&
            (aftercut->before[p] == 0 || slot_of(aftercut, p) != NULL || !is_reachable(event, p)))
            p++;
        if (p == aftercut->partition_count || effects->cleared_count == AFTERCUT_CLEARED_MAX)
            return;
        aftercut->slots[i] = (struct aftercut_slot){.state = AFTERCUT_TO_SCAN, .partition = p};
        begin_class(aftercut, &aftercut->slots[i], 0, event, effects);
    }
}

static void count_active(struct aftercut *aftercut, const struct aftercut_event *event)
{
    unsigned before = aftercut->active_count;

    aftercut->active_count = 0;
    for (unsigned p = 0; aftercut->pending_count > 0 && p < aftercut->partition_count; p++)
        aftercut->active_count += aftercut->before[p] != 0 && is_reachable(event, p);
    assert(aftercut->active_count <= aftercut->pending_count);
    if (aftercut->active_count > before)
        aftercut->patient_until_ms =
            event->now_ms + AFTERCUT_PATIENCE * (uint64_t)aftercut->options.retry_ms;
}

static bool ask(struct aftercut *aftercut, const struct aftercut_slot *slot,
                struct aftercut_peer *peer, const struct aftercut_event *event,
                struct aftercut_effects *effects)
{
    struct exchange_message *message = &effects->messages[effects->message_count];

    if (effects->message_count == AFTERCUT_MESSAGES_MAX)
        return false;
    peer->number = aftercut->next_number++;
    message->type = EXCHANGE_KNOW;
    message->head = (struct exchange_head){event->view->self, peer->id, event->view->table->version,
                                           EXCHANGE_AFTERCUT, peer->number};
    message->know.copies = slot->copies;
    message->know.dot_count = slot->dot_count;
    memcpy(message->know.dots, slot->dots, slot->dot_count * sizeof slot->dots[0]);
    if (!token_bucket_take(event->bucket, exchange_message_bytes(message), event->now_ms))
        return false;
    effects->message_count++;
    peer->repeat_at_ms = event->now_ms + aftercut->options.retry_ms;
    return true;
}

static void go_on(struct aftercut *aftercut, const struct aftercut_event *event,
                  struct aftercut_effects *effects)
{
    for (unsigned i = 0; i < AFTERCUT_WINDOW; i++) {
        struct aftercut_slot *slot = &aftercut->slots[i];
        bool is_late = slot->state == AFTERCUT_SCANNING && slot->scan_again_ms <= event->now_ms;
        if (slot->state == AFTERCUT_TO_SCAN || is_late) {
            slot->state = AFTERCUT_SCANNING;
            slot->number = aftercut->next_number++;
            slot->scan_again_ms = event->now_ms + aftercut->options.retry_ms;
            effects->scans[effects->scan_count++] = (struct aftercut_scan){
                {slot->cursor, merkle_range_last(range_of(event->view->table, slot->partition)),
                 slot->number, slot->copies, slot->copies, AFTERCUT_BATCH},
                aftercut->before[slot->partition]};
        }
        for (unsigned j = 0; slot->state == AFTERCUT_ASKING && j < slot->peer_count; j++) {
            struct aftercut_peer *peer = &slot->peers[j];
            if (!peer->has_answered && peer->repeat_at_ms <= event->now_ms &&
                !ask(aftercut, slot, peer, event, effects))
                return;
        }
    }
}

static uint64_t next_wake_ms(const struct aftercut *aftercut, const struct aftercut_event *event)
{
    uint64_t wake_ms = event->now_ms + aftercut->options.retry_ms;
    uint64_t idle_ms = event->now_ms + aftercut->options.grace_ms / 4; /* to notice a sleep */
    uint64_t ready_ms = token_bucket_ready_ms(event->bucket);
    unsigned used = 0;

    if (aftercut->pending_count == 0)
        return idle_ms;
    for (unsigned i = 0; i < AFTERCUT_WINDOW; i++) {
        const struct aftercut_slot *slot = &aftercut->slots[i];
        if (slot->state == AFTERCUT_TO_SCAN)
            wake_ms = 0;
        used += slot->state != AFTERCUT_FREE;
        for (unsigned j = 0; slot->state == AFTERCUT_ASKING && j < slot->peer_count; j++)
            if (!slot->peers[j].has_answered && slot->peers[j].repeat_at_ms < wake_ms)
                wake_ms = slot->peers[j].repeat_at_ms;
    }
    if (used < AFTERCUT_WINDOW && used < aftercut->active_count)
        wake_ms = 0; /* partitions wait for a slot that became free */
    if (wake_ms < ready_ms)
        wake_ms = ready_ms;
    return wake_ms < idle_ms ? wake_ms : idle_ms;
}

/* What changed around this node since the last step. */
static void check_all(struct aftercut *aftercut, const struct aftercut_event *event,
                      struct aftercut_effects *effects)
{
    for (unsigned p = 0; p < aftercut->partition_count; p++)
        note_contact(aftercut, p, event);
    aftercut->stepped_ms = event->now_ms;
    aftercut->stepped_wall_ms = event->wall_ms;
    for (unsigned i = 0; i < AFTERCUT_WINDOW; i++) {
        if (aftercut->slots[i].state != AFTERCUT_FREE)
            check_slot(aftercut, &aftercut->slots[i], event, effects);
        if (effects->forget_count == 0)
            stop_waiting(aftercut, &aftercut->slots[i], event, effects);
    }
}

void aftercut_step(struct aftercut *aftercut, const struct aftercut_event *event,
                   struct aftercut_effects *effects)
{
    assert(effects->message_count == 0);
    assert(aftercut->partition_count == ring_table_partitions(event->view->table));
    check_all(aftercut, event, effects);
    switch (event->type) {
    case AFTERCUT_TICK: break;
    case AFTERCUT_START: start(aftercut, event->partition, event->cut); break;
    case AFTERCUT_STOP: clear(aftercut, event->partition); break;
    case AFTERCUT_SCANNED:
        if (effects->forget_count == 0) /* else it is asked for again */
            on_scanned(aftercut, event, effects);
        break;
    case AFTERCUT_KNOWN:
        if (effects->forget_count == 0)
            on_known(aftercut, event, effects);
        break;
    }
    count_active(aftercut, event);
    if (aftercut->pending_count > 0) {
        use_free_slots(aftercut, event, effects);
        go_on(aftercut, event, effects);
    }
    count_active(aftercut, event);
    aftercut->wake_ms = next_wake_ms(aftercut, event);
}

uint64_t aftercut_deadline_ms(const struct aftercut *aftercut)
{
    return aftercut->wake_ms;
}
