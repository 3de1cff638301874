/* What clients ask for, and what they hear. */
#include "tests/scenario/story.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PATIENCE_MS 30000 /* longer than any deadline */
#define EXPIRY_MS   86400000u

struct verb {
    const char *name;
    enum command_type type;
    enum request_class class;
    bool takes_value;
    const char *done; /* what the client hears when it was done */
};

static const struct verb verbs[] = {
    {"get", COMMAND_GET, REQUEST_READ, false, NULL},
    {"set", COMMAND_SET, REQUEST_BLIND, true, "stored"},
    {"delete", COMMAND_DELETE_BLIND, REQUEST_BLIND, false, "deleted"},
    {"put", COMMAND_PUT, REQUEST_CONTEXT, true, "stored"},
    {"remove", COMMAND_REMOVE, REQUEST_CONTEXT, false, "deleted"},
    {"cas", COMMAND_CAS, REQUEST_DECIDED, true, "stored"},
    {"add", COMMAND_ADD, REQUEST_DECIDED, true, "stored"},
    {"erase", COMMAND_DELETE, REQUEST_DECIDED, false, "deleted"},
    {"incr", COMMAND_INCR, REQUEST_DECIDED, true, "counted"},
    {"touch", COMMAND_TOUCH, REQUEST_DECIDED, false, "touched"},
};

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static struct story_client *find_client(struct story *story, const char *name)
{
    for (unsigned i = 0; i < story->client_count; i++)
        if (strcmp(story->clients[i].name, name) == 0)
            return &story->clients[i];
    if (story->client_count == STORY_CLIENTS)
        return NULL;
    struct story_client *client = &story->clients[story->client_count++];
    snprintf(client->name, sizeof client->name, "%s", name);
    return client;
}

/* What a command that was not done is told. */
static void tell_failure(const struct command_answer *answer, char out[STORY_TEXT])
{
    switch (answer->answer) {
    case ANSWER_DONE:
        snprintf(out, STORY_TEXT, "%s",
                 answer->result == RESULT_EXISTS       ? "exists"
                 : answer->result == RESULT_NOT_FOUND  ? "not found"
                 : answer->result == RESULT_NOT_STORED ? "not stored"
                                                       : "too many siblings");
        break;
    case ANSWER_READ_FAILED:
        snprintf(out, STORY_TEXT, "read quorum not met: %u of %u", answer->got, answer->needed);
        break;
    case ANSWER_WRITE_FAILED:
        snprintf(out, STORY_TEXT, "write quorum not met: %u of %u", answer->got, answer->needed);
        break;
    case ANSWER_REFUSED: snprintf(out, STORY_TEXT, "refused"); break;
    case ANSWER_UNKNOWN: snprintf(out, STORY_TEXT, "outcome unknown"); break;
    }
}

void story_answer(struct sim *sim, unsigned node, const struct command *command,
                  const struct command_answer *answer)
{
    struct story *story = sim->story;
    struct story_client *client = NULL;
    unsigned key = command->key;

    (void)node;
    for (unsigned i = 0; i < story->client_count; i++)
        if (story->clients[i].is_waiting && story->clients[i].number == command->number)
            client = &story->clients[i];
    if (client == NULL) {
        report_broken(sim, PROMISE_ANSWERED_ONCE, key, "operation %" PRIu64 " is answered twice",
                      command->number);
        return;
    }
    client->is_waiting = false;
    if (answer->answer != ANSWER_DONE ||
        (command->type != COMMAND_GET && answer->result != RESULT_DONE)) {
        tell_failure(answer, client->answer);
        return;
    }
    if (command->type != COMMAND_GET) {
        for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
            if (verbs[i].type == command->type)
                snprintf(client->answer, STORY_TEXT, "%s", verbs[i].done);
        if (answer->write != TRUTH_NO_WRITE)
            truth_acknowledge(sim, command, answer->write, answer->needed);
        return;
    }
    truth_check_cell(sim, (int)node, key, answer->cell, "read");
    story_tell_cell(story, key, answer->cell, false, client->answer);
    cell_shown(answer->cell, &client->seen[key]);
    truth_shown(&sim->truth, key, answer->cell, &client->shown[key]);
    client->tokens[key] = answer->cell->sibling_count > 0 ? cell_token(answer->cell) : 0;
}

void story_lose_clients(struct story *story, unsigned node)
{
    for (unsigned i = 0; i < story->client_count; i++) {
        struct story_client *client = &story->clients[i];
        if (!client->is_waiting || client->node != node)
            continue;
        client->is_waiting = false;
        snprintf(client->answer, STORY_TEXT, "connection lost");
    }
}

static bool complain(const char *what, const char *word)
{
    printf("%s: %s\n", what, word);
    return false;
}

/* Sends off VERB KEY [VALUE] at NODE, the words from `first` on. */
static bool ask(struct story *story, struct story_client *client, unsigned first)
{
    const struct verb *verb = find_verb(story->words[first]);
    unsigned key = story_key(story, story->words[first + 1]);
    unsigned at = verb != NULL && verb->takes_value ? first + 3 : first + 2;
    unsigned node = story_node(story, story->words[at + 1]);
    struct sim *sim = story->sim;

    if (verb == NULL)
        return complain("no such command", story->words[first]);
    if (key >= story->key_count)
        return complain("no such key", story->words[first + 1]);
    if (strcmp(story->words[at], "at") != 0 || story->word_count != at + 2 ||
        node >= sim->node_count)
        return complain("a command ends with", "at NODE");
    if (client->is_waiting || story->operation_count == STORY_OPERATIONS)
        return complain("one thing at a time", client->name);
    if (!node_takes_clients(sim->nodes[node]))
        return complain("nobody is there to ask", story->words[at + 1]);
    struct command command = {.type = verb->type,
                              .class = verb->class,
                              .number = story->operation_count++,
                              .key = key,
                              .read_quorum = sim->settings.read_quorum,
                              .write_quorum = sim->settings.write_quorum,
                              .shown = client->shown[key],
                              .token = client->tokens[key],
                              .expires_ms = CLOCK_START_MS + sim_now(sim) + EXPIRY_MS};
    if (verb->takes_value) {
        command.delta = strtoul(story->words[first + 2], NULL, 10);
        memcpy(story->values[command.number], story->words[first + 2], STORY_NAME);
    }
    context_copy(&command.seen, &client->seen[key]);
    client->is_waiting = true;
    client->number = command.number;
    client->node = node;
    struct command *copy = command_new(&command);
    truth_begin(&sim->truth, copy);
    node_command(sim->nodes[node], copy);
    command_unref(copy);
    return true;
}

static bool wait_for(struct story *story, const struct story_client *client)
{
    if (!story_pass(story, PATIENCE_MS, client))
        return false;
    if (client->is_waiting)
        return complain("nobody answers", client->name);
    return story_compare(story, client->answer);
}

bool story_client_line(struct story *story)
{
    struct story_client *client = find_client(story, story->words[0]);

    if (client == NULL || story->word_count < 2)
        return complain("who or what is that", story->words[0]);
    if (strcmp(story->words[1], "begins") == 0)
        return ask(story, client, 2);
    if (strcmp(story->words[1], "hears") == 0)
        return wait_for(story, client);
    if (strcmp(story->words[1], "forgets") == 0) {
        unsigned key = story_key(story, story->words[2]);
        if (key >= story->key_count)
            return complain("no such key", story->words[2]);
        context_clear(&client->seen[key]);
        set_clear(&client->shown[key]);
        client->tokens[key] = 0;
        return true;
    }
    return ask(story, client, 1) && wait_for(story, client);
}
