#include "ring/table.h"
#include <assert.h>
#include <string.h>

static_assert(RING_NO_OWNER >= RING_MEMBERS_MAX, "no member has that index");
static_assert(RING_MEMBERS_MAX <= 4 * 64, "a preference list knows whom it gave");

int ring_version_compare(struct ring_version a, struct ring_version b)
{
    if (a.epoch != b.epoch)
        return a.epoch < b.epoch ? -1 : 1;
    return (a.claimant > b.claimant) - (a.claimant < b.claimant);
}

void ring_table_init(struct ring_table *table, unsigned partition_bits, unsigned copies,
                     unsigned char *rows, size_t rows_room)
{
    assert(partition_bits <= RING_PARTITION_BITS_MAX);
    assert(copies >= 1);
    assert(copies <= RING_COPIES_MAX);
    assert(rows_room >= RING_ROWS_BYTES(partition_bits, copies));
    table->version = (struct ring_version){0, NODE_NONE};
    table->partition_bits = partition_bits;
    table->copies = copies;
    table->member_count = 0;
    table->rows = rows;
    table->rows_room = rows_room;
    memset(rows, RING_NO_OWNER, RING_ROWS_BYTES(partition_bits, copies));
    assert(ring_table_is_sound(table));
}

void ring_table_copy(struct ring_table *into, const struct ring_table *from)
{
    size_t bytes = RING_ROWS_BYTES(from->partition_bits, from->copies);

    assert(into != from);
    assert(into->rows != from->rows);
    assert(into->rows_room >= bytes);
    into->version = from->version;
    into->partition_bits = from->partition_bits;
    into->copies = from->copies;
    into->member_count = from->member_count;
    memcpy(into->members, from->members, from->member_count * sizeof from->members[0]);
    memcpy(into->rows, from->rows, bytes);
}

static bool row_is_sound(const struct ring_table *table, unsigned partition)
{
    const unsigned char *row = ring_table_row(table, partition);
    uint64_t met[4] = {0};
    bool has_ended = false;

    for (unsigned i = 0; i < table->copies; i++) {
        unsigned owner = row[i];
        if (owner == RING_NO_OWNER) {
            has_ended = true;
            continue;
        }
        if (has_ended || owner >= table->member_count)
            return false;
        if ((met[owner / 64] >> (owner % 64) & 1) != 0)
            return false;
        met[owner / 64] |= (uint64_t)1 << (owner % 64);
    }
    return true;
}

static bool members_are_sound(const struct ring_table *table)
{
    node_id before = NODE_NONE;

    for (unsigned i = 0; i < table->member_count; i++) {
        const struct ring_member *member = &table->members[i];
        if (member->id <= before || member->id == NODE_ANY || member->weight > RING_WEIGHT_MAX)
            return false;
        before = member->id;
    }
    return true;
}

bool ring_table_is_sound(const struct ring_table *table)
{
    if (table->partition_bits > RING_PARTITION_BITS_MAX)
        return false;
    if (table->copies < 1 || table->copies > RING_COPIES_MAX)
        return false;
    if (table->rows_room < RING_ROWS_BYTES(table->partition_bits, table->copies))
        return false;
    if (table->member_count > RING_MEMBERS_MAX || !members_are_sound(table))
        return false;
    for (unsigned p = 0; p < ring_table_partitions(table); p++)
        if (!row_is_sound(table, p))
            return false;
    if (table->member_count == 0)
        return table->version.epoch == 0 && table->version.claimant == NODE_NONE;
    return table->version.epoch > 0 && table->version.claimant != NODE_NONE &&
           table->version.claimant != NODE_ANY;
}

static bool member_equal(const struct ring_member *a, const struct ring_member *b)
{
    return a->id == b->id && a->zone == b->zone && a->weight == b->weight;
}

bool ring_table_same_content(const struct ring_table *a, const struct ring_table *b)
{
    if (a->partition_bits != b->partition_bits || a->copies != b->copies)
        return false;
    if (a->member_count != b->member_count)
        return false;
    for (unsigned i = 0; i < a->member_count; i++)
        if (!member_equal(&a->members[i], &b->members[i]))
            return false;
    return memcmp(a->rows, b->rows, RING_ROWS_BYTES(a->partition_bits, a->copies)) == 0;
}

unsigned ring_table_owners(const struct ring_table *table, unsigned partition, unsigned copies,
                           node_id owners[RING_COPIES_MAX])
{
    const unsigned char *row = ring_table_row(table, partition);
    unsigned most = copies < table->copies ? copies : table->copies;
    unsigned count = 0;

    assert(partition < ring_table_partitions(table));
    while (count < most && row[count] != RING_NO_OWNER) {
        owners[count] = table->members[row[count]].id;
        count++;
    }
    return count;
}

int ring_table_find_member(const struct ring_table *table, node_id id)
{
    unsigned low = 0, high = table->member_count;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (table->members[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    assert(low <= table->member_count);
    return low < table->member_count && table->members[low].id == id ? (int)low : -1;
}

bool ring_table_is_owner(const struct ring_table *table, unsigned partition, unsigned copies,
                         node_id id)
{
    node_id owners[RING_COPIES_MAX];
    unsigned count = ring_table_owners(table, partition, copies, owners);

    assert(id != NODE_NONE);
    for (unsigned i = 0; i < count; i++)
        if (owners[i] == id)
            return true;
    return false;
}

void ring_table_count(const struct ring_table *table, unsigned owned[RING_MEMBERS_MAX],
                      unsigned first[RING_MEMBERS_MAX])
{
    for (unsigned i = 0; i < table->member_count; i++) {
        if (owned != NULL)
            owned[i] = 0;
        if (first != NULL)
            first[i] = 0;
    }
    for (unsigned p = 0; p < ring_table_partitions(table); p++) {
        const unsigned char *row = ring_table_row(table, p);
        for (unsigned i = 0; i < table->copies && row[i] != RING_NO_OWNER; i++) {
            assert(row[i] < table->member_count);
            if (owned != NULL)
                owned[row[i]]++;
            if (first != NULL && i == 0)
                first[row[i]]++;
        }
    }
}

void ring_preference_start(struct ring_preference *list, const struct ring_table *table,
                           unsigned partition)
{
    assert(partition < ring_table_partitions(table));
    *list = (struct ring_preference){.table = table, .partition = partition};
}

/* Whether it was not given before. */
static bool is_new(struct ring_preference *list, unsigned index)
{
    uint64_t bit = (uint64_t)1 << (index % 64);

    assert(index < list->table->member_count);
    if ((list->given[index / 64] & bit) != 0)
        return false;
    list->given[index / 64] |= bit;
    return true;
}

int ring_preference_next_index(struct ring_preference *list)
{
    const struct ring_table *table = list->table;
    unsigned partitions = ring_table_partitions(table);
    unsigned walk_end = table->copies + partitions - 1;

    while (list->next < walk_end + table->member_count) {
        unsigned step = list->next++;
        unsigned index;
        if (step < table->copies) {
            index = ring_table_row(table, list->partition)[step];
        } else if (step < walk_end) {
            unsigned onward = list->partition + 1 + (step - table->copies);
            index = ring_table_row(table, onward & (partitions - 1))[0];
        } else {
            index = step - walk_end;
        }
        if (index != RING_NO_OWNER && is_new(list, index))
            return (int)index;
    }
    return -1;
}

node_id ring_preference_next(struct ring_preference *list)
{
    int index = ring_preference_next_index(list);

    return index < 0 ? NODE_NONE : list->table->members[index].id;
}

/* Adds to `missing` those of `of` that are not in `from`, and returns how many they are. */
static unsigned owners_missing(const node_id *of, unsigned of_count, const node_id *from,
                               unsigned from_count, node_id *missing)
{
    unsigned count = 0;

    assert(of_count <= RING_COPIES_MAX);
    for (unsigned i = 0; i < of_count; i++) {
        bool is_there = false;
        for (unsigned j = 0; j < from_count; j++)
            is_there |= from[j] == of[i];
        if (!is_there)
            missing[count++] = of[i];
    }
    return count;
}

/* Whether an owner in both stands at another place. */
static bool is_reordered(const node_id *older, unsigned older_count, const node_id *newer,
                         unsigned newer_count)
{
    for (unsigned i = 0; i < older_count; i++)
        for (unsigned j = 0; j < newer_count; j++)
            if (older[i] == newer[j] && i != j)
                return true;
    return false;
}

bool ring_table_next_change(const struct ring_table *older, const struct ring_table *newer,
                            unsigned partition, struct ring_change *change)
{
    assert(older->partition_bits == newer->partition_bits);
    for (unsigned p = partition; p < ring_table_partitions(newer); p++) {
        node_id before[RING_COPIES_MAX], after[RING_COPIES_MAX];
        unsigned before_count = ring_table_owners(older, p, RING_COPIES_MAX, before);
        unsigned after_count = ring_table_owners(newer, p, RING_COPIES_MAX, after);
        if (before_count == after_count && memcmp(before, after, after_count * sizeof *after) == 0)
            continue;
        change->partition = p;
        change->gained_count =
            owners_missing(after, after_count, before, before_count, change->gained);
        change->lost_count = owners_missing(before, before_count, after, after_count, change->lost);
        change->is_reordered = is_reordered(before, before_count, after, after_count);
        return true;
    }
    return false;
}
