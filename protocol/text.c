/* The text protocol: which command a line is, and the commands that are short.
 *
 * A line goes through text_parse(): find its end, look its first word up in the table of commands,
 * let the command's handler make an operation of it.  Two kinds have their own files: lines of
 * keys (text_keys.c) and commands with a value (text_store.c); meta commands are in meta.c. */
#include "protocol/text.h"
#include "protocol/number.h"
#include "protocol/text_line.h"
#include <assert.h>

#define COMMAND_LINE_BYTES_MIN 4 /* with its end: shorter ones are refused (1.6.45) */

/* Shorthands for the table. */
#define NAME(word) .name = word, .name_size = sizeof word - 1
#define KEYS       .handler = text_parse_keys, .is_unbounded = true
#define GAT        .handler = text_parse_touch_keys, .is_unbounded = true
#define STORE      .handler = text_parse_store, .verb = VERB_STORE, .words_min = 4
#define SIMPLE     .takes_noreply = true
#define META       .handler = meta_parse
#define SERVER     .handler = parse_server_command
#define VALUE      OPERATION_WANTS_VALUE
#define VALUE_CAS  (OPERATION_WANTS_VALUE | OPERATION_WANTS_CAS)
#define EXPTIME    OPERATION_SET_EXPTIME

static text_handler parse_delete, parse_arithmetic, parse_touch, parse_flush_all, parse_verbosity;
static text_handler parse_server_command, parse_bare_command;

/* All commands, the frequent ones first. */
static const struct text_command commands[] = {
    {NAME("get"), KEYS, .verb = VERB_GET, .options = VALUE},
    {NAME("gets"), KEYS, .verb = VERB_GET, .options = VALUE_CAS},
    {NAME("set"), STORE, .mode = STORE_SET, .options = EXPTIME},
    {NAME("mg"), META, .verb = VERB_GET},
    {NAME("ms"), .handler = meta_parse_store, .verb = VERB_STORE},
    {NAME("md"), META, .verb = VERB_DELETE},
    {NAME("ma"), META, .verb = VERB_ARITHMETIC},
    {NAME("delete"), SIMPLE, .handler = parse_delete, .words_min = 1},
    {NAME("incr"), SIMPLE, .handler = parse_arithmetic, .mode = ARITHMETIC_ADD, .words_min = 2},
    {NAME("decr"), SIMPLE, .handler = parse_arithmetic, .mode = ARITHMETIC_SUBTRACT,
     .words_min = 2},
    {NAME("add"), STORE, .mode = STORE_ADD, .options = EXPTIME},
    {NAME("cas"), .handler = text_parse_store, .mode = STORE_SET, .options = EXPTIME,
     .words_min = 5},
    {NAME("touch"), SIMPLE, .handler = parse_touch, .words_min = 2, .options = EXPTIME},
    {NAME("gat"), GAT, .verb = VERB_GET, .options = VALUE | EXPTIME},
    {NAME("gats"), GAT, .verb = VERB_GET, .options = VALUE_CAS | EXPTIME},
    {NAME("replace"), STORE, .mode = STORE_REPLACE, .options = EXPTIME},
    {NAME("append"), STORE, .mode = STORE_APPEND},
    {NAME("prepend"), STORE, .mode = STORE_PREPEND},
    {NAME("vget"), KEYS, .verb = VERB_SIBLINGS, .options = VALUE},
    {NAME("mn"), .handler = parse_bare_command, .verb = VERB_NOOP},
    {NAME("me"), .handler = meta_parse_inspect, .words_min = 1},
    {NAME("version"), .handler = parse_bare_command, .verb = VERB_VERSION},
    {NAME("quit"), .handler = parse_bare_command, .verb = VERB_QUIT},
    {NAME("stats"), SERVER, .verb = VERB_STATS},
    {NAME("flush_all"), SIMPLE, .handler = parse_flush_all},
    {NAME("verbosity"), SIMPLE, .handler = parse_verbosity},
    {NAME("watch"), SERVER, .verb = VERB_WATCH},
    {NAME("shutdown"), SERVER, SIMPLE, .verb = VERB_SHUTDOWN},
    {NAME("cache_memlimit"), SERVER, SIMPLE, .verb = VERB_CACHE_MEMLIMIT},
    {NAME("lru_crawler"), SERVER, SIMPLE, .verb = VERB_LRU_CRAWLER},
    {NAME("lru"), SERVER, SIMPLE, .verb = VERB_LRU},
    {NAME("slabs"), SERVER, SIMPLE, .verb = VERB_SLABS},
    {NAME("extstore"), SERVER, SIMPLE, .verb = VERB_EXTSTORE},
    {NAME("refresh_certs"), SERVER, SIMPLE, .verb = VERB_REFRESH_CERTS},
    {NAME("config"), SERVER, .verb = VERB_CONFIG},
    {NAME("cluster"), SERVER, .verb = VERB_CLUSTER},
    {NAME("debug"), SERVER, .verb = VERB_DEBUG, .mode = DEBUG_COMMAND},
    {NAME("debugtime"), SERVER, SIMPLE, .verb = VERB_DEBUG, .mode = DEBUG_TIME},
};
#define COMMAND_COUNT (sizeof commands / sizeof *commands)

/* The first eight bytes of a word as one number; zeros stand for what it is shorter. */
static inline uint64_t word_head(const unsigned char *word, size_t size, const unsigned char *limit)
{
    uint64_t head = 0;
    if (unlikely(limit - word < 8)) {
        memcpy(&head, word, size < 8 ? size : 8);
        return head;
    }
    memcpy(&head, word, sizeof head);
    if (size >= 8)
        return head;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return head & ~(UINT64_MAX << (8 * size));
#else
    return head & ~(UINT64_MAX >> (8 * size));
#endif
}

static const struct text_command *find_command(const unsigned char *word, size_t size,
                                               const unsigned char *limit)
{
    uint64_t head = word_head(word, size, limit);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        const struct text_command *command = &commands[i];
        uint64_t name_head;
        memcpy(&name_head, command->name, sizeof name_head);
        if (head == name_head && command->name_size == size &&
            (size <= 8 || memcmp(command->name + 8, word + 8, size - 8) == 0))
            return command;
    }
    return NULL;
}

static enum parse_result refuse(struct operation *operation, enum reject_reason reason)
{
    operation_reject(operation, reason);
    return PARSE_DONE;
}

/* The checks that all commands with a key share: begins the operation, takes the key, sees to
 * noreply.  False: refused already. */
static bool parse_key(struct text_line *line, const struct text_command *command, enum verb verb,
                      struct operation *operation)
{
    struct text_line words = *line;
    unsigned word_count = 0;
    operation_begin(operation, PROTOCOL_TEXT, verb, command->mode, command->options);
    while (word_count < command->words_min && text_next_word(&words).size > 0)
        word_count++;
    if (word_count < command->words_min) {
        operation_reject(operation, REJECT_LINE_FORMAT);
        return false;
    }
    if (text_ends_with_noreply(line))
        operation->options |= OPERATION_NOREPLY;
    operation->key = text_next_word(line);
    if (operation->key.size > KEY_BYTES_MAX) {
        operation_reject(operation, REJECT_LINE_FORMAT);
        return false;
    }
    return true;
}

static enum parse_result parse_delete(struct text_line *line, const struct text_command *command,
                                      struct operation *operation)
{
    if (!parse_key(line, command, VERB_DELETE, operation))
        return PARSE_DONE;
    operation->client_flags = 0;
    operation->exptime = 0;
    struct slice word = text_next_word(line);
    if (word.size > 0 && word.bytes[0] == '@' && !text_decode_context(word, operation))
        return refuse(operation, REJECT_CONTEXT);
    return PARSE_DONE;
}

static enum parse_result parse_arithmetic(struct text_line *line,
                                          const struct text_command *command,
                                          struct operation *operation)
{
    if (!parse_key(line, command, VERB_ARITHMETIC, operation))
        return PARSE_DONE;
    operation->initial = 0;
    if (!number_parse_u64(text_next_word(line), &operation->delta))
        return refuse(operation, REJECT_DELTA);
    return PARSE_DONE;
}

static enum parse_result parse_touch(struct text_line *line, const struct text_command *command,
                                     struct operation *operation)
{
    if (!parse_key(line, command, VERB_TOUCH, operation))
        return PARSE_DONE;
    if (!number_parse_i32(text_next_word(line), &operation->exptime))
        return refuse(operation, REJECT_EXPTIME);
    return PARSE_DONE;
}

/* Commands whose arguments do not matter: mn, version, quit. */
static enum parse_result parse_bare_command(struct text_line *line,
                                            const struct text_command *command,
                                            struct operation *operation)
{
    operation_begin(operation, PROTOCOL_TEXT, (enum verb)command->verb, 0, 0);
    operation->closes = command->verb == VERB_QUIT;
    operation->arguments = (struct slice){line->at, 0};
    return PARSE_DONE;
}

/* Commands whose arguments are for the server. */
static enum parse_result parse_server_command(struct text_line *line,
                                              const struct text_command *command,
                                              struct operation *operation)
{
    operation_begin(operation, PROTOCOL_TEXT, (enum verb)command->verb, command->mode, 0);
    if (command->takes_noreply && text_ends_with_noreply(line)) {
        operation->options = OPERATION_NOREPLY;
        while (line->stop[-1] == ' ')
            line->stop--;
        line->stop -= sizeof " noreply" - 1;
    }
    const unsigned char *start = text_skip_spaces(line->at, line->stop);
    const unsigned char *end = line->stop;
    while (end > start && end[-1] == ' ')
        end--;
    operation->arguments = (struct slice){start, (size_t)(end - start)};
    line->at = start;
    line->stop = end;
    return PARSE_DONE;
}

static enum parse_result parse_flush_all(struct text_line *line, const struct text_command *command,
                                         struct operation *operation)
{
    parse_server_command(line, command, operation);
    operation->verb = VERB_FLUSH_ALL;
    operation->exptime = 0;
    struct slice delay = text_next_word(line);
    if (delay.size > 0 && !number_parse_i32(delay, &operation->exptime))
        return refuse(operation, REJECT_EXPTIME);
    return PARSE_DONE;
}

static enum parse_result parse_verbosity(struct text_line *line, const struct text_command *command,
                                         struct operation *operation)
{
    parse_server_command(line, command, operation);
    operation->verb = VERB_VERBOSITY;
    uint32_t level;
    if (!number_parse_u32(text_next_word(line), &level))
        return refuse(operation, REJECT_LINE_FORMAT);
    operation->delta = level;
    return PARSE_DONE;
}

/* A line with a command that is not in the table.  One that looks like HTTP is the attempt of a
 * web page to talk to us through a browser. */
static enum parse_result parse_unknown(struct text_line *line, struct operation *operation)
{
    operation_begin(operation, PROTOCOL_TEXT, VERB_REJECT, 0, 0);
    operation_reject(operation, REJECT_UNKNOWN_COMMAND);
    if (text_ends_with_noreply(line))
        operation->options |= OPERATION_NOREPLY;
    struct slice last = {line->at, 0};
    for (struct slice word = text_next_word(line); word.size > 0; word = text_next_word(line))
        last = word;
    if (last.size >= 5 && memcmp(last.bytes, "HTTP/", 5) == 0)
        operation_close(operation, REJECT_SILENTLY);
    return PARSE_DONE;
}

static bool is_too_short(const struct text_line *line)
{
    size_t size = (size_t)(line->next - line->start);
    return size < COMMAND_LINE_BYTES_MIN && !(size == 3 && memcmp(line->start, "mn\n", 3) == 0);
}

/* A complete line, or the first bytes of one that is too long to wait for. */
static enum parse_result parse_line(struct text_line *line, struct operation *operation)
{
    operation_begin(operation, PROTOCOL_TEXT, VERB_REJECT, 0, 0);
    if (unlikely(is_too_short(line)))
        return refuse(operation, REJECT_LINE_FORMAT);
    const unsigned char *word_end = text_word_end(line->start, line->limit);
    if (word_end > line->stop)
        word_end = line->stop;
    line->at = word_end;
    const struct text_command *command =
        find_command(line->start, (size_t)(word_end - line->start), line->limit);
    bool is_long = line->next - line->start > TEXT_LINE_BYTES_MAX;
    if (unlikely(is_long) && (command == NULL || !command->is_unbounded)) {
        operation_close(operation, REJECT_SILENTLY);
        return PARSE_DONE;
    }
    if (unlikely(command == NULL))
        return parse_unknown(line, operation);
    return command->handler(line, command, operation);
}

/* Finds the end of the line that begins at line->start.  False: it is not there yet. */
static bool find_line_end(struct text_line *line)
{
    struct parser *parser = line->parser;
    size_t available = (size_t)(line->limit - line->start);
    size_t scanned = parser->scanned < available ? parser->scanned : available;
    const unsigned char *newline = memchr(line->start + scanned, '\n', available - scanned);
    parser->scanned = 0;
    if (likely(newline != NULL)) {
        line->next = newline + 1;
        line->stop = newline > line->start && newline[-1] == '\r' ? newline - 1 : newline;
        return true;
    }
    if (available > TEXT_LINE_BYTES_MAX) {
        line->next = line->stop = line->limit;
        return true;
    }
    parser->scanned = (uint32_t)available;
    line->next = line->start;
    return false;
}

/* The rest of a line that was refused.  True: it is gone. */
static bool skip_line(struct text_line *line)
{
    const unsigned char *newline = memchr(line->start, '\n', (size_t)(line->limit - line->start));
    line->next = newline != NULL ? newline + 1 : line->limit;
    line->parser->skips_line = newline == NULL;
    return newline != NULL;
}

/* A get line with one key that is wholly there: what nearly all input is.  False: it is not, and
 * nothing happened. */
static inline bool parse_single_get(struct text_line *line, struct operation *operation)
{
    if (line->limit - line->start < 6 || memcmp(line->start, "get ", 4) != 0)
        return false;
    const unsigned char *key = line->start + 4;
    const unsigned char *end = text_word_end(key, line->limit);
    if (end == line->limit || *end != '\n')
        return false;
    size_t size = (size_t)(end - key);
    if (size > 0 && end[-1] == '\r')
        size--;
    if (size == 0 || size > KEY_BYTES_MAX)
        return false;
    operation_begin(operation, PROTOCOL_TEXT, VERB_GET, 0,
                    OPERATION_WANTS_VALUE | OPERATION_FIRST_KEY | OPERATION_LAST_KEY);
    operation->key = (struct slice){key, size};
    line->next = end + 1;
    return true;
}

static enum parse_result parse(struct text_line *line, struct operation *operation)
{
    struct parser *parser = line->parser;
    if (unlikely(parser->swallow > 0)) {
        line->start += parser_skip(parser, (size_t)(line->limit - line->start));
        line->next = line->start;
        if (line->start == line->limit)
            return PARSE_MORE;
    }
    if (parser->in_keys) {
        line->at = line->start;
        return text_next_key(line, operation);
    }
    if (unlikely(parser->skips_line)) {
        if (!skip_line(line))
            return PARSE_MORE;
        line->start = line->next;
    }
    if (likely(parse_single_get(line, operation))) {
        parser->scanned = 0;
        return PARSE_DONE;
    }
    enum parse_result result;
    if (line->limit - line->start > 4 && memcmp(line->start, "set ", 4) == 0 &&
        text_parse_plain_set(line, operation, &result)) {
        parser->scanned = 0;
        return result;
    }
    if (!find_line_end(line))
        return PARSE_MORE;
    return parse_line(line, operation);
}

enum parse_result text_parse(struct parser *parser, struct slice input, struct operation *operation,
                             size_t *consumed)
{
    *consumed = 0;
    if (input.size == 0)
        return PARSE_MORE;
    const unsigned char *limit = input.bytes + input.size;
    struct text_line line = {
        .parser = parser, .start = input.bytes, .next = input.bytes, .limit = limit};
    enum parse_result result = parse(&line, operation);
    assert(line.next >= input.bytes);
    assert(line.next <= limit);
    *consumed = (size_t)(line.next - input.bytes);
    return result;
}
