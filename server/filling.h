/* A store whose value is still on its way: the operation, kept while the input it was parsed from
 * is reused, and how much of the value has arrived.
 *
 * Threads: owned by its connection's worker. */
#ifndef SERVER_FILLING_H
#define SERVER_FILLING_H

#include "protocol/operation.h"
#include <sys/uio.h>

struct item;

struct filling {
    struct operation operation; /* its slices point into `bytes` */
    struct item *item;
    unsigned char *value;       /* of the item; operation.value.size bytes */
    size_t filled;
    unsigned char end[2];       /* what follows the value: "\r\n", if all is well */
    unsigned end_bytes;         /* 2, or 0 in the binary protocol */
    unsigned end_filled;
    unsigned char bytes[];
};

/* Keeps a copy of `operation` and of all its slices point to.  Gives it, or NULL when memory is
 * short.  The item stays the caller's. */
struct filling *filling_new(const struct operation *operation, struct item *item,
                            unsigned char *value);
void filling_free(struct filling *);

/* Takes what it needs from the start of `input`, returns how much that was. */
size_t filling_take(struct filling *, struct slice input);

/* Where to receive the next bytes, at most `bytes_max`: fills up to 2 pieces, returns how many.
 * The second, the end, only if the first takes all the rest of the value. */
unsigned filling_pieces(struct filling *, size_t bytes_max, struct iovec pieces[2]);

/* `bytes` were received into these pieces and perhaps beyond; returns how many were beyond. */
size_t filling_received(struct filling *, size_t bytes);

/* What is still to come, the end included. */
size_t filling_bytes_left(const struct filling *);
bool filling_is_complete(const struct filling *);
bool filling_ends_well(const struct filling *);

#endif
