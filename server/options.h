/* The command line: memcached's options and our own, from one table each for options and for the
 * suboptions of -o.
 *
 * Threads: main(), before there are others. */
#ifndef SERVER_OPTIONS_H
#define SERVER_OPTIONS_H

#include "server/settings.h"
#include <stdio.h>

/* Fills the settings, which settings_init() has prepared.  Strings in them point into `arguments`.
 * What the user asked to read (-h, -V, -i) goes to `out`, complaints and warnings to `errors`.
 * True: go on.  False: end with `*exit_code`, which is 0, 1 (a value is wrong), 64 (they do not go
 * together) or 78 (the configuration file of --config is wrong; its policies are in force
 * otherwise). */
bool options_parse(struct settings *, int count, char **arguments, FILE *out, FILE *errors,
                   int *exit_code);

#endif
