#include "tests/sim/report.h"
#include "tests/sim/clock.h"
#include "tests/sim/sim.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const promise_texts[PROMISES] = {
    [PROMISE_NONE] = "nothing is broken",
    [PROMISE_NOT_LOST] = "no acknowledged write is lost",
    [PROMISE_STAYS_SUPERSEDED] = "what was superseded stays superseded",
    [PROMISE_SAME_CELL] = "all owners hold the same cell, and nobody else a copy",
    [PROMISE_HINTS_DRAINED] = "hints are drained, none dropped unannounced",
    [PROMISE_ONE_TABLE] = "one table and one membership everywhere, as claim wants them",
    [PROMISE_BOUNDED] = "contexts, siblings, queues and hints are bounded",
    [PROMISE_ANSWERED_ONCE] =
        "every request is answered once, in time, without waiting for the dead",
    [PROMISE_READS_LAST_WRITE] =
        "without faults a read sees the last write, and cas and incr behave",
    [PROMISE_IDLE_IS_SILENT] = "an idle settled cluster sends only heartbeats",
    [PROMISE_AVAILABLE] = "with W or R nodes reachable, writes or reads succeed",
};

const char *promise_text(enum promise promise)
{
    return promise_texts[promise];
}

void report_init(struct report *report, bool is_tracing, bool is_printing, unsigned trace_key)
{
    *report = (struct report){
        .is_tracing = is_tracing, .is_printing = is_printing, .trace_key = trace_key};
    if (is_tracing && !is_printing) {
        report->lines = calloc(REPORT_LINES, sizeof report->lines[0]);
        if (report->lines == NULL)
            abort();
    }
}

void report_deinit(struct report *report)
{
    free(report->lines);
}

void report_event(struct report *report, uint64_t what, uint64_t a, uint64_t b)
{
    uint64_t hash = report->hash;

    hash = (hash ^ what) * 0x9e3779b97f4a7c15u;
    hash = (hash ^ (hash >> 29) ^ a) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ (hash >> 32) ^ b) * 0x94d049bb133111ebu;
    report->hash = hash ^ (hash >> 31);
}

static void put_line(struct report *report, const char *line)
{
    if (report->is_printing) {
        puts(line);
        return;
    }
    char *kept = report->lines[report->line_count++ % REPORT_LINES];
    snprintf(kept, REPORT_LINE_ROOM, "%s", line);
}

/* Writes what stands before each line, and returns how many bytes. */
static int put_head(struct sim *sim, int node, unsigned key, char *line, size_t room)
{
    uint64_t ms = sim->engine.now_ms;
    char who[16] = "-", what[16] = "-";

    if (node >= 0)
        snprintf(who, sizeof who, "n%d", node + 1);
    if (key != REPORT_ALL_KEYS)
        snprintf(what, sizeof what, "k%u", key);
    return snprintf(line, room, "%02u:%02u:%02u.%03u %-4s %-4s ", (unsigned)(ms / 3600000),
                    (unsigned)(ms / 60000 % 60), (unsigned)(ms / 1000 % 60), (unsigned)(ms % 1000),
                    who, what);
}

void report_line(struct sim *sim, int node, unsigned key, const char *format, ...)
{
    char line[REPORT_LINE_ROOM];
    va_list arguments;

    if (!report_wants(&sim->report, key))
        return;
    int head = put_head(sim, node, key, line, sizeof line);
    va_start(arguments, format);
    vsnprintf(line + head, sizeof line - (size_t)head, format, arguments);
    va_end(arguments);
    put_line(&sim->report, line);
}

void report_lines(struct sim *sim, int node, unsigned key, const char *text)
{
    for (const char *end; (end = strchr(text, '\n')) != NULL; text = end + 1)
        report_line(sim, node, key, "  %.*s", (int)(end - text), text);
}

/* A time of the clocks, as milliseconds since the start of the run. */
static int put_hlc(char *text, size_t room, hlc_time hlc)
{
    int64_t ms = (int64_t)hlc_ms(hlc) - (int64_t)CLOCK_START_MS;

    if (hlc == 0)
        return snprintf(text, room, "0");
    return snprintf(text, room, "%" PRId64 ".%u", ms, hlc_count(hlc));
}

static size_t put_node(char *text, size_t room, node_id node)
{
    int bytes = node == NODE_ANY ? snprintf(text, room, " any:")
                                 : snprintf(text, room, " %" PRIu64 ":", node);

    return (size_t)bytes < room ? (size_t)bytes : room;
}

void report_cell(struct sim *sim, int node, unsigned key, const char *what, const struct cell *cell)
{
    char text[REPORT_LINE_ROOM];
    size_t used = 0;

    if (!report_wants(&sim->report, key))
        return;
    text[0] = '\0';
    for (unsigned i = 0; i < cell->sibling_count && used < sizeof text - 64; i++) {
        const struct sibling *sibling = &cell->siblings[i];
        used += (size_t)snprintf(text + used, sizeof text - used, " %s%d",
                                 sibling->kind == SIBLING_VALUE       ? "w"
                                 : sibling->kind == SIBLING_TOMBSTONE ? "x"
                                                                      : "stub",
                                 (int)truth_find(&sim->truth, key, sibling->dot));
    }
    used += (size_t)snprintf(text + used, sizeof text - used, " |");
    for (unsigned i = 0; i < cell->context.count && used < sizeof text - 96; i++) {
        const struct interval *interval = &cell->context.intervals[i];
        used += put_node(text + used, sizeof text - used, interval->node);
        used += (size_t)put_hlc(text + used, sizeof text - used, interval->first);
        used += (size_t)snprintf(text + used, sizeof text - used, "..");
        used += (size_t)put_hlc(text + used, sizeof text - used, interval->last);
    }
    report_line(sim, node, key, "    %s:%s%s", what, text, cell->is_live ? " live" : "");
}

void report_broken(struct sim *sim, enum promise promise, unsigned key, const char *format, ...)
{
    struct report *report = &sim->report;
    va_list arguments;

    if (report->broken != PROMISE_NONE)
        return;
    report->broken = promise;
    report->broken_key = key;
    va_start(arguments, format);
    vsnprintf(report->broken_text, sizeof report->broken_text, format, arguments);
    va_end(arguments);
    report_line(sim, -1, key, "BROKEN: promise %d, %s: %s", (int)promise, promise_text(promise),
                report->broken_text);
}

void report_print_kept(const struct report *report)
{
    uint64_t first = report->line_count > REPORT_LINES ? report->line_count - REPORT_LINES : 0;

    for (uint64_t i = first; i < report->line_count; i++)
        puts(report->lines[i % REPORT_LINES]);
}
