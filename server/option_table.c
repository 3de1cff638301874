#include "server/option_table.h"
#include "ring/membership.h"
#include "server/listen_address.h"
#include <ctype.h>
#include <limits.h>
#include <string.h>
#include <strings.h>

/* -h, -V, -i and -o are acted upon in options.c: they have rows here for --help and have no setter. */

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define MB (1024.0 * 1024)
#define LIMIT_BYTES_MAX (1024 * 1024 * MB) /* of -m: what 32-bit page numbers can reserve */

/* A setter that only stores: `field` of the settings becomes the value's `from`. */
#define STORE(function, field, type, from)                                                        \
    static const char *function(struct settings *s, const struct option_value *value)            \
    {                                                                                             \
        s->field = (type)value->from;                                                             \
        return NULL;                                                                              \
    }

STORE(set_unix_path, unix_path, const char *, text)
STORE(set_unix_mask, unix_mask, unsigned, number)
STORE(set_backlog, backlog, int, number)
STORE(set_limit, limit_bytes, uint64_t, number)
STORE(set_item_max, item_bytes_max, uint64_t, number)
STORE(set_evicts, evicts, bool, number)
STORE(set_uses_cas, uses_cas, bool, number)
STORE(set_track_sizes, track_sizes, bool, number)
STORE(set_connections_max, connections_max, unsigned, number)
STORE(set_threads, threads, unsigned, number)
STORE(set_idle_timeout, idle_timeout_s, unsigned, number)
STORE(set_maxconns_fast, maxconns_fast, bool, number)
STORE(set_allows_shutdown, allows_shutdown, bool, number)
STORE(set_allows_flush, allows_flush, bool, number)
STORE(set_allows_dump, allows_dump, bool, number)
STORE(set_allows_watch, allows_watch, bool, number)
STORE(set_auth_file, auth_file, const char *, text)
STORE(set_user, user, const char *, text)
STORE(set_daemon, daemon, bool, number)
STORE(set_pid_file, pid_file, const char *, text)
STORE(set_config_file, config_file, const char *, text)
STORE(set_checks_config, checks_config, bool, number)
STORE(set_core_dumps, core_dumps, bool, number)
STORE(set_lock_memory, lock_memory, bool, number)
STORE(set_debug_commands, debug_commands, bool, number)
STORE(set_time_scale, time_scale, double, real)
STORE(set_siblings_max, siblings_max, unsigned, number)

STORE(set_cluster_listen, cluster_listen, const char *, text)
STORE(set_secret_file, secret_file, const char *, text)
STORE(set_peer_certificate, peer_tls.certificate, const char *, text)
STORE(set_peer_key, peer_tls.key, const char *, text)
STORE(set_peer_authority, peer_tls.authority, const char *, text)
STORE(set_state_file, state_file, const char *, text)
STORE(set_weight, weight, unsigned, number)
STORE(set_copies, copies, unsigned, number)
STORE(set_read_quorum, read_quorum, unsigned, number)
STORE(set_write_quorum, write_quorum, unsigned, number)
STORE(set_clock_drift, clock_drift_max_ms, unsigned, number * 1000)
STORE(set_request_timeout, request_timeout_ms, unsigned, number)
STORE(set_hedge_min, hedge_min_ms, unsigned, number)
STORE(set_hint_memory, hint_memory_bytes, uint64_t, number)
STORE(set_stub_memory, stub_memory_bytes, uint64_t, number)
STORE(set_tombstone_memory, tombstone_memory_bytes, uint64_t, number)
STORE(set_hint_lifetime, hint_lifetime_ms, uint64_t, number * 1000)
STORE(set_tombstone_grace, tombstone_grace_ms, uint64_t, number * 1000)

STORE(set_tls_chain, tls.chain_file, const char *, text)
STORE(set_tls_key, tls.key_file, const char *, text)
STORE(set_tls_ca, tls.ca_file, const char *, text)
STORE(set_tls_ciphers, tls.ciphers, const char *, text)
STORE(set_tls_verify, tls.verify_mode, int, number)
STORE(set_tls_version, tls.min_version, int, number)
STORE(set_tls_buffer, tls.write_buffer_bytes, unsigned, number * 1024)
STORE(set_tls_session_cache, tls.session_cache, bool, number)
STORE(set_tls_kernel, tls.kernel_tls, bool, number)

STORE(set_growth_factor, accepted.slab_growth_factor, double, real)
STORE(set_slab_min_size, accepted.slab_min_size, unsigned, number)
STORE(set_slab_reassign, accepted.slab_reassign, bool, number)
STORE(set_slab_automove_ratio, accepted.slab_automove_ratio, double, real)
STORE(set_slab_automove_window, accepted.slab_automove_window, unsigned, number)
STORE(set_slab_automove_freeratio, accepted.slab_automove_freeratio, double, real)
STORE(set_large_pages, accepted.large_pages, bool, number)
STORE(set_lru_crawler, accepted.lru_crawler, bool, number)
STORE(set_lru_crawler_sleep, accepted.lru_crawler_sleep_us, unsigned, number)
STORE(set_lru_crawler_tocrawl, accepted.lru_crawler_tocrawl, unsigned, number)
STORE(set_hot_lru_pct, accepted.hot_lru_pct, unsigned, number)
STORE(set_warm_lru_pct, accepted.warm_lru_pct, unsigned, number)
STORE(set_hot_max_factor, accepted.hot_max_factor, double, real)
STORE(set_warm_max_factor, accepted.warm_max_factor, double, real)
STORE(set_temporary_ttl, accepted.temporary_ttl, int, number)
STORE(set_tail_repair_time, accepted.tail_repair_time, unsigned, number)
STORE(set_watcher_logbuf, accepted.watcher_logbuf_kb, unsigned, number)
STORE(set_worker_logbuf, accepted.worker_logbuf_kb, unsigned, number)
STORE(set_read_buf_mem_limit, accepted.read_buf_mem_limit, unsigned, number)
STORE(set_inline_ascii, accepted.inline_ascii_response, bool, number)
STORE(set_drop_privileges, accepted.drop_privileges, bool, number)
STORE(set_hash_expand, accepted.hash_expand, bool, number)
STORE(set_napi_ids, accepted.napi_ids, unsigned, number)

/* --- setters that do more than store --- */

static const char *set_tcp_port(struct settings *s, const struct option_value *value)
{
    s->tcp_port = (int)value->number;
    s->tcp_port_given = true;
    return NULL;
}

static const char *set_udp_port(struct settings *s, const struct option_value *value)
{
    s->udp_port = (int)value->number;
    s->udp_port_given = true;
    return NULL;
}

static const char *add_listen(struct settings *s, const struct option_value *value)
{
    static char complaint[256];

    return listen_addresses_add(s, value->text, complaint, sizeof complaint) ? NULL : complaint;
}

static const char *set_protocol(struct settings *s, const struct option_value *value)
{
    if (strcmp(value->text, "auto") == 0)
        s->protocol = LISTEN_NEGOTIATING;
    else if (strcmp(value->text, "ascii") == 0)
        s->protocol = LISTEN_ASCII;
    else if (strcmp(value->text, "binary") == 0)
        s->protocol = LISTEN_BINARY;
    else
        return "not a protocol: there are auto, binary and ascii";
    s->protocol_given = true;
    return NULL;
}

static const char *set_requests_per_event(struct settings *s, const struct option_value *value)
{
    s->requests_per_event = (unsigned)value->number;
    s->requests_per_event_given = true;
    return NULL;
}

static const char *more_verbose(struct settings *s, const struct option_value *value)
{
    (void)value;
    s->verbosity++;
    return NULL;
}

static const char *set_delimiter(struct settings *s, const struct option_value *value)
{
    s->prefix_delimiter = value->text[0];
    s->detail_enabled = true;
    return NULL;
}

static const char *set_sasl(struct settings *s, const struct option_value *value)
{
    (void)value;
#ifdef WITH_SASL
    s->sasl = true;
    return NULL;
#else
    (void)s;
    return "this server is built without SASL (configure it without --disable-sasl)";
#endif
}

static const char *set_tls(struct settings *s, const struct option_value *value)
{
    (void)value;
#ifdef WITH_TLS
    s->tls.enabled = true;
    return NULL;
#else
    (void)s;
    return "this server is built without TLS (configure it without --disable-tls)";
#endif
}

static const char *set_tls_key_format(struct settings *s, const struct option_value *value)
{
    if (strcasecmp(value->text, "PEM") == 0 || strcmp(value->text, "1") == 0)
        s->tls.key_format = 1; /* SSL_FILETYPE_PEM */
    else if (strcasecmp(value->text, "DER") == 0 || strcmp(value->text, "2") == 0)
        s->tls.key_format = 2; /* SSL_FILETYPE_ASN1 */
    else
        return "not a key format: there are PEM and DER";
    return NULL;
}

static const char *set_hash_algorithm(struct settings *s, const struct option_value *value)
{
    static const char *const names[] = { "jenkins", "murmur3", "xxh3" };

    for (unsigned i = 0; i < COUNT(names); i++) {
        if (strcmp(value->text, names[i]) == 0) {
            s->accepted.hash_algorithm = names[i];
            return NULL;
        }
    }
    return "not a hash algorithm: there are jenkins, murmur3 and xxh3 (and we always use xxh3)";
}

static const char *set_hashpower(struct settings *s, const struct option_value *value)
{
    s->hash_power = (unsigned)value->number;
    s->accepted.hashpower_init = (unsigned)value->number;
    return NULL;
}

static const char *set_slab_chunk_max(struct settings *s, const struct option_value *value)
{
    s->accepted.slab_chunk_max = (unsigned)value->number * 1024;
    s->chunk_max_given = true;
    return NULL;
}

static const char *set_slab_automove(struct settings *s, const struct option_value *value)
{
    s->accepted.slab_automove = value->text != NULL ? (unsigned)value->number : 1;
    return NULL;
}

static const char *no_slab_automove(struct settings *s, const struct option_value *value)
{
    (void)value;
    s->accepted.slab_automove = 0;
    return NULL;
}

static const char *set_lru_maintainer(struct settings *s, const struct option_value *value)
{
    s->accepted.lru_maintainer = (bool)value->number;
    s->accepted.lru_segmented = (bool)value->number;
    return NULL;
}

static const char *no_chunked_items(struct settings *s, const struct option_value *value)
{
    (void)value;
    if (!s->chunk_max_given)
        s->accepted.slab_chunk_max = 1024 * 1024;
    return NULL;
}

/* memcached's defaults of 1.4: only what `stats settings` shows and -c's manner depend on it. */
static const char *no_modern(struct settings *s, const struct option_value *value)
{
    no_slab_automove(s, value);
    no_chunked_items(s, value);
    s->accepted.slab_reassign = false;
    s->accepted.lru_segmented = false;
    s->accepted.lru_crawler = false;
    s->accepted.lru_maintainer = false;
    s->accepted.hash_algorithm = "jenkins";
    s->maxconns_fast = false;
    return NULL;
}

static const char *set_name(const char **name, const struct option_value *value)
{
    struct member_name unused;
    struct slice text = {(const unsigned char *)value->text, strlen(value->text)};

    if (!member_name_set(&unused, text))
        return "a name has up to 31 printable ASCII characters, and no spaces";
    *name = value->text;
    return NULL;
}

static const char *set_node_name(struct settings *s, const struct option_value *value)
{
    return set_name(&s->node_name, value);
}

static const char *set_zone(struct settings *s, const struct option_value *value)
{
    return set_name(&s->zone, value);
}

/* Whether each address of a list ends with a port; who has that address may change while we run. */
static bool have_ports(const char *list)
{
    while (*list != '\0') {
        size_t bytes = strcspn(list, ","), end = bytes;
        while (end > 0 && isdigit((unsigned char)list[end - 1]))
            end--;
        if (bytes > 0 && (end == bytes || end < 2 || list[end - 1] != ':'))
            return false;
        list += bytes + (list[bytes] == ',');
    }
    return true;
}

static const char *add_join(struct settings *s, const struct option_value *value)
{
    if (!have_ports(value->text))
        return "not addresses of nodes: say ADDRESS:PORT or [IPV6]:PORT, with commas between them";
    if (s->join != NULL)
        return "is given twice: say it once, with commas between the addresses";
    s->join = value->text;
    return NULL;
}

static const char *set_partitions(struct settings *s, const struct option_value *value)
{
    const uint64_t count = (uint64_t)value->number;

    if ((count & (count - 1)) != 0)
        return "not a power of two";
    s->partition_bits = (unsigned)__builtin_ctzll(count);
    return NULL;
}

/* --- options --- */

#define FLAG(value) OPTION_FLAG, .min = (value)
#define NUMBER(low, high) OPTION_NUMBER, .min = (low), .max = (high)
#define REAL(low, high) OPTION_REAL, .min = (low), .max = (high)

const struct option_row option_rows[] = {
    { 'p', "port", "NUM", GROUP_LISTEN, NUMBER(-1, INT_MAX), .set = set_tcp_port,
      .help = "TCP port (default 11211; 0 none, -1 any free one)" },
    { 'U', "udp-port", "NUM", GROUP_LISTEN, NUMBER(-1, INT_MAX), .set = set_udp_port,
      .help = "UDP port (default 0: none)" },
    { 'l', "listen", "ADDR", GROUP_LISTEN, OPTION_TEXT, .set = add_listen,
      .help = "address to listen on (default: every one); may be given several times or with "
              "commas, as ADDR:PORT, [IPV6]:PORT or *, with proto[ascii|binary|negotiating]:, "
              "tag[NAME]:, notls:, btls: or mtls: before it" },
    { 's', "unix-socket", "FILE", GROUP_LISTEN, OPTION_TEXT, .set = set_unix_path,
      .help = "Unix socket to listen on, instead of the network" },
    { 'a', "unix-mask", "MASK", GROUP_LISTEN, OPTION_OCTAL, .min = 0, .max = 0777,
      .set = set_unix_mask, .help = "access rights of the Unix socket, octal (default 700)" },
    { 'b', "listen-backlog", "NUM", GROUP_LISTEN, NUMBER(1, INT_MAX), .set = set_backlog,
      .help = "connections that may wait to be accepted (default 1024)" },
    { 'B', "protocol", "NAME", GROUP_LISTEN, OPTION_TEXT, .set = set_protocol,
      .help = "auto, ascii or binary (default auto: told by the first byte)" },

    { 'm', "memory-limit", "NUM", GROUP_CACHE, OPTION_BYTES, .max = LIMIT_BYTES_MAX,
      .unit = 1024 * 1024, .set = set_limit,
      .help = "memory for everything cached, in megabytes, or with k, m, g (default 64)" },
    { 'M', "disable-evictions", NULL, GROUP_CACHE, FLAG(0), .set = set_evicts,
      .help = "answer an error when memory is full, instead of evicting" },
    { 'I', "max-item-size", "NUM", GROUP_CACHE, OPTION_BYTES, .max = LIMIT_BYTES_MAX, .unit = 1,
      .set = set_item_max,
      .help = "largest item, in bytes, or with k, m (default 1m; 1k to 1024m)" },
    { 'C', "disable-cas", NULL, GROUP_CACHE, FLAG(0), .set = set_uses_cas,
      .help = "no cas values" },
    { 'D', NULL, "CHAR", GROUP_CACHE, OPTION_TEXT, .set = set_delimiter,
      .help = "ends the prefix of a key in `stats detail` (default :); turns that on" },

    { 'c', "conn-limit", "NUM", GROUP_CONNECTIONS, NUMBER(1, INT_MAX), .set = set_connections_max,
      .help = "connections at a time (default 1024)" },
    { 't', "threads", "NUM", GROUP_CONNECTIONS, NUMBER(1, 1024), .set = set_threads,
      .help = "worker threads (default 4)" },
    { 'R', "max-reqs-per-event", "NUM", GROUP_CONNECTIONS, NUMBER(1, INT_MAX),
      .set = set_requests_per_event,
      .help = "requests served on one connection before others have their turn "
              "(default: what one read brings)" },

    { 'A', "enable-shutdown", NULL, GROUP_CLIENTS, FLAG(1), .set = set_allows_shutdown,
      .help = "allow the command `shutdown`" },
    { 'F', "disable-flush-all", NULL, GROUP_CLIENTS, FLAG(0), .set = set_allows_flush,
      .help = "refuse `flush_all`" },
    { 'X', "disable-dumping", NULL, GROUP_CLIENTS, FLAG(0), .set = set_allows_dump,
      .help = "refuse `stats cachedump` and `lru_crawler metadump`" },
    { 'W', "disable-watch", NULL, GROUP_CLIENTS, FLAG(0), .set = set_allows_watch,
      .help = "refuse `watch`" },
    { 'S', "enable-sasl", NULL, GROUP_CLIENTS, FLAG(1), .set = set_sasl,
      .help = "require a login over the binary protocol (sasl)" },
    { 'Y', "auth-file", "FILE", GROUP_CLIENTS, OPTION_TEXT, .set = set_auth_file,
      .help = "require a login over the text protocol; lines of user:password, 8 at most" },

    { 'Z', "enable-ssl", NULL, GROUP_TLS, FLAG(1), .set = set_tls,
      .help = "speak TLS; needs -o ssl_chain_cert" },

    { 'u', "user", "NAME", GROUP_PROCESS, OPTION_TEXT, .set = set_user,
      .help = "user to become when started as root (needed then)" },
    { 'd', "daemon", NULL, GROUP_PROCESS, FLAG(1), .set = set_daemon,
      .help = "go to the background once we listen" },
    { 'P', "pidfile", "FILE", GROUP_PROCESS, OPTION_TEXT, .set = set_pid_file,
      .help = "file to write the process id to" },
    { 0, "config", "FILE", GROUP_PROCESS, OPTION_TEXT, .set = set_config_file,
      .is_command_line_only = true,
      .help = "read options and policies from this file first; SIGHUP reads the policies again" },
    { 0, "check-config", NULL, GROUP_PROCESS, FLAG(1), .set = set_checks_config,
      .is_command_line_only = true,
      .help = "say what is wrong with the options and the configuration file, and end" },
    { 'r', "enable-coredumps", NULL, GROUP_PROCESS, FLAG(1), .set = set_core_dumps,
      .help = "raise the limit for core files" },
    { 'k', "lock-memory", NULL, GROUP_PROCESS, FLAG(1), .set = set_lock_memory,
      .help = "keep all memory from being swapped out" },
    { 'v', "verbose", NULL, GROUP_PROCESS, FLAG(1), .set = more_verbose,
      .help = "log more; -vv also connections and commands" },
    { 'h', "help", NULL, GROUP_PROCESS, FLAG(1), .is_command_line_only = true, .help = "print this and end" },
    { 'i', "license", NULL, GROUP_PROCESS, FLAG(1), .is_command_line_only = true, .help = "print the licence and end" },
    { 'V', "version", NULL, GROUP_PROCESS, FLAG(1), .is_command_line_only = true, .help = "print the version and end" },
    { 'o', "extended", "LIST", GROUP_PROCESS, OPTION_TEXT, .is_command_line_only = true,
      .help = "suboptions, with commas between them: see below" },

    { 0, "node-name", "NAME", GROUP_CLUSTER, OPTION_TEXT, .set = set_node_name,
      .help = "be the node of this name in a cluster; a node that starts again under its name is "
              "the same one, and empty" },
    { 0, "cluster-listen", "ADDR:PORT", GROUP_CLUSTER, OPTION_TEXT, .set = set_cluster_listen,
      .help = "where the other nodes reach this one; port 0: any free one" },
    { 0, "join", "ADDR:PORT[,...]", GROUP_CLUSTER, OPTION_TEXT, .set = add_join,
      .help = "the cluster that these nodes are in; without it, and without a state file, "
              "a node is the first of a new cluster" },
    { 0, "state-file", "FILE", GROUP_CLUSTER, OPTION_TEXT, .set = set_state_file,
      .help = "file in which the members are kept, so that a cluster whose nodes all start again "
              "finds itself" },
    { 0, "cluster-secret-file", "FILE", GROUP_CLUSTER, OPTION_TEXT, .set = set_secret_file,
      .help = "file with what all nodes of the cluster, and nobody else, know; needed unless "
              "--cluster-listen is a loopback address or there is TLS between nodes" },
    { 0, "cluster-tls-cert", "FILE", GROUP_CLUSTER, OPTION_TEXT, .set = set_peer_certificate,
      .help = "TLS between nodes, instead of a secret or beside it: this node's certificate, whose "
              "common name is the --node-name (PEM)" },
    { 0, "cluster-tls-key", "FILE", GROUP_CLUSTER, OPTION_TEXT, .set = set_peer_key,
      .help = "its private key" },
    { 0, "cluster-tls-ca", "FILE", GROUP_CLUSTER, OPTION_TEXT, .set = set_peer_authority,
      .help = "the authority that signed the certificates of all nodes, and nobody else's" },
    { 0, "zone", "NAME", GROUP_CLUSTER, OPTION_TEXT, .set = set_zone,
      .help = "room, rack or power supply: copies go to different ones (default: none)" },
    { 0, "weight", "NUM", GROUP_CLUSTER, NUMBER(0, RING_WEIGHT_MAX), .set = set_weight,
      .help = "part of the data, relative to the other nodes' (default 100)" },
    { 0, "copies", "N", GROUP_CLUSTER, NUMBER(1, RING_COPIES_MAX), .set = set_copies,
      .help = "nodes that keep each key (default 3)" },
    { 0, "read-quorum", "R", GROUP_CLUSTER, NUMBER(1, RING_COPIES_MAX), .set = set_read_quorum,
      .help = "of those, how many a read hears before it answers (default 2)" },
    { 0, "write-quorum", "W", GROUP_CLUSTER, NUMBER(1, RING_COPIES_MAX), .set = set_write_quorum,
      .help = "and how many have stored a write (default 2)" },
    { 0, "partitions", "NUM", GROUP_CLUSTER, NUMBER(2, 1 << RING_PARTITION_BITS_MAX),
      .set = set_partitions,
      .help = "parts of the key space, a power of two; the same on all nodes, for good "
              "(default 1024)" },
    { 0, "max-clock-drift", "SECONDS", GROUP_CLUSTER, NUMBER(1, 24 * 60 * 60),
      .set = set_clock_drift, .help = "how far ahead a peer's clock may be (default 60)" },
    { 0, "request-timeout", "MS", GROUP_CLUSTER, NUMBER(10, 60 * 1000),
      .set = set_request_timeout,
      .help = "until a client hears that a quorum was not met (default 1000)" },
    { 0, "hedge-min", "MS", GROUP_CLUSTER, NUMBER(1, 1000), .set = set_hedge_min,
      .help = "least time after which another node is asked instead (default 5)" },
    { 0, "hint-memory", "SIZE", GROUP_CLUSTER, OPTION_BYTES, .max = LIMIT_BYTES_MAX,
      .unit = 1024 * 1024, .set = set_hint_memory,
      .help = "of -m, for writes that nodes which are away have yet to get (default: a quarter)" },
    { 0, "hint-lifetime", "SECONDS", GROUP_CLUSTER, NUMBER(1, INT_MAX),
      .set = set_hint_lifetime,
      .help = "until those are left to anti-entropy (default 2700)" },
    { 0, "stub-memory", "SIZE", GROUP_CLUSTER, OPTION_BYTES, .max = LIMIT_BYTES_MAX,
      .unit = 1024 * 1024, .set = set_stub_memory,
      .help = "of -m, for what is remembered of evicted keys (default: a sixteenth)" },
    { 0, "tombstone-memory", "SIZE", GROUP_CLUSTER, OPTION_BYTES, .max = LIMIT_BYTES_MAX,
      .unit = 1024 * 1024, .set = set_tombstone_memory,
      .help = "of -m, for what is remembered of deleted keys (default: an eighth)" },
    { 0, "tombstone-grace", "SECONDS", GROUP_CLUSTER, NUMBER(1, INT_MAX),
      .set = set_tombstone_grace,
      .help = "how long that is remembered (default 3600)" },

    { 0, "max-siblings", "NUM", GROUP_BEYOND, NUMBER(1, 1000), .set = set_siblings_max,
      .help = "versions of one key that context writes may leave side by side (default 32)" },
    { 0, "debug-commands", NULL, GROUP_BEYOND, FLAG(1), .set = set_debug_commands,
      .help = "allow `debugtime` and `debug`; for tests" },
    { 0, "time-scale", "FACTOR", GROUP_BEYOND, REAL(0, 1e6), .set = set_time_scale,
      .help = "run all background work this much faster; for tests (default 1)" },

    { 'f', "slab-growth-factor", "FACTOR", GROUP_ACCEPTED, REAL(1, 1e6),
      .set = set_growth_factor, .help = "(default 1.25)" },
    { 'n', "slab-min-size", "BYTES", GROUP_ACCEPTED, NUMBER(1, 1e9), .set = set_slab_min_size,
      .help = "(default 48)" },
    { 'L', "enable-largepages", NULL, GROUP_ACCEPTED, FLAG(1), .set = set_large_pages,
      .help = "" },
    { 'N', "napi-ids", "NUM", GROUP_ACCEPTED, NUMBER(1, 1024), .set = set_napi_ids,
      .help = "" },
    { 'e', "memory-file", "FILE", GROUP_HIDDEN, OPTION_REFUSED,
      .help = "ringcached keeps no memory file over a restart; leave the option away" },
};
const unsigned option_row_count = COUNT(option_rows);

/* --- suboptions of -o --- */

#define ACCEPTED_FLAG(name, setter, value)                                                        \
    { 0, name, NULL, GROUP_ACCEPTED, FLAG(value), .set = setter, .help = "" }
#define REFUSED(name, why) { 0, name, NULL, GROUP_HIDDEN, OPTION_REFUSED, .help = why }
#define NO_EXTSTORE "ringcached stores nothing on disk; leave it away"
#define NO_PROXY "ringcached is no proxy; leave it away"

const struct option_row suboption_rows[] = {
    { 0, "idle_timeout", "SECONDS", GROUP_CONNECTIONS, NUMBER(0, INT_MAX),
      .set = set_idle_timeout, .help = "close connections idle for longer (default 0: never)" },
    { 0, "maxconns_fast", NULL, GROUP_CONNECTIONS, FLAG(1), .set = set_maxconns_fast,
      .help = "past -c, close a new connection at once with an error (default)" },
    { 0, "no_maxconns_fast", NULL, GROUP_CONNECTIONS, FLAG(0), .set = set_maxconns_fast,
      .help = "past -c, let new connections wait" },
    { 0, "track_sizes", NULL, GROUP_CACHE, FLAG(1), .set = set_track_sizes,
      .help = "enable `stats sizes`" },
    { 0, "hashpower", "POWER", GROUP_CACHE, NUMBER(12, 32), .set = set_hashpower,
      .help = "start with an index for 2^POWER items; it grows by itself" },
    { 0, "watcher_logbuf_size", "KB", GROUP_CLIENTS, NUMBER(1, 1 << 20),
      .set = set_watcher_logbuf, .help = "log kept for each slow `watch` (default 256)" },

    { 0, "ssl_chain_cert", "FILE", GROUP_TLS, OPTION_TEXT, .set = set_tls_chain,
      .help = "our certificate and those between it and its root, PEM" },
    { 0, "ssl_key", "FILE", GROUP_TLS, OPTION_TEXT, .set = set_tls_key,
      .help = "its private key, if not in that file" },
    { 0, "ssl_keyformat", "FORMAT", GROUP_TLS, OPTION_TEXT, .set = set_tls_key_format,
      .help = "PEM (default) or DER" },
    { 0, "ssl_verify_mode", "0-3", GROUP_TLS, NUMBER(0, 3), .set = set_tls_verify,
      .help = "client certificates: 0 none (default), 1 if sent, 2 required, 3 required once" },
    { 0, "ssl_ca_cert", "FILE", GROUP_TLS, OPTION_TEXT, .set = set_tls_ca,
      .help = "who may have signed clients' certificates, PEM" },
    { 0, "ssl_ciphers", "LIST", GROUP_TLS, OPTION_TEXT, .set = set_tls_ciphers,
      .help = "ciphers to allow, as OpenSSL names them" },
    { 0, "ssl_min_version", "0-3", GROUP_TLS, NUMBER(0, 3), .set = set_tls_version,
      .help = "oldest version: 0 TLS 1.0, 1 1.1, 2 1.2 (default), 3 1.3" },
    { 0, "ssl_session_cache", NULL, GROUP_TLS, FLAG(1), .set = set_tls_session_cache,
      .help = "let clients resume sessions" },
    { 0, "ssl_kernel_tls", NULL, GROUP_TLS, FLAG(1), .set = set_tls_kernel,
      .help = "leave encrypting to the kernel, if it can" },
    { 0, "ssl_wbuf_size", "KB", GROUP_TLS, NUMBER(1, 1 << 20), .set = set_tls_buffer,
      .help = "most that is encrypted at once for one connection (default 16)" },

    { 0, "worker_logbuf_size", "KB", GROUP_ACCEPTED, NUMBER(1, 1 << 20), .set = set_worker_logbuf,
      .help = "" },
    { 0, "hash_algorithm", "NAME", GROUP_ACCEPTED, OPTION_TEXT, .set = set_hash_algorithm,
      .help = "" },
    { 0, "lru_crawler_sleep", "US", GROUP_ACCEPTED, NUMBER(0, 1000000),
      .set = set_lru_crawler_sleep, .help = "" },
    { 0, "lru_crawler_tocrawl", "NUM", GROUP_ACCEPTED, NUMBER(0, UINT_MAX),
      .set = set_lru_crawler_tocrawl, .help = "" },
    { 0, "hot_lru_pct", "PERCENT", GROUP_ACCEPTED, NUMBER(1, 80), .set = set_hot_lru_pct,
      .help = "" },
    { 0, "warm_lru_pct", "PERCENT", GROUP_ACCEPTED, NUMBER(1, 80), .set = set_warm_lru_pct,
      .help = "" },
    { 0, "hot_max_factor", "FACTOR", GROUP_ACCEPTED, REAL(0, 1e9), .set = set_hot_max_factor,
      .help = "" },
    { 0, "warm_max_factor", "FACTOR", GROUP_ACCEPTED, REAL(0, 1e9), .set = set_warm_max_factor,
      .help = "" },
    { 0, "temporary_ttl", "SECONDS", GROUP_ACCEPTED, NUMBER(INT_MIN, INT_MAX),
      .set = set_temporary_ttl, .help = "" },
    { 0, "tail_repair_time", "SECONDS", GROUP_ACCEPTED, NUMBER(10, INT_MAX),
      .set = set_tail_repair_time, .help = "" },
    { 0, "slab_automove", "0-2", GROUP_ACCEPTED, NUMBER(0, 2), .set = set_slab_automove,
      .argument_is_optional = true, .help = "" },
    { 0, "slab_automove_ratio", "RATIO", GROUP_ACCEPTED, REAL(0, 1),
      .set = set_slab_automove_ratio, .help = "" },
    { 0, "slab_automove_window", "NUM", GROUP_ACCEPTED, NUMBER(3, 1799),
      .set = set_slab_automove_window, .help = "" },
    { 0, "slab_automove_freeratio", "RATIO", GROUP_ACCEPTED, REAL(0, 1),
      .set = set_slab_automove_freeratio, .help = "" },
    { 0, "slab_chunk_max", "KB", GROUP_ACCEPTED, NUMBER(1, 1024), .set = set_slab_chunk_max,
      .help = "" },
    { 0, "slab_sizes", "SIZES", GROUP_ACCEPTED, OPTION_TEXT, .help = "" },
    { 0, "read_buf_mem_limit", "MB", GROUP_ACCEPTED, NUMBER(0, UINT_MAX),
      .set = set_read_buf_mem_limit, .help = "" },
    { 0, "resp_obj_mem_limit", "MB", GROUP_ACCEPTED, NUMBER(0, UINT_MAX),
      .argument_is_optional = true, .help = "" },
    { 0, "sock_cookie_id", "NUM", GROUP_ACCEPTED, NUMBER(0, UINT_MAX), .help = "" },
    ACCEPTED_FLAG("lru_crawler", set_lru_crawler, 1),
    ACCEPTED_FLAG("no_lru_crawler", set_lru_crawler, 0),
    ACCEPTED_FLAG("lru_maintainer", set_lru_maintainer, 1),
    ACCEPTED_FLAG("no_lru_maintainer", set_lru_maintainer, 0),
    ACCEPTED_FLAG("slab_reassign", set_slab_reassign, 1),
    ACCEPTED_FLAG("no_slab_reassign", set_slab_reassign, 0),
    ACCEPTED_FLAG("no_slab_automove", no_slab_automove, 0),
    ACCEPTED_FLAG("no_chunked_items", no_chunked_items, 0),
    ACCEPTED_FLAG("no_hashexpand", set_hash_expand, 0),
    ACCEPTED_FLAG("inline_ascii_resp", set_inline_ascii, 1),
    ACCEPTED_FLAG("no_inline_ascii_resp", set_inline_ascii, 0),
    ACCEPTED_FLAG("modern", NULL, 1),
    ACCEPTED_FLAG("no_modern", no_modern, 0),
    ACCEPTED_FLAG("drop_privileges", set_drop_privileges, 1),
    /* Test suites take its name in --help for a seccomp sandbox. */
    { 0, "no_drop_privileges", NULL, GROUP_HIDDEN, FLAG(0), .set = set_drop_privileges },

    REFUSED("ext_path", NO_EXTSTORE),
    REFUSED("ext_page_size", NO_EXTSTORE),
    REFUSED("ext_wbuf_size", NO_EXTSTORE),
    REFUSED("ext_threads", NO_EXTSTORE),
    REFUSED("ext_io_depth", NO_EXTSTORE),
    REFUSED("ext_item_size", NO_EXTSTORE),
    REFUSED("ext_item_age", NO_EXTSTORE),
    REFUSED("ext_low_ttl", NO_EXTSTORE),
    REFUSED("ext_recache_rate", NO_EXTSTORE),
    REFUSED("ext_compact_under", NO_EXTSTORE),
    REFUSED("ext_drop_under", NO_EXTSTORE),
    REFUSED("ext_max_sleep", NO_EXTSTORE),
    REFUSED("ext_max_frag", NO_EXTSTORE),
    REFUSED("ext_drop_unread", NO_EXTSTORE),
    REFUSED("proxy_config", NO_PROXY),
    REFUSED("proxy_arg", NO_PROXY),
    REFUSED("proxy_uring", NO_PROXY),
    REFUSED("proxy_memprofile", NO_PROXY),
    /* memcached's own tests say it to every binary. */
    { 0, "relaxed_privileges", NULL, GROUP_HIDDEN, FLAG(0), .set = set_drop_privileges },
};
const unsigned suboption_row_count = COUNT(suboption_rows);

const char *option_group_title(enum option_group group)
{
    static const char *const titles[] = {
        [GROUP_LISTEN] = "Where to listen",
        [GROUP_CACHE] = "The cache",
        [GROUP_CONNECTIONS] = "Connections",
        [GROUP_CLIENTS] = "What clients may do, and who",
        [GROUP_TLS] = "TLS",
        [GROUP_PROCESS] = "The process",
        [GROUP_CLUSTER] = "The cluster",
        [GROUP_BEYOND] = "Beyond memcached",
        [GROUP_ACCEPTED] = "Accepted for memcached's sake, and shown by `stats settings`",
    };

    return titles[group];
}
