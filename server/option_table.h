/* The options, as data: one row per option and one per suboption of -o.  options.c reads the
 * command line, checks and prints --help by these rows alone; a new option is a new row.
 *
 * Threads: constant. */
#ifndef SERVER_OPTION_TABLE_H
#define SERVER_OPTION_TABLE_H

#include "server/settings.h"
#include <stdint.h>

/* How the text of an argument becomes a value. */
enum option_kind {
    OPTION_FLAG,   /* no argument; the number is the row's `min` */
    OPTION_NUMBER, /* decimal, min..max */
    OPTION_OCTAL,  /* the same in octal */
    OPTION_BYTES,  /* with k, m or g behind it; without, in units of `unit` */
    OPTION_REAL,   /* more than `min`, up to `max` */
    OPTION_TEXT,
    OPTION_REFUSED /* memcached has it, we have not; `help` says why */
};

enum option_group {
    GROUP_LISTEN,
    GROUP_CACHE,
    GROUP_CONNECTIONS,
    GROUP_CLIENTS,
    GROUP_TLS,
    GROUP_PROCESS,
    GROUP_CLUSTER,
    GROUP_BEYOND,
    GROUP_ACCEPTED, /* for memcached's sake: shown by `stats settings`, otherwise without effect */
    GROUP_HIDDEN    /* not in --help */
};

struct option_value {
    const char *text; /* NULL for a flag */
    int64_t number;
    double real;
};

/* Stores the value.  NULL, or what is wrong with it: then the complaint quotes the option. */
typedef const char *option_setter(struct settings *, const struct option_value *);

struct option_row {
    int letter;           /* 0: only a long name; not used for suboptions */
    const char *name;
    const char *argument; /* what --help calls it; NULL for a flag */
    enum option_group group;
    enum option_kind kind;
    option_setter *set;   /* NULL: nothing to store */
    const char *help;
    double min, max;      /* max 0: no bound but the kind's own */
    uint64_t unit;        /* of OPTION_BYTES */
    bool argument_is_optional;
    bool is_command_line_only; /* no setting of the configuration file */
};

extern const struct option_row option_rows[];
extern const unsigned option_row_count;
extern const struct option_row suboption_rows[];
extern const unsigned suboption_row_count;

/* The title of a group in --help. */
const char *option_group_title(enum option_group);

#endif
