/* `watch`: streams of log lines to clients that asked for them.
 *
 * Costs one relaxed load where nobody watches.  A line is formatted once and appended to the
 * bounded stream (server/stream.h) of every watcher that wants its kind; where a stream is full
 * the line is skipped, and the stream tells its reader so.
 *
 * Threads: any.  One lock guards the list of watchers; it may be taken under a stripe's lock
 * (evictions), and nothing but a stream's own lock is taken under it. */
#ifndef SERVER_WATCH_H
#define SERVER_WATCH_H

#include "protocol/operation.h"
#include "server/connection.h"
#include <stdatomic.h>

#define WATCHERS_MAX 20

struct item;
struct store_sweep_report;

enum watch_kind {
    WATCH_FETCHERS = 1 << 0,
    WATCH_MUTATIONS = 1 << 1,
    WATCH_EVICTIONS = 1 << 2,
    WATCH_CONNEVENTS = 1 << 3,
    WATCH_DELETIONS = 1 << 4,
    WATCH_SYSEVENTS = 1 << 5,
    /* Accepted, nothing to say: rawcmds (as in memcached), proxyreqs, proxyevents, proxyuser. */
    WATCH_NOTHING = 1 << 6,
};

extern _Atomic unsigned watch_kinds; /* what any watcher wants */

static inline bool watch_wants(enum watch_kind kind)
{
    return (atomic_load_explicit(&watch_kinds, memory_order_relaxed) & (unsigned)kind) != 0;
}

enum watch_add_result { WATCH_ADDED, WATCH_TOO_MANY, WATCH_FAILED };
/* Makes a watcher of the connection. `kinds`: a set of enum watch_kind. */
enum watch_add_result watch_add(struct connection *, unsigned kinds);

/* Each writes one line, to be called only if watch_wants() its kind. */
void watch_item_get(const struct connection *, struct slice key, bool is_hit,
                    uint64_t value_bytes);
void watch_item_store(const struct connection *, const struct operation *, enum outcome_status);
void watch_item_deleted(const struct connection *, const struct operation *,
                        uint64_t value_bytes);
/* For store_options.on_eviction: under the stripe's lock.  Says nothing of expired items. */
void watch_item_evicted(void *context, const struct item *, bool is_expired);
/* For store_options.on_sweep: the sysevents. */
void watch_swept(void *context, const struct store_sweep_report *);
void watch_connection_new(const struct connection *);
void watch_connection_closed(const struct connection *, enum connection_close_reason);

struct watch_stats {
    uint64_t dropped, written; /* log_worker_dropped, log_worker_written */
    uint64_t skipped, sent;    /* log_watcher_skipped, log_watcher_sent */
    unsigned watchers;
};
void watch_stats(struct watch_stats *);
void watch_stats_reset(void);

#endif
