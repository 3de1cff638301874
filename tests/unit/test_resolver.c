/* Resolver: the one value that clients see who do not ask for siblings. */
#include "ring/resolver.h"
#include "tests/unit/random.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { SIBLINGS = 8, LINES = 4096, BYTES = 65536 };

/* A cell and its values; NULL texts are given as kinds. */
struct scene {
    struct cell cell;
    struct sibling siblings[SIBLINGS];
    struct slice values[SIBLINGS];
    unsigned char bytes[BYTES];
    struct resolver_line lines[LINES];
};

static struct scene scene;

static void clear(void)
{
    cell_init(&scene.cell, scene.siblings, SIBLINGS);
}

static struct slice slice_of(const char *text)
{
    return (struct slice){(const unsigned char *)text, strlen(text)};
}

static void add_sibling(enum sibling_kind kind, node_id node, hlc_time hlc, struct slice text)
{
    unsigned i = scene.cell.sibling_count;

    assert_true(i < SIBLINGS);
    while (i > 0 && dot_compare((struct dot){node, hlc}, scene.siblings[i - 1].dot) < 0) {
        scene.siblings[i] = scene.siblings[i - 1];
        scene.values[i] = scene.values[i - 1];
        i--;
    }
    scene.siblings[i] = (struct sibling){.dot = {node, hlc}, .kind = kind, .reg.hlc = hlc};
    scene.values[i] = text;
    scene.cell.sibling_count++;
}

static void add_value(node_id node, hlc_time hlc, const char *text)
{
    add_sibling(SIBLING_VALUE, node, hlc, slice_of(text));
}

static void add_tombstone(node_id node, hlc_time hlc)
{
    add_sibling(SIBLING_TOMBSTONE, node, hlc, (struct slice){NULL, 0});
}

static void add_stub(node_id node, hlc_time hlc)
{
    add_sibling(SIBLING_STUB, node, hlc, (struct slice){NULL, 0});
}

static struct resolution resolve(enum resolver_policy policy)
{
    struct resolver_need need = resolver_room_needed(policy, &scene.cell, scene.values);
    struct resolver_room room = {scene.bytes, need.bytes, scene.lines, need.lines};

    assert_true(need.bytes <= BYTES && need.lines <= LINES);
    assert_true(cell_is_sound(&scene.cell));
    return resolver_resolve(policy, &scene.cell, scene.values, &room);
}

static void expect(enum resolver_policy policy, const char *text)
{
    struct resolution found = resolve(policy);

    if (text == NULL) {
        assert_int_equal(found.kind, RESOLVED_MISS);
        assert_null(found.sibling);
        return;
    }
    assert_true(found.kind == RESOLVED_SIBLING || found.kind == RESOLVED_BYTES);
    assert_int_equal(found.value.size, strlen(text));
    assert_memory_equal(found.value.bytes, text, strlen(text));
    assert_non_null(found.sibling);
}

static void every_policy_has_its_name(void **state)
{
    enum resolver_policy policy;

    (void)state;
    for (unsigned i = 0; i < RESOLVER_POLICIES; i++) {
        assert_true(
            resolver_policy_of(slice_of(resolver_policy_name((enum resolver_policy)i)), &policy));
        assert_int_equal(policy, i);
    }
    assert_false(resolver_policy_of(slice_of("newest"), &policy));
    assert_false(resolver_policy_of(slice_of(""), &policy));
    assert_false(resolver_policy_of(slice_of("lw"), &policy));
}

static void a_single_value_is_shown_as_it_is_by_every_policy(void **state)
{
    (void)state;
    for (unsigned i = 0; i < RESOLVER_POLICIES; i++) {
        clear();
        add_value(3, 50, "b\na\n\nb 007");
        expect((enum resolver_policy)i, "b\na\n\nb 007");
    }
}

static void the_newest_wins_and_the_higher_node_if_they_are_as_old(void **state)
{
    (void)state;
    clear();
    add_value(1, 70, "new");
    add_value(2, 50, "old");
    expect(RESOLVE_LWW, "new");
    add_value(9, 70, "higher");
    expect(RESOLVE_LWW, "higher");
}

static void a_delete_wins_only_where_the_newest_does(void **state)
{
    (void)state;
    clear();
    add_value(1, 70, "5");
    add_tombstone(2, 80);
    expect(RESOLVE_LWW, NULL);
    expect(RESOLVE_MAX, "5");
    expect(RESOLVE_MIN, "5");
    expect(RESOLVE_UNION, "5");
    expect(RESOLVE_LONGEST, "5");
    expect(RESOLVE_COUNTER, "5");
    clear();
    add_tombstone(2, 80);
    for (unsigned i = 0; i < RESOLVER_POLICIES; i++)
        expect((enum resolver_policy)i, NULL);
    add_value(1, 90, "again");
    expect(RESOLVE_LWW, "again");
}

static void a_stub_is_no_value_and_of_a_counter_nothing_is_known(void **state)
{
    (void)state;
    clear();
    add_value(1, 70, "5");
    add_stub(2, 80);
    for (unsigned i = 0; i < RESOLVER_POLICIES; i++)
        if (i != RESOLVE_COUNTER)
            expect((enum resolver_policy)i, "5");
    assert_int_equal(resolve(RESOLVE_COUNTER).kind, RESOLVED_UNKNOWN);
    clear();
    add_stub(2, 80);
    expect(RESOLVE_LWW, NULL);
    expect(RESOLVE_UNION, NULL);
}

static void numbers_are_compared_whatever_their_length(void **state)
{
    /* In rising order; equal ones side by side in a string with a space between. */
    static const char *const rising[] = {"-100000000000000000000000000000001",
                                         "-99.5",
                                         "-99.25",
                                         "-1",
                                         "0",
                                         "0.001",
                                         "0.01",
                                         "1",
                                         "1.5",
                                         "1.51",
                                         "9",
                                         "010",
                                         "18446744073709551616",
                                         "99999999999999999999999999999999999999"};
    enum { COUNT = sizeof rising / sizeof rising[0] };

    (void)state;
    for (unsigned a = 0; a < COUNT; a++)
        for (unsigned b = 0; b < COUNT; b++) {
            clear();
            add_value(1, 10, rising[a]);
            add_value(2, 5, rising[b]);
            expect(RESOLVE_MAX, rising[a > b ? a : b]);
            expect(RESOLVE_MIN, rising[a < b ? a : b]);
        }
}

static void numbers_that_are_equal_leave_it_to_the_newer(void **state)
{
    static const char *const equal[][2] = {{"-0", "0"},     {"1.50", "1.5"}, {"007", "7"},
                                           {"12  ", "12"},  {"0.0", "0"},    {"-00.0", "-0"},
                                           {"3.000", "03"}, {"-2.0", "-2"}};

    (void)state;
    for (unsigned i = 0; i < sizeof equal / sizeof equal[0]; i++)
        for (unsigned newer = 0; newer < 2; newer++) {
            clear();
            add_value(1, 10 + newer, equal[i][1]);
            add_value(2, 11 - newer, equal[i][0]);
            expect(RESOLVE_MAX, equal[i][newer]);
            expect(RESOLVE_MIN, equal[i][newer]);
        }
}

static void what_is_no_number_loses_to_all_that_are(void **state)
{
    static const char *const bad[] = {"",   "-",   ".5",  "5.",   "1e9", "+1",
                                      " 1", "1 2", "--1", "0x10", "1,5", "nan"};

    (void)state;
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        clear();
        add_value(1, 99, bad[i]);
        add_value(2, 5, "-7");
        expect(RESOLVE_MAX, "-7");
        expect(RESOLVE_MIN, "-7");
        clear();
        add_value(1, 99, bad[i]);
        add_value(2, 5, "zzz");
        expect(RESOLVE_MAX, bad[i]); /* none is a number: the newest */
        expect(RESOLVE_MIN, bad[i]);
    }
}

static void the_longest_is_shown_and_the_newer_of_two(void **state)
{
    (void)state;
    clear();
    add_value(1, 10, "four");
    add_value(2, 90, "abc");
    add_value(3, 11, "five");
    expect(RESOLVE_LONGEST, "five");
}

static void carts_are_united(void **state)
{
    (void)state;
    clear();
    add_value(1, 10, "milk\nbread\n");
    add_value(2, 20, "eggs\nbread\n");
    expect(RESOLVE_UNION, "bread\neggs\nmilk\n");
    add_value(3, 5, "\n\nmilk\nmil\nmilky");
    expect(RESOLVE_UNION, "bread\neggs\nmil\nmilk\nmilky\n");
    assert_int_equal(resolve(RESOLVE_UNION).sibling->dot.node, 2);
}

static void without_newlines_at_their_ends_there_is_none_at_the_end(void **state)
{
    (void)state;
    clear();
    add_value(1, 10, "b");
    add_value(2, 20, "a");
    expect(RESOLVE_UNION, "a\nb");
    clear();
    add_value(1, 10, "");
    add_value(2, 20, "\n");
    expect(RESOLVE_UNION, "");
}

static void shares_of_a_counter_are_added_even_equal_ones(void **state)
{
    (void)state;
    clear();
    add_value(1, 10, "3");
    add_value(2, 20, "3");
    add_value(3, 20, "-1");
    expect(RESOLVE_COUNTER, "5");
    add_value(4, 20, "what");
    expect(RESOLVE_COUNTER, "5");
    add_value(5, 20, "-6");
    expect(RESOLVE_COUNTER, "0");
    add_value(6, 20, "18446744073709551618");
    expect(RESOLVE_COUNTER, "1"); /* modulo 2^64 */
}

static void a_negative_share_alone_reads_as_nothing(void **state)
{
    (void)state;
    clear();
    add_value(1, 10, "-3");
    expect(RESOLVE_COUNTER, "0");
}

static struct counter_change change;

static enum counter_add count_up(node_id self, uint64_t amount)
{
    return resolver_counter_add(&scene.cell, scene.values, self, amount, false, &change);
}

static enum counter_add count_down(node_id self, uint64_t amount)
{
    return resolver_counter_add(&scene.cell, scene.values, self, amount, true, &change);
}

static void expect_share(const char *text, uint64_t total)
{
    assert_int_equal(change.share_bytes, strlen(text));
    assert_memory_equal(change.share, text, strlen(text));
    assert_true(change.total == total);
}

static void a_node_adds_to_its_own_newest_share_or_starts_one(void **state)
{
    (void)state;
    clear();
    add_value(1, 10, "3");
    add_value(2, 20, "40");
    add_value(2, 30, "500");
    assert_int_equal(count_up(2, 7), COUNTER_ADDED);
    expect_share("507", 550);
    assert_int_equal(change.replaces->dot.hlc, 30);
    assert_int_equal(count_up(3, 7), COUNTER_ADDED);
    expect_share("7", 550);
    assert_null(change.replaces);
    assert_int_equal(count_down(3, 7), COUNTER_ADDED);
    expect_share("-7", 536);
}

static void it_counts_down_to_nothing_and_up_past_the_end(void **state)
{
    (void)state;
    clear();
    add_value(1, 10, "3");
    add_value(2, 20, "4");
    assert_int_equal(count_down(1, 100), COUNTER_ADDED);
    expect_share("-4", 0);
    assert_int_equal(count_up(1, UINT64_MAX), COUNTER_ADDED);
    expect_share("2", 6); /* 7 - 1, modulo 2^64 */
    clear();
    add_value(1, 10, "-9"); /* two nodes counted down at once */
    add_value(2, 20, "4");
    expect(RESOLVE_COUNTER, "0");
    assert_int_equal(count_up(1, 1), COUNTER_ADDED);
    expect_share("-3", 1);
}

static void what_cannot_be_counted_is_told_apart(void **state)
{
    (void)state;
    clear();
    assert_int_equal(count_up(1, 1), COUNTER_MISSING);
    add_tombstone(1, 5);
    assert_int_equal(count_up(1, 1), COUNTER_MISSING);
    add_value(2, 9, "text");
    assert_int_equal(count_up(1, 1), COUNTER_NOT_NUMBER);
    add_stub(3, 9);
    assert_int_equal(count_up(1, 1), COUNTER_UNKNOWN);
}

/* Coordinators that count at the same time, not seeing each other: nothing is lost. */
static void whoever_counts_at_the_same_time_all_is_counted(void **state)
{
    struct random random = {.state = 4};
    static char texts[SIBLINGS][COUNTER_SHARE_BYTES_MAX + 1];

    (void)state;
    for (unsigned run = 0; run < 200; run++) {
        int64_t shares[SIBLINGS] = {0}, sum = 1000000;
        for (unsigned i = 0; i < 30; i++) {
            node_id self = 1 + random_below(&random, SIBLINGS);
            uint64_t amount = random_below(&random, 1000);
            bool is_decrement = random_chance(&random, 40);
            clear();
            for (unsigned n = 0; n < SIBLINGS; n++) {
                snprintf(texts[n], sizeof texts[n], "%" PRId64, shares[n] + (n == 0 ? 1000000 : 0));
                add_value(n + 1, 10 + i, texts[n]);
            }
            assert_int_equal(is_decrement ? count_down(self, amount) : count_up(self, amount),
                             COUNTER_ADDED);
            sum += is_decrement ? -(int64_t)amount : (int64_t)amount;
            assert_int_equal(change.total, sum);
            change.share[change.share_bytes] = '\0';
            shares[self - 1] =
                strtoll((const char *)change.share, NULL, 10) - (self == 1 ? 1000000 : 0);
        }
    }
}

static void too_little_room_is_said_and_never_written_over(void **state)
{
    unsigned char small[32];

    (void)state;
    clear();
    add_value(1, 10, "milk\nbread\n");
    add_value(2, 20, "eggs\n12345");
    for (size_t bytes = 0; bytes < 24; bytes++)
        for (size_t lines = 0; lines < 6; lines++) {
            struct resolver_room room = {small, bytes, scene.lines, lines};
            memset(small, 0xee, sizeof small);
            struct resolution found =
                resolver_resolve(RESOLVE_UNION, &scene.cell, scene.values, &room);
            assert_int_equal(found.kind,
                             bytes >= 22 && lines >= 4 ? RESOLVED_BYTES : RESOLVED_NO_ROOM);
            for (size_t i = bytes; i < sizeof small; i++)
                assert_int_equal(small[i], 0xee);
        }
}

static void add_random_siblings(struct random *random, unsigned count, char texts[][64])
{
    static const char alphabet[] = "0123456789-.\nab ";
    bool is_numeric = random_chance(random, 60);

    clear();
    for (unsigned i = 0; i < count; i++) {
        unsigned length = random_below(random, is_numeric ? 6 : 20), n = 0;
        for (; n < length; n++)
            texts[i][n] = is_numeric ? (char)('0' + random_below(random, 10))
                                     : alphabet[random_below(random, sizeof alphabet - 1)];
        texts[i][n] = '\0';
        node_id node = 1 + random_below(random, 4);
        hlc_time hlc = 100 + i;
        if (random_chance(random, 10))
            add_tombstone(node, hlc);
        else
            add_value(node, hlc, texts[i]);
    }
}

/* What is shown of many is shown of the shown one and any other: the choice is an order. */
static void every_choice_is_the_greatest_of_an_order(void **state)
{
    struct random random = {.state = 8};
    static char texts[SIBLINGS][64];
    static const enum resolver_policy choices[] = {RESOLVE_MAX, RESOLVE_MIN, RESOLVE_LONGEST};

    (void)state;
    for (unsigned run = 0; run < 3000; run++) {
        add_random_siblings(&random, 1 + random_below(&random, SIBLINGS), texts);
        struct scene all = scene;
        for (unsigned c = 0; c < 3; c++) {
            all.cell.siblings = all.siblings;
            struct resolution best =
                resolver_resolve(choices[c], &all.cell, all.values, &(struct resolver_room){0});
            if (best.kind == RESOLVED_MISS)
                continue;
            for (unsigned i = 0; i < all.cell.sibling_count; i++) {
                if (all.siblings[i].kind != SIBLING_VALUE || &all.siblings[i] == best.sibling)
                    continue;
                clear();
                add_sibling(SIBLING_VALUE, best.sibling->dot.node, best.sibling->dot.hlc,
                            best.value);
                add_sibling(SIBLING_VALUE, all.siblings[i].dot.node, all.siblings[i].dot.hlc,
                            all.values[i]);
                assert_ptr_equal(resolve(choices[c]).value.bytes, best.value.bytes);
            }
        }
    }
}

static bool has_line(struct slice text, const unsigned char *line, size_t size)
{
    for (size_t at = 0; at < text.size;) {
        const unsigned char *start = text.bytes + at;
        const unsigned char *end = memchr(start, '\n', text.size - at);
        size_t found = end != NULL ? (size_t)(end - start) : text.size - at;
        if (found == size && memcmp(start, line, size) == 0)
            return true;
        at += found + 1;
    }
    return false;
}

/* Whether all lines of `a`, but for empty ones, are in one of `texts`. */
static bool lines_are_among(struct slice a, const struct slice *texts, unsigned count)
{
    for (size_t at = 0; at < a.size;) {
        const unsigned char *start = a.bytes + at;
        const unsigned char *end = memchr(start, '\n', a.size - at);
        size_t size = end != NULL ? (size_t)(end - start) : a.size - at;
        bool is_found = size == 0;
        for (unsigned i = 0; i < count; i++)
            is_found |= has_line(texts[i], start, size);
        if (!is_found)
            return false;
        at += size + 1;
    }
    return true;
}

static void a_union_has_all_lines_and_no_others_in_any_grouping(void **state)
{
    struct random random = {.state = 9};
    static char texts[SIBLINGS][64];

    (void)state;
    for (unsigned run = 0; run < 3000; run++) {
        unsigned count = 2 + random_below(&random, SIBLINGS - 2);
        add_random_siblings(&random, count, texts);
        struct slice values[SIBLINGS];
        unsigned held = 0;
        for (unsigned i = 0; i < count; i++)
            if (scene.siblings[i].kind == SIBLING_VALUE)
                values[held++] = scene.values[i];
        struct resolution all = resolve(RESOLVE_UNION);
        if (held < 2)
            continue;
        assert_int_equal(all.kind, RESOLVED_BYTES);
        assert_true(lines_are_among(all.value, values, held));
        for (unsigned i = 0; i < held; i++)
            assert_true(lines_are_among(values[i], &all.value, 1));

        unsigned char first[BYTES / 64], whole[BYTES / 64];
        size_t whole_size = all.value.size;
        memcpy(whole, all.value.bytes, whole_size);
        clear();
        add_sibling(SIBLING_VALUE, 1, 5, values[0]);
        add_sibling(SIBLING_VALUE, 1, 6, values[1]);
        struct slice pair = resolve(RESOLVE_UNION).value;
        memcpy(first, pair.bytes, pair.size);
        clear();
        add_sibling(SIBLING_VALUE, 1, 5, (struct slice){first, pair.size});
        for (unsigned i = 2; i < held; i++)
            add_sibling(SIBLING_VALUE, 1, 5 + i, values[i]);
        add_sibling(SIBLING_VALUE, 2, 5, (struct slice){first, pair.size}); /* and repeats */
        struct slice again = resolve(RESOLVE_UNION).value;
        assert_int_equal(again.size, whole_size);
        assert_memory_equal(again.bytes, whole, whole_size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_policy_has_its_name),
        cmocka_unit_test(a_single_value_is_shown_as_it_is_by_every_policy),
        cmocka_unit_test(the_newest_wins_and_the_higher_node_if_they_are_as_old),
        cmocka_unit_test(a_delete_wins_only_where_the_newest_does),
        cmocka_unit_test(a_stub_is_no_value_and_of_a_counter_nothing_is_known),
        cmocka_unit_test(numbers_are_compared_whatever_their_length),
        cmocka_unit_test(numbers_that_are_equal_leave_it_to_the_newer),
        cmocka_unit_test(what_is_no_number_loses_to_all_that_are),
        cmocka_unit_test(the_longest_is_shown_and_the_newer_of_two),
        cmocka_unit_test(carts_are_united),
        cmocka_unit_test(without_newlines_at_their_ends_there_is_none_at_the_end),
        cmocka_unit_test(shares_of_a_counter_are_added_even_equal_ones),
        cmocka_unit_test(a_negative_share_alone_reads_as_nothing),
        cmocka_unit_test(a_node_adds_to_its_own_newest_share_or_starts_one),
        cmocka_unit_test(it_counts_down_to_nothing_and_up_past_the_end),
        cmocka_unit_test(what_cannot_be_counted_is_told_apart),
        cmocka_unit_test(whoever_counts_at_the_same_time_all_is_counted),
        cmocka_unit_test(too_little_room_is_said_and_never_written_over),
        cmocka_unit_test(every_choice_is_the_greatest_of_an_order),
        cmocka_unit_test(a_union_has_all_lines_and_no_others_in_any_grouping),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
