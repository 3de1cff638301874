/* scenario: plays stories.  usage: scenario [--show] FILE...   (--show: with all trace lines) */
#include "tests/scenario/story.h"
#include <stdio.h>
#include <stdlib.h>

int main(int count, char **arguments)
{
    bool is_showing = count > 1 && strcmp(arguments[1], "--show") == 0;
    unsigned passed = 0, failed = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = is_showing ? 2 : 1; i < count; i++) {
        struct story *story = calloc(1, sizeof *story);
        if (story == NULL || (story->sim = calloc(1, sizeof *story->sim)) == NULL)
            abort();
        story->is_showing = is_showing;
        if (story_play(story, arguments[i])) {
            passed++;
        } else {
            failed++;
            printf("FAILED: %s\n", arguments[i]);
        }
        free(story->sim);
        free(story);
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}
