/* Runs of 4 KB pages inside one reserved range: what slabs and large items are made of.
 *
 * A free run is dirty (its memory is still resident) or clean (given back to the system, or never
 * used).  Neighbours of one kind are merged.  An allocation takes a dirty run if one fits, so that
 * a store that turns over its memory makes no system calls; only when none fits, and the budget
 * would be exceeded, are dirty runs given back.  So what is resident is known to the page:
 *
 *     used + dirty <= budget      unless an allocation was forced
 *
 * Threads: any; one lock, which is a leaf: nothing is called with it held. */
#ifndef SERVER_PAGES_H
#define SERVER_PAGES_H

#include "server/range.h"

#define PAGE_BYTES 4096u
#define PAGE_NONE  0u /* the first page is never given, so that handle 0 means none */

#define PAGES_BINS 144

/* Who may touch which field:
 *   [I] never changes after pages_init    [L] under `lock`    [A] anyone, atomically
 *   [U] an entry of a used run: whoever uses it */
struct pages {
    struct range range;              /* [I] */
    struct range map_range;          /* [I] */
    struct range link_range;         /* [I] */
    uint32_t *map;                   /* [L], [U] kind and value, see pages.c */
    struct page_link *links;         /* [L] of the first page of each free run */
    uint32_t bins[2][PAGES_BINS];    /* [L] first run of each size, dirty and clean */
    uint64_t occupied[2][3];         /* [L] one bit per bin that has a run */
    uint32_t fresh;                  /* [L] the first page that was never used */
    uint32_t end;                    /* [I] one behind the last page */
    uint64_t dirty_low;              /* [L] fewest dirty pages since the last pages_decay() */
    _Atomic uint64_t used;           /* [L] in pages; read by anyone */
    _Atomic uint64_t dirty;          /* [L] likewise */
    _Atomic uint64_t budget;         /* [A] in pages */
    pthread_mutex_t lock;
};

/* `reserved_bytes` bounds the addresses, not what is resident. */
bool pages_init(struct pages *, uint64_t reserved_bytes, bool is_huge);
void pages_deinit(struct pages *);

/* The first page of a run of `count`, or PAGE_NONE when the budget has no room for it.  `is_forced`
 * ignores the budget: for the few bytes that bookkeeping cannot do without. */
uint32_t pages_alloc(struct pages *, uint32_t count, bool is_forced);
void pages_release(struct pages *, uint32_t first, uint32_t count);

/* Notes for each page of a used run where the run starts, for pages_start(). */
void pages_mark(struct pages *, uint32_t first, uint32_t count);
uint32_t pages_start(const struct pages *, uint32_t page);

/* Gives back dirty pages until used and dirty ones are within the budget. */
void pages_fit(struct pages *);

/* Called about once a second: gives back a part of the pages that nobody needed since. */
void pages_decay(struct pages *);

/* What is resident, in bytes. */
uint64_t pages_resident_bytes(const struct pages *);

static inline unsigned char *pages_address(const struct pages *pages, uint32_t page)
{
    return pages->range.base + (uint64_t)page * PAGE_BYTES;
}

static inline uint32_t pages_page_of(const struct pages *pages, const void *address)
{
    return (uint32_t)(((uintptr_t)address - (uintptr_t)pages->range.base) / PAGE_BYTES);
}

#endif
