#include "tests/sim/truth.h"
#include "tests/sim/sim.h"
#include <assert.h>
#include <inttypes.h>

void truth_init(struct truth *truth, unsigned key_count, unsigned node_count)
{
    *truth = (struct truth){.key_count = key_count, .node_count = node_count};
    truth->keys = calloc(key_count, sizeof truth->keys[0]);
    truth->actors = calloc(node_count, sizeof truth->actors[0]);
    if (truth->keys == NULL || truth->actors == NULL)
        abort();
    for (unsigned i = 0; i < key_count; i++) {
        truth->keys[i].heard = calloc(node_count, sizeof(struct set));
        truth->keys[i].wrote = calloc(node_count, sizeof(struct set));
        if (truth->keys[i].heard == NULL || truth->keys[i].wrote == NULL)
            abort();
    }
}

static void key_deinit(struct truth_key *key, unsigned node_count)
{
    for (unsigned i = 0; i < key->count; i++) {
        set_deinit(&key->writes[i].knows);
        set_deinit(&key->writes[i].stored);
        set_deinit(&key->writes[i].holders);
        set_deinit(&key->writes[i].gone);
        set_deinit(&key->writes[i].forgotten);
    }
    for (unsigned i = 0; i < node_count; i++) {
        set_deinit(&key->heard[i]);
        set_deinit(&key->wrote[i]);
    }
    free(key->heard);
    free(key->wrote);
    free(key->writes);
    set_deinit(&key->superseded);
}

void truth_deinit(struct truth *truth)
{
    for (unsigned i = 0; i < truth->key_count; i++)
        key_deinit(&truth->keys[i], truth->node_count);
    free(truth->actors);
    free(truth->keys);
}

unsigned truth_find(const struct truth *truth, unsigned key, struct dot dot)
{
    const struct truth_key *it = &truth->keys[key];

    for (unsigned i = it->count; i > 0; i--)
        if (it->writes[i - 1].dot.hlc == dot.hlc && it->writes[i - 1].dot.node == dot.node)
            return i - 1;
    return TRUTH_NO_WRITE;
}

/* Adds a write, and what it knew. */
static void add_past(const struct truth_key *key, struct set *into, unsigned write)
{
    set_add(into, write);
    set_unite(into, &key->writes[write].knows);
}

/* Adds what is held in a cell, and what that knew. */
static void add_held(const struct truth *truth, unsigned key, const struct cell *cell,
                     struct set *into)
{
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        unsigned write = truth_find(truth, key, cell->siblings[i].dot);
        if (cell->siblings[i].kind != SIBLING_STUB && write != TRUTH_NO_WRITE)
            add_past(&truth->keys[key], into, write);
    }
}

void truth_shown(const struct truth *truth, unsigned key, const struct cell *cell,
                 struct set *shown)
{
    set_clear(shown);
    add_held(truth, key, cell, shown);
}

/* Of two last-write-wins writes the later one supersedes the other, whichever came first. */
static void order_by_time(struct truth_key *key, unsigned new)
{
    struct truth_write *it = &key->writes[new];

    for (unsigned i = 0; i < new; i++) {
        struct truth_write *other = &key->writes[i];
        if (other->dot.hlc < it->dot.hlc)
            set_add(&it->knows, i);
        else if (other->dot.hlc > it->dot.hlc && other->kind == TRUTH_LAST_WINS) {
            set_add(&other->knows, new);
            set_add(&key->superseded, new);
        }
    }
}

/* A node that became another actor does not supersede what it wrote under its old id. */
static void note_actor(struct truth *truth, unsigned node, node_id actor)
{
    if (truth->actors[node] == actor)
        return;
    truth->actors[node] = actor;
    for (unsigned key = 0; key < truth->key_count; key++)
        set_clear(&truth->keys[key].wrote[node]);
}

unsigned truth_apply(struct sim *sim, unsigned node, unsigned key, const struct truth_write *write,
                     const struct set *known)
{
    struct truth *truth = &sim->truth;
    struct truth_key *it = &truth->keys[key];
    unsigned number = it->count;

    assert(write->knows.words == NULL);
    note_actor(truth, node, write->dot.node);
    if (truth_find(truth, key, write->dot) != TRUTH_NO_WRITE)
        report_broken(sim, PROMISE_NOT_LOST, key, "the dot n%u:%" PRIx64 " names two writes",
                      node + 1, write->dot.hlc);
    if (it->count == it->room) {
        it->room = it->room == 0 ? 64 : 2 * it->room;
        it->writes = realloc(it->writes, it->room * sizeof it->writes[0]);
        if (it->writes == NULL)
            abort();
    }
    it->writes[it->count++] = *write;
    struct truth_write *new = &it->writes[number];
    new->applied_ms = sim->engine.now_ms;
    switch (write->kind) {
    case TRUTH_BLIND:
        set_unite(&new->knows, known);
        set_unite(&new->knows, &it->wrote[node]);
        set_unite(&new->knows, &it->heard[node]);
        break;
    case TRUTH_CONTEXT: set_unite(&new->knows, known); break;
    case TRUTH_LAST_WINS: order_by_time(it, number); break;
    }
    set_unite(&it->superseded, &new->knows);
    set_add(&it->wrote[node], number);
    set_unite(&it->heard[node], &new->knows);
    set_add(&it->heard[node], number);
    return number;
}

static unsigned count_nodes(const struct truth *truth, const struct set *nodes)
{
    unsigned count = 0;

    for (unsigned node = 0; node < truth->node_count; node++)
        count += set_has(nodes, node);
    return count;
}

static bool is_flushed(const struct truth_key *key, unsigned write)
{
    return key->writes[write].dot.hlc <= key->flushed;
}

void truth_begin(struct truth *truth, const struct command *command)
{
    if (command->type == COMMAND_INCR)
        truth->keys[command->key].asked += command->delta;
}

void truth_check_cas(struct sim *sim, const struct command *command, unsigned write,
                     uint64_t shown_ms, uint64_t started_ms)
{
    const struct truth_key *it = &sim->truth.keys[command->key];

    for (unsigned i = 0; i < it->count; i++) {
        const struct truth_write *other = &it->writes[i];
        if (i != write && other->is_acknowledged && other->applied_ms > shown_ms &&
            other->acknowledged_ms < started_ms && shown_ms >= sim->season_ms &&
            !set_has(&command->shown, i) && !is_flushed(it, i))
            report_broken(sim, PROMISE_READS_LAST_WRITE, command->key,
                          "cas, as write %u, succeeded with a token from before write %u", write,
                          i);
    }
}

void truth_check_counter(struct sim *sim, unsigned key, const struct cell *cell, uint64_t added,
                         const char *where)
{
    const struct truth_key *it = &sim->truth.keys[key];
    uint64_t sum = 0;

    for (unsigned i = 0; cell != NULL && i < cell->sibling_count; i++)
        if (cell->siblings[i].kind == SIBLING_VALUE)
            sum += cell->siblings[i].value;
    if (it->has_lost || it->flushed != 0)
        return;
    if (sum < added || (sum > it->asked && !it->is_folded))
        report_broken(sim, PROMISE_READS_LAST_WRITE, key,
                      "%s: the counter is %" PRIu64 "; acknowledged were %" PRIu64
                      ", asked for %" PRIu64,
                      where, sum, added, it->asked);
}

void truth_acknowledge(struct sim *sim, const struct command *command, unsigned write,
                       unsigned copies)
{
    unsigned key = command->key;
    struct truth_key *it = &sim->truth.keys[key];
    struct truth_write *acknowledged = &it->writes[write];

    if (acknowledged->is_acknowledged)
        return;
    acknowledged->is_acknowledged = true;
    acknowledged->acknowledged_ms = sim->engine.now_ms;
    if (command->type == COMMAND_INCR)
        it->added += command->delta;
    unsigned holders = count_nodes(&sim->truth, &acknowledged->stored);
    if (holders < copies && !set_has(&it->superseded, write) && !is_flushed(it, write))
        report_broken(sim, PROMISE_NOT_LOST, key,
                      "write %u was acknowledged with %u copies, but only %u nodes ever held it",
                      write, copies, holders);
}

void truth_hold(struct truth *truth, unsigned node, unsigned key, const struct cell *cell)
{
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        unsigned number = truth_find(truth, key, cell->siblings[i].dot);
        if (number == TRUTH_NO_WRITE || cell->siblings[i].kind == SIBLING_STUB)
            continue;
        struct truth_write *write = &truth->keys[key].writes[number];
        set_add(&write->stored, node);
        set_add(&write->holders, node);
        set_remove(&write->gone, node);
        set_remove(&write->forgotten, node);
    }
}

static void check_kept(struct sim *sim, int node, unsigned key, const struct cell *from,
                       const struct cell *merged)
{
    const struct truth_key *it = &sim->truth.keys[key];

    for (unsigned i = 0; i < from->sibling_count; i++) {
        struct dot dot = from->siblings[i].dot;
        unsigned write = truth_find(&sim->truth, key, dot);
        if (cell_find(merged, dot) != NULL)
            continue;
        if (write == TRUTH_NO_WRITE) {
            report_broken(sim, PROMISE_NOT_LOST, key, "a cell holds a dot that nobody wrote");
            continue;
        }
        if (!set_has(&it->superseded, write) && !is_flushed(it, write))
            report_broken(sim, PROMISE_NOT_LOST, key,
                          "write %u, which nothing superseded, was merged away", write);
        (void)node;
    }
}

void truth_check_merge(struct sim *sim, int node, unsigned key, const struct cell *mine,
                       const struct cell *theirs, const struct cell *merged)
{
    check_kept(sim, node, key, mine, merged);
    check_kept(sim, node, key, theirs, merged);
}

void truth_lose_value(struct truth *truth, unsigned node, unsigned key, struct dot dot)
{
    unsigned write = truth_find(truth, key, dot);

    if (write == TRUTH_NO_WRITE)
        return;
    set_add(&truth->keys[key].writes[write].gone, node);
    truth->keys[key].has_lost = true;
}

void truth_lose_cell(struct truth *truth, unsigned node, unsigned key)
{
    struct truth_key *it = &truth->keys[key];

    for (unsigned i = 0; i < it->count; i++) {
        if (!set_has(&it->writes[i].holders, node))
            continue;
        it->has_lost = true;
        set_add(&it->writes[i].gone, node);
        set_add(&it->writes[i].forgotten, node);
    }
    set_clear(&it->heard[node]);
}

void truth_reap(struct truth *truth, unsigned node, unsigned key)
{
    struct truth_key *it = &truth->keys[key];

    for (unsigned i = 0; i < it->count; i++)
        if (set_has(&it->writes[i].holders, node))
            set_add(&it->writes[i].gone, node);
    set_clear(&it->heard[node]);
}

void truth_forget(struct truth *truth, unsigned node, unsigned key, struct dot dot)
{
    unsigned write = truth_find(truth, key, dot);

    if (write == TRUTH_NO_WRITE)
        return;
    truth->keys[key].has_lost = true;
    set_add(&truth->keys[key].writes[write].gone, node);
    set_add(&truth->keys[key].writes[write].forgotten, node);
    set_remove(&truth->keys[key].heard[node], write);
}

void truth_hand_over(struct truth *truth, unsigned node, unsigned key)
{
    struct truth_key *it = &truth->keys[key];

    for (unsigned i = 0; i < it->count; i++) {
        struct truth_write *write = &it->writes[i];
        if (!set_has(&write->holders, node) || count_nodes(truth, &write->holders) < 2)
            continue;
        set_remove(&write->holders, node);
        set_remove(&write->gone, node);
        set_remove(&write->forgotten, node);
    }
    set_clear(&it->heard[node]);
}

/* Finds two writes in the cell of which one superseded the other. */
static bool find_superseded(const struct truth *truth, unsigned key, const struct cell *cell,
                            unsigned *old, unsigned *new)
{
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        *old = truth_find(truth, key, cell->siblings[i].dot);
        if (*old == TRUTH_NO_WRITE || !set_has(&truth->keys[key].superseded, *old))
            continue;
        for (unsigned j = 0; j < cell->sibling_count; j++) {
            *new = truth_find(truth, key, cell->siblings[j].dot);
            if (*new != TRUTH_NO_WRITE &&*new != *old &&
                set_has(&truth->keys[key].writes[*new].knows, *old))
                return true;
        }
    }
    return false;
}

void truth_check_cell(struct sim *sim, int node, unsigned key, const struct cell *cell,
                      const char *where)
{
    unsigned old, new;

    if (sim->truth.keys[key].is_folded || cell->sibling_count < 2)
        return;
    if (find_superseded(&sim->truth, key, cell, &old, &new))
        report_broken(sim, PROMISE_STAYS_SUPERSEDED, key,
                      "%s at n%d: write %u is there again, next to write %u, which superseded it",
                      where, node + 1, old, new);
}

void truth_check_read(struct sim *sim, int node, unsigned key, const struct cell *cell,
                      uint64_t started_ms)
{
    const struct truth_key *it = &sim->truth.keys[key];
    struct set seen = {0};

    add_held(&sim->truth, key, cell, &seen);
    for (unsigned i = 0; i < it->count; i++) {
        const struct truth_write *write = &it->writes[i];
        if (!write->is_acknowledged || write->acknowledged_ms >= started_ms || set_has(&seen, i) ||
            is_flushed(it, i) ||
            (write->applied_ms < sim->season_ms && set_has(&it->superseded, i)))
            continue;
        bool is_forgotten = !set_has_beyond(&write->holders, &write->gone);
        if (!is_forgotten && !(write->is_delete && cell->sibling_count == 0))
            report_broken(sim, PROMISE_READS_LAST_WRITE, key,
                          "a read at n%d that began at %" PRIu64
                          " ms did not see write %u, acknowledged at %" PRIu64 " ms",
                          node + 1, started_ms, i, write->acknowledged_ms);
    }
    set_deinit(&seen);
}

/* Whether some acknowledged write that superseded `old` is remembered where it was held. */
static bool is_remembered(const struct truth_key *key, unsigned old, unsigned *by)
{
    for (*by = key->count; *by > 0;) {
        const struct truth_write *write = &key->writes[--*by];
        if (write->is_acknowledged && set_has(&write->knows, old) &&
            set_has_beyond(&write->holders, &write->forgotten))
            return true;
    }
    return false;
}

static unsigned first_beyond(const struct set *set, const struct set *without)
{
    unsigned node = 0;

    while (!set_has(set, node) || set_has(without, node))
        node++;
    return node;
}

static void check_lost(struct sim *sim, unsigned key, const struct cell *cell)
{
    const struct truth_key *it = &sim->truth.keys[key];

    for (unsigned i = 0; i < it->count; i++) {
        const struct truth_write *write = &it->writes[i];
        if (!write->is_acknowledged || set_has(&it->superseded, i) || is_flushed(it, i))
            continue;
        const struct sibling *held = cell == NULL ? NULL : cell_find(cell, write->dot);
        if (held != NULL && held->kind != SIBLING_STUB)
            continue;
        if (set_has_beyond(&write->holders, &write->gone))
            report_broken(sim, PROMISE_NOT_LOST, key,
                          "write %u, acknowledged at %" PRIu64
                          " ms, is lost, though n%u held it and was not made to forget it",
                          i, write->acknowledged_ms,
                          first_beyond(&write->holders, &write->gone) + 1);
    }
}

void truth_check_settled(struct sim *sim, unsigned key, const struct cell *cell)
{
    const struct truth_key *it = &sim->truth.keys[key];
    unsigned by;

    check_lost(sim, key, cell);
    if (cell == NULL || it->is_folded)
        return;
    truth_check_cell(sim, -1, key, cell, "settled");
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        unsigned write = truth_find(&sim->truth, key, cell->siblings[i].dot);
        if (cell->siblings[i].kind != SIBLING_STUB && set_has(&it->superseded, write) &&
            is_remembered(it, write, &by))
            report_broken(sim, PROMISE_STAYS_SUPERSEDED, key,
                          "write %u is back, though write %u superseded it, and n%u held that and "
                          "was not made to forget it",
                          write, by,
                          first_beyond(&it->writes[by].holders, &it->writes[by].forgotten) + 1);
    }
}
