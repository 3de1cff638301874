/* `stats` and its sub-commands, in the exact form that monitoring reads.
 *
 * `stats` itself has exactly memcached's fields, fewer than 4 KB of them; what is new has
 * sub-commands of its own. */
#ifndef SERVER_STATS_H
#define SERVER_STATS_H

#include "server/execution.h"

/* Where the lines go. */
struct stats_writer {
    struct execution *execution;
    const struct operation *operation;
};

void stats_u64(const struct stats_writer *, const char *name, uint64_t value);
void stats_text(const struct stats_writer *, const char *name, const char *value);
void stats_format(const struct stats_writer *, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void stats_bool(const struct stats_writer *, const char *name, bool value); /* yes, no */

/* The counters of all workers together, less what they were at the last reset. */
struct stats_sums {
#define X(name) uint64_t name;
    COUNTERS(X)
#undef X
};
void stats_sum(struct stats_sums *);

typedef void stats_list(const struct stats_writer *);
stats_list stats_general;                                     /* stats_general.c */
stats_list stats_settings;                                    /* stats_settings.c */
stats_list stats_items, stats_slabs, stats_sizes;             /* stats_items.c */
stats_list stats_conns;                                       /* stats_conns.c */
stats_list stats_cluster, stats_siblings;                     /* stats_cluster.c */
stats_list stats_hotkeys;                                     /* stats_hotkeys.c */

/* `stats reset` also forgets the hot keys. */
void stats_hotkeys_reset(void);

#endif
