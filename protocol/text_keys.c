/* Lines of keys: get, gets, gat, gats and vget.
 *
 * They have no bound, so a line is taken key by key:
 *
 *   - Up to TEXT_LINE_BYTES_MAX it waits until it is complete, and is refused as a whole when one
 *     of its keys is too long.
 *   - A longer one is answered while it arrives.  A key that is too long ends it there.
 *
 * Both go by the length of the line, not by how it was cut into reads, so what a client gets does
 * not depend on the network.  A key is given out once it is known whether another one follows it.
 */
#include "protocol/text_line.h"
#include "protocol/number.h"
#include <assert.h>

/* Whether some word of [at, stop) is longer than a key may be.  Looks only at every 250th byte
 * and back from there to the last space. */
static bool has_overlong_key(const unsigned char *at, const unsigned char *stop)
{
    while (stop - at > KEY_BYTES_MAX) {
        const unsigned char *back = at + KEY_BYTES_MAX;
        while (*back != ' ') {
            if (back == at)
                return true;
            back--;
        }
        at = back + 1;
    }
    return false;
}

static void begin_keys(struct parser *parser, const struct text_command *command, int32_t exptime)
{
    parser->in_keys = true;
    parser->keys_verb = command->verb;
    parser->keys_options = command->options | OPERATION_FIRST_KEY;
    parser->keys_exptime = exptime;
}

/* Ends the line with a refusal at a key, of which `key_end` is the end. */
static enum parse_result refuse_at(struct text_line *line, const unsigned char *key_end,
                                   struct operation *operation)
{
    bool at_line_end = key_end < line->limit && *key_end == '\n';
    operation_begin(operation, PROTOCOL_TEXT, VERB_REJECT, 0, 0);
    operation_reject(operation, REJECT_LINE_FORMAT);
    line->parser->in_keys = false;
    line->parser->skips_line = !at_line_end;
    line->next = key_end + at_line_end;
    return PARSE_DONE;
}

/* More input is needed to tell what comes after `key`. */
static enum parse_result wait_from(struct text_line *line, const unsigned char *key)
{
    line->next = key;
    return PARSE_MORE;
}

static enum parse_result close_connection(struct text_line *line, struct operation *operation)
{
    operation_begin(operation, PROTOCOL_TEXT, VERB_CLOSE, 0, 0);
    operation_close(operation, REJECT_SILENTLY);
    line->next = line->limit;
    return PARSE_DONE;
}

/* Where the word after some blanks begins; at the end of the line the byte behind "\n", with
 * *is_last set; NULL when more input is needed to tell. */
static inline const unsigned char *find_next(const unsigned char *at, const unsigned char *limit,
                                             bool *is_last)
{
    *is_last = false;
    if (at == limit)
        return NULL;
    if (*at == '\r') {
        if (at + 1 == limit)
            return NULL;
        if (at[1] == '\n')
            at++;
    }
    if (*at == '\n') {
        *is_last = true;
        at++;
    }
    return at;
}

enum parse_result text_next_key(struct text_line *line, struct operation *operation)
{
    struct parser *parser = line->parser;
    assert(parser->in_keys);
    const unsigned char *key = text_skip_spaces(line->at, line->limit);
    const unsigned char *end = text_word_end(key, line->limit);
    size_t size = (size_t)(end - key);
    if (unlikely(end == line->limit)) {
        if (size > KEY_BYTES_MAX + 1) /* one may be the "\r" of the line's end */
            return refuse_at(line, end, operation);
        return wait_from(line, key);
    }
    if (*end == '\n' && size > 0 && end[-1] == '\r')
        size--;
    if (unlikely(size == 0 || size > KEY_BYTES_MAX))
        return refuse_at(line, end, operation);
    const unsigned char *behind = text_skip_spaces(end, line->limit);
    if (unlikely(behind - key > TEXT_LINE_BYTES_MAX)) /* nearly all of it blanks */
        return close_connection(line, operation);
    bool is_last;
    line->next = find_next(behind, line->limit, &is_last);
    if (unlikely(line->next == NULL))
        return wait_from(line, key);
    operation_begin(operation, PROTOCOL_TEXT, (enum verb)parser->keys_verb, 0,
                    parser->keys_options | (is_last ? OPERATION_LAST_KEY : 0));
    operation->key = (struct slice){key, size};
    operation->exptime = parser->keys_exptime;
    parser->keys_options &= ~(uint32_t)OPERATION_FIRST_KEY;
    parser->in_keys = !is_last;
    return PARSE_DONE;
}

unsigned text_parse_keys_ahead(const struct parser *parser, struct slice input,
                               struct operation *operations, unsigned room, size_t *consumed)
{
    const unsigned char *limit = input.bytes + input.size;
    const unsigned char *at = input.bytes;
    unsigned count = 0;

    assert(parser->in_keys);
    for (; count < room; count++) {
        const unsigned char *end = text_word_end(at, limit);
        size_t size = (size_t)(end - at);
        /* One space and the start of another key must follow; the rest is for text_next_key(). */
        if (limit - end < 2 || size == 0 || size > KEY_BYTES_MAX || *end != ' ' || end[1] <= ' ')
            break;
        operation_begin(&operations[count], PROTOCOL_TEXT, (enum verb)parser->keys_verb, 0,
                        parser->keys_options);
        operations[count].key = (struct slice){at, size};
        operations[count].exptime = parser->keys_exptime;
        at = end + 1;
    }
    *consumed = (size_t)(at - input.bytes);
    return count;
}

static enum parse_result refuse_line(struct text_line *line, struct operation *operation,
                                     enum reject_reason reason)
{
    operation_begin(operation, PROTOCOL_TEXT, VERB_REJECT, 0, 0);
    operation_reject(operation, reason);
    line->parser->skips_line = line->next[-1] != '\n';
    return PARSE_DONE;
}

static inline bool is_long(const struct text_line *line)
{
    return line->next - line->start > TEXT_LINE_BYTES_MAX;
}

/* The keys that begin at line->at. */
static enum parse_result parse_from(struct text_line *line, const struct text_command *command,
                                    int32_t exptime, struct operation *operation)
{
    if (!is_long(line) && has_overlong_key(line->at, line->stop))
        return refuse_line(line, operation, REJECT_LINE_FORMAT);
    begin_keys(line->parser, command, exptime);
    return text_next_key(line, operation);
}

enum parse_result text_parse_keys(struct text_line *line, const struct text_command *command,
                                  struct operation *operation)
{
    return parse_from(line, command, 0, operation);
}

enum parse_result text_parse_touch_keys(struct text_line *line, const struct text_command *command,
                                        struct operation *operation)
{
    struct slice word = text_next_word(line);
    if (is_long(line)) {
        if (line->at - line->start >= TEXT_LINE_BYTES_MAX)
            return close_connection(line, operation);
    } else if (word.size == 0 || text_skip_spaces(line->at, line->stop) == line->stop) {
        return refuse_line(line, operation, REJECT_LINE_FORMAT);
    }
    int32_t exptime;
    if (!number_parse_i32(word, &exptime))
        return refuse_line(line, operation, REJECT_EXPTIME);
    return parse_from(line, command, exptime, operation);
}
