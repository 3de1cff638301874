#include "protocol/base64.h"
#include "protocol/number.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
/* after those */
#include <cmocka.h>

static struct slice slice(const char *text)
{
    return (struct slice){(const unsigned char *)text, strlen(text)};
}

static void check_both_ways(enum base64_alphabet alphabet, const char *bytes, const char *text)
{
    unsigned char out[64];
    size_t size = base64_encode(alphabet, slice(bytes), out);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(out, text, size);
    assert_true(base64_decode(alphabet, slice(text), out, strlen(bytes), &size));
    assert_int_equal(size, strlen(bytes));
    assert_memory_equal(out, bytes, size);
}

static void the_vectors_of_rfc_4648_hold(void **state)
{
    (void)state;
    check_both_ways(BASE64_STANDARD, "", "");
    check_both_ways(BASE64_STANDARD, "f", "Zg==");
    check_both_ways(BASE64_STANDARD, "fo", "Zm8=");
    check_both_ways(BASE64_STANDARD, "foo", "Zm9v");
    check_both_ways(BASE64_STANDARD, "foob", "Zm9vYg==");
    check_both_ways(BASE64_STANDARD, "fooba", "Zm9vYmE=");
    check_both_ways(BASE64_STANDARD, "foobar", "Zm9vYmFy");
    check_both_ways(BASE64_URL, "foob", "Zm9vYg");
    check_both_ways(BASE64_URL, "fooba", "Zm9vYmE");
    check_both_ways(BASE64_STANDARD, "\xfb\xff\xbf", "+/+/");
    check_both_ways(BASE64_URL, "\xfb\xff\xbf", "-_-_");
}

static void malformed_text_is_refused(void **state)
{
    (void)state;
    static const char *const standard[] = {
        "Z",    "Zg",   "Zg=",   "Zg===", "=",     "==",     "====", "Z===",    "Zg==Zg==",
        "Zh==", "Zm9=", "Zm9v=", "Zm-v",  "Zm 9v", "Zm9v\n", "Z=9v", "Zm9v===="};
    static const char *const url[] = {"Z", "Zg==", "Zh", "Zm9", "Zm+v", "Zm/v", "Zm9vY", "Zm9v="};
    unsigned char out[64];
    size_t size = 0;
    for (size_t i = 0; i < sizeof standard / sizeof *standard; i++)
        assert_false(base64_decode(BASE64_STANDARD, slice(standard[i]), out, sizeof out, &size));
    for (size_t i = 0; i < sizeof url / sizeof *url; i++)
        assert_false(base64_decode(BASE64_URL, slice(url[i]), out, sizeof out, &size));
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    unsigned char out[8];
    size_t size = 0;
    assert_true(base64_decode(BASE64_STANDARD, slice("Zm9vYg=="), out, 4, &size));
    assert_false(base64_decode(BASE64_STANDARD, slice("Zm9vYg=="), out, 3, &size));
    assert_false(base64_decode(BASE64_URL, slice("Zg"), out, 0, &size));
}

static void all_bytes_come_back(void **state)
{
    (void)state;
    unsigned char bytes[256], text[BASE64_BYTES_MAX(256)], back[256];
    for (unsigned i = 0; i < 256; i++)
        bytes[i] = (unsigned char)i;
    for (size_t size = 0; size <= 256; size++) {
        for (enum base64_alphabet alphabet = 0; alphabet <= BASE64_URL; alphabet++) {
            size_t text_size = base64_encode(alphabet, (struct slice){bytes, size}, text);
            size_t back_size = 0;
            assert_true(
                base64_decode(alphabet, (struct slice){text, text_size}, back, size, &back_size));
            assert_int_equal(back_size, size);
            assert_memory_equal(back, bytes, size);
        }
    }
}

static void numbers_are_digits_within_their_range(void **state)
{
    (void)state;
    uint64_t wide = 0;
    uint32_t narrow = 0;
    int32_t sign = 0;
    assert_true(number_parse_u64(slice("18446744073709551615"), &wide));
    assert_true(wide == UINT64_MAX);
    assert_true(number_parse_u64(slice("00000000000000000001"), &wide));
    assert_int_equal(wide, 1);
    assert_true(number_parse_u32(slice("4294967295"), &narrow));
    assert_int_equal(narrow, UINT32_MAX);
    assert_true(number_parse_i32(slice("-2147483648"), &sign));
    assert_int_equal(sign, INT32_MIN);
    assert_true(number_parse_i32(slice("2147483647"), &sign));
    assert_int_equal(sign, INT32_MAX);
    assert_true(number_parse_i32(slice("-0"), &sign));
    assert_int_equal(sign, 0);
    assert_false(number_parse_u64(slice("18446744073709551616"), &wide));
    assert_false(number_parse_u64(slice("99999999999999999999"), &wide));
    assert_false(number_parse_u64(slice("000000000000000000001"), &wide));
    assert_false(number_parse_u32(slice("4294967296"), &narrow));
    assert_false(number_parse_i32(slice("2147483648"), &sign));
    assert_false(number_parse_i32(slice("-2147483649"), &sign));
    static const char *const bad[] = {"", "-", "+1", "1 ", " 1", "1x", "0x1", "1.0", "--1", "1-"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(number_parse_u64(slice(bad[i]), &wide));
        assert_false(number_parse_i32(slice(bad[i]), &sign));
        assert_false(number_parse_i32_clamped(slice(bad[i]), &sign));
    }
}

static void clamped_numbers_stop_at_their_range(void **state)
{
    (void)state;
    int32_t number = 0;
    assert_true(number_parse_i32_clamped(slice("9999999999"), &number));
    assert_int_equal(number, INT32_MAX);
    assert_true(number_parse_i32_clamped(slice("-9999999999"), &number));
    assert_int_equal(number, INT32_MIN);
    assert_true(number_parse_i32_clamped(slice("-5"), &number));
    assert_int_equal(number, -5);
}

static void decimals_are_written_as_they_are_read(void **state)
{
    (void)state;
    unsigned char out[DECIMAL_BYTES_MAX];
    uint64_t power = 1;
    for (unsigned digits = 1; digits <= 20; digits++) {
        for (int offset = -1; offset <= 1; offset++) {
            uint64_t number = power + (uint64_t)offset, back = 0;
            size_t size = decimal_encode(number, out);
            assert_true(number_parse_u64((struct slice){out, size}, &back));
            assert_true(back == number);
            assert_true(size == 1 || out[0] != '0');
        }
        power *= 10;
    }
    assert_int_equal(decimal_encode(UINT64_MAX, out), 20);
    assert_memory_equal(out, "18446744073709551615", 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_rfc_4648_hold),
        cmocka_unit_test(malformed_text_is_refused),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(all_bytes_come_back),
        cmocka_unit_test(numbers_are_digits_within_their_range),
        cmocka_unit_test(clamped_numbers_stop_at_their_range),
        cmocka_unit_test(decimals_are_written_as_they_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
