#include "tests/unit/replicas.h"
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define HELLO_MS 100

/* A message or hello on its way, the cells encoded behind it. */
struct letter {
    struct letter *next;
    uint64_t due_ms;
    bool is_hello;
    struct sync_hello hello;
    struct exchange_message message;
    size_t size;
    unsigned char bytes[];
};

static struct exchange_view view_of(const struct replica *replica)
{
    bool is_full = replica->entries_max != UINT_MAX &&
                   replica->entry_count + replica->entries_max / 20 >= replica->entries_max;

    return (struct exchange_view){.self = replica->id,
                                  .table = replica->table,
                                  .forests = replica->forests,
                                  .forest_count = REPLICAS_CLASSES,
                                  .takes = is_full ? 0 : SIBLINGS_ALL,
                                  .is_after_cut = aftercut_is_pending(&replica->aftercut),
                                  .suspects = replica->aftercut_before,
                                  .is_filling = fill_is_active(&replica->fill)};
}

unsigned replicas_class_of(const struct replicas *replicas, uint64_t key_hash)
{
    return replicas->class_count == 1 ? 0 : (unsigned)(key_hash & 1);
}

static struct merkle_tree *tree_of(const struct replicas *replicas, struct replica *replica,
                                   uint64_t key_hash)
{
    unsigned partition = (unsigned)(key_hash >> 1 >> (63 - replicas->partition_bits));

    return &replica->trees[replicas_class_of(replicas, key_hash)][partition];
}

/* The cells of one node. */

static unsigned place_of(const struct replica *replica, uint64_t key_hash)
{
    unsigned low = 0, high = replica->entry_count;

    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (replica->entries[middle]->key_hash < key_hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct entry *replicas_find(const struct replica *replica, uint64_t key_hash)
{
    unsigned i = place_of(replica, key_hash);

    return i < replica->entry_count && replica->entries[i]->key_hash == key_hash
               ? replica->entries[i]
               : NULL;
}

static void remove_at(const struct replicas *replicas, struct replica *replica, unsigned i)
{
    struct entry *entry = replica->entries[i];
    uint64_t mark = merkle_mark(entry->key_hash, &entry->cell);

    merkle_update(tree_of(replicas, replica, entry->key_hash), entry->key_hash, mark, 0);
    free(entry);
    replica->entry_count--;
    memmove(&replica->entries[i], &replica->entries[i + 1],
            (replica->entry_count - i) * sizeof replica->entries[0]);
}

static struct entry *find_or_add(struct replicas *replicas, struct replica *replica,
                                 uint64_t key_hash)
{
    struct entry *entry = replicas_find(replica, key_hash);

    if (entry != NULL)
        return entry;
    if (replica->entry_count >= replica->entries_max) {
        remove_at(replicas, replica, random_below(&replicas->random, replica->entry_count));
        replica->evicted++;
    }
    if (replica->entry_count == replica->entry_room) {
        replica->entry_room = replica->entry_room * 2 + 64;
        replica->entries =
            realloc(replica->entries, replica->entry_room * sizeof replica->entries[0]);
    }
    unsigned i = place_of(replica, key_hash);
    memmove(&replica->entries[i + 1], &replica->entries[i],
            (replica->entry_count - i) * sizeof replica->entries[0]);
    replica->entry_count++;
    entry = malloc(sizeof *entry);
    entry->key_hash = key_hash;
    cell_init(&entry->cell, entry->siblings, REPLICAS_SIBLINGS);
    replica->entries[i] = entry;
    return entry;
}

static void update_tree(struct replicas *replicas, struct replica *replica, struct entry *entry,
                        uint64_t before)
{
    merkle_update(tree_of(replicas, replica, entry->key_hash), entry->key_hash, before,
                  merkle_mark(entry->key_hash, &entry->cell));
}

/* Returns whether that changed what is held. */
static bool merge(struct replicas *replicas, struct replica *replica, uint64_t key_hash,
                  const struct cell *cell)
{
    struct entry *entry = find_or_add(replicas, replica, key_hash);
    uint64_t mark = merkle_mark(key_hash, &entry->cell);
    uint64_t fingerprint = exchange_fingerprint(&entry->cell);

    cell_merge(&entry->cell, cell);
    update_tree(replicas, replica, entry, mark);
    for (unsigned i = 0; i < entry->cell.sibling_count; i++)
        if (entry->siblings[i].dot.hlc > replica->clock)
            replica->clock = entry->siblings[i].dot.hlc;
    return fingerprint != exchange_fingerprint(&entry->cell);
}

void replicas_write(struct replicas *replicas, struct replica *replica, uint64_t key_hash,
                    enum sibling_kind kind, bool is_context)
{
    struct entry *entry = find_or_add(replicas, replica, key_hash);
    uint64_t mark = merkle_mark(key_hash, &entry->cell);
    struct context nothing = {0};
    enum cell_put put;

    if (hlc_of_ms(replicas->now_ms + 1) > replica->clock)
        replica->clock = hlc_of_ms(replicas->now_ms + 1);
    hlc_time known = cell_clock(&entry->cell);
    replica->clock = (replica->clock > known ? replica->clock : known) + 1;
    struct dot dot = {replica->id, replica->clock};
    struct sibling sibling =
        kind == SIBLING_TOMBSTONE
            ? sibling_of_tombstone(dot)
            : sibling_of_value(dot, 0, 0, 10, random_next(&replicas->random), 0);
    if (is_context && entry->cell.sibling_count < REPLICAS_MAX)
        put = cell_put_context(&entry->cell, &sibling, &nothing);
    else
        put = cell_put_blind(&entry->cell, &sibling);
    assert(put == CELL_PUT_DONE);
    update_tree(replicas, replica, entry, mark);
}

void replicas_copy(struct replicas *replicas, struct replica *from, struct replica *to,
                   uint64_t key_hash)
{
    struct entry *entry = replicas_find(from, key_hash);

    if (entry != NULL)
        merge(replicas, to, key_hash, &entry->cell);
}

void replicas_evict(struct replicas *replicas, struct replica *replica, uint64_t key_hash)
{
    struct entry *entry = replicas_find(replica, key_hash);

    if (entry == NULL)
        return;
    uint64_t mark = merkle_mark(key_hash, &entry->cell);
    cell_evict(&entry->cell);
    update_tree(replicas, replica, entry, mark);
}

void replicas_drop(struct replicas *replicas, struct replica *replica, uint64_t key_hash)
{
    if (replicas_find(replica, key_hash) != NULL)
        remove_at(replicas, replica, place_of(replica, key_hash));
}

/* The network. */

static void post(struct replicas *replicas, struct letter *letter)
{
    letter->due_ms = replicas->now_ms + 1 + random_below(&replicas->random, replicas->delay_max_ms);
    letter->next = replicas->letters;
    replicas->letters = letter;
}

static struct letter *new_letter(const struct letter *from)
{
    struct letter *letter = malloc(sizeof *letter + from->size);

    memcpy(letter, from, sizeof *letter + from->size);
    return letter;
}

static void send_letter(struct replicas *replicas, struct letter *letter, node_id from, node_id to)
{
    if (replicas->is_cut[from - 1][to - 1] ||
        random_chance(&replicas->random, replicas->loss_percent)) {
        free(letter);
        return;
    }
    if (random_chance(&replicas->random, replicas->double_percent))
        post(replicas, new_letter(letter));
    post(replicas, letter);
}

static struct exchange_cell *cells_of(struct exchange_message *message, unsigned **count)
{
    if (message->type == EXCHANGE_CELLS) {
        *count = &message->cells.cell_count;
        return message->cells.cells;
    }
    if (message->type == EXCHANGE_DIFFERENCE) {
        *count = &message->difference.cell_count;
        return message->difference.cells;
    }
    return NULL;
}

/* Puts the cells in that are still there, and sends the message. */
static void send(struct replicas *replicas, struct replica *from, struct exchange_message *message)
{
    unsigned *count = NULL, kept = 0;
    struct exchange_cell *cells = cells_of(message, &count);
    size_t size = 0;

    for (unsigned i = 0; cells != NULL && i < *count; i++) {
        struct entry *entry = replicas_find(from, cells[i].key_hash);
        if (entry == NULL)
            continue;
        cells[kept].key_hash = cells[i].key_hash;
        cells[kept++].cell = &entry->cell;
        size += cell_encoded_bytes(&entry->cell);
    }
    if (cells != NULL)
        *count = kept;
    struct letter *letter = calloc(1, sizeof *letter + size);
    letter->size = size;
    letter->message = *message;
    for (unsigned i = 0, used = 0; cells != NULL && i < kept; i++)
        used += (unsigned)cell_encode(cells[i].cell, letter->bytes + used);
    replicas->messages++;
    replicas->message_bytes += exchange_message_bytes(message);
    replicas->cells_sent += kept;
    send_letter(replicas, letter, message->head.from, message->head.to);
}

static void send_all(struct replicas *replicas, struct replica *replica,
                     struct exchange_message *messages, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        send(replicas, replica, &messages[i]);
}

/* The machines. */

static struct exchange_scanned scan(const struct replicas *replicas, const struct replica *replica,
                                    const struct exchange_scan *wanted,
                                    struct exchange_item items[EXCHANGE_KEYS_MAX])
{
    struct exchange_scanned scanned = {
        .number = wanted->number, .items = items, .reached = wanted->last};

    for (unsigned i = place_of(replica, wanted->first); i < replica->entry_count; i++) {
        struct entry *entry = replica->entries[i];
        unsigned class = replicas_class_of(replicas, entry->key_hash);
        if (entry->key_hash > wanted->last)
            break;
        if (replica->forests[class].copies < wanted->copies_min ||
            replica->forests[class].copies > wanted->copies_max || entry->cell.sibling_count == 0)
            continue;
        if (scanned.item_count == wanted->items_max) {
            scanned.reached = entry->key_hash - 1;
            break;
        }
        exchange_item_init(&items[scanned.item_count], entry->key_hash, &entry->cell);
        items[scanned.item_count++].bytes += 10;
    }
    return scanned;
}

static void run_sync(struct replicas *replicas, struct replica *replica, unsigned peer,
                     struct sync_event *event)
{
    struct exchange_view view = view_of(replica);
    struct sync_effects effects;

    sync_effects_init(&effects, NULL);
    event->now_ms = replicas->now_ms;
    event->view = &view;
    event->bucket = &replica->bucket;
    event->wants_walk = replica->wants_walk;
    sync_step(&replica->syncs[peer], event, &effects);
    for (unsigned p = effects.compared_first; p < effects.compared_end; p++)
        replica->compared[peer] |= (uint64_t)1 << p;
    send_all(replicas, replica, effects.messages, effects.message_count);
    for (unsigned i = 0; i < effects.scan_count; i++) {
        struct exchange_item items[EXCHANGE_KEYS_MAX];
        struct exchange_scanned scanned = scan(replicas, replica, &effects.scans[i], items);
        run_sync(replicas, replica, peer,
                 &(struct sync_event){.type = SYNC_SCANNED, .scanned = &scanned});
    }
}

static void run_fill(struct replicas *replicas, struct replica *replica, struct fill_event *event)
{
    struct exchange_view view = view_of(replica);
    struct fill_effects effects;

    fill_effects_init(&effects, NULL);
    event->now_ms = replicas->now_ms;
    event->view = &view;
    event->peers = replica->peers;
    event->bucket = &replica->bucket;
    fill_step(&replica->fill, event, &effects);
    send_all(replicas, replica, effects.messages, effects.message_count);
}

/* Whether every owner, by the table that the replica goes by, knows all that is in the cell. */
static bool owners_have(const struct replicas *replicas, const struct replica *replica,
                        const struct entry *entry)
{
    for (unsigned i = 0; i < replicas->count; i++) {
        struct entry copy;
        if (!replicas_is_owner(replicas, replica->table, entry->key_hash, i + 1))
            continue;
        const struct entry *held = replicas_find(&replicas->replicas[i], entry->key_hash);
        if (held == NULL)
            return false;
        cell_init(&copy.cell, copy.siblings, REPLICAS_SIBLINGS);
        cell_copy(&copy.cell, &held->cell);
        cell_merge(&copy.cell, &entry->cell);
        if (merkle_mark(entry->key_hash, &copy.cell) != merkle_mark(entry->key_hash, &held->cell))
            return false;
    }
    return true;
}

static void run_handoff(struct replicas *replicas, struct replica *replica,
                        struct handoff_event *event)
{
    struct exchange_view view = view_of(replica);
    struct handoff_effects effects;

    handoff_effects_init(&effects, NULL);
    event->now_ms = replicas->now_ms;
    event->view = &view;
    event->peers = replica->peers;
    event->bucket = &replica->bucket;
    handoff_step(&replica->handoff, event, &effects);
    for (unsigned i = 0; i < effects.drop_count; i++) {
        struct entry *entry = replicas_find(replica, effects.drops[i].key_hash);
        if (entry == NULL || exchange_fingerprint(&entry->cell) != effects.drops[i].fingerprint)
            continue;
        replicas->bad_drops += !owners_have(replicas, replica, entry);
        replicas_drop(replicas, replica, entry->key_hash);
    }
    send_all(replicas, replica, effects.messages, effects.message_count);
    for (unsigned i = 0; i < effects.scan_count; i++) {
        struct exchange_item items[EXCHANGE_KEYS_MAX];
        struct exchange_scanned scanned = scan(replicas, replica, &effects.scans[i], items);
        run_handoff(replicas, replica,
                    &(struct handoff_event){.type = HANDOFF_ITEMS, .scanned = &scanned});
    }
}

static unsigned scan_dots(const struct replicas *replicas, const struct replica *replica,
                          const struct aftercut_scan *wanted, struct exchange_dot *dots,
                          uint64_t *reached)
{
    unsigned count = 0;

    *reached = wanted->scan.last;
    for (unsigned i = place_of(replica, wanted->scan.first); i < replica->entry_count; i++) {
        struct entry *entry = replica->entries[i];
        unsigned class = replicas_class_of(replicas, entry->key_hash);
        if (entry->key_hash > wanted->scan.last)
            break;
        if (replica->forests[class].copies != wanted->scan.copies_min)
            continue;
        if (count + entry->cell.sibling_count > wanted->scan.items_max) {
            *reached = entry->key_hash - 1;
            break;
        }
        for (unsigned j = 0; j < entry->cell.sibling_count; j++)
            if (entry->siblings[j].dot.hlc < wanted->before)
                dots[count++] = (struct exchange_dot){entry->key_hash, entry->siblings[j].dot};
    }
    return count;
}

static void forget(struct replicas *replicas, struct replica *replica,
                   const struct exchange_dot *dot)
{
    struct entry *entry = replicas_find(replica, dot->key_hash);
    struct sibling *sibling = entry != NULL ? cell_find(&entry->cell, dot->dot) : NULL;

    if (sibling == NULL)
        return;
    if (entry->cell.sibling_count == 1) {
        replicas_drop(replicas, replica, dot->key_hash);
        return;
    }
    uint64_t mark = merkle_mark(dot->key_hash, &entry->cell);
    cell_forget(&entry->cell, sibling);
    update_tree(replicas, replica, entry, mark);
}

static void run_aftercut(struct replicas *replicas, struct replica *replica,
                         struct aftercut_event *event)
{
    struct exchange_view view = view_of(replica);
    struct aftercut_effects effects;

    aftercut_effects_init(&effects, NULL);
    event->now_ms = event->wall_ms = replicas->now_ms;
    event->view = &view;
    event->peers = replica->peers;
    event->bucket = &replica->bucket;
    aftercut_step(&replica->aftercut, event, &effects);
    for (unsigned i = 0; i < effects.forget_count; i++)
        forget(replicas, replica, &effects.forgets[i]);
    send_all(replicas, replica, effects.messages, effects.message_count);
    for (unsigned i = 0; i < effects.scan_count; i++) {
        struct exchange_dot dots[EXCHANGE_KEYS_MAX];
        struct aftercut_scanned scanned = {.number = effects.scans[i].scan.number, .dots = dots};
        scanned.dot_count = scan_dots(replicas, replica, &effects.scans[i], dots, &scanned.reached);
        run_aftercut(replicas, replica,
                     &(struct aftercut_event){.type = AFTERCUT_SCANNED, .scanned = &scanned});
    }
}

/* Receiving. */

static bool decode(const struct letter *letter, size_t *used, struct entry *into)
{
    cell_init(&into->cell, into->siblings, REPLICAS_SIBLINGS);
    size_t size =
        cell_decode(&into->cell, (struct slice){letter->bytes + *used, letter->size - *used});
    *used += size;
    return size > 0;
}

static bool may_merge(const struct replicas *replicas, const struct replica *replica,
                      const struct entry *cell, uint64_t key_hash, bool is_handoff)
{
    struct exchange_view view = view_of(replica);
    unsigned kinds = 0;

    (void)replicas;
    for (unsigned i = 0; i < cell->cell.sibling_count; i++)
        kinds |= cell->siblings[i].kind;
    return replicas_find(replica, key_hash) != NULL || exchange_takes(&view, is_handoff, kinds);
}

static void on_cells(struct replicas *replicas, struct replica *replica,
                     const struct letter *letter)
{
    const struct exchange_cells *cells = &letter->message.cells;
    struct exchange_view view = view_of(replica);
    struct exchange_message reply = {.type = EXCHANGE_STORED};
    size_t used = 0;

    exchange_admit_cells(&view, cells, &reply.stored);
    for (unsigned i = 0; i < reply.stored.cell_count; i++) {
        struct entry entry;
        assert(decode(letter, &used, &entry));
        uint64_t key_hash = cells->cells[i].key_hash;
        if (random_chance(&replicas->random, replicas->fail_percent) ||
            !may_merge(replicas, replica, &entry, key_hash, cells->is_handoff))
            continue;
        if (merge(replicas, replica, key_hash, &entry.cell))
            reply.stored.changed[i / 64] |= (uint64_t)1 << (i % 64);
        reply.stored.merged[i / 64] |= (uint64_t)1 << (i % 64);
    }
    send(replicas, replica, &reply);
}

static void on_digests(struct replicas *replicas, struct replica *replica,
                       const struct exchange_digests *request)
{
    struct exchange_view view = view_of(replica);
    struct exchange_message reply = {.type = EXCHANGE_DIFFERENCE};
    struct exchange_item items[EXCHANGE_KEYS_MAX];
    struct exchange_scanned scanned = {.items = items};
    struct exchange_scan wanted;
    enum exchange_answer answer = exchange_admit_digests(&view, request, &wanted);

    if (answer == EXCHANGE_DONE)
        scanned = scan(replicas, replica, &wanted, items);
    exchange_answer_digests(&view, request, answer, &scanned, &reply.difference);
    send(replicas, replica, &reply);
}

static void on_difference(struct replicas *replicas, struct replica *replica,
                          const struct letter *letter)
{
    const struct exchange_difference *difference = &letter->message.difference;
    unsigned changed = 0;
    bool has_failed = false;
    size_t used = 0;

    for (unsigned i = 0; i < difference->cell_count; i++) {
        struct entry entry;
        assert(decode(letter, &used, &entry));
        uint64_t key_hash = difference->cells[i].key_hash;
        if (random_chance(&replicas->random, replicas->fail_percent))
            has_failed = true;
        else if (may_merge(replicas, replica, &entry, key_hash, false))
            changed += merge(replicas, replica, key_hash, &entry.cell);
    }
    switch (difference->head.asker) {
    case EXCHANGE_SYNC:
        run_sync(replicas, replica, (unsigned)difference->head.from - 1,
                 &(struct sync_event){.type = SYNC_DIFFERENCE,
                                      .difference = difference,
                                      .changed_count = changed,
                                      .has_failed = has_failed});
        break;
    case EXCHANGE_FILL:
        run_fill(replicas, replica,
                 &(struct fill_event){.type = FILL_DIFFERENCE,
                                      .difference = difference,
                                      .changed_count = changed,
                                      .has_failed = has_failed});
        break;
    case EXCHANGE_HANDOFF:
        run_handoff(replicas, replica,
                    &(struct handoff_event){.type = HANDOFF_DIFFERENCE, .difference = difference});
        break;
    case EXCHANGE_AFTERCUT: assert(false); /* it asks for no differences */
    }
}

static void on_know(struct replicas *replicas, struct replica *replica,
                    const struct exchange_know *request)
{
    struct exchange_view view = view_of(replica);
    struct exchange_message reply = {.type = EXCHANGE_KNOWN};

    if (exchange_admit_know(&view, request, &reply.known) == EXCHANGE_DONE)
        for (unsigned i = 0; i < request->dot_count; i++) {
            struct entry *entry = replicas_find(replica, request->dots[i].key_hash);
            exchange_note_known(request, i, entry != NULL ? &entry->cell : NULL, &reply.known);
        }
    send(replicas, replica, &reply);
}

static void on_message(struct replicas *replicas, struct replica *replica,
                       const struct letter *letter)
{
    const struct exchange_message *message = &letter->message;
    unsigned peer = (unsigned)message->head.from - 1;
    struct exchange_view view = view_of(replica);
    struct exchange_message reply = {.type = EXCHANGE_COMPARED};

    switch (message->type) {
    case EXCHANGE_COMPARE:
        exchange_answer_compare(&view, &message->compare, &reply.compared);
        send(replicas, replica, &reply);
        break;
    case EXCHANGE_COMPARED:
        run_sync(replicas, replica, peer,
                 &(struct sync_event){.type = SYNC_COMPARED, .compared = &message->compared});
        break;
    case EXCHANGE_DIGESTS: on_digests(replicas, replica, &message->digests); break;
    case EXCHANGE_DIFFERENCE: on_difference(replicas, replica, letter); break;
    case EXCHANGE_CELLS: on_cells(replicas, replica, letter); break;
    case EXCHANGE_STORED:
        if (message->head.asker == EXCHANGE_SYNC)
            run_sync(replicas, replica, peer,
                     &(struct sync_event){.type = SYNC_STORED, .stored = &message->stored});
        else
            run_handoff(
                replicas, replica,
                &(struct handoff_event){.type = HANDOFF_STORED, .stored = &message->stored});
        break;
    case EXCHANGE_KNOW: on_know(replicas, replica, &message->know); break;
    case EXCHANGE_KNOWN:
        run_aftercut(replicas, replica,
                     &(struct aftercut_event){.type = AFTERCUT_KNOWN, .known = &message->known});
        break;
    }
}

/* Time. */

static void deliver(struct replicas *replicas)
{
    for (struct letter **at = &replicas->letters; *at != NULL;) {
        struct letter *letter = *at;
        if (letter->due_ms > replicas->now_ms) {
            at = &letter->next;
            continue;
        }
        *at = letter->next;
        node_id to = letter->is_hello ? letter->hello.to : letter->message.head.to;
        struct replica *replica = &replicas->replicas[to - 1];
        if (letter->is_hello)
            run_sync(replicas, replica, (unsigned)letter->hello.from - 1,
                     &(struct sync_event){.type = SYNC_HELLO, .hello = &letter->hello});
        else
            on_message(replicas, replica, letter);
        free(letter);
        at = &replicas->letters; /* there may be new ones before it */
    }
}

static void look_at_peers(struct replicas *replicas, struct replica *replica)
{
    bool has_changed = false;

    for (unsigned i = 0; i < replicas->count; i++) {
        bool is_reachable =
            !replicas->is_cut[replica->index][i] && !replicas->is_cut[i][replica->index];
        if (replica->peers[i].is_reachable && !is_reachable && i != replica->index)
            run_sync(replicas, replica, i, &(struct sync_event){.type = SYNC_UNREACHABLE});
        has_changed |= replica->peers[i].is_reachable != is_reachable;
        replica->peers[i].is_reachable = is_reachable;
        replica->peers[i].warming = replicas->replicas[i].warming;
    }
    if (has_changed)
        run_aftercut(replicas, replica, &(struct aftercut_event){.type = AFTERCUT_TICK});
}

static void send_hellos(struct replicas *replicas, struct replica *replica)
{
    struct exchange_view view = view_of(replica);

    for (unsigned i = 0; i < replicas->count; i++) {
        if (i == replica->index)
            continue;
        struct letter *letter = calloc(1, sizeof *letter);
        letter->is_hello = true;
        sync_make_hello(&replica->syncs[i], &view, replica->wants_walk, replicas->now_ms,
                        &letter->hello);
        send_letter(replicas, letter, replica->id, i + 1);
    }
}

static void tick(struct replicas *replicas, struct replica *replica)
{
    for (unsigned i = 0; i < replicas->count; i++)
        for (unsigned n = 0; n < 50 && i != replica->index &&
                             sync_deadline_ms(&replica->syncs[i]) <= replicas->now_ms;
             n++)
            run_sync(replicas, replica, i, &(struct sync_event){.type = SYNC_TICK});
    for (unsigned n = 0; n < 50 && fill_deadline_ms(&replica->fill) <= replicas->now_ms; n++)
        run_fill(replicas, replica, &(struct fill_event){.type = FILL_TICK});
    for (unsigned n = 0; n < 50 && handoff_deadline_ms(&replica->handoff) <= replicas->now_ms; n++)
        run_handoff(replicas, replica, &(struct handoff_event){.type = HANDOFF_TICK});
    for (unsigned n = 0; n < 50 && aftercut_deadline_ms(&replica->aftercut) <= replicas->now_ms;
         n++)
        run_aftercut(replicas, replica, &(struct aftercut_event){.type = AFTERCUT_TICK});
}

void replicas_run(struct replicas *replicas, unsigned ms)
{
    for (unsigned i = 0; i < ms; i++) {
        replicas->now_ms++;
        deliver(replicas);
        for (unsigned j = 0; j < replicas->count; j++) {
            look_at_peers(replicas, &replicas->replicas[j]);
            if (replicas->now_ms % HELLO_MS == 0)
                send_hellos(replicas, &replicas->replicas[j]);
            tick(replicas, &replicas->replicas[j]);
        }
    }
}

/* Making and unmaking. */

void replicas_restart(struct replicas *replicas, struct replica *replica)
{
    uint64_t number = replicas->numbers += 1000000;

    token_bucket_init(&replica->bucket, 100u << 20, 1u << 20, replicas->now_ms);
    for (unsigned i = 0; i < replicas->count; i++)
        if (i != replica->index)
            sync_init(&replica->syncs[i], i + 1, NULL, number);
    fill_init(&replica->fill, 1000, 1u << replicas->partition_bits, replica->fill_wanted, number);
    handoff_init(&replica->handoff, 1000, number);
    struct aftercut_options options = {1000, replicas->grace_ms, 5000};
    aftercut_init(&replica->aftercut, &options, 1u << replicas->partition_bits,
                  replica->aftercut_before, replica->aftercut_contacts, replicas->now_ms,
                  replicas->now_ms, number);
    memset(replica->compared, 0, sizeof replica->compared);
}

void replicas_wipe(struct replicas *replicas, struct replica *replica)
{
    while (replica->entry_count > 0)
        remove_at(replicas, replica, replica->entry_count - 1);
    replicas_restart(replicas, replica);
}

void replicas_init(struct replicas *replicas, uint64_t seed, unsigned count, unsigned copies,
                   unsigned partition_bits, unsigned leaf_bits)
{
    unsigned partitions = 1u << partition_bits;
    struct ring_table *table = &replicas->tables[0];

    memset(replicas, 0, sizeof *replicas);
    replicas->random.state = seed;
    replicas->now_ms = 1000000;
    replicas->grace_ms = 3600000;
    replicas->count = count;
    replicas->class_count = 1;
    replicas->partition_bits = partition_bits;
    replicas->leaf_bits = leaf_bits;
    replicas->copies = copies;
    replicas->delay_max_ms = 5;
    ring_table_init(table, partition_bits, copies, replicas->rows[0], sizeof replicas->rows[0]);
    table->version = (struct ring_version){1, 1};
    table->member_count = count;
    for (unsigned i = 0; i < count; i++)
        table->members[i] = (struct ring_member){i + 1, i, 1};
    for (unsigned p = 0; p < partitions; p++)
        for (unsigned i = 0; i < copies; i++)
            table->rows[p * copies + i] = (unsigned char)((p + i) % count);
    for (unsigned i = 0; i < count; i++) {
        struct replica *replica = &replicas->replicas[i];
        replica->id = i + 1;
        replica->index = i;
        replica->table = table;
        replica->entries_max = UINT_MAX;
        replica->leaves = calloc(REPLICAS_CLASSES * partitions, sizeof(uint64_t) << leaf_bits);
        for (unsigned c = 0; c < REPLICAS_CLASSES; c++) {
            replica->forests[c] = (struct merkle_forest){copies - c, replica->trees[c]};
            for (unsigned p = 0; p < partitions; p++)
                merkle_init(&replica->trees[c][p], partition_bits, leaf_bits,
                            replica->leaves + (((size_t)c * partitions + p) << leaf_bits));
        }
        replicas_restart(replicas, replica);
    }
    for (unsigned i = 0; i < count; i++)
        look_at_peers(replicas, &replicas->replicas[i]);
}

void replicas_deinit(struct replicas *replicas)
{
    for (unsigned i = 0; i < replicas->count; i++) {
        replicas_wipe(replicas, &replicas->replicas[i]);
        free(replicas->replicas[i].entries);
        free(replicas->replicas[i].leaves);
    }
    while (replicas->letters != NULL) {
        struct letter *letter = replicas->letters;
        replicas->letters = letter->next;
        free(letter);
    }
}

void replicas_use_table(struct replicas *replicas, struct replica *replica,
                        const struct ring_table *table)
{
    (void)replicas;
    replica->table = table;
}

void replicas_start_fill(struct replicas *replicas, struct replica *replica, unsigned partition)
{
    run_fill(replicas, replica, &(struct fill_event){.type = FILL_START, .partition = partition});
}

void replicas_start_aftercut(struct replicas *replicas, struct replica *replica, unsigned partition,
                             hlc_time cut)
{
    run_aftercut(
        replicas, replica,
        &(struct aftercut_event){.type = AFTERCUT_START, .partition = partition, .cut = cut});
}

/* Looking. */

bool replicas_is_owner(const struct replicas *replicas, const struct ring_table *table,
                       uint64_t key_hash, node_id node)
{
    return ring_table_is_owner(table, ring_table_partition(table, key_hash),
                               replicas->copies - replicas_class_of(replicas, key_hash), node);
}

bool replicas_agree(const struct replicas *replicas, const struct ring_table *table)
{
    for (unsigned i = 0; i < replicas->count; i++) {
        const struct replica *one = &replicas->replicas[i];
        for (unsigned j = 0; j < one->entry_count; j++) {
            const struct entry *entry = one->entries[j];
            if (!replicas_is_owner(replicas, table, entry->key_hash, one->id))
                continue;
            for (unsigned k = 0; k < replicas->count; k++) {
                const struct replica *other = &replicas->replicas[k];
                if (!replicas_is_owner(replicas, table, entry->key_hash, other->id))
                    continue;
                const struct entry *twin = replicas_find(other, entry->key_hash);
                if (twin == NULL || merkle_mark(entry->key_hash, &twin->cell) !=
                                        merkle_mark(entry->key_hash, &entry->cell))
                    return false;
            }
        }
    }
    return true;
}

bool replicas_trees_are_right(const struct replicas *replicas)
{
    for (unsigned i = 0; i < replicas->count; i++) {
        const struct replica *replica = &replicas->replicas[i];
        uint64_t sum = 0, roots = 0, leaves = 0, count = 0;
        for (unsigned j = 0; j < replica->entry_count; j++)
            sum ^= merkle_mark(replica->entries[j]->key_hash, &replica->entries[j]->cell);
        for (unsigned c = 0; c < REPLICAS_CLASSES; c++)
            for (unsigned p = 0; p < 1u << replicas->partition_bits; p++) {
                roots ^= replica->trees[c][p].root;
                count += replica->trees[c][p].cell_count;
                for (unsigned l = 0; l < 1u << replicas->leaf_bits; l++)
                    leaves ^= replica->trees[c][p].leaves == NULL ? replica->trees[c][p].root
                                                                  : replica->trees[c][p].leaves[l];
            }
        if (roots != sum || leaves != sum || count != replica->entry_count)
            return false;
    }
    return true;
}

unsigned replicas_unowned(const struct replicas *replicas, const struct ring_table *table)
{
    unsigned count = 0;

    for (unsigned i = 0; i < replicas->count; i++)
        for (unsigned j = 0; j < replicas->replicas[i].entry_count; j++)
            count += !replicas_is_owner(replicas, table, replicas->replicas[i].entries[j]->key_hash,
                                        replicas->replicas[i].id);
    return count;
}
