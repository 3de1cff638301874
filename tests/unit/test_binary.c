#include "protocol/binary.h"
#include "protocol/reply.h"
#include "tests/unit/codec_check.h"

#define COUNT(cases) (sizeof(cases) / sizeof *(cases))

/* The transcript shows the opaque as the number that its bytes are here. */
#define TAG " opaque=44332211"

struct bytes {
    unsigned char bytes[8192];
    size_t size;
};

static void add(struct bytes *to, const void *bytes, size_t size)
{
    assert_true(to->size + size <= sizeof to->bytes);
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
}

static void add_number(struct bytes *to, uint64_t number, unsigned width)
{
    for (unsigned i = width; i-- > 0;) {
        unsigned char byte = (unsigned char)(number >> (8 * i));
        add(to, &byte, 1);
    }
}

/* A header with whatever lengths, right or wrong. */
static void add_header(struct bytes *to, unsigned opcode, unsigned extras, unsigned key,
                       uint64_t body, uint64_t cas)
{
    add_number(to, BINARY_REQUEST_MAGIC, 1);
    add_number(to, opcode, 1);
    add_number(to, key, 2);
    add_number(to, extras, 1);
    add_number(to, 0, 1);
    add_number(to, 0, 2);
    add_number(to, body, 4);
    add_number(to, 0x11223344, 4);
    add_number(to, cas, 8);
}

struct packet {
    const char *expected;
    unsigned opcode;
    struct slice extras;
    const char *key, *value;
    uint64_t cas;
};

static void add_packet(struct bytes *to, const struct packet *packet)
{
    size_t key = packet->key != NULL ? strlen(packet->key) : 0;
    size_t value = packet->value != NULL ? strlen(packet->value) : 0;
    add_header(to, packet->opcode, (unsigned)packet->extras.size, (unsigned)key,
               packet->extras.size + key + value, packet->cas);
    if (packet->extras.size > 0)
        add(to, packet->extras.bytes, packet->extras.size);
    if (key > 0)
        add(to, packet->key, key);
    if (value > 0)
        add(to, packet->value, value);
}

static struct slice slice_of(const struct bytes *bytes)
{
    return (struct slice){bytes->bytes, bytes->size};
}

#define NONE                                                                                       \
    {                                                                                              \
        NULL, 0                                                                                    \
    }
#define EXTRAS(literal)                                                                            \
    {                                                                                              \
        (const unsigned char *)(literal), sizeof(literal) - 1                                      \
    }
#define FLAGS_AND_TIME EXTRAS("\0\0\0\5\0\0\0\6")
#define TIME           EXTRAS("\0\0\0\7")
#define COUNTING       EXTRAS("\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3\0\0\0\4")
#define COUNTING_ONLY  EXTRAS("\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3\xff\xff\xff\xff")

static const struct packet good[] = {
    {"GET a +value opcode=00" TAG "\n", BINARY_GET, NONE, "a", NULL, 0},
    {"GET a +value opcode=00" TAG "\n", BINARY_GET, NONE, "a", NULL, 5},
    {"GET a +quiet +value opcode=09" TAG "\n", BINARY_GETQ, NONE, "a", NULL, 0},
    {"GET a +value opcode=0c" TAG "\n", BINARY_GETK, NONE, "a", NULL, 0},
    {"GET a +quiet +value opcode=0d" TAG "\n", BINARY_GETKQ, NONE, "a", NULL, 0},
    {"GET a exptime=7 +value +exptime opcode=1d" TAG "\n", BINARY_GAT, TIME, "a", NULL, 0},
    {"GET a exptime=7 +quiet +value +exptime opcode=1e" TAG "\n", BINARY_GATQ, TIME, "a", NULL, 0},
    {"GET a exptime=7 +value +exptime opcode=23" TAG "\n", BINARY_GATK, TIME, "a", NULL, 0},
    {"GET a exptime=7 +quiet +value +exptime opcode=24" TAG "\n", BINARY_GATKQ, TIME, "a", NULL, 0},
    {"TOUCH a exptime=2147483647 +exptime opcode=1c" TAG "\n", BINARY_TOUCH,
     EXTRAS("\xff\xff\xff\xff"), "a", NULL, 0},
    {"TOUCH a exptime=2147483647 +exptime opcode=1c" TAG "\n", BINARY_TOUCH, EXTRAS("\x80\0\0\0"),
     "a", NULL, 0},
    {"STORE set a flags=5 exptime=6 +exptime opcode=01" TAG " value=xyz\n", BINARY_SET,
     FLAGS_AND_TIME, "a", "xyz", 0},
    {"STORE set a flags=5 exptime=6 +exptime opcode=01" TAG " value=\n", BINARY_SET, FLAGS_AND_TIME,
     "a", NULL, 0},
    {"STORE set a flags=5 exptime=6 compare=9 +compare +exptime opcode=01" TAG " value=xyz\n",
     BINARY_SET, FLAGS_AND_TIME, "a", "xyz", 9},
    {"STORE set a flags=5 exptime=6 +quiet +exptime opcode=11" TAG " value=xyz\n", BINARY_SETQ,
     FLAGS_AND_TIME, "a", "xyz", 0},
    {"STORE add a flags=5 exptime=6 +exptime opcode=02" TAG " value=xyz\n", BINARY_ADD,
     FLAGS_AND_TIME, "a", "xyz", 0},
    {"STORE add a flags=5 exptime=6 +quiet +exptime opcode=12" TAG " value=xyz\n", BINARY_ADDQ,
     FLAGS_AND_TIME, "a", "xyz", 0},
    {"STORE replace a flags=5 exptime=6 +exptime opcode=03" TAG " value=xyz\n", BINARY_REPLACE,
     FLAGS_AND_TIME, "a", "xyz", 0},
    {"STORE replace a flags=5 exptime=6 +quiet +exptime opcode=13" TAG " value=xyz\n",
     BINARY_REPLACEQ, FLAGS_AND_TIME, "a", "xyz", 0},
    {"STORE append a flags=0 opcode=0e" TAG " value=xyz\n", BINARY_APPEND, NONE, "a", "xyz", 0},
    {"STORE append a flags=0 +quiet opcode=19" TAG " value=xyz\n", BINARY_APPENDQ, NONE, "a", "xyz",
     0},
    {"STORE prepend a flags=0 compare=3 +compare opcode=0f" TAG " value=xyz\n", BINARY_PREPEND,
     NONE, "a", "xyz", 3},
    {"STORE prepend a flags=0 +quiet opcode=1a" TAG " value=\n", BINARY_PREPENDQ, NONE, "a", NULL,
     0},
    {"DELETE a opcode=04" TAG "\n", BINARY_DELETE, NONE, "a", NULL, 0},
    {"DELETE a compare=18446744073709551615 +compare opcode=04" TAG "\n", BINARY_DELETE, NONE, "a",
     NULL, UINT64_MAX},
    {"DELETE a +quiet opcode=14" TAG "\n", BINARY_DELETEQ, NONE, "a", NULL, 0},
    {"ARITHMETIC add a delta=2 initial=3 vivify=4 +vivify opcode=05" TAG "\n", BINARY_INCREMENT,
     COUNTING, "a", NULL, 0},
    {"ARITHMETIC add a delta=2 initial=3 +quiet opcode=15" TAG "\n", BINARY_INCREMENTQ,
     COUNTING_ONLY, "a", NULL, 0},
    {"ARITHMETIC subtract a delta=2 initial=3 compare=8 vivify=4 +compare +vivify opcode=06" TAG
     "\n",
     BINARY_DECREMENT, COUNTING, "a", NULL, 8},
    {"ARITHMETIC subtract a delta=2 initial=3 +quiet opcode=16" TAG "\n", BINARY_DECREMENTQ,
     COUNTING_ONLY, "a", NULL, 0},
    {"FLUSH_ALL exptime=0 opcode=08" TAG "\n", BINARY_FLUSH, NONE, NULL, NULL, 0},
    {"FLUSH_ALL exptime=7 opcode=08" TAG "\n", BINARY_FLUSH, TIME, NULL, NULL, 0},
    {"FLUSH_ALL exptime=7 +quiet opcode=18" TAG "\n", BINARY_FLUSHQ, TIME, NULL, NULL, 0},
    {"NOOP opcode=0a" TAG "\n", BINARY_NOOP, NONE, NULL, NULL, 0},
    {"VERSION opcode=0b" TAG "\n", BINARY_VERSION, NONE, NULL, NULL, 0},
    {"STATS  opcode=10" TAG "\n", BINARY_STAT, NONE, NULL, NULL, 0},
    {"STATS detail\\x20on opcode=10" TAG "\n", BINARY_STAT, NONE, "detail on", NULL, 0},
    {"SASL_LIST  opcode=20" TAG "\n", BINARY_SASL_LIST_MECHS, NONE, NULL, NULL, 0},
    {"SASL_AUTH PLAIN value=me opcode=21" TAG "\n", BINARY_SASL_AUTH, NONE, "PLAIN", "me", 0},
    {"SASL_STEP PLAIN value= opcode=22" TAG "\n", BINARY_SASL_STEP, NONE, "PLAIN", NULL, 0},
    {"SIBLINGS a +value opcode=e0" TAG "\n", BINARY_GETV, NONE, "a", NULL, 0},
    {"STORE set a flags=5 exptime=6 context=ctx +exptime +context opcode=e1" TAG " value=xyz\n",
     BINARY_SETV, EXTRAS("\0\0\0\5\0\0\0\6\0\0\0\3"), "a", "ctxxyz", 0},
    {"STORE set a flags=5 exptime=6 context= +exptime +context opcode=e1" TAG " value=\n",
     BINARY_SETV, EXTRAS("\0\0\0\5\0\0\0\6\0\0\0\0"), "a", NULL, 0},
    {"DELETE a context=ctx +context opcode=e2" TAG "\n", BINARY_DELETEV, EXTRAS("\0\0\0\3"), "a",
     "ctx", 0},
    {"DELETE a context= +context opcode=e2" TAG "\n", BINARY_DELETEV, EXTRAS("\0\0\0\0"), "a", NULL,
     0},
    /* Refused, but the connection goes on behind them. */
    {"REJECT 0x0004 Bad context. opcode=e1" TAG "\n", BINARY_SETV,
     EXTRAS("\0\0\0\5\0\0\0\6\0\0\0\7"), "a", "ctxxyz", 0},
    {"REJECT 0x0004 Bad context. opcode=e1" TAG "\n", BINARY_SETV,
     EXTRAS("\0\0\0\5\0\0\0\6\xff\xff\xff\xff"), "a", "ctxxyz", 0},
    {"REJECT 0x0004 Bad context. opcode=e2" TAG "\n", BINARY_DELETEV, EXTRAS("\0\0\0\2"), "a",
     "ctx", 0},
    {"REJECT 0x0081 Unknown command opcode=1b" TAG "\n", 0x1b, TIME, NULL, NULL, 0},
    {"REJECT 0x0081 Unknown command opcode=1f" TAG "\n", 0x1f, NONE, NULL, NULL, 0},
    {"REJECT 0x0081 Unknown command opcode=30" TAG "\n", 0x30, FLAGS_AND_TIME, "key", "value", 0},
    {"REJECT 0x0081 Unknown command opcode=ff" TAG "\n", 0xff, NONE, "key", NULL, 1},
};

static void every_opcode_gives_its_operation(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        struct bytes input = {.size = 0};
        add_packet(&input, &good[i]);
        check_bytes(CODEC_BINARY, slice_of(&input), good[i].expected);
    }
}

static void a_packet_leaves_the_next_one_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        struct bytes input = {.size = 0};
        add_packet(&input, &good[i]);
        add_header(&input, BINARY_NOOP, 0, 0, 0, 0);
        add_header(&input, BINARY_NOOP, 0, 0, 0, 0);
        char expected[512];
        snprintf(expected, sizeof expected, "%sNOOP opcode=0a" TAG "\nNOOP opcode=0a" TAG "\n",
                 good[i].expected);
        check_bytes(CODEC_BINARY, slice_of(&input), expected);
    }
}

static void pipelines_of_packets_stay_in_step(void **state)
{
    (void)state;
    uint32_t random = 3;
    for (unsigned round = 0; round < 40; round++) {
        struct bytes input = {.size = 0};
        char expected[8192] = "";
        for (unsigned i = 0; i < 20; i++) {
            const struct packet *packet = &good[next_random(&random) % COUNT(good)];
            add_packet(&input, packet);
            strcat(expected, packet->expected);
        }
        for (unsigned i = 0; i < 50; i++) {
            size_t pair[2];
            pair[0] = next_random(&random) % (input.size + 1);
            pair[1] = pair[0] + next_random(&random) % (input.size + 1 - pair[0]);
            check_cut(CODEC_BINARY, slice_of(&input), (struct cuts){pair, 2}, expected);
        }
    }
}

static void quit_is_the_end(void **state)
{
    (void)state;
    struct bytes input = {.size = 0};
    add_header(&input, BINARY_QUIT, 0, 0, 0, 0);
    add_header(&input, BINARY_NOOP, 0, 0, 0, 0);
    check_bytes(CODEC_BINARY, slice_of(&input), "QUIT opcode=07" TAG " closes\n");
    struct bytes quiet = {.size = 0};
    add_header(&quiet, BINARY_QUITQ, 0, 0, 0, 0);
    check_bytes(CODEC_BINARY, slice_of(&quiet), "QUIT +quiet opcode=17" TAG " closes\n");
}

/* What a header may not say, whatever follows it. */
static void lengths_that_break_the_opcodes_rule_close_the_connection(void **state)
{
    (void)state;
    static const struct {
        unsigned opcode, extras, key;
        uint64_t body;
    } rows[] = {
        {BINARY_GET, 0, 0, 0},
        {BINARY_GET, 4, 1, 5},
        {BINARY_GET, 0, 1, 2},
        {BINARY_GET, 0, 251, 251},
        {BINARY_GET, 0, 65535, 65535},
        {BINARY_GET, 0, 2, 1},
        {BINARY_GETKQ, 0, 0, 0},
        {BINARY_GAT, 0, 1, 1},
        {BINARY_GAT, 5, 1, 6},
        {BINARY_GATKQ, 4, 0, 4},
        {BINARY_TOUCH, 4, 1, 6},
        {BINARY_SET, 0, 1, 1},
        {BINARY_SET, 8, 0, 8},
        {BINARY_SET, 7, 1, 8},
        {BINARY_SET, 8, 1, 8},
        {BINARY_SET, 8, 251, 300},
        {BINARY_ADDQ, 9, 1, 10},
        {BINARY_APPEND, 8, 1, 9},
        {BINARY_PREPENDQ, 0, 0, 4},
        {BINARY_DELETE, 0, 0, 0},
        {BINARY_DELETE, 0, 1, 2},
        {BINARY_DELETEQ, 1, 1, 2},
        {BINARY_INCREMENT, 19, 1, 20},
        {BINARY_INCREMENT, 20, 1, 22},
        {BINARY_DECREMENTQ, 20, 0, 20},
        {BINARY_FLUSH, 3, 0, 3},
        {BINARY_FLUSH, 4, 1, 5},
        {BINARY_FLUSHQ, 4, 0, 5},
        {BINARY_QUIT, 0, 1, 1},
        {BINARY_QUITQ, 0, 0, 1},
        {BINARY_NOOP, 4, 0, 4},
        {BINARY_VERSION, 0, 1, 1},
        {BINARY_STAT, 4, 0, 4},
        {BINARY_STAT, 0, 1, 2},
        {BINARY_SASL_LIST_MECHS, 0, 1, 1},
        {BINARY_SASL_AUTH, 0, 0, 4},
        {BINARY_SASL_STEP, 4, 5, 9},
        {BINARY_GETV, 4, 1, 5},
        {BINARY_SETV, 8, 1, 9},
        {BINARY_DELETEV, 0, 1, 1},
        {0x1b, 4, 0, 3},
        {BINARY_SET, 8, 1, 9 + VALUE_BYTES_MAX + 1u},
        {BINARY_SET, 8, 1, UINT32_MAX},
        {0x30, 0, 0, UINT32_MAX},
        {0x30, 0, 251, 251},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct bytes input = {.size = 0};
        char expected[128];
        add_header(&input, rows[i].opcode, rows[i].extras, rows[i].key, rows[i].body, 0);
        snprintf(expected, sizeof expected,
                 "REJECT 0x0004 Invalid arguments opcode=%02x" TAG " closes\n", rows[i].opcode);
        check_bytes(CODEC_BINARY, slice_of(&input), expected);
    }
}

static void a_bad_magic_closes_the_connection_without_a_word(void **state)
{
    (void)state;
    struct bytes input = {.size = 0};
    add_header(&input, BINARY_NOOP, 0, 0, 0, 0);
    add(&input, "get a\r\n", 7);
    check_bytes(CODEC_BINARY, slice_of(&input),
                "NOOP opcode=0a" TAG "\nCLOSE  opcode=00 opaque=00000000 closes\n");
}

static void a_packet_that_is_not_all_there_waits(void **state)
{
    (void)state;
    struct bytes header = {.size = 0};
    add_header(&header, BINARY_GET, 0, 1, 1, 0);
    check_bytes(CODEC_BINARY, slice_of(&header), "left 24\n");
    header.size = 23;
    check_bytes(CODEC_BINARY, slice_of(&header), "left 23\n");
    struct bytes set = {.size = 0};
    add_header(&set, BINARY_SET, 8, 1, 9 + VALUE_BYTES_MAX, 0);
    add(&set, "\0\0\0\5\0\0\0\6axy", 11);
    check_bytes(CODEC_BINARY, slice_of(&set),
                "STORE set a flags=5 exptime=6 +exptime opcode=01" TAG "\nvalue 1073741822\n");
    struct bytes unknown = {.size = 0};
    add_header(&unknown, 0x30, 8, 1, 20, 0);
    add(&unknown, "0123456789", 10);
    check_bytes(CODEC_BINARY, slice_of(&unknown),
                "REJECT 0x0081 Unknown command opcode=30" TAG "\nswallow 10\n");
}

static void a_key_may_be_250_bytes_long_in_binary_too(void **state)
{
    (void)state;
    char key[251], expected[400];
    memset(key, 'k', sizeof key);
    key[250] = '\0';
    struct bytes input = {.size = 0};
    add_packet(&input, &(struct packet){"", BINARY_GET, NONE, key, NULL, 0});
    snprintf(expected, sizeof expected, "GET %s +value opcode=00" TAG "\n", key);
    check_bytes(CODEC_BINARY, slice_of(&input), expected);
}

static void a_sasl_message_may_be_4096_bytes_long_and_what_is_longer_is_thrown_away(void **state)
{
    (void)state;
    char message[BINARY_SASL_BYTES_MAX + 2], expected[BINARY_SASL_BYTES_MAX + 200];
    memset(message, 'm', sizeof message);
    message[BINARY_SASL_BYTES_MAX] = '\0';
    struct bytes input = {.size = 0};
    add_packet(&input, &(struct packet){"", BINARY_SASL_AUTH, NONE, "PLAIN", message, 0});
    snprintf(expected, sizeof expected, "SASL_AUTH PLAIN value=%s opcode=21" TAG "\n", message);
    check_bytes(CODEC_BINARY, slice_of(&input), expected);
    message[BINARY_SASL_BYTES_MAX] = 'm';
    message[BINARY_SASL_BYTES_MAX + 1] = '\0';
    struct bytes longer = {.size = 0};
    add_packet(&longer, &(struct packet){"", BINARY_SASL_AUTH, NONE, "PLAIN", message, 0});
    add_packet(&longer, &(struct packet){"", BINARY_NOOP, NONE, "", "", 0});
    check_bytes(CODEC_BINARY, slice_of(&longer),
                "SASL_AUTH PLAIN value of 4097 bytes opcode=21" TAG "\nNOOP opcode=0a" TAG "\n");
}

static void a_context_may_be_1024_bytes_long_and_no_longer(void **state)
{
    (void)state;
    char context[CONTEXT_BYTES_MAX + 2];
    memset(context, 'c', sizeof context);
    context[CONTEXT_BYTES_MAX + 1] = '\0';
    struct bytes input = {.size = 0};
    add_packet(&input, &(struct packet){"", BINARY_DELETEV, EXTRAS("\0\0\4\1"), "a", context, 0});
    check_bytes(CODEC_BINARY, slice_of(&input), "REJECT 0x0004 Bad context. opcode=e2" TAG "\n");
    char expected[CONTEXT_BYTES_MAX + 100];
    context[CONTEXT_BYTES_MAX] = '\0';
    struct bytes good_input = {.size = 0};
    add_packet(&good_input,
               &(struct packet){"", BINARY_DELETEV, EXTRAS("\0\0\4\0"), "a", context, 0});
    snprintf(expected, sizeof expected, "DELETE a context=%s +context opcode=e2" TAG "\n", context);
    check_bytes(CODEC_BINARY, slice_of(&good_input), expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_opcode_gives_its_operation),
        cmocka_unit_test(a_packet_leaves_the_next_one_alone),
        cmocka_unit_test(pipelines_of_packets_stay_in_step),
        cmocka_unit_test(quit_is_the_end),
        cmocka_unit_test(lengths_that_break_the_opcodes_rule_close_the_connection),
        cmocka_unit_test(a_bad_magic_closes_the_connection_without_a_word),
        cmocka_unit_test(a_packet_that_is_not_all_there_waits),
        cmocka_unit_test(a_key_may_be_250_bytes_long_in_binary_too),
        cmocka_unit_test(a_sasl_message_may_be_4096_bytes_long_and_what_is_longer_is_thrown_away),
        cmocka_unit_test(a_context_may_be_1024_bytes_long_and_no_longer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
