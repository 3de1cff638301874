/* What ringbench makes of replies, cut anywhere: bench/reply and bench/exchange. */

#include "bench/exchange.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct keyspace keyspace = {.key_bytes = 16};
static struct tally tally;

static int make_keyspace(void **state)
{
    (void)state;
    return amounts_parse(&keyspace.sizes, "list:0@1,5@2,300@2") &&
                   amounts_parse(&keyspace.lifetimes, "0") && keyspace_init(&keyspace)
               ? 0
               : -1;
}

static int free_keyspace(void **state)
{
    (void)state;
    keyspace_deinit(&keyspace);
    return 0;
}

/* Requests to put under way before the replies arrive. */
struct asked {
    enum operation operation;
    unsigned keys; /* numbers 0, 1, 2, ... */
};

static void start(struct exchange *exchange, enum wire wire, const struct asked *asked,
                  unsigned count)
{
    memset(&tally, 0, sizeof tally);
    assert_true(exchange_init(exchange, wire, &keyspace, 8, 8));
    exchange->tally = &tally;
    exchange->verifies = true;
    exchange->is_cache_aside = true;
    for (unsigned i = 0; i < count; i++) {
        uint64_t *keys;
        struct slot *slot = exchange_push(exchange, &keys);
        slot->operation = asked[i].operation;
        slot->keys = asked[i].keys;
        for (unsigned k = 0; k < asked[i].keys; k++)
            keys[k] = k;
    }
}

/* Builds replies; `struct outbox` is a handy buffer. */
static void add(struct outbox *outbox, const void *bytes, size_t size)
{
    assert_true(outbox_reserve(outbox, size));
    memcpy(outbox->bytes + outbox->used, bytes, size);
    outbox->used += size;
}

static void add_value(struct outbox *outbox, enum wire wire, uint64_t number, bool is_multi)
{
    const struct slice value = keyspace_value(&keyspace, number);
    char head[100] = {0};
    char key[16];
    int size = 0;
    keyspace_write_key(&keyspace, KEY_VALUE, number, key);
    switch (wire) {
    case WIRE_TEXT:
        size = snprintf(head, sizeof head, "VALUE %.16s 0 %zu\r\n", key, value.size);
        break;
    case WIRE_META:
        size = snprintf(head, sizeof head, is_multi ? "VA %zu k%.16s\r\n" : "VA %zu\r\n",
                        value.size, key);
        break;
    case WIRE_BINARY:
        size = 28;
        head[0] = (char)0x81;
        head[1] = is_multi ? 0x09 : 0x00;
        head[4] = 4;
        head[10] = (char)((value.size + 4) >> 8);
        head[11] = (char)(value.size + 4);
        head[15] = (char)number;
        break;
    }
    add(outbox, head, (size_t)size);
    add(outbox, value.bytes, value.size);
    if (wire != WIRE_BINARY)
        add(outbox, "\r\n", 2);
}

static void add_text(struct outbox *outbox, const char *text)
{
    add(outbox, text, strlen(text));
}

static void add_header(struct outbox *outbox, unsigned opcode, unsigned status, const char *body)
{
    const char header[24] = {(char)0x81,
                             (char)opcode, [7] = (char)status, [11] = (char)strlen(body)};
    add(outbox, header, sizeof header);
    add_text(outbox, body);
}

/* The bytes in two parts, cut at every place; `check` looks at what came out. */
static void receive_every_split(enum wire wire, const struct asked *asked, unsigned count,
                                struct outbox *replies, void (*check)(struct exchange *))
{
    for (size_t cut = 0; cut <= replies->used; cut++) {
        struct exchange exchange;
        start(&exchange, wire, asked, count);
        const unsigned char *bytes = (const unsigned char *)replies->bytes;
        assert_true(exchange_receive(&exchange, (struct slice){bytes, cut}, 5));
        assert_true(
            exchange_receive(&exchange, (struct slice){bytes + cut, replies->used - cut}, 5));
        assert_int_equal(exchange.used, 0);
        check(&exchange);
        exchange_deinit(&exchange);
    }
    outbox_deinit(replies);
}

static const struct asked asked_everything[] = {
    {OPERATION_GET, 1}, {OPERATION_GET, 1},    {OPERATION_GET, 6},
    {OPERATION_SET, 1}, {OPERATION_DELETE, 1}, {OPERATION_INCR, 1},
};

/* The replies are: hit, miss, hits of keys 1 3 4 out of 0..5, stored, not found, 12. */
static void check_everything(struct exchange *exchange)
{
    const uint64_t fills[] = {0, 0, 2, 5};
    uint64_t key;
    assert_true(tally_is_clean(&tally, false));
    assert_int_equal(tally.hits, 4);
    assert_int_equal(tally.misses, 4);
    assert_int_equal(tally.absent, 1);
    assert_int_equal(tally.requests[OPERATION_GET], 3);
    assert_int_equal(tally.keys[OPERATION_GET], 8);
    assert_int_equal(tally.requests[OPERATION_SET], 1);
    assert_int_equal(tally.requests[OPERATION_DELETE], 1);
    assert_int_equal(tally.requests[OPERATION_INCR], 1);
    assert_int_equal(tally.latency[OPERATION_GET].total, 3);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(exchange_pop_fill(exchange, &key));
        assert_int_equal(key, fills[i]);
    }
    assert_false(exchange_pop_fill(exchange, &key));
}

static void text_replies_mean_the_same_wherever_they_are_cut(void **state)
{
    (void)state;
    struct outbox replies = {0};
    add_value(&replies, WIRE_TEXT, 0, false);
    add_text(&replies, "END\r\nEND\r\n");
    add_value(&replies, WIRE_TEXT, 1, true);
    add_value(&replies, WIRE_TEXT, 3, true);
    add_value(&replies, WIRE_TEXT, 4, true);
    add_text(&replies, "END\r\nSTORED\r\nNOT_FOUND\r\n12\r\n");
    receive_every_split(WIRE_TEXT, asked_everything, 6, &replies, check_everything);
}

static void meta_replies_mean_the_same_wherever_they_are_cut(void **state)
{
    (void)state;
    struct outbox replies = {0};
    add_value(&replies, WIRE_META, 0, false);
    add_text(&replies, "EN\r\n");
    add_value(&replies, WIRE_META, 1, true);
    add_value(&replies, WIRE_META, 3, true);
    add_value(&replies, WIRE_META, 4, true);
    add_text(&replies, "MN\r\nHD\r\nNF\r\nHD\r\n");
    receive_every_split(WIRE_META, asked_everything, 6, &replies, check_everything);
}

static void binary_replies_mean_the_same_wherever_they_are_cut(void **state)
{
    (void)state;
    struct outbox replies = {0};
    add_value(&replies, WIRE_BINARY, 0, false);
    add_header(&replies, 0x00, 1, "Not found");
    add_value(&replies, WIRE_BINARY, 1, true);
    add_value(&replies, WIRE_BINARY, 3, true);
    add_value(&replies, WIRE_BINARY, 4, true);
    add_header(&replies, 0x0a, 0, "");
    add_header(&replies, 0x01, 0, "");
    add_header(&replies, 0x04, 1, "Not found");
    add_header(&replies, 0x05, 0, "12345678");
    receive_every_split(WIRE_BINARY, asked_everything, 6, &replies, check_everything);
}

static void check_one_refusal(struct exchange *exchange)
{
    (void)exchange;
    assert_int_equal(tally.failures[FAILURE_REFUSED], 1);
    assert_false(tally_is_clean(&tally, false));
    assert_true(tally_is_clean(&tally, true));
    assert_non_null(strstr(tally.first_failure, "memory"));
}

static void an_error_reply_is_a_failure_unless_allowed(void **state)
{
    (void)state;
    const struct asked asked[] = {{OPERATION_SET, 1}};
    struct outbox replies = {0};
    add_text(&replies, "SERVER_ERROR out of memory storing object\r\n");
    receive_every_split(WIRE_TEXT, asked, 1, &replies, check_one_refusal);
}

/* Feeds one piece that must be found wrong in the given way. */
static void check_wrong(enum wire wire, struct asked asked, const char *text, enum failure failure)
{
    struct exchange exchange;
    start(&exchange, wire, &asked, asked.keys > 0 ? 1 : 0);
    const bool is_sound =
        exchange_receive(&exchange, (struct slice){(const unsigned char *)text, strlen(text)}, 5);
    assert_int_equal(is_sound, failure == FAILURE_WRONG_VALUE);
    assert_int_equal(tally.failures[failure], 1);
    exchange_deinit(&exchange);
}

static void replies_that_make_no_sense_are_failures(void **state)
{
    (void)state;
    const struct asked get = {OPERATION_GET, 1};
    const struct asked set = {OPERATION_SET, 1};
    const struct {
        enum wire wire;
        struct asked asked;
        const char *text;
    } rows[] = {
        {WIRE_TEXT, get, "HELLO\r\n"},
        {WIRE_TEXT, get, "STORED\r\n"},
        {WIRE_TEXT, set, "END\r\n"},
        {WIRE_TEXT, set, "NOT_STORED\r\n"},
        {WIRE_TEXT, get, "END\n"},
        {WIRE_TEXT, get, "\r\n"},
        {WIRE_TEXT, get, "VALUE k000000000000000 0 x\r\n"},
        {WIRE_TEXT, get, "VALUE k000000000000009 0 5\r\n"},
        {WIRE_TEXT, set, "VALUE k000000000000000 0 5\r\n"},
        {WIRE_TEXT, {OPERATION_GET, 0}, "END\r\n"},
        {WIRE_TEXT, get, "END\r\nEND\r\n"},
        {WIRE_META, get, "HD\r\n"},
        {WIRE_META, get, "MN\r\n"},
        {WIRE_META, {OPERATION_GET, 2}, "EN\r\n"},
        {WIRE_BINARY, get, "END\r\n and what else comes"},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
        check_wrong(rows[i].wire, rows[i].asked, rows[i].text, FAILURE_BAD_REPLY);
}

static void a_value_without_its_line_end_is_a_failure(void **state)
{
    (void)state;
    struct exchange exchange;
    struct outbox replies = {0};
    const struct asked get = {OPERATION_GET, 1};
    start(&exchange, WIRE_TEXT, &get, 1);
    add_value(&replies, WIRE_TEXT, 0, false);
    replies.bytes[replies.used - 2] = 'x';
    assert_false(exchange_receive(
        &exchange, (struct slice){(const unsigned char *)replies.bytes, replies.used}, 5));
    assert_int_equal(tally.failures[FAILURE_BAD_REPLY], 1);
    exchange_deinit(&exchange);
    outbox_deinit(&replies);
}

static void a_wrong_value_is_a_failure(void **state)
{
    (void)state;
    const struct asked get = {OPERATION_GET, 1};
    check_wrong(WIRE_TEXT, get, "VALUE k000000000000000 0 3\r\nabc\r\nEND\r\n",
                FAILURE_WRONG_VALUE);
    check_wrong(WIRE_META, get, "VA 3\r\nabc\r\n", FAILURE_WRONG_VALUE);
}

static void an_endless_line_is_refused(void **state)
{
    (void)state;
    struct exchange exchange;
    const struct asked get = {OPERATION_GET, 1};
    unsigned char bytes[100];
    bool is_sound = true;
    memset(bytes, 'x', sizeof bytes);
    start(&exchange, WIRE_TEXT, &get, 1);
    for (unsigned i = 0; i < 11 && is_sound; i++)
        is_sound = exchange_receive(&exchange, (struct slice){bytes, sizeof bytes}, 5);
    assert_false(is_sound);
    exchange_deinit(&exchange);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_replies_mean_the_same_wherever_they_are_cut),
        cmocka_unit_test(meta_replies_mean_the_same_wherever_they_are_cut),
        cmocka_unit_test(binary_replies_mean_the_same_wherever_they_are_cut),
        cmocka_unit_test(an_error_reply_is_a_failure_unless_allowed),
        cmocka_unit_test(replies_that_make_no_sense_are_failures),
        cmocka_unit_test(a_value_without_its_line_end_is_a_failure),
        cmocka_unit_test(a_wrong_value_is_a_failure),
        cmocka_unit_test(an_endless_line_is_refused),
    };
    return cmocka_run_group_tests(tests, make_keyspace, free_keyspace);
}
