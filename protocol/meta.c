/* The meta commands: mg, ms, md, ma and me.
 *
 *     <command> <key> [<bytes>, only ms] <flag>*\r\n
 *
 * A flag is a letter and perhaps an argument right behind it.  A table says what each letter's
 * argument is, where it goes, and which commands it means something to; the other commands check
 * its form and ignore it, as 1.6.45 does. */
#include "protocol/base64.h"
#include "protocol/number.h"
#include "protocol/text_line.h"
#include <assert.h>

#define COMMAND_WORDS_WITH_KEY 2 /* of META_TOKENS_MAX */

/* What a flag's argument is. */
enum flag_kind {
    FLAG_UNKNOWN,
    FLAG_PLAIN, /* has none; if there is one it is ignored */
    FLAG_BARE,  /* must have none: ours, and memcached refuses "noreply" */
    FLAG_TIME,  /* int32_t, seconds */
    FLAG_U32,
    FLAG_U64,
    FLAG_MODE,
    FLAG_OPAQUE,
    FLAG_CONTEXT,
};

enum command_bit {
    MG = 1u << VERB_GET,
    MS = 1u << VERB_STORE,
    MD = 1u << VERB_DELETE,
    MA = 1u << VERB_ARITHMETIC,
};

struct meta_flag {
    uint8_t kind;     /* enum flag_kind */
    uint8_t commands; /* enum command_bit: to whom `option` is set */
    uint8_t field;    /* offset in struct operation of where the argument goes */
    uint32_t option;  /* enum operation_option */
};

#define FIELD(name) offsetof(struct operation, name)
#define ALL         (MG | MS | MD | MA)

static const struct meta_flag flags['z' - 'A' + 1] = {
    ['C' - 'A'] = {FLAG_U64, ALL, FIELD(cas_compare), OPERATION_COMPARE_CAS},
    ['D' - 'A'] = {FLAG_U64, MA, FIELD(delta), 0},
    ['E' - 'A'] = {FLAG_U64, ALL, FIELD(cas_new), OPERATION_SET_CAS},
    ['F' - 'A'] = {FLAG_U32, MS, FIELD(client_flags), 0},
    ['I' - 'A'] = {FLAG_PLAIN, MS | MD, 0, OPERATION_INVALIDATE},
    ['J' - 'A'] = {FLAG_U64, MA, FIELD(initial), 0},
    ['L' - 'A'] = {FLAG_PLAIN, 0, 0, 0},
    ['M' - 'A'] = {FLAG_MODE, 0, 0, 0},
    ['N' - 'A'] = {FLAG_TIME, MG | MS | MA, FIELD(vivify_exptime), OPERATION_VIVIFY},
    ['O' - 'A'] = {FLAG_OPAQUE, 0, 0, 0},
    ['P' - 'A'] = {FLAG_PLAIN, 0, 0, 0},
    ['R' - 'A'] = {FLAG_TIME, MG, FIELD(recache_exptime), OPERATION_RECACHE},
    ['T' - 'A'] = {FLAG_TIME, ALL, FIELD(exptime), OPERATION_SET_EXPTIME},
    ['Y' - 'A'] = {FLAG_CONTEXT, MS | MD | MA, 0, OPERATION_CONTEXT},
    ['b' - 'A'] = {FLAG_PLAIN, ALL, 0, OPERATION_KEY_ENCODED},
    ['c' - 'A'] = {FLAG_PLAIN, MG | MS | MA, 0, OPERATION_WANTS_CAS},
    ['f' - 'A'] = {FLAG_PLAIN, 0, 0, 0},
    ['h' - 'A'] = {FLAG_PLAIN, MG, 0, OPERATION_WANTS_META},
    ['k' - 'A'] = {FLAG_PLAIN, 0, 0, 0},
    ['l' - 'A'] = {FLAG_PLAIN, MG, 0, OPERATION_WANTS_META},
    ['n' - 'A'] = {FLAG_BARE, MG, 0, OPERATION_WANTS_COUNT},
    ['q' - 'A'] = {FLAG_PLAIN, ALL, 0, OPERATION_QUIET},
    ['s' - 'A'] = {FLAG_PLAIN, 0, 0, 0},
    ['t' - 'A'] = {FLAG_PLAIN, MG | MA, 0, OPERATION_WANTS_META},
    ['u' - 'A'] = {FLAG_PLAIN, MG, 0, OPERATION_KEEP_COLD},
    ['v' - 'A'] = {FLAG_PLAIN, MG | MA, 0, OPERATION_WANTS_VALUE},
    ['x' - 'A'] = {FLAG_PLAIN, MD, 0, OPERATION_DROP_VALUE},
    ['y' - 'A'] = {FLAG_BARE, MG | MS, 0, OPERATION_WANTS_CONTEXT},
};

static_assert(FIELD(recache_exptime) <= UINT8_MAX, "the offsets fit the table");

/* The modes of M, and which command has them. */
static const struct {
    uint8_t letter, command, mode;
} modes[] = {
    {'S', MS, STORE_SET},      {'E', MS, STORE_ADD},           {'R', MS, STORE_REPLACE},
    {'A', MS, STORE_APPEND},   {'P', MS, STORE_PREPEND},       {'I', MA, ARITHMETIC_ADD},
    {'+', MA, ARITHMETIC_ADD}, {'D', MA, ARITHMETIC_SUBTRACT}, {'-', MA, ARITHMETIC_SUBTRACT},
};

/* While the flags of one command are looked at. */
struct flag_walk {
    struct operation *operation;
    uint64_t seen;        /* bit per letter */
    unsigned command;     /* enum command_bit */
    struct slice context; /* the argument of Y, or empty */
    enum reject_reason reason;
};

static bool fail(struct flag_walk *walk, enum reject_reason reason)
{
    walk->reason = reason;
    return false;
}

static bool take_mode(struct flag_walk *walk, struct slice argument)
{
    if ((walk->command & (MS | MA)) == 0)
        return true;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (argument.size > 0 && argument.bytes[0] == modes[i].letter &&
            (modes[i].command & walk->command) != 0) {
            walk->operation->mode = modes[i].mode;
            return true;
        }
    }
    return fail(walk, walk->command == MS ? REJECT_MS_MODE : REJECT_MA_MODE);
}

/* Takes the argument of a flag, if it is of a kind that must have one. */
static bool take_argument(struct flag_walk *walk, const struct meta_flag *flag,
                          struct slice argument)
{
    unsigned char *field = (unsigned char *)walk->operation + flag->field;
    bool is_for_us = (flag->commands & walk->command) != 0;
    int32_t seconds;
    uint32_t number;
    uint64_t long_number;
    switch ((enum flag_kind)flag->kind) {
    case FLAG_UNKNOWN: return fail(walk, REJECT_INVALID_FLAG);
    case FLAG_PLAIN: break;
    case FLAG_BARE: return argument.size == 0 || fail(walk, REJECT_INVALID_FLAG);
    case FLAG_TIME:
        if (!number_parse_i32(argument, &seconds))
            return fail(walk, REJECT_BAD_TOKEN);
        if (is_for_us)
            memcpy(field, &seconds, sizeof seconds);
        break;
    case FLAG_U32:
        if (!number_parse_u32(argument, &number))
            return fail(walk, REJECT_LINE_FORMAT);
        if (is_for_us)
            memcpy(field, &number, sizeof number);
        break;
    case FLAG_U64:
        if (!number_parse_u64(argument, &long_number))
            return fail(walk, REJECT_BAD_TOKEN);
        if (is_for_us)
            memcpy(field, &long_number, sizeof long_number);
        break;
    case FLAG_MODE: return take_mode(walk, argument);
    case FLAG_OPAQUE:
        if (argument.size > OPAQUE_BYTES_MAX)
            return fail(walk, REJECT_OPAQUE_TOO_LONG);
        break;
    case FLAG_CONTEXT: walk->context = argument; break;
    }
    return true;
}

/* Whether a flag may begin so.  What else there is on a keyboard is a mistake of another kind. */
static inline bool may_begin_flag(unsigned char letter)
{
    return (letter >= 'A' && letter <= 'z') || (letter >= '0' && letter <= '9');
}

static bool take_flag(struct flag_walk *walk, struct slice word)
{
    unsigned char letter = word.bytes[0];
    if (unlikely(letter < 'A' || letter > 'z'))
        return fail(walk, may_begin_flag(letter) ? REJECT_INVALID_FLAG : REJECT_LINE_FORMAT);
    const struct meta_flag *flag = &flags[letter - 'A'];
    uint64_t bit = UINT64_C(1) << (letter - 'A');
    if (unlikely((walk->seen & bit) != 0))
        return fail(walk, REJECT_DUPLICATE_FLAG);
    walk->seen |= bit;
    if ((flag->commands & walk->command) != 0)
        walk->operation->options |= flag->option;
    if (likely(flag->kind == FLAG_PLAIN))
        return true;
    return take_argument(walk, flag, (struct slice){word.bytes + 1, word.size - 1});
}

/* A key that came as base64.  False: it is malformed. */
static bool decode_key(struct operation *operation)
{
    size_t size;
    if (!base64_decode(BASE64_STANDARD, operation->key, operation->key_storage, KEY_BYTES_MAX,
                       &size))
        return false;
    operation->key = (struct slice){operation->key_storage, size};
    operation->options |= OPERATION_KEY_ENCODED;
    return size > 0;
}

/* What can only be judged once all flags are known. */
static bool check_combination(struct flag_walk *walk)
{
    struct operation *operation = walk->operation;
    if ((operation->options & OPERATION_KEY_ENCODED) && !decode_key(operation))
        return fail(walk, REJECT_KEY_ENCODING);
    if (walk->command == MS && operation->mode >= STORE_APPEND)
        operation->options &= ~(uint32_t)OPERATION_SET_EXPTIME;
    else if (walk->command == MS)
        operation->options &= ~(uint32_t)OPERATION_VIVIFY;
    if (operation->options & OPERATION_CONTEXT) {
        uint32_t excluded = OPERATION_COMPARE_CAS | OPERATION_SET_CAS | OPERATION_INVALIDATE;
        if (!text_decode_context(walk->context, operation))
            return fail(walk, REJECT_CONTEXT);
        if ((operation->options & excluded) != 0 ||
            (walk->command == MS && operation->mode != STORE_SET))
            return fail(walk, REJECT_CONTEXT_FLAGS);
    }
    return true;
}

/* Takes the flags that follow line->at.  False: *reason says why the command is refused. */
static bool take_flags(struct text_line *line, struct operation *operation, unsigned words_before,
                       enum reject_reason *reason)
{
    struct flag_walk walk = {.operation = operation, .command = 1u << operation->verb};
    unsigned word_count = words_before;
    bool is_good = operation->key.size <= KEY_BYTES_MAX || fail(&walk, REJECT_LINE_FORMAT);
    const unsigned char *start = text_skip_spaces(line->at, line->stop);
    operation->meta_flags = (struct slice){start, (size_t)(line->stop - start)};
    while (is_good) {
        struct slice word = text_next_word(line);
        if (word.size == 0)
            break;
        if (unlikely(++word_count > META_TOKENS_MAX))
            is_good = fail(&walk, REJECT_TOO_MANY_FLAGS);
        else
            is_good = take_flag(&walk, word);
    }
    is_good = is_good && check_combination(&walk);
    *reason = walk.reason;
    return is_good;
}

/* ma has one text for all that can be wrong with its flags. */
static enum reject_reason reason_of_ma(enum reject_reason reason, struct slice flags_sent)
{
    bool is_own = reason == REJECT_MA_MODE || reason == REJECT_OPAQUE_TOO_LONG ||
                  reason == REJECT_CONTEXT || reason == REJECT_CONTEXT_FLAGS;
    if (is_own)
        return reason;
    for (size_t i = 0; i < flags_sent.size; i++)
        if ((i == 0 || flags_sent.bytes[i - 1] == ' ') && flags_sent.bytes[i] != ' ' &&
            !may_begin_flag(flags_sent.bytes[i]))
            return REJECT_LINE_FORMAT;
    return REJECT_MA_FLAG;
}

enum parse_result meta_parse(struct text_line *line, const struct text_command *command,
                             struct operation *operation)
{
    operation_begin(operation, PROTOCOL_META, (enum verb)command->verb, 0, 0);
    operation->key = text_next_word(line);
    if (operation->key.size == 0) {
        operation_reject(operation, REJECT_LINE_FORMAT);
        return PARSE_DONE;
    }
    if (command->verb != VERB_GET) { /* what the others may leave unsaid */
        operation->client_flags = 0;
        operation->exptime = 0;
        operation->delta = 1;
        operation->initial = 0;
    }
    enum reject_reason reason;
    if (unlikely(!take_flags(line, operation, COMMAND_WORDS_WITH_KEY, &reason))) {
        if (command->verb == VERB_ARITHMETIC)
            reason = reason_of_ma(reason, operation->meta_flags);
        operation_reject(operation, reason);
    }
    return PARSE_DONE;
}

enum parse_result meta_parse_store(struct text_line *line, const struct text_command *command,
                                   struct operation *operation)
{
    operation_begin(operation, PROTOCOL_META, (enum verb)command->verb, STORE_SET,
                    OPERATION_SET_EXPTIME);
    operation->key = text_next_word(line);
    uint32_t bytes;
    if (!number_parse_u32(text_next_word(line), &bytes) || bytes > INT32_MAX - 2) {
        operation_reject(operation, REJECT_LINE_FORMAT);
        return PARSE_DONE;
    }
    operation->value.size = bytes;
    operation->client_flags = 0;
    operation->exptime = 0;
    enum reject_reason reason;
    if (unlikely(!take_flags(line, operation, COMMAND_WORDS_WITH_KEY + 1, &reason)))
        return text_refuse_store(line, operation, reason);
    return text_take_value(line, operation);
}

enum parse_result meta_parse_inspect(struct text_line *line, const struct text_command *command,
                                     struct operation *operation)
{
    (void)command;
    operation_begin(operation, PROTOCOL_META, VERB_INSPECT, 0,
                    OPERATION_KEEP_COLD | OPERATION_WANTS_META | OPERATION_WANTS_CAS);
    operation->key = text_next_word(line);
    struct slice flag = text_next_word(line);
    operation->meta_flags = flag;
    bool is_good = operation->key.size > 0 && operation->key.size <= KEY_BYTES_MAX;
    if (is_good && slice_equal(flag, SLICE("b")))
        is_good = decode_key(operation);
    if (!is_good)
        operation_reject(operation, REJECT_LINE_FORMAT);
    return PARSE_DONE;
}
