/* Plays many histories and says which promises broke.
 *
 * EXPLORE_HISTORIES in the environment says how many histories there are, all variants together
 * (default 20000); EXPLORE_SEED replays one of each variant. */
#ifndef TESTS_UNIT_EXPLORE_SEARCH_H
#define TESTS_UNIT_EXPLORE_SEARCH_H

#include "tests/unit/explore/history.h"

#define PROMISE(name) (1u << PROMISE_##name)
#define ANY_PROMISE   ((1u << PROMISES) - 1)

/* Plays `percent` of the histories wanted, but stops when a promise of the set `stop_at` is
 * broken.  Returns whether one was, and prints the seeds. */
bool search(unsigned variant, enum rule broken_rule, unsigned percent, unsigned stop_at);

#endif
