/* Acts, and waiting until they are complete, with a bar.
 *
 * An act is one command; the cluster then goes on by itself, so an end of ringctl stops nothing.
 *
 * Threads: one. */
#ifndef CTL_WAIT_H
#define CTL_WAIT_H

#include "ctl/answer.h"
#include "ctl/options.h"
#include "ctl/wire.h"

/* What to wait for, by asking `poll` again and again.  All zero but the title: until no partition
 * is on its way any more. */
struct wait {
    const char *title; /* of the bar */
    const char *poll;  /* NULL: "cluster moves" */
    const char *left;  /* the number to become 0; NULL: partitions_left */
    const char *node;  /* whose number; NULL: the asked node's */
    const char *gone;  /* NULL, or: this node is to be no member any more */
    /* NULL, or what is to be seen to once that is so; what it returns is what became of it all. */
    enum exit_code (*check)(struct wire *);
};

/* Sends the command, with ` force` if the options say so, then waits as they say.  On EXIT_FINE it
 * has printed what came of it. */
enum exit_code act_and_wait(const struct options *, struct wire *, const char *command,
                            const struct wait *);

#endif
