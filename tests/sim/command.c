#include "tests/sim/command.h"
#include <assert.h>
#include <stdlib.h>

struct command *command_new(const struct command *from)
{
    struct command *command = malloc(sizeof *command);

    if (command == NULL)
        abort();
    *command = *from;
    command->references = 1;
    command->shown = (struct set){0};
    set_unite(&command->shown, &from->shown);
    return command;
}

struct command *command_ref(struct command *command)
{
    assert(command->references > 0);
    command->references++;
    return command;
}

void command_unref(struct command *command)
{
    if (command == NULL || --command->references > 0)
        return;
    set_deinit(&command->shown);
    free(command);
}

const char *command_name(enum command_type type)
{
    static const char *const names[COMMAND_TYPES] = {
        [COMMAND_GET] = "get",       [COMMAND_SET] = "set",
        [COMMAND_PUT] = "put",       [COMMAND_DELETE_BLIND] = "delete noreply",
        [COMMAND_REMOVE] = "remove", [COMMAND_CAS] = "cas",
        [COMMAND_ADD] = "add",       [COMMAND_DELETE] = "delete",
        [COMMAND_INCR] = "incr",     [COMMAND_TOUCH] = "touch"};

    assert(type < COMMAND_TYPES);
    return names[type];
}

const char *command_result_name(enum command_result result)
{
    switch (result) {
    case RESULT_NONE: return "nothing";
    case RESULT_DONE: return "done";
    case RESULT_EXISTS: return "exists";
    case RESULT_NOT_FOUND: return "not found";
    case RESULT_NOT_STORED: return "not stored";
    case RESULT_TOO_MANY: return "too many siblings";
    }
    return "?";
}
