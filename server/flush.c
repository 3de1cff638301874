#include "server/flush.h"
#include "server/store.h"

_Atomic uint64_t flush_pending_ms;

void flush_now_if_due(struct store *store, uint64_t now_ms)
{
    uint64_t at_ms = atomic_load(&flush_pending_ms);

    if (at_ms == 0 || at_ms > now_ms)
        return;
    if (!atomic_compare_exchange_strong(&flush_pending_ms, &at_ms, 0))
        return;
    store_flush(store, now_ms);
}
