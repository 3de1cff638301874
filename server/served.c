#include "server/served.h"
#include "ring/outcomes.h"
#include "server/lock.h"
#include "server/settings.h"
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

/* Commands that can be remembered, for twice --request-timeout each: 130,000 a second with a
 * timeout of one second. */
#define SHARDS     16
#define SHARD_ROOM 16384

/* What a client hears, beside what ring/outcomes.h keeps: its handle is the address of this. */
struct saved {
    struct outcome outcome; /* its slices in `bytes` */
    unsigned char bytes[];
};

/* Under its lock. */
struct shard {
    struct lock lock;
    struct outcomes outcomes;
    struct outcome_entry *entries;
};

struct served {
    struct cluster *cluster;
    struct served *next;
    unsigned references;
    struct shard shards[SHARDS];
};

/* All clusters' of this process: one, but for tests. */
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct served *all;

static struct saved *saved_of(uint64_t handle)
{
    return (struct saved *)(uintptr_t)handle;
}

static void free_served(struct served *served)
{
    uint64_t saved;

    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *shard = &served->shards[i];
        while (shard->entries != NULL && outcomes_expire(&shard->outcomes, UINT64_MAX, &saved))
            free(saved_of(saved));
        free(shard->entries);
    }
    free(served);
}

static struct served *served_new(struct cluster *cluster)
{
    struct served *served = calloc(1, sizeof *served);

    if (served == NULL)
        return NULL;
    served->cluster = cluster;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *shard = &served->shards[i];
        shard->entries = malloc(SHARD_ROOM * sizeof *shard->entries);
        if (shard->entries == NULL) {
            free_served(served);
            return NULL;
        }
        outcomes_init(&shard->outcomes, shard->entries, SHARD_ROOM,
                      2 * (uint64_t)settings.request_timeout_ms);
    }
    return served;
}

struct served *served_ref(struct cluster *cluster)
{
    struct served *served;

    pthread_mutex_lock(&all_lock);
    for (served = all; served != NULL && served->cluster != cluster;)
        served = served->next;
    if (served == NULL && (served = served_new(cluster)) != NULL) {
        served->next = all;
        all = served;
    }
    if (served != NULL)
        served->references++;
    pthread_mutex_unlock(&all_lock);
    return served;
}

void served_unref(struct served *served)
{
    struct served **at = &all;

    pthread_mutex_lock(&all_lock);
    assert(served->references > 0);
    if (--served->references == 0) {
        while (*at != served)
            at = &(*at)->next;
        *at = served->next;
        free_served(served);
    }
    pthread_mutex_unlock(&all_lock);
}

/* With its lock taken. */
static struct shard *lock_shard(struct served *served, struct request_id id)
{
    const uint64_t mixed = (id.number ^ id.origin) * 0x9e3779b97f4a7c15u;
    struct shard *shard = &served->shards[(mixed >> 40) % SHARDS];

    lock_take(&shard->lock);
    return shard;
}

enum served_begin served_begin(struct served *served, struct request_id id, uint64_t now_ms,
                               void (*answer)(void *context, const struct forward_reply *,
                                              const struct outcome *),
                               void *context)
{
    struct shard *shard = lock_shard(served, id);
    enum served_begin result = SERVED_NEW;
    const struct outcome_entry *known;
    uint64_t saved;

    while (outcomes_expire(&shard->outcomes, now_ms, &saved))
        free(saved_of(saved));
    switch (outcomes_begin(&shard->outcomes, id, now_ms, &known)) {
    case OUTCOMES_NEW: break;
    case OUTCOMES_RUNNING: result = SERVED_RUNNING; break;
    case OUTCOMES_FULL: result = SERVED_FULL; break;
    case OUTCOMES_KNOWN: {
        const struct forward_reply reply = {id, (enum request_answer)known->answer, known->got,
                                            known->needed};
        const struct saved *found = saved_of(known->saved);
        answer(context, &reply, found != NULL ? &found->outcome : NULL);
        result = SERVED_KNOWN;
        break;
    }
    }
    lock_release(&shard->lock);
    return result;
}

/* A copy with its bytes at `*at`. */
static struct slice save_bytes(unsigned char **at, struct slice bytes)
{
    const struct slice copy = {bytes.bytes == NULL ? NULL : *at, bytes.size};

    if (bytes.size > 0 && bytes.bytes != NULL) {
        memcpy(*at, bytes.bytes, bytes.size);
        *at += bytes.size;
    }
    return copy;
}

/* NULL: memory is short; then a repeat hears nothing but the answer. */
static struct saved *save(const struct outcome *outcome)
{
    struct saved *saved = malloc(sizeof *saved + outcome->context.size +
                                 (outcome->value.bytes != NULL ? outcome->value.size : 0));
    unsigned char *at;

    if (saved == NULL)
        return NULL;
    at = saved->bytes;
    saved->outcome = *outcome;
    saved->outcome.context = save_bytes(&at, outcome->context);
    saved->outcome.value = save_bytes(&at, outcome->value);
    return saved;
}

void served_finish(struct served *served, const struct forward_reply *reply,
                   const struct outcome *outcome)
{
    struct saved *saved = outcome != NULL ? save(outcome) : NULL;
    struct shard *shard = lock_shard(served, reply->id);
    const bool is_kept = outcomes_finish(&shard->outcomes, reply->id, reply->answer, reply->got,
                                         reply->needed, (uint64_t)(uintptr_t)saved);

    lock_release(&shard->lock);
    if (!is_kept)
        free(saved);
}
