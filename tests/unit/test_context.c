/* Contexts: what they cover, how they are joined, cut, folded, encoded and sealed. */
#include "ring/context.h"
#include "tests/unit/random.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>

#define CASES 20000

/* Generated contexts speak of few nodes and early times, so that all they may cover can be
 * looked at. */
#define NODES     3
#define TIMES     24
#define INTERVALS 6

static const struct siphash_key secret = {"fifteen letters"};

static struct context some_context(struct random *random)
{
    struct context context;
    unsigned count = random_below(random, INTERVALS + 1);

    context_clear(&context);
    while (count-- > 0) {
        node_id node = random_chance(random, 15) ? NODE_ANY : 1 + random_below(random, NODES);
        hlc_time first = random_below(random, TIMES);
        hlc_time last = first + random_below(random, 5);
        context_add(&context, (struct interval){node, first, last});
    }
    return context;
}

/* Dots 1 to NODES * TIMES, by number. */
static struct dot dot_number(unsigned number)
{
    return (struct dot){1 + number % NODES, 1 + number / NODES};
}

static void a_join_covers_what_either_side_covers(void **state)
{
    struct random random = {1};

    (void)state;
    for (unsigned i = 0; i < CASES; i++) {
        struct context a = some_context(&random);
        struct context b = some_context(&random);
        struct context joined = a;
        assert_int_equal(context_join(&joined, &b), 0);
        for (unsigned n = 0; n < NODES * TIMES; n++) {
            struct dot dot = dot_number(n);
            bool wanted = context_covers(&a, dot) || context_covers(&b, dot);
            assert_int_equal(context_covers(&joined, dot), wanted);
        }
    }
}

static void joining_is_commutative_associative_and_idempotent(void **state)
{
    struct random random = {2};

    (void)state;
    for (unsigned i = 0; i < CASES; i++) {
        struct context a = some_context(&random), b = some_context(&random);
        struct context c = some_context(&random);
        struct context ab = a, ba = b, bc = b, left, right;
        context_join(&ab, &b);
        context_join(&ba, &a);
        assert_true(context_equal(&ab, &ba));
        context_join(&bc, &c);
        left = ab;
        context_join(&left, &c);
        right = a;
        context_join(&right, &bc);
        assert_true(context_equal(&left, &right));
        context_join(&left, &b);
        assert_true(context_equal(&left, &right));
    }
}

static void intervals_that_only_touch_stay_two(void **state)
{
    struct context context;

    (void)state;
    context_clear(&context);
    context_add(&context, (struct interval){1, 1, 4});
    context_add(&context, (struct interval){1, 5, 8});
    assert_int_equal(context.count, 2);
    context_add(&context, (struct interval){1, 4, 5});
    assert_int_equal(context.count, 1);
    assert_int_equal(context.intervals[0].first, 1);
    assert_int_equal(context.intervals[0].last, 8);
}

static void a_cut_takes_out_just_that_dot(void **state)
{
    struct random random = {3};

    (void)state;
    for (unsigned i = 0; i < CASES; i++) {
        struct context before = some_context(&random);
        struct context after = before;
        struct dot gone = dot_number(random_below(&random, NODES * TIMES));
        assert_int_equal(context_cut(&after, gone), 0);
        assert_false(context_covers(&after, gone));
        for (unsigned n = 0; n < NODES * TIMES; n++) {
            struct dot dot = dot_number(n);
            /* What ANY covered at that time goes for the other nodes, too. */
            if (dot.hlc != gone.hlc)
                assert_int_equal(context_covers(&after, dot), context_covers(&before, dot));
            else if (!context_covers(&before, dot))
                assert_false(context_covers(&after, dot));
        }
    }
}

static void a_cut_of_a_full_context_drops_an_interval_and_never_widens(void **state)
{
    struct context context, before;

    (void)state;
    context_clear(&context);
    for (unsigned i = 0; i < CONTEXT_ROOM; i++)
        context_add(&context, (struct interval){1, 10 * i + 1, 10 * i + 5});
    before = context;
    assert_int_equal(context.count, CONTEXT_ROOM);
    assert_int_equal(context_cut(&context, (struct dot){1, 313}), 1);
    assert_int_equal(context.count, CONTEXT_ROOM);
    assert_false(context_covers(&context, (struct dot){1, 313}));
    assert_false(context_covers(&context, (struct dot){1, 1}));
    for (hlc_time hlc = 1; hlc < 10 * CONTEXT_ROOM; hlc++)
        if (context_covers(&context, (struct dot){1, hlc}))
            assert_true(context_covers(&before, (struct dot){1, hlc}));
}

static void folding_never_claims_more_than_was_seen(void **state)
{
    struct random random = {4};

    (void)state;
    for (unsigned i = 0; i < CASES; i++) {
        struct context before = some_context(&random);
        struct context after = before;
        unsigned most = random_below(&random, INTERVALS);
        unsigned dropped = context_fold(&after, most);
        assert_int_equal(dropped, before.count > most ? before.count - most : 0);
        for (unsigned n = 0; n < NODES * TIMES; n++)
            if (context_covers(&after, dot_number(n)))
                assert_true(context_covers(&before, dot_number(n)));
    }
}

static void folding_drops_the_oldest_intervals(void **state)
{
    struct context context;

    (void)state;
    context_clear(&context);
    context_add(&context, (struct interval){1, 0, 50});
    context_add(&context, (struct interval){2, 30, 40});
    context_add(&context, (struct interval){3, 1, 60});
    assert_int_equal(context_fold(&context, 2), 1);
    assert_int_equal(context.intervals[0].node, 1);
    assert_int_equal(context.intervals[1].node, 3);
}

static void folding_first_drops_what_any_node_s_interval_implies(void **state)
{
    struct context context;

    (void)state;
    context_clear(&context);
    context_add(&context, (struct interval){1, 1, 10});
    context_add(&context, (struct interval){2, 30, 40});
    context_add(&context, (struct interval){NODE_ANY, 20, 50});
    assert_int_equal(context_fold(&context, 2), 1);
    assert_true(context_covers(&context, (struct dot){1, 5}));
    assert_true(context_covers(&context, (struct dot){2, 35}));
}

static void the_newest_time_is_that_of_any_node(void **state)
{
    struct context context;

    (void)state;
    context_clear(&context);
    assert_int_equal(context_newest(&context), 0);
    context_add(&context, (struct interval){1, 1, 10});
    context_add(&context, (struct interval){1, 20, 22});
    context_add(&context, (struct interval){NODE_ANY, 0, 15});
    assert_int_equal(context_newest(&context), 22);
    context_add(&context, (struct interval){NODE_ANY, 0, 25});
    assert_int_equal(context_newest(&context), 25);
    assert_int_equal(context_newest_own(&context, 1)->first, 20);
    assert_null(context_newest_own(&context, 2));
}

static void an_encoded_context_decodes_to_itself(void **state)
{
    struct random random = {5};

    (void)state;
    for (unsigned i = 0; i < CASES; i++) {
        struct context context = some_context(&random), decoded;
        unsigned char bytes[CONTEXT_ENCODED_BYTES(CONTEXT_ROOM) + 1];
        size_t size = context_encode(&context, bytes);
        assert_int_equal(size, CONTEXT_ENCODED_BYTES(context.count));
        /* Bytes after it are left alone. */
        assert_int_equal(context_decode(&decoded, (struct slice){bytes, size + 1}, CONTEXT_ROOM),
                         size);
        assert_true(context_equal(&context, &decoded));
    }
}

static void every_cut_off_encoding_is_refused(void **state)
{
    struct random random = {6};

    (void)state;
    for (unsigned i = 0; i < CASES / 10; i++) {
        struct context context = some_context(&random), decoded;
        unsigned char bytes[CONTEXT_ENCODED_BYTES(CONTEXT_ROOM)];
        size_t size = context_encode(&context, bytes);
        for (size_t cut = 0; cut < size; cut++)
            assert_int_equal(context_decode(&decoded, (struct slice){bytes, cut}, CONTEXT_ROOM), 0);
    }
}

static void refuses_intervals(const struct interval *intervals, unsigned count)
{
    struct context context = {.count = count};
    unsigned char bytes[CONTEXT_ENCODED_BYTES(2)] = {(unsigned char)count};

    for (unsigned i = 0; i < count; i++) {
        uint64_t numbers[3] = {intervals[i].node, intervals[i].first, intervals[i].last};
        for (unsigned j = 0; j < sizeof numbers; j++)
            bytes[1 + sizeof numbers * i + j] = (unsigned char)(numbers[j / 8] >> (8 * (j % 8)));
    }
    assert_int_equal(context_decode(&context, (struct slice){bytes, sizeof bytes}, 2), 0);
}

static void what_is_no_sound_context_is_refused(void **state)
{
    (void)state;
    refuses_intervals((struct interval[]){{0, 1, 2}}, 1);
    refuses_intervals((struct interval[]){{1, 3, 2}}, 1);
    refuses_intervals((struct interval[]){{1, 3, HLC_END}}, 1);
    refuses_intervals((struct interval[]){{2, 1, 2}, {1, 1, 2}}, 2);
    refuses_intervals((struct interval[]){{1, 5, 6}, {1, 1, 2}}, 2);
    refuses_intervals((struct interval[]){{1, 1, 5}, {1, 5, 6}}, 2);
    refuses_intervals((struct interval[]){{1, 1, 5}, {1, 1, 5}}, 2);
}

static void more_intervals_than_allowed_are_refused(void **state)
{
    struct context context, decoded;
    unsigned char bytes[CONTEXT_ENCODED_BYTES(CONTEXT_ROOM)];

    (void)state;
    context_clear(&context);
    for (unsigned i = 0; i < 5; i++)
        context_add(&context, (struct interval){i + 1, 1, 2});
    struct slice encoded = {bytes, context_encode(&context, bytes)};
    assert_int_equal(context_decode(&decoded, encoded, 4), 0);
    assert_int_equal(context_decode(&decoded, encoded, 5), encoded.size);
}

/* Whatever is accepted has to be sound, and to be the only encoding of what it says. */
static void decode_and_check(const unsigned char *bytes, size_t size)
{
    unsigned char again[CONTEXT_ENCODED_BYTES(CONTEXT_ROOM)];
    struct context context;
    size_t used = context_decode(&context, (struct slice){bytes, size}, CONTEXT_ROOM);

    assert_true(used <= size);
    if (used == 0)
        return;
    assert_true(context_is_sound(&context));
    assert_int_equal(context_encode(&context, again), used);
    assert_memory_equal(again, bytes, used);
}

static void random_and_spoilt_bytes_do_no_harm(void **state)
{
    struct random random = {7};

    (void)state;
    for (unsigned i = 0; i < CASES; i++) {
        unsigned char bytes[CONTEXT_ENCODED_BYTES(CONTEXT_ROOM)];
        size_t size = random_below(&random, 100);
        random_fill(&random, bytes, size);
        if (size > 0 && random_chance(&random, 80))
            bytes[0] %= 5;
        decode_and_check(bytes, size);
        struct context context = some_context(&random);
        size = context_encode(&context, bytes);
        bytes[random_below(&random, (unsigned)size)] ^=
            (unsigned char)(1u << random_below(&random, 8));
        decode_and_check(bytes, size);
    }
}

static void a_sealed_context_opens_for_its_key(void **state)
{
    struct random random = {8};

    (void)state;
    for (unsigned i = 0; i < CASES; i++) {
        struct context context = some_context(&random), opened;
        unsigned char sealed[CONTEXT_SEALED_BYTES_MAX];
        size_t size = context_seal(&context, &secret, SLICE("cart"), sealed);
        assert_true(context_unseal(&opened, &secret, SLICE("cart"), (struct slice){sealed, size}));
        assert_true(context_equal(&context, &opened));
    }
}

static void the_empty_context_is_sealed_as_nothing(void **state)
{
    struct context empty;
    unsigned char sealed[CONTEXT_SEALED_BYTES_MAX];

    (void)state;
    context_clear(&empty);
    assert_int_equal(context_seal(&empty, &secret, SLICE("cart"), sealed), 0);
    empty.count = 1;
    assert_true(context_unseal(&empty, &secret, SLICE("cart"), (struct slice){NULL, 0}));
    assert_int_equal(empty.count, 0);
}

/* Seals a context of two intervals for the key "cart". */
static size_t seal_two(unsigned char sealed[CONTEXT_SEALED_BYTES_MAX])
{
    struct context context;

    context_clear(&context);
    context_add(&context, (struct interval){1, 0, 7});
    context_add(&context, (struct interval){2, 5, 5});
    return context_seal(&context, &secret, SLICE("cart"), sealed);
}

static void a_seal_for_another_key_or_secret_is_refused(void **state)
{
    static const struct siphash_key other = {"sixteen letters"};
    unsigned char sealed[CONTEXT_SEALED_BYTES_MAX];
    struct slice bytes = {sealed, seal_two(sealed)};
    struct context opened;

    (void)state;
    assert_true(context_unseal(&opened, &secret, SLICE("cart"), bytes));
    assert_false(context_unseal(&opened, &secret, SLICE("card"), bytes));
    assert_false(context_unseal(&opened, &secret, SLICE("car"), bytes));
    assert_false(context_unseal(&opened, &secret, SLICE(""), bytes));
    assert_false(context_unseal(&opened, &other, SLICE("cart"), bytes));
    assert_int_equal(opened.count, 0);
}

static void a_seal_with_one_bit_changed_is_refused(void **state)
{
    unsigned char sealed[CONTEXT_SEALED_BYTES_MAX];
    size_t size = seal_two(sealed);
    struct context opened;

    (void)state;
    for (unsigned bit = 0; bit < 8 * size; bit++) {
        sealed[bit / 8] ^= (unsigned char)(1u << (bit % 8));
        assert_false(context_unseal(&opened, &secret, SLICE("cart"), (struct slice){sealed, size}));
        assert_int_equal(opened.count, 0);
        sealed[bit / 8] ^= (unsigned char)(1u << (bit % 8));
    }
}

static void a_seal_of_any_other_length_is_refused(void **state)
{
    unsigned char sealed[2 * CONTEXT_SEALED_BYTES_MAX] = {0};
    size_t size = seal_two(sealed);
    struct context opened;

    (void)state;
    for (size_t other = 1; other < sizeof sealed; other++) {
        bool is_open =
            context_unseal(&opened, &secret, SLICE("cart"), (struct slice){sealed, other});
        assert_int_equal(is_open, other == size);
    }
}

static void the_largest_client_context_fits_a_command_line(void **state)
{
    /* key, four numbers, the words and blanks around them, `@` and base64url */
    size_t line = 250 + 4 * 20 + 32 + 1 + (CONTEXT_SEALED_BYTES_MAX * 4 + 2) / 3;

    (void)state;
    assert_true(line <= 2048);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_join_covers_what_either_side_covers),
        cmocka_unit_test(joining_is_commutative_associative_and_idempotent),
        cmocka_unit_test(intervals_that_only_touch_stay_two),
        cmocka_unit_test(a_cut_takes_out_just_that_dot),
        cmocka_unit_test(a_cut_of_a_full_context_drops_an_interval_and_never_widens),
        cmocka_unit_test(folding_never_claims_more_than_was_seen),
        cmocka_unit_test(folding_drops_the_oldest_intervals),
        cmocka_unit_test(folding_first_drops_what_any_node_s_interval_implies),
        cmocka_unit_test(the_newest_time_is_that_of_any_node),
        cmocka_unit_test(an_encoded_context_decodes_to_itself),
        cmocka_unit_test(every_cut_off_encoding_is_refused),
        cmocka_unit_test(what_is_no_sound_context_is_refused),
        cmocka_unit_test(more_intervals_than_allowed_are_refused),
        cmocka_unit_test(random_and_spoilt_bytes_do_no_harm),
        cmocka_unit_test(a_sealed_context_opens_for_its_key),
        cmocka_unit_test(the_empty_context_is_sealed_as_nothing),
        cmocka_unit_test(a_seal_for_another_key_or_secret_is_refused),
        cmocka_unit_test(a_seal_with_one_bit_changed_is_refused),
        cmocka_unit_test(a_seal_of_any_other_length_is_refused),
        cmocka_unit_test(the_largest_client_context_fits_a_command_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
