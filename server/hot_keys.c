#include "server/hot_keys.h"
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* From so many counts on, all are halved. */
#define SAMPLED_MAX 16384

/* A key that is surely in the sample fewer times is not listed. */
#define SURELY_MIN 4

/* Who may touch which field: [L] under `lock`   [W] only the thread that counts */
struct hot_keys {
    pthread_mutex_t lock;
    uint64_t sampled;                   /* [L] */
    unsigned count;                     /* [L] */
    struct hot_key keys[HOT_KEYS_KEPT]; /* [L] in no order */
    uint64_t random;                    /* [W] */
};

struct hot_keys *hot_keys_new(uint64_t seed)
{
    struct hot_keys *hot = calloc(1, sizeof *hot);

    if (hot == NULL)
        return NULL;
    pthread_mutex_init(&hot->lock, NULL);
    hot->random = seed;
    return hot;
}

void hot_keys_free(struct hot_keys *hot)
{
    if (hot == NULL)
        return;
    pthread_mutex_destroy(&hot->lock);
    free(hot);
}

int hot_keys_next_distance(struct hot_keys *hot)
{
    /* Knuth's linear congruence (The Art of Computer Programming, 3.3.4): its high bits will do. */
    hot->random = hot->random * 6364136223846793005u + 1442695040888963407u;
    return 1 + (int)((hot->random >> 33) % (2 * HOT_KEYS_INTERVAL - 1));
}

static bool hot_key_is(const struct hot_key *hot_key, uint64_t hash, struct slice key)
{
    return hot_key->hash == hash &&
           slice_equal((struct slice){hot_key->key, hot_key->key_bytes}, key);
}

/* The place of that key, or the one it has to take.  Lock held. */
static struct hot_key *place_for(struct hot_keys *hot, uint64_t hash, struct slice key)
{
    struct hot_key *fewest = &hot->keys[0];

    for (unsigned i = 0; i < hot->count; i++) {
        if (hot_key_is(&hot->keys[i], hash, key))
            return &hot->keys[i];
        if (hot->keys[i].count < fewest->count)
            fewest = &hot->keys[i];
    }
    if (hot->count < HOT_KEYS_KEPT) {
        fewest = &hot->keys[hot->count++];
        fewest->count = 0;
    }
    fewest->hash = hash;
    fewest->too_much = fewest->count;
    fewest->key_bytes = (uint8_t)key.size;
    memcpy(fewest->key, key.bytes, key.size);
    return fewest;
}

/* Lock held. */
static void halve(struct hot_keys *hot)
{
    for (unsigned i = 0; i < hot->count; i++) {
        hot->keys[i].count /= 2;
        hot->keys[i].too_much /= 2;
    }
    hot->sampled /= 2;
}

void hot_keys_count(struct hot_keys *hot, uint64_t hash, struct slice key)
{
    assert(key.size >= 1);
    assert(key.size <= UINT8_MAX);

    pthread_mutex_lock(&hot->lock);
    place_for(hot, hash, key)->count++;
    if (++hot->sampled == SAMPLED_MAX)
        halve(hot);
    pthread_mutex_unlock(&hot->lock);
}

void hot_keys_clear(struct hot_keys *hot)
{
    pthread_mutex_lock(&hot->lock);
    hot->sampled = 0;
    hot->count = 0;
    pthread_mutex_unlock(&hot->lock);
}

void hot_keys_list_begin(struct hot_keys_list *list)
{
    *list = (struct hot_keys_list){0};
}

/* Adds a key, or its counts to those that it has in the list. */
static void add_key(struct hot_keys_list *list, const struct hot_key *added)
{
    const struct slice key = {added->key, added->key_bytes};

    for (unsigned i = 0; i < list->all_count; i++) {
        struct hot_key *known = &list->all[i];
        if (hot_key_is(known, added->hash, key)) {
            known->count += added->count;
            known->too_much += added->too_much;
            return;
        }
    }
    assert(list->all_count < list->all_room);
    list->all[list->all_count++] = *added;
}

void hot_keys_list_add(struct hot_keys_list *list, struct hot_keys *hot)
{
    const unsigned room = list->all_count + HOT_KEYS_KEPT;
    struct hot_key *all = realloc(list->all, room * sizeof *all);

    if (all == NULL)
        return;
    list->all = all;
    list->all_room = room;
    pthread_mutex_lock(&hot->lock);
    for (unsigned i = 0; i < hot->count; i++)
        add_key(list, &hot->keys[i]);
    list->sampled += hot->sampled;
    pthread_mutex_unlock(&hot->lock);
}

static uint64_t surely(const struct hot_key *key)
{
    return key->count - key->too_much;
}

/* The surely hottest first. */
static int compare_keys(const void *left, const void *right)
{
    const uint64_t a = surely(left), b = surely(right);

    return (a < b) - (a > b);
}

void hot_keys_list_end(struct hot_keys_list *list)
{
    if (list->all_count > 0)
        qsort(list->all, list->all_count, sizeof *list->all, compare_keys);
    for (unsigned i = 0; i < list->all_count && list->count < HOT_KEYS_LISTED; i++)
        if (surely(&list->all[i]) >= SURELY_MIN)
            list->keys[list->count++] = list->all[i];
    free(list->all);
    list->all = NULL;
    list->all_count = list->all_room = 0;
}
