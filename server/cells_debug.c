/* `debug ...` (--debug-commands): what this node holds for a key, as it holds it. */
#include "server/arguments.h"
#include "server/cells.h"
#include "server/crawler.h"
#include "server/execute_operator.h"
#include "server/execution.h"
#include "ring/key_hash.h"
#include "server/cell_store.h"
#include <stdlib.h>

static void answer(struct execution *execution, const struct operation *operation,
                   const char *text)
{
    execution_answer_line(execution, operation, 0,
                          (struct slice){ (const unsigned char *)text, strlen(text) });
}

/* What a node of a cluster has, stubs and tombstones included.  False: memory is short. */
static bool show_own_cell(struct execution *execution, struct slice key)
{
    const uint64_t hash = key_hash(key), now_ms = execution->worker->now_ms;
    struct sibling *siblings = NULL;
    struct stripe *stripe;
    unsigned room = 0, needed;
    struct cell cell;

    for (;;) {
        cell_init(&cell, siblings, room);
        stripe = store_lock(execution->store, hash);
        needed = cell_store_read(stripe, hash, key, now_ms, &cell);
        if (needed <= room)
            break;
        store_unlock(stripe);
        free(siblings);
        siblings = calloc(needed, sizeof *siblings);
        if (siblings == NULL)
            return false;
        room = needed;
    }
    cells_describe_cell(&cell, execution->output);
    store_unlock(stripe);
    free(siblings);
    return true;
}

static void show_item(struct execution *execution, struct slice key)
{
    uint64_t hash = key_hash(key);
    struct stripe *stripe = store_lock(execution->store, hash);
    struct item *item = stripe_find(stripe, hash, key, execution->worker->now_ms);

    if (item != NULL)
        cells_describe(item, execution->worker->now_ms, execution->output);
    store_unlock(stripe);
}

/* debug cell <key>: the context and the siblings with their dots and values, then END. */
static void show_cell(struct execution *execution, const struct operation *operation,
                      struct slice key)
{
    if (!cell_store_is_used(execution->store))
        show_item(execution, key);
    else if (!show_own_cell(execution, key)) {
        answer(execution, operation, "SERVER_ERROR out of memory");
        return;
    }
    answer(execution, operation, "END");
}

/* debug evict <key>: as if its memory had been needed. */
static void evict(struct execution *execution, const struct operation *operation,
                  struct slice key)
{
    uint64_t hash = key_hash(key);
    struct stripe *stripe = store_lock(execution->store, hash);
    struct item *item = stripe_find(stripe, hash, key, execution->worker->now_ms);

    if (item != NULL && item->is_pinned)
        item = NULL; /* it would not be evicted */
    const char *text = "NOT_FOUND";

    if (item != NULL)
        text = stripe_evict(stripe, hash, item) ? "OK" : "PINNED";
    store_unlock(stripe);
    answer(execution, operation, text);
}

void execute_debug_key(struct execution *execution, struct operation *operation)
{
    struct arguments arguments;
    bool has_key;

    arguments_split(&arguments, operation->arguments);
    has_key = arguments.count == 2 && arguments.words[1].size <= KEY_BYTES_MAX;
    if (has_key && argument_is(&arguments, 0, "cell"))
        show_cell(execution, operation, arguments.words[1]);
    else if (has_key && argument_is(&arguments, 0, "evict"))
        evict(execution, operation, arguments.words[1]);
    else if (arguments.count == 1 && argument_is(&arguments, 0, "keys"))
        crawler_list_keys(execution, operation);
    else if (!execute_operator_debug(execution, operation, &arguments))
        answer(execution, operation, "ERROR");
}
