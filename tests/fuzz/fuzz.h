/* What the fuzz targets share.
 *
 * A target is a function of bytes.  With clang and --enable-fuzz, libFuzzer feeds it; elsewhere
 * fuzz_main.c replays the kept corpus through it. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "tests/fuzz/codec_replay.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Aborts unless the input gives the same operations however it is cut.  Gives the transcript. */
char *fuzz_check_cuts(enum codec, struct slice input);

#endif
