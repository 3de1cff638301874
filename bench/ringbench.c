/* ringbench: loads a memcached server and measures it. This file runs the phases. */

#include "bench/address.h"
#include "bench/options.h"
#include "bench/report.h"
#include "bench/worker.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct run {
    struct options options;
    struct worker **workers;
    struct tally *tally; /* of the latest phase */
    struct report report;
    int *idle; /* sockets */
    uint64_t idle_open;
};

struct job {
    struct worker *worker;
    const struct phase *phase;
    const struct tally *tally;
    pthread_t thread;
};

static void *job_main(void *context)
{
    struct job *job = context;
    job->tally = worker_run(job->worker, job->phase);
    return NULL;
}

/* Runs a phase in all workers and sums up what they saw. False if a thread did not start. */
static bool run_phase(struct run *run, const struct phase *phase)
{
    const uint64_t threads = run->options.threads;
    uint64_t started = 0;
    struct job *jobs = calloc(threads, sizeof *jobs);
    if (jobs == NULL)
        return false;
    for (; started < threads; started++) {
        struct job *job = &jobs[started];
        *job = (struct job){.worker = run->workers[started], .phase = phase};
        const int error = pthread_create(&job->thread, NULL, job_main, job);
        if (error != 0) {
            fprintf(stderr, "ringbench: cannot start a thread: %s\n", strerror(error));
            break;
        }
    }
    memset(run->tally, 0, sizeof *run->tally);
    for (uint64_t i = 0; i < started; i++) {
        pthread_join(jobs[i].thread, NULL);
        tally_merge(run->tally, jobs[i].tally);
    }
    free(jobs);
    return started == threads;
}

/* Runs a phase of which only failures matter. */
static bool run_unmeasured(struct run *run, struct phase phase)
{
    phase.start_ns = clock_now_ns();
    if (!run_phase(run, &phase))
        return false;
    if (tally_is_clean(run->tally, run->options.allows_refusals))
        return true;
    fprintf(stderr, "ringbench: failed before measuring: %s\n", run->tally->first_failure);
    return false;
}

static bool read_usage(const struct run *run, struct server_usage *usage)
{
    const struct options *options = &run->options;

    *usage = (struct server_usage){0};
    for (unsigned i = 0; i < options->server_pid_count; i++)
        if (!server_usage_add(usage, options->server_pids[i]))
            return false;
    return true;
}

static bool run_measured(struct run *run, struct phase phase)
{
    struct report *report = &run->report;
    report->has_usage = run->options.server_pid_count != 0;
    if (!read_usage(run, &report->before))
        return false;
    phase.start_ns = clock_now_ns();
    if (!run_phase(run, &phase))
        return false;
    if (!read_usage(run, &report->after))
        return false;
    if (run->tally->last_reply_ns > phase.start_ns)
        report->elapsed_s = (double)(run->tally->last_reply_ns - phase.start_ns) * 1e-9;
    return true;
}

static struct phase timed_phase(double seconds, uint64_t requests)
{
    if (requests > 0)
        return (struct phase){.requests = requests};
    return (struct phase){.duration_ns = (uint64_t)(seconds * 1e9)};
}

static bool run_phases(struct run *run)
{
    const struct options *options = &run->options;
    const struct phase preload = {.is_preload = true};
    if (options->is_preload_only)
        return run_measured(run, preload);
    if (options->preloads && !run_unmeasured(run, preload))
        return false;
    if (options->warmup_s > 0 || options->warmup_requests > 0) {
        if (!run_unmeasured(run, timed_phase(options->warmup_s, options->warmup_requests)))
            return false;
    }
    return run_measured(run, timed_phase(options->duration_s, options->requests));
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static bool open_idle(struct run *run)
{
    run->idle = calloc(run->options.idle + 1, sizeof *run->idle);
    if (run->idle == NULL)
        return false;
    for (; run->idle_open < run->options.idle; run->idle_open++) {
        const int fd =
            address_connect(&run->options.servers[run->idle_open % run->options.server_count]);
        if (fd < 0) {
            fprintf(stderr, "ringbench: only %llu of %llu idle connections\n",
                    (unsigned long long)run->idle_open, (unsigned long long)run->options.idle);
            return false;
        }
        run->idle[run->idle_open] = fd;
    }
    return true;
}

/* An idle connection that the server closed would make the measurement one of something else. */
static void close_idle(struct run *run)
{
    uint64_t closed = 0;
    char byte;
    for (uint64_t i = 0; i < run->idle_open; i++) {
        const ssize_t size = recv(run->idle[i], &byte, 1, MSG_DONTWAIT);
        closed += size >= 0 || errno != EAGAIN;
        close(run->idle[i]);
    }
    if (closed > 0)
        tally_fail(run->tally, FAILURE_BROKEN, closed, SLICE("an idle connection was closed"));
    free(run->idle);
}

static bool open_workers(struct run *run)
{
    run->tally = calloc(1, sizeof *run->tally);
    run->workers = calloc(run->options.threads, sizeof(struct worker *));
    if (run->tally == NULL || run->workers == NULL)
        return false;
    for (unsigned i = 0; i < run->options.threads; i++) {
        run->workers[i] = worker_new(&run->options, i);
        if (run->workers[i] == NULL)
            return false;
    }
    return true;
}

static void close_workers(struct run *run)
{
    for (unsigned i = 0; run->workers != NULL && i < run->options.threads; i++)
        if (run->workers[i] != NULL)
            worker_free(run->workers[i]);
    free(run->workers);
}

int main(int argc, char **argv)
{
    struct run run = {0};
    bool is_clean = false;
    switch (options_parse(&run.options, argc, argv)) {
    case OPTIONS_RUN: break;
    case OPTIONS_SHOWN: return EXIT_SUCCESS;
    case OPTIONS_WRONG: return EXIT_USAGE;
    }
    raise_descriptor_limit();
    const bool is_measured = open_workers(&run) && open_idle(&run) && run_phases(&run);
    if (run.tally != NULL)
        close_idle(&run);
    if (is_measured) {
        is_clean = tally_is_clean(run.tally, run.options.allows_refusals);
        run.report.options = &run.options;
        run.report.tally = run.tally;
        if (run.options.is_json)
            report_print_json(&run.report);
        else
            report_print_text(&run.report);
    }
    close_workers(&run);
    free(run.tally);
    keyspace_deinit(&run.options.keyspace);
    return is_clean ? EXIT_SUCCESS : EXIT_FAILED;
}
