#include "server/execute_operator.h"

#include "server/connection.h"
#include "server/kept_operation.h"
#include "server/log.h"
#include "server/operator.h"
#include "server/pending.h"
#include "server/settings.h"
#include "server/stats.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define BINARY_NOT_FOUND 0x01

enum operator_act {
    ACT_NEVER,      /* it only looks */
    ACT_WITH_WORDS, /* it acts if it has words */
    ACT_ALWAYS,
};

struct command {
    const char *name;
    unsigned words_min, words_max; /* behind the name */
    enum operator_act act;
    enum operator_command command;
};

/* cluster NAME ... */
static const struct command cluster_commands[] = {
    {"status", 0, 0, ACT_NEVER, OPERATOR_STATUS},  {"ring", 0, 1, ACT_NEVER, OPERATOR_RING},
    {"hints", 0, 0, ACT_NEVER, OPERATOR_HINTS},    {"moves", 0, 0, ACT_NEVER, OPERATOR_MOVES},
    {"plan", 0, 6, ACT_WITH_WORDS, OPERATOR_PLAN}, {"commit", 0, 0, ACT_ALWAYS, OPERATOR_COMMIT},
    {"leave", 1, 1, ACT_ALWAYS, OPERATOR_ACT},     {"remove", 1, 1, ACT_ALWAYS, OPERATOR_ACT},
    {"weight", 2, 2, ACT_ALWAYS, OPERATOR_ACT},    {"zone", 2, 2, ACT_ALWAYS, OPERATOR_ACT},
    {"replace", 2, 2, ACT_ALWAYS, OPERATOR_ACT},   {"repair", 0, 1, ACT_ALWAYS, OPERATOR_REPAIR},
    {"drain", 0, 0, ACT_ALWAYS, OPERATOR_DRAIN},   {NULL, 0, 0, ACT_NEVER, OPERATOR_COMMAND_COUNT},
};

/* stats NAME */
static const struct command stats_commands[] = {
    {"cluster", 0, 0, ACT_NEVER, OPERATOR_CLUSTER},
    {"ring", 0, 0, ACT_NEVER, OPERATOR_RING},
    {"peers", 0, 0, ACT_NEVER, OPERATOR_PEERS},
    {"hints", 0, 0, ACT_NEVER, OPERATOR_HINTS},
    {"repair", 0, 0, ACT_NEVER, OPERATOR_REPAIR_STATS},
    {NULL, 0, 0, ACT_NEVER, OPERATOR_COMMAND_COUNT},
};

/* debug NAME ...: whoever may debug may do all of it */
static const struct command debug_acts[] = {
    {"cut", 1, 1, ACT_NEVER, OPERATOR_DEBUG_CUT},
    {"heal", 1, 1, ACT_NEVER, OPERATOR_DEBUG_HEAL},
    {"repair", 0, 0, ACT_NEVER, OPERATOR_DEBUG_REPAIR},
    {"handoff", 0, 0, ACT_NEVER, OPERATOR_DEBUG_HANDOFF},
    {NULL, 0, 0, ACT_NEVER, OPERATOR_COMMAND_COUNT},
};
static const struct command debug_owners[] = {
    {"owners", 1, 1, ACT_NEVER, OPERATOR_OWNERS},
    {NULL, 0, 0, ACT_NEVER, OPERATOR_COMMAND_COUNT},
};

static const struct command config_command = {"config", 0, 0, ACT_NEVER, OPERATOR_CONFIG};

/* What a report is turned into. */
enum operator_form {
    FORM_LIST,   /* STAT lines and END */
    FORM_DONE,   /* OK */
    FORM_CONFIG, /* CONFIG cluster ... */
    FORM_VALUE,  /* VALUE of the discovery key */
};

struct waiting {
    struct operator_job job; /* first */
    enum operator_form form;
    struct kept_operation *kept;
    struct pending *pending;
};

/* --- the answer --- */

static void answer_text(struct execution *execution, const struct operation *operation,
                        const char *text)
{
    execution_answer_line(execution, operation, 0,
                          (struct slice){(const unsigned char *)text, strlen(text)});
}

static void answer_error(struct execution *execution, const struct operation *operation,
                         const char *text)
{
    execution_answer_error(execution, operation, BINARY_NOT_FOUND,
                           (struct slice){(const unsigned char *)text, strlen(text)});
}

static void write_line(void *context, const char *name, const char *value)
{
    stats_text(context, name, value);
}

static void answer_list(struct execution *execution, const struct operation *operation,
                        const struct report *report)
{
    struct stats_writer writer = {execution, operation};

    report_visit(report, write_line, &writer);
    stats_text(&writer, "", "");
}

/* The node list, "<version>\n<nodes>\n", behind a line that announces it. */
static void answer_nodes(struct execution *execution, const struct operation *operation,
                         const struct report *report, enum operator_form form)
{
    const char *version = report_find(report, "version"), *nodes = report_find(report, "nodes");
    size_t size = strlen(version) + strlen(nodes) + 2;
    char *text;
    int bytes;

    if (form == FORM_CONFIG)
        bytes = asprintf(&text, "CONFIG cluster 0 %zu\r\n%s\n%s\n\r\nEND", size, version, nodes);
    else
        bytes = asprintf(&text, "VALUE %s 0 %zu\r\n%s\n%s\n\r\nEND", DISCOVERY_KEY, size, version,
                         nodes);
    if (bytes < 0) {
        answer_error(execution, operation, "SERVER_ERROR out of memory");
        return;
    }
    answer_text(execution, operation, text);
    free(text);
}

static void answer(struct execution *execution, const struct waiting *waiting)
{
    const struct operation *operation = &waiting->kept->operation;
    const struct report *report = &waiting->job.report;

    if (report->error[0] != '\0') {
        answer_error(execution, operation, report->error);
        return;
    }
    if (report->is_short_of_memory) {
        answer_error(execution, operation, "SERVER_ERROR out of memory");
        return;
    }
    switch (waiting->form) {
    case FORM_LIST: answer_list(execution, operation, report); break;
    case FORM_DONE: answer_text(execution, operation, "OK"); break;
    case FORM_CONFIG:
    case FORM_VALUE: answer_nodes(execution, operation, report, waiting->form); break;
    }
}

/* --- asking --- */

static void waiting_free(struct waiting *waiting)
{
    report_deinit(&waiting->job.report);
    free(waiting->kept);
    free(waiting);
}

static void on_done(struct cluster_job *job)
{
    static_assert(offsetof(struct waiting, job.job) == 0, "the job begins what waits for it");
    struct waiting *waiting = (struct waiting *)job;
    struct output *output = pending_begin_answer(waiting->pending);

    if (output != NULL) {
        struct connection *connection = pending_connection(waiting->pending);
        struct worker *worker = connection_worker(connection);
        struct execution execution = {worker, worker->store, connection, output};

        answer(&execution, waiting);
        pending_end_answer(waiting->pending, waiting->job.report.error[0] != '\0');
    }
    waiting_free(waiting);
}

static void give_up(struct execution *execution, struct waiting *waiting)
{
    if (waiting != NULL)
        waiting_free(waiting);
    log_warning("out of memory for a command: closing connection %d",
                connection_fd(execution->connection));
    connection_close_in_error(execution->connection);
}

/* Takes the words from `first` on, out of the operation that is kept. */
static void take_words(struct waiting *waiting, unsigned first, bool is_act)
{
    struct operator_job *job = &waiting->job;
    struct arguments arguments;

    arguments_split(&arguments, waiting->kept->operation.arguments);
    assert(arguments.count <= ARGUMENT_WORDS_MAX);
    job->is_forced = is_act && argument_is(&arguments, arguments.count - 1, "force");
    job->count = arguments.count - first - job->is_forced;
    memcpy(job->words, arguments.words + first, job->count * sizeof job->words[0]);
}

/* Asks the cluster thread.  The words behind the command begin with number `first` of the
 * operation's arguments; NO_WORDS: it takes none. */
#define NO_WORDS UINT32_MAX
static void ask(struct execution *execution, const struct operation *operation,
                const struct command *command, enum operator_form form, unsigned first)
{
    bool is_barrier = operation->verb >= VERB_BARRIER;
    struct waiting *waiting = calloc(1, sizeof *waiting);

    if (waiting != NULL)
        waiting->kept = kept_operation_new(operation);
    if (waiting == NULL || waiting->kept == NULL) {
        give_up(execution, waiting);
        return;
    }
    waiting->form = form;
    waiting->job.name = command->name;
    waiting->job.command = command->command;
    waiting->job.job = (struct cluster_job){
        .worker = execution->worker->number, .run = operator_run, .done = on_done};
    report_init(&waiting->job.report);
    report_server_error(&waiting->job.report, "this node is stopping");
    if (first != NO_WORDS)
        take_words(waiting, first, command->act != ACT_NEVER);
    waiting->pending = pending_add(execution->connection, operation, is_barrier);
    if (waiting->pending == NULL)
        give_up(execution, waiting);
    else
        cluster_ask(cluster_get(), &waiting->job.job);
}

/* --- who may do what --- */

static bool is_loopback(const struct connection *connection)
{
    char address[CONNECTION_ADDRESS_BYTES];
    unsigned port;

    connection_peer(connection, address, &port);
    return strncmp(address, "127.", 4) == 0 || strcmp(address, "[::1]") == 0 ||
           strncmp(address, "[::ffff:127.", 12) == 0;
}

/* Whether acts are taken from this connection. */
static bool may_act(const struct execution *execution)
{
    const struct connection *connection = execution->connection;
    bool has_logins = settings.sasl || settings.auth_file != NULL;

    return connection_transport(connection) == TRANSPORT_UNIX || is_loopback(connection) ||
           (has_logins && connection_is_authenticated(connection));
}

/* --- finding the command --- */

/* The command whose name is the first of the arguments; NULL: there is none. */
static const struct command *find(const struct command *commands, const struct arguments *arguments)
{
    while (commands->name != NULL && !argument_is(arguments, 0, commands->name))
        commands++;
    return commands->name == NULL ? NULL : commands;
}

static bool is_act(const struct command *command, const struct arguments *arguments)
{
    return command->act == ACT_ALWAYS || (command->act == ACT_WITH_WORDS && arguments->count > 1);
}

static bool has_right_words(const struct command *command, const struct arguments *arguments)
{
    bool is_forced =
        command->act != ACT_NEVER && argument_is(arguments, arguments->count - 1, "force");
    unsigned count = arguments->count - 1 - (arguments->count > 1 && is_forced);

    return count >= command->words_min && count <= command->words_max;
}

void execute_cluster(struct execution *execution, struct operation *operation)
{
    const struct command *command;
    struct arguments arguments;

    arguments_split(&arguments, operation->arguments);
    command = find(cluster_commands, &arguments);
    if (cluster_get() == NULL)
        answer_text(execution, operation,
                    "CLIENT_ERROR this server is no node of a cluster: it was started without "
                    "--node-name");
    else if (command == NULL)
        answer_text(execution, operation,
                    "CLIENT_ERROR there is no such cluster command: status, ring, hints, moves, "
                    "plan, commit, leave, remove, weight, zone, replace, repair and drain are");
    else if (!has_right_words(command, &arguments))
        answer_text(execution, operation,
                    "CLIENT_ERROR too few or too many words for this command");
    else if (is_act(command, &arguments) && !may_act(execution))
        answer_text(execution, operation,
                    "CLIENT_ERROR cluster acts are taken from loopback, a Unix socket or after a "
                    "login");
    else
        ask(execution, operation, command, FORM_LIST, 1);
}

bool execute_operator_stats(struct execution *execution, const struct operation *operation,
                            const struct arguments *arguments)
{
    const struct command *command = find(stats_commands, arguments);

    if (cluster_get() == NULL || command == NULL)
        return false;
    ask(execution, operation, command, FORM_LIST, NO_WORDS);
    return true;
}

bool execute_operator_debug(struct execution *execution, const struct operation *operation,
                            const struct arguments *arguments)
{
    const struct command *command = find(debug_acts, arguments);
    enum operator_form form = FORM_DONE;

    if (command == NULL) {
        command = find(debug_owners, arguments);
        form = FORM_LIST;
    }
    if (cluster_get() == NULL || command == NULL || !has_right_words(command, arguments))
        return false;
    ask(execution, operation, command, form, 1);
    return true;
}

bool execute_operator_config(struct execution *execution, const struct operation *operation)
{
    if (cluster_get() == NULL)
        return false;
    ask(execution, operation, &config_command, FORM_CONFIG, NO_WORDS);
    return true;
}

bool execute_operator_discovery(struct execution *execution, const struct operation *operation)
{
    const uint32_t alone = OPERATION_FIRST_KEY | OPERATION_LAST_KEY;

    if (!execute_may_be_discovery(operation) || operation->protocol != PROTOCOL_TEXT ||
        operation->verb != VERB_GET || (operation->options & alone) != alone ||
        memcmp(operation->key.bytes, DISCOVERY_KEY, sizeof DISCOVERY_KEY - 1) != 0)
        return false;
    ask(execution, operation, &config_command, FORM_VALUE, NO_WORDS);
    return true;
}
