/* The words of one meta command: the first byte chooses which, the rest stands behind it.  A good
 * command follows, which must come through whatever the first was. */
#include "tests/fuzz/fuzz.h"
#include <stdio.h>
#include <stdlib.h>

static const char *const commands[] = {"mg ", "md ", "ma ", "me ", "ms "};
#define COMMAND_COUNT (sizeof commands / sizeof *commands)
#define MS            (COMMAND_COUNT - 1) /* announces a value, which may be anything */

static void require_good_end(const char *transcript)
{
    size_t size = strlen(transcript);
    if (strstr(transcript, "CLOSE") != NULL)
        return;
    if (size < 5 || strcmp(transcript + size - 5, "NOOP\n") != 0) {
        fprintf(stderr, "the command behind it was lost:\n%s\n", transcript);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    unsigned command = data[0] % COMMAND_COUNT;
    size_t capacity = size + 32;
    char *line = malloc(capacity);
    if (line == NULL)
        return 0;
    size_t at = (size_t)snprintf(line, capacity, "%s", commands[command]);
    memcpy(line + at, data + 1, size - 1);
    at += size - 1;
    at += (size_t)snprintf(line + at, capacity - at, "\r\nmn\r\n");
    char *transcript = fuzz_check_cuts(CODEC_TEXT, (struct slice){(unsigned char *)line, at});
    if (command != MS && memchr(data, '\n', size) == NULL)
        require_good_end(transcript);
    free(transcript);
    free(line);
    return 0;
}
