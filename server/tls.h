/* TLS for listeners (-Z): certificates, and reloading them.
 *
 * Threads: tls_start() and tls_stop() by main(); tls_reload() by any. */
#ifndef SERVER_TLS_H
#define SERVER_TLS_H

#include "server/settings.h"

/* Reads certificate, key and authorities.  False: something is wrong with them, and the log says
 * what.  Called while we still have the rights to read the key. */
bool tls_start(const struct tls_settings *);

/* Reads them again (SIGHUP, refresh_certs); new connections use them.  False: the old ones stay,
 * and the log says why. */
bool tls_reload(void);

void tls_stop(void);

#endif
