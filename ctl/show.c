/* ring, hints, config: what one node says, shown. */
#include "ctl/answer.h"
#include "ctl/command.h"
#include "ctl/print.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- ring --- */

static double share_of(const struct answer *answer, const char *node, const char *field)
{
    double partitions = answer_number(answer, NULL, "partitions");

    return partitions == 0 ? 0 : 100 * answer_number(answer, node, field) / partitions;
}

static void print_ring(const struct answer *answer)
{
    static const char *const head[] = {"node", "zone", ">weight", ">owned", ">first"};
    const char *nodes[ANSWER_NODES_MAX];
    unsigned count = answer_nodes(answer, nodes, ANSWER_NODES_MAX);
    struct table *table = malloc(sizeof *table);

    if (table == NULL)
        abort();
    printf("table %s by %s: %s partitions, %s copies each\n", answer_text(answer, NULL, "epoch"),
           answer_text(answer, NULL, "claimant"), answer_text(answer, NULL, "partitions"),
           answer_text(answer, NULL, "copies"));
    table_init(table, sizeof head / sizeof *head, head);
    for (unsigned i = 0; i < count; i++) {
        table_cell(table, "%s", nodes[i]);
        table_cell(table, "%s", answer_text(answer, nodes[i], "zone"));
        table_cell(table, "%s", answer_text(answer, nodes[i], "weight"));
        table_cell(table, "%s (%.1f %%)", answer_text(answer, nodes[i], "owned"),
                   share_of(answer, nodes[i], "owned"));
        table_cell(table, "%s (%.1f %%)", answer_text(answer, nodes[i], "first"),
                   share_of(answer, nodes[i], "first"));
    }
    table_print(table);
    free(table);
    printf("rows with owners in fewer zones than could be: %s, owners missing: %s\n",
           answer_text(answer, NULL, "zones_violated"),
           answer_text(answer, NULL, "owners_missing"));
}

static void print_owners(const struct answer *answer)
{
    printf("%s: partition %s (hash %s)\n", answer_text(answer, NULL, "key"),
           answer_text(answer, NULL, "partition"), answer_text(answer, NULL, "hash"));
    printf("  owners       %s\n", answer_text(answer, NULL, "owners"));
    printf("  then         %s\n", answer_text(answer, NULL, "fallbacks"));
    printf("  coordinator  %s\n", answer_text(answer, NULL, "coordinator"));
    if (answer_text(answer, NULL, "owners_down")[0] != '\0')
        printf("  down         %s\n", answer_text(answer, NULL, "owners_down"));
    if (answer_text(answer, NULL, "owners_warming")[0] != '\0')
        printf("  warming      %s\n", answer_text(answer, NULL, "owners_warming"));
}

static enum exit_code show_owners(struct wire *wire, const char *key, json_t *list)
{
    char command[300];
    struct answer answer;
    enum exit_code code;

    if (strlen(key) > 250 || strpbrk(key, " \t\r\n") != NULL || *key == '\0')
        return wire_blame(wire, EXIT_USAGE, "a key has 1 to 250 bytes and no spaces");
    snprintf(command, sizeof command, "cluster ring %s", key);
    code = answer_get(wire, command, &answer);
    if (code == EXIT_FINE && list != NULL)
        json_array_append_new(list, answer_to_json(&answer));
    else if (code == EXIT_FINE)
        print_owners(&answer);
    answer_free(&answer);
    return code;
}

/* Asks, and shows the answer as JSON or by `print`. */
static enum exit_code show(const struct options *options, struct wire *wire, const char *command,
                           void (*print)(const struct answer *))
{
    struct answer answer;
    enum exit_code code = answer_get(wire, command, &answer);

    if (code == EXIT_FINE && options->as_json)
        print_json(answer_to_json(&answer));
    else if (code == EXIT_FINE)
        print(&answer);
    answer_free(&answer);
    return code;
}

enum exit_code command_ring(const struct options *options, struct wire *wire, int count,
                            char **words)
{
    json_t *list = NULL;
    enum exit_code code = EXIT_FINE;

    if (count == 0)
        return show(options, wire, "cluster ring", print_ring);
    if (options->as_json)
        list = json_array();
    for (int i = 0; i < count && code == EXIT_FINE; i++)
        code = show_owners(wire, words[i], list);
    if (list != NULL && code == EXIT_FINE)
        print_json(list);
    else
        json_decref(list);
    return code;
}

/* --- hints --- */

static void print_hints(const struct answer *answer)
{
    static const char *const head[] = {"for", "seen", ">hints", ">oldest"};
    const char *nodes[ANSWER_NODES_MAX];
    unsigned count = answer_nodes(answer, nodes, ANSWER_NODES_MAX);
    char used[AMOUNT_BYTES], most[AMOUNT_BYTES];
    struct table *table = malloc(sizeof *table);

    if (table == NULL)
        abort();
    printf("%s holds %s hints, %s of %s\n", answer_text(answer, NULL, "node"),
           answer_text(answer, NULL, "hints"),
           print_amount(answer_number(answer, NULL, "hint_bytes"), used),
           print_amount(answer_number(answer, NULL, "hint_memory_bytes"), most));
    table_init(table, sizeof head / sizeof *head, head);
    for (unsigned i = 0; i < count; i++) {
        table_cell(table, "%s", nodes[i]);
        table_cell(table, "%s", answer_text(answer, nodes[i], "seen"));
        table_cell(table, "%s", answer_text(answer, nodes[i], "hints"));
        table_cell(table, "%.1f s", answer_number(answer, nodes[i], "oldest_ms") / 1000);
    }
    table_print(table);
    free(table);
}

enum exit_code command_hints(const struct options *options, struct wire *wire, int count,
                             char **words)
{
    (void)count;
    (void)words;
    return show(options, wire, "cluster hints", print_hints);
}

/* --- config --- */

/* "host|ip|port host|ip|port ..." */
static json_t *nodes_to_json(char *list)
{
    json_t *nodes = json_array();
    char *rest = NULL;

    for (char *one = strtok_r(list, " ", &rest); one != NULL; one = strtok_r(NULL, " ", &rest)) {
        char *ip = strchr(one, '|'), *port = ip == NULL ? NULL : strchr(ip + 1, '|');

        if (port == NULL)
            continue;
        *ip = *port = '\0';
        json_array_append_new(nodes, json_pack("{s:s, s:s, s:I}", "host", one, "ip", ip + 1, "port",
                                               (json_int_t)strtol(port + 1, NULL, 10)));
    }
    return nodes;
}

static enum exit_code print_config(const struct options *options, struct wire *wire, char *version)
{
    char *list = strchr(version, '\n'), *end;

    end = list == NULL ? NULL : strchr(list + 1, '\n');
    if (end == NULL)
        return wire_blame(wire, EXIT_REFUSED, "%s gave a node list without nodes", wire->server);
    *list = *end = '\0';
    if (options->as_json)
        print_json(json_pack("{s:I, s:o}", "version", (json_int_t)strtoll(version, NULL, 10),
                             "nodes", nodes_to_json(list + 1)));
    else
        printf("version %s\n%s\n", version, list + 1);
    return EXIT_FINE;
}

enum exit_code command_config(const struct options *options, struct wire *wire, int count,
                              char **words)
{
    unsigned long size;
    char *line, *block;
    enum exit_code code = wire_ask(wire, "config get cluster", &line);

    (void)count;
    (void)words;
    if (code != EXIT_FINE)
        return code;
    if (sscanf(line, "CONFIG cluster 0 %lu", &size) != 1)
        return wire_blame(wire, EXIT_REFUSED, "%s says: %s", wire->server, line);
    code = wire_block(wire, size, &block);
    if (code != EXIT_FINE)
        return code;
    block[size] = '\0';
    return print_config(options, wire, block);
}
