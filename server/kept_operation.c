#include "server/kept_operation.h"
#include <stdlib.h>

static bool has_key(const struct operation *operation)
{
    return operation->verb < VERB_REJECT || operation->verb == VERB_SASL_AUTH ||
           operation->verb == VERB_SASL_STEP;
}

static bool has_value(const struct operation *operation)
{
    return operation->verb == VERB_STORE || operation->verb == VERB_SASL_AUTH ||
           operation->verb == VERB_SASL_STEP;
}

static size_t bytes_of(struct slice slice)
{
    return slice.bytes != NULL ? slice.size : 0;
}

size_t kept_operation_bytes(struct operation *operation)
{
    if (!has_key(operation))
        operation->key = (struct slice){0};
    if (!has_value(operation))
        operation->value = (struct slice){0};
    if (operation->protocol != PROTOCOL_META)
        operation->meta_flags = (struct slice){0};
    if (operation->verb < VERB_SHUTDOWN)
        operation->arguments = (struct slice){0};
    if ((operation->options & OPERATION_CONTEXT) == 0)
        operation->context = (struct slice){0};
    return bytes_of(operation->key) + bytes_of(operation->value) + bytes_of(operation->meta_flags) +
           bytes_of(operation->arguments) + bytes_of(operation->context);
}

/* Moves a slice's bytes to `*room`, which then points behind them. */
static void keep(struct slice *slice, unsigned char **room)
{
    if (bytes_of(*slice) == 0)
        return;
    memcpy(*room, slice->bytes, slice->size);
    slice->bytes = *room;
    *room += slice->size;
}

void kept_operation_move(struct operation *operation, unsigned char *room)
{
    keep(&operation->key, &room);
    keep(&operation->value, &room);
    keep(&operation->meta_flags, &room);
    keep(&operation->arguments, &room);
    keep(&operation->context, &room);
}

struct kept_operation *kept_operation_new(const struct operation *operation)
{
    struct operation copy = *operation;
    const size_t bytes = kept_operation_bytes(&copy);
    struct kept_operation *kept = malloc(sizeof *kept + bytes);

    if (kept == NULL)
        return NULL;
    kept->operation = copy;
    kept_operation_move(&kept->operation, kept->bytes);
    return kept;
}
