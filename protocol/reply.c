#include "protocol/reply.h"
#include "protocol/base64.h"
#include "protocol/reply_writer.h"
#include <assert.h>

unsigned char *put_context(unsigned char *at, struct slice context)
{
    assert(context.size <= CONTEXT_BYTES_MAX);
    *at++ = '@';
    return at + base64_encode(BASE64_URL, context, at);
}

size_t reply_head(const struct operation *operation, const struct outcome *outcome,
                  unsigned char *out)
{
    size_t size = 0;
    switch ((enum protocol)operation->protocol) {
    case PROTOCOL_TEXT: size = text_reply_head(operation, outcome, out); break;
    case PROTOCOL_META: size = meta_reply_head(operation, outcome, out); break;
    case PROTOCOL_BINARY: size = binary_reply_head(operation, outcome, out); break;
    }
    assert(size <= REPLY_HEAD_BYTES_MAX);
    return size;
}

bool reply_has_value(const struct operation *operation, const struct outcome *outcome)
{
    if ((operation->verb != VERB_GET && operation->verb != VERB_SIBLINGS) ||
        outcome->status != OUTCOME_OK || !(operation->options & OPERATION_WANTS_VALUE))
        return false;
    return !reply_leaves_value_out(operation, outcome);
}

/* END follows the last sibling of the last key, and the last key that was missed. */
static bool is_end_of_keys(const struct operation *operation, const struct outcome *outcome)
{
    if (!(operation->options & OPERATION_LAST_KEY) || outcome->status == OUTCOME_UNAUTHENTICATED)
        return false;
    return operation->verb == VERB_GET || outcome->status != OUTCOME_OK ||
           outcome->sibling_index + 1 == outcome->sibling_count;
}

size_t reply_tail(const struct operation *operation, const struct outcome *outcome,
                  unsigned char *out)
{
    if (operation->protocol == PROTOCOL_BINARY)
        return 0;
    unsigned char *at = out;
    if (reply_has_value(operation, outcome))
        at = put_literal(at, "\r\n");
    if (operation->protocol == PROTOCOL_TEXT && is_end_of_keys(operation, outcome))
        at = put_literal(at, "END\r\n");
    return (size_t)(at - out);
}

size_t reply_stat(const struct operation *operation, struct slice name, struct slice value,
                  unsigned char *out)
{
    if (operation->protocol == PROTOCOL_BINARY)
        return binary_reply_stat(operation, name, value, out);
    if (name.size == 0)
        return (size_t)(put_literal(out, "END\r\n") - out);
    unsigned char *at = put_literal(out, "STAT ");
    at = put_slice(at, name);
    *at++ = ' ';
    at = put_slice(at, value);
    return (size_t)(put_literal(at, "\r\n") - out);
}

size_t reply_line(const struct operation *operation, uint16_t binary_status, struct slice text,
                  unsigned char *out)
{
    if (operation->protocol == PROTOCOL_BINARY)
        return binary_reply_line(operation, binary_status, text, out);
    if (operation->options & OPERATION_NOREPLY)
        return 0;
    return (size_t)(put_literal(put_slice(out, text), "\r\n") - out);
}
