/* In place of peer_tls.c in a build without OpenSSL. */
#include "server/log.h"
#include "server/peer_tls.h"
#include <assert.h>

struct peer_tls *peer_tls_new(const struct peer_tls_files *files)
{
    log_error("%s: this server is built without OpenSSL, which TLS between nodes needs (configure "
              "it without --disable-tls)",
              files->certificate);
    return NULL;
}

void peer_tls_free(struct peer_tls *tls)
{
    (void)tls;
    assert(tls == NULL);
}

struct tls_session *peer_tls_session(struct peer_tls *tls, int fd, bool connects,
                                     struct counters *counters)
{
    (void)tls, (void)fd, (void)connects, (void)counters;
    return NULL;
}

bool peer_tls_name(const struct tls_session *session, struct member_name *name)
{
    (void)session;
    *name = (struct member_name){0};
    return false;
}
