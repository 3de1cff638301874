/* codecbench: nanoseconds per parsed operation and per written answer, with nothing else around.
 *
 * Each row parses a buffer of pipelined commands over and over, or writes the answer of one
 * operation; the best of several rounds counts, since the others were disturbed.
 *
 * usage: codecbench [WORD]    only the rows whose name contains the word */
#include "protocol/binary.h"
#include "protocol/reply.h"
#include "protocol/text.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BUFFER_BYTES 16384 /* what a connection reads at once */
#define ROUNDS       15
#define ROUND_NS     4000000.0

typedef enum parse_result parse_function(struct parser *, struct slice, struct operation *,
                                         size_t *);

struct input {
    unsigned char bytes[BUFFER_BYTES];
    size_t size;
};

static unsigned char key_storage[KEY_BYTES_MAX], context_storage[CONTEXT_BYTES_MAX];
static const char *wanted = "";
static volatile uint64_t sink; /* keeps the work from being optimised away */

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* Fills the input with as many commands as fit; "%s" becomes another key each time. */
static void fill(struct input *input, const char *format, unsigned key_bytes)
{
    char key[KEY_BYTES_MAX + 1], command[1024];
    input->size = 0;
    for (unsigned i = 0;; i++) {
        snprintf(key, sizeof key, "%0*u", (int)key_bytes, i * 7919u);
        int size = snprintf(command, sizeof command, format, key);
        if (size <= 0 || input->size + (size_t)size > sizeof input->bytes)
            return;
        memcpy(input->bytes + input->size, command, (size_t)size);
        input->size += (size_t)size;
    }
}

/* Lines of 100 keys. */
static void fill_multiget(struct input *input, unsigned key_bytes)
{
    size_t line_bytes = 5 + 100 * (key_bytes + 1);
    unsigned char *at = input->bytes;
    while ((size_t)(input->bytes + sizeof input->bytes - at) > line_bytes + 1) {
        at += snprintf((char *)at, 8, "get");
        for (unsigned i = 0; i < 100; i++)
            at += snprintf((char *)at, KEY_BYTES_MAX, " %0*u", (int)key_bytes, i * 7919u);
        at += snprintf((char *)at, 3, "\r\n");
    }
    input->size = (size_t)(at - input->bytes);
}

static void fill_binary_get(struct input *input, unsigned key_bytes)
{
    size_t packet_bytes = BINARY_HEADER_BYTES + key_bytes;
    input->size = 0;
    for (unsigned i = 0; input->size + packet_bytes < sizeof input->bytes; i++) {
        unsigned char *at = input->bytes + input->size;
        memset(at, 0, BINARY_HEADER_BYTES);
        at[0] = BINARY_REQUEST_MAGIC;
        at[3] = at[11] = (unsigned char)key_bytes;
        snprintf((char *)at + BINARY_HEADER_BYTES, key_bytes + 1, "%0*u", (int)key_bytes,
                 i * 7919u);
        input->size += packet_bytes;
    }
}

/* Parses the whole input once, and returns how many operations that were. */
static unsigned parse_all(parse_function *parse, const struct input *input)
{
    struct parser parser = {0};
    struct operation operation = {.key_storage = key_storage, .context_storage = context_storage};
    size_t at = 0, consumed;
    unsigned count = 0;
    uint64_t sum = 0;
    for (;;) {
        struct slice rest = {input->bytes + at, input->size - at};
        if (parse(&parser, rest, &operation, &consumed) != PARSE_DONE)
            break;
        if (operation.verb >= VERB_REJECT) {
            fprintf(stderr, "codecbench: the input was refused at byte %zu\n", at);
            exit(1);
        }
        at += consumed;
        sum += operation.key.size;
        count++;
    }
    sink += sum;
    return count;
}

static void measure_parse(const char *name, parse_function *parse, const struct input *input)
{
    double best = 1e9;
    if (strstr(name, wanted) == NULL)
        return;
    for (unsigned round = 0; round < ROUNDS; round++) {
        double start = now_ns(), end;
        uint64_t operations = 0;
        do {
            operations += parse_all(parse, input);
            end = now_ns();
        } while (end - start < ROUND_NS);
        double each = (end - start) / (double)operations;
        best = each < best ? each : best;
    }
    printf("parse  %-28s %7.1f ns\n", name, best);
}

static void measure_reply(const char *name, parse_function *parse, const struct input *input,
                          struct outcome outcome)
{
    struct parser parser = {0};
    struct operation operation = {.key_storage = key_storage, .context_storage = context_storage};
    size_t consumed;
    unsigned char out[REPLY_HEAD_BYTES_MAX + REPLY_TAIL_BYTES_MAX];
    double best = 1e9;
    if (strstr(name, wanted) == NULL)
        return;
    parse(&parser, (struct slice){input->bytes, input->size}, &operation, &consumed);
    for (unsigned round = 0; round < ROUNDS; round++) {
        double start = now_ns(), end;
        uint64_t answers = 0, sum = 0;
        do {
            for (unsigned i = 0; i < 1000; i++) {
                outcome.cas++;
                size_t size = reply_head(&operation, &outcome, out);
                size += reply_has_value(&operation, &outcome) ? outcome.value.size : 0;
                sum += size + reply_tail(&operation, &outcome, out + 512);
            }
            answers += 1000;
            end = now_ns();
        } while (end - start < ROUND_NS);
        sink += sum;
        double each = (end - start) / (double)answers;
        best = each < best ? each : best;
    }
    printf("answer %-28s %7.1f ns\n", name, best);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        wanted = argv[1];
    static struct input get, get32, gets, multiget, set, mg, mg_flags, binary_get, delete, ma;
    fill(&get, "get %s\r\n", 16);
    fill(&get32, "get key_%s\r\n", 32);
    fill(&gets, "gets %s\r\n", 16);
    fill_multiget(&multiget, 16);
    fill(&set,
         "set %s 0 0 100\r\n0123456789012345678901234567890123456789012345678901234567890123456789"
         "012345678901234567890123456789\r\n",
         16);
    fill(&mg, "mg %s v\r\n", 16);
    fill(&mg_flags, "mg %s v c t k O1234\r\n", 16);
    fill_binary_get(&binary_get, 16);
    fill(&delete, "delete %s\r\n", 16);
    fill(&ma, "ma %s N0 D5 v\r\n", 16);
    measure_parse("get, 16-byte key", text_parse, &get);
    measure_parse("get, 36-byte key", text_parse, &get32);
    measure_parse("gets", text_parse, &gets);
    measure_parse("multiget of 100, per key", text_parse, &multiget);
    measure_parse("set of 100 bytes", text_parse, &set);
    measure_parse("delete", text_parse, &delete);
    measure_parse("mg k v", text_parse, &mg);
    measure_parse("mg k v c t k O", text_parse, &mg_flags);
    measure_parse("ma k N D v", text_parse, &ma);
    measure_parse("binary get", binary_parse, &binary_get);

    struct outcome hit = {.value = {get.bytes, 100}, .cas = UINT64_C(1) << 60, .ttl_s = 3600};
    struct outcome miss = {.status = OUTCOME_NOT_FOUND};
    measure_reply("get hit", text_parse, &get, hit);
    measure_reply("get miss", text_parse, &get, miss);
    measure_reply("gets hit", text_parse, &gets, hit);
    measure_reply("multiget hit", text_parse, &multiget, hit);
    measure_reply("set", text_parse, &set, hit);
    measure_reply("mg k v hit", text_parse, &mg, hit);
    measure_reply("mg k v c t k O hit", text_parse, &mg_flags, hit);
    measure_reply("mg miss", text_parse, &mg, miss);
    measure_reply("binary get hit", binary_parse, &binary_get, hit);
    return 0;
}
