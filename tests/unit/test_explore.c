/* Random histories of one key over a few nodes, checked against the truth.
 *
 * Every write records what its author truly knew.  Then, under partitions, lost messages,
 * evictions and restarts, these promises are checked:
 *
 *   1. no write disappears unless a later write whose author knew it replaced it, or every holder
 *      forgot it (a stub remembers the write without its value);
 *   2. a context handed to a client covers no live write that the client was not shown;
 *   3. once all nodes have exchanged cells, all hold the same cell;
 *   4. what was superseded stays superseded.
 *
 * "Knew" leaves out what a node forgot with its cell (see put_blind).
 *
 * The histories are those of the model that ring/cell.c follows, and variants with the rules that
 * the model leaves out: tombstones, registers, forgetting one sibling, clocks that are apart,
 * last-write-wins, folded contexts.
 *
 * The same file is compiled against cell.c with one rule broken (EXPLORE_BROKEN names it): then
 * the histories have to find that, which shows that the checks bite.
 *
 * EXPLORE_HISTORIES in the environment says how many histories; EXPLORE_SEED replays one. */
#include "ring/cell.h"
#include "tests/unit/random.h"
#include <assert.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define NODES             4
#define CLIENTS           3
#define STEPS             250
#define HISTORIES_DEFAULT 20000
#define SIBLINGS          64 /* room in each cell: both sides of a merge, with much to spare */
#define SKEW_MAX          16 /* how far clocks may be apart, in steps */
#define HLC_MAX           (STEPS + 2 * SKEW_MAX)
#define FOLD_MAX          2 /* intervals left by the variant that folds */

/* A set of writes, which are numbered from 0. */
struct writes {
    uint64_t words[(STEPS + 63) / 64];
};

enum variant {
    VARIANT_MODEL = 0,
    VARIANT_TOMBSTONES = 1,
    VARIANT_REGISTERS = 2,
    VARIANT_FORGET_ONE = 4,
    VARIANT_SKEW = 8,
    VARIANT_LAST_WRITE_WINS = 16,
    VARIANT_FOLD = 32
};

enum promise {
    PROMISE_NOT_LOST,
    PROMISE_SHOWN_ONLY,
    PROMISE_SAME_CELL,
    PROMISE_STAYS_SUPERSEDED,
    PROMISES
};

static const char *const promise_broken[PROMISES] = {
    [PROMISE_NOT_LOST] = "a write was lost",
    [PROMISE_SHOWN_ONLY] = "a context covered a write that its client never saw",
    [PROMISE_SAME_CELL] = "the replicas differ after everything was exchanged",
    [PROMISE_STAYS_SUPERSEDED] = "a superseded write came back",
};

struct replica {
    struct cell cell;
    struct sibling siblings[SIBLINGS];
    hlc_time clock;
    struct writes wrote; /* what this node ever coordinated */
    struct writes heard; /* what is known through the cell that it holds */
};

struct session {
    struct context context;
    struct writes shown;
};

struct history {
    struct random random;
    unsigned variant;
    unsigned step;
    struct replica replicas[NODES];
    struct session sessions[CLIENTS];
    bool is_cut[NODES][NODES];
    unsigned skew[NODES];
    unsigned write_count;
    struct dot dots[STEPS];
    struct writes knows[STEPS]; /* what the author of each write knew */
    struct writes superseded;   /* the union of those */
    uint16_t write_of[NODES][HLC_MAX];
    unsigned broken[PROMISES];
    unsigned intervals_most, siblings_most;
};

static void writes_add(struct writes *set, unsigned write)
{
    set->words[write / 64] |= (uint64_t)1 << (write % 64);
}

static void writes_remove(struct writes *set, unsigned write)
{
    set->words[write / 64] &= ~((uint64_t)1 << (write % 64));
}

static bool writes_has(const struct writes *set, unsigned write)
{
    return (set->words[write / 64] >> (write % 64) & 1) != 0;
}

static void writes_unite(struct writes *set, const struct writes *more)
{
    for (size_t i = 0; i < sizeof set->words / sizeof set->words[0]; i++)
        set->words[i] |= more->words[i];
}

static unsigned write_of(const struct history *history, struct dot dot)
{
    assert(dot.hlc < HLC_MAX);
    return history->write_of[dot.node - 1][dot.hlc];
}

/* The writes that a cell holds. */
static struct writes written(const struct history *history, const struct cell *cell)
{
    struct writes set = {{0}};

    for (unsigned i = 0; i < cell->sibling_count; i++)
        if (cell->siblings[i].kind != SIBLING_STUB)
            writes_add(&set, write_of(history, cell->siblings[i].dot));
    return set;
}

/* Adds all of `set` and what their authors knew. */
static void unite_past(const struct history *history, struct writes *into, const struct writes *set)
{
    writes_unite(into, set);
    for (unsigned write = 0; write < history->write_count; write++)
        if (writes_has(set, write))
            writes_unite(into, &history->knows[write]);
}

/* Whether any write of `set` is live and not held by the cell. */
static bool lacks_live(const struct history *history, const struct cell *cell,
                       const struct writes *set)
{
    for (unsigned write = 0; write < history->write_count; write++)
        if (writes_has(set, write) && !writes_has(&history->superseded, write) &&
            cell_find(cell, history->dots[write]) == NULL)
            return true;
    return false;
}

static void fold_if_asked(struct history *history, struct cell *cell)
{
    if (history->variant & VARIANT_FOLD)
        context_fold(&cell->context, FOLD_MAX);
}

static void merge(struct history *history, struct cell *into, const struct cell *other)
{
    struct writes held = written(history, into);
    struct writes theirs = written(history, other);

    writes_unite(&held, &theirs);
    cell_merge(into, other);
    if (lacks_live(history, into, &held))
        history->broken[PROMISE_NOT_LOST]++;
    fold_if_asked(history, into);
}

static void receive(struct history *history, unsigned node, const struct cell *cell,
                    const struct writes *known, hlc_time hlc)
{
    struct replica *replica = &history->replicas[node];

    if (hlc > replica->clock)
        replica->clock = hlc;
    merge(history, &replica->cell, cell);
    writes_unite(&replica->heard, known);
}

/* The next dot of a node, and the write it names. */
static struct dot next_dot(struct history *history, unsigned node)
{
    struct replica *replica = &history->replicas[node];
    hlc_time now = history->step + history->skew[node];
    struct dot dot = {node + 1, now > replica->clock ? now : replica->clock + 1};

    assert(history->write_count < STEPS);
    assert(dot.hlc < HLC_MAX);
    replica->clock = dot.hlc;
    history->dots[history->write_count] = dot;
    history->write_of[node][dot.hlc] = (uint16_t)history->write_count++;
    return dot;
}

static void put_blind(struct history *history, unsigned node, const struct sibling *sibling)
{
    struct replica *replica = &history->replicas[node];
    struct writes before = written(history, &replica->cell);
    struct writes *knew = &history->knows[history->write_count - 1];

    assert_int_equal(cell_put_blind(&replica->cell, sibling), CELL_PUT_DONE);
    unite_past(history, knew, &before);
    /* What a node forgot together with its cell, it does not know any more: of its own earlier
     * writes it supersedes the dots, but not all that those had superseded.  Where nobody else
     * held such a write, what it had replaced may come back. */
    writes_unite(knew, &replica->wrote);
    writes_unite(knew, &replica->heard);
}

static void put_context(struct history *history, unsigned node, const struct sibling *sibling,
                        const struct session *session)
{
    struct replica *replica = &history->replicas[node];
    struct writes gone = written(history, &replica->cell);

    assert_int_equal(cell_put_context(&replica->cell, sibling, &session->context), CELL_PUT_DONE);
    for (unsigned write = 0; write < history->write_count; write++)
        if (writes_has(&session->shown, write))
            writes_remove(&gone, write);
    if (lacks_live(history, &replica->cell, &gone))
        history->broken[PROMISE_SHOWN_ONLY]++;
    history->knows[history->write_count - 1] = session->shown;
}

/* Under last-write-wins a write supersedes all that are older, those made later included. */
static void put_last_write_wins(struct history *history, unsigned node,
                                const struct sibling *sibling)
{
    unsigned new = history->write_count - 1;

    assert_int_equal(cell_put_last_write_wins(&history->replicas[node].cell, sibling),
                     CELL_PUT_DONE);
    for (unsigned write = 0; write < new; write++) {
        if (history->dots[write].hlc < sibling->dot.hlc)
            writes_add(&history->knows[new], write);
        if (history->dots[write].hlc > sibling->dot.hlc) {
            writes_add(&history->knows[write], new);
            writes_add(&history->superseded, new);
        }
    }
}

static void put(struct history *history, unsigned node, const struct session *session)
{
    struct replica *replica = &history->replicas[node];
    bool is_delete = (history->variant & VARIANT_TOMBSTONES) && random_chance(&history->random, 30);
    unsigned write = history->write_count;
    struct dot dot = next_dot(history, node);
    struct sibling sibling =
        is_delete ? sibling_of_tombstone(dot) : sibling_of_value(dot, 0, 0, 1, write, write);

    if (history->variant & VARIANT_LAST_WRITE_WINS)
        put_last_write_wins(history, node, &sibling);
    else if (random_chance(&history->random, 30))
        put_blind(history, node, &sibling);
    else
        put_context(history, node, &sibling, session);
    fold_if_asked(history, &replica->cell);
    writes_unite(&history->superseded, &history->knows[write]);
    writes_add(&replica->wrote, write);
    writes_unite(&replica->heard, &history->knows[write]);
    writes_add(&replica->heard, write);
    for (unsigned peer = 0; peer < NODES; peer++)
        if (peer != node && !history->is_cut[node][peer] && random_chance(&history->random, 80))
            receive(history, peer, &replica->cell, &replica->heard, replica->clock);
}

static void get(struct history *history, unsigned node, struct session *session)
{
    struct sibling siblings[SIBLINGS];
    struct replica *replica = &history->replicas[node];
    struct writes known = replica->heard;
    hlc_time newest = 0;
    struct cell cell;

    cell_init(&cell, siblings, SIBLINGS);
    cell_copy(&cell, &replica->cell);
    for (unsigned peer = 0; peer < NODES; peer++) {
        struct replica *other = &history->replicas[peer];
        if (peer == node || history->is_cut[node][peer] || random_chance(&history->random, 50))
            continue;
        merge(history, &cell, &other->cell);
        writes_unite(&known, &other->heard);
        if (other->clock > newest && (history->variant & VARIANT_SKEW))
            newest = other->clock;
    }
    cell_shown(&cell, &session->context);
    struct writes shown = written(history, &cell);
    session->shown = (struct writes){{0}};
    unite_past(history, &session->shown, &shown);
    if (random_chance(&history->random, 50)) /* read repair */
        receive(history, node, &cell, &known, newest);
}

/* Changes the register of a sibling held. */
static void touch(struct history *history, unsigned node)
{
    struct replica *replica = &history->replicas[node];
    struct cell *cell = &replica->cell;

    if (cell->sibling_count == 0)
        return;
    struct sibling *sibling = &cell->siblings[random_below(&history->random, cell->sibling_count)];
    struct sibling_register reg = sibling->reg;
    hlc_time now = history->step + history->skew[node];
    replica->clock = now > replica->clock ? now : replica->clock + 1;
    reg.hlc = replica->clock;
    reg.expires_ms = random_next(&history->random);
    reg.is_stale = random_chance(&history->random, 50);
    sibling_set_register(sibling, &reg);
}

static void forget_one(struct history *history, unsigned node)
{
    struct replica *replica = &history->replicas[node];
    struct cell *cell = &replica->cell;

    if (cell->sibling_count < 2)
        return;
    struct sibling *sibling = &cell->siblings[random_below(&history->random, cell->sibling_count)];
    writes_remove(&replica->heard, write_of(history, sibling->dot));
    cell_forget(cell, sibling);
}

static void drop_cell(struct replica *replica)
{
    cell_init(&replica->cell, replica->siblings, SIBLINGS);
    replica->heard = (struct writes){{0}};
}

static void move_partitions(struct history *history)
{
    if (random_chance(&history->random, 3))
        for (unsigned a = 0; a < NODES; a++)
            for (unsigned b = 0; b < NODES; b++)
                history->is_cut[a][b] = random_chance(&history->random, 40);
    if (random_chance(&history->random, 3))
        memset(history->is_cut, 0, sizeof history->is_cut);
}

static void note_bounds(struct history *history, const struct cell *cell)
{
    if (cell->context.count > history->intervals_most)
        history->intervals_most = cell->context.count;
    if (cell->sibling_count > history->siblings_most)
        history->siblings_most = cell->sibling_count;
}

static void take_step(struct history *history)
{
    unsigned node = random_below(&history->random, NODES);
    unsigned peer = random_below(&history->random, NODES);
    struct replica *replica = &history->replicas[node];
    struct session *session = &history->sessions[random_below(&history->random, CLIENTS)];
    unsigned dice = random_below(&history->random, 100);

    move_partitions(history);
    if ((history->variant & VARIANT_REGISTERS) && random_chance(&history->random, 10))
        touch(history, node);
    if ((history->variant & VARIANT_FORGET_ONE) && random_chance(&history->random, 5))
        forget_one(history, node);
    if (dice < 35)
        put(history, node, session);
    else if (dice < 65)
        get(history, node, session);
    else if (dice < 68)
        drop_cell(replica);
    else if (dice < 71)
        cell_evict(&replica->cell);
    else if (peer != node && !history->is_cut[node][peer]) /* a hint, or anti-entropy */
        receive(history, peer, &replica->cell, &replica->heard, replica->clock);
    note_bounds(history, &replica->cell);
}

static bool same_cell(const struct cell *a, const struct cell *b)
{
    struct cell_digest x = cell_state_digest(a);
    struct cell_digest y = cell_state_digest(b);

    if (a->sibling_count != b->sibling_count || x.low != y.low || x.high != y.high)
        return false;
    for (unsigned i = 0; i < a->sibling_count; i++)
        if (a->siblings[i].kind != b->siblings[i].kind ||
            a->siblings[i].value != b->siblings[i].value)
            return false;
    return context_equal(&a->context, &b->context);
}

static bool has_superseded(const struct history *history, const struct writes *set)
{
    for (unsigned a = 0; a < history->write_count; a++)
        for (unsigned b = 0; b < history->write_count; b++)
            if (writes_has(set, a) && writes_has(set, b) && writes_has(&history->knows[b], a))
                return true;
    return false;
}

/* Everybody tells everybody; then all have to agree. */
static void settle(struct history *history)
{
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned a = 0; a < NODES; a++) {
            struct replica *from = &history->replicas[a];
            for (unsigned b = 0; b < NODES; b++)
                if (a != b)
                    receive(history, b, &from->cell, &from->heard, from->clock);
        }
    }
    if (history->variant & VARIANT_FOLD)
        return; /* what was dropped from a context may let an old version back in */
    for (unsigned node = 1; node < NODES; node++)
        if (!same_cell(&history->replicas[0].cell, &history->replicas[node].cell))
            history->broken[PROMISE_SAME_CELL]++;
    struct writes left = written(history, &history->replicas[0].cell);
    if (has_superseded(history, &left))
        history->broken[PROMISE_STAYS_SUPERSEDED]++;
}

static void run(struct history *history, uint64_t seed, unsigned variant)
{
    memset(history, 0, sizeof *history);
    history->random.state = seed;
    history->variant = variant;
    for (unsigned node = 0; node < NODES; node++) {
        drop_cell(&history->replicas[node]);
        if (variant & VARIANT_SKEW)
            history->skew[node] = random_below(&history->random, SKEW_MAX);
    }
    for (history->step = 1; history->step < STEPS; history->step++)
        take_step(history);
    settle(history);
}

static unsigned long histories_wanted(void)
{
    const char *wanted = getenv("EXPLORE_HISTORIES");

    return wanted != NULL ? strtoul(wanted, NULL, 10) : HISTORIES_DEFAULT;
}

static bool is_over(const unsigned broken[PROMISES], unsigned stop_at)
{
    for (unsigned i = 0; i < PROMISES; i++)
        if (broken[i] > 0 && (stop_at >> i & 1) != 0)
            return true;
    return false;
}

/* Runs one in `share` of the histories wanted, but stops when a promise of the set `stop_at` is
 * broken.  Returns whether one was, and prints the seeds. */
static bool explore(unsigned variant, unsigned long share, unsigned stop_at)
{
    static struct history history;
    const char *replay = getenv("EXPLORE_SEED");
    unsigned long first = replay != NULL ? strtoul(replay, NULL, 10) : 0;
    unsigned long end = replay != NULL ? first + 1 : (histories_wanted() + share - 1) / share;
    unsigned broken[PROMISES] = {0}, intervals_most = 0, siblings_most = 0;
    unsigned long seed = first;

    for (; seed < end && !is_over(broken, stop_at); seed++) {
        run(&history, seed, variant);
        for (unsigned i = 0; i < PROMISES; i++) {
            broken[i] += history.broken[i];
            if (history.broken[i] > 0)
                print_message("EXPLORE_SEED=%lu: %s\n", seed, promise_broken[i]);
        }
        if (history.intervals_most > intervals_most)
            intervals_most = history.intervals_most;
        if (history.siblings_most > siblings_most)
            siblings_most = history.siblings_most;
    }
    print_message("%lu histories of %d steps; largest context %u intervals, most siblings %u\n",
                  seed - first, STEPS, intervals_most, siblings_most);
    return is_over(broken, stop_at);
}

#ifndef EXPLORE_BROKEN

#define ANY_PROMISE ((1u << PROMISES) - 1)

static void no_promise_breaks_in_the_histories_of_the_model(void **state)
{
    (void)state;
    assert_false(explore(VARIANT_MODEL, 1, ANY_PROMISE));
}

static void no_promise_breaks_with_tombstones_and_registers(void **state)
{
    unsigned variant = VARIANT_TOMBSTONES | VARIANT_REGISTERS | VARIANT_SKEW;

    (void)state;
    assert_false(explore(variant, 10, ANY_PROMISE));
}

static void no_promise_breaks_when_single_siblings_are_forgotten(void **state)
{
    (void)state;
    assert_false(explore(VARIANT_FORGET_ONE, 10, ANY_PROMISE));
}

static void no_promise_breaks_when_the_last_write_wins(void **state)
{
    (void)state;
    assert_false(explore(VARIANT_LAST_WRITE_WINS | VARIANT_SKEW, 10, ANY_PROMISE));
}

static void nothing_is_lost_where_contexts_are_folded(void **state)
{
    (void)state;
    assert_false(explore(VARIANT_FOLD, 10, ANY_PROMISE));
}

#else

/* EXPLORE_BROKEN names the rule that cell.c was compiled without, EXPLORE_VARIANT the histories
 * that have to show it, and EXPLORE_FINDS the promise that they have to find broken. */
static void the_histories_catch_the_broken_rule(void **state)
{
    (void)state;
    print_message("broken rule: %s\n", EXPLORE_BROKEN);
    assert_true(explore(EXPLORE_VARIANT, 1, 1u << EXPLORE_FINDS));
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifndef EXPLORE_BROKEN
        cmocka_unit_test(no_promise_breaks_in_the_histories_of_the_model),
        cmocka_unit_test(no_promise_breaks_with_tombstones_and_registers),
        cmocka_unit_test(no_promise_breaks_when_single_siblings_are_forgotten),
        cmocka_unit_test(no_promise_breaks_when_the_last_write_wins),
        cmocka_unit_test(nothing_is_lost_where_contexts_are_folded),
#else
        cmocka_unit_test(the_histories_catch_the_broken_rule),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
