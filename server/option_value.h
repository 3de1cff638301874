/* From the text of an option to its setting, wherever the text stood: on the command line or in a
 * configuration file.
 *
 * Threads: main(), before there are others. */
#ifndef SERVER_OPTION_VALUE_H
#define SERVER_OPTION_VALUE_H

#include "server/option_table.h"
#include <stdbool.h>

#define OPTION_COMPLAINT_BYTES 384

/* Reads `text` as the row's kind asks (NULL for a flag, or where the argument is optional), and
 * stores it.  False: `complaint` quotes the text and says what is wrong with it.  The settings may
 * point into `text` from then on. */
bool option_store(struct settings *, const struct option_row *, const char *text,
                  char complaint[OPTION_COMPLAINT_BYTES]);

/* The row of that long name, among the options or the suboptions of -o; NULL if there is none. */
const struct option_row *option_find(const char *name);
const struct option_row *suboption_find(const char *name);

#endif
