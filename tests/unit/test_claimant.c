/* Several claimants over a network that delays, loses, doubles and reorders, is cut in two and one
 * way, while nodes join, leave, crash and come back empty; then it heals.  Built once for each rule
 * that can be broken (CLAIMANT_BREAKS): then the promise that rests on it has to be found broken.
 */
#include "ring/claimant.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "tests/unit/random.h"

#define NODES     9
#define BITS      4
#define COPIES    3
#define QUEUE_MAX 4096
#define ROUND_MS  10
#define QUIET_MS  30
#define TABLES    4096
#define ROUNDS    400 /* of faults */
#define SEEDS     300
#define HEALING   600 /* rounds in which all has to settle */

enum promise {
    PROMISE_MAJORITY,   /* no table is published on one that no majority ever held, unless forced */
    PROMISE_ONE_OWNER,  /* at most one owner of a partition changes per table */
    PROMISE_WARM,       /* nor before those who can be reached are warm under the one before */
    PROMISE_ONE_TABLE,  /* after healing all have one table and one membership, and nobody talks */
    PROMISE_AS_WANTED,  /* and that table is the one that claim wants; who left is gone */
    PROMISE_GONE_STAYS, /* who went never comes back */
    PROMISE_NEWER       /* no node goes back to an older table */
};

struct node {
    bool is_running, was_member;
    struct membership membership;
    struct claimant claimant;
    unsigned char rows[2 * RING_ROWS_BYTES(BITS, COPIES)];
    uint64_t incarnation;
    bool is_warm; /* what it tells */
    bool is_holding;
    unsigned rounds_to_warm;
    bool reaches[NODES + 1];
    bool knows_gone[NODES + 1];
};

struct envelope {
    unsigned from, to;
    bool is_ping;
    struct ping ping;
    struct claimant_message message;
    unsigned char *bytes;
};

static struct node nodes[NODES + 1]; /* by id, from 1 */
static bool is_cut[NODES + 1][NODES + 1];
static struct envelope queue[QUEUE_MAX];
static unsigned queued, sent_others;
static uint64_t now_ms, seed;
static struct random dice;
static bool is_healing, was_forced;
static struct claimant_work work;
/* Each table that there was; who ever held it, and in which incarnation it was warm last. */
static struct held {
    struct claimant_mark mark;
    unsigned by; /* a bit per node */
    uint64_t warm[NODES + 1];
} tables[TABLES];
static unsigned table_count;
static unsigned published, joined, contested, forced;

static void broken(enum promise promise, const char *what)
{
#ifdef CLAIMANT_FINDS
    if (promise != CLAIMANT_FINDS)
        return; /* another promise that rests on the same rule: go on */
    printf("found broken: %s\n", what);
    exit(0);
#endif
    fail_msg("seed %" PRIu64 ": promise %d: %s", seed, (int)promise, what);
}

static void require(bool is_kept, enum promise promise, const char *what)
{
    if (!is_kept)
        broken(promise, what);
}

static bool mark_equal(struct claimant_mark a, struct claimant_mark b)
{
    return ring_version_compare(a.version, b.version) == 0 && a.digest == b.digest;
}

static struct claimant_mark mark_of(const struct ring_table *table)
{
    if (table->version.epoch == 0)
        return (struct claimant_mark){0};
    return (struct claimant_mark){table->version, claimant_table_digest(table)};
}

static struct held *find_held(struct claimant_mark mark)
{
    for (unsigned i = 0; i < table_count; i++)
        if (mark_equal(tables[i].mark, mark))
            return &tables[i];
    assert_true(table_count < TABLES);
    tables[table_count] = (struct held){.mark = mark};
    return &tables[table_count++];
}

static void note_held(unsigned id)
{
    struct claimant_mark mark = mark_of(claimant_table(&nodes[id].claimant));
    if (mark.version.epoch > 0)
        find_held(mark)->by |= 1u << id;
}

/* Messages. */

static void put(struct envelope envelope)
{
    if (queued == QUEUE_MAX || is_cut[envelope.from][envelope.to] ||
        (!is_healing && random_chance(&dice, 10))) {
        free(envelope.bytes);
        return;
    }
    queue[queued++] = envelope;
}

static void send_ping(unsigned from, unsigned to)
{
    struct envelope envelope = {.from = from, .to = to, .is_ping = true};
    static const unsigned char bits[] = {1};

    claimant_fill_ping(&nodes[from].claimant, &envelope.ping);
    envelope.ping.incarnation = nodes[from].incarnation;
    if (!nodes[from].is_warm)
        envelope.ping.warming = (struct slice){bits, 1};
    put(envelope);
}

static void send_message(unsigned from, const struct claimant_send *send)
{
    struct envelope envelope = {.from = from, .to = (unsigned)send->to};

    assert_in_range(send->to, 1, NODES);
    envelope.bytes = malloc(claimant_message_bytes(&nodes[from].claimant, send) + 1);
    assert_non_null(envelope.bytes);
    claimant_compose(&nodes[from].claimant, send, envelope.bytes, &envelope.message);
    sent_others++;
    put(envelope);
}

/* What must hold of a table that was just published. */

/* Of those whom the claimant can reach; and of a restart that it knows, only what was since. */
static void check_warm(unsigned id, unsigned other, const struct held *before)
{
    const struct claimant_peer *peer = claimant_find_peer(&nodes[id].claimant, other);
    const struct member_record *record = membership_find(&nodes[id].membership, other);

    if (peer == NULL || !peer->is_reachable || (record == NULL && was_forced))
        return;
    assert_non_null(record);
    if (record->status == MEMBER_GONE)
        return;
    require(before->warm[other] >= record->incarnation, PROMISE_WARM,
            "a table was published while a node still warmed under the one before");
}

static void check_published(unsigned id, bool is_forced)
{
    const struct claimant *claimant = &nodes[id].claimant;
    const struct ring_table *before = &claimant->before, *after = &claimant->table;
    struct ring_change change;
    unsigned members = 0, next = 0, holders;

    published++;
    for (unsigned i = 0; i < before->member_count; i++)
        members |= 1u << before->members[i].id;
    holders = (unsigned)__builtin_popcount(find_held(mark_of(before))->by & members);
    require((is_forced && was_forced) || 2 * holders > before->member_count, PROMISE_MAJORITY,
            "a table was published on one that no majority ever held");
    while (ring_table_next_change(before, after, next, &change)) {
        require(change.gained_count <= 1 && change.lost_count <= 1, PROMISE_ONE_OWNER,
                "two owners of a partition changed");
        next = change.partition + 1;
    }
    for (unsigned i = 0; i < before->member_count; i++)
        check_warm(id, (unsigned)before->members[i].id, find_held(mark_of(before)));
}

static void step(unsigned id, struct claimant_event event)
{
    struct node *node = &nodes[id];
    struct claimant_effects effects;
    struct claimant_mark before = mark_of(claimant_table(&node->claimant));

    claimant_effects_init(&effects, NULL);
    event.now_ms = now_ms;
    claimant_step(&node->claimant, &event, &effects);
    assert_true(membership_is_sound(&node->membership));
    for (unsigned i = 0; i < effects.send_count; i++)
        send_message(id, &effects.sends[i]);
    if (effects.has_published)
        check_published(id, effects.was_forced);
    if (effects.has_adopted) {
        const struct ring_table *table = claimant_table(&node->claimant);
        require(before.version.epoch == 0 ||
                    ring_version_compare(table->version, before.version) >= 0,
                PROMISE_NEWER, "a node went back to an older table");
        contested += before.version.epoch == table->version.epoch;
        note_held(id);
        node->is_warm = false;
        node->rounds_to_warm = random_below(&dice, 6);
    }
    for (unsigned other = 1; other <= NODES; other++) {
        const struct member_record *record = membership_find(&node->membership, other);
        bool is_gone = record != NULL && record->status == MEMBER_GONE;
        require(is_gone || !node->knows_gone[other], PROMISE_GONE_STAYS,
                "a node that went came back");
        node->knows_gone[other] = is_gone;
    }
}

static void tell(unsigned id, enum claimant_event_type type)
{
    step(id, (struct claimant_event){.type = type});
}

/* Life. */

static struct member_record record_of(unsigned id)
{
    struct member_record record = {.id = id,
                                   .incarnation = nodes[id].incarnation,
                                   .weight = 1 + random_below(&dice, 3),
                                   .zone = id % 4};

    record.name.size = 1;
    record.name.bytes[0] = (char)('a' + id);
    return record;
}

static void start(unsigned id, const struct membership *known)
{
    struct node *node = &nodes[id];
    struct claimant_config config = {
        .self = id, .copies = COPIES, .ask_retry_ms = 50, .quiet_ms = QUIET_MS};

    node->is_running = true;
    memset(node->reaches, 0, sizeof node->reaches);
    node->is_warm = node->is_holding = false;
    memset(node->knows_gone, 0, sizeof node->knows_gone);
    node->rounds_to_warm = random_below(&dice, 6);
    membership_init(&node->membership);
    membership_merge(&node->membership, known);
    claimant_init(&node->claimant, &config, &node->membership, &work, node->rows,
                  sizeof node->rows / 2);
}

static void found(unsigned count)
{
    static struct membership first;

    membership_init(&first);
    for (unsigned id = 1; id <= count; id++) {
        struct member_record record = record_of(id);
        assert_int_equal(membership_join(&first, &record, NODE_NONE), MEMBERSHIP_DONE);
    }
    for (unsigned id = 1; id <= count; id++) {
        start(id, &first);
        claimant_found(&nodes[id].claimant, 1, BITS);
        nodes[id].was_member = true;
        note_held(id);
    }
}

/* Some running node that has a table, other than `id`; 0 if there is none. */
static unsigned any_other(unsigned id)
{
    unsigned first = random_below(&dice, NODES);

    for (unsigned i = 0; i < NODES; i++) {
        unsigned other = 1 + (first + i) % NODES;
        if (other != id && nodes[other].is_running &&
            claimant_table(&nodes[other].claimant)->version.epoch > 0 &&
            membership_has(&nodes[other].membership, other))
            return other;
    }
    return 0;
}

static unsigned count_running(void)
{
    unsigned count = 0;
    for (unsigned id = 1; id <= NODES; id++)
        count += nodes[id].is_running && claimant_table(&nodes[id].claimant)->version.epoch > 0 &&
                 membership_has(&nodes[id].membership, id);
    return count;
}

/* A node that was never there asks any member; maybe to replace one. */
static void join(unsigned id)
{
    unsigned member = any_other(id);
    struct member_record record = record_of(id);
    node_id replaces = NODE_NONE;

    if (member == 0 || nodes[id].was_member || nodes[id].is_running || is_cut[id][member])
        return;
    if (random_chance(&dice, 20))
        replaces = 1 + random_below(&dice, NODES);
    if (count_running() <= 4 || replaces == member)
        replaces = NODE_NONE;
    if (membership_join(&nodes[member].membership, &record, replaces) != MEMBERSHIP_DONE)
        return;
    joined++;
    start(id, &nodes[member].membership);
    nodes[id].was_member = true;
    tell(member, CLAIMANT_ACTED);
}

static void crash(unsigned id)
{
    if (!nodes[id].is_running || count_running() <= 3)
        return;
    nodes[id].is_running = false;
    for (unsigned other = 1; other <= NODES; other++)
        nodes[id].reaches[other] = false;
}

static void come_back(unsigned id)
{
    unsigned member = any_other(id);

    if (member == 0 || nodes[id].is_running || !nodes[id].was_member ||
        !membership_has(&nodes[member].membership, id))
        return;
    start(id, &nodes[member].membership);
    membership_restart(&nodes[id].membership, id, ++nodes[id].incarnation,
                       &(struct member_address){0});
    nodes[id].incarnation = membership_find(&nodes[id].membership, id)->incarnation;
    tell(id, CLAIMANT_ACTED);
}

static void act(unsigned id)
{
    unsigned at = any_other(0);
    enum membership_answer answer = MEMBERSHIP_ALREADY;

    if (at == 0)
        return;
    switch (random_below(&dice, 4)) {
    case 0:
    case 1:
        answer = membership_set_weight(&nodes[at].membership, id, random_below(&dice, 4));
        break;
    case 2:
        if (membership_live_count(&nodes[at].membership) > 3)
            answer = membership_leave(&nodes[at].membership, id);
        break;
    case 3: /* a dead one */
        if (!nodes[id].is_running && count_running() > 3)
            answer = membership_remove(&nodes[at].membership, id);
        break;
    }
    if (answer == MEMBERSHIP_DONE)
        tell(at, CLAIMANT_ACTED);
}

static void cut(void)
{
    bool is_side[NODES + 1], is_one_way = random_chance(&dice, 30);

    for (unsigned id = 1; id <= NODES; id++)
        is_side[id] = random_chance(&dice, 40);
    for (unsigned a = 1; a <= NODES; a++)
        for (unsigned b = 1; b <= NODES; b++)
            is_cut[a][b] = is_side[a] != is_side[b] && (!is_one_way || is_side[a]);
    if (random_chance(&dice, 30)) { /* one pair only: not everybody sees the same */
        memset(is_cut, 0, sizeof is_cut);
        unsigned a = 1 + random_below(&dice, NODES), b = 1 + random_below(&dice, NODES);
        is_cut[a][b] = is_cut[b][a] = true;
    }
}

static void trouble(void)
{
    unsigned id = 1 + random_below(&dice, NODES);

    switch (random_below(&dice, 24)) {
    case 0: join(id); break;
    case 1: act(id); break;
    case 2: cut(); break;
    case 3: memset(is_cut, 0, sizeof is_cut); break;
    case 4: crash(id); break;
    case 5:
    case 6: come_back(id); break;
    case 7:
        if (nodes[id].is_running && random_chance(&dice, 5)) {
            was_forced = true;
            tell(id, CLAIMANT_FORCE);
        }
        break;
    case 8: /* faster than anybody notices */
        crash(id);
        come_back(id);
        break;
    default: break;
    }
}

/* Each has its own opinion, which follows the links after a while. */
static void update_reach(unsigned a, unsigned b)
{
    bool is_open = nodes[b].is_running && !is_cut[a][b] && !is_cut[b][a];

    if (a == b || nodes[a].reaches[b] == is_open || !random_chance(&dice, 30))
        return;
    nodes[a].reaches[b] = is_open;
    step(a, (struct claimant_event){.type = is_open ? CLAIMANT_REACHABLE : CLAIMANT_UNREACHABLE,
                                    .from = b});
}

static void warm(unsigned id)
{
    struct node *node = &nodes[id];

    if (claimant_table(&node->claimant)->version.epoch == 0 || node->is_warm)
        return;
    if (node->rounds_to_warm > 0) {
        node->rounds_to_warm--;
        return;
    }
    node->is_warm = true;
    find_held(mark_of(claimant_table(&node->claimant)))->warm[id] = node->incarnation;
    step(id, (struct claimant_event){
                 .type = CLAIMANT_WARMED, .is_warm = true, .is_holding = node->is_holding});
}

static void deliver(void)
{
    for (unsigned i = queued; i > 0 && queued > 0; i--) {
        unsigned at = random_below(&dice, queued);
        struct envelope envelope = queue[at];
        bool is_doubled = !is_healing && random_chance(&dice, 5);
        if (!is_healing && random_chance(&dice, 30))
            continue;
        if (!is_doubled)
            queue[at] = queue[--queued];
        if (nodes[envelope.to].is_running && !is_cut[envelope.from][envelope.to])
            step(envelope.to, (struct claimant_event){.type = envelope.is_ping ? CLAIMANT_PING
                                                                               : CLAIMANT_MESSAGE,
                                                      .from = envelope.from,
                                                      .ping = &envelope.ping,
                                                      .message = &envelope.message});
        if (!is_doubled)
            free(envelope.bytes);
    }
}

static void run_round(void)
{
    now_ms += ROUND_MS;
    deliver();
    for (unsigned a = 1; a <= NODES; a++) {
        if (!nodes[a].is_running)
            continue;
        for (unsigned b = 1; b <= NODES; b++) {
            update_reach(a, b);
            if (a != b && random_chance(&dice, is_healing ? 30 : 15))
                send_ping(a, b);
        }
        warm(a);
        if (now_ms >= claimant_deadline_ms(&nodes[a].claimant))
            tell(a, CLAIMANT_TICK);
    }
}

/* Shows what every node has, for whoever looks into a seed that failed. */
static void show(void)
{
    for (unsigned id = 1; id <= NODES; id++) {
        const struct node *node = &nodes[id];
        if (!node->was_member)
            continue;
        print_message("node %u %s: table %" PRIu64 ".%" PRIu64 " state %d, claimant %" PRIu64
                      ", %s; members:",
                      id, node->is_running ? "runs" : "is down", node->claimant.table.version.epoch,
                      node->claimant.table.version.claimant, (int)node->claimant.state,
                      claimant_of(&node->claimant), node->is_warm ? "warm" : "warms");
        for (unsigned i = 0; i < node->membership.count; i++)
            print_message(" %" PRIu64 "%c%" PRIu64, node->membership.records[i].id,
                          "julg"[node->membership.records[i].status],
                          node -> membership.records[i].incarnation);
        print_message("; peers:");
        for (unsigned i = 0; i < node->claimant.peer_count; i++) {
            const struct claimant_peer *peer = &node->claimant.peers[i];
            print_message(" %" PRIu64 ":%s%s%s%" PRIu64 "@%" PRIu64 ".%" PRIu64, peer->id,
                          peer->is_reachable ? "r" : "", peer->has_gained ? "g" : "",
                          peer->is_warm ? "w" : "", peer->incarnation, peer->mark.version.epoch,
                          peer->mark.version.claimant);
        }
        print_message("\n");
    }
}

/* Whether nobody is to own anything: then all stays as it is. */
static bool wants_nobody(const struct node *node)
{
    struct ring_member members[RING_MEMBERS_MAX];
    unsigned count = membership_claimers(&node->membership, members), weight = 0;

    for (unsigned i = 0; i < count; i++)
        weight += members[i].weight;
    return weight == 0;
}

static bool has_settled(void)
{
    const struct node *first = NULL;

    for (unsigned id = 1; id <= NODES; id++) {
        const struct node *node = &nodes[id];
        if (!node->is_running || !membership_has(&node->membership, id))
            continue;
        if (first == NULL)
            first = node;
        if (node->membership.digest != first->membership.digest ||
            !mark_equal(mark_of(&node->claimant.table), mark_of(&first->claimant.table)))
            return false;
        if (claimant_of(&node->claimant) == id && node->claimant.need != CLAIMANT_COMPLETE)
            return false;
        for (unsigned i = 0; i < node->membership.count && !wants_nobody(node); i++)
            if (node->membership.records[i].status == MEMBER_JOINING ||
                node->membership.records[i].status == MEMBER_LEAVING)
                return false;
    }
    return true;
}

static void check_wanted(void)
{
    struct ring_member members[RING_MEMBERS_MAX];
    unsigned id = any_other(0);

    assert_int_not_equal(id, 0);
    struct claim_input input = {.members = members,
                                .count = membership_claimers(&nodes[id].membership, members),
                                .copies = COPIES,
                                .claimant = id,
                                .before = claimant_table(&nodes[id].claimant)};
    enum claim_answer answer = claim_next(&work.claim, &input, &work.table);
    require(answer == CLAIM_MET || answer == CLAIM_NOBODY, PROMISE_AS_WANTED,
            "the table is not as the members want it");
}

/* Where an operator removed so many that the others are no majority any more, it takes force. */
static void force_if_most_went(unsigned id)
{
    const struct ring_table *table = claimant_table(&nodes[id].claimant);
    unsigned left = 0;

    if (!nodes[id].is_running || nodes[id].claimant.state != CLAIMANT_MINORITY)
        return;
    for (unsigned i = 0; i < table->member_count; i++)
        left += membership_has(&nodes[id].membership, table->members[i].id);
    if (2 * left > table->member_count)
        return;
    unsigned at = any_other(0);
    if (at == 0)
        return;
    was_forced = true;
    forced++;
    tell(at, CLAIMANT_FORCE); /* who passes it on to the claimant */
}

/* All links are good and all who belong to the cluster run: it has to come to rest. */
static void heal_and_settle(void)
{
    unsigned rounds = 0;

    is_healing = true;
    memset(is_cut, 0, sizeof is_cut);
    for (unsigned id = 1; id <= NODES; id++)
        for (unsigned tries = 0; tries < 5; tries++)
            come_back(id);
    while (rounds < HEALING && !has_settled()) {
        run_round();
        rounds++;
        if (rounds % 50 == 0)
            for (unsigned id = 1; id <= NODES; id++) {
                come_back(id);
                force_if_most_went(id);
            }
    }
    if (!has_settled())
        show();
    require(has_settled(), PROMISE_ONE_TABLE, "the nodes did not settle on one table");
    for (rounds = 0; rounds < 30; rounds++) /* what is under way, and news of what is settled */
        run_round();
    sent_others = 0;
    for (rounds = 0; rounds < 30; rounds++)
        run_round();
    require(has_settled(), PROMISE_ONE_TABLE, "the nodes did not stay settled");
    if (!has_settled() || sent_others > 0)
        show();
    require(sent_others == 0, PROMISE_ONE_TABLE, "a settled cluster still talks");
    check_wanted();
}

static void reset(void)
{
    while (queued > 0)
        free(queue[--queued].bytes);
    memset(nodes, 0, sizeof nodes);
    memset(is_cut, 0, sizeof is_cut);
    dice = (struct random){seed};
    is_healing = was_forced = false;
    table_count = 0;
    now_ms = 1000;
    for (unsigned id = 1; id <= NODES; id++)
        nodes[id].incarnation = 1;
}

static void live_through(void)
{
    reset();
    found(3 + random_below(&dice, 4));
    for (unsigned round = 0; round < ROUNDS; round++) {
        trouble();
        run_round();
    }
    heal_and_settle();
}

static void nodes_settle_on_one_table_whatever_happened_before(void **state)
{
    const char *only = getenv("CLAIMANT_SEED");

    (void)state;
    for (seed = 1; seed <= SEEDS; seed++) {
        if (only != NULL)
            seed = strtoull(only, NULL, 10);
        live_through();
        if (only != NULL)
            break;
    }
#ifdef CLAIMANT_FINDS
    fail_msg("promise %d was not found broken", (int)CLAIMANT_FINDS);
#endif
    print_message("%u tables, %u joins, %u times two of one epoch met, %u times forced\n",
                  published, joined, contested, forced);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_settle_on_one_table_whatever_happened_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
