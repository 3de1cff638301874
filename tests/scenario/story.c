#include "tests/scenario/story.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

unsigned story_node(const struct story *story, const char *name)
{
    char *end;
    unsigned long number;

    (void)story;
    if (name[0] != 'n' || name[1] == '\0')
        return ~0u;
    number = strtoul(name + 1, &end, 10);
    return *end == '\0' && number > 0 && number <= SIM_NODES_MAX ? (unsigned)number - 1 : ~0u;
}

unsigned story_key(const struct story *story, const char *name)
{
    for (unsigned key = 0; key < story->key_count; key++)
        if (strcmp(story->keys[key], name) == 0)
            return key;
    return ~0u;
}

bool story_time(const char *word, int64_t *ms)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    char *unit;

    *ms = strtoll(word, &unit, 10);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (unit != word && strcmp(unit, units[i].name) == 0) {
            *ms *= units[i].ms;
            return true;
        }
    }
    return false;
}

bool story_pass(struct story *story, uint64_t ms, const struct story_client *client)
{
    struct sim *sim = story->sim;
    uint64_t until_ms = sim_now(sim) + ms;
    struct engine_entry *entry;

    while ((client == NULL || client->is_waiting) && sim->report.broken == PROMISE_NONE &&
           (entry = engine_next(&sim->engine, until_ms)) != NULL)
        entry->run(sim, entry);
    if (sim->report.broken == PROMISE_NONE)
        return true;
    printf("promise %d (%s) is broken: %s\n", (int)sim->report.broken,
           promise_text(sim->report.broken), sim->report.broken_text);
    return false;
}

bool story_compare(const struct story *story, const char *is)
{
    if (!story->expects || strcmp(story->expected, is) == 0)
        return true;
    printf("it is -> %s\n", is);
    return false;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* What one sibling is called. */
static void name_sibling(const struct story *story, unsigned key, const struct sibling *sibling,
                         char out[STORY_NAME])
{
    const struct truth *truth = &story->sim->truth;
    unsigned write = truth_find(truth, key, sibling->dot);
    const char *name =
        write == TRUTH_NO_WRITE ? "?" : story->values[truth->keys[key].writes[write].operation];

    switch (sibling->kind) {
    case SIBLING_VALUE: snprintf(out, STORY_NAME, "%.28s", name); return;
    case SIBLING_STUB: snprintf(out, STORY_NAME, "(%.28s)", name); return;
    case SIBLING_TOMBSTONE: snprintf(out, STORY_NAME, "deleted"); return;
    }
}

void story_tell_cell(const struct story *story, unsigned key, const struct cell *cell, bool is_own,
                     char out[STORY_TEXT])
{
    char names[STORY_WORDS][STORY_NAME];
    unsigned count = 0;
    uint64_t sum = 0;
    size_t used = 0;

    for (unsigned i = 0; i < cell->sibling_count && count < STORY_WORDS; i++) {
        const struct sibling *sibling = &cell->siblings[i];
        if (sibling->kind == SIBLING_VALUE)
            sum += sibling->value;
        if (is_own || sibling->kind == SIBLING_VALUE)
            name_sibling(story, key, sibling, names[count++]);
    }
    if (story->sim->keys[key].policy == POLICY_COUNTER && !is_own) {
        snprintf(out, STORY_TEXT, "%llu", (unsigned long long)sum);
        return;
    }
    qsort(names, count, sizeof names[0], compare_names);
    snprintf(out, STORY_TEXT, "nothing");
    for (unsigned i = 0; i < count; i++)
        if (is_own || i == 0 || strcmp(names[i - 1], names[i]) != 0) /* equal ones: shown once */
            used += (size_t)snprintf(out + used, STORY_TEXT - used, "%s%s", i > 0 ? ", " : "",
                                     names[i]);
}

/* n1 holds cart -> milk */
static bool holds(struct story *story)
{
    unsigned node = story_node(story, story->words[0]), key = story_key(story, story->words[2]);
    char text[STORY_TEXT] = "nothing";

    if (node >= story->sim->node_count || key >= story->key_count) {
        printf("no such node or key\n");
        return false;
    }
    const struct cell *cell = store_find(&story->sim->nodes[node]->store, key);
    if (cell != NULL)
        story_tell_cell(story, key, cell, true, text);
    return story_compare(story, text);
}

/* Splits a line into its words and what it expects. */
static void split(struct story *story, const char *line)
{
    const char *arrow = strstr(line, "->");
    size_t size = arrow != NULL ? (size_t)(arrow - line) : strlen(line);

    memset(story->words, 0, sizeof story->words);
    story->word_count = 0;
    story->expects = arrow != NULL;
    if (arrow != NULL)
        snprintf(story->expected, sizeof story->expected, "%s", arrow + 2 + strspn(arrow + 2, " "));
    for (size_t at = 0; at < size && story->word_count < STORY_WORDS;) {
        size_t word = strcspn(line + at, " ");
        if (word > size - at)
            word = size - at;
        if (word > 0)
            snprintf(story->words[story->word_count++], STORY_NAME, "%.*s", (int)word, line + at);
        at += word + 1;
    }
}

bool story_step(struct story *story, const char *line)
{
    bool is_known;

    if (line[0] == '|') {
        if (story->has_begun && story_trace_find(story, line + 1 + strspn(line + 1, " ")))
            return true;
        printf("the cluster did not write that since; it wrote\n");
        if (story->has_begun)
            story_trace_print(story);
        return false;
    }
    split(story, line);
    if (story->word_count == 0)
        return true;
    if (story->has_begun)
        story_trace_begin(story);
    if (strcmp(story->words[1], "holds") == 0 && story->has_begun)
        return holds(story);
    bool is_right = story_cluster_line(story, &is_known);
    return is_known ? is_right : story_client_line(story);
}

/* Cuts off the comment and the blanks around what is left. */
static char *trim(char *line)
{
    line[strcspn(line, "#\n")] = '\0';
    for (size_t size = strlen(line); size > 0 && line[size - 1] == ' '; size--)
        line[size - 1] = '\0';
    return line + strspn(line, " ");
}

bool story_play(struct story *story, const char *path)
{
    char line[STORY_TEXT];
    unsigned number = 0;
    bool is_right = true;
    FILE *file = fopen(path, "r");

    if (file == NULL) {
        perror(path);
        return false;
    }
    story->options = (struct options){.seed = 1,
                                      .nodes = 3,
                                      .workloads = 1u << WORKLOAD_BLIND,
                                      .clients = 1,
                                      .partition_bits = 8,
                                      .is_tracing = true,
                                      .trace_key = REPORT_ALL_KEYS,
                                      .quorum = {3, 2, 2}};
    while (is_right && fgets(line, sizeof line, file) != NULL) {
        const char *text = trim(line);
        number++;
        if (story->is_showing && text[0] != '\0')
            printf("%s\n", text);
        is_right = story_step(story, text);
        if (story->is_showing && story->has_begun && text[0] != '\0' && text[0] != '|')
            story_trace_print(story);
        if (!is_right)
            printf("%s:%u: %s\n", path, number, text);
    }
    fclose(file);
    if (story->has_begun)
        sim_deinit(story->sim);
    for (unsigned i = 0; i < story->client_count; i++)
        for (unsigned key = 0; key < STORY_KEYS; key++)
            set_deinit(&story->clients[i].shown[key]);
    return is_right && story->has_begun;
}
