/* `stats settings`, in memcached's order.  What belongs to its slab classes, its flash storage and
 * its LRU threads is shown as given on the command line, or as memcached has it by default: tools
 * read it. */
#include "server/settings.h"
#include "server/stats.h"
#include <stdio.h>

static const char *or_text(const char *text, const char *none)
{
    return text != NULL ? text : none;
}

static void list_listening(const struct stats_writer *writer)
{
    stats_u64(writer, "maxbytes", atomic_load(&settings.limit_bytes));
    stats_u64(writer, "maxconns", settings.connections_max);
    stats_format(writer, "tcpport", "%d", settings.tcp_port);
    stats_format(writer, "udpport", "%d", settings.udp_port);
    stats_text(writer, "inter", or_text(settings.listen_text, "NULL"));
    stats_u64(writer, "verbosity", atomic_load(&settings.verbosity));
    stats_u64(writer, "oldest", 0);
    stats_text(writer, "evictions", settings.evicts ? "on" : "off");
    stats_text(writer, "domain_socket", or_text(settings.unix_path, "NULL"));
    stats_format(writer, "umask", "%o", settings.unix_mask);
    stats_bool(writer, "shutdown_command", settings.allows_shutdown);
    stats_format(writer, "growth_factor", "%.2f", settings.accepted.slab_growth_factor);
    stats_u64(writer, "chunk_size", settings.accepted.slab_min_size);
    stats_u64(writer, "num_threads", settings.threads);
    stats_u64(writer, "num_threads_per_udp", settings.threads);
}

static const char *protocol_name(enum listen_protocol protocol)
{
    switch (protocol) {
    case LISTEN_NEGOTIATING:
        return "auto-negotiate";
    case LISTEN_ASCII:
        return "ascii";
    case LISTEN_BINARY:
        return "binary";
    }
    return "auto-negotiate";
}

static void list_protocol(const struct stats_writer *writer)
{
    stats_format(writer, "stat_key_prefix", "%c", settings.prefix_delimiter);
    stats_bool(writer, "detail_enabled", atomic_load(&settings.detail_enabled));
    stats_u64(writer, "reqs_per_event", settings.requests_per_event);
    stats_bool(writer, "cas_enabled", settings.uses_cas);
    stats_format(writer, "tcp_backlog", "%d", settings.backlog);
    stats_text(writer, "binding_protocol", protocol_name(settings.protocol));
    stats_bool(writer, "auth_enabled_sasl", settings.sasl);
    stats_text(writer, "auth_enabled_ascii", or_text(settings.auth_file, "no"));
    stats_u64(writer, "item_size_max", settings.item_bytes_max);
    stats_bool(writer, "maxconns_fast", settings.maxconns_fast);
}

static void list_background(const struct stats_writer *writer)
{
    stats_u64(writer, "hashpower_init", settings.accepted.hashpower_init);
    stats_bool(writer, "slab_reassign", settings.accepted.slab_reassign);
    stats_u64(writer, "slab_automove", atomic_load(&settings.accepted.slab_automove));
    stats_format(writer, "slab_automove_ratio", "%.2f",
                 atomic_load(&settings.accepted.slab_automove_ratio));
    stats_u64(writer, "slab_automove_window",
              atomic_load(&settings.accepted.slab_automove_window));
    stats_u64(writer, "slab_chunk_max", settings.accepted.slab_chunk_max);
    stats_bool(writer, "lru_crawler", atomic_load(&settings.accepted.lru_crawler));
    stats_u64(writer, "lru_crawler_sleep", atomic_load(&settings.accepted.lru_crawler_sleep_us));
    stats_u64(writer, "lru_crawler_tocrawl", atomic_load(&settings.accepted.lru_crawler_tocrawl));
    stats_u64(writer, "tail_repair_time", settings.accepted.tail_repair_time);
    stats_bool(writer, "flush_enabled", settings.allows_flush);
    stats_bool(writer, "dump_enabled", settings.allows_dump);
    stats_text(writer, "hash_algorithm", or_text(settings.accepted.hash_algorithm, "xxh3"));
    stats_bool(writer, "lru_maintainer_thread", atomic_load(&settings.accepted.lru_maintainer));
    stats_bool(writer, "lru_segmented", atomic_load(&settings.accepted.lru_segmented));
    stats_u64(writer, "hot_lru_pct", atomic_load(&settings.accepted.hot_lru_pct));
    stats_u64(writer, "warm_lru_pct", atomic_load(&settings.accepted.warm_lru_pct));
    stats_format(writer, "hot_max_factor", "%.2f",
                 atomic_load(&settings.accepted.hot_max_factor));
    stats_format(writer, "warm_max_factor", "%.2f",
                 atomic_load(&settings.accepted.warm_max_factor));
    stats_bool(writer, "temp_lru", atomic_load(&settings.accepted.temporary_ttl) >= 0);
    stats_format(writer, "temporary_ttl", "%d", atomic_load(&settings.accepted.temporary_ttl));
}

static void list_buffers(const struct stats_writer *writer)
{
    stats_u64(writer, "idle_timeout", settings.idle_timeout_s);
    stats_u64(writer, "watcher_logbuf_size",
              (uint64_t)settings.accepted.watcher_logbuf_kb * 1024);
    stats_u64(writer, "worker_logbuf_size", (uint64_t)settings.accepted.worker_logbuf_kb * 1024);
    stats_u64(writer, "read_buf_mem_limit", settings.accepted.read_buf_mem_limit);
    stats_bool(writer, "track_sizes", settings.track_sizes);
    stats_bool(writer, "inline_ascii_response", settings.accepted.inline_ascii_response);
}

/* memcached's defaults: nothing here reads them. */
static void list_flash(const struct stats_writer *writer)
{
    stats_u64(writer, "ext_item_size", 512);
    stats_u64(writer, "ext_item_age", UINT32_MAX);
    stats_u64(writer, "ext_low_ttl", 0);
    stats_u64(writer, "ext_recache_rate", 2000);
    stats_u64(writer, "ext_wbuf_size", 4194304);
    stats_u64(writer, "ext_compact_under", 0);
    stats_u64(writer, "ext_drop_under", 0);
    stats_u64(writer, "ext_max_sleep", 1000000);
    stats_text(writer, "ext_max_frag", "0.80");
    stats_format(writer, "slab_automove_freeratio", "%.3f",
                 atomic_load(&settings.accepted.slab_automove_freeratio));
    stats_bool(writer, "ext_drop_unread", false);
}

static void list_tls(const struct stats_writer *writer)
{
#ifdef WITH_TLS
    static const char *const versions[] = { "tlsv1.0", "tlsv1.1", "tlsv1.2", "tlsv1.3" };
    const struct tls_settings *tls = &settings.tls;

    stats_bool(writer, "ssl_enabled", tls->enabled);
    stats_text(writer, "ssl_chain_cert", or_text(tls->chain_file, "(null)"));
    stats_text(writer, "ssl_key", or_text(tls->key_file, "(null)"));
    stats_format(writer, "ssl_verify_mode", "%d", tls->verify_mode);
    stats_format(writer, "ssl_keyformat", "%d", tls->key_format);
    stats_text(writer, "ssl_ciphers", or_text(tls->ciphers, "NULL"));
    stats_text(writer, "ssl_ca_cert", or_text(tls->ca_file, "NULL"));
    stats_u64(writer, "ssl_wbuf_size", tls->write_buffer_bytes);
    stats_bool(writer, "ssl_session_cache", tls->session_cache);
    stats_bool(writer, "ssl_kernel_tls", tls->kernel_tls);
    stats_text(writer, "ssl_min_version",
               tls->min_version >= 0 && tls->min_version <= 3 ? versions[tls->min_version]
                                                              : "unknown");
#else
    stats_bool(writer, "ssl_enabled", false);
#endif
}

void stats_settings(const struct stats_writer *writer)
{
    list_listening(writer);
    list_protocol(writer);
    list_background(writer);
    list_buffers(writer);
    list_flash(writer);
    list_tls(writer);
    stats_u64(writer, "num_napi_ids", settings.accepted.napi_ids);
    stats_text(writer, "memory_file", "(null)");
    stats_u64(writer, "client_flags_size", sizeof(uint32_t));
}
