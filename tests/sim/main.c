/* sim: the simulator's command line; options.c prints its help. */
#include "tests/sim/options.h"
#include "tests/sim/sim.h"
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What an assertion that fails has to say besides. */
static char assertion_note[128];

static void on_abort(int number)
{
    (void)number;
    if (write(STDOUT_FILENO, assertion_note, strlen(assertion_note)) < 0)
        _exit(2);
    _exit(1);
}

struct totals {
    uint64_t seeds, ms, commands, events, rounds, hash;
};

static double seconds_since(const struct timespec *start)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + 1e-9 * (double)(now.tv_nsec - start->tv_nsec);
}

/* Runs the seed once more to show what happened to the key. */
static void show_again(const struct options *options, unsigned key)
{
    struct sim *sim = malloc(sizeof *sim);
    struct options again = *options;

    if (sim == NULL)
        abort();
    again.is_tracing = true;
    again.trace_key = key;
    sim_run(sim, &again, false);
    report_print_kept(&sim->report);
    sim_deinit(sim);
    free(sim);
}

static void print_broken(const struct sim *sim, const struct options *options)
{
    const struct report *report = &sim->report;

    if (!options->is_tracing)
        show_again(options, report->broken_key);
    printf("BROKEN promise %d (%s), seed %" PRIu64 ", %" PRIu64 " ms", (int)report->broken,
           promise_text(report->broken), options->seed, sim_now(sim));
    if (report->broken_key != REPORT_ALL_KEYS)
        printf(", key %u", report->broken_key);
    printf(": %s\n", report->broken_text);
}

/* Runs one seed.  False if it broke a promise. */
static bool run_seed(const struct options *options, struct totals *totals)
{
    struct sim *sim = malloc(sizeof *sim);

    if (sim == NULL)
        abort();
    snprintf(assertion_note, sizeof assertion_note,
             "BROKEN promise 0 (an assertion of the core holds), seed %" PRIu64 "\n",
             options->seed);
    sim_run(sim, options, options->is_tracing);
    bool is_good = sim->report.broken == PROMISE_NONE;
    totals->seeds++;
    totals->ms += sim_now(sim);
    totals->commands += sim->workload.commands;
    totals->events += sim->engine.next_order;
    totals->rounds += sim->rounds;
    totals->hash = (totals->hash ^ sim->report.hash) * 0x9e3779b97f4a7c15u;
    if (!options->is_quiet || !is_good)
        printf("seed %" PRIu64 ": %u nodes, %u-%u-%u, %" PRIu64 " s, %" PRIu64 " commands (%" PRIu64
               " done, %" PRIu64 " failed, %" PRIu64 " refused, %" PRIu64
               " unknown), hash %016" PRIx64 "\n",
               options->seed, sim->options.nodes, sim->settings.copies, sim->settings.read_quorum,
               sim->settings.write_quorum, sim_now(sim) / 1000, sim->workload.commands,
               sim->workload.done, sim->workload.failed, sim->workload.refused,
               sim->workload.unknown, sim->report.hash);
    if (!is_good)
        print_broken(sim, options);
    sim_deinit(sim);
    free(sim);
    return is_good;
}

int main(int count, char **arguments)
{
    struct totals totals = {0};
    struct options options;
    struct timespec start;
    bool is_good = true;

    switch (options_parse(&options, count, arguments)) {
    case OPTIONS_RUN: break;
    case OPTIONS_HELP: return 0;
    case OPTIONS_BAD: return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGABRT, on_abort);
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (unsigned i = 0; i < options.seed_count && is_good; i++, options.seed++) {
        if (options.wall_s_max != 0 && seconds_since(&start) >= (double)options.wall_s_max)
            break;
        is_good = run_seed(&options, &totals);
    }
    double seconds = seconds_since(&start);
    double hours = (double)totals.ms / 3600000;
    printf("%" PRIu64 " seeds, %.1f hours, %" PRIu64 " rounds, %" PRIu64 " commands, %" PRIu64
           " events in %.1f s: %.1f hours a minute; hash %016" PRIx64 "\n",
           totals.seeds, hours, totals.rounds, totals.commands, totals.events, seconds,
           hours * 60 / (seconds > 0 ? seconds : 1), totals.hash);
    return is_good ? 0 : 1;
}
