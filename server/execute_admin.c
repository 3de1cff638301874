/* Commands that concern the server: flush_all, verbosity, shutdown, cache_memlimit, lru, slabs,
 * refresh_certs, config, debug, debugtime.
 *
 * What has no meaning here (slab moves, LRU segments) is checked and answered as memcached does,
 * and where a setting is shown by `stats settings`, kept. */
#include "server/arguments.h"
#include "server/clock.h"
#include "server/connection.h"
#include "server/execute_operator.h"
#include "server/execution.h"
#include "server/flush.h"
#include "server/log.h"
#include "server/maintenance.h"
#include "server/process.h"
#include "server/settings.h"
#include "server/tls.h"
#include <arpa/inet.h>
#include <stdio.h>

#define BINARY_AUTH_ERROR      0x20
#define BINARY_UNKNOWN_COMMAND 0x81

#define VERBOSITY_MAX        2
#define MEMLIMIT_MB_MIN      8
#define MEMLIMIT_MB_MAX      1000000000
#define SLAB_CLASSES_MAX     63 /* class numbers that memcached could have */
#define LRU_PCT_MAX          80
#define AUTOMOVE_WINDOW_MIN  3
#define AUTOMOVE_WINDOW_MAX  1800

static const char OK[] = "OK";
static const char ERROR[] = "ERROR";
static const char BAD_FORMAT[] = "CLIENT_ERROR bad command line format";

static void answer(struct execution *execution, const struct operation *operation,
                   const char *text)
{
    execution_answer_line(execution, operation, 0,
                          (struct slice){ (const unsigned char *)text, strlen(text) });
}

void execute_version(struct execution *execution, struct operation *operation)
{
    execution_answer_status(execution, operation, OUTCOME_OK);
}

void execute_flush_all(struct execution *execution, struct operation *operation)
{
    uint64_t now_ms = clock_now_ms(), at_ms;

    counter_add(&execution->worker->counters.cmd_flush, 1);
    if (!settings.allows_flush) {
        execution_answer_line(execution, operation, BINARY_AUTH_ERROR,
                              operation->protocol == PROTOCOL_BINARY
                                  ? SLICE("Auth failure.")
                                  : SLICE("CLIENT_ERROR flush_all not allowed"));
        return;
    }
    at_ms = operation->exptime > 0 ? clock_expiry_ms(operation->exptime, now_ms) : 0;
    if (at_ms > now_ms) {
        flush_at(at_ms);
    } else {
        flush_at(0); /* one that was to come is forgotten, as memcached does */
        store_flush(execution->store, now_ms); /* the sweep takes the memory back in its time */
    }
    execution_answer_status(execution, operation, OUTCOME_OK);
}

void execute_verbosity(struct execution *execution, struct operation *operation)
{
    atomic_store(&settings.verbosity,
                 operation->delta > VERBOSITY_MAX ? VERBOSITY_MAX : (unsigned)operation->delta);
    answer(execution, operation, OK);
}

void execute_shutdown(struct execution *execution, struct operation *operation)
{
    struct arguments arguments;

    arguments_split(&arguments, operation->arguments);
    if (!settings.allows_shutdown) {
        answer(execution, operation, "SERVER_ERROR: shutdown not enabled");
        return;
    }
    if (arguments.count != 0 && !(arguments.count == 1 && argument_is(&arguments, 0, "graceful"))) {
        answer(execution, operation, "CLIENT_ERROR invalid shutdown mode");
        return;
    }
    connection_close_after_output(execution->connection);
    process_stop(arguments.count != 0);
}

void execute_cache_memlimit(struct execution *execution, struct operation *operation)
{
    struct arguments arguments;
    uint32_t megabytes;
    uint64_t bytes;

    arguments_split(&arguments, operation->arguments);
    if (!argument_u32(&arguments, 0, &megabytes)) {
        answer(execution, operation, ERROR);
    } else if (megabytes < MEMLIMIT_MB_MIN) {
        answer(execution, operation, "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m");
    } else if (megabytes > MEMLIMIT_MB_MAX) {
        answer(execution, operation,
               "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes");
    } else {
        bytes = (uint64_t)megabytes << 20;
        store_set_limit(execution->store, bytes);
        atomic_store(&settings.limit_bytes, bytes);
        maintenance_wake();
        log_info("memory limit is now %u MB", megabytes);
        answer(execution, operation, OK);
    }
}

static const char *tune_lru(const struct arguments *arguments)
{
    uint32_t hot_pct, warm_pct;
    double hot_factor, warm_factor;

    if (!argument_u32(arguments, 1, &hot_pct) || !argument_u32(arguments, 2, &warm_pct) ||
        !argument_double(arguments, 3, &hot_factor) || !argument_double(arguments, 4, &warm_factor))
        return ERROR;
    if ((uint64_t)hot_pct + warm_pct > LRU_PCT_MAX)
        return "ERROR hot and warm pcts must not exceed 80";
    if (hot_factor <= 0 || warm_factor <= 0)
        return "ERROR hot/warm age factors must be greater than 0";
    atomic_store(&settings.accepted.hot_lru_pct, hot_pct);
    atomic_store(&settings.accepted.warm_lru_pct, warm_pct);
    atomic_store(&settings.accepted.hot_max_factor, hot_factor);
    atomic_store(&settings.accepted.warm_max_factor, warm_factor);
    return OK;
}

static const char *set_lru_mode(const struct arguments *arguments)
{
    if (!argument_is(arguments, 1, "flat") && !argument_is(arguments, 1, "segmented"))
        return ERROR;
    atomic_store(&settings.accepted.lru_segmented, argument_is(arguments, 1, "segmented"));
    return OK;
}

static const char *set_temporary_ttl(const struct arguments *arguments)
{
    int64_t ttl;

    if (!argument_i64(arguments, 1, &ttl) || ttl < INT32_MIN || ttl > INT32_MAX)
        return ERROR;
    atomic_store(&settings.accepted.temporary_ttl, (int)ttl);
    return OK;
}

void execute_lru(struct execution *execution, struct operation *operation)
{
    bool has_maintainer = atomic_load(&settings.accepted.lru_maintainer);
    const char *text = ERROR;
    struct arguments arguments;

    arguments_split(&arguments, operation->arguments);
    if (argument_is(&arguments, 0, "tune") && arguments.count >= 5)
        text = tune_lru(&arguments);
    else if (argument_is(&arguments, 0, "mode") && arguments.count >= 2 && has_maintainer)
        text = set_lru_mode(&arguments);
    else if (argument_is(&arguments, 0, "temp_ttl") && arguments.count >= 2 && has_maintainer)
        text = set_temporary_ttl(&arguments);
    answer(execution, operation, text);
}

/* There is one class, and nothing in it to move. */
static const char *reassign_slabs(const struct arguments *arguments)
{
    int64_t from, to;

    if (!settings.accepted.slab_reassign)
        return "CLIENT_ERROR slab reassignment disabled";
    if (!argument_i64(arguments, 1, &from) || !argument_i64(arguments, 2, &to))
        return BAD_FORMAT;
    if (from == to)
        return "SAME src and dst class are identical";
    if (from < 0 || from > SLAB_CLASSES_MAX || to < 0 || to > SLAB_CLASSES_MAX)
        return "BADCLASS invalid src or dst class id";
    return "NOSPARE source class has no spare pages";
}

static const char *set_automove_window(const struct arguments *arguments)
{
    uint32_t window;

    if (!argument_u32(arguments, 2, &window))
        return BAD_FORMAT;
    if (window < AUTOMOVE_WINDOW_MIN || window > AUTOMOVE_WINDOW_MAX)
        return "CLIENT_ERROR automove window too low or too high";
    atomic_store(&settings.accepted.slab_automove_window, window);
    return OK;
}

static const char *set_automove(const struct arguments *arguments)
{
    uint32_t level;
    double ratio;

    if (argument_is(arguments, 1, "window"))
        return set_automove_window(arguments);
    if (argument_is(arguments, 1, "ratio") || argument_is(arguments, 1, "freeratio")) {
        if (!argument_double(arguments, 2, &ratio))
            return ERROR;
        atomic_store(argument_is(arguments, 1, "ratio")
                         ? &settings.accepted.slab_automove_ratio
                         : &settings.accepted.slab_automove_freeratio, ratio);
        return OK;
    }
    if (!argument_u32(arguments, 1, &level))
        return BAD_FORMAT;
    if (level > 2)
        return ERROR;
    atomic_store(&settings.accepted.slab_automove, level);
    return OK;
}

void execute_slabs(struct execution *execution, struct operation *operation)
{
    const char *text = ERROR;
    struct arguments arguments;

    arguments_split(&arguments, operation->arguments);
    if (argument_is(&arguments, 0, "reassign") && arguments.count == 3)
        text = reassign_slabs(&arguments);
    else if (argument_is(&arguments, 0, "automove") && arguments.count >= 2)
        text = set_automove(&arguments);
    answer(execution, operation, text);
}

/* As a memcached without external storage answers. */
void execute_extstore(struct execution *execution, struct operation *operation)
{
    answer(execution, operation, ERROR);
}

void execute_refresh_certs(struct execution *execution, struct operation *operation)
{
#ifdef WITH_TLS
    if (settings.tls.enabled) {
        answer(execution, operation,
               tls_reload() ? OK : "Error loading the certificates: the log says why");
        return;
    }
#endif
    answer(execution, operation, "Error TLS not enabled");
}

/* The address under which this connection's client reaches us, as `host|ip|port`. */
static void node_text(struct execution *execution, char *text, size_t capacity)
{
    int fd = connection_fd(execution->connection);
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    char ip[INET6_ADDRSTRLEN] = "127.0.0.1";
    unsigned port = settings.tcp_port > 0 ? (unsigned)settings.tcp_port : 0;

    memset(&address, 0, sizeof address);
    if (getsockname(fd, (struct sockaddr *)&address, &size) == 0) {
        if (address.ss_family == AF_INET) {
            struct sockaddr_in *v4 = (struct sockaddr_in *)&address;

            inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof ip);
            port = ntohs(v4->sin_port);
        } else if (address.ss_family == AF_INET6) {
            struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address;
            bool is_mapped = IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);

            if (is_mapped)
                inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], ip, sizeof ip);
            else
                inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof ip);
            port = ntohs(v6->sin6_port);
        }
    }
    snprintf(text, capacity, "%s|%s|%u", ip, ip, port);
}

/* `config get cluster`, as clients with auto-discovery read it:
 *
 *     CONFIG cluster 0 <bytes>\r\n<version>\nhost|ip|port host|ip|port ...\n\r\nEND\r\n */
void execute_config(struct execution *execution, struct operation *operation)
{
    struct arguments arguments;
    char node[160], list[192], text[320];

    arguments_split(&arguments, operation->arguments);
    if (arguments.count != 2 || !argument_is(&arguments, 0, "get") ||
        !argument_is(&arguments, 1, "cluster")) {
        answer(execution, operation, ERROR);
        return;
    }
    if (execute_operator_config(execution, operation))
        return;
    node_text(execution, node, sizeof node);
    snprintf(list, sizeof list, "1\n%s\n", node);
    snprintf(text, sizeof text, "CONFIG cluster 0 %zu\r\n%s\r\nEND", strlen(list), list);
    answer(execution, operation, text);
}

static const char *run_debug_time(const struct arguments *arguments)
{
    int64_t seconds;

    if (argument_is(arguments, 0, "p") || argument_is(arguments, 0, "r"))
        return OK;
    if (!argument_i64(arguments, 0, &seconds) || seconds < 0 || seconds > INT32_MAX)
        return ERROR;
    clock_advance_s(seconds);
    return OK;
}

void execute_debug(struct execution *execution, struct operation *operation)
{
    struct arguments arguments;

    arguments_split(&arguments, operation->arguments);
    if (!settings.debug_commands) {
        answer(execution, operation, ERROR);
    } else if (operation->mode == DEBUG_TIME) {
        answer(execution, operation, run_debug_time(&arguments));
        execution->worker->now_ms = clock_now_ms();
    } else {
        execute_debug_key(execution, operation);
    }
}
