#include "server/watch.h"
#include "server/clock.h"
#include "server/item.h"
#include "server/key_text.h"
#include "server/log.h"
#include "server/settings.h"
#include "server/store.h"
#include "server/stream.h"
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/time.h>

#define LINE_BYTES_MAX    1200 /* a key of 250 bytes, each as %XX, and all else */
#define PSEUDO_CLASS      1 /* the one slab class that we show to those who ask */

struct watcher {
    struct stream *stream; /* one reference */
    unsigned kinds;
};

_Atomic unsigned watch_kinds;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Under the lock: */
static struct watcher watchers[WATCHERS_MAX];
static unsigned watcher_count;
static struct watch_stats counts;
static uint64_t last_line;

static void note_kinds(void)
{
    unsigned kinds = 0;

    for (unsigned i = 0; i < watcher_count; i++)
        kinds |= watchers[i].kinds;
    atomic_store_explicit(&watch_kinds, kinds, memory_order_relaxed);
}

static void remove_watcher(unsigned at)
{
    assert(at < watcher_count);
    stream_unref(watchers[at].stream);
    watchers[at] = watchers[--watcher_count];
    note_kinds();
}

/* Appends to one watcher; false if it is gone. */
static bool send_line(struct watcher *watcher, struct slice line)
{
    enum stream_append_result result = stream_append(watcher->stream, line);

    if (result == STREAM_APPENDED)
        counts.sent++;
    else if (result == STREAM_FULL)
        counts.skipped++;
    return result != STREAM_CLOSED;
}

/* Puts time and number before the text, and hands the line to all that want its kind. */
static void publish(enum watch_kind kind, const char *text)
{
    char line[LINE_BYTES_MAX + 80];
    struct timeval now;
    int bytes;

    gettimeofday(&now, NULL);
    pthread_mutex_lock(&lock);
    bytes = snprintf(line, sizeof line, "ts=%lld.%d gid=%" PRIu64 " %s\n", (long long)now.tv_sec,
                     (int)now.tv_usec, ++last_line, text);
    assert(bytes > 0);
    assert((size_t)bytes < sizeof line);
    counts.written++;
    for (unsigned i = watcher_count; i-- > 0;) {
        if ((watchers[i].kinds & (unsigned)kind) != 0 &&
            !send_line(&watchers[i], (struct slice){ (unsigned char *)line, (size_t)bytes }))
            remove_watcher(i);
    }
    pthread_mutex_unlock(&lock);
}

/* Watchers that left are noticed when a line is for them; before one is refused, look. */
static void forget_the_gone(void)
{
    for (unsigned i = watcher_count; i-- > 0;) {
        if (stream_append(watchers[i].stream, (struct slice){ NULL, 0 }) == STREAM_CLOSED)
            remove_watcher(i);
    }
}

enum watch_add_result watch_add(struct connection *connection, unsigned kinds)
{
    enum watch_add_result result = WATCH_ADDED;
    struct stream *stream;

    pthread_mutex_lock(&lock);
    forget_the_gone();
    if (watcher_count == WATCHERS_MAX) {
        result = WATCH_TOO_MANY;
    } else {
        stream = connection_watch(connection,
                                  (size_t)settings.accepted.watcher_logbuf_kb * 1024);
        if (stream == NULL) {
            result = WATCH_FAILED;
        } else {
            watchers[watcher_count++] = (struct watcher){ stream, kinds };
            note_kinds();
        }
    }
    pthread_mutex_unlock(&lock);
    return result;
}

void watch_item_get(const struct connection *connection, struct slice key, bool is_hit,
                    uint64_t value_bytes)
{
    char line[LINE_BYTES_MAX], text[KEY_TEXT_BYTES];

    snprintf(line, sizeof line,
             "type=item_get key=%s status=%s clsid=%d cfd=%d size=%" PRIu64, key_text(key, text),
             is_hit ? "found" : "not_found", is_hit ? PSEUDO_CLASS : 0,
             connection_fd(connection), value_bytes);
    publish(WATCH_FETCHERS, line);
}

static const char *store_name(const struct operation *operation)
{
    static const char *const names[] = {
        [STORE_SET] = "set",       [STORE_ADD] = "add",         [STORE_REPLACE] = "replace",
        [STORE_APPEND] = "append", [STORE_PREPEND] = "prepend",
    };

    if ((operation->options & (OPERATION_COMPARE_CAS | OPERATION_CONTEXT)) != 0 &&
        operation->mode <= STORE_REPLACE)
        return "cas";
    assert(operation->mode < sizeof names / sizeof *names);
    return names[operation->mode];
}

static const char *store_status(enum outcome_status status)
{
    switch (status) {
    case OUTCOME_OK:
        return "stored";
    case OUTCOME_NOT_FOUND:
        return "not_found";
    case OUTCOME_EXISTS:
        return "exists";
    case OUTCOME_TOO_LARGE:
        return "too_large";
    case OUTCOME_NO_MEMORY:
        return "no_memory";
    case OUTCOME_NOT_STORED:
    case OUTCOME_NOT_NUMERIC:
    case OUTCOME_TOO_MANY_SIBLINGS:
    case OUTCOME_BAD_CONTEXT:
    case OUTCOME_REFUSED:
    case OUTCOME_UNAUTHENTICATED:
    case OUTCOME_STATUS_COUNT:
        break;
    }
    return "not_stored";
}

void watch_item_store(const struct connection *connection, const struct operation *operation,
                      enum outcome_status status)
{
    char line[LINE_BYTES_MAX], text[KEY_TEXT_BYTES];
    bool is_refused = status == OUTCOME_TOO_LARGE || status == OUTCOME_NO_MEMORY;
    int64_t ttl_s = 0;

    if (operation->exptime != 0 && !is_refused) {
        uint64_t now_ms = clock_now_ms(), expiry_ms = clock_expiry_ms(operation->exptime, now_ms);

        ttl_s = expiry_ms > now_ms ? (int64_t)((expiry_ms - now_ms + 999) / 1000) : 0;
    }
    snprintf(line, sizeof line,
             "type=item_store key=%s status=%s cmd=%s ttl=%" PRId64 " clsid=%d cfd=%d size=%zu",
             key_text(operation->key, text), store_status(status), store_name(operation), ttl_s,
             is_refused ? 0 : PSEUDO_CLASS, connection_fd(connection), operation->value.size);
    publish(WATCH_MUTATIONS, line);
}

void watch_item_deleted(const struct connection *connection, const struct operation *operation,
                        uint64_t value_bytes)
{
    char line[LINE_BYTES_MAX], text[KEY_TEXT_BYTES];

    (void)connection;
    snprintf(line, sizeof line, "type=deleted key=%s cmd=%s clsid=%d size=%" PRIu64,
             key_text(operation->key, text),
             operation->protocol == PROTOCOL_META ? "md" : "delete", PSEUDO_CLASS, value_bytes);
    publish(WATCH_DELETIONS, line);
}

void watch_item_evicted(void *context, const struct item *item, bool is_expired)
{
    char line[LINE_BYTES_MAX], text[KEY_TEXT_BYTES];
    uint64_t now_ms, expiry_ms;
    int64_t ttl_s = -1;

    (void)context;
    if (is_expired || !watch_wants(WATCH_EVICTIONS))
        return;
    now_ms = clock_now_ms();
    expiry_ms = item_expiry_ms(item);
    if (expiry_ms != 0)
        ttl_s = expiry_ms > now_ms ? (int64_t)((expiry_ms - now_ms) / 1000) : 0;
    snprintf(line, sizeof line,
             "type=eviction key=%s fetch=%s ttl=%" PRId64 " la=%u clsid=%d size=%" PRIu64,
             key_text(item_key(item), text), item->was_fetched ? "yes" : "no", ttl_s,
             clock_relative_s(now_ms) - item->accessed_s, PSEUDO_CLASS, item_value_bytes(item));
    publish(WATCH_EVICTIONS, line);
}

static unsigned seconds_between(uint64_t from_ms, uint64_t to_ms)
{
    return from_ms < to_ms ? (unsigned)((to_ms - from_ms) / 1000) : 0;
}

/* In the form of memcached's crawler, which goes through queues by themselves and guesses ahead. */
void watch_swept(void *context, const struct store_sweep_report *report)
{
    char line[LINE_BYTES_MAX];
    const bool is_first = report->last_ms == 0;
    const bool expires = report->next_ms != UINT64_MAX;

    (void)context;
    if (!watch_wants(WATCH_SYSEVENTS))
        return;
    snprintf(line, sizeof line,
             "type=lru_crawler crawler=%d lru=all low_mark=0 next_reclaims=0 since_run=%u "
             "next_run=%u elapsed=%u examined=%" PRIu64 " reclaimed=%" PRIu64,
             PSEUDO_CLASS, is_first ? 0 : seconds_between(report->last_ms, report->now_ms),
             expires ? seconds_between(report->now_ms, report->next_ms) : 0,
             seconds_between(report->since_ms, report->now_ms), report->examined, report->freed);
    publish(WATCH_SYSEVENTS, line);
}

static const char *transport_name(const struct connection *connection)
{
    switch (connection_transport(connection)) {
    case TRANSPORT_TCP:
        return "tcp";
    case TRANSPORT_UNIX:
        return "local";
    case TRANSPORT_UDP:
        return "udp";
    }
    return "tcp";
}

static const char *reason_name(enum connection_close_reason reason)
{
    switch (reason) {
    case CLOSE_NORMAL:
        return "normal";
    case CLOSE_ERROR:
        return "error";
    case CLOSE_IDLE:
        return "idle_timeout";
    case CLOSE_SHUTDOWN:
        return "shutdown";
    }
    return "error";
}

/* "rip=ADDRESS rport=PORT transport=NAME" */
static void peer_text(const struct connection *connection, char *text, size_t capacity)
{
    char address[CONNECTION_ADDRESS_BYTES];
    unsigned port;

    connection_peer(connection, address, &port);
    if (connection_transport(connection) == TRANSPORT_UNIX)
        snprintf(address, sizeof address, "unix");
    snprintf(text, capacity, "rip=%s rport=%u transport=%s", address, port,
             transport_name(connection));
}

void watch_connection_new(const struct connection *connection)
{
    char line[LINE_BYTES_MAX], peer[CONNECTION_ADDRESS_BYTES + 64];

    peer_text(connection, peer, sizeof peer);
    snprintf(line, sizeof line, "type=conn_new %s cfd=%d", peer, connection_fd(connection));
    publish(WATCH_CONNEVENTS, line);
}

void watch_connection_closed(const struct connection *connection,
                             enum connection_close_reason reason)
{
    char line[LINE_BYTES_MAX], peer[CONNECTION_ADDRESS_BYTES + 64];

    peer_text(connection, peer, sizeof peer);
    snprintf(line, sizeof line, "type=conn_close %s reason=%s cfd=%d", peer, reason_name(reason),
             connection_fd(connection));
    publish(WATCH_CONNEVENTS, line);
}

void watch_stats(struct watch_stats *stats)
{
    pthread_mutex_lock(&lock);
    forget_the_gone();
    *stats = counts;
    stats->watchers = watcher_count;
    pthread_mutex_unlock(&lock);
}

void watch_stats_reset(void)
{
    pthread_mutex_lock(&lock);
    counts = (struct watch_stats){ 0 };
    pthread_mutex_unlock(&lock);
}
