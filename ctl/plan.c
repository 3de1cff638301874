/* plan, commit: what an operator wants to change, what that would move, and then doing it. */
#include "ctl/answer.h"
#include "ctl/command.h"
#include "ctl/print.h"
#include "ctl/wait.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMMAND_BYTES_MAX 1024

static void print_acts(const struct answer *answer)
{
    unsigned acts = (unsigned)answer_number(answer, NULL, "acts");
    char name[32];

    if (acts == 0)
        puts("nothing is planned; what is under way:");
    for (unsigned i = 1; i <= acts; i++) {
        snprintf(name, sizeof name, "act_%u", i);
        printf("%u. %s\n", i, answer_text(answer, NULL, name));
    }
}

static void print_before_after(const struct answer *answer, const char *what, const char *name,
                               double unit)
{
    char before[64], after[64];

    snprintf(before, sizeof before, "%s_before", name);
    snprintf(after, sizeof after, "%s_after", name);
    printf("  %-44s %8g -> %g\n", what, answer_number(answer, NULL, before) / unit,
           answer_number(answer, NULL, after) / unit);
}

static void print_nodes(const struct answer *answer)
{
    static const char *const head[] = {"node", ">owned", "",       ">first",
                                       "",     ">gains", ">loses", ">bytes gained"};
    const char *nodes[ANSWER_NODES_MAX];
    unsigned count = answer_nodes(answer, nodes, ANSWER_NODES_MAX);
    struct table *table = malloc(sizeof *table);
    char bytes[AMOUNT_BYTES];

    if (table == NULL)
        abort();
    table_init(table, sizeof head / sizeof *head, head);
    for (unsigned i = 0; i < count; i++) {
        table_cell(table, "%s", nodes[i]);
        table_cell(table, "%s", answer_text(answer, nodes[i], "owned_before"));
        table_cell(table, "-> %s", answer_text(answer, nodes[i], "owned_after"));
        table_cell(table, "%s", answer_text(answer, nodes[i], "first_before"));
        table_cell(table, "-> %s", answer_text(answer, nodes[i], "first_after"));
        table_cell(table, "%s", answer_text(answer, nodes[i], "gained"));
        table_cell(table, "%s", answer_text(answer, nodes[i], "lost"));
        table_cell(table, "%s",
                   print_amount(answer_number(answer, nodes[i], "bytes_gained"), bytes));
    }
    table_print(table);
    free(table);
}

static void print_plan(const struct answer *answer)
{
    char bytes[AMOUNT_BYTES];

    print_acts(answer);
    printf("moves %s partitions, about %s, in %s steps; %s change their first owner\n",
           answer_text(answer, NULL, "partitions_moved"),
           print_amount(answer_number(answer, NULL, "bytes_moved"), bytes),
           answer_text(answer, NULL, "tables"), answer_text(answer, NULL, "first_moved"));
    print_before_after(answer, "fullest node, of its share", "peak_permille", 1000);
    print_before_after(answer, "the same of first owners", "peak_first_permille", 1000);
    print_before_after(answer, "partitions in fewer zones than could be", "zones_violated", 1);
    print_before_after(answer, "owners missing", "owners_missing", 1);
    print_nodes(answer);
}

enum exit_code command_plan(const struct options *options, struct wire *wire, int count,
                            char **words)
{
    char command[COMMAND_BYTES_MAX] = "cluster plan";
    struct answer answer;
    enum exit_code code;

    for (int i = 0; i < count; i++) {
        size_t used = strlen(command);

        if (words[i][0] == '\0' || strpbrk(words[i], " \t\r\n") != NULL ||
            strlen(words[i]) + 2 > sizeof command - used)
            return wire_blame(wire, EXIT_USAGE, "no act has a part \"%s\"", words[i]);
        snprintf(command + used, sizeof command - used, " %s", words[i]);
    }
    code = answer_get(wire, command, &answer);
    if (code == EXIT_FINE && options->as_json) {
        print_json(answer_to_json(&answer));
    } else if (code == EXIT_FINE) {
        print_plan(&answer);
        if (answer_number(&answer, NULL, "acts") > 0)
            puts("ringctl commit does it, ringctl plan clear forgets it");
    }
    answer_free(&answer);
    return code;
}

enum exit_code command_commit(const struct options *options, struct wire *wire, int count,
                              char **words)
{
    (void)count;
    (void)words;
    return act_and_wait(options, wire, "cluster commit", &(struct wait){.title = "moving"});
}
