/* 1. A run's first and last entry in the map carry its kind; of a free run also its length.
 * 2. No two free runs of one kind are neighbours.
 * 3. Each free run is in the bin of its kind and length, and only there.
 * 4. Pages from `fresh` on were never used, and the page before it is not clean.
 *    (A clean run that reaches `fresh` is kept: it costs nothing.) */
#include "server/pages.h"
#include <assert.h>
#include <stddef.h>
#include <sys/mman.h>

enum page_kind { DIRTY = 0, CLEAN = 1, USED = 2, UNKNOWN = 3 };

struct page_link {
    uint32_t next, prev;
};

#define KIND_SHIFT  30
#define VALUE_MASK  ((1u << KIND_SHIFT) - 1)
#define EXACT_BINS  32u
#define SEARCH_MAX  32
#define HUGE_PAGES  512u /* pages of a huge page; the range is aligned to them */

/* Entries are kept inverted in the two kind bits, so that zeroed memory reads as UNKNOWN. */
static uint32_t entry_of(enum page_kind kind, uint32_t value)
{
    return ((3u - kind) << KIND_SHIFT) | value;
}

static enum page_kind entry_kind(uint32_t entry)
{
    return (enum page_kind)(3u - (entry >> KIND_SHIFT));
}

static uint32_t load_entry(const struct pages *pages, uint32_t page)
{
    return __atomic_load_n(&pages->map[page], __ATOMIC_RELAXED);
}

static void store_entry(struct pages *pages, uint32_t page, uint32_t entry)
{
    __atomic_store_n(&pages->map[page], entry, __ATOMIC_RELAXED);
}

/* Exact sizes up to 32 pages, then four bins per doubling. */
static unsigned bin_of(uint32_t count)
{
    unsigned power;

    assert(count >= 1);
    if (count <= EXACT_BINS)
        return count - 1;
    power = 31 - (unsigned)__builtin_clz(count);
    return EXACT_BINS + (power - 5) * 4 + ((count >> (power - 2)) & 3);
}

static void list_insert(struct pages *pages, enum page_kind kind, uint32_t first, uint32_t count)
{
    const unsigned bin = bin_of(count);
    const uint32_t head = pages->bins[kind][bin];

    pages->links[first] = (struct page_link){.next = head, .prev = PAGE_NONE};
    if (head != PAGE_NONE)
        pages->links[head].prev = first;
    pages->bins[kind][bin] = first;
    pages->occupied[kind][bin / 64] |= (uint64_t)1 << (bin % 64);
    store_entry(pages, first, entry_of(kind, count));
    store_entry(pages, first + count - 1, entry_of(kind, count));
}

static void list_remove(struct pages *pages, enum page_kind kind, uint32_t first, uint32_t count)
{
    const unsigned bin = bin_of(count);
    const struct page_link link = pages->links[first];

    if (link.next != PAGE_NONE)
        pages->links[link.next].prev = link.prev;
    if (link.prev != PAGE_NONE)
        pages->links[link.prev].next = link.next;
    else
        pages->bins[kind][bin] = link.next;
    if (pages->bins[kind][bin] == PAGE_NONE)
        pages->occupied[kind][bin / 64] &= ~((uint64_t)1 << (bin % 64));
}

/* Inserts a free run, merged with neighbours of its kind (2). */
static void insert_merged(struct pages *pages, enum page_kind kind, uint32_t first, uint32_t count)
{
    const uint32_t before = load_entry(pages, first - 1);
    const uint32_t after = first + count < pages->fresh ? load_entry(pages, first + count) : 0;

    if (entry_kind(before) == kind && first > 1) {
        const uint32_t more = before & VALUE_MASK;
        list_remove(pages, kind, first - more, more);
        first -= more;
        count += more;
    }
    if (entry_kind(after) == kind) {
        const uint32_t more = after & VALUE_MASK;
        list_remove(pages, kind, first + count, more);
        count += more;
    }
    list_insert(pages, kind, first, count);
}

/* The next bin from `bin` on that has a run, or PAGES_BINS. */
static unsigned bin_next(const struct pages *pages, enum page_kind kind, unsigned bin)
{
    for (unsigned word = bin / 64; word < 3; word++) {
        uint64_t bits = pages->occupied[kind][word];
        if (word == bin / 64)
            bits &= ~(uint64_t)0 << (bin % 64);
        if (bits != 0)
            return word * 64 + (unsigned)__builtin_ctzll(bits);
    }
    return PAGES_BINS;
}

/* A free run of at least `count` pages, or PAGE_NONE. */
static uint32_t find_run(const struct pages *pages, enum page_kind kind, uint32_t count)
{
    const unsigned own = bin_of(count);
    uint32_t run = pages->bins[kind][own];
    unsigned bin;

    for (int i = 0; run != PAGE_NONE && i < SEARCH_MAX; i++, run = pages->links[run].next)
        if ((load_entry(pages, run) & VALUE_MASK) >= count)
            return run;
    bin = bin_next(pages, kind, own + 1);
    return bin == PAGES_BINS ? PAGE_NONE : pages->bins[kind][bin];
}

/* Takes the first `count` pages of a free run; the rest stays free. */
static uint32_t take_run(struct pages *pages, enum page_kind kind, uint32_t count)
{
    const uint32_t first = find_run(pages, kind, count);
    uint32_t found;

    if (first == PAGE_NONE)
        return PAGE_NONE;
    found = load_entry(pages, first) & VALUE_MASK;
    assert(found >= count);
    list_remove(pages, kind, first, found);
    if (found > count)
        list_insert(pages, kind, first + count, found - count);
    return first;
}

static uint32_t take_fresh(struct pages *pages, uint32_t count)
{
    const uint32_t first = pages->fresh;

    if (count > pages->end - first)
        return PAGE_NONE;
    if (!range_commit(&pages->range, (uint64_t)(first + count) * PAGE_BYTES) ||
        !range_commit(&pages->map_range, (uint64_t)(first + count) * sizeof *pages->map) ||
        !range_commit(&pages->link_range, (uint64_t)(first + count) * sizeof *pages->links))
        return PAGE_NONE;
    pages->fresh = first + count;
    return first;
}

static uint64_t held(const struct pages *pages)
{
    return atomic_load_explicit(&pages->used, memory_order_relaxed) +
           atomic_load_explicit(&pages->dirty, memory_order_relaxed);
}

static void set_dirty(struct pages *pages, uint64_t dirty)
{
    atomic_store_explicit(&pages->dirty, dirty, memory_order_relaxed);
    if (dirty < pages->dirty_low)
        pages->dirty_low = dirty;
}

/* A hole in a huge page would be filled again, by the next small run in it or by khugepaged, and
 * more be resident than we count: so where memory was given back once, small pages do. */
static void give_back(struct pages *pages, uint32_t first, uint32_t count)
{
    const uint32_t start = first / HUGE_PAGES * HUGE_PAGES;
    uint32_t end = (first + count + HUGE_PAGES - 1) / HUGE_PAGES * HUGE_PAGES;

    if (end > pages->end)
        end = pages->end;
    (void)madvise(pages_address(pages, start), (size_t)(end - start) * PAGE_BYTES,
                  MADV_NOHUGEPAGE);
    (void)madvise(pages_address(pages, first), (size_t)count * PAGE_BYTES, MADV_DONTNEED);
}

/* Gives the largest dirty run back to the system, or `count_max` pages of it. */
static bool purge_one(struct pages *pages, uint32_t count_max)
{
    unsigned bin = PAGES_BINS;
    uint32_t first, count;
    const uint64_t dirty = atomic_load_explicit(&pages->dirty, memory_order_relaxed);

    for (int word = 2; word >= 0 && bin == PAGES_BINS; word--)
        if (pages->occupied[DIRTY][word] != 0)
            bin = (unsigned)word * 64 + 63 -
                  (unsigned)__builtin_clzll(pages->occupied[DIRTY][word]);
    if (bin == PAGES_BINS)
        return false;
    first = pages->bins[DIRTY][bin];
    count = load_entry(pages, first) & VALUE_MASK;
    list_remove(pages, DIRTY, first, count);
    if (count > count_max) {
        list_insert(pages, DIRTY, first + count_max, count - count_max);
        count = count_max;
    }
    give_back(pages, first, count);
    set_dirty(pages, dirty - count);
    insert_merged(pages, CLEAN, first, count);
    return true;
}

/* Purges until `count` more pages fit the budget; false if they do not. */
static bool make_room(struct pages *pages, uint32_t count)
{
    for (;;) {
        const uint64_t budget = atomic_load_explicit(&pages->budget, memory_order_relaxed);
        const uint64_t after = held(pages) + count;

        if (after <= budget)
            return true;
        if (atomic_load_explicit(&pages->used, memory_order_relaxed) + count > budget)
            return false;
        if (!purge_one(pages, after - budget > VALUE_MASK ? VALUE_MASK : (uint32_t)(after - budget)))
            return false;
    }
}

uint32_t pages_alloc(struct pages *pages, uint32_t count, bool is_forced)
{
    uint32_t first = PAGE_NONE;
    uint64_t used;

    assert(count >= 1);
    pthread_mutex_lock(&pages->lock);
    used = atomic_load_explicit(&pages->used, memory_order_relaxed);
    if (is_forced || used + count <= atomic_load_explicit(&pages->budget, memory_order_relaxed)) {
        first = take_run(pages, DIRTY, count);
        if (first != PAGE_NONE)
            set_dirty(pages, atomic_load_explicit(&pages->dirty, memory_order_relaxed) - count);
        else if (make_room(pages, count) || is_forced) {
            first = take_run(pages, CLEAN, count);
            if (first == PAGE_NONE)
                first = take_fresh(pages, count);
        }
    }
    if (first != PAGE_NONE) {
        store_entry(pages, first, entry_of(USED, first));
        store_entry(pages, first + count - 1, entry_of(USED, first));
        atomic_store_explicit(&pages->used, used + count, memory_order_relaxed);
    }
    pthread_mutex_unlock(&pages->lock);
    return first;
}

void pages_release(struct pages *pages, uint32_t first, uint32_t count)
{
    uint64_t used;

    pthread_mutex_lock(&pages->lock);
    assert(entry_kind(load_entry(pages, first)) == USED);
    assert(entry_kind(load_entry(pages, first + count - 1)) == USED);
    used = atomic_load_explicit(&pages->used, memory_order_relaxed);
    assert(used >= count);
    atomic_store_explicit(&pages->used, used - count, memory_order_relaxed);
    set_dirty(pages, atomic_load_explicit(&pages->dirty, memory_order_relaxed) + count);
    insert_merged(pages, DIRTY, first, count);
    pthread_mutex_unlock(&pages->lock);
}

void pages_mark(struct pages *pages, uint32_t first, uint32_t count)
{
    for (uint32_t page = first; page < first + count; page++)
        store_entry(pages, page, entry_of(USED, first));
}

uint32_t pages_start(const struct pages *pages, uint32_t page)
{
    const uint32_t entry = load_entry(pages, page);

    assert(entry_kind(entry) == USED);
    return entry & VALUE_MASK;
}

void pages_fit(struct pages *pages)
{
    pthread_mutex_lock(&pages->lock);
    (void)make_room(pages, 0);
    while (held(pages) > atomic_load_explicit(&pages->budget, memory_order_relaxed) &&
           purge_one(pages, VALUE_MASK))
        ;
    pthread_mutex_unlock(&pages->lock);
}

void pages_decay(struct pages *pages)
{
    uint64_t unneeded;

    pthread_mutex_lock(&pages->lock);
    unneeded = (pages->dirty_low + 3) / 4;
    for (uint64_t left = unneeded; left > 0;) {
        const uint64_t before = atomic_load_explicit(&pages->dirty, memory_order_relaxed);
        if (!purge_one(pages, (uint32_t)left))
            break;
        left -= before - atomic_load_explicit(&pages->dirty, memory_order_relaxed);
    }
    pages->dirty_low = atomic_load_explicit(&pages->dirty, memory_order_relaxed);
    pthread_mutex_unlock(&pages->lock);
}

uint64_t pages_resident_bytes(const struct pages *pages)
{
    return held(pages) * PAGE_BYTES;
}

bool pages_init(struct pages *pages, uint64_t reserved_bytes, bool is_huge)
{
    const uint64_t count = reserved_bytes / PAGE_BYTES;

    *pages = (struct pages){.fresh = 1};
    assert(count <= VALUE_MASK);
    if (!range_init(&pages->range, reserved_bytes, is_huge))
        return false;
    if (!range_init(&pages->map_range, count * sizeof *pages->map, false))
        goto fail_range;
    if (!range_init(&pages->link_range, count * sizeof *pages->links, false))
        goto fail_map;
    if (!range_commit(&pages->map_range, sizeof *pages->map))
        goto fail_link;
    pages->map = (uint32_t *)(void *)pages->map_range.base;
    pages->links = (struct page_link *)(void *)pages->link_range.base;
    pages->end = (uint32_t)count;
    pthread_mutex_init(&pages->lock, NULL);
    return true;

fail_link:
    range_deinit(&pages->link_range);
fail_map:
    range_deinit(&pages->map_range);
fail_range:
    range_deinit(&pages->range);
    return false;
}

void pages_deinit(struct pages *pages)
{
    pthread_mutex_destroy(&pages->lock);
    range_deinit(&pages->link_range);
    range_deinit(&pages->map_range);
    range_deinit(&pages->range);
}
