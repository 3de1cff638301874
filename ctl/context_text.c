#include "ctl/context_text.h"

#include "protocol/base64.h"
#include "protocol/operation.h"
#include "ring/context.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NAME_BYTES 64
#define TIME_BYTES 64

/* Not judged by its sum, as only the servers can. */
static bool decode(struct context *context, const char *text)
{
    unsigned char bytes[CONTEXT_BYTES_MAX];
    size_t size;

    context_clear(context);
    if (text[0] != '@')
        return false;
    if (!base64_decode(BASE64_URL,
                       (struct slice){(const unsigned char *)text + 1, strlen(text + 1)}, bytes,
                       sizeof bytes, &size))
        return false;
    if (size == 0)
        return true;
    if (size <= CONTEXT_SUM_BYTES)
        return false;
    return context_decode(context, (struct slice){bytes, size - CONTEXT_SUM_BYTES},
                          CONTEXT_CLIENT_MAX) == size - CONTEXT_SUM_BYTES;
}

/* The node's name where it is known, else its number. */
static void name_node(char name[NAME_BYTES], node_id id, const struct answer *status)
{
    const char *nodes[ANSWER_NODES_MAX];
    unsigned count = answer_nodes(status, nodes, ANSWER_NODES_MAX);

    snprintf(name, NAME_BYTES, "%016" PRIx64, id);
    for (unsigned i = 0; i < count; i++)
        if (strcmp(answer_text(status, nodes[i], "id"), name) == 0) {
            snprintf(name, NAME_BYTES, "%s", nodes[i]);
            return;
        }
    if (id == NODE_ANY)
        strcpy(name, "any");
}

static void format_time(char text[TIME_BYTES], hlc_time hlc)
{
    time_t seconds = (time_t)(hlc_ms(hlc) / 1000);
    struct tm broken;
    size_t size;

    gmtime_r(&seconds, &broken);
    size = strftime(text, TIME_BYTES, "%Y-%m-%d %H:%M:%S", &broken);
    snprintf(text + size, TIME_BYTES - size, ".%03u", (unsigned)(hlc_ms(hlc) % 1000));
}

void context_print(FILE *out, const char *title, const char *text, const struct answer *status)
{
    struct context context;
    char name[NAME_BYTES], time_text[TIME_BYTES];

    if (!decode(&context, text)) {
        fprintf(out, "%s%s, which is no context of this version\n", title, text);
        return;
    }
    if (context.count == 0)
        fprintf(out, "%snothing\n", title);
    for (unsigned i = 0; i < context.count; i++) {
        const struct interval *interval = &context.intervals[i];

        name_node(name, interval->node, status);
        format_time(time_text, interval->last);
        fprintf(out, "%*s%s:%" PRIu64 "..%" PRIu64 " (until %s)\n", (int)strlen(title),
                i == 0 ? title : "", name, interval->first, interval->last, time_text);
    }
}

json_t *context_to_json(const char *text, const struct answer *status)
{
    struct context context;
    char name[NAME_BYTES], time_text[TIME_BYTES];
    json_t *seen;

    if (!decode(&context, text))
        return json_null();
    seen = json_array();
    for (unsigned i = 0; i < context.count; i++) {
        const struct interval *interval = &context.intervals[i];

        name_node(name, interval->node, status);
        format_time(time_text, interval->last);
        json_array_append_new(seen, json_pack("{s:s, s:I, s:I, s:s}", "node", name, "first",
                                              (json_int_t)interval->first, "last",
                                              (json_int_t)interval->last, "until", time_text));
    }
    return seen;
}
