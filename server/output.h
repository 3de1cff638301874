/* What a worker has to send on one connection: answers copied into one buffer, and between them
 * values that are sent from their items.
 *
 * A worker has one output for the batch at hand and all its connections use it in turn; what the
 * socket did not take moves to an output of the connection's own (output_move()).
 *
 * Threads: owned by its worker. */
#ifndef SERVER_OUTPUT_H
#define SERVER_OUTPUT_H

#include "ring/slice.h"
#include <assert.h>
#include <stdint.h>
#include <sys/uio.h>

struct item;
struct store;

/* A long value inside the stream: `bytes` of `item` after `at` bytes of the buffer. */
struct output_value {
    size_t at;
    struct item *item; /* holds one reference */
    struct slice bytes;
};

struct output {
    struct store *store; /* whose items the values are */
    unsigned char *buffer;
    size_t used;     /* bytes written to the buffer */
    size_t capacity;
    struct output_value *values;
    unsigned value_count, value_capacity;
    uint64_t pending_bytes; /* buffer and values together, less what was sent */
    size_t sent_buffer;     /* of the buffer already sent */
    unsigned sent_values;   /* values wholly sent */
    size_t sent_in_value;   /* of the next value already sent */
    bool failed;            /* memory ran out: the connection has to close */
};

/* The most that output_reserve() can be asked for at once. */
#define OUTPUT_RESERVE_BYTES_MAX (64 * 1024)

/* An empty output with room for `capacity` bytes (may be 0).  False: memory is short. */
bool output_init(struct output *, struct store *, size_t capacity);
/* Lets go of all that was not sent. */
void output_deinit(struct output *);

/* output_reserve() when the buffer is too short. */
unsigned char *output_reserve_more(struct output *, size_t bytes);

/* Room for `bytes` at the end; output_commit() says how many of them were used.  Never NULL: when
 * memory is short, `failed` is set, and the room is at the start of the buffer, whose content is
 * lost; the connection then closes without sending it.  Only for outputs whose first capacity was
 * at least OUTPUT_RESERVE_BYTES_MAX, as the worker's is. */
static inline unsigned char *output_reserve(struct output *output, size_t bytes)
{
    if (output->capacity - output->used < bytes)
        return output_reserve_more(output, bytes);
    return output->buffer + output->used;
}

static inline void output_commit(struct output *output, size_t bytes)
{
    assert(bytes <= output->capacity - output->used);
    output->used += bytes;
    output->pending_bytes += bytes;
}

/* Appends a copy, of any size. */
void output_append(struct output *, struct slice);

/* A value sent from its item.  Takes the caller's reference (released here when memory is short). */
void output_append_value(struct output *, struct item *, struct slice bytes);

/* The next pieces to send, at most `count_max`. Returns how many. */
unsigned output_pieces(const struct output *, struct iovec *pieces, unsigned count_max);

/* `bytes` more were sent: lets go of the items behind them; all sent empties the output. */
void output_sent(struct output *, size_t bytes);

/* Moves all that is unsent from one to the other (which has its own unsent bytes before them), and
 * empties the one.  False when memory is short: `to` is as before. */
bool output_move(struct output *from, struct output *to);

/* Forgets all content, and frees the memory that an unusually large answer took. */
void output_clear(struct output *);

static inline bool output_is_empty(const struct output *output)
{
    return output->pending_bytes == 0;
}

#endif
