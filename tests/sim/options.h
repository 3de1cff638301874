/* Options: what a run of the simulator is to be like.
 *
 * All that happens follows from them, the seed above all.
 *
 * Threads: one. */
#ifndef TESTS_SIM_OPTIONS_H
#define TESTS_SIM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

/* What may go wrong. */
enum fault_type {
    FAULT_SLOW_LINK,  /* a link is slow */
    FAULT_LOSS,       /* links lose messages */
    FAULT_DOUBLE,     /* links deliver messages twice */
    FAULT_SHUFFLE,    /* links deliver messages out of order */
    FAULT_CUT,        /* the nodes are in two groups that cannot reach each other */
    FAULT_ONE_WAY,    /* a node's messages reach nobody, or it hears nobody */
    FAULT_FLAP,       /* a link fails and comes back, again and again */
    FAULT_SLOW_NODE,  /* a node is slow to everybody */
    FAULT_PAUSE,      /* a node stands still */
    FAULT_CRASH,      /* a node loses its memory, and is started again */
    FAULT_CLOCK,      /* a node's clock is set wrong when it restarts */
    FAULT_DRIFT,      /* a node's clock runs too fast or too slow */
    FAULT_JUMP,       /* a node's clock jumps */
    FAULT_MEMORY,     /* a node needs memory: it evicts, keeps stubs, forgets */
    FAULT_ALLOCATION, /* a node finds no memory */
    FAULT_MEMBERS,    /* nodes join and leave, and weights change */
    FAULT_TYPES
};

/* What clients do. */
enum workload_type {
    WORKLOAD_BLIND,    /* set, and delete without a reply */
    WORKLOAD_CONTEXT,  /* writes by clients that read before, some of them long before */
    WORKLOAD_DELETE,   /* deletes of both kinds */
    WORKLOAD_COUNTER,  /* incr */
    WORKLOAD_CAS,      /* loops of reading and cas, and add */
    WORKLOAD_POLICIES, /* keys with a last-write-wins policy */
    WORKLOAD_REGISTER, /* touch */
    WORKLOAD_FLUSH,    /* flush_all */
    WORKLOAD_TYPES
};

/* Rules of the nodes' glue that can be broken, to see that it is noticed.  Those of ring/ are
 * broken when they are compiled; see build.am. */
enum glue_break {
    BREAK_NOTHING,
    BREAK_ANSWER_TWICE, /* the client of a write hears its answer again */
    BREAK_KEEP_COPIES,  /* who does not own a cell keeps it for good */
    BREAK_REUSE_DOTS,   /* a node that restarts does not ask how far its clock was */
    BREAK_ASK_THE_DEAD, /* nodes believed down are asked like the others */
    BREAK_REAP_EARLY,   /* tombstones are reaped long before their time */
    BREAK_FORGET_HINTS, /* a hint is dropped when it is sent */
    BREAK_CHATTER,      /* all is compared again and again, though nothing has changed */
    BREAK_NO_LIMIT,     /* context writes leave any number of siblings */
    BREAK_KEEP_QUIET,   /* the client of one command in a thousand hears nothing */
    BREAK_DEAF,         /* a node takes no news of members and tables */
    GLUE_BREAKS
};

struct options {
    uint64_t seed;
    unsigned nodes;     /* at the start; 0: drawn from the seed */
    unsigned quorum[3]; /* N, R, W; 0: drawn from the seed */
    uint64_t run_ms;
    unsigned faults;    /* a bit for each type */
    unsigned workloads; /* a bit for each type */
    unsigned keys, clients;
    unsigned partition_bits;
    bool is_tracing;
    unsigned trace_key; /* REPORT_ALL_KEYS: all */
    enum glue_break glue_break;
    unsigned seed_count; /* this many seeds, one after the other */
    uint64_t wall_s_max; /* start no seed after that many seconds; 0: no limit */
    bool is_quiet;
};

enum options_answer { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_BAD };

/* Reads the command line; says on stderr what is wrong with it. */
enum options_answer options_parse(struct options *, int count, char **arguments);

/* Its name on the command line. */
const char *options_fault_name(enum fault_type);

#endif
