/* Any bytes as a frame between peers.  What is taken must encode to the same bytes. */
#include "protocol/peer.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define FRAME_BYTES_MAX (64 * 1024)
#define CELLS           EXCHANGE_KEYS_MAX
#define SIBLINGS        1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct cell cells[CELLS];
static struct sibling siblings[SIBLINGS];
static struct peer_message message;
static unsigned char again[FRAME_BYTES_MAX];
static struct slice values[SIBLINGS];

static size_t encode_again(void)
{
    size_t used = peer_encode_head(&message, again);
    unsigned count = peer_values(&message, values, SIBLINGS);

    for (unsigned i = 0; i < count; i++) {
        memcpy(again + used, values[i].bytes, values[i].size);
        used += values[i].size;
    }
    return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct peer_room room = {
        .cells = cells, .cell_room = CELLS, .siblings = siblings, .sibling_room = SIBLINGS};
    struct slice input = {data, size};
    uint64_t frame_bytes;

    if (peer_parse(input, FRAME_BYTES_MAX, &room, &message, &frame_bytes) != PEER_PARSED)
        return 0;
    if (frame_bytes <= size && encode_again() == frame_bytes &&
        memcmp(again, data, frame_bytes) == 0)
        return 0;
    fprintf(stderr, "fuzz_peer: a %s was taken that encodes otherwise\n",
            peer_type_name(message.type));
    abort();
}
