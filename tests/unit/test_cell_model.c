/* ring/cell.c does what the model does: cases written out from it are repeated here, and after
 * every operation the cells have to be the same.  tests/model/make_cases.py says what a line
 * means. */
#include "ring/cell.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define CELLS    3
#define CLIENTS  2
#define SIBLINGS 64
#define TEXT     2048

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
    }
}

static struct sibling value_of(const unsigned numbers[5])
{
    struct dot dot = {numbers[1], numbers[2]};

    return sibling_of_value(dot, 0, 0, 1, numbers[3], numbers[3]);
}

/* Repeats one operation and writes down what it left. */
static void repeat(struct world *world, const char *line, char out[TEXT])
{
    char verb[16];
    unsigned numbers[5] = {0};

    assert_true(sscanf(line, "%15s %u %u %u %u %u", verb, &numbers[0], &numbers[1], &numbers[2],
                       &numbers[3], &numbers[4]) >= 2);
    struct cell *cell = &world->cells[numbers[0]];
    if (strcmp(verb, "show") == 0) {
        assert_int_equal(cell_shown(cell, &world->clients[numbers[1]]), 0);
        write_context(out, TEXT, &world->clients[numbers[1]]);
        return;
    }
    if (strcmp(verb, "cover") == 0) {
        snprintf(out, TEXT, "%d", cell_covers(cell, (struct dot){numbers[1], numbers[2]}));
        return;
    }
    if (strcmp(verb, "blind") == 0) {
        struct sibling value = value_of(numbers);
        assert_int_equal(cell_put_blind(cell, &value), CELL_PUT_DONE);
    } else if (strcmp(verb, "lww") == 0) {
        struct sibling value = value_of(numbers);
        assert_int_equal(cell_put_last_write_wins(cell, &value), CELL_PUT_DONE);
    } else if (strcmp(verb, "put") == 0) {
        struct sibling value = value_of(numbers);
        assert_int_equal(cell_put_context(cell, &value, &world->clients[numbers[4]]),
                         CELL_PUT_DONE);
    } else if (strcmp(verb, "merge") == 0) {
        cell_merge(cell, &world->cells[numbers[1]]);
    } else if (strcmp(verb, "evict") == 0) {
        cell_evict(cell);
    } else {
        assert_string_equal(verb, "forget");
        cell_init(cell, world->siblings[numbers[0]], SIBLINGS);
    }
    write_state(out, TEXT, cell);
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
    assert_true(cases >= 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_ends_like_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
