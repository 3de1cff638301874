/* `lru_crawler`: there is no crawler thread (the sweep of the store does its work), but what it
 * gives its users: walks that list every key, one at a time in the whole server.
 *
 * Threads: any. */
#ifndef SERVER_CRAWLER_H
#define SERVER_CRAWLER_H

#include <stdbool.h>
#include <stdint.h>

struct crawler_stats {
    uint64_t starts;
    bool is_running;
};
void crawler_stats(struct crawler_stats *);
void crawler_stats_reset(void);

struct execution;
struct operation;

/* debug keys: answers with every key, one per line, then END. */
void crawler_list_keys(struct execution *, const struct operation *);

#endif
