#include "ctl/answer.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 64

/* Takes a line apart, which is "[NODE:]NAME VALUE". */
static bool add(struct answer *answer, const char *line)
{
    size_t size = strcspn(line, " ");
    const char *colon = memrchr(line, ':', size);
    const char *name = colon == NULL ? line : colon + 1;
    struct answer_pair *pair;

    if (answer->count == answer->room) {
        unsigned room = answer->room == 0 ? FIRST_ROOM : 2 * answer->room;
        struct answer_pair *pairs = realloc(answer->pairs, room * sizeof *pairs);

        if (pairs == NULL)
            return false;
        answer->pairs = pairs;
        answer->room = room;
    }
    pair = &answer->pairs[answer->count++];
    pair->node = colon == NULL ? NULL : strndup(line, (size_t)(colon - line));
    pair->name = strndup(name, (size_t)(line + size - name));
    pair->value = strdup(line[size] == ' ' ? line + size + 1 : "");
    return (colon == NULL || pair->node != NULL) && pair->name != NULL && pair->value != NULL;
}

void answer_free(struct answer *answer)
{
    for (unsigned i = 0; i < answer->count; i++) {
        free(answer->pairs[i].node);
        free(answer->pairs[i].name);
        free(answer->pairs[i].value);
    }
    free(answer->pairs);
    *answer = (struct answer){0};
}

static enum exit_code refuse(struct wire *wire, const char *line)
{
    static const char *const prefixes[] = {"CLIENT_ERROR ", "SERVER_ERROR "};

    if (strcmp(line, "ERROR") == 0)
        return wire_blame(wire, EXIT_REFUSED,
                          "%s does not know this command: is it a ringcached of this version?",
                          wire->server);
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(line, prefixes[i], strlen(prefixes[i])) == 0)
            line += strlen(prefixes[i]);
    return wire_blame(wire, EXIT_REFUSED, "%s says: %s", wire->server, line);
}

enum exit_code answer_get(struct wire *wire, const char *command, struct answer *answer)
{
    char *line;
    enum exit_code code = wire_ask(wire, command, &line);

    *answer = (struct answer){0};
    while (code == EXIT_FINE && strcmp(line, "END") != 0) {
        if (strncmp(line, "STAT ", 5) != 0)
            return refuse(wire, line);
        if (!add(answer, line + 5))
            return wire_blame(wire, EXIT_UNREACHABLE, "no memory for an answer of %s",
                              wire->server);
        code = wire_line(wire, &line);
    }
    return code;
}

static bool is_of(const struct answer_pair *pair, const char *node)
{
    if (node == NULL || pair->node == NULL)
        return node == pair->node;
    return strcmp(node, pair->node) == 0;
}

const char *answer_find(const struct answer *answer, const char *node, const char *name)
{
    for (unsigned i = 0; i < answer->count; i++)
        if (is_of(&answer->pairs[i], node) && strcmp(answer->pairs[i].name, name) == 0)
            return answer->pairs[i].value;
    return NULL;
}

const char *answer_text(const struct answer *answer, const char *node, const char *name)
{
    const char *value = answer_find(answer, node, name);

    return value == NULL ? "-" : value;
}

double answer_number(const struct answer *answer, const char *node, const char *name)
{
    const char *value = answer_find(answer, node, name);

    return value == NULL ? 0 : strtod(value, NULL);
}

bool answer_is(const struct answer *answer, const char *node, const char *name)
{
    const char *value = answer_find(answer, node, name);

    return value != NULL && strcmp(value, "yes") == 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

unsigned answer_nodes(const struct answer *answer, const char **nodes, unsigned room)
{
    unsigned count = 0;

    /* All lines of a node stand together, but the nodes in no order that means anything. */
    for (unsigned i = 0; i < answer->count && count < room; i++) {
        const char *node = answer->pairs[i].node;

        if (node != NULL && (count == 0 || strcmp(node, nodes[count - 1]) != 0))
            nodes[count++] = node;
    }
    qsort(nodes, count, sizeof *nodes, compare_names);
    return count;
}

/* What is text even if it looks like a number, as a name may, and what is a list of names. */
static bool is_among(const char *name, const char *const *names)
{
    while (*names != NULL && strcmp(*names, name) != 0)
        names++;
    return *names != NULL;
}

static const char *const texts[] = {"node",    "node_id",      "id",  "claimant", "zone",
                                    "address", "peer_address", "key", "hash",     "coordinator",
                                    NULL};
static const char *const lists[] = {"owners", "fallbacks", "owners_down", "owners_warming", NULL};

static json_t *list_to_json(const char *text)
{
    json_t *list = json_array();

    while (*text != '\0') {
        size_t size = strcspn(text, " ");

        json_array_append_new(list, json_stringn(text, size));
        text += size;
        text += strspn(text, " ");
    }
    return list;
}

/* Numbers as numbers, yes and no as true and false, all else as text. */
static json_t *value_to_json(const char *name, const char *text)
{
    char *end;
    long long whole;

    if (is_among(name, lists))
        return list_to_json(text);
    if (is_among(name, texts))
        return json_string(text);
    if (strcmp(text, "yes") == 0 || strcmp(text, "no") == 0)
        return json_boolean(text[0] == 'y');
    errno = 0;
    whole = strtoll(text, &end, 10);
    if (end != text && *end == '\0' && errno == 0)
        return json_integer(whole);
    return json_string(text);
}

json_t *answer_to_json(const struct answer *answer)
{
    json_t *all = json_object(), *nodes = NULL;

    for (unsigned i = 0; i < answer->count; i++) {
        const struct answer_pair *pair = &answer->pairs[i];
        json_t *value = value_to_json(pair->name, pair->value), *node;

        if (pair->node == NULL) {
            json_object_set_new(all, pair->name, value);
            continue;
        }
        if (nodes == NULL) {
            nodes = json_object();
            json_object_set_new(all, "nodes", nodes);
        }
        node = json_object_get(nodes, pair->node);
        if (node == NULL) {
            node = json_object();
            json_object_set_new(nodes, pair->node, node);
        }
        json_object_set_new(node, pair->name, value);
    }
    return all;
}
