#include "server/stream.h"
#include "server/worker.h"
#include <stdatomic.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NOTE_BYTES_MAX 32 /* "skipped=", twenty digits and the ends */

/* A ring buffer.  Who may touch which field:
 *   [I] never changes   [A] anyone, atomically   [L] whoever holds `lock` */
struct stream {
    pthread_mutex_t lock;
    atomic_uint references; /* [A] */
    struct worker *worker;  /* [I] outlives the stream's being open */
    size_t capacity;        /* [I] */
    size_t start, used;     /* [L] */
    uint64_t skipped;       /* [L] lines refused since the last that fit */
    bool is_closed;         /* [L] */
    unsigned char bytes[];  /* [L] */
};

struct stream *stream_new(struct worker *worker, size_t bytes_max)
{
    assert(bytes_max >= NOTE_BYTES_MAX);
    struct stream *stream = malloc(sizeof *stream + bytes_max);
    if (stream == NULL)
        return NULL;
    *stream = (struct stream){ .worker = worker, .capacity = bytes_max };
    pthread_mutex_init(&stream->lock, NULL);
    atomic_init(&stream->references, 1);
    return stream;
}

void stream_ref(struct stream *stream)
{
    unsigned before = atomic_fetch_add(&stream->references, 1);
    assert(before > 0);
}

void stream_unref(struct stream *stream)
{
    unsigned before = atomic_fetch_sub(&stream->references, 1);
    assert(before > 0);
    if (before > 1)
        return;
    pthread_mutex_destroy(&stream->lock);
    free(stream);
}

/* Lock held; there is room. */
static void put(struct stream *stream, struct slice bytes)
{
    size_t end = (stream->start + stream->used) % stream->capacity;
    size_t first = stream->capacity - end;
    if (first > bytes.size)
        first = bytes.size;
    memcpy(stream->bytes + end, bytes.bytes, first);
    memcpy(stream->bytes, bytes.bytes + first, bytes.size - first);
    stream->used += bytes.size;
}

/* Tells the reader what it missed.  Lock held; there is room. */
static void put_note(struct stream *stream)
{
    char note[NOTE_BYTES_MAX];
    int bytes = snprintf(note, sizeof note, "skipped=%" PRIu64 "\n", stream->skipped);

    put(stream, (struct slice){ (unsigned char *)note, (size_t)bytes });
    stream->skipped = 0;
}

enum stream_append_result stream_append(struct stream *stream, struct slice line)
{
    enum stream_append_result result = STREAM_APPENDED;

    pthread_mutex_lock(&stream->lock);
    if (stream->is_closed) {
        result = STREAM_CLOSED;
    } else if (line.size + (stream->skipped > 0 ? NOTE_BYTES_MAX : 0) >
               stream->capacity - stream->used) {
        stream->skipped++;
        result = STREAM_FULL;
    } else if (line.size > 0) {
        bool was_empty = stream->used == 0;
        if (stream->skipped > 0)
            put_note(stream);
        put(stream, line);
        /* Under the lock: the worker may end once the stream is closed. */
        if (was_empty)
            worker_wake(stream->worker);
    }
    pthread_mutex_unlock(&stream->lock);
    return result;
}

/* Lock held. */
static size_t take(struct stream *stream, unsigned char *out, size_t bytes_max)
{
    size_t taken = stream->used < bytes_max ? stream->used : bytes_max;
    size_t first = stream->capacity - stream->start;
    if (first > taken)
        first = taken;
    memcpy(out, stream->bytes + stream->start, first);
    memcpy(out + first, stream->bytes, taken - first);
    stream->start = (stream->start + taken) % stream->capacity;
    stream->used -= taken;
    return taken;
}

size_t stream_take(struct stream *stream, unsigned char *out, size_t bytes_max)
{
    pthread_mutex_lock(&stream->lock);
    size_t taken = take(stream, out, bytes_max);
    /* A reader that caught up is told at once: there may be no next line for long. */
    if (stream->skipped > 0 && stream->used == 0) {
        put_note(stream);
        taken += take(stream, out + taken, bytes_max - taken);
    }
    pthread_mutex_unlock(&stream->lock);
    return taken;
}

void stream_close(struct stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    stream->is_closed = true;
    pthread_mutex_unlock(&stream->lock);
}
