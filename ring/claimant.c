#include "ring/claimant_run.h"
#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <xxhash.h>
#include "ring/bytes.h"

#define ASKED_AT_ONCE 3 /* for a whole table, which may be large */

/* 1. Which table is the newer. */

uint64_t claimant_table_digest(const struct ring_table *table)
{
    uint64_t digest =
        XXH3_64bits(table->rows, RING_ROWS_BYTES(table->partition_bits, table->copies));

    for (unsigned i = 0; i < table->member_count; i++) {
        unsigned char bytes[RING_MEMBER_BYTES];
        bytes_write_u64(bytes, table->members[i].id);
        bytes_write_u32(bytes + 8, table->members[i].zone);
        bytes_write_u32(bytes + 12, table->members[i].weight);
        digest = XXH3_64bits_withSeed(bytes, sizeof bytes, digest);
    }
    return digest;
}

int claimant_compare_marks(struct claimant_mark a, struct claimant_mark b)
{
    int order = ring_version_compare(a.version, b.version);

#ifdef RING_BREAK_LOWER_EPOCH_WINS
    if (a.version.epoch > 0 && b.version.epoch > 0)
        order = -order;
#endif
    return order != 0 ? order : (a.digest > b.digest) - (a.digest < b.digest);
}

struct claimant_mark claimant_own_mark(const struct claimant *claimant)
{
    if (claimant->table.version.epoch == 0)
        return (struct claimant_mark){0};
    return (struct claimant_mark){claimant->table.version, claimant->table_digest};
}

static struct claimant_mark mark_before(const struct claimant *claimant)
{
    if (claimant->before.version.epoch == 0)
        return (struct claimant_mark){0};
    return (struct claimant_mark){claimant->before.version, claimant->before_digest};
}

/* 2. What is known of the others. */

static unsigned position_of(const struct claimant *claimant, node_id id)
{
    unsigned low = 0, high = claimant->peer_count;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (claimant->peers[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    assert(low <= claimant->peer_count);
    return low;
}

const struct claimant_peer *claimant_find_peer(const struct claimant *claimant, node_id id)
{
    unsigned at = position_of(claimant, id);

    if (at < claimant->peer_count && claimant->peers[at].id == id)
        return &claimant->peers[at];
    return NULL;
}

/* Forgets those who are no members, to make room. */
static void forget_strangers(struct claimant *claimant)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < claimant->peer_count; i++) {
        node_id id = claimant->peers[i].id;
        if (id == claimant->config.self || membership_has(claimant->membership, id))
            claimant->peers[kept++] = claimant->peers[i];
    }
    claimant->peer_count = kept;
}

/* What is known of a node, from now on if nothing was.  NULL if there is no room: that is a
 * stranger. */
static struct claimant_peer *peer_of(struct claimant *claimant, node_id id)
{
    unsigned room = sizeof claimant->peers / sizeof claimant->peers[0];
    unsigned at = position_of(claimant, id);

    if (at < claimant->peer_count && claimant->peers[at].id == id)
        return &claimant->peers[at];
    if (id == NODE_NONE || id == NODE_ANY)
        return NULL;
    if (claimant->peer_count == room)
        forget_strangers(claimant);
    if (claimant->peer_count == room)
        return NULL;
    at = position_of(claimant, id);
    memmove(&claimant->peers[at + 1], &claimant->peers[at],
            (claimant->peer_count - at) * sizeof claimant->peers[0]);
    claimant->peers[at] = (struct claimant_peer){.id = id};
    claimant->peer_count++;
    return &claimant->peers[at];
}

static struct claimant_peer *self_of(struct claimant *claimant)
{
    struct claimant_peer *self = peer_of(claimant, claimant->config.self);

    assert(self != NULL);
    assert(self->is_reachable);
    return self;
}

/* 3. Messages. */

static void send_to(struct claimant_run *run, node_id to, enum claimant_message_type type)
{
    struct claimant_effects *effects = run->effects;

    assert(to != run->claimant->config.self);
    assert(effects->send_count < sizeof effects->sends / sizeof effects->sends[0]);
    effects->sends[effects->send_count++] = (struct claimant_send){to, type};
}

/* Asks one node at a time; who does not answer is asked again, or another one, when the next ping
 * shows that it is still needed. */
static void ask_table(struct claimant_run *run, node_id from)
{
    struct claimant *claimant = run->claimant;

    if (run->now_ms < claimant->table_asked_ms)
        return;
    claimant->table_asked_ms = run->now_ms + claimant->config.ask_retry_ms;
    send_to(run, from, CLAIMANT_ASK_TABLE);
}

static void ask_whole_table(struct claimant_run *run, node_id from)
{
    run->claimant->table_asked_ms = run->now_ms + run->claimant->config.ask_retry_ms;
    send_to(run, from, CLAIMANT_ASK_WHOLE);
}

static void ask_membership(struct claimant_run *run, node_id from)
{
    struct claimant *claimant = run->claimant;

    if (run->now_ms < claimant->membership_asked_ms)
        return;
    claimant->membership_asked_ms = run->now_ms + claimant->config.ask_retry_ms;
    send_to(run, from, CLAIMANT_ASK_MEMBERSHIP);
}

static bool is_member_in_reach(const struct claimant *claimant, const struct claimant_peer *peer)
{
    return peer->id != claimant->config.self && peer->is_reachable &&
           membership_has(claimant->membership, peer->id);
}

/* To all members that are reachable.  The others see it in a ping once they are. */
static void tell_membership(struct claimant_run *run)
{
    const struct claimant *claimant = run->claimant;

    for (unsigned i = 0; i < claimant->peer_count; i++)
        if (is_member_in_reach(claimant, &claimant->peers[i]))
            send_to(run, claimant->peers[i].id, CLAIMANT_MEMBERSHIP);
}

/* The form in which a node with that table gets the current one. */
static enum claimant_message_type form_for(const struct claimant *claimant,
                                           struct claimant_mark has)
{
    if (has.version.epoch == 0 || claimant_compare_marks(has, mark_before(claimant)) != 0)
        return CLAIMANT_TABLE;
    /* A difference leads to a later version: not to another table of the same. */
    if (ring_version_compare(has.version, claimant->table.version) >= 0)
        return CLAIMANT_TABLE;
    return CLAIMANT_DIFFERENCE;
}

void claimant_tell_table(struct claimant_run *run)
{
    const struct claimant *claimant = run->claimant;

    for (unsigned i = 0; i < claimant->peer_count; i++) {
        const struct claimant_peer *peer = &claimant->peers[i];
        if (is_member_in_reach(claimant, peer))
            send_to(run, peer->id, form_for(claimant, peer->mark));
    }
}

/* 4. What changes here. */

/* Waits before the next table, so that changes come together; but not forever. */
static void keep_quiet(struct claimant_run *run)
{
    struct claimant *claimant = run->claimant;
    uint64_t quiet_ms = claimant->config.quiet_ms;

    if (run->now_ms >= claimant->quiet_until_ms)
        claimant->quiet_limit_ms = run->now_ms + 8 * quiet_ms;
    claimant->quiet_until_ms = run->now_ms + quiet_ms;
    if (claimant->quiet_until_ms > claimant->quiet_limit_ms)
        claimant->quiet_until_ms = claimant->quiet_limit_ms;
}

static void on_membership_changed(struct claimant_run *run)
{
    run->claimant->need = CLAIMANT_NEED_UNKNOWN;
    keep_quiet(run);
}

/* Notes who got something by the new table, to wait for them; and forgets who has nothing. */
static void note_gains(struct claimant *claimant)
{
    unsigned owned[RING_MEMBERS_MAX];
    struct ring_change change = {0};
    unsigned next = 0;

    ring_table_count(&claimant->table, owned, NULL);
    if (claimant->before.version.epoch > 0)
        while (ring_table_next_change(&claimant->before, &claimant->table, next, &change)) {
            for (unsigned i = 0; i < change.gained_count; i++) {
                struct claimant_peer *peer = peer_of(claimant, change.gained[i]);
                if (peer != NULL)
                    peer->has_gained = true;
            }
            next = change.partition + 1;
        }
    for (unsigned i = 0; i < claimant->peer_count; i++) {
        int index = ring_table_find_member(&claimant->table, claimant->peers[i].id);
        claimant->peers[i].has_gained &= index >= 0 && owned[index] > 0;
    }
}

void claimant_adopt(struct claimant_run *run)
{
    struct claimant *claimant = run->claimant;
    const struct ring_table *table = &claimant->work->table;

    if (claimant->table.version.epoch > 0) {
        ring_table_copy(&claimant->before, &claimant->table);
        claimant->before_digest = claimant->table_digest;
    }
    ring_table_copy(&claimant->table, table);
    claimant->table_digest = claimant_table_digest(table);
    claimant->table_asked_ms = 0;
#ifdef RING_BREAK_LOSER_FORGOTTEN
    claimant->need = CLAIMANT_COMPLETE;
#else
    claimant->need = CLAIMANT_NEED_UNKNOWN; /* what lost may have to be planned again */
#endif
    note_gains(claimant);
    struct claimant_peer *self = self_of(claimant);
    self->mark = claimant_own_mark(claimant);
    self->is_warm = false; /* until told so, under this table */
    run->effects->has_adopted = true;
    assert(claimant->table.version.epoch > 0);
}

/* 5. What is heard. */

bool claimant_is_from_a_life_before(const struct member_record *record, uint64_t incarnation)
{
#ifdef RING_BREAK_EMPTY_RESTART
    return false;
#endif
    return record != NULL && incarnation < record->incarnation;
}

/* Whether a ping is from a life before, or older than another one already heard. */
static bool is_late(const struct claimant *claimant, const struct claimant_peer *peer,
                    const struct ping *ping)
{
    struct claimant_mark mark = {ping->table, ping->table_digest};

    if (claimant_is_from_a_life_before(membership_find(claimant->membership, peer->id),
                                       ping->incarnation))
        return true;
    if (ping->incarnation != peer->incarnation)
        return ping->incarnation < peer->incarnation;
    return claimant_compare_marks(mark, peer->mark) < 0;
}

static void on_ping(struct claimant_run *run, const struct claimant_event *event)
{
    struct claimant *claimant = run->claimant;
    const struct ping *ping = event->ping;
    struct claimant_peer *peer = peer_of(claimant, event->from);
    struct claimant_mark mark = {ping->table, ping->table_digest};

    if (event->from == claimant->config.self)
        return;
    if (peer != NULL && !is_late(claimant, peer, ping)) {
        peer->mark = mark;
        peer->digest = ping->membership_digest;
        peer->incarnation = ping->incarnation;
        peer->is_warm = ping->warming.size == 0;
        peer->is_holding = ping->is_holding;
        if (peer->is_warm && claimant_compare_marks(mark, claimant_own_mark(claimant)) == 0)
            peer->has_gained = false;
    }
    if (claimant_compare_marks(mark, claimant_own_mark(claimant)) > 0)
        ask_table(run, event->from);
    if (ping->membership_digest == claimant->membership->digest)
        return;
    const struct member_record *record = membership_find(claimant->membership, event->from);
    if (record != NULL && record->status == MEMBER_GONE)
        send_to(run, event->from, CLAIMANT_MEMBERSHIP); /* it may not hear pings any more */
    ask_membership(run, event->from);
}

/* A table that was heard is in `work->table`.  False if it is none for this node. */
static bool try_to_adopt(struct claimant_run *run)
{
    struct claimant *claimant = run->claimant;
    const struct ring_table *table = &claimant->work->table;
    struct claimant_mark mark = {table->version, claimant_table_digest(table)};
    size_t rows_bytes = RING_ROWS_BYTES(table->partition_bits, table->copies);

    if (claimant_compare_marks(mark, claimant_own_mark(claimant)) <= 0)
        return false;
    if (rows_bytes > claimant->table.rows_room ||
        (claimant->table.version.epoch > 0 &&
         table->partition_bits != claimant->table.partition_bits)) {
        ring_trace_say(run->effects->trace, "a table of another cluster -> refused");
        return false;
    }
    claimant_adopt(run);
    keep_quiet(run);
    ring_trace_say(run->effects->trace, "heard of table %" PRIu64 ".%" PRIu64 " -> adopted",
                   table->version.epoch, table->version.claimant);
    return true;
}

static void on_difference(struct claimant_run *run, node_id from,
                          const struct claimant_message *message)
{
    struct claimant *claimant = run->claimant;
    struct ring_table *table = &claimant->work->table;

    if (claimant_compare_marks(message->mark, claimant_own_mark(claimant)) <= 0)
        return;
    enum ring_apply applied = ring_table_apply_difference(table, &claimant->table, message->bytes);
    if (applied == RING_APPLIED && claimant_table_digest(table) == message->mark.digest) {
        try_to_adopt(run);
        return;
    }
    ring_trace_say(run->effects->trace, "a difference to another table -> ask for the whole one");
    ask_whole_table(run, from);
}

/* This node's own record: somebody else must not write it. */
static uint64_t own_incarnation(const struct claimant *claimant)
{
    const struct member_record *own = membership_find(claimant->membership, claimant->config.self);
    return own == NULL ? 0 : own->incarnation;
}

static void on_membership(struct claimant_run *run, struct slice bytes)
{
    struct claimant *claimant = run->claimant;
    uint64_t before = own_incarnation(claimant);

    if (!membership_decode(&claimant->work->heard, bytes)) {
        ring_trace_say(run->effects->trace, "a membership that is none -> refused");
        return;
    }
    claimant->membership_asked_ms = 0;
    if (!membership_merge(claimant->membership, &claimant->work->heard))
        return;
    run->effects->membership_changed = true;
    run->effects->is_displaced = before != 0 && own_incarnation(claimant) != before;
    on_membership_changed(run);
}

static void on_force(struct claimant_run *run)
{
    struct claimant *claimant = run->claimant;
    node_id who = claimant_of(claimant);

    if (who != NODE_NONE && who != claimant->config.self) {
        send_to(run, who, CLAIMANT_PUSH_FORCE);
        return;
    }
    claimant->is_forced = true;
    claimant->need = CLAIMANT_NEED_UNKNOWN;
    claimant->quiet_until_ms = run->now_ms;
}

static void on_no_table(struct claimant *claimant, node_id from)
{
    struct claimant_peer *peer = peer_of(claimant, from);

    if (peer != NULL)
        peer->has_no_table = true;
}

static void on_message(struct claimant_run *run, node_id from,
                       const struct claimant_message *message)
{
    struct claimant *claimant = run->claimant;

    if (from == claimant->config.self)
        return;
    switch (message->type) {
    case CLAIMANT_TABLE:
        if (ring_table_decode(&claimant->work->table, message->bytes))
            try_to_adopt(run);
        break;
    case CLAIMANT_DIFFERENCE: on_difference(run, from, message); break;
    case CLAIMANT_MEMBERSHIP: on_membership(run, message->bytes); break;
    case CLAIMANT_ASK_TABLE:
        if (claimant->table.version.epoch == 0)
            send_to(run, from, CLAIMANT_NO_TABLE);
        else if (claimant_compare_marks(claimant_own_mark(claimant), message->mark) > 0)
            send_to(run, from, form_for(claimant, message->mark));
        break;
    case CLAIMANT_NO_TABLE: on_no_table(claimant, from); break;
    case CLAIMANT_ASK_WHOLE:
        if (claimant_compare_marks(claimant_own_mark(claimant), message->mark) > 0)
            send_to(run, from, CLAIMANT_TABLE);
        break;
    case CLAIMANT_ASK_MEMBERSHIP: send_to(run, from, CLAIMANT_MEMBERSHIP); break;
    case CLAIMANT_PUSH_FORCE:
        if (claimant_of(claimant) == claimant->config.self)
            on_force(run);
        break;
    }
}

static void on_reach(struct claimant_run *run, node_id id, bool is_reachable)
{
    struct claimant_peer *peer = peer_of(run->claimant, id);

    if (peer == NULL || id == run->claimant->config.self || peer->is_reachable == is_reachable)
        return;
    peer->is_reachable = is_reachable;
    if (!is_reachable)
        keep_quiet(run); /* another one may be the claimant now: give it time to come back */
}

static void on_warmed(struct claimant_run *run, const struct claimant_event *event)
{
    struct claimant_peer *self = self_of(run->claimant);

    self->is_warm = event->is_warm;
    self->is_holding = event->is_holding;
    if (self->is_warm)
        self->has_gained = false;
}

/* 6. Without a table. */

/* Whether a majority of the members have said in this turn that they have no table, of whom this
 * node is the lowest. */
static bool is_table_lost(const struct claimant *claimant)
{
    unsigned without = 1;

    for (unsigned i = 0; i < claimant->peer_count; i++) {
        const struct claimant_peer *peer = &claimant->peers[i];
        if (!peer->has_no_table || !membership_has(claimant->membership, peer->id))
            continue;
        if (peer->id < claimant->config.self)
            return false;
        without++;
    }
    return 2 * without > membership_live_count(claimant->membership);
}

/* Makes a table of no table, into `work->table`.  False if nobody is to own anything. */
static bool make_first(struct claimant *claimant, node_id first, unsigned partition_bits)
{
    struct ring_member members[RING_MEMBERS_MAX];

    assert(claimant->table.version.epoch == 0);
    ring_table_init(&claimant->table, partition_bits, claimant->config.copies, claimant->table.rows,
                    claimant->table.rows_room);
    struct claim_input input = {.members = members,
                                .count = membership_claimers(claimant->membership, members),
                                .copies = claimant->config.copies,
                                .claimant = first,
                                .before = &claimant->table};
    return claim_next(&claimant->work->claim, &input, &claimant->work->table) == CLAIM_NEXT;
}

/* A turn through all members has ended: one round trip ago at least they were asked. */
static void end_turn(struct claimant_run *run)
{
    struct claimant *claimant = run->claimant;

    claimant->ask_next = 0;
    if (is_table_lost(claimant) && run->now_ms >= claimant->quiet_until_ms &&
        make_first(claimant, claimant->config.self, claimant->config.partition_bits)) {
        claimant_adopt(run);
        run->effects->has_published = true;
        ring_trace_say(run->effects->trace, "nobody has a table -> make one anew");
    }
    for (unsigned i = 0; i < claimant->peer_count; i++)
        claimant->peers[i].has_no_table = false;
}

/* Asks a few members for the table, in turns. */
static void seek_table(struct claimant_run *run)
{
    struct claimant *claimant = run->claimant;
    const struct membership *membership = claimant->membership;

    if (!membership_has(membership, claimant->config.self) ||
        run->now_ms < claimant->table_asked_ms)
        return;
    claimant->table_asked_ms = run->now_ms + claimant->config.ask_retry_ms;
    if (claimant->ask_next >= membership->count)
        end_turn(run);
    for (unsigned asked = 0; asked < ASKED_AT_ONCE && claimant->ask_next < membership->count &&
                             claimant->table.version.epoch == 0;
         claimant->ask_next++) {
        const struct member_record *record = &membership->records[claimant->ask_next];
        if (record->status == MEMBER_GONE || record->id == claimant->config.self)
            continue;
        send_to(run, record->id, CLAIMANT_ASK_TABLE);
        asked++;
    }
}

/* 7. The machine. */

void claimant_init(struct claimant *claimant, const struct claimant_config *config,
                   struct membership *membership, struct claimant_work *work, unsigned char *rows,
                   size_t rows_room)
{
    assert(config->self != NODE_NONE);
    assert(config->self != NODE_ANY);
    assert(config->copies >= 1);
    assert(config->copies <= RING_COPIES_MAX);
    assert(config->partition_bits <= RING_PARTITION_BITS_MAX);
    assert(config->rebalance_permille == 0 || work->rebalance != NULL);
    memset(claimant, 0, sizeof *claimant);
    claimant->config = *config;
    claimant->membership = membership;
    claimant->work = work;
    ring_table_init(&work->table, 0, 1, work->rows, sizeof work->rows);
    ring_table_init(&claimant->table, 0, 1, rows, rows_room);
    ring_table_init(&claimant->before, 0, 1, rows + rows_room, rows_room);
    peer_of(claimant, config->self)->is_reachable = true;
}

void claimant_found(struct claimant *claimant, node_id first, unsigned partition_bits)
{
    struct claimant_effects effects;
    struct claimant_run run = {.claimant = claimant, .effects = &effects};

    claimant_effects_init(&effects, NULL);
    for (unsigned i = 0; i < claimant->membership->count; i++)
        membership_set_up(claimant->membership, claimant->membership->records[i].id);
    bool is_made = make_first(claimant, first, partition_bits);
    assert(is_made);
    claimant_adopt(&run);
}

void claimant_step(struct claimant *claimant, const struct claimant_event *event,
                   struct claimant_effects *effects)
{
    struct claimant_run run = {claimant, event->now_ms, effects, false};

    assert(effects->send_count == 0);
    switch (event->type) {
    case CLAIMANT_TICK: break;
    case CLAIMANT_PING: on_ping(&run, event); break;
    case CLAIMANT_MESSAGE: on_message(&run, event->from, event->message); break;
    case CLAIMANT_REACHABLE: on_reach(&run, event->from, true); break;
    case CLAIMANT_UNREACHABLE: on_reach(&run, event->from, false); break;
    case CLAIMANT_ACTED:
        on_membership_changed(&run);
        run.tells_membership = true;
        break;
    case CLAIMANT_WARMED: on_warmed(&run, event); break;
    case CLAIMANT_FORCE: on_force(&run); break;
    case CLAIMANT_LOAD: claimant_consider_load(&run, event->operations); break;
    }
    if (claimant->table.version.epoch == 0)
        seek_table(&run);
    claimant->state = claimant_consider(&run);
    if (claimant->need == CLAIMANT_COMPLETE)
        claimant->is_forced = false;
    if (run.tells_membership)
        tell_membership(&run);
}

uint64_t claimant_deadline_ms(const struct claimant *claimant)
{
    if (claimant->table.version.epoch == 0)
        return membership_has(claimant->membership, claimant->config.self)
                   ? claimant->table_asked_ms
                   : UINT64_MAX;
    return claimant->state == CLAIMANT_QUIET ? claimant->quiet_until_ms : UINT64_MAX;
}

const struct ring_table *claimant_table(const struct claimant *claimant)
{
    return &claimant->table;
}

void claimant_fill_ping(const struct claimant *claimant, struct ping *ping)
{
    struct claimant_mark mark = claimant_own_mark(claimant);
    const struct claimant_peer *self = claimant_find_peer(claimant, claimant->config.self);

    assert(self != NULL);
    ping->table = mark.version;
    ping->table_digest = mark.digest;
    ping->membership_digest = claimant->membership->digest;
    ping->is_holding = self->is_holding;
}

size_t claimant_message_bytes(const struct claimant *claimant, const struct claimant_send *send)
{
    switch (send->type) {
    case CLAIMANT_TABLE:
    case CLAIMANT_DIFFERENCE: return ring_table_encoded_bytes(&claimant->table);
    case CLAIMANT_MEMBERSHIP: return membership_encoded_bytes(claimant->membership);
    case CLAIMANT_ASK_TABLE:
    case CLAIMANT_NO_TABLE:
    case CLAIMANT_ASK_WHOLE:
    case CLAIMANT_ASK_MEMBERSHIP:
    case CLAIMANT_PUSH_FORCE: break;
    }
    return 0;
}

void claimant_compose(const struct claimant *claimant, const struct claimant_send *send,
                      unsigned char *out, struct claimant_message *message)
{
    size_t size = 0;

    *message = (struct claimant_message){.type = send->type, .mark = claimant_own_mark(claimant)};
    switch (send->type) {
    case CLAIMANT_DIFFERENCE:
        size = ring_table_encode_difference(&claimant->before, &claimant->table, out,
                                            ring_table_encoded_bytes(&claimant->table));
        if (size > 0)
            break;
        message->type = CLAIMANT_TABLE; /* which is shorter */
        size = ring_table_encode(&claimant->table, out);
        break;
    case CLAIMANT_TABLE: size = ring_table_encode(&claimant->table, out); break;
    case CLAIMANT_MEMBERSHIP: size = membership_encode(claimant->membership, out); break;
    case CLAIMANT_ASK_TABLE:
    case CLAIMANT_NO_TABLE:
    case CLAIMANT_ASK_WHOLE:
    case CLAIMANT_ASK_MEMBERSHIP:
    case CLAIMANT_PUSH_FORCE: break;
    }
    message->bytes = (struct slice){out, size};
}
