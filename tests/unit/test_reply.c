#include "protocol/binary.h"
#include "protocol/binary_hit.h"
#include "protocol/reply.h"
#include "protocol/text.h"
#include "protocol/text_hit.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
/* after those */
#include <cmocka.h>

#define COUNT(cases) (sizeof(cases) / sizeof *(cases))
#define BYTES(text)                                                                                \
    {                                                                                              \
        (const unsigned char *)(text), sizeof(text) - 1                                            \
    }

static unsigned char key_storage[KEY_BYTES_MAX], context_storage[CONTEXT_BYTES_MAX];

/* The answer as it goes over the wire: head, value, tail. */
static struct slice answer(const struct operation *operation, const struct outcome *outcome)
{
    static unsigned char wire[16384];
    size_t size = reply_head(operation, outcome, wire);
    assert_true(size <= reply_head_bytes_max(operation));
    if (reply_has_value(operation, outcome)) {
        memcpy(wire + size, outcome->value.bytes, outcome->value.size);
        size += outcome->value.size;
    }
    size += reply_tail(operation, outcome, wire + size);
    return (struct slice){wire, size};
}

static void assert_bytes(struct slice got, const void *expected, size_t size)
{
    if (got.size != size || memcmp(got.bytes, expected, size) != 0)
        print_error("expected: %.*s\ngot: %.*s\n", (int)size, (const char *)expected, (int)got.size,
                    (const char *)got.bytes);
    assert_int_equal(got.size, size);
    assert_memory_equal(got.bytes, expected, size);
}

static struct operation parse_text(const char *input)
{
    struct parser parser = {0};
    struct operation operation = {.key_storage = key_storage, .context_storage = context_storage};
    size_t consumed;
    struct slice bytes = {(const unsigned char *)input, strlen(input)};
    assert_int_equal(text_parse(&parser, bytes, &operation, &consumed), PARSE_DONE);
    return operation;
}

struct text_case {
    const char *input;
    struct outcome outcome;
    const char *expected;
};

static void check(const struct text_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct operation operation = parse_text(cases[i].input);
        assert_bytes(answer(&operation, &cases[i].outcome), cases[i].expected,
                     strlen(cases[i].expected));
    }
}

#define HIT                                                                                        \
    {                                                                                              \
        .value = BYTES("xyz"), .client_flags = 5, .cas = 77, .sibling_count = 1                    \
    }
#define MISS                                                                                       \
    {                                                                                              \
        .status = OUTCOME_NOT_FOUND                                                                \
    }
#define STATUS(name)                                                                               \
    {                                                                                              \
        .status = OUTCOME_##name                                                                   \
    }

static void text_gets_answer_with_values(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        {"get a\r\n", HIT, "VALUE a 5 3\r\nxyz\r\nEND\r\n"},
        {"get a b\r\n", HIT, "VALUE a 5 3\r\nxyz\r\n"},
        {"gets a\r\n", HIT, "VALUE a 5 3 77\r\nxyz\r\nEND\r\n"},
        {"gats 1 a b\r\n", HIT, "VALUE a 5 3 77\r\nxyz\r\n"},
        {"gat 1 a\r\n", HIT, "VALUE a 5 3\r\nxyz\r\nEND\r\n"},
        {"get a\r\n", {.value = BYTES("")}, "VALUE a 0 0\r\n\r\nEND\r\n"},
        {"gets a\r\n",
         {.value = BYTES(""), .client_flags = UINT32_MAX, .cas = UINT64_MAX},
         "VALUE a 4294967295 0 18446744073709551615\r\n\r\nEND\r\n"},
        {"get a\r\n", MISS, "END\r\n"},
        {"get a b\r\n", MISS, ""},
        {"get a\r\n", STATUS(UNAUTHENTICATED), "CLIENT_ERROR unauthenticated\r\n"},
        {"get a b\r\n", STATUS(UNAUTHENTICATED), "CLIENT_ERROR unauthenticated\r\n"},
        {"vget a\r\n",
         {.value = BYTES("xyz"), .context = BYTES("\xfb\xff\xbf"), .sibling_count = 1},
         "VALUE a 0 3 @-_-_\r\nxyz\r\nEND\r\n"},
        {"vget a\r\n",
         {.value = BYTES("xyz"), .context = BYTES("a"), .sibling_count = 2},
         "VALUE a 0 3 @YQ\r\nxyz\r\n"},
        {"vget a\r\n",
         {.value = BYTES("uvw"), .context = BYTES("a"), .sibling_count = 2, .sibling_index = 1},
         "VALUE a 0 3 @YQ\r\nuvw\r\nEND\r\n"},
        {"vget a\r\n", MISS, "END\r\n"},
    };
    check(cases, COUNT(cases));
}

static void text_commands_answer_with_a_line(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        {"set a 0 0 1\r\nx\r\n", STATUS(OK), "STORED\r\n"},
        {"add a 0 0 1\r\nx\r\n", STATUS(NOT_STORED), "NOT_STORED\r\n"},
        {"cas a 0 0 1 1\r\nx\r\n", STATUS(EXISTS), "EXISTS\r\n"},
        {"cas a 0 0 1 1\r\nx\r\n", STATUS(NOT_FOUND), "NOT_FOUND\r\n"},
        {"set a 0 0 1\r\nx\r\n", STATUS(TOO_LARGE), "SERVER_ERROR object too large for cache\r\n"},
        {"set a 0 0 1\r\nx\r\n", STATUS(NO_MEMORY),
         "SERVER_ERROR out of memory storing object\r\n"},
        {"cas a 0 0 1 @\r\nx\r\n", STATUS(BAD_CONTEXT), "CLIENT_ERROR bad context\r\n"},
        {"cas a 0 0 1 @\r\nx\r\n", STATUS(TOO_MANY_SIBLINGS), "SERVER_ERROR too many siblings\r\n"},
        {"set a 0 0 1\r\nx\r\n", STATUS(UNAUTHENTICATED), "CLIENT_ERROR unauthenticated\r\n"},
        {"set a 0 0 1 noreply\r\nx\r\n", STATUS(OK), ""},
        {"set a 0 0 1 noreply\r\nx\r\n", STATUS(TOO_LARGE), ""},
        {"delete a\r\n", STATUS(OK), "DELETED\r\n"},
        {"delete a\r\n", STATUS(NOT_FOUND), "NOT_FOUND\r\n"},
        {"delete a noreply\r\n", STATUS(NOT_FOUND), ""},
        {"incr a 1\r\n", {.number = UINT64_MAX}, "18446744073709551615\r\n"},
        {"decr a 1\r\n", {.number = 0}, "0\r\n"},
        {"incr a 1\r\n", STATUS(NOT_FOUND), "NOT_FOUND\r\n"},
        {"incr a 1\r\n", STATUS(NO_MEMORY), "SERVER_ERROR out of memory\r\n"},
        {"incr a 1\r\n", STATUS(NOT_NUMERIC),
         "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"},
        {"incr a 1 noreply\r\n", {.number = 5}, ""},
        {"touch a 1\r\n", STATUS(OK), "TOUCHED\r\n"},
        {"touch a 1\r\n", STATUS(NOT_FOUND), "NOT_FOUND\r\n"},
        {"flush_all\r\n", STATUS(OK), "OK\r\n"},
        {"flush_all\r\n", STATUS(REFUSED), "CLIENT_ERROR flush_all not allowed\r\n"},
        {"flush_all noreply\r\n", STATUS(REFUSED), ""},
        {"verbosity 1\r\n", STATUS(OK), "OK\r\n"},
        {"version\r\n", STATUS(OK), "VERSION " MEMCACHED_VERSION "\r\n"},
        {"mn\r\n", STATUS(OK), "MN\r\n"},
        {"quit\r\n", STATUS(OK), ""},
        {"shutdown\r\n", STATUS(OK), ""},
        {"shutdown\r\n", STATUS(REFUSED), "SERVER_ERROR: shutdown not enabled\r\n"},
        {"watch\r\n", STATUS(REFUSED), "CLIENT_ERROR watch commands not allowed\r\n"},
        {"stats x\r\n", STATUS(NOT_FOUND), "ERROR\r\n"},
        {"stats x\r\n", STATUS(NO_MEMORY), "SERVER_ERROR out of memory writing stats\r\n"},
        {"GET / HTTP/1.1\r\n", STATUS(OK), ""},
        {"nonsense\r\n", STATUS(OK), "ERROR\r\n"},
        {"nonsense noreply\r\n", STATUS(OK), ""},
        {"set a 0 0 1\r\nxyz\r\n", STATUS(OK), "CLIENT_ERROR bad data chunk\r\n"},
    };
    check(cases, COUNT(cases));
}

#define META_HIT                                                                                   \
    {                                                                                              \
        .value = BYTES("xyz"), .client_flags = 5, .cas = 77, .ttl_s = 30, .idle_s = 9,             \
        .was_hit_before = true, .sibling_count = 2, .context = BYTES("a")                          \
    }

static void mg_answers_its_flags_in_the_order_asked(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        {"mg a\r\n", META_HIT, "HD\r\n"},
        {"mg a v\r\n", META_HIT, "VA 3\r\nxyz\r\n"},
        {"mg a q v\r\n", META_HIT, "VA 3\r\nxyz\r\n"},
        {"mg a s t f c h l k Oxy\r\n", META_HIT, "HD s3 t30 f5 c77 h1 l9 ka Oxy\r\n"},
        {"mg a  Oxy k  l h v c f t s u P1 L2 \r\n", META_HIT,
         "VA 3 Oxy ka l9 h1 c77 f5 t30 s3\r\nxyz\r\n"},
        {"mg a y n\r\n", META_HIT, "HD y@YQ n2\r\n"},
        {"mg a t h\r\n", {.ttl_s = -1}, "HD t-1 h0\r\n"},
        {"mg a v C77 c\r\n", META_HIT, "HD c77\r\n"},
        {"mg a v C78 c\r\n", META_HIT, "VA 3 c77\r\nxyz\r\n"},
        {"mg YQ== b k\r\n", {.key_is_binary = true}, "HD kYQ== b\r\n"},
        {"mg YQ== b k\r\n", {.key_is_binary = false}, "HD ka\r\n"},
        {"mg a k\r\n", {.key_is_binary = true}, "HD kYQ== b\r\n"},
        {"mg a c\r\n", {.cas = 1, .won = true, .is_stale = true}, "HD c1 X W\r\n"},
        {"mg a c\r\n", {.cas = 1, .lost = true, .is_stale = true}, "HD c1 Z X\r\n"},
        {"mg a N30 v\r\n", {.value = BYTES(""), .won = true}, "VA 0 W\r\n\r\n"},
        {"mg a\r\n", {.lost = true}, "HD Z\r\n"},
        {"mg a v\r\n", MISS, "EN\r\n"},
        {"mg a k v t O7 s\r\n", MISS, "EN ka O7\r\n"},
        {"mg YQ== b k\r\n", MISS, "EN kYQ== b\r\n"},
        {"mg a q k O7\r\n", MISS, ""},
        {"mg a q\r\n", STATUS(UNAUTHENTICATED), "CLIENT_ERROR unauthenticated\r\n"},
        {"mg a q q\r\n", MISS, "CLIENT_ERROR duplicate flag\r\n"},
    };
    check(cases, COUNT(cases));
}

static void ms_md_and_ma_answer_with_codes(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        {"ms a 1\r\nx\r\n", STATUS(OK), "HD\r\n"},
        {"ms a 1 k c O1 s y f t\r\nx\r\n",
         {.cas = 7, .value = {NULL, 4}, .context = BYTES("a")},
         "HD ka c7 O1 s4 y@YQ\r\n"},
        {"ms a 2 c s k y\r\nxy\r\n", STATUS(NOT_STORED), "NS c0 s2 ka\r\n"},
        {"ms a 1 C5\r\nx\r\n", STATUS(EXISTS), "EX\r\n"},
        {"ms a 1 C5\r\nx\r\n", STATUS(NOT_FOUND), "NF\r\n"},
        {"ms YQ== 1 b k\r\nx\r\n", STATUS(OK), "HD kYQ== b\r\n"},
        {"ms a 1 q k\r\nx\r\n", STATUS(OK), ""},
        {"ms a 1 q k\r\nx\r\n", STATUS(NOT_STORED), "NS ka\r\n"},
        {"ms a 1 q\r\nx\r\n", STATUS(TOO_LARGE), "SERVER_ERROR object too large for cache\r\n"},
        {"ms a 1 q\r\nx\r\n", STATUS(NO_MEMORY), "SERVER_ERROR out of memory storing object\r\n"},
        {"ms a 1 Y@\r\nx\r\n", STATUS(BAD_CONTEXT), "CLIENT_ERROR bad context\r\n"},
        {"ms a 1 q\r\nxyz\r\n", STATUS(OK), "CLIENT_ERROR bad data chunk\r\n"},
        {"md a\r\n", STATUS(OK), "HD\r\n"},
        {"md a k O1 c s\r\n", STATUS(OK), "HD ka O1\r\n"},
        {"md a q k\r\n", STATUS(OK), ""},
        {"md a q k\r\n", STATUS(NOT_FOUND), "NF ka\r\n"},
        {"md a C1 q\r\n", STATUS(EXISTS), "EX\r\n"},
        {"ma a\r\n", {.number = 12}, "HD\r\n"},
        {"ma a v\r\n", {.number = 12}, "VA 2\r\n12\r\n"},
        {"ma a c t k O1 v\r\n",
         {.number = UINT64_MAX, .cas = 3, .ttl_s = -1},
         "VA 20 c3 t-1 ka O1\r\n18446744073709551615\r\n"},
        {"ma a q v\r\n", {.number = 12}, ""},
        {"ma a q v c t k\r\n", STATUS(NOT_FOUND), "NF ka\r\n"},
        {"ma a\r\n", STATUS(NOT_NUMERIC),
         "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"},
        {"ma a\r\n", STATUS(NO_MEMORY), "SERVER_ERROR out of memory\r\n"},
        {"me a\r\n",
         {.ttl_s = -1, .idle_s = 4, .cas = 9, .item_bytes = 80},
         "ME a exp=-1 la=4 cas=9 fetch=no cls=1 size=80\r\n"},
        {"me YQ== b\r\n",
         {.ttl_s = 5, .was_hit_before = true, .key_is_binary = true},
         "ME YQ== exp=5 la=0 cas=0 fetch=yes cls=1 size=0\r\n"},
        {"me a\r\n", MISS, "EN\r\n"},
    };
    check(cases, COUNT(cases));
}

/* ------------------------------------------------------------------------------- binary */

static struct operation binary(unsigned opcode, const char *key, const char *extras,
                               size_t extras_size, const char *value)
{
    static unsigned char packet[1024];
    size_t key_size = strlen(key), value_size = strlen(value);
    size_t body = key_size + extras_size + value_size;
    memset(packet, 0, BINARY_HEADER_BYTES);
    packet[0] = BINARY_REQUEST_MAGIC;
    packet[1] = (unsigned char)opcode;
    packet[3] = (unsigned char)key_size;
    packet[4] = (unsigned char)extras_size;
    packet[11] = (unsigned char)body;
    memcpy(packet + 12, "\1\2\3\4", 4);
    memcpy(packet + 24, extras, extras_size);
    memcpy(packet + 24 + extras_size, key, key_size);
    memcpy(packet + 24 + extras_size + key_size, value, value_size);
    struct parser parser = {0};
    struct operation operation = {.key_storage = key_storage, .context_storage = context_storage};
    size_t consumed;
    assert_int_equal(
        binary_parse(&parser, (struct slice){packet, 24 + body}, &operation, &consumed),
        PARSE_DONE);
    assert_int_not_equal(operation.verb, VERB_CLOSE);
    return operation;
}

static struct operation binary_key(unsigned opcode)
{
    return binary(opcode, "key", "", 0, "");
}

static struct operation binary_set(unsigned opcode)
{
    return binary(opcode, "key", "\0\0\0\0\0\0\0\0", 8, "v");
}

static struct operation binary_count(unsigned opcode)
{
    return binary(opcode, "key", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20, "");
}

/* Checks the fields of the header, then the body byte for byte. */
static void assert_packet(struct operation operation, struct outcome outcome, unsigned status,
                          unsigned extras, unsigned key, uint64_t cas, const void *body,
                          size_t body_size)
{
    struct slice wire = answer(&operation, &outcome);
    assert_int_equal(wire.size, BINARY_HEADER_BYTES + body_size);
    assert_int_equal(wire.bytes[0], 0x81);
    assert_int_equal(wire.bytes[1], operation.opcode);
    assert_int_equal(wire.bytes[2] << 8 | wire.bytes[3], key);
    assert_int_equal(wire.bytes[4], extras);
    assert_int_equal(wire.bytes[5], 0);
    assert_int_equal(wire.bytes[6] << 8 | wire.bytes[7], status);
    assert_int_equal((uint32_t)wire.bytes[8] << 24 | (uint32_t)wire.bytes[9] << 16 |
                         (uint32_t)wire.bytes[10] << 8 | wire.bytes[11],
                     body_size);
    assert_memory_equal(wire.bytes + 12, "\1\2\3\4", 4);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(wire.bytes[16 + i], (unsigned char)(cas >> (56 - 8 * i)));
    assert_memory_equal(wire.bytes + BINARY_HEADER_BYTES, body, body_size);
}

#define assert_error(operation, outcome, status, text)                                             \
    assert_packet(operation, outcome, status, 0, 0, 0, text, sizeof(text) - 1)

static void assert_silence(struct operation operation, struct outcome outcome)
{
    assert_int_equal(answer(&operation, &outcome).size, 0);
}

static const struct outcome hit = {
    .value = BYTES("xyz"), .client_flags = 0x01020304, .cas = UINT64_C(0x1122334455667788)};

static struct outcome status(enum outcome_status which)
{
    return (struct outcome){.status = (uint8_t)which, .cas = 99};
}

static void binary_gets_answer_with_packets(void **state)
{
    (void)state;
    for (unsigned quiet = 0; quiet <= BINARY_GETQ; quiet += BINARY_GETQ)
        assert_packet(binary_key(BINARY_GET + quiet), hit, 0, 4, 0, hit.cas, "\1\2\3\4xyz", 7);
    assert_packet(binary_key(BINARY_GETK), hit, 0, 4, 3, hit.cas, "\1\2\3\4keyxyz", 10);
    assert_packet(binary_key(BINARY_GETKQ), hit, 0, 4, 3, hit.cas, "\1\2\3\4keyxyz", 10);
    struct outcome miss = status(OUTCOME_NOT_FOUND);
    assert_error(binary_key(BINARY_GET), miss, 1, "Not found");
    assert_packet(binary_key(BINARY_GETK), miss, 1, 0, 3, 0, "key", 3);
    assert_silence(binary_key(BINARY_GETQ), miss);
    assert_silence(binary_key(BINARY_GETKQ), miss);
    struct operation gat = binary(BINARY_GAT, "key", "\0\0\0\0", 4, "");
    struct operation gatk = binary(BINARY_GATK, "key", "\0\0\0\0", 4, "");
    struct operation gatkq = binary(BINARY_GATKQ, "key", "\0\0\0\0", 4, "");
    assert_error(gat, miss, 1, "Not found");
    assert_silence(gatkq, miss);
    assert_packet(gatk, hit, 0, 4, 3, hit.cas, "\1\2\3\4keyxyz", 10);
    assert_packet(gatk, miss, 1, 0, 3, 0, "key", 3);
    assert_packet(binary(BINARY_TOUCH, "key", "\0\0\0\0", 4, ""), hit, 0, 4, 0, hit.cas, "\1\2\3\4",
                  4);
}

static void binary_stores_answer_with_their_cas(void **state)
{
    (void)state;
    struct outcome stored = {.cas = 99};
    assert_packet(binary_set(BINARY_SET), stored, 0, 0, 0, 99, "", 0);
    assert_silence(binary_set(BINARY_SETQ), stored);
    struct outcome not_stored = status(OUTCOME_NOT_STORED);
    assert_error(binary_set(BINARY_ADD), not_stored, 2, "Data exists for key.");
    assert_error(binary_set(BINARY_ADDQ), not_stored, 2, "Data exists for key.");
    assert_error(binary_set(BINARY_REPLACE), not_stored, 1, "Not found");
    assert_error(binary(BINARY_APPENDQ, "key", "", 0, "v"), not_stored, 5, "Not stored.");
    assert_error(binary_set(BINARY_SET), status(OUTCOME_EXISTS), 2, "Data exists for key.");
    assert_error(binary_set(BINARY_SETQ), status(OUTCOME_NOT_FOUND), 1, "Not found");
    assert_error(binary_set(BINARY_SET), status(OUTCOME_TOO_LARGE), 3, "Too large.");
    assert_error(binary_set(BINARY_SET), status(OUTCOME_NO_MEMORY), 0x82, "Out of memory");
    assert_error(binary_set(BINARY_SET), status(OUTCOME_UNAUTHENTICATED), 0x20, "Auth failure.");
}

static void binary_changes_hide_success_only_when_quiet(void **state)
{
    (void)state;
    struct outcome counted = {.number = UINT64_C(0x0102030405060708), .cas = 5};
    assert_packet(binary_count(BINARY_INCREMENT), counted, 0, 0, 0, 5, "\1\2\3\4\5\6\7\10", 8);
    assert_silence(binary_count(BINARY_INCREMENTQ), counted);
    assert_error(binary_count(BINARY_DECREMENTQ), status(OUTCOME_NOT_FOUND), 1, "Not found");
    assert_error(binary_count(BINARY_DECREMENT), status(OUTCOME_NOT_NUMERIC), 6,
                 "Non-numeric server-side value for incr or decr");
    assert_packet(binary_key(BINARY_DELETE), (struct outcome){.cas = 5}, 0, 0, 0, 0, "", 0);
    assert_silence(binary_key(BINARY_DELETEQ), (struct outcome){0});
    assert_error(binary_key(BINARY_DELETEQ), status(OUTCOME_NOT_FOUND), 1, "Not found");
    assert_error(binary_key(BINARY_DELETE), status(OUTCOME_EXISTS), 2, "Data exists for key.");
    assert_packet(binary(BINARY_FLUSH, "", "", 0, ""), (struct outcome){0}, 0, 0, 0, 0, "", 0);
    assert_silence(binary(BINARY_FLUSHQ, "", "", 0, ""), (struct outcome){0});
    assert_error(binary(BINARY_FLUSHQ, "", "", 0, ""), status(OUTCOME_REFUSED), 0x20,
                 "Auth failure.");
    assert_packet(binary(BINARY_QUIT, "", "", 0, ""), (struct outcome){0}, 0, 0, 0, 0, "", 0);
    assert_silence(binary(BINARY_QUITQ, "", "", 0, ""), (struct outcome){0});
    assert_packet(binary(BINARY_NOOP, "", "", 0, ""), (struct outcome){0}, 0, 0, 0, 0, "", 0);
    assert_packet(binary(BINARY_VERSION, "", "", 0, ""), (struct outcome){0}, 0, 0, 0, 0,
                  MEMCACHED_VERSION, sizeof MEMCACHED_VERSION - 1);
    assert_error(binary(0x1b, "", "\0\0\0\1", 4, ""), (struct outcome){0}, 0x81, "Unknown command");
}

static void binary_siblings_carry_the_context_before_the_value(void **state)
{
    (void)state;
    struct outcome sibling = {.value = BYTES("xyz"),
                              .context = BYTES("ctx"),
                              .client_flags = 5,
                              .cas = 7,
                              .sibling_index = 1,
                              .sibling_count = 2};
    assert_packet(binary_key(BINARY_GETV), sibling, 0, 12, 0, 7,
                  "\0\0\0\5\0\1\0\2\0\0\0\3ctxxyz", 18);
    assert_error(binary_key(BINARY_GETV), status(OUTCOME_NOT_FOUND), 1, "Not found");
    struct operation set = binary(BINARY_SETV, "key", "\0\0\0\0\0\0\0\0\0\0\0\0", 12, "v");
    assert_error(set, status(OUTCOME_BAD_CONTEXT), 4, "Bad context.");
    assert_error(set, status(OUTCOME_TOO_MANY_SIBLINGS), 5, "Too many siblings.");
}

static void statistics_and_lines_take_the_form_of_their_protocol(void **state)
{
    (void)state;
    unsigned char out[128];
    struct operation text = parse_text("stats\r\n");
    struct slice name = SLICE("pid"), value = SLICE("12"), none = SLICE("");
    assert_bytes((struct slice){out, reply_stat(&text, name, value, out)}, "STAT pid 12\r\n", 13);
    assert_bytes((struct slice){out, reply_stat(&text, none, none, out)}, "END\r\n", 5);
    assert_bytes((struct slice){out, reply_line(&text, 0, SLICE("RESET"), out)}, "RESET\r\n", 7);
    struct operation silent = parse_text("lru mode flat noreply\r\n");
    assert_int_equal(reply_line(&silent, 0, SLICE("OK"), out), 0);
    struct operation binary_stat = binary(BINARY_STAT, "", "", 0, "");
    assert_bytes((struct slice){out, reply_stat(&binary_stat, name, value, out)},
                 "\x81\x10\0\3\0\0\0\0\0\0\0\5\1\2\3\4\0\0\0\0\0\0\0\0pid12", 29);
    assert_bytes((struct slice){out, reply_stat(&binary_stat, none, none, out)},
                 "\x81\x10\0\0\0\0\0\0\0\0\0\0\1\2\3\4\0\0\0\0\0\0\0\0", 24);
    assert_bytes(
        (struct slice){out, reply_line(&binary_stat, BINARY_AUTH_CONTINUE, SLICE("go"), out)},
        "\x81\x10\0\0\0\0\0\x21\0\0\0\2\1\2\3\4\0\0\0\0\0\0\0\0go", 26);
}

/* The longest answer there is: every flag, the longest key in base64, the longest context. */
static void the_longest_answer_fits_its_bound(void **state)
{
    (void)state;
    char line[512];
    unsigned char context[CONTEXT_BYTES_MAX] = {0};
    snprintf(line, sizeof line, "mg %.250s k y n c f s t h l O%.32s v\r\n",
             "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
             "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
             "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk",
             "oooooooooooooooooooooooooooooooooooo");
    struct operation operation = parse_text(line);
    assert_int_equal(operation.verb, VERB_GET);
    struct outcome outcome = {.value = BYTES(""),
                              .context = {context, sizeof context},
                              .key_is_binary = true,
                              .client_flags = UINT32_MAX,
                              .cas = UINT64_MAX,
                              .ttl_s = INT64_MAX,
                              .idle_s = UINT32_MAX,
                              .sibling_count = UINT32_MAX,
                              .is_stale = true,
                              .won = true,
                              .lost = true};
    unsigned char out[REPLY_HEAD_BYTES_MAX];
    size_t size = reply_head(&operation, &outcome, out);
    assert_true(size > 1700);
    assert_true(size <= reply_head_bytes_max(&operation));
    memcpy(strstr(line, " y "), " v ", 3); /* the longest without a context */
    memcpy(strrchr(line, 'v'), "P", 1);
    operation = parse_text(line);
    assert_int_equal(operation.verb, VERB_GET);
    size = reply_head(&operation, &outcome, out);
    assert_true(size > 450);
    assert_true(size <= reply_head_bytes_max(&operation));
}

static void a_hit_written_at_once_is_the_hit_written_in_parts(void **state)
{
    (void)state;
    static const char *const lines[] = {"get k\r\n", "gets some-key\r\n", "get a b\r\n",
                                        "gets a b\r\n"};
    static const char *const values[] = {"", "7", "a value of some length\r\nwith a line end"};
    static const uint64_t numbers[] = {0, 9, 10, 99, 100, 65535, UINT32_MAX};
    unsigned char wire[TEXT_HIT_BYTES_MAX + 64];
    for (size_t l = 0; l < COUNT(lines); l++)
        for (size_t v = 0; v < COUNT(values); v++)
            for (size_t n = 0; n < COUNT(numbers); n++) {
                struct operation get = parse_text(lines[l]);
                struct outcome outcome = {
                    .status = OUTCOME_OK,
                    .client_flags = (uint32_t)numbers[n],
                    .cas = numbers[n] * 0x100000001u,
                    .value = {(const unsigned char *)values[v], strlen(values[v])}};
                size_t size = text_hit_encode(&get, outcome.client_flags, outcome.cas,
                                              outcome.value, wire);
                assert_bytes(answer(&get, &outcome), wire, size);
            }
}

static void a_binary_hit_written_at_once_is_the_hit_written_in_parts(void **state)
{
    (void)state;
    static const uint8_t opcodes[] = {BINARY_GET,  BINARY_GETQ, BINARY_GETK, BINARY_GETKQ,
                                      BINARY_GAT,  BINARY_GATQ, BINARY_GATK, BINARY_GATKQ};
    static const char *const values[] = {"", "7", "a value of some length"};
    unsigned char wire[BINARY_HIT_BYTES_MAX + 64];
    for (size_t o = 0; o < COUNT(opcodes); o++)
        for (size_t v = 0; v < COUNT(values); v++) {
            struct operation get = {.verb = VERB_GET,
                                    .protocol = PROTOCOL_BINARY,
                                    .opcode = opcodes[o],
                                    .options = OPERATION_WANTS_VALUE | OPERATION_WANTS_CAS,
                                    .opaque = 0x12345678,
                                    .key = SLICE("some-key")};
            struct outcome outcome = {
                .status = OUTCOME_OK,
                .client_flags = 0xdecade,
                .cas = 0x123456789abcdef0,
                .value = {(const unsigned char *)values[v], strlen(values[v])}};
            size_t size =
                binary_hit_encode(&get, outcome.client_flags, outcome.cas, outcome.value, wire);
            assert_bytes(answer(&get, &outcome), wire, size);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_binary_hit_written_at_once_is_the_hit_written_in_parts),
        cmocka_unit_test(a_hit_written_at_once_is_the_hit_written_in_parts),
        cmocka_unit_test(text_gets_answer_with_values),
        cmocka_unit_test(text_commands_answer_with_a_line),
        cmocka_unit_test(mg_answers_its_flags_in_the_order_asked),
        cmocka_unit_test(ms_md_and_ma_answer_with_codes),
        cmocka_unit_test(binary_gets_answer_with_packets),
        cmocka_unit_test(binary_stores_answer_with_their_cas),
        cmocka_unit_test(binary_changes_hide_success_only_when_quiet),
        cmocka_unit_test(binary_siblings_carry_the_context_before_the_value),
        cmocka_unit_test(statistics_and_lines_take_the_form_of_their_protocol),
        cmocka_unit_test(the_longest_answer_fits_its_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
