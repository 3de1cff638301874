#include "server/stats.h"
#include "protocol/reply.h"
#include "server/arguments.h"
#include "server/cells.h"
#include "server/clock.h"
#include "server/crawler.h"
#include "server/execute_operator.h"
#include "server/key_text.h"
#include "server/listener.h"
#include "server/prefix_stats.h"
#include "server/settings.h"
#include "server/watch.h"
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#define BINARY_NOT_FOUND     0x01
#define NAME_BYTES_MAX       128
#define VALUE_TEXT_MAX       4096 /* a path, or a list of addresses */
#define PREFIX_PACKET_BYTES  8192
#define CACHEDUMP_BYTES_MAX  (2u << 20)
#define SLAB_CLASS_MAX       63
#define PSEUDO_CLASS         1

void stats_text(const struct stats_writer *writer, const char *name, const char *value)
{
    struct slice name_slice = { (const unsigned char *)name, strlen(name) };
    struct slice value_slice = { (const unsigned char *)value, strlen(value) };
    struct output *output = writer->execution->output;
    unsigned char *out = output_reserve(output, 64 + name_slice.size + value_slice.size);

    output_commit(output, reply_stat(writer->operation, name_slice, value_slice, out));
}

void stats_format(const struct stats_writer *writer, const char *name, const char *format, ...)
{
    char value[VALUE_TEXT_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(value, sizeof value, format, arguments);
    va_end(arguments);
    stats_text(writer, name, value);
}

void stats_u64(const struct stats_writer *writer, const char *name, uint64_t value)
{
    stats_format(writer, name, "%" PRIu64, value);
}

void stats_bool(const struct stats_writer *writer, const char *name, bool value)
{
    stats_text(writer, name, value ? "yes" : "no");
}

/* Counters belong to their workers: a reset only notes what they were. */
static pthread_mutex_t base_lock = PTHREAD_MUTEX_INITIALIZER;
static struct stats_sums base;

static void sum_workers(struct stats_sums *sums)
{
    *sums = (struct stats_sums){ 0 };
    for (unsigned i = 0; i < workers_count(); i++) {
        const struct counters *counters = &workers_get(i)->counters;

#define X(name) sums->name += counter_get(&counters->name);
        COUNTERS(X)
#undef X
    }
}

void stats_sum(struct stats_sums *sums)
{
    sum_workers(sums);
    pthread_mutex_lock(&base_lock);
#define X(name) sums->name -= base.name;
    COUNTERS(X)
#undef X
    pthread_mutex_unlock(&base_lock);
}

static void reset(struct execution *execution)
{
    struct stats_sums now;

    sum_workers(&now);
    pthread_mutex_lock(&base_lock);
    base = now;
    pthread_mutex_unlock(&base_lock);
    store_stats_reset(execution->store);
    listeners_stats_reset();
    watch_stats_reset();
    cells_stats_reset();
    crawler_stats_reset();
    prefix_stats_clear();
    stats_hotkeys_reset();
}

static void answer(struct execution *execution, const struct operation *operation,
                   const char *text)
{
    execution_answer_line(execution, operation, 0,
                          (struct slice){ (const unsigned char *)text, strlen(text) });
}

/* An error: a line in text, "Not found" in the binary protocol. */
static void refuse(struct execution *execution, const struct operation *operation,
                   const char *text)
{
    if (operation->protocol == PROTOCOL_BINARY)
        execution_answer_line(execution, operation, BINARY_NOT_FOUND, SLICE("Not found"));
    else
        answer(execution, operation, text);
}

static void end_list(struct execution *execution, const struct operation *operation)
{
    stats_text(&(struct stats_writer){ execution, operation }, "", "");
}

/* Lines on their way out: as they are in text, in the binary protocol some of them per packet. */
struct prefix_dump {
    const struct stats_writer *writer;
    size_t used;
    char packet[PREFIX_PACKET_BYTES];
};

static void flush_prefixes(struct prefix_dump *dump)
{
    dump->packet[dump->used] = 0;
    if (dump->writer->operation->protocol == PROTOCOL_BINARY)
        stats_text(dump->writer, "detailed", dump->packet);
    else
        output_append(dump->writer->execution->output,
                      (struct slice){ (unsigned char *)dump->packet, dump->used });
    dump->used = 0;
}

static void write_prefix(void *context, struct slice prefix, const struct prefix_counts *counts)
{
    struct prefix_dump *dump = context;
    char line[KEY_BYTES_MAX + 128];
    int bytes = snprintf(line, sizeof line,
                         "PREFIX %.*s get %" PRIu64 " hit %" PRIu64 " set %" PRIu64
                         " del %" PRIu64 "\r\n",
                         (int)prefix.size, (const char *)prefix.bytes, counts->gets, counts->hits,
                         counts->sets, counts->deletes);

    assert(bytes > 0);
    assert((size_t)bytes < sizeof line);
    if (dump->used + (size_t)bytes >= sizeof dump->packet)
        flush_prefixes(dump);
    memcpy(dump->packet + dump->used, line, (size_t)bytes);
    dump->used += (size_t)bytes;
}

static void dump_prefixes(struct execution *execution, const struct operation *operation)
{
    struct stats_writer writer = { execution, operation };
    struct prefix_dump dump = { .writer = &writer };

    prefix_stats_visit(write_prefix, &dump);
    if (dump.used != 0)
        flush_prefixes(&dump);
    end_list(execution, operation);
}

static void run_detail(struct execution *execution, const struct operation *operation,
                       const struct arguments *arguments)
{
    bool turns_on = argument_is(arguments, 1, "on");

    if (!settings.allows_dump) {
        refuse(execution, operation, "CLIENT_ERROR stats detail not allowed");
    } else if (turns_on || argument_is(arguments, 1, "off")) {
        atomic_store(&settings.detail_enabled, turns_on);
        if (operation->protocol == PROTOCOL_BINARY)
            end_list(execution, operation);
        else
            answer(execution, operation, "OK");
    } else if (argument_is(arguments, 1, "dump")) {
        dump_prefixes(execution, operation);
    } else {
        refuse(execution, operation, "CLIENT_ERROR usage: stats detail on|off|dump");
    }
}

static void run_reset(struct execution *execution, const struct operation *operation,
                      const struct arguments *arguments)
{
    (void)arguments;
    reset(execution);
    if (operation->protocol == PROTOCOL_BINARY)
        end_list(execution, operation);
    else
        answer(execution, operation, "RESET");
}

struct cachedump {
    struct output *output;
    uint64_t items_left;
    uint64_t bytes;
    bool is_full;
};

static void write_cached(void *context, const struct item *item)
{
    struct cachedump *dump = context;
    struct slice key = item_key(item);
    char line[KEY_BYTES_MAX + 80];
    int bytes;

    if (dump->is_full)
        return;
    bytes = snprintf(line, sizeof line, "ITEM %.*s [%" PRIu64 " b; %" PRIu64 " s]\r\n",
                     (int)key.size, (const char *)key.bytes, item_value_bytes(item),
                     (item_expiry_ms(item) + 999) / 1000);
    assert(bytes > 0);
    dump->bytes += (uint64_t)bytes;
    dump->is_full = --dump->items_left == 0 || dump->bytes + sizeof line > CACHEDUMP_BYTES_MAX;
    output_append(dump->output, (struct slice){ (unsigned char *)line, (size_t)bytes });
}

static void run_cachedump(struct execution *execution, const struct operation *operation,
                          const struct arguments *arguments)
{
    struct cachedump dump = { .output = execution->output };
    uint64_t cursor = 0;
    uint32_t class_id, limit;

    if (!settings.allows_dump) {
        refuse(execution, operation, "CLIENT_ERROR stats cachedump not allowed");
    } else if (arguments->count < 3) {
        refuse(execution, operation, "CLIENT_ERROR bad command line");
    } else if (!argument_u32(arguments, 1, &class_id) || !argument_u32(arguments, 2, &limit)) {
        refuse(execution, operation, "CLIENT_ERROR bad command line format");
    } else if (class_id > SLAB_CLASS_MAX || operation->protocol == PROTOCOL_BINARY) {
        refuse(execution, operation, "CLIENT_ERROR Illegal slab id");
    } else {
        dump.items_left = limit == 0 ? UINT64_MAX : limit;
        dump.is_full = class_id != PSEUDO_CLASS;
        do {
            if (!dump.is_full)
                cursor = store_walk(execution->store, hash_range_all, cursor, execution->worker->now_ms,
                                    write_cached, &dump);
        } while (cursor != 0 && !dump.is_full);
        end_list(execution, operation);
    }
}

static void list_nothing(const struct stats_writer *writer)
{
    (void)writer;
}

/* Sub-commands, matched as whole words (memcached takes any prefix: `stats r` resets). */
static const struct {
    const char *name;
    stats_list *list;
    void (*run)(struct execution *, const struct operation *, const struct arguments *);
} subcommands[] = {
    { "settings", stats_settings, NULL },
    { "items", stats_items, NULL },
    { "slabs", stats_slabs, NULL },
    { "sizes", stats_sizes, NULL },
    { "conns", stats_conns, NULL },
    { "extstore", list_nothing, NULL },
    { "cluster", stats_cluster, NULL },
    { "siblings", stats_siblings, NULL },
    { "ring", list_nothing, NULL },
    { "peers", list_nothing, NULL },
    { "hints", list_nothing, NULL },
    { "repair", list_nothing, NULL },
    { "hotkeys", stats_hotkeys, NULL },
    { "reset", NULL, run_reset },
    { "detail", NULL, run_detail },
    { "cachedump", NULL, run_cachedump },
};

void execute_stats(struct execution *execution, struct operation *operation)
{
    struct stats_writer writer = { execution, operation };
    struct arguments arguments;

    arguments_split(&arguments, operation->arguments);
    if (arguments.count == 0) {
        stats_general(&writer);
        end_list(execution, operation);
        return;
    }
    if (execute_operator_stats(execution, operation, &arguments))
        return;
    for (size_t i = 0; i < sizeof subcommands / sizeof *subcommands; i++) {
        if (!argument_is(&arguments, 0, subcommands[i].name))
            continue;
        if (subcommands[i].run != NULL) {
            subcommands[i].run(execution, operation, &arguments);
        } else {
            subcommands[i].list(&writer);
            end_list(execution, operation);
        }
        return;
    }
    refuse(execution, operation, "ERROR");
}
