/* status: the nodes of the cluster as one of them sees them; with --all, as each does. */
#include "ctl/answer.h"
#include "ctl/command.h"
#include "ctl/print.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One node that was asked for itself. */
struct asked {
    const char *name; /* in the first answer */
    bool is_known;    /* it answered: `answer` is filled */
    struct answer answer;
    double ahead_ms; /* its clock, against that of this machine */
    char error[256];
};

static double wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec * 1000 + (double)now.tv_nsec / 1e6;
}

static enum exit_code ask_status(struct wire *wire, struct answer *answer, double *ahead_ms)
{
    enum exit_code code;
    double asked_ms;

    /* A connection first, so that the time of connecting is in no measurement. */
    code = answer_get(wire, "cluster status", answer);
    if (code != EXIT_FINE)
        return code;
    answer_free(answer);
    asked_ms = wall_ms();
    code = answer_get(wire, "cluster status", answer);
    *ahead_ms = answer_number(answer, NULL, "time_ms") - (asked_ms + wall_ms()) / 2;
    return code;
}

/* --- one node's view --- */

/* What a reader has to know first: is it there, does it come or go, does it still fill up. */
static void describe_state(const struct answer *answer, const char *node, char text[64])
{
    const char *status = answer_text(answer, node, "status");
    const char *seen = answer_text(answer, node, "seen");
    double warming = answer_number(answer, node, "warming");
    bool is_here = strcmp(seen, "up") == 0 || strcmp(seen, "self") == 0;

    if (!is_here && strcmp(status, "up") == 0)
        snprintf(text, 64, "%s", seen);
    else if (!is_here)
        snprintf(text, 64, "%s, %s", status, seen);
    else if (warming > 0 && strcmp(status, "up") == 0)
        snprintf(text, 64, "warming %.0f", warming);
    else
        snprintf(text, 64, "%s", status);
}

static void print_head(const struct answer *answer)
{
    printf("%s nodes, seen by %s: table %s by %s, %s partitions, copies %s, read quorum %s, "
           "write quorum %s\n",
           answer_text(answer, NULL, "members"), answer_text(answer, NULL, "node"),
           answer_text(answer, NULL, "epoch"), answer_text(answer, NULL, "claimant"),
           answer_text(answer, NULL, "partitions"), answer_text(answer, NULL, "copies"),
           answer_text(answer, NULL, "read_quorum"), answer_text(answer, NULL, "write_quorum"));
    if (!answer_is(answer, NULL, "has_majority"))
        puts("no majority of the nodes is reachable: nothing can be planned without --force");
    if (!answer_is(answer, NULL, "is_settled"))
        puts("partitions are being moved");
}

static void node_cells(struct table *table, const struct answer *answer, const char *node)
{
    double partitions = answer_number(answer, NULL, "partitions");
    char state[64];

    describe_state(answer, node, state);
    table_cell(table, "%s", node);
    table_cell(table, "%s", answer_text(answer, node, "address"));
    table_cell(table, "%s", answer_text(answer, node, "zone"));
    table_cell(table, "%s", state);
    table_cell(table, "%s", answer_text(answer, node, "weight"));
    table_cell(table, "%.1f %%",
               partitions == 0 ? 0 : 100 * answer_number(answer, node, "owned") / partitions);
}

static void own_cells(struct table *table, const struct answer *own)
{
    char used[AMOUNT_BYTES], most[AMOUNT_BYTES];

    table_cell(table, "%s of %s", print_amount(answer_number(own, NULL, "memory_bytes"), used),
               print_amount(answer_number(own, NULL, "memory_limit_bytes"), most));
    table_cell(table, "%s", answer_text(own, NULL, "hints"));
    table_cell(table, "%s", answer_text(own, NULL, "divergent"));
}

/* How far those are who fill up; one that is down does not. */
static void print_warming(const struct answer *answer, const char *const *nodes, unsigned count)
{
    char bar[BAR_CELLS + 1];

    for (unsigned i = 0; i < count; i++) {
        double owned = answer_number(answer, nodes[i], "owned");
        double warming = answer_number(answer, nodes[i], "warming");
        double fraction = owned <= 0 || warming > owned ? 0 : 1 - warming / owned;

        if (warming > 0 && strcmp(answer_text(answer, nodes[i], "seen"), "down") != 0)
            printf("%s fills up [%s] %3.0f %%, %.0f of its %.0f partitions to go\n", nodes[i],
                   bar_cells(fraction, bar), 100 * fraction, warming, owned);
    }
}

static void print_view(const struct answer *answer)
{
    static const char *const head[] = {"node",   "clients at",  "zone",   "state",      ">weight",
                                       ">owned", ">round trip", ">ahead", ">hints here"};
    const char *nodes[ANSWER_NODES_MAX];
    unsigned count = answer_nodes(answer, nodes, ANSWER_NODES_MAX);
    struct table *table = malloc(sizeof *table);
    char used[AMOUNT_BYTES], most[AMOUNT_BYTES];

    if (table == NULL)
        abort();
    print_head(answer);
    table_init(table, sizeof head / sizeof *head, head);
    for (unsigned i = 0; i < count; i++) {
        node_cells(table, answer, nodes[i]);
        table_cell(table, "%.1f ms", answer_number(answer, nodes[i], "round_trip_us") / 1000);
        table_cell(table, "%s ms", answer_text(answer, nodes[i], "ahead_ms"));
        table_cell(table, "%s", answer_text(answer, nodes[i], "hints"));
    }
    table_print(table);
    free(table);
    print_warming(answer, nodes, count);
    printf("%s itself: memory %s of %s, hints %s, partitions warming %s, divergent %s\n",
           answer_text(answer, NULL, "node"),
           print_amount(answer_number(answer, NULL, "memory_bytes"), used),
           print_amount(answer_number(answer, NULL, "memory_limit_bytes"), most),
           answer_text(answer, NULL, "hints"), answer_text(answer, NULL, "warming"),
           answer_text(answer, NULL, "divergent"));
}

/* --- every node's --- */

static void ask_one(const struct options *options, const struct answer *first, struct asked *asked)
{
    const char *address = answer_find(first, asked->name, "address");
    struct wire wire;

    if (address == NULL || strcmp(address, "-") == 0) {
        strcpy(asked->error, "it told nobody where it takes clients");
        return;
    }
    wire_init(&wire, address, options->login, (unsigned)(options->timeout_s * 1000));
    asked->is_known = ask_status(&wire, &asked->answer, &asked->ahead_ms) == EXIT_FINE;
    if (!asked->is_known)
        snprintf(asked->error, sizeof asked->error, "%.255s", wire.error);
    wire_deinit(&wire);
}

static void print_opinions(const struct asked *asked, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (!asked[i].is_known) {
            printf("%s could not be asked: %s\n", asked[i].name, asked[i].error);
            continue;
        }
        for (unsigned k = 0; k < count; k++) {
            const char *seen = answer_text(&asked[i].answer, asked[k].name, "seen");

            if (k != i && strcmp(seen, "up") != 0)
                printf("%s sees %s: %s\n", asked[i].name, asked[k].name,
                       strcmp(seen, "-") == 0 ? "no member" : seen);
        }
    }
}

static bool is_unlike(const struct answer *one, const struct answer *other, const char *name)
{
    return strcmp(answer_text(one, NULL, name), answer_text(other, NULL, name)) != 0;
}

static void print_tables(const struct asked *asked, unsigned count)
{
    const struct answer *first = NULL;

    for (unsigned i = 0; i < count; i++) {
        if (!asked[i].is_known)
            continue;
        if (first == NULL)
            first = &asked[i].answer;
        else if (is_unlike(first, &asked[i].answer, "epoch") ||
                 is_unlike(first, &asked[i].answer, "claimant"))
            printf("%s uses another table: %s by %s\n", asked[i].name,
                   answer_text(&asked[i].answer, NULL, "epoch"),
                   answer_text(&asked[i].answer, NULL, "claimant"));
    }
}

static void print_all(const struct answer *first, const struct asked *asked, unsigned count)
{
    static const char *const head[] = {"node",   "clients at", "zone",   "state",      ">weight",
                                       ">owned", ">memory",    ">hints", ">divergent", ">ahead"};
    struct table *table = malloc(sizeof *table);
    double reference = 0;

    if (table == NULL)
        abort();
    for (unsigned i = 0; i < count; i++)
        if (strcmp(answer_text(first, asked[i].name, "seen"), "self") == 0)
            reference = asked[i].ahead_ms;
    print_head(first);
    table_init(table, sizeof head / sizeof *head, head);
    for (unsigned i = 0; i < count; i++) {
        node_cells(table, asked[i].is_known ? &asked[i].answer : first, asked[i].name);
        if (asked[i].is_known)
            own_cells(table, &asked[i].answer);
        for (unsigned k = 0; k < 3 && !asked[i].is_known; k++)
            table_cell(table, "-");
        if (asked[i].is_known)
            table_cell(table, "%.1f ms", asked[i].ahead_ms - reference);
        else
            table_cell(table, "-");
    }
    table_print(table);
    free(table);
    print_opinions(asked, count);
    print_tables(asked, count);
}

static json_t *all_to_json(const struct asked *asked, unsigned count)
{
    json_t *all = json_object();

    for (unsigned i = 0; i < count; i++) {
        json_t *one = asked[i].is_known ? answer_to_json(&asked[i].answer)
                                        : json_pack("{s:s}", "error", asked[i].error);

        if (asked[i].is_known)
            json_object_set_new(one, "clock_ahead_ms", json_real(asked[i].ahead_ms));
        json_object_set_new(all, asked[i].name, one);
    }
    return all;
}

static void show_all(const struct options *options, const struct answer *first)
{
    const char *nodes[ANSWER_NODES_MAX];
    unsigned count = answer_nodes(first, nodes, ANSWER_NODES_MAX);
    struct asked *asked = calloc(count + 1, sizeof *asked);
    struct bar bar;

    if (asked == NULL)
        abort();
    bar_start(&bar, "asking");
    for (unsigned i = 0; i < count; i++) {
        asked[i].name = nodes[i];
        bar_show(&bar, (double)i / count, nodes[i]);
        ask_one(options, first, &asked[i]);
    }
    bar_end(&bar);
    if (options->as_json)
        print_json(all_to_json(asked, count));
    else
        print_all(first, asked, count);
    for (unsigned i = 0; i < count; i++)
        answer_free(&asked[i].answer);
    free(asked);
}

enum exit_code command_status(const struct options *options, struct wire *wire, int count,
                              char **words)
{
    const char *nodes[ANSWER_NODES_MAX];
    struct answer answer;
    enum exit_code code = answer_get(wire, "cluster status", &answer);
    unsigned node_count = answer_nodes(&answer, nodes, ANSWER_NODES_MAX);

    (void)count;
    (void)words;
    if (code == EXIT_FINE && options->names)
        for (unsigned i = 0; i < node_count; i++)
            puts(nodes[i]);
    else if (code == EXIT_FINE && options->all)
        show_all(options, &answer);
    else if (code == EXIT_FINE && options->as_json)
        print_json(answer_to_json(&answer));
    else if (code == EXIT_FINE)
        print_view(&answer);
    answer_free(&answer);
    return code;
}
