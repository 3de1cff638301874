/* What the tests of quorum reads, quorum writes and forwarding share: one route, one set of effects,
 * and what must be in them. */
#ifndef TESTS_UNIT_QUORUM_CHECK_H
#define TESTS_UNIT_QUORUM_CHECK_H

#include "ring/request.h"
#include "ring/route.h"
#include "ring/trace.h"

extern struct route route;
extern struct request_effects effects;
extern struct ring_trace trace;

/* Makes `route`: owners 1 .. copies, then fallbacks up to `count`; all reachable; this node is
 * `self`. */
void make_route(unsigned copies, unsigned count, node_id self);

/* Before a step: an empty trace in the effects. */
void clear_trace(void);

/* The effects' message `i` is of that kind, for `to` and with a hint for `hint_for`. */
void assert_send(unsigned i, enum request_send_kind kind, node_id to, node_id hint_for);
/* The effects answer the client, after `got` of `needed` nodes. */
void assert_answer(enum request_answer answer, unsigned got, unsigned needed);

#endif
