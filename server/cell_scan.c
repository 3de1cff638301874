/* Which cells are in a range of key hashes, in ascending order.
 *
 * The index knows no order finer than its walk.  So a scan goes through windows of the range, each
 * about as large as to hold what is asked for, and keeps of each the lowest hashes in a heap with
 * the highest on top.  A window is never smaller than what a walk can leave out. */
#include "ring/key_hash.h"
#include "server/cell_item.h"
#include "server/cell_store.h"
#include "server/stripe.h"
#include <assert.h>
#include <stdlib.h>

struct scan {
    struct store *store;
    const struct exchange_scan *wanted;
    hlc_time reap_before;
    uint64_t now_ms;
    uint64_t *hashes; /* a heap, then sorted */
    unsigned count, room;
    uint64_t cut; /* the lowest hash for which there was no room; UINT64_MAX: none */
    bool is_cut;
    struct cell cell; /* its siblings are on the heap */
    struct exchange_item *items;
    unsigned item_count;
};

static bool is_of_class(const struct scan *scan, const struct item *item)
{
    const unsigned copies = item_replica(item).copies;

    return copies >= scan->wanted->copies_min && copies <= scan->wanted->copies_max && copies > 0;
}

static void sift_up(uint64_t *heap, unsigned at, uint64_t hash)
{
    for (; at > 0 && heap[(at - 1) / 2] < hash; at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = hash;
}

/* Puts a hash in place of the highest. */
static void sift_down(uint64_t *heap, unsigned count, uint64_t hash)
{
    unsigned at = 0;

    for (unsigned child = 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && heap[child + 1] > heap[child])
            child++;
        if (heap[child] <= hash)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = hash;
}

static void cut_at(struct scan *scan, uint64_t hash)
{
    if (!scan->is_cut || hash < scan->cut)
        scan->cut = hash;
    scan->is_cut = true;
}

static void note_item(void *context, const struct item *item)
{
    struct scan *scan = context;
    uint64_t hash;

    if (!is_of_class(scan, item))
        return;
    hash = key_hash(item_key(item));
    if (scan->count < scan->room) {
        sift_up(scan->hashes, scan->count++, hash);
    } else if (scan->hashes[0] > hash) {
        cut_at(scan, scan->hashes[0]);
        sift_down(scan->hashes, scan->count, hash);
    } else {
        cut_at(scan, hash);
    }
}

static int compare_hashes(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return left < right ? -1 : left > right;
}

/* Describes an item; nothing, if it has no siblings left.  False: memory is short.  Lock held. */
static bool describe(struct scan *scan, const struct stripe *stripe, uint64_t hash,
                     const struct item *item)
{
    struct cell *cell = &scan->cell;
    struct exchange_item *described = &scan->items[scan->item_count];

    if (!cell_item_reserve(cell, cell_item_siblings(item)))
        return false;
    cell_item_read(cell_store_nodes(scan->store), item, false, cell);
    if (stripe->flushed > 0)
        cell_flush(cell, stripe->flushed);
    cell_expire(cell, scan->now_ms);
    if (cell->sibling_count == 0)
        return true;
    exchange_item_init(described, hash, cell);
    for (unsigned i = 0; i < cell->sibling_count; i++)
        described->bytes += cell->siblings[i].value_bytes;
    if (cell_is_reapable(cell, scan->reap_before))
        described->kinds = 0;
    scan->item_count++;
    return true;
}

/* Describes all cells of a hash, or if there is no room for them, none. */
static bool describe_hash(struct scan *scan, uint64_t hash)
{
    struct stripe *stripe = store_lock(scan->store, hash);
    const unsigned before = scan->item_count;
    const struct item *item;
    bool is_ok = true;

    for (unsigned i = 0; is_ok && (item = index_find_hash(&stripe->index, hash, i)) != NULL; i++) {
        if (!is_of_class(scan, item))
            continue;
        if (scan->item_count == scan->wanted->items_max) {
            scan->item_count = before;
            cut_at(scan, hash);
            break;
        }
        is_ok = describe(scan, stripe, hash, item);
    }
    store_unlock(stripe);
    return is_ok;
}

/* All of `window`, or its beginning. */
static bool scan_window(struct scan *scan, struct hash_range window)
{
    uint64_t cursor = 0;
    bool is_ok = true;

    scan->count = 0;
    scan->room = scan->wanted->items_max - scan->item_count;
    do
        cursor = walk_cells(scan->store, window, cursor, scan->now_ms, note_item, scan);
    while (cursor != 0);
    qsort(scan->hashes, scan->count, sizeof scan->hashes[0], compare_hashes);
    for (unsigned i = 0; is_ok && i < scan->count; i++) {
        if (scan->is_cut && scan->hashes[i] >= scan->cut)
            break;
        if (i == 0 || scan->hashes[i] != scan->hashes[i - 1])
            is_ok = describe_hash(scan, scan->hashes[i]);
    }
    return is_ok;
}

/* From `first` on, about as much as holds what is asked for. */
static struct hash_range next_window(const struct scan *scan, uint64_t first)
{
    const struct store *store = scan->store;
    const uint64_t least = (uint64_t)1 << (store->stripe_shift - 8), last = scan->wanted->last;
    struct stripe *stripe = store_lock(scan->store, first);
    const uint64_t items = stripe->index.item_count;
    uint64_t size;

    store_unlock(stripe);
    if (__builtin_mul_overflow(((uint64_t)1 << store->stripe_shift) / (items + 1),
                               scan->wanted->items_max, &size))
        return (struct hash_range){first, last};
    if (size < least)
        size = least;
    return (struct hash_range){first, last - first < size ? last : first + (size - 1)};
}

bool cell_store_scan(struct store *store, const struct exchange_scan *wanted, hlc_time reap_before,
                     uint64_t now_ms, struct exchange_item *items, struct exchange_scanned *scanned)
{
    struct scan scan = {.store = store,
                        .wanted = wanted,
                        .reap_before = reap_before,
                        .now_ms = now_ms,
                        .items = items};
    struct hash_range window = {.first = wanted->first};
    bool is_ok;

    assert(wanted->first <= wanted->last);
    assert(wanted->items_max >= 1);
    cell_init(&scan.cell, NULL, 0);
    scan.hashes = malloc(wanted->items_max * sizeof scan.hashes[0]);
    is_ok = scan.hashes != NULL;
    while (is_ok) {
        window = next_window(&scan, window.first);
        is_ok = scan_window(&scan, window);
        if (scan.is_cut || window.last == wanted->last || scan.item_count > wanted->items_max / 2)
            break;
        window.first = window.last + 1;
    }
    *scanned = (struct exchange_scanned){.number = wanted->number,
                                         .items = items,
                                         .item_count = scan.item_count,
                                         .reached = scan.is_cut ? scan.cut - 1 : window.last};
    free(scan.hashes);
    free(scan.cell.siblings);
    return is_ok;
}
