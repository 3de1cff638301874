#include "server/settings.h"
#include "ring/table.h"
#include <stdlib.h>
#include <string.h>

struct settings settings;

#define MB        (1024ull * 1024)
#define MINUTE_MS 60000ull

static void init_accepted(struct settings *s)
{
    s->accepted.slab_growth_factor = 1.25;
    s->accepted.slab_min_size = 48;
    s->accepted.slab_chunk_max = 512 * 1024;
    s->accepted.slab_automove = 1;
    s->accepted.slab_automove_window = 10;
    s->accepted.slab_automove_ratio = 0.8;
    s->accepted.slab_automove_freeratio = 0.01;
    s->accepted.slab_reassign = true;
    s->accepted.lru_crawler = true;
    s->accepted.lru_maintainer = true;
    s->accepted.lru_segmented = true;
    s->accepted.lru_crawler_sleep_us = 100;
    s->accepted.hot_lru_pct = 20;
    s->accepted.warm_lru_pct = 40;
    s->accepted.hot_max_factor = 0.2;
    s->accepted.warm_max_factor = 2.0;
    s->accepted.temporary_ttl = 61;
    s->accepted.watcher_logbuf_kb = 256;
    s->accepted.worker_logbuf_kb = 64;
    s->accepted.hash_algorithm = "xxh3";
    s->accepted.hash_expand = true;
}

void settings_init(struct settings *s)
{
    memset(s, 0, sizeof *s);
    s->tcp_port = 11211;
    s->unix_mask = 0700;
    s->backlog = 1024;
    s->protocol = LISTEN_NEGOTIATING;
    s->threads = 4;
    s->limit_bytes = 64 * MB;
    s->item_bytes_max = MB;
    s->evicts = true;
    s->uses_cas = true;
    s->prefix_delimiter = ':';
    s->connections_max = 1024;
    s->requests_per_event = 20;
    s->maxconns_fast = true;
    s->allows_flush = true;
    s->allows_dump = true;
    s->allows_watch = true;
    s->tls.key_format = 1; /* SSL_FILETYPE_PEM */
    s->tls.min_version = 2;
    s->tls.write_buffer_bytes = 16 * 1024;
    s->weight = 100;
    s->copies = 3;
    s->read_quorum = s->write_quorum = 2;
    s->partition_bits = RING_PARTITION_BITS_DEFAULT;
    s->clock_drift_max_ms = 60 * 1000;
    s->request_timeout_ms = 1000;
    s->hedge_min_ms = 5;
    s->hint_lifetime_ms = 45 * MINUTE_MS;
    s->tombstone_grace_ms = 60 * MINUTE_MS;
    s->siblings_max = 32;
    s->time_scale = 1.0;
    init_accepted(s);
}

void settings_deinit(struct settings *s)
{
    for (unsigned i = 0; i < s->listen_count; i++) {
        free(s->listen[i].host);
        s->listen[i].host = NULL;
    }
    s->listen_count = 0;
    free(s->listen_text);
    s->listen_text = NULL;
}
