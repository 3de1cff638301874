#include "server/report.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 4096

void report_init(struct report *report)
{
    *report = (struct report){0};
}

void report_deinit(struct report *report)
{
    free(report->bytes);
    *report = (struct report){0};
}

/* Room for that many bytes more; NULL, and it is remembered, if there is none. */
static char *reserve(struct report *report, size_t bytes)
{
    if (report->room - report->used < bytes) {
        size_t room =
            2 * (report->room + bytes) < FIRST_ROOM ? FIRST_ROOM : 2 * (report->room + bytes);
        char *more = realloc(report->bytes, room);

        if (more == NULL) {
            report->is_short_of_memory = true;
            return NULL;
        }
        report->bytes = more;
        report->room = room;
    }
    return report->bytes + report->used;
}

void report_text(struct report *report, const char *node, const char *name, const char *value)
{
    size_t node_bytes = node == NULL ? 0 : strlen(node) + 1; /* its colon included */
    size_t name_bytes = strlen(name) + 1, value_bytes = strlen(value) + 1;
    char *out = reserve(report, node_bytes + name_bytes + value_bytes);

    if (out == NULL)
        return;
    if (node != NULL) {
        memcpy(out, node, node_bytes - 1);
        out[node_bytes - 1] = ':';
    }
    memcpy(out + node_bytes, name, name_bytes);
    memcpy(out + node_bytes + name_bytes, value, value_bytes);
    report->used += node_bytes + name_bytes + value_bytes;
}

void report_format(struct report *report, const char *node, const char *name, const char *format,
                   ...)
{
    char value[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(value, sizeof value, format, arguments);
    va_end(arguments);
    report_text(report, node, name, value);
}

void report_u64(struct report *report, const char *node, const char *name, uint64_t value)
{
    report_format(report, node, name, "%" PRIu64, value);
}

void report_bool(struct report *report, const char *node, const char *name, bool value)
{
    report_text(report, node, name, value ? "yes" : "no");
}

__attribute__((format(printf, 3, 0))) static void set_error(struct report *report, const char *kind,
                                                            const char *format, va_list arguments)
{
    size_t used = (size_t)snprintf(report->error, sizeof report->error, "%s ", kind);

    vsnprintf(report->error + used, sizeof report->error - used, format, arguments);
}

void report_client_error(struct report *report, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    set_error(report, "CLIENT_ERROR", format, arguments);
    va_end(arguments);
}

void report_server_error(struct report *report, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    set_error(report, "SERVER_ERROR", format, arguments);
    va_end(arguments);
}

void report_visit(const struct report *report,
                  void (*visit)(void *context, const char *name, const char *value), void *context)
{
    size_t at = 0;

    while (at < report->used) {
        const char *name = report->bytes + at;
        const char *value = name + strlen(name) + 1;

        at += strlen(name) + strlen(value) + 2;
        visit(context, name, value);
    }
}

const char *report_find(const struct report *report, const char *name)
{
    size_t at = 0;

    while (at < report->used) {
        const char *found = report->bytes + at;
        const char *value = found + strlen(found) + 1;

        if (strcmp(found, name) == 0)
            return value;
        at += strlen(found) + strlen(value) + 2;
    }
    return NULL;
}
