/* Logging in, and refusing everything else before that.
 *
 * Text (-Y): `set <any> <any> <any> <bytes>` whose value is `user password`.  Binary (-S): Cyrus
 * SASL, as many steps as its mechanism takes. */
#include "server/auth_file.h"
#include "server/connection.h"
#include "server/execution.h"
#include "server/sasl.h"
#include "server/settings.h"

#define BINARY_INVALID_ARGUMENTS 0x04
#define BINARY_AUTH_ERROR        0x20
#define BINARY_AUTH_CONTINUE     0x21
#define BINARY_UNKNOWN_COMMAND   0x81

bool execute_needs_login(const struct execution *execution)
{
    return (settings.sasl || settings.auth_file != NULL) &&
           !connection_is_authenticated(execution->connection);
}

static void count_login(struct execution *execution, bool is_ok)
{
    struct counters *counters = &execution->worker->counters;

    counter_add(&counters->auth_cmds, 1);
    if (!is_ok)
        counter_add(&counters->auth_errors, 1);
}

bool execute_is_text_login(const struct operation *operation)
{
    return operation->protocol == PROTOCOL_TEXT && operation->verb == VERB_STORE &&
           operation->mode == STORE_SET && (operation->options & OPERATION_COMPARE_CAS) == 0;
}

static void login_by_text(struct execution *execution, const struct operation *operation)
{
    struct slice user = operation->value, password;
    const unsigned char *space = NULL;
    bool is_ok;

    if (user.size > LOGIN_BYTES_MAX) {
        execution_answer_error(execution, operation, 0, SLICE("CLIENT_ERROR auth token too long"));
        return;
    }
    if (user.size != 0)
        space = memchr(user.bytes, ' ', user.size);
    if (space == NULL) {
        execution_answer_error(execution, operation, 0,
                               SLICE("CLIENT_ERROR bad authentication token format"));
        return;
    }
    password = (struct slice){ space + 1, user.size - (size_t)(space + 1 - user.bytes) };
    user.size = (size_t)(space - user.bytes);
    is_ok = auth_file_check(user, password);
    count_login(execution, is_ok);
    if (!is_ok) {
        execution_answer_error(execution, operation, 0,
                               SLICE("CLIENT_ERROR authentication failure"));
        return;
    }
    connection_set_authenticated(execution->connection);
    execution_answer_error(execution, operation, 0, SLICE("STORED"));
}

static bool may_precede_login(const struct operation *operation)
{
    switch (operation->verb) {
    case VERB_SASL_LIST:
    case VERB_SASL_AUTH:
    case VERB_SASL_STEP:
    case VERB_VERSION:
        return operation->protocol == PROTOCOL_BINARY;
    case VERB_CLOSE:
        return true;
    default:
        return false;
    }
}

/* A get line is one operation per key, and refused with the last. */
static bool is_one_key_of_more(const struct operation *operation)
{
    return operation->protocol == PROTOCOL_TEXT &&
           (operation->verb == VERB_GET || operation->verb == VERB_SIBLINGS) &&
           (operation->options & OPERATION_LAST_KEY) == 0;
}

bool execute_login_gate(struct execution *execution, struct operation *operation)
{
    if (may_precede_login(operation))
        return true;
    if (operation->protocol == PROTOCOL_BINARY) {
        execution_answer_error(execution, operation, BINARY_AUTH_ERROR, SLICE("Auth failure."));
        connection_close_after_output(execution->connection);
    } else if (execute_is_text_login(operation)) {
        login_by_text(execution, operation);
    } else if (operation->verb == VERB_REJECT && operation->rejection == REJECT_DATA_CHUNK) {
        execution_answer_error(execution, operation, 0,
                               SLICE("CLIENT_ERROR bad command line termination"));
    } else if (!is_one_key_of_more(operation)) {
        execution_answer_error(execution, operation, 0, SLICE("CLIENT_ERROR unauthenticated"));
    }
    return false;
}

static void answer_login(struct execution *execution, const struct operation *operation,
                         enum sasl_answer answer, struct slice challenge)
{
    switch (answer) {
    case SASL_ANSWER_OK:
        connection_set_authenticated(execution->connection);
        count_login(execution, true);
        execution_answer_error(execution, operation, 0, SLICE("Authenticated"));
        return;
    case SASL_ANSWER_CONTINUE:
        execution_answer_error(execution, operation, BINARY_AUTH_CONTINUE, challenge);
        return;
    case SASL_ANSWER_REFUSED:
        count_login(execution, false);
        execution_answer_error(execution, operation, BINARY_AUTH_ERROR, SLICE("Auth failure."));
        return;
    }
}

/* Whether there is SASL at all; if not, says so. */
static bool has_sasl(struct execution *execution, const struct operation *operation)
{
    if (settings.sasl)
        return true;
    execution_answer_error(execution, operation, BINARY_UNKNOWN_COMMAND,
                           SLICE("Unknown command"));
    return false;
}

/* Whether the client said more than the codec passes on: nobody logs in with so much. */
static bool is_too_long(const struct operation *operation)
{
    return operation->value.size > 0 && operation->value.bytes == NULL;
}

static struct sasl_session *session_of(struct execution *execution)
{
    struct sasl_session **session = connection_sasl(execution->connection);

    if (*session == NULL)
        *session = sasl_session_new();
    return *session;
}

void execute_sasl_list(struct execution *execution, struct operation *operation)
{
    struct sasl_session *session;

    if (!has_sasl(execution, operation))
        return;
    session = session_of(execution);
    if (session == NULL)
        execution_answer_error(execution, operation, BINARY_AUTH_ERROR, SLICE("Auth failure."));
    else
        execution_answer_error(execution, operation, 0, sasl_session_mechanisms(session));
}

void execute_sasl_auth(struct execution *execution, struct operation *operation)
{
    struct sasl_session **session = connection_sasl(execution->connection);
    struct slice challenge = { NULL, 0 };
    enum sasl_answer answer = SASL_ANSWER_REFUSED;

    if (!has_sasl(execution, operation))
        return;
    if (operation->key.size > SASL_MECHANISM_BYTES_MAX) {
        execution_answer_error(execution, operation, BINARY_INVALID_ARGUMENTS,
                               SLICE("Invalid arguments"));
        return;
    }
    connection_clear_authenticated(execution->connection);
    if (*session != NULL)
        sasl_session_free(*session);
    *session = sasl_session_new();
    if (*session != NULL && !is_too_long(operation))
        answer = sasl_session_start(*session, operation->key, operation->value, &challenge);
    answer_login(execution, operation, answer, challenge);
}

void execute_sasl_step(struct execution *execution, struct operation *operation)
{
    struct sasl_session *session;
    struct slice challenge = { NULL, 0 };
    enum sasl_answer answer = SASL_ANSWER_REFUSED;

    if (!has_sasl(execution, operation))
        return;
    session = *connection_sasl(execution->connection);
    if (session != NULL && !is_too_long(operation))
        answer = sasl_session_step(session, operation->value, &challenge);
    answer_login(execution, operation, answer, challenge);
}
