/* Plays the caller of a codec: reads arrive in pieces, what was not consumed is kept, values that
 * are not there yet are read on.  Gives a transcript of the operations that came out, and checks
 * on the way what holds for any input:
 *
 *   - no more is consumed than there was; memory outside the input is never touched (each read is
 *     an allocation of its own, for AddressSanitizer);
 *   - every slice of an operation lies in the input or in the storage that the caller gave;
 *   - input of PARSER_INPUT_BYTES_MAX always makes progress;
 *   - answers stay within their bounds.
 *
 * The unit tests compare transcripts with what is expected, the fuzzers those of one input cut in
 * different ways. */
#ifndef TESTS_FUZZ_CODEC_REPLAY_H
#define TESTS_FUZZ_CODEC_REPLAY_H

#include "protocol/parser.h"

enum codec {
    CODEC_TEXT, /* and meta */
    CODEC_BINARY,
};

/* Where the input is cut: `count` offsets, ascending. */
struct cuts {
    const size_t *offsets;
    size_t count;
};

/* Gives a transcript, a string to free.  A line per operation:
 *
 *     STORE set key flags=1 exptime=2 value=abc +exptime
 *
 * and at the end "left N" if N bytes were not consumed, "value N" if a value lacks N bytes. */
char *codec_replay(enum codec, struct slice input, struct cuts);

#endif
