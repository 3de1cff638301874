#include "server/cells.h"
#include "ring/cell.h"
#include "ring/key_hash.h"
#include "server/clock.h"
#include "server/log.h"
#include "server/output.h"
#include "server/policy.h"
#include "server/prefix_stats.h"
#include "server/settings.h"
#include "server/watch.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>

/* How many siblings one key can have here, whatever --max-siblings says, and one more while a
 * write is put. */
#define SIBLINGS_MAX  255
#define SIBLINGS_ROOM (SIBLINGS_MAX + 1)

static_assert(CONTEXT_SEALED_BYTES_MAX <= CONTEXT_BYTES_MAX, "a context fits its buffers");

static struct siphash_key context_key; /* set by cells_start(), then never changed */
static _Atomic(const struct siphash_key *) shared_key; /* of the cluster, once it is known */
static node_id this_node;

static struct {
    _Atomic uint64_t context_writes, siblings_left, siblings_max, refused_full, refused_context,
        intervals_dropped;
} counts;

#define COUNT(name) atomic_fetch_add_explicit(&counts.name, 1, memory_order_relaxed)

/* A cell that was taken out of an item; its values' handles are where the bytes are. */
struct loaded {
    struct cell cell;
    struct sibling siblings[SIBLINGS_ROOM];
};

static const struct siphash_key *sealing_key(void)
{
    const struct siphash_key *shared = atomic_load_explicit(&shared_key, memory_order_acquire);

    return shared == NULL ? &context_key : shared;
}

void cells_share_key(const struct siphash_key *key)
{
    atomic_store_explicit(&shared_key, key, memory_order_release);
}

bool cells_start(void)
{
    bool is_ok = true;

    do {
        is_ok = getrandom(&context_key, sizeof context_key, 0) == (ssize_t)sizeof context_key &&
                getrandom(&this_node, sizeof this_node, 0) == (ssize_t)sizeof this_node;
    } while (is_ok && (this_node == NODE_NONE || this_node == NODE_ANY));
    if (!is_ok)
        log_error("no random numbers for the key that signs contexts: %s", log_error_text(errno));
    return is_ok;
}

static struct slice sibling_value(const struct sibling *sibling)
{
    assert(sibling->kind == SIBLING_VALUE);
    return (struct slice){ (const unsigned char *)(uintptr_t)sibling->value,
                           sibling->value_bytes };
}

static uint64_t value_handle(const unsigned char *bytes)
{
    return (uint64_t)(uintptr_t)bytes;
}

/* Values are chosen by clients, so equal digests are not enough. */
static bool siblings_equal(const struct sibling *a, const struct sibling *b)
{
    return sibling_reads_like(a, b) &&
           (a->kind != SIBLING_VALUE || slice_equal(sibling_value(a), sibling_value(b)));
}

static struct sibling sibling_of_item(const struct item *item)
{
    struct slice value = item_value_slice(item);
    struct dot dot = { this_node, item->hlc };
    struct sibling sibling =
        sibling_of_value(dot, item_expiry_ms(item), item_client_flags(item), (uint32_t)value.size,
                         key_hash(value), value_handle(value.bytes));

    if ((item->bits & ITEM_EXPLICIT_CAS) != 0)
        sibling.reg.explicit_cas = item_cas(item);
    sibling.reg.is_stale = (item->bits & ITEM_STALE) != 0;
    return sibling;
}

/* The cell that the item stands for; stubs in place of values that have expired.  `item` may be
 * NULL: nothing is known of the key. */
static void load(struct loaded *loaded, const struct item *item, uint64_t now_ms)
{
    struct slice encoded;
    size_t at;

    cell_init(&loaded->cell, loaded->siblings, SIBLINGS_ROOM);
    if (item == NULL)
        return;
    if ((item->bits & ITEM_CELL) == 0) {
        struct sibling sibling = sibling_of_item(item);

        cell_make_common(&loaded->cell, &sibling, true);
        return;
    }
    encoded = item_value_slice(item);
    at = cell_decode(&loaded->cell, encoded);
    assert(at != 0); /* we wrote it ourselves */
    for (unsigned i = 0; i < loaded->cell.sibling_count; i++) {
        loaded->siblings[i].value = value_handle(encoded.bytes + at);
        at += loaded->siblings[i].value_bytes;
        assert(at <= encoded.size);
    }
    cell_expire(&loaded->cell, now_ms);
}

int cells_next_shown(const struct cell *cell, int before)
{
    for (int i = before - 1; i >= 0; i--) {
        bool is_repeat = false;

        if (cell->siblings[i].kind != SIBLING_VALUE)
            continue;
        for (unsigned j = (unsigned)i + 1; j < cell->sibling_count && !is_repeat; j++)
            is_repeat = cell->siblings[j].kind == SIBLING_VALUE &&
                        siblings_equal(&cell->siblings[i], &cell->siblings[j]);
        if (!is_repeat)
            return i;
    }
    return -1;
}

unsigned cells_shown_count(const struct cell *cell)
{
    unsigned count = 0;

    for (int i = cells_next_shown(cell, (int)cell->sibling_count); i >= 0;
         i = cells_next_shown(cell, i))
        count++;
    return count;
}

void cells_show(const struct item *item, uint64_t now_ms, struct shown *shown)
{
    struct loaded loaded;
    const struct sibling *chosen;

    load(&loaded, item, now_ms);
    chosen = cell_newest(&loaded.cell, SIBLING_VALUE);
    if (chosen == NULL) {
        /* All have expired since stripe_find() looked: the item is as good as an empty one that
         * expires now. */
        *shown = (struct shown){ .value = SLICE(""), .expiry_ms = 1 };
        return;
    }
    shown->value = sibling_value(chosen);
    shown->expiry_ms = chosen->reg.expires_ms;
    shown->client_flags = chosen->client_flags;
}

struct slice cells_seal(const struct cell *cell, struct slice key,
                        unsigned char out[CONTEXT_BYTES_MAX])
{
    struct context shown;

    if (cell_shown(cell, &shown) != 0)
        COUNT(intervals_dropped);
    return (struct slice){ out, context_seal(&shown, sealing_key(), key, out) };
}

void cells_fill_context(const struct item *item, uint64_t now_ms, struct outcome *outcome,
                        unsigned char out[CONTEXT_BYTES_MAX])
{
    struct loaded loaded;

    load(&loaded, item, now_ms);
    outcome->context = cells_seal(&loaded.cell, item_key(item), out);
    outcome->sibling_count = cells_shown_count(&loaded.cell);
}

void execute_siblings(struct execution *execution, struct operation *operation)
{
    uint64_t now_ms = execution->worker->now_ms;
    unsigned char context[CONTEXT_BYTES_MAX];
    struct outcome outcome = { .status = OUTCOME_NOT_FOUND };
    struct stripe *stripe = store_lock(execution->store, operation->hash);
    struct item *item = stripe_find(stripe, operation->hash, operation->key, now_ms);
    struct counters *counters = &execution->worker->counters;
    struct loaded loaded;

    load(&loaded, item, now_ms);
    outcome.sibling_count = cells_shown_count(&loaded.cell);
    counter_add(&counters->cmd_get, 1);
    counter_add(outcome.sibling_count != 0 ? &counters->get_hits : &counters->get_misses, 1);
    if (outcome.sibling_count == 0) {
        store_unlock(stripe);
        execution_answer(execution, operation, &outcome);
        return;
    }
    outcome.status = OUTCOME_OK;
    outcome.context = cells_seal(&loaded.cell, operation->key, context);
    outcome.key_is_binary = (item->bits & ITEM_KEY_BINARY) != 0;
    outcome.cas = execution_cas(item);
    for (int i = cells_next_shown(&loaded.cell, (int)loaded.cell.sibling_count); i >= 0;
         i = cells_next_shown(&loaded.cell, i)) {
        outcome.value = sibling_value(&loaded.siblings[i]);
        outcome.client_flags = loaded.siblings[i].client_flags;
        execution_answer_item(execution, operation, &outcome, item);
        outcome.sibling_index++;
    }
    stripe_use(stripe, item, now_ms);
    store_unlock(stripe);
}

/* Forgets what a cluster of one does not keep. */
static void drop_all_but_values(struct cell *cell)
{
    for (unsigned i = cell->sibling_count; i-- > 0;) {
        if (cell->siblings[i].kind != SIBLING_VALUE)
            cell_forget(cell, &cell->siblings[i]);
    }
}

/* The item that holds the cell: plain where the cell is common.  Its hlc is then the dot, and a
 * token other than that has to be said. */
static struct item_spec spec_of_cell(const struct operation *operation, const struct cell *cell,
                                     bool key_is_binary, uint64_t token)
{
    struct item_spec spec = { .key = operation->key, .key_is_binary = key_is_binary };
    bool expires = true;

    if (cell_is_common(cell)) {
        const struct sibling *only = &cell->siblings[0];

        spec.value_bytes = only->value_bytes;
        spec.expiry_ms = only->reg.expires_ms;
        spec.client_flags = only->client_flags;
        if (only->reg.explicit_cas != 0)
            token = only->reg.explicit_cas;
        spec.has_explicit_cas = token != only->dot.hlc;
        spec.explicit_cas = spec.has_explicit_cas ? token : 0;
        return spec;
    }
    spec.is_cell = true;
    spec.value_bytes = cell_encoded_bytes(cell);
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        spec.value_bytes += cell->siblings[i].value_bytes;
        if (cell->siblings[i].reg.expires_ms == 0)
            expires = false;
        else if (cell->siblings[i].reg.expires_ms > spec.expiry_ms)
            spec.expiry_ms = cell->siblings[i].reg.expires_ms;
    }
    if (!expires)
        spec.expiry_ms = 0;
    return spec;
}

static void write_cell(struct item *item, const struct cell *cell)
{
    unsigned char *out = item_value(item);

    if ((item->bits & ITEM_CELL) != 0)
        out += cell_encode(cell, out);
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        struct slice value = sibling_value(&cell->siblings[i]);

        if (value.size != 0)
            memcpy(out, value.bytes, value.size);
        out += value.size;
    }
    assert(out == item_value(item) + item_value_bytes(item));
}

/* Stores the cell, with that token, in place of `old` (NULL: there is none), or removes the key if nothing is left
 * of it.  `*item` is then what is stored.  False: look again.  Lock as rewrite_ready(). */
static bool put_cell(struct execution *execution, const struct operation *operation,
                     struct stripe *stripe, struct item *old, const struct loaded *loaded,
                     uint64_t token, struct rewrite *rewrite, struct item **item)
{
    bool key_is_binary = old != NULL ? (old->bits & ITEM_KEY_BINARY) != 0
                                     : (operation->options & OPERATION_KEY_ENCODED) != 0;
    struct item_spec spec;
    struct item *made;

    *item = NULL;
    if (loaded->cell.sibling_count == 0) {
        if (old != NULL)
            stripe_remove(stripe, operation->hash, old);
        return true;
    }
    spec = spec_of_cell(operation, &loaded->cell, key_is_binary, token);
    if (!rewrite_ready(execution, rewrite, &spec, stripe))
        return false;
    if (rewrite->failed)
        return true;
    made = rewrite->item;
    write_cell(made, &loaded->cell);
    if (!spec.is_cell && loaded->siblings[0].reg.is_stale)
        made->bits |= ITEM_STALE;
    if (!rewrite_put(execution, rewrite, stripe, operation->hash,
                     spec.is_cell ? token : loaded->siblings[0].dot.hlc)) {
        store_unlock(stripe);
        rewrite->failed = true;
        return true;
    }
    *item = made;
    return true;
}

bool cells_set_expiry(struct execution *execution, const struct operation *operation,
                      struct stripe *stripe, struct item **item, uint64_t expiry_ms,
                      struct rewrite *rewrite)
{
    struct loaded loaded;
    struct item *changed;

    load(&loaded, *item, execution->worker->now_ms);
    drop_all_but_values(&loaded.cell);
    for (unsigned i = 0; i < loaded.cell.sibling_count; i++) {
        struct sibling_register reg = loaded.siblings[i].reg;

        reg.hlc = stripe_clock_next(stripe, execution->worker->now_ms);
        reg.expires_ms = expiry_ms;
        sibling_set_register(&loaded.siblings[i], &reg);
    }
    if (!put_cell(execution, operation, stripe, *item, &loaded, (*item)->hlc, rewrite, &changed))
        return false;
    if (!rewrite->failed)
        *item = changed;
    return true;
}

bool cells_unseal(const struct operation *operation, struct context *seen)
{
    if (context_unseal(seen, sealing_key(), operation->key, operation->context))
        return true;
    COUNT(refused_context);
    return false;
}

static bool unseal(struct execution *execution, const struct operation *operation,
                   struct context *seen)
{
    if (cells_unseal(operation, seen))
        return true;
    execution_answer_status(execution, operation, OUTCOME_BAD_CONTEXT);
    return false;
}

void cells_see_equal(const struct cell *cell, const struct sibling *write, struct context *seen)
{
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        const struct sibling *sibling = &cell->siblings[i];

        if (seen->count < CONTEXT_CLIENT_MAX && siblings_equal(sibling, write))
            context_add(seen, (struct interval){ sibling->dot.node, sibling->dot.hlc,
                                                 sibling->dot.hlc });
    }
}

bool cells_has_room(const struct cell *cell, const struct sibling *write,
                    const struct context *seen)
{
    unsigned limit = settings.siblings_max < SIBLINGS_MAX ? settings.siblings_max : SIBLINGS_MAX;

    if (cell->sibling_count == 0 || (cell->sibling_count < SIBLINGS_MAX &&
                                     cell_siblings_after(cell, write, seen) <= limit))
        return true;
    COUNT(refused_full);
    return false;
}

void cells_count_write(const struct cell *cell)
{
    uint64_t count = cell->sibling_count;

    COUNT(context_writes);
    if (count > 1)
        COUNT(siblings_left);
    if (count > atomic_load_explicit(&counts.siblings_max, memory_order_relaxed))
        atomic_store_explicit(&counts.siblings_max, count, memory_order_relaxed);
    if (cell->intervals_dropped != 0)
        atomic_fetch_add_explicit(&counts.intervals_dropped, cell->intervals_dropped,
                                  memory_order_relaxed);
}

/* What one context write works on while it goes round rewrite_ready(). */
struct context_write {
    struct stripe *stripe;
    struct item *old, *stored;
    struct loaded loaded;
    struct rewrite rewrite;
    uint64_t expiry_ms;
    bool found;        /* the key, as it was before */
    bool is_unchanged; /* nothing to store */
};

/* Puts the value into the cell. */
static enum outcome_status decide_context_store(struct execution *execution,
                                                const struct operation *operation,
                                                struct context_write *write,
                                                const struct context *client_seen, uint64_t *hlc)
{
    struct context seen;
    struct sibling sibling;
    enum cell_put put;

    *hlc = stripe_clock_next(write->stripe, execution->worker->now_ms);
    sibling = sibling_of_value((struct dot){ this_node, *hlc }, write->expiry_ms,
                               operation->client_flags, (uint32_t)operation->value.size,
                               key_hash(operation->value), value_handle(operation->value.bytes));
    context_copy(&seen, client_seen);
    cells_see_equal(&write->loaded.cell, &sibling, &seen);
    if (!cells_has_room(&write->loaded.cell, &sibling, &seen))
        return OUTCOME_TOO_MANY_SIBLINGS;
    put = cell_put_context(&write->loaded.cell, &sibling, &seen);
    assert(put == CELL_PUT_DONE); /* one node, one rising clock per key, contexts that we sealed */
    if (cell_encoded_bytes(&write->loaded.cell) > settings.item_bytes_max)
        return OUTCOME_TOO_LARGE;
    return OUTCOME_OK;
}

/* Removes what the client has seen.  The token of what is left is drawn once, so that each round
 * describes the same item. */
static enum outcome_status decide_context_delete(struct execution *execution,
                                                 struct context_write *write,
                                                 const struct context *seen, uint64_t *hlc)
{
    write->is_unchanged = cell_remove_seen(&write->loaded.cell, seen) == 0;
    if (*hlc == 0)
        *hlc = stripe_clock_next(write->stripe, execution->worker->now_ms);
    return OUTCOME_OK;
}

static enum outcome_status run_context_write(struct execution *execution,
                                             const struct operation *operation,
                                             struct context_write *write,
                                             const struct context *client_seen)
{
    const bool keeps_siblings = policy_of(operation->key)->keeps_siblings;
    uint64_t now_ms = execution->worker->now_ms, hlc = 0;
    enum outcome_status status;
    struct context seen;

    do {
        write->stripe = store_lock(execution->store, operation->hash);
        write->old = stripe_find(write->stripe, operation->hash, operation->key, now_ms);
        write->found = write->old != NULL;
        load(&write->loaded, write->old, now_ms);
        drop_all_but_values(&write->loaded.cell);
        context_copy(&seen, client_seen);
        if (!keeps_siblings) /* the last write wins over all there is */
            (void)context_join(&seen, &write->loaded.cell.context); /* there is room for both */
        if (operation->verb == VERB_STORE)
            status = decide_context_store(execution, operation, write, &seen, &hlc);
        else
            status = decide_context_delete(execution, write, &seen, &hlc);
    } while (status == OUTCOME_OK && !write->is_unchanged &&
             !put_cell(execution, operation, write->stripe, write->old, &write->loaded, hlc,
                       &write->rewrite, &write->stored));
    return write->rewrite.failed ? OUTCOME_NO_MEMORY : status;
}

static void end_context_write(struct execution *execution, const struct operation *operation,
                              struct context_write *write, struct outcome *outcome)
{
    unsigned char context[CONTEXT_BYTES_MAX];
    uint64_t now_ms = execution->worker->now_ms;

    if (outcome->status == OUTCOME_OK) {
        cells_count_write(&write->loaded.cell);
        if (write->is_unchanged)
            write->stored = write->old;
        if (write->stored != NULL)
            outcome->cas = execution_cas(write->stored);
        if (write->stored != NULL && (operation->options & OPERATION_WANTS_CONTEXT) != 0)
            cells_fill_context(write->stored, now_ms, outcome, context);
    }
    if (!write->rewrite.failed)
        store_unlock(write->stripe);
    rewrite_deinit(execution, &write->rewrite);
    execution_answer(execution, operation, outcome);
}

void execute_context_store(struct execution *execution, struct operation *operation)
{
    struct counters *counters = &execution->worker->counters;
    struct context_write write = { .expiry_ms = execution_expiry_ms(operation, operation->exptime) };
    struct outcome outcome = { .value = operation->value };
    struct context seen;

    if (atomic_load_explicit(&settings.detail_enabled, memory_order_relaxed))
        prefix_stats_count_set(operation->key);
    if (!unseal(execution, operation, &seen))
        return;
    if (!execution_value_fits(operation, operation->client_flags, operation->value.size)) {
        counter_add(&counters->store_too_large, 1);
        execution_answer_status(execution, operation, OUTCOME_TOO_LARGE);
        return;
    }
    counter_add(&counters->cmd_set, 1);
    outcome.status = (uint8_t)run_context_write(execution, operation, &write, &seen);
    if (outcome.status == OUTCOME_NO_MEMORY)
        counter_add(&counters->store_no_memory, 1);
    outcome.key_is_binary = (operation->options & OPERATION_KEY_ENCODED) != 0;
    end_context_write(execution, operation, &write, &outcome);
    if (watch_wants(WATCH_MUTATIONS))
        watch_item_store(execution->connection, operation, outcome.status);
}

void execute_context_delete(struct execution *execution, struct operation *operation)
{
    struct counters *counters = &execution->worker->counters;
    struct context_write write = { 0 };
    struct outcome outcome = { 0 };
    struct context seen;

    if (atomic_load_explicit(&settings.detail_enabled, memory_order_relaxed))
        prefix_stats_count_delete(operation->key);
    if (!unseal(execution, operation, &seen))
        return;
    outcome.status = (uint8_t)run_context_write(execution, operation, &write, &seen);
    counter_add(write.found ? &counters->delete_hits : &counters->delete_misses, 1);
    end_context_write(execution, operation, &write, &outcome);
}

__attribute__((format(printf, 2, 3))) static void append_line(struct output *output,
                                                              const char *format, ...)
{
    va_list arguments;
    char line[160];
    int bytes;

    va_start(arguments, format);
    bytes = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    assert(bytes >= 0);
    assert((size_t)bytes < sizeof line);
    output_append(output, (struct slice){ (unsigned char *)line, (size_t)bytes });
}

static void describe_sibling(const struct sibling *sibling, struct output *output)
{
    switch (sibling->kind) {
    case SIBLING_VALUE:
        append_line(output, "SIBLING %016" PRIx64 " %" PRIu64 " %u %" PRIu64 " %u\r\n",
                    sibling->dot.node, sibling->dot.hlc, sibling->client_flags,
                    sibling->reg.expires_ms, sibling->value_bytes);
        output_append(output, sibling_value(sibling));
        output_append(output, SLICE("\r\n"));
        break;
    case SIBLING_TOMBSTONE:
        append_line(output, "TOMBSTONE %016" PRIx64 " %" PRIu64 "\r\n", sibling->dot.node,
                    sibling->dot.hlc);
        break;
    case SIBLING_STUB:
        append_line(output, "STUB %016" PRIx64 " %" PRIu64 " %" PRIu64 "\r\n",
                    sibling->dot.node, sibling->dot.hlc, sibling->reg.expires_ms);
        break;
    }
}

void cells_describe_cell(const struct cell *cell, struct output *output)
{
    for (unsigned i = 0; i < cell->context.count; i++) {
        const struct interval *interval = &cell->context.intervals[i];

        append_line(output, "CONTEXT %016" PRIx64 " %" PRIu64 " %" PRIu64 "\r\n", interval->node,
                    interval->first, interval->last);
    }
    for (unsigned i = 0; i < cell->sibling_count; i++)
        describe_sibling(&cell->siblings[i], output);
}

void cells_describe(const struct item *item, uint64_t now_ms, struct output *output)
{
    struct loaded loaded;

    load(&loaded, item, now_ms);
    cells_describe_cell(&loaded.cell, output);
}

#define READ(name) stats->name = atomic_load_explicit(&counts.name, memory_order_relaxed)

void cells_stats(struct cells_stats *stats)
{
    READ(context_writes);
    READ(siblings_left);
    READ(siblings_max);
    READ(refused_full);
    READ(refused_context);
    READ(intervals_dropped);
}

#define CLEAR(name) atomic_store_explicit(&counts.name, 0, memory_order_relaxed)

void cells_stats_reset(void)
{
    CLEAR(context_writes);
    CLEAR(siblings_left);
    CLEAR(siblings_max);
    CLEAR(refused_full);
    CLEAR(refused_context);
    CLEAR(intervals_dropped);
}
