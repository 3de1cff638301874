/* Everything the command line can say, after checking.  Filled once by options_parse() before any
 * thread starts; the few fields that a client may change while we run are atomic and say so. */
#ifndef SERVER_SETTINGS_H
#define SERVER_SETTINGS_H

#include "server/peer_tls.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define LISTEN_MAX 64

enum listen_protocol { LISTEN_NEGOTIATING, LISTEN_ASCII, LISTEN_BINARY };
enum listen_tls { LISTEN_TLS_DEFAULT, LISTEN_TLS_OFF, LISTEN_TLS_ON, LISTEN_TLS_MUTUAL };

/* One -l argument: [proto[...]:][tag[...]:][notls:|btls:|mtls:]address[:port] */
struct listen_address {
    char *host;               /* NULL: every address */
    int port;                 /* 0: settings' tcp_port; -1: any free one */
    enum listen_protocol protocol;
    bool protocol_given;      /* false: `protocol` was copied from the settings' */
    enum listen_tls tls;
    char tag[9];              /* up to 8 characters, shown by `stats conns` */
};

struct tls_settings {
    bool enabled;             /* -Z */
    const char *chain_file, *key_file, *ca_file, *ciphers;
    int key_format;           /* SSL_FILETYPE_PEM */
    int verify_mode;          /* of client certificates: 0 none, 1 if sent, 2 required, 3 required once per session */
    int min_version;          /* 0 TLS 1.0 ... 3 TLS 1.3 */
    unsigned write_buffer_bytes;
    bool session_cache, kernel_tls;
};

struct settings {
    /* where to listen */
    struct listen_address listen[LISTEN_MAX];
    unsigned listen_count;        /* 0: every address */
    char *listen_text;            /* all -l arguments as given, with commas; NULL: none was */
    int tcp_port, udp_port;       /* -1: any free one; udp 0: none */
    const char *unix_path;        /* -s: turns TCP off */
    unsigned unix_mask;           /* -a, octal */
    int backlog;
    enum listen_protocol protocol; /* -B */
    bool tcp_port_given, udp_port_given, protocol_given, chunk_max_given;

    /* the process */
    bool daemon, core_dumps, lock_memory;
    const char *pid_file, *user;
    const char *config_file;      /* --config */
    bool checks_config;           /* --check-config: say what is wrong, and end */
    unsigned threads;
    _Atomic unsigned verbosity;   /* changed by `verbosity N` */

    /* the cache */
    _Atomic uint64_t limit_bytes; /* changed by `cache_memlimit` */
    uint64_t item_bytes_max;
    bool evicts, uses_cas;
    unsigned hash_power;
    bool track_sizes;
    char prefix_delimiter;        /* -D */
    _Atomic bool detail_enabled;  /* `stats detail on|off` */

    /* connections */
    unsigned connections_max, requests_per_event;
    bool requests_per_event_given; /* without -R one read's worth is served per event */
    bool maxconns_fast;
    unsigned idle_timeout_s;      /* 0: never */

    /* what clients may do */
    bool allows_shutdown, allows_flush, allows_dump, allows_watch, debug_commands;
    bool sasl;                    /* -S */
    const char *auth_file;        /* -Y */
    struct tls_settings tls;

    /* the cluster; without a node_name there is none, and the rest is not looked at */
    const char *node_name;        /* --node-name */
    const char *cluster_listen;   /* ADDRESS:PORT */
    const char *join;             /* ADDRESS:PORT[,...]; NULL: none was given */
    const char *secret_file, *state_file, *zone; /* NULL: none */
    struct peer_tls_files peer_tls; /* --cluster-tls-*: all of them, or all NULL */
    unsigned weight;              /* of the partitions, relative to others'; 0: owns none */
    unsigned copies, read_quorum, write_quorum; /* N, R, W where no policy says otherwise */
    unsigned partition_bits;      /* log2 of --partitions */
    unsigned clock_drift_max_ms, request_timeout_ms, hedge_min_ms;
    uint64_t hint_memory_bytes, stub_memory_bytes, tombstone_memory_bytes; /* 0: a part of -m */
    uint64_t hint_lifetime_ms, tombstone_grace_ms;

    /* beyond memcached */
    unsigned siblings_max;        /* --max-siblings: past it a context write is refused */
    double time_scale;            /* --time-scale: divides the waits of all background work */

    /* accepted, echoed by `stats settings`, and without effect here */
    struct {
        double slab_growth_factor;
        unsigned slab_min_size, slab_chunk_max;
        _Atomic unsigned slab_automove, slab_automove_window;
        _Atomic double slab_automove_ratio, slab_automove_freeratio;
        bool slab_reassign, large_pages;
        _Atomic bool lru_crawler, lru_maintainer, lru_segmented;
        _Atomic unsigned lru_crawler_sleep_us, lru_crawler_tocrawl;
        _Atomic unsigned hot_lru_pct, warm_lru_pct;
        _Atomic double hot_max_factor, warm_max_factor;
        _Atomic int temporary_ttl;
        unsigned tail_repair_time, hashpower_init, watcher_logbuf_kb, worker_logbuf_kb;
        unsigned read_buf_mem_limit;
        const char *hash_algorithm;
        bool inline_ascii_response, drop_privileges, hash_expand;
        unsigned napi_ids;
    } accepted;
};

/* The one instance, filled by main() before any thread starts. */
extern struct settings settings;

/* Sets every field to what it is without any option. */
void settings_init(struct settings *);
/* Frees what options_parse() allocated. */
void settings_deinit(struct settings *);

#endif
