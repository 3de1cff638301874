/* The commands of ringctl, one function each.
 *
 * A command writes what it found to stdout and what went wrong to stderr, and returns what the
 * program exits with.
 *
 * Threads: one. */
#ifndef CTL_COMMAND_H
#define CTL_COMMAND_H

#include "ctl/options.h"
#include "ctl/wire.h"

/* `words` are what follows the command's name. */
typedef enum exit_code command_run(const struct options *, struct wire *, int count, char **words);

struct command {
    const char *name;
    const char *arguments; /* as --help shows them */
    int words_min, words_max;
    command_run *run;
    const char *help;
};

extern const struct command commands[]; /* the last one has no name */

command_run command_status;                                 /* status.c */
command_run command_ring, command_hints, command_config;    /* show.c */
command_run command_get, command_put, command_delete;       /* keys.c */
command_run command_vget;                                   /* keys.c */
command_run command_plan, command_commit;                   /* plan.c */
command_run command_leave, command_remove, command_replace; /* acts.c */
command_run command_weight, command_repair, command_drain;  /* acts.c */

#endif
