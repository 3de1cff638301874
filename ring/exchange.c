#include "ring/exchange.h"
#define XXH_INLINE_ALL
#include <assert.h>
#include <string.h>
#include <xxhash.h>

void exchange_item_init(struct exchange_item *item, uint64_t key_hash, const struct cell *cell)
{
    unsigned kinds = 0;

    for (unsigned i = 0; i < cell->sibling_count; i++)
        kinds |= cell->siblings[i].kind;
    *item = (struct exchange_item){.key_hash = key_hash,
                                   .mark = merkle_mark(key_hash, cell),
                                   .fingerprint = exchange_fingerprint(cell),
                                   .bytes = (uint32_t)cell_encoded_bytes(cell),
                                   .kinds = (uint8_t)kinds};
}

uint64_t exchange_fingerprint(const struct cell *cell)
{
    struct cell_digest digest = cell_state_digest(cell);
    uint64_t seed = digest.low;

#ifdef RING_BREAK_FINGERPRINT
    return 1; /* what was written meanwhile looks like what was handed over */
#endif
    for (unsigned i = 0; i < cell->sibling_count; i++)
        seed = seed * 31 + (uint64_t)cell->siblings[i].kind;
    return XXH3_64bits_withSeed(cell->context.intervals,
                                cell->context.count * sizeof cell->context.intervals[0], seed);
}

static unsigned position_of(const struct ring_table *table, unsigned partition, int member)
{
    const unsigned char *row = ring_table_row(table, partition);

    for (unsigned i = 0; i < table->copies; i++)
        if (row[i] == member)
            return i;
    return table->copies;
}

unsigned exchange_position(const struct ring_table *table, unsigned partition, node_id node)
{
    int member = ring_table_find_member(table, node);

    return member < 0 ? table->copies : position_of(table, partition, member);
}

static unsigned shared_from(const struct ring_table *table, unsigned partition, int a, int b)
{
    unsigned at_a = position_of(table, partition, a);
    unsigned at_b = position_of(table, partition, b);

    if (at_a == table->copies || at_b == table->copies)
        return RING_COPIES_MAX + 1;
    return (at_a > at_b ? at_a : at_b) + 1;
}

unsigned exchange_shared_from(const struct ring_table *table, unsigned partition, node_id a,
                              node_id b)
{
    int member_a = ring_table_find_member(table, a);
    int member_b = ring_table_find_member(table, b);

    if (member_a < 0 || member_b < 0)
        return RING_COPIES_MAX + 1;
    return shared_from(table, partition, member_a, member_b);
}

/* Whether the range can be part of a comparison. */
static bool is_sound_range(struct merkle_range range)
{
    return range.depth <= RING_PARTITION_BITS_MAX + MERKLE_LEAF_BITS_MAX &&
           (range.depth == 0 ? range.first == 0 : range.first << range.depth == 0);
}

bool exchange_sum(const struct exchange_view *view, node_id peer, struct merkle_range range,
                  uint64_t *sum)
{
    const struct ring_table *table = view->table;
    int self = ring_table_find_member(table, view->self);
    int other = ring_table_find_member(table, peer);
    unsigned first = ring_table_partition(table, range.first);
    unsigned end = ring_table_partition(table, merkle_range_last(range)) + 1;

    assert(is_sound_range(range));
    *sum = 0;
    if (self < 0 || other < 0)
        return true;
    for (unsigned p = first; p < end; p++) {
        unsigned copies = shared_from(table, p, self, other);
        for (unsigned i = 0; i < view->forest_count; i++) {
            uint64_t part;
            if (view->forests[i].copies < copies)
                continue;
            if (!merkle_sum(&view->forests[i].trees[p], range, &part))
                return false;
            *sum ^= part;
        }
    }
    return true;
}

static struct exchange_head head_of_answer(const struct exchange_view *view,
                                           const struct exchange_head *request)
{
    struct exchange_head head = *request;

    head.from = view->self;
    head.to = request->from;
    head.version = view->table->version;
    return head;
}

static bool is_other_table(const struct exchange_view *view, const struct exchange_head *head)
{
    return ring_version_compare(view->table->version, head->version) != 0;
}

static bool is_sound_split(struct merkle_range parent, unsigned depth)
{
    return is_sound_range(parent) && depth >= parent.depth &&
           depth - parent.depth <= EXCHANGE_CHILD_BITS &&
           depth <= RING_PARTITION_BITS_MAX + MERKLE_LEAF_BITS_MAX;
}

void exchange_answer_compare(const struct exchange_view *view,
                             const struct exchange_compare *request,
                             struct exchange_compared *reply)
{
    reply->head = head_of_answer(view, &request->head);
    reply->answer = EXCHANGE_DONE;
    reply->differs = 0;
    if (!is_sound_split(request->parent, request->depth))
        reply->answer = EXCHANGE_BAD;
    else if (is_other_table(view, &request->head))
        reply->answer = EXCHANGE_OTHER_TABLE;
    else if (view->is_after_cut)
        reply->answer = EXCHANGE_NOT_NOW;
    if (reply->answer != EXCHANGE_DONE)
        return;
    for (unsigned i = 0; i < 1u << (request->depth - request->parent.depth); i++) {
        struct merkle_range child = merkle_range_child(request->parent, request->depth, i);
        uint64_t sum;
        if (!exchange_sum(view, request->head.from, child, &sum) || sum != request->sums[i])
            reply->differs |= 1u << i;
    }
}

/* Whether the request is about the key: its range without the children that agree. */
static bool is_asked(const struct exchange_digests *request, uint64_t key_hash)
{
    unsigned child;

    if (key_hash < request->first || key_hash > request->last)
        return false;
    child = merkle_range_child_of(request->parent, request->depth, key_hash);
    return (request->children >> child & 1) != 0;
}

static bool are_sound_keys(const struct exchange_digests *request)
{
    if (request->key_count > EXCHANGE_KEYS_MAX)
        return false;
    for (unsigned i = 0; i < request->key_count; i++) {
        if (!is_asked(request, request->keys[i].key_hash) || request->keys[i].mark == 0)
            return false;
        if (i > 0 && request->keys[i].key_hash < request->keys[i - 1].key_hash)
            return false;
    }
    return true;
}

static bool is_sound_digests(const struct exchange_view *view,
                             const struct exchange_digests *request)
{
    const struct ring_table *table = view->table;

    return is_sound_split(request->parent, request->depth) && request->first <= request->last &&
           request->first >= request->parent.first &&
           request->last <= merkle_range_last(request->parent) &&
           ring_table_partition(table, request->first) ==
               ring_table_partition(table, request->last) &&
           request->copies_min >= 1 && request->copies_min <= request->copies_max &&
           are_sound_keys(request);
}

/* Whether what is held for the key's partition may be outdated. */
static bool is_suspect(const struct exchange_view *view, uint64_t key_hash)
{
    return view->suspects != NULL &&
           view->suspects[ring_table_partition(view->table, key_hash)] != 0;
}

/* Whether this node owns all keys of the class in the key's partition. */
static bool is_owner(const struct exchange_view *view, uint64_t key_hash, unsigned copies)
{
    unsigned partition = ring_table_partition(view->table, key_hash);

    unsigned position = exchange_position(view->table, partition, view->self);

    return position < copies && position < view->table->copies;
}

enum exchange_answer exchange_admit_digests(const struct exchange_view *view,
                                            const struct exchange_digests *request,
                                            struct exchange_scan *scan)
{
    if (is_other_table(view, &request->head))
        return EXCHANGE_OTHER_TABLE;
    if (!is_sound_digests(view, request))
        return EXCHANGE_BAD;
    if (!is_owner(view, request->first, request->copies_min))
        return EXCHANGE_NOT_OWNER;
    if (!request->is_give_only && is_suspect(view, request->first))
        return EXCHANGE_NOT_NOW;
    *scan = (struct exchange_scan){.first = request->first,
                                   .last = request->last,
                                   .number = request->head.number,
                                   .copies_min = request->copies_min,
                                   .copies_max = request->copies_max,
                                   .items_max = EXCHANGE_KEYS_MAX};
    return EXCHANGE_DONE;
}

/* What one side has under one key hash: nearly always one cell or none. */
struct side {
    uint64_t marks; /* xor */
    uint64_t bytes;
    unsigned kinds; /* or */
    unsigned count;
};

static struct side side_of_keys(const struct exchange_digests *request, unsigned *next,
                                uint64_t key_hash)
{
    struct side side = {0};

    for (; *next < request->key_count && request->keys[*next].key_hash == key_hash; ++*next) {
        side.marks ^= request->keys[*next].mark;
        side.bytes += request->keys[*next].bytes;
        side.kinds |= request->keys[*next].kinds;
        side.count++;
    }
    return side;
}

static struct side side_of_items(const struct exchange_scanned *scanned, unsigned *next,
                                 uint64_t key_hash)
{
    struct side side = {0};

    for (; *next < scanned->item_count && scanned->items[*next].key_hash == key_hash; ++*next) {
        side.marks ^= scanned->items[*next].mark;
        side.bytes += scanned->items[*next].bytes;
        side.kinds |= scanned->items[*next].kinds;
        side.count++;
    }
    return side;
}

/* Whether this node wants what the asker has. */
static bool is_wanted(const struct exchange_view *view, const struct exchange_digests *request,
                      const struct side *theirs, const struct side *mine)
{
    if (theirs->count == 0)
        return false;
    if (mine->count == 0)
        return exchange_takes(view, request->is_give_only, theirs->kinds);
    if (mine->marks != theirs->marks)
        return true;
    /* Marks do not tell a value from a stub.  Who hands the cell over may have the only value. */
    return request->is_give_only && (theirs->kinds & SIBLING_VALUE & ~mine->kinds) != 0;
}

/* Whether the asker is to have what this node has. */
static bool is_given(const struct exchange_digests *request, const struct side *theirs,
                     const struct side *mine)
{
    if (mine->count == 0 || request->is_give_only)
        return false;
    if (theirs->count == 0)
#ifdef RING_BREAK_FULL_TAKES
        return true;
#else
        return (mine->kinds & request->takes) != 0;
#endif
    return mine->marks != theirs->marks;
}

/* Adds one key hash to the reply; false if that makes it too large. */
static bool add_key(const struct exchange_view *view, const struct exchange_digests *request,
                    uint64_t key_hash, const struct side *theirs, const struct side *mine,
                    struct exchange_difference *reply)
{
    bool wants = is_wanted(view, request, theirs, mine);
    bool gives = is_given(request, theirs, mine);

    assert(theirs->count + mine->count > 0);
    if (wants && reply->wanted_count > 0 &&
        reply->wanted_bytes + theirs->bytes > EXCHANGE_BYTES_MAX)
        return false;
    if (gives && reply->cell_count > 0 && reply->cell_bytes + mine->bytes > EXCHANGE_BYTES_MAX)
        return false;
    if (wants) {
        assert(reply->wanted_count < EXCHANGE_KEYS_MAX);
        reply->wanted[reply->wanted_count++] = key_hash;
        reply->wanted_bytes += (uint32_t)theirs->bytes;
    }
    if (gives) {
        assert(reply->cell_count < EXCHANGE_KEYS_MAX);
        reply->cells[reply->cell_count++] = (struct exchange_cell){key_hash, NULL};
        reply->cell_bytes += (uint32_t)mine->bytes;
    }
    return true;
}

/* Both lists are sorted: walks them side by side up to the end of the shorter range. */
static void fill_difference(const struct exchange_view *view,
                            const struct exchange_digests *request,
                            const struct exchange_scanned *scanned,
                            struct exchange_difference *reply)
{
    unsigned key = 0, item = 0;

    reply->reached = scanned->reached < request->last ? scanned->reached : request->last;
    for (;;) {
        while (item < scanned->item_count && !is_asked(request, scanned->items[item].key_hash))
            item++;
        uint64_t at = UINT64_MAX;
        if (key < request->key_count)
            at = request->keys[key].key_hash;
        if (item < scanned->item_count && scanned->items[item].key_hash < at)
            at = scanned->items[item].key_hash;
        if ((key == request->key_count && item == scanned->item_count) || at > reply->reached)
            return;
        struct side theirs = side_of_keys(request, &key, at);
        struct side mine = side_of_items(scanned, &item, at);
        if (!add_key(view, request, at, &theirs, &mine, reply)) {
            assert(at > request->first);
            reply->reached = at - 1;
            return;
        }
    }
}

void exchange_answer_digests(const struct exchange_view *view,
                             const struct exchange_digests *request, enum exchange_answer answer,
                             const struct exchange_scanned *scanned,
                             struct exchange_difference *reply)
{
    reply->head = head_of_answer(view, &request->head);
    reply->answer = answer;
    reply->reached = request->first;
    reply->wanted_count = reply->cell_count = 0;
    reply->wanted_bytes = reply->cell_bytes = 0;
    if (answer != EXCHANGE_DONE)
        return;
    assert(scanned->item_count <= EXCHANGE_KEYS_MAX);
    assert(scanned->reached >= request->first);
    fill_difference(view, request, scanned, reply);
    assert(reply->reached >= request->first);
    assert(reply->reached <= request->last);
}

enum exchange_answer exchange_admit_cells(const struct exchange_view *view,
                                          const struct exchange_cells *request,
                                          struct exchange_stored *reply)
{
    reply->head = head_of_answer(view, &request->head);
    reply->answer = EXCHANGE_DONE;
    reply->cell_count = 0;
    memset(reply->merged, 0, sizeof reply->merged);
    memset(reply->changed, 0, sizeof reply->changed);
    if (request->cell_count > EXCHANGE_KEYS_MAX || request->copies_min < 1)
        reply->answer = EXCHANGE_BAD;
    else if (is_other_table(view, &request->head))
        reply->answer = EXCHANGE_OTHER_TABLE;
    for (unsigned i = 0; reply->answer == EXCHANGE_DONE && i < request->cell_count; i++)
        if (!is_owner(view, request->cells[i].key_hash, request->copies_min))
            reply->answer = EXCHANGE_NOT_OWNER;
    if (reply->answer == EXCHANGE_DONE)
        reply->cell_count = request->cell_count;
    return reply->answer;
}

bool exchange_takes(const struct exchange_view *view, bool is_handoff, unsigned kinds)
{
#ifdef RING_BREAK_FULL_TAKES
    return true;
#else
    return is_handoff || (view->takes & kinds) != 0;
#endif
}

enum exchange_answer exchange_admit_know(const struct exchange_view *view,
                                         const struct exchange_know *request,
                                         struct exchange_known *reply)
{
    reply->head = head_of_answer(view, &request->head);
    reply->answer = EXCHANGE_DONE;
    reply->dot_count = 0;
    memset(reply->known, 0, sizeof reply->known);
    if (request->dot_count > EXCHANGE_KEYS_MAX)
        reply->answer = EXCHANGE_BAD;
    else if (is_other_table(view, &request->head))
        reply->answer = EXCHANGE_OTHER_TABLE;
    for (unsigned i = 0; reply->answer == EXCHANGE_DONE && i < request->dot_count; i++) {
        if (!dot_is_valid(request->dots[i].dot))
            reply->answer = EXCHANGE_BAD;
        else if (!is_owner(view, request->dots[i].key_hash, request->copies))
            reply->answer = EXCHANGE_NOT_OWNER;
        else if (is_suspect(view, request->dots[i].key_hash))
            reply->answer = EXCHANGE_NOT_NOW;
    }
    if (reply->answer == EXCHANGE_DONE)
        reply->dot_count = request->dot_count;
    return reply->answer;
}

void exchange_note_known(const struct exchange_know *request, unsigned i, const struct cell *cell,
                         struct exchange_known *reply)
{
    assert(i < request->dot_count);
    if (cell != NULL && cell_find(cell, request->dots[i].dot) != NULL)
        reply->known[i / 64] |= (uint64_t)1 << (i % 64);
}

uint64_t exchange_message_bytes(const struct exchange_message *message)
{
    const uint64_t head = 48;

    switch (message->type) {
    case EXCHANGE_COMPARE:
        return head + 10 +
               ((uint64_t)8 << (message->compare.depth - message->compare.parent.depth));
    case EXCHANGE_COMPARED: return head + 5;
    case EXCHANGE_DIGESTS: return head + 36 + 21 * (uint64_t)message->digests.key_count;
    case EXCHANGE_DIFFERENCE:
        return head + 17 + 8 * (uint64_t)message->difference.wanted_count +
               8 * (uint64_t)message->difference.cell_count + message->difference.cell_bytes;
    case EXCHANGE_CELLS:
        return head + 5 + 8 * (uint64_t)message->cells.cell_count + message->cells.cell_bytes;
    case EXCHANGE_STORED: return head + 5 + (message->stored.cell_count + 7) / 8 * 2;
    case EXCHANGE_KNOW: return head + 3 + 24 * (uint64_t)message->know.dot_count;
    case EXCHANGE_KNOWN: return head + 3 + (message->known.dot_count + 7) / 8;
    }
    return 0;
}
