#include "server/item.h"
#include "server/clock.h"
#include <assert.h>
#include <stdatomic.h>

static_assert(sizeof(struct item) == 16, "a short item has to fit a cache line");
static_assert(sizeof(struct item_replica) == 8, "what an item may grow by on a cluster's node");

/* What an ITEM_LONG has among its optional fields. */
struct item_long {
    uint32_t value_bytes;
    _Atomic uint32_t references;
};

static_assert(sizeof(struct item_long) == 8, "item_optional_bytes() counts on it");

static struct item_long *long_of(const struct item *item)
{
    /* Whoever lets go of a value does so without the lock, while ITEM_WON may be set in the same
     * byte; the bits that say where things lie never change. */
    const uint8_t bits = __atomic_load_n(&item->bits, __ATOMIC_RELAXED);

    assert(bits & ITEM_LONG);
    return (struct item_long *)(uintptr_t)(item->data + item_long_at(bits));
}

static uint8_t bits_of_spec(const struct item_spec *spec)
{
    unsigned bits = 0;

    if (spec->expiry_ms != 0)
        bits |= ITEM_EXPIRES;
    if (spec->client_flags != 0 || spec->is_hidden)
        bits |= ITEM_FLAGS;
    if (spec->value_bytes >= ITEM_LONG_VALUE_BYTES)
        bits |= ITEM_LONG;
    if (spec->has_explicit_cas)
        bits |= ITEM_EXPLICIT_CAS;
    if (spec->key_is_binary)
        bits |= ITEM_KEY_BINARY;
    if (spec->is_cell || spec->is_hidden)
        bits |= ITEM_CELL;
    return (uint8_t)bits;
}

uint64_t item_bytes_of_spec(const struct item_spec *spec)
{
    return sizeof(struct item) + item_optional_bytes(bits_of_spec(spec)) + spec->key.size +
           spec->value_bytes;
}

void item_init(struct item *item, const struct item_spec *spec, uint64_t now_ms)
{
    assert(spec->key.size >= 1);
    assert(spec->key.size <= UINT8_MAX);
    assert(spec->value_bytes <= UINT32_MAX);

    *item = (struct item){
        .accessed_s = clock_relative_s(now_ms) & ITEM_ACCESSED_MAX,
        .value_bytes_short = (uint16_t)spec->value_bytes,
        .key_bytes = (uint8_t)spec->key.size,
        .bits = bits_of_spec(spec),
    };
    if (item->bits & ITEM_EXPIRES)
        memcpy(item->data, &spec->expiry_ms, sizeof spec->expiry_ms);
    if (item->bits & ITEM_EXPLICIT_CAS)
        memcpy(item->data + 8 * ((item->bits & ITEM_EXPIRES) != 0), &spec->explicit_cas,
               sizeof spec->explicit_cas);
    if (item->bits & ITEM_LONG) {
        long_of(item)->value_bytes = (uint32_t)spec->value_bytes;
        atomic_init(&long_of(item)->references, 1);
    }
    if (item->bits & ITEM_FLAGS)
        memcpy(item->data + item_optional_bytes(item->bits) - sizeof spec->client_flags,
               &spec->client_flags, sizeof spec->client_flags);
    memcpy(item->data + item_optional_bytes(item->bits), spec->key.bytes, spec->key.size);
}

bool item_has_shape_of(const struct item *item, const struct item_spec *spec)
{
    const unsigned marks = ITEM_STALE | ITEM_WON; /* those need no room */

    return (item->bits & ~marks) == bits_of_spec(spec) && !(item->bits & ITEM_LONG) &&
           item->key_bytes == spec->key.size && item->value_bytes_short == spec->value_bytes;
}

uint64_t item_bytes(const struct item *item)
{
    return sizeof(struct item) + item_optional_bytes(item->bits) + item->key_bytes +
           item_value_bytes(item);
}

uint64_t item_cas(const struct item *item)
{
    uint64_t cas = item->hlc;

    if (item->bits & ITEM_EXPLICIT_CAS)
        memcpy(&cas, item->data + 8 * ((item->bits & ITEM_EXPIRES) != 0), sizeof cas);
    return cas;
}

uint32_t item_client_flags(const struct item *item)
{
    uint32_t flags = 0;

    if (item->bits & ITEM_FLAGS)
        memcpy(&flags, item->data + item_optional_bytes(item->bits) - sizeof flags, sizeof flags);
    return flags;
}

uint64_t item_expiry_ms(const struct item *item)
{
    uint64_t expiry_ms = 0;

    if (item->bits & ITEM_EXPIRES)
        memcpy(&expiry_ms, item->data, sizeof expiry_ms);
    return expiry_ms;
}

void item_set_expiry_ms(struct item *item, uint64_t expiry_ms)
{
    assert(item->bits & ITEM_EXPIRES);
    memcpy(item->data, &expiry_ms, sizeof expiry_ms);
}

bool item_is_referred(const struct item *item)
{
    return atomic_load_explicit(&long_of(item)->references, memory_order_acquire) > 1;
}

void item_refer(struct item *item)
{
    const uint32_t before =
        atomic_fetch_add_explicit(&long_of(item)->references, 1, memory_order_relaxed);

    assert(before >= 1);
    assert(before < UINT32_MAX);
}

bool item_unrefer(struct item *item)
{
    const uint32_t before =
        atomic_fetch_sub_explicit(&long_of(item)->references, 1, memory_order_acq_rel);

    assert(before >= 1);
    return before == 1;
}
