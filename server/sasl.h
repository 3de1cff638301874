/* Logins for the binary protocol (-S), by Cyrus SASL.
 *
 * The application name is `memcached`, so an existing /etc/sasl2/memcached.conf applies; the
 * library itself looks at SASL_CONF_PATH.  Built with --disable-sasl, sasl_start() fails and the
 * rest is never called.
 *
 *   session = sasl_session_new()                     at SASL_AUTH, in place of any older one
 *   sasl_session_start(session, mechanism, ...)      SASL_AUTH    0x21
 *   sasl_session_step(session, ...)                  SASL_STEP    0x22, while it says CONTINUE
 *   sasl_session_free(session)                       when it is over, or the connection goes
 *
 * Threads: sasl_start() and sasl_stop() by main(); a session belongs to its connection's worker. */
#ifndef SERVER_SASL_H
#define SERVER_SASL_H

#include "ring/slice.h"

struct sasl_session;

enum sasl_answer {
    SASL_ANSWER_OK,       /* logged in */
    SASL_ANSWER_CONTINUE, /* send `challenge`, await a step */
    SASL_ANSWER_REFUSED   /* wrong password, unknown mechanism, out of memory: just "Auth failure" */
};

#define SASL_MECHANISM_BYTES_MAX 32

/* Makes the library ready.  False: it could not, and the log says why. */
bool sasl_start(void);
void sasl_stop(void);

/* The mechanisms on offer, separated by spaces.  Lasts as long as the session. */
struct slice sasl_session_mechanisms(struct sasl_session *);

/* Gives a session, or NULL when memory is short or the library refuses (logged). */
struct sasl_session *sasl_session_new(void);
void sasl_session_free(struct sasl_session *);

/* The first message of a login.  `challenge` gets what to send back (maybe empty); its bytes last
 * until the next call on the session. */
enum sasl_answer sasl_session_start(struct sasl_session *, struct slice mechanism,
                                    struct slice response, struct slice *challenge);
/* A further message; REFUSED also when no login was started. */
enum sasl_answer sasl_session_step(struct sasl_session *, struct slice response,
                                   struct slice *challenge);

/* Who logged in, for the log and `watch`; NULL before. */
const char *sasl_session_user(struct sasl_session *);

#endif
