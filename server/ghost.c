#include "server/ghost.h"
#include "server/index.h"
#include <assert.h>
#include <string.h>

#define LINE_GHOSTS 31

#define CHARGE_LINES 64

struct ghost_line {
    uint16_t next; /* which fingerprint is the oldest: it is replaced next */
    uint16_t fingerprint[LINE_GHOSTS]; /* 0: none */
};

static_assert(sizeof(struct ghost_line) == GHOST_LINE_BYTES, "a line of ghosts is a cache line");

static struct ghost_line *line_at(const struct ghost *ghost, uint32_t line)
{
    const struct ghost_space *space = ghost->space;

    return (struct ghost_line *)(void *)(space->range.base +
                                         ((uint64_t)line * space->stripe_count + ghost->stripe) *
                                             sizeof(struct ghost_line));
}

static struct ghost_line *line_of(const struct ghost *ghost, uint32_t bits)
{
    const uint32_t count = atomic_load_explicit(&ghost->line_count, memory_order_relaxed);

    return line_at(ghost, index_bucket_of(bits, count));
}

/* From bits that choose neither line nor stripe: there are never so many stripes that hash_bits()
 * would reach down here. */
static uint16_t fingerprint_of(uint64_t hash)
{
    const uint16_t fingerprint = (uint16_t)hash;

    return fingerprint == 0 ? 1 : fingerprint;
}

bool ghost_space_init(struct ghost_space *space, struct memory *memory, unsigned stripe_count,
                      uint64_t reserved_bytes)
{
    space->memory = memory;
    space->stripe_count = stripe_count;
    return range_init(&space->range, reserved_bytes, true);
}

void ghost_space_deinit(struct ghost_space *space)
{
    range_deinit(&space->range);
}

static bool commit_lines(struct ghost *ghost, uint32_t count)
{
    return range_commit(&ghost->space->range,
                        (uint64_t)count * ghost->space->stripe_count * sizeof(struct ghost_line));
}

bool ghost_init(struct ghost *ghost, struct ghost_space *space, unsigned stripe)
{
    assert(stripe < space->stripe_count);
    assert(hash_bits_shift(space->stripe_count) >= 16);

    *ghost = (struct ghost){
        .space = space,
        .stripe = stripe,
        .line_count = 1,
        .bits_shift = hash_bits_shift(space->stripe_count),
    };
    if (!commit_lines(ghost, 1))
        return false;
    memory_charge(space->memory, (int64_t)sizeof(struct ghost_line));
    return true;
}

void ghost_grow(struct ghost *ghost, uint32_t line_count)
{
    uint32_t count = atomic_load_explicit(&ghost->line_count, memory_order_relaxed);

    for (; count < line_count; count++) {
        const uint32_t mask = UINT32_MAX >> __builtin_clz(count);

        if (!commit_lines(ghost, count + 1))
            return;
        *line_at(ghost, count) = *line_at(ghost, count & (mask >> 1));
        atomic_store_explicit(&ghost->line_count, count + 1, memory_order_relaxed);
        if (count % CHARGE_LINES == 1)
            memory_charge(ghost->space->memory,
                          CHARGE_LINES * (int64_t)sizeof(struct ghost_line));
    }
}

void ghost_shrink(struct ghost *ghost, uint32_t line_count)
{
    uint32_t count = atomic_load_explicit(&ghost->line_count, memory_order_relaxed);

    assert(line_count >= 1);
    while (count > line_count) {
        count--;
        if (count % CHARGE_LINES == 1)
            memory_charge(ghost->space->memory,
                          -CHARGE_LINES * (int64_t)sizeof(struct ghost_line));
    }
    atomic_store_explicit(&ghost->line_count, count, memory_order_relaxed);
}

void ghost_add(struct ghost *ghost, uint64_t hash)
{
    struct ghost_line *line = line_of(ghost, hash_bits(hash, ghost->bits_shift));

    line->fingerprint[line->next] = fingerprint_of(hash);
    line->next = (uint16_t)((line->next + 1) % LINE_GHOSTS);
    assert(line->next < LINE_GHOSTS);
}

bool ghost_take(struct ghost *ghost, uint64_t hash)
{
    struct ghost_line *line = line_of(ghost, hash_bits(hash, ghost->bits_shift));
    const uint16_t fingerprint = fingerprint_of(hash);

    for (unsigned i = 0; i < LINE_GHOSTS; i++)
        if (line->fingerprint[i] == fingerprint) {
            line->fingerprint[i] = 0;
            return true;
        }
    return false;
}

void ghost_prefetch(const struct ghost *ghost, uint32_t bits)
{
    __builtin_prefetch(line_of(ghost, bits), 1);
}
