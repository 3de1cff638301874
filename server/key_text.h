/* A key as logs and dumps show it: what may not stand in a URL as %XX. */
#ifndef SERVER_KEY_TEXT_H
#define SERVER_KEY_TEXT_H

#include "protocol/operation.h"

#define KEY_TEXT_BYTES (3 * KEY_BYTES_MAX + 1)

/* Whether a line of text can hold the key as it is: else it is said as base64. */
bool key_fits_line(struct slice key);

/* Writes the text, ended by a zero, and gives it back. */
const char *key_text(struct slice key, char text[KEY_TEXT_BYTES]);

#endif
