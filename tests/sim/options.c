#include "tests/sim/options.h"
#include "tests/sim/report.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const fault_names[FAULT_TYPES] = {
    [FAULT_SLOW_LINK] = "slow-link",
    [FAULT_LOSS] = "loss",
    [FAULT_DOUBLE] = "double",
    [FAULT_SHUFFLE] = "shuffle",
    [FAULT_CUT] = "cut",
    [FAULT_ONE_WAY] = "one-way",
    [FAULT_FLAP] = "flap",
    [FAULT_SLOW_NODE] = "slow-node",
    [FAULT_PAUSE] = "pause",
    [FAULT_CRASH] = "crash",
    [FAULT_CLOCK] = "clock",
    [FAULT_DRIFT] = "drift",
    [FAULT_JUMP] = "jump",
    [FAULT_MEMORY] = "memory",
    [FAULT_ALLOCATION] = "allocation",
    [FAULT_MEMBERS] = "members",
};

static const char *const workload_names[WORKLOAD_TYPES] = {
    [WORKLOAD_BLIND] = "blind",       [WORKLOAD_CONTEXT] = "context",
    [WORKLOAD_DELETE] = "delete",     [WORKLOAD_COUNTER] = "counter",
    [WORKLOAD_CAS] = "cas",           [WORKLOAD_POLICIES] = "policies",
    [WORKLOAD_REGISTER] = "register", [WORKLOAD_FLUSH] = "flush",
};

static const char *const break_names[GLUE_BREAKS] = {
    [BREAK_NOTHING] = "nothing",
    [BREAK_ANSWER_TWICE] = "answer-twice",
    [BREAK_KEEP_COPIES] = "keep-copies",
    [BREAK_REUSE_DOTS] = "reuse-dots",
    [BREAK_ASK_THE_DEAD] = "ask-the-dead",
    [BREAK_REAP_EARLY] = "reap-early",
    [BREAK_FORGET_HINTS] = "forget-hints",
    [BREAK_CHATTER] = "chatter",
    [BREAK_DEAF] = "deaf",
    [BREAK_NO_LIMIT] = "no-limit",
    [BREAK_KEEP_QUIET] = "keep-quiet",
};

const char *options_fault_name(enum fault_type type)
{
    return fault_names[type];
}

static void print_names(const char *const *names, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        printf("%s%s", i == 0 ? "" : ",", names[i]);
    printf("\n");
}

static void print_help(void)
{
    printf(
        "usage: sim [OPTION]...\n"
        "Runs a simulated cluster through faults, and checks what it promises.\n\n"
        "  --seed N          all that happens follows from it (default 1)\n"
        "  --seeds N         this many seeds, from --seed on (default 1)\n"
        "  --nodes N         2 to 100; default: 3 to 9, drawn from the seed\n"
        "  --hours H         of virtual time for each seed (default 0.5)\n"
        "  --faults LIST     or all, or none (default all)\n"
        "  --workload LIST   or all (default all)\n"
        "  --keys N          default 24\n"
        "  --clients N       default 6\n"
        "  --partition-bits N  2^N partitions (default 4)\n"
        "  --trace[=KEY]     print what happens, to one key or to all\n"
        "  --break NAME      break a rule of the nodes' glue\n"
        "  --seconds N       start no further seed after N seconds of real time\n"
        "  --quiet           one line for all seeds\n\n"
        "A promise that is broken is printed with its seed and a trace of its key, and the exit\n"
        "code is 1.\n\nfaults:    ");
    print_names(fault_names, FAULT_TYPES);
    printf("workloads: ");
    print_names(workload_names, WORKLOAD_TYPES);
    printf("breaks:    ");
    print_names(break_names, GLUE_BREAKS);
}

static bool read_number(const char *text, uint64_t least, uint64_t most, uint64_t *number)
{
    char *end;

    errno = 0;
    *number = strtoull(text, &end, 0);
    if (errno == 0 && end != text && *end == '\0' && *number >= least && *number <= most)
        return true;
    fprintf(stderr, "sim: %s is no number from %llu to %llu\n", text, (unsigned long long)least,
            (unsigned long long)most);
    return false;
}

static bool read_unsigned(const char *text, unsigned least, unsigned most, unsigned *number)
{
    uint64_t wide = 0;
    bool is_good = read_number(text, least, most, &wide);

    *number = (unsigned)wide;
    return is_good;
}

/* Hours with a fraction, as milliseconds. */
static bool read_hours(const char *text, uint64_t *ms)
{
    char *end;
    double hours = strtod(text, &end);

    if (end == text || *end != '\0' || !(hours > 0 && hours < 10000)) {
        fprintf(stderr, "sim: %s is no number of hours\n", text);
        return false;
    }
    *ms = (uint64_t)(hours * 3600000);
    return true;
}

static bool find_name(const char *name, size_t size, const char *const *names, unsigned count,
                      unsigned *found)
{
    for (*found = 0; *found < count; (*found)++)
        if (strlen(names[*found]) == size && memcmp(names[*found], name, size) == 0)
            return true;
    fprintf(stderr, "sim: what is %.*s?\n", (int)size, name);
    return false;
}

static bool read_list(const char *list, const char *const *names, unsigned count, unsigned *bits)
{
    unsigned found;

    *bits = 0;
    if (strcmp(list, "all") == 0)
        *bits = (1u << count) - 1;
    if (strcmp(list, "all") == 0 || strcmp(list, "none") == 0)
        return true;
    for (const char *name = list; *name != '\0';) {
        size_t size = strcspn(name, ",");
        if (!find_name(name, size, names, count, &found))
            return false;
        *bits |= 1u << found;
        name += size + (name[size] == ',' ? 1 : 0);
    }
    return true;
}

static bool read_trace(const char *key, struct options *options)
{
    options->is_tracing = true;
    options->trace_key = REPORT_ALL_KEYS;
    return key == NULL || read_unsigned(key, 0, 65535, &options->trace_key);
}

static bool read_break(const char *name, enum glue_break *glue_break)
{
    unsigned found;

    if (!find_name(name, strlen(name), break_names, GLUE_BREAKS, &found))
        return false;
    *glue_break = (enum glue_break)found;
    return true;
}

static bool read_option(struct options *options, int letter, const char *text)
{
    switch (letter) {
    case 's': return read_number(text, 0, UINT64_MAX, &options->seed);
    case 'S': return read_unsigned(text, 1, 1u << 30, &options->seed_count);
    case 'n': return read_unsigned(text, 2, 100, &options->nodes);
    case 'h': return read_hours(text, &options->run_ms);
    case 'f': return read_list(text, fault_names, FAULT_TYPES, &options->faults);
    case 'w': return read_list(text, workload_names, WORKLOAD_TYPES, &options->workloads);
    case 'k': return read_unsigned(text, 1, 65535, &options->keys);
    case 'c': return read_unsigned(text, 1, 1000, &options->clients);
    case 'p': return read_unsigned(text, 0, 10, &options->partition_bits);
    case 't': return read_trace(text, options);
    case 'b': return read_break(text, &options->glue_break);
    case 'W': return read_number(text, 1, 1u << 30, &options->wall_s_max);
    case 'q': options->is_quiet = true; return true;
    default: return false;
    }
}

enum options_answer options_parse(struct options *options, int count, char **arguments)
{
    static const struct option known[] = {{"seed", required_argument, NULL, 's'},
                                          {"seeds", required_argument, NULL, 'S'},
                                          {"nodes", required_argument, NULL, 'n'},
                                          {"hours", required_argument, NULL, 'h'},
                                          {"faults", required_argument, NULL, 'f'},
                                          {"workload", required_argument, NULL, 'w'},
                                          {"keys", required_argument, NULL, 'k'},
                                          {"clients", required_argument, NULL, 'c'},
                                          {"partition-bits", required_argument, NULL, 'p'},
                                          {"trace", optional_argument, NULL, 't'},
                                          {"break", required_argument, NULL, 'b'},
                                          {"seconds", required_argument, NULL, 'W'},
                                          {"quiet", no_argument, NULL, 'q'},
                                          {"help", no_argument, NULL, 'H'},
                                          {NULL, 0, NULL, 0}};
    int letter;

    *options = (struct options){.seed = 1,
                                .seed_count = 1,
                                .run_ms = 1800000,
                                .faults = (1u << FAULT_TYPES) - 1,
                                .workloads = (1u << WORKLOAD_TYPES) - 1,
                                .keys = 24,
                                .clients = 6,
                                .partition_bits = 4};
    while ((letter = getopt_long(count, arguments, "", known, NULL)) != -1) {
        if (letter == 'H') {
            print_help();
            return OPTIONS_HELP;
        }
        if (!read_option(options, letter, optarg))
            return OPTIONS_BAD;
    }
    return optind == count ? OPTIONS_RUN : OPTIONS_BAD;
}
