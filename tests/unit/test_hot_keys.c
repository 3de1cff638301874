/* Summaries of what is asked for most, against what was asked. */
#include "server/hot_keys.h"
#include "tests/unit/random.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void use(struct hot_keys *hot, const char *prefix, unsigned number)
{
    char text[32];
    const size_t size = (size_t)snprintf(text, sizeof text, "%s%u", prefix, number);

    hot_keys_count(hot, number * 0x9e3779b97f4a7c15u + (unsigned char)*prefix,
                   (struct slice){(unsigned char *)text, size});
}

static void list_of(struct hot_keys_list *list, struct hot_keys *hot)
{
    hot_keys_list_begin(list);
    hot_keys_list_add(list, hot);
    hot_keys_list_end(list);
}

static void assert_key(const struct hot_key *key, const char *expected)
{
    assert_int_equal(key->key_bytes, strlen(expected));
    assert_memory_equal(key->key, expected, key->key_bytes);
}

static void a_share_is_found_among_any_number_of_other_keys(void **state)
{
    struct hot_keys *hot = hot_keys_new(1);
    struct random random = {7};
    struct hot_keys_list list;
    unsigned uses = 0;

    (void)state;
    for (unsigned i = 0; i < 16000; i++) {
        if (random_chance(&random, 10)) {
            use(hot, "hot", 1);
            uses++;
        } else if (random_chance(&random, 5))
            use(hot, "warm", 2);
        else
            use(hot, "cold", i);
    }
    list_of(&list, hot);
    assert_true(list.count >= 2);
    assert_key(&list.keys[0], "hot1");
    assert_key(&list.keys[1], "warm2");
    assert_int_equal(list.sampled, 16000);
    assert_true(list.keys[0].count >= uses);
    assert_true(list.keys[0].count - list.keys[0].too_much <= uses);
    assert_true(list.keys[0].count - uses < 16000 / HOT_KEYS_KEPT);
    hot_keys_free(hot);
}

static void where_all_are_alike_few_are_named(void **state)
{
    struct hot_keys *hot = hot_keys_new(1);
    struct hot_keys_list list;

    (void)state;
    for (unsigned i = 0; i < 50000; i++)
        use(hot, "key", i);
    list_of(&list, hot);
    assert_int_equal(list.count, 0);
    hot_keys_free(hot);
}

static void popularity_that_moves_on_is_followed(void **state)
{
    struct hot_keys *hot = hot_keys_new(1);
    struct hot_keys_list list;

    (void)state;
    for (unsigned i = 0; i < 40000; i++)
        use(hot, "before", i % 3 == 0 ? 0 : i);
    for (unsigned i = 0; i < 40000; i++)
        use(hot, "after", i % 4 == 0 ? 0 : i);
    list_of(&list, hot);
    assert_key(&list.keys[0], "after0");
    assert_in_range(list.keys[0].count * 100 / list.sampled, 20, 32);
    hot_keys_free(hot);
}

static void summaries_of_workers_add_up(void **state)
{
    struct hot_keys *hot[3] = {hot_keys_new(1), hot_keys_new(2), hot_keys_new(3)};
    struct hot_keys_list list;

    (void)state;
    hot_keys_list_begin(&list);
    for (unsigned worker = 0; worker < 3; worker++) {
        for (unsigned i = 0; i < 10 + worker; i++)
            use(hot[worker], "all", 1);
        for (unsigned i = 0; i < 20; i++)
            use(hot[worker], "own", worker);
        hot_keys_list_add(&list, hot[worker]);
    }
    hot_keys_list_end(&list);
    assert_int_equal(list.count, 4);
    assert_key(&list.keys[0], "all1");
    assert_int_equal(list.keys[0].count, 33);
    assert_int_equal(list.keys[0].too_much, 0);
    assert_int_equal(list.sampled, 93);
    for (unsigned worker = 0; worker < 3; worker++) {
        hot_keys_clear(hot[worker]);
        list_of(&list, hot[worker]);
        assert_int_equal(list.count, 0);
        hot_keys_free(hot[worker]);
    }
}

static void distances_are_random_and_as_long_as_they_should_be(void **state)
{
    struct hot_keys *hot = hot_keys_new(1);
    unsigned seen[2 * HOT_KEYS_INTERVAL] = {0};
    uint64_t sum = 0;

    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        const int distance = hot_keys_next_distance(hot);
        assert_in_range(distance, 1, 2 * HOT_KEYS_INTERVAL - 1);
        seen[distance]++;
        sum += (uint64_t)distance;
    }
    assert_in_range(sum / 100000, HOT_KEYS_INTERVAL - 3, HOT_KEYS_INTERVAL + 3);
    for (unsigned distance = 1; distance < 2 * HOT_KEYS_INTERVAL; distance++)
        assert_in_range(seen[distance], 250, 550);
    hot_keys_free(hot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_share_is_found_among_any_number_of_other_keys),
        cmocka_unit_test(where_all_are_alike_few_are_named),
        cmocka_unit_test(popularity_that_moves_on_is_followed),
        cmocka_unit_test(summaries_of_workers_add_up),
        cmocka_unit_test(distances_are_random_and_as_long_as_they_should_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
