#include "ring/warming.h"
#include <assert.h>
#include <stddef.h>
#include <string.h>

static_assert(RING_COPIES_MAX <= 8, "warming_partition.compared has a bit for each owner");

static const uint64_t warming_everywhere[RING_BITMAP_WORDS(RING_PARTITION_BITS_MAX)] = {
    [0 ... RING_BITMAP_WORDS(RING_PARTITION_BITS_MAX) - 1] = ~(uint64_t)0};

static bool bitmap_has(const uint64_t *bitmap, unsigned partition)
{
    return bitmap[partition / 64] >> (partition % 64) & 1;
}

static void bitmap_put(uint64_t *bitmap, unsigned partition, bool is_set)
{
    uint64_t bit = (uint64_t)1 << (partition % 64);

    if (is_set)
        bitmap[partition / 64] |= bit;
    else
        bitmap[partition / 64] &= ~bit;
}

static unsigned partitions(const struct warming *warming)
{
    return 1u << warming->partition_bits;
}

static size_t bitmap_bytes(const struct warming *warming)
{
    return RING_BITMAP_WORDS(warming->partition_bits) * sizeof(uint64_t);
}

void warming_init(struct warming *warming, node_id self, uint64_t incarnation,
                  unsigned partition_bits, unsigned classes, const struct warming_memory *memory)
{
    assert(partition_bits <= RING_PARTITION_BITS_MAX);
    assert(classes != 0 && classes < 2u << RING_COPIES_MAX);
    *warming = (struct warming){.self = self,
                                .incarnation = incarnation,
                                .partition_bits = partition_bits,
                                .classes = classes,
                                .memory = *memory,
                                .bitmap = memory->words};
    memset(memory->partitions, 0, partitions(warming) * sizeof memory->partitions[0]);
    memset(memory->peers, 0, memory->peer_room * sizeof memory->peers[0]);
    memset(warming->bitmap, 0, bitmap_bytes(warming));
}

static struct warming_peer *find_peer(const struct warming *warming, node_id id)
{
    for (unsigned i = 0; i < warming->memory.peer_room; i++)
        if (warming->memory.peers[i].id == id)
            return &warming->memory.peers[i];
    return NULL;
}

static struct warming_peer *take_peer(struct warming *warming, node_id id)
{
    struct warming_peer *peer = find_peer(warming, id);

    assert(id != NODE_NONE && id != warming->self);
    if (peer != NULL)
        return peer;
    peer = find_peer(warming, NODE_NONE);
    assert(peer != NULL); /* there is one for every member */
    size_t index = (size_t)(peer - warming->memory.peers);
    *peer = (struct warming_peer){
        .id = id,
        .bitmap = warming->memory.words + (index + 1) * RING_BITMAP_WORDS(warming->partition_bits)};
    memset(peer->bitmap, 0, bitmap_bytes(warming));
    return peer;
}

/* The place in the row, or `copies` if the node is not in it. */
static unsigned place_in_row(const struct ring_table *table, unsigned partition, node_id id)
{
    const unsigned char *row = ring_table_row(table, partition);

    for (unsigned i = 0; i < table->copies && row[i] != RING_NO_OWNER; i++)
        if (table->members[row[i]].id == id)
            return i;
    return table->copies;
}

/* Whether there are keys that are owned at this place of the new row but were not at that of the
 * old one. */
static bool gains_keys(const struct warming *warming, const struct ring_table *older,
                       const struct ring_table *newer, unsigned partition, node_id id)
{
    unsigned before = older != NULL ? place_in_row(older, partition, id) : RING_COPIES_MAX;
    unsigned after = place_in_row(newer, partition, id);

    if (older != NULL && before == older->copies)
        before = RING_COPIES_MAX;
    if (after == newer->copies)
        return false;
    for (unsigned n = after + 1; n <= RING_COPIES_MAX; n++)
        if ((warming->classes >> n & 1) != 0 && before >= n)
            return true;
    return false;
}

/* Whether the keys of some class are owned at the node's place. */
static bool owns_keys(const struct warming *warming, const struct ring_table *table,
                      unsigned partition, node_id id)
{
    return gains_keys(warming, NULL, table, partition, id);
}

static void set_state(struct warming *warming, unsigned partition, enum warming_state state)
{
    struct warming_partition *own = &warming->memory.partitions[partition];

    warming->warming_count -= own->state == WARMING_WARMING;
    warming->owned_count -= own->state != WARMING_NOT_OWNER;
    own->state = (uint8_t)state;
    warming->warming_count += state == WARMING_WARMING;
    warming->owned_count += state != WARMING_NOT_OWNER;
    bitmap_put(warming->bitmap, partition, state == WARMING_WARMING);
    assert(warming->warming_count <= warming->owned_count);
}

static void begin(struct warming *warming, unsigned partition, uint64_t now_ms,
                  struct warming_effects *effects)
{
    struct warming_partition *own = &warming->memory.partitions[partition];

    *own = (struct warming_partition){.since_ms = now_ms, .state = own->state};
    set_state(warming, partition, WARMING_WARMING);
    effects->began++;
}

/* What a row looks like from here. */
struct row_view {
    unsigned owners; /* this node included */
    unsigned connected, cut;
    bool has_warm_connected;
    bool is_known;     /* of every other owner: whether it can be reached, and if so, is warm */
    bool has_warm;     /* one that can be reached */
    bool has_compared; /* with all of those */
};

static struct row_view view_row(const struct warming *warming, unsigned partition)
{
    const unsigned char *row = ring_table_row(warming->table, partition);
    const struct warming_partition *own = &warming->memory.partitions[partition];
    struct row_view view = {.is_known = true, .has_compared = true};

    for (unsigned i = 0; i < warming->table->copies && row[i] != RING_NO_OWNER; i++) {
        node_id id = warming->table->members[row[i]].id;
        view.owners++;
        if (id == warming->self)
            continue;
        const struct warming_peer *peer = &warming->memory.peers[warming->peer_of_member[row[i]]];
        assert(peer->id == id);
        bool is_warm = peer->has_reported && !bitmap_has(peer->bitmap, partition);
        view.connected += peer->link == WARMING_CONNECTED;
        view.cut += peer->link == WARMING_CUT;
        view.has_warm_connected |= peer->link == WARMING_CONNECTED && is_warm;
        if (peer->reach == WARMING_REACH_UNKNOWN ||
            (peer->reach == WARMING_REACHABLE && !peer->has_reported))
            view.is_known = false;
        if (peer->reach == WARMING_REACHABLE && is_warm) {
            view.has_warm = true;
            view.has_compared &= own->compared >> i & 1;
        }
    }
    return view;
}

/* All hints made before this time by peers that can be reached have come. */
static uint64_t hints_until_ms(const struct warming *warming)
{
    uint64_t until_ms = UINT64_MAX;

    for (unsigned i = 0; i < warming->memory.peer_room; i++) {
        const struct warming_peer *peer = &warming->memory.peers[i];
        if (peer->id == NODE_NONE || peer->reach == WARMING_UNREACHABLE)
            continue;
        if (peer->link != WARMING_CONNECTED || peer->hints_until_ms < peer->connected_ms)
            return 0;
        if (peer->hints_until_ms < until_ms)
            until_ms = peer->hints_until_ms;
    }
    return until_ms;
}

static bool is_caught_up(const struct warming_partition *own, const struct row_view *view,
                         uint64_t until_ms)
{
    if (!view->is_known)
        return false;
    if (!view->has_warm)
        return true;
#ifdef RING_BREAK_WARM_WITHOUT_HINTS
    until_ms = UINT64_MAX;
#endif
#ifdef RING_BREAK_WARM_WITHOUT_COMPARISON
    return until_ms >= own->since_ms;
#endif
    return view->has_compared && until_ms >= own->since_ms;
}

static void look_at(struct warming *warming, unsigned partition, uint64_t until_ms, uint64_t now_ms,
                    struct warming_effects *effects)
{
    struct warming_partition *own = &warming->memory.partitions[partition];

    if (own->state == WARMING_NOT_OWNER)
        return;
    struct row_view view = view_row(warming, partition);
    assert(view.connected + view.cut < view.owners);
    if (own->state == WARMING_WARMING) {
        if (!is_caught_up(own, &view, until_ms))
            return;
        set_state(warming, partition, WARMING_WARM);
        effects->finished++;
    }
    unsigned not_cut = view.owners - view.cut;
    if (view.owners > 1 && 2 * not_cut <= view.owners)
        own->was_cut_off = true;
#ifdef RING_BREAK_WARM_AFTER_CUT
    own->was_cut_off = false;
#endif
    if (!own->was_cut_off || 2 * (1 + view.connected) <= view.owners)
        return;
    own->was_cut_off = false;
    if (view.has_warm_connected)
        begin(warming, partition, now_ms, effects);
}

static void look_at_all(struct warming *warming, uint64_t now_ms, struct warming_effects *effects)
{
    uint64_t until_ms = hints_until_ms(warming);

    warming->has_changed = false;
    for (unsigned p = 0; warming->table != NULL && p < partitions(warming); p++)
        look_at(warming, p, until_ms, now_ms, effects);
}

/* What was compared with a peer counts no more: it was away meanwhile. */
static void forget_comparisons(struct warming *warming, node_id id)
{
    for (unsigned p = 0; warming->table != NULL && p < partitions(warming); p++) {
        unsigned place = place_in_row(warming->table, p, id);
        if (place < warming->table->copies)
            warming->memory.partitions[p].compared &= (uint8_t) ~(1u << place);
    }
}

static void update_link(struct warming *warming, struct warming_peer *peer, uint64_t now_ms)
{
    enum warming_link before = peer->link;

    if (peer->reach == WARMING_REACHABLE && peer->has_reported && peer->reaches_us)
        peer->link = WARMING_CONNECTED;
    else if (peer->reach == WARMING_UNREACHABLE || before == WARMING_CONNECTED)
        peer->link = WARMING_CUT;
    if (peer->link == before)
        return;
    if (peer->link == WARMING_CONNECTED)
        peer->connected_ms = now_ms;
    peer->hints_until_ms = 0;
    forget_comparisons(warming, peer->id);
    warming->has_changed = true;
}

static uint8_t carry_compared(const struct ring_table *older, const struct ring_table *newer,
                              unsigned partition, uint8_t compared)
{
    const unsigned char *row = ring_table_row(older, partition);
    unsigned carried = 0;

    for (unsigned i = 0; i < older->copies && row[i] != RING_NO_OWNER; i++) {
        unsigned place = place_in_row(newer, partition, older->members[row[i]].id);
        if ((compared >> i & 1) != 0 && place < newer->copies)
            carried |= 1u << place;
    }
    return (uint8_t)carried;
}

static void adopt_row(struct warming *warming, const struct warming_event *event,
                      unsigned partition, struct warming_effects *effects)
{
    const struct ring_table *older = warming->table, *newer = event->table;
    struct warming_partition *own = &warming->memory.partitions[partition];

    if (!owns_keys(warming, newer, partition, warming->self)) {
        set_state(warming, partition, WARMING_NOT_OWNER);
        *own = (struct warming_partition){.state = WARMING_NOT_OWNER};
        return;
    }
    if (!gains_keys(warming, older, newer, partition, warming->self)) {
        own->compared = carry_compared(older, newer, partition, own->compared);
        return;
    }
#ifdef RING_BREAK_WARM_AT_ONCE
    set_state(warming, partition, WARMING_WARM);
    return;
#endif
    if (older == NULL && event->is_founding)
        set_state(warming, partition, WARMING_WARM);
    else
        begin(warming, partition, event->now_ms, effects);
}

/* Peers that gained a partition warm for it, even before they know. */
static void expect_gains(struct warming *warming, const struct ring_table *newer)
{
    for (unsigned m = 0; m < newer->member_count; m++) {
        node_id id = newer->members[m].id;
        if (id == warming->self)
            continue;
        struct warming_peer *peer = take_peer(warming, id);
        if (warming->table == NULL || ring_version_compare(peer->version, newer->version) >= 0)
            continue;
        for (unsigned p = 0; p < partitions(warming); p++)
            if (gains_keys(warming, warming->table, newer, p, id))
                bitmap_put(peer->bitmap, p, true);
    }
}

static void on_table(struct warming *warming, const struct warming_event *event,
                     struct warming_effects *effects)
{
    assert(event->table->partition_bits == warming->partition_bits);
    expect_gains(warming, event->table);
    for (unsigned p = 0; p < partitions(warming); p++)
        adopt_row(warming, event, p, effects);
    warming->table = event->table;
    for (unsigned i = 0; i < warming->memory.peer_room; i++) {
        struct warming_peer *peer = &warming->memory.peers[i];
        int member = ring_table_find_member(event->table, peer->id);
        if (member >= 0)
            warming->peer_of_member[member] = (uint16_t)i;
        else if (peer->is_gone)
            *peer = (struct warming_peer){.id = NODE_NONE};
    }
    warming->has_changed = true;
}

static void on_reach(struct warming *warming, const struct warming_event *event,
                     enum warming_reach reach)
{
    if (event->peer == warming->self)
        return;
    struct warming_peer *peer = take_peer(warming, event->peer);
    warming->has_changed |= peer->reach != reach;
    peer->reach = reach;
    if (reach == WARMING_UNREACHABLE)
        peer->has_reported = peer->reaches_us = false; /* who knows how it will come back */
    peer->is_gone = false;
    update_link(warming, peer, event->now_ms);
}

static void on_gone(struct warming *warming, const struct warming_event *event)
{
    struct warming_peer *peer = event->peer != NODE_NONE ? find_peer(warming, event->peer) : NULL;

    if (peer == NULL)
        return;
    peer->reach = WARMING_UNREACHABLE;
    peer->is_gone = true;
    update_link(warming, peer, event->now_ms);
    if (warming->table == NULL || ring_table_find_member(warming->table, event->peer) < 0)
        *peer = (struct warming_peer){.id = NODE_NONE};
    warming->has_changed = true;
}

/* The partitions of one word in which a ping says that its sender warms. */
static uint64_t reported_word(const struct warming *warming, const struct ping *ping, size_t word)
{
    size_t bytes = RING_BITMAP_BYTES(warming->partition_bits);
    uint64_t bits = 0;

    if (ping->warming.size == 0 && ping->table.epoch != 0)
        return 0;
    if (ping->warming.size != bytes || ping->table.epoch == 0)
        return ~(uint64_t)0; /* it has no table yet, or makes no sense */
    for (size_t i = 0; i < 8 && word * 8 + i < bytes; i++)
        bits |= (uint64_t)ping->warming.bytes[word * 8 + i] << (8 * i);
    return bits;
}

static void take_bitmap(struct warming *warming, struct warming_peer *peer, const struct ping *ping)
{
    bool is_older =
        warming->table != NULL && ring_version_compare(ping->table, warming->table->version) < 0;

    for (size_t w = 0; w < RING_BITMAP_WORDS(warming->partition_bits); w++) {
        uint64_t bits = reported_word(warming, ping, w) | (is_older ? peer->bitmap[w] : 0);
        warming->has_changed |= bits != peer->bitmap[w];
        peer->bitmap[w] = bits;
    }
    warming->has_changed |= !peer->has_reported;
    peer->version = ping->table;
    peer->has_reported = true;
}

/* From the answer to a ping of ours: it was composed after `sent_ms`. */
static void take_hints_report(struct warming *warming, struct warming_peer *peer,
                              const struct ping *ping)
{
    uint64_t until_ms = ping->sent_ms;

    if (peer->link != WARMING_CONNECTED)
        return;
    if (ping->hints_left > 0)
        until_ms -= ping->hints_oldest_age_ms < until_ms ? ping->hints_oldest_age_ms : until_ms;
    if (until_ms <= peer->hints_until_ms)
        return;
    peer->hints_until_ms = until_ms;
    warming->has_changed |= warming->warming_count > 0;
}

static void on_ping(struct warming *warming, const struct warming_event *event)
{
    const struct ping *ping = event->ping;
    struct warming_peer *peer = ping->from != NODE_NONE ? find_peer(warming, ping->from) : NULL;

    if (peer == NULL || ping->to != warming->self || ping->incarnation < peer->incarnation)
        return;
    if (ping->incarnation != peer->incarnation) {
        peer->incarnation = ping->incarnation;
        peer->has_reported = false;
        peer->reaches_us = false;
        update_link(warming, peer, event->now_ms);
        forget_comparisons(warming, peer->id);
    }
    take_bitmap(warming, peer, ping);
    peer->reaches_us = ping->reaches_you;
    update_link(warming, peer, event->now_ms);
    if (ping->is_answer && ping->asked_by == warming->incarnation && ping->sent_ms <= event->now_ms)
        take_hints_report(warming, peer, ping);
}

static void on_compared(struct warming *warming, const struct warming_event *event,
                        struct warming_effects *effects)
{
    const struct warming_peer *peer = find_peer(warming, event->peer);

    assert(event->partition < partitions(warming));
    if (warming->table == NULL || peer == NULL)
        return;
    struct warming_partition *own = &warming->memory.partitions[event->partition];
    unsigned place = place_in_row(warming->table, event->partition, event->peer);
    if (place == warming->table->copies || own->state != WARMING_WARMING)
        return;
    /* A peer that warms itself may lack as much, and has to be compared again once it is warm. */
    if (event->started_ms >= own->since_ms && event->started_ms >= peer->connected_ms &&
        peer->link == WARMING_CONNECTED && !bitmap_has(peer->bitmap, event->partition))
        own->compared |= (uint8_t)(1u << place);
    look_at(warming, event->partition, hints_until_ms(warming), event->now_ms, effects);
}

static void say_what_changed(const struct warming_effects *effects)
{
    if (effects->began > 0)
        ring_trace_say(effects->trace, "begins to warm for %u partitions", effects->began);
    if (effects->finished > 0)
        ring_trace_say(effects->trace, "caught up -> warm for %u partitions", effects->finished);
}

void warming_step(struct warming *warming, const struct warming_event *event,
                  struct warming_effects *effects)
{
    switch (event->type) {
    case WARMING_TABLE: on_table(warming, event, effects); break;
    case WARMING_PEER_FOUND: on_reach(warming, event, WARMING_REACHABLE); break;
    case WARMING_PEER_LOST: on_reach(warming, event, WARMING_UNREACHABLE); break;
    case WARMING_PEER_GONE: on_gone(warming, event); break;
    case WARMING_PING: on_ping(warming, event); break;
    case WARMING_COMPARED: on_compared(warming, event, effects); break;
    }
    if (warming->has_changed)
        look_at_all(warming, event->now_ms, effects);
    say_what_changed(effects);
}

bool warming_is_warm(const struct warming *warming, unsigned partition)
{
    assert(partition < partitions(warming));
    return warming->memory.partitions[partition].state == WARMING_WARM;
}

bool warming_needs(const struct warming *warming, unsigned partition, node_id peer)
{
    assert(partition < partitions(warming));
    const struct warming_partition *own = &warming->memory.partitions[partition];
    if (own->state != WARMING_WARMING || peer == warming->self)
        return false;
    unsigned place = place_in_row(warming->table, partition, peer);
    return place < warming->table->copies && (own->compared >> place & 1) == 0;
}

const uint64_t *warming_bitmap(const struct warming *warming, node_id node)
{
    if (node == warming->self)
        return warming->bitmap;
    const struct warming_peer *peer = node != NODE_NONE ? find_peer(warming, node) : NULL;
    return peer != NULL && peer->has_reported ? peer->bitmap : warming_everywhere;
}

size_t warming_encode(const struct warming *warming, unsigned char *out)
{
    size_t bytes = RING_BITMAP_BYTES(warming->partition_bits);

    if (warming->warming_count == 0)
        return 0;
    for (size_t i = 0; i < bytes; i++)
        out[i] = (unsigned char)(warming->bitmap[i / 8] >> (8 * (i % 8)));
    return bytes;
}

unsigned warming_owned(const struct warming *warming)
{
    return warming->owned_count;
}
