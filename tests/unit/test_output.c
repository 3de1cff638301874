#include "server/output.h"
#include "server/item.h"
#include "server/store.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

/* Items are only let go of here, so any address will do for one. */
static unsigned unrefs;

void item_unref(struct store *store, struct item *item)
{
    (void)store;
    assert_non_null(item);
    unrefs++;
}

static struct item *some_item(void)
{
    static unsigned char bytes[64];

    return (struct item *)(void *)bytes;
}

static void append(struct output *output, const char *text)
{
    output_append(output, (struct slice){ (const unsigned char *)text, strlen(text) });
}

static void append_value(struct output *output, const char *text)
{
    output_append_value(output, some_item(),
                        (struct slice){ (const unsigned char *)text, strlen(text) });
}

/* Takes all out, at most `step` bytes at a time. */
static char *take(struct output *output, size_t step)
{
    static char text[1024];
    size_t used = 0;

    while (!output_is_empty(output)) {
        struct iovec pieces[4];
        unsigned count = output_pieces(output, pieces, 4);
        size_t left = step;
        for (unsigned i = 0; i < count && left > 0; i++) {
            size_t size = pieces[i].iov_len < left ? pieces[i].iov_len : left;
            assert_true(pieces[i].iov_len > 0);
            memcpy(text + used, pieces[i].iov_base, size);
            used += size;
            left -= size;
        }
        output_sent(output, step - left);
    }
    text[used] = '\0';
    return text;
}

static void bytes_come_out_in_the_order_in_which_they_went_in(void **state)
{
    struct output output;

    (void)state;
    for (size_t step = 1; step < 20; step++) {
        unrefs = 0;
        assert_true(output_init(&output, NULL, 8));
        append_value(&output, "first ");
        append(&output, "one ");
        append(&output, "two ");
        append_value(&output, "value ");
        append_value(&output, "another ");
        append(&output, "end");
        assert_int_equal(output.pending_bytes, 31);
        assert_string_equal(take(&output, step), "first one two value another end");
        assert_int_equal(unrefs, 3);
        assert_int_equal(output.used, 0);
        output_deinit(&output);
        assert_int_equal(unrefs, 3);
    }
}

static void moving_keeps_the_order_and_what_was_sent_already(void **state)
{
    (void)state;
    for (size_t sent = 0; sent < 21; sent++) {
        struct output from, to;
        unrefs = 0;
        assert_true(output_init(&from, NULL, 64));
        assert_true(output_init(&to, NULL, 0));
        append(&from, "head ");
        append_value(&from, "value ");
        append(&from, "tail ");
        append_value(&from, "last ");
        output_sent(&from, sent);
        assert_true(output_move(&from, &to));
        assert_true(output_is_empty(&from));
        append(&from, "more ");
        append_value(&from, "again");
        assert_true(output_move(&from, &to));
        assert_string_equal(take(&to, 3), &"head value tail last more again"[sent]);
        assert_int_equal(unrefs, 3);
        output_deinit(&from);
        output_deinit(&to);
    }
}

static void what_is_reserved_but_not_committed_is_not_sent(void **state)
{
    struct output output;

    (void)state;
    assert_true(output_init(&output, NULL, OUTPUT_RESERVE_BYTES_MAX));
    memcpy(output_reserve(&output, 100), "abc", 3);
    output_commit(&output, 3);
    memcpy(output_reserve(&output, OUTPUT_RESERVE_BYTES_MAX), "def", 3);
    output_commit(&output, 3);
    assert_string_equal(take(&output, 100), "abcdef");
    output_deinit(&output);
}

static void dropping_unsent_output_lets_go_of_its_items(void **state)
{
    struct output output;

    (void)state;
    unrefs = 0;
    assert_true(output_init(&output, NULL, 16));
    append_value(&output, "sent");
    append_value(&output, "in part");
    append_value(&output, "unsent");
    output_sent(&output, 6);
    assert_int_equal(unrefs, 1);
    output_deinit(&output);
    assert_int_equal(unrefs, 3);
}

static void after_a_huge_answer_the_buffer_shrinks(void **state)
{
    struct output output;
    size_t huge = 8 * 1024 * 1024;
    unsigned char *bytes = calloc(1, huge);

    (void)state;
    assert_non_null(bytes);
    assert_true(output_init(&output, NULL, OUTPUT_RESERVE_BYTES_MAX));
    output_append(&output, (struct slice){ bytes, huge });
    assert_true(output.capacity >= huge);
    output_sent(&output, huge);
    assert_true(output.capacity <= 1024 * 1024);
    assert_true(output.capacity >= OUTPUT_RESERVE_BYTES_MAX);
    output_deinit(&output);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_out_in_the_order_in_which_they_went_in),
        cmocka_unit_test(moving_keeps_the_order_and_what_was_sent_already),
        cmocka_unit_test(what_is_reserved_but_not_committed_is_not_sent),
        cmocka_unit_test(dropping_unsent_output_lets_go_of_its_items),
        cmocka_unit_test(after_a_huge_answer_the_buffer_shrinks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
