#include "ring/trace.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

void ring_trace_clear(struct ring_trace *trace)
{
    trace->used = 0;
    trace->text[0] = '\0';
}

void ring_trace_say(struct ring_trace *trace, const char *format, ...)
{
    va_list arguments;

    if (trace == NULL)
        return;
    assert(trace->used < RING_TRACE_BYTES);
    size_t room = RING_TRACE_BYTES - trace->used;
    va_start(arguments, format);
    int bytes = vsnprintf(trace->text + trace->used, room, format, arguments);
    va_end(arguments);
    if (bytes < 0 || (size_t)bytes + 1 >= room) { /* no room for it and its newline */
        trace->text[trace->used] = '\0';
        return;
    }
    trace->used += (size_t)bytes;
    trace->text[trace->used++] = '\n';
    trace->text[trace->used] = '\0';
    assert(trace->used < RING_TRACE_BYTES);
}
