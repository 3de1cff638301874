/* `stats conns`: what listens, and who is connected, in the order of their descriptors: the last is
 * often the one that asks. */
#include "server/listener.h"
#include "server/log.h"
#include "server/stats.h"
#include <stdio.h>
#include <stdlib.h>

struct list {
    struct connection_description *rows;
    size_t count, room;
    bool is_short; /* of memory */
};

static void add_row(void *context, const struct connection_description *description)
{
    struct list *list = context;

    if (list->count == list->room) {
        const size_t room = list->room == 0 ? 64 : list->room * 2;
        struct connection_description *rows = realloc(list->rows, room * sizeof *rows);
        if (rows == NULL) {
            list->is_short = true;
            return;
        }
        list->rows = rows;
        list->room = room;
    }
    list->rows[list->count++] = *description;
}

static int compare_rows(const void *left, const void *right)
{
    const struct connection_description *a = left, *b = right;

    return (a->fd > b->fd) - (a->fd < b->fd);
}

static void name_of(char *name, size_t capacity, const struct connection_description *description,
                    const char *field)
{
    snprintf(name, capacity, "%d:%s", description->fd, field);
}

static void write_row(const struct stats_writer *writer,
                      const struct connection_description *description)
{
    char name[48];

    if (description->is_udp) {
        name_of(name, sizeof name, description, "UDP");
        stats_text(writer, name, "UDP");
    }
    name_of(name, sizeof name, description, "addr");
    stats_text(writer, name, description->address);
    if (description->listen_address[0] != 0) {
        name_of(name, sizeof name, description, "listen_addr");
        stats_text(writer, name, description->listen_address);
    }
    name_of(name, sizeof name, description, "state");
    stats_text(writer, name, description->state);
    name_of(name, sizeof name, description, "secs_since_last_cmd");
    stats_u64(writer, name, description->seconds_since_last_command);
}

void stats_conns(const struct stats_writer *writer)
{
    struct list list = { 0 };

    listeners_visit(add_row, &list);
    workers_visit_connections(add_row, &list);
    if (list.is_short)
        log_warning("out of memory: stats conns lists only %zu connections", list.count);
    if (list.count > 0)
        qsort(list.rows, list.count, sizeof *list.rows, compare_rows);
    for (size_t i = 0; i < list.count; i++)
        write_row(writer, &list.rows[i]);
    free(list.rows);
}
