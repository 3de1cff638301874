/* What a command's coordinator has to do for it. */
#include "server/command.h"
#include <assert.h>

#define CONDITIONS_OF_DELETE                                                                       \
    (OPERATION_COMPARE_CAS | OPERATION_DROP_VALUE | OPERATION_INVALIDATE | OPERATION_SET_EXPTIME)

/* A counter's shares are with other nodes: who sets it anew has to see them first. */
static bool needs_no_look(const struct operation *operation)
{
    return policy_of(operation->key)->resolver != RESOLVE_COUNTER;
}

static enum request_class class_of_store(const struct operation *operation)
{
    if ((operation->options & OPERATION_CONTEXT) != 0)
        return REQUEST_CONTEXT;
    if (operation->mode == STORE_SET && (operation->options & OPERATION_COMPARE_CAS) == 0 &&
        needs_no_look(operation))
        return REQUEST_BLIND;
    return REQUEST_DECIDED;
}

static enum request_class class_of_delete(const struct operation *operation)
{
    if ((operation->options & OPERATION_CONTEXT) != 0)
        return REQUEST_CONTEXT;
    if ((operation->options & OPERATION_NOREPLY) != 0 &&
        (operation->options & CONDITIONS_OF_DELETE) == 0 && needs_no_look(operation))
        return REQUEST_BLIND;
    return REQUEST_DECIDED;
}

static enum request_class class_of_get(const struct operation *operation)
{
    const uint32_t changes = OPERATION_VIVIFY | OPERATION_RECACHE | OPERATION_SET_EXPTIME;

    return (operation->options & changes) != 0 ? REQUEST_DECIDED : REQUEST_READ;
}

enum request_class command_class(const struct operation *operation)
{
    assert(operation->verb < VERB_REJECT);
    switch ((enum verb)operation->verb) {
    case VERB_GET: return class_of_get(operation);
    case VERB_STORE: return class_of_store(operation);
    case VERB_DELETE: return class_of_delete(operation);
    case VERB_ARITHMETIC:
    case VERB_TOUCH: return REQUEST_DECIDED;
    default: return REQUEST_READ; /* me, vget */
    }
}
