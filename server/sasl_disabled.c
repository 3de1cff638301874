/* What sasl.h says in a server built with --disable-sasl: there are no mechanisms, and no login
 * succeeds.  options_parse() refuses -S before any of this is asked. */
#include "server/sasl.h"
#include "server/log.h"

bool sasl_start(void)
{
    log_error("-S: this server is built without SASL");
    return false;
}

void sasl_stop(void)
{
}

struct sasl_session *sasl_session_new(void)
{
    return NULL;
}

void sasl_session_free(struct sasl_session *session)
{
    (void)session;
}

struct slice sasl_session_mechanisms(struct sasl_session *session)
{
    (void)session;
    return (struct slice){ .size = 0 };
}

enum sasl_answer sasl_session_start(struct sasl_session *session, struct slice mechanism,
                                    struct slice response, struct slice *challenge)
{
    (void)session, (void)mechanism, (void)response;
    *challenge = (struct slice){ .size = 0 };
    return SASL_ANSWER_REFUSED;
}

enum sasl_answer sasl_session_step(struct sasl_session *session, struct slice response,
                                   struct slice *challenge)
{
    (void)session, (void)response;
    *challenge = (struct slice){ .size = 0 };
    return SASL_ANSWER_REFUSED;
}

const char *sasl_session_user(struct sasl_session *session)
{
    (void)session;
    return NULL;
}
