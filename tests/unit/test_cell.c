/* Cells: writing, merging, forgetting, reading, encoding.  What they promise over whole histories
 * is in test_explore.c, and that they agree with the model in test_cell_model.c. */
#include "ring/cell.h"
#include "tests/unit/random.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#define CASES    4000
#define REPLICAS 3
#define SIBLINGS 128
#define ENCODED  (3 + CONTEXT_ENCODED_BYTES(CONTEXT_CELL_MAX) + (size_t)57 * SIBLINGS)

static struct sibling value_at(node_id node, hlc_time hlc)
{
    return sibling_of_value((struct dot){node, hlc}, 0, 0, 100, hlc, 1000 * node + hlc);
}

static struct sibling tombstone_at(node_id node, hlc_time hlc)
{
    return sibling_of_tombstone((struct dot){node, hlc});
}

/* A cell with its own room for siblings. */
struct roomy {
    struct cell cell;
    struct sibling siblings[SIBLINGS];
};

static struct cell *empty(struct roomy *roomy)
{
    cell_init(&roomy->cell, roomy->siblings, SIBLINGS);
    return &roomy->cell;
}

static struct cell *copy(struct roomy *roomy, const struct cell *from)
{
    cell_copy(empty(roomy), from);
    return &roomy->cell;
}

static void put_blind(struct cell *cell, struct sibling write)
{
    assert_int_equal(cell_put_blind(cell, &write), CELL_PUT_DONE);
}

static void put_context(struct cell *cell, struct sibling write, const struct context *seen)
{
    assert_int_equal(cell_put_context(cell, &write, seen), CELL_PUT_DONE);
}

static void put_last(struct cell *cell, struct sibling write)
{
    assert_int_equal(cell_put_last_write_wins(cell, &write), CELL_PUT_DONE);
}

/* A write by someone who has seen nothing. */
static void put_unseen(struct cell *cell, struct sibling write)
{
    struct context nothing;

    context_clear(&nothing);
    put_context(cell, write, &nothing);
}

static void assert_same(const struct cell *a, const struct cell *b)
{
    assert_true(context_equal(&a->context, &b->context));
    assert_int_equal(a->sibling_count, b->sibling_count);
    for (unsigned i = 0; i < a->sibling_count; i++) {
        const struct sibling *x = &a->siblings[i], *y = &b->siblings[i];
        assert_int_equal(dot_compare(x->dot, y->dot), 0);
        assert_int_equal(x->kind, y->kind);
        assert_int_equal(x->reg.hlc, y->reg.hlc);
        assert_int_equal(x->reg.expires_ms, y->reg.expires_ms);
        assert_int_equal(x->reg.explicit_cas, y->reg.explicit_cas);
        assert_int_equal(x->reg.is_stale, y->reg.is_stale);
        assert_int_equal(x->client_flags, y->client_flags);
        assert_int_equal(x->value_bytes, y->value_bytes);
        assert_int_equal(x->value_digest, y->value_digest);
        assert_int_equal(x->value, y->value);
    }
}

/* Replicas after a few random operations: cells that can really meet. */
static void some_replicas(struct random *random, struct roomy replicas[REPLICAS])
{
    hlc_time hlc = 0;

    for (unsigned i = 0; i < REPLICAS; i++)
        empty(&replicas[i]);
    for (unsigned step = random_below(random, 35); step > 0; step--) {
        unsigned node = random_below(random, REPLICAS);
        struct cell *cell = &replicas[node].cell;
        struct cell *other =
            &replicas[(node + 1 + random_below(random, REPLICAS - 1)) % REPLICAS].cell;
        struct sibling write =
            random_chance(random, 25) ? tombstone_at(node + 1, ++hlc) : value_at(node + 1, ++hlc);
        struct sibling *any = cell->sibling_count > 0
                                  ? &cell->siblings[random_below(random, cell->sibling_count)]
                                  : NULL;
        struct context seen;
        switch (random_below(random, 13)) {
        case 0: put_blind(cell, write); break;
        case 1: put_unseen(cell, write); break;
        case 2:
            cell_shown(other, &seen);
            put_context(cell, write, &seen);
            break;
        case 3: cell_merge(cell, other); break;
        case 4: cell_evict(cell); break;
        case 5:
            if (any != NULL)
                cell_forget(cell, any);
            break;
        case 6:
            hlc++;
            if (any != NULL)
                sibling_set_register(any,
                                     &(struct sibling_register){.hlc = hlc, .expires_ms = hlc});
            break;
        case 8: put_last(cell, write); break;
        case 9: cell_expire(cell, 1 + random_below(random, (unsigned)hlc)); break;
        case 10: cell_flush(cell, random_below(random, (unsigned)hlc)); break;
        case 11:
            if (any != NULL && any->dot.node == node + 1)
                assert_int_equal(cell_put_again(cell, &write, any->dot), CELL_PUT_DONE);
            break;
        case 12:
            if (cell_is_reapable(cell, hlc))
                empty(&replicas[node]);
            break;
        case 7: empty(&replicas[node]); break;
        }
    }
}

static void merging_is_commutative_associative_and_idempotent(void **state)
{
    static struct roomy replicas[REPLICAS], left, right, inner;
    struct random random = {1};

    (void)state;
    for (unsigned i = 0; i < CASES; i++) {
        some_replicas(&random, replicas);
        const struct cell *a = &replicas[0].cell, *b = &replicas[1].cell, *c = &replicas[2].cell;
        cell_merge(copy(&left, a), b);
        cell_merge(copy(&right, b), a);
        assert_same(&left.cell, &right.cell);
        cell_merge(&left.cell, b);
        assert_same(&left.cell, &right.cell);
        cell_merge(&left.cell, c);
        cell_merge(copy(&inner, b), c);
        cell_merge(copy(&right, a), &inner.cell);
        assert_same(&left.cell, &right.cell);
    }
}

static void merging_makes_a_cell_live_no_more_and_no_less(void **state)
{
    struct roomy mine, theirs;

    (void)state;
    put_blind(empty(&theirs), value_at(2, 5));
    cell_merge(empty(&mine), &theirs.cell);
    assert_false(mine.cell.is_live);
    put_unseen(&mine.cell, value_at(1, 6));
    cell_merge(&mine.cell, &theirs.cell);
    assert_true(mine.cell.is_live);
}

static void of_one_dot_the_later_register_is_kept_with_the_value_held(void **state)
{
    struct roomy mine, theirs;
    struct sibling_register touched = {.hlc = 9, .expires_ms = 77, .is_stale = true};

    (void)state;
    put_blind(empty(&mine), value_at(1, 5));
    copy(&theirs, &mine.cell);
    assert_true(sibling_set_register(&theirs.cell.siblings[0], &touched));
    cell_evict(&theirs.cell);
    cell_merge(&mine.cell, &theirs.cell);
    assert_int_equal(mine.cell.siblings[0].kind, SIBLING_VALUE);
    assert_int_equal(mine.cell.siblings[0].value, 1005);
    assert_int_equal(mine.cell.siblings[0].reg.expires_ms, 77);
    assert_true(mine.cell.siblings[0].reg.is_stale);
}

static void a_stub_is_refilled_by_whoever_has_the_value(void **state)
{
    struct roomy mine, theirs;

    (void)state;
    put_blind(empty(&mine), value_at(1, 5));
    copy(&theirs, &mine.cell);
    cell_evict(&mine.cell);
    assert_int_equal(mine.cell.siblings[0].kind, SIBLING_STUB);
    assert_int_equal(mine.cell.siblings[0].value, 0);
    cell_merge(&mine.cell, &theirs.cell);
    assert_int_equal(mine.cell.siblings[0].kind, SIBLING_VALUE);
    assert_int_equal(mine.cell.siblings[0].value_bytes, 100);
}

static void an_older_register_changes_nothing(void **state)
{
    struct sibling sibling = value_at(1, 5);

    (void)state;
    assert_false(sibling_set_register(&sibling, &(struct sibling_register){.hlc = 5}));
    assert_true(
        sibling_set_register(&sibling, &(struct sibling_register){.hlc = 7, .expires_ms = 3}));
    assert_false(sibling_set_register(&sibling, &(struct sibling_register){.hlc = 6}));
    assert_int_equal(sibling.reg.expires_ms, 3);
}

static void a_write_with_an_old_context_leaves_siblings(void **state)
{
    struct roomy roomy;
    struct context seen;
    struct cell *cell = empty(&roomy);

    (void)state;
    put_blind(cell, value_at(1, 1));
    cell_shown(cell, &seen);
    put_context(cell, value_at(1, 2), &seen);
    assert_int_equal(cell->sibling_count, 1);
    put_context(cell, value_at(1, 3), &seen);
    assert_int_equal(cell->sibling_count, 2);
    cell_shown(cell, &seen);
    put_context(cell, value_at(1, 4), &seen);
    assert_int_equal(cell->sibling_count, 1);
}

static void a_delete_leaves_a_tombstone_that_supersedes_like_a_value(void **state)
{
    struct roomy roomy;
    struct cell *cell = empty(&roomy);

    (void)state;
    put_blind(cell, value_at(1, 1));
    put_unseen(cell, value_at(1, 2));
    put_blind(cell, tombstone_at(1, 3));
    assert_int_equal(cell->sibling_count, 1);
    assert_int_equal(cell->siblings[0].kind, SIBLING_TOMBSTONE);
    cell_evict(cell);
    assert_int_equal(cell->siblings[0].kind, SIBLING_TOMBSTONE);
}

static void a_dot_that_is_not_fresh_is_refused_and_changes_nothing(void **state)
{
    struct roomy roomy, before;
    struct context seen;
    struct sibling write = value_at(1, 5);
    struct cell *cell = empty(&roomy);

    (void)state;
    put_blind(cell, value_at(1, 5));
    put_unseen(cell, value_at(1, 8));
    copy(&before, cell);
    cell_shown(cell, &seen);
    for (write.dot.hlc = 1; write.dot.hlc <= 8; write.dot.hlc++) {
        write.reg.hlc = write.dot.hlc;
        assert_int_equal(cell_put_blind(cell, &write), CELL_PUT_COVERED);
        assert_int_equal(cell_put_context(cell, &write, &seen), CELL_PUT_COVERED);
        assert_int_equal(cell_put_last_write_wins(cell, &write), CELL_PUT_COVERED);
    }
    assert_same(cell, &before.cell);
    assert_int_equal(cell_clock(cell), 8);
    put_blind(cell, value_at(1, cell_clock(cell) + 1));
}

static void a_context_from_a_faster_clock_has_to_be_passed(void **state)
{
    struct roomy roomy;
    struct context seen;
    struct sibling early = value_at(1, 6);
    struct cell *cell = empty(&roomy);

    (void)state;
    context_clear(&seen);
    context_add(&seen, (struct interval){NODE_ANY, 0, 40});
    assert_int_equal(cell_put_context(cell, &early, &seen), CELL_PUT_COVERED);
    assert_int_equal(cell->sibling_count, 0);
    assert_int_equal(context_newest(&seen), 40);
    put_context(cell, value_at(1, 41), &seen);
}

static void a_write_is_later_than_what_it_supersedes_whoever_wrote_that(void **state)
{
    struct roomy roomy;
    struct context seen;
    struct sibling early = value_at(1, 6);
    struct cell *cell = empty(&roomy);

    (void)state;
    put_blind(cell, value_at(2, 7));
    cell_shown(cell, &seen);
    assert_int_equal(cell_put_blind(cell, &early), CELL_PUT_COVERED);
    assert_int_equal(cell_put_last_write_wins(cell, &early), CELL_PUT_COVERED);
    assert_int_equal(cell_put_context(empty(&roomy), &early, &seen), CELL_PUT_COVERED);
    put_context(cell, value_at(1, 8), &seen);
}

static void the_last_write_covers_what_is_older_wherever_it_was_written(void **state)
{
    struct roomy mine, theirs;

    (void)state;
    put_blind(empty(&theirs), value_at(2, 6));
    put_last(empty(&mine), value_at(1, 7));
    cell_merge(&mine.cell, &theirs.cell);
    assert_int_equal(mine.cell.sibling_count, 1);
    put_last(&theirs.cell, value_at(2, 7));
    cell_merge(&mine.cell, &theirs.cell);
    assert_int_equal(mine.cell.sibling_count, 2);
    assert_int_equal(cell_newest(&mine.cell, SIBLINGS_ALL)->dot.node, 2);
}

static void the_newest_sibling_is_of_the_kinds_asked_for(void **state)
{
    struct roomy roomy;
    struct cell *cell = empty(&roomy);

    (void)state;
    assert_null(cell_newest(cell, SIBLINGS_ALL));
    put_unseen(cell, value_at(1, 5));
    put_unseen(cell, value_at(2, 6));
    put_unseen(cell, tombstone_at(3, 7));
    assert_int_equal(cell_newest(cell, SIBLINGS_ALL)->dot.hlc, 7);
    assert_int_equal(cell_newest(cell, SIBLING_VALUE)->dot.hlc, 6);
    cell_evict_sibling(cell, cell_find(cell, (struct dot){2, 6}));
    assert_int_equal(cell_newest(cell, SIBLING_VALUE)->dot.hlc, 5);
    assert_int_equal(cell_newest(cell, SIBLINGS_HELD)->dot.hlc, 7);
    assert_int_equal(cell_newest(cell, SIBLING_STUB)->dot.hlc, 6);
}

static void a_version_expires_at_its_time_and_not_before(void **state)
{
    struct roomy roomy;
    struct cell *cell = empty(&roomy);

    (void)state;
    put_blind(cell, sibling_of_value((struct dot){1, 5}, 1000, 0, 9, 0, 0));
    put_unseen(cell, value_at(1, 6));
    assert_int_equal(cell_expire(cell, 999), 0);
    assert_int_equal(cell_expire(cell, 1000), 1);
    assert_int_equal(cell->siblings[0].kind, SIBLING_STUB);
    assert_int_equal(cell->siblings[1].kind, SIBLING_VALUE);
    assert_int_equal(cell_expire(cell, UINT64_MAX), 0);
}

static void a_stub_is_not_covered_by_what_a_client_is_shown(void **state)
{
    struct roomy roomy;
    struct context seen;
    struct cell *cell = empty(&roomy);

    (void)state;
    put_blind(cell, value_at(1, 5));
    put_unseen(cell, value_at(1, 6));
    cell_evict_sibling(cell, &cell->siblings[0]);
    assert_int_equal(cell_shown(cell, &seen), 0);
    assert_false(context_covers(&seen, (struct dot){1, 5}));
    assert_true(context_covers(&seen, (struct dot){1, 6}));
    put_context(cell, value_at(1, 7), &seen);
    assert_int_equal(cell->sibling_count, 2);
}

static void a_forgotten_sibling_is_seen_no_more(void **state)
{
    struct roomy roomy, theirs;
    struct cell *cell = empty(&roomy);

    (void)state;
    put_blind(cell, value_at(1, 5));
    put_unseen(cell, value_at(1, 6));
    copy(&theirs, cell);
    cell_forget(cell, &cell->siblings[0]);
    assert_int_equal(cell->sibling_count, 1);
    assert_false(cell_covers(cell, (struct dot){1, 5}));
    assert_false(cell->is_live);
    cell_merge(&theirs.cell, cell);
    assert_int_equal(theirs.cell.sibling_count, 2);
}

static void what_was_flushed_goes_and_its_context_stays(void **state)
{
    struct roomy roomy;
    struct cell *cell = empty(&roomy);

    (void)state;
    put_unseen(cell, value_at(1, 5));
    put_unseen(cell, tombstone_at(2, 6));
    put_unseen(cell, value_at(3, 7));
    assert_int_equal(cell_flush(cell, 4), 0);
    assert_int_equal(cell_flush(cell, 6), 2);
    assert_int_equal(cell->sibling_count, 1);
    assert_true(cell_covers(cell, (struct dot){1, 5}));
    assert_int_equal(cell_flush(cell, 7), 1);
    assert_int_equal(cell->sibling_count, 0);
}

static void only_a_cell_of_old_tombstones_is_reaped(void **state)
{
    struct roomy roomy;
    struct cell *cell = empty(&roomy);

    (void)state;
    assert_false(cell_is_reapable(cell, HLC_END));
    put_unseen(cell, tombstone_at(1, 5));
    put_unseen(cell, tombstone_at(2, 6));
    assert_false(cell_is_reapable(cell, 6));
    assert_true(cell_is_reapable(cell, 7));
    put_unseen(cell, value_at(3, 7));
    assert_false(cell_is_reapable(cell, 8));
    cell_evict(cell);
    assert_false(cell_is_reapable(cell, 8));
}

static void what_was_refused_is_written_again_beside_what_came_since(void **state)
{
    struct roomy roomy;
    struct cell *cell = empty(&roomy);
    struct sibling again = value_at(1, 9), late = value_at(1, 6);

    (void)state;
    put_unseen(cell, value_at(1, 4));
    put_unseen(cell, value_at(1, 5));
    put_unseen(cell, value_at(2, 7));
    assert_int_equal(cell_put_again(cell, &again, (struct dot){1, 5}), CELL_PUT_DONE);
    assert_int_equal(cell->sibling_count, 3);
    assert_null(cell_find(cell, (struct dot){1, 5}));
    assert_non_null(cell_find(cell, (struct dot){1, 9}));
    assert_int_equal(cell_put_again(cell, &late, (struct dot){1, 9}), CELL_PUT_COVERED);
    assert_non_null(cell_find(cell, (struct dot){1, 9}));
}

static void what_was_seen_is_removed_without_a_tombstone(void **state)
{
    struct roomy roomy;
    struct context seen;
    struct cell *cell = empty(&roomy);

    (void)state;
    put_blind(cell, value_at(1, 5));
    cell_shown(cell, &seen);
    put_unseen(cell, value_at(1, 6));
    assert_int_equal(cell_remove_seen(cell, &seen), 1);
    assert_int_equal(cell->sibling_count, 1);
    assert_int_equal(cell->siblings[0].dot.hlc, 6);
    assert_true(cell->is_live);
    assert_true(cell_is_common(cell));
}

static void a_context_stays_within_its_bound_and_the_loss_is_counted(void **state)
{
    struct roomy roomy;
    struct context seen;
    struct cell *cell = empty(&roomy);

    (void)state;
    for (node_id node = 1; node <= 40; node++)
        put_unseen(cell, value_at(node, 100 + node));
    assert_int_equal(cell->context.count, CONTEXT_CELL_MAX);
    assert_int_equal(cell->intervals_dropped, 40 - CONTEXT_CELL_MAX);
    assert_int_equal(cell->sibling_count, 40);
    /* All 40 were shown, but a client's context has an end as well. */
    assert_int_equal(cell_shown(cell, &seen), 40 - CONTEXT_CLIENT_MAX);
    put_context(cell, value_at(41, 200), &seen);
    assert_int_equal(cell->sibling_count, 40 - CONTEXT_CLIENT_MAX + 1);
    assert_int_equal(cell_clock(cell), 200);
}

static void equal_siblings_count_once(void **state)
{
    struct roomy roomy;
    struct context nothing;
    struct sibling again = sibling_of_value((struct dot){1, 9}, 0, 0, 100, 42, 0);
    struct cell *cell = empty(&roomy);

    (void)state;
    context_clear(&nothing);
    put_unseen(cell, sibling_of_value((struct dot){1, 5}, 0, 0, 100, 42, 0));
    put_unseen(cell, sibling_of_value((struct dot){2, 6}, 0, 0, 100, 42, 0));
    put_unseen(cell, sibling_of_value((struct dot){3, 7}, 0, 1, 100, 42, 0));
    assert_int_equal(cell_count_distinct(cell, SIBLINGS_ALL), 2);
    assert_int_equal(cell_siblings_after(cell, &again, &nothing), 2);
    again.value_digest = 43;
    assert_int_equal(cell_siblings_after(cell, &again, &nothing), 3);
    cell_shown(cell, &nothing);
    assert_int_equal(cell_siblings_after(cell, &again, &nothing), 1);
}

static bool same_digest(const struct cell *a, const struct cell *b)
{
    struct cell_digest x = cell_state_digest(a), y = cell_state_digest(b);

    return x.low == y.low && x.high == y.high;
}

static void the_state_digest_leaves_out_contexts_and_stubs(void **state)
{
    struct roomy roomy, other;
    struct cell *cell = empty(&roomy);

    (void)state;
    put_blind(cell, value_at(1, 5));
    copy(&other, cell);
    context_add(&other.cell.context, (struct interval){7, 1, 9});
    assert_true(same_digest(cell, &other.cell));
    cell_evict(&other.cell);
    assert_true(same_digest(cell, &other.cell));
}

static void the_state_digest_tells_dots_tombstones_and_registers(void **state)
{
    struct roomy roomy, other;
    struct cell *cell = empty(&roomy);

    (void)state;
    put_blind(cell, value_at(1, 5));
    put_blind(empty(&other), tombstone_at(1, 5));
    assert_false(same_digest(cell, &other.cell));
    put_blind(empty(&other), value_at(2, 5));
    assert_false(same_digest(cell, &other.cell));
    copy(&other, cell);
    other.cell.siblings[0].reg.expires_ms = 1;
    assert_false(same_digest(cell, &other.cell));
    copy(&other, cell);
    other.cell.siblings[0].reg.is_stale = true;
    assert_false(same_digest(cell, &other.cell));
}

static void a_token_is_the_same_on_all_replicas_in_one_state(void **state)
{
    static struct roomy replicas[REPLICAS], left, right;
    struct random random = {2};

    (void)state;
    for (unsigned i = 0; i < CASES; i++) {
        some_replicas(&random, replicas);
        cell_merge(copy(&left, &replicas[0].cell), &replicas[1].cell);
        cell_merge(copy(&right, &replicas[1].cell), &replicas[0].cell);
        cell_evict(&right.cell);
        if (left.cell.sibling_count == 0)
            continue;
        assert_int_equal(cell_token(&left.cell), cell_token(&right.cell));
        assert_true(hlc_is_valid(cell_token(&left.cell)));
    }
}

static void a_token_tells_the_newest_millisecond_and_the_dots(void **state)
{
    struct roomy roomy;
    struct cell *cell = empty(&roomy);

    (void)state;
    put_unseen(cell, value_at(1, hlc_of_ms(1700) + 3));
    uint64_t one = cell_token(cell);
    assert_int_equal(hlc_ms(one), 1700);
    put_unseen(cell, value_at(2, hlc_of_ms(1700) + 4));
    assert_int_equal(hlc_ms(cell_token(cell)), 1700);
    assert_int_not_equal(cell_token(cell), one);
    put_unseen(cell, value_at(1, hlc_of_ms(1701)));
    assert_int_equal(hlc_ms(cell_token(cell)), 1701);
}

static void standalone_the_token_is_the_clock_of_the_newest_write(void **state)
{
    struct roomy roomy;
    struct cell *cell = empty(&roomy);

    (void)state;
    put_blind(cell, value_at(1, 5));
    assert_int_equal(cell_token_standalone(cell), 5);
    put_unseen(cell, value_at(1, 6));
    assert_int_equal(cell_token_standalone(cell), 6);
}

static void a_chosen_cas_is_the_token_until_the_next_write(void **state)
{
    struct roomy roomy;
    struct sibling write = value_at(1, 5);
    struct cell *cell = empty(&roomy);

    (void)state;
    write.reg.explicit_cas = UINT64_MAX;
    put_blind(cell, write);
    assert_true(cell_token(cell) == UINT64_MAX);
    assert_true(cell_token_standalone(cell) == UINT64_MAX);
    put_unseen(cell, value_at(1, 6));
    assert_int_equal(cell_token_standalone(cell), 6);
    assert_int_not_equal(cell_token(cell), UINT64_MAX);
}

static void what_one_client_writes_after_reading_stays_common(void **state)
{
    struct roomy roomy;
    struct context seen;
    struct cell *cell = empty(&roomy);

    (void)state;
    assert_false(cell_is_common(cell));
    put_blind(cell, value_at(1, 5));
    assert_true(cell_is_common(cell));
    cell_shown(cell, &seen);
    put_context(cell, value_at(1, 6), &seen);
    assert_true(cell_is_common(cell));
    put_unseen(cell, value_at(1, 7));
    assert_false(cell_is_common(cell));
    put_blind(cell, value_at(1, 8));
    assert_true(cell_is_common(cell));
    put_blind(cell, tombstone_at(1, 9));
    assert_false(cell_is_common(cell));
}

static void a_plain_item_makes_the_cell_it_was_stored_from(void **state)
{
    struct roomy roomy, again;
    struct cell *cell = empty(&roomy);

    (void)state;
    put_blind(cell, value_at(1, 5));
    cell_make_common(empty(&again), &cell->siblings[0], true);
    assert_same(cell, &again.cell);
    assert_true(again.cell.is_live);
}

/* Handles are the caller's own and not encoded. */
static void clear_handles(struct cell *cell)
{
    for (unsigned i = 0; i < cell->sibling_count; i++)
        cell->siblings[i].value = 0;
}

static void an_encoded_cell_decodes_to_itself(void **state)
{
    static struct roomy replicas[REPLICAS], decoded;
    struct random random = {3};

    (void)state;
    for (unsigned i = 0; i < CASES; i++) {
        unsigned char bytes[ENCODED + 1];
        some_replicas(&random, replicas);
        struct cell *cell = &replicas[0].cell;
        size_t size = cell_encode(cell, bytes);
        struct slice encoded = {bytes, size + 1};
        assert_int_equal(size, cell_encoded_bytes(cell));
        assert_int_equal(cell_decode_sibling_count(encoded), cell->sibling_count);
        assert_int_equal(cell_decode(empty(&decoded), encoded), size);
        clear_handles(cell);
        assert_same(cell, &decoded.cell);
        assert_int_equal(cell->is_live, decoded.cell.is_live);
        for (encoded.size = 0; encoded.size < size; encoded.size++) {
            assert_int_equal(cell_decode(empty(&decoded), encoded), 0);
            assert_int_equal(decoded.cell.sibling_count, 0);
        }
    }
}

static void a_cell_with_more_siblings_than_room_is_refused(void **state)
{
    struct roomy roomy;
    struct sibling siblings[2];
    struct cell small;
    unsigned char bytes[ENCODED];
    struct cell *cell = empty(&roomy);

    (void)state;
    for (node_id node = 1; node <= 3; node++)
        put_unseen(cell, value_at(node, 5 + node));
    struct slice encoded = {bytes, cell_encode(cell, bytes)};
    cell_init(&small, siblings, 2);
    assert_int_equal(cell_decode(&small, encoded), 0);
    assert_int_equal(small.sibling_count, 0);
}

/* Whatever is accepted has to be sound, and to be the only encoding of what it says.  The bytes
 * are copied to memory of just their size, for the sanitizer to watch. */
static void decode_and_check(const unsigned char *bytes, size_t size)
{
    static struct roomy decoded;
    unsigned char again[ENCODED];
    unsigned char *exact = malloc(size > 0 ? size : 1);

    assert_non_null(exact);
    memcpy(exact, bytes, size);
    size_t used = cell_decode(empty(&decoded), (struct slice){exact, size});
    assert_true(used <= size);
    assert_true(cell_is_sound(&decoded.cell));
    if (used > 0) {
        assert_int_equal(cell_encode(&decoded.cell, again), used);
        assert_memory_equal(again, bytes, used);
    } else {
        assert_int_equal(decoded.cell.sibling_count, 0);
        assert_int_equal(decoded.cell.context.count, 0);
    }
    free(exact);
}

static void random_and_spoilt_bytes_do_no_harm(void **state)
{
    static struct roomy replicas[REPLICAS];
    struct random random = {4};

    (void)state;
    for (unsigned i = 0; i < 10 * CASES; i++) {
        unsigned char bytes[ENCODED];
        size_t size = random_below(&random, 200);
        random_fill(&random, bytes, size);
        if (size > 3 && random_chance(&random, 80))
            memcpy(bytes, (unsigned char[]){0xc0, 1, 0, 1}, 4);
        decode_and_check(bytes, size);
        some_replicas(&random, replicas);
        size = cell_encode(&replicas[0].cell, bytes);
        for (unsigned flips = 1 + random_below(&random, 3); flips > 0; flips--)
            bytes[random_below(&random, (unsigned)size)] ^=
                (unsigned char)(1u << random_below(&random, 8));
        decode_and_check(bytes, size);
    }
}

static void replicas_reap_at_the_same_times_and_never_before_the_grace(void **state)
{
    const uint64_t grace_ms = 3600000, start_ms = 1790000000000;
    unsigned steps = 0;

    (void)state;
    for (uint64_t passed_ms = 0; passed_ms < 2 * grace_ms; passed_ms += 1000) {
        hlc_time before = cell_reap_before(start_ms + passed_ms, grace_ms);
        hlc_time next = cell_reap_before(start_ms + passed_ms + 1000, grace_ms);
        assert_true(hlc_ms(before) + grace_ms <= start_ms + passed_ms);
        assert_true(hlc_ms(before) + grace_ms + grace_ms / 8 + 1 > start_ms + passed_ms);
        assert_true(next >= before);
        steps += next != before;
    }
    assert_in_range(steps, 15, 17);
    assert_int_equal(cell_reap_before(1000, grace_ms), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merging_is_commutative_associative_and_idempotent),
        cmocka_unit_test(merging_makes_a_cell_live_no_more_and_no_less),
        cmocka_unit_test(of_one_dot_the_later_register_is_kept_with_the_value_held),
        cmocka_unit_test(a_stub_is_refilled_by_whoever_has_the_value),
        cmocka_unit_test(an_older_register_changes_nothing),
        cmocka_unit_test(a_write_with_an_old_context_leaves_siblings),
        cmocka_unit_test(a_delete_leaves_a_tombstone_that_supersedes_like_a_value),
        cmocka_unit_test(a_dot_that_is_not_fresh_is_refused_and_changes_nothing),
        cmocka_unit_test(a_context_from_a_faster_clock_has_to_be_passed),
        cmocka_unit_test(a_write_is_later_than_what_it_supersedes_whoever_wrote_that),
        cmocka_unit_test(the_last_write_covers_what_is_older_wherever_it_was_written),
        cmocka_unit_test(the_newest_sibling_is_of_the_kinds_asked_for),
        cmocka_unit_test(a_version_expires_at_its_time_and_not_before),
        cmocka_unit_test(a_stub_is_not_covered_by_what_a_client_is_shown),
        cmocka_unit_test(a_forgotten_sibling_is_seen_no_more),
        cmocka_unit_test(what_was_flushed_goes_and_its_context_stays),
        cmocka_unit_test(only_a_cell_of_old_tombstones_is_reaped),
        cmocka_unit_test(what_was_refused_is_written_again_beside_what_came_since),
        cmocka_unit_test(what_was_seen_is_removed_without_a_tombstone),
        cmocka_unit_test(a_context_stays_within_its_bound_and_the_loss_is_counted),
        cmocka_unit_test(equal_siblings_count_once),
        cmocka_unit_test(the_state_digest_leaves_out_contexts_and_stubs),
        cmocka_unit_test(the_state_digest_tells_dots_tombstones_and_registers),
        cmocka_unit_test(a_token_is_the_same_on_all_replicas_in_one_state),
        cmocka_unit_test(a_token_tells_the_newest_millisecond_and_the_dots),
        cmocka_unit_test(standalone_the_token_is_the_clock_of_the_newest_write),
        cmocka_unit_test(a_chosen_cas_is_the_token_until_the_next_write),
        cmocka_unit_test(what_one_client_writes_after_reading_stays_common),
        cmocka_unit_test(a_plain_item_makes_the_cell_it_was_stored_from),
        cmocka_unit_test(an_encoded_cell_decodes_to_itself),
        cmocka_unit_test(a_cell_with_more_siblings_than_room_is_refused),
        cmocka_unit_test(random_and_spoilt_bytes_do_no_harm),
        cmocka_unit_test(replicas_reap_at_the_same_times_and_never_before_the_grace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
