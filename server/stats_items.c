/* `stats items`, `slabs`, `sizes`: there are no slab classes, so whoever asks for them is shown
 * one, number 1, that holds everything. */
#include "server/settings.h"
#include "server/stats.h"
#include <inttypes.h>
#include <stdio.h>

#define PAGE_BYTES (1u << 20)

/* The segments of memcached's LRU: our small queue is the hot one, the main one the cold one. */
static void list_segments(const struct stats_writer *writer, const struct store_stats *store)
{
    stats_u64(writer, "items:1:number_hot", store->small_items);
    stats_u64(writer, "items:1:number_warm", 0);
    stats_u64(writer, "items:1:number_cold", store->main_items);
    if (atomic_load(&settings.accepted.temporary_ttl) >= 0)
        stats_u64(writer, "items:1:number_temp", 0);
    stats_u64(writer, "items:1:age_hot", 0);
    stats_u64(writer, "items:1:age_warm", 0);
}

/* What moves between them, and where it is found. */
static void list_moves(const struct stats_writer *writer, const struct store_stats *store)
{
    struct stats_sums sums;

    stats_sum(&sums);
    stats_u64(writer, "items:1:moves_to_cold", 0);
    stats_u64(writer, "items:1:moves_to_warm", store->promoted);
    stats_u64(writer, "items:1:moves_within_lru", 0);
    stats_u64(writer, "items:1:direct_reclaims", store->evictions);
    stats_u64(writer, "items:1:hits_to_hot", 0);
    stats_u64(writer, "items:1:hits_to_warm", 0);
    stats_u64(writer, "items:1:hits_to_cold", sums.get_hits);
    stats_u64(writer, "items:1:hits_to_temp", 0);
}

void stats_items(const struct stats_writer *writer)
{
    const bool has_maintainer = atomic_load(&settings.accepted.lru_maintainer);
    struct store_stats store;

    store_stats(writer->execution->store, &store);
    if (store.items == 0)
        return;
    stats_u64(writer, "items:1:number", store.items);
    if (has_maintainer)
        list_segments(writer, &store);
    stats_u64(writer, "items:1:age", store.oldest_age_s);
    stats_u64(writer, "items:1:mem_requested", store.bytes_requested);
    stats_u64(writer, "items:1:evicted", store.evictions);
    stats_u64(writer, "items:1:evicted_nonzero", store.evicted_nonzero);
    stats_u64(writer, "items:1:evicted_time", store.evicted_age_s);
    stats_u64(writer, "items:1:outofmemory", store.out_of_memory);
    stats_u64(writer, "items:1:tailrepairs", 0);
    stats_u64(writer, "items:1:reclaimed", store.reclaimed);
    stats_u64(writer, "items:1:expired_unfetched", store.expired_unfetched);
    stats_u64(writer, "items:1:evicted_unfetched", store.evicted_unfetched);
    if (has_maintainer)
        stats_u64(writer, "items:1:evicted_active", store.evicted_active);
    stats_u64(writer, "items:1:crawler_reclaimed", store.swept);
    stats_u64(writer, "items:1:crawler_items_checked", store.swept_checked);
    stats_u64(writer, "items:1:lrutail_reflocked", 0);
    if (has_maintainer)
        list_moves(writer, &store);
}

static void list_class(const struct stats_writer *writer, const struct store_stats *store)
{
    uint64_t chunk_bytes = store->items != 0 ? store->bytes / store->items : 0;
    uint64_t pages = (store->bytes + PAGE_BYTES - 1) / PAGE_BYTES;
    uint64_t per_page, chunks;

    if (chunk_bytes == 0)
        chunk_bytes = 1;
    per_page = chunk_bytes < PAGE_BYTES ? PAGE_BYTES / chunk_bytes : 1;
    chunks = pages * per_page;
    if (chunks < store->items)
        chunks = store->items;
    stats_u64(writer, "1:chunk_size", chunk_bytes);
    stats_u64(writer, "1:chunks_per_page", per_page);
    stats_u64(writer, "1:total_pages", pages);
    stats_u64(writer, "1:total_chunks", chunks);
    stats_u64(writer, "1:used_chunks", store->items);
    stats_u64(writer, "1:free_chunks", chunks - store->items);
    stats_u64(writer, "1:free_chunks_end", 0);
}

void stats_slabs(const struct stats_writer *writer)
{
    struct store_stats store;
    struct stats_sums sums;
    bool is_used;

    store_stats(writer->execution->store, &store);
    stats_sum(&sums);
    is_used = store.items != 0 || store.items_total != 0;
    if (is_used) {
        list_class(writer, &store);
        stats_u64(writer, "1:get_hits", sums.get_hits);
        stats_u64(writer, "1:cmd_set", sums.cmd_set);
        stats_u64(writer, "1:delete_hits", sums.delete_hits);
        stats_u64(writer, "1:incr_hits", sums.incr_hits);
        stats_u64(writer, "1:decr_hits", sums.decr_hits);
        stats_u64(writer, "1:cas_hits", sums.cas_hits);
        stats_u64(writer, "1:cas_badval", sums.cas_badval);
        stats_u64(writer, "1:touch_hits", sums.touch_hits);
    }
    stats_u64(writer, "active_slabs", is_used);
    stats_u64(writer, "total_malloced", store.bytes + store.index_bytes + store.overhead_bytes);
}

static void list_size(void *context, uint64_t bytes, uint64_t items)
{
    const struct stats_writer *writer = context;
    char name[24];

    snprintf(name, sizeof name, "%" PRIu64, bytes);
    stats_u64(writer, name, items);
}

void stats_sizes(const struct stats_writer *writer)
{
    struct stats_writer copy = *writer;

    if (settings.track_sizes)
        store_sizes(writer->execution->store, list_size, &copy);
    else
        stats_text(writer, "sizes_status", "disabled");
}
