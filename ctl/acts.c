/* leave, remove, replace, weight, repair, drain: one act each, and waiting for its end. */
#include "ctl/answer.h"
#include "ctl/command.h"
#include "ctl/wait.h"
#include <stdio.h>
#include <string.h>

#define COMMAND_BYTES_MAX 512

/* Puts a command together; EXIT_USAGE if a word cannot be part of one. */
static enum exit_code compose(struct wire *wire, char text[COMMAND_BYTES_MAX], const char *name,
                              int count, char **words)
{
    snprintf(text, COMMAND_BYTES_MAX, "cluster %s", name);
    for (int i = 0; i < count; i++) {
        size_t used = strlen(text);

        if (words[i][0] == '\0' || strpbrk(words[i], " \t\r\n") != NULL ||
            strlen(words[i]) + 2 > COMMAND_BYTES_MAX - used)
            return wire_blame(wire, EXIT_USAGE, "\"%s\" cannot be right here", words[i]);
        snprintf(text + used, COMMAND_BYTES_MAX - used, " %s", words[i]);
    }
    return EXIT_FINE;
}

static enum exit_code act(const struct options *options, struct wire *wire, const char *name,
                          int count, char **words, const struct wait *wait)
{
    char text[COMMAND_BYTES_MAX];
    enum exit_code code = compose(wire, text, name, count, words);

    return code == EXIT_FINE ? act_and_wait(options, wire, text, wait) : code;
}

enum exit_code command_leave(const struct options *options, struct wire *wire, int count,
                             char **words)
{
    return act(options, wire, "leave", count, words,
               &(struct wait){.title = "handing over",
                              .poll = "cluster status",
                              .node = words[0],
                              .left = "owned",
                              .gone = words[0]});
}

enum exit_code command_remove(const struct options *options, struct wire *wire, int count,
                              char **words)
{
    return act(options, wire, "remove", count, words, &(struct wait){.title = "moving"});
}

enum exit_code command_replace(const struct options *options, struct wire *wire, int count,
                               char **words)
{
    return act(options, wire, "replace", count, words, &(struct wait){.title = "moving"});
}

enum exit_code command_weight(const struct options *options, struct wire *wire, int count,
                              char **words)
{
    return act(options, wire, "weight", count, words, &(struct wait){.title = "moving"});
}

enum exit_code command_repair(const struct options *options, struct wire *wire, int count,
                              char **words)
{
    return act(options, wire, "repair", count, words,
               &(struct wait){.title = "comparing", .poll = "stats repair", .left = "asked_left"});
}

/* Hints for a node that is away stay: better to know that before the restart. */
static enum exit_code check_hints(struct wire *wire)
{
    struct answer hints;
    enum exit_code code = answer_get(wire, "cluster hints", &hints);

    if (code == EXIT_FINE && answer_number(&hints, NULL, "hints") > 0)
        code = wire_blame(wire, EXIT_REFUSED,
                          "%s hints are for nodes that are away and would end with a restart: wait "
                          "for those nodes, or leave it to repair; ringctl hints lists them",
                          answer_text(&hints, NULL, "hints"));
    answer_free(&hints);
    return code;
}

enum exit_code command_drain(const struct options *options, struct wire *wire, int count,
                             char **words)
{
    return act(options, wire, "drain", count, words,
               &(struct wait){.title = "handing hints over",
                              .poll = "cluster hints",
                              .left = "hints_deliverable",
                              .check = check_hints});
}
