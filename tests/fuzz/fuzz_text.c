/* Any bytes, to the text codec. */
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    free(fuzz_check_cuts(CODEC_TEXT, (struct slice){data, size}));
    return 0;
}
