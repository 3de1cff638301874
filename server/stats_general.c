/* `stats`: memcached's general fields, in its order. */
#include "server/clock.h"
#include "server/crawler.h"
#include "server/listener.h"
#include "server/settings.h"
#include "server/stats.h"
#include "server/tls.h"
#include "server/watch.h"
#include <ev.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Descriptors that each worker needs besides its connections. */
#define WORKER_DESCRIPTORS 5

/* What the fields below are made of, read once. */
struct general {
    struct stats_sums sums;
    struct store_stats store;
    struct listeners_stats listeners;
    struct watch_stats watch;
    struct crawler_stats crawler;
};

static void list_process(const struct stats_writer *writer)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    stats_u64(writer, "pid", (uint64_t)getpid());
    stats_u64(writer, "uptime", clock_relative_s(clock_now_ms()));
    stats_u64(writer, "time", clock_now_ms() / 1000);
    stats_text(writer, "version", MEMCACHED_VERSION);
    stats_format(writer, "libevent", "libev-%d.%d", ev_version_major(), ev_version_minor());
    stats_u64(writer, "pointer_size", 8 * sizeof(void *));
    stats_format(writer, "rusage_user", "%ld.%06ld", (long)usage.ru_utime.tv_sec,
                 (long)usage.ru_utime.tv_usec);
    stats_format(writer, "rusage_system", "%ld.%06ld", (long)usage.ru_stime.tv_sec,
                 (long)usage.ru_stime.tv_usec);
}

static void list_connections(const struct stats_writer *writer, const struct general *general)
{
    unsigned count = workers_connection_count();

    stats_u64(writer, "max_connections", settings.connections_max);
    stats_u64(writer, "curr_connections", count);
    stats_u64(writer, "total_connections", general->listeners.connections_total);
    if (settings.maxconns_fast)
        stats_u64(writer, "rejected_connections", general->listeners.connections_rejected);
    stats_u64(writer, "connection_structures", count + general->listeners.listening);
    stats_u64(writer, "response_obj_oom", general->sums.response_obj_oom);
    stats_u64(writer, "response_obj_count", 0);
    stats_u64(writer, "response_obj_bytes", 0);
    stats_u64(writer, "read_buf_count", workers_count());
    stats_u64(writer, "read_buf_bytes", (uint64_t)workers_count() * WORKER_INPUT_BYTES);
    stats_u64(writer, "read_buf_bytes_free", 0);
    stats_u64(writer, "read_buf_oom", general->sums.read_buf_oom);
    stats_u64(writer, "reserved_fds", (uint64_t)workers_count() * WORKER_DESCRIPTORS);
}

static void list_commands(const struct stats_writer *writer, const struct general *general)
{
    const struct stats_sums *sums = &general->sums;

    stats_u64(writer, "cmd_get", sums->cmd_get);
    stats_u64(writer, "cmd_set", sums->cmd_set);
    stats_u64(writer, "cmd_flush", sums->cmd_flush);
    stats_u64(writer, "cmd_touch", sums->cmd_touch);
    stats_u64(writer, "cmd_meta", sums->cmd_meta);
    stats_u64(writer, "get_hits", sums->get_hits);
    stats_u64(writer, "get_misses", sums->get_misses);
    stats_u64(writer, "get_expired", sums->get_expired + general->store.get_expired);
    stats_u64(writer, "get_flushed", sums->get_flushed + general->store.get_flushed);
    stats_u64(writer, "delete_misses", sums->delete_misses);
    stats_u64(writer, "delete_hits", sums->delete_hits);
    stats_u64(writer, "incr_misses", sums->incr_misses);
    stats_u64(writer, "incr_hits", sums->incr_hits);
    stats_u64(writer, "decr_misses", sums->decr_misses);
    stats_u64(writer, "decr_hits", sums->decr_hits);
    stats_u64(writer, "cas_misses", sums->cas_misses);
    stats_u64(writer, "cas_hits", sums->cas_hits);
    stats_u64(writer, "cas_badval", sums->cas_badval);
    stats_u64(writer, "touch_hits", sums->touch_hits);
    stats_u64(writer, "touch_misses", sums->touch_misses);
    stats_u64(writer, "store_too_large", sums->store_too_large);
    stats_u64(writer, "store_no_memory", sums->store_no_memory);
    stats_u64(writer, "auth_cmds", sums->auth_cmds);
    stats_u64(writer, "auth_errors", sums->auth_errors);
    if (settings.idle_timeout_s != 0)
        stats_u64(writer, "idle_kicks", sums->idle_kicks);
}

/* n of the smallest 2^n that is at least `count`. */
static unsigned power_of(uint64_t count)
{
    return count <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(count - 1);
}

static void list_resources(const struct stats_writer *writer, const struct general *general)
{
    stats_u64(writer, "bytes_read", general->sums.bytes_read);
    stats_u64(writer, "bytes_written", general->sums.bytes_written);
    stats_u64(writer, "limit_maxbytes", atomic_load(&settings.limit_bytes));
    stats_u64(writer, "accepting_conns", general->listeners.is_accepting);
    stats_u64(writer, "listen_disabled_num", general->listeners.disabled_count);
    stats_u64(writer, "time_in_listen_disabled_us", general->listeners.disabled_us);
    stats_u64(writer, "threads", workers_count());
    stats_u64(writer, "conn_yields", general->sums.conn_yields);
    stats_u64(writer, "hash_power_level", power_of(general->store.index_buckets));
    stats_u64(writer, "hash_bytes", general->store.index_bytes);
    stats_u64(writer, "hash_is_expanding", general->store.index_is_growing);
}

/* Threads of memcached that have no counterpart here, shown under the same conditions. */
static void list_background(const struct stats_writer *writer, const struct general *general)
{
    if (settings.accepted.slab_reassign) {
        stats_u64(writer, "slab_reassign_rescues", 0);
        stats_u64(writer, "slab_reassign_chunk_rescues", 0);
        stats_u64(writer, "slab_reassign_inline_reclaim", 0);
        stats_u64(writer, "slab_reassign_busy_items", 0);
        stats_u64(writer, "slab_reassign_busy_deletes", 0);
        stats_u64(writer, "slab_reassign_busy_nomem", 0);
        stats_text(writer, "slab_reassign_last_busy_status", "none");
        stats_u64(writer, "slab_reassign_running", 0);
        stats_u64(writer, "slabs_moved", 0);
    }
    if (atomic_load(&settings.accepted.lru_crawler)) {
        stats_u64(writer, "lru_crawler_running", general->crawler.is_running);
        stats_u64(writer, "lru_crawler_starts", general->crawler.starts);
    }
    if (atomic_load(&settings.accepted.lru_maintainer))
        stats_u64(writer, "lru_maintainer_juggles", 0);
    stats_u64(writer, "malloc_fails", 0);
    stats_u64(writer, "log_worker_dropped", general->watch.dropped);
    stats_u64(writer, "log_worker_written", general->watch.written);
    stats_u64(writer, "log_watcher_skipped", general->watch.skipped);
    stats_u64(writer, "log_watcher_sent", general->watch.sent);
    stats_u64(writer, "log_watchers", general->watch.watchers);
}

static void list_tls(const struct stats_writer *writer, const struct general *general)
{
#ifdef WITH_TLS
    if (!settings.tls.enabled)
        return;
    if (settings.tls.session_cache)
        stats_u64(writer, "ssl_new_sessions", general->sums.ssl_new_sessions);
    stats_u64(writer, "ssl_handshake_errors", general->sums.ssl_handshake_errors);
    stats_u64(writer, "ssl_proto_errors", general->sums.ssl_proto_errors);
    stats_u64(writer, "time_since_server_cert_refresh", tls_seconds_since_reload());
#else
    (void)writer;
    (void)general;
#endif
}

static void list_items(const struct stats_writer *writer, const struct general *general)
{
    bool has_maintainer = atomic_load(&settings.accepted.lru_maintainer);
    const struct store_stats *store = &general->store;

    stats_u64(writer, "unexpected_napi_ids", general->sums.unexpected_napi_ids);
    stats_u64(writer, "round_robin_fallback", general->sums.round_robin_fallback);
    stats_u64(writer, "bytes", store->bytes);
    stats_u64(writer, "curr_items", store->items);
    stats_u64(writer, "total_items", store->items_total);
    stats_u64(writer, "slab_global_page_pool", 0);
    stats_u64(writer, "expired_unfetched", store->expired_unfetched);
    stats_u64(writer, "evicted_unfetched", store->evicted_unfetched);
    if (has_maintainer)
        stats_u64(writer, "evicted_active", store->evicted_active);
    stats_u64(writer, "evictions", store->evictions);
    stats_u64(writer, "reclaimed", store->reclaimed);
    stats_u64(writer, "crawler_reclaimed", store->swept);
    stats_u64(writer, "crawler_items_checked", store->swept_checked);
    stats_u64(writer, "lrutail_reflocked", 0);
    if (!has_maintainer)
        return;
    stats_u64(writer, "moves_to_cold", 0);
    stats_u64(writer, "moves_to_warm", store->promoted);
    stats_u64(writer, "moves_within_lru", 0);
    stats_u64(writer, "direct_reclaims", store->evictions);
    stats_u64(writer, "lru_bumps_dropped", 0);
}

void stats_general(const struct stats_writer *writer)
{
    struct general general;

    stats_sum(&general.sums);
    store_stats(writer->execution->store, &general.store);
    listeners_stats(&general.listeners);
    watch_stats(&general.watch);
    crawler_stats(&general.crawler);
    list_process(writer);
    list_connections(writer, &general);
    list_commands(writer, &general);
    list_resources(writer, &general);
    list_background(writer, &general);
    list_tls(writer, &general);
    list_items(writer, &general);
}
