/* server/command.h on cells that other nodes have written to: what one server never has.  What it
 * has in common with one server is compared in test_command_alike.c. */
#include "ring/key_hash.h"
#include "server/cells.h"
#include "server/clock.h"
#include "server/execute.h"
#include "server/settings.h"
#include "tests/unit/cell_keeper.h"
#include "tests/unit/random.h"
#include <stdio.h>
#include <stdlib.h>

#define OTHER 3 /* another node, and one more */
#define THIRD 9

static int start(void **state)
{
    conversation_start(state);
    keeper_start();
    conversation_execute = keeper_execute;
    return 0;
}

static int end(void **state)
{
    conversation_execute = execute_batch;
    keeper_end();
    policies_clear();
    return conversation_end(state);
}

/* A dot so many milliseconds before now. */
static struct dot ago(node_id node, uint64_t ms)
{
    return (struct dot){node, hlc_of_ms(clock_now_ms() - ms)};
}

static void use_resolver(enum resolver_policy resolver)
{
    const struct policies policies = {
        .count = 1, .rows = {{.keeps_siblings = true, .resolver = (uint8_t)resolver}}};

    assert_true(policies_replace(&policies));
}

static void use_last_write_wins(void)
{
    const struct policies policies = {.count = 1, .rows = {{.keeps_siblings = false}}};

    assert_true(policies_replace(&policies));
}

static uint64_t token_of(const char *key)
{
    char line[300];

    snprintf(line, sizeof line, "mg %s c u\r\n", key);
    return strtoull(say(line) + 4, NULL, 10);
}

static const char *context_of(const char *key)
{
    static char context[4000];
    char line[300];

    snprintf(line, sizeof line, "mg %s y u\r\n", key);
    const char *said = say(line) + 4;
    snprintf(context, sizeof context, "%.*s", (int)strcspn(said, "\r"), said);
    assert_int_equal(context[0], '@');
    return context;
}

static const char *store_with(const char *key, const char *context, const char *value)
{
    static char line[5000];

    snprintf(line, sizeof line, "cas %s 0 0 %zu %s\r\n%s\r\n", key, strlen(value), context, value);
    return say(line);
}

/* What this node wrote first, and what another one wrote later without having seen it. */
static void make_two(const char *mine, const char *theirs)
{
    keeper_put("k", ago(KEEPER_SELF, 10), mine);
    keeper_put("k", ago(OTHER, 5), theirs);
    assert_int_equal(keeper_cell("k")->sibling_count, 2);
}

static unsigned count(unsigned kinds)
{
    const struct cell *cell = keeper_cell("k");
    unsigned found = 0;

    for (unsigned i = 0; i < cell->sibling_count; i++)
        found += (cell->siblings[i].kind & kinds) != 0;
    return found;
}

static const struct sibling *own_newest(void)
{
    return cell_newest(keeper_cell("k"), SIBLINGS_ALL);
}

/* ---- classes ---- */

static void what_needs_no_look_is_written_blindly(void **state)
{
    (void)state;
    says("set k 0 0 1\r\n1\r\n", "STORED\r\n");
    make_two("mine", "theirs");
    says("set k 0 0 1\r\n2\r\n", "STORED\r\n");
    assert_int_equal(count(SIBLINGS_ALL), 1);
    says("delete nothing noreply\r\n", "");
    assert_int_equal(keeper_cell("nothing")->siblings[0].kind, SIBLING_TOMBSTONE);
    says("delete nothing\r\n", "NOT_FOUND\r\n");
    assert_int_equal(keeper_applied, COMMAND_KEPT);
}

static void a_delete_leaves_a_tombstone_that_nobody_is_shown(void **state)
{
    (void)state;
    says("set k 0 0 1\r\n1\r\n", "STORED\r\n");
    says("delete k\r\n", "DELETED\r\n");
    assert_int_equal(count(SIBLING_TOMBSTONE), 1);
    assert_int_equal(count(SIBLINGS_ALL), 1);
    says("get k\r\nvget k\r\nmg k v\r\nme k\r\n", "END\r\nEND\r\nEN\r\nEN\r\n");
    says("add k 0 0 1\r\n2\r\n", "STORED\r\n");
    assert_int_equal(count(SIBLINGS_ALL), 1);
}

static void registers_are_written_without_a_new_version(void **state)
{
    const struct sibling *before;
    struct dot dot;
    uint64_t token;

    (void)state;
    says("set k 0 0 1\r\n1\r\n", "STORED\r\n");
    dot = own_newest()->dot;
    token = token_of("k");
    says("touch k 100\r\n", "TOUCHED\r\n");
    assert_int_equal(keeper_applied, COMMAND_REGISTER);
    says("gat 200 k\r\n", "VALUE k 0 1\r\n1\r\nEND\r\n");
    assert_int_equal(keeper_applied, COMMAND_REGISTER);
    assert_int_equal(token_of("k"), token);
    says("mg k T200\r\n", "HD\r\n");
    says("md k I\r\n", "HD\r\n");
    assert_int_equal(keeper_applied, COMMAND_REGISTER);
    before = own_newest();
    assert_int_equal(dot_compare(before->dot, dot), 0);
    assert_true(before->reg.is_stale);
    assert_true(before->reg.hlc > dot.hlc);
    assert_true(token_of("k") > token);
}

static void a_touch_that_changes_nothing_is_not_written(void **state)
{
    (void)state;
    says("set k 0 0 1\r\n1\r\n", "STORED\r\n");
    says("touch k 0\r\n", "TOUCHED\r\n");
    assert_int_equal(keeper_applied, COMMAND_KEPT);
}

/* ---- siblings ---- */

static void plain_readers_are_shown_the_newest_and_others_all(void **state)
{
    (void)state;
    make_two("mine", "theirs");
    says("get k\r\n", "VALUE k 0 6\r\ntheirs\r\nEND\r\n");
    says("mg k n s v\r\n", "VA 6 n2 s6\r\ntheirs\r\n");
    assert_non_null(strstr(say("vget k\r\n"), "theirs"));
    assert_non_null(strstr(say("vget k\r\n"), "mine"));
}

static void equal_values_are_shown_once(void **state)
{
    (void)state;
    make_two("same", "same");
    says("mg k n v\r\n", "VA 4 n1\r\nsame\r\n");
    assert_string_equal(store_with("k", context_of("k"), "one"), "STORED\r\n");
    assert_int_equal(count(SIBLINGS_ALL), 1);
}

static void a_token_write_supersedes_what_was_shown(void **state)
{
    char line[200];

    (void)state;
    make_two("mine", "theirs");
    snprintf(line, sizeof line, "cas k 0 0 1 %llu\r\n1\r\n", (unsigned long long)token_of("k") + 1);
    says(line, "EXISTS\r\n");
    assert_int_equal(count(SIBLINGS_ALL), 2);
    snprintf(line, sizeof line, "cas k 0 0 1 %llu\r\n1\r\n", (unsigned long long)token_of("k"));
    says(line, "STORED\r\n");
    assert_int_equal(count(SIBLINGS_ALL), 1);
}

static void what_decides_covers_nothing_that_is_only_known_of(void **state)
{
    (void)state;
    make_two("mine", "theirs");
    cell_evict_sibling(keeper_cell("k"), cell_find(keeper_cell("k"), own_newest()->dot));
    says("append k 0 0 1\r\n1\r\n", "STORED\r\n");
    says("get k\r\n", "VALUE k 0 5\r\nmine1\r\nEND\r\n");
    assert_int_equal(count(SIBLING_STUB), 1);
    says("set k 0 0 1\r\n1\r\n", "STORED\r\n"); /* a blind write does */
    assert_int_equal(count(SIBLINGS_ALL), 1);
}

static void what_has_expired_is_in_nobodys_way(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        says("add k 0 1 1\r\n1\r\n", "STORED\r\n");
        pass_seconds(2);
        says("get k\r\n", "END\r\n");
        assert_int_equal(count(SIBLINGS_ALL), 1);
    }
    assert_string_equal(store_with("k", "@", "one"), "STORED\r\n");
    assert_int_equal(count(SIBLINGS_ALL), 1);
}

static void two_states_in_a_row_never_have_one_token(void **state)
{
    uint64_t before = 0;

    (void)state;
    for (unsigned i = 0; i < 2000; i++) {
        say("set k 0 0 1\r\n1\r\n");
        assert_true(token_of("k") != before);
        before = token_of("k");
    }
}

/* ---- contexts ---- */

static void a_context_write_leaves_what_it_has_not_seen(void **state)
{
    char seen[4000];

    (void)state;
    says("set k 0 0 4\r\nbase\r\n", "STORED\r\n");
    snprintf(seen, sizeof seen, "%s", context_of("k"));
    keeper_put("k", (struct dot){OTHER, own_newest()->dot.hlc + 1}, "theirs");
    assert_string_equal(store_with("k", seen, "mine"), "STORED\r\n");
    assert_int_equal(count(SIBLINGS_ALL), 2);
    says("mg k n v\r\n", "VA 4 n2\r\nmine\r\n");
    assert_string_equal(store_with("k", context_of("k"), "both"), "STORED\r\n");
    assert_int_equal(count(SIBLINGS_ALL), 1);
}

static void a_context_delete_leaves_what_it_has_not_seen(void **state)
{
    char line[5000], seen[4000];
    struct dot theirs;

    (void)state;
    says("set k 0 0 4\r\nbase\r\n", "STORED\r\n");
    snprintf(seen, sizeof seen, "%s", context_of("k"));
    theirs = (struct dot){OTHER, own_newest()->dot.hlc + 1};
    keeper_put("k", theirs, "theirs");
    snprintf(line, sizeof line, "delete k %s\r\n", seen);
    says(line, "DELETED\r\n");
    assert_int_equal(count(SIBLINGS_ALL), 1);
    says("get k\r\n", "VALUE k 0 6\r\ntheirs\r\nEND\r\n");
    snprintf(line, sizeof line, "delete k %s\r\n", context_of("k"));
    says(line, "DELETED\r\n");
    assert_int_equal(count(SIBLING_TOMBSTONE), 1);
    assert_int_equal(count(SIBLINGS_ALL), 1);
    /* Should another node still have them, a merge does not bring them back. */
    keeper_put("k", theirs, "theirs");
    assert_int_equal(count(SIBLING_VALUE), 0);
}

static void deletes_of_nothing_do_not_pile_up(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 50; i++)
        says("delete k @\r\n", "DELETED\r\n");
    assert_int_equal(count(SIBLINGS_ALL), 1);
}

static void a_context_that_was_not_sealed_here_changes_nothing(void **state)
{
    char forged[4000];

    (void)state;
    says("set k 0 0 4\r\nbase\r\n", "STORED\r\n");
    snprintf(forged, sizeof forged, "%s", context_of("k"));
    forged[3] = forged[3] == 'A' ? 'B' : 'A';
    assert_string_equal(store_with("k", forged, "one"), "CLIENT_ERROR bad context\r\n");
    assert_int_equal(keeper_applied, COMMAND_KEPT);
    assert_string_equal(store_with("other", context_of("k"), "one"),
                        "CLIENT_ERROR bad context\r\n");
    says("get k\r\n", "VALUE k 0 4\r\nbase\r\nEND\r\n");
}

static void siblings_are_bounded(void **state)
{
    char value[16];

    (void)state;
    settings.siblings_max = 4;
    for (unsigned i = 0; i < 4; i++) {
        snprintf(value, sizeof value, "v%u", i);
        assert_string_equal(store_with("k", "@", value), "STORED\r\n");
    }
    assert_string_equal(store_with("k", "@", "one more"), "SERVER_ERROR too many siblings\r\n");
    assert_string_equal(store_with("k", "@", "v2"), "STORED\r\n"); /* it is there already */
    assert_int_equal(count(SIBLINGS_ALL), 4);
}

static void the_cluster_seals_with_its_own_key(void **state)
{
    static const struct siphash_key shared = {{1, 2, 3}};
    char mine[4000];

    (void)state;
    says("set k 0 0 4\r\nbase\r\n", "STORED\r\n");
    snprintf(mine, sizeof mine, "%s", context_of("k"));
    cells_share_key(&shared);
    assert_string_not_equal(context_of("k"), mine);
    assert_string_equal(store_with("k", mine, "one"), "CLIENT_ERROR bad context\r\n");
    assert_string_equal(store_with("k", context_of("k"), "one"), "STORED\r\n");
    cells_share_key(NULL);
    assert_string_equal(store_with("k", context_of("k"), "one"), "STORED\r\n");
}

/* ---- policies ---- */

static void without_siblings_the_last_write_wins(void **state)
{
    (void)state;
    use_last_write_wins();
    make_two("mine", "theirs");
    assert_string_equal(store_with("k", "@", "last"), "STORED\r\n");
    assert_int_equal(count(SIBLINGS_ALL), 1);
    keeper_put("k", ago(THIRD, 20), "older");
    assert_int_equal(count(SIBLINGS_ALL), 1);
    says("delete k @\r\n", "DELETED\r\n");
    assert_int_equal(count(SIBLING_TOMBSTONE), 1);
}

static void one_value_is_made_of_several_by_the_resolver(void **state)
{
    (void)state;
    use_resolver(RESOLVE_MAX);
    make_two("10", "9");
    says("get k\r\nmg k v n\r\n", "VALUE k 0 2\r\n10\r\nEND\r\nVA 2 n2\r\n10\r\n");
    use_resolver(RESOLVE_MIN);
    says("get k\r\n", "VALUE k 0 1\r\n9\r\nEND\r\n");
    use_resolver(RESOLVE_LONGEST);
    says("get k\r\n", "VALUE k 0 2\r\n10\r\nEND\r\n");
    use_resolver(RESOLVE_UNION);
    says("get k\r\n", "VALUE k 0 4\r\n10\n9\r\nEND\r\n");
    says("append k 0 0 2\r\n\n8\r\n", "STORED\r\n");
    assert_int_equal(count(SIBLINGS_ALL), 1);
    says("get k\r\n", "VALUE k 0 6\r\n10\n9\n8\r\nEND\r\n");
}

static void gat_and_invalidation_show_what_the_resolver_made(void **state)
{
    (void)state;
    use_resolver(RESOLVE_UNION);
    make_two("a", "b");
    says("gat 100 k\r\n", "VALUE k 0 3\r\na\nb\r\nEND\r\n");
    assert_int_equal(count(SIBLINGS_ALL), 2);
    says("md k I\r\n", "HD\r\n");
    assert_int_equal(keeper_applied, COMMAND_WRITTEN); /* a register could not give a new cas */
    assert_int_equal(count(SIBLINGS_ALL), 1);
    says("mg k v t\r\n", "VA 3 t100 X W\r\na\nb\r\n");
}

static void nodes_count_in_shares_of_their_own(void **state)
{
    (void)state;
    use_resolver(RESOLVE_COUNTER);
    says("incr k 1\r\n", "NOT_FOUND\r\n");
    says("ma k N0 J5 v\r\n", "VA 1\r\n5\r\n");
    keeper_put("k", (struct dot){OTHER, own_newest()->dot.hlc + 1}, "20");
    says("incr k 3\r\n", "28\r\n");
    says("get k\r\n", "VALUE k 0 2\r\n28\r\nEND\r\n");
    assert_int_equal(count(SIBLINGS_ALL), 2);
    says("decr k 100\r\n", "0\r\n");
    says("decr k 1\r\nincr k 7\r\n", "0\r\n7\r\n");
    assert_int_equal(count(SIBLINGS_ALL), 2);
    says("set k 0 0 2\r\n40\r\n", "STORED\r\n"); /* starts anew */
    assert_int_equal(count(SIBLINGS_ALL), 1);
    says("incr k 2\r\n", "42\r\n");
}

static void of_a_counter_nobody_knows_the_sum_while_a_share_is_missing(void **state)
{
    (void)state;
    use_resolver(RESOLVE_COUNTER);
    make_two("5", "20");
    cell_evict_sibling(keeper_cell("k"), cell_find(keeper_cell("k"), own_newest()->dot));
    says("get k\r\n", "SERVER_ERROR a share of the counter is not held\r\n");
    say("incr k 1\r\n");
    assert_int_equal(keeper_applied, COMMAND_AGAIN);
    says("set k 0 0 1\r\n1\r\n", "STORED\r\n");
    says("incr k 1\r\n", "2\r\n");
    cell_evict_sibling(keeper_cell("k"),
                       keeper_put("k", (struct dot){OTHER, own_newest()->dot.hlc + 1}, "20"));
    says("delete k\r\n", "DELETED\r\n");
    says("get k\r\n", "END\r\n");
}

static void a_share_that_has_expired_is_missed_by_nobody(void **state)
{
    (void)state;
    use_resolver(RESOLVE_COUNTER);
    says("set k 0 1 1\r\n5\r\n", "STORED\r\n");
    pass_seconds(2);
    says("get k\r\n", "END\r\n");
    says("incr k 1\r\n", "NOT_FOUND\r\n");
    says("ma k N0 J1 v\r\n", "VA 1\r\n1\r\n");
    assert_int_equal(count(SIBLINGS_ALL), 1);
}

/* ---- who wins ---- */

static void who_wins_is_said_by_the_coordinator(void **state)
{
    (void)state;
    keeper_put("k", ago(OTHER, 5), "value")->reg.is_stale = true;
    says("mg k v\r\n", "VA 5 X W\r\nvalue\r\n");
    assert_int_equal(keeper_applied, COMMAND_KEPT); /* it was decided */
    says("mg k v\r\n", "VA 5 Z X\r\nvalue\r\n");
    assert_int_equal(keeper_applied, 0); /* it was read: this node knows the winner */
    keeper_put("empty", ago(OTHER, 5), "");
    says("mg empty v\r\n", "VA 0\r\n\r\n");
    assert_int_equal(keeper_applied, COMMAND_KEPT);
}

/* ---- clocks ---- */

static void a_dot_comes_after_all_that_the_cell_knows(void **state)
{
    struct dot ahead = {OTHER, hlc_of_ms(clock_now_ms() + 30000)};

    (void)state;
    keeper_put("k", ahead, "theirs");
    says("set k 0 0 1\r\n1\r\n", "STORED\r\n");
    assert_true(own_newest()->dot.hlc > ahead.hlc);
    says("get k\r\n", "VALUE k 0 1\r\n1\r\nEND\r\n");
}

static void what_is_dated_too_far_ahead_is_refused(void **state)
{
    struct dot ahead = {OTHER, hlc_of_ms(clock_now_ms() + 90000)};

    (void)state;
    keeper_put("k", ahead, "theirs");
    says("set k 0 0 1\r\n1\r\n", "SERVER_ERROR refused: no memory, or no coordinator\r\n");
    assert_int_equal(keeper_applied, COMMAND_REFUSED);
    says("get k\r\n", "VALUE k 0 6\r\ntheirs\r\nEND\r\n");
}

/* ---- what cannot be stored ---- */

static void what_is_too_large_does_not_leave_the_old_value(void **state)
{
    char line[600], value[401];

    (void)state;
    settings.item_bytes_max = 400;
    memset(value, 'x', 400);
    value[400] = 0;
    says("set k 0 0 1\r\n1\r\n", "STORED\r\n");
    snprintf(line, sizeof line, "add k 0 0 400\r\n%s\r\n", value);
    says(line, "SERVER_ERROR object too large for cache\r\n");
    says("get k\r\n", "VALUE k 0 1\r\n1\r\nEND\r\n");
    snprintf(line, sizeof line, "set k 0 0 400\r\n%s\r\n", value);
    says(line, "SERVER_ERROR object too large for cache\r\n");
    says("get k\r\n", "END\r\n");
    assert_int_equal(count(SIBLING_TOMBSTONE), 1);
}

/* ---- failures ---- */

static void a_key_that_fits_no_line_goes_back_as_base64(void **state)
{
    (void)state;
    keeper_put("a b", ago(OTHER, 5), "value");
    says("mg YSBi b k v\r\n", "VA 5 kYSBi b\r\nvalue\r\n");
}

/* Whatever siblings there are, every command is answered, and what is answered as stored is there.
 */
static void generated_cells_take_every_command(void **state)
{
    static const char *const commands[] = {
        "get k\r\n",
        "gets k\r\n",
        "vget k\r\n",
        "mg k v t c n\r\n",
        "set k 0 0 1\r\n5\r\n",
        "add k 0 0 1\r\n5\r\n",
        "replace k 0 5 1\r\n5\r\n",
        "append k 0 0 1\r\n5\r\n",
        "prepend k 0 0 1\r\n5\r\n",
        "incr k 5\r\n",
        "decr k 5\r\n",
        "touch k 10\r\n",
        "gat 20 k\r\n",
        "delete k\r\n",
        "md k I T30\r\n",
        "md k x\r\n",
        "mg k N30 T20 R10 v\r\n",
        "ma k N0 J5 T9 v\r\n",
        "delete k @\r\n",
        "cas k 0 0 1 @\r\n5\r\n",
        "delete k noreply\r\n",
        "me k\r\n",
        "ms k 1 MS E77 T5\r\n5\r\n",
    };
    static const char *const values[] = {
        "", "1", "12", "x", "1\n2\n", "-3", "99999999999999999999"};
    struct random random = {1};

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        const unsigned what = random_below(&random, 10);

        if (i % 500 == 0)
            use_resolver((enum resolver_policy)random_below(&random, RESOLVER_POLICIES));
        if (what == 0 && count(SIBLINGS_ALL) < 20)
            keeper_put("k", ago(1 + random_below(&random, 12), random_below(&random, 50)),
                       values[random_below(&random, 7)]);
        else if (what == 1 && keeper_cell("k")->sibling_count > 0)
            cell_evict_sibling(keeper_cell("k"), &keeper_cell("k")->siblings[random_below(
                                                     &random, keeper_cell("k")->sibling_count)]);
        else if (what == 2)
            pass_seconds(random_below(&random, 8));
        else
            say(commands[random_below(&random, sizeof commands / sizeof *commands)]);
        assert_true(cell_is_sound(keeper_cell("k")));
        assert_true(count(SIBLINGS_ALL) <= settings.siblings_max + 20);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_needs_no_look_is_written_blindly),
        TEST(a_delete_leaves_a_tombstone_that_nobody_is_shown),
        TEST(registers_are_written_without_a_new_version),
        TEST(a_touch_that_changes_nothing_is_not_written),
        TEST(plain_readers_are_shown_the_newest_and_others_all),
        TEST(equal_values_are_shown_once),
        TEST(a_token_write_supersedes_what_was_shown),
        TEST(what_decides_covers_nothing_that_is_only_known_of),
        TEST(what_has_expired_is_in_nobodys_way),
        TEST(two_states_in_a_row_never_have_one_token),
        TEST(a_context_write_leaves_what_it_has_not_seen),
        TEST(a_context_delete_leaves_what_it_has_not_seen),
        TEST(deletes_of_nothing_do_not_pile_up),
        TEST(a_context_that_was_not_sealed_here_changes_nothing),
        TEST(siblings_are_bounded),
        TEST(the_cluster_seals_with_its_own_key),
        TEST(without_siblings_the_last_write_wins),
        TEST(one_value_is_made_of_several_by_the_resolver),
        TEST(gat_and_invalidation_show_what_the_resolver_made),
        TEST(nodes_count_in_shares_of_their_own),
        TEST(of_a_counter_nobody_knows_the_sum_while_a_share_is_missing),
        TEST(a_share_that_has_expired_is_missed_by_nobody),
        TEST(who_wins_is_said_by_the_coordinator),
        TEST(a_dot_comes_after_all_that_the_cell_knows),
        TEST(what_is_dated_too_far_ahead_is_refused),
        TEST(what_is_too_large_does_not_leave_the_old_value),
        TEST(a_key_that_fits_no_line_goes_back_as_base64),
        TEST(generated_cells_take_every_command),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
