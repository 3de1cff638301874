/* The claimant's part: who it is, whether the next table may be published, and doing it. */
#include "ring/claimant_run.h"
#include <assert.h>
#include <inttypes.h>

static bool is_reachable(const struct claimant *claimant, node_id id)
{
    const struct claimant_peer *peer = claimant_find_peer(claimant, id);
    return peer != NULL && peer->is_reachable;
}

node_id claimant_of(const struct claimant *claimant)
{
    const struct ring_table *table = &claimant->table;

    for (unsigned i = 0; i < table->member_count; i++) {
        node_id id = table->members[i].id;
        if (membership_has(claimant->membership, id) && is_reachable(claimant, id))
            return id;
    }
    return NODE_NONE;
}

/* Whether this node may publish, if no other one does. */
static bool is_own_turn(const struct claimant *claimant)
{
    node_id who = claimant_of(claimant);
    return who == claimant->config.self || (who == NODE_NONE && claimant->is_forced);
}

/* Whether a node can be reached, and has this node's table and membership. */
static bool is_holder(const struct claimant *claimant, node_id id)
{
    const struct claimant_peer *peer = claimant_find_peer(claimant, id);

    if (peer == NULL || !peer->is_reachable ||
        claimant_compare_marks(peer->mark, claimant_own_mark(claimant)) != 0)
        return false;
#ifdef RING_BREAK_STALE_MEMBERSHIP
    return true;
#endif
    return id == claimant->config.self || peer->digest == claimant->membership->digest;
}

/* Who speaks for a member of the table: itself, or, once it has gone, the node that goes on under
 * its name: the same one, as another actor. */
static node_id speaker_of(const struct claimant *claimant, node_id id)
{
    const struct member_record *record = membership_find(claimant->membership, id);

    if (record == NULL || record->status != MEMBER_GONE)
        return id;
    record = membership_find_name(claimant->membership, &record->name);
    return record != NULL ? record->id : id;
}

static unsigned count_holders(const struct claimant *claimant)
{
    unsigned count = 0;

    for (unsigned i = 0; i < claimant->table.member_count; i++)
        count += is_holder(claimant, speaker_of(claimant, claimant->table.members[i].id));
    assert(count <= claimant->table.member_count);
    return count;
}

static bool has_majority(const struct claimant *claimant)
{
#ifdef RING_BREAK_COMMIT_WITHOUT_MAJORITY
    return true;
#endif
    return 2 * count_holders(claimant) > claimant->table.member_count;
}

/* Whether the next table need not wait for this member of the current one. */
static bool is_done_warming(const struct claimant *claimant, node_id id)
{
    const struct member_record *record = membership_find(claimant->membership, id);
    const struct claimant_peer *peer = claimant_find_peer(claimant, id);

#ifdef RING_BREAK_NEXT_BEFORE_WARM
    return true;
#endif
    if (record == NULL || record->status == MEMBER_GONE || peer == NULL)
        return true;
    if (!peer->is_reachable)
        return !peer->has_gained;
    if (id != claimant->config.self && claimant_is_from_a_life_before(record, peer->incarnation))
        return false;
    return peer->is_warm && claimant_compare_marks(peer->mark, claimant_own_mark(claimant)) == 0;
}

/* The first member that is waited for, or NODE_NONE. */
static node_id first_warming(const struct claimant *claimant)
{
    for (unsigned i = 0; i < claimant->table.member_count; i++)
        if (!is_done_warming(claimant, claimant->table.members[i].id))
            return claimant->table.members[i].id;
    return NODE_NONE;
}

/* Whether the membership knows all members of the table.  If not it is behind, as after a restart:
 * a table made of it would take away from somebody what another claimant has just given. */
static bool knows_members(const struct claimant *claimant)
{
    for (unsigned i = 0; i < claimant->table.member_count; i++)
        if (membership_find(claimant->membership, claimant->table.members[i].id) == NULL)
            return false;
    return true;
}

/* Asks claim for the next table, into `work->table`. */
static enum claim_answer next_table(struct claimant *claimant)
{
    struct ring_member members[RING_MEMBERS_MAX];
    struct claim_input input = {.members = members,
                                .count = membership_claimers(claimant->membership, members),
                                .copies = claimant->config.copies,
                                .claimant = claimant->config.self,
                                .before = &claimant->table};

#ifdef RING_BREAK_WHOLE_TARGET
    return claim_target(&claimant->work->claim, &input, &claimant->work->table);
#endif
    return claim_next(&claimant->work->claim, &input, &claimant->work->table);
}

static void find_need(struct claimant_run *run)
{
    struct claimant *claimant = run->claimant;

    switch (next_table(claimant)) {
    case CLAIM_NEXT: claimant->need = CLAIMANT_NEEDS_TABLE; break;
    case CLAIM_MET: claimant->need = CLAIMANT_HAS_TABLE; break;
    case CLAIM_NOBODY: claimant->need = CLAIMANT_COMPLETE; break;
    case CLAIM_TOO_MANY:
        ring_trace_say(run->effects->trace, "more members than a table has room for -> no table");
        claimant->need = CLAIMANT_COMPLETE;
        break;
    }
}

/* The next table is in `work->table`. */
static void publish(struct claimant_run *run)
{
    struct claimant *claimant = run->claimant;
    unsigned holders = count_holders(claimant), of = claimant->table.member_count;

    run->effects->has_published = true;
    run->effects->was_forced = 2 * holders <= of;
    claimant_adopt(run);
    claimant_tell_table(run);
    ring_trace_say(run->effects->trace,
                   "%u of %u hold the table -> publish table %" PRIu64 ".%" PRIu64 "%s", holders,
                   of, claimant->table.version.epoch, claimant->table.version.claimant,
                   run->effects->was_forced ? ", by force" : "");
}

/* Whether a node that leaves has handed over all it had, as itself says under the current table. */
static bool has_handed_over(const struct claimant *claimant, node_id id)
{
    const struct claimant_peer *peer = claimant_find_peer(claimant, id);

    return peer != NULL && peer->is_reachable && !peer->is_holding &&
           ring_table_find_member(&claimant->table, id) < 0 &&
           claimant_compare_marks(peer->mark, claimant_own_mark(claimant)) == 0;
}

/* The table is as it should be, and all are warm: joining nodes are up, and those that left gone.
 * Complete once none of either is left. */
static void promote(struct claimant_run *run)
{
    struct claimant *claimant = run->claimant;
    bool is_complete = true;

    for (unsigned i = 0; i < claimant->membership->count; i++) {
        const struct member_record *record = &claimant->membership->records[i];
        enum membership_answer answer = MEMBERSHIP_ALREADY;
        if (record->status == MEMBER_JOINING)
            answer = membership_set_up(claimant->membership, record->id);
        else if (record->status == MEMBER_LEAVING && has_handed_over(claimant, record->id))
            answer = membership_remove(claimant->membership, record->id);
        else if (record->status == MEMBER_LEAVING)
            is_complete = false;
        if (answer != MEMBERSHIP_DONE)
            continue;
        run->effects->membership_changed = true;
        run->tells_membership = true;
        ring_trace_say(run->effects->trace, "the table is complete -> node %" PRIu64 " is %s",
                       record->id, record->status == MEMBER_UP ? "up" : "gone");
    }
    if (is_complete)
        claimant->need = CLAIMANT_COMPLETE;
}

enum claimant_state claimant_consider(struct claimant_run *run)
{
    struct claimant *claimant = run->claimant;

    if (claimant->table.version.epoch == 0 || !is_own_turn(claimant)) {
        claimant->is_forced = false;
        return CLAIMANT_IDLE;
    }
    if (claimant->need == CLAIMANT_COMPLETE)
        return CLAIMANT_IDLE;
    if (run->now_ms < claimant->quiet_until_ms)
        return CLAIMANT_QUIET;
    if (!knows_members(claimant) && !claimant->is_forced)
        return CLAIMANT_MINORITY;
    if (claimant->need == CLAIMANT_NEED_UNKNOWN)
        find_need(run);
    if (claimant->need == CLAIMANT_COMPLETE)
        return CLAIMANT_IDLE;
    if (first_warming(claimant) != NODE_NONE)
        return CLAIMANT_WARMING;
    if (claimant->need == CLAIMANT_HAS_TABLE) {
        promote(run);
        return CLAIMANT_IDLE;
    }
    if (!has_majority(claimant) && !claimant->is_forced)
        return CLAIMANT_MINORITY;
    enum claim_answer answer = next_table(claimant);
    assert(answer == CLAIM_NEXT);
    publish(run);
    return CLAIMANT_WARMING;
}

void claimant_consider_load(struct claimant_run *run, const uint64_t *operations)
{
    struct claimant *claimant = run->claimant;
    struct ring_member members[RING_MEMBERS_MAX];
    struct rebalance_report report;

    if (claimant->config.rebalance_permille == 0 || claimant->need != CLAIMANT_COMPLETE ||
        claimant_of(claimant) != claimant->config.self || !has_majority(claimant) ||
        first_warming(claimant) != NODE_NONE)
        return;
    assert(claimant->work->rebalance != NULL);
    struct rebalance_input input = {
        .claim = {.members = members,
                  .count = membership_claimers(claimant->membership, members),
                  .copies = claimant->config.copies,
                  .claimant = claimant->config.self,
                  .before = &claimant->table},
        .operations = operations,
        .owner_cost = 1,
        .first_cost = 1,
        .threshold_permille = claimant->config.rebalance_permille};
    if (rebalance_next(claimant->work->rebalance, &input, &claimant->work->table, &report) ==
        REBALANCE_NEXT)
        publish(run);
}
