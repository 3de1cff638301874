/* Cells in memory, and client commands executed on them as one node of a cluster would that is
 * alone: what server/command.h says, without a store. */
#ifndef TESTS_UNIT_CELL_KEEPER_H
#define TESTS_UNIT_CELL_KEEPER_H

#include "ring/cell.h"
#include "server/command.h"
#include "tests/unit/conversation.h"

#define KEEPER_SELF 7

/* Keeps nothing; for each test, in its setup and teardown. */
void keeper_start(void);
void keeper_end(void);

/* Executes on the cells what has a key, and the rest as ever: for `conversation_execute`. */
conversation_executor keeper_execute;

/* The cell of a key, empty at first; it stays where it is.  With room for more siblings. */
struct cell *keeper_cell(const char *key);

/* Puts a value in there as some node wrote it, and hides what is there already from it. */
struct sibling *keeper_put(const char *key, struct dot, const char *value);

/* How the command that was executed last ended; 0: it was a read. */
extern enum command_applied keeper_applied;
extern bool keeper_wrote; /* whether it was asked to be stored */

/* What the next commands are to be refused for: their clock is behind by more than the drift. */
extern uint64_t keeper_drift_max_ms;

#endif
