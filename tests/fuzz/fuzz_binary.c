/* Any bytes, to the binary codec.  The first magic is put right, so that less input is wasted. */
#include "protocol/binary.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t *packets = malloc(size);
    if (packets == NULL)
        return 0;
    memcpy(packets, data, size);
    packets[0] = BINARY_REQUEST_MAGIC;
    free(fuzz_check_cuts(CODEC_BINARY, (struct slice){packets, size}));
    free(packets);
    return 0;
}
