#include "server/listen_address.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is still unread of one address, and where to complain about it. */
struct reader {
    char *rest;
    char *complaint;
    size_t complaint_bytes;
};

static bool complain(struct reader *reader, const char *what)
{
    snprintf(reader->complaint, reader->complaint_bytes, "%s", what);
    return false;
}

/* Takes `prefix` from the front. */
static bool accept(struct reader *reader, const char *prefix)
{
    size_t size = strlen(prefix);
    if (strncmp(reader->rest, prefix, size) != 0)
        return false;
    reader->rest += size;
    return true;
}

/* Takes `name` and a value in brackets with a colon behind, as `tag[one]:`, or, for shells that
 * mind brackets, `tag_one_:`.  Gives the value, cut off, or NULL if this is something else. */
static char *accept_bracketed(struct reader *reader, const char *name)
{
    size_t size = strlen(name);
    char *value = reader->rest + size + 1;

    if (strncmp(reader->rest, name, size) != 0)
        return NULL;
    char open = reader->rest[size];
    if (open != '[' && open != '_')
        return NULL;
    char *end = strchr(value, open == '[' ? ']' : '_');
    if (end == NULL || end[1] != ':')
        return NULL;
    *end = '\0';
    reader->rest = end + 2;
    return value;
}

static bool read_protocol(struct reader *reader, const char *name, struct listen_address *address)
{
    static const struct {
        const char *name;
        enum listen_protocol protocol;
    } protocols[] = {
        { "ascii", LISTEN_ASCII },
        { "binary", LISTEN_BINARY },
        { "negotiating", LISTEN_NEGOTIATING },
    };

    for (unsigned i = 0; i < sizeof protocols / sizeof *protocols; i++) {
        if (strcmp(protocols[i].name, name) == 0) {
            address->protocol = protocols[i].protocol;
            address->protocol_given = true;
            return true;
        }
    }
    return complain(reader, "unknown protocol (there are ascii, binary, negotiating)");
}

static bool read_prefixes(struct reader *reader, struct listen_address *address)
{
    char *value;

    for (;;) {
        if (accept(reader, "notls:")) {
            address->tls = LISTEN_TLS_OFF;
        } else if (accept(reader, "btls:")) {
            address->tls = LISTEN_TLS_ON;
        } else if (accept(reader, "mtls:")) {
            address->tls = LISTEN_TLS_MUTUAL;
        } else if ((value = accept_bracketed(reader, "proto")) != NULL) {
            if (!read_protocol(reader, value, address))
                return false;
        } else if ((value = accept_bracketed(reader, "tag")) != NULL) {
            size_t size = strlen(value);
            if (size < 1 || size >= sizeof address->tag)
                return complain(reader, "a tag must have 1 to 8 characters");
            memcpy(address->tag, value, size + 1);
        } else {
            return true;
        }
    }
}

static bool read_port(struct reader *reader, const char *text, struct listen_address *address)
{
    char *end;
    long port = strtol(text, &end, 10);

    if (*text == '\0' || *end != '\0' || port < -1 || port > 65535)
        return complain(reader, "invalid port number");
    address->port = (int)port;
    return true;
}

static bool read_host_and_port(struct reader *reader, struct listen_address *address)
{
    char *host = reader->rest;
    char *port = NULL;

    if (*host == '[') {
        char *end = strchr(++host, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':'))
            return complain(reader, "invalid IPv6 address");
        port = end[1] == ':' ? end + 2 : NULL;
        *end = '\0';
    } else {
        char *colon = strchr(host, ':');
        if (colon != NULL && strchr(colon + 1, ':') == NULL) { /* else a bare IPv6 address */
            *colon = '\0';
            port = colon + 1;
        }
    }
    if (port != NULL && !read_port(reader, port, address))
        return false;
    if (*host == '\0')
        return complain(reader, "no address (for every address say *)");
    if (strcmp(host, "*") == 0)
        return true;
    address->host = strdup(host);
    return address->host != NULL || complain(reader, "out of memory");
}

static bool add_one(struct settings *s, struct reader *reader)
{
    if (s->listen_count == LISTEN_MAX)
        return complain(reader, "more than 64 addresses");

    struct listen_address *address = &s->listen[s->listen_count];
    *address = (struct listen_address){ .host = NULL };
    if (!read_prefixes(reader, address) || !read_host_and_port(reader, address))
        return false;
    s->listen_count++;
    return true;
}

/* Keeps what was given for `stats settings`. */
static bool add_text(struct settings *s, const char *text)
{
    char *joined;

    if (asprintf(&joined, "%s%s%s", s->listen_text != NULL ? s->listen_text : "",
                 s->listen_text != NULL ? "," : "", text) < 0)
        return false;
    free(s->listen_text);
    s->listen_text = joined;
    return true;
}

bool listen_addresses_add(struct settings *s, const char *text, char *complaint,
                          size_t complaint_bytes)
{
    char *copy = strdup(text), *state = NULL;
    struct reader reader = { .complaint = complaint, .complaint_bytes = complaint_bytes };
    const unsigned count = s->listen_count;
    bool is_ok = copy != NULL && add_text(s, text);

    if (!is_ok)
        complain(&reader, "out of memory");
    for (char *one = is_ok ? strtok_r(copy, ",;", &state) : NULL; one != NULL && is_ok;
         one = strtok_r(NULL, ",;", &state)) {
        reader.rest = one;
        is_ok = add_one(s, &reader);
    }
    free(copy);
    if (is_ok && s->listen_count == count)
        is_ok = complain(&reader, "names no address");
    return is_ok;
}
