/* Items: what a spec says comes out of the item again, whatever optional fields there are. */
#include "server/item.h"
#include "server/clock.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

static void a_short_item_with_16_byte_key_and_32_byte_value_is_one_cache_line(void **state)
{
    const struct item_spec spec = {.key = SLICE("0123456789abcdef"), .value_bytes = 32};

    (void)state;
    assert_int_equal(item_bytes_of_spec(&spec), 64);
}

static void check_spec(const struct item_spec *spec)
{
    const uint64_t bytes = item_bytes_of_spec(spec);
    struct item *item = malloc(bytes);

    assert_non_null(item);
    item_init(item, spec, clock_now_ms());
    item->hlc = 77;
    memset(item_value(item), 'v', spec->value_bytes);
    assert_int_equal(item_bytes(item), bytes);
    assert_true(slice_equal(item_key(item), spec->key));
    assert_int_equal(item_value_bytes(item), spec->value_bytes);
    assert_int_equal(item_value_slice(item).size, spec->value_bytes);
    assert_ptr_equal(item_value(item) + spec->value_bytes, (unsigned char *)item + bytes);
    assert_int_equal(item_expiry_ms(item), spec->expiry_ms);
    assert_int_equal(item_client_flags(item), spec->client_flags);
    assert_int_equal(item_cas(item), spec->has_explicit_cas ? spec->explicit_cas : 77);
    assert_int_equal((item->bits & ITEM_KEY_BINARY) != 0, spec->key_is_binary);
    assert_int_equal((item->bits & ITEM_CELL) != 0, spec->is_cell);
    free(item);
}

static void every_combination_of_optional_fields_is_kept(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 64; bits++) {
        const struct item_spec spec = {
            .key = SLICE("some key"),
            .value_bytes = bits & 1 ? ITEM_LONG_VALUE_BYTES + 5 : 7,
            .expiry_ms = bits & 2 ? 1234567890123 : 0,
            .client_flags = bits & 4 ? 0xdeadbeef : 0,
            .has_explicit_cas = (bits & 8) != 0,
            .explicit_cas = bits & 8 ? 0x123456789abcdef : 0,
            .key_is_binary = (bits & 16) != 0,
            .is_cell = (bits & 32) != 0,
        };
        check_spec(&spec);
    }
}

static void values_are_long_from_the_limit_on(void **state)
{
    struct item_spec spec = {.key = SLICE("k"), .value_bytes = ITEM_LONG_VALUE_BYTES - 1};
    uint64_t below;

    (void)state;
    check_spec(&spec);
    below = item_bytes_of_spec(&spec);
    spec.value_bytes++;
    check_spec(&spec);
    assert_int_equal(item_bytes_of_spec(&spec), below + 1 + 8);
}

static void an_expiry_can_be_changed_in_place(void **state)
{
    const struct item_spec spec = {.key = SLICE("k"), .value_bytes = 1, .expiry_ms = 5};
    struct item *item = malloc(item_bytes_of_spec(&spec));

    (void)state;
    assert_non_null(item);
    item_init(item, &spec, clock_now_ms());
    item_set_expiry_ms(item, 0);
    assert_int_equal(item_expiry_ms(item), 0);
    item_set_expiry_ms(item, 99);
    assert_int_equal(item_expiry_ms(item), 99);
    free(item);
}

static void the_last_of_several_references_is_told(void **state)
{
    const struct item_spec spec = {.key = SLICE("k"), .value_bytes = ITEM_LONG_VALUE_BYTES};
    struct item *item = malloc(item_bytes_of_spec(&spec));

    (void)state;
    assert_non_null(item);
    item_init(item, &spec, clock_now_ms());
    assert_false(item_is_referred(item));
    item_refer(item);
    assert_true(item_is_referred(item));
    assert_false(item_unrefer(item));
    assert_true(item_unrefer(item));
    free(item);
}

static void an_exptime_means_what_memcached_says(void **state)
{
    const uint64_t now_ms = 1700000000123;

    (void)state;
    assert_int_equal(clock_expiry_ms(0, now_ms), 0);
    assert_int_equal(clock_expiry_ms(-1, now_ms), 1);
    assert_int_equal(clock_expiry_ms(10, now_ms), now_ms + 10000);
    assert_int_equal(clock_expiry_ms(RELATIVE_EXPTIME_S_MAX + 1, now_ms),
                     (RELATIVE_EXPTIME_S_MAX + 1) * UINT64_C(1000));
}

static void the_clock_can_be_moved_ahead(void **state)
{
    const uint64_t before_ms = clock_now_ms();

    (void)state;
    clock_advance_s(100);
    assert_in_range(clock_now_ms(), before_ms + 100000, before_ms + 110000);
    assert_true(clock_relative_s(clock_now_ms()) >= 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_item_with_16_byte_key_and_32_byte_value_is_one_cache_line),
        cmocka_unit_test(every_combination_of_optional_fields_is_kept),
        cmocka_unit_test(values_are_long_from_the_limit_on),
        cmocka_unit_test(an_expiry_can_be_changed_in_place),
        cmocka_unit_test(the_last_of_several_references_is_told),
        cmocka_unit_test(an_exptime_means_what_memcached_says),
        cmocka_unit_test(the_clock_can_be_moved_ahead),
    };

    clock_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
