#include "bench/exchange.h"

#include <assert.h>
#include <stdlib.h>

bool exchange_init(struct exchange *exchange, enum wire wire, const struct keyspace *keyspace,
                   unsigned depth, unsigned keys_per_slot)
{
    assert(depth >= 1);
    assert(keys_per_slot >= 1);
    *exchange =
        (struct exchange){.keyspace = keyspace, .depth = depth, .keys_per_slot = keys_per_slot};
    reply_parser_init(&exchange->parser, wire);
    exchange->slots = calloc(depth, sizeof *exchange->slots);
    exchange->keys = calloc((size_t)depth * keys_per_slot, sizeof *exchange->keys);
    exchange->fills = calloc((size_t)depth * keys_per_slot, sizeof *exchange->fills);
    if (exchange->slots != NULL && exchange->keys != NULL && exchange->fills != NULL)
        return true;
    exchange_deinit(exchange);
    return false;
}

void exchange_deinit(struct exchange *exchange)
{
    free(exchange->slots);
    free(exchange->keys);
    free(exchange->fills);
    exchange->slots = NULL;
    exchange->keys = NULL;
    exchange->fills = NULL;
}

struct slot *exchange_push(struct exchange *exchange, uint64_t **keys)
{
    assert(exchange->used < exchange->depth);
    unsigned at = exchange->first + exchange->used;
    if (at >= exchange->depth)
        at -= exchange->depth;
    exchange->used++;
    *keys = &exchange->keys[(size_t)at * exchange->keys_per_slot];
    exchange->slots[at] = (struct slot){0};
    return &exchange->slots[at];
}

bool exchange_pop_fill(struct exchange *exchange, uint64_t *key)
{
    if (exchange->fills_used == 0)
        return false;
    *key = exchange->fills[exchange->fills_first];
    exchange->fills_first =
        (exchange->fills_first + 1) % (exchange->depth * exchange->keys_per_slot);
    exchange->fills_used--;
    return true;
}

static void push_fill(struct exchange *exchange, uint64_t key)
{
    const unsigned capacity = exchange->depth * exchange->keys_per_slot;
    assert(exchange->fills_used < capacity);
    exchange->fills[(exchange->fills_first + exchange->fills_used) % capacity] = key;
    exchange->fills_used++;
}

static bool bad_reply(struct exchange *exchange, struct slice words)
{
    tally_fail(exchange->tally, FAILURE_BAD_REPLY, 1, words);
    return false;
}

static const uint64_t *first_keys(const struct exchange *exchange)
{
    return &exchange->keys[(size_t)exchange->first * exchange->keys_per_slot];
}

/* The keys from the cursor up to `end` were not found. */
static void pass_misses(struct exchange *exchange, struct slot *slot, unsigned end)
{
    const uint64_t *keys = first_keys(exchange);
    assert(end <= slot->keys);
    for (; slot->cursor < end; slot->cursor++)
        if (exchange->is_cache_aside)
            push_fill(exchange, keys[slot->cursor]);
}

/* The request is answered. */
static void complete(struct exchange *exchange, struct slot *slot, uint64_t now_ns)
{
    struct tally *tally = exchange->tally;
    tally->requests[slot->operation]++;
    tally->keys[slot->operation] += slot->keys;
    tally->fills += slot->is_fill;
    tally->last_reply_ns = now_ns;
    histogram_record(&tally->latency[slot->operation],
                     now_ns > slot->due_ns ? now_ns - slot->due_ns : 0);
    exchange->first = exchange->first + 1 == exchange->depth ? 0 : exchange->first + 1;
    exchange->used--;
}

static void complete_get(struct exchange *exchange, struct slot *slot, uint64_t now_ns)
{
    assert(slot->operation == OPERATION_GET);
    exchange->tally->hits += slot->hits;
    exchange->tally->misses += slot->keys - slot->hits;
    if (slot->hits < slot->keys)
        pass_misses(exchange, slot, slot->keys);
    complete(exchange, slot, now_ns);
}

/* Whether `reply` answers key `at` of the slot. */
static bool is_for_key(const struct exchange *exchange, const struct slot *slot, unsigned at,
                       const struct reply *reply)
{
    uint64_t number;
    if (exchange->parser.wire == WIRE_BINARY)
        return reply->opaque == at;
    if (reply->key.size == 0)
        return slot->keys == 1; /* meta sends no key back unless asked to */
    return keyspace_read_key(reply->key, &number) && number == first_keys(exchange)[at];
}

static bool on_value(struct exchange *exchange, struct slot *slot, const struct reply *reply)
{
    if (slot->operation != OPERATION_GET || slot->hits == slot->keys)
        return bad_reply(exchange, SLICE("a value that was not asked for"));
    exchange->tally->value_bytes += reply->value_bytes;
    if (!exchange->verifies && !exchange->is_cache_aside)
        return true;

    unsigned at = slot->cursor;
    while (at < slot->keys && !is_for_key(exchange, slot, at, reply))
        at++;
    if (at == slot->keys)
        return bad_reply(exchange, SLICE("a value for a key that was not asked for"));
    pass_misses(exchange, slot, at);
    slot->cursor = at + 1;
    exchange->expected = keyspace_value(exchange->keyspace, first_keys(exchange)[at]);
    exchange->is_wrong = reply->value_bytes != exchange->expected.size;
    return true;
}

static void on_data(struct exchange *exchange, const struct reply *reply)
{
    if (!exchange->verifies || exchange->is_wrong || reply->data.size == 0)
        return;
    assert(reply->data_offset + reply->data.size <= exchange->expected.size);
    exchange->is_wrong = memcmp(exchange->expected.bytes + reply->data_offset, reply->data.bytes,
                                reply->data.size) != 0;
}

static void on_value_end(struct exchange *exchange, struct slot *slot, uint64_t now_ns)
{
    if (exchange->verifies && exchange->is_wrong)
        tally_fail(exchange->tally, FAILURE_WRONG_VALUE, 1,
                   SLICE("a value other than the one that was set"));
    slot->hits++;
    if (exchange->parser.wire != WIRE_TEXT && slot->keys == 1)
        complete_get(exchange, slot, now_ns);
}

/* A get's reply other than a value. */
static bool on_get_done(struct exchange *exchange, struct slot *slot, const struct reply *reply,
                        uint64_t now_ns)
{
    const bool is_text = exchange->parser.wire == WIRE_TEXT;
    const bool ends_by_end = is_text || slot->keys > 1;
    switch (reply->status) {
    case REPLY_END:
        if (!ends_by_end)
            break;
        complete_get(exchange, slot, now_ns);
        return true;
    case REPLY_MISS:
        if (ends_by_end)
            break;
        complete_get(exchange, slot, now_ns);
        return true;
    case REPLY_ERROR:
        tally_fail(exchange->tally, FAILURE_REFUSED, 1, reply->data);
        if (is_text || slot->keys == 1)
            complete(exchange, slot, now_ns); /* else the no-op's reply is still to come */
        return true;
    case REPLY_OK: break;
    }
    return bad_reply(exchange, SLICE("a get was answered by what is no answer to a get"));
}

static bool on_write_done(struct exchange *exchange, struct slot *slot, const struct reply *reply,
                          uint64_t now_ns)
{
    switch (reply->status) {
    case REPLY_OK: break;
    case REPLY_MISS:
        if (slot->operation == OPERATION_SET)
            return bad_reply(exchange, SLICE("a set was answered as if it had a condition"));
        exchange->tally->absent++;
        break;
    case REPLY_ERROR: tally_fail(exchange->tally, FAILURE_REFUSED, 1, reply->data); break;
    case REPLY_END: return bad_reply(exchange, SLICE("a write was answered by END"));
    }
    complete(exchange, slot, now_ns);
    return true;
}

static bool on_done(struct exchange *exchange, struct slot *slot, const struct reply *reply,
                    uint64_t now_ns)
{
    if (slot->operation == OPERATION_GET)
        return on_get_done(exchange, slot, reply, now_ns);
    return on_write_done(exchange, slot, reply, now_ns);
}

bool exchange_receive(struct exchange *exchange, struct slice input, uint64_t now_ns)
{
    struct reply reply;
    exchange->tally->received_bytes += input.size;
    for (;;) {
        const struct slice before = input;
        const enum reply_event event = reply_next(&exchange->parser, &input, &reply);
        if (event == REPLY_MORE)
            return true;
        if (event == REPLY_BAD)
            return bad_reply(exchange, before);
        if (exchange->used == 0)
            return bad_reply(exchange, SLICE("a reply to no request"));

        struct slot *slot = &exchange->slots[exchange->first];
        bool is_sound = true;
        switch (event) {
        case REPLY_VALUE: is_sound = on_value(exchange, slot, &reply); break;
        case REPLY_DATA: on_data(exchange, &reply); break;
        case REPLY_VALUE_END: on_value_end(exchange, slot, now_ns); break;
        case REPLY_DONE: is_sound = on_done(exchange, slot, &reply, now_ns); break;
        case REPLY_MORE:
        case REPLY_BAD: assert(false);
        }
        if (!is_sound)
            return false;
    }
}
