#include "protocol/peek.h"
#include "tests/unit/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
/* after those */
#include <cmocka.h>

static void check(const void *bytes, size_t size, const char *key)
{
    struct slice peeked = peek_key((struct slice){bytes, size});

    assert_int_equal(peeked.size, strlen(key));
    assert_memory_equal(peeked.bytes, key, peeked.size);
}

#define CHECK(input, key) check(input, sizeof input - 1, key)

static void the_key_of_a_text_or_meta_command_is_its_second_word(void **state)
{
    (void)state;
    CHECK("get key\r\n", "key");
    CHECK("get key\n", "key");
    CHECK("get first second\r\n", "first");
    CHECK("set key 0 0 5\r\nvalue\r\n", "key");
    CHECK("mg a_key_that_is_longer_than_a_vector v\r\n", "a_key_that_is_longer_than_a_vector");
    CHECK("version\r\n", "");
    CHECK("mn\r\nget key\r\n", "");
    CHECK("g", "");
    CHECK("get ", "");
}

static void the_key_of_a_binary_command_is_behind_its_extras(void **state)
{
    (void)state;
    CHECK("\x80\0\0\3\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\0\0\0\0\0key", "key");
    CHECK("\x80\1\0\3\x8\0\0\0\0\0\0\xc\0\0\0\0\0\0\0\0\0\0\0\0flagtimekey5", "key");
    CHECK("\x80\0\0\3\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\0\0\0\0\0ke", "");
    CHECK("\x80\xa", "");
}

/* The input is allocated in its own size, so that the address sanitizer sees what is read. */
static void it_never_looks_past_the_input(void **state)
{
    struct random random = {7};

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        size_t size = 1 + random_below(&random, 600);
        unsigned char *bytes = malloc(size);
        assert_non_null(bytes);
        random_fill(&random, bytes, size);
        for (size_t i = 0; i < size; i++)
            bytes[i] = random_chance(&random, 1) ? ' ' : bytes[i] == ' ' ? 'x' : bytes[i];
        if (random_chance(&random, 50))
            bytes[0] = 0x80;
        struct slice key = peek_key((struct slice){bytes, size});
        assert_true(key.bytes >= bytes);
        assert_true(key.bytes + key.size <= bytes + size);
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_key_of_a_text_or_meta_command_is_its_second_word),
        cmocka_unit_test(the_key_of_a_binary_command_is_behind_its_extras),
        cmocka_unit_test(it_never_looks_past_the_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
