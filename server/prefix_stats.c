#include "server/prefix_stats.h"
#include "ring/key_hash.h"
#include "server/settings.h"
#include <pthread.h>
#include <stdlib.h>

#define BUCKETS 1024

struct prefix {
    struct prefix *next;
    struct prefix_counts counts;
    size_t size;
    unsigned char bytes[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct prefix *buckets[BUCKETS]; /* under the lock, as is the next */
static unsigned prefix_count;

/* What stands before the delimiter; false for a key without one, which is not counted. */
static bool prefix_of(struct slice key, struct slice *prefix)
{
    const unsigned char *end = memchr(key.bytes, settings.prefix_delimiter, key.size);

    if (end == NULL)
        return false;
    *prefix = (struct slice){ key.bytes, (size_t)(end - key.bytes) };
    return true;
}

static struct prefix *find_or_add(struct slice name)
{
    struct prefix **bucket = &buckets[key_hash(name) % BUCKETS];
    struct prefix *prefix;

    for (prefix = *bucket; prefix != NULL; prefix = prefix->next) {
        if (slice_equal((struct slice){ prefix->bytes, prefix->size }, name))
            return prefix;
    }
    if (prefix_count >= PREFIXES_MAX)
        return NULL;
    prefix = calloc(1, sizeof *prefix + name.size);
    if (prefix == NULL)
        return NULL;
    prefix->size = name.size;
    if (name.size != 0)
        memcpy(prefix->bytes, name.bytes, name.size);
    prefix->next = *bucket;
    *bucket = prefix;
    prefix_count++;
    return prefix;
}

static void count(struct slice key, const struct prefix_counts *more)
{
    struct slice name;
    struct prefix *prefix;

    if (!prefix_of(key, &name))
        return;
    pthread_mutex_lock(&lock);
    prefix = find_or_add(name);
    if (prefix != NULL) {
        prefix->counts.gets += more->gets;
        prefix->counts.hits += more->hits;
        prefix->counts.sets += more->sets;
        prefix->counts.deletes += more->deletes;
    }
    pthread_mutex_unlock(&lock);
}

void prefix_stats_count_get(struct slice key, bool is_hit)
{
    count(key, &(struct prefix_counts){ .gets = 1, .hits = is_hit });
}

void prefix_stats_count_set(struct slice key)
{
    count(key, &(struct prefix_counts){ .sets = 1 });
}

void prefix_stats_count_delete(struct slice key)
{
    count(key, &(struct prefix_counts){ .deletes = 1 });
}

void prefix_stats_visit(void (*visit)(void *context, struct slice prefix,
                                      const struct prefix_counts *),
                        void *context)
{
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (struct prefix *prefix = buckets[i]; prefix != NULL; prefix = prefix->next)
            visit(context, (struct slice){ prefix->bytes, prefix->size }, &prefix->counts);
    }
    pthread_mutex_unlock(&lock);
}

void prefix_stats_clear(void)
{
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < BUCKETS; i++) {
        while (buckets[i] != NULL) {
            struct prefix *next = buckets[i]->next;

            free(buckets[i]);
            buckets[i] = next;
        }
    }
    prefix_count = 0;
    pthread_mutex_unlock(&lock);
}
