/* Any values under any policy.  The first byte chooses the policy, the second an amount to count
 * by, and what follows are up to 16 siblings: a byte for kind and node, two for the length of the
 * value, and its bytes.  What is shown must fit the room that was asked for, must be one of the
 * values where it is not made of them, a union must have the lines of every value, and the total
 * that a client is told must be the one that is read next. */
#include "ring/resolver.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SIBLINGS_MAX = 16 };

struct scene {
    struct cell cell;
    struct sibling siblings[SIBLINGS_MAX];
    struct slice values[SIBLINGS_MAX];
};

static void require(bool is_so, const char *what)
{
    if (is_so)
        return;
    fprintf(stderr, "fuzz_resolver: %s\n", what);
    abort();
}

static void *allocate(size_t count, size_t bytes)
{
    void *memory = malloc(count * bytes + 1); /* exactly: sanitizers watch the end */

    require(memory != NULL, "no memory");
    return memory;
}

/* Siblings sorted by dot: those of a node come in the order of the input, and nodes go up or down
 * with it. */
static void read_scene(struct scene *scene, const uint8_t *data, size_t size)
{
    static const enum sibling_kind kinds[] = {SIBLING_VALUE, SIBLING_VALUE, SIBLING_TOMBSTONE,
                                              SIBLING_STUB};

    cell_init(&scene->cell, scene->siblings, SIBLINGS_MAX);
    for (size_t at = 0; size - at >= 3 && scene->cell.sibling_count < SIBLINGS_MAX;) {
        unsigned i = scene->cell.sibling_count++;
        enum sibling_kind kind = kinds[data[at] % 16 == 0 ? 2 : data[at] % 16 == 1 ? 3 : 0];
        size_t length = (size_t)data[at + 1] | (size_t)data[at + 2] << 8;
        hlc_time hlc = 1 + i;
        node_id node = 1 + (data[at] >> 6);
        at += 3;
        if (length > size - at)
            length = size - at;
        struct slice value = {data + at, length};
        at += length;
        struct sibling sibling = {.dot = {node, hlc}, .kind = kind, .reg.hlc = hlc};
        for (; i > 0 && dot_compare(sibling.dot, scene->siblings[i - 1].dot) < 0; i--) {
            scene->siblings[i] = scene->siblings[i - 1];
            scene->values[i] = scene->values[i - 1];
        }
        scene->siblings[i] = sibling;
        scene->values[i] = kind == SIBLING_VALUE ? value : (struct slice){NULL, 0};
    }
}

static size_t count_bytes_of_lines(struct slice text)
{
    size_t count = 0;

    for (size_t i = 0; i < text.size; i++)
        count += text.bytes[i] != '\n';
    return count;
}

/* The lines of the union rise, and it has those of each value. */
static void check_union(const struct scene *scene, struct slice made)
{
    size_t longest = 0;

    for (unsigned i = 0; i < scene->cell.sibling_count; i++) {
        struct slice value = scene->values[i];
        longest += count_bytes_of_lines(value);
        for (size_t at = 0, tries = 0; at < value.size && tries < 20; tries++) {
            const unsigned char *end = memchr(value.bytes + at, '\n', value.size - at);
            size_t size = end != NULL ? (size_t)(end - value.bytes) - at : value.size - at;
            require(size == 0 || memmem(made.bytes, made.size, value.bytes + at, size) != NULL,
                    "a line is missing");
            at += size + 1;
        }
    }
    require(count_bytes_of_lines(made) <= longest, "a line too many");
}

static void check(enum resolver_policy policy, const struct scene *scene)
{
    struct resolver_need need = resolver_room_needed(policy, &scene->cell, scene->values);
    struct resolver_room room = {.bytes = allocate(need.bytes, 1),
                                 .size = need.bytes,
                                 .lines = allocate(need.lines, sizeof *room.lines),
                                 .line_count = need.lines};
    struct resolution found = resolver_resolve(policy, &scene->cell, scene->values, &room);

    require(found.kind != RESOLVED_NO_ROOM, "what was asked for is too little");
    require((found.kind == RESOLVED_SIBLING || found.kind == RESOLVED_BYTES) ==
                (found.sibling != NULL),
            "a value without a sibling, or the reverse");
    if (found.kind == RESOLVED_SIBLING) {
        size_t i = (size_t)(found.sibling - scene->siblings);
        require(found.sibling->kind == SIBLING_VALUE, "no value is shown");
        require(slice_equal(found.value, scene->values[i]), "another value is shown");
    }
    if (found.kind == RESOLVED_BYTES) {
        require(found.value.size <= need.bytes, "more than fits");
        if (policy == RESOLVE_UNION)
            check_union(scene, found.value);
    }
    free(room.lines);
    free(room.bytes);
}

/* What one node adds is in the total that the others see. */
static void check_counter(const struct scene *scene, uint64_t amount)
{
    struct counter_change change;

    for (node_id self = 1; self <= 5; self++) {
        struct scene next = *scene;
        next.cell.siblings = next.siblings;
        if (resolver_counter_add(&scene->cell, scene->values, self, amount, amount % 2 != 0,
                                 &change) != COUNTER_ADDED)
            continue;
        struct slice share = {change.share, change.share_bytes};
        unsigned char text[COUNTER_SHARE_BYTES_MAX], expected[COUNTER_SHARE_BYTES_MAX];
        struct resolver_room room = {.bytes = text, .size = sizeof text};
        if (change.replaces != NULL) {
            next.values[change.replaces - scene->siblings] = share;
        } else if (next.cell.sibling_count < SIBLINGS_MAX) {
            unsigned last = next.cell.sibling_count++;
            next.siblings[last] =
                (struct sibling){.dot = {6, 1000}, .kind = SIBLING_VALUE, .reg.hlc = 1000};
            next.values[last] = share;
        } else {
            continue;
        }
        struct resolution found = resolver_resolve(RESOLVE_COUNTER, &next.cell, next.values, &room);
        int size =
            snprintf((char *)expected, sizeof expected, "%llu", (unsigned long long)change.total);
        require(slice_equal(found.value, (struct slice){expected, (size_t)size}),
                "the client was told another total");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct scene scene;

    if (size < 2)
        return 0;
    read_scene(&scene, data + 2, size - 2);
    check((enum resolver_policy)(data[0] % RESOLVER_POLICIES), &scene);
    if (data[0] % RESOLVER_POLICIES == RESOLVE_COUNTER)
        check_counter(&scene, (uint64_t)data[1] << (data[0] / 4));
    return 0;
}
