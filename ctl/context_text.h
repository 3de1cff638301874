/* What a client's context says, in words.
 *
 * A context is `@` and base64url text: intervals of writes that were seen, and a sum that only the
 * cluster can make.  The sum is not looked at here: this shows, it does not judge.
 *
 * Threads: one. */
#ifndef CTL_CONTEXT_TEXT_H
#define CTL_CONTEXT_TEXT_H

#include "ctl/answer.h"
#include <jansson.h>
#include <stdio.h>

/* Prints one line per interval, after `title` or spaces as wide:
 *
 *     seen: a:0..1862212011008 (until 2026-11-22 22:19:11.123)
 *
 * Names of nodes are looked up in `status`, which may be empty. */
void context_print(FILE *out, const char *title, const char *text, const struct answer *status);

/* The same as an array of objects; null if `text` is no context.  Gives a reference. */
json_t *context_to_json(const char *text, const struct answer *status);

#endif
