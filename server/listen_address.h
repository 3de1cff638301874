/* The argument of -l: where to listen, and how.
 *
 *   [notls:|btls:|mtls:] [proto[ascii|binary|negotiating]:] [tag[NAME]:] ADDRESS[:PORT]
 *
 * in that or any other order of the prefixes; several with commas or semicolons between them.
 * ADDRESS is a name, an IPv4 address, an IPv6 address (in brackets if a port follows) or `*`. */
#ifndef SERVER_LISTEN_ADDRESS_H
#define SERVER_LISTEN_ADDRESS_H

#include "server/settings.h"
#include <stddef.h>

/* Adds the addresses in `text` to the settings.  False: `complaint` says what is wrong with which;
 * settings_deinit() frees in either case. */
bool listen_addresses_add(struct settings *, const char *text, char *complaint,
                          size_t complaint_bytes);

#endif
