/* 1. A slab's `used` is the number of zeros among the first `slots` bits of its bitmap.
 * 2. A slab that is neither full nor draining is in the list of partial slabs of its bin; no other
 *    is in any list.
 * 3. A slab in use has a slot in use, or is draining. */
#include "server/memory.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif
#ifdef HAS_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes)   ((void)(address), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#endif

#define FINE_STEP_BYTES   8u   /* up to 512 bytes a class per 8 bytes, */
#define FINE_BYTES        512u
#define FINE_CLASSES      (FINE_BYTES / FINE_STEP_BYTES)
#define COARSE_STEP_BYTES 16u  /* up to 1024 one per 16, */
#define STEPPED_BYTES     1024u
#define STEPPED_CLASSES   (FINE_CLASSES + (STEPPED_BYTES - FINE_BYTES) / COARSE_STEP_BYTES)
#define OCTAVE_CLASSES    16u  /* then 16 per doubling */
#define ITEM_CLASSES    (MEMORY_CLASSES - 2)
#define CLASS_OVERFLOW  ITEM_CLASSES
#define CLASS_CHUNK     (ITEM_CLASSES + 1)
#define LINE_BYTES      64u

/* Worth draining: a hundredth of all memory, and what the classes keep in stock. */
#define SPARSE_DIVISOR 100
#define STOCK_BYTES    ((uint64_t)256 << 10)
/* When no class had enough, it takes so much more until it is tried again. */
#define DRAIN_RETRY_BYTES ((uint64_t)128 << 10)

#define CACHED_BYTES_MAX 2048u
#define CACHED_SLOTS_MAX 32u
#define CACHED_CLASSES   STEPPED_CLASSES

#define FULL SLAB_BINS       /* `bin` of a slab in no list: it is full, */
#define DRAINING (SLAB_BINS + 1) /* or being emptied */

/* At the start of each slab.  All of it under the lock of its class. */
struct slab {
    uint32_t next, prev; /* in the list of its bin, as pages; PAGE_NONE at the ends */
    uint32_t used;
    uint32_t bin;
    uint64_t free[]; /* one bit per slot, set if it is free */
};

/* The free slots that a thread keeps of one memory.  Owned by its thread. */
struct memory_cache {
    struct memory *memory;
    uint32_t recall; /* the last one obeyed */
    uint8_t count[CACHED_CLASSES];
    memory_handle slot[CACHED_CLASSES][CACHED_SLOTS_MAX];
};

static _Thread_local struct memory_cache *cache;

static unsigned class_of_bytes(const struct memory *memory, uint64_t bytes)
{
    const uint64_t unit = (uint64_t)1 << memory->handle_shift;
    unsigned power, step;

    assert(bytes >= 1);
    assert(bytes <= MEMORY_SLOT_BYTES_MAX);
    bytes = (bytes + unit - 1) & ~(unit - 1);
    if (bytes <= FINE_BYTES)
        return (unsigned)(bytes - 1) / FINE_STEP_BYTES;
    if (bytes <= STEPPED_BYTES)
        return FINE_CLASSES + (unsigned)(bytes - FINE_BYTES - 1) / COARSE_STEP_BYTES;
    power = 31 - (unsigned)__builtin_clz((unsigned)bytes - 1); /* 10 for 1025..2048 */
    step = ((unsigned)bytes - 1) >> (power - 4);               /* 16..31 */
    return STEPPED_CLASSES + (power - 10) * OCTAVE_CLASSES + (step - 16);
}

static uint32_t bytes_of_class(unsigned class)
{
    if (class < FINE_CLASSES)
        return (class + 1) * FINE_STEP_BYTES;
    if (class < STEPPED_CLASSES)
        return FINE_BYTES + (class - FINE_CLASSES + 1) * COARSE_STEP_BYTES;
    if (class == CLASS_OVERFLOW)
        return MEMORY_OVERFLOW_BYTES;
    if (class == CLASS_CHUNK)
        return MEMORY_CHUNK_BYTES;
    class -= STEPPED_CLASSES;
    return (17 + class % OCTAVE_CLASSES) << (10 + class / OCTAVE_CLASSES - 4);
}

static_assert(STEPPED_CLASSES + 3 * OCTAVE_CLASSES == ITEM_CLASSES, "up to 8 KB");

static unsigned class_of_use(enum memory_use use)
{
    assert(use != MEMORY_ITEM);
    return use == MEMORY_OVERFLOW ? CLASS_OVERFLOW : CLASS_CHUNK;
}

/* Slots of a slab of so many pages, behind a header with a bit for each. */
static uint32_t slots_in(uint32_t slot_bytes, uint32_t pages, uint32_t *header_bytes)
{
    const uint32_t slab_bytes = pages * PAGE_BYTES;
    const uint32_t header = (uint32_t)sizeof(struct slab) + (slab_bytes / slot_bytes + 63) / 64 * 8;

    *header_bytes = (header + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
    return (slab_bytes - *header_bytes) / slot_bytes;
}

/* Small slabs, because each class has one that is not full: on average half of it is free.  Of the
 * sizes from some pages to twice that, the one that its slots fill best. */
static uint32_t slab_pages_for(uint32_t slot_bytes)
{
    const uint32_t least = slot_bytes <= 192 ? 3 : slot_bytes <= 1024 ? 5 : slot_bytes <= 4096 ? 8 : 16;
    uint32_t best = least, header;
    uint32_t best_used = 0;

    for (uint32_t pages = least; pages <= 2 * least; pages++) {
        const uint32_t used = slots_in(slot_bytes, pages, &header) * slot_bytes / pages;
        if (used > best_used) {
            best = pages;
            best_used = used;
        }
    }
    return best;
}

static void class_init(struct memory_class *class, unsigned number)
{
    pthread_mutex_init(&class->lock, NULL);
    class->use = number == CLASS_OVERFLOW ? MEMORY_OVERFLOW
                 : number == CLASS_CHUNK  ? MEMORY_CHUNK
                                          : MEMORY_ITEM;
    class->slot_bytes = bytes_of_class(number);
    class->slab_pages = slab_pages_for(class->slot_bytes);
    class->slots = slots_in(class->slot_bytes, class->slab_pages, &class->header_bytes);
    class->reciprocal = (uint32_t)((((uint64_t)1 << 32) + class->slot_bytes - 1) / class->slot_bytes);
    if (number < CACHED_CLASSES) {
        class->cached_max = CACHED_BYTES_MAX / class->slot_bytes;
        if (class->cached_max > CACHED_SLOTS_MAX)
            class->cached_max = CACHED_SLOTS_MAX;
    }
}

static struct slab *slab_at(const struct memory *memory, uint32_t page)
{
    return (struct slab *)(void *)pages_address(&memory->pages, page);
}

static unsigned char *slot_at(const struct memory *memory, const struct memory_class *class,
                              uint32_t page, unsigned slot)
{
    assert(slot < class->slots);
    return pages_address(&memory->pages, page) + class->header_bytes +
           (uint64_t)slot * class->slot_bytes;
}

static void list_insert(struct memory *memory, struct memory_class *class, uint32_t page,
                        uint32_t bin)
{
    struct slab *slab = slab_at(memory, page);

    slab->bin = bin;
    if (bin >= SLAB_BINS)
        return;
    slab->prev = PAGE_NONE;
    slab->next = class->partial[bin];
    if (slab->next != PAGE_NONE)
        slab_at(memory, slab->next)->prev = page;
    class->partial[bin] = page;
}

static void list_remove(struct memory *memory, struct memory_class *class, uint32_t page)
{
    struct slab *slab = slab_at(memory, page);

    if (slab->bin >= SLAB_BINS)
        return;
    if (slab->next != PAGE_NONE)
        slab_at(memory, slab->next)->prev = slab->prev;
    if (slab->prev != PAGE_NONE)
        slab_at(memory, slab->prev)->next = slab->next;
    else
        class->partial[slab->bin] = slab->next;
}

static uint32_t bin_of(const struct memory_class *class, uint32_t used)
{
    return used == class->slots ? FULL : used * SLAB_BINS / class->slots;
}

/* Moves the slab to the list it belongs to after its `used` changed. */
static void slab_rebin(struct memory *memory, struct memory_class *class, uint32_t page)
{
    struct slab *slab = slab_at(memory, page);
    const uint32_t bin = bin_of(class, slab->used);

    if (slab->bin == DRAINING || slab->bin == bin)
        return;
    list_remove(memory, class, page);
    list_insert(memory, class, page, bin);
}

static void count_free(struct memory *memory, struct memory_class *class, int64_t slots)
{
    const uint32_t before = atomic_load_explicit(&class->free_slots, memory_order_relaxed);

    assert((int64_t)before + slots >= 0);
    atomic_store_explicit(&class->free_slots, (uint32_t)(before + slots), memory_order_relaxed);
    if (class->use == MEMORY_ITEM)
        atomic_fetch_add_explicit(&memory->free_slot_bytes,
                                  (uint64_t)(slots * (int64_t)class->slot_bytes),
                                  memory_order_relaxed);
}

static uint32_t slab_new(struct memory *memory, struct memory_class *class, bool is_forced)
{
    const uint32_t page =
        pages_alloc(&memory->pages, class->slab_pages, is_forced);
    struct slab *slab;

    if (page == PAGE_NONE)
        return PAGE_NONE;
    pages_mark(&memory->pages, page, class->slab_pages);
    slab = slab_at(memory, page);
    ASAN_UNPOISON_MEMORY_REGION(slab, class->header_bytes);
    memset(slab, 0, class->header_bytes);
    for (uint32_t slot = 0; slot < class->slots; slot++)
        slab->free[slot / 64] |= (uint64_t)1 << (slot % 64);
    ASAN_POISON_MEMORY_REGION((unsigned char *)slab + class->header_bytes,
                              (size_t)class->slab_pages * PAGE_BYTES - class->header_bytes);
    list_insert(memory, class, page, 0);
    atomic_fetch_add_explicit(&class->slabs, 1, memory_order_relaxed);
    count_free(memory, class, class->slots);
    return page;
}

/* `slab` is empty and in no list. */
static void slab_delete(struct memory *memory, struct memory_class *class, uint32_t page)
{
    struct slab *slab = slab_at(memory, page);

    assert(slab->used == 0);
    count_free(memory, class, -(int64_t)class->slots);
    atomic_fetch_sub_explicit(&class->slabs, 1, memory_order_relaxed);
    ASAN_UNPOISON_MEMORY_REGION(slab, (size_t)class->slab_pages * PAGE_BYTES);
    pages_release(&memory->pages, page, class->slab_pages);
}

/* Takes up to `wanted` free slots from one slab; returns how many. Lock held. */
static unsigned class_take(struct memory *memory, struct memory_class *class,
                           memory_handle *handles, unsigned wanted)
{
    uint32_t page = PAGE_NONE;
    struct slab *slab;
    unsigned taken = 0;

    for (unsigned bin = SLAB_BINS; bin-- > 0 && page == PAGE_NONE;)
        page = class->partial[bin];
    if (page == PAGE_NONE)
        page = slab_new(memory, class, class->use != MEMORY_ITEM);
    if (page == PAGE_NONE)
        return 0;
    slab = slab_at(memory, page);
    for (unsigned word = 0; taken < wanted && word < (class->slots + 63) / 64; word++)
        for (; taken < wanted && slab->free[word] != 0; taken++) {
            const unsigned bit = (unsigned)__builtin_ctzll(slab->free[word]);
            slab->free[word] &= slab->free[word] - 1;
            handles[taken] =
                memory_handle_of(memory, slot_at(memory, class, page, word * 64 + bit));
        }
    assert(taken >= 1); /* 2 */
    slab->used += taken;
    count_free(memory, class, -(int64_t)taken);
    slab_rebin(memory, class, page);
    return taken;
}

/* Frees one slot.  Lock held. */
static void class_give(struct memory *memory, struct memory_class *class, void *pointer)
{
    const uint32_t page =
        pages_start(&memory->pages, pages_page_of(&memory->pages, pointer));
    struct slab *slab = slab_at(memory, page);
    const uint64_t at = (uint64_t)((unsigned char *)pointer - (unsigned char *)slab) -
                        class->header_bytes;
    const unsigned slot = (unsigned)((at * class->reciprocal) >> 32);
    const uint64_t bit = (uint64_t)1 << (slot % 64);

    assert(slot_at(memory, class, page, slot) == pointer);
    assert(!(slab->free[slot / 64] & bit)); /* not freed twice */
    assert(slab->used >= 1);
    slab->free[slot / 64] |= bit;
    slab->used--;
    count_free(memory, class, 1);
    if (slab->used == 0 && slab->bin != DRAINING) {
        list_remove(memory, class, page);
        slab_delete(memory, class, page);
    } else
        slab_rebin(memory, class, page);
}

/* Gives back what the cache has of a class, all but `kept`. */
static void cache_flush(struct memory_cache *own, unsigned number, unsigned kept)
{
    struct memory_class *class = &own->memory->classes[number];

    if (own->count[number] <= kept)
        return;
    pthread_mutex_lock(&class->lock);
    while (own->count[number] > kept)
        class_give(own->memory, class,
                   memory_pointer(own->memory, own->slot[number][--own->count[number]]));
    pthread_mutex_unlock(&class->lock);
}

static void cache_flush_all(struct memory_cache *own)
{
    for (unsigned number = 0; number < CACHED_CLASSES; number++)
        cache_flush(own, number, 0);
}

/* This thread's cache of that memory, or NULL.  Emptied, if slots were recalled because one that
 * a thread keeps may be all that is left in a slab. */
static struct memory_cache *cache_of(struct memory *memory)
{
    uint32_t recall;

    if (cache == NULL || cache->memory != memory)
        return NULL;
    recall = atomic_load_explicit(&memory->recall, memory_order_relaxed);
    if (cache->recall != recall) {
        cache->recall = recall;
        cache_flush_all(cache);
    }
    return cache;
}

static void *slot_alloc(struct memory *memory, unsigned number)
{
    struct memory_class *class = &memory->classes[number];
    struct memory_cache *own = class->cached_max > 0 ? cache_of(memory) : NULL;
    memory_handle taken;
    void *pointer;

    if (own != NULL && own->count[number] > 0) {
        taken = own->slot[number][--own->count[number]];
    } else {
        unsigned count;
        memory_handle one[1];
        memory_handle *slots = own != NULL ? own->slot[number] : one;

        pthread_mutex_lock(&class->lock);
        count = class_take(memory, class, slots, own != NULL ? (class->cached_max + 1) / 2 : 1);
        pthread_mutex_unlock(&class->lock);
        if (count == 0)
            return NULL;
        taken = slots[count - 1];
        if (own != NULL)
            own->count[number] = (uint8_t)(count - 1);
    }
    pointer = memory_pointer(memory, taken);
    ASAN_UNPOISON_MEMORY_REGION(pointer, class->slot_bytes);
    return pointer;
}

static void slot_release(struct memory *memory, unsigned number, void *pointer)
{
    struct memory_class *class = &memory->classes[number];
    struct memory_cache *own = class->cached_max > 0 ? cache_of(memory) : NULL;

    ASAN_POISON_MEMORY_REGION(pointer, class->slot_bytes);
    if (own != NULL) {
        if (own->count[number] == class->cached_max)
            cache_flush(own, number, class->cached_max / 2);
        own->slot[number][own->count[number]++] = memory_handle_of(memory, pointer);
        return;
    }
    pthread_mutex_lock(&class->lock);
    class_give(memory, class, pointer);
    pthread_mutex_unlock(&class->lock);
}

static uint32_t pages_of_bytes(uint64_t bytes)
{
    return (uint32_t)((bytes + PAGE_BYTES - 1) / PAGE_BYTES);
}

void *memory_alloc(struct memory *memory, uint64_t bytes)
{
    uint32_t page;
    unsigned char *pointer;

    if (bytes <= MEMORY_SLOT_BYTES_MAX)
        return slot_alloc(memory, class_of_bytes(memory, bytes));
    if (bytes > memory->pages.range.reserved_bytes)
        return NULL;
    page = pages_alloc(&memory->pages, pages_of_bytes(bytes), false);
    if (page == PAGE_NONE)
        return NULL;
    pointer = pages_address(&memory->pages, page);
    ASAN_UNPOISON_MEMORY_REGION(pointer, bytes);
    return pointer;
}

void *memory_alloc_over(struct memory *memory, uint64_t bytes)
{
    void *pointer = memory_alloc(memory, bytes);
    struct memory_class *class;
    bool has_slab;

    if (pointer != NULL || bytes > MEMORY_SLOT_BYTES_MAX || memory_is_over(memory))
        return pointer;
    class = &memory->classes[class_of_bytes(memory, bytes)];
    pthread_mutex_lock(&class->lock);
    has_slab = slab_new(memory, class, true) != PAGE_NONE;
    pthread_mutex_unlock(&class->lock);
    return has_slab ? memory_alloc(memory, bytes) : NULL;
}

void *memory_alloc_forced(struct memory *memory, enum memory_use use)
{
    return slot_alloc(memory, class_of_use(use));
}

void memory_release(struct memory *memory, void *pointer, uint64_t bytes)
{
    if (bytes <= MEMORY_SLOT_BYTES_MAX) {
        slot_release(memory, class_of_bytes(memory, bytes), pointer);
        return;
    }
    ASAN_POISON_MEMORY_REGION(pointer, bytes);
    pages_release(&memory->pages, pages_page_of(&memory->pages, pointer), pages_of_bytes(bytes));
}

void memory_release_forced(struct memory *memory, void *pointer, enum memory_use use)
{
    slot_release(memory, class_of_use(use), pointer);
}

uint64_t memory_round(const struct memory *memory, uint64_t bytes)
{
    return bytes <= MEMORY_SLOT_BYTES_MAX ? bytes_of_class(class_of_bytes(memory, bytes))
                                          : (uint64_t)pages_of_bytes(bytes) * PAGE_BYTES;
}

static void update_budget(struct memory *memory)
{
    const uint64_t limit = atomic_load(&memory->limit_bytes);
    const uint64_t charged = atomic_load(&memory->charged_bytes);

    atomic_store(&memory->pages.budget, limit > charged ? (limit - charged) / PAGE_BYTES : 0);
}

void memory_set_limit(struct memory *memory, uint64_t limit_bytes)
{
    atomic_store(&memory->limit_bytes, limit_bytes);
    update_budget(memory);
    pages_fit(&memory->pages);
}

void memory_charge(struct memory *memory, int64_t bytes)
{
    const uint64_t before = atomic_fetch_add(&memory->charged_bytes, (uint64_t)bytes);

    assert((int64_t)before + bytes >= 0);
    update_budget(memory);
}

bool memory_fit(struct memory *memory)
{
    pages_fit(&memory->pages);
    return !memory_is_over(memory);
}

uint64_t memory_held_bytes(const struct memory *memory)
{
    return pages_resident_bytes(&memory->pages) +
           atomic_load_explicit(&memory->charged_bytes, memory_order_relaxed);
}

/* The class with most bytes in free slots, if those are more than one slab's worth. */
static unsigned sparsest_class(const struct memory *memory)
{
    unsigned best = MEMORY_CLASSES;
    uint64_t best_bytes = 0;

    for (unsigned number = 0; number < ITEM_CLASSES; number++) {
        const struct memory_class *class = &memory->classes[number];
        const uint32_t free_slots = atomic_load_explicit(&class->free_slots, memory_order_relaxed);
        const uint64_t bytes = (uint64_t)free_slots * class->slot_bytes;

        if (free_slots >= class->slots && bytes > best_bytes) {
            best = number;
            best_bytes = bytes;
        }
    }
    return best;
}

bool memory_is_sparse(const struct memory *memory)
{
    const uint64_t unused = atomic_load_explicit(&memory->free_slot_bytes, memory_order_relaxed);

    return unused > memory_held_bytes(memory) / SPARSE_DIVISOR + STOCK_BYTES &&
           unused > atomic_load_explicit(&memory->drain_from_bytes, memory_order_relaxed);
}

bool memory_drain_begin(struct memory *memory, struct memory_drain *drain)
{
    const unsigned number = sparsest_class(memory);
    struct memory_class *class;
    uint32_t page = PAGE_NONE;

    if (number == MEMORY_CLASSES) {
        atomic_store_explicit(&memory->drain_from_bytes,
                              atomic_load_explicit(&memory->free_slot_bytes, memory_order_relaxed) +
                                  DRAIN_RETRY_BYTES,
                              memory_order_relaxed);
        return false;
    }
    class = &memory->classes[number];
    pthread_mutex_lock(&class->lock);
    for (unsigned bin = 0; bin < SLAB_BINS && page == PAGE_NONE; bin++)
        page = class->partial[bin];
    if (page != PAGE_NONE &&
        atomic_load_explicit(&class->free_slots, memory_order_relaxed) >= class->slots) {
        list_remove(memory, class, page);
        slab_at(memory, page)->bin = DRAINING;
    } else
        page = PAGE_NONE;
    pthread_mutex_unlock(&class->lock);
    *drain = (struct memory_drain){.slab = page, .class = number};
    if (page != PAGE_NONE && number < CACHED_CLASSES && cache_of(memory) != NULL)
        cache_flush(cache, number, 0);
    return page != PAGE_NONE;
}

void *memory_drain_next(struct memory *memory, struct memory_drain *drain)
{
    struct memory_class *class = &memory->classes[drain->class];
    const struct slab *slab = slab_at(memory, drain->slab);
    void *pointer = NULL;

    pthread_mutex_lock(&class->lock);
    for (; drain->slot < class->slots && pointer == NULL; drain->slot++)
        if (!(slab->free[drain->slot / 64] >> (drain->slot % 64) & 1))
            pointer = slot_at(memory, class, drain->slab, drain->slot);
    pthread_mutex_unlock(&class->lock);
    return pointer;
}

void memory_drain_release(struct memory *memory, struct memory_drain *drain, void *pointer)
{
    struct memory_class *class = &memory->classes[drain->class];

    ASAN_POISON_MEMORY_REGION(pointer, class->slot_bytes);
    pthread_mutex_lock(&class->lock);
    class_give(memory, class, pointer);
    pthread_mutex_unlock(&class->lock);
}

bool memory_drain_end(struct memory *memory, struct memory_drain *drain)
{
    struct memory_class *class = &memory->classes[drain->class];
    struct slab *slab = slab_at(memory, drain->slab);
    bool is_empty;

    pthread_mutex_lock(&class->lock);
    assert(slab->bin == DRAINING);
    is_empty = slab->used == 0;
    if (is_empty) {
        slab_delete(memory, class, drain->slab);
        atomic_store_explicit(&memory->drain_from_bytes, 0, memory_order_relaxed);
    }
    else /* as if it were full, so that the next drain takes another */
        list_insert(memory, class, drain->slab, slab->used == class->slots ? FULL : SLAB_BINS - 1);
    pthread_mutex_unlock(&class->lock);
    if (!is_empty)
        atomic_fetch_add_explicit(&memory->recall, 1, memory_order_relaxed);
    return is_empty;
}

void memory_thread_init(struct memory *memory)
{
    if (cache != NULL)
        return;
    cache = calloc(1, sizeof *cache); /* without one, all still works, slower */
    if (cache != NULL)
        cache->memory = memory;
}

void memory_thread_deinit(struct memory *memory)
{
    if (cache_of(memory) == NULL)
        return;
    cache_flush_all(cache);
    free(cache);
    cache = NULL;
}

/* Addresses are free, so there are enough of them for runs of every size to be found although
 * others are scattered between. */
static uint64_t reserve_bytes(uint64_t limit_bytes)
{
    const uint64_t ample = (uint64_t)8 << 30;
    const uint64_t fine_handles = (uint64_t)32 << 30; /* units of 8 bytes */

    if (limit_bytes * 4 <= ample)
        return ample;
    if (limit_bytes * 4 <= fine_handles)
        return limit_bytes * 4;
    return limit_bytes + limit_bytes / 2 <= fine_handles ? fine_handles : limit_bytes * 2;
}

struct memory *memory_new(uint64_t limit_bytes)
{
    struct memory *memory = aligned_alloc(LINE_BYTES, sizeof *memory);
    uint64_t reserved = reserve_bytes(limit_bytes);
    bool is_reserved;

    if (memory == NULL)
        return NULL;
    memset(memory, 0, sizeof *memory);
    do
        is_reserved = pages_init(&memory->pages, reserved, true);
    while (!is_reserved && (reserved /= 2) > limit_bytes + limit_bytes / 4);
    if (!is_reserved) {
        free(memory);
        return NULL;
    }
    for (memory->handle_shift = 3; reserved >> memory->handle_shift > UINT32_MAX;)
        memory->handle_shift++;
    for (unsigned number = 0; number < MEMORY_CLASSES; number++)
        class_init(&memory->classes[number], number);
    memory_set_limit(memory, limit_bytes);
    return memory;
}

void memory_free(struct memory *memory)
{
    memory_thread_deinit(memory);
    for (unsigned number = 0; number < MEMORY_CLASSES; number++)
        pthread_mutex_destroy(&memory->classes[number].lock);
    ASAN_UNPOISON_MEMORY_REGION(memory->pages.range.base, memory->pages.range.committed_bytes);
    pages_deinit(&memory->pages);
    free(memory);
}
