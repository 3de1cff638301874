/* What a node answers to `cluster ...` and `stats ...`: names with values.
 *
 *     STAT copies 3
 *     STAT a:status up          of the node a: its name may have colons, the field has none
 *     END
 *
 * Threads: one. */
#ifndef CTL_ANSWER_H
#define CTL_ANSWER_H

#include "ctl/wire.h"
#include <jansson.h>

#define ANSWER_NODES_MAX 512

struct answer_pair {
    char *node; /* NULL: it is of no node in particular */
    char *name, *value;
};

struct answer {
    unsigned count, room;
    struct answer_pair *pairs;
};

/* Asks and fills `answer`, which has to be given back with answer_free() whatever came of it.  What
 * went wrong is in wire->error; a refusal (EXIT_REFUSED) leaves the connection usable. */
enum exit_code answer_get(struct wire *, const char *command, struct answer *);
void answer_free(struct answer *);

/* The value, or NULL; `node` NULL: of none in particular. */
const char *answer_find(const struct answer *, const char *node, const char *name);
/* The same as text to print and as a number: "-" and 0 where it is missing. */
const char *answer_text(const struct answer *, const char *node, const char *name);
double answer_number(const struct answer *, const char *node, const char *name);
/* Whether it is `yes`. */
bool answer_is(const struct answer *, const char *node, const char *name);

/* The nodes it speaks of, each once, by name: returns how many, at most `room`. */
unsigned answer_nodes(const struct answer *, const char **nodes, unsigned room);

/* All of it: {"copies": 3, "nodes": {"a": {"status": "up"}}}.  Gives a reference. */
json_t *answer_to_json(const struct answer *);

#endif
