/* ringctl: the operator's tool.  It asks one node over its client port, in the text protocol; what
 * the lines of its answers mean is in docs/CLUSTER.md. */
#include "ctl/command.h"
#include "ctl/options.h"
#include "ctl/wire.h"
#include <string.h>

const struct command commands[] = {
    {"status", "[--all] [--names]", 0, 0, command_status, "nodes, what they own, how they are"},
    {"ring", "[KEY ...]", 0, 64, command_ring, "who owns these keys, or the partitions"},
    {"hints", "", 0, 0, command_hints, "what waits here for nodes that are away"},
    {"config", "", 0, 0, command_config, "the node list that clients discover"},
    {"get", "KEY", 1, 1, command_get, "the value, as the key's policy resolves it"},
    {"vget", "KEY", 1, 1, command_vget, "all siblings and what their context has seen"},
    {"put", "KEY [VALUE]", 1, 2, command_put, "store (VALUE from stdin if not given)"},
    {"delete", "KEY", 1, 1, command_delete, "delete"},
    {"plan", "[clear | ACT ARGUMENTS]", 0, 8, command_plan,
     "preview, one act more each time: join NAME [weight N]\n"
     "                                      [zone Z], leave NAME, remove NAME, weight NAME N,\n"
     "                                      zone NAME Z, replace OLD NEW"},
    {"commit", "[--force]", 0, 0, command_commit, "carry out what was planned"},
    {"leave", "NAME", 1, 1, command_leave, "the node hands over what it has, then is gone"},
    {"remove", "NAME", 1, 1, command_remove, "the node is dead: others take its place"},
    {"replace", "OLD NEW", 2, 2, command_replace, "NEW, a member of weight 0, takes OLD's part"},
    {"weight", "NAME N", 2, 2, command_weight, "the node's part of the data"},
    {"repair", "[PARTITION]", 0, 1, command_repair, "compare with all co-owners now"},
    {"drain", "", 0, 0, command_drain, "before a restart: hand all hints over"},
    {NULL, NULL, 0, 0, NULL, NULL},
};

static const struct command *find_command(const struct options *options)
{
    const struct command *command = commands;
    int count = options->word_count - 1;

    while (command->name != NULL && strcmp(command->name, options->words[0]) != 0)
        command++;
    if (command->name == NULL) {
        complain("there is no command %s: ringctl --help lists them", options->words[0]);
        return NULL;
    }
    if (count < command->words_min || count > command->words_max) {
        complain("usage: ringctl %s %s", command->name, command->arguments);
        return NULL;
    }
    return command;
}

int main(int argc, char **argv)
{
    struct options options;
    const struct command *command;
    struct wire wire;
    enum exit_code code;

    if (!options_read(&options, argc, argv, &code))
        return (int)code;
    command = find_command(&options);
    if (command == NULL)
        return EXIT_USAGE;
    wire_init(&wire, options.server, options.login, (unsigned)(options.timeout_s * 1000));
    code = command->run(&options, &wire, options.word_count - 1, options.words + 1);
    if (code != EXIT_FINE && wire.error[0] != '\0')
        complain("%s", wire.error);
    wire_deinit(&wire);
    return (int)code;
}
