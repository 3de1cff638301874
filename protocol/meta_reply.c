/* Answers of the meta commands: a code of two letters, then the flags that ask for something, in
 * the order in which they came. */
#include "protocol/base64.h"
#include "protocol/reply_writer.h"
#include <assert.h>

enum command_bit {
    MG = 1u << VERB_GET,
    MS = 1u << VERB_STORE,
    MD = 1u << VERB_DELETE,
    MA = 1u << VERB_ARITHMETIC,
};
#define ALL (MG | MS | MD | MA)

/* Which commands answer a flag, when all went well and when it did not. */
static const struct {
    uint8_t when_ok, otherwise;
} answered['z' - 'A' + 1] = {
    ['O' - 'A'] = {ALL, ALL},   ['c' - 'A'] = {MG | MS | MA, MS}, ['f' - 'A'] = {MG, 0},
    ['h' - 'A'] = {MG, 0},      ['k' - 'A'] = {ALL, ALL},         ['l' - 'A'] = {MG, 0},
    ['n' - 'A'] = {MG, 0},      ['s' - 'A'] = {MG | MS, MS},      ['t' - 'A'] = {MG | MA, 0},
    ['y' - 'A'] = {MG | MS, 0},
};

/* The codes; an empty one means that the status is an error with a line of text. */
static const struct slice codes[OUTCOME_STATUS_COUNT] = {
    [OUTCOME_OK] = TEXT("HD"),
    [OUTCOME_NOT_FOUND] = TEXT("NF"),
    [OUTCOME_NOT_STORED] = TEXT("NS"),
    [OUTCOME_EXISTS] = TEXT("EX"),
};

static unsigned char *put_key(unsigned char *at, struct slice key, bool is_encoded,
                              const char *mark)
{
    if (!is_encoded)
        return put_slice(at, key);
    at += base64_encode(BASE64_STANDARD, key, at);
    return put_slice(at, (struct slice){(const unsigned char *)mark, strlen(mark)});
}

/* Whether the key goes back as base64: a get that found something says how that was stored. */
static bool key_is_encoded(const struct operation *operation, const struct outcome *outcome)
{
    if (operation->verb == VERB_GET && outcome->status == OUTCOME_OK)
        return outcome->key_is_binary;
    return (operation->options & OPERATION_KEY_ENCODED) != 0;
}

static unsigned char *put_ttl(unsigned char *at, const struct outcome *outcome)
{
    if (outcome->ttl_s < 0)
        return put_literal(at, "-1");
    return put_decimal(at, (uint64_t)outcome->ttl_s);
}

static unsigned char *put_flag(unsigned char *at, const struct operation *operation,
                               const struct outcome *outcome, struct slice word)
{
    bool is_ok = outcome->status == OUTCOME_OK;
    *at++ = ' ';
    if (word.bytes[0] == 'O')
        return put_slice(at, word);
    *at++ = word.bytes[0];
    switch (word.bytes[0]) {
    case 'c': return put_decimal(at, is_ok ? outcome->cas : 0);
    case 'f': return put_decimal(at, outcome->client_flags);
    case 'h': return put_decimal(at, outcome->was_hit_before);
    case 'k': return put_key(at, operation->key, key_is_encoded(operation, outcome), " b");
    case 'l': return put_decimal(at, outcome->idle_s);
    case 'n': return put_decimal(at, outcome->sibling_count);
    case 's': return put_decimal(at, is_ok ? outcome->value.size : operation->value.size);
    case 't': return put_ttl(at, outcome);
    }
    assert(word.bytes[0] == 'y');
    return put_context(at, outcome->context);
}

static unsigned char *put_flags(unsigned char *at, const struct operation *operation,
                                const struct outcome *outcome)
{
    unsigned command = 1u << operation->verb;
    bool is_ok = outcome->status == OUTCOME_OK;
    const unsigned char *word = operation->meta_flags.bytes;
    const unsigned char *stop = word + operation->meta_flags.size;
    while (word < stop) {
        const unsigned char *end = word;
        while (end < stop && *end != ' ')
            end++;
        if (end > word) {
            unsigned index = *word - (unsigned)'A';
            assert(index < sizeof answered / sizeof *answered);
            unsigned commands = is_ok ? answered[index].when_ok : answered[index].otherwise;
            if (commands & command)
                at = put_flag(at, operation, outcome, (struct slice){word, (size_t)(end - word)});
        }
        word = end + 1;
    }
    return at;
}

/* Who has the win, and whether what they got is stale. */
static unsigned char *put_win(unsigned char *at, const struct outcome *outcome)
{
    if (outcome->lost)
        at = put_literal(at, " Z");
    if (outcome->is_stale)
        at = put_literal(at, " X");
    if (outcome->won)
        at = put_literal(at, " W");
    return at;
}

static size_t write_get(const struct operation *operation, const struct outcome *outcome,
                        unsigned char *out)
{
    unsigned char *at = out;
    if (outcome->status != OUTCOME_OK) {
        if (operation->options & OPERATION_QUIET)
            return 0;
        at = put_literal(at, "EN");
    } else if (reply_has_value(operation, outcome)) {
        at = put_decimal(put_literal(at, "VA "), outcome->value.size);
    } else {
        at = put_literal(at, "HD");
    }
    at = put_flags(at, operation, outcome);
    if (outcome->status == OUTCOME_OK)
        at = put_win(at, outcome);
    return (size_t)(put_literal(at, "\r\n") - out);
}

/* ms, md and ma.  The number that ma returns is short, so it is part of the head. */
static size_t write_change(const struct operation *operation, const struct outcome *outcome,
                           unsigned char *out)
{
    bool is_ok = outcome->status == OUTCOME_OK;
    bool has_number =
        is_ok && operation->verb == VERB_ARITHMETIC && (operation->options & OPERATION_WANTS_VALUE);
    if (is_ok && (operation->options & OPERATION_QUIET))
        return 0;
    unsigned char digits[DECIMAL_BYTES_MAX];
    struct slice number = {digits, has_number ? decimal_encode(outcome->number, digits) : 0};
    unsigned char *at = out;
    if (has_number)
        at = put_decimal(put_literal(at, "VA "), number.size);
    else
        at = put_slice(at, codes[outcome->status]);
    at = put_literal(put_flags(at, operation, outcome), "\r\n");
    if (has_number)
        at = put_literal(put_slice(at, number), "\r\n");
    return (size_t)(at - out);
}

static size_t write_inspect(const struct operation *operation, const struct outcome *outcome,
                            unsigned char *out)
{
    if (outcome->status != OUTCOME_OK)
        return (size_t)(put_literal(out, "EN\r\n") - out);
    unsigned char *at = put_literal(out, "ME ");
    at = put_key(at, operation->key, outcome->key_is_binary, "");
    at = put_ttl(put_literal(at, " exp="), outcome);
    at = put_decimal(put_literal(at, " la="), outcome->idle_s);
    at = put_decimal(put_literal(at, " cas="), outcome->cas);
    at = outcome->was_hit_before ? put_literal(at, " fetch=yes") : put_literal(at, " fetch=no");
    at = put_decimal(put_literal(at, " cls=1 size="), outcome->item_bytes);
    return (size_t)(put_literal(at, "\r\n") - out);
}

size_t meta_reply_head(const struct operation *operation, const struct outcome *outcome,
                       unsigned char *out)
{
    if (operation->verb == VERB_REJECT)
        return (size_t)(put_slice(out, text_rejection((enum reject_reason)operation->rejection)) -
                        out);
    assert(outcome->status < OUTCOME_STATUS_COUNT);
    if (codes[outcome->status].size == 0) {
        struct slice line =
            text_status_line((enum verb)operation->verb, (enum outcome_status)outcome->status);
        return (size_t)(put_slice(out, line) - out);
    }
    if (operation->verb == VERB_GET)
        return write_get(operation, outcome, out);
    if (operation->verb == VERB_INSPECT)
        return write_inspect(operation, outcome, out);
    return write_change(operation, outcome, out);
}
