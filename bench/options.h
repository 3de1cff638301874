/* What the command line asks ringbench to do.
 *
 * Threads: never changes after options_parse. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include "bench/address.h"
#include "bench/keyspace.h"
#include "bench/popularity.h"
#include "bench/request.h"
#include <stdbool.h>
#include <stdint.h>

#define SERVERS_MAX 16

struct options {
    /* the servers: connections are dealt to them in turn */
    struct server_address servers[SERVERS_MAX];
    unsigned server_count;
    uint64_t server_pids[SERVERS_MAX]; /* watched, and summed up */
    unsigned server_pid_count;
    /* the connections */
    enum wire wire;
    uint64_t threads;
    uint64_t connections; /* of all threads together, at least one each */
    uint64_t idle;        /* further connections that ask nothing */
    uint64_t pipeline;    /* requests under way on one connection, at most */
    bool is_refilled;     /* a new request for each reply, else only after the last of a batch */
    /* the load */
    double duration_s;
    double warmup_s;
    uint64_t requests; /* 0: the duration counts */
    uint64_t warmup_requests;
    double rate;    /* requests per second of all threads, 0: as fast as answered */
    uint64_t burst; /* with a rate: so many requests are due at the same time */
    bool preloads;
    bool is_preload_only;
    double mix[OPERATIONS]; /* summed shares up to and with this operation; the last used is 1 */
    uint64_t multiget;
    bool is_cache_aside;
    uint64_t seed;
    /* keys and values */
    uint64_t keys;
    uint64_t first_key;
    struct popularity popularity;
    struct keyspace keyspace;
    /* checks and output */
    bool verifies;
    bool allows_refusals;
    bool is_json;
    double timeout_s; /* without any answer, then the run is given up */
};

enum options_outcome { OPTIONS_RUN, OPTIONS_SHOWN, OPTIONS_WRONG };

/* Reads the command line. Says what is wrong on stderr (OPTIONS_WRONG), or shows the help on
 * stdout (OPTIONS_SHOWN). After OPTIONS_RUN the keyspace is ready; free it with
 * keyspace_deinit. */
enum options_outcome options_parse(struct options *, int argc, char **argv);

/* "get", "set", ... */
const char *operation_name(enum operation);

#endif
