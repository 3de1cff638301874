#include "server/output.h"
#include "server/store.h"
#include <stdlib.h>

/* After an answer that needed more than this the buffer shrinks again. */
#define OUTPUT_KEPT_BYTES_MAX (1024 * 1024)

bool output_init(struct output *output, struct store *store, size_t capacity)
{
    *output = (struct output){ .store = store };
    if (capacity == 0)
        return true;
    output->buffer = malloc(capacity);
    if (output->buffer == NULL)
        return false;
    output->capacity = capacity;
    return true;
}

static void drop_values(struct output *output)
{
    for (unsigned i = output->sent_values; i < output->value_count; i++)
        item_unref(output->store, output->values[i].item);
    output->value_count = 0;
    output->sent_values = 0;
    output->sent_in_value = 0;
}

static void drop_content(struct output *output)
{
    drop_values(output);
    output->used = 0;
    output->sent_buffer = 0;
    output->pending_bytes = 0;
}

void output_clear(struct output *output)
{
    drop_content(output);
    output->failed = false;
    if (output->capacity <= OUTPUT_KEPT_BYTES_MAX)
        return;
    unsigned char *smaller = realloc(output->buffer, OUTPUT_KEPT_BYTES_MAX);
    if (smaller == NULL)
        return;
    output->buffer = smaller;
    output->capacity = OUTPUT_KEPT_BYTES_MAX;
}

void output_deinit(struct output *output)
{
    drop_content(output);
    free(output->values);
    free(output->buffer);
    *output = (struct output){ .store = output->store };
}

/* Makes room for `bytes` more. */
static bool grow(struct output *output, size_t bytes)
{
    if (bytes > SIZE_MAX / 2 - output->used)
        return false;
    size_t needed = output->used + bytes;
    size_t capacity = output->capacity > 0 ? output->capacity : needed;
    while (capacity < needed)
        capacity *= 2;
    unsigned char *larger = realloc(output->buffer, capacity);
    if (larger == NULL)
        return false;
    output->buffer = larger;
    output->capacity = capacity;
    return true;
}

unsigned char *output_reserve_more(struct output *output, size_t bytes)
{
    assert(bytes <= OUTPUT_RESERVE_BYTES_MAX);
    if (!grow(output, bytes)) {
        drop_content(output);
        output->failed = true;
        assert(output->capacity >= bytes);
    }
    return output->buffer + output->used;
}

void output_append(struct output *output, struct slice bytes)
{
    if (bytes.size == 0)
        return;
    if (output->capacity - output->used < bytes.size && !grow(output, bytes.size)) {
        output->failed = true;
        return;
    }
    memcpy(output->buffer + output->used, bytes.bytes, bytes.size);
    output_commit(output, bytes.size);
}

static bool grow_values(struct output *output)
{
    unsigned capacity = output->value_capacity > 0 ? output->value_capacity * 2 : 8;
    struct output_value *values = realloc(output->values, capacity * sizeof *values);
    if (values == NULL)
        return false;
    output->values = values;
    output->value_capacity = capacity;
    return true;
}

void output_append_value(struct output *output, struct item *item, struct slice bytes)
{
    assert(bytes.size > 0);
    if (output->value_count == output->value_capacity && !grow_values(output)) {
        output->failed = true;
        item_unref(output->store, item);
        return;
    }
    output->values[output->value_count++] =
        (struct output_value){ .at = output->used, .item = item, .bytes = bytes };
    output->pending_bytes += bytes.size;
}

unsigned output_pieces(const struct output *output, struct iovec *pieces, unsigned count_max)
{
    unsigned count = 0;
    size_t at = output->sent_buffer;
    size_t skip = output->sent_in_value;

    for (unsigned i = output->sent_values; count < count_max; i++) {
        bool is_value_left = i < output->value_count;
        size_t end = is_value_left ? output->values[i].at : output->used;
        if (end > at) {
            pieces[count++] = (struct iovec){ output->buffer + at, end - at };
            at = end;
        }
        if (!is_value_left || count == count_max)
            break;
        struct slice value = output->values[i].bytes;
        /* writev takes no pointer to const, but only reads */
        pieces[count++] = (struct iovec){ (void *)(uintptr_t)(value.bytes + skip),
                                          value.size - skip };
        skip = 0;
    }
    return count;
}

/* How much of `bytes` was of the buffer, up to the next value. */
static size_t take_from_buffer(struct output *output, size_t bytes)
{
    size_t end = output->sent_values < output->value_count
                     ? output->values[output->sent_values].at
                     : output->used;
    size_t taken = end - output->sent_buffer;
    if (taken > bytes)
        taken = bytes;
    output->sent_buffer += taken;
    return taken;
}

/* The same for the next value. */
static size_t take_from_value(struct output *output, size_t bytes)
{
    const struct output_value *value = &output->values[output->sent_values];
    size_t left = value->bytes.size - output->sent_in_value;
    if (bytes < left) {
        output->sent_in_value += bytes;
        return bytes;
    }
    item_unref(output->store, value->item);
    output->sent_values++;
    output->sent_in_value = 0;
    return left;
}

void output_sent(struct output *output, size_t bytes)
{
    assert(bytes <= output->pending_bytes);
    output->pending_bytes -= bytes;
    if (output->pending_bytes == 0) {
        output_clear(output);
        return;
    }
    while (bytes > 0) {
        bytes -= take_from_buffer(output, bytes);
        if (bytes > 0)
            bytes -= take_from_value(output, bytes);
    }
}

/* Forgets what is sent already, so that moving into `output` finds room before it grows. */
static void compact(struct output *output)
{
    size_t sent = output->sent_buffer;
    unsigned left = output->value_count - output->sent_values;

    if (sent > 0)
        memmove(output->buffer, output->buffer + sent, output->used - sent);
    output->used -= sent;
    output->sent_buffer = 0;
    for (unsigned i = 0; i < left; i++) {
        output->values[i] = output->values[output->sent_values + i];
        output->values[i].at -= sent;
    }
    output->value_count = left;
    output->sent_values = 0;
}

bool output_move(struct output *from, struct output *to)
{
    assert(from->store == to->store);
    compact(from);
    compact(to);
    if (to->capacity - to->used < from->used && !grow(to, from->used))
        return false;
    while (to->value_capacity - to->value_count < from->value_count)
        if (!grow_values(to))
            return false;

    /* A value that was sent in part can only come first. */
    assert(from->sent_in_value == 0 || to->pending_bytes == 0);
    to->sent_in_value += from->sent_in_value;
    for (unsigned i = 0; i < from->value_count; i++) {
        to->values[to->value_count] = from->values[i];
        to->values[to->value_count].at += to->used;
        to->value_count++;
    }
    if (from->used > 0)
        memcpy(to->buffer + to->used, from->buffer, from->used);
    to->used += from->used;
    to->pending_bytes += from->pending_bytes;

    from->value_count = 0; /* their references are now those of `to` */
    output_clear(from);
    return true;
}
