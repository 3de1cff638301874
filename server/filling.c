#include "server/filling.h"
#include "protocol/text.h"
#include "server/kept_operation.h"
#include <assert.h>
#include <stdlib.h>

struct filling *filling_new(const struct operation *operation, struct item *item,
                            unsigned char *value)
{
    struct operation kept = *operation;
    size_t bytes = kept_operation_bytes(&kept);
    struct filling *filling = malloc(sizeof *filling + bytes);
    if (filling == NULL)
        return NULL;
    *filling = (struct filling){
        .operation = kept,
        .item = item,
        .value = value,
        .end_bytes = kept.protocol == PROTOCOL_BINARY ? 0 : 2,
    };
    kept_operation_move(&filling->operation, filling->bytes);
    return filling;
}

void filling_free(struct filling *filling)
{
    free(filling);
}

size_t filling_take(struct filling *filling, struct slice input)
{
    size_t of_value = filling->operation.value.size - filling->filled;
    if (of_value > input.size)
        of_value = input.size;
    memcpy(filling->value + filling->filled, input.bytes, of_value);
    filling->filled += of_value;

    size_t of_end = filling->end_bytes - filling->end_filled;
    if (of_end > input.size - of_value)
        of_end = input.size - of_value;
    memcpy(filling->end + filling->end_filled, input.bytes + of_value, of_end);
    filling->end_filled += (unsigned)of_end;
    return of_value + of_end;
}

unsigned filling_pieces(struct filling *filling, size_t bytes_max, struct iovec pieces[2])
{
    size_t left = filling->operation.value.size - filling->filled;
    unsigned count = 0;

    assert(!filling_is_complete(filling));
    if (left > bytes_max) {
        pieces[0] = (struct iovec){ filling->value + filling->filled, bytes_max };
        return 1;
    }
    if (left > 0)
        pieces[count++] = (struct iovec){ filling->value + filling->filled, left };
    if (filling->end_filled < filling->end_bytes)
        pieces[count++] = (struct iovec){ filling->end + filling->end_filled,
                                          filling->end_bytes - filling->end_filled };
    return count;
}

size_t filling_received(struct filling *filling, size_t bytes)
{
    size_t of_value = filling->operation.value.size - filling->filled;
    if (of_value > bytes)
        of_value = bytes;
    filling->filled += of_value;
    bytes -= of_value;

    size_t of_end = filling->end_bytes - filling->end_filled;
    if (of_end > bytes)
        of_end = bytes;
    filling->end_filled += (unsigned)of_end;
    return bytes - of_end;
}

size_t filling_bytes_left(const struct filling *filling)
{
    return filling->operation.value.size - filling->filled + filling->end_bytes -
           filling->end_filled;
}

bool filling_is_complete(const struct filling *filling)
{
    return filling_bytes_left(filling) == 0;
}

bool filling_ends_well(const struct filling *filling)
{
    assert(filling_is_complete(filling));
    return filling->end_bytes == 0 || text_value_ends_well(filling->end);
}
