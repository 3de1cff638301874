#include "server/maintenance.h"
#include "server/clock.h"
#include "server/log.h"
#include "server/settings.h"
#include "server/store.h"
#include <assert.h>
#include <pthread.h>
#include <time.h>

#define SWEEP_ITEMS 1024 /* in one slice: well under a millisecond of one stripe's time */

/* Lock and condition last as long as the process: workers may wake us before we start and after
 * we stopped.  Who may touch which field:
 *   [I] never changes while the thread runs    [L] whoever holds `lock` */
static struct {
    pthread_t thread;      /* [I] */
    struct store *store;   /* [I] NULL: no thread runs */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_stopping;      /* [L] */
    bool is_woken;         /* [L] */
} maintenance = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static struct timespec time_in(double wait_ms)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    uint64_t nanoseconds = (uint64_t)time.tv_nsec + (uint64_t)(wait_ms * 1e6);
    time.tv_sec += (time_t)(nanoseconds / 1000000000u);
    time.tv_nsec = (long)(nanoseconds % 1000000000u);
    return time;
}

/* Waits until then, or until somebody wakes us.  False: it is time to end. */
static bool wait_until(const struct timespec *time)
{
    int error = 0;

    pthread_mutex_lock(&maintenance.lock);
    while (!maintenance.is_stopping && !maintenance.is_woken && error == 0)
        error = pthread_cond_clockwait(&maintenance.changed, &maintenance.lock, CLOCK_MONOTONIC,
                                       time);
    maintenance.is_woken = false;
    bool goes_on = !maintenance.is_stopping;
    pthread_mutex_unlock(&maintenance.lock);
    return goes_on;
}

static void *maintain(void *argument)
{
    struct store *store = argument;
    struct timespec next;

    store_thread_init(store);
    do {
        unsigned wait_ms = store_sweep(store, SWEEP_ITEMS, clock_now_ms());
        next = time_in((double)wait_ms / settings.time_scale);
    } while (wait_until(&next));
    store_thread_deinit(store);
    return NULL;
}

bool maintenance_start(struct store *store)
{
    assert(maintenance.store == NULL);
    maintenance.is_stopping = false;
    maintenance.store = store;
    int error = pthread_create(&maintenance.thread, NULL, maintain, store);
    if (error != 0) {
        log_error("cannot start the maintenance thread: %s", log_error_text(error));
        maintenance.store = NULL;
        return false;
    }
    pthread_setname_np(maintenance.thread, "maintenance");
    return true;
}

void maintenance_wake(void)
{
    pthread_mutex_lock(&maintenance.lock);
    maintenance.is_woken = true;
    pthread_cond_signal(&maintenance.changed);
    pthread_mutex_unlock(&maintenance.lock);
}

void maintenance_stop(void)
{
    if (maintenance.store == NULL)
        return;
    pthread_mutex_lock(&maintenance.lock);
    maintenance.is_stopping = true;
    pthread_cond_signal(&maintenance.changed);
    pthread_mutex_unlock(&maintenance.lock);
    pthread_join(maintenance.thread, NULL);
    maintenance.store = NULL;
}
