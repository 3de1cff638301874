/* What ringctl exits with, and what its functions return: what became of what was asked for. */
#ifndef CTL_EXIT_CODE_H
#define CTL_EXIT_CODE_H

enum exit_code {
    EXIT_FINE = 0,
    EXIT_REFUSED = 1,     /* the cluster says no, or does not have it */
    EXIT_USAGE = 2,       /* the command line is wrong */
    EXIT_UNREACHABLE = 3, /* no connection, or it broke */
    EXIT_LATE = 4,        /* no answer in time, or an act did not end in time */
};

#endif
