/* `stats conns`: what listens, and who is connected. */
#include "server/listener.h"
#include "server/stats.h"
#include <stdio.h>

static void name_of(char *name, size_t capacity, const struct connection_description *description,
                    const char *field)
{
    snprintf(name, capacity, "%d:%s", description->fd, field);
}

static void list_connection(void *context, const struct connection_description *description)
{
    const struct stats_writer *writer = context;
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
    struct stats_writer copy = *writer;

    listeners_visit(list_connection, &copy);
    workers_visit_connections(list_connection, &copy);
}
