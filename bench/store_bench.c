/* storebench: measures the store alone, without a network.
 *
 *     storebench speed [ITEMS]           ns per operation and bytes per item, 16 B keys, 32 B values
 *     storebench density KEY VALUE MB    items held at -m MB; VALUE may be lognormal:MEDIAN,SIGMA
 *     storebench patterns MB             live payload and RSS over -m while the sizes change
 *     storebench expired MB              half the items expired, then more sets: who is left
 *     storebench misses MB [WORKLOAD]    miss ratios of several popularities, and an LRU's beside
 *
 * Each run is one process: RSS is its own. */
#include "ring/key_hash.h"
#include "server/clock.h"
#include "server/store.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define KEY_MAX 64

static struct store *store;
static uint64_t random_state = 88172645463325252u;

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x2545f4914f6cdd1du;
}

static double random_unit(void)
{
    return (double)(random_next() >> 11) * 0x1p-53;
}

static double seconds(void)
{
    struct timespec time;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static uint64_t resident_bytes(void)
{
    unsigned long long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file == NULL || fscanf(file, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    if (file != NULL)
        fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static struct slice key_of(uint64_t number, unsigned size, unsigned char key[KEY_MAX])
{
    for (unsigned i = size; i-- > 0; number /= 10)
        key[i] = (unsigned char)('0' + number % 10);
    return (struct slice){key, size};
}

static void open_store(uint64_t megabytes)
{
    const struct store_options options = {
        .limit_bytes = megabytes << 20,
        .item_bytes_max = 1 << 20,
        .threads = 4,
        .evicts = true,
    };

    store = store_new(&options);
    if (store == NULL)
        exit(1);
    store_thread_init(store);
}

static bool set(uint64_t number, unsigned key_bytes, uint64_t value_bytes, uint64_t now_ms,
                uint64_t expiry_ms)
{
    unsigned char key[KEY_MAX];
    const struct item_spec spec = {.key = key_of(number, key_bytes, key),
                                   .value_bytes = value_bytes,
                                   .expiry_ms = expiry_ms};
    const uint64_t hash = key_hash(spec.key);
    struct item *item = item_new(store, &spec, now_ms);
    struct stripe *stripe;

    if (item == NULL)
        return false;
    memset(item_value(item), 'x', value_bytes);
    stripe = store_lock(store, hash);
    item->hlc = stripe_clock_next(stripe, now_ms);
    stripe_put(stripe, hash, item);
    store_unlock(stripe);
    return true;
}

static bool get(struct slice key, uint64_t hash, uint64_t now_ms)
{
    struct stripe *stripe = store_lock(store, hash);
    struct item *item = stripe_find(stripe, hash, key, now_ms);

    if (item != NULL)
        stripe_use(stripe, item, now_ms);
    store_unlock(stripe);
    return item != NULL;
}

static bool get_number(uint64_t number, unsigned key_bytes, uint64_t now_ms)
{
    unsigned char bytes[KEY_MAX];
    const struct slice key = key_of(number, key_bytes, bytes);

    return get(key, key_hash(key), now_ms);
}

/* Gets of random keys, `batch` at a time with both prefetches, as execute_batch() does. */
static double get_batches(uint64_t items, unsigned batch, uint64_t count)
{
    unsigned char bytes[64][KEY_MAX];
    struct slice keys[64];
    uint64_t hashes[64];
    uint64_t hits = 0;
    const double start = seconds();

    for (uint64_t done = 0; done < count; done += batch) {
        for (unsigned i = 0; i < batch; i++) {
            keys[i] = key_of(random_next() % items, 16, bytes[i]);
            hashes[i] = key_hash(keys[i]);
            if (batch > 1)
                store_prefetch_index(store, hashes[i]);
        }
        for (unsigned i = 0; batch > 1 && i < batch; i++)
            store_prefetch_item(store, hashes[i]);
        for (unsigned i = 0; i < batch; i++)
            hits += get(keys[i], hashes[i], 1000);
    }
    if (hits < count)
        printf("(%.1f%% hits) ", 100.0 * (double)hits / (double)count);
    return (seconds() - start) / (double)count * 1e9;
}

static void sweep_until_quiet(void)
{
    for (int i = 0; i < 20; i++) {
        store_sweep(store, 100000, clock_now_ms() + (uint64_t)i * 300);
    }
}

static void speed(uint64_t items)
{
    const uint64_t before = resident_bytes();
    struct store_stats stats;
    double start, fill, overwrite;

    open_store(items * 200 / (1 << 20) + 64);
    start = seconds();
    for (uint64_t i = 0; i < items; i++)
        set(i, 16, 32, clock_now_ms(), 0);
    fill = (seconds() - start) / (double)items * 1e9;
    store_stats(store, &stats);
    printf("%9" PRIu64 " items: %.1f bytes RSS each (%.1f index), fill %.0f ns", items,
           (double)(resident_bytes() - before) / (double)items,
           (double)stats.index_bytes / (double)items, fill);
    printf(", get %.0f ns", get_batches(items, 1, 2000000));
    printf(", in 16s %.0f ns", get_batches(items, 16, 4000000));
    printf(", in 32s %.0f ns", get_batches(items, 32, 4000000));
    start = seconds();
    for (int i = 0; i < 1000000; i++)
        set(random_next() % items, 16, 32, clock_now_ms(), 0);
    overwrite = (seconds() - start) * 1e3;
    printf(", overwrite %.0f ns\n", overwrite);
}

static double median, sigma;

static uint64_t value_bytes_next(void)
{
    const double normal = sqrt(-2 * log(1 - random_unit())) * cos(6.283185307179586 * random_unit());
    const double bytes = median * exp(sigma * normal);

    return bytes < 1 ? 1 : bytes > 500000 ? 500000 : (uint64_t)bytes;
}

static void density(unsigned key_bytes, const char *value, uint64_t megabytes)
{
    const uint64_t limit = megabytes << 20;
    struct store_stats stats;
    double start, full = 0;
    uint64_t sets = 0, after = 0, payload = 0;

    if (sscanf(value, "lognormal:%lf,%lf", &median, &sigma) != 2) {
        median = atof(value);
        sigma = 0;
    }
    open_store(megabytes);
    start = seconds();
    for (uint64_t i = 0; payload < limit * 3; i++, sets++) {
        const uint64_t bytes = value_bytes_next();
        payload += bytes + key_bytes;
        set(i, key_bytes, bytes, clock_now_ms(), 0);
        if (full == 0 && payload > limit)
            full = seconds(), after = sets;
    }
    printf("set with eviction %.0f ns\n", (seconds() - full) / (double)(sets - after) * 1e9);
    (void)start;
    sweep_until_quiet();
    store_stats(store, &stats);
    printf("items %" PRIu64 ", RSS %.1f MB (%.3f of -m), %.1f bytes RSS each, held %.1f MB, "
           "requested %.1f, rounded %.1f, index %.2f, overhead %.2f each\n",
           stats.items, (double)resident_bytes() / 1048576, (double)resident_bytes() / (double)limit,
           (double)resident_bytes() / (double)stats.items, (double)stats.resident_bytes / 1048576,
           (double)stats.bytes_requested / (double)stats.items,
           (double)stats.bytes / (double)stats.items,
           (double)stats.index_bytes / (double)stats.items,
           (double)stats.overhead_bytes / (double)stats.items);
}

static uint64_t live_payload;

static void add_payload(void *context, const struct item *item)
{
    (void)context;
    live_payload += item_value_bytes(item);
}

static void report_pattern(const char *name, uint64_t limit, uint64_t failed, double ns)
{
    uint64_t cursor = 0;
    struct store_stats stats;

    live_payload = 0;
    do
        cursor = store_walk(store, hash_range_all, cursor, clock_now_ms(), add_payload, NULL);
    while (cursor != 0);
    store_stats(store, &stats);
    printf("%-34s payload %5.1f%%  RSS/-m %.3f  held/-m %.3f  %" PRIu64 " failed  %.0f ns\n", name,
           100.0 * (double)live_payload / (double)limit, (double)resident_bytes() / (double)limit,
           (double)stats.resident_bytes / (double)limit, failed, ns);
}

static uint64_t pattern_key;

/* Sets `share` of the limit in values of one size (0: log-normal), some read in between. */
static void fill(const char *name, uint64_t limit, uint64_t bytes, double share, bool reads,
                 bool random_deletes)
{
    uint64_t failed = 0, sets = 0;
    const double start = seconds();

    for (double left = share * (double)limit; left > 0; sets++) {
        const uint64_t now_ms = clock_now_ms();
        const uint64_t size = bytes != 0 ? bytes : value_bytes_next();
        failed += !set(pattern_key++, 16, size, now_ms, 0);
        if (reads && pattern_key > 1000)
            for (int i = 0; i < 2; i++)
                get_number(pattern_key - 1 - random_next() % (pattern_key < 200000 ? pattern_key : 200000),
                           16, now_ms);
        if (random_deletes && sets % 2 == 0) {
            unsigned char keybuf[KEY_MAX];
            const struct slice key = key_of(random_next() % pattern_key, 16, keybuf);
            const uint64_t hash = key_hash(key);
            struct stripe *stripe = store_lock(store, hash);
            struct item *item = stripe_find(stripe, hash, key, now_ms);
            if (item != NULL)
                stripe_remove(stripe, hash, item);
            store_unlock(stripe);
        }
        left -= (double)size;
        if (sets % 20000 == 0)
            store_sweep(store, 1000, now_ms);
    }
    report_pattern(name, limit, failed, (seconds() - start) / (double)sets * 1e9);
}

static void patterns(uint64_t megabytes)
{
    const uint64_t limit = megabytes << 20;

    median = 200;
    sigma = 1.2;
    open_store(megabytes);
    report_pattern("empty", limit, 0, 0);
    fill("100 B values", limit, 100, 2, false, false);
    fill("then 1000 B", limit, 1000, 2, false, false);
    fill("then 300 B", limit, 300, 2, false, false);
    fill("then 100 B with reads", limit, 100, 2, true, false);
    fill("then 1000 B with reads", limit, 1000, 1.5, true, false);
    fill("then 300 B with reads", limit, 300, 1.5, true, false);
    fill("log-normal", limit, 0, 2, true, false);
    fill("then 100 KB", limit, 100000, 2, false, false);
    fill("then 30 B, with deletes", limit, 30, 1, true, true);
    fill("then 5000 B", limit, 5000, 2, false, false);
    fill("then 1 MB", limit, 1 << 20, 3, false, false);
    fill("then 64 B", limit, 64, 1, true, false);
}

static void expired(uint64_t megabytes)
{
    const uint64_t now_ms = clock_now_ms();
    const uint64_t items = (megabytes << 20) / 180;
    uint64_t living = 0;
    struct store_stats stats;

    open_store(megabytes);
    for (uint64_t i = 0; i < items; i++)
        set(i, 16, 100, now_ms, i % 2 == 0 ? now_ms + 10000 : 0);
    store_stats(store, &stats);
    printf("%" PRIu64 " set, %" PRIu64 " held, held/-m %.3f\n", items, stats.items,
           (double)stats.resident_bytes / (double)(megabytes << 20));
    for (uint64_t i = 0; i < items * 2 / 5; i++)
        set(items + i, 16, 100, now_ms + 20000, 0);
    for (uint64_t i = 1; i < items; i += 2)
        living += get_number(i, 16, now_ms + 20000);
    store_stats(store, &stats);
    printf("living held %.3f%%, reclaimed %" PRIu64 ", evictions %" PRIu64 "\n",
           200.0 * (double)living / (double)items, stats.reclaimed, stats.evictions);
}

/* An LRU of a fixed number of keys, as a yardstick. */
struct lru {
    uint32_t *next, *prev;
    uint32_t count, capacity, end;
};

static void lru_init(struct lru *lru, uint32_t keys, uint32_t capacity)
{
    *lru = (struct lru){.capacity = capacity, .end = keys};
    lru->next = calloc(keys + 1, sizeof *lru->next);
    lru->prev = calloc(keys + 1, sizeof *lru->prev);
    if (lru->next == NULL || lru->prev == NULL)
        exit(1);
    lru->next[keys] = lru->prev[keys] = keys;
    for (uint32_t i = 0; i < keys; i++)
        lru->next[i] = UINT32_MAX;
}

static void lru_unlink(struct lru *lru, uint32_t key)
{
    lru->next[lru->prev[key]] = lru->next[key];
    lru->prev[lru->next[key]] = lru->prev[key];
    lru->next[key] = UINT32_MAX;
    lru->count--;
}

static bool lru_get(struct lru *lru, uint32_t key)
{
    const bool hit = lru->next[key] != UINT32_MAX;

    if (hit)
        lru_unlink(lru, key);
    else if (lru->count == lru->capacity)
        lru_unlink(lru, lru->prev[lru->end]);
    lru->next[key] = lru->next[lru->end];
    lru->prev[key] = lru->end;
    lru->prev[lru->next[key]] = key;
    lru->next[lru->end] = key;
    lru->count++;
    return hit;
}

static double *zipf_table;
static uint32_t zipf_keys;

static void zipf_init(uint32_t keys, double exponent)
{
    double sum = 0;

    zipf_table = realloc(zipf_table, keys * sizeof *zipf_table);
    if (zipf_table == NULL)
        exit(1);
    for (uint32_t i = 0; i < keys; i++)
        zipf_table[i] = sum += 1 / pow(i + 1.0, exponent);
    for (uint32_t i = 0; i < keys; i++)
        zipf_table[i] /= sum;
    zipf_keys = keys;
}

static uint32_t zipf_next(void)
{
    const double at = random_unit();
    uint32_t low = 0, high = zipf_keys - 1;

    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (zipf_table[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

enum workload { ZIPF99, ZIPF80, ONE_HIT, SCAN, DRIFT, WORKLOAD_COUNT };
static const char *const workload_names[] = {"zipf 0.99", "zipf 0.8", "one-hit wonders", "scan",
                                             "drift"};

/* The key of request number `at`: popular ones are scattered by a multiplication. */
static uint32_t key_next(enum workload workload, uint64_t at, uint32_t popular, uint32_t keys)
{
    switch (workload) {
    case ZIPF99:
    case ZIPF80: return zipf_next();
    case ONE_HIT:
        return at % 10 < 3 ? popular + (uint32_t)(at % (keys - popular)) : zipf_next();
    case SCAN: /* now and then a run over keys that are not read again */
        return at % 1000000 < 200000 ? popular + (uint32_t)(at % (keys - popular)) : zipf_next();
    case DRIFT: /* a new key becomes the most popular one, and all others sink by one */
        return (uint32_t)((zipf_next() + popular - at / 20 % popular) % popular);
    case WORKLOAD_COUNT: break;
    }
    return 0;
}

static void miss_ratio(enum workload workload, uint64_t megabytes)
{
    const unsigned value_bytes = 100;
    const uint32_t capacity = (uint32_t)((megabytes << 20) / 197);
    const uint32_t popular = capacity * 4, keys = popular * 2;
    const uint64_t requests = (uint64_t)capacity * 40;
    uint64_t misses = 0, lru_misses = 0;
    struct lru lru;

    zipf_init(popular, workload == ZIPF80 ? 0.8 : workload == DRIFT ? 0.9 : 0.99);
    lru_init(&lru, keys, capacity);
    open_store(megabytes);
    for (uint64_t i = 0; i < requests; i++) {
        const uint32_t key = key_next(workload, i, popular, keys);
        const bool counts = i > requests / 4;

        if (!get_number(key, 16, 1000)) {
            misses += counts;
            set(key, 16, value_bytes, 1000, 0);
        }
        lru_misses += !lru_get(&lru, key) && counts;
    }
    printf("%-16s misses %.4f, an LRU of memcached's capacity %.4f: ratio %.3f\n",
           workload_names[workload], (double)misses / (double)requests / .75,
           (double)lru_misses / (double)requests / .75, (double)misses / (double)lru_misses);
    store_thread_deinit(store);
    store_free(store);
    free(lru.next);
    free(lru.prev);
}

int main(int count, char **arguments)
{
    const char *mode = count > 1 ? arguments[1] : "";

    clock_init();
    if (strcmp(mode, "speed") == 0)
        speed(count > 2 ? strtoull(arguments[2], NULL, 10) : 1000000);
    else if (strcmp(mode, "density") == 0 && count == 5)
        density((unsigned)atoi(arguments[2]), arguments[3], strtoull(arguments[4], NULL, 10));
    else if (strcmp(mode, "patterns") == 0 && count == 3)
        patterns(strtoull(arguments[2], NULL, 10));
    else if (strcmp(mode, "expired") == 0 && count == 3)
        expired(strtoull(arguments[2], NULL, 10));
    else if (strcmp(mode, "misses") == 0 && count >= 3) {
        for (unsigned i = 0; i < WORKLOAD_COUNT; i++)
            if (count == 3 || strcmp(workload_names[i], arguments[3]) == 0)
                miss_ratio((enum workload)i, strtoull(arguments[2], NULL, 10));
    }
    else {
        fprintf(stderr, "usage: storebench speed [ITEMS] | density KEY VALUE MB | patterns MB | "
                        "expired MB | misses MB [WORKLOAD]\n");
        return 64;
    }
    return 0;
}
