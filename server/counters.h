/* What each worker counts.  Only its worker writes a counter; `stats` reads them from any thread
 * and sums.  Relaxed atomics: on the machines we run on they cost what plain adds cost. */
#ifndef SERVER_COUNTERS_H
#define SERVER_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#define COUNTERS(X)                                                                               \
    X(bytes_read) X(bytes_written) X(cmd_get) X(cmd_set) X(cmd_flush) X(cmd_touch) X(cmd_meta)                                   \
    X(get_hits) X(get_misses) X(get_expired) X(get_flushed)                                       \
    X(delete_misses) X(delete_hits) X(incr_misses) X(incr_hits) X(decr_misses) X(decr_hits)       \
    X(cas_misses) X(cas_hits) X(cas_badval) X(touch_hits) X(touch_misses)                         \
    X(store_too_large) X(store_no_memory) X(auth_cmds) X(auth_errors)                             \
    X(conn_yields) X(idle_kicks)                                   \
    X(response_obj_oom) X(read_buf_oom) X(round_robin_fallback) X(unexpected_napi_ids)            \
    X(ssl_handshake_errors) X(ssl_proto_errors) X(ssl_new_sessions)

struct counters {
#define X(name) _Atomic uint64_t name;
    COUNTERS(X)
#undef X
};

/* Adds to a counter of the calling thread's own worker. */
#define counter_add(counter, amount)                                                              \
    atomic_store_explicit((counter),                                                              \
                          atomic_load_explicit((counter), memory_order_relaxed) +                 \
                              (uint64_t)(amount),                                                 \
                          memory_order_relaxed)
#define counter_get(counter) atomic_load_explicit((counter), memory_order_relaxed)

#endif
