/* `stats detail`: how often keys of each prefix (what stands before the first -D character) were
 * asked for, found, stored and deleted.
 *
 * Only while `stats detail on`; at most PREFIXES_MAX prefixes, further ones are not counted.
 *
 * Threads: any; one lock, under which nothing else is locked. */
#ifndef SERVER_PREFIX_STATS_H
#define SERVER_PREFIX_STATS_H

#include "ring/slice.h"
#include <stdint.h>

#define PREFIXES_MAX 10000

struct prefix_counts {
    uint64_t gets, hits, sets, deletes;
};

void prefix_stats_count_get(struct slice key, bool is_hit);
void prefix_stats_count_set(struct slice key);
void prefix_stats_count_delete(struct slice key);

/* Calls `visit` for every prefix, under the lock. */
void prefix_stats_visit(void (*visit)(void *context, struct slice prefix,
                                      const struct prefix_counts *),
                        void *context);

/* Forgets all prefixes. */
void prefix_stats_clear(void);

#endif
