#include "server/sasl.h"
#include "server/log.h"
#include <assert.h>
#include <pthread.h>
#include <sasl/sasl.h>
#include <stdlib.h>
#include <string.h>

#define APPLICATION "memcached" /* names the configuration file, and the service for PAM */

struct sasl_session {
    sasl_conn_t *library;
    bool is_begun; /* a login was started and is not over */
};

/* The library's locks: it is used by all workers. */

static void *mutex_new(void)
{
    pthread_mutex_t *mutex = malloc(sizeof *mutex);

    if (mutex != NULL)
        pthread_mutex_init(mutex, NULL);
    return mutex;
}

static int mutex_lock(void *mutex)
{
    return pthread_mutex_lock(mutex) == 0 ? SASL_OK : SASL_FAIL;
}

static int mutex_unlock(void *mutex)
{
    return pthread_mutex_unlock(mutex) == 0 ? SASL_OK : SASL_FAIL;
}

static void mutex_free(void *mutex)
{
    pthread_mutex_destroy(mutex);
    free(mutex);
}

/* The library's log: failed logins at -v, the rest at -vv. */
static int on_log(void *context, int level, const char *message)
{
    (void)context;
    if (level == SASL_LOG_ERR)
        log_warning("SASL: %s", message);
    else if (level == SASL_LOG_FAIL || level == SASL_LOG_WARN)
        log_info("SASL: %s", message);
    else if (level == SASL_LOG_NOTE || level == SASL_LOG_DEBUG)
        log_debug("SASL: %s", message); /* what is above these may show passwords */
    return SASL_OK;
}

typedef int sasl_log_function(void *context, int level, const char *message);
typedef int sasl_any_function(void); /* the type that the library's table has for all */

static sasl_any_function *as_callback(sasl_log_function *function)
{
    return (sasl_any_function *)(void (*)(void))function;
}

bool sasl_start(void)
{
    static sasl_callback_t callbacks[2];

    callbacks[0] = (sasl_callback_t){ SASL_CB_LOG, as_callback(on_log), NULL };
    callbacks[1] = (sasl_callback_t){ SASL_CB_LIST_END, NULL, NULL };
    sasl_set_mutex(mutex_new, mutex_lock, mutex_unlock, mutex_free);
    int error = sasl_server_init(callbacks, APPLICATION);
    if (error != SASL_OK) {
        log_error("-S: cannot start SASL: %s: look at /etc/sasl2/" APPLICATION ".conf",
                  sasl_errstring(error, NULL, NULL));
        return false;
    }
    return true;
}

void sasl_stop(void)
{
    sasl_done();
}

struct sasl_session *sasl_session_new(void)
{
    struct sasl_session *session = calloc(1, sizeof *session);

    if (session == NULL)
        return NULL;
    int error =
        sasl_server_new(APPLICATION, NULL, NULL, NULL, NULL, NULL, 0, &session->library);
    if (error != SASL_OK) {
        log_warning("SASL: no session for a login: %s", sasl_errstring(error, NULL, NULL));
        free(session);
        return NULL;
    }
    return session;
}

void sasl_session_free(struct sasl_session *session)
{
    if (session == NULL)
        return;
    sasl_dispose(&session->library);
    free(session);
}

struct slice sasl_session_mechanisms(struct sasl_session *session)
{
    const char *names;
    unsigned size;

    if (sasl_listmech(session->library, NULL, "", " ", "", &names, &size, NULL) != SASL_OK)
        return (struct slice){ .size = 0 };
    return (struct slice){ (const unsigned char *)names, size };
}

/* The library wants an absent response as NULL. */
static const char *response_bytes(struct slice response)
{
    return response.size > 0 ? (const char *)response.bytes : NULL;
}

static enum sasl_answer answer(struct sasl_session *session, int result, const char *bytes,
                               unsigned size, struct slice *challenge)
{
    *challenge = (struct slice){ (const unsigned char *)bytes, bytes != NULL ? size : 0 };
    session->is_begun = result == SASL_CONTINUE;
    if (result == SASL_OK)
        return SASL_ANSWER_OK;
    if (result == SASL_CONTINUE)
        return SASL_ANSWER_CONTINUE;
    log_info("SASL: login refused: %s", sasl_errdetail(session->library));
    return SASL_ANSWER_REFUSED;
}

enum sasl_answer sasl_session_start(struct sasl_session *session, struct slice mechanism,
                                    struct slice response, struct slice *challenge)
{
    char name[SASL_MECHANISM_BYTES_MAX + 1];
    const char *bytes = NULL;
    unsigned size = 0;

    *challenge = (struct slice){ .size = 0 };
    if (mechanism.size == 0 || mechanism.size > SASL_MECHANISM_BYTES_MAX ||
        memchr(mechanism.bytes, '\0', mechanism.size) != NULL)
        return SASL_ANSWER_REFUSED;
    memcpy(name, mechanism.bytes, mechanism.size);
    name[mechanism.size] = '\0';
    int result = sasl_server_start(session->library, name, response_bytes(response),
                                   (unsigned)response.size, &bytes, &size);
    return answer(session, result, bytes, size, challenge);
}

enum sasl_answer sasl_session_step(struct sasl_session *session, struct slice response,
                                   struct slice *challenge)
{
    const char *bytes = NULL;
    unsigned size = 0;

    *challenge = (struct slice){ .size = 0 };
    if (!session->is_begun)
        return SASL_ANSWER_REFUSED;
    int result = sasl_server_step(session->library, response_bytes(response),
                                  (unsigned)response.size, &bytes, &size);
    return answer(session, result, bytes, size, challenge);
}

const char *sasl_session_user(struct sasl_session *session)
{
    const void *user = NULL;

    if (sasl_getprop(session->library, SASL_USERNAME, &user) != SASL_OK)
        return NULL;
    return user;
}
