#include "tests/scenario/story.h"
#include <stdio.h>

void story_trace_begin(struct story *story)
{
    story->trace_from = story->trace_next = story->sim->report.line_count;
}

/* A kept line as stories have it, without its time: `n1 cart: text`. */
static void tell(const struct story *story, uint64_t number, char out[STORY_TEXT])
{
    const char *line = story->sim->report.lines[number % REPORT_LINES];
    char node[16] = "", key[16] = "";
    const char *name = key;
    int used = 0;
    unsigned index;

    if (sscanf(line, "%*s %15s %15s %n", node, key, &used) < 2)
        used = 0;
    if (sscanf(key, "k%u", &index) == 1 && index < story->key_count)
        name = story->keys[index];
    snprintf(out, STORY_TEXT, "%s%s%s: %s", node, name[0] == '-' ? "" : " ",
             name[0] == '-' ? "" : name, line + used);
}

/* The oldest line since the beginning that is still kept. */
static uint64_t first_kept(const struct story *story, uint64_t from)
{
    uint64_t count = story->sim->report.line_count;
    uint64_t oldest = count > REPORT_LINES ? count - REPORT_LINES : 0;

    return from > oldest ? from : oldest;
}

bool story_trace_find(struct story *story, const char *line)
{
    uint64_t count = story->sim->report.line_count;

    for (uint64_t i = first_kept(story, story->trace_next); i < count; i++) {
        char text[STORY_TEXT];
        tell(story, i, text);
        if (strcmp(text, line) == 0) {
            story->trace_next = i + 1;
            return true;
        }
    }
    return false;
}

void story_trace_print(struct story *story)
{
    uint64_t count = story->sim->report.line_count;

    for (uint64_t i = first_kept(story, story->trace_from); i < count; i++) {
        char text[STORY_TEXT];
        tell(story, i, text);
        printf("    %.12s  | %s\n", story->sim->report.lines[i % REPORT_LINES], text);
    }
}
