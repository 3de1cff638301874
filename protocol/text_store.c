/* set, add, replace, append, prepend and cas:
 *
 *     <command> <key> <flags> <exptime> <bytes> [<cas>] [noreply]\r\n<bytes of data>\r\n
 *
 * Once <bytes> is known the data belongs to the command, refused or not, and noreply holds. */
#include "protocol/text_line.h"
#include "protocol/base64.h"
#include "protocol/number.h"
#include <assert.h>
#include <limits.h>

/* More than this cannot be told from a mistake (1.6.45). */
#define ANNOUNCED_BYTES_MAX (INT32_MAX - 2)

bool text_decode_context(struct slice word, struct operation *operation)
{
    if (word.size == 0 || word.bytes[0] != '@')
        return false;
    struct slice text = {word.bytes + 1, word.size - 1};
    size_t size;
    if (!base64_decode(BASE64_URL, text, operation->context_storage, CONTEXT_BYTES_MAX, &size))
        return false;
    operation->context = (struct slice){operation->context_storage, size};
    operation->options |= OPERATION_CONTEXT;
    return true;
}

enum parse_result text_refuse_store(struct text_line *line, struct operation *operation,
                                    enum reject_reason reason)
{
    parser_swallow(line->parser, (uint64_t)operation->value.size + 2);
    operation_reject(operation, reason);
    return PARSE_DONE;
}

enum parse_result text_take_value(struct text_line *line, struct operation *operation)
{
    size_t size = operation->value.size;
    assert(size <= ANNOUNCED_BYTES_MAX);
    if ((size_t)(line->limit - line->next) < size + 2) {
        operation->value.bytes = NULL;
        return PARSE_VALUE;
    }
    operation->value.bytes = line->next;
    line->next += size + 2;
    if (unlikely(!text_value_ends_well(line->next - 2)))
        operation_reject(operation, REJECT_DATA_CHUNK);
    return PARSE_DONE;
}

/* The fifth word of cas. */
static bool parse_cas(struct slice word, struct operation *operation, enum reject_reason *reason)
{
    if (word.size > 0 && word.bytes[0] == '@') {
        *reason = REJECT_CONTEXT;
        return text_decode_context(word, operation);
    }
    *reason = REJECT_LINE_FORMAT;
    operation->options |= OPERATION_COMPARE_CAS;
    return number_parse_u64(word, &operation->cas_compare);
}

enum parse_result text_parse_store(struct text_line *line, const struct text_command *command,
                                   struct operation *operation)
{
    operation_begin(operation, PROTOCOL_TEXT, VERB_STORE, command->mode, command->options);
    struct slice key = text_next_word(line);
    struct slice flags = text_next_word(line);
    struct slice exptime = text_next_word(line);
    uint32_t bytes;
    if (!number_parse_u32(text_next_word(line), &bytes) || bytes > ANNOUNCED_BYTES_MAX) {
        operation_reject(operation, REJECT_LINE_FORMAT);
        return PARSE_DONE;
    }
    operation->key = key;
    operation->value.size = bytes;
    if (unlikely(line->at != line->stop) && text_ends_with_noreply(line))
        operation->options |= OPERATION_NOREPLY;
    if (key.size > KEY_BYTES_MAX || !number_parse_u32(flags, &operation->client_flags) ||
        !number_parse_i32_clamped(exptime, &operation->exptime))
        return text_refuse_store(line, operation, REJECT_LINE_FORMAT);
    enum reject_reason reason;
    if (command->words_min > 4 && !parse_cas(text_next_word(line), operation, &reason))
        return text_refuse_store(line, operation, reason);
    return text_take_value(line, operation);
}

/* Takes a number of one to nine digits and the blank behind it.  NULL: it is something else. */
static inline const unsigned char *take_plain_number(const unsigned char *at,
                                                     const unsigned char *limit, uint32_t *number)
{
    const unsigned char *start = at;
    uint32_t sum = 0;
    while (at < limit && *at >= '0' && *at <= '9' && at - start < 9)
        sum = sum * 10 + (uint32_t)(*at++ - '0');
    if (at == start || at == limit || (*at != ' ' && *at != '\r'))
        return NULL;
    *number = sum;
    return at + 1;
}

bool text_parse_plain_set(struct text_line *line, struct operation *operation,
                          enum parse_result *result)
{
    const unsigned char *limit = line->limit, *key = line->start + sizeof "set " - 1;
    const unsigned char *key_end = text_word_end(key, limit);
    if (key_end == limit || *key_end != ' ' || key_end == key || key_end - key > KEY_BYTES_MAX)
        return false;
    uint32_t flags, exptime, bytes;
    const unsigned char *at = take_plain_number(key_end + 1, limit, &flags);
    if (at == NULL || at[-1] != ' ')
        return false;
    at = take_plain_number(at, limit, &exptime);
    if (at == NULL || at[-1] != ' ')
        return false;
    at = take_plain_number(at, limit, &bytes);
    if (at == NULL || at[-1] != '\r' || at == limit || *at != '\n')
        return false;
    operation_begin(operation, PROTOCOL_TEXT, VERB_STORE, STORE_SET, OPERATION_SET_EXPTIME);
    operation->key = (struct slice){key, (size_t)(key_end - key)};
    operation->value.size = bytes;
    operation->client_flags = flags;
    operation->exptime = (int32_t)exptime;
    line->next = at + 1;
    *result = text_take_value(line, operation);
    return true;
}
