#include "ring/plan.h"
#include <assert.h>
#include <string.h>

#define TABLES_MAX 64 /* far more than any plan takes */

/* 1. The acts. */

static enum membership_answer apply(const struct plan_act *act, struct membership *membership)
{
    switch (act->type) {
    case PLAN_JOIN: return membership_join(membership, &act->joiner, NODE_NONE);
    case PLAN_REPLACE: return membership_join(membership, &act->joiner, act->node);
    case PLAN_LEAVE: return membership_leave(membership, act->node);
    case PLAN_REMOVE: return membership_remove(membership, act->node);
    case PLAN_WEIGHT: return membership_set_weight(membership, act->node, act->weight);
    case PLAN_ZONE: return membership_set_zone(membership, act->node, act->zone, &act->zone_name);
    }
    return MEMBERSHIP_BAD;
}

/* Makes `work->after` what the membership becomes by the plan. */
static enum membership_answer apply_all(struct plan_work *work, const struct plan *plan,
                                        const struct membership *membership, unsigned *failed)
{
    assert(plan->count <= PLAN_ACTS_MAX);
    membership_copy(&work->after, membership);
    for (unsigned i = 0; i < plan->count; i++) {
        enum membership_answer answer = apply(&plan->acts[i], &work->after);
        if (answer == MEMBERSHIP_DONE || answer == MEMBERSHIP_ALREADY)
            continue;
        *failed = i;
        return answer;
    }
    return MEMBERSHIP_DONE;
}

enum membership_answer plan_commit(struct plan_work *work, const struct plan *plan,
                                   struct membership *membership, unsigned *failed)
{
    enum membership_answer answer = apply_all(work, plan, membership, failed);

    if (answer == MEMBERSHIP_DONE)
        membership_copy(membership, &work->after);
    return answer;
}

/* 2. What it would move. */

/* The node's line in the report, from now on if it had none. */
static struct plan_node *node_of(struct plan_report *report, node_id id)
{
    unsigned at = 0;

    while (at < report->node_count && report->nodes[at].id < id)
        at++;
    if (at < report->node_count && report->nodes[at].id == id)
        return &report->nodes[at];
    assert(report->node_count < sizeof report->nodes / sizeof report->nodes[0]);
    memmove(&report->nodes[at + 1], &report->nodes[at],
            (report->node_count - at) * sizeof report->nodes[0]);
    report->nodes[at] = (struct plan_node){.id = id, .share = {0, 1}};
    report->node_count++;
    return &report->nodes[at];
}

static void count_moves(struct plan_report *report, const struct ring_table *before,
                        const struct ring_table *after, const uint64_t *bytes)
{
    struct ring_change change;

    for (unsigned next = 0; ring_table_next_change(before, after, next, &change);
         next = change.partition + 1) {
        uint64_t size = bytes == NULL ? 0 : bytes[change.partition];
        node_id first_before[RING_COPIES_MAX] = {0}, first_after[RING_COPIES_MAX] = {0};
        for (unsigned i = 0; i < change.gained_count; i++) {
            struct plan_node *node = node_of(report, change.gained[i]);
            node->gained++;
            node->bytes_gained += size;
            report->partitions_moved++;
            report->bytes_moved += size;
        }
        for (unsigned i = 0; i < change.lost_count; i++) {
            struct plan_node *node = node_of(report, change.lost[i]);
            node->lost++;
            node->bytes_lost += size;
        }
        ring_table_owners(before, change.partition, 1, first_before);
        ring_table_owners(after, change.partition, 1, first_after);
        report->first_moved += first_before[0] != first_after[0];
    }
}

static void count_owned(struct plan_report *report, const struct ring_table *table, bool is_after)
{
    unsigned owned[RING_MEMBERS_MAX], first[RING_MEMBERS_MAX];

    ring_table_count(table, owned, first);
    for (unsigned i = 0; i < table->member_count; i++) {
        struct plan_node *node = node_of(report, table->members[i].id);
        if (is_after) {
            node->owned_after = owned[i];
            node->first_after = first[i];
        } else {
            node->owned_before = owned[i];
            node->first_before = first[i];
        }
    }
}

/* `part` of the share, in permille; 0 of a share of nothing. */
static unsigned permille_of(unsigned part, struct ring_share share)
{
    if (share.numerator == 0)
        return 0;
    return (unsigned)((double)part * 1000 * (double)share.denominator / (double)share.numerator +
                      0.5);
}

/* In how many zones the owners of a row are; and adds those places that are empty. */
static unsigned count_zones(const struct ring_table *table, const struct ring_shares *shares,
                            unsigned partition, unsigned *missing)
{
    const unsigned char *row = ring_table_row(table, partition);
    bool is_met[RING_MEMBERS_MAX] = {false};
    unsigned zones = 0, owners = 0;

    for (unsigned i = 0; i < table->copies && row[i] != RING_NO_OWNER; i++) {
        unsigned zone = shares->zone_of[row[i]];
        owners++;
        zones += !is_met[zone];
        is_met[zone] = true;
    }
    if (owners < shares->copies)
        *missing += shares->copies - owners;
    return zones;
}

static struct plan_balance balance_of(struct plan_work *work, const struct ring_table *table,
                                      unsigned copies)
{
    struct ring_shares *shares = &work->claim.shares;
    struct plan_balance balance = {0};
    unsigned owned[RING_MEMBERS_MAX], first[RING_MEMBERS_MAX];

    if (table->member_count == 0)
        return balance;
    ring_shares_of(shares, table->members, table->member_count, ring_table_partitions(table),
                   copies);
    ring_table_count(table, owned, first);
    for (unsigned i = 0; i < table->member_count; i++) {
        unsigned all = permille_of(owned[i], shares->owned[i]);
        unsigned as_first = permille_of(first[i], shares->first[i]);
        if (all > balance.peak_permille)
            balance.peak_permille = all;
        if (as_first > balance.peak_first_permille)
            balance.peak_first_permille = as_first;
    }
    unsigned zones = shares->zone_count < shares->copies ? shares->zone_count : shares->copies;
    for (unsigned p = 0; p < ring_table_partitions(table); p++)
        balance.zones_violated += count_zones(table, shares, p, &balance.owners_missing) < zones;
    return balance;
}

static void note_shares(struct plan_work *work, struct plan_report *report,
                        const struct ring_table *after, unsigned copies)
{
    struct ring_shares *shares = &work->claim.shares;

    ring_shares_of(shares, after->members, after->member_count, ring_table_partitions(after),
                   copies);
    for (unsigned i = 0; i < after->member_count; i++)
        node_of(report, after->members[i].id)->share = shares->owned[i];
}

/* Goes all steps of claim from `input->before`, to count them.  Returns the last table. */
static const struct ring_table *walk(struct plan_work *work, struct claim_input *input,
                                     unsigned *tables)
{
    unsigned into = 0;

    *tables = 0;
    while (*tables < TABLES_MAX &&
           claim_next(&work->claim, input, &work->tables[into]) == CLAIM_NEXT) {
        input->before = &work->tables[into];
        into = 1 - into;
        ++*tables;
    }
    assert(*tables < TABLES_MAX);
    return input->before;
}

enum membership_answer plan_preview(struct plan_work *work, const struct plan *plan,
                                    const struct membership *membership,
                                    const struct ring_table *table, unsigned copies,
                                    const uint64_t *bytes, struct plan_report *report,
                                    unsigned *failed)
{
    struct ring_member members[RING_MEMBERS_MAX];
    enum membership_answer answer = apply_all(work, plan, membership, failed);

    memset(report, 0, sizeof *report);
    if (answer != MEMBERSHIP_DONE)
        return answer;
    for (unsigned i = 0; i < 2; i++)
        ring_table_init(&work->tables[i], 0, 1, work->rows[i], sizeof work->rows[i]);
    struct claim_input input = {.members = members,
                                .count = membership_claimers(&work->after, members),
                                .copies = copies,
                                .claimant = 1, /* of no concern: versions are not shown */
                                .before = table};
    report->answer = claim_next(&work->claim, &input, &work->tables[0]);
    if (report->answer == CLAIM_NOBODY || report->answer == CLAIM_TOO_MANY)
        return MEMBERSHIP_DONE;
    const struct ring_table *after = walk(work, &input, &report->tables);
    count_owned(report, table, false);
    count_owned(report, after, true);
    count_moves(report, table, after, bytes);
    report->before = balance_of(work, table, copies);
    report->after = balance_of(work, after, copies);
    note_shares(work, report, after, copies);
    return MEMBERSHIP_DONE;
}
