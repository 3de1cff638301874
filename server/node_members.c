/* Who a node is (ring/restart.h), who belongs to its cluster, and the ring table (ring/claimant.h).
 * tests/sim/members.c is the model. */
#include "ring/claimant.h"
#include "server/clock.h"
#include "server/log.h"
#include "server/node.h"
#include "server/node_inside.h"
#include "server/settings.h"
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sysexits.h>

#define RETRY_MS         250   /* until a question is asked again */
#define QUIET_MS         2000  /* without a change, before a table is made */
#define NAME_FREE_MS     10000 /* a node that went is not seen by others after so long */
#define COMPLAIN_MS      2000  /* when nobody has answered so far, */
#define COMPLAIN_EACH_MS 30000

static size_t rows_bytes(void)
{
    return RING_ROWS_BYTES(settings.partition_bits, node_copies());
}

bool node_members_init(struct node *node)
{
    struct node_inside *inside = node->inside;

    inside->work = calloc(1, sizeof *inside->work);
    inside->claimant_rows = calloc(2, rows_bytes());
    return inside->work != NULL && inside->claimant_rows != NULL;
}

void node_members_deinit(struct node *node)
{
    struct node_inside *inside = node->inside;

    cluster_table_release(inside->table);
    cluster_table_release(inside->table_before);
    free(inside->claimant_rows);
    free(inside->work);
}

/* --- what is said --- */

static struct ring_trace *trace_for(struct ring_trace *trace)
{
    ring_trace_clear(trace);
    return log_shows_debug() ? trace : NULL;
}

static void say(struct ring_trace *trace)
{
    char *state = NULL;

    if (trace->used == 0)
        return;
    for (char *line = strtok_r(trace->text, "\n", &state); line != NULL;
         line = strtok_r(NULL, "\n", &state))
        log_debug("cluster: %s", line);
}

static const char *status_text(enum member_status status)
{
    switch (status) {
    case MEMBER_JOINING: return "joins";
    case MEMBER_UP: return "is up";
    case MEMBER_LEAVING: return "leaves";
    case MEMBER_GONE: return "has gone";
    }
    return "";
}

/* Says whose status is another one than was said last. */
void node_members_log(struct node *node)
{
    struct node_inside *inside = node->inside;

    for (unsigned i = 0; i < node->membership.count; i++) {
        const struct member_record *record = &node->membership.records[i];
        unsigned at = 0;
        while (at < inside->said_count && inside->said[at].id != record->id)
            at++;
        bool is_new = at == inside->said_count;
        if (!is_new && inside->said[at].status == record->status)
            continue;
        if (is_new && inside->said_count < MEMBERSHIP_RECORDS_MAX)
            inside->said_count++;
        else if (is_new)
            at = 0;
        inside->said[at].id = record->id;
        inside->said[at].status = record->status;
        if (record->id != node->id || !is_new)
            log_notice("node %.*s %s", record->name.size, record->name.bytes,
                       status_text(record->status));
    }
}

/* --- messages --- */

static void send_claimant(struct node *node, const struct claimant_send *send)
{
    struct peer_message message = {.type = PEER_CLAIMANT};
    unsigned char *bytes = malloc(claimant_message_bytes(&node->claimant, send) + 1);

    if (bytes == NULL) {
        log_warning("out of memory for a message to node %" PRIu64, send->to);
        return;
    }
    claimant_compose(&node->claimant, send, bytes, &message.claimant);
    (void)node_links_tell(node, send->to, &message);
    free(bytes);
}

/* What a newcomer has to know besides the members. */
static struct peer_cluster cluster_of(const struct node *node, node_id named)
{
    const struct siphash_key *key = cluster_context_key(node->cluster);
    struct peer_cluster cluster = {0};

    if (!node->has_claimant || !membership_has(&node->membership, node->id))
        return cluster;
    cluster.is_known = true;
    cluster.partition_bits = (uint8_t)settings.partition_bits;
    cluster.copies = (uint8_t)node_copies();
    cluster.is_name_in_use =
        node->has_begun && named != NODE_NONE && liveness_is_reachable(&node->liveness, named);
    if (node->secret == NULL && key != NULL)
        cluster.context_key = *key;
    return cluster;
}

/* Gives the own membership, to be freed; no bytes when memory is short. */
static struct slice encoded(const struct node *node)
{
    unsigned char *bytes = malloc(membership_encoded_bytes(&node->membership));

    if (bytes == NULL)
        return (struct slice){0};
    return (struct slice){bytes, membership_encode(&node->membership, bytes)};
}

/* --- the claimant --- */

static void take_table(struct node *node)
{
    struct node_inside *inside = node->inside;
    struct cluster_table *next = cluster_table_copy(claimant_table(&node->claimant));

    if (next == NULL) {
        log_error("out of memory for a table of the ring");
        cluster_end_process(node->cluster, EX_OSERR);
        return;
    }
    cluster_table_release(inside->table_before);
    inside->table_before = inside->table;
    inside->table = next;
    inside->was_warm = false;
    node->table = &next->table;
    log_info("table %" PRIu64 ".%" PRIu64 " of %u nodes is in use", next->table.version.epoch,
             next->table.version.claimant, next->table.member_count);
    if (node->has_begun)
        node_repair_table(node);
    node_publish(node);
}

static void end_as(struct node *node, int exit_code, const char *why)
{
    log_error("%s", why);
    cluster_end_process(node->cluster, exit_code);
}

static void step_claimant(struct node *node, struct claimant_event event)
{
    struct claimant_effects effects;
    struct ring_trace trace;

    event.now_ms = node_now_ms(node);
    claimant_effects_init(&effects, trace_for(&trace));
    claimant_step(&node->claimant, &event, &effects);
    say(&trace);
    for (unsigned i = 0; i < effects.send_count; i++)
        send_claimant(node, &effects.sends[i]);
    if (effects.has_adopted && node->has_begun)
        take_table(node);
    if (effects.was_forced)
        log_warning("a table was published by force, without a majority of the members");
    if (effects.is_displaced)
        end_as(node, EX_CONFIG,
               "another process runs as the node of this name, or did: each node "
               "needs a --node-name of its own");
    if (effects.membership_changed || event.type == CLAIMANT_ACTED)
        node_change_peers(node);
    node_set_wake(node);
}

static void start_claimant(struct node *node, node_id self)
{
    const struct claimant_config config = {
        .self = self,
        .copies = node_copies(),
        .partition_bits = settings.partition_bits,
        .ask_retry_ms = (unsigned)node_wait_ms(RETRY_MS),
        .quiet_ms = (unsigned)node_wait_ms(QUIET_MS),
    };

    claimant_init(&node->claimant, &config, &node->membership, node->inside->work,
                  node->inside->claimant_rows, rows_bytes());
    node->has_claimant = true;
    node->inside->was_warm = node->inside->is_holding = false;
}

void node_members_reach(struct node *node, node_id peer, bool is_reachable)
{
    step_claimant(node, (struct claimant_event){.type = is_reachable ? CLAIMANT_REACHABLE
                                                                     : CLAIMANT_UNREACHABLE,
                                                .from = peer});
}

void node_members_hear_ping(struct node *node, const struct ping *ping)
{
    if (ping->clock != 0 && hlc_is_valid(ping->clock))
        membership_saw_clock(&node->membership, ping->from, ping->clock);
    step_claimant(node,
                  (struct claimant_event){.type = CLAIMANT_PING, .from = ping->from, .ping = ping});
}

void node_members_fill_ping(struct node *node, struct ping *ping)
{
    ping->clock = store_newest_time(node->store);
    claimant_fill_ping(&node->claimant, ping);
}

void node_members_tell_warmth(struct node *node)
{
    struct node_inside *inside = node->inside;
    bool is_warm = !node_is_warming(node), is_holding = node_is_holding(node);

    if (is_warm == inside->was_warm && is_holding == inside->is_holding)
        return;
    inside->was_warm = is_warm;
    inside->is_holding = is_holding;
    if (is_warm && membership_set_warm(&node->membership, node->id) == MEMBERSHIP_DONE)
        step_claimant(node, (struct claimant_event){.type = CLAIMANT_ACTED});
    step_claimant(node, (struct claimant_event){
                            .type = CLAIMANT_WARMED, .is_warm = is_warm, .is_holding = is_holding});
    node_publish(node);
}

enum membership_answer node_acted(struct node *node, enum membership_answer answer)
{
    if (answer == MEMBERSHIP_DONE)
        step_claimant(node, (struct claimant_event){.type = CLAIMANT_ACTED});
    return answer;
}

void node_force(struct node *node)
{
    step_claimant(node, (struct claimant_event){.type = CLAIMANT_FORCE});
}

bool node_members_has_gone(const struct node *node)
{
    const struct member_record *own = membership_find(&node->membership, node->id);

    return own != NULL && own->status == MEMBER_GONE;
}

/* --- it starts --- */

/* One that no node ever had. */
static node_id fresh_id(void)
{
    node_id id = NODE_NONE;

    while (id == NODE_NONE || id == NODE_ANY)
        if (getrandom(&id, sizeof id, 0) != sizeof id)
            id = clock_now_ms() << 20 ^ (uint64_t)clock_monotonic_ms();
    return id;
}

static struct slice text_of(const char *text)
{
    return (struct slice){(const unsigned char *)text, strlen(text)};
}

/* Equal names are equal zones; FNV-1a, 32 bits (Fowler, Noll, Vo). */
static uint32_t zone_number(struct slice name)
{
    uint32_t number = 2166136261u;

    for (size_t i = 0; i < name.size; i++)
        number = (number ^ name.bytes[i]) * 16777619u;
    return name.size == 0 ? 0 : number;
}

uint32_t node_zone_number(const struct member_name *name)
{
    return zone_number((struct slice){(const unsigned char *)name->bytes, name->size});
}

static struct member_record own_record(const struct node *node, node_id id)
{
    struct member_record record = {.id = id,
                                   .incarnation = node_wall_ms(node),
                                   .address = node->inside->own_address,
                                   .weight = settings.weight};
    bool is_name = member_name_set(&record.name, text_of(settings.node_name));

    assert(is_name); /* options.c has looked */
    if (settings.zone != NULL && member_name_set(&record.zone_name, text_of(settings.zone)))
        record.zone = node_zone_number(&record.zone_name);
    return record;
}

static void found(struct node *node)
{
    struct restart_config config = {.self = own_record(node, fresh_id())};
    struct siphash_key key;

    if (settings.weight == 0) {
        end_as(node, EX_CONFIG, "--weight 0: the first node of a cluster has to own something");
        return;
    }
    if (getrandom(key.bytes, sizeof key.bytes, 0) == sizeof key.bytes)
        cluster_set_context_key(node->cluster, &key);
    config.self.status = MEMBER_UP;
    config.self.is_warm = true;
    membership_join(&node->membership, &config.self, NODE_NONE);
    restart_init_founding(&node->restart, &config);
    node->id = config.self.id;
    node->incarnation = config.self.incarnation;
    log_notice("node %s founds a cluster of %u partitions, each on up to %u nodes%s",
               settings.node_name, 1u << settings.partition_bits, node_copies(),
               settings.state_file != NULL
                   ? ""
                   : "; started again it would found another one, unless --join or --state-file "
                     "is given then");
    start_claimant(node, node->id);
    claimant_found(&node->claimant, node->id, settings.partition_bits);
    take_table(node);
    if (node->table != NULL)
        node_begin(node, true);
}

static void on_refused(struct node *node)
{
    switch (node->restart.refusal) {
    case MEMBERSHIP_NAME_TAKEN:
        end_as(node, EX_CONFIG,
               "another node of the cluster has this name: choose another "
               "--node-name, or have that one leave or be removed first");
        return;
    case MEMBERSHIP_IS_GONE:
    case MEMBERSHIP_DONE:
    case MEMBERSHIP_ALREADY:
    case MEMBERSHIP_UNKNOWN:
    case MEMBERSHIP_FULL:
    case MEMBERSHIP_BAD:
        end_as(node, EX_CONFIG,
               "the cluster refuses to let this node join: its name, zone, weight "
               "or address are none");
        return;
    }
}

/* The machine has found out who this node is, or that it has to be another one. */
static void become(struct node *node, node_id id)
{
    const struct member_record *own = membership_find(&node->membership, id);

    node->id = id;
    node->incarnation = own != NULL ? own->incarnation : node->restart.config.self.incarnation;
    start_claimant(node, id);
    node->inside->must_relink = true;
}

static void step_restart(struct node *node, struct restart_event event)
{
    struct restart *restart = &node->restart;
    struct restart_effects effects = {0};
    struct ring_trace trace;

    event.now_ms = node_now_ms(node);
    event.wall_ms = node_wall_ms(node);
    event.membership = &node->membership;
    effects.trace = trace_for(&trace);
    enum restart_state before = restart->state;
    restart_step(restart, &event, &effects);
    say(&trace);
    if (effects.begins_incarnation)
        membership_restart(&node->membership, restart->id, event.wall_ms,
                           &node->inside->own_address);
    if (restart->id != NODE_NONE &&
        (!node->has_claimant || node->claimant.config.self != restart->id))
        become(node, restart->id);
    if (effects.asks_seeds) {
        struct peer_message message = {.type = PEER_RESTART_ASK,
                                       .restart_ask = restart_ask_message(restart)};
        node_links_tell_seeds(node, &message);
    }
    for (unsigned i = 0; i < effects.ask_count; i++) {
        struct peer_message message = {.type = PEER_RESTART_ASK,
                                       .restart_ask = restart_ask_message(restart)};
        node_links_tell(node, effects.asks[i], &message);
    }
    if (effects.joins_seeds) {
        struct peer_message message = {.type = PEER_RESTART_JOIN,
                                       .restart_join = restart_join_message(restart)};
        node_links_tell_next(node, &message);
    }
    if (restart->state != before && restart->state == RESTART_REFUSED)
        on_refused(node);
    node_set_wake(node);
}

void node_members_ask(struct node *node, struct peer_link *link)
{
    struct peer_message message = {.type = PEER_RESTART_ASK};

    switch (node->restart.state) {
    case RESTART_FINDING:
    case RESTART_ASKING: message.restart_ask = restart_ask_message(&node->restart); break;
    case RESTART_JOINING:
        message.type = PEER_RESTART_JOIN;
        message.restart_join = restart_join_message(&node->restart);
        break;
    case RESTART_READY:
    case RESTART_REFUSED: return;
    }
    (void)peer_link_send(link, &message, NULL);
}

/* Takes part once it knows its past and has a table. */
static void begin_if_ready(struct node *node)
{
    if (node->has_begun || !node->has_claimant || !restart_is_ready(&node->restart) ||
        node_members_has_gone(node))
        return;
    if (claimant_table(&node->claimant)->version.epoch == 0)
        return;
    take_table(node);
    if (node->table == NULL)
        return;
    node_begin(node, false);
    step_claimant(node, (struct claimant_event){.type = CLAIMANT_ACTED});
}

void node_members_on_claimant(struct node *node, node_id from,
                              const struct claimant_message *message)
{
    if (!node->has_claimant)
        return;
    step_claimant(
        node, (struct claimant_event){.type = CLAIMANT_MESSAGE, .from = from, .message = message});
    begin_if_ready(node);
}

/* Whether the state file is of another node than this, or this one has left. */
static bool is_stranger(const struct node *node, const struct member_record *own)
{
    return node->membership.count > 0 &&
           membership_find_name(&node->membership, &own->name) == NULL;
}

void node_members_start(struct node *node)
{
    struct node_inside *inside = node->inside;
    struct restart_config config = {.self = own_record(node, fresh_id()),
                                    .drift_max_ms = settings.clock_drift_max_ms,
                                    .retry_ms = node_wait_ms(RETRY_MS)};

    if (node->membership.count == 0 && settings.join == NULL) {
        found(node);
        return;
    }
    if (settings.join == NULL && is_stranger(node, &config.self)) {
        log_error("%s: node %s is no member of this cluster, or has left it: say --join to have it "
                  "join, or remove the file to found another cluster",
                  settings.state_file, settings.node_name);
        cluster_end_process(node->cluster, EX_CONFIG);
        return;
    }
    inside->started_ms = node_now_ms(node);
    inside->complain_at_ms = inside->started_ms + COMPLAIN_MS;
    node_links_find_seeds(node);
    restart_init(&node->restart, &config, inside->started_ms);
    node_members_wake(node);
}

/* --- what starting nodes say to each other --- */

/* Answers on the link on which it was asked: who starts may not know its id yet. */
static void answer_ask(struct node *node, struct peer_link *link, const struct restart_ask *ask)
{
    struct peer_message message = {.type = PEER_RESTART_ANSWER};
    struct slice membership = encoded(node);

    message.restart_answer.answer = restart_answer_to(&node->membership, ask, !node->has_begun);
    message.restart_answer.cluster = cluster_of(node, message.restart_answer.answer.id);
    message.restart_answer.membership = membership;
    if (membership.size > 0)
        (void)peer_link_send(link, &message, NULL);
    free((void *)membership.bytes);
}

static void answer_join(struct node *node, struct peer_link *link, const struct restart_join *join)
{
    struct peer_message message = {.type = PEER_RESTART_JOINED,
                                   .restart_joined.joined.id = join->joiner.id};

    if (!node->has_claimant || !membership_has(&node->membership, node->id))
        return;
    enum membership_answer answer =
        node_acted(node, membership_join(&node->membership, &join->joiner, join->replaces));
    message.restart_joined.joined.answer = answer;
    struct slice membership = encoded(node);
    message.restart_joined.cluster = cluster_of(node, NODE_NONE);
    message.restart_joined.membership = membership;
    if (membership.size > 0)
        (void)peer_link_send(link, &message, NULL);
    free((void *)membership.bytes);
}

/* Whether this node can be one of that cluster; if not, the process ends. */
static bool fits(struct node *node, const struct peer_cluster *cluster)
{
    if (!cluster->is_known)
        return true;
    if (cluster->partition_bits != settings.partition_bits) {
        log_error("the cluster has %u partitions, for good, and this node was given %u: say "
                  "--partitions %u",
                  1u << cluster->partition_bits, 1u << settings.partition_bits,
                  1u << cluster->partition_bits);
    } else if (cluster->copies != node_copies()) {
        log_error("the nodes of the cluster keep %u copies, and this one was given %u: say "
                  "--copies %u",
                  cluster->copies, node_copies(), cluster->copies);
    } else {
        return true;
    }
    cluster_end_process(node->cluster, EX_CONFIG);
    return false;
}

/* Whoever has the name may be this node in an earlier life, which others have yet to miss.  False:
 * wait. */
static bool has_name(struct node *node, const struct peer_cluster *cluster)
{
    struct node_inside *inside = node->inside;
    uint64_t now_ms = node_now_ms(node);

    if ((node->restart.state != RESTART_FINDING && node->restart.state != RESTART_ASKING) ||
        !cluster->is_name_in_use)
        return true;
    if (inside->name_in_use_ms == 0) {
        inside->name_in_use_ms = now_ms;
        log_warning("a process runs as node %s already, or did a moment ago: waiting for it to be "
                    "gone",
                    settings.node_name);
    }
    inside->complain_at_ms = now_ms + COMPLAIN_EACH_MS;
    if (now_ms - inside->name_in_use_ms > node_wait_ms(NAME_FREE_MS))
        end_as(node, EX_CONFIG,
               "another process runs as the node of this name: choose another "
               "--node-name, or stop that one first");
    return false;
}

/* False: what comes with it is not to be used. */
static bool hear_cluster(struct node *node, const struct peer_cluster *cluster,
                         struct slice membership)
{
    static const struct siphash_key none;
    struct membership *heard = &node->inside->work->heard;

    if (node->has_begun || !fits(node, cluster) || !has_name(node, cluster))
        return false;
    if (cluster->is_known && memcmp(&cluster->context_key, &none, sizeof none) != 0)
        cluster_set_context_key(node->cluster, &cluster->context_key);
    if (membership_decode(heard, membership) && heard->count > 0) {
        node->inside->has_heard = true;
        if (membership_merge(&node->membership, heard))
            node_change_peers(node);
    }
    return true;
}

/* Who answered may know this node by its earlier life, and at another address: what it says to a
 * member would not come here. */
static void tell_own_record(struct node *node, struct peer_link *link)
{
    const struct claimant_send send = {peer_link_peer(link), CLAIMANT_MEMBERSHIP};
    struct peer_message message = {.type = PEER_CLAIMANT};
    unsigned char *bytes;

    if (node->has_begun || !node->has_claimant || !membership_has(&node->membership, node->id))
        return;
    bytes = malloc(claimant_message_bytes(&node->claimant, &send) + 1);
    if (bytes == NULL)
        return;
    claimant_compose(&node->claimant, &send, bytes, &message.claimant);
    (void)peer_link_send(link, &message, NULL);
    free(bytes);
}

void node_members_on_talk(struct node *node, struct peer_link *link,
                          const struct peer_message *message)
{
    struct restart_event event = {.from = peer_link_peer(link)};

    if (message->type == PEER_RESTART_ASK) {
        answer_ask(node, link, &message->restart_ask);
    } else if (message->type == PEER_RESTART_JOIN) {
        answer_join(node, link, &message->restart_join);
    } else if (message->type == PEER_RESTART_ANSWER) {
        event.type = RESTART_ANSWERED;
        event.answer = &message->restart_answer.answer;
        if (hear_cluster(node, &message->restart_answer.cluster,
                         message->restart_answer.membership)) {
            step_restart(node, event);
            tell_own_record(node, link);
        }
        begin_if_ready(node);
    } else {
        event.type = RESTART_JOINED;
        event.joined = &message->restart_joined.joined;
        if (hear_cluster(node, &message->restart_joined.cluster,
                         message->restart_joined.membership))
            step_restart(node, event);
        begin_if_ready(node);
    }
    node_set_wake(node);
}

/* --- when it is woken --- */

/* Once, and then every half minute; addresses may have changed, too. */
static void complain(struct node *node, uint64_t now_ms)
{
    struct node_inside *inside = node->inside;

    if (inside->has_heard && settings.join != NULL)
        log_warning("the cluster knows this node, but not all of its members answer: a node that "
                    "starts waits for a majority, and until --max-clock-drift has passed");
    else if (settings.join != NULL)
        log_warning("no node of a cluster answers at --join %s: trying again and again; the first "
                    "node of a new cluster starts without --join",
                    settings.join);
    else
        log_warning("no other member that %s names answers: trying again and again",
                    settings.state_file);
    inside->complain_at_ms = now_ms + COMPLAIN_EACH_MS;
    node_links_find_seeds(node);
    inside->must_follow = true;
}

void node_members_wake(struct node *node)
{
    uint64_t now_ms = node_now_ms(node);

    if (node_members_has_gone(node) && node->has_begun && !node->is_stopping) {
        log_notice("node %s has left its cluster: the process ends", settings.node_name);
        node_stop(node);
        cluster_end_process(node->cluster, EX_OK);
        return;
    }
    if (restart_deadline_ms(&node->restart) <= now_ms)
        step_restart(node, (struct restart_event){.type = RESTART_TICK});
    if (node->has_claimant && claimant_deadline_ms(&node->claimant) <= now_ms)
        step_claimant(node, (struct claimant_event){.type = CLAIMANT_TICK});
    begin_if_ready(node);
    if (!node->has_begun && node->inside->complain_at_ms <= now_ms)
        complain(node, now_ms);
}

uint64_t node_members_deadline_ms(const struct node *node)
{
    uint64_t at_ms = restart_deadline_ms(&node->restart);

    if (node->has_claimant && claimant_deadline_ms(&node->claimant) < at_ms)
        at_ms = claimant_deadline_ms(&node->claimant);
    if (!node->has_begun && node->inside->complain_at_ms < at_ms)
        at_ms = node->inside->complain_at_ms;
    if (node->has_begun && node_members_has_gone(node) && !node->is_stopping)
        at_ms = 0;
    return at_ms;
}
