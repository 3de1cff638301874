/* The same commands, executed by the plain handlers on a store, and by server/command.h on cells in
 * memory: the same bytes are answered, but for the numbers of cas values, which are mapped, and for
 * contexts.
 *
 * COMMAND_HISTORIES=100000 in the environment tries more histories; COMMAND_SEED=n begins with that
 * one, and prints what is said. */
#include "protocol/base64.h"
#include "server/clock.h"
#include "server/execute.h"
#include "server/settings.h"
#include "tests/unit/cell_keeper.h"
#include "tests/unit/random.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define KEYS        3
#define TOKENS_MAX  4096
#define STEPS       60
#define LINE_MAX    4096
#define ANSWER_MAX  65536
#define CONTEXT_MAX 2048

/* Time stands still but for what the test says: both sides see the same. */
static uint64_t fake_ms = 1900000000000;

int clock_gettime(clockid_t id, struct timespec *time)
{
    (void)id;
    time->tv_sec = (time_t)(fake_ms / 1000);
    time->tv_nsec = (long)(fake_ms % 1000) * 1000000;
    return 0;
}

/* What one side has answered of a key. */
struct memory {
    uint64_t tokens[TOKENS_MAX]; /* in the order in which they were seen first */
    unsigned token_count;
    char context[CONTEXT_MAX]; /* the last one, with its @ */
};

static const struct side {
    const char *name;
    conversation_executor *execute;
} sides[2] = {{"plain", execute_batch}, {"cells", keeper_execute}};

static struct memory memories[2][KEYS];
static struct random random_state;
static bool is_loud;

static unsigned below(unsigned end)
{
    return random_below(&random_state, end);
}

static bool chance(unsigned percent)
{
    return random_chance(&random_state, percent);
}

/* ---- what is said ---- */

/* A command with holes: $n; stands for the n-th token of the key, $@ for its last context. */
struct command_text {
    unsigned key;
    char line[LINE_MAX];
    size_t used;
    unsigned char packet_cas_at; /* binary: where the token goes; 0: it has none */
    unsigned packet_token;
};

__attribute__((format(printf, 2, 3))) static void add(struct command_text *command,
                                                      const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    command->used += (size_t)vsnprintf(command->line + command->used, LINE_MAX - command->used,
                                       format, arguments);
    va_end(arguments);
    assert_true(command->used < LINE_MAX);
}

/* A token that was shown, or, rarely, any number. */
static void add_token(struct command_text *command, const char *before)
{
    unsigned known = memories[0][command->key].token_count;

    if (known == 0 || chance(10))
        add(command, "%s%u", before, below(20));
    else
        add(command, "%s$%u;", before, known - 1 - below(known < 3 ? known : 3));
}

/* A plain server forgets siblings that expire at once before it shows them. */
static bool may_expire_at_once;

static const char *any_exptime(void)
{
    static const char *const exptimes[] = {"0", "0", "0", "2", "5", "100", "3000", "-1"};

    return exptimes[below(sizeof exptimes / sizeof *exptimes - !may_expire_at_once)];
}

static const char *any_value(void)
{
    static const char *const values[] = {"",   "a",   "bread", "7",   "9", "18446744073709551615",
                                         "10", "x y", " 12",   "12 ", "0", "99999999"};

    return values[below(sizeof values / sizeof *values)];
}

static const char *any(const char *const *words, unsigned count)
{
    return words[below(count)];
}
#define ANY(...)                                                                                   \
    any((const char *const[]){__VA_ARGS__},                                                        \
        sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

static void say_text_store(struct command_text *command, bool has_contexts)
{
    const char *value = any_value(), *noreply = chance(15) ? " noreply" : "";
    const char *verb = ANY("set", "set", "add", "replace", "append", "prepend", "cas");

    add(command, "%s k%u %u %s %zu", verb, command->key, chance(30) ? below(70000) : 0,
        any_exptime(), strlen(value));
    if (strcmp(verb, "cas") == 0 && has_contexts && chance(70))
        add(command, " %s", chance(20) ? "@" : "$@");
    else if (strcmp(verb, "cas") == 0)
        add_token(command, " ");
    add(command, "%s\r\n%s\r\n", noreply, value);
}

static void say_text(struct command_text *command, bool has_contexts)
{
    const unsigned key = command->key;
    const char *noreply = chance(15) ? " noreply" : "";

    switch (below(8)) {
    case 0: add(command, "get k%u\r\n", key); break;
    case 1: add(command, "gets k%u\r\n", key); break;
    case 2: add(command, "%s %s k%u\r\n", ANY("gat", "gats"), any_exptime(), key); break;
    case 3: add(command, "delete k%u%s\r\n", key, noreply); break;
    case 4: add(command, "touch k%u %s%s\r\n", key, any_exptime(), noreply); break;
    case 5:
        add(command, "%s k%u %s%s\r\n", ANY("incr", "decr"), key, ANY("0", "1", "3", "90"),
            noreply);
        break;
    case 6:
        if (has_contexts) {
            add(command, "vget k%u\r\n", key);
            break;
        } /* fall through */
    default: say_text_store(command, has_contexts); break;
    }
}

/* Each of the flags with some chance, in any order; %T stands for a time, %N for a number, %V for a
 * token. */
static void add_flags(struct command_text *command, const char *const *flags, unsigned count)
{
    bool is_used[32] = {false};
    unsigned wanted = below(6);

    while (wanted-- > 0) {
        unsigned which = below(count);
        const char *flag = flags[which];

        if (is_used[which])
            continue;
        is_used[which] = true;
        if (strcmp(flag, "C") == 0)
            add_token(command, " C");
        else if (strchr("NRT", flag[0]) != NULL && flag[1] == 0)
            add(command, " %s%s", flag, any_exptime());
        else if (strchr("EDJF", flag[0]) != NULL && flag[1] == 0)
            add(command, " %s%u", flag, below(40));
        else
            add(command, " %s", flag);
    }
}
#define ADD_FLAGS(command, ...)                                                                    \
    add_flags(command, (const char *const[]){__VA_ARGS__},                                         \
              sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

/* The key, or its base64 and the flag that says so. */
static void add_key(struct command_text *command, const char *verb)
{
    add(command, "%s k%u", verb, command->key);
}

static void say_meta_store(struct command_text *command, bool has_contexts)
{
    const char *value = any_value();

    if (has_contexts && chance(40)) {
        add(command, "ms k%u %zu Y%s", command->key, strlen(value), chance(20) ? "@" : "$@");
        ADD_FLAGS(command, "c", "k", "s", "q", "F", "T", "y", "O77");
    } else if (chance(30)) {
        add(command, "ms %s %zu b", ANY("azA=", "azE=", "azI="), strlen(value));
        command->key = (unsigned)(command->line[5] == 'A' ? 0 : command->line[5] == 'E' ? 1 : 2);
        ADD_FLAGS(command, "c", "k", "s", "T", "F");
    } else {
        add(command, "ms k%u %zu", command->key, strlen(value));
        ADD_FLAGS(command, "c", "k", "s", "q", "F", "T", "I", "C", "C", "E", "ME", "MR", "MA", "MP",
                  "MS", "N", "O77");
    }
    add(command, "\r\n%s\r\n", value);
}

static void say_meta(struct command_text *command, bool has_contexts)
{
    switch (below(6)) {
    case 0:
    case 1:
        add_key(command, "mg");
        if (has_contexts)
            ADD_FLAGS(command, "v", "c", "f", "k", "t", "s", "q", "u", "T", "N", "n", "y", "C");
        else
            ADD_FLAGS(command, "v", "c", "f", "h", "l", "k", "t", "s", "q", "u", "T", "N", "R", "E",
                      "C", "O9", "n");
        break;
    case 2: say_meta_store(command, has_contexts); return;
    case 3:
        add_key(command, "md");
        /* I is no new write, but to a plain server that has more than a plain item. */
        if (has_contexts)
            ADD_FLAGS(command, "q", "x", "T", "E", "C", "k", "O5");
        else
            ADD_FLAGS(command, "q", "I", "x", "T", "E", "C", "k", "O5");
        break;
    case 4:
        add_key(command, "ma");
        ADD_FLAGS(command, "N", "J", "D", "T", "MI", "MD", "C", "E", "q", "t", "c", "v", "k");
        break;
    default: add_key(command, has_contexts ? "mg" : "me"); break;
    }
    add(command, "\r\n");
}

/* What the last context of the key covers is deleted: with tombstones as without, nothing is left
 * if it was just shown. */
static void say_context_delete(struct command_text *command)
{
    if (chance(50))
        add(command, "mg k%u y n u\r\ndelete k%u $@\r\n", command->key, command->key);
    else
        add(command, "mg k%u y n u\r\n", command->key);
}

static void put_number(struct command_text *command, uint64_t number, unsigned bytes)
{
    while (bytes-- > 0)
        command->line[command->used++] = (char)(number >> (8 * bytes));
}

static void say_binary(struct command_text *command)
{
    static const struct {
        unsigned char opcode, extras;
        bool has_value, has_cas;
    } rows[] = {
        {0x00, 0, false, false}, {0x09, 0, false, false}, {0x0c, 0, false, false},
        {0x0d, 0, false, false}, {0x01, 8, true, true},   {0x11, 8, true, true},
        {0x02, 8, true, true},   {0x03, 8, true, true},   {0x12, 8, true, false},
        {0x04, 0, false, true},  {0x14, 0, false, true},  {0x05, 20, false, true},
        {0x06, 20, false, true}, {0x15, 20, false, true}, {0x0e, 0, true, true},
        {0x0f, 0, true, true},   {0x1c, 4, false, false}, {0x1d, 4, false, false},
        {0x1e, 4, false, false}, {0x23, 4, false, false},
    };
    const unsigned row = below(sizeof rows / sizeof *rows);
    const char *value = rows[row].has_value ? any_value() : "";
    const unsigned exptime = (unsigned)atoi(any_exptime());
    const unsigned known = memories[0][command->key].token_count;

    put_number(command, 0x80, 1);
    put_number(command, rows[row].opcode, 1);
    put_number(command, 2, 2);
    put_number(command, rows[row].extras, 1);
    put_number(command, 0, 3);
    put_number(command, rows[row].extras + 2u + strlen(value), 4);
    put_number(command, 0x12345678, 4);
    if (rows[row].has_cas && known > 0 && chance(30)) {
        command->packet_cas_at = (unsigned char)command->used;
        command->packet_token = known - 1 - below(known < 3 ? known : 3);
    }
    put_number(command, 0, 8);
    if (rows[row].extras == 20) {
        put_number(command, below(4), 8);
        put_number(command, below(100), 8);
        put_number(command, chance(30) ? 0xffffffff : exptime, 4);
    } else if (rows[row].extras != 0) {
        if (rows[row].extras == 8)
            put_number(command, below(9), 4);
        put_number(command, exptime, 4);
    }
    add(command, "k%u%s", command->key, value);
}

static void choose_command(struct command_text *command, bool has_contexts)
{
    *command = (struct command_text){.key = below(KEYS)};
    if (has_contexts && chance(15))
        say_context_delete(command);
    else if (chance(20) && !has_contexts)
        say_binary(command);
    else if (chance(50))
        say_text(command, has_contexts);
    else
        say_meta(command, has_contexts);
}

/* ---- as each side hears it ---- */

/* Fills the holes of text from `at` on up to its end or, after one line, the next context. */
static size_t fill(const struct command_text *command, const char **at, const struct memory *memory,
                   char *out)
{
    size_t used = 0;

    while (**at != 0) {
        if (**at == '$' && (*at)[1] == '@') {
            used +=
                (size_t)sprintf(out + used, "%s", memory->context[0] != 0 ? memory->context : "@");
            *at += 2;
        } else if (**at == '$') {
            char *end;
            unsigned long which = strtoul(*at + 1, &end, 10);

            assert_true(which < memory->token_count);
            used += (size_t)sprintf(out + used, "%llu", (unsigned long long)memory->tokens[which]);
            *at = end + 1;
        } else {
            out[used++] = *(*at)++;
            if (out[used - 1] == '\n' && strncmp(*at, "delete", 6) == 0)
                break; /* the next command needs what this one is answered */
        }
    }
    (void)command;
    return used;
}

/* ---- what is answered, the same for both ---- */

/* Which of the key's tokens it is; a new one if none. */
static unsigned number_of(struct memory *memory, uint64_t token)
{
    for (unsigned i = 0; i < memory->token_count; i++)
        if (memory->tokens[i] == token)
            return i;
    assert_true(memory->token_count < TOKENS_MAX);
    memory->tokens[memory->token_count] = token;
    return memory->token_count++;
}

static size_t put_token(struct memory *memory, uint64_t token, char *out)
{
    if (token == 0)
        return (size_t)sprintf(out, "none");
    return (size_t)sprintf(out, "token %u", number_of(memory, token));
}

static size_t put_word(struct memory *memory, const char *word, size_t size, char *out)
{
    if (word[0] == 'c' && size > 1 && strspn(word + 1, "0123456789") >= size - 1)
        return put_token(memory, strtoull(word + 1, NULL, 10), out);
    if (strncmp(word, "cas=", 4) == 0)
        return put_token(memory, strtoull(word + 4, NULL, 10), out);
    if (strncmp(word, "size=", 5) == 0)
        return (size_t)sprintf(out, "size");
    if (word[0] == '@' || (word[0] == 'y' && word[1] == '@')) {
        const size_t from = word[0] == 'y';

        assert_true(size < CONTEXT_MAX);
        memcpy(memory->context, word + from, size - from);
        memory->context[size - from] = 0;
        return (size_t)sprintf(out, "context");
    }
    memcpy(out, word, size);
    return size;
}

/* Rewrites one line; returns the bytes of the value that follows it. */
static size_t put_line(struct memory *memory, const char *line, size_t size, char *out,
                       size_t *used)
{
    const bool is_value = strncmp(line, "VALUE ", 6) == 0, is_meta = strncmp(line, "VA ", 3) == 0;
    unsigned words = 0;
    size_t value_bytes = 0;

    for (size_t at = 0; at < size; words++) {
        size_t end = at;

        while (end < size && line[end] != ' ')
            end++;
        if ((is_value && words == 3) || (is_meta && words == 1))
            value_bytes = (size_t)atoi(line + at) + 2;
        if (is_value && words == 4 && line[at] != '@')
            *used += put_token(memory, strtoull(line + at, NULL, 10), out + *used);
        else
            *used += put_word(memory, line + at, end - at, out + *used);
        out[(*used)++] = ' ';
        at = end + 1;
    }
    return value_bytes;
}

static size_t put_packets(struct memory *memory, struct slice answer, char *out)
{
    size_t used = 0;

    for (size_t at = 0; at < answer.size;) {
        const unsigned char *head = answer.bytes + at;
        uint64_t cas = 0;
        size_t body = 0;

        assert_true(answer.size - at >= 24);
        for (unsigned i = 0; i < 8; i++)
            cas = cas << 8 | head[16 + i];
        for (unsigned i = 0; i < 4; i++)
            body = body << 8 | head[8 + i];
        used += put_token(memory, cas, out + used);
        for (size_t i = 0; i < 24 + body; i++)
            if (i < 16 || i >= 24)
                used += (size_t)sprintf(out + used, " %02x", head[i]);
        at += 24 + body;
    }
    out[used] = 0;
    return used;
}

static void put_answer(struct memory *memory, struct slice answer, char *out)
{
    size_t used = 0;

    if (answer.size != 0 && answer.bytes[0] == 0x81) {
        put_packets(memory, answer, out);
        return;
    }
    for (size_t at = 0; at < answer.size;) {
        const char *line = (const char *)answer.bytes + at;
        size_t size = strcspn(line, "\r"), value_bytes;

        value_bytes = put_line(memory, line, size, out, &used);
        at += size + 2;
        out[used++] = '\n';
        assert_true(at + value_bytes <= answer.size);
        memcpy(out + used, answer.bytes + at, value_bytes);
        used += value_bytes;
        at += value_bytes;
    }
    out[used] = 0;
}

/* ---- histories ---- */

static void hear(unsigned which, const struct command_text *command, char answer[ANSWER_MAX])
{
    struct memory *memory = &memories[which][command->key];
    char said[2 * LINE_MAX];
    const char *at = command->line;
    size_t used = 0;

    conversation_execute = sides[which].execute;
    if ((unsigned char)command->line[0] == 0x80) {
        memcpy(said, command->line, command->used);
        for (unsigned i = 0; command->packet_cas_at != 0 && i < 8; i++)
            said[command->packet_cas_at + i] =
                (char)(memory->tokens[command->packet_token] >> (8 * (7 - i)));
        put_answer(memory, say_bytes((struct slice){(unsigned char *)said, command->used}), answer);
        return;
    }
    answer[0] = 0;
    while (*at != 0) {
        size_t bytes = fill(command, &at, memory, said);

        put_answer(memory, say_bytes((struct slice){(unsigned char *)said, bytes}), answer + used);
        used += strlen(answer + used);
    }
}

static void run_step(uint64_t seed, unsigned step, bool has_contexts)
{
    static char answers[2][ANSWER_MAX];
    struct command_text command;

    fake_ms++;
    if (chance(8))
        pass_seconds(1 + (int64_t)below(4));
    choose_command(&command, has_contexts);
    for (unsigned i = 0; i < 2; i++)
        hear(i, &command, answers[i]);
    if (!has_contexts) {
        char key[8];

        snprintf(key, sizeof key, "k%u", command.key);
        assert_true(keeper_cell(key)->sibling_count <= 1);
    }
    if (is_loud)
        print_message("%u: %s   plain: %s\n   cells: %s\n", step, command.line, answers[0],
                      answers[1]);
    if (strcmp(answers[0], answers[1]) != 0)
        fail_msg("seed %llu step %u: %s\nplain: %s\ncells: %s", (unsigned long long)seed, step,
                 command.line, answers[0], answers[1]);
}

static void run_history(uint64_t seed, bool has_contexts)
{
    random_state.state = seed;
    fake_ms += 1000 - fake_ms % 1000; /* the cells' node rounds fractions of a second otherwise */
    memset(memories, 0, sizeof memories);
    may_expire_at_once = !has_contexts;
    conversation_execute = execute_batch;
    keeper_start();
    for (unsigned key = 0; key < KEYS; key++) {
        char line[32];

        snprintf(line, sizeof line, "delete k%u noreply\r\n", key);
        say(line);
    }
    for (unsigned step = 0; step < STEPS; step++)
        run_step(seed, step, has_contexts);
    keeper_end();
}

static void run_histories(bool has_contexts)
{
    const char *wanted = getenv("COMMAND_HISTORIES"), *seed = getenv("COMMAND_SEED");
    unsigned long count = wanted != NULL ? strtoul(wanted, NULL, 10) : 400;
    uint64_t first = seed != NULL ? strtoull(seed, NULL, 10) : 1;

    is_loud = seed != NULL;
    for (uint64_t i = first; i < first + count; i++)
        run_history(i, has_contexts);
}

static void commands_without_contexts_are_answered_as_by_one_memcached(void **state)
{
    (void)state;
    run_histories(false);
}

static void commands_with_contexts_are_answered_as_by_one_server(void **state)
{
    (void)state;
    run_histories(true);
}

static void without_cas_values_the_answers_are_the_same_too(void **state)
{
    (void)state;
    settings.uses_cas = false;
    run_histories(false);
}

/* The test's executor for whoever comes next. */
static int end(void **state)
{
    conversation_execute = execute_batch;
    return conversation_end(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(commands_without_contexts_are_answered_as_by_one_memcached,
                                        conversation_start, end),
        cmocka_unit_test_setup_teardown(commands_with_contexts_are_answered_as_by_one_server,
                                        conversation_start, end),
        cmocka_unit_test_setup_teardown(without_cas_values_the_answers_are_the_same_too,
                                        conversation_start, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
