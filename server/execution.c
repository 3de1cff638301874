#include "server/execution.h"
#include "protocol/reply.h"
#include "server/cells.h"
#include "server/clock.h"
#include "server/connection.h"
#include "server/output.h"
#include "server/policy.h"
#include "server/settings.h"
#include "server/watch.h"
#include <assert.h>

/* memcached's item header and the "\r\n" it keeps behind each value: what it takes off -I. */
#define MEMCACHED_HEADER_BYTES 48
#define MEMCACHED_CAS_BYTES    8
#define MEMCACHED_FLAGS_BYTES  4
#define MEMCACHED_ENDS_BYTES   3 /* a zero behind the key, a line end behind the value */

void execution_answer(struct execution *execution, const struct operation *operation,
                      const struct outcome *outcome)
{
    struct output *output = execution->output;
    bool has_value = reply_has_value(operation, outcome);
    size_t value_bytes = has_value ? outcome->value.size : 0;
    size_t head_bytes_max = reply_head_bytes_max(operation);
    unsigned char *out =
        output_reserve(output, head_bytes_max + value_bytes + REPLY_TAIL_BYTES_MAX);
    size_t used = reply_head(operation, outcome, out);

    assert(used <= head_bytes_max);
    if (value_bytes != 0)
        memcpy(out + used, outcome->value.bytes, value_bytes);
    used += value_bytes;
    used += reply_tail(operation, outcome, out + used);
    output_commit(output, used);
}

void execution_answer_head(struct execution *execution, const struct operation *operation,
                           const struct outcome *outcome)
{
    unsigned char *out = output_reserve(execution->output, reply_head_bytes_max(operation));

    assert(!reply_has_value(operation, outcome));
    output_commit(execution->output, reply_head(operation, outcome, out));
}

void execution_answer_status(struct execution *execution, const struct operation *operation,
                             enum outcome_status status)
{
    struct outcome outcome = { .status = (uint8_t)status };

    execution_answer(execution, operation, &outcome);
}

void execution_answer_long(struct execution *execution, const struct operation *operation,
                           const struct outcome *outcome)
{
    struct output *output = execution->output;
    size_t used;

    if (outcome->value.size < ITEM_LONG_VALUE_BYTES || !reply_has_value(operation, outcome)) {
        execution_answer(execution, operation, outcome);
        return;
    }
    used = reply_head(operation, outcome, output_reserve(output, reply_head_bytes_max(operation)));
    output_commit(output, used);
    output_append(output, outcome->value);
    used = reply_tail(operation, outcome, output_reserve(output, REPLY_TAIL_BYTES_MAX));
    output_commit(output, used);
}

void execution_answer_item(struct execution *execution, const struct operation *operation,
                           const struct outcome *outcome, struct item *item)
{
    struct output *output = execution->output;
    size_t used;

    if (outcome->value.size < ITEM_LONG_VALUE_BYTES || (item->bits & ITEM_LONG) == 0 ||
        !reply_has_value(operation, outcome)) {
        execution_answer(execution, operation, outcome);
        return;
    }
    used = reply_head(operation, outcome, output_reserve(output, reply_head_bytes_max(operation)));
    output_commit(output, used);
    item_ref(item);
    output_append_value(output, item, outcome->value);
    used = reply_tail(operation, outcome, output_reserve(output, REPLY_TAIL_BYTES_MAX));
    output_commit(output, used);
}

void execution_answer_error(struct execution *execution, const struct operation *operation,
                            uint16_t binary_status, struct slice text)
{
    unsigned char *out = output_reserve(execution->output, 64 + text.size);

    output_commit(execution->output, reply_line(operation, binary_status, text, out));
}

void execution_answer_line(struct execution *execution, const struct operation *operation,
                           uint16_t binary_status, struct slice text)
{
    if ((operation->options & (OPERATION_NOREPLY | OPERATION_QUIET)) == 0)
        execution_answer_error(execution, operation, binary_status, text);
}

uint64_t execution_cas(const struct item *item)
{
    return settings.uses_cas ? item_cas(item) : 0;
}

void execution_show(const struct item *item, uint64_t now_ms, struct shown *shown)
{
    if ((item->bits & ITEM_CELL) != 0) {
        cells_show(item, now_ms, shown);
    } else {
        shown->value = item_value_slice(item);
        shown->expiry_ms = item_expiry_ms(item);
        shown->client_flags = item_client_flags(item);
    }
    shown->cas = execution_cas(item);
}

bool execution_value_fits(const struct operation *operation, uint32_t client_flags,
                          uint64_t value_bytes)
{
    uint64_t bytes = MEMCACHED_HEADER_BYTES + operation->key.size + value_bytes +
                     MEMCACHED_ENDS_BYTES;

    if (settings.uses_cas)
        bytes += MEMCACHED_CAS_BYTES;
    if (client_flags != 0)
        bytes += MEMCACHED_FLAGS_BYTES;
    return bytes <= settings.item_bytes_max && value_bytes <= VALUE_BYTES_MAX;
}

struct item_spec execution_spec_like(const struct operation *operation, const struct item *old,
                                     const struct shown *shown, uint64_t value_bytes)
{
    return (struct item_spec){
        .key = operation->key,
        .value_bytes = value_bytes,
        .expiry_ms = shown->expiry_ms,
        .client_flags = shown->client_flags,
        .key_is_binary = (old->bits & ITEM_KEY_BINARY) != 0,
    };
}

void execution_copy_marks(struct item *to, const struct item *from)
{
    to->accessed_s = from->accessed_s;
    to->was_fetched = from->was_fetched;
    to->bits = (uint8_t)(to->bits | (from->bits & (ITEM_STALE | ITEM_WON)));
}

int64_t execution_ttl_s(uint64_t expiry_ms, uint64_t now_ms)
{
    if (expiry_ms == 0)
        return -1;
    return expiry_ms <= now_ms ? 0 : (int64_t)((expiry_ms - now_ms + 999) / 1000);
}

void execution_watch_lookup(struct execution *execution, const struct operation *operation,
                            const struct item *item)
{
    if (watch_wants(WATCH_FETCHERS))
        watch_item_get(execution->connection, operation->key, item != NULL,
                       item != NULL ? item_value_bytes(item) : 0);
}

bool execution_flag_is_first(const struct operation *operation, unsigned char first,
                             unsigned char second)
{
    const unsigned char *at = operation->meta_flags.bytes;
    bool at_start = true;

    if (operation->protocol != PROTOCOL_META)
        return false;
    for (size_t i = 0; i < operation->meta_flags.size; i++) {
        if (at_start && (at[i] == first || at[i] == second))
            return at[i] == first;
        at_start = at[i] == ' ';
    }
    return false;
}

/* The same key is implied: a rewrite is for one operation. */
static bool spec_equal(const struct item_spec *a, const struct item_spec *b)
{
    return a->value_bytes == b->value_bytes && a->expiry_ms == b->expiry_ms &&
           a->client_flags == b->client_flags && a->explicit_cas == b->explicit_cas &&
           a->has_explicit_cas == b->has_explicit_cas && a->key_is_binary == b->key_is_binary &&
           a->is_cell == b->is_cell;
}

bool rewrite_ready(struct execution *execution, struct rewrite *rewrite,
                   const struct item_spec *spec, struct stripe *stripe)
{
    if (rewrite->item != NULL && spec_equal(&rewrite->spec, spec))
        return true;
    store_unlock(stripe);
    rewrite_deinit(execution, rewrite);
    rewrite->spec = *spec;
    rewrite->item = item_new(execution->store, spec, execution->worker->now_ms);
    rewrite->failed = rewrite->item == NULL;
    return rewrite->failed;
}

bool rewrite_put(struct execution *execution, struct rewrite *rewrite, struct stripe *stripe,
                 uint64_t key_hash, uint64_t hlc)
{
    struct item *item = rewrite->item;

    assert(item != NULL);
    rewrite->item = NULL;
    item->hlc = hlc != 0 ? hlc : stripe_clock_next(stripe, execution->worker->now_ms);
    return stripe_put(stripe, key_hash, item);
}

void rewrite_deinit(struct execution *execution, struct rewrite *rewrite)
{
    if (rewrite->item != NULL)
        item_discard(execution->store, rewrite->item);
    rewrite->item = NULL;
}

uint64_t execution_expiry_ms(const struct operation *operation, int32_t exptime)
{
    const struct policy *policy = policy_of(operation->key);
    const uint64_t now_ms = clock_now_ms();

    return policy_expiry_ms(policy, clock_expiry_ms(exptime, now_ms), now_ms);
}
