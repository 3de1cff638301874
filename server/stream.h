/* A bounded pipe of bytes from any thread to one watching connection.
 *
 * Whoever writes log lines appends them; when the reader is slow the buffer fills up and lines are
 * refused, whole.  Where some are missing the reader finds a line `skipped=N` instead, as soon as
 * there is room for it.  The connection's worker sends what is there.
 *
 * Threads: any; the buffer has its own lock, held for one copy. */
#ifndef SERVER_STREAM_H
#define SERVER_STREAM_H

#include "ring/slice.h"
#include <stdint.h>

struct stream;
struct worker;

enum stream_append_result {
    STREAM_APPENDED,
    STREAM_FULL,   /* skipped, and counted: the reader is slow */
    STREAM_CLOSED, /* the reader is gone: unref it */
};

/* Appends `line` as a whole or not at all. */
enum stream_append_result stream_append(struct stream *, struct slice line);

void stream_ref(struct stream *);
void stream_unref(struct stream *);

/* For the connection: a stream that wakes `worker` when it is no longer empty; gives one reference,
 * NULL when memory is short. */
struct stream *stream_new(struct worker *, size_t bytes_max);

/* For the connection: moves up to `bytes_max` bytes out of the stream, returns how many. */
size_t stream_take(struct stream *, unsigned char *out, size_t bytes_max);

/* For the connection: nobody reads any more. */
void stream_close(struct stream *);

#endif
