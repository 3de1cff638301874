/* What happens to the cluster: its beginning, links, nodes, memory. */
#include "tests/scenario/story.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define START_MS 20000 /* for nodes to find each other */

static bool complain(const char *what, const char *word)
{
    printf("%s: %s\n", what, word);
    return false;
}

/* --- before it begins --- */

/* nodes COUNT, quorum N R W, seed NUMBER */
static bool set_option(struct story *story)
{
    struct options *options = &story->options;
    const char *word = story->words[0];
    unsigned long number = strtoul(story->words[1], NULL, 10);

    if (story->has_begun)
        return complain("that has to come before begin", word);
    if (strcmp(word, "nodes") == 0) {
        options->nodes = (unsigned)number;
    } else if (strcmp(word, "seed") == 0) {
        options->seed = number;
    } else {
        options->quorum[0] = (unsigned)number;
        options->quorum[1] = (unsigned)strtoul(story->words[2], NULL, 10);
        options->quorum[2] = (unsigned)strtoul(story->words[3], NULL, 10);
    }
    return number > 0;
}

static bool name_key(struct story *story)
{
    if (story->key_count == STORY_KEYS || story->has_begun)
        return complain("no room for that key, or too late", story->words[1]);
    snprintf(story->keys[story->key_count], STORY_NAME, "%s", story->words[1]);
    for (unsigned i = 2; i < story->word_count; i++)
        memcpy(story->owners[story->key_count][i - 2], story->words[i], STORY_NAME);
    story->key_count++;
    return true;
}

/* Whether the preference list of a hash begins as the story wants it. */
static bool is_wanted(const struct story *story, unsigned key, uint64_t hash)
{
    const struct ring_table *table = story->sim->nodes[0]->table;
    node_id owners[RING_COPIES_MAX];
    unsigned count =
        ring_table_owners(table, ring_table_partition(table, hash), table->copies, owners);
    unsigned place = 0;

    for (unsigned i = 0; story->owners[key][i][0] != '\0'; i++) {
        unsigned node = story_node(story, story->owners[key][i]);
        if (node >= story->sim->node_count)
            continue;
        if (place == count || sim_index_of(owners[place++]) != node)
            return false;
    }
    return true;
}

/* Gives a key a hash of that kind. */
static bool place_key(struct story *story, unsigned key)
{
    struct random random = {key};
    uint64_t hash = 0;

    for (unsigned i = 0; story->owners[key][i][0] != '\0'; i++) {
        if (strcmp(story->owners[key][i], "lww") == 0)
            story->sim->keys[key].policy = POLICY_LAST_WINS;
        if (strcmp(story->owners[key][i], "counter") == 0)
            story->sim->keys[key].policy = POLICY_COUNTER;
    }
    for (unsigned tries = 0; tries < 1000000; tries++) {
        hash = (random_next(&random) & ~(uint64_t)0xffff) | key;
        if (is_wanted(story, key, hash)) {
            story->sim->keys[key].hash = hash;
            return true;
        }
    }
    return complain("no partition has these owners", story->keys[key]);
}

static bool begin(struct story *story)
{
    if (story->has_begun || story->key_count == 0)
        return complain("first the keys, then once", "begin");
    story->options.keys = story->key_count;
    sim_begin(story->sim, &story->options, false);
    story->sim->story = story;
    story->sim->hears = story_answer;
    story->has_begun = true;
    for (unsigned key = 0; key < story->key_count; key++)
        if (!place_key(story, key))
            return false;
    sim_order_keys(story->sim);
    return story_pass(story, START_MS, NULL);
}

/* --- links --- */

static void add_quality(struct story *story, unsigned from, unsigned to,
                        const struct network_quality *quality)
{
    struct network_quality *sum = &story->qualities[from][to];

    network_add(story->sim, from, to, quality, 1);
    sum->cuts += quality->cuts;
    sum->slow_ms += quality->slow_ms;
}

/* cut n1 n2 | n3, or cut n1 > n2 */
static bool cut(struct story *story)
{
    const struct network_quality quality = {.cuts = 1};
    unsigned bar = 0;

    for (unsigned i = 1; i < story->word_count; i++)
        if (strcmp(story->words[i], "|") == 0 || strcmp(story->words[i], ">") == 0)
            bar = i;
    if (bar == 0)
        return complain("cut needs two sides", story->words[1]);
    for (unsigned i = 1; i < bar; i++) {
        for (unsigned j = bar + 1; j < story->word_count; j++) {
            unsigned a = story_node(story, story->words[i]), b = story_node(story, story->words[j]);
            if (a >= story->sim->node_count || b >= story->sim->node_count)
                return complain("no such node", story->words[j]);
            add_quality(story, a, b, &quality);
            if (story->words[bar][0] == '|')
                add_quality(story, b, a, &quality);
        }
    }
    return true;
}

/* slow n1 > n2 300ms, or slow n1 300ms */
static bool slow(struct story *story)
{
    unsigned from = story_node(story, story->words[1]);
    bool is_all = story->word_count == 3;
    int64_t ms;

    if (!story_time(story->words[story->word_count - 1], &ms) || from >= story->sim->node_count)
        return complain("slow needs a node and a time", story->words[1]);
    const struct network_quality quality = {.slow_ms = (unsigned)ms};
    for (unsigned to = 0; to < story->sim->node_count; to++)
        if (to != from && (is_all || to == story_node(story, story->words[3])))
            add_quality(story, from, to, &quality);
    return true;
}

static void heal_link(struct story *story, unsigned from, unsigned to)
{
    network_add(story->sim, from, to, &story->qualities[from][to], -1);
    story->qualities[from][to] = (struct network_quality){0};
}

/* heal, or heal n1 n2 */
static bool heal(struct story *story)
{
    unsigned count = story->sim->node_count;

    if (story->word_count > 1) {
        unsigned a = story_node(story, story->words[1]), b = story_node(story, story->words[2]);
        if (a >= count || b >= count)
            return complain("no such nodes", story->words[1]);
        heal_link(story, a, b);
        heal_link(story, b, a);
        return true;
    }
    for (unsigned a = 0; a < count; a++)
        for (unsigned b = 0; b < count; b++)
            if (a != b)
                heal_link(story, a, b);
    return true;
}

/* --- nodes --- */

static bool crash(struct story *story, struct node *node)
{
    if (!node->is_up)
        return complain("it is not up", story->words[1]);
    node_crash(node, true);
    story_lose_clients(story, node->index);
    return true;
}

static bool set_clock(struct story *story, struct node *node)
{
    int64_t ms;

    if (!story_time(story->words[2], &ms))
        return complain("no time", story->words[2]);
    clock_set(&node->wall, sim_now(story->sim), ms, 0);
    return true;
}

static bool pause_node(struct story *story, struct node *node)
{
    int64_t ms;

    if (!story_time(story->words[2], &ms))
        return complain("no time", story->words[2]);
    node_pause(node, sim_now(story->sim) + (uint64_t)ms);
    return true;
}

/* leave n3 at n1, remove n3 at n1, weight n3 2 at n1: what an operator does at a node. */
static bool operate(struct story *story)
{
    unsigned node = story_node(story, story->words[1]);
    unsigned at = story_node(story, story->words[story->word_count - 1]);
    enum membership_answer answer = MEMBERSHIP_BAD;

    if (node >= story->sim->node_count || at >= story->sim->node_count)
        return complain("no such node", story->words[1]);
    struct node *asked = story->sim->nodes[at];
    node_id id = story->sim->nodes[node]->id;
    if (strcmp(story->words[0], "leave") == 0)
        answer = members_leave(asked, id);
    else if (strcmp(story->words[0], "remove") == 0)
        answer = members_remove(asked, id);
    else
        answer = members_set_weight(asked, id, (uint32_t)strtoul(story->words[2], NULL, 10));
    return answer == MEMBERSHIP_DONE || complain("that is refused", story->words[1]);
}

/* --- memory --- */

static bool lose_memory(struct story *story, struct node *node, bool is_whole)
{
    struct truth *truth = &story->sim->truth;
    unsigned key = story_key(story, story->words[2]);
    struct cell *cell = key < story->key_count ? store_find(&node->store, key) : NULL;

    if (cell == NULL)
        return complain("it holds no such cell", story->words[2]);
    if (is_whole) {
        truth_lose_cell(truth, node->index, key);
        node_cell_drop(node, key);
        return true;
    }
    for (unsigned i = 0; i < cell->sibling_count; i++)
        if (cell->siblings[i].kind == SIBLING_VALUE)
            truth_lose_value(truth, node->index, key, cell->siblings[i].dot);
    cell_evict(cell);
    node_cell_changed(node, key);
    return true;
}

/* hints 1: how many hints a node keeps at most */
static bool bound_hints(struct story *story)
{
    struct sim *sim = story->sim;
    uint64_t bytes_max = strtoul(story->words[1], NULL, 10) * sim->settings.hint_bytes;

    sim->settings.hints.bytes_max = bytes_max;
    for (unsigned i = 0; i < sim->node_count; i++)
        sim->nodes[i]->background.hints.options.bytes_max = bytes_max;
    return true;
}

/* --- dispatch --- */

static bool node_line(struct story *story, struct node *node, bool *is_known)
{
    const char *word = story->words[0];

    *is_known = true;
    if (strcmp(word, "crash") == 0)
        return crash(story, node);
    if (strcmp(word, "clock") == 0)
        return set_clock(story, node);
    if (strcmp(word, "pause") == 0)
        return pause_node(story, node);
    if (strcmp(word, "evict") == 0 || strcmp(word, "drop") == 0)
        return lose_memory(story, node, word[0] == 'd');
    if (strcmp(word, "start") == 0)
        node_start(node);
    else if (strcmp(word, "starve") == 0)
        node->failing_permille = 1000;
    else if (strcmp(word, "feed") == 0)
        node->failing_permille = 0;
    else
        *is_known = false;
    return true;
}

bool story_cluster_line(struct story *story, bool *is_known)
{
    const char *word = story->words[0];
    int64_t ms;

    *is_known = true;
    if (strcmp(word, "nodes") == 0 || strcmp(word, "quorum") == 0 || strcmp(word, "seed") == 0)
        return set_option(story);
    if (strcmp(word, "key") == 0)
        return name_key(story);
    if (strcmp(word, "begin") == 0)
        return begin(story);
    if (!story->has_begun)
        return complain("that has to come after begin", word);
    if (strcmp(word, "run") == 0)
        return story_time(story->words[1], &ms) ? story_pass(story, (uint64_t)ms, NULL)
                                                : complain("no time", story->words[1]);
    if (strcmp(word, "hints") == 0)
        return bound_hints(story);
    if (strcmp(word, "cut") == 0)
        return cut(story);
    if (strcmp(word, "slow") == 0)
        return slow(story);
    if (strcmp(word, "heal") == 0)
        return heal(story);
    if (strcmp(word, "leave") == 0 || strcmp(word, "remove") == 0 || strcmp(word, "weight") == 0)
        return operate(story);
    unsigned index = story_node(story, story->words[1]);
    *is_known = index < story->sim->node_count;
    return !*is_known || node_line(story, story->sim->nodes[index], is_known);
}
