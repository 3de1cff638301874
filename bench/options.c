#include "bench/options.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const operation_names[OPERATIONS] = {"get", "set", "delete", "incr"};

const char *operation_name(enum operation operation)
{
    assert((unsigned)operation < OPERATIONS);
    return operation_names[operation];
}

/* Reads one option's text; false if it means nothing. A flag gets "" . */
typedef bool parse_function(struct options *, const char *text);

static bool parse_whole(const char *text, uint64_t low, uint64_t high, uint64_t *number)
{
    char *end;
    errno = 0;
    const unsigned long long parsed = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0)
        return false;
    if (parsed < low || parsed > high)
        return false;
    *number = parsed;
    return true;
}

static bool parse_real(const char *text, double *number)
{
    char *end;
    const double parsed = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(parsed) || parsed < 0)
        return false;
    *number = parsed;
    return true;
}

/* Calls `parse_one` for each piece between commas, which there must be. */
static bool parse_list(struct options *options, const char *text, parse_function *parse_one)
{
    char piece[300];
    const char *end;
    bool is_fine;

    do {
        end = text + strcspn(text, ",");
        is_fine = (size_t)(end - text) < sizeof piece;
        if (is_fine) {
            memcpy(piece, text, (size_t)(end - text));
            piece[end - text] = '\0';
            is_fine = parse_one(options, piece);
        }
        text = end + 1;
    } while (is_fine && *end != '\0');
    return is_fine;
}

static bool parse_server(struct options *options, const char *text)
{
    return options->server_count < SERVERS_MAX &&
           address_parse(text, &options->servers[options->server_count++]);
}

static bool parse_servers(struct options *options, const char *text)
{
    options->server_count = 0;
    return parse_list(options, text, parse_server);
}

static bool parse_server_pid(struct options *options, const char *text)
{
    return options->server_pid_count < SERVERS_MAX &&
           parse_whole(text, 1, INT32_MAX, &options->server_pids[options->server_pid_count++]);
}

static bool parse_server_pids(struct options *options, const char *text)
{
    options->server_pid_count = 0;
    return parse_list(options, text, parse_server_pid);
}

static bool parse_protocol(struct options *options, const char *text)
{
    static const char *const names[] = {
        [WIRE_TEXT] = "text", [WIRE_META] = "meta", [WIRE_BINARY] = "binary"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i]) == 0) {
            options->wire = (enum wire)i;
            return true;
        }
    }
    return false;
}

/* "get=9,set=1" to shares that add up to 1 */
static bool parse_mix(struct options *options, const char *text)
{
    double weights[OPERATIONS] = {0};
    double sum = 0;
    while (*text != '\0') {
        const size_t name_size = strcspn(text, "=");
        unsigned which = 0;
        while (which < OPERATIONS && (strlen(operation_names[which]) != name_size ||
                                      strncmp(text, operation_names[which], name_size) != 0))
            which++;
        if (which == OPERATIONS || text[name_size] != '=')
            return false;
        char *end;
        weights[which] = strtod(text + name_size + 1, &end);
        if (end == text + name_size + 1 || !(weights[which] >= 0))
            return false;
        text = *end == ',' ? end + 1 : end;
        if (*end != ',' && *end != '\0')
            return false;
    }
    for (unsigned i = 0; i < OPERATIONS; i++)
        sum += weights[i];
    for (unsigned i = 0; i < OPERATIONS; i++)
        options->mix[i] = (i == 0 ? 0 : options->mix[i - 1]) + weights[i] / sum;
    return sum > 0 && isfinite(sum);
}

#define WHOLE(function, field, low, high)                                                          \
    static bool function(struct options *options, const char *text)                                \
    {                                                                                              \
        return parse_whole(text, low, high, &options->field);                                      \
    }
#define REAL(function, field)                                                                      \
    static bool function(struct options *options, const char *text)                                \
    {                                                                                              \
        return parse_real(text, &options->field);                                                  \
    }
#define FLAG(function, field)                                                                      \
    static bool function(struct options *options, const char *text)                                \
    {                                                                                              \
        (void)text;                                                                                \
        options->field = true;                                                                     \
        return true;                                                                               \
    }

WHOLE(parse_threads, threads, 1, 256)
WHOLE(parse_connections, connections, 1, 100000)
WHOLE(parse_idle, idle, 0, 100000)
WHOLE(parse_pipeline, pipeline, 1, 10000)
WHOLE(parse_multiget, multiget, 1, 1000)
WHOLE(parse_requests, requests, 1, UINT64_MAX / 2)
WHOLE(parse_warmup_requests, warmup_requests, 1, UINT64_MAX / 2)
WHOLE(parse_burst, burst, 1, 10000)
WHOLE(parse_seed, seed, 0, UINT64_MAX)
WHOLE(parse_keys, keys, 1, UINT64_MAX / 4)
WHOLE(parse_first_key, first_key, 0, UINT64_MAX / 4)
REAL(parse_duration, duration_s)
REAL(parse_warmup, warmup_s)
REAL(parse_rate, rate)
REAL(parse_timeout, timeout_s)
FLAG(parse_refill, is_refilled)
FLAG(parse_cache_aside, is_cache_aside)
FLAG(parse_preload, preloads)
FLAG(parse_verify, verifies)
FLAG(parse_allow_refusals, allows_refusals)
FLAG(parse_json, is_json)

static bool parse_preload_only(struct options *options, const char *text)
{
    (void)text;
    options->preloads = true;
    options->is_preload_only = true;
    return true;
}

static bool parse_key_bytes(struct options *options, const char *text)
{
    uint64_t number;
    if (!parse_whole(text, 2, KEY_BYTES_MAX, &number))
        return false;
    options->keyspace.key_bytes = (unsigned)number;
    return true;
}

static bool parse_popularity(struct options *options, const char *text)
{
    return popularity_parse(&options->popularity, text);
}

static bool parse_sizes(struct options *options, const char *text)
{
    return amounts_parse(&options->keyspace.sizes, text) &&
           options->keyspace.sizes.high <= UINT32_MAX / 2;
}

static bool parse_lifetimes(struct options *options, const char *text)
{
    return amounts_parse(&options->keyspace.lifetimes, text) &&
           options->keyspace.lifetimes.high <= 30 * 24 * 3600;
}

/* One row per option; a row without a name starts a group of the help. */
static const struct option_row {
    const char *name;
    const char *argument; /* NULL: a flag */
    parse_function *parse;
    const char *help;
} rows[] = {
    {NULL, NULL, NULL, "The server"},
    {"server", "ADDRESS,...", parse_servers,
     "HOST:PORT, [IPV6]:PORT or unix:PATH (127.0.0.1:11211); of several, each gets its\n"
     "share of the connections"},
    {"server-pid", "PID,...", parse_server_pids,
     "also measure the CPU and memory of these processes together"},

    {NULL, NULL, NULL, "Connections"},
    {"protocol", "NAME", parse_protocol, "text, meta or binary (text)"},
    {"threads", "N", parse_threads, "threads that ask (1)"},
    {"connections", "N", parse_connections, "connections of all threads together (50)"},
    {"idle", "N", parse_idle, "further connections that ask nothing (0)"},
    {"pipeline", "N", parse_pipeline, "requests under way on each connection (1)"},
    {"refill", NULL, parse_refill,
     "send a request for every reply; else the next batch when the last reply is in"},

    {NULL, NULL, NULL, "Load"},
    {"duration", "SECONDS", parse_duration, "measure this long (10)"},
    {"requests", "N", parse_requests, "or measure this many requests"},
    {"warmup", "SECONDS", parse_warmup, "run this long before measuring (0)"},
    {"warmup-requests", "N", parse_warmup_requests, "or this many requests"},
    {"rate", "N", parse_rate,
     "N requests a second at fixed times, latencies from those times on (closed loop)"},
    {"burst", "N", parse_burst, "with --rate: N requests at a time, on one connection (1)"},
    {"mix", "OP=W,...", parse_mix, "weights of get, set, delete, incr (get=1)"},
    {"multiget", "N", parse_multiget, "keys per get (1)"},
    {"cache-aside", NULL, parse_cache_aside, "set every key that a get misses"},
    {"preload", NULL, parse_preload, "first set every key once"},
    {"preload-only", NULL, parse_preload_only, "set every key once, measure that, and end"},
    {"seed", "N", parse_seed, "another sequence of requests (1)"},

    {NULL, NULL, NULL, "Keys and values"},
    {"keys", "N", parse_keys, "how many keys there are (10000)"},
    {"first-key", "N", parse_first_key, "number of the first (0)"},
    {"key-bytes", "N", parse_key_bytes, "length of a key (16)"},
    {"popularity", "FORM", parse_popularity,
     "uniform, zipf:THETA, sequential, onehit:THETA,SHARE, scan:THETA,SHARE,LENGTH\n"
     "or drift:THETA,REQUESTS (uniform)"},
    {"value-bytes", "FORM", parse_sizes,
     "N, uniform:A-B, lognormal:MEDIAN,SIGMA,MAX or list:N@WEIGHT,... (100)"},
    {"ttl", "FORM", parse_lifetimes, "seconds, forms as for --value-bytes; 0 is for ever (0)"},

    {NULL, NULL, NULL, "Checks and output"},
    {"verify", NULL, parse_verify, "compare every value with what it must be"},
    {"allow-refusals", NULL, parse_allow_refusals,
     "error replies are counted, but do not make the run fail"},
    {"timeout", "SECONDS", parse_timeout, "give up after this long without any reply (30)"},
    {"json", NULL, parse_json, "print JSON"},
};

enum { ROWS = sizeof rows / sizeof *rows };

static void show_help(void)
{
    printf("Usage: ringbench [OPTION]...\n"
           "Loads a memcached server and measures it.\n");
    for (unsigned i = 0; i < ROWS; i++) {
        const struct option_row *row = &rows[i];
        if (row->name == NULL) {
            printf("\n%s:\n", row->help);
            continue;
        }
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", row->name, row->argument == NULL ? "" : " ",
                 row->argument == NULL ? "" : row->argument);
        printf("  %-24s ", left);
        for (const char *at = row->help; *at != '\0'; at++) {
            putchar(*at);
            if (*at == '\n')
                printf("%27s", "");
        }
        putchar('\n');
    }
    printf("\nExit status: 0; 1 if a connection broke, a reply made no sense, was missing, was an\n"
           "error or had the wrong value; 2 if the command line is wrong.\n");
}

static const struct option_row *row_named(const char *name, size_t size)
{
    for (unsigned i = 0; i < ROWS; i++)
        if (rows[i].name != NULL && strlen(rows[i].name) == size &&
            strncmp(rows[i].name, name, size) == 0)
            return &rows[i];
    return NULL;
}

/* Reads argv[*at], and the text after it if it needs one. */
static bool parse_one(struct options *options, char **argv, int *at)
{
    const char *argument = argv[*at];
    if (strncmp(argument, "--", 2) != 0) {
        fprintf(stderr, "ringbench: %s is not an option (see ringbench --help)\n", argument);
        return false;
    }
    const size_t name_size = strcspn(argument + 2, "=");
    const struct option_row *row = row_named(argument + 2, name_size);
    const bool has_text = argument[2 + name_size] == '=';
    if (row == NULL || (has_text && row->argument == NULL)) {
        fprintf(stderr, "ringbench: unknown option %s (see ringbench --help)\n", argument);
        return false;
    }
    const char *text = has_text ? argument + 2 + name_size + 1 : "";
    if (row->argument != NULL && !has_text) {
        text = argv[++*at];
        if (text == NULL) {
            fprintf(stderr, "ringbench: --%s needs %s\n", row->name, row->argument);
            return false;
        }
    }
    if (row->parse(options, text))
        return true;
    fprintf(stderr, "ringbench: --%s cannot be \"%s\": %s\n", row->name, text, row->help);
    return false;
}

static unsigned digits_of(uint64_t number)
{
    unsigned digits = 1;
    for (; number >= 10; number /= 10)
        digits++;
    return digits;
}

/* What no single option can see. Prints what is wrong. */
static bool options_fit_together(const struct options *options)
{
    /* one-hit keys lie above all others, as many as there may be requests */
    const bool has_onehits = options->popularity.kind == POPULARITY_ONEHIT;
    const uint64_t last_key = options->first_key + options->keys * (has_onehits ? 1000 : 1) - 1;
    if (digits_of(last_key) + 1 > options->keyspace.key_bytes) {
        fprintf(stderr, "ringbench: keys up to number %llu need --key-bytes %u or more\n",
                (unsigned long long)last_key, digits_of(last_key) + 1);
        return false;
    }
    if (options->connections < options->threads) {
        fprintf(stderr, "ringbench: %llu threads need at least as many --connections\n",
                (unsigned long long)options->threads);
        return false;
    }
    if (options->requests == 0 && options->duration_s <= 0) {
        fprintf(stderr, "ringbench: --duration must be above 0\n");
        return false;
    }
    return true;
}

enum options_outcome options_parse(struct options *options, int argc, char **argv)
{
    *options = (struct options){
        .threads = 1,
        .connections = 50,
        .pipeline = 1,
        .duration_s = 10,
        .burst = 1,
        .multiget = 1,
        .seed = 1,
        .keys = 10000,
        .timeout_s = 30,
        .keyspace.key_bytes = 16,
    };
    const bool defaults_are_sound = parse_servers(options, "127.0.0.1:11211") &&
                                    parse_mix(options, "get=1") &&
                                    parse_popularity(options, "uniform") &&
                                    parse_sizes(options, "100") && parse_lifetimes(options, "0");
    assert(defaults_are_sound);

    for (int at = 1; at < argc; at++) {
        if (strcmp(argv[at], "--help") == 0) {
            show_help();
            return OPTIONS_SHOWN;
        }
        if (strcmp(argv[at], "--version") == 0) {
            printf("ringbench %s\n", PACKAGE_VERSION);
            return OPTIONS_SHOWN;
        }
        if (!parse_one(options, argv, &at))
            return OPTIONS_WRONG;
    }
    if (!options_fit_together(options))
        return OPTIONS_WRONG;
    if (!keyspace_init(&options->keyspace)) {
        fprintf(stderr, "ringbench: no memory for values of %llu bytes\n",
                (unsigned long long)options->keyspace.sizes.high);
        return OPTIONS_WRONG;
    }
    popularity_init(&options->popularity, options->keys);
    return OPTIONS_RUN;
}
