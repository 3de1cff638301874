/* The configuration file: every long option and every suboption of -o as a setting, and policies
 * for prefixes of keys.
 *
 *     port = 11222;                        # as --port 11222
 *     memory-limit = "2g";                 # text or numbers, as on the command line
 *     listen = [ "127.0.0.1", "[::1]" ];   # an option that may be given several times
 *     verbose = 2;                         # a flag: true, false, or how often it is given
 *     idle_timeout = 300;                  # as -o idle_timeout=300
 *     policies = (
 *         { prefix = "session:"; siblings = false; max-ttl = 3600; },
 *         { prefix = "cart:"; resolver = "union"; copies = 3; read-quorum = 2; write-quorum = 2; }
 *     );
 *
 * What the command line says counts more.  The format is that of libconfig.
 *
 * Threads: main(). */
#ifndef SERVER_CONFIG_FILE_H
#define SERVER_CONFIG_FILE_H

#include "server/policy.h"
#include "server/settings.h"
#include <stdio.h>

/* Reads the file into the settings and the policies, and complains to `errors` of everything that
 * is wrong in it, each with file and line.  False if anything is: then neither should be used.
 * Texts in the settings live until config_file_clear(). */
bool config_file_read(struct settings *, struct policies *, const char *path, FILE *errors);

/* Whether the policies go with settings that are complete, the command line included; complains as
 * above. */
bool config_file_check_policies(const struct settings *, const struct policies *, const char *path,
                                FILE *errors);

/* Frees what config_file_read() kept. */
void config_file_clear(void);

/* SIGHUP: puts into force what may change while the server runs: the policies.  Logs what it did,
 * or why it did nothing. */
void config_file_reload(const char *path);

#endif
