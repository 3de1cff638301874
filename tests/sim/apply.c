/* What a command does to the own cell of the node that coordinates it; node.h says more. */
#include "tests/sim/node.h"
#include "tests/sim/sim.h"
#include <assert.h>

/* A write that is about to be applied. */
struct writing {
    struct node *node;
    const struct command *command;
    struct cell *cell;
    enum truth_kind kind;
    bool is_delete;
    uint64_t value;
    struct context seen; /* of a context write */
    struct set known;    /* as truth_apply() wants it */
};

static bool shows_value(const struct cell *cell)
{
    return cell_count_distinct(cell, SIBLING_VALUE) > 0;
}

/* This node's own newest share of a counter, if it holds it; NULL if there is none. */
static const struct sibling *own_share(const struct node *node, const struct cell *cell)
{
    const struct sibling *newest = NULL;

    for (unsigned i = 0; i < cell->sibling_count; i++) {
        const struct sibling *sibling = &cell->siblings[i];
        if (sibling->dot.node == node->id && sibling->kind == SIBLING_VALUE)
            newest = sibling;
    }
    return newest;
}

/* All that the cell shows is to be superseded. */
static void supersede_shown(struct writing *writing)
{
    cell_shown(writing->cell, &writing->seen);
    truth_shown(&writing->node->sim->truth, writing->command->key, writing->cell, &writing->known);
    writing->kind = TRUTH_CONTEXT;
}

static void supersede_share(struct writing *writing)
{
    const struct sibling *share = own_share(writing->node, writing->cell);
    struct truth *truth = &writing->node->sim->truth;
    unsigned key = writing->command->key;

    context_clear(&writing->seen);
    set_clear(&writing->known);
    writing->kind = TRUTH_CONTEXT;
    writing->value = writing->command->delta;
    if (share == NULL)
        return;
    unsigned write = truth_find(truth, key, share->dot);
    context_add(&writing->seen, (struct interval){share->dot.node, share->dot.hlc, share->dot.hlc});
    set_add(&writing->known, write);
    set_unite(&writing->known, &truth->keys[key].writes[write].knows);
    writing->value += share->value;
}

/* Says what the command does to the cell: RESULT_DONE if it writes. */
static enum command_result decide(struct writing *writing)
{
    const struct command *command = writing->command;
    const struct cell *cell = writing->cell;

    writing->value = command->number + 1;
    switch (command->type) {
    case COMMAND_SET: writing->kind = TRUTH_BLIND; return RESULT_DONE;
    case COMMAND_DELETE_BLIND:
        writing->kind = TRUTH_BLIND;
        writing->is_delete = true;
        return RESULT_DONE;
    case COMMAND_PUT:
    case COMMAND_REMOVE:
        writing->kind = TRUTH_CONTEXT;
        writing->is_delete = command->type == COMMAND_REMOVE;
        context_copy(&writing->seen, &command->seen);
        set_copy(&writing->known, &command->shown);
        return RESULT_DONE;
    case COMMAND_CAS:
        if (!shows_value(cell))
            return RESULT_NOT_FOUND;
        if (cell_token(cell) != command->token)
            return RESULT_EXISTS;
        supersede_shown(writing);
        return RESULT_DONE;
    case COMMAND_ADD:
        if (shows_value(cell))
            return RESULT_NOT_STORED;
        supersede_shown(writing);
        return RESULT_DONE;
    case COMMAND_DELETE:
        if (!shows_value(cell))
            return RESULT_NOT_FOUND;
        supersede_shown(writing);
        writing->is_delete = true;
        return RESULT_DONE;
    case COMMAND_INCR: supersede_share(writing); return RESULT_DONE;
    case COMMAND_TOUCH: return shows_value(cell) ? RESULT_DONE : RESULT_NOT_FOUND;
    case COMMAND_GET:
    case COMMAND_TYPES: break;
    }
    assert(false);
    return RESULT_NONE;
}

static struct sibling sibling_of(const struct writing *writing, struct dot dot)
{
    uint64_t value = writing->value;

    if (writing->is_delete)
        return sibling_of_tombstone(dot);
    return sibling_of_value(dot, 0, 0, 8, value * 0x9e3779b97f4a7c15u, value);
}

static enum cell_put put(struct writing *writing, const struct sibling *sibling)
{
    switch (writing->kind) {
    case TRUTH_BLIND: return cell_put_blind(writing->cell, sibling);
    case TRUTH_CONTEXT: return cell_put_context(writing->cell, sibling, &writing->seen);
    case TRUTH_LAST_WINS: return cell_put_last_write_wins(writing->cell, sibling);
    }
    assert(false);
    return CELL_PUT_COVERED;
}

/* Puts the write under a fresh dot.  False if the clock does not get past what the cell has seen
 * of this node. */
static bool put_fresh(struct writing *writing, struct dot *dot)
{
    struct node *node = writing->node;
    uint64_t wall_ms = node_wall_ms(node);
    uint64_t token = writing->cell->sibling_count > 0 ? cell_token(writing->cell) : 0;

    for (;;) {
        *dot = (struct dot){node->id, hlc_clock_next(&node->hlc, wall_ms)};
        struct sibling sibling = sibling_of(writing, *dot);
        if (put(writing, &sibling) == CELL_PUT_DONE) {
            if (cell_token(writing->cell) != token)
                return true;
            struct dot twin = *dot; /* one token for two states: the next dot gives another */
            dot->hlc = hlc_clock_next(&node->hlc, wall_ms);
            sibling = sibling_of(writing, *dot);
            return cell_put_again(writing->cell, &sibling, twin) == CELL_PUT_DONE;
        }
        hlc_time seen = cell_clock(writing->cell);
        if (writing->kind == TRUTH_CONTEXT && context_newest(&writing->seen) > seen)
            seen = context_newest(&writing->seen);
        if (hlc_clock_merge(&node->hlc, seen, wall_ms, node->sim->settings.drift_max_ms) !=
            HLC_MERGED)
            return false;
    }
}

/* Writes a register only: a later time of expiry for the newest value. */
static void touch(struct writing *writing)
{
    struct node *node = writing->node;
    hlc_time now = hlc_clock_next(&node->hlc, node_wall_ms(node));
    struct dot dot = cell_newest(writing->cell, SIBLING_VALUE)->dot;
    struct sibling *sibling = cell_find(writing->cell, dot);
    struct sibling_register reg = sibling->reg;

    reg.hlc = now > reg.hlc ? now : reg.hlc + 1;
    reg.expires_ms = writing->command->expires_ms;
    sibling_set_register(sibling, &reg);
}

/* Copies the whole own cell into the request's. */
static void take_result(struct request *request)
{
    struct node *node = request->node;
    const struct cell *own = store_find(&node->store, request->command->key);

    cell_reserve(&request->cell, own->sibling_count + 4);
    cell_copy(&request->cell, own);
    set_copy(&request->heard, &node->sim->truth.keys[request->command->key].heard[node->index]);
}

/* Records the write in the truth, and checks that it replaced only what its author knew. */
static void note_written(struct request *request, struct writing *writing, struct dot dot,
                         const struct cell *before)
{
    struct node *node = request->node;
    unsigned key = request->command->key;
    struct truth_write write = {.dot = dot,
                                .operation = request->command->number,
                                .kind = writing->kind,
                                .is_delete = writing->is_delete};

    request->write = truth_apply(node->sim, node->index, key, &write, &writing->known);
    report_line(node->sim, (int)node->index, key, "applies %s as write %u",
                command_name(request->command->type), request->write);
    truth_check_merge(node->sim, (int)node->index, key, before, before, writing->cell);
    truth_hold(&node->sim->truth, node->index, key, writing->cell);
    if (cell_count_distinct(writing->cell, SIBLINGS_ALL) > node->sim->settings.siblings_max)
        report_broken(node->sim, PROMISE_BOUNDED, key, "a client's write left %u siblings",
                      writing->cell->sibling_count);
    node_cell_changed(node, key);
}

static enum node_apply apply(struct request *request, struct writing *writing, struct dot *dot)
{
    struct node *node = request->node;
    struct sim *sim = node->sim;

    cell_reserve(&node->scratch, writing->cell->sibling_count);
    cell_copy(&node->scratch, writing->cell);
    if (writing->kind == TRUTH_BLIND)
        truth_shown(&sim->truth, request->command->key, writing->cell, &writing->known);
    if (writing->kind == TRUTH_CONTEXT) {
        struct sibling sibling = sibling_of(writing, (struct dot){node->id, 1});
        if (cell_siblings_after(writing->cell, &sibling, &writing->seen) >
                sim->settings.siblings_max &&
            sim->options.glue_break != BREAK_NO_LIMIT) {
            request->result = RESULT_TOO_MANY;
            return APPLY_KEPT;
        }
    }
    if (sim->keys[request->command->key].policy == POLICY_LAST_WINS)
        writing->kind = TRUTH_LAST_WINS;
    if (!put_fresh(writing, dot))
        return APPLY_REFUSED;
    note_written(request, writing, *dot, &node->scratch);
    take_result(request);
    return APPLY_WRITTEN;
}

enum node_apply node_apply(struct request *request, node_id hint_for, struct dot *dot)
{
    struct node *node = request->node;
    unsigned key = request->command->key;
    struct writing writing = {.node = node, .command = request->command};
    enum node_apply applied = APPLY_KEPT;

    bool needs_hint = hint_for != NODE_NONE && !node_owns(node, key);

    if (node_allocation_fails(node) || (needs_hint && !node_replica_now(node, key).has_hint_room))
        return APPLY_REFUSED;
    node_cell_fresh(node, key);
    writing.cell = store_make(&node->store, key, 2);
    request->result = decide(&writing);
    if (request->result == RESULT_DONE && request->command->type == COMMAND_TOUCH) {
        touch(&writing);
        take_result(request);
        cell_evict(&request->cell);
        applied = APPLY_REGISTER;
    } else if (request->result == RESULT_DONE) {
        applied = apply(request, &writing, dot);
    }
    if (needs_hint && (applied == APPLY_WRITTEN || applied == APPLY_REGISTER))
        node_hint_add(node, key, hint_for);
    node_cell_changed(node, key); /* an empty one was made for nothing */
    set_deinit(&writing.known);
    return applied;
}
