/* A copy of an operation that outlives the input it was parsed from: one that is executed later.
 *
 * Threads: owned by whoever has it. */
#ifndef SERVER_KEPT_OPERATION_H
#define SERVER_KEPT_OPERATION_H

#include "protocol/operation.h"

struct kept_operation {
    struct operation operation; /* its slices point into `bytes` */
    unsigned char bytes[];
};

/* Copies the operation and all that its slices point to; a value that is yet to come (its bytes are
 * NULL) keeps its size.  Gives the copy, to free() by the caller, or NULL: memory is short. */
struct kept_operation *kept_operation_new(const struct operation *);

/* The two steps of that, for whoever embeds a copy.  First: forgets the slices that the operation
 * does not use, of which a codec leaves garbage; gives the room that the others need. */
size_t kept_operation_bytes(struct operation *);
/* Moves the bytes of all its slices to `room`, which is as large as that. */
void kept_operation_move(struct operation *, unsigned char *room);

#endif
