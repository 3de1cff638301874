#include "server/crawler.h"
#include "protocol/base64.h"
#include "server/arguments.h"
#include "server/cell_item.h"
#include "server/cell_store.h"
#include "server/clock.h"
#include "server/connection.h"
#include "server/execution.h"
#include "server/key_text.h"
#include "server/maintenance.h"
#include "server/settings.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PIECE_BYTES     (64 * 1024)
#define SLAB_CLASS_MAX  63
#define PSEUDO_CLASS    1
#define SLEEP_US_MAX    1000000
#define LINE_BYTES_MAX  (KEY_TEXT_BYTES + 200)
#define SIBLINGS_ROOM   64

static _Atomic bool is_running;
static _Atomic uint64_t starts;

void crawler_stats(struct crawler_stats *stats)
{
    stats->is_running = atomic_load(&is_running);
    stats->starts = atomic_load(&starts);
}

void crawler_stats_reset(void)
{
    atomic_store(&starts, 0);
}

/* A walk that is being sent. */
struct dump {
    struct store *store;
    struct output *output; /* while a piece is written */
    uint64_t cursor;
    void (*write)(struct dump *, const struct item *);
    struct slice end;      /* the last line */
    bool is_empty;         /* of a class that there is not */
    bool is_done;
};

/* The cas value, and the flags of the newest value.  On a node of a cluster an item is a cell. */
static uint64_t cas_and_flags(const struct dump *dump, const struct item *item, uint32_t *flags)
{
    struct sibling siblings[SIBLINGS_ROOM];
    const struct sibling *newest;
    struct cell cell;

    *flags = item_client_flags(item);
    if (!cell_store_is_used(dump->store) || cell_item_siblings(item) > SIBLINGS_ROOM)
        return execution_cas(item);
    cell_init(&cell, siblings, SIBLINGS_ROOM);
    cell_item_read(cell_store_nodes(dump->store), item, false, &cell);
    newest = cell_newest(&cell, SIBLING_VALUE);
    if (newest != NULL)
        *flags = newest->client_flags;
    return settings.uses_cas ? cell_token(&cell) : 0;
}

static void write_meta(struct dump *dump, const struct item *item)
{
    char line[LINE_BYTES_MAX], text[KEY_TEXT_BYTES];
    uint64_t expiry_ms = item_expiry_ms(item);
    uint32_t flags;
    uint64_t cas = cas_and_flags(dump, item, &flags);
    int bytes;

    bytes = snprintf(line, sizeof line,
                     "key=%s exp=%" PRId64 " la=%" PRIu64 " cas=%" PRIu64
                     " fetch=%s cls=%d size=%" PRIu64 " flags=%u \n",
                     key_text(item_key(item), text),
                     expiry_ms == 0 ? -1 : (int64_t)((expiry_ms + 999) / 1000),
                     clock_start_ms() / 1000 + item->accessed_s, cas,
                     item->was_fetched ? "yes" : "no", PSEUDO_CLASS, item_bytes(item), flags);
    assert(bytes > 0);
    assert((size_t)bytes < sizeof line);
    output_append(dump->output, (struct slice){ (unsigned char *)line, (size_t)bytes });
}

static void write_key(struct dump *dump, const struct item *item)
{
    unsigned char line[LINE_BYTES_MAX];
    struct slice key = item_key(item);
    size_t bytes = 3;

    memcpy(line, "mg ", 3);
    /* Which of the two a key was stored as, only the node knows that was told so. */
    if ((item->bits & ITEM_KEY_BINARY) != 0 || !key_fits_line(key)) {
        bytes += base64_encode(BASE64_STANDARD, key, line + bytes);
        memcpy(line + bytes, " b", 2);
        bytes += 2;
    } else {
        memcpy(line + bytes, key.bytes, key.size);
        bytes += key.size;
    }
    memcpy(line + bytes, "\r\n", 2);
    output_append(dump->output, (struct slice){ line, bytes + 2 });
}

/* debug keys: a raw key per line. */
static void write_raw_key(struct dump *dump, const struct item *item)
{
    output_append(dump->output, item_key(item));
    output_append(dump->output, SLICE("\r\n"));
}

static void write_item(void *context, const struct item *item)
{
    struct dump *dump = context;

    dump->write(dump, item);
}

/* A connection_producer. */
static bool write_piece(struct connection *connection, struct output *output, void *state)
{
    struct dump *dump = state;

    (void)connection;
    dump->output = output;
    while (!dump->is_done && output->pending_bytes < PIECE_BYTES) {
        if (!dump->is_empty)
            dump->cursor =
                store_walk(dump->store, hash_range_all, dump->cursor, clock_now_ms(), write_item, dump);
        dump->is_done = dump->cursor == 0;
    }
    if (!dump->is_done)
        return true;
    output_append(output, dump->end);
    return false;
}

static void release_dump(void *state)
{
    free(state);
    atomic_store(&is_running, false);
}

enum class_list { CLASS_LIST_BAD, CLASS_LIST_EMPTY, CLASS_LIST_ALL };

/* `all`, `hash`, or class numbers with commas between them, of which only 1 holds anything. */
static enum class_list parse_classes(struct slice text)
{
    enum class_list result = CLASS_LIST_EMPTY;
    size_t at = 0;

    if (slice_equal(text, SLICE("all")) || slice_equal(text, SLICE("hash")))
        return CLASS_LIST_ALL;
    while (at < text.size) {
        unsigned number = 0;
        size_t first = at;

        for (; at < text.size && text.bytes[at] >= '0' && text.bytes[at] <= '9' && number < 1000;
             at++)
            number = number * 10 + (unsigned)(text.bytes[at] - '0');
        if (at == first || number == 0 || number > SLAB_CLASS_MAX)
            return CLASS_LIST_BAD;
        if (number == PSEUDO_CLASS)
            result = CLASS_LIST_ALL;
        if (at < text.size && text.bytes[at++] != ',')
            return CLASS_LIST_BAD;
    }
    return result;
}

static void answer(struct execution *execution, const struct operation *operation,
                   const char *text)
{
    execution_answer_line(execution, operation, 0,
                          (struct slice){ (const unsigned char *)text, strlen(text) });
}

/* The forms in which all items can be listed. */
static const struct dump_form {
    void (*write)(struct dump *, const struct item *);
    struct slice begin, end;
    const char *not_allowed, *not_first; /* what is answered when it cannot be had */
} metadump = {
    write_meta, { (const unsigned char *)"OK\r\n", 4 }, { (const unsigned char *)"END\r\n", 5 },
    "ERROR metadump not allowed", "ERROR cannot pipeline other commands before metadump",
}, mgdump = {
    write_key, { (const unsigned char *)"OK\r\n", 4 }, { (const unsigned char *)"EN\r\n", 4 },
    "ERROR key dump not allowed", "ERROR cannot pipeline other commands before mgdump",
}, raw_keys = {
    write_raw_key, { (const unsigned char *)"", 0 }, { (const unsigned char *)"END\r\n", 5 }, "", "",
};

static void start_dump(struct execution *execution, const struct operation *operation,
                       const struct dump_form *form, bool is_empty)
{
    bool expected = false;
    struct dump *dump;

    if (!atomic_compare_exchange_strong(&is_running, &expected, true)) {
        answer(execution, operation, "BUSY currently processing crawler request");
        return;
    }
    dump = calloc(1, sizeof *dump);
    if (dump == NULL) {
        atomic_store(&is_running, false);
        answer(execution, operation, "ERROR an unknown error happened");
        return;
    }
    dump->store = execution->store;
    dump->write = form->write;
    dump->end = form->end;
    dump->is_empty = is_empty;
    atomic_fetch_add(&starts, 1);
    if (connection_produce(execution->connection, write_piece, dump, release_dump))
        output_append(execution->output, form->begin);
    else
        answer(execution, operation, "ERROR an unknown error happened");
}

static void run_dump(struct execution *execution, const struct operation *operation,
                     const struct arguments *arguments, const struct dump_form *form)
{
    enum class_list classes;

    if (!atomic_load(&settings.accepted.lru_crawler)) {
        answer(execution, operation, "CLIENT_ERROR lru crawler disabled");
    } else if (!settings.allows_dump) {
        answer(execution, operation, form->not_allowed);
    } else if (!output_is_empty(execution->output)) {
        answer(execution, operation, form->not_first);
    } else if ((classes = parse_classes(arguments->words[1])) == CLASS_LIST_BAD) {
        answer(execution, operation, "BADCLASS invalid class id");
    } else {
        start_dump(execution, operation, form, classes == CLASS_LIST_EMPTY);
    }
}

static void run_metadump(struct execution *execution, const struct operation *operation,
                         const struct arguments *arguments)
{
    run_dump(execution, operation, arguments, &metadump);
}

static void run_mgdump(struct execution *execution, const struct operation *operation,
                       const struct arguments *arguments)
{
    run_dump(execution, operation, arguments, &mgdump);
}

void crawler_list_keys(struct execution *execution, const struct operation *operation)
{
    start_dump(execution, operation, &raw_keys, false);
}

static void run_crawl(struct execution *execution, const struct operation *operation,
                      const struct arguments *arguments)
{
    if (!atomic_load(&settings.accepted.lru_crawler)) {
        answer(execution, operation, "CLIENT_ERROR lru crawler disabled");
    } else if (parse_classes(arguments->words[1]) == CLASS_LIST_BAD) {
        answer(execution, operation, "BADCLASS invalid class id");
    } else {
        atomic_fetch_add(&starts, 1);
        maintenance_wake();
        answer(execution, operation, "OK");
    }
}

static void run_tocrawl(struct execution *execution, const struct operation *operation,
                        const struct arguments *arguments)
{
    uint32_t count;

    if (!argument_u32(arguments, 1, &count)) {
        answer(execution, operation, "CLIENT_ERROR bad command line format");
        return;
    }
    atomic_store(&settings.accepted.lru_crawler_tocrawl, count);
    answer(execution, operation, "OK");
}

static void run_sleep(struct execution *execution, const struct operation *operation,
                      const struct arguments *arguments)
{
    uint32_t sleep_us;

    if (!argument_u32(arguments, 1, &sleep_us)) {
        answer(execution, operation, "CLIENT_ERROR bad command line format");
    } else if (sleep_us > SLEEP_US_MAX) {
        answer(execution, operation, "CLIENT_ERROR sleep must be one second or less");
    } else {
        atomic_store(&settings.accepted.lru_crawler_sleep_us, sleep_us);
        answer(execution, operation, "OK");
    }
}

static void run_enable(struct execution *execution, const struct operation *operation,
                       const struct arguments *arguments)
{
    (void)arguments;
    if (atomic_exchange(&settings.accepted.lru_crawler, true))
        answer(execution, operation, "ERROR failed to start lru crawler thread");
    else
        answer(execution, operation, "OK");
}

static void run_disable(struct execution *execution, const struct operation *operation,
                        const struct arguments *arguments)
{
    (void)arguments;
    atomic_store(&settings.accepted.lru_crawler, false);
    answer(execution, operation, "OK");
}

static const struct {
    const char *name;
    unsigned words; /* the name included */
    void (*run)(struct execution *, const struct operation *, const struct arguments *);
} subcommands[] = {
    { "crawl", 2, run_crawl },       { "metadump", 2, run_metadump },
    { "mgdump", 2, run_mgdump },     { "tocrawl", 2, run_tocrawl },
    { "sleep", 2, run_sleep },       { "enable", 1, run_enable },
    { "disable", 1, run_disable },
};

void execute_lru_crawler(struct execution *execution, struct operation *operation)
{
    struct arguments arguments;

    arguments_split(&arguments, operation->arguments);
    for (size_t i = 0; i < sizeof subcommands / sizeof *subcommands; i++) {
        if (arguments.count == subcommands[i].words &&
            argument_is(&arguments, 0, subcommands[i].name)) {
            subcommands[i].run(execution, operation, &arguments);
            return;
        }
    }
    answer(execution, operation, "ERROR");
}
