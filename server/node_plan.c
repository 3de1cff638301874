/* What an operator does, by `cluster ...`: plans, acts, repair, draining, and `debug ...`.
 *
 * Every act is a plan, be it of one act: so all are checked alike, applied as a whole or not at
 * all, and refused without a majority unless they are forced.
 *
 * Threads: the cluster thread. */
#include "protocol/number.h"
#include "ring/key_hash.h"
#include "server/hint_queue.h"
#include "server/log.h"
#include "server/node_inside.h"
#include "server/operator.h"
#include "server/repair_stats.h"
#include <stdio.h>
#include <stdlib.h>

#define ACT_BYTES 160

/* What is kept between two commands; there is one node per process. */
static struct {
    struct plan plan;
    bool is_draining;
    /* What claim says is under way; computed anew when table or membership are others. */
    bool moves_are_known;
    struct ring_version version;
    uint64_t digest;
    struct node_moves moves;
    /* `cluster repair`: with whom to compare yet, and how often it had been compared before. */
    unsigned asked_count;
    struct {
        node_id id;
        uint64_t walks;
    } asked[RING_MEMBERS_MAX];
} desk;

/* --- words --- */

static bool word_is(struct slice word, const char *text)
{
    return slice_equal(word, (struct slice){(const unsigned char *)text, strlen(text)});
}

node_id node_find_or_report(const struct node *node, struct slice name, struct report *report)
{
    node_id id = node_find(node, name);

    if (id == NODE_NONE)
        report_client_error(report, "there is no node %.*s: cluster status lists them",
                            (int)(name.size < 64 ? name.size : 64), (const char *)name.bytes);
    return id;
}

bool node_has_table_or_report(const struct node *node, struct report *report)
{
    if (node->table == NULL)
        report_server_error(report, "this node is still looking for its cluster: it has no table");
    return node->table != NULL;
}

static bool parse_weight(struct slice word, uint32_t *weight, struct report *report)
{
    uint64_t number;

    if (number_parse_u64(word, &number) && number <= RING_WEIGHT_MAX) {
        *weight = (uint32_t)number;
        return true;
    }
    report_client_error(report, "a weight is a number from 0 to %u", RING_WEIGHT_MAX);
    return false;
}

static bool parse_zone(struct slice word, struct member_name *zone, uint32_t *number,
                       struct report *report)
{
    if (member_name_set(zone, word)) {
        *number = node_zone_number(zone);
        return true;
    }
    report_client_error(report, "a zone has 1 to %u characters, none of them a space",
                        MEMBER_NAME_MAX);
    return false;
}

/* --- acts --- */

/* An operator's words for one act. */
struct wish {
    struct node *node;
    struct report *report;
    unsigned count;
    const struct slice *words; /* behind the act's name */
    struct plan *plan;         /* to add to */
};

static bool add_act(struct wish *wish, const struct plan_act *act)
{
    if (wish->plan->count == PLAN_ACTS_MAX) {
        report_client_error(wish->report, "a plan has at most %u acts", PLAN_ACTS_MAX);
        return false;
    }
    wish->plan->acts[wish->plan->count++] = *act;
    return true;
}

/* leave NODE, remove NODE */
static bool add_for_node(struct wish *wish, enum plan_act_type type)
{
    struct plan_act act = {.type = type};

    act.node = node_find_or_report(wish->node, wish->words[0], wish->report);
    return act.node != NODE_NONE && add_act(wish, &act);
}

static bool add_leave(struct wish *wish)
{
    return add_for_node(wish, PLAN_LEAVE);
}

static bool add_remove(struct wish *wish)
{
    return add_for_node(wish, PLAN_REMOVE);
}

/* weight NODE N */
static bool add_weight(struct wish *wish)
{
    struct plan_act act = {.type = PLAN_WEIGHT};

    act.node = node_find_or_report(wish->node, wish->words[0], wish->report);
    return act.node != NODE_NONE && parse_weight(wish->words[1], &act.weight, wish->report) &&
           add_act(wish, &act);
}

/* zone NODE ZONE */
static bool add_zone(struct wish *wish)
{
    struct plan_act act = {.type = PLAN_ZONE};

    act.node = node_find_or_report(wish->node, wish->words[0], wish->report);
    return act.node != NODE_NONE &&
           parse_zone(wish->words[1], &act.zone_name, &act.zone, wish->report) &&
           add_act(wish, &act);
}

/* replace OLD NEW: the weight goes from one to the other.  Who can be reached hands over what it
 * holds; whoever cannot is dead, or would not be replaced. */
static bool add_replace(struct wish *wish)
{
    node_id old = node_find_or_report(wish->node, wish->words[0], wish->report), new;
    const struct member_record *old_record, *new_record;

    if (old == NODE_NONE)
        return false;
    new = node_find_or_report(wish->node, wish->words[1], wish->report);
    if (new == NODE_NONE)
        return false;
    old_record = membership_find(&wish->node->membership, old);
    new_record = membership_find(&wish->node->membership, new);
    if (new == old || new_record->weight != 0) {
        report_client_error(wish->report,
                            "%.*s owns something already: start the new node with --weight=0",
                            (int)wish->words[1].size, (const char *)wish->words[1].bytes);
        return false;
    }
    return add_act(wish, &(struct plan_act){.type = PLAN_WEIGHT,
                                            .node = new,
                                            .weight = old_record->weight}) &&
           add_act(wish,
                   &(struct plan_act){.type = liveness_is_reachable(&wish->node->liveness, old)
                                                  ? PLAN_LEAVE
                                                  : PLAN_REMOVE,
                                      .node = old});
}

/* join NAME [weight N] [zone ZONE]: for a look at what it would move. */
static bool add_join(struct wish *wish)
{
    struct plan_act act = {.type = PLAN_JOIN};
    struct member_record *joiner = &act.joiner;

    /* It is not to be a number that a member has; the node itself will draw another one. */
    *joiner = (struct member_record){.id = key_hash(wish->words[0]) | 1,
                                     .incarnation = node_wall_ms(wish->node),
                                     .status = MEMBER_JOINING,
                                     .weight = 1};
    if (!member_name_set(&joiner->name, wish->words[0])) {
        report_client_error(wish->report, "a name has 1 to %u characters, none of them a space",
                            MEMBER_NAME_MAX);
        return false;
    }
    for (unsigned i = 1; i < wish->count; i += 2) {
        bool is_right = false;

        if (i + 1 < wish->count && word_is(wish->words[i], "weight"))
            is_right = parse_weight(wish->words[i + 1], &joiner->weight, wish->report);
        else if (i + 1 < wish->count && word_is(wish->words[i], "zone"))
            is_right =
                parse_zone(wish->words[i + 1], &joiner->zone_name, &joiner->zone, wish->report);
        else
            report_client_error(wish->report, "usage: join NAME [weight N] [zone ZONE]");
        if (!is_right)
            return false;
    }
    return add_act(wish, &act);
}

static const struct {
    const char *name;
    unsigned words_min, words_max;
    bool (*add)(struct wish *);
    const char *usage;
} acts[] = {
    {"leave", 1, 1, add_leave, "leave NODE"},
    {"remove", 1, 1, add_remove, "remove NODE"},
    {"weight", 2, 2, add_weight, "weight NODE N"},
    {"zone", 2, 2, add_zone, "zone NODE ZONE"},
    {"replace", 2, 2, add_replace, "replace OLD NEW"},
    {"join", 1, 5, add_join, "join NAME [weight N] [zone ZONE]"},
};

/* Adds what these words say to the plan.  False: the report says what is wrong with them. */
static bool add_wish(struct wish *wish, struct slice name)
{
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        if (!word_is(name, acts[i].name))
            continue;
        if (wish->count >= acts[i].words_min && wish->count <= acts[i].words_max)
            return acts[i].add(wish);
        report_client_error(wish->report, "usage: %s", acts[i].usage);
        return false;
    }
    report_client_error(wish->report,
                        "there is no act %.*s: leave, remove, weight, zone, replace "
                        "and join are, and plan clear",
                        (int)(name.size < 64 ? name.size : 64), (const char *)name.bytes);
    return false;
}

/* --- reports --- */

static void describe_act(struct node *node, const struct plan_act *act, char text[ACT_BYTES])
{
    char name[MEMBER_NAME_MAX + 1];
    const char *who = act->type == PLAN_JOIN ? "" : node_name_of(node, act->node, name);

    switch (act->type) {
    case PLAN_JOIN:
    case PLAN_REPLACE:
        snprintf(text, ACT_BYTES, "join %.*s weight %u", act->joiner.name.size,
                 act->joiner.name.bytes, act->joiner.weight);
        break;
    case PLAN_LEAVE: snprintf(text, ACT_BYTES, "leave %s", who); break;
    case PLAN_REMOVE: snprintf(text, ACT_BYTES, "remove %s", who); break;
    case PLAN_WEIGHT: snprintf(text, ACT_BYTES, "weight %s %u", who, act->weight); break;
    case PLAN_ZONE:
        snprintf(text, ACT_BYTES, "zone %s %.*s", who, act->zone_name.size, act->zone_name.bytes);
        break;
    }
}

static void report_acts(struct node *node, const struct plan *plan, struct report *report)
{
    char name[32], text[ACT_BYTES];

    report_u64(report, NULL, "acts", plan->count);
    for (unsigned i = 0; i < plan->count; i++) {
        snprintf(name, sizeof name, "act_%u", i + 1);
        describe_act(node, &plan->acts[i], text);
        report_text(report, NULL, name, text);
    }
}

static void report_refusal(struct node *node, const struct plan *plan, unsigned failed,
                           enum membership_answer answer, struct report *report)
{
    char text[ACT_BYTES] = "this";

    if (failed < plan->count)
        describe_act(node, &plan->acts[failed], text);
    switch (answer) {
    case MEMBERSHIP_DONE:
    case MEMBERSHIP_ALREADY: break;
    case MEMBERSHIP_UNKNOWN: report_client_error(report, "%s: there is no such node", text); break;
    case MEMBERSHIP_IS_GONE:
        report_client_error(report, "%s: that node is gone for good", text);
        break;
    case MEMBERSHIP_NAME_TAKEN:
        report_client_error(report, "%s: there is a node of that name, restart or replace it",
                            text);
        break;
    case MEMBERSHIP_FULL:
        report_client_error(report, "%s: a cluster has at most %u nodes", text, RING_MEMBERS_MAX);
        break;
    case MEMBERSHIP_BAD:
        report_server_error(report, "%s cannot be done now: the log may say why", text);
        break;
    }
}

/* What one copy of each partition takes, about: as much as here, on the average.  Gives an array
 * to free(), or NULL: nothing is known. */
static uint64_t *estimate_bytes(struct node *node)
{
    unsigned owned[RING_MEMBERS_MAX], partitions = ring_table_partitions(node->table);
    int self = ring_table_find_member(node->table, node->id);
    struct store_stats stats;
    uint64_t *bytes;

    ring_table_count(node->table, owned, NULL);
    if (self < 0 || owned[self] == 0)
        return NULL;
    bytes = calloc(partitions, sizeof *bytes);
    if (bytes == NULL)
        return NULL;
    store_stats(node->store, &stats);
    for (unsigned i = 0; i < partitions; i++)
        bytes[i] = stats.bytes / owned[self];
    return bytes;
}

static void report_balance(const struct plan_balance *balance, const char *when,
                           struct report *report)
{
    const struct {
        const char *name;
        unsigned value;
    } lines[] = {{"peak_permille", balance->peak_permille},
                 {"peak_first_permille", balance->peak_first_permille},
                 {"zones_violated", balance->zones_violated},
                 {"owners_missing", balance->owners_missing}};
    char name[64];

    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        snprintf(name, sizeof name, "%s_%s", lines[i].name, when);
        report_u64(report, NULL, name, lines[i].value);
    }
}

static void report_plan_node(struct node *node, const struct plan *plan,
                             const struct plan_node *one, struct report *report)
{
    char name[MEMBER_NAME_MAX + 1];
    const char *who = node_name_of(node, one->id, name);

    for (unsigned i = 0; i < plan->count; i++) {
        const struct member_record *joiner = &plan->acts[i].joiner;

        if (plan->acts[i].type == PLAN_JOIN && joiner->id == one->id) {
            snprintf(name, sizeof name, "%.*s", joiner->name.size, joiner->name.bytes);
            who = name;
        }
    }
    report_u64(report, who, "owned_before", one->owned_before);
    report_u64(report, who, "owned_after", one->owned_after);
    report_u64(report, who, "first_before", one->first_before);
    report_u64(report, who, "first_after", one->first_after);
    report_u64(report, who, "gained", one->gained);
    report_u64(report, who, "lost", one->lost);
    report_u64(report, who, "bytes_gained", one->bytes_gained);
    report_u64(report, who, "bytes_lost", one->bytes_lost);
}

static void report_preview(struct node *node, const struct plan *plan,
                           const struct plan_report *preview, struct report *report)
{
    report_acts(node, plan, report);
    report_u64(report, NULL, "partitions_moved", preview->partitions_moved);
    report_u64(report, NULL, "bytes_moved", preview->bytes_moved);
    report_u64(report, NULL, "first_moved", preview->first_moved);
    report_u64(report, NULL, "tables", preview->tables);
    report_balance(&preview->before, "before", report);
    report_balance(&preview->after, "after", report);
    for (unsigned i = 0; i < preview->node_count; i++)
        report_plan_node(node, plan, &preview->nodes[i], report);
}

/* What claim says, when there is no table that all these members could have. */
static bool claim_is_possible(const struct plan_report *preview)
{
    return preview->answer == CLAIM_NEXT || preview->answer == CLAIM_MET;
}

/* Reports what the plan would do; false: it cannot be done, and the report says why. */
static bool preview_plan(struct node *node, const struct plan *plan, struct report *report)
{
    struct plan_report *preview = malloc(sizeof *preview);
    uint64_t *bytes = estimate_bytes(node);
    enum membership_answer answer = MEMBERSHIP_BAD;
    unsigned failed = 0;
    bool is_possible = false;

    if (preview != NULL)
        answer = node_preview(node, plan, bytes, preview, &failed);
    if (answer != MEMBERSHIP_DONE && answer != MEMBERSHIP_ALREADY)
        report_refusal(node, plan, failed, answer, report);
    else if (!claim_is_possible(preview))
        report_client_error(report, "no node would be left to own anything");
    else {
        report_preview(node, plan, preview, report);
        is_possible = true;
    }
    free(bytes);
    free(preview);
    return is_possible;
}

/* --- plan, commit, and acts of their own --- */

void node_plan(struct node *node, struct operator_job *job)
{
    struct wish wish = {node, &job->report, job->count == 0 ? 0 : job->count - 1, job->words + 1,
                        &desk.plan};
    unsigned count = desk.plan.count;

    if (!node_has_table_or_report(node, &job->report))
        return;
    if (job->count == 1 && word_is(job->words[0], "clear"))
        desk.plan.count = 0;
    else if (job->count != 0 && !add_wish(&wish, job->words[0]))
        desk.plan.count = count;
    if (job->report.error[0] == '\0' && !preview_plan(node, &desk.plan, &job->report))
        desk.plan.count = count;
}

void node_count_reachable(const struct node *node, unsigned *reachable, unsigned *of)
{
    *reachable = 0;
    *of = node->table == NULL ? 0 : node->table->member_count;
    for (unsigned i = 0; i < *of; i++)
        *reachable += liveness_is_reachable(&node->liveness, node->table->members[i].id);
}

static bool has_majority_or_report(const struct node *node, struct report *report)
{
    unsigned reachable, of;

    node_count_reachable(node, &reachable, &of);
    if (2 * reachable > of)
        return true;
    report_server_error(report,
                        "no majority of the nodes is reachable from here: %u of %u; force goes "
                        "ahead without, but see that nobody does so on the other side of a cut",
                        reachable, of);
    return false;
}

/* Carries the plan out, or reports why not. */
static bool commit(struct node *node, const struct plan *plan, bool is_forced,
                   struct report *report)
{
    enum membership_answer answer;
    unsigned failed = 0;

    if (!is_forced && !has_majority_or_report(node, report))
        return false;
    answer = node_commit(node, plan, is_forced, &failed);
    if (answer != MEMBERSHIP_DONE && answer != MEMBERSHIP_ALREADY) {
        report_refusal(node, plan, failed, answer, report);
        return false;
    }
    for (unsigned i = 0; i < plan->count; i++) {
        char text[ACT_BYTES];

        describe_act(node, &plan->acts[i], text);
        if (is_forced)
            log_warning("an operator: %s, by force, with a majority or without", text);
        else
            log_info("an operator: %s", text);
    }
    report_acts(node, plan, report);
    return true;
}

void node_carry_out(struct node *node, struct operator_job *job)
{
    struct report *report = &job->report;

    if (!node_has_table_or_report(node, report))
        return;
    if (desk.plan.count == 0) {
        report_client_error(report, "nothing is planned at this node: plan an act, at the node "
                                    "that is to commit it");
        return;
    }
    for (unsigned i = 0; i < desk.plan.count; i++)
        if (desk.plan.acts[i].type == PLAN_JOIN) {
            report_client_error(report, "the plan has a join: a node joins when it is started with "
                                        "--join; plan clear, and plan the rest again");
            return;
        }
    if (commit(node, &desk.plan, job->is_forced, report))
        desk.plan.count = 0;
}

void node_do_act(struct node *node, struct operator_job *job)
{
    struct plan *plan = calloc(1, sizeof *plan);
    struct wish wish = {node, &job->report, job->count, job->words, plan};
    struct slice name = {(const unsigned char *)job->name, strlen(job->name)};
    struct report preview;

    report_init(&preview);
    if (plan == NULL) {
        report_server_error(&job->report, "out of memory");
    } else if (node_has_table_or_report(node, &job->report) && add_wish(&wish, name)) {
        if (preview_plan(node, plan, &preview))
            commit(node, plan, job->is_forced, &job->report);
        else
            memcpy(job->report.error, preview.error, sizeof preview.error);
    }
    report_deinit(&preview);
    free(plan);
}

/* --- what is under way --- */

static void compute_moves(struct node *node, struct node_moves *moves)
{
    static const struct plan nothing;
    struct plan_report *preview = malloc(sizeof *preview);
    unsigned failed;

    enum membership_answer answer = MEMBERSHIP_BAD;

    *moves = (struct node_moves){0};
    if (preview != NULL)
        answer = node_preview(node, &nothing, NULL, preview, &failed);
    if (answer == MEMBERSHIP_DONE || answer == MEMBERSHIP_ALREADY) {
        moves->is_settled = preview->answer == CLAIM_MET;
        moves->partitions_moved = preview->partitions_moved;
        moves->zones_violated = preview->before.zones_violated;
        moves->owners_missing = preview->before.owners_missing;
    }
    free(preview);
    for (unsigned i = 0; i < node->membership.count; i++) {
        enum member_status status = node->membership.records[i].status;

        moves->coming_or_going += status == MEMBER_JOINING || status == MEMBER_LEAVING;
    }
    moves->is_settled = moves->is_settled && moves->coming_or_going == 0;
}

bool node_moves_of(struct node *node, struct node_moves *moves)
{
    *moves = (struct node_moves){0};
    if (node->table == NULL)
        return false;
    if (!desk.moves_are_known || desk.digest != node->membership.digest ||
        ring_version_compare(desk.version, node->table->version) != 0) {
        compute_moves(node, &desk.moves);
        desk.digest = node->membership.digest;
        desk.version = node->table->version;
        desk.moves_are_known = true;
    }
    *moves = desk.moves;
    return true;
}

/* --- repair, drain --- */

unsigned node_repair_left(struct node *node)
{
    struct repair_stats stats;
    unsigned left = 0;

    node_repair_stats(node, &stats);
    for (unsigned i = 0; i < desk.asked_count; i++) {
        bool is_left = false;

        for (unsigned k = 0; k < stats.peer_count; k++) {
            const struct repair_stats_peer *peer = &stats.peers[k];

            if (peer->id == desk.asked[i].id && peer->is_differing &&
                (peer->is_walking || peer->walks == desk.asked[i].walks))
                is_left = liveness_is_reachable(&node->liveness, peer->id);
        }
        if (is_left)
            desk.asked[left++] = desk.asked[i];
    }
    desk.asked_count = left;
    return left;
}

void node_begin_repair(struct node *node, struct operator_job *job)
{
    struct repair_stats stats;
    uint64_t partition;

    if (!node_has_table_or_report(node, &job->report))
        return;
    if (job->count == 1 && (!number_parse_u64(job->words[0], &partition) ||
                            partition >= ring_table_partitions(node->table))) {
        report_client_error(&job->report, "a partition is a number from 0 to %u",
                            ring_table_partitions(node->table) - 1);
        return;
    }
    node_repair_stats(node, &stats);
    desk.asked_count = stats.peer_count;
    for (unsigned i = 0; i < stats.peer_count; i++) {
        desk.asked[i].id = stats.peers[i].id;
        desk.asked[i].walks = stats.peers[i].walks;
    }
    node_repair_now(node);
    report_u64(&job->report, NULL, "asked_left", node_repair_left(node));
}

bool node_is_draining(void)
{
    return desk.is_draining;
}

void node_drain(struct node *node, struct operator_job *job)
{
    desk.is_draining = true;
    hint_queue_close(node_repair_hints(node->repair));
    log_info("an operator: drain; hints are handed over, and no new ones taken");
    report_bool(&job->report, NULL, "is_draining", true);
}

/* --- debug --- */

static void set_cut(struct node *node, struct operator_job *job, bool is_cut)
{
    node_id id = node_find_or_report(node, job->words[0], &job->report);

    if (id != NODE_NONE && !node_cut(node, id, is_cut))
        report_client_error(&job->report, "a node cannot be cut off from itself");
}

void node_debug_cut(struct node *node, struct operator_job *job)
{
    set_cut(node, job, true);
}

void node_debug_heal(struct node *node, struct operator_job *job)
{
    set_cut(node, job, false);
}

void node_debug_repair(struct node *node, struct operator_job *job)
{
    if (node_has_table_or_report(node, &job->report))
        node_repair_now(node);
}

void node_debug_handoff(struct node *node, struct operator_job *job)
{
    if (node_has_table_or_report(node, &job->report))
        node_handoff_now(node);
}
