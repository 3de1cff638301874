/* Checks: what has to hold once everything has settled.
 *
 * What has to hold at any time is checked where it happens: see truth.h and workload.h.
 *
 * Threads: one. */
#ifndef TESTS_SIM_CHECKS_H
#define TESTS_SIM_CHECKS_H

#include <stdbool.h>

struct sim;

#define CHECKS_SETTLE_MS 300000 /* after faults, until everything has settled */
#define CHECKS_CALM_MS   60000  /* the same where nothing was wrong */

/* Everything has settled.  False if a promise is broken. */
bool checks_settled(struct sim *);

/* From now on nobody asks for anything; then, that nobody did anything. */
void checks_begin_idle(struct sim *);
bool checks_idle(struct sim *);

#endif
