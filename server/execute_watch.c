/* watch: from then on the connection only listens. */
#include "server/arguments.h"
#include "server/connection.h"
#include "server/execution.h"
#include "server/settings.h"
#include "server/watch.h"

static const struct {
    const char *name;
    enum watch_kind kind;
} kinds[] = {
    { "fetchers", WATCH_FETCHERS },     { "mutations", WATCH_MUTATIONS },
    { "evictions", WATCH_EVICTIONS },   { "connevents", WATCH_CONNEVENTS },
    { "deletions", WATCH_DELETIONS },   { "sysevents", WATCH_SYSEVENTS },
    { "rawcmds", WATCH_NOTHING },       { "proxyreqs", WATCH_NOTHING },
    { "proxyevents", WATCH_NOTHING },   { "proxyuser", WATCH_NOTHING },
};

/* The kinds that the arguments name; 0 if one of them is unknown. */
static unsigned kinds_of(const struct arguments *arguments)
{
    unsigned wanted = arguments->count == 0 ? WATCH_FETCHERS : 0;

    for (unsigned i = 0; i < arguments->count; i++) {
        unsigned kind = 0;

        for (size_t j = 0; j < sizeof kinds / sizeof *kinds; j++) {
            if (argument_is(arguments, i, kinds[j].name))
                kind = kinds[j].kind;
        }
        if (kind == 0)
            return 0;
        wanted |= kind;
    }
    return wanted;
}

void execute_watch(struct execution *execution, struct operation *operation)
{
    struct arguments arguments;
    unsigned wanted;

    arguments_split(&arguments, operation->arguments);
    wanted = kinds_of(&arguments);
    if (!settings.allows_watch) {
        execution_answer_line(execution, operation, 0,
                              SLICE("CLIENT_ERROR watch commands not allowed"));
        return;
    }
    if (!output_is_empty(execution->output)) {
        execution_answer_line(execution, operation, 0,
                              SLICE("ERROR cannot pipeline other commands before watch"));
        return;
    }
    if (wanted == 0) {
        execution_answer_line(execution, operation, 0, SLICE("ERROR"));
        return;
    }
    switch (watch_add(execution->connection, wanted)) {
    case WATCH_ADDED:
        execution_answer_line(execution, operation, 0, SLICE("OK"));
        break;
    case WATCH_TOO_MANY:
        execution_answer_line(execution, operation, 0,
                              SLICE("WATCHER_TOO_MANY log watcher limit reached"));
        break;
    case WATCH_FAILED:
        execution_answer_line(execution, operation, 0,
                              SLICE("WATCHER_FAILED failed to add log watcher"));
        break;
    }
}
