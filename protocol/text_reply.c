/* Answers of the text protocol. */
#include "protocol/reply_writer.h"
#include <assert.h>

static const struct slice rejections[REJECT_REASON_COUNT] = {
    [REJECT_UNKNOWN_COMMAND] = TEXT_LINE("ERROR"),
    [REJECT_LINE_FORMAT] = TEXT_LINE("CLIENT_ERROR bad command line format"),
    [REJECT_DATA_CHUNK] = TEXT_LINE("CLIENT_ERROR bad data chunk"),
    [REJECT_EXPTIME] = TEXT_LINE("CLIENT_ERROR invalid exptime argument"),
    [REJECT_DELTA] = TEXT_LINE("CLIENT_ERROR invalid numeric delta argument"),
    [REJECT_DUPLICATE_FLAG] = TEXT_LINE("CLIENT_ERROR duplicate flag"),
    [REJECT_INVALID_FLAG] = TEXT_LINE("CLIENT_ERROR invalid flag"),
    [REJECT_BAD_TOKEN] = TEXT_LINE("CLIENT_ERROR bad token in command line format"),
    [REJECT_KEY_ENCODING] = TEXT_LINE("CLIENT_ERROR error decoding key"),
    [REJECT_TOO_MANY_FLAGS] = TEXT_LINE("CLIENT_ERROR options flags are too long"),
    [REJECT_OPAQUE_TOO_LONG] = TEXT_LINE("CLIENT_ERROR opaque token too long"),
    [REJECT_MS_MODE] = TEXT_LINE("CLIENT_ERROR invalid mode for ms M token"),
    [REJECT_MA_MODE] = TEXT_LINE("CLIENT_ERROR invalid mode for ma M token"),
    [REJECT_MA_FLAG] = TEXT_LINE("CLIENT_ERROR invalid or duplicate flag"),
    [REJECT_CONTEXT] = TEXT_LINE("CLIENT_ERROR bad context"),
    [REJECT_CONTEXT_FLAGS] = TEXT_LINE("CLIENT_ERROR a context excludes C, E, I and modes but set"),
    [REJECT_SILENTLY] = TEXT(""),
    [REJECT_BINARY_LENGTH] = TEXT_LINE("CLIENT_ERROR bad command line format"),
};

/* What a status says whatever the command. */
static const struct slice status_lines[OUTCOME_STATUS_COUNT] = {
    [OUTCOME_OK] = TEXT_LINE("OK"),
    [OUTCOME_NOT_FOUND] = TEXT_LINE("NOT_FOUND"),
    [OUTCOME_NOT_STORED] = TEXT_LINE("NOT_STORED"),
    [OUTCOME_EXISTS] = TEXT_LINE("EXISTS"),
    [OUTCOME_TOO_LARGE] = TEXT_LINE("SERVER_ERROR object too large for cache"),
    [OUTCOME_NO_MEMORY] = TEXT_LINE("SERVER_ERROR out of memory"),
    [OUTCOME_NOT_NUMERIC] =
        TEXT_LINE("CLIENT_ERROR cannot increment or decrement non-numeric value"),
    [OUTCOME_TOO_MANY_SIBLINGS] = TEXT_LINE("SERVER_ERROR too many siblings"),
    [OUTCOME_BAD_CONTEXT] = TEXT_LINE("CLIENT_ERROR bad context"),
    [OUTCOME_REFUSED] = TEXT_LINE("CLIENT_ERROR command not allowed"),
    [OUTCOME_UNAUTHENTICATED] = TEXT_LINE("CLIENT_ERROR unauthenticated"),
};

/* Where a command says it in its own words. */
static const struct slice verb_lines[VERB_COUNT][OUTCOME_STATUS_COUNT] = {
    [VERB_STORE] =
        {
            [OUTCOME_OK] = TEXT_LINE("STORED"),
            [OUTCOME_NO_MEMORY] = TEXT_LINE("SERVER_ERROR out of memory storing object"),
        },
    [VERB_DELETE] = {[OUTCOME_OK] = TEXT_LINE("DELETED")},
    [VERB_TOUCH] = {[OUTCOME_OK] = TEXT_LINE("TOUCHED")},
    [VERB_NOOP] = {[OUTCOME_OK] = TEXT_LINE("MN")},
    [VERB_VERSION] = {[OUTCOME_OK] = TEXT_LINE("VERSION " MEMCACHED_VERSION)},
    [VERB_FLUSH_ALL] = {[OUTCOME_REFUSED] = TEXT_LINE("CLIENT_ERROR flush_all not allowed")},
    [VERB_SHUTDOWN] = {[OUTCOME_REFUSED] = TEXT_LINE("SERVER_ERROR: shutdown not enabled")},
    [VERB_STATS] =
        {
            [OUTCOME_NOT_FOUND] = TEXT_LINE("ERROR"),
            [OUTCOME_NO_MEMORY] = TEXT_LINE("SERVER_ERROR out of memory writing stats"),
        },
    [VERB_WATCH] = {[OUTCOME_REFUSED] = TEXT_LINE("CLIENT_ERROR watch commands not allowed")},
};

struct slice text_rejection(enum reject_reason reason)
{
    assert(reason < REJECT_REASON_COUNT);
    return rejections[reason];
}

struct slice text_status_line(enum verb verb, enum outcome_status status)
{
    assert(verb < VERB_COUNT);
    assert(status < OUTCOME_STATUS_COUNT);
    struct slice own = verb_lines[verb][status];
    return own.size > 0 ? own : status_lines[status];
}

/* "VALUE <key> <flags> <bytes>[ <cas>][ <context>]\r\n" */
static size_t write_value_line(const struct operation *operation, const struct outcome *outcome,
                               unsigned char *out)
{
    unsigned char *at = put_literal(out, "VALUE ");
    at = put_slice(at, operation->key);
    *at++ = ' ';
    at = put_decimal(at, outcome->client_flags);
    *at++ = ' ';
    at = put_decimal(at, outcome->value.size);
    if (operation->options & OPERATION_WANTS_CAS) {
        *at++ = ' ';
        at = put_decimal(at, outcome->cas);
    }
    if (operation->verb == VERB_SIBLINGS) {
        *at++ = ' ';
        at = put_context(at, outcome->context);
    }
    return (size_t)(put_literal(at, "\r\n") - out);
}

/* A key of a get line: a miss says nothing, and what concerns the whole line is said once. */
static size_t write_key(const struct operation *operation, const struct outcome *outcome,
                        unsigned char *out)
{
    if (outcome->status == OUTCOME_OK)
        return write_value_line(operation, outcome, out);
    if (outcome->status != OUTCOME_UNAUTHENTICATED || !(operation->options & OPERATION_FIRST_KEY))
        return 0;
    return (size_t)(put_slice(out, status_lines[OUTCOME_UNAUTHENTICATED]) - out);
}

size_t text_reply_head(const struct operation *operation, const struct outcome *outcome,
                       unsigned char *out)
{
    if (operation->options & OPERATION_NOREPLY)
        return 0;
    switch ((enum verb)operation->verb) {
    case VERB_GET:
    case VERB_SIBLINGS: return write_key(operation, outcome, out);
    case VERB_REJECT:
    case VERB_CLOSE:
        return (size_t)(put_slice(out, text_rejection((enum reject_reason)operation->rejection)) -
                        out);
    case VERB_ARITHMETIC:
        if (outcome->status == OUTCOME_OK)
            return (size_t)(put_literal(put_decimal(out, outcome->number), "\r\n") - out);
        break;
    case VERB_QUIT:
    case VERB_SHUTDOWN:
        if (outcome->status == OUTCOME_OK)
            return 0;
        break;
    default: break;
    }
    struct slice line =
        text_status_line((enum verb)operation->verb, (enum outcome_status)outcome->status);
    return (size_t)(put_slice(out, line) - out);
}
