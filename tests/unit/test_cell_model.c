/* ring/cell.c does what the model does: cases written out from it are repeated here, and after
 * every operation the cells have to be the same.  tests/model/make_cases.py says what a line
 * means. */
#include "ring/cell.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define CELLS    3
#define CLIENTS  2
#define SIBLINGS 64
#define TEXT     2048
#define WORDS    8

static const char *const lines[] = {
#include "tests/unit/cell_model_cases.h"
};
#define LINE_COUNT (sizeof lines / sizeof lines[0])

struct world {
    struct cell cells[CELLS];
    struct sibling siblings[CELLS][SIBLINGS];
    struct context clients[CLIENTS];
};

static void start_anew(struct world *world)
{
    for (unsigned i = 0; i < CELLS; i++)
        cell_init(&world->cells[i], world->siblings[i], SIBLINGS);
    for (unsigned i = 0; i < CLIENTS; i++)
        context_clear(&world->clients[i]);
}

static int write_context(char *out, size_t room, const struct context *context)
{
    int used = 0;

    if (context->count == 0)
        return snprintf(out, room, "none");
    for (unsigned i = 0; i < context->count; i++) {
        const struct interval *interval = &context->intervals[i];
        char node[24] = "*";
        if (interval->node != NODE_ANY)
            snprintf(node, sizeof node, "%llu", (unsigned long long)interval->node);
        used += snprintf(out + used, room - (size_t)used, "%s%s:%llu-%llu", i > 0 ? "," : "", node,
                         (unsigned long long)interval->first, (unsigned long long)interval->last);
    }
    return used;
}

static void write_state(char *out, size_t room, const struct cell *cell)
{
    int used = snprintf(out, room, "%s ", cell->is_live ? "l" : "-");

    used += write_context(out + used, room - (size_t)used, &cell->context);
    if (cell->sibling_count == 0)
        snprintf(out + used, room - (size_t)used, " none");
    for (unsigned i = 0; i < cell->sibling_count; i++) {
        const struct sibling *sibling = &cell->siblings[i];
        used +=
            snprintf(out + used, room - (size_t)used, "%s%llu.%llu=", i > 0 ? "," : " ",
                     (unsigned long long)sibling->dot.node, (unsigned long long)sibling->dot.hlc);
        if (sibling->kind == SIBLING_VALUE)
            used += snprintf(out + used, room - (size_t)used, "%llu",
                             (unsigned long long)sibling->value);
        else if (sibling->kind == SIBLING_TOMBSTONE)
            used += snprintf(out + used, room - (size_t)used, "x");
        used += snprintf(out + used, room - (size_t)used, "/%llu/%llu.%llu.%d",
                         (unsigned long long)sibling->reg.expires_ms,
                         (unsigned long long)sibling->reg.hlc,
                         (unsigned long long)sibling->reg.explicit_cas, sibling->reg.is_stale);
    }
}

/* The words of a line up to its bar. */
struct words {
    unsigned count;
    char text[WORDS][16];
};

static unsigned number(const struct words *words, unsigned i)
{
    assert_in_range(i, 0, words->count - 1);
    return (unsigned)strtoul(words->text[i], NULL, 10);
}

static struct words split(const char *line)
{
    struct words words = {0};

    for (int used = 0; words.count < WORDS; line += used, words.count++)
        if (sscanf(line, "%15s%n", words.text[words.count], &used) != 1 ||
            strcmp(words.text[words.count], "|") == 0)
            break;
    return words;
}

static struct sibling written(const struct words *words)
{
    struct dot dot = {number(words, 2), number(words, 3)};

    if (strcmp(words->text[4], "x") == 0)
        return sibling_of_tombstone(dot);
    return sibling_of_value(dot, 0, 0, 1, number(words, 4), number(words, 4));
}

/* Repeats a write.  False if the line is none. */
static bool repeat_write(struct world *world, const struct words *words, char out[TEXT])
{
    static const char *const verbs[] = {"blind", "lww", "put", "again"};
    struct cell *cell = &world->cells[number(words, 1)];
    enum cell_put put = CELL_PUT_DONE;
    unsigned verb = 0;

    while (verb < 4 && strcmp(words->text[0], verbs[verb]) != 0)
        verb++;
    if (verb == 4)
        return false;
    struct sibling write = written(words);
    switch (verb) {
    case 0: put = cell_put_blind(cell, &write); break;
    case 1: put = cell_put_last_write_wins(cell, &write); break;
    case 2: put = cell_put_context(cell, &write, &world->clients[number(words, 5)]); break;
    case 3:
        put = cell_put_again(cell, &write, (struct dot){write.dot.node, number(words, 5)});
        break;
    }
    if (put == CELL_PUT_COVERED)
        snprintf(out, TEXT, "late");
    else
        write_state(out, TEXT, cell);
    return true;
}

/* Repeats what changes a cell without being a write.  False if the line does not. */
static bool repeat_change(struct world *world, const struct words *words, char out[TEXT])
{
    const char *verb = words->text[0];
    struct cell *cell = &world->cells[number(words, 1)];

    if (strcmp(verb, "merge") == 0)
        cell_merge(cell, &world->cells[number(words, 2)]);
    else if (strcmp(verb, "evict") == 0)
        cell_evict(cell);
    else if (strcmp(verb, "drop") == 0)
        cell_init(cell, cell->siblings, SIBLINGS);
    else if (strcmp(verb, "expire") == 0)
        cell_expire(cell, number(words, 2));
    else if (strcmp(verb, "flush") == 0)
        cell_flush(cell, number(words, 2));
    else if (strcmp(verb, "forget") == 0)
        cell_forget(cell, cell_find(cell, (struct dot){number(words, 2), number(words, 3)}));
    else if (strcmp(verb, "touch") == 0)
        sibling_set_register(cell_find(cell, (struct dot){number(words, 2), number(words, 3)}),
                             &(struct sibling_register){.hlc = number(words, 4),
                                                        .expires_ms = number(words, 5),
                                                        .explicit_cas = number(words, 6),
                                                        .is_stale = number(words, 7) != 0});
    else
        return false;
    write_state(out, TEXT, cell);
    return true;
}

/* Repeats one operation and writes down what it left. */
static void repeat(struct world *world, const char *line, char out[TEXT])
{
    struct words words = split(line);
    const char *verb = words.text[0];

    if (strcmp(verb, "fold") == 0) {
        struct context *client = &world->clients[number(&words, 1)];
        context_fold(client, number(&words, 2));
        write_context(out, TEXT, client);
        return;
    }
    struct cell *cell = &world->cells[number(&words, 1)];
    if (repeat_write(world, &words, out) || repeat_change(world, &words, out))
        return;
    if (strcmp(verb, "show") == 0) {
        struct context *client = &world->clients[number(&words, 2)];
        assert_int_equal(cell_shown(cell, client), 0);
        write_context(out, TEXT, client);
    } else if (strcmp(verb, "cover") == 0) {
        snprintf(out, TEXT, "%d",
                 cell_covers(cell, (struct dot){number(&words, 2), number(&words, 3)}));
    } else {
        assert_string_equal(verb, "reap");
        snprintf(out, TEXT, "%d", cell_is_reapable(cell, number(&words, 2)));
    }
}

static void every_case_ends_like_the_model(void **state)
{
    static struct world world;
    unsigned cases = 0;

    (void)state;
    for (size_t i = 0; i < LINE_COUNT; i++) {
        char got[TEXT];
        if (strncmp(lines[i], "case ", 5) == 0) {
            start_anew(&world);
            cases++;
            continue;
        }
        const char *bar = strstr(lines[i], " | ");
        assert_non_null(bar);
        repeat(&world, lines[i], got);
        if (strcmp(got, bar + 3) != 0)
            print_message("case %u: %s\n     here: %s\n", cases - 1, lines[i], got);
        assert_string_equal(got, bar + 3);
    }
    assert_true(cases >= 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_ends_like_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
