#include "ring/membership.h"
#include <assert.h>
#include <string.h>
#include <xxhash.h>
#include "ring/membership_codec.h"

static_assert(RING_MEMBERS_MAX < MEMBERSHIP_RECORDS_MAX, "there is room for nodes that went");

/* 1. Texts, and what a record may be. */

static bool text_is_sound(const char *bytes, unsigned size, unsigned size_max)
{
    if (size > size_max)
        return false;
    for (unsigned i = 0; i < size; i++)
        if (bytes[i] <= ' ' || bytes[i] > '~')
            return false;
    for (unsigned i = size; i < size_max; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

bool member_name_set(struct member_name *into, struct slice text)
{
    *into = (struct member_name){0};
    if (text.size > MEMBER_NAME_MAX)
        return false;
    if (text.size > 0)
        memcpy(into->bytes, text.bytes, text.size);
    into->size = (unsigned char)text.size;
    if (text_is_sound(into->bytes, into->size, MEMBER_NAME_MAX))
        return true;
    *into = (struct member_name){0};
    return false;
}

bool member_address_set(struct member_address *into, struct slice text)
{
    *into = (struct member_address){0};
    if (text.size > MEMBER_ADDRESS_MAX)
        return false;
    if (text.size > 0)
        memcpy(into->bytes, text.bytes, text.size);
    into->size = (unsigned char)text.size;
    if (text_is_sound(into->bytes, into->size, MEMBER_ADDRESS_MAX))
        return true;
    *into = (struct member_address){0};
    return false;
}

static bool name_is_sound(const struct member_name *name)
{
    return text_is_sound(name->bytes, name->size, MEMBER_NAME_MAX);
}

/* Both are sound: what is after their ends is 0. */
static int name_compare(const struct member_name *a, const struct member_name *b)
{
    return memcmp(a, b, sizeof *a);
}

static bool record_is_sound(const struct member_record *record)
{
    if (record->id == NODE_NONE || record->id == NODE_ANY)
        return false;
    if (record->status > MEMBER_GONE || record->weight > RING_WEIGHT_MAX)
        return false;
    if (record->ceiling != 0 && !hlc_is_valid(record->ceiling))
        return false;
    return name_is_sound(&record->name) && name_is_sound(&record->zone_name) &&
           text_is_sound(record->address.bytes, record->address.size, MEMBER_ADDRESS_MAX);
}

/* 2. Digest: a sum, so that records count in any order; and so that one can be replaced. */

static uint64_t hash_record(const struct member_record *record)
{
    unsigned char bytes[MEMBERSHIP_RECORD_BYTES];
    struct member_record shown = *record;

    shown.ceiling = 0;
    return XXH3_64bits(bytes, membership_encode_record(&shown, bytes));
}

static uint64_t hash_flushes(const struct flush_list *list)
{
    unsigned char bytes[MEMBERSHIP_HEADER_BYTES];
    return XXH3_64bits(bytes, membership_encode_flushes(list, bytes));
}

uint64_t membership_digest(const struct membership *membership)
{
    uint64_t digest = hash_flushes(&membership->flushes);

    for (unsigned i = 0; i < membership->count; i++)
        digest += hash_record(&membership->records[i]);
    return digest;
}

/* 3. The map. */

void membership_init(struct membership *membership)
{
    membership->dropped = 0;
    membership->flushes = (struct flush_list){0};
    membership->count = 0;
    membership->digest = membership_digest(membership);
}

void membership_copy(struct membership *into, const struct membership *from)
{
    assert(into != from);
    assert(from->count <= MEMBERSHIP_RECORDS_MAX);
    into->digest = from->digest;
    into->dropped = from->dropped;
    into->flushes = from->flushes;
    into->count = from->count;
    memcpy(into->records, from->records, from->count * sizeof from->records[0]);
}

bool membership_is_sound(const struct membership *membership)
{
    node_id before = NODE_NONE;

    if (membership->count > MEMBERSHIP_RECORDS_MAX || !flush_list_is_sound(&membership->flushes))
        return false;
    for (unsigned i = 0; i < membership->count; i++) {
        const struct member_record *record = &membership->records[i];
        if (!record_is_sound(record) || record->id <= before)
            return false;
        before = record->id;
    }
    return membership->digest == membership_digest(membership);
}

/* Where the record of a node is, or would be. */
static unsigned position_of(const struct membership *membership, node_id id)
{
    unsigned low = 0, high = membership->count;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (membership->records[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    assert(low <= membership->count);
    return low;
}

const struct member_record *membership_find(const struct membership *membership, node_id id)
{
    unsigned at = position_of(membership, id);

    if (at < membership->count && membership->records[at].id == id)
        return &membership->records[at];
    return NULL;
}

static struct member_record *find(struct membership *membership, node_id id)
{
    unsigned at = position_of(membership, id);

    if (at < membership->count && membership->records[at].id == id)
        return &membership->records[at];
    return NULL;
}

const struct member_record *membership_find_name(const struct membership *membership,
                                                 const struct member_name *name)
{
    for (unsigned i = 0; i < membership->count; i++) {
        const struct member_record *record = &membership->records[i];
        if (record->status != MEMBER_GONE && name_compare(&record->name, name) == 0)
            return record;
    }
    return NULL;
}

bool membership_has(const struct membership *membership, node_id id)
{
    const struct member_record *record = membership_find(membership, id);
    return record != NULL && record->status != MEMBER_GONE;
}

unsigned membership_live_count(const struct membership *membership)
{
    unsigned count = 0;

    for (unsigned i = 0; i < membership->count; i++)
        count += membership->records[i].status != MEMBER_GONE;
    return count;
}

unsigned membership_claimers(const struct membership *membership,
                             struct ring_member members[RING_MEMBERS_MAX])
{
    unsigned count = 0;

    for (unsigned i = 0; i < membership->count && count < RING_MEMBERS_MAX; i++) {
        const struct member_record *record = &membership->records[i];
        if (record->status == MEMBER_JOINING || record->status == MEMBER_UP)
            members[count++] = (struct ring_member){record->id, record->zone, record->weight};
    }
    return count;
}

/* 4. Merging. */

static int compare_numbers(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* Which is the later word of a node on itself.  The texts decide only between two processes that
 * both took one incarnation. */
static int self_compare(const struct member_record *a, const struct member_record *b)
{
    int order = compare_numbers(a->incarnation, b->incarnation);

    if (order == 0)
        order = compare_numbers(a->is_warm, b->is_warm);
    if (order == 0)
        order = name_compare(&a->name, &b->name);
    return order != 0 ? order : memcmp(&a->address, &b->address, sizeof a->address);
}

static int settings_compare(const struct member_record *a, const struct member_record *b)
{
    int order = compare_numbers(a->revision, b->revision);

    if (order == 0)
        order = compare_numbers(a->weight, b->weight);
    if (order == 0)
        order = compare_numbers(a->zone, b->zone);
    return order != 0 ? order : name_compare(&a->zone_name, &b->zone_name);
}

static void take_self(struct member_record *into, const struct member_record *from)
{
    into->incarnation = from->incarnation;
    into->is_warm = from->is_warm;
    into->name = from->name;
    into->address = from->address;
}

static void take_settings(struct member_record *into, const struct member_record *from)
{
    into->revision = from->revision;
    into->weight = from->weight;
    into->zone = from->zone;
    into->zone_name = from->zone_name;
}

/* Each part of the record becomes the higher one.  True if anything but the ceiling changed. */
static bool merge_record(struct member_record *into, const struct member_record *more)
{
    bool has_changed = false;

    assert(into->id == more->id);
    if (self_compare(more, into) > 0) {
        take_self(into, more);
        has_changed = true;
    }
    if (settings_compare(more, into) > 0) {
        take_settings(into, more);
        has_changed = true;
    }
#ifdef RING_BREAK_GONE_RETURNS
    if (more->status != into->status && into->status != MEMBER_JOINING) {
#else
    if (more->status > into->status) {
#endif
        into->status = more->status;
        has_changed = true;
    }
    if (more->ceiling > into->ceiling)
        into->ceiling = more->ceiling;
    return has_changed;
}

/* Which of two records is worth its room less: one that went, the longer ago it started. */
static bool is_worth_less(const struct member_record *a, const struct member_record *b)
{
    if ((a->status == MEMBER_GONE) != (b->status == MEMBER_GONE))
        return a->status == MEMBER_GONE;
    if (a->incarnation != b->incarnation)
        return a->incarnation < b->incarnation;
    return a->id < b->id;
}

static void remove_at(struct membership *membership, unsigned at)
{
    assert(at < membership->count);
    membership->count--;
    memmove(&membership->records[at], &membership->records[at + 1],
            (membership->count - at) * sizeof membership->records[0]);
}

/* Makes room for one record, unless that is itself worth least. */
static bool make_room(struct membership *membership, const struct member_record *record)
{
    unsigned least = 0;

    if (membership->count < MEMBERSHIP_RECORDS_MAX)
        return true;
    for (unsigned i = 1; i < membership->count; i++)
        if (is_worth_less(&membership->records[i], &membership->records[least]))
            least = i;
    membership->dropped++;
    if (is_worth_less(record, &membership->records[least]))
        return false;
    remove_at(membership, least);
    return true;
}

/* Adds a record of a node that has none.  False if it found no room. */
static bool insert(struct membership *membership, const struct member_record *record)
{
    assert(record_is_sound(record));
    if (!make_room(membership, record))
        return false;
    unsigned at = position_of(membership, record->id);
    memmove(&membership->records[at + 1], &membership->records[at],
            (membership->count - at) * sizeof membership->records[0]);
    membership->records[at] = *record;
    membership->count++;
    assert(membership->count <= MEMBERSHIP_RECORDS_MAX);
    return true;
}

bool membership_merge(struct membership *into, const struct membership *more)
{
    bool has_changed = false;

    assert(into != more);
    for (unsigned i = 0; i < more->count; i++) {
        struct member_record *record = find(into, more->records[i].id);
        if (record != NULL)
            has_changed |= merge_record(record, &more->records[i]);
        else
            has_changed |= insert(into, &more->records[i]);
    }
    struct flush_list before = into->flushes;
    into->dropped += flush_list_merge(&into->flushes, &more->flushes);
    has_changed |= !flush_list_equal(&before, &into->flushes);
    if (has_changed)
        into->digest = membership_digest(into);
    return has_changed;
}

bool membership_equal(const struct membership *a, const struct membership *b)
{
    if (a->count != b->count || !flush_list_equal(&a->flushes, &b->flushes))
        return false;
    for (unsigned i = 0; i < a->count; i++) {
        const struct member_record *x = &a->records[i], *y = &b->records[i];
        if (x->id != y->id || x->status != y->status || x->ceiling != y->ceiling)
            return false;
        if (self_compare(x, y) != 0 || settings_compare(x, y) != 0)
            return false;
    }
    return true;
}

/* 5. Acts.  Each ends here: the digest is brought up to date. */

static enum membership_answer done(struct membership *membership)
{
    membership->digest = membership_digest(membership);
    assert(membership_is_sound(membership));
    return MEMBERSHIP_DONE;
}

/* The record to act on: of a node that has not gone.  NULL, and why, if there is none. */
static struct member_record *find_live(struct membership *membership, node_id id,
                                       enum membership_answer *answer)
{
    struct member_record *record = find(membership, id);

    *answer = MEMBERSHIP_DONE;
    if (record == NULL)
        *answer = MEMBERSHIP_UNKNOWN;
    else if (record->status == MEMBER_GONE)
        *answer = MEMBERSHIP_IS_GONE;
    return *answer == MEMBERSHIP_DONE ? record : NULL;
}

/* Whether the joiner may become a member, in the place of `replaced` if that is not NULL. */
static enum membership_answer may_join(const struct membership *membership,
                                       const struct member_record *joiner,
                                       const struct member_record *replaced)
{
    const struct member_record *known = membership_find(membership, joiner->id);
    bool frees_a_place = replaced != NULL && replaced->status != MEMBER_GONE;

    if (known != NULL)
        return known->status == MEMBER_GONE ? MEMBERSHIP_IS_GONE : MEMBERSHIP_ALREADY;
    for (unsigned i = 0; i < membership->count; i++) {
        const struct member_record *record = &membership->records[i];
        if (record->status != MEMBER_GONE && record != replaced &&
            name_compare(&record->name, &joiner->name) == 0)
            return MEMBERSHIP_NAME_TAKEN;
    }
    if (membership_live_count(membership) - frees_a_place >= RING_MEMBERS_MAX)
        return MEMBERSHIP_FULL;
    return MEMBERSHIP_DONE;
}

enum membership_answer membership_join(struct membership *membership,
                                       const struct member_record *joiner, node_id replaces)
{
    struct member_record *replaced = NULL;

    if (!record_is_sound(joiner) || joiner->name.size == 0 || joiner->id == replaces)
        return MEMBERSHIP_BAD;
    if (joiner->status != MEMBER_JOINING && joiner->status != MEMBER_UP)
        return MEMBERSHIP_BAD;
    if (replaces != NODE_NONE) {
        replaced = find(membership, replaces);
        if (replaced == NULL)
            return MEMBERSHIP_UNKNOWN;
    }
    enum membership_answer answer = may_join(membership, joiner, replaced);
    if (answer != MEMBERSHIP_DONE)
        return answer;
    if (replaced != NULL)
        replaced->status = MEMBER_GONE;
    bool is_in = insert(membership, joiner);
    assert(is_in); /* at least one of the others has gone, and is worth less */
    return done(membership);
}

enum membership_answer membership_leave(struct membership *membership, node_id id)
{
    enum membership_answer answer;
    struct member_record *record = find_live(membership, id, &answer);

    if (record == NULL)
        return answer;
    if (record->status == MEMBER_LEAVING)
        return MEMBERSHIP_ALREADY;
    record->status = MEMBER_LEAVING;
    return done(membership);
}

enum membership_answer membership_remove(struct membership *membership, node_id id)
{
    struct member_record *record = find(membership, id);

    if (record == NULL)
        return MEMBERSHIP_UNKNOWN;
    if (record->status == MEMBER_GONE)
        return MEMBERSHIP_ALREADY;
    record->status = MEMBER_GONE;
    return done(membership);
}

enum membership_answer membership_set_weight(struct membership *membership, node_id id,
                                             uint32_t weight)
{
    enum membership_answer answer;
    struct member_record *record = find_live(membership, id, &answer);

    if (weight > RING_WEIGHT_MAX)
        return MEMBERSHIP_BAD;
    if (record == NULL)
        return answer;
    if (record->weight == weight)
        return MEMBERSHIP_ALREADY;
    record->weight = weight;
    record->revision++;
    return done(membership);
}

enum membership_answer membership_set_zone(struct membership *membership, node_id id, uint32_t zone,
                                           const struct member_name *zone_name)
{
    enum membership_answer answer;
    struct member_record *record = find_live(membership, id, &answer);

    if (!name_is_sound(zone_name))
        return MEMBERSHIP_BAD;
    if (record == NULL)
        return answer;
    if (record->zone == zone && name_compare(&record->zone_name, zone_name) == 0)
        return MEMBERSHIP_ALREADY;
    record->zone = zone;
    record->zone_name = *zone_name;
    record->revision++;
    return done(membership);
}

enum membership_answer membership_flush(struct membership *membership, struct flush flush)
{
    if (!hlc_is_valid(flush.until))
        return MEMBERSHIP_BAD;
    if (!flush_list_add(&membership->flushes, flush))
        return MEMBERSHIP_FULL;
    return done(membership);
}

bool membership_advance_flushes(struct membership *membership, uint64_t wall_ms)
{
    if (!flush_list_advance(&membership->flushes, wall_ms))
        return false;
    done(membership);
    return true;
}

enum membership_answer membership_restart(struct membership *membership, node_id self,
                                          uint64_t wall_ms, const struct member_address *address)
{
    enum membership_answer answer;
    struct member_record *record = find_live(membership, self, &answer);

    if (!text_is_sound(address->bytes, address->size, MEMBER_ADDRESS_MAX))
        return MEMBERSHIP_BAD;
    if (record == NULL)
        return answer;
    record->incarnation = record->incarnation < wall_ms ? wall_ms : record->incarnation + 1;
#ifndef RING_BREAK_EMPTY_RESTART
    record->is_warm = false;
#endif
    record->address = *address;
    return done(membership);
}

enum membership_answer membership_set_warm(struct membership *membership, node_id self)
{
    enum membership_answer answer;
    struct member_record *record = find_live(membership, self, &answer);

    if (record == NULL)
        return answer;
    if (record->is_warm)
        return MEMBERSHIP_ALREADY;
    record->is_warm = true;
    return done(membership);
}

enum membership_answer membership_set_up(struct membership *membership, node_id id)
{
    enum membership_answer answer;
    struct member_record *record = find_live(membership, id, &answer);

    if (record == NULL)
        return answer;
    if (record->status != MEMBER_JOINING)
        return MEMBERSHIP_ALREADY;
    record->status = MEMBER_UP;
    return done(membership);
}

void membership_saw_clock(struct membership *membership, node_id id, hlc_time time)
{
    struct member_record *record = find(membership, id);

    assert(hlc_is_valid(time));
    if (record != NULL && time > record->ceiling)
        record->ceiling = time;
}
