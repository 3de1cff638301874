/* The life of the server: read the options, become what they ask for, start the parts from the
 * inside out, serve until a signal, and stop the parts from the outside in.
 *
 *   options -> TLS -> user -> background -> logins -> store -> cluster -> workers -> listeners ->
 *   sweep -> the cluster's thread -> loop
 *
 * The user is changed before we listen, as memcached does it, so that the Unix socket and the pid
 * file belong to that user; TLS keys are read before, because they often belong to root. */
#include "server/auth_file.h"
#include "server/cell_store.h"
#include "server/cells.h"
#include "server/clock.h"
#include "server/cluster.h"
#include "server/config_file.h"
#include "server/listener.h"
#include "server/log.h"
#include "server/maintenance.h"
#include "server/options.h"
#include "server/policy.h"
#include "server/prefix_stats.h"
#include "server/process.h"
#include "server/sasl.h"
#include "server/settings.h"
#include "server/store.h"
#include "server/tls.h"
#include "server/watch.h"
#include "server/worker.h"
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

/* --- what the process becomes --- */

static int become(void)
{
    int code = process_allow_connections(settings.connections_max);

    if (code == 0 && settings.core_dumps)
        code = process_allow_core_dumps();
    if (settings.lock_memory)
        process_allow_locked_memory();
#ifdef WITH_TLS
    if (code == 0 && settings.tls.enabled && !tls_start(&settings.tls))
        code = EX_USAGE;
#endif
    if (code == 0)
        code = process_become_user(settings.user, settings.core_dumps);
    if (code == 0 && settings.daemon)
        code = process_daemonise();
    return code;
}

static int open_logins(void)
{
    if (settings.sasl && !sasl_start())
        return EX_OSERR;
    if (settings.auth_file != NULL && !auth_file_load(settings.auth_file))
        return EXIT_FAILURE;
    return 0;
}

static void close_logins(void)
{
    auth_file_clear();
    if (settings.sasl)
        sasl_stop();
#ifdef WITH_TLS
    tls_stop();
#endif
}

/* --- signals --- */

enum { ON_INT, ON_TERM, ON_USR1, ON_HUP, SIGNALS };

static void on_stop(struct ev_loop *loop, ev_signal *watcher, int events)
{
    (void)events;
    log_info("signal %d: stopping", watcher->signum);
    ev_break(loop, EVBREAK_ALL);
}

static void on_reload(struct ev_loop *loop, ev_signal *watcher, int events)
{
    (void)loop, (void)watcher, (void)events;
    if (settings.config_file != NULL)
        config_file_reload(settings.config_file);
    if (settings.auth_file != NULL && auth_file_load(settings.auth_file))
        log_info("logins reloaded from %s", settings.auth_file);
#ifdef WITH_TLS
    if (settings.tls.enabled && tls_reload())
        log_info("TLS certificates reloaded");
#endif
}

/* The loop reads them from a descriptor: they stay blocked in this thread too, so that none is lost
 * in a handler that runs, or is put off, between the loop's last look and its wait. */
static void signals_start(struct ev_loop *loop, ev_signal watchers[SIGNALS])
{
    static const int stopping[] = { [ON_INT] = SIGINT, [ON_TERM] = SIGTERM, [ON_USR1] = SIGUSR1 };

    for (unsigned i = 0; i < ON_HUP; i++)
        ev_signal_init(&watchers[i], on_stop, stopping[i]);
    ev_signal_init(&watchers[ON_HUP], on_reload, SIGHUP);
    for (unsigned i = 0; i < SIGNALS; i++)
        ev_signal_start(loop, &watchers[i]);
}

/* From then on a second signal ends the process at once. */
static void signals_stop(struct ev_loop *loop, ev_signal watchers[SIGNALS])
{
    for (unsigned i = 0; i < SIGNALS; i++)
        ev_signal_stop(loop, &watchers[i]);
}

/* --- serving --- */

static bool asks_for_login(void)
{
    bool knows_clients = settings.tls.enabled && settings.tls.verify_mode >= 2;

    return settings.sasl || settings.auth_file != NULL || knows_clients;
}

static void announce(void)
{
    char listeners[1024];

    listeners_describe(listeners, sizeof listeners);
    log_notice(PACKAGE_VERSION " (memcached " MEMCACHED_VERSION ") listens on %s with %u threads "
               "and %llu MB",
               listeners, settings.threads, (unsigned long long)(settings.limit_bytes >> 20));
    if (listeners_face_the_network() && !asks_for_login())
        log_warning("anybody who can reach this machine can read and change the cache: say "
                    "-l 127.0.0.1, or require logins with -S or -Y");
}

static void run(struct ev_loop *loop)
{
    ev_signal watchers[SIGNALS];

    signals_start(loop, watchers);
    if (settings.pid_file != NULL)
        process_write_pid_file(settings.pid_file); /* whoever reads it may send a signal at once */
    announce();
    process_notify("READY=1");
    process_daemon_ready(settings.verbosity > 0);
    ev_run(loop, 0);
    process_notify("STOPPING=1");
    signals_stop(loop, watchers);
    if (settings.pid_file != NULL)
        process_remove_pid_file(settings.pid_file);
}

/* Finer trees tell more exactly what differs, and take more memory: half a megabyte as this is. */
#define MERKLE_LEAF_BITS 6

static struct store *make_store(void)
{
    const struct cell_store_options cells = {
        .partition_bits = settings.partition_bits,
        .leaf_bits = MERKLE_LEAF_BITS,
        .stub_bytes_max = settings.stub_memory_bytes,
        .tombstone_bytes_max = settings.tombstone_memory_bytes,
        .tombstone_grace_ms = settings.tombstone_grace_ms,
    };
    struct store_options options = {
        .cells = settings.node_name != NULL ? &cells : NULL,
        .limit_bytes = settings.limit_bytes,
        .item_bytes_max = settings.item_bytes_max,
        .threads = settings.threads,
        .evicts = settings.evicts,
        .hash_power = settings.hash_power,
        .on_eviction = watch_item_evicted,
        .on_sweep = watch_swept,
    };

    return store_new(&options);
}

/* How long who has connected to a node waits for it to find its cluster, until it is refused. */
#define TABLE_MS_MAX 2000

/* With the workers running.  Returns the exit code. */
static int serve_clients(struct ev_loop *loop, struct store *store, struct cluster *cluster)
{
    int code = listeners_open(&settings);

    if (code != 0)
        return code;
    if (maintenance_start(store) && (cluster == NULL || cluster_run(cluster))) {
        if (cluster != NULL)
            cluster_wait_until_serving(cluster, TABLE_MS_MAX);
        run(loop);
        code = cluster != NULL ? cluster_exit_code(cluster) : 0;
    } else {
        code = EX_OSERR;
    }
    listeners_close();
    if (cluster != NULL)
        cluster_stop(cluster);
    maintenance_stop();
    return code;
}

/* Starts all parts, serves, stops them.  Returns the exit code. */
static int serve(void)
{
    int code = EX_OSERR;
    struct ev_loop *loop = ev_default_loop(EVFLAG_AUTO | EVFLAG_SIGNALFD);
    struct store *store = make_store();
    struct cluster *cluster = NULL;

    if (loop == NULL || store == NULL) {
        if (loop == NULL)
            log_error("cannot make an event loop; is LIBEV_FLAGS set to something odd?");
        goto free_store;
    }
    if (settings.lock_memory)
        process_lock_memory();
    if (!cells_start())
        goto free_store;
    if (settings.node_name != NULL && (cluster = cluster_start(store)) == NULL) {
        code = EX_CONFIG;
        goto free_store;
    }
    process_block_signals();
    if (workers_start(store, settings.threads)) {
        code = serve_clients(loop, store, cluster);
        workers_stop();
        prefix_stats_clear();
    }
    if (cluster != NULL)
        cluster_free(cluster);
free_store:
    if (store != NULL)
        store_free(store);
    if (loop != NULL)
        ev_loop_destroy(loop);
    return code;
}

int main(int count, char **arguments)
{
    int code;

    settings_init(&settings);
    if (options_parse(&settings, count, arguments, stdout, stderr, &code)) {
        clock_init();
        code = become();
        if (code == 0)
            code = open_logins();
        if (code == 0)
            code = serve();
        close_logins();
    }
    settings_deinit(&settings);
    config_file_clear();
    policies_clear();
    return code;
}
