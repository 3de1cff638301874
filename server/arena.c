#include "server/arena.h"
#include <stdlib.h>

#define PIECE_BYTES ((size_t)256 * 1024)

struct arena_piece {
    struct arena_piece *next;
    size_t used, size;
    _Alignas(16) unsigned char bytes[];
};

static void free_pieces(struct arena_piece *piece)
{
    for (struct arena_piece *next; piece != NULL; piece = next) {
        next = piece->next;
        free(piece);
    }
}

void arena_deinit(struct arena *arena)
{
    free_pieces(arena->first);
    arena->first = NULL;
}

void arena_reset(struct arena *arena)
{
    struct arena_piece *kept = arena->first;

    if (kept == NULL)
        return;
    free_pieces(kept->next);
    kept->next = NULL;
    kept->used = 0;
    if (kept->size > PIECE_BYTES)
        arena_deinit(arena);
}

void *arena_room(struct arena *arena, size_t bytes)
{
    struct arena_piece *piece = arena->first;
    const size_t needed = (bytes + 15) / 16 * 16;

    if (piece == NULL || piece->size - piece->used < needed) {
        const size_t size = needed > PIECE_BYTES ? needed : PIECE_BYTES;

        piece = malloc(sizeof *piece + size);
        if (piece == NULL)
            return NULL;
        *piece = (struct arena_piece){.next = arena->first, .size = size};
        arena->first = piece;
    }
    piece->used += needed;
    return piece->bytes + piece->used - needed;
}
